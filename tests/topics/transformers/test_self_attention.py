# Generated from src/topics/transformers/self-attention.py: edit that file, then run doit. digest:f34bc02dcee78471

"""Tests of transformers/self-attention: Self-attention."""

import numpy as np


# src/topics/transformers/self-attention.py:43
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/transformers/self-attention.py:132
def self_attention(
    X: np.ndarray,
    W_q: np.ndarray,
    W_k: np.ndarray,
    W_v: np.ndarray,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """X (..., T, d_model): the output (..., T, d_v) and the weights (..., T, T)."""
    Q, K, V = X @ W_q, X @ W_k, X @ W_v
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1])
    A = masked_softmax(S, mask)
    return A @ V, A


# src/topics/transformers/self-attention.py:146
def circle_odds(A: np.ndarray) -> float:
    """Product of the odds right : wrong for weights A (3, 3) on 1 -> 2 -> 3 -> 1."""
    return A[0, 1] / A[0, 2] * A[1, 2] / A[1, 0] * A[2, 0] / A[2, 1]


# src/topics/transformers/self-attention.py:185
def step_by_step(
    X: np.ndarray, W_q: np.ndarray, W_k: np.ndarray, W_v: np.ndarray
) -> np.ndarray:
    """Causal self-attention (T, d_v) of X (T, d_model), one token at a time."""
    keys, values, outputs = [], [], []
    for x in X:
        keys.append(x @ W_k)  # the cache grows by one row
        values.append(x @ W_v)
        s = np.array(keys) @ (x @ W_q) / np.sqrt(W_k.shape[-1])
        outputs.append(masked_softmax(s) @ np.array(values))
    return np.array(outputs)


# src/topics/transformers/self-attention.py:258
def random_layer(rng, *lead, sizes=None):
    """X (*lead, T, d_model) and the three weights; all sizes different."""
    if sizes is None:
        sizes = rng.permutation(np.arange(2, 13))[:4]
    T, d_model, d_k, d_v = (int(s) for s in sizes)
    shapes = ((d_model, d_k), (d_model, d_k), (d_model, d_v))
    X = rng.normal(size=(*lead, T, d_model))
    return X, *(rng.normal(size=s) / np.sqrt(d_model) for s in shapes)


# src/topics/transformers/self-attention.py:344
def frequencies(d: int, base: float = 10000.0) -> np.ndarray:
    """theta_i = base^(-2i/d), shape (d/2,): radians per token."""
    return base ** (-np.arange(0, d, 2) / d)


# src/topics/transformers/self-attention.py:349
def sinusoids(positions: np.ndarray, d: int) -> np.ndarray:
    """Position vectors (T, d) of the 2017 transformer, for positions (T,)."""
    angle = np.multiply.outer(positions, frequencies(d))  # (T, d/2)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(-1, d)


# src/topics/transformers/self-attention.py:395
def rope(
    x: np.ndarray, positions: np.ndarray, theta: np.ndarray, interleaved: bool = False
) -> np.ndarray:
    """Turn the pairs of x (..., T, d) by positions (..., T) times theta (d/2,)."""
    angle = np.multiply.outer(positions, theta)  # (..., T, d/2)
    cos, sin = np.cos(angle), np.sin(angle)
    if interleaved:
        a, b = x[..., ::2], x[..., 1::2]
    else:
        a, b = np.split(x, 2, axis=-1)
    turned = [a * cos - b * sin, a * sin + b * cos]  # (a, b) R(angle)
    if interleaved:
        return np.stack(turned, axis=-1).reshape(x.shape)
    return np.concatenate(turned, axis=-1)


# src/topics/transformers/self-attention.py:411
def pairs_to_halves(d: int) -> np.ndarray:
    """Order of columns that turns interleaved pairs into half-split ones."""
    return np.concatenate([np.arange(0, d, 2), np.arange(1, d, 2)])


# src/topics/transformers/self-attention.py:528
def alibi(T: int, slope: float) -> np.ndarray:
    """Bias (T, T): minus the slope times the distance back to the key."""
    distance = np.arange(T)[:, None] - np.arange(T)[None, :]
    return -slope * np.maximum(distance, 0.0)


