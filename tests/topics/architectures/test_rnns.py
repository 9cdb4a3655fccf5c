# Generated from src/topics/architectures/rnns.py: edit that file, then run doit. digest:9642ff392a280dd2

"""Tests of architectures/rnns: Recurrent networks."""

import numpy as np


# src/topics/architectures/rnns.py:50
def draw_sevens(n: int, half: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n sequences (n, 8), and whether they hold a 7, which then stands in that half."""
    ids = rng.choice([0, 1, 2, 3, 4, 5, 6, 8, 9], size=(n, 8))
    has = rng.random(n) < 0.5
    at = rng.integers(4, size=n) + 4 * half
    ids[has, at[has]] = 7
    return ids, has


# src/topics/architectures/rnns.py:59
def fit_line(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares weights (d + 1,) for targets of -1 and 1, with a bias."""
    A = np.column_stack([features, np.ones(len(y))])
    return np.linalg.lstsq(A, 2.0 * y - 1)[0]


# src/topics/architectures/rnns.py:65
def line_accuracy(w: np.ndarray, features: np.ndarray, y: np.ndarray) -> float:
    return float(((features @ w[:-1] + w[-1] > 0) == y).mean())


# src/topics/architectures/rnns.py:136
def rnn_forward(X: np.ndarray, P: dict, h0: np.ndarray | None = None) -> np.ndarray:
    """States (B, T, d) for inputs X (B, T, d_in); P holds W_x, W_h, b."""
    B, T, _ = X.shape
    h = np.zeros((B, len(P["b"]))) if h0 is None else h0
    H = np.empty((B, T, len(P["b"])))
    for t in range(T):
        h = np.tanh(X[:, t] @ P["W_x"] + h @ P["W_h"] + P["b"])
        H[:, t] = h
    return H


# src/topics/architectures/rnns.py:147
def rnn_backward(
    dH: np.ndarray, X: np.ndarray, H: np.ndarray, P: dict, h0: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, dict]:
    """From dH (B, T, d), what each state receives directly: dX, dh0 and dP."""
    first = np.zeros_like(H[:, 0]) if h0 is None else h0
    dZ, dh = np.empty_like(H), np.zeros_like(first)
    for t in reversed(range(H.shape[1])):
        dZ[:, t] = (dH[:, t] + dh) * (1 - H[:, t] ** 2)  # through the tanh
        dh = dZ[:, t] @ P["W_h"].T  # one step back in time
    before = np.concatenate([first[:, None], H[:, :-1]], axis=1)
    both = ([0, 1], [0, 1])  # sums over sequences and steps
    dP = {"W_x": np.tensordot(X, dZ, both), "W_h": np.tensordot(before, dZ, both),
          "b": dZ.sum(axis=(0, 1))}
    return dZ @ P["W_x"].T, dh, dP


# src/topics/architectures/rnns.py:163
def random_cell(d_in: int, d: int, rng: np.random.Generator) -> dict:
    """Random weights of a cell."""
    return {"W_x": rng.normal(size=(d_in, d)) / np.sqrt(d_in),
            "W_h": rng.normal(size=(d, d)) / np.sqrt(d), "b": np.zeros(d)}


# src/topics/architectures/rnns.py:226
def random_problem(rng):
    """A cell, inputs, a first state and gradients from above, all sizes different."""
    B, T, d_in, d = rng.permutation(np.arange(1, 8))[:4]
    P = random_cell(d_in, d, rng)
    P["b"] = rng.normal(size=d)
    return P, rng.normal(size=(B, T, d_in)), rng.normal(size=(B, d)), rng.normal(
        size=(B, T, d))


# src/topics/architectures/rnns.py:235
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


# src/topics/architectures/rnns.py:335
def with_radius(d: int, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A random matrix (d, d) whose largest eigenvalue has this size."""
    W = rng.normal(size=(d, d))
    return W * radius / np.abs(np.linalg.eigvals(W)).max()


# src/topics/architectures/rnns.py:341
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


# src/topics/architectures/rnns.py:405
def orthogonal(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal matrix (d, d)."""
    Q, R = np.linalg.qr(rng.normal(size=(d, d)))
    return Q * np.sign(np.diag(R))


# src/topics/architectures/rnns.py:411
def softmax_loss(s: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy of logits s (B, K) with classes y (B,), and its gradient."""
    s = s - s.max(axis=1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    rows = np.arange(len(y))
    ds = np.exp(log_p)
    ds[rows, y] -= 1
    return float(-log_p[rows, y].mean()), ds / len(y)


# src/topics/architectures/rnns.py:421
def recall_batch(n: int, B: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, n + 1, 4): a one-hot symbol, then n steps of noise; the symbols (B,)."""
    y = rng.integers(4, size=B)
    X = 0.1 * rng.normal(size=(B, n + 1, 4))
    X[:, 0] = np.eye(4)[y]
    return X, y


# src/topics/architectures/rnns.py:429
def clip(G: dict, most: float) -> dict:
    """The gradients, scaled down together if their joint norm exceeds `most`."""
    norm = np.sqrt(sum((g**2).sum() for g in G.values()))
    return {name: g * most / max(norm, most) for name, g in G.items()}


# src/topics/architectures/rnns.py:435
def adam(P: dict, G: dict, m: dict, v: dict, t: int, lr: float) -> None:
    """Step t = 1, 2, ... of Adam on P, in place; m and v start at zero."""
    for name, g in G.items():
        m[name] = 0.9 * m[name] + 0.1 * g
        v[name] = 0.99 * v[name] + 0.01 * g**2
        P[name] = P[name] - lr * m[name] / (1 - 0.9**t) / (
            np.sqrt(v[name] / (1 - 0.99**t)) + 1e-8)


# src/topics/architectures/rnns.py:444
def recall_gradient(P: dict, X: np.ndarray, y: np.ndarray) -> tuple[float, dict]:
    """Loss of naming y (B,) from the last state, and its gradients."""
    H = rnn_forward(X, P)
    loss, ds = softmax_loss(H[:, -1] @ P["W_o"], y)
    dH = np.zeros_like(H)
    dH[:, -1] = ds @ P["W_o"].T
    return loss, rnn_backward(dH, X, H, P)[2] | {"W_o": H[:, -1].T @ ds}


# src/topics/architectures/rnns.py:453
def recall_start(start: str, d: int, rng: np.random.Generator) -> dict:
    """Weights before training; start is "orthogonal", or "random" and a radius."""
    P = random_cell(4, d, rng)
    P["W_h"] = (orthogonal(d, rng) if start == "orthogonal"
                else with_radius(d, float(start.split()[1]), rng))
    return P | {"W_o": rng.normal(size=(d, 4)) / np.sqrt(d)}


# src/topics/architectures/rnns.py:461
def train_recall(start: str, n: int, seed: int, steps: int = 200, lr: float = 0.003) -> float:
    """Accuracy on 500 new sequences after training with delay n."""
    rng = np.random.default_rng(seed)
    P = recall_start(start, 32, rng)
    m, v = ({name: np.zeros_like(W) for name, W in P.items()} for _ in range(2))
    for t in range(1, steps + 1):
        G = recall_gradient(P, *recall_batch(n, 32, rng))[1]
        adam(P, clip(G, 1.0), m, v, t, lr)
    X, y = recall_batch(n, 500, rng)
    return float(((rnn_forward(X, P)[:, -1] @ P["W_o"]).argmax(axis=1) == y).mean())


# src/topics/architectures/rnns.py:532
NOUNS, VERBS = "dog man cat boy girl".split(), "bites sees likes hears".split()


# src/topics/architectures/rnns.py:533
SENTENCES = [f"{a}{v}{b}." for a in NOUNS for v in VERBS for b in NOUNS if a != b]


# src/topics/architectures/rnns.py:534
LETTERS = ".abcdeghiklmnorsty"


# src/topics/architectures/rnns.py:537
def random_text(n: int, rng: np.random.Generator) -> np.ndarray:
    """n random sentences in a row, as indices of LETTERS."""
    return np.array([LETTERS.index(c) for c in "".join(rng.choice(SENTENCES, size=n))])


# src/topics/architectures/rnns.py:542
def piece_gradient(P: dict, ids: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, dict]:
    """Last states and gradients for pieces ids (B, k + 1) that go on from h (B, d)."""
    X, V = np.eye(len(LETTERS))[ids[:, :-1]], len(LETTERS)
    H = rnn_forward(X, P, h)
    S = H @ P["W_o"] + P["b_o"]
    dS = softmax_loss(S.reshape(-1, V), ids[:, 1:].ravel())[1].reshape(S.shape)
    G = rnn_backward(dS @ P["W_o"].T, X, H, P, h)[2]  # the gradient of h is dropped: a cut
    return H[:, -1], G | {"W_o": np.tensordot(H, dS, ([0, 1], [0, 1])),
                          "b_o": dS.sum(axis=(0, 1))}


# src/topics/architectures/rnns.py:553
def train_writer(k: int, seed: int, steps: int = 1200, d: int = 32, lr: float = 0.015) -> dict:
    """Weights after training on 320 letters a step: 320 / k streams, k letters each.

    The learning rate falls to zero in a straight line.
    """
    rng, V = np.random.default_rng(seed), len(LETTERS)
    ids = random_text(3000, rng)
    P = random_cell(V, d, rng) | {"W_o": rng.normal(size=(d, V)) / np.sqrt(d),
                                  "b_o": np.zeros(V)}
    m, v = ({name: np.zeros_like(W) for name, W in P.items()} for _ in range(2))
    at = rng.integers(len(ids), size=320 // k)
    h = np.zeros((len(at), d))
    for t in range(1, steps + 1):
        pieces = ids[(at[:, None] + np.arange(k + 1)) % len(ids)]
        h, G = piece_gradient(P, pieces, h)  # carry the state on
        adam(P, clip(G, 1.0), m, v, t, lr * (1 - t / steps))
        at = at + k
    return P


# src/topics/architectures/rnns.py:573
def write(P: dict, B: int, n: int, rng: np.random.Generator) -> list[str]:
    """B texts of n letters; each letter is drawn from the softmax and read in next."""
    h, last, drawn = np.zeros((B, len(P["b"]))), np.zeros(B, int), []
    for _ in range(n):
        h = rnn_forward(np.eye(len(LETTERS))[last][:, None], P, h)[:, 0]
        s = h @ P["W_o"] + P["b_o"]
        p = np.exp(s - s.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        last = (p.cumsum(axis=1) > rng.random((B, 1))).argmax(axis=1)
        drawn.append(last)
    return ["".join(LETTERS[i] for i in row) for row in np.array(drawn).T]


# src/topics/architectures/rnns.py:586
def judge(texts: list[str]) -> tuple[float, float]:
    """Shares: sentences noun, verb, noun; among these, those with one noun twice.

    The first sentence of a text starts from a state of zeros, and the last is cut off:
    neither counts.
    """
    twice = {f"{a}{v}{b}": a == b for a in NOUNS for v in VERBS for b in NOUNS}
    said = [x for text in texts for x in text.split(".")[1:-1]]
    formed = [twice[x] for x in said if x in twice]
    return len(formed) / len(said), sum(formed) / max(1, len(formed))


# src/topics/architectures/rnns.py:629
def surprise(P: dict, ids: np.ndarray) -> np.ndarray:
    """Minus log-probability of letters ids[1:], each given all before it."""
    H = rnn_forward(np.eye(len(LETTERS))[ids[None, :-1]], P)[0]
    s = H @ P["W_o"] + P["b_o"]
    s = s - s.max(axis=1, keepdims=True)
    return np.log(np.exp(s).sum(axis=1)) - s[np.arange(len(s)), ids[1:]]


# src/topics/architectures/rnns.py:637
def true_surprise(sentence: str) -> np.ndarray:
    """The same under the language itself, for one of its sentences."""
    fits = [sum(x.startswith(sentence[:i]) for x in SENTENCES)
            for i in range(len(sentence) + 1)]
    return -np.diff(np.log(fits))


# src/topics/architectures/rnns.py:693
def cell_parameters(d_in: int, d: int) -> int:
    """Weights and biases of one cell."""
    return d_in * d + d * d + d


# src/topics/architectures/rnns.py:713
def scan_sequential(a: np.ndarray, u: np.ndarray) -> np.ndarray:
    """h_t = a_t h_{t-1} + u_t for t = 0, 1, ...; a, u (T, d)."""
    h, H = np.zeros(a.shape[1]), np.empty_like(u)
    for t in range(len(a)):
        h = a[t] * h + u[t]
        H[t] = h
    return H


# src/topics/architectures/rnns.py:722
def scan_parallel(a: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, int]:
    """The same, in rounds that treat all t at once; also the number of rounds."""
    a, u, shift, rounds = a.copy(), u.copy(), 1, 0
    while shift < len(a):
        u[shift:] = a[shift:] * u[:-shift] + u[shift:]  # the right side is read first
        a[shift:] = a[shift:] * a[:-shift]
        shift, rounds = 2 * shift, rounds + 1
    return u, rounds


# src/topics/architectures/rnns.py:835
def check_recall_gradient(P, X, y):
    """Against autograd."""
    import torch
    from torch.nn import functional as F

    T = {name: torch.from_numpy(W).requires_grad_() for name, W in P.items()}
    h = torch.zeros(len(X), len(P["b"]), dtype=torch.float64)
    for t in range(X.shape[1]):
        h = torch.tanh(torch.from_numpy(X[:, t]) @ T["W_x"] + h @ T["W_h"] + T["b"])
    want = F.cross_entropy(h @ T["W_o"], torch.from_numpy(y))
    want.backward()
    loss, G = recall_gradient(P, X, y)
    assert np.isclose(loss, want.item()) and set(G) == set(P)
    for name, g in G.items():
        assert np.allclose(g, T[name].grad.numpy(), atol=1e-12)


# src/topics/architectures/rnns.py:858
def random_writer(d, rng):
    """Weights of a network over LETTERS, larger than at a start."""
    V = len(LETTERS)
    return random_cell(V, d, rng) | {"b": rng.normal(size=d), "b_o": rng.normal(size=V),
                                     "W_o": rng.normal(size=(d, V))}


# src/topics/architectures/rnns.py:969
def descend(lr: float, most: float, seed: int, steps: int = 200) -> np.ndarray:
    """Loss and norm of the gradient (steps, 2), by plain gradient descent."""
    rng, seen = np.random.default_rng(seed), []
    P = recall_start("random 1.5", 32, rng)
    for _ in range(steps):
        loss, G = recall_gradient(P, *recall_batch(20, 32, rng))
        seen.append((loss, np.sqrt(sum((g**2).sum() for g in G.values()))))
        P = {name: P[name] - lr * g for name, g in clip(G, most).items()}
    return np.array(seen)


# src/topics/architectures/rnns.py:1091
def two_steps() -> tuple[float, float, float]:
    """h_2 and its derivatives with respect to w and u."""
    return 3 + 2 * 0.5, 3 + 2 * 0.5, 2.0


# src/topics/architectures/rnns.py:1119
def half_life(rho: float) -> float:
    """Steps after which rho^n = 1/2, for 0 < rho < 1."""
    return float(np.log(0.5) / np.log(rho))


# src/topics/architectures/rnns.py:1139
def both_ways(X: np.ndarray, forward: dict, backward: dict) -> np.ndarray:
    """States (B, T, 2 d), forward first; X (B, T, d_in)."""
    return np.concatenate(
        [rnn_forward(X, forward), rnn_forward(X[:, ::-1], backward)[:, ::-1]], axis=2)


# src/topics/architectures/rnns.py:1174
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


# src/topics/architectures/rnns.py:1214
def stacked(X: np.ndarray, low: dict, high: dict, dH: np.ndarray) -> tuple:
    """Top states, dX, d_low, d_high for two cells; dH as the top states."""
    H_low = rnn_forward(X, low)
    H_high = rnn_forward(H_low, high)
    d_low_states, _, d_high = rnn_backward(dH, H_low, H_high, high)
    dX, _, d_low = rnn_backward(d_low_states, X, H_low, low)
    return H_high, dX, d_low, d_high


# src/topics/architectures/rnns.py:1257
def linear_ratio(W_h: np.ndarray, n: int, top: np.ndarray) -> float:
    """Norm of the gradient n steps back over the norm of `top` (d,)."""
    dh = top
    for _ in range(n):
        dh = dh @ W_h.T
    return float(np.linalg.norm(dh) / np.linalg.norm(top))


# src/topics/architectures/rnns.py:259
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


# src/topics/architectures/rnns.py:273
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


# src/topics/architectures/rnns.py:288
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


# src/topics/architectures/rnns.py:302
def test_random_cell():
    P = random_cell(400, 300, np.random.default_rng(6))
    assert 0.045 < P["W_x"].std() < 0.055 and 0.055 < P["W_h"].std() < 0.061
    assert P["W_x"].shape == (400, 300) and not P["b"].any()


# src/topics/architectures/rnns.py:743
def test_radius_and_orthogonal():
    rng = np.random.default_rng(8)
    for d in (1, 2, 5, 9):
        for radius in (0.3, 1.0, 2.0):
            W = with_radius(d, radius, rng)
            assert np.isclose(np.abs(np.linalg.eigvals(W)).max(), radius)
        Q = orthogonal(d, rng)
        assert np.allclose(Q @ Q.T, np.eye(d), atol=1e-12)
    assert len({np.sign(orthogonal(1, rng))[0, 0] for _ in range(30)}) == 2


# src/topics/architectures/rnns.py:754
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


# src/topics/architectures/rnns.py:774
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


# src/topics/architectures/rnns.py:790
def test_recall_batch_and_training():
    X, y = recall_batch(6, 200, np.random.default_rng(11))
    assert X.shape == (200, 7, 4) and np.array_equal(X[:, 0], np.eye(4)[y])
    assert 0.09 < X[:, 1:].std() < 0.11 and set(y) == {0, 1, 2, 3}
    assert train_recall("orthogonal", 3, 0, steps=120) > 0.95
    assert train_recall("random 0.9", 3, 0, steps=120) > 0.9
    assert train_recall("random 1.0", 3, 0, steps=1) < 0.7
    rng = np.random.default_rng(11)
    for start, radius in (("random 0.7", 0.7), ("random 1.5", 1.5), ("orthogonal", 1.0)):
        P = recall_start(start, 6, rng)
        assert np.isclose(np.abs(np.linalg.eigvals(P["W_h"])).max(), radius)
        assert P["W_x"].shape == (4, 6) and P["W_o"].shape == (6, 4)
    big = recall_start("orthogonal", 400, rng)
    assert np.allclose(big["W_h"] @ big["W_h"].T, np.eye(400))
    assert 0.045 < big["W_o"].std() < 0.055


# src/topics/architectures/rnns.py:807
def test_clip_and_adam_are_torchs():
    import torch

    rng = np.random.default_rng(19)
    for _ in range(20):
        shapes = {"W": tuple(rng.integers(1, 6, size=2)), "b": (rng.integers(1, 6),)}
        most, lr = rng.uniform(0.5, 4), rng.uniform(1e-3, 1)
        P = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        T = {name: torch.from_numpy(W.copy()).requires_grad_() for name, W in P.items()}
        m, v = ({name: np.zeros_like(W) for name, W in P.items()} for _ in range(2))
        steps = torch.optim.Adam(T.values(), lr=lr, betas=(0.9, 0.99))
        for t in range(1, 5):
            G = {name: rng.normal(size=shape) for name, shape in shapes.items()}
            for name, g in G.items():
                T[name].grad = torch.from_numpy(g.copy())
            torch.nn.utils.clip_grad_norm_(T.values(), most)
            clipped = clip(G, most)
            for name, g in clipped.items():
                assert np.allclose(g, T[name].grad.numpy(), rtol=1e-5)
                T[name].grad = torch.from_numpy(g.copy())
            adam(P, clipped, m, v, t, lr)
            steps.step()
            for name in P:
                assert np.allclose(P[name], T[name].detach().numpy(), rtol=1e-12)
    zero = {"W": np.zeros((2, 3))}
    assert np.array_equal(clip(zero, 1.0)["W"], zero["W"])


# src/topics/architectures/rnns.py:852
def test_recall_gradient():
    rng = np.random.default_rng(20)
    for n in (0, 1, 5):
        check_recall_gradient(recall_start("random 1.2", 6, rng), *recall_batch(n, 3, rng))


# src/topics/architectures/rnns.py:865
def test_language():
    rng = np.random.default_rng(23)
    assert len(set(SENTENCES)) == 5 * 4 * 4 and set("".join(SENTENCES)) == set(LETTERS)
    text = "".join(LETTERS[i] for i in random_text(400, rng))
    said = text.split(".")
    assert said[-1] == "" and len(said) == 401 and len({*said}) > 75
    assert {x + "." for x in said[:-1]} <= set(SENTENCES)
    for x in SENTENCES:
        assert np.isclose(true_surprise(x).sum(), np.log(80))
        assert len(true_surprise(x)) == len(x)
    assert np.allclose(true_surprise("dogseesman.")[:8],
                       [np.log(5), 0, 0, np.log(4), 0, 0, 0, np.log(4)])
    assert judge(["x.dogseesman.dogseesdog.dogman.boy", "a.catbitescat.b"]) == (0.75, 2 / 3)
    assert judge(["a.b.c"]) == (0.0, 0.0)


# src/topics/architectures/rnns.py:881
def test_piece_gradient_and_surprise():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(24)
    for B, k, d in ((1, 1, 3), (2, 5, 4), (4, 3, 2)):
        P, h0 = random_writer(d, rng), rng.normal(size=(B, d))
        ids = rng.integers(len(LETTERS), size=(B, k + 1))
        T = {name: torch.from_numpy(W).requires_grad_() for name, W in P.items()}
        h, states = torch.from_numpy(h0), []
        for t in range(k):
            h = torch.tanh(T["W_x"][ids[:, t]] + h @ T["W_h"] + T["b"])
            states.append(h)
        s = torch.stack(states, 1) @ T["W_o"] + T["b_o"]
        F.cross_entropy(s.flatten(0, 1), torch.from_numpy(ids[:, 1:].ravel())).backward()
        last, G = piece_gradient(P, ids, h0)
        assert np.allclose(last, h.detach().numpy()) and set(G) == set(P)
        for name, g in G.items():
            assert np.allclose(g, T[name].grad.numpy(), atol=1e-12)
        zero = piece_gradient(P, ids[:1], np.zeros((1, d)))[1]["b_o"]
        each = [np.exp(-surprise(P, np.append(ids[0, :-1], c))[-1])
                for c in range(len(LETTERS))]
        assert np.isclose(sum(each), 1)
        seen = rnn_forward(np.eye(len(LETTERS))[ids[:1, :-1]], P)[0]
        want = F.cross_entropy(torch.from_numpy(seen @ P["W_o"] + P["b_o"]),
                               torch.from_numpy(ids[0, 1:]), reduction="none")
        assert np.allclose(surprise(P, ids[0]), want.numpy()) and abs(zero.sum()) < 1e-12


# src/topics/architectures/rnns.py:910
def test_write():
    rng = np.random.default_rng(25)
    P = random_writer(3, rng)
    P["W_o"], P["W_h"] = 0.3 * P["W_o"], 0.5 * P["W_h"]
    texts = write(P, 4000, 2, np.random.default_rng(26))
    assert len(texts) == 4000 and {len(x) for x in texts} == {2}
    ids = np.array([[LETTERS.index(c) for c in x] for x in texts])
    first = np.array([np.exp(-surprise(P, np.array([0, c]))[0]) for c in range(18)])
    likely = first.argmax()
    assert np.abs(np.bincount(ids[:, 0], minlength=18) / 4000 - first).max() < 0.03
    then = np.array([np.exp(-surprise(P, np.array([0, likely, c]))[1]) for c in range(18)])
    second = ids[ids[:, 0] == likely, 1]
    assert np.abs(np.bincount(second, minlength=18) / len(second) - then).max() < 0.06


# src/topics/architectures/rnns.py:925
def test_training_learns():
    P = train_writer(8, 0, steps=150, d=16, lr=0.02)
    assert {name: W.shape for name, W in P.items()} == {
        "W_x": (18, 16), "W_h": (16, 16), "b": (16,), "W_o": (16, 18), "b_o": (18,)}
    assert surprise(P, random_text(200, np.random.default_rng(27))).mean() < 0.8


# src/topics/architectures/rnns.py:932
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


# src/topics/architectures/rnns.py:948
def test_cell_parameters():
    import torch

    for d_in, d in ((3, 5), (1, 1), (7, 2)):
        rnn = torch.nn.RNN(d_in, d)
        n = sum(p.numel() for p in rnn.parameters())
        assert cell_parameters(d_in, d) == n - d  # PyTorch's second bias


# src/topics/architectures/rnns.py:999
def test_descend():
    clipped = descend(0.1, 0.01, 0, steps=4)
    assert clipped.shape == (4, 2) and clipped[:, 1].min() > 0.1  # the norm before
    slow = descend(0.1 * 0.01 / clipped[0, 1], 1e9, 0, steps=2)
    assert np.allclose(slow, clipped[:2])  # one clipped step is one shorter step
    loss = descend(0.1, 1.0, 0, steps=100)[:, 0]
    assert loss[-20:].mean() < 0.6 * loss[:5].mean()


# src/topics/architectures/rnns.py:1099
def test_two_steps():
    def h2(w, u):
        return 3 * w + 2 * w * u

    got, e = two_steps(), 1e-6
    assert np.allclose(got, [h2(1, 0.5), (h2(1 + e, 0.5) - h2(1 - e, 0.5)) / (2 * e),
                             (h2(1, 0.5 + e) - h2(1, 0.5 - e)) / (2 * e)])


# src/topics/architectures/rnns.py:1127
def test_half_life():
    for rho in (0.1, 0.5, 0.9, 0.999):
        assert np.isclose(rho ** half_life(rho), 0.5)


# src/topics/architectures/rnns.py:1148
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


# src/topics/architectures/rnns.py:1189
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


# src/topics/architectures/rnns.py:1226
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


# src/topics/architectures/rnns.py:1268
def test_linear_ratio():
    rng = np.random.default_rng(18)
    top = rng.normal(size=6)
    assert np.isclose(linear_ratio(orthogonal(6, rng), 50, top), 1)
    assert np.isclose(linear_ratio(0.5 * np.eye(6), 3, top), 0.125)
    W = np.array([[0.5, 4.0], [0.0, 0.5]])  # radius 0.5
    assert linear_ratio(W, 1, np.array([0.0, 1.0])) > 4
    assert linear_ratio(W, 60, np.array([0.0, 1.0])) < 1e-10
