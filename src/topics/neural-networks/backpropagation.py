# ---
# title: Backpropagation
# summary: The gradient of every parameter for the price of about two more forward passes.
# prerequisites:
#   - math-foundations/linear-algebra: matrix products, transposes and their shapes
#   - math-foundations/calculus: partial derivatives, gradients, the chain rule, Jacobians
#   - neural-networks/perceptron: a single unit and what it means to train its weights
#   - neural-networks/multilayer-networks: the forward pass of a multilayer network
# notebooks: [02-backprop-from-scratch]
# packages: [numpy, matplotlib, torch]
# ---

# %% [markdown]
# # Backpropagation
#
# $$
# \boxed{
# \begin{aligned}
# \frac{\partial L}{\partial W^{(l)}} &= \left(h^{(l-1)}\right)^\top \delta^{(l)}, \quad
# \frac{\partial L}{\partial b^{(l)}} = \sum_{i=1}^{n} \delta^{(l)}_i \\
# \delta^{(l-1)} &= \left(\delta^{(l)} \left(W^{(l)}\right)^\top\right) \odot
# \phi'\left(z^{(l-1)}\right)
# \end{aligned}
# }
# $$
#
# Layer $l$ of a network computes $z^{(l)} = h^{(l-1)} W^{(l)} + b^{(l)}$ and
# $h^{(l)} = \phi(z^{(l)})$, one example per row, $n$ rows; $h^{(0)}$ is the input, and the last
# layer stops at $z$.
# $W^{(l)}$ and $b^{(l)}$ are its weights and biases, $\phi$ its activation function, $\phi'$
# the derivative of $\phi$, and $\odot$ the elementwise product.
# $L$ is the loss, a single number (as an index, $L$ is the last layer).
# The error signal $\delta^{(l)} = \partial L / \partial z^{(l)}$ has the shape of
# $z^{(l)}$, and $\delta^{(l)}_i$ is its row $i$.
#
# One sweep from output to input gives the exact derivative of the loss with respect to every
# parameter [@rumelhart1986learning].
# In 2026 every large language model is trained with it.

# %% [markdown]
# ## 1. One sweep instead of a billion forward passes
#
# To train a network you need to know how the loss changes with each parameter.
# The obvious way is to ask: nudge one parameter up, nudge it down, compare the two losses.
# For a parameter $\theta$ this is the central difference
# $(L(\theta + \epsilon) - L(\theta - \epsilon)) / 2\epsilon$ of
# [calculus](../math-foundations/calculus.py#finite-differences-how-small-is-small).
# Try it on a small [multilayer network](multilayer-networks.py) that sorts inputs into 5 classes.
# (Section 2 explains its loss, the cross-entropy; here it is a number to be made small.)

# %%
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np


def init_params(sizes: list[int], rng: np.random.Generator, gain: float = 2.0) -> list:
    """Pairs (W, b), shapes (d_in, d_out) and (d_out,), with Var(W) = gain / d_in."""
    return [
        (rng.normal(0, np.sqrt(gain / d_in), (d_in, d_out)), rng.normal(0, 0.1, d_out))
        for d_in, d_out in zip(sizes[:-1], sizes[1:])
    ]


def activate(z: np.ndarray, kind: str) -> np.ndarray:
    """The activation phi(z), elementwise."""
    if kind == "relu":
        return np.maximum(z, 0)
    return np.tanh(z) if kind == "tanh" else 1 / (1 + np.exp(-z))


