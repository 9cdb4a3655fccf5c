# ---
# title: Calculus
# summary: "Derivatives, gradients and the chain rule: how a loss answers to each parameter."
# prerequisites:
#   - math-foundations/linear-algebra: dot products, lengths and angles; matrix products and transposes
# packages: [numpy, matplotlib, torch]
# ---

# %% [markdown]
# # Calculus
#
# $$
# \boxed{
# \begin{aligned}
# f(x + dx) &= f(x) + dx \, J_f(x)^\top + o(\lVert dx \rVert) \\
# \left(J_f\right)_{ij} &= \frac{\partial f_i}{\partial x_j} \\
# J_{g \circ f}(x) &= J_g(f(x)) \, J_f(x)
# \end{aligned}
# }
# $$
#
# $f$ takes a row $x$ of $d$ numbers to a row $f(x)$ of $m$ numbers, and $dx$ is a small change of
# $x$.
# The Jacobian $J_f$ has shape $(m, d)$, one row per output: its entry $\partial f_i / \partial x_j$
# is the rate at which output $i$ changes when input $j$ alone changes.
# $o(\lVert dx \rVert)$ is an error that vanishes faster than the length of $dx$.
# $g \circ f$ means $f$ first, then $g$, and the $J$ of the chain is the product of the two.
#
# The derivative is the best linear prediction of a change, and predictions multiply along a chain:
# that is how training finds out, for billions of parameters at once, which way to move each.

# %% [markdown]
# ## 1. Core concept: predict the change
#
# ### What guessing costs
#
# To train a model is to change its parameters until a loss, its error in one number, is small.
# Without calculus you would guess: change all parameters at random, keep the change if it helps.
# Here are 1,000 guesses for a linear model with 400 parameters, and one step of the same length
# along the gradient, which this topic is about.

# %%
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
n, d = 600, 400
X = rng.normal(size=(n, d))
y = X @ rng.normal(size=d)


def mean_squared_error(X: np.ndarray, w: np.ndarray, y: np.ndarray) -> float:
    """Mean over the rows of (x w - y)^2; X (n, d), w (d,), y (n,)."""
    return ((X @ w - y) ** 2).mean()


w, length = np.zeros(d), 0.1
directions = rng.normal(size=(1000, d))
directions /= np.linalg.norm(directions, axis=1, keepdims=True)
now = mean_squared_error(X, w, y)
gains = np.array([now - mean_squared_error(X, w + length * u, y) for u in directions])

gradient = 2 * X.T @ (X @ w - y) / n  # derived in Section 2
downhill = -gradient / np.linalg.norm(gradient)
gain = now - mean_squared_error(X, w + length * downhill, y)
print(f"guesses that help: {(gains > 0).mean():.0%}")
print(f"best of 1,000 guesses: {gains.max() / gain:.0%} of the gradient step's gain")

# %% [markdown]
# **What the code shows:** Nearly half of the guesses lead downhill, but none leads *far*
# downhill: a random direction in many dimensions is nearly
# [perpendicular](linear-algebra.py#the-dot-product-measures-similarity) to any one that you name.
# The cosine between the two is typically $1/\sqrt{d}$ in size, here
# `{python} f"{1 / np.sqrt(d):.2f}"`; with the 174.6 billion parameters of GPT-3
# [@brown2020language] it is `{python} f"{1e6 / np.sqrt(174.6e9):.1f}"` millionths.
# Calculus computes the good direction instead of looking for it.

# %% [markdown]
# ### One input: a slope is a prediction
#
# Zoom in on a smooth curve until it looks straight.
# The slope of that line is the **derivative** $f'(x)$, the one number with
#
# $$
# \frac{f(x + dx) - f(x) - f'(x) \, dx}{dx} \to 0 \quad \text{as } dx \to 0 .
# $$
#
# **What this means:** $f'(x) \, dx$ predicts the change of $f$, with an error that is small even
# compared with $dx$.
# For $f(x) = x^2$ the true change is $2x \, dx + dx^2$: the prediction is $2x \, dx$, the error
# $dx^2$.
# A different slope $a$ would leave an error $(2x - a) \, dx$ as well, which never becomes small
# *compared with* $dx$. So the derivative is the best linear prediction, and there is only one.
#
# Write $df = f'(x) \, dx$ for the prediction, the **differential** of $f$.
# Rules for it come from expanding and dropping products of two small changes; the product rule is
# $(u + du)(v + dv) \approx uv + v \, du + u \, dv$, with $du \, dv$ dropped.
# The number $e$ is chosen so that $e^u$ has slope 1 at $u = 0$; then
# $e^{u + du} = e^u e^{du} \approx e^u (1 + du)$.
# The natural logarithm undoes it: from $u = e^v$ follow $du = u \, dv$ and $dv = du / u$.
# Powers of a positive $u$ are $u^n = e^{n \log u}$.
#
# | Rule | Differential |
# |---|---|
# | sum, constant factor | $d(u + v) = du + dv$, $d(cu) = c \, du$ |
# | product | $d(uv) = v \, du + u \, dv$ |
# | power, for any fixed $n$ | $d(u^n) = n u^{n-1} du$; a quotient $u / v$ is $u v^{-1}$ |
# | exponential, natural logarithm | $d(e^u) = e^u du$, $d(\log u) = du / u$ |
# | chain | $d g(u) = g'(u) \, du$, whatever $u$ itself depends on |
#
# The chain rule says that a prediction may be fed into the next one: if $y$ moves 3 times as fast
# as $x$ and $z$ moves 2 times as fast as $y$, then $z$ moves 6 times as fast as $x$.

# %% [markdown]
# ### Many inputs: the gradient
#
# Now $f$ has inputs $x_1, \dots, x_d$ and one output.
# The **partial derivative** $\partial f / \partial x_j$ is the slope when $x_j$ moves and all other
# inputs stand still.
# The row of all of them is the **gradient** $\nabla f$, and the predictions add up:
#
# $$
# df = \sum_{j=1}^{d} \frac{\partial f}{\partial x_j} dx_j = \nabla f \cdot dx .
# $$
#
# (They do if the partial derivatives are continuous: then what one input's move does to another
# input's slope is a product of small changes.)
# Move along a direction $u$ of length 1. The slope you meet, the **directional derivative**, is
#
# $$
# \nabla f \cdot u = \lVert \nabla f \rVert \cos \alpha ,
# $$
#
# where $\alpha$ is the angle between the two.
#
# **What this means:** The cosine is largest at $\alpha = 0$: **the gradient points in the direction
# of steepest ascent**, its length is the slope there, and minus the gradient is the steepest way
# down.
# At a right angle the slope is 0: you walk along a contour line, on which $f$ keeps its value.
# The cosine is also why guesses are poor.
# "Steepest" is per unit of Euclidean length; [optimizers](../training/optimizers.py#steepest-but-in-which-norm) with another
# yardstick get another direction.

# %% [markdown]
# ### Many outputs: the Jacobian and the chain rule
#
# With $m$ outputs, each has a gradient. Stacked as rows they are the Jacobian $J$, and the
# prediction for output $i$ is row $i$ of $J$ times $dx$.
# In this book vectors are rows, so all predictions together are $dy = dx \, J^\top$.
# Feed $y = f(x)$ into $z = g(y)$ and the two predictions combine:
#
# $$
# dz = dy \, J_g^\top = dx \, J_f^\top J_g^\top = dx \left(J_g J_f\right)^\top .
# $$
#
# That is the chain rule of the box: **Jacobians multiply**.
# (The errors stay small: $J_g$ scales the error of $dy$ by a fixed factor, and the error of $g$ is
# small compared with $dy$.)
# Entry by entry it is a sum over all ways from $x_j$ to $z_i$, through every $y_k$:
#
# $$
# \frac{\partial z_i}{\partial x_j} = \sum_{k} \frac{\partial z_i}{\partial y_k}
# \frac{\partial y_k}{\partial x_j} .
# $$
#
# You rarely want a whole Jacobian. You want its product with one vector, from one of two sides:
#
# - the **Jacobian–vector product** (JVP) $J \dot{x}^\top$: how all outputs move when the input moves
#   along $\dot{x}$;
# - the **vector–Jacobian product** (VJP) $\bar{y} J$: the gradient, with respect to the input, of the
#   weighted sum $\bar{y} \cdot f(x)$ of the outputs.
#
# A chain of JVPs runs from input to output, a chain of VJPs from output to input; the second is
# [backpropagation](../neural-networks/backpropagation.py#forward-mode-and-reverse-mode), which uses this same layout.
# For a linear layer $y = xW$ the change is $dy = dx \, W$, so $J = W^\top$ and the VJP is
# $\bar{y} W^\top$.
#
# | Object | Code | Shape | In the example below |
# |---|---|---|---|
# | input, its change, a direction $\dot{x}$ | `x`, `dx`, `v` | $(d)$ | (2) |
# | output, a weighting $\bar{y}$ | `y`, `y_bar` | $(m)$ | (3) |
# | Jacobian of $f$ | `J` | $(m, d)$ | (3, 2) |
# | JVP $J \dot{x}^\top$ | `J @ v` | $(m)$ | (3) |
# | VJP $\bar{y} J$ | `y_bar @ J` | $(d)$ | (2) |
# | gradient of a number $L$ | `grad` | the shape of the input | (2) |
# | Hessian of a number $L$ (Section 2) | `H` | $(d, d)$ | (2, 2) |

