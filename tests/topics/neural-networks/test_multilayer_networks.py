# Generated from src/topics/neural-networks/multilayer-networks.py: edit that file, then run doit. digest:1f4b62e9712715c3

"""Tests of neural-networks/multilayer-networks: Multilayer networks."""

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from torch import nn


# src/topics/neural-networks/multilayer-networks.py:87
def relu(z: np.ndarray) -> np.ndarray:
    """max(z, 0), elementwise."""
    return np.maximum(z, 0)


# src/topics/neural-networks/multilayer-networks.py:92
def forward(params: list, X: np.ndarray, phi=relu) -> list:
    """h[0] = X (n, d_0), h[1], ..., h[L] = scores (n, d_L), the last without phi."""
    h = [X]
    for l, (W, b) in enumerate(params, start=1):
        z = h[l - 1] @ W + b
        h.append(phi(z) if l < len(params) else z)
    return h


# src/topics/neural-networks/multilayer-networks.py:101
def init_params(sizes: list, rng: np.random.Generator, gain: float = 2.0) -> list:
    """Pairs (W, b): normal weights of mean square gain / d_in, biases zero."""
    return [(rng.normal(0, np.sqrt(gain / d_in), (d_in, d_out)), np.zeros(d_out))
            for d_in, d_out in zip(sizes[:-1], sizes[1:])]


# src/topics/neural-networks/multilayer-networks.py:107
def collapse(params: list) -> tuple:
    """The one (W, b) that equals a stack of linear layers."""
    W, b = params[0]
    for W_next, b_next in params[1:]:
        W, b = W @ W_next, b @ W_next + b_next
    return W, b


