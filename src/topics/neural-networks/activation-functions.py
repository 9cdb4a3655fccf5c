# ---
# title: Activation functions
# summary: The bend between two layers, from the sigmoid to SwiGLU, and what it does to signals and gradients.
# prerequisites:
#   - neural-networks/backpropagation: how gradients pass through a layer
#   - math-foundations/information-theory: what a saturated output still tells
#   - training/optimizers: the idea of a gradient step, which Optimization teaches too
# notebooks: [03-activations-visualized]
# packages: [numpy, scipy, matplotlib, scikit-learn, torch]
# ---

# %% [markdown]
# # Activation functions
#
# $$
# \boxed{
# \begin{aligned}
# h &= \phi(z), \quad dz = dh \odot \phi'(z) \\
# \text{GLU}(x) &= \phi(xW) \odot xV
# \end{aligned}
# }
# $$
#
# The *pre-activation* $z$ is what a linear layer computes, the *activation function* $\phi$ acts on each entry of it alone, and $h$ is the layer's output.
# $dz$ and $dh$ are the gradients of the loss with respect to $z$ and $h$, $\phi'$ is the derivative of $\phi$, and $\odot$ the elementwise product.
# A *gated linear unit* (GLU) multiplies the activation of one linear map of the row $x$ by another; $W$ and $V$ are two weight matrices of equal shape.
#
# Without $\phi$ any stack of layers is one linear map; with the wrong $\phi$ and careless initial weights the stack does not train.
# For two decades the usual choice was a sigmoid or a tanh; the rectified linear unit (ReLU) made deep stacks trainable from random weights [@glorot2011deep], and gated units, proposed for transformers in 2020 [@shazeer2020glu], are in most language models of 2026.

# %% [markdown]
# ## 1. A bend that lets the gradient through
#
# ### A deep network that does not learn
#
# [Backpropagation](backpropagation.py) multiplies by $\phi'(z)$ once per layer.
# Build a network with eight hidden layers of 32 sigmoid units for the $8 \times 8$ images of digits that come with scikit-learn, and look at the gradient before any training.
# The code is the usual forward and backward pass, with [softmax and cross-entropy](backpropagation.py#the-first-gradient-softmax-and-cross-entropy) on top.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), written so that exp cannot overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1 + e)


def d_sigmoid(z: np.ndarray) -> np.ndarray:
    """sigmoid(z) sigmoid(-z), the derivative of the sigmoid, accurate on both sides."""
    e = np.exp(-np.abs(z))
    return e / (1 + e) ** 2


def init_params(sizes: list[int], gain: float, rng: np.random.Generator) -> list:
    """Pairs (W, b); W has standard deviation gain / sqrt(d_in), at the top gain 1."""
    gains = [gain] * (len(sizes) - 2) + [1.0]
    return [(rng.normal(0, g / np.sqrt(d_in), (d_in, d_out)), np.zeros(d_out))
            for g, d_in, d_out in zip(gains, sizes[:-1], sizes[1:])]


def forward(params: list, X: np.ndarray, phi) -> tuple[list, list]:
    """Pre-activations z[0], z[1], ... and layer inputs h[0] = X, h[1], ..."""
    z, h = [], [X]
    for W, b in params:
        z.append(h[-1] @ W + b)
        h.append(phi(z[-1]))
    return z, h[:-1]  # the logits z[-1] get no activation


def backward(params: list, z: list, h: list, delta: np.ndarray, d_phi) -> list:
    """[(dW, db), ...] from delta = dL/dlogits."""
    grads = []
    for l in reversed(range(len(params))):
        grads.append((h[l].T @ delta, delta.sum(axis=0)))
        if l > 0:
            delta = (delta @ params[l][0].T) * d_phi(z[l - 1])
    return grads[::-1]


# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def gradients(params: list, X: np.ndarray, y: np.ndarray, phi, d_phi) -> list:
    """Gradients of the mean cross-entropy, y (n,) the classes."""
    z, h = forward(params, X, phi)
    delta = (softmax(z[-1]) - np.eye(z[-1].shape[1])[y]) / len(y)
    return backward(params, z, h, delta, d_phi)


def sgd(params: list, X: np.ndarray, y: np.ndarray, phi, d_phi, lr: float,
        rng: np.random.Generator, epochs: int = 6, batch: int = 25) -> list:
    """Parameters after plain stochastic gradient descent."""
    for _ in range(epochs):
        for rows in rng.permutation(len(y)).reshape(-1, batch):
            grads = gradients(params, X[rows], y[rows], phi, d_phi)
            params = [(W - lr * dW, b - lr * db)
                      for (W, b), (dW, db) in zip(params, grads)]
    return params


def accuracy(params: list, X: np.ndarray, y: np.ndarray, phi) -> float:
    """Share of rows whose largest logit is the true class."""
    return float((forward(params, X, phi)[0][-1].argmax(axis=1) == y).mean())


digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
images = (digits.data[order] - digits.data.mean()) / digits.data.std()
X_train, X_val, X_test = np.split(images, [1000, 1400])
y_train, y_val, y_test = np.split(digits.target[order], [1000, 1400])

SIZES = [64] + [32] * 8 + [10]
untrained = init_params(SIZES, 1.0, np.random.default_rng(0))
norms = [np.linalg.norm(dW)
         for dW, _ in gradients(untrained, X_train, y_train, sigmoid, d_sigmoid)]
print("norm of dW, first to last layer:", " ".join(f"{n:.0e}" for n in norms))
stuck = {lr: accuracy(sgd(untrained, X_train, y_train, sigmoid, d_sigmoid, lr,
                          np.random.default_rng(0)), X_test, y_test, sigmoid)
         for lr in (0.01, 0.1, 1.0)}
print("test accuracy by rate:", {lr: round(a, 2) for lr, a in stuck.items()})

# %% [markdown]
# The first layer's gradient is `{python} f"{norms[-1] / norms[0]:,.0f}"` times smaller than the last one's.
# Six passes over 1,000 images leave the test accuracy at `{python} f"{max(stuck.values()):.0%}"` at best, at each of three learning rates: chance is 10%.
# Nothing is wrong with the code.
# The derivative of a sigmoid is at most $1/4$, and eight of them in a row are at most $4^{-8} = 1/65{,}536$.
# Weights of standard deviation $1/\sqrt{d}$, for $d$ inputs, do not make up for that.
#
# ### Three things an activation must do
#
# 1. **Bend.** A [stack of linear layers](multilayer-networks.py#two-linear-layers-are-one) is linear, so $\phi$ must not be.
# 2. **Pass gradients.** Where $\phi'$ is near zero, the layers before it do not learn. It must be of size one for a good part of the inputs.
# 3. **Keep the scale.** What leaves a layer should be about as large as what came in, or fifty layers make it vanish or explode.
#
# With weights of that size the sigmoid fails at the second.
# The cure is to pass positive inputs unchanged and to block negative ones:
#
# $$
# \text{ReLU}(z) = \max(z, 0) = z \, [z \gt 0],
# $$
#
# where the bracket is 1 if its content is true and 0 otherwise.
#
# **What this means:** the derivative is 1 or 0, never $1/4$.
# Along a path of active units the gradient is multiplied by weights alone.
# Fukushima used it in 1969 [@fukushima1969visual]; Nair and Hinton brought it to deep learning [@nair2010rectified]; Glorot et al. showed that with it deep networks train well without the unsupervised pretraining that was then usual [@glorot2011deep].
#
# ### One picture: the input times a gate
#
# Read ReLU as the input times a *gate* $g(z)$ between 0 and 1.
# Its gate is a switch; later activations make the switch smooth:
#
# $$
# \begin{aligned}
# \phi(z) &= z \, g(z), \\
# \text{ReLU: } \quad g(z) &= [z \gt 0], \\
# \text{GELU: } \quad g(z) &= \Phi(z), \\
# \text{SiLU: } \quad g(z) &= \sigma(z) = \frac{1}{1 + e^{-z}}
# \end{aligned}
# $$
#
# **What this means:** these are the Gaussian error linear unit and the sigmoid linear unit.
# $\Phi(z)$ is the probability that a standard normal number lies below $z$; $\sigma$ is the sigmoid.
# The sigmoid is back, not as the signal but as the gate on it.
# The three gates satisfy $g(z) + g(-z) = 1$ (except ReLU's at 0), so $\phi(z) - \phi(-z) = z$: each of these activations is $z/2$ plus an even function, half a straight line and half a bend (for ReLU, $z/2 + \lvert z \rvert / 2$).
#
# | activation | $\phi(z)$ | $\phi'(z)$ | use, or source |
# |---|---|---|---|
# | sigmoid | $\sigma(z)$ | $\sigma(z) \sigma(-z)$ | gates, probabilities |
# | tanh | $2\sigma(2z) - 1$ | $1 - \tanh^2(z)$ | [recurrent networks](../architectures/rnns.py#the-recurrence) |
# | ReLU | $\max(z, 0)$ | $[z \gt 0]$ | [@nair2010rectified] |
# | leaky ReLU | $z$, or $az$ if $z \le 0$ | 1, or $a$ | $a = 0.01$ [@maas2013rectifier]; PReLU learns $a$ [@he2015delving] |
# | softplus | $\log(1 + e^z)$ | $\sigma(z)$ | [@dugas2001incorporating] |
# | ELU | $z$, or $e^z - 1$ if $z \le 0$ | 1, or $e^z$ | [@clevert2016fast], with its factor 1 |
# | SELU | $\lambda z$, or $\lambda \alpha (e^z - 1)$ if $z \le 0$ | $\lambda$, or $\lambda \alpha e^z$ | $\lambda \approx 1.05$, $\alpha \approx 1.67$ [@klambauer2017self] |
# | GELU | $z \Phi(z)$ | $\Phi(z) + z \varphi(z)$, with $\varphi$ the normal density | [@hendrycks2016gaussian] |
# | SiLU, Swish | $z \sigma(z)$ | $\sigma(z) + z \sigma(z) \sigma(-z)$ | [@hendrycks2016gaussian; @elfwing2018sigmoid; @ramachandran2017searching] |
# | Mish | $z \tanh(\log(1 + e^z))$ | by the product rule | [@misra2020mish] |
# | squared ReLU | $\max(z, 0)^2$ | $2 \max(z, 0)$ | [@so2021primer] |
#
# All act entry by entry: $z$, $h$, $dh$ and $dz$ share one shape $(n, d)$.
# A gated unit has more:
#
# | quantity | code | shape |
# |---|---|---|
# | input | `X` | $(n, d)$ |
# | gate and value weights | `W`, `V` | $(d, m)$ |
# | gate and value, $G = XW$ and $U = XV$ | `G`, `U` | $(n, m)$ |
# | hidden layer $\phi(G) \odot U$ | `H` | $(n, m)$ |
# | output weights | `W_out` | $(m, d)$ |

