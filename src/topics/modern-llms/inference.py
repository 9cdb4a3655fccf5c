# ---
# title: Inference
# summary: "Serving a model: caches, batches, drafts and fewer bits."
# prerequisites:
#   - modern-llms/efficient-adaptation: merged weights and NF4; through it GPT (the block, generation and samplers), multi-head attention (MQA, GQA, MLA and the size of their caches) and the number formats of batching
# notebooks: [12-kv-cache-demo]
# packages: [numpy, matplotlib, scipy, torch, transformers]
# ---

# %% [markdown]
# # Inference
#
# $$
# \boxed{
# t_\text{step} \ge \max\left( \frac{B \, (2N + aT)}{\pi}, \, \frac{pN + B c T}{\beta} \right)
# }
# $$
#
# A model with $N$ weights of $p$ bytes each writes one token for each of $B$ texts that are $T$ tokens long, the new one included.
# For each of these $T$ tokens it spends $a$ operations in attention and reads $c$ bytes of cache.
# The hardware does $\pi$ operations and moves $\beta$ bytes in a second; a step takes at least $t_\text{step}$ seconds.
#
# A model that writes usually sits at the second term, waiting for memory, and nearly every trick of serving either moves fewer bytes or does more work for each byte moved.

# %% [markdown]
# ## 1. Core concept: do not compute twice, do not read once per token
#
# ### The plain loop repeats itself
#
# The `generate` of [GPT](../transformers/gpt.py#in-code) runs the whole text through the network for every token it adds, and throws away all rows of the result but the last.

# %%
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np


def rows_computed(prompt: int, new: int, cached: bool) -> int:
    """Token rows that pass through the network to write `new` tokens."""
    if cached:
        return prompt + new - 1
    return sum(prompt + i for i in range(new))


wasted = rows_computed(1000, 500, False) / rows_computed(1000, 500, True)
print(f"prompt of 1,000, answer of 500: {rows_computed(1000, 500, False):,} rows "
      f"where {rows_computed(1000, 500, True):,} are new")

# %% [markdown]
# **What the code shows:** `{python} f"{wasted:.0f}"` times the necessary work, and the factor grows with the length.
#
# ### Why old rows may be kept
#
# In a [causal](../transformers/self-attention.py#causal-all-positions-at-once) model row $t$ of every layer depends on tokens $0, \dots, t$ only.
# Proof, layer by layer: the embedding of token $t$ sees only itself; and if the rows $0, \dots, t$ of a layer's input depend on tokens up to $t$ only, so do row $t$ of its queries and the rows up to $t$ of its keys and values, which is all that row $t$ of the attention is made of.
# Norms and FFN act on each row alone.
# So a token added at the end changes no earlier row.
# Of those rows the new token needs only keys and values, and storing them is the *KV cache*:
#
# $$
# o_t = \text{softmax}\left( \frac{q_t \left[K_{0:t} ; \, k_t\right]^\top}{\sqrt{d_k}} \right) \left[V_{0:t}; \, v_t\right]
# $$
#
# **What this means:** $K_{0:t}$ and $V_{0:t}$ (rows $0$ to $t - 1$) come from memory, the semicolon adds a row below, and only $q_t, k_t, v_t$ are computed.
#
# Serving now has two phases.
# *Prefill* runs the whole prompt at once and fills the cache; its time, with the wait in the queue before it, is the *time to first token* (TTFT).
# *Decode* adds one row a step; its pace is the *time per output token* (TPOT).
#
# | name | symbol | shape |
# |---|---|---|
# | new tokens of $B$ texts | `ids` | $(B, n)$, $n = T$ in prefill, $n = 1$ in decode |
# | new queries | $Q$ | $(B, H, n, d_k)$ |
# | keys, values with the cache | $K, V$ | $(B, H, m, d_k)$, with $m = \text{past} + n$ |
# | mask | | $(n, m)$, true where key $\le \text{past} +$ query |
# | logits | | $(B, n, n_\text{vocab})$ |
#
# ### By hand
#
# One head of width 1, all queries 1.
# The cache of two tokens holds keys $(0, \log 2)$ and values $(0, 3)$: the exponentials are $(1, 2)$, and the second output is $(1 \cdot 0 + 2 \cdot 3)/3 = 2$.
# A third token brings the key $\log 3$ and the value $6$.
# Only its row is new: exponentials $(1, 2, 3)$ and the output $(0 + 6 + 18)/6 = 4$.
#
# ### In code
#
# `Config`, `layer_norm`, `gelu` and `linear` are those of [GPT](../transformers/gpt.py#in-code); new are the lines with `past` or `cache`.

# %%
#| chunk: masked_softmax
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# %% tags=["hide-input"]
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes of a GPT-2."""

    vocab: int
    context: int
    d: int
    layers: int
    heads: int


def layer_norm(x: np.ndarray, g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each token of x (..., d) to mean 0 and variance 1, then gains g and shifts b."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * g + b


def gelu(z: np.ndarray) -> np.ndarray:
    """The tanh form of GELU."""
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def linear(x: np.ndarray, W: dict, name: str) -> np.ndarray:
    """x (..., d_in) times W (d_in, d_out), plus the bias."""
    return x @ W["W_" + name] + W["b_" + name]


def init(c: Config, rng: np.random.Generator, std: float = 0.3) -> dict:
    """Random weights, large enough for attention to matter."""

    def block() -> dict:
        W = {}
        for n in "12":
            W["g_" + n], W["b_" + n] = np.ones(c.d), std * rng.normal(size=c.d)
        for name in ("q", "k", "v", "o", "up", "down"):
            rows = 4 * c.d if name == "down" else c.d
            columns = 4 * c.d if name == "up" else c.d
            W["W_" + name] = std * rng.normal(size=(rows, columns))
            W["b_" + name] = std * rng.normal(size=columns)
        return W

    return {"E": std * rng.normal(size=(c.vocab, c.d)),
            "E_pos": std * rng.normal(size=(c.context, c.d)),
            "blocks": [block() for _ in range(c.layers)],
            "g": np.ones(c.d), "b": np.zeros(c.d)}


# %%
def forward(
    ids: np.ndarray, P: dict, c: Config, cache: list | None = None,
    first: int | None = None,
) -> tuple[np.ndarray, list]:
    """Logits (B, n, vocab) of n new tokens ids (B, n), and the longer cache.

    `cache` holds keys and values (B, H, past, d_k) of each block; `first` is the
    position of the first new token, by default `past`.
    """
    B, n = ids.shape
    past = 0 if cache is None else cache[0][0].shape[2]
    first = past if first is None else first
    mask = np.arange(past + n) <= past + np.arange(n)[:, None]  # (n, past + n)
    h, longer = P["E"][ids] + P["E_pos"][first : first + n], []
    for l, W in enumerate(P["blocks"]):
        x = layer_norm(h, W["g_1"], W["b_1"])
        Q, K, V = (linear(x, W, name).reshape(B, n, c.heads, -1).swapaxes(1, 2)
                   for name in "qkv")
        if cache is not None:
            K, V = (np.concatenate(pair, axis=2) for pair in zip(cache[l], (K, V)))
        longer.append((K, V))
        A = masked_softmax(Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1]), mask)
        h = h + linear((A @ V).swapaxes(1, 2).reshape(B, n, c.d), W, "o")
        x = layer_norm(h, W["g_2"], W["b_2"])
        h = h + linear(gelu(linear(x, W, "up")), W, "down")
    return layer_norm(h, P["g"], P["b"]) @ P["E"].T, longer


def in_pieces(ids: np.ndarray, P: dict, c: Config, sizes: list[int]) -> np.ndarray:
    """Logits of ids (B, T), run as pieces of the given sizes with one cache."""
    cache, logits, start = None, [], 0
    for size in sizes:
        out, cache = forward(ids[:, start : start + size], P, c, cache)
        logits.append(out)
        start += size
    return np.concatenate(logits, axis=1)


hand = masked_softmax(np.log([1.0, 2.0, 3.0]))
assert np.isclose(masked_softmax(np.log([1.0, 2.0])) @ [0, 3], 2)
assert np.isclose(hand @ [0, 3, 6], 4)

rng = np.random.default_rng(0)
tiny = Config(vocab=11, context=24, d=20, layers=3, heads=4)
P, ids = init(tiny, rng), rng.integers(11, size=(2, 16))
full, _ = forward(ids, P, tiny)
gaps = {name: np.abs(in_pieces(ids, P, tiny, sizes) - full).max(axis=(0, 2))
        for name, sizes in {"prefill 10, decode 6": [10] + [1] * 6,
                            "decode from the start": [1] * 16,
                            "prefill in chunks": [5, 5, 6]}.items()}
for name, gap in gaps.items():
    assert gap.shape == (16,) and gap.max() < 1e-11
    print(f"{name}: every position equal to full recomputation, {(gap < 1e-11).all()}")

# %% [markdown]
# **What the code shows:** one function does prefill, decode, and everything in between; the cache changes when a row is computed, not what it holds.
# The tests load the same weights into Hugging Face's GPT-2 and compare with its cache, position by position in float64.
#
# ### Why decode waits for memory
#
# Multiplying $B$ rows by a matrix of $N$ numbers takes $2BN$ operations and reads the $N$ numbers *once*.
# The *arithmetic intensity*, operations per byte moved, is about $2B/p$: with 16-bit weights, $B$.
# Hardware has an intensity of its own, $\pi / \beta$, and below it the arithmetic units [wait](../transformers/attention.py#what-it-costs): this is the *roofline* model [@williams2009roofline], applied to transformers by @pope2023efficiently.
# Take Llama 3 8B [@grattafiori2024llama] and one H100 SXM: 989 TFLOP/s in dense BF16 and 3.35 TB/s [@nvidia2023h100].

# %%
@dataclass(frozen=True)
class Served:
    """A model as the hardware sees it; numbers have two bytes."""

    weights: int  # N: weights that a new token multiplies
    head: int  # those of them that make logits, needed once for each text
    flops: int  # a: attention FLOPs for each cached token
    cache: int  # c: bytes of cache for each token


def llama(layers: int, d: int, ffn: int, heads: int, kv_heads: int, vocab: int,
          d_k: int = 128) -> tuple[Served, int]:
    """What is read, and the number of parameters with the embedding table."""
    block = 2 * d * heads * d_k + 2 * d * kv_heads * d_k + 3 * d * ffn
    served = Served(layers * block + vocab * d, vocab * d, 4 * layers * heads * d_k,
                    4 * layers * kv_heads * d_k)
    return served, served.weights + vocab * d + (2 * layers + 1) * d


PEAK, BANDWIDTH, MEMORY = 989e12, 3.35e12, 80e9  # H100 SXM: FLOP/s, bytes/s, bytes


def step_cost(m: Served, B: int, n: int, T: int, p: float = 2.0) -> tuple[float, float]:
    """FLOPs and bytes of n new tokens in each of B texts that hold T already."""
    each = n * (2 * (m.weights - m.head) + m.flops * (T + (n + 1) / 2)) + 2 * m.head
    return B * each, p * m.weights + B * m.cache * (T + n)


def step_time(m: Served, B: int, n: int, T: int, p: float = 2.0) -> float:
    """Lower bound in seconds on one H100."""
    flops, moved = step_cost(m, B, n, T, p)
    return max(flops / PEAK, moved / BANDWIDTH)


llama8, parameters = llama(32, 4096, 14336, 32, 8, 128_256)
assert parameters == 8_030_261_248
ridge = PEAK / BANDWIDTH
tpot, ttft = step_time(llama8, 1, 1, 8191), step_time(llama8, 1, 8192, 0)
assert round(ridge) == 295 and f"{1e3 * step_time(llama8, 1, 1, 0):.2f}" == "4.48"
intensity = {B: np.divide(*step_cost(llama8, B, 1, 0)) for B in (1, 64)}
print(f"the hardware wants {ridge:.0f} FLOPs a byte; decode offers {intensity[1]:.1f} "
      f"for one text, {intensity[64]:.0f} for 64")
print(f"TPOT at least {1e3 * step_time(llama8, 1, 1, 0):.2f} ms at the start, "
      f"{1e3 * tpot:.2f} ms after 8,191 tokens")
print(f"TTFT for a prompt of 8,192 at least {1e3 * ttft:.0f} ms")
fits = int((MEMORY - 2 * parameters) // (8192 * llama8.cache))
print(f"texts of 8,192 tokens that fit beside the weights: {fits}")

# %% tags=["hide-input"]
#| label: fig-roofline
#| fig-cap: Bounds on tokens per second of Llama 3 8B on one H100 against the number of texts decoded together, for three lengths. Each line ends where 80 GB are full.
#| fig-alt: Three rising curves. Short texts rise in proportion to the batch and bend at the roof of arithmetic; long texts bend early, far below the roof, and end at a small batch because memory is full.
fig, ax = plt.subplots(figsize=(5.0, 2.7))
for T, style in ((128, "-"), (1024, "--"), (8192, ":")):
    most = int((MEMORY - 2 * parameters) // (T * llama8.cache))
    batch = np.unique(np.geomspace(1, most, 60).astype(int))
    ax.loglog(batch, [B / step_time(llama8, int(B), 1, T) for B in batch], style,
              label=f"{T:,} tokens each")
    ax.plot(batch[-1], batch[-1] / step_time(llama8, int(batch[-1]), 1, T), "k|", ms=10)
roof = PEAK / (2 * llama8.weights)
ax.axhline(roof, color="0.6", linewidth=0.8)
ax.set(xlabel="texts in the batch", ylabel="tokens per second", ylim=(100, 2 * roof))
ax.legend(loc="lower right")

# %% [markdown]
# **What the code shows:** one text uses `{python} f"{intensity[1] / ridge:.1%}"` of the arithmetic that the chip could do.
# Prefill offers thousands of rows for each read and is limited by arithmetic; decode, by memory.
# Batching is nearly free in decode until $B$ nears `{python} f"{ridge:.0f}"` (@fig-roofline), except for the cache, which belongs to each text alone: long texts are slow *and* do not fit.
# All times here are bounds; real systems reach a part of them.
#
# If you stop here, you have the picture: *keep keys and values; read the weights once for many texts; the rest of this topic saves bytes or shares reads*.

# %% tags=["test"]
def random_config(rng):
    """Heads, width, vocabulary, context and layers all different."""
    heads = int(rng.integers(1, 5))
    return Config(vocab=int(rng.integers(30, 40)), context=int(rng.integers(9, 14)),
                  d=heads * int(rng.choice([3, 5, 7])), layers=int(rng.integers(1, 4)),
                  heads=heads)


def random_sizes(rng, T):
    """T cut into pieces."""
    cuts = np.flatnonzero(rng.random(T - 1) < 0.5) + 1 if T > 1 else []
    return np.diff([0, *cuts, T]).tolist()


def random_hugging_face(c, rng, scale=0.3):
    """Hugging Face's GPT-2 with random weights in float64, and the same for us."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=c.vocab, n_positions=c.context, n_embd=c.d, n_layer=c.layers,
            n_head=c.heads, bos_token_id=0, eos_token_id=None)).double().eval()
    with torch.no_grad():
        for w in model.parameters():
            w += torch.from_numpy(scale * rng.normal(size=tuple(w.shape)))
    s = {k.removeprefix("transformer."): w.numpy()
         for k, w in model.state_dict().items()}
    blocks = []
    for l in range(c.layers):
        W, at = {}, f"h.{l}."
        for n in "12":
            W["g_" + n], W["b_" + n] = s[f"{at}ln_{n}.weight"], s[f"{at}ln_{n}.bias"]
        for ours, theirs in (("o", "attn.c_proj"), ("up", "mlp.c_fc"),
                             ("down", "mlp.c_proj")):
            W["W_" + ours], W["b_" + ours] = (s[f"{at}{theirs}.{x}"]
                                              for x in ("weight", "bias"))
        for x, kind in (("W_", "weight"), ("b_", "bias")):
            parts = np.split(s[f"{at}attn.c_attn.{kind}"], 3, axis=-1)
            W |= {x + name: part for name, part in zip("qkv", parts)}
        blocks.append(W)
    return model, {"E": s["wte.weight"], "E_pos": s["wpe.weight"], "blocks": blocks,
                   "g": s["ln_f.weight"], "b": s["ln_f.bias"]}


