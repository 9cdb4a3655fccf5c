# ---
# title: A minimal transformer
# summary: One head and an FFN learn a sum that one head alone provably cannot.
# prerequisites:
#   - transformers/transformer-architecture: the block, its norms and the residual stream
#   - transformers/self-attention: projections, causal masks and RoPE
#   - neural-networks/multilayer-networks: two layers with a ReLU between
#   - neural-networks/backpropagation: gradients, which PyTorch computes here
# packages: [numpy, matplotlib, torch]
# seconds: 90
# ---

# %% [markdown]
# # A minimal transformer
#
# $$
# \boxed{
# \begin{aligned}
# u &= h + \text{Attention}(\text{norm}(h)) \\
# h' &= u + \text{FFN}(\text{norm}(u)) \\
# \text{logits} &= \text{norm}(h') \, U
# \end{aligned}
# }
# $$
#
# Row $t$ of $h \in \mathbb{R}^{T \times d}$ is the embedding of token $t$ plus that of its position;
# $\text{norm}$ gives each row a standard size, $\text{FFN}$ is a network of two layers for each row alone,
# and $U \in \mathbb{R}^{d \times P}$ scores the $P$ possible next tokens.
# By the end of this lab you will have built this block in PyTorch, checked every part, and found out which parts one task needs.

# %% [markdown]
# ## 1. A language with one rule
#
# [Attention from scratch](07-attention-from-scratch.py) learned to look things up.
# The next step is to *compute* with what was found.
# Our language has five digits and one rule: each digit is the sum, modulo 5, of the ones three and four places before it.
# (Modulo 5 means: keep the remainder after division by 5.)
#
# $$
# x_{t+1} = (x_{t-2} + x_{t-3}) \bmod 5
# $$
#
# Four digits start a text; the rule writes the rest. A model sees $x_0, \dots, x_t$ and must predict $x_{t+1}$.
# Where you read **Predict**, write down your answer before you run the next cell.

# %%
import itertools
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
P, T = 5, 12  # digits, tokens that a model reads
FIRST = 3  # the first position whose next digit is determined


def continue_texts(starts: np.ndarray, length: int = T + 1) -> torch.Tensor:
    """Starts (B, 4) continued by the rule to (B, length)."""
    ids = np.zeros((len(starts), length), dtype=np.int64)
    ids[:, : FIRST + 1] = starts
    for t in range(FIRST, length - 1):
        ids[:, t + 1] = (ids[:, t - 2] + ids[:, t - 3]) % P
    return torch.from_numpy(ids)


def draw_texts(rng: np.random.Generator, batch: int = 64) -> torch.Tensor:
    """Random texts (batch, T + 1)."""
    return continue_texts(rng.integers(P, size=(batch, FIRST + 1)))


exam = continue_texts(np.array(list(itertools.product(range(P), repeat=4))))
print("all texts:", tuple(exam.shape), " one of them:", *exam[194].tolist())

# %% [markdown]
# There are only 625 texts, so the exam is *all* of them.
# How far does a single look-up get you? Take the current digit and any one earlier digit, and
# answer with the commonest next digit:

# %%
def best_single_lookup(ids: torch.Tensor) -> float:
    """Best accuracy for x[t + 1] from x[t] and one earlier digit, over all places."""
    best = 0.0
    for t in range(FIRST, ids.shape[1] - 1):
        for j in range(t):
            key = (ids[:, t] * P + ids[:, j]) * P + ids[:, t + 1]
            table = torch.bincount(key, minlength=P**3).view(P * P, P)
            best = max(best, (table.max(dim=1).values.sum() / len(ids)).item())
    return best


lookup = best_single_lookup(exam)
print(f"best accuracy from one look-up: {lookup:.2f}")
assert abs(lookup - 1 / P) < 1e-6

# %% [markdown]
# **What the code shows:** `{python} f"{lookup:.0%}"`, a blind guess. Given the current digit and any *one* other,
# the next digit is still uniform: each of the five comes equally often. You need two, and you must add them. Remember this fact; a proof will rest on it.

# %% tags=["test"]
def test_texts_follow_the_rule():
    ids = draw_texts(np.random.default_rng(0), batch=20)
    assert ids.shape == (20, T + 1) and 0 <= ids.min() and ids.max() < P
    for text in ids.tolist():
        for t in range(4, T + 1):
            assert text[t] == (text[t - 3] + text[t - 4]) % 5


def test_single_lookup():
    texts = continue_texts(np.array(list(itertools.product(range(P), repeat=4))))
    assert abs(best_single_lookup(texts) - 0.2) < 1e-6
    copied = texts.clone()
    copied[:, 5] = copied[:, 0]  # now one look-up is enough somewhere
    assert best_single_lookup(copied) == 1


# %% [markdown]
# ## 2. Tokens and positions become vectors
#
# An *embedding* is a table lookup: `E[ids]`. It says what, not where, so a second table adds a vector for
# each [position](../transformers/self-attention.py#adding-a-position-sinusoids-and-tables).

# %%
torch.manual_seed(0)
B, d = 2, 6
E, positions = torch.randn(P, d), torch.randn(T, d)
ids = exam[[7, 300], :T]
h = E[ids] + positions  # (B, T, d): the same positions for each text
assert h.shape == (B, T, d)
assert torch.equal(h, F.one_hot(ids, P).float() @ E + positions)
print("ids", tuple(ids.shape), "-> stream", tuple(h.shape))

# %% [markdown]
# **What the code shows:** looking up row $i$ equals multiplying a one-hot row by $E$, so an embedding is a linear layer without the work.
#
# ## 3. Attention with heads
#
# All layers are built of one: $y = xW + b$. The [attention](../transformers/attention.py#mathematical-foundation) formula follows, for $H$ heads at once
# ([multi-head attention](../transformers/multi-head-attention.py)).
# `fixed` replaces the scores by a learned table that does not see the tokens; it is for an experiment later.

# %%
class Linear(nn.Module):
    """x (..., d_in) to x W + b (..., d_out)."""

    def __init__(self, d_in: int, d_out: int, bias: bool = True):
        super().__init__()
        self.W = nn.Parameter(torch.randn(d_in, d_out) / d_in**0.5)
        self.b = nn.Parameter(torch.zeros(d_out)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.W if self.b is None else x @ self.W + self.b


def rotate(x: torch.Tensor, base: float = 10000.0) -> torch.Tensor:
    """RoPE: pairs of x (..., T, d_k), half-split, turned by the position."""
    half = x.shape[-1] // 2
    speed = base ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * speed
    cos, sin, a, b = angle.cos(), angle.sin(), x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention, x (B, T, d) to (B, T, d)."""

    def __init__(self, d: int, H: int, d_k: int, causal: bool = True,
                 rope: bool = False, fixed: bool = False, bias: bool = True):
        super().__init__()
        self.H, self.d_k, self.causal, self.rope = H, d_k, causal, rope
        self.q, self.k, self.v = (Linear(d, H * d_k, bias) for _ in range(3))
        self.o = Linear(H * d_k, d, bias)
        self.table = nn.Parameter(torch.zeros(H, T, T)) if fixed else None

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H d_k) to (B, H, T, d_k)."""
        return x.view(*x.shape[:2], self.H, self.d_k).transpose(1, 2)

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, T, T), or (H, T, T) from the table, before the mask."""
        t = x.shape[1]
        if self.table is not None:
            return self.table[:, :t, :t]
        q, k = self.split(self.q(x)), self.split(self.k(x))
        if self.rope:
            q, k = rotate(q), rotate(k)
        return q @ k.transpose(-1, -2) / self.d_k**0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.scores(x)
        if self.causal:
            may_look = torch.ones(s.shape[-2:], dtype=torch.bool).tril()
            s = s.masked_fill(~may_look, -torch.inf)
        self.A = s.softmax(dim=-1)  # kept, to look at
        heads = self.A @ self.split(self.v(x))  # (B, H, T, d_k)
        return self.o(heads.transpose(1, 2).flatten(2))


layer = Attention(d=6, H=3, d_k=4)
out = layer(h)
assert out.shape == (B, T, 6) and layer.A.shape == (B, 3, T, T)
assert torch.allclose(layer.A.sum(dim=-1), torch.ones(B, 3, T))
assert (layer.A.triu(1) == 0).all()
print("weights", tuple(layer.A.shape), " output", tuple(out.shape))

# %% [markdown]
# The check: copy our weights into `nn.MultiheadAttention` and compare, forward and backward, in float64.
# `nn.Linear` stores $W^\top$, and the library stacks query, key and value.

# %%
def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Our weights into the library's module; needs H d_k = d."""
    with torch.no_grad():
        parts = (ours.q, ours.k, ours.v)
        theirs.in_proj_weight.copy_(torch.cat([p.W.T for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.b for p in parts]))
        theirs.out_proj.weight.copy_(ours.o.W.T)
        theirs.out_proj.bias.copy_(ours.o.b)


