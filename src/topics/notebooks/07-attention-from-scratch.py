# ---
# title: Attention from scratch
# summary: Build attention step by step, check every step, and train it to look things up.
# prerequisites:
#   - transformers/attention: what queries, keys and values are, and the formula
#   - math-foundations/probability: the softmax
#   - math-foundations/information-theory: entropy and cross-entropy
#   - neural-networks/backpropagation: gradients of matrix products, and checking them
# packages: [numpy, matplotlib, torch]
# ---

# %% [markdown]
# # Attention from scratch
#
# $$
# \boxed{\text{Attention}(Q, K, V) = \text{softmax}\left(\frac{QK^\top}{\sqrt{d_k}}\right) V}
# $$
#
# Here $Q \in \mathbb{R}^{n \times d_k}$ holds $n$ queries, one per row;
# $K \in \mathbb{R}^{m \times d_k}$ and $V \in \mathbb{R}^{m \times d_v}$ hold $m$ keys
# and their $m$ values; the softmax runs along each row.
# By the end of this lab you will have written this line, its masks, its heads and its
# gradient in NumPy, and trained it on a task that no average can solve.

# %% [markdown]
# ## 1. A task that an average cannot do
#
# The theory is in [attention](../transformers/attention.py); here you build it.
# Where you read **Predict**, write down your answer before you run the next cell.
#
# The task is *associative recall* [@graves2014neural], in the version with several
# questions that is used to compare language models [@arora2024zoology].
# A memory lists pairs such as `d4 k0 b4`.
# A question is a capital letter: `K`.
# The answer is the digit stored with it: `0`.
# Each symbol is one-hot (a 1 in its own place, zeros elsewhere), so a pair is a vector
# with 26 + 10 entries and a question one with 26. Nothing tells the model that `K` and `k` are the same letter.

# %%
import string
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch  # only to check our results against
import torch.nn.functional as F

LETTERS = 26
DIGITS = 10