# src/topics/neural-networks/multilayer-networks.py:225
def to_torch(params: list, activation=nn.ReLU) -> nn.Sequential:
    """The same network in PyTorch, in float64."""
    layers = []
    for W, b in params:
        linear = nn.Linear(*W.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


# src/topics/neural-networks/multilayer-networks.py:255
def count_params(sizes: list) -> int:
    """Weights and biases of a network with layers of these sizes."""
    return sum(d_out * (d_in + 1) for d_in, d_out in zip(sizes[:-1], sizes[1:]))


# src/topics/neural-networks/multilayer-networks.py:260
def count_flops(sizes: list) -> int:
    """Multiplications and additions of the matrix products, for one input."""
    return sum(2 * d_in * d_out for d_in, d_out in zip(sizes[:-1], sizes[1:]))


# src/topics/neural-networks/multilayer-networks.py:370
def interpolator(knots: np.ndarray, values: np.ndarray) -> list:
    """ReLU network through n + 1 points, with n hidden units; knots increase."""
    slopes = np.diff(values) / np.diff(knots)
    W1, b1 = np.ones((1, len(slopes))), -knots[:-1]
    W2 = np.diff(slopes, prepend=0.0)[:, None]
    return [(W1, b1), (W2, values[:1])]


# src/topics/neural-networks/multilayer-networks.py:434
def features_spanned(phi, width: int, rng: np.random.Generator) -> int:
    """Rank of `width` random hidden units of one input, seen at 300 points."""
    x = np.linspace(-1, 1, 300)[:, None]
    H = phi(x @ rng.choice([-1.0, 1.0], size=(1, width)) + rng.uniform(-1, 1, width))
    return int(np.linalg.matrix_rank(H))


# src/topics/neural-networks/multilayer-networks.py:470
def tents(L: int) -> list:
    """L composed tents on [0, 1]: a network with L hidden layers of two units."""
    enter, bend = np.ones((1, 2)), np.array([0.0, -0.5])
    leave = np.array([[2.0], [-4.0]])
    inner = [(leave @ enter, bend) for _ in range(L - 1)]
    return [(enter, bend), *inner, (leave, np.zeros(1))]


# src/topics/neural-networks/multilayer-networks.py:478
def count_pieces(params: list, X: np.ndarray) -> int:
    """Pieces on which no hidden unit switches, for rows of X (n, d) along a path."""
    on = np.hstack(forward(params, X)[1:-1]) > 0
    return 1 + int((on[1:] != on[:-1]).any(axis=1).sum())


# src/topics/neural-networks/multilayer-networks.py:543
def signal_size(gain: float, depth: int, seed: int, width: int = 128) -> float:
    """Root mean square of the last hidden layer over that of the first."""
    rng = np.random.default_rng(seed)
    params = init_params([width] * (depth + 2), rng, gain)
    h = forward(params, rng.normal(size=(50, width)))
    return float(np.sqrt((h[depth] ** 2).mean() / (h[1] ** 2).mean()))


# src/topics/neural-networks/multilayer-networks.py:573
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/neural-networks/multilayer-networks.py:580
def mean_loss(params: list, X: np.ndarray, y: np.ndarray) -> float:
    """Mean of -log softmax(scores)[y] over the rows; y (n,) holds classes."""
    scores = forward(params, X)[-1]
    log_sums = np.logaddexp.reduce(scores, axis=1)
    return float((log_sums - scores[np.arange(len(y)), y]).mean())


# src/topics/neural-networks/multilayer-networks.py:587
def gradients(params: list, X: np.ndarray, y: np.ndarray) -> list:
    """[(dW1, db1), (dW2, db2)] of mean_loss, for two layers with ReLU."""
    _, H, scores = forward(params, X)
    d_scores = (softmax(scores) - np.eye(scores.shape[1])[y]) / len(y)
    dz = d_scores @ params[1][0].T * (H > 0)
    return [(X.T @ dz, dz.sum(axis=0)), (H.T @ d_scores, d_scores.sum(axis=0))]


# src/topics/neural-networks/multilayer-networks.py:595
def sgd(params: list, X: np.ndarray, y: np.ndarray, rng: np.random.Generator | None,
        epochs: int = 30, lr: float = 0.2, batch: int = 25) -> list:
    """Parameters after stochastic gradient descent; without rng, in given order."""
    for _ in range(epochs):
        order = np.arange(len(y)) if rng is None else rng.permutation(len(y))
        for start in range(0, len(y), batch):
            rows = order[start : start + batch]
            params = [(W - lr * dW, b - lr * db) for (W, b), (dW, db)
                      in zip(params, gradients(params, X[rows], y[rows]))]
    return params


# src/topics/neural-networks/multilayer-networks.py:607
def accuracy(params: list, X: np.ndarray, y: np.ndarray) -> float:
    """Share of rows whose highest score is the true class."""
    return float((forward(params, X)[-1].argmax(axis=1) == y).mean())


# src/topics/neural-networks/multilayer-networks.py:869
def additivity_gap(f, X: np.ndarray) -> float:
    """Largest |f(x) + f(x') - f(x + x') - f(0)| over neighbouring rows, relative."""
    gap = f(X[:-1]) + f(X[1:]) - f(X[:-1] + X[1:]) - f(0 * X[:-1])
    return float(np.abs(gap).max() / np.abs(f(X)).max())


# src/topics/neural-networks/multilayer-networks.py:1002
def rescale_unit(params: list, j: int, c: float) -> list:
    """An equal two-layer ReLU network with hidden unit j scaled by c > 0."""
    (W1, b1), (W2, b2) = [(W.copy(), b.copy()) for W, b in params]
    W1[:, j], b1[j], W2[j] = c * W1[:, j], c * b1[j], W2[j] / c
    return [(W1, b1), (W2, b2)]


# src/topics/neural-networks/multilayer-networks.py:1036
def max_net() -> list:
    """[(W1, b1), (W2, b2)] with three hidden units and f(x) = max(x1, x2)."""
    W1 = np.array([[1.0, 0.0, 0.0], [-1.0, 1.0, -1.0]])
    return [(W1, np.zeros(3)), (np.array([[1.0], [1.0], [-1.0]]), np.zeros(1))]


# src/topics/neural-networks/multilayer-networks.py:1059
def memorise(X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list:
    """Network [d, n - 1, 1] with f(X[i]) = y[i], for X (n, d), y (n,)."""
    direction = rng.normal(size=(X.shape[1], 1))
    at = (X @ direction)[:, 0]
    order = np.argsort(at)
    (W1, b1), last = interpolator(at[order], y[order].astype(float))
    return [(direction @ W1, b1), last]


# src/topics/neural-networks/multilayer-networks.py:1099
def parity_net(n: int) -> list:
    """Network [n, n, 1] that returns 1 for an odd number of ones and 0 for an even."""
    (W1, b1), last = interpolator(np.arange(n + 1.0), np.arange(n + 1.0) % 2)
    return [(np.ones((n, 1)) @ W1, b1), last]  # the interpolated input is the sum


# src/topics/neural-networks/multilayer-networks.py:1133
def gain_for(phi) -> float:
    """1 / E[phi(z)^2] for standard normal z, by summing over a fine grid."""
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-(z**2) / 2)
    return float(density.sum() / (phi(z) ** 2 * density).sum())


# src/topics/neural-networks/multilayer-networks.py:280
def test_forward_is_torch():
    rng = np.random.default_rng(1)
    kinds = [(relu, nn.ReLU), (np.tanh, nn.Tanh), (lambda z: z, nn.Identity)]
    for trial in range(30):
        sizes = [int(s) for s in rng.integers(1, 9, size=rng.integers(2, 6))]
        n = [0, 1, 7][trial % 3] + int(rng.integers(0, 3))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params(sizes, rng)]
        X = rng.normal(size=(n, sizes[0])) * [1, 1, 1e6][trial % 3]
        phi, activation = kinds[trial % 3]
        h = forward(params, X, phi)
        want = to_torch(params, activation)(torch.tensor(X)).detach().numpy()
        assert [a.shape for a in h] == [(n, s) for s in sizes]
        assert np.allclose(h[-1], want, rtol=1e-12, atol=1e-12)
    empty = forward(init_params([3, 4, 2], rng), np.zeros((0, 3)))
    assert empty[-1].shape == (0, 2)


