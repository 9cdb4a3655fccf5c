# Generated from src/topics/architectures/rnns.py: edit that file, then run doit. digest:0a02e799533bc760

"""Tests of architectures/rnns: Recurrent networks."""

import numpy as np


# src/topics/architectures/rnns.py:45
def draw_sevens(n: int, half: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n sequences (n, 8), and whether they hold a 7, which then stands in that half."""
    ids = rng.choice([0, 1, 2, 3, 4, 5, 6, 8, 9], size=(n, 8))
    has = rng.random(n) < 0.5
    at = rng.integers(4, size=n) + 4 * half
    ids[has, at[has]] = 7
    return ids, has


# src/topics/architectures/rnns.py:54
def fit_line(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares weights (d + 1,) for targets of -1 and 1, with a bias."""
    A = np.column_stack([features, np.ones(len(y))])
    return np.linalg.lstsq(A, 2.0 * y - 1)[0]


# src/topics/architectures/rnns.py:60
def line_accuracy(w: np.ndarray, features: np.ndarray, y: np.ndarray) -> float:
    return float(((features @ w[:-1] + w[-1] > 0) == y).mean())


# src/topics/architectures/rnns.py:109
def rnn_forward(X: np.ndarray, P: dict, h0: np.ndarray | None = None) -> np.ndarray:
    """States (B, T, d) for inputs X (B, T, d_in); P holds W_x, W_h, b."""
    B, T, _ = X.shape
    h = np.zeros((B, len(P["b"]))) if h0 is None else h0
    H = np.empty((B, T, len(P["b"])))
    for t in range(T):
        h = np.tanh(X[:, t] @ P["W_x"] + h @ P["W_h"] + P["b"])
        H[:, t] = h
    return H


# src/topics/architectures/rnns.py:120
def rnn_backward(
    dH: np.ndarray, X: np.ndarray, H: np.ndarray, P: dict, h0: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, dict]:
    """From dH (B, T, d), what each state receives directly: dX, dh0 and dP."""
    B, T, d = H.shape
    h0 = np.zeros((B, d)) if h0 is None else h0
    dX, dP = np.empty_like(X), {name: np.zeros_like(W) for name, W in P.items()}
    dh = np.zeros((B, d))
    for t in reversed(range(T)):
        dz = (dH[:, t] + dh) * (1 - H[:, t] ** 2)  # through the tanh
        before = H[:, t - 1] if t > 0 else h0
        dP["W_x"] += X[:, t].T @ dz
        dP["W_h"] += before.T @ dz
        dP["b"] += dz.sum(axis=0)
        dX[:, t] = dz @ P["W_x"].T
        dh = dz @ P["W_h"].T  # one step back in time
    return dX, dh, dP


# src/topics/architectures/rnns.py:139
def random_cell(d_in: int, d: int, rng: np.random.Generator) -> dict:
    """Random weights of a cell."""
    return {"W_x": rng.normal(size=(d_in, d)) / np.sqrt(d_in),
            "W_h": rng.normal(size=(d, d)) / np.sqrt(d), "b": np.zeros(d)}


# src/topics/architectures/rnns.py:167
def random_problem(rng):
    """A cell, inputs, a first state and gradients from above, all sizes different."""
    B, T, d_in, d = rng.permutation(np.arange(1, 8))[:4]
    P = random_cell(d_in, d, rng)
    P["b"] = rng.normal(size=d)
    return P, rng.normal(size=(B, T, d_in)), rng.normal(size=(B, d)), rng.normal(
        size=(B, T, d))


# src/topics/architectures/rnns.py:176
def check_torch(P, X, h0, dH):
    """Forward and backward against torch.nn.RNN, whose weights are transposed."""
    import torch

    rnn = torch.nn.RNN(X.shape[2], len(P["b"]), batch_first=True).double()
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(torch.from_numpy(P["W_x"].T))
        rnn.weight_hh_l0.copy_(torch.from_numpy(P["W_h"].T))
        rnn.bias_ih_l0.copy_(torch.from_numpy(P["b"]))
        rnn.bias_hh_l0.zero_()  # PyTorch has two biases, which only add up
    x, h = (torch.from_numpy(a).requires_grad_() for a in (X, h0[None]))
    want, last = rnn(x, h)
    H = rnn_forward(X, P, h0)
    assert np.allclose(H, want.detach().numpy(), atol=1e-13)
    assert np.allclose(H[:, -1], last[0].detach().numpy(), atol=1e-13)
    want.backward(torch.from_numpy(dH))
    dX, dh0, dP = rnn_backward(dH, X, H, P, h0)
    pairs = [(dX, x.grad), (dh0, h.grad[0]), (dP["W_x"], rnn.weight_ih_l0.grad.T),
             (dP["W_h"], rnn.weight_hh_l0.grad.T), (dP["b"], rnn.bias_ih_l0.grad)]
    for ours, theirs in pairs:
        assert ours.shape == tuple(theirs.shape)
        assert np.allclose(ours, theirs.numpy(), atol=1e-11)


# src/topics/architectures/rnns.py:272
def with_radius(d: int, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A random matrix (d, d) whose largest eigenvalue has this size."""
    W = rng.normal(size=(d, d))
    return W * radius / np.abs(np.linalg.eigvals(W)).max()


# src/topics/architectures/rnns.py:278
def gradient_norms(P: dict, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Norm of dL/dh_t for t = T, ..., 1, where L is a random projection of h_T.

    X has shape (1, T, d_in); relative to the norm at t = T.
    """
    H = rnn_forward(X, P)
    dh = rng.normal(size=(1, H.shape[2]))
    norms = [np.linalg.norm(dh)]
    for t in reversed(range(1, X.shape[1])):
        dh = (dh * (1 - H[:, t] ** 2)) @ P["W_h"].T
        norms.append(np.linalg.norm(dh))
    return np.array(norms) / norms[0]


# src/topics/architectures/rnns.py:337
def orthogonal(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal matrix (d, d)."""
    Q, R = np.linalg.qr(rng.normal(size=(d, d)))
    return Q * np.sign(np.diag(R))


# src/topics/architectures/rnns.py:343
def softmax_loss(s: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy of logits s (B, K) with classes y (B,), and its gradient."""
    s = s - s.max(axis=1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    rows = np.arange(len(y))
    ds = np.exp(log_p)
    ds[rows, y] -= 1
    return float(-log_p[rows, y].mean()), ds / len(y)


# src/topics/architectures/rnns.py:353
def recall_batch(n: int, B: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, n + 1, 4): a one-hot symbol, then n steps of noise; the symbols (B,)."""
    y = rng.integers(4, size=B)
    X = 0.1 * rng.normal(size=(B, n + 1, 4))
    X[:, 0] = np.eye(4)[y]
    return X, y


# src/topics/architectures/rnns.py:361
def train_recall(start: str, n: int, seed: int, steps: int = 300, lr: float = 0.003) -> float:
    """Accuracy on 500 new sequences after training with delay n."""
    rng, d = np.random.default_rng(seed), 32
    P = random_cell(4, d, rng)
    P["W_h"] = (orthogonal(d, rng) if start == "orthogonal"
                else with_radius(d, {"random 0.9": 0.9, "random 1.0": 1.0}[start], rng))
    P["W_o"] = rng.normal(size=(d, 4)) / np.sqrt(d)
    m, v = ({name: np.zeros_like(W) for name, W in P.items()} for _ in range(2))
    for t in range(1, steps + 1):
        X, y = recall_batch(n, 32, rng)
        H = rnn_forward(X, P)
        _, ds = softmax_loss(H[:, -1] @ P["W_o"], y)
        dH = np.zeros_like(H)
        dH[:, -1] = ds @ P["W_o"].T
        cell = {name: P[name] for name in ("W_x", "W_h", "b")}
        G = rnn_backward(dH, X, H, cell)[2] | {"W_o": H[:, -1].T @ ds}
        norm = np.sqrt(sum((g**2).sum() for g in G.values()))
        for name, g in G.items():  # Adam, with the clipped gradient
            g = g * min(1.0, 1.0 / norm)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.99 * v[name] + 0.01 * g**2
            P[name] = P[name] - lr * m[name] / (1 - 0.9**t) / (
                np.sqrt(v[name] / (1 - 0.99**t)) + 1e-8)
    X, y = recall_batch(n, 500, rng)
    return float(((rnn_forward(X, P)[:, -1] @ P["W_o"]).argmax(axis=1) == y).mean())


# src/topics/architectures/rnns.py:452
def cell_parameters(d_in: int, d: int) -> int:
    """Weights and biases of one cell."""
    return d_in * d + d * d + d


# src/topics/architectures/rnns.py:471
def scan_sequential(a: np.ndarray, u: np.ndarray) -> np.ndarray:
    """h_t = a_t h_{t-1} + u_t for t = 0, 1, ...; a, u (T, d)."""
    h, H = np.zeros(a.shape[1]), np.empty_like(u)
    for t in range(len(a)):
        h = a[t] * h + u[t]
        H[t] = h
    return H


# src/topics/architectures/rnns.py:480
def scan_parallel(a: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, int]:
    """The same, in rounds that treat all t at once; also the number of rounds."""
    a, u, shift, rounds = a.copy(), u.copy(), 1, 0
    while shift < len(a):
        u[shift:] = a[shift:] * u[:-shift] + u[shift:]  # the right side is read first
        a[shift:] = a[shift:] * a[:-shift]
        shift, rounds = 2 * shift, rounds + 1
    return u, rounds


# src/topics/architectures/rnns.py:671
def two_steps() -> tuple[float, float, float]:
    """h_2 and its derivatives with respect to w and u."""
    return 3 + 2 * 0.5, 3 + 2 * 0.5, 2.0


# src/topics/architectures/rnns.py:699
def half_life(rho: float) -> float:
    """Steps after which rho^n = 1/2, for 0 < rho < 1."""
    return float(np.log(0.5) / np.log(rho))


# src/topics/architectures/rnns.py:719
def both_ways(X: np.ndarray, forward: dict, backward: dict) -> np.ndarray:
    """States (B, T, 2 d), forward first; X (B, T, d_in)."""
    return np.concatenate(
        [rnn_forward(X, forward), rnn_forward(X[:, ::-1], backward)[:, ::-1]], axis=2)


# src/topics/architectures/rnns.py:754
def truncated(dH: np.ndarray, X: np.ndarray, P: dict, k: int) -> dict:
    """Gradients dP when no gradient crosses a multiple of k; dH, X over T steps."""
    total, h0 = {name: np.zeros_like(W) for name, W in P.items()}, None
    for a in range(0, X.shape[1], k):
        piece = X[:, a : a + k]
        H = rnn_forward(piece, P, h0)
        dP = rnn_backward(dH[:, a : a + k], piece, H, P, h0)[2]
        total = {name: total[name] + dP[name] for name in P}
        h0 = H[:, -1]
    return total


# src/topics/architectures/rnns.py:794
def stacked(X: np.ndarray, low: dict, high: dict, dH: np.ndarray) -> tuple:
    """Top states, dX, d_low, d_high for two cells; dH as the top states."""
    H_low = rnn_forward(X, low)
    H_high = rnn_forward(H_low, high)
    d_low_states, _, d_high = rnn_backward(dH, H_low, H_high, high)
    dX, _, d_low = rnn_backward(d_low_states, X, H_low, low)
    return H_high, dX, d_low, d_high


# src/topics/architectures/rnns.py:837
def linear_ratio(W_h: np.ndarray, n: int, top: np.ndarray) -> float:
    """Norm of the gradient n steps back over the norm of `top` (d,)."""
    dh = top
    for _ in range(n):
        dh = dh @ W_h.T
    return float(np.linalg.norm(dh) / np.linalg.norm(top))


# src/topics/architectures/rnns.py:200
def test_rnn_is_torchs():
    rng = np.random.default_rng(3)
    for _ in range(25):
        check_torch(*random_problem(rng))
    P, X, h0, dH = random_problem(rng)
    check_torch(P, 1e3 * X, h0, dH)  # saturated
    check_torch(P, X[:, :1], h0, dH[:, :1])
    zero = rnn_forward(X, P)
    assert np.array_equal(zero, rnn_forward(X, P, np.zeros_like(h0)))
    for ours, theirs in zip(rnn_backward(dH, X, zero, P)[:2],
                            rnn_backward(dH, X, zero, P, np.zeros_like(h0))[:2]):
        assert np.array_equal(ours, theirs)


# src/topics/architectures/rnns.py:214
def test_states_are_causal_and_shared():
    rng = np.random.default_rng(4)
    for _ in range(20):
        P, X, h0, _ = random_problem(rng)
        T = X.shape[1]
        H = rnn_forward(X, P, h0)
        cut = rng.integers(0, T)
        changed = X.copy()
        changed[:, cut:] += 1
        assert np.array_equal(rnn_forward(changed, P, h0)[:, :cut], H[:, :cut])
        if 0 < cut < T:  # stopping and going on is the same as going through
            rest = rnn_forward(X[:, cut:], P, H[:, cut - 1])
            assert np.allclose(rest, H[:, cut:], atol=1e-14)


# src/topics/architectures/rnns.py:229
def test_sevens_and_line():
    rng = np.random.default_rng(5)
    for half in (0, 1):
        ids, has = draw_sevens(500, half, rng)
        inside = (ids == 7)[:, 4 * half : 4 * half + 4]
        assert ids.shape == (500, 8) and np.array_equal(inside.sum(axis=1), has)
        assert (ids == 7).sum() == has.sum() and 0.4 < has.mean() < 0.6
        assert len(np.unique(ids)) == 10 and inside.any(axis=0).all()
    w = fit_line(np.array([[1.0], [2.0], [5.0], [6.0]]), np.array([0, 0, 1, 1]))
    assert np.allclose(w, [8 / 17, -28 / 17])
    assert line_accuracy(np.array([1.0, -3.0]), np.array([[1.0], [3.0], [4.0]]),
                         np.array([False, True, True])) == 2 / 3


# src/topics/architectures/rnns.py:243
def test_random_cell():
    P = random_cell(400, 300, np.random.default_rng(6))
    assert 0.045 < P["W_x"].std() < 0.055 and 0.055 < P["W_h"].std() < 0.061
    assert P["W_x"].shape == (400, 300) and not P["b"].any()


# src/topics/architectures/rnns.py:501
def test_radius_and_orthogonal():
    rng = np.random.default_rng(8)
    for d in (1, 2, 5, 9):
        for radius in (0.3, 1.0, 2.0):
            W = with_radius(d, radius, rng)
            assert np.isclose(np.abs(np.linalg.eigvals(W)).max(), radius)
        Q = orthogonal(d, rng)
        assert np.allclose(Q @ Q.T, np.eye(d), atol=1e-12)
    assert len({np.sign(orthogonal(1, rng))[0, 0] for _ in range(30)}) == 2


# src/topics/architectures/rnns.py:512
def test_gradient_norms():
    import torch

    rng = np.random.default_rng(9)
    for _ in range(20):
        P, X, _, _ = random_problem(rng)
        X, seed = X[:1], int(rng.integers(1000))
        norms = gradient_norms(P, X, np.random.default_rng(seed))
        top = np.random.default_rng(seed).normal(size=(1, len(P["b"])))
        h, states = torch.zeros(1, len(P["b"]), dtype=torch.float64), []
        for t in range(X.shape[1]):
            z = torch.from_numpy(X[:, t] @ P["W_x"] + P["b"])
            h = torch.tanh(z + h @ torch.from_numpy(P["W_h"])).requires_grad_()
            h.retain_grad()
            states.append(h)
        h.backward(torch.from_numpy(top))
        want = np.array([s.grad.norm().item() for s in reversed(states)])
        assert np.allclose(norms, want / want[0], rtol=1e-9)


# src/topics/architectures/rnns.py:532
def test_softmax_loss():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(10)
    for _ in range(20):
        B, K = rng.integers(1, 7, size=2)
        s, y = 5 * rng.normal(size=(B, K)), rng.integers(K, size=B)
        t = torch.from_numpy(s).requires_grad_()
        want = F.cross_entropy(t, torch.from_numpy(y))
        want.backward()
        loss, ds = softmax_loss(s, y)
        assert np.isclose(loss, want.item()) and np.allclose(ds, t.grad.numpy())
    assert softmax_loss(np.array([[0.0, 1e4]]), np.array([0]))[0] == 1e4


# src/topics/architectures/rnns.py:548
def test_recall_batch_and_training():
    X, y = recall_batch(6, 200, np.random.default_rng(11))
    assert X.shape == (200, 7, 4) and np.array_equal(X[:, 0], np.eye(4)[y])
    assert 0.09 < X[:, 1:].std() < 0.11 and set(y) == {0, 1, 2, 3}
    assert train_recall("orthogonal", 3, 0, steps=120) > 0.95
    assert train_recall("random 0.9", 3, 0, steps=120) > 0.9
    assert train_recall("random 1.0", 3, 0, steps=1) < 0.7


# src/topics/architectures/rnns.py:557
def test_scans():
    rng = np.random.default_rng(12)
    for T in (1, 2, 3, 7, 8, 9, 64, *rng.integers(1, 40, size=15)):
        a, u = rng.normal(size=(2, T, 3))
        before = a.copy(), u.copy()
        H, rounds = scan_parallel(a, u)
        want, h = [], np.zeros(3)
        for a_t, u_t in zip(a, u):
            h = a_t * h + u_t
            want.append(h)
        assert np.allclose(H, want, rtol=1e-9, atol=1e-9)
        assert np.allclose(scan_sequential(a, u), want)
        assert rounds == int(np.ceil(np.log2(T)))
        assert np.array_equal(a, before[0]) and np.array_equal(u, before[1])


# src/topics/architectures/rnns.py:573
def test_cell_parameters():
    import torch

    for d_in, d in ((3, 5), (1, 1), (7, 2)):
        rnn = torch.nn.RNN(d_in, d)
        n = sum(p.numel() for p in rnn.parameters())
        assert cell_parameters(d_in, d) == n - d  # PyTorch's second bias


# src/topics/architectures/rnns.py:679
def test_two_steps():
    def h2(w, u):
        return 3 * w + 2 * w * u

    got, e = two_steps(), 1e-6
    assert np.allclose(got, [h2(1, 0.5), (h2(1 + e, 0.5) - h2(1 - e, 0.5)) / (2 * e),
                             (h2(1, 0.5 + e) - h2(1, 0.5 - e)) / (2 * e)])


# src/topics/architectures/rnns.py:707
def test_half_life():
    for rho in (0.1, 0.5, 0.9, 0.999):
        assert np.isclose(rho ** half_life(rho), 0.5)


# src/topics/architectures/rnns.py:728
def test_both_ways():
    import torch

    rng = np.random.default_rng(15)
    for T in (1, 2, 6):
        cells = [random_cell(3, 4, rng) for _ in range(2)]
        X = rng.normal(size=(2, T, 3))
        rnn = torch.nn.RNN(3, 4, batch_first=True, bidirectional=True).double()
        with torch.no_grad():
            for cell, end in zip(cells, ("", "_reverse")):
                getattr(rnn, f"weight_ih_l0{end}").copy_(torch.from_numpy(cell["W_x"].T))
                getattr(rnn, f"weight_hh_l0{end}").copy_(torch.from_numpy(cell["W_h"].T))
                getattr(rnn, f"bias_ih_l0{end}").zero_()
                getattr(rnn, f"bias_hh_l0{end}").zero_()
            want = rnn(torch.from_numpy(X))[0].numpy()
        assert np.allclose(both_ways(X, *cells), want, atol=1e-13)


# src/topics/architectures/rnns.py:769
def test_truncated():
    import torch

    rng = np.random.default_rng(16)
    P, X, dH = random_cell(3, 4, rng), rng.normal(size=(2, 7, 3)), rng.normal(size=(2, 7, 4))
    for k in (1, 3, 7, 10):
        T = {name: torch.from_numpy(W).requires_grad_() for name, W in P.items()}
        h = torch.zeros(2, 4, dtype=torch.float64)
        for t in range(7):
            if t % k == 0:
                h = h.detach()
            h = torch.tanh(torch.from_numpy(X[:, t]) @ T["W_x"] + h @ T["W_h"] + T["b"])
            h.backward(torch.from_numpy(dH[:, t]), retain_graph=True)
        got = truncated(dH, X, P, k)
        for name in P:
            assert np.allclose(got[name], T[name].grad.numpy(), atol=1e-12)


# src/topics/architectures/rnns.py:806
def test_stacked():
    import torch

    rng = np.random.default_rng(17)
    low, high = random_cell(3, 5, rng), random_cell(5, 5, rng)
    X, dH = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6, 5))
    rnn = torch.nn.RNN(3, 5, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for i, cell in enumerate((low, high)):
            getattr(rnn, f"weight_ih_l{i}").copy_(torch.from_numpy(cell["W_x"].T))
            getattr(rnn, f"weight_hh_l{i}").copy_(torch.from_numpy(cell["W_h"].T))
            getattr(rnn, f"bias_ih_l{i}").zero_()
            getattr(rnn, f"bias_hh_l{i}").zero_()
    x = torch.from_numpy(X).requires_grad_()
    want = rnn(x)[0]
    want.backward(torch.from_numpy(dH))
    H, dX, d_low, d_high = stacked(X, low, high, dH)
    assert np.allclose(H, want.detach().numpy()) and np.allclose(dX, x.grad.numpy())
    for i, grads in enumerate((d_low, d_high)):
        assert np.allclose(grads["W_h"], getattr(rnn, f"weight_hh_l{i}").grad.numpy().T)
        assert np.allclose(grads["W_x"], getattr(rnn, f"weight_ih_l{i}").grad.numpy().T)


# src/topics/architectures/rnns.py:848
def test_linear_ratio():
    rng = np.random.default_rng(18)
    top = rng.normal(size=6)
    assert np.isclose(linear_ratio(orthogonal(6, rng), 50, top), 1)
    assert np.isclose(linear_ratio(0.5 * np.eye(6), 3, top), 0.125)
    W = np.array([[0.5, 4.0], [0.0, 0.5]])  # radius 0.5
    assert linear_ratio(W, 1, np.array([0.0, 1.0])) > 4
    assert linear_ratio(W, 60, np.array([0.0, 1.0])) < 1e-10
