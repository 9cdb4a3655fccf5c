# Generated from src/topics/math-foundations/calculus.py: edit that file, then run doit. digest:c127f85d2b264b0b

"""Tests of math-foundations/calculus: Calculus."""

import numpy as np
import torch
import torch.nn.functional as F


# src/topics/math-foundations/calculus.py:225
def f_hand(x) -> tuple:
    """The three intermediate values of the hand example."""
    return x[0] * x[1], x[0] ** 2, x[0] + 3 * x[1]


# src/topics/math-foundations/calculus.py:230
def L_hand(x):
    """The loss of the hand example, two inputs to one number."""
    y = f_hand(x)
    return y[0] * y[1] + y[2]


# src/topics/math-foundations/calculus.py:359
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/math-foundations/calculus.py:366
def quadratic_gradients(x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of x W x^T with respect to x (d,) and W (d, d)."""
    return x @ (W + W.T), np.outer(x, x)


# src/topics/math-foundations/calculus.py:371
def least_squares_gradient(X: np.ndarray, W: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Gradient (d, k) of ||X W - Y||^2 with respect to W; X (n, d), Y (n, k)."""
    return 2 * X.T @ (X @ W - Y)


# src/topics/math-foundations/calculus.py:376
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), in a form that cannot overflow."""
    return np.exp(-np.logaddexp(0, -z))


# src/topics/math-foundations/calculus.py:381
def sigmoid_derivative(z: np.ndarray) -> np.ndarray:
    """sigmoid'(z), elementwise; 1 - sigmoid(z) = sigmoid(-z) loses no digits."""
    return sigmoid(z) * sigmoid(-z)


# src/topics/math-foundations/calculus.py:386
def log_sum_exp(s: np.ndarray) -> np.ndarray:
    """log of the sum of exp along the last axis, without overflow."""
    top = s.max(axis=-1, keepdims=True)
    return np.log(np.exp(s - top).sum(axis=-1)) + top[..., 0]


# src/topics/math-foundations/calculus.py:392
def cross_entropy_gradient(s: np.ndarray, y: int) -> np.ndarray:
    """Gradient (m,) of log_sum_exp(s) - s[y]."""
    return softmax(s) - np.eye(len(s))[y]


# src/topics/math-foundations/calculus.py:411
def gradients(f, *arrays: np.ndarray) -> list[np.ndarray]:
    """Gradients of f's sum with respect to each array, from torch autograd."""
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    f(*leaves).sum().backward()
    return [leaf.grad.numpy() for leaf in leaves]