# %% [markdown]
# ### By hand
#
# Take two inputs, three intermediate values and one loss:
#
# $$
# \begin{aligned}
# y &= f(x) = (x_1 x_2, \quad x_1^2, \quad x_1 + 3 x_2), \\
# L &= g(y) = y_1 y_2 + y_3, \quad
# \text{at } x = (2, 1) .
# \end{aligned}
# $$
#
# Forward, $y = (2, 4, 5)$ and $L = 13$. The partial derivatives are
#
# $$
# J_f = \begin{bmatrix} x_2 & x_1 \\ 2 x_1 & 0 \\ 1 & 3 \end{bmatrix}
# = \begin{bmatrix} 1 & 2 \\ 4 & 0 \\ 1 & 3 \end{bmatrix}, \quad
# \nabla g = (y_2, y_1, 1) = (4, 2, 1) ,
# $$
#
# and the chain rule gives
#
# $$
# \nabla L = \nabla g \, J_f = (4 + 8 + 1, \quad 8 + 0 + 3) = (13, 11) .
# $$
#
# Directly, $L = x_1^3 x_2 + x_1 + 3 x_2$, with partial derivatives
# $3 x_1^2 x_2 + 1 = 13$ and $x_1^3 + 3 = 11$.
# Now move by $dx = (0.1, -0.1)$. The prediction is $13 \cdot 0.1 - 11 \cdot 0.1 = 0.2$.
# The truth is $2.1^3 \cdot 0.9 + 2.1 + 2.7 - 13 = 0.1349$: the right sign, and an error of a few
# times $\lVert dx \rVert^2$, which Section 2 predicts too.

# %% [markdown]
# ### In code

# %%
def f_hand(x) -> tuple:
    """The three intermediate values of the hand example."""
    return x[0] * x[1], x[0] ** 2, x[0] + 3 * x[1]


def L_hand(x):
    """The loss of the hand example, two inputs to one number."""
    y = f_hand(x)
    return y[0] * y[1] + y[2]


x = np.array([2.0, 1.0])
J = np.array([[x[1], x[0]], [2 * x[0], 0.0], [1.0, 3.0]])
y_bar = np.array([4.0, 2.0, 1.0])
grad = y_bar @ J  # a VJP
v = np.array([1.0, -1.0])
assert J.shape == (3, 2) and grad.shape == (2,)
assert np.array_equal(grad, [13, 11]) and np.array_equal(J @ v, [-1, 4, -2])
assert y_bar @ (J @ v) == grad @ v == 2  # both ways round the same number

dx = 0.1 * v
change = L_hand(x + dx) - L_hand(x)
assert abs(grad @ dx - 0.2) < 1e-12 and abs(change - 0.1349) < 1e-12
for scale in [1, 0.1, 0.01]:
    moved = L_hand(x + scale * dx) - L_hand(x)
    relative = (moved / scale - grad @ dx) / np.linalg.norm(dx)
    print(f"step {scale * np.linalg.norm(dx):.4f}  predicted {scale * grad @ dx:.4f}  "
          f"true {moved:.4g}  error per step {relative:.2g}")

# %% [markdown]
# **What the code shows:** Ten times closer, the error is ten times smaller *relative to the step*:
# the definition of the derivative, seen at work.
# @fig-gradient draws the same point.

# %%
#| label: fig-gradient
#| fig-cap: "The loss of the hand example. Left: contour lines, the point (2, 1) and the direction of its gradient. Right: the slope along every direction, predicted as length of the gradient times the cosine, and measured with a step of 0.001."
#| fig-alt: Left, an arrow stands at a right angle on the contour through the point. Right, measured dots lie on a cosine curve that peaks in the gradient's direction and is zero at a right angle to it.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.0))
a, b = np.meshgrid(np.linspace(1.5, 2.5, 80), np.linspace(0.5, 1.5, 80))
lines = left.contour(a, b, L_hand((a, b)), levels=np.arange(7, 20, 2))
left.clabel(lines, fontsize=7)
left.annotate("", x + 0.025 * grad, x, arrowprops={"arrowstyle": "->", "linewidth": 2})
left.plot(*x, "ko", markersize=4)
left.set(xlabel="first input", ylabel="second input", aspect="equal")

angles = np.linspace(-180, 180, 25)
heading = np.deg2rad(angles) + np.arctan2(grad[1], grad[0])
units = np.stack([np.cos(heading), np.sin(heading)], axis=1)
measured = [(L_hand(x + 1e-3 * u) - L_hand(x)) / 1e-3 for u in units]
right.plot(angles, units @ grad, "-", label="predicted")
right.plot(angles, measured, "s", color="C1", markersize=4, label="measured")
right.axhline(0, color="0.6", linewidth=0.8)
right.set(xlabel="angle to the gradient (degrees)", ylabel="slope")
right.set_xticks([-180, -90, 0, 90, 180])
right.set_ylim(-19, 26)
right.legend(loc="upper left", fontsize=8);

# %% [markdown]
# If you stop here, you have the correct picture: *predict linearly, multiply along the chain, step
# against the gradient*.

# %% [markdown]
# ## 2. Deeper treatment
#
# ### Gradients by differentials
#
# With matrices, do not hunt partial derivatives one index at a time.
# Write the differential, bring it into the form
#
# $$
# dL = \sum_{ij} G_{ij} \, dW_{ij} = \text{tr}\left(G^\top dW\right) ,
# $$
#
# and read off the gradient $\partial L / \partial W = G$, which has the shape of $W$
# [@magnus2019matrix].
# The product rule holds for matrices too, the order kept: $d(AB) = dA \, B + A \, dB$.
# The trace $\text{tr}(A)$ is the sum of the diagonal of $A$, so $\text{tr}(G^\top dW)$ is the dot
# product of two matrices.
# Two rules do the moving: $\text{tr}(A) = \text{tr}(A^\top)$ and $\text{tr}(AB) = \text{tr}(BA)$
# (both sides of the second are $\sum_{ij} A_{ij} B_{ji}$).
#
# Least squares, $L = \lVert XW - Y \rVert^2$, the sum of all squared entries of $R = XW - Y$:
#
# $$
# \begin{aligned}
# dL &= 2 \, \text{tr}\left(R^\top dR\right) = 2 \, \text{tr}\left(R^\top X \, dW\right) \\
# &= \text{tr}\left(\left(2 X^\top R\right)^\top dW\right) \\
# \Rightarrow \quad \frac{\partial L}{\partial W} &= 2 X^\top (XW - Y) .
# \end{aligned}
# $$
#
# The quadratic form $q = x W x^\top$:
#
# $$
# \begin{aligned}
# dq &= dx \, W x^\top + x W \, dx^\top + x \, dW \, x^\top \\
# &= \left(x W^\top + x W\right) \cdot dx + \text{tr}\left(x^\top x \, dW\right) .
# \end{aligned}
# $$
#
# The first term was transposed: it is a number. So $\nabla_x q = x(W + W^\top)$, and
# $\partial q / \partial W = (x^\top x)^\top = x^\top x$.
#
# The smooth maximum, log-sum-exp, $\text{lse}(s) = \log \sum_k e^{s_k}$:
#
# $$
# \begin{aligned}
# d \, \text{lse} &= \frac{\sum_j e^{s_j} ds_j}{\sum_k e^{s_k}} = p \cdot ds, \\
# p_j &= \frac{e^{s_j}}{\sum_k e^{s_k}} = \text{softmax}(s)_j .
# \end{aligned}
# $$
#
# **What this means:** The [softmax](probability.py#from-scores-to-probabilities) *is* the gradient of log-sum-exp.
# Where the true maximum would have slope 1 for the largest entry and 0 for the rest, the smooth one
# shares the 1 out; classifiers read the shares as probabilities.
#
# | $L$ | Gradient | Where you meet it |
# |---|---|---|
# | $x \cdot w$ | $w$; for $w$: $x$ | a [unit](../neural-networks/perceptron.py) with weights $w$ |
# | $x W x^\top$ | $x(W + W^\top)$; for $W$: $x^\top x$ | second-order predictions, below |
# | $\lVert XW - Y \rVert^2$ | $2 X^\top (XW - Y)$ | regression |
# | $\sigma(z) = 1 / (1 + e^{-z})$ | $\sigma(z)(1 - \sigma(z))$ | gates, [activation functions](../neural-networks/activation-functions.py) |
# | $\log \sum_k e^{s_k}$ | $p = \text{softmax}(s)$ | every classifier |
# | $\log \sum_k e^{s_k} - s_y$ | $p - \text{onehot}(y)$ | [cross-entropy](../training/loss-functions.py#cross-entropy-for-any-target), every language model |
#
# In the last row $y$ is the right class, $\text{onehot}(y)$ has a 1 there and zeros elsewhere, and the
# loss is $-\log p_y$: the larger the share of the right class, the smaller.
# The row of the sigmoid follows from $\log \sigma = -\log(1 + e^{-z})$: the right side has the
# differential $e^{-z} / (1 + e^{-z}) \, dz = (1 - \sigma) \, dz$, and the left side
# $d\sigma / \sigma$.

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def quadratic_gradients(x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of x W x^T with respect to x (d,) and W (d, d)."""
    return x @ (W + W.T), np.outer(x, x)


def least_squares_gradient(X: np.ndarray, W: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Gradient (d, k) of ||X W - Y||^2 with respect to W; X (n, d), Y (n, k)."""
    return 2 * X.T @ (X @ W - Y)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), in a form that cannot overflow."""
    return np.exp(-np.logaddexp(0, -z))


def sigmoid_derivative(z: np.ndarray) -> np.ndarray:
    """sigmoid'(z), elementwise; 1 - sigmoid(z) = sigmoid(-z) loses no digits."""
    return sigmoid(z) * sigmoid(-z)


