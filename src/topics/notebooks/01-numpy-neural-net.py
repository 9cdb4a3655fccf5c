# ---
# title: A neural network in NumPy
# summary: A two-layer network from nothing, as good as the library's.
# prerequisites:
#   - neural-networks/perceptron: one neuron, and one neuron for each class
#   - neural-networks/multilayer-networks: hidden layers, ReLU, and why initial weights are random
#   - math-foundations/linear-algebra: matrix products and their shapes
#   - math-foundations/calculus: gradients, the chain rule and central differences
#   - math-foundations/probability: the softmax and cross-entropy
# packages: [numpy, matplotlib, scikit-learn, torch]
# seconds: 60
# ---

# %% [markdown]
# # A neural network in NumPy
#
# $$
# \boxed{
# \begin{aligned}
# P &= \text{softmax}\left(\phi\left(X W^{(1)} + b^{(1)}\right) W^{(2)} + b^{(2)}\right) \\
# \theta &\leftarrow \theta - \eta \frac{\partial L}{\partial \theta}
# \end{aligned}
# }
# $$
#
# $X \in \mathbb{R}^{n \times d}$ holds $n$ images, one per row, and row $i$ of
# $P \in \mathbb{R}^{n \times K}$ the probabilities that the network gives to the $K$ classes of image $i$.
# $W^{(1)} \in \mathbb{R}^{d \times m}$ and $W^{(2)} \in \mathbb{R}^{m \times K}$ are the weights of $m$ hidden
# and $K$ output neurons, $b^{(1)}$ and $b^{(2)}$ their biases, and $\phi(z) = \max(z, 0)$, entry by entry.
# $L$ is the loss, $\theta$ stands for any of the four arrays, and $\eta$ is the learning rate.
# These two lines are a complete neural network; by the end of this lab yours will equal scikit-learn's, weight for weight.

# %% [markdown]
# ## 1. Digits, and what no hidden layer does with them
#
# The theory is in [perceptron](../neural-networks/perceptron.py) and
# [multilayer networks](../neural-networks/multilayer-networks.py); here you build.
# Where you read **Predict**, write down your answer before you run the next cell.
#
# The data are 1,797 handwritten digits [@alpaydin1998optical], which come with scikit-learn
# (CC BY 4.0): 8 × 8 pixels with ink from 0 to 16, here divided by 16.
# Split them three ways: 800 images to learn from, 200 on which to turn knobs, and 797 for one
# final exam. The exam stays closed until Section 6.

# %%
#| label: fig-digits
#| fig-cap: Two images of each digit from the training set.
#| fig-alt: Twenty small grey images of handwritten digits. Most are easy to read in spite of 8 by 8 pixels, and the two versions of a digit differ in slant and thickness.
import warnings
from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import torch  # only to check our results against
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.neural_network import MLPClassifier

digits = load_digits()
shuffled = np.random.default_rng(0).permutation(len(digits.target))
learn, tune, exam = np.split(shuffled, [800, 1000])
pixels = digits.data / 16  # 0 is white, 1 is black
X_learn, y_learn = pixels[learn], digits.target[learn]
X_tune, y_tune = pixels[tune], digits.target[tune]
assert X_learn.shape == (800, 64) and y_learn.shape == (800,) and len(exam) == 797

fig, axes = plt.subplots(2, 10, figsize=(7.2, 1.7))
for k in range(10):
    for ax, x in zip(axes[:, k], X_learn[y_learn == k]):
        ax.imshow(x.reshape(8, 8), cmap="gray_r")
        ax.axis("off")
    axes[0, k].set_title(str(k))

# %% [markdown]
# To the network an image is a row of 64 numbers and a class from 0 to 9, nothing else.
# How far do ten neurons get, one for each class?
# Such a layer is *linear*: the border between any two classes is flat, so this lab calls the layer a *line* for short.
# scikit-learn fits it under the name logistic regression (for ten classes: one layer, softmax and cross-entropy).
# Its knob `C` says how freely the weights may grow. Try five settings, and choose one on the tuning images.

# %%
lines = [LogisticRegression(C=C, max_iter=5000).fit(X_learn, y_learn)
         for C in (0.01, 0.1, 1, 10, 100)]
best_line = max(lines, key=lambda line: line.score(X_tune, y_tune))
line_tune = best_line.score(X_tune, y_tune)
print(f"one layer: {line_tune:.1%} of the tuning images right, "
      f"{best_line.score(X_learn, y_learn):.1%} of its own")
assert line_tune < 0.98

# %% [markdown]
# **What the code shows:** the best of the five lines gets `{python} f"{1 - line_tune:.1%}"` of the tuning images wrong.
# Take `{python} f"{line_tune:.1%}"` as the number to beat.
# First build that one layer yourself: its gradient is half of the network's.

# %% [markdown]
# ## 2. One layer and its gradient
#
# Ten neurons side by side compute the scores $S = XW + b$, with one row per image.
# A [softmax](../math-foundations/probability.py#from-scores-to-probabilities) turns a row $s$ of $S$ into probabilities $p_k = e^{s_k} / \sum_l e^{s_l}$,
# and the loss is the mean of $-\log p_y$, with $y$ the true class: the *cross-entropy*.

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def cross_entropy(S: np.ndarray, y: np.ndarray) -> float:
    """Mean over the rows of -log softmax(S)[y]; scores S (n, K), classes y (n,)."""
    shifted = S - S.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(y)), y]).mean())


W, b = np.zeros((64, 10)), np.zeros(10)
S = X_learn @ W + b
assert S.shape == (800, 10) and np.allclose(softmax(S).sum(axis=1), 1)
print(f"loss before learning: {cross_entropy(S, y_learn):.3f}")
print(f"log 10:               {np.log(10):.3f}")

# %% [markdown]
# **What the code shows:** equal scores give each class the probability 1/10, and the loss $\log K$.
# Any classifier should start near it. It is the first thing to check in every training run.
#
# Now the gradient. One image with scores $s$ has the loss $-\log p_y = \log \sum_k e^{s_k} - s_y$, so
#
# $$
# \frac{\partial (-\log p_y)}{\partial s_k}
# = \frac{e^{s_k}}{\sum_l e^{s_l}} - [k = y] = p_k - [k = y],
# $$
#
# where $[k = y]$ is 1 if $k = y$ and 0 otherwise. $L$ is the mean over $n$ images, which brings a factor $1/n$.
# Stack the rows, with $Y$ for the one-hot classes ($Y_{ik} = [k = y_i]$):
#
# $$
# \frac{\partial L}{\partial S} = \frac{1}{n} (P - Y).
# $$
#
# **What this means:** what you said minus what was true. The scores of wrong classes are pushed down in
# proportion to the probability they got, and that of the true class is pushed up.
#
# One step further back. Entry by entry, $S_{ik} = \sum_j X_{ij} W_{jk} + b_k$.
# The weight $W_{jk}$ acts on the score $S_{ik}$ of *every* image $i$, each time with the slope $X_{ij}$, and the
# [chain rule](../math-foundations/calculus.py#many-outputs-the-jacobian-and-the-chain-rule) adds up all ways:
#
# $$
# \begin{aligned}
# \frac{\partial L}{\partial W_{jk}} &= \sum_{i=1}^{n} X_{ij} \frac{\partial L}{\partial S_{ik}},
# \quad \text{so} \quad
# \frac{\partial L}{\partial W} = X^\top \frac{\partial L}{\partial S}, \\
# \frac{\partial L}{\partial b_k} &= \sum_{i=1}^{n} \frac{\partial L}{\partial S_{ik}}.
# \end{aligned}
# $$
#
# In code, `dA` is always $\partial L / \partial A$, of the shape of `A`.

