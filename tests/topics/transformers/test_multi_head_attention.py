# Generated from src/topics/transformers/multi-head-attention.py: edit that file, then run doit. digest:cf6187117f75b377

"""Tests of transformers/multi-head-attention: Multi-head attention."""

import numpy as np


# src/topics/transformers/multi-head-attention.py:53
def readout_error(A: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squared errors (2,) of reading two facts off heads with weights A (heads, 2)."""
    facts = rng.normal(size=(4000, 2))
    seen = facts @ A.T  # (4000, heads)
    decoder, *_ = np.linalg.lstsq(seen, facts)
    return ((facts - seen @ decoder) ** 2).mean(axis=0)


# src/topics/transformers/multi-head-attention.py:155
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/transformers/multi-head-attention.py:166
def linear(x: np.ndarray, P: dict, name: str) -> np.ndarray:
    """x W + b; the bias is optional."""
    return x @ P["W_" + name] + P.get("b_" + name, 0.0)


# src/topics/transformers/multi-head-attention.py:171
def split(z: np.ndarray, n: int) -> np.ndarray:
    """Cut columns into heads: (B, T, n * width) to (B, n, T, width)."""
    B, T, columns = z.shape
    return z.reshape(B, T, n, columns // n).swapaxes(1, 2)


# src/topics/transformers/multi-head-attention.py:177
def merge(z: np.ndarray) -> np.ndarray:
    """Put heads side by side: (B, n, T, width) to (B, T, n * width)."""
    B, n, T, width = z.shape
    return z.swapaxes(1, 2).reshape(B, T, n * width)


# src/topics/transformers/multi-head-attention.py:183
def multi_head(
    x: np.ndarray,
    source: np.ndarray,
    P: dict,
    heads: int,
    kv_heads: int,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """x (B, T, d) reads source (B, S, d); mask (T, S) or (B, T, S), True = may look."""
    Q = split(linear(x, P, "q"), heads)
    K = split(linear(source, P, "k"), kv_heads)[:, :, None]  # (B, G, 1, S, d_k)
    V = split(linear(source, P, "v"), kv_heads)[:, :, None]
    B, _, T, d_k = Q.shape
    Q = Q.reshape(B, kv_heads, heads // kv_heads, T, d_k)  # neighbours share a key
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(d_k)
    A = masked_softmax(S, None if mask is None else mask[..., None, None, :, :])
    O = merge((A @ V).reshape(B, heads, T, V.shape[-1]))  # (B, T, H d_v)
    return linear(O, P, "o"), (x, source, Q, K, V, A, O)


# src/topics/transformers/multi-head-attention.py:223
def random_layer(rng, heads, kv_heads, biases=False, d_source=None):
    """x, source, weights; all sizes different, also d_k and d_v."""
    B, T, S, d_k, d_v = (int(n) for n in rng.permutation(np.arange(1, 8))[:5])
    d, d_source = 9, d_source or 9
    shapes = {"q": (d, heads * d_k), "k": (d_source, kv_heads * d_k),
              "v": (d_source, kv_heads * d_v), "o": (heads * d_v, d)}
    P = {"W_" + n: rng.normal(size=s) / np.sqrt(s[0]) for n, s in shapes.items()}
    if biases:
        P |= {"b_" + n: rng.normal(size=s[1]) for n, s in shapes.items()}
    return rng.normal(size=(B, T, d)), rng.normal(size=(B, S, d_source)), P


# src/topics/transformers/multi-head-attention.py:280
def rows(z: np.ndarray) -> np.ndarray:
    """(B, T, width) to (B T, width)."""
    return z.reshape(-1, z.shape[-1])


# src/topics/transformers/multi-head-attention.py:285
def multi_head_backward(dy: np.ndarray, P: dict, saved: tuple) -> dict:
    """From dy (B, T, d): gradients of x, source, weights and biases."""
    x, source, Q, K, V, A, O = saved
    B, G, share, T, d_k = Q.shape
    dO = split(dy @ P["W_o"].T, G * share).reshape(B, G, share, T, V.shape[-1])
    dA = dO @ V.swapaxes(-1, -2)
    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True)) / np.sqrt(d_k)
    dQ = merge((dS @ K).reshape(B, G * share, T, d_k))
    dK = merge((dS.swapaxes(-1, -2) @ Q).sum(axis=2))  # over the heads that share
    dV = merge((A.swapaxes(-1, -2) @ dO).sum(axis=2))
    grads = {"x": dQ @ P["W_q"].T, "source": dK @ P["W_k"].T + dV @ P["W_v"].T}
    pairs = ("q", x, dQ), ("k", source, dK), ("v", source, dV), ("o", O, dy)
    for name, z, dz in pairs:
        grads["W_" + name] = rows(z).T @ rows(dz)
        grads["b_" + name] = rows(dz).sum(axis=0)
    return grads


# src/topics/transformers/multi-head-attention.py:304
def check_against_torch_module(rng, heads, T, S, biases, cross, mask):
    """Mapped weights: nn.MultiheadAttention, forward and backward."""
    import torch

    d_k, B = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    d, d_source = heads * d_k, heads * d_k + (2 if cross else 0)
    P = {"W_" + n: rng.normal(size=(d_source if n in "kv" else d, d)) for n in "qkvo"}
    if biases:
        P |= {"b_" + n: rng.normal(size=d) for n in "qkvo"}
    x, source, dy = (rng.normal(size=s) for s in ((B, T, d), (B, S, d_source), (B, T, d)))
    module = torch.nn.MultiheadAttention(
        d, heads, bias=biases, kdim=d_source, vdim=d_source, batch_first=True
    ).double()
    state = {"out_proj.weight": P["W_o"].T}
    if cross:
        state |= {f"{n}_proj_weight": P["W_" + n].T for n in "qkv"}
    else:
        state["in_proj_weight"] = np.concatenate([P["W_" + n].T for n in "qkv"])
    if biases:
        state["in_proj_bias"] = np.concatenate([P["b_" + n] for n in "qkv"])
        state["out_proj.bias"] = P["b_o"]
    module.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in state.items()})
    tx, ts = (torch.from_numpy(z).requires_grad_() for z in (x, source))
    blocked = None if mask is None else torch.from_numpy(~mask)  # True = may not
    want, weights = module(tx, ts, ts, attn_mask=blocked, average_attn_weights=False)
    want.backward(torch.from_numpy(dy))
    Y, saved = multi_head(x, source, P, heads, heads, mask)
    grads = multi_head_backward(dy, P, saved)
    assert np.allclose(Y, want.detach().numpy(), atol=1e-10)
    A = saved[5].reshape(B, heads, T, S)
    assert np.allclose(A, weights.detach().numpy(), atol=1e-12)
    theirs = {n: p.grad.numpy() for n, p in module.named_parameters()}
    pairs = [(grads["x"], tx.grad), (grads["source"], ts.grad),
             (grads["W_o"].T, theirs["out_proj.weight"])]
    for i, n in enumerate("qkv"):
        stacked = theirs[f"{n}_proj_weight"] if cross else \
            theirs["in_proj_weight"][i * d : (i + 1) * d]
        pairs.append((grads["W_" + n].T, stacked))
        if biases:
            pairs.append((grads["b_" + n], theirs["in_proj_bias"][i * d : (i + 1) * d]))
    if biases:
        pairs.append((grads["b_o"], theirs["out_proj.bias"]))
    for got, wanted in pairs:
        assert got.shape == tuple(wanted.shape)
        assert np.allclose(got, np.asarray(wanted), atol=1e-8)


# src/topics/transformers/multi-head-attention.py:368
def check_against_sdpa(rng, heads, kv_heads, mask_kind, size=1.0):
    """Grouped heads against the fused function and autograd; d_v is not d_k."""
    import torch

    x, source, P = random_layer(rng, heads, kv_heads, biases=True, d_source=5)
    x, (B, T, _), S = size * x, x.shape, source.shape[1]
    mask = None if mask_kind == "none" else rng.random((B, T, S)) < 0.6
    if mask_kind == "blind":
        mask[0, 0] = False  # a query that may look at nothing
    dy = rng.normal(size=x.shape)
    Y, saved = multi_head(x, source, P, heads, kv_heads, mask)
    grads = multi_head_backward(dy, P, saved)
    t = {n: torch.from_numpy(a.copy()).requires_grad_()
         for n, a in {"x": x, "source": source, **P}.items()}

    def project(z, n, count):
        z = t[z] @ t["W_" + n] + t["b_" + n]
        return z.unflatten(-1, (count, -1)).transpose(1, 2)

    q = project("x", "q", heads)
    k, v = (project("source", n, kv_heads) for n in "kv")
    O = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, enable_gqa=True,
        attn_mask=None if mask is None else torch.from_numpy(mask)[:, None],
    )
    want = O.transpose(1, 2).flatten(2) @ t["W_o"] + t["b_o"]
    want.backward(torch.from_numpy(dy))
    assert np.allclose(Y, want.detach().numpy(), atol=1e-10)
    for name, leaf in t.items():
        assert grads[name].shape == tuple(leaf.shape)
        assert np.allclose(grads[name], leaf.grad.numpy(), atol=1e-8)


# src/topics/transformers/multi-head-attention.py:587
def turn(x: np.ndarray, base: float = 10000.0) -> np.ndarray:
    """RoPE, half-split pairs, on x (..., T, d_r) at positions 0 to T - 1."""
    half = x.shape[-1] // 2
    angle = np.outer(np.arange(x.shape[-2]), base ** (-np.arange(half) / half))
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


# src/topics/transformers/multi-head-attention.py:596
def mla(x: np.ndarray, P: dict, heads: int, mask: np.ndarray | None = None,
        absorbed: bool = True) -> np.ndarray:
    """Latent attention, x (B, T, d) to (B, T, d), in one of two equal forms."""
    c = (x @ P["W_dkv"])[:, None]  # (B, 1, T, d_c)  } all that is cached
    k_r = turn(x @ P["W_kr"])[:, None]  # (B, 1, T, d_r) }
    q, q_r = split(x @ P["W_q"], heads), turn(split(x @ P["W_qr"], heads))
    up_k = split(P["W_uk"][None], heads)  # (1, H, d_c, d_k)
    up_v = split(P["W_uv"][None], heads)  # (1, H, d_c, d_v)
    if absorbed:
        S = (q @ up_k.swapaxes(-1, -2)) @ c.swapaxes(-1, -2)
    else:
        S = q @ (c @ up_k).swapaxes(-1, -2)
    S = (S + q_r @ k_r.swapaxes(-1, -2)) / np.sqrt(q.shape[-1] + q_r.shape[-1])
    A = masked_softmax(S, mask)
    O = (A @ c) @ up_v if absorbed else A @ (c @ up_v)
    return merge(O) @ P["W_o"]


# src/topics/transformers/multi-head-attention.py:614
def random_mla(rng: np.random.Generator, heads: int, d: int, d_c: int, d_k: int,
               d_r: int, d_v: int) -> dict:
    """Weights for `mla`."""
    sizes = {"dkv": (d, d_c), "kr": (d, d_r), "q": (d, heads * d_k),
             "qr": (d, heads * d_r), "uk": (d_c, heads * d_k), "uv": (d_c, heads * d_v),
             "o": (heads * d_v, d)}
    return {"W_" + n: rng.normal(size=s) / np.sqrt(s[0]) for n, s in sizes.items()}


# src/topics/transformers/multi-head-attention.py:640
def cache_numbers(layers: int, kv_heads: int = 0, d_k: int = 0, latent: int = 0) -> int:
    """Numbers that one token leaves in the cache."""
    return layers * (2 * kv_heads * d_k + latent)


# src/topics/transformers/multi-head-attention.py:797
class Slow:
    """Arrays in slow memory; counts the numbers that cross."""

    def __init__(self, **arrays: np.ndarray):
        self.arrays, self.moved = arrays, 0

    def load(self, name: str, part: slice | tuple = slice(None)) -> np.ndarray:
        self.moved += self.arrays[name][part].size
        return self.arrays[name][part].copy()

    def store(self, name: str, value: np.ndarray, part: slice = slice(None)) -> None:
        self.moved += value.size
        self.arrays[name][part] = value


# src/topics/transformers/multi-head-attention.py:812
def tiles(n: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


# src/topics/transformers/multi-head-attention.py:816
def tile_scores(slow: Slow, q: np.ndarray, k: np.ndarray, i: slice, j: slice,
                causal: bool) -> np.ndarray:
    """Scores of one tile, -inf where the query may not look (mask False, or future)."""
    s = q @ k.T / np.sqrt(k.shape[-1])
    if "mask" in slow.arrays:
        s = np.where(slow.load("mask", (i, j)), s, -np.inf)
    future = np.arange(i.start, i.stop)[:, None] < np.arange(j.start, j.stop)
    return np.where(future, -np.inf, s) if causal else s


# src/topics/transformers/multi-head-attention.py:826
def finite(z: np.ndarray) -> np.ndarray:
    """0 in place of -inf, so that -inf minus it stays -inf."""
    return np.where(z == -np.inf, 0.0, z)


# src/topics/transformers/multi-head-attention.py:831
def flash_forward(slow: Slow, size: int, causal: bool = False) -> None:
    """Reads Q (n, d_k), K (m, d_k), V (m, d_v), perhaps mask (n, m); writes O, lam."""
    n, m = len(slow.arrays["Q"]), len(slow.arrays["K"])
    d_v = slow.arrays["V"].shape[1]
    slow.arrays |= {"O": np.empty((n, d_v)), "lam": np.empty(n)}
    for i in tiles(n, size):
        q = slow.load("Q", i)
        mu, ell, u = np.full(len(q), -np.inf), np.zeros(len(q)), np.zeros((len(q), d_v))
        for j in tiles(m, size):
            if causal and j.start >= i.stop:
                break  # all future
            s = tile_scores(slow, q, slow.load("K", j), i, j, causal)
            new = np.maximum(mu, s.max(axis=1))
            p, shrink = np.exp(s - finite(new)[:, None]), np.exp(mu - finite(new))
            ell = ell * shrink + p.sum(axis=1)
            u = u * shrink[:, None] + p @ slow.load("V", j)
            mu = new
        total = np.where(ell == 0, 1.0, ell)  # 0: a query that saw no key
        slow.store("O", u / total[:, None], i)
        slow.store("lam", mu + np.log(total), i)


# src/topics/transformers/multi-head-attention.py:853
def flash_backward(slow: Slow, size: int, causal: bool = False) -> None:
    """Reads Q, K, V, O, lam, dO; writes dQ, dK, dV."""
    n, m = len(slow.arrays["Q"]), len(slow.arrays["K"])
    slow.arrays |= {"d" + x: np.zeros_like(slow.arrays[x]) for x in "QKV"}
    slow.arrays["delta"] = np.empty(n)
    for i in tiles(n, size):
        slow.store("delta", (slow.load("dO", i) * slow.load("O", i)).sum(axis=1), i)
    for j in tiles(m, size):
        k, v = slow.load("K", j), slow.load("V", j)
        dk, dv, scale = np.zeros_like(k), np.zeros_like(v), 1 / np.sqrt(k.shape[1])
        for i in tiles(n, size):
            if causal and j.start >= i.stop:
                continue
            q, do = slow.load("Q", i), slow.load("dO", i)
            lam, delta = slow.load("lam", i)[:, None], slow.load("delta", i)[:, None]
            a = np.exp(tile_scores(slow, q, k, i, j, causal) - finite(lam))  # again
            ds = a * (do @ v.T - delta)
            dk, dv = dk + ds.T @ q * scale, dv + a.T @ do
            slow.store("dQ", slow.load("dQ", i) + ds @ k * scale, i)
        slow.store("dK", dk, j)
        slow.store("dV", dv, j)


# src/topics/transformers/multi-head-attention.py:903
def plain_traffic(n: int, d: int) -> int:
    """Numbers moved, forward and backward, one head of n tokens, every array stored."""
    return 11 * n**2 + 12 * n * d


# src/topics/transformers/multi-head-attention.py:908
def tiled_traffic(n: int, d: int, r: int) -> int:
    """The same for `flash_forward` and `flash_backward` with tiles of r rows."""
    return 8 * n * d + 2 * n + n * n // r * (6 * d + 2)


# src/topics/transformers/multi-head-attention.py:1018
def qk_norm_scores(Q: np.ndarray, K: np.ndarray, g: float) -> np.ndarray:
    """Scores (T, S) of Q (T, d_k) and K (S, d_k); a zero vector scores 0."""
    Q, K = (z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
            for z in (Q, K))
    return g * Q @ K.T


# src/topics/transformers/multi-head-attention.py:1073
def wrong_split(z: np.ndarray, n: int) -> np.ndarray:
    """The right shape, the wrong numbers."""
    B, T, columns = z.shape
    return z.reshape(B, n, T, columns // n)


# src/topics/transformers/multi-head-attention.py:1115
def one_row(s: np.ndarray, V: np.ndarray, size: int, rescale: bool) -> np.ndarray:
    """Output (d_v,) for scores s (m,), tile by tile."""
    mu, ell, u = -np.inf, 0.0, np.zeros(V.shape[1])
    for j in tiles(len(s), size):
        new = max(mu, s[j].max())
        p, shrink = np.exp(s[j] - new), np.exp(mu - new)
        ell, mu = ell * shrink + p.sum(), new
        u = u * (shrink if rescale else 1.0) + p @ V[j]
    return u / ell


# src/topics/transformers/multi-head-attention.py:1187
def shared_by_hand() -> np.ndarray:
    """Output (3, 2) of the hand example as MQA."""
    # Both heads give 4 to tokens 1 and 3, 10/3 to token 2; W_O: (a, a) -> (a, 3a).
    return np.array([[4, 12], [10 / 3, 10], [4, 12]])


# src/topics/transformers/multi-head-attention.py:1212
def join(O_1: np.ndarray, lam_1: np.ndarray, O_2: np.ndarray,
         lam_2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (n, d_v) and lam (n,) of two sets of keys: those of their union."""
    lam = np.logaddexp(lam_1, lam_2)
    w_1, w_2 = np.exp(lam_1 - lam), np.exp(lam_2 - lam)
    return w_1[:, None] * O_1 + w_2[:, None] * O_2, lam


# src/topics/transformers/multi-head-attention.py:1245
def gate_gradients(dy: np.ndarray, P: dict, saved: tuple, heads: int) -> np.ndarray:
    """Gradients (heads,) of the loss for gates on the heads; `saved` of multi_head."""
    O, dO = split(saved[6], heads), split(dy @ P["W_o"].T, heads)
    return (O * dO).sum(axis=(0, 2, 3))


# src/topics/transformers/multi-head-attention.py:1276
def pool_heads(P: dict, heads: int, kv_heads: int) -> dict:
    """Weights with `kv_heads` key and value heads; P has `heads` and stays as it is."""
    new = dict(P)
    for n in ("W_k", "W_v"):
        W = P[n].reshape(len(P[n]), kv_heads, heads // kv_heads, -1)
        new[n] = W.mean(axis=2).reshape(len(W), -1)
    return new


# src/topics/transformers/multi-head-attention.py:1313
def induction(ids: np.ndarray, vocabulary: int, sharp: float = 50.0) -> np.ndarray:
    """Predictions (T, vocabulary) of the next token of ids (T,), as weights."""
    E, T = np.eye(vocabulary)[ids], len(ids)
    back = np.arange(T)[:, None] - np.arange(T)
    previous = masked_softmax(np.zeros((T, T)), back == 1) @ E  # a head by position
    return masked_softmax(sharp * E @ previous.T, back >= 0) @ E  # a head by content


# src/topics/transformers/multi-head-attention.py:235
def test_one_average_loses_half():
    rng = np.random.default_rng(1)
    for a in (0.0, 0.2, 0.5, 0.7, 1.0):
        got = readout_error(np.array([[a, 1 - a]]), rng)
        want = np.array([(1 - a) ** 2, a**2]) / (a**2 + (1 - a) ** 2)
        assert np.allclose(got, want, atol=0.06)
    assert readout_error(np.array([[0.6, 0.4], [0.5, 0.5]]), rng).max() < 1e-20


# src/topics/transformers/multi-head-attention.py:244
def test_hand_example():
    X = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    P = {"W_q": np.log(2) * np.array([[1.0, 1.0], [0.0, 0.0]]),
         "W_k": np.array([[0.0, 0.0], [1.0, -1.0]]),
         "W_v": np.array([[0.0, 8.0], [5.0, 0.0]]),
         "W_o": np.array([[1.0, 2.0], [0.0, 1.0]])}
    Y, saved = multi_head(X, X, P, 2, 2)
    assert np.allclose(Y[0], [[4, 14], [10 / 3, 12], [4, 14]], atol=1e-12)
    assert np.allclose(multi_head(X, X, P, 1, 1)[1][5], 1 / 3)


# src/topics/transformers/multi-head-attention.py:255
def test_output_is_the_sum_of_heads():
    rng = np.random.default_rng(2)
    for _ in range(20):
        x, source, P = random_layer(rng, 3, 3)
        Y, _ = multi_head(x, source, P, 3, 3)
        parts = 0.0
        for h in range(3):
            W_q, W_k, W_v = (np.split(P["W_" + n], 3, axis=1)[h] for n in "qkv")
            W_o = np.split(P["W_o"], 3, axis=0)[h]
            S = x @ W_q @ W_k.T @ source.swapaxes(1, 2) / np.sqrt(W_k.shape[1])
            parts = parts + masked_softmax(S) @ source @ W_v @ W_o
        assert np.allclose(Y, parts, atol=1e-12)


# src/topics/transformers/multi-head-attention.py:351
def test_multi_head_is_torch():
    rng = np.random.default_rng(3)
    for trial in range(24):
        heads = int(rng.integers(1, 5))
        T, S = (int(n) for n in rng.permutation(np.arange(1, 8))[:2])
        mask = None
        if trial % 3 == 1:
            mask = rng.random((T, S)) < 0.6
            mask[:, 0] = True
        elif trial % 3 == 2:
            S = T
            mask = np.tril(np.ones((T, T), dtype=bool))
        biases, cross = trial % 2 == 0, trial % 4 > 1
        check_against_torch_module(rng, heads, T, S, biases, cross, mask)


# src/topics/transformers/multi-head-attention.py:401
def test_grouped_heads_are_torch():
    rng = np.random.default_rng(4)
    for trial in range(28):
        heads, kv_heads = [(4, 2), (6, 2), (6, 3), (3, 1), (2, 2), (1, 1), (8, 4)][trial % 7]
        check_against_sdpa(rng, heads, kv_heads, ("none", "random", "blind")[trial % 3])
    check_against_sdpa(rng, 4, 2, "none", size=300.0)


# src/topics/transformers/multi-head-attention.py:409
def test_multi_head_edges():
    rng = np.random.default_rng(5)
    _, _, P = random_layer(rng, 4, 2)
    for T, S in ((0, 3), (2, 0), (0, 0)):
        x, source = np.ones((2, T, 9)), np.ones((2, S, 9))
        Y, saved = multi_head(x, source, P, 4, 2)
        grads = multi_head_backward(np.ones((2, T, 9)), P, saved)
        assert Y.shape == (2, T, 9) and not Y.any()
        assert grads["source"].shape == source.shape and not grads["W_q"].any()
    same = np.repeat(rng.normal(size=(1, 1, 9)), 5, axis=1)  # ties
    assert np.allclose(multi_head(same, same, P, 4, 2)[1][5], 0.2)


# src/topics/transformers/multi-head-attention.py:690
def test_grouped_is_multi_head_with_equal_weights():
    rng = np.random.default_rng(6)
    for heads, kv_heads in [(4, 1), (4, 2), (6, 3), (5, 5), (6, 1)] * 4:
        x, source, P = random_layer(rng, heads, kv_heads)
        full = dict(P)
        for n in ("W_k", "W_v"):
            parts = np.split(P[n], kv_heads, axis=1)
            full[n] = np.hstack([w for w in parts for _ in range(heads // kv_heads)])
        want, _ = multi_head(x, source, full, heads, heads)
        assert np.allclose(multi_head(x, source, P, heads, kv_heads)[0], want, atol=1e-12)


# src/topics/transformers/multi-head-attention.py:702
def test_mla_is_deepseek():
    import warnings

    import torch

    with warnings.catch_warnings():  # tqdm's advice about notebook widgets
        warnings.simplefilter("ignore")
        from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek

    rng = np.random.default_rng(7)
    for _ in range(20):
        B, T, d, d_c, d_k, d_v = (int(n) for n in rng.permutation(np.arange(1, 10))[:6])
        heads, d_r = int(rng.integers(1, 5)), 2 * int(rng.integers(1, 4))
        P = random_mla(rng, heads, d, d_c, d_k, d_r, d_v)
        config = deepseek.DeepseekV3Config(
            hidden_size=d, num_attention_heads=heads, num_key_value_heads=heads,
            kv_lora_rank=d_c, q_lora_rank=None, qk_rope_head_dim=d_r, v_head_dim=d_v,
            qk_nope_head_dim=d_k, rope_interleave=False, attn_implementation="eager",
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )
        module = deepseek.DeepseekV3Attention(config, 0).double()
        module.kv_a_layernorm = torch.nn.Identity()

        def joined(one, two):  # their columns: for each head, one then two
            both = [P[n].reshape(len(P[n]), heads, -1) for n in (one, two)]
            return np.concatenate(both, axis=-1).reshape(len(P[one]), -1)

        weights = {"q_proj": joined("W_q", "W_qr"), "kv_b_proj": joined("W_uk", "W_uv"),
                   "kv_a_proj_with_mqa": np.hstack([P["W_dkv"], P["W_kr"]]),
                   "o_proj": P["W_o"]}
        module.load_state_dict(
            {n + ".weight": torch.from_numpy(w.T.copy()) for n, w in weights.items()}
        )
        half = d_r // 2
        angle = np.outer(np.arange(T), 10000.0 ** (-np.arange(half) / half))
        angle = torch.from_numpy(np.hstack([angle, angle]))[None]
        x, mask = rng.normal(size=(B, T, d)), np.tril(np.ones((T, T), dtype=bool))
        added = torch.zeros(T, T, dtype=torch.float64)
        added = added.masked_fill(torch.from_numpy(~mask), float("-inf"))[None, None]
        with torch.no_grad():
            want = module(torch.from_numpy(x), (angle.cos(), angle.sin()), added)[0]
        for absorbed in (True, False):
            got = mla(x, P, heads, mask, absorbed)
            assert got.shape == (B, T, d)
            assert np.allclose(got, want.numpy(), atol=1e-6)  # its softmax is float32
        assert np.allclose(mla(x, P, heads, mask), mla(x, P, heads, mask, False),
                           atol=1e-12)


# src/topics/transformers/multi-head-attention.py:751
def test_cache_of_published_models():
    assert 2 * cache_numbers(80, 8, 128) == 327_680
    assert cache_numbers(61, latent=576) == 35_136
    V2, old = cache_numbers(60, latent=576), cache_numbers(95, 8, 128)
    assert round(100 * (1 - 6 * V2 / (16 * old)), 1) == 93.3


# src/topics/transformers/multi-head-attention.py:943
def test_flash_is_torch():
    import torch

    rng = np.random.default_rng(8)
    for trial in range(28):
        n, m, d_k, d_v, size = (int(x) for x in rng.permutation(np.arange(1, 14))[:5])
        causal = trial % 2 == 1
        m = n if causal else m
        m = 0 if trial == 4 else m  # no keys at all
        scale = 60.0 if trial % 7 == 0 else 1.0
        shapes = {"Q": (n, d_k), "K": (m, d_k), "V": (m, d_v), "dO": (n, d_v)}
        a = {x: scale * rng.normal(size=s) for x, s in shapes.items()}
        if trial == 5:
            a["K"][:] = a["K"][:1]  # ties
        mask = rng.random((n, m)) < 0.5
        mask[0] = False  # a query that may look at nothing
        masked = trial % 4 == 2
        slow = Slow(**a, **({"mask": mask} if masked else {}))
        flash_forward(slow, size, causal)
        flash_backward(slow, size, causal)
        t = {x: torch.from_numpy(a[x].copy()).requires_grad_() for x in "QKV"}
        want = torch.nn.functional.scaled_dot_product_attention(
            *(x[None] for x in t.values()), is_causal=causal,
            attn_mask=torch.from_numpy(mask)[None] if masked else None,
        )[0]
        want.backward(torch.from_numpy(a["dO"]))
        assert np.allclose(slow.arrays["O"], want.detach().numpy(), atol=1e-10)
        for x, leaf in t.items():
            got = slow.arrays["d" + x]
            assert np.allclose(got, leaf.grad.numpy(), rtol=1e-7, atol=1e-8)
        S = torch.from_numpy(a["Q"] @ a["K"].T / np.sqrt(d_k))
        if causal:
            S = S.masked_fill(torch.ones(n, n).triu(1).bool(), float("-inf"))
        if masked:
            S = S.masked_fill(torch.from_numpy(~mask), float("-inf"))
        assert np.allclose(slow.arrays["lam"], S.logsumexp(dim=1).numpy(), atol=1e-10)


# src/topics/transformers/multi-head-attention.py:981
def test_traffic():
    rng = np.random.default_rng(9)
    for n, d, r in [(8, 3, 4), (12, 5, 3), (16, 2, 16), (6, 7, 1)]:
        Q, K, V, dO = rng.normal(size=(4, n, d))
        slow = Slow(Q=Q, K=K, V=V, dO=dO)
        flash_forward(slow, r)
        flash_backward(slow, r)
        assert slow.moved == tiled_traffic(n, d, r)
        squares = {x: np.zeros((n, n)) for x in ("S", "A", "dA", "dS")}
        slow = Slow(Q=Q, K=K, V=V, dO=dO, **squares,
                    **{x: np.zeros((n, d)) for x in ("O", "dQ", "dK", "dV")})
        for read, write in (("Q K", "S"), ("S", "A"), ("A V", "O"), ("A dO", "dV"),
                            ("dO V", "dA"), ("A dA", "dS"), ("dS K", "dQ"), ("dS Q", "dK")):
            for name in read.split():
                slow.load(name)
            slow.store(write, slow.arrays[write])
        assert slow.moved == plain_traffic(n, d)


# src/topics/transformers/multi-head-attention.py:1036
def test_qk_norm_is_torch():
    import torch

    rng = np.random.default_rng(15)
    for trial in range(20):
        T, S, d_k = (int(n) for n in rng.permutation(np.arange(1, 10))[:3])
        g = float(rng.normal())
        Q, K = 10.0 ** (trial % 5) * rng.normal(size=(T, d_k)), rng.normal(size=(S, d_k))
        q, k = torch.from_numpy(Q), torch.from_numpy(K)
        got = qk_norm_scores(Q, K, g)
        want = g * torch.nn.functional.cosine_similarity(q[:, None], k[None], dim=-1)
        assert got.shape == (T, S) and np.allclose(got, want.numpy(), atol=1e-12)
        assert np.abs(got).max() <= abs(g) + 1e-12
        q, k = (torch.nn.functional.rms_norm(z, (d_k,), eps=0.0) for z in (q, k))
        want = (q @ k.T / np.sqrt(d_k)).numpy()
        assert np.allclose(qk_norm_scores(Q, K, np.sqrt(d_k)), want, atol=1e-12)
    assert not qk_norm_scores(np.zeros((2, 3)), np.ones((4, 3)), 2.0).any()


# src/topics/transformers/multi-head-attention.py:1150
def test_failures():
    rng = np.random.default_rng(10)
    z = rng.normal(size=(2, 5, 6))
    assert np.array_equal(merge(split(z, 3)), z)
    assert np.array_equal(split(z, 3)[1, 2, 4], z[1, 4, 4:])
    assert not np.array_equal(wrong_split(z, 3), split(z, 3))
    for peak in range(12):
        s, V = rng.normal(size=12), rng.normal(size=(12, 3))
        s[peak] = 6.0
        want = masked_softmax(s) @ V
        assert np.allclose(one_row(s, V, 4, True), want, atol=1e-12)
        assert np.allclose(one_row(s, V, 4, False), want, atol=1e-12) == (peak < 4)


# src/topics/transformers/multi-head-attention.py:1196
def test_shared_by_hand():
    X = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    P = {"W_q": np.log(2) * np.array([[1.0, 1.0], [0.0, 0.0]]),
         "W_k": np.array([[0.0], [1.0]]), "W_v": np.array([[0.0], [5.0]]),
         "W_o": np.array([[1.0, 2.0], [0.0, 1.0]])}
    assert np.allclose(shared_by_hand(), multi_head(X, X, P, 2, 1)[0][0], atol=1e-12)


# src/topics/transformers/multi-head-attention.py:1223
def test_join():
    rng = np.random.default_rng(11)
    for trial in range(20):
        S, V = rng.normal(size=(4, 9)) * 10 ** (trial % 3), rng.normal(size=(9, 3))
        S = S + (1000.0 if trial == 4 else 0.0)  # exp alone would overflow
        cut, halves = int(rng.integers(1, 9)), []
        for part in (slice(0, cut), slice(cut, 9)):
            lam = np.logaddexp.reduce(S[:, part], axis=1)
            halves += [masked_softmax(S[:, part]) @ V[part], lam]
        O, lam = join(*halves)
        assert np.allclose(O, masked_softmax(S) @ V, atol=1e-10)
        assert np.allclose(lam, np.logaddexp.reduce(S, axis=1), atol=1e-10)


# src/topics/transformers/multi-head-attention.py:1254
def test_gate_gradients():
    rng = np.random.default_rng(12)
    for heads, kv_heads in [(4, 2), (3, 3), (5, 1)]:
        x, source, P = random_layer(rng, heads, kv_heads)
        Y, saved = multi_head(x, source, P, heads, kv_heads)
        dy = rng.normal(size=Y.shape)
        got = gate_gradients(dy, P, saved, heads)
        for h in range(heads):  # the loss is linear in a gate: close it
            closed = P["W_o"].reshape(heads, -1, 9).copy()
            closed[h] = 0.0
            gated, _ = multi_head(x, source, P | {"W_o": closed.reshape(-1, 9)},
                                  heads, kv_heads)
            assert np.isclose(got[h], (dy * (Y - gated)).sum(), atol=1e-9)


# src/topics/transformers/multi-head-attention.py:1288
def test_pool_heads():
    rng = np.random.default_rng(13)
    for heads, kv_heads in [(6, 2), (4, 4), (6, 3), (4, 1)]:
        x, source, P = random_layer(rng, heads, kv_heads)
        full = dict(P)
        for n in ("W_k", "W_v"):  # heads around the group's mean
            parts = np.split(P[n], kv_heads, axis=1)
            share = heads // kv_heads
            noise = rng.normal(size=(kv_heads, share, *parts[0].shape))
            noise -= noise.mean(axis=1, keepdims=True)
            full[n] = np.hstack([w + e for w, es in zip(parts, noise) for e in es])
        pooled = pool_heads(full, heads, kv_heads)
        for n in P:
            assert np.allclose(pooled[n], P[n], atol=1e-12)


# src/topics/transformers/multi-head-attention.py:1324
def test_induction():
    rng = np.random.default_rng(14)
    for _ in range(20):
        vocabulary = int(rng.integers(5, 12))
        word = rng.permutation(vocabulary)[: int(rng.integers(2, 6))]
        ids = np.tile(word, 3)
        guess = induction(ids, vocabulary)
        assert guess.shape == (len(ids), vocabulary)
        later = np.arange(len(word), len(ids) - 1)  # second time on
        assert (guess[later].argmax(axis=1) == ids[later + 1]).all()
        early = guess[: len(word)].copy()
        changed = ids.copy()
        changed[len(word):] = 0
        assert np.allclose(induction(changed, vocabulary)[: len(word)], early)
