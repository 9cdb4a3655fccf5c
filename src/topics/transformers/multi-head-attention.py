# ---
# title: Multi-head attention
# summary: Several small attentions side by side, and how to store fewer keys.
# prerequisites:
#   - transformers/self-attention: projections, causal masks, RoPE and the backward pass of one head
#   - transformers/attention: the scaled dot product, its gradients and the online softmax
# packages: [numpy, matplotlib, torch, transformers]
# ---

# %% [markdown]
# # Multi-head attention
#
# $$
# \boxed{
# \begin{aligned}
# \text{MultiHead}(X) &= \left[ O_1, O_2, \dots, O_H \right] W_O \\
# O_h &= \text{softmax}\left( \frac{Q_h K_h^\top}{\sqrt{d_k}} \right) V_h
# \end{aligned}
# }
# $$
#
# Each row of $X \in \mathbb{R}^{T \times d}$ is one of $T$ tokens, and $d$ is the width of the model ($d_\text{model}$ in [self-attention](self-attention.py)).
# *Head* $h$ of $H$ has its own projections: $Q_h = X W_Q^{(h)}$ and $K_h = X W_K^{(h)}$ of width $d_k$, $V_h = X W_V^{(h)}$ of width $d_v$.
# The brackets put the outputs $O_h \in \mathbb{R}^{T \times d_v}$ side by side, and $W_O \in \mathbb{R}^{H d_v \times d}$ mixes them.
#
# Heads let one layer fetch several different things for the same token [@vaswani2017attention], and the keys and values they store are what limits long contexts today.

# %% [markdown]
# ## 1. Core concept: several small lookups
#
# ### One distribution must average
#
# A verb needs its subject *and* its object.
# [Attention](attention.py) gives it one distribution, so one average $o = a u + b v$ of two facts $u$ and $v$, with weights $a + b = 1$.
# What can be read off?
# Let the facts be independent, with mean 0 and variance 1, and the reader linear.
# The best estimate of $u$ is $\frac{a}{a^2 + b^2} o$, and the expected squared errors are
#
# $$
# \mathbb{E}\left[(u - \hat{u})^2\right] = \frac{b^2}{a^2 + b^2},
# \quad
# \mathbb{E}\left[(v - \hat{v})^2\right] = \frac{a^2}{a^2 + b^2}
# $$
#
# **What this means:** they sum to one, for every choice of weights.
# Half of what the verb needed is lost, and training can only choose which half.

# %%
import matplotlib.pyplot as plt
import numpy as np


