# ---
# title: Optimization
# summary: "Going downhill: gradient descent, convexity, conditioning and saddle points."
# prerequisites:
#   - math-foundations/linear-algebra: matrix products, least squares, eigenvalues and eigenvectors of symmetric matrices
#   - math-foundations/calculus: gradients, the Hessian and the second-order prediction
#   - math-foundations/probability: expectation, variance and the error of an average
# notebooks: [04-optimization-landscape]
# packages: [numpy, matplotlib, scipy, scikit-learn, torch]
# ---

# %% [markdown]
# # Optimization
#
# $$
# \boxed{
# \begin{aligned}
# \theta_{t+1} &= \theta_t - \eta \nabla L(\theta_t) \\
# L(\theta_{t+1}) &\le L(\theta_t) - \eta \left(1 - \frac{\eta M}{2}\right) \lVert \nabla L(\theta_t) \rVert^2
# \end{aligned}
# }
# $$
#
# $\theta_t \in \mathbb{R}^d$ is the row of all $d$ parameters after $t$ steps, $L$ the loss, one number, and $\nabla L$ its gradient.
# The *learning rate* $\eta \gt 0$ scales the step.
# $M$ is the largest *curvature* of $L$, the fastest that the gradient can change per unit of distance.
# The first line is *gradient descent*; the second says that it cannot fail to descend while $\eta \lt 2/M$.
#
# Every model in this book is trained by a relative of this one line, and the curvature of the loss decides how fast that goes, or whether it goes at all.

# %% [markdown]
# ## 1. Core concept: step downhill, again and again
#
# ### The direction is not enough
#
# [Calculus](calculus.py#many-inputs-the-gradient) gives you the direction in which a loss falls fastest. It does not say how far to go.
# Take scikit-learn's handwritten digits [@alpaydin1998optical] and let a linear model tell odd from even: predict $x \cdot \theta$, with target $+1$ for odd and $-1$ for even, and minimise half the mean squared error.
# The inputs are the 46 pixels that are lit in more than a fifth of the images, and a constant 1 for the offset.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits


def digits(scaling: str = "raw", least_lit: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Features X (n, d), the last one constant, and targets y (n,): 1 odd, -1 even."""
    images, labels = load_digits(return_X_y=True)
    pixels = images[:, (images > 0).mean(axis=0) > least_lit]
    if scaling in ("centred", "standardised"):
        pixels = pixels - pixels.mean(axis=0)
    if scaling == "standardised":
        pixels = pixels / pixels.std(axis=0)
    return np.column_stack([pixels, np.ones(len(pixels))]), 2.0 * (labels % 2) - 1


def squared_loss(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """Half the mean squared error of X @ theta; X (n, d), theta (d,), y (n,)."""
    return 0.5 * ((X @ theta - y) ** 2).mean()


def squared_gradient(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient (d,) of `squared_loss`."""
    return (X @ theta - y) @ X / len(y)


X, y = digits()
assert X.shape == (1797, 47) and y.shape == (1797,)
lowest = squared_loss(np.linalg.lstsq(X, y)[0], X, y)
ends = {}
for lr in (0.0001, 0.0007, 0.0008):
    theta = np.zeros(47)
    for _ in range(1000):
        theta = theta - lr * squared_gradient(theta, X, y)
    ends[lr] = squared_loss(theta, X, y)
    print(f"rate {lr}: loss 0.5 -> {ends[lr]:.4g}  (the lowest is {lowest:.4g})")

# %% [markdown]
# **What the code shows:** the direction was right in every step of all three runs.
# At 0.0001 a thousand steps leave `{python} f"{(ends[0.0001] - lowest) / (0.5 - lowest):.1%}"` of the way to go, at 0.0007 they leave `{python} f"{(ends[0.0007] - lowest) / (0.5 - lowest):.1%}"`, and at 0.0008, a seventh more, the loss explodes.
# This section explains both the cliff and the crawl.
#
# ### The step
#
# Near $\theta$ the loss changes by about $g \cdot \Delta$ when you move by $\Delta$, where $g = \nabla L(\theta)$.
# That line has no lowest point, and it cannot be trusted far away.
# So charge for distance: minimise
#
# $$
# g \cdot \Delta + \frac{1}{2\eta} \lVert \Delta \rVert^2
# = \frac{1}{2\eta} \lVert \Delta + \eta g \rVert^2 - \frac{\eta}{2} \lVert g \rVert^2 .
# $$
#
# **What this means:** the right side is smallest at $\Delta = -\eta g$, which is gradient descent, known since Cauchy in 1847 [@lemarechal2012cauchy].
# The rate says how far you trust a straight line.
# Another way to charge for distance gives another method; [optimizers](../training/optimizers.py#steepest-but-in-which-norm) are mostly such choices.

# %%
def gradient_descent(gradient, theta: np.ndarray, lr: float, steps: int) -> np.ndarray:
    """All parameters on the way, (steps + 1, d); `gradient` takes and returns (d,)."""
    path = [theta]
    for _ in range(steps):
        path.append(path[-1] - lr * gradient(path[-1]))
    return np.array(path)


# %% [markdown]
# ### A bowl, solved exactly
#
# Close to a minimum $\theta^*$ the gradient is zero, so a smooth loss is, up to a constant, its second-order term, with the [Hessian](calculus.py#second-order-curvature) $H$:
#
# $$
# L(\theta) = L(\theta^*) + \frac{1}{2} e H e^\top,
# \quad
# e = \theta - \theta^*,
# \quad
# \nabla L(\theta) = e H
# $$
#
# For the squared loss this is exact everywhere, with $H = X^\top X / n$.
# One step turns $e$ into $e - \eta e H = e (I - \eta H)$.
# $H$ is symmetric, so it has orthonormal [eigenvectors](linear-algebra.py#eigenvectors-directions-that-a-matrix-keeps) $v_i$ with eigenvalues $\lambda_i$; write $e_0 = \sum_i c_i v_i$, and
#
# $$
# \begin{aligned}
# e_t &= \sum_{i=1}^{d} (1 - \eta \lambda_i)^t \, c_i v_i, \\
# L(\theta_t) - L(\theta^*) &= \frac{1}{2} \sum_{i=1}^{d} \lambda_i (1 - \eta \lambda_i)^{2t} c_i^2
# \end{aligned}
# $$
#
# **What this means:** in the eigenvectors' coordinates, the *modes*, gradient descent is $d$ separate multiplications.
# Mode $i$ shrinks if $\lvert 1 - \eta \lambda_i \rvert \lt 1$, that is if $0 \lt \eta \lambda_i \lt 2$.
# All must shrink, so **the largest curvature sets the limit**, $\eta \lt 2 / \lambda_{\max}$.
# **The smallest sets the time**: with $\eta = 1/\lambda_{\max}$ its factor is $1 - 1/\kappa$, where $\kappa = \lambda_{\max} / \lambda_{\min}$ is the [condition number](linear-algebra.py#conditioning) of $H$, and to shrink it to about a third takes $\kappa$ steps, since $(1 - 1/\kappa)^\kappa \approx 1/2.718$.
# The best fixed rate makes the two extreme modes equally slow, $1 - \eta \lambda_{\min} = \eta \lambda_{\max} - 1$:
#
# $$
# \eta = \frac{2}{\lambda_{\min} + \lambda_{\max}},
# \qquad
# \text{factor } \frac{\kappa - 1}{\kappa + 1}
# $$
#
# | name | symbol | code | shape |
# |---|---|---|---|
# | parameters, error | $\theta$, $e = \theta - \theta^*$ | `theta`, `e` | $(d)$ |
# | gradient | $g = \nabla L(\theta)$ | `gradient(theta)` | $(d)$ |
# | Hessian | $H$ | `H` | $(d, d)$ |
# | eigenvalues; eigenvectors as columns | $\lambda_i$; $v_i^\top$ | `lam`, `V` | $(d)$; $(d, d)$ |
# | inputs, targets | $X$, $y$ | `X`, `y` | $(n, d)$, $(n)$ |
# | a path of $t$ steps | $\theta_0, \dots, \theta_t$ | `path` | $(t + 1, d)$ |
#
# ### By hand
#
# $$
# \begin{aligned}
# H &= \begin{bmatrix} 5 & 4 \\ 4 & 5 \end{bmatrix},
# \quad
# \theta^* = (0, 0), \\
# (1, 1) H &= 9 (1, 1),
# \quad
# (1, -1) H = (1, -1)
# \end{aligned}
# $$
#
# So $\kappa = 9$, the limit is $2/9$, the best rate $2/(1 + 9) = 0.2$, and the best factor $8/10$.
# Start at $\theta_0 = (2, 0) = (1, 1) + (1, -1)$, where the loss is $\frac{1}{2} \cdot 5 \cdot 2^2 = 10$ and the gradient $(10, 8)$.
# One step leads to $(2, 0) - 0.2 (10, 8) = (0, -1.6)$.
# By modes: $(1, 1)$ is multiplied by $1 - 0.2 \cdot 9 = -0.8$ and $(1, -1)$ by $1 - 0.2 = 0.8$, which gives the same point.
# Its loss is $\frac{1}{2} \cdot 5 \cdot 1.6^2 = 6.4$, and after the next step, at $(1.28, 0)$, it is 4.096.

# %%
def error_after(H: np.ndarray, e: np.ndarray, lr: float, t: int) -> np.ndarray:
    """e (d,) after t steps of gradient descent on e H e / 2, from the modes of H."""
    lam, V = np.linalg.eigh(H)  # eigenvectors as columns
    return ((e @ V) * (1 - lr * lam) ** t) @ V.T


H_hand, start = np.array([[5.0, 4.0], [4.0, 5.0]]), np.array([2.0, 0.0])
path = gradient_descent(lambda theta: theta @ H_hand, start, 0.2, 2)
losses = 0.5 * ((path @ H_hand) * path).sum(axis=1)
assert np.allclose(path, [[2, 0], [0, -1.6], [1.28, 0]])
assert np.allclose(losses, [10, 6.4, 4.096])
assert np.allclose(path[2], error_after(H_hand, start, 0.2, 2))
print("path", *path.round(4), " losses", losses.round(4))

# %%
#| label: fig-rates
#| fig-cap: Left, ten steps on the bowl of the hand example, from (2, 0), at three rates. Right, the factor per step of the two modes against the rate; the largest one counts.
#| fig-alt: Left, a small rate creeps along the valley floor, the best rate zigzags to the minimum, a rate close to the limit bounces between the walls. Right, two V-shaped lines; the steep one, of the mode with curvature 9, crosses one at two ninths, and they meet at 0.2.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.1))
a, b = np.meshgrid(np.linspace(-2.3, 2.3, 90), np.linspace(-2.3, 2.3, 90))
left.contour(a, b, 2.5 * (a**2 + b**2) + 4 * a * b, levels=[0.3, 1.5, 4, 10, 22],
             colors="0.75", linewidths=0.9)
for lr, style in ((0.03, "o-"), (0.2, "s--"), (0.218, "^:")):
    left.plot(*gradient_descent(lambda theta: theta @ H_hand, start, lr, 10).T, style,
              markersize=3.5, linewidth=1.2, label=f"rate {lr}")
left.set(xlabel="first parameter", ylabel="second parameter", aspect="equal")
left.set(xlim=(-2.3, 2.9), ylim=(-2.3, 2.9))
left.legend(fontsize=7, loc="upper right", ncols=3, columnspacing=0.7, handlelength=1.4)
rates = np.linspace(0, 0.26, 200)
right.plot(rates, np.abs(1 - rates), "-", label="curvature 1")
right.plot(rates, np.abs(1 - 9 * rates), "--", label="curvature 9")
right.axhline(1, color="0.5", linewidth=0.8)
right.axvline(2 / 9, color="0.5", linestyle=":", linewidth=1)
right.set(xlabel="learning rate", ylabel="factor per step", ylim=(0, 1.4))
right.legend(fontsize=8, loc="upper left");

# %% [markdown]
# **What the code shows:** at its best rate the path in @fig-rates zigzags, for the steep mode changes sign in every step: to hurry the flat mode you overshoot the steep one.
# Zigzags are what momentum will remove.
#
# ### The digits explained
#
# Nothing about the digits is random, so the modes predict the runs above. We only need the eigenvalues.

# %%
def condition(X: np.ndarray) -> tuple[float, float, float]:
    """Smallest and largest eigenvalue of X^T X / n for X (n, d), and their quotient."""
    lam = np.linalg.eigvalsh(X.T @ X / len(X))
    return lam[0], lam[-1], lam[-1] / lam[0]


kappas = {}
for scaling in ("raw", "centred", "standardised"):
    X, y = digits(scaling)
    low, high, kappas[scaling] = condition(X)
    theta_star = np.linalg.lstsq(X, y)[0]
    path = gradient_descent(lambda theta: squared_gradient(theta, X, y), 0 * theta_star,
                            1.9 / high, 1000)
    predicted = error_after(X.T @ X / len(X), -theta_star, 1.9 / high, 1000)
    assert np.allclose(path[-1] - theta_star, predicted, atol=1e-8)
    left_over = 0.5 * ((X @ (path[-1] - theta_star)) ** 2).mean() / (0.5 - lowest)
    print(f"{scaling:12}  limit {2 / high:.2g}  condition {kappas[scaling]:.3g}  "
          f"left after 1,000 steps: {left_over:.0e}")

# %% [markdown]
# **What the code shows:** the limit for raw pixels lies between 0.0007 and 0.0008: there is the cliff.
# The condition number is `{python} f"{kappas['raw']:,.0f}"`: there is the crawl. (The loss falls sooner than $\kappa$ suggests, for the flattest modes matter least to it.)
# Subtracting each pixel's mean divides $\kappa$ by `{python} f"{kappas['raw'] / kappas['centred']:,.0f}"`, because a common mean makes one huge eigenvalue, along which all pixels brighten together.
# The model is as expressive as before and its lowest loss is the same; only the road to it changed.
# This is one reason why inputs are standardised, and why networks contain [normalisation](../neural-networks/regularization.py#keep-the-signals-in-range).
#
# If you stop here, you have the correct picture: *step against the gradient; the steepest direction limits the rate, the flattest sets the time*.

# %% tags=["test"]
def random_bowl(rng, d, low=0.1, high=5.0):
    """A symmetric H (d, d) with eigenvalues from `low` to `high`."""
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    lam = np.linspace(low, high, d) if d > 1 else np.array([high])
    return (Q * lam) @ Q.T


def test_squared_loss_against_torch():
    import torch

    rng = np.random.default_rng(1)
    for _ in range(25):
        n, d = rng.permutation(np.arange(1, 14))[:2]
        X, y, theta = rng.normal(size=(n, d)), rng.normal(size=n), rng.normal(size=d)
        t = torch.from_numpy(theta).requires_grad_()
        loss = 0.5 * torch.nn.functional.mse_loss(
            torch.from_numpy(X) @ t, torch.from_numpy(y))
        loss.backward()
        assert abs(squared_loss(theta, X, y) - loss.item()) < 1e-12
        assert np.allclose(squared_gradient(theta, X, y), t.grad.numpy(), atol=1e-12)


def test_gradient_descent_is_torch_sgd_and_the_modes():
    import torch

    rng = np.random.default_rng(2)
    for d in (1, 2, 3, 5, 8) * 4:
        H, e, lr = random_bowl(rng, d), rng.normal(size=d), rng.uniform(0.01, 0.39)
        t = torch.from_numpy(e.copy()).requires_grad_()
        optimizer = torch.optim.SGD([t], lr=lr)
        path = gradient_descent(lambda theta: theta @ H, e, lr, 7)
        for k in range(8):
            assert np.allclose(path[k], t.detach().numpy(), atol=1e-12)
            assert np.allclose(path[k], error_after(H, e, lr, k), atol=1e-10)
            optimizer.zero_grad()
            (0.5 * t @ torch.from_numpy(H) @ t).backward()
            optimizer.step()
    assert gradient_descent(lambda x: x, np.ones(3), 0.1, 0).shape == (1, 3)


def test_rate_limit():
    rng = np.random.default_rng(3)
    for d in (1, 2, 4, 7):
        H, e = random_bowl(rng, d), rng.normal(size=d)
        for share, shrinks in ((0.97, True), (1.03, False)):
            path = gradient_descent(lambda x: x @ H, e, share * 2 / 5.0, 1000)
            end = np.linalg.norm(path[-1])
            assert (end < 1e-3) == shrinks and (end > 1e3) != shrinks


def test_digits_and_condition():
    for scaling, (center, spread) in {"raw": (False, False), "centred": (True, False),
                                      "standardised": (True, True)}.items():
        X, y = digits(scaling)
        assert X.shape == (1797, 47) and set(y) == {-1.0, 1.0} and y[1] == 1 == -y[0]
        assert np.allclose(X[:, :-1].mean(axis=0), 0) == center
        assert np.allclose(X[:, :-1].std(axis=0), 1) == spread
        assert np.allclose(X[:, -1], 1)
        low, high, kappa = condition(X)
        assert np.isclose(np.sqrt(kappa), np.linalg.cond(X), rtol=1e-6)
        assert np.isclose(high, np.linalg.norm(X, 2) ** 2 / 1797) and low > 0
    assert digits("raw", 0.0)[0].shape[1] > 47


# %% tags=["test", "experiment"]
def test_cliff_and_crawl():
    low, high, kappa = condition(digits()[0])
    assert 0.0007 < 2 / high < 0.0008 and ends[0.0008] > 1e6 > 0.2 > ends[0.0007]
    assert kappas["raw"] > 500 * kappas["centred"] and kappas["standardised"] > 50


# %% [markdown]
# ## 2. Deeper treatment
#
# ### The descent lemma
#
# A general loss is no bowl, but its curvature is often bounded.
# Call $L$ *$M$-smooth* if its gradient changes by at most $M$ per unit of distance: $\lVert \nabla L(\theta') - \nabla L(\theta) \rVert \le M \lVert \theta' - \theta \rVert$.
# (With a Hessian: all its eigenvalues lie in $[-M, M]$.)
# Then, for all $\theta$ and $\Delta$,
#
# $$
# L(\theta + \Delta) \le L(\theta) + \nabla L(\theta) \cdot \Delta + \frac{M}{2} \lVert \Delta \rVert^2 .
# $$
#
# **Proof.** Walk along the line: $\varphi(s) = L(\theta + s \Delta)$ has slope $\varphi'(s) = \nabla L(\theta + s\Delta) \cdot \Delta$.
# By Cauchy–Schwarz and smoothness,
#
# $$
# \begin{aligned}
# \varphi'(s) - \varphi'(0) &\le \lVert \nabla L(\theta + s\Delta) - \nabla L(\theta) \rVert \lVert \Delta \rVert \\
# &\le s M \lVert \Delta \rVert^2 .
# \end{aligned}
# $$
#
# So $\varphi(s) - s \varphi'(0) - \frac{1}{2} s^2 M \lVert \Delta \rVert^2$ has a slope of at most zero for $s \ge 0$, and its value at $s = 1$ is no larger than at $s = 0$. That is the claim.
#
# Put $\Delta = -\eta \nabla L(\theta)$ and you have the second line of the box.
# For $\eta \le 1/M$ a step gains at least $\frac{\eta}{2} \lVert \nabla L \rVert^2$.
# Add up $T$ steps: the gains cannot exceed $L(\theta_0) - \inf L$, the whole height above the infimum (the largest lower bound of the loss), so
#
# $$
# \min_{t \lt T} \lVert \nabla L(\theta_t) \rVert^2 \le \frac{2 \left(L(\theta_0) - \inf L\right)}{\eta T} .
# $$
#
# **What this means:** on *any* smooth loss bounded below the gradient gets as small as you like.
# You arrive where it is flat. Whether that is a minimum is another question.
#
# ### Convexity
#
# $L$ is *convex* if it lies below its chords: $L((1 - s) a + s b) \le (1 - s) L(a) + s L(b)$ for $0 \le s \le 1$.
# Subtract $L(a)$, divide by $s$ and let $s \to 0$: a convex function with a gradient lies above its tangents,
#
# $$
# L(b) \ge L(a) + \nabla L(a) \cdot (b - a) .
# $$
#
# **What this means:** where the gradient is zero, no point is lower. **For convex losses, flat means optimal.**
# If there is a Hessian, convex means that $uHu^\top \ge 0$ for all $u$, everywhere.
# Sums and maxima of convex functions are convex, and so is a convex function of $XW$ as a function of $W$ [@boyd2004convex].
# The squared loss is convex, and so is the [cross-entropy](probability.py#maximum-likelihood-is-minimum-cross-entropy) of a linear model: its curvature is a variance.
# Once two layers are multiplied with each other, convexity is gone.
#
# If moreover the curvature is at least $m \gt 0$, so that $L(b) \ge L(a) + \nabla L(a) \cdot (b - a) + \frac{m}{2} \lVert b - a \rVert^2$, the loss is *strongly* convex, and $\kappa = M/m$.
# With $L^* = L(\theta^*)$ and $\eta = 1/M$ there are two rates:
#
# $$
# \begin{aligned}
# \text{convex: } L(\theta_T) - L^* &\le \frac{M \lVert \theta_0 - \theta^* \rVert^2}{2T}, \\
# \text{strongly: } L(\theta_T) - L^* &\le \left(1 - \frac{1}{\kappa}\right)^T (L(\theta_0) - L^*)
# \end{aligned}
# $$
#
# **Proof, convex.** The tangent at $\theta_t$ gives $\nabla L(\theta_t) \cdot (\theta_t - \theta^*) \ge L(\theta_t) - L^*$, and the lemma $\eta \lVert \nabla L(\theta_t) \rVert^2 \le 2 (L(\theta_t) - L(\theta_{t+1}))$.
# So
#
# $$
# \begin{aligned}
# \lVert \theta_{t+1} - \theta^* \rVert^2
# &= \lVert \theta_t - \theta^* \rVert^2 - 2 \eta \nabla L(\theta_t) \cdot (\theta_t - \theta^*) \\
# &\quad {} + \eta^2 \lVert \nabla L(\theta_t) \rVert^2 \\
# &\le \lVert \theta_t - \theta^* \rVert^2 - 2 \eta (L(\theta_{t+1}) - L^*) .
# \end{aligned}
# $$
#
# Sum over $T$ steps: $2 \eta \sum_{t=1}^{T} (L(\theta_t) - L^*) \le \lVert \theta_0 - \theta^* \rVert^2$, and the last of the falling terms is at most their mean.
#
# **Proof, strongly convex.** Minimise both sides of the strong inequality over $b$: $L^* \ge L(a) - \frac{1}{2m} \lVert \nabla L(a) \rVert^2$.
# A step gains at least $\frac{1}{2M} \lVert \nabla L \rVert^2 \ge \frac{m}{M} (L(\theta_t) - L^*)$, so the factor $1 - m/M$ is left.
# The proof uses only $\lVert \nabla L \rVert^2 \ge 2m (L - L^*)$, the *Polyak–Łojasiewicz inequality*, which some non-convex losses satisfy too [@karimi2016linear].
#
# Now a loss that is no bowl: logistic regression, $L(\theta) = \frac{1}{n} \sum_i \log(1 + e^{-y_i x_i \cdot \theta}) + \frac{\rho}{2} \lVert \theta \rVert^2$ with $y_i = \pm 1$.
# The slope of the sigmoid is at most $1/4$, so $M = \lambda_{\max}(X^\top X) / 4n + \rho$, and $m \ge \rho$.

# %%
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), in a form that cannot overflow."""
    return np.exp(-np.logaddexp(0, -z))


def logistic(theta: np.ndarray, X: np.ndarray, y: np.ndarray, rho: float) -> tuple:
    """Loss, gradient (d,) and Hessian (d, d) of ridge logistic regression, y = +-1."""
    z = y * (X @ theta)  # (n,)
    loss = np.logaddexp(0, -z).mean() + 0.5 * rho * theta @ theta
    gradient = -(y * sigmoid(-z)) @ X / len(y) + rho * theta
    weights = sigmoid(z) * sigmoid(-z)  # (n,), at most 1/4
    H = (X.T * weights) @ X / len(y) + rho * np.eye(len(theta))
    return loss, gradient, H


from scipy.optimize import minimize

X, y = digits("standardised")
rho, T = 0.01, 300
M = condition(X)[1] / 4 + rho
referee = minimize(lambda theta: logistic(theta, X, y, rho)[:2], np.zeros(47), jac=True,
                   method="BFGS", options={"gtol": 1e-10})
path = gradient_descent(lambda theta: logistic(theta, X, y, rho)[1], np.zeros(47), 1 / M, T)
gaps = np.array([logistic(theta, X, y, rho)[0] for theta in path]) - referee.fun
curvatures = np.linalg.eigvalsh(logistic(referee.x, X, y, rho)[2])
steps = np.arange(T + 1)
convex_bound = M * (referee.x @ referee.x) / (2 * np.maximum(steps, 1))
strong_bound = (1 - rho / M) ** steps * gaps[0]
assert (gaps <= strong_bound + 1e-12).all() and (gaps[1:] <= convex_bound[1:]).all()
print(f"M / m = {M / rho:.0f}; at the minimum the curvatures are {curvatures[0]:.3g} "
      f"to {curvatures[-1]:.3g}")

# %%
#| label: fig-bounds
#| fig-cap: Logistic regression on the digits, odd against even, by gradient descent with rate 1/M; distance of the loss from its minimum, and the two bounds.
#| fig-alt: On a logarithmic axis the measured distance stays below both bounds. The convex bound is better early, the strongly convex one later.
fig, ax = plt.subplots()
ax.semilogy(steps, gaps, "-", label="measured")
ax.semilogy(steps[1:], convex_bound[1:], "--", label="convex bound")
ax.semilogy(steps, strong_bound, "-.", label="strongly convex bound")
ax.set(xlabel="step", ylabel="loss above the minimum", ylim=(1e-4, 40))
ax.legend();

# %% [markdown]
# **What the code shows:** both bounds of @fig-bounds hold and neither is tight: they must cover the worst loss with these constants, and yours is rarely the worst.
# Use their *form*, $1/T$ or geometric, and what they blame, $\kappa$.
#
# ### Without constants: line search
#
# If you do not know $M$, ask the loss.
# *Backtracking* starts with a large rate and halves it until the loss falls by at least a small share $c$ of what the slope promises [@armijo1966minimization]:
#
# $$
# L(\theta - \eta g) \le L(\theta) - c \, \eta \lVert g \rVert^2
# $$

# %%
def backtrack(loss, theta: np.ndarray, g: np.ndarray, lr: float = 1.0,
              c: float = 1e-4) -> float:
    """The first of lr, lr/2, lr/4, ... that satisfies Armijo's condition; g is (d,)."""
    while loss(theta - lr * g) > loss(theta) - c * lr * (g @ g):
        lr = lr / 2
    return lr