def forward(params: list, X: np.ndarray, kind: str = "relu") -> list:
    """Outputs h[0] = X (n, d_0), h[1], ..., h[L] = logits (n, K), which are linear."""
    h = [X]
    for l, (W, b) in enumerate(params, start=1):
        z = h[l - 1] @ W + b
        h.append(activate(z, kind) if l < len(params) else z)
    return h


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over the n rows of -log softmax(logits)[y]; logits (n, K), y (n,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return (log_sum - shifted[np.arange(len(y)), y]).mean()


# %%
def numerical_gradient(f: Callable, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of the number f() in every entry of x, which f reads."""
    grad = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        saved = x[i]
        x[i] = saved + step
        above = f()
        x[i] = saved - step
        below = f()
        x[i] = saved
        grad[i] = (above - below) / (2 * step)
    return grad


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """0 for equal arrays, 1 for opposite ones, whatever their scale."""
    total = np.linalg.norm(a) + np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / total) if total > 0 else 0.0


rng = np.random.default_rng(0)
net = init_params([20, 30, 5], rng)
X, y = rng.normal(size=(16, 20)), rng.integers(0, 5, size=16)
net32 = [(W.astype(np.float32), b.astype(np.float32)) for W, b in net]
X32 = X.astype(np.float32)

n_params = sum(W.size + b.size for W, b in net)
in_float32 = numerical_gradient(lambda: cross_entropy(forward(net32, X32)[-1], y),
                                net32[0][0], step=1e-3)
in_float64 = numerical_gradient(lambda: cross_entropy(forward(net, X)[-1], y),
                                net[0][0])
print("parameters:", n_params, " forward passes for one gradient:", 2 * n_params)

# %% [markdown]
# One gradient of this toy costs `{python} f"{2 * n_params:,}"` forward passes, and training
# needs one gradient per step.
# For the 174.6 billion parameters of GPT-3 it would be `{python} f"{2 * 174.6:.0f}"` billion per step.
# You also pay in accuracy: in 32-bit arithmetic with a step of 0.001 the relative error of the
# gradient of $W^{(1)}$ is `{python} f"{relative_error(in_float32, in_float64):.0e}"`, and no step
# makes it exact.
#
# The waste is plain.
# Each nudge recomputes the whole network, although a weight in the last layer changes nothing
# before it, and all weights of the first layer act on the loss through the same later layers.
# Backpropagation computes what is shared once.
#
# ### The picture
#
# Write the computation as a graph: each box a value, each arrow "is used to compute".
# Run it left to right and keep every value. Then run it right to left.
# Each box receives one number per entry: how much the loss changes when that entry changes.
# It multiplies by its own local derivative and passes the product to the boxes that fed it.
# Three rules are enough for any graph:
#
# 1. **Chain: multiply.** Gradient in, times local derivative, gradient out.
# 2. **Fan-out: add.** A value used in two places receives two gradients. It moves the loss along
#    both ways, so its gradient is their sum.
# 3. **Broadcast: sum.** A bias added to $n$ rows is a value used $n$ times. Its gradient is the
#    sum over the rows: rule 2 again.
#
# No box needs to know the graph. It needs its inputs, its outputs and the gradient that arrives.

# %% [markdown]
# ### Mathematical foundation
#
# All of backpropagation for a [linear layer](../math-foundations/linear-algebra.py#a-matrix-is-a-map) is in one
# entry.
# Let $Y = XW + b$, so that $Y_{ij} = \sum_k X_{ik} W_{kj} + b_j$.
# The loss depends on $W_{kj}$ only through column $j$ of $Y$, once in each row $i$.
# The chain rule adds up these ways:
#
# $$
# \frac{\partial L}{\partial W_{kj}}
# = \sum_{i} \frac{\partial L}{\partial Y_{ij}} \frac{\partial Y_{ij}}{\partial W_{kj}}
# = \sum_{i} X_{ik} \frac{\partial L}{\partial Y_{ij}} .
# $$
#
# That sum over $i$ is a matrix product with $X$ transposed.
# In the same way $X_{ik}$ reaches the loss through row $i$ of $Y$, once in each column $j$, with
# local derivative $W_{kj}$; and $b_j$ reaches it through every row, with local derivative 1.
# So
#
# $$
# dW = X^\top dY, \qquad dX = dY W^\top, \qquad db = \sum_{i} dY_{i},
# $$
#
# where $dA$ is short for $\partial L / \partial A$ and always has the shape of $A$.
# An elementwise activation $h = \phi(z)$ has one local derivative per entry, so
# $dz = dh \odot \phi'(z)$.
# Put the two together, with $dz^{(l)} = \delta^{(l)}$, and you have the boxed recursion.
#
# **What this means:** A layer runs forward with $W$ and backward with $W^\top$.
# The gradient of a weight is the signal that came in, times the error that came back, summed over
# the batch.
#
# When the dimensions differ, the shapes leave only one order of the factors. (When they are equal,
# a slip runs silently; Section 3 catches one.)
#
# | Quantity | Code | Shape | Layer 1 of the example below |
# |---|---|---|---|
# | input of layer $l$ | `h[l-1]` | $(n, d_{l-1})$ | (1, 2) |
# | weights, and $\partial L / \partial W^{(l)}$ | `W`, `grads["W1"]` | $(d_{l-1}, d_l)$ | (2, 3) |
# | biases, and $\partial L / \partial b^{(l)}$ | `b`, `grads["b1"]` | $(d_l)$ | (3) |
# | error signal $\delta^{(l)}$ | `delta`, `grads["z1"]` | $(n, d_l)$ | (1, 3) |
# | gradient passed on, $\delta^{(l)} (W^{(l)})^\top$ | `grads["h0"]` | $(n, d_{l-1})$ | (1, 2) |
# | loss | `loss` | one number | () |

# %% [markdown]
# ### By hand
#
# Take one example $x = (1, 2)$ with target 2, three ReLU units ($\phi(z) = \max(z, 0)$), one
# linear output, and the loss $L = \frac{1}{2}(z^{(2)} - 2)^2$. The parameters are
#
# $$
# \begin{aligned}
# W^{(1)} &= \begin{bmatrix} 1 & -1 & 0.5 \\ 0.5 & 1 & -1 \end{bmatrix}, \quad
# b^{(1)} = (0, 0, 0), \\
# W^{(2)} &= \begin{bmatrix} 1 \\ -2 \\ 3 \end{bmatrix}, \quad
# b^{(2)} = 0.5 .
# \end{aligned}
# $$
#
# Forward, keeping every value:
#
# $$
# \begin{aligned}
# z^{(1)} &= (2, 1, -1.5), \quad h^{(1)} = (2, 1, 0), \\
# z^{(2)} &= 2 - 2 + 0 + 0.5 = 0.5, \\
# L &= \frac{1}{2}(-1.5)^2 = 1.125 .
# \end{aligned}
# $$
#
# Backward, from the right:
#
# $$
# \begin{aligned}
# \delta^{(2)} &= z^{(2)} - 2 = -1.5 \\
# dW^{(2)} &= \left(h^{(1)}\right)^\top \delta^{(2)} = (-3, -1.5, 0)^\top \\
# dh^{(1)} &= \delta^{(2)} \left(W^{(2)}\right)^\top = (-1.5, 3, -4.5) \\
# \delta^{(1)} &= dh^{(1)} \odot (1, 1, 0) = (-1.5, 3, 0) \\
# dW^{(1)} &= x^\top \delta^{(1)} = \begin{bmatrix} -1.5 & 3 & 0 \\ -3 & 6 & 0 \end{bmatrix} \\
# dx &= \delta^{(1)} \left(W^{(1)}\right)^\top = (-4.5, 2.25)
# \end{aligned}
# $$
#
# The third unit is off ($z = -1.5$, so its derivative is 0), and the gradient stops there.
# With one row there is nothing to sum, so $db^{(l)} = \delta^{(l)}$.

# %% [markdown]
# ### In code
#
# The backward pass is the boxed equation, line for line.
# For the three activations used here $\phi'(z)$ can be written with $h = \phi(z)$ alone, so only
# $h$ is kept.

# %%
def activate_grad(h: np.ndarray, kind: str) -> np.ndarray:
    """phi'(z), from the saved output h = phi(z)."""
    if kind == "relu":
        return (h > 0).astype(h.dtype)
    return 1 - h**2 if kind == "tanh" else h * (1 - h)


def backward(params: list, h: list, delta: np.ndarray, kind: str = "relu") -> dict:
    """From delta = dL/dlogits (n, K): gradients "W1", "b1", "z1", "h0", ... by name."""
    grads = {}
    for l in range(len(params), 0, -1):
        W, b = params[l - 1]
        grads[f"z{l}"] = delta
        grads[f"W{l}"] = h[l - 1].T @ delta
        grads[f"b{l}"] = delta.sum(axis=0)
        grads[f"h{l - 1}"] = delta @ W.T
        assert grads[f"W{l}"].shape == W.shape and grads[f"b{l}"].shape == b.shape
        if l > 1:
            delta = grads[f"h{l - 1}"] * activate_grad(h[l - 1], kind)
    return grads


x = np.array([[1.0, 2.0]])
hand = [(np.array([[1, -1, 0.5], [0.5, 1, -1]]), np.zeros(3)),
        (np.array([[1.0], [-2.0], [3.0]]), np.array([0.5]))]
h = forward(hand, x)
loss = 0.5 * ((h[2] - 2) ** 2).sum()
grads = backward(hand, h, delta=h[2] - 2)

assert loss == 1.125
assert np.array_equal(grads["W2"], [[-3], [-1.5], [0]])
assert np.array_equal(grads["h1"], [[-1.5, 3, -4.5]])
assert np.array_equal(grads["W1"], [[-1.5, 3, 0], [-3, 6, 0]])
assert np.array_equal(grads["h0"], [[-4.5, 2.25]])
print(grads["W1"])

# %% [markdown]
# **What the code shows:** The column of zeros is the unit that is off.
# An example adds a zero *column* to $dW^{(1)}$ for each unit that it leaves off, and a zero *row*
# for each input that is zero.
# A unit that is off for every example stops learning: see
# [activation functions](activation-functions.py#dead-units-and-activations-that-cannot-die).
# @fig-graph shows both sweeps.

# %%
#| label: fig-graph
#| fig-cap: The computational graph of the example. Each box holds a name, a value and, below the dashes, the gradient of the loss with respect to that value.
#| fig-alt: Boxes x, z1, h1, z2 and L in a row, with W1, b1, W2 and b2 below. Solid arrows run right, dashed arrows run left. The gradient of the third hidden unit is minus 4.5 at h1 and 0 at z1, because the inactive unit stops it.
def draw_box(ax: plt.Axes, at: tuple, name: str, value: np.ndarray,
             grad: np.ndarray) -> None:
    """A box at (x, y) with a name, a value and its gradient."""
    rows = [" ".join(f"{v:g}" for v in row) for row in np.atleast_2d(value)]
    grad_rows = [" ".join(f"{v + 0:g}" for v in row) for row in np.atleast_2d(grad)]
    label = f"{name}\n" + "\n".join(rows) + "\n– – –\n" + "\n".join(grad_rows)
    ax.text(*at, label, ha="center", va="center", fontsize=8.5, linespacing=1.25,
            bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "0.4"})


fig, ax = plt.subplots(figsize=(6.4, 3.5))
z1 = x @ hand[0][0] + hand[0][1]
boxes = {"x": ((0, 2), x, grads["h0"]), "z1": ((2, 2), z1, grads["z1"]),
         "h1": ((4, 2), h[1], grads["h1"]), "z2": ((6, 2), h[2], grads["z2"]),
         "L": ((7.7, 2), loss, 1.0), "W1": ((0.9, -0.35), hand[0][0], grads["W1"]),
         "b1": ((2.95, 0), hand[0][1], grads["b1"]),
         "W2": ((5.05, 0), hand[1][0].T, grads["W2"].T),
         "b2": ((6.95, 0), hand[1][1], grads["b2"])}
for start, end in [("x", "z1"), ("z1", "h1"), ("h1", "z2"), ("z2", "L"), ("W1", "z1"),
                   ("b1", "z1"), ("W2", "z2"), ("b2", "z2")]:
    for a, b, shift, color, style in [(start, end, 0.1, "C0", "-"),
                                      (end, start, -0.1, "C1", "--")]:
        (xa, ya), (xb, yb) = boxes[a][0], boxes[b][0]
        dx, dy = (0, shift) if ya == yb else (shift, 0)
        ax.annotate("", (xb + dx, yb + dy), (xa + dx, ya + dy),
                    arrowprops={"arrowstyle": "->", "color": color, "linestyle": style,
                                "shrinkA": 27, "shrinkB": 40 if b == "W1" else 27})
for name, (at, value, grad) in boxes.items():
    draw_box(ax, at, name + (" (transposed)" if name == "W2" else ""), value, grad)
ax.plot([], [], color="C0", label="forward: values")
ax.plot([], [], color="C1", linestyle="--", label="backward: gradients")
ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=2)
ax.set(xlim=(-0.8, 8.3), ylim=(-1.1, 2.7))
ax.axis("off");

# %% [markdown]
# If you stop here you have the whole algorithm.

# %% [markdown]
# ## 2. The general rule
#
# ### The first gradient: softmax and cross-entropy
#
# The recursion starts from $\delta^{(L)}$, the gradient of the loss with respect to the outputs of
# the last layer, the logits $s = z^{(L)}$.
# For one example with target class $y$, the [cross-entropy](../training/loss-functions.py#cross-entropy-for-any-target) of the
# [softmax](../math-foundations/probability.py#from-scores-to-probabilities) is
#
# $$
# L = -\log \frac{e^{s_y}}{\sum_k e^{s_k}} = \log \sum_k e^{s_k} - s_y .
# $$
#
# The derivative of the first term is $e^{s_j} / \sum_k e^{s_k} = p_j$, the predicted
# probability; that of the second is 1 for $j = y$ and 0 elsewhere.
# The loss is a mean over $n$ examples, so each example carries $1/n$:
#
# $$
# \delta^{(L)}_{ij} = \frac{p_{ij} - [j = y_i]}{n} ,
# $$
#
# where the bracket is 1 if its content is true and 0 otherwise.
#
# **What this means:** Prediction minus truth.
# Every row sums to zero: what the target class gains, the others lose.
# The logarithm undoes the exponential, so a confidently wrong example keeps a gradient of size
# near $1/n$ instead of losing it.

