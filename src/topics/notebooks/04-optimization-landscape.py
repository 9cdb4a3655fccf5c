# ---
# title: The optimization landscape
# summary: Build six optimizers, watch them on real loss surfaces, and measure what a picture hides.
# prerequisites:
#   - math-foundations/optimization: gradient descent on a bowl, its rate limit, momentum and saddle points
#   - training/optimizers: the update rules, schedules and muP
#   - neural-networks/backpropagation: the gradient of a network
#   - math-foundations/linear-algebra: eigenvectors, the singular value decomposition and principal components
# packages: [numpy, matplotlib, scikit-learn, torch]
# seconds: 75
# ---

# %% [markdown]
# # The optimization landscape
#
# $$
# \boxed{
# \begin{aligned}
# \theta_{t+1} &= \theta_t - \eta_t D_t \\
# f(a, b) &= L(\theta + a u + b v) \\
# \lambda_{\max}\left(\nabla^2 L(\theta_t)\right) &\approx \frac{2}{\eta}
# \end{aligned}
# }
# $$
#
# $\theta_t \in \mathbb{R}^d$ holds all parameters after $t$ steps, $L$ is the loss, $\eta_t$ the learning rate, and
# $D_t$ the direction that an optimizer makes of the gradients so far.
# $f$ is the *slice* of the loss through $\theta$ along two directions $u$ and $v$ of $\mathbb{R}^d$.
# $\lambda_{\max}$ is the largest eigenvalue of the Hessian, the *sharpness* of the place.
# The first formula moves, the second one draws. The third is an observation, and a drawing does not show it:
# full-batch descent on a network walks into steeper country until its own rate stops it.

# %% [markdown]
# ## 1. A rate that the bowl allows
#
# The theory is in [optimization](../math-foundations/optimization.py) and [optimizers](../training/optimizers.py). Here you build, look and measure.
# At **Predict**, write down your answer before you run the next cell.
#
# On a bowl, descent is safe while $\eta \lt 2 / \lambda_{\max}$.
# So measure $\lambda_{\max}$, the *sharpness*, where training starts, take a third of that limit, and the loss should fall in every step.
# Try it on a real network: 64 pixels of scikit-learn's digits [@alpaydin1998optical], two hidden layers of 24 tanh units, 10 scores, and as the loss half the squared distance of the scores from the one-hot class.
# All parameters live in one row `theta`, because a landscape has points, not layers; `unpack` gives the layers back, and the gradient is [backpropagation](../neural-networks/backpropagation.py).
#
# | array | code | shape | here |
# |---|---|---|---|
# | inputs, one-hot targets | `X`, `Y` | $(n, d_0)$, $(n, K)$ | (400, 64), (400, 10) |
# | parameters, gradient, direction | `theta`, `g`, `D` or `u` | $(d)$ | (2410) |
# | weights and biases of a layer | `W`, `b` | $(d_\text{in}, d_\text{out})$, $(d_\text{out})$ | (64, 24), (24) |
# | a path of $t$ steps | `path` | $(t + 1, d)$ | (301, 2410) |
# | Hessian | `H` | $(d, d)$ | (2410, 2410) |

# %%
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch  # only to check our results against
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA  # only to check our results against

plt.rcParams["figure.dpi"] = 90  # many figures: a lighter notebook

SIZES = (64, 24, 24, 10)


def unpack(theta: np.ndarray, sizes: tuple) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views (W, b) of each layer in the row theta (d,); W (d_in, d_out), b (d_out,)."""
    layers, at = [], 0
    for d_in, d_out in zip(sizes, sizes[1:]):
        end = at + d_in * d_out
        layers.append((theta[at:end].reshape(d_in, d_out), theta[end : end + d_out]))
        at = end + d_out
    return layers


def draw_network(rng: np.random.Generator, sizes: tuple,
                 gain: float = 0.5) -> np.ndarray:
    """A row theta (d,): weights of deviation gain / sqrt(d_in), biases zero."""
    theta = np.zeros(sum((d_in + 1) * d_out for d_in, d_out in zip(sizes, sizes[1:])))
    for W, _ in unpack(theta, sizes):
        W[:] = rng.normal(size=W.shape) * gain / np.sqrt(len(W))
    return theta


def scores_of(theta: np.ndarray, X: np.ndarray, sizes: tuple,
              bend: str) -> list[np.ndarray]:
    """Inputs X (n, d_0), every hidden layer (n, d_l), and last the scores (n, K)."""
    hs = [X]
    for W, b in unpack(theta, sizes):
        z = hs[-1] @ W + b
        hs.append(np.tanh(z) if bend == "tanh" else np.maximum(z, 0))
    return [*hs[:-1], z]


def loss_and_gradient(theta: np.ndarray, X: np.ndarray, Y: np.ndarray, sizes: tuple,
                      bend: str = "tanh") -> tuple[float, np.ndarray]:
    """Half the mean squared distance of the scores from Y (n, K); gradient (d,)."""
    *hs, scores = scores_of(theta, X, sizes, bend)
    dz = (scores - Y) / len(Y)
    gradient = np.empty_like(theta)
    layers, slots = unpack(theta, sizes), unpack(gradient, sizes)
    for h, (W, _), (dW, db) in reversed(list(zip(hs, layers, slots))):
        dW[:], db[:] = h.T @ dz, dz.sum(axis=0)
        dz = dz @ W.T * (1 - h**2 if bend == "tanh" else h > 0)  # unused at the inputs
    return 0.5 * ((scores - Y) ** 2).sum(axis=1).mean(), gradient


# %% [markdown]
# The sharpness needs no Hessian. A difference of two gradients is a Hessian times a direction, and power iteration
# finds the [eigenvector](../math-foundations/linear-algebra.py#eigenvectors-directions-that-a-matrix-keeps) of the largest eigenvalue:
#
# $$
# u H \approx \frac{\nabla L(\theta + h u) - \nabla L(\theta - h u)}{2h},
# \qquad
# u \leftarrow \frac{u H}{\lVert u H \rVert}
# $$
#
# **What this means:** ask the [gradient](../math-foundations/calculus.py#many-inputs-the-gradient) on both sides of a point how it changes along $u$. Repeat with what you get: the direction that is stretched most takes over.

# %%
def curve(gradient: Callable, theta: np.ndarray, u: np.ndarray,
          h: float = 1e-4) -> np.ndarray:
    """u H (d,), the Hessian at theta (d,) times the direction u (d,)."""
    return (gradient(theta + h * u) - gradient(theta - h * u)) / (2 * h)


def sharpness(gradient: Callable, theta: np.ndarray, u: np.ndarray,
              steps: int = 100) -> tuple[float, np.ndarray]:
    """Eigenvalue of largest size and its direction (d,), by power iteration from u."""
    for _ in range(steps):
        u = u / np.linalg.norm(u)
        w = curve(gradient, theta, u)
        value, u = float(u @ w), w
    return value, u / np.linalg.norm(u)


digits = load_digits()
shuffled = np.random.default_rng(0).permutation(len(digits.target))
pixels = (digits.data - digits.data.mean(axis=0)) / 8  # ink from 0 to 16, centred
X, X_test = pixels[shuffled[:400]], pixels[shuffled[400:]]
y, y_test = digits.target[shuffled[:400]], digits.target[shuffled[400:]]
Y = np.eye(10)[y]


def loss_at(theta: np.ndarray) -> float:
    """The loss of the 400 learning images at theta (d,)."""
    return loss_and_gradient(theta, X, Y, SIZES)[0]


def gradient_at(theta: np.ndarray) -> np.ndarray:
    """The gradient (d,) of that loss."""
    return loss_and_gradient(theta, X, Y, SIZES)[1]


theta_0 = draw_network(np.random.default_rng(0), SIZES)
some = np.random.default_rng(1).normal(size=theta_0.size)
sharp_0, _ = sharpness(gradient_at, theta_0, some)
lr, theta, losses = 0.4, theta_0, []
for _ in range(1000):
    loss, g = loss_and_gradient(theta, X, Y, SIZES)
    losses.append(loss)
    theta = theta - lr * g
end, sharp_end = theta, sharpness(gradient_at, theta, some)[0]
rises = np.flatnonzero(np.diff(losses) > 0)
print(f"{theta_0.size} parameters; sharpness {sharp_0:.2f}, limit {2 / sharp_0:.2f}, "
      f"rate {lr}")
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}; it rose in about "
      f"{round(len(rises), -1)} of 999 steps")

# %% tags=["hide-input"]
#| label: fig-rise
#| fig-cap: Loss of full-batch gradient descent at a third of the rate that the bowl at the start allows. Crosses mark steps in which the loss rose; right, the part around the first of them.
#| fig-alt: The loss falls smoothly for hundreds of steps, then has sudden humps, during which it rises in every step, and falls again after each.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
window = slice(max(rises[0] - 60, 0), rises[0] + 80)
for ax, part in ((left, slice(0, 1000)), (right, window)):
    ts = np.arange(1000)[part]
    up = rises[(rises >= ts[0]) & (rises < ts[-1])] + 1
    ax.plot(ts, np.array(losses)[part], lw=1.2)
    ax.plot(up, np.array(losses)[up], "x", ms=4, color="C1", label="rose")
    ax.set(xlabel="step")
left.set(ylabel="loss", yscale="log")
right.legend()

# %% [markdown]
# **What the code shows:** the loss rose in about `{python} round(len(rises), -1)` steps, the first time after some `{python} round(int(rises[0]), -1)` quiet ones (@fig-rise), and yet training did not fail.
# On a bowl neither can happen: a safe rate never lets the loss rise, and a loss that has risen once keeps rising.
# Where the loss is now, the sharpness is `{python} f"{sharp_end:.1f}"`, not `{python} f"{sharp_0:.1f}"`.
# So the road led into steeper country. You will look at such roads first on surfaces that fit on a page, then here.

# %% tags=["test"]
def random_sizes(rng: np.random.Generator, most: int = 6) -> tuple:
    """Three to five layer sizes, all different."""
    count = rng.integers(3, 6)
    return tuple(int(s) for s in rng.permutation(np.arange(1, most))[:count])


def torch_loss(theta, X, Y, sizes, bend):
    """The same network in PyTorch, from one row of parameters."""
    h, at = torch.as_tensor(X), 0
    for d_in, d_out in zip(sizes, sizes[1:]):
        W = theta[at : at + d_in * d_out].reshape(d_in, d_out)
        b = theta[at + d_in * d_out : at + d_in * d_out + d_out]
        at += d_in * d_out + d_out
        z = h @ W + b
        h = z.tanh() if bend == "tanh" else z.relu()
    return 0.5 * ((z - torch.as_tensor(Y)) ** 2).sum(dim=1).mean()


def test_network_matches_torch():
    rng = np.random.default_rng(0)
    for trial in range(24):
        sizes, bend = random_sizes(rng), ("tanh", "relu")[trial % 2]
        theta = draw_network(rng, sizes)
        theta += 0.3 * rng.normal(size=theta.size)
        n = int(rng.integers(1, 8))
        X, Y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))
        leaf = torch.tensor(theta, requires_grad=True)
        want = torch_loss(leaf, X, Y, sizes, bend)
        want.backward()
        loss, gradient = loss_and_gradient(theta, X, Y, sizes, bend)
        np.testing.assert_allclose(loss, want.item(), rtol=1e-12)
        np.testing.assert_allclose(gradient, leaf.grad, atol=1e-12)
        shapes = [h.shape for h in scores_of(theta, X, sizes, bend)]
        assert shapes == [(n, s) for s in sizes]


def test_draw_network():
    theta = draw_network(np.random.default_rng(1), (300, 200, 50), gain=0.7)
    (W1, b1), (W2, b2) = unpack(theta, (300, 200, 50))
    assert abs(W1.std() * 300**0.5 - 0.7) < 0.02
    assert abs(W2.std() * 200**0.5 - 0.7) < 0.02
    assert not b1.any() and not b2.any() and theta.size == 301 * 200 + 201 * 50
    W1[0, 0] = 9.0  # views, not copies
    assert theta[0] == 9.0


def test_sharpness_matches_torch():
    rng = np.random.default_rng(2)
    for _ in range(20):
        sizes = random_sizes(rng, 5)[:3]
        theta = rng.normal(size=draw_network(rng, sizes).size)
        X, Y = rng.normal(size=(5, sizes[0])), rng.normal(size=(5, sizes[-1]))
        H = torch.autograd.functional.hessian(
            lambda t: torch_loss(t, X, Y, sizes, "tanh"), torch.tensor(theta)).numpy()
        gradient = lambda t: loss_and_gradient(t, X, Y, sizes)[1]
        u = rng.normal(size=theta.size)
        np.testing.assert_allclose(curve(gradient, theta, u), u @ H, atol=1e-5)
        lam = np.linalg.eigvalsh(H)
        top = lam[np.abs(lam).argmax()]
        gap = np.sort(np.abs(lam))[-2:]
        if gap[0] < 0.9 * gap[1]:  # else power iteration needs more steps
            value, v = sharpness(gradient, theta, u, 120)
            assert abs(value - top) < 1e-4 * (1 + abs(top))
            np.testing.assert_allclose(v @ H, top * v, atol=1e-3)


# %% [markdown]
# ## 2. Six rules
#
# An optimizer turns the gradient $g$ into a direction $D$, and a step is $\theta \leftarrow (1 - \eta\lambda)\,\theta - \eta D$, with $\lambda$ the [weight decay](../neural-networks/regularization.py#three-ways-to-hold-back).
# Write the directions of [optimizers](../training/optimizers.py) once more, from memory if you can:
#
# | rule | direction $D$ | state |
# |---|---|---|
# | plain | $g$ | none |
# | momentum | $v \leftarrow \beta v + g$; $D = v$ | $v$ |
# | Nesterov | $v$ as above; $D = g + \beta v$ | $v$ |
# | Adam | corrected averages: $D = m / (\sqrt{v} + \epsilon)$ | $m$, $v$, $t$ |
# | AdamW | as Adam, with $\lambda \gt 0$ outside | $m$, $v$, $t$ |
# | Muon | Nesterov's $D$ as a matrix, its singular values pushed towards 1 | $v$ |

# %%
def momentum(g: np.ndarray, state: dict, beta: float = 0.9,
             nesterov: bool = False) -> np.ndarray:
    """Direction of momentum for the gradient g; `state` remembers v."""
    v = state["v"] = beta * state.get("v", 0.0) + g
    return g + beta * v if nesterov else v


def adam(g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.999,
         eps: float = 1e-8) -> np.ndarray:
    """Adam's direction for the gradient g; `state` remembers t, m and v."""
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


