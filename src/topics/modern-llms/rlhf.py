# ---
# title: Reinforcement learning from human feedback
# summary: From preferences and checkable answers to a policy that scores well.
# prerequisites:
#   - modern-llms/pretraining: a language model as a distribution over texts, sampled token by token and trained by cross-entropy
# packages: [numpy, matplotlib, torch, scikit-learn]
# ---

# %% [markdown]
# # Reinforcement learning from human feedback
#
# $$
# \boxed{
# \begin{aligned}
# &\max_\theta \, \mathbb{E}_{y \sim \pi_\theta}\left[r(y)\right] - \beta \, \text{KL}(\pi_\theta \,\Vert\, \pi_\text{ref}) \\
# &\pi^\ast(y) = \frac{1}{Z} \, \pi_\text{ref}(y) \, e^{r(y)/\beta}
# \end{aligned}
# }
# $$
#
# The *policy* $\pi_\theta$ is a language model with parameters $\theta$, and $y$ an answer it writes; everything is conditional on a prompt $x$, left out where it does not matter.
# The *reward* $r(y)$ is one number: how good the answer is.
# The *reference* $\pi_\text{ref}$ is the model before this training (as a rule the one that [instruction tuning](instruction-tuning.py) left), [KL](../math-foundations/information-theory.py#which-way-round) measures how far the policy has moved from it, and $\beta \gt 0$ is the price of moving.
# $\pi^\ast$ is the best policy of all, and $Z$ makes it sum to one.
#
# Next-token training imitates; this objective, called RLHF when people judge the answers, lets a model become better than its examples, and in 2026 it is how assistants are made helpful and how models are taught to reason [@ouyang2022training; @deepseek2025r1].

# %% [markdown]
# ## 1. Core concept: score, do not copy
#
# ### Imitation copies the mistakes
#
# Take the smallest language with a rule: strings of ten brackets, correct when every bracket closes.
# There are 1,024 strings, so we can compute *exact* probabilities where others must sample.
# The corpus is written by a careless author, who flips each bracket of a correct string with probability 0.1.
# A recurrent network (a [GRU](../architectures/lstms.py#a-small-sibling-the-gru)) learns it by cross-entropy, as in [pretraining](pretraining.py), and writes as a [GPT](../transformers/gpt.py) does: score, draw, append.

# %%
import copy
from collections.abc import Callable
from itertools import product
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

torch.set_num_threads(1)
T = 10  # brackets in a string
STRINGS = np.arange(1024)[:, None] >> np.arange(9, -1, -1) & 1  # (1024, 10), 0 opens


def depth(y: np.ndarray) -> np.ndarray:
    """Brackets open after each of the tokens y (..., T)."""
    return np.cumsum(1 - 2 * y, axis=-1)


def correct(y: np.ndarray) -> np.ndarray:
    """1.0 where the string y (..., T) is balanced, else 0.0: a verifiable reward."""
    d = depth(y)
    return ((d >= 0).all(axis=-1) & (d[..., -1] == 0)).astype(float)


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


@torch.no_grad()
def exact(policy: Policy) -> np.ndarray:
    """Probability of each of the strings, (1024,)."""
    p = policy(torch.from_numpy(STRINGS))[0].sum(dim=1).exp().double().numpy()
    return p / p.sum()  # remove the rounding of float32


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


ref, text = imitate(0, 4000)
p_ref, ok = exact(ref), correct(STRINGS)
print(f"{ok.sum():.0f} of {len(ok)} strings are correct")
print(f"correct in the corpus {correct(text).mean():.1%}, "
      f"in what the model writes {p_ref @ ok:.1%}")

