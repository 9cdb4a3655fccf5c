# Generated from src/topics/architectures/lstms.py: edit that file, then run doit. digest:d0100a46a0af1f19

"""Tests of architectures/lstms: LSTMs."""

import numpy as np


# src/topics/architectures/lstms.py:48
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), without overflow."""
    return 0.5 * (1 + np.tanh(z / 2))


# src/topics/architectures/lstms.py:53
def lstm_step(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, P: dict
) -> tuple[np.ndarray, np.ndarray, tuple]:
    """One step from x (B, d_in), h and c (B, d): new h and c, and i, f, g, o."""
    z = x @ P["W_x"] + h @ P["W_h"] + P["b"]
    z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
    c = f * c + i * g
    return o * np.tanh(c), c, (i, f, g, o)


# src/topics/architectures/lstms.py:64
def random_lstm(
    d_in: int, d: int, forget_bias: float, rng: np.random.Generator
) -> dict:
    """Random weights; the biases of the forget gates are all `forget_bias`."""
    b = np.zeros(4 * d)
    b[d : 2 * d] = forget_bias
    return {"W_x": rng.normal(size=(d_in, 4 * d)) / np.sqrt(d_in),
            "W_h": rng.normal(size=(d, 4 * d)) / np.sqrt(d), "b": b}


# src/topics/architectures/lstms.py:74
def survival(
    forget_bias: float, T: int, rng: np.random.Generator, d: int = 64
) -> np.ndarray:
    """Share of a gradient in the cell left after 1, ..., T steps along c alone."""
    P, h, c = random_lstm(4, d, forget_bias, rng), np.zeros((1, d)), np.zeros((1, d))
    left, shares = np.ones((1, d)), []
    for x in rng.normal(size=(T, 1, 4)):
        h, c, (_, f, _, _) = lstm_step(x, h, c, P)
        left = left * f  # dc_t / dc_(t-1) along this way
        shares.append(np.linalg.norm(left) / np.sqrt(d))
    return np.array(shares)


# src/topics/architectures/lstms.py:87
def plain_survival(T: int, rng: np.random.Generator, d: int = 64) -> np.ndarray:
    """The same for a tanh network, whose gradient must pass the matrix."""
    W_x, W_h = rng.normal(size=(4, d)) / 2, rng.normal(size=(d, d)) / np.sqrt(d)
    H = [np.zeros(d)]
    for x in rng.normal(size=(T, 4)):
        H.append(np.tanh(x @ W_x + H[-1] @ W_h))
    dh, shares = rng.normal(size=d), []
    start = np.linalg.norm(dh)
    for h in reversed(H[1:]):
        dh = (dh * (1 - h**2)) @ W_h.T
        shares.append(np.linalg.norm(dh) / start)
    return np.array(shares)


# src/topics/architectures/lstms.py:174
def lstm_forward(
    X: np.ndarray, P: dict, h0=None, c0=None
) -> tuple[np.ndarray, np.ndarray, list]:
    """States H and cells C (..., T, d) for X (..., T, d_in); a trace to go back."""
    (*batch, T, _), d = X.shape, P["W_h"].shape[-2]
    h = np.zeros((*batch, d), X.dtype) if h0 is None else h0
    c = np.zeros((*batch, d), X.dtype) if c0 is None else c0
    H, C = np.empty((*batch, T, d), X.dtype), np.empty((*batch, T, d), X.dtype)
    trace = []
    for t in range(T):
        before = h, c
        h, c, gates = lstm_step(X[..., t, :], h, c, P)
        H[..., t, :], C[..., t, :] = h, c
        trace.append((*before, *gates))
    return H, C, trace


# src/topics/architectures/lstms.py:191
def lstm_backward(
    dH: np.ndarray, X: np.ndarray, C: np.ndarray, trace: list, P: dict
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """From dH (..., T, d), what each state receives directly: dX, dh0, dc0, dP."""
    dX, dP = np.empty_like(X), {name: np.zeros_like(W) for name, W in P.items()}
    dh, dc = np.zeros_like(dH[..., 0, :]), np.zeros_like(dH[..., 0, :])
    for t in reversed(range(X.shape[-2])):
        h, c, i, f, g, o = trace[t]  # h, c before the step
        shown = np.tanh(C[..., t, :])
        dh = dh + dH[..., t, :]
        dc = dc + dh * o * (1 - shown**2)
        dz = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f),
                             dc * i * (1 - g**2), dh * shown * o * (1 - o)], axis=-1)
        dP["W_x"] += X[..., t, :].mT @ dz
        dP["W_h"] += h.mT @ dz
        dP["b"] += dz.sum(axis=-2).reshape(P["b"].shape)
        dX[..., t, :] = dz @ P["W_x"].mT
        dh, dc = dz @ P["W_h"].mT, dc * f  # one step back, on two ways
    return dX, dh, dc, dP


# src/topics/architectures/lstms.py:233
def whole_survival(
    forget_bias: float, steps: list[int], rng: np.random.Generator, d: int = 64
) -> np.ndarray:
    """Share of a gradient in the last h that reaches (h, c) so many steps back."""
    P, X = random_lstm(4, d, forget_bias, rng), rng.normal(size=(1, max(steps), 4))
    H, C, trace = lstm_forward(X, P)
    dH = np.zeros_like(H)
    dH[:, -1] = rng.normal(size=d)
    shares = []
    for k in steps:
        _, dh, dc, _ = lstm_backward(dH[:, -k:], X[:, -k:], C[:, -k:], trace[-k:], P)
        shares.append(np.sqrt((dh**2).sum() + (dc**2).sum()) / np.linalg.norm(dH))
    return np.array(shares)


# src/topics/architectures/lstms.py:287
def check_whole_survival(seed):
    """Shares on all paths, against PyTorch's gradients."""
    import torch

    rng = np.random.default_rng(seed)
    d, steps = 2 + seed % 5, sorted(1 + rng.permutation(7)[:3])
    shares = whole_survival(1.0, steps, np.random.default_rng(seed), d)
    rng = np.random.default_rng(seed)
    P, X = random_lstm(4, d, 1.0, rng), rng.normal(size=(1, max(steps), 4))
    top = torch.from_numpy(rng.normal(size=d))
    P, X = {name: torch.from_numpy(W) for name, W in P.items()}, torch.from_numpy(X)
    for k, share in zip(steps, shares):
        h, c = (torch.zeros(1, d, dtype=torch.float64) for _ in range(2))
        for t in range(max(steps)):
            if t == max(steps) - k:
                h, c = first = h.requires_grad_(), c.requires_grad_()
            i, f, g, o = (X[:, t] @ P["W_x"] + h @ P["W_h"] + P["b"]).split(d, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        grads = torch.autograd.grad(h, first, top[None])
        assert np.isclose(share, torch.cat(grads).norm() / top.norm())


# src/topics/architectures/lstms.py:310
def random_problem(rng, random_cell):
    """A cell, inputs, first states and gradients from above, all sizes different."""
    B, T, d_in, d = rng.permutation(np.arange(1, 8))[:4]
    P = random_cell(d_in, d, rng)
    P = {name: W + (rng.normal(size=W.shape) if name.startswith("b") else 0)
         for name, W in P.items()}
    return (P, rng.normal(size=(B, T, d_in)), rng.normal(size=(B, d)),
            rng.normal(size=(B, d)), rng.normal(size=(B, T, d)))


# src/topics/architectures/lstms.py:320
def random_biased(d_in, d, rng):
    return random_lstm(d_in, d, 0.5, rng)


# src/topics/architectures/lstms.py:324
def check_lstm(P, X, h0, c0, dH):
    """Forward and backward against torch.nn.LSTM, whose weights are transposed."""
    import torch

    lstm = torch.nn.LSTM(X.shape[2], h0.shape[1], batch_first=True).double()
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(P["W_x"].T))
        lstm.weight_hh_l0.copy_(torch.from_numpy(P["W_h"].T))
        lstm.bias_ih_l0.copy_(torch.from_numpy(P["b"]))
        lstm.bias_hh_l0.zero_()
    x, h, c = (torch.from_numpy(a).requires_grad_() for a in (X, h0[None], c0[None]))
    want, (_, last) = lstm(x, (h, c))
    H, C, trace = lstm_forward(X, P, h0, c0)
    assert np.allclose(H, want.detach().numpy(), atol=1e-13)
    assert np.allclose(C[:, -1], last[0].detach().numpy(), atol=1e-13)
    want.backward(torch.from_numpy(dH))
    dX, dh0, dc0, dP = lstm_backward(dH, X, C, trace, P)
    pairs = [(dX, x.grad), (dh0, h.grad[0]), (dc0, c.grad[0]),
             (dP["W_x"], lstm.weight_ih_l0.grad.T), (dP["W_h"], lstm.weight_hh_l0.grad.T),
             (dP["b"], lstm.bias_ih_l0.grad)]
    for ours, theirs in pairs:
        assert ours.shape == tuple(theirs.shape)
        assert np.allclose(ours, theirs.numpy(), atol=1e-11)