def orthogonalise(G: np.ndarray, steps: int = 5) -> np.ndarray:
    """G (n, m) with its singular values pushed towards 1, by Newton-Schulz steps."""
    X = G / max(np.linalg.norm(G), 1e-7)
    X = X if G.shape[0] <= G.shape[1] else X.T
    for _ in range(steps):
        S = X @ X.T
        X = 3.4445 * X + (-4.7750 * S + 2.0315 * S @ S) @ X
    return X if G.shape[0] <= G.shape[1] else X.T


def muon(g: np.ndarray, state: dict, beta: float = 0.95) -> np.ndarray:
    """Muon's direction for the gradient g (d_in, d_out) of a matrix."""
    stretch = np.sqrt(max(1.0, g.shape[1] / g.shape[0]))
    return stretch * orthogonalise(momentum(g, state, beta, nesterov=True))


def step(theta: np.ndarray, D: np.ndarray, lr: float, decay: float = 0.0) -> np.ndarray:
    """One step along -D, with decoupled weight decay."""
    return (1 - lr * decay) * theta - lr * D


DECAY = {"adamw": 0.1}


def direction(rule: str, g: np.ndarray, state: dict) -> np.ndarray:
    """Direction of a rule, by name, for a gradient g; a row counts as a matrix."""
    if rule == "plain":
        return g
    if rule in ("momentum", "nesterov"):
        return momentum(g, state, nesterov=rule == "nesterov")
    if rule == "muon":
        return muon(np.atleast_2d(g), state).reshape(g.shape)
    return adam(g, state)


def follow(gradient: Callable, theta: np.ndarray, rule: str, lr: float,
           steps: int) -> np.ndarray:
    """All points on the way, (steps + 1, d), from theta (d,)."""
    path, state = [theta], {}
    for _ in range(steps):
        D = direction(rule, gradient(path[-1]), state)
        path.append(step(path[-1], D, lr, DECAY.get(rule, 0.0)))
    return np.array(path)


# %% [markdown]
# **By hand.** On the bowl $L = \frac{1}{2}(x^2 + 4y^2)$ the gradient is $(x, 4y)$. Start at $(2, 1)$ with $\eta = 0.1$ and $\beta = 0.9$.
# Plain: $g = (2, 4)$, so $(1.8, 0.6)$; then $g = (1.8, 2.4)$, so $(1.62, 0.36)$.
# Momentum: the first step is the same. Then $v = 0.9\,(2, 4) + (1.8, 2.4) = (3.6, 6)$, so $(1.44, 0)$.
# Nesterov: $D = (2, 4) + 0.9\,(2, 4) = (3.8, 7.6)$, so $(1.62, 0.24)$ after one step.
# Adam: each coordinate moves by $\eta$, whatever its slope: $(1.9, 0.9)$.
# Muon sees one row, a matrix with a single singular value, so it keeps the direction of $g$ and forgets its length.

# %%
hand = lambda p: np.array([p[0], 4 * p[1]])
start = np.array([2.0, 1.0])
first = {rule: follow(hand, start, rule, 0.1, 2)
         for rule in ("plain", "momentum", "nesterov", "adam", "muon")}
assert np.allclose(first["plain"], [[2, 1], [1.8, 0.6], [1.62, 0.36]])
assert np.allclose(first["momentum"], [[2, 1], [1.8, 0.6], [1.44, 0]])
assert np.allclose(first["nesterov"][1], [1.62, 0.24])
assert np.allclose(first["adam"][1], [1.9, 0.9])
assert np.isclose(*(first["muon"][1] - start) / [1, 2])  # along (1, 2), as g is
for rule, path in first.items():
    print(f"{rule:9}", *path.round(3))

# %% [markdown]
# The notebook's tests run every rule beside `torch.optim` in float64, over random shapes.
# PyTorch computes Muon's Newton–Schulz steps in bfloat16, with 8 significant bits, so those agree to that precision only.

# %% tags=["test"]
def check_rule(ours: Callable, make: Callable, transposed: bool = False):
    """The same weights as torch after each of 5 steps, over 21 shapes."""
    rng = np.random.default_rng(3)
    shapes = [(1, 1), (1, 5), (4, 1)]
    shapes += [tuple(rng.integers(2, 9, 2)) for _ in range(18)]
    for case, shape in enumerate(shapes):
        W, size, state = rng.normal(size=shape), 10.0 ** (case % 5 - 2), {}
        leaf = torch.nn.Parameter(torch.tensor(W.T if transposed else W).clone())
        optimizer = make(leaf)
        for _ in range(5):
            g = size * rng.normal(size=shape)
            leaf.grad = torch.tensor(g.T.copy() if transposed else g)
            optimizer.step()
            W = ours(W, g, state)
            want = leaf.detach().numpy()
            np.testing.assert_allclose(W, want.T if transposed else want,
                                       rtol=1e-11, atol=1e-13)


def test_rules_are_torchs():
    optim = torch.optim
    check_rule(lambda W, g, s: step(W, direction("plain", g, s), 0.03),
               lambda p: optim.SGD([p], lr=0.03))
    for rule in ("momentum", "nesterov"):
        check_rule(lambda W, g, s: step(W, direction(rule, g, s), 0.03),
                   lambda p: optim.SGD([p], lr=0.03, momentum=0.9,
                                       nesterov=rule == "nesterov"))
    check_rule(lambda W, g, s: step(W, direction("adam", g, s), 0.02),
               lambda p: optim.Adam([p], lr=0.02))
    check_rule(lambda W, g, s: step(W, direction("adamw", g, s), 0.02, DECAY["adamw"]),
               lambda p: optim.AdamW([p], lr=0.02, weight_decay=0.1))
    check_rule(lambda W, g, s: step(W, adam(g, s, 0.8, 0.95, 1e-3), 0.02),
               lambda p: optim.Adam([p], lr=0.02, betas=(0.8, 0.95), eps=1e-3))