def log_sum_exp(s: np.ndarray) -> np.ndarray:
    """log of the sum of exp along the last axis, without overflow."""
    top = s.max(axis=-1, keepdims=True)
    return np.log(np.exp(s - top).sum(axis=-1)) + top[..., 0]


def cross_entropy_gradient(s: np.ndarray, y: int) -> np.ndarray:
    """Gradient (m,) of log_sum_exp(s) - s[y]."""
    return softmax(s) - np.eye(len(s))[y]


s = np.array([np.log(2), 0.0, 0.0])  # exponentials 2, 1, 1
assert np.allclose(softmax(s), [0.5, 0.25, 0.25])
print("softmax", softmax(s), " cross-entropy gradient", cross_entropy_gradient(s, 0))

# %% [markdown]
# **What the code shows:** The gradient is negative for the right class only, so a step *against* it
# raises that score and lowers the others, each in proportion to the probability it wrongly holds.
# The entries sum to 0.

# %% tags=["test"]
import torch
import torch.nn.functional as F


def gradients(f, *arrays: np.ndarray) -> list[np.ndarray]:
    """Gradients of f's sum with respect to each array, from torch autograd."""
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    f(*leaves).sum().backward()
    return [leaf.grad.numpy() for leaf in leaves]


def check_close(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-10) -> bool:
    """Equal shapes, and entries equal up to rounding relative to the largest one."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    size = max(1.0, np.abs(theirs).max(initial=0))
    gap = np.abs(ours - theirs).max(initial=0)
    return ours.shape == theirs.shape and bool(gap <= tolerance * size)


def test_quadratic_and_least_squares_gradients_match_autograd():
    rng = np.random.default_rng(1)
    for trial in range(24):
        d, k, n = (int(v) for v in rng.permutation(9)[:3] + [1, 1, 0])
        n = [0, 1, n][min(trial, 2)]
        scale = [1, 100][trial % 2]
        x, A = scale * rng.normal(size=d), rng.normal(size=(d, d))
        expected = gradients(lambda x, A: x @ A @ x, x, A)
        for ours, theirs in zip(quadratic_gradients(x, A), expected):
            assert check_close(ours, theirs)
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, k))
        Y = scale * rng.normal(size=(n, k))
        expected = gradients(lambda W: (torch.tensor(X) @ W - torch.tensor(Y)) ** 2, W)
        assert check_close(least_squares_gradient(X, W, Y), expected[0])


def test_log_sum_exp_and_cross_entropy_match_torch():
    rng = np.random.default_rng(2)
    for trial in range(24):
        m = 1 if trial == 0 else int(rng.integers(2, 12))
        s = rng.normal(size=m) * [1, 10, 1000][trial % 3]
        if trial % 5 == 4:
            s[:2] = s.max()  # ties
        y = int(rng.integers(m))
        assert check_close(log_sum_exp(s), torch.logsumexp(torch.tensor(s), -1).numpy())
        assert check_close(softmax(s), gradients(lambda t: torch.logsumexp(t, -1), s)[0])
        loss = lambda t: F.cross_entropy(t[None], torch.tensor([y]))
        assert check_close(cross_entropy_gradient(s, y), gradients(loss, s)[0])
        batch = rng.normal(size=(int(rng.integers(1, 4)), 2, m))
        expected = torch.logsumexp(torch.tensor(batch), -1).numpy()
        assert check_close(log_sum_exp(batch), expected)


def test_sigmoid_and_its_derivative_match_torch():
    rng = np.random.default_rng(3)
    for trial in range(20):
        shape = tuple(rng.integers(0, 5, size=rng.integers(0, 3)))
        z = np.asarray(rng.normal(size=shape) * [1, 30, 1000][trial % 3])
        assert check_close(sigmoid(z), torch.sigmoid(torch.tensor(z)).numpy())
        assert check_close(sigmoid_derivative(z), gradients(torch.sigmoid, z)[0])
    assert sigmoid_derivative(np.array(60.0)) > 0  # s(1 - s) would round to 0


def test_hand_example_matches_torch():
    x = torch.tensor([2.0, 1.0], dtype=torch.float64)
    f = lambda x: torch.stack(f_hand(x))
    assert torch.func.jacrev(f)(x).tolist() == [[1, 2], [4, 0], [1, 3]]
    assert torch.func.grad(L_hand)(x).tolist() == [13, 11]
    assert torch.func.hessian(L_hand)(x).tolist() == [[12, 12], [12, 0]]


# %% [markdown]
# ### Second order: curvature
#
# The gradient is itself a function, from $d$ numbers to $d$ numbers. Its Jacobian is the
# **Hessian** $H_{ij} = \partial^2 f / \partial x_i \partial x_j$: row $i$ says how the slope in
# $x_i$ reacts to each input.
# $H$ is symmetric if the second derivatives are continuous.
# On the way from $x$ to $x + dx$ the slope along $dx$ starts at $\nabla f \cdot dx$ and has changed
# by about $dx \, H \, dx^\top$ at the end. Count half of that, the average on the way, and you have
# Taylor's second-order prediction:
#
# $$
# f(x + dx) = f(x) + \nabla f \cdot dx + \frac{1}{2} \, dx \, H \, dx^\top
# + o\left(\lVert dx \rVert^2\right) .
# $$
#
# **What this means:** For a direction $u$ of length 1, $u H u^\top$ is the curvature along $u$:
# positive in a valley, negative on a ridge. If it is positive for every $u$, the prediction is a
# bowl with one lowest point.
#
# In the hand example, with $dx = (0.1, -0.1)$,
#
# $$
# \begin{aligned}
# H &= \begin{bmatrix} 6 x_1 x_2 & 3 x_1^2 \\ 3 x_1^2 & 0 \end{bmatrix}
# = \begin{bmatrix} 12 & 12 \\ 12 & 0 \end{bmatrix}, \\
# \frac{1}{2} \, dx \, H \, dx^\top &= \frac{1}{2}(0.12 - 0.24 + 0) = -0.06 .
# \end{aligned}
# $$
#
# The corrected prediction is $0.2 - 0.06 = 0.14$, and the truth was 0.1349.
#
# Curvature says how far a slope can be trusted.
# Step by $-\eta g$, with $g = \nabla f$: the prediction is
# $-\eta \lVert g \rVert^2 + \frac{1}{2} \eta^2 g H g^\top$.
# If $g H g^\top$ is positive, the best rate is $\eta = \lVert g \rVert^2 / g H g^\top$, and beyond
# twice that the prediction goes *up*. [Optimization](optimization.py#the-descent-lemma) builds on this line.
#
# For log-sum-exp, start from $\log p_i = s_i - \text{lse}(s)$. Its differential is
# $dp_i / p_i = ds_i - p \cdot ds$. So, with $\text{diag}(p)$ the matrix that has $p$ on its diagonal,
#
# $$
# \begin{aligned}
# H &= \text{diag}(p) - p^\top p, \\
# u H u^\top &= \sum_i p_i u_i^2 - (p \cdot u)^2
# = \sum_i p_i (u_i - p \cdot u)^2 .
# \end{aligned}
# $$
#
# **What this means:** $H$ is also the Jacobian of the softmax, which
# [attention](../transformers/attention.py#why-divide-by-the-square-root) lives with.
# Its curvature along $u$ is the mean squared distance of the $u_i$ from their mean $p \cdot u$, both
# means weighted by $p$. Probability calls that a [variance](probability.py#the-rules); it is never negative.
# As cross-entropy subtracts only the straight line $s_y$, it has the same Hessian.

# %%
def log_sum_exp_hessian(s: np.ndarray) -> np.ndarray:
    """Hessian (m, m) of log_sum_exp at s (m,); also the Jacobian of softmax."""
    p = softmax(s)
    return np.diag(p) - np.outer(p, p)


H = np.array([[12.0, 12.0], [12.0, 0.0]])
assert np.isclose(grad @ dx + 0.5 * dx @ H @ dx, 0.14)
u = np.array([1.0, -2.0])  # along it, log-sum-exp is log(exp(t) + exp(-2t))
start = 0.5 * u
slope, curvature = softmax(start) @ u, u @ log_sum_exp_hessian(start) @ u
print(f"slope {slope:.4g}, curvature {curvature:.4g}")

# GPT-2 small: embeddings of tokens and positions, 12 layers, the last normalisation
gpt2 = 50257 * 768 + 1024 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768
hessian_bytes = 4 * gpt2 * (gpt2 + 1) // 2
assert gpt2 == 124_439_808 and hessian_bytes == 30_970_531_879_033_344

# %%
#| label: fig-taylor
#| fig-cap: "Log-sum-exp of (t, -2t) and its predictions from t = 0.5. Left: the curve, its tangent and its parabola. Right: the error of the two against the step; dotted lines have slopes 2 and 3."
#| fig-alt: Left, the parabola follows the curve further than the tangent does, and its lowest point misses the curve's by a little. Right, on logarithmic axes the tangent's error falls two decades per decade of step, the parabola's three.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.0))
value = log_sum_exp(start)
step = np.linspace(-1.6, 1.6, 161)
curve = log_sum_exp((0.5 + step)[:, None] * u)
tangent = value + slope * step
parabola = tangent + 0.5 * curvature * step**2
left.plot(0.5 + step, curve, "-", label="log-sum-exp")
left.plot(0.5 + step, tangent, "--", label="first order")
left.plot(0.5 + step, parabola, "-.", label="second order")
left.plot(0.5, value, "ko", markersize=4)
left.set(xlabel="t", ylim=(-0.2, 2.6))
left.legend(fontsize=8)
h = np.logspace(-3, 0, 30)
truth = log_sum_exp((0.5 + h)[:, None] * u)
first = np.abs(truth - value - slope * h)
second = np.abs(truth - value - slope * h - 0.5 * curvature * h**2)
right.loglog(h, first, "--", color="C1", label="first order")
right.loglog(h, second, "-.", color="C2", label="second order")
right.loglog(h, first[0] * (h / h[0]) ** 2, ":", color="0.4")
right.loglog(h, second[0] * (h / h[0]) ** 3, ":", color="0.4")
right.set(xlabel="step", ylabel="error")
right.legend(fontsize=8);

# %% [markdown]
# **What the code shows:** One more term buys one more power of the step in @fig-taylor.
# It does not buy a true picture far away, where the parabola leaves the curve on both sides.
# Nor is it cheap: GPT-2 small [@radford2019language] has `{python} f"{gpt2:,}"` parameters, and the
# distinct entries of its Hessian, $N(N + 1)/2$ of them in 32 bits, would fill
# `{python} f"{hessian_bytes / 1e15:.0f}"` million gigabytes.
# What you can have is products $v H$, each at the price of a few gradients
# [@pearlmutter1994fast].

# %% tags=["test"]
def test_log_sum_exp_hessian_matches_torch():
    rng = np.random.default_rng(4)
    for trial in range(20):
        m = 1 + trial % 7
        s, u = rng.normal(size=m) * [1, 50][trial % 2], rng.normal(size=m)
        H = log_sum_exp_hessian(s)
        t = torch.tensor(s)
        assert check_close(H, torch.func.hessian(lambda t: torch.logsumexp(t, -1))(t).numpy())
        assert check_close(H, torch.func.jacrev(lambda t: torch.softmax(t, -1))(t).numpy())
        assert u @ H @ u > -1e-12 and np.abs(H.sum(axis=1)).max() < 1e-12


def test_taylor_errors_have_orders_two_and_three():
    rng = np.random.default_rng(5)
    for _ in range(20):
        m = int(rng.integers(2, 8))
        s, u = rng.normal(size=m), rng.normal(size=m)
        slope, curvature = softmax(s) @ u, u @ log_sum_exp_hessian(s) @ u
        errors = []
        for h in (1e-2, 5e-3):
            rest = log_sum_exp(s + h * u) - log_sum_exp(s) - slope * h
            errors.append((abs(rest), abs(rest - 0.5 * curvature * h**2)))
        (first, second), (first_half, second_half) = errors
        assert abs(np.log2(first / first_half) - 2) < 0.1
        assert second < 1e-4 and (second < 1e-8 or second / second_half > 6)


def test_best_rate_along_the_gradient_of_a_bowl():
    rng = np.random.default_rng(6)
    for _ in range(20):
        n, d = int(rng.integers(9, 15)), int(rng.integers(1, 8))
        X, w, y = rng.normal(size=(n, d)), rng.normal(size=d), rng.normal(size=n)
        g, H = least_squares_gradient(X, w, y), 2 * X.T @ X
        rate = g @ g / (g @ H @ g)
        loss = lambda eta: ((X @ (w - eta * g) - y) ** 2).sum()
        assert loss(rate) < min(loss(0.9 * rate), loss(1.1 * rate))
        assert abs(loss(2 * rate) - loss(0)) < 1e-9 * loss(0)  # back where it began


# %% [markdown]
# ### Derivatives by program: dual numbers
#
# The rules of the first table are mechanical, so let the computer apply them.
# Carry each value together with its differential along one direction, as a pair
# $a + b \varepsilon$, and let $\varepsilon^2 = 0$: that is "drop products of two small changes" as
# algebra.
#
# $$
# \begin{aligned}
# (a + b\varepsilon)(c + e\varepsilon) &= ac + (bc + ae)\varepsilon, \\
# f(a + b\varepsilon) &= f(a) + f'(a) \, b \, \varepsilon .
# \end{aligned}
# $$
#
# (The second is Taylor's formula, which ends here because $\varepsilon^2 = 0$.)
# Run any program of such steps, loops and branches included, on $x + \dot{x}\varepsilon$, and the
# $\varepsilon$ part of the result is the JVP.
# This is forward-mode **automatic differentiation**, *autodiff* for short [@wengert1964simple; @baydin2018automatic].

# %%
class Dual:
    """A value and its change along one direction: value + dot * eps, eps^2 = 0."""

    __array_ufunc__ = None  # array * Dual is left to Dual.__rmul__

    def __init__(self, value, dot):
        self.value, self.dot = value, dot

    def __add__(self, other):
        other = lift(other)
        return Dual(self.value + other.value, self.dot + other.dot)

    def __mul__(self, other):
        other = lift(other)
        return Dual(self.value * other.value,
                    self.dot * other.value + self.value * other.dot)

    def __matmul__(self, other):
        other = lift(other)
        return Dual(self.value @ other.value,
                    self.dot @ other.value + self.value @ other.dot)

    def __pow__(self, n):
        return Dual(self.value**n, n * self.value ** (n - 1) * self.dot)

    __radd__, __rmul__ = __add__, __mul__
    __rmatmul__ = lambda self, other: lift(other) @ self
    __sub__ = lambda self, other: self + -1 * other
    __rsub__ = lambda self, other: -1 * self + other
    __truediv__ = lambda self, other: self * lift(other) ** -1.0
    __rtruediv__ = lambda self, other: other * self**-1.0
    __getitem__ = lambda self, i: Dual(self.value[i], self.dot[i])
    sum = lambda self, axis=None: Dual(self.value.sum(axis), self.dot.sum(axis))


def lift(a):
    """A constant is a dual number that does not change."""
    return a if isinstance(a, Dual) else Dual(a, np.zeros_like(a))


# %%
def exp(x):
    """e^x, elementwise, of an array or a Dual."""
    if not isinstance(x, Dual):
        return np.exp(x)
    e = exp(x.value)
    return Dual(e, e * x.dot)


def log(x):
    """The natural logarithm, elementwise, of an array or a Dual."""
    if not isinstance(x, Dual):
        return np.log(x)
    return Dual(log(x.value), x.dot / x.value)


def jvp(f, x: np.ndarray, v: np.ndarray) -> tuple:
    """f(x) and its change along v, J v^T, in one sweep."""
    y = f(Dual(x, v))
    return y.value, y.dot


def jacobian(f, x: np.ndarray) -> np.ndarray:
    """J (m, d) of f at x (d,), or the gradient (d,) if f gives one number."""
    return np.stack([jvp(f, x, e)[1] for e in np.eye(len(x))], axis=-1)


assert np.array_equal(jacobian(L_hand, x), [13, 11])
W = rng.normal(size=(2, 4))
hidden = jacobian(lambda x: exp(x @ W), x)
assert hidden.shape == (4, 2) and np.allclose(hidden, np.exp(x @ W)[:, None] * W.T)
print("gradient of the hand example:", jacobian(L_hand, x))

# %% [markdown]
# **What the code shows:** Nobody differentiated `L_hand`; it ran, on other numbers.
# There is no step size and no truncation: each operation's derivative is exact up to rounding.
# A whole gradient takes one sweep per *input*, and a model has millions.
# [Backpropagation](../neural-networks/backpropagation.py#forward-mode-and-reverse-mode) applies the same rules from the output
# and needs one sweep for all.
# In 2026 libraries offer both: `torch.func` has `jvp`, `vjp`, `jacfwd`, `jacrev` and `hessian`, and
# the tests compare with them.

# %% tags=["test"]
def random_network(A, B, c, exp, log):
    """A function (d,) -> (m,) that uses every operation, for NumPy, Dual or torch."""

    def f(x):
        h = exp(x @ A - 1.0) + 0.5
        share = h / (h.sum() + 1.0)
        y = log(2.0 + share @ B * (share @ B)) - 3.0 * (c * (1.0 - share[0]))
        return (2.0 / (y * y + 1.0)) ** 1.5 + (B @ c) @ h

    return f


def test_duals_match_torch_on_random_shapes():
    rng = np.random.default_rng(7)
    for trial in range(24):
        d, k, m = (int(v) for v in rng.permutation(np.arange(1, 8))[:3])
        A, B, c = rng.normal(size=(d, k)), rng.normal(size=(k, m)), rng.normal(size=m)
        x, v, y_bar = rng.normal(size=d), rng.normal(size=d), rng.normal(size=m)
        ours = random_network(A, B, c, exp, log)
        torch_weights = [torch.tensor(t) for t in (A, B, c)]
        theirs = random_network(*torch_weights, torch.exp, torch.log)
        t = torch.tensor(x)
        value, change = jvp(ours, x, v)
        ref_value, ref_change = torch.func.jvp(theirs, (t,), (torch.tensor(v),))
        assert check_close(value, ref_value.numpy()) and check_close(change, ref_change.numpy())
        J = jacobian(ours, x)
        assert J.shape == (m, d) and check_close(J, torch.func.jacrev(theirs)(t).numpy())
        (row,) = torch.func.vjp(theirs, t)[1](torch.tensor(y_bar))
        assert check_close(y_bar @ J, row.numpy()) and check_close(J @ v, change)


def test_jacobians_of_a_chain_multiply():
    rng = np.random.default_rng(8)
    for _ in range(20):
        d, k, m = (int(v) for v in rng.permutation(np.arange(1, 8))[:3])
        A, B, x = rng.normal(size=(d, k)), rng.normal(size=(k, m)), rng.normal(size=d)
        f, g = lambda x: exp(x @ A) * 0.1, lambda y: log(1.0 + (y @ B) ** 2)
        product = jacobian(g, f(x)) @ jacobian(f, x)
        chain = lambda t: torch.log(1 + (0.1 * torch.exp(t @ torch.tensor(A))
                                         @ torch.tensor(B)) ** 2)
        assert product.shape == (m, d)
        assert check_close(product, torch.func.jacrev(chain)(torch.tensor(x)).numpy())
        assert check_close(product, jacobian(lambda x: g(f(x)), x))
        assert check_close(jacobian(lambda x: x @ A, x), A.T)  # a linear layer: J = W^T


def test_dual_broadcasting_and_axes():
    rng = np.random.default_rng(9)
    for _ in range(20):
        n, k = (int(v) for v in rng.integers(1, 6, size=2))
        X, x, v = rng.normal(size=(n, k)), rng.normal(size=k), rng.normal(size=k)
        for f in (lambda x, X: (x + X).sum(0), lambda x, X: (X * x).sum(1),
                  lambda x, X: (X - x).sum(1), lambda x, X: (x - X).sum(0)):
            y, dy = jvp(lambda x: f(x, X), x, v)
            t = torch.tensor(X)
            primals, tangents = (torch.tensor(x),), (torch.tensor(v),)
            r, dr = torch.func.jvp(lambda x: f(x, t), primals, tangents)
            assert check_close(y, r.numpy()) and check_close(dy, dr.numpy())


# %% [markdown]
# ### Kinks
#
# The function $\text{relu}(x) = \max(x, 0)$ has slope 0 on the left of 0 and 1 on the right, and no
# derivative *at* 0.
# It is convex (bowl-shaped), and a convex function has **subgradients** instead: every row $g$ with
# $f(x + dx) \ge f(x) + g \cdot dx$ for all $dx$, a line that touches and stays below.
# At a smooth point the gradient is the only one; for ReLU at 0 all numbers from 0 to 1 are.
# A library must return one number, and it depends on how you write the function:

# %%
import torch

ways = {"relu(x)": torch.relu, "clamp(x, min=0)": lambda x: x.clamp(min=0),
        "maximum(x, 0)": lambda x: torch.maximum(x, torch.zeros_like(x)),
        "where(x > 0, x, 0)": lambda x: torch.where(x > 0, x, 0)}
for name, way in ways.items():
    zero = torch.zeros((), requires_grad=True)
    way(zero).backward()
    print(f"{name:20} slope at 0: {zero.grad.item()}")

# %% [markdown]
# **What the code shows:** All of these are subgradients, so none is wrong, and for one kink it
# hardly matters: a function with bounded slopes has kinks only on a set so thin that inputs spread
# out continuously miss it with probability 1.
# Kinks matter where exact zeros and ties are common: inputs padded with zeros, equal scores.
# And subgradients do not obey the chain rule: through two kinks, autodiff can return a number that
# is no subgradient at all [@kakade2018provably], as
# [backpropagation](../neural-networks/backpropagation.py#where-it-comes-from) shows.

# %% [markdown]
# ### Integrals, as far as expectation needs them
#
# Cut the line into slices of width $dx$. The **integral** $\int f(x) \, dx$ is the limit of the sum
# of $f(x) \, dx$ over the slices, as these get thinner. (With many inputs, slices are small boxes.)
# It undoes the derivative: small changes, added up, are the whole change,
# $f(b) - f(a) = \int_a^b f'(x) \, dx$.
# If $p$ is a density (never negative, integral 1), a slice holds the probability $p(x) \, dx$, and
# the [expectation](probability.py#the-rules) is the weighted average $\mathbb{E}[f] = \int f(x) p(x) \, dx$.
#
# A training loss is the expectation, over the data, of the loss $\ell(x, \theta)$ of one example
# $x$ under the parameters $\theta$.
# Suppose $p$ does not depend on $\theta$, and $\ell$, as $\theta$ moves, has no jumps and only slopes
# below a bound with a finite expectation. Then the derivative moves inside, as with any sum:
#
# $$
# \nabla_\theta \, \mathbb{E}[\ell(x, \theta)] = \mathbb{E}[\nabla_\theta \, \ell(x, \theta)] .
# $$
#
# **What this means:** The mean gradient of a few examples drawn at random is, on average, the
# gradient of the loss. That is the licence for training on small [batches](../training/batching.py#noise-falls-with-the-square-root).
#
# If $p$ itself depends on $\theta$, as when a model is rewarded for what it *samples*
# ([reinforcement learning](../modern-llms/rlhf.py#the-policy-gradient)), differentiate $p$. By the chain rule
# $\nabla p = p \, \nabla \log p$, so, with the expectation under $p_\theta$,
#
# $$
# \nabla_\theta \int f(x) \, p_\theta(x) \, dx = \mathbb{E}\left[f(x) \, \nabla_\theta \log
# p_\theta(x)\right] .
# $$
#
# Test both on $\mathbb{E}[f(x)]$ with $x = \theta + z$, where $z$ is random with the bell-shaped
# density $e^{-z^2/2} / \sqrt{2\pi}$, called *standard normal* (the root makes its integral 1).
#
# - Inside: the density of $z$ does not depend on $\theta$, so the gradient is
#   $\mathbb{E}[f'(\theta + z)]$.
# - By the density: $\log p_\theta(x)$ is $-(x - \theta)^2 / 2$ plus a constant, with the slope
#   $x - \theta = z$ in $\theta$, so the gradient is $\mathbb{E}[f(x) \, z]$.
#
# Take a smooth $f$, then one that jumps from 0 to 1 at $x = 0$:

# %%
def normal_expectation(f, slices: int = 4000, edge: float = 10.0) -> float:
    """E[f(z)] for a standard normal z, as a sum over slices of [-edge, edge]."""
    dz = 2 * edge / slices
    z = -edge + dz * (np.arange(slices) + 0.5)
    return float((f(z) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * dz).sum())


def three_gradients(f, df, theta: float, h: float = 0.1) -> tuple[float, float, float]:
    """d/dtheta of E[f(theta + z)]: by differences, inside, by the log-density."""
    at = lambda t: normal_expectation(lambda z: f(t + z))
    return ((at(theta + h) - at(theta - h)) / (2 * h),
            normal_expectation(lambda z: df(theta + z)),
            normal_expectation(lambda z: f(theta + z) * z))  # (d/dtheta) log p = z


for name, f, df in [("x^2", lambda x: x**2, lambda x: 2 * x),
                    ("[x > 0]", lambda x: (x > 0) * 1.0, lambda x: 0 * x)]:
    truth, inside, by_density = three_gradients(f, df, theta=0.3)
    print(f"{name:8} true {truth:.3f}, inside {inside:.3f}, density {by_density:.3f}")

# %% [markdown]
# **What the code shows:** For the jump the derivative inside is 0 everywhere, and the answer is
# wrong.
# The density route [@williams1992simple] needs no slope of $f$ at all: any reward will do.
# Its price is noise: estimated from samples, it usually scatters more than the slope inside.

# %% tags=["test"]
def test_expectations_and_their_gradients():
    assert abs(normal_expectation(np.ones_like) - 1) < 1e-10
    assert abs(normal_expectation(lambda z: z**2) - 1) < 1e-10
    assert abs(normal_expectation(lambda z: z**4) - 3) < 1e-10
    rng = np.random.default_rng(10)
    for theta in rng.normal(size=20):
        for f, df in [(np.sin, np.cos), (lambda x: x**3, lambda x: 3 * x**2)]:
            _, inside, by_density = three_gradients(f, df, theta)
            assert abs(inside - by_density) < 1e-9
        jump = lambda x: (x > 0) * 1.0
        truth, inside, by_density = three_gradients(jump, lambda x: 0 * x, theta)
        density = np.exp(-(theta**2) / 2) / np.sqrt(2 * np.pi)
        assert abs(by_density - density) < 2e-3 and abs(truth - density) < 3e-2
        assert inside == 0


def test_kinks_have_the_slopes_shown():
    slopes = []
    for f in (torch.relu, lambda x: x.clamp(min=0), torch.abs,
              lambda x: torch.maximum(x, torch.zeros_like(x)),
              lambda x: torch.where(x > 0, x, 0)):
        zero = torch.zeros((), requires_grad=True)
        f(zero).backward()
        slopes.append(zero.grad.item())
    assert slopes == [0, 1, 0, 0.5, 0]


# %% [markdown]
# ## 3. Practical considerations
#
# ### Finite differences: how small is small?
#
# A quotient of differences needs no rules at all, which makes it the judge of all derivatives you
# write. It is never exact, and its step $h$ has a best size.
# By Taylor, with $u$ the relative rounding error of a value of $f$:
#
# | Quotient | Truncation | Rounding | Best $h$ | Error there |
# |---|---|---|---|---|
# | forward, $(f(x + h) - f(x)) / h$ | $\frac{h}{2} f''$ | $2u f / h$ | about $u^{1/2}$ | about $u^{1/2}$ |
# | central, $(f(x + h) - f(x - h)) / (2h)$ | $\frac{h^2}{6} f'''$ | $u f / h$ | about $u^{1/3}$ | about $u^{2/3}$ |
#
# In the central quotient the terms with $h^2$ of $f(x + h)$ and $f(x - h)$ cancel.
# Truncation grows with $h$ and rounding shrinks; the sum is smallest where their slopes balance
# (for order-1 values of $f$ and its derivatives).
# In float64, $u$ is about $10^{-16}$: take central differences with $h$ near $10^{-5}$ and expect
# ten good digits, if inputs and slopes are of order 1.

# %%
def difference(f, x: np.ndarray, h: float, central: bool = True) -> np.ndarray:
    """Difference quotient of f at every entry of x, in the precision of x."""
    h = x.dtype.type(h)
    if central:
        return (f(x + h) - f(x - h)) / (2 * h)
    return (f(x + h) - f(x)) / h


# %%
#| label: fig-step
#| fig-cap: "Relative error of difference quotients of exp in float64, median over 200 points between 0 and 1, and the sum of truncation and rounding predicted above (dotted). The flat line is the dual number, drawn at machine precision."
#| fig-alt: Two V shapes on logarithmic axes. The forward quotient is best near a step of 1e-8 with error 1e-8, the central one near 1e-5 with error 1e-11. Both follow the dotted predictions closely on the right and lie just below them on the left. The dual number's line is far below.
points = rng.uniform(0, 1, size=200)
steps = np.logspace(-14, 0, 57)
u_round = np.finfo(float).eps / 2
fig, ax = plt.subplots()
best = {}
for label, style, predicted in [
    ("forward", "--", steps / 2 + 2 * u_round / steps),
    ("central", "-", steps**2 / 6 + u_round / steps),
]:
    quotients = [difference(np.exp, points, h, label == "central") for h in steps]
    error = [np.median(np.abs(q / np.exp(points) - 1)) for q in quotients]
    best[label] = steps[np.argmin(error)]
    (line,) = ax.loglog(steps, error, style, label=label)
    ax.loglog(steps, predicted, ":", color=line.get_color(), linewidth=1.2)
ax.axhline(2 * u_round, color="C2", linestyle="-.", label="dual number")
_, by_dual = jvp(exp, points, np.ones(200))
assert np.abs(by_dual / np.exp(points) - 1).max() <= 2 * u_round
ax.set(xlabel="step", ylabel="relative error", ylim=(1e-17, 10))
ax.legend(loc="upper center", ncols=3);

# %% [markdown]
# **What the code shows:** Measured best steps are
# `{python} f"{best['forward']:.0e}"` for the forward and
# `{python} f"{best['central']:.0e}"` for the central quotient in @fig-step, where theory wants
# them.
# A smaller step is not a better one.
# (If your function accepts complex numbers, $\text{Im} f(x + ih) / h$ with $h = 10^{-20}$ subtracts
# nothing and reaches the dual number's precision [@squire1998complex].)

# %% tags=["test"]
def test_difference_quotients_have_their_orders_and_best_steps():
    rng = np.random.default_rng(11)
    for _ in range(20):
        x = rng.uniform(0.5, 1.5, size=int(rng.integers(1, 9)))
        for central, order in [(True, 2), (False, 1)]:
            coarse, fine = (np.abs(difference(np.exp, x, h, central) - np.exp(x))
                            for h in (1e-2, 1e-3))
            assert np.abs(np.log10(coarse / fine) - order).max() < 0.1
        assert np.abs(difference(np.exp, x, 1e-5) / np.exp(x) - 1).max() < 1e-9
        assert np.abs(difference(np.exp, x, 1e-8, False) / np.exp(x) - 1).max() < 1e-6
        assert np.abs(difference(np.exp, x, 1e-13) / np.exp(x) - 1).max() > 1e-6
        by_complex = np.exp(x + 1e-20j).imag / 1e-20
        assert np.abs(by_complex / np.exp(x) - 1).max() < 1e-15
    assert difference(np.exp, np.ones(3, np.float32), 1e-3).dtype == np.float32


# %% [markdown]
# ### Experiment: what does one direction at a time cost?
#
# **Question.** A JVP gives the slope along one random direction $u$ of length 1, without storing
# anything for a backward sweep.
# How many more steps does training take if you step by $-\eta (\nabla L \cdot u) u$ instead of
# $-\eta \nabla L$?
#
# **Prediction.** The first-order gain is $\eta (\nabla L \cdot u)^2$ instead of
# $\eta \lVert \nabla L \rVert^2$: a fraction $\cos^2 \alpha$.
# Over $d$ perpendicular directions the squared cosines add up to 1, and none is preferred, so
# their mean is $1/d$. Training should take $d$ times as many steps.
#
# The model is a linear classifier with 2 classes and cross-entropy. Both methods use the same
# $\eta$ and stop when the loss has halved.

# %%
def classifier_loss(W, X: np.ndarray, T: np.ndarray):
    """Mean cross-entropy of X @ W (n, K) for one-hot T (n, K); W may be a Dual."""
    S = X @ W
    return (log(exp(S).sum(axis=1)) - (S * T).sum(axis=1)).sum() * (1 / len(X))


def steps_to_half(d_in: int, seed: int, one_direction: bool, lr: float = 0.1) -> float:
    """Steps of gradient descent from W = 0 until the loss has halved."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(256, d_in))
    T = np.eye(2)[(X @ rng.normal(size=d_in) > 0).astype(int)]
    W, steps = np.zeros((d_in, 2)), 0
    loss = before = classifier_loss(W, X, T)
    half = 0.5 * loss
    while loss > half:
        if one_direction:
            u = rng.normal(size=W.shape)
            u /= np.linalg.norm(u)
            _, slope = jvp(lambda W: classifier_loss(W, X, T), W, u)
            W = W - lr * slope * u
        else:
            W = W - lr * X.T @ (softmax(X @ W) - T) / len(X)
        before, loss, steps = loss, classifier_loss(W, X, T), steps + 1
    return steps - (half - loss) / (before - loss)  # the last step counts in part