# %% [markdown]
# ### By hand
#
# At $z = \log 3$ exponentials are easy: $e^{-z} = 1/3$, so $\sigma(z) = 1/(1 + 1/3) = 3/4$ and $\sigma(-z) = 1/4$.
# The sigmoid's derivative is $3/4 \cdot 1/4 = 3/16$ at both $z$ and $-z$.
# For tanh, $\sigma(2z) = 1/(1 + 1/9) = 9/10$, so $\tanh(z) = 2 \cdot 0.9 - 1 = 0.8$, with derivative $1 - 0.64 = 0.36$.
# For SiLU, multiply the gate by $z$:
#
# $$
# \begin{aligned}
# \text{SiLU}(\log 3) &= \tfrac{3}{4} \log 3 = 0.8240 \\
# \text{SiLU}'(\log 3) &= \tfrac{3}{4} + \tfrac{3}{16} \log 3 = 0.9560 \\
# \text{SiLU}(-\log 3) &= -\tfrac{1}{4} \log 3 = -0.2747 \\
# \text{SiLU}'(-\log 3) &= \tfrac{1}{4} - \tfrac{3}{16} \log 3 = 0.0440
# \end{aligned}
# $$
#
# The two values differ by $\log 3 = z$, and the two derivatives add up to 1: the identity above, and its derivative.
#
# ### In code
#
# Every activation and its derivative, as in the table; the tests compare each with PyTorch's function and its autograd.

# %%
from scipy.special import ndtr  # Phi, the normal distribution function

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)


def d_tanh(z): return 1 - np.tanh(z) ** 2


def relu(z): return np.maximum(z, 0.0)
def d_relu(z): return np.where(z > 0, 1.0, 0.0)


def leaky_relu(z, a=0.01): return np.where(z > 0, z, a * z)
def d_leaky_relu(z, a=0.01): return np.where(z > 0, 1.0, a)


def softplus(z): return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def elu(z): return np.where(z > 0, z, np.expm1(np.minimum(z, 0.0)))
def d_elu(z): return np.where(z > 0, 1.0, np.exp(np.minimum(z, 0.0)))


def selu(z):
    return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0.0)))


def d_selu(z):
    return SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0.0)))


def gelu(z): return z * ndtr(z)
def d_gelu(z): return ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def gelu_tanh(z):
    return 0.5 * z * (1 + np.tanh(GELU_SCALE * (z + 0.044715 * z**3)))


def d_gelu_tanh(z):
    t = np.tanh(GELU_SCALE * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * GELU_SCALE * (1 + 0.134145 * z**2)


def silu(z): return z * sigmoid(z)
def d_silu(z):
    g = sigmoid(z)
    return g * (1 + z * (1 - g))


def mish(z): return z * np.tanh(softplus(z))


def d_mish(z):
    t = np.tanh(softplus(z))
    return t + z * (1 - t**2) * sigmoid(z)


def relu2(z): return relu(z) ** 2
def d_relu2(z): return 2 * relu(z)


def pair(name: str) -> tuple:
    """An activation and its derivative, both functions of z."""
    return {"sigmoid": (sigmoid, d_sigmoid), "tanh": (np.tanh, d_tanh),
            "relu": (relu, d_relu), "leaky_relu": (leaky_relu, d_leaky_relu),
            "softplus": (softplus, sigmoid), "elu": (elu, d_elu),
            "selu": (selu, d_selu), "gelu": (gelu, d_gelu),
            "gelu_tanh": (gelu_tanh, d_gelu_tanh), "silu": (silu, d_silu),
            "mish": (mish, d_mish), "relu2": (relu2, d_relu2)}[name]


z_hand = np.array([np.log(3), -np.log(3)])
assert np.allclose(sigmoid(z_hand), [3 / 4, 1 / 4])
assert np.allclose(d_sigmoid(z_hand), 3 / 16)
assert np.allclose(2 * sigmoid(2 * z_hand) - 1, [0.8, -0.8])
assert np.allclose(np.tanh(z_hand), [0.8, -0.8]) and np.allclose(d_tanh(z_hand), 0.36)
assert np.allclose(silu(z_hand).round(4), [0.8240, -0.2747])
assert np.allclose(d_silu(z_hand).round(4), [0.9560, 0.0440])
print("SiLU", silu(z_hand).round(4), " derivative", d_silu(z_hand).round(4))

# %%
#| label: fig-activations
#| fig-cap: "Five activations (left) and their derivatives (right)."
#| fig-alt: Left, sigmoid and tanh level off on both sides while ReLU, GELU and SiLU grow on the right. Right, the sigmoid's derivative is never above a quarter and tanh's is a bump at zero; the other three rise to about one for positive inputs and stay there.
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0))
z_plot = np.linspace(-4, 4, 400)
for name, style in [("sigmoid", ":"), ("tanh", "-."), ("relu", "-"), ("gelu", "--"),
                    ("silu", (0, (6, 1, 1, 1, 1, 1)))]:
    for ax, function in zip(axes, pair(name)):
        ax.plot(z_plot, function(z_plot), linestyle=style, label=name)
axes[0].set(xlabel="z", ylabel="activation", ylim=(-1.2, 3))
axes[1].set(xlabel="z", ylabel="derivative")
axes[0].legend(fontsize=8)

# %% [markdown]
# In @fig-activations the old pair is flat on both sides, and the new ones on one side only.
# If you stop here you have the correct picture: *a modern activation is a gate on its own input, and the gradient goes where the gate is open.*

# %% tags=["test"]
import torch
import torch.nn.functional as F

NAMES = ["sigmoid", "tanh", "relu", "leaky_relu", "softplus", "elu", "selu", "gelu",
         "gelu_tanh", "silu", "mish", "relu2"]


def torch_function(name: str):
    """PyTorch's version of the activation `name`."""
    special = {"sigmoid": torch.sigmoid, "tanh": torch.tanh,
               "gelu_tanh": lambda t: F.gelu(t, approximate="tanh"),
               "softplus": lambda t: F.softplus(t, threshold=40),
               "relu2": lambda t: F.relu(t) ** 2}
    return special.get(name) or getattr(F, name)


