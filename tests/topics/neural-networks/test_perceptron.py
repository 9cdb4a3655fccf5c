# Generated from src/topics/neural-networks/perceptron.py: edit that file, then run doit. digest:24a0ca0bf8ce2ea6

"""Tests of neural-networks/perceptron: Perceptron."""

import numpy as np
from itertools import product
from math import comb
from scipy.optimize import nnls
from sklearn.svm import SVC


# src/topics/neural-networks/perceptron.py:47
def template_neuron(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias; positive scores where the mean of y = +1 is nearer."""
    plus, minus = X[y > 0].mean(axis=0), X[y < 0].mean(axis=0)
    return plus - minus, (minus @ minus - plus @ plus) / 2


# src/topics/neural-networks/perceptron.py:53
def accuracy(w: np.ndarray, b: float, X: np.ndarray, y: np.ndarray) -> float:
    """Share of the rows of X (n, d) on the side that y (n,) says."""
    return float((np.where(X @ w + b > 0, 1, -1) == y).mean())


# src/topics/neural-networks/perceptron.py:160
def perceptron(X: np.ndarray, y: np.ndarray, epochs: int = 1000, lr: float = 1.0,
               use_bias: bool = True) -> tuple[np.ndarray, float, list[int]]:
    """Weights (d,), bias, mistakes of each epoch, for X (n, d) and y (n,) = +-1."""
    w, b, mistakes = np.zeros(X.shape[1]), 0.0, []
    for _ in range(epochs):
        mistakes.append(0)
        for x_i, y_i in zip(X, y):
            if y_i * (x_i @ w + b) <= 0:
                w = w + lr * y_i * x_i
                b = b + lr * y_i * use_bias
                mistakes[-1] += 1
        if mistakes[-1] == 0:
            break
    return w, b, mistakes


# src/topics/neural-networks/perceptron.py:252
def multiclass_perceptron(X: np.ndarray, y: np.ndarray, K: int, epochs: int = 1000
                          ) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """W (d, K), b (K,) and the mistakes of each epoch; y (n,) holds classes 0..K-1."""
    W, b, mistakes = np.zeros((X.shape[1], K)), np.zeros(K), []
    for _ in range(epochs):
        mistakes.append(0)
        for x, k in zip(X, y):
            scores = x @ W + b
            rivals = np.where(np.arange(K) == k, -np.inf, scores)
            r = rivals.argmax()
            if scores[k] <= rivals[r]:
                W[:, k], b[k] = W[:, k] + x, b[k] + 1
                W[:, r], b[r] = W[:, r] - x, b[r] - 1
                mistakes[-1] += 1
        if mistakes[-1] == 0:
            break
    return W, b, mistakes


# src/topics/neural-networks/perceptron.py:400
def signed_rows(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rows y_i (x_i, 1), shape (n, d + 1): all must score above zero."""
    return y[:, None] * np.column_stack([X, np.ones(len(X))])


# src/topics/neural-networks/perceptron.py:405
def widest_margin(Z: np.ndarray) -> tuple[float, np.ndarray]:
    """Largest min(Z @ u) over vectors u of length one, and that u; Z is separable."""
    side = np.repeat([1, -1], len(Z))
    svm = SVC(kernel="linear", C=1e9, tol=1e-8).fit(np.vstack([Z, -Z]), side)
    u = svm.coef_[0] / np.linalg.norm(svm.coef_[0])
    return float((Z @ u).min()), u


# src/topics/neural-networks/perceptron.py:488
def visits(X: np.ndarray, y: np.ndarray, epochs: int):
    """Yield (w, b) after each visit of an example."""
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(epochs):
        for x_i, y_i in zip(X, y):
            if y_i * (x_i @ w + b) <= 0:
                w, b = w + y_i * x_i, b + y_i
            yield w, b


# src/topics/neural-networks/perceptron.py:498
def averaged_perceptron(X: np.ndarray, y: np.ndarray, epochs: int) -> tuple:
    """Mean weights (d,) and mean bias over all visits."""
    w_sum, b_sum = np.zeros(X.shape[1]), 0.0
    for w, b in visits(X, y, epochs):
        w_sum, b_sum = w_sum + w, b_sum + b
    return w_sum / (epochs * len(y)), b_sum / (epochs * len(y))


# src/topics/neural-networks/perceptron.py:506
def pocket_perceptron(X: np.ndarray, y: np.ndarray, epochs: int) -> tuple:
    """The weights (d,) and bias with the best training accuracy met on the way."""
    best, kept, last = -1.0, None, None
    for w, b in visits(X, y, epochs):
        if w is not last:
            last, right = w, accuracy(w, b, X, y)
            if right > best:
                best, kept = right, (w, b)
    return kept


# src/topics/neural-networks/perceptron.py:550
def separable(Z: np.ndarray) -> bool:
    """Whether some v has Z @ v > 0, for Z (n, d): no average of its rows is zero."""
    norms = np.linalg.norm(Z, axis=1)
    if (norms == 0).any():
        return False
    rows = np.column_stack([Z / norms[:, None], np.ones(len(Z))])
    target = np.append(np.zeros(Z.shape[1]), 1.0)  # rows to zero, weights to one
    return bool(nnls(rows.T, target, maxiter=100 * len(Z))[1] > 1e-7)


# src/topics/neural-networks/perceptron.py:560
def realisable(X: np.ndarray) -> np.ndarray:
    """All labelings (m, n) of the rows of X that one neuron with a bias can produce."""
    kept = [()]  # a labeling can be produced only if its beginning can
    for i in range(1, len(X) + 1):
        tried = [(*y, label) for y in kept for label in (-1, 1)]
        kept = [y for y in tried if separable(signed_rows(X[:i], np.array(y)))]
    return np.array(kept)


# src/topics/neural-networks/perceptron.py:615
def cover_count(n: int, d: int) -> int:
    """Labelings of n points in general position in R^d split by planes through 0."""
    return 2 * sum(comb(n - 1, k) for k in range(d))


# src/topics/neural-networks/perceptron.py:620
def share_fitted(n: int, d: int, trials: int, rng: np.random.Generator,
                 epochs: int = 0) -> tuple[float, float]:
    """Share of random problems that are separable; that the rule solves in `epochs`."""
    Z = rng.normal(size=(trials, n, d)) * rng.choice([-1, 1], size=(trials, n, 1))
    V = np.zeros((trials, d))
    for _ in range(epochs):
        for i in range(n):
            wrong = (V * Z[:, i]).sum(axis=1) <= 0
            V += wrong[:, None] * Z[:, i]
    found = ((Z @ V[:, :, None])[..., 0] > 0).all(axis=1)
    return float(np.mean([separable(rows) for rows in Z])), float(found.mean())


# src/topics/neural-networks/perceptron.py:701
def factor(m: np.ndarray, kind: str) -> np.ndarray:
    """g(m) = -dl/dm of the perceptron, Adaline ("squared") or logistic loss."""
    if kind == "perceptron":
        return (m <= 0).astype(float)
    return 1 - m if kind == "squared" else (1 - np.tanh(m / 2)) / 2


# src/topics/neural-networks/perceptron.py:708
def neuron_gradient(w: np.ndarray, b: float, X: np.ndarray, y: np.ndarray,
                    kind: str) -> tuple[np.ndarray, float]:
    """Gradients (d,) and number of the mean loss over X (n, d), y (n,) = +-1."""
    push = factor(y * (X @ w + b), kind) * y / len(y)
    return -push @ X, -push.sum()


# src/topics/neural-networks/perceptron.py:715
def descend(X: np.ndarray, y: np.ndarray, kind: str, lr: float, steps: int) -> tuple:
    """Weights (d,) and bias after gradient descent from zero on the mean loss."""
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(steps):
        dw, db = neuron_gradient(w, b, X, y, kind)
        w, b = w - lr * dw, b - lr * db
    return w, b


# src/topics/neural-networks/perceptron.py:1101
def at_least(k: int, d: int) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias of a neuron that says +1 if k or more inputs are 1."""
    return np.ones(d), 0.5 - k  # k = d is AND, k = 1 is OR


# src/topics/neural-networks/perceptron.py:1127
def lazy_average(X: np.ndarray, y: np.ndarray, epochs: int) -> tuple[np.ndarray, float]:
    """As averaged_perceptron, with work only after mistakes."""
    (w, u), (b, c), T = np.zeros((2, X.shape[1])), (0.0, 0.0), epochs * len(y)
    for t in range(T):
        x_i, y_i = X[t % len(y)], y[t % len(y)]
        if y_i * (x_i @ w + b) <= 0:
            w, b = w + y_i * x_i, b + y_i
            u, c = u + t * y_i * x_i, c + t * y_i
    return w - u / T, b - c / T


# src/topics/neural-networks/perceptron.py:1160
def dual_perceptron(G: np.ndarray, y: np.ndarray, epochs: int) -> np.ndarray:
    """Mistake counts (n,) from all dot products G (n, n) of the rows (x_i, 1)."""
    alpha = np.zeros(len(y))
    for _ in range(epochs):
        for i in range(len(y)):
            if y[i] * (G[i] @ (alpha * y)) <= 0:
                alpha[i] += 1
    return alpha


# src/topics/neural-networks/perceptron.py:1202
def functions_of_bits(d: int) -> tuple[int, float]:
    """Functions of d bits that one neuron computes; best accuracy on parity."""
    X = np.array(list(product([0.0, 1.0], repeat=d)))
    can = realisable(X)
    parity = 1 - 2 * (X.sum(axis=1) % 2)
    return len(can), float((can == parity).mean(axis=1).max())


# src/topics/neural-networks/perceptron.py:1233
def cooled_pass(w: np.ndarray, b: float, X: np.ndarray, y: np.ndarray,
                c: float) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias after one pass with the factor sigma(-c m)."""
    for x_i, y_i in zip(X, y):
        m = y_i * (x_i @ w + b)
        g = (1 - np.tanh(c * m / 2)) / 2
        w, b = w + g * y_i * x_i, b + g * y_i
    return w, b


# src/topics/neural-networks/perceptron.py:290
def test_template_neuron_is_nearest_centroid():
    from sklearn.neighbors import NearestCentroid

    rng = np.random.default_rng(1)
    for _ in range(25):
        n, d = int(rng.integers(4, 30)), int(rng.integers(1, 9))
        X, y = rng.normal(size=(n, d)), np.where(np.arange(n) % 3 == 0, 1, -1)
        w, b = template_neuron(X, y)
        want = NearestCentroid().fit(X, y).predict(X)
        assert w.shape == (d,) and accuracy(w, b, X, want) == 1.0
        assert accuracy(w, b, X, -want) == 0.0


# src/topics/neural-networks/perceptron.py:303
def test_perceptron_is_sklearn_exactly():
    from sklearn.linear_model import Perceptron

    rng = np.random.default_rng(2)
    for trial in range(40):
        n, d = int(rng.integers(2, 40)), int(rng.integers(1, 9))
        X = rng.integers(-3, 4, size=(n, d)).astype(float)  # many ties, no rounding
        X = X * [1, 1, 1e6][trial % 3]
        y = rng.choice([-1, 1], size=n)
        y[:2] = [1, -1]  # scikit-learn wants both classes
        epochs, lr = int(rng.integers(1, 12)), [1.0, 0.5, 8.0][trial % 3]
        for use_bias in (True, False):
            w, b, mistakes = perceptron(X, y, epochs, lr, use_bias)
            reference = Perceptron(shuffle=False, tol=None, max_iter=epochs, eta0=lr,
                                   fit_intercept=use_bias).fit(X, y)
            assert np.array_equal(w, reference.coef_[0])
            assert b == reference.intercept_[0]
            assert len(mistakes) <= epochs
    w, b, mistakes = perceptron(np.zeros((0, 3)), np.zeros(0))
    assert w.shape == (3,) and not w.any() and b == 0 and mistakes == [0]
    assert perceptron(np.array([[2.0]]), np.array([-1]))[2] == [1, 0]


# src/topics/neural-networks/perceptron.py:326
def test_hand_example():
    X = np.array([[0.0, 2.0], [-1.0, -1.0], [2.0, 0.0]])
    w, b, mistakes = perceptron(X, np.array([1, -1, -1]))
    assert np.array_equal(w, [-1, 3]) and b == -1 and mistakes == [2, 1, 0]


# src/topics/neural-networks/perceptron.py:332
def test_multiclass_perceptron():
    rng = np.random.default_rng(3)
    for trial in range(25):
        n, d, K = (int(rng.integers(*r)) for r in ((1, 20), (1, 6), (2, 6)))
        X = rng.integers(-3, 4, size=(n, d)).astype(float)
        y, epochs = rng.integers(0, K, size=n), int(rng.integers(1, 9))
        W, b, mistakes = multiclass_perceptron(X, y, K, epochs)
        assert W.shape == (d, K) and b.shape == (K,)
        # Kesler: one long weight vector, a difference of blocks for each rival class.
        theta, count = np.zeros(K * (d + 1)), 0
        for _ in range(len(mistakes)):
            for x, k in zip(X, y):
                rows = [np.kron(np.eye(K)[k] - np.eye(K)[r], np.append(x, 1))
                        for r in range(K) if r != k]
                worst = min(rows, key=lambda row: row @ theta)
                if worst @ theta <= 0:
                    theta, count = theta + worst, count + 1
        assert np.array_equal(theta.reshape(K, d + 1), np.column_stack([W.T, b]))
        assert count == sum(mistakes)
        if K == 2:  # half the difference of the columns is the two-class rule
            w, bias, _ = perceptron(X, 2 * y - 1, epochs)
            assert np.array_equal(W[:, 1] - W[:, 0], 2 * w) and b[1] - b[0] == 2 * bias


# src/topics/neural-networks/perceptron.py:769
def test_margin_and_mistake_bound():
    rng = np.random.default_rng(4)
    for _ in range(25):
        n, d = int(rng.integers(2, 30)), int(rng.integers(1, 7))
        X, v = rng.normal(size=(n, d)) + 0.3, rng.normal(size=d + 1)
        z = X @ v[:-1] + v[-1]
        X, z = X[np.abs(z) > 0.05], z[np.abs(z) > 0.05]
        if len(X) == 0:
            continue
        y = np.where(z > 0, 1, -1)
        Z = signed_rows(X, y)
        assert separable(Z) and Z.shape == (len(X), d + 1)
        gamma, u = widest_margin(Z)
        # The widest margin is the distance of the rows' convex hull from the origin.
        heavy = np.column_stack([Z, np.full(len(Z), 1e4)]).T
        weights = nnls(heavy, np.append(np.zeros(d + 1), 1e4), maxiter=10_000)[0]
        assert abs(np.linalg.norm(weights @ Z / weights.sum()) / gamma - 1) < 1e-4
        assert abs(np.linalg.norm(u) - 1) < 1e-9
        _, _, mistakes = perceptron(X, y, epochs=100_000)
        assert mistakes[-1] == 0
        assert sum(mistakes) <= (np.linalg.norm(Z, axis=1).max() / gamma) ** 2


# src/topics/neural-networks/perceptron.py:792
def test_separable_is_linear_programming():
    from scipy.optimize import linprog

    rng = np.random.default_rng(5)
    answers = []
    for _ in range(60):
        n, d = int(rng.integers(1, 25)), int(rng.integers(1, 9))
        Z = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-6, 7)
        want = linprog(np.zeros(d), A_ub=-Z / np.abs(Z).max(), b_ub=-np.ones(n),
                       bounds=(None, None)).status == 0
        answers.append(want)
        assert separable(Z) == want
    assert 10 < sum(answers) < 50
    assert not separable(np.zeros((1, 3)))
    assert not separable(np.array([[1.0, 2.0], [-1.0, -2.0]]))


