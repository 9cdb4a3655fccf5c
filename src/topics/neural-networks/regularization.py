# ---
# title: Regularization
# summary: "Keeping a network from memorising, and its signals from growing: dropout, decay, normalisation."
# prerequisites:
#   - neural-networks/activation-functions: how layers saturate and die, the network of eight sigmoid layers
#   - neural-networks/backpropagation: the gradients of a two-layer network
#   - math-foundations/probability: expectation, variance, N or N − 1, a prior as a penalty
#   - math-foundations/linear-algebra: least squares and the singular value decomposition
# packages: [numpy, matplotlib, scikit-learn, torch]
# ---

# %% [markdown]
# # Regularization
#
# $$
# \boxed{
# \min_\theta \, L(\theta) + \frac{\lambda}{2} \lVert \theta \rVert^2,
# \quad
# \tilde{h} = \frac{m \odot h}{1 - p},
# \quad
# \hat{z} = \frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}}
# }
# $$
#
# *Weight decay* adds to the loss $L$ a penalty of strength $\lambda$ on the weights $\theta$.
# *Dropout* multiplies a layer's output $h$ by a random mask $m$ of zeros and ones, each zero with probability $p$.
# *Normalisation* shifts and scales pre-activations $z$ by a mean $\mu$ and a variance $\sigma^2$ of their own; the small $\epsilon$ prevents division by zero.
#
# The first two keep a network that *can* memorise its training data from doing so; the third keeps its signals at a size with which it can be trained at all.

# %% [markdown]
# ## 1. Core concept: fit less than you could
#
# ### A network that learns mistakes by heart
#
# A wide enough network can [store any labels](multilayer-networks.py#exercise-4-apply-memorise-anything).
# Take 500 of the digits that come with scikit-learn [@alpaydin1998optical], redraw 30% of their labels at random, and train one hidden layer of 128 ReLU units.
# The arguments `decay` and `p` of `train_net` are cures explained below; at zero they do nothing.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits


# %% tags=["hide-input"]
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
def dropout_mask(shape: tuple, p: float, rng: np.random.Generator) -> np.ndarray:
    """Zeros with probability p, else 1 / (1 - p)."""
    return (rng.random(shape) >= p) / (1 - p)


def logits_of(params: list, X: np.ndarray, mask: np.ndarray | float = 1.0) -> tuple:
    """Logits (n, K), hidden layer (n, width) and its pre-activations, for X (n, d)."""
    (W_1, b_1), (W_2, b_2) = params
    z = X @ W_1 + b_1
    h = np.maximum(z, 0) * mask
    return h @ W_2 + b_2, h, z


def net_gradients(
    params: list, X: np.ndarray, y: np.ndarray, mask: np.ndarray | float = 1.0
) -> list:
    """[(dW, db), ...] of the mean cross-entropy, with one mask for both directions."""
    logits, h, z = logits_of(params, X, mask)
    ds = (softmax(logits) - np.eye(logits.shape[1])[y]) / len(y)
    dz = (ds @ params[1][0].T) * mask * (z > 0)
    return [(X.T @ dz, dz.sum(axis=0)), (h.T @ ds, ds.sum(axis=0))]


def train_net(X: np.ndarray, y: np.ndarray, watch: list, seed: int,
              decay: float = 0.0, p: float = 0.0, epochs: int = 120) -> np.ndarray:
    """Error rates on each (X, y) of `watch`, after every fifth epoch of SGD."""
    rng, lr = np.random.default_rng(seed), 0.2
    d = X.shape[1]
    params = [(rng.normal(0, np.sqrt(2 / d), (d, 128)), np.zeros(128)),
              (rng.normal(0, np.sqrt(1 / 128), (128, 10)), np.zeros(10))]
    errors = []
    for epoch in range(epochs):
        for rows in rng.permutation(len(y)).reshape(-1, 50):
            grads = net_gradients(params, X[rows], y[rows],
                                  dropout_mask((50, 128), p, rng))
            params = [(W - lr * (dW + decay * W), b - lr * db)
                      for (W, b), (dW, db) in zip(params, grads)]
        if epoch % 5 == 4:
            errors.append([(logits_of(params, A)[0].argmax(axis=1) != c).mean()
                           for A, c in watch])
    return np.array(errors)