def step_ratio(d_in: int, seed: int, lr: float = 0.1) -> float:
    """How many times as many steps one direction at a time takes."""
    return steps_to_half(d_in, seed, True, lr) / steps_to_half(d_in, seed, False, lr)


SIZES, SEEDS = (1, 2, 4, 8, 16, 32), range(10)
ratio = np.array([[step_ratio(d_in, seed) for seed in SEEDS] for d_in in SIZES])
large_rate = np.median([step_ratio(SIZES[-1], seed, lr=0.5) for seed in SEEDS])
for d_in, row in zip(SIZES, ratio):
    print(f"{2 * d_in:3d} parameters: {np.median(row):5.1f} times as many steps "
          f"({row.min():.1f} to {row.max():.1f})")

# %%
#| label: fig-directions
#| fig-cap: "Steps with one random direction at a time, divided by steps with the whole gradient. Line, the median of the seeds 0 to 9; band, smallest to largest; dotted, the prediction: the number of parameters."
#| fig-alt: On logarithmic axes the median rises along the dotted line of slope one, from 2 parameters to 64, and the band is widest at 2.
fig, ax = plt.subplots(figsize=(6.4, 3.0))
params = 2 * np.array(SIZES)
ax.loglog(params, np.median(ratio, axis=1), "o-", label="measured")
ax.fill_between(params, ratio.min(axis=1), ratio.max(axis=1), alpha=0.2)
ax.loglog(params, params, ":", color="0.3", label="predicted")
ax.set(xlabel="parameters", ylabel="ratio of steps")
ax.set_xticks(params, params)
ax.set_yticks(params, params)
ax.minorticks_off()
ax.legend();