# %% [markdown]
# **What the code shows:** the better the model, the closer it comes to the author's `{python} f"{correct(text).mean():.0%}"`, and it should not exceed it: copying mistakes is what the loss asks for.
# [Instruction tuning](instruction-tuning.py) has the same ceiling.
# Yet a correct string is easy to *recognise*.
# The idea of this topic: let the model write, score what it wrote, and make good answers more probable.
#
# ### Where the score comes from
#
# A program can check brackets, sums or unit tests: a *verifiable reward*.
# For "which summary is better?" there is no program, but people find it easier to compare two answers than to grade one [@christiano2017deep].
# The Bradley–Terry model [@bradley1952rank] turns comparisons into scores: with $\sigma(z) = 1/(1 + e^{-z})$,
#
# $$
# \begin{aligned}
# P(y_w \succ y_l) &= \sigma\left(r(y_w) - r(y_l)\right), \\
# L(r) &= -\frac{1}{N} \sum_{i=1}^{N} \log \sigma\left(r(y_w^{(i)}) - r(y_l^{(i)})\right)
# \end{aligned}
# $$
#
# **What this means:** $y_w$ won and $y_l$ lost.
# Only differences of rewards matter, so a constant can be added freely.
# A *reward model* is a network with one output trained by $L$, usually the language model itself with a new head [@stiennon2020learning].
# InstructGPT was made in three steps: imitate demonstrations, fit a reward model to comparisons, maximise its score; people preferred the answers of its version with 1.3 billion parameters to those of GPT-3 with 175 billion [@ouyang2022training].
#
# ### By hand
#
# Answer A beats B in three of four comparisons: $r_A - r_B = \log 3$, since $\sigma(\log 3) = 3/4$.
# B beats C in two of three: $r_B - r_C = \log 2$.
# With $r_C = 0$ the rewards are $(\log 6, \log 2, 0)$, and A should beat C with probability $6/7$, though nobody compared them.
#
# The reference gives A, B, C the probabilities $(0.1, 0.3, 0.6)$: it likes the worst best.
# Take $\beta = 1$.
# Then $e^{r/\beta} = (6, 2, 1)$, the products are $(0.6, 0.6, 0.6)$, and $\pi^\ast = (1/3, 1/3, 1/3)$.
# At a lower price, which people call a looser *leash*, $\beta = 1/2$, the exponentials are squared, $(36, 4, 1)$; the products $(3.6, 1.2, 0.6)$ give $(2/3, 2/9, 1/9)$.
#
# ### In code

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def best_policy(p_ref: np.ndarray, r: np.ndarray, beta: float) -> np.ndarray:
    """The maximiser (K,) of reward minus beta times KL; p_ref (K,) positive, r (K,)."""
    return softmax(np.log(p_ref) + r / beta)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats, for distributions (K,); q positive."""
    return float(p @ (np.log(np.maximum(p, 1e-300)) - np.log(q)))


r_hand, ref_hand = np.log([6.0, 2.0, 1.0]), np.array([0.1, 0.3, 0.6])
tight, loose = (best_policy(ref_hand, r_hand, beta) for beta in (1.0, 0.5))
assert np.isclose(1 / (1 + np.exp(r_hand[2] - r_hand[0])), 6 / 7)
assert np.allclose(tight, 1 / 3) and np.allclose(loose, [2 / 3, 2 / 9, 1 / 9])
assert np.isclose(tight @ r_hand - divergence(tight, ref_hand), np.log(1.8))
print("beta 1:  ", tight.round(4))
print("beta 0.5:", loose.round(4))

# %% [markdown]
# Now the same for the strings, with reward 1 for a correct one.
# The *effective number* of strings is $e^{H}$, with $H$ the [entropy](../math-foundations/information-theory.py#surprisal-and-entropy): the number of equally likely strings with the same entropy.

# %%
#| label: fig-leash
#| fig-cap: The best policy for the bracket reward, exactly, at each price of moving. Left, share of correct strings; right, effective number of different strings, with the 42 correct ones dotted.
#| fig-alt: As the price falls, the share of correct strings climbs to one, while the effective number of strings falls and levels off at about forty-two.
betas = np.geomspace(0.02, 3, 60)
sweep = np.array([best_policy(p_ref, ok, beta) for beta in betas])  # (60, 1024)
number = np.exp(-(sweep * np.log(sweep + 1e-300)).sum(axis=1))
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.7))
left.semilogx(betas, sweep @ ok)
left.set(xlabel=r"price $\beta$", ylabel="correct", ylim=(0, 1.05))
right.semilogx(betas, number, "--")
right.axhline(42, color="0.5", linestyle=":")
right.set(xlabel=r"price $\beta$", ylabel="effective number of strings", ylim=(0, None))

# %% [markdown]
# In @fig-leash the best policy drops what is wrong and keeps the variety of what is right: among correct strings the factor $e^{1/\beta}$ is the same, so their proportions do not change.
# Note what it does *not* do: it never invents a string that the reference gives no chance.
# An optimum is not an algorithm: real answers cannot be enumerated, so Section 2 climbs towards it with samples.
#
# | name | symbol | shape |
# |---|---|---|
# | answers | $y$ | $(B, T)$ |
# | log-probabilities of their tokens | $\log \pi_\theta(y_t \mid y_{\lt t})$ | $(B, T)$ |
# | reward of an answer | $r(y)$ | $(B,)$ |
# | reward per token, advantage | $r_t$, $A_t$ | $(B, T)$ |
# | value | $V_t$ | $(B, T)$, with $V = 0$ after the end |
# | group of answers to one prompt | $G$ answers | $(B/G, G)$ |
#
# If you stop here, you have the picture: *write, score, reinforce, and stay close to where you started*.

# %% tags=["test"]
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


def test_imitation_copies_the_corpus():
    policy, text = imitate(1, 300, mistakes=0.0, steps=40)
    p, ok = exact(policy), correct(STRINGS)
    assert text.shape == (300, 10) and (correct(text) == 1).all()
    assert p @ ok > 4 * ok.mean() and abs(p.sum() - 1) < 1e-9
    frequency = np.bincount(text @ (2 ** np.arange(9, -1, -1)), minlength=1024) / 300
    assert np.corrcoef(frequency, p)[0, 1] > 0.3


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


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Why that policy is the best
#
# Both terms are means under $\pi$. Write $r = \beta \log e^{r/\beta}$, and they fit into one logarithm:
#
# $$
# \begin{aligned}
# &\mathbb{E}_\pi[r] - \beta \, \text{KL}(\pi \,\Vert\, \pi_\text{ref}) \\
# &\quad = -\beta \, \mathbb{E}_\pi\left[\log \frac{\pi(y)}{\pi_\text{ref}(y) e^{r(y)/\beta}}\right] \\
# &\quad = \beta \log Z - \beta \, \text{KL}(\pi \,\Vert\, \pi^\ast)
# \end{aligned}
# $$
#
# **What this means:** with $Z = \sum_y \pi_\text{ref}(y) e^{r(y)/\beta}$ the fraction is $\pi / (\pi^\ast Z)$.
# A [divergence](../math-foundations/information-theory.py#codes) is never negative and zero only for equal distributions, so $\pi^\ast$ is the one best policy.
#
# ### A reward model is a logistic regression
#
# If $r(y) = \phi(y) \cdot w$ with features $\phi(y) \in \mathbb{R}^d$, the loss $L$ is that of a [logistic regression](../math-foundations/optimization.py#convexity) on *differences* of features, without an intercept.
# It is convex, and Newton's method needs a few steps.


# %%
def fit_rewards(D: np.ndarray, ridge: float = 1.0, steps: int = 25) -> np.ndarray:
    """Weights w (d,) of r = phi @ w from D (n, d) = phi(winner) - phi(loser)."""
    w = np.zeros(D.shape[1])
    for _ in range(steps):  # minimise the sum of -log sigmoid(D @ w) + ridge/2 |w|^2
        lost = 1 / (1 + np.exp(np.clip(D @ w, -500, 500)))  # P(loser beats winner)
        gradient = ridge * w - lost @ D
        hessian = ridge * np.eye(len(w)) + (D.T * (lost * (1 - lost))) @ D
        w = w - np.linalg.solve(hessian, gradient)
    return w


# %% tags=["test"]
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


# %% [markdown]
# ### The policy gradient
#
# The expectation depends on $\theta$ through what is sampled, and drawing a token has no derivative.
# [As in calculus](../math-foundations/calculus.py#integrals-as-far-as-expectation-needs-them), use $\nabla \pi = \pi \nabla \log \pi$ [@williams1992simple]:
#
# $$
# \begin{aligned}
# \nabla_\theta \, \mathbb{E}_{y \sim \pi_\theta}[r(y)]
# &= \sum_y r(y) \, \pi_\theta(y) \, \nabla \log \pi_\theta(y) \\
# &= \mathbb{E}\left[(r(y) - b) \, \nabla \log \pi_\theta(y)\right]
# \end{aligned}
# $$
#
# **What this means:** sample, and raise the log-probability of what you sampled, in proportion to its reward.
# The reward is never differentiated: a person or a compiler will do.
# Any *baseline* $b$ that does not depend on $y$ changes nothing on average, because $\sum_y \pi \nabla \log \pi = \nabla \sum_y \pi = 0$.
# It changes the variance.
# For a softmax over $K$ answers, $\nabla \log \pi(y)$ is the one-hot row of $y$ minus $\pi$, and we can enumerate.


# %%
def reinforce_moments(theta: np.ndarray, r: np.ndarray, b: float) -> tuple:
    """Mean (K,) and total variance of (r - b) grad log pi(y), y drawn from pi."""
    pi = softmax(theta)
    g = (r - b)[:, None] * (np.eye(len(pi)) - pi)  # one row for each possible y
    mean = pi @ g
    return mean, float(pi @ ((g - mean) ** 2).sum(axis=1))


theta = np.array([0.5, 0.0, -0.5, 0.2, 0.1])
rewards = np.array([10.0, 11.0, 10.0, 12.0, 10.5])  # all positive
pi, variances = softmax(theta), []
for name, b in (("no baseline", 0.0), ("mean reward", pi @ rewards)):
    mean, variance = reinforce_moments(theta, rewards, b)
    variances.append(variance)
    print(f"{name}: mean gradient {mean.round(3)}, variance {variance:.2f}")

# %% [markdown]
# **What the code shows:** the same gradient, with a variance `{python} f"{variances[0] / variances[1]:.0f}"` times smaller.
# Without a baseline every sampled answer is pushed up, good or bad, and only the average sorts them out.
# $A = r - b$ is called the *advantage*: better than expected, or worse?

# %% tags=["test"]
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


# %% [markdown]
# ### PPO: credit, clip, leash
#
# Proximal policy optimisation [@schulman2017proximal] adds three things.
#
# **Credit.** The reward arrives at the end; which token earned it?
# Learn a value $V_t$, the expected reward from here on, and call $\delta_t = r_t + \gamma V_{t+1} - V_t$ the *surprise* of token $t$.
# Generalised advantage estimation (GAE) sums discounted surprises [@schulman2016high]:
#
# $$
# A_t = \sum_{l \ge 0} (\gamma \lambda)^l \, \delta_{t+l} = \delta_t + \gamma \lambda \, A_{t+1}
# $$
#
# The discount $\gamma$ makes later rewards count less; for texts it is usually 1.
# $\lambda = 1$ gives all rewards still to come, minus the value (with $\gamma = 1$: unbiased, noisy); $\lambda = 0$ gives $\delta_t$ alone (quiet, and wrong where $V$ is wrong).
# The value is trained by squared error towards $A_t + V_t$.
#
# **Clip.** Samples are expensive, so each batch serves several steps of gradient descent; $\pi_\text{old}$ is the policy that wrote it.
# With $\rho_t = \pi_\theta(y_t \mid y_{\lt t}) / \pi_\text{old}(y_t \mid y_{\lt t})$:
#
# $$
# L_\text{clip} = -\frac{1}{BT} \sum \min\left(\rho_t A_t, \, \text{clip}(\rho_t, 1 - \epsilon, 1 + \epsilon) \, A_t\right)
# $$
#
# **What this means:** at $\rho_t = 1$ the gradient is the policy gradient.
# Once a good token's ratio exceeds $1 + \epsilon$, or a bad one's falls below $1 - \epsilon$, its gradient is zero: no more profit from stale data.
# A move in the *wrong* direction is never clipped.
# The clip removes gradients; it does not bound what a step of [Adam](../training/optimizers.py#a-direction-for-each-gradient) does.
#
# **Leash.** The log-ratio of an answer is the sum over its tokens, so the KL penalty is paid token by token, *inside the reward* [@ouyang2022training]: $r_t = -\beta \log (\pi_\text{old} / \pi_\text{ref})$ at token $t$, plus $r(y)$ at the last.
# The price depends on $\theta$ itself, but its own derivative, $\nabla \log \pi_\theta$, averages to zero, so it may be treated as a fixed number.
#
# In `train` the advantages are also shifted to mean 0 and scaled to deviation 1 over the batch, as most programs do.


# %%
def gae(r: Tensor, V: Tensor, gamma: float, lam: float) -> Tensor:
    """Advantages (B, T) of rewards r (B, T) and values V (B, T); nothing follows."""
    A, following = torch.zeros_like(r), torch.zeros_like(r[:, 0])
    V = torch.cat([V, torch.zeros_like(V[:, :1])], dim=1)
    for t in reversed(range(r.shape[1])):
        delta = r[:, t] + gamma * V[:, t + 1] - V[:, t]
        A[:, t] = following = delta + gamma * lam * following
    return A


def clipped(rho: Tensor, A: Tensor, eps: float = 0.2) -> Tensor:
    """PPO's loss of each token, from the ratio rho (B, T) and advantage A (B, T)."""
    return -torch.minimum(rho * A, rho.clamp(1 - eps, 1 + eps) * A)


