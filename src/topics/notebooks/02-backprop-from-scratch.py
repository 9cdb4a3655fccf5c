# ---
# title: Backpropagation from scratch
# summary: Every gradient by hand, then by an engine of your own, and a checker that trusts neither.
# prerequisites:
#   - neural-networks/backpropagation: the boxed recursion, VJPs, fan-out and broadcast rules
#   - math-foundations/calculus: the chain rule and central differences
#   - math-foundations/probability: the softmax and cross-entropy
# packages: [numpy, matplotlib, scikit-learn, torch]
# ---

# %% [markdown]
# # Backpropagation from scratch
#
# $$
# \boxed{
# \frac{\partial L}{\partial v} = \sum_{u \text{ uses } v}
# \frac{\partial L}{\partial u} \frac{\partial u}{\partial v}
# }
# $$
#
# $L$ is the loss, one number. $v$ is any value on the way to it, and the sum runs over the values
# $u$ that are computed directly from $v$, counting each use.
# $\partial L / \partial u$ is the gradient that has arrived at $u$, and
# $\partial u / \partial v$ is the local derivative of the step that made $u$ (for arrays a Jacobian, and the
# product a VJP).
# This one line, applied from the loss backward, is all that an autodiff engine does.
# By the end of this lab you will have written one, trained a network with it, and caught it lying.

# %% [markdown]
# ## 1. Two networks, one wrong gradient
#
# The theory is in [backpropagation](../neural-networks/backpropagation.py), called the document below; here you
# build it.
# Where you read **Predict**, write your answer down before you run the next cell.
#
# The data are 1,797 small images of handwritten digits [@alpaydin1998optical].
# Each has 8 × 8 grey values, here scaled to lie between 0 and 1.
# A network with two hidden layers of 32 ReLU units sorts them into ten classes.

# %%
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch  # only to check our results against
import torch.nn.functional as F
from sklearn.datasets import load_digits

digits = load_digits()
shuffled = np.random.default_rng(0).permutation(len(digits.target))
X_train, y_train = digits.data[shuffled[:1000]] / 16, digits.target[shuffled[:1000]]
X_test, y_test = digits.data[shuffled[1000:]] / 16, digits.target[shuffled[1000:]]
print("to learn from:", X_train.shape, " to test on:", X_test.shape)

# %% [markdown]
# The passes below are those of the document, except that every value and gradient gets a name,
# and that `backward` can be told to make a mistake.

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def init_params(sizes: list[int], rng: np.random.Generator, gain: float = 2.0) -> list:
    """Pairs (W, b), shapes (d_in, d_out) and (d_out,), with Var(W) = gain / d_in."""
    return [
        (rng.normal(0, np.sqrt(gain / d_in), (d_in, d_out)), np.zeros(d_out))
        for d_in, d_out in zip(sizes[:-1], sizes[1:])
    ]


