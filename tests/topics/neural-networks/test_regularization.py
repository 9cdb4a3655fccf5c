# Generated from src/topics/neural-networks/regularization.py: edit that file, then run doit. digest:651b64b152a79c57

"""Tests of neural-networks/regularization: Regularization."""

import numpy as np


# src/topics/neural-networks/regularization.py:48
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/neural-networks/regularization.py:55
def dropout_mask(shape: tuple, p: float, rng: np.random.Generator) -> np.ndarray:
    """Zeros with probability p, else 1 / (1 - p)."""
    return (rng.random(shape) >= p) / (1 - p)


# src/topics/neural-networks/regularization.py:60
def logits_of(params: list, X: np.ndarray, mask: np.ndarray | float = 1.0) -> tuple:
    """Logits (n, K), hidden layer (n, width) and its pre-activations, for X (n, d)."""
    (W_1, b_1), (W_2, b_2) = params
    z = X @ W_1 + b_1
    h = np.maximum(z, 0) * mask
    return h @ W_2 + b_2, h, z


# src/topics/neural-networks/regularization.py:68
def net_gradients(
    params: list, X: np.ndarray, y: np.ndarray, mask: np.ndarray | float = 1.0
) -> list:
    """[(dW, db), ...] of the mean cross-entropy, with one mask for both directions."""
    logits, h, z = logits_of(params, X, mask)
    ds = (softmax(logits) - np.eye(logits.shape[1])[y]) / len(y)
    dz = (ds @ params[1][0].T) * mask * (z > 0)
    return [(X.T @ dz, dz.sum(axis=0)), (h.T @ ds, ds.sum(axis=0))]


# src/topics/neural-networks/regularization.py:78
def train_net(X: np.ndarray, y: np.ndarray, watch: list, seed: int,
              decay: float = 0.0, p: float = 0.0, epochs: int = 120) -> np.ndarray:
    """Error rates on each (X, y) of `watch`, after every fifth epoch of SGD."""
    rng, lr = np.random.default_rng(seed), 0.2
    d = X.shape[1]
    params = [(rng.normal(0, np.sqrt(2 / d), (d, 128)), np.zeros(128)),
              (rng.normal(0, np.sqrt(1 / 128), (128, 10)), np.zeros(10))]
    errors = []
    for epoch in range(epochs):
        for rows in rng.permutation(len(y)).reshape(-1, 50):
            grads = net_gradients(params, X[rows], y[rows],
                                  dropout_mask((50, 128), p, rng))
            params = [(W - lr * (dW + decay * W), b - lr * db)
                      for (W, b), (dW, db) in zip(params, grads)]
        if epoch % 5 == 4:
            errors.append([(logits_of(params, A)[0].argmax(axis=1) != c).mean()
                           for A, c in watch])
    return np.array(errors)