def test_activations_match_torch():
    rng = np.random.default_rng(1)
    for name in NAMES:
        phi, d_phi = pair(name)
        for trial in range(24):
            shape = tuple(int(d) for d in rng.integers(0, 6, size=1 + trial % 3))
            z = rng.normal(size=shape) * [0.01, 1, 5, 30][trial % 4]
            check_against_torch(name, phi, d_phi, z)
        edges = np.outer([1, -1], [0, 1e-300, 1e-8, 20, 38, 745, 1e3, 1e4])
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            check_against_torch(name, phi, d_phi, edges)


def check_against_torch(name, phi, d_phi, z):
    t = torch.tensor(z, requires_grad=True)
    out = torch_function(name)(t)
    out.sum().backward()
    assert phi(z).shape == d_phi(z).shape == z.shape
    assert np.allclose(phi(z), out.detach().numpy(), rtol=1e-12, atol=1e-13), name
    assert np.allclose(d_phi(z), t.grad.numpy(), rtol=1e-12, atol=1e-13), name


def test_network_gradients_match_torch():
    rng = np.random.default_rng(2)
    for trial in range(36):
        name = NAMES[trial % len(NAMES)]
        sizes = [int(d) for d in rng.permutation(np.arange(2, 10))[: 3 + trial % 3]]
        params = [(W, rng.normal(size=b.shape))
                  for W, b in init_params(sizes, 1.5, rng)]
        n = 1 + trial % 6
        X, y = rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], size=n)
        leaves = [[torch.tensor(a, requires_grad=True) for a in p] for p in params]
        H = torch.tensor(X)
        for l, (W, b) in enumerate(leaves):
            H = H @ W + b
            H = torch_function(name)(H) if l < len(leaves) - 1 else H
        F.cross_entropy(H, torch.tensor(y)).backward()
        ours = gradients(params, X, y, *pair(name))
        for mine, theirs in zip(ours, leaves):
            for a, t in zip(mine, theirs):
                assert np.abs(a - t.grad.numpy()).max() < 1e-10, name


def test_identities():
    z = np.random.default_rng(3).normal(size=500) * 5
    assert np.abs(np.tanh(z) - (2 * sigmoid(2 * z) - 1)).max() < 1e-14
    for name in ("relu", "gelu", "silu", "gelu_tanh", "softplus"):
        phi, d_phi = pair(name)
        assert np.abs(phi(z) - phi(-z) - z).max() < 1e-13
        assert np.abs(d_phi(z) + d_phi(-z) - 1).max() < 1e-13
    assert d_sigmoid(z).max() <= 0.25


def test_published_constants():
    assert abs(GELU_SCALE - np.sqrt(2 / np.pi)) < 1e-15
    assert abs(0.134145 - 3 * 0.044715) < 1e-15
    assert softplus(0.0) == np.log(2) and sigmoid(0.0) == 0.5
    assert sigmoid(np.array(-745.0)) > 0 and d_sigmoid(np.array(50.0)) > 0


# %% tags=["test", "experiment"]
def test_the_sigmoid_network_is_stuck():
    assert norms[-1] / norms[0] > 1e4 and max(stuck.values()) < 0.2

# %% [markdown]
# ## 2. Deeper treatment
#
# ### Sigmoid and tanh: the same function, two scales
#
# $\tanh(z) = 2\sigma(2z) - 1$: a sigmoid stretched to run from $-1$ to 1 and four times as steep at 0.
# Both *saturate*: far from 0 the output stops moving and the derivative falls like $e^{-\lvert z \rvert}$ (tanh: $4e^{-2 \lvert z \rvert}$).
# A saturated unit still tells which side its input is on, and little more.
# In the language of [information theory](../math-foundations/information-theory.py#surprisal-and-entropy), round the output to 256 levels and measure its entropy when $z$ is normal:

# %%
def output_bits(std: float) -> float:
    """Entropy in bits of sigmoid(z), z ~ N(0, std^2), rounded to 256 levels."""
    z = np.linspace(-8, 8, 400_001)
    levels = np.minimum(sigmoid(std * z) * 256, 255).astype(int)
    p = np.bincount(levels, weights=np.exp(-(z**2) / 2), minlength=256)
    p = p[p > 0] / p.sum()
    return float(-(p * np.log2(p)).sum())


for std in (0.1, 1.7, 10.0, 1000.0):
    print(f"std of z {std:6.1f}: {output_bits(std):.1f} of 8 bits")

# %% [markdown]
# **What the code shows:** too small an input wastes the levels, too large an input leaves one bit, the sign.
# Between lies a scale at which the unit says most, so the scale of $z$ is worth controlling.
#
# The second trouble of the sigmoid is that it is never negative.
# For one example $dW_{jk} = h_j \, dz_k$, so when all $h_j$ are positive all weights into unit $k$ get a gradient of the same sign, and they can only rise or fall together.
# And the mean output of about $1/2$ adds a large common term to the next layer.
# LeCun et al. advised activations with mean near zero, tanh rather than the sigmoid [@lecun2012efficient].
#
# The two functions can be exchanged exactly.
# Put $\tanh(z) = 2\sigma(2z) - 1$ into a tanh network and absorb the constants into weights and biases:

# %%
def as_sigmoid(params: list) -> list:
    """The sigmoid network that computes the same as the tanh network `params`."""
    twin = []
    for l, (W, b) in enumerate(params):
        if l > 0:
            W, b = 2 * W, b - W.sum(axis=0)  # its input is now (1 + tanh) / 2
        if l < len(params) - 1:
            W, b = 2 * W, 2 * b  # the sigmoid wants 2z
        twin.append((W, b))
    return twin


# %% [markdown]
# **What this means:** weights four times as large between hidden layers (twice at the two ends) and shifted biases turn tanh into sigmoid.
# Nothing that a tanh network can express is out of a sigmoid network's reach; what differs is where you start, and what a gradient step does.
#
# ### Scale: where the gains come from
#
# Let the weights of a layer with $d$ inputs be independent with mean 0 and standard deviation $\gamma / \sqrt{d}$.
# ([Multilayer networks](multilayer-networks.py#where-to-start-initial-weights) calls $\gamma^2$ the gain; here, as in PyTorch, the gain is $\gamma$.)
# Let $q$ be the mean square of $z$, and $u$ a standard normal number.
# A sum of many terms is close to normal.
# Count the gradient from above as independent of $z$, and from layer to layer, with square weight matrices,
#
# $$
# \begin{aligned}
# q' &= \gamma^2 \, \mathbb{E}\left[\phi(\sqrt{q} \, u)^2\right], \\
# \mathbb{E}[dz^2] &= \gamma^2 \, \mathbb{E}\left[\phi'(\sqrt{q} \, u)^2\right] \mathbb{E}[dz'^2]
# \end{aligned}
# $$
#
# where a prime on $q$ and $dz$ marks the next layer [@he2015delving; @schoenholz2017deep].
#
# **What this means:** to hold signals at $q = 1$ choose $\gamma = 1/\sqrt{\mathbb{E}[\phi(u)^2]}$; to hold gradients, $\gamma = 1/\sqrt{\mathbb{E}[\phi'(u)^2]}$.
# One number cannot always do both.

# %%
def gaussian_mean_square(f, q: float = 1.0) -> float:
    """E[f(sqrt(q) u)^2] for standard normal u."""
    u = np.linspace(-12, 12, 48_000)  # an even number: 0 is not among them
    weights = np.exp(-(u**2) / 2)
    return float((f(np.sqrt(q) * u) ** 2 * weights).sum() / weights.sum())


def gains(name: str) -> tuple[float, float]:
    """The gain that keeps signals, and the one that keeps gradients, at q = 1."""
    return tuple(gaussian_mean_square(f) ** -0.5 for f in pair(name))


print("            signals  gradients")
for name in ("sigmoid", "tanh", "relu", "leaky_relu", "selu", "gelu", "silu", "relu2"):
    print(f"{name:11s} {gains(name)[0]:8.3f} {gains(name)[1]:10.3f}")

# %% [markdown]
# **What the code shows:** for ReLU and its leaky relative both columns agree, which is why He's rule works so well: $\gamma = \sqrt{2}$.
# `nn.init.calculate_gain` returns the same $\sqrt{2}$, and $\sqrt{2 / (1 + a^2)}$ for slope $a$.
# Its other values follow no such rule: 1 for the sigmoid, $5/3$ for tanh, $3/4$ for SELU.
# A PyTorch user asked for their derivation in 2019; the $3/4$ had been reported as stable in a forum [@pytorch2019gain], while SELU's constants are made for gain 1 [@klambauer2017self].
# For GELU and SiLU it has no value at all.
# Now the test: 40 layers of random weights.

