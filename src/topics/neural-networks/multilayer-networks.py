# ---
# title: Multilayer networks
# summary: "Layers between input and output: what a bend, width and depth buy."
# prerequisites:
#   - neural-networks/perceptron: one neuron, its hyperplane, and XOR as its limit
# notebooks: [01-numpy-neural-net]
# packages: [numpy, matplotlib, scikit-learn, torch]
# ---

# %% [markdown]
# # Multilayer networks
#
# $$
# \boxed{
# \begin{aligned}
# h^{(l)} &= \phi\left(h^{(l-1)} W^{(l)} + b^{(l)}\right) \quad (l = 1, \dots, L - 1) \\
# f(x) &= h^{(L-1)} W^{(L)} + b^{(L)}
# \end{aligned}
# }
# $$
#
# The input $x = h^{(0)}$ is a row of $d_0$ numbers.
# Layer $l$ has $d_l$ neurons: $W^{(l)} \in \mathbb{R}^{d_{l-1} \times d_l}$ holds their weights, one neuron per column, and $b^{(l)}$ their biases.
# The *activation* $\phi$ acts on each entry alone; here it is the rectified linear unit (ReLU), $\phi(z) = \max(z, 0)$, unless the text says otherwise.
# The $h^{(1)}, \dots, h^{(L-1)}$ are the *hidden* layers. The last layer has no activation, and $f(x)$ holds its $d_L$ scores.
#
# Without $\phi$ the whole stack is one linear layer; with it, a wide enough network comes as close as you like to any continuous function on a bounded closed box, and close to half of GPT-2's parameters sit in networks of this form [@cybenko1989approximation; @leshno1993multilayer; @radford2019language].

# %% [markdown]
# ## 1. A bend between two layers
#
# ### What no line can see
#
# A [perceptron](perceptron.py#what-one-neuron-cannot-do) separates with a hyperplane, and XOR defeats it.
# So does this: is a handwritten digit odd?
# (Scikit-learn's digits, from the UCI repository, CC BY 4.0: 8 by 8 pixels, here scaled to 0 to 1 and centred.)
# Fit the best line by logistic regression, at five settings of its one knob (`C`, how far its weights may grow), and choose the setting *on the test images*, in its favour.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
train, test = order[:1000], order[1000:]
pixels = digits.data / 16 - digits.data[train].mean(axis=0) / 16
X_train, X_test = pixels[train], pixels[test]
y_train, y_test = digits.target[train] % 2, digits.target[test] % 2  # 1 is odd

lines = [LogisticRegression(C=C, max_iter=5000).fit(X_train, y_train)
         for C in (0.01, 0.1, 1, 10, 100)]
best_line = max(line.score(X_test, y_test) for line in lines)
line_train = max(line.score(X_train, y_train) for line in lines)
neighbour = KNeighborsClassifier(1).fit(X_train, y_train).score(X_test, y_test)
print(f"best line: {best_line:.1%} of the test images, {line_train:.1%} of its own")
print(f"copy the label of the nearest training image: {neighbour:.1%}")

# %% [markdown]
# **What the code shows:** the line errs on one test image in `{python} round(1 / (1 - best_line))`, the nearest neighbour on one in `{python} round(1 / (1 - neighbour))`.
# The answer is in the pixels, but no weighted sum of pixels brings it out: "odd" is five different shapes.
# At none of the five settings does it even fit the images it was made from.
#
# ### Two linear layers are one
#
# The obvious repair is a second layer. Put two linear layers in a row:
#
# $$
# \begin{aligned}
# &\left(x W^{(1)} + b^{(1)}\right) W^{(2)} + b^{(2)} \\
# &\quad = x \left(W^{(1)} W^{(2)}\right) + \left(b^{(1)} W^{(2)} + b^{(2)}\right) .
# \end{aligned}
# $$
#
# **What this means:** the second line is a single linear layer.
# Repeat the step, and a stack of any depth collapses into one: more parameters, the same hyperplanes.
# It can even do less: the [rank](../math-foundations/linear-algebra.py#rank-how-much-a-matrix-really-holds) of a matrix, the number of independent directions its outputs can take, is for a product at most the width between its factors.
# ([LoRA](../modern-llms/efficient-adaptation.py), a cheap way to adapt a language model, makes use of that.)

# %%
def relu(z: np.ndarray) -> np.ndarray:
    """max(z, 0), elementwise."""
    return np.maximum(z, 0)


def forward(params: list, X: np.ndarray, phi=relu) -> list:
    """h[0] = X (n, d_0), h[1], ..., h[L] = scores (n, d_L), the last without phi."""
    h = [X]
    for l, (W, b) in enumerate(params, start=1):
        z = h[l - 1] @ W + b
        h.append(phi(z) if l < len(params) else z)
    return h


def init_params(sizes: list, rng: np.random.Generator, gain: float = 2.0) -> list:
    """Pairs (W, b): normal weights of mean square gain / d_in, biases zero."""
    return [(rng.normal(0, np.sqrt(gain / d_in), (d_in, d_out)), np.zeros(d_out))
            for d_in, d_out in zip(sizes[:-1], sizes[1:])]


def collapse(params: list) -> tuple:
    """The one (W, b) that equals a stack of linear layers."""
    W, b = params[0]
    for W_next, b_next in params[1:]:
        W, b = W @ W_next, b @ W_next + b_next
    return W, b


deep = init_params([64, 100, 3, 50, 10], np.random.default_rng(1), gain=1.0)
W, b = collapse(deep)
stacked = forward(deep, X_test, phi=lambda z: z)[-1]
print("parameters:", sum(W.size + b.size for W, b in deep), "in the stack,",
      W.size + b.size, "in one layer; rank of its W:", np.linalg.matrix_rank(W))
print("equal outputs:", np.allclose(stacked, X_test @ W + b, atol=1e-12))

# %% [markdown]
# **What the code shows:** four linear layers compute what one does, and the width of 3 in the middle costs seven of the ten dimensions that the scores could have had.
#
# ### Mathematical foundation
#
# Something between the layers must not be linear.
# The least that works is one bend: ReLU passes a positive $z$ and blocks a negative one.
# A hidden unit is then a neuron that reports *how far* on its side of a hyperplane an input is, and reports nothing on the other side.
#
# For two layers, and with $H$ for the hidden layer of a batch $X$ of $n$ rows:
#
# $$
# H = \phi\left(X W^{(1)} + b^{(1)}\right), \qquad f(X) = H W^{(2)} + b^{(2)} .
# $$
#
# **What this means:** the second layer is an ordinary linear classifier.
# It does not look at the inputs, but at features that the first layer computes from them.
#
# | quantity | code | shape | XOR below | odd digits |
# |---|---|---|---|---|
# | batch of inputs | `h[0]` | $(n, d_0)$ | (4, 2) | (25, 64) |
# | weights, layer 1 | `params[0][0]` | $(d_0, d_1)$ | (2, 2) | (64, 32) |
# | biases, layer 1 | `params[0][1]` | $(d_1)$ | (2) | (32) |
# | hidden layer | `h[1]` | $(n, d_1)$ | (4, 2) | (25, 32) |
# | weights, layer 2 | `params[1][0]` | $(d_1, d_2)$ | (2, 1) | (32, 2) |
# | scores | `h[2]` | $(n, d_2)$ | (4, 1) | (25, 2) |
#
# ### By hand
#
# XOR with two hidden units.
# Take one unit for "$x_1$ exceeds $x_2$" and one for the opposite, which counts double:
#
# $$
# \begin{aligned}
# W^{(1)} &= \begin{bmatrix} 1 & -2 \\ -1 & 2 \end{bmatrix}, \quad
# b^{(1)} = (0, 0), \\
# W^{(2)} &= \begin{bmatrix} 2 \\ 1 \end{bmatrix}, \quad
# b^{(2)} = -1 .
# \end{aligned}
# $$
#
# | $x$ | $z = x W^{(1)}$ | $h = \phi(z)$ | $f = 2 h_1 + h_2 - 1$ | label |
# |---|---|---|---|---|
# | $(0, 0)$ | $(0, 0)$ | $(0, 0)$ | $-1$ | $-1$ |
# | $(0, 1)$ | $(-1, 2)$ | $(0, 2)$ | $1$ | $+1$ |
# | $(1, 0)$ | $(1, -2)$ | $(1, 0)$ | $1$ | $+1$ |
# | $(1, 1)$ | $(0, 0)$ | $(0, 0)$ | $-1$ | $-1$ |
#
# The network computes $2 \lvert x_1 - x_2 \rvert - 1$, and every score equals its label.
#
# ### In code