def test_muon_is_torchs():
    from torch.optim import _muon

    original = _muon._zeropower_via_newtonschulz
    _muon._zeropower_via_newtonschulz = lambda grad, coefficients, steps, eps: (
        torch.tensor(orthogonalise(grad.numpy().T, steps).T.copy()))
    try:
        check_rule(lambda W, g, s: step(W, direction("muon", g, s), 0.02, 0.1),
                   lambda p: torch.optim.Muon([p], lr=0.02, weight_decay=0.1), True)
    finally:
        _muon._zeropower_via_newtonschulz = original
    rng = np.random.default_rng(4)
    for _ in range(20):
        G = rng.normal(size=rng.integers(1, 12, size=2))
        want = original(torch.tensor(G), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        assert np.abs(orthogonalise(G) - want.double().numpy()).max() < 0.06
    assert not orthogonalise(np.zeros((2, 3))).any()


def test_follow():
    rng = np.random.default_rng(5)
    for rule in ("plain", "momentum", "nesterov", "adam", "adamw", "muon"):
        A = rng.normal(size=(3, 3))
        path = follow(lambda p: p @ A @ A.T, np.ones(3), rule, 0.01, 4)
        assert path.shape == (5, 3) and (path[0] == 1).all()
        theta, state = np.ones(3), {}
        for t in range(4):
            D = direction(rule, theta @ A @ A.T, state)
            theta = (1 - 0.01 * DECAY.get(rule, 0)) * theta - 0.01 * D
        np.testing.assert_allclose(path[-1], theta, atol=1e-14)
    assert np.allclose(direction("muon", np.array([3.0, 4.0]), {}),
                       muon(np.array([[3.0, 4.0]]), {})[0])


# %% [markdown]
# ## 3. Three surfaces that fit on a page
#
# A long bowl, Rosenbrock's bent valley [@rosenbrock1960automatic], and a saddle between two minima:
#
# $$
# \begin{aligned}
# &\frac{1}{2}\left(x^2 + 25 y^2\right), \\
# &(1 - x)^2 + 100 \left(y - x^2\right)^2, \\
# &\frac{1}{2} x^2 - \frac{1}{2} y^2 + \frac{1}{4} y^4
# \end{aligned}
# $$
#
# The bowl's lowest point is $(0, 0)$, Rosenbrock's $(1, 1)$, and the last surface has two, $(0, \pm 1)$.
#
# To compare rules you must tune each of them: `tuned` tries fifteen rates, factors of 2 apart, and keeps the one with the lowest loss at the end.

# %%
def bowl(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (...) and gradient (..., 2) of the long bowl at points p (..., 2)."""
    return 0.5 * (p[..., 0] ** 2 + 25 * p[..., 1] ** 2), p * np.array([1.0, 25.0])


def rosenbrock(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (...) and gradient (..., 2) of Rosenbrock's valley at points p (..., 2)."""
    x, y = p[..., 0], p[..., 1]
    r = y - x**2
    return (1 - x) ** 2 + 100 * r**2, np.stack([2 * (x - 1) - 400 * x * r, 200 * r], -1)


def saddle(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (...) and gradient (..., 2) of a saddle between two minima."""
    x, y = p[..., 0], p[..., 1]
    return 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4, np.stack([x, y**3 - y], -1)


RULES = ("plain", "momentum", "nesterov", "adam", "adamw", "muon")


def tuned(surface: Callable, start: np.ndarray, rule: str,
          steps: int) -> tuple[float, np.ndarray]:
    """The best of fifteen rates by the last loss, and its path (steps + 1, 2)."""
    runs = {}
    with np.errstate(all="ignore"):
        for lr in 2.0 ** -np.arange(15):
            path = follow(lambda p: surface(p)[1], start, rule, lr, steps)
            last = surface(path[-1])[0]
            runs[lr] = last if np.isfinite(last) else np.inf
    best = min(runs, key=runs.get)
    return best, follow(lambda p: surface(p)[1], start, rule, best, steps)


def draw_paths(surface: Callable, start: list, steps: int, levels: list,
               box: tuple) -> dict:
    """Contours and the tuned path of each rule, in panels; returns rates and paths."""
    a, b = np.linspace(*box[:2], 40), np.linspace(*box[2:], 40)
    heights = surface(np.stack(np.meshgrid(a, b), -1))[0]
    fig, axes = plt.subplots(2, 3, figsize=(6.4, 3.6), sharex=True, sharey=True)
    found = {}
    for ax, rule in zip(axes.flat, RULES):
        found[rule] = lr, path = tuned(surface, np.array(start), rule, steps)
        ax.contour(a, b, heights, levels=levels, colors="0.75", linewidths=0.8)
        few = path[:: max(1, steps // 60)]  # enough for the eye, and a light file
        ax.plot(*few.T, ".-", ms=3, lw=0.9, color="C0")
        ax.plot(*path[-1], "s", ms=6, mfc="none", color="C1")
        ax.set(title=f"{rule}, rate {lr:.2g}", xlim=box[:2], ylim=box[2:])
        ax.grid(False)
    return found


# %% [markdown]
# **Predict** before you look: on the long bowl, which paths zigzag, and which set off along the diagonal?

# %%
#| label: fig-bowl
#| fig-cap: Thirty steps on the long bowl from (4, 1), each rule at the best of fifteen rates. A square marks the last point.
#| fig-alt: Plain descent zigzags across the valley, momentum and Nesterov swing in wide arcs, Adam and AdamW set off along the diagonal, Muon takes steps of equal length.
on_bowl = draw_paths(bowl, [4.0, 1.0], 30, [0.2, 1, 3, 7, 13, 20],
                     (-2.5, 4.5, -1.4, 1.4))
for rule, (lr, path) in on_bowl.items():
    print(f"{rule:9} rate {lr:<8.4g} last loss {bowl(path[-1])[0]:.1e}")

# %% [markdown]
# **What the code shows:** plain descent pays for the steep direction with zigzags, and must take a rate that is small for the flat one.
# Adam's first step is the diagonal, since it sees only signs. Muon sees one row here and takes steps of nearly equal length, so it cannot settle without a falling rate: its last loss is `{python} f"{bowl(on_bowl['muon'][1][-1])[0]:.1g}"`.
# AdamW is helped by its decay, since the lowest point happens to be the origin.
# On Rosenbrock's valley it is not. **Predict:** where does the decay make AdamW end?

# %%
#| label: fig-rosenbrock
#| fig-cap: Three hundred steps on Rosenbrock's valley from (-1.2, 1), each rule at the best of fifteen rates. A square marks the last point, a star the minimum at (1, 1).
#| fig-alt: Plain descent jumps between the walls and then creeps along the floor of the bent valley. Momentum, Nesterov, Muon and Adam come close to the minimum. AdamW stops half-way along the floor.
on_rosenbrock = draw_paths(rosenbrock, [-1.2, 1.0], 300, [0.5, 3, 10, 40, 150, 500],
                           (-1.8, 1.8, -0.8, 2.0))
for ax in plt.gcf().axes:
    ax.plot(1, 1, "*", ms=9, color="k")
for rule, (lr, path) in on_rosenbrock.items():
    print(f"{rule:9} rate {lr:<8.4g} last loss {rosenbrock(path[-1])[0]:.1e} "
          f"at {path[-1].round(2)}")

# %% [markdown]
# **What the code shows:** AdamW stops at `{python} f"({on_rosenbrock['adamw'][1][-1][0]:.2f}, {on_rosenbrock['adamw'][1][-1][1]:.2f})"`, on the valley floor but well short of $(1, 1)$: there the pull $\lambda\theta$ towards zero balances Adam's weak push along the floor. Decoupled decay moves the place where you come to rest.
# Plain descent crawls, since the floor is nearly flat beside its walls. Momentum and Adam are wild at first: judged by the last point alone, luck counts as well as the rule.
#
# ### A knob: turn the bowl
#
# Rotate the long bowl and its start: the landscape is the same, seen by a tilted head.
# One start leaves much to luck, so use eight, all around the bowl, and the rate that is best for their mean (of the logarithm of the loss) at zero degrees.
# **Predict:** which rules notice?

# %%
def turn(surface: Callable, degrees: float) -> tuple[Callable, np.ndarray]:
    """The surface turned about the origin, and the rotation R (2, 2): p -> p @ R."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    R = np.array([[c, s], [-s, c]])

    def turned(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss, g = surface(p @ R.T)
        return loss, g @ R

    return turned, R


around = np.radians(15 + 45 * np.arange(8))
starts = 4 * np.stack([np.cos(around), np.sin(around)], axis=1)  # (8, 2)


def turned_logs(rule: str, lr: float, degrees: float) -> np.ndarray:
    """Logarithms (8,) of the losses after 60 steps on the turned bowl."""
    surface, R = turn(bowl, degrees)
    ends = [follow(lambda p: surface(p)[1], p @ R, rule, lr, 60)[-1] for p in starts]
    return np.log(surface(np.array(ends))[0])


angles, turned = np.arange(0, 91, 10), {}
for rule in RULES:
    with np.errstate(all="ignore"):
        score = {lr: turned_logs(rule, lr, 0).mean() for lr in 2.0 ** -np.arange(10)}
    lr = min(score, key=lambda lr: np.nan_to_num(score[lr], nan=np.inf))
    turned[rule] = np.array([turned_logs(rule, lr, angle) for angle in angles])
    single = np.exp(np.ptp(turned[rule], axis=0))
    mean = np.exp(np.ptp(turned[rule].mean(axis=1)))
    print(f"{rule:9} rate {lr:<7.4g} worst/best angle: one start {single.min():.1f} to "
          f"{single.max():.1f}, mean {mean:.1f}")

# %% tags=["hide-input"]
#| label: fig-turn
#| fig-cap: Loss after 60 steps on the long bowl, turned by an angle together with its starts, against the angle. Thick, the geometric mean of eight starts; thin, Adam from each of them. Each rule keeps its best rate at zero degrees.
#| fig-alt: Plain descent, momentum, Nesterov and Muon are horizontal; the means of Adam and AdamW wander by a factor of two or three. Adam's thin lines jump far more, each at other angles.
fig, ax = plt.subplots(figsize=(6.4, 3.4))
for i, (rule, style) in enumerate(zip(RULES, ("o-", "s--", "^-.", "D:", "v-", "x--"))):
    if rule == "adam":
        ax.semilogy(angles, np.exp(turned[rule]), ":", lw=0.7, color=f"C{i}", alpha=0.7)
    ax.semilogy(angles, np.exp(turned[rule].mean(axis=1)), style, ms=4, lw=1.8,
                color=f"C{i}", label=rule)
ax.set(xlabel="angle (degrees)", ylabel="loss after 60 steps", ylim=(1e-5, 1))
ax.legend(ncols=6, fontsize=7, loc="lower center", columnspacing=1);

# %% [markdown]
# **What the code shows:** four rules do not notice: if all gradients are turned, their directions turn along.
# Adam divides coordinate by coordinate, so its path depends on how the valley lies to the axes. From one start, the angle changes Adam's last loss by a factor of `{python} f"{np.exp(np.ptp(turned['adam'], axis=0)).min():.0f}"` to `{python} f"{np.exp(np.ptp(turned['adam'], axis=0)).max():.0f}"`, and the best angle differs from start to start.
# The mean over the starts changes only by `{python} f"{np.exp(np.ptp(turned['adam'].mean(axis=1))):.1f}"`.
# So one path of Adam on an upright bowl is a special case twice.

# %% [markdown]
# ### The saddle
#
# Start on the ridge of the saddle, at $x = 1$, but a tiny $\varepsilon$ beside it. Plain descent multiplies $y$ by $1 + \eta$ a step, so each factor of ten in $\varepsilon$ costs the same number of steps.
# **Predict:** does Adam also wait longer, the closer it starts?

# %%
def steps_to_leave(rule: str, eps: float, lr: float = 0.05, most: int = 700) -> int:
    """Steps from (1, eps) on the saddle until y > 1/2."""
    path = follow(lambda p: saddle(p)[1], np.array([1.0, eps]), rule, lr, most)
    return int(np.argmax(path[:, 1] > 0.5))


distances = 10.0 ** -np.arange(1, 13)
leave = {rule: np.array([steps_to_leave(rule, eps) for eps in distances])
         for rule in ("plain", "momentum", "nesterov", "adam")}
per_decade = np.log(10) / np.log(1.05)
print(f"plain, steps per factor of ten: {np.diff(leave['plain']).mean():.1f}, "
      f"predicted {per_decade:.1f}")

# %% tags=["hide-input"]
#| label: fig-saddle
#| fig-cap: Left, paths on the saddle from (1, 0.001), all with rate 0.05. Right, steps until y passes 1/2, half-way to the minimum, against the distance of the start from the ridge.
#| fig-alt: Left, plain descent and momentum run into the saddle before they turn; Adam moves along both axes at once. Right, three lines rise by a constant number of steps for each factor of ten; Adam's is flat until distances near its epsilon.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.8))
a, b = np.linspace(-0.4, 1.1, 40), np.linspace(-0.4, 1.3, 40)
left.contour(a, b, saddle(np.stack(np.meshgrid(a, b), -1))[0], colors="0.75",
             levels=np.linspace(-0.25, 0.5, 12), linewidths=0.8)
for rule, style in zip(leave, ("o-", "s--", "^-.", "D:")):
    path = follow(lambda p: saddle(p)[1], np.array([1.0, 1e-3]), rule, 0.05, 250)
    left.plot(*path[::5].T, style, ms=2, lw=1)
    right.semilogx(distances, leave[rule], style, label=rule)
left.plot(0, 0, "kx", ms=8)
left.set(xlabel="x", ylabel="y", xlim=(-0.4, 1.1), ylim=(-0.4, 1.3))
right.set(xlabel="distance from the ridge", ylabel="steps to leave")
right.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** from $10^{-2}$ to $10^{-6}$ plain descent needs `{python} leave['plain'][5] - leave['plain'][1]` steps more, momentum `{python} leave['momentum'][5] - leave['momentum'][1]`, Adam `{python} leave['adam'][5] - leave['adam'][1]`.
# Adam scales each coordinate by its own gradient, so a tiny slope is as good as a large one, until the slope is near its $\epsilon = 10^{-8}$.
# This saddle's coordinates are its eigenvectors: the same special case as before.

# %% tags=["test"]
def test_surfaces_match_torch():
    rng = np.random.default_rng(6)
    written = {
        bowl: lambda x, y: 0.5 * (x**2 + 25 * y**2),
        rosenbrock: lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        saddle: lambda x, y: 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4,
    }
    for surface, formula in written.items():
        for degrees in (0, 0, 30, 77):
            shape = rng.permutation(np.arange(1, 5))[: rng.integers(0, 3)]
            p = rng.normal(size=(*shape, 2))
            turned, R = turn(surface, degrees)
            leaf = torch.tensor(p, requires_grad=True)
            want = formula(*(leaf @ torch.tensor(R.T)).unbind(-1))
            want.sum().backward()
            loss, g = turned(p)
            np.testing.assert_allclose(loss, want.detach(), rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(g, leaf.grad, rtol=1e-10, atol=1e-11)


def test_rotations():
    surface, R = turn(bowl, 35.0)
    np.testing.assert_allclose(R @ R.T, np.eye(2), atol=1e-15)
    assert R[0, 1] > 0  # anticlockwise
    start = np.array([1.5, -0.4])
    for rule in ("plain", "momentum", "nesterov", "muon", "adam"):
        straight = follow(lambda p: bowl(p)[1], start, rule, 0.02, 12)
        tilted = follow(lambda p: surface(p)[1], start @ R, rule, 0.02, 12)
        assert np.allclose(straight @ R, tilted, atol=1e-9) == (rule != "adam")


def test_tuned_and_saddle():
    start = np.array([4.0, 1.0])
    lr, path = tuned(bowl, start, "plain", 30)
    for other in (2 * lr, lr / 2):
        last = follow(lambda p: bowl(p)[1], start, "plain", other, 30)[-1]
        assert bowl(last)[0] > bowl(path[-1])[0]
    for c in (0.5, 1.0, 2.0**14, 2.0**15):  # 1 / c is best, if it is in the grid
        lr, _ = tuned(lambda p: (0.5 * c * (p**2).sum(-1), c * p), start, "plain", 1)
        assert lr == min(max(1 / c, 2.0**-14), 1.0)
    more = steps_to_leave("plain", 1e-7) - steps_to_leave("plain", 1e-3)
    assert abs(more - 4 * np.log(10) / np.log(1.05)) <= 1
    assert abs(steps_to_leave("adam", 1e-6) - steps_to_leave("adam", 1e-3)) <= 2


# %% [markdown]
# ## 4. Schedules: across the valley or along it
#
# Real gradients are noisy, and a rate has two jobs. A large one travels along the valley; a small one keeps the noise from throwing you up its walls.
# Warm-up with a [cosine](../training/optimizers.py#schedules), and warm-up–stable–decay (WSD) [@hu2024minicpm], change jobs during the run.
# A valley to try them on: steep across ($y$), nearly flat along ($x$), with its lowest point at $x = 0$ and noise in both slopes.

# %%
def cosine(t: int, T: int, w: int) -> float:
    """Factor of the rate at step t of T: w steps of warm-up, then a half cosine."""
    return t / w if t < w else (1 + np.cos(np.pi * (t - w) / (T - w))) / 2


def wsd(t: int, T: int, w: int, r: int) -> float:
    """Warm-up for w steps, then 1, then a straight line to 0 over the last r."""
    return t / w if t < w else min(1.0, (T - t) / r)


T = 400
SCHEDULES = {
    "constant 0.1": lambda t: 0.1, "constant 0.005": lambda t: 0.005,
    "warm-up, cosine": lambda t: 0.1 * cosine(t, T, 20),
    "warm-up, stable, decay": lambda t: 0.1 * wsd(t, T, 20, 80),
}


def valley(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (...) and gradient (..., 2): curvature 0.15 along x, 10 across."""
    return 0.075 * p[..., 0] ** 2 + 5 * p[..., 1] ** 2, p * np.array([0.15, 10.0])


def noisy_walks(rate: Callable, walkers: int = 200) -> np.ndarray:
    """Positions (T + 1, walkers, 2) of plain descent on the valley with noise."""
    rng, path = np.random.default_rng(4), [np.full((walkers, 2), [8.0, 0.5])]
    for t in range(T):
        g = valley(path[-1])[1] + rng.normal(size=(walkers, 2))
        path.append(path[-1] - rate(t) * g)
    return np.array(path)


# %% [markdown]
# **Predict:** what does the loss of WSD do in the last 80 steps, compared with the constant large rate?

# %% tags=["hide-input"]
#| label: fig-valley
#| fig-cap: Two hundred noisy walks down a valley under four schedules. Left, one walk each under the large constant rate and under WSD, seen from above. Right, the mean loss; the dotted line marks where WSD begins to decay.
#| fig-alt: Left, both walks move along the valley while being thrown across it; WSD ends on the floor. Right, the large constant rate levels off, the small one is still far up, cosine and WSD end lowest, WSD with a sudden drop.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.6, 2.9))
a, b = np.linspace(-2, 8.5, 40), np.linspace(-1.2, 1.2, 40)
left.contour(a, b, valley(np.stack(np.meshgrid(a, b), -1))[0], colors="0.8",
             levels=[0.1, 0.4, 1, 2, 4], linewidths=0.8)
valley_end = {}
for (name, rate), style in zip(SCHEDULES.items(), ("-", "--", "-.", ":")):
    path = noisy_walks(rate)
    mean = valley(path)[0].mean(axis=1)
    valley_end[name] = mean[-1]
    right.semilogy(mean, style, lw=1.4, label=name)
    if name in ("constant 0.1", "warm-up, stable, decay"):
        left.plot(*path[::2, 1].T, style.replace(":", "-"), lw=0.6,
                  color="C0" if name == "constant 0.1" else "C1", label=name)
        left.plot(*path[-1, 1], "s", color="C0" if name == "constant 0.1" else "C1")
right.axvline(T - 80, color="0.5", ls=":", lw=1)
left.set(xlabel="along", ylabel="across")
right.set(xlabel="step", ylabel="mean loss")
left.legend(fontsize=8, loc="lower left")
right.legend(fontsize=8)
print({name: f"{value:.4f}" for name, value in valley_end.items()})

# %% [markdown]
# **What the code shows:** the large rate stops at `{python} f"{valley_end['constant 0.1']:.3f}"`, the small one never arrives (`{python} f"{valley_end['constant 0.005']:.2f}"`), and WSD ends at `{python} f"{valley_end['warm-up, stable, decay']:.4f}"`.
# Its sudden drop is no sudden learning: the walk was in the right place *along* the valley long before, and the height *across* hid it.
# The same picture, a river in a valley, has been proposed for the loss of language models [@wen2024understanding]: a run at a high rate may be better than its loss says.

# %% tags=["test"]
def test_schedules_are_torchs():
    import warnings
    from torch.optim import lr_scheduler as kinds

    for T, w, r in ((60, 12, 20), (31, 5, 9), (40, 1, 39)):
        for kind in ("cosine", "wsd"):
            sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
            parts, ends = [kinds.LinearLR(sgd, 1e-12, 1.0, w)], [w]
            if kind == "cosine":
                parts.append(kinds.CosineAnnealingLR(sgd, T - w))
            else:
                parts += [kinds.ConstantLR(sgd, 1.0, 1),
                          kinds.LinearLR(sgd, 1.0, 0.0, r)]
                ends.append(T - r)
            schedule = kinds.SequentialLR(sgd, parts, ends)
            for t in range(T + 1):
                ours = cosine(t, T, w) if kind == "cosine" else wsd(t, T, w, r)
                assert abs(0.5 * ours - sgd.param_groups[0]["lr"]) < 1e-10, (kind, t)
                sgd.step()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    schedule.step()
    assert cosine(0, 10, 0) == wsd(0, 10, 0, 5) == 1.0


# %% tags=["test", "experiment"]
def test_toy_conclusions():
    for rule in ("plain", "momentum", "nesterov", "muon"):
        assert np.ptp(turned[rule], axis=0).max() < 0.01
    for rule in ("adam", "adamw"):
        assert np.exp(np.ptp(turned[rule], axis=0)).min() > 2.5
        assert 1.5 < np.exp(np.ptp(turned[rule].mean(axis=1))) < 6
    assert len(set(turned["adam"].argmin(axis=0))) > 3
    assert abs(leave["adam"][5] - leave["adam"][1]) <= 3
    assert leave["plain"][5] > leave["momentum"][5] > 3 * leave["adam"][5]
    assert valley_end["warm-up, stable, decay"] < 0.4 * valley_end["constant 0.1"]
    assert valley_end["constant 0.005"] > valley_end["constant 0.1"]
    assert rosenbrock(on_rosenbrock["adamw"][1][-1])[0] > 0.1
    assert len(rises) > 20 and rises[0] > 100 and sharp_end > 2.5 * sharp_0


# %% [markdown]
# ## 5. The plane of the path
#
# Back to the network. Its path has `{python} f"{theta_0.size:,}"` coordinates, the page has two.
# Which plane? The one that holds most of the path: its first two [principal components](../math-foundations/linear-algebra.py#principal-components), from the SVD of the path minus its mean.
# Lay the plane through the *last* point $\theta_T$; there the picture is exact [@li2018visualizing].
#
# $$
# \begin{aligned}
# \text{path} - \text{mean} &= U \Sigma V^\top, \quad
# \text{share}_i = \frac{\sigma_i^2}{\sum_j \sigma_j^2}, \\
# \text{coordinates} &= (\text{path} - \theta_T)\, (v_1^\top, v_2^\top)
# \end{aligned}
# $$

# %%
def principal_plane(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two orthonormal directions (2, d) of a path (t, d); all shares of variance."""
    _, sigma, Vt = np.linalg.svd(path - path.mean(axis=0), full_matrices=False)
    return Vt[:2], sigma**2 / (sigma**2).sum()


def slice_losses(loss: Callable, origin: np.ndarray, u: np.ndarray, v: np.ndarray,
                 a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """f(a, b) = loss(origin + a u + b v), shape (len(b), len(a))."""
    return np.array([[loss(origin + s * u + t * v) for s in a] for t in b])


def minibatch_path(rule: str, lr: float, seed: int, steps: int = 300,
                   start: np.ndarray | None = None,
                   cap: float = np.inf) -> np.ndarray:
    """Points (steps + 1, d) of training on batches of 50, the rate falling to 0.

    A direction longer than `cap` is shortened to that length.
    """
    rng = np.random.default_rng(seed)
    theta = draw_network(rng, SIZES) if start is None else start
    path, states = [theta], [{}, {}, {}]
    for t in range(steps):
        batch = rng.integers(len(X), size=50)
        g = loss_and_gradient(path[-1], X[batch], Y[batch], SIZES)[1]
        D = network_direction(rule, g, states)
        D = D * min(1.0, cap / np.linalg.norm(D)) if cap < np.inf else D
        now = lr * wsd(t, steps, 0, steps)
        path.append(step(path[-1], D, now, DECAY.get(rule, 0.0)))
    return np.array(path)


def network_direction(rule: str, g: np.ndarray, states: list[dict]) -> np.ndarray:
    """Direction (d,) for the network; Muon drives the middle matrix, Adam the rest."""
    if rule != "muon":
        return direction(rule, g, states[0])
    D = 0.1 * adam(g, states[1])
    unpack(D, SIZES)[1][0][:] = muon(unpack(g, SIZES)[1][0], states[0])
    return D


path = minibatch_path("momentum", 0.05, seed=0)
V, shares = principal_plane(path)
along = (path - path[-1]) @ V.T  # (301, 2)
projected = path[-1] + along @ V  # the nearest points of the plane
true_losses = np.array([loss_at(theta) for theta in path])
plane_losses = np.array([loss_at(theta) for theta in projected])
off_plane = np.linalg.norm(path - projected, axis=1)
print(f"share of the variance: {shares[0]:.1%} and {shares[1]:.1%}")
print(f"start: loss {true_losses[0]:.3f}, in the plane below it {plane_losses[0]:.3f}")
print(f"distance from the start to the end {np.linalg.norm(path[0] - path[-1]):.2f}, "
      f"from the start to the plane {off_plane[0]:.2f}")
check = PCA(2).fit(path)
assert np.allclose(check.explained_variance_ratio_, shares[:2])

# %% tags=["hide-input"]
#| label: fig-plane
#| fig-cap: Left, the loss in the plane of the training path (momentum, batches of 50), with the path projected onto it. Right, the loss along the path, and at the points of the plane that stand for it.
#| fig-alt: Left, the path runs down a smooth bowl in a wide curve. Right, the losses of the plane and of the path agree near the end and differ along the way.
span = np.abs(along).max() * 1.25
a = np.linspace(along[:, 0].min() - 0.25 * span, along[:, 0].max() + 0.25 * span, 33)
b = np.linspace(along[:, 1].min() - 0.35 * span, along[:, 1].max() + 0.35 * span, 33)
heights = slice_losses(loss_at, path[-1], *V, a, b)
fig, (left, right) = plt.subplots(1, 2, figsize=(6.6, 3.0))
levels = np.geomspace(heights.min() * 1.1, heights.max() * 0.9, 11)
image = left.contour(a, b, heights, levels=levels, linewidths=0.9)
left.clabel(image, fontsize=6, fmt="%.2f")
left.plot(*along.T, ".-", color="C1", ms=2.5, lw=0.8)
left.plot(*along[0], "o", color="k", ms=5)
left.plot(0, 0, "*", color="k", ms=9)
left.set(xlabel="first component", ylabel="second component")
left.grid(False)
right.semilogy(true_losses, "-", label="on the path")
right.semilogy(plane_losses, "--", label="in the plane")
right.set(xlabel="step", ylabel="loss")
right.legend()

# %% [markdown]
# **What the code shows:** two directions hold `{python} f"{shares[:2].sum():.0%}"` of the variance of the path, and the picture (@fig-plane) is a calm bowl.
# But the loss drawn under the start is `{python} f"{plane_losses[0]:.2f}"`, and the real one was `{python} f"{true_losses[0]:.2f}"`: the path does not run *on* this surface but beside it. Only at the star are the two the same.
#
# How remarkable is that share? You need a control: a path that knows nothing.
# **Predict** the share of the first two components for a pure random walk with 300 independent steps in as many dimensions.

# %% tags=["hide-input"]
#| label: fig-walk
#| fig-cap: The first three principal components against the step, for the training path (left) and for a random walk with as many steps in as many dimensions (right). The titles give their shares of the variance.
#| fig-alt: On both sides the components are smooth waves; on the left they are squeezed into the first hundred steps. The right side is pure noise.
walk = np.cumsum(np.random.default_rng(5).normal(size=path.shape), axis=0)
_, walk_shares = principal_plane(walk)
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.8))
for ax, points, part, name in ((axes[0], path, shares, "training"),
                               (axes[1], walk, walk_shares, "random walk")):
    centred = points - points.mean(axis=0)
    Vt = np.linalg.svd(centred, full_matrices=False)[2][:3]
    for i, style in enumerate(("-", "--", ":")):
        line = centred @ Vt[i]
        ax.plot(line / np.abs(line).max() * np.sign(line[0]), style,
                label=("first", "second", "third")[i])
    ax.set(title=f"{name}: " + ", ".join(f"{share:.0%}" for share in part[:3]),
           xlabel="step")
axes[0].set_ylabel("component, scaled")
axes[0].legend(fontsize=8, loc="upper right")
print("random walk, shares:", walk_shares[:3].round(3), "  theory:",
      (6 / np.pi**2 / np.arange(1, 4) ** 2).round(3))

# %% [markdown]
# **What the code shows:** a walk without any landscape puts `{python} f"{walk_shares[:2].sum():.0%}"` of its variance into its first two components, and draws smooth waves of the same kind.
# That is a theorem: in many dimensions the shares tend to $6 / (\pi^2 i^2)$, and the components to cosines [@antognini2018pca].
# So a high share and an elegant arc are no evidence about the loss.

# %% tags=["test"]
def test_principal_plane_is_torchs():
    rng = np.random.default_rng(7)
    for _ in range(20):
        t, d = rng.permutation(np.arange(3, 12))[:2]
        points = rng.normal(size=(t, d)) + 5
        V, shares = principal_plane(points)
        k = int(min(t, d))
        _, S, components = torch.pca_lowrank(torch.tensor(points), q=k)  # all k: exact
        np.testing.assert_allclose(shares[:k], S**2 / (S**2).sum(), atol=1e-12)
        cosines = (V * components[:, :2].T.numpy()).sum(axis=1)
        np.testing.assert_allclose(np.abs(cosines), 1)


def test_slice_losses():
    H = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]])
    u, v, at = np.eye(3)[0], np.array([0.0, 1.0, 1.0]), np.array([1.0, -1.0, 2.0])
    a, b = np.array([-1.0, 0.0, 2.0]), np.array([0.0, 0.5])
    f = slice_losses(lambda p: p @ H @ p, at, u, v, a, b)
    assert f.shape == (2, 3) and f[0, 1] == at @ H @ at
    p = at + 2 * u + 0.5 * v
    assert np.isclose(f[1, 2], p @ H @ p)


def test_network_direction():
    rng, states, rest, middle = np.random.default_rng(8), [{}, {}], {}, {}
    for _ in range(3):
        g = rng.normal(size=2410)
        assert np.array_equal(network_direction("plain", g, [{}, {}]), g)
        D = network_direction("muon", g, states)
        layers, slopes = unpack(D, (64, 24, 24, 10)), unpack(g, (64, 24, 24, 10))
        np.testing.assert_allclose(layers[1][0], muon(slopes[1][0], middle))
        want = unpack(adam(g, rest) / 10, (64, 24, 24, 10))
        for i, j in ((0, 0), (0, 1), (1, 1), (2, 0), (2, 1)):
            np.testing.assert_allclose(layers[i][j], want[i][j])


# %% [markdown]
# ## 6. Random slices, and the ruler they need
#
# Around one point there is no path. So people draw the loss along *random* directions and call a narrow valley sharp. Here is the trap.
# In a ReLU network, multiply all weights and biases of the first layer by $\alpha$ and divide the weights of the second by $\alpha$.
# Since $\max(\alpha z, 0) = \alpha \max(z, 0)$ for $\alpha \gt 0$, every score stays the same: the same function, the same loss, another point [@dinh2017sharp].
# **Predict:** do the two points look equally sharp in a random slice?
#
# A remedy is *filter normalisation* [@li2018visualizing]: give the part of the direction that belongs to one unit the length of that unit's own weights. Here a unit is a column of $W$, and biases are left alone.

# %%
def rescale(theta: np.ndarray, sizes: tuple, alpha: float) -> np.ndarray:
    """The same ReLU network: layer 1 times alpha, the weights of layer 2 over alpha."""
    theta = theta.copy()
    (W1, b1), (W2, _), *_ = unpack(theta, sizes)
    W1 *= alpha
    b1 *= alpha
    W2 /= alpha
    return theta


def random_direction(rng: np.random.Generator, theta: np.ndarray, sizes: tuple,
                     filters: bool) -> np.ndarray:
    """A random direction (d,): of length 1, or with each column as long as theta's."""
    u = rng.normal(size=theta.size)
    if not filters:
        return u / np.linalg.norm(u)
    for (W, b), (W_own, _) in zip(unpack(u, sizes), unpack(theta, sizes)):
        W *= np.linalg.norm(W_own, axis=0) / np.linalg.norm(W, axis=0)
        b[:] = 0
    return u


relu_loss = lambda theta: loss_and_gradient(theta, X, Y, SIZES, "relu")[0]
relu_gradient = lambda theta: loss_and_gradient(theta, X, Y, SIZES, "relu")[1]
theta = draw_network(np.random.default_rng(2), SIZES, 1.0)
for _ in range(300):
    theta = theta - 0.1 * relu_gradient(theta)
twins = {alpha: rescale(theta, SIZES, alpha) for alpha in (1.0, 5.0)}
twin_sharpness = {alpha: sharpness(relu_gradient, twin, some, 60)[0]
                  for alpha, twin in twins.items()}
for alpha, twin in twins.items():
    print(f"alpha {alpha}: loss {relu_loss(twin):.4f}, "
          f"sharpness {twin_sharpness[alpha]:.0f}")
assert np.isclose(relu_loss(twins[1.0]), relu_loss(twins[5.0]), rtol=1e-12)

# %% tags=["hide-input"]
#| label: fig-twins
#| fig-cap: Two points of weight space that are the same function, in slices along three random directions each. Left, directions of length one; right, filter-normalised. Solid and dashed lines on the right coincide.
#| fig-alt: Left, the rescaled network looks like a much narrower valley than its twin. Right, the lines of the twins lie on top of each other.
ts = np.linspace(-1, 1, 41)
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0))
for ax, filters, reach in ((axes[0], False, 4.0), (axes[1], True, 1.0)):
    for (alpha, twin), style in zip(twins.items(), ("-", "--")):
        for seed in range(3):
            u = random_direction(np.random.default_rng(seed), twin, SIZES, filters)
            line = slice_losses(relu_loss, twin, u, 0 * u, reach * ts, np.zeros(1))[0]
            ax.plot(reach * ts, line, style, lw=1.6 - 0.4 * (alpha > 1),
                    color="C0" if alpha == 1 else "C1",
                    label=f"alpha {alpha:.0f}" if seed == 0 else None)
    ax.set(title="filter-normalised" if filters else "plain directions", ylim=(0, 1.5),
           xlabel="distance, in lengths of the weights" if filters else "distance")
