# ---
# title: Probability
# summary: "Distributions, expectation and Bayes: how a network says what it does not know."
# prerequisites:
#   - math-foundations/linear-algebra: dot products and norms
#   - math-foundations/calculus: derivatives and the exponential
# packages: [numpy, matplotlib, scipy, scikit-learn, torch]
# ---

# %% [markdown]
# # Probability
#
# $$
# \boxed{
# \begin{aligned}
# p(x_1, \dots, x_T) &= \prod_{t=1}^{T} p(x_t \mid x_{\lt t}) \\
# p(x_t = j \mid x_{\lt t}) &= \frac{e^{s_j}}{\sum_{k} e^{s_k}} \\
# L &= -\frac{1}{T} \sum_{t=1}^{T} \log p(x_t \mid x_{\lt t})
# \end{aligned}
# }
# $$
#
# $x_1, \dots, x_T$ is a text of $T$ symbols, each one of $K$; $x_{\lt t}$ are the symbols before position $t$.
# $p(a \mid b)$ is the probability of $a$ given $b$.
# The *logit* $s_j$ is a score, any real number, that a model computes from $x_{\lt t}$ for symbol $j$; $k$ runs over all $K$ symbols.
# $L$ is the loss, and $\log$ is the natural logarithm.
#
# These three lines are a language model: predict one symbol at a time, turn scores into probabilities, and make real text probable.

# %% [markdown]
# ## 1. Core concept: a number for every possibility
#
# ### A good filter that is mostly wrong
#
# A safety filter judges the prompts sent to a chat model.
# It stops 99% of the harmful prompts and passes 99% of the harmless ones.
# One prompt in 1,000 is harmful.
# The filter blocks a prompt: how sure are you that it was harmful?
# Count a million of them.

# %%
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
harmful = rng.random(1_000_000) < 0.001
right = rng.random(1_000_000) < 0.99
blocked = np.where(right, harmful, ~harmful)
print(f"judged rightly: {right.mean():.1%} of all prompts")
print(f"harmful: {harmful[blocked].mean():.1%} of the blocked prompts")

# %% [markdown]
# **What the code shows:** "99% right" is true, and `{python} f"{1 - harmful[blocked].mean():.0%}"` of the blocks are mistakes.
# The accuracy says how often the *filter* is right.
# You asked how often a *block* is right, which also depends on how rare harm is.
# A single score cannot hold both; you need a number for each possibility, and rules for combining them.
#
# ### The rules
#
# A *random variable* is a quantity whose value you do not know.
# A *distribution* $p$ gives every value a probability $p(x) \ge 0$, and they sum to one.
# You may read $p(x)$ as a frequency (of many such prompts, how many?) or as a degree of belief (how sure am I about this one?).
# The rules are the same.
#
# For two variables the *joint* distribution $p(x, y)$ holds everything:
#
# $$
# \begin{aligned}
# p(x) &= \sum_{y} p(x, y), \\
# p(y \mid x) &= \frac{p(x, y)}{p(x)},
# \quad
# p(x \mid y) = \frac{p(y \mid x) p(x)}{p(y)}
# \end{aligned}
# $$
#
# **What this means:** the *marginal* adds up what you do not ask about.
# The *conditional* keeps the cases with this $x$ and rescales them to sum to one.
# Write $p(x, y)$ as a conditional times a marginal in both orders, and you have the third formula, *Bayes' rule*: the *posterior* $p(x \mid y)$ is the *prior* $p(x)$ times the *likelihood* $p(y \mid x)$, rescaled.
# If $p(x, y) = p(x) p(y)$ for all values, $x$ and $y$ are *independent*: knowing one says nothing about the other.
#
# The *expectation* of a function $f$ is its average, the *variance* its mean squared distance from there:
#
# $$
# \begin{aligned}
# \mathbb{E}[f] &= \sum_{x} p(x) f(x), \\
# \text{Var}[f] &= \mathbb{E}\left[(f - \mathbb{E}[f])^2\right] = \mathbb{E}[f^2] - \mathbb{E}[f]^2
# \end{aligned}
# $$
#
# The square root of the variance is the *standard deviation*.
#
# ### By hand
#
# Let $x$ be a letter, a or b, and $y$ the letter after it, a, b or c, with the joint distribution
#
# $$
# P = \frac{1}{8} \begin{bmatrix} 1 & 2 & 1 \\ 3 & 0 & 1 \end{bmatrix}
# $$
#
# The rows sum to $p(x) = (1/2, 1/2)$, the columns to $p(y) = (1/2, 1/4, 1/4)$.
# Divided by their sums, the rows become $(1/4, 1/2, 1/4)$ and $(3/4, 0, 1/4)$: what follows a, what follows b.
# You see an a; was there a b before it? Bayes: $\frac{3}{4} \cdot \frac{1}{2} / \frac{1}{2} = 3/4$.
# Give the letters of $y$ the values $f = (0, 1, 2)$: then $\mathbb{E}[f] = 1/4 + 2/4 = 3/4$, $\mathbb{E}[f^2] = 1/4 + 4/4 = 5/4$ and $\text{Var}[f] = 5/4 - 9/16 = 11/16$.
# The variables are not independent: the probability of b, then b is 0, not $1/2 \cdot 1/4$.
#
# The filter goes the same way: $0.99 \cdot 0.001 / (0.99 \cdot 0.001 + 0.01 \cdot 0.999) = 11/122$.

# %%
def conditional(P: np.ndarray) -> np.ndarray:
    """Rows p(y | x), shape (m, k), of a joint distribution or of counts (m, k)."""
    return P / P.sum(axis=1, keepdims=True)