# %%
X_xor = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y_xor = np.array([-1, 1, 1, -1])
xor_net = [(np.array([[1.0, -2.0], [-1.0, 2.0]]), np.zeros(2)),
           (np.array([[2.0], [1.0]]), np.array([-1.0]))]
h = forward(xor_net, X_xor)
assert [a.shape for a in h] == [(4, 2), (4, 2), (4, 1)]
assert np.array_equal(h[1], [[0, 0], [0, 2], [1, 0], [0, 0]])
assert np.array_equal(h[2][:, 0], y_xor)
print("scores with ReLU:   ", h[2][:, 0])
print("scores without bend:", forward(xor_net, X_xor, phi=lambda z: z)[2][:, 0])

# %%
#| label: fig-fold
#| fig-cap: The XOR network. Left, the inputs, with the shaded region where the score is positive. Right, the same four corners as the hidden layer sees them, with the line of the second layer. The grey L is where all inputs land.
#| fig-alt: On the left a white diagonal band between two shaded regions holds the corners 00 and 11. On the right both of these lie on one point at the origin, and a straight line separates them from the other two corners.
fig, axes = plt.subplots(1, 2, figsize=(6.6, 2.9))
side = np.linspace(-0.6, 1.6, 221)
grid = np.stack(np.meshgrid(side, side), axis=-1)
score = forward(xor_net, grid.reshape(-1, 2))[-1].reshape(221, 221)
axes[0].contourf(grid[..., 0], grid[..., 1], score, [0, 99], colors=["0.87"])
edge = np.array([-0.7, 0.85])
axes[1].fill_between(np.append(edge, 2.4), np.append(1 - 2 * edge, -0.6), 2.5,
                     color="0.87", linewidth=0)
axes[1].plot([0, 0, 2.4], [2.4, 0, 0], color="0.5", linewidth=3)
axes[1].plot(edge, 1 - 2 * edge, "k--", linewidth=1)
for ax, points in zip(axes, (X_xor, h[1])):
    for label, marker, color in ((1, "o", "C0"), (-1, "x", "C1")):
        ax.plot(*points[y_xor == label].T, marker, color=color, markeredgewidth=2)
for ax, names in ((axes[0], {"00": (0.07, 0.07), "01": (0.07, 1.07), "10": (1.07, 0.07),
                             "11": (1.07, 1.07)}),
                  (axes[1], {"00, 11": (-0.5, -0.4), "01": (0.1, 2), "10": (1, 0.12)})):
    for name, at in names.items():
        ax.text(*at, name)
axes[0].set(title="inputs", xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
axes[1].set(title="hidden layer", xlabel="$h_1$", ylabel="$h_2$",
            xlim=(-0.6, 2.4), ylim=(-0.6, 2.4), aspect="equal")
for ax in axes:
    ax.grid(False)

# %% [markdown]
# **What the code shows:** without the bend the two units cancel, and the answer is $-1$ everywhere.
# With it, @fig-fold shows what happens: the hidden layer *folds* the plane along its diagonal, two opposite corners meet, and a line is enough.
#
# PyTorch writes the same network as `nn.Sequential`. Its `Linear` stores the transpose of $W$, shape (out, in):

# %%
import torch
from torch import nn


def to_torch(params: list, activation=nn.ReLU) -> nn.Sequential:
    """The same network in PyTorch, in float64."""
    layers = []
    for W, b in params:
        linear = nn.Linear(*W.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


theirs = to_torch(deep)(torch.tensor(X_test)).detach().numpy()
print("equal to PyTorch:", np.allclose(forward(deep, X_test)[-1], theirs, atol=1e-12))

# %% [markdown]
# ### How many parameters
#
# Each of the $d_l$ neurons of a layer has $d_{l-1}$ weights and a bias, and each weight is used in one multiplication and one addition per input:
#
# $$
# \begin{aligned}
# N &= \sum_{l=1}^{L} d_l (d_{l-1} + 1), \\
# \text{operations per input} &\approx 2 \sum_{l=1}^{L} d_{l-1} d_l .
# \end{aligned}
# $$
#
# Evaluate them for the digit classifier of 1998 that is now called LeNet-300-100 [@lecun1998gradient; @han2015learning], and for the MLP (multilayer perceptron) in each of the 12 blocks of GPT-2 small, which widens 768 numbers to 3,072 and narrows them again.

# %%
def count_params(sizes: list) -> int:
    """Weights and biases of a network with layers of these sizes."""
    return sum(d_out * (d_in + 1) for d_in, d_out in zip(sizes[:-1], sizes[1:]))


def count_flops(sizes: list) -> int:
    """Multiplications and additions of the matrix products, for one input."""
    return sum(2 * d_in * d_out for d_in, d_out in zip(sizes[:-1], sizes[1:]))


lenet, gpt2_mlp = [784, 300, 100, 10], [768, 3072, 768]
assert count_params(lenet) == 266_610 and count_params(gpt2_mlp) == 4_722_432
mlp_share = 12 * count_params(gpt2_mlp) / 124_439_808  # all of GPT-2 small
print(f"LeNet-300-100: {count_params(lenet):,} parameters, "
      f"{count_flops(lenet):,} operations per image")
print(f"GPT-2 small: {count_params(gpt2_mlp):,} per MLP, "
      f"in 12 blocks {mlp_share:.1%} of the model")

# %% [markdown]
# **What the code shows:** the first layer holds `{python} f"{count_params(lenet[:2]) / count_params(lenet):.0%}"` of LeNet-300-100, because the image is its widest layer.
# Han et al. report 267 thousand for it.
#
# If you stop here you have the correct picture: *hidden units bend the space until a linear layer is enough*.

# %% tags=["test"]
def test_forward_is_torch():
    rng = np.random.default_rng(1)
    kinds = [(relu, nn.ReLU), (np.tanh, nn.Tanh), (lambda z: z, nn.Identity)]
    for trial in range(30):
        sizes = [int(s) for s in rng.integers(1, 9, size=rng.integers(2, 6))]
        n = [0, 1, 7][trial % 3] + int(rng.integers(0, 3))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params(sizes, rng)]
        X = rng.normal(size=(n, sizes[0])) * [1, 1, 1e6][trial % 3]
        phi, activation = kinds[trial % 3]
        h = forward(params, X, phi)
        want = to_torch(params, activation)(torch.tensor(X)).detach().numpy()
        assert [a.shape for a in h] == [(n, s) for s in sizes]
        assert np.allclose(h[-1], want, rtol=1e-12, atol=1e-12)
    empty = forward(init_params([3, 4, 2], rng), np.zeros((0, 3)))
    assert empty[-1].shape == (0, 2)


def test_collapse_is_the_linear_stack():
    rng = np.random.default_rng(2)
    for _ in range(25):
        sizes = [int(s) for s in rng.integers(1, 9, size=rng.integers(2, 7))]
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params(sizes, rng)]
        X = rng.normal(size=(5, sizes[0]))
        W, b = collapse(params)
        assert W.shape == (sizes[0], sizes[-1]) and b.shape == (sizes[-1],)
        want = to_torch(params, nn.Identity)(torch.tensor(X)).detach().numpy()
        assert np.allclose(X @ W + b, want, atol=1e-10)
        assert np.linalg.matrix_rank(W) <= min(sizes)


def test_counts_are_torch():
    rng = np.random.default_rng(3)
    for _ in range(20):
        sizes = [int(s) for s in rng.integers(1, 30, size=rng.integers(2, 6))]
        net = to_torch(init_params(sizes, rng))
        assert count_params(sizes) == sum(p.numel() for p in net.parameters())
        assert count_flops(sizes) == sum(2 * p.numel() for p in net.parameters()
                                         if p.ndim == 2)


def test_xor_by_hand():
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    net = [(np.array([[1.0, -2.0], [-1.0, 2.0]]), np.zeros(2)),
           (np.array([[2.0], [1.0]]), np.array([-1.0]))]
    assert np.array_equal(forward(net, square)[-1][:, 0], [-1, 1, 1, -1])
    assert (forward(net, square, phi=lambda z: z)[-1] == -1).all()


