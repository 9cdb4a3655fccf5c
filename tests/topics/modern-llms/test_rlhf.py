# Generated from src/topics/modern-llms/rlhf.py: edit that file, then run doit. digest:78693ebe7b7a91f4

"""Tests of modern-llms/rlhf: Reinforcement learning from human feedback."""

import copy
import numpy as np
import torch
from collections.abc import Callable
from itertools import product
from math import comb
from torch import Tensor, nn


# src/topics/modern-llms/rlhf.py:51
STRINGS = np.arange(1024)[:, None] >> np.arange(9, -1, -1) & 1  # (1024, 10), 0 opens


# src/topics/modern-llms/rlhf.py:54
def depth(y: np.ndarray) -> np.ndarray:
    """Brackets open after each of the tokens y (..., T)."""
    return np.cumsum(1 - 2 * y, axis=-1)


# src/topics/modern-llms/rlhf.py:59
def correct(y: np.ndarray) -> np.ndarray:
    """1.0 where the string y (..., T) is balanced, else 0.0: a verifiable reward."""
    d = depth(y)
    return ((d >= 0).all(axis=-1) & (d[..., -1] == 0)).astype(float)


# src/topics/modern-llms/rlhf.py:65
class Policy(nn.Module):
    """A language model over two tokens, with a value for each position."""

    def __init__(self, D: int = 24):
        super().__init__()
        self.E = nn.Embedding(3, D)  # token 2 is the start
        self.gru = nn.GRU(D, D, batch_first=True)
        self.head, self.value = nn.Linear(D, 2), nn.Linear(D, 1)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """log p of each token of y (B, T), and the values before it; both (B, T)."""
        past = torch.cat([torch.full_like(y[:, :1], 2), y[:, :-1]], dim=1)
        h, _ = self.gru(self.E(past))
        logp = self.head(h).log_softmax(dim=-1).gather(-1, y[..., None])
        return logp[..., 0], self.value(h)[..., 0]

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, T: int = 10) -> Tensor:
        """n strings (n, T), drawn token by token."""
        token, h, y = torch.full((n, 1), 2), None, []
        for _ in range(T):
            out, h = self.gru(self.E(token), h)
            p = self.head(out[:, 0]).softmax(dim=-1)
            token = torch.multinomial(p, 1, generator=rng)
            y.append(token)
        return torch.cat(y, dim=1)


# src/topics/modern-llms/rlhf.py:93
@torch.no_grad()
def exact(policy: Policy) -> np.ndarray:
    """Probability of each of the strings, (1024,)."""
    p = policy(torch.from_numpy(STRINGS))[0].sum(dim=1).exp().double().numpy()
    return p / p.sum()  # remove the rounding of float32


# src/topics/modern-llms/rlhf.py:100
def imitate(seed: int, n: int, mistakes: float = 0.1,
            steps: int = 150) -> tuple[Policy, np.ndarray]:
    """A policy trained to imitate n strings of a careless author, and the strings."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    right = STRINGS[correct(STRINGS) == 1]
    text = right[rng.integers(len(right), size=n)]
    text = np.where(rng.random(text.shape) < mistakes, 1 - text, text)
    policy = Policy()
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for _ in range(steps):
        y = torch.from_numpy(text[rng.integers(n, size=128)])
        loss = -policy(y)[0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return policy, text


# src/topics/modern-llms/rlhf.py:164
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/modern-llms/rlhf.py:171
def best_policy(p_ref: np.ndarray, r: np.ndarray, beta: float) -> np.ndarray:
    """The maximiser (K,) of reward minus beta times KL; p_ref (K,) positive, r (K,)."""
    return softmax(np.log(p_ref) + r / beta)


# src/topics/modern-llms/rlhf.py:176
def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats, for distributions (K,); q positive."""
    return float(p @ (np.log(np.maximum(p, 1e-300)) - np.log(q)))


# src/topics/modern-llms/rlhf.py:308
def fit_rewards(D: np.ndarray, ridge: float = 1.0, steps: int = 25) -> np.ndarray:
    """Weights w (d,) of r = phi @ w from D (n, d) = phi(winner) - phi(loser)."""
    w = np.zeros(D.shape[1])
    for _ in range(steps):  # minimise the sum of -log sigmoid(D @ w) + ridge/2 |w|^2
        lost = 1 / (1 + np.exp(np.clip(D @ w, -500, 500)))  # P(loser beats winner)
        gradient = ridge * w - lost @ D
        hessian = ridge * np.eye(len(w)) + (D.T * (lost * (1 - lost))) @ D
        w = w - np.linalg.solve(hessian, gradient)
    return w