theta, tried = np.zeros(47), []
for _ in range(50):
    loss, g, _ = logistic(theta, X, y, rho)
    tried.append(backtrack(lambda theta: logistic(theta, X, y, rho)[0], theta, g, 16.0))
    theta = theta - tried[-1] * g
searched = logistic(theta, X, y, rho)[0] - referee.fun
losses_per_step = np.log2(16 / np.array(tried)).mean() + 2  # one for the old point
print(f"rates used {min(tried)} to {max(tried)}, 1/M = {1 / M:.2f}")
print(f"above the minimum after 50 steps {searched:.0e}; rate 1/M {gaps[50]:.0e}, "
      f"after 300 {gaps[300]:.0e}")

# %% [markdown]
# **What the code shows:** the search found rates above $1/M$, which is a bound for the worst place, and gained by it: it is ahead even of 300 steps at $1/M$.
# By the descent lemma it always ends, at the latest with the first rate that is at most $2(1 - c)/M$.
# It needs the whole loss `{python} f"{losses_per_step:.1f}"` times per step and exact comparisons, so it suits small problems without noise.

# %% tags=["test"]
def test_logistic_against_torch_and_sklearn():
    import torch
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(4)
    for _ in range(20):
        d = int(rng.integers(1, 6))
        n, rho = d + int(rng.integers(3, 20)), rng.uniform(0.01, 1)
        X, theta = rng.normal(size=(n, d)), rng.normal(size=d)
        y = rng.choice([-1.0, 1.0], size=n)
        A, b = torch.from_numpy(X), torch.from_numpy(y)

        def f(t):
            return torch.nn.functional.softplus(-b * (A @ t)).mean() + rho / 2 * t @ t

        t = torch.from_numpy(theta).requires_grad_()
        want, = torch.autograd.grad(f(t), t)
        loss, g, H = logistic(theta, X, y, rho)
        assert abs(loss - f(t).item()) < 1e-12 and np.allclose(g, want, atol=1e-12)
        hessian = torch.autograd.functional.hessian(f, t).numpy()
        assert np.allclose(H, hessian, atol=1e-12)
    y[:2] = -1, 1
    model = LogisticRegression(C=1 / (n * rho), fit_intercept=False, tol=1e-10)
    model.fit(X, y)
    assert np.abs(logistic(model.coef_[0], X, y, rho)[1]).max() < 1e-5
    assert np.isfinite(logistic(1e4 * theta, X, y, rho)[0])
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_descent_lemma_and_convexity():
    rng = np.random.default_rng(5)
    for _ in range(20):
        n, d = rng.permutation(np.arange(1, 12))[:2]
        X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
        M, (a, b) = np.linalg.norm(X, 2) ** 2 / (4 * n) + 0.1, 3 * rng.normal(size=(2, d))
        (la, ga, _), (lb, _, _) = logistic(a, X, y, 0.1), logistic(b, X, y, 0.1)
        line, square = la + ga @ (b - a), (b - a) @ (b - a)
        assert line + 0.05 * square - 1e-12 <= lb <= line + M / 2 * square + 1e-12
        s = rng.uniform()
        middle = logistic((1 - s) * a + s * b, X, y, 0.1)[0]
        assert middle <= (1 - s) * la + s * lb + 1e-12


def test_backtrack():
    rng = np.random.default_rng(6)
    for d in (1, 3, 6) * 7:
        H, theta = random_bowl(rng, d, 0.1, 40.0), rng.normal(size=d)
        loss = lambda x: 0.5 * x @ H @ x
        g, c = theta @ H, rng.choice([1e-4, 0.3])
        lr = backtrack(loss, theta, g, 8.0, c)
        armijo = lambda lr: loss(theta - lr * g) <= loss(theta) - c * lr * g @ g
        assert armijo(lr) and (lr == 8.0 or not armijo(2 * lr))
        assert lr > (1 - c) / 40.0 and np.log2(lr) == round(np.log2(lr))
    assert backtrack(loss, theta, 0 * g, 8.0) == 8.0  # at a flat point nothing to do