axes[0].set_ylabel("loss")
axes[0].legend()

# %% [markdown]
# **What the code shows:** the twins have the same loss for every image, and sharpness `{python} f"{twin_sharpness[1.0]:.0f}"` against `{python} f"{twin_sharpness[5.0]:.0f}"`.
# So neither a narrow slice nor a large $\lambda_{\max}$ is a property of the *function*. Both belong to a point and to a ruler.
# The filter-normalised slices are equal: they invent no difference. (The twins do equally well on new data too: $\lambda_{\max}$ alone cannot tell who will.)
# Training itself has no choice of ruler: plain descent walks in $\theta$, so it feels the sharpness of the point.
#
# ### What a slice cannot show
#
# Take the end of the run of Section 1 and all its curvatures, the eigenvalues of the whole Hessian.
# Along a random unit direction the curvature is $u H u^\top$, on average the *mean* eigenvalue, $\text{tr}(H) / d$.
# **Predict:** how far is that from the largest one?

# %%
def hessian(gradient: Callable, theta: np.ndarray) -> np.ndarray:
    """The symmetric Hessian (d, d) at theta, one row for each coordinate direction."""
    H = np.array([curve(gradient, theta, e) for e in np.eye(len(theta))])
    return (H + H.T) / 2


H = hessian(gradient_at, end)
lam = np.linalg.eigvalsh(H)
rng = np.random.default_rng(6)
us = rng.normal(size=(500, len(end)))
us /= np.linalg.norm(us, axis=1, keepdims=True)
seen = ((us @ H) * us).sum(axis=1)  # (500,): curvatures along random directions
print(f"largest {lam[-1]:.1f} (power iteration: {sharp_end:.1f}), "
      f"mean {lam.mean():.2f}, smallest {lam[0]:.1f}")