# %%
def d_cross_entropy(S: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dS = (softmax(S) - onehot(y)) / n, shape (n, K)."""
    dS = softmax(S)
    dS[np.arange(len(y)), y] -= 1
    return dS / len(y)


def one_layer_gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """dW (d, K) and db (K,) of the loss of scores X @ W + b."""
    dS = d_cross_entropy(X @ params["W"] + params["b"], y)
    return {"W": X.T @ dS, "b": dS.sum(axis=0)}


# %% [markdown]
# Never believe a derivation that has not been measured. A central difference moves one entry a little up and a
# little down, and compares the slope of the loss with the formula.

# %%
def numeric_gradient(
    loss_of: Callable[[np.ndarray], float], A: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Central differences of `loss_of` at A, one entry at a time; the shape of A."""
    dA = np.zeros_like(A)
    for index in np.ndindex(A.shape):
        up, down = A.copy(), A.copy()
        up[index] += step
        down[index] -= step
        dA[index] = (loss_of(up) - loss_of(down)) / (2 * step)
    return dA


rng = np.random.default_rng(1)
n, d, K = 6, 4, 3  # small and all different, so that a transposition cannot hide
X, y = rng.normal(size=(n, d)), rng.integers(K, size=n)
small = {"W": rng.normal(size=(d, K)), "b": rng.normal(size=K)}
exact = one_layer_gradients(small, X, y)
measured = {
    "W": numeric_gradient(lambda W: cross_entropy(X @ W + small["b"], y), small["W"]),
    "b": numeric_gradient(lambda b: cross_entropy(X @ small["W"] + b, y), small["b"]),
}
for name in exact:
    gap = np.abs(exact[name] - measured[name]).max()
    print(f"d{name} {exact[name].shape}: agrees to 1e-8: {gap < 1e-8}")
    assert gap < 1e-8

# %% [markdown]
# The gradient stands. Walk down it from zero, with all 800 images in every step.
# **Predict:** how close do 1,000 plain steps come to the library's line?

# %%
line = {"W": np.zeros((64, 10)), "b": np.zeros(10)}
for step in range(1001):
    if step in (0, 10, 100, 1000):
        S = X_tune @ line["W"] + line["b"]
        own_line_tune = (S.argmax(axis=1) == y_tune).mean()
        loss = cross_entropy(X_learn @ line["W"] + line["b"], y_learn)
        print(f"step {step:4d}: loss {loss:.3f}, tuning images {own_line_tune:.1%}")
    grads = one_layer_gradients(line, X_learn, y_learn)
    line = {name: line[name] - 1.0 * grads[name] for name in line}
assert abs(own_line_tune - line_tune) < 0.02

# %% [markdown]
# **What the code shows:** `{python} f"{own_line_tune:.1%}"`, next to `{python} f"{line_tune:.1%}"` for the library's line; half a percent is one image.
# Different optimizers lead to nearly the same line, so change the model.

# %% tags=["test"]
def random_classes(rng: np.random.Generator, n: int, K: int) -> np.ndarray:
    """n classes below K, each at least once if n allows it."""
    return rng.permutation(np.concatenate([np.arange(K), rng.integers(K, size=n)])[:n])


def test_cross_entropy_matches_torch():
    rng = np.random.default_rng(0)
    for _ in range(25):
        n, K = rng.integers(1, 9, size=2)
        S = rng.normal(size=(n, K)) * 10 ** rng.uniform(-2, 3)
        y = rng.integers(K, size=n)
        leaf = torch.tensor(S, requires_grad=True)
        expected = F.cross_entropy(leaf, torch.tensor(y))
        expected.backward()
        np.testing.assert_allclose(cross_entropy(S, y), expected.item(), rtol=1e-12)
        np.testing.assert_allclose(d_cross_entropy(S, y), leaf.grad, atol=1e-14)
        assert d_cross_entropy(S, y).shape == S.shape
        probabilities = torch.softmax(torch.tensor(S), dim=-1)
        np.testing.assert_allclose(softmax(S), probabilities, rtol=1e-12, atol=1e-15)
    assert cross_entropy(np.array([[1e4, 0.0], [0.0, 0.0]]), np.array([1, 0])) > 4999


def test_one_layer_gradients_match_torch():
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, d, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:3])
        X, y = rng.normal(size=(n, d)), rng.integers(K, size=n)
        params = {"W": rng.normal(size=(d, K)), "b": rng.normal(size=K)}
        leaves = {k: torch.tensor(a, requires_grad=True) for k, a in params.items()}
        S = torch.tensor(X) @ leaves["W"] + leaves["b"]
        F.cross_entropy(S, torch.tensor(y)).backward()
        for name, grad in one_layer_gradients(params, X, y).items():
            np.testing.assert_allclose(grad, leaves[name].grad, atol=1e-13)


def test_numeric_gradient():
    A = np.random.default_rng(2).normal(size=(3, 4))
    before = A.copy()
    slopes = numeric_gradient(lambda B: float((B**3).sum()), A)
    np.testing.assert_allclose(slopes, 3 * A**2, atol=1e-9)
    np.testing.assert_array_equal(A, before)  # the argument is left alone


# %% [markdown]
# ## 3. Two layers, forward
#
# Put a hidden layer of $m$ ReLU units in front of the ten neurons:
#
# $$
# \begin{aligned}
# Z &= X W^{(1)} + b^{(1)}, \quad H = \max(Z, 0), \\
# S &= H W^{(2)} + b^{(2)}, \quad P = \text{softmax}(S).
# \end{aligned}
# $$
#
# | array | code | shape | by hand | digits, a batch of 32 |
# |---|---|---|---|---|
# | inputs | `X` | $(n, d)$ | (1, 2) | (32, 64) |
# | weights and biases, layer 1 | `W1`, `b1` | $(d, m)$, $(m)$ | (2, 3), (3) | (64, 48), (48) |
# | before and after the bend | `Z`, `H` | $(n, m)$ | (1, 3) | (32, 48) |
# | weights and biases, layer 2 | `W2`, `b2` | $(m, K)$, $(K)$ | (3, 2), (2) | (48, 10), (10) |
# | scores, probabilities | `S`, `P` | $(n, K)$ | (1, 2) | (32, 10) |
#
# By hand, for one input $x = (1, 2)$ of the class $y = 1$ (the second of two) and
#
# $$
# \begin{aligned}
# W^{(1)} &= \begin{bmatrix} 1 & -1 & 2 \\ 1 & 1 & -2 \end{bmatrix}, \quad
# b^{(1)} = (-1, 0, 0), \\
# W^{(2)} &= \begin{bmatrix} 1 & 0 \\ -1 & 1 \\ 5 & 2 \end{bmatrix}, \quad
# b^{(2)} = (0, -1).
# \end{aligned}
# $$
#
# Layer 1 gives $z = (3, 1, -2) + (-1, 0, 0) = (2, 1, -2)$, the bend $h = (2, 1, 0)$, and layer 2
# $s = (2 - 1, 1) + (0, -1) = (1, 0)$.
# So $p = (e, 1) / (e + 1) = (0.731, 0.269)$, and the loss is $-\log 0.269 = 1.313$: the network leans to the wrong class.