# src/topics/architectures/lstms.py:493
def gru_forward(X: np.ndarray, P: dict, h0=None) -> tuple[np.ndarray, list]:
    """States (B, T, d) and a trace. P: W_x (d_in, 3d), W_h (d, 3d), b and b_h (3d,)."""
    B, T, d = *X.shape[:2], len(P["b"]) // 3
    h = np.zeros((B, d)) if h0 is None else h0
    H, trace = np.empty((B, T, d)), []
    for t in range(T):
        x_r, x_u, x_g = np.split(X[:, t] @ P["W_x"] + P["b"], 3, axis=1)
        h_r, h_u, h_g = np.split(h @ P["W_h"] + P["b_h"], 3, axis=1)
        r, u = sigmoid(x_r + h_r), sigmoid(x_u + h_u)
        g = np.tanh(x_g + r * h_g)
        trace.append((h, r, u, g, h_g))
        h = u * h + (1 - u) * g
        H[:, t] = h
    return H, trace


# src/topics/architectures/lstms.py:509
def gru_backward(
    dH: np.ndarray, X: np.ndarray, trace: list, P: dict
) -> tuple[np.ndarray, np.ndarray, dict]:
    """From dH (B, T, d): dX, dh0, dP."""
    dX, dP = np.empty_like(X), {name: np.zeros_like(W) for name, W in P.items()}
    dh = np.zeros_like(dH[:, 0])
    for t in reversed(range(X.shape[1])):
        h, r, u, g, h_g = trace[t]
        dh = dh + dH[:, t]
        dz_g = dh * (1 - u) * (1 - g**2)
        dz_u = dh * (h - g) * u * (1 - u)
        dz_r = dz_g * h_g * r * (1 - r)
        dz_x = np.concatenate([dz_r, dz_u, dz_g], axis=1)
        dz_h = np.concatenate([dz_r, dz_u, dz_g * r], axis=1)
        dP["W_x"] += X[:, t].T @ dz_x
        dP["b"] += dz_x.sum(axis=0)
        dP["W_h"] += h.T @ dz_h
        dP["b_h"] += dz_h.sum(axis=0)
        dX[:, t] = dz_x @ P["W_x"].T
        dh = dh * u + dz_h @ P["W_h"].T
    return dX, dh, dP