# %% tags=["test", "experiment"]
def test_no_line_for_odd_digits():
    assert best_line < 0.93 < 0.98 < neighbour and line_train < 1
    assert np.linalg.matrix_rank(collapse(deep)[0]) == 3


# %% [markdown]
# ## 2. What width and depth buy
#
# ### One variable: a proof you can run
#
# Take $n + 1$ points $x_0 \lt \dots \lt x_n$ with values $y_i$, and let $s_i$ be the slope from point $i$ to point $i + 1$.
# Then $n$ hidden units draw the polygon through all points:
#
# $$
# p(x) = y_0 + s_0 \phi(x - x_0) + \sum_{i=1}^{n-1} (s_i - s_{i-1}) \phi(x - x_i) .
# $$
#
# **What this means:** unit $i$ wakes at $x_i$, and its output weight is the *change* of slope there.
# The first layer says where to bend, the second how much.
#
# How far is the polygon from a function $f$ with $y_i = f(x_i)$?
# Let $\ell$ and $r$ be neighbouring points, at most $\Delta$ apart, and $x = (1 - t) \ell + t r$ between them.
# Then $p(x) = (1 - t) f(\ell) + t f(r)$, and so
#
# $$
# \begin{aligned}
# \lvert f(x) - p(x) \rvert
# &\le (1 - t) \lvert f(x) - f(\ell) \rvert + t \lvert f(x) - f(r) \rvert \\
# &\le \omega(\Delta),
# \end{aligned}
# $$
#
# where $\omega(\Delta)$ is the largest change of $f$ over a distance of at most $\Delta$.
# For a continuous $f$ on a closed interval it goes to 0 with $\Delta$, so **with enough units the error is as small as you like**.
# That is the universal approximation theorem in one dimension.
#
# Better functions need fewer units.
# If $f$ changes by at most $c$ per unit of length, the same line gives $2 t (1 - t) c \Delta \le c \Delta / 2$.
# If its slope changes by at most $M$ per unit of length (its second [derivative](../math-foundations/calculus.py#second-order-curvature) is at most $M$ in size), then the slope of $f + Mx^2/2$ never falls. Such a function lies below its chords, the straight lines between two of its points, which gives $f - p \le \frac{M}{2} (x - \ell)(r - x) \le M \Delta^2 / 8$, and $f - Mx^2/2$ gives the other sign.

# %%
def interpolator(knots: np.ndarray, values: np.ndarray) -> list:
    """ReLU network through n + 1 points, with n hidden units; knots increase."""
    slopes = np.diff(values) / np.diff(knots)
    W1, b1 = np.ones((1, len(slopes))), -knots[:-1]
    W2 = np.diff(slopes, prepend=0.0)[:, None]
    return [(W1, b1), (W2, values[:1])]


targets = {  # function, error bound for spacing D
    "sine": (lambda x: np.sin(2 * np.pi * x), lambda D: (2 * np.pi * D) ** 2 / 8, "o-"),
    "kink at 1/3": (lambda x: np.abs(x - 1 / 3), lambda D: D / 2, "s--"),
    "square root": (np.sqrt, np.sqrt, "^-."),
}
units = 2 ** np.arange(1, 10)
fine = np.linspace(0, 1, 20_001)[:, None]
errors = {}
for name, (f, limit, _) in targets.items():
    errors[name] = []
    for n in units:
        knots = np.linspace(0, 1, n + 1)
        net = interpolator(knots, f(knots))
        errors[name].append(np.abs(forward(net, fine)[-1] - f(fine)).max())
        assert errors[name][-1] <= limit(1 / n)
    ratio = (errors[name][-4] / errors[name][-1]) ** (1 / 3)
    print(f"{name:12} doubling the units divides the error by {ratio:.2f}")

# %%
#| label: fig-interpolation
#| fig-cap: Largest error of the polygon network against its number of hidden units, for three functions on the interval from 0 to 1. Markers are measured, thin lines are the proved bounds. Both axes are logarithmic.
#| fig-alt: Three falling straight lines with slopes of about minus two, minus one and minus one half. The smooth sine falls fastest and the square root slowest, and every marker lies on or below its bound.
fig, ax = plt.subplots()
for name, (_, limit, style) in targets.items():
    line, = ax.loglog(units, errors[name], style, label=name)
    ax.loglog(units, limit(1 / units), "-", color=line.get_color(), linewidth=0.7)
ax.set(xlabel="hidden units", ylabel="largest error")
ax.set_xticks(units, units)
ax.minorticks_off()
ax.legend();

# %% [markdown]
# **What the code shows:** one theorem, three prices.
# The bounds hold, and the sine's is nearly reached.
# In @fig-interpolation existence is the same for all three functions; how many units they need is a matter of how rough they are.
#
# ### More variables: what the theorems say
#
# In $d$ dimensions, sums of cosines $\cos(w \cdot x + c)$ come as close as you like to any continuous function on a bounded closed box (Weierstrass, in Fourier's form).
# Each cosine is a function of the single number $w \cdot x$, and for that you have just built a network.
# Add up the networks: one hidden ReLU layer suffices in any dimension.
# For other activations there are theorems.
# One hidden layer can approximate every continuous function on a bounded closed box, if the activation meets the condition:
#
# | year | theorem | condition |
# |---|---|---|
# | 1989 | [@cybenko1989approximation] | $\phi$ is continuous and goes from 0 at the far left to 1 at the far right |
# | 1991 | [@hornik1991approximation] | $\phi$ is continuous, bounded and not constant |
# | 1993 | [@leshno1993multilayer] | $\phi$ is bounded on bounded intervals, continuous outside a closed set of length zero (a few jumps, say) and not a polynomial: for a polynomial it is false |
#
# Similar results appeared in 1989 independently [@funahashi1989approximate; @hornik1989multilayer].
# Only the last covers ReLU as it stands, and it names the one thing that fails.
# If $\phi$ is a polynomial of degree $k$, a sum of $\phi$'s of linear functions is one of degree at most $k$, whatever the width.
# Give 200 random hidden units one input and count how many of them are linearly independent (none a weighted sum of others) on 300 points:

# %%
def features_spanned(phi, width: int, rng: np.random.Generator) -> int:
    """Rank of `width` random hidden units of one input, seen at 300 points."""
    x = np.linspace(-1, 1, 300)[:, None]
    H = phi(x @ rng.choice([-1.0, 1.0], size=(1, width)) + rng.uniform(-1, 1, width))
    return int(np.linalg.matrix_rank(H))


for name, phi in (("square", np.square), ("cube", lambda z: z**3), ("ReLU", relu)):
    print(f"{name:7} units: {features_spanned(phi, 200, np.random.default_rng(2))}")

# %% [markdown]
# **What the code shows:** every further squaring unit repeats what three already say; ReLU units keep adding.
#
# What the theorems do *not* say matters as much:
#
# - **How many units.** A grid with two cells per pixel has $2^{64}$ cells for our small images. For functions without much fast variation (Barron measures it with the Fourier transform) the mean squared error falls like $1/n$ in any dimension [@barron1993universal]; others need a number exponential in $d$ [@eldan2016power].
# - **That training finds them.** They prove existence; gradient descent must still get there.
# - **What happens elsewhere.** They say nothing about inputs outside the box or about test data: a network that fits every training point may be of no use between them (Exercise 4).
# - **That one hidden layer is the best shape.** It is enough, not cheap.
#
# ### Depth against width
#
# The tent $t(x) = 2 \phi(x) - 4 \phi(x - \frac{1}{2})$ takes two units.
# It rises from 0 to 1 and falls back to 0 as $x$ runs from 0 to 1.
# So each half of the interval is stretched onto the whole of it, and $g(t(x))$ shows two copies of $g$, the second reversed.
# Compose $L$ tents, and you have $2^L$ straight pieces from $2L$ units.
# (The output weights of one tent and the input weights of the next are two linear layers in a row. They collapse.)
#
# A single hidden layer of $m$ units bends in at most $m$ places: $m + 1$ pieces.
# To draw what 20 units draw in ten hidden layers it needs $2^{10} - 1$, or `{python} f"{2**10 - 1:,}"`.
# Approximating with an error below $\frac{1}{2}$ does not save it: the tents cross the height $\frac{1}{2}$ in $2^L$ places, and a straight piece crosses once at most [@telgarsky2015representation].
# For every $k$ there are functions that about $k^3$ layers of constant width compute and that $k$ layers cannot approximate without about $2^k$ units [@telgarsky2016benefits].
#
# Is *every* deep network so rich? Count the pieces of random ones along a line.

