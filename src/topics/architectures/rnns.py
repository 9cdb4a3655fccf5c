# ---
# title: Recurrent networks
# summary: One cell, applied at every step, with a state for a memory.
# prerequisites:
#   - architectures/cnns: sharing weights across positions, recalled below in a few lines
#   - neural-networks/backpropagation: gradients through a graph, and why they add
# notebooks: [05-rnn-from-scratch]
# packages: [numpy, matplotlib, torch]
# ---

# %% [markdown]
# # Recurrent networks
#
# $$
# \boxed{
# h_t = \tanh\left( x_t W_x + h_{t-1} W_h + b \right),
# \quad
# \frac{\partial L}{\partial h_{t-1}} \leftarrow \frac{\partial L}{\partial h_{t-1}} + \left( \frac{\partial L}{\partial h_t} \odot (1 - h_t^2) \right) W_h^\top
# }
# $$
#
# $x_1, \dots, x_T$ is a sequence of inputs, rows in $\mathbb{R}^{d_\text{in}}$.
# The *state* $h_t \in \mathbb{R}^{d}$ is all that the network knows after step $t$, and $h_0$ is usually zero.
# $W_x \in \mathbb{R}^{d_\text{in} \times d}$, $W_h \in \mathbb{R}^{d \times d}$ and the bias $b \in \mathbb{R}^{d}$ are the same at every step.
# The second formula sends the gradient of the loss $L$ one step back in time, and adds it to what $h_{t-1}$ receives directly.
#
# One small set of weights reads sequences of any length [@elman1990finding], and the second formula, repeated, is why it forgets.

# %% [markdown]
# ## 1. Core concept: one cell, many steps
#
# ### A weight for each position knows nothing of the next
#
# To read a sequence you could give a [multilayer network](../neural-networks/multilayer-networks.py) all positions side by side.
# Then each position has weights of its own, and what is learnt at one is unknown at the others.
# Test it with the simplest question about a text: does it contain the symbol 7?
# Sequences have 8 symbols from 0 to 9.
# In training the 7 stands in the first half if there is one, in the test in the second.

# %%
import matplotlib.pyplot as plt
import numpy as np


