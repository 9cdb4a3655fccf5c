# ---
# title: First
# summary: The first topic.
# ---

# %% [markdown]
# # First
#
# A <div>box</div> and <script>x</script> but H<sub>2</sub>O.
