# ---
# title: Transformer architecture
# summary: "Attention, feed-forward, residuals and norms, stacked: then and now."
# prerequisites:
#   - transformers/multi-head-attention: heads and grouped queries, recalled below in a few lines
#   - transformers/self-attention: the three projections, causal masks and RoPE
#   - transformers/attention: the scaled dot product and its masks
#   - neural-networks/backpropagation: vector-Jacobian products, and why gradients add
# notebooks: [08-minimal-transformer]
# packages: [numpy, matplotlib, torch, transformers]
# ---

# %% [markdown]
# # Transformer architecture
#
# $$
# \boxed{
# \begin{aligned}
# u^{(l)} &= h^{(l-1)} + \text{Attention}\left(\text{norm}(h^{(l-1)})\right) \\
# h^{(l)} &= u^{(l)} + \text{FFN}\left(\text{norm}(u^{(l)})\right) \\
# \text{logits} &= \text{norm}(h^{(L)}) \, U
# \end{aligned}
# }
# $$
#
# Row $t$ of $h^{(0)} \in \mathbb{R}^{T \times d}$ is the row of the *embedding* table $E$ that belongs to token $t$; $T$ is the number of tokens and $d$ the width of the model.
# Each *block* $l = 1, \dots, L$ adds to $h$ twice: $\text{Attention}$ moves information between tokens, and $\text{FFN}$, a *feed-forward network* of two layers, transforms each token alone.
# $\text{norm}$ gives every token a standard size, $u^{(l)}$ is the value halfway through a block, and the *unembedding* $U \in \mathbb{R}^{d \times n_\text{vocab}}$ scores each of the $n_\text{vocab}$ possible next tokens.
#
# With small changes this stack has stood since 2017 [@vaswani2017attention], and nearly every large language model of 2026 is an instance of it.

# %% [markdown]
# ## 1. Core concept: a stream that blocks add to
#
# ### Stacking what you have
#
# In [self-attention](self-attention.py) the tokens of a text ask each other: with one token a row of $x$, the queries $xW_Q$, the keys $xW_K$ and the values $xW_V$ are three learned views of the same rows.
# One such layer is one lookup.
# For more you need depth: attention, a [two-layer network](../neural-networks/multilayer-networks.py) on each token, again attention, and so on.
# The obvious way is to feed each layer with the output of the one before.
# Try it on 32 random tokens, and measure how different they still are: the share of the size of $h$ that is left after subtracting the mean token.
# (`masked_softmax` is the softmax of [attention](attention.py); `rms_norm`, explained below, gives each token a standard size.)

# %%
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np


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


# %%
def rms_norm(x: np.ndarray, g: np.ndarray | float = 1.0, eps: float = 1e-5) -> np.ndarray:
    """Each token of x (..., d) divided by its root mean square, times gains g (d,)."""
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * g


def difference(h: np.ndarray) -> float:
    """Share of the size of h (T, d) that is not common to all tokens."""
    return float(np.linalg.norm(h - h.mean(axis=0)) / np.linalg.norm(h))


def random_stack(L: int, residual: bool, rng: np.random.Generator) -> list[float]:
    """`difference` after 0, 1, ..., L random blocks, with or without additions."""
    T, d = 32, 64
    h, seen = rng.normal(size=(T, d)), []
    for _ in range(L):
        seen.append(difference(h))
        W_q, W_k, W_v = rng.normal(size=(3, d, d)) / np.sqrt(d)
        W_1 = rng.normal(size=(d, 4 * d)) * np.sqrt(2 / d)
        W_2 = rng.normal(size=(4 * d, d)) / np.sqrt(4 * d)
        x = rms_norm(h)
        A = masked_softmax(x @ W_q @ (x @ W_k).T / np.sqrt(d))
        h = residual * h + A @ (x @ W_v)
        h = residual * h + np.maximum(rms_norm(h) @ W_1, 0) @ W_2
    return seen + [difference(h)]


SEEDS = range(8)
plain = np.array([random_stack(16, False, np.random.default_rng(s)) for s in SEEDS])
added = np.array([random_stack(16, True, np.random.default_rng(s)) for s in SEEDS])
for blocks in (1, 2, 3):
    print(f"depth {blocks}: {plain[:, blocks].mean():.1%} of h differs between tokens; "
          f"with additions {added[:, blocks].mean():.1%}")

# %%
#| label: fig-collapse
#| fig-cap: Share of the stream that differs between tokens, by depth, in random stacks. Lines are geometric means over eight seeds, bands run from the smallest to the largest, and values are cut at the lower edge.
#| fig-alt: Without residual additions the share falls below one part in a billion within five blocks. With additions it stays above a third.
fig, ax = plt.subplots()
for runs, style, label in ((added, "-", "h + f(h)"), (plain, "--", "f(h)")):
    runs = np.maximum(runs, 1e-12)
    ax.semilogy(np.exp(np.log(runs).mean(axis=0)), style, label=label)
    ax.fill_between(range(17), runs.min(axis=0), runs.max(axis=0), alpha=0.2)
ax.set(xlabel="blocks", ylabel="difference between tokens", ylim=(1e-12, 3))
ax.legend(loc="center right")
ax.margins(x=0)

# %% [markdown]
# **What the code shows:** attention averages, averages of averages are alike, and after three blocks `{python} f"{plain[:, 3].mean():.1%}"` of the stream, on average, still tells one token from another.
# Later blocks do not bring the rest back (@fig-collapse).
# This is *rank collapse*: without residuals and feed-forward layers it is provably doubly exponential in depth [@dong2021attention].
#
# ### The residual stream
#
# The cure is one plus sign, borrowed from image networks [@he2016deep]: let each layer *add* to its input, $h + f(h)$.
# Unroll the boxed equations, with $a^{(l)}$ for what attention and $f^{(l)}$ for what the FFN adds:
#
# $$
# \begin{aligned}
# h^{(L)} &= h^{(0)} + \sum_{l=1}^{L} \left( a^{(l)} + f^{(l)} \right), \\
# dh^{(l-1)} &= dh^{(l)} \left(I + J_f\right) \left(I + J_a\right)
# \end{aligned}
# $$
#
# Here $dh$ is the [gradient](../neural-networks/backpropagation.py) of the loss with respect to $h$, all $T$ tokens written as one long row, and $J_a, J_f$ are the [Jacobians](../math-foundations/calculus.py#many-outputs-the-jacobian-and-the-chain-rule) of the two additions.
#
# **What this means:** forward, the embedding is still there at the top, under everything that was added.
# Backward, multiply out the brackets: one of the terms is $I$, so each block receives the gradient of the top unchanged, *plus* what comes through the layers.
# The common name is the *residual stream*: a vector for each token that all layers read from and write to [@elhage2021mathematical].
#
# ### A standard size: norms
#
# A sum of many terms has no fixed size, so layers read a [normalised](../neural-networks/regularization.py#keep-the-signals-in-range) copy.
# *LayerNorm* subtracts a token's mean $m$ and divides by its standard deviation [@ba2016layer]; *RMSNorm* only divides by the root mean square [@zhang2019root]:
#
# $$
# \begin{aligned}
# \text{LayerNorm}(x) &= \frac{x - m}{\sqrt{\frac{1}{d} \sum_i (x_i - m)^2 + \epsilon}} \odot g + b, \\
# \text{RMSNorm}(x) &= \frac{x}{\sqrt{\frac{1}{d} \sum_i x_i^2 + \epsilon}} \odot g
# \end{aligned}
# $$
#
# **What this means:** every token gets the same size whatever its history; the learned gains $g$ (and shifts $b$) give back what is useful.
# Each token is normalised alone, over its $d$ features, so nothing leaks between tokens.
# The small $\epsilon$ prevents division by zero.
#
# **By hand.** The stream is $h = (-1, 4)$, a layer adds $(2, 3)$, and $g = (10, 5)$.
# The sum is $(1, 7)$, and the mean of the squares is $(1 + 49)/2 = 25$.
# So RMSNorm divides by 5, which gives $(0.2, 1.4)$, and with the gains $(2, 7)$.
# LayerNorm without gains subtracts the mean 4, leaving $(-3, 3)$ with standard deviation 3: $(-1, 1)$.
#
# ### Heads, in a few lines
#
# Attention runs $H$ times side by side, each *head* with its own projections to a small width $d_k$; the outputs are concatenated and multiplied by $W_O$.
# *Grouped-query attention* (GQA) keeps $H$ query heads but only $G$ key and value heads, each shared by $H / G$ query heads [@ainslie2023gqa].
# A model that writes text keeps the keys and values of all earlier tokens; this divides that [cache](../modern-llms/inference.py#why-old-rows-may-be-kept) by $H / G$.
# [Multi-head attention](multi-head-attention.py) has the details.
#
# ### A memory for each token
#
# The FFN of 2017 has a hidden layer of width $d_\text{ff} = 4d$ with a [ReLU](../neural-networks/activation-functions.py).
# Most models of 2026 use [SwiGLU](../neural-networks/activation-functions.py#gated-units), where one projection gates another [@shazeer2020glu]:
#
# $$
# \begin{aligned}
# \text{ReLU-FFN}(x) &= \max(xW_1 + b_1, 0) \, W_2 + b_2, \\
# \text{SwiGLU}(x) &= \left( \text{SiLU}(x W_G) \odot x W_U \right) W_D
# \end{aligned}
# $$
#
# where $\text{SiLU}(z) = z / (1 + e^{-z})$.
#
# **What this means:** read column $j$ of $W_1$ as a key and row $j$ of $W_2$ as a value, and the FFN is attention over $d_\text{ff}$ *stored* pairs, with ReLU in place of the softmax.
# In trained models such keys respond to patterns in the text, and values, above all in the upper blocks, promote words that follow them [@geva2021transformer].
# Attention reads the context, the FFN what training stored.
# It is the larger part: with $H d_k = d$ and $G = H$ the four matrices of attention have $4d^2$ weights, the two of a ReLU-FFN $8d^2$.
#
# For a batch of $B$ texts of $T$ tokens:
#
# | name | symbol | shape |
# |---|---|---|
# | token ids | | $(B, T)$ |
# | stream | $h$ | $(B, T, d)$ |
# | queries | $Q$ | $(B, H, T, d_k)$ |
# | keys, values | $K, V$ | $(B, G, T, d_k)$ |
# | attention weights | $A$ | $(B, H, T, T)$ |
# | output projection | $W_O$ | $(H d_k, d)$ |
# | hidden layer | $x W_G, x W_U$ | $(B, T, d_\text{ff})$ |
# | embedding, unembedding | $E$, $U$ | $(n_\text{vocab}, d)$, $(d, n_\text{vocab})$ |
#
# ### In code
#
# Apart from its mask, attention does not see order, so positions must enter somewhere.
# The 2017 model added sinusoids to the embedding and GPT-2 a learned table; here [RoPE](self-attention.py#turning-rope) turns queries and keys in each block, pair of entries by pair of entries, by angles that grow with the position: a score then sees how far apart two tokens are, not where they stand.
# `P` holds weights, `c` the configuration, and the stack is a generator: it yields everything that is added to the stream.