# %% [markdown]
# ### Momentum
#
# In a long valley the steep part of the gradient changes sign from step to step while the flat part keeps it.
# So add up past gradients, with weights that fade: the first cancels, the second grows.
# This is Polyak's *heavy ball* [@polyak1964some], with a *velocity* $v$ and a coefficient $0 \le \beta \lt 1$:
#
# $$
# v_{t+1} = \beta v_t + \nabla L(\theta_t),
# \qquad
# \theta_{t+1} = \theta_t - \eta v_{t+1}
# $$
#
# In a steady gradient $g$ the velocity tends to $g (1 + \beta + \beta^2 + \dots) = g / (1 - \beta)$.
# Nesterov's variant takes the gradient at the point the momentum is about to reach [@nesterov1983method].
# Libraries store that point instead [@sutskever2013importance], so that the update reads $\theta_{t+1} = \theta_t - \eta (\nabla L(\theta_t) + \beta v_{t+1})$ (Exercise 5).

# %%
def momentum_descent(gradient, theta: np.ndarray, lr: float, beta: float, steps: int,
                     nesterov: bool = False) -> np.ndarray:
    """All parameters on the way, (steps + 1, d), as torch.optim.SGD computes them."""
    path, v = [theta], np.zeros_like(theta)
    for _ in range(steps):
        g = gradient(path[-1])
        v = beta * v + g
        path.append(path[-1] - lr * (g + beta * v if nesterov else v))
    return np.array(path)


# %% [markdown]
# On a bowl every mode again goes its own way.
# Since $\eta v_t = \theta_{t-1} - \theta_t$, the error $c_t$ of a mode with curvature $\lambda$ obeys
#
# $$
# c_{t+1} = (1 + \beta - \eta\lambda) \, c_t - \beta c_{t-1} .
# $$
#
# A solution $c_t = z^t$ needs $z^2 - (1 + \beta - \eta\lambda) z + \beta = 0$.
# The product of the two roots is $\beta$. If they are complex they are conjugate, and both have size $\sqrt{\beta}$: *every mode in that range shrinks equally fast, whatever its curvature*.
# Complex they are if $(1 + \beta - \eta\lambda)^2 \lt 4\beta$, that is $(1 - \sqrt{\beta})^2 \lt \eta\lambda \lt (1 + \sqrt{\beta})^2$.
# Make the range just cover all curvatures, $\eta \lambda_{\min} = (1 - \sqrt{\beta})^2$ and $\eta \lambda_{\max} = (1 + \sqrt{\beta})^2$. Divide, and take the root:
#
# $$
# \begin{aligned}
# \sqrt{\kappa} &= \frac{1 + \sqrt{\beta}}{1 - \sqrt{\beta}}
# \quad \Rightarrow \quad
# \sqrt{\beta} = \frac{\sqrt{\kappa} - 1}{\sqrt{\kappa} + 1}, \\
# \eta &= \frac{4}{\left(\sqrt{\lambda_{\min}} + \sqrt{\lambda_{\max}}\right)^2}
# \end{aligned}
# $$
#
# **What this means:** gradient descent's factor was $(\kappa - 1)/(\kappa + 1)$; momentum puts $\sqrt{\kappa}$ in the place of $\kappa$.
# With $\kappa = 10{,}000$, to shrink the slowest mode to about a third takes `{python} f"{-1 / np.log(99 / 101):.0f}"` steps instead of `{python} f"{-1 / np.log(9999 / 10001):,.0f}"`.
# No method that moves along combinations of the gradients seen so far has a smaller guaranteed factor, if $d$ may be as large as you like [@nesterov2018lectures].
#
# For Nesterov's variant the equation is $z^2 - (1 + \beta)(1 - \eta\lambda) z + \beta (1 - \eta\lambda) = 0$.
# With $\eta = 1/\lambda_{\max}$ and $\beta = (\sqrt{\kappa} - 1)/(\sqrt{\kappa} + 1)$ the slowest mode has a double root, $z = 1 - 1/\sqrt{\kappa}$.
# That is a little slower on bowls, but this order of speed is proved for all smooth, strongly convex losses.
# The heavy ball has no such guarantee: whatever $\eta$ and $\beta$, either it is not accelerated on the worst bowl, or some smooth, strongly convex loss with the same constants and some start make it cycle forever [@goujaud2025provable].

# %%
def mode_factor(lr_lam: np.ndarray, beta: float = 0.0, nesterov: bool = False):
    """Size of the larger root for each eta * lambda: the mode's factor per step."""
    damp = 1 - lr_lam
    b, c = ((1 + beta) * damp, beta * damp) if nesterov else (beta + damp, beta + 0 * damp)
    root = np.sqrt(b**2 - 4 * c + 0j)
    return np.maximum(np.abs(b + root), np.abs(b - root)) / 2


low, high, kappa = condition(X)  # the standardised digits, squared loss
theta_star = np.linalg.lstsq(X, y)[0]
root = np.sqrt(kappa)
tuned = {  # rate, beta, nesterov
    "plain": (2 / (low + high), 0.0, False),
    "Nesterov": (1 / high, (root - 1) / (root + 1), True),
    "heavy ball": (4 / (np.sqrt(low) + np.sqrt(high)) ** 2,
                   ((root - 1) / (root + 1)) ** 2, False),
}
factors = {"plain": (kappa - 1) / (kappa + 1), "Nesterov": 1 - 1 / root,
           "heavy ball": (root - 1) / (root + 1)}
excess, needed = {}, {}
for name, (lr, beta, nesterov) in tuned.items():
    worst = mode_factor(lr * np.linspace(low, high, 500), beta, nesterov).max()
    assert np.isclose(worst, factors[name], atol=1e-6)
    path = momentum_descent(lambda theta: squared_gradient(theta, X, y),
                            np.zeros(47), lr, beta, 1000, nesterov)
    e = path - theta_star
    excess[name] = 0.5 * ((X @ e.T) ** 2).mean(axis=0)
    needed[name] = [int(np.argmax(excess[name] < share * excess[name][0]))
                    for share in (1e-6, 1e-12)]
    print(f"{name:10} beta {beta:.3f}, factor {worst:.3f}; excess loss x 1e-6 "
          f"at step {needed[name][0]}, x 1e-12 at {needed[name][1]}")

# %%
#| label: fig-momentum
#| fig-cap: Squared loss on the standardised digits. Left, excess loss with the settings derived above; dotted and shifted up, the predicted slopes. Right, the factor of a mode against its curvature.
#| fig-alt: Left, plain descent falls slowly, Nesterov and heavy ball several times as fast. Right, plain descent's factor is a V that comes close to one at both ends, Nesterov's rises to the left, the heavy ball's is one flat line.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.2))
lam = np.linspace(low, high, 400)
for (name, (lr, beta, nesterov)), style in zip(tuned.items(), ("-", "--", "-.")):
    line, = left.semilogy(excess[name], style, label=name)
    slope = 20 * excess[name][60] * factors[name] ** (2 * (np.arange(60, 400) - 60))
    left.semilogy(np.arange(60, 400), slope, ":", color=line.get_color(), linewidth=1)
    right.plot(lam, mode_factor(lr * lam, beta, nesterov), style, label=name)
left.set(xlabel="step", ylabel="excess loss", xlim=(0, 400), ylim=(1e-14, 1))
right.set(xlabel="curvature of the mode", ylabel="factor per step", ylim=(0, 1.05))
left.legend(fontsize=8, loc="upper right");

# %% [markdown]
# **What the code shows:** with $\kappa$ = `{python} f"{kappa:.0f}"`, momentum needs `{python} needed["Nesterov"][0]` (Nesterov) or `{python} needed["heavy ball"][0]` steps to a millionth of the excess loss, where plain descent needs `{python} needed["plain"][0]`.
# On the right of @fig-momentum you see why: it gives up the fast modes in the middle for the slow ones at the ends.
# The smaller factor wins only in the long run: at `1e-6` Nesterov leads, because the heavy ball first swings out (the extreme modes have double roots $z$, and their errors go like $t z^t$); at `1e-12` it is `{python} needed["heavy ball"][1]` against `{python} needed["Nesterov"][1]`.

# %% tags=["test"]
def test_momentum_is_torch_sgd():
    import torch

    rng = np.random.default_rng(7)
    for trial in range(24):
        d, beta, nesterov = int(rng.integers(1, 7)), rng.uniform(0.1, 0.95), trial % 2 == 0
        H, e, lr = random_bowl(rng, d), rng.normal(size=d), rng.uniform(0.01, 0.3)
        t = torch.from_numpy(e.copy()).requires_grad_()
        optimizer = torch.optim.SGD([t], lr=lr, momentum=beta, nesterov=nesterov)
        path = momentum_descent(lambda x: x @ H + np.sin(x), e, lr, beta, 8, nesterov)
        for row in path:
            assert np.allclose(row, t.detach().numpy(), atol=1e-12)
            optimizer.zero_grad()
            (0.5 * t @ torch.from_numpy(H) @ t - torch.cos(t).sum()).backward()
            optimizer.step()
        plain = momentum_descent(lambda x: x @ H, e, lr, 0.0, 5, nesterov)
        assert np.allclose(plain, gradient_descent(lambda x: x @ H, e, lr, 5))


def test_mode_factor():
    rng = np.random.default_rng(8)
    for trial in range(30):
        lr_lam, beta, nesterov = rng.uniform(0.02, 2.5), rng.uniform(0, 0.99), trial % 2
        poly = [1, -(1 + beta - lr_lam), beta] if not nesterov else [
            1, -(1 + beta) * (1 - lr_lam), beta * (1 - lr_lam)]
        want = np.abs(np.roots(poly)).max()
        assert np.isclose(mode_factor(np.array([lr_lam]), beta, bool(nesterov))[0], want)
        path = momentum_descent(lambda x: x, np.ones(1), lr_lam, beta, 400, bool(nesterov))
        late = np.abs(path[-40:, 0]).max()
        assert (late > 1) == (want > 1) or abs(want - 1) < 0.02
    assert np.allclose(mode_factor(np.array([0.0, 0.5, 3.0])), [1, 0.5, 2])