# %%
def tents(L: int) -> list:
    """L composed tents on [0, 1]: a network with L hidden layers of two units."""
    enter, bend = np.ones((1, 2)), np.array([0.0, -0.5])
    leave = np.array([[2.0], [-4.0]])
    inner = [(leave @ enter, bend) for _ in range(L - 1)]
    return [(enter, bend), *inner, (leave, np.zeros(1))]


def count_pieces(params: list, X: np.ndarray) -> int:
    """Pieces on which no hidden unit switches, for rows of X (n, d) along a path."""
    on = np.hstack(forward(params, X)[1:-1]) > 0
    return 1 + int((on[1:] != on[:-1]).any(axis=1).sum())


DEPTHS = np.arange(1, 9)
between = (np.arange(2**14)[:, None] + 0.5) / 2**14  # never exactly on a bend
tent_pieces = [count_pieces(tents(L), between) for L in DEPTHS]
assert np.array_equal(tent_pieces, 2**DEPTHS)

# Without biases a network bends along rays, so half a circle sees what a line sees.
angle = np.linspace(0, np.pi, 20_000, endpoint=False)
half_circle = np.column_stack([np.cos(angle), np.sin(angle)])
random_pieces = np.array([[count_pieces(
    init_params([2] + [16] * L + [1], np.random.default_rng([seed, L])), half_circle)
    for L in DEPTHS] for seed in range(10)])
print("tents, units and pieces:", 2 * DEPTHS[-1], tent_pieces[-1])
print("random, units and mean pieces:", 16 * DEPTHS[-1], random_pieces[:, -1].mean())

# %%
#| label: fig-pieces
#| fig-cap: Linear pieces against hidden units. Composed tents have one layer for every two units; random networks have one layer for every 16 units, and their line is the mean over the seeds 0 to 9, their band the range. Dotted, the most that a single hidden layer can have.
#| fig-alt: On a logarithmic axis the tents shoot up to 256 pieces with 16 units. Random networks follow the dotted curve of one hidden layer at every depth.
fig, ax = plt.subplots()
ax.semilogy(2 * DEPTHS, tent_pieces, "o-", label="composed tents")
ax.semilogy(16 * DEPTHS, random_pieces.mean(axis=0), "s--", label="random, width 16")
ax.fill_between(16 * DEPTHS, random_pieces.min(axis=0), random_pieces.max(axis=0),
                alpha=0.25, color="C1", linewidth=0)
ax.semilogy(np.arange(1, 129), np.arange(2, 130), "k:",
            label="one hidden layer, at most")
ax.set(xlabel="hidden units", ylabel="pieces along a line")
ax.legend(loc="lower right");

# %% [markdown]
# **What the code shows:** depth *can* buy exponentially many pieces, and the weights of @fig-pieces that do so are special.
# These random networks have about as many as they have units, however deep.
# Hanin and Rolnick, whose random networks have random biases too, proved that the average at initialisation grows in this way, with the units and not exponentially with depth, and found the number far below exponential after training too [@hanin2019complexity].
# So the theorem is a reason why depth may help, not the reason why it does.
# Practice settles for both: GPT-2 small has 12 blocks, each with a hidden layer four times as wide as its input.

# %% [markdown]
# ### Where to start: initial weights
#
# Ten layers deep, a factor of 2 per layer is a factor of about a thousand.
# So choose the random initial weights such that the signal keeps its size.
# Let them be independent, symmetric about 0, with [variance](../math-foundations/probability.py#the-rules) $v$ (here the mean of their squares), and independent of $h$.
# Write $\mathbb{E}$ for the mean over the random draws, and let $\mathbb{E}[h_j^2]$ be the same for all $j$.
# In the square of $z_k = \sum_j h_j W_{jk}$ the cross terms have mean 0, since $\mathbb{E}[W_{jk} W_{ik}] = 0$ for $i \ne j$. What remains is
#
# $$
# \begin{aligned}
# \mathbb{E}[z_k^2] &= \sum_{j=1}^{d_{in}} \mathbb{E}[h_j^2] \, \mathbb{E}[W_{jk}^2]
# = d_{in} v \, \mathbb{E}[h_j^2], \\
# \mathbb{E}[\phi(z_k)^2] &= \tfrac{1}{2} \mathbb{E}[z_k^2] .
# \end{aligned}
# $$
#
# The second equation is ReLU's: $z_k$ is as often negative as positive, and half of the mean square is lost.
#
# **What this means:** a layer multiplies the mean square by $d_{in} v / 2$.
# He et al. set that to 1: $v = 2 / d_{in}$ [@he2015delving].
# Without the ReLU's half, as for tanh near zero, it is $1 / d_{in}$; the gradients, which run backward, ask for $1 / d_{out}$, and Glorot and Bengio compromise ("Xavier" initialisation, after Glorot's first name): $v = 2 / (d_{in} + d_{out})$ [@glorot2010understanding].

# %%
def signal_size(gain: float, depth: int, seed: int, width: int = 128) -> float:
    """Root mean square of the last hidden layer over that of the first."""
    rng = np.random.default_rng(seed)
    params = init_params([width] * (depth + 2), rng, gain)
    h = forward(params, rng.normal(size=(50, width)))
    return float(np.sqrt((h[depth] ** 2).mean() / (h[1] ** 2).mean()))


print("gain   predicted  measured (median, range over ten seeds)")
for gain in (1.0, 2.0, 4.0):
    sizes = [signal_size(gain, 20, seed) for seed in range(10)]
    print(f"{gain:.0f} / d  {(gain / 2) ** 9.5:9.3g}  {np.median(sizes):8.3g}"
          f"  {min(sizes):.2g} to {max(sizes):.2g}")

# %% [markdown]
# **What the code shows:** after 19 layers the half that ReLU takes is a factor of hundreds, and He's gain removes it, up to the luck of 19 random matrices.
# This holds at the start; what keeps signals in range later is normalisation ([regularization](regularization.py#keep-the-signals-in-range)) and residual connections ([transformer](../transformers/transformer-architecture.py#the-residual-stream)).
# With growing width even a good start is not enough: [muP](../training/optimizers.py#widths-the-rate-that-transfers) scales each layer's learning rate too, so that settings tuned on a narrow model carry over to a wide one [@yang2022tensor].

# %% [markdown]
# ### Training two layers
#
# The perceptron rule cannot train $W^{(1)}$: nobody tells a hidden unit what it should have said.
# [Gradient descent](../math-foundations/optimization.py#the-step) can.
# A [softmax](../math-foundations/probability.py#from-scores-to-probabilities) turns the $K$ scores into probabilities (their exponentials, divided by the sum of these), and the [loss](../training/loss-functions.py#cross-entropy-for-any-target), called cross-entropy, is minus the logarithm of the probability given to the true class, averaged over the batch.
# Every parameter then moves against its derivative, the rate at which the loss grows with it: after every 25 images, in 30 passes (*epochs*) over the training images in random order.
# [Backpropagation](backpropagation.py) derives the four lines that compute the derivatives; here take them as given, for the tests compare them with PyTorch.

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def mean_loss(params: list, X: np.ndarray, y: np.ndarray) -> float:
    """Mean of -log softmax(scores)[y] over the rows; y (n,) holds classes."""
    scores = forward(params, X)[-1]
    log_sums = np.logaddexp.reduce(scores, axis=1)
    return float((log_sums - scores[np.arange(len(y)), y]).mean())


def gradients(params: list, X: np.ndarray, y: np.ndarray) -> list:
    """[(dW1, db1), (dW2, db2)] of mean_loss, for two layers with ReLU."""
    _, H, scores = forward(params, X)
    d_scores = (softmax(scores) - np.eye(scores.shape[1])[y]) / len(y)
    dz = d_scores @ params[1][0].T * (H > 0)
    return [(X.T @ dz, dz.sum(axis=0)), (H.T @ d_scores, d_scores.sum(axis=0))]


