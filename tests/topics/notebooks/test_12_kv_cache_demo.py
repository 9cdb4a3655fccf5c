# Generated from src/topics/notebooks/12-kv-cache-demo.py: edit that file, then run doit. digest:5093e1cf6417da9d

"""Tests of notebooks/12-kv-cache-demo: The KV cache."""

import numpy as np
import torch
from dataclasses import dataclass
from torch import nn
from torch.nn import functional as F


# src/topics/notebooks/12-kv-cache-demo.py:53
@dataclass(frozen=True)
class Config:
    """Vocabulary, width, layers, query heads, key-value heads, feed-forward width."""

    V: int = 64
    D: int = 96
    L: int = 3
    H: int = 6
    G: int = 2
    ffn: int = 256


# src/topics/notebooks/12-kv-cache-demo.py:65
def rotate(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """RoPE: x (B, heads, T, d_k) turned by angles that grow with places (B, T) or (T,)."""
    half = x.shape[-1] // 2
    angles = places[..., None] / 10_000 ** (torch.arange(half) / half)  # (B, T, half) or (T, half)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    if places.dim() == 2:
        cos, sin = cos[:, None], sin[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


# src/topics/notebooks/12-kv-cache-demo.py:76
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


# src/topics/notebooks/12-kv-cache-demo.py:96
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


# src/topics/notebooks/12-kv-cache-demo.py:120
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


# src/topics/notebooks/12-kv-cache-demo.py:155
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


# src/topics/notebooks/12-kv-cache-demo.py:204
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


# src/topics/notebooks/12-kv-cache-demo.py:234
def in_pieces(model: Decoder, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits (B, T, V) of a text that is given to the cache in pieces of these sizes."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        return torch.cat([model(piece, cache) for piece in ids.split(sizes, dim=1)], dim=1)


# src/topics/notebooks/12-kv-cache-demo.py:357
def left_padded(prompts: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids (B, T) with zeros on the left, places (B, T), and real (B, T), True = a token."""
    T = max(len(p) for p in prompts)
    ids, real = torch.zeros(len(prompts), T, dtype=torch.long), torch.zeros(len(prompts), T, dtype=torch.bool)
    for row, p in enumerate(prompts):
        ids[row, T - len(p) :], real[row, T - len(p) :] = p, True
    return ids, (real.cumsum(dim=1) - 1).clamp(min=0), real


# src/topics/notebooks/12-kv-cache-demo.py:366
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


# src/topics/notebooks/12-kv-cache-demo.py:419
def cache_bytes(L: int, G: int, d_k: int, n: int, B: int = 1, size: int = 2) -> int:
    """Bytes of a cache after n tokens of B texts."""
    return 2 * L * G * d_k * n * B * size


# src/topics/notebooks/12-kv-cache-demo.py:454
def fork(cache: Cache) -> Cache:
    """A cache that starts with the same tokens and grows on its own."""
    new = Cache(len(cache.keys))
    new.keys, new.values = list(cache.keys), list(cache.values)
    return new


# src/topics/notebooks/12-kv-cache-demo.py:461
def continuations(model: Decoder, common: torch.Tensor, ends: list[torch.Tensor]) -> tuple[list, int]:
    """Last logits of common (1, T) followed by each end (1, t); token rows computed."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        model(common, cache)
        out = [model(end, fork(cache))[:, -1] for end in ends]
    return out, common.shape[1] + sum(end.shape[1] for end in ends)


# src/topics/notebooks/12-kv-cache-demo.py:561
def kept(T: int, window: int, first: int) -> torch.Tensor:
    """(T, T): each token sees itself and `window` - 1 before it, and the first `first` tokens."""
    at = torch.arange(T)
    near = (at[:, None] - at[None, :] < window) & (at[:, None] >= at[None, :])
    return near | ((at[None, :] < first) & (at[:, None] >= at[None, :]))


# src/topics/notebooks/12-kv-cache-demo.py:619
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


# src/topics/notebooks/12-kv-cache-demo.py:648
def rounded(M: torch.Tensor, bits: int) -> torch.Tensor:
    """M (..., d_k) with each last row rounded to whole multiples of its largest / (2^(b-1) - 1)."""
    top = 2 ** (bits - 1) - 1
    step = M.abs().amax(dim=-1, keepdim=True) / top
    step = torch.where(step == 0, torch.ones_like(step), step)
    return (M / step).round() * step


# src/topics/notebooks/12-kv-cache-demo.py:656
class RoundedCache(Cache):
    """A cache whose new entries are rounded when they are stored."""

    def __init__(self, L: int, key_bits: int, value_bits: int) -> None:
        super().__init__(L)
        self.key_bits, self.value_bits = key_bits, value_bits

    def extend(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple:
        """As Cache.extend, with rounded k and v."""
        return super().extend(layer, rounded(k, self.key_bits), rounded(v, self.value_bits))


# src/topics/notebooks/12-kv-cache-demo.py:758
def users(memory: float = 80e9, weights: float = 16e9, n: int = 8192) -> int:
    """Whole texts."""
    return int((memory - weights) // cache_bytes(32, 8, 128, n))


# src/topics/notebooks/12-kv-cache-demo.py:780
def crop(cache: Cache, n: int) -> Cache:
    """A cache with the first n tokens of `cache`, which stays as it is."""
    new = Cache(len(cache.keys))
    new.keys = [M[:, :, :n] for M in cache.keys]
    new.values = [M[:, :, :n] for M in cache.values]
    return new


# src/topics/notebooks/12-kv-cache-demo.py:811
def chunked_prefill(model: Decoder, ids: torch.Tensor, c: int) -> tuple[torch.Tensor, int]:
    """Logits (B, V) behind ids (B, T), and the largest chunk."""
    cache = Cache(model.c.L)
    with torch.no_grad():
        for chunk in ids.split(c, dim=1):
            logits = model(chunk, cache)
    return logits[:, -1], min(c, ids.shape[1])


# src/topics/notebooks/12-kv-cache-demo.py:840
def reorder(cache: Cache, parents: torch.Tensor) -> Cache:
    """A cache whose row i is row parents[i] of `cache`."""
    new = Cache(len(cache.keys))
    new.keys, new.values = ([M[parents] for M in part] for part in (cache.keys, cache.values))
    return new


# src/topics/notebooks/12-kv-cache-demo.py:169
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


# src/topics/notebooks/12-kv-cache-demo.py:185
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


# src/topics/notebooks/12-kv-cache-demo.py:247
def test_cache_equals_recomputation():
    rng = np.random.default_rng(3)
    for _ in range(20):
        model, ids = random_decoder(rng)
        T = ids.shape[1]
        cuts = sorted(int(i) for i in rng.integers(0, T + 1, size=2))
        sizes = [n for n in np.diff([0, *cuts, T]).tolist() if n]
        assert torch.allclose(in_pieces(model, ids, sizes), model(ids), atol=1e-10)
        assert torch.allclose(in_pieces(model, ids, [1] * T), model(ids), atol=1e-10)


# src/topics/notebooks/12-kv-cache-demo.py:258
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


# src/topics/notebooks/12-kv-cache-demo.py:392
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


# src/topics/notebooks/12-kv-cache-demo.py:478
def test_continuations_share_the_prompt():
    rng = np.random.default_rng(6)
    for _ in range(20):
        model, ids = random_decoder(rng)
        ends = [torch.from_numpy(rng.integers(model.c.V, size=(1, int(n)))) for n in rng.integers(1, 4, size=3)]
        out, rows = continuations(model, ids[:1], ends)
        for got, end in zip(out, ends):
            assert torch.allclose(got, model(torch.cat([ids[:1], end], dim=1))[:, -1], atol=1e-10)
        assert rows == ids.shape[1] + sum(end.shape[1] for end in ends)


# src/topics/notebooks/12-kv-cache-demo.py:489
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


# src/topics/notebooks/12-kv-cache-demo.py:698
def test_window_that_forgets_equals_the_mask():
    rng = np.random.default_rng(8)
    for _ in range(20):
        model, ids = random_decoder(rng)
        w, T = int(rng.integers(1, 6)), ids.shape[1]
        got, most = decode_window(model, ids, w)
        # one layer: the mask is the same; more layers: old tokens reach on through others
        want = model(ids, mask=kept(T, w, 0)[None, None])
        assert torch.allclose(got, want, atol=1e-10) and most == min(w, T)


# src/topics/notebooks/12-kv-cache-demo.py:709
def test_kept():
    assert kept(4, 2, 0).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert kept(4, 1, 1).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    assert torch.equal(kept(5, 5, 0), torch.ones(5, 5, dtype=torch.bool).tril())


# src/topics/notebooks/12-kv-cache-demo.py:715
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


# src/topics/notebooks/12-kv-cache-demo.py:766
def test_users():
    for memory, n in ((80e9, 8192), (24e9, 4096), (17e9, 131_072)):
        one = 2 * 32 * 8 * 128 * 2 * n
        fits = users(memory=memory, n=n)
        assert fits * one <= memory - 16e9 < (fits + 1) * one


# src/topics/notebooks/12-kv-cache-demo.py:791
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


# src/topics/notebooks/12-kv-cache-demo.py:823
def test_chunked_prefill():
    rng = np.random.default_rng(11)
    for _ in range(20):
        model, ids = random_decoder(rng)
        c = int(rng.integers(1, 5))
        logits, largest = chunked_prefill(model, ids, c)
        assert torch.allclose(logits, model(ids)[:, -1], atol=1e-10)
        assert largest == min(c, ids.shape[1])


# src/topics/notebooks/12-kv-cache-demo.py:850
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