print(f"above 1% of the largest: {(lam > 0.01 * lam[-1]).mean():.0%}; "
      f"below -0.0001: {(lam < -1e-4).mean():.0%}")
print(f"500 random directions: curvature {seen.min():.2f} to {seen.max():.2f}")
print("power iteration, steps and value:",
      {steps: round(sharpness(gradient_at, end, some, steps)[0], 2)
       for steps in (1, 5, 20, 100)})

# %% tags=["hide-input"]
#| label: fig-spectrum
#| fig-cap: Left, the sorted eigenvalues of the exact Hessian at the end of training (negative ones in another colour, by size). Right, the loss along the sharpest direction and along five random ones, all of length one.
#| fig-alt: Left, a few dozen eigenvalues are large and the remaining two thousand are smaller by orders of magnitude, some negative. Right, the sharpest direction is a narrow parabola; the random ones are nearly flat lines.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.1))
ranks = np.arange(1, len(lam) + 1)
sizes_sorted = lam[::-1]
up = sizes_sorted > 0
left.loglog(ranks[up], sizes_sorted[up], ".", ms=3, rasterized=True, label="positive")
left.loglog(ranks[~up], -sizes_sorted[~up], "x", ms=3, rasterized=True,
            label="negative, by size")
left.axhline(lam.mean(), color="0.4", ls=":", label="mean")
left.set(xlabel="rank", ylabel="eigenvalue", ylim=(1e-6, 10))
left.legend(fontsize=8)
top = sharpness(gradient_at, end, some)[1]
ts = np.linspace(-0.8, 0.8, 41)
right.plot(ts, slice_losses(loss_at, end, top, 0 * top, ts, np.zeros(1))[0], "-",
           label="sharpest")
for i in range(5):
    right.plot(ts, slice_losses(loss_at, end, us[i], 0 * top, ts, np.zeros(1))[0], "--",
               color="C1", lw=1, label="random" if i == 0 else None)
right.set(xlabel="distance", ylabel="loss")
right.legend()

# %% [markdown]
# **What the code shows:** a random slice sees a curvature near `{python} f"{lam.mean():.2f}"`, and would let you believe in a rate limit of `{python} f"{2 / lam.mean():.0f}"`. The true one is `{python} f"{2 / lam[-1]:.1f}"`, because of a few directions that no random line hits: among 500 the steepest had `{python} f"{seen.max():.2f}"`.
# The slices also look convex, while `{python} f"{(lam < -1e-4).mean():.0%}"` of the curvatures are below $-10^{-4}$.
# Many flat directions and a few steep ones are what larger networks show too [@ghorbani2019investigation].
# A slice cannot show that there is *no* steep direction, *no* way down or *no* connection between two valleys: those are statements about all other dimensions.
# Another trap, in the output's last line: stop the power iteration early, and you report too small a sharpness.

# %% tags=["test"]
def test_hessian_matches_torch():
    rng = np.random.default_rng(9)
    for _ in range(20):
        sizes = random_sizes(rng, 5)
        theta = rng.normal(size=draw_network(rng, sizes).size)
        X, Y = rng.normal(size=(6, sizes[0])), rng.normal(size=(6, sizes[-1]))
        want = torch.autograd.functional.hessian(
            lambda t: torch_loss(t, X, Y, sizes, "tanh"), torch.tensor(theta))
        H = hessian(lambda t: loss_and_gradient(t, X, Y, sizes)[1], theta)
        np.testing.assert_allclose(H, want, atol=1e-5)
        assert np.array_equal(H, H.T)