# %% tags=["test", "experiment"]
def test_momentum_pays():
    assert needed["Nesterov"][0] < needed["heavy ball"][0] < needed["plain"][0] / 3
    assert needed["heavy ball"][1] < needed["Nesterov"][1] < needed["plain"][1]
    assert searched < gaps[300] and min(tried) > 1 / M


# %% [markdown]
# ### Noise
#
# The gradient of a mean over $n$ examples costs $n$ evaluations.
# *Stochastic gradient descent* (SGD) replaces it by the mean over a random *minibatch* of $B$ examples [@bottou2018optimization].
# It is right on average, and its [variance falls as one over B](probability.py#averages-and-how-far-they-are-off).
# Near a minimum one mode then obeys $c_{t+1} = (1 - \eta\lambda) c_t - \eta \xi_t$, where the noise $\xi_t$ has mean 0 and variance $s^2 / B$.
# Independent variances add, so the variance $V$ at which $c$ settles satisfies
#
# $$
# \begin{aligned}
# V &= (1 - \eta\lambda)^2 V + \frac{\eta^2 s^2}{B} \\
# \Rightarrow \quad
# V &= \frac{\eta s^2}{B \lambda (2 - \eta\lambda)},
# \quad
# \frac{1}{2} \lambda V \approx \frac{\eta s^2}{4B}
# \end{aligned}
# $$
#
# for small $\eta\lambda$. Summed over the modes, with $\sigma^2$ the mean squared length of one example's gradient at the minimum:
#
# $$
# \mathbb{E}[L(\theta_t)] - L^* \to \frac{\eta \sigma^2}{4B}
# $$
#
# **What this means:** with a fixed rate SGD does not converge. It reaches a *noise floor* proportional to $\eta / B$. No $\lambda$ is left in it: a flat mode wanders further, but its errors cost less.
# (The formula ignores that the noise itself depends on $\theta$, which matters at larger rates.)
#
# To go below it, shrink the rate.
# The steps must still be able to lead anywhere and their noise must die out, so Robbins and Monro asked for
#
# $$
# \sum_{t} \eta_t = \infty, \qquad \sum_{t} \eta_t^2 \lt \infty
# $$
#
# in the paper that founded the subject [@robbins1951stochastic].
# The simplest case you know: $L = \frac{1}{2} \mathbb{E}[(\theta - x)^2]$ with $\eta_t = 1/t$ gives $\theta_t = \theta_{t-1} - \frac{1}{t} (\theta_{t-1} - x_t)$, which is exactly the mean of $x_1, \dots, x_t$.
# Averaging the iterates themselves has a similar effect [@polyak1992acceleration].

# %%
draws = np.random.default_rng(0).normal(2, 1, size=1000)
theta, running = 5.0, []
for t, x in enumerate(draws, start=1):
    theta = theta - (theta - x) / t
    running.append(theta)
assert np.allclose(running, np.cumsum(draws) / np.arange(1, 1001))
print(f"after 10 draws {running[9]:.3f}, after 1000 {running[-1]:.3f} (true mean 2)")

# %% [markdown]
# ### Experiment: what sets the floor?
#
# **Question.** On the standardised digits, does halving the rate lower the floor as much as doubling the batch, and is noise *at the minimum* really the cause?
# **Prediction.** Start at the minimum and measure the mean excess loss of the second half. At equal $\eta / B$ these floors coincide and follow $\eta \sigma^2 / 4B$, with excesses at the larger rates.
# **Control.** Replace the targets by the predictions of the best linear fit. Minibatches stay as random as before, but at the minimum every example's gradient is zero, so the floor should vanish.

# %%
def sgd_excess(X: np.ndarray, y: np.ndarray, rate, B: int, steps: int, start: np.ndarray,
               seed: int = 0, runs: int = 5, every: int = 10, beta: float = 0.0):
    """Excess squared loss (steps // every, runs) of SGD; `rate` gives the rate at t."""
    n, rng = len(X), np.random.default_rng(seed)
    H, theta_star = X.T @ X / n, np.linalg.lstsq(X, y)[0]
    theta, out = np.tile(start, (runs, 1)), []  # (runs, d): independent runs as rows
    v = np.zeros_like(theta)
    for t in range(1, steps + 1):
        rows = rng.integers(n, size=(runs, B))  # with replacement
        X_b = X[rows]  # (runs, B, d)
        residual = (X_b @ theta[:, :, None])[:, :, 0] - y[rows]  # (runs, B)
        v = beta * v + (residual[:, None, :] @ X_b)[:, 0] / B
        theta = theta - rate(t) * v
        if t % every == 0:
            e = theta - theta_star
            out.append(0.5 * ((e @ H) * e).sum(axis=1))
    return np.array(out)


