# Generated from src/topics/math-foundations/information-theory.py: edit that file, then run doit. digest:d3e29e1baa08d326

"""Tests of math-foundations/information-theory: Information theory."""

import heapq
import numpy as np
import re
from collections.abc import Callable, Iterator
from fractions import Fraction


# src/topics/math-foundations/information-theory.py:129
def entropy(p: np.ndarray) -> float:
    """Entropy in nats of a distribution p of any shape."""
    used = p[p > 0]
    return float(-(used * np.log(used)).sum())


# src/topics/math-foundations/information-theory.py:135
def huffman_lengths(p: np.ndarray) -> np.ndarray:
    """Word lengths l (K,) of Huffman's code for the distribution p (K,)."""
    lengths = np.zeros(len(p), dtype=int)
    heap = [(weight, j, [j]) for j, weight in enumerate(p)]
    heapq.heapify(heap)
    while len(heap) > 1:
        (first, j, left), (second, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (first + second, j, left + right))
    return lengths


# src/topics/math-foundations/information-theory.py:147
def prefix_code(lengths: np.ndarray) -> list[str]:
    """Words with these lengths (K,), laid side by side, the widest claims first."""
    words, start, top = [""] * len(lengths), 0, int(lengths.max())
    for j in np.argsort(lengths, kind="stable"):
        l = int(lengths[j])
        words[j] = format(start >> (top - l), f"0{l}b")
        start += 1 << (top - l)  # of 2^top bit strings
    return words


# src/topics/math-foundations/information-theory.py:219
Predictor = Callable[[list[int]], list[Fraction]]


