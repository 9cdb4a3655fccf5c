# Generated from src/topics/math-foundations/optimization.py: edit that file, then run doit. digest:93b03db98fd4c90a

"""Tests of math-foundations/optimization: Optimization."""

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_digits


# src/topics/math-foundations/optimization.py:46
def digits(scaling: str = "raw", least_lit: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Features X (n, d), the last one constant, and targets y (n,): 1 odd, -1 even."""
    images, labels = load_digits(return_X_y=True)
    pixels = images[:, (images > 0).mean(axis=0) > least_lit]
    if scaling in ("centred", "standardised"):
        pixels = pixels - pixels.mean(axis=0)
    if scaling == "standardised":
        pixels = pixels / pixels.std(axis=0)
    return np.column_stack([pixels, np.ones(len(pixels))]), 2.0 * (labels % 2) - 1


# src/topics/math-foundations/optimization.py:57
def squared_loss(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """Half the mean squared error of X @ theta; X (n, d), theta (d,), y (n,)."""
    return 0.5 * ((X @ theta - y) ** 2).mean()


# src/topics/math-foundations/optimization.py:62
def squared_gradient(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient (d,) of `squared_loss`."""
    return (X @ theta - y) @ X / len(y)


# src/topics/math-foundations/optimization.py:99
def gradient_descent(gradient, theta: np.ndarray, lr: float, steps: int) -> np.ndarray:
    """All parameters on the way, (steps + 1, d); `gradient` takes and returns (d,)."""
    path = [theta]
    for _ in range(steps):
        path.append(path[-1] - lr * gradient(path[-1]))
    return np.array(path)


# src/topics/math-foundations/optimization.py:172
def error_after(H: np.ndarray, e: np.ndarray, lr: float, t: int) -> np.ndarray:
    """e (d,) after t steps of gradient descent on e H e / 2, from the modes of H."""
    lam, V = np.linalg.eigh(H)  # eigenvectors as columns
    return ((e @ V) * (1 - lr * lam) ** t) @ V.T


# src/topics/math-foundations/optimization.py:217
def condition(X: np.ndarray) -> tuple[float, float, float]:
    """Smallest and largest eigenvalue of X^T X / n for X (n, d), and their quotient."""
    lam = np.linalg.eigvalsh(X.T @ X / len(X))
    return lam[0], lam[-1], lam[-1] / lam[0]


# src/topics/math-foundations/optimization.py:246
def random_bowl(rng, d, low=0.1, high=5.0):
    """A symmetric H (d, d) with eigenvalues from `low` to `high`."""
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    lam = np.linspace(low, high, d) if d > 1 else np.array([high])
    return (Q * lam) @ Q.T


# src/topics/math-foundations/optimization.py:401
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), in a form that cannot overflow."""
    return np.exp(-np.logaddexp(0, -z))


# src/topics/math-foundations/optimization.py:406
def logistic(theta: np.ndarray, X: np.ndarray, y: np.ndarray, rho: float) -> tuple:
    """Loss, gradient (d,) and Hessian (d, d) of ridge logistic regression, y = +-1."""
    z = y * (X @ theta)  # (n,)
    loss = np.logaddexp(0, -z).mean() + 0.5 * rho * theta @ theta
    gradient = -(y * sigmoid(-z)) @ X / len(y) + rho * theta
    weights = sigmoid(z) * sigmoid(-z)  # (n,), at most 1/4
    H = (X.T * weights) @ X / len(y) + rho * np.eye(len(theta))
    return loss, gradient, H


# src/topics/math-foundations/optimization.py:458
def backtrack(loss, theta: np.ndarray, g: np.ndarray, lr: float = 1.0,
              c: float = 1e-4) -> float:
    """The first of lr, lr/2, lr/4, ... that satisfies Armijo's condition; g is (d,)."""
    while loss(theta - lr * g) > loss(theta) - c * lr * (g @ g):
        lr = lr / 2
    return lr