def test_rescale_and_filters():
    rng = np.random.default_rng(10)
    for _ in range(20):
        sizes = tuple(int(s) for s in rng.permutation(np.arange(2, 7))[:4])
        theta = rng.normal(size=draw_network(rng, sizes).size)
        alpha, X = rng.uniform(0.2, 5), rng.normal(size=(7, sizes[0]))
        twin = rescale(theta, sizes, alpha)
        np.testing.assert_allclose(scores_of(twin, X, sizes, "relu")[-1],
                                   scores_of(theta, X, sizes, "relu")[-1], atol=1e-10)
        assert not np.allclose(twin, theta)
        u, w = (random_direction(np.random.default_rng(3), t, sizes, True)
                for t in (theta, twin))
        for (W, b), (W_own, _) in zip(unpack(u, sizes), unpack(theta, sizes)):
            lengths = (np.linalg.norm(A, axis=0) for A in (W, W_own))
            np.testing.assert_allclose(*lengths)
            assert not b.any()
        np.testing.assert_allclose(  # the slices of twins are equal
            scores_of(twin + 0.7 * w, X, sizes, "relu")[-1],
            scores_of(theta + 0.7 * u, X, sizes, "relu")[-1], atol=1e-9)
        plain = random_direction(rng, theta, sizes, False)
        assert np.isclose(np.linalg.norm(plain), 1)


# %% [markdown]
# ## 7. Experiment: who sets the sharpness?
#
# **Question.** In Section 1 the sharpness rose. How far does it rise, and who decides?
#
# **Prediction**, the *edge of stability* of @cohen2021gradient: it rises until it reaches $2/\eta$ and hovers there, at another height for each rate.
# With momentum the limit on a bowl is $2 (1 + \beta) / \eta$ (Exercise 1 asks why), so the edge should move there.
# A confound: perhaps it stops there because training is nearly done. So two controls change nothing but the rate in the middle of a run: one halves it, the other doubles it. If the rate decides, the sharpness must double in the first and halve in the second.