# src/topics/neural-networks/perceptron.py:809
def test_xor_and_cover():
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    can = realisable(square)
    xor = np.array([-1, 1, 1, -1])
    assert len(can) == cover_count(4, 3) == 14
    assert (can == xor).mean(axis=1).max() == 0.75
    rng = np.random.default_rng(6)
    for n, d in [(5, 1), (5, 2), (6, 2), (6, 3)]:  # ties, repeated points
        X = rng.integers(0, 3, size=(n, d)).astype(float)
        want = [y for y in product([-1, 1], repeat=n)
                if separable(signed_rows(X, np.array(y)))]
        assert np.array_equal(realisable(X), want)
    for n, d in [(1, 1), (3, 1), (2, 3), (4, 2), (5, 2), (5, 4), (6, 3), (7, 2)]:
        X = rng.normal(size=(n, d - 1))  # the bias is the last dimension
        assert len(realisable(X)) == cover_count(n, d)
    for d in range(1, 30):
        assert 2 * cover_count(2 * d, d) == 2 ** (2 * d)
        assert cover_count(d, d) == 2**d
        assert cover_count(9, d + 1) == cover_count(8, d + 1) + cover_count(8, d)


# src/topics/neural-networks/perceptron.py:830
def test_share_fitted():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, d, epochs = (int(rng.integers(*r)) for r in ((1, 12), (1, 6), (0, 5)))
        got = share_fitted(n, d, 8, np.random.default_rng(seed), epochs)
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(8, n, d))
        y = rng.choice([-1, 1], size=(8, n, 1))[..., 0]
        runs = [perceptron(*one, epochs, use_bias=False)[0] for one in zip(X, y)]
        found = [bool((y_i * (X_i @ w) > 0).all()) for X_i, y_i, w in zip(X, y, runs)]
        can = [separable(y_i[:, None] * X_i) for X_i, y_i in zip(X, y)]
        assert got == (np.mean(can), np.mean(found))