# src/topics/modern-llms/rlhf.py:361
def reinforce_moments(theta: np.ndarray, r: np.ndarray, b: float) -> tuple:
    """Mean (K,) and total variance of (r - b) grad log pi(y), y drawn from pi."""
    pi = softmax(theta)
    g = (r - b)[:, None] * (np.eye(len(pi)) - pi)  # one row for each possible y
    mean = pi @ g
    return mean, float(pi @ ((g - mean) ** 2).sum(axis=1))


# src/topics/modern-llms/rlhf.py:436
def gae(r: Tensor, V: Tensor, gamma: float, lam: float) -> Tensor:
    """Advantages (B, T) of rewards r (B, T) and values V (B, T); nothing follows."""
    A, following = torch.zeros_like(r), torch.zeros_like(r[:, 0])
    V = torch.cat([V, torch.zeros_like(V[:, :1])], dim=1)
    for t in reversed(range(r.shape[1])):
        delta = r[:, t] + gamma * V[:, t + 1] - V[:, t]
        A[:, t] = following = delta + gamma * lam * following
    return A


# src/topics/modern-llms/rlhf.py:446
def clipped(rho: Tensor, A: Tensor, eps: float = 0.2) -> Tensor:
    """PPO's loss of each token, from the ratio rho (B, T) and advantage A (B, T)."""
    return -torch.minimum(rho * A, rho.clamp(1 - eps, 1 + eps) * A)


# src/topics/modern-llms/rlhf.py:451
def token_rewards(score, old: Tensor, log_ref: Tensor, beta: float) -> Tensor:
    """The price of moving at each token (B, T), and the score (B,) at the last."""
    r = -beta * (old - log_ref)
    r[:, -1] += torch.as_tensor(score, dtype=r.dtype)
    return r


# src/topics/modern-llms/rlhf.py:458
def train(ref: Policy, reward: Callable, beta: float, seed: int, method: str = "ppo",
          steps: int = 40, B: int = 128, G: int = 16,
          reuse: int = 3) -> tuple[Policy, np.ndarray]:
    """The trained policy, and its probabilities of all strings at each step."""
    rng = torch.Generator().manual_seed(seed)
    policy, history = copy.deepcopy(ref), []
    optimiser = torch.optim.Adam(policy.parameters(), lr=5e-3)
    for _ in range(steps):
        history.append(exact(policy))
        y = policy.sample(B, rng)
        with torch.no_grad():
            old, V = policy(y)
            log_ref, _ = ref(y)
        price = 0.0 if method.endswith("in the loss") else beta
        r = token_rewards(reward(y.numpy()), old, log_ref, price)
        if method == "group":  # group mean, deviation of the batch; no value
            total = r.sum(dim=1).view(-1, G)
            A = (total - total.mean(dim=1, keepdim=True)).view(-1, 1)
            A, target = (A / (A.std() + 1e-6)).expand(B, y.shape[1]), V
        else:
            A = gae(r, V, gamma=1.0, lam=0.95)
            A, target = (A - A.mean()) / (A.std() + 1e-6), A + V
        for _ in range(reuse):  # the same answers serve several steps
            new, value = policy(y)
            loss = clipped((new - old).exp(), A).mean()
            loss = loss + 0.5 * ((value - target) ** 2).mean()
            k = (new - log_ref).sum(dim=1)  # k1 of each answer: see failure mode 2
            if method == "k2 in the loss":
                k = (new - old).detach().sum(dim=1).exp() * k**2 / 2
            if method.endswith("in the loss"):
                loss = loss + beta * k.mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimiser.step()
    return policy, np.array(history + [exact(policy)])


# src/topics/modern-llms/rlhf.py:496
def entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in nats along the last axis."""
    return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)


# src/topics/modern-llms/rlhf.py:625
def group_advantages(r: np.ndarray, kind: str) -> np.ndarray:
    """Advantages of rewards r (..., G), G > 1, from their own group."""
    centred = r - r.mean(axis=-1, keepdims=True)
    if kind == "rloo":  # minus the mean of the others
        return centred * r.shape[-1] / (r.shape[-1] - 1)
    if kind == "grpo":
        return centred / (r.std(axis=-1, keepdims=True) + 1e-8)
    return centred  # "dr. grpo"


# src/topics/modern-llms/rlhf.py:635
def expected_update(theta: np.ndarray, r: np.ndarray, G: int, kind: str) -> np.ndarray:
    """Exact mean (K,) of the group's average of A_i grad log pi(y_i)."""
    pi = softmax(theta)
    groups = np.array(list(product(range(len(pi)), repeat=G)))  # (K^G, G)
    A = group_advantages(r[groups], kind)
    g = (A[..., None] * (np.eye(len(pi)) - pi)[groups]).mean(axis=1)
    return pi[groups].prod(axis=1) @ g