# src/topics/neural-networks/multilayer-networks.py:297
def test_collapse_is_the_linear_stack():
    rng = np.random.default_rng(2)
    for _ in range(25):
        sizes = [int(s) for s in rng.integers(1, 9, size=rng.integers(2, 7))]
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params(sizes, rng)]
        X = rng.normal(size=(5, sizes[0]))
        W, b = collapse(params)
        assert W.shape == (sizes[0], sizes[-1]) and b.shape == (sizes[-1],)
        want = to_torch(params, nn.Identity)(torch.tensor(X)).detach().numpy()
        assert np.allclose(X @ W + b, want, atol=1e-10)
        assert np.linalg.matrix_rank(W) <= min(sizes)


# src/topics/neural-networks/multilayer-networks.py:310
def test_counts_are_torch():
    rng = np.random.default_rng(3)
    for _ in range(20):
        sizes = [int(s) for s in rng.integers(1, 30, size=rng.integers(2, 6))]
        net = to_torch(init_params(sizes, rng))
        assert count_params(sizes) == sum(p.numel() for p in net.parameters())
        assert count_flops(sizes) == sum(2 * p.numel() for p in net.parameters()
                                         if p.ndim == 2)


# src/topics/neural-networks/multilayer-networks.py:320
def test_xor_by_hand():
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    net = [(np.array([[1.0, -2.0], [-1.0, 2.0]]), np.zeros(2)),
           (np.array([[2.0], [1.0]]), np.array([-1.0]))]
    assert np.array_equal(forward(net, square)[-1][:, 0], [-1, 1, 1, -1])
    assert (forward(net, square, phi=lambda z: z)[-1] == -1).all()