# src/topics/neural-networks/perceptron.py:844
def test_averaged_and_pocket():
    from sklearn.linear_model import SGDClassifier

    rng = np.random.default_rng(7)
    for _ in range(25):
        n, d = int(rng.integers(3, 30)), int(rng.integers(1, 7))
        X, y = rng.normal(size=(n, d)), rng.choice([-1, 1], size=n)
        y[:2] = [1, -1]
        epochs = int(rng.integers(1, 8))
        w, b = averaged_perceptron(X, y, epochs)
        reference = SGDClassifier(loss="perceptron", penalty=None, average=True,
                                  learning_rate="constant", eta0=1.0, shuffle=False,
                                  tol=None, max_iter=epochs).fit(X, y)
        assert np.allclose(w, reference.coef_[0], atol=1e-10)
        assert abs(b - reference.intercept_[0]) < 1e-10
        path = list(visits(X, y, epochs))
        seen = [accuracy(v, c, X, y) for v, c in path]
        assert len(seen) == epochs * n
        kept_w, kept_b = pocket_perceptron(X, y, epochs)
        first_w, first_b = path[int(np.argmax(seen))]  # the first of the best
        assert np.array_equal(kept_w, first_w) and kept_b == first_b
        assert seen[-1] == accuracy(*perceptron(X, y, epochs)[:2], X, y)