fitted = X @ theta_star
sigma2 = ((X * (fitted - y)[:, None]) ** 2).sum(axis=1).mean()
floors = {}
for B, lrs in ((1, (0.001, 0.002, 0.004)), (4, (0.004, 0.008, 0.016)),
               (16, (0.016, 0.032, 0.064))):
    for lr in lrs:
        runs = sgd_excess(X, y, lambda t: lr, B, int(40 / lr), theta_star)
        floors[lr, B] = runs[len(runs) // 2 :].mean(axis=0)  # one number for each run
arms = {
    "rate 0.016": (y, lambda t: 0.016),
    "rate 0.004": (y, lambda t: 0.004),
    "shrinking": (y, lambda t: 0.016 / (1 + t / 1000)),
    "no noise at the minimum": (fitted, lambda t: 0.016),
}
traces = {name: sgd_excess(X, target, rate, 4, 15_000, np.zeros(47), every=50)
          for name, (target, rate) in arms.items()}
ratios = {key: floor.mean() / (key[0] * sigma2 / (4 * key[1]))
          for key, floor in floors.items()}
for (lr, B), ratio in ratios.items():
    print(f"rate {lr:.3f}, batch {B:2d}: floor {floors[lr, B].mean():.4f}, "
          f"{ratio:.2f} of the prediction")

# %%
#| label: fig-floor
#| fig-cap: SGD on the standardised digits, five independent runs (seed 0). Left, batch of 4, from zero; lines are means, bands run from the lowest to the highest run. Right, the floor against rate over batch size; bars, lowest to highest run; the line is the prediction.
#| fig-alt: Left, two constant rates level off at different heights, a shrinking rate goes on falling, and the run without noise at the minimum falls straight down. Right, the points of all batch sizes lie on or slightly above one line.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.3))
when = 50 * np.arange(1, 301)
for (name, trace), style in zip(traces.items(), ("-", "--", "-.", ":")):
    left.semilogy(when, trace.mean(axis=1), style, label=name, linewidth=1.4)
    left.fill_between(when, trace.min(axis=1), trace.max(axis=1), alpha=0.2)
left.set(xlabel="step", ylabel="excess loss", ylim=(1e-7, 20))
left.legend(fontsize=7, loc="upper center", ncols=2, columnspacing=0.8)
for B, marker in ((1, "o"), (4, "s"), (16, "^")):
    keys = [key for key in floors if key[1] == B]
    mean = np.array([floors[key].mean() for key in keys])
    spread = [mean - [floors[key].min() for key in keys],
              [floors[key].max() for key in keys] - mean]
    right.errorbar([lr / B for lr, _ in keys], mean, spread, fmt=marker, capsize=2,
                   label=f"batch {B}")
line = np.array([0.0009, 0.0045])
right.loglog(line, line * sigma2 / 4, "-", color="0.5", linewidth=1)
right.set(xlabel="rate / batch size", ylabel="floor")
right.set_xticks([0.001, 0.002, 0.004], ["0.001", "0.002", "0.004"])
right.set_yticks([0.003, 0.006, 0.012, 0.024], ["0.003", "0.006", "0.012", "0.024"])
right.minorticks_off()
right.legend(fontsize=8, loc="upper left");

# %% [markdown]
# **What the code shows:** the prediction holds. Floors are `{python} f"{min(ratios.values()):.2f}"` to `{python} f"{max(ratios.values()):.2f}"` times the predicted ones, with the excess at the large rates, and the three batch sizes fall on one line in @fig-floor.
# The control has no floor: its excess loss ends at `{python} f"{traces['no noise at the minimum'][-1].mean():.0e}"`.
# Random batches alone do not stop SGD; examples that disagree at the minimum do. A model that fits every example has no floor.
# The conclusion is for squared loss, small rates and draws with replacement.
# It is one reason why training ends with a falling rate, and why [batch size and rate](../training/batching.py#how-many-steps-at-which-batch-size) are tuned together.

# %% tags=["test"]
def test_sgd_excess():
    rng = np.random.default_rng(9)
    for trial in range(20):  # a batch of copies of one example is plain descent
        d = int(rng.integers(1, 6))
        x, y, start = rng.normal(size=(1, d)), rng.normal(size=1), rng.normal(size=d)
        beta, lr = 0.5 * (trial % 2), 0.3 / (x @ x.T).item()
        got = sgd_excess(x, y, lambda t: lr / t, 3, 6, start, runs=2, every=2, beta=beta)
        theta, v, want = start, 0, []
        for t in range(1, 7):
            v = beta * v + squared_gradient(theta, x, y)
            theta = theta - lr / t * v
            want.append(squared_loss(theta, x, y))
        assert got.shape == (3, 2)
        assert np.allclose(got, np.array(want)[1::2, None], atol=1e-12)


def test_noise_floor_formula():
    rng = np.random.default_rng(10)
    y, X = rng.normal(size=200), np.ones((200, 1))  # one mode with curvature 1
    for lr, B in ((0.2, 1), (0.5, 2), (0.2, 5)):
        runs = sgd_excess(X, y, lambda t: lr, B, 4000, y.mean(keepdims=True), runs=40)
        want = lr * y.var() / (2 * B * (2 - lr))
        assert abs(runs[20:].mean() / want - 1) < 0.05


# %% tags=["test", "experiment"]
def test_floor_conclusion():
    assert all(0.9 < ratio < 1.6 for ratio in ratios.values())
    for small, large in ((0.001, 0.004), (0.004, 0.016), (0.016, 0.064)):
        B = {0.001: 1, 0.004: 4, 0.016: 16}[small]
        assert 3 < floors[large, B].mean() / floors[small, B].mean() < 6
    last = {name: trace[-60:].mean() for name, trace in traces.items()}
    assert last["shrinking"] < 0.5 * last["rate 0.004"] < 0.25 * last["rate 0.016"]
    assert last["no noise at the minimum"] < 1e-7


# %% [markdown]
# ### Preconditioning and Newton's method
#
# Standardising features changes coordinates. Take any invertible $A$ and write $\theta = \phi A$.
# The gradient with respect to $\phi$ is $g A^\top$, so descent in $\phi$ moves $\theta$ by $-\eta \, g A^\top A$, and it sees the Hessian $A H A^\top$.
# A matrix $P = A^\top A$ between gradient and step is a *preconditioner*; one number for each parameter makes it diagonal.
# The best is $P = H^{-1}$: then $\kappa = 1$.
# With $\eta = 1$ this is *Newton's method*, the step to the bottom of the second-order prediction:
#
# $$
# \theta_{t+1} = \theta_t - \nabla L(\theta_t) H^{-1}
# $$

# %%
def newton(derivatives, theta: np.ndarray, steps: int) -> np.ndarray:
    """Newton's path (steps + 1, d); `derivatives` gives gradient (d,), Hessian (d, d)."""
    path = [theta]
    for _ in range(steps):
        g, H = derivatives(path[-1])
        path.append(path[-1] - np.linalg.solve(H, g))  # H is symmetric
    return np.array(path)


path = newton(lambda theta: logistic(theta, X, y, rho)[1:], np.zeros(47), 6)
norms = [np.linalg.norm(logistic(theta, X, y, rho)[1]) for theta in path]
assert np.allclose(path[-1], referee.x, atol=1e-6)  # SciPy's BFGS agrees
print("gradient norms:", " ".join(f"{norm:.0e}" for norm in norms))

N = 124_439_808  # parameters of GPT-2 small
velocity_bytes, hessian_bytes, solve_flops = 4 * N, 4 * N**2, N**3 / 3
years = solve_flops / 312e12 / (365.25 * 86400)  # an A100, 16-bit peak
assert velocity_bytes == 497_759_232
print(f"GPT-2 small: velocity {velocity_bytes / 1e9:.1f} GB, "
      f"Hessian {hessian_bytes / 1e15:.0f} PB, one solve {years:.0f} years")

# %% [markdown]
# **What the code shows:** near the minimum each step roughly doubles the number of correct digits; gradient descent adds a fixed number per step.
# GPT-2 small [@radford2019language] would need `{python} f"{hessian_bytes / 1e15:.0f}"` petabytes for one Hessian, and factorising it ($d^3/3$ floating-point operations) at the 16-bit peak of an A100 [@nvidia2020a100] would take `{python} f"{years:.0f}"` years; the velocity of momentum costs one copy of the weights.
# Minibatches also make $H$ noisy, and along negative curvature Newton steps *uphill*, as you will see.
# Between the extremes lie L-BFGS, which guesses $H^{-1}$ from recent gradients [@liu1989limited], and the diagonal or blockwise preconditioners of [optimizers](../training/optimizers.py#the-rest-of-the-family).
#
# ### Saddle points
#
# Losses of networks are not convex. Take the smallest one with two layers, $L(u, v) = \frac{1}{2} (uv - 1)^2$:
#
# $$
# \nabla L = (uv - 1) (v, u),
# \qquad
# H(0, 0) = \begin{bmatrix} 0 & -1 \\ -1 & 0 \end{bmatrix}
# $$
#
# At $(0, 0)$ the gradient is zero, but the curvature is $+1$ along $(1, -1)$ and $-1$ along $(1, 1)$: a *saddle point*. A *strict* one, because some curvature is negative.
# Along such a direction, with curvature $-\mu$, a deviation is *multiplied* by $1 + \eta\mu$ in each step. From $\varepsilon$ it reaches a distance $r$ after about
#
# $$
# t = \frac{\log(r / \varepsilon)}{\log(1 + \eta\mu)}
# $$
#
# steps.
#
# **What this means:** on the line $v = -u$, the *ridge* between two valleys, descent runs into the saddle and stays. From anywhere else it leaves, and the time grows only with the *logarithm* of how close to the ridge you started.

# %%
def saddle_derivatives(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (2,) and Hessian (2, 2) of (uv - 1)^2 / 2 at w = (u, v)."""
    u, v = w
    r = u * v - 1
    return r * np.array([v, u]), np.array([[v * v, r + u * v], [r + u * v, u * u]])


def escape_steps(eps: float, lr: float) -> int:
    """Steps until uv > 1/2 from (0.5, -0.5) plus eps along (1, 1) / sqrt(2)."""
    w, steps = np.array([0.5, -0.5]) + eps / np.sqrt(2), 0
    while w[0] * w[1] < 0.5:
        w, steps = w - lr * saddle_derivatives(w)[0], steps + 1
    return steps


offsets = 10.0 ** -np.arange(1, 13)
escapes = [escape_steps(eps, 0.1) for eps in offsets]
per_decade = np.log(10) / np.log(1.1)
stuck = newton(saddle_derivatives, np.array([0.3, 0.2]), 6)[-1]
print(f"per decade: measured {np.diff(escapes).mean():.1f} steps, "
      f"predicted {per_decade:.1f}; Newton from (0.3, 0.2) ends at {stuck.round(4) + 0}")

# %%
#| label: fig-saddle
#| fig-cap: The loss of two multiplied weights. Left, contours, the saddle (cross), the minima (dotted curves) and descent from three starts near the ridge. Right, steps to escape against the distance of the start from the ridge.
#| fig-alt: Left, paths run towards the saddle, slow down beside it and turn off to one of the two valleys. Right, the number of steps grows by the same amount for each factor of ten, as the line predicts.
fig, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.2))
a, b = np.meshgrid(np.linspace(-1.7, 1.7, 120), np.linspace(-1.7, 1.7, 120))
left.contour(a, b, 0.5 * (a * b - 1) ** 2, levels=[0.05, 0.2, 0.4, 0.5, 0.7, 1.5, 3],
             colors="0.75", linewidths=0.9)
curve = np.linspace(1 / 1.7, 1.7, 50)
for sign in (1, -1):
    left.plot(sign * curve, sign / curve, ":", color="0.3", linewidth=1.2)
for eps, style in ((0.2, "o-"), (0.01, "s-"), (-0.05, "^-")):
    w = gradient_descent(lambda w: saddle_derivatives(w)[0],
                         np.array([1.3, -1.3]) + eps / np.sqrt(2), 0.1, 120)
    left.plot(*w.T, style, markersize=2.5, linewidth=1)
left.plot(0, 0, "kx", markersize=8)
left.set(xlabel="u", ylabel="v", aspect="equal")
right.semilogx(offsets, escapes, "o", label="measured")
right.semilogx(offsets, escapes[0] + per_decade * np.arange(12), "--", label="predicted")
right.set(xlabel="distance from the ridge", ylabel="steps to escape")
right.legend();

# %% [markdown]
# **What the code shows:** a start a million times closer to the ridge costs `{python} escapes[6] - escapes[0]` more steps.
# Newton's method goes *to* the saddle: it divides by the curvature, sign and all, and any flat point will do.
#
# Why care? For a minimum *all* $d$ curvatures must be positive.
# If their signs were coin flips, a flat point would be a minimum with probability $2^{-d}$. Real losses are no coin flips, but theory for random surfaces predicts, and experiments on small networks found, that flat points of high loss are saddles, and that those with fewer negative directions have lower loss [@dauphin2014identifying]. (Such numerical searches often stop where the gradient is not zero [@frye2021critical], so take the experiments with care.)
# If all saddles are strict and the rate is below $1/M$, gradient descent from a random start avoids them with probability 1 [@lee2016gradient]. It can take exponentially long when it meets many in a row [@du2017gradient]; a little added noise prevents that [@jin2017how].
# The saddle at zero is why [initial weights](../neural-networks/multilayer-networks.py#where-to-start-initial-weights) are random.
#
# Flat regions can be worse than saddles. A sigmoid unit that is confidently wrong, $z = -10$ where $y = 1$, receives from the squared loss $\frac{1}{2} (\sigma(z) - y)^2$ the gradient $(\sigma(z) - 1) \sigma'(z)$, with size `{python} f"{(1 - sigmoid(-10.0)) * sigmoid(-10.0) * sigmoid(10.0):.0e}"`: a *plateau*.
# Cross-entropy, convex in $z$, gives $\sigma(z) - 1$, with size `{python} f"{1 - sigmoid(-10.0):.2f}"`. The choice of loss removed the plateau.
#
# ### Which minimum? Three short answers
#
# **The shortest one, for least squares.** With more parameters than examples many $\theta$ have loss zero. Which one does descent find from $\theta_0 = 0$?
# Every gradient is a combination of the rows of $X$, so the solution it finds, $\theta$, is one too.
# Any other solution is $\theta + \delta$ with $X \delta^\top = 0$. So $\delta$ is orthogonal to all rows of $X$, hence to $\theta$, and Pythagoras gives $\lVert \theta + \delta \rVert^2 = \lVert \theta \rVert^2 + \lVert \delta \rVert^2$, so $\theta$ is the shortest.
# Nobody asked for that: it is an *implicit bias* [@zhang2017understanding].
# Logistic regression on separable data turns towards the boundary whose nearest examples are farthest away [@soudry2018implicit].

# %%
X_few, y_few = X[:30], y[:30]  # 30 examples, 47 parameters
lr = 1 / condition(X_few)[1]
descended = gradient_descent(lambda theta: squared_gradient(theta, X_few, y_few),
                             np.zeros(47), lr, 20_000)[-1]
shortest = np.linalg.pinv(X_few) @ y_few
assert np.allclose(descended, shortest, atol=1e-6)
assert np.allclose(X_few @ descended, y_few, atol=1e-6)

sharpness = {}
for lr in (0.05, 0.15, 0.24, 0.3):
    end = gradient_descent(lambda w: saddle_derivatives(w)[0], np.array([3, 0.2]), lr,
                           3000)[-1]
    sharpness[lr] = np.linalg.eigvalsh(saddle_derivatives(end)[1])[-1]
    print(f"rate {lr}: limit 2/rate = {2 / lr:4.1f}, curvature at the end "
          f"{sharpness[lr]:.2f}")

# %% [markdown]
# **A flat enough one, at large rates.** As $\eta \to 0$ descent becomes the *gradient flow* $d\theta / dt = -\nabla L$, along which the loss falls at the speed $\lVert \nabla L \rVert^2$.
# On $\frac{1}{2} (uv - 1)^2$ the flow keeps $u^2 - v^2$ fixed, so from $(3, 0.2)$ it ends where the largest curvature $u^2 + v^2$ is `{python} f"{np.sqrt(8.96**2 + 4):.2f}"`.
# Small rates in the output above follow the flow. A rate of 0.24 cannot rest there, since $2/\eta$ is smaller, and ends in a flatter place.
# In networks trained with full batches the largest curvature typically *rises* until it hovers just above $2/\eta$, while the loss still falls, but not in every step: the *edge of stability* [@cohen2021gradient]. The descent lemma does not cover this.
# A poor start can also put you where the curvature is high already. Then a rate that begins small lets descent reach flatter places before it grows [@gilmer2022loss]: one reason for [warm-up](../training/optimizers.py#schedules).
#
# **One that is allowed.** To stay in a convex set, such as all $\theta \ge 0$, step and then *project* to the nearest point of the set. Such projections never increase distances, and convex losses keep their $1/T$ [@bubeck2015convex]. Exercise 4 does it.

# %% tags=["test"]
def test_newton():
    rng = np.random.default_rng(11)
    for d in (1, 2, 4, 7) * 5:
        H, goal, start = random_bowl(rng, d), rng.normal(size=d), rng.normal(size=d)
        path = newton(lambda x: ((x - goal) @ H, H), start, 2)
        assert path.shape == (3, d) and np.allclose(path[1:], goal)  # one step
        n, rho = d + int(rng.integers(3, 20)), rng.uniform(0.1, 1)
        X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
        want = minimize(lambda x: logistic(x, X, y, rho)[:2], start, jac=True,
                        method="BFGS", options={"gtol": 1e-9}).x
        got = newton(lambda x: logistic(x, X, y, rho)[1:], np.zeros(d), 12)[-1]
        assert np.allclose(got, want, atol=1e-6)


def test_saddle():
    import torch

    loss = lambda w: 0.5 * (w[0] * w[1] - 1) ** 2
    rng = np.random.default_rng(12)
    for _ in range(20):
        w = torch.from_numpy(rng.normal(size=2)).requires_grad_()
        g, H = saddle_derivatives(w.detach().numpy())
        assert np.allclose(g, torch.autograd.grad(loss(w), w)[0], atol=1e-12)
        assert np.allclose(H, torch.autograd.functional.hessian(loss, w), atol=1e-12)
    for lr in (0.05, 0.1, 0.2):
        steps = escape_steps(1e-8, lr) - escape_steps(1e-4, lr)
        assert abs(steps - 4 * np.log(10) / np.log(1 + lr)) <= 1
    w = gradient_descent(lambda w: saddle_derivatives(w)[0], np.array([1.0, -1.0]), 0.1, 300)
    assert np.allclose(w[-1], 0, atol=1e-9)  # exactly on the ridge: to the saddle


def test_shortest_solution():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n = int(rng.integers(1, 5))
        d = n + int(rng.integers(6, 12))
        X, y = rng.normal(size=(n, d)), rng.normal(size=n)
        theta = gradient_descent(lambda t: squared_gradient(t, X, y), np.zeros(d),
                                 1 / condition(X)[1], 3000)[-1]
        assert np.allclose(theta, np.linalg.lstsq(X, y)[0], atol=1e-6)


# %% tags=["test", "experiment"]
def test_large_rates_end_flatter():
    assert abs(sharpness[0.05] - np.sqrt(8.96**2 + 4)) < 0.1
    assert all(value < 2 / lr for lr, value in sharpness.items())
    assert sharpness[0.3] < sharpness[0.24] < sharpness[0.15] - 1
    assert np.allclose(stuck, 0, atol=1e-6) and norms[-1] < 1e-7


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: standardised rarities
#
# Standardise *all* pixels that ever change, not only the common ones, and train at the same rate of 0.004, once with all examples in each step and once with one.

# %%
X_all = digits("standardised", 0.0)[0]
rare = {}
for name, features in (("46 common pixels", X), (f"{X_all.shape[1] - 1} pixels", X_all)):
    longest = (features**2).sum(axis=1).max()
    full = gradient_descent(lambda theta: squared_gradient(theta, features, y),
                            np.zeros(features.shape[1]), 0.004, 2000)[-1]
    single = sgd_excess(features, y, lambda t: 0.004, 1, 2000,
                        np.zeros(features.shape[1]))[-1].max()
    rare[name] = squared_loss(full, features, y), single
    print(f"{name:16} full-batch loss {rare[name][0]:.3f}, SGD's excess {single:.1e}")
    print(f"{'':16} limits: full batch {2 / condition(features)[1]:.2f}, "
          f"strictest single example {2 / longest:.4f}")

# %% [markdown]
# **Symptom:** full batches are fine; small ones explode when certain examples come up.
# **Cause:** dividing by a tiny standard deviation makes a pixel that is lit in a handful of images enormous there. One example's loss has the curvature $\lVert x \rVert^2$ along $x$, far above the largest curvature of the mean.
# **Fix:** bound the scaled features (clip them, or put a floor under the standard deviation), clip the [gradient](../training/optimizers.py#schedules), or use larger batches.
#
# ### Failure mode 2: sum instead of mean

# %%
summed = {}
for B in (4, 64, 256):  # the sum over B examples is B times their mean
    summed[B] = sgd_excess(X, y, lambda t: 0.002 * B, B, 100, np.zeros(47))[-1].mean()
    print(f"sum over {B:3d} examples, rate 0.002: excess loss {summed[B]:.2g}")

# %% [markdown]
# **Symptom:** a rate that worked explodes on a larger batch, or on the last batch of another size.
# **Cause:** a sum's gradient and curvature grow with $B$, so its limit shrinks: $2 / (B \lambda_{\max})$.
# **Fix:** average, and know over what: for language models over tokens (pieces of words), not over sequences ([loss functions](../training/loss-functions.py#failure-mode-1-the-mean-of-means)).
#
# ### Failure mode 3: momentum at the old rate

# %%
ball = {}
for lr, beta in ((0.002, 0.0), (0.002, 0.9), (0.0002, 0.9)):
    runs = sgd_excess(X, y, lambda t: lr, 4, 10_000, theta_star, beta=beta)
    ball[lr, beta] = runs[len(runs) // 2 :].mean()
    print(f"rate {lr:.4f}, beta {beta}: noise floor {ball[lr, beta]:.4f}")

# %% [markdown]
# **Symptom:** you add momentum to a tuned run and the final loss gets worse.
# **Cause:** each gradient acts $1/(1 - \beta)$ times in all, so a slow mode moves as with the rate $\eta / (1 - \beta)$, and the floor rises by about that factor.
# **Fix:** compare at equal $\eta / (1 - \beta)$. Where noise dominates and rates are small, momentum buys nothing that a larger rate would not; what it buys is the $\sqrt{\kappa}$ on the way there.

# %% tags=["test", "experiment"]
def test_failures():
    (common_full, common), (all_full, every) = rare.values()
    assert common < 0.1 and every > 1 and abs(common_full - all_full) < 0.02
    assert summed[64] < summed[4] < 0.1 and summed[256] > 1e6
    assert 7 < ball[0.002, 0.9] / ball[0.002, 0.0] < 14
    assert 0.8 < ball[0.0002, 0.9] / ball[0.002, 0.0] < 1.2


# %% [markdown]
# ### Which method costs what
#
# | method | steps to a given accuracy | memory beside $\theta$ | use it when |
# |---|---|---|---|
# | gradient descent | order $\kappa$ | none | the baseline |
# | momentum, Nesterov | order $\sqrt{\kappa}$ | $d$ | the valley is long, the noise small |
# | SGD | floor $\eta \sigma^2 / 4B$, then shrink $\eta$ | none | $n$ is large |
# | Newton | a handful, near the minimum | $d^2$ | $d$ up to some thousands, convex |
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Names of constants.** Here $m \le$ curvature $\le M$. Papers write $\mu$ for $m$, and $L$ or $\beta$ for $M$; in this book $L$ is the loss and $\beta$ the momentum.
# > - **Two condition numbers.** $\kappa$ of the Hessian $X^\top X / n$ is the *square* of that of $X$.
# > - **Momentum.** PyTorch puts $\eta$ outside the velocity, $v \leftarrow \beta v + g$; others inside, $v \leftarrow \beta v - \eta g$. The two differ when $\eta$ changes. With an average, $v \leftarrow \beta v + (1 - \beta) g$, as in [Adam](../training/optimizers.py#a-direction-for-each-gradient), the rate means something else again.
# > - **SGD.** In PyTorch it is the name of the update; whether the gradient is stochastic is up to you.
# > - **With or without replacement.** Theory draws each batch independently; data loaders shuffle and go through all examples.
# > - **Linear convergence** means a fixed factor per step, a straight line on a logarithmic axis. $1/T$ is *sublinear*.
# > - **Stationary, critical, flat.** All mean that the gradient is zero: minima, maxima and saddles alike.
# > - **Half or not.** $\frac{1}{2}$ in the squared loss changes $H$ by a factor 2, and with it every rate.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): rates by hand
#
# $L = 2 \theta_1^2 + \frac{1}{2} \theta_2^2$ (mind the factors).
# Give the limit of the rate, the best rate, its factor per step, and the point two steps from $(1, 1)$ at the best rate.


# %%
def rates_by_hand() -> tuple[float, float, float, tuple[float, float]]:
    """Limit, best rate, its factor, and the point after two steps from (1, 1)."""
    ### BEGIN SOLUTION
    # H has 4 and 1 on its diagonal; 2/4, 2/5, 3/5; factors -0.6 and 0.6, squared.
    return 0.5, 0.4, 0.6, (0.36, 0.36)
    ### END SOLUTION


# %% tags=["test"]
def test_rates_by_hand():
    H = np.diag([4.0, 1.0])
    limit, best, factor, point = rates_by_hand()
    assert np.isclose(mode_factor(limit * np.diag(H)).max(), 1)
    assert all(mode_factor(lr * np.diag(H)).max() > mode_factor(best * np.diag(H)).max()
               for lr in (best - 0.01, best + 0.01))
    assert np.isclose(factor, mode_factor(best * np.diag(H)).max())
    path = gradient_descent(lambda x: x @ H, np.ones(2), best, 2)
    assert np.allclose(path[-1], point)


# %% [markdown]
# ### Exercise 2 (check): convex or not?
#
# Which are convex in their argument: $\lVert \theta \rVert$; $\max_k s_k$; $-\log \theta$ for $\theta \gt 0$; $\sigma(\theta)$; $(uv - 1)^2$ in $(u, v)$; $\max(0, 1 - y \, x \cdot \theta)$ in $\theta$?

# %% [markdown] tags=["solution"]
# Convex: the norm (by the triangle inequality), the maximum of linear functions, $-\log \theta$ (its second derivative is $1/\theta^2$), and the hinge loss (a maximum of two functions that are linear in $\theta$).
# Not convex: the sigmoid, whose curvature changes sign at 0, and $(uv - 1)^2$: the minima $(1, 1)$ and $(-1, -1)$ have loss 0, their midpoint $(0, 0)$ has loss 1, above the chord.

# %% [markdown]
# ### Exercise 3 (apply): the largest curvature from gradients alone
#
# You have a gradient function and no Hessian. A difference of two gradients, $(\nabla L(\theta + h u) - \nabla L(\theta - h u)) / 2h$, is nearly $uH$.
# Use [power iteration](linear-algebra.py#eigenvectors-directions-that-a-matrix-keeps) to find the curvature of largest size, with its sign.


# %%
def largest_curvature(gradient, theta: np.ndarray, rng: np.random.Generator,
                      steps: int = 300, h: float = 1e-4) -> float:
    """Eigenvalue of largest size of the Hessian at theta (d,), from gradients."""
    ### BEGIN SOLUTION
    u = rng.normal(size=len(theta))
    for _ in range(steps):
        u = u / np.linalg.norm(u)
        w = (gradient(theta + h * u) - gradient(theta - h * u)) / (2 * h)  # u H
        value, u = u @ w, w
    return float(value)
    ### END SOLUTION


# %% tags=["test"]
def test_largest_curvature():
    rng = np.random.default_rng(14)
    for d in (1, 2, 5) * 7:
        H = random_bowl(rng, d) * rng.choice([-1, 1])
        got = largest_curvature(lambda x: x @ H + 1, rng.normal(size=d), rng)
        assert np.isclose(got, np.linalg.eigvalsh(H)[np.abs(np.linalg.eigvalsh(H)).argmax()],
                          rtol=1e-4)
    w = np.array([2.0, 0.4])
    got = largest_curvature(lambda w: saddle_derivatives(w)[0], w, rng)
    assert np.isclose(got, np.linalg.eigvalsh(saddle_derivatives(w)[1])[-1], rtol=1e-4)


# %% [markdown]
# ### Exercise 4 (apply): projected gradient descent
#
# Minimise the squared loss over $\theta \ge 0$: after each step, set negative entries to zero. Use the rate $1/M$, from zero.


# %%
def nonnegative_fit(X: np.ndarray, y: np.ndarray, steps: int) -> np.ndarray:
    """The theta >= 0 (d,) with the smallest squared loss; X (n, d), y (n,)."""
    ### BEGIN SOLUTION
    theta, lr = np.zeros(X.shape[1]), 1 / condition(X)[1]
    for _ in range(steps):
        theta = np.maximum(theta - lr * squared_gradient(theta, X, y), 0)
    return theta
    ### END SOLUTION


# %% tags=["test"]
def test_nonnegative_fit():
    from scipy.optimize import nnls

    rng = np.random.default_rng(15)
    for _ in range(20):
        d = int(rng.integers(1, 6))
        X, y = rng.normal(size=(d + 9, d)), rng.normal(size=d + 9)
        assert np.allclose(nonnegative_fit(X, y, 800), nnls(X, y)[0], atol=1e-6)


# %% [markdown]
# ### Exercise 5 (apply): Nesterov's own form
#
# In the paper's form, $\theta_{t+1} = y_t - \eta \nabla L(y_t)$ and $y_{t+1} = \theta_{t+1} + \beta (\theta_{t+1} - \theta_t)$, with $y_0 = \theta_0$.
# Write it, and show that the $y_t$ are the parameters that PyTorch keeps.


# %%
def nesterov_points(gradient, theta: np.ndarray, lr: float, beta: float,
                    steps: int) -> np.ndarray:
    """The look-ahead points y_0, ..., y_steps, (steps + 1, d)."""
    ### BEGIN SOLUTION
    ys = [theta]
    for _ in range(steps):
        new = ys[-1] - lr * gradient(ys[-1])
        ys.append(new + beta * (new - theta))
        theta = new
    return np.array(ys)
    ### END SOLUTION


# %% tags=["test"]
def test_nesterov_points():
    rng = np.random.default_rng(16)
    for d in (1, 2, 4, 7) * 5:
        H, start = random_bowl(rng, d), rng.normal(size=d)
        lr, beta = rng.uniform(0.01, 0.2), rng.uniform(0, 0.95)
        gradient = lambda x: x @ H + np.sin(x)
        want = momentum_descent(gradient, start, lr, beta, 9, nesterov=True)
        assert np.allclose(nesterov_points(gradient, start, lr, beta, 9), want, atol=1e-10)


# %% [markdown] tags=["solution"]
# Write $\theta_{t+1} - \theta_t = -\eta v_{t+1}$. Since $\theta_{t+1} = y_t - \eta g_t = \theta_t + \beta (\theta_t - \theta_{t-1}) - \eta g_t$, this is $v_{t+1} = \beta v_t + g_t$ with $g_t = \nabla L(y_t)$: the velocity.
# Then $y_{t+1} = \theta_{t+1} - \beta \eta v_{t+1}$. Put $\theta_{t+1} = y_t - \eta g_t$ into it: $y_{t+1} = y_t - \eta (g_t + \beta v_{t+1})$, the library's update.

# %% [markdown]
# ### Exercise 6 (explore): stopping early is a penalty
#
# From $\theta_0 = 0$ on a bowl, mode $i$ after $t$ steps has come the fraction $1 - (1 - \eta\lambda_i)^t$ of its way.
# Minimising $L(\theta) + \frac{\rho}{2} \lVert \theta \rVert^2$ instead comes the fraction $\lambda_i / (\lambda_i + \rho)$.
# Return both. With $\rho = 1/(\eta t)$, how far apart can they be, and where?


# %%
def fractions(lam: np.ndarray, lr: float, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the way to the minimum: t steps, and ridge with rho = 1 / (lr t)."""
    ### BEGIN SOLUTION
    return 1 - (1 - lr * lam) ** t, lam / (lam + 1 / (lr * t))
    ### END SOLUTION


# %% tags=["test"]
def test_fractions():
    rng = np.random.default_rng(17)
    for d in (1, 2, 3, 5) * 5:
        H, goal, t = random_bowl(rng, d), rng.normal(size=d), int(rng.integers(2, 40))
        lam, V = np.linalg.eigh(H)
        stopped, ridge = fractions(lam, 0.1, t)
        path = gradient_descent(lambda x: (x - goal) @ H, np.zeros(d), 0.1, t)
        assert np.allclose(path[-1] @ V, stopped * (goal @ V))
        want = np.linalg.solve(H + np.eye(d) / (0.1 * t), H @ goal)
        assert np.allclose(want @ V, ridge * (goal @ V))
    x = np.geomspace(1e-6, 100, 4000)
    stopped, ridge = fractions(x, 0.001, 1000)
    assert 0.20 < (stopped - ridge).max() < 0.21 and (stopped >= ridge).all()
    assert 2.4 < x[(stopped - ridge).argmax()] < 2.6


# %% [markdown] tags=["solution"]
# With $x = \eta \lambda t$ and a small rate the two are $1 - e^{-x}$ and $x / (1 + x)$. Both are about $x$ for small $x$ and tend to 1 for large $x$. They differ most at $x \approx 2.5$, by about 0.2, where early stopping is the one further along.
# So both keep the directions of high curvature and suppress the others, and $\eta t$ plays the role of $1/\rho$. Training longer is regularising less.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Gradient descent | $\theta \leftarrow \theta - \eta \nabla L$ | `theta - lr * gradient(theta)` | all training |
# | Modes | $e_t = \sum_i (1 - \eta\lambda_i)^t c_i v_i$ | `error_after(H, e, lr, t)` | learning rates, scaling |
# | Rate limit | $\eta \lt 2/\lambda_{\max}$ | `2 / np.linalg.eigvalsh(H)[-1]` | divergence, edge of stability |
# | Descent lemma | gain at least $\eta (1 - \eta M / 2) \lVert g \rVert^2$ | `backtrack(loss, theta, g)` | every proof |
# | Convexity | above the tangents; rates $1/T$, $(1 - 1/\kappa)^T$ | `np.linalg.eigvalsh(H) >= 0` | linear models |
# | Momentum | $v \leftarrow \beta v + g$; $\sqrt{\kappa}$ for $\kappa$ | `momentum_descent(...)` | SGD, part of Adam |
# | Noise floor | $\eta \sigma^2 / 4B$ | `sgd_excess(...)` | schedules, batch size |
# | Preconditioning | $-\eta g P$; Newton $P = H^{-1}$ | `np.linalg.solve(H, g)` | feature scaling, [Shampoo](../training/optimizers.py#the-rest-of-the-family) |
# | Saddle | growth $(1 + \eta\mu)^t$ | `escape_steps(eps, lr)` | initialisation |
# | Implicit bias | shortest solution from zero | `np.linalg.pinv(X) @ y` | generalisation |
#
# **The essential insight:** a gradient is a local promise, and curvature is what breaks it. Along each direction the largest curvature says how far you may step and the smallest how long you must walk, so the quotient of the two is the price of the problem; scaling, momentum and preconditioning are three ways to pay less. Noise adds a floor, which the rate sets and a falling rate removes. On convex losses flat means done. On the losses of networks a flat point of high loss is usually a saddle, which a random start leaves in logarithmic time, and the rate itself helps to choose the minimum you end in.
