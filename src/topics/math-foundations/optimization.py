# ---
# title: Optimization
# summary: "Going downhill: gradient descent, convexity, conditioning and saddle points."
# prerequisites:
#   - math-foundations/linear-algebra: eigenvalues
#   - math-foundations/calculus: gradients and Hessians
# notebooks: [04-optimization-landscape]
# packages: [numpy, matplotlib, scipy]
# ---