def token_rewards(score, old: Tensor, log_ref: Tensor, beta: float) -> Tensor:
    """The price of moving at each token (B, T), and the score (B,) at the last."""
    r = -beta * (old - log_ref)
    r[:, -1] += torch.as_tensor(score, dtype=r.dtype)
    return r


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


def entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in nats along the last axis."""
    return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)


runs = {(method, b): [train(ref, correct, b, seed, method)[1] for seed in range(3)]
        for method, b in (("ppo", 0.0), ("ppo", 0.05), ("group", 0.05))}
ends = {key: np.array([[h[-1] @ ok, divergence(h[-1], p_ref), np.exp(entropy(h[-1]))]
                       for h in histories]) for key, histories in runs.items()}
best = best_policy(p_ref, ok, 0.05)
print(f"best for 0.05    correct {best @ ok:.3f}, KL {divergence(best, p_ref):.2f}, "
      f"effective strings {np.exp(entropy(best)):.1f}")
for (method, beta), end in ends.items():
    mean = end.mean(axis=0)
    print(f"{method:5} beta {beta:<4}  correct {mean[0]:.3f}, KL {mean[1]:.2f}, "
          f"effective strings {mean[2]:.1f}")

# %%
#| label: fig-ppo
#| fig-cap: Training on the bracket reward; lines, means of three seeds; bands, smallest to largest; all computed exactly over the 1,024 strings. Dotted, the best policy for a price of 0.05.
#| fig-alt: All three methods reach nearly all strings correct within fifteen steps. Without a price the effective number of strings falls towards a few; with it, it stays close to the dotted optimum.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.8))
for (key, histories), style in zip(runs.items(), ("--", "-", "-.")):
    histories = np.array(histories)  # (3, steps + 1, 1024)
    for ax, curve in ((left, histories @ ok), (right, np.exp(entropy(histories)))):
        label = rf"{key[0]}, $\beta$ = {key[1]}"
        line, = ax.plot(curve.mean(axis=0), style, label=label)
        ax.fill_between(range(curve.shape[1]), curve.min(axis=0), curve.max(axis=0),
                        alpha=0.2, color=line.get_color())
left.axhline(best @ ok, color="0.4", linestyle=":")
right.axhline(np.exp(entropy(best)), color="0.4", linestyle=":")
left.set(xlabel="step", ylabel="correct", ylim=(0.25, 1.03))
right.set(xlabel="step", ylabel="effective strings", yscale="log")
left.legend(fontsize=8, loc="lower right")

# %% [markdown]
# **What the code shows:** every run passes the author's `{python} f"{correct(text).mean():.0%}"` and ends above `{python} f"{min(end[:, 0].min() for end in ends.values()) - 0.005:.0%}"` (@fig-ppo).
# They differ in what is left of the language.
# Without a price PPO keeps `{python} f"{ends['ppo', 0.0][:, 2].mean():.1f}"` effective strings of 42, since nothing in the reward asks for variety; with a price of 0.05 it keeps `{python} f"{ends['ppo', 0.05][:, 2].mean():.0f}"`, where the optimum has `{python} f"{np.exp(entropy(best)):.0f}"`.
# The variant `group`, explained next, has no value network and does about as well here.
# A run can also lose in one step what it gained in several: the largest drop is `{python} f"{max(-np.diff(np.array(h) @ ok, axis=1).min() for h in runs.values()):.2f}"`, and it recovers.
# We did not isolate the cause (a smaller learning rate alone did not cure it), so judge a run by several steps and seeds.

# %% tags=["test"]
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


def test_token_rewards_sum_to_the_objective():
    rng = np.random.default_rng(5)
    for _ in range(20):
        B, n, beta = int(rng.integers(1, 5)), int(rng.integers(1, 8)), rng.uniform(0, 2)
        old, log_ref = -rng.random(size=(2, B, n))
        score = rng.normal(size=B)
        r = token_rewards(score, torch.tensor(old), torch.tensor(log_ref), beta).numpy()
        want = score - beta * (old.sum(axis=1) - log_ref.sum(axis=1))
        assert r.shape == (B, n) and np.allclose(r.sum(axis=1), want, atol=1e-12)


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


# %% tags=["test", "experiment"]
def test_ppo_learns_and_the_price_keeps_variety():
    for end in ends.values():
        assert end[:, 0].min() > 0.85
    assert ends["ppo", 0.0][:, 2].max() < ends["ppo", 0.05][:, 2].min()


# %% [markdown]
# ### Groups instead of a value
#
# Sample $G$ answers to the same prompt and let the others be the baseline.
# RLOO leaves each answer out of its own baseline [@ahmadian2024back].
# GRPO subtracts the group's mean and divides by its standard deviation [@shao2024deepseekmath].
# Dr. GRPO does not divide [@liu2025understanding].
# Which is unbiased? Enumerate all $K^G$ groups.


# %%
def group_advantages(r: np.ndarray, kind: str) -> np.ndarray:
    """Advantages of rewards r (..., G), G > 1, from their own group."""
    centred = r - r.mean(axis=-1, keepdims=True)
    if kind == "rloo":  # minus the mean of the others
        return centred * r.shape[-1] / (r.shape[-1] - 1)
    if kind == "grpo":
        return centred / (r.std(axis=-1, keepdims=True) + 1e-8)
    return centred  # "dr. grpo"


def expected_update(theta: np.ndarray, r: np.ndarray, G: int, kind: str) -> np.ndarray:
    """Exact mean (K,) of the group's average of A_i grad log pi(y_i)."""
    pi = softmax(theta)
    groups = np.array(list(product(range(len(pi)), repeat=G)))  # (K^G, G)
    A = group_advantages(r[groups], kind)
    g = (A[..., None] * (np.eye(len(pi)) - pi)[groups]).mean(axis=1)
    return pi[groups].prod(axis=1) @ g


G = 4
theta, rewards = np.array([0.8, 0.0, -0.4]), np.array([0.0, 0.2, 1.0])
true, _ = reinforce_moments(theta, rewards, 0.0)
for kind in ("rloo", "dr. grpo", "grpo"):
    update = expected_update(theta, rewards, G, kind)
    cosine = update @ true / np.linalg.norm(update) / np.linalg.norm(true)
    print(f"{kind:8}: length {np.linalg.norm(update) / np.linalg.norm(true):.3f} "
          f"of the gradient, cosine {cosine:.4f}")