# src/topics/math-foundations/optimization.py:557
def momentum_descent(gradient, theta: np.ndarray, lr: float, beta: float, steps: int,
                     nesterov: bool = False) -> np.ndarray:
    """All parameters on the way, (steps + 1, d), as torch.optim.SGD computes them."""
    path, v = [theta], np.zeros_like(theta)
    for _ in range(steps):
        g = gradient(path[-1])
        v = beta * v + g
        path.append(path[-1] - lr * (g + beta * v if nesterov else v))
    return np.array(path)


# src/topics/math-foundations/optimization.py:600
def mode_factor(lr_lam: np.ndarray, beta: float = 0.0, nesterov: bool = False):
    """Size of the larger root for each eta * lambda: the mode's factor per step."""
    damp = 1 - lr_lam
    b, c = ((1 + beta) * damp, beta * damp) if nesterov else (beta + damp, beta + 0 * damp)
    root = np.sqrt(b**2 - 4 * c + 0j)
    return np.maximum(np.abs(b + root), np.abs(b - root)) / 2


# src/topics/math-foundations/optimization.py:749
def sgd_excess(X: np.ndarray, y: np.ndarray, rate, B: int, steps: int, start: np.ndarray,
               seed: int = 0, runs: int = 5, every: int = 10, beta: float = 0.0):
    """Excess squared loss (steps // every, runs) of SGD; `rate` gives the rate at t."""
    n, rng = len(X), np.random.default_rng(seed)
    H, theta_star = X.T @ X / n, np.linalg.lstsq(X, y)[0]
    theta, out = np.tile(start, (runs, 1)), []  # (runs, d): independent runs as rows
    v = np.zeros_like(theta)
    for t in range(1, steps + 1):
        rows = rng.integers(n, size=(runs, B))  # with replacement
        X_b = X[rows]  # (runs, B, d)
        residual = (X_b @ theta[:, :, None])[:, :, 0] - y[rows]  # (runs, B)
        v = beta * v + (residual[:, None, :] @ X_b)[:, 0] / B
        theta = theta - rate(t) * v
        if t % every == 0:
            e = theta - theta_star
            out.append(0.5 * ((e @ H) * e).sum(axis=1))
    return np.array(out)


# src/topics/math-foundations/optimization.py:874
def newton(derivatives, theta: np.ndarray, steps: int) -> np.ndarray:
    """Newton's path (steps + 1, d); `derivatives` gives gradient (d,), Hessian (d, d)."""
    path = [theta]
    for _ in range(steps):
        g, H = derivatives(path[-1])
        path.append(path[-1] - np.linalg.solve(H, g))  # H is symmetric
    return np.array(path)


