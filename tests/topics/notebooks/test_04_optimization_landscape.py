# Generated from src/topics/notebooks/04-optimization-landscape.py: edit that file, then run doit. digest:a6a4a4d0e468e21d

"""Tests of notebooks/04-optimization-landscape: The optimization landscape."""

import numpy as np
import torch  # only to check our results against
from collections.abc import Callable


# src/topics/notebooks/04-optimization-landscape.py:63
SIZES = (64, 24, 24, 10)


# src/topics/notebooks/04-optimization-landscape.py:66
def unpack(theta: np.ndarray, sizes: tuple) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views (W, b) of each layer in the row theta (d,); W (d_in, d_out), b (d_out,)."""
    layers, at = [], 0
    for d_in, d_out in zip(sizes, sizes[1:]):
        end = at + d_in * d_out
        layers.append((theta[at:end].reshape(d_in, d_out), theta[end : end + d_out]))
        at = end + d_out
    return layers


# src/topics/notebooks/04-optimization-landscape.py:76
def draw_network(rng: np.random.Generator, sizes: tuple,
                 gain: float = 0.5) -> np.ndarray:
    """A row theta (d,): weights of deviation gain / sqrt(d_in), biases zero."""
    theta = np.zeros(sum((d_in + 1) * d_out for d_in, d_out in zip(sizes, sizes[1:])))
    for W, _ in unpack(theta, sizes):
        W[:] = rng.normal(size=W.shape) * gain / np.sqrt(len(W))
    return theta


# src/topics/notebooks/04-optimization-landscape.py:85
def scores_of(theta: np.ndarray, X: np.ndarray, sizes: tuple,
              bend: str) -> list[np.ndarray]:
    """Inputs X (n, d_0), every hidden layer (n, d_l), and last the scores (n, K)."""
    hs = [X]
    for W, b in unpack(theta, sizes):
        z = hs[-1] @ W + b
        hs.append(np.tanh(z) if bend == "tanh" else np.maximum(z, 0))
    return [*hs[:-1], z]


# src/topics/notebooks/04-optimization-landscape.py:95
def loss_and_gradient(theta: np.ndarray, X: np.ndarray, Y: np.ndarray, sizes: tuple,
                      bend: str = "tanh") -> tuple[float, np.ndarray]:
    """Half the mean squared distance of the scores from Y (n, K); gradient (d,)."""
    *hs, scores = scores_of(theta, X, sizes, bend)
    dz = (scores - Y) / len(Y)
    gradient = np.empty_like(theta)
    layers, slots = unpack(theta, sizes), unpack(gradient, sizes)
    for h, (W, _), (dW, db) in reversed(list(zip(hs, layers, slots))):
        dW[:], db[:] = h.T @ dz, dz.sum(axis=0)
        dz = dz @ W.T * (1 - h**2 if bend == "tanh" else h > 0)  # unused at the inputs
    return 0.5 * ((scores - Y) ** 2).sum(axis=1).mean(), gradient


# src/topics/notebooks/04-optimization-landscape.py:121
def curve(gradient: Callable, theta: np.ndarray, u: np.ndarray,
          h: float = 1e-4) -> np.ndarray:
    """u H (d,), the Hessian at theta (d,) times the direction u (d,)."""
    return (gradient(theta + h * u) - gradient(theta - h * u)) / (2 * h)


# src/topics/notebooks/04-optimization-landscape.py:127
def sharpness(gradient: Callable, theta: np.ndarray, u: np.ndarray,
              steps: int = 100) -> tuple[float, np.ndarray]:
    """Eigenvalue of largest size and its direction (d,), by power iteration from u."""
    for _ in range(steps):
        u = u / np.linalg.norm(u)
        w = curve(gradient, theta, u)
        value, u = float(u @ w), w
    return value, u / np.linalg.norm(u)


# src/topics/notebooks/04-optimization-landscape.py:192
def random_sizes(rng: np.random.Generator, most: int = 6) -> tuple:
    """Three to five layer sizes, all different."""
    count = rng.integers(3, 6)
    return tuple(int(s) for s in rng.permutation(np.arange(1, most))[:count])


# src/topics/notebooks/04-optimization-landscape.py:198
def torch_loss(theta, X, Y, sizes, bend):
    """The same network in PyTorch, from one row of parameters."""
    h, at = torch.as_tensor(X), 0
    for d_in, d_out in zip(sizes, sizes[1:]):
        W = theta[at : at + d_in * d_out].reshape(d_in, d_out)
        b = theta[at + d_in * d_out : at + d_in * d_out + d_out]
        at += d_in * d_out + d_out
        z = h @ W + b
        h = z.tanh() if bend == "tanh" else z.relu()
    return 0.5 * ((z - torch.as_tensor(Y)) ** 2).sum(dim=1).mean()


# src/topics/notebooks/04-optimization-landscape.py:274
def momentum(g: np.ndarray, state: dict, beta: float = 0.9,
             nesterov: bool = False) -> np.ndarray:
    """Direction of momentum for the gradient g; `state` remembers v."""
    v = state["v"] = beta * state.get("v", 0.0) + g
    return g + beta * v if nesterov else v


# src/topics/notebooks/04-optimization-landscape.py:281
def adam(g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.999,
         eps: float = 1e-8) -> np.ndarray:
    """Adam's direction for the gradient g; `state` remembers t, m and v."""
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