# %% tags=["test", "experiment"]
def test_the_ratio_grows_like_the_number_of_parameters():
    assert np.abs(np.log(np.median(ratio, axis=1) / params)).max() < np.log(1.25)


# %% [markdown]
# **What the code shows:** The ratio follows $d$ in @fig-directions, for small steps in one convex
# problem with 10 seeds.
# It is a first-order prediction: at $\eta = 0.5$ instead of 0.1, 64 parameters take
# `{python} f"{large_rate:.0f}"` times as many steps.
# The idea, times $d$ so that it is right on average, is the *forward gradient*
# [@baydin2022gradients]; a variant with two forward passes and finite differences fine-tuned
# language models of up to 66 billion parameters [@malladi2023finetuning].
# Its authors explain why $d$ times was too pessimistic there by a Hessian with few large curvatures.

# %% [markdown]
# ### Three failures
#
# **1. A difference with a bad step.** The loss $\text{lse}(t, -2t)$ of @fig-taylor at 0.5, one-sided,
# in 32 bits:

# %%
def slope_in_float32(h: float) -> float:
    """One-sided slope of log(exp(t) + exp(-2t)) at t = 0.5, all in float32."""
    two = np.array([1, -2], dtype=np.float32)
    f = lambda t: log_sum_exp(t[:, None] * two)
    return float(difference(f, np.array([0.5], dtype=np.float32), h, central=False)[0])