# %%
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def cross_entropy_grad(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(softmax(logits) - onehot(y)) / n, shape (n, K)."""
    p = softmax(logits)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)


extreme, target = np.array([[0.0, 800.0, 5.0]]), np.array([0])
p = softmax(extreme[0])
with np.errstate(divide="ignore", invalid="ignore"):
    dp = np.array([-1 / p[0], 0, 0])              # L = -log p[0]
    unfused = dp @ (np.diag(p) - np.outer(p, p))  # times the Jacobian of the softmax
print("fused:  ", cross_entropy_grad(extreme, target)[0])
print("unfused:", unfused)

# %% [markdown]
# **What the code shows:** Both lines are the same mathematics.
# The unfused one divides by a probability that has underflowed to 0, and 0 times infinity is not
# a number.
# So libraries take logits, not probabilities, and fuse the two steps.

# %% tags=["test"]
import torch
import torch.nn.functional as F


def torch_gradients(params: list, X: np.ndarray, y: np.ndarray, kind: str) -> dict:
    """The same names as backward(), from torch autograd in float64."""
    named = {"h0": torch.tensor(X, requires_grad=True)}
    for l, (W, b) in enumerate(params, start=1):
        named[f"W{l}"] = torch.tensor(W, requires_grad=True)
        named[f"b{l}"] = torch.tensor(b, requires_grad=True)
        named[f"z{l}"] = named[f"h{l - 1}"] @ named[f"W{l}"] + named[f"b{l}"]
        if l < len(params):
            named[f"h{l}"] = getattr(torch, kind)(named[f"z{l}"])
    for value in named.values():
        value.retain_grad()
    F.cross_entropy(named[f"z{len(params)}"], torch.tensor(y)).backward()
    return {name: value.grad.numpy() for name, value in named.items()}


def test_every_gradient_matches_torch_on_random_shapes():
    rng = np.random.default_rng(1)
    for trial in range(30):
        sizes = [int(d) for d in rng.permutation(np.arange(1, 9))[: 2 + trial % 4]]
        sizes[-1] += 1
        n = 1 if trial < 3 else int(rng.integers(2, 12))
        kind = ["relu", "sigmoid", "tanh"][trial % 3]
        params = init_params(sizes, rng)
        X = rng.normal(size=(n, sizes[0])) * (30 if trial % 7 == 6 else 1)
        y = rng.integers(0, sizes[-1], size=n)
        h = forward(params, X, kind)
        ours = backward(params, h, cross_entropy_grad(h[-1], y), kind)
        theirs = torch_gradients(params, X, y, kind)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].shape == value.shape, name
            assert np.abs(ours[name] - value).max() < 1e-10, (sizes, n, kind, name)


def test_fused_gradient_matches_torch():
    rng = np.random.default_rng(2)
    for trial in range(24):
        n, K = int(rng.integers(1, 9)), int(rng.integers(2, 12))
        logits = rng.normal(size=(n, K)) * [1, 10, 1000][trial % 3]
        if trial % 5 == 0:
            logits[:, :2] = 3.0  # ties
        y = rng.integers(0, K, size=n)
        s = torch.tensor(logits, requires_grad=True)
        loss = F.cross_entropy(s, torch.tensor(y))
        loss.backward()
        assert abs(cross_entropy(logits, y) - loss.item()) < 1e-10 * max(1, loss.item())
        grad = cross_entropy_grad(logits, y)
        assert np.abs(grad - s.grad.numpy()).max() < 1e-10
        assert np.abs(grad.sum(axis=1)).max() < 1e-12


def test_by_hand_example_matches_torch():
    W1 = torch.tensor([[1, -1, 0.5], [0.5, 1, -1]], requires_grad=True)
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    W2 = torch.tensor([[1.0], [-2.0], [3.0]], requires_grad=True)
    (0.5 * (torch.relu(x @ W1) @ W2 + 0.5 - 2) ** 2).sum().backward()
    assert W1.grad.tolist() == [[-1.5, 3, 0], [-3, 6, 0]]
    assert W2.grad.tolist() == [[-3], [-1.5], [0]] and x.grad.tolist() == [[-4.5, 2.25]]


# %% [markdown]
# ### Forward mode and reverse mode
#
# Backpropagation is one way to evaluate a [product of Jacobians](../math-foundations/calculus.py#many-outputs-the-jacobian-and-the-chain-rule).
# Take a function of $d$ inputs and $m$ outputs that runs in three steps.
# The Jacobian of a step has a row for each of its outputs and a column for each of its inputs, and
# the chain rule says $J = J_3 J_2 J_1$.
# You may bracket the product either way, and the brackets decide the cost.
#
# - **Forward mode** starts at the input with a direction $\dot{x}$ and computes the
#   Jacobian–vector product (JVP) $J \dot{x}^\top = J_3 (J_2 (J_1 \dot{x}^\top))$. One sweep gives
#   the change of *all outputs* along *one input direction*. The full $J$ takes $d$ sweeps.
# - **Reverse mode** starts at the output with a row $\bar{y}$ and computes the
#   vector–Jacobian product (VJP) $\bar{y} J = ((\bar{y} J_3) J_2) J_1$. One sweep tells how *one
#   output* changes with *all inputs*. The full $J$ takes $m$ sweeps.
#
# For a linear layer $y = xW$ the Jacobian is $J = W^\top$, and its VJP is the $\bar{y} W^\top$ of
# the box.
# A loss has one output, and all parameters are its inputs. Reverse mode needs one sweep, forward
# mode one per parameter: exact, but no cheaper than nudging.
# The price is memory: reverse mode needs the values of the forward sweep in the opposite order, so
# they must be stored.
#
# How cheap is one reverse sweep?
# Each elementary operation has at most two inputs, and its backward step does a bounded number of
# operations for each.
# So function and gradient together cost a small constant times the function, *whatever the number
# of inputs*: the **cheap gradient principle**.
# For functions built from the four arithmetic operations Baur and Strassen proved the constant 3,
# counting multiplications and divisions [@baur1983complexity].
# With every operation counted it stays below 6 and is typically 2 to 3
# [@griewank2008evaluating; @baydin2018automatic].
# Count it.

# %%
class Counted(np.ndarray):
    """An array that adds up the floating-point operations of its matrix products."""

    flops = 0

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        Counted.flops += 2 * self.shape[0] * self.shape[1] * other.shape[1]
        return (np.asarray(self) @ np.asarray(other)).view(Counted)


def measure_flops(sizes: list[int], n: int) -> tuple[int, int]:
    """Operations in the matrix products of one forward and one backward pass."""
    rng = np.random.default_rng(0)
    params = [(W.view(Counted), b) for W, b in init_params(sizes, rng)]
    X = rng.normal(size=(n, sizes[0])).view(Counted)
    Counted.flops = 0
    h = forward(params, X)
    forward_flops = Counted.flops
    backward(params, h, np.ones((n, sizes[-1])).view(Counted))
    return forward_flops, Counted.flops - forward_flops


for sizes in [[20, 30, 5], [64, 64, 64, 64], [3, 200, 7]]:
    flops_forward, flops_backward = measure_flops(sizes, n=16)
    print(sizes, flops_forward, flops_backward, flops_backward / flops_forward)

# %% [markdown]
# **What the code shows:** The ratio is 2 for every shape, because each product $XW$ has two
# partners of equal size, $X^\top dY$ and $dY W^\top$.
# So the gradient of the first net costs 3 forward passes, not
# `{python} f"{2 * n_params:,}"`: a saving of `{python} f"{2 * n_params / 3:,.0f}"` times, and the
# saving grows with the network.
# The two partners can be skipped separately.
# The first layer's $dX$ is rarely needed.
# A frozen weight needs no $dW$, but its $dX$ must still be computed if something trainable lies
# below it: the reason why [LoRA](../modern-llms/efficient-adaptation.py#four-bits-for-what-is-frozen) saves less time than
# memory.

# %% tags=["test"]
def test_flop_count_matches_torch():
    from torch.utils.flop_counter import FlopCounterMode

    rng = np.random.default_rng(3)
    for _ in range(20):
        sizes = [int(d) for d in rng.integers(1, 20, size=rng.integers(2, 6))]
        n = int(rng.integers(1, 10))
        weights = [torch.randn(a, b, requires_grad=True)
                   for a, b in zip(sizes[:-1], sizes[1:])]
        H = torch.randn(n, sizes[0], requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            for l, W in enumerate(weights):
                H = H @ W if l == len(weights) - 1 else torch.relu(H @ W)
            forward_flops = counter.get_total_flops()
            H.sum().backward()
        backward_flops = counter.get_total_flops() - forward_flops
        assert measure_flops(sizes, n) == (forward_flops, backward_flops)
        assert backward_flops == 2 * forward_flops


# %% [markdown]
# ### An autodiff engine
#
# Give every operation a value and, for each of its inputs, a VJP; record what was used to compute
# what; visit the records in reverse order.
# That is automatic differentiation in reverse mode, autodiff for short, and backpropagation is its
# application to a network's loss [@baydin2018automatic].
# The order must be *topological*: a node comes after everything it uses.
# Reversed, a node is visited only when all gradients that will ever reach it have arrived.

# %%
def unbroadcast(g: np.ndarray, shape: tuple) -> np.ndarray:
    """Sum g over the axes along which an array of `shape` was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, d in enumerate(shape) if d == 1), keepdims=True)