# src/topics/neural-networks/regularization.py:98
def spoil(y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) of which a `share` is redrawn from the ten classes."""
    y = y.copy()
    hit = rng.choice(len(y), int(share * len(y)), replace=False)
    y[hit] = rng.integers(10, size=len(hit))
    return y


# src/topics/neural-networks/regularization.py:258
def batch_norm(
    Z: np.ndarray, g: np.ndarray, b: np.ndarray, running: tuple,
    training: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> tuple[np.ndarray, tuple]:
    """Z (n, d) normalised per feature; `running` is a mean (d,) and a variance (d,)."""
    mean, var = running
    if training:
        n, mean, var = len(Z), Z.mean(axis=0), Z.var(axis=0)
        fresh = (mean, n / (n - 1) * var)  # raises for n = 1
        running = tuple((1 - momentum) * old + momentum * new
                        for old, new in zip(running, fresh))
    return (Z - mean) / np.sqrt(var + eps) * g + b, running


# src/topics/neural-networks/regularization.py:454
def ridge(X: np.ndarray, Y: np.ndarray, lam: float) -> np.ndarray:
    """W (d, m) that minimises |XW - Y|^2 / (2n) + lam |W|^2 / 2."""
    n, d = X.shape
    return np.linalg.solve(X.T @ X + n * lam * np.eye(d), X.T @ Y)


# src/topics/neural-networks/regularization.py:460
def descent(X: np.ndarray, Y: np.ndarray, lr: float, steps: int) -> np.ndarray:
    """W (d, m) after gradient descent from zero on |XW - Y|^2 / (2n)."""
    W = np.zeros((X.shape[1], Y.shape[1]))
    for _ in range(steps):
        W = W - lr * X.T @ (X @ W - Y) / len(X)
    return W


# src/topics/neural-networks/regularization.py:468
def ridge_factor(sigma: np.ndarray, n: int, lam: float) -> np.ndarray:
    """What ridge keeps of each singular direction."""
    return sigma**2 / (sigma**2 + n * lam)


# src/topics/neural-networks/regularization.py:473
def descent_factor(sigma: np.ndarray, n: int, lr: float, steps: int) -> np.ndarray:
    """What gradient descent has learned of each singular direction."""
    return 1 - (1 - lr * sigma**2 / n) ** steps


# src/topics/neural-networks/regularization.py:528
def adam_step(w: np.ndarray, g: np.ndarray, state: tuple, lr: float, decay: float,
              decoupled: bool, betas: tuple = (0.9, 0.999), eps: float = 1e-8) -> tuple:
    """New weights and state (m, v, t) after one step of AdamW, or of Adam with L2."""
    m, v, t = state
    if not decoupled:
        g = g + decay * w
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g**2
    t = t + 1
    step = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    if decoupled:
        w = w * (1 - lr * decay)
    return w - lr * step, (m, v, t)


# src/topics/neural-networks/regularization.py:577
def dropout_ridge(X: np.ndarray, Y: np.ndarray, p: float) -> np.ndarray:
    """W (d, m) that minimises the expected squared loss under dropout on X (n, d)."""
    G = X.T @ X
    return np.linalg.solve(G + p / (1 - p) * np.diag(np.diag(G)), X.T @ Y)


# src/topics/neural-networks/regularization.py:678
def batch_norm_backward(dY: np.ndarray, Z: np.ndarray, g: np.ndarray,
                        eps: float = 1e-5) -> tuple:
    """In training mode, from dY (n, d): dZ (n, d), dg (d,), db (d,)."""
    r = np.sqrt(Z.var(axis=0) + eps)
    Z_hat, d_hat = (Z - Z.mean(axis=0)) / r, dY * g
    dZ = (d_hat - d_hat.mean(axis=0) - Z_hat * (d_hat * Z_hat).mean(axis=0)) / r
    return dZ, (dY * Z_hat).sum(axis=0), dY.sum(axis=0)


# src/topics/neural-networks/regularization.py:693
def rms_norm(x: np.ndarray, g: np.ndarray | float = 1.0,
             eps: float = 1e-5) -> np.ndarray:
    """Each token of x (..., d) divided by its root mean square, times gains g (d,)."""
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * g


# src/topics/neural-networks/regularization.py:701
def rms_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,)."""
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    y, d_hat = x / r, dy * g
    dx = (d_hat - y * (d_hat * y).mean(axis=-1, keepdims=True)) / r
    return dx, (dy * y).reshape(-1, x.shape[-1]).sum(axis=0)


# src/topics/neural-networks/regularization.py:711
def layer_norm(x, g, b, eps=1e-5):
    """x (..., d), gains and shifts (d,)."""
    return rms_norm(x - x.mean(axis=-1, keepdims=True), g, eps) + b


# src/topics/neural-networks/regularization.py:718
def layer_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,), db (d,)."""
    dc, dg = rms_norm_backward(dy, x - x.mean(axis=-1, keepdims=True), g, eps)
    dx = dc - dc.mean(axis=-1, keepdims=True)
    return dx, dg, dy.reshape(-1, x.shape[-1]).sum(axis=0)


# src/topics/neural-networks/regularization.py:978
def relu_features(X: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Random features (n, N) of X (n, d) from random directions V (d, N)."""
    return np.maximum(X @ V, 0) / np.sqrt(V.shape[1])


