# ---
# title: Self-attention
# summary: A sequence asks itself, all positions at once, and must be told where things stand.
# prerequisites:
#   - transformers/attention: queries, keys, values, masks, the scale and the backward pass
# notebooks: [07-attention-from-scratch]
# packages: [numpy, matplotlib, torch, transformers]
# ---

# %% [markdown]
# # Self-attention
#
# $$
# \boxed{
# \begin{aligned}
# O &= \text{softmax}\left(\frac{QK^\top}{\sqrt{d_k}}\right) V \\
# Q &= XW_Q, \quad K = XW_K, \quad V = XW_V
# \end{aligned}
# }
# $$
#
# The rows of $X \in \mathbb{R}^{T \times d_\text{model}}$ are the $T$ tokens of *one* sequence, as vectors of width $d_\text{model}$.
# $W_Q, W_K \in \mathbb{R}^{d_\text{model} \times d_k}$ and $W_V \in \mathbb{R}^{d_\text{model} \times d_v}$ are learned *projections*: they make a query, a key and a value of every token.
# The softmax runs along each row, $d_k$ is the width of a query or key, $d_v$ that of a value, and row $t$ of $O \in \mathbb{R}^{T \times d_v}$ is what token $t$ gathered from all of them.
#
# Self-attention lets every token of a sequence read every other in one parallel step, which is why transformers could replace [recurrent networks](../architectures/rnns.py) [@vaswani2017attention]; its price is that it sees a *set*, so positions must be told.

# %% [markdown]
# ## 1. Core concept: a sequence that asks itself
#
# ### The sequence as it is: nobody looks around
#
# [Attention](attention.py) takes queries, keys and values, and does not say where they come from.
# Inside a sequence there is only $X$, so the obvious first try is to use $X$ for all three.

# %%
import matplotlib.pyplot as plt
import numpy as np


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
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 12, 64))  # 200 sequences of 12 tokens, width 64
A = masked_softmax(X @ X.swapaxes(-1, -2) / np.sqrt(64))
own = A[:, np.arange(12), np.arange(12)].mean()
print(f"mean weight of a token on itself: {own:.3f} (equal shares: {1 / 12:.3f})")

# %% [markdown]
# **What the code shows:** every token reads itself.
# With entries of variance 1 its own score is near $d_\text{model} / \sqrt{d_\text{model}} = 8$, all others are near 0, and `{python} f"{own:.0%}"` of the weight stays where it is: the layer copies its input.
#
# ### Why three projections
#
# *One shared projection for queries and keys*, $W_Q = W_K$, can mute the self-match, but its scores are symmetric: $S_{ij} = q_i \cdot q_j / \sqrt{d_k} = S_{ji}$.
# Relations in language are not.
# Take three tokens, each looking for the next on a circle: $1 \to 2 \to 3 \to 1$.
# Multiply the odds of the right key against the wrong one:
#
# $$
# \begin{aligned}
# \frac{A_{12}}{A_{13}} \cdot \frac{A_{23}}{A_{21}} \cdot \frac{A_{31}}{A_{32}}
# &= e^{S_{12} - S_{13} + S_{23} - S_{21} + S_{31} - S_{32}} \\
# &= e^0 = 1 \quad \text{if } S_{ij} = S_{ji}
# \end{aligned}
# $$
#
# **What this means:** what one token gains, the others lose.
# With a symmetric score at least one token prefers the wrong neighbour or is undecided, whatever the training.
#
# *A separate value* is needed because what a token is found by is not what it should hand over: "bites" is found because it is a verb, and must deliver *which* verb it is.
#
# *What is learned* by $W_Q$ and $W_K$ is only their product, for $S = X W_Q W_K^\top X^\top / \sqrt{d_k}$.
# The two thin matrices hold a score table for pairs of features, of [rank](../math-foundations/linear-algebra.py#rank-how-much-a-matrix-really-holds) at most $d_k$.
#
# | name | symbol | shape | row $t$ holds |
# |---|---|---|---|
# | tokens | $X$ | $(T, d_\text{model})$ | token $t$ |
# | query and key weights | $W_Q, W_K$ | $(d_\text{model}, d_k)$ | |
# | value weights | $W_V$ | $(d_\text{model}, d_v)$ | |
# | queries, keys | $Q, K$ | $(T, d_k)$ | what $t$ asks; what $t$ is found by |
# | values | $V$ | $(T, d_v)$ | what $t$ hands over |
# | scores, weights | $S, A$ | $(T, T)$ | $t$ against all tokens |
# | output | $O$ | $(T, d_v)$ | what $t$ gathered |
#
# A batch puts $B$ in front of every shape but those of the weights.
#
# ### By hand
#
# Solve the circle with $d_\text{model} = d_k = 2$ and $d_v = 1$:
#
# $$
# \begin{aligned}
# &X = \begin{bmatrix} 1 & 0 \\ 0 & 1 \\ -1 & -1 \end{bmatrix},
# \quad
# W_Q = \sqrt{2} \log 2 \begin{bmatrix} 0 & 1 \\ -1 & 0 \end{bmatrix}, \\
# &W_K = \begin{bmatrix} 1 & 0 \\ 0 & 1 \end{bmatrix},
# \quad
# W_V = \begin{bmatrix} 7 \\ 14 \end{bmatrix}
# \end{aligned}
# $$
#
# The queries are $\sqrt{2} \log 2$ times $(0, 1)$, $(-1, 0)$ and $(1, -1)$; the keys are the rows of $X$; the values are 7, 14 and $-21$.
# Dividing by $\sqrt{d_k} = \sqrt{2}$, each token scores 0 with itself, $\log 2$ with the next and $-\log 2$ with the one before.
# The exponentials are $1, 2, \frac{1}{2}$ and the weights $\frac{2}{7}, \frac{4}{7}, \frac{1}{7}$, so
#
# $$
# \begin{aligned}
# o_1 &= \frac{2 \cdot 7 + 4 \cdot 14 - 21}{7} = 7, \\
# o_2 &= \frac{2 \cdot 14 - 4 \cdot 21 + 7}{7} = -7, \\
# o_3 &= \frac{-2 \cdot 21 + 4 \cdot 7 + 14}{7} = 0
# \end{aligned}
# $$
#
# Each token prefers the right key four to one, and the product of the odds is 64.
#
# ### In code


# %%
def self_attention(
    X: np.ndarray,
    W_q: np.ndarray,
    W_k: np.ndarray,
    W_v: np.ndarray,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """X (..., T, d_model): the output (..., T, d_v) and the weights (..., T, T)."""
    Q, K, V = X @ W_q, X @ W_k, X @ W_v
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1])
    A = masked_softmax(S, mask)
    return A @ V, A


def circle_odds(A: np.ndarray) -> float:
    """Product of the odds right : wrong for weights A (3, 3) on 1 -> 2 -> 3 -> 1."""
    return A[0, 1] / A[0, 2] * A[1, 2] / A[1, 0] * A[2, 0] / A[2, 1]


X_hand = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
W_q_hand = np.sqrt(2) * np.log(2) * np.array([[0.0, 1.0], [-1.0, 0.0]])
W_v_hand = np.array([[7.0], [14.0]])
O_hand, A_hand = self_attention(X_hand, W_q_hand, np.eye(2), W_v_hand)
assert O_hand.shape == (3, 1) and np.allclose(O_hand, [[7], [-7], [0]])
assert np.allclose(A_hand, np.array([[2, 4, 1], [1, 2, 4], [4, 1, 2]]) / 7)
assert np.isclose(circle_odds(A_hand), 64)

tries = rng.normal(size=(1000, 2, 2))
shared = [circle_odds(self_attention(X_hand, W, W, W_v_hand)[1]) for W in tries]
print(A_hand.round(4))
print("shared projection, all 1,000 products are 1:", np.allclose(shared, 1))

# %% [markdown]
# **What the code shows:** the directed circle needs two matrices, and two suffice.
#
# ### Causal: all positions at once
#
# A [language model](gpt.py#all-positions-at-once) predicts token $t + 1$ from tokens $0$ to $t$ (counted from 0), so its mask is *causal*: query $t$ sees keys $0, \dots, t$.
# Row $t$ of one masked pass over the whole sequence equals the last row of an unmasked pass over the first $t + 1$ tokens:
#
# $$
# O_t = \text{softmax}\left(\frac{q_t K_{0:t}^\top}{\sqrt{d_k}}\right) V_{0:t}
# $$
#
# Here $0{:}t$ means rows $0$ to $t$, both included.
# Proof: each of $q_t, k_j, v_j$ is computed from its own row of $X$ alone, and the mask gives keys $j \gt t$ the weight 0, so both passes normalise the same scores and average the same values.
#
# **What this means:** one parallel pass yields $T$ predictions and $T$ losses, each computed as if the future did not exist.
# A recurrent network needs $T$ steps in a row.
# Generation is still sequential, since token $t + 1$ must be drawn before it can be read, but old keys and values never change: they are kept in a [cache](../modern-llms/inference.py#why-old-rows-may-be-kept).