def spoil(y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) of which a `share` is redrawn from the ten classes."""
    y = y.copy()
    hit = rng.choice(len(y), int(share * len(y)), replace=False)
    y[hit] = rng.integers(10, size=len(hit))
    return y


images, digits = load_digits(return_X_y=True)
images = (images - images.mean()) / images.std()
SEEDS = range(3)


def learn(share: float, **cure) -> np.ndarray:
    """Errors (seeds, checks, 3): given training, test, true training labels."""
    runs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(digits))
        train, test = order[:500], order[800:]
        y = spoil(digits[train], share, rng)
        watch = [(images[train], y), (images[test], digits[test]),
                 (images[train], digits[train])]
        runs.append(train_net(images[train], y, watch, seed, **cure))
    return np.array(runs)


plain = {share: learn(share) for share in (0.0, 0.3, 1.0)}
print("redrawn   training error   test error")
for share, runs in plain.items():
    on_train, on_test, _ = runs[:, -1].mean(axis=0)
    print(f"{share:7.0%} {on_train:16.1%} {on_test:12.1%}")

# %% [markdown]
# **What the code shows:** the training error is zero in every row, so it tells you nothing.
# The network fits 30% of random labels as readily as true ones, and its test error rises from `{python} f"{plain[0.0][:, -1, 1].mean():.0%}"` to `{python} f"{plain[0.3][:, -1, 1].mean():.0%}"`.
# It fits *purely* random labels too, where nothing can be learned.
# Zhang et al. found the same with large image networks [@zhang2017understanding]: the power to fit cannot be what makes networks generalise.
# Something else must hold them back.
#
# ### Three ways to hold back
#
# 1. **Ask for small weights.** A sharp bend around one mislabelled image needs large weights. A penalty on their squares makes bends expensive, so only those that serve many examples are bought.
# 2. **Add noise.** Dropout removes a random part of the hidden units at each step. No unit can count on a particular other one, so what is stored must be stored redundantly.
# 3. **Stop early.** Gradient descent learns what many examples agree on first and exceptions last.
#
# Weight decay is the gradient of the penalty: $\lambda \theta$ is added to the gradient, so plain [SGD](../math-foundations/optimization.py#noise) with rate $\eta$ takes the step
#
# $$
# \theta \leftarrow \theta - \eta \left(\frac{\partial L}{\partial \theta} + \lambda \theta\right)
# = (1 - \eta \lambda) \, \theta - \eta \frac{\partial L}{\partial \theta}
# $$
#
# **What this means:** each step first shrinks every weight by the same factor; a weight stays large only if the data keeps pushing.
# Biases, and the gains of norms, are usually left alone.
#
# Dropout divides by $1 - p$ (*inverted* dropout), because then the mean over the masks is the layer without dropout:
#
# $$
# \mathbb{E}[\tilde{h}_j] = (1 - p) \frac{h_j}{1 - p} + p \cdot 0 = h_j,
# \quad
# \text{Var}[\tilde{h}_j] = \frac{p}{1 - p} h_j^2
# $$
#
# **What this means:** the next layer sees the right value on average, plus noise in proportion to the signal.
# After training you use the layer *without* mask or factor (*eval mode*).
# Backwards the mask is a constant: $dh = d\tilde{h} \odot m / (1 - p)$, with the *same* mask.
#
# | quantity | code | shape |
# |---|---|---|
# | inputs, hidden layer, logits | `X`, `h`, `logits` | $(n, d)$, $(n, \text{width})$, $(n, K)$ |
# | mask, one entry per example and unit | `mask` | $(n, \text{width})$ |
# | pre-activations to be normalised | `Z` | $(n, d)$ |
# | mean and variance of batch norm | `mean`, `var` | $(d,)$: one per feature |
# | statistics of layer norm, RMS norm | `x.mean(axis=-1, keepdims=True)` | $(n, 1)$: one per example |
# | gains and shifts | `g`, `b` | $(d,)$ |
#
# ### By hand
#
# **Decay.** Fit $y = xw$ to the points $(1, 2)$ and $(2, 4)$: without a penalty $w = 10/5 = 2$.
# With $L = \frac{1}{2n} \sum_i (x_i w - y_i)^2$ and $n = 2$ the derivative of the penalised loss vanishes at $(5 + 2 \lambda) w = 10$.
# For $\lambda = 2.5$ that gives $w = 1$: half the weight.
#
# **Dropout.** Let $h = (2, 4)$, $p = 1/2$, and let the next layer add the entries.
# The four masks give $0$, $4$, $8$ and $12$: mean $6$, as without dropout, and variance $20 = 2^2 + 4^2$.
#
# **In code:**

# %%
x, y = np.array([1.0, 2.0]), np.array([2.0, 4.0])
assert x @ y / (x @ x + 2 * 2.5) == 1.0
h_hand = np.array([2.0, 4.0])
masks = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) / (1 - 0.5)
sums = (h_hand * masks).sum(axis=1)
assert sums.tolist() == [0, 4, 8, 12] and sums.mean() == 6 and sums.var() == 20

CURES = {"nothing": {}, "weight decay": {"decay": 0.03}, "dropout": {"p": 0.75}}
cured = {name: learn(0.3, **cure) for name, cure in CURES.items() if cure}
cured = {"nothing": plain[0.3], **cured}
wrong = plain[0.3][:, -1, 2].mean()  # the plain network repeats every given label
for name, runs in cured.items():
    curve = runs[..., 1].mean(axis=0)
    print(f"{name:13} test error at the end {curve[-1]:.1%}, at best {curve.min():.1%}")

# %%
#| label: fig-memorise
#| fig-cap: Error on the (partly wrong) training labels, left, and on true test labels, right, when 30% of the training labels are redrawn. Lines are means of three seeds, bands run from the lowest to the highest.
#| fig-alt: Without a cure the training error goes to zero and the test error falls, then climbs steadily. With weight decay or dropout the training error stays well above zero and the test error stays low.
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0))
epochs = 5 * np.arange(1, plain[0.3].shape[1] + 1)
for (name, runs), style in zip(cured.items(), ("-", "--", "-.")):
    for ax, curve in zip(axes, runs.transpose(2, 0, 1)):
        ax.plot(epochs, curve.mean(axis=0), style, label=name)
        ax.fill_between(epochs, curve.min(axis=0), curve.max(axis=0), alpha=0.2)
axes[0].set(xlabel="epoch", ylabel="training error, given labels", ylim=(0, None))
axes[1].set(xlabel="epoch", ylabel="test error, true labels", ylim=(0, None))
axes[0].legend()

# %% [markdown]
# **What the code shows:** in @fig-memorise weight decay ends at `{python} f"{cured['weight decay'][:, -1, 1].mean():.0%}"` test error where the plain network ends at `{python} f"{cured['nothing'][:, -1, 1].mean():.0%}"`, precisely *because* it leaves wrong labels unfitted: of the given training labels `{python} f"{wrong:.0%}"` are wrong, and it contradicts `{python} f"{cured['weight decay'][:, -1, 0].mean():.0%}"`.
# Measured against the *true* labels of the training images its error is `{python} f"{cured['weight decay'][:, -1, 2].mean():.0%}"`: it corrects its own teacher.
# Without any cure the test error is lowest early, so stopping there is the third and cheapest cure (choose the moment on validation images).
# (The strengths are the best of five decays and three dropout rates on 300 validation images with equally spoiled labels, of other splits.)
#
# ### Keep the signals in range
#
# Normalisation solves another problem: the scale of what flows.
# In the network of eight sigmoid layers that opened [activation functions](activation-functions.py#a-deep-network-that-does-not-learn) nothing learned: gradients vanished on the way down. A computed start saved it there; a norm makes that care unnecessary.
# *Batch normalisation* forces each pre-activation to mean 0 and variance 1 over the examples of the batch, then lets the network choose another scale $g$ and shift $b$ [@ioffe2015batch]:
#
# $$
# \begin{aligned}
# \mu_j &= \frac{1}{n} \sum_{i=1}^{n} z_{ij},
# \quad
# \sigma_j^2 = \frac{1}{n} \sum_{i=1}^{n} (z_{ij} - \mu_j)^2, \\
# y_{ij} &= g_j \frac{z_{ij} - \mu_j}{\sqrt{\sigma_j^2 + \epsilon}} + b_j
# \end{aligned}
# $$
#
# **What this means:** each *feature* is compared with itself in the other examples.
# At test time there may be one example and no batch, so the layer keeps running averages of $\mu$ and $\sigma^2$ while training, and uses those in eval mode.
# The running variance takes, as in PyTorch, the [unbiased estimate](../math-foundations/probability.py#n-or-n--1), with $n - 1$; the forward pass divides by $n$.
#
# **By hand.** Three examples, two features, $\epsilon = 0$, running mean 0 and variance 1 at the start, momentum $0.1$:
#
# $$
# \begin{aligned}
# Z &= \begin{bmatrix} 0 & 2 \\ 0 & 4 \\ 3 & 6 \end{bmatrix},
# \quad
# \mu = (1, 4),
# \quad
# \sigma^2 = \left(2, \tfrac{8}{3}\right), \\
# \hat{Z} &= \begin{bmatrix} -1/\sqrt{2} & -\sqrt{3/2} \\ -1/\sqrt{2} & 0 \\ 2/\sqrt{2} & \sqrt{3/2} \end{bmatrix}
# \end{aligned}
# $$
#
# The unbiased variances are $3$ and $4$, so the new running values are $0.1 \mu = (0.1, 0.4)$ and $0.9 \cdot 1 + 0.1 \cdot (3, 4) = (1.2, 1.3)$.


# %%
def batch_norm(
    Z: np.ndarray, g: np.ndarray, b: np.ndarray, running: tuple,
    training: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> tuple[np.ndarray, tuple]:
    """Z (n, d) normalised per feature; `running` is a mean (d,) and a variance (d,)."""
    mean, var = running
    if training:
        n, mean, var = len(Z), Z.mean(axis=0), Z.var(axis=0)
        fresh = (mean, n / (n - 1) * var)  # raises for n = 1
        running = tuple((1 - momentum) * old + momentum * new
                        for old, new in zip(running, fresh))
    return (Z - mean) / np.sqrt(var + eps) * g + b, running


Z_hand = np.array([[0.0, 2.0], [0.0, 4.0], [3.0, 6.0]])
start = (np.zeros(2), np.ones(2))
Z_hat, running = batch_norm(Z_hand, np.ones(2), np.zeros(2), start, eps=0.0)
assert Z_hat.shape == Z_hand.shape == (3, 2) and running[1].shape == (2,)
assert np.allclose(Z_hat[:, 0], np.array([-1, -1, 2]) / np.sqrt(2))
assert np.allclose(Z_hat[:, 1], np.array([-1, 0, 1]) * np.sqrt(1.5))
assert np.allclose(running[0], [0.1, 0.4]) and np.allclose(running[1], [1.2, 1.3])
print(Z_hat.round(3), "running", running[0], running[1])

# %% [markdown]
# **What the code shows:** training and evaluation are two different functions, and only `training` says which one you get.
# In training the output for one example depends on which others share its batch.
#
# *Layer normalisation* takes mean and variance over the features of *one* example instead [@ba2016layer]; *RMS normalisation* divides by the root mean square and subtracts nothing [@zhang2019root]; *group normalisation* does as layer norm for each group of features, in image networks channels [@wu2018group].
# None of them looks at other examples, so they are the same function in training and evaluation.

# %%
#| label: fig-axes
#| fig-cap: Which entries share one mean and one variance (dark), for a batch of six examples (rows) with eight features (columns). RMS norm uses the same entries as layer norm.
#| fig-alt: Three grids. Batch norm marks one column, layer norm one row, group norm half of one row.
fig, axes = plt.subplots(1, 3, figsize=(7.2, 1.9))
for ax, name, part in zip(axes, ("batch norm", "layer norm", "group norm"),
                          (np.s_[:, 2], np.s_[1, :], np.s_[1, 4:])):
    shared = np.zeros((6, 8))
    shared[part] = 1
    ax.pcolormesh(shared[::-1], cmap="Blues", vmin=0, vmax=1.3, edgecolors="0.6",
                  linewidth=0.6)
    ax.set(title=name, xlabel="feature", ylabel="example", xticks=[], yticks=[])

# %% [markdown]
# @fig-axes is the whole difference.
# If you stop reading here, you have the correct picture: *penalise, disturb or stop, so that only what many examples support is learned; normalise, so that learning can start.*

# %% tags=["test"]
def test_hand_examples():
    Z = np.array([[0.0, 2.0], [0.0, 4.0], [3.0, 6.0]])
    Z_hat, running = batch_norm(Z, np.ones(2), np.zeros(2),
                                (np.zeros(2), np.ones(2)), eps=0.0)
    want = [[-0.5**0.5, -(1.5**0.5)], [-0.5**0.5, 0], [2**0.5, 1.5**0.5]]
    assert np.allclose(Z_hat, want, atol=1e-12)
    assert np.allclose(running, [[0.1, 0.4], [1.2, 1.3]], atol=1e-12)


def test_dropout_is_torch():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(0)
    for p in (0.0, 0.1, 0.5, 0.9):
        mask = dropout_mask((400, 300), p, rng)
        assert np.allclose(np.unique(mask), [0, 1 / (1 - p)] if p else [1], atol=1e-12)
        assert abs((mask == 0).mean() - p) < 0.006 and abs(mask.mean() - 1) < 0.03
        h = torch.from_numpy(rng.normal(size=(40, 30))).requires_grad_()
        torch.manual_seed(0)
        theirs = F.dropout(torch.ones(40, 30, dtype=torch.float64), p)
        assert set(theirs.unique().tolist()) <= {0.0, 1 / (1 - p)}
        torch.manual_seed(0)
        F.dropout(h, p).sum().backward()
        assert np.allclose(h.grad.numpy(), theirs.numpy(), atol=1e-12)


def test_net_gradients_are_torch():
    import torch

    rng = np.random.default_rng(1)
    for trial in range(20):
        n, d, width, K = rng.permutation(np.arange(1, 10))[:4]
        X, y = rng.normal(size=(n, d)), rng.integers(K, size=n)
        params = [(rng.normal(size=(d, width)), rng.normal(size=width)),
                  (rng.normal(size=(width, K)), rng.normal(size=K))]
        mask = dropout_mask((n, width), 0.4, rng) if trial % 2 else np.ones((n, width))
        leaves = [torch.from_numpy(v).requires_grad_() for pair in params for v in pair]
        h = torch.relu(torch.from_numpy(X) @ leaves[0] + leaves[1])
        logits = (h * torch.from_numpy(mask)) @ leaves[2] + leaves[3]
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)).backward()
        assert np.allclose(logits_of(params, X, mask)[0], logits.detach(), atol=1e-12)
        ours = [v for pair in net_gradients(params, X, y, mask) for v in pair]
        for got, leaf in zip(ours, leaves):
            assert np.allclose(got, leaf.grad.numpy(), atol=1e-12)


def test_train_net_learns_and_decays():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(100, 6))
    y = (X[:, 0] > 0).astype(int)
    errors = train_net(X, y, [(X, y), (X, 1 - y)], 0, epochs=40)
    assert errors.shape == (8, 2) and errors[-1, 0] < 0.05
    assert np.allclose(errors.sum(axis=1), 1)
    assert train_net(X, y, [(X, y)], 0, decay=1.0, epochs=40)[-1, 0] > errors[-1, 0]
    assert train_net(X, y, [(X, y)], 0, p=0.99, epochs=10)[-1, 0] > errors[-1, 0]


def test_spoil():
    y = np.repeat(np.arange(10), 100)
    for share in (0.0, 0.3, 1.0):
        changed = (spoil(y, share, np.random.default_rng(3)) != y).mean()
        assert abs(changed - 0.9 * share) < 0.04
    assert (y == np.repeat(np.arange(10), 100)).all()
    redrawn = spoil(np.zeros(500, int), 1.0, np.random.default_rng(3))
    assert set(redrawn.tolist()) == set(range(10))


def test_batch_norm_is_torch():
    import torch

    rng = np.random.default_rng(4)
    for trial in range(25):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        size = (1.0, 1e4, 1e-3)[trial % 3]
        momentum, eps = rng.uniform(0.05, 0.9), rng.choice([1e-5, 1e-2])
        layer = torch.nn.BatchNorm1d(int(d), eps, momentum, dtype=torch.float64)
        g, b = rng.normal(size=(2, d))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(g))
            layer.bias.copy_(torch.from_numpy(b))
        running = (np.zeros(d), np.ones(d))
        for step in range(4):
            Z = size * rng.normal(size=(n, d)) + size
            if trial == 5:
                Z[:] = Z[0]  # no variance at all
            training = step < 3
            layer.train(training)
            want = layer(torch.from_numpy(Z)).detach().numpy()
            got, running = batch_norm(Z, g, b, running, training, momentum, eps)
            assert np.allclose(got, want, rtol=1e-7, atol=1e-9)
            assert np.allclose(running[0], layer.running_mean.numpy(), atol=1e-9)
            assert np.allclose(running[1], layer.running_var.numpy(), rtol=1e-9)
    defaults = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    Z = 0.01 * rng.normal(size=(5, 3))
    got, running = batch_norm(Z, np.ones(3), np.zeros(3), (np.zeros(3), np.ones(3)))
    assert np.allclose(got, defaults(torch.from_numpy(Z)).detach().numpy(), atol=1e-9)
    assert np.allclose(running[1], defaults.running_var.numpy(), rtol=1e-9)
    try:  # as in PyTorch, a batch of one is refused
        batch_norm(np.ones((1, 2)), np.ones(2), np.zeros(2), (np.zeros(2), np.ones(2)))
        raise AssertionError("a batch of one was accepted")
    except ZeroDivisionError:
        pass


# %% tags=["test", "experiment"]
def test_memorising_conclusion():
    for runs in plain.values():
        assert runs[:, -1, 0].max() < 0.02
    assert plain[0.0][:, -1, 1].max() < 0.06 and plain[1.0][:, -1, 1].min() > 0.85
    assert cured["nothing"][:, -1, 1].min() > 0.18
    assert cured["weight decay"][:, -1, 1].max() < 0.14
    assert cured["dropout"][:, -1, 1].max() < 0.16
    curve = cured["nothing"][..., 1].mean(axis=0)
    assert curve.argmin() < 8 and curve.min() < 0.6 * curve[-1]
    assert plain[0.3][:, -1, 0].max() == 0 and abs(wrong - 0.27) < 0.03
    assert cured["weight decay"][:, -1, 2].max() < 0.1


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Weight decay shrinks each direction by its own factor
#
# A Gaussian [prior](../math-foundations/probability.py#priors) on the weights gives the squared penalty ("L2").
# For [least squares](../math-foundations/linear-algebra.py#projection-and-least-squares), $L = \frac{1}{2n} \lVert XW - Y \rVert^2$, setting the gradient to zero gives *ridge regression* [@hoerl1970ridge]; put in the [singular value decomposition](../math-foundations/linear-algebra.py#the-singular-value-decomposition) $X = U \, \text{diag}(\sigma) \, V^\top$:
#
# $$
# W = (X^\top X + n \lambda I)^{-1} X^\top Y
# = \sum_k \frac{\sigma_k^2}{\sigma_k^2 + n \lambda} \, v_k \frac{u_k^\top Y}{\sigma_k}
# $$
#
# **What this means:** the last fraction is what least squares would do with direction $k$; the first is a *shrinkage factor* between 0 and 1.
# Directions in which the data varies much, $\sigma_k^2 \gg n \lambda$, are kept; those it hardly shows, where noise is divided by a small $\sigma_k$, are given up.
#
# Gradient descent from $W = 0$ does almost the same without a penalty.
# In direction $k$ the gradient is $\sigma_k^2 / n$ times the distance to the least-squares value, so each step multiplies that distance by $1 - \eta \sigma_k^2 / n$, and after $t$ steps
#
# $$
# W_t = \sum_k \left(1 - \left(1 - \frac{\eta \sigma_k^2}{n}\right)^t\right) v_k \frac{u_k^\top Y}{\sigma_k}
# $$
#
# **What this means:** stopping early gives another factor of the same shape, with $\lambda = 1 / (\eta t)$ as the matching strength: both are near $\eta t \sigma_k^2 / n$ for small $\sigma_k$ and near 1 for large ones.
# So early stopping is a decay, and training time is its inverse.
# With that match, in the limit of small steps, its expected squared error in the weights is at most 1.69 times that of ridge [@ali2019continuous].


# %%
def ridge(X: np.ndarray, Y: np.ndarray, lam: float) -> np.ndarray:
    """W (d, m) that minimises |XW - Y|^2 / (2n) + lam |W|^2 / 2."""
    n, d = X.shape
    return np.linalg.solve(X.T @ X + n * lam * np.eye(d), X.T @ Y)


def descent(X: np.ndarray, Y: np.ndarray, lr: float, steps: int) -> np.ndarray:
    """W (d, m) after gradient descent from zero on |XW - Y|^2 / (2n)."""
    W = np.zeros((X.shape[1], Y.shape[1]))
    for _ in range(steps):
        W = W - lr * X.T @ (X @ W - Y) / len(X)
    return W


def ridge_factor(sigma: np.ndarray, n: int, lam: float) -> np.ndarray:
    """What ridge keeps of each singular direction."""
    return sigma**2 / (sigma**2 + n * lam)


def descent_factor(sigma: np.ndarray, n: int, lr: float, steps: int) -> np.ndarray:
    """What gradient descent has learned of each singular direction."""
    return 1 - (1 - lr * sigma**2 / n) ** steps


X, Y = images[:500], np.eye(10)[digits[:500]]
sigma = np.linalg.svd(X, compute_uv=False)
lr, fits = 0.05, {}
for steps in (20, 200, 2000):
    W_ridge, W_stop = ridge(X, Y, 1 / (lr * steps)), descent(X, Y, lr, steps)
    cosine = (W_ridge * W_stop).sum() / np.linalg.norm(W_ridge) / np.linalg.norm(W_stop)
    fits[steps] = cosine
    print(f"{steps:5d} steps: norm {np.linalg.norm(W_stop):.2f}, ridge "
          f"{np.linalg.norm(W_ridge):.2f}, cosine between them {cosine:.3f}")

# %%
#| label: fig-shrink
#| fig-cap: The share of each singular direction that is learned, by ridge regression (solid) and by gradient descent stopped after t steps (dashed), matched by λ = 1/(ηt). Ticks at the bottom are the singular values of 500 digits.
#| fig-alt: Three pairs of curves rise from zero to one with the singular value. In each pair the dashed curve follows the solid one and is a little steeper; more steps or less ridge move the pair to the left.
fig, ax = plt.subplots(figsize=(5.6, 3.2))
grid = np.geomspace(1, sigma.max(), 200)
for color, steps in zip(("C0", "C1", "C2"), fits):
    ax.semilogx(grid, ridge_factor(grid, 500, 1 / (lr * steps)), color=color,
                label=f"{steps} steps")
    ax.semilogx(grid, descent_factor(grid, 500, lr, steps), "--", color=color)
ax.plot(sigma[sigma > 1], np.zeros((sigma > 1).sum()), "|", color="0.3", markersize=9)
ax.set(xlabel="singular value", ylabel="share learned", ylim=(-0.04, 1.04))
ax.legend()
ax.margins(x=0)

# %% [markdown]
# **What the code shows:** the two weight matrices point in nearly the same direction at every stage (@fig-shrink), although one knows no penalty and the other no time.
#
# A penalty on *absolute* values ("L1", the *lasso* [@tibshirani1996regression], from a prior $\propto e^{-\lvert w \rvert / s}$) behaves differently: it subtracts instead of multiplying, so small weights become exactly zero (Exercise 6).
#
# ### Weight decay is not L2 under Adam
#
# For SGD, "add $\lambda \theta$ to the gradient" and "shrink the weights" are the same step.
# [Adam](../training/optimizers.py#a-direction-for-each-gradient) divides each gradient, smoothed, by the running root mean square $\sqrt{v}$ of that weight's gradients.
# If $\lambda \theta$ is part of the gradient, it is divided too:
#
# $$
# \begin{aligned}
# \text{L2 in Adam:} \quad \theta &\leftarrow \theta - \eta \frac{g + \lambda \theta}{\sqrt{v} + \epsilon}, \\
# \text{decoupled (AdamW):} \quad \theta &\leftarrow (1 - \eta \lambda) \theta - \eta \frac{g}{\sqrt{v} + \epsilon}
# \end{aligned}
# $$
#
# Left out here are the smoothing of $g$ and the correction of the first steps; the code has both.
#
# **What this means:** with L2, weights with large gradients are hardly decayed at all.
# Loshchilov and Hutter decoupled the two [@loshchilov2019decoupled].


# %%
def adam_step(w: np.ndarray, g: np.ndarray, state: tuple, lr: float, decay: float,
              decoupled: bool, betas: tuple = (0.9, 0.999), eps: float = 1e-8) -> tuple:
    """New weights and state (m, v, t) after one step of AdamW, or of Adam with L2."""
    m, v, t = state
    if not decoupled:
        g = g + decay * w
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g**2
    t = t + 1
    step = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    if decoupled:
        w = w * (1 - lr * decay)
    return w - lr * step, (m, v, t)


sizes, left = np.array([10.0, 0.1]), {}  # gradients are pure noise of these two sizes
for decoupled in (False, True):
    noise = np.random.default_rng(0)
    w, state = np.ones((300, 2)), (0.0, 0.0, 0)
    for _ in range(1000):
        g = sizes * noise.normal(size=w.shape)
        w, state = adam_step(w, g, state, lr=0.01, decay=0.1, decoupled=decoupled)
    left[decoupled] = w.mean(axis=0)
print("gradients of size   10   0.1")
for name, decoupled in (("Adam with L2", False), ("AdamW", True)):
    large, small = left[decoupled].round(2) + 0.0
    print(f"{name:14}  {large:6.2f} {small:5.2f}   left of weights 1")

# %% [markdown]
# **What the code shows:** AdamW shrinks both weights alike, by about $(1 - 0.001)^{1000}$, which is `{python} f"{0.999**1000:.2f}"`.
# Under L2 one keeps `{python} f"{left[False][0]:.0%}"` and the other is wiped out.
#
# ### Dropout is an L2 penalty that knows the data
#
# For a linear model with squared loss and dropout on its inputs, the mean over the masks can be taken exactly.
# With $\tilde{x}$ for an input under dropout, the prediction $\tilde{x} w$ has mean $xw$ and variance $\frac{p}{1-p} \sum_j x_j^2 w_j^2$, because entries are dropped independently.
# The expected square of a random number is its squared mean plus its variance, so summed over the examples
#
# $$
# \mathbb{E} \sum_i (\tilde{x}_i w - y_i)^2
# = \lVert Xw - y \rVert^2 + \frac{p}{1 - p} \sum_j \lVert X_{:j} \rVert^2 w_j^2
# $$
#
# **What this means:** dropout is ridge regression with one strength per weight, in proportion to the size of its feature $X_{:j}$, column $j$ of $X$.
# Rescaling a feature changes nothing, unlike with plain decay.
# For [logistic regression](perceptron.py#from-threshold-to-slope) the same holds to second order, with the curvature of the loss in the strength [@wager2013dropout]; for deep networks no such formula is exact.


# %%
def dropout_ridge(X: np.ndarray, Y: np.ndarray, p: float) -> np.ndarray:
    """W (d, m) that minimises the expected squared loss under dropout on X (n, d)."""
    G = X.T @ X
    return np.linalg.solve(G + p / (1 - p) * np.diag(np.diag(G)), X.T @ Y)


gen = np.random.default_rng(0)
A, c = gen.normal(size=(8, 3)), gen.normal(size=(8, 1))
w, total = dropout_ridge(A, c, 0.5), 0.0
for mask in np.stack(np.meshgrid(*[[0, 2]] * 3), axis=-1).reshape(-1, 3):
    total += (((A * mask) @ w - c) ** 2).sum() / 8  # eight masks, equally likely
penalised = ((A @ w - c) ** 2).sum() + ((A**2).sum(axis=0)[:, None] * w**2).sum()
print(f"mean over all masks {total:.6f}, penalised loss {penalised:.6f}")
assert np.isclose(total, penalised)

# %% tags=["test"]
def test_ridge_descent_and_factors():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(5)
    for _ in range(20):
        n, d, m = rng.permutation(np.arange(2, 12))[:3]
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
        lam = rng.uniform(0.01, 2)
        want = Ridge(alpha=n * lam, fit_intercept=False).fit(X, Y).coef_.reshape(m, d).T
        assert np.allclose(ridge(X, Y, lam), want, atol=1e-9)
        U, s, Vt = np.linalg.svd(X, full_matrices=False)
        by = lambda factor: Vt.T @ (factor[:, None] * (U.T @ Y) / s[:, None])
        assert np.allclose(by(ridge_factor(s, n, lam)), want, atol=1e-9)
        steps = int(rng.integers(0, 30))
        W = descent(X, Y, 0.05, steps)
        assert np.allclose(W, by(descent_factor(s, n, 0.05, steps)), atol=1e-9)
    assert ridge(np.ones((2, 1)), np.ones((2, 1)), 1.0) == 0.5


def test_adam_step_is_torch():
    import torch

    rng = np.random.default_rng(6)
    for trial in range(20):
        decoupled, shape = bool(trial % 2), (int(rng.integers(1, 6)), 3)
        lr, decay = rng.uniform(0.001, 0.1), rng.uniform(0, 0.5)
        w, state = rng.normal(size=shape), (0.0, 0.0, 0)
        leaf = torch.from_numpy(w.copy()).requires_grad_()
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        theirs = kind([leaf], lr=lr, weight_decay=decay)
        for _ in range(6):
            g = rng.normal(size=shape) * 10.0 ** rng.integers(-9, 2)
            leaf.grad = torch.from_numpy(g.copy())
            theirs.step()
            w, state = adam_step(w, g, state, lr, decay, decoupled)
            assert np.allclose(w, leaf.detach().numpy(), atol=1e-12)


def test_dropout_is_ridge():
    from itertools import product

    rng = np.random.default_rng(7)
    for p in (0.0, 0.2, 0.5, 0.8):
        for _ in range(5):
            n, d, m = rng.permutation(np.arange(1, 7))[:3]
            n = n + d
            X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
            W = dropout_ridge(X, Y, p)

            def expected(W):
                return sum((p ** (d - sum(k)) * (1 - p) ** sum(k))
                           * ((X * np.array(k) / (1 - p) @ W - Y) ** 2).sum()
                           for k in product((0, 1), repeat=int(d)))

            penalty = p / (1 - p) * ((X**2).sum(axis=0)[:, None] * W**2).sum()
            assert np.isclose(expected(W), ((X @ W - Y) ** 2).sum() + penalty)
            for _ in range(3):
                assert expected(W) <= expected(W + 0.01 * rng.normal(size=W.shape))


# %% [markdown]
# ### Norms, backwards
#
# Take one feature, a column $z$ of a batch of $n$, and write $c = z - \mu$ and $r = \sqrt{\frac{1}{n} \sum_i c_i^2 + \epsilon}$, so that $\hat{z} = c / r$.
# Let $\hat{g} = g \, dy$ be the gradient that arrives at $\hat{z}$, and $\overline{v}$ the mean of the entries of $v$.
#
# *Through the division.* Since $\partial r / \partial c_k = c_k / (n r) = \hat{z}_k / n$, you get $\partial \hat{z}_i / \partial c_k = (\delta_{ik} - \hat{z}_i \hat{z}_k / n) / r$, with $\delta_{ik} = 1$ for $i = k$ and 0 otherwise; hence $dc = (\hat{g} - \hat{z} \, \overline{\hat{g} \odot \hat{z}}) / r$.
#
# *Through the centring.* Centring is a projection, so backwards it centres the gradient: $dz = dc - \overline{dc}$.
# As $\overline{\hat{z}} = 0$, all together
#
# $$
# \begin{aligned}
# dz &= \frac{1}{r} \left(\hat{g} - \overline{\hat{g}} - \hat{z} \, \overline{\hat{g} \odot \hat{z}}\right), \\
# dg &= \sum_i dy_i \, \hat{z}_i,
# \quad
# db = \sum_i dy_i
# \end{aligned}
# $$
#
# **What this means:** two parts of the gradient are removed, a common shift and a common stretch, because the layer undoes both: adding a constant to a feature, or doubling it, changes no output (up to $\epsilon$).
# In eval mode $\mu$ and $r$ are constants and $dz = \hat{g} / r$.


# %%
def batch_norm_backward(dY: np.ndarray, Z: np.ndarray, g: np.ndarray,
                        eps: float = 1e-5) -> tuple:
    """In training mode, from dY (n, d): dZ (n, d), dg (d,), db (d,)."""
    r = np.sqrt(Z.var(axis=0) + eps)
    Z_hat, d_hat = (Z - Z.mean(axis=0)) / r, dY * g
    dZ = (d_hat - d_hat.mean(axis=0) - Z_hat * (d_hat * Z_hat).mean(axis=0)) / r
    return dZ, (dY * Z_hat).sum(axis=0), dY.sum(axis=0)


# %% [markdown]
# Layer norm is the same formula with means over features; without centring it is RMS norm.
# These four functions come back in the [transformer](../transformers/transformer-architecture.py#a-standard-size-norms).


# %%
def rms_norm(x: np.ndarray, g: np.ndarray | float = 1.0,
             eps: float = 1e-5) -> np.ndarray:
    """Each token of x (..., d) divided by its root mean square, times gains g (d,)."""
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * g


# %%
#| chunk: rms_norm_backward
def rms_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,)."""
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    y, d_hat = x / r, dy * g
    dx = (d_hat - y * (d_hat * y).mean(axis=-1, keepdims=True)) / r
    return dx, (dy * y).reshape(-1, x.shape[-1]).sum(axis=0)