def readout_error(A: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squared errors (2,) of reading two facts off heads with weights A (heads, 2)."""
    facts = rng.normal(size=(4000, 2))
    seen = facts @ A.T  # (4000, heads)
    decoder, *_ = np.linalg.lstsq(seen, facts)
    return ((facts - seen @ decoder) ** 2).mean(axis=0)


rng = np.random.default_rng(0)
shares = np.linspace(0, 1, 21)
one_head = np.array([readout_error(np.array([[a, 1 - a]]), rng) for a in shares])
two_heads = readout_error(np.array([[0.9, 0.1], [0.1, 0.9]]), rng)
print(f"one head: {one_head.mean():.2f} of the variance is lost on average, "
      f"at best {one_head.mean(axis=1).min():.2f}")
print(f"two heads, 0.9 : 0.1 and 0.1 : 0.9: {two_heads.mean():.2f}")

# %%
#| label: fig-two-facts
#| fig-cap: Error of reading each of two facts off one weighted average, against the weight of the first. Lines are the formulas, markers are fitted read-outs.
#| fig-alt: The error of the first fact falls from one to zero as its weight grows, that of the second rises from zero to one; their mean stays at one half throughout.
fig, ax = plt.subplots()
fine = np.linspace(0, 1, 200)
total = fine**2 + (1 - fine) ** 2
ax.plot(fine, (1 - fine) ** 2 / total, "-", label="first fact")
ax.plot(fine, fine**2 / total, "--", label="second fact")
ax.plot(fine, np.full(200, 0.5), ":", label="mean of both")
for measured, marker in zip((*one_head.T, one_head.mean(axis=1)), "os^"):
    ax.plot(shares, measured, marker, color="0.4", markersize=3)
ax.set(xlabel="weight on the first fact", ylabel="squared error")
ax.legend(loc="upper center")
ax.margins(x=0)

# %% [markdown]
# **What the code shows:** `{python} f"{one_head.mean():.2f}"` is lost wherever you stand in @fig-two-facts; with two heads `{python} f"{two_heads.mean():.2f}"`, though neither looks at one fact alone: two different averages make two equations for two unknowns.
# (A nonlinear reader can do better; the experiment below tries one.)
#
# ### Mathematical foundation
#
# So run $H$ attentions side by side, each narrow, usually with $d_k = d_v = d / H$.
# Cut $W_O$ into $H$ blocks of $d_v$ rows, and the box becomes a sum:
#
# $$
# \begin{aligned}
# \text{MultiHead}(X) &= \sum_{h=1}^{H} A_h \, X \, W_V^{(h)} W_O^{(h)}, \\
# A_h &= \text{softmax}\left( \frac{X W_Q^{(h)} W_K^{(h)\top} X^\top}{\sqrt{d_k}} \right)
# \end{aligned}
# $$
#
# **What this means:** a head is two small circuits [@elhage2021mathematical].
# $W_Q^{(h)} W_K^{(h)\top}$ decides *where* it looks and $W_V^{(h)} W_O^{(h)}$ *what* it hands over.
# Heads do not see each other; each adds its part.
#
# With $H d_k = H d_v = d$ the four matrices hold $4d^2$ weights and the matrix products cost the same for every $H$ (only the number of softmaxes grows): you trade the [rank](../math-foundations/linear-algebra.py#rank-how-much-a-matrix-really-holds) of each score table, at most $d_k$, for the number of tables.
# Very narrow heads cannot express every attention pattern [@bhojanapalli2020low].
#
# | name | symbol | shape |
# |---|---|---|
# | tokens that ask | $X$ (code `x`) | $(B, T, d)$ |
# | tokens that are read | (code `source`) | $(B, S, d)$ |
# | query weights | $W_Q$ | $(d, H d_k)$ |
# | key, value weights | $W_K, W_V$ | $(d, G d_k), (d, G d_v)$ |
# | queries | $Q$ | $(B, H, T, d_k)$ |
# | keys, values | $K, V$ | $(B, G, S, d_k), (B, G, S, d_v)$ |
# | attention weights | $A$ | $(B, H, T, S)$ |
# | output weights | $W_O$ | $(H d_v, d)$ |
#
# $B$ is the batch, $S = T$ in self-attention, and $G = H$ until Section 2.
# All heads are computed at once: the $H$ small matrices $W_Q^{(h)}$ stand side by side in one $W_Q$, and the columns are cut into heads afterwards.
#
# ### By hand
#
# Take $T = 3$ tokens of width $d = 2$, with $H = 2$ heads of width 1:
#
# $$
# \begin{aligned}
# &X = \begin{bmatrix} 1 & 0 \\ 0 & 1 \\ 1 & 1 \end{bmatrix},
# \quad
# W_Q = \begin{bmatrix} \log 2 & \log 2 \\ 0 & 0 \end{bmatrix}, \\
# &W_K = \begin{bmatrix} 0 & 0 \\ 1 & -1 \end{bmatrix},
# \quad
# W_V = \begin{bmatrix} 0 & 8 \\ 5 & 0 \end{bmatrix},
# \quad
# W_O = \begin{bmatrix} 1 & 2 \\ 0 & 1 \end{bmatrix}
# \end{aligned}
# $$
#
# Column 1 of each projection belongs to head 1: keys $(0, 1, 1)$ and values $(0, 5, 5)$.
# Head 2 has keys $(0, -1, -1)$ and values $(8, 0, 8)$.
# Token 1 asks $\log 2$ in both.
# In head 1 the exponentials are $(1, 2, 2)$, the weights $(\frac{1}{5}, \frac{2}{5}, \frac{2}{5})$ and the output 4.
# In head 2 they are $(1, \frac{1}{2}, \frac{1}{2})$, the weights $(\frac{1}{2}, \frac{1}{4}, \frac{1}{4})$ and the output 6.
# $W_O$ turns $(4, 6)$ into $(4, 14)$.
# Token 2 asks nothing and averages: $(\frac{10}{3}, \frac{16}{3}) W_O = (\frac{10}{3}, 12)$.
# Token 3 asks what token 1 asks.
#
# One head of width 2 with the same matrices would *add* the two scores of each key, and here they cancel: token 1 would see nothing but an average.
#
# ### In code


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
def linear(x: np.ndarray, P: dict, name: str) -> np.ndarray:
    """x W + b; the bias is optional."""
    return x @ P["W_" + name] + P.get("b_" + name, 0.0)


def split(z: np.ndarray, n: int) -> np.ndarray:
    """Cut columns into heads: (B, T, n * width) to (B, n, T, width)."""
    B, T, columns = z.shape
    return z.reshape(B, T, n, columns // n).swapaxes(1, 2)


def merge(z: np.ndarray) -> np.ndarray:
    """Put heads side by side: (B, n, T, width) to (B, T, n * width)."""
    B, n, T, width = z.shape
    return z.swapaxes(1, 2).reshape(B, T, n * width)


def multi_head(
    x: np.ndarray,
    source: np.ndarray,
    P: dict,
    heads: int,
    kv_heads: int,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """x (B, T, d) reads source (B, S, d); mask (T, S) or (B, T, S), True = may look."""
    Q = split(linear(x, P, "q"), heads)
    K = split(linear(source, P, "k"), kv_heads)[:, :, None]  # (B, G, 1, S, d_k)
    V = split(linear(source, P, "v"), kv_heads)[:, :, None]
    B, _, T, d_k = Q.shape
    Q = Q.reshape(B, kv_heads, heads // kv_heads, T, d_k)  # neighbours share a key
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(d_k)
    A = masked_softmax(S, None if mask is None else mask[..., None, None, :, :])
    O = merge((A @ V).reshape(B, heads, T, V.shape[-1]))  # (B, T, H d_v)
    return linear(O, P, "o"), (x, source, Q, K, V, A, O)


X_hand = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
P_hand = {"W_q": np.log(2) * np.array([[1.0, 1.0], [0.0, 0.0]]),
          "W_k": np.array([[0.0, 0.0], [1.0, -1.0]]),
          "W_v": np.array([[0.0, 8.0], [5.0, 0.0]]),
          "W_o": np.array([[1.0, 2.0], [0.0, 1.0]])}
Y_hand, saved = multi_head(X_hand, X_hand, P_hand, 2, 2)
A_hand = saved[5].reshape(2, 3, 3)
assert np.allclose(A_hand[:, 0], [[1 / 5, 2 / 5, 2 / 5], [1 / 2, 1 / 4, 1 / 4]])
assert np.allclose(Y_hand[0], [[4, 14], [10 / 3, 12], [4, 14]])
wide = multi_head(X_hand, X_hand, P_hand, 1, 1)[1][5]
print("output\n", Y_hand[0].round(4))
print("one wide head, token 1:", wide[0, 0, 0, 0].round(4))

# %% [markdown]
# **What the code shows:** heads are one more axis.
# `split` moves it in front of time, and everything between is the attention you know, for $B \cdot H$ sequences at once.
# The tests load the same weights into PyTorch's `nn.MultiheadAttention` and get the same outputs and gradients in float64.
# If you stop here, you have the picture: *$H$ narrow attentions, side by side, added up*.

# %% tags=["test"]
def random_layer(rng, heads, kv_heads, biases=False, d_source=None):
    """x, source, weights; all sizes different, also d_k and d_v."""
    B, T, S, d_k, d_v = (int(n) for n in rng.permutation(np.arange(1, 8))[:5])
    d, d_source = 9, d_source or 9
    shapes = {"q": (d, heads * d_k), "k": (d_source, kv_heads * d_k),
              "v": (d_source, kv_heads * d_v), "o": (heads * d_v, d)}
    P = {"W_" + n: rng.normal(size=s) / np.sqrt(s[0]) for n, s in shapes.items()}
    if biases:
        P |= {"b_" + n: rng.normal(size=s[1]) for n, s in shapes.items()}
    return rng.normal(size=(B, T, d)), rng.normal(size=(B, S, d_source)), P


def test_one_average_loses_half():
    rng = np.random.default_rng(1)
    for a in (0.0, 0.2, 0.5, 0.7, 1.0):
        got = readout_error(np.array([[a, 1 - a]]), rng)
        want = np.array([(1 - a) ** 2, a**2]) / (a**2 + (1 - a) ** 2)
        assert np.allclose(got, want, atol=0.06)
    assert readout_error(np.array([[0.6, 0.4], [0.5, 0.5]]), rng).max() < 1e-20


def test_hand_example():
    X = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    P = {"W_q": np.log(2) * np.array([[1.0, 1.0], [0.0, 0.0]]),
         "W_k": np.array([[0.0, 0.0], [1.0, -1.0]]),
         "W_v": np.array([[0.0, 8.0], [5.0, 0.0]]),
         "W_o": np.array([[1.0, 2.0], [0.0, 1.0]])}
    Y, saved = multi_head(X, X, P, 2, 2)
    assert np.allclose(Y[0], [[4, 14], [10 / 3, 12], [4, 14]], atol=1e-12)
    assert np.allclose(multi_head(X, X, P, 1, 1)[1][5], 1 / 3)


def test_output_is_the_sum_of_heads():
    rng = np.random.default_rng(2)
    for _ in range(20):
        x, source, P = random_layer(rng, 3, 3)
        Y, _ = multi_head(x, source, P, 3, 3)
        parts = 0.0
        for h in range(3):
            W_q, W_k, W_v = (np.split(P["W_" + n], 3, axis=1)[h] for n in "qkv")
            W_o = np.split(P["W_o"], 3, axis=0)[h]
            S = x @ W_q @ W_k.T @ source.swapaxes(1, 2) / np.sqrt(W_k.shape[1])
            parts = parts + masked_softmax(S) @ source @ W_v @ W_o
        assert np.allclose(Y, parts, atol=1e-12)


# %% [markdown]
# ## 2. Deeper treatment
#
# ### The backward pass
#
# With $O = [O_1 \cdots O_H]$ and $Y = O W_O$, the only new step is the first: $dO = dY \, W_O^\top$ and $dW_O = O^\top dY$.
# Cut $dO$ into heads, and each head goes through the [backward pass of attention](attention.py#the-backward-pass) alone.
# Where several query heads share one key and value head, as below, [gradients add](../neural-networks/backpropagation.py#the-picture): $dK$ and $dV$ are summed over the heads that share.


# %%
def rows(z: np.ndarray) -> np.ndarray:
    """(B, T, width) to (B T, width)."""
    return z.reshape(-1, z.shape[-1])


def multi_head_backward(dy: np.ndarray, P: dict, saved: tuple) -> dict:
    """From dy (B, T, d): gradients of x, source, weights and biases."""
    x, source, Q, K, V, A, O = saved
    B, G, share, T, d_k = Q.shape
    dO = split(dy @ P["W_o"].T, G * share).reshape(B, G, share, T, V.shape[-1])
    dA = dO @ V.swapaxes(-1, -2)
    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True)) / np.sqrt(d_k)
    dQ = merge((dS @ K).reshape(B, G * share, T, d_k))
    dK = merge((dS.swapaxes(-1, -2) @ Q).sum(axis=2))  # over the heads that share
    dV = merge((A.swapaxes(-1, -2) @ dO).sum(axis=2))
    grads = {"x": dQ @ P["W_q"].T, "source": dK @ P["W_k"].T + dV @ P["W_v"].T}
    pairs = ("q", x, dQ), ("k", source, dK), ("v", source, dV), ("o", O, dy)
    for name, z, dz in pairs:
        grads["W_" + name] = rows(z).T @ rows(dz)
        grads["b_" + name] = rows(dz).sum(axis=0)
    return grads


# %% tags=["test"]
def check_against_torch_module(rng, heads, T, S, biases, cross, mask):
    """Mapped weights: nn.MultiheadAttention, forward and backward."""
    import torch

    d_k, B = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    d, d_source = heads * d_k, heads * d_k + (2 if cross else 0)
    P = {"W_" + n: rng.normal(size=(d_source if n in "kv" else d, d)) for n in "qkvo"}
    if biases:
        P |= {"b_" + n: rng.normal(size=d) for n in "qkvo"}
    x, source, dy = (rng.normal(size=s) for s in ((B, T, d), (B, S, d_source), (B, T, d)))
    module = torch.nn.MultiheadAttention(
        d, heads, bias=biases, kdim=d_source, vdim=d_source, batch_first=True
    ).double()
    state = {"out_proj.weight": P["W_o"].T}
    if cross:
        state |= {f"{n}_proj_weight": P["W_" + n].T for n in "qkv"}
    else:
        state["in_proj_weight"] = np.concatenate([P["W_" + n].T for n in "qkv"])
    if biases:
        state["in_proj_bias"] = np.concatenate([P["b_" + n] for n in "qkv"])
        state["out_proj.bias"] = P["b_o"]
    module.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in state.items()})
    tx, ts = (torch.from_numpy(z).requires_grad_() for z in (x, source))
    blocked = None if mask is None else torch.from_numpy(~mask)  # True = may not
    want, weights = module(tx, ts, ts, attn_mask=blocked, average_attn_weights=False)
    want.backward(torch.from_numpy(dy))
    Y, saved = multi_head(x, source, P, heads, heads, mask)
    grads = multi_head_backward(dy, P, saved)
    assert np.allclose(Y, want.detach().numpy(), atol=1e-10)
    A = saved[5].reshape(B, heads, T, S)
    assert np.allclose(A, weights.detach().numpy(), atol=1e-12)
    theirs = {n: p.grad.numpy() for n, p in module.named_parameters()}
    pairs = [(grads["x"], tx.grad), (grads["source"], ts.grad),
             (grads["W_o"].T, theirs["out_proj.weight"])]
    for i, n in enumerate("qkv"):
        stacked = theirs[f"{n}_proj_weight"] if cross else \
            theirs["in_proj_weight"][i * d : (i + 1) * d]
        pairs.append((grads["W_" + n].T, stacked))
        if biases:
            pairs.append((grads["b_" + n], theirs["in_proj_bias"][i * d : (i + 1) * d]))
    if biases:
        pairs.append((grads["b_o"], theirs["out_proj.bias"]))
    for got, wanted in pairs:
        assert got.shape == tuple(wanted.shape)
        assert np.allclose(got, np.asarray(wanted), atol=1e-8)


def test_multi_head_is_torch():
    rng = np.random.default_rng(3)
    for trial in range(24):
        heads = int(rng.integers(1, 5))
        T, S = (int(n) for n in rng.permutation(np.arange(1, 8))[:2])
        mask = None
        if trial % 3 == 1:
            mask = rng.random((T, S)) < 0.6
            mask[:, 0] = True
        elif trial % 3 == 2:
            S = T
            mask = np.tril(np.ones((T, T), dtype=bool))
        biases, cross = trial % 2 == 0, trial % 4 > 1
        check_against_torch_module(rng, heads, T, S, biases, cross, mask)


# %% tags=["test"]
def check_against_sdpa(rng, heads, kv_heads, mask_kind, size=1.0):
    """Grouped heads against the fused function and autograd; d_v is not d_k."""
    import torch

    x, source, P = random_layer(rng, heads, kv_heads, biases=True, d_source=5)
    x, (B, T, _), S = size * x, x.shape, source.shape[1]
    mask = None if mask_kind == "none" else rng.random((B, T, S)) < 0.6
    if mask_kind == "blind":
        mask[0, 0] = False  # a query that may look at nothing
    dy = rng.normal(size=x.shape)
    Y, saved = multi_head(x, source, P, heads, kv_heads, mask)
    grads = multi_head_backward(dy, P, saved)
    t = {n: torch.from_numpy(a.copy()).requires_grad_()
         for n, a in {"x": x, "source": source, **P}.items()}

    def project(z, n, count):
        z = t[z] @ t["W_" + n] + t["b_" + n]
        return z.unflatten(-1, (count, -1)).transpose(1, 2)

    q = project("x", "q", heads)
    k, v = (project("source", n, kv_heads) for n in "kv")
    O = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, enable_gqa=True,
        attn_mask=None if mask is None else torch.from_numpy(mask)[:, None],
    )
    want = O.transpose(1, 2).flatten(2) @ t["W_o"] + t["b_o"]
    want.backward(torch.from_numpy(dy))
    assert np.allclose(Y, want.detach().numpy(), atol=1e-10)
    for name, leaf in t.items():
        assert grads[name].shape == tuple(leaf.shape)
        assert np.allclose(grads[name], leaf.grad.numpy(), atol=1e-8)


def test_grouped_heads_are_torch():
    rng = np.random.default_rng(4)
    for trial in range(28):
        heads, kv_heads = [(4, 2), (6, 2), (6, 3), (3, 1), (2, 2), (1, 1), (8, 4)][trial % 7]
        check_against_sdpa(rng, heads, kv_heads, ("none", "random", "blind")[trial % 3])
    check_against_sdpa(rng, 4, 2, "none", size=300.0)


def test_multi_head_edges():
    rng = np.random.default_rng(5)
    _, _, P = random_layer(rng, 4, 2)
    for T, S in ((0, 3), (2, 0), (0, 0)):
        x, source = np.ones((2, T, 9)), np.ones((2, S, 9))
        Y, saved = multi_head(x, source, P, 4, 2)
        grads = multi_head_backward(np.ones((2, T, 9)), P, saved)
        assert Y.shape == (2, T, 9) and not Y.any()
        assert grads["source"].shape == source.shape and not grads["W_q"].any()
    same = np.repeat(rng.normal(size=(1, 1, 9)), 5, axis=1)  # ties
    assert np.allclose(multi_head(same, same, P, 4, 2)[1][5], 0.2)


# %% [markdown]
# ### Experiment: one head or several, at equal parameters
#
# **Question.** Eight items each carry a key and one of eight contents, as sums of fixed random vectors.
# One query, a sum of vectors for "first wanted key", "second wanted key" and so on, names $R$ of the keys, with repetition.
# A layer of total width 32 must output the $R$ contents in order, from its concatenated heads by one matrix: the same number of weights for every $H$.
# How does accuracy depend on $H$?
#
# **Prediction.** One lookup needs one head.
# $R$ lookups need $H \ge R$; with fewer heads, $H$ of the $R$ answers should be right and the rest near guessing.
# Very narrow heads may do worse.
#
# **Controls.** $R = 1$ (the task without the conflict), one head four times as wide, and one head followed by a hidden layer of 128 [ReLU](../neural-networks/activation-functions.py) units, trained three times as long, with two learning rates: 0.01 as everywhere else, and 0.005, the best of three variants tried beforehand.
# So that neither the steps nor the rate get the credit of the hidden layer, one head without it is trained with 0.005 and as long.
# Training is [Adam](../training/optimizers.py#a-direction-for-each-gradient), a gradient descent with a step size for each weight, on [cross-entropy](../training/loss-functions.py#cross-entropy-for-any-target).

# %%
D, ITEMS, CONTENTS = 32, 8, 8


def adam(P: dict, grads: dict, state: dict, t: int, lr: float) -> None:
    """One step, in place."""
    for n in P:
        mean, square = state.get(n, (0.0, 0.0))
        mean, square = 0.9 * mean + 0.1 * grads[n], 0.99 * square + 0.01 * grads[n] ** 2
        state[n] = mean, square
        P[n] -= lr * mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.99**t)) + 1e-8)


def draw(E: dict, R: int, B: int, rng: np.random.Generator) -> tuple:
    """Queries (B, 1, D), items (B, ITEMS, D), the wanted contents (B, R)."""
    contents = rng.integers(CONTENTS, size=(B, ITEMS))
    wanted = rng.integers(ITEMS, size=(B, R))
    x = E["want"][np.arange(R), wanted].sum(axis=1, keepdims=True)
    source = E["key"] + E["content"][contents]
    return x, source, np.take_along_axis(contents, wanted, axis=1)


def train(H: int, R: int, seed: int, width: int = 32, hidden: int = 0,
          steps: int = 400, lr: float = 0.01) -> float:
    """Accuracy over the R answers on 2,000 fresh queries."""
    rng = np.random.default_rng(seed)
    sizes = {"key": (ITEMS, D), "content": (CONTENTS, D), "want": (R, ITEMS, D)}
    E = {n: rng.normal(size=s) for n, s in sizes.items()}
    out = hidden or R * CONTENTS
    sizes = {n: (D, width) for n in ("W_q", "W_k", "W_v")} | {"W_o": (width, out)}
    if hidden:
        sizes["U"] = (hidden, R * CONTENTS)
    P = {n: rng.normal(size=s) / np.sqrt(s[0]) for n, s in sizes.items()}
    P["b_o"], state = np.zeros(out), {}
    for t in range(1, steps + 1):
        x, source, target = draw(E, R, 32, rng)
        y, saved = multi_head(x, source, P, H, H)
        logits = np.maximum(y, 0) @ P["U"] if hidden else y
        d = masked_softmax(logits.reshape(-1, R, CONTENTS)) - np.eye(CONTENTS)[target]
        dy = d.reshape(logits.shape) / len(x)  # softmax minus one-hot
        dU = rows(np.maximum(y, 0)).T @ rows(dy)
        if hidden:
            dy = dy @ P["U"].T * (y > 0)
        adam(P, multi_head_backward(dy, P, saved) | {"U": dU}, state, t, lr)
    x, source, target = draw(E, R, 2000, np.random.default_rng(1000 + seed))
    y, _ = multi_head(x, source, P, H, H)
    logits = np.maximum(y, 0) @ P["U"] if hidden else y
    return (logits.reshape(-1, R, CONTENTS).argmax(axis=-1) == target).mean()


# %%
HEADS, LOOKUPS, SEEDS = (1, 2, 4, 8), (1, 2, 4), range(5)
runs = {(H, R): [train(H, R, seed) for seed in SEEDS] for R in LOOKUPS for H in HEADS}
wider = [train(1, 2, seed, width=128) for seed in SEEDS]
longer = [train(1, 2, seed, steps=1200, lr=0.005) for seed in SEEDS]
same_rate = [train(1, 2, seed, hidden=128, steps=1200) for seed in SEEDS]
nonlinear = [train(1, 2, seed, hidden=128, steps=1200, lr=0.005) for seed in SEEDS]
for R in LOOKUPS:
    print(f"{R} lookups:", *(f"H={H} {np.mean(runs[H, R]):.2f}" for H in HEADS))
print(f"2 lookups, one head: four times as wide {np.mean(wider):.2f}, "
      f"three times as long {np.mean(longer):.2f}")
print(f"with a hidden layer: rate 0.01 {np.round(np.sort(same_rate), 2)}, "
      f"rate 0.005 {np.round(np.sort(nonlinear), 2)}")

# %%
#| label: fig-heads
#| fig-cap: Accuracy against the number of heads at equal parameters, for one, two and four lookups at once. Lines are means over five seeds, bands run from the worst to the best; dotted, chance.
#| fig-alt: One lookup is solved by any number of heads. Two lookups jump from 0.6 to one at two heads, four lookups climb to one at four heads.
fig, ax = plt.subplots()
for R, style in zip(LOOKUPS, ("o-", "s--", "^-.")):
    scores = np.array([runs[H, R] for H in HEADS])
    ax.semilogx(HEADS, scores.mean(axis=1), style, label=f"{R} lookup{'s' * (R > 1)}")
    ax.fill_between(HEADS, scores.min(axis=1), scores.max(axis=1), alpha=0.2)
ax.axhline(1 / CONTENTS, color="0.5", linestyle=":", linewidth=1)
ax.set(xlabel="heads, total width 32", ylabel="accuracy", ylim=(0, 1.04))
ax.set_xticks(HEADS, HEADS)
ax.minorticks_off()
ax.legend(loc="lower right")

# %% [markdown]
# **What the code shows:** the steps of @fig-heads stand where predicted, at $H = R$.
# One head on two lookups ends at `{python} f"{np.mean(runs[1, 2]):.2f}"`: one answer is right, the other as often as chance allows, `{python} f"{1 / 8 + 7 / 8 / 8:.2f}"`, since one query in eight names the same key twice and a guess is right one time in eight.
# Two heads end at `{python} f"{np.mean(runs[2, 2]):.2f}"`; eight heads of width 4 lose nothing visible here.
# A head four times as wide does not help (`{python} f"{np.mean(wider):.2f}"`), nor does training it longer (`{python} f"{np.mean(longer):.2f}"`): the lack is a second distribution.
# But with the hidden layer and the smaller rate, accuracy passed 0.9 in `{python} sum(a > 0.9 for a in nonlinear)` of `{python} len(SEEDS)` seeds: unequal weights mix two *discrete* contents in a way that a nonlinear reader can undo.
# With the larger rate it did so in `{python} sum(a > 0.9 for a in same_rate)`.
# So one head is not incapable: a nonlinear layer behind it can do the work of the second head, but needs more steps and a tuned rate, where two heads needed neither.
# In trained models a large share of the heads can be removed at test time with little harm, and some layers run with one [@michel2019sixteen]; another study found a few specialised heads doing most of the work [@voita2019analyzing].
# That many heads were trained does not mean that all are needed.

# %% tags=["test", "experiment"]
def test_heads_conclusion():
    for R in (1, 2, 4):
        for H in (1, 2, 4, 8):
            if H >= R:
                assert min(runs[H, R]) > 0.9
            else:
                assert max(runs[H, R]) < 0.8
    assert max(wider) < 0.7 and max(longer) < 0.7 and max(same_rate) < 0.7
    assert sum(a > 0.9 for a in nonlinear) >= 3


# %% [markdown]
# ### Fewer keys: MQA and GQA
#
# A model that writes keeps the keys and values of all earlier tokens, its [KV cache](../modern-llms/inference.py#why-old-rows-may-be-kept), and reads all of it for every new token.
# *Multi-query attention* (MQA) keeps all $H$ query heads but one key and value head for all of them [@shazeer2019fast].
# *Grouped-query attention* (GQA) keeps $G$, each shared by $H / G$ query heads [@ainslie2023gqa].
# $G = H$ is plain multi-head attention, $G = 1$ is MQA, and `multi_head` computes all three.
# With $L$ layers and numbers of $p$ bytes:
#
# $$
# \text{cache bytes per token} = 2 L G d_k p
# $$
#
# **What this means:** the 2 is for keys and values; $H$ does not appear.
# GQA is multi-head attention whose $W_K^{(h)}$ and $W_V^{(h)}$ are equal within each group: it saves memory, and little arithmetic.
# Its authors turned trained multi-head models into GQA by averaging the key and value heads of each group and training for 5 % of the original steps (Exercise 5).
#
# ### A latent instead of keys: MLA
#
# *Multi-head latent attention* (MLA) stores neither [@deepseek2024v2].
# Each token leaves one short *latent* $c$, from which all heads build their keys and values:
#
# $$
# \begin{aligned}
# &c = x W_{DKV}, \quad k_h = c \, W_{UK}^{(h)}, \quad v_h = c \, W_{UV}^{(h)}, \\
# &q_h \cdot k_h = \left( q_h W_{UK}^{(h)\top} \right) \cdot c
# \end{aligned}
# $$
#
# with $W_{DKV} \in \mathbb{R}^{d \times d_c}$ (down), $W_{UK}^{(h)} \in \mathbb{R}^{d_c \times d_k}$ and $W_{UV}^{(h)} \in \mathbb{R}^{d_c \times d_v}$ (up).
# The last equation is *absorption*: move the up-projection to the query, and keys never need to exist.
# Likewise $\sum_j a_j v_{h,j} = \left( \sum_j a_j c_j \right) W_{UV}^{(h)}$: average latents, then go up once.
#
# [RoPE](self-attention.py#turning-rope) stands in the way.
# A turned key is $c_j W_{UK}^{(h)} R_j$, the score is $q_h R_i R_j^\top W_{UK}^{(h)\top} c_j^\top$, where $R_i$ and $R_j$ are the rotations of the two positions.
# Now $R_i R_j^\top$ stands between query and matrix, and it differs from key to key: the query would have to be absorbed anew for each key, and the saving is gone.
# The cure is a second, small key $k^r$ of width $d_r$, made from $x$, turned, shared by all heads, and cached next to $c$; each head gets a small turned query $q_h^r$ for it:
#
# $$
# s_{h,ij} = \frac{q_{h,i} \cdot k_{h,j} + q^r_{h,i} \cdot k^r_j}{\sqrt{d_k + d_r}}
# $$
#
# **What this means:** content without positions, plus positions in a few shared columns.
# The cache holds $L (d_c + d_r)$ numbers a token, whatever $H$ is.


# %%
def turn(x: np.ndarray, base: float = 10000.0) -> np.ndarray:
    """RoPE, half-split pairs, on x (..., T, d_r) at positions 0 to T - 1."""
    half = x.shape[-1] // 2
    angle = np.outer(np.arange(x.shape[-2]), base ** (-np.arange(half) / half))
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def mla(x: np.ndarray, P: dict, heads: int, mask: np.ndarray | None = None,
        absorbed: bool = True) -> np.ndarray:
    """Latent attention, x (B, T, d) to (B, T, d), in one of two equal forms."""
    c = (x @ P["W_dkv"])[:, None]  # (B, 1, T, d_c)  } all that is cached
    k_r = turn(x @ P["W_kr"])[:, None]  # (B, 1, T, d_r) }
    q, q_r = split(x @ P["W_q"], heads), turn(split(x @ P["W_qr"], heads))
    up_k = split(P["W_uk"][None], heads)  # (1, H, d_c, d_k)
    up_v = split(P["W_uv"][None], heads)  # (1, H, d_c, d_v)
    if absorbed:
        S = (q @ up_k.swapaxes(-1, -2)) @ c.swapaxes(-1, -2)
    else:
        S = q @ (c @ up_k).swapaxes(-1, -2)
    S = (S + q_r @ k_r.swapaxes(-1, -2)) / np.sqrt(q.shape[-1] + q_r.shape[-1])
    A = masked_softmax(S, mask)
    O = (A @ c) @ up_v if absorbed else A @ (c @ up_v)
    return merge(O) @ P["W_o"]


def random_mla(rng: np.random.Generator, heads: int, d: int, d_c: int, d_k: int,
               d_r: int, d_v: int) -> dict:
    """Weights for `mla`."""
    sizes = {"dkv": (d, d_c), "kr": (d, d_r), "q": (d, heads * d_k),
             "qr": (d, heads * d_r), "uk": (d_c, heads * d_k), "uv": (d_c, heads * d_v),
             "o": (heads * d_v, d)}
    return {"W_" + n: rng.normal(size=s) / np.sqrt(s[0]) for n, s in sizes.items()}


P = random_mla(rng, heads=4, d=24, d_c=6, d_k=5, d_r=2, d_v=3)
x, causal = rng.normal(size=(2, 7, 24)), np.tril(np.ones((7, 7), dtype=bool))
gap = np.abs(mla(x, P, 4, causal, True) - mla(x, P, 4, causal, False)).max()
print("absorbed equals expanded to 1e-12:", gap < 1e-12)
print("numbers a token in one layer: latent", 6 + 2, "- expanded", 4 * (5 + 3) + 2)

# %% [markdown]
# **What the code shows:** only brackets moved.
# Absorbed MLA *is* MQA: one key, $c$ joined to $k^r$, and one value, $c$, for all heads.
# The price is arithmetic: in DeepSeek-V3, with $d_k = d_v = 128$, a pair of query and key costs a head $2d_c + d_r$ multiplications instead of $d_k + d_r + d_v$, `{python} f"{(2 * 512 + 64) / (128 + 64 + 128):.1f}"` times as many, while the cache is `{python} f"{(128 * (128 + 128) + 64) / (512 + 64):.0f}"` times smaller than the keys and values of its 128 heads and the shared $k^r$; so models expand to train and to read a prompt, and absorb to write.
# The tests compare both forms with Hugging Face's `DeepseekV3Attention`.
# DeepSeek also compresses queries, to save memory in training, and normalises $c$; neither changes the argument.
#
# Now published configurations, in 16-bit numbers [@brown2020language; @touvron2023llama2; @grattafiori2024llama; @jiang2023mistral; @deepseek2024v2; @deepseek2024v3]:


# %%
def cache_numbers(layers: int, kv_heads: int = 0, d_k: int = 0, latent: int = 0) -> int:
    """Numbers that one token leaves in the cache."""
    return layers * (2 * kv_heads * d_k + latent)


MODELS = {
    "GPT-3 175B (MHA)": {"layers": 96, "kv_heads": 96, "d_k": 128},
    "Llama 2 70B (GQA)": {"layers": 80, "kv_heads": 8, "d_k": 128},
    "Llama 3 8B (GQA)": {"layers": 32, "kv_heads": 8, "d_k": 128},
    "Mistral 7B (GQA)": {"layers": 32, "kv_heads": 8, "d_k": 128},  # and a window
    "DeepSeek-V2 (MLA)": {"layers": 60, "latent": 512 + 64},
    "DeepSeek-V3 (MLA)": {"layers": 61, "latent": 512 + 64},
}
per_token = {name: 2 * cache_numbers(**c) for name, c in MODELS.items()}
assert list(per_token.values()) == [
    4_718_592, 327_680, 131_072, 131_072, 69_120, 70_272]
llama_mha = 2 * cache_numbers(80, 64, 128)  # Llama 2 70B, had it 64 key heads
assert llama_mha == 2_621_440 and (512 + 64) / (2 * 128) == 2.25
for name, size in per_token.items():
    print(f"{name:18} {size / 1024:7.1f} KiB a token, "
          f"{size * 32768 / 2**30:6.1f} GiB for 32,768 tokens")
deepseek_67b = cache_numbers(95, 8, 128)
saved_share = 1 - cache_numbers(60, latent=576) / deepseek_67b
quantised = 1 - 6 * cache_numbers(60, latent=576) / (16 * deepseek_67b)
print(f"DeepSeek-V2 against DeepSeek 67B: {saved_share:.1%} less, "
      f"with 6 bits instead of 16 {quantised:.1%} less")

# %%
#| label: fig-cache
#| fig-cap: Cache of one sequence in 16-bit numbers against its length, as the formulas give it, also beyond what the models were trained for. Grey, the 80 GB of one A100 or H100.
#| fig-alt: Parallel rising lines. GPT-3 with full heads is the highest, Llama 2 70B with grouped heads fourteen times lower, DeepSeek-V3 with latents lower than Llama 3 8B. Mistral's line becomes flat at its window of 4,096.
lengths = np.geomspace(256, 131072, 100)
fig, ax = plt.subplots()
styles = ("-", "--", "-.", ":", None, (0, (5, 1, 1, 1, 1, 1)))
for (name, size), style in zip(per_token.items(), styles):
    if style is not None:  # V2 and V3 would coincide
        kept = np.minimum(lengths, 4096) if "Mistral" in name else lengths
        ax.loglog(lengths, size * kept / 1e9, linestyle=style, label=name)
ax.axhline(80, color="0.6", linewidth=0.8)
ax.set(xlabel="tokens", ylabel="cache in GB")
ax.legend(fontsize=7)
ax.margins(x=0)

# %% [markdown]
# **What the code shows:** with 64 key heads Llama 2 70B would store `{python} f"{llama_mha / 2**20:.1f}"` MiB a token; eight divide that by eight.
# DeepSeek-V3, with 671 billion parameters, stores `{python} f"{per_token['DeepSeek-V3 (MLA)'] / per_token['Llama 3 8B (GQA)']:.0%}"` of what Llama 3 8B does: a layer of MLA equals GQA with 2.25 groups.
# The report's 93.3 % against DeepSeek 67B [@deepseek2024v2] is what you get if the 6-bit cache of its deployment is counted too; the architecture alone gives `{python} f"{saved_share:.1%}"`.
# Mistral's window of 4,096 tokens, left out of the printed line, caps its cache at `{python} f"{per_token['Mistral 7B (GQA)'] * 4096 / 2**30:.1f}"` GiB (@fig-cache).

# %% tags=["test"]
def test_grouped_is_multi_head_with_equal_weights():
    rng = np.random.default_rng(6)
    for heads, kv_heads in [(4, 1), (4, 2), (6, 3), (5, 5), (6, 1)] * 4:
        x, source, P = random_layer(rng, heads, kv_heads)
        full = dict(P)
        for n in ("W_k", "W_v"):
            parts = np.split(P[n], kv_heads, axis=1)
            full[n] = np.hstack([w for w in parts for _ in range(heads // kv_heads)])
        want, _ = multi_head(x, source, full, heads, heads)
        assert np.allclose(multi_head(x, source, P, heads, kv_heads)[0], want, atol=1e-12)


def test_mla_is_deepseek():
    import warnings

    import torch

    with warnings.catch_warnings():  # tqdm's advice about notebook widgets
        warnings.simplefilter("ignore")
        from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek

    rng = np.random.default_rng(7)
    for _ in range(20):
        B, T, d, d_c, d_k, d_v = (int(n) for n in rng.permutation(np.arange(1, 10))[:6])
        heads, d_r = int(rng.integers(1, 5)), 2 * int(rng.integers(1, 4))
        P = random_mla(rng, heads, d, d_c, d_k, d_r, d_v)
        config = deepseek.DeepseekV3Config(
            hidden_size=d, num_attention_heads=heads, num_key_value_heads=heads,
            kv_lora_rank=d_c, q_lora_rank=None, qk_rope_head_dim=d_r, v_head_dim=d_v,
            qk_nope_head_dim=d_k, rope_interleave=False, attn_implementation="eager",
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )
        module = deepseek.DeepseekV3Attention(config, 0).double()
        module.kv_a_layernorm = torch.nn.Identity()

        def joined(one, two):  # their columns: for each head, one then two
            both = [P[n].reshape(len(P[n]), heads, -1) for n in (one, two)]
            return np.concatenate(both, axis=-1).reshape(len(P[one]), -1)

        weights = {"q_proj": joined("W_q", "W_qr"), "kv_b_proj": joined("W_uk", "W_uv"),
                   "kv_a_proj_with_mqa": np.hstack([P["W_dkv"], P["W_kr"]]),
                   "o_proj": P["W_o"]}
        module.load_state_dict(
            {n + ".weight": torch.from_numpy(w.T.copy()) for n, w in weights.items()}
        )
        half = d_r // 2
        angle = np.outer(np.arange(T), 10000.0 ** (-np.arange(half) / half))
        angle = torch.from_numpy(np.hstack([angle, angle]))[None]
        x, mask = rng.normal(size=(B, T, d)), np.tril(np.ones((T, T), dtype=bool))
        added = torch.zeros(T, T, dtype=torch.float64)
        added = added.masked_fill(torch.from_numpy(~mask), float("-inf"))[None, None]
        with torch.no_grad():
            want = module(torch.from_numpy(x), (angle.cos(), angle.sin()), added)[0]
        for absorbed in (True, False):
            got = mla(x, P, heads, mask, absorbed)
            assert got.shape == (B, T, d)
            assert np.allclose(got, want.numpy(), atol=1e-6)  # its softmax is float32
        assert np.allclose(mla(x, P, heads, mask), mla(x, P, heads, mask, False),
                           atol=1e-12)


def test_cache_of_published_models():
    assert 2 * cache_numbers(80, 8, 128) == 327_680
    assert cache_numbers(61, latent=576) == 35_136
    V2, old = cache_numbers(60, latent=576), cache_numbers(95, 8, 128)
    assert round(100 * (1 - 6 * V2 / (16 * old)), 1) == 93.3


# %% [markdown]
# ### FlashAttention: never store the weights
#
# $A$ has $T^2$ entries for each head, and [moving them](attention.py#what-it-costs) is what plain attention waits for.
# *FlashAttention* keeps a tile of queries and a tile of keys in fast memory and never writes $S$ or $A$ [@dao2022flashattention].
# For each query it carries the running maximum $\mu$, sum $\ell$ and output $u$ of the online softmax [@milakov2018online].
# For a new tile $J$ of keys with scores $s_j$:
#
# $$
# \begin{aligned}
# \mu' &= \max\left(\mu, \max_{j \in J} s_j\right), \\
# \ell' &= \ell e^{\mu - \mu'} + \sum_{j \in J} e^{s_j - \mu'}, \\
# u' &= u e^{\mu - \mu'} + \sum_{j \in J} e^{s_j - \mu'} v_j
# \end{aligned}
# $$
#
# *Proof that this is exact.* Let $N$ be the set of keys seen so far, and suppose $\ell = \sum_{j \in N} e^{s_j - \mu}$ and $u = \sum_{j \in N} e^{s_j - \mu} v_j$; for the empty set, with $\mu = -\infty$ and both sums zero, this holds.
# The factor $e^{\mu - \mu'}$ turns each old term into $e^{s_j - \mu'}$, and the new terms complete both sums over $N \cup J$.
# So after the last tile $u / \ell = \sum_j e^{s_j - \mu} v_j / \sum_j e^{s_j - \mu}$, which is the softmax average, whatever the tiles were.
# A forbidden key has $s_j = -\infty$ and adds zero to both sums.
# While a query has seen no key at all, $\mu' = -\infty$ and the code subtracts 0 in its place; if it never sees one, its output is zero, as in `masked_softmax`.
#
# The backward pass needs $A$, and computes it again.
# One saved number for each query suffices, $\lambda_i = \mu_i + \log \ell_i = \log \sum_j e^{s_{ij}}$:
#
# $$
# A_{ij} = e^{s_{ij} - \lambda_i},
# \quad
# dS_{ij} = A_{ij} (dA_{ij} - \delta_i),
# \quad
# \delta_i = dO_i \cdot O_i
# $$
#
# **What this means:** with $\lambda$ and $\delta$, any tile of weights and of gradients can be made alone.
# Some arithmetic is done twice so that memory is not waited for.
# `Slow` below counts every number that crosses between slow and fast memory.


# %%
class Slow:
    """Arrays in slow memory; counts the numbers that cross."""

    def __init__(self, **arrays: np.ndarray):
        self.arrays, self.moved = arrays, 0

    def load(self, name: str, part: slice | tuple = slice(None)) -> np.ndarray:
        self.moved += self.arrays[name][part].size
        return self.arrays[name][part].copy()

    def store(self, name: str, value: np.ndarray, part: slice = slice(None)) -> None:
        self.moved += value.size
        self.arrays[name][part] = value


def tiles(n: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def tile_scores(slow: Slow, q: np.ndarray, k: np.ndarray, i: slice, j: slice,
                causal: bool) -> np.ndarray:
    """Scores of one tile, -inf where the query may not look (mask False, or future)."""
    s = q @ k.T / np.sqrt(k.shape[-1])
    if "mask" in slow.arrays:
        s = np.where(slow.load("mask", (i, j)), s, -np.inf)
    future = np.arange(i.start, i.stop)[:, None] < np.arange(j.start, j.stop)
    return np.where(future, -np.inf, s) if causal else s


def finite(z: np.ndarray) -> np.ndarray:
    """0 in place of -inf, so that -inf minus it stays -inf."""
    return np.where(z == -np.inf, 0.0, z)


def flash_forward(slow: Slow, size: int, causal: bool = False) -> None:
    """Reads Q (n, d_k), K (m, d_k), V (m, d_v), perhaps mask (n, m); writes O, lam."""
    n, m = len(slow.arrays["Q"]), len(slow.arrays["K"])
    d_v = slow.arrays["V"].shape[1]
    slow.arrays |= {"O": np.empty((n, d_v)), "lam": np.empty(n)}
    for i in tiles(n, size):
        q = slow.load("Q", i)
        mu, ell, u = np.full(len(q), -np.inf), np.zeros(len(q)), np.zeros((len(q), d_v))
        for j in tiles(m, size):
            if causal and j.start >= i.stop:
                break  # all future
            s = tile_scores(slow, q, slow.load("K", j), i, j, causal)
            new = np.maximum(mu, s.max(axis=1))
            p, shrink = np.exp(s - finite(new)[:, None]), np.exp(mu - finite(new))
            ell = ell * shrink + p.sum(axis=1)
            u = u * shrink[:, None] + p @ slow.load("V", j)
            mu = new
        total = np.where(ell == 0, 1.0, ell)  # 0: a query that saw no key
        slow.store("O", u / total[:, None], i)
        slow.store("lam", mu + np.log(total), i)


def flash_backward(slow: Slow, size: int, causal: bool = False) -> None:
    """Reads Q, K, V, O, lam, dO; writes dQ, dK, dV."""
    n, m = len(slow.arrays["Q"]), len(slow.arrays["K"])
    slow.arrays |= {"d" + x: np.zeros_like(slow.arrays[x]) for x in "QKV"}
    slow.arrays["delta"] = np.empty(n)
    for i in tiles(n, size):
        slow.store("delta", (slow.load("dO", i) * slow.load("O", i)).sum(axis=1), i)
    for j in tiles(m, size):
        k, v = slow.load("K", j), slow.load("V", j)
        dk, dv, scale = np.zeros_like(k), np.zeros_like(v), 1 / np.sqrt(k.shape[1])
        for i in tiles(n, size):
            if causal and j.start >= i.stop:
                continue
            q, do = slow.load("Q", i), slow.load("dO", i)
            lam, delta = slow.load("lam", i)[:, None], slow.load("delta", i)[:, None]
            a = np.exp(tile_scores(slow, q, k, i, j, causal) - finite(lam))  # again
            ds = a * (do @ v.T - delta)
            dk, dv = dk + ds.T @ q * scale, dv + a.T @ do
            slow.store("dQ", slow.load("dQ", i) + ds @ k * scale, i)
        slow.store("dK", dk, j)
        slow.store("dV", dv, j)


n, d_k = 200, 16
Q, K, V, dO = rng.normal(size=(4, n, d_k))
slow = Slow(Q=Q, K=K, V=V, dO=dO)
flash_forward(slow, 32)
A = masked_softmax(Q @ K.T / np.sqrt(d_k))
gap = np.abs(slow.arrays["O"] - A @ V).max()
flash_backward(slow, 32)
gap_back = np.abs(slow.arrays["dV"] - A.T @ dO).max()
print("forward and backward equal to 1e-12:", gap < 1e-12, gap_back < 1e-12)

# %% [markdown]
# Count for $n$ queries and keys of widths $d_k = d_v$ and tiles of $r$ rows that divide $n$.
# Plain attention moves $A$-sized arrays four times forward ($S$ and $A$ out and in) and seven times backward ($A$ twice, $dA$ out and in, $dS$ out once and in twice), besides vectors:
#
# $$
# \begin{aligned}
# \text{plain} &= 11 n^2 + 12 n d_k, \\
# \text{tiled} &= 2 n d_k + n + 2 \frac{n^2}{r} d_k \\
# &\quad {} + 2 n d_k + n + 4 n d_k + \frac{n^2}{r} (4 d_k + 2)
# \end{aligned}
# $$
#
# **What this means:** both grow with $n^2$.
# Tiling divides the quadratic part by about $11 r / (6 d_k + 2)$, and what must be *kept* falls from $n^2$ to $n$ numbers.


# %%
def plain_traffic(n: int, d: int) -> int:
    """Numbers moved, forward and backward, one head of n tokens, every array stored."""
    return 11 * n**2 + 12 * n * d


def tiled_traffic(n: int, d: int, r: int) -> int:
    """The same for `flash_forward` and `flash_backward` with tiles of r rows."""
    return 8 * n * d + 2 * n + n * n // r * (6 * d + 2)


gpt2_medium = {"heads": 16, "batch": 64, "n": 1024, "d": 64}  # 16-bit numbers
copies = 2 * gpt2_medium["heads"] * gpt2_medium["batch"]
plain_gb = copies * plain_traffic(1024, 64) / 1e9
tiled_gb = copies * tiled_traffic(1024, 64, 128) / 1e9
print(f"one layer of GPT-2 medium, batch 64: {plain_gb:.1f} GB plain, "
      f"{tiled_gb:.1f} GB in tiles of 128")

# %%
#| label: fig-traffic
#| fig-cap: Numbers moved to and from slow memory, forward and backward, for one head of width 64, against the length of the sequence.
#| fig-alt: All lines rise with slope two. Plain attention is highest; tiles of 64, 128 and 256 rows lie below it, larger tiles lower.
ns = 2 ** np.arange(9, 15)
fig, ax = plt.subplots()
ax.loglog(ns, [plain_traffic(int(n), 64) for n in ns], "o-", label="plain")
for r, style in ((64, "s--"), (128, "^-."), (256, "v:")):
    moved = [tiled_traffic(int(n), 64, r) for n in ns]
    ax.loglog(ns, moved, style, label=f"tiles of {r}")
ax.set(xlabel="tokens", ylabel="numbers moved")
ax.set_xticks(ns, ns)
ax.minorticks_off()
ax.legend()

# %% [markdown]
# **What the code shows:** `{python} f"{plain_gb / tiled_gb:.1f}"` times fewer bytes (@fig-traffic).
# On an A100 the paper reports 40.3 GB against 4.4 GB for attention of this size, a factor of `{python} f"{40.3 / 4.4:.1f}"`, and 41.7 ms against 7.3 ms [@dao2022flashattention].
# Our count has the right direction and misses both numbers: it is a model in which every load goes to slow memory, with one tile size, one loop order, and no mask or dropout.
# FlashAttention-2 orders the loops as here, forward over queries outside, and spreads the work over more processors [@dao2024flashattention2]; FlashAttention-3 overlaps moving, multiplying and exponentials on the H100 and adds 8-bit numbers [@shah2024flashattention3].
# The tests compare outputs and gradients with PyTorch, and both counts with `Slow`.

# %% tags=["test"]
def test_flash_is_torch():
    import torch

    rng = np.random.default_rng(8)
    for trial in range(28):
        n, m, d_k, d_v, size = (int(x) for x in rng.permutation(np.arange(1, 14))[:5])
        causal = trial % 2 == 1
        m = n if causal else m
        m = 0 if trial == 4 else m  # no keys at all
        scale = 60.0 if trial % 7 == 0 else 1.0
        shapes = {"Q": (n, d_k), "K": (m, d_k), "V": (m, d_v), "dO": (n, d_v)}
        a = {x: scale * rng.normal(size=s) for x, s in shapes.items()}
        if trial == 5:
            a["K"][:] = a["K"][:1]  # ties
        mask = rng.random((n, m)) < 0.5
        mask[0] = False  # a query that may look at nothing
        masked = trial % 4 == 2
        slow = Slow(**a, **({"mask": mask} if masked else {}))
        flash_forward(slow, size, causal)
        flash_backward(slow, size, causal)
        t = {x: torch.from_numpy(a[x].copy()).requires_grad_() for x in "QKV"}
        want = torch.nn.functional.scaled_dot_product_attention(
            *(x[None] for x in t.values()), is_causal=causal,
            attn_mask=torch.from_numpy(mask)[None] if masked else None,
        )[0]
        want.backward(torch.from_numpy(a["dO"]))
        assert np.allclose(slow.arrays["O"], want.detach().numpy(), atol=1e-10)
        for x, leaf in t.items():
            got = slow.arrays["d" + x]
            assert np.allclose(got, leaf.grad.numpy(), rtol=1e-7, atol=1e-8)
        S = torch.from_numpy(a["Q"] @ a["K"].T / np.sqrt(d_k))
        if causal:
            S = S.masked_fill(torch.ones(n, n).triu(1).bool(), float("-inf"))
        if masked:
            S = S.masked_fill(torch.from_numpy(~mask), float("-inf"))
        assert np.allclose(slow.arrays["lam"], S.logsumexp(dim=1).numpy(), atol=1e-10)


def test_traffic():
    rng = np.random.default_rng(9)
    for n, d, r in [(8, 3, 4), (12, 5, 3), (16, 2, 16), (6, 7, 1)]:
        Q, K, V, dO = rng.normal(size=(4, n, d))
        slow = Slow(Q=Q, K=K, V=V, dO=dO)
        flash_forward(slow, r)
        flash_backward(slow, r)
        assert slow.moved == tiled_traffic(n, d, r)
        squares = {x: np.zeros((n, n)) for x in ("S", "A", "dA", "dS")}
        slow = Slow(Q=Q, K=K, V=V, dO=dO, **squares,
                    **{x: np.zeros((n, d)) for x in ("O", "dQ", "dK", "dV")})
        for read, write in (("Q K", "S"), ("S", "A"), ("A V", "O"), ("A dO", "dV"),
                            ("dO V", "dA"), ("A dA", "dS"), ("dS K", "dQ"), ("dS Q", "dK")):
            for name in read.split():
                slow.load(name)
            slow.store(write, slow.arrays[write])
        assert slow.moved == plain_traffic(n, d)


# %% [markdown]
# ### Bounded scores: QK-norm
#
# Nothing stops queries and keys from growing in training, and long ones make the softmax one-hot, where its [gradient](attention.py#the-backward-pass) vanishes.
# *QK-norm* divides both by their lengths and multiplies by one learned number $g$ instead of $1 / \sqrt{d_k}$ [@henry2020query]:
#
# $$
# s_{ij} = g \, \frac{q_i \cdot k_j}{\lVert q_i \rVert \, \lVert k_j \rVert},
# \quad
# \lvert s_{ij} \rvert \le \lvert g \rvert
# $$
#
# **What this means:** only the angle between query and key counts, and $g$ alone decides how sharp a head can be.
# A later form, used in Qwen3, divides each query and key by its root mean square $\lVert q \rVert / \sqrt{d_k}$, multiplies each column by a learned gain and keeps the $1 / \sqrt{d_k}$.
# With all gains 1 the two divisions give $\sqrt{d_k}$ each and the scale takes one away: $g = \sqrt{d_k}$.


# %%
def qk_norm_scores(Q: np.ndarray, K: np.ndarray, g: float) -> np.ndarray:
    """Scores (T, S) of Q (T, d_k) and K (S, d_k); a zero vector scores 0."""
    Q, K = (z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
            for z in (Q, K))
    return g * Q @ K.T


for scale in (1, 100):
    Q, K = scale * np.random.default_rng(0).normal(size=(2, 8, 16))
    plain, normed = Q @ K.T / np.sqrt(16), qk_norm_scores(Q, K, np.sqrt(16))
    tops = [masked_softmax(s).max(axis=1).mean() for s in (plain, normed)]
    print(f"queries and keys times {scale}: mean of the largest weight "
          f"{tops[0]:.2f} plain, {tops[1]:.2f} with QK-norm")

# %% [markdown]
# **What the code shows:** long queries and keys make plain attention pick one key; with QK-norm their length changes nothing.

# %% tags=["test"]
def test_qk_norm_is_torch():
    import torch

    rng = np.random.default_rng(15)
    for trial in range(20):
        T, S, d_k = (int(n) for n in rng.permutation(np.arange(1, 10))[:3])
        g = float(rng.normal())
        Q, K = 10.0 ** (trial % 5) * rng.normal(size=(T, d_k)), rng.normal(size=(S, d_k))
        q, k = torch.from_numpy(Q), torch.from_numpy(K)
        got = qk_norm_scores(Q, K, g)
        want = g * torch.nn.functional.cosine_similarity(q[:, None], k[None], dim=-1)
        assert got.shape == (T, S) and np.allclose(got, want.numpy(), atol=1e-12)
        assert np.abs(got).max() <= abs(g) + 1e-12
        q, k = (torch.nn.functional.rms_norm(z, (d_k,), eps=0.0) for z in (q, k))
        want = (q @ k.T / np.sqrt(d_k)).numpy()
        assert np.allclose(qk_norm_scores(Q, K, np.sqrt(d_k)), want, atol=1e-12)
    assert not qk_norm_scores(np.zeros((2, 3)), np.ones((4, 3)), 2.0).any()


# %% [markdown]
# ### What came later
#
# | year | idea | in one sentence |
# |---|---|---|
# | 2020 | window [@beltagy2020longformer; @jiang2023mistral] | A head sees the last $w$ tokens, so the cache stops growing. |
# | 2022 | induction heads [@olsson2022context] | A head that finds the last occurrence of the present token and copies what followed appears early in training, as [in-context learning](gpt.py#from-gpt-1-to-a-prompt) does (Exercise 6). |
# | 2023 | [attention sinks](attention.py#what-came-later) [@xiao2024efficient] | Keep the first few tokens next to a window, because heads park unneeded weight there. |
# | 2025 | native sparse attention [@yuan2025native] | A learned gate adds three attentions for each query: over blocks of keys compressed to one key each, over the few blocks that score highest there, and over a window; the model is trained with it from the start. |
#
# As of 2026, Llama 3, Mistral and Qwen3 use GQA with RoPE, DeepSeek-V2 and V3 MLA, and PyTorch's `scaled_dot_product_attention` takes a fused kernel by itself where one fits the inputs.

# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: a reshape that mixes tokens

# %%
def wrong_split(z: np.ndarray, n: int) -> np.ndarray:
    """The right shape, the wrong numbers."""
    B, T, columns = z.shape
    return z.reshape(B, n, T, columns // n)


z = rng.normal(size=(1, 6, 8))
z_changed = z.copy()
z_changed[0, 5] += 1.0  # the last token
for name, cut in (("reshape", wrong_split), ("split", split)):
    moved = (cut(z, 4) != cut(z_changed, 4)).any(axis=(0, 1, 3))
    print(f"{name}: positions that notice the last token {np.flatnonzero(moved)}")

# %% [markdown]
# **Symptom:** shapes fit, the model trains badly, and a causal mask leaks.
# **Cause:** reshaping $(B, T, H d_k)$ straight to $(B, H, T, d_k)$ cuts time, not columns.
# **Fix:** reshape to $(B, T, H, d_k)$, then swap; change one token and look who notices.
#
# ### Failure mode 2: key heads in the wrong order

# %%
K_heads = np.array([[0.0], [1.0]])  # two key heads, six query heads
print("repeat", K_heads.repeat(3, axis=0)[:, 0])
print("tile  ", np.tile(K_heads, (3, 1))[:, 0])
x, source = rng.normal(size=(1, 5, 12)), rng.normal(size=(1, 5, 12))
P = {"W_" + n: rng.normal(size=s) for n, s in
     (("q", (12, 12)), ("k", (12, 4)), ("v", (12, 4)), ("o", (12, 12)))}
right, _ = multi_head(x, source, P, 6, 2)
tiled = {n: np.tile(w, 3) if n in ("W_k", "W_v") else w for n, w in P.items()}
wrong, _ = multi_head(x, source, tiled, 6, 6)
alike = np.corrcoef(right.ravel(), wrong.ravel())[0, 1]
print(f"correlation with the right output: {alike:.2f}")

# %% [markdown]
# **Symptom:** a loaded GQA checkpoint runs and writes nonsense; with $G = 1$ or $G = H$ everything is right.
# **Cause:** query head $h$ belongs to key head $\lfloor h / (H/G) \rfloor$, counted from 0, and `tile` gives it $h \bmod G$.
# **Fix:** `repeat`, and test with $1 \lt G \lt H$.
#
# ### Failure mode 3: a rescaling forgotten


# %%
def one_row(s: np.ndarray, V: np.ndarray, size: int, rescale: bool) -> np.ndarray:
    """Output (d_v,) for scores s (m,), tile by tile."""
    mu, ell, u = -np.inf, 0.0, np.zeros(V.shape[1])
    for j in tiles(len(s), size):
        new = max(mu, s[j].max())
        p, shrink = np.exp(s[j] - new), np.exp(mu - new)
        ell, mu = ell * shrink + p.sum(), new
        u = u * (shrink if rescale else 1.0) + p @ V[j]
    return u / ell


s, V = rng.normal(size=32), rng.normal(size=(32, 4))
s[20] = 4.0
sink = s.copy()
sink[0] = 9.0  # the first token scores highest
for name, scores in (("sink first", sink), ("peak later", s)):
    off = np.abs(one_row(scores, V, 8, False) - masked_softmax(scores) @ V).max()
    print(f"{name}: off by {off:.2g}")

# %% [markdown]
# **Symptom:** a new kernel passes its test on a trained model and fails on others.
# **Cause:** $u$ is not shrunk when a later tile raises the maximum; with an attention sink the first tile holds the maximum, and the bug sleeps.
# **Fix:** test with the peak in every tile.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **True in a mask.** Here and in `scaled_dot_product_attention` it means *may look*, in `nn.MultiheadAttention` the opposite.
# > - **Stored weights.** `nn.MultiheadAttention` stacks $W_Q^\top, W_K^\top, W_V^\top$ in `in_proj_weight`; it wants time first unless `batch_first=True`, and returns weights averaged over heads unless told otherwise.
# > - **Head width.** $d_k = d / H$ is a habit: in DeepSeek-V3 $H d_k$ is 16,384 and $d$ is 7,168. The scale uses the width of one head, in MLA $d_k + d_r$.
# > - **Groups.** $G$ counts key heads (`num_key_value_heads`), not heads in a group.
# > - **Flash is exact.** Sparse and linear attention compute something else; FlashAttention computes the same, in another order.
# > - **Logarithm.** $\lambda$ is natural here; kernels often work with powers of 2.

# %% tags=["test"]
def test_failures():
    rng = np.random.default_rng(10)
    z = rng.normal(size=(2, 5, 6))
    assert np.array_equal(merge(split(z, 3)), z)
    assert np.array_equal(split(z, 3)[1, 2, 4], z[1, 4, 4:])
    assert not np.array_equal(wrong_split(z, 3), split(z, 3))
    for peak in range(12):
        s, V = rng.normal(size=12), rng.normal(size=(12, 3))
        s[peak] = 6.0
        want = masked_softmax(s) @ V
        assert np.allclose(one_row(s, V, 4, True), want, atol=1e-12)
        assert np.allclose(one_row(s, V, 4, False), want, atol=1e-12) == (peak < 4)


# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): as many heads as columns
#
# A model has $H d_k = H d_v = d$ and biases nowhere.
# How many weights has the layer for $H = 1$ and for $H = d$?
# What can a head of width 1 not do?

# %% [markdown] tags=["solution"]
# $4d^2$ in both cases.
# With $d_k = 1$ a score is $q k$, a product of two numbers.
# A query with $q > 0$ ranks the keys by $k$, one with $q < 0$ in reverse, and $q = 0$ makes all equal.
# Only the largest or the smallest key can win: among three distinct keys the middle one is never a favourite, whatever the query.

# %% [markdown]
# ### Exercise 2 (check): the hand example with one key head
#
# In the hand example, let both query heads use the keys and values of head 1.
# Compute the output with pencil and paper, shape $(3, 2)$.


# %%
def shared_by_hand() -> np.ndarray:
    """Output (3, 2) of the hand example as MQA."""
    ### BEGIN SOLUTION
    # Both heads give 4 to tokens 1 and 3, 10/3 to token 2; W_O: (a, a) -> (a, 3a).
    return np.array([[4, 12], [10 / 3, 10], [4, 12]])
    ### END SOLUTION


# %% tags=["test"]
def test_shared_by_hand():
    X = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    P = {"W_q": np.log(2) * np.array([[1.0, 1.0], [0.0, 0.0]]),
         "W_k": np.array([[0.0], [1.0]]), "W_v": np.array([[0.0], [5.0]]),
         "W_o": np.array([[1.0, 2.0], [0.0, 1.0]])}
    assert np.allclose(shared_by_hand(), multi_head(X, X, P, 2, 1)[0][0], atol=1e-12)


# %% [markdown]
# ### Exercise 3 (apply): join two halves
#
# Two machines each hold some of the keys, at least one, and return an output and a $\lambda$ for each query.
# Join them into the output and $\lambda$ over all keys.


# %%
def join(O_1: np.ndarray, lam_1: np.ndarray, O_2: np.ndarray,
         lam_2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (n, d_v) and lam (n,) of two sets of keys: those of their union."""
    ### BEGIN SOLUTION
    lam = np.logaddexp(lam_1, lam_2)
    w_1, w_2 = np.exp(lam_1 - lam), np.exp(lam_2 - lam)
    return w_1[:, None] * O_1 + w_2[:, None] * O_2, lam
    ### END SOLUTION


# %% tags=["test"]
def test_join():
    rng = np.random.default_rng(11)
    for trial in range(20):
        S, V = rng.normal(size=(4, 9)) * 10 ** (trial % 3), rng.normal(size=(9, 3))
        S = S + (1000.0 if trial == 4 else 0.0)  # exp alone would overflow
        cut, halves = int(rng.integers(1, 9)), []
        for part in (slice(0, cut), slice(cut, 9)):
            lam = np.logaddexp.reduce(S[:, part], axis=1)
            halves += [masked_softmax(S[:, part]) @ V[part], lam]
        O, lam = join(*halves)
        assert np.allclose(O, masked_softmax(S) @ V, atol=1e-10)
        assert np.allclose(lam, np.logaddexp.reduce(S, axis=1), atol=1e-10)


# %% [markdown]
# ### Exercise 4 (apply): how much does a head matter?
#
# Multiply each $O_h$ by a gate $\xi_h = 1$.
# Return $\partial L / \partial \xi_h$, whose size is the head importance of @michel2019sixteen.


# %%
def gate_gradients(dy: np.ndarray, P: dict, saved: tuple, heads: int) -> np.ndarray:
    """Gradients (heads,) of the loss for gates on the heads; `saved` of multi_head."""
    ### BEGIN SOLUTION
    O, dO = split(saved[6], heads), split(dy @ P["W_o"].T, heads)
    return (O * dO).sum(axis=(0, 2, 3))
    ### END SOLUTION


# %% tags=["test"]
def test_gate_gradients():
    rng = np.random.default_rng(12)
    for heads, kv_heads in [(4, 2), (3, 3), (5, 1)]:
        x, source, P = random_layer(rng, heads, kv_heads)
        Y, saved = multi_head(x, source, P, heads, kv_heads)
        dy = rng.normal(size=Y.shape)
        got = gate_gradients(dy, P, saved, heads)
        for h in range(heads):  # the loss is linear in a gate: close it
            closed = P["W_o"].reshape(heads, -1, 9).copy()
            closed[h] = 0.0
            gated, _ = multi_head(x, source, P | {"W_o": closed.reshape(-1, 9)},
                                  heads, kv_heads)
            assert np.isclose(got[h], (dy * (Y - gated)).sum(), atol=1e-9)


# %% [markdown]
# ### Exercise 5 (apply): from many key heads to few
#
# Turn multi-head weights into GQA weights by averaging the key and value heads of each group; there are no biases.


# %%
def pool_heads(P: dict, heads: int, kv_heads: int) -> dict:
    """Weights with `kv_heads` key and value heads; P has `heads` and stays as it is."""
    ### BEGIN SOLUTION
    new = dict(P)
    for n in ("W_k", "W_v"):
        W = P[n].reshape(len(P[n]), kv_heads, heads // kv_heads, -1)
        new[n] = W.mean(axis=2).reshape(len(W), -1)
    return new
    ### END SOLUTION


# %% tags=["test"]
def test_pool_heads():
    rng = np.random.default_rng(13)
    for heads, kv_heads in [(6, 2), (4, 4), (6, 3), (4, 1)]:
        x, source, P = random_layer(rng, heads, kv_heads)
        full = dict(P)
        for n in ("W_k", "W_v"):  # heads around the group's mean
            parts = np.split(P[n], kv_heads, axis=1)
            share = heads // kv_heads
            noise = rng.normal(size=(kv_heads, share, *parts[0].shape))
            noise -= noise.mean(axis=1, keepdims=True)
            full[n] = np.hstack([w + e for w, es in zip(parts, noise) for e in es])
        pooled = pool_heads(full, heads, kv_heads)
        for n in P:
            assert np.allclose(pooled[n], P[n], atol=1e-12)


# %% [markdown]
# ### Exercise 6 (explore): an induction head by hand
#
# Predict the next token of a sequence that repeats itself, with two attentions and no training.
# The first lets each token fetch the one before it; the second looks for tokens whose *predecessor* equals the present token.
# What should it do when the present token has not occurred before?


# %%
def induction(ids: np.ndarray, vocabulary: int, sharp: float = 50.0) -> np.ndarray:
    """Predictions (T, vocabulary) of the next token of ids (T,), as weights."""
    ### BEGIN SOLUTION
    E, T = np.eye(vocabulary)[ids], len(ids)
    back = np.arange(T)[:, None] - np.arange(T)
    previous = masked_softmax(np.zeros((T, T)), back == 1) @ E  # a head by position
    return masked_softmax(sharp * E @ previous.T, back >= 0) @ E  # a head by content
    ### END SOLUTION


# %% tags=["test"]
def test_induction():
    rng = np.random.default_rng(14)
    for _ in range(20):
        vocabulary = int(rng.integers(5, 12))
        word = rng.permutation(vocabulary)[: int(rng.integers(2, 6))]
        ids = np.tile(word, 3)
        guess = induction(ids, vocabulary)
        assert guess.shape == (len(ids), vocabulary)
        later = np.arange(len(word), len(ids) - 1)  # second time on
        assert (guess[later].argmax(axis=1) == ids[later + 1]).all()
        early = guess[: len(word)].copy()
        changed = ids.copy()
        changed[len(word):] = 0
        assert np.allclose(induction(changed, vocabulary)[: len(word)], early)


# %% [markdown] tags=["solution"]
# Nothing matches at first, all scores are equal, and the head averages what it has seen: a bet on frequent tokens.
# A trained model would rather park that weight on a sink.
# Two layers are needed: the second head's keys are the first head's output [@elhage2021mathematical; @olsson2022context].

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Heads | $\sum_h A_h X W_V^{(h)} W_O^{(h)}$ | `split`, attend, `merge` | every transformer layer |
# | GQA, MQA | $2 L G d_k$ numbers a token | `multi_head(..., heads, kv_heads)` | Llama, Mistral |
# | MLA | $L (d_c + d_r)$ numbers a token | `(q @ up_k.T) @ c.T` | DeepSeek |
# | Online softmax | $u' = u e^{\mu - \mu'} + \sum e^{s - \mu'} v$ | `flash_forward` | fused kernels |
# | Recomputation | $A = e^{S - \lambda}$ | `flash_backward` | training |
# | Head importance | $\partial L / \partial \xi_h = \sum O_h \odot dO_h$ | `gate_gradients` | pruning |
#
# **The essential insight:** one softmax gives one average, and a token that needs two things loses half of both. Several narrow heads cost the same and ask several questions. What they cost is memory, and every later idea attacks that: share the keys (GQA), store a latent that they can be made from (MLA), or never write the weights down (FlashAttention). Each is an exact rearrangement of the same sums or a smaller version of the same matrices, and you can prove which.