# %%
def step_by_step(
    X: np.ndarray, W_q: np.ndarray, W_k: np.ndarray, W_v: np.ndarray
) -> np.ndarray:
    """Causal self-attention (T, d_v) of X (T, d_model), one token at a time."""
    keys, values, outputs = [], [], []
    for x in X:
        keys.append(x @ W_k)  # the cache grows by one row
        values.append(x @ W_v)
        s = np.array(keys) @ (x @ W_q) / np.sqrt(W_k.shape[-1])
        outputs.append(masked_softmax(s) @ np.array(values))
    return np.array(outputs)


T, d_model, d_k, d_v = 7, 8, 4, 5
W_q, W_k = rng.normal(size=(2, d_model, d_k)) / np.sqrt(d_model)
W_v = rng.normal(size=(d_model, d_v)) / np.sqrt(d_model)
X = rng.normal(size=(T, d_model))
causal = np.tril(np.ones((T, T), dtype=bool))
parallel, _ = self_attention(X, W_q, W_k, W_v, causal)
assert parallel.shape == (T, d_v)
gap = np.abs(parallel - step_by_step(X, W_q, W_k, W_v)).max()
print("one pass equals seven steps to 1e-12:", gap < 1e-12)

# %% [markdown]
# ### Order is invisible
#
# Without a mask, self-attention cannot see order at all.
# Let $P$ be a permutation matrix, so that $PX$ is the same tokens in another order.
# The projections act on rows, so $Q, K, V$ become $PQ, PK, PV$ and the scores $PSP^\top$; a softmax by rows does not care how its columns are ordered, so $A$ becomes $PAP^\top$.
# Since $P^\top P = I$:
#
# $$
# \begin{aligned}
# \text{SelfAttention}(PX) &= PAP^\top PV \\
# &= P \, \text{SelfAttention}(X)
# \end{aligned}
# $$
#
# **What this means:** shuffle the tokens and the outputs are shuffled with them, otherwise unchanged: the layer is *permutation equivariant*.
# To it a sentence is a bag of words.

# %%
words = ["dog", "bites", "man"]
E = rng.normal(size=(3, d_model))  # one vector for each word
before, A_before = self_attention(E, W_q, W_k, W_v)  # dog bites man
after, A_after = self_attention(E[::-1], W_q, W_k, W_v)  # man bites dog
order_gap = np.abs(before - after[::-1]).max()
size = np.abs(before).max()
print(f"largest output: {size:.1f}")
print("each word's output is the same to 1e-12:", order_gap < 1e-12)

# %%
#| label: fig-order
#| fig-cap: Attention weights of one untrained layer without positions for the same three words in two orders.
#| fig-alt: Two heat maps with the same nine numbers, in other places. The row of each word holds the same weights for the same words in both sentences.
fig, axes = plt.subplots(1, 2, figsize=(6.2, 2.7))
for ax, weights, names in ((axes[0], A_before, words), (axes[1], A_after, words[::-1])):
    ax.imshow(weights, vmin=0, vmax=1)
    for (i, j), w in np.ndenumerate(weights):
        ax.text(j, i, f"{w:.2f}", ha="center", va="center",
                color="black" if w > 0.5 else "white")
    ax.set_xticks(range(3), names)
    ax.set_yticks(range(3), names)
    ax.set(title=" ".join(names), xlabel="key")
    ax.grid(False)
axes[0].set_ylabel("query")

# %% [markdown]
# **What the code shows:** who bites whom is not weak in the output, it is absent: the difference is rounding error (@fig-order).
# No weights and no further layers of this kind can bring it back.
# If you stop here, you have the picture: *three projections of one sequence, all positions at once, blind to order*.

# %% tags=["test"]
def random_layer(rng, *lead, sizes=None):
    """X (*lead, T, d_model) and the three weights; all sizes different."""
    if sizes is None:
        sizes = rng.permutation(np.arange(2, 13))[:4]
    T, d_model, d_k, d_v = (int(s) for s in sizes)
    shapes = ((d_model, d_k), (d_model, d_k), (d_model, d_v))
    X = rng.normal(size=(*lead, T, d_model))
    return X, *(rng.normal(size=s) / np.sqrt(d_model) for s in shapes)


def test_shared_projection_is_symmetric():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    turn = np.sqrt(2) * np.log(2) * np.array([[0.0, 1.0], [-1.0, 0.0]])
    O, A = self_attention(X, turn, np.eye(2), np.array([[7.0], [14.0]]))
    assert np.allclose(O, [[7.0], [-7.0], [0.0]], atol=1e-12)
    assert abs(circle_odds(A) - 64) < 1e-9
    rng = np.random.default_rng(1)
    for _ in range(20):
        X, W, _, W_v = random_layer(rng, sizes=(3, 5, 4, 2))
        _, A = self_attention(X, W, W, W_v)
        assert abs(circle_odds(A) - 1) < 1e-9
        right = np.array([A[0, 1], A[1, 2], A[2, 0]])
        wrong = np.array([A[0, 2], A[1, 0], A[2, 1]])
        assert (right <= wrong + 1e-12).any()


def test_parallel_is_step_by_step():
    rng = np.random.default_rng(2)
    for trial in range(25):
        layer = random_layer(rng, sizes=(1, 3, 4, 2) if trial == 0 else None)
        T = len(layer[0])
        causal = np.tril(np.ones((T, T), dtype=bool))
        O, A = self_attention(*layer, causal)
        assert np.allclose(O, step_by_step(*layer), atol=1e-12)
        for t in range(T):  # the statement that the text proves
            alone, _ = self_attention(layer[0][: t + 1], *layer[1:])
            assert np.allclose(O[t], alone[-1], atol=1e-12)
        assert (A[~causal] == 0).all()


def test_permutation_equivariance():
    rng = np.random.default_rng(3)
    for _ in range(20):
        X, *weights = random_layer(rng, 3)
        order = rng.permutation(X.shape[1])
        O, A = self_attention(X, *weights)
        moved, A_moved = self_attention(X[:, order], *weights)
        assert np.allclose(moved, O[:, order], atol=1e-12)
        assert np.allclose(A_moved, A[:, order][:, :, order], atol=1e-12)


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Adding a position: sinusoids and tables
#
# The first cure is to add a vector $p_t$ to each token: $x_t + p_t$.
# It can be *learned*, a row of a table with one entry for each position, as in [BERT](bert.py#the-model-to-the-last-bias) and [GPT-2](gpt.py#in-code) [@gehring2017convolutional; @devlin2019bert; @radford2019language]; then position 1,024 of a table with 1,024 rows, counted from zero, does not exist.
# Or it can be computed.
# The 2017 transformer uses pairs of sines and cosines [@vaswani2017attention], for $i = 0, \dots, d_\text{model} / 2 - 1$:
#
# $$
# \begin{aligned}
# p_{t, 2i} &= \sin(t \theta_i), \quad p_{t, 2i+1} = \cos(t \theta_i), \\
# \theta_i &= 10000^{-2i / d_\text{model}}
# \end{aligned}
# $$
#
# **What this means:** each pair is the hand of a clock.
# The first turns by one radian per token, the last, in a wide model, almost 10,000 times more slowly, and together they read the position.
#
# Why clocks? Because a shift is a rotation.
# With the matrix $R(\varphi)$ that turns a row vector by $\varphi$, the addition theorems say
#
# $$
# \begin{aligned}
# &R(\varphi) = \begin{bmatrix} \cos\varphi & \sin\varphi \\ -\sin\varphi & \cos\varphi \end{bmatrix}, \\
# &\left(\sin((t + k)\theta), \cos((t + k)\theta)\right) \\
# &\quad = \left(\sin(t\theta), \cos(t\theta)\right) R(k\theta)^\top
# \end{aligned}
# $$
#
# **What this means:** "$k$ steps further" is the same linear map at every $t$, so a projection can learn it.


# %%
def frequencies(d: int, base: float = 10000.0) -> np.ndarray:
    """theta_i = base^(-2i/d), shape (d/2,): radians per token."""
    return base ** (-np.arange(0, d, 2) / d)


def sinusoids(positions: np.ndarray, d: int) -> np.ndarray:
    """Position vectors (T, d) of the 2017 transformer, for positions (T,)."""
    angle = np.multiply.outer(positions, frequencies(d))  # (T, d/2)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(-1, d)


P = sinusoids(np.arange(3), d_model)
one, _ = self_attention(E + P, W_q, W_k, W_v)
two, _ = self_attention(E[::-1] + P, W_q, W_k, W_v)
told_gap = np.abs(one - two[::-1]).max()
late, _ = self_attention(E + sinusoids(np.arange(3) + 50, d_model), W_q, W_k, W_v)
late_gap = np.abs(one - late).max()
print(f"'dog bites man' against 'man bites dog': {told_gap:.2f}")
print(f"'dog bites man' at positions 0 and at 50: {late_gap:.2f}")