# src/topics/neural-networks/regularization.py:983
def ridge_path(F: np.ndarray, Y: np.ndarray, F_new: np.ndarray,
               strengths: list) -> np.ndarray:
    """Predictions (len(strengths), n_new, m); a strength is n * lam, 0 least norm."""
    U, s, Vt = np.linalg.svd(F, full_matrices=False)
    kept = s > 1e-10 * s[0]
    U, s, Vt = U[:, kept], s[kept], Vt[kept]
    P, UY = F_new @ Vt.T, U.T @ Y
    return np.array([(P * (s / (s**2 + k))) @ UY for k in strengths])


# src/topics/neural-networks/regularization.py:993
def bias_variance(fits: np.ndarray, T: np.ndarray) -> tuple[float, float]:
    """Squared bias and variance per row, unbiased, of fits (R, n, m) for targets T."""
    variance = fits.var(axis=0, ddof=1).sum(axis=-1).mean()
    bias = ((fits.mean(axis=0) - T) ** 2).sum(axis=-1).mean() - variance / len(fits)
    return float(bias), float(variance)


# src/topics/neural-networks/regularization.py:1255
def dropout_by_hand() -> tuple[float, float]:
    """Mean and variance of the unit's value."""
    # Mean: 3 + 0 + 2. Variance: p / (1 - p) = 1/4 times (9 + 0 + 4).
    return 5.0, 13 / 4


# src/topics/neural-networks/regularization.py:1285
def ridge_by_rows(X: np.ndarray, Y: np.ndarray, lam: float) -> np.ndarray:
    """Ridge weights (d, m) from `np.linalg.lstsq` on enlarged data."""
    (n, d), m = X.shape, Y.shape[1]
    X_more = np.vstack([X, np.sqrt(n * lam) * np.eye(d)])
    return np.linalg.lstsq(X_more, np.vstack([Y, np.zeros((d, m))]), rcond=None)[0]


# src/topics/neural-networks/regularization.py:1315
def fold(W: np.ndarray, c: np.ndarray, g: np.ndarray, b: np.ndarray, running: tuple,
         eps: float = 1e-5) -> tuple[np.ndarray, np.ndarray]:
    """W' (d_in, d), c' (d,) of the layer that replaces both in eval mode."""
    mean, var = running
    scale = g / np.sqrt(var + eps)
    return W * scale, (c - mean) * scale + b


# src/topics/neural-networks/regularization.py:1346
def group_norm(X: np.ndarray, groups: int, g: np.ndarray, b: np.ndarray,
               eps: float = 1e-5) -> np.ndarray:
    """X (n, d) normalised over each of `groups` groups of d / groups features."""
    n, d = X.shape
    parts = layer_norm(X.reshape(n, groups, d // groups), 1.0, 0.0, eps)
    return parts.reshape(n, d) * g + b


# src/topics/neural-networks/regularization.py:1379
def lasso(X: np.ndarray, y: np.ndarray, lam: float, steps: int) -> np.ndarray:
    """Weights (d,) of the lasso, for X (n, d) and y (n,)."""
    n, d = X.shape
    lr, w = n / np.linalg.norm(X, 2) ** 2, np.zeros(d)
    for _ in range(steps):
        a = w - lr * X.T @ (X @ w - y) / n
        w = np.sign(a) * np.maximum(np.abs(a) - lr * lam, 0)
    return w


# src/topics/neural-networks/regularization.py:306
def test_hand_examples():
    Z = np.array([[0.0, 2.0], [0.0, 4.0], [3.0, 6.0]])
    Z_hat, running = batch_norm(Z, np.ones(2), np.zeros(2),
                                (np.zeros(2), np.ones(2)), eps=0.0)
    want = [[-0.5**0.5, -(1.5**0.5)], [-0.5**0.5, 0], [2**0.5, 1.5**0.5]]
    assert np.allclose(Z_hat, want, atol=1e-12)
    assert np.allclose(running, [[0.1, 0.4], [1.2, 1.3]], atol=1e-12)


# src/topics/neural-networks/regularization.py:315
def test_dropout_is_torch():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(0)
    for p in (0.0, 0.1, 0.5, 0.9):
        mask = dropout_mask((400, 300), p, rng)
        assert np.allclose(np.unique(mask), [0, 1 / (1 - p)] if p else [1], atol=1e-12)
        assert abs((mask == 0).mean() - p) < 0.006 and abs(mask.mean() - 1) < 0.03
        h = torch.from_numpy(rng.normal(size=(40, 30))).requires_grad_()
        torch.manual_seed(0)
        theirs = F.dropout(torch.ones(40, 30, dtype=torch.float64), p)
        assert set(theirs.unique().tolist()) <= {0.0, 1 / (1 - p)}
        torch.manual_seed(0)
        F.dropout(h, p).sum().backward()
        assert np.allclose(h.grad.numpy(), theirs.numpy(), atol=1e-12)


# src/topics/neural-networks/regularization.py:333
def test_net_gradients_are_torch():
    import torch

    rng = np.random.default_rng(1)
    for trial in range(20):
        n, d, width, K = rng.permutation(np.arange(1, 10))[:4]
        X, y = rng.normal(size=(n, d)), rng.integers(K, size=n)
        params = [(rng.normal(size=(d, width)), rng.normal(size=width)),
                  (rng.normal(size=(width, K)), rng.normal(size=K))]
        mask = dropout_mask((n, width), 0.4, rng) if trial % 2 else np.ones((n, width))
        leaves = [torch.from_numpy(v).requires_grad_() for pair in params for v in pair]
        h = torch.relu(torch.from_numpy(X) @ leaves[0] + leaves[1])
        logits = (h * torch.from_numpy(mask)) @ leaves[2] + leaves[3]
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)).backward()
        assert np.allclose(logits_of(params, X, mask)[0], logits.detach(), atol=1e-12)
        ours = [v for pair in net_gradients(params, X, y, mask) for v in pair]
        for got, leaf in zip(ours, leaves):
            assert np.allclose(got, leaf.grad.numpy(), atol=1e-12)