# src/topics/modern-llms/rlhf.py:710
def kl_estimators(logp: Tensor, log_ref: Tensor) -> Tensor:
    """k1, k2, k3 (3, ...) of samples from p, for KL(p || ref)."""
    log_q = log_ref - logp
    return torch.stack([-log_q, log_q**2 / 2, log_q.exp() - 1 - log_q])


# src/topics/modern-llms/rlhf.py:716
def estimator_gradients(theta: np.ndarray, theta_ref: np.ndarray) -> tuple:
    """Exact mean (3,), deviation (3,) and mean gradient (3, K), samples held fixed."""
    t = torch.tensor(theta, requires_grad=True)
    logp, log_ref = t.log_softmax(dim=0), torch.tensor(theta_ref).log_softmax(dim=0)
    k, p = kl_estimators(logp, log_ref), logp.exp().detach()
    gradients = [torch.autograd.grad(p @ row, t, retain_graph=True)[0] for row in k]
    mean = k.detach() @ p
    sd = ((k.detach() - mean[:, None]) ** 2 @ p).sqrt()
    return mean.numpy(), sd.numpy(), torch.stack(gradients).numpy()


# src/topics/modern-llms/rlhf.py:727
def kl_gradient(theta: np.ndarray, theta_ref: np.ndarray) -> np.ndarray:
    """Gradient (K,) of KL(pi || pi_ref) with respect to the logits of pi."""
    p, u = softmax(theta), np.log(softmax(theta)) - np.log(softmax(theta_ref))
    return p * (u - p @ u)


# src/topics/modern-llms/rlhf.py:785
def dpo_loss(logp_w, logp_l, ref_w, ref_l, beta: float) -> Tensor:
    """DPO's loss (n,) from the log-probabilities (n,) of winners and losers."""
    delta = (logp_w - ref_w) - (logp_l - ref_l)
    return -nn.functional.logsigmoid(beta * delta)


# src/topics/modern-llms/rlhf.py:791
def dpo_gradient(theta: np.ndarray, p_ref: np.ndarray, P: np.ndarray, beta: float):
    """Gradient (K,) of DPO's mean loss over all pairs; P[i, j] = P(i beats j)."""
    u = theta - np.log(p_ref)  # log-ratios, up to a constant
    wrong = P / (1 + np.exp(beta * (u[:, None] - u[None, :])))  # P times sigma(-b D)
    return -beta * (wrong.sum(axis=1) - wrong.sum(axis=0)) / len(theta) ** 2


# src/topics/modern-llms/rlhf.py:866
def quality(y: np.ndarray) -> np.ndarray:
    """True reward of y (..., T): minus steps below zero and half of what stays open."""
    d = depth(y)
    return -(np.maximum(-d, 0).sum(axis=-1) + np.abs(d[..., -1]) / 2)


# src/topics/modern-llms/rlhf.py:872
def features(y: np.ndarray, pairs: bool) -> np.ndarray:
    """Signs of the tokens y (n, T), and their products if `pairs`."""
    s = 1.0 - 2 * y
    i, j = np.triu_indices(y.shape[-1], 1)
    return np.concatenate([s, s[:, i] * s[:, j]], axis=1) if pairs else s