for h in [1.0, 1e-1, 1e-3, 1e-8]:
    error = slope_in_float32(h) / slope - 1
    print(f"h = {h:g}: slope {slope_in_float32(h):.3f}, error {error:.1%}")

# %% [markdown]
# *Symptom:* the slope is wrong at both ends, and at $10^{-8}$ it is exactly 0.
# *Cause:* large steps meet the curvature, small ones the rounding: $0.5 + 10^{-8}$ is 0.5 in 32
# bits.
# *Fix:* float64, central, $h$ near $10^{-5}$ times the scale of $t$; or autodiff.
#
# **2. A loss without slope.** Accuracy is what you want, so why not train on it?

# %%
def accuracy_and_loss_slopes(seed: int = 12, h: float = 1e-5) -> tuple[float, float]:
    """Largest slope of accuracy and of cross-entropy in any weight of a classifier."""
    rng = np.random.default_rng(seed)
    X, W = rng.normal(size=(50, 6)), rng.normal(size=(6, 3))
    y = rng.integers(0, 3, size=50)
    largest = []
    for score in (lambda W: ((X @ W).argmax(axis=1) == y).mean(),
                  lambda W: classifier_loss(W, X, np.eye(3)[y])):
        nudges = [h * np.eye(18)[i].reshape(6, 3) for i in range(18)]
        largest.append(max(abs(score(W + e) - score(W - e)) / (2 * h) for e in nudges))
    return largest[0], largest[1]