# %% [markdown]
# **What the code shows:** RLOO is exact.
# Including an answer in its own baseline only shrinks the step, by $(G - 1)/G$: harmless.
# Dividing by the standard deviation changes the direction, and with many prompts it raises the weight of nearly solved and nearly hopeless prompts most, since for a 0/1 reward with mean $p$ the divisor is about $\sqrt{p(1-p)}$.
# A group that agrees teaches nothing: its advantages are zero.
# Corrections followed within a year; by 2026 libraries offer them as options of one trainer.
#
# | method | what changes | why |
# |---|---|---|
# | GRPO, 2024 | group mean and deviation; each answer's loss averaged over *its own* length; KL ($k_3$, below) in the loss | no value network |
# | Dr. GRPO, 2025 | no deviation; sum over tokens divided by a constant | a long wrong answer is punished less per token, so wrong answers grow |
# | DAPO, 2025 [@yu2025dapo] | clip to $[1 - 0.2, 1 + 0.28]$; mean over all tokens of the batch; prompts whose group agrees are drawn again; soft penalty for overlong answers; no KL | rare tokens may rise; entropy stays |
# | GSPO, 2025 [@zheng2025group] | one ratio per answer, $(\pi_\theta(y)/\pi_\text{old}(y))^{1/\lvert y \rvert}$ | token ratios are noisy, above all in [mixtures of experts](../transformers/transformer-architecture.py#what-varies-in-2026) |

# %% tags=["test"]
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


# %% [markdown]
# ### Three estimators, three gradients
#
# With $q = \pi_\text{ref}(y)/\pi_\theta(y)$ and $y$ drawn from $\pi_\theta$, one sample estimates the KL by $k_1 = -\log q$, $k_2 = \frac{1}{2} (\log q)^2$ or $k_3 = q - 1 - \log q$ [@schulman2020approximating].
# [Information theory](../math-foundations/information-theory.py#exercise-6-explore-a-divergence-from-single-samples) found $k_1$ and $k_3$ unbiased.
# Many programs put one of them into the *loss* and differentiate, with the samples held fixed.
# Since $\nabla q = -q \nabla \log \pi_\theta$:
#
# $$
# \begin{aligned}
# \mathbb{E}[\nabla k_1] &= \mathbb{E}[\nabla \log \pi_\theta] = 0, \\
# \mathbb{E}[\nabla k_2] &= \nabla \text{KL}(\pi_\theta \,\Vert\, \pi_\text{ref}), \\
# \mathbb{E}[\nabla k_3] &= \nabla \text{KL}(\pi_\text{ref} \,\Vert\, \pi_\theta)
# \end{aligned}
# $$
#
# **What this means:** the best estimate is not the best loss. The unbiased $k_1$ has a gradient that is pure noise; the biased $k_2$ has the right one; $k_3$ follows the divergence in the *other* direction.
# For $k_2$: $\nabla k_2 = \log(\pi_\theta / \pi_\text{ref}) \nabla \log \pi_\theta$, which is the policy gradient for $k_1$ used as a cost.
# So $k_1$ in the *reward*, as in `token_rewards`, is right, and the advantage carries it back to the earlier tokens that led there, which a penalty per token in the loss forgets [@tang2025few].


# %%
def kl_estimators(logp: Tensor, log_ref: Tensor) -> Tensor:
    """k1, k2, k3 (3, ...) of samples from p, for KL(p || ref)."""
    log_q = log_ref - logp
    return torch.stack([-log_q, log_q**2 / 2, log_q.exp() - 1 - log_q])


def estimator_gradients(theta: np.ndarray, theta_ref: np.ndarray) -> tuple:
    """Exact mean (3,), deviation (3,) and mean gradient (3, K), samples held fixed."""
    t = torch.tensor(theta, requires_grad=True)
    logp, log_ref = t.log_softmax(dim=0), torch.tensor(theta_ref).log_softmax(dim=0)
    k, p = kl_estimators(logp, log_ref), logp.exp().detach()
    gradients = [torch.autograd.grad(p @ row, t, retain_graph=True)[0] for row in k]
    mean = k.detach() @ p
    sd = ((k.detach() - mean[:, None]) ** 2 @ p).sqrt()
    return mean.numpy(), sd.numpy(), torch.stack(gradients).numpy()


def kl_gradient(theta: np.ndarray, theta_ref: np.ndarray) -> np.ndarray:
    """Gradient (K,) of KL(pi || pi_ref) with respect to the logits of pi."""
    p, u = softmax(theta), np.log(softmax(theta)) - np.log(softmax(theta_ref))
    return p * (u - p @ u)


theta, theta_ref = np.array([1.0, 0.0, -1.0, 0.5]), np.array([0.0, 0.6, 0.2, -0.4])
mean, sd, gradients = estimator_gradients(theta, theta_ref)
print(f"KL {divergence(softmax(theta), softmax(theta_ref)):.3f}, "
      f"gradient {kl_gradient(theta, theta_ref).round(3)}")
for i in range(3):
    print(f"k{i + 1}: mean {mean[i]:.3f}, sd {sd[i]:.3f}, "
          f"gradient {gradients[i].round(3) + 0.0}")

# %% tags=["test"]
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


# %% [markdown]
# ### DPO: no reward model, no sampling
#
# Solve $\pi^\ast = \pi_\text{ref} \, e^{r/\beta} / Z$ for the reward: $r(y) = \beta \log (\pi^\ast(y) / \pi_\text{ref}(y)) + \beta \log Z$.
# Bradley–Terry needs only differences, so the unknown $\log Z$ cancels.
# *Direct preference optimisation* fits the preferences with $\pi_\theta$ in the place of $\pi^\ast$ [@rafailov2023direct], a [loss](../training/loss-functions.py#more-losses-in-a-line-each) like any other:
#
# $$
# \begin{aligned}
# L_\text{DPO} &= -\log \sigma(\beta \Delta), \\
# \Delta &= \log \frac{\pi_\theta(y_w)}{\pi_\text{ref}(y_w)} - \log \frac{\pi_\theta(y_l)}{\pi_\text{ref}(y_l)} \\
# \nabla L_\text{DPO} &= -\beta \, \sigma(-\beta \Delta) \left(\nabla \log \pi_\theta(y_w) - \nabla \log \pi_\theta(y_l)\right)
# \end{aligned}
# $$
#
# **What this means:** it is the reward model's loss for the *implicit reward* $\beta \log (\pi_\theta/\pi_\text{ref})$, and pairs that are still ordered wrongly weigh most.
# If preferences follow Bradley–Terry and every pair is seen, the minimiser is $\pi^\ast$.
# Test that on the hand example, all pairs weighted by their true probabilities.


# %%
def dpo_loss(logp_w, logp_l, ref_w, ref_l, beta: float) -> Tensor:
    """DPO's loss (n,) from the log-probabilities (n,) of winners and losers."""
    delta = (logp_w - ref_w) - (logp_l - ref_l)
    return -nn.functional.logsigmoid(beta * delta)


def dpo_gradient(theta: np.ndarray, p_ref: np.ndarray, P: np.ndarray, beta: float):
    """Gradient (K,) of DPO's mean loss over all pairs; P[i, j] = P(i beats j)."""
    u = theta - np.log(p_ref)  # log-ratios, up to a constant
    wrong = P / (1 + np.exp(beta * (u[:, None] - u[None, :])))  # P times sigma(-b D)
    return -beta * (wrong.sum(axis=1) - wrong.sum(axis=0)) / len(theta) ** 2