# src/topics/neural-networks/regularization.py:353
def test_train_net_learns_and_decays():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(100, 6))
    y = (X[:, 0] > 0).astype(int)
    errors = train_net(X, y, [(X, y), (X, 1 - y)], 0, epochs=40)
    assert errors.shape == (8, 2) and errors[-1, 0] < 0.05
    assert np.allclose(errors.sum(axis=1), 1)
    assert train_net(X, y, [(X, y)], 0, decay=1.0, epochs=40)[-1, 0] > errors[-1, 0]
    assert train_net(X, y, [(X, y)], 0, p=0.99, epochs=10)[-1, 0] > errors[-1, 0]


# src/topics/neural-networks/regularization.py:364
def test_spoil():
    y = np.repeat(np.arange(10), 100)
    for share in (0.0, 0.3, 1.0):
        changed = (spoil(y, share, np.random.default_rng(3)) != y).mean()
        assert abs(changed - 0.9 * share) < 0.04
    assert (y == np.repeat(np.arange(10), 100)).all()
    redrawn = spoil(np.zeros(500, int), 1.0, np.random.default_rng(3))
    assert set(redrawn.tolist()) == set(range(10))


# src/topics/neural-networks/regularization.py:374
def test_batch_norm_is_torch():
    import torch

    rng = np.random.default_rng(4)
    for trial in range(25):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        size = (1.0, 1e4, 1e-3)[trial % 3]
        momentum, eps = rng.uniform(0.05, 0.9), rng.choice([1e-5, 1e-2])
        layer = torch.nn.BatchNorm1d(int(d), eps, momentum, dtype=torch.float64)
        g, b = rng.normal(size=(2, d))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(g))
            layer.bias.copy_(torch.from_numpy(b))
        running = (np.zeros(d), np.ones(d))
        for step in range(4):
            Z = size * rng.normal(size=(n, d)) + size
            if trial == 5:
                Z[:] = Z[0]  # no variance at all
            training = step < 3
            layer.train(training)
            want = layer(torch.from_numpy(Z)).detach().numpy()
            got, running = batch_norm(Z, g, b, running, training, momentum, eps)
            assert np.allclose(got, want, rtol=1e-7, atol=1e-9)
            assert np.allclose(running[0], layer.running_mean.numpy(), atol=1e-9)
            assert np.allclose(running[1], layer.running_var.numpy(), rtol=1e-9)
    defaults = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    Z = 0.01 * rng.normal(size=(5, 3))
    got, running = batch_norm(Z, np.ones(3), np.zeros(3), (np.zeros(3), np.ones(3)))
    assert np.allclose(got, defaults(torch.from_numpy(Z)).detach().numpy(), atol=1e-9)
    assert np.allclose(running[1], defaults.running_var.numpy(), rtol=1e-9)
    try:  # as in PyTorch, a batch of one is refused
        batch_norm(np.ones((1, 2)), np.ones(2), np.zeros(2), (np.zeros(2), np.ones(2)))
        raise AssertionError("a batch of one was accepted")
    except ZeroDivisionError:
        pass