def draw_sevens(n: int, half: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n sequences (n, 8), and whether they hold a 7, which then stands in that half."""
    ids = rng.choice([0, 1, 2, 3, 4, 5, 6, 8, 9], size=(n, 8))
    has = rng.random(n) < 0.5
    at = rng.integers(4, size=n) + 4 * half
    ids[has, at[has]] = 7
    return ids, has


def fit_line(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares weights (d + 1,) for targets of -1 and 1, with a bias."""
    A = np.column_stack([features, np.ones(len(y))])
    return np.linalg.lstsq(A, 2.0 * y - 1)[0]


def line_accuracy(w: np.ndarray, features: np.ndarray, y: np.ndarray) -> float:
    return float(((features @ w[:-1] + w[-1] > 0) == y).mean())


rng = np.random.default_rng(0)
(train_ids, train_y), (test_ids, test_y) = (draw_sevens(4000, h, rng) for h in (0, 1))
accuracy = {}
for name, shape in (("weights for each position", (-1, 80)), ("shared weights", (-1, 8, 10))):
    seen = [np.eye(10)[ids].reshape(shape) for ids in (train_ids, test_ids)]
    if len(shape) == 3:
        seen = [x.sum(axis=1) for x in seen]  # the same weights at all positions, added
    w = fit_line(seen[0], train_y)
    accuracy[name] = line_accuracy(w, seen[1], test_y)
    print(f"{name:26} training {line_accuracy(w, seen[0], train_y):.2f}, "
          f"test {accuracy[name]:.2f}")

# %% [markdown]
# **What the code shows:** both learn their training half, and with weights for each position the test half is a guess: `{python} f"{accuracy['weights for each position']:.2f}"`.
# Shared weights carry over.
# That is the idea of [convolutional networks](cnns.py), which slide one small filter over all positions.
# But a sum forgets order: "dog bites man" and "man bites dog" are the same.
# Share the weights *and* keep order: let the cell see its own last output.
#
# ### The recurrence
#
# At each step the cell mixes the new input with its state, and bends the result so that it stays between $-1$ and 1: the first formula of the box.
# Unrolled in time it is a deep network, one layer for each step, with the same weights in all layers.
#
# **What this means:** $h_t$ is a summary of $x_1, \dots, x_t$, of a fixed size, rewritten at every step.
# Nothing says what the summary should hold; [training](../training/loss-functions.py) decides.
#
# What you read off depends on the task: the last state for one answer about a text, every state for an answer at every step.
# A *language model* does the second, with logits $s_t = h_t W_o + b_o$ for the next token, so it is trained on $T$ predictions at once.
#
# **By hand.** Numbers instead of vectors: $W_x = 1$, $W_h = 0.5$, $b = 0$, and the inputs $1, 0, 0$.
# Then $h_1 = \tanh 1 = 0.762$, $h_2 = \tanh 0.381 = 0.363$ and $h_3 = \tanh 0.182 = 0.180$: an echo.
# How much does $h_3$ depend on $h_1$?
# Each step back multiplies by $(1 - h_t^2) W_h$: first $(1 - 0.180^2) \cdot 0.5 = 0.484$, then $(1 - 0.363^2) \cdot 0.5 = 0.434$, together $0.210$.
#
# | name | symbol | shape |
# |---|---|---|
# | inputs | $X$ | $(B, T, d_\text{in})$ |
# | states | $H$ | $(B, T, d)$ |
# | first state | $h_0$ | $(B, d)$ |
# | weights | $W_x$, $W_h$, $b$ | $(d_\text{in}, d)$, $(d, d)$, $(d,)$ |
#
# ### In code

# %%
def rnn_forward(X: np.ndarray, P: dict, h0: np.ndarray | None = None) -> np.ndarray:
    """States (B, T, d) for inputs X (B, T, d_in); P holds W_x, W_h, b."""
    B, T, _ = X.shape
    h = np.zeros((B, len(P["b"]))) if h0 is None else h0
    H = np.empty((B, T, len(P["b"])))
    for t in range(T):
        h = np.tanh(X[:, t] @ P["W_x"] + h @ P["W_h"] + P["b"])
        H[:, t] = h
    return H


def rnn_backward(
    dH: np.ndarray, X: np.ndarray, H: np.ndarray, P: dict, h0: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, dict]:
    """From dH (B, T, d), what each state receives directly: dX, dh0 and dP."""
    B, T, d = H.shape
    h0 = np.zeros((B, d)) if h0 is None else h0
    dX, dP = np.empty_like(X), {name: np.zeros_like(W) for name, W in P.items()}
    dh = np.zeros((B, d))
    for t in reversed(range(T)):
        dz = (dH[:, t] + dh) * (1 - H[:, t] ** 2)  # through the tanh
        before = H[:, t - 1] if t > 0 else h0
        dP["W_x"] += X[:, t].T @ dz
        dP["W_h"] += before.T @ dz
        dP["b"] += dz.sum(axis=0)
        dX[:, t] = dz @ P["W_x"].T
        dh = dz @ P["W_h"].T  # one step back in time
    return dX, dh, dP


def random_cell(d_in: int, d: int, rng: np.random.Generator) -> dict:
    """Random weights of a cell."""
    return {"W_x": rng.normal(size=(d_in, d)) / np.sqrt(d_in),
            "W_h": rng.normal(size=(d, d)) / np.sqrt(d), "b": np.zeros(d)}


hand = {"W_x": np.array([[1.0]]), "W_h": np.array([[0.5]]), "b": np.zeros(1)}
echo = np.array([[[1.0], [0.0], [0.0]]])
H = rnn_forward(echo, hand)
assert np.allclose(H[0, :, 0], [0.762, 0.363, 0.180], atol=5e-4)
dH = np.zeros((1, 3, 1))
dH[0, 2] = 1.0  # the loss is h_3
_, _, dP = rnn_backward(dH, echo, H, hand)
back = (1 - H[0, 2] ** 2) * 0.5 * (1 - H[0, 1] ** 2) * 0.5
assert np.allclose(back, 0.210, atol=5e-4)
print("states", H[0, :, 0].round(3), " dh_3 / dh_1 =", back.round(3))

X = np.random.default_rng(1).normal(size=(2, 7, 3))
assert rnn_forward(X, random_cell(3, 5, np.random.default_rng(2))).shape == (2, 7, 5)

# %% [markdown]
# **What the code shows:** the forward loop is one line, the backward loop is the box and the usual three gradients of a linear layer.
# Because $W_h$ is used at every step, its gradient is a *sum* over steps: weights shared in time receive all messages.
# This is *backpropagation through time* [@werbos1990backpropagation], ordinary [backpropagation](../neural-networks/backpropagation.py) on the unrolled graph; the tests compare it with `torch.nn.RNN`.
#
# If you stop here, you have the picture: *one cell, a state, and a gradient that walks back step by step*.

# %% tags=["test"]
def random_problem(rng):
    """A cell, inputs, a first state and gradients from above, all sizes different."""
    B, T, d_in, d = rng.permutation(np.arange(1, 8))[:4]
    P = random_cell(d_in, d, rng)
    P["b"] = rng.normal(size=d)
    return P, rng.normal(size=(B, T, d_in)), rng.normal(size=(B, d)), rng.normal(
        size=(B, T, d))


def check_torch(P, X, h0, dH):
    """Forward and backward against torch.nn.RNN, whose weights are transposed."""
    import torch

    rnn = torch.nn.RNN(X.shape[2], len(P["b"]), batch_first=True).double()
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(torch.from_numpy(P["W_x"].T))
        rnn.weight_hh_l0.copy_(torch.from_numpy(P["W_h"].T))
        rnn.bias_ih_l0.copy_(torch.from_numpy(P["b"]))
        rnn.bias_hh_l0.zero_()  # PyTorch has two biases, which only add up
    x, h = (torch.from_numpy(a).requires_grad_() for a in (X, h0[None]))
    want, last = rnn(x, h)
    H = rnn_forward(X, P, h0)
    assert np.allclose(H, want.detach().numpy(), atol=1e-13)
    assert np.allclose(H[:, -1], last[0].detach().numpy(), atol=1e-13)
    want.backward(torch.from_numpy(dH))
    dX, dh0, dP = rnn_backward(dH, X, H, P, h0)
    pairs = [(dX, x.grad), (dh0, h.grad[0]), (dP["W_x"], rnn.weight_ih_l0.grad.T),
             (dP["W_h"], rnn.weight_hh_l0.grad.T), (dP["b"], rnn.bias_ih_l0.grad)]
    for ours, theirs in pairs:
        assert ours.shape == tuple(theirs.shape)
        assert np.allclose(ours, theirs.numpy(), atol=1e-11)


def test_rnn_is_torchs():
    rng = np.random.default_rng(3)
    for _ in range(25):
        check_torch(*random_problem(rng))
    P, X, h0, dH = random_problem(rng)
    check_torch(P, 1e3 * X, h0, dH)  # saturated
    check_torch(P, X[:, :1], h0, dH[:, :1])
    zero = rnn_forward(X, P)
    assert np.array_equal(zero, rnn_forward(X, P, np.zeros_like(h0)))
    for ours, theirs in zip(rnn_backward(dH, X, zero, P)[:2],
                            rnn_backward(dH, X, zero, P, np.zeros_like(h0))[:2]):
        assert np.array_equal(ours, theirs)


def test_states_are_causal_and_shared():
    rng = np.random.default_rng(4)
    for _ in range(20):
        P, X, h0, _ = random_problem(rng)
        T = X.shape[1]
        H = rnn_forward(X, P, h0)
        cut = rng.integers(0, T)
        changed = X.copy()
        changed[:, cut:] += 1
        assert np.array_equal(rnn_forward(changed, P, h0)[:, :cut], H[:, :cut])
        if 0 < cut < T:  # stopping and going on is the same as going through
            rest = rnn_forward(X[:, cut:], P, H[:, cut - 1])
            assert np.allclose(rest, H[:, cut:], atol=1e-14)


def test_sevens_and_line():
    rng = np.random.default_rng(5)
    for half in (0, 1):
        ids, has = draw_sevens(500, half, rng)
        inside = (ids == 7)[:, 4 * half : 4 * half + 4]
        assert ids.shape == (500, 8) and np.array_equal(inside.sum(axis=1), has)
        assert (ids == 7).sum() == has.sum() and 0.4 < has.mean() < 0.6
        assert len(np.unique(ids)) == 10 and inside.any(axis=0).all()
    w = fit_line(np.array([[1.0], [2.0], [5.0], [6.0]]), np.array([0, 0, 1, 1]))
    assert np.allclose(w, [8 / 17, -28 / 17])
    assert line_accuracy(np.array([1.0, -3.0]), np.array([[1.0], [3.0], [4.0]]),
                         np.array([False, True, True])) == 2 / 3


def test_random_cell():
    P = random_cell(400, 300, np.random.default_rng(6))
    assert 0.045 < P["W_x"].std() < 0.055 and 0.055 < P["W_h"].std() < 0.061
    assert P["W_x"].shape == (400, 300) and not P["b"].any()


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Why it forgets: a product of matrices
#
# Follow the gradient of one loss from step $T$ back to step $t$.
# The box, repeated, gives
#
# $$
# \frac{\partial h_T}{\partial h_t} = \prod_{k=t+1}^{T} W_h \, \text{diag}(1 - h_k^2),
# \quad
# \left\lVert \frac{\partial h_T}{\partial h_t} \right\rVert \le \left( \sigma_{\max} \, \gamma \right)^{T - t}
# $$
#
# (read as a map of rows from $h_t$ to $h_T$), where $\sigma_{\max}$ is the largest singular value of $W_h$ and $\gamma \le 1$ the largest slope of the tanh on the way.
# The bound holds because a product of matrices stretches a vector by at most the product of their largest singular values.
#
# **What this means:** if $\sigma_{\max} \gamma \lt 1$, the influence of the past *must* shrink exponentially: *vanishing gradients* [@hochreiter1991untersuchungen; @bengio1994learning].
# If $W_h$ is larger, gradients *can* grow exponentially: *exploding gradients* [@pascanu2013difficulty].
# [Eigenvalues](../math-foundations/linear-algebra.py) say which: powers of a matrix grow or shrink like its largest one, the *spectral radius*.
# The tanh brakes an explosion, since large states have small slopes, and cannot mend a decay.

# %%
def with_radius(d: int, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A random matrix (d, d) whose largest eigenvalue has this size."""
    W = rng.normal(size=(d, d))
    return W * radius / np.abs(np.linalg.eigvals(W)).max()


def gradient_norms(P: dict, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Norm of dL/dh_t for t = T, ..., 1, where L is a random projection of h_T.

    X has shape (1, T, d_in); relative to the norm at t = T.
    """
    H = rnn_forward(X, P)
    dh = rng.normal(size=(1, H.shape[2]))
    norms = [np.linalg.norm(dh)]
    for t in reversed(range(1, X.shape[1])):
        dh = (dh * (1 - H[:, t] ** 2)) @ P["W_h"].T
        norms.append(np.linalg.norm(dh))
    return np.array(norms) / norms[0]


# %%
#| label: fig-vanish
#| fig-cap: Size of the gradient that arrives at a state, against the distance to the loss, for random cells of width 64 with small random inputs and four spectral radii. Lines are geometric means over 10 cells, bands from the smallest to the largest.
#| fig-alt: "On a logarithmic axis four lines leave one point. Radius 0.5 falls by eighteen powers of ten in a straight line, 0.9 and 1.0 fall slowly, and 1.5 stays level and rises at the far end."
RADII, T, d = (0.5, 0.9, 1.0, 1.5), 60, 64
norms = {}
for radius in RADII:
    runs = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        P = random_cell(4, d, rng) | {"W_h": with_radius(d, radius, rng)}
        runs.append(gradient_norms(P, 0.1 * rng.normal(size=(1, T, 4)), rng))
    norms[radius] = np.array(runs)
fig, ax = plt.subplots(figsize=(5.8, 3.4))
for (radius, runs), style in zip(norms.items(), ("-", "--", "-.", ":")):
    ax.semilogy(np.exp(np.log(runs).mean(axis=0)), style, label=f"radius {radius}")
    ax.fill_between(range(T), runs.min(axis=0), runs.max(axis=0), alpha=0.15)
ax.set(xlabel="steps back in time", ylabel="relative size of the gradient")
ax.legend(fontsize=8, ncols=2)
kept = {radius: np.exp(np.log(runs[:, 20]).mean()) for radius, runs in norms.items()}
print({radius: f"{value:.1e}" for radius, value in kept.items()}, "after 20 steps")

# %% [markdown]
# **What the code shows:** after 20 steps a radius of 0.5 has left `{python} f"{kept[0.5]:.0e}"` of the gradient, 0.9 `{python} f"{kept[0.9]:.2f}"` and 1.0, which loses to the tanh, `{python} f"{kept[1.0]:.2f}"` (@fig-vanish).
# At 1.5 it hardly grows either, except near the first steps, where states are still small: larger states have smaller slopes, which brake the explosion.
# The gradient of the *weights* is a sum over all distances, so a vanishing part is not small: it is drowned by the near past.
# The network learns what happened just now.
#
# ### What helps
#
# - **Clipping.** Scale the gradient down when its norm exceeds a threshold; the direction stays ([optimizers](../training/optimizers.py)). It cures explosions only.
# - **Initialisation.** An *orthogonal* $W_h$ keeps every length, so that at first only the slopes shrink the gradient [@saxe2014exact; @arjovsky2016unitary]; the identity with ReLUs is a cousin [@le2015simple].
# - **Another cell.** Add to the state instead of rewriting it, with gates that decide: [LSTMs](lstms.py), the remedy that lasted.
# - **Another path.** [Attention](../transformers/attention.py) reads all states directly, one step from anywhere to anywhere.
#
# ### Experiment: how far back can it learn?
#
# **Question.** A symbol is shown first, then nothing but noise, and after $n$ steps the network must name it. Up to which $n$ is this learnt, and does an orthogonal start help?
#
# **Prediction.** With a random $W_h$ of radius 0.9 the signal fades by `{python} f"{kept[0.9]:.2f}"` in 20 steps, so delays beyond that should fail; with an orthogonal start they should not.
#
# The cell has 32 units, the symbol is one of 4, and each step of Adam sees 32 fresh sequences with the gradient clipped at norm 1: 300 steps, five seeds, rate 0.003.
# The control has the random matrix scaled to the orthogonal one's radius of 1: if only the radius mattered, it would do as well.

# %%
def orthogonal(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal matrix (d, d)."""
    Q, R = np.linalg.qr(rng.normal(size=(d, d)))
    return Q * np.sign(np.diag(R))


def softmax_loss(s: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy of logits s (B, K) with classes y (B,), and its gradient."""
    s = s - s.max(axis=1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    rows = np.arange(len(y))
    ds = np.exp(log_p)
    ds[rows, y] -= 1
    return float(-log_p[rows, y].mean()), ds / len(y)


def recall_batch(n: int, B: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, n + 1, 4): a one-hot symbol, then n steps of noise; the symbols (B,)."""
    y = rng.integers(4, size=B)
    X = 0.1 * rng.normal(size=(B, n + 1, 4))
    X[:, 0] = np.eye(4)[y]
    return X, y


def train_recall(start: str, n: int, seed: int, steps: int = 300, lr: float = 0.003) -> float:
    """Accuracy on 500 new sequences after training with delay n."""
    rng, d = np.random.default_rng(seed), 32
    P = random_cell(4, d, rng)
    P["W_h"] = (orthogonal(d, rng) if start == "orthogonal"
                else with_radius(d, {"random 0.9": 0.9, "random 1.0": 1.0}[start], rng))
    P["W_o"] = rng.normal(size=(d, 4)) / np.sqrt(d)
    m, v = ({name: np.zeros_like(W) for name, W in P.items()} for _ in range(2))
    for t in range(1, steps + 1):
        X, y = recall_batch(n, 32, rng)
        H = rnn_forward(X, P)
        _, ds = softmax_loss(H[:, -1] @ P["W_o"], y)
        dH = np.zeros_like(H)
        dH[:, -1] = ds @ P["W_o"].T
        cell = {name: P[name] for name in ("W_x", "W_h", "b")}
        G = rnn_backward(dH, X, H, cell)[2] | {"W_o": H[:, -1].T @ ds}
        norm = np.sqrt(sum((g**2).sum() for g in G.values()))
        for name, g in G.items():  # Adam, with the clipped gradient
            g = g * min(1.0, 1.0 / norm)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.99 * v[name] + 0.01 * g**2
            P[name] = P[name] - lr * m[name] / (1 - 0.9**t) / (
                np.sqrt(v[name] / (1 - 0.99**t)) + 1e-8)
    X, y = recall_batch(n, 500, rng)
    return float(((rnn_forward(X, P)[:, -1] @ P["W_o"]).argmax(axis=1) == y).mean())


# %%
#| label: fig-recall
#| fig-cap: Accuracy of naming the first symbol after a delay, for three kinds of initial recurrent matrix. Lines are means over five seeds, bands from the smallest to the largest; dotted, a guess.
#| fig-alt: All three starts succeed at short delays. The random matrix of radius 0.9 falls towards the dotted line first, the orthogonal start stays near one the longest.
DELAYS = (5, 20, 40, 60)
STARTS = ("random 0.9", "random 1.0", "orthogonal")
recall = {start: np.array([[train_recall(start, n, seed) for n in DELAYS]
                           for seed in range(5)]) for start in STARTS}
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for (start, runs), style in zip(recall.items(), ("o-", "s--", "^-.")):
    ax.plot(DELAYS, runs.mean(axis=0), style, label=start)
    ax.fill_between(DELAYS, runs.min(axis=0), runs.max(axis=0), alpha=0.15)
ax.axhline(0.25, color="0.5", linestyle=":", linewidth=1)
ax.set(xlabel="delay in steps", ylabel="accuracy", ylim=(0, 1.05), xticks=DELAYS)
ax.legend(fontsize=8)
for start, runs in recall.items():
    print(f"{start:11}", {n: f"{a:.2f}" for n, a in zip(DELAYS, runs.mean(axis=0))})

# %% tags=["test", "experiment"]
def test_recall_conclusions():
    assert recall["orthogonal"].min() > 0.95
    for start in ("random 0.9", "random 1.0"):
        assert recall[start][:, 0].min() > 0.95  # five steps back are learnt by all
        assert recall[start][:, -1].mean() < 0.8


# %% [markdown]
# **What the code shows:** at delays of 20 and 60 the averages are as predicted, and the spread is the lesson (@fig-recall).
# From an orthogonal start every seed recalls 60 steps back, accuracy at least `{python} f"{recall['orthogonal'].min():.2f}"`.
# The random start of radius 0.9 reaches `{python} f"{recall['random 0.9'][:, 1].mean():.2f}"` on average at a delay of 20 and `{python} f"{recall['random 0.9'][:, -1].mean():.2f}"` at 60, but single seeds range from `{python} f"{recall['random 0.9'][:, -1].min():.2f}"` to `{python} f"{recall['random 0.9'][:, -1].max():.2f}"`: what vanishes on average is sometimes found all the same.
# The control with radius 1 is at `{python} f"{recall['random 1.0'][:, 1].mean():.2f}"` for 20 steps and fails at 60 too (`{python} f"{recall['random 1.0'][:, -1].mean():.2f}"`), so it is not the radius alone. A likely reason: a random matrix has one eigenvalue of that size, or a conjugate pair, an orthogonal one has only such.
# One rate and 300 steps were tried; longer training would move the curves, and a task with distractors would be harder for all three.

# %% [markdown]
# ### Truncation
#
# A book is one sequence; nobody unrolls it all.
# *Truncated* backpropagation cuts it into pieces of $k$ steps, carries the state from piece to piece, and lets no gradient through the cuts (in PyTorch, `h.detach()`).
# Forward, the memory reaches as far as the state does; backward, nothing older than $k$ steps is ever credited.
# Exercise 4 writes it.
#
# ### Deep and both ways
#
# Cells stack: the states of one layer are the inputs of the next.
# And if the whole sequence is there in advance, a second cell can read it backwards, and the two states are put side by side: a *bidirectional* network [@schuster1997bidirectional], which tagged and encoded text until [BERT](../transformers/bert.py).
#
# ### What a step costs
#
# $$
# N = d_\text{in} d + d^2 + d,
# \quad
# \text{FLOPs per step} \approx 2 (d_\text{in} + d) \, d
# $$
#
# | | recurrent layer | [self-attention](../transformers/self-attention.py) layer |
# |---|---|---|
# | FLOPs for $T$ tokens of width $d$, without projections of attention | $4 T d^2$ | $4 T^2 d$ |
# | steps that must wait for each other | $T$ | 1 |
# | steps from token to token | up to $T$ | 1 |
# | memory while generating | $d$ numbers | $2 T d$ numbers |
#
# **What this means:** the recurrent layer is cheap and its memory constant, but it must be computed one step after the other; on hardware that does thousands of things at once this decided the matter in 2017 [@vaswani2017attention].

# %%
def cell_parameters(d_in: int, d: int) -> int:
    """Weights and biases of one cell."""
    return d_in * d + d * d + d


# Elman's network for simple sentences, 1990: vectors of 31 numbers in and out, 150 units
elman = cell_parameters(31, 150) - 150 + 150 * 31  # without biases
assert elman == 31_800
print(f"Elman 1990: {elman:,} weights between units")

# %% [markdown]
# ### Without the tanh: recurrences in parallel
#
# Drop the bend and let the state decay entry by entry: $h_t = a_t \odot h_{t-1} + u_t$.
# Two such steps are one step of the same form, $(a, u)$ then $(a', u')$ make $(a a', \, a' u + u')$.
# That combination is associative, so all prefixes can be computed in about $\log_2 T$ rounds, as prefix sums are; the simple form below does $T \log_2 T$ work in all, Blelloch's needs only a multiple of $T$ [@blelloch1990prefix].
# State-space models such as Mamba [@gu2023mamba] and their relatives build on this: recurrent when they write, parallel when they train.

# %%
def scan_sequential(a: np.ndarray, u: np.ndarray) -> np.ndarray:
    """h_t = a_t h_{t-1} + u_t for t = 0, 1, ...; a, u (T, d)."""
    h, H = np.zeros(a.shape[1]), np.empty_like(u)
    for t in range(len(a)):
        h = a[t] * h + u[t]
        H[t] = h
    return H


def scan_parallel(a: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, int]:
    """The same, in rounds that treat all t at once; also the number of rounds."""
    a, u, shift, rounds = a.copy(), u.copy(), 1, 0
    while shift < len(a):
        u[shift:] = a[shift:] * u[:-shift] + u[shift:]  # the right side is read first
        a[shift:] = a[shift:] * a[:-shift]
        shift, rounds = 2 * shift, rounds + 1
    return u, rounds


rng = np.random.default_rng(7)
a, u = rng.random((1000, 3)), rng.normal(size=(1000, 3))
parallel, rounds = scan_parallel(a, u)
assert np.allclose(parallel, scan_sequential(a, u), atol=1e-12)
print(f"1,000 steps in {rounds} rounds")

# %% [markdown]
# **What the code shows:** `{python} rounds` rounds instead of 1,000 steps, with the same result up to rounding.
# The price is the bend: between layers, no longer between steps.

# %% tags=["test"]
def test_radius_and_orthogonal():
    rng = np.random.default_rng(8)
    for d in (1, 2, 5, 9):
        for radius in (0.3, 1.0, 2.0):
            W = with_radius(d, radius, rng)
            assert np.isclose(np.abs(np.linalg.eigvals(W)).max(), radius)
        Q = orthogonal(d, rng)
        assert np.allclose(Q @ Q.T, np.eye(d), atol=1e-12)
    assert len({np.sign(orthogonal(1, rng))[0, 0] for _ in range(30)}) == 2


def test_gradient_norms():
    import torch

    rng = np.random.default_rng(9)
    for _ in range(20):
        P, X, _, _ = random_problem(rng)
        X, seed = X[:1], int(rng.integers(1000))
        norms = gradient_norms(P, X, np.random.default_rng(seed))
        top = np.random.default_rng(seed).normal(size=(1, len(P["b"])))
        h, states = torch.zeros(1, len(P["b"]), dtype=torch.float64), []
        for t in range(X.shape[1]):
            z = torch.from_numpy(X[:, t] @ P["W_x"] + P["b"])
            h = torch.tanh(z + h @ torch.from_numpy(P["W_h"])).requires_grad_()
            h.retain_grad()
            states.append(h)
        h.backward(torch.from_numpy(top))
        want = np.array([s.grad.norm().item() for s in reversed(states)])
        assert np.allclose(norms, want / want[0], rtol=1e-9)


def test_softmax_loss():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(10)
    for _ in range(20):
        B, K = rng.integers(1, 7, size=2)
        s, y = 5 * rng.normal(size=(B, K)), rng.integers(K, size=B)
        t = torch.from_numpy(s).requires_grad_()
        want = F.cross_entropy(t, torch.from_numpy(y))
        want.backward()
        loss, ds = softmax_loss(s, y)
        assert np.isclose(loss, want.item()) and np.allclose(ds, t.grad.numpy())
    assert softmax_loss(np.array([[0.0, 1e4]]), np.array([0]))[0] == 1e4


def test_recall_batch_and_training():
    X, y = recall_batch(6, 200, np.random.default_rng(11))
    assert X.shape == (200, 7, 4) and np.array_equal(X[:, 0], np.eye(4)[y])
    assert 0.09 < X[:, 1:].std() < 0.11 and set(y) == {0, 1, 2, 3}
    assert train_recall("orthogonal", 3, 0, steps=120) > 0.95
    assert train_recall("random 0.9", 3, 0, steps=120) > 0.9
    assert train_recall("random 1.0", 3, 0, steps=1) < 0.7


def test_scans():
    rng = np.random.default_rng(12)
    for T in (1, 2, 3, 7, 8, 9, 64, *rng.integers(1, 40, size=15)):
        a, u = rng.normal(size=(2, T, 3))
        before = a.copy(), u.copy()
        H, rounds = scan_parallel(a, u)
        want, h = [], np.zeros(3)
        for a_t, u_t in zip(a, u):
            h = a_t * h + u_t
            want.append(h)
        assert np.allclose(H, want, rtol=1e-9, atol=1e-9)
        assert np.allclose(scan_sequential(a, u), want)
        assert rounds == int(np.ceil(np.log2(T)))
        assert np.array_equal(a, before[0]) and np.array_equal(u, before[1])


def test_cell_parameters():
    import torch

    for d_in, d in ((3, 5), (1, 1), (7, 2)):
        rnn = torch.nn.RNN(d_in, d)
        n = sum(p.numel() for p in rnn.parameters())
        assert cell_parameters(d_in, d) == n - d  # PyTorch's second bias


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: the cliff
#
# Scale $W_h$ up a little and look at the gradient that arrives at the first state after 60 steps without inputs.
# The tanh is left out, as it is in effect while states are small.

# %%
rng = np.random.default_rng(13)
base, top = with_radius(32, 1.0, rng), rng.normal(size=32)
top = top / np.linalg.norm(top)
cliff = {}
for radius in (0.8, 1.0, 1.2, 1.4):
    arrived = top @ np.linalg.matrix_power(radius * base.T, 60)
    cliff[radius] = np.linalg.norm(arrived) / np.linalg.norm(top)
    clipped = arrived * min(1.0, 1.0 / np.linalg.norm(arrived))
    print(f"radius {radius}: gradient times {cliff[radius]:.0e}, "
          f"after clipping at 1: {np.linalg.norm(clipped):.0e}")

# %% [markdown]
# **Symptom:** the loss falls for a while, then jumps, often to NaN, in one step.
# **Cause:** a small change of $W_h$ changes the gradient by powers: from radius 1.0 to 1.4 it grows by `{python} f"{cliff[1.4] / cliff[1.0]:.0e}"` here.
# **Fix:** clip the norm and log it; a norm that is clipped at every step asks for a smaller rate. For a vanished gradient clipping does nothing, and scaling it up would scale up its rounding and its noise too.
#
# ### Failure mode 2: the state runs on through padding
#
# Two texts in one batch, of 3 and 6 tokens, the shorter one filled up with zeros.

# %%
rng = np.random.default_rng(14)
P = random_cell(3, 5, rng) | {"b": rng.normal(size=5)}
short, long = rng.normal(size=(1, 3, 3)), rng.normal(size=(1, 6, 3))
batch = np.zeros((2, 6, 3))
batch[0, :3], batch[1] = short[0], long[0]
H = rnn_forward(batch, P)
alone = rnn_forward(short, P)[0, -1]
off = np.abs(H[0, -1] - alone).max()
print(f"last column differs from the text alone by {off:.2f}; "
      f"at the last real token by {np.abs(H[0, 2] - alone).max():.0e}")

# %% [markdown]
# **Symptom:** a text's summary, and its classification, change with the lengths of the others in the batch.
# **Cause:** zero inputs still move the state, through $W_h$ and $b$.
# **Fix:** read the state at the last real token, `H[range(B), lengths - 1]`, or use PyTorch's packed sequences; read backwards, padding comes *first*, so a bidirectional network needs packing.
#
# ### Failure mode 3: time and batch exchanged
#
# `torch.nn.RNN` expects $(T, B, d_\text{in})$ unless you say `batch_first=True`, and accepts the other order without a word.

# %%
import torch

torch.manual_seed(0)
X = torch.randn(4, 6, 3)  # 4 texts of 6 tokens
other = X.clone()
other[0] += 1.0  # change text 0 only
moved = {}
for batch_first in (True, False):
    rnn = torch.nn.RNN(3, 5, batch_first=batch_first)
    with torch.no_grad():
        change = (rnn(other)[0] - rnn(X)[0]).abs().amax(dim=(1, 2))
    moved[batch_first] = [round(c, 2) for c in change.tolist()]
    print(f"batch_first={batch_first!s:5}: changing text 0 moves texts by {moved[batch_first]}")

# %% [markdown]
# **Symptom:** shapes fit, the loss falls a little, and the model is poor in a way no tuning mends.
# **Cause:** the network walks along the batch: text 0 is the past of text 1.
# **Fix:** test that texts do not touch each other, as above. It takes three lines.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Rows.** Here $h_{t-1} W_h$; papers write $W h_{t-1}$, PyTorch stores that transposed $W$.
# > - **Two biases.** `nn.RNN` has `bias_ih` and `bias_hh`, which only ever act as their sum.
# > - **Output or state.** In PyTorch the first result holds the states of the top layer at all steps, the second the last states of all layers.
# > - **Layers.** A cell unrolled over $T$ steps is one layer; "3-layer RNN" stacks three.
# > - **Elman or Jordan.** Elman's cell feeds back its state, Jordan's its output. "RNN" nearly always means Elman's.
# > - **BPTT** is backpropagation, not another algorithm.
#
# ## Exercises
#
# ### Exercise 1 (check): two steps back by hand
#
# A linear cell, without the tanh, on numbers: $h_t = x_t w + h_{t-1} u$, $h_0 = 0$, inputs $x = (2, 3)$, $w = 1$, $u = 0.5$, and the loss is $h_2$.
# Return $h_2$, $\partial h_2 / \partial w$ and $\partial h_2 / \partial u$.


# %%
def two_steps() -> tuple[float, float, float]:
    """h_2 and its derivatives with respect to w and u."""
    ### BEGIN SOLUTION
    return 3 + 2 * 0.5, 3 + 2 * 0.5, 2.0
    ### END SOLUTION


# %% tags=["test"]
def test_two_steps():
    def h2(w, u):
        return 3 * w + 2 * w * u

    got, e = two_steps(), 1e-6
    assert np.allclose(got, [h2(1, 0.5), (h2(1 + e, 0.5) - h2(1 - e, 0.5)) / (2 * e),
                             (h2(1, 0.5 + e) - h2(1, 0.5 - e)) / (2 * e)])


# %% [markdown] tags=["solution"]
# $h_2 = 3w + 2wu$. The derivative to $w$ has two parts, one for each use of $w$: 3 directly and $2u$ through $h_1$. The derivative to $u$ is $h_1 = 2$; its use at the first step multiplied $h_0 = 0$.

# %% [markdown]
# ### Exercise 2 (check): half-life
#
# A linear cell $h_t = \rho h_{t-1} + x_t$ forgets an input by a factor $\rho$ a step.
# After how many steps is half of it left? Return the number as a function of $\rho$, not rounded.


# %%
def half_life(rho: float) -> float:
    """Steps after which rho^n = 1/2, for 0 < rho < 1."""
    ### BEGIN SOLUTION
    return float(np.log(0.5) / np.log(rho))
    ### END SOLUTION


# %% tags=["test"]
def test_half_life():
    for rho in (0.1, 0.5, 0.9, 0.999):
        assert np.isclose(rho ** half_life(rho), 0.5)


# %% [markdown]
# ### Exercise 3 (apply): both ways
#
# Write the bidirectional layer: one cell reads forwards, another backwards, and the states of the same position stand side by side.


# %%
def both_ways(X: np.ndarray, forward: dict, backward: dict) -> np.ndarray:
    """States (B, T, 2 d), forward first; X (B, T, d_in)."""
    ### BEGIN SOLUTION
    return np.concatenate(
        [rnn_forward(X, forward), rnn_forward(X[:, ::-1], backward)[:, ::-1]], axis=2)
    ### END SOLUTION


# %% tags=["test"]
def test_both_ways():
    import torch

    rng = np.random.default_rng(15)
    for T in (1, 2, 6):
        cells = [random_cell(3, 4, rng) for _ in range(2)]
        X = rng.normal(size=(2, T, 3))
        rnn = torch.nn.RNN(3, 4, batch_first=True, bidirectional=True).double()
        with torch.no_grad():
            for cell, end in zip(cells, ("", "_reverse")):
                getattr(rnn, f"weight_ih_l0{end}").copy_(torch.from_numpy(cell["W_x"].T))
                getattr(rnn, f"weight_hh_l0{end}").copy_(torch.from_numpy(cell["W_h"].T))
                getattr(rnn, f"bias_ih_l0{end}").zero_()
                getattr(rnn, f"bias_hh_l0{end}").zero_()
            want = rnn(torch.from_numpy(X))[0].numpy()
        assert np.allclose(both_ways(X, *cells), want, atol=1e-13)


# %% [markdown]
# ### Exercise 4 (apply): truncated backpropagation
#
# Cut the sequence into pieces of $k$ steps; carry the state, stop the gradient.
# Return the summed gradient of the parameters.


# %%
def truncated(dH: np.ndarray, X: np.ndarray, P: dict, k: int) -> dict:
    """Gradients dP when no gradient crosses a multiple of k; dH, X over T steps."""
    ### BEGIN SOLUTION
    total, h0 = {name: np.zeros_like(W) for name, W in P.items()}, None
    for a in range(0, X.shape[1], k):
        piece = X[:, a : a + k]
        H = rnn_forward(piece, P, h0)
        dP = rnn_backward(dH[:, a : a + k], piece, H, P, h0)[2]
        total = {name: total[name] + dP[name] for name in P}
        h0 = H[:, -1]
    return total
    ### END SOLUTION


# %% tags=["test"]
def test_truncated():
    import torch

    rng = np.random.default_rng(16)
    P, X, dH = random_cell(3, 4, rng), rng.normal(size=(2, 7, 3)), rng.normal(size=(2, 7, 4))
    for k in (1, 3, 7, 10):
        T = {name: torch.from_numpy(W).requires_grad_() for name, W in P.items()}
        h = torch.zeros(2, 4, dtype=torch.float64)
        for t in range(7):
            if t % k == 0:
                h = h.detach()
            h = torch.tanh(torch.from_numpy(X[:, t]) @ T["W_x"] + h @ T["W_h"] + T["b"])
            h.backward(torch.from_numpy(dH[:, t]), retain_graph=True)
        got = truncated(dH, X, P, k)
        for name in P:
            assert np.allclose(got[name], T[name].grad.numpy(), atol=1e-12)


# %% [markdown]
# ### Exercise 5 (apply): two layers
#
# Stack two cells and write the backward pass of the stack, from the gradient at the top states to the inputs and both cells' parameters.


# %%
def stacked(X: np.ndarray, low: dict, high: dict, dH: np.ndarray) -> tuple:
    """Top states, dX, d_low, d_high for two cells; dH as the top states."""
    ### BEGIN SOLUTION
    H_low = rnn_forward(X, low)
    H_high = rnn_forward(H_low, high)
    d_low_states, _, d_high = rnn_backward(dH, H_low, H_high, high)
    dX, _, d_low = rnn_backward(d_low_states, X, H_low, low)
    return H_high, dX, d_low, d_high
    ### END SOLUTION


# %% tags=["test"]
def test_stacked():
    import torch

    rng = np.random.default_rng(17)
    low, high = random_cell(3, 5, rng), random_cell(5, 5, rng)
    X, dH = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6, 5))
    rnn = torch.nn.RNN(3, 5, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for i, cell in enumerate((low, high)):
            getattr(rnn, f"weight_ih_l{i}").copy_(torch.from_numpy(cell["W_x"].T))
            getattr(rnn, f"weight_hh_l{i}").copy_(torch.from_numpy(cell["W_h"].T))
            getattr(rnn, f"bias_ih_l{i}").zero_()
            getattr(rnn, f"bias_hh_l{i}").zero_()
    x = torch.from_numpy(X).requires_grad_()
    want = rnn(x)[0]
    want.backward(torch.from_numpy(dH))
    H, dX, d_low, d_high = stacked(X, low, high, dH)
    assert np.allclose(H, want.detach().numpy()) and np.allclose(dX, x.grad.numpy())
    for i, grads in enumerate((d_low, d_high)):
        assert np.allclose(grads["W_h"], getattr(rnn, f"weight_hh_l{i}").grad.numpy().T)
        assert np.allclose(grads["W_x"], getattr(rnn, f"weight_ih_l{i}").grad.numpy().T)


# %% [markdown]
# ### Exercise 6 (explore): a gradient that does not fade
#
# For a *linear* cell ($h_t = x_t W_x + h_{t-1} W_h$) with an orthogonal $W_h$, how does the norm of the gradient change on its way back?
# Write the ratio of norms after $n$ steps for any $W_h$; then find a matrix with spectral radius below 1 for which the gradient *grows* at first.


# %%
def linear_ratio(W_h: np.ndarray, n: int, top: np.ndarray) -> float:
    """Norm of the gradient n steps back over the norm of `top` (d,)."""
    ### BEGIN SOLUTION
    dh = top
    for _ in range(n):
        dh = dh @ W_h.T
    return float(np.linalg.norm(dh) / np.linalg.norm(top))
    ### END SOLUTION


# %% tags=["test"]
def test_linear_ratio():
    rng = np.random.default_rng(18)
    top = rng.normal(size=6)
    assert np.isclose(linear_ratio(orthogonal(6, rng), 50, top), 1)
    assert np.isclose(linear_ratio(0.5 * np.eye(6), 3, top), 0.125)
    W = np.array([[0.5, 4.0], [0.0, 0.5]])  # radius 0.5
    assert linear_ratio(W, 1, np.array([0.0, 1.0])) > 4
    assert linear_ratio(W, 60, np.array([0.0, 1.0])) < 1e-10


# %% [markdown] tags=["solution"]
# It does not change: $\lVert v Q^\top \rVert = \lVert v \rVert$.
# $\begin{bmatrix} 0.5 & 4 \\ 0 & 0.5 \end{bmatrix}$ has both eigenvalues 0.5 and a singular value above 4, so a gradient can grow about fourfold in its first steps and still vanish in the end.
# Eigenvalues rule the long run, singular values every single step.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Recurrence | $h_t = \tanh(x_t W_x + h_{t-1} W_h + b)$ | `rnn_forward(X, P)` | text and speech, before transformers |
# | Through time | gradients of shared weights add up | `dP["W_h"] += before.T @ dz` | every recurrent model |
# | Vanishing, exploding | $(\sigma_{\max} \gamma)^{T-t}$ | `gradient_norms(P, X, rng)` | why LSTMs exist |
# | Clipping | scale to a norm of at most $c$ | `g * min(1, c / norm)` | most large training runs |
# | Truncation | no gradient through a cut | `h = h.detach()` | long sequences |
# | Parallel scan | $(a a', \, a' u + u')$ | `scan_parallel(a, u)` | Mamba and linear attention |
#
# **The essential insight:** a recurrent network compresses all it has read into one vector and rewrites that vector at every step. Forward this is what makes it cheap; backward it means that every lesson from the past has to pass through the same matrix again and again, and a product of many equal factors knows only two fates. The rest of the road to transformers is about giving the gradient a shorter way.