# src/topics/neural-networks/multilayer-networks.py:675
def test_interpolator_is_np_interp():
    rng = np.random.default_rng(4)
    for _ in range(25):
        n = int(rng.integers(1, 30))
        knots = np.cumsum(rng.uniform(0.1, 1, size=n + 1)) - 5
        values = rng.normal(size=n + 1) * 10
        net = interpolator(knots, values)
        x = rng.uniform(knots[0], knots[-1], size=50)
        assert net[0][0].shape == (1, n) and net[1][0].shape == (n, 1)
        got = forward(net, x[:, None])[-1][:, 0]
        assert np.allclose(got, np.interp(x, knots, values), atol=1e-9)
    flat = interpolator(np.array([0.0, 1.0]), np.array([3.0, 3.0]))
    assert np.array_equal(forward(flat, np.array([[-4.0], [9.0]]))[-1], [[3.0], [3.0]])


# src/topics/neural-networks/multilayer-networks.py:690
def test_error_bounds():
    rng = np.random.default_rng(5)
    x = np.linspace(0, 1, 20_001)[:, None]
    for _ in range(20):
        n, speed, at = int(rng.integers(1, 60)), rng.uniform(1, 20), rng.uniform(0, 1)
        knots = np.linspace(0, 1, n + 1)
        for f, bound in ((lambda x: np.sin(speed * x + at), speed**2 / (8 * n**2)),
                         (lambda x: np.abs(speed * (x - at)), speed / (2 * n)),
                         (lambda x: np.sqrt(np.abs(x - at)), 1 / np.sqrt(n))):
            error = np.abs(forward(interpolator(knots, f(knots)), x)[-1] - f(x)).max()
            assert error <= bound + 1e-12
    # The smooth bound is reached exactly by a parabola.
    knots = np.linspace(0, 1, 9)
    error = np.abs(forward(interpolator(knots, knots**2), x)[-1] - x**2).max()
    assert abs(error - 2 / (8 * 8**2)) < 1e-6


# src/topics/neural-networks/multilayer-networks.py:707
def test_tents_and_pieces():
    x = (np.arange(2**13)[:, None] + 0.5) / 2**13
    for L in range(1, 8):
        net, want = tents(L), x
        for _ in range(L):
            want = 1 - np.abs(1 - 2 * want)
        assert np.allclose(forward(net, x)[-1], want, atol=1e-12)
        assert sum(len(b) for _, b in net[:-1]) == 2 * L
        assert count_pieces(net, x) == 2**L
        crossings = np.diff(np.sign(forward(net, x)[-1][:, 0] - 0.5))
        assert np.count_nonzero(crossings) == 2**L
    rng = np.random.default_rng(6)
    for _ in range(20):
        m = int(rng.integers(1, 12))
        knots = np.sort(rng.uniform(0.05, 0.95, size=m))
        net = [(np.ones((1, m)), -knots), (rng.normal(size=(m, 1)), np.zeros(1))]
        assert count_pieces(net, x) <= m + 1
    shared = np.array([0.25, 0.25, 0.5, 0.75])  # two units bend at one place
    assert count_pieces([(np.ones((1, 4)), -shared), (np.ones((4, 1)), 0.0)], x) == 4
    assert features_spanned(np.square, 50, rng) == 3
    assert features_spanned(lambda z: z**3, 50, rng) == 4
    assert features_spanned(relu, 50, rng) > 30


# src/topics/neural-networks/multilayer-networks.py:731
def test_variance_rule():
    rng = np.random.default_rng(7)
    for gain in (0.5, 1.0, 2.0, 3.0):
        d_in, d_out = int(rng.integers(200, 400)), int(rng.integers(200, 400))
        (W, b), = init_params([d_in, d_out], rng, gain)
        assert W.shape == (d_in, d_out) and not b.any()
        assert abs(W.var() * d_in / gain - 1) < 0.05 and abs(W.mean()) < 0.01
        sizes = [signal_size(gain, 8, seed) for seed in range(8)]
        assert abs(np.median(sizes) / (gain / 2) ** 3.5 - 1) < 0.2
    theirs = torch.empty(300, 500, dtype=torch.float64)  # (out, in)
    nn.init.kaiming_normal_(theirs, generator=torch.Generator().manual_seed(0))
    ours = init_params([500, 300], rng)[0][0]
    assert abs(theirs.var().item() / ours.var() - 1) < 0.03