def sgd(params: list, X: np.ndarray, y: np.ndarray, rng: np.random.Generator | None,
        epochs: int = 30, lr: float = 0.2, batch: int = 25) -> list:
    """Parameters after stochastic gradient descent; without rng, in given order."""
    for _ in range(epochs):
        order = np.arange(len(y)) if rng is None else rng.permutation(len(y))
        for start in range(0, len(y), batch):
            rows = order[start : start + batch]
            params = [(W - lr * dW, b - lr * db) for (W, b), (dW, db)
                      in zip(params, gradients(params, X[rows], y[rows]))]
    return params


def accuracy(params: list, X: np.ndarray, y: np.ndarray) -> float:
    """Share of rows whose highest score is the true class."""
    return float((forward(params, X)[-1].argmax(axis=1) == y).mean())


# %% [markdown]
# ### Experiment: how many hidden units does "odd" need?
#
# **Question.** How does test accuracy on odd digits depend on the width of the hidden layer, and is it the *learning* of the hidden layer that helps, or its existence?
# [Rosenblatt's machine](perceptron.py#where-it-comes-from) had a hidden layer too, fixed at random.
# So compare three: two trained layers; a random hidden layer, frozen, under a logistic regression; and scikit-learn's `MLPClassifier` of the same size, with the same rate, batch and number of passes but its own initial weights.
#
# **Prediction.** One unit is one hyperplane, so it should do no better than the line.
# A few should beat it. Frozen features should need many more units.

# %%
WIDTHS, SEEDS = (1, 2, 4, 8, 16, 32, 64, 128, 256), range(5)
learned, frozen, fitted = np.zeros((3, len(SEEDS), len(WIDTHS)))
for seed in SEEDS:
    for j, width in enumerate(WIDTHS):
        rng = np.random.default_rng(seed)
        start = init_params([64, width, 2], rng)
        net = sgd(start, X_train, y_train, rng)
        learned[seed, j] = accuracy(net, X_test, y_test)
        fitted[seed, j] = accuracy(net, X_train, y_train)
        H_train, H_test = forward(start, X_train)[1], forward(start, X_test)[1]
        frozen[seed, j] = LogisticRegression(max_iter=2000).fit(
            H_train, y_train).score(H_test, y_test)
warnings.simplefilter("ignore", ConvergenceWarning)  # we stop it early on purpose
library = {width: [MLPClassifier((width,), solver="sgd", learning_rate_init=0.2,
                                momentum=0, alpha=0, batch_size=25, max_iter=30,
                                n_iter_no_change=99, random_state=seed)
                  .fit(X_train, y_train).score(X_test, y_test) for seed in SEEDS]
          for width in (2, 32)}
for width in (2, 32):
    ours = learned[:, WIDTHS.index(width)]
    print(f"width {width:2d}: NumPy {ours.mean():.3f} ({ours.min():.3f} to "
          f"{ours.max():.3f}), scikit-learn {np.mean(library[width]):.3f} "
          f"({min(library[width]):.3f} to {max(library[width]):.3f})")

# %%
#| label: fig-width
#| fig-cap: Odd or even, test accuracy against the width of the hidden layer. Lines are means over the seeds 0 to 4, bands run from the worst to the best seed, crosses are scikit-learn's means. Dotted, the best line of Section 1; dash-dotted, the nearest neighbour.
#| fig-alt: With trained features, one unit equals the line, two units are far above it, and the curve flattens from 32 units on, below the nearest neighbour. With frozen features the curve reaches the line only at 64 units and stays below the trained one.
fig, ax = plt.subplots()
for runs, style, label in ((learned, "o-", "both layers trained"),
                           (frozen, "s--", "hidden layer frozen")):
    line, = ax.semilogx(WIDTHS, runs.mean(axis=0), style, label=label)
    ax.fill_between(WIDTHS, runs.min(axis=0), runs.max(axis=0), alpha=0.2,
                    color=line.get_color(), linewidth=0)
ax.plot(list(library), [np.mean(runs) for runs in library.values()], "kx",
        markersize=8, label="scikit-learn")
ax.axhline(best_line, color="0.3", linestyle=":", linewidth=1.2)
ax.axhline(neighbour, color="0.3", linestyle="-.", linewidth=1.2)
ax.set(xlabel="hidden units", ylabel="test accuracy", ylim=(0.45, 1.01))
ax.set_xticks(WIDTHS, WIDTHS)
ax.minorticks_off()
ax.legend(loc="lower right");

# %% [markdown]
# **What the code shows:** the prediction holds.
# One unit gives `{python} f"{learned[:, 0].mean():.3f}"`, the line `{python} f"{best_line:.3f}"`; two units give `{python} f"{learned[:, 1].mean():.3f}"`, and `{python} f"{learned[:, 5].mean():.3f}"` is reached with 32.
# A frozen layer of 256 units gets `{python} f"{frozen[:, -1].mean():.3f}"`, about what `{python} WIDTHS[int(np.argmax(learned.mean(axis=0) >= frozen[:, -1].mean()))]` trained ones get in @fig-width.
# So the bend alone helps, if you can pay for width; learning *where* to bend is what makes it cheap.
# The conclusion is modest: one small data set, one rate, no tuning.
# With 32 units `{python} f"{fitted[:, 5].mean():.1%}"` of the *training* images are right, yet copying the nearest image does better on new ones: the theorem promised a fit, not generalisation.

# %% tags=["test"]
def test_interpolator_is_np_interp():
    rng = np.random.default_rng(4)
    for _ in range(25):
        n = int(rng.integers(1, 30))
        knots = np.cumsum(rng.uniform(0.1, 1, size=n + 1)) - 5
        values = rng.normal(size=n + 1) * 10
        net = interpolator(knots, values)
        x = rng.uniform(knots[0], knots[-1], size=50)
        assert net[0][0].shape == (1, n) and net[1][0].shape == (n, 1)
        got = forward(net, x[:, None])[-1][:, 0]
        assert np.allclose(got, np.interp(x, knots, values), atol=1e-9)
    flat = interpolator(np.array([0.0, 1.0]), np.array([3.0, 3.0]))
    assert np.array_equal(forward(flat, np.array([[-4.0], [9.0]]))[-1], [[3.0], [3.0]])


def test_error_bounds():
    rng = np.random.default_rng(5)
    x = np.linspace(0, 1, 20_001)[:, None]
    for _ in range(20):
        n, speed, at = int(rng.integers(1, 60)), rng.uniform(1, 20), rng.uniform(0, 1)
        knots = np.linspace(0, 1, n + 1)
        for f, bound in ((lambda x: np.sin(speed * x + at), speed**2 / (8 * n**2)),
                         (lambda x: np.abs(speed * (x - at)), speed / (2 * n)),
                         (lambda x: np.sqrt(np.abs(x - at)), 1 / np.sqrt(n))):
            error = np.abs(forward(interpolator(knots, f(knots)), x)[-1] - f(x)).max()
            assert error <= bound + 1e-12
    # The smooth bound is reached exactly by a parabola.
    knots = np.linspace(0, 1, 9)
    error = np.abs(forward(interpolator(knots, knots**2), x)[-1] - x**2).max()
    assert abs(error - 2 / (8 * 8**2)) < 1e-6


def test_tents_and_pieces():
    x = (np.arange(2**13)[:, None] + 0.5) / 2**13
    for L in range(1, 8):
        net, want = tents(L), x
        for _ in range(L):
            want = 1 - np.abs(1 - 2 * want)
        assert np.allclose(forward(net, x)[-1], want, atol=1e-12)
        assert sum(len(b) for _, b in net[:-1]) == 2 * L
        assert count_pieces(net, x) == 2**L
        crossings = np.diff(np.sign(forward(net, x)[-1][:, 0] - 0.5))
        assert np.count_nonzero(crossings) == 2**L
    rng = np.random.default_rng(6)
    for _ in range(20):
        m = int(rng.integers(1, 12))
        knots = np.sort(rng.uniform(0.05, 0.95, size=m))
        net = [(np.ones((1, m)), -knots), (rng.normal(size=(m, 1)), np.zeros(1))]
        assert count_pieces(net, x) <= m + 1
    shared = np.array([0.25, 0.25, 0.5, 0.75])  # two units bend at one place
    assert count_pieces([(np.ones((1, 4)), -shared), (np.ones((4, 1)), 0.0)], x) == 4
    assert features_spanned(np.square, 50, rng) == 3
    assert features_spanned(lambda z: z**3, 50, rng) == 4
    assert features_spanned(relu, 50, rng) > 30


