# Generated from src/topics/math-foundations/probability.py: edit that file, then run doit. digest:74f8c60548072099

"""Tests of math-foundations/probability: Probability."""

import numpy as np


# src/topics/math-foundations/probability.py:109
def conditional(P: np.ndarray) -> np.ndarray:
    """Rows p(y | x), shape (m, k), of a joint distribution or of counts (m, k)."""
    return P / P.sum(axis=1, keepdims=True)


# src/topics/math-foundations/probability.py:114
def posterior(prior: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """Columns p(x | y), shape (m, k), from p(x) (m,) and rows p(y | x) (m, k)."""
    joint = prior[:, None] * likelihood
    return joint / joint.sum(axis=0, keepdims=True)


# src/topics/math-foundations/probability.py:120
def mean_and_variance(p: np.ndarray, f: np.ndarray) -> tuple[float, float]:
    """Expectation and variance of the values f (k,) under the distribution p (k,)."""
    mean = p @ f
    return float(mean), float(p @ (f - mean) ** 2)


# src/topics/math-foundations/probability.py:202
LETTERS = "abcdefghijklmnopqrstuvwxyz "


# src/topics/math-foundations/probability.py:205
def encode(text: str) -> np.ndarray:
    """Ids 0 to 26 of the letters and of spaces, everything else counting as a space."""
    words = "".join(c if c in LETTERS else " " for c in text).split()
    return np.array([LETTERS.index(c) for c in " ".join(words)], dtype=int)


# src/topics/math-foundations/probability.py:211
def pair_counts(ids: np.ndarray, K: int) -> np.ndarray:
    """Entry (i, j): how often symbol j follows symbol i in ids (T,)."""
    counts = np.zeros((K, K))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts


# src/topics/math-foundations/probability.py:276
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/math-foundations/probability.py:284
def log_sum_exp(s: np.ndarray) -> np.ndarray:
    """log(sum(exp(s))) over the last axis, which is kept with length 1."""
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)  # nothing but -inf: log(0) = -inf
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(s - shift).sum(axis=-1, keepdims=True))


# src/topics/math-foundations/probability.py:292
def log_softmax(s: np.ndarray) -> np.ndarray:
    """log(softmax(s)) without ever forming a probability."""
    return s - log_sum_exp(s)


# src/topics/math-foundations/probability.py:347
def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over the rows of -log softmax(logits)[y]; logits (n, K), y (n,)."""
    return float(-log_softmax(logits)[np.arange(len(y)), y].mean())


# src/topics/math-foundations/probability.py:352
def cross_entropy_backward(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of `cross_entropy` with respect to the logits (n, K)."""
    p = softmax(logits)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)


# src/topics/math-foundations/probability.py:493
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), safe at both ends."""
    return np.exp(-np.logaddexp(0, -z))


# src/topics/math-foundations/probability.py:498
def bernoulli_nll(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log p(y) for y in {0, 1} and p(1) = sigmoid(z), from the logit z."""
    return np.logaddexp(0, z) - y * z


