# ---
# title: Linear algebra
# summary: "Vectors, matrices and their products: the language in which every network is written."
# packages: [numpy, matplotlib, scipy]
# ---
