# Generated from src/topics/transformers/attention.py: edit that file, then run doit. digest:c105857ca63c0578

"""Tests of transformers/attention: Attention."""

import numpy as np


# src/topics/transformers/attention.py:46
def bytes_recovered(m: int, d_state: int, rng: np.random.Generator) -> float:
    """Fraction of `m` bytes that survive a linear code of `d_state` numbers."""
    X = rng.choice([-1.0, 1.0], size=(500, 8 * m))  # 500 sequences of m bytes
    E, _ = np.linalg.qr(rng.normal(size=(8 * m, 8 * m)))
    E = E[:, :d_state]  # (8m, d_state), orthonormal columns
    decoded = np.sign(X @ E @ E.T)  # encode, then decode
    return float((decoded == X).reshape(500, m, 8).all(axis=-1).mean())


# src/topics/transformers/attention.py:133
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/transformers/attention.py:140
def attention(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Q (n, d_k), K (m, d_k), V (m, d_v): the output (n, d_v), the weights (n, m)."""
    S = Q @ K.T / np.sqrt(K.shape[-1])
    A = softmax(S)
    return A @ V, A


# src/topics/transformers/attention.py:266
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/transformers/attention.py:277
def attention_forward(
    Q: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    mask: np.ndarray | None = None,
    scale: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `attention`, with a mask (n, m), True = may look; scale is 1/sqrt(d_k)."""
    scale = 1 / np.sqrt(K.shape[-1]) if scale is None else scale
    A = masked_softmax(Q @ K.T * scale, mask)
    return A @ V, A


# src/topics/transformers/attention.py:321
def additive_scores(
    Q: np.ndarray, K: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Additive scores (n, m) of queries (n, d_k), keys (m, d_k); also the tanh."""
    T = np.tanh(Q[:, None, :] + K[None, :, :])  # (n, m, d_k)
    return T @ w, T


# src/topics/transformers/attention.py:329
def additive_backward(
    dS: np.ndarray, T: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From dS (n, m): dQ (n, d_k), dK (m, d_k), dw (d_k,)."""
    dT = dS[:, :, None] * (1 - T**2) * w  # tanh' = 1 - tanh^2
    return dT.sum(axis=1), dT.sum(axis=0), np.tensordot(dS, T, axes=2)


# src/topics/transformers/attention.py:392
def jacobian_norm(A: np.ndarray) -> np.ndarray:
    """Root of the sum of squares of diag(a) - a^T a, for each row a of A (n, m)."""
    squares = (A**2).sum(axis=-1)
    return np.sqrt(np.maximum(squares - 2 * (A**3).sum(axis=-1) + squares**2, 0.0))


# src/topics/transformers/attention.py:463
def softmax_backward(dA: np.ndarray, A: np.ndarray) -> np.ndarray:
    """dS (n, m) from dA and the softmax's own output A, both (n, m)."""
    return A * (dA - (dA * A).sum(axis=-1, keepdims=True))


# src/topics/transformers/attention.py:468
def attention_backward(
    dO: np.ndarray,
    Q: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    A: np.ndarray,
    scale: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From dO (n, d_v) and the weights A (n, m): dQ, dK, dV, shaped as Q, K, V."""
    scale = 1 / np.sqrt(K.shape[-1]) if scale is None else scale
    dV = A.T @ dO
    dS = softmax_backward(dO @ V.T, A)
    return dS @ K * scale, dS.T @ Q * scale, dV


# src/topics/transformers/attention.py:499
def check_against_torch(Q, K, V, dO, mask):
    """Outputs and gradients against plain autograd and against the fused function."""
    import torch

    O, A = attention_forward(Q, K, V, mask)
    grads = attention_backward(dO, Q, K, V, A)
    tmask = None if mask is None else torch.from_numpy(mask)
    for fused in (False, True):
        leaves = [torch.from_numpy(x.copy()).requires_grad_() for x in (Q, K, V)]
        tQ, tK, tV = leaves
        if fused:
            out = torch.nn.functional.scaled_dot_product_attention(
                tQ, tK, tV, attn_mask=tmask
            )
        else:
            s = torch.einsum("id,jd->ij", tQ, tK) / tK.shape[-1] ** 0.5
            if tmask is not None:
                s = s.masked_fill(~tmask, float("-inf"))
            out = torch.einsum("ij,jc->ic", torch.softmax(s, dim=-1), tV)
            if mask is not None and not mask.any(axis=-1).all():
                continue  # plain softmax has no convention for fully masked rows
        out.backward(torch.from_numpy(dO))
        assert np.allclose(O, out.detach().numpy(), atol=1e-11)
        for got, leaf in zip(grads, leaves):
            assert got.shape == tuple(leaf.shape)
            assert np.allclose(got, leaf.grad.numpy(), atol=1e-11)


# src/topics/transformers/attention.py:527
def random_problem(rng, n, m, d_k, d_v, size=1.0):
    shapes = ((n, d_k), (m, d_k), (m, d_v), (n, d_v))
    return [size * rng.normal(size=s) for s in shapes]


# src/topics/transformers/attention.py:688
def nadaraya_watson(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, variance: float
) -> np.ndarray:
    """Kernel regression at Q (n, d) from examples K (m, d), V (m, d_v)."""
    squared = ((Q[:, None, :] - K[None, :, :]) ** 2).sum(axis=-1)  # (n, m)
    return softmax(-squared / (2 * variance)) @ V


# src/topics/transformers/attention.py:740
def attention_flops(n: int, m: int, d_k: int, d_v: int, heads: int = 1) -> int:
    """FLOPs of the two matrix products of attention."""
    return 2 * heads * n * m * (d_k + d_v)


# src/topics/transformers/attention.py:745
def attention_bytes(n: int, m: int, d_k: int, d_v: int, heads: int = 1,
                    itemsize: int = 2) -> tuple[int, int]:
    """Bytes of Q, K, V and O together, and of the weights A."""
    vectors = (n + m) * (d_k + d_v)
    return heads * vectors * itemsize, heads * n * m * itemsize


# src/topics/transformers/attention.py:901
def other_weights(a: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Weights (m,) that give the same output as `a`, with less on its top key."""
    rows = np.column_stack([V, np.ones(len(a))]).T * a  # (d_v + 1, m)
    _, _, Vt = np.linalg.svd(rows)
    free = Vt[len(rows):]  # relative changes of the weights that keep the output
    change = -free[:, a.argmax()] @ free  # the one that hurts the top key most
    return a * (1 - change / change.min())  # go until some weight is zero


# src/topics/transformers/attention.py:966
def masked_by_hand() -> np.ndarray:
    """Outputs (2, 1) of the hand example without its third key."""
    # Exponentials (1, 2) give weights (1/3, 2/3); (3, 3) give (1/2, 1/2).
    return np.array([[14 / 3], [7 / 2]])


# src/topics/transformers/attention.py:992
def causal_mask(n: int, m: int) -> np.ndarray:
    """Mask (n, m) for the last n of m positions; True = may look."""
    positions = np.arange(m - n, m)  # where the queries stand
    return np.arange(m)[None, :] <= positions[:, None]


# src/topics/transformers/attention.py:1027
def online_attention(q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Output (d_v,) of one query (d_k,), reading keys and values one at a time."""
    mu, ell, u = -np.inf, 0.0, np.zeros(V.shape[-1])
    for k, v in zip(K, V):
        s = q @ k / np.sqrt(len(q))
        new = max(mu, s)
        shrink, weight = np.exp(mu - new), np.exp(s - new)
        mu, ell, u = new, ell * shrink + weight, u * shrink + weight * v
    return u / ell


# src/topics/transformers/attention.py:1060
def sink_attention(Q: np.ndarray, K: np.ndarray, V: np.ndarray, b: float) -> np.ndarray:
    """Output (n, d_v) of attention with an extra score `b` in each denominator."""
    S = Q @ K.T / np.sqrt(K.shape[-1])
    S = np.column_stack([S, np.full(len(S), b)])  # (n, m + 1)
    return softmax(S)[:, :-1] @ V


# src/topics/transformers/attention.py:1093
def largest_weight(B: float, m: int) -> float:
    """Largest possible softmax weight over m scores within [-B, B]."""
    return float(1 / (1 + (m - 1) * np.exp(-2 * B)))


# src/topics/transformers/attention.py:1126
def unscaled_twin(
    W_q: np.ndarray, W_k: np.ndarray, lr: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights (d_in, d_k) and rate with which unscaled attention trains alike."""
    d_k = W_k.shape[-1]
    return W_q / d_k**0.25, W_k / d_k**0.25, lr / np.sqrt(d_k)


# src/topics/transformers/attention.py:203
def test_fixed_vector_loses_bytes():
    rng = np.random.default_rng(17)
    assert bytes_recovered(4, 64, rng) == bytes_recovered(8, 64, rng) == 1.0
    assert bytes_recovered(8, 60, rng) < 1.0
    assert bytes_recovered(32, 64, rng) < 0.15


# src/topics/transformers/attention.py:210
def test_hand_example():
    Q = np.sqrt(2) * np.array([[np.log(2), 0], [np.log(3), np.log(3)]])
    K = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    O, A = attention(Q, K, np.array([[0.0], [7.0], [14.0]]))
    assert np.allclose(A, [[1 / 7, 2 / 7, 4 / 7], [1 / 5, 1 / 5, 3 / 5]], atol=1e-12)
    assert np.allclose(O, [[10.0], [9.8]], atol=1e-12)


# src/topics/transformers/attention.py:218
def test_attention_is_torch_sdpa():
    import torch

    rng = np.random.default_rng(1)
    for _ in range(25):
        n, m, d_k, d_v = rng.permutation(np.arange(1, 12))[:4]  # all different
        Q, K, V = (rng.normal(size=s) for s in ((n, d_k), (m, d_k), (m, d_v)))
        O, A = attention(Q, K, V)
        want = torch.nn.functional.scaled_dot_product_attention(
            *map(torch.from_numpy, (Q, K, V))
        )
        assert O.shape == (n, d_v) and np.allclose(A.sum(axis=-1), 1)
        assert np.allclose(O, want.numpy(), atol=1e-12)


# src/topics/transformers/attention.py:233
def test_softmax_is_stable_and_shift_invariant():
    import torch

    rng = np.random.default_rng(2)
    for scale in (1.0, 30.0, 1e4):
        s = scale * rng.normal(size=(5, 7))
        want = torch.from_numpy(s).softmax(dim=-1).numpy()
        assert np.allclose(softmax(s), want, atol=1e-12)
        assert np.allclose(softmax(s), softmax(s + 1e3), atol=1e-9)
    assert np.allclose(softmax(np.full((2, 4), 9e9)), 0.25)  # ties, huge


# src/topics/transformers/attention.py:338
def test_additive_scores_against_autograd():
    import torch

    rng = np.random.default_rng(3)
    for _ in range(20):
        n, m, d_k = rng.permutation(np.arange(1, 10))[:3]
        Q, K, w = (rng.normal(size=s) for s in ((n, d_k), (m, d_k), d_k))
        dS = rng.normal(size=(n, m))
        S, T = additive_scores(Q, K, w)
        tQ, tK, tw = (torch.from_numpy(x).requires_grad_() for x in (Q, K, w))
        tS = torch.stack(
            [torch.stack([(tw * torch.tanh(q + k)).sum() for k in tK]) for q in tQ]
        )
        tS.backward(torch.from_numpy(dS))
        assert S.shape == (n, m) and np.allclose(S, tS.detach().numpy(), atol=1e-12)
        for got, leaf in zip(additive_backward(dS, T, w), (tQ, tK, tw)):
            assert got.shape == tuple(leaf.shape)
            assert np.allclose(got, leaf.grad.numpy(), atol=1e-12)


# src/topics/transformers/attention.py:533
def test_forward_and_backward_random_shapes():
    rng = np.random.default_rng(4)
    for trial in range(30):
        n, m, d_k, d_v = rng.permutation(np.arange(2, 13))[:4]  # all different
        mask = None if trial % 3 == 0 else rng.random((n, m)) < 0.6
        if trial % 3 == 1:
            mask[:, 0] = True  # no fully masked row
        elif mask is not None:
            mask[0] = False  # a fully masked row
        check_against_torch(*random_problem(rng, n, m, d_k, d_v), mask)


# src/topics/transformers/attention.py:545
def test_forward_and_backward_edges():
    rng = np.random.default_rng(5)
    check_against_torch(*random_problem(rng, 1, 1, 3, 2), None)
    check_against_torch(*random_problem(rng, 1, 5, 1, 2), None)
    check_against_torch(*random_problem(rng, 4, 1, 3, 2), np.ones((4, 1), dtype=bool))
    check_against_torch(*random_problem(rng, 3, 6, 4, 2, size=40.0), None)
    Q, K, V, dO = random_problem(rng, 3, 5, 4, 2)
    check_against_torch(Q, np.repeat(K[:1], 5, axis=0), V, dO, None)  # ties
    check_against_torch(Q, K, V, dO, np.zeros((3, 5), dtype=bool))  # nothing allowed
    causal = np.tril(np.ones((5, 5), dtype=bool))
    check_against_torch(*random_problem(rng, 5, 5, 4, 2), causal)


# src/topics/transformers/attention.py:559
def test_empty_inputs():
    for n, m in ((0, 3), (2, 0)):
        Q, K, V = np.ones((n, 4)), np.ones((m, 4)), np.ones((m, 5))
        O, A = attention_forward(Q, K, V)
        assert O.shape == (n, 5) and A.shape == (n, m) and not O.any()
        dQ, dK, dV = attention_backward(np.ones((n, 5)), Q, K, V, A)
        assert (dQ.shape, dK.shape, dV.shape) == ((n, 4), (m, 4), (m, 5))


# src/topics/transformers/attention.py:568
def test_masked_keys_do_not_matter():
    rng = np.random.default_rng(6)
    Q, K, V, _ = random_problem(rng, 3, 7, 4, 2)
    mask = np.ones((3, 7), dtype=bool)
    mask[:, 5:] = False
    short, _ = attention_forward(Q, K[:5], V[:5])
    K[5:] *= 100
    assert np.allclose(attention_forward(Q, K, V, mask)[0], short, atol=1e-12)


# src/topics/transformers/attention.py:578
def test_jacobian_norm_and_bound():
    rng = np.random.default_rng(7)
    A = softmax(3 * rng.normal(size=(20, 6)))
    for a, norm in zip(A, jacobian_norm(A)):
        J = np.diag(a) - np.outer(a, a)
        assert abs(np.linalg.norm(J) - norm) < 1e-12
        assert np.abs(J).max() <= 1 - a.max() + 1e-12


# src/topics/transformers/attention.py:707
def test_attention_is_kernel_regression():
    rng = np.random.default_rng(8)
    for _ in range(20):
        n, m, d_k, d_v = rng.permutation(np.arange(2, 12))[:4]
        Q, K, V, _ = random_problem(rng, n, m, d_k, d_v)
        biased = softmax((Q @ K.T - 0.5 * (K**2).sum(axis=-1)) / np.sqrt(d_k)) @ V
        assert np.allclose(nadaraya_watson(Q, K, V, np.sqrt(d_k)), biased, atol=1e-12)
        K = K / np.linalg.norm(K, axis=-1, keepdims=True)
        assert np.allclose(
            nadaraya_watson(Q, K, V, np.sqrt(d_k)), attention(Q, K, V)[0], atol=1e-12
        )


# src/topics/transformers/attention.py:783
def test_cost_against_torch_counter():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    rng = np.random.default_rng(9)
    for _ in range(20):
        n, m, d_k, d_v, heads = (int(x) for x in rng.permutation(np.arange(2, 20))[:5])
        Q, K, V = (torch.randn(heads, *s) for s in ((n, d_k), (m, d_k), (m, d_v)))
        with FlopCounterMode(display=False) as counter:
            A = torch.softmax(Q @ K.transpose(1, 2), dim=-1)
            O = A @ V
        assert counter.get_total_flops() == attention_flops(n, m, d_k, d_v, heads)
        vectors, weights = attention_bytes(n, m, d_k, d_v, heads, itemsize=4)
        assert vectors == sum(x.numel() * x.element_size() for x in (Q, K, V, O))
        assert weights == A.numel() * A.element_size()


# src/topics/transformers/attention.py:918
def test_other_weights():
    rng = np.random.default_rng(16)
    for _ in range(20):
        d_v = int(rng.integers(1, 5))
        m = d_v + int(rng.integers(2, 9))
        V, a = rng.normal(size=(m, d_v)), softmax(rng.normal(size=m))
        b = other_weights(a, V)
        assert np.allclose(a @ V, b @ V) and np.isclose(b.sum(), 1)
        assert b.min() > -1e-9 and b[a.argmax()] < a.max()


# src/topics/transformers/attention.py:975
def test_masked_by_hand():
    Q = np.sqrt(2) * np.array([[np.log(2), 0], [np.log(3), np.log(3)]])
    K = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    mask = np.array([[True, True, False]] * 2)
    want, _ = attention_forward(Q, K, np.array([[0.0], [7.0], [14.0]]), mask)
    got = masked_by_hand()
    assert got.shape == (2, 1) and np.allclose(got, want)


# src/topics/transformers/attention.py:1001
def test_causal_mask():
    import torch
    from torch.nn.attention.bias import causal_lower_right

    rng = np.random.default_rng(10)
    for n, m in [(1, 1), (1, 6), (3, 3), (2, 5), (4, 9), (7, 8)]:
        mask = causal_mask(n, m)
        assert mask.shape == (n, m) and mask.dtype == bool
        assert list(mask.sum(axis=1)) == list(range(m - n + 1, m + 1))
        Q, K, V, _ = random_problem(rng, n, m, 4, 3)
        want = torch.nn.functional.scaled_dot_product_attention(
            *(torch.from_numpy(x)[None, None] for x in (Q, K, V)),
            attn_mask=causal_lower_right(n, m),
        )
        got, _ = attention_forward(Q, K, V, mask)
        assert np.allclose(got, want[0, 0].numpy(), atol=1e-12)


# src/topics/transformers/attention.py:1041
def test_online_attention():
    rng = np.random.default_rng(11)
    for size in (1.0, 1.0, 100.0, 1e-8):
        for _ in range(10):
            m, d_k, d_v = rng.permutation(np.arange(1, 12))[:3]
            Q, K, V, _ = random_problem(rng, 1, m, d_k, d_v, size)
            got = online_attention(Q[0], K, V)
            assert got.shape == (d_v,)
            assert np.allclose(got, attention(Q, K, V)[0][0], rtol=1e-9, atol=1e-12)


# src/topics/transformers/attention.py:1070
def test_sink_attention():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n, m, d_k, d_v = rng.permutation(np.arange(1, 12))[:4]
        Q, K, V, _ = random_problem(rng, n, m, d_k, d_v)
        b = rng.normal()
        exps = np.exp(Q @ K.T / np.sqrt(d_k))
        want = exps / (np.exp(b) + exps.sum(axis=1, keepdims=True)) @ V
        assert np.allclose(sink_attention(Q, K, V, b), want, atol=1e-12)
    assert np.allclose(sink_attention(Q, K, V, -np.inf), attention(Q, K, V)[0])
    assert np.allclose(sink_attention(Q, K, V, 5000.0), 0.0)
    assert np.isfinite(sink_attention(1e4 * Q, K, V, 0.0)).all()


# src/topics/transformers/attention.py:1101
def test_largest_weight():
    rng = np.random.default_rng(13)
    for m in (1, 2, 5, 100):
        for B in (0.0, 0.5, 3.0):
            s = np.full(m, -B)
            s[0] = B
            assert abs(largest_weight(B, m) - softmax(s)[0]) < 1e-12
            tries = softmax(rng.uniform(-B, B, size=(200, m))).max()
            assert tries <= largest_weight(B, m) + 1e-12


# src/topics/transformers/attention.py:1137
def test_unscaled_twin():
    def outputs(W_q, W_k, lr, scale):
        rng, seen = np.random.default_rng(14), []
        X_q, X_k = rng.normal(size=(5, 6)), rng.normal(size=(7, 6))
        V, goal = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
        for _ in range(6):
            Q, K = X_q @ W_q, X_k @ W_k
            O, A = attention_forward(Q, K, V, scale=scale)
            dQ, dK, _ = attention_backward(O - goal, Q, K, V, A, scale)
            W_q, W_k = W_q - lr * X_q.T @ dQ, W_k - lr * X_k.T @ dK
            seen.append(O)
        return np.array(seen)

    rng = np.random.default_rng(15)
    for d_k in (1, 4, 9, 50):
        W_q, W_k = rng.normal(size=(2, 6, d_k)) / np.sqrt(6)
        scaled = outputs(W_q, W_k, 0.05, None)
        twin = outputs(*unscaled_twin(W_q, W_k, 0.05), 1.0)
        assert np.allclose(twin, scaled, atol=1e-9)
        assert not np.allclose(scaled[0], scaled[-1])