def test_variance_rule():
    rng = np.random.default_rng(7)
    for gain in (0.5, 1.0, 2.0, 3.0):
        d_in, d_out = int(rng.integers(200, 400)), int(rng.integers(200, 400))
        (W, b), = init_params([d_in, d_out], rng, gain)
        assert W.shape == (d_in, d_out) and not b.any()
        assert abs(W.var() * d_in / gain - 1) < 0.05 and abs(W.mean()) < 0.01
        sizes = [signal_size(gain, 8, seed) for seed in range(8)]
        assert abs(np.median(sizes) / (gain / 2) ** 3.5 - 1) < 0.2
    theirs = torch.empty(300, 500, dtype=torch.float64)  # (out, in)
    nn.init.kaiming_normal_(theirs, generator=torch.Generator().manual_seed(0))
    ours = init_params([500, 300], rng)[0][0]
    assert abs(theirs.var().item() / ours.var() - 1) < 0.03


def test_gradients_are_autograd():
    rng = np.random.default_rng(8)
    for trial in range(30):
        d, m, K, n = (int(k) for k in rng.integers(1, 9, size=4))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params([d, m, K], rng)]
        X = rng.normal(size=(n, d)) * [1, 1, 1e3][trial % 3]
        y = rng.integers(0, K, size=n)
        net = to_torch(params)
        loss = nn.functional.cross_entropy(net(torch.tensor(X)), torch.tensor(y))
        loss.backward()
        assert abs(mean_loss(params, X, y) - loss.item()) < 1e-12 * (1 + loss.item())
        for layer, (dW, db) in zip((net[0], net[2]), gradients(params, X, y)):
            size = 1 + np.abs(X).max()
            assert np.allclose(dW, layer.weight.grad.numpy().T, atol=1e-12 * size)
            assert np.allclose(db, layer.bias.grad.numpy(), atol=1e-12 * size)
    P = softmax(np.array([[1e4, 0.0], [2.0, 2.0]]))
    assert np.array_equal(P, [[1, 0], [0.5, 0.5]])


def test_network_is_mlpclassifier():
    rng = np.random.default_rng(9)
    for trial in range(20):
        d, m, K, n = (int(rng.integers(*r)) for r in ((1, 8), (1, 9), (3, 6), (6, 30)))
        X, y = rng.normal(size=(n, d)), np.append(np.arange(K), rng.integers(0, K, n))
        X = np.vstack([X, rng.normal(size=(K, d))])
        name = ["relu", "tanh", "identity"][trial % 3]
        batch = int(rng.integers(1, 9))
        model = MLPClassifier((m,), activation=name, solver="sgd", momentum=0, alpha=0,
                              learning_rate_init=0.1, batch_size=batch, shuffle=False)
        model.partial_fit(X, y, classes=np.arange(K))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params([d, m, K], rng)]
        for l, (W, b) in enumerate(params):
            model.coefs_[l][...], model.intercepts_[l][...] = W, b
        phi = {"relu": relu, "tanh": np.tanh, "identity": lambda z: z}[name]
        got = softmax(forward(params, X, phi)[-1])
        assert np.allclose(got, model.predict_proba(X), atol=1e-12)
        if name == "relu":  # one more pass over the data, ours and theirs
            assert abs(model.score(X, y) - accuracy(params, X, y)) < 1e-12
            model.partial_fit(X, y)
            ours = sgd(params, X, y, None, epochs=1, lr=0.1, batch=batch)
            for l, (W, b) in enumerate(ours):
                assert np.allclose(W, model.coefs_[l], atol=1e-12)
                assert np.allclose(b, model.intercepts_[l], atol=1e-12)


def test_sgd_draws_a_new_order_in_each_pass():
    rng, orders = np.random.default_rng(14), np.random.default_rng(15)
    X, y = rng.normal(size=(11, 3)), np.arange(11) % 2
    params = init_params([3, 4, 2], rng)
    ours = sgd(params, X, y, np.random.default_rng(15), epochs=2, batch=4)
    for _ in range(2):
        order = orders.permutation(11)
        params = sgd(params, X[order], y[order], None, epochs=1, batch=4)
    for (W, b), (W_want, b_want) in zip(ours, params):
        assert np.allclose(W, W_want) and np.allclose(b, b_want)


# %% tags=["test", "experiment"]
def test_width_experiment():
    assert abs(learned[:, 0].mean() - best_line) < 0.015
    assert learned[:, 1].min() > best_line + 0.02
    assert (learned.mean(axis=0) > frozen.mean(axis=0)).all()
    assert learned[:, 5].min() > learned[:, 1].max() and neighbour > learned.max()
    for width, scores in library.items():
        assert abs(np.mean(scores) - learned[:, WIDTHS.index(width)].mean()) < 0.02
    assert (np.abs(random_pieces.mean(axis=0) / (16 * DEPTHS) - 1) < 0.3).all()


# %% [markdown]
# ### Multilayer networks in 2026
#
# | year | idea | in one sentence |
# |---|---|---|
# | 2014 | deep linear networks [@saxe2014exact] | A stack without bends collapses as a function, yet it does not *learn* like one layer: its error falls in steps. |
# | 2016 | depth separation [@eldan2016power] | Some functions of $d$ variables need two hidden layers, or width exponential in $d$. |
# | 2016 | residual connections [@he2016deep] | Each layer adds to its input instead of replacing it, so that very deep stacks train ([transformer](../transformers/transformer-architecture.py#the-residual-stream)). |
# | 2017 | memorisation [@zhang2017understanding] | Networks that generalise well also fit random labels, so the ability to fit cannot explain generalisation. |
# | 2018 | neural tangent kernel [@jacot2018neural] | In the limit of infinite width, suitably scaled, features hardly move, and training becomes a linear problem. |
# | 2019 | double descent [@belkin2019reconciling] | Test error can fall again beyond the width at which the training data are fitted exactly. |
# | 2020 | gated units [@shazeer2020glu] | [Two first layers are multiplied](activation-functions.py#gated-units) with each other, one of them bent; most large language models of 2026 use such MLPs. |
# | 2021 | MLPs as memories [@geva2021transformer] | In a transformer, a hidden unit's first weights act as a pattern to detect, its second as what to write. |
#
# ### Where it comes from
#
# Networks of threshold units with hidden layers compute any logical function [@mcculloch1943logical]; a rule to train them was missing.
# In 1967 Amari proposed stochastic gradient descent for linear classifiers and for more general ones [@amari1967theory]; training hidden units by it became common with backpropagation [@rumelhart1986learning].

# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: equal weights
#
# Start width 32 with all weights 0, with all weights 0.1, and at random, each with five seeds:

# %%
starts = {"zero": lambda W: 0 * W, "0.1": lambda W: 0 * W + 0.1, "random": lambda W: W}
symmetric = {}
for name, change in starts.items():
    runs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        params = [(change(W), b) for W, b in init_params([64, 32, 2], rng)]
        net = sgd(params, X_train, y_train, rng)
        distinct = len(np.unique(net[0][0].round(9), axis=1).T)
        runs.append((accuracy(net, X_test, y_test), distinct))
    symmetric[name] = scores, distinct = np.array(runs).T
    print(f"{name:6}  test {scores.mean():.3f} ({scores.min():.3f} to "
          f"{scores.max():.3f}), different units: {distinct.mean():.0f}")

# %% [markdown]
# **Symptom:** accuracy of a line or of a guess, at any width.
# **Cause:** equal units get equal gradients and stay equal, so 32 units are one. At zero, $h = 0$ and $W^{(2)} = 0$ send every gradient but the output bias to zero.
# **Fix:** random weights. Biases may be zero, and so may $W^{(2)}$: the random $W^{(1)}$ tells the units apart.
#
# ### Failure mode 2: the forgotten bend

# %%
straight = [MLPClassifier((64, 64), activation="identity", solver="sgd", alpha=0,
                          learning_rate_init=0.02, max_iter=60, n_iter_no_change=99,
                          random_state=seed)
            .fit(X_train, y_train).score(X_test, y_test) for seed in SEEDS]


def additivity_gap(f, X: np.ndarray) -> float:
    """Largest |f(x) + f(x') - f(x + x') - f(0)| over neighbouring rows, relative."""
    gap = f(X[:-1]) + f(X[1:]) - f(X[:-1] + X[1:]) - f(0 * X[:-1])
    return float(np.abs(gap).max() / np.abs(f(X)).max())