# %% [markdown]
# **What the code shows:** order is visible now.
# So is something you did not want: the same sentence, 50 tokens later, gives another result.
# The score $(x_i + p_i) W_Q W_K^\top (x_j + p_j)^\top$ has four terms.
# Two mix content with absolute position.
# The fourth, $p_i W_Q W_K^\top p_j^\top$, would depend on $i - j$ alone without the matrices, since $p_i p_j^\top$ is a sum of $\cos((i - j)\theta)$; nothing makes learned matrices keep that.
# What matters is mostly how far apart two words stand, so build *distance* in.
#
# ### Turning: RoPE
#
# *Rotary position embedding* (RoPE) adds nothing [@su2021roformer].
# Ask for a map $f(q, t)$ such that the dot product of $f(q, m)$ and $f(k, n)$ depends on $m$ and $n$ only through $m - n$.
# For two components the rotation $f(q, m) = q R(m\theta)$ does it, because $R(\alpha) R(\beta) = R(\alpha + \beta)$ and $R(\beta)^\top = R(-\beta)$:
#
# $$
# \begin{aligned}
# \left(q R(m\theta)\right) \left(k R(n\theta)\right)^\top
# &= q R(m\theta) R(n\theta)^\top k^\top \\
# &= q R\left((m - n)\theta\right) k^\top
# \end{aligned}
# $$
#
# **What this means:** turn the query by its position and the key by its own; in the dot product only the angle between them is left.
# Split the $d_k$ components into $d_k / 2$ pairs and give each its own $\theta_i = b^{-2i / d_k}$ with base $b = 10000$: the clocks again, now turning queries and keys instead of joining the tokens.
# Rotations keep lengths, and values are left alone.
#
# Which components form a pair?
# The paper takes neighbours, $(0, 1), (2, 3), \dots$ (*interleaved*); Hugging Face's library, which the tests use, takes $(i, i + d_k / 2)$ (*half-split*).


# %%
def rope(
    x: np.ndarray, positions: np.ndarray, theta: np.ndarray, interleaved: bool = False
) -> np.ndarray:
    """Turn the pairs of x (..., T, d) by positions (..., T) times theta (d/2,)."""
    angle = np.multiply.outer(positions, theta)  # (..., T, d/2)
    cos, sin = np.cos(angle), np.sin(angle)
    if interleaved:
        a, b = x[..., ::2], x[..., 1::2]
    else:
        a, b = np.split(x, 2, axis=-1)
    turned = [a * cos - b * sin, a * sin + b * cos]  # (a, b) R(angle)
    if interleaved:
        return np.stack(turned, axis=-1).reshape(x.shape)
    return np.concatenate(turned, axis=-1)


def pairs_to_halves(d: int) -> np.ndarray:
    """Order of columns that turns interleaved pairs into half-split ones."""
    return np.concatenate([np.arange(0, d, 2), np.arange(1, d, 2)])


Q, K = rng.normal(size=(2, 6, 8))  # T = 6, d_k = 8
theta, now, order = frequencies(8), np.arange(6), pairs_to_halves(8)
S = rope(Q, now, theta) @ rope(K, now, theta).T
S_late = rope(Q, now + 50, theta) @ rope(K, now + 50, theta).T
halves = rope(Q[:, order], now, theta)
neighbours = rope(Q, now, theta, interleaved=True)
same = np.allclose(S, S_late, atol=1e-10)
print("scores at positions 0 and 50 agree to 1e-10:", same)
print("conventions differ by a permutation:", np.allclose(halves, neighbours[:, order]))

# %% [markdown]
# **What the code shows:** moving the whole sequence changes no score.
# The two conventions are one model with its columns permuted: a dot product does not care, if queries and keys are permuted alike.
# Permute the columns of $W_Q$ and $W_K$ by `order`, and weights trained with one run with the other.

