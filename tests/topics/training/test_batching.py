# Generated from src/topics/training/batching.py: edit that file, then run doit. digest:f9f6a318cfb3620e

"""Tests of training/batching: Batching."""

import numpy as np


# src/topics/training/batching.py:50
def start(seed: int, d_in: int = 64, h: int = 32, K: int = 10) -> list[np.ndarray]:
    """Random W1, b1, W2, b2 of a network d_in, h, K."""
    rng = np.random.default_rng(seed)
    W1 = rng.normal(size=(d_in, h)) / np.sqrt(d_in)
    W2 = rng.normal(size=(h, K)) / np.sqrt(h)
    return [W1, np.zeros(h), W2, np.zeros(K)]


# src/topics/training/batching.py:58
def scores_and_signals(params: list, X: np.ndarray, y: np.ndarray) -> tuple:
    """Losses (n,), hidden H (n, h), error signals dS (n, K) at scores, dH (n, h)."""
    W1, b1, W2, b2 = params
    H = np.maximum(X @ W1 + b1, 0)
    S = H @ W2 + b2
    S = S - S.max(axis=1, keepdims=True)
    log_p = S - np.log(np.exp(S).sum(axis=1, keepdims=True))
    dS = np.exp(log_p)
    dS[np.arange(len(y)), y] -= 1  # softmax minus one-hot
    return -log_p[np.arange(len(y)), y], H, dS, (dS @ W2.T) * (H > 0)


# src/topics/training/batching.py:70
def loss_and_gradient(params: list, X: np.ndarray, y: np.ndarray) -> tuple[float, list]:
    """Mean loss over X (n, d_in), y (n,), and its gradient with respect to params."""
    loss, H, dS, dH = scores_and_signals(params, X, y)
    dS, dH = dS / len(y), dH / len(y)
    return loss.mean(), [X.T @ dH, dH.sum(axis=0), H.T @ dS, dS.sum(axis=0)]


# src/topics/training/batching.py:136
def noise_scale(params: list, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Squared norm of the full gradient, and the trace of the examples' covariance."""
    _, H, dS, dH = scores_and_signals(params, X, y)
    squares = ((X**2).sum(axis=1) + 1) * (dH**2).sum(axis=1)  # + 1 for the bias
    squares += ((H**2).sum(axis=1) + 1) * (dS**2).sum(axis=1)
    _, grads = loss_and_gradient(params, X, y)
    signal = sum((G**2).sum() for G in grads)
    return float(signal), float(squares.mean() - signal)


# src/topics/training/batching.py:146
def noise_from_two(small: float, large: float, b: int, B: int) -> tuple[float, float]:
    """The same two, from the mean squared norms of gradients of batches b < B."""
    signal = (B * large - b * small) / (B - b)
    return signal, (small - large) / (1 / b - 1 / B)


# src/topics/training/batching.py:189
def random_problem(rng):
    """Parameters, inputs and labels, all sizes different."""
    n, d_in, h, K = rng.permutation(np.arange(2, 9))[:4]
    params = [P + 0.1 * rng.normal(size=P.shape)
              for P in start(int(rng.integers(99)), d_in, h, K)]
    return params, rng.normal(size=(n, d_in)), rng.integers(K, size=n)


# src/topics/training/batching.py:383
def accumulate(params: list, parts: list, total: int | None = None) -> list[np.ndarray]:
    """Gradient from parts (X_j, y_j): sums over `total`, or else the mean of means."""
    grads = [np.zeros_like(W) for W in params]
    for X_j, y_j in parts:
        weight = 1 / len(parts) if total is None else len(y_j) / total
        for G, G_j in zip(grads, loss_and_gradient(params, X_j, y_j)[1]):
            G += weight * G_j
    return grads


# src/topics/training/batching.py:393
def distance(A: list, B: list) -> float:
    """Norm of the difference relative to the norm of B, over lists of arrays."""
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(A, B))
                         / sum((b**2).sum() for b in B)))


# src/topics/training/batching.py:435
def first_fit(lengths: list[int], T: int) -> list[list[int]]:
    """Texts of each row of length T: longest first, into the first row with room."""
    rows, room = [], []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = next((r for r, free in enumerate(room) if free >= lengths[i]), None)
        if fits is None:
            rows.append([])
            room.append(T)
            fits = len(rows) - 1
        rows[fits].append(i)
        room[fits] -= lengths[i]
    return rows


