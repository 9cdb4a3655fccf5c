# Generated from src/topics/notebooks/12-kv-cache-demo.py: edit that file, then run doit. digest:72334c7066b23d7b

"""Tests of notebooks/12-kv-cache-demo: The KV cache."""

import numpy as np
import torch
from dataclasses import dataclass
from torch import nn
from torch.nn import functional as F


# src/topics/notebooks/12-kv-cache-demo.py:62
@dataclass(frozen=True)
class Config:
    """Vocabulary, width, layers, query heads, key-value heads, feed-forward width."""

    V: int = 64
    D: int = 96
    L: int = 3
    H: int = 6
    G: int = 2
    ffn: int = 256


# src/topics/notebooks/12-kv-cache-demo.py:74
def rotate(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """RoPE: x (B, heads, T, d_k) turned by angles by places (B, T) or (T,)."""
    half = x.shape[-1] // 2
    angles = places[..., None] / 10_000 ** (torch.arange(half) / half)  # (…, T, half)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    if places.dim() == 2:
        cos, sin = cos[:, None], sin[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


# src/topics/notebooks/12-kv-cache-demo.py:85
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


# src/topics/notebooks/12-kv-cache-demo.py:105
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


# src/topics/notebooks/12-kv-cache-demo.py:131
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


# src/topics/notebooks/12-kv-cache-demo.py:170
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


# src/topics/notebooks/12-kv-cache-demo.py:250
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


# src/topics/notebooks/12-kv-cache-demo.py:286
def in_pieces(model: Decoder, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits (B, T, V) of a text that is read in pieces of these sizes."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        out = [model(piece, cache) for piece in ids.split(sizes, dim=1)]
    return torch.cat(out, dim=1)


# src/topics/notebooks/12-kv-cache-demo.py:436
def left_padded(prompts: list[torch.Tensor]) -> tuple:
    """ids (B, T) with zeros on the left, places (B, T), real (B, T), True = a token."""
    B, T = len(prompts), max(len(p) for p in prompts)
    ids, real = torch.zeros(B, T, dtype=torch.long), torch.zeros(B, T, dtype=torch.bool)
    for row, p in enumerate(prompts):
        ids[row, T - len(p) :], real[row, T - len(p) :] = p, True
    return ids, (real.cumsum(dim=1) - 1).clamp(min=0), real


# src/topics/notebooks/12-kv-cache-demo.py:445
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


# src/topics/notebooks/12-kv-cache-demo.py:464
def gaps_to_alone(model: Decoder, prompts: list[torch.Tensor], n: int,
                  mixed: bool) -> list[float]:
    """For each row, the largest difference of its logits to those it has alone."""
    gaps = []
    for p, tokens, logits in zip(prompts, *generate_batch(model, prompts, n, mixed)):
        with torch.no_grad():
            alone = model(torch.cat([p, tokens[:-1]])[None])[0, len(p) - 1 :]
        gaps.append(float((logits - alone).abs().max()))
    return gaps


# src/topics/notebooks/12-kv-cache-demo.py:516
def cache_bytes(L: int, G: int, d_k: int, n: int, B: int = 1, size: int = 2) -> int:
    """Bytes of a cache after n tokens of each of B texts."""
    return 2 * L * G * d_k * n * B * size


# src/topics/notebooks/12-kv-cache-demo.py:556
def fork(cache: Cache) -> Cache:
    """A cache that starts with the same tokens and grows on its own."""
    new = Cache(len(cache.keys))
    new.keys, new.values = list(cache.keys), list(cache.values)
    return new


# src/topics/notebooks/12-kv-cache-demo.py:563
def continuations(model: Decoder, common: torch.Tensor, ends: list[torch.Tensor],
                  copied: bool = True) -> tuple[list, int]:
    """Last logits of common (1, T) followed by each end (1, t); rows computed."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        model(common, cache)
        out = [model(end, fork(cache) if copied else cache)[:, -1] for end in ends]
    return out, common.shape[1] + sum(end.shape[1] for end in ends)


# src/topics/notebooks/12-kv-cache-demo.py:676
def kept(T: int, window: int, first: int) -> torch.Tensor:
    """(T, T): each sees itself, `window` - 1 before it and the first `first` tokens."""
    query, key = torch.arange(T)[:, None], torch.arange(T)[None, :]
    return (key <= query) & ((query - key < window) | (key < first))


# src/topics/notebooks/12-kv-cache-demo.py:718
def drawn(T: int, window: int, extra: int, seed: int = 0) -> torch.Tensor:
    """(T, T): itself, `window` - 1 before it, and up to `extra` random older tokens."""
    rng, keep = torch.Generator().manual_seed(seed), kept(T, window, 0)
    for t in range(window, T):
        keep[t, torch.randperm(t - window + 1, generator=rng)[:extra]] = True
    return keep


# src/topics/notebooks/12-kv-cache-demo.py:799
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


# src/topics/notebooks/12-kv-cache-demo.py:836
def rounded(M: torch.Tensor, bits: int) -> torch.Tensor:
    """M (..., d_k), each row in whole steps of its largest / (2^(bits - 1) - 1)."""
    top = 2 ** (bits - 1) - 1
    step = M.abs().amax(dim=-1, keepdim=True) / top
    step = torch.where(step == 0, torch.ones_like(step), step)
    return (M / step).round() * step


# src/topics/notebooks/12-kv-cache-demo.py:844
class RoundedCache(Cache):
    """A cache whose new entries are rounded when they are stored."""

    def __init__(self, L: int, key_bits: int, value_bits: int) -> None:
        super().__init__(L)
        self.key_bits, self.value_bits = key_bits, value_bits

    def extend(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple:
        """As Cache.extend, with rounded k and v."""
        k, v = rounded(k, self.key_bits), rounded(v, self.value_bits)
        return super().extend(layer, k, v)


# src/topics/notebooks/12-kv-cache-demo.py:981
def users(memory: float = 80e9, weights: float = 16e9, n: int = 8192) -> int:
    """Whole texts."""
    return int((memory - weights) // cache_bytes(32, 8, 128, n))


# src/topics/notebooks/12-kv-cache-demo.py:1004
def crop(cache: Cache, n: int) -> Cache:
    """A cache with the first n tokens of `cache`, which stays as it is."""
    new = Cache(len(cache.keys))
    new.keys = [M[:, :, :n] for M in cache.keys]
    new.values = [M[:, :, :n] for M in cache.values]
    return new


# src/topics/notebooks/12-kv-cache-demo.py:1035
def chunked_prefill(model: Decoder, ids: torch.Tensor,
                    c: int) -> tuple[torch.Tensor, int]:
    """Logits (B, V) behind ids (B, T), and the largest chunk."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        for chunk in ids.split(c, dim=1):
            logits = model(chunk, cache)
    return logits[:, -1], min(c, ids.shape[1])


# src/topics/notebooks/12-kv-cache-demo.py:1068
def reorder(cache: Cache, parents: torch.Tensor) -> Cache:
    """A cache whose row i is row parents[i] of `cache`."""
    new = Cache(len(cache.keys))
    new.keys = [M[parents] for M in cache.keys]
    new.values = [M[parents] for M in cache.values]
    return new


# src/topics/notebooks/12-kv-cache-demo.py:184
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


# src/topics/notebooks/12-kv-cache-demo.py:201
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


# src/topics/notebooks/12-kv-cache-demo.py:216
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


# src/topics/notebooks/12-kv-cache-demo.py:305
def test_cache_equals_recomputation():
    rng = np.random.default_rng(3)
    for _ in range(20):
        model, ids = random_decoder(rng)
        T = ids.shape[1]
        cuts = sorted(int(i) for i in rng.integers(0, T + 1, size=2))
        sizes = [n for n in np.diff([0, *cuts, T]).tolist() if n]
        assert torch.allclose(in_pieces(model, ids, sizes), model(ids), atol=1e-10)
        assert torch.allclose(in_pieces(model, ids, [1] * T), model(ids), atol=1e-10)


# src/topics/notebooks/12-kv-cache-demo.py:316
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


# src/topics/notebooks/12-kv-cache-demo.py:485
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


# src/topics/notebooks/12-kv-cache-demo.py:587
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


# src/topics/notebooks/12-kv-cache-demo.py:600
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


# src/topics/notebooks/12-kv-cache-demo.py:890
def test_window_that_forgets_equals_the_mask():
    rng = np.random.default_rng(8)
    for _ in range(20):
        model, ids = random_decoder(rng)
        w, T = int(rng.integers(1, 6)), ids.shape[1]
        got, most = decode_window(model, ids, w)
        # the mask acts in every layer, and so does the dropping
        want = model(ids, mask=kept(T, w, 0)[None, None])
        assert torch.allclose(got, want, atol=1e-10) and most == min(w, T)


# src/topics/notebooks/12-kv-cache-demo.py:901
def test_kept():
    assert kept(4, 2, 0).int().tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert kept(4, 1, 1).int().tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    assert torch.equal(kept(5, 5, 0), torch.ones(5, 5, dtype=torch.bool).tril())
    assert torch.equal(kept(9, 4, 4).sum(dim=1), torch.arange(1, 10).clamp(max=8))


# src/topics/notebooks/12-kv-cache-demo.py:910
def test_drawn():
    for seed in range(20):
        keep = drawn(12, 3, 2, seed)
        assert torch.equal(keep.sum(dim=1), torch.arange(1, 13).clamp(max=5))
        assert (keep >= kept(12, 3, 0)).all() and not keep.triu(1).any()
    hits = sum(drawn(12, 3, 2, seed)[11].int() for seed in range(200))
    assert hits[:9].min() > 20  # each older token gets its turn


# src/topics/notebooks/12-kv-cache-demo.py:919
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


# src/topics/notebooks/12-kv-cache-demo.py:989
def test_users():
    for memory, n in ((80e9, 8192), (24e9, 4096), (17e9, 131_072)):
        one = 2 * 32 * 8 * 128 * 2 * n
        fits = users(memory=memory, n=n)
        assert fits * one <= memory - 16e9 < (fits + 1) * one
    assert users() == 59 and users(weights=0) == 74


# src/topics/notebooks/12-kv-cache-demo.py:1015
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


# src/topics/notebooks/12-kv-cache-demo.py:1048
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


# src/topics/notebooks/12-kv-cache-demo.py:1079
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
