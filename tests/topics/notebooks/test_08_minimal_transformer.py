# Generated from src/topics/notebooks/08-minimal-transformer.py: edit that file, then run doit. digest:3a084f25a8db7b4d

"""Tests of notebooks/08-minimal-transformer: A minimal transformer."""

import itertools
import numpy as np
import torch
import torch.nn.functional as F
from dataclasses import dataclass, replace
from torch import nn


# src/topics/notebooks/08-minimal-transformer.py:57
P, T = 5, 12  # digits, tokens that a model reads


# src/topics/notebooks/08-minimal-transformer.py:58
FIRST = 3  # the first position whose next digit is determined


# src/topics/notebooks/08-minimal-transformer.py:61
def continue_texts(starts: np.ndarray, length: int = T + 1) -> torch.Tensor:
    """Starts (B, 4) continued by the rule to (B, length)."""
    ids = np.zeros((len(starts), length), dtype=np.int64)
    ids[:, : FIRST + 1] = starts
    for t in range(FIRST, length - 1):
        ids[:, t + 1] = (ids[:, t - 2] + ids[:, t - 3]) % P
    return torch.from_numpy(ids)


# src/topics/notebooks/08-minimal-transformer.py:70
def draw_texts(rng: np.random.Generator, batch: int = 64) -> torch.Tensor:
    """Random texts (batch, T + 1)."""
    return continue_texts(rng.integers(P, size=(batch, FIRST + 1)))


# src/topics/notebooks/08-minimal-transformer.py:84
def best_single_lookup(ids: torch.Tensor) -> float:
    """Best accuracy for x[t + 1] from x[t] and one earlier digit, over all places."""
    best = 0.0
    for t in range(FIRST, ids.shape[1] - 1):
        for j in range(t):
            key = (ids[:, t] * P + ids[:, j]) * P + ids[:, t + 1]
            table = torch.bincount(key, minlength=P**3).view(P * P, P)
            best = max(best, (table.max(dim=1).values.sum() / len(ids)).item())
    return best