def draw_recall(
    rng: np.random.Generator, batch: int = 64, m: int = 8, n: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Questions (batch, n, 26), memory (batch, m, 36), answers (batch, n)."""
    order = rng.permuted(np.tile(np.arange(LETTERS), (batch, 1)), axis=1)
    letters = order[:, :m]  # no letter twice in one memory
    digits = rng.integers(DIGITS, size=(batch, m))
    asked = rng.permuted(np.tile(np.arange(m), (batch, 1)), axis=1)[:, :n]
    X_m = np.concatenate([np.eye(LETTERS)[letters], np.eye(DIGITS)[digits]], axis=-1)
    X_q = np.eye(LETTERS)[np.take_along_axis(letters, asked, axis=1)]
    return X_q, X_m, np.take_along_axis(digits, asked, axis=1)


def pair_names(X_m: np.ndarray) -> list[str]:
    """Names such as 'k0' for the rows of one memory (m, 36)."""
    letters, digits = X_m[:, :LETTERS].argmax(1), X_m[:, LETTERS:].argmax(1)
    return [string.ascii_lowercase[i] + str(d) for i, d in zip(letters, digits)]


X_q, X_m, y = draw_recall(np.random.default_rng(0))
questions = [string.ascii_uppercase[i] for i in X_q[0].argmax(1)]
print("memory:   ", *pair_names(X_m[0]))
print("questions:", *questions)
print("answers:  ", *y[0])

# %% [markdown]
# The cheap way to turn a list of any length into one vector is to average it.
# The average of eight pairs says which letters and which digits are there, but not which
# belong together.
# So its best answer is the most common digit, whatever is asked.
# The next cell measures how often that is right, and the lowest cross-entropy loss that
# goes with it: the mean of minus the logarithm of the probability given to the right digit.

# %%
exam = draw_recall(np.random.default_rng(99), batch=4000, n=8)  # asks all eight
share = exam[1].mean(axis=1)[:, LETTERS:]  # (4000, 10): how often each digit occurs
ceiling = share.max(axis=1).mean()
held = share[share > 0]  # the loss of answering with exactly these shares
floor = -(held * np.log(held)).sum() / len(share)
print(f"best accuracy from the average: {ceiling:.3f}")
print(f"lowest loss from the average:   {floor:.2f} nats")
assert ceiling < 0.35

# %% [markdown]
# **What the code shows:** no network on top of the average, however large, can hope to answer
# more than `{python} f"{ceiling:.1%}"` of the questions. Remember that number.
# The one vector of a [sequence-to-sequence](../architectures/sequence-to-sequence.py#encoder-and-decoder) model
# is cleverer than an average, but it too has one size for inputs of any length.
# Attention was invented to get around it [@bahdanau2015neural].

# %% tags=["test"]
def test_draw_recall():
    rng = np.random.default_rng(0)
    for m in (1, 3, 8, 26):
        n = int(rng.integers(1, m + 1))
        X_q, X_m, y = draw_recall(rng, batch=5, m=m, n=n)
        assert X_q.shape == (5, n, 26) and X_m.shape == (5, m, 36) and y.shape == (5, n)
        for b in range(5):
            stored = {name[0]: int(name[1]) for name in pair_names(X_m[b])}
            asked = [string.ascii_lowercase[i] for i in X_q[b].argmax(1)]
            assert len(stored) == m and len(set(asked)) == n
            assert [stored[letter] for letter in asked] == y[b].tolist()


# %% [markdown]
# ## 2. A dictionary lookup, hard then soft
#
# A Python dictionary already answers such questions, but only for a key that it holds.

# %%
wind = {"north": 10.0, "east": 20.0, "south": 30.0, "west": 40.0}  # km/h
print("hard lookup:", wind["north"])
try:
    wind["30 degrees"]
except KeyError as error:
    print("hard lookup: KeyError", error)

# %% [markdown]
# Make it soft in three moves: keys become vectors, "equal" becomes a similarity, and
# every value answers in proportion to how well its key matches.
# A [softmax](../math-foundations/probability.py#from-scores-to-probabilities) with a temperature $\tau$ turns
# the similarities $s_1, \dots, s_m$ into weights:
#
# $$
# w_j = \frac{e^{s_j / \tau}}{\sum_{k=1}^{m} e^{s_k / \tau}}, \qquad
# \text{answer} = \sum_{j=1}^{m} w_j v_j
# $$
#
# The query points 30 degrees east of north.
# **Predict:** what is the answer as $\tau$ goes to zero? And as $\tau$ grows without limit?

# %%
#| label: fig-temperature
#| fig-cap: Left, the weight of each compass key for a query at 30 degrees, against the temperature. Right, the answer.
#| fig-alt: At a low temperature north takes all the weight and the answer is the value for north; at a high temperature the four weights meet at a quarter and the answer is the mean.
compass = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])  # N, E, S, W
speed = np.array(list(wind.values()))
query = np.array([np.sin(np.pi / 6), np.cos(np.pi / 6)])
taus = np.geomspace(0.03, 30, 60)
powers = np.exp(compass @ query / taus[:, None])  # (60, 4)
soft_weights = powers / powers.sum(axis=1, keepdims=True)
answers = soft_weights @ speed

fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3))
for name, line, w in zip(wind, ["-", "--", "-.", ":"], soft_weights.T):
    left.semilogx(taus, w, line, label=name)
left.set(xlabel=r"temperature $\tau$", ylabel="weight")
left.legend()
right.semilogx(taus, answers)
right.axhline(speed[0], color="0.4", ls="--")
right.axhline(speed.mean(), color="0.4", ls=":")
right.text(30, speed[0] + 0.3, "value of the best key", ha="right")
right.text(0.03, speed.mean() - 0.9, "mean of all values")
right.set(xlabel=r"temperature $\tau$", ylabel="answer")
assert abs(answers[0] - speed[0]) < 0.1 and abs(answers[-1] - speed.mean()) < 0.5

# %% [markdown]
# **What the code shows:** cold is the dictionary (`{python} f"{answers[0]:.1f}"`, the value
# of the nearest key), hot is the average (`{python} f"{answers[-1]:.1f}"`, close to the mean
# of `{python} f"{speed.mean():.0f}"`). Attention lives in between.
# Soft has a second gift: nudge the query and the answer moves, so there is a gradient.
# The hard answer stays put, and its gradient is zero nearly everywhere.

# %% [markdown]
# ## 3. Scores and weights by hand
#
# Three tokens, one query, $d_k = 4$, so that $\sqrt{d_k} = 2$:
#
# $$
# \begin{aligned}
# q &= (1, 1, 0, 0), \\
# K &= \begin{pmatrix} 1 & 1 & 0 & 0 \\ 0 & 0 & 1 & 1 \\ -1 & -1 & 0 & 1 \end{pmatrix}, \quad
# V = \begin{pmatrix} 4 & 0 \\ 0 & 4 \\ 2 & 2 \end{pmatrix}
# \end{aligned}
# $$
#
# The [dot products](../math-foundations/linear-algebra.py#the-dot-product-measures-similarity) are $2, 0, -2$; divided by 2,
# the scores are $1, 0, -1$.
# Their exponentials are 2.718, 1 and 0.368, with sum 4.086.
# So the weights are 0.665, 0.245 and 0.090, and the output is
#
# $$
# 0.665\,(4, 0) + 0.245\,(0, 4) + 0.090\,(2, 2) = (2.84, 1.16)
# $$

# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
q = np.array([[1.0, 1.0, 0.0, 0.0]])  # (n, d_k) = (1, 4)
K = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [-1.0, -1.0, 0.0, 1.0]])
V = np.array([[4.0, 0.0], [0.0, 4.0], [2.0, 2.0]])  # (m, d_v) = (3, 2)

scores = q @ K.T / np.sqrt(4)  # (1, 3)
weights = softmax(scores)  # (1, 3)
output = weights @ V  # (1, 2)
print("scores ", scores, "\nweights", weights.round(3), "\noutput ", output.round(2))
assert np.array_equal(scores, [[1, 0, -1]])
assert np.array_equal(weights.round(3), [[0.665, 0.245, 0.090]])
assert np.array_equal(output.round(2), [[2.84, 1.16]])

# %% [markdown]
# Why the shift by the largest score? It cancels in the ratio, so it changes nothing in
# exact arithmetic. **Predict:** what does the plain formula give for the scores 1000, 1001?

# %%
large = np.array([1000.0, 1001.0])
with np.errstate(over="ignore", invalid="ignore"):
    plain = np.exp(large) / np.exp(large).sum()
print("plain:  ", plain)
print("shifted:", softmax(large).round(3))
assert np.isnan(plain).all()
assert np.allclose(softmax(large), softmax(large - 1000))

# %% tags=["test"]
def test_softmax_matches_torch():
    rng = np.random.default_rng(0)
    for _ in range(25):
        s = rng.normal(size=rng.integers(1, 7, size=3)) * 10 ** rng.uniform(-2, 3)
        expected = torch.softmax(torch.from_numpy(s), dim=-1).numpy()
        np.testing.assert_allclose(softmax(s), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4])), [0.5, 0.5])


# %% [markdown]
# ## 4. The whole function, checked twice
#
# Now many queries. The slow version says what is meant, one number at a time; the fast
# one must agree with it.

# %%
def attention_loops(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (n, d_k), K (m, d_k), V (m, d_v) to (n, d_v), with nothing but scalars."""
    (n, d_k), (m, d_v) = Q.shape, V.shape
    O = np.zeros((n, d_v))
    for i in range(n):
        s = np.zeros(m)
        for j in range(m):
            for c in range(d_k):
                s[j] += Q[i, c] * K[j, c]
            s[j] /= d_k**0.5
        total = sum(np.exp(s_j - max(s)) for s_j in s)
        for j in range(m):
            for c in range(d_v):
                O[i, c] += np.exp(s[j] - max(s)) / total * V[j, c]
    return O


def attention_one(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (n, d_k), K (m, d_k), V (m, d_v) to (n, d_v): the boxed equation."""
    return softmax(Q @ K.T / np.sqrt(K.shape[-1])) @ V


rng = np.random.default_rng(2)
n, m, d_k, d_v = 3, 5, 4, 2
Q, K, V = (rng.normal(size=s) for s in [(n, d_k), (m, d_k), (m, d_v)])
O = attention_one(Q, K, V)
assert O.shape == (n, d_v)
np.testing.assert_allclose(O, attention_loops(Q, K, V), atol=1e-12)
print("one line equals three loops:", O.shape)

# %% [markdown]
# **What the code shows:** the result keeps $n$ from the queries and $d_v$ from the values.
#
# | array | shape | here |
# |---|---|---|
# | `Q` | `(n, d_k)` | 3 × 4 |
# | `K` | `(m, d_k)` | 5 × 4 |
# | `V` | `(m, d_v)` | 5 × 2 |
# | scores, weights | `(n, m)` | 3 × 5 |
# | output | `(n, d_v)` | 3 × 2 |
#
# All four sizes differ on purpose: a forgotten transpose then stops with an error
# instead of giving wrong numbers. The second check is the library you would use instead:

# %%
expected = F.scaled_dot_product_attention(*map(torch.from_numpy, (Q, K, V))).numpy()
np.testing.assert_allclose(O, expected, atol=1e-12)
print("equal to PyTorch:", np.allclose(O, expected, atol=1e-12))

# %% tags=["test"]
def test_loops_and_one_line_match_torch():
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, m, d_k, d_v = rng.permutation(np.arange(1, 9))[:4]  # all different
        Q, K, V = (rng.normal(size=s) for s in [(n, d_k), (m, d_k), (m, d_v)])
        expected = F.scaled_dot_product_attention(*map(torch.from_numpy, (Q, K, V)))
        np.testing.assert_allclose(attention_loops(Q, K, V), expected, atol=1e-12)
        np.testing.assert_allclose(attention_one(Q, K, V), expected, atol=1e-12)


# %% [markdown]
# ### Exercise 1 (check): what a score matrix costs
#
# Count, for $H$ heads together, the multiplications in the two matrix products and the
# bytes of the weights in `float32`. The smallest GPT-2 [@radford2019language] reads up to
# 1,024 positions; its [released code](https://github.com/openai/gpt-2/blob/master/src/model.py)
# has 12 heads of width 64. How large is one layer's array of weights?

# %%
def attention_cost(n: int, m: int, d_k: int, d_v: int, H: int = 1) -> tuple[int, int]:
    """Multiplications in both products, bytes of the float32 weights, for H heads."""
    ### BEGIN SOLUTION
    return H * n * m * (d_k + d_v), H * n * m * 4
    ### END SOLUTION


# %% tags=["test"]
def test_attention_cost():
    assert attention_cost(3, 5, 4, 2) == (90, 60)
    multiplications, size = attention_cost(1024, 1024, 64, 64, H=12)
    assert size == 50_331_648  # 48 MiB for one layer and one text
    assert multiplications == 1_610_612_736
    longer = attention_cost(2048, 2048, 64, 64, H=12)
    assert longer == (4 * multiplications, 4 * size)  # twice the length, four times all


# %% [markdown]
# ## 5. Batches and heads
#
# Real inputs carry leading axes: a batch of $B$ texts, and $H$ heads that attend in
# parallel, each with queries, keys and values of its own
# (more in [multi-head attention](../transformers/multi-head-attention.py)).
# **Predict:** `K.T` was right for one sequence. What is the shape of `K.T` for `K` of shape
# `(B, m, d_k)`?

# %%
B, n, m, d_k, d_v = 2, 3, 5, 4, 6
Q, K, V = (rng.normal(size=(B, *s)) for s in [(n, d_k), (m, d_k), (m, d_v)])
print("K", K.shape, " K.T", K.T.shape, " K.swapaxes(-1, -2)", K.swapaxes(-1, -2).shape)
try:
    attention_one(Q, K, V)
except ValueError:
    print("attention_one on a batch: ValueError, the shapes do not match")

cube = rng.normal(size=(4, 4, 4))  # B = m = d_k: no error, wrong numbers
wrong_by = abs(cube @ cube.T - cube @ cube.swapaxes(-1, -2)).max()
print(f"B = m = d_k = 4: no error, scores wrong by up to {wrong_by:.1f}")

# %% [markdown]
# **What the code shows:** `.T` reverses *all* axes. You are saved by an error only when the
# sizes differ. `einsum` names the axes and leaves no doubt; `...` stands for any leading
# axes. The loop over batch and heads is the check:

# %%
def attention_batched(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (..., n, d_k), K (..., m, d_k), V (..., m, d_v) to (..., n, d_v)."""
    scores = np.einsum("...nd,...md->...nm", Q, K) / np.sqrt(Q.shape[-1])
    return np.einsum("...nm,...mv->...nv", softmax(scores), V)


def split_heads(X: np.ndarray, H: int) -> np.ndarray:
    """(..., T, H * d) to (..., H, T, d): head h gets columns h d to (h + 1) d."""
    T, width = X.shape[-2:]
    return X.reshape(*X.shape[:-1], H, width // H).swapaxes(-2, -3)


def merge_heads(X: np.ndarray) -> np.ndarray:
    """(..., H, T, d) back to (..., T, H * d)."""
    X = X.swapaxes(-2, -3)
    return X.reshape(*X.shape[:-2], -1)


H = 3
Q, K, V = (rng.normal(size=(B, t, H * d)) for t, d in [(n, d_k), (m, d_k), (m, d_v)])
by_head = attention_batched(*(split_heads(X, H) for X in (Q, K, V)))
assert by_head.shape == (B, H, n, d_v)
for b in range(B):
    for h in range(H):
        k, v = slice(h * d_k, (h + 1) * d_k), slice(h * d_v, (h + 1) * d_v)
        one = attention_loops(Q[b, :, k], K[b, :, k], V[b, :, v])
        np.testing.assert_allclose(by_head[b, h], one, atol=1e-12)
shortcut = K.reshape(B, H, m, d_k)  # the tempting one-step split: same shape
same = np.mean(shortcut == split_heads(K, H))
print("batched heads equal the loops:", merge_heads(by_head).shape)
print(f"entries that the one-step split gets right: {same:.0%}")

# %% [markdown]
# **What the code shows:** `reshape(B, H, T, d)` without the `swapaxes` has the right shape
# and the wrong content: only `{python} f"{same:.0%}"` of its entries are where they belong.
# No error tells you.

# %% tags=["test"]
def test_split_heads():
    rng = np.random.default_rng(1)
    for _ in range(20):
        B, T, H, d = rng.integers(1, 6, size=4)
        X = rng.normal(size=(B, T, H * d))
        heads = split_heads(X, H)
        assert heads.shape == (B, H, T, d)
        for h in range(H):
            np.testing.assert_array_equal(heads[:, h], X[:, :, h * d : (h + 1) * d])
        np.testing.assert_array_equal(merge_heads(heads), X)


def test_attention_batched_matches_torch():
    rng = np.random.default_rng(2)
    for _ in range(20):
        B, H, n, m, d_k, d_v = rng.integers(1, 7, size=6)
        Q, K = rng.normal(size=(B, H, n, d_k)), rng.normal(size=(B, H, m, d_k))
        V = rng.normal(size=(B, H, m, d_v))
        expected = F.scaled_dot_product_attention(*map(torch.from_numpy, (Q, K, V)))
        np.testing.assert_allclose(attention_batched(Q, K, V), expected, atol=1e-12)


# %% [markdown]
# ## 6. Masks: who may look at whom
#
# A mask is an array of truth values, `True` where query $i$ may look at key $j$.
# A *padding* mask hides the filler that makes texts equally long
# ([BERT](../transformers/bert.py) needs it); a *causal* mask hides the future, as
# [GPT](../transformers/gpt.py#all-positions-at-once) must.
# Set hidden scores to $-\infty$ **before** the softmax: $e^{-\infty} = 0$, and the rest
# still sums to one.
# One row needs care. If a query may look at nothing, every score is $-\infty$ and the
# softmax is zero over zero. Here such a row gets weights of zero.

# %%
#| chunk: masked_softmax
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# %%
def attention(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Q (..., n, d_k), K (..., m, d_k), V (..., m, d_v), mask (..., n, m) or None.

    Returns the output (..., n, d_v) and the weights (..., n, m).
    """
    A = masked_softmax(Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-1]), mask)
    return A @ V, A


def causal_mask(n: int, m: int) -> np.ndarray:
    """(n, m): the last query sees all keys, each earlier one sees one key fewer."""
    return np.tril(np.ones((n, m), dtype=bool), k=m - n)


# %% [markdown]
# Six tokens, of which the last two are padding.
# **Predict:** under the causal mask, which weights do you know without any arithmetic?

# %%
#| label: fig-masks
#| fig-cap: Attention weights of the same six tokens under four masks; grey cells are hidden.
#| fig-alt: Four heat maps. Padding greys out two columns, causal greys out everything above the diagonal, and both masks together do both; the visible cells of each row grow brighter as others are hidden.
rng = np.random.default_rng(3)
T, d_k = 6, 4
X = 0.6 * rng.normal(size=(T, d_k))
real = np.arange(T) < 4
masks = {
    "no mask": np.ones((T, T), dtype=bool),
    "padding": np.broadcast_to(real, (T, T)),
    "causal": causal_mask(T, T),
    "both": causal_mask(T, T) & real,
}
fig, axes = plt.subplots(1, 4, figsize=(7.4, 2.4))
for ax, (name, mask) in zip(axes, masks.items()):
    A = attention(X, X, X, mask)[1]
    assert np.allclose(A.sum(axis=1), 1) and (A[~mask] == 0).all()
    cells = np.ma.masked_array(A, ~mask)
    ax.set_facecolor("0.75")
    image = ax.imshow(cells, vmin=0, vmax=1)
    ax.set(title=name, xlabel="key", xticks=range(T), yticks=range(T))
axes[0].set_ylabel("query")
fig.colorbar(image, ax=axes, shrink=0.7, label="weight")
for ax in axes:
    ax.grid(False)

# %% [markdown]
# **What the code shows:** the first causal row is known: its one visible key has weight 1.
# A heat map proves little, though. The sharp test changes the future and looks at the past:

# %%
changed = X.copy()
changed[-1] += 1.0  # another last token
for name in ["no mask", "causal"]:
    before, after = (attention(Z, Z, Z, masks[name])[0] for Z in (X, changed))
    moved = np.flatnonzero(abs(before - after).max(axis=1) > 1e-12)
    print(f"{name:8} outputs that moved:", moved.tolist())
assert moved.tolist() == [T - 1]

A = attention(X, X, X)[1]
late = A * masks["causal"]  # the mask applied after the softmax
print(f"masked too late, row sums go down to {late.sum(axis=1).min():.2f}")

with np.errstate(invalid="ignore"):
    lost = softmax(np.full((1, 3), -np.inf))  # a row with nothing to look at
print("a row with no key, plain:", lost, " ours:", masked_softmax(lost, lost > 0))

# %% [markdown]
# **What the code shows:** with the causal mask only the last output moves.
# A mask after the softmax leaves a row that sums to `{python} f"{late.sum(axis=1).min():.2f}"`:
# the hidden tokens still sit in the denominator.
# And one `nan` row is enough to ruin a training run: the loss becomes `nan`, and with it
# every gradient.

# %% tags=["test"]
def test_attention_matches_torch():
    rng = np.random.default_rng(3)
    for _ in range(25):
        B, H, n, m, d_k, d_v = rng.integers(1, 7, size=6)
        Q, K = rng.normal(size=(B, H, n, d_k)), rng.normal(size=(B, H, m, d_k))
        V, mask = rng.normal(size=(B, H, m, d_v)), rng.random((B, 1, n, m)) < 0.6
        mask[0, 0, 0] = False  # a row with nothing to look at
        Q = Q * 10 ** rng.uniform(-1, 3)
        arrays = map(torch.from_numpy, (Q, K, V, mask))
        expected = F.scaled_dot_product_attention(*arrays)
        O, A = attention(Q, K, V, mask)
        np.testing.assert_allclose(O, expected, atol=1e-11)
        assert (O[0, :, 0] == 0).all() and A.shape == (B, H, n, m)
    O, A = attention(np.ones((2, 3)), np.ones((0, 3)), np.ones((0, 4)))  # no keys
    assert O.shape == (2, 4) and (O == 0).all() and A.shape == (2, 0)


def test_causal_mask():
    rng = np.random.default_rng(4)
    for T in range(1, 8):
        expected = torch.ones(T, T, dtype=torch.bool).tril().numpy()
        np.testing.assert_array_equal(causal_mask(T, T), expected)
        Q, K, V = rng.normal(size=(3, T, 4))
        whole, _ = attention(Q, K, V, causal_mask(T, T))
        last, _ = attention(Q[-2:], K, V, causal_mask(len(Q[-2:]), T))
        np.testing.assert_allclose(last, whole[-2:], atol=1e-14)
        arrays = map(torch.from_numpy, (Q[-2:], K, V))  # PyTorch lines up the first key
        other = F.scaled_dot_product_attention(*arrays, is_causal=True).numpy()
        np.testing.assert_allclose(other[0], V[0], atol=1e-14)


def test_heads_and_padding_match_multihead_attention():
    rng = np.random.default_rng(5)
    for _ in range(20):
        B, T, H, d = (int(size) for size in rng.integers(1, 6, size=4))
        layer = torch.nn.MultiheadAttention(
            H * d, H, bias=False, batch_first=True, dtype=torch.float64
        )
        W_q, W_k, W_v = layer.in_proj_weight.detach().numpy().reshape(3, H * d, H * d)
        W_o = layer.out_proj.weight.detach().numpy()
        X, real = rng.normal(size=(B, T, H * d)), rng.random((B, T)) < 0.7
        real[:, 0] = True
        heads = (split_heads(X @ W.T, H) for W in (W_q, W_k, W_v))
        O = merge_heads(attention(*heads, real[:, None, None, :])[0]) @ W_o.T
        X = torch.from_numpy(X)
        expected = layer(X, X, X, key_padding_mask=torch.from_numpy(~real))[0]
        np.testing.assert_allclose(O, expected.detach().numpy(), atol=1e-12)


# %% [markdown]
# ### Exercise 2 (apply): a sliding window
#
# Some models let each token see only itself and the $w - 1$ tokens before it, so that a
# token costs the same however long the text is [@jiang2023mistral]. Write that mask.

# %%
def window_mask(T: int, w: int) -> np.ndarray:
    """(T, T) truth values: query i sees keys i - w + 1 to i."""
    ### BEGIN SOLUTION
    i, j = np.arange(T)[:, None], np.arange(T)[None, :]
    return (j <= i) & (j > i - w)
    ### END SOLUTION


# %% tags=["test"]
def test_window_mask():
    for T in range(1, 8):
        for w in range(1, T + 1):
            mask = window_mask(T, w)
            for i in range(T):
                visible = list(range(max(0, i - w + 1), i + 1))
                assert np.flatnonzero(mask[i]).tolist() == visible
        np.testing.assert_array_equal(window_mask(T, T), causal_mask(T, T))


# %% [markdown]
# ### Exercise 3 (check): see weights that a library hides
#
# `F.scaled_dot_product_attention` returns no weights. Find a `V` that makes the output
# *equal* to the weights, and so read them out of any attention function.

# %%
def hidden_weights(
    attend: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    Q: np.ndarray,
    K: np.ndarray,
) -> np.ndarray:
    """The weights (n, m) inside `attend(Q, K, V)`, for Q (n, d_k) and K (m, d_k)."""
    ### BEGIN SOLUTION
    return attend(Q, K, np.eye(len(K)))
    ### END SOLUTION


# %% tags=["test"]
def test_hidden_weights():
    def library(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
        tensors = map(torch.from_numpy, (Q, K, V))
        return F.scaled_dot_product_attention(*tensors).numpy()

    rng = np.random.default_rng(5)
    for _ in range(20):
        n, m, d_k = rng.integers(1, 7, size=3)
        Q, K = rng.normal(size=(n, d_k)), rng.normal(size=(m, d_k))
        expected = attention(Q, K, K)[1]
        np.testing.assert_allclose(hidden_weights(library, Q, K), expected, atol=1e-12)


# %% [markdown]
# ### Exercise 4 (apply): shared keys
#
# Storing the keys and values of every head is costly when a model writes long texts.
# Grouped-query attention lets several query heads share one head of keys and values
# [@ainslie2023gqa]: with $H$ query heads and $G$ key heads, query heads $0$ to $H/G - 1$
# use key head 0, and so on. Write it with the functions above.

# %%
def grouped_attention(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Q (B, H, n, d_k), K (B, G, m, d_k), V (B, G, m, d_v) to (B, H, n, d_v)."""
    ### BEGIN SOLUTION
    (B, H, n, d_k), G = Q.shape, K.shape[1]
    Q = Q.reshape(B, G, H // G, n, d_k)
    O, _ = attention(Q, K[:, :, None], V[:, :, None])  # one key head for H // G queries
    return O.reshape(B, H, n, V.shape[-1])
    ### END SOLUTION


# %% tags=["test"]
def test_grouped_attention():
    rng = np.random.default_rng(6)
    for _ in range(20):
        B, G, share, n, m, d_k, d_v = rng.integers(1, 6, size=7)
        Q = rng.normal(size=(B, G * share, n, d_k))
        K, V = rng.normal(size=(B, G, m, d_k)), rng.normal(size=(B, G, m, d_v))
        tensors = map(torch.from_numpy, (Q, K, V))
        expected = F.scaled_dot_product_attention(*tensors, enable_gqa=True)
        np.testing.assert_allclose(grouped_attention(Q, K, V), expected, atol=1e-12)


# %% [markdown]
# ## 7. Why divide by the square root
#
# Take queries and keys whose entries are independent with mean 0 and variance 1.
# A score is then a sum of $d_k$ products, each of variance 1:
#
# $$
# \text{Var}\left(\sum_{c=1}^{d_k} q_c k_c\right) = d_k
# \quad\Rightarrow\quad
# \text{standard deviation} = \sqrt{d_k}
# $$
#
# **What this means:** wider vectors make larger scores, as if you had turned the
# temperature of Section 2 down.
# The knob is $d_k$. **Predict** for 64 keys and $d_k = 256$ without the division: how
# much weight does the largest of the 64 get? And with it?

# %%
#| label: fig-scale
#| fig-cap: Left, the spread of raw scores for three widths. Right, the entropy of the weights over 64 keys, raw and scaled; the band spans five draws.
#| fig-alt: Raw scores spread out as the width grows and the entropy of their softmax falls towards zero, while the entropy with scaled scores stays flat near its maximum.
def entropy(A: np.ndarray) -> np.ndarray:
    """Entropy in nats of each row of weights A (..., m), to (...)."""
    return -(A * np.log(np.where(A > 0, A, 1.0))).sum(axis=-1)


widths, m, draws = [1, 4, 16, 64, 256, 1024], 64, 5
H_raw, H_scaled = np.zeros((2, draws, len(widths)))
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3))
for i, d_k in enumerate(widths):
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        raw = rng.normal(size=(200, d_k)) @ rng.normal(size=(m, d_k)).T  # (200, 64)
        sharp, smooth = softmax(raw), softmax(raw / np.sqrt(d_k))
        H_raw[seed, i] = entropy(sharp).mean()
        H_scaled[seed, i] = entropy(smooth).mean()
    if d_k in (4, 64, 256):
        line = {4: "-", 64: "--", 256: ":"}[d_k]
        bins = np.linspace(-50, 50, 81)
        left.hist(raw.ravel(), bins, density=True, histtype="step", ls=line, lw=1.6,
                  label=f"$d_k$ = {d_k}")
    if d_k == 256:
        top_raw, top_scaled = sharp.max(axis=1).mean(), smooth.max(axis=1).mean()
        spread, slope_raw = raw.std(), np.median((sharp * (1 - sharp)).sum(axis=1))
        slope_scaled = np.median((smooth * (1 - smooth)).sum(axis=1))
left.set(xlabel="raw score", ylabel="density", yscale="log")
left.legend()
for values, line, name in [(H_scaled, "o-", "scaled"), (H_raw, "s--", "raw")]:
    right.semilogx(widths, values.mean(axis=0), line, label=name)
    right.fill_between(widths, values.min(axis=0), values.max(axis=0), alpha=0.25)
right.axhline(np.log(m), color="0.4", ls=":", label="uniform")
right.set(xlabel="$d_k$", ylabel="entropy (nats)", ylim=(0, None))
right.legend()
assert (H_raw[:, -1] < 0.5).all() and (H_scaled[:, 1:] > 3).all()

# %% [markdown]
# **What the code shows:** at $d_k = 256$ the raw scores have standard deviation
# `{python} f"{spread:.1f}"`, and one key takes `{python} f"{top_raw:.0%}"` of the weight
# on average; scaled, it takes `{python} f"{top_scaled:.0%}"`.
# What hurts is the gradient. The derivative of a weight by its own score is
# $A_{ij}(1 - A_{ij})$. Summed over the keys, the median query has
# `{python} f"{slope_raw:.2f}"` raw and `{python} f"{slope_scaled:.2f}"` scaled.
# With raw scores most queries have made up their mind by chance, before any training, and
# can hardly learn better. @vaswani2017attention suspected as much, and divided.
# [Entropy](../math-foundations/information-theory.py#surprisal-and-entropy) says how spread the weights are.
# All this holds at the start of training; a trained layer may *learn* to be sharp.

# %% tags=["test"]
def test_entropy_matches_torch():
    rng = np.random.default_rng(6)
    for _ in range(20):
        A = softmax(5 * rng.normal(size=rng.integers(1, 7, size=3)))
        expected = torch.distributions.Categorical(torch.from_numpy(A)).entropy()
        np.testing.assert_allclose(entropy(A), expected, atol=1e-12)
    assert entropy(np.array([0.0, 1.0, 0.0])) == 0


# %% [markdown]
# ## 8. The gradient by hand
#
# Let $O = AV$, $A = \text{softmax}(S)$ by rows, $S = QK^\top / \sqrt{d_k}$, and let
# $\partial L / \partial O$ be given. [Backpropagation](../neural-networks/backpropagation.py)
# takes one step for each. (In the code, `dX` is $\partial L / \partial X$.)
#
# $$
# \begin{aligned}
# \frac{\partial L}{\partial V} &= A^\top \frac{\partial L}{\partial O}, \qquad
# \frac{\partial L}{\partial A} = \frac{\partial L}{\partial O} V^\top \\
# \frac{\partial L}{\partial S_{ij}} &= A_{ij} \left( \frac{\partial L}{\partial A_{ij}}
#   - \sum_{k} A_{ik} \frac{\partial L}{\partial A_{ik}} \right) \\
# \frac{\partial L}{\partial Q} &= \frac{1}{\sqrt{d_k}} \frac{\partial L}{\partial S} K, \qquad
# \frac{\partial L}{\partial K} = \frac{1}{\sqrt{d_k}} \left(\frac{\partial L}{\partial S}\right)^{\top} Q
# \end{aligned}
# $$
#
# **What this means:** gradient descent raises a score if its value lowers the loss more
# than the weighted average of all values does. The sum in the second line is that average.
# A hidden key has $A_{ij} = 0$ and gets no gradient, so the mask needs no code of its own.
#
# The check nudges one number at a time and sees how much the loss moves.

# %%
def attention_backward(
    dO: np.ndarray, Q: np.ndarray, K: np.ndarray, V: np.ndarray, A: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dQ, dK, dV for upstream gradient dO (..., n, d_v) and weights A (..., n, m)."""
    dV = A.swapaxes(-1, -2) @ dO
    dA = dO @ V.swapaxes(-1, -2)
    dS = A * (dA - (A * dA).sum(axis=-1, keepdims=True)) / np.sqrt(Q.shape[-1])
    return dS @ K, dS.swapaxes(-1, -2) @ Q, dV


def numerical_gradient(f: Callable[[], float], X: np.ndarray) -> np.ndarray:
    """Central differences of f() by each entry of X, which is changed in place."""
    gradient = np.zeros_like(X)
    for i in np.ndindex(X.shape):
        kept = X[i]
        X[i] = kept + 1e-5
        up = f()
        X[i] = kept - 1e-5
        gradient[i] = (up - f()) / 2e-5
        X[i] = kept
    return gradient


rng = np.random.default_rng(4)
Q, K, V = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
mask, dO = causal_mask(3, 5), rng.normal(size=(3, 2))  # the loss is sum(dO * O)
by_hand = attention_backward(dO, Q, K, V, attention(Q, K, V, mask)[1])
for name, X, dX in zip("QKV", (Q, K, V), by_hand):
    nudged = numerical_gradient(lambda: (dO * attention(Q, K, V, mask)[0]).sum(), X)
    gap = abs(nudged - dX).max()
    print(f"d{name} {dX.shape}: agrees with nudging to better than 1e-8: {gap < 1e-8}")
    assert gap < 1e-8

# %% [markdown]
# **What the code shows:** the mask was on, and no line of the gradient mentions it.
# Nudging needs two forward passes for every single number: good for a check, hopeless for
# training.

# %% tags=["test"]
def test_numerical_gradient():
    X = np.random.default_rng(7).normal(size=(2, 3))
    kept = X.copy()
    np.testing.assert_allclose(numerical_gradient(lambda: (X**2).sum(), X), 2 * X, 1e-8)
    np.testing.assert_array_equal(X, kept)


def test_attention_backward_matches_autograd():
    rng = np.random.default_rng(7)
    for _ in range(20):
        B, n, m, d_k, d_v = rng.integers(1, 7, size=5)
        shapes = [(B, n, d_k), (B, m, d_k), (B, m, d_v), (B, n, d_v)]
        Q, K, V, dO = (rng.normal(size=shape) for shape in shapes)
        mask = rng.random((B, n, m)) < 0.7
        mask[0, 0] = False
        tensors = [torch.from_numpy(X).requires_grad_() for X in (Q, K, V)]
        O = F.scaled_dot_product_attention(*tensors, attn_mask=torch.from_numpy(mask))
        O.backward(torch.from_numpy(dO))
        found = attention_backward(dO, Q, K, V, attention(Q, K, V, mask)[1])
        for tensor, dX in zip(tensors, found):
            np.testing.assert_allclose(dX, tensor.grad.numpy(), atol=1e-12)


# %% [markdown]
# ### Exercise 5 (apply): the gradient of the temperature
#
# Suppose the scores are $c\,QK^\top$ with a number $c$ that is learned rather than
# $1/\sqrt{d_k}$. Find $\partial L / \partial c$.

# %%
def scale_gradient(
    dO: np.ndarray, Q: np.ndarray, K: np.ndarray, V: np.ndarray, c: float
) -> float:
    """dL/dc of softmax(c Q K^T) V; dO (n, d_v), Q (n, d_k), K (m, d_k), V (m, d_v)."""
    ### BEGIN SOLUTION
    A = softmax(c * Q @ K.T)
    dA = dO @ V.T
    dS = A * (dA - (A * dA).sum(axis=-1, keepdims=True))
    return float((dS * (Q @ K.T)).sum())
    ### END SOLUTION


# %% tags=["test"]
def test_scale_gradient():
    rng = np.random.default_rng(8)
    for _ in range(20):
        n, m, d_k, d_v = rng.integers(1, 7, size=4)
        shapes = [(n, d_k), (m, d_k), (m, d_v), (n, d_v)]
        Q, K, V, dO = (rng.normal(size=shape) for shape in shapes)
        c = torch.tensor(rng.uniform(0.1, 2), dtype=torch.float64, requires_grad=True)
        A = torch.softmax(c * torch.from_numpy(Q @ K.T), dim=-1)
        (torch.from_numpy(dO) * (A @ torch.from_numpy(V))).sum().backward()
        assert abs(scale_gradient(dO, Q, K, V, c.item()) - c.grad.item()) < 1e-10


# %% [markdown]
# ## 9. Train it to look things up
#
# Back to Section 1. Three matrices turn the inputs into queries, keys and values:
#
# $$
# Q = X_q W_Q, \qquad K = X_m W_K, \qquad V = X_m W_V
# $$
#
# $W_Q$ has 26 rows, $W_K$ and $W_V$ have 36. $W_Q$ and $W_K$ have $d_k = 8$ columns; $W_V$
# has one for each digit. The output serves as the *logits*: the scores of the ten digits,
# which one more softmax turns into probabilities.
# The loss is the [cross-entropy](../training/loss-functions.py#cross-entropy-for-any-target), whose gradient by the
# logits is "probabilities minus one-hot answer".
# Training is plain [gradient descent](../math-foundations/optimization.py#the-step) from small
# random matrices, with fresh memories at each step. The learning rate, 10, is large: each
# symbol occurs in few of the questions that the loss averages over, so the gradient of its
# row is small.
#
# The baseline is the same model with $W_Q$ frozen at zero: all scores are 0, all weights
# equal, and attention *is* the average.

# %%
def predict(
    params: dict[str, np.ndarray], X_q: np.ndarray, X_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """X_q (B, n, d_q), X_m (B, m, d_m) to logits (B, n, d_v), weights (B, n, m)."""
    return attention(X_q @ params["W_q"], X_m @ params["W_k"], X_m @ params["W_v"])


def loss_and_gradients(
    params: dict[str, np.ndarray], X_q: np.ndarray, X_m: np.ndarray, y: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Mean cross-entropy of the answers y (B, n), and its gradient by each matrix."""
    logits, A = predict(params, X_q, X_m)
    p, target = softmax(logits), np.eye(logits.shape[-1])[y]
    dO = (p - target) / y.size
    Q, K, V = X_q @ params["W_q"], X_m @ params["W_k"], X_m @ params["W_v"]
    dQ, dK, dV = attention_backward(dO, Q, K, V, A)
    back = "bti,btj->ij"  # X^T dY, summed over batch and tokens
    return float(-np.log((p * target).sum(axis=-1)).mean()), {
        "W_q": np.einsum(back, X_q, dQ),
        "W_k": np.einsum(back, X_m, dK),
        "W_v": np.einsum(back, X_m, dV),
    }


# %% [markdown]
# Check the gradient of the whole model before you trust a training curve: a wrong
# gradient often still learns, only worse.

# %%
rng = np.random.default_rng(5)
X_q, X_m, y = draw_recall(rng, batch=2, m=3, n=2)
shapes = {"W_q": (LETTERS, 4), "W_k": (LETTERS + DIGITS, 4), "W_v": (36, DIGITS)}
params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
_, grads = loss_and_gradients(params, X_q, X_m, y)
for name, W in params.items():
    nudged = numerical_gradient(lambda: loss_and_gradients(params, X_q, X_m, y)[0], W)
    assert abs(nudged - grads[name]).max() < 1e-8
print("all three gradients agree with nudging")

# %% tags=["test"]
def test_loss_and_gradients_match_autograd():
    rng = np.random.default_rng(9)
    for _ in range(20):
        B, n, m, d_q, d_m, d_k = rng.integers(1, 7, size=6)
        X_q, X_m = rng.normal(size=(B, n, d_q)), rng.normal(size=(B, m, d_m))
        y = rng.integers(DIGITS, size=(B, n))
        shapes = {"W_q": (d_q, d_k), "W_k": (d_m, d_k), "W_v": (d_m, DIGITS)}
        params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        loss, grads = loss_and_gradients(params, X_q, X_m, y)
        W = {name: torch.from_numpy(W).requires_grad_() for name, W in params.items()}
        X_q, X_m, y = map(torch.from_numpy, (X_q, X_m, y))
        logits = F.scaled_dot_product_attention(
            X_q @ W["W_q"], X_m @ W["W_k"], X_m @ W["W_v"]
        )
        expected = F.cross_entropy(logits.reshape(-1, DIGITS), y.reshape(-1))
        expected.backward()
        assert abs(loss - expected.item()) < 1e-12
        for name, gradient in grads.items():
            np.testing.assert_allclose(gradient, W[name].grad.numpy(), atol=1e-12)


# %%
def train(
    draw: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]],
    d_k: int = 8,
    steps: int = 400,
    lr: float = 10.0,
    seed: int = 0,
    average: bool = False,
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Gradient descent on batches from draw(rng); returns parameters and losses."""
    rng = np.random.default_rng(seed)
    X_q, X_m, _ = draw(rng)
    d_q, d_m = X_q.shape[-1], X_m.shape[-1]
    params = {
        "W_q": 0.1 * rng.normal(size=(d_q, d_k)) * (not average),
        "W_k": 0.1 * rng.normal(size=(d_m, d_k)),
        "W_v": 0.1 * rng.normal(size=(d_m, DIGITS)),
    }
    losses = []
    for _ in range(steps):
        loss, grads = loss_and_gradients(params, *draw(rng))
        losses.append(loss)
        for name in ["W_v"] if average else params:
            params[name] -= lr * grads[name]
    return params, losses


def accuracy(
    params: dict[str, np.ndarray], X_q: np.ndarray, X_m: np.ndarray, y: np.ndarray
) -> float:
    """Share of the questions X_q that get the right answer."""
    return float((predict(params, X_q, X_m)[0].argmax(axis=-1) == y).mean())


# %% tags=["test"]
def test_the_baseline_averages():
    params, losses = train(draw_recall, d_k=3, steps=5, average=True)
    X_q, X_m, y = draw_recall(np.random.default_rng(12), batch=4, m=6, n=3)
    logits, A = predict(params, X_q, X_m)
    np.testing.assert_allclose(A, np.full((4, 3, 6), 1 / 6))
    means = X_m.mean(axis=1, keepdims=True) @ params["W_v"]  # (4, 1, 10)
    np.testing.assert_allclose(logits, np.repeat(means, 3, axis=1), atol=1e-12)
    assert len(losses) == 5 and losses[-1] < losses[0]
    hits = [logits[b, i].argmax() == y[b, i] for b in range(4) for i in range(3)]
    assert abs(accuracy(params, X_q, X_m, y) - np.mean(hits)) < 1e-12


# %% [markdown]
# **Predict:** sketch both loss curves. Where does each start, where does each end, and
# does attention fall evenly?

# %%
#| label: fig-loss
#| fig-cap: Loss on fresh memories, five seeds each. The dotted line is the lowest loss that any function of the average can reach.
#| fig-alt: Both models fall together at first; then averaging stays above the floor computed in Section 1, while attention drops through it to nearly zero within a hundred steps, in all five seeds.
seeds = range(5)
runs = [train(draw_recall, seed=s) for s in seeds]
baseline = [train(draw_recall, seed=s, average=True) for s in seeds]
acc_attention = [accuracy(p, *exam) for p, _ in runs]
acc_average = [accuracy(p, *exam) for p, _ in baseline]

fig, ax = plt.subplots()
for models, line, name in [(baseline, "--", "average"), (runs, "-", "attention")]:
    for s, (_, losses) in enumerate(models):
        ax.plot(losses, line, color="C1" if line == "--" else "C0", lw=1,
                label=name if s == 0 else None)
ax.axhline(floor, color="0.2", ls=":", label="floor of the average")
ax.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
ax.legend()
print("average:  ", [f"{a:.3f}" for a in acc_average])
print("attention:", [f"{a:.3f}" for a in acc_attention])
assert min(acc_attention) > 0.99 and max(acc_average) < ceiling + 1e-9
level = np.mean([losses[-50:] for _, losses in baseline])
assert level > floor and max(losses[100] for _, losses in runs) < 0.1

# %% [markdown]
# **What the code shows:** the averaging models learn the best they can, "say the most common
# digit", and stop at `{python} f"{max(acc_average):.1%}"`, the ceiling of Section 1.
# Their loss stays at `{python} f"{level:.2f}"`, above the floor of `{python} f"{floor:.2f}"`:
# the best logits are the logarithms of the shares, and $W_V$ can only scale and add them.
# The worst of five attention models gets `{python} f"{min(acc_attention):.1%}"`.
# Both start near `{python} f"{np.log(10):.2f}"`, the loss of a blind guess among ten, and
# fall together (@fig-loss): with small $W_Q$ and $W_K$ the weights are nearly equal, and attention *is* an
# average. Once the values carry their digits, a better match pays, and the loss drops.
# Look at the same questions before and after:

# %%
#| label: fig-before-after
#| fig-cap: Attention weights for one memory of eight pairs (columns) and five questions (rows), before and after training.
#| fig-alt: Before training all weights are equal; after training each capital letter puts nearly all its weight on the pair with the same small letter.
untrained, _ = train(draw_recall, steps=0)
trained = runs[0][0]
X_q, X_m, _ = draw_recall(np.random.default_rng(98), batch=1)
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.6))
for ax, params, title in zip(axes, (untrained, trained), ("before", "after")):
    A = predict(params, X_q, X_m)[1][0]  # (5, 8): the first memory
    image = ax.imshow(A, vmin=0, vmax=1)
    ax.set_xticks(range(A.shape[1]), pair_names(X_m[0]))
    names = [string.ascii_uppercase[i] for i in X_q[0].argmax(1)]
    ax.set_yticks(range(A.shape[0]), names)
    ax.set(title=title, xlabel="memory")
    ax.grid(False)
axes[0].set_ylabel("question")
fig.colorbar(image, ax=axes, shrink=0.8, label="weight")
assert A.max(axis=1).min() > 0.8  # after training, the last one drawn

# %% [markdown]
# What did it learn? A score is $x_q W_Q W_K^\top x_m^\top / \sqrt{d_k}$, so the matrix
# $W_Q W_K^\top / \sqrt{d_k}$ holds the score of every question symbol with every memory
# symbol. **Predict** what this 26 × 36 matrix looks like.

# %%
#| label: fig-learned
#| fig-cap: The learned score of every question letter (rows) with every memory symbol (columns), first seed.
#| fig-alt: A strong diagonal pairs each capital letter with its small letter; the ten digit columns on the right are nearly blank.
M = trained["W_q"] @ trained["W_k"].T / np.sqrt(8)  # (26, 36)
match = np.eye(LETTERS, dtype=bool)
on, off, digit_part = M[:, :LETTERS][match], M[:, :LETTERS][~match], M[:, LETTERS:]
fig, ax = plt.subplots(figsize=(6.4, 4.2))
image = ax.imshow(M, cmap="RdBu_r", vmin=-abs(M).max(), vmax=abs(M).max())
ax.set_xticks(range(36), [*string.ascii_lowercase, *string.digits], fontsize=7)
ax.set_yticks(range(26), [*string.ascii_uppercase], fontsize=7)
ax.axvline(LETTERS - 0.5, color="black", lw=1)
ax.set(xlabel="symbol in the memory", ylabel="letter asked")
ax.grid(False)
fig.colorbar(image, ax=ax, label="score")
assert on.min() > off.max() and abs(digit_part).max() < 1

# %% [markdown]
# **What the code shows:** matching letters score at least `{python} f"{on.min():.1f}"`, other
# letters at most `{python} f"{off.max():.1f}"`, and no digit more than
# `{python} f"{abs(digit_part).max():.1f}"` in size.
# The model has found out from answers alone that `K` means `k`.
# A clean diagonal would have rank 26, and `d_k` is only 8. So 26 letters share 8
# dimensions, and the scatter off the diagonal is the price.
#
# Now the experiment. Training only ever showed eight pairs.
# **Question:** does the lookup still work when the memory is longer? **Predict** first:
# each wrong pair takes a small share of the weight, and there are now more of them.

# %%
#| label: fig-longer
#| fig-cap: Models trained on 8 pairs, tested on 5 to 26. Lines are means over five seeds, bands span the seeds.
#| fig-alt: Accuracy stays at one for all memory sizes; the weight on the right pair falls steadily as the memory grows past the eight pairs of training.
sizes = [5, 8, 12, 16, 20, 26]
right_weight, acc_longer = np.zeros((2, len(runs), len(sizes)))
for i, size in enumerate(sizes):
    X_q, X_m, y = draw_recall(np.random.default_rng(100 + size), batch=500, m=size)
    hit = X_q @ X_m[:, :, :LETTERS].swapaxes(1, 2) > 0  # (500, 5, size): the right pair
    for s, (params, _) in enumerate(runs):
        right_weight[s, i] = predict(params, X_q, X_m)[1][hit].mean()
        acc_longer[s, i] = accuracy(params, X_q, X_m, y)
fig, ax = plt.subplots()
for values, line, name in [
    (acc_longer, "o-", "accuracy"),
    (right_weight, "s--", "weight on the right pair"),
]:
    ax.plot(sizes, values.mean(axis=0), line, label=name)
    ax.fill_between(sizes, values.min(axis=0), values.max(axis=0), alpha=0.25)
ax.axvline(8, color="0.4", ls=":", label="size in training")
ax.set(xlabel="pairs in the memory", ylabel="accuracy, weight", ylim=(0, 1.05))
ax.legend(loc="center right")
assert acc_longer.min() > 0.95

# %% [markdown]
# **What the code shows:** at 26 pairs the weight on the right one is
# `{python} f"{right_weight[:, -1].mean():.3f}"` against
# `{python} f"{right_weight[:, 1].mean():.3f}"` at eight, and the worst seed still answers
# `{python} f"{acc_longer[:, -1].min():.1%}"`. The weights dilute; here the margin is wide
# enough. The conclusion is about this toy: 26 symbols, no noise.

# %% [markdown]
# ### Exercise 6 (explore): how few dimensions will do?
#
# With `d_k = 8` the model separates 26 letters. Train on `draw_recall` with other widths
# and measure on fresh memories. Below which width does it break, and why can it not work
# at 1?

# %%
def recall_accuracy(d_k: int, seed: int = 0) -> float:
    """Accuracy on 500 fresh memories after 400 steps of training at this d_k."""
    ### BEGIN SOLUTION
    params, _ = train(draw_recall, d_k=d_k, steps=400, seed=seed)
    return accuracy(params, *draw_recall(np.random.default_rng(1000), batch=500))
    ### END SOLUTION


# %% tags=["test"]
def test_recall_accuracy():
    one, two, three = (recall_accuracy(d_k) for d_k in (1, 2, 3))
    assert 0.32 < one < 0.6 < two < 0.95 < three


# %% [markdown] tags=["solution"]
# At `d_k = 1` a key is one number. A positive query prefers the largest key, a negative
# one the smallest: in each memory only two pairs can ever get the most weight. That beats
# averaging and no more. At 2 each letter can have its own direction on a circle, but 26
# directions lie close together, so neighbours score nearly alike unless the vectors are
# long, and 400 steps do not make them long enough (1,000 get a little further). At 3 the
# circle becomes a sphere, and there is room.

# %% [markdown]
# ## 10. Self-attention: a sequence asks itself
#
# So far questions and memory were two things. In
# [self-attention](../transformers/self-attention.py) they are one: the same $X$ gives
# queries, keys and values. No new code is needed: call `predict(params, X, X)`.
# **Predict:** shuffle the rows of $X$. What happens to the rows of the output?

# %%
rng = np.random.default_rng(6)
d, d_k = 7, 4
params = {"W_q": rng.normal(size=(d, d_k)), "W_k": rng.normal(size=(d, d_k)),
          "W_v": rng.normal(size=(d, 3))}
X = rng.normal(size=(1, 6, d))
shuffle = rng.permutation(6)
O, _ = predict(params, X, X)
O_shuffled, _ = predict(params, X[:, shuffle], X[:, shuffle])
assert O.shape == (1, 6, 3)
np.testing.assert_allclose(O_shuffled, O[:, shuffle], atol=1e-12)
print("shuffled in, shuffled out:", shuffle)

# %% [markdown]
# **What the code shows:** self-attention is *permutation equivariant*. The outputs move
# with their rows and nothing else changes: to it, a sentence is a bag of words.
#
# So give it a task where order is everything: reverse eight digits. Position 0 must output
# the digit at position 7, and so on. **Predict** the accuracy of the very same `train`, with
# digits alone and with a one-hot position appended to each.

# %%
def draw_reverse(
    rng: np.random.Generator, positions: bool, batch: int = 64, T: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (batch, T, 10), or (batch, T, 10 + T), twice; answers (batch, T)."""
    digits = rng.integers(DIGITS, size=(batch, T))
    X = np.eye(DIGITS)[digits]
    if positions:
        X = np.concatenate([X, np.broadcast_to(np.eye(T), (batch, T, T))], axis=-1)
    return X, X, digits[:, ::-1]


# %% tags=["test"]
def test_permutation_equivariance():
    rng = np.random.default_rng(10)
    for _ in range(20):
        T, d, d_k, d_v = rng.integers(1, 8, size=4)
        shapes = {"W_q": (d, d_k), "W_k": (d, d_k), "W_v": (d, d_v)}
        params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        X, order = rng.normal(size=(2, T, d)), rng.permutation(T)
        O, O_shuffled = (predict(params, Z, Z)[0] for Z in (X, X[:, order]))
        np.testing.assert_allclose(O_shuffled, O[:, order], atol=1e-12)


def test_draw_reverse():
    for positions, width in [(False, 10), (True, 16)]:
        X, memory, y = draw_reverse(np.random.default_rng(11), positions, batch=4, T=6)
        assert X is memory and X.shape == (4, 6, width)
        np.testing.assert_array_equal(X[:, ::-1, :DIGITS].argmax(-1), y)
        if positions:
            assert (X[..., DIGITS:] == np.eye(6)).all()


# %%
#| label: fig-reverse
#| fig-cap: Attention weights while reversing the same eight digits, without and with positions, first seed.
#| fig-alt: Without positions the weights form no useful pattern; with positions they lie on the anti-diagonal, so each place reads from its mirror image.
acc_reverse = {}
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3))
for ax, positions in zip(axes, (False, True)):
    models = [train(lambda r: draw_reverse(r, positions), seed=s)[0] for s in seeds]
    mirror = draw_reverse(np.random.default_rng(7), positions, batch=1000)
    acc_reverse[positions] = [accuracy(params, *mirror) for params in models]
    A = predict(models[0], *mirror[:2])[1][0]
    image = ax.imshow(A, vmin=0, vmax=1)
    ax.set(title="with positions" if positions else "digits alone", xlabel="key")
    ax.set_xticks(range(8), mirror[0][0, :, :DIGITS].argmax(1))
    ax.set_yticks(range(8), mirror[0][0, :, :DIGITS].argmax(1))
    ax.grid(False)
axes[0].set_ylabel("query")
fig.colorbar(image, ax=axes, shrink=0.8, label="weight")
for positions, values in acc_reverse.items():
    print("with positions:" if positions else "digits alone:  ",
          [f"{a:.3f}" for a in values])
assert max(acc_reverse[False]) < 0.5 and min(acc_reverse[True]) > 0.99

# %% [markdown]
# **What the code shows:** of five seeds each, the best without positions gets
# `{python} f"{max(acc_reverse[False]):.0%}"` right, the worst with them
# `{python} f"{min(acc_reverse[True]):.0%}"`.
# More training cannot help the first model. Whatever its weights, the output for a digit
# depends on that digit and on which digits are there, never on the place.
# Positions are an input, and without a mask nothing else in attention knows the order.

# %% [markdown]
# ## 11. What breaks, and what to try next
#
# | symptom | cause | fix | seen in |
# |---|---|---|---|
# | `nan` in the first step | $e^s$ overflows | subtract the row's maximum | Section 3 |
# | right shape, poor learning | `K.T` on a batch, or heads split by one `reshape` | `swapaxes(-1, -2)`; reshape, then swap | Section 5 |
# | `nan` after padding | a row with nothing to look at | give such a row zero weights | Section 6 |
# | training loss too good to be true | mask after the softmax, or none: the future leaks | mask the scores; test by changing the future | Section 6 |
#
# > [!NOTE]
# > **Conventions and common confusions.**
# > `True` means "may look" here and in PyTorch's `scaled_dot_product_attention`, but "ignore"
# > in the masks of `torch.nn.MultiheadAttention`.
# > For more keys than queries, `causal_mask` lines up the *last* query with the last key: what
# > you need to write a text token by token with stored keys, a
# > [KV cache](../modern-llms/inference.py#why-old-rows-may-be-kept). PyTorch's `is_causal=True` lines up the first ones.
# > PyTorch 2.13, with which this page was checked, also gives zeros for a row with nothing to
# > look at; code that fills in $-10^9$ instead of $-\infty$ gives it equal weights.
# > Rows are vectors here, $Q = XW_Q$; `nn.Linear` stores the transpose of $W_Q$.
#
# Try next, and predict each time: `lr=1` in `train`; noise on the one-hot inputs; the window
# mask of Exercise 2 in the reversal (which places fail?); two heads, with $W_O$ after them.
# Then build the whole block in
# [a minimal transformer](08-minimal-transformer.py), the lab of the
# [transformer architecture](../transformers/transformer-architecture.py).

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Soft lookup | $\sum_j w_j v_j$ | `weights @ V` | every attention layer |
# | Scores | $QK^\top / \sqrt{d_k}$ | `Q @ K.swapaxes(-1, -2) / np.sqrt(d_k)` | every attention layer |
# | Stable softmax | $e^{s_j - \max s} / \sum_k e^{s_k - \max s}$ | `scores.max(axis=-1, keepdims=True)` | classifiers, attention |
# | Heads | $(B, T, H d) \to (B, H, T, d)$ | `reshape`, then `swapaxes(-2, -3)` | [multi-head attention](../transformers/multi-head-attention.py) |
# | Mask | $s_{ij} = -\infty$ if hidden | `np.where(mask, scores, -np.inf)` | padding, [GPT](../transformers/gpt.py) |
# | Gradient by the scores | $A \odot (G - \text{rowsum}(A \odot G))$ with $G = \partial L / \partial A$ | `A * (dA - (A * dA).sum(-1, keepdims=True))` | training |
# | Self-attention | $Q, K, V$ all from $X$ | `predict(params, X, X)` | [transformers](../transformers/transformer-architecture.py) |
#
# **The essential insight:** an average forgets which thing goes with which. Attention keeps
# the average but lets each query choose its weights, by comparing itself with the keys, and
# every step of that choice has a gradient. So nobody needs to write the lookup. A loss on
# the answers and plain gradient descent on `{python} f"{sum(W.size for W in trained.values())}"`
# numbers are enough to find that `K` means `k`; fewer find that place 0 must read from place 7.