# src/topics/transformers/self-attention.py:578
def stretched(theta: np.ndarray, s: float, L: int, rule: str) -> np.ndarray:
    """Frequencies (d/2,) for s times the trained length L."""
    if rule == "PI":
        return theta / s
    if rule == "NTK":
        return theta * s ** (-np.arange(len(theta)) / (len(theta) - 1))
    turns = L * theta / (2 * np.pi)
    if rule == "YaRN":  # the ramp of the paper
        gamma = np.clip((turns - 1) / (32 - 1), 0, 1)
    else:  # "YaRN, log ramp": the ramp of the code, linear in i
        gamma = np.clip(np.log(turns) / np.log(32), 0, 1)
    return gamma * theta + (1 - gamma) * theta / s


# src/topics/transformers/self-attention.py:625
def window_mask(T: int, w: int) -> np.ndarray:
    """Mask (T, T): query i sees keys i - w + 1 to i."""
    back = np.arange(T)[:, None] - np.arange(T)[None, :]
    return (back >= 0) & (back < w)


# src/topics/transformers/self-attention.py:718
def layer_forward(
    X: np.ndarray,
    W: dict[str, np.ndarray],
    mask: np.ndarray | None = None,
    theta: np.ndarray | None = None,
    bias: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, tuple]:
    """X (B, T, d_model): output (B, T, d_v), what backward needs; RoPE if theta."""
    Q, K, V = X @ W["W_q"], X @ W["W_k"], X @ W["W_v"]
    if theta is not None:
        positions = np.arange(X.shape[-2])
        Q, K = rope(Q, positions, theta), rope(K, positions, theta)
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1]) + bias
    A = masked_softmax(S, mask)
    return A @ V, (X, Q, K, V, A)


# src/topics/transformers/self-attention.py:735
def layer_backward(
    dO: np.ndarray,
    W: dict[str, np.ndarray],
    saved: tuple,
    theta: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """From dO (B, T, d_v): the gradients of X, W_q, W_k, W_v and of the scores S."""
    X, Q, K, V, A = saved
    dV = A.swapaxes(-1, -2) @ dO
    dA = dO @ V.swapaxes(-1, -2)
    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))
    dQ = dS @ K / np.sqrt(K.shape[-1])
    dK = dS.swapaxes(-1, -2) @ Q / np.sqrt(K.shape[-1])
    if theta is not None:
        back = -np.arange(X.shape[-2])
        dQ, dK = rope(dQ, back, theta), rope(dK, back, theta)
    grads = {"X": dQ @ W["W_q"].T + dK @ W["W_k"].T + dV @ W["W_v"].T, "S": dS}
    rows = X.reshape(-1, X.shape[-1])  # (B T, d_model)
    for name, d in (("W_q", dQ), ("W_k", dK), ("W_v", dV)):
        grads[name] = rows.T @ d.reshape(-1, d.shape[-1])
    return grads


# src/topics/transformers/self-attention.py:774
def check_layer(rng, B, T, d_model, d_k, d_v, kind, size=1.0, mask=None):
    """Forward and backward against autograd through torch's fused attention."""
    import torch

    X, W_q, W_k, W_v = random_layer(rng, B, sizes=(T, d_model, d_k, d_v))
    X, W = size * X, {"W_q": W_q, "W_k": W_k, "W_v": W_v}
    theta = frequencies(d_k, 50.0) if "rope" in kind else None
    bias = rng.normal(size=(T, T)) if "bias" in kind else np.zeros((T, T))
    dO = rng.normal(size=(B, T, d_v))
    O, saved = layer_forward(X, W, mask, theta, bias)
    grads = layer_backward(dO, W, saved, theta)
    leaves = {n: torch.from_numpy(a.copy()).requires_grad_()
              for n, a in {"X": X, **W, "S": bias}.items()}
    tQ, tK, tV = (leaves["X"] @ leaves[n] for n in ("W_q", "W_k", "W_v"))
    if theta is not None:  # RoPE by complex numbers
        angle = torch.from_numpy(np.outer(np.arange(T), theta))
        polar = torch.polar(torch.ones_like(angle), angle)
        turned = []
        for x in (tQ, tK):
            z = torch.complex(*x.chunk(2, dim=-1)) * polar
            turned.append(torch.cat([z.real, z.imag], dim=-1))
        tQ, tK = turned
    added = leaves["S"]
    if mask is not None:
        added = added.masked_fill(torch.from_numpy(~mask), float("-inf"))
    want = torch.nn.functional.scaled_dot_product_attention(tQ, tK, tV, attn_mask=added)
    want.backward(torch.from_numpy(dO))
    assert O.shape == (B, T, d_v)
    assert np.allclose(O, want.detach().numpy(), atol=1e-10)
    grads["S"] = grads["S"].sum(axis=0)  # one bias for all sequences of the batch
    for name, leaf in leaves.items():
        assert grads[name].shape == tuple(leaf.shape)
        assert np.allclose(grads[name], leaf.grad.numpy(), atol=1e-9)