# src/topics/modern-llms/rlhf.py:888
def along(r: np.ndarray, p_ref: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True and learned reward (2, n) of best policies with sqrt(KL) on grid (n,)."""
    ps = np.array([best_policy(p_ref, r, b) for b in np.geomspace(300, 0.01, 140)])
    x = np.sqrt([divergence(p, p_ref) for p in ps])
    curves = [np.interp(grid, x, ps @ z, right=np.nan) for z in (quality(STRINGS), r)]
    return np.array(curves)


# src/topics/modern-llms/rlhf.py:1004
def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of P(one of k is right) from n samples, c of them right."""
    return 1 - comb(n - c, k) / comb(n, k)


# src/topics/modern-llms/rlhf.py:1009
def vote(p: np.ndarray, k: int, rng: np.random.Generator, tries: int = 4000) -> float:
    """How often answer 0 wins a vote of k draws from p (K,); ties are drawn."""
    counts = rng.multinomial(k, p, size=tries)
    tied = counts == counts.max(axis=1, keepdims=True)
    return float((tied[:, 0] / tied.sum(axis=1)).mean())


# src/topics/modern-llms/rlhf.py:1076
def memory(policy: float, value: float = 0, reward: float = 0) -> float:
    """Bytes for a trained policy and value, and a frozen reference and reward model."""
    return 16 * (policy + value) + 2 * (policy + reward)


# src/topics/modern-llms/rlhf.py:1212
def a_beats_c() -> float:
    """P(A beats C) by Bradley-Terry."""
    # r_A - r_B = log 3 and r_C - r_B = log(3/2), so r_A - r_C = log 2.
    return 2 / 3


# src/topics/modern-llms/rlhf.py:1235
def four_answers() -> np.ndarray:
    """Advantages (3, 4) of the rewards (1, 0, 0, 0)."""
    # The mean is 1/4 and the variance 3/16.
    s = np.sqrt(3)
    return np.array([[1, -1 / 3, -1 / 3, -1 / 3],
                     [3 / 4, -1 / 4, -1 / 4, -1 / 4],
                     [s, -1 / s, -1 / s, -1 / s]])


# src/topics/modern-llms/rlhf.py:1262
def best_of_n(p: np.ndarray, r: np.ndarray, n: int) -> np.ndarray:
    """Distribution (K,) of the best of n draws from p (K,); r (K,) all different."""
    order = np.argsort(r)
    F = np.cumsum(p[order])  # P(reward at most this one)
    below = np.concatenate([[0.0], F[:-1]])
    q = np.empty(len(p))
    q[order] = F**n - below**n
    return q


# src/topics/modern-llms/rlhf.py:1300
def dapo_loss(new: Tensor, old: Tensor, A: Tensor, mask: Tensor,
              low: float = 0.2, high: float = 0.28) -> Tensor:
    """Scalar loss from log-probabilities (B, T), advantages (B,) and mask (B, T)."""
    rho, A = (new - old).exp(), A[:, None]
    loss = -torch.minimum(rho * A, rho.clamp(1 - low, 1 + high) * A)
    return (loss * mask).sum() / mask.sum()


# src/topics/modern-llms/rlhf.py:1336
def naive_pass_at_k(p: float, n: int, k: int) -> float:
    """Mean of 1 - (1 - c/n)^k over c, the right ones of n samples."""
    chance = [comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    return sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(chance))


# src/topics/modern-llms/rlhf.py:1367
def token_weights(lengths: np.ndarray, fixed: int) -> np.ndarray:
    """Weights (3, G) of a token under GRPO, DAPO and Dr. GRPO; lengths (G,)."""
    G = len(lengths)
    return np.stack([1 / (G * lengths), np.full(G, 1 / lengths.sum()),
                     np.full(G, 1 / (G * fixed))])


# src/topics/modern-llms/rlhf.py:224
def test_correct_against_a_stack():
    for y in STRINGS[::7].tolist() + STRINGS[correct(STRINGS) == 1].tolist():
        stack, fine = [], True
        for token in y:
            if token == 0:
                stack.append(0)
            elif stack:
                stack.pop()
            else:
                fine = False
        assert correct(np.array(y)) == float(fine and not stack)
    assert correct(STRINGS).sum() == comb(10, 5) / 6  # the fifth Catalan number


# src/topics/modern-llms/rlhf.py:238
def test_policy_is_a_distribution():
    torch.manual_seed(3)
    policy = Policy(5)
    with torch.no_grad():
        total = policy(torch.from_numpy(STRINGS))[0].sum(dim=1).exp().sum()
        assert abs(float(total) - 1) < 1e-5
        y = torch.from_numpy(STRINGS[[5, 700]])
        changed = y.clone()
        changed[:, 6] = 1 - changed[:, 6]
        for a, b in zip(policy(y), policy(changed)):
            assert torch.equal(a[:, :6], b[:, :6])  # the past does not see it
        assert torch.equal(policy(y)[1][:, 6], policy(changed)[1][:, 6])
    drawn = policy.sample(4000, torch.Generator().manual_seed(0)).numpy()
    share = np.bincount(drawn @ (2 ** np.arange(9, -1, -1)), minlength=1024) / 4000
    first = np.array([share[:256].sum(), share[256:512].sum(), share[512:768].sum()])
    p = exact(policy)
    want = np.array([p[:256].sum(), p[256:512].sum(), p[512:768].sum()])
    assert np.abs(first - want).max() < 0.04


# src/topics/modern-llms/rlhf.py:258
def test_imitation_copies_the_corpus():
    policy, text = imitate(1, 300, mistakes=0.0, steps=40)
    p, ok = exact(policy), correct(STRINGS)
    assert text.shape == (300, 10) and (correct(text) == 1).all()
    assert p @ ok > 4 * ok.mean() and abs(p.sum() - 1) < 1e-9
    frequency = np.bincount(text @ (2 ** np.arange(9, -1, -1)), minlength=1024) / 300
    assert np.corrcoef(frequency, p)[0, 1] > 0.3


# src/topics/modern-llms/rlhf.py:267
def test_best_policy_beats_all_others():
    rng = np.random.default_rng(0)
    for _ in range(20):
        K, beta = int(rng.integers(2, 9)), rng.uniform(0.1, 3)
        p_ref, r = softmax(rng.normal(size=K)), 3 * rng.normal(size=K)
        best = best_policy(p_ref, r, beta)
        top = best @ r - beta * divergence(best, p_ref)
        log_z = np.log((p_ref * np.exp(r / beta)).sum())
        assert abs(top - beta * log_z) < 1e-9
        for size in (0.01, 1.0):
            p = softmax(np.log(best + 1e-300) + size * rng.normal(size=K))
            assert p @ r - beta * divergence(p, p_ref) <= top + 1e-12
    huge = best_policy(np.array([0.5, 0.5]), np.array([1e6, 0.0]), 0.1)
    assert np.allclose(huge, [1, 0])


# src/topics/modern-llms/rlhf.py:320
def test_fit_rewards_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    for _ in range(20):
        n, d = int(rng.integers(30, 80)), int(rng.integers(1, 7))
        ridge = rng.uniform(0.3, 3)
        a, b = rng.normal(size=(2, n, d))
        win = rng.random(n) < 1 / (1 + np.exp(-(a - b) @ rng.normal(size=d)))
        D = np.where(win[:, None], a - b, b - a)
        model = LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10,
                                   max_iter=1000).fit(a - b, win)
        assert np.allclose(fit_rewards(D, ridge), model.coef_[0], atol=1e-4)
    hand = np.array([[1, -1, 0], [-1, 1, 0], [0, 1, -1], [0, -1, 1]])
    hand = np.repeat(hand, [3, 1, 2, 1], axis=0)
    w = fit_rewards(hand.astype(float), ridge=1e-6)
    assert np.allclose(w - w[2], np.log([6, 2, 1]), atol=1e-4)


