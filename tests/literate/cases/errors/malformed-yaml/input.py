# ---
# title: First: and second
# summary: x
# ---