# %%
#| label: fig-depth
#| fig-cap: "Root mean square of the pre-activations going forward (left) and of the gradients coming back (right) in 40 random layers of width 200; medians of three networks. The legend names the gain and, where it is not 1, the size of the first pre-activations; the axes are cut."
#| fig-alt: Only ReLU with gain root two stays level in both panels. GELU grows when it starts above one and vanishes when it starts below; tanh gradients shrink at gain one and grow at five thirds; the sigmoid's gradient leaves the plot within five layers.
def through_depth(name: str, gain: float, size: float, seed: int, depth: int = 40,
                  width: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Root mean squares of z forward, from `size` on, and of dz backward."""
    rng = np.random.default_rng(seed)
    phi, d_phi = pair(name)
    params = init_params([width] * (depth + 1), gain, rng)
    z, h = forward(params, rng.normal(size=(50, width)) * size / gain, phi)
    back, delta = [], rng.normal(size=(50, width))
    for l in reversed(range(1, depth)):
        delta = (delta @ params[l][0].T) * d_phi(z[l - 1])
        back.append(np.sqrt((delta**2).mean()))
    return np.sqrt([(a**2).mean() for a in z[:-1]]), np.array(back)


COMPARED = [("sigmoid", 1.0, 1.0, ":"), ("tanh", 1.0, 1.0, "-."),
            ("tanh", 5 / 3, 1.0, (0, (1, 1))), ("relu", np.sqrt(2), 1.0, "-"),
            ("gelu", gains("gelu")[0], 1.3, "--"),
            ("gelu", gains("gelu")[0], 0.7, (0, (6, 1, 1, 1, 1, 1)))]
depth_runs = {}
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1))
for name, gain, size, style in COMPARED:
    runs = [through_depth(name, gain, size, seed) for seed in range(3)]
    label = f"{name}, {gain:.2f}" + (f", from {size}" if size != 1 else "")
    depth_runs[label] = [np.median(r, axis=0) for r in zip(*runs)]
    for ax, curve in zip(axes, depth_runs[label]):
        ax.semilogy(np.arange(1, 40), curve, linestyle=style, label=label)
axes[0].set(xlabel="layer", ylabel="size of z", ylim=(1e-3, 200))
axes[1].set(xlabel="layers from the top", ylabel="size of dz", ylim=(1e-3, 200))
axes[0].legend(fontsize=7, loc="lower left")

# %% [markdown]
# **What the code shows:** the curves of @fig-depth follow the two formulas.
# Tanh at 1 loses its gradient slowly and at $5/3$ amplifies it.
# GELU was given exactly the gain that keeps $q = 1$, and leaves it: started above 1 the signal grows, started below it dies.
# The reason is that $q = 1$ is an *unstable* balance: large inputs pass GELU almost as they pass ReLU, small ones of either sign at half size, so a layer that comes out too large makes the next one larger still (Exercise 6).
# ReLU commutes with positive factors and has no preferred size.
# So GELU and SiLU networks lean on what [regularization](regularization.py#keep-the-signals-in-range) and the [transformer](../transformers/transformer-architecture.py#the-residual-stream) add: normalisation, which resets $q$ before each layer, and residual paths.
#
# ### The kink
#
# ReLU has no derivative at 0.
# Every number in $[0, 1]$ is a [subgradient](../math-foundations/calculus.py#kinks), the slope of a line through the kink that is nowhere above the function; libraries take 0.
# In training it hardly matters, because a sum of real numbers is almost never exactly 0.
# The exceptions are made by hand, such as a layer initialised to zeros.
# And the choice is not consistent: $\text{ReLU}(z) - \text{ReLU}(-z) = z$ has slope 1 everywhere, but autograd says 0 at 0 [@kakade2018provably].
#
# ### Dead units, and activations that cannot die
#
# A ReLU unit whose $z$ is negative for every training example has $dz = 0$ for every example, so its weights and bias get no gradient: it is *dead*.
# Only a change in the layers below can bring it back, and in a first layer there is none.
# A leaky ReLU keeps a slope $a$ on the left; PReLU learns it [@he2015delving].
# ELU and SELU bend to a negative constant, which also pulls the mean output toward 0; they saturate there, but never reach slope 0 exactly.
# Softplus is the smooth ReLU, the integral of the sigmoid.
# Section 3 kills units and counts them.
#
# ### GELU in two forms
#
# $\Phi$ has no elementary formula.
# The paper gives it by the error function, $\Phi(z) = \frac{1}{2}(1 + \text{erf}(z / \sqrt{2}))$, and offers two approximations: one with tanh, and $z\sigma(1.702z)$ [@hendrycks2016gaussian].

# %%
#| label: fig-gelu
#| fig-cap: "Absolute error of the two approximations of GELU."
#| fig-alt: The tanh form stays below one thousandth everywhere; the sigmoid form reaches two hundredths, forty times more.
def quick_gelu(z: np.ndarray) -> np.ndarray:
    """The sigmoid approximation of GELU."""
    return z * sigmoid(1.702 * z)


z_fine = np.linspace(-5, 5, 20_001)
tanh_gap = np.abs(gelu_tanh(z_fine) - gelu(z_fine))
quick_gap = np.abs(quick_gelu(z_fine) - gelu(z_fine))
fig, ax = plt.subplots(figsize=(5.4, 2.7))
ax.semilogy(z_fine, np.maximum(tanh_gap, 1e-7), label="tanh form")
ax.semilogy(z_fine, np.maximum(quick_gap, 1e-7), "--", label="sigmoid form")
ax.set(xlabel="z", ylabel="error", ylim=(1e-6, 0.5))
ax.legend(loc="upper center", ncols=2)

# %% [markdown]
# The tanh form is off by at most `{python} f"{tanh_gap.max():.5f}"`, at a distance of `{python} f"{abs(z_fine[tanh_gap.argmax()]):.1f}"` from zero, and the sigmoid form by `{python} f"{quick_gap.max():.3f}"` (@fig-gelu).
# Neither error is large, but a model trained with one form must run with the same one (Section 3).
#
# SiLU and GELU dip below zero: their least values are `{python} f"{silu(z_fine).min():.3f}"` and `{python} f"{gelu(z_fine).min():.3f}"`.
# Ramachandran et al. found SiLU by a search over formulas, under the name Swish, with a factor $\beta$ inside the sigmoid [@ramachandran2017searching]; it already stood in the GELU paper, and Elfwing et al. had used it in reinforcement learning [@elfwing2018sigmoid].
# Another search, over whole language models, found squared ReLU [@so2021primer].
# It is zero for every negative input, which can save work at inference [@zhang2024relu2], and its slope is unbounded.
#
# ### Gated units
#
# In $z \, g(z)$ the signal gates itself.
# Let the gate have weights of its own and you have a gated linear unit, first with a sigmoid [@dauphin2017language]; Shazeer put other functions in its place [@shazeer2020glu]:
#
# $$
# \begin{aligned}
# \text{SwiGLU}(x) &= \left( \text{SiLU}(xW) \odot xV \right) W_{out}, \\
# \text{GEGLU}(x) &= \left( \text{GELU}(xW) \odot xV \right) W_{out}
# \end{aligned}
# $$
#
# With $H = \phi(G) \odot U$ the backward pass is the product rule: $dU = dH \odot \phi(G)$ and $dG = dH \odot U \odot \phi'(G)$, and each then passes its linear map.
#
# **What this means:** the unit multiplies two functions of the input, so it can form products of features.
# Two units are enough for an exact one: $\phi(g) \, u + \phi(-g) \, (-u) = g u$, by the identity of Section 1. A layer of ReLUs is piecewise linear and can only come close.
# With $W = V$ and $\phi$ the ReLU it is the squared ReLU.
# Shazeer reports better [perplexity](../math-foundations/probability.py#entropy-cross-entropy-divergence) at equal cost and offers no explanation.

# %%
def glu_forward(X: np.ndarray, W: np.ndarray, V: np.ndarray, W_out: np.ndarray,
                phi) -> tuple:
    """X (n, d), W and V (d, m), W_out (m, d_out): output (n, d_out) and G, U, H."""
    G, U = X @ W, X @ V
    H = phi(G) * U
    return H @ W_out, G, U, H


def glu_backward(dY: np.ndarray, X: np.ndarray, W: np.ndarray, V: np.ndarray,
                 W_out: np.ndarray, G: np.ndarray, U: np.ndarray, H: np.ndarray,
                 phi, d_phi) -> tuple:
    """dX, dW, dV, dW_out from dY (n, d_out)."""
    dH = dY @ W_out.T
    dG, dU = dH * U * d_phi(G), dH * phi(G)
    return dG @ W.T + dU @ V.T, X.T @ dG, X.T @ dU, H.T @ dY


rng = np.random.default_rng(4)
X_demo = rng.normal(size=(5, 3))
W_demo, V_demo = rng.normal(size=(2, 3, 7))
Y_demo, *_ = glu_forward(X_demo, W_demo, V_demo, rng.normal(size=(7, 3)), silu)
assert Y_demo.shape == (5, 3)
same, *_ = glu_forward(X_demo, W_demo, W_demo, np.eye(7), relu)
print("ReLU as gate and W = V give the squared ReLU:",
      np.allclose(same, relu2(X_demo @ W_demo)))

# %% [markdown]
# The third matrix must be paid for.
# An ordinary feed-forward layer of width $4d$ has $2 \cdot d \cdot 4d = 8d^2$ weights, a gated one of width $m$ has $3dm$; equal cost means $m = \frac{2}{3} \cdot 4d = \frac{8}{3} d$.
# Llama follows this rule [@touvron2023llama]; its 7-billion model of 2023, like Llama 2's [@touvron2023llama2], has $d = 4096$ and 32 layers, and rounds $m$ up to a multiple of 256.

# %%
def ffn_weights(d: int, width: int, gated: bool) -> int:
    """Weights of a feed-forward layer without biases."""
    return (3 if gated else 2) * d * width


llama_width = 256 * -(-int(8 * 4096 / 3) // 256)  # rounded up
plain_count = ffn_weights(4096, 4 * 4096, gated=False)
gated_count = ffn_weights(4096, llama_width, gated=True)
assert llama_width == 11_008 and gated_count == 135_266_304
print(f"width {llama_width}: {gated_count / 1e6:.1f} M weights a layer "
      f"(plain {plain_count / 1e6:.1f} M), {32 * gated_count / 1e9:.2f} B in 32 layers")

# %% [markdown]
# **What the code shows:** the two cost the same to within a percent, and these layers hold most of the model's 6.7 billion parameters.

# %% tags=["test"]
def test_glu_matches_torch():
    rng = np.random.default_rng(5)
    for trial in range(24):
        name = ["sigmoid", "gelu", "silu", "relu", "gelu_tanh", "tanh"][trial % 6]
        n, (d, m, d_out) = trial % 5, rng.permutation(np.arange(1, 9))[:3]
        scale = [1, 1, 30][trial % 3]
        arrays = [rng.normal(size=s) for s in ((n, d), (d, m), (d, m), (m, d_out))]
        arrays[0] *= scale
        dY = rng.normal(size=(n, d_out))
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        Xt, Wt, Vt, Ot = leaves
        out = (torch_function(name)(Xt @ Wt) * (Xt @ Vt)) @ Ot
        out.backward(torch.tensor(dY))
        Y, G, U, H = glu_forward(*arrays, pair(name)[0])
        want = out.detach().numpy()
        assert Y.shape == (n, d_out) and np.allclose(Y, want, rtol=1e-10, atol=1e-10)
        grads = glu_backward(dY, *arrays, G, U, H, *pair(name))
        for mine, t in zip(grads, leaves):
            assert np.allclose(mine, t.grad.numpy(), rtol=1e-10, atol=1e-10), name
    X, (W, V) = rng.normal(size=(4, 3)), rng.normal(size=(2, 3, 6))
    both = torch.tensor(np.concatenate([X @ V, X @ W], axis=1))  # the gate comes second
    assert np.allclose(glu_forward(X, W, V, np.eye(6), sigmoid)[0], F.glu(both).numpy())
    assert np.allclose(glu_forward(X, W, W, np.eye(6), relu)[0], relu2(X @ W))


def test_output_bits_matches_the_normal_distribution():
    k = np.arange(1, 256) / 256
    edges = np.concatenate([[-np.inf], np.log(k / (1 - k)), [np.inf]])
    for std in (0.1, 0.5, 1.7, 10.0, 1000.0):
        p = np.diff(ndtr(edges / std))
        p = p[p > 0]
        assert abs(output_bits(std) + (p * np.log2(p)).sum()) < 2e-3
    assert output_bits(1e6) < 1.01


def test_two_gated_units_multiply_and_the_kink_is_inconsistent():
    g, u = np.random.default_rng(11).normal(size=(2, 50))
    for phi in (relu, gelu, silu):
        assert np.abs(phi(g) * u + phi(-g) * -u - g * u).max() < 1e-14
    t = torch.zeros(1, requires_grad=True)
    (F.relu(t) - F.relu(-t)).backward()
    assert t.grad.item() == 0


def test_as_sigmoid_is_the_same_function():
    rng = np.random.default_rng(6)
    for trial in range(24):
        sizes = [int(d) for d in rng.integers(1, 9, size=2 + trial % 5)]
        params = [(W, rng.normal(size=b.shape))
                  for W, b in init_params(sizes, 1.3, rng)]
        X = rng.normal(size=(trial % 4, sizes[0])) * [1, 20][trial % 2]
        want = forward(params, X, np.tanh)[0][-1]
        got = forward(as_sigmoid(params), X, sigmoid)[0][-1]
        assert np.abs(got - want).max(initial=0) < 1e-11


def test_gains():
    gain = torch.nn.init.calculate_gain
    assert max(abs(g - gain("relu")) for g in gains("relu")) < 1e-6
    assert abs(gains("leaky_relu")[0] - gain("leaky_relu", 0.01)) < 1e-6
    assert abs(gains("selu")[0] - 1) < 1e-6 and gain("selu") == 0.75
    assert gain("sigmoid") == 1 and gain("tanh") == 5 / 3
    for name in ("gelu", "silu"):
        try:
            assert gain(name) is None
        except ValueError as error:
            assert "Unsupported" in str(error)
    assert gaussian_mean_square(d_gelu) < 0.5 < gaussian_mean_square(d_gelu, 4.0)
    assert 1.59 < gains("tanh")[0] < 1.60 and 1.46 < gains("tanh")[1] < 1.47
    for name in NAMES:
        try:
            gain(name)
            known = True
        except ValueError:
            known = False
        assert known == (name in ("sigmoid", "tanh", "relu", "leaky_relu", "selu"))


def test_initial_weights_have_the_stated_scale():
    rng = np.random.default_rng(11)
    for gain in (0.5, 2.0):
        params = init_params([400, 300, 500, 200], gain, rng)
        for (W, b), g in zip(params, (gain, gain, 1.0)):
            assert abs(W.std() * np.sqrt(len(W)) / g - 1) < 0.02 and not b.any()


def test_gains_hold_in_simulation():
    rng = np.random.default_rng(7)
    for name in NAMES:
        phi, d_phi = pair(name)
        z = rng.normal(size=(300, 400))
        W = rng.normal(size=(400, 500)) * gains(name)[0] / 20
        tolerance = 0.35 if name == "relu2" else 0.1
        assert abs(((phi(z) @ W) ** 2).mean() - 1) < tolerance, name
        W = rng.normal(size=(400, 400)) * gains(name)[1] / 20
        dz = (rng.normal(size=(300, 400)) @ W.T) * d_phi(z)
        assert abs((dz**2).mean() - 1) < tolerance, name


def test_kink_is_zero_and_inconsistent():
    t = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (F.relu(t) - F.relu(-t)).sum().backward()
    assert t.grad.tolist() == [0, 0, 0]
    assert not (d_relu(np.zeros(3)) + d_relu(-np.zeros(3))).any()


def test_gelu_gaps():
    z = np.linspace(-6, 6, 5001)
    t = torch.tensor(z)
    gap = (F.gelu(t, approximate="tanh") - F.gelu(t)).abs().max().item()
    assert abs(np.abs(gelu_tanh(z) - gelu(z)).max() - gap) < 1e-12
    assert 4.6e-4 < gap < 4.8e-4
    assert 0.020 < np.abs(quick_gelu(z) - gelu(z)).max() < 0.021
    assert abs(silu(z).min() + 0.2785) < 1e-4 and abs(gelu(z).min() + 0.17) < 1e-4


def test_output_bits():
    assert 1.0 <= output_bits(1e6) < 1.01
    assert output_bits(0.1) < output_bits(1.7) > output_bits(10)


# %% tags=["test", "experiment"]
def test_depth_simulation():
    last = {key: (z[-1], dz[-1]) for key, (z, dz) in depth_runs.items()}
    assert all(0.2 < value < 5 for value in last["relu, 1.41"])
    assert min(last["gelu, 1.53, from 1.3"]) > 3
    assert max(last["gelu, 1.53, from 0.7"]) < 0.2
    assert last["tanh, 1.67"][1] > 10 and last["tanh, 1.00"][1] < 0.4
    assert last["sigmoid, 1.00"][1] < 1e-15
    assert depth_runs["sigmoid, 1.00"][1][4] < 1e-3


# %% [markdown]
# ### Experiment: five activations in a deep network
#
# **Question.** With a proper start and a tuned rate, how much does the activation matter to the network that opened this page?
# Each gets the same 6 passes of plain [gradient steps](../math-foundations/optimization.py#the-step) and its own initial weights: gain $\sqrt{2}$ for ReLU, the signal gain for GELU and SiLU, 1 for tanh.
# The sigmoid starts as the exact twin of the tanh network, by `as_sigmoid`.
# The rate is chosen from a grid of five by accuracy on 400 validation images, averaged over eight seeds; 397 test images judge.
#
# **Prediction.** The sigmoid should learn now, yet trail.
# The other four should end close together, at different rates.

# %%
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
SEEDS = 8
RIVALS = {"sigmoid": ":", "tanh": "-.", "relu": "-", "gelu": "--",
          "silu": (0, (6, 1, 1, 1, 1, 1))}


def start(name: str, rng: np.random.Generator) -> list:
    """The proper start of the deep network for activation `name`."""
    if name in ("sigmoid", "tanh"):
        twin = init_params(SIZES, 1.0, rng)
        return as_sigmoid(twin) if name == "sigmoid" else twin
    return init_params(SIZES, gains(name)[0], rng)


def run(name: str, lr: float, seed: int) -> list:
    """The network of activation `name` after training at rate lr."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):  # at too large a rate weights overflow
        return sgd(start(name, rng), X_train, y_train, *pair(name), lr, rng)


scores = np.zeros((len(RIVALS), len(RATES), SEEDS, 2))  # validation and test
with np.errstate(all="ignore"):
    for i, name in enumerate(RIVALS):
        for j, lr in enumerate(RATES):
            for seed in range(SEEDS):
                net = run(name, lr, seed)
                scores[i, j, seed] = [accuracy(net, X, y, pair(name)[0]) for X, y in
                                      ((X_val, y_val), (X_test, y_test))]
chosen = scores[..., 0].mean(axis=2).argmax(axis=1)
final = np.array([scores[i, j, :, 1] for i, j in enumerate(chosen)])  # (5, seeds)
rel_gap = final[2] - final[0]  # ReLU minus sigmoid, seed by seed
for name, j, test in zip(RIVALS, chosen, final):
    print(f"{name:8s} rate {RATES[j]:4.2f}  test {test.mean():.3f}, "
          f"{test.min():.3f} to {test.max():.3f}")

# %%
#| label: fig-experiment
#| fig-cap: "Validation accuracy after six passes against the learning rate: means of eight seeds, bars from the worst to the best."
#| fig-alt: Tanh peaks highest. ReLU, GELU and SiLU peak at 0.03 to 0.1 and then fall, with a wide spread between seeds. The sigmoid is far behind at 0.03, peaks at 0.3, and alone still learns at rate 1.
fig, ax = plt.subplots(figsize=(6.2, 3.4))
for i, (name, style) in enumerate(RIVALS.items()):
    runs = scores[i, :, :, 0]
    mean = runs.mean(axis=1)
    shift = np.array(RATES) * 1.06 ** (i - 2)  # so that the bars do not overlap
    ax.errorbar(shift, mean, [mean - runs.min(axis=1), runs.max(axis=1) - mean],
                linestyle=style, marker="osD^v"[i], markersize=4, capsize=2, label=name)
ax.set_xscale("log")
ax.set_xticks(RATES, RATES)
ax.minorticks_off()
ax.set(xlabel="learning rate", ylabel="validation accuracy")
ax.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** half of the prediction holds.
# The sigmoid, which learned nothing at the start of this page, reaches `{python} f"{final[0].mean():.0%}"`: its trouble was its scale as much as its shape.
# But the others are not close: tanh is first with `{python} f"{final[1].mean():.1%}"`, SiLU has `{python} f"{final[4].mean():.1%}"`, GELU `{python} f"{final[3].mean():.1%}"` and ReLU `{python} f"{final[2].mean():.1%}"`.
# ReLU does not even beat the sigmoid: the difference, `{python} f"{rel_gap.mean():+.3f}"`, has a standard error of `{python} f"{rel_gap.std(ddof=1) / SEEDS**0.5:.3f}"`, so these seeds cannot tell the two apart.
# Now read @fig-experiment at a single rate.
# At 0.03 the sigmoid is last by far; at 0.3 it beats ReLU, GELU and SiLU by `{python} f"{scores[0, 3, :, 0].mean() - scores[2:, 3, :, 0].mean(axis=1).max():.2f}"` or more.
# A comparison at one rate would have measured the rate.
# The conclusion is modest: in this narrow, deep network without normalisation, at this budget and over eight seeds, tanh was the easiest to train.
# Whether dead units or the unsteady scale held ReLU back, the experiment cannot say, and it does not rank activations for language models, which normalise, have residual paths and use [Adam](../training/optimizers.py).
#
# ### Output activations
#
# The last layer's activation is chosen by what the output means, not by gradients.
# A real number takes none; a probability takes the sigmoid; a distribution over classes takes the [softmax](../math-foundations/probability.py#from-scores-to-probabilities).
# There saturation does no harm, because the logarithm in the [loss](../training/loss-functions.py#cross-entropy-for-any-target) undoes the exponential: the gradient is prediction minus truth.
#
# ### What language models use
#
# | model | date of the report | activation of the feed-forward layers |
# |---|---|---|
# | BERT [@devlin2019bert] | October 2018 | GELU |
# | GPT-2 [@radford2019language] | February 2019 | GELU, tanh form |
# | OPT [@zhang2022opt] | May 2022 | ReLU |
# | Llama [@touvron2023llama], Llama 2, Mistral 7B [@jiang2023mistral] | 2023 | SwiGLU |
# | Nemotron-4 [@parmar2024nemotron] | February 2024 | squared ReLU |
# | Gemma [@gemma2024gemma] to Gemma 3 [@gemma2025gemma3] | March 2024 to March 2025 | GEGLU, tanh form |
# | Qwen3 [@qwen2025qwen3] | May 2025 | SwiGLU |
# | gpt-oss [@openai2025gptoss] | August 2025 | SwiGLU with gate $z \sigma(1.702z)$, $z$ clipped above at 7, the value to $[-7, 7]$, and 1 added to the value |
# | Apertus [@apertus2025apertus] | September 2025 | xIELU [@huang2025deriving]: quadratic on the right, trainable on both sides |
#
# The forms were checked against the configuration and model code of the `transformers` library, version 5.23, in November 2026.
# SwiGLU is the most common choice of open models in 2026; GEGLU and squared ReLU are the living alternatives.

# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: dead units by too large a rate
#
# Take two hidden layers, make *one* step at a huge rate on the first 25 images, then train normally at 0.05.
# Count the hidden units that are zero on all training images after that step and at the end.

# %%
def silent(params: list, phi) -> list:
    """For each hidden layer, which units are never positive on the training images."""
    z, _ = forward(params, X_train, phi)
    return [~(layer > 0).any(axis=0) for layer in z[:-1]]


def leak(z): return leaky_relu(z, 0.1)
def d_leak(z): return d_leaky_relu(z, 0.1)


def kicked(phi, d_phi, kick: float, seed: int) -> tuple:
    """Silent units after one step at rate kick, those at the end, test accuracy."""
    rng = np.random.default_rng(seed)
    net = init_params([64, 32, 32, 10], np.sqrt(2), rng)
    net = sgd(net, X_train[:25], y_train[:25], phi, d_phi, kick, rng, epochs=1)
    after = silent(net, phi)
    net = sgd(net, X_train, y_train, phi, d_phi, 0.05, rng)
    return after, silent(net, phi), accuracy(net, X_test, y_test, phi)


killed, revived = {}, 0
for kick in (0.0, 1.0, 3.0, 10.0):
    rows = []
    for seed in range(5):
        after, end, relu_test = kicked(relu, d_relu, kick, seed)
        revived += (after[0] & ~end[0]).sum()
        rows.append((np.mean(after), np.mean(end), relu_test,
                     kicked(leak, d_leak, kick, seed)[2]))
    killed[kick] = np.mean(rows, axis=0)
    print("first rate {:4.1f}: silent {:3.0%}, at the end {:3.0%}, test {:.2f}; "
          "leaky test {:.2f}".format(kick, *killed[kick]))
print("first-layer units that came back:", revived)

# %% [markdown]
# **Symptom:** at the largest rate, accuracy that has not recovered from one early step after six passes, and columns of the hidden layers that are zero for every input.
# **Cause:** the step threw pre-activations below zero for all images; then the gradient is exactly zero.
# No unit of the first layer came back, though the rate was normal from then on.
# The leaky network, with slope 0.1, took a step at the same rate and recovered much further from the largest one.
# Units can be dead before the first step, too: narrow, deep ReLU networks can be born dead [@lu2019dying].
# **Fix:** a [warm-up](../training/optimizers.py#schedules) of the rate, clipped gradients, normalisation, or a slope on the left.
# Log the share of silent units next to the loss.
#
# ### Failure mode 2: overflow

# %%
z32 = np.array([-200.0, 200.0], dtype=np.float32)
with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
    naive = {"sigmoid": 1 / (1 + np.exp(-z32)),
             "its derivative": np.exp(-z32) / (1 + np.exp(-z32)) ** 2,
             "log sigmoid": np.log(1 / (1 + np.exp(-z32))),
             "softplus": np.log(1 + np.exp(z32))}
stable = {"sigmoid": sigmoid(z32), "its derivative": d_sigmoid(z32),
          "log sigmoid": -softplus(-z32), "softplus": softplus(z32)}
for name in naive:
    print(f"{name:15s} naive {naive[name]}  stable {stable[name] + 0.0}")

# %% [markdown]
# **Symptom:** overflow warnings in NumPy, silent `inf` and `nan` on a GPU.
# **Cause:** $e^{200}$ is beyond float32, whose limit is $e^{88.7}$. The plain sigmoid survives by luck, since $1/\infty = 0$; its derivative and its logarithm do not.
# **Fix:** exponentiate only $-\lvert z \rvert$, as `sigmoid` and `softplus` do, and never take the logarithm of a sigmoid: $\log \sigma(z) = -\text{softplus}(-z)$.
# In PyTorch, use `F.logsigmoid` and `binary_cross_entropy_with_logits`.
#
# ### Failure mode 3: the wrong GELU when loading weights
#
# Take the GELU network of the experiment and run it with each relative.

# %%
gelu_net = run("gelu", RATES[chosen[3]], 0)
reference = forward(gelu_net, X_test, gelu)[0][-1]
wrong_gelu = {}
for name, phi in {"tanh form": gelu_tanh, "sigmoid form": quick_gelu, "silu": silu,
                  "relu": relu}.items():
    logits = forward(gelu_net, X_test, phi)[0][-1]
    error = np.linalg.norm(logits - reference) / np.linalg.norm(reference)
    wrong_gelu[name] = error, (logits.argmax(axis=1) == y_test).mean()
    print(f"{name:13s} error of the logits {error:.0e}, "
          f"accuracy {wrong_gelu[name][1]:.3f}")
print(f"trained with  GELU, accuracy {accuracy(gelu_net, X_test, y_test, gelu):.3f}")

# %% [markdown]
# **Symptom:** none, or nearly: no error, no missing weight, outputs slightly off a reference implementation.
# **Cause:** activations have no weights, so a checkpoint does not say which one it wants; the configuration does. In `transformers`, `gelu` is the exact form, `gelu_new` and `gelu_pytorch_tanh` are the tanh form and `quick_gelu` is the sigmoid form.
# **Fix:** read the configuration, and compare logits with the reference in float64, not accuracy: with the tanh form the accuracy here cannot tell.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Gain.** Here $\gamma$ multiplies the standard deviation, as in PyTorch; some texts mean the variance.
# > - **Swish and SiLU** are the same for $\beta = 1$; Swish with another $\beta$ is $z \sigma(\beta z)$.
# > - **Which half is the gate?** `F.glu` activates the *second* half of its input. Llama stores `gate_proj` (here $W$, activated), `up_proj` (here $V$) and `down_proj` (here $W_{out}$). Swapped, shapes fit and outputs are wrong.
# > - **The derivative at 0.** PyTorch takes the left one: 0 for ReLU, $a$ for leaky ReLU, $\lambda \alpha$ for SELU.
# > - **Softplus in PyTorch** switches to the identity above 20, an error of $2 \cdot 10^{-9}$ there; the tests raise that threshold.
# > - **Activation** names the function $\phi$ and also its output $h$, as in "activation memory".
# > - **Vanishing gradient or dead unit.** The first is a product of many small numbers, the second one exact zero.

# %% tags=["test", "experiment"]
def test_claims_of_experiment_and_failures():
    sig, tan, *others = final.mean(axis=1)
    assert tan > max(sig, *others) and sig > 0.8
    assert abs(rel_gap.mean()) < 3 * rel_gap.std(ddof=1) / SEEDS**0.5
    _, at_003, _, at_03, at_1 = scores[..., 0].mean(axis=2).T  # (rates, rivals)
    assert at_003[0] < at_003[1:].min() - 0.2 and at_03[0] > at_03[2:].max() + 0.1
    assert at_1[0] > 0.6 and at_1[1:].max() < 0.2
    assert tanh_gap.max() < 1e-3 and 35 < quick_gap.max() / tanh_gap.max() < 50
    assert revived == 0 and killed[0.0][0] < 0.05 < killed[3.0][0] < killed[10.0][0]
    assert killed[10.0][1] > 0.3 and killed[10.0][2] < killed[10.0][3] - 0.1
    assert np.isinf(naive["log sigmoid"]).any()
    assert all(np.isfinite(value).all() for value in stable.values())
    assert np.isnan(naive["its derivative"]).any() and np.isinf(naive["softplus"]).any()
    errors = [wrong_gelu[name][0] for name in ("tanh form", "sigmoid form", "relu")]
    assert errors == sorted(errors)


# %% tags=["test"]
def test_a_dead_unit_gets_no_gradient_and_a_leaky_one_does():
    rng = np.random.default_rng(8)
    for _ in range(20):
        d, m, K, n = (int(k) for k in rng.permutation(np.arange(2, 9))[:4])
        params = init_params([d, m, K], 1.0, rng)
        X, y = rng.normal(size=(n, d)), rng.integers(0, K, size=n)
        params[0][1][0] = -1e3  # throw unit 0 below zero
        (dW, db), _ = gradients(params, X, y, relu, d_relu)
        assert not dW[:, 0].any() and db[0] == 0
        (dW, db), _ = gradients(params, X, y, leaky_relu, d_leaky_relu)
        assert dW[:, 0].any() and db[0] != 0


def test_stable_forms_match_torch():
    z = np.array([-1e4, -745, -200, -1, 0, 1, 200, 745, 1e4])
    t = torch.tensor(z)
    with np.errstate(all="raise", under="ignore"):
        assert np.allclose(-softplus(-z), F.logsigmoid(t).numpy(), rtol=1e-14)
        assert np.allclose(sigmoid(z), torch.sigmoid(t).numpy(), rtol=1e-14)
    default = F.softplus(torch.tensor([20.5], dtype=torch.float64)).item()
    assert 1e-10 < abs(default - softplus(20.5)) < 2e-9


# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): a gated unit by hand
#
# Let $x = (1, 2)$, with two hidden units. The columns of $W$ are $(\log 3, 0)$ and $(\log 3, -\log 3)$, those of $V$ are $(2, 1)$ and $(4, -4)$, and $\phi$ is SiLU.
# Compute the hidden layer on paper and return it as a $(1, 2)$ array.

# %%
def gated_by_hand() -> np.ndarray:
    """The hidden layer (1, 2) of the exercise."""
    ### BEGIN SOLUTION
    # Gates log 3 and -log 3; values 4 and -4; SiLU 3/4 log 3 and -1/4 log 3.
    return np.array([[3 * np.log(3), np.log(3)]])
    ### END SOLUTION


# %% tags=["test"]
def test_gated_by_hand():
    W = np.log(3) * np.array([[1.0, 1.0], [0.0, -1.0]])
    V = np.array([[2.0, 4.0], [1.0, -4.0]])
    H = glu_forward(np.array([[1.0, 2.0]]), W, V, np.eye(2), silu)[0]
    assert np.abs(gated_by_hand() - H).max() < 1e-12


# %% [markdown]
# ### Exercise 2 (check): half a line and half a bend
#
# Show that $\phi(z) = z g(z)$ with $g(z) + g(-z) = 1$ gives $\phi'(z) + \phi'(-z) = 1$.
# What is the mean of $\phi'(z)$ over any distribution of $z$ that is symmetric about 0?
# And over many layers, does that settle the size of the gradient?

# %% [markdown] tags=["solution"]
# $\phi(z) - \phi(-z) = z g(z) + z g(-z) = z$. Differentiate both sides: $\phi'(z) + \phi'(-z) = 1$.
# By symmetry the mean of $\phi'$ is the mean of $(\phi'(z) + \phi'(-z))/2$, which is $1/2$ for ReLU, GELU, SiLU and softplus alike.
# It does not settle the size: that depends on the mean of the *square*. For ReLU this is $1/2$ too. For GELU and a normal $z$ it is below $1/2$ at standard deviation 1 and above it at 2, where many slopes are larger than 1 or below 0.

# %% [markdown]
# ### Exercise 3 (apply): a loss that cannot overflow
#
# For a logit $z$ and a label $y$ in $[0, 1]$ the binary cross-entropy is $-y \log \sigma(z) - (1 - y) \log(1 - \sigma(z))$.
# Return its value and its derivative in $z$, entry by entry, finite for every finite $z$.

# %%
def bce_with_logits(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Binary cross-entropy of logits z and labels y, and its derivative in z."""
    ### BEGIN SOLUTION
    return y * softplus(-z) + (1 - y) * softplus(z), sigmoid(z) - y
    ### END SOLUTION


# %% tags=["test"]
def test_bce_with_logits():
    rng = np.random.default_rng(9)
    for trial in range(24):
        shape = tuple(int(d) for d in rng.integers(0, 6, size=1 + trial % 3))
        z, y = rng.normal(size=shape) * [1, 50, 1e4][trial % 3], rng.random(shape)
        t = torch.tensor(z, requires_grad=True)
        want = F.binary_cross_entropy_with_logits(t, torch.tensor(y), reduction="none")
        want.sum().backward()
        loss, grad = bce_with_logits(z, y)
        assert np.allclose(loss, want.detach().numpy(), rtol=1e-12, atol=1e-12)
        assert np.allclose(grad, t.grad.numpy(), rtol=1e-12, atol=1e-12)


# %% [markdown]
# ### Exercise 4 (apply): a slope that learns
#
# PReLU is the leaky ReLU with one learned slope $a_k$ for each unit.
# Given $z$ and $dh$ of shape $(n, d)$ and $a$ of shape $(d)$, return $dz$ and $da$.

# %%
def prelu_backward(z: np.ndarray, a: np.ndarray, dh: np.ndarray) -> tuple:
    """dz (n, d) and da (d,) of PReLU; at z = 0 take the left derivative."""
    ### BEGIN SOLUTION
    return dh * np.where(z > 0, 1.0, a), (dh * np.minimum(z, 0.0)).sum(axis=0)
    ### END SOLUTION


# %% tags=["test"]
def test_prelu_backward():
    rng = np.random.default_rng(10)
    for trial in range(24):
        n, d = trial % 6, 2 + trial % 5
        z, dh, a = rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.normal(size=d)
        z[:, 0] = 0.0
        zt, at = (torch.tensor(v, requires_grad=True) for v in (z, a))
        F.prelu(zt, at).backward(torch.tensor(dh))
        dz, da = prelu_backward(z, a, dh)
        assert np.abs(dz - zt.grad.numpy()).max(initial=0) < 1e-12
        assert da.shape == a.shape and np.abs(da - at.grad.numpy()).max() < 1e-12


# %% [markdown]
# ### Exercise 5 (apply): the width of a gated layer
#
# Llama's code takes the whole part of $8d/3$, multiplies it by a factor (1 if the model has none), takes the whole part again, and rounds up to a multiple.
# Return the width.

# %%
def gated_width(d: int, multiple: int, factor: float = 1.0) -> int:
    """Width of Llama's feed-forward layers for model width d."""
    ### BEGIN SOLUTION
    width = int(factor * int(8 * d / 3))
    return multiple * -(-width // multiple)
    ### END SOLUTION


# %% tags=["test"]
def test_gated_width():
    assert gated_width(4096, 256) == 11_008          # Llama 1 and 2, 7B
    assert gated_width(5120, 256) == 13_824          # 13B
    assert gated_width(8192, 4096, 1.3) == 28_672    # Llama 2, 70B
    assert gated_width(4096, 1024, 1.3) == 14_336    # Llama 3, 8B
    assert gated_width(768, 256) == 2048             # 8d/3 is a multiple already


# %% [markdown] tags=["solution"]
# The factor 1.3 breaks the rule of equal cost on purpose: with [grouped-query attention](../transformers/multi-head-attention.py#fewer-keys-mqa-and-gqa) the attention layers became smaller, and the paper's comparison of the two kinds widens the feed-forward layers by 1.3 to keep the number of parameters similar [@touvron2023llama2].

# %% [markdown]
# ### Exercise 6 (explore): a balance that tips
#
# With the signal gain, $q = 1$ is a fixed point of $q' = \gamma^2 \, \mathbb{E}[\phi(\sqrt{q} \, u)^2]$.
# It is stable if the slope of this map at $q = 1$ is below 1 in size.
# Return the slope, by a central difference.
# What do you expect for tanh, ReLU, GELU and squared ReLU?

# %%
def balance_slope(name: str, step: float = 1e-4) -> float:
    """Slope at q = 1 of the map of mean squares, with the gain that fixes q = 1."""
    ### BEGIN SOLUTION
    phi, _ = pair(name)
    up, down = (gaussian_mean_square(phi, 1 + s) for s in (step, -step))
    return gains(name)[0] ** 2 * (up - down) / (2 * step)
    ### END SOLUTION


# %% tags=["test"]
def test_balance_slope():
    assert abs(balance_slope("relu") - 1) < 1e-6
    assert abs(balance_slope("relu2") - 2) < 1e-6
    assert balance_slope("sigmoid") < balance_slope("tanh") < 0.6
    assert balance_slope("selu") < 1
    for name in ("gelu", "silu", "mish"):
        assert 1.02 < balance_slope(name) < 1.3
    assert balance_slope("silu") > balance_slope("gelu")
    u = np.linspace(-12, 12, 48_000)
    p = np.exp(-(u**2) / 2)
    extra = (p * u**3 * sigmoid(u) * d_sigmoid(u)).sum() / (p * silu(u) ** 2).sum()
    assert abs(balance_slope("silu") - 1 - extra) < 1e-6


# %% [markdown] tags=["solution"]
# Bounded functions damp: tanh and the sigmoid have slopes below 1, and so does SELU, which was built for it.
# ReLU has slope exactly 1: any $q$ is kept, none is preferred.
# GELU and SiLU have slopes above 1: a small deviation grows by that factor in each layer, as @fig-depth shows.
# For every smooth rising gate with $g(z) + g(-z) = 1$ the slope is $1 + \mathbb{E}[u^3 g(u) g'(u)] / \mathbb{E}[u^2 g(u)^2]$. It is above 1, since $g'$ is even and $g$ is larger at $u$ than at $-u$.
# Squared ReLU has slope 2, since doubling $q$ quadruples $\phi^2$ on average: without normalisation it cannot be stacked.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Saturation | $\sigma'(z) = \sigma(z)\sigma(-z) \le 1/4$ | `sigmoid(z) * sigmoid(-z)` | gates of [LSTMs](../architectures/lstms.py#three-gates), outputs |
# | Two scales | $\tanh(z) = 2\sigma(2z) - 1$ | `as_sigmoid(params)` | recurrent networks |
# | ReLU | $\max(z, 0)$ | `np.maximum(z, 0)` | [CNNs](../architectures/cnns.py) |
# | Self-gated | $z \Phi(z)$, $z \sigma(z)$ | `z * ndtr(z)`, `z * sigmoid(z)` | [BERT](../transformers/bert.py), [GPT](../transformers/gpt.py) |
# | Gated unit | $\phi(xW) \odot xV$ | `phi(X @ W) * (X @ V)` | [language models](../modern-llms/pretraining.py) of 2026 |
# | Gated width | $m = 8d/3$ | `gated_width(d, 256)` | counting parameters |
# | Gain | $1/\sqrt{\mathbb{E}[\phi(u)^2]}$ | `gaussian_mean_square(phi) ** -0.5` | initialisation |
# | Dead unit | $z \le 0$ on all data, so $dz = 0$ | `(z <= 0).all(axis=0)` | monitoring |
# | Stable forms | $\log \sigma(z) = -\text{softplus}(-z)$ | `np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))` | losses |
#
# **The essential insight:** an activation is judged twice, by what it lets through going forward and by what its derivative lets through coming back, and after fifty layers both are powers of one number. Saturating functions make that number small; the modern ones are gates that leave the input alone where they are open. The gate began as a hard switch, became smooth, and then got weights of its own. What it cannot do alone is keep the scale: that takes matching initial weights, and in deep models normalisation.
