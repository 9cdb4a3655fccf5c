# Generated from src/topics/math-foundations/linear-algebra.py: edit that file, then run doit. digest:915366e264d3d7b6

"""Tests of math-foundations/linear-algebra: Linear algebra."""

import numpy as np
from sklearn.datasets import load_digits


# src/topics/math-foundations/linear-algebra.py:86
def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Dot product of x (d,) and y (d,)."""
    assert x.shape == y.shape
    total = 0.0
    for x_k, y_k in zip(x, y):
        total += x_k * y_k
    return total


# src/topics/math-foundations/linear-algebra.py:159
def four_views(X: np.ndarray, W: np.ndarray) -> list[np.ndarray]:
    """XW (n, m) from X (n, d) and W (d, m): entries, rows, columns, outer products."""
    (n, d), m = X.shape, W.shape[1]
    entries, rows, columns, outer = (np.zeros((n, m)) for _ in range(4))
    for i in range(n):
        for j in range(m):
            entries[i, j] = dot(X[i], W[:, j])
    for k in range(d):
        for i in range(n):
            rows[i] += X[i, k] * W[k]
        for j in range(m):
            columns[:, j] += X[:, k] * W[k, j]
        outer += np.outer(X[:, k], W[k])
    return [entries, rows, columns, outer]


# src/topics/math-foundations/linear-algebra.py:199
def unit_rows(X: np.ndarray) -> np.ndarray:
    """The rows of X (n, d) scaled to length 1; rows of zeros stay zero."""
    lengths = np.linalg.norm(X, axis=1, keepdims=True)  # (n, 1)
    return X / np.where(lengths == 0, 1, lengths)


# src/topics/math-foundations/linear-algebra.py:205
def cosine(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Cosine of each row of X (n, d) with each row of Y (m, d): (n, m)."""
    return unit_rows(X) @ unit_rows(Y).T