# src/topics/notebooks/08-minimal-transformer.py:146
class Linear(nn.Module):
    """x (..., d_in) to x W + b (..., d_out)."""

    def __init__(self, d_in: int, d_out: int, bias: bool = True):
        super().__init__()
        self.W = nn.Parameter(torch.randn(d_in, d_out) / d_in**0.5)
        self.b = nn.Parameter(torch.zeros(d_out)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.W if self.b is None else x @ self.W + self.b


# src/topics/notebooks/08-minimal-transformer.py:158
def rotate(x: torch.Tensor, base: float = 10000.0) -> torch.Tensor:
    """RoPE: pairs of x (..., T, d_k), half-split, turned by the position."""
    half = x.shape[-1] // 2
    speed = base ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * speed
    cos, sin, a, b = angle.cos(), angle.sin(), x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


# src/topics/notebooks/08-minimal-transformer.py:167
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


# src/topics/notebooks/08-minimal-transformer.py:214
def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Our weights into the library's module; needs H d_k = d."""
    with torch.no_grad():
        parts = (ours.q, ours.k, ours.v)
        theirs.in_proj_weight.copy_(torch.cat([p.W.T for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.b for p in parts]))
        theirs.out_proj.weight.copy_(ours.o.W.T)
        theirs.out_proj.bias.copy_(ours.o.b)


# src/topics/notebooks/08-minimal-transformer.py:224
def randomise(module: nn.Module, seed: int) -> None:
    """Random values for all parameters, so that no bias hides at zero."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=p.dtype) * 0.5)


# src/topics/notebooks/08-minimal-transformer.py:232
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


# src/topics/notebooks/08-minimal-transformer.py:291
class RMSNorm(nn.Module):
    """Each row of x (..., d) over its root mean square, times gains."""

    def __init__(self, d: int, eps: float = 1e-5):
        super().__init__()
        self.g, self.eps = nn.Parameter(torch.ones(d)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(dim=-1, keepdim=True) + self.eps).sqrt() * self.g


# src/topics/notebooks/08-minimal-transformer.py:302
class LayerNorm(RMSNorm):
    """The same after subtracting the mean, plus shifts."""

    def __init__(self, d: int, eps: float = 1e-5):
        super().__init__(d, eps)
        self.b = nn.Parameter(torch.zeros(d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(dim=-1, keepdim=True)) + self.b


# src/topics/notebooks/08-minimal-transformer.py:313
class FFN(nn.Module):
    """ReLU network for each row, x (..., d) to (..., d)."""

    def __init__(self, d: int, d_ff: int):
        super().__init__()
        self.up, self.down = Linear(d, d_ff), Linear(d_ff, d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(x)))


# src/topics/notebooks/08-minimal-transformer.py:324
class SwiGLU(nn.Module):
    """Gated network for each row, x (..., d) to (..., d), no biases."""

    def __init__(self, d: int, d_ff: int):
        super().__init__()
        self.gate, self.up = Linear(d, d_ff, False), Linear(d, d_ff, False)
        self.down = Linear(d_ff, d, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


# src/topics/notebooks/08-minimal-transformer.py:336
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


# src/topics/notebooks/08-minimal-transformer.py:355
def make_norm(kind: str, d: int) -> nn.Module:
    """The norm of that name."""
    kinds = {"layer": LayerNorm, "rms": RMSNorm}
    return nn.Identity() if kind == "none" else kinds[kind](d)


# src/topics/notebooks/08-minimal-transformer.py:361
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


# src/topics/notebooks/08-minimal-transformer.py:417
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


# src/topics/notebooks/08-minimal-transformer.py:479
def block_parameters(d: int, d_ff: int) -> int:
    """Parameters of attention, FFN and two LayerNorms, biases included."""
    return 4 * (d * d + d) + (d * d_ff + d_ff) + (d_ff * d + d) + 2 * 2 * d


# src/topics/notebooks/08-minimal-transformer.py:501
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


# src/topics/notebooks/08-minimal-transformer.py:650
@torch.no_grad()
def weighted_lead(model: Transformer, ids: torch.Tensor, t: int) -> torch.Tensor:
    """D (z_y - mean z) of each text at position t, for one head and no FFN, (n,)."""
    att = model.block.layers["attention"]
    h = model.embed(ids[:, : t + 1])
    s = att.scores(model.block.norms["attention"](h))[:, 0, t]  # (n, t + 1)
    z = model.U(model.block(h)[:, t])  # the last norm would only rescale
    right = z.gather(1, ids[:, t + 1 :][:, :1])[:, 0]
    return s.exp().sum(dim=-1) * (right - z.mean(dim=-1))


# src/topics/notebooks/08-minimal-transformer.py:817
def two_head_xor(a: int, b: int, sharp: float = 20.0) -> float:
    """Positive if a != b, negative otherwise; each head averages over the two bits."""
    bits = np.array([a, b], dtype=float)
    total = -0.5
    for sign in (1.0, -1.0):  # head 1 prefers ones, head 2 zeros
        w = np.exp(sharp * sign * bits)
        total += sign * (w / w.sum()) @ bits  # "any one" minus "all ones"
    return float(total)


# src/topics/notebooks/08-minimal-transformer.py:992
@torch.no_grad()
def generate(model: Transformer, starts: torch.Tensor) -> torch.Tensor:
    """Starts (n, 4) continued to (n, T + 1), each time by the best digit."""
    ids = starts
    while ids.shape[1] <= T:
        best = model(ids)[:, -1].argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, best], dim=1)
    return ids


# src/topics/notebooks/08-minimal-transformer.py:1065
def reference_losses(n: int, p: float, r: float) -> tuple[float, float]:
    """Blind loss and the loss of the confident model, in nats."""
    return float(np.log(n)), float(-r * np.log(p) - (1 - r) * np.log((1 - p) / (n - 1)))


# src/topics/notebooks/08-minimal-transformer.py:104
def test_texts_follow_the_rule():
    ids = draw_texts(np.random.default_rng(0), batch=20)
    assert ids.shape == (20, T + 1) and 0 <= ids.min() and ids.max() < P
    for text in ids.tolist():
        for t in range(4, T + 1):
            assert text[t] == (text[t - 3] + text[t - 4]) % 5


# src/topics/notebooks/08-minimal-transformer.py:112
def test_single_lookup():
    texts = continue_texts(np.array(list(itertools.product(range(P), repeat=4))))
    assert abs(best_single_lookup(texts) - 0.2) < 1e-6
    copied = texts.clone()
    copied[:, 5] = copied[:, 0]  # now one look-up is enough somewhere
    assert best_single_lookup(copied) == 1


# src/topics/notebooks/08-minimal-transformer.py:254
def test_attention_matches_library():
    rng = np.random.default_rng(0)
    for seed in range(20):
        B, t, H, d_k = (int(n) for n in rng.integers(1, 6, size=4))
        assert attention_gap(B, t, H, d_k, bool(seed % 2), seed) < 1e-11


# src/topics/notebooks/08-minimal-transformer.py:261
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


# src/topics/notebooks/08-minimal-transformer.py:273
def test_rope_sees_offsets_only():
    q, k = torch.randn(2, 4, dtype=torch.float64)
    Q, K = rotate(q.repeat(9, 1)), rotate(k.repeat(9, 1))
    s = Q @ K.T
    for shift in range(1, 5):
        assert torch.allclose(s[shift:, shift:], s[:-shift, :-shift])
    assert torch.allclose(Q.norm(dim=-1), q.norm().expand(9))
    assert torch.allclose(Q[1, 0], q[0] * np.cos(1) - q[2] * np.sin(1))
    assert torch.allclose(Q[2, 1], q[1] * np.cos(0.02) - q[3] * np.sin(0.02))


# src/topics/notebooks/08-minimal-transformer.py:448
def test_block_matches_library():
    rng = np.random.default_rng(1)
    for seed in range(20):
        B, t, H, d_k, d_ff = (int(n) for n in rng.integers(1, 6, size=5))
        # width 1 gives LayerNorm nothing to compare: use 2 at least
        assert block_gap(B, t, H, d_k + 1, d_ff, seed) < 1e-9


# src/topics/notebooks/08-minimal-transformer.py:456
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


# src/topics/notebooks/08-minimal-transformer.py:487
def test_block_parameters():
    assert block_parameters(768, 3072) == 7_087_872
    for H, d_k, d_ff in ((1, 2, 3), (3, 4, 5), (2, 6, 40)):
        block = Block(Config(d=H * d_k, H=H, d_k=d_k, d_ff=d_ff))
        found = sum(p.numel() for p in block.parameters())
        assert block_parameters(H * d_k, d_ff) == found


# src/topics/notebooks/08-minimal-transformer.py:557
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


# src/topics/notebooks/08-minimal-transformer.py:573
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


# src/topics/notebooks/08-minimal-transformer.py:589
def test_model_without_order():
    texts = draw_texts(np.random.default_rng(4), batch=4)[:, :T]
    order = torch.tensor([3, 0, 7, 1, 2, 11, 5, 4, 10, 9, 8, 6])
    model = Transformer(Config(causal=False, positions="none"))
    assert torch.allclose(model(texts[:, order]), model(texts)[:, order], atol=1e-5)


# src/topics/notebooks/08-minimal-transformer.py:596
def test_parts_add_up():
    texts = draw_texts(np.random.default_rng(5), batch=3)[:, :T]
    model = Transformer(Config())
    h = model.embed(texts)
    assert torch.allclose(model.block(h), h + sum(model.block.parts.values()), atol=1e-5)
    alone = Transformer(Config(residual=False))
    out = alone.block(alone.embed(texts))
    assert torch.equal(out, alone.block.parts["FFN"])


# src/topics/notebooks/08-minimal-transformer.py:668
def test_one_head_identity():
    texts = continue_texts(np.array(list(itertools.product(range(P), repeat=4))))
    for seed in range(20):
        torch.manual_seed(seed)
        one = Transformer(Config(d=5 + seed, H=1, d_k=3, ffn=False)).double()
        lead = weighted_lead(one, texts, t=FIRST + seed % 8)
        assert abs(lead.mean()) < 1e-9 * lead.abs().max()
        y = texts[:, FIRST + seed % 8 + 1]
        assert (one(texts[:, :T])[:, FIRST + seed % 8].argmax(-1) != y).any()


# src/topics/notebooks/08-minimal-transformer.py:830
def test_two_head_xor():
    for a, b in itertools.product((0, 1), repeat=2):
        assert (two_head_xor(a, b) > 0) == (a != b)
    blunt = {(a, b): two_head_xor(a, b, sharp=0.0) > 0 for a in (0, 1) for b in (0, 1)}
    assert any(up != (a != b) for (a, b), up in blunt.items())  # plain averages fail


# src/topics/notebooks/08-minimal-transformer.py:1038
def test_generate_appends_the_best_digit():
    torch.manual_seed(2)
    model = Transformer(Config())
    starts = draw_texts(np.random.default_rng(6), batch=5)[:, :4]
    ids = generate(model, starts)
    assert ids.shape == (5, T + 1) and torch.equal(ids[:, :4], starts)
    with torch.no_grad():
        best = model(ids[:, :T]).argmax(dim=-1)
    assert torch.equal(ids[:, 4:], best[:, 3:])


# src/topics/notebooks/08-minimal-transformer.py:1073
def test_reference_losses():
    blind, sure = reference_losses(5, 0.2, 0.5)
    assert abs(blind - np.log(5)) < 1e-12 and abs(sure - blind) < 1e-12
    assert abs(reference_losses(3, 0.5, 1.0)[1] - np.log(2)) < 1e-12
    assert reference_losses(5, 0.99, 0.2)[1] > 2 * np.log(5)