# src/topics/transformers/self-attention.py:1024
def generate_scores(Q: np.ndarray, K: np.ndarray, restart: bool) -> np.ndarray:
    """RoPE scores of the last query (d_k,) with a cache of turned keys (T, d_k)."""
    T, theta = len(K), frequencies(K.shape[-1])
    cache = rope(K, np.arange(T), theta)
    return cache @ rope(Q[-1:], np.array([0 if restart else T - 1]), theta)[0]


# src/topics/transformers/self-attention.py:1105
def causal_by_hand() -> np.ndarray:
    """Outputs (3, 1) of the hand example under a causal mask."""
    # Row 1 sees itself. Row 2: exponentials 1/2 and 1, weights 1/3 and 2/3.
    return np.array([[7.0], [(7 + 2 * 14) / 3], [0.0]])


# src/topics/transformers/self-attention.py:1143
def sink_window_mask(T: int, w: int, sinks: int) -> np.ndarray:
    """Mask (T, T): the last w keys and the first few, never the future."""
    i, j = np.arange(T)[:, None], np.arange(T)[None, :]
    return (j <= i) & ((i - j < w) | (j < sinks))


# src/topics/transformers/self-attention.py:1172
def padded_positions(keep: np.ndarray) -> np.ndarray:
    """Positions (B, T) from keep (B, T), True where there is a real token."""
    return np.maximum(np.cumsum(keep, axis=-1) - 1, 0)


# src/topics/transformers/self-attention.py:1204
def offset_gradient(dS: np.ndarray) -> np.ndarray:
    """Gradient (2T - 1,) of the bias for offsets i - j, ascending, from dS (T, T)."""
    T = len(dS)
    # Offset i - j lies on the diagonal j - i; it was used once for each entry there.
    return np.array([np.trace(dS, offset=-k) for k in range(-(T - 1), T)])


# src/topics/transformers/self-attention.py:1238
def copy_query(d_k: int, back: int, c: float, theta: np.ndarray) -> np.ndarray:
    """Query (d_k,) that looks `back` steps back when all keys are ones."""
    return c * rope(np.ones((1, d_k)), np.array([-back]), theta)[0]


# src/topics/transformers/self-attention.py:1274
def swap_gap(layers: int, rng: np.random.Generator) -> float:
    """Largest change of the last output when the first two tokens trade places."""
    X, mask = rng.normal(size=(5, 6)), np.tril(np.ones((5, 5), dtype=bool))
    swapped = X[[1, 0, 2, 3, 4]]
    for _ in range(layers):
        W = rng.normal(size=(3, 6, 6)) / np.sqrt(6)
        X, swapped = (self_attention(Z, *W, mask)[0] for Z in (X, swapped))
    return float(np.abs(X[-1] - swapped[-1]).max())


