# ---
# title: Attention
# summary: A weighted average whose weights the data itself chooses.
# prerequisites:
#   - math-foundations/linear-algebra: dot products, matrix products, transposes, rank, principal components
#   - math-foundations/calculus: gradients, the chain rule, Jacobians
#   - math-foundations/probability: distributions, expectation, variance and the softmax
#   - architectures/sequence-to-sequence: the encoder, the decoder and the vector between them
#   - architectures/lstms: the recurrent state that attention replaces
#   - neural-networks/backpropagation: the gradients of a matrix product
#   - neural-networks/regularization: why the scale of a layer's signals matters
# notebooks: [07-attention-from-scratch]
# packages: [numpy, matplotlib, torch]
# ---

# %% [markdown]
# # Attention
#
# $$
# \boxed{\text{Attention}(Q, K, V) = \text{softmax}\left(\frac{QK^\top}{\sqrt{d_k}}\right) V}
# $$
#
# The rows of $Q \in \mathbb{R}^{n \times d_k}$ are $n$ *queries*: what you want to know.
# The rows of $K \in \mathbb{R}^{m \times d_k}$ are $m$ *keys*: the labels of what is stored.
# The rows of $V \in \mathbb{R}^{m \times d_v}$ are the $m$ *values*: what is stored.
# $QK^\top$ holds one dot product for every query and key, $d_k$ is the length of a query or key, $d_v$ the length of a value, and the [softmax](../math-foundations/probability.py#from-scores-to-probabilities) turns each row into weights that sum to one.
#
# Attention lets a network fetch what it needs from any number of stored vectors, by content and in one differentiable step, and nearly every large language model of 2026 is built around it [@bahdanau2015neural; @vaswani2017attention].

# %% [markdown]
# ## 1. Core concept: a lookup you can differentiate
#
# ### The bottleneck
#
# The first [sequence-to-sequence](../architectures/sequence-to-sequence.py#encoder-and-decoder) models squeeze their whole input into one vector of fixed size, and the decoder sees nothing else.
# Leave training aside, and look at that vector's size.
# Store $m$ random bytes, each a vector of eight entries $\pm 1$, in a state of 64 numbers.
# The encoder multiplies by a matrix with 64 orthonormal columns, the decoder by its transpose; the signs of the result are the decoded entries.
# All directions of this data carry the same variance, so by the argument behind [principal components](../math-foundations/linear-algebra.py#principal-components) random columns lose no more, in squared error, than any others.

# %%
import matplotlib.pyplot as plt
import numpy as np


def bytes_recovered(m: int, d_state: int, rng: np.random.Generator) -> float:
    """Fraction of `m` bytes that survive a linear code of `d_state` numbers."""
    X = rng.choice([-1.0, 1.0], size=(500, 8 * m))  # 500 sequences of m bytes
    E, _ = np.linalg.qr(rng.normal(size=(8 * m, 8 * m)))
    E = E[:, :d_state]  # (8m, d_state), orthonormal columns
    decoded = np.sign(X @ E @ E.T)  # encode, then decode
    return float((decoded == X).reshape(500, m, 8).all(axis=-1).mean())


rng = np.random.default_rng(0)
survived = {m: bytes_recovered(m, 64, rng) for m in (4, 8, 16, 32)}
for m, fraction in survived.items():
    print(f"{m:2d} bytes through 64 numbers: {fraction:.0%} come back intact")

# %% [markdown]
# **What the code shows:** up to eight bytes there are as many numbers as bits, and nothing is lost.
# At 32 bytes `{python} f"{survived[32]:.0%}"` survive: nothing was trained badly, there is too little room.
# Storing eight bytes whole and dropping 24 would do better, but the encoder would have to know which eight will be asked for.
# Only the reader knows that.
# Trained recurrent encoders, too, fail on long sentences [@cho2014properties].
#
# ### The cure: keep everything, choose when you read
#
# Attention stores all $m$ vectors and lets the reader decide, at each step, how much of each it wants.
# A Python dictionary does this in a hard way: the query must equal one key, and you get that key's value.
# Attention compares the query with *every* key, gives better matches larger weights, and returns the weighted average of *all* values.
# Hard equality has no useful [gradient](../math-foundations/calculus.py#many-inputs-the-gradient); a weighted average has one, so the network can learn what to ask and how to label.
#
# ### Mathematical foundation
#
# For one query $q$, with keys $k_1, \dots, k_m$ and values $v_1, \dots, v_m$:
#
# $$
# s_j = \frac{q \cdot k_j}{\sqrt{d_k}},
# \quad
# a_j = \frac{e^{s_j}}{\sum_{l=1}^{m} e^{s_l}},
# \quad
# o = \sum_{j=1}^{m} a_j v_j
# $$
#
# **What this means:** a *score* $s_j$ says how well the query matches key $j$.
# The softmax makes the scores into positive *weights* $a_j$ that sum to one.
# The output $o$ is an average, so each of its entries lies between the smallest and the largest value of that entry.
# Stack $n$ queries as rows and you have the boxed equation.
# In [sequence to sequence](../architectures/sequence-to-sequence.py#the-model) the decoder's state was the query, each encoder state key and value at once, and $s$, $a$, $o$ were called $e$, $\alpha$, $c$.
#
# | name | symbol | shape | row $i$ holds |
# |---|---|---|---|
# | queries | $Q$ | $(n, d_k)$ | what position $i$ asks |
# | keys | $K$ | $(m, d_k)$ | the label of item $i$ |
# | values | $V$ | $(m, d_v)$ | the content of item $i$ |
# | scores | $S = QK^\top / \sqrt{d_k}$ | $(n, m)$ | query $i$ against all keys |
# | weights | $A = \text{softmax}(S)$ | $(n, m)$ | a distribution over the keys |
# | output | $O = AV$ | $(n, d_v)$ | the answer to query $i$ |
#
# Lengths may differ: $n$ from $m$, and $d_v$ from $d_k$.
# Two things must agree: queries and keys have the same width, and every key has one value.
#
# ### By hand
#
# Take two queries, three keys with $d_k = 2$, and three values with $d_v = 1$:
#
# $$
# Q = \sqrt{2} \begin{bmatrix} \log 2 & 0 \\ \log 3 & \log 3 \end{bmatrix},
# \quad
# K = \begin{bmatrix} 0 & 1 \\ 1 & 0 \\ 2 & 0 \end{bmatrix},
# \quad
# V = \begin{bmatrix} 0 \\ 7 \\ 14 \end{bmatrix}
# $$
#
# Dividing by $\sqrt{d_k} = \sqrt{2}$ removes the factor in front of $Q$.
# The first query scores $(0, \log 2, 2 \log 2)$, and exponentials turn that into $(1, 2, 4)$, so its weights are $(1/7, 2/7, 4/7)$.
# The second scores $(\log 3, \log 3, 2 \log 3)$, whose exponentials are $(3, 3, 9)$ and whose weights are $(1/5, 1/5, 3/5)$.
# The two outputs are
#
# $$
# \begin{aligned}
# o_1 &= \frac{1 \cdot 0 + 2 \cdot 7 + 4 \cdot 14}{7} = 10, \\
# o_2 &= \frac{1 \cdot 0 + 1 \cdot 7 + 3 \cdot 14}{5} = 9.8
# \end{aligned}
# $$
#
# ### In code


# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def attention(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Q (n, d_k), K (m, d_k), V (m, d_v): the output (n, d_v), the weights (n, m)."""
    S = Q @ K.T / np.sqrt(K.shape[-1])
    A = softmax(S)
    return A @ V, A


Q_hand = np.sqrt(2) * np.array([[np.log(2), 0], [np.log(3), np.log(3)]])
K_hand = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
V_hand = np.array([[0.0], [7.0], [14.0]])
O_hand, A_hand = attention(Q_hand, K_hand, V_hand)

assert A_hand.shape == (2, 3) and O_hand.shape == (2, 1)
assert np.allclose(A_hand, [[1 / 7, 2 / 7, 4 / 7], [1 / 5, 1 / 5, 3 / 5]])
assert np.allclose(O_hand, [[10], [9.8]])
print(f"weights\n{A_hand.round(4)}\noutput\n{O_hand.round(4)}")