print("largest slope: accuracy {:.2f}, cross-entropy {:.2f}".format(
    *accuracy_and_loss_slopes()))

# %% [markdown]
# *Symptom:* every gradient is exactly 0 and nothing moves.
# *Cause:* accuracy is constant except where it jumps; so are `argmax`, `round` and any threshold.
# *Fix:* train on a smooth stand-in (cross-entropy), or differentiate the probability of the
# outcome, as above.
#
# **3. Zero times infinity.** A square root has infinite slope at 0, so you exclude 0 with `where`.

# %%
def guarded_root(x: torch.Tensor, safe: bool) -> torch.Tensor:
    """sqrt(x) where x > 0, else 0; `safe` also guards what goes into the root."""
    inside = torch.where(x > 0, x, 1.0) if safe else x
    return torch.where(x > 0, torch.sqrt(inside), 0.0)


for safe in (False, True):
    x_root = torch.tensor([0.0, 4.0], requires_grad=True)
    guarded_root(x_root, safe).sum().backward()
    print(f"safe {safe}: value {guarded_root(x_root, safe).tolist()}, "
          f"gradient {x_root.grad.tolist()}")

# %% [markdown]
# *Symptom:* the loss is finite, the gradient is NaN, and one step later so is every parameter it reaches.
# *Cause:* the chain rule multiplies the 0 of the branch not taken by the infinite slope inside it.
# *Fix:* make the *input* of the dangerous function harmless, then select; or add a small constant
# under the root, as [normalisation layers](../neural-networks/regularization.py#keep-the-signals-in-range) do.

# %% tags=["test"]
def test_three_failures_and_their_fixes():
    exact = 0.4528
    assert slope_in_float32(1e-8) == 0
    measured = slope_in_float32(1e-3)
    assert float(np.float32(measured)) == measured  # nothing ran in float64
    assert abs(slope_in_float32(1e-3) / exact - 1) < 0.01
    assert abs(slope_in_float32(1.0) / exact - 1) > 0.3
    accuracy, loss = accuracy_and_loss_slopes()
    rng = np.random.default_rng(12)
    X, W = rng.normal(size=(50, 6)), rng.normal(size=(6, 3))
    errors = softmax(X @ W) - np.eye(3)[rng.integers(0, 3, size=50)]
    assert accuracy == 0 and abs(loss - np.abs(X.T @ errors).max() / 50) < 1e-8
    for safe in (False, True):
        x = torch.tensor([0.0, 4.0], requires_grad=True)
        value = guarded_root(x, safe)
        value.sum().backward()
        assert value.tolist() == [0, 2] and x.grad[1] == 0.25
        assert (x.grad[0] == 0) if safe else torch.isnan(x.grad[0])


def test_classifier_loss_and_its_gradient_match_torch():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d, K = (int(v) for v in rng.permutation(np.arange(1, 9))[:3])
        X, y = rng.normal(size=(n, d)), rng.integers(0, K, n)
        W, U = rng.normal(size=(2, d, K))
        value, slope = jvp(lambda W: classifier_loss(W, X, np.eye(K)[y]), W, U)
        loss = lambda W: F.cross_entropy(torch.tensor(X) @ W, torch.tensor(y))
        assert check_close(value, loss(torch.tensor(W)).numpy())
        assert check_close(slope, (gradients(loss, W)[0] * U).sum())
        ours = X.T @ (softmax(X @ W) - np.eye(K)[y]) / n
        assert check_close(ours, gradients(loss, W)[0])


# %% [markdown]
# ### Conventions and common confusions
#
# > [!NOTE]
# > - *Layout.* One row of $J$ per output is numerator layout, and $\bar{y} J$ is a VJP, here and in
# >   the rest of the book. Denominator layout transposes everything. With column vectors the same $J$
# >   gives $dy = J \, dx$ and the gradient is often a column.
# > - *The gradient of a matrix* has the shape of the matrix, here and in every library. Strict
# >   numerator layout would transpose it.
# > - *The letter d.* Here $dX$ is a small change of $X$. Topics on training, and most code, write
# >   `dX` for the gradient $\partial L / \partial X$. The two meet in $dL = \sum_{ij} G_{ij} dX_{ij}$.
# > - *Derivative or gradient.* The derivative is the linear map from changes to changes. The gradient
# >   represents it through a dot product, and so depends on the yardstick.
# > - *Factor one half.* $\frac{1}{2}\lVert XW - Y \rVert^2$ has no 2 in its gradient, a mean has
# >   $1/n$. Papers differ.
# > - *Partial derivatives are not enough.* $x_1 x_2 / (x_1^2 + x_2^2)$, set to 0 at the origin, has
# >   both there and even jumps. Continuous partial derivatives are what you need.
# > - *Names.* A JVP is also called pushforward, and $\dot{x}$ a tangent; a VJP pullback, and $\bar{y}$
# >   a cotangent. `torch`'s `backward` on several outputs is a VJP, never a Jacobian.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): a chain by hand
#
# Let $y = (x_1 + x_2, \quad x_1 x_2, \quad x_2^2)$ and $L = y_1 + 2 y_2 + 3 y_3$ at $x = (1, 2)$.
# Write down $J_f$, compute $\nabla L$ as a VJP, and predict the change of $L$ for
# $dx = (0.01, -0.01)$.

# %% [markdown] tags=["solution"]
# The rows of $J_f$ are $(1, 1)$, $(x_2, x_1) = (2, 1)$ and $(0, 2 x_2) = (0, 4)$.
# The gradient of $L$ with respect to $y$ is $(1, 2, 3)$, so
# $\nabla L = (1 + 4 + 0, 1 + 2 + 12) = (5, 15)$.
# The prediction is $0.05 - 0.15 = -0.1$.

# %% [markdown]
# ### Exercise 2 (check): centring
#
# The function $f(x) = x - \text{mean}(x)$ subtracts from each of $d$ entries their mean; layer
# [normalisation](../neural-networks/regularization.py#norms-backwards) starts with it.
# Write down its Jacobian for $d = 3$ and its VJP for any $d$.
# What is the sum of the entries of every gradient that has passed through it?

# %% [markdown] tags=["solution"]
# $dy_i = dx_i - \frac{1}{d}\sum_j dx_j$, so $J_{ij} = [i = j] - 1/d$: for $d = 3$ it has $2/3$ on the
# diagonal and $-1/3$ elsewhere.
# $J$ is symmetric, so the VJP is the function itself: $\bar{y} - \text{mean}(\bar{y})$.
# Its entries sum to 0: a shift of all inputs changes nothing, so the slope along
# $(1, \dots, 1)$ is 0.

# %% [markdown]
# ### Exercise 3 (apply): weighted ridge regression
#
# Let $L = \sum_i c_i \lVert x_i W - y_i \rVert^2 + \lambda \lVert W \rVert^2$ with a weight $c_i$ for
# each row.
# Find $\partial L / \partial W$ by differentials, without a loop.