# src/topics/math-foundations/linear-algebra.py:317
def least_squares(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """W (d, m) that minimises the norm of Y - XW; the columns of X are independent."""
    return np.linalg.solve(X.T @ X, X.T @ Y)


# src/topics/math-foundations/linear-algebra.py:426
def power_iteration(
    S: np.ndarray, rng: np.random.Generator, steps: int = 500
) -> tuple[float, np.ndarray]:
    """Largest eigenvalue of a symmetric S (d, d) with none below 0; its vector (d,)."""
    v = rng.normal(size=len(S))
    v = v / np.linalg.norm(v)
    for _ in range(steps):
        w = v @ S
        length = np.linalg.norm(w)
        if length == 0:  # S is zero: any direction is an eigenvector
            return 0.0, v
        v = w / length
    return float(v @ S @ v), v


# src/topics/math-foundations/linear-algebra.py:441
def eigenpairs(
    S: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues (k,) and their eigenvectors as rows (k, d)."""
    values, vectors = np.empty(k), np.empty((k, len(S)))
    for i in range(k):
        values[i], vectors[i] = power_iteration(S, rng)
        S = S - values[i] * np.outer(vectors[i], vectors[i])  # take the piece out
    return values, vectors


# src/topics/math-foundations/linear-algebra.py:460
def separated(rng, d):
    """A symmetric matrix (d, d) whose eigenvalues are 5 * 0.7**i."""
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (Q * 5 * 0.7 ** np.arange(d)) @ Q.T


# src/topics/math-foundations/linear-algebra.py:553
def svd_by_eigen(
    A: np.ndarray, r: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The r largest pieces of A (n, d): U (n, r), sigma (r,), V transposed (r, d)."""
    values, Vt = eigenpairs(A.T @ A, r, rng)
    sigma = np.sqrt(values)
    return A @ Vt.T / sigma, sigma, Vt


# src/topics/math-foundations/linear-algebra.py:562
def low_rank(A: np.ndarray, r: int) -> np.ndarray:
    """The first r pieces of A (n, d), added up."""
    U, sigma, Vt = np.linalg.svd(A, full_matrices=False)
    return (U[:, :r] * sigma[:r]) @ Vt[:r]


# src/topics/math-foundations/linear-algebra.py:662
def pca(X: np.ndarray, r: int) -> tuple[np.ndarray, ...]:
    """Mean (d,), components as rows (r, d), scores (n, r), variances (r,) of X (n, d)."""
    mean = X.mean(axis=0)
    _, sigma, Vt = np.linalg.svd(X - mean, full_matrices=False)
    return mean, Vt[:r], (X - mean) @ Vt[:r].T, sigma[:r] ** 2 / (len(X) - 1)


# src/topics/math-foundations/linear-algebra.py:845
def matmul_flops(n: int, d: int, m: int) -> int:
    """Floating-point operations of (n, d) times (d, m)."""
    return 2 * n * d * m


# src/topics/math-foundations/linear-algebra.py:850
def flops_per_byte(n: int, d: int, m: int, itemsize: int = 2) -> float:
    """Operations for each byte of X, W and Y moved once."""
    return matmul_flops(n, d, m) / (itemsize * (n * d + d * m + n * m))


# src/topics/math-foundations/linear-algebra.py:865
class CountedNumber:
    """A number that notes every multiplication and addition in a list."""

    def __init__(self, notes):
        self.notes = notes

    def __mul__(self, other):
        self.notes.append("*")
        return self

    def __add__(self, other):
        self.notes.append("+")
        return self


# src/topics/math-foundations/linear-algebra.py:1012
def svd_by_hand() -> tuple[list[float], np.ndarray]:
    """The singular values, largest first, and the best rank-1 approximation (3, 2)."""
    # A^T A has 1 and 4 on its diagonal, so v_1 = (0, 1) and u_1 = (1, 0, 0).
    return [2.0, 1.0], np.array([[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])


# src/topics/math-foundations/linear-algebra.py:1036
def squared_distances(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Squared distance (n, m) of each row of X (n, d) to each row of Y (m, d)."""
    x2 = (X**2).sum(axis=1, keepdims=True)  # (n, 1)
    y2 = (Y**2).sum(axis=1)  # (m,), acts as a row
    return np.maximum(x2 - 2 * X @ Y.T + y2, 0)


# src/topics/math-foundations/linear-algebra.py:1067
def gram_schmidt(X: np.ndarray) -> np.ndarray:
    """Q (n, d) with orthonormal columns that mix to the independent columns of X."""
    Q = np.zeros(X.shape)
    for j in range(X.shape[1]):
        v = X[:, j]
        for i in range(j):
            v = v - (Q[:, i] @ v) * Q[:, i]  # v, not X[:, j]: rounding stays small
        Q[:, j] = v / np.linalg.norm(v)
    return Q


# src/topics/math-foundations/linear-algebra.py:1100
def rank_for(A: np.ndarray, eps: float) -> int:
    """Smallest r with norm(A - A_r) <= eps * norm(A), Frobenius norms."""
    squares = np.linalg.svd(A, compute_uv=False) ** 2
    lost = squares.sum() - np.concatenate([[0.0], np.cumsum(squares)])  # lost[r]
    return int(np.argmax(lost <= (eps**2 + 1e-12) * squares.sum()))  # for rounding


# src/topics/math-foundations/linear-algebra.py:1134
def cosine_spread(d: int, pairs: int, rng: np.random.Generator) -> float:
    """Standard deviation of the cosine of random sign vectors of d entries."""
    x, y = rng.choice([-1.0, 1.0], size=(2, pairs, d))
    return float(((x * y).sum(axis=1) / d).std())


# src/topics/math-foundations/linear-algebra.py:1164
def smallest_eigenvalue(S: np.ndarray, c: float, rng: np.random.Generator) -> float:
    """Smallest eigenvalue of a symmetric S (d, d) with eigenvalues in [-c, c]."""
    value, _ = power_iteration(c * np.eye(len(S)) - S, rng)
    return c - value


# src/topics/math-foundations/linear-algebra.py:101
def test_dot_is_numpys():
    rng = np.random.default_rng(1)
    for d in [0, 1, *rng.integers(2, 40, size=20)]:
        x, y = rng.normal(size=(2, d))
        assert abs(dot(x, y) - np.dot(x, y)) < 1e-12
    assert abs(dot(np.array([1e8, 2.0]), np.array([1e8, 3.0])) - (1e16 + 6)) <= 2


# src/topics/math-foundations/linear-algebra.py:182
def test_four_views_are_matmul():
    rng = np.random.default_rng(2)
    shapes = [rng.permutation(np.arange(1, 12))[:3] for _ in range(20)]
    for n, d, m in [*shapes, (1, 1, 1), (0, 3, 2), (4, 0, 5), (1, 7, 1)]:
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, m))
        for Y in four_views(X, W):
            assert Y.shape == (n, m) and np.allclose(Y, np.matmul(X, W), atol=1e-12)
    assert np.allclose((X @ W).T, W.T @ X.T)


# src/topics/math-foundations/linear-algebra.py:217
def test_cosine_is_sklearns():
    from scipy.spatial.distance import cdist
    from sklearn.metrics.pairwise import cosine_similarity

    rng = np.random.default_rng(3)
    for _ in range(20):
        n, m, d = rng.permutation(np.arange(1, 12))[:3]
        X, Y = 50 * rng.normal(size=(n, d)), rng.normal(size=(m, d))
        assert np.allclose(cosine(X, Y), 1 - cdist(X, Y, "cosine"), atol=1e-12)
        X[0] = 0  # a row without a direction
        assert np.allclose(cosine(X, Y), cosine_similarity(X, Y), atol=1e-12)
    assert cosine(np.zeros((0, 3)), np.ones((2, 3))).shape == (0, 2)


# src/topics/math-foundations/linear-algebra.py:331
def test_least_squares_is_scipys():
    import scipy.linalg

    rng = np.random.default_rng(4)
    for _ in range(20):
        m, *rest = rng.permutation(np.arange(1, 14))[:3]
        d, n = np.sort(rest)
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
        W = least_squares(X, Y)
        want = scipy.linalg.lstsq(X, Y)[0]
        assert W.shape == (d, m)
        assert np.allclose(X @ W, X @ want, atol=1e-7)
        assert np.allclose(X.T @ (Y - X @ W), 0, atol=1e-7)
    assert np.allclose(least_squares(2 * np.eye(3), np.eye(3)), np.eye(3) / 2)


# src/topics/math-foundations/linear-algebra.py:466
def test_eigenpairs_are_scipys():
    import scipy.linalg

    rng = np.random.default_rng(5)
    for _ in range(20):
        d = int(rng.integers(1, 10))
        k = int(rng.integers(1, d + 1))
        S = separated(rng, d)
        values, vectors = eigenpairs(S, k, rng)
        want, Q = scipy.linalg.eigh(S)  # ascending, eigenvectors as columns
        assert np.allclose(want[::-1], 5 * 0.7 ** np.arange(d))
        assert np.allclose(values, want[::-1][:k], atol=1e-9)
        assert np.allclose(np.abs(np.sum(vectors * Q.T[::-1][:k], axis=1)), 1)
        assert np.allclose(vectors @ vectors.T, np.eye(k), atol=1e-8)


# src/topics/math-foundations/linear-algebra.py:482
def test_eigenpairs_edges():
    rng = np.random.default_rng(6)
    values, vectors = eigenpairs(np.zeros((3, 3)), 1, rng)
    assert values[0] == 0 and np.isclose(np.linalg.norm(vectors[0]), 1)
    values, vectors = eigenpairs(4.0 * np.eye(3), 3, rng)  # ties
    assert np.allclose(values, 4) and np.allclose(vectors @ vectors.T, np.eye(3))
    big = 1e12 * separated(rng, 4)
    assert np.allclose(eigenpairs(big, 4, rng)[0], np.linalg.eigvalsh(big)[::-1])


# src/topics/math-foundations/linear-algebra.py:578
def test_svd_is_numpys():
    rng = np.random.default_rng(7)
    for _ in range(20):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        k = min(n, d)
        P = np.linalg.qr(rng.normal(size=(n, k)))[0]
        Q = np.linalg.qr(rng.normal(size=(d, k)))[0]
        A = (P * 3 * 0.8 ** np.arange(k)) @ Q.T
        r = int(rng.integers(1, k + 1))
        U, sigma, Vt = svd_by_eigen(A, r, rng)
        U2, sigma2, Vt2 = np.linalg.svd(A, full_matrices=False)
        assert (U.shape, Vt.shape) == ((n, r), (r, d))
        assert np.allclose(sigma, sigma2[:r], atol=1e-8)
        assert np.allclose(U.T @ U, np.eye(r), atol=1e-6)
        sign = np.sign(np.sum(Vt * Vt2[:r], axis=1))
        assert np.allclose(Vt * sign[:, None], Vt2[:r], atol=1e-6)
        assert np.allclose(U * sign, U2[:, :r], atol=1e-6)


# src/topics/math-foundations/linear-algebra.py:597
def test_low_rank_is_sklearns_and_best():
    from sklearn.decomposition import TruncatedSVD

    rng = np.random.default_rng(8)
    for _ in range(20):
        n, d = rng.permutation(np.arange(3, 14))[:2]
        r = int(rng.integers(1, min(n, d)))
        A = rng.normal(size=(n, d))
        best = low_rank(A, r)
        svd = TruncatedSVD(r, algorithm="arpack", random_state=0)
        assert np.allclose(best, svd.inverse_transform(svd.fit_transform(A)), atol=1e-8)
        sigma = np.linalg.svd(A, compute_uv=False)
        error = ((A - best) ** 2).sum()
        assert np.isclose(error, (sigma[r:] ** 2).sum())
        assert np.linalg.matrix_rank(best) == r
        for _ in range(20):  # rivals, each with its best B for a random C
            C = rng.normal(size=(r, d))
            rival = A @ np.linalg.pinv(C) @ C
            assert ((A - rival) ** 2).sum() > error
    assert np.allclose(low_rank(A, min(n, d)), A) and not low_rank(A, 0).any()


# src/topics/math-foundations/linear-algebra.py:693
def test_pca_is_sklearns():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(9)
    cases = [load_digits().data[:300]]
    for _ in range(20):
        n, d = rng.permutation(np.arange(3, 25))[:2]
        cases.append(5 + rng.normal(size=(n, d)) * rng.uniform(0.1, 9, size=d))
    for X in cases:
        r = min(len(X) - 1, X.shape[1], 5)
        mean, components, Z, variances = pca(X, r)
        library = PCA(r, svd_solver="full").fit(X)
        assert np.allclose(mean, library.mean_)
        assert np.allclose(variances, library.explained_variance_)
        sign = np.sign(np.sum(components * library.components_, axis=1))
        assert np.allclose(components * sign[:, None], library.components_, atol=1e-7)
        assert np.allclose(Z * sign, library.transform(X), atol=1e-7)


# src/topics/math-foundations/linear-algebra.py:880
def test_matmul_flops_by_counting():
    rng = np.random.default_rng(15)
    for _ in range(20):
        n, d, m = (int(size) for size in rng.permutation(np.arange(1, 8))[:3])
        notes = []
        X = np.full((n, d), CountedNumber(notes), dtype=object)
        W = np.full((d, m), CountedNumber(notes), dtype=object)
        for i in range(n):
            for j in range(m):
                total = X[i, 0] * W[0, j]
                for k in range(1, d):
                    total = total + X[i, k] * W[k, j]
        assert len(notes) == matmul_flops(n, d, m) - n * m  # d - 1 additions, not d
        moved = 2 * (X.size + W.size + n * m)
        assert np.isclose(flops_per_byte(n, d, m) * moved, matmul_flops(n, d, m))


# src/topics/math-foundations/linear-algebra.py:1021
def test_svd_by_hand():
    A = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    sigma, best = svd_by_hand()
    assert np.allclose(sigma, np.linalg.svd(A, compute_uv=False))
    assert best.shape == (3, 2) and np.allclose(best, low_rank(A, 1))


# src/topics/math-foundations/linear-algebra.py:1046
def test_squared_distances():
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(10)
    for _ in range(20):
        n, m, d = rng.permutation(np.arange(1, 12))[:3]
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
        got = squared_distances(X, Y)
        assert got.shape == (n, m)
        assert np.allclose(got, cdist(X, Y, "sqeuclidean"), atol=1e-12)
    far = 1e4 + rng.normal(size=(30, 5))
    assert (squared_distances(far, far) >= 0).all()


# src/topics/math-foundations/linear-algebra.py:1081
def test_gram_schmidt():
    rng = np.random.default_rng(11)
    for _ in range(20):
        d, n = np.sort(rng.permutation(np.arange(1, 12))[:2])
        X = rng.normal(size=(n, d))
        Q, (want, R) = gram_schmidt(X), np.linalg.qr(X)
        assert np.allclose(Q, want * np.sign(np.diag(R)), atol=1e-8)
    eps = 1e-7  # nearly dependent columns: the order of subtraction matters
    X = np.vstack([np.ones(4), eps * np.eye(4)])
    assert np.abs(gram_schmidt(X).T @ gram_schmidt(X) - np.eye(4)).max() < 1e-6


# src/topics/math-foundations/linear-algebra.py:1110
def test_rank_for():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        A, eps = rng.normal(size=(n, d)), rng.uniform(0.05, 0.9)
        norm = np.linalg.norm(A)
        errors = [np.linalg.norm(A - low_rank(A, r)) for r in range(min(n, d) + 1)]
        want = next(r for r, e in enumerate(errors) if e <= eps * norm + 1e-9)
        assert rank_for(A, eps) == want
        low = rng.normal(size=(40, 9)) @ rng.normal(size=(9, 30))
        assert rank_for(low, 0.0) == 9  # rounding does not count
    assert rank_for(A, 1.0) == 0 and rank_for(np.outer([1, 2], [3, 4, 5]), 0.0) == 1
    assert rank_for(np.diag([1.0, 1e-3]), 1e-4) == 2


# src/topics/math-foundations/linear-algebra.py:1143
def test_cosine_spread():
    rng = np.random.default_rng(13)
    for d in (1, 4, 64, 400):
        assert np.isclose(cosine_spread(d, 4000, rng), 1 / np.sqrt(d), rtol=0.06)


# src/topics/math-foundations/linear-algebra.py:1173
def test_smallest_eigenvalue():
    rng = np.random.default_rng(14)
    assert np.isclose(smallest_eigenvalue(np.array([[0.0, 1], [1, 0]]), 1.0, rng), -1)
    for _ in range(20):
        d = int(rng.integers(1, 9))
        S = separated(rng, d) - rng.uniform(0, 4) * np.eye(d)
        S = -S  # the smallest one stands apart
        bound = np.abs(np.linalg.eigvalsh(S)).max()
        want = np.linalg.eigvalsh(S)[0]
        assert np.isclose(smallest_eigenvalue(S, bound, rng), want, atol=1e-8)