# src/topics/math-foundations/probability.py:503
def gaussian_nll(y: np.ndarray, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """-log of the normal density with mean mu and standard deviation sigma."""
    return 0.5 * ((y - mu) / sigma) ** 2 + np.log(sigma) + 0.5 * np.log(2 * np.pi)


# src/topics/math-foundations/probability.py:527
def softmax_jacobian(p: np.ndarray) -> np.ndarray:
    """diag(p) - p^T p, shape (K, K), at p = softmax(s)."""
    return np.diag(p) - np.outer(p, p)


# src/topics/math-foundations/probability.py:532
def softmax_backward(dp: np.ndarray, p: np.ndarray) -> np.ndarray:
    """ds from dp and p = softmax(s), all of shape (..., K)."""
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


# src/topics/math-foundations/probability.py:564
def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats: terms with p = 0 are 0, q = 0 where p > 0 gives infinity."""
    used = p > 0
    with np.errstate(divide="ignore"):
        return float((p[used] * (np.log(p[used]) - np.log(q[used]))).sum())


# src/topics/math-foundations/probability.py:605
def sample_inverse_cdf(p: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n draws (n,) from the distribution p (K,), with one uniform number each."""
    cdf = np.cumsum(p)  # its last entry is 1 up to rounding
    return np.searchsorted(cdf[:-1], rng.random(n) * cdf[-1], side="right")


# src/topics/math-foundations/probability.py:611
def sample_gumbel(s: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n draws (n,) from softmax(s), for logits s (K,)."""
    waits = rng.exponential(size=(n, len(s)))  # -log(u)
    return (s - np.log(waits)).argmax(axis=-1)


# src/topics/math-foundations/probability.py:734
def fit(X: np.ndarray, y: np.ndarray, decay: float, steps: int) -> tuple:
    """W (d, 10), b (10,) of softmax regression by gradient descent, decay on W."""
    W, b = np.zeros((X.shape[1], 10)), np.zeros(10)
    for _ in range(steps):
        ds = cross_entropy_backward(X @ W + b, y)
        W, b = W - X.T @ ds - decay * W, b - ds.sum(axis=0)
    return W, b


# src/topics/math-foundations/probability.py:743
def bin_sums(p: np.ndarray, y: np.ndarray, bins: int = 10) -> np.ndarray:
    """Count, sum of confidences and number right in each bin, shape (3, bins)."""
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == y
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return np.array([np.bincount(place, weights, bins)
                     for weights in (np.ones(len(y)), confidence, hit)])


# src/topics/math-foundations/probability.py:751
def calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of the probabilities p (n, K) for targets y (n,)."""
    _, confidence, hits = bin_sums(p, y, bins)
    return float(np.abs(hits - confidence).sum() / len(y))


# src/topics/math-foundations/probability.py:892
class FixedUniform:
    """Stands in for a generator and returns the numbers it was given."""

    def __init__(self, values: list):
        self.values = np.array(values)

    def random(self, n: int) -> np.ndarray:
        assert n == len(self.values)
        return self.values


# src/topics/math-foundations/probability.py:1077
def two_filters(prior: float, accuracy: float) -> float:
    """p(harmful | both filters block)."""
    harmful = prior * accuracy**2
    harmless = (1 - prior) * (1 - accuracy) ** 2
    return harmful / (harmful + harmless)


# src/topics/math-foundations/probability.py:1113
def log_mixture(x: np.ndarray, w: np.ndarray, mu: np.ndarray, sigma: np.ndarray):
    """Log-density (n,) at x (n,) of a mixture with weights, means, deviations (k,)."""
    terms = np.log(w) - gaussian_nll(x[:, None], mu, sigma)  # (n, k)
    return log_sum_exp(terms)[:, 0]


# src/topics/math-foundations/probability.py:1143
def one_pass(values: np.ndarray) -> tuple[float, float]:
    """Mean and variance (over N - 1) of at least two values, reading each once."""
    mean, M = 0.0, 0.0
    for n, x in enumerate(values, start=1):
        old = mean
        mean += (x - mean) / n
        M += (x - old) * (x - mean)
    return float(mean), float(M / (len(values) - 1))


# src/topics/math-foundations/probability.py:1173
def sample_top_k(s: np.ndarray, k: int, tau: float, rng: np.random.Generator) -> int:
    """One index from softmax(s / tau), restricted to the k largest logits (K,)."""
    best = np.argsort(s)[-k:]
    return int(best[sample_gumbel(s[best] / tau, 1, rng)[0]])


# src/topics/math-foundations/probability.py:1203
def effective_size(log_w: np.ndarray) -> float:
    """Effective sample size of the weights exp(log_w), shape (n,), of any size."""
    return float(np.exp(2 * log_sum_exp(log_w) - log_sum_exp(2 * log_w))[0])


# src/topics/math-foundations/probability.py:376
def test_rules_by_brute_force():
    rng = np.random.default_rng(1)
    for _ in range(25):
        m, k = rng.permutation(np.arange(1, 12))[:2]
        joint = rng.random((m, k)) + 0.01
        joint /= joint.sum()
        prior, rows = joint.sum(axis=1), conditional(joint)
        assert rows.shape == (m, k) and np.allclose(rows.sum(axis=1), 1)
        columns = posterior(prior, rows)
        for i in range(m):
            for j in range(k):
                assert abs(columns[i, j] - joint[i, j] / joint[:, j].sum()) < 1e-12
    assert posterior(np.array([1.0]), np.array([[0.3, 0.7]])).tolist() == [[1.0, 1.0]]


# src/topics/math-foundations/probability.py:391
def test_moments_are_scipys():
    from scipy import stats

    rng = np.random.default_rng(2)
    for _ in range(20):
        k = rng.integers(1, 12)
        p, f = rng.dirichlet(np.ones(k)), rng.permutation(100)[:k]
        known = stats.rv_discrete(values=(f, p))
        mean, variance = mean_and_variance(p, f)
        assert abs(mean - known.mean()) < 1e-9 and abs(variance - known.var()) < 1e-9
    assert mean_and_variance(np.array([1.0]), np.array([5.0])) == (5.0, 0.0)


# src/topics/math-foundations/probability.py:404
def test_pair_counts_and_encode():
    assert encode("a Bb,  c\n").tolist() == [0, 26, 1, 26, 2]  # B counts as a space
    counts = pair_counts(np.array([0, 1, 0, 1, 2]), 4)
    want = np.zeros((4, 4))
    want[0, 1], want[1, 0], want[1, 2] = 2, 1, 1
    assert np.array_equal(counts, want)
    assert pair_counts(np.array([3]), 4).sum() == 0
    rng = np.random.default_rng(16)
    for T in rng.integers(2, 60, size=20):
        ids, counts = rng.integers(5, size=T), np.zeros((5, 5))
        for i, j in zip(ids[:-1], ids[1:]):
            counts[i, j] += 1
        assert np.array_equal(pair_counts(ids, 5), counts)


# src/topics/math-foundations/probability.py:419
def test_softmax_and_logs_are_the_libraries():
    import torch
    from scipy import special

    rng = np.random.default_rng(3)
    shapes = [(1, 1), (1, 7), (5, 1)] + [tuple(rng.integers(1, 9, 2)) for _ in range(22)]
    for shape in shapes:
        for scale in (1.0, 50.0, 1e5):
            s = scale * rng.normal(size=shape)
            total = log_sum_exp(s)
            assert total.shape == (shape[0], 1)
            assert np.allclose(total[:, 0], special.logsumexp(s, axis=-1), rtol=1e-12)
            want = torch.from_numpy(s).log_softmax(dim=-1).numpy()
            assert np.allclose(log_softmax(s), want, rtol=1e-12, atol=1e-12)
            assert np.allclose(softmax(s), special.softmax(s, axis=-1), atol=1e-12)
            assert np.allclose(softmax(s + 7), softmax(s), atol=1e-9)
    assert np.allclose(softmax(np.full((2, 4), -9e9)), 0.25)  # ties, huge
    assert log_sum_exp(np.full((1, 3), -np.inf)) == -np.inf  # nothing allowed
    assert log_sum_exp(np.zeros((1, 0))) == -np.inf  # empty
    masked = np.array([[0.0, -np.inf, 0.0]])
    assert np.allclose(log_softmax(masked), [[-np.log(2), -np.inf, -np.log(2)]])


# src/topics/math-foundations/probability.py:442
def test_cross_entropy_is_torchs_with_gradient():
    import torch

    rng = np.random.default_rng(4)
    for trial in range(25):
        n, classes = rng.permutation(np.arange(1, 12))[:2]
        s = (1e3 if trial % 5 == 0 else 1.0) * rng.normal(size=(n, classes))
        y = rng.integers(classes, size=n)
        leaf = torch.tensor(s, requires_grad=True)
        want = torch.nn.functional.cross_entropy(leaf, torch.from_numpy(y))
        want.backward()
        assert np.isclose(cross_entropy(s, y), want.item(), rtol=1e-12, atol=1e-12)
        assert np.allclose(cross_entropy_backward(s, y), leaf.grad, atol=1e-12)


# src/topics/math-foundations/probability.py:457
def test_counting_is_maximum_likelihood():
    rng = np.random.default_rng(5)
    y = rng.integers(6, size=200)
    f = np.bincount(y, minlength=6) / 200
    at_counts = cross_entropy(np.tile(np.log(f), (200, 1)), y)
    grad = cross_entropy_backward(np.tile(np.log(f), (200, 1)), y).sum(axis=0)
    assert np.abs(grad).max() < 1e-12
    for _ in range(50):
        other = np.log(rng.dirichlet(np.ones(6)))
        assert cross_entropy(np.tile(other, (200, 1)), y) > at_counts


# src/topics/math-foundations/probability.py:834
def test_losses_are_torchs():
    import torch
    from scipy import special, stats

    rng = np.random.default_rng(6)
    for scale in (1.0, 30.0, 800.0):
        z, y = scale * rng.normal(size=40), rng.integers(2, size=40)
        assert np.allclose(sigmoid(z), special.expit(z), rtol=1e-11, atol=1e-300)
        assert np.allclose(sigmoid(z), softmax(np.column_stack([z, 0 * z]))[:, 0])
        want = torch.nn.functional.binary_cross_entropy_with_logits(
            torch.from_numpy(z), torch.from_numpy(y.astype(float)), reduction="none"
        )
        assert np.allclose(bernoulli_nll(z, y), want.numpy(), atol=1e-12)
    for _ in range(20):
        y, mu, sigma = rng.normal(size=(2, 7)).tolist() + [rng.random(7) + 0.01]
        want = -stats.norm.logpdf(y, mu, sigma)
        assert np.allclose(gaussian_nll(np.array(y), np.array(mu), sigma), want)


# src/topics/math-foundations/probability.py:853
def test_jacobian_and_vjp_are_autograds():
    import torch

    rng = np.random.default_rng(7)
    for trial in range(25):
        rows, K = rng.permutation(np.arange(1, 10))[:2]
        s = (40.0 if trial % 5 == 0 else 1.0) * rng.normal(size=(rows, K))
        dp = rng.normal(size=(rows, K))
        leaf = torch.tensor(s, requires_grad=True)
        leaf.softmax(dim=-1).backward(torch.from_numpy(dp))
        assert np.allclose(softmax_backward(dp, softmax(s)), leaf.grad, atol=1e-12)
        J = torch.autograd.functional.jacobian(
            lambda x: x.softmax(dim=-1), torch.from_numpy(s[0])
        ).numpy()
        mine = softmax_jacobian(softmax(s[0]))
        assert mine.shape == (K, K) and np.allclose(mine, J, atol=1e-12)
        one = softmax_backward(dp[0], softmax(s[0]))
        assert np.allclose(dp[0] @ mine, one, atol=1e-12)
        assert np.linalg.eigvalsh(mine).min() > -1e-12  # a covariance matrix


# src/topics/math-foundations/probability.py:874
def test_divergence_is_scipys():
    import torch
    from scipy import stats

    rng = np.random.default_rng(8)
    for _ in range(25):
        K = rng.integers(1, 12)
        p, q = rng.dirichlet(np.ones(K), size=2)
        assert np.isclose(divergence(p, q), stats.entropy(p, q), atol=1e-12)
        want = torch.nn.functional.kl_div(
            torch.from_numpy(np.log(q)), torch.from_numpy(p), reduction="sum"
        )
        assert np.isclose(divergence(p, q), want.item(), atol=1e-12)
        assert divergence(p, q) >= -1e-15 and abs(divergence(p, p)) < 1e-15
    assert divergence(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == np.log(2)
    assert divergence(np.array([0.5, 0.5]), np.array([0.0, 1.0])) == np.inf


# src/topics/math-foundations/probability.py:903
def test_samplers_follow_the_distribution():
    from scipy import stats

    rng = np.random.default_rng(9)
    for K in (1, 2, 3, 7, 12):
        s = 1.5 * rng.normal(size=K)
        p = softmax(s)
        for draws in (sample_inverse_cdf(p, 40_000, rng), sample_gumbel(s, 40_000, rng),
                      sample_gumbel(s + 1e4, 40_000, rng)):
            counted = np.bincount(draws, minlength=K)
            assert len(counted) == K and draws.shape == (40_000,)
            assert K == 1 or stats.chisquare(counted, 40_000 * p).pvalue > 1e-4
    edges = FixedUniform([0.0, 0.25, 0.2499, 0.75, 1 - 2**-53])
    for total in (1.0, 0.5, 4.0):  # exaggerates the rounding of the last sum
        p = total * np.array([0.0, 0.25, 0.5, 0.25, 0.0])
        got = sample_inverse_cdf(p, 5, edges)
        assert got.tolist() == [1, 2, 1, 3, 3]  # symbols of probability 0 never come
    assert set(sample_gumbel(np.array([0.0, -np.inf]), 50, rng)) == {0}


# src/topics/math-foundations/probability.py:923
def test_variance_formulas():
    import torch

    rng = np.random.default_rng(10)
    q, k = rng.choice([-1.0, 1.0], size=(2, 100_000, 16))
    assert abs((q * k).sum(axis=1).var() / 16 - 1) < 0.03
    assert abs((4 * q[:, 0] - k[:, 0]).var() - 17) < 0.3
    for N in (2, 5, 9):
        x = rng.exponential(size=(150_000, N))
        assert abs(x.var(axis=1).mean() - (N - 1) / N) < 0.03
        assert abs(x.mean(axis=1).var() - 1 / N) < 0.02
        assert np.allclose(torch.from_numpy(x).var(dim=1), x.var(axis=1, ddof=1))


# src/topics/math-foundations/probability.py:937
def test_regression_gradient_and_bins():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(11)
    X, y = rng.normal(size=(300, 4)), rng.integers(10, size=300)
    W, b = fit(X, y, 0.01, 3000)
    known = LogisticRegression(C=1 / (0.01 * 300), tol=1e-10, max_iter=5000).fit(X, y)
    assert np.allclose(softmax(X @ W + b), known.predict_proba(X), atol=1e-5)
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.0, 1.0], [0.55, 0.45]])
    size, confidence, hits = bin_sums(p, np.array([0, 1, 1, 1, 1]), bins=2)
    assert size.tolist() == [0, 5] and hits.tolist() == [0, 3]
    assert np.allclose(confidence, [0, 3.95])
    assert np.isclose(calibration_error(p, np.array([0, 1, 1, 1, 1]), bins=2), 0.19)
    assert bin_sums(p, np.zeros(5, dtype=int)).shape == (3, 10)
    q = rng.dirichlet(np.ones(5), size=50_000)
    drawn = (np.log(q) - np.log(rng.exponential(size=q.shape))).argmax(axis=1)
    assert calibration_error(q, drawn) < 0.01  # calibrated by construction
    assert calibration_error(q, drawn) == calibration_error(q, drawn, bins=10)
    assert calibration_error(q, rng.integers(5, size=50_000)) > 0.2