P_hand = 1 / (1 + np.exp(r_hand[None, :] - r_hand[:, None]))
for beta in (1.0, 0.5):
    theta = np.log(ref_hand)
    for _ in range(600):
        theta = theta - 3 / beta**2 * dpo_gradient(theta, ref_hand, P_hand, beta)
    print(f"beta {beta}: DPO ends at {softmax(theta).round(4)}")
    assert np.allclose(softmax(theta), best_policy(ref_hand, r_hand, beta), atol=1e-6)

# %% tags=["test"]
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


# %% [markdown]
# Four variants change the loss: IPO [@azar2024general], KTO [@ethayarajh2024kto], ORPO [@hong2024orpo] and SimPO [@meng2024simpo].
#
# | method | loss, with $\ell = \log \pi_\theta$ and $\Delta$ as above | difference |
# |---|---|---|
# | IPO | $(\Delta - 1/(2\beta))^2$ | a finite target: certain preferences do not push without end |
# | KTO | for an answer marked good ($+$) or bad ($-$): $1 - \sigma(\pm(\beta \log (\pi_\theta/\pi_\text{ref}) - z))$, $z$ an estimate of $\beta \, \text{KL}$, each mark with its weight | no pairs needed |
# | ORPO | $-\ell(y_w)/\lvert y_w \rvert - \lambda \log \sigma(\text{log odds ratio})$, odds $p/(1 - p)$ of the length-normalised $p$ | joins instruction tuning; no reference |
# | SimPO | $-\log \sigma\left(\beta \ell(y_w)/\lvert y_w \rvert - \beta \ell(y_l)/\lvert y_l \rvert - m\right)$, margin $m$ | no reference; length divided out |
#
# Who compares is a separate choice.
# In RLAIF a model does [@lee2024rlaif].
# Constitutional AI first imitates answers that the model itself revised by written principles, then lets a model compare by the same principles, so that harmlessness needs no human labels [@bai2022constitutional].
#
# ### Experiment: when the proxy is not the goal
#
# **Question.** A reward model is fitted where the reference writes; optimisation leaves that region.
# When does more optimisation make answers worse, and do more comparisons cure it?
#
# **Prediction.** Along $\pi^\ast$ for falling $\beta$, the learned reward must rise: its derivative with respect to $1/\beta$ is its variance under $\pi^\ast$.
# The true reward should rise, then fall, and fall later with more comparisons.
#
# The true reward is minus the number of mistakes.
# Labels are Bradley–Terry draws on pairs written by the reference.
# Two reward models: one weight per position, or also one for each *pair* of positions; 300 or 10,000 comparisons; five draws of the data each.
# Control: optimise the true reward along the same axis, $\sqrt{\text{KL}}$.


# %%
def quality(y: np.ndarray) -> np.ndarray:
    """True reward of y (..., T): minus steps below zero and half of what stays open."""
    d = depth(y)
    return -(np.maximum(-d, 0).sum(axis=-1) + np.abs(d[..., -1]) / 2)


def features(y: np.ndarray, pairs: bool) -> np.ndarray:
    """Signs of the tokens y (n, T), and their products if `pairs`."""
    s = 1.0 - 2 * y
    i, j = np.triu_indices(y.shape[-1], 1)
    return np.concatenate([s, s[:, i] * s[:, j]], axis=1) if pairs else s


def proxy(p_ref: np.ndarray, n: int, pairs: bool, seed: int) -> np.ndarray:
    """Weights of a reward model fitted to n comparisons of strings drawn from p_ref."""
    rng = np.random.default_rng(seed)
    gold, phi = quality(STRINGS), features(STRINGS, pairs)
    i, j = rng.choice(len(p_ref), size=(2, n), p=p_ref)
    win = rng.random(n) < 1 / (1 + np.exp(gold[j] - gold[i]))
    return fit_rewards(np.where(win[:, None], phi[i] - phi[j], phi[j] - phi[i]))