# %% tags=["test"]
def test_sinusoids_against_two_references():
    import warnings

    import torch

    with warnings.catch_warnings():  # tqdm's advice about notebook widgets
        warnings.simplefilter("ignore")
        from transformers.models.distilbert.modeling_distilbert import (
            create_sinusoidal_embeddings,
        )

    for T, d in [(1, 2), (5, 6), (40, 10), (7, 64), (512, 16)]:
        P = sinusoids(np.arange(T), d)
        table = torch.zeros(T, d, dtype=torch.float64)
        create_sinusoidal_embeddings(T, d, table)  # rounds to float32 inside
        assert P.shape == (T, d) and np.allclose(P, table.numpy(), atol=1e-7)
        for t in range(0, T, 7):  # the formula, entry by entry
            for c in range(d):
                angle = t / 10000 ** (2 * (c // 2) / d)
                want = np.cos(angle) if c % 2 else np.sin(angle)
                assert abs(P[t, c] - want) < 1e-12


def test_rope_is_hugging_face_in_both_conventions():
    import torch
    from transformers.models.gptj import modeling_gptj as gptj
    from transformers.models.llama import modeling_llama as llama

    rng = np.random.default_rng(4)
    for _ in range(25):
        B, T, half = (int(s) for s in rng.permutation(np.arange(1, 9))[:3])
        d, base = 2 * half, float(rng.choice([100.0, 1e4, 5e5]))
        q, k = rng.normal(size=(2, B, T, d))
        positions, theta = rng.integers(0, 64, size=(B, T)), frequencies(d, base)
        angle = torch.from_numpy(positions[..., None] * theta)
        twice = torch.cat([angle, angle], dim=-1)
        tq, tk = (torch.from_numpy(x)[:, None] for x in (q, k))  # one head
        want = llama.apply_rotary_pos_emb(tq, tk, twice.cos(), twice.sin())
        for x, y in zip((q, k), want):
            assert np.allclose(rope(x, positions, theta), y[:, 0].numpy(), atol=1e-12)
        config = llama.LlamaConfig(
            hidden_size=d, num_attention_heads=1, head_dim=d,
            rope_parameters={"rope_type": "default", "rope_theta": base},
        )
        table = llama.LlamaRotaryEmbedding(config)  # float32 inside
        cos, sin = table(tq, torch.from_numpy(positions))
        assert np.allclose(cos.numpy(), twice.cos().numpy(), atol=1e-4)
        assert np.allclose(sin.numpy(), twice.sin().numpy(), atol=1e-4)
        pairs = gptj.apply_rotary_pos_emb(
            torch.from_numpy(q)[:, :, None], angle.sin(), angle.cos()
        )[:, :, 0].numpy()
        got = rope(q, positions, theta, interleaved=True)
        complex_q = torch.view_as_complex(torch.from_numpy(q).reshape(B, T, half, 2))
        polar = torch.polar(torch.ones_like(angle), angle)
        by_complex = torch.view_as_real(complex_q * polar).reshape(B, T, d).numpy()
        assert np.allclose(got, pairs, atol=1e-12)
        assert np.allclose(got, by_complex, atol=1e-12)
        order = pairs_to_halves(d)
        assert np.allclose(rope(q[..., order], positions, theta), got[..., order])


def test_rope_scores_depend_on_the_difference():
    rng = np.random.default_rng(5)
    for trial in range(20):
        d, theta = 2 * (trial % 5 + 1), frequencies(2 * (trial % 5 + 1))
        q, k = rng.normal(size=(2, 1, d))
        m, n, shift = rng.integers(0, 200, size=(3, 1))
        for pairs in (False, True):
            here = rope(q, m, theta, pairs) @ rope(k, n, theta, pairs).T
            q_late = rope(q, m + shift, theta, pairs)
            there = q_late @ rope(k, n + shift, theta, pairs).T
            relative = rope(q, m - n, theta, pairs) @ k.T
            assert np.allclose(here, there, atol=1e-9)
            assert np.allclose(here, relative, atol=1e-9)
            assert np.isclose(np.linalg.norm(rope(q, m, theta, pairs)),
                              np.linalg.norm(q))


# %% [markdown]
# ### Biasing the scores, or saying nothing
#
# The third way leaves vectors alone and adds a number to each score.
# ALiBi subtracts the distance times a fixed slope $\mu$, another one in each [head](multi-head-attention.py) [@press2022train]:
#
# $$
# S_{ij} = \frac{q_i \cdot k_j}{\sqrt{d_k}} - \mu (i - j), \quad j \le i
# $$
#
# **What this means:** the far past fades, at distances never trained too.
#
# The fourth way is *nothing* (NoPE).
# The equivariance proof had no mask; a causal mask does tell positions.
# Let the first token be a marker, weigh all visible tokens equally, and let only the marker have value 1: query $t$ averages $t + 1$ values and reads $1 / (t + 1)$, its own position.


# %%
def alibi(T: int, slope: float) -> np.ndarray:
    """Bias (T, T): minus the slope times the distance back to the key."""
    distance = np.arange(T)[:, None] - np.arange(T)[None, :]
    return -slope * np.maximum(distance, 0.0)


tokens = np.eye(2)[[0, 1, 1, 1, 1]]  # a marker, then four equal tokens
no_position = (np.zeros((2, 3)), np.zeros((2, 3)), np.array([[1.0], [0.0]]))
for name, mask in (("causal", np.tril(np.ones((5, 5), bool))), ("no mask", None)):
    print(f"{name:8}", self_attention(tokens, *no_position, mask)[0][:, 0].round(3))

# %% [markdown]
# **What the code shows:** four equal tokens leave four different outputs under the mask, equal ones without.
# Decoders, models with a causal mask, do learn positions when given none [@haviv2022transformer]; in one study of short reasoning and mathematical tasks they were on average the best at inputs longer than trained [@kazemnejad2023impact].
#
# | year | idea | in one sentence |
# |---|---|---|
# | 2018 | relative vectors [@shaw2018self] | A learned vector for each clipped offset is added to keys and values. |
# | 2019 | T5 bias [@raffel2020exploring] | A learned number for each bucket of offsets, wider buckets farther away, is added to the score. |
# | 2021 | RoPE [@su2021roformer] | Queries and keys are turned by their positions. |
# | 2021 | ALiBi [@press2022train] | Scores fall linearly with distance. |
# | 2022 | NoPE [@haviv2022transformer; @kazemnejad2023impact] | The causal mask alone tells positions. |
# | 2024 | what RoPE does [@barbero2024round] | In a trained Gemma, fast pairs make positional patterns and slow ones seem to carry meaning; fading with distance, the authors argue, is not why RoPE works. |
# | 2025 | mixed layers [@gemma2025gemma3; @yang2025rope] | Several layers with a short window and RoPE of base 10,000 to each global one, which uses base 1,000,000 (Gemma 3) or no positions. |
#
# In 2026 RoPE is the usual choice of open decoders, alone or mixed as in the last row.
#
# ### Longer than trained
#
# RoPE has no table that ends, yet a model trained on $L$ tokens usually fails beyond.
# A slow clock never completes a turn in training: past $L$ its angle is new.
# To reach $s L$ tokens, the *frequencies* are stretched:
#
# $$
# \begin{aligned}
# \theta_i^\text{PI} &= \frac{\theta_i}{s}, \\
# \theta_i^\text{NTK} &= \theta_i \, s^{-2i/(d_k - 2)}, \\
# \theta_i^\text{YaRN} &= \gamma_i \theta_i + (1 - \gamma_i) \frac{\theta_i}{s}
# \end{aligned}
# $$
#
# Here $\gamma_i$ is 1 for clocks that make at least $\beta = 32$ turns in $L$ tokens, 0 for those that make at most $\alpha = 1$, and a ramp between.
#
# **What this means:** *position interpolation* (PI) squeezes all positions into the trained range, and neighbours move $s$ times closer [@chen2023extending].
# The *NTK-aware* rule (named after the neural tangent kernel) is a larger base, $b s^{d_k / (d_k - 2)}$: the fastest clock stays, the slowest slows by exactly $s$.
# *YaRN* leaves fast clocks alone, interpolates slow ones, and multiplies the scores by $(0.1 \log s + 1)^2$ to keep them sharp; its authors found that it needs less further training than the other two [@peng2023yarn].
# Models are often stretched in the last phase of [pretraining](../modern-llms/pretraining.py#recipes-as-of-2026), on long texts.


# %%
def stretched(theta: np.ndarray, s: float, L: int, rule: str) -> np.ndarray:
    """Frequencies (d/2,) for s times the trained length L."""
    if rule == "PI":
        return theta / s
    if rule == "NTK":
        return theta * s ** (-np.arange(len(theta)) / (len(theta) - 1))
    turns = L * theta / (2 * np.pi)
    if rule == "YaRN":  # the ramp of the paper
        gamma = np.clip((turns - 1) / (32 - 1), 0, 1)
    else:  # "YaRN, log ramp": the ramp of the code, linear in i
        gamma = np.clip(np.log(turns) / np.log(32), 0, 1)
    return gamma * theta + (1 - gamma) * theta / s


theta_llama, L, s = frequencies(128), 4096, 8.0  # heads of Llama 2
never = int((L * theta_llama < 2 * np.pi).sum())
print(f"{never} of {len(theta_llama)} clocks never complete a turn in {L} tokens")
slowing = stretched(theta_llama, s, L, "NTK") / theta_llama
assert np.allclose(slowing[[0, -1]], [1, 1 / s])

# %%
#| label: fig-stretch
#| fig-cap: Stretched over trained frequency of each pair, for heads of width 128, base 10,000, trained on 4,096 tokens and extended eightfold. Grey, the pairs that never completed a turn in training.
#| fig-alt: Interpolation is flat at one eighth. NTK falls in a straight line from one to one eighth. YaRN stays at one for fast pairs, drops steeply and lies at one eighth for the slow ones; its log ramp drops between the same ends, later.
fig, ax = plt.subplots()
rules = {"PI": "-", "NTK": "--", "YaRN": "-.", "YaRN, log ramp": ":"}
for rule, style in rules.items():
    ax.semilogy(stretched(theta_llama, s, L, rule) / theta_llama, style, label=rule)
ax.axvspan(len(theta_llama) - never - 0.5, len(theta_llama) - 1, color="0.9")
ax.set(xlabel="pair (fast to slow)", ylabel="stretched / trained frequency")
ax.set_yticks([1, 1 / 2, 1 / 4, 1 / 8], ["1", "1/2", "1/4", "1/8"])
ax.minorticks_off()
ax.legend()
ax.margins(x=0)

# %% [markdown]
# In the grey region of @fig-stretch lie the clocks of Llama 2 [@touvron2023llama2] whose angles would otherwise be new.
# PI and YaRN slow all of them by the full factor; NTK does so only for the last, so the others still reach new angles.
# PI pays with the fast clocks: one radian between neighbours becomes `{python} f"{1 / s:.3f}"`.
#
# The other way is never to look far.
# A *window* lets query $i$ see the keys with $0 \le i - j \lt w$ [@beltagy2020longformer; @jiang2023mistral]: $Tw$ scores instead of $T^2$, and no distance beyond $w - 1$.
# Information still travels: each layer carries it $w - 1$ tokens on, so $l$ layers reach back $l(w - 1)$.
# A window that drops the first tokens can fail, because models park unneeded weight there: [attention sinks](attention.py#what-came-later), Exercise 3.


# %%
def window_mask(T: int, w: int) -> np.ndarray:
    """Mask (T, T): query i sees keys i - w + 1 to i."""
    back = np.arange(T)[:, None] - np.arange(T)[None, :]
    return (back >= 0) & (back < w)


# %% tags=["test"]
def test_alibi_is_bloom():
    import torch
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    rng = np.random.default_rng(6)
    for T in (1, 2, 7, 20):
        ones = torch.ones(1, T, dtype=torch.int64)
        reference = build_alibi_tensor(ones, 8, torch.float64).numpy()  # (8, 1, T)
        causal = np.tril(np.ones((T, T), dtype=bool))
        for head in range(8):
            S = rng.normal(size=(T, T))
            got = masked_softmax(S + alibi(T, 2.0 ** -(head + 1)), causal)
            want = masked_softmax(S + reference[head], causal)  # shifted by rows
            assert np.allclose(got, want, atol=1e-12)


def test_stretched_is_hugging_face():
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rng = np.random.default_rng(7)
    names = {"PI": "linear", "NTK": "dynamic", "YaRN, log ramp": "yarn"}
    for _ in range(20):
        d, base = 2 * int(rng.integers(2, 65)), float(rng.choice([1e4, 5e5]))
        L, s = int(rng.choice([512, 2048, 4096])), float(rng.choice([2.0, 4.0, 16.0]))
        for rule, name in names.items():
            parameters = {"rope_type": name, "rope_theta": base, "factor": s}
            if rule == "NTK":  # "dynamic" takes s from the length it is given
                parameters["factor"] = 1.0
            elif rule != "PI":
                parameters |= {"truncate": False, "original_max_position_embeddings": L}
            config = LlamaConfig(
                hidden_size=d, num_attention_heads=1, head_dim=d,
                max_position_embeddings=L if rule == "NTK" else int(s * L),
                rope_parameters=parameters,
            )
            length = {"seq_len": int(s * L)} if rule == "NTK" else {}
            want, factor = ROPE_INIT_FUNCTIONS[name](config, "cpu", **length)
            got = stretched(frequencies(d, base), s, L, rule)
            assert np.allclose(got, want.numpy(), rtol=1e-4, atol=0)
            if name == "yarn":
                assert abs(factor - (0.1 * np.log(s) + 1)) < 1e-12
    theta = frequencies(64)
    paper = stretched(theta, 4.0, 4096, "YaRN")
    turns = 4096 * theta / (2 * np.pi)
    assert np.array_equal(paper[turns >= 32], theta[turns >= 32])
    assert np.allclose(paper[turns <= 1], theta[turns <= 1] / 4)
    for t, got, r in zip(theta, paper, turns):  # the paper's ramp, clock by clock
        g = 0.0 if r < 1 else 1.0 if r > 32 else (r - 1) / 31
        assert np.isclose(got, g * t + (1 - g) * t / 4, rtol=1e-12, atol=0)


def test_windows_reach_one_window_per_layer():
    rng = np.random.default_rng(8)
    T, w, layers = 16, 4, 3
    _, W_q, W_k, W_v = random_layer(rng, sizes=(T, 6, 5, 6))
    X = rng.normal(size=(T, 6))
    changed = X.copy()
    changed[2] += 1.0
    for _ in range(layers):
        X, _ = self_attention(X, W_q, W_k, W_v, window_mask(T, w))
        changed, _ = self_attention(changed, W_q, W_k, W_v, window_mask(T, w))
    moved = np.flatnonzero(np.abs(X - changed).max(axis=-1) > 0)
    assert list(moved) == list(range(2, 2 + layers * (w - 1) + 1))
    assert list(window_mask(5, 2).sum(axis=1)) == [1, 2, 2, 2, 2]


# %% [markdown]
# ### The backward pass
#
# Given $dO = \partial L / \partial O$, the [attention topic](attention.py#the-backward-pass) yields $dQ, dK, dV$.
# What is new: $X$ is used three times, and [gradients add where a value fans out](../neural-networks/backpropagation.py#the-picture).
# RoPE is a rotation, whose transpose turns back: $dQ$ and $dK$ are turned by minus the position before they reach the projections.
#
# $$
# \begin{aligned}
# dW_Q &= X^\top dQ, \quad dW_K = X^\top dK, \quad dW_V = X^\top dV \\
# dX &= dQ \, W_Q^\top + dK \, W_K^\top + dV \, W_V^\top
# \end{aligned}
# $$
#
# **What this means:** a token learns in three roles, as the one who asks, the one who is found and the one who delivers.
# Over a batch, the weight gradients sum over all sequences and positions.


# %%
def layer_forward(
    X: np.ndarray,
    W: dict[str, np.ndarray],
    mask: np.ndarray | None = None,
    theta: np.ndarray | None = None,
    bias: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, tuple]:
    """X (B, T, d_model): output (B, T, d_v), what backward needs; RoPE if theta."""
    Q, K, V = X @ W["W_q"], X @ W["W_k"], X @ W["W_v"]
    if theta is not None:
        positions = np.arange(X.shape[-2])
        Q, K = rope(Q, positions, theta), rope(K, positions, theta)
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1]) + bias
    A = masked_softmax(S, mask)
    return A @ V, (X, Q, K, V, A)