# %%
#| chunk: layer_norm
def layer_norm(x, g, b, eps=1e-5):
    """x (..., d), gains and shifts (d,)."""
    return rms_norm(x - x.mean(axis=-1, keepdims=True), g, eps) + b


# %%
#| chunk: layer_norm_backward
def layer_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,), db (d,)."""
    dc, dg = rms_norm_backward(dy, x - x.mean(axis=-1, keepdims=True), g, eps)
    dx = dc - dc.mean(axis=-1, keepdims=True)
    return dx, dg, dy.reshape(-1, x.shape[-1]).sum(axis=0)


# %%
dY = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
dZ, _, _ = batch_norm_backward(dY, Z_hand, np.ones(2), eps=0.0)
print(dZ.round(3) + 0.0)
print("sum over the batch", abs(dZ.sum(axis=0)).round(9),
      " along Z", abs((dZ * Z_hand).sum(axis=0)).round(9))
one, zero = np.ones(3), np.zeros(3)
assert np.allclose(layer_norm(Z_hand.T, one, zero, 0.0).T, Z_hat)

# %% [markdown]
# **What the code shows:** only the third example sent a gradient to the second feature, yet all three rows receive one: the examples of a batch are coupled, backwards too.
# The last line checks that batch norm is the layer norm of the transposed batch.

# %% tags=["test"]
def test_norms_backward_are_torch():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(8)
    for trial in range(30):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        size, eps = (1.0, 1e3, 1e-3)[trial % 3], float(rng.choice([1e-5, 0.1]))
        x, dy = size * rng.normal(size=(n, d)), rng.normal(size=(n, d))
        if trial == 4:
            x[:] = 1.0  # variance zero
        g, b = rng.normal(size=(2, d))
        for kind in ("batch", "layer", "rms"):
            tx, tg, tb = (torch.from_numpy(v.copy()).requires_grad_() for v in (x, g, b))
            if kind == "batch":
                want = F.batch_norm(tx, None, None, tg, tb, training=True, eps=eps)
                got = batch_norm(x, g, b, (np.zeros(d), np.ones(d)), eps=eps)[0]
                grads = batch_norm_backward(dy, x, g, eps)
            elif kind == "layer":
                want = F.layer_norm(tx, (d,), tg, tb, eps)
                got, grads = layer_norm(x, g, b, eps), layer_norm_backward(dy, x, g, eps)
            else:
                want = F.rms_norm(tx, (d,), tg, eps)
                got, grads = rms_norm(x, g, eps), rms_norm_backward(dy, x, g, eps)
            want.backward(torch.from_numpy(dy))
            assert np.allclose(got, want.detach().numpy(), rtol=1e-7, atol=1e-9)
            for ours, leaf in zip(grads, (tx, tg, tb)):
                assert ours.shape == tuple(leaf.shape)
                assert np.allclose(ours, leaf.grad.numpy(), rtol=1e-6, atol=1e-8)


def test_norm_defaults_and_leading_axes():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(9)
    x, dy = 0.01 * rng.normal(size=(2, 2, 3, 5))
    g, b = rng.normal(size=(2, 5))
    tx, tg, tb = (torch.from_numpy(v.copy()).requires_grad_() for v in (x, g, b))
    F.layer_norm(tx, (5,), tg, tb).backward(torch.from_numpy(dy))
    for ours, leaf in zip(layer_norm_backward(dy, x, g), (tx, tg, tb)):
        assert np.allclose(ours, leaf.grad.numpy(), rtol=1e-7, atol=1e-10)
    assert np.allclose(layer_norm(x, g, b),
                       F.layer_norm(tx, (5,), tg, tb).detach().numpy(), atol=1e-10)
    want = F.rms_norm(tx, (5,), tg, 1e-5)
    assert np.allclose(rms_norm(x, g), want.detach().numpy(), atol=1e-10)
    assert np.allclose(rms_norm(x) * g, want.detach().numpy(), atol=1e-10)
    tx.grad = None
    want.backward(torch.from_numpy(dy))
    got = rms_norm_backward(dy, x, g)[0]
    assert np.allclose(got, tx.grad.numpy(), rtol=1e-7, atol=1e-10)
    z, dz = rng.normal(size=(2, 4, 3))
    tz = torch.from_numpy(z).requires_grad_()
    F.batch_norm(tz, None, None, training=True).backward(torch.from_numpy(dz))
    got = batch_norm_backward(dz, z, np.ones(3))[0]
    assert np.allclose(got, tz.grad.numpy(), atol=1e-10)


# %% [markdown]
# ### Why batch norm helps, and why not
#
# Put it into the eight sigmoid layers, with the same data, rates and number of steps as [before](activation-functions.py#a-deep-network-that-does-not-learn).
# Its authors gave as the reason that layers need not chase the shifting distribution of their inputs, the *internal covariate shift*.
# In the spirit of Santurkar et al. [@santurkar2018how] a third network puts that shift *back*: behind each norm the activations are scaled and shifted by noise, whose mean is drawn anew for each feature at every step.

# %%
import torch
from torch import nn


class Shift(nn.Module):
    """In training, noisy scales and shifts around means that are new at each step."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return z
        d = z.shape[1]
        scale = 0.5 + torch.rand(d) + 0.25 * torch.randn_like(z)
        return z * scale + 0.5 * torch.randn(d) + 0.25 * torch.randn_like(z)