def topological_order(node: "Node", seen: set) -> list:
    """All nodes that `node` was computed from and `node` itself, parents first."""
    if node in seen:
        return []
    seen.add(node)
    before = [topological_order(parent, seen) for parent in node.parents]
    return sum(before, []) + [node]


# %%
class Node:
    """An array, its gradient, and for each parent the VJP that leads back to it."""

    def __init__(self, value: np.ndarray, parents: tuple = (), vjps: tuple = ()):
        self.value, self.parents, self.vjps = np.asarray(value, float), parents, vjps
        self.grad = np.zeros_like(self.value)

    def __add__(self, other: "Node") -> "Node":
        return Node(self.value + other.value, (self, other), (lambda g: g, lambda g: g))

    def __mul__(self, other: "Node") -> "Node":
        return Node(self.value * other.value, (self, other),
                    (lambda g: g * other.value, lambda g: g * self.value))

    def __matmul__(self, other: "Node") -> "Node":
        return Node(self.value @ other.value, (self, other),
                    (lambda g: g @ other.value.T, lambda g: self.value.T @ g))

    def relu(self) -> "Node":
        on = self.value > 0
        return Node(self.value * on, (self,), (lambda g: g * on,))

    def exp(self) -> "Node":
        out = np.exp(self.value)
        return Node(out, (self,), (lambda g: g * out,))

    def sum(self) -> "Node":
        shape = self.value.shape
        return Node(self.value.sum(), (self,), (lambda g: np.broadcast_to(g, shape),))

    def backward(self) -> None:
        """Add d(self)/d(leaf) to the grad of every leaf; self is a scalar."""
        order = topological_order(self, set())
        for node in order:
            if node.parents:  # only leaves accumulate from call to call
                node.grad = np.zeros_like(node.value)
        self.grad = np.ones_like(self.value)
        for node in reversed(order):
            for parent, vjp in zip(node.parents, node.vjps):
                g = unbroadcast(vjp(node.grad), parent.value.shape)
                parent.grad = parent.grad + g


a, c = Node(3.0), Node(2.0)
out = a * c + a * a  # a is used three times
out.backward()
print("d/da =", a.grad, "(c + 2a = 8),  d/dc =", c.grad, "(a = 3)")

# %% [markdown]
# **What the code shows:** The engine never saw the formula $c + 2a$.
# The three uses of `a` met in one line, `parent.grad = parent.grad + …`, which is rule 2, and
# `unbroadcast` is rule 3.
# PyTorch's autograd is this engine at scale: it records the graph while your Python runs,
# so loops and branches need no special care [@paszke2019pytorch].

# %% tags=["test"]
def test_engine_matches_torch_with_reuse_and_broadcasting():
    rng = np.random.default_rng(4)
    for trial in range(24):
        n, d, k = trial % 6, *(int(v) for v in rng.integers(1, 8, size=2))
        X, W, b = rng.normal(size=(n, d)), rng.normal(size=(d, k)), rng.normal(size=k)
        scale, col = rng.normal(size=(1, k)), rng.normal(size=(n, 1))

        def network(X, W, b, scale, col):
            H = (X @ W + b).relu()
            S = H * scale + H * H + col  # H is used three times
            P = S.exp().sum()
            return (P + (W * W).sum()) * P  # W and P are used twice

        ours = [Node(v) for v in (X, W, b, scale, col)]
        theirs = [torch.tensor(v, requires_grad=True) for v in (X, W, b, scale, col)]
        a, t = network(*ours), network(*theirs)
        a.backward()
        t.backward()
        assert abs(a.value - t.item()) <= 1e-10 * abs(t.item())
        for mine, ref in zip(ours, theirs):
            assert mine.grad.shape == tuple(ref.shape)
            grad = ref.grad.numpy()
            size = max(1.0, np.abs(grad).max(initial=0))
            assert np.abs(mine.grad - grad).max(initial=0) < 1e-10 * size


def test_engine_on_exercise_1():
    a, b = Node(1.0), Node(2.0)
    s = a * b + a
    (s * s).backward()
    assert (float(s.value), float(a.grad), float(b.grad)) == (3, 18, 6)


def test_engine_accumulates_like_torch_over_two_calls():
    a, t = Node(np.array([1.0, -2.0])), torch.tensor([1.0, -2.0], requires_grad=True)
    loss, torch_loss = (a * a).sum(), (t * t).sum()
    for _ in range(2):
        loss.backward()
        torch_loss.backward(retain_graph=True)
    assert np.array_equal(a.grad, t.grad.numpy()) and a.grad.tolist() == [4.0, -8.0]


def test_unbroadcast_edge_cases():
    ones = np.ones((4, 3))
    assert unbroadcast(ones, ()).shape == () and unbroadcast(ones, ()) == 12
    assert unbroadcast(ones, (3,)).tolist() == [4, 4, 4]
    assert unbroadcast(ones, (4, 1)).tolist() == [[3]] * 4
    assert unbroadcast(np.ones((0, 3)), (3,)).tolist() == [0, 0, 0]
    assert unbroadcast(np.ones((1, 1)), (1, 1)).tolist() == [[1]]


# %% [markdown]
# ### Derivatives of derivatives
#
# The backward pass is itself a program, so it can be differentiated too.
# The Hessian $H$ of a network, all second derivatives of its loss, is far too large to store.
# A product with a vector $v$ is cheap: $Hv$ is the derivative of the gradient $g$ along $v$, one
# forward-mode sweep through the backward pass [@pearlmutter1994fast].
# The inner product of $v$ and $Hv$ is the curvature of the loss along $v$.
# If the activations are smooth, you need not write that sweep.
# Complex numbers carry a derivative in their imaginary part,
# $g(\theta + i\epsilon v) = g(\theta) + i\epsilon H v + O(\epsilon^2)$, and no
# subtraction loses digits, so $\epsilon$ may be $10^{-20}$.

# %%
def hessian_vector_product(params: list, X: np.ndarray, y: np.ndarray, v: list) -> list:
    """(dW, db) pairs of H v for the tanh network; v is shaped like params."""
    eps = 1e-20
    moved = [(W + 1j * eps * vW, b + 1j * eps * vb)
             for (W, b), (vW, vb) in zip(params, v)]
    h = forward(moved, X, "tanh")
    grads = backward(moved, h, cross_entropy_grad(h[-1], y), "tanh")
    return [(grads[f"W{l}"].imag / eps, grads[f"b{l}"].imag / eps)
            for l in range(1, len(params) + 1)]


v = init_params([20, 30, 5], np.random.default_rng(5))
Hv = hessian_vector_product(net, X, y, v)
curvature = sum((a * c).sum() for pair in zip(v, Hv) for a, c in zip(*pair))
print("curvature of the loss along v:", f"{curvature:.4g}")

# %% [markdown]
# **What the code shows:** `forward` and `backward` ran unchanged; a Hessian with
# `{python} f"{n_params**2:,}"` entries was never built.
# [Optimization](../math-foundations/optimization.py#a-bowl-solved-exactly) uses such curvatures to explain which
# learning rates are stable.
# In PyTorch the same product is `create_graph=True` followed by a second backward pass.

# %% tags=["test"]
def test_hessian_vector_product_matches_double_backward():
    rng = np.random.default_rng(6)
    for _ in range(20):
        sizes = [int(d) for d in rng.integers(1, 7, size=rng.integers(2, 5))]
        sizes[-1] += 1
        n = int(rng.integers(1, 7))
        params, v = init_params(sizes, rng), init_params(sizes, rng)
        X, y = rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], size=n)
        leaves = [torch.tensor(t, requires_grad=True) for pair in params for t in pair]
        H = torch.tensor(X)
        for l in range(len(params)):
            H = H @ leaves[2 * l] + leaves[2 * l + 1]
            H = torch.tanh(H) if l < len(params) - 1 else H
        grads = torch.autograd.grad(F.cross_entropy(H, torch.tensor(y)), leaves,
                                    create_graph=True)
        flat = [torch.tensor(t) for pair in v for t in pair]
        expected = torch.autograd.grad(sum((g * t).sum() for g, t in zip(grads, flat)),
                                       leaves)
        ours = [t for pair in hessian_vector_product(params, X, y, v) for t in pair]
        for mine, ref in zip(ours, expected):
            assert np.abs(mine - ref.numpy()).max() < 1e-10