def along(r: np.ndarray, p_ref: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True and learned reward (2, n) of best policies with sqrt(KL) on grid (n,)."""
    ps = np.array([best_policy(p_ref, r, b) for b in np.geomspace(300, 0.01, 140)])
    x = np.sqrt([divergence(p, p_ref) for p in ps])
    curves = [np.interp(grid, x, ps @ z, right=np.nan) for z in (quality(STRINGS), r)]
    return np.array(curves)


gold, grid = quality(STRINGS), np.linspace(0.05, 3.0, 60)
cases = [(pairs, n) for pairs in (False, True) for n in (300, 10_000)]
curves = {(pairs, n): np.array([
    along(features(STRINGS, pairs) @ proxy(p_ref, n, pairs, seed), p_ref, grid)
    for seed in range(5)]) for pairs, n in cases}  # (5, 2, 60) each
control, _ = along(gold, p_ref, grid)
weights = [proxy(p_ref, 300, False, seed) for seed in range(3)]
paths = [train(ref, lambda y, w=w: features(y, False) @ w, 0.05, seed, steps=25)[1]
         for seed, w in enumerate(weights)]  # PPO against three of the learned rewards
print(f"true reward at the start {p_ref @ gold:.2f}")
for (pairs, n), c in curves.items():
    mean = c[:, 0].mean(axis=0)  # NaN where a path has ended
    top, two = np.nanargmax(mean), np.searchsorted(grid, 2.0)
    print(f"{'pairs' if pairs else 'positions':9} {n:6} comparisons: "
          f"best {mean[top]:.2f} at sqrt(KL) {grid[top]:.1f}, at 2.0 {mean[two]:.2f}")
learned = [features(STRINGS, False) @ w for w in weights]
optima = np.array([best_policy(p_ref, r, 0.05) @ gold for r in learned])
final = np.array([path[-1] @ gold for path in paths])
print("PPO ends at", final.round(2), "and the best policies at", optima.round(2))
favourite = STRINGS[learned[0].argmax()]
print("favourite of the first reward model:", "".join("()"[i] for i in favourite))

# %%
#| label: fig-overoptimisation
#| fig-cap: True reward against the square root of the KL from the reference, for policies that are best for a learned reward; lines, means of five draws of the comparisons; bands, smallest to largest. Points, PPO on its way (three runs, against three of the 300-comparison rewards of the left panel). Grey, the control.
#| fig-alt: Left, with one weight per position, the true reward rises, turns and falls, with few and many comparisons alike; most points and the longer curve end below the start. Right, with pairs, it falls clearly with few comparisons and hardly with many. The control rises throughout.
fig, axes = plt.subplots(1, 2, figsize=(6.6, 3.0), sharey=True)
for (pairs, n), c in curves.items():
    ax, style = axes[int(pairs)], "-" if n == 300 else "--"
    line, = ax.plot(grid, c[:, 0].mean(axis=0), style, label=f"{n:,} comparisons")
    ax.fill_between(grid, c[:, 0].min(axis=0), c[:, 0].max(axis=0), alpha=0.2,
                    color=line.get_color())
for path in paths:
    x = np.sqrt([divergence(p, p_ref) for p in path])
    axes[0].plot(x[::2], (path @ gold)[::2], "k.", markersize=3)
for ax, title in zip(axes, ("one weight per position", "and one per pair")):
    ax.plot(grid, control, ":", color="0.4", label="control: true reward")
    ax.set(xlabel=r"$\sqrt{\mathrm{KL}}$", title=title)
axes[0].set(ylabel="true reward", xlim=(0, 3.6))
axes[1].legend(fontsize=8, loc="lower left")

# %% [markdown]
# **Conclusion.** The learned reward rises throughout (a test sees to it), and in @fig-overoptimisation the true one turns: *over-optimisation*.
# The rest of the prediction is only half right.
# With pairs, more comparisons make the fall shallow, but the turn comes no later.
# With one weight per position they do not help at all: "open" is rewarded at nearly every place, since falling below zero is the costlier mistake *where the reference writes*, and the model cannot see that enough is open.
# That error is not noise, and data do not remove it.
# PPO only sees samples; its points scatter about the curve, some early ones far below it, and in `{python} f"{(final < p_ref @ gold).sum()}"` of three runs it ends below the start, as the best policy for that reward and price does in `{python} f"{(optima < p_ref @ gold).sum()}"`.
# This is one toy goal with one kind of label; the same shape was measured with language models [@gao2023scaling], where for reinforcement learning the true reward followed $d (a - b \log d)$ with $d = \sqrt{\text{KL}}$, larger reward models suffered less, and a KL penalty acted like [early stopping](../neural-networks/regularization.py#three-ways-to-hold-back).

# %% tags=["test"]
def test_quality_and_features():
    assert (quality(STRINGS)[correct(STRINGS) == 1] == 0).all()
    assert (quality(STRINGS)[correct(STRINGS) == 0] < 0).all()
    assert quality(np.zeros(10, dtype=int)) == -5 and quality(np.array([1, 0])) == -1
    y = np.array([[0, 1, 1]])
    assert features(y, True).tolist() == [[1, -1, -1, -1, -1, 1]]
    assert features(y, False).shape == (1, 3)


def test_learned_reward_rises_along_the_path():
    rng = np.random.default_rng(10)
    p_ref = softmax(rng.normal(size=1024))
    for seed in range(3):
        r = features(STRINGS, True) @ rng.normal(size=55)
        true, learned = along(r, p_ref, np.linspace(0.05, 1.5, 9))
        assert (np.diff(learned) > 0).all() and true.shape == (9,)


# %% tags=["test", "experiment"]
def test_overoptimisation():
    at = np.searchsorted(grid, 2.0)
    for case in cases:
        learned = curves[case][:, 1]
        assert (np.diff(learned, axis=1)[:, :at] > 0).all()
    for n in (300, 10_000):
        true = curves[False, n][:, 0]
        assert (true[:, at] < np.nanmax(true, axis=1) - 0.3).all()
    assert (np.diff(control[np.isfinite(control)]) > 0).all()


# %% [markdown]
# ### Verifiable rewards, and models that reason
#
# Where a program checks the answer there is no reward model to fool; Tülu 3 gave reinforcement learning from verifiable rewards its name (RLVR) [@lambert2024tulu].
# DeepSeek-R1-Zero trained a base model by GRPO with rewards for right final answers and for the format, and answers grew from hundreds to thousands of tokens of reasoning; on the mathematics contest AIME 2024 it went from 15.6% right to 71.0% in the first version of the paper and 77.9% in the second, and to 86.7% by majority vote [@deepseek2025r1].
#
# | idea | what it adds |
# |---|---|
# | chain of thought [@wei2022chain] | examples with worked steps in the prompt: more computation before the answer |
# | self-consistency [@wang2023consistency] | sample many chains, take the majority of their *answers* |
# | STaR [@zelikman2022star] | keep the chains that end right, fine-tune on them, repeat |
# | process rewards [@lightman2024lets] | a model scores every step, not the end alone; better at choosing among solutions |
# | test-time compute [@snell2024scaling] | choose by difficulty how to search or revise; where the small model already has some success it can beat a larger one at equal FLOPs |
# | s1 [@muennighoff2025s1] | 1,000 curated examples, and the word "Wait" appended to make the model think on |
#
# Two ways to spend $k$ samples.
# With a checker, one right answer is enough.
# From $n \ge k$ samples of which $c$ are right, the unbiased estimate of that probability is one minus the chance that $k$ drawn without replacement are all wrong [@chen2021evaluating]:
#
# $$
# \text{pass@}k = 1 - \frac{\binom{n - c}{k}}{\binom{n}{k}}
# $$
#
# Without a checker you can vote.


# %%
def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of P(one of k is right) from n samples, c of them right."""
    return 1 - comb(n - c, k) / comb(n, k)


def vote(p: np.ndarray, k: int, rng: np.random.Generator, tries: int = 4000) -> float:
    """How often answer 0 wins a vote of k draws from p (K,); ties are drawn."""
    counts = rng.multinomial(k, p, size=tries)
    tied = counts == counts.max(axis=1, keepdims=True)
    return float((tied[:, 0] / tied.sum(axis=1)).mean())


ks, rng = np.array([1, 3, 5, 9, 17, 33, 65]), np.random.default_rng(11)
scattered = np.array([0.4] + [0.1] * 6)  # answer 0 is right
systematic = np.array([0.4, 0.5, 0.1])  # one mistake is more popular
votes = {name: [vote(p, k, rng) for k in ks]
         for name, p in (("scattered", scattered), ("systematic", systematic))}

# %%
#| label: fig-vote
#| fig-cap: A model that is right with probability 0.4. Dotted, at least one right among the samples; solid, the majority is right when mistakes scatter over six answers; dashed, when one mistake has probability 0.5.
#| fig-alt: The dotted and solid curves rise to one, the solid one a little later; the dashed curve falls below where it started.
fig, ax = plt.subplots(figsize=(4.6, 2.7))
ax.semilogx(ks, 1 - 0.6**ks, "^:", label="one of them (checker)")
ax.semilogx(ks, votes["scattered"], "o-", label="vote, scattered mistakes")
ax.semilogx(ks, votes["systematic"], "s--", label="vote, one popular mistake")
ax.set(xlabel="samples k", ylabel="right", ylim=(-0.03, 1.03))
ax.set_xticks(ks, labels=[str(k) for k in ks])
ax.minorticks_off()
ax.legend(fontsize=8)

# %% [markdown]
# In @fig-vote a vote finds the *most probable* answer, right or not: with `{python} f"{ks[-1]}"` votes, `{python} f"{votes['scattered'][-1]:.0%}"` right when mistakes scatter, `{python} f"{votes['systematic'][-1]:.0%}"` when one of them is popular.
# RLVR moves probability onto checked answers, and so raises pass@1 towards what pass@k was; whether it adds what the base model could not do is disputed: at large $k$ base models were found ahead [@yue2025does], as our unpriced PPO suggests, which forgot most of the correct strings.

# %% tags=["test"]
def test_pass_at_k_is_unbiased():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n = int(rng.integers(1, 9))
        k, p = int(rng.integers(1, n + 1)), rng.random()
        mean = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k)
                   for c in range(n + 1))
        assert abs(mean - (1 - (1 - p) ** k)) < 1e-12
    assert pass_at_k(5, 0, 3) == 0 and pass_at_k(5, 3, 3) == 1