# src/topics/math-foundations/information-theory.py:222
def arithmetic_encode(symbols: list[int], predict: Predictor) -> str:
    """Bits that name a point in the text's interval."""
    low, width = Fraction(0), Fraction(1)
    for t, symbol in enumerate(symbols):
        q = predict(symbols[:t])
        low, width = low + width * sum(q[:symbol]), width * q[symbol]
    n = int(1 / width).bit_length() + 1  # 2^-n is less than half the width
    return format(-int(-low * 2**n // 1), f"0{n}b")  # low, rounded up to n bits


# src/topics/math-foundations/information-theory.py:232
def arithmetic_decode(bits: str, T: int, predict: Predictor) -> list[int]:
    """The T symbols whose interval holds the point named by `bits`."""
    point, symbols = Fraction(int(bits, 2), 2 ** len(bits)), []
    for _ in range(T):
        q, symbol = predict(symbols), 0
        while point >= q[symbol]:
            point -= q[symbol]
            symbol += 1
        point /= q[symbol]  # seen from inside the piece
        symbols.append(symbol)
    return symbols


# src/topics/math-foundations/information-theory.py:245
def after_last(history: list[int], K: int = 64) -> list[Fraction]:
    """Bigram model that learns as it reads: what followed the last symbol, plus one."""
    followed = [b for a, b in zip(history, history[1:]) if a == history[-1]]
    return [Fraction(followed.count(j) + 1, len(followed) + K) for j in range(K)]


# src/topics/math-foundations/information-theory.py:276
def ranked(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dense ids (T,) of the keys (T,), and how often each key occurred earlier."""
    T = len(keys)
    order = np.sort(keys * T + np.arange(T)) % T  # by key, then by position
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    sizes = np.diff(starts, append=T)
    ids, earlier = np.empty((2, T), dtype=int)
    ids[order] = np.repeat(np.arange(len(starts)), sizes)
    earlier[order] = np.arange(T) - np.repeat(starts, sizes)
    return ids, earlier


# src/topics/math-foundations/information-theory.py:288
def grams(x: np.ndarray, K: int, n_max: int) -> Iterator[tuple]:
    """For n = 1, …: ids (T,) of the n-grams that end at t, counts before t (two (T,)):
    of the n-gram, and of its first n - 1 symbols."""
    context, seen = np.zeros(len(x), dtype=int), np.arange(len(x))
    for _ in range(n_max):
        ids, both = ranked(context * K + x)
        yield ids, both, seen
        context, seen = np.append(ids.max() + 1, ids[:-1]), np.append(0, both[:-1])


# src/topics/math-foundations/information-theory.py:298
def adaptive_loss(x: np.ndarray, K: int, n_max: int, beta: float = 8.0) -> np.ndarray:
    """Mean loss in nats, while learning, of the models of 1, …, n_max symbols."""
    q, losses = np.full(len(x), 1 / K), []
    for _, both, seen in grams(x, K, n_max):
        q = (both + beta * q) / (seen + beta)
        losses.append(-np.log(q).mean())
    return np.array(losses)


# src/topics/math-foundations/information-theory.py:483
def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats: terms with p = 0 are 0, q = 0 where p > 0 gives infinity."""
    used = p > 0
    with np.errstate(divide="ignore"):
        return float((p[used] * (np.log(p[used]) - np.log(q[used]))).sum())


# src/topics/math-foundations/information-theory.py:491
def mutual_information(P: np.ndarray) -> float:
    """I(x; y) in nats of a joint distribution P (m, k)."""
    return divergence(P, np.outer(P.sum(axis=1), P.sum(axis=0)))


# src/topics/math-foundations/information-theory.py:496
def conditional_entropy(P: np.ndarray) -> float:
    """H(y | x) in nats of a joint distribution P (m, k), x along the rows."""
    return entropy(P) - entropy(P.sum(axis=1))


# src/topics/math-foundations/information-theory.py:567
def gaussian_divergence(mu1, sigma1, mu2, sigma2):
    """KL(N(mu1, sigma1^2) || N(mu2, sigma2^2)) in nats, elementwise."""
    return (np.log(sigma2 / sigma1)
            + (sigma1**2 + (mu1 - mu2) ** 2) / (2 * sigma2**2) - 0.5)


# src/topics/math-foundations/information-theory.py:573
def normal(y, mu, sigma):
    """Density of the normal distribution at y, elementwise."""
    return np.exp(-0.5 * ((y - mu) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


# src/topics/math-foundations/information-theory.py:578
def both_directions(y: np.ndarray, p: np.ndarray, mu, sigma) -> tuple[float, float]:
    """Forward and reverse KL of N(mu, sigma^2) and a density p > 0 on a grid y (n,)."""
    q, step = normal(y, mu, sigma) + 1e-300, y[1] - y[0]
    return divergence(p * step, q * step), divergence(q * step, p * step)


# src/topics/math-foundations/information-theory.py:636
def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen–Shannon divergence in nats of two distributions (K,)."""
    return (divergence(p, (p + q) / 2) + divergence(q, (p + q) / 2)) / 2


# src/topics/math-foundations/information-theory.py:645
def random_joint(rng, m, k, zeros=False):
    P = rng.dirichlet(np.ones(m * k)).reshape(m, k)
    if zeros:
        P[rng.random((m, k)) < 0.3] = 0.0
        P[0, 0] += 0.1
    return P / P.sum()


# src/topics/math-foundations/information-theory.py:777
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/math-foundations/information-theory.py:842
def miller_madow(counts: np.ndarray) -> float:
    """Entropy in nats from counts (K,), with the first-order correction."""
    N = counts.sum()
    return entropy(counts / N) + ((counts > 0).sum() - 1) / (2 * N)


# src/topics/math-foundations/information-theory.py:877
def letter_ids(text: str) -> np.ndarray:
    """Ids (T,): 0 to 25 for letters, 26 for anything between them."""
    codes = np.frombuffer(re.sub("[^a-z]+", " ", text.lower()).encode(), dtype=np.uint8)
    return np.where(codes == 32, 26, codes.astype(int) - 97)


# src/topics/math-foundations/information-theory.py:883
def context_curves(x: np.ndarray, K: int, n_max: int, beta: float = 8.0) -> np.ndarray:
    """Plug-in h_n, corrected h_n and adaptive loss, in bits: shape (3, n_max)."""
    H, H_corrected, losses, q = [0.0], [0.0], [], np.full(len(x), 1 / K)
    for ids, both, seen in grams(x, K, n_max):
        counts = np.bincount(ids)
        H.append(entropy(counts / len(x)))
        H_corrected.append(miller_madow(counts))
        q = (both + beta * q) / (seen + beta)
        losses.append(-np.log(q).mean())
    return np.array([np.diff(H), np.diff(H_corrected), losses]) / np.log(2)


# src/topics/math-foundations/information-theory.py:1110
def bits_per_byte(perplexity: float, bytes_per_unit: float) -> float:
    """Bits per byte from a perplexity per unit (token, word, …)."""
    return float(np.log2(perplexity) / bytes_per_unit)


# src/topics/math-foundations/information-theory.py:1156
def bad_news() -> np.ndarray:
    """A joint distribution (2, 2) with H(p(y | x = 1)) > H(y)."""
    # Usually y = 0 for certain; after the rare x = 1 it is a coin flip.
    return np.array([[0.8, 0.0], [0.1, 0.1]])


# src/topics/math-foundations/information-theory.py:1189
def latent_penalty(mu: np.ndarray, log_var: np.ndarray) -> tuple:
    """KL (n,) to the standard normal; gradients (n, d) for mu and log_var (n, d)."""
    var = np.exp(log_var)
    kl = 0.5 * (var + mu**2 - 1 - log_var).sum(axis=-1)
    return kl, mu, 0.5 * (var - 1)


# src/topics/math-foundations/information-theory.py:1226
def on_a_leash(p_ref: np.ndarray, r: np.ndarray, beta: float) -> np.ndarray:
    """The distribution (K,) that maximises reward minus beta times the divergence."""
    # -KL = H(p) + p . log p_ref, so the scores are r + beta log p_ref.
    with np.errstate(divide="ignore"):
        return softmax(r / beta + np.log(p_ref))


# src/topics/math-foundations/information-theory.py:1260
def loss_to_bits_per_byte(loss: float, tokens: int, text: str) -> float:
    """Bits per byte from a mean loss in nats per token."""
    return loss * tokens / (np.log(2) * len(text.encode("utf-8")))


# src/topics/math-foundations/information-theory.py:1284
def estimator_moments(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Mean and variance under q (K,) of k1, k2 and k3: shape (3, 2); p, q positive."""
    r = p / q
    k = np.stack([-np.log(r), np.log(r) ** 2 / 2, r - 1 - np.log(r)])  # (3, K)
    mean = k @ q
    return np.stack([mean, (k - mean[:, None]) ** 2 @ q], axis=1)


# src/topics/math-foundations/information-theory.py:330
def test_hand_codes():
    p, q = np.array([1 / 2, 1 / 4, 1 / 4]), np.array([1 / 4, 1 / 4, 1 / 2])
    assert list(huffman_lengths(p)) == [1, 2, 2]
    assert list(huffman_lengths(q)) == [2, 2, 1]
    assert prefix_code(np.array([1, 2, 2])) == ["0", "10", "11"]
    assert abs(entropy(p) - 1.5 * np.log(2)) < 1e-12
    assert abs(p @ huffman_lengths(q) - 1.75) < 1e-12


# src/topics/math-foundations/information-theory.py:339
def test_entropy_is_scipys():
    from scipy import stats

    rng = np.random.default_rng(1)
    for trial in range(25):
        p = rng.dirichlet(np.full(rng.integers(1, 12), 0.3))
        p[p < 1e-3] = 0 if trial % 2 else p[p < 1e-3]
        p /= p.sum()
        assert abs(entropy(p) - stats.entropy(p)) < 1e-12
    assert entropy(np.array([1.0, 0.0])) == 0 and entropy(np.array([1.0])) == 0
    assert abs(entropy(np.full((3, 4), 1 / 12)) - np.log(12)) < 1e-12


# src/topics/math-foundations/information-theory.py:352
def test_huffman_is_within_a_bit_and_optimal():
    from itertools import product

    rng = np.random.default_rng(2)
    for _ in range(25):
        K = int(rng.integers(2, 30))
        p = rng.dirichlet(np.full(K, 0.4))
        l = huffman_lengths(p)
        assert l.shape == (K,) and abs((2.0**-l).sum() - 1) < 1e-12
        H = entropy(p) / np.log(2)
        assert H - 1e-12 <= p @ l < H + 1
        assert p @ l <= p @ np.ceil(-np.log2(p)) + 1e-12  # Shannon's code
    for _ in range(20):  # all codes of four symbols
        p = rng.dirichlet(np.ones(4))
        tries = (np.array(l) for l in product(range(1, 4), repeat=4))
        best = min(p @ l for l in tries if (2.0**-l).sum() <= 1)
        assert abs(p @ huffman_lengths(p) - best) < 1e-12
    assert list(huffman_lengths(np.array([1.0]))) == [0]


# src/topics/math-foundations/information-theory.py:372
def test_prefix_code_can_be_decoded():
    rng = np.random.default_rng(3)
    for _ in range(20):
        lengths = huffman_lengths(rng.dirichlet(np.ones(rng.integers(2, 20))))
        words = prefix_code(lengths)
        assert [len(word) for word in words] == list(lengths)
        assert not any(a != b and b.startswith(a) for a in words for b in words)
        assert len(set(words)) == len(words)
    assert prefix_code(np.array([3, 1])) == ["100", "0"]


# src/topics/math-foundations/information-theory.py:383
def test_arithmetic_coding_round_trip():
    rng = np.random.default_rng(4)
    for trial in range(20):
        K, T = int(rng.integers(1, 7)), int(rng.integers(1, 40))
        symbols = rng.integers(K, size=T).tolist()
        weights = [int(w) for w in rng.integers(1, 50, size=K)]

        def fixed(history):
            return [Fraction(w, sum(weights)) for w in weights]

        def learning(history):
            return after_last(history, K)

        predict = fixed if trial % 2 else learning
        bits = arithmetic_encode(symbols, predict)
        assert arithmetic_decode(bits, T, predict) == symbols
        loss = sum(-np.log2(float(predict(symbols[:t])[s]))
                   for t, s in enumerate(symbols))
        assert loss < len(bits) <= loss + 2 + 1e-9
        # every continuation of the bits stays inside the interval
        assert arithmetic_decode(bits + "1" * 30, T, predict) == symbols


# src/topics/math-foundations/information-theory.py:406
def test_after_last():
    assert after_last([], 3) == [Fraction(1, 3)] * 3
    want = [Fraction(1, 5), Fraction(3, 5), Fraction(1, 5)]
    assert after_last([0, 1, 0, 1, 2, 0], 3) == want


# src/topics/math-foundations/information-theory.py:412
def test_grams_and_adaptive_loss():
    rng = np.random.default_rng(5)
    for _ in range(20):
        K, T, n_max = int(rng.integers(1, 5)), int(rng.integers(1, 40)), 4
        x = rng.integers(K, size=T)
        q, losses = np.full(T, 1 / K), []
        for n, (ids, both, seen) in enumerate(grams(x, K, n_max), start=1):
            # contexts that reach over the start differ from all others
            at = [(min(t, n - 1), *x[max(0, t - n + 1):t]) for t in range(T)]
            full = [(a, s) for a, s in zip(at, x.tolist())]
            assert len(set(zip(ids.tolist(), full))) == len(set(full)) == len(set(ids))
            assert [full[:t].count(full[t]) for t in range(T)] == both.tolist()
            assert [at[:t].count(at[t]) for t in range(T)] == seen.tolist()
            q = (both + 3.0 * q) / (seen + 3.0)
            losses.append(-np.log(q).mean())
        assert np.allclose(adaptive_loss(x, K, n_max, beta=3.0), losses)


# src/topics/math-foundations/information-theory.py:430
def test_adaptive_model_is_a_distribution():
    # the probabilities of all texts of length 4 sum to one
    from itertools import product

    for n_max in (1, 2, 3):
        losses = [adaptive_loss(np.array(text), 3, n_max, 2.0)[-1] * 4
                  for text in product(range(3), repeat=4)]
        assert abs(np.exp(-np.array(losses)).sum() - 1) < 1e-12


# src/topics/math-foundations/information-theory.py:653
def test_hand_mutual_information():
    P = np.array([[1, 2, 1], [3, 0, 1]]) / 8
    assert abs(mutual_information(P) / np.log(2) - (3 / 8 * np.log2(3) - 1 / 4)) < 1e-12
    assert abs(conditional_entropy(P) - (entropy(P) - np.log(2))) < 1e-12


# src/topics/math-foundations/information-theory.py:659
def test_divergence_is_scipys_and_torchs():
    import torch
    from scipy import stats

    rng = np.random.default_rng(6)
    for _ in range(25):
        p, q = rng.dirichlet(np.ones(rng.integers(1, 12)), size=2)
        got = divergence(p, q)
        assert abs(got - stats.entropy(p, q)) < 1e-12 and got >= -1e-15
        want = torch.nn.functional.kl_div(*map(torch.from_numpy, (np.log(q), p)),
                                          reduction="sum")
        assert abs(got - float(want)) < 1e-12
        assert abs(got - (-(p * np.log(q)).sum() - entropy(p))) < 1e-12
    assert divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == np.log(2)
    assert divergence(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == np.inf


# src/topics/math-foundations/information-theory.py:676
def test_mutual_information_is_sklearns():
    from scipy import stats
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(7)
    for trial in range(25):
        m, k = rng.permutation(np.arange(1, 9))[:2]
        counts = rng.integers(0 if trial % 2 else 1, 9, size=(m, k))
        counts[0, 0] += 1
        P = counts / counts.sum()
        want = mutual_info_score(None, None, contingency=counts)
        assert abs(mutual_information(P) - want) < 1e-12
        p_x, p_y = P.sum(axis=1), P.sum(axis=0)
        want = stats.entropy(p_y) - sum(
            w * stats.entropy(row) for w, row in zip(p_x, P) if w > 0)
        assert abs(mutual_information(P) - want) < 1e-12
        want = sum(w * stats.entropy(row) for w, row in zip(p_x, P) if w > 0)
        assert abs(conditional_entropy(P) - want) < 1e-12


# src/topics/math-foundations/information-theory.py:696
def test_data_processing_inequality():
    rng = np.random.default_rng(8)
    for trial in range(30):
        m, k, c = rng.permutation(np.arange(2, 9))[:3]
        P, M = random_joint(rng, m, k, trial % 2), rng.dirichlet(np.ones(c), size=k)
        assert mutual_information(P @ M) <= mutual_information(P) + 1e-12
        p, q = rng.dirichlet(np.ones(k), size=2)
        assert divergence(p @ M, q @ M) <= divergence(p, q) + 1e-12
        relabel = np.eye(k)[rng.permutation(k)]  # invertible: nothing is lost
        assert abs(mutual_information(P @ relabel) - mutual_information(P)) < 1e-12


# src/topics/math-foundations/information-theory.py:708
def test_gaussian_divergence_is_torchs():
    import torch
    from torch.distributions import Normal, kl_divergence

    rng = np.random.default_rng(9)
    for _ in range(25):
        mu1, mu2 = rng.normal(size=(2, 5))
        sigma1, sigma2 = rng.uniform(0.2, 3, size=(2, 5))
        tensors = map(torch.from_numpy, (mu1, sigma1, mu2, sigma2))
        a, b, c, d = tensors
        want = kl_divergence(Normal(a, b), Normal(c, d)).numpy()
        got = gaussian_divergence(mu1, sigma1, mu2, sigma2)
        assert got.shape == (5,) and np.allclose(got, want, atol=1e-12)
    assert gaussian_divergence(1.0, 2.0, 1.0, 2.0) == 0


# src/topics/math-foundations/information-theory.py:724
def test_normal_and_both_directions():
    from scipy import stats

    rng = np.random.default_rng(10)
    y = np.linspace(-20, 20, 4001)
    for _ in range(20):
        mu, sigma = rng.normal(), rng.uniform(0.5, 2)
        assert np.allclose(normal(y, mu, sigma), stats.norm.pdf(y, mu, sigma))
        forward, reverse = both_directions(y, normal(y, 0.5, 1.5), mu, sigma)
        assert abs(forward - gaussian_divergence(0.5, 1.5, mu, sigma)) < 1e-6
        assert abs(reverse - gaussian_divergence(mu, sigma, 0.5, 1.5)) < 1e-6


# src/topics/math-foundations/information-theory.py:737
def test_jensen_shannon_is_scipys():
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(11)
    for _ in range(25):
        p, q = rng.dirichlet(np.full(rng.integers(1, 9), 0.5), size=2)
        got = jensen_shannon(p, q)
        assert abs(got - jensenshannon(p, q) ** 2) < 1e-12
        assert abs(got - jensen_shannon(q, p)) < 1e-15 and got <= np.log(2) + 1e-12
    assert abs(jensen_shannon(*np.eye(2)) - np.log(2)) < 1e-12


# src/topics/math-foundations/information-theory.py:955
def test_softmax_maximises_score_plus_entropy():
    import torch

    rng = np.random.default_rng(12)
    for scale in (1.0, 30.0, 1e4):
        s = scale * rng.normal(size=(5, 7))
        want = torch.from_numpy(s).softmax(dim=-1).numpy()
        assert np.allclose(softmax(s), want, atol=1e-12)
    for _ in range(20):
        s, tau = rng.normal(size=rng.integers(1, 8)), rng.uniform(0.2, 3)
        q = softmax(s / tau)
        best = q @ s + tau * entropy(q)
        for p in rng.dirichlet(np.ones(len(s)), size=20):
            gap = best - (p @ s + tau * entropy(p))
            assert abs(gap - tau * divergence(p, q)) < 1e-12


# src/topics/math-foundations/information-theory.py:972
def test_divergence_is_a_square_close_up():
    rng = np.random.default_rng(13)
    for _ in range(20):
        s = rng.normal(size=rng.integers(2, 8))
        delta, p = 1e-3 * rng.normal(size=len(s)), softmax(s)
        J = np.diag(p) - np.outer(p, p)
        exact = divergence(p, softmax(s + delta))
        assert abs(exact - delta @ J @ delta / 2) < 0.01 * exact
        f = p * (1 + delta) / (p * (1 + delta)).sum()
        square = ((f - p) ** 2 / p).sum() / 2
        assert abs(divergence(f, p) - square) < 0.01 * square


# src/topics/math-foundations/information-theory.py:985
def test_miller_madow():
    rng = np.random.default_rng(14)
    for K in (2, 5, 9):
        p = rng.dirichlet(np.full(K, 5.0))
        draws = rng.multinomial(200, p, size=4000)
        plug = np.array([entropy(c / 200) for c in draws]) - entropy(p)
        corrected = np.array([miller_madow(c) for c in draws]) - entropy(p)
        error = 4 * plug.std() / np.sqrt(4000)
        assert abs(plug.mean() + (K - 1) / 400) < error + 1e-4
        assert abs(corrected.mean()) < error + 2e-4
    assert miller_madow(np.array([7, 0, 0])) == 0  # one symbol seen
    assert abs(miller_madow(np.array([2, 2, 0])) - np.log(2) - 1 / 8) < 1e-12


# src/topics/math-foundations/information-theory.py:999
def test_letter_ids():
    got = letter_ids("It's  a\nZoo!")
    assert got.tolist() == [8, 19, 26, 18, 26, 0, 26, 25, 14, 14, 26]


# src/topics/math-foundations/information-theory.py:1004
def test_context_curves():
    from scipy import stats

    rng = np.random.default_rng(15)
    for _ in range(20):
        K, T = int(rng.integers(2, 5)), int(rng.integers(30, 80))
        x = rng.integers(K, size=T)
        curves = context_curves(x, K, 3, beta=2.0)
        assert curves.shape == (3, 3)
        first = stats.entropy(np.bincount(x), base=2)
        assert abs(curves[0, 0] - first) < 1e-12
        pairs = np.unique([(-1, x[0]), *zip(x, x[1:])], axis=0, return_counts=True)[1]
        both = stats.entropy(pairs, base=2)
        assert abs(curves[0, 1] - (both - first)) < 1e-12
        shift = (len(pairs) - len(set(x.tolist()))) / (2 * T * np.log(2))
        assert abs(curves[1, 1] - curves[0, 1] - shift) < 1e-12
        want = adaptive_loss(x, K, 3, 2.0) / np.log(2)
        assert np.allclose(curves[2], want, atol=1e-12)


# src/topics/math-foundations/information-theory.py:1140
def test_bits_per_byte():
    assert abs(bits_per_byte(2.0**6, 3.0) - 2) < 1e-12
    assert abs(bits_per_byte(np.e, 1.0) - 1 / np.log(2)) < 1e-12
    assert bits_per_byte(1.0, 4.0) == 0


# src/topics/math-foundations/information-theory.py:1165
def test_bad_news():
    P = bad_news()
    assert P.shape == (2, 2) and abs(P.sum() - 1) < 1e-12 and P.min() >= 0
    assert P[1].sum() > 0
    assert entropy(P[1] / P[1].sum()) > entropy(P.sum(axis=0)) + 1e-3
    assert conditional_entropy(P) <= entropy(P.sum(axis=0)) + 1e-12


# src/topics/math-foundations/information-theory.py:1199
def test_latent_penalty():
    import torch
    from torch.distributions import Normal, kl_divergence

    rng = np.random.default_rng(16)
    for _ in range(20):
        n, d = rng.permutation(np.arange(1, 8))[:2]
        mu, log_var = rng.normal(size=(2, n, d))
        leaves = [torch.tensor(a, requires_grad=True) for a in (mu, log_var)]
        sigma = (leaves[1] / 2).exp()
        standard = Normal(torch.zeros(n, d).double(), torch.ones(n, d).double())
        want = kl_divergence(Normal(leaves[0], sigma), standard).sum(dim=-1)
        want.sum().backward()
        kl, dmu, dlog_var = latent_penalty(mu, log_var)
        assert kl.shape == (n,) and np.allclose(kl, want.detach().numpy(), atol=1e-12)
        assert np.allclose(dmu, leaves[0].grad.numpy(), atol=1e-12)
        assert np.allclose(dlog_var, leaves[1].grad.numpy(), atol=1e-12)


# src/topics/math-foundations/information-theory.py:1236
def test_on_a_leash():
    rng = np.random.default_rng(17)
    for _ in range(20):
        K, beta = int(rng.integers(2, 8)), rng.uniform(0.1, 3)
        p_ref, r = rng.dirichlet(np.ones(K)), rng.normal(size=K)
        p = on_a_leash(p_ref, r, beta)
        best = p @ r - beta * divergence(p, p_ref)
        for rival in rng.dirichlet(np.ones(K), size=20):
            gap = best - (rival @ r - beta * divergence(rival, p_ref))
            assert abs(gap - beta * divergence(rival, p)) < 1e-10
    kept = on_a_leash(np.array([0.5, 0.0, 0.5]), np.array([1.0, 99.0, 1.0]), 1.0)
    assert np.allclose(kept, [0.5, 0, 0.5])  # what the reference never says stays so
    huge = on_a_leash(np.array([0.5, 0.5]), np.array([0.0, 5000.0]), 1.0)
    assert np.allclose(huge, [0, 1])


# src/topics/math-foundations/information-theory.py:1268
def test_loss_to_bits_per_byte():
    assert abs(loss_to_bits_per_byte(np.log(2), 8, "12345678") - 1) < 1e-12
    assert abs(loss_to_bits_per_byte(3.0, 4, "naïve café") - 1 / np.log(2)) < 1e-12
    assert abs(loss_to_bits_per_byte(2 * np.log(256), 1, "λ") - 8) < 1e-12


# src/topics/math-foundations/information-theory.py:1295
def test_estimator_moments():
    rng = np.random.default_rng(18)
    for _ in range(20):
        s = rng.normal(size=rng.integers(2, 9))
        q, p = softmax(s), softmax(s + 0.2 * rng.normal(size=len(s)))
        got = estimator_moments(p, q)
        assert got.shape == (3, 2)
        assert np.allclose(got[[0, 2], 0], divergence(q, p), atol=1e-12)
        assert got[2, 1] < got[0, 1]  # close by, k3 varies less
        x = rng.choice(len(q), size=20_000, p=q)
        k2 = np.log(p[x] / q[x]) ** 2 / 2
        assert abs(k2.mean() - got[1, 0]) < 6 * np.sqrt(got[1, 1] / 20_000) + 1e-12
        assert abs(k2.var() - got[1, 1]) < 0.3 * got[1, 1] + 1e-12