# %% [markdown]
# ### What modern systems add
#
# | Idea | What changes | Where you meet it |
# |---|---|---|
# | Custom VJP | You supply the backward of a fused operation, as in $(p - \text{onehot})/n$ | [FlashAttention](../transformers/multi-head-attention.py#flashattention-never-store-the-weights), fused losses |
# | Straight-through estimator [@bengio2013estimating] | Forward: round or threshold. Backward: pretend it was the identity. This is not the derivative (0 almost everywhere), but it trains | training with [quantised](../modern-llms/inference.py#fewer-bits) weights |
# | Recomputation [@chen2016training] | Drop stored values and compute them again in the backward pass | [batching](../training/batching.py#memory-keep-it-or-compute-it-again), Exercise 5 |
# | Overlap | A layer's gradient is sent to other devices while earlier layers are still computing theirs | [distributed training](../training/distributed-training.py#in-code) |
#
# The first two rows are one line in the engine.
# Minimise $(\text{round}(w) - 3)^2$ from $w = 0$: the true derivative is 0 everywhere it exists.

# %%
def round_straight_through(a: Node) -> Node:
    """Forward: round to integers. Backward: the identity, a custom VJP."""
    return Node(np.round(a.value), (a,), (lambda g: g,))


w, minus_three = Node(0.0), Node(-3.0)
for _ in range(40):
    error = round_straight_through(w) + minus_three
    w.grad = np.zeros(())
    (error * error).backward()
    w.value = w.value - 0.1 * w.grad
print(f"w = {w.value:.1f} rounds to {np.round(w.value):.0f}")

# %% [markdown]
# **What the code shows:** A wrong gradient with the right sign is enough to descend.
# It also loses information: $w$ stops as soon as it rounds to 3, not when it is 3.

# %% tags=["test"]
def test_round_straight_through_matches_the_detach_trick():
    rng = np.random.default_rng(16)
    for _ in range(20):
        value, g = rng.normal(size=(2, *rng.integers(0, 5, size=2))) * 3
        t = torch.tensor(value, requires_grad=True)
        (torch.tensor(g) * (t + (t.round() - t).detach())).sum().backward()
        a = Node(value)
        (Node(g) * round_straight_through(a)).sum().backward()
        assert np.array_equal(a.grad, t.grad.numpy())
        assert np.array_equal(round_straight_through(a).value, np.round(value))


# %% [markdown]
# ### Where it comes from
#
# Control theory swept derivatives backward through stages from 1960 on [@kelley1960gradient].
# Linnainmaa described reverse accumulation for arbitrary programs in his 1970 master's thesis, to
# estimate rounding errors [@linnainmaa1970representation; @linnainmaa1976taylor].
# Werbos formulated it for general models in his 1974 thesis and applied it to networks in print in
# 1982 [@werbos1974beyond; @werbos1982applications].
# Rumelhart, Hinton and Williams were not the first; they showed that hidden units trained with it
# learn useful representations, and that made it the standard [@rumelhart1986learning].
#
# Two things were clarified later.
# An exact gradient can still be useless: sent back through many steps of a [recurrent network](../architectures/rnns.py), it
# shrinks or grows exponentially [@bengio1994learning].
# And autodiff is exact only where every step is smooth: it differentiates the *program*, piece
# by piece, and at a kink the pieces need not add up [@kakade2018provably].
# The engine shows it on $\max(x, 0) - \max(-x, 0)$, which is just $x$:

# %%
x0, minus = Node(0.0), Node(-1.0)
(x0.relu() + minus * (minus * x0).relu()).backward()
print("derivative at 0 according to the program:", x0.grad)

# %% [markdown]
# **What the code shows:** The function is $x$, so the derivative is 1.
# The program says 0, since it takes ReLU's derivative at 0 as 0, twice.
# PyTorch answers 0 too.
# Random inputs almost never hit such points; padding, zero initialisation and ties do.

# %% tags=["test"]
def test_kink_is_wrong_in_the_same_way_in_torch():
    for point, expected in [(0.0, 0.0), (2.0, 1.0), (-2.0, 1.0)]:
        t = torch.tensor(point, requires_grad=True)
        (torch.relu(t) - torch.relu(-t)).backward()
        a, minus = Node(point), Node(-1.0)
        (a.relu() + minus * (minus * a).relu()).backward()
        assert t.grad.item() == expected == float(a.grad)


# %% [markdown]
# ## 3. In practice
#
# ### Checking a gradient
#
# A wrong gradient rarely crashes. Training runs, slower or to a worse loss, and nothing tells you.
# So nudging, useless for training, is the tool for testing: it needs only the forward pass.
# Taylor's theorem gives the truncation error of a central difference, $\epsilon^2 f''' / 6$.
# Rounding puts an error of about $u \lvert f \rvert$ into each value of $f$, with $u$ the
# machine precision, which the division turns into $u \lvert f \rvert / \epsilon$.
# If $f$ and its derivatives are of order 1, the sum is smallest near $\epsilon = u^{1/3}$, where the
# error is of order $u^{2/3}$.
# @fig-step tests that prediction.

# %%
def directional_errors(dtype: type, steps: np.ndarray, central: bool) -> list[float]:
    """Relative errors of a difference quotient of the loss along a random direction."""
    rng = np.random.default_rng(7)
    params, v = init_params([20, 30, 5], rng), init_params([20, 30, 5], rng)
    X, y = rng.normal(size=(16, 20)), rng.integers(0, 5, size=16)

    def loss_at(t: float) -> float:
        moved = [(W.astype(dtype) + dtype(t) * vW.astype(dtype),
                  b.astype(dtype) + dtype(t) * vb.astype(dtype))
                 for (W, b), (vW, vb) in zip(params, v)]
        return float(cross_entropy(forward(moved, X.astype(dtype), "tanh")[-1], y))

    h = forward(params, X, "tanh")
    grads = backward(params, h, cross_entropy_grad(h[-1], y), "tanh")
    exact = sum((grads[f"W{l}"] * vW).sum() + (grads[f"b{l}"] * vb).sum()
                for l, (vW, vb) in enumerate(v, start=1))
    back = 1.0 if central else 0.0
    return [abs((loss_at(t) - loss_at(-back * t)) / ((1 + back) * t) / exact - 1)
            for t in steps]


# %%
#| label: fig-step
#| fig-cap: Relative error of difference quotients against the step. Dotted lines mark the predicted best steps of the central differences, the cube roots of the two machine precisions.
#| fig-alt: Three V-shaped curves on logarithmic axes. The central difference in float64 reaches below 1e-9 near a step of 1e-5, the one-sided difference only about 1e-7, and the central difference in float32 about 1e-5, with its best step near 1e-2.
steps = np.logspace(-13, 0, 53)
curves = {"central, float64": (np.float64, True, "-"),
          "one-sided, float64": (np.float64, False, "--"),
          "central, float32": (np.float32, True, "-.")}
errors = {}
fig, ax = plt.subplots()
for name, (dtype, central, style) in curves.items():
    errors[name] = np.array(directional_errors(dtype, steps, central))
    shown = steps > (1e-8 if dtype == np.float32 else 0)
    ax.loglog(steps[shown], np.maximum(errors[name][shown], 1e-13), style, label=name)
for dtype in (np.float32, np.float64):
    ax.axvline(np.finfo(dtype).eps ** (1 / 3), color="0.4", linestyle=":", linewidth=1)
ax.set(xlabel="step", ylabel="relative error", ylim=(1e-12, 1e3))
ax.legend(loc="lower left")
too_small = errors["central, float32"][np.argmin(np.abs(steps - 1e-10))]

# %% [markdown]
# **What the code shows:** The two central curves are lowest near their dotted lines.
# The right slope of each V is Taylor's theorem (2 decades of error per decade of step when central,
# 1 when one-sided), the left one is rounding.
# In float32 a step of $10^{-10}$ has an error of `{python} f"{100 * too_small:.0f}"` %: the loss
# rounds to the same number on both sides, and the quotient is 0.
# Check gradients in float64, with central differences and a step near $10^{-5}$.
#
# Now plant three bugs that keep every shape right, so that nothing crashes.

# %%
def gradient_of_W1(params: list, X: np.ndarray, y: np.ndarray, bug: str) -> np.ndarray:
    """dW1 of a two-layer tanh network whose second layer is square, with one bug."""
    h = forward(params, X, "tanh")
    delta = cross_entropy_grad(h[2], y)
    if bug == "forgot 1/n":
        delta = delta * len(y)
    W2 = params[1][0]
    dh1 = delta @ (W2 if bug == "forgot transpose" else W2.T)
    return X.T @ (dh1 if bug == "forgot phi'" else dh1 * activate_grad(h[1], "tanh"))


def check_W1(bug: str) -> float:
    """Relative error of gradient_of_W1 against central differences."""
    rng = np.random.default_rng(8)
    params = init_params([4, 3, 3], rng)
    X, y = rng.normal(size=(5, 4)), rng.integers(0, 3, size=5)

    def loss() -> float:
        return cross_entropy(forward(params, X, "tanh")[-1], y)

    numeric = numerical_gradient(loss, params[0][0])
    return relative_error(gradient_of_W1(params, X, y, bug), numeric)


bugs = ["none", "forgot 1/n", "forgot transpose", "forgot phi'"]
found = {bug: check_W1(bug) for bug in bugs}
for bug, error in found.items():
    print(f"{bug:18}", "below 1e-7" if error < 1e-7 else f"{error:.2f}")