# src/topics/notebooks/04-optimization-landscape.py:290
def orthogonalise(G: np.ndarray, steps: int = 5) -> np.ndarray:
    """G (n, m) with its singular values pushed towards 1, by Newton-Schulz steps."""
    X = G / max(np.linalg.norm(G), 1e-7)
    X = X if G.shape[0] <= G.shape[1] else X.T
    for _ in range(steps):
        S = X @ X.T
        X = 3.4445 * X + (-4.7750 * S + 2.0315 * S @ S) @ X
    return X if G.shape[0] <= G.shape[1] else X.T


# src/topics/notebooks/04-optimization-landscape.py:300
def muon(g: np.ndarray, state: dict, beta: float = 0.95) -> np.ndarray:
    """Muon's direction for the gradient g (d_in, d_out) of a matrix."""
    stretch = np.sqrt(max(1.0, g.shape[1] / g.shape[0]))
    return stretch * orthogonalise(momentum(g, state, beta, nesterov=True))


# src/topics/notebooks/04-optimization-landscape.py:306
def step(theta: np.ndarray, D: np.ndarray, lr: float, decay: float = 0.0) -> np.ndarray:
    """One step along -D, with decoupled weight decay."""
    return (1 - lr * decay) * theta - lr * D


# src/topics/notebooks/04-optimization-landscape.py:311
DECAY = {"adamw": 0.1}


# src/topics/notebooks/04-optimization-landscape.py:314
def direction(rule: str, g: np.ndarray, state: dict) -> np.ndarray:
    """Direction of a rule, by name, for a gradient g; a row counts as a matrix."""
    if rule == "plain":
        return g
    if rule in ("momentum", "nesterov"):
        return momentum(g, state, nesterov=rule == "nesterov")
    if rule == "muon":
        return muon(np.atleast_2d(g), state).reshape(g.shape)
    return adam(g, state)


# src/topics/notebooks/04-optimization-landscape.py:325
def follow(gradient: Callable, theta: np.ndarray, rule: str, lr: float,
           steps: int) -> np.ndarray:
    """All points on the way, (steps + 1, d), from theta (d,)."""
    path, state = [theta], {}
    for _ in range(steps):
        D = direction(rule, gradient(path[-1]), state)
        path.append(step(path[-1], D, lr, DECAY.get(rule, 0.0)))
    return np.array(path)


# src/topics/notebooks/04-optimization-landscape.py:361
def check_rule(ours: Callable, make: Callable, transposed: bool = False):
    """The same weights as torch after each of 5 steps, over 21 shapes."""
    rng = np.random.default_rng(3)
    shapes = [(1, 1), (1, 5), (4, 1)]
    shapes += [tuple(rng.integers(2, 9, 2)) for _ in range(18)]
    for case, shape in enumerate(shapes):
        W, size, state = rng.normal(size=shape), 10.0 ** (case % 5 - 2), {}
        leaf = torch.nn.Parameter(torch.tensor(W.T if transposed else W).clone())
        optimizer = make(leaf)
        for _ in range(5):
            g = size * rng.normal(size=shape)
            leaf.grad = torch.tensor(g.T.copy() if transposed else g)
            optimizer.step()
            W = ours(W, g, state)
            want = leaf.detach().numpy()
            np.testing.assert_allclose(W, want.T if transposed else want,
                                       rtol=1e-11, atol=1e-13)