# src/topics/transformers/self-attention.py:268
def test_shared_projection_is_symmetric():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    turn = np.sqrt(2) * np.log(2) * np.array([[0.0, 1.0], [-1.0, 0.0]])
    O, A = self_attention(X, turn, np.eye(2), np.array([[7.0], [14.0]]))
    assert np.allclose(O, [[7.0], [-7.0], [0.0]], atol=1e-12)
    assert abs(circle_odds(A) - 64) < 1e-9
    rng = np.random.default_rng(1)
    for _ in range(20):
        X, W, _, W_v = random_layer(rng, sizes=(3, 5, 4, 2))
        _, A = self_attention(X, W, W, W_v)
        assert abs(circle_odds(A) - 1) < 1e-9
        right = np.array([A[0, 1], A[1, 2], A[2, 0]])
        wrong = np.array([A[0, 2], A[1, 0], A[2, 1]])
        assert (right <= wrong + 1e-12).any()


# src/topics/transformers/self-attention.py:284
def test_parallel_is_step_by_step():
    rng = np.random.default_rng(2)
    for trial in range(25):
        layer = random_layer(rng, sizes=(1, 3, 4, 2) if trial == 0 else None)
        T = len(layer[0])
        causal = np.tril(np.ones((T, T), dtype=bool))
        O, A = self_attention(*layer, causal)
        assert np.allclose(O, step_by_step(*layer), atol=1e-12)
        for t in range(T):  # the statement that the text proves
            alone, _ = self_attention(layer[0][: t + 1], *layer[1:])
            assert np.allclose(O[t], alone[-1], atol=1e-12)
        assert (A[~causal] == 0).all()


# src/topics/transformers/self-attention.py:298
def test_permutation_equivariance():
    rng = np.random.default_rng(3)
    for _ in range(20):
        X, *weights = random_layer(rng, 3)
        order = rng.permutation(X.shape[1])
        O, A = self_attention(X, *weights)
        moved, A_moved = self_attention(X[:, order], *weights)
        assert np.allclose(moved, O[:, order], atol=1e-12)
        assert np.allclose(A_moved, A[:, order][:, :, order], atol=1e-12)


