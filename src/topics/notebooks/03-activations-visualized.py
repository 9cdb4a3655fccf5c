# ---
# title: Activations visualized
# summary: What each activation does to signals, gradients and dead units.
# prerequisites:
#   - neural-networks/activation-functions: the functions, gains, dead units and gated units
#   - neural-networks/backpropagation: gradients through a stack of layers
#   - neural-networks/multilayer-networks: pieces of a ReLU network, initial weights
#   - math-foundations/probability: mean, variance, the normal distribution
# packages: [numpy, scipy, matplotlib, scikit-learn, torch]
# seconds: 70
# ---

# %% [markdown]
# # Activations visualized
#
# $$
# \boxed{
# \begin{aligned}
# \mathbb{E}[z'^2] &= d_{in} \, v \, \mathbb{E}[\phi(z)^2] \\
# \mathbb{E}[dz^2] &= d_{out} \, v \, \mathbb{E}[\phi'(z)^2] \, \mathbb{E}[dz'^2]
# \end{aligned}
# }
# $$
#
# The pre-activations $z$ of one layer pass the activation $\phi$ and become, through a matrix of
# $d_{in} \times d_{out}$ independent weights of mean 0 and variance $v$, the pre-activations $z'$ of the next.
# $dz$ and $dz'$ are the gradients of the loss with respect to them; $\mathbb{E}$ is the mean over the random weights.
# One number, $v$, has to keep both the signal and the gradient alive. Whether it can depends on $\phi$.

# %% [markdown]
# ## 1. Thirty layers that forget what they saw
#
# The theory is in [activation functions](../neural-networks/activation-functions.py), called the document below.
# Here you build a microscope for layers.
# Where you read **Predict**, write your answer down before you run the next cell.
#
# The data are 1,797 images of handwritten digits, 8 by 8 pixels [@alpaydin1998optical].
# Each pixel gets mean 0 over the training images, and all are scaled to mean square 1.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch  # only to check our results against
import torch.nn.functional as F
from scipy.special import ndtr  # Phi, the normal distribution function
from sklearn.datasets import load_digits, make_moons

digits = load_digits()
shuffled = np.random.default_rng(0).permutation(len(digits.target))
pixels = digits.data[shuffled] - digits.data[shuffled[:1000]].mean(axis=0)
pixels /= np.sqrt((pixels[:1000] ** 2).mean())
X_train, X_val, X_test = np.split(pixels, [1000, 1400])
y_train, y_val, y_test = np.split(digits.target[shuffled], [1000, 1400])
print("training", X_train.shape, " validation", X_val.shape, " test", X_test.shape)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), written so that exp cannot overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1 + e)


# %% [markdown]
# Send one image of each digit through a stack of untrained sigmoid layers, with weights of variance $1/d_{in}$.
# **Predict:** the ten images differ plainly. After how many layers can you no longer tell them apart?

# %%
rng = np.random.default_rng(0)
H = np.stack([X_train[y_train == k][0] for k in range(10)])  # (10, 64)
seen, spread = {0: H}, [np.sqrt(H.var(axis=0).mean() / (H**2).mean())]
for l in range(1, 31):
    H = sigmoid(H @ rng.normal(0, 1 / np.sqrt(H.shape[1]), (H.shape[1], 64)))
    seen[l] = H
    spread.append(np.sqrt(H.var(axis=0).mean() / (H**2).mean()))
lost = int(np.flatnonzero(np.array(spread) < 1e-7)[0])
for l in (0, 1, 3, 10, 20):
    print(f"layer {l:2}: the images differ by {spread[l]:.0e} of the signal")
assert H.shape == (10, 64) and spread[3] < 0.05 and lost < 15

# %% tags=["hide-input"]
#| label: fig-barcodes
#| fig-cap: One image of each digit (rows) as 40 units of five layers of one random sigmoid network see it.
#| fig-alt: At the input the ten rows differ. In layer 1 they still differ a little; from layer 3 on all ten rows are the same and the picture consists of vertical stripes.
fig, axes = plt.subplots(1, 5, figsize=(7.4, 2.0))
for ax, l in zip(axes, (0, 1, 2, 3, 30)):
    ax.imshow(seen[l][:, 12:52], aspect="auto", interpolation="nearest")
    ax.set(title=f"layer {l}" if l else "input", xticks=[], yticks=range(0, 10, 3))
    ax.grid(False)
axes[0].set_ylabel("digit")

# %% [markdown]
# **What the code shows:** the signal is alive, each unit says something between 0 and 1.
# But every image makes it say the same.
# From layer `{python} lost` on the difference is below one part in ten million, about the resolution of `float32`.
# In that precision a loss on top sees the same for every image and has nothing to learn from.
# Three things went wrong, and the lab takes them one at a time: the size of the weights, the slope of the
# sigmoid, and its mean.

# %% [markdown]
# ## 2. Twelve curves and their slopes
#
# Every activation here returns two arrays of the shape of $z$: the values and the slopes.
# [Backpropagation](../neural-networks/backpropagation.py) needs nothing else of it.

# %%
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
NAMES = ["sigmoid", "tanh", "softplus", "relu", "leaky_relu", "elu", "selu", "gelu",
         "gelu_tanh", "silu", "mish", "relu2"]
Pair = tuple[np.ndarray, np.ndarray]


def softplus(z: np.ndarray) -> np.ndarray:
    """log(1 + exp(z)), written so that exp cannot overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def saturating(name: str, z: np.ndarray) -> Pair:
    """Values and slopes of the smooth functions that level off on the left or both."""
    if name == "sigmoid":
        s = sigmoid(z)
        return s, s * (1 - s)
    if name == "tanh":
        t = np.tanh(z)
        return t, 1 - t**2
    return softplus(z), sigmoid(z)


def bent(name: str, z: np.ndarray, a: float) -> Pair:
    """Values and slopes of the functions with a piece for z > 0 and one for z <= 0."""
    right, left = np.maximum(z, 0), np.minimum(z, 0)
    if name == "relu2":
        return right**2, 2 * right
    if name in ("relu", "leaky_relu"):
        a = 0.0 if name == "relu" else a
        return right + a * left, np.where(z > 0, 1.0, a)
    scale, alpha = (SELU_SCALE, SELU_ALPHA) if name == "selu" else (1.0, 1.0)
    slopes = np.where(z > 0, 1.0, alpha * np.exp(left))
    return scale * (right + alpha * np.expm1(left)), scale * slopes


def self_gated(name: str, z: np.ndarray) -> Pair:
    """z g(z) and, by the product rule, g(z) + z g'(z)."""
    if name == "silu":
        g = sigmoid(z)
        dg = g * (1 - g)
    elif name == "mish":
        g = np.tanh(softplus(z))
        dg = (1 - g**2) * sigmoid(z)
    elif name == "gelu":
        g, dg = ndtr(z), np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    else:  # GELU with 2 Phi(z) - 1 replaced by the tanh of a cubic
        t = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
        g, dg = (1 + t) / 2, (1 - t**2) * (1 + 0.134145 * z**2) / np.sqrt(2 * np.pi)
    return z * g, g + z * dg


def activate(name: str, z: np.ndarray, a: float = 0.01) -> Pair:
    """phi(z) and phi'(z), entry by entry; a is the slope of leaky_relu on the left."""
    if name in ("sigmoid", "tanh", "softplus"):
        return saturating(name, z)
    if name in ("relu", "leaky_relu", "elu", "selu", "relu2"):
        return bent(name, z, a)
    return self_gated(name, z)


# %% [markdown]
# By hand, with Mish at $z = \log 3$: the softplus is $\log(1 + 3) = \log 4$, and
# $\tanh(\log 4) = (16 - 1)/(16 + 1) = 15/17$.
# The sigmoid is $3/4$, and $1 - (15/17)^2 = 64/289$. So
#
# $$
# \begin{aligned}
# \text{Mish}(\log 3) &= \tfrac{15}{17} \log 3 = 0.9694 \\
# \text{Mish}'(\log 3) &= \tfrac{15}{17} + \tfrac{64}{289} \cdot \tfrac{3}{4} \log 3 = 1.0648
# \end{aligned}
# $$

# %%
value, slope = activate("mish", np.array([[np.log(3)]]))
assert value.shape == slope.shape == (1, 1)
assert round(value.item(), 4) == 0.9694 and round(slope.item(), 4) == 1.0648
z = np.linspace(-4, 4, 321)
for name in NAMES:
    values, slopes = activate(name, z)
    t = torch.tensor(z, requires_grad=True)
    library = {"gelu_tanh": lambda t: F.gelu(t, approximate="tanh"),
               "relu2": lambda t: F.relu(t) ** 2}.get(name) or getattr(F, name)
    expected = library(t)
    expected.sum().backward()
    assert np.abs(values - expected.detach().numpy()).max() < 1e-12
    assert np.abs(slopes - t.grad.numpy()).max() < 1e-12
print("all", len(NAMES), "agree with PyTorch, values and slopes")

# %% tags=["test"]
def torch_activation(name: str, t: torch.Tensor, a: float = 0.01) -> torch.Tensor:
    """PyTorch's version of the activation `name`."""
    if name == "gelu_tanh":
        return F.gelu(t, approximate="tanh")
    if name == "relu2":
        return F.relu(t) ** 2
    if name == "leaky_relu":
        return F.leaky_relu(t, a)
    if name == "softplus":
        return F.softplus(t, threshold=40)  # the identity above: exact in float64
    return getattr(F, name)(t)