for name, phi in (("linear", lambda z: z), ("ReLU", relu)):
    gap = additivity_gap(lambda X, phi=phi: forward(net, X, phi)[-1], X_test[:50])
    print(f"{name:6} additive up to rounding: {gap < 1e-9}")
print(f"two hidden layers of 64, no activation: {np.mean(straight):.3f} "
      f"({min(straight):.3f} to {max(straight):.3f}); line {best_line:.3f}")

# %% [markdown]
# **Symptom:** the loss falls and stops where a linear model stops; more layers change nothing.
# **Cause:** two linear layers in a row, for instance a `Linear` after which `nn.ReLU()` was left out.
# **Fix:** look for it with the test above: $f(x) + f(x') = f(x + x') + f(0)$ holds for linear layers with biases, and a bend between these points breaks it.
#
# ### Failure mode 3: the wrong scale

# %%
scales = {"as before": (X_train, X_test, 2.0),
          "weights 50 times as large": (X_train, X_test, 2.0 * 50**2),
          "raw pixels, 0 to 16": (digits.data[train], digits.data[test], 2.0)}
scale_runs = {}
for name, (X_fit, X_new, gain) in scales.items():
    runs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        params = init_params([64, 32, 2], rng, gain)
        net = sgd(params, X_fit, y_train, rng)
        silent = (forward(net, X_fit)[1] == 0).all(axis=0).mean()
        first_loss = mean_loss(params, X_fit, y_train)
        runs.append((first_loss, accuracy(net, X_new, y_test), silent))
    scale_runs[name] = np.mean(runs, axis=0)
    print(f"{name:25} first loss {scale_runs[name][0]:6.3g}, "
          f"test {scale_runs[name][1]:.3f}, silent units {scale_runs[name][2]:.0%}")

# %% [markdown]
# **Symptom:** the first loss is far above $\log K$, the loss of a fair guess (here `{python} f"{np.log(2):.2f}"`), and training ends at a worse place or at a guess.
# **Cause:** scores grow with the scale of inputs and weights, layer after layer, and so do the first steps.
# Those on raw pixels throw every unit to its flat side for good: the next failure.
# **Fix:** standardised inputs, He's variance, and a look at the first loss.
#
# ### Failure mode 4: dead units

# %%
dead = {}
for lr in (0.2, 1.0, 3.0, 10.0):
    runs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        net = sgd(init_params([64, 32, 2], rng), X_train, y_train, rng, 10, lr)
        silent = (forward(net, X_train)[1] == 0).all(axis=0).mean()
        runs.append((silent, accuracy(net, X_test, y_test)))
    dead[lr] = np.mean(runs, axis=0)
    if lr < 10:
        print(f"rate {lr:4.1f}: {dead[lr][0]:4.0%} of the units silent on every image, "
              f"test {dead[lr][1]:.3f}")
# Beyond the cliff runs are chaotic: a last bit decides, and it differs by processor.
assert dead[10.0][0] > 0.4 and dead[10.0][1] < 0.92
print("rate 10.0: over 40% of the units silent on every image, test below 0.92")

# %% [markdown]
# **Symptom:** a hidden layer mostly of zeros, and beyond some learning rate, accuracy that collapses.
# **Cause:** one large step makes a unit negative for every input; then its gradient is zero too, and in a first layer nothing can bring it back.
# The cliff comes without warning: the rate before it is the best of the four.
# **Fix:** a smaller rate, or a warm-up (a rate that starts small and grows); watch the share of silent units; or a bend that is not flat on its left side ([activation functions](activation-functions.py#dead-units-and-activations-that-cannot-die)).
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Counting layers.** Here $L$ counts weight matrices: one hidden layer makes a two-layer network. Some texts count the input too and say three.
# > - **Rows or columns.** Here $XW + b$ with $W$ of shape (in, out), as in scikit-learn's `coefs_`. PyTorch stores (out, in); papers with column vectors write $Wx + b$.
# > - **MLP, feed-forward network (FFN), dense, fully connected:** four names for the same thing. No perceptron rule is involved.
# > - **He in PyTorch.** `kaiming_normal_` with its defaults is this page's rule. `nn.Linear` itself starts from a uniform distribution of variance $1 / (3 d_{in})$, six times smaller.
# > - **Gain.** Here it multiplies the variance. PyTorch's `calculate_gain` multiplies the standard deviation: $\sqrt{2}$ for ReLU.
# > - **"Universal approximator"** describes a family of networks of all widths. It ranks nothing: polynomials are universal too.
# > - **Capacity or performance.** Pieces and approximation errors tell what weights *can* do, not what training finds.

# %% tags=["test", "experiment"]
def test_failures():
    for name, units in (("zero", 1), ("0.1", 1), ("random", 32)):
        assert (symmetric[name][1] == units).all()
    assert symmetric["random"][0].min() > symmetric["0.1"][0].max() + 0.03
    assert symmetric["zero"][0].max() < 0.55
    assert np.abs(np.array(straight) - best_line).max() < 0.03
    good, wide, raw = scale_runs.values()
    assert good[0] < 1 < 2 < raw[0] < wide[0] and good[1] > wide[1] + 0.02
    assert raw[1] < 0.55 and raw[2] == 1
    assert max(dead, key=lambda lr: dead[lr][1]) == 3.0
    assert dead[0.2][0] < 0.1 and dead[10.0][0] > 0.5
    assert dead[10.0][1] < dead[0.2][1]


# %% tags=["test"]
def test_failures_repeat_on_other_data():
    rng = np.random.default_rng(10)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    params = init_params([3, 16, 2], rng)
    equal = [(0 * W + 0.1, b) for W, b in params]
    same = sgd(equal, X, y, rng, epochs=20)
    assert np.allclose(same[0][0], same[0][0][:, :1], atol=1e-12)
    zeros = sgd([(0 * W, b) for W, b in params], X, y, rng, epochs=5)
    assert not zeros[0][0].any() and not zeros[1][0].any() and zeros[1][1].any()
    net = sgd(params, X, y, rng, epochs=60)
    assert accuracy(net, X, y) > accuracy(same, X, y) + 0.1
    assert additivity_gap(lambda X: forward(net, X, lambda z: z)[-1], X) < 1e-12
    assert additivity_gap(lambda X: forward(net, X)[-1], X) > 1e-3


# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): off the corners
#
# Compute the XOR network's scores for $(3, 1)$, $(2, 2.5)$ and $(-1, 1)$ by hand.
# Where is its score zero?
# Can you see from the formula why no bias in the first layer is needed?

# %% [markdown] tags=["solution"]
# The score is $2 \lvert x_1 - x_2 \rvert - 1$: it gives 3, 0 and 3.
# It is zero on the two parallel lines $x_1 - x_2 = \pm \frac{1}{2}$.
# Both hidden hyperplanes are the diagonal $x_1 = x_2$, which passes through the origin; the bias of the second layer places the threshold.

# %% [markdown]
# ### Exercise 2 (check): one function, many networks
#
# Take a ReLU unit $j$ and a number $c \gt 0$. Multiply its input weights and bias by $c$, and divide its output weights by $c$.
# Write this, and find out why the function stays the same.
# How many networks do you get by only reordering the hidden units?

# %%
def rescale_unit(params: list, j: int, c: float) -> list:
    """An equal two-layer ReLU network with hidden unit j scaled by c > 0."""
    ### BEGIN SOLUTION
    (W1, b1), (W2, b2) = [(W.copy(), b.copy()) for W, b in params]
    W1[:, j], b1[j], W2[j] = c * W1[:, j], c * b1[j], W2[j] / c
    return [(W1, b1), (W2, b2)]
    ### END SOLUTION


# %% tags=["test"]
def test_rescale_unit():
    rng = np.random.default_rng(11)
    for _ in range(20):
        d, m, K = (int(k) for k in rng.integers(1, 7, size=3))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params([d, m, K], rng)]
        j, c, X = int(rng.integers(m)), rng.uniform(0.1, 9), rng.normal(size=(5, d))
        other = rescale_unit(params, j, c)
        assert np.allclose(other[0][0][:, j], c * params[0][0][:, j])
        assert np.allclose(forward(other, X)[-1], forward(params, X)[-1], atol=1e-10)
        assert np.allclose(forward(other, X)[1][:, j], c * forward(params, X)[1][:, j])