# src/topics/math-foundations/calculus.py:418
def check_close(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-10) -> bool:
    """Equal shapes, and entries equal up to rounding relative to the largest one."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    size = max(1.0, np.abs(theirs).max(initial=0))
    gap = np.abs(ours - theirs).max(initial=0)
    return ours.shape == theirs.shape and bool(gap <= tolerance * size)


# src/topics/math-foundations/calculus.py:533
def log_sum_exp_hessian(s: np.ndarray) -> np.ndarray:
    """Hessian (m, m) of log_sum_exp at s (m,); also the Jacobian of softmax."""
    p = softmax(s)
    return np.diag(p) - np.outer(p, p)


# src/topics/math-foundations/calculus.py:648
class Dual:
    """A value and its change along one direction: value + dot * eps, eps^2 = 0."""

    __array_ufunc__ = None  # array * Dual is left to Dual.__rmul__

    def __init__(self, value, dot):
        self.value, self.dot = value, dot

    def __add__(self, other):
        other = lift(other)
        return Dual(self.value + other.value, self.dot + other.dot)

    def __mul__(self, other):
        other = lift(other)
        return Dual(self.value * other.value,
                    self.dot * other.value + self.value * other.dot)

    def __matmul__(self, other):
        other = lift(other)
        return Dual(self.value @ other.value,
                    self.dot @ other.value + self.value @ other.dot)

    def __pow__(self, n):
        return Dual(self.value**n, n * self.value ** (n - 1) * self.dot)

    __radd__, __rmul__ = __add__, __mul__
    __rmatmul__ = lambda self, other: lift(other) @ self
    __sub__ = lambda self, other: self + -1 * other
    __rsub__ = lambda self, other: -1 * self + other
    __truediv__ = lambda self, other: self * lift(other) ** -1.0
    __rtruediv__ = lambda self, other: other * self**-1.0
    __getitem__ = lambda self, i: Dual(self.value[i], self.dot[i])
    sum = lambda self, axis=None: Dual(self.value.sum(axis), self.dot.sum(axis))


# src/topics/math-foundations/calculus.py:683
def lift(a):
    """A constant is a dual number that does not change."""
    return a if isinstance(a, Dual) else Dual(a, np.zeros_like(a))


# src/topics/math-foundations/calculus.py:689
def exp(x):
    """e^x, elementwise, of an array or a Dual."""
    if not isinstance(x, Dual):
        return np.exp(x)
    e = exp(x.value)
    return Dual(e, e * x.dot)


# src/topics/math-foundations/calculus.py:697
def log(x):
    """The natural logarithm, elementwise, of an array or a Dual."""
    if not isinstance(x, Dual):
        return np.log(x)
    return Dual(log(x.value), x.dot / x.value)


# src/topics/math-foundations/calculus.py:704
def jvp(f, x: np.ndarray, v: np.ndarray) -> tuple:
    """f(x) and its change along v, J v^T, in one sweep."""
    y = f(Dual(x, v))
    return y.value, y.dot


# src/topics/math-foundations/calculus.py:710
def jacobian(f, x: np.ndarray) -> np.ndarray:
    """J (m, d) of f at x (d,), or the gradient (d,) if f gives one number."""
    return np.stack([jvp(f, x, e)[1] for e in np.eye(len(x))], axis=-1)


# src/topics/math-foundations/calculus.py:731
def random_network(A, B, c, exp, log):
    """A function (d,) -> (m,) that uses every operation, for NumPy, Dual or torch."""

    def f(x):
        h = exp(x @ A - 1.0) + 0.5
        share = h / (h.sum() + 1.0)
        y = log(2.0 + share @ B * (share @ B)) - 3.0 * (c * (1.0 - share[0]))
        return (2.0 / (y * y + 1.0)) ** 1.5 + (B @ c) @ h

    return f


# src/topics/math-foundations/calculus.py:863
def normal_expectation(f, slices: int = 4000, edge: float = 10.0) -> float:
    """E[f(z)] for a standard normal z, as a sum over slices of [-edge, edge]."""
    dz = 2 * edge / slices
    z = -edge + dz * (np.arange(slices) + 0.5)
    return float((f(z) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * dz).sum())


# src/topics/math-foundations/calculus.py:870
def three_gradients(f, df, theta: float, h: float = 0.1) -> tuple[float, float, float]:
    """d/dtheta of E[f(theta + z)]: by differences, inside, by the log-density."""
    at = lambda t: normal_expectation(lambda z: f(t + z))
    return ((at(theta + h) - at(theta - h)) / (2 * h),
            normal_expectation(lambda z: df(theta + z)),
            normal_expectation(lambda z: f(theta + z) * z))  # (d/dtheta) log p = z


# src/topics/math-foundations/calculus.py:938
def difference(f, x: np.ndarray, h: float, central: bool = True) -> np.ndarray:
    """Difference quotient of f at every entry of x, in the precision of x."""
    h = x.dtype.type(h)
    if central:
        return (f(x + h) - f(x - h)) / (2 * h)
    return (f(x + h) - f(x)) / h


# src/topics/math-foundations/calculus.py:1013
def classifier_loss(W, X: np.ndarray, T: np.ndarray):
    """Mean cross-entropy of X @ W (n, K) for one-hot T (n, K); W may be a Dual."""
    S = X @ W
    return (log(exp(S).sum(axis=1)) - (S * T).sum(axis=1)).sum() * (1 / len(X))


# src/topics/math-foundations/calculus.py:1088
def slope_in_float32(h: float) -> float:
    """One-sided slope of log(exp(t) + exp(-2t)) at t = 0.5, all in float32."""
    two = np.array([1, -2], dtype=np.float32)
    f = lambda t: log_sum_exp(t[:, None] * two)
    return float(difference(f, np.array([0.5], dtype=np.float32), h, central=False)[0])


# src/topics/math-foundations/calculus.py:1108
def accuracy_and_loss_slopes(seed: int = 12, h: float = 1e-5) -> tuple[float, float]:
    """Largest slope of accuracy and of cross-entropy in any weight of a classifier."""
    rng = np.random.default_rng(seed)
    X, W = rng.normal(size=(50, 6)), rng.normal(size=(6, 3))
    y = rng.integers(0, 3, size=50)
    largest = []
    for score in (lambda W: ((X @ W).argmax(axis=1) == y).mean(),
                  lambda W: classifier_loss(W, X, np.eye(3)[y])):
        nudges = [h * np.eye(18)[i].reshape(6, 3) for i in range(18)]
        largest.append(max(abs(score(W + e) - score(W - e)) / (2 * h) for e in nudges))
    return largest[0], largest[1]


# src/topics/math-foundations/calculus.py:1133
def guarded_root(x: torch.Tensor, safe: bool) -> torch.Tensor:
    """sqrt(x) where x > 0, else 0; `safe` also guards what goes into the root."""
    inside = torch.where(x > 0, x, 1.0) if safe else x
    return torch.where(x > 0, torch.sqrt(inside), 0.0)


# src/topics/math-foundations/calculus.py:1244
def ridge_gradient(X: np.ndarray, W: np.ndarray, Y: np.ndarray, c: np.ndarray,
                   lam: float) -> np.ndarray:
    """Gradient (d, k) of the weighted ridge loss; X (n, d), Y (n, k), c (n,)."""
    return 2 * X.T @ (c[:, None] * (X @ W - Y)) + 2 * lam * W


# src/topics/math-foundations/calculus.py:1281
def rms_norm_vjp(X: np.ndarray, Y_bar: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """VJP (n, d) of RMS normalisation of the rows of X (n, d) for Y_bar (n, d)."""
    r = np.sqrt((X**2).mean(axis=1, keepdims=True) + eps)
    return Y_bar / r - X * (X * Y_bar).mean(axis=1, keepdims=True) / r**3


# src/topics/math-foundations/calculus.py:1314
def extrapolated(f, x: np.ndarray, h: float) -> np.ndarray:
    """Slope of f at every entry of x with an error of order h^4."""
    return (4 * difference(f, x, h / 2) - difference(f, x, h)) / 3


# src/topics/math-foundations/calculus.py:1344
def hessian_form(f, x: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    """u H v^T for the Hessian H of f at x; f gives one number, x, u, v are (d,)."""
    inner = Dual(x, v)  # moves along v
    direction = Dual(u, np.zeros_like(u))  # u does not depend on x
    return f(Dual(inner, direction)).dot.dot


# src/topics/math-foundations/calculus.py:426
def test_quadratic_and_least_squares_gradients_match_autograd():
    rng = np.random.default_rng(1)
    for trial in range(24):
        d, k, n = (int(v) for v in rng.permutation(9)[:3] + [1, 1, 0])
        n = [0, 1, n][min(trial, 2)]
        scale = [1, 100][trial % 2]
        x, A = scale * rng.normal(size=d), rng.normal(size=(d, d))
        expected = gradients(lambda x, A: x @ A @ x, x, A)
        for ours, theirs in zip(quadratic_gradients(x, A), expected):
            assert check_close(ours, theirs)
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, k))
        Y = scale * rng.normal(size=(n, k))
        expected = gradients(lambda W: (torch.tensor(X) @ W - torch.tensor(Y)) ** 2, W)
        assert check_close(least_squares_gradient(X, W, Y), expected[0])


# src/topics/math-foundations/calculus.py:442
def test_log_sum_exp_and_cross_entropy_match_torch():
    rng = np.random.default_rng(2)
    for trial in range(24):
        m = 1 if trial == 0 else int(rng.integers(2, 12))
        s = rng.normal(size=m) * [1, 10, 1000][trial % 3]
        if trial % 5 == 4:
            s[:2] = s.max()  # ties
        y = int(rng.integers(m))
        assert check_close(log_sum_exp(s), torch.logsumexp(torch.tensor(s), -1).numpy())
        assert check_close(softmax(s), gradients(lambda t: torch.logsumexp(t, -1), s)[0])
        loss = lambda t: F.cross_entropy(t[None], torch.tensor([y]))
        assert check_close(cross_entropy_gradient(s, y), gradients(loss, s)[0])
        batch = rng.normal(size=(int(rng.integers(1, 4)), 2, m))
        expected = torch.logsumexp(torch.tensor(batch), -1).numpy()
        assert check_close(log_sum_exp(batch), expected)


# src/topics/math-foundations/calculus.py:459
def test_sigmoid_and_its_derivative_match_torch():
    rng = np.random.default_rng(3)
    for trial in range(20):
        shape = tuple(rng.integers(0, 5, size=rng.integers(0, 3)))
        z = np.asarray(rng.normal(size=shape) * [1, 30, 1000][trial % 3])
        assert check_close(sigmoid(z), torch.sigmoid(torch.tensor(z)).numpy())
        assert check_close(sigmoid_derivative(z), gradients(torch.sigmoid, z)[0])
    assert sigmoid_derivative(np.array(60.0)) > 0  # s(1 - s) would round to 0


# src/topics/math-foundations/calculus.py:469
def test_hand_example_matches_torch():
    x = torch.tensor([2.0, 1.0], dtype=torch.float64)
    f = lambda x: torch.stack(f_hand(x))
    assert torch.func.jacrev(f)(x).tolist() == [[1, 2], [4, 0], [1, 3]]
    assert torch.func.grad(L_hand)(x).tolist() == [13, 11]
    assert torch.func.hessian(L_hand)(x).tolist() == [[12, 12], [12, 0]]


# src/topics/math-foundations/calculus.py:588
def test_log_sum_exp_hessian_matches_torch():
    rng = np.random.default_rng(4)
    for trial in range(20):
        m = 1 + trial % 7
        s, u = rng.normal(size=m) * [1, 50][trial % 2], rng.normal(size=m)
        H = log_sum_exp_hessian(s)
        t = torch.tensor(s)
        assert check_close(H, torch.func.hessian(lambda t: torch.logsumexp(t, -1))(t).numpy())
        assert check_close(H, torch.func.jacrev(lambda t: torch.softmax(t, -1))(t).numpy())
        assert u @ H @ u > -1e-12 and np.abs(H.sum(axis=1)).max() < 1e-12


# src/topics/math-foundations/calculus.py:600
def test_taylor_errors_have_orders_two_and_three():
    rng = np.random.default_rng(5)
    for _ in range(20):
        m = int(rng.integers(2, 8))
        s, u = rng.normal(size=m), rng.normal(size=m)
        slope, curvature = softmax(s) @ u, u @ log_sum_exp_hessian(s) @ u
        errors = []
        for h in (1e-2, 5e-3):
            rest = log_sum_exp(s + h * u) - log_sum_exp(s) - slope * h
            errors.append((abs(rest), abs(rest - 0.5 * curvature * h**2)))
        (first, second), (first_half, second_half) = errors
        assert abs(np.log2(first / first_half) - 2) < 0.1
        assert second < 1e-4 and (second < 1e-8 or second / second_half > 6)


# src/topics/math-foundations/calculus.py:615
def test_best_rate_along_the_gradient_of_a_bowl():
    rng = np.random.default_rng(6)
    for _ in range(20):
        n, d = int(rng.integers(9, 15)), int(rng.integers(1, 8))
        X, w, y = rng.normal(size=(n, d)), rng.normal(size=d), rng.normal(size=n)
        g, H = least_squares_gradient(X, w, y), 2 * X.T @ X
        rate = g @ g / (g @ H @ g)
        loss = lambda eta: ((X @ (w - eta * g) - y) ** 2).sum()
        assert loss(rate) < min(loss(0.9 * rate), loss(1.1 * rate))
        assert abs(loss(2 * rate) - loss(0)) < 1e-9 * loss(0)  # back where it began


# src/topics/math-foundations/calculus.py:743
def test_duals_match_torch_on_random_shapes():
    rng = np.random.default_rng(7)
    for trial in range(24):
        d, k, m = (int(v) for v in rng.permutation(np.arange(1, 8))[:3])
        A, B, c = rng.normal(size=(d, k)), rng.normal(size=(k, m)), rng.normal(size=m)
        x, v, y_bar = rng.normal(size=d), rng.normal(size=d), rng.normal(size=m)
        ours = random_network(A, B, c, exp, log)
        torch_weights = [torch.tensor(t) for t in (A, B, c)]
        theirs = random_network(*torch_weights, torch.exp, torch.log)
        t = torch.tensor(x)
        value, change = jvp(ours, x, v)
        ref_value, ref_change = torch.func.jvp(theirs, (t,), (torch.tensor(v),))
        assert check_close(value, ref_value.numpy()) and check_close(change, ref_change.numpy())
        J = jacobian(ours, x)
        assert J.shape == (m, d) and check_close(J, torch.func.jacrev(theirs)(t).numpy())
        (row,) = torch.func.vjp(theirs, t)[1](torch.tensor(y_bar))
        assert check_close(y_bar @ J, row.numpy()) and check_close(J @ v, change)


# src/topics/math-foundations/calculus.py:762
def test_jacobians_of_a_chain_multiply():
    rng = np.random.default_rng(8)
    for _ in range(20):
        d, k, m = (int(v) for v in rng.permutation(np.arange(1, 8))[:3])
        A, B, x = rng.normal(size=(d, k)), rng.normal(size=(k, m)), rng.normal(size=d)
        f, g = lambda x: exp(x @ A) * 0.1, lambda y: log(1.0 + (y @ B) ** 2)
        product = jacobian(g, f(x)) @ jacobian(f, x)
        chain = lambda t: torch.log(1 + (0.1 * torch.exp(t @ torch.tensor(A))
                                         @ torch.tensor(B)) ** 2)
        assert product.shape == (m, d)
        assert check_close(product, torch.func.jacrev(chain)(torch.tensor(x)).numpy())
        assert check_close(product, jacobian(lambda x: g(f(x)), x))
        assert check_close(jacobian(lambda x: x @ A, x), A.T)  # a linear layer: J = W^T


# src/topics/math-foundations/calculus.py:777
def test_dual_broadcasting_and_axes():
    rng = np.random.default_rng(9)
    for _ in range(20):
        n, k = (int(v) for v in rng.integers(1, 6, size=2))
        X, x, v = rng.normal(size=(n, k)), rng.normal(size=k), rng.normal(size=k)
        for f in (lambda x, X: (x + X).sum(0), lambda x, X: (X * x).sum(1),
                  lambda x, X: (X - x).sum(1), lambda x, X: (x - X).sum(0)):
            y, dy = jvp(lambda x: f(x, X), x, v)
            t = torch.tensor(X)
            primals, tangents = (torch.tensor(x),), (torch.tensor(v),)
            r, dr = torch.func.jvp(lambda x: f(x, t), primals, tangents)
            assert check_close(y, r.numpy()) and check_close(dy, dr.numpy())


# src/topics/math-foundations/calculus.py:890
def test_expectations_and_their_gradients():
    assert abs(normal_expectation(np.ones_like) - 1) < 1e-10
    assert abs(normal_expectation(lambda z: z**2) - 1) < 1e-10
    assert abs(normal_expectation(lambda z: z**4) - 3) < 1e-10
    rng = np.random.default_rng(10)
    for theta in rng.normal(size=20):
        for f, df in [(np.sin, np.cos), (lambda x: x**3, lambda x: 3 * x**2)]:
            _, inside, by_density = three_gradients(f, df, theta)
            assert abs(inside - by_density) < 1e-9
        jump = lambda x: (x > 0) * 1.0
        truth, inside, by_density = three_gradients(jump, lambda x: 0 * x, theta)
        density = np.exp(-(theta**2) / 2) / np.sqrt(2 * np.pi)
        assert abs(by_density - density) < 2e-3 and abs(truth - density) < 3e-2
        assert inside == 0


# src/topics/math-foundations/calculus.py:906
def test_kinks_have_the_slopes_shown():
    slopes = []
    for f in (torch.relu, lambda x: x.clamp(min=0), torch.abs,
              lambda x: torch.maximum(x, torch.zeros_like(x)),
              lambda x: torch.where(x > 0, x, 0)):
        zero = torch.zeros((), requires_grad=True)
        f(zero).backward()
        slopes.append(zero.grad.item())
    assert slopes == [0, 1, 0, 0.5, 0]


# src/topics/math-foundations/calculus.py:980
def test_difference_quotients_have_their_orders_and_best_steps():
    rng = np.random.default_rng(11)
    for _ in range(20):
        x = rng.uniform(0.5, 1.5, size=int(rng.integers(1, 9)))
        for central, order in [(True, 2), (False, 1)]:
            coarse, fine = (np.abs(difference(np.exp, x, h, central) - np.exp(x))
                            for h in (1e-2, 1e-3))
            assert np.abs(np.log10(coarse / fine) - order).max() < 0.1
        assert np.abs(difference(np.exp, x, 1e-5) / np.exp(x) - 1).max() < 1e-9
        assert np.abs(difference(np.exp, x, 1e-8, False) / np.exp(x) - 1).max() < 1e-6
        assert np.abs(difference(np.exp, x, 1e-13) / np.exp(x) - 1).max() > 1e-6
        by_complex = np.exp(x + 1e-20j).imag / 1e-20
        assert np.abs(by_complex / np.exp(x) - 1).max() < 1e-15
    assert difference(np.exp, np.ones(3, np.float32), 1e-3).dtype == np.float32


# src/topics/math-foundations/calculus.py:1152
def test_three_failures_and_their_fixes():
    exact = 0.4528
    assert slope_in_float32(1e-8) == 0
    measured = slope_in_float32(1e-3)
    assert float(np.float32(measured)) == measured  # nothing ran in float64
    assert abs(slope_in_float32(1e-3) / exact - 1) < 0.01
    assert abs(slope_in_float32(1.0) / exact - 1) > 0.3
    accuracy, loss = accuracy_and_loss_slopes()
    rng = np.random.default_rng(12)
    X, W = rng.normal(size=(50, 6)), rng.normal(size=(6, 3))
    errors = softmax(X @ W) - np.eye(3)[rng.integers(0, 3, size=50)]
    assert accuracy == 0 and abs(loss - np.abs(X.T @ errors).max() / 50) < 1e-8
    for safe in (False, True):
        x = torch.tensor([0.0, 4.0], requires_grad=True)
        value = guarded_root(x, safe)
        value.sum().backward()
        assert value.tolist() == [0, 2] and x.grad[1] == 0.25
        assert (x.grad[0] == 0) if safe else torch.isnan(x.grad[0])


# src/topics/math-foundations/calculus.py:1172
def test_classifier_loss_and_its_gradient_match_torch():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d, K = (int(v) for v in rng.permutation(np.arange(1, 9))[:3])
        X, y = rng.normal(size=(n, d)), rng.integers(0, K, n)
        W, U = rng.normal(size=(2, d, K))
        value, slope = jvp(lambda W: classifier_loss(W, X, np.eye(K)[y]), W, U)
        loss = lambda W: F.cross_entropy(torch.tensor(X) @ W, torch.tensor(y))
        assert check_close(value, loss(torch.tensor(W)).numpy())
        assert check_close(slope, (gradients(loss, W)[0] * U).sum())
        ours = X.T @ (softmax(X @ W) - np.eye(K)[y]) / n
        assert check_close(ours, gradients(loss, W)[0])


# src/topics/math-foundations/calculus.py:1253
def test_ridge_gradient():
    rng = np.random.default_rng(14)
    for trial in range(20):
        d, k, n = (int(v) for v in rng.permutation(np.arange(1, 9))[:3])
        n = 0 if trial == 0 else n
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, k))
        Y = rng.normal(size=(n, k))
        c, lam = rng.uniform(size=n), float(rng.uniform(0, 3))
        R = lambda W: torch.tensor(X) @ W - torch.tensor(Y)
        weighted = lambda W: (torch.tensor(c)[:, None] * R(W) ** 2).sum()
        loss = lambda W: weighted(W) + lam * (W**2).sum()
        assert check_close(ridge_gradient(X, W, Y, c, lam), gradients(loss, W)[0])


# src/topics/math-foundations/calculus.py:1290
def test_rms_norm_vjp():
    rng = np.random.default_rng(15)
    for trial in range(20):
        n, d = trial % 5, int(rng.integers(1, 9))
        X = rng.normal(size=(n, d)) * [1, 100, 0][trial % 3]
        Y_bar, eps = rng.normal(size=(n, d)), float(rng.uniform(0.01, 1))
        f = lambda X: F.rms_norm(X, (d,), eps=eps)
        (expected,) = torch.func.vjp(f, torch.tensor(X))[1](torch.tensor(Y_bar))
        assert check_close(rms_norm_vjp(X, Y_bar, eps), expected.numpy())


# src/topics/math-foundations/calculus.py:1322
def test_extrapolated():
    rng = np.random.default_rng(16)
    for _ in range(20):
        x = rng.uniform(0.5, 1.5, size=int(rng.integers(1, 9)))
        coarse, fine = (np.abs(extrapolated(np.exp, x, h) - np.exp(x))
                        for h in (0.2, 0.1))
        assert np.abs(np.log2(coarse / fine) - 4).max() < 0.1
        assert np.abs(extrapolated(np.exp, x, 1e-3) / np.exp(x) - 1).max() < 1e-11


# src/topics/math-foundations/calculus.py:1354
def test_hessian_form():
    rng = np.random.default_rng(17)
    for trial in range(20):
        d, k, m = (int(v) for v in rng.permutation(np.arange(1, 7))[:3])
        A, B, c = rng.normal(size=(d, k)), rng.normal(size=(k, m)), rng.normal(size=m)
        x, u, v = 0.5 * rng.normal(size=(3, d))
        ours = random_network(A, B, c, exp, log)
        torch_weights = [torch.tensor(t) for t in (A, B, c)]
        theirs = random_network(*torch_weights, torch.exp, torch.log)
        H = torch.func.hessian(lambda t: theirs(t).sum())(torch.tensor(x)).numpy()
        assert check_close(hessian_form(lambda t: ours(t).sum(), x, u, v), u @ H @ v, 1e-9)
    assert hessian_form(L_hand, np.array([2.0, 1.0]), np.array([1.0, 0.0]),
                        np.array([0.0, 1.0])) == 12