# %%
def forward(
    params: dict[str, np.ndarray], X: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (n, d) to Z (n, m), H (n, m) and the scores S (n, K)."""
    Z = X @ params["W1"] + params["b1"]
    H = np.maximum(Z, 0)
    S = H @ params["W2"] + params["b2"]
    return Z, H, S


hand = {
    "W1": np.array([[1.0, -1.0, 2.0], [1.0, 1.0, -2.0]]), "b1": np.array([-1.0, 0, 0]),
    "W2": np.array([[1.0, 0.0], [-1.0, 1.0], [5.0, 2.0]]), "b2": np.array([0.0, -1.0]),
}
x_hand, y_hand = np.array([[1.0, 2.0]]), np.array([1])
Z, H, S = forward(hand, x_hand)
assert np.array_equal(Z, [[2, 1, -2]]) and np.array_equal(H, [[2, 1, 0]])
assert np.array_equal(S, [[1, 0]])
assert np.array_equal(softmax(S).round(3), [[0.731, 0.269]])
assert round(cross_entropy(S, y_hand), 3) == 1.313
print("H", H, " S", S, " P", softmax(S).round(3))

# %% [markdown]
# Now the real size: 64 inputs, 48 hidden units, 10 classes.
# The weights start random, since equal units would stay equal, and with He's variance of 2 over the number of
# inputs [@he2015delving], so that signals keep their size.
# **Predict** the loss before any learning.

# %%
def he_start(
    d: int, m: int, K: int, rng: np.random.Generator, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """Normal weights with He's standard deviation times `scale`; biases zero."""
    return {
        "W1": scale * rng.normal(0, np.sqrt(2 / d), (d, m)), "b1": np.zeros(m),
        "W2": scale * rng.normal(0, np.sqrt(2 / m), (m, K)), "b2": np.zeros(K),
    }


def loss_of(params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray) -> float:
    """Mean cross-entropy of the network on X (n, d), y (n,)."""
    return cross_entropy(forward(params, X)[-1], y)


start = he_start(64, 48, 10, np.random.default_rng(0))
Z, H, S = forward(start, X_learn)
assert Z.shape == H.shape == (800, 48) and S.shape == (800, 10)
print({name: A.shape for name, A in start.items()})
print(f"{sum(A.size for A in start.values())} parameters, "
      f"first loss {loss_of(start, X_learn, y_learn):.2f}, log 10 = {np.log(10):.2f}")

# %% [markdown]
# **What the code shows:** near $\log 10$ and a little above it.
# A random network has opinions already, and they are no better than a guess.

# %% [markdown]
# ### Exercise 1 (check): count before you run
#
# Give the number of parameters of a two-layer network, and the multiplications and additions of its two matrix
# products for $n$ inputs (two operations for each weight and input).
# One of the networks that LeCun and others compared on larger digits has 28 × 28 inputs, 300 hidden units and 10 classes
# [@lecun1998gradient]. How large is it, next to yours?

# %%
def network_size(n: int, d: int, m: int, K: int) -> tuple[int, int]:
    """Parameters; operations of both matrix products for n inputs."""
    ### BEGIN SOLUTION
    return m * (d + 1) + K * (m + 1), 2 * n * (d * m + m * K)
    ### END SOLUTION


# %% tags=["test"]
def test_network_size():
    sizes = he_start(5, 3, 2, np.random.default_rng(0))
    total = sum(A.size for A in sizes.values())
    assert network_size(7, 5, 3, 2) == (total, 2 * 7 * (15 + 6))
    assert network_size(1, 64, 48, 10) == (3_610, 7_104)
    assert network_size(1, 784, 300, 10) == (238_510, 476_400)  # 66 times as large


# %% [markdown] tags=["solution"]
# A matrix has a row for each input, and the biases are one row more: $(d + 1)m + (m + 1)K$ parameters.
# The larger network has `{python} f"{785 * 300 + 301 * 10:,}"` of them, `{python} f"{(785 * 300 + 301 * 10) / (65 * 48 + 49 * 10):.0f}"` times as many as yours; nearly all stand in its first layer.


# %% tags=["test"]
def random_problem(
    rng: np.random.Generator, n: int, d: int, m: int, K: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Parameters with random biases, X (n, d) and y (n,)."""
    params = he_start(d, m, K, rng)
    params["b1"], params["b2"] = rng.normal(size=m), rng.normal(size=K)
    return params, rng.normal(size=(n, d)), random_classes(rng, n, K)


def test_forward_matches_torch():
    rng = np.random.default_rng(3)
    for trial in range(25):
        n, d, m, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:4])
        params, X, _ = random_problem(rng, 0 if trial == 0 else n, d, m, K)
        layers = [torch.nn.Linear(d, m, dtype=torch.float64), torch.nn.ReLU(),
                  torch.nn.Linear(m, K, dtype=torch.float64)]
        with torch.no_grad():
            for layer, i in ((layers[0], 1), (layers[2], 2)):
                layer.weight.copy_(torch.tensor(params[f"W{i}"].T))  # PyTorch: (out, in)
                layer.bias.copy_(torch.tensor(params[f"b{i}"]))
            expected = torch.nn.Sequential(*layers)(torch.tensor(X)).numpy()
        Z, H, S = forward(params, X)
        np.testing.assert_allclose(S, expected, atol=1e-13)
        assert Z.shape == H.shape == (len(X), m) and ((H == Z) | (H == 0)).all()


def test_he_start():
    rng = np.random.default_rng(4)
    params = he_start(200, 300, 100, rng)
    assert [A.shape for A in params.values()] == [(200, 300), (300,), (300, 100), (100,)]
    assert abs(params["W1"].var() * 200 / 2 - 1) < 0.05
    assert abs(params["W2"].var() * 300 / 2 - 1) < 0.05
    assert not params["b1"].any() and not params["b2"].any()
    one, ten = (he_start(3, 4, 5, np.random.default_rng(0), s) for s in (1, 10))
    np.testing.assert_allclose(ten["W1"], 10 * one["W1"])
    np.testing.assert_allclose(ten["W2"], 10 * one["W2"])


# %% [markdown]
# ## 4. Backward, one gradient at a time
#
# You need the gradients of four arrays. Go from the loss back to the inputs, and check each step before the next.
# The tool is always the same: list the ways in which an entry acts on what comes after it, and add up.
# First a small network with random numbers and unequal sizes. The loss is treated as a function of one array, and all that comes after it.

# %%
rng = np.random.default_rng(3)
n, d, m, K = 6, 4, 5, 3
net = he_start(d, m, K, rng)
net["b1"], net["b2"] = rng.normal(size=m), rng.normal(size=K)
X, y = rng.normal(size=(n, d)), rng.integers(K, size=n)
Z, H, S = forward(net, X)
assert np.abs(Z).min() > 1e-3  # no unit sits on its kink, where a slope is not defined


def report(name: str, dA: np.ndarray, numeric: np.ndarray) -> None:
    """Say whether a gradient equals its central differences."""
    gap = np.abs(dA - numeric).max()
    print(f"{name:3} {dA.shape}: agrees to 1e-8: {gap < 1e-8}")
    assert dA.shape == numeric.shape and gap < 1e-8


# %% [markdown]
# **Step 1, the scores.** You have it: $\partial L / \partial S = (P - Y) / n$.
#
# **Step 2, the second layer.** To $W^{(2)}$ the hidden layer is what $X$ was to the single layer, so the formulas of
# Section 2 hold with $H$ in the place of $X$:
#
# $$
# \frac{\partial L}{\partial W^{(2)}} = H^\top \frac{\partial L}{\partial S}, \qquad
# \frac{\partial L}{\partial b^{(2)}_k} = \sum_{i=1}^{n} \frac{\partial L}{\partial S_{ik}}.
# $$

# %%
dS = d_cross_entropy(S, y)
dW2, db2 = H.T @ dS, dS.sum(axis=0)
report("dS", dS, numeric_gradient(lambda S: cross_entropy(S, y), S))
report("dW2", dW2, numeric_gradient(
    lambda W2: cross_entropy(H @ W2 + net["b2"], y), net["W2"]))
report("db2", db2, numeric_gradient(
    lambda b2: cross_entropy(H @ net["W2"] + b2, y), net["b2"]))

# %% [markdown]
# **Step 3, the hidden layer.** Nobody tells a hidden unit what it should have said. But $H_{ij}$ acts on all $K$
# scores of image $i$, on $S_{ik}$ with the slope $W^{(2)}_{jk}$. Add up the ways:
#
# $$
# \frac{\partial L}{\partial H_{ij}} = \sum_{k=1}^{K} \frac{\partial L}{\partial S_{ik}} W^{(2)}_{jk},
# \quad \text{so} \quad
# \frac{\partial L}{\partial H} = \frac{\partial L}{\partial S} \left(W^{(2)}\right)^\top .
# $$
#
# **What this means:** the error goes back through the same weights through which the signal came.
# A unit's share of the blame is its weight to each class times what went wrong there.
#
# **Predict:** `dS` is 6 × 3 and `W2` is 5 × 3. Which of `dS @ W2` and `dS @ W2.T` can be right?

# %%
dH = dS @ net["W2"].T
report("dH", dH, numeric_gradient(
    lambda H: cross_entropy(H @ net["W2"] + net["b2"], y), H))

# %% [markdown]
# **Step 4, the bend.** $H_{ij} = \max(Z_{ij}, 0)$ depends on one entry of $Z$ only, with slope 1 where $Z_{ij} \gt 0$
# and 0 where $Z_{ij} \lt 0$ (at the kink itself you may take either; here it is 0).
# With $\odot$ for the product entry by entry and $[Z \gt 0]$ for 1 where $Z$ is positive and 0 elsewhere:
#
# $$
# \frac{\partial L}{\partial Z} = \frac{\partial L}{\partial H} \odot [Z \gt 0].
# $$
#
# **What this means:** a gate. A unit that was silent for an image learns nothing from it.
#
# **Step 5, the first layer.** $Z = X W^{(1)} + b^{(1)}$ is a linear layer again, the third time the same formula:
#
# $$
# \frac{\partial L}{\partial W^{(1)}} = X^\top \frac{\partial L}{\partial Z}, \qquad
# \frac{\partial L}{\partial b^{(1)}_j} = \sum_{i=1}^{n} \frac{\partial L}{\partial Z_{ij}}.
# $$

# %%
def loss_from_Z(Z: np.ndarray) -> float:
    """The small network's loss as a function of Z (n, m)."""
    return cross_entropy(np.maximum(Z, 0) @ net["W2"] + net["b2"], y)


dZ = dH * (Z > 0)
dW1, db1 = X.T @ dZ, dZ.sum(axis=0)
report("dZ", dZ, numeric_gradient(loss_from_Z, Z))
report("dW1", dW1, numeric_gradient(
    lambda W1: loss_from_Z(X @ W1 + net["b1"]), net["W1"]))
report("db1", db1, numeric_gradient(
    lambda b1: loss_from_Z(X @ net["W1"] + b1), net["b1"]))

# %% [markdown]
# All agree. Collect the steps in one function.
# On the hand example, $\partial L / \partial s = p - (0, 1) = (0.731, -0.731)$, and everything else is a multiple of 0.731:
#
# $$
# \begin{aligned}
# \frac{\partial L}{\partial W^{(2)}} &= 0.731 \begin{bmatrix} 2 & -2 \\ 1 & -1 \\ 0 & 0 \end{bmatrix}, \\
# \frac{\partial L}{\partial h} &= 0.731\,(1, -2, 3), \quad
# \frac{\partial L}{\partial z} = 0.731\,(1, -2, 0), \\
# \frac{\partial L}{\partial W^{(1)}} &= 0.731 \begin{bmatrix} 1 & -2 & 0 \\ 2 & -4 & 0 \end{bmatrix}
# \end{aligned}
# $$
#
# Unit 3 would have mattered most ($5 - 2 = 3$), but it was silent, and the gate closes.

# %%
def gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """dL/dA for each parameter A, of the shape of A; X (n, d), y (n,)."""
    Z, H, S = forward(params, X)
    dS = d_cross_entropy(S, y)
    dH = dS @ params["W2"].T
    dZ = dH * (Z > 0)
    return {
        "W1": X.T @ dZ, "b1": dZ.sum(axis=0),
        "W2": H.T @ dS, "b2": dS.sum(axis=0),
    }


by_hand = gradients(hand, x_hand, y_hand)
p_hand = np.e / (np.e + 1)
assert np.allclose(by_hand["W2"], p_hand * np.array([[2, -2], [1, -1], [0, 0]]))
assert np.allclose(by_hand["W1"], p_hand * np.array([[1, -2, 0], [2, -4, 0]]))
assert np.allclose(by_hand["b1"], p_hand * np.array([1, -2, 0]))

leaves = {name: torch.tensor(A, requires_grad=True) for name, A in start.items()}
hidden = torch.relu(torch.tensor(X_learn) @ leaves["W1"] + leaves["b1"])
F.cross_entropy(hidden @ leaves["W2"] + leaves["b2"], torch.tensor(y_learn)).backward()
for name, grad in gradients(start, X_learn, y_learn).items():
    close = np.allclose(grad, leaves[name].grad, rtol=0, atol=1e-14)
    print(f"d{name} {str(grad.shape):8} equals PyTorch's to 1e-14: {close}")
    assert close

# %% [markdown]
# **What the code shows:** PyTorch finds the same gradients for the real network on all 800 images, without being given a formula.
# How it does that for any network is the subject of [backpropagation](../neural-networks/backpropagation.py)
# [@rumelhart1986learning], and in [the next lab](02-backprop-from-scratch.py) you write such an engine.

# %% tags=["test"]
def test_gradients_match_torch():
    rng = np.random.default_rng(5)
    for trial in range(25):
        n, d, m, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:4])
        params, X, y = random_problem(rng, n, d, m, K)
        X = X * 10 ** rng.uniform(-1, 2)
        leaves = {k: torch.tensor(a, requires_grad=True) for k, a in params.items()}
        H = torch.relu(torch.tensor(X) @ leaves["W1"] + leaves["b1"])
        F.cross_entropy(H @ leaves["W2"] + leaves["b2"], torch.tensor(y)).backward()
        ours = gradients(params, X, y)
        assert list(ours) == list(params)
        for name, grad in ours.items():
            np.testing.assert_allclose(grad, leaves[name].grad, rtol=1e-10, atol=1e-12)