# src/topics/transformers/self-attention.py:432
def test_sinusoids_against_two_references():
    import warnings

    import torch

    with warnings.catch_warnings():  # tqdm's advice about notebook widgets
        warnings.simplefilter("ignore")
        from transformers.models.distilbert.modeling_distilbert import (
            create_sinusoidal_embeddings,
        )

    for T, d in [(1, 2), (5, 6), (40, 10), (7, 64), (512, 16)]:
        P = sinusoids(np.arange(T), d)
        table = torch.zeros(T, d, dtype=torch.float64)
        create_sinusoidal_embeddings(T, d, table)  # rounds to float32 inside
        assert P.shape == (T, d) and np.allclose(P, table.numpy(), atol=1e-7)
        for t in range(0, T, 7):  # the formula, entry by entry
            for c in range(d):
                angle = t / 10000 ** (2 * (c // 2) / d)
                want = np.cos(angle) if c % 2 else np.sin(angle)
                assert abs(P[t, c] - want) < 1e-12


# src/topics/transformers/self-attention.py:455
def test_rope_is_hugging_face_in_both_conventions():
    import torch
    from transformers.models.gptj import modeling_gptj as gptj
    from transformers.models.llama import modeling_llama as llama

    rng = np.random.default_rng(4)
    for _ in range(25):
        B, T, half = (int(s) for s in rng.permutation(np.arange(1, 9))[:3])
        d, base = 2 * half, float(rng.choice([100.0, 1e4, 5e5]))
        q, k = rng.normal(size=(2, B, T, d))
        positions, theta = rng.integers(0, 64, size=(B, T)), frequencies(d, base)
        angle = torch.from_numpy(positions[..., None] * theta)
        twice = torch.cat([angle, angle], dim=-1)
        tq, tk = (torch.from_numpy(x)[:, None] for x in (q, k))  # one head
        want = llama.apply_rotary_pos_emb(tq, tk, twice.cos(), twice.sin())
        for x, y in zip((q, k), want):
            assert np.allclose(rope(x, positions, theta), y[:, 0].numpy(), atol=1e-12)
        config = llama.LlamaConfig(
            hidden_size=d, num_attention_heads=1, head_dim=d,
            rope_parameters={"rope_type": "default", "rope_theta": base},
        )
        table = llama.LlamaRotaryEmbedding(config)  # float32 inside
        cos, sin = table(tq, torch.from_numpy(positions))
        assert np.allclose(cos.numpy(), twice.cos().numpy(), atol=1e-4)
        assert np.allclose(sin.numpy(), twice.sin().numpy(), atol=1e-4)
        pairs = gptj.apply_rotary_pos_emb(
            torch.from_numpy(q)[:, :, None], angle.sin(), angle.cos()
        )[:, :, 0].numpy()
        got = rope(q, positions, theta, interleaved=True)
        complex_q = torch.view_as_complex(torch.from_numpy(q).reshape(B, T, half, 2))
        polar = torch.polar(torch.ones_like(angle), angle)
        by_complex = torch.view_as_real(complex_q * polar).reshape(B, T, d).numpy()
        assert np.allclose(got, pairs, atol=1e-12)
        assert np.allclose(got, by_complex, atol=1e-12)
        order = pairs_to_halves(d)
        assert np.allclose(rope(q[..., order], positions, theta), got[..., order])


# src/topics/transformers/self-attention.py:493
def test_rope_scores_depend_on_the_difference():
    rng = np.random.default_rng(5)
    for trial in range(20):
        d, theta = 2 * (trial % 5 + 1), frequencies(2 * (trial % 5 + 1))
        q, k = rng.normal(size=(2, 1, d))
        m, n, shift = rng.integers(0, 200, size=(3, 1))
        for pairs in (False, True):
            here = rope(q, m, theta, pairs) @ rope(k, n, theta, pairs).T
            q_late = rope(q, m + shift, theta, pairs)
            there = q_late @ rope(k, n + shift, theta, pairs).T
            relative = rope(q, m - n, theta, pairs) @ k.T
            assert np.allclose(here, there, atol=1e-9)
            assert np.allclose(here, relative, atol=1e-9)
            assert np.isclose(np.linalg.norm(rope(q, m, theta, pairs)),
                              np.linalg.norm(q))


# src/topics/transformers/self-attention.py:632
def test_alibi_is_bloom():
    import torch
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    rng = np.random.default_rng(6)
    for T in (1, 2, 7, 20):
        ones = torch.ones(1, T, dtype=torch.int64)
        reference = build_alibi_tensor(ones, 8, torch.float64).numpy()  # (8, 1, T)
        causal = np.tril(np.ones((T, T), dtype=bool))
        for head in range(8):
            S = rng.normal(size=(T, T))
            got = masked_softmax(S + alibi(T, 2.0 ** -(head + 1)), causal)
            want = masked_softmax(S + reference[head], causal)  # shifted by rows
            assert np.allclose(got, want, atol=1e-12)


# src/topics/transformers/self-attention.py:648
def test_stretched_is_hugging_face():
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rng = np.random.default_rng(7)
    names = {"PI": "linear", "NTK": "dynamic", "YaRN, log ramp": "yarn"}
    for _ in range(20):
        d, base = 2 * int(rng.integers(2, 65)), float(rng.choice([1e4, 5e5]))
        L, s = int(rng.choice([512, 2048, 4096])), float(rng.choice([2.0, 4.0, 16.0]))
        for rule, name in names.items():
            parameters = {"rope_type": name, "rope_theta": base, "factor": s}
            if rule == "NTK":  # "dynamic" takes s from the length it is given
                parameters["factor"] = 1.0
            elif rule != "PI":
                parameters |= {"truncate": False, "original_max_position_embeddings": L}
            config = LlamaConfig(
                hidden_size=d, num_attention_heads=1, head_dim=d,
                max_position_embeddings=L if rule == "NTK" else int(s * L),
                rope_parameters=parameters,
            )
            length = {"seq_len": int(s * L)} if rule == "NTK" else {}
            want, factor = ROPE_INIT_FUNCTIONS[name](config, "cpu", **length)
            got = stretched(frequencies(d, base), s, L, rule)
            assert np.allclose(got, want.numpy(), rtol=1e-4, atol=0)
            if name == "yarn":
                assert abs(factor - (0.1 * np.log(s) + 1)) < 1e-12
    theta = frequencies(64)
    paper = stretched(theta, 4.0, 4096, "YaRN")
    turns = 4096 * theta / (2 * np.pi)
    assert np.array_equal(paper[turns >= 32], theta[turns >= 32])
    assert np.allclose(paper[turns <= 1], theta[turns <= 1] / 4)
    for t, got, r in zip(theta, paper, turns):  # the paper's ramp, clock by clock
        g = 0.0 if r < 1 else 1.0 if r > 32 else (r - 1) / 31
        assert np.isclose(got, g * t + (1 - g) * t / 4, rtol=1e-12, atol=0)


# src/topics/transformers/self-attention.py:684
def test_windows_reach_one_window_per_layer():
    rng = np.random.default_rng(8)
    T, w, layers = 16, 4, 3
    _, W_q, W_k, W_v = random_layer(rng, sizes=(T, 6, 5, 6))
    X = rng.normal(size=(T, 6))
    changed = X.copy()
    changed[2] += 1.0
    for _ in range(layers):
        X, _ = self_attention(X, W_q, W_k, W_v, window_mask(T, w))
        changed, _ = self_attention(changed, W_q, W_k, W_v, window_mask(T, w))
    moved = np.flatnonzero(np.abs(X - changed).max(axis=-1) > 0)
    assert list(moved) == list(range(2, 2 + layers * (w - 1) + 1))
    assert list(window_mask(5, 2).sum(axis=1)) == [1, 2, 2, 2, 2]


# src/topics/transformers/self-attention.py:809
def test_layer_random_shapes():
    rng = np.random.default_rng(9)
    for trial in range(32):
        B, T, d_model, d_v = (int(x) for x in rng.permutation(np.arange(2, 11))[:4])
        d_k = 2 * int(rng.integers(1, 7))
        kind = ("plain", "rope", "bias", "rope bias")[trial % 4]
        mask = None
        if trial >= 8:
            mask = np.tril(np.ones((T, T), dtype=bool)) & (rng.random((T, T)) < 0.8)
            mask[:, 0] = True
        check_layer(rng, B, T, d_model, d_k, d_v, kind, mask=mask)


# src/topics/transformers/self-attention.py:822
def test_layer_edges():
    rng = np.random.default_rng(10)
    check_layer(rng, 1, 1, 3, 2, 4, "rope")
    check_layer(rng, 2, 5, 3, 4, 1, "rope bias", size=300.0)
    blind = np.tril(np.ones((4, 4), dtype=bool))
    blind[0] = False  # a query that may look at nothing
    check_layer(rng, 3, 4, 5, 2, 6, "plain", mask=blind)
    W = {"W_q": np.ones((3, 2)), "W_k": np.ones((3, 2)), "W_v": np.ones((3, 5))}
    O, saved = layer_forward(np.ones((2, 0, 3)), W, theta=np.ones(1))  # no tokens
    grads = layer_backward(O, W, saved, np.ones(1))
    assert O.shape == (2, 0, 5) and grads["X"].shape == (2, 0, 3)
    assert all(not grads[name].any() for name in W)
    X = np.repeat(rng.normal(size=(1, 1, 3)), 4, axis=1)  # ties
    assert np.allclose(layer_forward(X, W)[1][-1], 0.25)


# src/topics/transformers/self-attention.py:1076
def test_cache_needs_absolute_positions():
    rng = np.random.default_rng(14)
    for T, d in [(1, 2), (2, 4), (9, 6), (30, 16)]:
        Q, K = rng.normal(size=(2, T, d))
        Q_turned, K_turned = (rope(x, np.arange(T), frequencies(d)) for x in (Q, K))
        want = (Q_turned @ K_turned.T)[-1]
        assert np.allclose(generate_scores(Q, K, restart=False), want, atol=1e-12)
        if T > 1:
            assert not np.allclose(generate_scores(Q, K, restart=True), want, atol=1e-3)


# src/topics/transformers/self-attention.py:1087
def test_bfloat16_loses_positions():
    import torch

    exact = torch.arange(1000.0)
    rounded = exact.to(torch.bfloat16).float()
    assert torch.equal(rounded[:257], exact[:257]) and rounded[257] == 256


# src/topics/transformers/self-attention.py:1114
def test_causal_by_hand():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    turn = np.sqrt(2) * np.log(2) * np.array([[0.0, 1.0], [-1.0, 0.0]])
    mask = np.tril(np.ones((3, 3), dtype=bool))
    want, _ = self_attention(X, turn, np.eye(2), np.array([[7.0], [14.0]]), mask)
    got = causal_by_hand()
    assert got.shape == (3, 1) and np.allclose(got, want)


# src/topics/transformers/self-attention.py:1152
def test_sink_window_mask():
    rng = np.random.default_rng(11)
    for _ in range(20):
        T, w, sinks = (int(x) for x in rng.integers(1, 12, size=3))
        mask = sink_window_mask(T, w, sinks)
        assert mask.shape == (T, T) and mask.dtype == bool
        for i in range(T):
            want = set(range(max(0, i - w + 1), i + 1)) | set(range(min(sinks, i + 1)))
            assert set(np.flatnonzero(mask[i])) == want
        assert np.array_equal(sink_window_mask(T, w, 0), window_mask(T, w))


# src/topics/transformers/self-attention.py:1180
def test_padded_positions():
    keep = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]], dtype=bool)
    positions = padded_positions(keep)
    assert positions.tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [0, 0, 0, 0, 0]]
    rng = np.random.default_rng(12)
    X, *weights = random_layer(rng, 3, sizes=(5, 6, 4, 3))
    told = X + np.array([sinusoids(p, 6) for p in positions])
    mask = np.tril(np.ones((5, 5), dtype=bool)) & keep[:, None, :]
    O, _ = self_attention(told, *weights, mask)
    for b, pad in enumerate((2, 0, 4)):
        text = X[b, pad:] + sinusoids(np.arange(5 - pad), 6)
        causal = np.tril(np.ones((5 - pad, 5 - pad), dtype=bool))
        alone, _ = self_attention(text, *weights, causal)
        assert np.allclose(O[b, pad:], alone, atol=1e-12)