# %%
def descend(gradient: Callable, theta: np.ndarray, rate: Callable, steps: int,
            every: int, beta: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Full-batch descent; sharpness (m,) and theta (m, d) every few steps."""
    v, sharp, points = np.zeros_like(theta), [], []
    u = np.random.default_rng(0).normal(size=theta.size)
    for t in range(steps):
        if t % every == 0:  # start from the last direction: few steps are enough
            value, u = sharpness(gradient, theta, u, 12 if t else 60)
            sharp.append(value)
            points.append(theta)
        v = beta * v + gradient(theta)
        theta = theta - rate(t) * v
    return np.array(sharp), np.array(points)


STEPS, EVERY = 1200, 30
EDGES = {"rate 0.4": (lambda t: 0.4, 0.0, 2 / 0.4),
         "rate 0.8": (lambda t: 0.8, 0.0, 2 / 0.8),
         "rate 0.8, then 0.4": (lambda t: 0.8 if t < 210 else 0.4, 0.0, 2 / 0.4),
         "rate 0.4, then 0.8": (lambda t: 0.4 if t < 600 else 0.8, 0.0, 2 / 0.8),
         "rate 0.8, momentum 0.5": (lambda t: 0.8, 0.5, 2 * 1.5 / 0.8)}
edges, edge_points = {}, {}
for name, (rate, beta, limit) in EDGES.items():
    runs = [descend(gradient_at, draw_network(np.random.default_rng(seed), SIZES), rate,
                    STEPS, EVERY, beta) for seed in range(3)]
    edges[name], edge_points[name] = np.array([run[0] for run in runs]), runs[0][1]
    late = edges[name][:, -8:] / limit
    print(f"{name:22} start {edges[name][:, 0].mean():.2f}, edge {limit:.2f}, "
          f"late sharpness over edge: {late.min():.2f} to {late.max():.2f}")

# %% tags=["hide-input"]
#| label: fig-edge
#| fig-cap: Sharpness during full-batch descent for five settings, three seeds each. Dashed, the edge of the rate at that step.
#| fig-alt: In each panel the sharpness rises from below two to the dashed line, mostly beyond it, and then hovers there. After the rate is halved it climbs to the higher line; after it is doubled it drops to the lower one.
fig, axes = plt.subplots(1, 5, figsize=(7.8, 2.7), sharey=True)
at = np.arange(0, STEPS, EVERY)
for ax, (name, runs) in zip(axes, edges.items()):
    rate, beta, _ = EDGES[name]
    ax.plot(at, runs.T, lw=1)
    ax.step(at, [2 * (1 + beta) / rate(t) for t in at], "k--", lw=1, where="post")
    ax.set(xlabel="step", ylim=(0, 8), xticks=[0, 500, 1000])
    ax.set_title(name.replace(", ", ",\n"), fontsize=9)
axes[0].set_ylabel("sharpness")

# %% tags=["test", "experiment"]
def test_edge_conclusions():
    for name, (_, _, limit) in EDGES.items():
        late = np.median(edges[name][:, -8:] / limit, axis=1)
        assert (late > 0.9).all() and (late < 1.1).all()
        assert (edges[name][:, 0] < 2.2).all()
    assert (edges["rate 0.4, then 0.8"][:, 19] > 4).all()
    assert edges["rate 0.8"][:, 10:].max() < 3.2 < edges["rate 0.8"][:, :10].max()
    assert lam[-1] > 30 * lam.mean() and (lam < -1e-4).mean() > 0.02
    assert abs(lam[-1] - sharp_end) < 0.05 * lam[-1]
    assert walk_shares[:2].sum() > 0.7 and twin_sharpness[5.0] > 3 * twin_sharpness[1.0]
    assert abs(plane_losses[0] - true_losses[0]) > 0.02


# %% [markdown]
# **What the code shows:** all fifteen runs begin at about `{python} f"{edges['rate 0.4'][:, 0].mean():.1f}"`. Of the last eight measurements of each, the worst is `{python} f"{max(abs(e[:, -8:] / EDGES[n][2] - 1).max() for n, e in edges.items()):.0%}"` away from its edge.
# The controls answer the confound. After the rate is halved, the sharpness climbs from the edge at 2.5 to the one at 5, slowly: `{python} int((edges['rate 0.8, then 0.4'].max(axis=1) < 5).sum())` of the three runs had not quite reached it at the end. After the rate is doubled, it falls from `{python} f"{edges['rate 0.4, then 0.8'][:, 19].mean():.1f}"` to 2.5 at once. With momentum the edge is at $2 (1 + \beta) / \eta$.
# So in these runs, of one small network with one loss, the rate decides how steep the country gets. A rate of 0.1 does not even reach its edge in 1,200 steps (try it).
# Our loss is a squared distance, with second derivative 1 by each score. [Cross-entropy](../training/loss-functions.py) has $p (1 - p)$, which goes to zero as the network grows sure, so there the sharpness need not stay up.
#
# Why does it not explode? Look along the sharpest direction. On a bowl steeper than the edge each step throws $\theta$ farther out. Here the terms that the bowl leaves out pull the sharpness *down* as the swing grows, until the swing dies and the climb begins again [@damian2023self]. See it in the run at rate 0.8:

# %% tags=["hide-input"]
#| label: fig-swing
#| fig-cap: The run at rate 0.8 around its first passage over the edge. Top, the position along the sharpest direction at the start of the window, minus its running mean. Bottom, the sharpness, measured at every step; dashed, the edge.
#| fig-alt: Once the sharpness passes the edge, the position swings from side to side with growing size; then the sharpness falls below the edge and the swing shrinks.
first_over = int(np.argmax(edges["rate 0.8"][0] > 2.5)) * EVERY - EVERY
theta = edge_points["rate 0.8"][first_over // EVERY]
value, u_top = sharpness(gradient_at, theta, some)
position, values, u = [], [], u_top
for t in range(140):
    value, u = sharpness(gradient_at, theta, u, 6)
    position.append(theta @ u_top)
    values.append(value)
    theta = theta - 0.8 * gradient_at(theta)
position = np.array(position)
swing = position[1:-1] - (position[:-2] + 2 * position[1:-1] + position[2:]) / 4
fig, (upper, lower) = plt.subplots(2, 1, figsize=(6.2, 3.6), sharex=True)
steps_seen = first_over + np.arange(140)
upper.plot(steps_seen[1:-1], swing, ".-", lw=0.8, ms=3)
upper.set(ylabel="swing")
lower.plot(steps_seen, values)
lower.axhline(2.5, color="k", ls="--", lw=1)
lower.set(xlabel="step", ylabel="sharpness")
over = int(np.argmax(np.array(values) > 2.5))
loud = int(np.argmax(np.abs(swing) > 0.1 * np.abs(swing).max()))
print(f"over the edge from step {steps_seen[over]}, swing visible from step "
      f"{steps_seen[loud + 1]}, sharpness {max(values):.1f} at most")

# %% [markdown]
# **What the code shows:** the sharpness passes the edge and nothing seems to happen for `{python} int(steps_seen[loud + 1] - steps_seen[over])` steps: the swing grows geometrically, but from almost nothing, as beside the ridge of the saddle. Then the sharpness drops, and the swing dies.
# Later passages are gentler: after step 300 no measurement of the three runs is above `{python} f"{edges['rate 0.8'][:, 10:].max():.1f}"`. The rate is the thermostat.
# For Adam the same is seen with the Hessian measured in Adam's own ruler [@cohen2022adaptive], and a warm-up helps because early sharpness may lie above the edge of the full rate [@gilmer2022loss].

# %% [markdown]
# ## 8. An honest race, and where the runners end
#
# [Optimizers](../training/optimizers.py#experiment-a-race-with-tuned-rates) raced on letters. Here: with tuned rates, how different are the rules on this network, and do they end in the same place?
# Muon drives the middle matrix, Adam with a tenth of the rate all else. Five rates a rule, factors of 2 apart, on two seeds, then the best rate on five fresh seeds; 300 batches of 50 images, the rate falling linearly to zero.
# **Predict** the order, and how many of the five seeds will agree on the winner.

# %%
RATES = {"plain": 1.6, "momentum": 0.64, "nesterov": 0.64,  # the middle of five rates
         "adam": 0.064, "adamw": 0.064, "muon": 0.16}
race, finals, best_rate = {}, {}, {}
for rule, middle in RATES.items():
    rates = middle * 2.0 ** np.arange(-2, 3)
    with np.errstate(all="ignore"):
        race[rule] = np.array([[loss_at(minibatch_path(rule, lr, seed)[-1])
                                for seed in (100, 101)] for lr in rates])
    race[rule] = np.where(race[rule] < 1e9, race[rule], np.inf)
    best_rate[rule] = rates[race[rule].mean(axis=1).argmin()]
    ends = [minibatch_path(rule, best_rate[rule], seed)[-1] for seed in range(5)]
    hits = [(scores_of(e, X_test, SIZES, "tanh")[-1].argmax(axis=1) == y_test).mean()
            for e in ends]
    finals[rule] = np.array([[loss_at(e) for e in ends], hits,
                             [sharpness(gradient_at, e, some, 30)[0] for e in ends]])
    print(f"{rule:9} rate {best_rate[rule]:<6.3g} loss {finals[rule][0].mean():.3f} ± "
          f"{finals[rule][0].std():.3f}, "
          f"test images right {finals[rule][1].mean():.1%} ± "
          f"{finals[rule][1].std():.1%}, "
          f"sharpness {finals[rule][2].mean():.1f}")
capped = [loss_at(minibatch_path("plain", 2 * best_rate["plain"], seed, cap=0.3)[-1])
          for seed in range(5)]  # a control: twice the rate, capped gradients
print(f"plain at twice its best rate: {race['plain'][3]}, "
      f"capped {np.mean(capped):.3f} ± {np.std(capped):.3f}")
winners = {min(RATES, key=lambda rule: finals[rule][0][s]) for s in range(5)}

# %% tags=["hide-input"]
#| label: fig-race
#| fig-cap: Left, training loss after 300 batches against the rate, divided by the best rate of each rule; means of two seeds, bars between them; losses above 0.5 leave the picture. Right, five fresh seeds at the best rate.
#| fig-alt: Left, six valleys of different depth, each lowest inside the grid. Right, plain descent ends highest, momentum and Nesterov lower, Adam, AdamW and Muon lowest.
fig, (left, right_ax) = plt.subplots(1, 2, figsize=(7.4, 3.2), sharey=True)
for i, (rule, style) in enumerate(zip(RATES, ("o-", "s--", "^-.", "D:", "v-", "x--"))):
    rates = RATES[rule] * 2.0 ** np.arange(-2, 3) / best_rate[rule]
    runs = np.where(race[rule].max(axis=1, keepdims=True) > 0.5, 1.0, race[rule])
    mean = runs.mean(axis=1)  # diverged runs are drawn beyond the upper end
    left.errorbar(rates, mean, np.abs(runs - mean[:, None]).max(axis=1), fmt=style,
                  ms=4, lw=1.2, label=rule)
    right_ax.plot(np.full(5, i), finals[rule][0], style[0], ms=5, color=f"C{i}")
left.set(xscale="log", yscale="log", ylim=(0.003, 0.6), ylabel="training loss",
         xlabel="rate relative to the best")
left.set_xticks([1 / 4, 1 / 2, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
left.minorticks_off()
right_ax.set_xticks(range(6), RATES, rotation=30)
right_ax.legend(*left.get_legend_handles_labels(), fontsize=8, loc="upper right")

# %% [markdown]
# **What the code shows:** all best rates lie inside the grid, so each rule had its chance.
# Plain descent, momentum and Nesterov are best right beside a cliff: at twice the rate they explode. Adam, AdamW and Muon have a slope there: their steps do not grow with the gradient.
# Is that why? A control says so for plain descent: cap its gradients at length 0.3, and at twice its best rate it ends at `{python} f"{np.mean(capped):.3f}"`, below its best without a cap. So the cliff, not the valley, held it back.
# Adam's mean loss is `{python} f"{finals['plain'][0].mean() / finals['adam'][0].mean():.0f}"` times lower than plain descent's. First on at least one of five seeds: `{python} ", ".join(sorted(winners))`.
#
# Now read the test images. Muon, among the first in training loss, gets the fewest right (`{python} f"{finals['muon'][1].mean():.1%}"`); the other five lie between `{python} f"{min(f[1].mean() for r, f in finals.items() if r != 'muon'):.1%}"` and `{python} f"{max(f[1].mean() for f in finals.values()):.1%}"`, no farther apart than seeds are. Plain descent, last in training loss, is one of them.
# The rates were tuned for one small network on 400 images. Do not carry this order elsewhere.
#
# Do they end in one valley? From one start, with the same batches, train with all six rules, and walk in a straight line from momentum's end to each of the others.
# The *barrier* is here the highest loss on the line above the higher of its two ends (@frankle2020linear take the mean of the ends).
# Two controls: momentum again, from the same start with *other batches*, and from *another start* with the same batches. Do it from three starts.
# **Predict** the order of the barriers.

# %%
SHARES = np.linspace(0, 1, 31)


def line_losses(end_1: np.ndarray, end_2: np.ndarray) -> np.ndarray:
    """Losses at 31 points of the straight line between two ends (d,)."""
    return np.array([loss_at((1 - t) * end_1 + t * end_2) for t in SHARES])


def end_of(rule: str, start: int, batches: int, share: float = 1.0) -> np.ndarray:
    """Where a rule ends (d,): seeds of start and batches, share of its best rate."""
    theta = draw_network(np.random.default_rng(start), SIZES)
    return minibatch_path(rule, share * best_rate[rule], batches, start=theta)[-1]


lines = {}
for s in range(3):
    base = end_of("momentum", s, 7)
    others = {rule: end_of(rule, s, 7) for rule in RATES if rule != "momentum"}
    others["other batches"] = end_of("momentum", s, 8)
    others["other start"] = end_of("momentum", s + 20, 7)
    for name, other in others.items():
        lines.setdefault(name, []).append(line_losses(base, other))
    slow = line_losses(end_of("momentum", s, 7, 0.25), end_of("momentum", s, 8, 0.25))
    lines.setdefault("batches, rate / 4", []).append(slow)
barriers = {name: np.array([line.max() - max(line[0], line[-1]) for line in some_lines])
            for name, some_lines in lines.items()}
for name, values in barriers.items():
    print(f"{name:24}", values.round(3))

# %% tags=["hide-input"]
#| label: fig-barrier
#| fig-cap: Left, training loss on straight lines from the end of a momentum run to other ends, first of three starts. Right, the barriers from three starts. Other batches and other starts are runs of momentum; rate / 4, both ends at a quarter of its rate.
#| fig-alt: Plain descent, Nesterov and other batches have low barriers, AdamW and Adam higher ones, Muon nearly one as high as another start. With a quarter of the rate, other batches leave almost none.
order = sorted(barriers, key=lambda name: barriers[name].mean())
fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4),
                                  gridspec_kw={"wspace": 0.5, "width_ratios": (1.4, 1)})
styles = ("-", "--", "-.", ":", (0, (4, 1)), (0, (6, 1, 1, 1)), (0, (1, 1)),
          (0, (8, 2)))
for i, (name, style) in enumerate(zip(order, styles)):
    left.plot(SHARES, lines[name][0], ls=style, color=f"C{i}" if i < 7 else "k")
    right.plot(barriers[name], np.full(3, i), "o", ms=5, mfc="none",
               color=f"C{i}" if i < 7 else "k")
    right.plot([0, barriers[name].mean()], [i, i], ls=style, lw=1.5,
               color=f"C{i}" if i < 7 else "k")
left.set(xlabel="share of the way", ylabel="training loss")
right.set_yticks(range(len(order)), order)
right.set(xlabel="barrier", xlim=(0, None))

# %% [markdown]
# **What the code shows:** the batches alone part two runs of the same rule: a mean barrier of `{python} f"{barriers['other batches'].mean():.2f}"`, and with a quarter of the rate `{python} f"{barriers['batches, rate / 4'].mean():.3f}"`.
# Plain descent (`{python} f"{barriers['plain'].mean():.2f}"`) and Nesterov (`{python} f"{barriers['nesterov'].mean():.2f}"`) end no farther from momentum than that. Adam (`{python} f"{barriers['adam'].mean():.2f}"`) ends behind a higher barrier, and Muon's (`{python} f"{barriers['muon'].mean():.2f}"`) is nearly that of another start (`{python} f"{barriers['other start'].mean():.2f}"`).
# Does a barrier mean two different valleys? On the straight line, yes. But larger networks' ends can be joined by a *curved* path of low loss [@garipov2018loss], and part of a barrier is only a matter of names (Exercise 4).

# %% [markdown]
# ## 9. Wider: the rate that transfers
#
# [Optimizers](../training/optimizers.py#widths-the-rate-that-transfers) derives *muP* [@yang2022tensor]. Adam moves every weight by about $\eta$, and a score sums over `width` of them, in agreement. So the scores move by up to $\eta \cdot \text{width}$, unless the rates of the hidden and the last matrix are divided by the width (over a base width), and the last layer starts smaller.
# The practical test is a *coordinate check*: take three steps of Adam and measure how far the scores have moved.
# **Predict** the two slopes on logarithmic axes.

# %%
BASE = 16


def mup(sizes: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Factors (d,) on Adam's rate and on the initial weights, for base width 16."""
    count = sum((d_in + 1) * d_out for d_in, d_out in zip(sizes, sizes[1:]))
    rate, start = np.ones(count), np.ones(count)
    k = sizes[1] / BASE
    for W, _ in unpack(rate, sizes)[1:]:
        W /= k
    unpack(start, sizes)[-1][0][:] /= np.sqrt(k)
    return rate, start


def wide_run(width: int, lr: float, use_mup: bool, seed: int,
             steps: int = 30) -> tuple[float, float]:
    """Last training loss of Adam; mean size of the scores' change in three steps."""
    sizes = (64, width, width, 10)
    rng = np.random.default_rng(seed)
    theta, (rate, start) = draw_network(rng, sizes, 1.0), mup(sizes)
    if use_mup:
        theta = theta * start
    before, state, moved = scores_of(theta, X[:100], sizes, "tanh")[-1], {}, np.nan
    for t in range(steps):
        batch = rng.integers(len(X), size=100)
        g = loss_and_gradient(theta, X[batch], Y[batch], sizes)[1]
        theta = theta - lr * (rate if use_mup else 1.0) * adam(g, state)
        if t == 2:
            moved = np.abs(scores_of(theta, X[:100], sizes, "tanh")[-1] - before).mean()
    return loss_and_gradient(theta, X, Y, sizes)[0], float(moved)


WIDTHS = (16, 64, 256)
lrs = 2.0 ** -np.arange(1, 12)
wide = {(use, width): np.array([[wide_run(width, lr, use, seed)[0] for lr in lrs]
                                for seed in range(2)])
        for use in (False, True) for width in WIDTHS}
best = {key: lrs[runs.mean(axis=0).argmin()] for key, runs in wide.items()}
moved = {use: [wide_run(width, 2.0**-9, use, 0, 3)[1] for width in WIDTHS]
         for use in (False, True)}
for use in (False, True):
    print("muP     " if use else "standard", "best rates",
          [float(best[use, w]) for w in WIDTHS],
          " scores move", np.round(moved[use], 3))

# %% tags=["hide-input"]
#| label: fig-width
#| fig-cap: Left, coordinate check, the mean change of the scores in three steps of Adam at one rate. Middle and right, training loss after 30 steps against the rate, for three widths, means of two seeds.
#| fig-alt: Left, the standard line rises with the width and the muP line stays nearly level. Middle, the best rate moves to smaller rates as the width grows. Right, the best rates of the widths lie close together.
fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.8))
for use, style, name in ((False, "o-", "standard"), (True, "s--", "muP")):
    axes[0].loglog(WIDTHS, moved[use], style, label=name)
    for width, style in zip(WIDTHS, ("o-", "s--", "^-.")):
        runs = wide[use, width]
        axes[1 + use].loglog(lrs, runs.mean(axis=0), style, ms=4, lw=1.2,
                             label=str(width))
        axes[1 + use].fill_between(lrs, runs.min(axis=0), runs.max(axis=0), alpha=0.2)
    axes[1 + use].set(xlabel="rate", title=name, ylim=(0.03, 3))
axes[0].set(xlabel="width", title="change of the scores")
axes[0].set_xticks(WIDTHS, WIDTHS)
axes[0].set_yticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
axes[0].minorticks_off()
axes[0].legend(fontsize=8)
axes[1].set_ylabel("loss")
axes[2].legend(title="width", fontsize=8)

# %% [markdown]
# **What the code shows:** from width 16 to 256 the scores of the standard network move `{python} f"{moved[False][2] / moved[False][0]:.0f}"` times as far, those of muP `{python} f"{moved[True][2] / moved[True][0]:.1f}"` times, at the same rate.
# In the standard network the best rate at width 256 is `{python} f"{best[False, 16] / best[False, 256]:.0f}"` times smaller than at width 16. In muP it is the same at all three widths, on a grid of factors of 2.

# %% tags=["test"]
def test_mup_factors():
    rate, start = mup((5, 64, 64, 3))
    (W1, b1), (W2, b2), (W3, b3) = unpack(rate, (5, 64, 64, 3))
    assert (W1 == 1).all() and (W2 == 0.25).all() and (W3 == 0.25).all()
    assert (b1 == 1).all() and (b2 == 1).all() and (b3 == 1).all()
    (W1, b1), (W2, _), (W3, b3) = unpack(start, (5, 64, 64, 3))
    assert (W1 == 1).all() and (W2 == 1).all() and (W3 == 0.5).all() and (b3 == 1).all()
    assert all((f == 1).all() for f in mup((4, 16, 16, 2)))