def test_zero_start_has_no_gradient_in_its_weights():
    params = he_start(5, 4, 3, np.random.default_rng(6), scale=0)
    X, y = np.ones((2, 5)), np.array([0, 1])
    grads = gradients(params, X, y)
    assert not grads["W1"].any() and not grads["b1"].any() and not grads["W2"].any()
    np.testing.assert_allclose(grads["b2"], np.array([-1, -1, 2]) / 6)


# %% [markdown]
# ### Exercise 2 (apply): another bend
#
# Replace ReLU by the hyperbolic tangent, $H = \tanh(Z)$, whose slope is $1 - \tanh(Z)^2$.
# Which lines of `gradients` change?

# %%
def tanh_gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """As `gradients`, for H = tanh(Z)."""
    ### BEGIN SOLUTION
    H = np.tanh(X @ params["W1"] + params["b1"])
    dS = d_cross_entropy(H @ params["W2"] + params["b2"], y)
    dZ = dS @ params["W2"].T * (1 - H**2)
    return {
        "W1": X.T @ dZ, "b1": dZ.sum(axis=0),
        "W2": H.T @ dS, "b2": dS.sum(axis=0),
    }
    ### END SOLUTION


# %% tags=["test"]
def test_tanh_gradients():
    rng = np.random.default_rng(7)
    for _ in range(20):
        n, d, m, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:4])
        params, X, y = random_problem(rng, n, d, m, K)
        leaves = {k: torch.tensor(a, requires_grad=True) for k, a in params.items()}
        H = torch.tanh(torch.tensor(X) @ leaves["W1"] + leaves["b1"])
        F.cross_entropy(H @ leaves["W2"] + leaves["b2"], torch.tensor(y)).backward()
        for name, grad in tanh_gradients(params, X, y).items():
            np.testing.assert_allclose(grad, leaves[name].grad, rtol=1e-10, atol=1e-12)


# %% [markdown] tags=["solution"]
# Two: the first, since `forward` computes a ReLU, and the gate, where `Z > 0` becomes the slope `1 - H**2`.
# Everything after the bend and before it stays as it is.


# %% [markdown]
# ## 5. Training: minibatches and momentum
#
# All 800 images for one step is wasteful: 32 of them, drawn at random, give the right direction on average, and you take 25 steps for the price of one.
# A pass over all images in random order is an *epoch*. This is *stochastic gradient descent* (SGD) [@robbins1951stochastic].
#
# The direction from 32 images is noisy. *Momentum* [@polyak1964some] keeps a velocity $v$ for each parameter, which starts at zero.
# Each step keeps a share $\mu$ of it, between 0 and 1, so past gradients fade slowly:
#
# $$
# v \leftarrow \mu v - \eta \frac{\partial L}{\partial \theta}, \qquad \theta \leftarrow \theta + v .
# $$
#
# **What this means:** noise that changes its sign cancels, a direction that stays adds up: for a constant gradient the
# steps grow to $\eta (1 + \mu + \mu^2 + \dots) = \eta / (1 - \mu)$ times the gradient, ten times $\eta$ for $\mu = 0.9$.