# src/topics/transformers/self-attention.py:1214
def test_offset_gradient():
    import torch

    rng = np.random.default_rng(13)
    for T in range(1, 21):
        S, G = rng.normal(size=(2, T, T))
        b = torch.from_numpy(rng.normal(size=2 * T - 1)).requires_grad_()
        offsets = np.arange(T)[:, None] - np.arange(T)[None, :] + T - 1
        A = torch.softmax(torch.from_numpy(S) + b[torch.from_numpy(offsets)], dim=-1)
        (A * torch.from_numpy(G)).sum().backward()
        A = A.detach().numpy()
        dS = A * (G - (G * A).sum(axis=-1, keepdims=True))
        assert np.allclose(offset_gradient(dS), b.grad.numpy(), atol=1e-12)


# src/topics/transformers/self-attention.py:1246
def test_copy_query():
    for d_k, back, T in [(8, 1, 12), (16, 3, 64), (32, 5, 200), (64, 0, 50)]:
        theta, at = frequencies(d_k), np.arange(T)
        Q = np.tile(copy_query(d_k, back, 30.0, theta), (T, 1))
        K = np.ones((T, d_k))
        S = rope(Q, at, theta) @ rope(K, at, theta).T / np.sqrt(d_k)
        A = masked_softmax(S, np.tril(np.ones((T, T), dtype=bool)))
        assert (A.argmax(axis=-1)[back:] == at[: T - back]).all()
        assert A[at[back:], at[: T - back]].min() > 0.9


# src/topics/transformers/self-attention.py:1287
def test_swap_gap():
    for seed in range(20):
        assert swap_gap(1, np.random.default_rng(seed)) < 1e-12
        assert swap_gap(2, np.random.default_rng(seed)) > 1e-6