# src/topics/neural-networks/regularization.py:593
def test_ridge_descent_and_factors():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(5)
    for _ in range(20):
        n, d, m = rng.permutation(np.arange(2, 12))[:3]
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
        lam = rng.uniform(0.01, 2)
        want = Ridge(alpha=n * lam, fit_intercept=False).fit(X, Y).coef_.reshape(m, d).T
        assert np.allclose(ridge(X, Y, lam), want, atol=1e-9)
        U, s, Vt = np.linalg.svd(X, full_matrices=False)
        by = lambda factor: Vt.T @ (factor[:, None] * (U.T @ Y) / s[:, None])
        assert np.allclose(by(ridge_factor(s, n, lam)), want, atol=1e-9)
        steps = int(rng.integers(0, 30))
        W = descent(X, Y, 0.05, steps)
        assert np.allclose(W, by(descent_factor(s, n, 0.05, steps)), atol=1e-9)
    assert ridge(np.ones((2, 1)), np.ones((2, 1)), 1.0) == 0.5


# src/topics/neural-networks/regularization.py:612
def test_adam_step_is_torch():
    import torch

    rng = np.random.default_rng(6)
    for trial in range(20):
        decoupled, shape = bool(trial % 2), (int(rng.integers(1, 6)), 3)
        lr, decay = rng.uniform(0.001, 0.1), rng.uniform(0, 0.5)
        w, state = rng.normal(size=shape), (0.0, 0.0, 0)
        leaf = torch.from_numpy(w.copy()).requires_grad_()
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        theirs = kind([leaf], lr=lr, weight_decay=decay)
        for _ in range(6):
            g = rng.normal(size=shape) * 10.0 ** rng.integers(-9, 2)
            leaf.grad = torch.from_numpy(g.copy())
            theirs.step()
            w, state = adam_step(w, g, state, lr, decay, decoupled)
            assert np.allclose(w, leaf.detach().numpy(), atol=1e-12)


# src/topics/neural-networks/regularization.py:631
def test_dropout_is_ridge():
    from itertools import product

    rng = np.random.default_rng(7)
    for p in (0.0, 0.2, 0.5, 0.8):
        for _ in range(5):
            n, d, m = rng.permutation(np.arange(1, 7))[:3]
            n = n + d
            X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
            W = dropout_ridge(X, Y, p)

            def expected(W):
                return sum((p ** (d - sum(k)) * (1 - p) ** sum(k))
                           * ((X * np.array(k) / (1 - p) @ W - Y) ** 2).sum()
                           for k in product((0, 1), repeat=int(d)))

            penalty = p / (1 - p) * ((X**2).sum(axis=0)[:, None] * W**2).sum()
            assert np.isclose(expected(W), ((X @ W - Y) ** 2).sum() + penalty)
            for _ in range(3):
                assert expected(W) <= expected(W + 0.01 * rng.normal(size=W.shape))