# %%
def momentum_step(
    params: dict[str, np.ndarray], velocity: dict[str, np.ndarray],
    grads: dict[str, np.ndarray], lr: float, momentum: float,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """New parameters and velocities."""
    velocity = {k: momentum * velocity[k] - lr * grads[k] for k in params}
    return {k: params[k] + velocity[k] for k in params}, velocity


def minibatches(order: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """The indices `order` (n,) in slices of `batch`; the last may be shorter."""
    for first in range(0, len(order), batch):
        yield order[first : first + batch]


def sgd(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray, rng=None,
    epochs: int = 30, lr: float = 0.1, momentum: float = 0.9, batch: int = 32,
    gradients_of: Callable = gradients, step: Callable = momentum_step,
) -> list[dict[str, np.ndarray]]:
    """Parameters at the start and after each epoch; without rng, no shuffling."""
    velocity = {k: np.zeros_like(A) for k, A in params.items()}
    history, order = [params], np.arange(len(y))
    for _ in range(epochs):
        if rng is not None:
            order = rng.permutation(order)
        for rows in minibatches(order, batch):
            grads = gradients_of(params, X[rows], y[rows])
            params, velocity = step(params, velocity, grads, lr, momentum)
        history.append(params)
    return history


def accuracy(params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray) -> float:
    """Share of the rows of X whose highest score is at the right class."""
    return float((forward(params, X)[-1].argmax(axis=1) == y).mean())


# %% [markdown]
# Train with $\mu = 0$ and $\mu = 0.9$ at $\eta = 0.1$, and as a control with $\mu = 0$ at ten times the rate, three seeds each.
# **Predict** the order of the three loss curves. Is momentum more than a larger rate?

# %%
#| label: fig-curve
#| fig-cap: Loss on the 800 training images after each epoch, for three settings. Lines are means over three seeds, bands go from the lowest to the highest.
#| fig-alt: Without momentum at rate 0.1 the loss falls slowly. With momentum 0.9 and without it at rate 1 it falls much faster; the two faster curves lie close together.
settings = {"rate 0.1": (0.1, 0.0), "rate 0.1, momentum 0.9": (0.1, 0.9),
            "rate 1, no momentum": (1.0, 0.0)}
curves, tuned = {}, {}
for name, (lr, momentum) in settings.items():
    losses, scores = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        history = sgd(he_start(64, 48, 10, rng), X_learn, y_learn, rng,
                      lr=lr, momentum=momentum)
        losses.append([loss_of(p, X_learn, y_learn) for p in history])
        scores.append(accuracy(history[-1], X_tune, y_tune))
    curves[name], tuned[name] = np.array(losses), np.mean(scores)
    print(f"{name:22}  last loss {curves[name][:, -1].mean():.4f}, "
          f"tuning images {tuned[name]:.1%}")

fig, ax = plt.subplots()
for (name, losses), style in zip(curves.items(), ("--", "-", ":")):
    line, = ax.semilogy(losses.mean(axis=0), style, label=name)
    ax.fill_between(range(31), losses.min(axis=0), losses.max(axis=0),
                    color=line.get_color(), alpha=0.2, linewidth=0)
ax.axhline(np.log(10), color="0.4", linewidth=0.8)
ax.text(30, 2.5, "log 10", ha="right")
ax.set(xlabel="epoch", ylabel="training loss (nats)")
ax.legend(loc="lower left")

# %% [markdown]
# **What the code shows:** in @fig-curve momentum ends at a loss of `{python} f"{curves['rate 0.1, momentum 0.9'][:, -1].mean():.4f}"` where the plain rate of 0.1 has reached `{python} f"{curves['rate 0.1'][:, -1].mean():.2f}"`.
# The control says what momentum is worth: ten times the rate alone gives nearly the same loss, `{python} f"{curves['rate 1, no momentum'][:, -1].mean():.4f}"`, on a rougher way with wider bands.
# So here momentum is mostly a larger step, taken more steadily; the tuning accuracies are `{python} f"{tuned['rate 0.1, momentum 0.9']:.1%}"` and `{python} f"{tuned['rate 1, no momentum']:.1%}"`, and a step of 0.5 % is one image.
# [Optimization](../math-foundations/optimization.py#momentum) shows where momentum earns more: in long, narrow valleys.

# %% tags=["test"]
def test_minibatches_and_order():
    for n, batch in [(10, 3), (4, 4), (3, 8), (1, 1)]:
        parts = list(minibatches(np.arange(n)[::-1], batch))
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(n)[::-1])
        assert all(len(part) == batch for part in parts[:-1])
    assert list(minibatches(np.arange(0), 4)) == []


def test_sgd_keeps_its_history():
    rng = np.random.default_rng(8)
    params, X, y = random_problem(rng, 20, 5, 4, 3)
    before = {k: A.copy() for k, A in params.items()}
    history = sgd(params, X, y, rng, epochs=4, batch=6)
    assert len(history) == 5 and history[0] is params
    assert all(np.array_equal(params[k], before[k]) for k in params)
    assert loss_of(history[-1], X, y) < loss_of(history[0], X, y)
    scores = forward(params, X)[2]
    np.testing.assert_allclose(loss_of(params, X, y), cross_entropy(scores, y))
    plain = sgd(params, X, y)[-1]  # the defaults that the text names
    spelled = sgd(params, X, y, None, 30, 0.1, 0.9, 32)[-1]
    assert all(np.array_equal(plain[k], spelled[k]) for k in plain)
    right = (forward(history[-1], X)[2].argmax(axis=1) == y).mean()
    assert accuracy(history[-1], X, y) == right


# %% [markdown]
# ### Exercise 3 (apply): look ahead
#
# `MLPClassifier` is scikit-learn's own network of this kind, your rival in the next section.
# It uses *Nesterov momentum* unless told otherwise: it takes the same velocity, but moves the parameters by the step
# that would come next if the gradient stayed: by $\mu v - \eta \, \partial L / \partial \theta$ with the *new* $v$.
# Write it, so that `sgd(..., step=nesterov_step)` equals the library's default.

# %%
def nesterov_step(
    params: dict[str, np.ndarray], velocity: dict[str, np.ndarray],
    grads: dict[str, np.ndarray], lr: float, momentum: float,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """New parameters and velocities."""
    ### BEGIN SOLUTION
    velocity = {k: momentum * velocity[k] - lr * grads[k] for k in params}
    ahead = {k: momentum * velocity[k] - lr * grads[k] for k in params}
    return {k: params[k] + ahead[k] for k in params}, velocity
    ### END SOLUTION


# %% tags=["test"]
def check_params(model: MLPClassifier) -> dict[str, np.ndarray]:
    """A copy of the parameters under our names."""
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    return {k: A.copy() for k, A in zip(("W1", "b1", "W2", "b2"), (W1, b1, W2, b2))}


def random_library_run(rng: np.random.Generator, epochs: int, **settings) -> tuple:
    """Start, data and batch size of a random problem, and MLPClassifier trained on it."""
    d, m = (int(size) for size in rng.permutation(np.arange(1, 8))[:2])
    K = int(rng.integers(3, 6))  # for two classes the library has one output, not two
    n = int(rng.integers(2 * K, 30))
    batch = int(rng.integers(1, min(n, 11) + 1))
    _, X, y = random_problem(rng, n, d, m, K)
    settings = {"momentum": 0.0, "alpha": 0.0} | settings
    untrained, model = (
        MLPClassifier((m,), solver="sgd", learning_rate_init=lr, shuffle=False,
                      batch_size=batch, random_state=0, **settings)
        for lr in (1e-300, 0.1))
    untrained.partial_fit(X, y, classes=np.arange(K))  # draws its weights, no more
    for _ in range(epochs):
        model.partial_fit(X, y, classes=np.arange(K))
    return check_params(untrained), X, y, batch, model


def test_sgd_matches_mlpclassifier():
    rng = np.random.default_rng(9)
    for trial in range(24):
        momentum = (0.0, 0.5, 0.9)[trial % 3]
        first, X, y, batch, model = random_library_run(
            rng, 5, momentum=momentum, nesterovs_momentum=False)
        ours = sgd(first, X, y, None, 5, 0.1, momentum, batch)[-1]
        for name, expected in check_params(model).items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-11)
        P = softmax(forward(ours, X)[2])
        np.testing.assert_allclose(P, model.predict_proba(X), atol=1e-11)


# %% tags=["test"]
def test_nesterov_step():
    rng = np.random.default_rng(10)
    for _ in range(20):
        first, X, y, batch, model = random_library_run(rng, 4, momentum=0.9)
        ours = sgd(first, X, y, None, 4, 0.1, 0.9, batch, step=nesterov_step)[-1]
        for name, expected in check_params(model).items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-11)


# %% [markdown]
# ## 6. The exam: side by side with the library
#
# Now scikit-learn's `MLPClassifier` [@pedregosa2011scikit], told to be your network: the same 48 units, rate, momentum, batch and
# number of epochs, no early stop, and without the penalty on large weights that it adds by default (`alpha=0`; Exercise 4).
# One thing still differs. It draws its weights from a uniform distribution with Glorot and Bengio's variance, 2 over the sum of inputs and outputs
# [@glorot2010understanding], and its biases from the same distribution.
#
# **Question.** On the 797 exam images that no choice has used, does the NumPy network reach the library's accuracy?
#
# **Prediction.** The means of ten seeds differ by less than the seeds do, and both beat the line.
# Two controls: the NumPy network with the library's *kind* of start (if only the start made a difference, this would show it),
# and one layer trained by the same `sgd` (if the hidden layer did nothing, it would be as good).

# %%
def library_start(d: int, m: int, K: int, rng: np.random.RandomState) -> dict:
    """Weights and biases as MLPClassifier draws them for ReLU, in its order."""
    params = {}
    for i, (d_in, d_out) in enumerate([(d, m), (m, K)], start=1):
        bound = np.sqrt(6 / (d_in + d_out))
        params[f"W{i}"] = rng.uniform(-bound, bound, (d_in, d_out))
        params[f"b{i}"] = rng.uniform(-bound, bound, d_out)
    return params


SEEDS = range(10)
X_exam, y_exam = pixels[exam], digits.target[exam]
SAME = dict(solver="sgd", learning_rate_init=0.1, momentum=0.9,
            nesterovs_momentum=False, batch_size=32, alpha=0,
            max_iter=30, n_iter_no_change=99)
warnings.simplefilter("ignore", ConvergenceWarning)  # 30 epochs, on purpose
library = [MLPClassifier((48,), random_state=seed, **SAME).fit(X_learn, y_learn)
           for seed in SEEDS]
ours, other_start, flat = [], [], []
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    ours.append(sgd(he_start(64, 48, 10, rng), X_learn, y_learn, rng)[-1])
    rng = np.random.RandomState(1000 + seed)  # not the library's own seeds, yet
    other_start.append(sgd(library_start(64, 48, 10, rng), X_learn, y_learn, rng)[-1])
    zero = {"W": np.zeros((64, 10)), "b": np.zeros(10)}
    flat.append(sgd(zero, X_learn, y_learn, rng, gradients_of=one_layer_gradients)[-1])

results = {
    "one layer, NumPy": [((X_exam @ p["W"] + p["b"]).argmax(axis=1) == y_exam).mean()
                         for p in flat],
    "two layers, NumPy": [accuracy(p, X_exam, y_exam) for p in ours],
    "two layers, NumPy, library's kind of start":
        [accuracy(p, X_exam, y_exam) for p in other_start],
    "two layers, MLPClassifier": [model.score(X_exam, y_exam) for model in library],
}
results = {name: np.array(values) for name, values in results.items()}
line_exam = best_line.score(X_exam, y_exam)
print(f"{'exam accuracy, ten seeds':42}  mean   worst  best")
for name, values in results.items():
    print(f"{name:42}  {values.mean():.3f}  {values.min():.3f}  {values.max():.3f}")
print(f"{'one layer, best of the library':42}  {line_exam:.3f}")

# %%
#| label: fig-exam
#| fig-cap: Exam accuracy, one dot for each seed, with the mean as a bar. Dashed, the library's best line.
#| fig-alt: Three groups of dots for two-layer networks overlap around 0.973, all above the dashed line at about 0.964; the one-layer group lies on it and below.
fig, ax = plt.subplots(figsize=(6.4, 2.9))
jitter = np.linspace(-0.2, 0.2, len(SEEDS))
for i, values in enumerate(results.values()):
    ax.plot(i + jitter, values, "o", color="C1" if i == 0 else "C0", alpha=0.7)
    ax.plot([i - 0.3, i + 0.3], [values.mean()] * 2, color="black")
ax.axhline(line_exam, color="0.4", linestyle="--", linewidth=1)
ax.set_xticks(range(4), ["one layer\nNumPy", "two layers\nNumPy",
                         "two layers, NumPy\nlibrary's kind of start",
                         "two layers\nMLPClassifier"])
ax.set(ylabel="exam accuracy")
numpy_runs, library_runs = results["two layers, NumPy"], results["two layers, MLPClassifier"]
difference = numpy_runs.mean() - library_runs.mean()
error_of_it = np.sqrt((numpy_runs.var(ddof=1) + library_runs.var(ddof=1)) / len(SEEDS))
assert abs(difference) < 0.006
assert min(v.mean() for v in list(results.values())[1:]) > max(line_exam, results[
    "one layer, NumPy"].mean())