# src/topics/architectures/lstms.py:532
def random_gru(d_in: int, d: int, rng: np.random.Generator) -> dict:
    """Random weights of a GRU."""
    return {"W_x": rng.normal(size=(d_in, 3 * d)) / np.sqrt(d_in),
            "W_h": rng.normal(size=(d, 3 * d)) / np.sqrt(d),
            "b": np.zeros(3 * d), "b_h": np.zeros(3 * d)}


# src/topics/architectures/lstms.py:580
def orthogonal(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal matrix (d, d)."""
    Q, R = np.linalg.qr(rng.normal(size=(d, d)))
    return Q * np.sign(np.diag(R))


# src/topics/architectures/lstms.py:586
def distracted_batch(
    n: int, B: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One-hot inputs (B, n + 1, 8), a symbol 0 to 3, then n of 4 to 7; targets (B,)."""
    ids = rng.integers(4, 8, size=(B, n + 1))
    ids[:, 0] = rng.integers(4, size=B)
    return np.eye(8, dtype=np.float32)[ids], ids[:, 0]


# src/topics/architectures/lstms.py:595
def tanh_forward(X: np.ndarray, P: dict) -> np.ndarray:
    """States (..., T, d) of a plain recurrent network."""
    d = P["W_h"].shape[-1]
    h, H = np.zeros((*X.shape[:-2], d), X.dtype), np.empty((*X.shape[:-1], d), X.dtype)
    for t in range(X.shape[-2]):
        H[..., t, :] = h = np.tanh(X[..., t, :] @ P["W_x"] + h @ P["W_h"] + P["b"])
    return H


# src/topics/architectures/lstms.py:604
def tanh_backward(dH: np.ndarray, X: np.ndarray, H: np.ndarray, P: dict) -> dict:
    """Gradients of the parameters, from dH (..., T, d)."""
    dP, dh = {name: np.zeros_like(W) for name, W in P.items()}, 0.0
    for t in reversed(range(X.shape[-2])):
        dz = (dH[..., t, :] + dh) * (1 - H[..., t, :] ** 2)
        dP["W_x"] += X[..., t, :].mT @ dz
        dP["W_h"] += (H[..., t - 1, :] if t else np.zeros_like(dz)).mT @ dz
        dP["b"] += dz.sum(axis=-2).reshape(P["b"].shape)
        dh = dz @ P["W_h"].mT
    return dP


# src/topics/architectures/lstms.py:616
def start(kind: str, rng: np.random.Generator) -> dict:
    """Parameters of a network: its cell with orthogonal W_h, and the output W_o."""
    if kind == "tanh":
        P = {"W_x": rng.normal(size=(8, 35)) / np.sqrt(8), "W_h": orthogonal(35, rng),
             "b": np.zeros(35)}
    else:
        P = random_lstm(8, 16, float(kind.split()[-1]), rng)
        P["W_h"] = np.concatenate([orthogonal(16, rng) for _ in range(4)], axis=1)
    return P | {"W_o": rng.normal(size=(len(P["W_h"]), 4)) / np.sqrt(len(P["W_h"]))}


# src/topics/architectures/lstms.py:627
def adam_step(P: dict, G: dict, m: dict, v: dict, t: int, lr: np.ndarray) -> None:
    """Clip each network's gradient at norm 1, then step t = 1, 2, ... of Adam."""
    norm = np.sqrt(sum((grad**2).sum((-2, -1), keepdims=True) for grad in G.values()))
    for name, grad in G.items():
        grad = grad * np.minimum(1, 1 / norm)
        m[name] = 0.9 * m[name] + 0.1 * grad
        v[name] = 0.99 * v[name] + 0.01 * grad**2
        step = m[name] / (1 - 0.9**t) / (np.sqrt(v[name] / (1 - 0.99**t)) + 1e-8)
        P[name] = P[name] - lr * step


# src/topics/architectures/lstms.py:638
def recall_accuracy(kind: str, n: int, runs: list, steps: int = 250) -> np.ndarray:
    """Accuracy on 300 new sequences; one network for each (seed, rate) in runs."""
    rngs = [np.random.default_rng(seed) for seed, _ in runs]
    lr = np.array([[[rate]] for _, rate in runs], dtype=np.float32)
    starts = [start(kind, rng) for rng in rngs]
    P = {name: np.stack([one[name] for one in starts]).astype(np.float32)
         for name in starts[0]}
    P["b"] = P["b"][:, None]  # (networks, 1, ...), to be added to (networks, B, ...)
    m, v = ({name: np.zeros_like(W) for name, W in P.items()} for _ in range(2))
    for t in range(steps + 1):
        B = 32 if t < steps else 300  # the last batch is the test
        batches = [distracted_batch(n, B, rng) for rng in rngs]
        X, y = np.stack([X for X, _ in batches]), np.stack([y for _, y in batches])
        cell = {name: P[name] for name in ("W_x", "W_h", "b")}
        H, *rest = (tanh_forward(X, cell),) if kind == "tanh" else lstm_forward(X, cell)
        s = H[..., -1, :] @ P["W_o"]  # (networks, B, 4)
        if t == steps:
            return (s.argmax(axis=-1) == y).mean(axis=-1)
        p = np.exp(s - s.max(axis=-1, keepdims=True))
        ds = (p / p.sum(axis=-1, keepdims=True) - np.eye(4, dtype=np.float32)[y]) / B
        dH = np.zeros_like(H)
        dH[..., -1, :] = ds @ P["W_o"].mT
        G = (tanh_backward(dH, X, H, cell) if kind == "tanh"
             else lstm_backward(dH, X, *rest, cell)[3])
        adam_step(P, G | {"W_o": H[..., -1, :].mT @ ds}, m, v, t + 1, lr)


# src/topics/architectures/lstms.py:857
def lstm_parameters(d_in: int, d: int) -> int:
    """Weights and biases of one layer."""
    return 4 * (d_in * d + d * d + d)


# src/topics/architectures/lstms.py:992
def step_by_hand() -> tuple[float, float]:
    """c_t, and its derivative with respect to c_(t-1)."""
    return 0.5 * -1 + 0.8 * -0.6, 0.5


# src/topics/architectures/lstms.py:1020
def torch_parameters(d_in: int, d: int, L: int) -> int:
    """Parameters of nn.LSTM with L layers."""
    first = 4 * (d_in * d + d * d + 2 * d)
    return first + (L - 1) * 4 * (2 * d * d + 2 * d)


# src/topics/architectures/lstms.py:1046
def coupled_step(x: np.ndarray, h: np.ndarray, c: np.ndarray, P: dict) -> tuple:
    """New h and c (B, d); W_x (d_in, 3d), W_h (d, 3d), b (3d,)."""
    z_f, z_g, z_o = np.split(x @ P["W_x"] + h @ P["W_h"] + P["b"], 3, axis=1)
    f = sigmoid(z_f)
    c = f * c + (1 - f) * np.tanh(z_g)
    return sigmoid(z_o) * np.tanh(c), c


# src/topics/architectures/lstms.py:1080
def bias_for(n: float) -> float:
    """b with sigmoid(b)^n = 1/2."""
    keep = 0.5 ** (1 / n)
    return float(np.log(keep / (1 - keep)))


# src/topics/architectures/lstms.py:1101
def in_pieces(pieces: list[np.ndarray], P: dict) -> np.ndarray:
    """States (B, T, d) for pieces (B, t_k, d_in) of one text."""
    h = c = None
    found = []
    for piece in pieces:
        H, C, _ = lstm_forward(piece, P, h, c)
        h, c = H[:, -1], C[:, -1]
        found.append(H)
    return np.concatenate(found, axis=1)


# src/topics/architectures/lstms.py:1132
def counter() -> dict:
    """W_x (2, 4), W_h (1, 4), b (4,) in the order i, f, g, o."""
    W_x = np.array([[0.0, 0.0, 20.0, 0.0], [0.0, 0.0, -20.0, 0.0]])
    return {"W_x": W_x, "W_h": np.zeros((1, 4)), "b": np.array([30.0, 30.0, 0.0, 30.0])}


# src/topics/architectures/lstms.py:1163
def loopless(X: np.ndarray, P: dict) -> np.ndarray:
    """Cells (T, d) for X (T, d_in); W_x (d_in, 3d), b (3d,) in the order i, f, g."""
    z_i, f, g = np.split(X @ P["W_x"] + P["b"], 3, axis=1)
    f, c = sigmoid(f), sigmoid(z_i) * np.tanh(g)
    for k in range(len(X).bit_length()):
        shift = 2**k
        c = np.concatenate([c[:shift], f[shift:] * c[:-shift] + c[shift:]])
        f = np.concatenate([f[:shift], f[shift:] * f[:-shift]])
    return c


# src/topics/architectures/lstms.py:349
def test_lstm_is_torchs():
    rng = np.random.default_rng(3)
    for _ in range(25):
        check_lstm(*random_problem(rng, random_biased))
    P, X, h0, c0, dH = random_problem(rng, random_biased)
    check_lstm(P, 1e3 * X, h0, c0, dH)  # saturated gates
    check_lstm(P, X[:, :1], h0, c0, dH[:, :1])
    zeros = lstm_forward(X, P)
    given = lstm_forward(X, P, np.zeros_like(h0), np.zeros_like(c0))
    assert np.array_equal(zeros[0], given[0]) and np.array_equal(zeros[1], given[1])


# src/topics/architectures/lstms.py:361
def test_random_lstm():
    P = random_lstm(400, 100, 2.5, np.random.default_rng(4))
    assert 0.045 < P["W_x"].std() < 0.055 and 0.095 < P["W_h"].std() < 0.105
    assert np.array_equal(P["b"], np.repeat([0, 2.5, 0, 0], 100))
    assert np.allclose(sigmoid(np.array([-800.0, 0.0, 800.0])), [0, 0.5, 1])


# src/topics/architectures/lstms.py:368
def test_survival():
    import torch

    for seed in range(20):
        T, d = 1 + seed % 6, 2 + seed % 5
        shares = survival(1.0, T, np.random.default_rng(seed), d)
        rng = np.random.default_rng(seed)
        P = random_lstm(4, d, 1.0, rng)
        _, _, trace = lstm_forward(rng.normal(size=(T, 1, 4)).swapaxes(0, 1), P)
        product = np.prod([step[3] for step in trace], axis=0)
        assert np.isclose(shares[-1], np.sqrt((product**2).mean()))
        shares = plain_survival(T, np.random.default_rng(seed), d)
        rng = np.random.default_rng(seed)
        W_x, W_h = rng.normal(size=(4, d)) / 2, rng.normal(size=(d, d)) / np.sqrt(d)
        X = rng.normal(size=(T, 4))
        h0 = torch.zeros(d, dtype=torch.float64, requires_grad=True)
        h = h0
        for x in X:
            h = torch.tanh(torch.from_numpy(x @ W_x) + h @ torch.from_numpy(W_h))
        top = rng.normal(size=d)
        h.backward(torch.from_numpy(top))
        assert len(shares) == T
        assert np.isclose(shares[-1], h0.grad.norm().item() / np.linalg.norm(top))
        check_whole_survival(seed)


# src/topics/architectures/lstms.py:394
def test_several_networks_at_once():
    rng = np.random.default_rng(13)
    for d in range(1, 5):
        problems = [(random_lstm(3, d, 1.0, rng), rng.normal(size=(2, 6, 3)),
                     rng.normal(size=(2, 6, d))) for _ in range(3)]
        X, dH = (np.stack([problem[k] for problem in problems]) for k in (1, 2))
        P = {name: np.stack([one[name] for one, _, _ in problems])
             for name in ("W_x", "W_h", "b")}
        P["b"] = P["b"][:, None]
        H, C, trace = lstm_forward(X, P)
        dX, dh0, dc0, dP = lstm_backward(dH, X, C, trace, P)
        for k, (one, x, dh) in enumerate(problems):
            alone = lstm_forward(x, one)
            back = lstm_backward(dh, x, *alone[1:], one)
            assert np.allclose(H[k], alone[0]) and np.allclose(dX[k], back[0])
            assert np.allclose(dh0[k], back[1]) and np.allclose(dc0[k], back[2])
            assert all(np.allclose(dP[name][k], back[3][name]) for name in one)


# src/topics/architectures/lstms.py:723
def test_gru_is_torchs():
    import torch

    rng = np.random.default_rng(5)
    for case in range(26):
        P, X, h0, _, dH = random_problem(rng, random_gru)
        if case == 25:
            X = 1e3 * X
        gru = torch.nn.GRU(X.shape[2], h0.shape[1], batch_first=True).double()
        with torch.no_grad():
            gru.weight_ih_l0.copy_(torch.from_numpy(P["W_x"].T))
            gru.weight_hh_l0.copy_(torch.from_numpy(P["W_h"].T))
            gru.bias_ih_l0.copy_(torch.from_numpy(P["b"]))
            gru.bias_hh_l0.copy_(torch.from_numpy(P["b_h"]))
        x, h = (torch.from_numpy(a).requires_grad_() for a in (X, h0[None]))
        want = gru(x, h)[0]
        want.backward(torch.from_numpy(dH))
        H, trace = gru_forward(X, P, h0)
        assert np.allclose(H, want.detach().numpy(), atol=1e-13)
        dX, dh0, dP = gru_backward(dH, X, trace, P)
        pairs = [(dX, x.grad), (dh0, h.grad[0]), (dP["W_x"], gru.weight_ih_l0.grad.T),
                 (dP["W_h"], gru.weight_hh_l0.grad.T), (dP["b"], gru.bias_ih_l0.grad),
                 (dP["b_h"], gru.bias_hh_l0.grad)]
        for ours, theirs in pairs:
            assert np.allclose(ours, theirs.numpy(), atol=1e-11)
    assert np.array_equal(gru_forward(X, P)[0], gru_forward(X, P, np.zeros_like(h0))[0])
    P = random_gru(400, 100, rng)
    assert 0.045 < P["W_x"].std() < 0.055 and 0.095 < P["W_h"].std() < 0.105
    assert not P["b"].any() and not P["b_h"].any()


# src/topics/architectures/lstms.py:754
def test_tanh_network_is_torchs():
    import torch

    rng = np.random.default_rng(6)
    for _ in range(20):
        B, T, d_in, d = rng.integers(1, 7, size=4)
        P = {"W_x": rng.normal(size=(d_in, d)), "W_h": rng.normal(size=(d, d)),
             "b": rng.normal(size=d)}
        X, dH = rng.normal(size=(B, T, d_in)), rng.normal(size=(B, T, d))
        rnn = torch.nn.RNN(int(d_in), int(d), batch_first=True).double()
        with torch.no_grad():
            rnn.weight_ih_l0.copy_(torch.from_numpy(P["W_x"].T))
            rnn.weight_hh_l0.copy_(torch.from_numpy(P["W_h"].T))
            rnn.bias_ih_l0.copy_(torch.from_numpy(P["b"]))
            rnn.bias_hh_l0.zero_()
        want = rnn(torch.from_numpy(X))[0]
        want.backward(torch.from_numpy(dH))
        H = tanh_forward(X, P)
        dP = tanh_backward(dH, X, H, P)
        assert np.allclose(H, want.detach().numpy(), atol=1e-13)
        assert np.allclose(dP["W_x"], rnn.weight_ih_l0.grad.numpy().T, atol=1e-11)
        assert np.allclose(dP["W_h"], rnn.weight_hh_l0.grad.numpy().T, atol=1e-11)
        assert np.allclose(dP["b"], rnn.bias_ih_l0.grad.numpy(), atol=1e-11)
        both = {name: np.stack([W, 2 * W]) for name, W in P.items()}
        both["b"] = both["b"][:, None]
        H2 = tanh_forward(np.stack([X, X]), both)
        dP2 = tanh_backward(np.stack([dH, dH]), np.stack([X, X]), H2, both)
        assert np.allclose(H2[0], H) and not np.allclose(H2[1], H)
        assert all(np.allclose(dP2[name][0], dP[name]) for name in P)


# src/topics/architectures/lstms.py:785
def test_batches_and_starts():
    X, y = distracted_batch(6, 300, np.random.default_rng(7))
    ids = X.argmax(axis=2)
    assert X.shape == (300, 7, 8) and np.array_equal(X.sum(axis=2), np.ones((300, 7)))
    assert np.array_equal(ids[:, 0], y) and set(y) == {0, 1, 2, 3}
    assert set(ids[:, 1:].ravel()) == {4, 5, 6, 7}
    P = start("tanh", np.random.default_rng(8))
    assert np.allclose(P["W_h"] @ P["W_h"].T, np.eye(35)) and not P["b"].any()
    assert P["W_x"].shape == (8, 35) and 0.3 < P["W_x"].std() < 0.4
    assert P["W_o"].shape == (35, 4) and 0.12 < P["W_o"].std() < 0.22
    P = start("LSTM, bias 3", np.random.default_rng(8))
    assert np.array_equal(P["b"], np.repeat([0, 3, 0, 0], 16))
    blocks = np.split(P["W_h"], 4, axis=1)
    assert all(np.allclose(Q @ Q.T, np.eye(16)) for Q in blocks)
    assert not np.allclose(blocks[0], blocks[1])
    assert P["W_o"].shape == (16, 4) and 0.17 < P["W_o"].std() < 0.33
    diagonals = [np.diag(orthogonal(6, np.random.default_rng(s))) for s in range(200)]
    assert np.abs(np.mean(diagonals)) < 0.05  # a bare QR would lean to negative ones


# src/topics/architectures/lstms.py:805
def test_adam_is_torchs():
    import torch

    rng = np.random.default_rng(14)
    P = {"a": rng.normal(size=(2, 3, 4)), "b": rng.normal(size=(2, 1, 5))}
    rates = np.array([[[0.01]], [[0.1]]])
    theirs = [{name: torch.nn.Parameter(torch.from_numpy(W[k].copy()))
               for name, W in P.items()} for k in range(2)]
    adams = [torch.optim.Adam(theirs[k].values(), lr=lr, betas=(0.9, 0.99))
             for k, lr in enumerate((0.01, 0.1))]
    m, v = ({name: np.zeros_like(W) for name, W in P.items()} for _ in range(2))
    for t in range(1, 6):
        size = (0.05, 0.3, 5.0)[t % 3]  # some are clipped
        G = {name: size * rng.normal(size=W.shape) for name, W in P.items()}
        for k in range(2):
            for name, W in theirs[k].items():
                W.grad = torch.from_numpy(G[name][k].copy())
            total = torch.sqrt(sum((W.grad**2).sum() for W in theirs[k].values()))
            for W in theirs[k].values():
                W.grad *= min(1.0, 1.0 / total.item())
            adams[k].step()
        adam_step(P, G, m, v, t, rates)
    for k in range(2):
        for name, W in theirs[k].items():
            assert np.allclose(P[name][k], W.detach().numpy(), atol=1e-12)


# src/topics/architectures/lstms.py:832
def test_training():
    easy = [(0, 0.01), (1, 0.01)]
    assert recall_accuracy("LSTM, bias 3", 3, easy, steps=100).min() > 0.9
    assert recall_accuracy("tanh", 2, easy, steps=100).min() > 0.9
    assert recall_accuracy("LSTM, bias 3", 3, easy, steps=0).max() < 0.7
    assert recall_accuracy("LSTM, bias 3", 3, [(0, 1e-6)], steps=100) < 0.7
    alone = recall_accuracy("LSTM, bias 3", 3, easy[1:], steps=20)
    both = recall_accuracy("LSTM, bias 3", 3, easy, steps=20)
    assert np.isclose(both[1], alone, atol=0.01)


# src/topics/architectures/lstms.py:1000
def test_step_by_hand():
    z = np.array([np.log(4), 0.0, -np.log(2), 0.0])
    cell = {"W_x": np.zeros((1, 4)), "W_h": np.zeros((1, 4)), "b": z}

    def c_after(c):
        zero = np.zeros((1, 1))
        return lstm_step(zero, zero, np.array([[c]]), cell)[1][0, 0]

    c, slope = step_by_hand()
    assert np.isclose(c, c_after(-1.0))
    assert np.isclose(slope, c_after(0.0) - c_after(-1.0))


# src/topics/architectures/lstms.py:1029
def test_torch_parameters():
    import torch

    for d_in, d, L in ((3, 5, 1), (7, 2, 3), (1, 4, 2)):
        lstm = torch.nn.LSTM(d_in, d, num_layers=L)
        assert torch_parameters(d_in, d, L) == sum(p.numel() for p in lstm.parameters())
    assert lstm_parameters(3, 5) == torch_parameters(3, 5, 1) - 20


# src/topics/architectures/lstms.py:1057
def test_coupled_step():
    rng = np.random.default_rng(10)
    for _ in range(10):
        d = int(rng.integers(1, 5))
        x, (h, c) = rng.normal(size=(2, 3)), rng.normal(size=(2, 2, d))
        full = random_lstm(3, d, 0.5, rng)
        parts = {name: np.split(W, 4, axis=-1) for name, W in full.items()}
        for name, (_, f, g, o) in parts.items():  # 1 - sigmoid(z) = sigmoid(-z)
            full[name] = np.concatenate([-f, f, g, o], axis=-1)
        three = {name: np.concatenate(part[1:], axis=-1)
                 for name, part in parts.items()}
        want = lstm_step(x, h, c, full)
        got = coupled_step(x, h, c, three)
        assert np.allclose(got[0], want[0]) and np.allclose(got[1], want[1])


# src/topics/architectures/lstms.py:1089
def test_bias_for():
    for n in (1, 2, 50, 1000):
        assert np.isclose(sigmoid(np.array(bias_for(n))) ** n, 0.5)


# src/topics/architectures/lstms.py:1115
def test_in_pieces():
    rng = np.random.default_rng(11)
    P, X = random_lstm(3, 4, 1.0, rng), rng.normal(size=(2, 9, 3))
    want = lstm_forward(X, P)[0]
    for cuts in ([], [4], [1, 2, 8], list(range(1, 9))):
        assert np.allclose(in_pieces(np.split(X, cuts, axis=1), P), want, atol=1e-13)


# src/topics/architectures/lstms.py:1141
def test_counter():
    rng = np.random.default_rng(12)
    letters = rng.integers(2, size=(3, 400))
    letters[0, :300], letters[0, 300:] = 0, 1
    C = lstm_forward(np.eye(2)[letters], counter())[1][:, :, 0]
    want = np.cumsum(1 - 2 * letters, axis=1)
    assert want.max() == 300 and np.abs(C - want).max() < 0.01


# src/topics/architectures/lstms.py:1177
def test_loopless():
    rng = np.random.default_rng(15)
    for T in (1, 2, 3, 7, 8, 9, 100):
        d = int(rng.integers(1, 5))
        P = {"W_x": rng.normal(size=(3, 3 * d)), "b": rng.normal(size=3 * d)}
        X, full = rng.normal(size=(T, 3)), {"W_h": np.zeros((d, 4 * d))}
        for name, W in P.items():
            full[name] = np.concatenate([W, W[..., :d]], axis=-1)  # any output gate
        want = lstm_forward(X[None], full)[1][0]
        assert np.allclose(loopless(X, P), want, atol=1e-12)