# src/topics/neural-networks/multilayer-networks.py:746
def test_gradients_are_autograd():
    rng = np.random.default_rng(8)
    for trial in range(30):
        d, m, K, n = (int(k) for k in rng.integers(1, 9, size=4))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params([d, m, K], rng)]
        X = rng.normal(size=(n, d)) * [1, 1, 1e3][trial % 3]
        y = rng.integers(0, K, size=n)
        net = to_torch(params)
        loss = nn.functional.cross_entropy(net(torch.tensor(X)), torch.tensor(y))
        loss.backward()
        assert abs(mean_loss(params, X, y) - loss.item()) < 1e-12 * (1 + loss.item())
        for layer, (dW, db) in zip((net[0], net[2]), gradients(params, X, y)):
            size = 1 + np.abs(X).max()
            assert np.allclose(dW, layer.weight.grad.numpy().T, atol=1e-12 * size)
            assert np.allclose(db, layer.bias.grad.numpy(), atol=1e-12 * size)
    P = softmax(np.array([[1e4, 0.0], [2.0, 2.0]]))
    assert np.array_equal(P, [[1, 0], [0.5, 0.5]])


# src/topics/neural-networks/multilayer-networks.py:765
def test_network_is_mlpclassifier():
    rng = np.random.default_rng(9)
    for trial in range(20):
        d, m, K, n = (int(rng.integers(*r)) for r in ((1, 8), (1, 9), (3, 6), (6, 30)))
        X, y = rng.normal(size=(n, d)), np.append(np.arange(K), rng.integers(0, K, n))
        X = np.vstack([X, rng.normal(size=(K, d))])
        name = ["relu", "tanh", "identity"][trial % 3]
        batch = int(rng.integers(1, 9))
        model = MLPClassifier((m,), activation=name, solver="sgd", momentum=0, alpha=0,
                              learning_rate_init=0.1, batch_size=batch, shuffle=False)
        model.partial_fit(X, y, classes=np.arange(K))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params([d, m, K], rng)]
        for l, (W, b) in enumerate(params):
            model.coefs_[l][...], model.intercepts_[l][...] = W, b
        phi = {"relu": relu, "tanh": np.tanh, "identity": lambda z: z}[name]
        got = softmax(forward(params, X, phi)[-1])
        assert np.allclose(got, model.predict_proba(X), atol=1e-12)
        if name == "relu":  # one more pass over the data, ours and theirs
            assert abs(model.score(X, y) - accuracy(params, X, y)) < 1e-12
            model.partial_fit(X, y)
            ours = sgd(params, X, y, None, epochs=1, lr=0.1, batch=batch)
            for l, (W, b) in enumerate(ours):
                assert np.allclose(W, model.coefs_[l], atol=1e-12)
                assert np.allclose(b, model.intercepts_[l], atol=1e-12)


# src/topics/neural-networks/multilayer-networks.py:791
def test_sgd_draws_a_new_order_in_each_pass():
    rng, orders = np.random.default_rng(14), np.random.default_rng(15)
    X, y = rng.normal(size=(11, 3)), np.arange(11) % 2
    params = init_params([3, 4, 2], rng)
    ours = sgd(params, X, y, np.random.default_rng(15), epochs=2, batch=4)
    for _ in range(2):
        order = orders.permutation(11)
        params = sgd(params, X[order], y[order], None, epochs=1, batch=4)
    for (W, b), (W_want, b_want) in zip(ours, params):
        assert np.allclose(W, W_want) and np.allclose(b, b_want)