# %% [markdown]
# **What the code shows:** the NumPy network reaches `{python} f"{numpy_runs.mean():.3f}"` and the library `{python} f"{library_runs.mean():.3f}"` (@fig-exam).
# Their difference, `{python} f"{difference:+.4f}"`, has a standard error of `{python} f"{error_of_it:.4f}"` over these seeds: on this split the prediction holds.
# With the library's kind of start the mean is `{python} f"{list(results.values())[2].mean():.3f}"`: if the start matters, ten seeds cannot show it.
# On this split the hidden layer helps: one layer trained in the same way stays at `{python} f"{results['one layer, NumPy'].mean():.3f}"`, and even the best line of the library at `{python} f"{line_exam:.3f}"`.
# In images, the step from line to network is about `{python} f"{(numpy_runs.mean() - line_exam) * 797:.0f}"` of 797. The seeds vary the network and not the split; on another split so small a gain can vanish.

# %% [markdown]
# ## 7. The same seed, the same weights
#
# "Equal on average" is weak evidence: Section 6 would look alike if your gradients were slightly wrong.
# The sharp test gives both the same start and the same batches. Then every weight must agree after every step.
#
# Where does the library get its random numbers? From `RandomState(seed)`: first the weights and biases, layer by layer, then
# one shuffle of the images for each epoch. `library_start` and `sgd` draw in the same order, so the seed is all you need to copy.
# **Predict:** after 30 epochs, how many digits of the weights agree?

# %%
CHECKED = (1, 2, 4, 8, 15, 30)  # epochs after which we compare


def library_history(seed: int, batch: int) -> list[dict]:
    """MLPClassifier's parameters after each of the epochs in CHECKED."""
    history = []
    for epochs in CHECKED:
        settings = SAME | {"batch_size": batch, "max_iter": epochs}
        model = MLPClassifier((48,), random_state=seed, **settings)
        model.fit(X_learn, y_learn)
        history.append({"W1": model.coefs_[0], "b1": model.intercepts_[0],
                        "W2": model.coefs_[1], "b2": model.intercepts_[1]})
    return history


def numpy_history(seed: int, **settings) -> list[dict]:
    """Ours after the same epochs, from the library's own random numbers."""
    rng = np.random.RandomState(seed)
    history = sgd(library_start(64, 48, 10, rng), X_learn, y_learn, rng, **settings)
    return [history[epoch] for epoch in CHECKED]


def distance(one: dict, other: dict) -> float:
    """The largest difference between two sets of parameters."""
    return max(np.abs(one[k] - other[k]).max() for k in one)


def careless_gradients(params: dict, X: np.ndarray, y: np.ndarray) -> dict:
    """`gradients` with one slip: a closed gate lets half of the gradient through."""
    Z, H, S = forward(params, X)
    dS = d_cross_entropy(S, y)
    dZ = dS @ params["W2"].T * np.where(Z > 0, 1.0, 0.5)
    return {"W1": X.T @ dZ, "b1": dZ.sum(axis=0), "W2": H.T @ dS, "b2": dS.sum(axis=0)}


gaps = {"right, batches of 32": [], "right, batches of 50": [], "wrong gate": []}
careless_exam = []
for seed in range(5):
    theirs = {batch: library_history(seed, batch) for batch in (32, 50)}
    careless = numpy_history(seed, gradients_of=careless_gradients)
    careless_exam.append(accuracy(careless[-1], X_exam, y_exam))
    for name, mine, batch in [
        ("right, batches of 32", numpy_history(seed), 32),
        ("right, batches of 50", numpy_history(seed, batch=50), 50),
        ("wrong gate", careless, 32),
    ]:
        gaps[name].append([distance(a, b) for a, b in zip(mine, theirs[batch])])
gaps = {name: np.array(values) for name, values in gaps.items()}
for name in list(gaps)[:2]:
    print(f"{name}: every weight within 1e-10 after every epoch: "
          f"{gaps[name].max() < 1e-10}")
    assert gaps[name].max() < 1e-10
print(f"wrong gate: weights differ by up to {gaps['wrong gate'][:, -1].max():.1f}, "
      f"exam {np.mean(careless_exam):.3f}")

# %%
#| label: fig-same
#| fig-cap: Largest difference between any NumPy weight and the same weight of MLPClassifier, started from the same seed. Five seeds each, on a logarithmic scale; differences of exactly zero are drawn at the lower edge.
#| fig-alt: With right gradients the difference is zero or about 1e-14 for all thirty epochs. With one wrong line it is near 0.1 after the first epoch and grows to about one.
fig, ax = plt.subplots()
for (name, values), style, color in zip(gaps.items(), ("o", "-", "--"), ("C2", "C0", "C1")):
    for i, row in enumerate(np.maximum(values, 1e-17)):
        ax.loglog(CHECKED, row, style, color=color, markersize=4,
                    linewidth=1.2, label=name if i == 0 else None)
ax.set_xticks(CHECKED, CHECKED)
ax.minorticks_off()
ax.set(xlabel="epoch", ylabel="largest difference", ylim=(5e-18, 50))
ax.legend(loc="center right")

# %% [markdown]
# **What the code shows:** all digits that matter.
# With batches of 50 the weights drift apart by rounding alone: you divide by the batch size before the matrix products, the library after them (@fig-same).
# With batches of 32 there is not even that, on the machine that built this page. Dividing by a power of two changes no digit, so both round in the same places.
# One wrong line, a gate that lets half of a closed gradient through, moves weights by `{python} f"{gaps['wrong gate'][:, 0].max():.1f}"` in the first epoch.
# And look at its exam: `{python} f"{np.mean(careless_exam):.3f}"`, as good as the right network.
# **An accuracy cannot tell you that your gradients are right.** This network learns with a wrong gradient; comparing the numbers finds the slip.

# %% [markdown]
# ### Exercise 4 (apply): the library's default penalty
#
# By default `MLPClassifier` adds to the loss of a batch of $n$ images the penalty $\frac{\alpha}{2n} \sum W_{jk}^2$, summed over the weights of both
# layers and not over biases, with $\alpha = 10^{-4}$ (it keeps weights small; [regularization](../neural-networks/regularization.py#three-ways-to-hold-back) says why).
# Add its gradient.

# %%
def decayed_gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray, alpha: float
) -> dict[str, np.ndarray]:
    """`gradients` of the loss plus alpha / (2 n) times the sum of squared weights."""
    ### BEGIN SOLUTION
    grads = gradients(params, X, y)
    for name in ("W1", "W2"):
        grads[name] = grads[name] + alpha / len(y) * params[name]
    return grads
    ### END SOLUTION


# %% tags=["test"]
def test_decayed_gradients():
    rng = np.random.default_rng(11)
    for alpha in np.linspace(0, 1, 20):
        first, X, y, batch, model = random_library_run(rng, 3, alpha=alpha)
        ours = sgd(first, X, y, None, 3, 0.1, 0.0, batch, gradients_of=(
            lambda params, X, y: decayed_gradients(params, X, y, alpha)))[-1]
        for name, expected in check_params(model).items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-11)


# %% tags=["test"]
def test_library_start():
    X, y = np.random.default_rng(12).normal(size=(30, 5)), np.arange(30) % 3
    for seed in range(5):
        model = MLPClassifier((4,), solver="sgd", learning_rate_init=1e-300,
                              momentum=0, alpha=0, random_state=seed)
        expected = check_params(model.partial_fit(X, y, classes=np.arange(3)))
        ours = library_start(5, 4, 3, np.random.RandomState(seed))
        for name in ours:
            np.testing.assert_array_equal(ours[name], expected[name])


# %% [markdown]
# ## 8. What it has learned
#
# A hidden unit's 64 incoming weights are an image again, and its ten outgoing weights say for which digits it votes.
# Take four units, those with the largest outgoing weights, and the six training images on which each is most active.
# **Predict:** does a unit look like a digit?

# %%
#| label: fig-units
#| fig-cap: Four hidden units, one per row. First column, incoming weights (red positive, blue negative; the strongest carry their sign); then the six training images on which the unit is most active. The title says for which digit the unit votes most, and against which.
#| fig-alt: The weight images are strokes and gaps, not whole digits. The images that excite a unit come from one or a few classes and share ink in the same places.
net = ours[0]
H = forward(net, X_learn)[1]
strongest = np.argsort(-np.linalg.norm(net["W2"], axis=1))[:4]
fig, axes = plt.subplots(4, 7, figsize=(6.4, 4.1))
for row, j in zip(axes, strongest):
    weights = net["W1"][:, j].reshape(8, 8)
    row[0].imshow(weights, cmap="RdBu_r", vmin=-abs(weights).max(), vmax=abs(weights).max())
    for at in np.argwhere(abs(weights) > abs(weights).max() / 2):
        row[0].text(*at[::-1], "+" if weights[tuple(at)] > 0 else "\u2212", color="white",
                    fontsize=7, ha="center", va="center")
    row[0].set_title(f"+{net['W2'][j].argmax()}  \u2212{net['W2'][j].argmin()}")
    for ax, i in zip(row[1:], np.argsort(-H[:, j])):
        ax.imshow(X_learn[i].reshape(8, 8), cmap="gray_r")
        ax.set_title(str(y_learn[i]), fontsize=8)
    for ax in row:
        ax.axis("off")