def sigmoid_stack(kind: str) -> nn.Sequential:
    """Eight hidden sigmoid layers of width 32; kind: plain, norm, norm + shift."""
    layers, d_in = [], 64
    for _ in range(8):
        linear = nn.Linear(d_in, 32)
        nn.init.normal_(linear.weight, 0, d_in**-0.5)
        nn.init.zeros_(linear.bias)
        norm = [nn.BatchNorm1d(32)] if kind != "plain" else []
        shift = [Shift()] if kind == "norm + shift" else []
        layers += [linear, *norm, *shift, nn.Sigmoid()]
        d_in = 32
    return nn.Sequential(*layers, nn.Linear(32, 10))


def train_stack(kind: str, lr: float, seed: int) -> tuple[nn.Module, float]:
    """A trained stack and its test accuracy, six epochs of plain SGD."""
    torch.manual_seed(seed)
    net = sigmoid_stack(kind)
    for _ in range(6):
        for rows in torch.randperm(1000).reshape(-1, 25):
            loss = nn.functional.cross_entropy(net(X_deep[rows]), y_deep[rows])
            net.zero_grad()
            loss.backward()
            with torch.no_grad():
                for param in net.parameters():
                    param -= lr * param.grad
    net.eval()
    hits = net(X_deep[1400:]).argmax(dim=1) == y_deep[1400:]
    return net, hits.float().mean().item()