# src/topics/math-foundations/optimization.py:923
def saddle_derivatives(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (2,) and Hessian (2, 2) of (uv - 1)^2 / 2 at w = (u, v)."""
    u, v = w
    r = u * v - 1
    return r * np.array([v, u]), np.array([[v * v, r + u * v], [r + u * v, u * u]])


# src/topics/math-foundations/optimization.py:930
def escape_steps(eps: float, lr: float) -> int:
    """Steps until uv > 1/2 from (0.5, -0.5) plus eps along (1, 1) / sqrt(2)."""
    w, steps = np.array([0.5, -0.5]) + eps / np.sqrt(2), 0
    while w[0] * w[1] < 0.5:
        w, steps = w - lr * saddle_derivatives(w)[0], steps + 1
    return steps


# src/topics/math-foundations/optimization.py:1158
def rates_by_hand() -> tuple[float, float, float, tuple[float, float]]:
    """Limit, best rate, its factor, and the point after two steps from (1, 1)."""
    # H has 4 and 1 on its diagonal; 2/4, 2/5, 3/5; factors -0.6 and 0.6, squared.
    return 0.5, 0.4, 0.6, (0.36, 0.36)


# src/topics/math-foundations/optimization.py:1195
def largest_curvature(gradient, theta: np.ndarray, rng: np.random.Generator,
                      steps: int = 300, h: float = 1e-4) -> float:
    """Eigenvalue of largest size of the Hessian at theta (d,), from gradients."""
    u = rng.normal(size=len(theta))
    for _ in range(steps):
        u = u / np.linalg.norm(u)
        w = (gradient(theta + h * u) - gradient(theta - h * u)) / (2 * h)  # u H
        value, u = u @ w, w
    return float(value)


# src/topics/math-foundations/optimization.py:1228
def nonnegative_fit(X: np.ndarray, y: np.ndarray, steps: int) -> np.ndarray:
    """The theta >= 0 (d,) with the smallest squared loss; X (n, d), y (n,)."""
    theta, lr = np.zeros(X.shape[1]), 1 / condition(X)[1]
    for _ in range(steps):
        theta = np.maximum(theta - lr * squared_gradient(theta, X, y), 0)
    return theta


# src/topics/math-foundations/optimization.py:1257
def nesterov_points(gradient, theta: np.ndarray, lr: float, beta: float,
                    steps: int) -> np.ndarray:
    """The look-ahead points y_0, ..., y_steps, (steps + 1, d)."""
    ys = [theta]
    for _ in range(steps):
        new = ys[-1] - lr * gradient(ys[-1])
        ys.append(new + beta * (new - theta))
        theta = new
    return np.array(ys)


# src/topics/math-foundations/optimization.py:1294
def fractions(lam: np.ndarray, lr: float, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the way to the minimum: t steps, and ridge with rho = 1 / (lr t)."""
    return 1 - (1 - lr * lam) ** t, lam / (lam + 1 / (lr * t))


# src/topics/math-foundations/optimization.py:253
def test_squared_loss_against_torch():
    import torch

    rng = np.random.default_rng(1)
    for _ in range(25):
        n, d = rng.permutation(np.arange(1, 14))[:2]
        X, y, theta = rng.normal(size=(n, d)), rng.normal(size=n), rng.normal(size=d)
        t = torch.from_numpy(theta).requires_grad_()
        loss = 0.5 * torch.nn.functional.mse_loss(
            torch.from_numpy(X) @ t, torch.from_numpy(y))
        loss.backward()
        assert abs(squared_loss(theta, X, y) - loss.item()) < 1e-12
        assert np.allclose(squared_gradient(theta, X, y), t.grad.numpy(), atol=1e-12)


# src/topics/math-foundations/optimization.py:268
def test_gradient_descent_is_torch_sgd_and_the_modes():
    import torch

    rng = np.random.default_rng(2)
    for d in (1, 2, 3, 5, 8) * 4:
        H, e, lr = random_bowl(rng, d), rng.normal(size=d), rng.uniform(0.01, 0.39)
        t = torch.from_numpy(e.copy()).requires_grad_()
        optimizer = torch.optim.SGD([t], lr=lr)
        path = gradient_descent(lambda theta: theta @ H, e, lr, 7)
        for k in range(8):
            assert np.allclose(path[k], t.detach().numpy(), atol=1e-12)
            assert np.allclose(path[k], error_after(H, e, lr, k), atol=1e-10)
            optimizer.zero_grad()
            (0.5 * t @ torch.from_numpy(H) @ t).backward()
            optimizer.step()
    assert gradient_descent(lambda x: x, np.ones(3), 0.1, 0).shape == (1, 3)


# src/topics/math-foundations/optimization.py:286
def test_rate_limit():
    rng = np.random.default_rng(3)
    for d in (1, 2, 4, 7):
        H, e = random_bowl(rng, d), rng.normal(size=d)
        for share, shrinks in ((0.97, True), (1.03, False)):
            path = gradient_descent(lambda x: x @ H, e, share * 2 / 5.0, 1000)
            end = np.linalg.norm(path[-1])
            assert (end < 1e-3) == shrinks and (end > 1e3) != shrinks


# src/topics/math-foundations/optimization.py:296
def test_digits_and_condition():
    for scaling, (center, spread) in {"raw": (False, False), "centred": (True, False),
                                      "standardised": (True, True)}.items():
        X, y = digits(scaling)
        assert X.shape == (1797, 47) and set(y) == {-1.0, 1.0} and y[1] == 1 == -y[0]
        assert np.allclose(X[:, :-1].mean(axis=0), 0) == center
        assert np.allclose(X[:, :-1].std(axis=0), 1) == spread
        assert np.allclose(X[:, -1], 1)
        low, high, kappa = condition(X)
        assert np.isclose(np.sqrt(kappa), np.linalg.cond(X), rtol=1e-6)
        assert np.isclose(high, np.linalg.norm(X, 2) ** 2 / 1797) and low > 0
    assert digits("raw", 0.0)[0].shape[1] > 47


# src/topics/math-foundations/optimization.py:483
def test_logistic_against_torch_and_sklearn():
    import torch
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(4)
    for _ in range(20):
        d = int(rng.integers(1, 6))
        n, rho = d + int(rng.integers(3, 20)), rng.uniform(0.01, 1)
        X, theta = rng.normal(size=(n, d)), rng.normal(size=d)
        y = rng.choice([-1.0, 1.0], size=n)
        A, b = torch.from_numpy(X), torch.from_numpy(y)

        def f(t):
            return torch.nn.functional.softplus(-b * (A @ t)).mean() + rho / 2 * t @ t

        t = torch.from_numpy(theta).requires_grad_()
        want, = torch.autograd.grad(f(t), t)
        loss, g, H = logistic(theta, X, y, rho)
        assert abs(loss - f(t).item()) < 1e-12 and np.allclose(g, want, atol=1e-12)
        hessian = torch.autograd.functional.hessian(f, t).numpy()
        assert np.allclose(H, hessian, atol=1e-12)
    y[:2] = -1, 1
    model = LogisticRegression(C=1 / (n * rho), fit_intercept=False, tol=1e-10)
    model.fit(X, y)
    assert np.abs(logistic(model.coef_[0], X, y, rho)[1]).max() < 1e-5
    assert np.isfinite(logistic(1e4 * theta, X, y, rho)[0])
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


# src/topics/math-foundations/optimization.py:512
def test_descent_lemma_and_convexity():
    rng = np.random.default_rng(5)
    for _ in range(20):
        n, d = rng.permutation(np.arange(1, 12))[:2]
        X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
        M, (a, b) = np.linalg.norm(X, 2) ** 2 / (4 * n) + 0.1, 3 * rng.normal(size=(2, d))
        (la, ga, _), (lb, _, _) = logistic(a, X, y, 0.1), logistic(b, X, y, 0.1)
        line, square = la + ga @ (b - a), (b - a) @ (b - a)
        assert line + 0.05 * square - 1e-12 <= lb <= line + M / 2 * square + 1e-12
        s = rng.uniform()
        middle = logistic((1 - s) * a + s * b, X, y, 0.1)[0]
        assert middle <= (1 - s) * la + s * lb + 1e-12


# src/topics/math-foundations/optimization.py:526
def test_backtrack():
    rng = np.random.default_rng(6)
    for d in (1, 3, 6) * 7:
        H, theta = random_bowl(rng, d, 0.1, 40.0), rng.normal(size=d)
        loss = lambda x: 0.5 * x @ H @ x
        g, c = theta @ H, rng.choice([1e-4, 0.3])
        lr = backtrack(loss, theta, g, 8.0, c)
        armijo = lambda lr: loss(theta - lr * g) <= loss(theta) - c * lr * g @ g
        assert armijo(lr) and (lr == 8.0 or not armijo(2 * lr))
        assert lr > (1 - c) / 40.0 and np.log2(lr) == round(np.log2(lr))
    assert backtrack(loss, theta, 0 * g, 8.0) == 8.0  # at a flat point nothing to do


# src/topics/math-foundations/optimization.py:653
def test_momentum_is_torch_sgd():
    import torch

    rng = np.random.default_rng(7)
    for trial in range(24):
        d, beta, nesterov = int(rng.integers(1, 7)), rng.uniform(0.1, 0.95), trial % 2 == 0
        H, e, lr = random_bowl(rng, d), rng.normal(size=d), rng.uniform(0.01, 0.3)
        t = torch.from_numpy(e.copy()).requires_grad_()
        optimizer = torch.optim.SGD([t], lr=lr, momentum=beta, nesterov=nesterov)
        path = momentum_descent(lambda x: x @ H + np.sin(x), e, lr, beta, 8, nesterov)
        for row in path:
            assert np.allclose(row, t.detach().numpy(), atol=1e-12)
            optimizer.zero_grad()
            (0.5 * t @ torch.from_numpy(H) @ t - torch.cos(t).sum()).backward()
            optimizer.step()
        plain = momentum_descent(lambda x: x @ H, e, lr, 0.0, 5, nesterov)
        assert np.allclose(plain, gradient_descent(lambda x: x @ H, e, lr, 5))


# src/topics/math-foundations/optimization.py:672
def test_mode_factor():
    rng = np.random.default_rng(8)
    for trial in range(30):
        lr_lam, beta, nesterov = rng.uniform(0.02, 2.5), rng.uniform(0, 0.99), trial % 2
        poly = [1, -(1 + beta - lr_lam), beta] if not nesterov else [
            1, -(1 + beta) * (1 - lr_lam), beta * (1 - lr_lam)]
        want = np.abs(np.roots(poly)).max()
        assert np.isclose(mode_factor(np.array([lr_lam]), beta, bool(nesterov))[0], want)
        path = momentum_descent(lambda x: x, np.ones(1), lr_lam, beta, 400, bool(nesterov))
        late = np.abs(path[-40:, 0]).max()
        assert (late > 1) == (want > 1) or abs(want - 1) < 0.02
    assert np.allclose(mode_factor(np.array([0.0, 0.5, 3.0])), [1, 0.5, 2])


# src/topics/math-foundations/optimization.py:824
def test_sgd_excess():
    rng = np.random.default_rng(9)
    for trial in range(20):  # a batch of copies of one example is plain descent
        d = int(rng.integers(1, 6))
        x, y, start = rng.normal(size=(1, d)), rng.normal(size=1), rng.normal(size=d)
        beta, lr = 0.5 * (trial % 2), 0.3 / (x @ x.T).item()
        got = sgd_excess(x, y, lambda t: lr / t, 3, 6, start, runs=2, every=2, beta=beta)
        theta, v, want = start, 0, []
        for t in range(1, 7):
            v = beta * v + squared_gradient(theta, x, y)
            theta = theta - lr / t * v
            want.append(squared_loss(theta, x, y))
        assert got.shape == (3, 2)
        assert np.allclose(got, np.array(want)[1::2, None], atol=1e-12)


# src/topics/math-foundations/optimization.py:840
def test_noise_floor_formula():
    rng = np.random.default_rng(10)
    y, X = rng.normal(size=200), np.ones((200, 1))  # one mode with curvature 1
    for lr, B in ((0.2, 1), (0.5, 2), (0.2, 5)):
        runs = sgd_excess(X, y, lambda t: lr, B, 4000, y.mean(keepdims=True), runs=40)
        want = lr * y.var() / (2 * B * (2 - lr))
        assert abs(runs[20:].mean() / want - 1) < 0.05


# src/topics/math-foundations/optimization.py:1014
def test_newton():
    rng = np.random.default_rng(11)
    for d in (1, 2, 4, 7) * 5:
        H, goal, start = random_bowl(rng, d), rng.normal(size=d), rng.normal(size=d)
        path = newton(lambda x: ((x - goal) @ H, H), start, 2)
        assert path.shape == (3, d) and np.allclose(path[1:], goal)  # one step
        n, rho = d + int(rng.integers(3, 20)), rng.uniform(0.1, 1)
        X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
        want = minimize(lambda x: logistic(x, X, y, rho)[:2], start, jac=True,
                        method="BFGS", options={"gtol": 1e-9}).x
        got = newton(lambda x: logistic(x, X, y, rho)[1:], np.zeros(d), 12)[-1]
        assert np.allclose(got, want, atol=1e-6)


# src/topics/math-foundations/optimization.py:1028
def test_saddle():
    import torch

    loss = lambda w: 0.5 * (w[0] * w[1] - 1) ** 2
    rng = np.random.default_rng(12)
    for _ in range(20):
        w = torch.from_numpy(rng.normal(size=2)).requires_grad_()
        g, H = saddle_derivatives(w.detach().numpy())
        assert np.allclose(g, torch.autograd.grad(loss(w), w)[0], atol=1e-12)
        assert np.allclose(H, torch.autograd.functional.hessian(loss, w), atol=1e-12)
    for lr in (0.05, 0.1, 0.2):
        steps = escape_steps(1e-8, lr) - escape_steps(1e-4, lr)
        assert abs(steps - 4 * np.log(10) / np.log(1 + lr)) <= 1
    w = gradient_descent(lambda w: saddle_derivatives(w)[0], np.array([1.0, -1.0]), 0.1, 300)
    assert np.allclose(w[-1], 0, atol=1e-9)  # exactly on the ridge: to the saddle


# src/topics/math-foundations/optimization.py:1045
def test_shortest_solution():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n = int(rng.integers(1, 5))
        d = n + int(rng.integers(6, 12))
        X, y = rng.normal(size=(n, d)), rng.normal(size=n)
        theta = gradient_descent(lambda t: squared_gradient(t, X, y), np.zeros(d),
                                 1 / condition(X)[1], 3000)[-1]
        assert np.allclose(theta, np.linalg.lstsq(X, y)[0], atol=1e-6)


# src/topics/math-foundations/optimization.py:1167
def test_rates_by_hand():
    H = np.diag([4.0, 1.0])
    limit, best, factor, point = rates_by_hand()
    assert np.isclose(mode_factor(limit * np.diag(H)).max(), 1)
    assert all(mode_factor(lr * np.diag(H)).max() > mode_factor(best * np.diag(H)).max()
               for lr in (best - 0.01, best + 0.01))
    assert np.isclose(factor, mode_factor(best * np.diag(H)).max())
    path = gradient_descent(lambda x: x @ H, np.ones(2), best, 2)
    assert np.allclose(path[-1], point)


# src/topics/math-foundations/optimization.py:1209
def test_largest_curvature():
    rng = np.random.default_rng(14)
    for d in (1, 2, 5) * 7:
        H = random_bowl(rng, d) * rng.choice([-1, 1])
        got = largest_curvature(lambda x: x @ H + 1, rng.normal(size=d), rng)
        assert np.isclose(got, np.linalg.eigvalsh(H)[np.abs(np.linalg.eigvalsh(H)).argmax()],
                          rtol=1e-4)
    w = np.array([2.0, 0.4])
    got = largest_curvature(lambda w: saddle_derivatives(w)[0], w, rng)
    assert np.isclose(got, np.linalg.eigvalsh(saddle_derivatives(w)[1])[-1], rtol=1e-4)


# src/topics/math-foundations/optimization.py:1239
def test_nonnegative_fit():
    from scipy.optimize import nnls

    rng = np.random.default_rng(15)
    for _ in range(20):
        d = int(rng.integers(1, 6))
        X, y = rng.normal(size=(d + 9, d)), rng.normal(size=d + 9)
        assert np.allclose(nonnegative_fit(X, y, 800), nnls(X, y)[0], atol=1e-6)


# src/topics/math-foundations/optimization.py:1271
def test_nesterov_points():
    rng = np.random.default_rng(16)
    for d in (1, 2, 4, 7) * 5:
        H, start = random_bowl(rng, d), rng.normal(size=d)
        lr, beta = rng.uniform(0.01, 0.2), rng.uniform(0, 0.95)
        gradient = lambda x: x @ H + np.sin(x)
        want = momentum_descent(gradient, start, lr, beta, 9, nesterov=True)
        assert np.allclose(nesterov_points(gradient, start, lr, beta, 9), want, atol=1e-10)


# src/topics/math-foundations/optimization.py:1302
def test_fractions():
    rng = np.random.default_rng(17)
    for d in (1, 2, 3, 5) * 5:
        H, goal, t = random_bowl(rng, d), rng.normal(size=d), int(rng.integers(2, 40))
        lam, V = np.linalg.eigh(H)
        stopped, ridge = fractions(lam, 0.1, t)
        path = gradient_descent(lambda x: (x - goal) @ H, np.zeros(d), 0.1, t)
        assert np.allclose(path[-1] @ V, stopped * (goal @ V))
        want = np.linalg.solve(H + np.eye(d) / (0.1 * t), H @ goal)
        assert np.allclose(want @ V, ridge * (goal @ V))
    x = np.geomspace(1e-6, 100, 4000)
    stopped, ridge = fractions(x, 0.001, 1000)
    assert 0.20 < (stopped - ridge).max() < 0.21 and (stopped >= ridge).all()
    assert 2.4 < x[(stopped - ridge).argmax()] < 2.6