def posterior(prior: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """Columns p(x | y), shape (m, k), from p(x) (m,) and rows p(y | x) (m, k)."""
    joint = prior[:, None] * likelihood
    return joint / joint.sum(axis=0, keepdims=True)


def mean_and_variance(p: np.ndarray, f: np.ndarray) -> tuple[float, float]:
    """Expectation and variance of the values f (k,) under the distribution p (k,)."""
    mean = p @ f
    return float(mean), float(p @ (f - mean) ** 2)


P = np.array([[1, 2, 1], [3, 0, 1]]) / 8
p_x, p_y = P.sum(axis=1), P.sum(axis=0)
assert p_x.shape == (2,) and p_y.shape == (3,)
assert np.allclose(conditional(P), [[1 / 4, 1 / 2, 1 / 4], [3 / 4, 0, 1 / 4]])
assert np.isclose(posterior(p_x, conditional(P))[1, 0], 3 / 4)
assert np.allclose(mean_and_variance(p_y, np.array([0, 1, 2])), (3 / 4, 11 / 16))

rates = np.array([[0.99, 0.01], [0.01, 0.99]])  # harmful, harmless: block, pass
after = posterior(np.array([0.001, 0.999]), rates)
assert np.isclose(after[0, 0], 11 / 122)
print(f"p(harmful | blocked) = {after[0, 0]:.4f}")

# %% [markdown]
# **What the code shows:** the exact value behind the count, with no simulation.
# In *odds*, $p$ to $1 - p$, it is shorter still: prior odds 1 to 999, times $0.99 / 0.01 = 99$ for a block, gives 99 to 999.
# Evidence multiplies odds.
#
# | name | symbol | shape | sums to one |
# |---|---|---|---|
# | joint distribution | $p(x, y)$ | $(m, k)$ | over everything |
# | conditional, likelihood | $p(y \mid x)$ | $(m, k)$ | along each row |
# | posterior | $p(x \mid y)$ | $(m, k)$ | along each column |
# | logits; probabilities | $s$; $p$ | $(n, K)$ | the second, along each row |
# | targets | $y$ | $(n)$ | no: integers |
# | derivatives of the softmax (Section 2) | $J$ | $(K, K)$ | no: rows sum to zero |
#
# ### Sums, and the dot product
#
# Expectation is a sum, so $\mathbb{E}[x + y] = \mathbb{E}[x] + \mathbb{E}[y]$, always.
# Expand the square, and the variance of a sum is
#
# $$
# \begin{aligned}
# \text{Var}[x + y] &= \text{Var}[x] + \text{Var}[y] + 2 \text{Cov}[x, y], \\
# \text{Cov}[x, y] &= \mathbb{E}[xy] - \mathbb{E}[x] \mathbb{E}[y]
# \end{aligned}
# $$
#
# **What this means:** for independent variables $\mathbb{E}[xy] = \mathbb{E}[x]\mathbb{E}[y]$, the covariance vanishes, and variances add (standard deviations do not).
# A constant factor comes out squared: $\text{Var}[cx] = c^2 \text{Var}[x]$.
#
# Now take a [dot product](linear-algebra.py#the-dot-product-measures-similarity) $q \cdot k$ of $d$ components, all independent, with mean 0 and variance 1.
# Each product has mean $\mathbb{E}[q_i]\mathbb{E}[k_i] = 0$ and variance $\mathbb{E}[q_i^2]\mathbb{E}[k_i^2] = 1$, and $d$ of them add up: $\text{Var}[q \cdot k] = d$.

# %%
for d in (4, 64, 1024):
    q, k = rng.normal(size=(2, 4000, d))
    print(f"d {d:4d}: variance / d = {(q * k).sum(axis=1).var() / d:.2f}, "
          f"mean of q.k / d = {(q * k).mean():.2f}, of q.q / d = {(q * q).mean():.2f}")

# %% [markdown]
# **What the code shows:** independent vectors give a score of size about $\sqrt{d}$, and a vector with itself gives $d$: the gap between chance and match widens with $d$.
# [Attention](../transformers/attention.py#why-divide-by-the-square-root) divides its scores by $\sqrt{d}$ for this reason, and the initial weights of a [layer](../neural-networks/multilayer-networks.py#where-to-start-initial-weights) get a variance near one over its number of inputs.
#
# ### A language model by counting
#
# $p(x_1, x_2) = p(x_1) p(x_2 \mid x_1)$ is the definition of a conditional.
# Apply it again and again and you have the first line of the box, the *chain rule of probability*: exact, for any text.
# The assumption comes now. A *bigram* model forgets all but the last symbol, $p(x_t \mid x_{\lt t}) \approx p(x_t \mid x_{t-1})$, and then a table is enough.
# Markov counted vowels and consonants of Pushkin this way in a lecture of 1913 [@markov1913example, a translation]; Shannon let such models write text in 1948 [@shannon1948mathematical].

# %%
TEXT = """
the weather is a patient teacher of chance. when the sky turns grey and the wind comes
in from the sea, the farmer does not ask whether it will rain. she asks how likely it is
and what it would cost her to be wrong. if the hay is dry and the barn is near, she can
wait another hour. if the field is wide and the cart is slow, she will start at once.
her neighbour wants an answer, yes or no, and is angry with the sky when the answer
fails. he remembers the storm that nobody saw and forgets the ten quiet days that came
before it. she keeps a small book instead. on the left she writes what she expected, on
the right what happened, and at the end of the year she counts. of all the days that she
called nine in ten, about nine in ten were wet. that is all that she asks of a number.
the book does not tell her what tomorrow will bring. it tells her how far to trust what
she thinks today, and on most days that is the better thing to know. a dozen years of
such pages have made her a fair judge of every hazy morning and of lazy evening winds.
"""
LETTERS = "abcdefghijklmnopqrstuvwxyz "


def encode(text: str) -> np.ndarray:
    """Ids 0 to 26 of the letters and of spaces, everything else counting as a space."""
    words = "".join(c if c in LETTERS else " " for c in text).split()
    return np.array([LETTERS.index(c) for c in " ".join(words)], dtype=int)


def pair_counts(ids: np.ndarray, K: int) -> np.ndarray:
    """Entry (i, j): how often symbol j follows symbol i in ids (T,)."""
    counts = np.zeros((K, K))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts


K = len(LETTERS)
ids = encode(TEXT)
counts = pair_counts(ids, K)
bigram = conditional(counts)
frequencies = counts.sum(axis=0) / counts.sum()  # without context
previous, following = ids[:-1], ids[1:]
assert bigram.shape == (K, K) and frequencies.shape == (K,)
losses = {"uniform": np.log(K), "frequencies": -np.log(frequencies[following]).mean(),
          "bigram": -np.log(bigram[previous, following]).mean()}
for name, loss in losses.items():
    print(f"{name:11} {loss:.2f} nats = {loss / np.log(2):.2f} bits per letter")

# %%
#| label: fig-bigram
#| fig-cap: The bigram table, one distribution in each row. The last row and column stand for the space.
#| fig-alt: "A 27 by 27 heat map, mostly dark. A few cells are bright: j and q are always followed by u, v by e and x by p, and d, f, s and y are often followed by a space."
fig, ax = plt.subplots(figsize=(5.4, 4.6))
image = ax.imshow(bigram)
names = [*LETTERS[:-1], "_"]
ax.set_xticks(range(K), names)
ax.set_yticks(range(K), names)
ax.tick_params(labelsize=7, length=0)
ax.set(xlabel="next letter", ylabel="letter")
ax.grid(False)
fig.colorbar(image, label="probability", shrink=0.85)

# %% [markdown]
# **What the code shows:** this is the loss $L$ of the box (without the first letter, which has no predecessor), in *nats*, the unit of the natural logarithm, and, divided by $\log 2$, in bits.
# On the text that was counted, one letter of context is worth `{python} f"{(losses['frequencies'] - losses['bigram']) / np.log(2):.2f}"` bits per letter, since most of @fig-bigram is dark.
#
# Why not count longer contexts?
# A table over $n$ symbols has $K^n$ entries.
# With GPT-2's vocabulary of 50,257 pieces of words [@radford2019language] the bigram table has `{python} f"{50257**2 / 1e9:.1f}"` billion, more than the largest GPT-2 has parameters, and one over its full context of 1,024 has a number of entries with `{python} f"{int(1024 * np.log10(50257)) + 1:,}"` digits.
# No text fills such a table.
# So a network *computes* the scores from the context [@bengio2003neural], which is the idea of [GPT](../transformers/gpt.py#counting-runs-out-of-text).
#
# ### From scores to probabilities
#
# A network outputs any real numbers; a distribution needs positive numbers that sum to one.
# Exponentiate and divide: that is the *softmax* [@bridle1990probabilistic], the second line of the box.
# The scores $(\log 6, \log 3, 0)$ become $(6, 3, 1) / 10$.
# Two facts:
#
# $$
# \begin{aligned}
# \frac{e^{s_j - c}}{\sum_k e^{s_k - c}} &= \frac{e^{-c} e^{s_j}}{e^{-c} \sum_k e^{s_k}} = \text{softmax}(s)_j, \\
# \log \frac{p_j}{p_k} &= s_j - s_k
# \end{aligned}
# $$
#
# **What this means:** adding a constant to all logits changes nothing, because only differences matter.
# The code uses that freedom: with $c = \max_k s_k$ the largest exponential is $e^0 = 1$, so nothing overflows (`np.exp(710)` is infinite) and the sum is at least 1.
# Dividing logits by a *temperature* $\tau$ divides all log-ratios: $\tau \to 0$ gives the largest score everything, $\tau \to \infty$ gives every symbol $1/K$.
# Chat models are sampled with it, and [distillation](../training/loss-functions.py#a-target-from-a-teacher-distillation), learning from another model's probabilities, trains with it [@hinton2015distilling].
# Exponentials multiply where scores add, so the softmax is also what Bayes' rule looks like in logarithms: log prior plus log likelihood, normalised.

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


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
s = np.array([np.log(6), np.log(3), 0.0])
assert np.allclose(softmax(s), [0.6, 0.3, 0.1])
assert np.allclose(softmax(s + 1000), softmax(s))
log_posterior = np.log([0.001, 0.999]) + np.log(rates[:, 0])
assert np.allclose(softmax(log_posterior), after[:, 0])  # Bayes' rule
for tau in (0.25, 1, 4):
    print(f"temperature {tau:4}: {softmax(s / tau).round(3)}")

# %% [markdown]
# With two classes and logits $(z, 0)$ the softmax is the *sigmoid* $\sigma(z) = 1 / (1 + e^{-z})$, so $z$ is the log-odds.
# It returns as an [activation function](../neural-networks/activation-functions.py#one-picture-the-input-times-a-gate).
#
# ### Maximum likelihood is minimum cross-entropy
#
# A model $p_\theta$ with parameters $\theta$ gives the $n$ independent targets $y_i$, at inputs $x_i$, the probability $\prod_i p_\theta(y_i \mid x_i)$.
# As a function of $\theta$ this is the *likelihood*; *maximum likelihood* picks the $\theta$ that makes it largest.
# A logarithm turns the product into a sum and keeps the maximum where it is; a factor $-1/n$ turns it into a mean loss.
# Look at one input $x$ that occurs often, and let $f_j$ be the fraction of its targets that are $j$:
#
# $$
# \begin{aligned}
# -\frac{1}{n} \log \prod_{i=1}^{n} p_\theta(y_i \mid x)
# &= \frac{1}{n} \sum_{i=1}^{n} -\log p_\theta(y_i \mid x) \\
# &= -\sum_j f_j \log p_\theta(j \mid x)
# \end{aligned}
# $$
#
# The last sum is the *cross-entropy* $H(f, p)$.
# Where is it smallest?
# Since $\log u \le u - 1$, with equality only at $u = 1$,
#
# $$
# \begin{aligned}
# H(f, f) - H(f, p) &= \sum_j f_j \log \frac{p_j}{f_j} \\
# &\le \sum_j f_j \left( \frac{p_j}{f_j} - 1 \right) \le 0 ,
# \end{aligned}
# $$
#
# where the sums run over $f_j \gt 0$.
#
# **What this means:** maximum likelihood and minimum cross-entropy are the same thing, and the best distribution is the observed one, $p = f$, if the model can express it.
# With many inputs the loss is the average of such terms.
# So the bigram table, made by counting, was the maximum-likelihood table.
#
# With logits the loss of one example is $\log \sum_k e^{s_k} - s_y$.
# The [derivative](calculus.py#gradients-by-differentials) of the first term is $e^{s_j} / \sum_k e^{s_k} = p_j$, so $\partial L / \partial s_j = p_j - \delta_{jy}$, prediction minus truth, where $\delta_{jy}$ is 1 if $j = y$ and 0 otherwise.
# *Gradient descent* subtracts a multiple of the gradient, again and again, and must find the counts without counting.

# %%
def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over the rows of -log softmax(logits)[y]; logits (n, K), y (n,)."""
    return float(-log_softmax(logits)[np.arange(len(y)), y].mean())


def cross_entropy_backward(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of `cross_entropy` with respect to the logits (n, K)."""
    p = softmax(logits)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)