# %% [markdown]
# **What the code shows:** There is nothing in between: right is below $10^{-7}$, wrong is
# `{python} f"{min(found[bug] for bug in bugs[1:]):.2f}"` or more.
# "Forgot $1/n$" is the one that training hides best.
# It only rescales the learning rate, and [Adam](../training/optimizers.py#a-direction-for-each-gradient), which divides by the
# gradient's size, barely notices.
#
# At a kink the check misleads you in the other direction.
# If $z = 0$ exactly, ReLU's central difference is $\frac{1}{2}$ and your code says 0: a false
# alarm.
# So check at random points, and repeat a failed check at another one.

# %% tags=["test"]
def test_gradient_check_passes_the_right_and_fails_the_wrong():
    assert check_W1("none") < 1e-7
    for bug in ["forgot 1/n", "forgot transpose", "forgot phi'"]:
        assert check_W1(bug) > 1e-2


def test_numerical_gradient_on_known_functions():
    rng = np.random.default_rng(9)
    for _ in range(20):
        x = rng.normal(size=tuple(rng.integers(1, 5, size=rng.integers(1, 4))))
        before = x.copy()
        grad = numerical_gradient(lambda: np.sin(x).sum() + (x**3).sum(), x)
        assert np.array_equal(x, before)
        assert relative_error(grad, np.cos(x) + 3 * x**2) < 1e-8
    zero = np.zeros(1)
    at_kink = numerical_gradient(lambda: np.maximum(zero, 0).sum(), zero)
    assert abs(at_kink[0] - 0.5) < 1e-9
    assert relative_error(zero, zero) == 0 and relative_error(zero + 1, zero - 1) == 1


def test_difference_quotients_have_the_orders_of_taylor():
    steps = np.array([1e-2, 1e-3])
    for central, order in [(True, 2), (False, 1)]:
        large, small = directional_errors(np.float64, steps, central)
        assert abs(np.log10(large / small) - order) < 0.1
    assert directional_errors(np.float64, np.array([1e-5]), True)[0] < 1e-8


# %% [markdown]
# ### Experiment: does the gradient survive depth?
#
# **Question.** How does the size of $\delta^{(l)}$ change from layer to layer, before training?
#
# **Prediction.** Let the weights be independent with mean 0 and variance $g/d$, where $d$ is the
# width and $g$ the gain, and treat $\delta^{(l)}$ as independent of them.
# Each entry of $\delta^{(l)} (W^{(l)})^\top$ is then a sum of $d$ independent terms, so its mean
# square is $g$ times that of $\delta^{(l)}$, and the activation multiplies it by the mean of
# $\phi'(z)^2$.
# Going back one layer should scale the norm by $\sqrt{g \, \mathbb{E}[\phi'(z)^2]}$.
# For ReLU $\phi'^2$ is 1 half the time: the factor is 1 at the gain $g = 2$ that He et al.
# propose [@he2015delving], and $\sqrt{2}$ at $g = 4$.
# For the sigmoid $\phi' \le \frac{1}{4}$: at the gain $g = 1$ of Glorot and Bengio for square
# layers [@glorot2010understanding], the factor is at most $\frac{1}{4}$.
# For tanh it depends on $z$; the code measures the mean in the forward pass.

# %%
def delta_norms(kind: str, gain: float, seed: int, depth: int = 24) -> tuple:
    """Norms of delta at hidden layers 1..depth over the last one; predicted factor."""
    rng = np.random.default_rng(seed)
    params = init_params([64] * (depth + 1) + [10], rng, gain)
    X, y = rng.normal(size=(64, 64)), rng.integers(0, 10, size=64)
    h = forward(params, X, kind)
    grads = backward(params, h, cross_entropy_grad(h[-1], y), kind)
    norms = np.array([np.linalg.norm(grads[f"z{l}"]) for l in range(1, depth + 1)])
    squares = [gain * (activate_grad(h[l], kind) ** 2).mean() for l in range(1, depth)]
    return norms / norms[-1], np.exp(np.log(squares).mean() / 2)


settings = {"ReLU, gain 4": ("relu", 4, ":"), "ReLU, gain 2 (He)": ("relu", 2, "-"),
            "tanh, gain 1 (Glorot)": ("tanh", 1, "-."),
            "sigmoid, gain 1 (Glorot)": ("sigmoid", 1, "--")}
norms = {}
print("factor per layer, backward")
for name, (kind, gain, _) in settings.items():
    runs = [delta_norms(kind, gain, seed) for seed in range(10)]
    norms[name] = np.array([values for values, _ in runs])
    predicted = np.median([value for _, value in runs])
    measured = np.median(norms[name][:, 0]) ** (1 / 23)
    print(f"{name:25} predicted {predicted:.2f}  measured {measured:.2f}")
    assert abs(measured / predicted - 1) < 0.05

# %%
#| label: fig-depth
#| fig-cap: Norm of the error signal at each hidden layer, relative to the last, in untrained networks of 24 layers and width 64. Lines are medians over the seeds 0 to 9, bands run from the smallest to the largest.
#| fig-alt: On a logarithmic axis four lines fan out from layer 24 back to layer 1. ReLU with gain 4 grows by several thousand, ReLU with gain 2 stays near 1, tanh falls to about a tenth, and the sigmoid falls by about fifteen orders of magnitude. All but tanh are straight.
fig, ax = plt.subplots()
layers = np.arange(1, 25)
for name, values in norms.items():
    median, style = np.median(values, axis=0), settings[name][2]
    (line,) = ax.semilogy(layers, median, style, label=name)
    ax.fill_between(layers, values.min(axis=0), values.max(axis=0), alpha=0.2,
                    color=line.get_color(), linewidth=0)
ax.set(xlabel="hidden layer (the loss is to the right)", ylabel="relative norm")
ax.legend(loc="lower right");

# %% [markdown]
# **What the code shows:** Predicted and measured factors agree. The lines of @fig-depth are
# straight on a logarithmic axis, so depth acts as an exponent. (Tanh bends: its activations shrink
# from layer to layer, and $\phi'$ approaches 1.)
# After 23 sigmoid layers `{python} f"{np.median(norms['sigmoid, gain 1 (Glorot)'][:, 0]):.0e}"` of
# the signal is left.
# The bands show that seeds matter little next to the activation and the gain.
# This holds for one width at initialisation and says nothing about later training. What keeps the
# factor near 1 then, normalisation and residual connections, belongs to
# [the transformer](../transformers/transformer-architecture.py#the-residual-stream).
# The same product of factors over time steps is the trouble of [RNNs](../architectures/rnns.py#why-it-forgets-a-product-of-matrices).

# %% [markdown]
# ### What it costs: time and memory
#
# A weight takes part in one multiplication and one addition per [token](../modern-llms/pretraining.py#byte-pair-encoding): a forward pass costs about
# $2N$ floating-point operations per token for $N$ parameters.
# The backward pass costs twice that, so training on $D$ tokens costs
#
# $$
# C \approx (2 + 4) N D = 6 N D .
# $$
#
# This leaves out the products inside [attention](../transformers/attention.py#what-it-costs), in which no parameter takes part
# [@kaplan2020scaling].
# Memory is the other bill.
# The network above keeps every `h[l]`: $n \sum_l d_l$ numbers.
# For a transformer layer with 16-bit activations, [dropout](regularization.py#three-ways-to-hold-back) and attention scores kept,
# Korthikanti et al. count $sbh (34 + 5as/h)$ bytes, for $s$ tokens, batch $b$, width $h$ and
# $a$ heads (their letters) [@korthikanti2022reducing].
# Evaluate both for GPT-3 and its 300 billion training tokens [@brown2020language], the second also
# for GPT-2 small [@radford2019language].

# %%
def gpt_parameters(L: int, h: int, s: int, vocabulary: int = 50257) -> int:
    """Matrices of L blocks plus token and position embeddings, without biases."""
    return 12 * L * h**2 + vocabulary * h + s * h


def activation_bytes(L: int, h: int, a: int, s: int, b: int = 1) -> float:
    """Stored activations of L transformer layers, without recomputation."""
    return L * s * b * h * (34 + 5 * a * s / h)


N = gpt_parameters(L=96, h=12288, s=2048)
flops = 6 * N * 300e9
gpt3_bytes = activation_bytes(L=96, h=12288, a=96, s=2048)
gpt2_bytes = activation_bytes(L=12, h=768, a=12, s=1024)
assert abs(N / 174.6e9 - 1) < 1e-3 and abs(flops / 3.14e23 - 1) < 2e-3  # as published
print(f"GPT-3: N = {N / 1e9:.1f} billion, 6ND = {flops:.3g} operations")
print(f"activations of one sequence: GPT-3 {gpt3_bytes / 1e9:.0f} GB, "
      f"GPT-2 small {gpt2_bytes / 1e9:.2f} GB")