def layer_backward(
    dO: np.ndarray,
    W: dict[str, np.ndarray],
    saved: tuple,
    theta: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """From dO (B, T, d_v): the gradients of X, W_q, W_k, W_v and of the scores S."""
    X, Q, K, V, A = saved
    dV = A.swapaxes(-1, -2) @ dO
    dA = dO @ V.swapaxes(-1, -2)
    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))
    dQ = dS @ K / np.sqrt(K.shape[-1])
    dK = dS.swapaxes(-1, -2) @ Q / np.sqrt(K.shape[-1])
    if theta is not None:
        back = -np.arange(X.shape[-2])
        dQ, dK = rope(dQ, back, theta), rope(dK, back, theta)
    grads = {"X": dQ @ W["W_q"].T + dK @ W["W_k"].T + dV @ W["W_v"].T, "S": dS}
    rows = X.reshape(-1, X.shape[-1])  # (B T, d_model)
    for name, d in (("W_q", dQ), ("W_k", dK), ("W_v", dV)):
        grads[name] = rows.T @ d.reshape(-1, d.shape[-1])
    return grads


W = {"W_q": W_q, "W_k": W_k, "W_v": W_v}
X = rng.normal(size=(2, T, d_model))
O, saved = layer_forward(X, W, causal, frequencies(d_k))
grads = layer_backward(np.ones((2, T, d_v)), W, saved, frequencies(d_k))
for name, value in (("X", X), *W.items()):
    assert grads[name].shape == value.shape
step = 1e-6 * rng.normal(size=X.shape)
change = (layer_forward(X + step, W, causal, frequencies(d_k))[0]
          - layer_forward(X - step, W, causal, frequencies(d_k))[0]).sum() / 2
told = (grads["X"] * step).sum()
print("one nudge agrees with dX:", np.isclose(change, told, rtol=1e-5))

# %% [markdown]
# The tests compare outputs and all gradients with PyTorch's autograd and `scaled_dot_product_attention`: masked or not, with RoPE, a bias, both or neither, a fully masked row, one token, none.

# %% tags=["test"]
def check_layer(rng, B, T, d_model, d_k, d_v, kind, size=1.0, mask=None):
    """Forward and backward against autograd through torch's fused attention."""
    import torch

    X, W_q, W_k, W_v = random_layer(rng, B, sizes=(T, d_model, d_k, d_v))
    X, W = size * X, {"W_q": W_q, "W_k": W_k, "W_v": W_v}
    theta = frequencies(d_k, 50.0) if "rope" in kind else None
    bias = rng.normal(size=(T, T)) if "bias" in kind else np.zeros((T, T))
    dO = rng.normal(size=(B, T, d_v))
    O, saved = layer_forward(X, W, mask, theta, bias)
    grads = layer_backward(dO, W, saved, theta)
    leaves = {n: torch.from_numpy(a.copy()).requires_grad_()
              for n, a in {"X": X, **W, "S": bias}.items()}
    tQ, tK, tV = (leaves["X"] @ leaves[n] for n in ("W_q", "W_k", "W_v"))
    if theta is not None:  # RoPE by complex numbers
        angle = torch.from_numpy(np.outer(np.arange(T), theta))
        polar = torch.polar(torch.ones_like(angle), angle)
        turned = []
        for x in (tQ, tK):
            z = torch.complex(*x.chunk(2, dim=-1)) * polar
            turned.append(torch.cat([z.real, z.imag], dim=-1))
        tQ, tK = turned
    added = leaves["S"]
    if mask is not None:
        added = added.masked_fill(torch.from_numpy(~mask), float("-inf"))
    want = torch.nn.functional.scaled_dot_product_attention(tQ, tK, tV, attn_mask=added)
    want.backward(torch.from_numpy(dO))
    assert O.shape == (B, T, d_v)
    assert np.allclose(O, want.detach().numpy(), atol=1e-10)
    grads["S"] = grads["S"].sum(axis=0)  # one bias for all sequences of the batch
    for name, leaf in leaves.items():
        assert grads[name].shape == tuple(leaf.shape)
        assert np.allclose(grads[name], leaf.grad.numpy(), atol=1e-9)


def test_layer_random_shapes():
    rng = np.random.default_rng(9)
    for trial in range(32):
        B, T, d_model, d_v = (int(x) for x in rng.permutation(np.arange(2, 11))[:4])
        d_k = 2 * int(rng.integers(1, 7))
        kind = ("plain", "rope", "bias", "rope bias")[trial % 4]
        mask = None
        if trial >= 8:
            mask = np.tril(np.ones((T, T), dtype=bool)) & (rng.random((T, T)) < 0.8)
            mask[:, 0] = True
        check_layer(rng, B, T, d_model, d_k, d_v, kind, mask=mask)


def test_layer_edges():
    rng = np.random.default_rng(10)
    check_layer(rng, 1, 1, 3, 2, 4, "rope")
    check_layer(rng, 2, 5, 3, 4, 1, "rope bias", size=300.0)
    blind = np.tril(np.ones((4, 4), dtype=bool))
    blind[0] = False  # a query that may look at nothing
    check_layer(rng, 3, 4, 5, 2, 6, "plain", mask=blind)
    W = {"W_q": np.ones((3, 2)), "W_k": np.ones((3, 2)), "W_v": np.ones((3, 5))}
    O, saved = layer_forward(np.ones((2, 0, 3)), W, theta=np.ones(1))  # no tokens
    grads = layer_backward(O, W, saved, np.ones(1))
    assert O.shape == (2, 0, 5) and grads["X"].shape == (2, 0, 3)
    assert all(not grads[name].any() for name in W)
    X = np.repeat(rng.normal(size=(1, 1, 3)), 4, axis=1)  # ties
    assert np.allclose(layer_forward(X, W)[1][-1], 0.25)


# %% [markdown]
# ### Experiment: three steps back, and beyond
#
# **Question.** A causal layer with one head must output the token three steps back.
# Which positions let it learn that on 16 tokens, and what happens on 64?
# Eight symbols have fixed random vectors; $W_Q, W_K, W_V$ are trained with [cross-entropy](../math-foundations/probability.py#maximum-likelihood-is-minimum-cross-entropy) and [Adam](../training/optimizers.py#a-direction-for-each-gradient), a gradient descent with a step size for each parameter.
#
# **Prediction.** Without positions one layer sees its past as a bag, and can only bet on frequent symbols.
# Sinusoids and RoPE both learn the task; beyond 16 sinusoids meet new positions, while for RoPE offset 3 is still offset 3.
# But offsets above 15 are new to RoPE too, and join the softmax.
# A window of 16 at test time removes exactly those.


# %%
SYMBOLS, BACK, TRAINED, TESTED = 8, 3, 16, 64