table = np.zeros((K, K))  # logits of the next letter, one row for each letter
for step in range(2001):
    if step in (0, 20, 200, 2000):
        loss = cross_entropy(table[previous], following)
        print(f"step {step:4d}: {loss:.3f} nats (counting: {losses['bigram']:.3f})")
    grad = np.zeros((K, K))
    np.add.at(grad, previous, cross_entropy_backward(table[previous], following))
    table -= 20 * grad

# %% [markdown]
# **What the code shows:** training starts at $\log K$, the loss of a model that knows nothing, and comes within `{python} f"{loss - losses['bigram']:.3f}"` nats of the counted table.
# The first fact is a test for any new model: with GPT-2's vocabulary the first loss should be near `{python} f"{np.log(50257):.2f}"`.
# Replace the table by a network that sees the whole context, and this loop is [pretraining](../modern-llms/pretraining.py).
#
# If you stop here, you have the core: *condition, normalise, maximise the probability of what happened*.

# %% tags=["test"]
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


# %% tags=["test", "experiment"]
def test_table_reaches_the_counts():
    assert abs(cross_entropy(table[previous], following) - losses["bigram"]) < 0.01
    assert losses["bigram"] < losses["frequencies"] < losses["uniform"]


# %% [markdown]
# ## 2. Deeper treatment
#
# ### A distribution makes a loss
#
# Choose a distribution for the target, take $-\log p$, and maximum likelihood hands you the loss.
#
# | distribution | $p(y)$ | mean | variance | $-\log p(y)$ as a loss |
# |---|---|---|---|---|
# | Bernoulli, $y \in \{0, 1\}$ | $q^y (1 - q)^{1 - y}$ | $q$ | $q (1 - q)$ | binary cross-entropy |
# | categorical, $y \in \{0, \dots, K - 1\}$ | $p_y$ | $p$, if $y$ is written one-hot | $\text{diag}(p) - p^\top p$ (below) | cross-entropy |
# | Gaussian, $y \in \mathbb{R}$ | $e^{-(y - \mu)^2 / 2 \sigma^2} / \sqrt{2 \pi \sigma^2}$ | $\mu$ | $\sigma^2$ | squared error over $2 \sigma^2$, plus $\log \sigma$ and a constant |
#
# For a continuous $y$ the function $p$ is a *density*: the area under it is a probability, and the density itself may exceed one.
# A Gaussian with $\sigma = 0.1$ reaches `{python} f"{1 / np.sqrt(2 * np.pi * 0.01):.2f}"`, so its negative log-likelihood can be negative, and that is no bug.
# [Loss functions](../training/loss-functions.py) build on this table.