def test_rows_computed():
    assert rows_computed(3, 2, False) == 7 and rows_computed(3, 2, True) == 4
    for prompt, new in ((1, 1), (5, 1), (4, 9)):
        seen = [prompt + i for i in range(new)]
        assert rows_computed(prompt, new, False) == sum(seen)
        assert rows_computed(prompt, new, True) == seen[-1]


def test_masked_softmax():
    import torch

    rng = np.random.default_rng(0)
    for size in (1.0, 1e4):
        scores, mask = size * rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.6
        mask[0] = False  # nothing to look at
        want = torch.from_numpy(np.where(mask, scores, -np.inf)).softmax(dim=-1)
        got = masked_softmax(scores, mask)
        assert np.allclose(got, want.nan_to_num().numpy(), atol=1e-12)
        assert np.array_equal(got[0], np.zeros(5))


def test_cache_equals_recomputation():
    rng = np.random.default_rng(1)
    for _ in range(25):
        c = random_config(rng)
        P, T = init(c, rng), int(rng.integers(1, c.context + 1))
        ids = rng.integers(c.vocab, size=(int(rng.integers(1, 4)), T))
        full, cache = forward(ids, P, c)
        for sizes in ([1] * T, random_sizes(rng, T)):
            got = in_pieces(ids, P, c, sizes)
            assert got.shape == (*ids.shape, c.vocab)
            assert np.allclose(got, full, rtol=0, atol=1e-10)
        assert len(cache) == c.layers
        assert cache[0][0].shape == (len(ids), c.heads, T, c.d // c.heads)
        changed = ids.copy()
        changed[:, -1] = (changed[:, -1] + 1) % c.vocab  # the future is invisible
        assert np.array_equal(forward(changed, P, c)[0][:, :-1], full[:, :-1])


def test_cache_equals_hugging_face():
    import torch

    rng = np.random.default_rng(2)
    for _ in range(20):
        c = random_config(rng)
        model, P = random_hugging_face(c, rng)
        T = int(rng.integers(2, c.context + 1))
        ids, past, cache, start = rng.integers(c.vocab, size=(2, T)), None, None, 0
        for size in random_sizes(rng, T):
            piece = ids[:, start : start + size]
            with torch.no_grad():
                want = model(torch.from_numpy(piece), past_key_values=past,
                             use_cache=True)
            past, start = want.past_key_values, start + size
            got, cache = forward(piece, P, c, cache)
            assert np.allclose(got, want.logits.numpy(), rtol=0, atol=1e-9)
        for l, (K, V) in enumerate(cache):
            assert np.allclose(K, past.layers[l].keys.numpy(), atol=1e-9)
            assert np.allclose(V, past.layers[l].values.numpy(), atol=1e-9)


def test_roofline():
    for shape, want in (((32, 4096, 14336, 32, 8, 128_256), 8_030_261_248),
                        ((80, 8192, 28672, 64, 8, 128_256), 70_553_706_496),
                        ((80, 8192, 28672, 64, 8, 32_000), 68_976_648_192)):
        assert llama(*shape)[1] == want
    m, _ = llama(32, 4096, 14336, 32, 8, 128_256)
    assert (m.weights, m.cache, m.flops) == (7_504_658_432, 131_072, 524_288)
    assert step_cost(m, 3, 1, 99) == (3 * (2 * m.weights + 100 * m.flops),
                                      2 * m.weights + 300 * m.cache)
    for n, T in ((1, 7), (5, 0), (4, 9)):  # causal pairs, counted one by one
        pairs = sum(T + i + 1 for i in range(n))
        flops, moved = step_cost(m, 2, n, T, p=0.5)
        stack = m.weights - 128_256 * 4096
        assert flops == 2 * (2 * stack * n + 2 * m.head + m.flops * pairs)
        assert moved == 0.5 * m.weights + 2 * m.cache * (T + n)
    assert step_time(m, 1, 1, 0) == (2 * m.weights + m.cache) / 3.35e12
    assert step_time(m, 1, 9000, 0) == step_cost(m, 1, 9000, 0)[0] / 989e12


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Attention has an intensity of its own
#
# [Multi-head attention](../transformers/multi-head-attention.py#fewer-keys-mqa-and-gqa) counted the numbers that are stored by plain heads (MHA), by grouped queries (GQA) and by *multi-head latent attention* (MLA).
# MLA keeps for each token a latent vector of $d_c$ numbers, from which the keys and values of all heads are computed, and one rotated key of $d_r$ numbers for all heads; *absorbed* means that the matrices which would unfold the latent are multiplied into those of the queries and outputs [@deepseek2024v2].
# What does reading them allow?
# With $H$ query and $G$ key heads a cached token costs $4 H d_k$ operations a layer (two products, for the score and for the sum of values) and $4 G d_k$ bytes (a key and a value, two bytes a number).
# In absorbed MLA all $H$ queries meet the same $d_c + d_r$ numbers for the score, and the same $d_c$ again for the sum.
# So
#
# $$
# \begin{aligned}
# \frac{a}{c} &= \frac{H}{G} \quad \text{(MHA, GQA)}, \\
# \frac{a}{c} &= \frac{2H (2 d_c + d_r)}{2 (d_c + d_r)} \quad \text{(MLA, absorbed)}
# \end{aligned}
# $$
#
# **What this means:** a larger batch does not help here, because each text has its own keys; heads that share keys do.

# %%
SHAPES = {  # a layer: FLOPs for each cached token, numbers stored, layers
    "Llama 2 70B, had it MHA": (4 * 64 * 128, 2 * 64 * 128, 80),
    "Llama 2 and 3 70B, GQA": (4 * 64 * 128, 2 * 8 * 128, 80),
    "DeepSeek-V3, MLA": (2 * 128 * (2 * 512 + 64), 512 + 64, 61),
}
shared = {name: a / (2 * stored) for name, (a, stored, _) in SHAPES.items()}
assert [stored for _, stored, _ in SHAPES.values()] == [16384, 2048, 576]
assert [2 * s * layers for _, s, layers in SHAPES.values()] == [2621440, 327680, 70272]
for name, (a, stored, layers) in SHAPES.items():
    print(f"{name:23} {stored:6,} numbers a layer, "
          f"{2 * stored * layers / 1024:6.1f} KiB a token, "
          f"{shared[name]:5.1f} FLOPs a byte")

# %% [markdown]
# **What the code shows:** full heads offer one operation for each byte.
# Absorbed MLA offers `{python} f"{shared['DeepSeek-V3, MLA']:.0f}"`, which is `{python} f"{shared['DeepSeek-V3, MLA'] / ridge:.0%}"` of what the chip wants: it saves the bytes that are scarce and uses arithmetic that would idle.
#
# ### A cache in pages
#
# Nobody knows how long an answer will be.
# Reserve the maximum for each text and most of the memory stays empty: in the systems that @kwon2023efficient measured, 20 to 38 % of the cache memory held tokens.
# *PagedAttention* does what operating systems do: memory is cut into *blocks* of a few tokens, and each text has a *block table*, the list of its blocks in order.
# Blocks are taken as the text grows, at most one is part empty, and two texts with the same beginning point to the same blocks, with a count of who uses each.
# Who wants to write into a shared block copies it first: *copy on write*.


# %%
class PagedCache:
    """Rows (one token's keys and values) of many texts in blocks of one pool."""

    def __init__(self, blocks: int, size: int, width: int) -> None:
        self.pool = np.zeros((blocks, size, width))
        self.free = list(range(blocks))[::-1]
        self.users = [0] * blocks
        self.tables: dict[str, list[int]] = {}
        self.lengths: dict[str, int] = {}

    def take(self) -> int:
        if not self.free:
            raise MemoryError("no free block: a text must wait or give way")
        block = self.free.pop()
        self.users[block] = 1
        return block

    def append(self, name: str, row: np.ndarray) -> None:
        table, t = self.tables.setdefault(name, []), self.lengths.get(name, 0)
        size = self.pool.shape[1]
        if t % size == 0:
            table.append(self.take())
        elif self.users[table[-1]] > 1:  # shared: copy on write
            old, new = table[-1], self.take()
            self.pool[new] = self.pool[old]
            self.users[old] -= 1
            table[-1] = new
        self.pool[table[-1], t % size] = row
        self.lengths[name] = t + 1

    def fork(self, name: str, child: str) -> None:
        self.tables[child] = self.tables[name][:]
        self.lengths[child] = self.lengths[name]
        for block in self.tables[child]:
            self.users[block] += 1

    def read(self, name: str) -> np.ndarray:
        """Rows (T, width) in order, gathered through the block table."""
        rows = self.pool[self.tables[name]].reshape(-1, self.pool.shape[2])
        return rows[: self.lengths[name]]

    def release(self, name: str) -> None:
        for block in self.tables.pop(name):
            self.users[block] -= 1
            if self.users[block] == 0:
                self.free.append(block)
        del self.lengths[name]


pages = PagedCache(blocks=32, size=4, width=6)
for row in rng.normal(size=(14, 6)):
    pages.append("a", row)
for child in "bcd":
    pages.fork("a", child)
    for row in rng.normal(size=(3, 6)):
        pages.append(child, row)
print("block tables", pages.tables)
used = 32 - len(pages.free)
print(f"{used} blocks in use; without sharing {sum(map(len, pages.tables.values()))}")

# %%
#| label: fig-pages
#| fig-cap: Block tables of one prompt and three answers to it. Each cell is an entry and shows the number of its block in the pool; dark cells are shared.
#| fig-alt: Four rows. The first three cells of every row are dark and hold blocks 0, 1 and 2; the later cells are light and hold different blocks in each row.
fig, ax = plt.subplots(figsize=(5.0, 2.4))
for y, (name, table) in enumerate(pages.tables.items()):
    for x, block in enumerate(table):
        several = pages.users[block] > 1
        ax.add_patch(plt.Rectangle((x, y), 0.94, 0.86, ec="k", lw=0.6,
                                   fc="0.35" if several else "0.93"))
        ax.text(x + 0.47, y + 0.43, block, color="w" if several else "k",
                ha="center", va="center")
ax.set(xlim=(-0.1, 5.1), ylim=(4.05, -0.15), xlabel="place in the block table")
ax.set_xticks(np.arange(5) + 0.47, range(5))
ax.set_yticks(np.arange(4) + 0.43, [f"text {name}" for name in pages.tables])
ax.grid(False)

# %% [markdown]
# **What the code shows:** four texts share three full blocks (@fig-pages); each answer copied the fourth when it first wrote.
# The tests drive random appends, forks and releases against plain lists.
# *RadixAttention* finds such common beginnings by itself, in a tree of all cached prompts [@zheng2024sglang].

# %% tags=["test"]
def check_pages(pages, texts):
    """Every text reads back, and counts and free list agree with the tables."""
    for name, rows in texts.items():
        assert np.array_equal(pages.read(name), np.array(rows))
        assert len(pages.tables[name]) == -(-len(rows) // pages.pool.shape[1])
    counts = np.zeros(len(pages.pool), dtype=int)
    for table in pages.tables.values():
        counts[table] += 1
    assert counts.tolist() == pages.users
    assert sorted(pages.free) == np.flatnonzero(counts == 0).tolist()


def test_pages_equal_lists():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size, width = (int(n) for n in rng.integers(1, 6, size=2))
        pages, texts = PagedCache(300, size, width), {}
        for i in range(60):
            action = rng.choice(["new", "append", "fork", "release"],
                                p=[0.1, 0.6, 0.2, 0.1])
            name = str(rng.choice(list(texts))) if texts else ""
            if action == "new" or not texts:
                name, action = f"t{i}", "append"
                texts[name] = []
            if action == "append":
                for row in rng.normal(size=(int(rng.integers(1, 4)), width)):
                    pages.append(name, row)
                    texts[name].append(row)
            elif action == "fork":
                pages.fork(name, f"t{i}")
                texts[f"t{i}"] = list(texts[name])
            elif action == "release":
                pages.release(name)
                del texts[name]
            check_pages(pages, texts)


def test_pages_run_out():
    pages, full = PagedCache(2, 3, 1), False
    for i in range(6):
        pages.append("a", np.array([i]))
    try:
        pages.append("a", np.array([6]))
    except MemoryError:
        full = True
    assert full and pages.read("a").ravel().tolist() == list(range(6))
    pages.release("a")
    assert sorted(pages.free) == [0, 1] and pages.tables == {}


def test_paged_attention_equals_contiguous():
    rng = np.random.default_rng(3)
    c = Config(vocab=9, context=20, d=12, layers=2, heads=3)
    P, ids = init(c, rng), rng.integers(9, size=(1, 15))
    full, _ = forward(ids, P, c)
    pages, cache = PagedCache(20, 4, 4 * c.d), None
    for t in range(15):  # every key and value goes through the pages
        logits, longer = forward(ids[:, t : t + 1], P, c, cache)
        new = [x[0, :, -1] for pair in longer for x in pair]  # each (H, d_k)
        pages.append("x", np.concatenate(new).ravel())
        rows = pages.read("x").reshape(t + 1, 4, c.heads, -1).transpose(1, 2, 0, 3)
        cache = [(rows[None, 2 * l], rows[None, 2 * l + 1]) for l in range(2)]
        assert np.allclose(logits[:, 0], full[:, t], atol=1e-11)


# %% [markdown]
# ### Experiment: who waits for whom?
#
# A *static* batch starts $B$ texts together and ends with the longest.
# *Continuous* batching (in the paper *iteration-level scheduling*) decides anew at every step: a finished text leaves, the next in the queue takes its place [@yu2022orca].
#
# **Question.** How much throughput does that bring, and what does it depend on?
#
# **Prediction.** A decode step costs the same whether its $B$ places are full or not, since it waits for the weights.
# A static batch then takes $\mathbb{E}[\max]$ steps, the [mean](../math-foundations/probability.py#averages-and-how-far-they-are-off) of the longest of $B$ answers, where the work in it would fill $\mathbb{E}[\text{length}]$ steps, so with a long queue the gain is
#
# $$
# \text{gain} = \frac{\mathbb{E}[\max(\ell_1, \dots, \ell_B)] + B\sigma}{\mathbb{E}[\ell] + B\sigma}
# $$
#
# where starting a text stops everything for $\sigma$ steps (its prefill).
# For equal lengths that is 1; for lengths uniform from 1 to twice the mean it approaches 2; for geometric lengths, where each further token is the last with the same probability, it grows like $\log B$.
#
# **Controls.** Equal lengths (no gain may appear); static batches of texts *sorted* by length (if waiting is the cause, most of the gain must appear without continuous batching); and $\sigma = 1$ instead of 0.


# %%
def static_batching(lengths: np.ndarray, B: int, stall: float = 0.0) -> float:
    """Tokens per step when each batch of B waits for its longest text."""
    batches = [lengths[i : i + B] for i in range(0, len(lengths), B)]
    return lengths.sum() / sum(stall * len(b) + b.max() for b in batches)


def continuous_batching(lengths: np.ndarray, B: int, stall: float = 0.0) -> float:
    """Tokens per step when a free place is filled at once."""
    left, started, time = np.zeros(B, dtype=int), 0, 0.0
    while started < len(lengths) or left.any():
        free = np.flatnonzero(left == 0)[: len(lengths) - started]
        left[free] = lengths[started : started + len(free)]
        started += len(free)
        time += stall * len(free) + 1
        left = np.maximum(left - 1, 0)
    return lengths.sum() / time


def expected_gain(cdf: np.ndarray, B: int, stall: float = 0.0) -> float:
    """The formula above; cdf[k] is the probability of a length of at most k."""
    longest, mean = (1 - cdf**B).sum(), (1 - cdf).sum()
    return (longest + B * stall) / (mean + B * stall)


MEAN = 32
k = np.arange(2000)
CDFS = {"equal": (k >= MEAN) * 1.0, "uniform": np.minimum(k / (2 * MEAN - 1), 1),
        "geometric": 1 - (1 - 1 / MEAN) ** k}


def draw_lengths(cdf: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n lengths (n,) with the given cumulative distribution."""
    return np.searchsorted(cdf, rng.random(n), side="left")


BATCHES, SEEDS = (2, 4, 8, 16, 32, 64), range(5)
gains = {name: np.zeros((len(BATCHES), len(SEEDS))) for name in CDFS}
idle = np.zeros((len(BATCHES), len(SEEDS)))  # share of empty places, geometric lengths
sorted_gain, stalled_gain = [], []
for seed in SEEDS:
    draw_rng = np.random.default_rng(seed)
    for name, cdf in CDFS.items():
        for i, B in enumerate(BATCHES):
            lengths = draw_lengths(cdf, 60 * B, draw_rng)
            static, rate = static_batching(lengths, B), continuous_batching(lengths, B)
            gains[name][i, seed] = rate / static
            if name == "geometric":
                idle[i, seed] = 1 - rate / B
            if name == "geometric" and B == 16:
                sorted_gain.append(static_batching(np.sort(lengths), B) / static)
                stalled_gain.append(continuous_batching(lengths, B, 1.0)
                                    / static_batching(lengths, B, 1.0))
for name, cdf in CDFS.items():
    print(f"{name:9} B = 16: gain {gains[name][3].mean():.2f}, "
          f"predicted {expected_gain(cdf, 16):.2f}")
stalled_theory = expected_gain(CDFS["geometric"], 16, 1.0)
print(f"geometric: sorted static {np.mean(sorted_gain):.2f}; prefill of one step "
      f"{np.mean(stalled_gain):.2f}, predicted {stalled_theory:.2f}")
missing = {}
for i, B in ((3, 16), (5, 64)):
    theory = expected_gain(CDFS["geometric"], B)
    long = draw_lengths(CDFS["geometric"], 600 * B, np.random.default_rng(0))
    long_gain = continuous_batching(long, B) / static_batching(long, B)
    missing[B] = 1 - gains["geometric"][i].mean() / theory, 1 - long_gain / theory
    print(f"geometric B = {B}: gain {gains['geometric'][i].mean():.2f}, places empty "
          f"{idle[i].mean():.1%}; long queue {long_gain:.2f}, predicted {theory:.2f}")

# %% tags=["hide-input"]
#| label: fig-batching
#| fig-cap: Throughput of continuous over static batching against the number of places, for three distributions of lengths with the same mean. Markers are means over five seeds, bands run from the smallest to the largest, grey lines are the prediction.
#| fig-alt: Equal lengths stay at one. Uniform lengths approach two. Geometric lengths grow steadily with the logarithm of the batch to more than four, slightly below the predicted line at large batches.
fig, ax = plt.subplots(figsize=(5.0, 2.8))
for (name, values), style in zip(gains.items(), ("o-", "s--", "^-.")):
    ax.plot(BATCHES, [expected_gain(CDFS[name], B) for B in BATCHES], color="0.6", lw=3)
    ax.plot(BATCHES, values.mean(axis=1), style, label=name)
    ax.fill_between(BATCHES, values.min(axis=1), values.max(axis=1), alpha=0.2)
ax.set_xscale("log", base=2)
ax.set_xticks(BATCHES, BATCHES)
ax.set(xlabel="places in the batch", ylabel="gain in throughput")
ax.legend()

# %% [markdown]
# **What the code shows:** the shapes are as predicted (@fig-batching), and the gain is exactly 1 for equal lengths.
# For geometric lengths it falls short, by `{python} f"{missing[16][0]:.0%}"` at 16 places and `{python} f"{missing[64][0]:.0%}"` at 64.
# The queue of 60 texts for each place ends, and the last places run empty: over the whole run `{python} f"{idle[3].mean():.0%}"` and `{python} f"{idle[5].mean():.0%}"` of them, which is the gap up to the luck of the draw.
# With a queue ten times as long the gain comes within `{python} f"{max(abs(gaps[1]) for gaps in missing.values()):.0%}"` of the prediction at both sizes.
# Sorting alone brings `{python} f"{np.mean(sorted_gain):.2f}"`: waiting was the cause, but sorting needs lengths that no server knows.
# A prefill of one step cuts the gain to `{python} f"{np.mean(stalled_gain):.2f}"`.
# This is a model with a full queue and a constant step; it says nothing about latency, and beyond the ridge a full step costs more than an empty one.
#
# The stall is real: a long prompt holds up every text being decoded.
# *Chunked prefill* runs it in pieces, each together with the decoding texts, whose reads of the weights it shares [@agrawal2023sarathi]; `in_pieces` showed that chunks change nothing.
# *Disaggregation* goes further and gives the phases to different machines, which hand over the cache [@patel2024splitwise; @zhong2024distserve].

# %% tags=["test"]
def test_batching_by_hand():
    lengths = np.array([3, 1, 1, 1])
    assert static_batching(lengths, 2) == 6 / 4  # 3 steps, then 1
    assert continuous_batching(lengths, 2) == 6 / 3
    assert static_batching(lengths, 2, 0.5) == 6 / 6
    assert continuous_batching(lengths, 2, 0.5) == 6 / 5
    assert continuous_batching(np.array([2, 5]), 4) == 7 / 5


def test_continuous_equals_a_queue():
    import heapq

    rng = np.random.default_rng(4)
    for _ in range(20):
        B, n = (int(x) for x in rng.integers(1, 9, size=2))
        lengths = rng.integers(1, 20, size=n * 3)
        ends = [0] * B  # when each place becomes free
        for length in lengths:
            heapq.heappush(ends, heapq.heappop(ends) + length)
        assert np.isclose(continuous_batching(lengths, B), lengths.sum() / max(ends))
        assert continuous_batching(lengths, B) >= static_batching(lengths, B) - 1e-12


def test_expected_gain():
    cdf = np.array([0, 0.5, 1.0])  # lengths 1 and 2, equally likely
    assert np.isclose(expected_gain(cdf, 2), 1.75 / 1.5)
    assert np.isclose(expected_gain(cdf, 2, 3.0), 7.75 / 7.5)
    rng = np.random.default_rng(5)
    lengths = draw_lengths(cdf, 20000, rng)
    assert set(lengths) == {1, 2} and abs(lengths.mean() - 1.5) < 0.02
    for stall in (0.0, 0.5):
        ratio = (continuous_batching(lengths, 4, stall)
                 / static_batching(lengths, 4, stall))
        assert abs(ratio - expected_gain(cdf, 4, stall)) < 0.02


# %% tags=["test", "experiment"]
def test_batching_experiment():
    assert np.all(gains["equal"] == 1)
    for name in ("uniform", "geometric"):
        for i, B in enumerate(BATCHES):
            theory = expected_gain(CDFS[name], B)
            assert abs(gains[name][i].mean() / theory - 1) < 0.12
    for i, B in ((3, 16), (5, 64)):
        assert 0.02 < idle[i].mean() < 0.08 and abs(missing[B][0] - idle[i].mean()) < 0.03
        assert abs(missing[B][1]) < 0.02
    assert np.mean(sorted_gain) > 0.85 * gains["geometric"][3].mean()
    assert abs(np.mean(stalled_gain) / stalled_theory - 1) < 0.08
    assert intensity[1] < 1.05 and intensity[64] < ridge


# %% [markdown]
# ### Speculative decoding: guess, then check in one read
#
# Below the ridge, five rows cost a decode step hardly more than one.
# So let a small *draft* model with probabilities $q$ guess $\gamma$ tokens, and let the *target* $p$ score all of them in one pass, like a short prefill.
# Keep the guesses that pass a test, from the left [@leviathan2023fast; @chen2023accelerating]:
#
# $$
# \begin{aligned}
# P(\text{keep } x) &= \min\left(1, \frac{p(x)}{q(x)}\right), \\
# \text{else draw from } r(x) &= \frac{\max(0, p(x) - q(x))}{\sum_y \max(0, p(y) - q(y))}
# \end{aligned}
# $$
#
# After the first rejection the round ends; if all $\gamma$ pass, the target's last row gives one more token for nothing.
#
# *The text is distributed as if the target had written alone.*
# Look at one place, with the text before it given.
# Token $x$ is guessed and kept with probability $q(x) \min(1, p(x)/q(x)) = \min(p(x), q(x))$.
# Summed over $x$ this is $\alpha$, the *acceptance rate*, so a rejection has probability $1 - \alpha$.
# The denominator of $r$ is the same number:
#
# $$
# \begin{aligned}
# &\sum_y \max(0, p(y) - q(y)) \\
# &\quad = \sum_y (p(y) - \min(p(y), q(y))) = 1 - \alpha
# \end{aligned}
# $$
#
# Together
#
# $$
# \begin{aligned}
# P(x) &= \min(p(x), q(x)) \\
# &\quad {} + (1 - \alpha) \, \frac{p(x) - \min(p(x), q(x))}{1 - \alpha} \\
# &= p(x)
# \end{aligned}
# $$
#
# Whatever text now stands there, the next place is decided by the same rule, so the argument repeats.
# (If $\alpha = 1$, nothing is ever rejected.)
# A bad draft costs time, never quality.
# [Temperature and top-p](../transformers/gpt.py#drawing-a-token) are applied to the target first; then $p$ is what they leave.
#
# By hand: $p = (\frac{1}{2}, \frac{1}{4}, \frac{1}{4})$ and $q = (\frac{1}{4}, \frac{1}{4}, \frac{1}{2})$.
# The minima $(\frac{1}{4}, \frac{1}{4}, \frac{1}{4})$ sum to $\alpha = \frac{3}{4}$, what is missing is $(\frac{1}{4}, 0, 0)$, so a rejection always draws the first token: $\frac{1}{4} + \frac{1}{4} \cdot 1 = \frac{1}{2}$.
#
# If each guess passes independently with probability $\alpha$, a round yields an $(i+1)$-st token exactly when the first $i$ guesses pass, with probability $\alpha^i$:
#
# $$
# \begin{aligned}
# \mathbb{E}[\text{tokens per round}] &= 1 + \alpha + \dots + \alpha^\gamma \\
# &= \frac{1 - \alpha^{\gamma + 1}}{1 - \alpha}, \\
# \text{speed-up} &= \frac{1 - \alpha^{\gamma + 1}}{(1 - \alpha)(\gamma \kappa + 1)}
# \end{aligned}
# $$
#
# with $\kappa$ the time of a draft step in target steps.
# In the code every random choice goes through `draw`, so that we can replace chance by *all* choices in turn.


# %%
def speculate(target, draft, context: tuple, gamma: int, draw) -> list[int]:
    """One round, 1 to gamma + 1 tokens; models turn a context into p (K,)."""
    guesses, q = [], []
    for _ in range(gamma):
        q.append(draft(context + tuple(guesses)))
        guesses.append(draw(q[-1]))
    p = [target(context + tuple(guesses[:i])) for i in range(gamma + 1)]  # one pass
    for i, x in enumerate(guesses):
        keep = min(1.0, p[i][x] / q[i][x])
        if draw(np.array([keep, 1 - keep])) == 1:
            rest = np.maximum(p[i] - q[i], 0)
            return guesses[:i] + [draw(rest / rest.sum())]
    return guesses + [draw(p[gamma])]


class Fork(Exception):
    """Raised where a program asks for a choice that is not yet made."""


def outcomes(program) -> dict:
    """Every result of program(draw) with its exact probability."""
    totals, todo = {}, [((), 1.0)]
    while todo:
        path, weight = todo.pop()
        choices = iter(path)

        def draw(p: np.ndarray) -> int:
            for choice in choices:
                return choice
            raise Fork(p)

        try:
            result = program(draw)
            totals[result] = totals.get(result, 0.0) + weight
        except Fork as fork:
            todo += [(path + (i,), weight * w)
                     for i, w in enumerate(fork.args[0]) if w > 0]
    return totals


def write(target, draft, n: int, gamma: int, draw) -> tuple:
    """The first n tokens of a text; gamma = 0 is plain sampling."""
    text = ()
    while len(text) < n:
        text += tuple(speculate(target, draft, text, gamma, draw))
    return text[:n]


def markov(table: np.ndarray):
    """A language model that looks at one token; table (K, K), row 0 at the start."""
    return lambda context: table[context[-1] if context else 0]


tables = np.random.default_rng(1).dirichlet(np.ones(3), size=(2, 3))
big, small = markov(tables[0]), markov(tables[1])  # strangers to each other
plain = outcomes(lambda draw: write(big, small, 3, 0, draw))
fast = outcomes(lambda draw: write(big, small, 3, 2, draw))
gap = max(abs(fast[text] - plain[text]) for text in plain)
assert len(plain) == 27 and gap < 1e-12
p_hand, q_hand = np.array([2, 1, 1]) / 4, np.array([1, 1, 2]) / 4
by_hand = outcomes(lambda draw: speculate(
    lambda c: p_hand, lambda c: q_hand, (), 1, draw)[0])
assert np.allclose([by_hand[x] for x in range(3)], p_hand)
print(f"all {len(plain)} texts of three tokens as likely either way: {gap < 1e-12}")

# %% [markdown]
# **What the code shows:** the enumeration runs the algorithm itself through every path of chance, with a draft that knows nothing of the target, and finds the target's probabilities to rounding.
# The tests add a $\chi^2$ test, which asks whether counts fit probabilities: sampled texts pass it, and fail when a tenth of the draft is mixed into the target.
#
# Now count tokens per round, with $p$ and $q$ the same at every place (independence holds) and with Markov chains (it does not).


# %%
def tokens_per_round(target, draft, gamma: int, rounds: int, rng) -> float:
    """Mean number of tokens in a round of a long text."""
    draw = lambda p: int(np.searchsorted(np.cumsum(p)[:-1], rng.random(), side="right"))
    text = ()
    total = 0
    for _ in range(rounds):
        new = speculate(target, draft, text, gamma, draw)
        total, text = total + len(new), (new[-1],)  # all that a chain needs
    return total / rounds


def expected_tokens(alpha: float, gamma: int) -> float:
    return sum(alpha**i for i in range(gamma + 1))


def stationary(table: np.ndarray) -> np.ndarray:
    """The share (K,) of each token in a long text of a chain."""
    return np.linalg.matrix_power(table, 200)[0]


def chain_rounds(p: np.ndarray, q: np.ndarray, gamma: int) -> tuple:
    """Mean tokens (K,) of a round begun after each token, law (K, K) of its last."""
    passed, tokens, last = np.eye(len(p)), np.zeros(len(p)), np.zeros_like(p)
    for _ in range(gamma):
        tokens += passed.sum(axis=1)
        last += passed @ np.maximum(p - q, 0)  # a rejection ends the round
        passed = passed @ np.minimum(p, q)  # or the next guess passes
    return tokens + passed.sum(axis=1), last + passed @ p


spec_rng = np.random.default_rng(2)
p_table = 0.05 * spec_rng.dirichlet(np.ones(8), size=8)
for half in (slice(0, 4), slice(4, 8)):  # a chain that stays long in each half
    p_table[half, half] += 0.95 * spec_rng.dirichlet(0.5 * np.ones(4), size=4)
blur = np.where(np.arange(8) < 4, 0.05, 0.8)[:, None]  # the draft: one half is hard
q_table = (1 - blur) * p_table + blur / 8
alphas = np.minimum(p_table, q_table).sum(axis=1)
alpha_chain = float(stationary(p_table) @ alphas)
GAMMAS = (1, 2, 4, 8)
same_p = lambda context: p_table[4]
same_q = lambda context: q_table[4]
measured = {
    "alike places": [tokens_per_round(same_p, same_q, g, 1500, spec_rng)
                     for g in GAMMAS],
    "chain": [tokens_per_round(markov(p_table), markov(q_table), g, 1500, spec_rng)
              for g in GAMMAS]}
for (name, values), alpha in zip(measured.items(), (alphas[4], alpha_chain)):
    print(f"{name}, rate {alpha:.2f}:", *(
        f"{g}: {value:.2f} ({expected_tokens(alpha, g):.2f})"
        for g, value in zip(GAMMAS, values)))
per_round, law = chain_rounds(p_table, q_table, 8)
exact = float(stationary(law) @ per_round)
hard_text, hard_rounds = (stationary(x)[4:].sum() for x in (p_table, law))
even = float(stationary(p_table) @ per_round)
print(f"chain, 8 guesses: mean {exact:.2f} exactly; hard tokens are {hard_text:.0%} "
      f"of the text, {hard_rounds:.0%} of the starts")

# %%
#| label: fig-speculation
#| fig-cap: Speed-up by the formula against the number of guesses, for three acceptance rates and a draft that costs a twentieth of the target. Dots mark the best number.
#| fig-alt: With rate 0.9 the speed-up climbs above four and a half at thirteen guesses, with 0.7 above two at six, with 0.5 it stays below two and peaks at three; all fall slowly afterwards.
guesses = np.arange(0, 21)
fig, ax = plt.subplots()
for alpha, style in ((0.9, "-"), (0.7, "--"), (0.5, ":")):
    speed = [expected_tokens(alpha, g) / (0.05 * g + 1) for g in guesses]
    ax.plot(guesses, speed, style, label=f"acceptance {alpha}")
    ax.plot(np.argmax(speed), max(speed), "ko", ms=4)
ax.set(xlabel="guesses in a round", ylabel="speed-up", xticks=range(0, 21, 4))
ax.legend()

# %% [markdown]
# **What the code shows:** in brackets the formula, which fits when places are alike.
# The chain has easy and hard stretches, and the formula promises `{python} f"{expected_tokens(alpha_chain, 8) / exact - 1:.0%}"` too much at eight guesses.
# The cause is where rounds begin: a hard stretch needs many short ones, so `{python} f"{hard_rounds:.0%}"` of the rounds begin after a hard token, though such tokens are `{python} f"{hard_text:.0%}"` of the text.
# If rounds began evenly over the text, their mean would be `{python} f"{even:.2f}"`, above the formula.
# More guesses pay only with a good and cheap draft (@fig-speculation), and where the batch nears the ridge the spare arithmetic is gone, and the gain with it.

# %% tags=["test"]
def random_models(rng, K):
    return (markov(table) for table in rng.dirichlet(0.7 * np.ones(K), size=(2, K)))


def check_same_law(target, draft, n, gamma):
    plain = outcomes(lambda draw: write(target, draft, n, 0, draw))
    fast = outcomes(lambda draw: write(target, draft, n, gamma, draw))
    assert abs(sum(fast.values()) - 1) < 1e-9
    assert all(abs(fast[t] - plain[t]) < 1e-9 for t in plain)
    return plain


def test_speculation_by_enumeration():
    rng = np.random.default_rng(6)
    for _ in range(20):
        K, gamma = (int(x) for x in (rng.integers(2, 4), rng.integers(1, 3)))
        target, draft = random_models(rng, K)
        plain = check_same_law(target, draft, 2, gamma)
        for (a, b), w in plain.items():
            assert abs(w - target(())[a] * target((a,))[b]) < 1e-12
    sure = markov(np.eye(3)[[1, 2, 0]])  # zeros in the target, then in the draft
    vague = markov(np.full((3, 3), 1 / 3))
    assert check_same_law(sure, vague, 3, 2) == {(1, 2, 0): 1.0}
    check_same_law(vague, sure, 3, 2)
    lengths = outcomes(lambda draw: len(speculate(vague, vague, (), 2, draw)))
    assert lengths.keys() == {3} and abs(lengths[3] - 1) < 1e-12


def test_speculation_chi_squared():
    from scipy.special import chdtrc  # the tail of the chi-squared distribution

    rng = np.random.default_rng(7)
    target, draft = random_models(rng, 4)
    want = outcomes(lambda draw: write(target, draft, 2, 0, draw))
    draw = lambda p: int(np.searchsorted(np.cumsum(p)[:-1], rng.random(), side="right"))

    def p_value(law):
        seen = dict.fromkeys(want, 0)
        for _ in range(2000):
            seen[write(law, draft, 2, 2, draw)] += 1
        expected = 2000 * np.array(list(want.values()))
        return chdtrc(len(want) - 1, ((list(seen.values()) - expected) ** 2
                                      / expected).sum())

    assert p_value(target) > 1e-3
    off = lambda c: 0.9 * target(c) + 0.1 * draft(c)  # a slightly wrong target
    assert p_value(off) < 1e-3


def test_expected_tokens():
    rng = np.random.default_rng(8)
    for gamma in (1, 3, 5):
        p, q = rng.dirichlet(np.ones(4), size=2)
        alpha = np.minimum(p, q).sum()
        got = tokens_per_round(lambda c: p, lambda c: q, gamma, 3000, rng)
        assert abs(got / expected_tokens(alpha, gamma) - 1) < 0.05
        geometric_sum = (1 - alpha ** (gamma + 1)) / (1 - alpha)
        assert np.isclose(expected_tokens(alpha, gamma), geometric_sum)
    lengths = outcomes(lambda draw: len(speculate(
        lambda c: p, lambda c: q, (), 2, draw)))
    mean = sum(length * w for length, w in lengths.items())
    assert np.isclose(mean, expected_tokens(alpha, 2))
    P, Q = rng.dirichlet(np.ones(3), size=(2, 3))
    means, law = chain_rounds(P, Q, 2)
    for x in range(3):
        rounds = outcomes(lambda draw: tuple(speculate(
            markov(P), markov(Q), (x,), 2, draw)))
        assert np.isclose(means[x], sum(len(text) * w for text, w in rounds.items()))
        for y in range(3):
            want = sum(w for text, w in rounds.items() if text[-1] == y)
            assert np.isclose(law[x, y], want)
    table = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert np.allclose(stationary(table), [2 / 3, 1 / 3])


# %% [markdown]
# ### Fewer bits
#
# Half the bytes of the weights, half the time of a step at small batches.
# With 4.5 bits a weight the `{python} f"{1e3 * step_time(llama8, 1, 1, 0):.2f}"` ms of Section 1 become `{python} f"{1e3 * step_time(llama8, 1, 1, 0, p=4.5 / 8):.2f}"`, and that makes *quantisation* worth its errors.
# [Batching](../training/batching.py#fewer-bits) had floating formats and [NF4](efficient-adaptation.py#four-bits-for-what-is-frozen) chosen levels; integers have evenly spaced ones:
#
# $$
# \begin{aligned}
# Z &= \text{clip}\left( \text{round}\left( \frac{W}{s} \right), -Q, Q \right), \\
# \hat{W} &= s Z,
# \quad
# s = \frac{\max \lvert W \rvert}{Q},
# \quad
# Q = 2^{b-1} - 1
# \end{aligned}
# $$
#
# **What this means:** the largest number decides the step for all that share $s$, and rounding errs by up to $s/2$.
# Who shares: all of $W$ (*per tensor*), one output column (*per channel*), or a *group* of rows in one column.


# %%
def to_int(W: np.ndarray, bits: int, group: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes (d_in, d_out) and scales (groups, 1, d_out); group 0: one scale for all.

    `group` rows of a column share a scale; group = d_in is per channel.
    """
    top = 2 ** (bits - 1) - 1
    blocks = W.reshape(-1, group or len(W), W.shape[1])
    axis = 1 if group else None
    s = np.abs(blocks).max(axis=axis, keepdims=True) / top
    s = np.broadcast_to(np.where(s == 0, 1.0, s), (len(blocks), 1, W.shape[1]))
    codes = np.clip(np.rint(blocks / s), -top, top)
    return codes.reshape(W.shape).astype(np.int8), s


def from_int(codes: np.ndarray, s: np.ndarray) -> np.ndarray:
    """The weights (d_in, d_out) that codes and scales stand for."""
    return (codes.reshape(len(s), -1, codes.shape[1]) * s).reshape(codes.shape)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


int_rng = np.random.default_rng(3)
W = int_rng.normal(size=(256, 192)) * np.exp(0.7 * int_rng.normal(size=192))
W[int_rng.integers(256, size=20), int_rng.integers(192, size=20)] *= 8  # a few outliers
SCHEMES = {"per tensor": 0, "per channel": 256, "groups of 64": 64, "groups of 32": 32}
errors = {(name, bits): relative(from_int(*to_int(W, bits, group)), W)
          for name, group in SCHEMES.items() for bits in (8, 4)}
for name, group in SCHEMES.items():
    extra = 16 / group if group else 0.0  # a 16-bit scale for each group
    print(f"{name:12} int8 {errors[name, 8]:6.2%}, int4 {errors[name, 4]:6.1%}, "
          f"{4 + extra:.2f} bits a weight in int4")

# %% [markdown]
# **What the code shows:** with eight bits a scale per channel is plenty; with four, groups earn their extra bits.
# The codes are those of `torch.quantize_per_channel`, number by number, in the tests.
#
# ### Activations have outliers
#
# *Activations* are harder: from about seven billion parameters on, a few features of the [stream](../transformers/transformer-architecture.py#the-residual-stream) are large in most tokens, up to 20 times the others in the models of @dettmers2022llm, about 100 times in those of @xiao2023smoothquant.
# If both sides of $XW$ are to be integers, there are three cures, and none changes the product before rounding:
#
# - *LLM.int8* computes the few large features in 16 bits and the rest in int8.
# - *SmoothQuant* moves size from $X$ to $W$: $XW = (X D^{-1})(DW)$, with $D_{jj} = \max_i \lvert X_{ij} \rvert^{1/2} / \max_k \lvert W_{jk} \rvert^{1/2}$ [@xiao2023smoothquant].
# - *QuaRot* turns both by an [orthogonal matrix](../math-foundations/linear-algebra.py#the-singular-value-decomposition), $XW = (XR)(R^\top W)$, which spreads a large feature over all [@ashkboos2024quarot].


# %%
def int8_product(X: np.ndarray, W: np.ndarray) -> np.ndarray:
    """X W with int8 codes, X (n, d) per token, W per channel."""
    (Zx, sx), (Zw, sw) = to_int(X.T, 8, X.shape[1]), to_int(W, 8, len(W))
    return (Zx.T.astype(int) @ Zw.astype(int)) * sx[0].T * sw[0]


def split_product(X: np.ndarray, W: np.ndarray, limit: float = 6.0) -> np.ndarray:
    """LLM.int8: features that exceed `limit` anywhere stay in full precision."""
    large = np.abs(X).max(axis=0) > limit
    return X[:, large] @ W[large] + int8_product(X[:, ~large], W[~large])


def smooth(X: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X D^-1 and D W: the same product, sizes shared evenly."""
    d = np.sqrt(np.abs(X).max(axis=0) / np.abs(W).max(axis=1))
    return X / d, W * d[:, None]


X, W_act = int_rng.normal(size=(100, 128)), int_rng.normal(size=(128, 96))
X[:, [5, 77]] *= 60  # two outlier features
R, _ = np.linalg.qr(int_rng.normal(size=(128, 128)))
act_errors = {"plain int8": int8_product(X, W_act), "LLM.int8": split_product(X, W_act),
              "SmoothQuant": int8_product(*smooth(X, W_act)),
              "rotated": int8_product(X @ R, R.T @ W_act)}
quiet = np.delete(np.arange(128), [5, 77])
for name, product in act_errors.items():
    rest = product - X[:, [5, 77]] @ W_act[[5, 77]]  # what the 126 others contribute
    print(f"{name:11} error of the output {relative(product, X @ W_act):6.2%}, "
          f"of the others' part {relative(rest, X[:, quiet] @ W_act[quiet]):6.2%}")

# %% [markdown]
# **What the code shows:** the large features hide the damage in the first number.
# The second column takes away what the two large ones contribute: with one step size for all, the small features have few levels left.
# Keeping two features apart works best here; smoothing and turning need no second product in 16 bits.
#
# ### Rounding that looks at the inputs
#
# *GPTQ* uses the inputs of a layer to round its *weights* better [@frantar2023gptq].
# It rounds row after row of $W$, and after each lets the rows not yet rounded make up for the error in $XW$.
# With $H = X^\top X$ and the upper triangular $U$ for which $U^\top U = H^{-1}$ (its *Cholesky factor*):
#
# $$
# e = \frac{W_i - \hat{W}_i}{U_{ii}}, \quad W_j \leftarrow W_j - U_{ij} \, e \quad (j \gt i)
# $$
#
# **What this means:** each update is the [least-squares](../math-foundations/linear-algebra.py#projection-and-least-squares) answer for the rows that are still free, as the tests verify.


# %%
def gptq(W: np.ndarray, X: np.ndarray, bits: int, damp: float = 0.01) -> np.ndarray:
    """Rounded copy of W (d_in, d_out), per channel, for inputs X (n, d_in)."""
    H = X.T @ X
    H = H + damp * np.diag(H).mean() * np.eye(len(H))
    U = np.linalg.cholesky(np.linalg.inv(H)).T
    top, s = 2 ** (bits - 1) - 1, to_int(W, bits, len(W))[1][0, 0]
    W, rounded = W.copy(), np.empty_like(W)
    for i in range(len(W)):
        rounded[i] = s * np.clip(np.rint(W[i] / s), -top, top)
        W[i + 1 :] -= np.outer(U[i, i + 1 :], (W[i] - rounded[i]) / U[i, i])
    return rounded


mix = int_rng.normal(size=(16, 64))  # inputs that are mostly 16 directions
X_seen, X_new = (
    int_rng.normal(size=(300, 16)) @ mix + 0.3 * int_rng.normal(size=(300, 64))
    for _ in range(2))
W_lin = int_rng.normal(size=(64, 48))
gptq_error = {}
for bits in (4, 3):
    nearest = from_int(*to_int(W_lin, bits, 64))
    clever = gptq(W_lin, X_seen, bits)
    for name, Wq in (("nearest", nearest), ("gptq", clever)):
        gptq_error[name, bits] = relative(X_new @ Wq, X_new @ W_lin)
    print(f"int{bits} outputs: nearest {gptq_error['nearest', bits]:.1%}, "
          f"GPTQ {gptq_error['gptq', bits]:.1%}; weights: nearest "
          f"{relative(nearest, W_lin):.1%}, GPTQ {relative(clever, W_lin):.1%}")

# %% [markdown]
# **What the code shows:** GPTQ's weights are *farther* from the original and its outputs nearer, also on inputs it has not seen.
# *AWQ* instead scales up the rows of $W$ that meet large activations, and the inputs down, before rounding [@lin2024awq].
# The cache can be rounded too: *KIVI* keeps two bits, keys per channel, because their outliers sit in fixed channels, and values per token [@liu2024kivi] (Exercise 3).

# %% tags=["test"]
def test_int8_is_torch():
    import warnings

    import torch

    rng = np.random.default_rng(9)
    for i in range(25):
        d_in, d_out = (int(n) for n in rng.permutation(np.arange(1, 40))[:2])
        W = rng.normal(size=(d_in, d_out)) * {0: 1e6, 1: 1e-6}.get(i, 1.0)
        W = W.astype(np.float32).astype(float)
        if i == 2:
            W[:, 0] = 0
        codes, s = to_int(W, 8, d_in)
        with warnings.catch_warnings():  # torch means to move these functions
            warnings.simplefilter("ignore")
            want = torch.quantize_per_channel(
                torch.from_numpy(W).float(), torch.from_numpy(s[0, 0].copy()),
                torch.zeros(d_out, dtype=torch.long), 1, torch.qint8)
        assert codes.shape == W.shape and np.array_equal(codes, want.int_repr().numpy())
        assert np.allclose(from_int(codes, s), want.dequantize().numpy(), rtol=1e-6)
        whole, s = to_int(W, 8)
        want = torch.quantize_per_tensor(torch.from_numpy(W).float(),
                                         float(s[0, 0, 0]), 0, torch.qint8)
        assert np.array_equal(whole, want.int_repr().numpy())


def test_groups():
    rng = np.random.default_rng(10)
    for _ in range(20):
        groups, size, d_out = (int(n) for n in rng.integers(1, 7, size=3))
        W, bits = rng.normal(size=(groups * size, d_out)), int(rng.integers(2, 9))
        codes, s = to_int(W, bits, size)
        assert s.shape == (groups, 1, d_out)
        assert np.abs(codes).max() == 2 ** (bits - 1) - 1
        for g in range(groups):
            part, t = to_int(W[g * size : (g + 1) * size], bits, size)
            assert np.array_equal(part, codes[g * size : (g + 1) * size])
            assert np.array_equal(t[0], s[g])
        steps = np.repeat(s[:, 0], size, axis=0)
        assert np.all(np.abs(from_int(codes, s) - W) <= steps / 2 + 1e-12)


def test_products():
    assert relative(np.array([5.0, 0.0]), np.array([2.0, 0.0])) == 1.5
    rng = np.random.default_rng(11)
    for _ in range(20):
        n, d, m = (int(x) for x in rng.integers(2, 30, size=3))
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, m))
        Xs, Ws = smooth(X, W)
        assert np.allclose(Xs @ Ws, X @ W)
        assert np.allclose(np.abs(Xs).max(axis=0), np.abs(Ws).max(axis=1))
        Xq = from_int(*to_int(X.T, 8, d)).T
        assert np.allclose(int8_product(X, W), Xq @ from_int(*to_int(W, 8, d)))
        X[0, 0], W8 = 500.0, from_int(*to_int(W[1:], 8, d - 1))
        rest = from_int(*to_int(X[:, 1:].T, 8, d - 1)).T @ W8
        assert np.allclose(split_product(X, W), X[:, :1] @ W[:1] + rest)


def test_gptq_is_least_squares():
    rng = np.random.default_rng(12)
    for _ in range(20):
        d, m, bits = (int(x) for x in (rng.integers(2, 9), rng.integers(1, 6),
                                       rng.integers(2, 6)))
        X = rng.normal(size=(40, d)) @ rng.normal(size=(d, d))
        W = rng.normal(size=(d, m))
        H = X.T @ X + 0.01 * np.diag(X.T @ X).mean() * np.eye(d)
        s, top = np.abs(W).max(axis=0) / (2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1
        want = W.copy()
        for i in range(d):
            want[i] = s * np.clip(np.rint(want[i] / s), -top, top)
            done, free = slice(0, i + 1), slice(i + 1, d)
            want[free] = W[free] - np.linalg.solve(
                H[free, free], H[free, done] @ (want[done] - W[done]))
        assert np.allclose(gptq(W, X, bits), want, atol=1e-8)


# %% tags=["test", "experiment"]
def test_bits_experiment():
    for bits in (4, 8):
        order = [errors[name, bits] for name in SCHEMES]
        assert order == sorted(order, reverse=True)
    assert relative(act_errors["plain int8"], X @ W_act) < 0.03
    for bits in (3, 4):
        assert gptq_error["gptq", bits] < gptq_error["nearest", bits]
    for g, same, chain in zip(GAMMAS, *measured.values()):
        assert abs(same / expected_tokens(alphas[4], g) - 1) < 0.06
        means, law = chain_rounds(p_table, q_table, g)
        assert abs(chain / (stationary(law) @ means) - 1) < 0.06
    assert exact < expected_tokens(alpha_chain, 8) < even and hard_rounds > hard_text


# %% [markdown]
# ### The same prompt, another answer
#
# Floating-point sums [depend on their order](../math-foundations/linear-algebra.py#failure-mode-4-sums-in-low-precision), and kernels choose the order by the shape of the batch.

# %%
terms = np.random.default_rng(4).normal(size=4096).astype(np.float32)


def sum_in_pieces(x: np.ndarray, pieces: int) -> np.float32:
    """Sum of x in float32: each piece from left to right, then the partial sums."""
    parts = [part.cumsum(dtype=np.float32)[-1] for part in np.split(x, pieces)]
    return np.cumsum(parts, dtype=np.float32)[-1]


totals = {pieces: sum_in_pieces(terms, pieces) for pieces in (1, 2, 4, 8, 16, 32)}
different = len(set(totals.values()))
print(f"one sum, six ways to cut it, {different} different results")

# %% [markdown]
# **What the code shows:** six orders, `{python} different` results, and where two logits nearly tie, greedy decoding then takes another path.
# So a server gives other answers when *other people's* requests change the batch; the cure is kernels whose order does not depend on it [@he2025defeating].
#
# ### What else serves a model
#
# | idea | in one sentence |
# |---|---|
# | Medusa [@cai2024medusa] | Extra heads on the target guess the next tokens, and a tree of candidates is checked at once. |
# | EAGLE [@li2024eagle] | A small network predicts the target's next hidden features, and the target's own head turns them into guesses. |
# | multi-token prediction [@gloeckle2024better; @deepseek2024v3] | Heads trained with the model to see farther ahead; DeepSeek-V3's can serve as its draft. |
# | attention sinks [@xiao2024efficient] | Keep the first tokens and a window, drop the middle. |
# | H2O [@zhang2023h2o] | Keep the latest tokens and those that have received the most attention so far. |
# | constrained decoding [@willard2023efficient] | An automaton of the wanted format masks each step's logits (Exercise 4). |
# | floats of 8 and 4 bits [@openai2025gptoss; @nvidia2025pretraining] | NVIDIA's H100 multiplies FP8, Blackwell chips also NVFP4; gpt-oss ships its expert weights in MXFP4: E2M1 with [shared scales](../training/batching.py#fewer-bits). |
# | k-quants in GGUF, the files of llama.cpp [@gerganov2023llama] | Blocks of 256 weights are cut into groups, and the scales of the groups are rounded too. |
# | BitNet b1.58 [@ma2024era] | Train with weights of $-1$, $0$ and $1$ from the start instead of rounding later. |
# | reasoning budgets [@muennighoff2025s1] | End or extend the thinking after a set number of tokens, each of which costs a decode step. |
#
# As of 2026, paged caches, continuous batching, chunked prefill and prefix reuse are on by default in the open servers vLLM and SGLang.
# Eviction and rounding change the model's answers, and must be measured on your task; caches, pages and speculation do not, up to rounding.
#
# ## 3. Practical considerations
#
# ### Failure mode 1: rejected guesses stay in the cache
#
# Speculation with real caches and greedy choice: the target keeps the guesses that equal its own most likely tokens.
# The pass that checks the guesses also writes their keys and values.


# %%
def cut(cache: list, length: int) -> list:
    """The cache with its first `length` positions only."""
    return [(K[:, :, :length], V[:, :, :length]) for K, V in cache]


def speculative_greedy(
    P: dict, draft: dict, c: Config, prompt: list, n: int, gamma: int,
    roll_back: bool = True,
) -> tuple[list, float]:
    """Text of n tokens or a few more, and the share of guesses that were kept."""
    text, kept, made = list(prompt), 0, 0
    cache = forward(np.array([prompt[:-1]]), P, c)[1]
    while len(text) < n:
        guesses = []
        for _ in range(gamma):
            logits, _ = forward(np.array([text + guesses]), draft, c)
            guesses.append(int(logits[0, -1].argmax()))
        piece = np.array([text[-1:] + guesses])  # one read of the target
        logits, cache = forward(piece, P, c, cache, len(text) - 1)
        best = logits[0].argmax(axis=-1).tolist()
        right = next((i for i in range(gamma) if guesses[i] != best[i]), gamma)
        text, kept, made = text + best[: right + 1], kept + right, made + gamma
        if roll_back:
            cache = cut(cache, len(text) - 1)  # the last token is yet to be run
    return text, kept / made


c_spec = Config(vocab=11, context=64, d=20, layers=3, heads=4)
P_spec = init(c_spec, np.random.default_rng(8))
shallow = P_spec | {"blocks": P_spec["blocks"][:2]}  # the draft: the first two blocks
prompt = [3, 1, 4, 1, 5]
reference = list(prompt)
while len(reference) < 48:
    logits, _ = forward(np.array([reference]), P_spec, c_spec)
    reference.append(int(logits[0, -1].argmax()))
spec_runs = {}
for name, draft, roll_back in (("rolled back", shallow, True),
                               ("not rolled back", shallow, False),
                               ("not rolled back, perfect draft", P_spec, False)):
    text, share = speculative_greedy(P_spec, draft, c_spec, prompt, 48, 3, roll_back)
    alike = next((i for i in range(48) if text[i] != reference[i]), 48)
    spec_runs[name] = alike
    print(f"{name}: {share:.0%} of guesses kept, "
          f"first {alike - 5} of 43 new tokens right")

# %% [markdown]
# **Symptom:** the text leaves the target's own some time after the first rejection, although positions are right.
# **Cause:** keys of rejected guesses stay in the cache and are attended to.
# **Fix:** cut the cache to the accepted length; and test with a draft that is often wrong, because a perfect one hides the bug.
# (Positions that restart in the cache are a [failure of their own](../transformers/self-attention.py#failure-mode-2-positions-restart-in-the-cache).)

# %% tags=["test"]
def test_speculative_greedy():
    rng = np.random.default_rng(16)
    for _ in range(5):
        c = Config(vocab=9, context=40, d=12, layers=2, heads=3)
        P, gamma = init(c, rng), int(rng.integers(1, 5))
        text = rng.integers(9, size=int(rng.integers(2, 5))).tolist()
        for draft in (init(c, rng), P | {"blocks": P["blocks"][:1]}, P):
            got, share = speculative_greedy(P, draft, c, text, 20, gamma)
            want = list(text)
            while len(want) < len(got):
                want.append(int(forward(np.array([want]), P, c)[0][0, -1].argmax()))
            assert got == want and 0 <= share <= 1
        assert share == 1  # the target drafts for itself


# %% tags=["test", "experiment"]
def test_forgotten_roll_back():
    assert spec_runs["rolled back"] == spec_runs["not rolled back, perfect draft"] == 48
    assert spec_runs["not rolled back"] < 40


# %% [markdown]
# ### Failure mode 2: a prefix that only looks the same
#
# A server reuses cached blocks when their tokens match.
# Let two prompts share their *second* block, but not the first.

# %%
a, b = rng.integers(11, size=(2, 1, 4))
common, last = rng.integers(11, size=(1, 4)), np.array([[3]])
for layers in (1, 3):
    small_c = Config(vocab=11, context=24, d=20, layers=layers, heads=4)
    small_P = init(small_c, np.random.default_rng(5))
    _, after_a = forward(np.concatenate([a, common], axis=1), small_P, small_c)
    whole = np.concatenate([b, common, last], axis=1)
    honest, after_b = forward(whole, small_P, small_c)
    mixed = [tuple(np.concatenate([new[:, :, :4], old[:, :, 4:]], axis=2)
                   for new, old in zip(pair_b, pair_a))
             for pair_b, pair_a in zip(after_b, after_a)]  # b, then the block after a
    got, _ = forward(last, small_P, small_c, mixed)
    stale = np.abs(got[:, -1] - honest[:, -1]).max()
    print(f"{layers} layer{'s' * (layers > 1)}: logits off by {stale:.2f}")

# %% [markdown]
# **Symptom:** no crash, but the answer depends on someone else's prompt.
# **Cause:** a key of layer 1 depends on token and position only, a key of any later layer on everything before it; a test with one layer passes.
# **Fix:** identify a block by its tokens *and* all before them, for example by a hash that includes the previous block's hash; drop everything after the first changed token.
#
# ### Failure mode 3: one number ruins a tensor

# %%
W_one = int_rng.normal(size=(64, 48))
for size in (1, 10, 100):
    W_one[3, 7] = 4.0 * size
    rest = np.arange(48) != 7
    tensor, channel = (from_int(*to_int(W_one, 8, group)) for group in (0, 64))
    zeros = (tensor[:, rest] == 0).mean()
    print(f"outlier {4 * size:3}: other columns off by "
          f"{relative(tensor[:, rest], W_one[:, rest]):5.1%} ({zeros:3.0%} zeros), "
          f"per channel {relative(channel[:, rest], W_one[:, rest]):.1%}")

# %% [markdown]
# **Symptom:** int8 is fine for one checkpoint and fails for the next.
# **Cause:** $s$ follows the maximum, so one outlier makes everybody's steps long.
# **Fix:** scales per channel or group, and print the largest over the median size before you quantise.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **FLOPs.** A multiplication and an addition count as two. Datasheets print the H100's figure for sparse matrices, twice the dense one used here.
# > - **GB or GiB.** Memory and bandwidth are sold in powers of ten; cache sizes are often quoted in powers of two.
# > - **Channel.** With $Y = XW$ an output channel is a *column*; `nn.Linear` stores the transpose, where it is a row, `axis=0`.
# > - **Largest code.** We use $-127$ to $127$. Other schemes use $-128$ too, or add a *zero point*, an offset of all codes, which suits data that are not centred (Exercise 3).
# > - **Weights of a mixture of experts.** The arithmetic counts those that one token uses, the bytes those that the whole batch touches.
# > - **W4A16, W8A8.** Bits of weights, then of activations. The first saves bytes, the second arithmetic too.
# > - **p and q.** In the box $p$ counts bytes; in speculation, here and in @leviathan2023fast the target is $p$ and the draft $q$; in @chen2023accelerating it is the other way round.
# > - **Greek letters.** Here $\pi$ and $\beta$ are speeds of the hardware, $\alpha$ is an acceptance rate and $\gamma$ a number of guesses; in [RLHF](rlhf.py) $\pi$ is a policy, $\beta$ the price of moving and $\gamma$ a discount, and in [LoRA](efficient-adaptation.py) $\alpha$ is a scale.
# > - **Which tokens per second?** Per user it is $1/\text{TPOT}$, per machine $B$ times that; a larger batch raises the second and lowers the first.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): fewer bits, faster tokens
#
# Take one text of length near zero, so that the cache does not count.
# Return the bound on the seconds per token of a model with `N` weights of `bits` bits, and the batch at which arithmetic in BF16 starts to limit it, on a chip with `peak` FLOP/s and `bandwidth` bytes/s.


# %%
def bound_and_ridge(N: float, bits: float, peak: float, bandwidth: float) -> tuple:
    """Seconds per token for one text, and the critical batch."""
    ### BEGIN SOLUTION
    moved = N * bits / 8
    return moved / bandwidth, peak * moved / (bandwidth * 2 * N)
    ### END SOLUTION


# %% tags=["test"]
def test_bound_and_ridge():
    seconds, batch = bound_and_ridge(7e9, 16, 989e12, 3.35e12)
    assert np.isclose(seconds, 14e9 / 3.35e12) and np.isclose(batch, 989 / 3.35)
    for bits in (4, 8):
        s, b = bound_and_ridge(7e9, bits, 989e12, 3.35e12)
        assert np.isclose(s, seconds * bits / 16) and np.isclose(b, batch * bits / 16)


# %% [markdown] tags=["solution"]
# With four bits a token takes a quarter of the time, and the ridge comes at a quarter of the batch: fewer weight bits help small batches, not full ones.

# %% [markdown]
# ### Exercise 2 (check): accept or reject
#
# Let $p = (0.6, 0.3, 0.1)$ and $q = (0.2, 0.3, 0.5)$.
# Return the acceptance rate and the distribution after a rejection, worked out on paper.


# %%
def accept_by_hand() -> tuple[float, list[float]]:
    """The rate, and the residual distribution (3,)."""
    ### BEGIN SOLUTION
    # Minima 0.2, 0.3, 0.1 sum to 0.6; only the first token lacks probability.
    return 0.6, [1.0, 0.0, 0.0]
    ### END SOLUTION


# %% tags=["test"]
def test_accept_by_hand():
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    rate, rest = accept_by_hand()
    assert np.isclose(rate, np.minimum(p, q).sum())
    gap = np.maximum(p - q, 0)
    assert np.allclose(rest, gap / gap.sum())


# %% [markdown]
# ### Exercise 3 (apply): a cache of few bits
#
# Round `x` $(T, d_k)$ with a smallest value and a step for each column (`axis=0`, for keys) or row (`axis=1`, for values): codes $0, \dots, 2^b - 1$, and return the dequantised copy.


# %%
def round_cache(x: np.ndarray, bits: int, axis: int) -> np.ndarray:
    """The rounded copy (T, d_k); `axis` is the one that shares a scale."""
    ### BEGIN SOLUTION
    low = x.min(axis=axis, keepdims=True)
    step = (x.max(axis=axis, keepdims=True) - low) / (2**bits - 1)
    step = np.where(step == 0, 1.0, step)
    return low + step * np.rint((x - low) / step)
    ### END SOLUTION


# %% tags=["test"]
def test_round_cache():
    rng = np.random.default_rng(13)
    for _ in range(20):
        T, d, bits = (int(n) for n in rng.integers(1, 9, size=3))
        x = rng.normal(size=(T, d))
        for axis in (0, 1):
            got = round_cache(x, bits, axis)
            spread = np.ptp(x, axis=axis, keepdims=True)
            assert np.all(np.abs(got - x) <= spread / (2**bits - 1) / 2 + 1e-12)
            for line in np.moveaxis(got, axis, -1):
                assert len(np.unique(line.round(9))) <= 2**bits
            assert np.allclose(got.max(axis=axis), x.max(axis=axis))
    keys = rng.normal(size=(50, 8)) + 20 * np.eye(8)[2]  # one large channel
    per_channel, per_token = (round_cache(keys, 2, axis) for axis in (0, 1))
    assert relative(per_channel, keys) < relative(per_token, keys)


# %% [markdown]
# ### Exercise 4 (apply): only what the automaton allows
#
# A format is a table: `moves[state, character]` is the next state, and a missing entry is an error.
# Tokens have several characters.
# Return the scores with $-\infty$ for each token that the automaton cannot read to its end, and the state after each token that it can.


# %%
def constrain(scores: np.ndarray, tokens: list[str], state: int, moves: dict) -> tuple:
    """Masked scores (K,), and a dictionary from allowed token to next state."""
    ### BEGIN SOLUTION
    masked, after = np.full(len(tokens), -np.inf), {}
    for i, token in enumerate(tokens):
        at = state
        for character in token:
            at = moves.get((at, character))
            if at is None:
                break
        if at is not None:
            masked[i], after[i] = scores[i], at
    return masked, after
    ### END SOLUTION


# %% tags=["test"]
def test_constrain():
    import re

    # 0: start, 1: digits, 2: after the point, 3: decimals
    moves = {(s, d): t for d in "0123456789"
             for s, t in ((0, 1), (1, 1), (2, 3), (3, 3))}
    moves |= {(1, "."): 2}
    tokens = ["1", "42", ".", ".5", "7.", "7.1", "..", "a", "3a", "1.2.3"]
    rng = np.random.default_rng(14)
    masked, after = constrain(np.arange(10.0), tokens, 0, moves)
    assert after == {0: 1, 1: 1, 4: 2, 5: 3}
    assert np.flatnonzero(np.isfinite(masked)).tolist() == [0, 1, 4, 5]
    assert masked[5] == 5.0
    assert constrain(np.zeros(10), tokens, 1, moves)[1].keys() == {0, 1, 2, 3, 4, 5}
    for _ in range(30):
        text, state = "", 0
        for _ in range(6):
            scores, after = constrain(rng.normal(size=10), tokens, state, moves)
            best = int(scores.argmax())
            text, state = text + tokens[best], after[best]
        assert re.fullmatch(r"\d+(\.\d*)?", text)


# %% [markdown]
# ### Exercise 5 (apply): what may be reused
#
# Cached texts stand in blocks of `size` tokens.
# Return how many leading tokens of a new prompt need no computing: whole blocks that equal those of one cached text from the start.
# At least one token must be left over. Why?


# %%
def reusable(prompt: list[int], cached: list[list[int]], size: int) -> int:
    """Number of leading tokens whose keys and values are already there."""
    ### BEGIN SOLUTION
    best = 0
    for text in cached:
        same = 0
        while same < min(len(text), len(prompt) - 1) and text[same] == prompt[same]:
            same += 1
        best = max(best, same // size * size)
    return best
    ### END SOLUTION


# %% tags=["test"]
def test_reusable():
    assert reusable([1, 2, 3, 4, 5], [[1, 2, 3, 4, 9]], 2) == 4
    assert reusable([1, 2, 3, 4], [[1, 2, 3, 4]], 2) == 2  # one token must be run
    assert reusable([9, 2, 3, 4, 5], [[1, 2, 3, 4, 5]], 2) == 0
    assert reusable([7], [[7, 8]], 1) == 0 and reusable([7, 8], [], 1) == 0
    rng = np.random.default_rng(15)
    for _ in range(50):
        prompt, size = rng.integers(2, size=9).tolist(), int(rng.integers(1, 4))
        cached = [rng.integers(2, size=int(n)).tolist() for n in rng.integers(1, 12, 6)]
        fits = [n for n in range(0, 9, size)
                if n == 0 or any(text[:n] == prompt[:n] for text in cached)]
        assert reusable(prompt, cached, size) == max(fits)


# %% [markdown] tags=["solution"]
# The cache holds keys and values, not logits: the last token must run to predict the next.

# %% [markdown]
# ### Exercise 6 (explore): how many guesses?
#
# Return the $\gamma$ from 0 to 50 with the best speed-up for a rate $\alpha$ and a cost $\kappa$.
# Then find, on paper, when a draft does not pay at all.


# %%
def best_gamma(alpha: float, kappa: float) -> int:
    """The number of guesses with the largest speed-up."""
    ### BEGIN SOLUTION
    speed = [expected_tokens(alpha, g) / (g * kappa + 1) for g in range(51)]
    return int(np.argmax(speed))
    ### END SOLUTION


# %% tags=["test"]
def test_best_gamma():
    for alpha in (0.2, 0.5, 0.8, 0.95):
        for kappa in (0.02, 0.1, 0.19, 0.6):
            best = best_gamma(alpha, kappa)
            gain = lambda g: (1 - alpha ** (g + 1)) / (1 - alpha) / (g * kappa + 1)
            assert all(gain(best) >= gain(g) - 1e-12 for g in range(51))
            assert (best == 0) == (alpha <= kappa)


# %% [markdown] tags=["solution"]
# One guess gives $1 + \alpha$ tokens for $1 + \kappa$ steps, so it pays if $\alpha \gt \kappa$.
# If $\alpha \le \kappa$, no number of guesses pays: the $i$-th adds $\alpha^i \le \kappa$ to the tokens and $\kappa$ to the steps, so the ratio, 1 without guesses, never rises above 1.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | KV cache | row $t$ needs $K_{0:t}, V_{0:t}$ only | `np.concatenate([K_old, K], axis=2)` | every decoder |
# | Roofline | $\max(\text{FLOPs}/\pi, \text{bytes}/\beta)$ | `step_time(m, B, n, T)` | sizing a server |
# | Paged cache | row $t$ in block $\lfloor t / \text{size} \rfloor$ of a table | `pool[tables[name]]` | vLLM, SGLang |
# | Continuous batching | gain $\mathbb{E}[\max] / \mathbb{E}[\text{length}]$ | fill free places each step | every server |
# | Speculative decoding | keep with $\min(1, p/q)$ | `speculate(target, draft, …)` | low latency at small batches |
# | Integer weights | $Z = \text{round}(W / s)$ | `to_int(W, bits, group)` | models on small machines |
# | GPTQ | $W_j \leftarrow W_j - U_{ij} e$ | `gptq(W, X, bits)` | four-bit checkpoints |
#
# **The essential insight:** writing is usually limited by bytes, not by arithmetic. A model must be read once for each step, whatever the step is for; so serve many texts with one read, guess several tokens for one read, or make what is read smaller. The cache makes the step short and becomes, for many long texts, the largest thing that is read. Of these tools some are exact, and a test should prove that they change nothing; the others are approximations, and a measurement should say how much they change.