# %%
def ridge_gradient(X: np.ndarray, W: np.ndarray, Y: np.ndarray, c: np.ndarray,
                   lam: float) -> np.ndarray:
    """Gradient (d, k) of the weighted ridge loss; X (n, d), Y (n, k), c (n,)."""
    ### BEGIN SOLUTION
    return 2 * X.T @ (c[:, None] * (X @ W - Y)) + 2 * lam * W
    ### END SOLUTION


# %% tags=["test"]
def test_ridge_gradient():
    rng = np.random.default_rng(14)
    for trial in range(20):
        d, k, n = (int(v) for v in rng.permutation(np.arange(1, 9))[:3])
        n = 0 if trial == 0 else n
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, k))
        Y = rng.normal(size=(n, k))
        c, lam = rng.uniform(size=n), float(rng.uniform(0, 3))
        R = lambda W: torch.tensor(X) @ W - torch.tensor(Y)
        weighted = lambda W: (torch.tensor(c)[:, None] * R(W) ** 2).sum()
        loss = lambda W: weighted(W) + lam * (W**2).sum()
        assert check_close(ridge_gradient(X, W, Y, c, lam), gradients(loss, W)[0])


# %% [markdown] tags=["solution"]
# With $R = XW - Y$ and $C = \text{diag}(c)$ the first sum is $\text{tr}(R^\top C R)$, so
# $dL = 2 \, \text{tr}(R^\top C X \, dW) + 2 \lambda \, \text{tr}(W^\top dW)$ and
# $\partial L / \partial W = 2 X^\top C R + 2 \lambda W$.
# Multiplying row $i$ of $R$ by $c_i$ gives $CR$ without the matrix $C$.

# %% [markdown]
# ### Exercise 4 (apply): the VJP of RMS normalisation
#
# Most open language models of 2026 divide each row by its root mean square: $y = x / r$ with
# $r = \sqrt{\frac{1}{d} \lVert x \rVert^2 + \epsilon}$.
# Write $dy$ with the quotient rule, and from it the VJP, for a batch of rows, without building $J$.

# %%
def rms_norm_vjp(X: np.ndarray, Y_bar: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """VJP (n, d) of RMS normalisation of the rows of X (n, d) for Y_bar (n, d)."""
    ### BEGIN SOLUTION
    r = np.sqrt((X**2).mean(axis=1, keepdims=True) + eps)
    return Y_bar / r - X * (X * Y_bar).mean(axis=1, keepdims=True) / r**3
    ### END SOLUTION


# %% tags=["test"]
def test_rms_norm_vjp():
    rng = np.random.default_rng(15)
    for trial in range(20):
        n, d = trial % 5, int(rng.integers(1, 9))
        X = rng.normal(size=(n, d)) * [1, 100, 0][trial % 3]
        Y_bar, eps = rng.normal(size=(n, d)), float(rng.uniform(0.01, 1))
        f = lambda X: F.rms_norm(X, (d,), eps=eps)
        (expected,) = torch.func.vjp(f, torch.tensor(X))[1](torch.tensor(Y_bar))
        assert check_close(rms_norm_vjp(X, Y_bar, eps), expected.numpy())


# %% [markdown] tags=["solution"]
# From $r^2 = \frac{1}{d} \lVert x \rVert^2 + \epsilon$ follows $r \, dr = \frac{1}{d} x \cdot dx$, and
# $dy = dx / r - x \, dr / r^2 = dx / r - x (x \cdot dx) / (d r^3)$.
# The Jacobian is symmetric, so the VJP has the same form with $\bar{y}$ for $dx$.
# Nearly all of the gradient along $x$ is removed: rescaling $x$ hardly changes $y$.

# %% [markdown]
# ### Exercise 5 (apply): cancel the truncation
#
# The central quotient $D(h)$ has the error $\frac{h^2}{6} f''' + O(h^4)$.
# Combine $D(h)$ and $D(h/2)$ so that the term with $h^2$ disappears (Richardson extrapolation).

# %%
def extrapolated(f, x: np.ndarray, h: float) -> np.ndarray:
    """Slope of f at every entry of x with an error of order h^4."""
    ### BEGIN SOLUTION
    return (4 * difference(f, x, h / 2) - difference(f, x, h)) / 3
    ### END SOLUTION


# %% tags=["test"]
def test_extrapolated():
    rng = np.random.default_rng(16)
    for _ in range(20):
        x = rng.uniform(0.5, 1.5, size=int(rng.integers(1, 9)))
        coarse, fine = (np.abs(extrapolated(np.exp, x, h) - np.exp(x))
                        for h in (0.2, 0.1))
        assert np.abs(np.log2(coarse / fine) - 4).max() < 0.1
        assert np.abs(extrapolated(np.exp, x, 1e-3) / np.exp(x) - 1).max() < 1e-11


# %% [markdown] tags=["solution"]
# $D(h/2)$ has a quarter of the error, $\frac{h^2}{24} f''' + O(h^4)$.
# In $4 D(h/2) - D(h)$ the two cancel, and $3 f' + O(h^4)$ is left.

# %% [markdown]
# ### Exercise 6 (explore): duals of duals
#
# The parts of a `Dual` may themselves be duals.
# Use that to compute $u H v^\top$ in one run of $f$, without a single entry of $H$.
# What would go wrong if both levels shared one $\varepsilon$?

# %%
def hessian_form(f, x: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    """u H v^T for the Hessian H of f at x; f gives one number, x, u, v are (d,)."""
    ### BEGIN SOLUTION
    inner = Dual(x, v)  # moves along v
    direction = Dual(u, np.zeros_like(u))  # u does not depend on x
    return f(Dual(inner, direction)).dot.dot
    ### END SOLUTION


# %% tags=["test"]
def test_hessian_form():
    rng = np.random.default_rng(17)
    for trial in range(20):
        d, k, m = (int(v) for v in rng.permutation(np.arange(1, 7))[:3])
        A, B, c = rng.normal(size=(d, k)), rng.normal(size=(k, m)), rng.normal(size=m)
        x, u, v = 0.5 * rng.normal(size=(3, d))
        ours = random_network(A, B, c, exp, log)
        torch_weights = [torch.tensor(t) for t in (A, B, c)]
        theirs = random_network(*torch_weights, torch.exp, torch.log)
        H = torch.func.hessian(lambda t: theirs(t).sum())(torch.tensor(x)).numpy()
        assert check_close(hessian_form(lambda t: ours(t).sum(), x, u, v), u @ H @ v, 1e-9)
    assert hessian_form(L_hand, np.array([2.0, 1.0]), np.array([1.0, 0.0]),
                        np.array([0.0, 1.0])) == 12


# %% [markdown] tags=["solution"]
# The outer level differentiates along $u$: its `dot` is the number $\nabla f \cdot u$, as a program.
# The inner level differentiates that program along $v$.
# With one shared $\varepsilon$ the product of the two changes would be dropped as
# $\varepsilon^2 = 0$, although it is exactly what you want: the two must be kept apart, as
# $\varepsilon_1 \varepsilon_2 \ne 0$.
# Mixing them up is a known bug of automatic differentiation, *perturbation confusion*.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Gradient | $df = \nabla f \cdot dx$; steepest ascent | `w - lr * grad` | every [optimizer](../training/optimizers.py) |
# | Jacobian, chain rule | $dy = dx \, J^\top$; $J_{g \circ f} = J_g J_f$ | `jacobian(g, f(x)) @ jacobian(f, x)` | [backpropagation](../neural-networks/backpropagation.py) |
# | JVP, VJP | $J \dot{x}^\top$, $\bar{y} J$ | `jvp(f, x, v)`, `y_bar @ J` | forward and reverse mode |
# | Second order | $\frac{1}{2} dx \, H \, dx^\top$ | `0.5 * dx @ H @ dx` | [optimization](optimization.py), learning rates |
# | Differentials | $dL = \text{tr}(G^\top dW)$, so $\partial L / \partial W = G$ | `2 * X.T @ (X @ W - Y)` | any gradient by hand |
# | Log-sum-exp | gradient $p$, Hessian $\text{diag}(p) - p^\top p$ | `softmax(s)` | [cross-entropy](../training/loss-functions.py), [attention](../transformers/attention.py) |
# | Dual numbers | $f(a + b\varepsilon) = f(a) + f'(a) \, b \, \varepsilon$ | `Dual(x, v)` | forward mode |
# | Central difference | error about $u^{2/3}$ at $h = u^{1/3}$ | `difference(f, x, 1e-5)` | tests of gradients |
# | Gradient of an expectation | $\mathbb{E}[\nabla \ell]$, or $\mathbb{E}[f \, \nabla \log p]$ | average over a batch | [batching](../training/batching.py), [RLHF](../modern-llms/rlhf.py#the-policy-gradient) |
#
# **The essential insight:** A derivative is a promise about small changes: the output's change is a
# linear function of the input's. Linear functions are the ones we can compute with: they add over
# inputs, they multiply along a chain, and a matrix holds them. So a program of any length has a
# derivative made of the derivatives of its steps, found by bookkeeping alone. The promise is local,
# and curvature says how local.