# %%
def rotate(x: np.ndarray, positions: np.ndarray, base: float) -> np.ndarray:
    """RoPE, half-split pairs: x (..., T, d_k) turned by positions (..., T)."""
    half = x.shape[-1] // 2
    angle = positions[..., None] * base ** (-np.arange(half) / half)
    cos, sin, a, b = np.cos(angle), np.sin(angle), x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def linear(x: np.ndarray, P: dict, name: str) -> np.ndarray:
    """x @ W, plus a bias if there is one."""
    return x @ P["W_" + name] + P.get("b_" + name, 0.0)


def multi_head(
    x: np.ndarray,
    source: np.ndarray,
    P: dict,
    heads: int,
    kv_heads: int,
    mask: np.ndarray | None = None,
    positions: np.ndarray | None = None,
    base: float = 10000.0,
) -> np.ndarray:
    """x (B, T, d) reads source (B, S, d); mask (T, S) or (B, T, S), True = may look."""

    def split(z: np.ndarray, n: int) -> np.ndarray:  # to (B, n, T, d_k)
        return z.reshape(*z.shape[:2], n, z.shape[-1] // n).swapaxes(1, 2)

    Q = split(linear(x, P, "q"), heads)
    K = split(linear(source, P, "k"), kv_heads)
    V = split(linear(source, P, "v"), kv_heads)
    if positions is not None:
        Q, K = (rotate(z, positions[..., None, :], base) for z in (Q, K))
    K, V = (z.repeat(heads // kv_heads, axis=1) for z in (K, V))
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1])
    A = masked_softmax(S, None if mask is None else mask[..., None, :, :])
    O = (A @ V).swapaxes(1, 2)  # (B, T, H, d_k)
    return linear(O.reshape(*x.shape[:2], P["W_o"].shape[0]), P, "o")


def swiglu(x: np.ndarray, P: dict) -> np.ndarray:
    """SiLU(x W_gate) * (x W_up), times W_down."""
    z = x @ P["W_gate"]
    silu = z * 0.5 * (1 + np.tanh(z / 2))  # z times the sigmoid, without overflow
    return (silu * (x @ P["W_up"])) @ P["W_down"]


# %%
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes of a decoder."""

    vocab: int
    d: int
    layers: int
    heads: int
    kv_heads: int
    d_k: int
    d_ff: int
    tied: bool = False  # U is the transpose of E
    gated: bool = True  # SwiGLU; otherwise two matrices
    biases: bool = False  # also LayerNorm's shifts
    positions: int = 0  # rows of a learned position table
    base: float = 10000.0
    eps: float = 1e-5


def init(c: Config, rng: np.random.Generator) -> dict:
    """Random weights for today's decoder: no biases, SwiGLU, RMSNorm."""

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) / np.sqrt(shape[0])

    wide, narrow = c.heads * c.d_k, c.kv_heads * c.d_k
    blocks = [
        {"g_1": np.ones(c.d), "W_q": draw(c.d, wide), "W_k": draw(c.d, narrow),
         "W_v": draw(c.d, narrow), "W_o": draw(wide, c.d), "g_2": np.ones(c.d),
         "W_gate": draw(c.d, c.d_ff), "W_up": draw(c.d, c.d_ff),
         "W_down": draw(c.d_ff, c.d)}
        for _ in range(c.layers)
    ]
    E = rng.normal(size=(c.vocab, c.d))
    U = E.T if c.tied else draw(c.d, c.vocab)  # tied: one array, seen twice
    return {"E": E, "blocks": blocks, "g": np.ones(c.d), "U": U}


def updates(ids: np.ndarray, P: dict, c: Config, keep: np.ndarray | None = None):
    """Yield what is added to the stream: the embedding, then two terms a block."""
    T = ids.shape[1]
    mask = np.tril(np.ones((T, T), dtype=bool))  # causal
    if keep is not None:  # (B, T), True = a real token, as a key
        mask = mask & keep[:, None, :]
    h = P["E"][ids]
    yield h
    for W in P["blocks"]:
        x = rms_norm(h, W["g_1"], c.eps)
        a = multi_head(x, x, W, c.heads, c.kv_heads, mask, np.arange(T), c.base)
        yield a
        h = h + a
        f = swiglu(rms_norm(h, W["g_2"], c.eps), W)
        yield f
        h = h + f


def decoder(ids: np.ndarray, P: dict, c: Config, keep: np.ndarray | None = None):
    """Logits (B, T, vocab) of token ids (B, T): the boxed equations."""
    return rms_norm(sum(updates(ids, P, c, keep)), P["g"], c.eps) @ P["U"]


summed = np.array([-1.0, 4.0]) + np.array([2.0, 3.0])  # the hand example
assert np.allclose(rms_norm(summed, 1.0, 0.0), [0.2, 1.4])
assert np.allclose(rms_norm(summed, np.array([10.0, 5.0]), 0.0), [2, 7])
tiny = Config(vocab=50, d=24, layers=3, heads=6, kv_heads=2, d_k=4, d_ff=40)
rng = np.random.default_rng(0)
P, ids = init(tiny, rng), rng.integers(50, size=(2, 7))
logits = decoder(ids, P, tiny)
assert logits.shape == (2, 7, 50)
ids_changed = ids.copy()
ids_changed[:, 4] = (ids[:, 4] + 1) % 50
moved = np.abs(decoder(ids_changed, P, tiny) - logits).max(axis=(0, 2))
print("change token 4, logits move by", moved.round(2))

# %% [markdown]
# **What the code shows:** this is a whole language model, `{python} f"{sum(w.size for b in P['blocks'] for w in b.values()) + P['E'].size + P['g'].size + P['U'].size:,}"` parameters, and `decoder` is the box, as a sum of `updates`.
# Nothing before token 4 (counted from 0) moves; it and everything after it do.
# The tests load the same random weights into Hugging Face's `LlamaForCausalLM` and get the same logits in float64, with padding too.
# If you stop here, you have the picture: *a stream for each token; attention mixes, the FFN recalls, both only add*.

# %% tags=["test"]
def test_difference_and_collapse():
    h = np.random.default_rng(1).normal(size=(5, 3))
    assert abs(difference(h - h.mean(axis=0)) - 1) < 1e-12
    assert difference(np.ones((5, 3))) < 1e-12
    for seed in range(20, 25):
        alone = random_stack(6, False, np.random.default_rng(seed))
        together = random_stack(6, True, np.random.default_rng(seed))
        assert alone[-1] < 1e-3 and together[-1] > 0.2
        assert alone[0] == together[0] > 0.9


def test_hand_example():
    h = np.array([-1.0, 4.0]) + np.array([2.0, 3.0])
    assert np.allclose(rms_norm(h, 1.0, 0.0), [0.2, 1.4], atol=1e-12)
    assert np.allclose(rms_norm(h, np.array([10.0, 5.0]), 0.0), [2, 7], atol=1e-12)


def random_config(rng, **changes):
    """A decoder with d different from heads * d_k."""
    heads, kv_heads = [(6, 2), (4, 1), (3, 3), (8, 4), (1, 1)][rng.integers(5)]
    d_ff, vocab = (int(x) for x in rng.permutation(np.arange(9, 30))[:2])
    d = heads * int(rng.choice([3, 5, 7]))  # Hugging Face insists on a multiple
    sizes = {"vocab": vocab, "d": d, "d_ff": d_ff, "d_k": 2 * int(rng.integers(1, 5)),
             "layers": int(rng.integers(1, 4)), "heads": heads, "kv_heads": kv_heads,
             "base": float(rng.choice([100.0, 1e4])),
             "eps": float(rng.choice([1e-6, 1e-2]))}
    return Config(**(sizes | changes))