def embed(E: np.ndarray, ids: np.ndarray, kind: str) -> np.ndarray:
    """Token vectors (B, T, d_model), with sinusoids added if asked."""
    X = E[ids]
    return X + sinusoids(np.arange(X.shape[1]), X.shape[2]) if kind == "sin" else X


def train_copy(kind: str, seed: int, d_k: int = 32, steps: int = 400) -> tuple:
    """Symbol vectors E and weights W after training on TRAINED tokens."""
    rng, mask = np.random.default_rng(seed), window_mask(TRAINED, TRAINED)
    E = rng.normal(size=(SYMBOLS, 32))
    W = {"W_q": rng.normal(size=(32, d_k)) / np.sqrt(32),
         "W_k": rng.normal(size=(32, d_k)) / np.sqrt(32),
         "W_v": rng.normal(size=(32, SYMBOLS)) / np.sqrt(32)}
    mean = {name: np.zeros_like(w) for name, w in W.items()}
    square = {name: np.zeros_like(w) for name, w in W.items()}
    theta = frequencies(d_k) if kind == "rope" else None
    for t in range(1, steps + 1):
        ids = rng.integers(SYMBOLS, size=(32, TRAINED))
        logits, saved = layer_forward(embed(E, ids, kind), W, mask, theta)
        dO = masked_softmax(logits)  # softmax minus one-hot, where there is a target
        dO[:, BACK:] -= np.eye(SYMBOLS)[ids[:, :-BACK]]
        dO[:, :BACK] = 0
        grads = layer_backward(dO / dO[..., 0].size, W, saved, theta)
        for name in W:
            mean[name] = 0.9 * mean[name] + 0.1 * grads[name]
            square[name] = 0.99 * square[name] + 0.01 * grads[name] ** 2
            scale = np.sqrt(square[name] / (1 - 0.99**t)) + 1e-8
            W[name] = W[name] - 0.02 * mean[name] / (1 - 0.9**t) / scale
    return E, W


def copy_accuracy(E: np.ndarray, W: dict, kind: str, w: int) -> np.ndarray:
    """Share of right answers at positions BACK to TESTED - 1, with window w."""
    ids = np.random.default_rng(100).integers(SYMBOLS, size=(200, TESTED))
    theta = frequencies(W["W_k"].shape[1]) if kind == "rope" else None
    logits, _ = layer_forward(embed(E, ids, kind), W, window_mask(TESTED, w), theta)
    return (logits.argmax(axis=-1)[:, BACK:] == ids[:, :-BACK]).mean(axis=0)


# %%
SEEDS = range(8)
curves = {}
for kind in ("none", "sin", "rope"):
    models = [train_copy(kind, seed) for seed in SEEDS]
    curves[kind] = np.array([copy_accuracy(*m, kind, TESTED) for m in models])
    windowed = [copy_accuracy(*m, kind, TRAINED) for m in models]
    curves[kind + " window"] = np.array(windowed)
inside = {k: v[:, : TRAINED - BACK].mean(axis=1) for k, v in curves.items()}
beyond = {k: v[:, -16:].mean(axis=1) for k, v in curves.items()}
stuck = copy_accuracy(*train_copy("rope", 4, d_k=16), "rope", TRAINED)
stuck = stuck[: TRAINED - BACK].mean()
for k in curves:
    print(f"{k:12} inside {inside[k].mean():.2f}, "
          f"positions 48 to 63 {beyond[k].mean():.2f} "
          f"(seeds {beyond[k].min():.2f} to {beyond[k].max():.2f})")

# %%
#| label: fig-copy
#| fig-cap: Accuracy of copying the token three steps back, by position, after training on 16 tokens (left of the grey line), with and without a window of 16 at test time. Dotted, no positions. Lines are means over eight seeds, bands run from the worst to the best; chance is 1/8.
#| fig-alt: Without positions accuracy is low and falls. RoPE decays slowly past the trained length and stays at one with a window. Sinusoids fall at once, then rise and fall in waves that differ between seeds, higher with a window than without.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3), sharey=True)
at = np.arange(BACK, TESTED)
panels = [{"rope window": ("-", "window 16"), "rope": ("--", "no window"),
           "none": (":", "no positions")},
          {"sin window": ("-", "window 16"), "sin": ("--", "no window")}]
for ax, shown in zip(axes, panels):
    for kind, (style, label) in shown.items():
        low, mean, high = (f(curves[kind], axis=0) for f in (np.min, np.mean, np.max))
        ax.plot(at, mean, style, label=label)
        ax.fill_between(at, low, high, alpha=0.15)
    ax.axvline(TRAINED - 0.5, color="0.5", linewidth=1)
    ax.set(xlabel="position", ylim=(0, 1.03))
    ax.margins(x=0)
axes[0].set(title="RoPE", ylabel="accuracy")
axes[1].set(title="sinusoids")
axes[0].legend(loc="center right")

# %% [markdown]
# **What the code shows:** the prediction holds, in part.
# Inside the trained length sinusoids reach `{python} f"{inside['sin'].mean():.2f}"` and RoPE `{python} f"{inside['rope'].mean():.2f}"`; without positions it is `{python} f"{inside['none'].mean():.2f}"`.
# At positions 48 to 63 sinusoids are down to `{python} f"{beyond['sin'].mean():.2f}"`, RoPE to `{python} f"{beyond['rope'].mean():.2f}"`, with seeds from `{python} f"{beyond['rope'].min():.2f}"` to `{python} f"{beyond['rope'].max():.2f}"`.
# "Relative" is not "extrapolates": nothing trained the far offsets to score low.
# With the window RoPE gets `{python} f"{beyond['rope window'].mean():.2f}"` there, with the same weights.
# Not foreseen: sinusoids with a window get `{python} f"{beyond['sin window'].mean():.2f}"` (`{python} f"{beyond['sin window'].min():.2f}"` to `{python} f"{beyond['sin window'].max():.2f}"`), so *part* of what they learned is relative.
# All this is one head on a task that needs nothing far, and it does not rank schemes for language.
# Nor is RoPE safe: with $d_k = 16$ and seed 4 it is stuck at `{python} f"{stuck:.2f}"` inside the trained length.

# %% tags=["test", "experiment"]
def test_copy_conclusion():
    assert inside["none"].max() < 0.45 and stuck < 0.9
    assert inside["sin"].min() > 0.97 and inside["rope"].min() > 0.97
    assert beyond["sin"].max() < 0.55
    assert 0.6 < beyond["rope"].mean() < 0.97
    assert beyond["rope window"].min() > 0.97
    assert beyond["sin"].mean() < beyond["sin window"].mean() < 0.9


# %% [markdown]
# ### What it costs
#
# A layer's products with weight matrices take 2 floating-point operations (FLOPs) for each of its $N_\text{layer}$ weights and each token.
# Scores and averages take $2 h T (d_k + d_v)$ for each token, with $h$ heads side by side; a window caps $T$ at $w$.
# For a sequence the second part grows with $T^2$:
#
# $$
# \text{FLOPs per layer} = 2 N_\text{layer} T + 2 h T^2 (d_k + d_v)
# $$
#
# Mistral 7B has 32 layers of width 4,096 with 32 heads of width 128, keys and values [shared by groups of four heads](multi-head-attention.py#fewer-keys-mqa-and-gqa), a [feed-forward network](transformer-architecture.py#a-memory-for-each-token) of three matrices with 14,336 hidden units, and a window of 4,096 [@jiang2023mistral].

# %%
mistral = {"layers": 32, "d_model": 4096, "heads": 32, "d_k": 128, "kv_heads": 8,
           "hidden": 14336, "vocabulary": 32000, "window": 4096}
m = mistral
wide, narrow = m["heads"] * m["d_k"], m["kv_heads"] * m["d_k"]
N_layer = m["d_model"] * (2 * wide + 2 * narrow + 3 * m["hidden"])
norms = (2 * m["layers"] + 1) * m["d_model"]  # scales of the normalisations
N = m["layers"] * N_layer + 2 * m["vocabulary"] * m["d_model"] + norms
assert N == 7_241_732_096  # as in the released checkpoint
assert m["layers"] * m["window"] == 131_072  # the paper's reach, w per layer
pair_flops = 4 * m["heads"] * m["d_k"]  # for each query and key
crossing = 2 * N_layer / pair_flops
score_bytes = 2 * m["heads"] * 32768**2
print(f"attention costs as much as all weights of its layer at T = {crossing:,.0f}")
for T_long in (4096, 32768, 131072):
    full = pair_flops * T_long / (2 * N_layer)
    print(f"T = {T_long:6,}: full attention {full:.2f} of the weights' FLOPs, "
          f"window {min(full, pair_flops * m['window'] / (2 * N_layer)):.2f}")
print(f"16-bit scores of one layer at T = 32,768: {score_bytes / 1e9:.1f} GB")