order = np.random.default_rng(0).permutation(len(digits))
X_deep = torch.tensor(images[order], dtype=torch.float32)
y_deep = torch.tensor(digits[order])
deep = {}
for kind in ("plain", "norm", "norm + shift"):
    for lr in (0.1, 1.0):
        deep[kind, lr] = [train_stack(kind, lr, seed)[1] for seed in range(4)]
    print(f"{kind:13}" + "".join(
        f"  rate {lr}: {np.mean(deep[kind, lr]):.2f} "
        f"({min(deep[kind, lr]):.2f} to {max(deep[kind, lr]):.2f})"
        for lr in (0.1, 1.0)))

# %% [markdown]
# **What the code shows:** with batch norm the dead stack learns, at two rates ten times apart.
# With shifting inputs on purpose it still does, well above the plain stack's `{python} f"{np.mean(deep['plain', 0.1]):.0%}"`: so removing that shift is not *needed* for the gain.
# (Four seeds, one small net; at the lower rate the noise costs accuracy.)
# Santurkar et al. found in large networks that the loss changes more evenly along a step, so longer steps are safe; they offer this smoothness as the cause, and the account is not closed.
#
# ### Decay below a norm is a learning rate
#
# Let $w$ be the weights into one unit, a column of $W$, with a batch norm behind it.
# Making $w$ longer changes no output: $L(aw) = L(w)$ for $a \gt 0$.
# So the loss has no slope along $w$: the gradient is orthogonal to it.
# And taking derivatives on both sides, $a \, \nabla L(aw) = \nabla L(w)$: at twice the length the gradient is half as large, so its size is $G / \lVert w \rVert$ with a $G$ that depends on direction (and batch) alone.
# A step of SGD with decay then obeys Pythagoras:
#
# $$
# \lVert w' \rVert^2 = (1 - \eta \lambda)^2 \lVert w \rVert^2 + \frac{\eta^2 G^2}{\lVert w \rVert^2}
# $$
#
# Where shrinking and growing balance, $\lVert w' \rVert = \lVert w \rVert$, with $\eta \lambda \ll 1$ and the mean of $G^2$ over batches, you get $\lVert w \rVert^4 \approx \eta G^2 / (2 \lambda)$.
# The angle of a step is about $\eta \lVert \partial L / \partial w \rVert / \lVert w \rVert = \eta G / \lVert w \rVert^2$, which becomes $\sqrt{2 \eta \lambda}$: $G$ has dropped out.
#
# Try it on a hidden layer with a batch norm, from short and from long initial weights.


# %%
def turn_per_step(lr: float, decay: float, length: float) -> tuple[float, float]:
    """Root mean square angle of a step, final length; 1000 steps from `length`."""
    rng, one, zero = np.random.default_rng(0), np.ones(32), np.zeros(32)
    W, U = rng.normal(size=(64, 32)), rng.normal(size=(32, 10)) / 32**0.5
    W, angles = length * W / np.linalg.norm(W, axis=0), []
    for _ in range(1000):
        rows = rng.integers(1000, size=50)
        X, Z = images[rows], images[rows] @ W
        z, _ = batch_norm(Z, one, zero, (zero, one))
        ds = (softmax(np.maximum(z, 0) @ U) - np.eye(10)[digits[rows]]) / 50
        dW = X.T @ batch_norm_backward((ds @ U.T) * (z > 0), Z, one)[0]
        old, W = W, W - lr * (dW + decay * W)
        lengths = np.linalg.norm(old, axis=0) * np.linalg.norm(W, axis=0)
        angles.append(np.arccos(np.minimum((old * W).sum(axis=0) / lengths, 1)))
    settled = np.array(angles[500:])
    return np.sqrt((settled**2).mean()), np.linalg.norm(W, axis=0).mean()


turns = {}
print("rate  decay  predicted   angle and length, from length 0.2 and from 5")
for lr, decay in ((0.1, 0.1), (1.0, 0.01), (0.4, 0.1), (0.1, 0.0)):
    turns[lr, decay] = [turn_per_step(lr, decay, first) for first in (0.2, 5.0)]
    print(f"{lr:4.1f} {decay:6.2f} {np.sqrt(2 * lr * decay):10.4f}  "
          + "".join(f"{angle:9.4f} {end:5.2f}" for angle, end in turns[lr, decay]))

# %% [markdown]
# **What the code shows:** ten times the rate with a tenth of the decay turns the weights by the same angle, and the initial length is forgotten.
# Here decay does not limit what the network can express; once the length has settled, after some multiples of $1 / (\eta \lambda)$ steps, it sets how far the weights *turn* per step, in an equal role with $\eta$ [@vanlaarhoven2017l2].
# Without it the length can only grow, long weights hardly turn, and learning slows down.