# src/topics/neural-networks/perceptron.py:868
def test_neuron_gradient_is_autograd():
    import torch

    rng = np.random.default_rng(8)
    for trial in range(30):
        n, d = int(rng.integers(1, 12)), int(rng.integers(1, 8))
        X = rng.normal(size=(n, d)) * [1, 1, 300][trial % 3]
        y, w, b = rng.choice([-1, 1], size=n), rng.normal(size=d), rng.normal()
        for kind in ("perceptron", "squared", "logistic"):
            wt = torch.tensor(w, requires_grad=True)
            bt = torch.tensor(b, dtype=torch.float64, requires_grad=True)
            z = torch.tensor(X) @ wt + bt
            t = torch.tensor(y, dtype=torch.float64)
            if kind == "perceptron":
                loss = torch.relu(-t * z).mean()
            elif kind == "squared":
                loss = torch.nn.functional.mse_loss(z, t) / 2
            else:
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    z, (t + 1) / 2)
            loss.backward()
            dw, db = neuron_gradient(w, b, X, y, kind)
            assert dw.shape == (d,)
            size = 1 + np.abs(X).max() ** 2
            assert np.abs(dw - wt.grad.numpy()).max() < 1e-12 * size
            assert abs(db - bt.grad.item()) < 1e-12 * size