# %% [markdown] tags=["solution"]
# $\phi(cz) = c\phi(z)$ for $c \gt 0$, and the division takes the factor out again.
# A layer of $m$ units has $m!$ orders, all with the same function.
# So weights are not unique, a minimum of the loss never comes alone, and comparing two trained networks weight by weight tells you nothing.

# %% [markdown]
# ### Exercise 3 (apply): the larger of two
#
# Give weights of a two-layer ReLU network with three hidden units that computes $\max(x_1, x_2)$ exactly.
# Hint: $\max(x_1, x_2) = x_2 + \phi(x_1 - x_2)$, and $x_2$ itself must pass through a bend.

# %%
def max_net() -> list:
    """[(W1, b1), (W2, b2)] with three hidden units and f(x) = max(x1, x2)."""
    ### BEGIN SOLUTION
    W1 = np.array([[1.0, 0.0, 0.0], [-1.0, 1.0, -1.0]])
    return [(W1, np.zeros(3)), (np.array([[1.0], [1.0], [-1.0]]), np.zeros(1))]
    ### END SOLUTION


# %% tags=["test"]
def test_max_net():
    X = np.random.default_rng(12).normal(size=(200, 2)) * 10
    assert max_net()[0][0].shape == (2, 3)
    assert np.allclose(forward(max_net(), X)[-1][:, 0], X.max(axis=1), atol=1e-12)


# %% [markdown]
# ### Exercise 4 (apply): memorise anything
#
# Given $n \ge 2$ different inputs in $d$ dimensions and any numbers $y_i$, build a two-layer network with $n - 1$ units that returns every $y_i$.
# Hint: project on a random direction and use `interpolator`.
# Then ask how good it is on new data.

# %%
def memorise(X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list:
    """Network [d, n - 1, 1] with f(X[i]) = y[i], for X (n, d), y (n,)."""
    ### BEGIN SOLUTION
    direction = rng.normal(size=(X.shape[1], 1))
    at = (X @ direction)[:, 0]
    order = np.argsort(at)
    (W1, b1), last = interpolator(at[order], y[order].astype(float))
    return [(direction @ W1, b1), last]
    ### END SOLUTION


# %% tags=["test"]
def test_memorise():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d = int(rng.integers(2, 40)), int(rng.integers(1, 9))
        X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
        net = memorise(X, y, rng)
        assert [W.shape for W, _ in net] == [(d, n - 1), (n - 1, 1)]
        assert np.allclose(forward(net, X)[-1][:, 0], y, atol=1e-5)
    X = rng.normal(size=(400, 20))
    y = np.sign(X[:, 0])
    net = memorise(X[:200], y[:200], rng)
    new = np.sign(forward(net, X[200:])[-1][:, 0])
    assert (new == y[200:]).mean() < 0.65


# %% [markdown] tags=["solution"]
# A random direction keeps different points different, so the polygon through them exists.
# On new data it is close to a guess: between two neighbours in the projection it joins two images that have nothing to do with each other.
# A perfect fit of the training data is cheap, and no evidence of anything [@zhang2017understanding].

# %% [markdown]
# ### Exercise 5 (explore): parity with one hidden layer
#
# Parity of $n$ bits, "is the number of ones odd?", [needed a feature that looks at all points](perceptron.py#what-one-neuron-cannot-do).
# Build it with one hidden layer of $n$ ReLU units.
# How do the weights grow, and what do tents make of it when $n = 2^k$?

# %%
def parity_net(n: int) -> list:
    """Network [n, n, 1] that returns 1 for an odd number of ones and 0 for an even."""
    ### BEGIN SOLUTION
    (W1, b1), last = interpolator(np.arange(n + 1.0), np.arange(n + 1.0) % 2)
    return [(np.ones((n, 1)) @ W1, b1), last]  # the interpolated input is the sum
    ### END SOLUTION


# %% tags=["test"]
def test_parity_net():
    for n in range(1, 9):
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        net = parity_net(n)
        assert [W.shape for W, _ in net] == [(n, n), (n, 1)]
        assert np.allclose(forward(net, bits)[-1][:, 0], bits.sum(axis=1) % 2)
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    (enter, bend), *rest = tents(3)  # eight teeth halves over a sum of eight bits
    deep = [(np.ones((8, 1)) @ enter / 8, bend), *rest]
    assert np.allclose(forward(deep, bits)[-1][:, 0], bits.sum(axis=1) % 2)


# %% [markdown] tags=["solution"]
# All units see the sum of the bits, and the output weights are $1, -2, 2, -2, \dots$: they do not grow.
# The zigzag over $0, \dots, n$ has $n$ pieces, and for $n = 2^k$ it is $k$ tents of the sum divided by $n$: $2k$ units instead of $2^k$.
# The test checks $n = 8$.

# %% [markdown]
# ### Exercise 6 (explore): a gain for any bend
#
# For $z$ from a standard normal distribution, return the gain $g$ with which a layer of activation $\phi$ keeps the mean square: $g \, \mathbb{E}[\phi(z)^2] = 1$.
# What is it for $\lvert z \rvert$, and for the leaky ReLU, which returns $az$ for negative $z$?
# Why is the answer for tanh not the whole truth in a deep network?

# %%
def gain_for(phi) -> float:
    """1 / E[phi(z)^2] for standard normal z, by summing over a fine grid."""
    ### BEGIN SOLUTION
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-(z**2) / 2)
    return float(density.sum() / (phi(z) ** 2 * density).sum())
    ### END SOLUTION


# %% tags=["test"]
def test_gain_for():
    assert abs(gain_for(relu) - nn.init.calculate_gain("relu") ** 2) < 1e-6
    assert abs(gain_for(np.abs) - 1) < 1e-6
    for a in (0.01, 0.1, 0.3):
        want = nn.init.calculate_gain("leaky_relu", a) ** 2
        assert abs(gain_for(lambda z, a=a: np.where(z > 0, z, a * z)) - want) < 1e-6
    assert 2.5 < gain_for(np.tanh) < 2.6
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    for phi, slope, want in ((relu, z > 0, 1), (np.tanh, 1 - np.tanh(z) ** 2, 1.178)):
        assert abs(gain_for(phi) * (slope**2 * density).sum() - want) < 1e-3


# %% [markdown] tags=["solution"]
# $\lvert z \rvert$ loses nothing: $g = 1$. The leaky ReLU has $\mathbb{E}[\phi(z)^2] = (1 + a^2)/2$, so $g = 2 / (1 + a^2)$.
# ReLU and its relatives scale with their input, so one gain is right at every size.
# Tanh does not: near 2.5 at size 1, near 1 for small $z$. And the gain looks only forward. Going backward, a layer multiplies the mean square of the gradients by $g \, \mathbb{E}[\phi'(z)^2]$ (for equal widths): 1 for ReLU, but about 1.18 for tanh at size 1, so that gradients grow with depth.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Hidden layer | $h = \phi(xW + b)$ | `relu(X @ W + b)` | the MLP of every [GPT](../transformers/gpt.py) block |
# | Collapse | $W = W^{(1)} W^{(2)}$ | `collapse(params)` | [LoRA](../modern-llms/efficient-adaptation.py), merging layers |
# | Parameters | $\sum_l d_l (d_{l-1} + 1)$ | `count_params(sizes)` | sizing any model |
# | Universal approximation | error $\le \omega(\Delta)$, $\Delta = 1/n$ | `interpolator(knots, values)` | what one hidden layer can do |
# | Depth | $2^L$ pieces from $2L$ units | `tents(L)` | why depth may help |
# | Initial weights | $v = 2 / d_{in}$, or $2 / (d_{in} + d_{out})$ | `rng.normal(0, np.sqrt(2 / d_in), …)` | every training run |
# | First loss | $\log K$ | `mean_loss(params, X, y)` | the first check of a training run |
# | Two-layer gradient | $\partial L / \partial W^{(2)} = H^\top (p - \text{onehot}) / n$ | `gradients(params, X, y)` | [backpropagation](backpropagation.py) |
#
# **The essential insight:** linear layers add nothing to each other until something bends between them. Then each hidden unit folds the input space along its hyperplane, and the last layer needs only a line through what the folds have made. Width adds folds, depth folds what is folded; enough width approximates any continuous function on a bounded closed box, and no theorem here says that training will find it. What makes networks work is that the places of the folds are learned, from a start in which no two units are alike and no signal is too large.