# %% [markdown]
# **What the code shows:** the three lines of `attention` are the three formulas above, for all queries at once.
# Each query got its own distribution from the same keys, and no loop over queries was needed: that is why attention suits parallel hardware.
#
# Now fetch the bytes that the fixed vector lost: label each with a random key, nearly orthogonal to the others, and ask with the same key, made longer.

# %%
m, d_k, d_v, n = 32, 64, 8, 20
K = rng.choice([-1.0, 1.0], size=(m, d_k))
V = rng.choice([-1.0, 1.0], size=(m, d_v))  # 32 bytes
wanted = rng.integers(m, size=n)
fetched, A = attention(1.5 * K[wanted], K, V)
assert fetched.shape == (n, d_v)
intact = (np.sign(fetched) == V[wanted]).all(axis=-1).mean()
hit = A[np.arange(n), wanted].mean()
print(f"{intact:.0%} intact; mean weight on the right key {hit:.4f}")

# %% [markdown]
# **What the code shows:** nothing was trained and nothing was lost, because the memory grows with the input while the *reading* stays one small vector.
# That is the bargain of attention: no bottleneck, paid for with storage and comparisons that grow with $m$.
#
# The length of the query sets how sharp the lookup is.
# Multiply the first query of the hand example by a factor $\beta$ and watch its three weights.

# %%
#| label: fig-sharpness
#| fig-cap: The three weights of the first query of the hand example when the query is multiplied by a factor. Grey line, the example itself; left end, the plain mean; right end, a dictionary lookup.
#| fig-alt: Three curves start together at one third. As the factor grows, the best key's weight climbs to one and the others fall to zero.
beta = np.geomspace(0.02, 20, 200)
_, sweep = attention(beta[:, None] * Q_hand[:1], K_hand, V_hand)
fig, ax = plt.subplots()
for j, style in enumerate(["-", "--", ":"]):
    ax.semilogx(beta, sweep[:, j], style, label=f"key {j + 1}")
ax.axvline(1, color="0.5", linewidth=0.8)
ax.set(xlabel="factor on the query", ylabel="weight")
ax.legend()
ax.margins(x=0)

# %% [markdown]
# In @fig-sharpness one formula covers everything from "average all" to "pick one", smoothly, and training moves along that axis by changing the lengths of queries and keys.
# If you stop reading here, you have the correct picture: *compare, normalise, average*.
# Where queries, keys and values come from is the subject of [self-attention](self-attention.py): all three are linear functions of the same sequence.

# %% tags=["test"]
def test_fixed_vector_loses_bytes():
    rng = np.random.default_rng(17)
    assert bytes_recovered(4, 64, rng) == bytes_recovered(8, 64, rng) == 1.0
    assert bytes_recovered(8, 60, rng) < 1.0
    assert bytes_recovered(32, 64, rng) < 0.15


def test_hand_example():
    Q = np.sqrt(2) * np.array([[np.log(2), 0], [np.log(3), np.log(3)]])
    K = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    O, A = attention(Q, K, np.array([[0.0], [7.0], [14.0]]))
    assert np.allclose(A, [[1 / 7, 2 / 7, 4 / 7], [1 / 5, 1 / 5, 3 / 5]], atol=1e-12)
    assert np.allclose(O, [[10.0], [9.8]], atol=1e-12)


def test_attention_is_torch_sdpa():
    import torch

    rng = np.random.default_rng(1)
    for _ in range(25):
        n, m, d_k, d_v = rng.permutation(np.arange(1, 12))[:4]  # all different
        Q, K, V = (rng.normal(size=s) for s in ((n, d_k), (m, d_k), (m, d_v)))
        O, A = attention(Q, K, V)
        want = torch.nn.functional.scaled_dot_product_attention(
            *map(torch.from_numpy, (Q, K, V))
        )
        assert O.shape == (n, d_v) and np.allclose(A.sum(axis=-1), 1)
        assert np.allclose(O, want.numpy(), atol=1e-12)