# src/topics/neural-networks/perceptron.py:896
def test_adaline_is_least_squares_and_logistic_is_sklearn():
    from sklearn.linear_model import LinearRegression, LogisticRegression

    rng = np.random.default_rng(9)
    for _ in range(20):
        n, d = int(rng.integers(60, 120)), int(rng.integers(1, 5))
        X = rng.normal(size=(n, d))
        y = np.where(X @ rng.normal(size=d) + rng.logistic(size=n) > 0.3, 1, -1)
        if separable(signed_rows(X, y)) or len(set(y)) == 1:
            continue
        w, b = descend(X, y, "squared", 0.3, 1000)
        line = LinearRegression().fit(X, y)
        assert np.allclose(w, line.coef_, atol=1e-9) and abs(b - line.intercept_) < 1e-9
        w, b = descend(X, y, "logistic", 1.0, 4000)
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
        assert np.allclose(w, model.coef_[0], atol=1e-4)
        assert abs(b - model.intercept_[0]) < 1e-4


# src/topics/neural-networks/perceptron.py:1109
def test_at_least():
    for d in range(1, 7):
        X = np.array(list(product([0, 1], repeat=d)))
        for k in range(1, d + 1):
            w, b = at_least(k, d)
            assert np.shape(w) == (d,)
            assert accuracy(w, b, X, np.where(X.sum(axis=1) >= k, 1, -1)) == 1.0