def test_vote():
    rng = np.random.default_rng(13)
    for k in (1, 3, 7):
        most = range(k // 2 + 1, k + 1)
        want = sum(comb(k, c) * 0.6**c * 0.4 ** (k - c) for c in most)
        assert abs(vote(np.array([0.6, 0.4]), k, rng, 40_000) - want) < 0.015
    assert abs(vote(np.array([0.5, 0.5]), 2, rng, 40_000) - 0.5) < 0.015  # ties


# %% [markdown]
# ## 3. Practical considerations
#
# ### What it costs
#
# [Sampling](inference.py) takes most of the time, so a serving program does it, and the trainer computes the log-probabilities again.
# The two round differently, $\pi_\text{old}$ is then not quite the policy that wrote, and runs have collapsed over it: weigh the samples by the ratio of the two, or use kernels that [agree to the last bit](inference.py#the-same-prompt-another-answer) [@he2025defeating].
#
# Memory is easy to count.
# A trained model takes about 16 bytes per parameter with Adam in [mixed precision](../training/optimizers.py#what-an-optimizer-costs), a frozen one 2.
# PPO trains policy and value and keeps reference and reward model: $16 (N_\pi + N_V) + 2 (N_\text{ref} + N_r)$ bytes, activations and caches aside.
# With [adapters](efficient-adaptation.py#the-family) the reference costs nothing: it is the policy without them.
# For InstructGPT, 175 billion parameters with value and reward of 6 billion [@ouyang2022training]:


# %%
def memory(policy: float, value: float = 0, reward: float = 0) -> float:
    """Bytes for a trained policy and value, and a frozen reference and reward model."""
    return 16 * (policy + value) + 2 * (policy + reward)


instruct = memory(175e9, 6e9, 6e9)
assert instruct == 3.258e12
print(f"InstructGPT by PPO {instruct / 1e12:.2f} TB")
for name, *sizes in (("PPO", 7e9, 7e9, 7e9), ("groups", 7e9, 0, 7e9),
                     ("DPO, or groups with a checker", 7e9)):
    print(f"7 billion: {name} {memory(*sizes) / 1e9:.0f} GB")

# %% tags=["test"]
def test_memory():
    assert memory(1) == 18 and memory(0, 1) == 16 and memory(0, 0, 1) == 2


# %% [markdown]
# ### Failure mode 1: the hole in the checker
#
# Someone forgets the last line of the checker: no string may fall below zero, but nothing need close.


# %%
def careless_check(y: np.ndarray) -> np.ndarray:
    """A checker that forgets to look at the end."""
    return (depth(y) >= 0).all(axis=-1).astype(float)


accepted, hacked = careless_check(STRINGS), {}
for beta in (0.0, 0.05):
    hacked[beta] = np.array([train(ref, careless_check, beta, seed)[1][-1]
                             for seed in range(2)])  # (2, 1024)
    p = hacked[beta][0]
    print(f"beta {beta:<4}: reward {(hacked[beta] @ accepted).round(2)}, "
          f"correct {(hacked[beta] @ ok).round(2)}, "
          f"likeliest {''.join('()'[i] for i in STRINGS[p.argmax()])}")
leashed = best_policy(p_ref, accepted, 0.05)
print(f"at the start: reward {p_ref @ accepted:.2f}, correct {p_ref @ ok:.2f}")
print(f"best for 0.05: reward {leashed @ accepted:.2f}, correct {leashed @ ok:.2f}")

# %% [markdown]
# **Symptom:** the reward is nearly perfect; without a price almost no answer is right (`{python} f"{(hacked[0.0] @ ok).mean():.0%}"` on average over two seeds), fewer than before training. The curve you watch cannot show it.
# **Cause:** optimisation finds what the checker *accepts*: *reward hacking*. A test suite that can be edited, or a judge who likes length, is such a hole.
# **Fix:** repair the checker, hold out a second one, read samples. A leash limits the damage and does not repair it: it cannot tell right from wrong, so even the best policy on it is only as right as the accepted strings were at the start.
#
# ### Failure mode 2: a leash tied to nothing
#
# The price of 0.05 in the reward, as $k_1$ in the loss, and, as a control at the same place with the same weight, as $k_2$ in the loss.
# Each batch serves three steps or, to have only fresh samples, one.

# %%
drift = {("in the reward", 3): ends["ppo", 0.05], ("no price", 3): ends["ppo", 0.0]}
for method, reuse, seeds in (("k1 in the loss", 3, 5), ("k2 in the loss", 3, 2),
                             ("no price", 1, 2), ("k1 in the loss", 1, 2)):
    beta = 0.0 if method == "no price" else 0.05
    policies = [train(ref, correct, beta, seed, method, reuse=reuse)[1][-1]
                for seed in range(seeds)]
    drift[method, reuse] = np.array([[p @ ok, divergence(p, p_ref)] for p in policies])
for (name, reuse), end in drift.items():
    print(f"{name:14}, steps per batch {reuse}: KL {end[:, 1].round(2)}, "
          f"correct {end[:, 0].round(2)}")
adrift = drift["k1 in the loss", 3]
forgot = int((adrift[:, 0] < 0.3).sum())

# %% [markdown]
# **Symptom:** the logged penalty is computed correctly and does not hold. With fresh samples $k_1$ in the loss drifts as far as no price at all; with reused ones, at this weight, `{python} forgot` of `{python} len(adrift)` runs forget the task, and their median KL is `{python} f"{np.median(adrift[:, 1]):.1f}"`. $k_2$ holds, so the place and the weight alone are not to blame.
# **Cause:** $\mathbb{E}[\nabla k_1] = 0$ for fresh samples. On reused ones it is the mean of $\nabla \log \pi_\theta$ under $\pi_\text{old}$, which is $-\nabla \text{KL}(\pi_\text{old} \,\Vert\, \pi_\theta)$: descending it pushes the policy *away* from where it just was.
# **Fix:** the penalty in the reward, or $k_2$ in the loss, on reused samples times the answer's ratio $\pi_\theta / \pi_\text{old}$ (held fixed, as in `train`).
#
# ### Failure mode 3: winners that become improbable
#
# DPO on 200 pairs: a correct string and the same string with one bracket flipped.
# The output shows how the mean log-probability of winners and of losers has changed.

# %%
rng = np.random.default_rng(14)
winners = STRINGS[rng.choice(1024, size=200, p=p_ref * ok / (p_ref @ ok))]
losers = winners.copy()
losers[np.arange(200), rng.integers(T, size=200)] ^= 1
y_w, y_l = torch.from_numpy(winners), torch.from_numpy(losers)
with torch.no_grad():
    ref_w, ref_l = ref(y_w)[0].sum(dim=1), ref(y_l)[0].sum(dim=1)
policy = copy.deepcopy(ref)
optimiser = torch.optim.Adam(policy.parameters(), lr=2e-3)
for step in range(161):
    logp_w, logp_l = policy(y_w)[0].sum(dim=1), policy(y_l)[0].sum(dim=1)
    loss = dpo_loss(logp_w, logp_l, ref_w, ref_l, beta=0.1).mean()
    if step % 40 == 0:
        change_w = (logp_w - ref_w).mean().item()
        change_l = (logp_l - ref_l).mean().item()
        print(f"step {step:3}: loss {loss.item():.2f}, winners {change_w:+.1f}, "
              f"losers {change_l:+.1f} nats, "
              f"effective strings {np.exp(entropy(exact(policy))):.1f}")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

# %% [markdown]
# **Symptom:** the loss falls, the mean log-probability of the *winners* has changed by `{python} f"{change_w:.1f}"` nats, and hardly any of the language is left.
# **Cause:** the loss sees only the difference; pushing losers down moves what they share with winners [@pal2024smaug]. What gains may be in no pair.
# **Fix:** watch both log-probabilities, not the margin; stop early, raise $\beta$, use IPO, or add the cross-entropy of the winners.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Which KL.** The leash is $\text{KL}(\pi_\theta \,\Vert\, \pi_\text{ref})$, the *reverse* divergence. The clip, or a KL to $\pi_\text{old}$ in a variant of PPO, limits one step and is another matter.
# > - **The scale of** $\beta$. It is in units of reward; doubling rewards and $\beta$ changes nothing. In DPO, a larger $\beta$ is a *shorter* leash.
# > - **Ratio upside down.** For $k_3$ the ratio is $\pi_\text{ref}/\pi_\theta$; PPO's is $\pi_\theta/\pi_\text{old}$.
# > - **Per token or per answer.** A mean over tokens divides the KL of an answer by its length.
# > - **Standard deviation.** This topic divides by $G$; PyTorch's `std` by $G - 1$.
# > - **The name.** RLVR has no human feedback and DPO no reinforcement learning; "post-training" covers all, with instruction tuning.

# %% tags=["test", "experiment"]
def test_failures_fail():
    kl = {key: end[:, 1] for key, end in drift.items()}
    assert np.median(kl["k1 in the loss", 3]) > 1.5 * kl["no price", 3].max()
    assert forgot >= 3
    assert kl["k2 in the loss", 3].max() < 0.6 * kl["no price", 3].min()
    assert abs(kl["k1 in the loss", 1].mean() / kl["no price", 1].mean() - 1) < 0.2
    assert (hacked[0.0] @ accepted).min() > 0.98
    assert (hacked[0.0] @ ok).mean() < p_ref @ ok < (hacked[0.05] @ ok).mean()
    assert abs(leashed @ ok - p_ref @ ok / (p_ref @ accepted)) < 1e-3
    assert change_w < 0 and change_l < change_w
    assert loss.item() < 0.3

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): an untested match
#
# A beats B in three of four comparisons, and C beats B in three of five.
# How often should A beat C?