# src/topics/neural-networks/regularization.py:739
def test_norms_backward_are_torch():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(8)
    for trial in range(30):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        size, eps = (1.0, 1e3, 1e-3)[trial % 3], float(rng.choice([1e-5, 0.1]))
        x, dy = size * rng.normal(size=(n, d)), rng.normal(size=(n, d))
        if trial == 4:
            x[:] = 1.0  # variance zero
        g, b = rng.normal(size=(2, d))
        for kind in ("batch", "layer", "rms"):
            tx, tg, tb = (torch.from_numpy(v.copy()).requires_grad_() for v in (x, g, b))
            if kind == "batch":
                want = F.batch_norm(tx, None, None, tg, tb, training=True, eps=eps)
                got = batch_norm(x, g, b, (np.zeros(d), np.ones(d)), eps=eps)[0]
                grads = batch_norm_backward(dy, x, g, eps)
            elif kind == "layer":
                want = F.layer_norm(tx, (d,), tg, tb, eps)
                got, grads = layer_norm(x, g, b, eps), layer_norm_backward(dy, x, g, eps)
            else:
                want = F.rms_norm(tx, (d,), tg, eps)
                got, grads = rms_norm(x, g, eps), rms_norm_backward(dy, x, g, eps)
            want.backward(torch.from_numpy(dy))
            assert np.allclose(got, want.detach().numpy(), rtol=1e-7, atol=1e-9)
            for ours, leaf in zip(grads, (tx, tg, tb)):
                assert ours.shape == tuple(leaf.shape)
                assert np.allclose(ours, leaf.grad.numpy(), rtol=1e-6, atol=1e-8)


# src/topics/neural-networks/regularization.py:770
def test_norm_defaults_and_leading_axes():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(9)
    x, dy = 0.01 * rng.normal(size=(2, 2, 3, 5))
    g, b = rng.normal(size=(2, 5))
    tx, tg, tb = (torch.from_numpy(v.copy()).requires_grad_() for v in (x, g, b))
    F.layer_norm(tx, (5,), tg, tb).backward(torch.from_numpy(dy))
    for ours, leaf in zip(layer_norm_backward(dy, x, g), (tx, tg, tb)):
        assert np.allclose(ours, leaf.grad.numpy(), rtol=1e-7, atol=1e-10)
    assert np.allclose(layer_norm(x, g, b),
                       F.layer_norm(tx, (5,), tg, tb).detach().numpy(), atol=1e-10)
    want = F.rms_norm(tx, (5,), tg, 1e-5)
    assert np.allclose(rms_norm(x, g), want.detach().numpy(), atol=1e-10)
    assert np.allclose(rms_norm(x) * g, want.detach().numpy(), atol=1e-10)
    tx.grad = None
    want.backward(torch.from_numpy(dy))
    got = rms_norm_backward(dy, x, g)[0]
    assert np.allclose(got, tx.grad.numpy(), rtol=1e-7, atol=1e-10)
    z, dz = rng.normal(size=(2, 4, 3))
    tz = torch.from_numpy(z).requires_grad_()
    F.batch_norm(tz, None, None, training=True).backward(torch.from_numpy(dz))
    got = batch_norm_backward(dz, z, np.ones(3))[0]
    assert np.allclose(got, tz.grad.numpy(), atol=1e-10)


# src/topics/neural-networks/regularization.py:919
def test_scale_invariance_under_a_norm():
    rng = np.random.default_rng(10)
    X, W, dY = rng.normal(size=(9, 4)), rng.normal(size=(4, 3)), rng.normal(size=(9, 3))

    def gradient(W):
        return X.T @ batch_norm_backward(dY, X @ W, np.ones(3), 0.0)[0]

    assert np.allclose((gradient(W) * W).sum(axis=0), 0, atol=1e-10)
    assert np.allclose(gradient(5 * W), gradient(W) / 5, atol=1e-12)
    g, G = gradient(W), np.linalg.norm(gradient(W), axis=0) * np.linalg.norm(W, axis=0)
    squared = (W**2).sum(axis=0)
    want = (1 - 0.2 * 0.3) ** 2 * squared + 0.2**2 * G**2 / squared
    assert np.allclose(((W - 0.2 * (g + 0.3 * W)) ** 2).sum(axis=0), want)


# src/topics/neural-networks/regularization.py:1084
def test_ridge_path():
    rng = np.random.default_rng(11)
    for trial in range(20):
        n, N, m, k = rng.permutation(np.arange(2, 12))[:4]
        F, Y, F_new = (rng.normal(size=s) for s in ((n, N), (n, m), (k, N)))
        if trial % 4 == 0:
            F[:, 0] = 0.0  # a dead unit
        path = ridge_path(F, Y, F_new, [0.0, 0.7])
        assert path.shape == (2, k, m)
        assert np.allclose(path[0], F_new @ np.linalg.lstsq(F, Y)[0], atol=1e-8)
        assert np.allclose(path[1], F_new @ ridge(F, Y, 0.7 / n), atol=1e-9)