# src/topics/modern-llms/rlhf.py:383
def test_policy_gradient_is_unbiased():
    rng = np.random.default_rng(2)
    for _ in range(20):
        K = int(rng.integers(2, 8))
        theta, r = rng.normal(size=K), 3 * rng.normal(size=K)
        t = torch.tensor(theta, requires_grad=True)
        (t.softmax(dim=0) @ torch.tensor(r)).backward()
        for b in (0.0, 5.0, rng.normal()):
            mean, variance = reinforce_moments(theta, r, b)
            assert np.allclose(mean, t.grad.numpy(), atol=1e-12)
            p = t.detach().softmax(dim=0).numpy()
            length = 1 - 2 * p + p @ p  # of each row of grad log pi, squared
            assert np.isclose(variance, p @ ((r - b) ** 2 * length) - mean @ mean)
    one, _ = reinforce_moments(np.array([50.0, 0.0]), np.ones(2), 0.0)
    assert np.allclose(one, 0)


# src/topics/modern-llms/rlhf.py:540
def test_gae_is_its_definition():
    rng = np.random.default_rng(3)
    for _ in range(20):
        B, n = int(rng.integers(1, 5)), int(rng.integers(1, 8))
        gamma, lam = rng.uniform(0, 1, size=2)
        r, V = rng.normal(size=(2, B, n))
        V1 = np.column_stack([V[:, 1:], np.zeros(B)])
        delta = r + gamma * V1 - V
        want = [[sum((gamma * lam) ** l * delta[b, t + l] for l in range(n - t))
                 for t in range(n)] for b in range(B)]
        r_t, V_t = torch.from_numpy(r), torch.from_numpy(V)
        assert np.allclose(gae(r_t, V_t, gamma, lam).numpy(), want, atol=1e-12)
        to_go = r[:, ::-1].cumsum(axis=1)[:, ::-1]
        assert np.allclose(gae(r_t, V_t, 1.0, 1.0).numpy(), to_go - V, atol=1e-12)
        assert np.allclose(gae(r_t, V_t, gamma, 0.0).numpy(), delta, atol=1e-12)