# src/topics/math-foundations/probability.py:1086
def test_two_filters():
    assert abs(two_filters(0.001, 0.99) - 9801 / 10800) < 1e-12
    rows = np.array([[0.8, 0.2], [0.2, 0.8]])
    once = posterior(np.array([0.3, 0.7]), rows)[:, 0]
    assert abs(two_filters(0.3, 0.8) - posterior(once, rows)[0, 0]) < 1e-12
    assert abs(two_filters(0.25, 0.5) - 0.25) < 1e-12  # coins say nothing


# src/topics/math-foundations/probability.py:1121
def test_log_mixture():
    from scipy import special, stats

    rng = np.random.default_rng(12)
    for _ in range(20):
        n, k = rng.permutation(np.arange(1, 9))[:2]
        x, w, mu = 100 * rng.normal(size=n), rng.dirichlet(np.ones(k)), rng.normal(size=k)
        sigma = rng.random(k) + 0.1
        terms = np.log(w) + stats.norm.logpdf(x[:, None], mu, sigma)
        got = log_mixture(x, w, mu, sigma)
        assert got.shape == (n,) and np.allclose(got, special.logsumexp(terms, axis=1))
    far = log_mixture(np.array([1e6]), np.ones(1), np.zeros(1), np.ones(1))
    assert np.isfinite(far).all()