# %% tags=["test"]
def test_scale_invariance_under_a_norm():
    rng = np.random.default_rng(10)
    X, W, dY = rng.normal(size=(9, 4)), rng.normal(size=(4, 3)), rng.normal(size=(9, 3))

    def gradient(W):
        return X.T @ batch_norm_backward(dY, X @ W, np.ones(3), 0.0)[0]

    assert np.allclose((gradient(W) * W).sum(axis=0), 0, atol=1e-10)
    assert np.allclose(gradient(5 * W), gradient(W) / 5, atol=1e-12)
    g, G = gradient(W), np.linalg.norm(gradient(W), axis=0) * np.linalg.norm(W, axis=0)
    squared = (W**2).sum(axis=0)
    want = (1 - 0.2 * 0.3) ** 2 * squared + 0.2**2 * G**2 / squared
    assert np.allclose(((W - 0.2 * (g + 0.3 * W)) ** 2).sum(axis=0), want)


# %% tags=["test", "experiment"]
def test_turning_conclusion():
    for (lr, decay), ends in turns.items():
        if decay:
            angles = [angle for angle, _ in ends]
            assert np.allclose(angles, (2 * lr * decay) ** 0.5, rtol=0.02)
            assert np.isclose(ends[0][1], ends[1][1], rtol=0.05)
        else:
            assert ends[0][1] > 0.3 and ends[1][1] > 5 and ends[1][0] < 0.1 * ends[0][0]


def test_stack_conclusion():
    assert max(deep["plain", 0.1] + deep["plain", 1.0]) < 0.2
    assert min(deep["norm", 0.1]) > 0.8
    for lr in (0.1, 1.0):
        assert np.mean(deep["norm", lr]) > 0.75
        assert np.mean(deep["norm + shift", lr]) > 0.6


# %% [markdown]
# ### Experiment: does a larger model always overfit more?
#
# Errors have two sources [@geman1992neural].
# Train the same kind of model $f$ on many training sets, and write $\overline{f}$ for the mean prediction.
# For a true target $t$,
#
# $$
# \mathbb{E}\left[(f - t)^2\right] = (\overline{f} - t)^2 + \mathbb{E}\left[(f - \overline{f})^2\right]
# $$
#
# *Bias* (first, squared): what even the average model gets wrong.
# *Variance* (second): how much the model depends on which examples it happened to see.
# The cross term vanishes because $\mathbb{E}[f - \overline{f}] = 0$.
#
# **Question.** How do error, bias and variance change as a model grows past the size at which it fits its training data?
# The model is a hidden layer of $N$ *random* ReLU units, of which only the output weights are fitted, by least squares to one-hot targets (minus their mean, 0.1); where many solutions fit, the one with the smallest norm is taken.
# There are $n = 200$ training digits, with 20% of the labels redrawn, and twelve draws of images, labels and units; 600 test images are held fixed.
#
# **Prediction.** The classical account says that variance, and so error, grows with $N$ for good.
# Belkin et al. found a second descent instead [@belkin2019reconciling], and Nakkiran et al. in deep networks [@nakkiran2020deep]: a peak at $N = n$, where exactly one solution is left, with no choice of a small one.
# Three controls: true labels (a much lower peak), $n = 100$ (the peak must move), and ridge (no peak, if its strength is chosen well [@nakkiran2021optimal]; here on 200 further images, equally spoiled).