# src/topics/neural-networks/regularization.py:1097
def test_relu_features():
    X, V = np.array([[1.0, -2.0]]), np.array([[1.0, 0.0, 1.0, 4.0], [0.0, 1.0, 0.0, 1.0]])
    assert np.allclose(relu_features(X, V), [[0.5, 0.0, 0.5, 1.0]])


# src/topics/neural-networks/regularization.py:1102
def test_bias_variance_is_unbiased():
    rng = np.random.default_rng(12)
    T = rng.normal(size=(400, 3))
    fits = T + 0.5 + 2.0 * rng.normal(size=(4, 400, 3))  # bias 0.5, variance 4, each entry
    bias, variance = bias_variance(fits, T)
    assert abs(variance - 12) < 1 and abs(bias - 0.75) < 0.5
    total = ((fits - T) ** 2).sum(axis=-1).mean()
    assert np.isclose(total, bias + variance, rtol=1e-12)


# src/topics/neural-networks/regularization.py:1264
def test_dropout_by_hand():
    from itertools import product

    products, values, chances = np.array([3.0, 0.0, 2.0]), [], []
    for kept in product((0, 1), repeat=3):
        values.append(products @ np.array(kept) / 0.8)
        chances.append(0.8 ** sum(kept) * 0.2 ** (3 - sum(kept)))
    mean = np.dot(chances, values)
    variance = np.dot(chances, (np.array(values) - mean) ** 2)
    assert np.allclose(dropout_by_hand(), [mean, variance])


# src/topics/neural-networks/regularization.py:1295
def test_ridge_by_rows():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d, m = rng.permutation(np.arange(1, 10))[:3]
        X, Y, lam = rng.normal(size=(n, d)), rng.normal(size=(n, m)), rng.uniform(0.01, 3)
        got = ridge_by_rows(X, Y, lam)
        assert got.shape == (d, m) and np.allclose(got, ridge(X, Y, lam), atol=1e-9)


# src/topics/neural-networks/regularization.py:1326
def test_fold():
    rng = np.random.default_rng(14)
    for _ in range(20):
        n, d_in, d = rng.permutation(np.arange(1, 10))[:3]
        X, W = rng.normal(size=(n, d_in)), rng.normal(size=(d_in, d))
        c, g, b, mean = rng.normal(size=(4, d))
        running = (mean, rng.uniform(0.01, 3, size=d))
        want, _ = batch_norm(X @ W + c, g, b, running, training=False)
        W_new, c_new = fold(W, c, g, b, running)
        assert W_new.shape == (d_in, d) and np.allclose(X @ W_new + c_new, want)


# src/topics/neural-networks/regularization.py:1357
def test_group_norm():
    import torch

    rng = np.random.default_rng(15)
    for groups, size in [(1, 5), (5, 2), (3, 4), (2, 7), (4, 3)] * 4:
        n, d = int(rng.integers(1, 6)), groups * size
        X, (g, b) = rng.normal(size=(n, d)), rng.normal(size=(2, d))
        want = torch.nn.functional.group_norm(
            torch.from_numpy(X), groups, torch.from_numpy(g), torch.from_numpy(b))
        assert np.allclose(group_norm(X, groups, g, b), want.numpy(), atol=1e-9)


# src/topics/neural-networks/regularization.py:1392
def test_lasso():
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(16)
    for _ in range(20):
        n, d = int(rng.integers(12, 20)), int(rng.integers(1, 7))
        X, y, lam = rng.normal(size=(n, d)), rng.normal(size=n), rng.uniform(0.01, 0.4)
        want = Lasso(alpha=lam, fit_intercept=False, tol=1e-12).fit(X, y).coef_
        got = lasso(X, y, lam, 3000)
        assert np.allclose(got, want, atol=1e-6) and ((got == 0) == (want == 0)).all()
    assert (lasso(X, y, 100.0, 10) == 0).all()