def check_activation(name: str, z: np.ndarray, a: float) -> None:
    t = torch.tensor(z, requires_grad=True)
    expected = torch_activation(name, t, a)
    expected.sum().backward()
    values, slopes = activate(name, z, a)
    assert values.shape == slopes.shape == z.shape
    np.testing.assert_allclose(values, expected.detach(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(slopes, t.grad, rtol=1e-11, atol=1e-13)


def test_activations_match_torch():
    rng = np.random.default_rng(1)
    for name in NAMES:
        for trial in range(24):
            shape = tuple(int(d) for d in rng.integers(0, 6, size=1 + trial % 3))
            z = rng.normal(size=shape) * [0.01, 1, 5, 30][trial % 4]
            check_activation(name, z, a=[0.01, 0.2, 0.5][trial % 3])
        edges = np.outer([1, -1], [0, 1e-300, 1e-8, 20, 38, 745, 1e3, 1e4])
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            check_activation(name, edges, a=0.01)
    np.testing.assert_allclose(activate("leaky_relu", np.array([-3.0]))[0], [-0.03])


def test_sigmoid_and_softplus_do_not_overflow():
    z = np.array([-1e4, -800.0, -2.0, 0.0, 2.0, 800.0, 1e4])
    t = torch.tensor(z)
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(sigmoid(z), torch.sigmoid(t), rtol=1e-12)
        np.testing.assert_allclose(softplus(z), F.softplus(t, threshold=40), rtol=1e-12)


# %% [markdown]
# Here are six *slopes* without names.
# **Predict:** which is which? On offer: sigmoid, tanh, ELU, GELU, softplus, squared ReLU.

# %% tags=["hide-input"]
#| label: fig-quiz
#| fig-cap: The slopes of six activations, in random order, for inputs from −4 to 4.
#| fig-alt: Two bumps, one of height 1 and one of height a quarter; an S from 0 to 1; an S that overshoots both below 0 and above 1; an exponential that reaches 1 at 0 and stays there; a ramp that is 0 on the left and rises without limit.
quiz = np.random.default_rng(4).permutation(["sigmoid", "tanh", "elu", "gelu",
                                             "softplus", "relu2"])
fig, axes = plt.subplots(1, 6, figsize=(7.6, 1.7), sharex=True, sharey=True)
for ax, letter, name in zip(axes, "ABCDEF", quiz):
    ax.axhline(0, color="0.6", lw=0.8)
    ax.plot(z, activate(name, z)[1])
    ax.set(title=letter, ylim=(-0.3, 2.1), xticks=[-4, 0, 4])
axes[0].set_ylabel("slope")

# %% tags=["hide-input"]
#| label: fig-zoo
#| fig-cap: Twelve activations (solid) and their slopes (dashed). Grey marks where the slope is smaller than 0.05 in size, so that almost no gradient passes.
#| fig-alt: The sigmoid and tanh are grey on both sides, the other ten on the left only; ReLU, leaky ReLU and squared ReLU on the whole left half; GELU, SiLU and Mish have a narrow stripe at their lowest point.
fig, axes = plt.subplots(3, 4, figsize=(7.4, 5.2), sharex=True, sharey=True)
for ax, name in zip(axes.ravel(), NAMES):
    values, slopes = activate(name, z)
    ax.fill_between(z, -2, 3, where=np.abs(slopes) < 0.05, color="0.88", lw=0)
    ax.plot(z, values)
    ax.plot(z, slopes, "--", lw=1.4)
    ax.set(title=name, ylim=(-1.4, 2.6), xticks=[-4, 0, 4])

# %% [markdown]
# **What the code shows:** where it is grey, hardly any gradient passes.
# The leaky ReLU is grey as well: a gradient that passes its slope of 0.01 twice is
# ten thousand times smaller (Section 7 shows what that is worth).
# GELU, SiLU and Mish dip below zero, so their slopes change sign; on the right each slope exceeds 1 a little.
# Squared ReLU alone has slopes without a limit.
# The slopes in @fig-quiz belonged, from A to F, to `{python} ", ".join(quiz)`.

# %% [markdown]
# ### Exercise 1 (apply): a cheap SiLU
#
# MobileNetV3 [@howard2019searching] replaces the sigmoid in SiLU by straight lines: the gate is
# $g(z) = \min(\max(z + 3, 0), 6) / 6$, and hard swish is $z \, g(z)$. Return values and slopes.
# Where the gate has a kink, any slope will do.

# %%
def hard_swish(z: np.ndarray) -> Pair:
    """Values and slopes of z min(max(z + 3, 0), 6) / 6."""
    ### BEGIN SOLUTION
    g = np.clip(z + 3, 0, 6) / 6
    return z * g, g + z * np.where(np.abs(z) < 3, 1 / 6, 0.0)
    ### END SOLUTION


# %% tags=["test"]
def test_hard_swish():
    rng = np.random.default_rng(2)
    for trial in range(24):
        z = rng.normal(size=(trial % 4, 5)) * [1, 4, 100][trial % 3]
        t = torch.tensor(z, requires_grad=True)
        expected = F.hardswish(t)
        expected.sum().backward()
        values, slopes = hard_swish(z)
        np.testing.assert_allclose(values, expected.detach(), atol=1e-12)
        np.testing.assert_allclose(slopes, t.grad, atol=1e-12)


# %% [markdown]
# ## 3. Gates with weights of their own
#
# A gated unit has two pre-activations, a gate $g$ and a value $u$, and returns $\phi(g) \, u$.
# [The document](../neural-networks/activation-functions.py#gated-units) derives its gradient with two matrices.
# Here is a shorter way: let *one* matrix make $z = (g, u)$, side by side, twice as wide as the output $h$.
# The product rule then has the old form,
#
# $$
# h = \phi(g) \odot u, \qquad
# dz = (dh, dh) \odot \left( u \odot \phi'(g), \, \phi(g) \right)
# $$
#
# **What this means:** a gated unit is an activation that halves the width. Its "slopes" are as wide as $z$, and
# backward the gradient $dh$ is used twice. SwiGLU takes SiLU for $\phi$, GEGLU takes GELU [@shazeer2020glu].

# %%
GATES = {"swiglu": "silu", "geglu": "gelu"}


def hidden(name: str, z: np.ndarray, a: float = 0.01) -> Pair:
    """h and the slopes; a gated h (..., m) comes from z (..., 2 m)."""
    if name not in GATES:
        return activate(name, z, a)
    g, u = np.split(z, 2, axis=-1)
    phi, slope = activate(GATES[name], g)
    return phi * u, np.concatenate([u * slope, phi], axis=-1)


def hidden_backward(dh: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """dz from dh and the slopes that `hidden` returned; dh is repeated for gates."""
    return np.concatenate([dh] * (slopes.shape[-1] // dh.shape[-1]), axis=-1) * slopes


# %% tags=["test"]
def test_gated_units_match_torch():
    rng = np.random.default_rng(3)
    for trial in range(24):
        name = ["swiglu", "geglu"][trial % 2]
        n, m = trial % 5, int(rng.integers(1, 7))
        z = rng.normal(size=(n, 2 * m)) * [1, 20][trial % 3 == 0]
        dh = rng.normal(size=(n, m))
        t = torch.tensor(z, requires_grad=True)
        expected = torch_activation(GATES[name], t[:, :m]) * t[:, m:]
        expected.backward(torch.tensor(dh))
        h, slopes = hidden(name, z)
        assert h.shape == (n, m) and slopes.shape == (n, 2 * m)
        np.testing.assert_allclose(h, expected.detach(), rtol=1e-11, atol=1e-12)
        dz = hidden_backward(dh, slopes)
        np.testing.assert_allclose(dz, t.grad, rtol=1e-11, atol=1e-12)
    z, dh = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    h, slopes = hidden("tanh", z)
    np.testing.assert_array_equal(hidden_backward(dh, slopes), dh * slopes)
    np.testing.assert_array_equal(
        hidden("leaky_relu", z, 0.3)[1], np.where(z > 0, 1, 0.3)
    )


# %% [markdown]
# A gated unit is a surface over the plane of $g$ and $u$.
# **Predict:** where is SwiGLU zero, and where is its slope in $g$ largest? How does it differ from the product
# $g u$?

# %%
side = np.linspace(-4, 4, 161)
g, u = np.meshgrid(side, side)
h, slopes = hidden("swiglu", np.stack([g, u], axis=-1))
surfaces = {"g u": g * u, "SwiGLU": h[..., 0], "slope in g": slopes[..., 0],
            "slope in u": slopes[..., 1]}

# %% tags=["hide-input"]
#| label: fig-gates
#| fig-cap: A gated unit over gate and value. From left to right, the plain product, SwiGLU, its slope in the gate, its slope in the value. Lines are contours at the same levels in all panels; the heavy line is zero.
#| fig-alt: The product is a saddle. SwiGLU looks like the product on the right half and is nearly flat on the left. Its slope in the gate grows with the value without limit; its slope in the value depends on the gate alone and is the SiLU.
fig, axes = plt.subplots(1, 4, figsize=(7.6, 2.4), sharey=True)
for ax, (name, values) in zip(axes, surfaces.items()):
    image = ax.pcolormesh(g, u, values, cmap="RdBu_r", vmin=-8, vmax=8, rasterized=True)
    ax.contour(g, u, values, [-4, -2, -1, 1, 2, 4], colors="black", linewidths=0.6)
    ax.contour(g, u, values, [0], colors="black", linewidths=1.8)
    ax.set(title=name, xlabel="gate $g$", aspect="equal")
    ax.grid(False)
axes[0].set_ylabel("value $u$")
fig.colorbar(image, ax=axes, shrink=0.75)

# %% [markdown]
# **What the code shows:** for an open gate SwiGLU is nearly the product $g u$, for a closed one nearly nothing.
# The slope in $g$ is proportional to $u$, so it has no limit.
# Of Section 2 only squared ReLU does that. Remember it when the race in Section 9 tunes its rates.

# %% [markdown]
# ## 4. One derivation, three starts
#
# Now the microscope: forward and backward passes that keep everything.
#
# | quantity | code | shape |
# |---|---|---|
# | input of layer $l$ (`h[0]` is the batch) | `h[l]` | $(n, d_l)$ |
# | weights and bias | `params[l]` | $(d_l, d_{l+1})$ and $(d_{l+1})$ |
# | pre-activations, slopes, gradients | `z[l]`, `slopes[l]`, `dz[l]` | $(n, d_{l+1})$ |
# | the same in a gated layer | | twice as many columns |

# %%
def weight_variance(start: str | float, d_in: int, d_out: int) -> float:
    """The variance v of a named start; a number is a gain, v = gain^2 / d_in."""
    named = {"lecun": 1 / d_in, "glorot": 2 / (d_in + d_out), "he": 2 / d_in}
    return named[start] if isinstance(start, str) else start**2 / d_in


def init_params(sizes: list[int], start: str | float, rng: np.random.Generator,
                gated: bool = False, bias: float = 0.0) -> list:
    """Pairs (W, b) for layers of these sizes; the top layer has gain 1 and bias 0."""
    params = []
    for d_in, d_out in zip(sizes[:-2], sizes[1:-1]):
        std = np.sqrt(weight_variance(start, d_in, d_out))
        columns = 2 * d_out if gated else d_out
        params.append((rng.normal(0, std, (d_in, columns)), np.full(columns, bias)))
    d_in, d_out = sizes[-2:]
    params.append((rng.normal(0, 1 / np.sqrt(d_in), (d_in, d_out)), np.zeros(d_out)))
    return params


def forward(params: list, X: np.ndarray, name: str, a: float = 0.01) -> tuple:
    """Lists z, h, slopes; z[-1] holds the scores, which get no activation."""
    z, h, slopes = [], [X], []
    for l, (W, b) in enumerate(params):
        z.append(h[l] @ W + b)
        if l < len(params) - 1:
            values, slope = hidden(name, z[l], a)
            h.append(values)
            slopes.append(slope)
    return z, h, slopes


def backward(params: list, h: list, slopes: list, d_scores: np.ndarray) -> tuple:
    """[(dW, db), ...] and dz for every layer, from the gradient of the scores."""
    dz = [d_scores]
    for l in range(len(params) - 1, 0, -1):
        dz.insert(0, hidden_backward(dz[0] @ params[l][0].T, slopes[l - 1]))
    return [(H.T @ d, d.sum(axis=0)) for H, d in zip(h, dz)], dz


# %% tags=["test"]
def test_network_gradients_match_autograd():
    rng = np.random.default_rng(4)
    for trial in range(28):
        name = (NAMES + ["swiglu", "geglu"])[trial % 14]
        sizes = [int(d) for d in rng.permutation(np.arange(2, 9))[: 3 + trial % 3]]
        params = init_params(sizes, "he", rng, gated=name in GATES)
        params = [(W, rng.normal(size=b.shape)) for W, b in params]
        X, d_scores = (rng.normal(size=(trial % 5, d)) for d in (sizes[0], sizes[-1]))
        leaves = [
            [torch.tensor(p, requires_grad=True) for p in layer] for layer in params
        ]
        H, pre = torch.tensor(X), []
        for W, b in leaves:
            pre.append(H @ W + b)
            pre[-1].retain_grad()
            if name in GATES:
                gate, u = pre[-1].tensor_split(2, dim=1)
                if len(pre) < len(params):
                    H = torch_activation(GATES[name], gate) * u
            else:
                H = torch_activation(name, pre[-1], 0.2)
        pre[-1].backward(torch.tensor(d_scores))
        z, h, slopes = forward(params, X, name, 0.2)
        grads, dz = backward(params, h, slopes, d_scores)
        assert len(z) == len(dz) == len(params) == len(h) == len(slopes) + 1
        default, same = (forward(params, X, name, *a)[0][-1] for a in ((), (0.01,)))
        np.testing.assert_array_equal(default, same)
        for l, (W, b) in enumerate(leaves):
            np.testing.assert_allclose(z[l], pre[l].detach(), rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(dz[l], pre[l].grad, rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(grads[l][0], W.grad, rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(grads[l][1], b.grad, rtol=1e-9, atol=1e-10)


def test_starts_match_torch():
    rng, init = np.random.default_rng(5), torch.nn.init
    d_in, d_out = 700, 400
    W = torch.empty(d_out, d_in)  # nn.Linear stores the transpose
    torch.manual_seed(0)
    for start, fill in [
        ("glorot", lambda: init.xavier_normal_(W)),
        ("he", lambda: init.kaiming_normal_(W, nonlinearity="relu")),
        ("lecun", lambda: init.kaiming_normal_(W, nonlinearity="linear")),
    ]:
        fill()
        expected = W.var().item()
        assert abs(weight_variance(start, d_in, d_out) / expected - 1) < 0.02
        ours = init_params([d_in, d_out, 300], start, rng, bias=-0.5)
        assert abs(ours[0][0].var() / expected - 1) < 0.02
        assert abs(ours[1][0].var() * d_out - 1) < 0.02
        assert (ours[0][1] == -0.5).all() and (ours[1][1] == 0).all()
    assert weight_variance(3.0, 10, 7) == 0.9
    gated = init_params([6, 5, 4, 3], 1.0, rng, gated=True)
    assert [W.shape for W, _ in gated] == [(6, 10), (5, 8), (4, 3)]
    assert [b.shape for _, b in gated] == [(10,), (8,), (3,)]


# %% [markdown]
# ### The derivation
#
# Forward: $z'_k = \sum_j h_j W_{jk}$ with $h = \phi(z)$. Square it and take the mean over the weights.
# The cross terms vanish, because different weights are independent with mean 0, and $d_{in}$ terms
# $v \, h_j^2$ remain: the left equation of the box.
#
# Backward: $dh_j = \sum_k dz'_k W_{jk}$ is the same kind of sum, with $d_{out}$ terms, and $dz = dh \odot \phi'(z)$.
# Take $dz'$, the weights and $\phi'(z)$ as independent, an approximation that is good in wide layers, and you have the right equation.
#
# Let $c$ and $c'$ be what the activation leaves of a mean square: $\mathbb{E}[\phi(z)^2] = c \, \mathbb{E}[z^2]$ and
# $c' = \mathbb{E}[\phi'(z)^2]$. For ReLU both are the same for every size of $z$, for most others not.
# Signals keep their size if $d_{in} v c = 1$, gradients if $d_{out} v c' = 1$. Three published starts follow:
#
# | start | assumes | demands | $v$ |
# |---|---|---|---|
# | LeCun [@lecun2012efficient] | $c = 1$: a tanh scaled to a gain of about 1 | signals | $1 / d_{in}$ |
# | Glorot [@glorot2010understanding] | $c = c' = 1$ | both, and takes the mean of $d_{in}$ and $d_{out}$ | $2 / (d_{in} + d_{out})$ |
# | He [@he2015delving] | $c = c' = 1/2$: ReLU | signals (or gradients, with $d_{out}$) | $2 / d_{in}$ |
#
# By hand: let four pre-activations be $-2, -1, 1, 2$.
# Their mean square is $(4 + 1 + 1 + 4)/4 = 2.5$.
# ReLU leaves $0, 0, 1, 2$ with mean square $5/4 = 1.25$: exactly half, so $c = 1/2$. Half of the slopes are 1, so $c' = 1/2$.
# But the mean is no longer 0. It is $3/4$, and its square makes up $0.5625 / 1.25 = 45$ per cent of the mean square (Section 5).

# %%
four = np.array([-2.0, -1.0, 1.0, 2.0])
h_four, slopes_four = activate("relu", four)
c, c_prime = (h_four**2).mean() / (four**2).mean(), (slopes_four**2).mean()
mean_share = h_four.mean() ** 2 / (h_four**2).mean()
assert (c, c_prime, h_four.mean(), mean_share) == (0.5, 0.5, 0.75, 0.45)
print(f"c = {c}, c' = {c_prime}, share of the mean: {mean_share:.0%}")

# %% [markdown]
# ### Knob 1: the size of the weights
#
# Thirty tanh layers, the same random numbers, three gains ($v = \text{gain}^2 / d_{in}$).
# **Predict:** sketch the histogram of the values in layer 30 for each.

# %%
GAINS, ROWS = (0.7, 1.0, 2.5), (1, 2, 5, 10, 20, 30)
views, edge_share, last_size = {}, {}, {}
for gain in GAINS:
    params = init_params([64] + [200] * 31, gain, np.random.default_rng(1))
    views[gain] = forward(params, X_train[:300], "tanh")[1]
    edge_share[gain] = (np.abs(views[gain][30]) > 0.95).mean()
    last_size[gain] = np.sqrt((views[gain][30] ** 2).mean())
assert last_size[0.7] < 1e-4 and edge_share[2.5] > 0.3

# %% tags=["hide-input"]
#| label: fig-histograms
#| fig-cap: Histograms of the values in six of the 30 layers of one random tanh network at three gains. Each row is scaled to its own height.
#| fig-alt: At gain 0.7 the histograms shrink to a spike at zero. At gain 1 they narrow slowly. At gain 2.5 they pile up at minus one and one from the second layer on and stay so.
fig, axes = plt.subplots(1, 3, figsize=(7.4, 3.4), sharey=True)
for ax, gain in zip(axes, GAINS):
    for row, l in enumerate(ROWS):
        counts, edges = np.histogram(views[gain][l], bins=31, range=(-1.02, 1.02))
        ax.fill_between((edges[1:] + edges[:-1]) / 2, -row,
                        0.9 * counts / counts.max() - row, step="mid",
                        color="C0", lw=0.6)
    ax.set(title=f"gain {gain}", xlabel="value", xticks=[-1, 0, 1])
axes[0].set_yticks(-np.arange(len(ROWS)), [f"layer {l}" for l in ROWS])

# %% [markdown]
# **What the code shows:** at 0.7 the values of layer 30 have size `{python} f"{last_size[0.7]:.0e}"`;
# at 1, size `{python} f"{last_size[1.0]:.2f}"` and falling slowly, because tanh takes a little more than the rule assumes ($c$ is just below 1);
# at 2.5, `{python} f"{edge_share[2.5]:.0%}"` of them lie beyond 0.95 in size, where the slope is below a tenth.
#
# ### Knob 2: the shape of the network
#
# The three starts differ only if $d_{in} \ne d_{out}$. So let the widths shrink from 256 to 32 over 30 layers.
# **Predict:** at LeCun's start each layer of a tanh network multiplies the gradient's mean square by $d_{out}/d_{in} \lt 1$.
# Does the gradient vanish exponentially with depth?

# %%
FUNNEL = [int(w) for w in np.geomspace(256, 32, 31)] + [10]


def sizes_by_depth(name: str, start: str | float, widths: list, seed: int) -> tuple:
    """Root mean squares of z and of dz in each hidden layer, for random inputs."""
    rng = np.random.default_rng(seed)
    params = init_params(widths, start, rng)
    z, h, slopes = forward(params, rng.normal(size=(64, widths[0])), name)
    _, dz = backward(params, h, slopes, rng.normal(size=(64, widths[-1])))
    root = [
        np.array([np.sqrt((a**2).mean()) for a in arrays[:-1]]) for arrays in (z, dz)
    ]
    return root[0], root[1] / root[1][-1]


STARTS = {"lecun": "-", "glorot": "--", "he": ":"}
funnel = {}
for name in ("tanh", "relu"):
    for start in STARTS:
        runs = [sizes_by_depth(name, start, FUNNEL, seed) for seed in range(9)]
        funnel[name, start] = [np.median(r, axis=0) for r in zip(*runs)]
shrunk = funnel["relu", "he"][1][0]

# %% tags=["hide-input"]
#| label: fig-funnel
#| fig-cap: Sizes (root mean squares) of pre-activations and gradients in a funnel of 30 layers, from width 256 to 32, for three starts. Medians of nine networks; gradients are relative to the top layer.
#| fig-alt: For ReLU only He stays level in both directions; LeCun and Glorot lose more than four orders of magnitude. For tanh all three stay within about one order of magnitude, and He is the most level in both directions.
fig, axes = plt.subplots(2, 2, figsize=(7.2, 4.6), sharex=True, sharey=True)
for column, name in zip(axes.T, ("tanh", "relu")):
    for start, line in STARTS.items():
        for ax, curve in zip(column, funnel[name, start]):
            ax.semilogy(range(1, 31), curve, line, label=start)
    column[0].set(title=name, ylabel="size of z" if name == "tanh" else None)
    column[1].set(xlabel="layer", ylabel="size of dz" if name == "tanh" else None)
axes[0, 1].legend()
axes[0, 0].set_ylim(1e-5, 30)

# %% [markdown]
# **What the code shows:** no. The factors $d_{out}/d_{in}$ multiply to $d_{last} / d_{first}$, whatever the depth [@he2015delving].
# At He's start the first gradient of the ReLU network is `{python} f"{shrunk:.2f}"` times as large as the last;
# $\sqrt{d_{last} / d_{first}}$ is `{python} f"{(FUNNEL[30] / FUNNEL[1]) ** 0.5:.2f}"`.
# What does grow with depth is the error in $c$ or $c'$: ReLU at LeCun's start halves the mean square in every layer, and
# tanh's $c'$, a little below 1, leaves `{python} f"{funnel['tanh', 'lecun'][1][0]:.2f}"`.
#
# ### Knob 3: the gain, for every activation
#
# Now scan the gain in a network of constant width.
# The theory (lines) iterates the box for normal $z$; the crosses are measured networks.
# **Predict:** at which gain does each curve cross zero? For which activations do signal and gradient cross at the same gain?

# %%
u_grid = (np.arange(-4000, 4000) + 0.5) / 400  # standard normal u, without u = 0
u_weight = np.exp(-(u_grid**2) / 2) / np.exp(-(u_grid**2) / 2).sum()


def mean_squares(name: str, q: float) -> tuple[float, float]:
    """E[phi(z)^2] and E[phi'(z)^2] for normal z of mean 0 and variance q."""
    values, slopes = activate(name, np.sqrt(q) * u_grid)
    return float(values**2 @ u_weight), float(slopes**2 @ u_weight)


def predicted(name: str, gain: float, q: float, layers: int) -> tuple[float, float]:
    """Factors by which z grows and dz shrinks or grows over `layers` layers."""
    first, back = q, 1.0
    for _ in range(layers):
        keep, keep_back = mean_squares(name, q)
        q, back = gain**2 * keep, back * gain**2 * keep_back
        if not 1e-30 < q < 1e30:
            break
    return np.sqrt(q / first), np.sqrt(back)


SCANNED = {
    "sigmoid": "-",
    "tanh": "--",
    "relu": "-.",
    "gelu": ":",
    "selu": (0, (6, 1, 1, 1)),
}
scan = np.geomspace(0.4, 4, 41)
far, theories, crosses = [], {}, {}
for name in SCANNED:
    theory = np.log10([predicted(name, gain, gain**2, 29) for gain in scan])
    measured = []
    for gain in scan[::4]:
        forth, back = sizes_by_depth(name, gain, [150] * 31 + [10], 3)
        measured.append(np.log10([forth[-1] / forth[0], back[0]]))
    theories[name], crosses[name] = theory, np.array(measured)
    inside = np.abs(theory[::4]) < 6
    far.append(np.abs(crosses[name] - theory[::4])[inside].max())
tanh_gain = np.interp(0, theories["tanh"][:, 1], scan)
selu_gains = [np.interp(0, theories["selu"][:, k], scan) for k in (0, 1)]
assert max(far) < 0.4 and abs(selu_gains[0] - 1) < 0.03
assert abs(np.interp(0, theories["relu"][:, 0], scan) - 2**0.5) < 0.01

# %% tags=["hide-input"]
#| label: fig-scan
#| fig-cap: Change of size over 30 layers, in powers of ten, against the gain. Left, signals; right, gradients. Lines are the prediction, crosses single networks of width 150.
#| fig-alt: ReLU's straight lines cross zero at root two in both panels. Tanh and sigmoid signals flatten out at high gains. GELU is steepest at its crossing. The sigmoid's signal is level everywhere and its gradient is below the picture until gain 4. The crosses follow the lines.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.5), sharex=True)
for i, (name, line) in enumerate(SCANNED.items()):
    for k, ax in enumerate(axes):
        ax.semilogx(
            scan, theories[name][:, k], linestyle=line, color=f"C{i}", label=name
        )
        ax.plot(scan[::4], crosses[name][:, k], "x", color=f"C{i}", ms=5)
for ax, title in zip(axes, ("signal, layer 1 to 30", "gradient, layer 30 to 1")):
    ax.axhline(0, color="0.5", lw=0.8)
    ax.set(title=title, xlabel="gain", ylim=(-6, 6))
    ax.set_xticks([0.5, 1, 2, 4], [0.5, 1, 2, 4])
    ax.minorticks_off()
axes[0].set_ylabel("powers of ten")
axes[0].legend(fontsize=8, loc="upper left")


# %%
def signal_gain(name: str) -> float:
    """The gain that keeps mean squares of 1: 1 / sqrt(E[phi(u)^2])."""
    return mean_squares(name, 1.0)[0] ** -0.5


# %% tags=["hide-input"]
#| label: fig-balance
#| fig-cap: The map from one layer's mean square to the next (solid) and stairs that follow it from two starts. Where the curve crosses the dotted diagonal the size is kept. The gain is 1.5 for tanh and keeps 1 for the others.
#| fig-alt: Tanh's curve crosses the diagonal from above and both stairs walk to the crossing. ReLU's curve is the diagonal itself and the stairs stay where they start. GELU's curve crosses at 1 from below; one stair walks to zero and the other out of the picture.
q_grid = np.linspace(0, 2, 41)
fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.6), sharex=True, sharey=True)
for ax, (name, gain) in zip(axes, {"tanh": 1.5, "relu": signal_gain("relu"),
                                   "gelu": signal_gain("gelu")}.items()):
    ax.plot(q_grid, [gain**2 * mean_squares(name, q)[0] for q in q_grid])
    ax.plot([0, 2], [0, 2], ":", color="0.3", lw=1)
    for q, line in ((0.75, "-"), (1.25, "--")):
        stairs = [(q, q)]
        for _ in range(12):
            new = gain**2 * mean_squares(name, q)[0]
            stairs += [(q, new), (new, new)]
            q = new
        ax.plot(*np.array(stairs).T, line, color="C1", lw=1.2)
        ax.plot(*stairs[0], "o", color="C1", ms=4)
    ax.set(title=name, xlabel="mean square of z", xlim=(0, 2), ylim=(0, 2))
axes[0].set_ylabel("in the next layer")

# %% [markdown]
# **What the code shows:** theory and networks agree to within a factor of `{python} f"{10 ** max(far):.1f}"` after 30 layers.
# ReLU crosses zero at $\sqrt{2}$ in both panels: one gain serves both directions, and the line is steep,
# because doubling the gain multiplies 29 layers by $2^{29}$.
# SELU keeps signals at gain `{python} f"{selu_gains[0]:.2f}"` and gradients at `{python} f"{selu_gains[1]:.2f}"`: close, not equal.
# Tanh cannot explode forward; backward it does in these layers above gain `{python} f"{tanh_gain:.2f}"`.
# The sigmoid's signal looks healthy at every gain, and its gradient is lost at nearly all of them.
#
# @fig-balance says why GELU is steepest at its crossing.
# Its balance at 1 tips over, ReLU has no preference, and tanh pulls every start to one size.
# [Normalisation](../neural-networks/regularization.py#keep-the-signals-in-range) ends the trouble: it resets the size in every layer.

# %% tags=["test"]
def test_mean_squares_and_prediction():
    rng = np.random.default_rng(6)
    for name in NAMES:
        for q in (0.3, 1.0, 2.5):
            u = rng.normal(size=200_000) * np.sqrt(q)
            for expected, array in zip(mean_squares(name, q), activate(name, u)):
                assert abs((array**2).mean() / expected - 1) < 0.03, name
    gain = torch.nn.init.calculate_gain
    assert abs(signal_gain("relu") - gain("relu")) < 1e-5
    assert abs(signal_gain("leaky_relu") - gain("leaky_relu", 0.01)) < 1e-5
    assert abs(signal_gain("selu") - 1) < 1e-5
    for gain in (1.0, 1.6):
        forth, back = predicted("relu", gain, 0.7, 8)
        np.testing.assert_allclose([forth, back], (gain**2 / 2) ** 4, rtol=1e-5)
    forth, back = predicted("tanh", 1.3, 0.5, 1)
    keep, keep_back = mean_squares("tanh", 0.5)
    np.testing.assert_allclose(forth, np.sqrt(1.69 * keep / 0.5))
    np.testing.assert_allclose(back, np.sqrt(1.69 * keep_back))


def test_sizes_by_depth():
    forth, back = sizes_by_depth("relu", "he", [300] * 9 + [5], 0)
    assert forth.shape == back.shape == (8,) and back[-1] == 1
    assert 0.5 < forth[-1] / forth[0] < 2 and 0.5 < back[0] < 2
    forth, back = sizes_by_depth("relu", 1.0, [300] * 9 + [5], 0)
    assert abs(np.log2(forth[-1] / forth[0]) + 3.5) < 1
    assert abs(np.log2(back[0]) + 3.5) < 1


# %% [markdown]
# ### Exercise 2 (check): what PyTorch's default does
#
# `nn.Linear` draws its weights evenly from $-1/\sqrt{d_{in}}$ to $1/\sqrt{d_{in}}$.
# Forget the biases. By which factor does the mean square of $z$ change over the given number of wide ReLU layers?

# %%
def default_factor(layers: int) -> float:
    """Mean square of z after `layers` more ReLU layers, over that before."""
    ### BEGIN SOLUTION
    return (1 / 3 * 1 / 2) ** layers  # evenly from -s to s: the variance is s^2 / 3
    ### END SOLUTION


# %% tags=["test"]
def test_default_factor():
    torch.manual_seed(1)
    W = torch.nn.Linear(500, 400).weight
    assert abs(W.var().item() * 500 * 0.5 / default_factor(1) - 1) < 0.03
    h = torch.relu(torch.randn(50, 500))
    for _ in range(6):
        h = torch.relu(torch.nn.Linear(500, 500, bias=False)(h))
    measured = (h**2).mean().item() / 0.5
    assert 0.5 < measured / default_factor(6) < 2


# %% [markdown]
# ## 5. The mean that ReLU adds
#
# In Section 1 every image ended as the same picture.
# Measure it by the *cosine* between the layer's views of two images, their dot product over the product of
# their lengths: 1 if they point the same way, 0 if they have nothing in common.
#
# For a standard normal $z$ the mean of ReLU is $1/\sqrt{2\pi}$, and its square is a share $1/\pi$ of the mean square, about a third.
# All images have that mean in common.
# So two images that had nothing in common ($\cos = 0$) leave one ReLU layer with cosine $1/\pi$. For any angle
# $\theta$ between the pre-activations [@cho2009kernel],
#
# $$
# \cos \theta' = \frac{\sin \theta + (\pi - \theta) \cos \theta}{\pi}
# $$
#
# **What this means:** the right side is above $\cos \theta$ for every $\theta \gt 0$, and equal at 0.
# Layer after layer, angles only shrink.
#
# **Predict** five curves over 30 layers, each at a gain that keeps its signal: sigmoid, GELU, ReLU, SELU, tanh.
# The sixth is a control: ReLU again, but from each image's values their mean over the 200 units is subtracted.

# %%
def relu_cosine(c: np.ndarray) -> np.ndarray:
    """Cosine of two ReLU layers whose pre-activations have cosine c."""
    c = np.clip(c, -1, 1)
    return (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / np.pi


def cosines_by_depth(name: str, gain: float, X: np.ndarray, pairs: np.ndarray,
                     seed: int, depth: int = 30, centre: bool = False) -> np.ndarray:
    """Mean cosine of the pairs (n, n) of rows of h, for layers 0 to `depth`."""
    rng, H, found = np.random.default_rng(seed), X, []
    for l in range(depth + 1):
        unit = H / np.linalg.norm(H, axis=1, keepdims=True)
        found.append((unit @ unit.T)[pairs].mean())
        W = rng.normal(0, gain / np.sqrt(H.shape[1]), (H.shape[1], 200))
        H = activate(name, H @ W)[0]
        if centre:  # each image for itself: subtract its mean over the units
            H = H - H.mean(axis=1, keepdims=True)
    return np.array(found)


CASES = {"sigmoid": ("sigmoid", signal_gain("sigmoid"), ":"),
         "gelu": ("gelu", signal_gain("gelu"), (0, (6, 1, 1, 1))),
         "relu": ("relu", signal_gain("relu"), "-"),
         "selu": ("selu", 1.0, "-."), "tanh": ("tanh", 1.3, "--"),
         "relu, centred": ("relu", signal_gain("relu"), (0, (1, 1)))}
X_pairs, same = X_test[:120], y_test[:120, None] == y_test[None, :120]
np.fill_diagonal(same, False)
different = y_test[:120, None] != y_test[None, :120]
cosine, cosine_same = {}, {}
print(" " * 14, "different digits, layers 1, 5, 30   same digit, layer 30")
for label, (name, gain, _) in CASES.items():
    cosine[label], cosine_same[label] = (
        np.array([cosines_by_depth(name, gain, X_pairs, pairs, seed,
                                   centre="centred" in label) for seed in range(5)])
        for pairs in (different, same))
    print(f"{label:14}", *(f"{cosine[label][:, l].mean():9.2f}" for l in (1, 5, 30)),
          f"{cosine_same[label][:, 30].mean():14.2f}")
apart = [cosine[k][:, 30].mean() for k in ("selu", "tanh", "relu, centred")]
assert cosine["relu"][:, 30].mean() > 0.9 and max(apart) < 0.1

# %% tags=["hide-input"]
#| label: fig-cosine
#| fig-cap: Cosine between the layers' views of two images of different digits, against depth; means over all pairs and five networks of width 200, bands span the networks. Dots are the formula for ReLU.
#| fig-alt: The sigmoid reaches 1 within three layers and ReLU climbs to almost 1 within thirty layers, on the dots of the formula. GELU climbs a little more slowly. Tanh and SELU stay near zero, and so does ReLU when its mean is subtracted.
fig, ax = plt.subplots(figsize=(6.8, 3.4))
for i, (label, (_, _, line)) in enumerate(CASES.items()):
    runs = cosine[label]
    ax.plot(runs.mean(axis=0), linestyle=line, color=f"C{i}", label=label)
    ax.fill_between(
        range(31), runs.min(axis=0), runs.max(axis=0), alpha=0.2, color=f"C{i}", lw=0
    )
dots = [cosine["relu"][:, 1].mean()]
for _ in range(29):
    dots.append(relu_cosine(dots[-1]))
ax.plot(range(1, 31), dots, "o", color="C2", ms=3)
ax.set(xlabel="layer", ylabel="cosine between two images", ylim=(-0.1, 1.05))
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["test"]
def test_relu_cosine():
    rng = np.random.default_rng(7)
    for c in (-1.0, -0.6, 0.0, 0.3, 0.8, 1.0):
        a, b = rng.normal(size=(2, 400_000))
        b = c * a + np.sqrt(1 - c**2) * b
        h, g = (torch.relu(torch.tensor(v)).numpy() for v in (a, b))
        assert abs((h * g).mean() / 0.5 - relu_cosine(np.array(c))) < 0.01
    assert abs(relu_cosine(np.array(0.0)) - 1 / np.pi) < 1e-12
    assert relu_cosine(np.array(1 + 1e-15)) == 1


def test_cosines_by_depth():
    X, pairs = np.eye(3, 5) + 1.0, np.zeros((3, 3), dtype=bool)
    pairs[0, 1:] = True
    for name, centre in (("relu", False), ("tanh", False), ("relu", True)):
        found = cosines_by_depth(name, 1.4, X, pairs, 0, depth=2, centre=centre)
        rng, h = np.random.default_rng(0), torch.tensor(X)
        for l in range(3):
            expected = F.cosine_similarity(h[:1], h[1:]).mean().item()
            assert found.shape == (3,) and abs(found[l] - expected) < 1e-9
            std = 1.4 / [5, 200][l > 0] ** 0.5
            h = h @ torch.tensor(rng.normal(0, std, (h.shape[1], 200)))
            h = torch_activation(name, h)
            h = h - h.mean(dim=1, keepdim=True) if centre else h


# %% [markdown]
# **What the code shows:** the mean is the culprit. Subtract it and ReLU keeps different digits apart, like the functions that have
# mean zero anyway. With it, after 30 layers their cosine is
# `{python} f"{cosine['relu'][:, 30].mean():.2f}"`: what distinguishes them still exists, as a small part of a large common signal.
# The sigmoid, with a mean of $1/2$, needs three layers for that.
# (Subtracting each unit's mean *over the images* would be no test: then the cosines average to about 0 by arithmetic.)
#
# The last column warns you. Two images of the *same* digit start with cosine
# `{python} f"{cosine_same['relu'][:, 0].mean():.2f}"`. SELU and tanh still know it after 30 layers; the centred ReLU, with
# `{python} f"{cosine_same['relu, centred'][:, 30].mean():.2f}"`, has forgotten what they share.
# @schoenholz2017deep study such curves in general.
# Layer [normalisation](../neural-networks/regularization.py#norms-backwards) subtracts the same mean. Exercise 4 shows the price at great
# depth; @yang2019mean show it for batch normalisation.
#
# ### Exercise 3 (apply): where SELU's constants come from
#
# SELU [@klambauer2017self] is $\lambda z$ for $z \gt 0$ and $\lambda \alpha (e^z - 1)$ otherwise.
# Choose $\alpha$ so that the mean output is 0 for a standard normal $z$, then $\lambda$ so that its mean square is 1.
# You may integrate numerically with `u_grid` and `u_weight`, or find the formula.

# %%
def selu_constants() -> tuple[float, float]:
    """lambda and alpha, to four digits or better."""
    ### BEGIN SOLUTION
    right, left = np.maximum(u_grid, 0), np.expm1(np.minimum(u_grid, 0))
    alpha = -(right @ u_weight) / (left @ u_weight)
    return float((((right + alpha * left) ** 2) @ u_weight) ** -0.5), float(alpha)
    ### END SOLUTION


# %% tags=["test"]
def test_selu_constants():
    scale, alpha = selu_constants()
    assert (
        abs(scale - 1.0507009873554805) < 5e-5
        and abs(alpha - 1.6732632423543772) < 5e-5
    )
    z = torch.tensor([2.0, -1.0], dtype=torch.float64)
    np.testing.assert_allclose(
        F.selu(z), [2 * scale, scale * alpha * np.expm1(-1)], atol=1e-3
    )


# %% [markdown]
# ### Exercise 4 (explore): the price of a mean of zero
#
# Take ReLU minus a constant $m$ that makes its mean 0 for standard normal $z$, and the gain that then keeps signals.
# Return $m$, this gain, and the factor per layer of the mean square of the gradient.
# What does it say about the centred ReLU above?

# %%
def centred_relu() -> tuple[float, float, float]:
    """m, the gain, and the factor by which each layer multiplies E[dz^2]."""
    ### BEGIN SOLUTION
    m = 1 / np.sqrt(2 * np.pi)  # E[max(u, 0)]
    gain = (1 / 2 - m**2) ** -0.5
    return m, gain, gain**2 / 2
    ### END SOLUTION


# %% tags=["test"]
def test_centred_relu():
    m, gain, factor = centred_relu()
    rng = np.random.default_rng(8)
    z, dz = rng.normal(size=(400, 500)), rng.normal(size=(400, 500))
    h = np.maximum(z, 0) - m
    assert abs(h.mean()) < 0.01
    W = rng.normal(size=(500, 500)) * gain / np.sqrt(500)
    assert abs(((h @ W) ** 2).mean() - 1) < 0.03
    assert abs((((dz @ W.T) * (z > 0)) ** 2).mean() / factor - 1) < 0.03


# %% [markdown] tags=["solution"]
# $m = 1/\sqrt{2\pi}$ and $\text{gain}^2 = 1 / (1/2 - 1/(2\pi))$. Each layer multiplies the gradient's mean square by half of that,
# `{python} f"{0.5 / (0.5 - 0.5 / np.pi):.2f}"`; over 30 layers by `{python} f"{(0.5 / (0.5 - 0.5 / np.pi)) ** 30:,.0f}"`. Subtracting a constant takes size from the signal and nothing from
# the slopes, so the gain that repairs the signal is too large for the gradient. This centring keeps images apart because it
# amplifies differences, and what amplifies differences forward amplifies gradients backward.

# %% [markdown]
# ## 6. Maps of saturation
#
# A slope below 0.05 in size was grey in @fig-zoo. How many are grey in a network, and where?
# **Predict** the map of each activation, layers to the right, gains upward. Which map has no structure at all?

# %%
map_gains = np.geomspace(0.5, 8, 17)
MAPPED = ("sigmoid", "tanh", "relu", "gelu", "selu")
flat = np.zeros((len(MAPPED), len(map_gains), 20))
for i, name in enumerate(MAPPED):
    for j, gain in enumerate(map_gains):
        params = init_params([64] * 21 + [10], gain, np.random.default_rng(2))
        slopes = forward(params, X_train[:200], name)[2]
        flat[i, j] = [(np.abs(s) < 0.05).mean() for s in slopes]

# %% tags=["hide-input"]
#| label: fig-saturation
#| fig-cap: Share of units and images whose slope is smaller than 0.05 in size, the grey of the zoo, by layer and gain. Networks of width 64 on 200 images.
#| fig-alt: Tanh goes from almost none at small gains to most at gain 6, evenly in all layers. The sigmoid does so at larger gains. ReLU is one half everywhere. GELU and SELU are zero or near it for small gains, where the signal is small, and near one half or more for large ones.
fig, axes = plt.subplots(1, 5, figsize=(7.6, 2.5), sharey=True)
for ax, name, share in zip(axes, MAPPED, flat):
    image = ax.pcolormesh(
        np.arange(1, 21), map_gains, share, vmin=0, vmax=1, rasterized=True
    )
    ax.set(title=name, xlabel="layer", yscale="log", xticks=[1, 10, 20])
    ax.grid(False)
axes[0].set_yticks([0.5, 1, 2, 4, 8], [0.5, 1, 2, 4, 8])
axes[0].minorticks_off()
axes[0].set_ylabel("gain")
fig.colorbar(image, ax=axes, label="share flat")

# %% [markdown]
# **What the code shows:** ReLU's map is blank: half of the slopes are zero at any gain, since only the sign of $z$ counts.
# Tanh saturates with the gain and settles within two layers. The sigmoid bends more slowly and needs larger gains.
# GELU and SELU show an edge: below it signals stay small and hardly any slope is flat; above it they grow without limit, until
# both are as good as a ReLU.
#
# ## 7. Dead units, live
#
# Now train. Two hidden layers of 64 units, He's start, plain [SGD](../math-foundations/optimization.py#noise) on batches of 25, six passes.
# At every step, record for each hidden unit the share of the 1,000 training images on which it is on ($z \gt 0$).
# A ReLU unit that is on for none is *dead*: $dz = 0$ on every image, and so is the gradient of its weights.
# Two ways to kill are a large rate, and biases that start far below zero.
# In the second film the gradient is *clipped*: scaled down to norm 1 when it is longer.
# **Predict** for each of the four films how many units of layer 2 turn orange, and whether any comes back.

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def loss_gradient(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy (integer y), or of half the mean square."""
    if np.issubdtype(y.dtype, np.integer):
        return (softmax(scores) - np.eye(scores.shape[1])[y]) / len(y)
    return (scores - y) / len(y)


def train(params: list, X: np.ndarray, y: np.ndarray, name: str, lr: float,
          rng: np.random.Generator, epochs: int = 6, batch: int = 25, a: float = 0.01,
          momentum: float = 0.0, clip: float = np.inf, watch=None) -> list:
    """Parameters after SGD; clip bounds the gradient's norm, watch sees every step."""
    speed = [(np.zeros_like(W), np.zeros_like(b)) for W, b in params]
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(y)), max(len(y) // batch, 1)):
            if watch:
                watch(params)
            z, h, slopes = forward(params, X[rows], name, a)
            grads, _ = backward(params, h, slopes, loss_gradient(z[-1], y[rows]))
            norm = np.sqrt(sum((dW**2).sum() + (db**2).sum() for dW, db in grads))
            short = 1.0 if norm <= clip else clip / norm
            speed = [(momentum * vW + short * dW, momentum * vb + short * db)
                     for (vW, vb), (dW, db) in zip(speed, grads)]
            params = [
                (W - lr * vW, b - lr * vb) for (W, b), (vW, vb) in zip(params, speed)
            ]
    return params


def accuracy(
    params: list, X: np.ndarray, y: np.ndarray, name: str, a: float = 0.01
) -> float:
    """Share of rows of X whose largest score is the right class."""
    return float((forward(params, X, name, a)[0][-1].argmax(axis=1) == y).mean())


def activity(params: list, X: np.ndarray, name: str, a: float = 0.01) -> list:
    """For each hidden layer and unit, the share of the rows of X with z > 0."""
    return [(z > 0).mean(axis=0) for z in forward(params, X, name, a)[0][:-1]]


# %% tags=["test"]
def test_train_matches_torch():
    rng = np.random.default_rng(9)
    for trial in range(20):
        momentum, clip = [0.0, 0.9][trial % 2], [np.inf, 0.3][trial // 2 % 2]
        d, m, k = (int(v) for v in rng.permutation(np.arange(2, 7))[:3])
        X = rng.normal(size=(8, d))
        y = rng.integers(0, k, size=8) if trial % 3 else rng.normal(size=(8, k))
        start = init_params([d, m, k], "he", rng)
        ours = train(start, X, y, "tanh", 0.2, rng, epochs=5, batch=8,
                     momentum=momentum, clip=clip)
        leaves = [torch.tensor(p, requires_grad=True) for layer in start for p in layer]
        W, b, V, c = leaves
        optimiser = torch.optim.SGD(leaves, lr=0.2, momentum=momentum)
        for _ in range(5):
            optimiser.zero_grad()
            scores = torch.tanh(torch.tensor(X) @ W + b) @ V + c
            if trial % 3:
                loss = F.cross_entropy(scores, torch.tensor(y))
            else:
                loss = ((scores - torch.tensor(y)) ** 2).sum() / 16
            loss.backward()
            if np.isfinite(clip):
                torch.nn.utils.clip_grad_norm_(leaves, clip)
            optimiser.step()
        for mine, theirs in zip([p for layer in ours for p in layer], leaves):
            np.testing.assert_allclose(
                mine, theirs.detach(), atol=1e-5 if clip < 1 else 1e-10
            )


def test_every_row_is_used_once_per_epoch_and_watch_sees_each_step():
    X, seen = np.arange(10.0)[:, None], []
    train([(np.zeros((1, 2)), np.zeros(2))], X, np.zeros(10, dtype=int), "relu", 0.0,
          np.random.default_rng(0), epochs=3, batch=5, watch=seen.append)
    assert len(seen) == 6


def test_accuracy_and_activity():
    params = [(np.array([[1.0, -1.0, 0.0]]), np.array([0.0, 0.0, -1.0])),
              (np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), np.zeros(2))]
    X = np.array([[1.0], [2.0], [3.0], [-1.0]])
    assert accuracy(params, X, np.array([0, 0, 1, 1]), "relu") == 0.75
    np.testing.assert_array_equal(activity(params, X, "relu"), [[0.75, 0.25, 0.0]])
    leaky = [(np.array([[1.0]]), np.zeros(1)), (np.array([[-1.0, 1.0]]), np.zeros(2))]
    leaky.insert(1, (np.array([[-1.0]]), np.array([-0.1])))
    assert activity(leaky, np.array([[-1.0]]), "leaky_relu", 0.05)[1][0] == 0
    assert activity(leaky, np.array([[-1.0]]), "leaky_relu", 0.5)[1][0] == 1
    assert accuracy(leaky, np.array([[-1.0]]), np.array([0]), "leaky_relu", 0.5) == 0
    assert accuracy(leaky, np.array([[-1.0]]), np.array([0]), "leaky_relu", 0.05) == 1


# %%
FILMS = {
    "rate 1": ("relu", 1.0, 0.0, np.inf),
    "rate 1, clipped": ("relu", 1.0, 0.0, 1.0),
    "bias −2": ("relu", 0.2, -2.0, np.inf),
    "bias −2, leaky 0.1": ("leaky_relu", 0.2, -2.0, np.inf),
}
off, films = {}, {}
for label, (name, lr, bias, clip) in FILMS.items():
    film, rng = [], np.random.default_rng(0)
    net = init_params([64, 64, 64, 10], "he", rng, bias=bias)
    net = train(net, X_train, y_train, name, lr, rng, a=0.1, clip=clip,
                watch=lambda p: film.append(activity(p, X_train, name, 0.1)))
    first, second = (np.array(layer).T for layer in zip(*film))  # (64, 240)
    films[label] = second[np.argsort(second[:, -40:].mean(axis=1))]
    off[label] = (second[:, 0] == 0).sum(), (second[:, -1] == 0).sum()
    back = ((second == 0).any(axis=1) & (second[:, -1] > 0)).sum()
    print(f"{label:18} off: start {off[label][0]:2}, end {off[label][1]:2}; "
          f"came back {back:2}; layer 1 {(first[:, -1] == 0).sum()}; "
          f"accuracy {accuracy(net, X_test, y_test, name, 0.1):.2f}")
assert off["rate 1"][1] > 20 and off["rate 1, clipped"][1] == 0
assert off["bias −2"][1] > 40 and off["bias −2, leaky 0.1"][1] < 5

# %% tags=["hide-input"]
#| label: fig-live
#| fig-cap: The 64 units of the second hidden layer, sorted by their activity at the end, during 240 steps. Grey is the share of the training images on which a unit is on; orange marks units that are off on all of them.
#| fig-alt: At rate 1 orange bars start early, and at the end half of the rows are orange; some units come back. With clipping at the same rate nothing is orange. With biases of minus two most rows are orange from the start and stay so. With a leaky slope of 0.1 and the same biases they start orange and nearly all come back.
fig, axes = plt.subplots(1, 4, figsize=(7.8, 2.7), sharey=True)
for ax, (label, film) in zip(axes, films.items()):
    ax.set_facecolor("C1")
    image = ax.imshow(np.ma.masked_equal(film, 0), aspect="auto", vmin=0, vmax=1,
                      cmap="Greys", interpolation="nearest")
    ax.set(title=label, xlabel="step", yticks=[0, 20, 40, 60])
    ax.grid(False)
axes[0].set_ylabel("unit")
fig.colorbar(image, ax=axes, label="share of images")

# %% [markdown]
# **What the code shows:** both kill. At rate 1 units die during training, and some come back, because the layer
# *below* them still learns. With biases of −2 most are dead before the first step.
# No unit of layer 1 died at rate 1. Section 5 suggests why: layer 2 sees inputs that are all positive, with a large common mean,
# so one bad step moves a unit's $z$ on *all* images at once. The pixels have mean zero.
#
# That is a hypothesis. **Question:** is it the mean of the inputs that kills? **Prediction:** the same images without the
# subtraction (again with mean square 1) kill layer 1 too.

# %%
raw = digits.data[shuffled[:1000]]
raw = raw / np.sqrt((raw**2).mean())
kill_rates, fates = (0.1, 0.2, 0.3, 0.5, 1.0), {}
with np.errstate(all="ignore"):
    for label, X in {"centred": X_train, "not centred": raw}.items():
        fates[label] = np.zeros((len(kill_rates), 6, 2))
        for i, lr in enumerate(kill_rates):
            for seed in range(6):
                rng = np.random.default_rng(seed)
                net = init_params([64, 64, 64, 10], "he", rng)
                net = train(net, X, y_train, "relu", lr, rng)
                on = activity(net, X, "relu")
                fates[label][i, seed] = [(layer == 0).mean() for layer in on]
assert fates["centred"][..., 0].max() == 0
assert fates["not centred"][3, :, 0].mean() > 0.4

# %% tags=["hide-input"]
#| label: fig-mean-kills
#| fig-cap: Share of dead units in the two hidden layers after training, against the rate, for images with the pixel means subtracted and not. Means of six networks, bars from the least to the most.
#| fig-alt: With means subtracted no unit of layer 1 dies at any rate, and layer 2 dies only at rate 1. With the means left in, more than half of layer 1 is dead at 0.5 and nearly all at 1.
fig, axes = plt.subplots(1, 2, figsize=(7, 2.9), sharey=True)
for layer, ax in enumerate(axes):
    for k, (label, runs) in enumerate(fates.items()):
        share = runs[..., layer]
        low, mean, high = share.min(axis=1), share.mean(axis=1), share.max(axis=1)
        ax.errorbar(
            np.array(kill_rates) * (1, 1.04)[k],
            mean,
            [mean - low, high - mean],
            fmt=("o-", "s--")[k],
            capsize=2,
            label=label,
        )
    ax.set(
        title=f"hidden layer {layer + 1}",
        xlabel="rate",
        xscale="log",
        ylim=(-0.03, 1.03),
    )
    ax.set_xticks(kill_rates, kill_rates)
    ax.minorticks_off()
axes[0].set_ylabel("share of dead units")
axes[0].legend()

# %% [markdown]
# **What the code shows:** the prediction holds. Without the subtraction `{python} f"{fates['not centred'][3, :, 0].mean():.0%}"` of layer 1
# is dead at rate 0.5, with it none.
# The experiment does not say how: a common mean also makes the loss steeper in one direction, so the same rate
# is in effect a larger one. Either way, centring is a cheap cure.
#
# Open a network that died at rate 1. **Predict:** how large is the gradient of a dead unit's weights? And can a *test* image wake it?

# %%
rng = np.random.default_rng(0)
net = init_params([64, 64, 64, 10], "he", rng)
net = train(net, X_train, y_train, "relu", 1.0, rng)
z, h, slopes = forward(net, X_train, "relu")
grads, _ = backward(net, h, slopes, loss_gradient(z[-1], y_train))
dead = activity(net, X_train, "relu")[1] == 0
woken = activity(net, X_test, "relu")[1] > 0
size = np.abs(grads[1][0]).max(axis=0)  # largest gradient of each unit's weights
print(f"dead: {dead.sum()} of 64; their largest gradient: {size[dead].max()}")
print(f"median of the others: {np.median(size[~dead]):.0e}")
print("dead units that some test image wakes:", (dead & woken).sum())
assert size[dead].max() == 0 < dead.sum()

# %% [markdown]
# **What the code shows:** the gradient is exactly zero. And dead is relative to the data: other images may wake a unit.
#
# Next, the cures. **Predict:** which of them helps against both diseases?

# %%
CURES = {"rate 1": {"none": ("relu", {}), "leaky 0.01": ("leaky_relu", {"a": 0.01}),
                    "leaky 0.1": ("leaky_relu", {"a": 0.1}), "elu": ("elu", {}),
                    "tanh": ("tanh", {}), "clip at 1": ("relu", {"clip": 1.0}),
                    "rate 0.3": ("relu", {"lr": 0.3})},
         "bias −2": {"none": ("relu", {}), "leaky 0.01": ("leaky_relu", {"a": 0.01}),
                     "leaky 0.1": ("leaky_relu", {"a": 0.1}), "elu": ("elu", {}),
                     "tanh": ("tanh", {}), "clip at 1": ("relu", {"clip": 1.0}),
                     "bias 0": ("relu", {"bias": 0.0})}}


def treated(name: str, seed: int, lr: float, bias: float, a: float = 0.01,
            clip: float = np.inf) -> tuple[float, float]:
    """Share of silent units in the second hidden layer, and test accuracy."""
    rng = np.random.default_rng(seed)
    net = init_params([64, 64, 64, 10], "he", rng, bias=bias)
    with np.errstate(all="ignore"):  # some networks overflow
        net = train(net, X_train, y_train, name, lr, rng, a=a, clip=clip)
        silent = (activity(net, X_train, name, a)[1] == 0).mean()
        if not all(np.isfinite(W).all() for W, _ in net):
            silent = np.nan  # the network overflowed
        return silent, accuracy(net, X_test, y_test, name, a)


cured = {}
for disease, start in {"rate 1": {"lr": 1.0, "bias": 0.0},
                       "bias −2": {"lr": 0.2, "bias": -2.0}}.items():
    for cure, (name, change) in CURES[disease].items():
        runs = np.array([treated(name, seed, **(start | change)) for seed in range(8)])
        cured[disease, cure] = runs
        lost = np.isnan(runs[:, 0])
        silent = f"{runs[~lost, 0].mean():4.0%}" if not lost.all() else "   -"
        low, mean, high = (f(runs[:, 1]) for f in (np.min, np.mean, np.max))
        print(f"{disease:8}{cure:11} overflowed {lost.sum()}, silent in the others "
              f"{silent}, accuracy {mean:.2f}, {low:.2f} to {high:.2f}")

# %% tags=["hide-input"]
#| label: fig-cures
#| fig-cap: Two ways to kill (left, a rate of 1; right, biases that start at −2, at rate 0.2) and their cures. Each dot is one of eight networks; its colour is the share of units in the second hidden layer that are off on all training images.
#| fig-alt: Against rate 1 only tanh, clipping and the smaller rate bring all networks to 0.96 or more; most leaky and ELU networks overflow or stay far below. Against biases of minus two, leaky 0.1, ELU, tanh and a bias of zero bring all to 0.92 or more; leaky 0.01 and clipping do nothing.
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.0), sharex=True)
for ax, disease in zip(axes, CURES):
    for row, cure in enumerate(CURES[disease]):
        runs = cured[disease, cure]
        lost = np.isnan(runs[:, 0])
        height = -row + np.linspace(-0.25, 0.25, 8)
        ax.plot(runs[lost, 1], height[lost], "x", color="C1",
                label="overflowed" if row == 2 else None)
        image = ax.scatter(runs[~lost, 1], height[~lost], c=runs[~lost, 0], vmin=0,
                           vmax=1, s=28, edgecolors="black", linewidths=0.5)
    ax.set_yticks(-np.arange(len(CURES[disease])), CURES[disease])
    ax.set(title=disease, xlabel="test accuracy", xlim=(0, 1.03))
axes[0].legend(loc="center")
fig.colorbar(image, ax=axes, label="share silent")

# %% [markdown]
# **What the code shows:** biases of −2 are a matter of slope: with 0.1 or an ELU the units climb back, with 0.01 they do not in six passes (the grey of @fig-zoo),
# and clipping cannot enlarge a gradient that is zero.
# A rate of 1 is too large for the unbounded activations: ELU overflowed in `{python} np.isnan(cured["rate 1", "elu"][:, 0]).sum()` of 8 runs
# and leaky 0.1 in `{python} np.isnan(cured["rate 1", "leaky 0.1"][:, 0]).sum()`, where plain ReLU died instead. There dead units are a symptom, and a slope on the left
# removes the symptom at best. Clipping the gradient's norm, or a smaller rate, removes the cause.
# Only the bounded tanh takes both. (Silent tanh units are not dead: their slopes are small, but not zero.)
# So when you see dead units, ask *when* they died.
#
# ### Exercise 5 (apply): raise the dead
#
# Repair a network without changing what it computes on the data: give each dead unit new incoming weights at He's start and a
# bias of zero, and set its *outgoing* weights to zero.
# @sokar2023dormant recycle units in this way during reinforcement learning.


# %%
def revive(
    params: list, layer: int, dead: np.ndarray, rng: np.random.Generator
) -> list:
    """A copy in which the units `dead` (d,) of hidden layer 0, 1, ... start anew."""
    ### BEGIN SOLUTION
    params = [(W.copy(), b.copy()) for W, b in params]
    (W, b), (W_next, _) = params[layer], params[layer + 1]
    W[:, dead] = rng.normal(0, np.sqrt(2 / len(W)), (len(W), dead.sum()))
    b[dead] = 0.0
    W_next[dead] = 0.0
    return params
    ### END SOLUTION


# %% tags=["test"]
def test_revive():
    rng, variances = np.random.default_rng(10), []
    for trial in range(20):
        params = init_params([5, 40, 30, 3], "he", rng)
        layer, X = trial % 2, rng.normal(size=(50, 5))
        dead = rng.random([40, 30][layer]) < 0.5
        params[layer][1][dead] = -100.0  # kill them
        before = [(W.copy(), b.copy()) for W, b in params]
        new = revive(params, layer, dead, rng)
        assert not activity(params, X, "relu")[layer][dead].any()
        on = activity(new, X, "relu")[layer]
        assert (on[dead] > 0).mean() > 0.7
        np.testing.assert_allclose(forward(new, X, "relu")[0][-1],
                                   forward(params, X, "relu")[0][-1], atol=1e-12)
        for (W, b), (W_old, b_old) in zip(params, before):  # the input is left alone
            assert np.array_equal(W, W_old) and np.array_equal(b, b_old)
        assert not new[layer][1][dead].any() and not new[layer + 1][0][dead].any()
        variances.append(new[layer][0][:, dead].var() * len(new[layer][0]) / 2)
        np.testing.assert_array_equal(
            new[layer][0][:, ~dead], params[layer][0][:, ~dead]
        )
    assert abs(np.mean(variances) - 1) < 0.1


# %% [markdown]
# ## 8. What the kinks draw
#
# A ReLU network of one input draws a polygon: it bends where some unit switches, and nowhere else
# ([multilayer networks](../neural-networks/multilayer-networks.py#depth-against-width) count such pieces on a grid).
# Here they are found exactly. Where no unit switches every $h$ is a straight line, so the next layer's
# zeros can be solved for; they cut the interval, and each piece goes on to the next layer.

# %%
def kinks(params: list, low: float, high: float) -> np.ndarray:
    """Inputs between low and high at which some unit of a ReLU network switches."""
    pieces = [(low, high, np.ones(1), np.zeros(1))]  # on it h = slope x + offset
    for W, b in params[:-1]:
        finer = []
        for left, right, slope, offset in pieces:
            slope, offset = slope @ W, offset @ W + b
            moving = slope != 0
            roots = -offset[moving] / slope[moving]
            cuts = [left, *np.unique(roots[(roots > left) & (roots < right)]), right]
            for l, r in zip(cuts[:-1], cuts[1:]):
                on = slope * (l + r) / 2 + offset > 0
                finer.append((l, r, slope * on, offset * on))
        pieces = finer
    return np.array([piece[0] for piece in pieces[1:]])


# %% tags=["test"]
def test_kinks():
    rng = np.random.default_rng(11)
    for trial in range(20):
        sizes = [1] + [int(m) for m in rng.integers(1, 7, size=1 + trial % 3)] + [1]
        params = [
            (W, rng.normal(size=b.shape)) for W, b in init_params(sizes, "he", rng)
        ]
        found = kinks(params, -2.0, 3.0)
        assert (np.diff(found) > 0).all() and ((found > -2) & (found < 3)).all()
        ends = np.array([-2.0, *found, 3.0])
        middle = (ends[1:] + ends[:-1]) / 2
        if len(found):
            gap = np.diff(ends).min() / 4  # no unit switches between two kinks
            for x in (middle, ends[:-1] + gap, ends[1:] - gap):
                on = np.hstack(forward(params, x[:, None], "relu")[0][:-1]) > 0
                same = on if x is middle else same
                np.testing.assert_array_equal(on, same)
            on = np.hstack(forward(params, middle[:, None], "relu")[0][:-1]) > 0
            assert (on[1:] != on[:-1]).any(axis=1).all()  # and some unit at each
    enter, leave = np.ones((1, 2)), np.array([[2.0], [-4.0]])  # three tents
    bend = np.array([0.0, -0.5])
    tents = [
        (enter, bend),
        (leave @ enter, bend),
        (leave @ enter, bend),
        (leave, np.zeros(1)),
    ]
    np.testing.assert_allclose(kinks(tents, 0, 1), np.arange(1, 8) / 8, atol=1e-12)


# %% [markdown]
# Fit $\sin 4x$ on 41 points between −1 and 1 with one hidden layer of 20 ReLUs, with
# [momentum](01-numpy-neural-net.py) 0.9, and watch the kinks. All biases start at zero.
# **Predict:** where are the 20 kinks before training? How many can there be at the end?

# %%
x_data = np.linspace(-1, 1, 41)[:, None]
t_data = np.sin(4 * x_data)
trail, rng = [], np.random.default_rng(0)
poly = train(init_params([1, 20, 1], "he", rng), x_data, t_data, "relu", 0.1, rng,
             epochs=2000, batch=41, momentum=0.9,
             watch=lambda p: trail.append(kinks(p, -1.5, 1.5)))
final_kinks = kinks(poly, -1.5, 1.5)
print("pieces before training:", len(trail[0]) + 1, " after:", len(final_kinks) + 1)
assert len(trail[0]) == 1 and len(final_kinks) <= 20

# %% tags=["hide-input"]
#| label: fig-kinks
#| fig-cap: Left, the kinks of a ReLU network of 20 hidden units during training, against the step. Right, what it has learned, with its kinks as ticks, and the target (dashed).
#| fig-alt: All kinks start at zero, fan out in both directions within the first two hundred steps, and then hardly move. The learned polygon follows the sine with corners at the ticks.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3), sharex=True)
for step in [*range(0, 200, 4), *range(200, 2000, 20)]:
    left.plot(trail[step], np.full(len(trail[step]), step), ".", color="C0", ms=2,
              rasterized=True)
left.set(xlabel="$x$", ylabel="step", xlim=(-1.5, 1.5))
x_wide = np.linspace(-1.5, 1.5, 601)[:, None]
right.plot(x_wide, np.sin(4 * x_wide), "--", color="0.5", lw=1.2)
right.plot(x_wide, forward(poly, x_wide, "relu")[0][-1])
right.plot(final_kinks, np.full(len(final_kinks), -1.6), "|", color="C1", ms=9)
right.set(xlabel="$x$", ylim=(-1.8, 1.8))

# %% [markdown]
# **What the code shows:** with biases of zero all kinks sit at 0, so 20 units make two pieces: an untrained ReLU network of one input is
# a bent line, however wide.
# Training moves the biases. The kinks fan out within a few hundred steps and then hardly move.
# It ends with `{python} len(final_kinks) + 1` pieces; more than 21 is impossible with 20 hidden units in one layer.
#
# **Predict:** sketch the fits of ReLU, GELU, tanh and squared ReLU, and their slopes, from −3 to 3 if the data end at −1 and 1.

# %%
FITS = {"relu": 0.1, "gelu": 0.1, "tanh": 0.1, "relu2": 0.02}
x_far = np.linspace(-3, 3, 1201)[:, None]
curves, fit_error = {}, {}
for name, lr in FITS.items():
    curves[name], fit_error[name] = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        net = init_params([1, 16, 16, 1], signal_gain(name), rng)
        net = train(net, x_data, t_data, name, lr, rng, epochs=2000, batch=41,
                    momentum=0.9)
        curves[name].append(forward(net, x_far, name)[0][-1][:, 0])
        fit_error[name].append(np.abs(forward(net, x_data, name)[0][-1] - t_data).max())
        if name == "relu" and seed == 0:
            deep_kinks = kinks(net, -1, 1)
print("largest errors on the points:",
      {n: round(float(max(e)), 2) for n, e in fit_error.items()})
print("pieces of the first ReLU fit between -1 and 1:", len(deep_kinks) + 1)

# %% tags=["hide-input"]
#| label: fig-extrapolate
#| fig-cap: Top, networks with two hidden layers of 16 units after fitting the points in the shaded range, three seeds each; the target is dashed. Bottom, the slopes of the first network.
#| fig-alt: Inside the range all fit. Outside, ReLU goes on as a straight line, GELU nearly so, tanh levels off and squared ReLU curves away. The slope of the ReLU fit is a staircase, that of the others is smooth.
fig, axes = plt.subplots(2, 4, figsize=(7.6, 4), sharex=True, sharey="row")
for (top, bottom), name in zip(axes.T, FITS):
    for curve in curves[name]:
        top.plot(x_far, curve, color="C0", lw=1.2, alpha=0.9)
    bottom.plot(x_far[1:], np.diff(curves[name][0]) / np.diff(x_far[:, 0]), lw=1.2)
    top.plot(x_far, np.sin(4 * x_far), "--", color="0.4", lw=1)
    for ax in (top, bottom):
        ax.axvspan(-1, 1, color="0.9", lw=0)
    top.set(title=name, ylim=(-4, 4))
    bottom.set(xlabel="$x$", ylim=(-8, 8))
axes[0, 0].set_ylabel("fit")
axes[1, 0].set_ylabel("slope")

# %% [markdown]
# **What the code shows:** inside, the fits are hard to tell apart; their slopes give them away. ReLU's is a staircase of
# `{python} len(deep_kinks) + 1` steps, from 32 hidden units in two layers.
# Outside, each continues in its own way: ReLU straight, GELU soon straight, tanh level, and two layers of squared ReLU like a polynomial of degree 4.
# The three seeds agree where there are data and part where there are none.
#
# In the plane the kinks are lines. **Predict:** where can the boundary between two classes bend, if all hidden units are ReLUs?

# %%
moons, moon_label = make_moons(200, noise=0.15, random_state=0)
moons = (moons - moons.mean(axis=0)) / moons.std()
axis = (np.arange(400) + 0.5) / 400 * 6 - 3
plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def regions(params: list, points: np.ndarray) -> np.ndarray:
    """Number of the on/off pattern of all hidden ReLUs at each of the points (n, 2)."""
    on = np.hstack(forward(params, points, "relu")[0][:-1]) > 0
    codes = on @ 2 ** np.arange(on.shape[1])  # one whole number for each pattern
    return np.unique(codes, return_inverse=True)[1]


def moon_net(sizes: list, name: str, epochs: int, seed: int) -> list:
    """A network for the moons that starts with random biases."""
    rng = np.random.default_rng(seed)
    net = [(W, rng.normal(0, 0.5, b.shape)) for W, b in init_params(sizes, "he", rng)]
    return train(net, moons, moon_label, name, 0.1, rng, epochs=epochs, momentum=0.9)


PANELS = {
    "one layer, untrained": ([2, 16, 2], "relu", 0),
    "one layer": ([2, 16, 2], "relu", 200),
    "two layers": ([2, 8, 8, 2], "relu", 200),
    "tanh, two layers": ([2, 8, 8, 2], "tanh", 200),
}
counted, moon_nets = {}, {}
for label, (sizes, name, epochs) in PANELS.items():
    nets = [moon_net(sizes, name, epochs, seed) for seed in range(4)]
    moon_nets[label] = nets[0]
    if name == "relu":
        counted[label] = [int(regions(net, plane).max()) + 1 for net in nets]
        print(f"{label:21} regions in the window, four seeds: {counted[label]}")

# %% tags=["hide-input"]
#| label: fig-regions
#| fig-cap: Two half-moons of points and networks of 16 hidden units. Each shade is a region in which no unit switches; the heavy line is the decision boundary.
#| fig-alt: Before training lines cross the plane at random. After training the boundary is a chain of straight segments that bends where it crosses a region's border. With two layers of eight the inner borders are bent themselves. The tanh boundary is smooth and there are no regions.
fig, axes = plt.subplots(1, 4, figsize=(7.8, 2.3))
for ax, (label, net) in zip(axes, moon_nets.items()):
    if label in counted:
        shade = np.random.default_rng(1).uniform(0.62, 1, 10_000)[regions(net, plane)]
        ax.imshow(shade.reshape(400, 400), extent=(-3, 3, -3, 3), origin="lower",
                  cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    scores = forward(net, plane, PANELS[label][1])[0][-1]
    ax.contour(
        axis, axis, (scores[:, 1] - scores[:, 0]).reshape(400, 400), [0], colors="black"
    )
    for k, marker in enumerate("ox"):
        ax.plot(*moons[moon_label == k].T, marker, color=f"C{k}", ms=2)
    ax.set_title(label, fontsize=9)
    ax.set(xticks=[], yticks=[], xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    ax.grid(False)

# %% tags=["test"]
def test_regions():
    params = [(np.eye(2), np.zeros(2)), (np.ones((2, 1)), np.zeros(1))]
    points = np.array([[1.0, 1.0], [2.0, 3.0], [1.0, -1.0], [-1.0, -1.0], [-2.0, -1.0]])
    found = regions(params, points)
    assert found.shape == (5,) and len(set(found)) == 3
    assert found[0] == found[1] != found[2] and found[3] == found[4] != found[2]
    deep = [(np.eye(2), np.zeros(2)), (np.ones((2, 1)), np.array([-3.0])), *params[1:]]
    assert len(set(regions(deep[:2] + [(np.ones((1, 1)), np.zeros(1))], points))) == 4


# %% [markdown]
# **What the code shows:** the boundary is straight inside each region and bends only where it crosses a border, where a unit
# switches. The tanh boundary has no corners.
# Trained one-layer networks have `{python} min(counted["one layer"])` to `{python} max(counted["one layer"])` regions in the window, where
# 16 lines allow `{python} 1 + 16 + 16 * 15 // 2` (Exercise 6); two layers of eight, with as many units, `{python} min(counted["two layers"])` to
# `{python} max(counted["two layers"])`, on a grid that misses the smallest.
# Depth allows far more; @hanin2019complexity prove that random networks stay far below the maximum on average, and observe it in
# trained ones.
#
# ### Exercise 6 (check): how many regions can there be?
#
# One hidden layer of $m$ ReLUs of two inputs draws $m$ lines. Into how many regions can $m$ lines cut the plane at most?
# (A new line gains one region, and one more for each line that it crosses.)

# %%
def most_regions(m: int) -> int:
    """The largest number of regions of the plane between m lines."""
    ### BEGIN SOLUTION
    return 1 + m + m * (m - 1) // 2
    ### END SOLUTION


# %% tags=["test"]
def test_most_regions():
    assert [most_regions(m) for m in range(6)] == [1, 2, 4, 7, 11, 16]
    side = np.linspace(-20, 20, 400)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for m in (1, 2, 3, 4):
        angle = np.pi * np.arange(m) / m + 0.1
        W = np.stack([np.cos(angle), np.sin(angle)])  # m lines in different directions
        b = np.array([0.0, 4.0, 2.0, -5.0])[:m]
        net = [(W, b), (np.ones((m, 1)), np.zeros(1))]
        assert regions(net, points).max() + 1 == most_regions(m)


# %% [markdown]
# ## 9. The race
#
# Ten activations, digits, two hidden layers. **Question:** how much does the activation matter when each gets its own best rate?
#
# The rules: eight passes of SGD with momentum 0.9; weights at the signal gain of Section 4;
# the best of ten rates by validation accuracy, over three seeds; then twelve *new* seeds on the test images.
# SwiGLU gets narrower layers and so a nearly equal number of parameters.
# What counts is the difference to the ReLU network of the same seed.
#
# **Prediction:** the document's race in eight narrow layers ended with tanh first and ReLU last. In a shallow network
# the first eight should end within one per cent. Squared ReLU and SwiGLU have slopes
# without limit and should need smaller rates.
# As controls these two and ReLU also run with the gradient's norm clipped at 1, first at the same gain, then at half of it.

# %%
RACE_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
RACERS = ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "mish",
          "relu2", "swiglu"]
PLAIN, GATED = [64, 64, 64, 10], [64, 40, 40, 10]


def count(net: list) -> int:
    """Number of weights and biases."""
    return sum(W.size + b.size for W, b in net)


def race(name: str, lr: float, seed: int, clip: float = np.inf,
         share: float = 1.0) -> tuple[float, float]:
    """Accuracy on validation and test images; starts at `share` of the signal gain."""
    rng, gated = np.random.default_rng(seed), name in GATES
    gain = share * signal_gain(GATES.get(name, name))
    net = init_params(GATED if gated else PLAIN, gain, rng, gated=gated)
    with np.errstate(all="ignore"):  # too large a rate overflows
        net = train(net, X_train, y_train, name, lr, rng, epochs=8, momentum=0.9,
                    clip=clip)
        return accuracy(net, X_val, y_val, name), accuracy(net, X_test, y_test, name)


def tuned(name: str, **extra: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Mean validation accuracy of each rate; the best rate; tests of new seeds."""
    val = np.array([np.mean([race(name, lr, seed, **extra)[0] for seed in range(3)])
                    for lr in RACE_RATES])
    best = RACE_RATES[val.argmax()]
    return val, best, np.array([race(name, best, 100 + seed, **extra)[1]
                                for seed in range(12)])


CONTROLS = {"": {}, ", clip": {"clip": 1.0},
            ", clip, half": {"clip": 1.0, "share": 0.5}}  # half of the gain
results, behind, gaps = {}, {}, {}
for label, extra in CONTROLS.items():
    for name in RACERS if not extra else ("relu", "relu2", "swiglu"):
        results[name + label] = tuned(name, **extra)
    for name in RACERS if not extra else ("relu2", "swiglu"):
        gap = results[name + label][2] - results["relu" + label][2]
        half = 2.2 * gap.std(ddof=1) / np.sqrt(12)  # 2.2: Student's t for 12 values
        gaps[name + label], behind[name + label] = gap, (gap.mean(), half)
del gaps["relu"], behind["relu"]
rng = np.random.default_rng(0)
plain_size = count(init_params(PLAIN, 1.0, rng))
gated_size = count(init_params(GATED, 1.0, rng, gated=True))
print("parameters:", plain_size, "plain,", gated_size, "gated")
for name, (_, best, test) in results.items():
    gap = behind.get(name)
    against = "minus ReLU's {:6.3f} ± {:.3f}".format(*gap) if gap else ""
    print(f"{name:18} rate {best:5.3f}  test {test.mean():.3f}  {against}")

# %% tags=["hide-input"]
#| label: fig-race
#| fig-cap: Left, validation accuracy against the rate, means of three networks. Right, test accuracy minus that of the ReLU network of the same seed and the same help, at each one's best rate; dots are twelve seeds, bars mean and 95 per cent interval.
#| fig-alt: The curves have the same height but peak at different rates, the sigmoid far to the right of ReLU; squared ReLU and SwiGLU peak ten times below and lower. On the right seven activations lie close to zero, squared ReLU lies below and SwiGLU far below; with clipping and half the gain both lie equally little below.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.8, 4), width_ratios=(1.25, 1))
shown = {"sigmoid": ":", "tanh": "--", "relu": "-", "gelu": "-.",
         "relu2": (0, (6, 1, 1, 1)), "swiglu": (0, (1, 1))}
for i, (name, line) in enumerate(shown.items()):
    left.semilogx(RACE_RATES, results[name][0], linestyle=line,
                  marker="osD^vx"[i], ms=4, label=name)
left.set(xlabel="rate", ylabel="validation accuracy", ylim=(0, 1.02))
left.set_xticks([0.001, 0.01, 0.1, 1], [0.001, 0.01, 0.1, 1])
left.minorticks_off()
left.legend(fontsize=8, loc="lower left")
for row, (name, (mean, half)) in enumerate(behind.items()):
    right.plot(gaps[name], np.full(12, -row), ".", color="0.6")
    right.errorbar(mean, -row, xerr=half, fmt="D", color="C0", ms=4, capsize=3)
right.axvline(0, color="0.3", lw=0.8)
right.set_yticks(-np.arange(len(behind)), behind)
right.set(xlabel="test accuracy minus ReLU's", xticks=[-0.1, -0.05, 0])

# %% [markdown]
# **What the code shows:** the prediction holds. From the sigmoid to Mish no mean differs from ReLU's by more than
# `{python} f"{max(abs(behind[n][0]) for n in RACERS[:8] if n != 'relu'):.1%}"`, fewer than two of the 397 test images.
# Only the sigmoid's interval misses zero, barely, and one of seven may do so by chance.
# This race cannot rank the eight.
# Even the sigmoid, hopeless in Section 1, keeps up, if it starts at its own gain and gets
# `{python} f"{results['sigmoid'][1] / results['relu'][1]:.0f}"` times ReLU's rate.
# At a common rate of 0.05 it would have looked like the worst of the eight, and at 0.5 like the only good one.
#
# The last two lose, squared ReLU by `{python} f"{-behind['relu2'][0]:.1%}"` and SwiGLU by `{python} f"{-behind['swiglu'][0]:.1%}"`.
# Both were held to a tenth of ReLU's rate, as Section 3 warned. Is the activation to blame, or are the rules?
# With clipping, SwiGLU trails the equally clipped ReLU by `{python} f"{-behind['swiglu, clip'][0]:.1%}"`, with half the gain as well by
# `{python} f"{-behind['swiglu, clip, half'][0]:.1%}"`. So most of its loss came from the start and the rate: an own rate alone is not yet a fair race.
# Squared ReLU still trails by `{python} f"{-behind['relu2, clip, half'][0]:.1%}"`.
# What remains may be the training, the start or the task; the race does not say.
# Nor does it say anything about language models, where SwiGLU sits between normalisation and residual paths
# ([transformer](../transformers/transformer-architecture.py#a-memory-for-each-token)).

# %% tags=["test", "experiment"]
def test_claims_of_the_race():
    eight = [n for n in RACERS[:8] if n != "relu"]
    assert len(eight) == 7 and max(abs(behind[n][0]) for n in eight) * len(y_test) < 2
    assert [n for n in eight if abs(behind[n][0]) > behind[n][1]] == ["sigmoid"]
    assert behind["sigmoid"][0] < 1.2 * behind["sigmoid"][1]
    best = {n: r[1] for n, r in results.items()}
    assert best["relu2"] == best["swiglu"] == best["relu"] / 10
    for n in ("relu2", "swiglu"):
        assert all(sum(behind[n + label]) < 0 for label in CONTROLS)
    gap = [-behind["swiglu" + label][0] for label in CONTROLS]
    assert gap[0] > gap[1] > gap[2] and gap[2] < gap[0] / 2
    at = {lr: {n: results[n][0][RACE_RATES.index(lr)] for n in RACERS}
          for lr in (0.05, 0.5)}
    assert at[0.05]["sigmoid"] < min(at[0.05][n] for n in eight[1:] + ["relu"])
    assert at[0.5]["sigmoid"] > 0.95
    assert max(v for n, v in at[0.5].items() if n != "sigmoid") < 0.85


def test_race_setup():
    rng = np.random.default_rng(0)
    assert count([(np.ones((3, 4)), np.ones(4)), (np.ones((4, 2)), np.ones(2))]) == 26
    assert abs(plain_size / gated_size - 1) < 0.02

# %% [markdown]
# ## 10. What breaks, and what to try next
#
# | symptom | cause | fix | seen in |
# |---|---|---|---|
# | all inputs give the same output | slopes small, means large | another activation, the right gain, normalisation | Sections 1, 5 |
# | signals vanish or pile up at the ends | the variance of the weights | $v = 1 / (c \, d_{in})$ for this $\phi$ | Section 4 |
# | signals fine, gradients gone | looking forward only | log both | Section 4 |
# | units off on every image, more of them over time | rate too large | a smaller rate, clipping, centred inputs | Section 7 |
# | units off from the start | biases below zero | bias 0, a slope on the left | Section 7 |
# | a gated network overflows at the usual rate | slopes grow with the other factor | smaller rate or start, clipping, normalisation | Section 9 |
# | one activation "wins" | one rate or start for all, one seed | tune each, new seeds, intervals | Section 9 |
#
# ### Conventions and common confusions
#
# > [!NOTE]
# > - *Gain* multiplies the standard deviation here, as in PyTorch. In
# >   [multilayer networks](../neural-networks/multilayer-networks.py#where-to-start-initial-weights) it multiplies the variance.
# > - "Xavier" is Glorot's first name, "Kaiming" He's. The default of `nn.Linear` has the variance of neither (Exercise 2).
# > - `kaiming_normal_` counts $d_{in}$ unless you say `mode="fan_out"`. `nn.Linear` stores $W^\top$, and PyTorch takes that into account; a matrix of your own in
# >   the order of this book, passed to it, swaps the two.
# > - A saturated unit has a small slope, a dead one the slope zero on all data, a *sparse* one zero on most.
# > - Here the gate is the first half of $z$; PyTorch's `F.glu` activates the second.
# > - All sizes are root mean squares, not standard deviations: with ReLU the mean makes a difference.
#
# Try next, and predict each time: `centre=True` in `cosines_by_depth` with the sigmoid; momentum 0.9 in @fig-live;
# ELU in @fig-extrapolate; 30 hidden layers in the race.
# Next, look at the losses of such networks from above: [optimisation landscape](04-optimization-landscape.py).

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Value and slope | $dz = dh \odot \phi'(z)$ | `values, slopes = activate(name, z)` | [backpropagation](../neural-networks/backpropagation.py) |
# | Gated unit | $\phi(g) \odot u$ | `np.split(z, 2, axis=-1)` | [language models](../transformers/gpt.py) |
# | Signal and gradient | $d_{in} v c = 1$, $d_{out} v c' = 1$ | `mean_squares(name, q)` | initial weights |
# | LeCun, Glorot, He | $1/d_{in}$, $2/(d_{in} + d_{out})$, $2/d_{in}$ | `weight_variance(start, d_in, d_out)` | initial weights |
# | Mean shift | $\cos \theta' = (\sin \theta + (\pi - \theta) \cos \theta) / \pi$ | `relu_cosine(c)` | [normalisation](../neural-networks/regularization.py) |
# | Dead unit | $z \le 0$ on all data | `activity(...) == 0` | monitoring |
# | Pieces | at most $m + 1$ for one layer and one input | `kinks(params, low, high)` | what a network can draw |
# | Fair race | own rate and start, new seeds, paired differences | `tuned(name)` | every comparison |
#
# **The essential insight:** an activation does three things to a signal at once: it changes its size, its mean and its slope. Size is
# the easy one, since one number in the initial weights repairs it. The mean makes all inputs look alike and lets one bad step
# silence a unit for all of them. The slope decides what comes back. Thirty layers need all three under control. The two layers of our race forgave
# nearly everything: with its own rate, the sigmoid did as well there as the functions that replaced it.