# %%
def a_beats_c() -> float:
    """P(A beats C) by Bradley-Terry."""
    ### BEGIN SOLUTION
    # r_A - r_B = log 3 and r_C - r_B = log(3/2), so r_A - r_C = log 2.
    return 2 / 3
    ### END SOLUTION


# %% tags=["test"]
def test_a_beats_c():
    D = np.array([[1.0, -1, 0], [-1, 1, 0], [0, -1, 1], [0, 1, -1]])
    w = fit_rewards(np.repeat(D, [3, 1, 3, 2], axis=0), ridge=1e-7)
    assert abs(a_beats_c() - 1 / (1 + np.exp(w[2] - w[0]))) < 1e-4


# %% [markdown]
# ### Exercise 2 (check): one right answer in four
#
# A group has the rewards $(1, 0, 0, 0)$.
# Return its advantages by RLOO, Dr. GRPO and GRPO, as an array of shape $(3, 4)$.


# %%
def four_answers() -> np.ndarray:
    """Advantages (3, 4) of the rewards (1, 0, 0, 0)."""
    ### BEGIN SOLUTION
    # The mean is 1/4 and the variance 3/16.
    s = np.sqrt(3)
    return np.array([[1, -1 / 3, -1 / 3, -1 / 3],
                     [3 / 4, -1 / 4, -1 / 4, -1 / 4],
                     [s, -1 / s, -1 / s, -1 / s]])
    ### END SOLUTION


# %% tags=["test"]
def test_four_answers():
    r = np.array([1.0, 0.0, 0.0, 0.0])
    want = [group_advantages(r, kind) for kind in ("rloo", "dr. grpo", "grpo")]
    assert np.allclose(four_answers(), want, atol=1e-6)


# %% [markdown]
# ### Exercise 3 (apply): best of n
#
# Sample $n$ answers and keep the one with the highest reward.
# Return the distribution of what you keep, for rewards without ties.
# Its KL from the reference is at most $\log n - (n - 1)/n$; how close do the strings come?


# %%
def best_of_n(p: np.ndarray, r: np.ndarray, n: int) -> np.ndarray:
    """Distribution (K,) of the best of n draws from p (K,); r (K,) all different."""
    ### BEGIN SOLUTION
    order = np.argsort(r)
    F = np.cumsum(p[order])  # P(reward at most this one)
    below = np.concatenate([[0.0], F[:-1]])
    q = np.empty(len(p))
    q[order] = F**n - below**n
    return q
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown] tags=["solution"]
# Equality needs a continuous distribution of rewards.
# With 1,024 strings and ties broken by a tiny random number the bound is nearly reached while $n$ is small against the inverse of the largest probability; for large $n$ the KL stops at $-\log p$ of the best string, while the bound grows.

# %% [markdown]
# ### Exercise 4 (apply): DAPO's loss
#
# Answers have different lengths; `mask` is 1 for real tokens.
# Return the clipped loss with different limits below and above, averaged over all real tokens of the batch.


# %%
def dapo_loss(new: Tensor, old: Tensor, A: Tensor, mask: Tensor,
              low: float = 0.2, high: float = 0.28) -> Tensor:
    """Scalar loss from log-probabilities (B, T), advantages (B,) and mask (B, T)."""
    ### BEGIN SOLUTION
    rho, A = (new - old).exp(), A[:, None]
    loss = -torch.minimum(rho * A, rho.clamp(1 - low, 1 + high) * A)
    return (loss * mask).sum() / mask.sum()
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown]
# ### Exercise 5 (explore): the obvious estimate
#
# Why not estimate $p$ by $c/n$ and report $1 - (1 - c/n)^k$?
# Return the exact mean of that estimate.
# Is it too high or too low, and why?


# %%
def naive_pass_at_k(p: float, n: int, k: int) -> float:
    """Mean of 1 - (1 - c/n)^k over c, the right ones of n samples."""
    ### BEGIN SOLUTION
    chance = [comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    return sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(chance))
    ### END SOLUTION


# %% tags=["test"]
def test_naive_pass_at_k():
    rng = np.random.default_rng(17)
    for n, k, p in ((1, 1, 0.3), (4, 2, 0.5), (10, 5, 0.1), (6, 6, 0.9)):
        c = rng.binomial(n, p, size=200_000)
        got = naive_pass_at_k(p, n, k)
        assert abs(got - (1 - (1 - c / n) ** k).mean()) < 0.005
        assert got <= 1 - (1 - p) ** k + 1e-12


# %% [markdown] tags=["solution"]
# Too low for $k \ge 2$.
# $(1 - p)^k$ is a convex function of $p$, so its mean over a noisy $c/n$ exceeds its value at the mean (Jensen's inequality).
# The estimator of the text draws without replacement, and is exact because a random $k$ of $n$ independent samples are $k$ independent samples.

# %% [markdown]
# ### Exercise 6 (explore): the length of wrong answers
#
# Return the weight of one token of each answer in the loss, for GRPO (mean over the answer, then over the group), DAPO (mean over all tokens) and Dr. GRPO (sum over tokens, divided by $G$ times a fixed length).
# Two answers of 10 and 100 tokens are both wrong. What does each loss teach about length?


# %%
def token_weights(lengths: np.ndarray, fixed: int) -> np.ndarray:
    """Weights (3, G) of a token under GRPO, DAPO and Dr. GRPO; lengths (G,)."""
    ### BEGIN SOLUTION
    G = len(lengths)
    return np.stack([1 / (G * lengths), np.full(G, 1 / lengths.sum()),
                     np.full(G, 1 / (G * fixed))])
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown] tags=["solution"]
# With the same negative advantage, GRPO punishes each token of the long answer a tenth as much: among wrong answers, length is cheap, and answers that fail grow longer.
# DAPO and Dr. GRPO weigh all tokens of a batch alike; they differ in that DAPO's weight depends on the batch, so a batch of long answers takes smaller steps per token.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Objective | $\mathbb{E}[r] - \beta \, \text{KL}(\pi_\theta \,\Vert\, \pi_\text{ref})$ | `token_rewards(score, old, log_ref, beta)` | all of this topic |
# | Optimum | $\pi^\ast \propto \pi_\text{ref} \, e^{r/\beta}$ | `softmax(np.log(p_ref) + r / beta)` | theory, DPO |
# | Reward model | $-\log \sigma(r_w - r_l)$ | `fit_rewards(phi_w - phi_l)` | preferences |
# | Policy gradient | $\mathbb{E}[(r - b) \nabla \log \pi]$ | `-(A * logp).mean()` | rewards without derivative |
# | GAE | $A_t = \delta_t + \gamma \lambda A_{t+1}$ | `delta + gamma * lam * following` | PPO |
# | Clip | $\min(\rho A, \text{clip}(\rho) A)$ | `torch.minimum(rho * A, rho.clamp(...) * A)` | PPO, GRPO, DAPO |
# | Groups | $r_i$ minus the mean of the others | `group_advantages(r, "rloo")` | verifiable rewards |
# | DPO | $-\log \sigma(\beta \Delta)$ | `-logsigmoid(beta * delta)` | offline preferences |
# | pass@k | $1 - \binom{n-c}{k} / \binom{n}{k}$ | `1 - comb(n - c, k) / comb(n, k)` | evaluation |
#
# **The essential insight:** a score can teach what examples cannot, because recognising is easier than producing. All methods here aim at one distribution, the reference reweighted by the exponential of the reward, and differ in how they approach it: by sampling and clipping, by groups, or by solving for the reward and fitting preferences directly. What they reach is as good as the score: optimisation finds the difference between what you reward and what you want, so the price of moving, a second checker and your own eyes stay part of the method. So far every weight was trained; [efficient adaptation](efficient-adaptation.py) trains a few.