# %% [markdown]
# **What the code shows:** up to a few thousand tokens the weights dominate, and the quadratic part is a small item.
# Past `{python} f"{crossing:,.0f}"` tokens it is the bill; a causal *kernel* (a routine of the processor) that skips the hidden half doubles that number.
# Memory would end sooner: kept for training in all 32 layers, the 16-bit scores of 8,192 tokens are `{python} f"{m['layers'] * 2 * m['heads'] * 8192**2 / 1e9:.0f}"` GB, so fast code [never stores them](attention.py#what-it-costs).

# %% [markdown]
# ## 3. Practical considerations
#
# ### Masks, padding and layout
#
# This book lays batches out as $(B, T, D)$.
# A causal mask has shape $(T, T)$, a padding mask $(B, 1, T)$, one row for all queries; `&` broadcasts them to $(B, T, T)$.
# Pad on the right to train, and leave padded positions out of the [loss](../training/loss-functions.py#weights-which-tokens-count); to generate, pad on the left, so that all sequences end together.
# Left padding shifts positions: RoPE scores do not notice, added positions do (Exercise 4).
# With left padding the first rows see nothing, and the zero convention of `masked_softmax` keeps them from becoming NaN.
# [Packing](../training/batching.py#padding-and-packing) several texts into one row needs a block-diagonal mask.
#
# ### Failure mode 1: the other pairing

# %%
Q_new, K_new = rng.normal(size=(2, 40, 64))
far, theta = np.arange(40), frequencies(64)
trained_scores = rope(Q_new, far, theta, True) @ rope(K_new, far, theta, True).T / 8
mixed_scores = rope(Q_new, far, theta) @ rope(K_new, far, theta).T / 8
order = pairs_to_halves(64)
mended = rope(Q_new[:, order], far, theta) @ rope(K_new[:, order], far, theta).T / 8
alike = np.corrcoef(trained_scores.ravel(), mixed_scores.ravel())[0, 1]
right_on_diagonal = np.allclose(np.diag(trained_scores), np.diag(mixed_scores))
print(f"correlation of the scores {alike:.2f}; diagonal right: {right_on_diagonal}")
assert np.allclose(mended, trained_scores)

# %% [markdown]
# **Symptom:** loaded weights fit and run, the first token is right, and what follows is wrong.
# **Cause:** the weights were trained with interleaved pairs and the code splits in halves, or the reverse; only at offset 0 do both agree.
# **Fix:** permute the columns of $W_Q$ and $W_K$, head by head, with `pairs_to_halves`, and compare scores at offsets other than 0 with the original code.
#
# ### Failure mode 2: positions restart in the cache

# %%
def generate_scores(Q: np.ndarray, K: np.ndarray, restart: bool) -> np.ndarray:
    """RoPE scores of the last query (d_k,) with a cache of turned keys (T, d_k)."""
    T, theta = len(K), frequencies(K.shape[-1])
    cache = rope(K, np.arange(T), theta)
    return cache @ rope(Q[-1:], np.array([0 if restart else T - 1]), theta)[0]


whole = (rope(Q_new, far, theta) @ rope(K_new, far, theta).T)[-1]
for restart in (True, False):
    off = np.abs(generate_scores(Q_new, K_new, restart) - whole).max() / whole.std()
    print(f"restart {restart!s:5}: scores off by up to {off:.1f} standard deviations")

# %% [markdown]
# **Symptom:** the training loss is fine and generated text decays after the first token.
# **Cause:** with a cache the model is called on one token, and `arange(1)` calls it position 0.
# **Fix:** pass absolute positions, starting at the length of the cache, and test that step-by-step equals parallel, *with* positions.
#
# ### Failure mode 3: time where the batch should be

# %%
X = rng.normal(size=(3, T, d_model))  # (B, T, D): three unrelated texts
X_other = X.copy()
X_other[1] += 1.0  # another second text
time_first = [x.swapaxes(0, 1) for x in (X, X_other)]  # (T, B, D)
wrong = [self_attention(x, W_q, W_k, W_v)[0][:, 0] for x in time_first]
right = [self_attention(x, W_q, W_k, W_v)[0][0] for x in (X, X_other)]
print(f"text 0 moves by {np.abs(wrong[0] - wrong[1]).max():.2f} (time first)"
      f" and by {np.abs(right[0] - right[1]).max():.0f} (batch first)")

# %% [markdown]
# **Symptom:** no error, since both leading axes may have any length; results depend on what else is in the batch.
# **Cause:** $(T, B, D)$ data in $(B, T, D)$ code: each token attends across the *batch*. (PyTorch's `nn.MultiheadAttention` wants time first unless told `batch_first=True`.)
# **Fix:** change one sequence of a batch and demand that the others do not move at all.
#
# ### Numerics
#
# Compute angles in float32 or better.
# The 16-bit format bfloat16 holds whole numbers exactly only up to 256, so position 257 becomes 256, and the fastest clock is off by a radian.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Pairs.** Interleaved: the RoPE paper, GPT-J, Meta's Llama code. Half-split: Hugging Face's Llama, whose converted weights are permuted.
# > - **Theta.** Here $\theta_i$ is a frequency and $b$ the base; libraries call the base `rope_theta`.
# > - **Sinusoid layout.** The 2017 paper alternates sine and cosine; some code puts all sines first. A learned projection does not mind, copied weights do. The 2017 model also multiplies tokens by $\sqrt{d_\text{model}}$ before adding positions.
# > - **Ramp.** YaRN's paper lets $\gamma_i$ rise linearly with the number of turns; its authors' code and Hugging Face let it rise linearly with $i$, so with the logarithm of the turns (@fig-stretch), and round the ends of the ramp (Hugging Face: unless `truncate` is false).
# > - **Offset.** $i - j$ counts steps back here; T5's code takes key minus query.
# > - **Equivariant or invariant.** Outputs move with their tokens (equivariant); a mean over them does not change (invariant).
# > - **Weights.** $Q = XW_Q$ here; `nn.Linear` stores $W_Q^\top$.
# > - **Self or cross.** In cross-attention queries come from one sequence and keys and values from another, as in [sequence-to-sequence](../architectures/sequence-to-sequence.py#the-model) models. "Intra-attention" is an older name for self-attention [@cheng2016long; @lin2017structured].

# %% tags=["test"]
def test_cache_needs_absolute_positions():
    rng = np.random.default_rng(14)
    for T, d in [(1, 2), (2, 4), (9, 6), (30, 16)]:
        Q, K = rng.normal(size=(2, T, d))
        Q_turned, K_turned = (rope(x, np.arange(T), frequencies(d)) for x in (Q, K))
        want = (Q_turned @ K_turned.T)[-1]
        assert np.allclose(generate_scores(Q, K, restart=False), want, atol=1e-12)
        if T > 1:
            assert not np.allclose(generate_scores(Q, K, restart=True), want, atol=1e-3)


def test_bfloat16_loses_positions():
    import torch

    exact = torch.arange(1000.0)
    rounded = exact.to(torch.bfloat16).float()
    assert torch.equal(rounded[:257], exact[:257]) and rounded[257] == 256


# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): the hand example, causal
#
# Put a causal mask on the hand example.
# Compute the three outputs with pencil and paper.


# %%
def causal_by_hand() -> np.ndarray:
    """Outputs (3, 1) of the hand example under a causal mask."""
    ### BEGIN SOLUTION
    # Row 1 sees itself. Row 2: exponentials 1/2 and 1, weights 1/3 and 2/3.
    return np.array([[7.0], [(7 + 2 * 14) / 3], [0.0]])
    ### END SOLUTION


# %% tags=["test"]
def test_causal_by_hand():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    turn = np.sqrt(2) * np.log(2) * np.array([[0.0, 1.0], [-1.0, 0.0]])
    mask = np.tril(np.ones((3, 3), dtype=bool))
    want, _ = self_attention(X, turn, np.eye(2), np.array([[7.0], [14.0]]), mask)
    got = causal_by_hand()
    assert got.shape == (3, 1) and np.allclose(got, want)


# %% [markdown]
# ### Exercise 2 (check): what the scores cannot see
#
# $G$ is an invertible $d_k \times d_k$ matrix.
# Replace $W_Q$ by $W_Q G$ and $W_K$ by $W_K (G^{-1})^\top$: what happens to the output?
# And for which $G$ does this stay true with RoPE?

# %% [markdown] tags=["solution"]
# Nothing happens: $W_Q G G^{-1} W_K^\top = W_Q W_K^\top$, and the scores see only the product.
# With RoPE the score is $x_i W_Q R W_K^\top x_j^\top$, where $R$ is the rotation by the offset, so you need $G R G^{-1} = R$ for all offsets: $G$ must commute with the rotations.
# With all $\theta_i$ different and below $\pi$, that leaves for each pair its own rotation times a factor, $d_k$ free numbers instead of $d_k^2$.
# Permuting columns *and* pairs together, as in the two conventions, changes $R$ along with $G$.

# %% [markdown]
# ### Exercise 3 (apply): a window with sinks
#
# Return the causal mask in which query $i$ sees the last $w$ keys, its own among them, and the first `sinks` keys [@xiao2024efficient].