# %% [markdown]
# **What the code shows:** $6ND$ reproduces the published $3.14 \times 10^{23}$.
# One sequence of 2,048 tokens leaves activations of
# `{python} f"{gpt3_bytes / (2 * N):.0%}"` of the size of the 16-bit weights: two sequences outweigh
# the model.
# (GPT-3 alternated dense with sparse attention layers; the formula takes all of them as dense.)
# Recomputing everything from each layer's input stores 2 bytes instead of
# `{python} f"{34 + 5 * 96 * 2048 / 12288:.0f}"` per entry of that input and costs one more forward
# pass, $8ND$ instead of $6ND$, a third more.
# [Batching](../training/batching.py#memory-keep-it-or-compute-it-again) recomputes less, and
# [pretraining](../modern-llms/pretraining.py#how-to-spend-a-budget) budgets a run with $6ND$.

# %% tags=["test"]
def test_published_sizes():
    assert abs(gpt_parameters(12, 768, 1024) / 124.4e6 - 1) < 2e-3
    assert abs(gpt_parameters(96, 12288, 2048) / 174.6e9 - 1) < 1e-3
    assert activation_bytes(1, 10, 2, 5, 3) == 5 * 3 * 10 * 34 + 5 * 2 * 5 * 5 * 3
    assert activation_bytes(96, 12288, 96, 2048) / (96 * 2048 * 12288) == 34 + 80


# %% [markdown]
# ### Three failures
#
# **1. Gradients that are not reset.** Rule 2 says *add*, so an engine adds, also to what the last
# step left.

# %%
def descend(reset: bool, steps: int = 30, lr: float = 0.3) -> float:
    """Minimise w^2 from w = 1 with the engine; return the final |w|."""
    w = Node(1.0)
    for _ in range(steps):
        if reset:
            w.grad = np.zeros_like(w.value)
        (w * w).backward()
        w.value = w.value - lr * w.grad
    return float(abs(w.value))


print("reset:", f"{descend(True):.1e}", " not reset:", f"{descend(False):.2f}")

# %% [markdown]
# *Symptom:* training oscillates forever; a smaller learning rate only slows it.
# *Cause:* the step uses the sum of all past gradients, which is [momentum](../math-foundations/optimization.py#momentum) without friction.
# *Fix:* reset before each backward pass (`optimizer.zero_grad()`). Leave it out on purpose, divided
# by the number of parts, and you have gradient accumulation ([batching](../training/batching.py#a-large-batch-on-a-small-machine)).
# The opposite slip, `=` where `+=` belongs, is Exercise 1.
#
# **2. A saved activation overwritten in place.** The backward pass reads what the forward pass
# stored.

# %%
def in_place_error() -> dict:
    """Relative errors of gradients after h[1] was changed between the two passes."""
    rng = np.random.default_rng(10)
    params = init_params([6, 7, 4], rng)
    X, y = rng.normal(size=(9, 6)), rng.integers(0, 4, size=9)
    h = forward(params, X, "tanh")
    right = backward(params, h, cross_entropy_grad(h[-1], y), "tanh")
    h[1] -= h[1].mean(axis=0)  # a harmless-looking centring, in place
    wrong = backward(params, h, cross_entropy_grad(h[-1], y), "tanh")
    return {name: relative_error(right[name], wrong[name]) for name in right}


print("  ".join(f"{name}: {error:.2f}" for name, error in in_place_error().items()))

# %% [markdown]
# *Symptom:* the loss is right, some gradients are exact, others are wrong: here $dW^{(2)}$, which
# reads $h^{(1)}$, and everything behind $\phi'$.
# *Cause:* `-=` changed the array that the backward pass reads later.
# *Fix:* write `h1 = h1 - …`. PyTorch counts the versions of saved tensors and raises
# "modified by an inplace operation"; NumPy does not.
#
# **3. Broadcasting that sums the wrong thing.** Predictions have shape $(n, 1)$, targets $(n)$.
# Their difference silently has shape $(n, n)$.