# src/topics/modern-llms/rlhf.py:557
def test_clipped_and_its_gradient():
    rng = np.random.default_rng(4)
    for _ in range(20):
        shape, eps = tuple(rng.integers(1, 7, size=2)), rng.uniform(0.05, 0.4)
        rho, A = rng.uniform(0.3, 2, size=shape), rng.normal(size=shape)
        t = torch.tensor(rho, requires_grad=True)
        loss = clipped(t, torch.tensor(A), eps)
        want = np.where(A > 0, np.minimum(rho, 1 + eps), np.maximum(rho, 1 - eps)) * A
        assert np.allclose(loss.detach().numpy(), -want, atol=1e-12)
        loss.sum().backward()
        dead = ((A > 0) & (rho > 1 + eps)) | ((A < 0) & (rho < 1 - eps))
        assert np.allclose(t.grad.numpy(), np.where(dead, 0.0, -A), atol=1e-12)
    far, one = torch.tensor([0.1, 9.0]), torch.ones(2)
    assert torch.allclose(clipped(far, one), torch.tensor([-0.1, -1.2]))
    assert torch.allclose(clipped(far, -one), torch.tensor([0.8, 9.0]))


# src/topics/modern-llms/rlhf.py:574
def test_token_rewards_sum_to_the_objective():
    rng = np.random.default_rng(5)
    for _ in range(20):
        B, n, beta = int(rng.integers(1, 5)), int(rng.integers(1, 8)), rng.uniform(0, 2)
        old, log_ref = -rng.random(size=(2, B, n))
        score = rng.normal(size=B)
        r = token_rewards(score, torch.tensor(old), torch.tensor(log_ref), beta).numpy()
        want = score - beta * (old.sum(axis=1) - log_ref.sum(axis=1))
        assert r.shape == (B, n) and np.allclose(r.sum(axis=1), want, atol=1e-12)


# src/topics/modern-llms/rlhf.py:585
def test_training_raises_the_reward():
    torch.manual_seed(19)
    start, zeros = Policy(8), (STRINGS == 0).mean(axis=1)
    for method in ("ppo", "group"):
        policy, history = train(start, lambda y: (y == 0).mean(axis=-1), 0.01, 0, method,
                                steps=12, B=64)
        assert history.shape == (13, 1024) and np.allclose(history.sum(axis=1), 1)
        assert np.allclose(history[0], exact(start), atol=1e-7)
        assert np.allclose(history[-1], exact(policy), atol=1e-7)
        assert history[-1] @ zeros > history[0] @ zeros + 0.1
    kl = {method: divergence(train(start, lambda y: (y == 0).mean(axis=-1), 0.5, 0,
                                   method, steps=12, B=64)[1][-1], history[0])
          for method in ("ppo", "k1 in the loss", "k2 in the loss")}
    assert max(kl["ppo"], kl["k2 in the loss"]) < kl["k1 in the loss"] / 2
    policy, _ = train(start, lambda y: np.ones(len(y)), 0.0, 0, steps=20, B=32)
    with torch.no_grad():
        value = policy(torch.from_numpy(STRINGS[::64]))[1].mean()
    assert abs(float(value) - 1) < 0.25  # the value learns a constant reward
    assert abs(entropy(np.full(8, 1 / 8)) - np.log(8)) < 1e-12
    assert entropy(np.eye(3)).tolist() == [0, 0, 0]


# src/topics/modern-llms/rlhf.py:668
def test_group_updates():
    rng = np.random.default_rng(6)
    for _ in range(20):
        K, G = int(rng.integers(2, 5)), int(rng.integers(2, 5))
        theta, r = rng.normal(size=K), rng.normal(size=K)
        t = torch.tensor(theta, requires_grad=True)
        (t.softmax(dim=0) @ torch.tensor(r)).backward()
        true = t.grad.numpy()
        assert np.allclose(expected_update(theta, r, G, "rloo"), true, atol=1e-12)
        shrunk = expected_update(theta, r, G, "dr. grpo")
        assert np.allclose(shrunk, true * (G - 1) / G, atol=1e-12)
        group = rng.normal(size=(3, G))
        loop = [[a[i] - np.delete(a, i).mean() for i in range(G)] for a in group]
        assert np.allclose(group_advantages(group, "rloo"), loop)
        A = group_advantages(group, "grpo")
        assert np.allclose(A.mean(axis=1), 0)
        assert np.allclose(A.std(axis=1), 1, atol=1e-6)
    assert np.allclose(group_advantages(np.ones((2, 5)), "grpo"), 0)