# %%
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), safe at both ends."""
    return np.exp(-np.logaddexp(0, -z))


def bernoulli_nll(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log p(y) for y in {0, 1} and p(1) = sigmoid(z), from the logit z."""
    return np.logaddexp(0, z) - y * z


def gaussian_nll(y: np.ndarray, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """-log of the normal density with mean mu and standard deviation sigma."""
    return 0.5 * ((y - mu) / sigma) ** 2 + np.log(sigma) + 0.5 * np.log(2 * np.pi)

# %% [markdown]
# ### The Jacobian of the softmax
#
# Start from $\log p_j = s_j - \log \sum_k e^{s_k}$. Its derivative with respect to $s_l$ is $\delta_{jl} - p_l$.
# Multiply by $p_j$, and with $p$ as a row vector
#
# $$
# \frac{\partial p_j}{\partial s_l} = p_j (\delta_{jl} - p_l),
# \quad
# J = \text{diag}(p) - p^\top p
# $$
#
# **What this means:** raising one logit raises its own probability and lowers all others in proportion to what they have.
# Rows sum to zero, which is the shift invariance again.
# $J$ is also a covariance matrix, that of the one-hot vector (1 at the drawn symbol, 0 elsewhere).
# So the softmax reacts where it is uncertain, and a confident one has almost no gradient.
#
# [Backpropagation](../neural-networks/backpropagation.py#exercise-3-apply-the-backward-pass-of-softmax) needs only $dp J$, where the row $dp$ is the gradient of a loss with respect to $p$; this is $p \odot (dp - dp \cdot p)$, without building $J$.

# %%
def softmax_jacobian(p: np.ndarray) -> np.ndarray:
    """diag(p) - p^T p, shape (K, K), at p = softmax(s)."""
    return np.diag(p) - np.outer(p, p)


def softmax_backward(dp: np.ndarray, p: np.ndarray) -> np.ndarray:
    """ds from dp and p = softmax(s), all of shape (..., K)."""
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


p = softmax(s)
print(softmax_jacobian(p).round(2))
onehots = np.eye(3)[rng.choice(3, size=100_000, p=p)]
assert np.allclose(np.cov(onehots.T), softmax_jacobian(p), atol=0.01)

# %% [markdown]
# **What the code shows:** rows and columns sum to zero, and the assertion finds the same matrix as the covariance of drawn one-hot vectors.
#
# ### Entropy, cross-entropy, divergence
#
# $$
# \begin{aligned}
# H(p) &= -\sum_j p_j \log p_j, \\
# H(p, q) &= -\sum_j p_j \log q_j, \\
# \text{KL}(p \,\Vert\, q) &= H(p, q) - H(p) \ge 0
# \end{aligned}
# $$
#
# **What this means:** the *entropy* is the loss that remains when the model is perfect; the *Kullback–Leibler divergence* is what you lose by believing $q$ while $p$ happens.
# Section 1 proved that it is never negative.
# It is not a distance: swap the arguments and it changes.
# $e^{L}$, the *perplexity*, is the number of equally likely symbols that would be as hard to guess.
#
# By hand, for the column sums above and the uniform $u$: $H(p) = \frac{1}{2} \log 2 + \frac{1}{2} \log 4 = \frac{3}{2} \log 2$, 1.5 bits; $H(p, u) = \log 3$; the difference is the divergence.
# [Information theory](information-theory.py) says what these quantities count.

# %%
def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats: terms with p = 0 are 0, q = 0 where p > 0 gives infinity."""
    used = p > 0
    with np.errstate(divide="ignore"):
        return float((p[used] * (np.log(p[used]) - np.log(q[used]))).sum())


uniform = np.full(3, 1 / 3)
assert np.isclose(divergence(p_y, uniform), np.log(3) - 1.5 * np.log(2))
print(f"KL(p, u) = {divergence(p_y, uniform):.4f}")
print(f"KL(u, p) = {divergence(uniform, p_y):.4f}")
print(f"KL(p, row b) = {divergence(p_y, conditional(P)[1])}")

# %% [markdown]
# **What the code shows:** the row of b gives the letter b probability 0, so whoever believes it is infinitely surprised when a b comes.
# Section 3 meets this infinity in practice.
#
# ### Sampling
#
# A computer gives you $u$, uniform between 0 and 1.
# *Inverse CDF:* lay the probabilities end to end from 0 to 1 and return the symbol whose piece contains $u$; the piece of symbol $j$ has length $p_j$.
# The running sums are the *cumulative distribution function*, which this inverts.
#
# *Gumbel-max* [@gumbel1954statistical; @maddison2014sampling] needs no normalisation: add noise $g_j = -\log(-\log u_j)$, with independent $u_j$, to each logit and take the largest.
# Why is that a sample from the softmax?
# Put $r_j = e^{s_j}$ and $t_j = -\log(u_j) / r_j$.
# Then $s_j + g_j = -\log t_j$, so the largest noisy logit is the smallest $t_j$, and $p(t_j \gt t) = p(u_j \lt e^{-r_j t}) = e^{-r_j t}$: each $t_j$ is the waiting time for an event of rate $r_j$, with density $r_j e^{-r_j t}$.
# Event $j$ comes first if all others wait longer:
#
# $$
# \begin{aligned}
# \int_0^\infty r_j e^{-r_j t} \prod_{k \ne j} e^{-r_k t} dt
# &= r_j \int_0^\infty e^{-t \sum_k r_k} dt \\
# &= \frac{r_j}{\sum_k r_k} = \text{softmax}(s)_j
# \end{aligned}
# $$
#
# **What this means:** drawing from a softmax is a race, and the logits are the log-speeds.
# The noise does not depend on the logits, so only the maximum stops the gradient; put a softmax in its place and you get a soft, differentiable stand-in for a sample [@jang2017categorical; @maddison2017concrete].

# %%
def sample_inverse_cdf(p: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n draws (n,) from the distribution p (K,), with one uniform number each."""
    cdf = np.cumsum(p)  # its last entry is 1 up to rounding
    return np.searchsorted(cdf[:-1], rng.random(n) * cdf[-1], side="right")


def sample_gumbel(s: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n draws (n,) from softmax(s), for logits s (K,)."""
    waits = rng.exponential(size=(n, len(s)))  # -log(u)
    return (s - np.log(waits)).argmax(axis=-1)


n = 100_000
for name, draws in (("inverse CDF", sample_inverse_cdf(p, n, rng)),
                    ("Gumbel-max", sample_gumbel(s, n, rng))):
    print(f"{name:11} {(np.bincount(draws, minlength=3) / n).round(3)}")
letters = [26]
for _ in range(60):
    letters += list(sample_inverse_cdf(bigram[letters[-1]], 1, rng))
print("the bigram model writes:", "".join(LETTERS[i] for i in letters))

# %% [markdown]
# **What the code shows:** both samplers hit 0.6, 0.3 and 0.1 up to noise, and drawing letter after letter from the chain rule writes text.
# It has the sounds of English and few of its words: one letter of memory is not enough.
# Large models write by the same loop; [GPT](../transformers/gpt.py#drawing-a-token) refines how each symbol is drawn.
#
# ### Averages, and how far they are off
#
# Take $n$ independent draws $x_i$ with mean $\mu$ and variance $\sigma^2$, and their average $\bar{x}$.
# Variances add and the factor $1/n$ comes out squared:
#
# $$
# \text{Var}[\bar{x}] = \frac{1}{n^2} \sum_{i=1}^{n} \text{Var}[x_i] = \frac{\sigma^2}{n}
# $$
#
# **What this means:** the *standard error* is $\sigma / \sqrt{n}$; half the error costs four times the data, in any dimension.
# That the average settles on $\mu$ is the *law of large numbers*; that its error, times $\sqrt{n}$, becomes Gaussian whatever the draws look like is the *central limit theorem* (in this form both need a finite variance).
# The [gradient of a minibatch](../training/batching.py#noise-falls-with-the-square-root), a few randomly drawn examples, is such an average.

# %%
#| label: fig-averages
#| fig-cap: "Averages of exponential draws, which have mean and standard deviation 1. Left: error of the average; line, median of 400 repetitions; band, 10th to 90th percentile; dotted, the standard error. Right: distribution of the scaled error for three sample sizes, with the Gaussian."
#| fig-alt: "Left: on logarithmic axes the error falls along a straight line, one decade for every two decades of draws. Right: the histogram of single draws is a lopsided spike, that of averages of four is less so, that of averages of 64 nearly covers the bell curve."
fig, (left, right_ax) = plt.subplots(1, 2, figsize=(7.4, 3.2))
sizes = np.unique(np.geomspace(1, 10_000, 40).astype(int))
running = rng.exponential(size=(400, 10_000)).cumsum(axis=1)[:, sizes - 1] / sizes
low, median, high = np.quantile(np.abs(running - 1), [0.1, 0.5, 0.9], axis=0)
left.loglog(sizes, median)
left.fill_between(sizes, low, high, alpha=0.2)
left.loglog(sizes, 1 / np.sqrt(sizes), ":", color="0.3")
left.set(xlabel="draws", ylabel="error of the average")
grid = np.linspace(-3, 4, 57)
for size, style in ((1, ":"), (4, "--"), (64, "-")):
    scaled = (rng.exponential(size=(40_000, size)).mean(axis=1) - 1) * np.sqrt(size)
    heights, _ = np.histogram(scaled, bins=grid, density=True)
    right_ax.stairs(heights, grid, linestyle=style, label=f"n = {size}", linewidth=1.4)
centres = (grid[1:] + grid[:-1]) / 2
right_ax.plot(centres, np.exp(-gaussian_nll(centres, 0, 1)), color="0.3", linewidth=1,
              label="Gaussian")
right_ax.set(xlabel="error times root of n", ylabel="density")
right_ax.legend()

# %% [markdown]
# In @fig-averages both theorems hold for draws that are far from Gaussian.
#
# One practical use is the error bar of a benchmark [@miller2024adding].
# A model that solves 85% of the 164 problems of HumanEval [@chen2021evaluating] has a standard error of $\sqrt{0.85 \cdot 0.15 / 164}$, which is `{python} f"{np.sqrt(0.85 * 0.15 / 164):.1%}"`.
# A rival two points ahead on another 164 questions is within the noise; on the *same* questions compare the differences question by question, whose variance is usually smaller, since both models fail on the hard ones.
#
# ### N or N − 1
#
# To estimate $\sigma^2$ you subtract $\bar{x}$, which was fitted to the same data and sits too close to it.
# How much too close?
# Since $\sum_i (x_i - \bar{x})^2 = \sum_i (x_i - \mu)^2 - N (\bar{x} - \mu)^2$,
#
# $$
# \mathbb{E}\left[\sum_{i=1}^{N} (x_i - \bar{x})^2\right]
# = N \sigma^2 - N \frac{\sigma^2}{N} = (N - 1) \sigma^2
# $$
#
# **What this means:** dividing by $N$ gives an estimate too small by the factor $(N - 1)/N$; dividing by $N - 1$ is right on average.
# Mind the library: `np.var` divides by $N$, `torch.var` by $N - 1$.

# %%
import torch

for N in (2, 5, 50):
    x = rng.normal(0, 2, size=(40_000, N))
    by_n, by_n_minus_1 = x.var(axis=1).mean(), torch.from_numpy(x).var(dim=1).mean()
    print(f"N {N:2d}: np.var {by_n:.2f}, torch.var {by_n_minus_1:.2f} (true value 4)")

# %% [markdown]
# ### Priors
#
# Parameters are unknown, so give them a distribution too.
# Bayes' rule says $p(\theta \mid \text{data}) \propto p(\text{data} \mid \theta) p(\theta)$, where $\propto$ means equal up to a factor without $\theta$.
# The most probable $\theta$, the *maximum a posteriori* or MAP estimate, minimises
#
# $$
# -\log p(\text{data} \mid \theta) - \log p(\theta)
# = n L(\theta) + \frac{\lVert \theta \rVert^2}{2 \rho^2} + \text{constant}
# $$
#
# for a Gaussian prior with mean 0 and variance $\rho^2$ on each parameter.
#
# **What this means:** believing that weights are small adds a quadratic penalty to the loss, and in gradient descent it becomes *weight decay*, with strength $\lambda = 1 / (n \rho^2)$ for the mean loss.
# [Regularization](../neural-networks/regularization.py#weight-decay-shrinks-each-direction-by-its-own-factor) takes it from here; [AdamW](../training/optimizers.py#decay-beside-the-gradient-not-in-it) decays differently.
#
# ### Experiment: may you believe a softmax?
#
# A classifier is *calibrated* if, among the predictions that it makes with confidence $c$ (the largest probability), a fraction $c$ is right.
# The *expected calibration error* (ECE) sorts predictions into bins of confidence and averages the gap between confidence and accuracy over the bins, weighted by their sizes.
#
# **Question.** Are the probabilities of a maximum-likelihood classifier calibrated when data is scarce, and what repairs them?
# The model is linear with a softmax; the data are the 8×8 digits that come with scikit-learn (UCI, CC BY 4.0) [@alpaydin1998optical], of which it sees the two middle rows, 16 pixels.
# It trains on 100 images, by 5,000 steps of gradient descent.
# 300 others choose the prior's strength $\lambda$ (the MAP run; the bias is left free) and a temperature for the finished maximum-likelihood model [@guo2017calibration], each by its cross-entropy.
# A control has no prior and stops after 1,000 steps.
# The remaining 1,397 are the test, with 8 random splits.
# Four other set-ups were tried before this one was chosen, so read the result as a picked example, not a typical one.
#
# **Prediction.** With 170 parameters for 100 images, maximum likelihood buys training likelihood with large weights and is overconfident.
# The prior and the temperature shrink logits, so both should close the gap.
# The temperature cannot change accuracy, for it keeps the order of the logits.

# %%
from sklearn.datasets import load_digits


def fit(X: np.ndarray, y: np.ndarray, decay: float, steps: int) -> tuple:
    """W (d, 10), b (10,) of softmax regression by gradient descent, decay on W."""
    W, b = np.zeros((X.shape[1], 10)), np.zeros(10)
    for _ in range(steps):
        ds = cross_entropy_backward(X @ W + b, y)
        W, b = W - X.T @ ds - decay * W, b - ds.sum(axis=0)
    return W, b


def bin_sums(p: np.ndarray, y: np.ndarray, bins: int = 10) -> np.ndarray:
    """Count, sum of confidences and number right in each bin, shape (3, bins)."""
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == y
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return np.array([np.bincount(place, weights, bins)
                     for weights in (np.ones(len(y)), confidence, hit)])


def calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of the probabilities p (n, K) for targets y (n,)."""
    _, confidence, hits = bin_sums(p, y, bins)
    return float(np.abs(hits - confidence).sum() / len(y))

# %%
images, digits = load_digits(return_X_y=True)
pixels = images[:, 24:40] / 16  # rows 3 and 4 of 0 to 7
DECAYS, TEMPERATURES = (3e-4, 1e-3, 3e-3), np.geomspace(0.3, 10, 60)
NAMES = ("maximum likelihood", "with temperature", "with prior (MAP)", "stopped early")
runs: dict = {name: [] for name in NAMES}
for seed in range(8):
    order = np.random.default_rng(seed).permutation(len(digits))
    train, valid, test = order[:100], order[100:400], order[400:]

    def logits_of(model: tuple, rows: np.ndarray) -> np.ndarray:
        return pixels[rows] @ model[0] + model[1]

    plain = fit(pixels[train], digits[train], 0.0, 5000)
    tau = min(TEMPERATURES, key=lambda tau: cross_entropy(
        logits_of(plain, valid) / tau, digits[valid]))
    decayed = [fit(pixels[train], digits[train], decay, 5000) for decay in DECAYS]
    with_prior = min(decayed, key=lambda model: cross_entropy(
        logits_of(model, valid), digits[valid]))
    early = fit(pixels[train], digits[train], 0.0, 1000)
    raw = logits_of(plain, test)
    for name, z in zip(NAMES, (raw, raw / tau, logits_of(with_prior, test),
                               logits_of(early, test))):
        p, y = softmax(z), digits[test]
        waits = rng.exponential(size=z.shape)
        ideal = (z - np.log(waits)).argmax(axis=1)  # targets drawn from p
        numbers = [(p.argmax(axis=1) == y).mean(), p.max(axis=1).mean(),
                   calibration_error(p, y), cross_entropy(z, y),
                   calibration_error(p, ideal)]
        runs[name].append((numbers, bin_sums(p, y)))

scores = {name: np.array([numbers for numbers, _ in run]) for name, run in runs.items()}
print(f"{'':18} accuracy confidence          ECE  loss")
for name, score in scores.items():
    accuracy, confidence, ece, loss, _ = score.T
    print(f"{name:18} {accuracy.mean():8.2f} {confidence.mean():10.2f} "
          f"{ece.mean():.3f}±{ece.std(ddof=1):.3f} {loss.mean():5.2f}")

# %%
#| label: fig-reliability
#| fig-cap: "Accuracy against confidence in ten bins. Points are means over 8 splits, bars the standard deviation between splits; grey line, perfect calibration."
#| fig-alt: "All points of maximum likelihood lie below the diagonal, most by more than ten points. With a temperature or a prior the points lie close to the diagonal."
fig, ax = plt.subplots(figsize=(5.2, 3.8))
ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
for name, style in zip(NAMES[:3], ("s--", "o-", "^:")):
    sums = np.array([sums for _, sums in runs[name]])
    size, confidence, hits = sums.transpose(1, 0, 2)
    kept = size.min(axis=0) >= 10  # bins with at least ten predictions in every split
    rate = hits[:, kept] / size[:, kept]
    ax.errorbar((confidence[:, kept] / size[:, kept]).mean(axis=0), rate.mean(axis=0),
                rate.std(axis=0, ddof=1), fmt=style, capsize=2, label=name)
ax.set(xlabel="confidence", ylabel="fraction right", xlim=(0.1, 1), ylim=(0, 1))
ax.legend(loc="upper left")

# %% [markdown]
# **What the code shows:** the prediction holds.
# Maximum likelihood claims `{python} f"{scores['maximum likelihood'][:, 1].mean():.0%}"` and is right in `{python} f"{scores['maximum likelihood'][:, 0].mean():.0%}"`; the temperature brings the ECE from `{python} f"{scores['maximum likelihood'][:, 2].mean():.2f}"` to `{python} f"{scores['with temperature'][:, 2].mean():.2f}"`, the prior to `{python} f"{scores['with prior (MAP)'][:, 2].mean():.2f}"` (@fig-reliability).
# Much of the rest is the measure itself: with targets drawn from the model's own probabilities the ECE is still `{python} f"{scores['with temperature'][:, 4].mean():.2f}"`, so zero is the wrong yardstick.
# Where they are most confident, both repairs err on the cautious side.
# This is one small model on one data set, and the prior and the temperature saw 300 labels that maximum likelihood did not.
# Early stopping, with a number of steps picked by hand, comes to `{python} f"{scores['stopped early'][:, 2].mean():.2f}"` without them: the prior is one way of several to keep weights small.
#
# In 2017 large image networks were found overconfident, and one temperature repaired much of it [@guo2017calibration]; later architectures were better calibrated from the start [@minderer2021revisiting], and the binned ECE was shown to mislead [@nixon2019measuring].
# Language models after pretraining can be well calibrated on multiple-choice questions [@kadavath2022language].
# For GPT-4, OpenAI reports good calibration on part of one such benchmark before post-training (all that follows pretraining, see [instruction tuning](../modern-llms/instruction-tuning.py)) and worse after it, without saying which step of it is to blame [@openai2023gpt4, Section 5 and Figure 8].

# %% tags=["test", "experiment"]
def test_calibration_conclusion():
    ml, cooled, prior, early = scores.values()
    assert np.array_equal(ml[:, 0], cooled[:, 0])  # accuracy
    assert (ml[:, 1] > ml[:, 0] + 0.1).all()  # overconfident in every split
    assert (ml[:, 2] > np.maximum(cooled[:, 2], prior[:, 2])).all()
    assert (ml[:, 2] > early[:, 2]).all() and early[:, 2].mean() < 0.5 * ml[:, 2].mean()
    assert max(cooled[:, 2].mean(), prior[:, 2].mean()) < 0.4 * ml[:, 2].mean()
    assert cooled[:, 4].mean() < cooled[:, 2].mean()


# %% tags=["test"]
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


class FixedUniform:
    """Stands in for a generator and returns the numbers it was given."""

    def __init__(self, values: list):
        self.values = np.array(values)

    def random(self, n: int) -> np.ndarray:
        assert n == len(self.values)
        return self.values


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


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: probabilities multiplied away
#
# A text's probability is a product of numbers below one, and a computer's numbers end near $10^{-45}$ (float32) or $10^{-324}$ (float64).

# %%
factors = bigram[previous, following]
for dtype in (np.float32, np.float64):
    alive = int((np.cumprod(factors.astype(dtype)) > 0).sum())
    print(f"{dtype.__name__}: the product is exactly 0 after {alive} letters")
print(f"sum of the logarithms: {np.log(factors).sum():.0f} for {len(factors)} letters")
with np.errstate(divide="ignore"):
    naive = np.log(softmax(np.array([0.0, 800.0])))
print("log of softmax:", naive, " log-softmax:", log_softmax(np.array([0.0, 800.0])))

# %% [markdown]
# **Symptom:** every longer text has probability 0, models tie, a logarithm gives `-inf` and then NaN.
# **Cause:** underflow.
# **Fix:** stay in log space. Products become sums, sums become log-sum-exp, and you never take the logarithm of a softmax that you computed first.
#
# ### Failure mode 2: softmax twice
#
# PyTorch's `cross_entropy` expects logits.
# Give it probabilities and nothing complains.

# %%
def train_table(twice: bool, steps: int = 2000) -> tuple[float, float]:
    """Loss that training reports and true loss, if a second softmax slips in."""
    table = np.zeros((K, K))
    for _ in range(steps):
        s = table[previous]
        p = softmax(s)
        ds = (softmax_backward(cross_entropy_backward(p, following), p) if twice
              else cross_entropy_backward(s, following))
        np.add.at(table, previous, -20 * ds)
    s = table[previous]
    reported = cross_entropy(softmax(s) if twice else s, following)
    return reported, cross_entropy(s, following)


twice = {flag: train_table(flag) for flag in (False, True)}
for flag, (reported, true) in twice.items():
    print(f"second softmax {flag!s:5}: reported {reported:.2f}, true {true:.2f}")
floor_27, floor_gpt2 = np.log(np.e + K - 1) - 1, np.log(np.e + 50256) - 1
print(f"lowest loss it can report: {floor_27:.2f} (GPT-2: {floor_gpt2:.2f})")

# %% tags=["test", "experiment"]
def test_second_softmax_conclusion():
    assert abs(twice[False][0] - twice[False][1]) < 1e-12
    assert floor_27 < twice[True][0] < losses["uniform"] < twice[True][1]


# %% [markdown]
# **Symptom:** the loss falls a little and stops far above what you expect, while accuracy may look fine.
# **Cause:** probabilities lie between 0 and 1, so as logits they differ by at most 1, and even a perfect prediction costs $\log(e + K - 1) - 1$. Training now pushes the first softmax towards 0 and 1, and the true loss ends above the `{python} f"{losses['uniform']:.2f}"` of knowing nothing.
# **Fix:** return logits from the model; compute that floor and compare.
#
# ### Failure mode 3: an event that was never counted

# %%
held_out = encode("nobody can know the weather of next july, but in june she tries")
seen = pair_counts(held_out, K) > 0
print(f"{(seen & (counts == 0)).sum()} of {seen.sum()} pairs are new")
for alpha in (0, 0.01, 0.1, 1, 10):
    smooth = (counts + alpha) / (counts + alpha).sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        loss = -np.log(smooth[held_out[:-1], held_out[1:]]).mean()
    print(f"alpha {alpha:5}: {loss:.2f} nats on new text")

# %% [markdown]
# **Symptom:** a fine training loss, and an infinite loss on the first new text.
# **Cause:** maximum likelihood gives what it never saw probability zero.
# **Fix:** add $\alpha$ imaginary observations of every symbol, $(c_j + \alpha) / (\sum_k c_k + \alpha K)$. That is the average over the posterior for a *Dirichlet* prior, the density over distributions proportional to $\prod_j p_j^{\alpha - 1}$, so a prior repairs maximum likelihood here too, and too strong a prior hurts.
# A softmax over finite logits never says zero; a network fails by being expensively wrong instead.
#
# ### What a distribution over a vocabulary costs
#
# For $n$ tokens (pieces of words), width $d$ and vocabulary $K$ the last layer takes $2ndK$ operations and writes $nK$ logits.

# %%
def output_layer(n: int, d: int, K: int, itemsize: int = 4) -> tuple[int, int]:
    """FLOPs and bytes of the logits of n tokens, width d, vocabulary K."""
    return 2 * n * d * K, n * K * itemsize


flops, size = output_layer(n=1024, d=768, K=50257)  # GPT-2 small, one sequence
assert (flops, size) == (79_047_426_048, 205_852_672)
print(f"{flops / 1e9:.0f} GFLOP, {size / 1e6:.0f} MB of logits in float32, "
      f"{size / (1024 * 768 * 4):.0f} times the vectors they come from")

# %% [markdown]
# **What the code shows:** the logits dwarf what they are computed from, and the gradient doubles them.
# The log-sum-exp of the log-sum-exps of pieces is that of the whole, so the loss can be computed without ever storing all logits [@wijmans2025cut].
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - *Logarithms.* Losses are in nats (natural logarithm); divide by $\log 2$ for bits.
# > - *Likelihood or probability.* $p(\text{data} \mid \theta)$ is a distribution over data. As a function of $\theta$ it is the likelihood, and need not integrate to one.
# > - *What a loss function eats.* In PyTorch `cross_entropy` and `binary_cross_entropy_with_logits` take logits, `nll_loss` log-probabilities, `binary_cross_entropy` probabilities; scikit-learn's `log_loss` takes probabilities.
# > - *KL's arguments.* PyTorch's `kl_div(log_q, p)` is $\text{KL}(p \,\Vert\, q)$: the model comes first and in logarithms.
# > - *Variance or standard deviation.* $\mathcal{N}(\mu, \sigma^2)$ names the variance; `rng.normal` and `torch.normal` want $\sigma$.
# > - *N or N − 1.* NumPy's `var` divides by $N$, PyTorch's and pandas' by $N - 1$. Batch normalisation uses both.
# > - *Multinomial.* `torch.multinomial` draws from a categorical distribution; a multinomial variable is the vector of counts.
# > - *Uncorrelated or independent.* Independent variables have covariance 0; the converse fails ($x$ and $x^2$ for a symmetric $x$).

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): two filters
#
# A second filter, as good as the first, looks at a prompt that the first has blocked, and blocks it too.
# Its mistakes are independent of the first one's, given whether the prompt is harmful.
# Return the probability that the prompt is harmful, for any `prior` and `accuracy`; do the case of the text by odds, in your head.
# What if the second filter is a copy of the first?

# %%
def two_filters(prior: float, accuracy: float) -> float:
    """p(harmful | both filters block)."""
    ### BEGIN SOLUTION
    harmful = prior * accuracy**2
    harmless = (1 - prior) * (1 - accuracy) ** 2
    return harmful / (harmful + harmless)
    ### END SOLUTION

# %% tags=["test"]
def test_two_filters():
    assert abs(two_filters(0.001, 0.99) - 9801 / 10800) < 1e-12
    rows = np.array([[0.8, 0.2], [0.2, 0.8]])
    once = posterior(np.array([0.3, 0.7]), rows)[:, 0]
    assert abs(two_filters(0.3, 0.8) - posterior(once, rows)[0, 0]) < 1e-12
    assert abs(two_filters(0.25, 0.5) - 0.25) < 1e-12  # coins say nothing

# %% [markdown] tags=["solution"]
# Odds 1 to 999, times 99, times 99 again: 9801 to 999, or 0.91.
# A copy makes the same mistakes, adds no evidence and leaves the odds at 99 to 999.
# The posterior after one observation is the prior for the next, but only if the observations are independent *given the cause*.

# %% [markdown]
# ### Exercise 2 (check): three variances
#
# All variables have variance 1. Find (a) the variance of $x - y$ for independent $x, y$; (b) the variance of the mean of $n$ variables, each pair with covariance $c$, and its limit; (c) the variance of $q \cdot k$ in $d$ dimensions if all components are independent with mean 1 instead of 0.

# %% [markdown] tags=["solution"]
# (a) 2: the factor $-1$ is squared. (b) $(n + n(n - 1) c) / n^2 = c + (1 - c)/n$, which tends to $c$: correlated errors do not average out. (c) $\mathbb{E}[q_i^2] = 1 + 1 = 2$, so $\text{Var}[q_i k_i] = 2 \cdot 2 - 1 = 3$ and the sum has $3d$. The $d$ of the text needs mean zero, which activations such as ReLU do not have.

# %% [markdown]
# ### Exercise 3 (apply): a mixture in log space
#
# A Gaussian mixture has the density $\sum_j w_j N_j(x)$, where $N_j$ is the density of $\mathcal{N}(\mu_j, \sigma_j^2)$.
# Return its logarithm, also for points so far away that every term underflows.

# %%
def log_mixture(x: np.ndarray, w: np.ndarray, mu: np.ndarray, sigma: np.ndarray):
    """Log-density (n,) at x (n,) of a mixture with weights, means, deviations (k,)."""
    ### BEGIN SOLUTION
    terms = np.log(w) - gaussian_nll(x[:, None], mu, sigma)  # (n, k)
    return log_sum_exp(terms)[:, 0]
    ### END SOLUTION

# %% tags=["test"]
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

# %% [markdown]
# ### Exercise 4 (apply): variance in one pass
#
# $\mathbb{E}[x^2] - \mathbb{E}[x]^2$ needs one pass and loses all digits when the mean is large.
# Welford's recurrence [@welford1962note] keeps the mean and the sum $M$ of squared distances from it: the new value moves the mean by $(x - \text{mean})/n$, and adds the product of its distances from the old and the new mean to $M$.
# Return mean and unbiased variance.

# %%
def one_pass(values: np.ndarray) -> tuple[float, float]:
    """Mean and variance (over N - 1) of at least two values, reading each once."""
    ### BEGIN SOLUTION
    mean, M = 0.0, 0.0
    for n, x in enumerate(values, start=1):
        old = mean
        mean += (x - mean) / n
        M += (x - old) * (x - mean)
    return float(mean), float(M / (len(values) - 1))
    ### END SOLUTION

# %% tags=["test"]
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

# %% [markdown]
# ### Exercise 5 (apply): top-k sampling
#
# Return one draw from the `k` largest logits at a temperature, with the Gumbel trick and without a softmax.
# Ties may be broken in any way.

# %%
def sample_top_k(s: np.ndarray, k: int, tau: float, rng: np.random.Generator) -> int:
    """One index from softmax(s / tau), restricted to the k largest logits (K,)."""
    ### BEGIN SOLUTION
    best = np.argsort(s)[-k:]
    return int(best[sample_gumbel(s[best] / tau, 1, rng)[0]])
    ### END SOLUTION

# %% tags=["test"]
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

# %% [markdown]
# ### Exercise 6 (explore): samples from the wrong distribution
#
# You want an average under $p$ but have $n$ draws from $q$.
# *Importance sampling* weights each by $w = p(x) / q(x)$; the *effective sample size* $(\sum w)^2 / \sum w^2$ says how many draws are left.
# Compute it from the logarithms of the weights.
# Then take $q = \mathcal{N}(0, 1)$ and $p = \mathcal{N}(\delta, 1)$ in each of $d$ dimensions: how does $\mathbb{E}_q[w^2]$ grow with $d$?

# %%
def effective_size(log_w: np.ndarray) -> float:
    """Effective sample size of the weights exp(log_w), shape (n,), of any size."""
    ### BEGIN SOLUTION
    return float(np.exp(2 * log_sum_exp(log_w) - log_sum_exp(2 * log_w))[0])
    ### END SOLUTION

# %% tags=["test"]
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

# %% [markdown] tags=["solution"]
# In one dimension $w = e^{\delta x - \delta^2 / 2}$, and completing the square gives $\mathbb{E}_q[w^2] = e^{\delta^2}$. Dimensions multiply, so it is $e^{d \delta^2}$; since $\mathbb{E}_q[w] = 1$, about $n e^{-d \delta^2}$ draws are left.
# A small change in each of many tokens ruins old samples. That is one reason why reinforcement learning from human feedback ([RLHF](../modern-llms/rlhf.py)), which learns from a model's own samples, keeps the new model close to the one that wrote them.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Bayes' rule | $p(x \mid y) \propto p(y \mid x) p(x)$ | `joint / joint.sum(axis=0)` | filters, classifiers, MAP |
# | Chain rule | $p(x_1, \dots, x_T) = \prod_t p(x_t \mid x_{\lt t})$ | sum of log-probabilities | every language model |
# | Variance of a sum | adds if independent; $\text{Var}[q \cdot k] = d$ | `1 / np.sqrt(d)` | attention, initialisation |
# | Softmax | $e^{s_j} / \sum_k e^{s_k}$ | `softmax(scores / tau)` | output layers, attention, sampling |
# | Its Jacobian | $\text{diag}(p) - p^\top p$ | `p * (dp - (dp * p).sum(...))` | backpropagation |
# | Maximum likelihood | $-\frac{1}{n} \sum_i \log p_\theta(y_i \mid x_i)$ | `-log_softmax(logits)[rows, y].mean()` | pretraining, classification |
# | Divergence | $H(p, q) - H(p) \ge 0$ | `divergence(p, q)` | RLHF, distillation |
# | Gumbel-max | $\max_j (s_j + g_j)$ | `(s - np.log(waits)).argmax()` | sampling tokens |
# | Standard error | $\sigma / \sqrt{n}$ | `x.std(ddof=1) / np.sqrt(n)` | benchmarks, minibatches |
# | Gaussian prior | $\lVert \theta \rVert^2 / 2 \rho^2$ | `- decay * W` | weight decay |
#
# **The essential insight:** a model that must be right has nothing to learn from but mistakes; a model that states probabilities learns from every observation how much it should have expected it. Conditioning says how to use evidence, the chain rule turns a text into many small predictions, the softmax lets a network state any distribution, and maximum likelihood rewards the one that matches the frequencies. The rest is arithmetic in logarithms. What the numbers are worth, though, is a question of fact: count how often you were right.