def llama(c):
    """Hugging Face's class for this configuration."""
    import warnings

    with warnings.catch_warnings():  # tqdm's advice about notebook widgets
        warnings.simplefilter("ignore")
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(LlamaConfig(
            vocab_size=c.vocab, hidden_size=c.d, intermediate_size=c.d_ff,
            num_hidden_layers=c.layers, num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads, head_dim=c.d_k, rms_norm_eps=c.eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.base},
            tie_word_embeddings=c.tied, attn_implementation="sdpa",
        ))


def load(model, P, tied):
    """Copy our weights; nn.Linear stores the transpose."""
    import torch

    names = {"W_q": "self_attn.q_proj", "W_k": "self_attn.k_proj",
             "W_v": "self_attn.v_proj", "W_o": "self_attn.o_proj",
             "W_gate": "mlp.gate_proj", "W_up": "mlp.up_proj",
             "W_down": "mlp.down_proj", "g_1": "input_layernorm",
             "g_2": "post_attention_layernorm"}
    state = {"model.embed_tokens.weight": P["E"], "model.norm.weight": P["g"]}
    if not tied:
        state["lm_head.weight"] = P["U"].T
    for l, block in enumerate(P["blocks"]):
        for ours, theirs in names.items():
            state[f"model.layers.{l}.{theirs}.weight"] = block[ours].T
    with torch.no_grad():
        parameters = dict(model.double().named_parameters())
        assert parameters.keys() == state.keys()
        for name, value in state.items():
            assert parameters[name].shape == value.shape
            parameters[name].copy_(torch.from_numpy(value.copy()))


def llama_logits(model, ids, keep):
    """Logits in float64 throughout: two modules round to float32 as they come."""
    from unittest import mock

    import torch
    from transformers.models.llama import modeling_llama as module

    def norm(self, x):
        size = (x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon).sqrt()
        return self.weight * x / size

    def table(self, x, position_ids):
        half = model.config.head_dim // 2
        base = model.config.rope_parameters["rope_theta"]
        theta = base ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = position_ids[..., None] * torch.cat([theta, theta])
        return angle.cos(), angle.sin()

    with mock.patch.object(module.LlamaRMSNorm, "forward", norm), \
            mock.patch.object(module.LlamaRotaryEmbedding, "forward", table), \
            torch.no_grad():
        keep = None if keep is None else torch.from_numpy(keep.astype(int))
        return model(torch.from_numpy(ids), attention_mask=keep).logits.numpy()


def test_decoder_is_llama():
    rng = np.random.default_rng(2)
    for trial in range(24):
        c = random_config(rng, tied=trial % 4 == 3)
        P = init(c, rng)
        for g in [P["g"], *(b[k] for b in P["blocks"] for k in ("g_1", "g_2"))]:
            g += 0.5 * rng.normal(size=c.d)
        model = llama(c)
        load(model, P, c.tied)
        B, T = int(rng.integers(1, 4)), int(rng.integers(1, 9)) if trial else 1
        ids = rng.integers(c.vocab, size=(B, T))
        keep = None
        if trial % 3:  # padding on the right or on the left
            real = rng.integers(1, T + 1, size=(B, 1))
            keep = np.arange(T) < real if trial % 3 == 1 else np.arange(T) >= T - real
        got, want = decoder(ids, P, c, keep), llama_logits(model, ids, keep)
        assert got.shape == (B, T, c.vocab)
        seen = slice(None) if keep is None else keep
        assert np.allclose(got[seen], want[seen], atol=1e-10)


def test_decoder_edges():
    rng = np.random.default_rng(3)
    c = random_config(rng)
    P = init(c, rng)
    assert decoder(np.zeros((2, 0), dtype=int), P, c).shape == (2, 0, c.vocab)
    ids = rng.integers(c.vocab, size=(2, 6))
    full = decoder(ids, P, c)
    assert np.allclose(decoder(ids[:, :4], P, c), full[:, :4], atol=1e-11)
    assert np.allclose(decoder(ids[1:], P, c), full[1:], atol=1e-11)
    keep = np.zeros((2, 6), dtype=bool)  # nothing may be seen: still finite
    assert np.isfinite(decoder(ids, P, c, keep)).all()
    huge = {"W_gate": 1e6 * np.ones((2, 3)), "W_up": np.ones((2, 3)),
            "W_down": np.ones((3, 2))}
    with np.errstate(over="raise"):
        assert np.isfinite(swiglu(np.array([[-1.0, -1.0], [1.0, 1.0]]), huge)).all()


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Norms, backwards
#
# Write $y = x / r$ with $r = \sqrt{\frac{1}{d}\sum_i x_i^2 + \epsilon}$, and let $\hat{g}$ be the gradient with respect to $y$: what arrives from above, times the gains.
# Since $\partial r / \partial x_j = x_j / (d r)$, you get $\partial y_i / \partial x_j = (\delta_{ij} - y_i y_j / d) / r$, and so, with $\overline{v}$ for the mean of the entries of $v$:
#
# $$
# \begin{aligned}
# dx &= \frac{\hat{g} - y \, \overline{\hat{g} \odot y}}{r} \text{ (RMSNorm)}, \\
# dx &= \frac{\hat{g} - \overline{\hat{g}} - y \, \overline{\hat{g} \odot y}}{r} \text{ (LayerNorm)}
# \end{aligned}
# $$
#
# For LayerNorm $x - m$ takes the place of $x$, and the extra term is the way through $m$.
#
# **What this means:** the part of the gradient along $y$ is removed, because, up to $\epsilon$, making $x$ longer changes nothing; what is left is divided by the size of $x$.
# The longer the stream, the smaller the gradient that comes through the norm.


# %%
def rms_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,)."""
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    y, d_hat = x / r, dy * g
    dx = (d_hat - y * (d_hat * y).mean(axis=-1, keepdims=True)) / r
    return dx, (dy * y).reshape(-1, x.shape[-1]).sum(axis=0)


def layer_norm(x, g, b, eps=1e-5):
    """x (..., d), gains and shifts (d,)."""
    return rms_norm(x - x.mean(axis=-1, keepdims=True), g, eps) + b


def layer_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,), db (d,)."""
    dc, dg = rms_norm_backward(dy, x - x.mean(axis=-1, keepdims=True), g, eps)
    dx = dc - dc.mean(axis=-1, keepdims=True)
    return dx, dg, dy.reshape(-1, x.shape[-1]).sum(axis=0)


x_hand, dy_hand = np.array([1.0, 7.0]), np.array([1.0, 0.0])
dx_hand, _ = rms_norm_backward(dy_hand, x_hand, np.ones(2), 0.0)
assert np.allclose(dx_hand, [0.196, -0.028])
assert np.allclose(layer_norm(x_hand, 1.0, 0.0, 0.0), [-1, 1])
print("dx", dx_hand, " dx . x =", abs(dx_hand @ x_hand).round(10))

# %% [markdown]
# **What the code shows:** in the hand example $\overline{\hat{g} \odot y} = 0.1$, so $dx = ((1, 0) - 0.1 \cdot (0.2, 1.4)) / 5 = (0.196, -0.028)$, at a right angle to $x$.
# LayerNorm is RMSNorm after centring, in both directions; the tests compare all gradients with PyTorch.

# %% tags=["test"]
def test_hand_example_backward_and_layer_norm():
    x = np.array([1.0, 7.0])
    assert np.allclose(layer_norm(x, np.ones(2), np.zeros(2), 0.0), [-1, 1], atol=1e-12)
    dx, dg = rms_norm_backward(np.array([1.0, 0.0]), x, np.ones(2), 0.0)
    assert np.allclose(dx, [0.196, -0.028], atol=1e-12) and np.allclose(dg, [0.2, 0])


def test_norms_are_torch():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(4)
    for trial in range(30):
        d = int(rng.integers(1, 12))
        lead = [(), (3,), (2, 5), (0,), (1, 1)][trial % 5]
        size = (1.0, 1e4, 1e-4)[trial % 3]
        x, dy = size * rng.normal(size=(*lead, d)), rng.normal(size=(*lead, d))
        if trial == 7:
            x[:] = x.flat[0]  # ties: variance zero
        g, b = rng.normal(size=(2, d))
        eps = float(rng.choice([1e-6, 1e-5, 0.1]))
        tx, tg, tb = (torch.from_numpy(v.copy()).requires_grad_() for v in (x, g, b))
        for kind in ("rms", "layer"):
            if kind == "rms":
                want = F.rms_norm(tx, (d,), tg, eps)
                got, grads = rms_norm(x, g, eps), rms_norm_backward(dy, x, g, eps)
            else:
                want = F.layer_norm(tx, (d,), tg, tb, eps)
                got = layer_norm(x, g, b, eps)
                grads = layer_norm_backward(dy, x, g, eps)
            leaves = (tx, tg, tb)[: len(grads)]
            for leaf in leaves:
                leaf.grad = None
            want.backward(torch.from_numpy(dy))
            assert np.allclose(got, want.detach().numpy(), atol=1e-10)
            for ours, leaf in zip(grads, leaves):
                assert ours.shape == tuple(leaf.shape)
                assert np.allclose(ours, leaf.grad.numpy(), rtol=1e-6, atol=1e-8)


