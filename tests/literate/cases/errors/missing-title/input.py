# ---
# summary: x
# ---