def forward(params: list, X: np.ndarray, kind: str = "relu") -> dict:
    """All values by name: "h0" = X (n, d_0), "z1", "h1", ..., "zL" = logits (n, K)."""
    values = {"h0": X}
    for l, (W, b) in enumerate(params, start=1):
        z = values[f"z{l}"] = values[f"h{l - 1}"] @ W + b
        if l < len(params):
            values[f"h{l}"] = np.maximum(z, 0) if kind == "relu" else np.tanh(z)
    return values


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over the n rows of -log softmax(logits)[y]; logits (n, K), y (n,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return (log_sum - shifted[np.arange(len(y)), y]).mean()


def cross_entropy_grad(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(softmax(logits) - onehot(y)) / n, shape (n, K)."""
    p = softmax(logits)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)


def backward(params: list, values: dict, y: np.ndarray, kind: str = "relu",
             bug: str = "none") -> dict:
    """Gradients of the loss under the names of `values`, and "W1", "b1", ..."""
    L = len(params)
    delta = cross_entropy_grad(values[f"z{L}"], y)
    if bug == "forgot 1/n":
        delta = delta * len(y)
    grads = {}
    for l in range(L, 0, -1):
        W, h = params[l - 1][0], values[f"h{l - 1}"]
        grads[f"z{l}"], grads[f"W{l}"], grads[f"b{l}"] = delta, h.T @ delta, delta.sum(0)
        square = W.shape[0] == W.shape[1]
        dh = delta @ (W if square and bug == "forgot transpose" else W.T)
        grads[f"h{l - 1}"] = delta = dh
        if l > 1 and bug != "forgot phi'":
            delta = dh * ((h > 0) if kind == "relu" else 1 - h**2)
    return grads


# %%
SIZES = [64, 32, 32, 10]


def train_by_hand(X: np.ndarray, y: np.ndarray, seed: int, bug: str = "none",
                  lr: float = 0.1, steps: int = 400, batch: int = 32) -> tuple:
    """Parameters and loss at each step of gradient descent on random batches."""
    rng = np.random.default_rng(seed)
    params, losses = init_params(SIZES, rng), []
    for _ in range(steps):
        rows = rng.integers(len(X), size=batch)
        values = forward(params, X[rows])
        losses.append(cross_entropy(values[f"z{len(params)}"], y[rows]))
        grads = backward(params, values, y[rows], bug=bug)
        params = [(W - lr * grads[f"W{l}"], b - lr * grads[f"b{l}"])
                  for l, (W, b) in enumerate(params, start=1)]
    return params, losses


def accuracy(params: list, X: np.ndarray, y: np.ndarray) -> float:
    """Share of the rows of X whose largest logit is the right class."""
    return float((forward(params, X)[f"z{len(params)}"].argmax(axis=1) == y).mean())


# %% [markdown]
# Now a blind test. Two networks start from the same weights and see the same batches.
# One of them sends its errors back through $W^{(2)}$ where it should use
# $\left(W^{(2)}\right)^\top$. A coin decides which is called A.
# **Predict:** what will a network learn whose first layer gets a wrong gradient at every step?

# %%
#| label: fig-two
#| fig-cap: Loss of networks A and B, which start alike and see the same batches. One of them trains on a wrong gradient.
#| fig-alt: Two noisy curves fall from about 2.5 to about 0.2 within 400 steps. B falls somewhat faster, A catches up, and neither looks broken.
coin = np.random.default_rng(5).permutation(["none", "forgot transpose"])
blind = dict(zip("AB", coin))
blind_accuracy = {}
fig, ax = plt.subplots()
for name, line in [("A", "-"), ("B", "--")]:
    learned, losses = train_by_hand(X_train, y_train, seed=1, bug=blind[name])
    blind_accuracy[name] = accuracy(learned, X_test, y_test)
    ax.plot(losses, line, lw=1.2, label=name)
    print(f"network {name}: {blind_accuracy[name]:.1%} of the test images right")
ax.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
ax.legend()
assert min(blind_accuracy.values()) > 0.9

# %% [markdown]
# **What the code shows:** the broken network gets more than nine test images in ten right, and
# nothing in @fig-two looks broken. B is a little faster, as it would be at a slightly larger learning rate.
# Layers 2 and 3 still get their right gradients, and they adapt to whatever layer 1 computes.
# (The seed was chosen because it puts the two accuracies close together. At the other four seeds of Section 7
# they lie further apart.)
# @lillicrap2016random showed that even a fixed random matrix in place of the transpose lets a
# network learn.
# So "it trains" proves nothing about a gradient. You need a test that can fail.

# %% [markdown]
# ## 2. Every gradient, named
#
# The first test compares every intermediate result with PyTorch.
# Split the loss into its smallest steps; $q_i$ is the probability given to the right class of
# example $i$.
#
# | forward | backward | shape |
# |---|---|---|
# | $L = -\frac{1}{n} \sum_i \log q_i$ | $dq_i = -1 / (n q_i)$ | $(n)$ |
# | $q_i = p_{i, y_i}$ | $dp_{ij} = dq_i$ if $j = y_i$, else 0 | $(n, K)$ |
# | $p = \text{softmax}(z^{(L)})$ | $dz^{(L)}_{ij} = p_{ij} (dp_{ij} - \sum_k dp_{ik} p_{ik})$ | $(n, K)$ |
# | $z^{(l)} = h^{(l-1)} W^{(l)} + b^{(l)}$ | $dh^{(l-1)} = dz^{(l)} \left(W^{(l)}\right)^\top$ | $(n, d_{l-1})$ |
# | | $dW^{(l)} = \left(h^{(l-1)}\right)^\top dz^{(l)}$ | $(d_{l-1}, d_l)$ |
# | | $db^{(l)} = \sum_i dz^{(l)}_i$ | $(d_l)$ |
# | $h^{(l)} = \max(z^{(l)}, 0)$ | $dz^{(l)} = dh^{(l)} \odot [z^{(l)} \gt 0]$ | $(n, d_l)$ |
#
# As in the document, $dA$ is short for $\partial L / \partial A$.

# %%
def softmax_backward(p: np.ndarray, dp: np.ndarray) -> np.ndarray:
    """ds from p = softmax(s) along the last axis and dp; all of shape (..., m)."""
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def all_gradients(params: list, X: np.ndarray, y: np.ndarray, kind: str) -> dict:
    """backward(), and the gradients inside the loss: "q", "p" and "z unfused"."""
    values, rows = forward(params, X, kind), np.arange(len(y))
    p = softmax(values[f"z{len(params)}"])
    q, dp = p[rows, y], np.zeros_like(p)
    dq = -1 / (len(y) * q)
    dp[rows, y] = dq
    grads = {"q": dq, "p": dp, "z unfused": softmax_backward(p, dp)}
    return grads | backward(params, values, y, kind)


def torch_gradients(params: list, X: np.ndarray, y: np.ndarray, kind: str) -> dict:
    """The same names as all_gradients(), from torch autograd in float64."""
    t = {"h0": torch.tensor(X, requires_grad=True)}
    for l, (W, b) in enumerate(params, start=1):
        t[f"W{l}"] = torch.tensor(W, requires_grad=True)
        t[f"b{l}"] = torch.tensor(b, requires_grad=True)
        t[f"z{l}"] = t[f"h{l - 1}"] @ t[f"W{l}"] + t[f"b{l}"]
        if l < len(params):
            t[f"h{l}"] = getattr(torch, kind)(t[f"z{l}"])
    t["p"] = torch.softmax(t[f"z{l}"], dim=1)
    t["q"] = t["p"][torch.arange(len(y)), torch.tensor(y)]
    for tensor in t.values():
        tensor.retain_grad()
    (-t["q"].log().mean()).backward()
    return {name: tensor.grad.numpy() for name, tensor in t.items()}


params = init_params(SIZES, np.random.default_rng(1))
ours = all_gradients(params, X_train[:7], y_train[:7], "relu")
theirs = torch_gradients(params, X_train[:7], y_train[:7], "relu")
ours["z3"], fused = ours.pop("z unfused"), ours["z3"]
for name, expected in reversed(theirs.items()):  # from the loss backward
    assert ours[name].shape == expected.shape
    agrees = np.abs(ours[name] - expected).max() < 1e-10
    print(f"d{name:3} {str(expected.shape):9} within 1e-10 of autograd: {agrees}")
    assert agrees
assert np.abs(fused - theirs["z3"]).max() < 1e-10

# %% tags=["test"]
def test_init_params():
    params = init_params([400, 100, 50], np.random.default_rng(0), gain=3.0)
    assert [W.shape for W, _ in params] == [(400, 100), (100, 50)]
    for W, b in params:
        assert abs(W.var() * len(W) / 3 - 1) < 0.1 and np.array_equal(b, np.zeros(W.shape[1]))


def test_every_intermediate_matches_autograd():
    rng = np.random.default_rng(0)
    for trial in range(24):
        sizes = [int(d) for d in rng.permutation(np.arange(1, 9))[: 2 + trial % 4]]
        sizes[-1] += 1
        n, kind = [1, 2, 5, 9][trial % 4], ["relu", "tanh"][trial % 2]
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params(sizes, rng)]
        X, y = rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], size=n)
        ours = all_gradients(params, X, y, kind)
        theirs = torch_gradients(params, X, y, kind)
        theirs["z unfused"] = theirs[f"z{len(params)}"]
        assert ours.keys() == theirs.keys()
        for name, expected in theirs.items():
            assert ours[name].shape == expected.shape
            assert np.abs(ours[name] - expected).max() < 1e-10, name


# %% [markdown]
# **What the code shows:** `{python} len(theirs)` gradients, not only those that the optimiser uses.
# Read them from the top: if one fails, the error lies in the step that made the first one that fails.
#
# ### Why the last three steps are fused
#
# The first three rows of the table, the loss and the [softmax](../math-foundations/probability.py#from-scores-to-probabilities), multiply out to $dz^{(L)} = (p - \text{onehot}(y)) / n$:
# put the $dp$ of the second row into the third, and the $1/q$ cancels.
# Same mathematics, so why bother?
# Turn a knob: two classes, logits $(0, m)$, and class 0 is right. The larger the margin $m$, the
# more confidently wrong the network is.
# A popular repair of $\log 0$ is $\log(q + 10^{-12})$; take it along.
# **Predict:** the true gradient $dz_0$ approaches −1 as $m$ grows. Where do the other two leave it?

# %%
#| label: fig-fused
#| fig-cap: Size of the gradient of the right class's logit in three versions of one loss, against the margin by which the network is wrong. A cross marks the first margin with no number at all.
#| fig-alt: The fused gradient stays at one. With a small constant inside the logarithm it drops to zero near a margin of 28. The step-by-step gradient stays at one up to a margin of about 710 and then is not a number.
margins = np.arange(1.0, 1000.0)
margin_logits = np.stack([np.zeros_like(margins), margins], axis=1)  # (999, 2)
p = softmax(margin_logits)
sizes_of = {"fused": 1 - p[:, 0]}
with np.errstate(all="ignore"):
    for name, eps in [("step by step", 0.0), ("log(q + 1e-12)", 1e-12)]:
        dp = np.stack([-1 / (p[:, 0] + eps), np.zeros_like(margins)], axis=1)
        sizes_of[name] = -softmax_backward(p, dp)[:, 0]
breaks = int(margins[np.isnan(sizes_of["step by step"])][0])
halved = int(margins[sizes_of["log(q + 1e-12)"] < 0.5][0])
q32 = softmax(margin_logits.astype(np.float32))[:, 0]
with np.errstate(all="ignore"):
    breaks32 = int(margins[np.isinf(1 / q32)][0])

fig, ax = plt.subplots()
for (name, size), line in zip(sizes_of.items(), ["-", ":", "--"]):
    ax.semilogx(margins, size, line, lw=3 if line == ":" else 1.8, label=name)
ax.plot(breaks, 1, "kx", ms=9, mew=2)
ax.set(xlabel="margin $m$ of the wrong class", ylabel="size of the gradient",
       ylim=(-0.05, 1.15))
ax.legend(loc="center left")
assert sizes_of["fused"][-1] == 1 and sizes_of["log(q + 1e-12)"][40] < 1e-5

# %% [markdown]
# **What the code shows:** step by step ends in "not a number" at $m =$ `{python} breaks`, where
# $1/q$ overflows; in `float32` already at `{python} breaks32`.
# The repair is worse, because it is silent. Beyond $m =$ `{python} halved` the examples that are
# most wrong teach almost nothing. Fuse, and neither happens: libraries take
# [logits](../training/loss-functions.py), not probabilities.

# %% [markdown]
# ## 3. A judge that knows no calculus
#
# PyTorch will not always have your operation. Central differences ([calculus](../math-foundations/calculus.py#finite-differences-how-small-is-small)) always work: nudge an input both ways
# and compare. They need only the forward pass.
# There is one knob, the step $\epsilon$. A small step suffers from rounding, a large one from curvature, and there is
# a third enemy that the document only touches: kinks.
# A nudge of size $\epsilon$ may push some unit across $z = 0$, and the difference quotient then
# mixes two slopes.
# **Predict:** for a tanh network the best $\epsilon$ is near $10^{-5}$. Is the error of a ReLU network
# larger, smaller or the same at $\epsilon = 10^{-2}$? And at $10^{-9}$?

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


def nudge_error(params: list, X: np.ndarray, y: np.ndarray, name: str, kind: str = "relu",
                bug: str = "none", step: float = 1e-5) -> float:
    """Relative error of backward()'s gradient `name` ("W1", ...) against nudging."""
    exact = backward(params, forward(params, X, kind), y, kind, bug)[name]
    x, last = params[int(name[1]) - 1]["Wb".index(name[0])], f"z{len(params)}"
    nudged = numerical_gradient(lambda: cross_entropy(forward(params, X, kind)[last], y),
                                x, step)
    return relative_error(exact, nudged)


# %%
#| label: fig-step
#| fig-cap: "Relative error of the nudged gradient of the first bias against the step, for five random networks each: lines are medians, bands span all five."
#| fig-alt: Two curves on logarithmic axes. At small steps they coincide and fall as the step grows. The tanh curve turns near 1e-5 and rises smoothly. The ReLU curve falls further, then jumps by six decades between 1e-4 and 1e-3, at a different step in each network.
nudges = np.logspace(-11, -1, 21)
step_errors = {}
fig, ax = plt.subplots()
for kind, line in [("tanh", "-"), ("relu", "--")]:
    step_errors[kind] = np.array([
        [nudge_error(init_params(SIZES, np.random.default_rng(seed)), X_train[:16],
                     y_train[:16], "b1", kind, step=step) for step in nudges]
        for seed in range(5)])
    ax.loglog(nudges, np.median(step_errors[kind], axis=0), line, label=kind)
    ax.fill_between(nudges, step_errors[kind].min(axis=0), step_errors[kind].max(axis=0),
                    alpha=0.25, lw=0)
ax.set(xlabel=r"step $\epsilon$", ylabel="relative error")
ax.legend()
at = {e: int(np.argmin(np.abs(np.log10(nudges / e)))) for e in (1e-2, 1e-9)}
ratio = {e: np.median(step_errors["relu"][:, i]) / np.median(step_errors["tanh"][:, i])
         for e, i in at.items()}
assert ratio[1e-2] > 10 and 0.2 < ratio[1e-9] < 5

# %% [markdown]
# **What the code shows:** on the left both curves are rounding, and agree.
# At $\epsilon = 10^{-2}$ the ReLU network is about `{python} f"{round(ratio[1e-2], -2):,.0f}"` times worse, because
# some of its hidden values change sides within the nudge.
# Below the jump it meets no kink, and is *better* than tanh: between kinks its logits are straight lines.
# Where the jump comes is luck, so the band is wide.
# So use $10^{-5}$, and if a ReLU check fails, repeat it at another random point before you blame
# the gradient.
#
# Now unmask the two networks. **Predict:** the bug sits between $dz^{(2)}$ and $dh^{(1)}$. Which of the six
# gradients below will be wrong?

# %%
small = [(W.copy(), b.copy()) for W, b in init_params(SIZES, np.random.default_rng(2))]
verdict = {}
for name, bug in blind.items():
    verdict[name] = {g: nudge_error(small, X_train[:8], y_train[:8], g, bug=bug)
                     for g in ("W3", "b3", "W2", "b2", "W1", "b1")}
    shown = [f"d{g} " + ("ok" if e < 1e-6 else f"{e:.2f}") for g, e in verdict[name].items()]
    print(f"network {name}:", "  ".join(shown))
guilty = next(name for name, bug in blind.items() if bug != "none")
assert all((verdict[guilty][g] > 0.1) == (g in ("W1", "b1")) for g in verdict[guilty])

# %% [markdown]
# **What the code shows:** it was network `{python} guilty`.
# Its upper layers are exact, and everything below the bug is wrong. Errors travel the
# way gradients do, so read a failed check from the loss backward: the first wrong entry names
# the place.

# %% tags=["test"]
def test_nudging_passes_the_right_and_fails_the_wrong():
    rng = np.random.default_rng(1)
    for trial in range(20):
        n, d, k, width = 2 + trial % 3, *(int(v) for v in rng.integers(2, 6, size=3))
        params = init_params([d, width, width, k], rng)
        X, y = rng.normal(size=(n, d)), rng.integers(0, k, size=n)
        for name in ("W1", "b1", "W2", "b2", "W3", "b3"):
            assert nudge_error(params, X, y, name, "tanh") < 1e-7
        for bug, wrong in [("forgot 1/n", "b3"), ("forgot transpose", "W1"),
                           ("forgot phi'", "b2")]:
            assert nudge_error(params, X, y, wrong, "tanh", bug) > 1e-3
            right = "W3" if bug != "forgot 1/n" else None
            assert right is None or nudge_error(params, X, y, right, "tanh", bug) < 1e-7


def test_numerical_gradient_has_order_two_and_restores():
    rng = np.random.default_rng(2)
    for _ in range(20):
        x = rng.normal(size=tuple(rng.integers(1, 5, size=2)))
        kept, exact = x.copy(), np.cos(x) + 3 * x**2
        f = lambda: np.sin(x).sum() + (x**3).sum()
        large, little = (np.abs(numerical_gradient(f, x, h) - exact).max()
                         for h in (1e-2, 1e-3))
        assert np.array_equal(x, kept) and 80 < large / little < 120
    zero = np.zeros(2)
    assert relative_error(zero, zero) == 0 and relative_error(zero + 1, zero - 1) == 1


# %% [markdown]
# ## 4. An engine in four steps
#
# Writing `backward` took one line per step, in reverse. A program can do that.
#
# ### Step 1: a value and its local rules
#
# A node keeps its value, the nodes it was computed from (its *parents*), and for each parent a
# rule, the VJP: given the gradient `g` of this node, what does the parent receive?

# %%
class Node:
    """An array, its parents, and for each parent the VJP that leads back to it."""

    def __init__(self, value: np.ndarray, parents: tuple = (), vjps: tuple = ()):
        self.value, self.parents, self.vjps = np.asarray(value, float), parents, vjps
        self.grad = np.zeros_like(self.value)


def add(a: Node, b: Node) -> Node:
    """a + b, with broadcasting."""
    return Node(a.value + b.value, (a, b), (lambda g: g, lambda g: g))


def mul(a: Node, b: Node) -> Node:
    """a * b elementwise, with broadcasting."""
    return Node(a.value * b.value, (a, b), (lambda g: g * b.value, lambda g: g * a.value))


def matmul(a: Node, b: Node) -> Node:
    """a @ b for matrices."""
    return Node(a.value @ b.value, (a, b),
                (lambda g: g @ b.value.T, lambda g: a.value.T @ g))


def relu(a: Node) -> Node:
    """max(a, 0)."""
    return Node(np.maximum(a.value, 0), (a,), (lambda g: g * (a.value > 0),))


def tanh(a: Node) -> Node:
    """tanh(a); the rule reads the output h, since tanh' = 1 - h^2."""
    h = np.tanh(a.value)
    return Node(h, (a,), (lambda g: g * (1 - h**2),))


def total(a: Node) -> Node:
    """The sum of all entries, a scalar."""
    return Node(a.value.sum(), (a,), (lambda g: np.broadcast_to(g, a.value.shape),))


# %% [markdown]
# Take an example that has everything: three rows, a bias, and a *skip connection*, which adds
# the input of a layer to its output ([transformers](../transformers/transformer-architecture.py#the-residual-stream)
# have two in every block).
# So $u$ is used twice and $b$ three times:
#
# $$
# \begin{aligned}
# u &= XW, \quad z = u + b, \quad h = \max(z, 0), \\
# s &= h + u, \quad L = \sum_i s_i^2
# \end{aligned}
# $$
#
# $$
# X = \begin{bmatrix} 1 & 2 \\ 0 & 1 \\ 2 & -1 \end{bmatrix}, \quad
# W = \begin{bmatrix} 2 \\ -1 \end{bmatrix}, \quad b = -2
# $$
#
# Forward: $u = (0, -1, 5)^\top$, $z = (-2, -3, 3)^\top$, $h = (0, 0, 3)^\top$,
# $s = (0, -1, 8)^\top$, $L = 65$. Backward:
#
# $$
# \begin{aligned}
# ds &= 2s = (0, -2, 16)^\top \\
# dz &= ds \odot [z \gt 0] = (0, 0, 16)^\top \\
# db &= 0 + 0 + 16 = 16 \\
# du &= ds + dz = (0, -2, 32)^\top \\
# dW &= X^\top du = (64, -34)^\top
# \end{aligned}
# $$
#
# **What this means:** $b$ collects over its rows and $u$ over its two uses. Both sums are the
# boxed line.
#
# ### Step 2: the broadcasting sum
#
# **Predict:** `add`'s rule returns `g` as it is. Which shape reaches $b$, whose own is (1)?

# %%
def unbroadcast(g: np.ndarray, shape: tuple) -> np.ndarray:
    """Sum g over the axes along which an array of `shape` was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, d in enumerate(shape) if d == 1), keepdims=True)


def build_example(X: np.ndarray, W: np.ndarray, b: np.ndarray) -> dict:
    """The nodes of the example by name, in the order of their computation."""
    n = {"X": Node(X), "W": Node(W), "b": Node(b)}
    n["u"] = matmul(n["X"], n["W"])
    n["z"] = add(n["u"], n["b"])
    n["h"] = relu(n["z"])
    n["s"] = add(n["h"], n["u"])
    n["s*s"] = mul(n["s"], n["s"])
    n["L"] = total(n["s*s"])
    return n


X_hand, W_hand = np.array([[1.0, 2], [0, 1], [2, -1]]), np.array([[2.0], [-1]])
b_hand = np.array([-2.0])
nodes = build_example(X_hand, W_hand, b_hand)
dz_hand = np.array([[0.0], [0], [16]])
arrives = nodes["z"].vjps[1](dz_hand)
print("arrives at b:", arrives.shape, " summed:", unbroadcast(arrives, (1,)))
assert nodes["L"].value == 65 and unbroadcast(arrives, (1,)) == [16]

# %% [markdown]
# **What the code shows:** without the sum, $b$ would hold a column of three numbers, and the next
# update $b - \eta \, db$ (with the learning rate $\eta$) would silently turn the bias into a matrix.
#
# ### Step 3: the order
#
# Now walk the graph. Start with 1 at the loss; each node hands its gradient through its rules to
# its parents, which add it up. `shrink` and `add_to` are parameters so that Section 5 can break
# them.

# %%
def sweep(order: list, shrink: Callable = unbroadcast, add_to: Callable = np.add) -> None:
    """Fill the grads of the nodes in `order`, which starts with a scalar loss."""
    for node in order:
        node.grad = np.zeros_like(node.value)
    order[0].grad = np.ones_like(order[0].value)
    for node in order:
        for parent, vjp in zip(node.parents, node.vjps):
            g = shrink(vjp(node.grad), parent.value.shape)
            parent.grad = add_to(parent.grad, g)


def discovery_order(root: Node) -> list:
    """All nodes behind `root`, as a walk from it first meets them, level by level."""
    order = [root]
    for node in order:  # the list grows while we walk
        order.extend(p for p in dict.fromkeys(node.parents) if p not in order)
    return order


sweep(discovery_order(nodes["L"]))
for name in ("s", "z", "u", "W"):
    print(f"d{name} =", nodes[name].grad.ravel())

# %% [markdown]
# **Predict** before you read on: three of the four agree with the hand calculation. Why does
# $dW$ not?
#
# **What the code shows:** $u$ is met early, as a parent of $s$, and passes on what it has: $ds$
# only. Its second gift arrives later and is never passed on.
# A node may speak only when all its users have spoken. In *topological order* every node comes
# after its parents; reversed, it comes after its users. The walk below keeps its own stack, since
# Python's recursion stops at about a thousand levels.

# %%
def topological_order(root: Node) -> list:
    """All nodes behind `root` and `root` itself, parents first."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


def backprop(loss: Node) -> list:
    """Fill the grad of every node behind `loss`; return them, the loss first."""
    order = topological_order(loss)[::-1]
    sweep(order)
    return order


backprop(nodes["L"])
hand_calculation = {"s": [0, -2, 16], "z": [0, 0, 16], "b": [16], "u": [0, -2, 32],
                    "W": [64, -34]}
for name, expected in hand_calculation.items():
    assert nodes[name].grad.ravel().tolist() == expected
print("dW =", nodes["W"].grad.ravel(), " as by hand")

deep = Node(1.0)
for _ in range(10_000):
    deep = tanh(deep)
print("depth 10,000:", len(backprop(deep)), "nodes visited")

# %%
#| label: fig-graph
#| fig-cap: The graph that the engine recorded. Each box holds a name, its value (one row per example) and, below the dashes, the gradient. Arrows run from parent to user; gradients run against them.
#| fig-alt: Boxes X, u, z, h, s, s*s and L from left to right, with W and b below. A long arrow skips from u to s, so u has two users; its gradient 0, minus 2, 32 is the sum of what s and z send back.
places = {"X": (0, 1), "W": (0, -1), "u": (1.6, 0), "z": (3, 0), "b": (2.3, -1.35),
          "h": (4.4, 0), "s": (5.8, 0), "s*s": (7.2, 0), "L": (8.4, 0)}
fig, ax = plt.subplots(figsize=(7.2, 3.6))
names = {node: name for name, node in nodes.items()}
for name, node in nodes.items():
    for parent in dict.fromkeys(node.parents):  # the edges are the engine's own record
        skip = (names[parent], name) == ("u", "s")
        ax.annotate("", places[name], places[names[parent]], arrowprops={
            "arrowstyle": "->", "color": "C1" if skip else "C0", "shrinkA": 24,
            "shrinkB": 24, "linestyle": "--" if skip else "-",
            "connectionstyle": "arc3,rad=-0.75" if skip else "arc3"})
    rows = ["\n".join(" ".join(f"{v + 0:g}" for v in row) for row in np.atleast_2d(a))
            for a in (node.value, node.grad)]
    ax.text(*places[name], f"{name}\n{rows[0]}\n– – –\n{rows[1]}", fontsize=8,
            ha="center", va="center",
            bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "0.4"})
ax.set(xlim=(-0.6, 9), ylim=(-2.1, 2.1))
ax.axis("off");

# %% [markdown]
# ### What the order saves
#
# There is another correct way: send every contribution on at once, along every path.
# The knob is the *fan-out*, how often each value is used. Each level computes
# $y \leftarrow \max(y, 0) + y + \dots + y$ with $f$ terms, and there are several levels.
# **Predict** the number of visits to nodes for $f = 2$ and 10 levels; and the curve for $f = 1$.

# %%
def sweep_every_path(node: Node, g: np.ndarray) -> int:
    """Add g to the grad of `node` and pass it on at once; return the visits."""
    node.grad = node.grad + g
    return 1 + sum(sweep_every_path(parent, unbroadcast(vjp(g), parent.value.shape))
                   for parent, vjp in zip(node.parents, node.vjps))


def tower(fan_out: int, levels: int) -> tuple[Node, Node]:
    """A leaf, and the top of `levels` levels that use their input `fan_out` times."""
    leaf = y = Node(1.0)
    for _ in range(levels):
        copies = relu(y)
        for _ in range(fan_out - 1):
            copies = add(copies, y)
        y = copies
    return leaf, y


# %%
#| label: fig-visits
#| fig-cap: Visits to nodes in one backward sweep, by levels and fan-out. Path by path (lines) and in topological order (dots, all three fan-outs).
#| fig-alt: On a logarithmic axis the path-by-path counts for fan-out 2 and 3 are rising straight lines, reaching thousands and hundred thousands at ten levels; fan-out 1 and all topological sweeps stay below fifty.
levels = np.arange(1, 11)
visits = {}
fig, ax = plt.subplots()
for fan_out, line in [(3, "-"), (2, "--"), (1, ":")]:
    counts = []
    for k in levels:
        leaf, top = tower(fan_out, k)
        by_path = sweep_every_path(top, np.ones(()))
        path_grad = leaf.grad
        counts.append((by_path, len(backprop(top))))
        assert path_grad == leaf.grad == fan_out**k  # both are right
    visits[fan_out] = np.array(counts)
    ax.semilogy(levels, visits[fan_out][:, 0], line, label=f"every path, fan-out {fan_out}")
    ax.semilogy(levels, visits[fan_out][:, 1], "k.", ms=4)
ax.set(xlabel="levels", ylabel="visits")
ax.legend();

# %% [markdown]
# **What the code shows:** both sweeps are right, but at ten levels and $f = 3$ one makes
# `{python} f"{visits[3][-1, 0]:,}"` visits and the other `{python} visits[3][-1, 1]`.
# The paths multiply; the nodes only add up. Adding *before* passing on is the whole trick of
# reverse mode.

# %% tags=["test"]
def test_engine_rules_match_autograd():
    rng = np.random.default_rng(3)
    for trial in range(24):
        n, d, k = [0, 1, 4, 7][trial % 4], *(int(v) for v in rng.integers(1, 7, size=2))
        shapes = [(n, d), (d, k), (k,), (1, k), (n, 1), ()]
        arrays = [rng.normal(size=shape) for shape in shapes]
        ours, theirs = [Node(a) for a in arrays], [torch.tensor(a) for a in arrays]
        X, W, b, row, col, c = ours
        u = matmul(X, W)
        s = add(mul(relu(add(u, b)), row), mul(tanh(u), col))  # u is used twice
        loss = mul(total(mul(s, s)), c)
        X, W, b, row, col, c = (t.requires_grad_() for t in theirs)
        u = X @ W
        s = torch.relu(u + b) * row + torch.tanh(u) * col
        expected = (s * s).sum() * c
        expected.backward()
        backprop(loss)
        size = max(1.0, abs(expected.item()))
        assert abs(loss.value - expected.item()) < 1e-10 * size
        for node, tensor in zip(ours, theirs):
            assert node.grad.shape == tuple(tensor.shape)
            gap = np.abs(node.grad - tensor.grad.numpy()).max(initial=0)
            assert gap < 1e-10 * size


def test_relu_at_its_kink_is_that_of_torch():
    x = np.array([[-1.0, 0.0, -0.0, 2.0]])
    ours, theirs = Node(x), torch.tensor(x, requires_grad=True)
    backprop(total(relu(ours)))
    torch.relu(theirs).sum().backward()
    assert np.array_equal(ours.grad, theirs.grad.numpy())


def test_every_intermediate_of_the_engine_matches_autograd():
    rng = np.random.default_rng(4)
    for _ in range(20):
        m, d, k = (int(v) for v in rng.permutation(np.arange(1, 7))[:3])
        X, W, b = rng.normal(size=(m, d)), rng.normal(size=(d, k)), rng.normal(size=k)
        nodes = build_example(X, W, b)
        t = {name: torch.tensor(v, requires_grad=True) for name, v in
             [("X", X), ("W", W), ("b", b)]}
        t["u"] = t["X"] @ t["W"]
        t["z"] = t["u"] + t["b"]
        t["h"] = torch.relu(t["z"])
        t["s"] = t["h"] + t["u"]
        t["s*s"] = t["s"] * t["s"]
        t["L"] = t["s*s"].sum()
        for tensor in t.values():
            tensor.retain_grad()
        t["L"].backward()
        backprop(nodes["L"])
        for name, tensor in t.items():
            assert np.abs(nodes[name].grad - tensor.grad.numpy()).max() < 1e-10, name


def test_unbroadcast():
    assert unbroadcast(np.ones((4, 3)), ()) == 12
    assert unbroadcast(np.ones((4, 3)), (3,)).tolist() == [4, 4, 4]
    assert unbroadcast(np.ones((2, 4, 3)), (4, 1)).tolist() == [[6]] * 4
    assert unbroadcast(np.ones((0, 3)), (3,)).tolist() == [0, 0, 0]


def test_orders_and_paths():
    for fan_out in (1, 2, 3, 4):
        for k in range(5):
            leaf, top = tower(fan_out, k)
            order = topological_order(top)
            place = {node: i for i, node in enumerate(order)}
            assert len(place) == len(order) == 1 + fan_out * k
            assert set(order) == set(discovery_order(top))
            for node in order:
                assert all(place[parent] < place[node] for parent in node.parents)
            sweep_every_path(top, np.ones(()))
            by_path = leaf.grad
            backprop(top)
            assert leaf.grad == by_path == fan_out**k


# %% [markdown]
# ### Exercise 1 (check): count the paths of a residual network
#
# One block computes $y \leftarrow \phi(y) + y$, as each level of `tower(2, blocks)` does with $\phi$ the ReLU.
# How many visits does `sweep_every_path` make for $B$ blocks?
# Find the recurrence, then the closed form. GPT-2's largest model has 48 blocks with two skip
# connections each [@radford2019language]: evaluate it for 96.

# %%
def path_visits(blocks: int) -> int:
    """Visits of sweep_every_path on tower(2, blocks), without running it."""
    ### BEGIN SOLUTION
    return 3 * 2**blocks - 2  # V(0) = 1 and V(B) = 2 + 2 V(B - 1)
    ### END SOLUTION


# %% tags=["test"]
def test_path_visits():
    for blocks in range(9):
        assert path_visits(blocks) == sweep_every_path(tower(2, blocks)[1], np.ones(()))
    assert path_visits(96) > 10**29 and len(backprop(tower(2, 96)[1])) == 193


# %% [markdown]
# ### Exercise 2 (check): which axes were repeated?
#
# Before you trust `unbroadcast`, answer for yourself: a parent of `shape` was broadcast to
# `out`. Along which axes of `out` must its gradient be summed?

# %%
def repeated_axes(out: tuple, shape: tuple) -> tuple:
    """Axes of `out`, ascending, along which an array of `shape` was repeated."""
    ### BEGIN SOLUTION
    lead = len(out) - len(shape)
    stretched = (i for i in range(lead, len(out)) if shape[i - lead] == 1 != out[i])
    return (*range(lead), *stretched)
    ### END SOLUTION


# %% tags=["test"]
def test_repeated_axes():
    assert repeated_axes((5, 3), (3,)) == (0,) and repeated_axes((5, 3), (5, 1)) == (1,)
    assert repeated_axes((5, 3), (5, 3)) == () and repeated_axes((5, 1), (5, 1)) == ()
    assert repeated_axes((2, 5, 3), (1, 3)) == (0, 1) and repeated_axes((2, 4), ()) == (0, 1)
    rng = np.random.default_rng(5)
    for _ in range(20):
        out = tuple(int(d) for d in rng.integers(1, 5, size=3))
        shape = tuple(1 if rng.random() < 0.4 else d for d in out)[rng.integers(3):]
        g = rng.normal(size=out)
        summed = g.sum(axis=repeated_axes(out, shape)).reshape(shape)
        np.testing.assert_allclose(summed, unbroadcast(g, shape), atol=1e-12)


# %% [markdown]
# ### Step 4: the fused loss
#
# A whole loss can be one node. Its rule is the formula of Section 2, and the engine cannot tell
# it from a small one.

# %%
def softmax_cross_entropy(logits: Node, y: np.ndarray) -> Node:
    """The mean cross-entropy of logits (n, K) and classes y (n,), one fused node."""
    return Node(cross_entropy(logits.value, y), (logits,),
                (lambda g: g * cross_entropy_grad(logits.value, y),))


def network(X: Node, layers: list, act: Callable = relu) -> Node:
    """Logits (n, K) of the network whose `layers` are pairs of nodes (W, b)."""
    h = X
    for l, (W, b) in enumerate(layers, start=1):
        z = add(matmul(h, W), b)
        h = act(z) if l < len(layers) else z
    return h


# %% tags=["test"]
def test_fused_node_matches_autograd():
    rng = np.random.default_rng(6)
    for trial in range(24):
        n, K = int(rng.integers(1, 9)), int(rng.integers(2, 12))
        s, y = rng.normal(size=(n, K)) * [1, 10, 1000][trial % 3], rng.integers(0, K, size=n)
        if trial % 5 == 0:
            s[:, :2] = 3.0  # ties
        ours, theirs = Node(s), torch.tensor(s, requires_grad=True)
        loss = softmax_cross_entropy(ours, y)
        backprop(mul(loss, loss))  # a gradient other than 1 must come in
        expected = F.cross_entropy(theirs, torch.tensor(y))
        (expected * expected).backward()
        size = max(1.0, expected.item())
        assert abs(loss.value - expected.item()) < 1e-10 * size
        assert np.abs(ours.grad - theirs.grad.numpy()).max() < 1e-10 * size


# %% [markdown]
# ### Exercise 3 (apply): a rule of your own
#
# Max pooling and the shifted softmax need the largest entry of each row. Write the node.
# Where two entries tie, the function has a kink; share the gradient equally among them, as
# PyTorch's `amax` does.

# %%
def row_max(a: Node) -> Node:
    """The largest entry of each row of a (n, d), shape (n, 1)."""
    ### BEGIN SOLUTION
    top = a.value.max(axis=1, keepdims=True)
    share = (a.value == top) / (a.value == top).sum(axis=1, keepdims=True)
    return Node(top, (a,), (lambda g: g * share,))
    ### END SOLUTION


# %% tags=["test"]
def test_row_max():
    rng = np.random.default_rng(7)
    for trial in range(20):
        n, d = (int(v) for v in rng.integers(1, 6, size=2))
        value = rng.normal(size=(n, d)).round(trial % 3)  # rounding makes ties
        ours, theirs = Node(value), torch.tensor(value, requires_grad=True)
        top, expected = row_max(ours), theirs.amax(dim=1, keepdim=True)
        assert np.array_equal(top.value, expected.detach().numpy())
        backprop(total(mul(add(top, ours), top)))
        ((expected + theirs) * expected).sum().backward()
        assert np.abs(ours.grad - theirs.grad.numpy()).max() < 1e-10


# %% [markdown]
# ### Exercise 4 (apply): a layer without a rule
#
# Layer normalization gives each row mean 0 and variance 1; transformers use it, or a variant, in
# every block. Write it, without its learned scale and shift, and *without a new VJP*: only from `add`, `mul`, `matmul` and the node
# `power` below. A mean is a matrix product.

# %%
def power(a: Node, exponent: float) -> Node:
    """a ** exponent, elementwise."""
    return Node(a.value**exponent, (a,),
                (lambda g: g * exponent * a.value ** (exponent - 1),))


def layer_norm(a: Node, eps: float = 1e-5) -> Node:
    """Rows of a (n, d) with their mean removed, over sqrt(variance + eps)."""
    ### BEGIN SOLUTION
    d = a.value.shape[1]
    mean = Node(np.full((d, 1), 1 / d))
    centred = add(a, mul(matmul(a, mean), Node(-1.0)))
    variance = matmul(mul(centred, centred), mean)
    return mul(centred, power(add(variance, Node(eps)), -0.5))
    ### END SOLUTION


# %% tags=["test"]
def test_layer_norm():
    rng = np.random.default_rng(8)
    for _ in range(20):
        n, d = (int(v) for v in rng.integers(1, 8, size=2))
        value, g = rng.normal(size=(2, n, d)) * 3
        ours, theirs = Node(value), torch.tensor(value, requires_grad=True)
        out, expected = layer_norm(ours), F.layer_norm(theirs, (d,))
        np.testing.assert_allclose(out.value, expected.detach().numpy(), atol=1e-10)
        backprop(total(mul(out, Node(g))))
        (expected * torch.tensor(g)).sum().backward()
        assert np.abs(ours.grad - theirs.grad.numpy()).max() < 1e-10


# %% [markdown]
# ## 5. Plant bugs in the engine
#
# The checker nudges every entry of every array that goes into a graph. Give it four graphs, each
# with one thing more than the last:
#
# | graph | what is computed | what is new |
# |---|---|---|
# | one row | $\sum \tanh(XW + b)$ for a single example | |
# | batch | the same for five examples | rows to sum over |
# | square | $\sum s \odot s$ with $s = \tanh(XW + b)$ | $s$ is used twice |
# | skip | the same with $s = \tanh(XW + b) + XW$ | $XW$ is used twice, by paths of unequal length |
#
# And give the engine one of four bugs, in no particular order:
#
# | bug | what it does |
# |---|---|
# | overwrite | `=` where it should add |
# | mean | averages over repeated rows instead of summing |
# | order | sweeps in discovery order |
# | tanh rule | $1 - z^2$ for $1 - h^2$ |
#
# **Predict:** which bug does the simplest graph catch? Which one survives longest? Fill in the
# 4 × 4 table before you run the cell.

# %%
def affine(X: Node, W: Node, b: Node) -> Node:
    """X W + b."""
    return add(matmul(X, W), b)


def plain_graph(X: Node, W: Node, b: Node, act: Callable) -> Node:
    """The sum of act(X W + b)."""
    return total(act(affine(X, W, b)))


def square_graph(X: Node, W: Node, b: Node, act: Callable) -> Node:
    """The sum of squares of act(X W + b)."""
    s = act(affine(X, W, b))
    return total(mul(s, s))


def skip_graph(X: Node, W: Node, b: Node, act: Callable) -> Node:
    """The sum of squares of act(X W + b) + X W."""
    u = matmul(X, W)
    s = add(act(add(u, b)), u)
    return total(mul(s, s))


def tanh_wrong(a: Node) -> Node:
    """tanh with a planted bug: the rule reads the input."""
    return Node(np.tanh(a.value), (a,), (lambda g: g * (1 - a.value**2),))


def average(g: np.ndarray, shape: tuple) -> np.ndarray:
    """unbroadcast with a planted bug: the mean instead of the sum."""
    return unbroadcast(g, shape) * (np.prod(shape) / g.size)


def overwrite(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """add_to with a planted bug: the last gradient wins."""
    return new


def check_engine(build: Callable, n: int, bug: str, seed: int = 0) -> float:
    """Worst relative error of the engine with `bug` on a graph with n rows."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in [(n, 3), (3, 2), (2,)]]
    act = tanh_wrong if bug == "tanh rule" else tanh
    leaves = [Node(a) for a in arrays]
    loss = build(*leaves, act)
    order = discovery_order(loss) if bug == "order" else topological_order(loss)[::-1]
    sweep(order, average if bug == "mean" else unbroadcast,
          overwrite if bug == "overwrite" else np.add)
    return max(
        relative_error(leaf.grad, numerical_gradient(
            lambda: float(build(*map(Node, arrays), tanh).value), array))
        for leaf, array in zip(leaves, arrays))


# %%
#| label: fig-bugs
#| fig-cap: Worst relative error that the checker finds, by bug (rows) and graph (columns). Below 1e-7 the cell says pass.
#| fig-alt: A 5 by 4 table of cells. The engine without a bug passes all four graphs. Below it a triangle of large errors; each graph catches one bug more than the one before, and only the skip graph catches all four.
graphs = {"one row": (plain_graph, 1), "batch": (plain_graph, 5),
          "square": (square_graph, 5), "skip": (skip_graph, 5)}
bug_names = ["none", "tanh rule", "mean", "overwrite", "order"]
caught = np.array([[check_engine(*graph, bug) for graph in graphs.values()]
                   for bug in bug_names])
fig, ax = plt.subplots(figsize=(5.6, 3.4))
ax.imshow(caught, vmin=0, vmax=1, aspect="auto")
for (i, j), error in np.ndenumerate(caught):
    ax.text(j, i, f"{error:.2f}" if error > 1e-7 else "pass", ha="center", va="center",
            color="white" if error < 0.5 else "black")
ax.set_xticks(range(4), graphs)
ax.set_yticks(range(5), bug_names)
ax.set(xlabel="graph", ylabel="bug")
ax.grid(False)
passes = caught < 1e-7
assert passes[0].all()
assert [int(np.flatnonzero(~row)[0]) for row in passes[1:]] == [0, 1, 2, 3]

# %% [markdown]
# **What the code shows:** each graph is the first to catch one bug. The local rule fails on a single
# example; the other three pass there.
# With one row a mean is a sum; without fan-out nothing is overwritten; without paths of
# unequal length the order does not matter.
# A gradient check is only as good as the graph it checks. So check on a batch, with shared
# values, with a skip connection, and with unequal dimensions.

# %% tags=["test"]
def test_checker_catches_each_bug_on_its_graph():
    cases = [(plain_graph, 1), (plain_graph, 5), (square_graph, 4), (skip_graph, 3)]
    bugs = ["tanh rule", "mean", "overwrite", "order"]
    for seed in range(5):
        for j, (build, n) in enumerate(cases):
            assert check_engine(build, n, "none", seed) < 1e-7
            for i, bug in enumerate(bugs):
                error = check_engine(build, n, bug, seed)
                assert error > 1e-3 if i <= j else error < 1e-7, (seed, i, j)


# %% [markdown]
# ### Exercise 5 (apply): check everything with two passes
#
# Nudging each entry costs two passes apiece. Nudge *all* arrays at once along a random direction
# $v$ instead: the change must equal the inner product of $v$ with the gradient.
# Write it for any function of arrays, with a step of $10^{-5}$. Which of the two checks tells you *where* the bug is?

# %%
def direction_error(f: Callable, arrays: list, grads: list, seed: int = 0) -> float:
    """abs(nudged - predicted) / (abs(nudged) + abs(predicted)) along a random v."""
    ### BEGIN SOLUTION
    rng, step = np.random.default_rng(seed), 1e-5
    v = [rng.normal(size=a.shape) for a in arrays]
    above = f(*(a + step * d for a, d in zip(arrays, v)))
    below = f(*(a - step * d for a, d in zip(arrays, v)))
    nudged = (above - below) / (2 * step)
    predicted = sum((g * d).sum() for g, d in zip(grads, v))
    return abs(nudged - predicted) / (abs(nudged) + abs(predicted))
    ### END SOLUTION


# %% tags=["test"]
def test_direction_error():
    calls = []

    def f(A: np.ndarray, B: np.ndarray) -> float:
        calls.append(1)
        return float(np.sin(A).sum() * (B**2).sum())

    rng = np.random.default_rng(9)
    for seed in range(20):
        A, B = rng.normal(size=(4, 3)), rng.normal(size=5)
        dA, dB = np.cos(A) * (B**2).sum(), 2 * B * np.sin(A).sum()
        calls.clear()
        assert direction_error(f, [A, B], [dA, dB], seed) < 1e-5 and len(calls) == 2
        assert direction_error(f, [A, B], [dA, 1.1 * dB], seed) > 1e-5
        assert direction_error(f, [A, B], [-dA, -dB], seed) > 0.99


# %% [markdown] tags=["solution"]
# The direction costs two passes for any number of parameters and says only *that* something is
# wrong. Entry by entry says where. So run the first in every test suite and the second when it
# fails.

# %% [markdown]
# ## 6. Train with the engine
#
# The engine replaces `backward`, nothing else: same start, same batches, same update.
# **Predict:** after 400 steps, how far apart are the two networks? And PyTorch's?

# %%
def train_by_engine(X: np.ndarray, y: np.ndarray, seed: int, lr: float = 0.1,
                    steps: int = 400, batch: int = 32) -> tuple:
    """train_by_hand without a hand-written gradient."""
    rng = np.random.default_rng(seed)
    params, losses = init_params(SIZES, rng), []
    for _ in range(steps):
        rows = rng.integers(len(X), size=batch)
        layers = [(Node(W), Node(b)) for W, b in params]
        loss = softmax_cross_entropy(network(Node(X[rows]), layers), y[rows])
        backprop(loss)
        losses.append(float(loss.value))
        params = [(W.value - lr * W.grad, b.value - lr * b.grad) for W, b in layers]
    return params, losses


def train_by_torch(X: np.ndarray, y: np.ndarray, seed: int, lr: float = 0.1,
                   steps: int = 400, batch: int = 32) -> tuple:
    """The same once more, in PyTorch with float64."""
    rng, losses = np.random.default_rng(seed), []
    flat = [torch.tensor(a, requires_grad=True) for W_b in init_params(SIZES, rng)
            for a in W_b]
    optimizer = torch.optim.SGD(flat, lr=lr)
    X, y = torch.tensor(X), torch.tensor(y)
    for _ in range(steps):
        rows = torch.tensor(rng.integers(len(X), size=batch))
        h = X[rows]
        for l in range(0, len(flat), 2):
            z = h @ flat[l] + flat[l + 1]
            h = torch.relu(z)
        loss = F.cross_entropy(z, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    flat = [t.detach().numpy() for t in flat]
    return list(zip(flat[::2], flat[1::2])), losses


def distance(one: tuple, other: tuple) -> float:
    """Largest difference between two training runs, in any loss or parameter."""
    gaps = [np.abs(np.subtract(a, b)).max() for p, q in zip(one[0], other[0])
            for a, b in zip(p, q)]
    return max(*gaps, np.abs(np.subtract(one[1], other[1])).max())


# %%
#| label: fig-seeds
#| fig-cap: Loss in five training runs, smoothed over 20 steps. Lines are the engine, circles the gradients by hand, crosses PyTorch.
#| fig-alt: Five curves fall from about 2.2 to about 0.2 and end close together; on each, circles and crosses lie exactly on the line.
seeds = range(5)
runs = {name: [train(X_train, y_train, seed) for seed in seeds] for name, train in
        [("by hand", train_by_hand), ("engine", train_by_engine), ("torch", train_by_torch)]}
test_accuracy = {name: np.array([accuracy(p, X_test, y_test) for p, _ in trained])
                 for name, trained in runs.items()}
for name, values in test_accuracy.items():
    print(f"{name:8}", " ".join(f"{a:.3f}" for a in values), f" mean {values.mean():.3f}")
for name in ("engine", "torch"):
    gap = max(distance(a, b) for a, b in zip(runs["by hand"], runs[name]))
    print(f"by hand and {name}: every loss and parameter within 1e-10: {gap < 1e-10}")
    assert gap < 1e-10

fig, ax = plt.subplots()
for (name, mark), seed in [(m, s) for m in [("engine", "-"), ("by hand", "o"),
                                            ("torch", "x")] for s in seeds]:
    smooth = np.convolve(runs[name][seed][1], np.ones(20) / 20, mode="valid")
    at_steps = np.arange(len(smooth))[:: 1 if mark == "-" else 28]
    ax.plot(at_steps, smooth[at_steps], mark, color=f"C{seed}", lw=1.2, mfc="none",
            label=name if seed == 0 else None)
ax.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
ax.legend()
assert test_accuracy["engine"].min() > 0.9

# %% [markdown]
# **What the code shows:** equal step by step. The engine reaches
# `{python} f"{test_accuracy['engine'].mean():.1%}"` on average over five seeds, the hand-written gradients
# `{python} f"{test_accuracy['by hand'].mean():.1%}"`, PyTorch
# `{python} f"{test_accuracy['torch'].mean():.1%}"`.
# They are one algorithm, written three times.

# %% tags=["test"]
def test_three_trainers_agree():
    rng = np.random.default_rng(10)
    X, y = rng.random((60, 64)), rng.integers(0, 10, size=60)
    for seed in range(3):
        hand = train_by_hand(X, y, seed, steps=12)
        assert len(hand[1]) == 12 and hand[1][0] != hand[1][-1]
        assert distance(hand, train_by_engine(X, y, seed, steps=12)) < 1e-10
        assert distance(hand, train_by_torch(X, y, seed, steps=12)) < 1e-10
        assert distance(hand, train_by_hand(X, y, seed, "forgot phi'", steps=12)) > 1e-3


# %% [markdown]
# ## 7. Experiment: what does training hide?
#
# **Question:** if you tune the [learning rate](../training/optimizers.py), does the test accuracy
# show which gradient is wrong?
#
# **Predict** four curves of accuracy against the learning rate: the right gradient, and the three
# bugs that `backward` knows. Two hints. Each batch has 32 rows. And "forgot phi'" treats every
# ReLU as always on.

# %%
#| label: fig-rates
#| fig-cap: Test accuracy after 400 steps against the learning rate, right gradient and three bugs. Lines are means over five seeds, bands span the seeds.
#| fig-alt: Four humps with tops between 93 and 95 per cent. The one without the factor 1/n is the right one shifted left by a factor of 32; the other two run below the right one at small rates and peak a little lower. Without phi' one seed falls to guessing at rate 0.3.
base = 0.1 * np.sqrt(10) ** np.arange(-4, 3)  # half a decade apart
rates = {"none": base, "forgot 1/n": base / 32, "forgot transpose": base,
         "forgot phi'": base}
hidden = {}
fig, ax = plt.subplots()
for (bug, lrs), line in zip(rates.items(), ["-", "--", "-.", ":"]):
    with np.errstate(all="ignore"):  # large rates diverge
        hidden[bug] = np.array([[
            accuracy(train_by_hand(X_train, y_train, s, bug, lr)[0], X_test, y_test)
            for s in seeds] for lr in lrs])
    label = "right" if bug == "none" else bug
    ax.semilogx(lrs, hidden[bug].mean(axis=1), line, label=label)
    ax.fill_between(lrs, hidden[bug].min(axis=1), hidden[bug].max(axis=1), alpha=0.2, lw=0)
ax.set(xlabel="learning rate", ylabel="test accuracy", ylim=(0, 1))
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
best = {bug: hidden[bug][hidden[bug].mean(axis=1).argmax()] for bug in rates}
for bug, values in best.items():
    print(f"{bug:17} best mean {values.mean():.3f}, seeds {values.min():.3f} to "
          f"{values.max():.3f}")
lost = [100 * (best["none"].mean() - best[bug].mean()) for bug in list(rates)[1:]]
pairs = 100 * (hidden["none"] - hidden["forgot transpose"])[4]  # rate 0.1, seed by seed
assert base[4] == 0.1 and pairs.argmin() == 1  # the seed of Section 1 flatters the bug

# %% [markdown]
# **What the code shows:** no.
# "Forgot 1/n" is the right curve, shifted by the batch size: its best rate is 32 times smaller and
# nothing else differs (`{python} f"{best['forgot 1/n'].mean():.1%}"` against
# `{python} f"{best['none'].mean():.1%}"`).
# The other two, each at its best rate, lose `{python} f"{lost[1]:.1f}"` (transpose) and
# `{python} f"{lost[2]:.1f}"` points (phi') on average;
# the five seeds of the right gradient alone span `{python} f"{100 * np.ptp(best['none']):.1f}"`.
# Side by side at the rate 0.1 of Section 1, same seed against same seed, the wrong transpose loses
# on `{python} int((pairs > 0).sum())` of 5 seeds, by `{python} f"{pairs.mean():.1f}"` points on average.
# But that comparison needs the right gradient. Without it you would shrug and go on tuning.
#
# Two cautions. The rates were chosen on the same test images that then give the accuracy. That flatters all four;
# for an honest accuracy, choose on a third set of images. And this is one easy task and one small network.

# %% [markdown]
# ## 8. The depth knob
#
# Now put `depth` tanh layers of width 32 on top of a first one, with weights of variance $1 / (2 \cdot 32)$, smaller than is
# usual, so that the document's factor per layer is about $\sqrt{1/2}$.
# The signal $h^{(l)}$ shrinks on the way up, the gradient $dh^{(l)}$ on the way down.
# **Predict** for depth 16: in which layer is $dW^{(l)}$ smallest? And what changes if every layer has a
# skip connection, $h + \tanh(hW + b)$?

# %%
def deep_network(X: Node, layers: list, skip: bool) -> tuple[Node, list]:
    """Logits of a stack of tanh layers, and its nodes h; the first layer never skips."""
    h = [X]
    for l, (W, b) in enumerate(layers[:-1]):
        new = tanh(affine(h[-1], W, b))
        h.append(add(new, h[-1]) if skip and l > 0 else new)
    return affine(h[-1], *layers[-1]), h


def train_deep(X: np.ndarray, y: np.ndarray, depth: int, skip: bool, seed: int,
               steps: int = 300, lr: float = 0.1, gain: float = 0.5) -> tuple[list, dict]:
    """Layers (pairs of nodes) after training; norms at the first step by name."""
    rng = np.random.default_rng(seed)
    params = init_params([X.shape[1], *[32] * (depth + 1), 10], rng, gain)
    layers, norms = [(Node(W), Node(b)) for W, b in params], {}
    for step in range(steps):
        rows = rng.integers(len(X), size=32)
        logits, h = deep_network(Node(X[rows]), layers, skip)
        backprop(softmax_cross_entropy(logits, y[rows]))
        if step == 0:
            norms = {"h": [np.linalg.norm(a.value) for a in h[1:-1]],
                     "dh": [np.linalg.norm(a.grad) for a in h[2:]],
                     "dW": [np.linalg.norm(W.grad) for W, _ in layers[1:-1]]}
        for leaf in (leaf for pair in layers for leaf in pair):
            leaf.value = leaf.value - lr * leaf.grad
    return layers, norms


# %%
#| label: fig-depth
#| fig-cap: Norms at the first step in 16 layers, plain (left) and with skip connections (right). Each layer's input h, the gradient of its output, and the gradient of its weights. Lines are medians over five seeds, bands span them.
#| fig-alt: Left, the input falls by more than two decades from layer 1 to 16, the gradient of the output rises as much, and the weight gradient is level near 0.001. Right, each of the three stays within a decade, and the weight gradient lies above 1.
flow = {skip: [train_deep(X_train, y_train, 16, skip, s, steps=1)[1] for s in seeds]
        for skip in (False, True)}
level = {}
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1), sharey=True)
for ax, (skip, found) in zip(axes, flow.items()):
    for name, line in [("h", ":"), ("dh", "--"), ("dW", "-")]:
        values = np.array([norms[name] for norms in found])
        level[skip, name] = np.median(values, axis=0)
        ax.semilogy(range(1, 17), level[skip, name], line, label=name)
        ax.fill_between(range(1, 17), values.min(axis=0), values.max(axis=0), alpha=0.2, lw=0)
    ax.set(title="with skips" if skip else "plain", xticks=[1, 4, 8, 12, 16],
           xlabel="layer (the loss is to the right)")
axes[0].set_ylabel("norm")
axes[0].legend();

# %% [markdown]
# **What the code shows:** if you named one layer, look again. $dh$ shrinks going down and $h$ shrinks going
# up. $dW$ is the product of the two, so it is small *everywhere*: its largest and smallest layer
# differ by a factor of `{python} f"{level[False, 'dW'].max() / level[False, 'dW'].min():.1f}"`.
# Skips hold all three up. Forward, a layer adds to $h$ instead of replacing it. Backward, the fan-out rule gives
# $dh^{(l-1)} = dh^{(l)} + \dots$, one term that no weight has shrunk.
# With such skips, and with normalization, [residual networks](../architectures/cnns.py#from-1980-to-today) trained
# with over a hundred layers [@he2016deep].
# Does it matter for learning?

# %%
#| label: fig-learn
#| fig-cap: Test accuracy after 300 steps against depth, plain and with skip connections. Lines are means over three seeds, bars span them. The dotted line is a guess among ten.
#| fig-alt: Without skips accuracy falls from about 94 per cent at depth 1 to the level of guessing at depth 16; with skips it stays near 95 per cent up to depth 8 and is still above 80 per cent at 16.
depths = [1, 2, 4, 8, 16]
deep_accuracy = {}
fig, ax = plt.subplots()
for skip, mark in [(True, "o-"), (False, "s--")]:
    table = np.zeros((len(depths), 3))
    for (i, s), _ in np.ndenumerate(table):
        layers, _ = train_deep(X_train, y_train, depths[i], skip, s)
        logits = deep_network(Node(X_test), layers, skip)[0].value
        table[i, s] = (logits.argmax(axis=1) == y_test).mean()
    deep_accuracy[skip] = table
    mean = table.mean(axis=1)
    ax.errorbar(depths, mean, [mean - table.min(axis=1), table.max(axis=1) - mean], fmt=mark,
                capsize=3, label="with skips" if skip else "plain")
ax.axhline(0.1, color="0.4", ls=":")
ax.set(xscale="log", xlabel="depth", ylabel="test accuracy", ylim=(0, 1), xticks=depths)
ax.set_xticks(depths, depths)
ax.minorticks_off()
ax.legend(loc="center left")

# %% [markdown]
# **What the code shows:** at depth 16 the plain stack gets
# `{python} f"{deep_accuracy[False][-1].mean():.0%}"` right, the one with skips
# `{python} f"{deep_accuracy[True][-1].mean():.0%}"`.
# Both gradients are exact. A correct gradient can still be too small to use.
# (Larger initial weights help the plain stack too; try `gain=1.0` and `gain=2.0`. Normalization is the third cure: see
# [regularization](../neural-networks/regularization.py#keep-the-signals-in-range).)

# %% tags=["test"]
def test_deep_network_matches_autograd():
    rng = np.random.default_rng(11)
    for trial in range(20):
        depth, n, skip = int(rng.integers(1, 6)), int(rng.integers(1, 5)), trial % 2 == 0
        params = init_params([7, *[4] * (depth + 1), 3], rng)
        X, y = rng.normal(size=(n, 7)), rng.integers(0, 3, size=n)
        layers = [(Node(W), Node(b)) for W, b in params]
        logits, h = deep_network(Node(X), layers, skip)
        backprop(softmax_cross_entropy(logits, y))
        theirs = [[torch.tensor(a, requires_grad=True) for a in pair] for pair in params]
        t = [torch.tensor(X, requires_grad=True)]
        for l, (W, b) in enumerate(theirs[:-1]):
            new = torch.tanh(t[-1] @ W + b)
            t.append(new + t[-1] if skip and l > 0 else new)
        for tensor in t:
            tensor.retain_grad()
        F.cross_entropy(t[-1] @ theirs[-1][0] + theirs[-1][1], torch.tensor(y)).backward()
        for ours, tensor in zip(h + sum(map(list, layers), []), t + sum(theirs, [])):
            assert np.abs(ours.grad - tensor.grad.numpy()).max() < 1e-10


def test_train_deep_takes_the_first_step_of_torch():
    for seed in range(20):
        depth, skip = seed % 5, seed % 2 == 0
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(50, 6)), rng.integers(0, 10, size=50)
        layers, norms = train_deep(X, y, depth, skip, seed, steps=1, lr=0.3, gain=0.7)
        rng = np.random.default_rng(seed)
        params = init_params([6, *[32] * (depth + 1), 10], rng, 0.7)
        rows = rng.integers(50, size=32)
        theirs = [[torch.tensor(a, requires_grad=True) for a in pair] for pair in params]
        t = [torch.tensor(X[rows])]
        for l, (W, b) in enumerate(theirs[:-1]):
            new = torch.tanh(t[-1] @ W + b)
            t.append(new + t[-1] if skip and l > 0 else new)
            t[-1].retain_grad()
        F.cross_entropy(t[-1] @ theirs[-1][0] + theirs[-1][1],
                        torch.tensor(y[rows])).backward()
        for node, tensor in zip(sum(map(list, layers), []), sum(theirs, [])):
            moved = tensor.detach() - 0.3 * tensor.grad
            assert np.abs(node.value - moved.numpy()).max() < 1e-10
        expected = {"h": t[1:-1], "dh": [a.grad for a in t[2:]],
                    "dW": [W.grad for W, _ in theirs[1:-1]]}
        for name, tensors in expected.items():
            want = [a.detach().norm().item() for a in tensors]
            assert len(want) == depth
            np.testing.assert_allclose(norms[name], want, rtol=1e-9)


def test_accuracy():
    params = [(np.eye(3), np.array([0.0, 0, 1]))]
    X = np.array([[3.0, 0, 1], [0, 3, 1], [1, 0, 0.5]])  # answers 0, 1, 2
    assert accuracy(params, X, np.array([0, 1, 2])) == 1
    assert accuracy(params, X, np.array([0, 2, 2])) == 2 / 3


# %% [markdown]
# ## 9. Which pixels matter
#
# $X$ is a leaf like any other, so the engine has its gradient too. The document never used $dX$ of
# the first layer. Here it is a picture: how the loss changes if you add ink to a pixel.
# (@simonyan2014deep drew it for the score of a class, its logit; here it is the loss.)
# **Predict:** for an image of a 3, where will more ink raise the loss?

# %%
def input_gradient(params: list, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the summed loss by the images X (n, d), one row for each image."""
    images = Node(X)
    layers = [(Node(W), Node(b)) for W, b in params]
    backprop(softmax_cross_entropy(network(images, layers), y))
    return images.grad * len(y)  # the mean loss carries 1/n


# %%
#| label: fig-pixels
#| fig-cap: "Top: the first test image of five digits. Middle: the gradient of the loss of one network by each pixel. Bottom: the same, averaged over all test images of the digit and five networks. Red: more ink raises the loss. Blue: more ink lowers it. Each map has its own scale."
#| fig-alt: Five grey digits above two rows of red and blue maps. The single maps look nearly random, also at the blank borders. The averaged maps are cleaner, pale at the borders, with a red centre for 0 and two red spots on the left of the 3.
chosen = [0, 3, 4, 7, 8]
first = [int(np.flatnonzero(y_test == k)[0]) for k in chosen]
networks = [trained for trained, _ in runs["engine"]]
single = input_gradient(networks[0], X_test[first], y_test[first])
everywhere = np.mean([input_gradient(p, X_test, y_test) for p in networks], axis=0)
averaged = np.stack([everywhere[y_test == k].mean(axis=0) for k in chosen])
fig, axes = plt.subplots(3, 5, figsize=(6.4, 4))
for column, image, *pair in zip(axes.T, X_test[first], single, averaged):
    column[0].imshow(image.reshape(8, 8), cmap="Greys")
    for ax, gradient in zip(column[1:], pair):
        edge = abs(gradient).max()
        ax.imshow(gradient.reshape(8, 8), cmap="RdBu_r", vmin=-edge, vmax=edge)
for ax in axes.ravel():
    ax.axis("off")

blank = np.flatnonzero((X_train == 0).all(axis=0))
start = init_params(SIZES, np.random.default_rng(0))[0][0]
print("pixels blank in all training images:", blank.tolist())
print("their weights after training are those of the start:",
      np.array_equal(networks[0][0][0][blank], start[blank]))

# %% [markdown]
# **What the code shows:** the averaged maps can be read. Ink in the middle speaks against a 0, and ink
# on the left, where it would close the loops of an 8, speaks against a 3.
# The single maps look random, and partly they are. A pixel that is always blank gives
# $dW^{(1)} = X^\top dz^{(1)}$ a row of zeros, so its weights keep their random start, and the map shows it.
#
# The map says what a *small* change does. Follow it and see: nudge every pixel by $\epsilon$ in the direction
# of its gradient's sign, the *fast gradient sign* attack [@goodfellow2015explaining].
# The control moves every pixel by the same amount in a random direction.
# **Predict** the accuracy of both at $\epsilon = 0.2$, a fifth of the way from white to black.

# %%
def attack(params: list, X: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """X moved by epsilon along the sign of its gradient, kept between 0 and 1."""
    return np.clip(X + epsilon * np.sign(input_gradient(params, X, y)), 0, 1)


# %%
#| label: fig-attack
#| fig-cap: Accuracy on the test images when every pixel moves by a given amount, along the sign of the gradient or at random. Lines are means over the five networks of Section 6, bands span them.
#| fig-alt: Random moves cost little, about 90 per cent is right at 0.15. Moves along the gradient leave less than half right at 0.1, less than a fifth at 0.15 and almost nothing at 0.25.
epsilons = np.linspace(0, 0.3, 13)
random_sign = np.random.default_rng(12).choice([-1.0, 1.0], size=X_test.shape)
attacked = np.array([[accuracy(p, attack(p, X_test, y_test, e), y_test)
                      for p, _ in runs["engine"]] for e in epsilons])
at_random = np.array([[accuracy(p, np.clip(X_test + e * random_sign, 0, 1), y_test)
                       for p, _ in runs["engine"]] for e in epsilons])
fig, ax = plt.subplots()
for values, line, name in [(at_random, "--", "random"), (attacked, "-", "gradient")]:
    ax.plot(epsilons, values.mean(axis=1), line, label=name)
    ax.fill_between(epsilons, values.min(axis=1), values.max(axis=1), alpha=0.25, lw=0)
ax.set(xlabel=r"$\epsilon$", ylabel="test accuracy", ylim=(0, 1))
ax.legend()

# %% [markdown]
# **What the code shows:** at $\epsilon = 0.2$ random moves leave
# `{python} f"{at_random[8].mean():.0%}"` right, the gradient's moves
# `{python} f"{attacked[8].mean():.0%}"`.
# So even a map that looks random tells the truth about *its* network. It does not explain *why*, and a pretty map alone
# proves little: some popular ways of drawing maps give nearly the same picture for a network with
# random weights; the plain gradient passes that test [@adebayo2018sanity].

# %% tags=["test"]
def test_input_gradient_and_attack():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d, k = (int(v) for v in rng.integers(2, 7, size=3))
        params = init_params([d, 5, k], rng)
        X, y = rng.random((n, d)), rng.integers(0, k, size=n)
        t = torch.tensor(X, requires_grad=True)
        (W1, b1), (W2, b2) = [[torch.tensor(a) for a in pair] for pair in params]
        logits = torch.relu(t @ W1 + b1) @ W2 + b2
        F.cross_entropy(logits, torch.tensor(y), reduction="sum").backward()
        expected = t.grad.numpy()
        assert np.abs(input_gradient(params, X, y) - expected).max() < 1e-10
        moved = attack(params, X, y, 0.1)
        assert moved.min() >= 0 and moved.max() <= 1
        np.testing.assert_allclose(moved, np.clip(X + 0.1 * np.sign(expected), 0, 1))


# %% [markdown]
# ### Exercise 6 (explore): the smallest step that changes the answer
#
# For one image and its class, find the smallest $\epsilon$ on a grid at which `attack` changes the network's
# answer (infinity if none does). Use images that the network gets right.
# Then plot it against the margin between the two largest logits. Which images need the largest steps?

# %%
def smallest_step(params: list, x: np.ndarray, y: int, grid: np.ndarray) -> float:
    """First epsilon of the ascending grid at which attack() changes the answer for x (d,)."""
    ### BEGIN SOLUTION
    last, X = f"z{len(params)}", x[None, :]
    before = forward(params, X)[last].argmax()
    for epsilon in grid:
        moved = attack(params, X, np.array([y]), epsilon)
        if forward(params, moved)[last].argmax() != before:
            return float(epsilon)
    return float("inf")
    ### END SOLUTION


# %% tags=["test"]
def test_smallest_step():
    rng, grid = np.random.default_rng(14), np.linspace(0, 0.5, 501)
    for _ in range(20):  # for a linear model with two classes the answer is a formula
        w = rng.normal(size=6)
        params = [(np.stack([w, -w], axis=1), np.zeros(2))]
        x = np.full(6, 0.5) + 0.1 * rng.normal(size=6)
        y = int(w @ x < 0)
        expected = abs(w @ x) / abs(w).sum()
        found = smallest_step(params, x, y, grid)
        if expected + 0.3 < 0.5:  # no pixel was clipped
            assert -1e-9 < found - expected < 1.1e-3
    assert smallest_step(params, x, y, np.array([0.0])) == float("inf")


# %% [markdown] tags=["solution"]
# For a linear model the step is the margin over the sum of $\lvert w \rvert$, so the two are proportional. For a
# network it holds only roughly: the slope differs from image to image, and so does the pattern of active ReLU
# units on the way. Images with a large margin tend to need the larger steps.

# %% [markdown]
# ## 10. What breaks, and what to try next
#
# | symptom | cause | fix | seen in |
# |---|---|---|---|
# | learns, a little worse | a wrong gradient | compare every intermediate, from the loss backward | Sections 1, 7 |
# | `nan`, or hard examples ignored | the steps of the loss taken apart | fuse them | Section 2 |
# | check fails at one point only | a kink within the step | another random point, a smaller step | Section 3 |
# | a bias turns into a matrix | the broadcast was not summed | `unbroadcast` | Section 4 |
# | check passes, skip connections fail | `=` for `+=`, or the wrong order | check a graph with fan-out | Section 5 |
#
# ### Conventions and common confusions
#
# > [!NOTE]
# > - Here `backprop` starts every gradient from zero. PyTorch *adds* to the gradients of leaves from
# >   call to call, so there you reset them yourself.
# > - Here the graph is kept and can be swept again. PyTorch frees it after one `backward()` unless you say
# >   `retain_graph=True`, and keeps the gradients of intermediates only on `retain_grad()`.
# > - The gradient of a *mean* loss by one example's pixels carries $1/n$; `input_gradient` takes it out.
# > - "Saliency map" may mean $dX$, its absolute value, or $X \odot dX$, of the loss or of a logit. Here it is $dX$ of
# >   the loss.
# > - Rows are examples: $Z = XW + b$. `nn.Linear` stores $W^\top$.
#
# Try next, and predict each time: a `sigmoid` node in `train_deep`; `batch=1` in
# `train_by_hand` (which bug of Section 7 vanishes?); all weights of one layer equal at the start; the
# first layer frozen at its start (is the wrong gradient of Section 1 better than none?).
# Then see what the activations do to these signals in [activations visualized](03-activations-visualized.py),
# and the same rules at work on a real layer in
# [attention from scratch](07-attention-from-scratch.py).

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Local rule (VJP) | $dh \odot (1 - h^2)$ for tanh | `Node(h, (a,), (lambda g: ...,))` | custom layers |
# | Fan-out | $dv = \sum_u du \, \partial u / \partial v$ | `parent.grad + g` | [skip connections](../transformers/transformer-architecture.py#the-residual-stream), shared weights |
# | Broadcast | $db = \sum_i dz_i$ | `unbroadcast(g, shape)` | biases, gains, masks |
# | Order | users before the node | `topological_order(loss)[::-1]` | every autograd |
# | Fused loss | $(p - \text{onehot}(y)) / n$ | `softmax_cross_entropy` | [classifiers](../training/loss-functions.py), [GPT](../transformers/gpt.py) |
# | Gradient check | $(f(x + \epsilon) - f(x - \epsilon)) / 2\epsilon$ | `numerical_gradient` | tests |
# | Input gradient | $dX$ | `images.grad` | saliency, adversarial examples |
#
# **The essential insight:** no part of an autodiff engine understands the network. Each node knows one
# rule, and two sums and an order do the rest. That is why a dozen small functions train what PyTorch trains,
# to the last printed digit. It is also why a mistake is so hard to see: a network with a wrong rule
# still learns, and the proof that a gradient is right never comes from the loss curve. It comes from a test that can fail, on
# a graph rich enough to make it fail.