# %% [markdown]
# ### The block of 2017
#
# The original transformer translated.
# An *encoder* of 6 blocks reads the source without a causal mask; a *decoder* of 6 blocks writes the target.
# Its blocks have a third layer, *cross-attention*: queries come from the target, keys and values from the encoder's output, the *memory*.
# That is the attention of the [sequence-to-sequence](../architectures/sequence-to-sequence.py#the-model) models.
# Norms come *after* the addition (*post-norm*): $h \leftarrow \text{LayerNorm}(h + f(h))$.


# %%
def add_norm(x: np.ndarray, update: np.ndarray, P: dict, n: int) -> np.ndarray:
    """Post-norm: LayerNorm number n of the sum."""
    return layer_norm(x + update, P[f"g_{n}"], P[f"b_{n}"])


def relu_ffn(x: np.ndarray, P: dict) -> np.ndarray:
    """Two layers with a ReLU between, for each token."""
    return linear(np.maximum(linear(x, P, "up"), 0), P, "down")


def encoder_block(x: np.ndarray, P: dict, heads: int, mask=None) -> np.ndarray:
    """x (B, S, d) to (B, S, d); mask True = may look."""
    x = add_norm(x, multi_head(x, x, P["self"], heads, heads, mask), P, 1)
    return add_norm(x, relu_ffn(x, P["ffn"]), P, 2)


def decoder_block(
    y: np.ndarray, memory: np.ndarray, P: dict, heads: int, mask=None, memory_mask=None
) -> np.ndarray:
    """y (B, T, d) reads itself, then memory (B, S, d)."""
    y = add_norm(y, multi_head(y, y, P["self"], heads, heads, mask), P, 1)
    read = multi_head(y, memory, P["cross"], heads, heads, memory_mask)
    y = add_norm(y, read, P, 2)
    return add_norm(y, relu_ffn(y, P["ffn"]), P, 3)


# %% [markdown]
# **What the code shows:** encoder, decoder and cross-attention are one function with different sources and masks.
# The tests copy random weights into `nn.TransformerEncoderLayer` and `nn.TransformerDecoderLayer` and compare, with causal masks and padding.
#
# | | 2017 | usual in 2026 | why |
# |---|---|---|---|
# | shape | encoder and decoder | decoder only | one stack for every task: [GPT](gpt.py); encoders live on in [BERT](bert.py) and its heirs |
# | norm | LayerNorm, post | RMSNorm, pre | deep stacks train more easily; one statistic less |
# | positions | added sinusoids | RoPE | [relative, nothing added](self-attention.py#turning-rope) |
# | attention | as many key as query heads | grouped queries | a smaller cache |
# | scores | $q \cdot k / \sqrt{d_k}$ | often [QK-norm](multi-head-attention.py#bounded-scores-qk-norm): queries and keys are normalised first [@henry2020query] | scores stay bounded |
# | FFN | ReLU, $4d$ | SwiGLU, about $\frac{8}{3}d$ or more | lower loss at equal size [@shazeer2020glu] |
# | biases | yes | mostly no | rarely missed |

# %% tags=["test"]
def test_blocks_are_torch():
    import torch
    from torch import nn

    def copied(rng, module, parts):
        """Random weights in a torch layer, and the same in our form."""
        P = {name: {} for name in parts}
        with torch.no_grad():
            for weight in module.parameters():
                weight.copy_(torch.from_numpy(rng.normal(size=tuple(weight.shape)) / 2))
        value = {n: p.detach().numpy() for n, p in module.named_parameters()}
        for name, theirs in parts.items():
            if name == "ffn":
                for ours, n in (("up", 1), ("down", 2)):
                    P[name]["W_" + ours] = value[f"linear{n}.weight"].T
                    P[name]["b_" + ours] = value[f"linear{n}.bias"]
                continue
            for i, ours in enumerate("qkv"):
                rows = np.split(value[theirs + ".in_proj_weight"], 3)[i]
                P[name]["W_" + ours] = rows.T
                P[name]["b_" + ours] = np.split(value[theirs + ".in_proj_bias"], 3)[i]
            P[name]["W_o"] = value[theirs + ".out_proj.weight"].T
            P[name]["b_o"] = value[theirs + ".out_proj.bias"]
        for n in range(1, len(parts) + 1):
            P[f"g_{n}"], P[f"b_{n}"] = value[f"norm{n}.weight"], value[f"norm{n}.bias"]
        return P

    rng = np.random.default_rng(5)
    for trial in range(24):
        B, S, T = (int(x) for x in rng.permutation(np.arange(1, 8))[:3])
        heads, d_k, d_ff = int(rng.integers(1, 5)), int(rng.integers(1, 6)), 17
        settings = {"d_model": heads * d_k, "nhead": heads, "dim_feedforward": d_ff,
                    "dropout": 0.0, "activation": "relu", "batch_first": True,
                    "norm_first": False, "dtype": torch.float64}
        encoder = nn.TransformerEncoderLayer(**settings)
        decoder = nn.TransformerDecoderLayer(**settings)
        P = copied(rng, encoder, {"self": "self_attn", "ffn": ""})
        P_d = copied(rng, decoder,
                     {"self": "self_attn", "cross": "multihead_attn", "ffn": ""})
        x, y = rng.normal(size=(B, S, heads * d_k)), rng.normal(size=(B, T, heads * d_k))
        keep = np.arange(S) < rng.integers(1, S + 1, size=(B, 1))
        causal = np.tril(np.ones((T, T), dtype=bool))
        tx, ty, pad = (torch.from_numpy(v) for v in (x, y, ~keep))  # torch: True = hide
        memory = encoder_block(x, P, heads, keep[:, None, :])
        want = encoder(tx, src_key_padding_mask=pad)
        assert memory.shape == (B, S, heads * d_k)
        assert np.allclose(memory, want.detach().numpy(), atol=1e-10)
        got = decoder_block(y, memory, P_d, heads, causal, keep[:, None, :])
        want = decoder(ty, want, tgt_mask=torch.from_numpy(~causal),
                       memory_key_padding_mask=pad)
        assert got.shape == (B, T, heads * d_k)
        assert np.allclose(got, want.detach().numpy(), atol=1e-10)
        look = np.tril(np.ones((S, S), dtype=bool))
        want = encoder(tx, src_mask=torch.from_numpy(~look))
        assert np.allclose(encoder_block(x, P, heads, look), want.detach().numpy(),
                           atol=1e-10)


# %% tags=["hide-input"]
#| label: fig-blocks
#| fig-cap: The decoder block of 2017 without cross-attention (left) and the usual block of 2026 (right), from bottom to top. The vertical line is the residual stream.
#| fig-alt: Two block diagrams. On the left the norms sit on the stream after each addition. On the right they sit on the side branches and the stream runs straight through.
def draw_box(ax: plt.Axes, x: float, y: float, text: str, face: str) -> None:
    """A labelled box centred at (x, y)."""
    ax.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": face, "edgecolor": "0.3"})


fig, axes = plt.subplots(1, 2, figsize=(6.4, 4.2))
sides = [("2017: post-norm", [("multi-head attention", "LayerNorm"),
                              ("ReLU FFN", "LayerNorm")]),
         ("2026: pre-norm", [("grouped-query\nattention, RoPE", "RMSNorm"),
                             ("SwiGLU FFN", "RMSNorm")])]
for ax, (title, parts) in zip(axes, sides):
    pre = "pre" in title
    ax.annotate("", (0, 8.4), (0, -0.4),
                arrowprops={"arrowstyle": "->", "linewidth": 2.2, "color": "C0"})
    for (layer, norm), y in zip(parts, (0.3, 4.4)):
        top = y + (3.0 if pre else 2.2)
        ax.plot([0, 1.6, 1.6], [y, y, y + 0.3], color="0.3", linewidth=1.2)
        ax.annotate("", (0.15, top), (1.6, top),
                    arrowprops={"arrowstyle": "->", "color": "0.3"})
        ax.plot([1.6, 1.6], [y, top], color="0.3", linewidth=1.2)
        if pre:
            draw_box(ax, 1.6, y + 0.8, norm, "#F6E8C3")
            draw_box(ax, 1.6, y + 2.0, layer, "#D6E6F2")
        else:
            draw_box(ax, 1.6, y + 1.1, layer, "#D6E6F2")
            draw_box(ax, 0, top + 0.9, norm, "#F6E8C3")
        ax.text(0, top, "+", ha="center", va="center", zorder=4, fontsize=11,
                bbox={"boxstyle": "circle,pad=0.1", "facecolor": "white"})
    ax.set(title=title, xlim=(-1.1, 3), ylim=(-0.5, 8.5))
    ax.axis("off")