# src/topics/notebooks/04-optimization-landscape.py:448
def bowl(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (...) and gradient (..., 2) of the long bowl at points p (..., 2)."""
    return 0.5 * (p[..., 0] ** 2 + 25 * p[..., 1] ** 2), p * np.array([1.0, 25.0])


# src/topics/notebooks/04-optimization-landscape.py:453
def rosenbrock(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (...) and gradient (..., 2) of Rosenbrock's valley at points p (..., 2)."""
    x, y = p[..., 0], p[..., 1]
    r = y - x**2
    return (1 - x) ** 2 + 100 * r**2, np.stack([2 * (x - 1) - 400 * x * r, 200 * r], -1)


# src/topics/notebooks/04-optimization-landscape.py:460
def saddle(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (...) and gradient (..., 2) of a saddle between two minima."""
    x, y = p[..., 0], p[..., 1]
    return 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4, np.stack([x, y**3 - y], -1)


# src/topics/notebooks/04-optimization-landscape.py:469
def tuned(surface: Callable, start: np.ndarray, rule: str,
          steps: int) -> tuple[float, np.ndarray]:
    """The best of fifteen rates by the last loss, and its path (steps + 1, 2)."""
    runs = {}
    with np.errstate(all="ignore"):
        for lr in 2.0 ** -np.arange(15):
            path = follow(lambda p: surface(p)[1], start, rule, lr, steps)
            last = surface(path[-1])[0]
            runs[lr] = last if np.isfinite(last) else np.inf
    best = min(runs, key=runs.get)
    return best, follow(lambda p: surface(p)[1], start, rule, best, steps)


# src/topics/notebooks/04-optimization-landscape.py:541
def turn(surface: Callable, degrees: float) -> tuple[Callable, np.ndarray]:
    """The surface turned about the origin, and the rotation R (2, 2): p -> p @ R."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    R = np.array([[c, s], [-s, c]])

    def turned(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss, g = surface(p @ R.T)
        return loss, g @ R

    return turned, R


# src/topics/notebooks/04-optimization-landscape.py:601
def steps_to_leave(rule: str, eps: float, lr: float = 0.05, most: int = 700) -> int:
    """Steps from (1, eps) on the saddle until y > 1/2."""
    path = follow(lambda p: saddle(p)[1], np.array([1.0, eps]), rule, lr, most)
    return int(np.argmax(path[:, 1] > 0.5))


# src/topics/notebooks/04-optimization-landscape.py:690
def cosine(t: int, T: int, w: int) -> float:
    """Factor of the rate at step t of T: w steps of warm-up, then a half cosine."""
    return t / w if t < w else (1 + np.cos(np.pi * (t - w) / (T - w))) / 2


# src/topics/notebooks/04-optimization-landscape.py:695
def wsd(t: int, T: int, w: int, r: int) -> float:
    """Warm-up for w steps, then 1, then a straight line to 0 over the last r."""
    return t / w if t < w else min(1.0, (T - t) / r)


# src/topics/notebooks/04-optimization-landscape.py:813
def principal_plane(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two orthonormal directions (2, d) of a path (t, d); all shares of variance."""
    _, sigma, Vt = np.linalg.svd(path - path.mean(axis=0), full_matrices=False)
    return Vt[:2], sigma**2 / (sigma**2).sum()


# src/topics/notebooks/04-optimization-landscape.py:819
def slice_losses(loss: Callable, origin: np.ndarray, u: np.ndarray, v: np.ndarray,
                 a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """f(a, b) = loss(origin + a u + b v), shape (len(b), len(a))."""
    return np.array([[loss(origin + s * u + t * v) for s in a] for t in b])


# src/topics/notebooks/04-optimization-landscape.py:845
def network_direction(rule: str, g: np.ndarray, states: list[dict]) -> np.ndarray:
    """Direction (d,) for the network; Muon drives the middle matrix, Adam the rest."""
    if rule != "muon":
        return direction(rule, g, states[0])
    D = 0.1 * adam(g, states[1])
    unpack(D, SIZES)[1][0][:] = muon(unpack(g, SIZES)[1][0], states[0])
    return D


# src/topics/notebooks/04-optimization-landscape.py:972
def rescale(theta: np.ndarray, sizes: tuple, alpha: float) -> np.ndarray:
    """The same ReLU network: layer 1 times alpha, the weights of layer 2 over alpha."""
    theta = theta.copy()
    (W1, b1), (W2, _), *_ = unpack(theta, sizes)
    W1 *= alpha
    b1 *= alpha
    W2 /= alpha
    return theta


# src/topics/notebooks/04-optimization-landscape.py:982
def random_direction(rng: np.random.Generator, theta: np.ndarray, sizes: tuple,
                     filters: bool) -> np.ndarray:
    """A random direction (d,): of length 1, or with each column as long as theta's."""
    u = rng.normal(size=theta.size)
    if not filters:
        return u / np.linalg.norm(u)
    for (W, b), (W_own, _) in zip(unpack(u, sizes), unpack(theta, sizes)):
        W *= np.linalg.norm(W_own, axis=0) / np.linalg.norm(W, axis=0)
        b[:] = 0
    return u


# src/topics/notebooks/04-optimization-landscape.py:1039
def hessian(gradient: Callable, theta: np.ndarray) -> np.ndarray:
    """The symmetric Hessian (d, d) at theta, one row for each coordinate direction."""
    H = np.array([curve(gradient, theta, e) for e in np.eye(len(theta))])
    return (H + H.T) / 2


# src/topics/notebooks/04-optimization-landscape.py:1365
BASE = 16


# src/topics/notebooks/04-optimization-landscape.py:1368
def mup(sizes: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Factors (d,) on Adam's rate and on the initial weights, for base width 16."""
    count = sum((d_in + 1) * d_out for d_in, d_out in zip(sizes, sizes[1:]))
    rate, start = np.ones(count), np.ones(count)
    k = sizes[1] / BASE
    for W, _ in unpack(rate, sizes)[1:]:
        W /= k
    unpack(start, sizes)[-1][0][:] /= np.sqrt(k)
    return rate, start


# src/topics/notebooks/04-optimization-landscape.py:1478
def edge(lr: float, beta: float = 0.0, nesterov: bool = False) -> float:
    """The largest stable curvature on a bowl, for 0 <= beta < 1."""
    # put c = (-1)^t: 1 + (1 + beta - x) + beta = 0, or 1 = (x - 1) (1 + 2 beta)
    return (2 + 2 * beta) / lr / (1 + 2 * beta if nesterov else 1)


# src/topics/notebooks/04-optimization-landscape.py:1507
def lowest_curvature(gradient: Callable, theta: np.ndarray, u: np.ndarray,
                     steps: int = 300) -> float:
    """The lowest eigenvalue of the Hessian at theta (d,), by power iteration from u."""
    c = abs(sharpness(gradient, theta, u, steps)[0])
    for _ in range(steps):
        u = u / np.linalg.norm(u)
        w = curve(gradient, theta, u) - c * u
        value, u = float(u @ w), w
    return value + c


# src/topics/notebooks/04-optimization-landscape.py:1540
def mean_curvature(gradient: Callable, theta: np.ndarray, rng: np.random.Generator,
                   samples: int = 20) -> float:
    """An estimate of the mean eigenvalue of the Hessian at theta (d,)."""
    total = 0.0
    for _ in range(samples):
        z = rng.choice([-1.0, 1.0], size=theta.size)
        total += z @ curve(gradient, theta, z)
    return total / samples / theta.size


# src/topics/notebooks/04-optimization-landscape.py:1571
def permute(theta: np.ndarray, sizes: tuple, order: np.ndarray) -> np.ndarray:
    """The same network with the units of hidden layer 1 in another order; a new row."""
    theta = theta.copy()
    (W1, b1), (W2, _), *_ = unpack(theta, sizes)
    W1[:], b1[:], W2[:] = W1[:, order], b1[order], W2[order]
    return theta


# src/topics/notebooks/04-optimization-landscape.py:1614
def first_share(c: float, d: int = 500, steps: int = 200, seed: int = 0) -> float:
    """Share of the first principal component of steps + 1 points, pulled back by c."""
    rng, path = np.random.default_rng(seed), [np.zeros(d)]
    for _ in range(steps):
        path.append((1 - c) * path[-1] + rng.normal(size=d))
    return float(principal_plane(np.array(path))[1][0])


# src/topics/notebooks/04-optimization-landscape.py:210
def test_network_matches_torch():
    rng = np.random.default_rng(0)
    for trial in range(24):
        sizes, bend = random_sizes(rng), ("tanh", "relu")[trial % 2]
        theta = draw_network(rng, sizes)
        theta += 0.3 * rng.normal(size=theta.size)
        n = int(rng.integers(1, 8))
        X, Y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))
        leaf = torch.tensor(theta, requires_grad=True)
        want = torch_loss(leaf, X, Y, sizes, bend)
        want.backward()
        loss, gradient = loss_and_gradient(theta, X, Y, sizes, bend)
        np.testing.assert_allclose(loss, want.item(), rtol=1e-12)
        np.testing.assert_allclose(gradient, leaf.grad, atol=1e-12)
        shapes = [h.shape for h in scores_of(theta, X, sizes, bend)]
        assert shapes == [(n, s) for s in sizes]


# src/topics/notebooks/04-optimization-landscape.py:228
def test_draw_network():
    theta = draw_network(np.random.default_rng(1), (300, 200, 50), gain=0.7)
    (W1, b1), (W2, b2) = unpack(theta, (300, 200, 50))
    assert abs(W1.std() * 300**0.5 - 0.7) < 0.02
    assert abs(W2.std() * 200**0.5 - 0.7) < 0.02
    assert not b1.any() and not b2.any() and theta.size == 301 * 200 + 201 * 50
    W1[0, 0] = 9.0  # views, not copies
    assert theta[0] == 9.0


# src/topics/notebooks/04-optimization-landscape.py:238
def test_sharpness_matches_torch():
    rng = np.random.default_rng(2)
    for _ in range(20):
        sizes = random_sizes(rng, 5)[:3]
        theta = rng.normal(size=draw_network(rng, sizes).size)
        X, Y = rng.normal(size=(5, sizes[0])), rng.normal(size=(5, sizes[-1]))
        H = torch.autograd.functional.hessian(
            lambda t: torch_loss(t, X, Y, sizes, "tanh"), torch.tensor(theta)).numpy()
        gradient = lambda t: loss_and_gradient(t, X, Y, sizes)[1]
        u = rng.normal(size=theta.size)
        np.testing.assert_allclose(curve(gradient, theta, u), u @ H, atol=1e-5)
        lam = np.linalg.eigvalsh(H)
        top = lam[np.abs(lam).argmax()]
        gap = np.sort(np.abs(lam))[-2:]
        if gap[0] < 0.9 * gap[1]:  # else power iteration needs more steps
            value, v = sharpness(gradient, theta, u, 120)
            assert abs(value - top) < 1e-4 * (1 + abs(top))
            np.testing.assert_allclose(v @ H, top * v, atol=1e-3)


# src/topics/notebooks/04-optimization-landscape.py:380
def test_rules_are_torchs():
    optim = torch.optim
    check_rule(lambda W, g, s: step(W, direction("plain", g, s), 0.03),
               lambda p: optim.SGD([p], lr=0.03))
    for rule in ("momentum", "nesterov"):
        check_rule(lambda W, g, s: step(W, direction(rule, g, s), 0.03),
                   lambda p: optim.SGD([p], lr=0.03, momentum=0.9,
                                       nesterov=rule == "nesterov"))
    check_rule(lambda W, g, s: step(W, direction("adam", g, s), 0.02),
               lambda p: optim.Adam([p], lr=0.02))
    check_rule(lambda W, g, s: step(W, direction("adamw", g, s), 0.02, DECAY["adamw"]),
               lambda p: optim.AdamW([p], lr=0.02, weight_decay=0.1))
    check_rule(lambda W, g, s: step(W, adam(g, s, 0.8, 0.95, 1e-3), 0.02),
               lambda p: optim.Adam([p], lr=0.02, betas=(0.8, 0.95), eps=1e-3))


# src/topics/notebooks/04-optimization-landscape.py:396
def test_muon_is_torchs():
    from torch.optim import _muon

    original = _muon._zeropower_via_newtonschulz
    _muon._zeropower_via_newtonschulz = lambda grad, coefficients, steps, eps: (
        torch.tensor(orthogonalise(grad.numpy().T, steps).T.copy()))
    try:
        check_rule(lambda W, g, s: step(W, direction("muon", g, s), 0.02, 0.1),
                   lambda p: torch.optim.Muon([p], lr=0.02, weight_decay=0.1), True)
    finally:
        _muon._zeropower_via_newtonschulz = original
    rng = np.random.default_rng(4)
    for _ in range(20):
        G = rng.normal(size=rng.integers(1, 12, size=2))
        want = original(torch.tensor(G), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        assert np.abs(orthogonalise(G) - want.double().numpy()).max() < 0.06
    assert not orthogonalise(np.zeros((2, 3))).any()


# src/topics/notebooks/04-optimization-landscape.py:415
def test_follow():
    rng = np.random.default_rng(5)
    for rule in ("plain", "momentum", "nesterov", "adam", "adamw", "muon"):
        A = rng.normal(size=(3, 3))
        path = follow(lambda p: p @ A @ A.T, np.ones(3), rule, 0.01, 4)
        assert path.shape == (5, 3) and (path[0] == 1).all()
        theta, state = np.ones(3), {}
        for t in range(4):
            D = direction(rule, theta @ A @ A.T, state)
            theta = (1 - 0.01 * DECAY.get(rule, 0)) * theta - 0.01 * D
        np.testing.assert_allclose(path[-1], theta, atol=1e-14)
    assert np.allclose(direction("muon", np.array([3.0, 4.0]), {}),
                       muon(np.array([[3.0, 4.0]]), {})[0])


# src/topics/notebooks/04-optimization-landscape.py:637
def test_surfaces_match_torch():
    rng = np.random.default_rng(6)
    written = {
        bowl: lambda x, y: 0.5 * (x**2 + 25 * y**2),
        rosenbrock: lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        saddle: lambda x, y: 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4,
    }
    for surface, formula in written.items():
        for degrees in (0, 0, 30, 77):
            shape = rng.permutation(np.arange(1, 5))[: rng.integers(0, 3)]
            p = rng.normal(size=(*shape, 2))
            turned, R = turn(surface, degrees)
            leaf = torch.tensor(p, requires_grad=True)
            want = formula(*(leaf @ torch.tensor(R.T)).unbind(-1))
            want.sum().backward()
            loss, g = turned(p)
            np.testing.assert_allclose(loss, want.detach(), rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(g, leaf.grad, rtol=1e-10, atol=1e-11)


# src/topics/notebooks/04-optimization-landscape.py:657
def test_rotations():
    surface, R = turn(bowl, 35.0)
    np.testing.assert_allclose(R @ R.T, np.eye(2), atol=1e-15)
    assert R[0, 1] > 0  # anticlockwise
    start = np.array([1.5, -0.4])
    for rule in ("plain", "momentum", "nesterov", "muon", "adam"):
        straight = follow(lambda p: bowl(p)[1], start, rule, 0.02, 12)
        tilted = follow(lambda p: surface(p)[1], start @ R, rule, 0.02, 12)
        assert np.allclose(straight @ R, tilted, atol=1e-9) == (rule != "adam")


# src/topics/notebooks/04-optimization-landscape.py:668
def test_tuned_and_saddle():
    start = np.array([4.0, 1.0])
    lr, path = tuned(bowl, start, "plain", 30)
    for other in (2 * lr, lr / 2):
        last = follow(lambda p: bowl(p)[1], start, "plain", other, 30)[-1]
        assert bowl(last)[0] > bowl(path[-1])[0]
    for c in (0.5, 1.0, 2.0**14, 2.0**15):  # 1 / c is best, if it is in the grid
        lr, _ = tuned(lambda p: (0.5 * c * (p**2).sum(-1), c * p), start, "plain", 1)
        assert lr == min(max(1 / c, 2.0**-14), 1.0)
    more = steps_to_leave("plain", 1e-7) - steps_to_leave("plain", 1e-3)
    assert abs(more - 4 * np.log(10) / np.log(1.05)) <= 1
    assert abs(steps_to_leave("adam", 1e-6) - steps_to_leave("adam", 1e-3)) <= 2


# src/topics/notebooks/04-optimization-landscape.py:756
def test_schedules_are_torchs():
    import warnings
    from torch.optim import lr_scheduler as kinds

    for T, w, r in ((60, 12, 20), (31, 5, 9), (40, 1, 39)):
        for kind in ("cosine", "wsd"):
            sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
            parts, ends = [kinds.LinearLR(sgd, 1e-12, 1.0, w)], [w]
            if kind == "cosine":
                parts.append(kinds.CosineAnnealingLR(sgd, T - w))
            else:
                parts += [kinds.ConstantLR(sgd, 1.0, 1),
                          kinds.LinearLR(sgd, 1.0, 0.0, r)]
                ends.append(T - r)
            schedule = kinds.SequentialLR(sgd, parts, ends)
            for t in range(T + 1):
                ours = cosine(t, T, w) if kind == "cosine" else wsd(t, T, w, r)
                assert abs(0.5 * ours - sgd.param_groups[0]["lr"]) < 1e-10, (kind, t)
                sgd.step()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    schedule.step()
    assert cosine(0, 10, 0) == wsd(0, 10, 0, 5) == 1.0


# src/topics/notebooks/04-optimization-landscape.py:925
def test_principal_plane_is_torchs():
    rng = np.random.default_rng(7)
    for _ in range(20):
        t, d = rng.permutation(np.arange(3, 12))[:2]
        points = rng.normal(size=(t, d)) + 5
        V, shares = principal_plane(points)
        k = int(min(t, d))
        _, S, components = torch.pca_lowrank(torch.tensor(points), q=k)  # all k: exact
        np.testing.assert_allclose(shares[:k], S**2 / (S**2).sum(), atol=1e-12)
        cosines = (V * components[:, :2].T.numpy()).sum(axis=1)
        np.testing.assert_allclose(np.abs(cosines), 1)


# src/topics/notebooks/04-optimization-landscape.py:938
def test_slice_losses():
    H = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]])
    u, v, at = np.eye(3)[0], np.array([0.0, 1.0, 1.0]), np.array([1.0, -1.0, 2.0])
    a, b = np.array([-1.0, 0.0, 2.0]), np.array([0.0, 0.5])
    f = slice_losses(lambda p: p @ H @ p, at, u, v, a, b)
    assert f.shape == (2, 3) and f[0, 1] == at @ H @ at
    p = at + 2 * u + 0.5 * v
    assert np.isclose(f[1, 2], p @ H @ p)


# src/topics/notebooks/04-optimization-landscape.py:948
def test_network_direction():
    rng, states, rest, middle = np.random.default_rng(8), [{}, {}], {}, {}
    for _ in range(3):
        g = rng.normal(size=2410)
        assert np.array_equal(network_direction("plain", g, [{}, {}]), g)
        D = network_direction("muon", g, states)
        layers, slopes = unpack(D, (64, 24, 24, 10)), unpack(g, (64, 24, 24, 10))
        np.testing.assert_allclose(layers[1][0], muon(slopes[1][0], middle))
        want = unpack(adam(g, rest) / 10, (64, 24, 24, 10))
        for i, j in ((0, 0), (0, 1), (1, 1), (2, 0), (2, 1)):
            np.testing.assert_allclose(layers[i][j], want[i][j])


# src/topics/notebooks/04-optimization-landscape.py:1092
def test_hessian_matches_torch():
    rng = np.random.default_rng(9)
    for _ in range(20):
        sizes = random_sizes(rng, 5)
        theta = rng.normal(size=draw_network(rng, sizes).size)
        X, Y = rng.normal(size=(6, sizes[0])), rng.normal(size=(6, sizes[-1]))
        want = torch.autograd.functional.hessian(
            lambda t: torch_loss(t, X, Y, sizes, "tanh"), torch.tensor(theta))
        H = hessian(lambda t: loss_and_gradient(t, X, Y, sizes)[1], theta)
        np.testing.assert_allclose(H, want, atol=1e-5)
        assert np.array_equal(H, H.T)


# src/topics/notebooks/04-optimization-landscape.py:1105
def test_rescale_and_filters():
    rng = np.random.default_rng(10)
    for _ in range(20):
        sizes = tuple(int(s) for s in rng.permutation(np.arange(2, 7))[:4])
        theta = rng.normal(size=draw_network(rng, sizes).size)
        alpha, X = rng.uniform(0.2, 5), rng.normal(size=(7, sizes[0]))
        twin = rescale(theta, sizes, alpha)
        np.testing.assert_allclose(scores_of(twin, X, sizes, "relu")[-1],
                                   scores_of(theta, X, sizes, "relu")[-1], atol=1e-10)
        assert not np.allclose(twin, theta)
        u, w = (random_direction(np.random.default_rng(3), t, sizes, True)
                for t in (theta, twin))
        for (W, b), (W_own, _) in zip(unpack(u, sizes), unpack(theta, sizes)):
            lengths = (np.linalg.norm(A, axis=0) for A in (W, W_own))
            np.testing.assert_allclose(*lengths)
            assert not b.any()
        np.testing.assert_allclose(  # the slices of twins are equal
            scores_of(twin + 0.7 * w, X, sizes, "relu")[-1],
            scores_of(theta + 0.7 * u, X, sizes, "relu")[-1], atol=1e-9)
        plain = random_direction(rng, theta, sizes, False)
        assert np.isclose(np.linalg.norm(plain), 1)


# src/topics/notebooks/04-optimization-landscape.py:1436
def test_mup_factors():
    rate, start = mup((5, 64, 64, 3))
    (W1, b1), (W2, b2), (W3, b3) = unpack(rate, (5, 64, 64, 3))
    assert (W1 == 1).all() and (W2 == 0.25).all() and (W3 == 0.25).all()
    assert (b1 == 1).all() and (b2 == 1).all() and (b3 == 1).all()
    (W1, b1), (W2, _), (W3, b3) = unpack(start, (5, 64, 64, 3))
    assert (W1 == 1).all() and (W2 == 1).all() and (W3 == 0.5).all() and (b3 == 1).all()
    assert all((f == 1).all() for f in mup((4, 16, 16, 2)))


# src/topics/notebooks/04-optimization-landscape.py:1487
def test_edge():
    assert edge(0.5) == 4 and np.isclose(edge(0.8, 0.5), 3.75)
    for beta in (0.0, 0.3, 0.9):
        for nesterov in (False, True):
            for share in (0.98, 1.02):
                lam, state, theta = share * edge(0.1, beta, nesterov), {}, 1.0
                for _ in range(3000):
                    theta -= 0.1 * momentum(lam * theta, state, beta, nesterov)
                    if abs(theta) > 1e9:
                        break
                assert (abs(theta) > 1e3) == (share > 1), (beta, nesterov, share)


# src/topics/notebooks/04-optimization-landscape.py:1521
def test_lowest_curvature():
    rng = np.random.default_rng(11)
    gradient = lambda p: saddle(p)[1]
    assert np.isclose(lowest_curvature(gradient, np.zeros(2), np.array([1.0, 0.3])), -1)
    for _ in range(5):
        Q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
        lam = np.array([rng.uniform(-3, -1), -0.5, 0, 1, 2, rng.uniform(3.5, 6)])
        found = lowest_curvature(lambda p: p @ (Q * lam) @ Q.T, rng.normal(size=6),
                                 rng.normal(size=6))
        assert abs(found - lam[0]) < 1e-4


# src/topics/notebooks/04-optimization-landscape.py:1553
def test_mean_curvature():
    rng = np.random.default_rng(12)
    diagonal = rng.normal(size=9)  # for a diagonal Hessian one sample is exact
    found = mean_curvature(lambda p: diagonal * p, np.zeros(9), rng, 1)
    assert abs(found - diagonal.mean()) < 1e-8
    A = rng.normal(size=(8, 8))
    H = A @ A.T
    found = mean_curvature(lambda p: p @ H, np.zeros(8), rng, 4000)
    assert abs(found - np.trace(H) / 8) < 0.1 * np.trace(H) / 8


# src/topics/notebooks/04-optimization-landscape.py:1582
def test_permute():
    rng = np.random.default_rng(13)
    for bend in ("tanh", "relu"):
        sizes = (3, 7, 4, 2)
        theta = rng.normal(size=draw_network(rng, sizes).size)
        X, order = rng.normal(size=(9, 3)), np.roll(rng.permutation(7), 1)
        other, kept = permute(theta, sizes, order), theta.copy()
        np.testing.assert_allclose(scores_of(other, X, sizes, bend)[-1],
                                   scores_of(theta, X, sizes, bend)[-1], atol=1e-12)
        biases = unpack(theta, sizes)[0][1]
        np.testing.assert_allclose(unpack(other, sizes)[0][1], biases[order])
        assert np.array_equal(theta, kept)


# src/topics/notebooks/04-optimization-landscape.py:1625
def test_first_share():
    shares = [first_share(c) for c in (0.0, 0.03, 0.3, 1.0)]
    assert 0.55 < shares[0] < 0.65 and shares[1] < 0.35 and shares[2] < 0.1
    assert shares == sorted(shares, reverse=True) and shares[3] < 0.03