active = (H > 0).mean()

# %% [markdown]
# **What the code shows:** no unit is a digit.
# The weight images in @fig-units are strokes that should be there (red) next to strokes that should not (blue), and the images that excite a unit mostly share a class or a part of one, like the loop that 6 has in common with 0.
# For a given image `{python} f"{active:.0%}"` of the units are active.
# Four units chosen for their large weights prove nothing about the other 44; look at more of them before you believe a story about any.
#
# One thing you can know without looking. **Predict:** which of the 64 × 48 first-layer weights has training not moved at all?

# %%
blank = (X_learn == 0).all(axis=0)
start = he_start(64, 48, 10, np.random.default_rng(0))
unmoved = (net["W1"] == start["W1"]).all(axis=1)
print("pixels blank in all training images:", np.flatnonzero(blank).tolist())
print("pixels whose weights never moved:   ", np.flatnonzero(unmoved).tolist())
assert np.array_equal(blank, unmoved)

# %% [markdown]
# **What the code shows:** $\partial L / \partial W^{(1)} = X^\top \, \partial L / \partial Z$ is zero in the rows of a pixel that is always blank, so its weights
# keep their initial random values. If an exam image has ink there, the network adds noise.
#
# Now the mistakes. **Predict:** are the images that your ten networks miss those that the library's ten miss?