# %% [markdown]
# ### Experiment: where to put the norm
#
# @fig-blocks shows what a post-norm costs: it stands *on* the stream, so the path $I$ of the gradient is gone; every block rescales all that came before.
#
# **Question.** Does the place of the norm decide how gradients look at the start, and whether a deep stack trains?
#
# **Prediction.** At initialisation theory bounds the gradient of the last FFN independently of $L$ for post-norm, and by a multiple of $1/\sqrt{L}$ for pre-norm [@xiong2020layer].
# Large first steps should then break post-norm stacks, unless a [warm-up](../training/optimizers.py#schedules) raises the learning rate slowly.
#
# The stacks are otherwise equal: width 32, two heads, ReLU FFN, norms without gains, [Glorot initialisation](../neural-networks/multilayer-networks.py#where-to-start-initial-weights) [@glorot2010understanding].
# The task is next-token prediction on a random language: 24 tokens, each followed by one of three.
# Training takes 50 steps of [Adam](../training/optimizers.py#a-direction-for-each-gradient) at a rate of 0.003.

# %%
import torch
from torch.nn import functional as F

torch.set_num_threads(1)
VOCAB, WIDTH, LENGTH = 24, 32, 12


def torch_stack(L: int, seed: int) -> dict:
    """Glorot-initialised leaves of a stack of L blocks."""
    g = torch.Generator().manual_seed(seed)

    def glorot(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * (2 / sum(shape[-2:])) ** 0.5

    d, P = WIDTH, {"E": torch.randn(VOCAB, WIDTH, generator=g), "U": glorot(WIDTH, VOCAB)}
    P["at"] = torch.randn(LENGTH, d, generator=g)
    for l in range(L):
        qkv = glorot(3, d, d).transpose(0, 1).reshape(d, 3 * d)
        P |= {f"qkv{l}": qkv, f"o{l}": glorot(d, d),
              f"up{l}": glorot(d, 4 * d), f"down{l}": glorot(4 * d, d)}
    return {name: w.requires_grad_() for name, w in P.items()}


def torch_loss(P: dict, ids: torch.Tensor, L: int, pre: bool) -> torch.Tensor:
    """Cross-entropy of ids[:, 1:] given the tokens before, pre-norm or post-norm."""
    B, T = ids.shape[0], ids.shape[1] - 1

    def norm(x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:])

    def attend(x: torch.Tensor, l: int) -> torch.Tensor:
        q, k, v = (x @ P[f"qkv{l}"]).view(B, T, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(1, 2).reshape(B, T, WIDTH) @ P[f"o{l}"]

    def feed(x: torch.Tensor, l: int) -> torch.Tensor:
        return torch.relu(x @ P[f"up{l}"]) @ P[f"down{l}"]

    h = P["E"][ids[:, :-1]] + P["at"][:T]
    for l in range(L):
        for f in (attend, feed):
            h = h + f(norm(h), l) if pre else norm(h + f(h, l))
    logits = (norm(h) if pre else h) @ P["U"]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def language(table: np.ndarray, B: int, rng: np.random.Generator) -> torch.Tensor:
    """B texts (B, LENGTH + 1), each token followed by one in its row of the table."""
    ids = np.empty((B, LENGTH + 1), dtype=np.int64)
    ids[:, 0] = rng.integers(VOCAB, size=B)
    for t in range(LENGTH):
        ids[:, t + 1] = table[ids[:, t], rng.integers(table.shape[1], size=B)]
    return torch.from_numpy(ids)


def first_gradients(L: int, pre: bool, seed: int) -> list[float]:
    """Norm of the gradient of each block's second FFN matrix before any step."""
    rng = np.random.default_rng(seed)
    P = torch_stack(L, seed)
    torch_loss(P, language(rng.integers(VOCAB, size=(VOCAB, 3)), 8, rng), L, pre).backward()
    return [P[f"down{l}"].grad.norm().item() for l in range(L)]


def train_stack(
    L: int, pre: bool, warm: int, seed: int, steps: int = 50, lr: float = 0.003
) -> float:
    """Mean loss of the last ten steps; the rate rises over `warm` steps."""
    rng = np.random.default_rng(seed)
    table, P, losses = rng.integers(VOCAB, size=(VOCAB, 3)), torch_stack(L, seed), []
    adam = torch.optim.Adam(P.values(), lr=lr, betas=(0.9, 0.98), fused=True)
    for step in range(steps):
        loss = torch_loss(P, language(table, 8, rng), L, pre)
        adam.zero_grad()
        loss.backward()
        adam.param_groups[0]["lr"] = lr * min(1, (step + 1) / warm)
        adam.step()
        losses.append(loss.item())
    return float(np.mean(losses[-10:]))


# %%
DEPTHS = (2, 5, 8)
gradients = {(L, pre): np.array([first_gradients(L, pre, s) for s in range(6)])
             for L in (2, 8, 24) for pre in (True, False)}
KINDS = {"pre-norm": (True, 1), "post-norm": (False, 1), "post, warm-up": (False, 40)}
finals = {kind: np.array([[train_stack(L, *how, s) for s in range(3)] for L in DEPTHS])
          for kind, how in KINDS.items()}
patient = [train_stack(8, False, 50, s, steps=200, lr=0.001) for s in range(2)]
frequency_loss = []
for seed in range(3):  # long texts: the entropy of the token frequencies
    rng_text = np.random.default_rng(seed)
    table = rng_text.integers(VOCAB, size=(VOCAB, 3))
    share = np.full(VOCAB, 1 / VOCAB)
    for _ in range(LENGTH):
        share = np.bincount(table.ravel(), np.repeat(share / 3, 3), VOCAB)
    frequency_loss.append(-(share[share > 0] * np.log(share[share > 0])).sum())
frequency_loss = np.array(frequency_loss)
for L in (2, 8, 24):
    post, pre = (gradients[L, p][:, -1].mean() for p in (False, True))
    print(f"L = {L:2d}: gradient of the last FFN {post:.2f} post-norm, {pre:.2f} pre-norm")

# %%
#| label: fig-placement
#| fig-cap: Left, norm of the first gradient of each block's second FFN matrix, 24 blocks, six seeds. Right, mean loss of the last ten of 50 steps by depth, three seeds; dotted, the logarithm of 3, the cost of a guess among three followers. Lines are means, bands run from the smallest to the largest.
#| fig-alt: Left, the post-norm gradient lies above the pre-norm one at nearly every block and several times above it at the top. Right, pre-norm reaches a low loss at all depths, post-norm fails at eight blocks with or without warm-up.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.1))
for pre, style, label in ((True, "-", "pre-norm"), (False, "--", "post-norm")):
    runs = gradients[24, pre]
    axes[0].plot(range(1, 25), runs.mean(axis=0), style, label=label)
    axes[0].fill_between(range(1, 25), runs.min(axis=0), runs.max(axis=0), alpha=0.15)
axes[0].set(xlabel="block", ylabel="norm of the gradient", ylim=(0, None))
for (kind, runs), style in zip(finals.items(), ("o-", "s--", "^-.")):
    axes[1].plot(DEPTHS, runs.mean(axis=1), style, label=kind)
    axes[1].fill_between(DEPTHS, runs.min(axis=1), runs.max(axis=1), alpha=0.15)
axes[1].axhline(np.log(3), color="0.5", linestyle=":", linewidth=1)
axes[1].set(xlabel="blocks", ylabel="loss (nats)", ylim=(0.9, 3.3), xticks=DEPTHS)
axes[0].legend(loc="upper right")
axes[1].legend(loc="upper left", fontsize=8)

# %% [markdown]
# **What the code shows:** the first half of the prediction holds in direction.
# From 2 to 24 blocks the post-norm gradient at the top changes by a factor of `{python} f"{gradients[24, False][:, -1].mean() / gradients[2, False][:, -1].mean():.1f}"`; the pre-norm one falls by `{python} f"{gradients[2, True][:, -1].mean() / gradients[24, True][:, -1].mean():.1f}"`, where $1/\sqrt{L}$ says `{python} f"{12**0.5:.1f}"`.
# Pre-norm then trains at every depth, to `{python} f"{finals['pre-norm'][2].mean():.2f}"` nats at eight blocks.
# Post-norm ends at `{python} f"{finals['post-norm'][2].mean():.2f}"` there, no better than a model that knows how frequent each token is and nothing of the context, `{python} f"{frequency_loss.mean():.2f}"`.
# Gradients that vanish at the start are not the reason: in the left panel, at three times the depth, the post-norm ones are the larger.
# Not as predicted, warm-up over 40 of the 50 steps does not rescue it (`{python} f"{finals['post, warm-up'][2].mean():.2f}"`).
# But patience does: a third of the rate, warm-up over 50 steps and 200 steps in all take the same eight blocks to `{python} f"{min(patient):.2f}"` and `{python} f"{max(patient):.2f}"` (two seeds).
# Patience has limits: at 12 blocks the same recipe stays near the loss of knowing only frequencies (run as a check whenever this document is built).
# The conclusion is modest: depths, rate and budget were chosen after trial runs to show the difference, with two or three seeds, and within them pre-norm needs no care where post-norm does.
# The model of 2017 took 4,000 steps of warm-up for six blocks a side [@vaswani2017attention]; with rescaled residuals and initialisation, post-norm stacks of 1,000 layers have been trained [@wang2022deepnet].

# %% tags=["test", "experiment"]
def test_placement_conclusion():
    assert finals["pre-norm"].max() < 1.8
    assert finals["post-norm"][0].max() < 1.9 and finals["post-norm"][2].min() > 2.4
    assert finals["post, warm-up"][2].min() > 2.4
    post, pre = (gradients[24, p].mean(axis=0) for p in (False, True))
    assert post[-1] > 3 * pre[-1]
    assert 1.5 < gradients[2, True][:, -1].mean() / pre[-1] < 4
    assert 0.5 < gradients[2, False][:, -1].mean() / post[-1] < 2
    assert max(patient) < 2.0
    deeper = [train_stack(12, False, 50, s, steps=200, lr=0.001) for s in range(2)]
    assert min(deeper) > 2.6  # the same recipe fails at 12 blocks
    assert (finals["post-norm"][2] > frequency_loss - 0.1).all()


# %% tags=["test"]
def test_torch_stack_is_the_numpy_block():
    rng = np.random.default_rng(6)
    for L in (1, 3):
        P = {name: w.detach().double() for name, w in torch_stack(L, 7).items()}
        V = {name: w.numpy() for name, w in P.items()}
        ids = rng.integers(VOCAB, size=(2, LENGTH + 1))
        for pre in (True, False):
            h = V["E"][ids[:, :-1]] + V["at"]
            mask = np.tril(np.ones((LENGTH, LENGTH), dtype=bool))
            one, zero = np.ones(WIDTH), np.zeros(WIDTH)
            for l in range(L):
                q, k, v = np.split(V[f"qkv{l}"], 3, axis=1)
                W = {"W_q": q, "W_k": k, "W_v": v, "W_o": V[f"o{l}"],
                     "W_up": V[f"up{l}"], "W_down": V[f"down{l}"]}
                for f in (lambda x: multi_head(x, x, W, 2, 2, mask),
                          lambda x: relu_ffn(x, W)):
                    read = layer_norm(h, one, zero) if pre else h
                    h = h + f(read)
                    h = h if pre else layer_norm(h, one, zero)
            logits = (layer_norm(h, one, zero) if pre else h) @ V["U"]
            p = masked_softmax(logits)
            want = -np.log(np.take_along_axis(p, ids[:, 1:, None], axis=-1)).mean()
            got = torch_loss(P, torch.from_numpy(ids), L, pre).item()
            assert abs(got - want) < 1e-10


# %% [markdown]
# ### Counting parameters
#
# Count matrices. For one block with $H$ query and $G$ key-value heads, and a gated FFN:
#
# $$
# N_\text{block} = \underbrace{2 d d_k (H + G)}_{\text{attention}} + \underbrace{3 d d_\text{ff}}_{\text{FFN}} + \underbrace{2d}_{\text{norms}}
# $$
#
# An FFN without a gate has $2 d d_\text{ff}$, and older models add biases.
# The embedding has $n_\text{vocab} d$ more, and the unembedding as many again unless the two are *tied*, $U = E^\top$ [@press2017using].


# %%
def count(c: Config) -> dict[str, int]:
    """Parameters of a decoder, by kind."""
    wide, narrow = c.heads * c.d_k, c.kv_heads * c.d_k
    matrices = 3 if c.gated else 2
    return {
        "embedding": (c.vocab + c.positions) * c.d,
        "attention": c.layers * (2 * c.d * (wide + narrow)
                                 + c.biases * (wide + 2 * narrow + c.d)),
        "FFN": c.layers * (matrices * c.d * c.d_ff
                           + c.biases * ((matrices - 1) * c.d_ff + c.d)),
        "norms": (2 * c.layers + 1) * c.d * (1 + c.biases),
        "unembedding": 0 if c.tied else c.vocab * c.d,
    }


def published() -> dict[str, Config]:
    """Configurations of three released models."""
    gpt2 = Config(vocab=50257, d=768, layers=12, heads=12, kv_heads=12, d_k=64,
                  d_ff=3072, tied=True, gated=False, biases=True, positions=1024)
    llama = Config(vocab=128256, d=4096, layers=32, heads=32, kv_heads=8, d_k=128,
                   d_ff=14336, base=500000.0)
    large = replace(llama, d=16384, layers=126, heads=128, d_ff=53248)
    return {"GPT-2 small": gpt2, "Llama 3 8B": llama, "Llama 3.1 405B": large}


models, shares = published(), {}
released = [124_439_808, 8_030_261_248, 405_853_388_800]
for (name, c), known in zip(models.items(), released):
    total = sum(count(c).values())
    assert total == known
    shares[name] = {kind: n / total for kind, n in count(c).items()}
    text = ", ".join(f"{kind} {share:.0%}" for kind, share in shares[name].items())
    print(f"{name:14} {total:15,}: {text}")

# %%
#| label: fig-shares
#| fig-cap: Where the parameters are. GPT-2 ties its unembedding to its embedding.
#| fig-alt: Three stacked bars. The feed-forward part grows from under half in GPT-2 small to four fifths in Llama 3.1 405B, while embeddings shrink to about one per cent.
fig, ax = plt.subplots(figsize=(6.4, 2.2))
left = np.zeros(3)
looks = {"FFN": ("C0", ""), "attention": ("C1", "//"), "embedding": ("0.75", ".."),
         "unembedding": ("white", "xx")}
for kind, (colour, hatch) in looks.items():
    part = np.array([shares[name][kind] for name in models])
    ax.barh(list(models), part, left=left, label=kind, color=colour, hatch=hatch,
            edgecolor="0.2", linewidth=0.6)
    left += part
ax.set(xlabel="share of all parameters", xlim=(0, 1))
ax.invert_yaxis()
ax.grid(False)
ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))