# src/topics/modern-llms/rlhf.py:742
def test_gradients_of_the_estimators():
    rng = np.random.default_rng(7)
    for _ in range(20):
        K = int(rng.integers(2, 9))
        theta, theta_ref = rng.normal(size=(2, K))
        p, p_ref = softmax(theta), softmax(theta_ref)
        mean, sd, g = estimator_gradients(theta, theta_ref)
        kl = divergence(p, p_ref)
        assert np.allclose(mean[[0, 2]], kl, atol=1e-12) and (sd >= 0).all()
        t = torch.tensor(theta, requires_grad=True)
        logp, log_ref = t.log_softmax(dim=0), torch.tensor(theta_ref).log_softmax(dim=0)
        right, = torch.autograd.grad((logp.exp() * (logp - log_ref)).sum(), t,
                                     retain_graph=True)
        other, = torch.autograd.grad((log_ref.exp() * (log_ref - logp)).sum(), t)
        assert np.allclose(kl_gradient(theta, theta_ref), right.numpy(), atol=1e-12)
        assert np.allclose(g[0], 0, atol=1e-12)
        assert np.allclose(g[1], right.numpy(), atol=1e-12)
        assert np.allclose(g[2], other.numpy(), atol=1e-12)
    same = estimator_gradients(theta, theta + 3.0)
    assert all(np.allclose(x, 0) for x in same)


# src/topics/modern-llms/rlhf.py:807
def test_dpo_finds_the_best_policy():
    rng = np.random.default_rng(8)
    for _ in range(20):
        K, beta = int(rng.integers(2, 6)), rng.uniform(0.2, 2)
        p_ref, r = softmax(rng.normal(size=K)), rng.normal(size=K)
        P = 1 / (1 + np.exp(r[None, :] - r[:, None]))
        theta = np.log(p_ref)
        for _ in range(800):
            theta = theta - K / beta**2 * dpo_gradient(theta, p_ref, P, beta)
        assert np.allclose(softmax(theta), best_policy(p_ref, r, beta), atol=1e-6)


# src/topics/modern-llms/rlhf.py:819
def test_dpo_gradient_is_autograd():
    rng = np.random.default_rng(9)
    for _ in range(20):
        K, beta = int(rng.integers(2, 7)), rng.uniform(0.2, 2)
        theta, log_ref = rng.normal(size=K), np.log(softmax(rng.normal(size=K)))
        P = rng.random((K, K))
        t = torch.tensor(theta, requires_grad=True)
        logp, refs = t.log_softmax(dim=0), torch.tensor(log_ref)
        i, j = (torch.tensor(x.ravel()) for x in np.indices((K, K)))
        loss = dpo_loss(logp[i], logp[j], refs[i], refs[j], beta)
        (torch.tensor(P.ravel()) * loss).mean().backward()
        got = dpo_gradient(theta, np.exp(log_ref), P, beta)
        assert np.allclose(got, t.grad.numpy(), atol=1e-12)
        delta = (theta - log_ref)[:, None] - (theta - log_ref)[None, :]
        want = np.log1p(np.exp(-beta * delta)).ravel()
        assert np.allclose(loss.detach().numpy(), want, atol=1e-12)


# src/topics/modern-llms/rlhf.py:947
def test_quality_and_features():
    assert (quality(STRINGS)[correct(STRINGS) == 1] == 0).all()
    assert (quality(STRINGS)[correct(STRINGS) == 0] < 0).all()
    assert quality(np.zeros(10, dtype=int)) == -5 and quality(np.array([1, 0])) == -1
    y = np.array([[0, 1, 1]])
    assert features(y, True).tolist() == [[1, -1, -1, -1, -1, 1]]
    assert features(y, False).shape == (1, 3)


# src/topics/modern-llms/rlhf.py:956
def test_learned_reward_rises_along_the_path():
    rng = np.random.default_rng(10)
    p_ref = softmax(rng.normal(size=1024))
    for seed in range(3):
        r = features(STRINGS, True) @ rng.normal(size=55)
        true, learned = along(r, p_ref, np.linspace(0.05, 1.5, 9))
        assert (np.diff(learned) > 0).all() and true.shape == (9,)