# %%
def sink_window_mask(T: int, w: int, sinks: int) -> np.ndarray:
    """Mask (T, T): the last w keys and the first few, never the future."""
    ### BEGIN SOLUTION
    i, j = np.arange(T)[:, None], np.arange(T)[None, :]
    return (j <= i) & ((i - j < w) | (j < sinks))
    ### END SOLUTION


# %% tags=["test"]
def test_sink_window_mask():
    rng = np.random.default_rng(11)
    for _ in range(20):
        T, w, sinks = (int(x) for x in rng.integers(1, 12, size=3))
        mask = sink_window_mask(T, w, sinks)
        assert mask.shape == (T, T) and mask.dtype == bool
        for i in range(T):
            want = set(range(max(0, i - w + 1), i + 1)) | set(range(min(sinks, i + 1)))
            assert set(np.flatnonzero(mask[i])) == want
        assert np.array_equal(sink_window_mask(T, w, 0), window_mask(T, w))


# %% [markdown]
# ### Exercise 4 (apply): positions under left padding
#
# `keep` marks real tokens.
# Return positions that start at 0 with the first real token (and are 0 at padding), so that a padded text gets the output it has alone.


# %%
def padded_positions(keep: np.ndarray) -> np.ndarray:
    """Positions (B, T) from keep (B, T), True where there is a real token."""
    ### BEGIN SOLUTION
    return np.maximum(np.cumsum(keep, axis=-1) - 1, 0)
    ### END SOLUTION


# %% tags=["test"]
def test_padded_positions():
    keep = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]], dtype=bool)
    positions = padded_positions(keep)
    assert positions.tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [0, 0, 0, 0, 0]]
    rng = np.random.default_rng(12)
    X, *weights = random_layer(rng, 3, sizes=(5, 6, 4, 3))
    told = X + np.array([sinusoids(p, 6) for p in positions])
    mask = np.tril(np.ones((5, 5), dtype=bool)) & keep[:, None, :]
    O, _ = self_attention(told, *weights, mask)
    for b, pad in enumerate((2, 0, 4)):
        text = X[b, pad:] + sinusoids(np.arange(5 - pad), 6)
        causal = np.tril(np.ones((5 - pad, 5 - pad), dtype=bool))
        alone, _ = self_attention(text, *weights, causal)
        assert np.allclose(O[b, pad:], alone, atol=1e-12)


# %% [markdown]
# ### Exercise 5 (apply): train a relative bias
#
# A learned number for each offset $i - j$, from $-(T - 1)$ to $T - 1$, is added to the score: T5's bias without buckets.
# Given $dS$, return the gradient of these $2T - 1$ numbers.


# %%
def offset_gradient(dS: np.ndarray) -> np.ndarray:
    """Gradient (2T - 1,) of the bias for offsets i - j, ascending, from dS (T, T)."""
    ### BEGIN SOLUTION
    T = len(dS)
    # Offset i - j lies on the diagonal j - i; it was used once for each entry there.
    return np.array([np.trace(dS, offset=-k) for k in range(-(T - 1), T)])
    ### END SOLUTION


# %% tags=["test"]
def test_offset_gradient():
    import torch

    rng = np.random.default_rng(13)
    for T in range(1, 21):
        S, G = rng.normal(size=(2, T, T))
        b = torch.from_numpy(rng.normal(size=2 * T - 1)).requires_grad_()
        offsets = np.arange(T)[:, None] - np.arange(T)[None, :] + T - 1
        A = torch.softmax(torch.from_numpy(S) + b[torch.from_numpy(offsets)], dim=-1)
        (A * torch.from_numpy(G)).sum().backward()
        A = A.detach().numpy()
        dS = A * (G - (G * A).sum(axis=-1, keepdims=True))
        assert np.allclose(offset_gradient(dS), b.grad.numpy(), atol=1e-12)


# %% [markdown]
# ### Exercise 6 (explore): build the copy head by hand
#
# Let every token have the same key $k = (1, \dots, 1)$.
# Find one query vector, the same for every token, with which RoPE scores are largest exactly `back` steps back, and multiply it by $c$.
# How does the weight on that key depend on $c$, on the base and on the length?


# %%
def copy_query(d_k: int, back: int, c: float, theta: np.ndarray) -> np.ndarray:
    """Query (d_k,) that looks `back` steps back when all keys are ones."""
    ### BEGIN SOLUTION
    return c * rope(np.ones((1, d_k)), np.array([-back]), theta)[0]
    ### END SOLUTION


# %% tags=["test"]
def test_copy_query():
    for d_k, back, T in [(8, 1, 12), (16, 3, 64), (32, 5, 200), (64, 0, 50)]:
        theta, at = frequencies(d_k), np.arange(T)
        Q = np.tile(copy_query(d_k, back, 30.0, theta), (T, 1))
        K = np.ones((T, d_k))
        S = rope(Q, at, theta) @ rope(K, at, theta).T / np.sqrt(d_k)
        A = masked_softmax(S, np.tril(np.ones((T, T), dtype=bool)))
        assert (A.argmax(axis=-1)[back:] == at[: T - back]).all()
        assert A[at[back:], at[: T - back]].min() > 0.9


# %% [markdown] tags=["solution"]
# Turn the key back: $q = c \, k R(-\text{back} \cdot \theta)$.
# The score at offset $\Delta$ is $\frac{2c}{\sqrt{d_k}} \sum_i \cos((\Delta - \text{back})\theta_i)$, which is $c\sqrt{d_k}$ at the right offset and smaller at every other one.
# The gap to the neighbours comes from the fast clocks, $1 - \cos\theta_i$ each, so a larger base, which slows most clocks, needs a larger $c$.
# The fastest clock comes round again after $2\pi$, about 6 tokens, and then only slower ones tell the difference; with two clocks, $d_k = 4$, that takes a very large $c$.
# The right offset has the largest score at every length; only its weight shrinks as more keys share the softmax.
# What the heads of the experiment lacked was not the ability but a reason to learn this.

# %% [markdown]
# ### Exercise 7 (explore): a bag with a last word
#
# Stack causal layers without positions, with random weights, and swap the first two of five random tokens (any width will do).
# Return by how much the *last* output moves.
# Explain the result for one layer and for two.


# %%
def swap_gap(layers: int, rng: np.random.Generator) -> float:
    """Largest change of the last output when the first two tokens trade places."""
    ### BEGIN SOLUTION
    X, mask = rng.normal(size=(5, 6)), np.tril(np.ones((5, 5), dtype=bool))
    swapped = X[[1, 0, 2, 3, 4]]
    for _ in range(layers):
        W = rng.normal(size=(3, 6, 6)) / np.sqrt(6)
        X, swapped = (self_attention(Z, *W, mask)[0] for Z in (X, swapped))
    return float(np.abs(X[-1] - swapped[-1]).max())
    ### END SOLUTION


# %% tags=["test"]
def test_swap_gap():
    for seed in range(20):
        assert swap_gap(1, np.random.default_rng(seed)) < 1e-12
        assert swap_gap(2, np.random.default_rng(seed)) > 1e-6


# %% [markdown] tags=["solution"]
# In one layer the last query sees the same set of keys and values in either order: a bag with a known last word.
# But the first two *outputs* do change: whoever stands first sees only itself.
# A second layer reads these outputs, so it sees order.
# That is why deep decoders can do without positions, and why the one-layer model of the experiment could not.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Self-attention | $Q, K, V = XW_Q, XW_K, XW_V$ | `self_attention(X, W_q, W_k, W_v)` | every [transformer](transformer-architecture.py) layer |
# | Causal mask | $j \le i$ | `np.tril(np.ones((T, T), bool))` | parallel training, caches |
# | Equivariance | $f(PX) = P f(X)$ | `f(X[order]) == f(X)[order]` | why positions are needed |
# | Sinusoids | $\sin(t\theta_i), \cos(t\theta_i)$ | `X + sinusoids(np.arange(T), d)` | the 2017 model |
# | RoPE | $q R((m - n)\theta) k^\top$ | `rope(Q, positions, theta)` | most open models of 2026 |
# | ALiBi | $-\mu(i - j)$ | `S + alibi(T, slope)` | BLOOM |
# | Length extension | $\theta_i / s$, base $b s^{d_k/(d_k-2)}$ | `stretched(theta, s, L, rule)` | long-context training |
# | Window | $i - j \lt w$ | `window_mask(T, w)` | local layers |
# | Backward | $dX = dQ W_Q^\top + dK W_K^\top + dV W_V^\top$ | `layer_backward(dO, W, saved)` | training |
# | Cost | $2 N_\text{layer} T + 2 h T^2 (d_k + d_v)$ | `pair_flops * T**2` | context budgets |
#
# **The essential insight:** project one sequence three ways and let it ask itself. Because each row is projected alone, all positions can be computed at once, and a mask is all that separates training on everything from peeking. The same fact makes the layer blind to order, so order must come in from outside: added to the tokens, turned into queries and keys, or written on the scores. The best of these put *differences* of positions into the score; none of them is to be trusted at distances it was never trained on.