# %% [markdown]
# **What the code shows:** the totals are those of the released weights [@radford2019language; @grattafiori2024llama], to the last parameter; the GPT-2 paper itself says 117 million.
# Most of a large model is FFN (@fig-shares): `{python} f"{shares['Llama 3.1 405B']['FFN']:.0%}"` of Llama 3.1 405B.
# Norms are next to nothing in the count, though their place mattered above.
# Tying pays where the vocabulary is a large share, as in GPT-2: untied it would have `{python} f"{50257 * 768 / released[0]:.0%}"` more parameters.
# Llama 3 leaves the two free, which costs the largest model `{python} f"{shares['Llama 3.1 405B']['unembedding']:.1%}"`.
#
# ### Counting operations
#
# A weight of a matrix costs a multiplication and an addition for each token, 2 floating-point operations (FLOPs).
# The embedding is a table lookup and costs none.
# Scores and averages over $T$ tokens come on top:
#
# $$
# \begin{aligned}
# \text{FLOPs per token} &= 2 N_\text{matrix} + 4 L H d_k T, \\
# \text{training} &\approx 6 N D
# \end{aligned}
# $$
#
# $N_\text{matrix}$ counts the weights of all matrix products including $U$, $N$ all parameters and $D$ the training tokens.
# The 6 is 2 for the forward pass and 4 for a [backward pass that costs twice as much](../neural-networks/backpropagation.py#what-it-costs-time-and-memory) [@kaplan2020scaling].
# That paper leaves the embeddings out of $N$; for a large model it hardly matters.
#
# **What this means:** you pay for each parameter with every token, and for context on top; $6ND$ leaves the context out.


# %%
def forward_flops(c: Config, T: int) -> int:
    """FLOPs per token of a bias-free model over T tokens, no causal saving."""
    n = count(c)
    matrices = n["attention"] + n["FFN"] + c.vocab * c.d
    return 2 * matrices + 4 * c.layers * c.heads * c.d_k * T


small = models["Llama 3 8B"]
for T in (8192, 131072):
    share = 1 - forward_flops(small, 0) / forward_flops(small, T)
    print(f"Llama 3 8B, T = {T:7,}: {forward_flops(small, T) / 1e9:.1f} GFLOPs a "
          f"token, {share:.0%} of them scores and averages")
training = 6 * released[-1] * 15.6e12
print(f"Llama 3.1 405B on 15.6 trillion tokens: {training:.1e} FLOPs")

# %% [markdown]
# **What the code shows:** the Llama 3 report says $3.8 \cdot 10^{25}$ [@grattafiori2024llama].
# At 8,192 tokens parameters are most of the bill, at 131,072 attention is.
# One line of arithmetic prices a training run; [pretraining](../modern-llms/pretraining.py#how-to-spend-a-budget) uses it to choose $N$ and $D$.

# %% tags=["test"]
def test_counts_are_hugging_face():
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):  # shapes without memory
        for name, c in published().items():
            model = GPT2LMHeadModel(GPT2Config()) if "GPT" in name else llama(c)
            total = sum(p.numel() for p in model.parameters())  # tied: counted once
            assert sum(count(c).values()) == total
    totals = [sum(count(c).values()) for c in published().values()]
    assert totals == [124_439_808, 8_030_261_248, 405_853_388_800]


def test_counts_and_flops_of_random_models():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    rng = np.random.default_rng(8)
    for trial in range(20):
        c = random_config(rng, tied=trial % 2 == 1)
        P = init(c, rng)
        size = P["E"].size + P["g"].size + (0 if c.tied else P["U"].size)
        size += sum(w.size for block in P["blocks"] for w in block.values())
        assert size == sum(count(c).values())
        assert np.shares_memory(P["E"], P["U"]) == c.tied
        T = int(rng.integers(1, 12))
        with torch.device("meta"):
            model = llama(c)
            model.config._attn_implementation = "eager"
            with FlopCounterMode(display=False) as counter:
                model(torch.zeros(3, T, dtype=torch.long))
        assert counter.get_total_flops() == 3 * T * forward_flops(c, T)