# %%
#| label: fig-mistakes
#| fig-cap: The twelve exam images missed by most of the ten NumPy networks. Above each, the label and the most frequent wrong answer; below, how many of the ten NumPy and of the ten scikit-learn networks miss it.
#| fig-alt: Twelve digits that are malformed or ambiguous even to a human eye. Most are missed by nearly all networks of both kinds.
said = np.stack([forward(p, X_exam)[-1].argmax(axis=1) for p in ours])  # (10, 797)
theirs_said = np.stack([model.predict(X_exam) for model in library])
missed, theirs_missed = ((s != y_exam).sum(axis=0) for s in (said, theirs_said))
hardest = np.argsort(-missed, kind="stable")[:12]
fig, axes = plt.subplots(2, 6, figsize=(7.0, 3.1))
for ax, i in zip(axes.flat, hardest):
    wrong = said[:, i][said[:, i] != y_exam[i]]
    ax.imshow(X_exam[i].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{y_exam[i]}, read as {np.bincount(wrong).argmax()}", fontsize=8)
    ax.set_xlabel(f"{missed[i]} and {theirs_missed[i]}", fontsize=8)
    ax.set(xticks=[], yticks=[])
agreement = np.corrcoef(missed, theirs_missed)[0, 1]
always = (missed == 10).sum()
both_always = ((missed == 10) & (theirs_missed == 10)).sum()
print(f"images that all ten NumPy networks miss: {always}; "
      f"of these, missed by all ten of the library: {both_always}")
print(f"correlation of the two counts over all exam images: {agreement:.2f}")

# %% [markdown]
# **What the code shows:** mostly the same images.
# `{python} always` images are missed by all ten NumPy networks, and `{python} both_always` of these by all ten of the library; over all exam images the two counts correlate with `{python} f"{agreement:.2f}"`.
# The errors belong to the images and to the kind of model, not to your code: in @fig-mistakes an 8 without its waist is read as 1.
# More seeds will not mend them. More data of that kind might, or a model that knows what a stroke is.

# %% [markdown]
# ### Exercise 5 (check): which digits are confused?
#
# Count the answers: entry $(i, j)$ is the number of images of class $i$ that were called $j$.
# Where do the right answers stand, and what are the sums of the rows?

# %%
def confusions(y: np.ndarray, said: np.ndarray, K: int) -> np.ndarray:
    """Counts (K, K): row, the true class y (n,); column, the answer said (n,)."""
    ### BEGIN SOLUTION
    counts = np.zeros((K, K), dtype=int)
    np.add.at(counts, (y, said), 1)
    return counts
    ### END SOLUTION


# %% tags=["test"]
def test_confusions():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, K = int(rng.integers(0, 40)), int(rng.integers(2, 7))
        y, answers = rng.integers(K, size=(2, n))
        expected = confusion_matrix(y, answers, labels=np.arange(K)) if n else 0
        np.testing.assert_array_equal(confusions(y, answers, K), expected)
    one = np.zeros(4, dtype=int)  # for a single class the library only warns
    np.testing.assert_array_equal(confusions(one, one, 1), [[4]])


# %% [markdown] tags=["solution"]
# The right answers stand on the diagonal, and row $i$ sums to the number of images of class $i$.
# `counts[y, said] += 1` would be wrong: NumPy adds once for each *different* pair of indices, however often it occurs.

# %% [markdown]
# ### Exercise 6 (explore): one pixel to the right
#
# Move every exam image by one pixel. To you nothing has changed. What does the network say, and why?
# Write the shift, then try `accuracy(ours[0], shift_images(X_exam, 1, 0), y_exam)` and the other directions.

# %%
def shift_images(X: np.ndarray, right: int, down: int) -> np.ndarray:
    """Images (n, 64), moved; what leaves the frame is lost, blanks come in."""
    ### BEGIN SOLUTION
    images, moved = X.reshape(-1, 8, 8), np.zeros((len(X), 8, 8))
    to = [slice(max(s, 0), 8 + min(s, 0)) for s in (down, right)]
    of = [slice(max(-s, 0), 8 + min(-s, 0)) for s in (down, right)]
    moved[:, to[0], to[1]] = images[:, of[0], of[1]]
    return moved.reshape(-1, 64)
    ### END SOLUTION


# %% tags=["test"]
def test_shift_images():
    X = np.random.default_rng(14).random((5, 64))
    np.testing.assert_array_equal(shift_images(X, 0, 0), X)
    for right, down in [(1, 0), (-1, 0), (0, 1), (0, -2), (3, -1)]:
        moved = shift_images(X, right, down).reshape(5, 8, 8)
        for i in range(8):
            for j in range(8):
                inside = 0 <= i - down < 8 and 0 <= j - right < 8
                source = X.reshape(5, 8, 8)[:, i - down, j - right] if inside else 0
                np.testing.assert_array_equal(moved[:, i, j], source)


# %% tags=["test", "experiment"]
def test_shifted_exam():
    plain = accuracy(ours[0], X_exam, y_exam)
    for right, down in [(1, 0), (-1, 0), (0, 1), (0, -1)]:
        assert accuracy(ours[0], shift_images(X_exam, right, down), y_exam) < plain / 2


# %% [markdown] tags=["solution"]
# Accuracy falls to less than half in each of the four directions (the test asks for that). A shift of one pixel is large for strokes two pixels wide, and nothing in
# a fully connected network knows that pixel 27 is next to pixel 28: permute the pixels of all images in one fixed way, and training goes as well as before.
# Training on shifted copies helps, and a [convolutional network](../architectures/cnns.py) builds the idea in.

# %% [markdown]
# ## 9. Four knobs
#
# Turn one knob at a time, from $\eta = 0.1$, 48 units, He's scale and batches of 32, and look at the tuning images.
# **Predict** for each: what happens at the left end, and what at the right?
#
# - the learning rate, from 0.001 to 3;
# - the number of hidden units, from 1 to 128;
# - the scale of the initial weights, from 0.001 to 30 times He's;
# - the batch size, from 4 to all 800 images, always for 30 epochs.

# %%
def knob(settings: dict, seeds: range = range(3)) -> tuple[float, float, float]:
    """Mean, lowest and highest tuning accuracy over the seeds."""
    settings = dict(settings)
    m, scale = settings.pop("m", 48), settings.pop("scale", 1.0)
    values = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        params = he_start(64, m, 10, rng, scale)
        values.append(accuracy(sgd(params, X_learn, y_learn, rng, **settings)[-1],
                               X_tune, y_tune))
    return np.mean(values), min(values), max(values)


KNOBS = {"lr": (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3), "m": (1, 2, 4, 8, 16, 32, 64, 128),
         "scale": (0.001, 0.01, 0.1, 1, 3, 10, 30), "batch": (4, 8, 16, 32, 100, 800)}
with np.errstate(over="ignore", invalid="ignore"):
    turned = {name: np.array([knob({name: value}) for value in values])
              for name, values in KNOBS.items()}
    small_batch = knob({"batch": 4, "lr": 0.1 / 8})
    whole_batch = knob({"batch": 800, "epochs": 300})
print(f"batches of 4: {turned['batch'][0][0]:.3f}, at an eighth of the rate "
      f"{small_batch[0]:.3f}")
print(f"batches of 800: {turned['batch'][-1][0]:.3f}, for ten times as many epochs "
      f"{whole_batch[0]:.3f}")

# %%
#| label: fig-knobs
#| fig-cap: Tuning accuracy against four knobs, one turned at a time. Means over three seeds, bands from the lowest to the highest; the vertical line is the setting of the exam.
#| fig-alt: The learning rate has a peak near 0.1 and a cliff to its right. Width rises and flattens from 16 units on. The initial scale is flat from 0.001 to 3 and falls beyond. Batches of 4 fail, and batches of 800 fall behind.
fig, axes = plt.subplots(2, 2, figsize=(7.2, 4.6), sharey=True)
labels = {"lr": "learning rate", "m": "hidden units", "scale": "initial scale, in He's",
          "batch": "batch size"}
for ax, (name, values), default in zip(axes.flat, KNOBS.items(), (0.1, 48, 1, 32)):
    mean, low, high = turned[name].T
    ax.semilogx(values, mean, "o-")
    ax.fill_between(values, low, high, alpha=0.2, linewidth=0)
    ax.axvline(default, color="0.4", linestyle=":")
    ax.set(xlabel=labels[name], ylim=(0, 1.02))
axes[0, 0].set_ylabel("accuracy")
axes[1, 0].set_ylabel("accuracy");

# %% [markdown]
# **What the code shows:** two cliffs and two plateaus (@fig-knobs).
# The *rate*: from 0.01 to 0.3 little changes, and at 1 the network is at chance. The best setting lies close to a cliff.
# *Width* pays most up to 16 units (`{python} f"{turned['m'][4][0]:.3f}"`); 64 reach `{python} f"{turned['m'][6][0]:.3f}"`, a few images more.
# The *initial scale* surprises: even a thousandth of He's works, while thirty times He's does not. With two layers these 30 epochs are enough to grow out of a small start; in a deep stack small factors multiply ([multilayer networks](../neural-networks/multilayer-networks.py#where-to-start-initial-weights)). Exactly zero is another matter, as you will see next.
# *Batches of 4* fail at this rate (`{python} f"{turned['batch'][0][0]:.2f}"`), and reach `{python} f"{small_batch[0]:.3f}"` at an eighth of it: their gradients are noisier, and need a smaller rate.
# *All 800 at once* means one step an epoch, 30 steps in all: `{python} f"{turned['batch'][-1][0]:.3f}"`, and `{python} f"{whole_batch[0]:.3f}"` with ten times as many.
# So the knobs are not independent: turn the rate whenever you turn the batch.

# %% [markdown]
# ## 10. Five ways to fail
#
# The healthy run, and five that differ from it in one thing each. **Predict** the two curves of each:
#
# 1. all weights start at zero;
# 2. a learning rate of 3;
# 3. the sum over the batch instead of the mean (the $1/n$ forgotten);
# 4. pixels from 0 to 16 instead of 0 to 1;
# 5. the training labels shuffled once, without their images.
#
# The last column of the table counts *dead* units: those that are silent on every training image.

# %%
def sum_gradients(params: dict, X: np.ndarray, y: np.ndarray) -> dict:
    """`gradients` with the 1/n forgotten."""
    return {k: len(y) * grad for k, grad in gradients(params, X, y).items()}


def fail(pixel_scale: float = 1.0, labels=y_learn, scale: float = 1.0,
         **settings) -> tuple:
    """Losses on training and tuning images per epoch; share of dead units; scores."""
    rng = np.random.default_rng(0)
    params = he_start(64, 48, 10, rng, scale)
    history = sgd(params, pixel_scale * X_learn, labels, rng, **settings)
    both = [[loss_of(p, pixel_scale * X, y) for p in history]
            for X, y in ((X_learn, labels), (X_tune, y_tune))]
    dead = (forward(history[-1], pixel_scale * X_learn)[1] == 0).all(axis=0).mean()
    return *both, dead, accuracy(history[-1], pixel_scale * X_tune, y_tune)


mixed = np.random.default_rng(1).permutation(y_learn)
cases = {
    "healthy": {}, "zero weights": {"scale": 0.0}, "rate 3": {"lr": 3.0},
    "sum, not mean": {"gradients_of": sum_gradients},
    "pixels 0 to 16": {"pixel_scale": 16.0}, "labels shuffled": {"labels": mixed},
}
with np.errstate(over="ignore", invalid="ignore"):
    failed = {name: fail(**case) for name, case in cases.items()}
    repaired = fail(gradients_of=sum_gradients, lr=0.1 / 32)
    small_rate = fail(pixel_scale=16.0, lr=0.1 / 16**2)
print("                last loss  tuning loss  accuracy  dead units")
for name, (losses, tuning, dead, score) in failed.items():
    print(f"{name:15} {losses[-1]:9.3g}  {tuning[-1]:11.3g}  {score:8.1%}  {dead:10.0%}")
same_run = np.abs(np.subtract(repaired[0], failed["healthy"][0])).max() < 1e-10
print("sum with a rate of 0.1 / 32 equals the healthy run:", same_run)
print(f"pixels 0 to 16 with a rate of 0.1 / 256: {small_rate[3]:.1%}")
assert same_run

# %%
#| label: fig-failures
#| fig-cap: Loss on training images (solid) and tuning images (dashed) after each epoch, for the healthy run and five failures. Dotted, log 10, the loss of a fair guess. The healthy run and the pixels are on one logarithmic scale, the other four on one linear scale from 1.8 to 4.
#| fig-alt: In the healthy run both losses fall. In the other five they end near the dotted line, two of them after a jump upwards in the first epochs and one after a start far above it; with shuffled labels the solid curve sinks below it while the dashed one ends above.
fig, axes = plt.subplots(2, 3, figsize=(7.2, 4), sharex=True)
for ax, (name, (losses, tuning, *_)) in zip(axes.flat, failed.items()):
    ax.plot(losses, "-", label="training")
    ax.plot(tuning, "--", label="tuning")
    if name in ("healthy", "pixels 0 to 16"):
        ax.set(yscale="log", ylim=(0.003, 30))
    else:  # these stay near log 10, where a logarithmic scale would hide them
        ax.set(ylim=(1.8, 4))
    ax.axhline(np.log(10), color="0.3", linestyle=":", linewidth=1.2)
    ax.set_title(name)
axes[0, 1].legend(loc="upper right")
for ax in axes[1]:
    ax.set_xlabel("epoch")
for ax in axes[:, 0]:
    ax.set_ylabel("loss (nats)")

# %% [markdown]
# **What the code shows:** all five answer at chance, and four of them look alike at the end (@fig-failures): a loss near $\log 10$, and no unit alive. What tells them apart is how they began.
#
# | symptom | cause | fix |
# |---|---|---|
# | flat at $\log 10$ from the first step | zero weights: $H = 0$ and $W^{(2)} = 0$, so both gradients of the weights are zero and only $b^{(2)}$ learns | a random start |
# | the loss jumps up, then stays a little above $\log 10$; all units dead | a rate of 3: the first steps throw every unit to the silent side of its gate, where nothing comes back | a smaller rate, tried by factors of 3 |
# | the same picture at a rate that used to work | the forgotten $1/n$ makes the rate 32 times as large; a rate of 0.1 / 32 repeats the healthy run | take the mean, or know that the rate depends on the batch |
# | the first loss is far above $\log 10$ | unscaled pixels: scores and gradients are 16 times too large, and the first layer's slopes as well | scale the inputs; a rate of 0.1 / 256 alone gets to `{python} f"{small_rate[3]:.0%}"` only |
# | training loss falls slowly (to `{python} f"{failed['labels shuffled'][0][-1]:.2f}"`), tuning loss rises above $\log 10$ (to `{python} f"{failed['labels shuffled'][1][-1]:.2f}"`) | shuffled labels: there is nothing to learn but the 800 answers by heart | look at images beside their labels |
#
# Counting dead units is the cheapest test: `{python} f"{failed['healthy'][2]:.0%}"` are silent on all training images even in the healthy run, all of them in four of the failures.
#
# ## Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Rows or columns.** Here $S = XW + b$, one image a row. PyTorch's `nn.Linear` stores $W$ transposed, scikit-learn as here.
# > - **Mean or sum.** The loss is a mean over the batch. With a sum the same rate means something else (failure 3).
# > - **Epoch, step.** An epoch is one pass over the data; with batches of 32 it has 25 steps. "30 epochs" says nothing without the batch.
# > - **Momentum.** Here and in scikit-learn the rate is inside the velocity; in PyTorch it is outside. At a constant rate both take the same steps.
# > - **One hidden layer, two layers.** Layers of weights are counted, so this network has two.
# > - **alpha.** scikit-learn's penalty is on by default. In PyTorch `weight_decay` is 0 for `SGD`, and 0.01 for `AdamW`.
#
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Score gradient | $(P - Y) / n$ | `softmax(S) - onehot` | every classifier |
# | Weight gradient | $X^\top \, \partial L / \partial S$ | `X.T @ dS` | every linear layer |
# | Going back | $\partial L / \partial H = \partial L / \partial S \, W^\top$ | `dS @ W2.T` | every linear layer |
# | Gate | $\odot \, [Z \gt 0]$ | `dH * (Z > 0)` | ReLU |
# | Minibatch step | $v \leftarrow \mu v - \eta \, \partial L / \partial \theta$ | `momentum_step(...)` | all training |
# | Proof | same seed, same batches | `distance(ours, library)` | checking any rewrite |
#
# **The essential insight:** a network is a function you can differentiate by hand, one array at a time, and a training loop is a few lines around it. What makes it yours is not that it reaches `{python} f"{numpy_runs.mean():.3f}"` on the exam, since a network with a wrong gradient does that too, but that from the same seed it takes every step that the library takes.