# src/topics/neural-networks/perceptron.py:1141
def test_lazy_average():
    rng = np.random.default_rng(11)
    for _ in range(20):
        n, d, epochs = (int(rng.integers(*r)) for r in ((1, 20), (1, 6), (1, 7)))
        X, y = rng.normal(size=(n, d)), rng.choice([-1, 1], size=n)
        w, b = lazy_average(X, y, epochs)
        w_want, b_want = averaged_perceptron(X, y, epochs)
        assert np.allclose(w, w_want, atol=1e-12) and abs(b - b_want) < 1e-12


# src/topics/neural-networks/perceptron.py:1173
def test_dual_perceptron():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n, d, epochs = (int(rng.integers(*r)) for r in ((1, 20), (1, 6), (1, 9)))
        X = rng.integers(-3, 4, size=(n, d)).astype(float)
        y = rng.choice([-1, 1], size=n)
        X1 = np.column_stack([X, np.ones(n)])
        alpha = dual_perceptron(X1 @ X1.T, y, epochs)
        w, b, mistakes = perceptron(X, y, epochs)
        assert np.array_equal((alpha * y) @ X1, np.append(w, b))
        assert alpha.sum() == sum(mistakes)
    X1 = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    xor, G = np.array([-1, 1, 1, -1]), X1 @ X1.T
    assert (xor * (G @ (dual_perceptron(G, xor, 500) * xor)) <= 0).any()
    assert (xor * (G**2 @ (dual_perceptron(G**2, xor, 500) * xor)) > 0).all()


# src/topics/neural-networks/perceptron.py:1213
def test_functions_of_bits():
    assert functions_of_bits(1) == (4, 1.0)
    assert functions_of_bits(2) == (14, 3 / 4)
    assert functions_of_bits(3) == (104, 6 / 8) and cover_count(8, 4) == 128
    assert functions_of_bits(4) == (1882, 11 / 16)


# src/topics/neural-networks/perceptron.py:1246
def test_cooled_pass():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d = int(rng.integers(1, 12)), int(rng.integers(1, 6))
        X, y = rng.normal(size=(n, d)), rng.choice([-1, 1], size=n)
        w, b = rng.normal(size=d), rng.normal()
        want_w, want_b = w, b
        for x_i, y_i in zip(X, y):
            if y_i * (x_i @ want_w + want_b) <= 0:
                want_w, want_b = want_w + y_i * x_i, want_b + y_i
        got_w, got_b = cooled_pass(w, b, X, y, 1e12)
        assert np.allclose(got_w, want_w, atol=1e-9) and abs(got_b - want_b) < 1e-9
        warm_w, _ = cooled_pass(w, b, X[:1], y[:1], 1.0)
        dw, _ = neuron_gradient(w, b, X[:1], y[:1], "logistic")
        assert np.allclose(warm_w, w - dw, atol=1e-12)