# %% tags=["test", "experiment"]
def test_race_and_width_conclusions():
    means = {rule: finals[rule][0].mean() for rule in RATES}
    assert means['adam'] < means['momentum'] < means['plain'] < 0.15
    for rule, runs in race.items():  # the best rate lies inside the grid
        assert 0 < runs.mean(axis=1).argmin() < 4, rule
    assert np.mean(capped) < finals["plain"][0].mean() and race["plain"][3].min() > 10
    tests = {rule: runs[1].mean() for rule, runs in finals.items()}
    assert min(tests, key=tests.get) == "muon" and winners <= {"adam", "muon"}
    others = [runs[1] for rule, runs in finals.items() if rule != "muon"]
    assert np.ptp(np.mean(others, axis=1)) < np.ptp(others, axis=1).max()
    parted = {name: values.mean() for name, values in barriers.items()}
    assert parted["batches, rate / 4"] < 0.02 < parted["plain"]
    assert max(parted["plain"], parted["nesterov"]) < parted["other batches"]
    assert parted["other batches"] < 0.7 * min(parted["adam"], parted["adamw"])
    assert parted["adam"] < parted["muon"] < parted["other start"]
    assert parted["muon"] > 0.85 * parted["other start"]
    assert best[False, 16] / best[False, 256] >= 4
    assert best[True, 16] == best[True, 64] == best[True, 256]
    assert moved[False][2] > 4 * moved[False][0]
    assert moved[True][2] < 2.5 * moved[True][0]


# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): the edge of each rule
#
# On a bowl, the error of a mode of curvature $\lambda$ obeys $c_{t+1} = (1 + \beta - \eta\lambda)\, c_t - \beta c_{t-1}$ with momentum, and $c_{t+1} = (1 - \eta\lambda) \left((1 + \beta)\, c_t - \beta c_{t-1}\right)$ with Nesterov.
# The edge is the curvature at which $c_t = (-1)^t$ becomes a solution. Return it.

# %%
def edge(lr: float, beta: float = 0.0, nesterov: bool = False) -> float:
    """The largest stable curvature on a bowl, for 0 <= beta < 1."""
    ### BEGIN SOLUTION
    # put c = (-1)^t: 1 + (1 + beta - x) + beta = 0, or 1 = (x - 1) (1 + 2 beta)
    return (2 + 2 * beta) / lr / (1 + 2 * beta if nesterov else 1)
    ### END SOLUTION


# %% tags=["test"]
def test_edge():
    assert edge(0.5) == 4 and np.isclose(edge(0.8, 0.5), 3.75)
    for beta in (0.0, 0.3, 0.9):
        for nesterov in (False, True):
            for share in (0.98, 1.02):
                lam, state, theta = share * edge(0.1, beta, nesterov), {}, 1.0
                for _ in range(3000):
                    theta -= 0.1 * momentum(lam * theta, state, beta, nesterov)
                    if abs(theta) > 1e9:
                        break
                assert (abs(theta) > 1e3) == (share > 1), (beta, nesterov, share)


# %% [markdown]
# ### Exercise 2 (apply): the way down
#
# `sharpness` finds the eigenvalue of largest *size*. A saddle is betrayed by the *lowest* one.
# Find it with the same tool: the Hessian minus $c$ times the identity has the same eigenvectors, and with $c$ at least the largest eigenvalue, the lowest one has become the one of largest size.

# %%
def lowest_curvature(gradient: Callable, theta: np.ndarray, u: np.ndarray,
                     steps: int = 300) -> float:
    """The lowest eigenvalue of the Hessian at theta (d,), by power iteration from u."""
    ### BEGIN SOLUTION
    c = abs(sharpness(gradient, theta, u, steps)[0])
    for _ in range(steps):
        u = u / np.linalg.norm(u)
        w = curve(gradient, theta, u) - c * u
        value, u = float(u @ w), w
    return value + c
    ### END SOLUTION


# %% tags=["test"]
def test_lowest_curvature():
    rng = np.random.default_rng(11)
    gradient = lambda p: saddle(p)[1]
    assert np.isclose(lowest_curvature(gradient, np.zeros(2), np.array([1.0, 0.3])), -1)
    for _ in range(5):
        Q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
        lam = np.array([rng.uniform(-3, -1), -0.5, 0, 1, 2, rng.uniform(3.5, 6)])
        found = lowest_curvature(lambda p: p @ (Q * lam) @ Q.T, rng.normal(size=6),
                                 rng.normal(size=6))
        assert abs(found - lam[0]) < 1e-4


# %% [markdown]
# ### Exercise 3 (apply): the mean curvature without the Hessian
#
# If the entries of $z$ are independent and $\pm 1$ with equal probability, then $\mathbb{E}[z H z^\top] = \text{tr}(H)$, since $\mathbb{E}[z_i z_j] = 0$ for $i \ne j$ and $z_i^2 = 1$.
# Estimate $\text{tr}(H) / d$ from a few products, without ever forming $H$.

# %%
def mean_curvature(gradient: Callable, theta: np.ndarray, rng: np.random.Generator,
                   samples: int = 20) -> float:
    """An estimate of the mean eigenvalue of the Hessian at theta (d,)."""
    ### BEGIN SOLUTION
    total = 0.0
    for _ in range(samples):
        z = rng.choice([-1.0, 1.0], size=theta.size)
        total += z @ curve(gradient, theta, z)
    return total / samples / theta.size
    ### END SOLUTION


# %% tags=["test"]
def test_mean_curvature():
    rng = np.random.default_rng(12)
    diagonal = rng.normal(size=9)  # for a diagonal Hessian one sample is exact
    found = mean_curvature(lambda p: diagonal * p, np.zeros(9), rng, 1)
    assert abs(found - diagonal.mean()) < 1e-8
    A = rng.normal(size=(8, 8))
    H = A @ A.T
    found = mean_curvature(lambda p: p @ H, np.zeros(8), rng, 4000)
    assert abs(found - np.trace(H) / 8) < 0.1 * np.trace(H) / 8


# %% [markdown]
# ### Exercise 4 (apply): other names for the same network
#
# Rescaling needs ReLU; there is a symmetry that needs nothing. Reorder the units of the first hidden layer: the columns of $W^{(1)}$, the entries of $b^{(1)}$ and the rows of $W^{(2)}$. The function is the same, the point is another.
# Write it, and then explain the barriers between starts in Section 8.

# %%
def permute(theta: np.ndarray, sizes: tuple, order: np.ndarray) -> np.ndarray:
    """The same network with the units of hidden layer 1 in another order; a new row."""
    ### BEGIN SOLUTION
    theta = theta.copy()
    (W1, b1), (W2, _), *_ = unpack(theta, sizes)
    W1[:], b1[:], W2[:] = W1[:, order], b1[order], W2[order]
    return theta
    ### END SOLUTION


# %% tags=["test"]
def test_permute():
    rng = np.random.default_rng(13)
    for bend in ("tanh", "relu"):
        sizes = (3, 7, 4, 2)
        theta = rng.normal(size=draw_network(rng, sizes).size)
        X, order = rng.normal(size=(9, 3)), np.roll(rng.permutation(7), 1)
        other, kept = permute(theta, sizes, order), theta.copy()
        np.testing.assert_allclose(scores_of(other, X, sizes, bend)[-1],
                                   scores_of(theta, X, sizes, bend)[-1], atol=1e-12)
        biases = unpack(theta, sizes)[0][1]
        np.testing.assert_allclose(unpack(other, sizes)[0][1], biases[order])
        assert np.array_equal(theta, kept)


# %% tags=["test", "experiment"]
def test_own_copy_has_a_barrier():
    copy = permute(base, SIZES, np.random.default_rng(0).permutation(24))
    line = line_losses(base, copy)
    assert np.isclose(line[0], line[-1]) and line.max() > line[0] + 0.1


# %% [markdown] tags=["solution"]
# Every minimum has $24! \cdot 24!$ copies under such orders (and $2^{48}$ more, because tanh is odd and signs can be swapped). Two starts lead to units in unrelated orders. Half-way between the ends each unit is the average of two that do different jobs, so the network is worse than both. Even between a network and its *own* copy there is a barrier.
# So a barrier on a straight line does not show that two solutions are different: a straight line is only a slice.

# %% [markdown]
# ### Exercise 5 (explore): when is a path more than a walk?
#
# Section 5 compared training with a walk without a landscape. Give the walk a bowl: $\theta_{t+1} = (1 - c)\, \theta_t + \text{noise}$, from zero.
# Return the share of the first component, and try $c$ between 0 and 1. What does a small share say about a run that has stopped making progress?

# %%
def first_share(c: float, d: int = 500, steps: int = 200, seed: int = 0) -> float:
    """Share of the first principal component of steps + 1 points, pulled back by c."""
    ### BEGIN SOLUTION
    rng, path = np.random.default_rng(seed), [np.zeros(d)]
    for _ in range(steps):
        path.append((1 - c) * path[-1] + rng.normal(size=d))
    return float(principal_plane(np.array(path))[1][0])
    ### END SOLUTION


# %% tags=["test"]
def test_first_share():
    shares = [first_share(c) for c in (0.0, 0.03, 0.3, 1.0)]
    assert 0.55 < shares[0] < 0.65 and shares[1] < 0.35 and shares[2] < 0.1
    assert shares == sorted(shares, reverse=True) and shares[3] < 0.03


# %% [markdown] tags=["solution"]
# The share falls from 0.6 without a pull to almost nothing: a walk held by a bowl forgets where it was, and its variance spreads over many directions.
# So a *small* first share over a stretch of training says that the weights are jittering around a place, and a large one that they are still on their way, in whatever direction.

# %% [markdown]
# ## What breaks, and what to try next
#
# | symptom | cause | fix | seen in |
# |---|---|---|---|
# | a tuned rate fails on a rotated or re-parametrised problem | Adam depends on the axes | compare rules on more than upright bowls | Section 3 |
# | "the path is simple: two components hold it" | so does a random walk | show the share of a walk beside it | Section 5 |
# | one model's valley looks narrower, same accuracy | the scale of the weights | filter-normalised directions | Section 6 |
# | the slice is flat, training explodes | random lines miss the few steep directions | measure $\lambda_{\max}$ | Section 6 |
# | "sharpness" jumps between calls, or is negative | power iteration stopped early, or the eigenvalue of largest size is negative | more steps, start from the last direction; Exercise 2 | Section 6 |
#
# > [!NOTE]
# > **Conventions and common confusions.**
# > *Sharpness* here is $\lambda_{\max}$ of the Hessian of the full training loss. Others mean the largest loss in a small ball, or a trace; and a minibatch has a Hessian of its own, on average a sharper one.
# > The half in the squared loss, and a mean or a sum over scores, change every sharpness by that factor and every edge with it.
# > In convolutions, filter normalisation scales filters; here it scales the weights into one unit, a column (in PyTorch a row).
# > The edge of stability is a finding about *full-batch* descent. With small batches the sharpness stays lower, and $2/\eta$ is not its level.
# > Logarithmic contour levels hide cliffs, linear ones hide valleys: state the levels.
# > `follow` on a row uses Muon as normalised momentum; real Muon drives matrices only.
#
# Try next, and predict each time: another `bend` in Section 7 (does [ReLU](../neural-networks/activation-functions.py) also ride the edge?); batches of 50 there; `DECAY` ten times as strong.
# How noise and batch size share the rate is told in [batching](../training/batching.py#how-many-steps-at-which-batch-size).

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Six rules | $\theta \leftarrow (1 - \eta\lambda)\,\theta - \eta D$ | `direction(rule, g, state)` | [optimizers](../training/optimizers.py) |
# | Hessian times direction | $\left(\nabla L(\theta + hu) - \nabla L(\theta - hu)\right) / 2h$ | `curve(gradient, theta, u)` | sharpness, trace |
# | Sharpness | $\lambda_{\max}$ | `sharpness(gradient, theta, u)` | rate limits |
# | Edge of stability | $\lambda_{\max} \approx 2 (1 + \beta) / \eta$ | `edge(lr, beta)` | full-batch training |
# | Plane of a path | first two components | `principal_plane(path)` | pictures, with a control |
# | Filter normalisation | each unit's part as long as its weights | `random_direction(..., filters=True)` | comparing slices |
# | Random slice | mean curvature $\text{tr}(H) / d$ | `mean_curvature(...)` | what a slice sees |
# | Barrier | highest loss on a line, above its ends | `line_losses(a, b)` | averaging weights |
# | Transfer | rate over width | `mup(sizes)` | tuning small, training large |
#
# **The essential insight:** a network's loss is a landscape of thousands of dimensions, most of them flat and a few of them steep. A picture shows two, and what it shows is true of those two. The steep few decide what a learning rate may be, and full-batch descent carries the weights to where they are just as steep as its rate allows. So draw, but measure as well: the largest eigenvalue, a random walk, a second ruler, another seed.