# src/topics/training/batching.py:465
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/training/batching.py:475
def packed_mask(texts: np.ndarray) -> np.ndarray:
    """(T, T), True = may look, from the number of each token's text (T,)."""
    order = np.arange(len(texts))
    return (texts[:, None] == texts[None, :]) & (order[:, None] >= order[None, :])


# src/topics/training/batching.py:481
def positions(texts: np.ndarray) -> np.ndarray:
    """Place of each token in its own text (T,), for texts that lie in a row."""
    order = np.arange(len(texts))
    starts = np.concatenate([[True], texts[1:] != texts[:-1]])
    return order - np.maximum.accumulate(np.where(starts, order, 0))


# src/topics/training/batching.py:488
def attend(Q: np.ndarray, K: np.ndarray, V: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Masked attention of Q, K (T, d_k) over V (T, d_v)."""
    return masked_softmax(Q @ K.T / np.sqrt(K.shape[1]), mask) @ V


# src/topics/training/batching.py:513
def chain_backward(Ws: list, x: np.ndarray, dy: np.ndarray, k: int) -> tuple:
    """Gradients dWs and dx of y = tanh(... tanh(x W_1) ...), most activations alive."""
    kept, h = {0: x}, x
    for l, W in enumerate(Ws, start=1):  # forward, keeping every k-th
        h = np.tanh(h @ W)
        if l % k == 0 and l < len(Ws):
            kept[l] = h
    dWs, peak = [None] * len(Ws), 0
    for first in sorted(kept, reverse=True):
        inside = [kept[first]]  # forward again, through one segment
        for W in Ws[first : first + k]:
            inside.append(np.tanh(inside[-1] @ W))
        peak = max(peak, len(kept) + len(inside) - 1)
        for j in reversed(range(len(inside) - 1)):
            dz = dy * (1 - inside[j + 1] ** 2)
            dWs[first + j], dy = inside[j].T @ dz, dz @ Ws[first + j].T
        del kept[first]
    return dWs, dy, peak


# src/topics/training/batching.py:551
def activation_bytes(T: int, D: int, H: int, L: int, selective: bool = False) -> float:
    """Bytes stored for one sequence of T tokens in L layers, 16-bit, with dropout."""
    return L * T * D * (34 + (0 if selective else 5 * H * T / D))


# src/topics/training/batching.py:556
def state_bytes(N: int) -> int:
    """Adam in mixed precision: weight 2, gradient 2, master copy 4, m 4, v 4 bytes."""
    return 16 * N


# src/topics/training/batching.py:586
FORMATS = {  # exponent bits, mantissa bits, largest number
    "FP32": (8, 23, 3.4028234663852886e38), "TF32": (8, 10, 3.4011621342146535e38),
    "BF16": (8, 7, 3.3895313892515355e38), "FP16": (5, 10, 65504.0),
    "E5M2": (5, 2, 57344.0), "E4M3": (4, 3, 448.0), "E2M1": (2, 1, 6.0),
}


# src/topics/training/batching.py:593
def step_at(x: np.ndarray, name: str) -> np.ndarray:
    """Distance between neighbours of a format, at each entry of x."""
    e, m, _ = FORMATS[name]
    _, exponent = np.frexp(x)  # x = f * 2^exponent with 1/2 <= f < 1
    return 2.0 ** (np.maximum(exponent - 1, 2 - 2 ** (e - 1)) - m)


# src/topics/training/batching.py:600
def round_to(x: np.ndarray, name: str) -> np.ndarray:
    """x rounded to the nearest number of a format, ties to even; inf if too large."""
    step = step_at(x, name)
    q = np.rint(x / step) * step
    return np.where(np.abs(q) > FORMATS[name][2], np.copysign(np.inf, q), q)


# src/topics/training/batching.py:607
def smallest(name: str) -> float:
    """The smallest positive number of a format."""
    e, m, _ = FORMATS[name]
    return 2.0 ** (2 - 2 ** (e - 1) - m)


# src/topics/training/batching.py:673
def block_round(x: np.ndarray, name: str, block: int, power_of_two: bool) -> np.ndarray:
    """x (n,), n a multiple of block, with one scale for each block of numbers."""
    top = FORMATS[name][2]
    blocks = x.reshape(-1, block)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    largest = np.where(largest == 0, 1.0, largest)
    if power_of_two:  # the OCP rule: align the largest exponents
        scale = 2.0 ** (np.floor(np.log2(largest)) - np.floor(np.log2(top)))
    else:  # NVFP4, whose second scale for the whole tensor puts block scales in range
        whole = np.abs(x).max() / (top * 448) if x.any() else 1.0
        scale = round_to(largest / top / whole, "E4M3") * whole
        scale = np.where(scale == 0, whole * smallest("E4M3"), scale)
    clipped = np.clip(blocks / scale, -top, top)
    return (round_to(clipped, name) * scale).reshape(x.shape)


# src/topics/training/batching.py:966
def plan(B: float, S_inf: float = 10_000, B_crit: float = 1_000) -> tuple[float, float]:
    """Steps and sequences."""
    S = S_inf * (1 + B_crit / B)
    return S, B * S


# src/topics/training/batching.py:988
def best_step(h: float, signal: float, trace: float, B: float) -> tuple[float, float]:
    """Best rate; improvement relative to exact gradients. signal: squared norm of G."""
    share = 1 / (1 + trace / signal / B)
    return share / h, share


# src/topics/training/batching.py:1019
def next_scale(scale: float, good: int, finite: bool, patience: int) -> tuple:
    """New scale, and the new number of good steps in a row."""
    if not finite:
        return scale / 2, 0
    if good + 1 == patience:
        return scale * 2, 0
    return scale, good + 1


# src/topics/training/batching.py:1058
def share_when_sorted(lengths: list[int], B: int) -> float:
    """Real tokens over all tokens."""
    lengths = sorted(lengths)
    batches = [lengths[i : i + B] for i in range(0, len(lengths), B)]
    return sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


# src/topics/training/batching.py:1082
def noise_from_log(log: list[tuple[float, float]], b: int, workers: int) -> float:
    """Noise scale in sequences; log of (mean worker norm^2, norm^2 of the average)."""
    small, large = np.mean(log, axis=0)
    signal, trace = noise_from_two(small, large, b, b * workers)
    return float(trace / signal)


# src/topics/training/batching.py:1114
def momentum_step(params: list, speed: list, grads: list, lr: float, mu=0.9) -> tuple:
    """New params and speed (PyTorch's convention: speed = mu * speed + grad)."""
    speed = [mu * v + dW for v, dW in zip(speed, grads)]
    return [W - lr * v for W, v in zip(params, speed)], speed


# src/topics/training/batching.py:197
def test_gradient_is_torchs():
    import torch

    rng = np.random.default_rng(3)
    for trial in range(25):
        params, X, y = random_problem(rng)
        X = X * (300 if trial == 24 else 1)  # large scores
        W = [torch.from_numpy(P).requires_grad_() for P in params]
        hidden = torch.relu(torch.from_numpy(X) @ W[0] + W[1])
        logits = hidden @ W[2] + W[3]
        want = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
        want.backward()
        loss, grads = loss_and_gradient(params, X, y)
        assert np.isclose(loss, want.item())
        assert all(np.allclose(g, w.grad.numpy(), atol=1e-11) for g, w in zip(grads, W))


# src/topics/training/batching.py:214
def test_noise_scale_is_the_covariance():
    rng = np.random.default_rng(4)
    for _ in range(20):
        params, X, y = random_problem(rng)
        each = [loss_and_gradient(params, X[[i]], y[[i]])[1] for i in range(len(y))]
        flat = np.array([np.concatenate([g.ravel() for g in grads]) for grads in each])
        signal, trace = noise_scale(params, X, y)
        assert np.isclose(signal, (flat.mean(axis=0) ** 2).sum())
        assert np.isclose(trace, np.trace(np.cov(flat.T, bias=True)))
        b, B = sorted(1 + rng.permutation(6)[:2])
        small, large = signal + trace / b, signal + trace / B
        assert np.allclose(noise_from_two(small, large, b, B), (signal, trace))


# src/topics/training/batching.py:228
def test_start():
    W1, b1, W2, b2 = start(5, 400, 100, 30)
    assert abs(W1.std() * 20 - 1) < 0.05 and abs(W2.std() * 10 - 1) < 0.05
    assert not b1.any() and not b2.any()
    assert W2.shape == (100, 30)


# src/topics/training/batching.py:719
def test_accumulate():
    rng = np.random.default_rng(7)
    for _ in range(20):
        params, X, y = random_problem(rng)
        places, many = np.arange(1, len(y)), min(2, len(y) - 1)
        cuts = np.sort(rng.choice(places, size=many, replace=False))
        parts = list(zip(np.split(X, cuts), np.split(y, cuts)))
        _, whole = loss_and_gradient(params, X, y)
        assert distance(accumulate(params, parts, len(y)), whole) < 1e-12
        means = [loss_and_gradient(params, *part)[1] for part in parts]
        want = [sum(gs) / len(parts) for gs in zip(*means)]
        assert distance(accumulate(params, parts), want) < 1e-12
    a, b = [np.array([1.0, 5.0])], [np.array([1.0, 2.0])]
    assert np.isclose(distance(a, b), 3 / np.sqrt(5))


# src/topics/training/batching.py:735
def test_first_fit():
    assert first_fit([3, 9, 5, 2, 1], 10) == [[1, 4], [2, 0, 3]]
    rng = np.random.default_rng(8)
    for _ in range(20):
        lengths = [int(n) for n in rng.integers(1, 21, size=int(rng.integers(1, 40)))]
        rows = first_fit(lengths, 20)
        assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
        loads = [sum(lengths[i] for i in row) for row in rows]
        assert max(loads) <= 20 and sum(load <= 10 for load in loads) <= 1
    assert first_fit([], 5) == []


# src/topics/training/batching.py:747
def test_packed_texts_do_not_see_each_other():
    import torch

    rng = np.random.default_rng(9)
    for _ in range(20):
        d_k, d_v = rng.permutation(np.arange(2, 7))[:2]
        lengths = rng.integers(1, 5, size=3)
        texts = np.repeat(np.arange(3), lengths)
        Q, K, V = (rng.normal(size=(len(texts), d)) for d in (d_k, d_k, d_v))
        got, at = attend(Q, K, V, packed_mask(texts)), 0
        for n in lengths:
            part = [torch.from_numpy(M[at : at + n]) for M in (Q, K, V)]
            attention = torch.nn.functional.scaled_dot_product_attention
            want = attention(*part, is_causal=True)
            assert np.allclose(got[at : at + n], want.numpy())
            at += n
        assert list(positions(texts)) == [i for n in lengths for i in range(n)]


# src/topics/training/batching.py:766
def test_checkpointing():
    import torch

    rng = np.random.default_rng(10)
    for _ in range(20):
        L, k, d, B = (int(n) for n in rng.integers(1, 8, 4))
        Ws = [rng.normal(size=(d, d)) for _ in range(L)]
        x, dy = rng.normal(size=(B, d)), rng.normal(size=(B, d))
        dWs, dx, peak = chain_backward(Ws, x, dy, k)
        weights = [torch.from_numpy(W).requires_grad_() for W in Ws]
        h = start_h = torch.from_numpy(x).requires_grad_()
        for W in weights:
            h = torch.tanh(h @ W)
        h.backward(torch.from_numpy(dy))
        assert np.allclose(dx, start_h.grad.numpy())
        assert all(np.allclose(dW, W.grad.numpy()) for dW, W in zip(dWs, weights))
        segments = -(-L // k)
        assert peak == max(1 + s + min(k, L - s * k) for s in range(segments))


# src/topics/training/batching.py:786
def test_formats_are_torchs():
    import torch

    rng = np.random.default_rng(11)
    types = {"BF16": torch.bfloat16, "FP16": torch.float16, "FP32": torch.float32,
             "E5M2": torch.float8_e5m2, "E4M3": torch.float8_e4m3fn}
    for name, dtype in types.items():
        info = torch.finfo(dtype)
        assert FORMATS[name][2] == info.max and 2.0 ** -FORMATS[name][1] == info.eps
        assert smallest(name) == info.smallest_normal * info.eps
        for scale in (1e-7, 1e-4, 1e-2, 1.0, 30.0):
            x = scale * rng.normal(size=200)
            x = x.astype(np.float32).astype(float) if name != "FP32" else x
            want = torch.from_numpy(x).to(dtype).double().numpy()
            assert np.array_equal(round_to(x, name), want)
    assert list(round_to([0.0, 1 + 2**-8, 1 + 3 * 2**-8, -1e39], "BF16")) == [
        0.0, 1.0, 1 + 2**-6, -np.inf]
    assert list(round_to([0.2, 0.3, 1.25, 1.8, 2.5, 5.1, 7.1], "E2M1")) == [
        0.0, 0.5, 1.0, 2.0, 2.0, 6.0, np.inf]
    x = np.array([1.0, 1.99, 2.0, 0.0])
    assert list(step_at(x, "E2M1")) == [0.5, 0.5, 1.0, 0.5]
    assert FORMATS["TF32"] == (8, 10, (2 - 2.0**-10) * 2.0**127)


# src/topics/training/batching.py:810
def test_block_round():
    x = np.zeros(32)
    assert not block_round(x, "E2M1", 32, True).any()
    assert not block_round(x, "E2M1", 16, False).any()
    x[:4] = 7.0, 1.0, 0.6, 5.0  # scale 2^(2 - 2) = 1, and 7 is clipped
    assert list(block_round(x, "E2M1", 32, True)[:4]) == [6.0, 1.0, 0.5, 4.0]
    x[:4] = 14.0, 2.0, 1.2, 10.0
    assert list(block_round(x, "E2M1", 32, True)[:4]) == [12.0, 2.0, 1.0, 8.0]
    x[16] = 0.001
    assert block_round(x, "E2M1", 32, True)[16] == 0
    assert np.isclose(block_round(x, "E2M1", 16, False)[16], 0.001, rtol=0.6)
    assert np.allclose(block_round(x, "E2M1", 16, False)[:2], [14.0, 2.333], rtol=1e-3)
    x[16] = 1e-5  # its scale would round to zero
    assert np.isclose(block_round(x, "E2M1", 16, False)[16], 1e-5, rtol=0.05)


# src/topics/training/batching.py:826
def test_memory():
    import torch

    assert np.isclose(activation_bytes(2048, 12288, 96, 1), 2048 * 12288 * 114)
    assert activation_bytes(7, 5, 3, 2, selective=True) == 2 * 7 * 5 * 34
    W = torch.nn.Parameter(torch.zeros(10))
    W.grad = torch.ones(10)
    adam = torch.optim.Adam([W])
    adam.step()
    tensors = [t for t in adam.state[W].values() if t.numel() > 1]
    state = sum(t.numel() * t.element_size() for t in tensors)
    assert state_bytes(10) == state + W.numel() * (4 + 2 + 2)


# src/topics/training/batching.py:975
def test_plan():
    assert plan(250) == (50_000, 12_500_000) and plan(4_000) == (12_500, 50_000_000)
    assert plan(7, 3, 14) == (9, 63)


# src/topics/training/batching.py:997
def test_best_step():
    for h, signal, trace, B in ((2.0, 3.0, 60.0, 5.0), (0.5, 1.0, 4.0, 100.0)):
        def change(lr, B):
            return -lr * signal + lr**2 * h * (signal + trace / B) / 2

        lr, share = best_step(h, signal, trace, B)
        assert change(lr, B) < min(change(0.99 * lr, B), change(1.01 * lr, B))
        assert np.isclose(share, change(lr, B) / change(1 / h, np.inf))


# src/topics/training/batching.py:1031
def test_next_scale():
    import torch

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, backoff_factor=0.5,
                                  growth_factor=2.0, growth_interval=3)
    W = torch.nn.Parameter(torch.zeros(1))
    sgd_step = torch.optim.SGD([W], lr=0.1)
    scale, good = 2.0**10, 0
    for value in (1.0, 1.0, float("inf"), 1.0, 1.0, 1.0, 1.0, float("nan"), 1.0):
        loss = scaler.scale((W * 1.0).sum())
        sgd_step.zero_grad()
        loss.backward()
        W.grad.fill_(value)
        scaler.step(sgd_step)
        scaler.update()
        scale, good = next_scale(scale, good, bool(np.isfinite(value)), 3)
        assert scale == scaler.get_scale()


# src/topics/training/batching.py:1068
def test_share_when_sorted():
    assert np.isclose(share_when_sorted([5, 1, 4, 2, 9], 2), 21 / (4 + 10 + 9))
    assert share_when_sorted([3, 3, 3], 2) == 1
    assert np.isclose(share_when_sorted([2, 8], 2), 10 / 16)


# src/topics/training/batching.py:1092
def test_noise_from_log():
    rng = np.random.default_rng(13)
    G, log = rng.normal(size=50), []
    for _ in range(3000):
        workers = G + rng.normal(size=(8, 50)) * 6 / np.sqrt(4)
        log.append(((workers**2).sum(axis=1).mean(), (workers.mean(axis=0) ** 2).sum()))
    want = 50 * 36 / (G**2).sum()
    assert abs(noise_from_log(log, 4, 8) / want - 1) < 0.05


# src/topics/training/batching.py:1123
def test_momentum_step():
    import torch

    rng = np.random.default_rng(14)
    params = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    weights = [torch.nn.Parameter(torch.from_numpy(W.copy())) for W in params]
    reference = torch.optim.SGD(weights, lr=0.3, momentum=0.9)
    speed = [np.zeros_like(W) for W in params]
    for _ in range(4):
        grads = [rng.normal(size=W.shape) for W in params]
        for W, dW in zip(weights, grads):
            W.grad = torch.from_numpy(dW)
        reference.step()
        params, speed = momentum_step(params, speed, grads, 0.3)
    assert all(np.allclose(W, V.detach().numpy()) for W, V in zip(params, weights))