# src/topics/math-foundations/probability.py:1155
def test_one_pass():
    rng = np.random.default_rng(13)
    for n in [2, 3] + list(rng.integers(4, 60, size=20)):
        for offset in (0.0, 1e9):
            x = offset + rng.normal(size=n)
            mean, variance = one_pass(x)
            assert np.isclose(mean, x.mean(), rtol=1e-12, atol=1e-12)
            assert np.isclose(variance, np.var(x, ddof=1), rtol=1e-5)
    x = 1e9 + rng.normal(size=50)
    assert abs((x**2).mean() - x.mean() ** 2 - x.var()) > 1  # the naive formula fails


# src/topics/math-foundations/probability.py:1181
def test_sample_top_k():
    from scipy import stats

    rng = np.random.default_rng(14)
    s = np.array([0.3, 2.0, -1.0, 1.1, 0.9])
    for k, tau in ((1, 1.0), (3, 0.7), (5, 2.0)):
        draws = np.array([sample_top_k(s, k, tau, rng) for _ in range(6000)])
        best = np.sort(np.argsort(s)[-k:])
        assert set(draws) == set(best.tolist())
        want = 6000 * softmax(s[best] / tau)
        counted = np.bincount(draws, minlength=5)[best]
        assert k == 1 or stats.chisquare(counted, want).pvalue > 1e-4


# src/topics/math-foundations/probability.py:1210
def test_effective_size():
    rng = np.random.default_rng(15)
    for n in rng.integers(1, 50, size=20):
        w = rng.random(n) + 0.01
        want = w.sum() ** 2 / (w**2).sum()
        for shift in (0.0, -5000.0, 5000.0):
            assert np.isclose(effective_size(np.log(w) + shift), want, rtol=1e-9)
    x = rng.normal(size=(200_000, 4))
    log_w = 0.5 * x.sum(axis=1) - 4 * 0.25 / 2  # delta 0.5, d 4
    assert abs(effective_size(log_w) / 200_000 - np.exp(-1)) < 0.02