def randomise(module: nn.Module, seed: int) -> None:
    """Random values for all parameters, so that no bias hides at zero."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=p.dtype) * 0.5)


def attention_gap(B: int, t: int, H: int, d_k: int, causal: bool, seed: int) -> float:
    """Largest difference from nn.MultiheadAttention, outputs and gradients."""
    ours = Attention(H * d_k, H, d_k, causal).double()
    randomise(ours, seed)
    theirs = nn.MultiheadAttention(H * d_k, H, batch_first=True).double()
    copy_attention(ours, theirs)
    x = torch.randn(2, B, t, H * d_k, dtype=torch.float64)
    one, two = (x[0].clone().requires_grad_() for _ in range(2))
    hide = torch.ones(t, t, dtype=torch.bool).triu(1) if causal else None
    a, b = ours(one), theirs(two, two, two, attn_mask=hide, need_weights=False)[0]
    a.backward(x[1])
    b.backward(x[1])
    gaps = [a - b, one.grad - two.grad, ours.o.W.grad.T - theirs.out_proj.weight.grad]
    stacked = torch.cat([p.W.grad.T for p in (ours.q, ours.k, ours.v)])
    gaps.append(stacked - theirs.in_proj_weight.grad)
    return max(g.abs().max().item() for g in gaps)


gap = attention_gap(B=2, t=5, H=3, d_k=4, causal=True, seed=0)
print("equal to nn.MultiheadAttention, with gradients:", gap < 1e-12)

# %% tags=["test"]
def test_attention_matches_library():
    rng = np.random.default_rng(0)
    for seed in range(20):
        B, t, H, d_k = (int(n) for n in rng.integers(1, 6, size=4))
        assert attention_gap(B, t, H, d_k, bool(seed % 2), seed) < 1e-11


def test_linear_matches_library():
    for seed in range(20):
        d_in, d_out = 1 + seed % 5, 1 + seed % 7
        ours, theirs = Linear(d_in, d_out), nn.Linear(d_in, d_out)
        randomise(ours, seed)
        x = torch.randn(3, d_in)
        expected = F.linear(x, ours.W.T, ours.b)
        assert torch.allclose(ours(x), expected, atol=1e-6)
        assert Linear(d_in, d_out, bias=False).b is None
        assert ours.W.T.shape == theirs.weight.shape


def test_rope_sees_offsets_only():
    q, k = torch.randn(2, 4, dtype=torch.float64)
    Q, K = rotate(q.repeat(9, 1)), rotate(k.repeat(9, 1))
    s = Q @ K.T
    for shift in range(1, 5):
        assert torch.allclose(s[shift:, shift:], s[:-shift, :-shift])
    assert torch.allclose(Q.norm(dim=-1), q.norm().expand(9))
    assert torch.allclose(Q[1, 0], q[0] * np.cos(1) - q[2] * np.sin(1))
    assert torch.allclose(Q[2, 1], q[1] * np.cos(0.02) - q[3] * np.sin(0.02))


# %% [markdown]
# ## 4. Norm, FFN, block
#
# The 2017 parts are LayerNorm and a ReLU network; today's are RMSNorm and SwiGLU
# ([transformer architecture](../transformers/transformer-architecture.py#the-block-of-2017)). Each fits in a few lines, so build both.

# %%
class RMSNorm(nn.Module):
    """Each row of x (..., d) over its root mean square, times gains."""

    def __init__(self, d: int, eps: float = 1e-5):
        super().__init__()
        self.g, self.eps = nn.Parameter(torch.ones(d)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(dim=-1, keepdim=True) + self.eps).sqrt() * self.g


class LayerNorm(RMSNorm):
    """The same after subtracting the mean, plus shifts."""

    def __init__(self, d: int, eps: float = 1e-5):
        super().__init__(d, eps)
        self.b = nn.Parameter(torch.zeros(d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(dim=-1, keepdim=True)) + self.b


class FFN(nn.Module):
    """ReLU network for each row, x (..., d) to (..., d)."""

    def __init__(self, d: int, d_ff: int):
        super().__init__()
        self.up, self.down = Linear(d, d_ff), Linear(d_ff, d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(x)))


class SwiGLU(nn.Module):
    """Gated network for each row, x (..., d) to (..., d), no biases."""

    def __init__(self, d: int, d_ff: int):
        super().__init__()
        self.gate, self.up = Linear(d, d_ff, False), Linear(d, d_ff, False)
        self.down = Linear(d_ff, d, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


@dataclass(frozen=True)
class Config:
    """What to build; the defaults are the block of this lab."""

    d: int = 32
    H: int = 2
    d_k: int = 8
    d_ff: int = 128
    attention: bool = True
    ffn: bool = True
    residual: bool = True
    norm: str = "layer"  # or "rms", "none"
    positions: str = "learned"  # or "rope", "none"
    gated: bool = False
    causal: bool = True
    fixed: bool = False  # attention weights that do not see the tokens
    last_norm: bool = True


def make_norm(kind: str, d: int) -> nn.Module:
    """The norm of that name."""
    kinds = {"layer": LayerNorm, "rms": RMSNorm}
    return nn.Identity() if kind == "none" else kinds[kind](d)


class Block(nn.Module):
    """The boxed equations: x (B, T, d) to (B, T, d). `parts` keeps what was added."""

    def __init__(self, c: Config):
        super().__init__()
        modern = c.norm == "rms"
        self.residual, self.layers = c.residual, nn.ModuleDict()
        if c.attention:
            self.layers["attention"] = Attention(
                c.d, c.H, c.d_k, c.causal, c.positions == "rope", c.fixed, not modern)
        if c.ffn:
            self.layers["FFN"] = (SwiGLU if c.gated else FFN)(c.d, c.d_ff)
        self.norms = nn.ModuleDict({n: make_norm(c.norm, c.d) for n in self.layers})

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        self.parts = {}
        for name, f in self.layers.items():
            self.parts[name] = f(self.norms[name](h))
            h = h + self.parts[name] if self.residual else self.parts[name]
        return h


# %% [markdown]
# **By hand.** Two tokens, $d = 2$, one head, no biases, gains 1, $\epsilon = 0$; row 0 of $h$ is $(3, 1)$, row 1 is $(0, 2)$.
# Each LayerNorm of two numbers is $(1, -1)$ or $(-1, 1)$. Let $W_V = W_O = I$, and let row 1 give weight 1/4 to row 0 and 3/4 to itself.
# Attention adds $(1, -1)$ to row 0 and $\frac14(1, -1) + \frac34(-1, 1) = (-0.5, 0.5)$ to row 1, so $u$ is $(4, 0)$ and $(-0.5, 2.5)$.
# The FFN has
#
# $$
# W_1 = \begin{pmatrix} 1 & 0 & 2 \\ 0 & 1 & 1 \end{pmatrix}, \qquad
# W_2 = \begin{pmatrix} 1 & 0 \\ 0 & 2 \\ 1 & 1 \end{pmatrix}
# $$
#
# Row 0 reads $(1, -1)$: hidden $(1, -1, 1)$, after the ReLU $(1, 0, 1)$, out $(2, 1)$. Row 1 reads $(-1, 1)$: hidden $(-1, 1, -1)$, then $(0, 1, 0)$, out $(0, 2)$.
# The block returns $(6, 1)$ and $(-0.5, 4.5)$.
# For the weights, $W_K = I$ and $W_Q = cI$ with $c = \log 3 / (2\sqrt{2})$ give scores $\pm \frac12 \log 3$ for like and unlike rows: their exponentials have the ratio 3.

# %%
hand = Block(Config(d=2, H=1, d_k=2, d_ff=3)).double()
att, ffn = hand.layers["attention"], hand.layers["FFN"]
with torch.no_grad():
    for linear in (att.q, att.k, att.v, att.o):
        linear.W.copy_(torch.eye(2))
    att.q.W.mul_(np.log(3) / (2 * np.sqrt(2)))
    ffn.up.W.copy_(torch.tensor([[1.0, 0, 2], [0, 1, 1]]))
    ffn.down.W.copy_(torch.tensor([[1.0, 0], [0, 2], [1, 1]]))
    by_block = hand(torch.tensor([[[3.0, 1], [0, 2]]], dtype=torch.float64))
print("weights of row 1:", att.A[0, 0, 1].numpy().round(3))
print("block:", by_block[0].numpy().round(3).tolist())
expected = torch.tensor([[6.0, 1], [-0.5, 4.5]], dtype=torch.float64)
assert torch.allclose(by_block[0], expected, atol=1e-3)  # epsilon is not quite 0

# %% [markdown]
# The library's block is `nn.TransformerEncoderLayer(norm_first=True)`; with a causal mask it is exactly ours.

# %%
def block_gap(B: int, t: int, H: int, d_k: int, d_ff: int, seed: int) -> float:
    """Largest difference from nn.TransformerEncoderLayer, outputs and gradients."""
    d = H * d_k
    ours = Block(Config(d=d, H=H, d_k=d_k, d_ff=d_ff)).double()
    randomise(ours, seed)
    theirs = nn.TransformerEncoderLayer(
        d, H, d_ff, dropout=0.0, batch_first=True, norm_first=True).double()
    copy_attention(ours.layers["attention"], theirs.self_attn)
    ffn, pairs = ours.layers["FFN"], []
    pairs += [(ffn.up.W, theirs.linear1.weight), (ffn.up.b, theirs.linear1.bias)]
    pairs += [(ffn.down.W, theirs.linear2.weight), (ffn.down.b, theirs.linear2.bias)]
    for name, norm in (("attention", theirs.norm1), ("FFN", theirs.norm2)):
        pairs += [(ours.norms[name].g, norm.weight), (ours.norms[name].b, norm.bias)]
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(mine.T if mine.ndim == 2 else mine)
    x = torch.randn(2, B, t, d, dtype=torch.float64)
    one, two = (x[0].clone().requires_grad_() for _ in range(2))
    hide = torch.ones(t, t, dtype=torch.bool).triu(1)
    a, b = ours(one), theirs(two, src_mask=hide)
    a.backward(x[1])
    b.backward(x[1])
    gaps = [a - b, one.grad - two.grad]
    gaps += [(m.grad.T if m.ndim == 2 else m.grad) - o.grad for m, o in pairs]
    return max(g.abs().max().item() for g in gaps)


gap = block_gap(B=2, t=5, H=3, d_k=4, d_ff=7, seed=0)
print("equal to nn.TransformerEncoderLayer, with gradients:", gap < 1e-11)

# %% tags=["test"]
def test_block_matches_library():
    rng = np.random.default_rng(1)
    for seed in range(20):
        B, t, H, d_k, d_ff = (int(n) for n in rng.integers(1, 6, size=5))
        # width 1 gives LayerNorm nothing to compare: use 2 at least
        assert block_gap(B, t, H, d_k + 1, d_ff, seed) < 1e-9


def test_norms_and_swiglu_match_library():
    rng = np.random.default_rng(2)
    for seed in range(20):
        d = int(rng.integers(2, 9))
        x = torch.randn(3, d, dtype=torch.float64) * 10.0 ** float(rng.uniform(-2, 3))
        ln, rms, glu = LayerNorm(d).double(), RMSNorm(d).double(), SwiGLU(d, 5).double()
        for module in (ln, rms):
            randomise(module, seed)
        assert torch.allclose(ln(x), F.layer_norm(x, (d,), ln.g, ln.b, 1e-5))
        assert torch.allclose(rms(x), F.rms_norm(x, (d,), rms.g, 1e-5))
        z = x @ glu.gate.W
        by_hand = (z / (1 + (-z).exp()) * (x @ glu.up.W)) @ glu.down.W
        assert torch.allclose(glu(x), by_hand)
        assert all(linear.b is None for linear in (glu.gate, glu.up, glu.down))


# %% [markdown]
# ### Exercise 1 (check): count a block
#
# Give the number of parameters of a block with LayerNorm, biases and a ReLU FFN, for $H d_k = d$.
# One block of the smallest GPT-2 [@radford2019language] has $d = 768$ and $d_\text{ff} = 3072$.

# %%
def block_parameters(d: int, d_ff: int) -> int:
    """Parameters of attention, FFN and two LayerNorms, biases included."""
    ### BEGIN SOLUTION
    return 4 * (d * d + d) + (d * d_ff + d_ff) + (d_ff * d + d) + 2 * 2 * d
    ### END SOLUTION


# %% tags=["test"]
def test_block_parameters():
    assert block_parameters(768, 3072) == 7_087_872
    for H, d_k, d_ff in ((1, 2, 3), (3, 4, 5), (2, 6, 40)):
        block = Block(Config(d=H * d_k, H=H, d_k=d_k, d_ff=d_ff))
        found = sum(p.numel() for p in block.parameters())
        assert block_parameters(H * d_k, d_ff) == found


# %% [markdown]
# ## 5. The model, and two checks before training
#
# The last norm only rescales each row (an RMSNorm), so it never changes *which* logit is the largest.

# %%
class Transformer(nn.Module):
    """Token ids (B, T) to logits (B, T, P), with one block."""

    def __init__(self, c: Config):
        super().__init__()
        self.E = nn.Parameter(torch.randn(P, c.d))
        learned = c.positions == "learned"
        self.positions = nn.Parameter(torch.randn(T, c.d)) if learned else None
        self.block = Block(c)
        self.norm = RMSNorm(c.d) if c.last_norm else nn.Identity()
        self.U = Linear(c.d, P, bias=False)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """The stream before the block, (B, T, d)."""
        h = self.E[ids]
        return h if self.positions is None else h + self.positions[: ids.shape[1]]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.U(self.norm(self.block(self.embed(ids))))


def reach(c: Config) -> torch.Tensor:
    """(T, T) truth values: does the gradient of output t reach input j?"""
    torch.manual_seed(0)
    model = Transformer(c)
    h = model.embed(exam[:1, :T]).detach().requires_grad_()
    out = model.U(model.norm(model.block(h)))
    rows = [torch.autograd.grad(out[0, t, 0], h, retain_graph=True)[0] for t in range(T)]
    return torch.stack([row[0].abs().sum(dim=-1) > 0 for row in rows])


assert torch.equal(reach(Config()), torch.ones(T, T, dtype=torch.bool).tril())
assert reach(Config(causal=False)).all()
assert torch.equal(reach(Config(attention=False)), torch.eye(T, dtype=torch.bool))
torch.manual_seed(0)
order = torch.randperm(T)
for kind in ("none", "learned"):
    model = Transformer(Config(causal=False, positions=kind))
    moved = model(exam[:9, order]) - model(exam[:9, :T])[:, order]
    print(f"positions {kind:7}: shuffled in, shuffled out:", bool(moved.abs().max() < 1e-4))
print("parameters:", sum(p.numel() for p in Transformer(Config()).parameters()))

# %% [markdown]
# **What the code shows:** with the causal mask output $t$ can be moved by inputs $0$ to $t$ and no others; without attention only by its own.
# Without mask and positions the block treats a text as a bag of digits. The position table ends that.
#
# | array | shape | here |
# |---|---|---|
# | token ids | `(B, T)` | 64 × 12 |
# | stream, and each addition | `(B, T, d)` | 64 × 12 × 32 |
# | queries, keys, values | `(B, H, T, d_k)` | 64 × 2 × 12 × 8 |
# | attention weights | `(B, H, T, T)` | 64 × 2 × 12 × 12 |
# | hidden layer | `(B, T, d_ff)` | 64 × 12 × 128 |
# | logits | `(B, T, P)` | 64 × 12 × 5 |

# %% tags=["test"]
def test_model_is_causal_and_shaped():
    texts = draw_texts(np.random.default_rng(3), batch=4)[:, :T]
    for c in (Config(), Config(norm="rms", positions="rope", gated=True, d_ff=9)):
        torch.manual_seed(1)
        model = Transformer(c)
        out = model(texts)
        assert out.shape == (4, T, P)
        for t in range(1, T):
            changed = texts.clone()
            changed[:, t] = (changed[:, t] + 1) % P
            moved = (model(changed) - out).abs().amax(dim=(0, 2)) > 1e-6
            assert not moved[:t].any() and moved[t]
        short = model(texts[:, :5])
        assert torch.allclose(short, out[:, :5], atol=1e-5)


def test_sizes_at_the_start():
    torch.manual_seed(7)
    assert abs(Linear(400, 50).W.std() - 0.05) < 0.002
    model = Transformer(Config())
    assert sum(p.numel() for p in model.parameters()) == 11_344
    ids = draw_texts(np.random.default_rng(8), batch=3)[:, :T]
    by_hand = F.one_hot(ids, P).float() @ model.E + model.positions
    assert torch.allclose(model.embed(ids), by_hand)
    plain = Transformer(Config(positions="none"))
    assert torch.equal(plain.embed(ids), plain.E[ids])
    x = torch.randn(2, 4, 32)
    for last, expected in ((True, F.rms_norm(x, (32,), eps=1e-5)), (False, x)):
        one = Transformer(Config(last_norm=last))
        assert torch.allclose(one.norm(x), expected, atol=1e-6)


def test_model_without_order():
    texts = draw_texts(np.random.default_rng(4), batch=4)[:, :T]
    order = torch.tensor([3, 0, 7, 1, 2, 11, 5, 4, 10, 9, 8, 6])
    model = Transformer(Config(causal=False, positions="none"))
    assert torch.allclose(model(texts[:, order]), model(texts)[:, order], atol=1e-5)


def test_parts_add_up():
    texts = draw_texts(np.random.default_rng(5), batch=3)[:, :T]
    model = Transformer(Config())
    h = model.embed(texts)
    assert torch.allclose(model.block(h), h + sum(model.block.parts.values()), atol=1e-5)
    alone = Transformer(Config(residual=False))
    out = alone.block(alone.embed(texts))
    assert torch.equal(out, alone.block.parts["FFN"])


# %% [markdown]
# ## 6. What one head alone cannot do
#
# Take the FFN away: embedding, one layer of attention, residual, unembedding. What can be proved?
# Fix a position $t \ge 3$. Write $z_c$ for its logit of digit $c$, $\overline{z} = \frac{1}{P} \sum_c z_c$ for the mean logit, $y$ for the right digit, and $\mathbb{E}$ for the mean over all texts.
#
# **With weights that do not see the tokens,** attention adds fixed multiples of values, and each value is computed from one token. So
#
# $$
# z_c = \sum_{j \le t} f_j(x_j, c)
# $$
#
# Take the texts in which $x_j$ is some digit $a$. By Section 1, $y$ is still uniform among them, so the mean of $f_j(a, y)$ over them is $\frac{1}{P}\sum_c f_j(a, c)$.
# Each term is, on average, as large for the right digit as for the mean digit, and so is the sum: $\mathbb{E}[z_y] = \mathbb{E}[\overline{z}]$.
# The loss is $\log\sum_c e^{z_c} - z_y$, and $\log \sum_c e^{z_c} \ge \log P + \overline{z}$ (Jensen's inequality: the logarithm of a mean is at least the mean of the logarithms). So
#
# $$
# \mathbb{E}[\text{loss}] \ge \log P + \mathbb{E}[\overline{z} - z_y] = \log P
# $$
#
# **What this means:** with fixed weights no number of heads and no width is better than a blind guess. The bound is for logits without the last norm, so Section 7 switches it off there.
# An FFN without attention has the same bound, last norm or not: its logits are functions of $x_t$ alone.
#
# **With softmax weights** the tokens choose the weights too. What head $i$ adds to a logit is
#
# $$
# \frac{1}{D_i} \sum_{j \le t} e^{s_{ij}} v_{ij}, \qquad D_i = \sum_{j \le t} e^{s_{ij}}
# $$
#
# Here $s_{ij}$ is the score of token $j$ and $v_{ij}$ its value, already multiplied by $W_O$ and $U$.
# Hold the current token $x_t$ fixed: then $s_{ij}$ and $v_{ij}$ depend on token $j$ only. Multiply the logits by $D = D_1 D_2 \cdots D_H \gt 0$ (and by the size that the last norm divides by).
# That clears the denominators, and every term of the product $D z_c$ looks at no more than $H$ tokens besides $x_t$: one from each head.
# If $y$ is uniform given $x_t$ and any $H$ others, the averaging argument works again, term by term:
#
# $$
# \mathbb{E}\left[ D \left( z_y - \overline{z} \right) \right] = 0
# $$
#
# **What this means:** a right answer has the largest logit, so its bracket is positive. Were every answer right, the average would be positive. It is zero: *some text is answered wrongly, whatever the weights and the width*.
# On our task this rules out $H = 1$. A sum of $k$ earlier digits that is uniform given $x_t$ and any $k - 1$ others needs at least $k$ heads.
# The statement is a relative of [Minsky and Papert's theorem](../neural-networks/perceptron.py#what-one-neuron-cannot-do) that a perceptron can tell an odd number of points from an even one only if one of its features sees all of them [@minsky1969perceptrons].
# The proof says nothing against two heads, nor how many answers are wrong. Check the equation on random one-head models:

# %%
@torch.no_grad()
def weighted_lead(model: Transformer, ids: torch.Tensor, t: int) -> torch.Tensor:
    """D (z_y - mean z) of each text at position t, for one head and no FFN, (n,)."""
    att = model.block.layers["attention"]
    h = model.embed(ids[:, : t + 1])
    s = att.scores(model.block.norms["attention"](h))[:, 0, t]  # (n, t + 1)
    z = model.U(model.block(h)[:, t])  # the last norm would only rescale
    right = z.gather(1, ids[:, t + 1 :][:, :1])[:, 0]
    return s.exp().sum(dim=-1) * (right - z.mean(dim=-1))


for seed in range(3):
    torch.manual_seed(seed)
    lead = weighted_lead(Transformer(Config(H=1, ffn=False)).double(), exam, t=7)
    print(f"single texts: {lead.std():8.1f} spread, mean zero: {abs(lead.mean()) < 1e-9}")
    assert abs(lead.mean()) < 1e-9

# %% tags=["test"]
def test_one_head_identity():
    texts = continue_texts(np.array(list(itertools.product(range(P), repeat=4))))
    for seed in range(20):
        torch.manual_seed(seed)
        one = Transformer(Config(d=5 + seed, H=1, d_k=3, ffn=False)).double()
        lead = weighted_lead(one, texts, t=FIRST + seed % 8)
        assert abs(lead.mean()) < 1e-9 * lead.abs().max()
        y = texts[:, FIRST + seed % 8 + 1]
        assert (one(texts[:, :T])[:, FIRST + seed % 8].argmax(-1) != y).any()


# %% [markdown]
# ## 7. Experiment: one block against its parts
#
# **Question.** Which parts does the task need?
# **Prediction.** Fixed weights and FFN alone stay at $\log 5$. Attention alone fails with one head (proved) and, the saying goes
# that attention moves and the FFN computes, with any number. The block learns, with one head too. Without positions or without the residual it fails; without norm it fails or slows down.
#
# All train with [Adam](../training/optimizers.py#a-direction-for-each-gradient), gradient descent that scales the step of each parameter, for 400 steps on 64 fresh texts, learning rate 0.01, warmed up over 20 steps and then falling linearly to zero.
# Attention alone gets wider heads, so that it has more parameters than the block; that removes size as an excuse.
# Task, sizes, rate and steps were chosen after trials, for a block that learns quickly; the other variants were not tuned.
# So there is a control: one-head attention also gets other rates, and twice the steps.
# The block with one head gets twice the steps too, because in trials 400 were often too few, and eight seeds, because some fail.

# %%
def train(c: Config, seed: int = 0, steps: int = 400, lr: float = 0.01,
          shift: int = 1, hide: torch.Tensor | None = None
          ) -> tuple[Transformer, list[float]]:
    """A trained model and its losses; targets are the tokens `shift` later.

    Where hide[a, b] is True, the sum a + b is never a target.
    """
    torch.manual_seed(seed)
    rng, model, losses = np.random.default_rng(seed), Transformer(c), []
    adam = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98), fused=True)
    for step in range(steps):
        ids = draw_texts(rng)
        y = ids[:, FIRST + shift : T + shift].clone()
        if hide is not None:
            y[hide[ids[:, 1 : T - 2], ids[:, : T - 3]]] = -100  # ignored by the loss
        logits = model(ids[:, :T])[:, FIRST:]
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        adam.zero_grad()
        loss.backward()
        warm, cool = min(1, (step + 1) / 20), 1 - step / steps
        adam.param_groups[0]["lr"] = lr * warm * cool
        adam.step()
        losses.append(loss.item())
    return model, losses


@torch.no_grad()
def hits(model: Transformer) -> torch.Tensor:
    """Truth values (625, T - FIRST): which answers of the exam are right."""
    return model(exam[:, :T])[:, FIRST:].argmax(dim=-1) == exam[:, FIRST + 1 :]


def accuracy(model: Transformer) -> float:
    """Share of right answers over all 625 texts."""
    return hits(model).float().mean().item()


base = Config()
variants = {
    "block": base,
    "FFN only": replace(base, attention=False),
    "fixed weights": replace(base, ffn=False, d_k=52, fixed=True, last_norm=False),
    "no positions": replace(base, positions="none"),
    "no residual": replace(base, residual=False),
    "no norm": replace(base, norm="none"),
}
for H in (1, 2, 4):
    variants[f"attention, H={H}"] = replace(base, ffn=False, H=H, d_k=104 // H)
SEEDS = range(3)
runs = {name: [train(c, s) for s in SEEDS] for name, c in variants.items()}
for name, c, seeds in (("block, H=1", replace(base, H=1), range(8)),
                       ("attention, H=1", variants["attention, H=1"], range(2))):
    runs[f"{name}, 800 steps"] = [train(c, s, steps=800) for s in seeds]
scores = {name: np.array([accuracy(m) for m, _ in r]) for name, r in runs.items()}
sizes = {n: sum(p.numel() for p in r[0][0].parameters()) for n, r in runs.items()}
ends = {n: np.mean([losses[-20:] for _, losses in r]) for n, r in runs.items()}
alone = variants["attention, H=1"]
controls = {lr: [accuracy(train(alone, s, lr=lr)[0]) for s in (0, 1)]
            for lr in (0.003, 0.03)}
most = max(max(a) for a in (*controls.values(), scores["attention, H=1, 800 steps"]))
print(f"{'variant':25} {'size':>6} loss  accuracy of each seed")
for name, a in scores.items():
    print(f"{name:25} {sizes[name]:6,} {ends[name]:.2f} ", *(f"{x:.2f}" for x in a))
for lr, a in controls.items():
    print(f"attention, H=1, rate {lr}: accuracy", *(f"{x:.2f}" for x in a))

# %%
#| label: fig-variants
#| fig-cap: Accuracy on all texts after 400 steps, unless it says 800; a bar is the mean, dots are the seeds. Dotted, chance.
#| fig-alt: The block reaches one; FFN only and fixed weights stay at chance; attention alone climbs with its number of heads and comes close to one at four; the one-head block reaches one in most of its seeds.
fig, ax = plt.subplots(figsize=(6.8, 3.4))
names = list(scores)[::-1]
ax.barh(names, [scores[n].mean() for n in names], color="0.8", edgecolor="0.4")
for row, n in enumerate(names):
    ax.plot(scores[n], [row] * len(scores[n]), "o", color="C0", ms=5)
ax.axvline(1 / P, color="0.3", ls=":")
ax.set(xlabel="accuracy", xlim=(0, 1.03))

# %%
#| label: fig-losses
#| fig-cap: Training loss, three seeds each. Dotted, the logarithm of 5, the cost of a blind guess.
#| fig-alt: All curves wait at the loss of a blind guess; the block then drops to zero, one-head attention creeps down a little, fixed weights never leave the line.
fig, ax = plt.subplots(figsize=(6, 2.8))
for name, line, colour in [("block", "-", "C0"), ("attention, H=1", "--", "C1"),
                           ("fixed weights", "-.", "C2")]:
    for s, (_, losses) in enumerate(runs[name]):
        ax.plot(losses, line, color=colour, lw=1, label=None if s else name)
ax.axhline(np.log(P), color="0.2", ls=":")
ax.set(xlabel="step", ylabel="loss (nats)", ylim=(0, 2))
ax.legend()

# %% tags=["test", "experiment"]
def test_conclusions():
    assert scores["block"].min() > 0.97
    for name in ("FFN only", "fixed weights"):
        assert abs(ends[name] - np.log(P)) < 0.02 and scores[name].max() < 0.26
    assert scores["attention, H=1"].max() < 0.7
    assert most < 0.8
    one = "block, H=1, 800 steps"
    assert sizes["attention, H=1"] > sizes["block"] > sizes[one]
    assert (scores[one] > 0.99).sum() >= 5 and scores[one].mean() > 0.85
    assert scores["attention, H=2"].mean() > 0.9 and scores["attention, H=4"].min() > 0.9
    assert scores["no positions"].max() < 0.6
    assert scores["no norm"].min() > 0.9 and scores["no residual"].min() > 0.9


# %% [markdown]
# **What the code shows:** the proofs hold to the second decimal: fixed weights end at `{python} f"{ends['fixed weights']:.2f}"` nats, FFN alone at `{python} f"{ends['FFN only']:.2f}"`, and $\log 5$ is `{python} f"{np.log(P):.2f}"`.
# The worst of the two-head blocks gets `{python} f"{scores['block'].min():.0%}"`. One-head attention gets `{python} f"{scores['attention, H=1'].mean():.0%}"` on average, with more parameters, and at most `{python} f"{most:.0%}"` with other rates or 800 steps.
#
# Much of the prediction was wrong. Attention alone gets `{python} f"{scores['attention, H=2'].mean():.0%}"` on average with two heads and `{python} f"{scores['attention, H=4'].mean():.0%}"` with four: softmax weights depend on the tokens, and that *is* a nonlinearity.
# So "attention only moves" is true of fixed weights and a simplification otherwise. What the FFN adds is that *you no longer need a head for each operand*:
# the block with one head answers *every* text right in `{python} f"{(scores['block, H=1, 800 steps'] == 1).sum()}"` of `{python} f"{len(scores['block, H=1, 800 steps'])}"` seeds, which one head alone provably cannot. Its worst seed gets `{python} f"{scores['block, H=1, 800 steps'].min():.0%}"`: what a model can express, training may still miss.
# Nor did a single block lose much with its norm (`{python} f"{scores['no norm'].mean():.0%}"`) or residual (`{python} f"{scores['no residual'].mean():.0%}"`).
# They matter [with depth](../transformers/transformer-architecture.py#experiment-where-to-put-the-norm). Positions do matter (`{python} f"{scores['no positions'].mean():.0%}"`).
# All this is for a few seeds, one small task and short training.

# %% [markdown]
# ### Exercise 2 (apply): parity with two heads
#
# The bound allows two heads for two operands. Let the tokens be two bits $a, b$, to which both heads attend. Head 1 looks at ones if there are any, head 2 at zeros if there are any.
# So let each head return the softmax average of the two bits: head 1 with the scores `sharp * a` and `sharp * b`, head 2 with minus these. Return a *weighted sum of the two averages plus a constant* that is positive exactly if $a \ne b$.

# %%
def two_head_xor(a: int, b: int, sharp: float = 20.0) -> float:
    """Positive if a != b, negative otherwise; each head averages over the two bits."""
    ### BEGIN SOLUTION
    bits = np.array([a, b], dtype=float)
    total = -0.5
    for sign in (1.0, -1.0):  # head 1 prefers ones, head 2 zeros
        w = np.exp(sharp * sign * bits)
        total += sign * (w / w.sum()) @ bits  # "any one" minus "all ones"
    return float(total)
    ### END SOLUTION


# %% tags=["test"]
def test_two_head_xor():
    for a, b in itertools.product((0, 1), repeat=2):
        assert (two_head_xor(a, b) > 0) == (a != b)
    blunt = {(a, b): two_head_xor(a, b, sharp=0.0) > 0 for a in (0, 1) for b in (0, 1)}
    assert any(up != (a != b) for (a, b), up in blunt.items())  # plain averages fail


# %% [markdown]
# ## 8. Look inside
#
# **Predict:** at position $t$, which columns does attention light up?

# %%
#| label: fig-attention
#| fig-cap: Attention weights of the two heads, averaged over all texts, first seed. Rows before 3 were never trained.
#| fig-alt: From row three on, the weight lies on the columns two and three to the left of the diagonal.
model = runs["block"][0][0]
with torch.no_grad():
    model(exam[:, :T])
A = model.block.layers["attention"].A.mean(dim=0)  # (H, T, T)
fig, axes = plt.subplots(1, 2, figsize=(7, 3))
for i, ax in enumerate(axes):
    image = ax.imshow(A[i], vmin=0, vmax=1)
    ax.set(title=f"head {i}", xlabel="key", ylabel="query",
           xticks=range(0, T, 3), yticks=range(0, T, 3))
    ax.grid(False)
fig.colorbar(image, ax=axes, shrink=0.8, label="weight")
at = torch.arange(FIRST, T)
each = torch.stack([A[:, at, at - 2], A[:, at, at - 3]]).mean(dim=-1)  # (operand, head)
on_operands = each.sum(dim=0).mean().item()
for i, (two, three) in enumerate(each.T.tolist()):
    print(f"head {i}: weight {two:.2f} two places back, {three:.2f} three places back")

# %% [markdown]
# **What the code shows:** the two operands get `{python} f"{on_operands:.0%}"` of the weight. Nobody told the model where to look.
# Averaged over texts and rows, both heads split their weight between the two operands rather than taking one each.
#
# The stream is a sum, so each part can be read through the unembedding: the *logit lens* [@nostalgebraist2020interpreting], applied to parts.
# **Predict:** stop after the embedding, after attention, after the FFN. How many answers are right?

# %%
#| label: fig-lens
#| fig-cap: Left, accuracy of the stream read out after each part. Right, what each part adds to the lead of the right digit over the mean digit. Bars are means, dots three seeds.
#| fig-alt: After the embedding the read-out is at chance, after attention about a third is right; the FFN brings it to one and contributes nearly all of the lead.
@torch.no_grad()
def lens(model: Transformer) -> tuple[list[float], list[float]]:
    """Accuracy after each part, and the mean lead that each part adds."""
    h = model.embed(exam[:, :T])
    top = model.block(h)
    size = (top.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    right, leads, stream = [], [], 0
    for part in (h, *model.block.parts.values()):
        stream = stream + part
        y = exam[:, FIRST + 1 :]
        read = model.U(stream * model.norm.g)[:, FIRST:]
        right.append((read.argmax(dim=-1) == y).float().mean().item())
        z = model.U(part / size * model.norm.g)[:, FIRST:]
        lead = z.gather(2, y[..., None])[..., 0] - z.mean(dim=-1)
        leads.append(lead.mean().item())
    return right, leads


read = np.array([lens(m) for m, _ in runs["block"]])  # (seeds, 2, 3)
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8))
stages, labels = ("embedding", "attention", "FFN"), ("accuracy", "lead (logits)")
for ax, values, label in zip(axes, read.transpose(1, 0, 2), labels):
    ax.bar(stages, values.mean(axis=0), color="0.8", ec="0.4")
    ax.plot(values.T, "o", color="C0")
    ax.set(ylabel=label)

# %% [markdown]
# **What the code shows:** the embedding knows only the current digit, and `{python} f"{read[:, 0, 0].mean():.0%}"` of its answers are right. After attention `{python} f"{read[:, 0, 1].mean():.0%}"` of the answers can be read off, after the FFN `{python} f"{read[:, 0, 2].mean():.0%}"`.
# The embedding's mean lead is `{python} f"{abs(read[:, 1, 0].mean()):.2f}"` in size: by the averaging argument of Section 6 it would be exactly zero, were the size that the norm divides by the same for all texts.
# Attention has fetched the operands; they are in the stream, but most answers cannot be read off yet.
#
# ## 9. Sums it never saw
#
# Hide some of the 25 pairs $(a, b)$ from the loss: their sum is never a target. (The pair $(b, a)$ may be.)
# **Predict:** does the block know the hidden sums? A look-up table would not.

# %%
#| label: fig-hidden
#| fig-cap: Accuracy on trained and on hidden sums, with one and with five of 25 pairs hidden. Each line is one of three seeds, which also choose the pairs. Dotted, chance.
#| fig-alt: Trained sums are at or near one in both panels; accuracy on hidden sums differs widely between seeds, above all with five pairs hidden.
unseen, seen = {}, {}
for n in (1, 5):
    for seed in SEEDS:
        hide = torch.zeros(P * P, dtype=torch.bool)
        hide[np.random.default_rng(seed).permutation(P * P)[:n]] = True
        hide = hide.view(P, P)
        right = hits(train(base, seed, hide=hide)[0])
        which = hide[exam[:, 1 : T - 2], exam[:, : T - 3]]
        seen[n, seed] = right[~which].float().mean().item()
        unseen[n, seed] = right[which].float().mean().item()
fig, axes = plt.subplots(1, 2, figsize=(6, 2.8), sharey=True)
for ax, n in zip(axes, (1, 5)):
    for seed, line in zip(SEEDS, ("o-", "s--", "^:")):
        ax.plot(("trained", "hidden"), (seen[n, seed], unseen[n, seed]), line)
    ax.axhline(1 / P, color="0.4", ls=":")
    ax.set(title=f"{n} hidden", ylim=(-0.03, 1.05))
axes[0].set_ylabel("accuracy")
for n in (1, 5):
    print(f"{n} hidden:", [f"{unseen[n, s]:.2f}" for s in SEEDS])

# %% tags=["test", "experiment"]
def test_inside_and_hidden_sums():
    assert on_operands > 0.9 and each.min() > 0.25
    assert abs(read[:, 0, 0] - 1 / P).max() < 0.05
    assert read[:, 0, 1].max() < 0.6 < 0.97 < read[:, 0, 2].min()
    assert min(seen.values()) > 0.97
    assert min(unseen[5, s] for s in SEEDS) < 0.1 < max(unseen[5, s] for s in SEEDS) < 0.9
    assert min(unseen[1, s] for s in SEEDS) < 0.7


# %% [markdown]
# **What the code shows:** with five pairs hidden, accuracy on them runs from `{python} f"{min(unseen[5, s] for s in SEEDS):.0%}"` to `{python} f"{max(unseen[5, s] for s in SEEDS):.0%}"`,
# while the lowest accuracy on trained sums is `{python} f"{min(seen[5, s] for s in SEEDS):.0%}"`. With one pair hidden it runs from `{python} f"{min(unseen[1, s] for s in SEEDS):.0%}"` to `{python} f"{max(unseen[1, s] for s in SEEDS):.0%}"`.
# So a perfect score on what was trained does not tell you whether the block holds a rule or a table. On larger tables, with far longer training, small transformers did come to answer the hidden entries, some of them long after they had learned all the trained ones [@power2022grokking].
#
# ## 10. Turn the knobs
#
# **Predict** what a tenth of the learning rate does in 400 steps, and what ten times the rate does; then a quarter of the width.

# %%
#| label: fig-knobs
#| fig-cap: Accuracy after 400 steps for other learning rates and widths (the FFN is four times as wide). Lines are means, dots three seeds; dotted, chance.
#| fig-alt: Accuracy is at chance for the lowest and the highest learning rate, near one at 0.01, and rises with the width.
rates, widths = (0.001, 0.003, 0.01, 0.1), (8, 16, 32)
tries = {r: runs["block"] if r == 0.01 else  # trained already
         [train(base, s, lr=r) for s in SEEDS] for r in rates}
by_rate = np.array([[accuracy(m) for m, _ in tries[r]] for r in rates])
by_width = np.array([scores["block"] if w == base.d else
                     [accuracy(train(replace(base, d=w, d_ff=4 * w), s)[0])
                      for s in SEEDS] for w in widths])
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True)
for ax, x, y, label in ((axes[0], rates, by_rate, "learning rate"),
                        (axes[1], widths, by_width, "width")):
    ax.semilogx(x, y.mean(axis=1), "-", color="C0")
    ax.semilogx(x, y, "o", color="C0")
    ax.axhline(1 / P, color="0.4", ls=":")
    ax.minorticks_off()
    ax.set_xticks(x, [f"{v:g}" for v in x])
    ax.set(xlabel=label, ylim=(0, 1.05))
axes[0].set_ylabel("accuracy")

# %% tags=["test", "experiment"]
def test_knobs():
    assert max(by_rate[0].mean(), by_rate[-1].mean()) < 0.35
    assert by_rate[1].mean() < 0.9 and by_rate[2].min() > 0.97
    assert by_width[0].max() < 0.6 and by_width[1].mean() < 0.95


# %% [markdown]
# **What the code shows:** a tenth of the rate leaves `{python} f"{by_rate[0].mean():.0%}"`: too slow for 400 steps. Ten times it leaves `{python} f"{by_rate[-1].mean():.0%}"`.
# Even a third, 0.003, leaves `{python} f"{by_rate[1].mean():.0%}"`, with seeds from `{python} f"{by_rate[1].min():.0%}"` to `{python} f"{by_rate[1].max():.0%}"`. Sweep rates by factors of three before you blame the model.
# A width of 8 gets `{python} f"{by_width[0].mean():.0%}"` and 16 gets `{python} f"{by_width[1].mean():.0%}"`; a narrow block must keep digits, places and sums in few dimensions.
#
# ## 11. Write, and three ways to fail
#
# A trained model *writes* by appending its own best digit and reading again.

# %%
@torch.no_grad()
def generate(model: Transformer, starts: torch.Tensor) -> torch.Tensor:
    """Starts (n, 4) continued to (n, T + 1), each time by the best digit."""
    ids = starts
    while ids.shape[1] <= T:
        best = model(ids)[:, -1].argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, best], dim=1)
    return ids


def written(model: Transformer) -> float:
    """Share of generated digits that follow the true text, over all starts."""
    same = generate(model, exam[:, :4])[:, 4:] == exam[:, 4:]
    return same.float().mean().item()


broken = {
    "mask forgotten": (replace(base, causal=False), {}),
    "targets not shifted": (base, {"shift": 0}),
}
failures = {"all in order": runs["block"]}  # three seeds each
for name, (c, options) in broken.items():
    failures[name] = [train(c, s, **options) for s in SEEDS]
failures["rate of 0.1"] = tries[0.1]
writes = {name: np.array([written(m) for m, _ in r]) for name, r in failures.items()}
curves = {name: np.array([losses for _, losses in r]) for name, r in failures.items()}
early = {name: losses[:, 80:100].mean() for name, losses in curves.items()}
last = {name: losses[:, -20:].mean() for name, losses in curves.items()}
for name in failures:
    print(f"{name:19} loss {early[name]:.2f}, then {last[name]:.2f}; written right",
          *(f"{w:.0%}" for w in writes[name]))
print("the rule wants     ", *exam[194].tolist())
for name in ("mask forgotten", "targets not shifted"):
    print(f"{name:19}", *generate(failures[name][0][0], exam[194:195, :4])[0].tolist())

# %% tags=["test", "experiment"]
def test_failures():
    assert writes["all in order"].min() > 0.95
    for name in ("mask forgotten", "targets not shifted"):
        assert early[name] < early["all in order"] and writes[name].max() < 0.35
    assert last["mask forgotten"] < 0.25 and last["targets not shifted"] < 0.02
    ends_high = curves["rate of 0.1"][:, -20:].mean(axis=1)
    assert abs(ends_high - np.log(P)).max() < 0.1


# %% tags=["test"]
def test_generate_appends_the_best_digit():
    torch.manual_seed(2)
    model = Transformer(Config())
    starts = draw_texts(np.random.default_rng(6), batch=5)[:, :4]
    ids = generate(model, starts)
    assert ids.shape == (5, T + 1) and torch.equal(ids[:, :4], starts)
    with torch.no_grad():
        best = model(ids[:, :T]).argmax(dim=-1)
    assert torch.equal(ids[:, 4:], best[:, 3:])


# %% [markdown]
# | symptom | cause | fix |
# |---|---|---|
# | loss falls at once, writing is noise | no causal mask: position $t$ reads $x_{t+1}$ from the input | the gradient test of Section 5 |
# | loss near zero at once, writing repeats the last digit | targets are the inputs themselves | shift by one; print one input and target |
# | loss stays near $\log P$ | learning rate ten times too high | try thirds; compare with the loss of a blind guess |
#
# **What the code shows:** after 100 steps the first two have losses of `{python} f"{early['mask forgotten']:.2f}"` and `{python} f"{early['targets not shifted']:.2f}"`, where the right model still has `{python} f"{early['all in order']:.2f}"`. They write `{python} f"{writes['mask forgotten'].mean():.0%}"` and `{python} f"{writes['targets not shifted'].mean():.0%}"` right on average, about what a blind guess would.
# Without the mask only the last of the nine targets is not in the input, and it keeps the final loss at `{python} f"{last['mask forgotten']:.2f}"`.
# Let a model write before you trust its loss.
#
# ### Exercise 3 (apply): the two numbers every run should start with
#
# Return the loss of a blind guess among $n$ classes, and the mean loss of a model that gives its favourite class probability $p$ and shares the rest equally, when the favourite is right in a fraction $r$ of cases.

# %%
def reference_losses(n: int, p: float, r: float) -> tuple[float, float]:
    """Blind loss and the loss of the confident model, in nats."""
    ### BEGIN SOLUTION
    return float(np.log(n)), float(-r * np.log(p) - (1 - r) * np.log((1 - p) / (n - 1)))
    ### END SOLUTION


# %% tags=["test"]
def test_reference_losses():
    blind, sure = reference_losses(5, 0.2, 0.5)
    assert abs(blind - np.log(5)) < 1e-12 and abs(sure - blind) < 1e-12
    assert abs(reference_losses(3, 0.5, 1.0)[1] - np.log(2)) < 1e-12
    assert reference_losses(5, 0.99, 0.2)[1] > 2 * np.log(5)


# %% [markdown]
# ## 12. The block of 2017 and the block of today
#
# `Config` has switches for RMSNorm [@zhang2019root], SwiGLU [@shazeer2020glu] and RoPE [@su2021roformer]. A gated FFN has three matrices, so its width is two thirds.
# (Both are pre-norm here; the paper of 2017 put the norm after the addition, *post-norm*.
# This lab trains no post-norm block. You find the two compared, at several depths and with and without warm-up, in
# [transformer architecture](../transformers/transformer-architecture.py#experiment-where-to-put-the-norm).)
# **Predict** which learns faster.

# %%
#| label: fig-modern
#| fig-cap: Training loss of the block of this lab and of a block with RMSNorm, SwiGLU and RoPE, three seeds each.
#| fig-alt: The curves of today's block leave the line of a blind guess earlier than those of the older block.
today = Config(norm="rms", gated=True, positions="rope", d_ff=86)
modern = [train(today, s) for s in SEEDS]
half = {name: [next((i for i, x in enumerate(losses) if x < np.log(P) / 2), 400)
               for _, losses in r] for name, r in (("older", runs["block"]),
                                                   ("today", modern))}
fig, ax = plt.subplots()
for name, r, line in (("LayerNorm, ReLU, table", runs["block"], "-"),
                      ("RMSNorm, SwiGLU, RoPE", modern, "--")):
    for s, (_, losses) in enumerate(r):
        ax.plot(losses, line, color="C0" if line == "-" else "C1", lw=1,
                label=None if s else name)
ax.set(xlabel="step", ylabel="loss (nats)")
ax.legend()
print("steps to half the blind loss:", half, " accuracy today:",
      [round(accuracy(m), 2) for m, _ in modern])

# %% tags=["test", "experiment"]
def test_modern_block():
    assert max(half["today"]) < min(half["older"])
    assert min(accuracy(m) for m, _ in modern) > 0.97


# %% [markdown]
# **What the code shows:** half the blind loss is reached after `{python} f"{np.mean(half['today']):.0f}"` steps on average, against `{python} f"{np.mean(half['older']):.0f}"`.
# The rule speaks of relative places, which is what RoPE encodes, so the task may favour it. One task does not rank blocks for language.
#
# ### Exercise 4 (explore): which of the three changes is it?
#
# Return the mean number of steps (two seeds) to half the blind loss of a given configuration. Then try the three switches one at a time.

# %%
def steps_to_half(c: Config, seeds: tuple[int, ...] = (0, 1)) -> float:
    """Mean first step with a loss below log(P) / 2; 400 if there is none."""
    ### BEGIN SOLUTION
    firsts = []
    for seed in seeds:
        losses = train(c, seed)[1]
        firsts.append(next((i for i, x in enumerate(losses) if x < np.log(P) / 2), 400))
    return float(np.mean(firsts))
    ### END SOLUTION


# %% tags=["test", "experiment"]
def test_steps_to_half():
    assert steps_to_half(replace(base, attention=False), seeds=(0,)) == 400
    assert steps_to_half(base, seeds=(0,)) == half["older"][0]


# %% [markdown]
# ### Exercise 5 (check): a third operand
#
# Let the rule be the sum of *three* earlier digits, none of them the current one, with no shortcut: it stays uniform given the current digit and any two others. How many heads must attention alone have at least? And a block?

# %% [markdown] tags=["solution"]
# Three: with two heads every term of $D z_c$ sees the current digit and two others at most, and the sum is still uniform.
# The bound does not apply to a block: one head can average the three operands, and the FFN can compute any function of the average. Whether training finds it is another question.

# %% [markdown]
# > [!NOTE]
# > **Conventions and common confusions.**
# > `nn.TransformerEncoderLayer` is post-norm unless you say `norm_first=True`, and has dropout 0.1 unless you say 0; with a causal mask it is a decoder-only block in spite of its name.
# > Its masks say `True` for "ignore"; ours say `True` for "may look".
# > `nn.Linear` and `nn.MultiheadAttention` store transposes of our matrices.
# > "Attention is linear" is true in the values for given weights, not in the tokens.
# > "Layer" may mean one block, or one of the two parts of a block.
#
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Block | $u = h + \text{Attention}(\text{norm}(h))$, then the FFN | `h = h + f(norm(h))` | every transformer |
# | Fixed weights | loss at least $\log P$ | `fixed=True` | Section 6 |
# | One head alone | $\mathbb{E}[D(z_y - \overline{z})] = 0$ | `weighted_lead(model, ids, t)` | Section 6 |
# | Causality | gradient of output $t$ by input $j \gt t$ is 0 | `reach(c)` | before any training |
# | Logit lens | $(\text{part} / \text{size}) \odot g \, U$ | `lens(model)` | looking inside |
# | Writing | append the best token | `generate(model, starts)` | [GPT](../transformers/gpt.py) |
#
# **The essential insight:** attention fetches and the FFN computes. Fetching with fixed weights is a sum over single tokens, and such a sum is blind to an answer that no single token hints at;
# softmax weights see further, one token for each head. The FFN has no such limit, because attention has put everything it needs into one vector.
# The next lab stacks these blocks and lets them read Shakespeare: [a minimal GPT](09-minimal-gpt.py).