# %% [markdown]
# ### What varies in 2026
#
# | part | variant | in one sentence |
# |---|---|---|
# | FFN | mixture of experts [@shazeer2017outrageously; @fedus2022switch] | A router sends each token to a few of many FFNs, so parameters grow and FLOPs hardly do (Exercise 4). |
# | FFN | many small experts, shared experts [@dai2024deepseekmoe] | Finer experts combine more freely, and a few that always run hold what all tokens need. |
# | FFN | balance without a loss [@wang2024auxiliary] | A bias on the router's scores, raised for idle experts, replaces the extra loss that kept loads even. |
# | block | parallel [@chowdhery2022palm] | Attention and FFN read the same norm and are added together, which is faster, at little cost in quality at scale. |
# | norm | on the branch's output [@walsh2025olmo; @gemma2024gemma2] | $h + \text{norm}(f(h))$ leaves the stream alone and bounds each addition; Gemma 2 norms before *and* after. |
# | attention | sliding window [@jiang2023mistral; @gemma2025gemma3] | Layers look back a fixed distance: all of them in Mistral 7B, five of six in Gemma 3. |
# | attention | state-space layers [@gu2023mamba] | Mamba replaces attention by a [recurrence](../architectures/rnns.py#without-the-tanh-recurrences-in-parallel) with input-dependent gates: a fixed-size state instead of a cache. |
# | attention | hybrids [@yang2024gated] | Gated DeltaNet overwrites its state by key; hybrid models put several such layers, often three, before each full attention layer. |
# | stream | hyper-connections [@zhu2024hyper; @xie2025mhc] | Several parallel streams are mixed by learned matrices; later, constrained to be doubly stochastic for stability. |
#
# What did not vary: layers that read a stream and add to it.

# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: the sum grows with depth
#
# An embedding and $2L$ independent additions, each of variance 1, make a stream of variance $1 + 2L$.
# GPT-2 divides the initial weights of $W_O$ and the FFN's last matrix by $\sqrt{2L}$ [@radford2019language]; then the additions together have variance 1.


# %%
def stream_size(c: Config, scaled: bool, rng: np.random.Generator) -> tuple:
    """Root mean square of the last stream; its correlation with the embedding."""
    P = init(c, rng)
    if scaled:
        for W in P["blocks"]:
            W["W_o"] /= np.sqrt(2 * c.layers)
            W["W_down"] /= np.sqrt(2 * c.layers)
    ids = rng.integers(c.vocab, size=(2, 16))
    parts = list(updates(ids, P, c))
    top = sum(parts)
    return np.sqrt((top**2).mean()), np.corrcoef(parts[0].ravel(), top.ravel())[0, 1]


deep = Config(vocab=50, d=64, layers=48, heads=4, kv_heads=4, d_k=16, d_ff=128)
for scaled in (False, True):
    runs = [stream_size(deep, scaled, np.random.default_rng(s)) for s in range(3)]
    size, alike = np.mean(runs, axis=0)
    unscaled_size = unscaled_size if scaled else size
    print(f"scaled {scaled!s:5}: size {size:.1f}, correlation with the token {alike:.2f}")

# %% [markdown]
# **Symptom:** at the start the token itself has drowned in the sum of random layers, and an addition of size 1 hardly turns a stream of size `{python} f"{unscaled_size:.0f}"`.
# **Cause:** an initialisation made for one layer, used for $2L$ that add up.
# **Fix:** $1/\sqrt{2L}$ on exactly the two matrices that write to the stream. (Measure the size by layer: it must not climb with $L$.)
#
# ### Failure mode 2: the norm over the wrong axis

# %%
h = rng.normal(size=(2, 6, 8))  # (B, T, d)
h_future = h.copy()
h_future[:, 5] += 3.0
for name, axes in (("time", 1), ("time and features", (1, 2)), ("features", 2)):
    before, after = (x / np.sqrt((x**2).mean(axis=axes, keepdims=True))
                     for x in (h, h_future))
    print(f"norm over {name}: the future moves the past by "
          f"{np.abs(before - after)[:, :5].max():.2f}")

# %% [markdown]
# **Symptom:** training loss is too good, generation is poor.
# **Cause:** statistics over time mix in tokens that the mask hides; so does `nn.LayerNorm([T, d])`.
# **Fix:** normalise the last axis only, and run the test of changing the future.
#
# ### Failure mode 3: a mask that broadcasts

# %%
keep = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)  # (B, T), B = 2
scores = rng.normal(size=(2, 2, 4, 4))  # (B, H, T, T), and H = 2 as well
wrong = masked_softmax(scores, keep[:, None, :])  # reads as (1, H, 1, T)
right = masked_softmax(scores, keep[:, None, None, :])  # (B, 1, 1, T)
for name, A in (("wrong", wrong), ("right", right)):
    print(f"{name}: weight on padding, text 1: {A[1][..., 2:].sum(axis=-1).mean():.2f}; "
          f"real tokens lost by text 0: {(A[0][..., 2:] == 0).mean():.0%}")

# %% [markdown]
# **Symptom:** no error when the batch is as large as the number of heads; padding is read, and in other texts one head misses real tokens.
# **Cause:** broadcasting aligns axes from the right, so the batch axis landed on the heads.
# **Fix:** give masks all four axes, and test with $B$, $H$ and $T$ all different.
#
# ### Failure mode 4: epsilon
#
# With $\sigma = 0.02$, a usual initial size of embeddings, the mean square is 0.0004, and $\epsilon$ is no longer negligible.

# %%
small = 0.02 * rng.normal(size=(1000, 64))
for eps in (1e-6, 1e-5, 1e-3):
    size = np.sqrt((rms_norm(small, 1.0, eps) ** 2).mean())
    print(f"epsilon {eps:.0e}: size after the norm {size:.3f}")

# %% [markdown]
# **Symptom:** ported weights agree roughly, never exactly.
# **Cause:** $10^{-6}$ here, $10^{-5}$ there, or $\epsilon$ outside the root.
# **Fix:** copy `rms_norm_eps` with the weights.
# And compute the mean square in float32: in float16 an entry of `{python} f"{float(np.finfo(np.float16).max) ** 0.5:.0f}"` already overflows when squared.
#
# ### Failure mode 5: tied the wrong way
#
# $E$ has shape $(n_\text{vocab}, d)$ and $U$ needs $(d, n_\text{vocab})$.
# `E.T` has it, and so does `E.reshape(d, -1)`.

# %%
E = rng.normal(size=(50, 24))
for name, U in (("E.T", E.T), ("E.reshape", E.reshape(24, -1))):
    own = ((E @ U).argmax(axis=-1) == np.arange(50)).mean()
    print(f"{name:9}: shape {U.shape}, own token scores highest for {own:.0%}")

# %% [markdown]
# **Symptom:** shapes fit, nothing crashes, and loaded weights give noise.
# **Cause:** a reshape keeps the order in memory and scrambles rows.
# **Fix:** transpose. (A copy is no tie either: ask whether both share memory.)
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Blocks or layers.** "12 layers" means 12 blocks, so 24 additions. GPT-2's $N$ in $1/\sqrt{N}$ counts additions.
# > - **Pre and post.** Here post-norm is $\text{norm}(h + f(h))$. $h + \text{norm}(f(h))$ is sometimes called post-norm too. PyTorch's `norm_first=False` is the default.
# > - **The last norm.** Pre-norm stacks need one before the unembedding; post-norm stacks do not.
# > - **Clones.** `nn.TransformerEncoder` copies the layer you give it, so all layers *start with equal weights*.
# > - **Variance.** LayerNorm divides by $d$, not by $d - 1$.
# > - **Counting.** Some counts leave out embeddings; tied ones are counted once. Some FLOP counts take a multiply-add as one, some halve causal attention.
# > - **SwiGLU's width.** Three matrices of width $\frac{8}{3}d$ cost as much as two of $4d$; Llama 3 8B uses $3.5d$.
# > - **Embedding scale.** The 2017 model and Gemma multiply embeddings by $\sqrt{d}$; Llama does not.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): what moves between tokens
#
# Which of these can make the logits of token 3 depend on token 1: embedding, norms, attention, FFN, residual additions, unembedding?
# What can a decoder with $L$ blocks but no attention learn?

# %% [markdown] tags=["solution"]
# Only attention; everything else treats each row alone.
# Without it the model is a function of the current token, at best a bigram table, however many parameters it has.

# %% [markdown]
# ### Exercise 2 (check): a norm by hand
#
# The stream is $(3, 0, 1)$ and a layer adds $(-1, 1, 1)$.
# Return RMSNorm and LayerNorm of the sum, without gains and $\epsilon$, as two rows.


# %%
def norms_by_hand() -> np.ndarray:
    """RMSNorm and LayerNorm of the sum, shape (2, 3)."""
    ### BEGIN SOLUTION
    # The sum is (2, 1, 2): mean square 3, mean 5/3, deviations (1, -2, 1)/3,
    # whose mean square is 2/9.
    return np.array([[2, 1, 2] / np.sqrt(3), [1, -2, 1] / np.sqrt(2)])
    ### END SOLUTION


