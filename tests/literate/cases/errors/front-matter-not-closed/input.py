# ---
# title: First

x = 1