# %%
def relu_features(X: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Random features (n, N) of X (n, d) from random directions V (d, N)."""
    return np.maximum(X @ V, 0) / np.sqrt(V.shape[1])


def ridge_path(F: np.ndarray, Y: np.ndarray, F_new: np.ndarray,
               strengths: list) -> np.ndarray:
    """Predictions (len(strengths), n_new, m); a strength is n * lam, 0 least norm."""
    U, s, Vt = np.linalg.svd(F, full_matrices=False)
    kept = s > 1e-10 * s[0]
    U, s, Vt = U[:, kept], s[kept], Vt[kept]
    P, UY = F_new @ Vt.T, U.T @ Y
    return np.array([(P * (s / (s**2 + k))) @ UY for k in strengths])


def bias_variance(fits: np.ndarray, T: np.ndarray) -> tuple[float, float]:
    """Squared bias and variance per row, unbiased, of fits (R, n, m) for targets T."""
    variance = fits.var(axis=0, ddof=1).sum(axis=-1).mean()
    bias = ((fits.mean(axis=0) - T) ** 2).sum(axis=-1).mean() - variance / len(fits)
    return float(bias), float(variance)


# %%
WIDTHS = (10, 20, 50, 100, 140, 180, 200, 220, 260, 350, 500, 1000, 2000)
STRENGTHS = [0.0, *10.0 ** np.arange(-3, 3)]
DRAWS = 12
test_rows, pool = order[:600], order[600:]
errors = {name: np.zeros((DRAWS, len(WIDTHS)))
          for name in ("20% redrawn", "true labels", "100 examples", "ridge")}
spread = np.zeros((len(WIDTHS), 2))
for i, N in enumerate(WIDTHS):
    predictions = []
    for draw in range(DRAWS):
        gen = np.random.default_rng([draw, 7])
        rows = gen.permutation(pool)
        train, valid = rows[:200], rows[200:400]
        V = gen.normal(size=(64, N)) / 8
        noisy, noisy_valid = (spoil(digits[r], 0.2, gen) for r in (train, valid))
        F, F_valid, F_test = (relu_features(images[r], V)
                              for r in (train, valid, test_rows))
        Y = np.hstack([np.eye(10)[noisy], np.eye(10)[digits[train]]]) - 0.1
        path = ridge_path(F, Y, np.vstack([F_valid, F_test]), STRENGTHS)
        wrong = path[:, :200, :10].argmax(axis=2) != noisy_valid
        best = wrong.mean(axis=1)[1:].argmin() + 1  # chosen on noisy validation labels
        half = ridge_path(F[:100], Y[:100, :10], F_test, [0.0])[0]
        for name, fit in (("20% redrawn", path[0, 200:, :10]),
                          ("true labels", path[0, 200:, 10:]),
                          ("100 examples", half), ("ridge", path[best, 200:, :10])):
            errors[name][draw, i] = (fit.argmax(axis=1) != digits[test_rows]).mean()
        predictions.append(path[0, 200:, :10])
    targets = np.eye(10)[digits[test_rows]] - 0.1
    spread[i] = bias_variance(np.array(predictions), targets)

# %%
#| label: fig-double-descent
#| fig-cap: Left, test error against the number of random units N for 200 training digits (dotted line, N = 200) and the three controls; lines are means of twelve draws, bands the middle two thirds. Right, squared bias and variance of the fit to redrawn labels; at N = 200 the estimate of the bias drowns in the variance.
#| fig-alt: Left, the error with noisy labels falls, climbs to a sharp peak at N equal to 200 and falls again; with 100 examples the peak is at 100; with true labels the peak is narrower; with ridge there is none and the error falls steadily. Right, variance peaks at N equal to 200 while the bias falls, apart from one outlier at the peak.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.3))
for (name, runs), style in zip(errors.items(), ("o-", "s--", "^:", "-.")):
    axes[0].semilogx(WIDTHS, runs.mean(axis=0), style, markersize=3.5, label=name)
    axes[0].fill_between(WIDTHS, *np.quantile(runs, [1 / 6, 5 / 6], axis=0), alpha=0.2)
axes[0].set(xlabel="random units N", ylabel="test error", ylim=(0, 1.25))
axes[0].legend(fontsize=8, ncols=2, loc="upper center")
axes[1].loglog(WIDTHS, np.maximum(spread[:, 0], 1e-9), "o-", markersize=3.5,
               label="squared bias")
axes[1].loglog(WIDTHS, spread[:, 1], "s--", markersize=3.5, label="variance")
axes[1].set(xlabel="random units N", ylabel="per test image", ylim=(0.03, None))
axes[1].legend()
for ax in axes:
    ax.axvline(200, color="0.5", linestyle=":", linewidth=1)

# %%
shown = (50, 100, 200, 500, 2000)
print("units        " + "".join(f"{N:6}" for N in shown))
for name, runs in errors.items():
    at = dict(zip(WIDTHS, runs.mean(axis=0)))
    print(f"{name:13}" + "".join(f"{at[N]:6.2f}" for N in shown))

# %% [markdown]
# **What the code shows:** the main prediction holds (@fig-double-descent).
# With redrawn labels the error reaches `{python} f"{errors['20% redrawn'][:, 6].mean():.0%}"` at $N = n$ and comes down to `{python} f"{errors['20% redrawn'][:, -1].mean():.0%}"` at `{python} WIDTHS[-1]` units, about the level of the best small model; the peak is variance (`{python} f"{spread[6, 1]:,.0f}"` there, so that twelve draws cannot estimate the bias at this one point), and with $n = 100$ it sits at 100.
# One part of it fails: true labels make the peak narrower, hardly lower. A likely reason: random features fit even true labels imperfectly, and tiny singular values blow that misfit up like noise.
# The peak is also a sign of missing regularisation: well-chosen ridge removes it and beats the largest unpenalised model at every $N$ from `{python} min(N for N, e in zip(WIDTHS, errors['ridge'].mean(axis=0)) if e < errors['20% redrawn'][:, -1].mean())` units on.
# So neither "larger overfits more" nor "larger is enough" is right.
# This is one data set, a linear fit and a range of sizes chosen to show the peak; the twelve draws share a pool of `{python} len(pool)` images.
#
# ### Other ways to hold back
#
# | method | what it does | remark |
# |---|---|---|
# | data augmentation | trains on changed copies whose label is known: shifts, flips, crops | says what does *not* matter; in image models since the 1990s, at scale in 2012 [@krizhevsky2012imagenet] |
# | mixup [@zhang2018mixup] | trains on $\alpha x_i + (1 - \alpha) x_j$ with target $\alpha y_i + (1 - \alpha) y_j$, $\alpha$ random | asks for straight lines between examples |
# | label smoothing [@szegedy2016rethinking] | moves a little target probability to the other classes | see [loss functions](../training/loss-functions.py#softer-targets-label-smoothing) |
# | ensembles | averages several trained models | removes variance, costs every model again |
# | small [batches](../training/batching.py) | noisy gradients | a side effect rather than a dial |
#
# ### Practice, 2026
#
# - **Convolutional image networks** often keep batch norm; ConvNeXt uses layer norm [@liu2022convnet], and networks without any norm have matched it, with careful scaling and clipped gradients [@brock2021high].
# - **Transformers** use layer or RMS norm, which do not depend on the batch; replacing the norm by a learned tanh also works [@zhu2025transformers].
# - **Dropout** was 0.1 in the first transformer [@vaswani2017attention] and in [BERT](../transformers/bert.py) [@devlin2019bert]. [Pretraining](../modern-llms/pretraining.py) that reads most of its text once usually leaves it out: PaLM trained without and mostly used 0.1 for [fine-tuning](../modern-llms/fine-tuning.py) [@chowdhery2022palm], and a study up to 1.4 billion parameters found one-epoch models better without [@liu2025drop].
# - **Decay** of 0.1 is in many recipes, from GPT-3 [@brown2020language] to Llama with AdamW [@touvron2023llama]. In one-epoch training it lowers the *training* loss, as a learning-rate effect [@dangelo2024why]. Where data must be repeated, it regularises again: with 200 million [tokens](../modern-llms/pretraining.py#byte-pair-encoding) the best decay was 30 times the usual one [@kim2025pretraining].
#
# Decay in neural networks was studied by 1991 [@krogh1991simple]; dropout came in 2012 to 2014 [@srivastava2014dropout].

# %% tags=["test"]
def test_ridge_path():
    rng = np.random.default_rng(11)
    for trial in range(20):
        n, N, m, k = rng.permutation(np.arange(2, 12))[:4]
        F, Y, F_new = (rng.normal(size=s) for s in ((n, N), (n, m), (k, N)))
        if trial % 4 == 0:
            F[:, 0] = 0.0  # a dead unit
        path = ridge_path(F, Y, F_new, [0.0, 0.7])
        assert path.shape == (2, k, m)
        assert np.allclose(path[0], F_new @ np.linalg.lstsq(F, Y)[0], atol=1e-8)
        assert np.allclose(path[1], F_new @ ridge(F, Y, 0.7 / n), atol=1e-9)


def test_relu_features():
    X, V = np.array([[1.0, -2.0]]), np.array([[1.0, 0.0, 1.0, 4.0], [0.0, 1.0, 0.0, 1.0]])
    assert np.allclose(relu_features(X, V), [[0.5, 0.0, 0.5, 1.0]])


def test_bias_variance_is_unbiased():
    rng = np.random.default_rng(12)
    T = rng.normal(size=(400, 3))
    fits = T + 0.5 + 2.0 * rng.normal(size=(4, 400, 3))  # bias 0.5, variance 4, each entry
    bias, variance = bias_variance(fits, T)
    assert abs(variance - 12) < 1 and abs(bias - 0.75) < 0.5
    total = ((fits - T) ** 2).sum(axis=-1).mean()
    assert np.isclose(total, bias + variance, rtol=1e-12)


# %% tags=["test", "experiment"]
def test_double_descent_conclusion():
    for name, peak in (("20% redrawn", 200), ("true labels", 200), ("100 examples", 100)):
        assert WIDTHS[errors[name].mean(axis=0).argmax()] == peak
        assert errors[name].mean(axis=0)[-1] < 0.5 * errors[name].mean(axis=0).max()
    ridge_means = errors["ridge"].mean(axis=0)
    assert (np.diff(ridge_means) < 0.02).all()
    assert (ridge_means[2:] < errors["20% redrawn"].mean(axis=0)[-1]).all()
    assert WIDTHS[spread[:, 1].argmax()] == 200
    assert (errors["20% redrawn"] > errors["true labels"])[:, 6:].mean() > 0.9


# %% [markdown]
# ## 3. Practical considerations
#
# ### What it costs
#
# Dropout and decay add no parameters.
# Batch norm adds, for each channel, a gain and a shift that are learned and two running numbers that are not.
# The 50-layer [residual network](../architectures/cnns.py#from-1980-to-today) of 2015 [@he2016deep] has a first layer of 64 channels and four stages of blocks; a block of width $w$ normalises $w + w + 4w$ channels, and each stage $4w$ more on its shortcut:
#
# $$
# \text{channels} = 64 + \sum_{\text{stages}} \left(6w \cdot \text{blocks} + 4w\right)
# $$


# %%
def norm_channels(widths: tuple, blocks: tuple, stem: int = 64) -> int:
    """Channels with a batch norm in a bottleneck residual network."""
    return stem + sum(6 * w * count + 4 * w for w, count in zip(widths, blocks))


channels = norm_channels((64, 128, 256, 512), (3, 4, 6, 3))
assert 2 * channels == 53_120
print(f"{channels} channels, {2 * channels} learned numbers, "
      f"{2 * channels / 25_557_032:.1%} of all parameters")

# %% [markdown]
# **What the code shows:** next to nothing in parameters. (The divisor is what [torchvision](https://pytorch.org/vision/stable/models/generated/torchvision.models.resnet50.html) gives for `resnet50`.)
# The cost lies elsewhere: the whole batch must be seen before the first output, across machines too.
#
# ### Failure mode 1: training mode at test time

# %%
net, accuracy = train_stack("norm", 0.1, 0)
X_last, y_last = X_deep[1400:1780], y_deep[1400:1780]
by_class = torch.argsort(y_last, stable=True)
net.train()  # the mistake
with torch.no_grad():
    for name, rows in (("shuffled", torch.arange(380)), ("sorted by class", by_class)):
        hits = [(net(X_last[part]).argmax(dim=1) == y_last[part]).float().mean()
                for part in rows.reshape(-1, 20)]
        print(f"train mode, batches of 20 {name}: accuracy {np.mean(hits):.2f}")
    try:
        net(X_last[:1])
    except ValueError as error:
        print("batch of one:", str(error)[:51])
print(f"eval mode, any order: accuracy {accuracy:.2f}")

# %% [markdown]
# **Symptom:** the answer to one question depends on the others in the batch; accuracy collapses when neighbours are alike, and a single example is an error. With dropout left on, answers change from call to call.
# **Cause:** `net.eval()` forgotten; if a batch holds one class, the norm subtracts precisely what the class has in common.
# In training the coupling can *leak*: He et al. suspected it when a network matched two views of an image too easily [@he2020momentum].
# **Fix:** `eval()` before every evaluation, `train()` after it, and a test: the output for a row must not change when you change another row.
#
# ### Failure mode 2: dropout in front of a batch norm

# %%
gen = np.random.default_rng(0)
running, p = (np.zeros(50), np.ones(50)), 0.5
for _ in range(200):  # "training": the running statistics are taken under dropout
    h = np.maximum(gen.normal(size=(64, 50)), 0)
    h = h * dropout_mask(h.shape, p, gen)
    _, running = batch_norm(h, np.ones(50), np.zeros(50), running)
h = np.maximum(gen.normal(size=(5000, 50)), 0)  # "evaluation": no dropout
out, _ = batch_norm(h, np.ones(50), np.zeros(50), running, training=False)
print(f"standard deviation behind the norm in eval mode: {out.std(axis=0).mean():.2f}")

# %% [markdown]
# **Symptom:** activations smaller in evaluation than in training, here by the factor above; deep networks lose accuracy [@li2019understanding].
# **Cause:** dropout keeps the mean but adds the variance $\frac{p}{1-p} h^2$; the norm stores the enlarged variance, and in eval mode divides by it although the noise is gone.
# The next layer expects a standard deviation of 1 and gets less.
# **Fix:** dropout behind the last batch norm, or not at all.
#
# ### Failure mode 3: augment, then split
#
# Two hundred images with *random* labels, each with four noisy copies, and a classifier that looks up the nearest training image.


# %%
def nearest_accuracy(X: np.ndarray, y: np.ndarray, X_new: np.ndarray,
                     y_new: np.ndarray) -> float:
    """Accuracy of copying the label of the nearest row of X."""
    squared = (X**2).sum(axis=1) - 2 * X_new @ X.T  # up to a constant per new row
    return float((y[squared.argmin(axis=1)] == y_new).mean())


gen = np.random.default_rng(0)
source = np.repeat(np.arange(200), 5)  # which image a copy comes from
labels = gen.integers(10, size=200)[source]  # nothing can be learned
copies = images[source] + 0.3 * gen.normal(size=(1000, 64))
shuffled = gen.permutation(1000)
by_image = np.argsort(gen.permutation(200)[source], kind="stable")
for name, rows in (("split copies", shuffled), ("split images", by_image)):
    train, test = rows[:800], rows[800:]
    leaked = nearest_accuracy(copies[train], labels[train], copies[test], labels[test])
    print(f"{name}: test accuracy {leaked:.0%}")

# %% [markdown]
# **Symptom:** a validation score too good to be true, and a bad surprise afterwards.
# **Cause:** copies of one image on both sides of the split; the same happens with frames of one film, records of one patient, or web pages stored twice.
# **Fix:** split by source first, then augment the training part; and try your pipeline on random labels: it must score chance.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **$p$.** Here and in PyTorch the probability to *drop*; the paper of 2014 writes $p$ for the probability to *keep*, and scales the weights at test time instead.
# > - **Momentum of batch norm.** In PyTorch the weight of the *new* value, 0.1; in Keras that of the *old* one, 0.99.
# > - **What $\lambda$ multiplies.** Here $\frac{\lambda}{2} \lVert \theta \rVert^2$ beside a *mean* loss. scikit-learn's `Ridge(alpha)` penalises a *sum* of squares: $\alpha = n \lambda$. Its `Lasso(alpha)` divides the sum by $2n$.
# > - **AdamW's decay.** PyTorch shrinks by $1 - \eta \lambda$; the paper has a schedule multiplier there and no $\eta$. `Adam(weight_decay=…)` is L2.
# > - **"Normalisation".** Of the *data* (once, with training-set statistics), of *activations* (this topic), of *weights*: three different things.
# > - **Layer norm over which axes?** In transformers the last one, so nothing leaks between tokens; for images, PyTorch's `GroupNorm(1, C)` averages over positions too.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): a batch of two, and a useless bias
#
# What does batch norm in training mode give for a batch of *two* examples ($\epsilon = 0$, $g = 1$, $b = 0$)?
# And why do layers in front of a batch norm have no bias?

# %% [markdown] tags=["solution"]
# With values $a \gt c$ the mean is $(a + c)/2$ and the standard deviation $(a - c)/2$, so the outputs are $1$ and $-1$, whatever the values (and $0$, $0$ with a positive $\epsilon$ if they tie): only the order survives.
# A bias adds the same number to a feature in all examples, and the norm subtracts it again. Its gradient is the sum of $dz$ over the batch, which is zero; the shift $b$ does the bias's work.

# %% [markdown]
# ### Exercise 2 (check): dropout by hand
#
# A unit computes $w \cdot \tilde{h}$ with $h = (1, 2, 2)$, $w = (3, 0, 1)$ and dropout $p = 1/5$ on $h$.
# Return the mean and the variance of its value over the masks.


# %%
def dropout_by_hand() -> tuple[float, float]:
    """Mean and variance of the unit's value."""
    ### BEGIN SOLUTION
    # Mean: 3 + 0 + 2. Variance: p / (1 - p) = 1/4 times (9 + 0 + 4).
    return 5.0, 13 / 4
    ### END SOLUTION


# %% tags=["test"]
def test_dropout_by_hand():
    from itertools import product

    products, values, chances = np.array([3.0, 0.0, 2.0]), [], []
    for kept in product((0, 1), repeat=3):
        values.append(products @ np.array(kept) / 0.8)
        chances.append(0.8 ** sum(kept) * 0.2 ** (3 - sum(kept)))
    mean = np.dot(chances, values)
    variance = np.dot(chances, (np.array(values) - mean) ** 2)
    assert np.allclose(dropout_by_hand(), [mean, variance])


# %% [markdown]
# ### Exercise 3 (apply): ridge from plain least squares
#
# You have a least-squares solver that knows no penalty, `np.linalg.lstsq`.
# Get `ridge(X, Y, lam)` from it by adding rows to the data.
# What do these invented examples say?


# %%
def ridge_by_rows(X: np.ndarray, Y: np.ndarray, lam: float) -> np.ndarray:
    """Ridge weights (d, m) from `np.linalg.lstsq` on enlarged data."""
    ### BEGIN SOLUTION
    (n, d), m = X.shape, Y.shape[1]
    X_more = np.vstack([X, np.sqrt(n * lam) * np.eye(d)])
    return np.linalg.lstsq(X_more, np.vstack([Y, np.zeros((d, m))]), rcond=None)[0]
    ### END SOLUTION


# %% tags=["test"]
def test_ridge_by_rows():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d, m = rng.permutation(np.arange(1, 10))[:3]
        X, Y, lam = rng.normal(size=(n, d)), rng.normal(size=(n, m)), rng.uniform(0.01, 3)
        got = ridge_by_rows(X, Y, lam)
        assert got.shape == (d, m) and np.allclose(got, ridge(X, Y, lam), atol=1e-9)


# %% [markdown] tags=["solution"]
# Each added row has one feature of size $\sqrt{n \lambda}$ and target 0: "this feature alone predicts nothing". The prior is data that you made up, and its sum of squares is $n \lambda \lVert W \rVert^2$.

# %% [markdown]
# ### Exercise 4 (apply): fold the norm away
#
# In eval mode batch norm is a linear map, so `X @ W + c` followed by the norm is *one* linear layer.
# Return its weights and bias. (Deployed image networks do this.)


# %%
def fold(W: np.ndarray, c: np.ndarray, g: np.ndarray, b: np.ndarray, running: tuple,
         eps: float = 1e-5) -> tuple[np.ndarray, np.ndarray]:
    """W' (d_in, d), c' (d,) of the layer that replaces both in eval mode."""
    ### BEGIN SOLUTION
    mean, var = running
    scale = g / np.sqrt(var + eps)
    return W * scale, (c - mean) * scale + b
    ### END SOLUTION


# %% tags=["test"]
def test_fold():
    rng = np.random.default_rng(14)
    for _ in range(20):
        n, d_in, d = rng.permutation(np.arange(1, 10))[:3]
        X, W = rng.normal(size=(n, d_in)), rng.normal(size=(d_in, d))
        c, g, b, mean = rng.normal(size=(4, d))
        running = (mean, rng.uniform(0.01, 3, size=d))
        want, _ = batch_norm(X @ W + c, g, b, running, training=False)
        W_new, c_new = fold(W, c, g, b, running)
        assert W_new.shape == (d_in, d) and np.allclose(X @ W_new + c_new, want)


# %% [markdown]
# ### Exercise 5 (apply): group norm
#
# Split the features of each row into groups of neighbours and normalise each group by itself; gains and shifts are per feature.
# Use `layer_norm`.


# %%
def group_norm(X: np.ndarray, groups: int, g: np.ndarray, b: np.ndarray,
               eps: float = 1e-5) -> np.ndarray:
    """X (n, d) normalised over each of `groups` groups of d / groups features."""
    ### BEGIN SOLUTION
    n, d = X.shape
    parts = layer_norm(X.reshape(n, groups, d // groups), 1.0, 0.0, eps)
    return parts.reshape(n, d) * g + b
    ### END SOLUTION


# %% tags=["test"]
def test_group_norm():
    import torch

    rng = np.random.default_rng(15)
    for groups, size in [(1, 5), (5, 2), (3, 4), (2, 7), (4, 3)] * 4:
        n, d = int(rng.integers(1, 6)), groups * size
        X, (g, b) = rng.normal(size=(n, d)), rng.normal(size=(2, d))
        want = torch.nn.functional.group_norm(
            torch.from_numpy(X), groups, torch.from_numpy(g), torch.from_numpy(b))
        assert np.allclose(group_norm(X, groups, g, b), want.numpy(), atol=1e-9)


# %% [markdown]
# ### Exercise 6 (explore): weights that are exactly zero
#
# The lasso minimises $\frac{1}{2n} \lVert Xw - y \rVert^2 + \lambda \sum_j \lvert w_j \rvert$.
# For one weight, $\frac{1}{2} (w - a)^2 + t \lvert w \rvert$ is smallest at $w = \text{sign}(a) \max(\lvert a \rvert - t, 0)$, the *soft threshold*.
# So repeat: a gradient step on the squared loss, then the soft threshold with $t = \eta \lambda$.
# Derive the threshold, write the loop, and find out what a larger $\lambda$ does to the number of zeros.


# %%
def lasso(X: np.ndarray, y: np.ndarray, lam: float, steps: int) -> np.ndarray:
    """Weights (d,) of the lasso, for X (n, d) and y (n,)."""
    ### BEGIN SOLUTION
    n, d = X.shape
    lr, w = n / np.linalg.norm(X, 2) ** 2, np.zeros(d)
    for _ in range(steps):
        a = w - lr * X.T @ (X @ w - y) / n
        w = np.sign(a) * np.maximum(np.abs(a) - lr * lam, 0)
    return w
    ### END SOLUTION


# %% tags=["test"]
def test_lasso():
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(16)
    for _ in range(20):
        n, d = int(rng.integers(12, 20)), int(rng.integers(1, 7))
        X, y, lam = rng.normal(size=(n, d)), rng.normal(size=n), rng.uniform(0.01, 0.4)
        want = Lasso(alpha=lam, fit_intercept=False, tol=1e-12).fit(X, y).coef_
        got = lasso(X, y, lam, 3000)
        assert np.allclose(got, want, atol=1e-6) and ((got == 0) == (want == 0)).all()
    assert (lasso(X, y, 100.0, 10) == 0).all()


# %% [markdown] tags=["solution"]
# For $w \gt 0$ the derivative is $w - a + t$, zero at $w = a - t$, which is positive only if $a \gt t$; for $w \lt 0$ likewise at $a + t$ if $a \lt -t$. Otherwise the minimum is at the kink, $w = 0$.
# A larger $\lambda$ gives more zeros, and all of them once $\lambda \ge \max_j \lvert X_{:j} \cdot y \rvert / n$: then even the first step is thresholded away. Ridge never gives a zero, since it multiplies.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Weight decay | $\theta \leftarrow (1 - \eta \lambda) \theta - \eta \, \partial L / \partial \theta$ | `w * (1 - lr * decay) - lr * g` | nearly every training run |
# | Shrinkage | $\sigma^2 / (\sigma^2 + n \lambda)$ | `ridge(X, Y, lam)` | linear models, theory |
# | Early stopping | $\lambda \approx 1 / (\eta t)$ | keep the best validation step | fine-tuning, small data |
# | Dropout | $m \odot h / (1 - p)$ | `h * dropout_mask(h.shape, p, rng)` | small data, many epochs |
# | Batch norm | $(z - \mu) / \sqrt{\sigma^2 + \epsilon}$ over examples | `batch_norm(Z, g, b, running)` | convolutional networks |
# | Layer, RMS norm | the same over features | `layer_norm(x, g, b)`, `rms_norm(x, g)` | transformers |
# | Bias and variance | $(\overline{f} - t)^2 + \mathbb{E}[(f - \overline{f})^2]$ | `bias_variance(fits, T)` | diagnosis |
#
# **The essential insight:** a network large enough to be useful is large enough to memorise, so the training error cannot tell you what it learned, and what decides is the *preference* among the many solutions that fit. Decay, noise and early stopping prefer what is small, redundant and shared by many examples; a larger model gives them more to choose from. Normalisation is a different tool: it fixes the scale of signals, which makes deep networks trainable and turns the decay of the weights below it into a learning rate. Watch held-out data from sources the model never saw, and the mode the network is in.