# %%
def fit_line(y_shape: tuple, steps: int = 200, lr: float = 0.1) -> tuple[float, float]:
    """Slope and final loss of y = 3x fitted by gradient descent; targets of y_shape."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(50, 1))
    minus_y = Node(-3 * x.reshape(y_shape))
    w = Node(np.zeros((1, 1)))
    for _ in range(steps):
        error = Node(x) @ w + minus_y
        loss = (error * error).sum() * Node(1 / error.value.size)
        w.grad = np.zeros((1, 1))
        loss.backward()
        w.value = w.value - lr * w.grad
    return w.value.item(), float(loss.value)


targets = 3 * np.random.default_rng(11).normal(size=(50, 1))
for y_shape in [(50, 1), (50,)]:
    slope, final = fit_line(y_shape)
    print(y_shape, f"slope {slope:.2f}, loss {final:.2f}")

# %% [markdown]
# *Symptom:* the loss falls a little and stops near the variance of the targets, here
# `{python} f"{targets.var():.2f}"`; the model predicts almost the same value everywhere.
# *Cause:* every prediction is compared with every target, and the gradient, exact for *that* loss,
# sums over all pairs.
# *Fix:* assert shapes before a loss. A gradient check cannot find this one, for the gradient is
# right and the loss is wrong.

# %% tags=["test"]
def test_three_failures_are_real_and_their_fixes_work():
    assert descend(True) < 1e-9 and descend(False) > 0.01
    errors = in_place_error()
    assert errors["W2"] > 0.1 and errors["W1"] > 0.01 and errors["h1"] == 0
    assert abs(fit_line((50, 1))[0] - 3) < 1e-6 and abs(fit_line((50,))[0]) < 0.5
    x = np.random.default_rng(11).normal(size=(50, 1))
    assert abs(fit_line((50, 1), steps=1)[1] - ((3 * x) ** 2).mean()) < 1e-10
    leaf = torch.randn(9, 7, requires_grad=True)
    saved = torch.tanh(leaf)
    loss = (saved * saved).sum()
    saved -= saved.mean(dim=0)
    try:
        loss.backward()
    except RuntimeError as problem:
        assert "inplace operation" in str(problem)
    else:
        raise AssertionError("torch accepted an overwritten activation")


# %% [markdown]
# ### Conventions and common confusions
#
# > [!NOTE]
# > - *Rows or columns.* This book keeps examples in rows: $Y = XW + b$, $dW = X^\top dY$. Texts with
# >   column vectors write $y = Wx + b$ and $dW = \delta x^\top$. PyTorch's `nn.Linear` stores the
# >   transpose, shape (out, in).
# > - *Mean or sum.* With a mean loss the $1/n$ sits in $\delta^{(L)}$ and nowhere else. With a sum
# >   loss gradients grow with the batch.
# > - *Delta.* Here $\delta^{(l)} = \partial L / \partial z^{(l)}$, before the activation. Some texts
# >   define it after, with respect to $h^{(l)}$, or with the opposite sign.
# > - *Layout.* A Jacobian here has one row per output (numerator layout), so a VJP is a row times
# >   $J$. In denominator layout everything is transposed.
# > - *Gradient or derivative.* The derivative is the linear map from a small change of the input to
# >   the change of the output. The gradient is the array that represents it by an inner product.
# > - *Backpropagation or descent.* Backpropagation computes the gradient. What to do with it is the
# >   [optimiser's](../training/optimizers.py) choice.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): fan-out by hand
#
# Let $s = ab + a$ and $L = s^2$ at $a = 1$, $b = 2$; squaring is one operation.
# Do the backward pass by hand for $a$ and $b$.
# Which values can $\partial L / \partial a$ take in an engine that writes `=` where it should add?

# %% [markdown] tags=["solution"]
# Forward: $ab = 2$, $s = 3$, $L = 9$.
# Backward: $ds = 2s = 6$, which reaches both terms of the sum unchanged.
# Then $db = 6a = 6$, and $a$ receives $6b = 12$ from the product and 6 from the second term:
# $da = 18$.
# An overwriting engine keeps whichever came last, 12 or 6, depending on the order of traversal.

# %% [markdown]
# ### Exercise 2 (check): count the sweeps
#
# A function maps 1,000 inputs to 10 outputs.
# How many sweeps does its full Jacobian take in forward mode, in reverse mode, and by central
# differences?
# And the Jacobian of the *gradient* of a loss with 1,000 parameters, in either mode?

# %% [markdown] tags=["solution"]
# Forward mode takes 1,000 sweeps (one per input), reverse mode 10 (one per output), central
# differences 2,000 evaluations.
# The gradient maps 1,000 numbers to 1,000 numbers, so its Jacobian, the Hessian, takes 1,000 sweeps
# in either mode.
# A Hessian–vector product takes one.

# %% [markdown]
# ### Exercise 3 (apply): the backward pass of softmax
#
# [Attention](../transformers/attention.py#the-backward-pass) uses a softmax inside a network, where no logarithm follows.
# Given $p = \text{softmax}(s)$ and $dp$, return $ds$, without building a Jacobian.
# Hint: $\partial p_j / \partial s_k = p_j ([j = k] - p_k)$.

# %%
def softmax_backward(p: np.ndarray, dp: np.ndarray) -> np.ndarray:
    """ds from p = softmax(s) along the last axis and dp; all of shape (..., m)."""
    ### BEGIN SOLUTION
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    ### END SOLUTION


# %% tags=["test"]
def test_softmax_backward():
    rng = np.random.default_rng(12)
    for trial in range(20):
        shape = tuple(rng.integers(1, 6, size=rng.integers(1, 4)))
        s, dp = rng.normal(size=shape) * [1, 5, 500][trial % 3], rng.normal(size=shape)
        if trial % 4 == 0 and shape[-1] > 1:
            s[..., 0] = -np.inf  # a masked entry
        t = torch.tensor(s, requires_grad=True)
        torch.softmax(t, dim=-1).backward(torch.tensor(dp))
        assert np.abs(softmax_backward(softmax(s), dp) - t.grad.numpy()).max() < 1e-12


# %% [markdown]
# ### Exercise 4 (apply): the backward pass of an embedding
#
# An embedding layer looks rows up: $Y = E[\text{ids}]$.
# Return $dE$.
# A token that occurs twice is a row used twice.

# %%
def embedding_backward(ids: np.ndarray, dY: np.ndarray, vocabulary: int) -> np.ndarray:
    """dE (vocabulary, d) from integer ids (n,) and dY (n, d)."""
    ### BEGIN SOLUTION
    dE = np.zeros((vocabulary, dY.shape[1]))
    np.add.at(dE, ids, dY)  # dE[ids] += dY would keep only one of equal ids
    return dE
    ### END SOLUTION


# %% tags=["test"]
def test_embedding_backward():
    rng = np.random.default_rng(13)
    for trial in range(20):
        vocabulary, d, n = int(rng.integers(2, 9)), int(rng.integers(1, 6)), trial
        ids, dY = rng.integers(0, vocabulary, size=n), rng.normal(size=(n, d))
        E = torch.zeros(vocabulary, d, dtype=torch.float64, requires_grad=True)
        F.embedding(torch.tensor(ids), E).backward(torch.tensor(dY))
        dE = embedding_backward(ids, dY, vocabulary)
        assert np.abs(dE - E.grad.numpy()).max() < 1e-12


# %% [markdown]
# ### Exercise 5 (apply): recompute instead of store
#
# Backpropagation needs the input of each layer.
# In the forward pass keep only those of layers 1, 1 + `every`, 1 + 2 `every` and so on; in the
# backward pass recompute the others, one segment at a time from the last to the first, and drop
# each segment when it is done.
# Return the gradients and the largest number of layer inputs held at once ($X$ counts as one).
# With 16 layers, which `every` holds the fewest?

# %%
def checkpointed(params: list, X: np.ndarray, y: np.ndarray, every: int) -> tuple:
    """Gradients "W1", "b1", ... of the ReLU network, and the peak of stored inputs."""
    ### BEGIN SOLUTION
    L = len(params)
    kept, current = {}, X
    for l in range(L):
        if l % every == 0:
            kept[l] = current
        z = current @ params[l][0] + params[l][1]
        current = activate(z, "relu") if l < L - 1 else z
    delta, grads, peak = cross_entropy_grad(current, y), {}, len(kept)
    for start in sorted(kept, reverse=True):
        stop = min(start + every, L)
        h = [kept[start]]
        for W, b in params[start : stop - 1]:
            h.append(activate(h[-1] @ W + b, "relu"))
        peak = max(peak, len(kept) + len(h) - 1)  # h[0] is one of the kept ones
        for l in range(stop, start, -1):
            grads[f"W{l}"] = h[l - 1 - start].T @ delta
            grads[f"b{l}"] = delta.sum(axis=0)
            dh = delta @ params[l - 1][0].T
            delta = dh * activate_grad(h[l - 1 - start], "relu")  # unused once l = 1
        del kept[start]
    return grads, peak
    ### END SOLUTION


# %% tags=["test"]
def test_checkpointed():
    rng = np.random.default_rng(14)
    for trial in range(20):
        depth = int(rng.integers(1, 9))
        sizes = [int(d) for d in rng.integers(2, 7, size=depth + 1)]
        params = init_params(sizes, rng)
        X, y = rng.normal(size=(5, sizes[0])), rng.integers(0, sizes[-1], size=5)
        h = forward(params, X)
        expected = backward(params, h, cross_entropy_grad(h[-1], y))
        grads, _ = checkpointed(params, X, y, every=1 + trial % 5)
        assert set(grads) == {k for k in expected if k[0] in "Wb"}
        for name, value in grads.items():
            assert np.abs(value - expected[name]).max() < 1e-12
    params = init_params([3] * 17, rng)
    X, y = rng.normal(size=(2, 3)), np.array([0, 2])
    peaks = {k: checkpointed(params, X, y, k)[1] for k in (1, 2, 4, 8, 16)}
    assert peaks == {1: 16, 2: 9, 4: 7, 8: 9, 16: 16}
    assert checkpointed(params[:10], X, y, 4)[1] == 5  # the last segment is shorter


# %% [markdown] tags=["solution"]
# With $L$ layers and segments of $k$ you hold about $L/k$ kept inputs plus $k - 1$ recomputed
# ones, which is smallest near $k = \sqrt{L}$: for 16 layers `every=4`, with 7 inputs instead
# of 16, for at most one extra forward pass [@chen2016training].

# %% [markdown]
# ### Exercise 6 (explore): forward mode, and the test that ties the modes together
#
# Write the JVP of the tanh network with respect to its input: given a direction `dX`, return the
# change of the logits, in one forward sweep.
# Then test it *without* any reference: for all $\dot{x}$ and $\bar{y}$ the two modes must agree on
# the number $\bar{y} J \dot{x}^\top$.

# %%
def jvp(params: list, X: np.ndarray, dX: np.ndarray) -> np.ndarray:
    """Change (n, K) of the tanh network's logits along the direction dX (n, d_0)."""
    ### BEGIN SOLUTION
    h, dh = X, dX
    for l, (W, b) in enumerate(params, start=1):
        z, dz = h @ W + b, dh @ W
        last = l == len(params)
        h, dh = (z, dz) if last else (np.tanh(z), dz * (1 - np.tanh(z) ** 2))
    return dh
    ### END SOLUTION


# %% tags=["test"]
def test_jvp():
    rng = np.random.default_rng(15)
    for _ in range(20):
        sizes = [int(d) for d in rng.integers(1, 8, size=rng.integers(2, 5))]
        params, n = init_params(sizes, rng), int(rng.integers(1, 6))
        X, dX = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[0]))
        dY = rng.normal(size=(n, sizes[-1]))
        change = jvp(params, X, dX)
        back = backward(params, forward(params, X, "tanh"), dY, "tanh")["h0"]
        assert change.shape == dY.shape
        assert abs((dY * change).sum() - (back * dX).sum()) < 1e-10

        def network(H):
            for l, (W, b) in enumerate(params):
                H = H @ torch.tensor(W) + torch.tensor(b)
                H = torch.tanh(H) if l < len(params) - 1 else H
            return H

        _, expected = torch.func.jvp(network, (torch.tensor(X),), (torch.tensor(dX),))
        assert np.abs(change - expected.numpy()).max() < 1e-10


# %% [markdown] tags=["solution"]
# Bracketed one way the number is an inner product of $\bar{y}$ with the JVP, the other way of the
# VJP with $\dot{x}$. The comparison costs two sweeps whatever the dimensions and has no step size,
# so it is the first test to write for a custom backward pass. It cannot see a mistake that both
# modes share.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Linear layer, backward | $dW = X^\top dY$, $dX = dY W^\top$ | `X.T @ dY`, `dY @ W.T` | every layer of every network |
# | Broadcast, backward | $db = \sum_i dY_i$ | `dY.sum(axis=0)` | biases, gains, masks |
# | Activation, backward | $dz = dh \odot \phi'(z)$ | `dh * activate_grad(h, kind)` | [activation functions](activation-functions.py) |
# | Fan-out | add the gradients | `grad = grad + …` | residual connections, shared weights |
# | Softmax with cross-entropy | $(p - \text{onehot}(y)) / n$ | `p[rows, y] -= 1` | [loss functions](../training/loss-functions.py#cross-entropy-for-any-target), [GPT](../transformers/gpt.py) |
# | Reverse mode (VJP) | $\bar{y} J$, one sweep per output | topological order, reversed | autograd |
# | Forward mode (JVP) | $J \dot{x}^\top$, one sweep per input | carry `(h, dh)` | Hessian products |
# | Gradient check | error about $u^{2/3}$ at $\epsilon = u^{1/3}$ | `numerical_gradient` | tests of any backward pass |
# | Training cost | $6ND$ | `6 * N * D` | [pretraining](../modern-llms/pretraining.py#what-a-run-costs) |
#
# **The essential insight:** A loss is one number that depends on everything. Ask each parameter for
# its effect and you repeat the whole computation for each; ask the loss, once, and pass the answer
# backward, and every intermediate result is shared. The chain rule is the same in both directions.
# Only the bracketing differs, and with one output and billions of inputs the bracketing decides
# whether you can learn at all. The price is memory: every value that the backward pass needs has to
# be kept, or computed again.
