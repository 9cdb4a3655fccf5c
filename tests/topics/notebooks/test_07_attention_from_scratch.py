# Generated from src/topics/notebooks/07-attention-from-scratch.py: edit that file, then run doit. digest:95346582e8ffdb30

"""Tests of notebooks/07-attention-from-scratch: Attention from scratch."""

import numpy as np
import string
import torch  # only to check our results against
import torch.nn.functional as F
from collections.abc import Callable


# src/topics/notebooks/07-attention-from-scratch.py:48
LETTERS = 26


# src/topics/notebooks/07-attention-from-scratch.py:49
DIGITS = 10


# src/topics/notebooks/07-attention-from-scratch.py:52
def draw_recall(
    rng: np.random.Generator, batch: int = 64, m: int = 8, n: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Questions (batch, n, 26), memory (batch, m, 36), answers (batch, n)."""
    order = rng.permuted(np.tile(np.arange(LETTERS), (batch, 1)), axis=1)
    letters = order[:, :m]  # no letter twice in one memory
    digits = rng.integers(DIGITS, size=(batch, m))
    asked = rng.permuted(np.tile(np.arange(m), (batch, 1)), axis=1)[:, :n]
    X_m = np.concatenate([np.eye(LETTERS)[letters], np.eye(DIGITS)[digits]], axis=-1)
    X_q = np.eye(LETTERS)[np.take_along_axis(letters, asked, axis=1)]
    return X_q, X_m, np.take_along_axis(digits, asked, axis=1)


# src/topics/notebooks/07-attention-from-scratch.py:65
def pair_names(X_m: np.ndarray) -> list[str]:
    """Names such as 'k0' for the rows of one memory (m, 36)."""
    letters, digits = X_m[:, :LETTERS].argmax(1), X_m[:, LETTERS:].argmax(1)
    return [string.ascii_lowercase[i] + str(d) for i, d in zip(letters, digits)]


# src/topics/notebooks/07-attention-from-scratch.py:199
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/notebooks/07-attention-from-scratch.py:248
def attention_loops(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (n, d_k), K (m, d_k), V (m, d_v) to (n, d_v), with nothing but scalars."""
    (n, d_k), (m, d_v) = Q.shape, V.shape
    O = np.zeros((n, d_v))
    for i in range(n):
        s = np.zeros(m)
        for j in range(m):
            for c in range(d_k):
                s[j] += Q[i, c] * K[j, c]
            s[j] /= d_k**0.5
        total = sum(np.exp(s_j - max(s)) for s_j in s)
        for j in range(m):
            for c in range(d_v):
                O[i, c] += np.exp(s[j] - max(s)) / total * V[j, c]
    return O


# src/topics/notebooks/07-attention-from-scratch.py:265
def attention_one(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (n, d_k), K (m, d_k), V (m, d_v) to (n, d_v): the boxed equation."""
    return softmax(Q @ K.T / np.sqrt(K.shape[-1])) @ V


# src/topics/notebooks/07-attention-from-scratch.py:317
def attention_cost(n: int, m: int, d_k: int, d_v: int, H: int = 1) -> tuple[int, int]:
    """Multiplications in both products, bytes of the float32 weights, for H heads."""
    return H * n * m * (d_k + d_v), H * n * m * 4


# src/topics/notebooks/07-attention-from-scratch.py:362
def attention_batched(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (..., n, d_k), K (..., m, d_k), V (..., m, d_v) to (..., n, d_v)."""
    scores = np.einsum("...nd,...md->...nm", Q, K) / np.sqrt(Q.shape[-1])
    return np.einsum("...nm,...mv->...nv", softmax(scores), V)


# src/topics/notebooks/07-attention-from-scratch.py:368
def split_heads(X: np.ndarray, H: int) -> np.ndarray:
    """(..., T, H * d) to (..., H, T, d): head h gets columns h d to (h + 1) d."""
    T, width = X.shape[-2:]
    return X.reshape(*X.shape[:-1], H, width // H).swapaxes(-2, -3)


# src/topics/notebooks/07-attention-from-scratch.py:374
def merge_heads(X: np.ndarray) -> np.ndarray:
    """(..., H, T, d) back to (..., T, H * d)."""
    X = X.swapaxes(-2, -3)
    return X.reshape(*X.shape[:-2], -1)


# src/topics/notebooks/07-attention-from-scratch.py:436
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/notebooks/07-attention-from-scratch.py:447
def attention(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Q (..., n, d_k), K (..., m, d_k), V (..., m, d_v), mask (..., n, m) or None.

    Returns the output (..., n, d_v) and the weights (..., n, m).
    """
    A = masked_softmax(Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-1]), mask)
    return A @ V, A


# src/topics/notebooks/07-attention-from-scratch.py:458
def causal_mask(n: int, m: int) -> np.ndarray:
    """(n, m): the last query sees all keys, each earlier one sees one key fewer."""
    return np.tril(np.ones((n, m), dtype=bool), k=m - n)


# src/topics/notebooks/07-attention-from-scratch.py:579
def window_mask(T: int, w: int) -> np.ndarray:
    """(T, T) truth values: query i sees keys i - w + 1 to i."""
    i, j = np.arange(T)[:, None], np.arange(T)[None, :]
    return (j <= i) & (j > i - w)


# src/topics/notebooks/07-attention-from-scratch.py:605
def hidden_weights(
    attend: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    Q: np.ndarray,
    K: np.ndarray,
) -> np.ndarray:
    """The weights (n, m) inside `attend(Q, K, V)`, for Q (n, d_k) and K (m, d_k)."""
    return attend(Q, K, np.eye(len(K)))


# src/topics/notebooks/07-attention-from-scratch.py:639
def grouped_attention(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (B, H, n, d_k), K (B, G, m, d_k), V (B, G, m, d_v) to (B, H, n, d_v)."""
    (B, H, n, d_k), G = Q.shape, K.shape[1]
    Q = Q.reshape(B, G, H // G, n, d_k)
    O, _ = attention(Q, K[:, :, None], V[:, :, None])  # one key head for H // G queries
    return O.reshape(B, H, n, V.shape[-1])


# src/topics/notebooks/07-attention-from-scratch.py:682
def entropy(A: np.ndarray) -> np.ndarray:
    """Entropy in nats of each row of weights A (..., m), to (...)."""
    return -(A * np.log(np.where(A > 0, A, 1.0))).sum(axis=-1)


# src/topics/notebooks/07-attention-from-scratch.py:763
def attention_backward(
    dO: np.ndarray, Q: np.ndarray, K: np.ndarray, V: np.ndarray, A: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dQ, dK, dV for upstream gradient dO (..., n, d_v) and weights A (..., n, m)."""
    dV = A.swapaxes(-1, -2) @ dO
    dA = dO @ V.swapaxes(-1, -2)
    dS = A * (dA - (A * dA).sum(axis=-1, keepdims=True)) / np.sqrt(Q.shape[-1])
    return dS @ K, dS.swapaxes(-1, -2) @ Q, dV


# src/topics/notebooks/07-attention-from-scratch.py:773
def numerical_gradient(f: Callable[[], float], X: np.ndarray) -> np.ndarray:
    """Central differences of f() by each entry of X, which is changed in place."""
    gradient = np.zeros_like(X)
    for i in np.ndindex(X.shape):
        kept = X[i]
        X[i] = kept + 1e-5
        up = f()
        X[i] = kept - 1e-5
        gradient[i] = (up - f()) / 2e-5
        X[i] = kept
    return gradient


# src/topics/notebooks/07-attention-from-scratch.py:832
def scale_gradient(
    dO: np.ndarray, Q: np.ndarray, K: np.ndarray, V: np.ndarray, c: float
) -> float:
    """dL/dc of softmax(c Q K^T) V; dO (n, d_v), Q (n, d_k), K (m, d_k), V (m, d_v)."""
    A = softmax(c * Q @ K.T)
    dA = dO @ V.T
    dS = A * (dA - (A * dA).sum(axis=-1, keepdims=True))
    return float((dS * (Q @ K.T)).sum())


# src/topics/notebooks/07-attention-from-scratch.py:880
def predict(
    params: dict[str, np.ndarray], X_q: np.ndarray, X_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """X_q (B, n, d_q), X_m (B, m, d_m) to logits (B, n, d_v), weights (B, n, m)."""
    return attention(X_q @ params["W_q"], X_m @ params["W_k"], X_m @ params["W_v"])


# src/topics/notebooks/07-attention-from-scratch.py:887
def loss_and_gradients(
    params: dict[str, np.ndarray], X_q: np.ndarray, X_m: np.ndarray, y: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Mean cross-entropy of the answers y (B, n), and its gradient by each matrix."""
    logits, A = predict(params, X_q, X_m)
    p, target = softmax(logits), np.eye(logits.shape[-1])[y]
    dO = (p - target) / y.size
    Q, K, V = X_q @ params["W_q"], X_m @ params["W_k"], X_m @ params["W_v"]
    dQ, dK, dV = attention_backward(dO, Q, K, V, A)
    back = "bti,btj->ij"  # X^T dY, summed over batch and tokens
    return float(-np.log((p * target).sum(axis=-1)).mean()), {
        "W_q": np.einsum(back, X_q, dQ),
        "W_k": np.einsum(back, X_m, dK),
        "W_v": np.einsum(back, X_m, dV),
    }


# src/topics/notebooks/07-attention-from-scratch.py:942
def train(
    draw: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]],
    d_k: int = 8,
    steps: int = 400,
    lr: float = 10.0,
    seed: int = 0,
    average: bool = False,
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Gradient descent on batches from draw(rng); returns parameters and losses."""
    rng = np.random.default_rng(seed)
    X_q, X_m, _ = draw(rng)
    d_q, d_m = X_q.shape[-1], X_m.shape[-1]
    params = {
        "W_q": 0.1 * rng.normal(size=(d_q, d_k)) * (not average),
        "W_k": 0.1 * rng.normal(size=(d_m, d_k)),
        "W_v": 0.1 * rng.normal(size=(d_m, DIGITS)),
    }
    losses = []
    for _ in range(steps):
        loss, grads = loss_and_gradients(params, *draw(rng))
        losses.append(loss)
        for name in ["W_v"] if average else params:
            params[name] -= lr * grads[name]
    return params, losses


# src/topics/notebooks/07-attention-from-scratch.py:968
def accuracy(
    params: dict[str, np.ndarray], X_q: np.ndarray, X_m: np.ndarray, y: np.ndarray
) -> float:
    """Share of the questions X_q that get the right answer."""
    return float((predict(params, X_q, X_m)[0].argmax(axis=-1) == y).mean())


# src/topics/notebooks/07-attention-from-scratch.py:1120
def recall_accuracy(d_k: int, seed: int = 0) -> float:
    """Accuracy on 500 fresh memories after 400 steps of training at this d_k."""
    params, _ = train(draw_recall, d_k=d_k, steps=400, seed=seed)
    return accuracy(params, *draw_recall(np.random.default_rng(1000), batch=500))


# src/topics/notebooks/07-attention-from-scratch.py:1172
def draw_reverse(
    rng: np.random.Generator, positions: bool, batch: int = 64, T: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (batch, T, 10), or (batch, T, 10 + T), twice; answers (batch, T)."""
    digits = rng.integers(DIGITS, size=(batch, T))
    X = np.eye(DIGITS)[digits]
    if positions:
        X = np.concatenate([X, np.broadcast_to(np.eye(T), (batch, T, T))], axis=-1)
    return X, X, digits[:, ::-1]


# src/topics/notebooks/07-attention-from-scratch.py:103
def test_draw_recall():
    rng = np.random.default_rng(0)
    for m in (1, 3, 8, 26):
        n = int(rng.integers(1, m + 1))
        X_q, X_m, y = draw_recall(rng, batch=5, m=m, n=n)
        assert X_q.shape == (5, n, 26) and X_m.shape == (5, m, 36) and y.shape == (5, n)
        for b in range(5):
            stored = {name[0]: int(name[1]) for name in pair_names(X_m[b])}
            asked = [string.ascii_lowercase[i] for i in X_q[b].argmax(1)]
            assert len(stored) == m and len(set(asked)) == n
            assert [stored[letter] for letter in asked] == y[b].tolist()


# src/topics/notebooks/07-attention-from-scratch.py:232
def test_softmax_matches_torch():
    rng = np.random.default_rng(0)
    for _ in range(25):
        s = rng.normal(size=rng.integers(1, 7, size=3)) * 10 ** rng.uniform(-2, 3)
        expected = torch.softmax(torch.from_numpy(s), dim=-1).numpy()
        np.testing.assert_allclose(softmax(s), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4])), [0.5, 0.5])


# src/topics/notebooks/07-attention-from-scratch.py:298
def test_loops_and_one_line_match_torch():
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, m, d_k, d_v = rng.permutation(np.arange(1, 9))[:4]  # all different
        Q, K, V = (rng.normal(size=s) for s in [(n, d_k), (m, d_k), (m, d_v)])
        expected = F.scaled_dot_product_attention(*map(torch.from_numpy, (Q, K, V)))
        np.testing.assert_allclose(attention_loops(Q, K, V), expected, atol=1e-12)
        np.testing.assert_allclose(attention_one(Q, K, V), expected, atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:325
def test_attention_cost():
    assert attention_cost(3, 5, 4, 2) == (90, 60)
    multiplications, size = attention_cost(1024, 1024, 64, 64, H=12)
    assert size == 50_331_648  # 48 MiB for one layer and one text
    assert multiplications == 1_610_612_736
    longer = attention_cost(2048, 2048, 64, 64, H=12)
    assert longer == (4 * multiplications, 4 * size)  # twice the length, four times all


# src/topics/notebooks/07-attention-from-scratch.py:400
def test_split_heads():
    rng = np.random.default_rng(1)
    for _ in range(20):
        B, T, H, d = rng.integers(1, 6, size=4)
        X = rng.normal(size=(B, T, H * d))
        heads = split_heads(X, H)
        assert heads.shape == (B, H, T, d)
        for h in range(H):
            np.testing.assert_array_equal(heads[:, h], X[:, :, h * d : (h + 1) * d])
        np.testing.assert_array_equal(merge_heads(heads), X)


# src/topics/notebooks/07-attention-from-scratch.py:412
def test_attention_batched_matches_torch():
    rng = np.random.default_rng(2)
    for _ in range(20):
        B, H, n, m, d_k, d_v = rng.integers(1, 7, size=6)
        Q, K = rng.normal(size=(B, H, n, d_k)), rng.normal(size=(B, H, m, d_k))
        V = rng.normal(size=(B, H, m, d_v))
        expected = F.scaled_dot_product_attention(*map(torch.from_numpy, (Q, K, V)))
        np.testing.assert_allclose(attention_batched(Q, K, V), expected, atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:523
def test_attention_matches_torch():
    rng = np.random.default_rng(3)
    for _ in range(25):
        B, H, n, m, d_k, d_v = rng.integers(1, 7, size=6)
        Q, K = rng.normal(size=(B, H, n, d_k)), rng.normal(size=(B, H, m, d_k))
        V, mask = rng.normal(size=(B, H, m, d_v)), rng.random((B, 1, n, m)) < 0.6
        mask[0, 0, 0] = False  # a row with nothing to look at
        Q = Q * 10 ** rng.uniform(-1, 3)
        arrays = map(torch.from_numpy, (Q, K, V, mask))
        expected = F.scaled_dot_product_attention(*arrays)
        O, A = attention(Q, K, V, mask)
        np.testing.assert_allclose(O, expected, atol=1e-11)
        assert (O[0, :, 0] == 0).all() and A.shape == (B, H, n, m)
    O, A = attention(np.ones((2, 3)), np.ones((0, 3)), np.ones((0, 4)))  # no keys
    assert O.shape == (2, 4) and (O == 0).all() and A.shape == (2, 0)


# src/topics/notebooks/07-attention-from-scratch.py:540
def test_causal_mask():
    rng = np.random.default_rng(4)
    for T in range(1, 8):
        expected = torch.ones(T, T, dtype=torch.bool).tril().numpy()
        np.testing.assert_array_equal(causal_mask(T, T), expected)
        Q, K, V = rng.normal(size=(3, T, 4))
        whole, _ = attention(Q, K, V, causal_mask(T, T))
        last, _ = attention(Q[-2:], K, V, causal_mask(len(Q[-2:]), T))
        np.testing.assert_allclose(last, whole[-2:], atol=1e-14)
        arrays = map(torch.from_numpy, (Q[-2:], K, V))  # PyTorch lines up the first key
        other = F.scaled_dot_product_attention(*arrays, is_causal=True).numpy()
        np.testing.assert_allclose(other[0], V[0], atol=1e-14)


# src/topics/notebooks/07-attention-from-scratch.py:554
def test_heads_and_padding_match_multihead_attention():
    rng = np.random.default_rng(5)
    for _ in range(20):
        B, T, H, d = (int(size) for size in rng.integers(1, 6, size=4))
        layer = torch.nn.MultiheadAttention(
            H * d, H, bias=False, batch_first=True, dtype=torch.float64
        )
        W_q, W_k, W_v = layer.in_proj_weight.detach().numpy().reshape(3, H * d, H * d)
        W_o = layer.out_proj.weight.detach().numpy()
        X, real = rng.normal(size=(B, T, H * d)), rng.random((B, T)) < 0.7
        real[:, 0] = True
        heads = (split_heads(X @ W.T, H) for W in (W_q, W_k, W_v))
        O = merge_heads(attention(*heads, real[:, None, None, :])[0]) @ W_o.T
        X = torch.from_numpy(X)
        expected = layer(X, X, X, key_padding_mask=torch.from_numpy(~real))[0]
        np.testing.assert_allclose(O, expected.detach().numpy(), atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:588
def test_window_mask():
    for T in range(1, 8):
        for w in range(1, T + 1):
            mask = window_mask(T, w)
            for i in range(T):
                visible = list(range(max(0, i - w + 1), i + 1))
                assert np.flatnonzero(mask[i]).tolist() == visible
        np.testing.assert_array_equal(window_mask(T, T), causal_mask(T, T))


# src/topics/notebooks/07-attention-from-scratch.py:617
def test_hidden_weights():
    def library(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
        tensors = map(torch.from_numpy, (Q, K, V))
        return F.scaled_dot_product_attention(*tensors).numpy()

    rng = np.random.default_rng(5)
    for _ in range(20):
        n, m, d_k = rng.integers(1, 7, size=3)
        Q, K = rng.normal(size=(n, d_k)), rng.normal(size=(m, d_k))
        expected = attention(Q, K, K)[1]
        np.testing.assert_allclose(hidden_weights(library, Q, K), expected, atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:650
def test_grouped_attention():
    rng = np.random.default_rng(6)
    for _ in range(20):
        B, G, share, n, m, d_k, d_v = rng.integers(1, 6, size=7)
        Q = rng.normal(size=(B, G * share, n, d_k))
        K, V = rng.normal(size=(B, G, m, d_k)), rng.normal(size=(B, G, m, d_v))
        tensors = map(torch.from_numpy, (Q, K, V))
        expected = F.scaled_dot_product_attention(*tensors, enable_gqa=True)
        np.testing.assert_allclose(grouped_attention(Q, K, V), expected, atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:729
def test_entropy_matches_torch():
    rng = np.random.default_rng(6)
    for _ in range(20):
        A = softmax(5 * rng.normal(size=rng.integers(1, 7, size=3)))
        expected = torch.distributions.Categorical(torch.from_numpy(A)).entropy()
        np.testing.assert_allclose(entropy(A), expected, atol=1e-12)
    assert entropy(np.array([0.0, 1.0, 0.0])) == 0


# src/topics/notebooks/07-attention-from-scratch.py:802
def test_numerical_gradient():
    X = np.random.default_rng(7).normal(size=(2, 3))
    kept = X.copy()
    np.testing.assert_allclose(numerical_gradient(lambda: (X**2).sum(), X), 2 * X, 1e-8)
    np.testing.assert_array_equal(X, kept)


# src/topics/notebooks/07-attention-from-scratch.py:809
def test_attention_backward_matches_autograd():
    rng = np.random.default_rng(7)
    for _ in range(20):
        B, n, m, d_k, d_v = rng.integers(1, 7, size=5)
        shapes = [(B, n, d_k), (B, m, d_k), (B, m, d_v), (B, n, d_v)]
        Q, K, V, dO = (rng.normal(size=shape) for shape in shapes)
        mask = rng.random((B, n, m)) < 0.7
        mask[0, 0] = False
        tensors = [torch.from_numpy(X).requires_grad_() for X in (Q, K, V)]
        O = F.scaled_dot_product_attention(*tensors, attn_mask=torch.from_numpy(mask))
        O.backward(torch.from_numpy(dO))
        found = attention_backward(dO, Q, K, V, attention(Q, K, V, mask)[1])
        for tensor, dX in zip(tensors, found):
            np.testing.assert_allclose(dX, tensor.grad.numpy(), atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:845
def test_scale_gradient():
    rng = np.random.default_rng(8)
    for _ in range(20):
        n, m, d_k, d_v = rng.integers(1, 7, size=4)
        shapes = [(n, d_k), (m, d_k), (m, d_v), (n, d_v)]
        Q, K, V, dO = (rng.normal(size=shape) for shape in shapes)
        c = torch.tensor(rng.uniform(0.1, 2), dtype=torch.float64, requires_grad=True)
        A = torch.softmax(c * torch.from_numpy(Q @ K.T), dim=-1)
        (torch.from_numpy(dO) * (A @ torch.from_numpy(V))).sum().backward()
        assert abs(scale_gradient(dO, Q, K, V, c.item()) - c.grad.item()) < 1e-10


# src/topics/notebooks/07-attention-from-scratch.py:920
def test_loss_and_gradients_match_autograd():
    rng = np.random.default_rng(9)
    for _ in range(20):
        B, n, m, d_q, d_m, d_k = rng.integers(1, 7, size=6)
        X_q, X_m = rng.normal(size=(B, n, d_q)), rng.normal(size=(B, m, d_m))
        y = rng.integers(DIGITS, size=(B, n))
        shapes = {"W_q": (d_q, d_k), "W_k": (d_m, d_k), "W_v": (d_m, DIGITS)}
        params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        loss, grads = loss_and_gradients(params, X_q, X_m, y)
        W = {name: torch.from_numpy(W).requires_grad_() for name, W in params.items()}
        X_q, X_m, y = map(torch.from_numpy, (X_q, X_m, y))
        logits = F.scaled_dot_product_attention(
            X_q @ W["W_q"], X_m @ W["W_k"], X_m @ W["W_v"]
        )
        expected = F.cross_entropy(logits.reshape(-1, DIGITS), y.reshape(-1))
        expected.backward()
        assert abs(loss - expected.item()) < 1e-12
        for name, gradient in grads.items():
            np.testing.assert_allclose(gradient, W[name].grad.numpy(), atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:976
def test_the_baseline_averages():
    params, losses = train(draw_recall, d_k=3, steps=5, average=True)
    X_q, X_m, y = draw_recall(np.random.default_rng(12), batch=4, m=6, n=3)
    logits, A = predict(params, X_q, X_m)
    np.testing.assert_allclose(A, np.full((4, 3, 6), 1 / 6))
    means = X_m.mean(axis=1, keepdims=True) @ params["W_v"]  # (4, 1, 10)
    np.testing.assert_allclose(logits, np.repeat(means, 3, axis=1), atol=1e-12)
    assert len(losses) == 5 and losses[-1] < losses[0]
    hits = [logits[b, i].argmax() == y[b, i] for b in range(4) for i in range(3)]
    assert abs(accuracy(params, X_q, X_m, y) - np.mean(hits)) < 1e-12


# src/topics/notebooks/07-attention-from-scratch.py:1129
def test_recall_accuracy():
    one, two, three = (recall_accuracy(d_k) for d_k in (1, 2, 3))
    assert 0.32 < one < 0.6 < two < 0.95 < three


# src/topics/notebooks/07-attention-from-scratch.py:1184
def test_permutation_equivariance():
    rng = np.random.default_rng(10)
    for _ in range(20):
        T, d, d_k, d_v = rng.integers(1, 8, size=4)
        shapes = {"W_q": (d, d_k), "W_k": (d, d_k), "W_v": (d, d_v)}
        params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        X, order = rng.normal(size=(2, T, d)), rng.permutation(T)
        O, O_shuffled = (predict(params, Z, Z)[0] for Z in (X, X[:, order]))
        np.testing.assert_allclose(O_shuffled, O[:, order], atol=1e-12)


# src/topics/notebooks/07-attention-from-scratch.py:1195
def test_draw_reverse():
    for positions, width in [(False, 10), (True, 16)]:
        X, memory, y = draw_reverse(np.random.default_rng(11), positions, batch=4, T=6)
        assert X is memory and X.shape == (4, 6, width)
        np.testing.assert_array_equal(X[:, ::-1, :DIGITS].argmax(-1), y)
        if positions:
            assert (X[..., DIGITS:] == np.eye(6)).all()