def test_softmax_is_stable_and_shift_invariant():
    import torch

    rng = np.random.default_rng(2)
    for scale in (1.0, 30.0, 1e4):
        s = scale * rng.normal(size=(5, 7))
        want = torch.from_numpy(s).softmax(dim=-1).numpy()
        assert np.allclose(softmax(s), want, atol=1e-12)
        assert np.allclose(softmax(s), softmax(s + 1e3), atol=1e-9)
    assert np.allclose(softmax(np.full((2, 4), 9e9)), 0.25)  # ties, huge


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Masks
#
# Sometimes a query must not see a key: the key is *padding* added to make a [batch](../training/batching.py#padding-and-packing) rectangular, or it lies in the future of a [language model](gpt.py#all-positions-at-once).
# A mask $M$ of shape $(n, m)$ is 1 (`True` in code) where looking is allowed and 0 elsewhere.
# A *causal* mask hides the future: query $i$ sees keys $0$ to $i$.
# Forbidden scores become $-\infty$ before the softmax, and $e^{-\infty} = 0$:
#
# $$
# A_{ij} = \frac{M_{ij} e^{S_{ij}}}{\sum_{l} M_{il} e^{S_{il}}}
# $$
#
# **What this means:** the softmax runs over the allowed keys only, and their weights still sum to one.
# If a row allows *no* key, the fraction is $0/0$ and a convention must decide.
# This book returns zeros; so does PyTorch's `scaled_dot_product_attention`, which returned NaN until 2024.


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
def attention_forward(
    Q: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    mask: np.ndarray | None = None,
    scale: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `attention`, with a mask (n, m), True = may look; scale is 1/sqrt(d_k)."""
    scale = 1 / np.sqrt(K.shape[-1]) if scale is None else scale
    A = masked_softmax(Q @ K.T * scale, mask)
    return A @ V, A


causal = np.tril(np.ones((3, 3), dtype=bool))  # query i sees keys 0..i
_, A_causal = attention_forward(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)),
                                rng.normal(size=(3, 2)), causal)
print(A_causal.round(2))

# %% [markdown]
# **What the code shows:** the first query may see one key, so its weight is exactly one whatever the score is: with a causal mask the first position copies its own value and learns nothing from the comparison.
#
# ### How to score a pair
#
# The first attention for translation scored a pair with a small network, and called the result an alignment [@bahdanau2015neural].
# With $q$ and $k$ already multiplied by learned matrices, and a learned vector $w \in \mathbb{R}^{d_k}$:
#
# $$
# s(q, k) = w \cdot \tanh(q + k)
# $$
#
# **What this means:** each of $d_k$ units adds one entry of the query to one of the key and bounds the sum with an [activation](../neural-networks/activation-functions.py#sigmoid-and-tanh-the-same-function-two-scales); $w$ says how much each unit's opinion counts.
# Later papers made the comparison a product.
#
# | score | formula | from | cost for all pairs |
# |---|---|---|---|
# | additive | $w \cdot \tanh(q + k)$ | September 2014 [@bahdanau2015neural] | $n m d_k$ tanh evaluations, a tensor $(n, m, d_k)$ |
# | dot | $q \cdot k$ | August 2015 [@luong2015effective] | one matrix product |
# | general | $q W \cdot k$ | August 2015 [@luong2015effective] | one more product; fold $W$ into $q$ |
# | scaled dot | $q \cdot k / \sqrt{d_k}$ | June 2017 [@vaswani2017attention] | one matrix product |
#
# Dot products won because they are matrix products: the operation count is similar, but hardware and libraries do those faster and in less memory [@vaswani2017attention].


# %%
def additive_scores(
    Q: np.ndarray, K: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Additive scores (n, m) of queries (n, d_k), keys (m, d_k); also the tanh."""
    T = np.tanh(Q[:, None, :] + K[None, :, :])  # (n, m, d_k)
    return T @ w, T


def additive_backward(
    dS: np.ndarray, T: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From dS (n, m): dQ (n, d_k), dK (m, d_k), dw (d_k,)."""
    dT = dS[:, :, None] * (1 - T**2) * w  # tanh' = 1 - tanh^2
    return dT.sum(axis=1), dT.sum(axis=0), np.tensordot(dS, T, axes=2)


# %% tags=["test"]
def test_additive_scores_against_autograd():
    import torch

    rng = np.random.default_rng(3)
    for _ in range(20):
        n, m, d_k = rng.permutation(np.arange(1, 10))[:3]
        Q, K, w = (rng.normal(size=s) for s in ((n, d_k), (m, d_k), d_k))
        dS = rng.normal(size=(n, m))
        S, T = additive_scores(Q, K, w)
        tQ, tK, tw = (torch.from_numpy(x).requires_grad_() for x in (Q, K, w))
        tS = torch.stack(
            [torch.stack([(tw * torch.tanh(q + k)).sum() for k in tK]) for q in tQ]
        )
        tS.backward(torch.from_numpy(dS))
        assert S.shape == (n, m) and np.allclose(S, tS.detach().numpy(), atol=1e-12)
        for got, leaf in zip(additive_backward(dS, T, w), (tQ, tK, tw)):
            assert got.shape == tuple(leaf.shape)
            assert np.allclose(got, leaf.grad.numpy(), atol=1e-12)


# %% [markdown]
# ### Why divide by the square root
#
# Assume that the $2 d_k$ components of $q$ and $k$ are independent, with mean 0 and variance 1.
# Each product $q_i k_i$ then has mean $\mathbb{E}[q_i]\mathbb{E}[k_i] = 0$ and variance $\mathbb{E}[q_i^2]\mathbb{E}[k_i^2] = 1$.
# The products are independent of each other, so their variances add:
#
# $$
# \begin{aligned}
# \mathbb{E}[q \cdot k] &= \sum_{i=1}^{d_k} \mathbb{E}[q_i k_i] = 0, \\
# \text{Var}[q \cdot k] &= \sum_{i=1}^{d_k} \text{Var}[q_i k_i] = d_k
# \end{aligned}
# $$
#
# **What this means:** raw scores have standard deviation $\sqrt{d_k}$.
# Dividing by $\sqrt{d_k}$ brings it back to 1 at every width.
#
# Why do large scores hurt? Because of the softmax's [Jacobian](../math-foundations/probability.py#the-jacobian-of-the-softmax).
# For weights $a = \text{softmax}(s)$, with $\delta_{jl} = 1$ if $j = l$ and 0 otherwise:
#
# $$
# J_{jl} = \frac{\partial a_j}{\partial s_l} = a_j (\delta_{jl} - a_l),
# \quad
# \lvert J_{jl} \rvert \le 1 - \max_i a_i
# $$
#
# On the diagonal, $a_j(1 - a_j)$ is at most $1 - a_j$ if $j$ is the top key, and at most $a_j \le 1 - \max_i a_i$ if it is not.
# Off the diagonal, at least one of the factors $a_j, a_l$ is not the top weight, and so is at most $1 - \max_i a_i$.
#
# **What this means:** as one weight nears one, *every* derivative nears zero.
# The scores stop learning, right or wrong; the softmax is *saturated*, as a [sigmoid](../neural-networks/activation-functions.py#sigmoid-and-tanh-the-same-function-two-scales) can be.


# %%
def jacobian_norm(A: np.ndarray) -> np.ndarray:
    """Root of the sum of squares of diag(a) - a^T a, for each row a of A (n, m)."""
    squares = (A**2).sum(axis=-1)
    return np.sqrt(np.maximum(squares - 2 * (A**3).sum(axis=-1) + squares**2, 0.0))


widths = np.array([4, 16, 64, 256, 1024])
raw_std, raw_norm, scaled_norm, raw_top, scaled_top = [], [], [], [], []
for d_k in widths:
    S = rng.normal(size=(50, 40, d_k)) @ rng.normal(size=(50, d_k, 16))
    S = S.reshape(2000, 16)  # 50 sets of 16 keys, 40 queries for each
    raw_std.append(S.std())
    for scale, norms, tops in ((1, raw_norm, raw_top),
                               (1 / np.sqrt(d_k), scaled_norm, scaled_top)):
        A = softmax(S * scale)
        norms.append(np.quantile(jacobian_norm(A), [0.1, 0.5, 0.9]))
        tops.append(A.max(axis=-1).mean())
    print(f"d_k {d_k:4d}: std of q.k {raw_std[-1]:5.1f} (theory {np.sqrt(d_k):4.1f}), "
          f"top weight raw {raw_top[-1]:.2f}, scaled {scaled_top[-1]:.2f}")
assert np.allclose(raw_std, np.sqrt(widths), rtol=0.05)

# %%
#| label: fig-saturation
#| fig-cap: Norm of the softmax's Jacobian over 16 random keys, against the width of queries and keys. Lines are medians, bands run from the 10th to the 90th percentile of 2,000 queries and are cut at the lower edge.
#| fig-alt: With the scale the norm stays level from width 4 to 1024. Without it the median falls by orders of magnitude.
fig, ax = plt.subplots()
for norms, style, label in (
    (scaled_norm, "o-", "scaled"), (raw_norm, "s--", "not scaled")
):
    low, median, high = np.maximum(np.array(norms).T, 1e-12)
    ax.loglog(widths, median, style, label=label)
    ax.fill_between(widths, low, high, alpha=0.2)
ax.set(xlabel="width of queries and keys", ylabel="norm of the Jacobian")
ax.set_ylim(1e-6, 1)
ax.set_xticks(widths, widths)
ax.legend(loc="lower left")
ax.minorticks_off()

# %% [markdown]
# **What the code shows:** at width `{python} widths[-1]` an unscaled, *untrained* model already puts `{python} f"{raw_top[-1]:.2f}"` of its weight on one of 16 keys, chosen by chance.
# In @fig-saturation its median Jacobian is `{python} f"{float(f'{scaled_norm[-1][1] / raw_norm[-1][1]:.1g}'):,.0f}"` times smaller than the scaled one: the query can hardly change its mind.
# With the scale, width makes no difference.
#
# The assumption describes initialisation only.
# Training aligns queries with keys, and aligned products add up like $d_k$, not $\sqrt{d_k}$; that is why one theory of width-independent training divides by $d_k$ [@yang2022tensor], and why later models control the scores directly (see the last table of this section).
#
# ### The backward pass
#
# Let $L$ be a loss and write $dX$ for $\partial L / \partial X$, which has the shape of $X$, whatever matrix $X$ is.
# Given $dO$, walk [backwards](../neural-networks/backpropagation.py#mathematical-foundation) through $O = AV$, $A = \text{softmax}(S)$ and $S = QK^\top / \sqrt{d_k}$.
#
# From $O_{ic} = \sum_j A_{ij} V_{jc}$ you read off $dA_{ij} = \sum_c dO_{ic} V_{jc}$ and $dV_{jc} = \sum_i A_{ij} dO_{ic}$.
# The Jacobian above gives $dS_{ij} = \sum_l dA_{il} A_{il} (\delta_{lj} - A_{ij})$.
# Since $S_{ij} = \sum_c Q_{ic} K_{jc} / \sqrt{d_k}$, the last step gives $dQ_{ic} = \sum_j dS_{ij} K_{jc} / \sqrt{d_k}$, and $dK$ likewise.
# In matrices, with $\odot$ the elementwise product and the row sum a column $(n, 1)$:
#
# $$
# \begin{aligned}
# dV &= A^\top dO, \quad dA = dO V^\top \\
# dS &= A \odot \left( dA - \text{rowsum}(dA \odot A) \right) \\
# dQ &= \frac{dS K}{\sqrt{d_k}}, \quad dK = \frac{dS^\top Q}{\sqrt{d_k}}
# \end{aligned}
# $$
#
# **What this means:** a value learns in proportion to the weight it got.
# A score's gradient compares what its value does to the loss, $dA_{ij}$, with the *weighted average* of what all values do, which is the row sum.
# The result is multiplied by the weight: a key that nobody looks at gets no gradient.
# A mask needs no extra term, since $A_{ij} = 0$ makes $dS_{ij} = 0$.


# %%
def softmax_backward(dA: np.ndarray, A: np.ndarray) -> np.ndarray:
    """dS (n, m) from dA and the softmax's own output A, both (n, m)."""
    return A * (dA - (dA * A).sum(axis=-1, keepdims=True))


def attention_backward(
    dO: np.ndarray,
    Q: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    A: np.ndarray,
    scale: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From dO (n, d_v) and the weights A (n, m): dQ, dK, dV, shaped as Q, K, V."""
    scale = 1 / np.sqrt(K.shape[-1]) if scale is None else scale
    dV = A.T @ dO
    dS = softmax_backward(dO @ V.T, A)
    return dS @ K * scale, dS.T @ Q * scale, dV


dO_hand = np.array([[1.0], [0.0]])  # the loss is the first output
dQ_hand, dK_hand, dV_hand = attention_backward(dO_hand, Q_hand, K_hand, V_hand, A_hand)
dS_hand = softmax_backward(dO_hand @ V_hand.T, A_hand)
row_sum = ((dO_hand @ V_hand.T) * A_hand).sum(axis=-1)
assert np.allclose(row_sum, (dO_hand * O_hand).sum(axis=-1))
assert np.allclose(dS_hand[0], [-10 / 7, -6 / 7, 16 / 7])
print("dS", dS_hand[0].round(4), " dV", dV_hand[:, 0].round(4))

# %% [markdown]
# **What the code shows:** by hand, $dS$ is $(1/7)(0 - 10)$, $(2/7)(7 - 10)$ and $(4/7)(14 - 10)$: key 2 has a *negative* gradient although its value is positive, because 7 is below the current average of 10, and more weight on it would lower the output.
# The three sum to zero, since adding a constant to all scores changes nothing.
# The first `assert` holds in general: $\text{rowsum}(dA \odot A) = \text{rowsum}(dO \odot O)$, so the row sum can be had without a whole row of $A$, which [faster versions](multi-head-attention.py#flashattention-never-store-the-weights) never store [@dao2022flashattention].
#
# The tests compare all of this with PyTorch's autograd and with `scaled_dot_product_attention`, in float64, masked and not, with fully masked rows, single and empty inputs, ties and huge scores.

# %% tags=["test"]
def check_against_torch(Q, K, V, dO, mask):
    """Outputs and gradients against plain autograd and against the fused function."""
    import torch

    O, A = attention_forward(Q, K, V, mask)
    grads = attention_backward(dO, Q, K, V, A)
    tmask = None if mask is None else torch.from_numpy(mask)
    for fused in (False, True):
        leaves = [torch.from_numpy(x.copy()).requires_grad_() for x in (Q, K, V)]
        tQ, tK, tV = leaves
        if fused:
            out = torch.nn.functional.scaled_dot_product_attention(
                tQ, tK, tV, attn_mask=tmask
            )
        else:
            s = torch.einsum("id,jd->ij", tQ, tK) / tK.shape[-1] ** 0.5
            if tmask is not None:
                s = s.masked_fill(~tmask, float("-inf"))
            out = torch.einsum("ij,jc->ic", torch.softmax(s, dim=-1), tV)
            if mask is not None and not mask.any(axis=-1).all():
                continue  # plain softmax has no convention for fully masked rows
        out.backward(torch.from_numpy(dO))
        assert np.allclose(O, out.detach().numpy(), atol=1e-11)
        for got, leaf in zip(grads, leaves):
            assert got.shape == tuple(leaf.shape)
            assert np.allclose(got, leaf.grad.numpy(), atol=1e-11)


def random_problem(rng, n, m, d_k, d_v, size=1.0):
    shapes = ((n, d_k), (m, d_k), (m, d_v), (n, d_v))
    return [size * rng.normal(size=s) for s in shapes]


# %% tags=["test"]
def test_forward_and_backward_random_shapes():
    rng = np.random.default_rng(4)
    for trial in range(30):
        n, m, d_k, d_v = rng.permutation(np.arange(2, 13))[:4]  # all different
        mask = None if trial % 3 == 0 else rng.random((n, m)) < 0.6
        if trial % 3 == 1:
            mask[:, 0] = True  # no fully masked row
        elif mask is not None:
            mask[0] = False  # a fully masked row
        check_against_torch(*random_problem(rng, n, m, d_k, d_v), mask)


def test_forward_and_backward_edges():
    rng = np.random.default_rng(5)
    check_against_torch(*random_problem(rng, 1, 1, 3, 2), None)
    check_against_torch(*random_problem(rng, 1, 5, 1, 2), None)
    check_against_torch(*random_problem(rng, 4, 1, 3, 2), np.ones((4, 1), dtype=bool))
    check_against_torch(*random_problem(rng, 3, 6, 4, 2, size=40.0), None)
    Q, K, V, dO = random_problem(rng, 3, 5, 4, 2)
    check_against_torch(Q, np.repeat(K[:1], 5, axis=0), V, dO, None)  # ties
    check_against_torch(Q, K, V, dO, np.zeros((3, 5), dtype=bool))  # nothing allowed
    causal = np.tril(np.ones((5, 5), dtype=bool))
    check_against_torch(*random_problem(rng, 5, 5, 4, 2), causal)


# %% tags=["test"]
def test_empty_inputs():
    for n, m in ((0, 3), (2, 0)):
        Q, K, V = np.ones((n, 4)), np.ones((m, 4)), np.ones((m, 5))
        O, A = attention_forward(Q, K, V)
        assert O.shape == (n, 5) and A.shape == (n, m) and not O.any()
        dQ, dK, dV = attention_backward(np.ones((n, 5)), Q, K, V, A)
        assert (dQ.shape, dK.shape, dV.shape) == ((n, 4), (m, 4), (m, 5))


def test_masked_keys_do_not_matter():
    rng = np.random.default_rng(6)
    Q, K, V, _ = random_problem(rng, 3, 7, 4, 2)
    mask = np.ones((3, 7), dtype=bool)
    mask[:, 5:] = False
    short, _ = attention_forward(Q, K[:5], V[:5])
    K[5:] *= 100
    assert np.allclose(attention_forward(Q, K, V, mask)[0], short, atol=1e-12)


def test_jacobian_norm_and_bound():
    rng = np.random.default_rng(7)
    A = softmax(3 * rng.normal(size=(20, 6)))
    for a, norm in zip(A, jacobian_norm(A)):
        J = np.diag(a) - np.outer(a, a)
        assert abs(np.linalg.norm(J) - norm) < 1e-12
        assert np.abs(J).max() <= 1 - a.max() + 1e-12


# %% [markdown]
# ### Experiment: does the scale matter in training?
#
# **Question.** Can a network learn a lookup with the scaled dot product, the additive score and the plain dot product, as $d_k$ grows?
# There are 20 items with random labels, and 12 queries, each another random vector for one of the items.
# The model learns two *projections*, $Q = X_Q W_Q$ and $K = X_K W_K$ (and $w$, for the additive score), so that query $i$ finds item $i$.
# The values are fresh random signs at each step, so they cannot be memorised, and the loss is half the squared error of the output, averaged over the queries.
# Initial weights give the entries of queries and keys unit variance, and each score gets its best learning rate from a grid.
#
# **Prediction.** All three should learn at $d_k = 4$.
# The plain dot product should fail when its initial scores, of size $\sqrt{d_k}$, saturate the softmax.


# %%
def train_lookup(kind: str, d_k: int, lr: float, seed: int, steps: int = 300) -> float:
    """Mean weight on the right key after SGD with the score `kind`."""
    rng = np.random.default_rng(seed)
    n, m, d_in, d_v = 12, 20, 32, 8
    X_q, X_k = rng.normal(size=(n, d_in)), rng.normal(size=(m, d_in))
    W_q, W_k = rng.normal(size=(2, d_in, d_k)) / np.sqrt(d_in)
    w = rng.normal(size=d_k) / np.sqrt(d_k)
    scale = 1 / np.sqrt(d_k) if kind == "scaled" else 1.0
    for _ in range(steps):
        V = rng.choice([-1.0, 1.0], size=(m, d_v))
        Q, K = X_q @ W_q, X_k @ W_k
        if kind == "additive":
            S, T = additive_scores(Q, K, w)
            A = softmax(S)
            dS = softmax_backward((A @ V - V[:n]) / n @ V.T, A)
            dQ, dK, dw = additive_backward(dS, T, w)
            w = w - lr * dw
        else:
            O, A = attention_forward(Q, K, V, scale=scale)
            dQ, dK, _ = attention_backward((O - V[:n]) / n, Q, K, V, A, scale)
        W_q, W_k = W_q - lr * X_q.T @ dQ, W_k - lr * X_k.T @ dK
    return float(A[np.arange(n), np.arange(n)].mean())


# %%
WIDTHS = (4, 16, 64, 256)
RATES = (0.001, 0.01, 0.03, 0.1)
SEEDS = range(5)
best = {}
for kind in ("scaled", "additive", "dot"):
    for d_k in WIDTHS:
        runs = [[train_lookup(kind, d_k, lr, seed) for seed in SEEDS] for lr in RATES]
        best[kind, d_k] = max(runs, key=np.mean)  # all seeds of the best rate

# %%
#| label: fig-lookup
#| fig-cap: Weight on the right key after training, with each score's best learning rate. Lines are means over the seeds, bands run from the worst to the best seed; the dotted line is the uniform guess.
#| fig-alt: Scaled dot product and additive stay close to one at every width. The plain dot product falls from one to near the uniform guess.
fig, ax = plt.subplots()
styles = {"scaled": "o-", "additive": "^-.", "dot": "s--"}
for kind, style in styles.items():
    runs = np.array([best[kind, d_k] for d_k in WIDTHS])
    ax.semilogx(WIDTHS, runs.mean(axis=1), style, label=kind)
    ax.fill_between(WIDTHS, runs.min(axis=1), runs.max(axis=1), alpha=0.2)
ax.axhline(1 / 20, color="0.5", linestyle=":", linewidth=1)
ax.set(xlabel="width of queries and keys", ylabel="weight on the right key")
ax.set_ylim(0, 1.03)
ax.set_xticks(WIDTHS, WIDTHS)
ax.legend(loc="center left")
ax.minorticks_off()

# %% [markdown]
# **What the code shows:** the prediction holds.
# At $d_k = 256$ the scaled score ends at `{python} f"{np.mean(best['scaled', 256]):.2f}"`, the additive at `{python} f"{np.mean(best['additive', 256]):.2f}"` and the plain dot product at `{python} f"{np.mean(best['dot', 256]):.2f}"`, although at $d_k = 4$ it reached `{python} f"{np.mean(best['dot', 4]):.2f}"`.
# The additive score needs no scale, for its terms pass through a tanh.
# The conclusion is modest: with this initialisation, plain [stochastic gradient descent](../math-foundations/optimization.py#noise) (SGD) and `{python} len(SEEDS)` seeds, *forgetting the scale* is what breaks the dot product, and none of `{python} len(RATES)` learning rates from `{python} min(RATES)` to `{python} max(RATES)` repairs it.
# The 2017 paper quotes the same order for wide keys, additive ahead of the plain dot product, from translation experiments [@britz2017massive], and suspects the same cause [@vaswani2017attention].
# Exercise 7 finds another repair, in the initialisation.

# %% tags=["test", "experiment"]
def test_lookup_conclusion():
    for d_k in (4, 16, 64, 256):
        assert min(best["scaled", d_k]) > 0.75
        assert np.mean(best["additive", d_k]) > 0.75
    assert np.mean(best["dot", 4]) > 0.9
    assert max(best["dot", 256]) < 0.4


# %% [markdown]
# ### Attention as kernel regression
#
# Statisticians knew this weighted average in 1964.
# To predict at $q$ from examples $(k_j, v_j)$, average the $v_j$ with weights that fall with the distance from $q$ to $k_j$ [@nadaraya1964estimating; @watson1964smooth].
# With a Gaussian of variance $\sigma^2$ the exponent is
#
# $$
# -\frac{\lVert q - k_j \rVert^2}{2\sigma^2}
# = -\frac{\lVert q \rVert^2}{2\sigma^2} + \frac{q \cdot k_j}{\sigma^2} - \frac{\lVert k_j \rVert^2}{2\sigma^2}
# $$
#
# **What this means:** the first term is the same for all keys, so the softmax removes it.
# Set $\sigma^2 = \sqrt{d_k}$, and the second term is the attention score.
# The third drops out as well if all keys have the same norm.
# So attention *is* Gaussian kernel regression, with one difference: it does not subtract $\lVert k_j \rVert^2$, so a long key can win by being loud rather than close [@tsai2019transformer].


# %%
def nadaraya_watson(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, variance: float
) -> np.ndarray:
    """Kernel regression at Q (n, d) from examples K (m, d), V (m, d_v)."""
    squared = ((Q[:, None, :] - K[None, :, :]) ** 2).sum(axis=-1)  # (n, m)
    return softmax(-squared / (2 * variance)) @ V


Q, K, V = rng.normal(size=(5, 9)), rng.normal(size=(7, 9)), rng.normal(size=(7, 2))
K_unit = K / np.linalg.norm(K, axis=-1, keepdims=True)
for name, keys in (("keys of one norm", K_unit), ("keys of any norm", K)):
    gap = np.abs(attention(Q, keys, V)[0] - nadaraya_watson(Q, keys, V, 3.0)).max()
    print(f"{name}: equal to 1e-12: {gap < 1e-12}")

# %% [markdown]
# **What the code shows:** the two agree exactly when norms agree (here $\sqrt{d_k} = 3$).
# What attention adds is therefore not the average but that the *positions* of queries and keys are learned.

# %% tags=["test"]
def test_attention_is_kernel_regression():
    rng = np.random.default_rng(8)
    for _ in range(20):
        n, m, d_k, d_v = rng.permutation(np.arange(2, 12))[:4]
        Q, K, V, _ = random_problem(rng, n, m, d_k, d_v)
        biased = softmax((Q @ K.T - 0.5 * (K**2).sum(axis=-1)) / np.sqrt(d_k)) @ V
        assert np.allclose(nadaraya_watson(Q, K, V, np.sqrt(d_k)), biased, atol=1e-12)
        K = K / np.linalg.norm(K, axis=-1, keepdims=True)
        assert np.allclose(
            nadaraya_watson(Q, K, V, np.sqrt(d_k)), attention(Q, K, V)[0], atol=1e-12
        )


# %% [markdown]
# ### What it costs
#
# A product of $(n, d)$ and $(d, m)$ takes $2nmd$ floating-point operations (FLOPs): a multiplication and an addition for each term.
# With $h$ independent copies (the heads of [multi-head attention](multi-head-attention.py)):
#
# $$
# \text{FLOPs} = 2 h n m (d_k + d_v),
# \quad
# \text{entries of } A = h n m
# $$
#
# **What this means:** work and storage grow with the *product* of the two lengths.
# When a sequence of length $n$ looks at itself, doubling $n$ quadruples both.
#
# The largest GPT-3 has $h = 96$ heads of width $d_k = d_v = 128$ and reads $n = m = 2048$ tokens, pieces of words [@brown2020language].
# Dense layers alternate with banded ones, where a token sees only its neighbourhood; here is one dense layer, in 16-bit numbers, without the half that a causal mask could save.


# %%
def attention_flops(n: int, m: int, d_k: int, d_v: int, heads: int = 1) -> int:
    """FLOPs of the two matrix products of attention."""
    return 2 * heads * n * m * (d_k + d_v)


def attention_bytes(n: int, m: int, d_k: int, d_v: int, heads: int = 1,
                    itemsize: int = 2) -> tuple[int, int]:
    """Bytes of Q, K, V and O together, and of the weights A."""
    vectors = (n + m) * (d_k + d_v)
    return heads * vectors * itemsize, heads * n * m * itemsize


gpt3 = {"n": 2048, "m": 2048, "d_k": 128, "d_v": 128, "heads": 96}
flops = attention_flops(**gpt3)
vector_bytes, weight_bytes = attention_bytes(**gpt3)
assert flops == 4 * 2048**2 * 12288 == 206_158_430_208
assert (vector_bytes, weight_bytes) == (201_326_592, 805_306_368)
intensity = flops / (4 * weight_bytes + vector_bytes)  # S and A: written, then read
a100 = 312e12 / 1.555e12  # FLOP/s over bytes/s
print(f"{flops / 1e9:.1f} GFLOP; vectors {vector_bytes / 1e6:.0f} MB, "
      f"weights {weight_bytes / 1e6:.0f} MB; {intensity:.0f} FLOPs per byte")

# %% [markdown]
# **What the code shows:** the weights are `{python} f"{weight_bytes / vector_bytes:.0f}"` times as large as everything that goes in and out.
# Written to memory and read again, before and after the softmax, they hold the arithmetic down to `{python} f"{intensity:.0f}"` FLOPs for each byte moved.
# While a byte moves, an A100 graphics processor of 2020 can do `{python} f"{a100:.0f}"` of them, 312 TFLOP/s against 1.555 TB/s [@nvidia2020a100], so plain attention waits for memory, not for arithmetic.
#
# The remedy is never to store $A$.
# A running maximum $\mu$ and a running sum $\ell$ give a softmax's denominator in one pass [@milakov2018online]; a running output $u$ makes that the whole of attention [@rabe2021self].
# Start from $\mu = -\infty$, $\ell = 0$ and $u = 0$; for each new score $s$ with value $v$:
#
# $$
# \begin{aligned}
# \mu' &= \max(\mu, s), \\
# \ell' &= \ell e^{\mu - \mu'} + e^{s - \mu'}, \\
# u' &= u e^{\mu - \mu'} + e^{s - \mu'} v
# \end{aligned}
# $$
#
# **What this means:** whenever a larger score appears, everything summed so far is rescaled; at the end $o = u / \ell$, exactly.
# You write it in Exercise 4; [FlashAttention](multi-head-attention.py#flashattention-never-store-the-weights) does it in tiles that fit on the chip [@dao2022flashattention].

# %% tags=["test"]
def test_cost_against_torch_counter():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    rng = np.random.default_rng(9)
    for _ in range(20):
        n, m, d_k, d_v, heads = (int(x) for x in rng.permutation(np.arange(2, 20))[:5])
        Q, K, V = (torch.randn(heads, *s) for s in ((n, d_k), (m, d_k), (m, d_v)))
        with FlopCounterMode(display=False) as counter:
            A = torch.softmax(Q @ K.transpose(1, 2), dim=-1)
            O = A @ V
        assert counter.get_total_flops() == attention_flops(n, m, d_k, d_v, heads)
        vectors, weights = attention_bytes(n, m, d_k, d_v, heads, itemsize=4)
        assert vectors == sum(x.numel() * x.element_size() for x in (Q, K, V, O))
        assert weights == A.numel() * A.element_size()


# %% [markdown]
# ### What came later
#
# | year | idea | in one sentence |
# |---|---|---|
# | 2016 | sparsemax [@martins2016softmax] | The nearest distribution to the scores replaces the softmax, so that many weights are exactly zero. |
# | 2020 | linear attention [@katharopoulos2020transformers] | With $\phi(q) \cdot \phi(k)$ in place of the exponential, for a fixed map $\phi$ to positive numbers, $\phi(K)^\top V$ can be summed first, and the cost is linear in length. |
# | 2020 | Hopfield view [@ramsauer2021hopfield] | One step of attention is one update of an associative memory with continuous states. |
# | 2020 | [QK-norm](multi-head-attention.py#bounded-scores-qk-norm) [@henry2020query] | Queries and keys are normalised to unit length and a learned factor replaces $1/\sqrt{d_k}$, so scores are bounded. |
# | 2022 | exact attention without storing $A$ [@dao2022flashattention] | Online softmax in tiles makes memory linear in length and the whole faster. |
# | 2023 | entropy collapse [@zhai2023stabilizing] | Attention of very low [entropy](../math-foundations/information-theory.py#surprisal-and-entropy) goes with unstable training; dividing each weight matrix by its largest singular value, times a learned number, prevented both in their runs. |
# | 2023 | attention sinks [@xiao2024efficient] | Weights must sum to one, so trained models park what they do not need on the first tokens, which must then stay in the [cache](../modern-llms/inference.py#why-old-rows-may-be-kept) of keys and values. |
# | 2024 | soft-capping [@gemma2024gemma2] | Scores pass through $c \tanh(s / c)$ and cannot exceed the constant $c$; Gemma 3 replaced this by QK-norm [@gemma2025gemma3]. |
# | 2024 | dispersion [@velickovic2024softmax] | With bounded scores, no weight can stay large as $m$ grows (Exercise 6). |
# | 2025 | QK-clip [@kimi2025k2] | After a step, a head whose largest score passed a threshold gets its $W_Q$ and $W_K$ shrunk. |
# | 2025 | learned sink [@openai2025gptoss] | One extra learned score in each head's denominator lets a query look at nothing (Exercise 5). |
# | 2025 | gated attention [@qiu2025gated] | A sigmoid gate on the output lets a head say little, and the sinks mostly disappear. |
#
# In 2026 the scaled dot product with a softmax is still the core; what changes around it is how scores are kept small and where unneeded weight goes.

# %% [markdown]
# ## 3. Practical considerations
#
# ### Numerics
#
# `np.exp` overflows above `{python} f"{np.log(np.finfo(np.float64).max):.1f}"` in float64, `{python} f"{np.log(np.finfo(np.float32).max):.1f}"` in float32 and `{python} f"{np.log(float(np.finfo(np.float16).max)):.1f}"` in float16.
# Subtracting a constant $c$ from all scores changes no weight, since $e^{s_j - c} = e^{s_j} e^{-c}$ and $e^{-c}$ cancels.
# With $c$ the largest score, the largest exponential is $e^0 = 1$ and the sum lies between 1 and $m$: neither overflow nor division by zero is left.
# In half precision keep the scores and the sum in float32, and mask with `-inf`, not with `-1e9`, which float16 cannot hold.
#
# ### Failure mode 1: softmax on the wrong axis

# %%
def wrong_axis(Q: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Causal weights (n, n), normalised over the queries by mistake."""
    S = np.where(np.tril(np.ones((len(Q), len(K)))), Q @ K.T / np.sqrt(4), -np.inf)
    return softmax(S.T).T


Q, K, V = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
Q_changed = Q.copy()
Q_changed[5] += 3.0  # the last query: a causal model's first five rows ignore it
wrong, wrong_changed = wrong_axis(Q, K), wrong_axis(Q_changed, K)
print("row sums", wrong.sum(axis=-1).round(2))
print(f"the future moves the past by {np.abs(wrong - wrong_changed)[:5].max():.2f}")

# %% [markdown]
# **Symptom:** shapes fit, the loss falls, the model is poor; a causal model also cheats, since each key is normalised over *later* queries too.
# **Cause:** `axis=0`, or a transposed score matrix; with $n = m$ no shape complains.
# **Fix:** assert that rows sum to one, and test with $n \ne m$.
#
# ### Failure mode 2: a row with nothing to look at

# %%
mask = np.array([[False, False, False, False], [True, True, True, False]])
Q, K, V = rng.normal(size=(2, 5)), rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
dO = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])  # row 0 is padding: no loss
with np.errstate(invalid="ignore"):
    naive = softmax(np.where(mask, Q @ K.T / np.sqrt(5), -np.inf))
print(f"loss {(naive @ V)[1].sum():.2f}, naive dV", (naive.T @ dO)[:, 0])
print("zero convention dV", (attention_forward(Q, K, V, mask)[1].T @ dO)[:, 0].round(2))

# %% [markdown]
# **Symptom:** the loss is a number, and after one step every parameter below this layer is NaN.
# It starts with an empty sequence in the batch, or where a causal and a padding mask together empty a row.
# **Cause:** $-\infty - (-\infty)$ in the shifted softmax; leaving the row out of the loss does not help, since zero times NaN is NaN and the sum over queries spreads it to all values.
# **Fix:** the zero convention of `masked_softmax`, or masks that always allow one key.
#
# ### Failure mode 3: the mask after the softmax


# %%
def mask_too_late(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Causal attention with the mask in the wrong place."""
    A = softmax(Q @ K.T / np.sqrt(K.shape[-1]))
    return np.tril(A) @ V


Q, K, V = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
K_changed = K.copy()
K_changed[5] += 3.0  # the last key: invisible to queries 0 to 4
causal = np.tril(np.ones((6, 6), dtype=bool))
for name, attend in (("late", mask_too_late),
                     ("right", lambda Q, K, V: attention_forward(Q, K, V, causal)[0])):
    moved = np.abs(attend(Q, K, V) - attend(Q, K_changed, V))[:5].max()
    print(f"{name}: changing the future moves the past by {moved:.2f}")
assert moved == 0  # not small: zero

# %% [markdown]
# **Symptom:** no error, and rows that sum to less than one; a causal model trains on a trace of the future that generation will not have; with padding, the result depends on how much there is.
# **Cause:** the forbidden keys still sit in the denominator.
# **Fix:** mask scores, not weights.
# Run the test above on every model you build: change what must be invisible, and ask for a difference of exactly zero.
#
# ### Weights are not explanations
#
# A heat map of $A$ invites you to read it as "why".
# Be careful: if $m \gt d_v + 1$, the equations $aV = o$ and $\sum_j a_j = 1$ are $d_v + 1$ conditions on $m$ numbers, and very different weights give the *same* output.


# %%
def other_weights(a: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Weights (m,) that give the same output as `a`, with less on its top key."""
    rows = np.column_stack([V, np.ones(len(a))]).T * a  # (d_v + 1, m)
    _, _, Vt = np.linalg.svd(rows)
    free = Vt[len(rows):]  # relative changes of the weights that keep the output
    change = -free[:, a.argmax()] @ free  # the one that hurts the top key most
    return a * (1 - change / change.min())  # go until some weight is zero


example = np.random.default_rng(0)
V, a = example.normal(size=(12, 3)), softmax(2 * example.normal(size=12))
b, top = other_weights(a, V), a.argmax()
assert np.allclose(a @ V, b @ V) and np.isclose(b.sum(), 1) and b.min() > -1e-12
print(f"top key: {a[top]:.2f} or {b[top]:.2f}; the same output, "
      f"with {0.5 * np.abs(a - b).sum():.0%} of the weight elsewhere")

# %% tags=["test"]
def test_other_weights():
    rng = np.random.default_rng(16)
    for _ in range(20):
        d_v = int(rng.integers(1, 5))
        m = d_v + int(rng.integers(2, 9))
        V, a = rng.normal(size=(m, d_v)), softmax(rng.normal(size=m))
        b = other_weights(a, V)
        assert np.allclose(a @ V, b @ V) and np.isclose(b.sum(), 1)
        assert b.min() > -1e-9 and b[a.argmax()] < a.max()


# %% [markdown]
# **What the code shows:** both rows are valid distributions, and nothing after this layer can tell them apart.
# For real models, one study found that attention often disagrees with gradients and that other weights give the same prediction [@jain2019attention]; another answered that such rival weights do badly when a simpler model has to use them, and that the verdict depends on what you call an explanation [@wiegreffe2019attention].
# Use weights to form a hypothesis, and interventions to test it.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **True in a mask.** Here and in `scaled_dot_product_attention`, true means *may look*. In `nn.MultiheadAttention` it means the opposite. A float mask is added to the scores.
# > - **Causal masks that are not square.** PyTorch's `is_causal=True` aligns the triangle to the top left; decoding with a cache needs the bottom right (Exercise 3).
# > - **Rows or columns.** Here vectors are rows and weights are normalised along the last axis. Papers with column vectors write $V \text{softmax}(K^\top Q)$ and normalise columns.
# > - **Which width?** The scale uses the width of *one* key, 64 in the 2017 model of width 512 with 8 heads, not the model's width.
# > - **Alignment.** Bahdanau's "annotations" are keys and values at once, and his $e_{ij}$ and $\alpha_{ij}$ are $S$ and $A$. Luong scores with the decoder state of the *current* step, Bahdanau with that of the previous one.
# > - **Scores or weights.** "Attention matrix", "attention logits" and "attention scores" are used for $S$ and $A$ alike. Ask whether the rows sum to one.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): shifts
#
# You add the same vector $c$ to every key.
# What happens to the output?
# And if you add $c$ to every value instead?

# %% [markdown] tags=["solution"]
# Every score of a query $q$ changes by the same amount, $q \cdot c / \sqrt{d_k}$, and a softmax ignores a shift: the output stays the same, for every query.
# So a bias in the key projection has no effect at all (unless keys are [changed by position](self-attention.py#turning-rope) after it), while one in the query projection has.
# Adding $c$ to the values adds $\sum_j a_j c = c$ to each output, because the weights sum to one.

# %% [markdown]
# ### Exercise 2 (check): the hand example, masked
#
# In the hand example, forbid the third key for both queries.
# Compute both outputs with pencil and paper and return them as a $(2, 1)$ array.


# %%
def masked_by_hand() -> np.ndarray:
    """Outputs (2, 1) of the hand example without its third key."""
    ### BEGIN SOLUTION
    # Exponentials (1, 2) give weights (1/3, 2/3); (3, 3) give (1/2, 1/2).
    return np.array([[14 / 3], [7 / 2]])
    ### END SOLUTION


# %% tags=["test"]
def test_masked_by_hand():
    Q = np.sqrt(2) * np.array([[np.log(2), 0], [np.log(3), np.log(3)]])
    K = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    mask = np.array([[True, True, False]] * 2)
    want, _ = attention_forward(Q, K, np.array([[0.0], [7.0], [14.0]]), mask)
    got = masked_by_hand()
    assert got.shape == (2, 1) and np.allclose(got, want)


# %% [markdown]
# ### Exercise 3 (apply): a causal mask for the last queries
#
# While generating, you hold $m$ keys but compute only the last $n \le m$ queries.
# Return the mask in which the last query sees all keys, the one before it all but the last, and so on.


# %%
def causal_mask(n: int, m: int) -> np.ndarray:
    """Mask (n, m) for the last n of m positions; True = may look."""
    ### BEGIN SOLUTION
    positions = np.arange(m - n, m)  # where the queries stand
    return np.arange(m)[None, :] <= positions[:, None]
    ### END SOLUTION


# %% tags=["test"]
def test_causal_mask():
    import torch
    from torch.nn.attention.bias import causal_lower_right

    rng = np.random.default_rng(10)
    for n, m in [(1, 1), (1, 6), (3, 3), (2, 5), (4, 9), (7, 8)]:
        mask = causal_mask(n, m)
        assert mask.shape == (n, m) and mask.dtype == bool
        assert list(mask.sum(axis=1)) == list(range(m - n + 1, m + 1))
        Q, K, V, _ = random_problem(rng, n, m, 4, 3)
        want = torch.nn.functional.scaled_dot_product_attention(
            *(torch.from_numpy(x)[None, None] for x in (Q, K, V)),
            attn_mask=causal_lower_right(n, m),
        )
        got, _ = attention_forward(Q, K, V, mask)
        assert np.allclose(got, want[0, 0].numpy(), atol=1e-12)


# %% [markdown]
# ### Exercise 4 (apply): attention in one pass
#
# Compute the output for one query with the recurrence of Section 2.
# Visit each key once, and keep nothing but $\mu$, $\ell$ and $u$.


# %%
def online_attention(q: np.ndarray, K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Output (d_v,) of one query (d_k,), reading keys and values one at a time."""
    ### BEGIN SOLUTION
    mu, ell, u = -np.inf, 0.0, np.zeros(V.shape[-1])
    for k, v in zip(K, V):
        s = q @ k / np.sqrt(len(q))
        new = max(mu, s)
        shrink, weight = np.exp(mu - new), np.exp(s - new)
        mu, ell, u = new, ell * shrink + weight, u * shrink + weight * v
    return u / ell
    ### END SOLUTION


# %% tags=["test"]
def test_online_attention():
    rng = np.random.default_rng(11)
    for size in (1.0, 1.0, 100.0, 1e-8):
        for _ in range(10):
            m, d_k, d_v = rng.permutation(np.arange(1, 12))[:3]
            Q, K, V, _ = random_problem(rng, 1, m, d_k, d_v, size)
            got = online_attention(Q[0], K, V)
            assert got.shape == (d_v,)
            assert np.allclose(got, attention(Q, K, V)[0][0], rtol=1e-9, atol=1e-12)


# %% [markdown]
# ### Exercise 5 (apply): a place to look at nothing
#
# Add a learned number $b$ as one more score of each query, with no value behind it: $a_j = e^{s_j} / (e^b + \sum_l e^{s_l})$.
# Stay safe for large scores and for large $b$.


# %%
def sink_attention(Q: np.ndarray, K: np.ndarray, V: np.ndarray, b: float) -> np.ndarray:
    """Output (n, d_v) of attention with an extra score `b` in each denominator."""
    ### BEGIN SOLUTION
    S = Q @ K.T / np.sqrt(K.shape[-1])
    S = np.column_stack([S, np.full(len(S), b)])  # (n, m + 1)
    return softmax(S)[:, :-1] @ V
    ### END SOLUTION


# %% tags=["test"]
def test_sink_attention():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n, m, d_k, d_v = rng.permutation(np.arange(1, 12))[:4]
        Q, K, V, _ = random_problem(rng, n, m, d_k, d_v)
        b = rng.normal()
        exps = np.exp(Q @ K.T / np.sqrt(d_k))
        want = exps / (np.exp(b) + exps.sum(axis=1, keepdims=True)) @ V
        assert np.allclose(sink_attention(Q, K, V, b), want, atol=1e-12)
    assert np.allclose(sink_attention(Q, K, V, -np.inf), attention(Q, K, V)[0])
    assert np.allclose(sink_attention(Q, K, V, 5000.0), 0.0)
    assert np.isfinite(sink_attention(1e4 * Q, K, V, 0.0)).all()


# %% [markdown]
# ### Exercise 6 (explore): long inputs spread the weight
#
# All scores lie in $[-B, B]$.
# Return the largest weight that one of $m$ keys can get; then find, on paper, the smallest $B$ that allows a weight of $1/2$.
# How must scores grow with the length of the context?


# %%
def largest_weight(B: float, m: int) -> float:
    """Largest possible softmax weight over m scores within [-B, B]."""
    ### BEGIN SOLUTION
    return float(1 / (1 + (m - 1) * np.exp(-2 * B)))
    ### END SOLUTION


# %% tags=["test"]
def test_largest_weight():
    rng = np.random.default_rng(13)
    for m in (1, 2, 5, 100):
        for B in (0.0, 0.5, 3.0):
            s = np.full(m, -B)
            s[0] = B
            assert abs(largest_weight(B, m) - softmax(s)[0]) < 1e-12
            tries = softmax(rng.uniform(-B, B, size=(200, m))).max()
            assert tries <= largest_weight(B, m) + 1e-12


# %% [markdown] tags=["solution"]
# The weight of a key rises with its own score and falls with the others', so the best case is $B$ for one key and $-B$ for the rest.
# Setting the result to $1/2$ gives $(m - 1) e^{-2B} = 1$, so $B = \frac{1}{2} \log(m - 1)$.
# Scores must grow with the logarithm of the context, and a model whose scores are bounded by its training cannot stay sharp on much longer inputs [@velickovic2024softmax].

# %% [markdown]
# ### Exercise 7 (explore): the scale is a parametrisation
#
# Scaled attention starts from $W_Q, W_K$ and is trained with SGD at rate $\eta$.
# Find starting weights and a rate for *unscaled* attention such that both give the same outputs after every step.
# What does that say about the experiment?


# %%
def unscaled_twin(
    W_q: np.ndarray, W_k: np.ndarray, lr: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights (d_in, d_k) and rate with which unscaled attention trains alike."""
    ### BEGIN SOLUTION
    d_k = W_k.shape[-1]
    return W_q / d_k**0.25, W_k / d_k**0.25, lr / np.sqrt(d_k)
    ### END SOLUTION


# %% tags=["test"]
def test_unscaled_twin():
    def outputs(W_q, W_k, lr, scale):
        rng, seen = np.random.default_rng(14), []
        X_q, X_k = rng.normal(size=(5, 6)), rng.normal(size=(7, 6))
        V, goal = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
        for _ in range(6):
            Q, K = X_q @ W_q, X_k @ W_k
            O, A = attention_forward(Q, K, V, scale=scale)
            dQ, dK, _ = attention_backward(O - goal, Q, K, V, A, scale)
            W_q, W_k = W_q - lr * X_q.T @ dQ, W_k - lr * X_k.T @ dK
            seen.append(O)
        return np.array(seen)

    rng = np.random.default_rng(15)
    for d_k in (1, 4, 9, 50):
        W_q, W_k = rng.normal(size=(2, 6, d_k)) / np.sqrt(6)
        scaled = outputs(W_q, W_k, 0.05, None)
        twin = outputs(*unscaled_twin(W_q, W_k, 0.05), 1.0)
        assert np.allclose(twin, scaled, atol=1e-9)
        assert not np.allclose(scaled[0], scaled[-1])


# %% [markdown] tags=["solution"]
# Put $W' = cW$ with $c = d_k^{-1/4}$ for both matrices: the product of the two shrinks by $c^2 = 1/\sqrt{d_k}$, which replaces the scale.
# By the chain rule $\partial L / \partial W' = (1/c) \partial L / \partial W$, and a step $\Delta W'$ means a step $\Delta W = \Delta W' / c$.
# So a rate $\eta'$ for $W'$ acts like $\eta' / c^2 = \eta' \sqrt{d_k}$ for $W$, and $\eta' = \eta / \sqrt{d_k}$.
# The experiment thus compared two *initialisations*: dividing by $\sqrt{d_k}$ adds no power, it makes the usual one safe at every width.
# With [Adam](../training/optimizers.py#a-direction-for-each-gradient), which ignores the size of gradients, the rate changes differently; the initial saturation is the same.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Soft lookup | $O = \text{softmax}(QK^\top / \sqrt{d_k}) V$ | `softmax(Q @ K.T / np.sqrt(d_k)) @ V` | every transformer layer |
# | Scale | $\text{Var}[q \cdot k] = d_k$ | `scale = 1 / np.sqrt(K.shape[-1])` | keeps the softmax trainable |
# | Additive score | $w \cdot \tanh(q + k)$ | `np.tanh(Q[:, None] + K[None]) @ w` | recurrent translation, 2014 to 2017 |
# | Mask | $S_{ij} = -\infty$ where forbidden | `np.where(mask, S, -np.inf)` | padding, causality, packing |
# | Softmax backward | $dS = A \odot (dA - \text{rowsum}(dA \odot A))$ | `A * (dA - (dA * A).sum(-1, keepdims=True))` | training |
# | Cost | $2 h n m (d_k + d_v)$ FLOPs | `attention_flops(n, m, d_k, d_v, h)` | context-length budgets |
# | Kernel view | weights fall with $\lVert q - k \rVert^2$ | `nadaraya_watson(Q, K, V, variance)` | linear attention, theory |
#
# **The essential insight:** attention replaces *compress, then read* by *keep everything, then choose*. The choice is an average, so gradients reach every stored vector; its weights are computed from the data, so the same network reads different things at different times; and it is three matrix operations, so it runs at the speed of the hardware. The price is a comparison of everything with everything, and a softmax that must be kept away from saturation. What the next topics add (where queries come from, several heads, a stack of layers) leaves this core untouched.