# src/topics/neural-networks/multilayer-networks.py:964
def test_failures_repeat_on_other_data():
    rng = np.random.default_rng(10)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    params = init_params([3, 16, 2], rng)
    equal = [(0 * W + 0.1, b) for W, b in params]
    same = sgd(equal, X, y, rng, epochs=20)
    assert np.allclose(same[0][0], same[0][0][:, :1], atol=1e-12)
    zeros = sgd([(0 * W, b) for W, b in params], X, y, rng, epochs=5)
    assert not zeros[0][0].any() and not zeros[1][0].any() and zeros[1][1].any()
    net = sgd(params, X, y, rng, epochs=60)
    assert accuracy(net, X, y) > accuracy(same, X, y) + 0.1
    assert additivity_gap(lambda X: forward(net, X, lambda z: z)[-1], X) < 1e-12
    assert additivity_gap(lambda X: forward(net, X)[-1], X) > 1e-3


# src/topics/neural-networks/multilayer-networks.py:1012
def test_rescale_unit():
    rng = np.random.default_rng(11)
    for _ in range(20):
        d, m, K = (int(k) for k in rng.integers(1, 7, size=3))
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params([d, m, K], rng)]
        j, c, X = int(rng.integers(m)), rng.uniform(0.1, 9), rng.normal(size=(5, d))
        other = rescale_unit(params, j, c)
        assert np.allclose(other[0][0][:, j], c * params[0][0][:, j])
        assert np.allclose(forward(other, X)[-1], forward(params, X)[-1], atol=1e-10)
        assert np.allclose(forward(other, X)[1][:, j], c * forward(params, X)[1][:, j])


# src/topics/neural-networks/multilayer-networks.py:1045
def test_max_net():
    X = np.random.default_rng(12).normal(size=(200, 2)) * 10
    assert max_net()[0][0].shape == (2, 3)
    assert np.allclose(forward(max_net(), X)[-1][:, 0], X.max(axis=1), atol=1e-12)


# src/topics/neural-networks/multilayer-networks.py:1071
def test_memorise():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d = int(rng.integers(2, 40)), int(rng.integers(1, 9))
        X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
        net = memorise(X, y, rng)
        assert [W.shape for W, _ in net] == [(d, n - 1), (n - 1, 1)]
        assert np.allclose(forward(net, X)[-1][:, 0], y, atol=1e-5)
    X = rng.normal(size=(400, 20))
    y = np.sign(X[:, 0])
    net = memorise(X[:200], y[:200], rng)
    new = np.sign(forward(net, X[200:])[-1][:, 0])
    assert (new == y[200:]).mean() < 0.65


# src/topics/neural-networks/multilayer-networks.py:1108
def test_parity_net():
    for n in range(1, 9):
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        net = parity_net(n)
        assert [W.shape for W, _ in net] == [(n, n), (n, 1)]
        assert np.allclose(forward(net, bits)[-1][:, 0], bits.sum(axis=1) % 2)
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    (enter, bend), *rest = tents(3)  # eight teeth halves over a sum of eight bits
    deep = [(np.ones((8, 1)) @ enter / 8, bend), *rest]
    assert np.allclose(forward(deep, bits)[-1][:, 0], bits.sum(axis=1) % 2)


# src/topics/neural-networks/multilayer-networks.py:1143
def test_gain_for():
    assert abs(gain_for(relu) - nn.init.calculate_gain("relu") ** 2) < 1e-6
    assert abs(gain_for(np.abs) - 1) < 1e-6
    for a in (0.01, 0.1, 0.3):
        want = nn.init.calculate_gain("leaky_relu", a) ** 2
        assert abs(gain_for(lambda z, a=a: np.where(z > 0, z, a * z)) - want) < 1e-6
    assert 2.5 < gain_for(np.tanh) < 2.6
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    for phi, slope, want in ((relu, z > 0, 1), (np.tanh, 1 - np.tanh(z) ** 2, 1.178)):
        assert abs(gain_for(phi) * (slope**2 * density).sum() - want) < 1e-3