# src/topics/modern-llms/rlhf.py:1040
def test_pass_at_k_is_unbiased():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n = int(rng.integers(1, 9))
        k, p = int(rng.integers(1, n + 1)), rng.random()
        mean = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k)
                   for c in range(n + 1))
        assert abs(mean - (1 - (1 - p) ** k)) < 1e-12
    assert pass_at_k(5, 0, 3) == 0 and pass_at_k(5, 3, 3) == 1


# src/topics/modern-llms/rlhf.py:1051
def test_vote():
    rng = np.random.default_rng(13)
    for k in (1, 3, 7):
        most = range(k // 2 + 1, k + 1)
        want = sum(comb(k, c) * 0.6**c * 0.4 ** (k - c) for c in most)
        assert abs(vote(np.array([0.6, 0.4]), k, rng, 40_000) - want) < 0.015
    assert abs(vote(np.array([0.5, 0.5]), 2, rng, 40_000) - 0.5) < 0.015  # ties


# src/topics/modern-llms/rlhf.py:1089
def test_memory():
    assert memory(1) == 18 and memory(0, 1) == 16 and memory(0, 0, 1) == 2


# src/topics/modern-llms/rlhf.py:1221
def test_a_beats_c():
    D = np.array([[1.0, -1, 0], [-1, 1, 0], [0, -1, 1], [0, 1, -1]])
    w = fit_rewards(np.repeat(D, [3, 1, 3, 2], axis=0), ridge=1e-7)
    assert abs(a_beats_c() - 1 / (1 + np.exp(w[2] - w[0]))) < 1e-4


# src/topics/modern-llms/rlhf.py:1247
def test_four_answers():
    r = np.array([1.0, 0.0, 0.0, 0.0])
    want = [group_advantages(r, kind) for kind in ("rloo", "dr. grpo", "grpo")]
    assert np.allclose(four_answers(), want, atol=1e-6)


# src/topics/modern-llms/rlhf.py:1275
def test_best_of_n():
    rng = np.random.default_rng(15)
    for _ in range(20):
        K, n = int(rng.integers(2, 5)), int(rng.integers(1, 5))
        p, r = softmax(rng.normal(size=K)), rng.normal(size=K)
        want = np.zeros(K)
        for draw in product(range(K), repeat=n):
            want[max(draw, key=lambda i: r[i])] += p[list(draw)].prod()
        q = best_of_n(p, r, n)
        assert np.allclose(q, want, atol=1e-12)
        assert divergence(q, p) <= np.log(n) - (n - 1) / n + 1e-9


# src/topics/modern-llms/rlhf.py:1311
def test_dapo_loss():
    rng = np.random.default_rng(16)
    for _ in range(20):
        B, n = int(rng.integers(1, 5)), int(rng.integers(2, 8))
        new, old = -rng.random((2, B, n)) * 2
        A, length = rng.normal(size=B), rng.integers(1, n + 1, size=B)
        mask = (np.arange(n) < length[:, None]).astype(float)
        total = 0.0
        for b in range(B):
            for t in range(length[b]):
                rho = np.exp(new[b, t] - old[b, t])
                total -= A[b] * (min(rho, 1.28) if A[b] > 0 else max(rho, 0.8))
        got = dapo_loss(*map(torch.tensor, (new, old, A, mask)))
        assert abs(float(got) - total / length.sum()) < 1e-12


# src/topics/modern-llms/rlhf.py:1345
def test_naive_pass_at_k():
    rng = np.random.default_rng(17)
    for n, k, p in ((1, 1, 0.3), (4, 2, 0.5), (10, 5, 0.1), (6, 6, 0.9)):
        c = rng.binomial(n, p, size=200_000)
        got = naive_pass_at_k(p, n, k)
        assert abs(got - (1 - (1 - c / n) ** k).mean()) < 0.005
        assert got <= 1 - (1 - p) ** k + 1e-12


# src/topics/modern-llms/rlhf.py:1377
def test_token_weights():
    rng = np.random.default_rng(18)
    for _ in range(20):
        lengths, fixed = rng.integers(1, 50, size=rng.integers(2, 7)), 64
        losses = [rng.normal(size=n) for n in lengths]
        W = token_weights(lengths, fixed)
        want = [np.mean([x.mean() for x in losses]), np.concatenate(losses).mean(),
                np.mean([x.sum() / fixed for x in losses])]
        got = [sum(w * x.sum() for w, x in zip(row, losses)) for row in W]
        assert np.allclose(got, want, atol=1e-12)