# %% tags=["test"]
def test_norms_by_hand():
    x, got = np.array([2.0, 1.0, 2.0]), norms_by_hand()
    assert got.shape == (2, 3)
    assert np.allclose(got[0], rms_norm(x, 1.0, 0.0))
    assert np.allclose(got[1], layer_norm(x, 1.0, 0.0, 0.0))


# %% [markdown]
# ### Exercise 3 (apply): fold the gains away
#
# Return weights that give the same logits with all gains equal to one.
# (Quantisation and model surgery start with this.)


# %%
def fold_gains(P: dict) -> dict:
    """An equivalent model, as from `init`, whose gains are all one; P is unchanged."""
    ### BEGIN SOLUTION
    blocks = []
    for W in P["blocks"]:
        new = dict(W)
        for gain, readers in (("g_1", ("W_q", "W_k", "W_v")), ("g_2", ("W_gate", "W_up"))):
            for name in readers:
                new[name] = W[gain][:, None] * W[name]
            new[gain] = np.ones_like(W[gain])
        blocks.append(new)
    return {"E": P["E"], "blocks": blocks, "g": np.ones_like(P["g"]),
            "U": P["g"][:, None] * P["U"]}  # unties U from E
    ### END SOLUTION


# %% tags=["test"]
def test_fold_gains():
    rng = np.random.default_rng(9)
    for _ in range(20):
        c = random_config(rng)
        P, ids = init(c, rng), rng.integers(c.vocab, size=(2, 5))
        for g in [P["g"], *(b[k] for b in P["blocks"] for k in ("g_1", "g_2"))]:
            g[:] = rng.normal(size=c.d)
        before, folded = decoder(ids, P, c), fold_gains(P)
        assert np.array_equal(decoder(ids, P, c), before)
        assert (folded["g"] == 1).all()
        assert all((b[k] == 1).all() for b in folded["blocks"] for k in ("g_1", "g_2"))
        assert np.allclose(decoder(ids, folded, c), before, atol=1e-9)


# %% [markdown]
# ### Exercise 4 (apply): a mixture of experts
#
# Each FFN becomes `experts` FFNs of the same size with a router, a matrix of shape $(d, \text{experts})$, and each token visits `active` of them.
# Count all parameters, and those that one token uses (with the whole embedding table, and all routers).


# %%
def count_experts(c: Config, experts: int, active: int) -> tuple[int, int]:
    """Total and active parameters of a mixture-of-experts decoder."""
    ### BEGIN SOLUTION
    n = count(c)
    rest = sum(n.values()) - n["FFN"] + c.layers * c.d * experts  # with the routers
    return rest + experts * n["FFN"], rest + active * n["FFN"]
    ### END SOLUTION


# %% tags=["test"]
def test_count_experts():
    import torch
    from transformers import MixtralConfig, MixtralForCausalLM

    dense = published()["Llama 3 8B"]
    mixtral = replace(dense, vocab=32000)  # Mixtral 8x7B: "47B", "13B active"
    total, used = count_experts(mixtral, 8, 2)
    with torch.device("meta"):
        model = MixtralForCausalLM(MixtralConfig())
    assert total == sum(p.numel() for p in model.parameters()) == 46_702_792_704
    assert used == 12_879_925_248
    for experts in (1, 3, 7):
        assert len(set(count_experts(dense, experts, experts))) == 1


# %% [markdown]
# Mixtral 8x7B has these sizes [@jiang2024mixtral]: the cost of a 13-billion model, the memory of a 47-billion one.
#
# ### Exercise 5 (apply): SwiGLU backwards
#
# Derive and return the gradients of `swiglu`.
# With $s = 1 / (1 + e^{-z})$ you need $\text{SiLU}'(z) = s (1 + z (1 - s))$.


# %%
def swiglu_backward(dy: np.ndarray, x: np.ndarray, P: dict) -> tuple[np.ndarray, dict]:
    """From dy (n, d): dx (n, d) and the gradients of W_gate, W_up, W_down."""
    ### BEGIN SOLUTION
    z, u = x @ P["W_gate"], x @ P["W_up"]
    s = 0.5 * (1 + np.tanh(z / 2))
    dh = dy @ P["W_down"].T
    dz, du = dh * u * s * (1 + z * (1 - s)), dh * z * s
    grads = {"W_gate": x.T @ dz, "W_up": x.T @ du, "W_down": (z * s * u).T @ dy}
    return dz @ P["W_gate"].T + du @ P["W_up"].T, grads
    ### END SOLUTION


# %% tags=["test"]
def test_swiglu_forward_and_backward():
    import torch

    rng = np.random.default_rng(10)
    for trial in range(24):
        n, d, d_ff = (int(v) for v in rng.permutation(np.arange(1, 10))[:3])
        n = 0 if trial == 5 else n
        x, dy = (30.0 if trial % 4 == 3 else 1.0) * rng.normal(size=(2, n, d))
        P = {"W_gate": rng.normal(size=(d, d_ff)), "W_up": rng.normal(size=(d, d_ff)),
             "W_down": rng.normal(size=(d_ff, d))}
        leaves = {k: torch.from_numpy(v.copy()).requires_grad_()
                  for k, v in {"x": x, **P}.items()}
        gate = torch.nn.functional.silu(leaves["x"] @ leaves["W_gate"])
        want = (gate * (leaves["x"] @ leaves["W_up"])) @ leaves["W_down"]
        want.backward(torch.from_numpy(dy))
        dx, grads = swiglu_backward(dy, x, P)
        assert np.allclose(swiglu(x, P), want.detach().numpy(), rtol=1e-9, atol=1e-9)
        for name, got in {"x": dx, **grads}.items():
            assert got.shape == tuple(leaves[name].shape)
            assert np.allclose(got, leaves[name].grad.numpy(), rtol=1e-9, atol=1e-9)


# %% [markdown]
# ### Exercise 6 (explore): who wrote this logit?
#
# The stream is a sum, and for a fixed size of the final stream the logits are linear in it.
# Return what the embedding and each of the $2L$ additions contribute to the logits, then ask which block decides a prediction of `tiny`.
# What does this account leave out?


# %%
def contributions(ids: np.ndarray, P: dict, c: Config) -> np.ndarray:
    """Shares (2L + 1, B, T, vocab) that sum to the logits."""
    ### BEGIN SOLUTION
    parts = np.array(list(updates(ids, P, c)))
    size = np.sqrt((parts.sum(axis=0) ** 2).mean(axis=-1, keepdims=True) + c.eps)
    return parts / size * P["g"] @ P["U"]
    ### END SOLUTION


# %% tags=["test"]
def test_contributions():
    rng = np.random.default_rng(11)
    for _ in range(20):
        c = random_config(rng)
        P, ids = init(c, rng), rng.integers(c.vocab, size=(2, 4))
        P["g"] = rng.normal(size=c.d)
        parts = contributions(ids, P, c)
        assert parts.shape == (2 * c.layers + 1, 2, 4, c.vocab)
        assert np.allclose(parts.sum(axis=0), decoder(ids, P, c), atol=1e-10)
        first = contributions(np.full((2, 4), ids[0, 0]), P, c)[0]
        assert np.allclose(first[0, 0] / first[0, 0, 0], parts[0, 0, 0] / parts[0, 0, 0, 0])


# %% [markdown] tags=["solution"]
# In a random model there is no reason for a block to stand out; try it on a trained one.
# The account is *direct* only: a block that changes what later blocks write gets no credit for it, and the norm's size, here held fixed, depends on all parts.
# To find causes, change a part and run the rest again.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Residual stream | $h^{(L)} = h^{(0)} + \sum (a + f)$ | `sum(updates(ids, P, c))` | every transformer |
# | RMSNorm | $x / \text{rms}(x) \odot g$ | `rms_norm(x, g, eps)` | most models of 2026 |
# | RMSNorm backward | $(\hat{g} - y \, \overline{\hat{g} \odot y}) / r$ | `rms_norm_backward(dy, x, g)` | training |
# | Pre-norm, post-norm | $h + f(\text{norm}(h))$, $\text{norm}(h + f(h))$ | `add_norm(x, update, P, n)` | 2026, 2017 |
# | SwiGLU | $(\text{SiLU}(xW_G) \odot xW_U) W_D$ | `swiglu(x, P)` | the FFN of most open models |
# | Cross-attention | queries from $y$, keys and values from memory | `multi_head(y, memory, ...)` | translation, speech |
# | Parameters | $2 d d_k (H + G) + 3 d d_\text{ff} + 2d$ a block | `count(c)` | memory budgets |
# | FLOPs | $2 N_\text{matrix} + 4 L H d_k T$; $6ND$ | `forward_flops(c, T)` | training budgets |
# | Residual scaling | $1/\sqrt{2L}$ | `W_o /= np.sqrt(2 * L)` | initialisation |
#
# **The essential insight:** a transformer is a sum. Each token has a stream, attention adds what other tokens know, the feed-forward network adds what training stored, and both read, as a rule, a copy of standard size. Because everything is added, gradients have a straight road from the loss to the first layer, and stacks of a hundred blocks can be trained. Almost every change since 2017 made that road straighter or the layers beside it cheaper; none removed the plus sign. What the stack learns is decided by what you ask of it: filling gaps makes it a [BERT](bert.py), the next token a [GPT](gpt.py).
