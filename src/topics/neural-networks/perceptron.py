# ---
# title: Perceptron
# summary: One neuron that learns a line, and the line it cannot learn.
# prerequisites:
#   - math-foundations/linear-algebra: dot products, norms, matrix products, linear independence
# notebooks: [01-numpy-neural-net]
# packages: [numpy, matplotlib, scikit-learn, scipy, torch]
# ---

# %% [markdown]
# # Perceptron
#
# $$
# \boxed{
# \begin{aligned}
# \hat{y} &= \text{sign}(w \cdot x + b) \\
# w &\leftarrow w + y x, \quad b \leftarrow b + y
# \quad \text{if } y (w \cdot x + b) \le 0
# \end{aligned}
# }
# $$
#
# The input $x \in \mathbb{R}^d$ is a row of $d$ numbers, $w \in \mathbb{R}^d$ holds one *weight* for each of them, and $b$ is a number, the *bias*.
# The prediction $\hat{y}$ is $+1$ if the *score* $w \cdot x + b$ is positive and $-1$ otherwise; $y$ is the true label, $+1$ or $-1$.
# The second line is the whole of learning: after a mistake, add the example to the weights, with the sign it should have had.
#
# The perceptron [@rosenblatt1958perceptron] learns its weights from examples, with a proof that it gets there [@novikoff1962convergence], and nearly every parameter of a language model still sits in such a dot product.

# %% [markdown]
# ## 1. One neuron
#
# ### A template is not enough
#
# Tell handwritten threes from eights, in images of 8 by 8 pixels with ink from 0 to 16 (scikit-learn's digits, from the UCI repository, CC BY 4.0).
# Two obvious rules need no learning.
# *Votes*: each pixel, inked or blank, votes for the digit that leaves it so more often.
# *Templates*: average each digit's images, and choose the nearer average.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import nnls
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.svm import SVC


def template_neuron(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias; positive scores where the mean of y = +1 is nearer."""
    plus, minus = X[y > 0].mean(axis=0), X[y < 0].mean(axis=0)
    return plus - minus, (minus @ minus - plus @ plus) / 2


def accuracy(w: np.ndarray, b: float, X: np.ndarray, y: np.ndarray) -> float:
    """Share of the rows of X (n, d) on the side that y (n,) says."""
    return float((np.where(X @ w + b > 0, 1, -1) == y).mean())


digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
train, test = order[:1000], order[1000:]


def pair(plus: int, minus: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images (n, 64) of two digits among `rows`, with labels +1 and -1."""
    rows = rows[np.isin(digits.target[rows], (plus, minus))]
    return digits.data[rows], np.where(digits.target[rows] == plus, 1, -1)


X, y = pair(3, 8, train)
X_test, y_test = pair(3, 8, test)
inked = np.where(X >= 8, 1, -1)
votes = np.sign(inked[y > 0].mean(axis=0) - inked[y < 0].mean(axis=0))
by_votes = accuracy(votes, 0, np.where(X_test >= 8, 1, -1), y_test)
by_template = accuracy(*template_neuron(X, y), X_test, y_test)
template_wrong = round((1 - accuracy(*template_neuron(X, y), X, y)) * len(y))
assert X.shape == (210, 64) and X_test.shape == (147, 64)
print(f"{len(y)} images to learn from, {len(y_test)} to test on")
print(f"votes {by_votes:.1%}, templates {by_template:.1%} of the test images right")

# %% [markdown]
# **What the code shows:** votes fail on one image in `{python} round(1 / (1 - by_votes))`, templates on one in `{python} round(1 / (1 - by_template))`.
# Worse, the templates get `{python} template_wrong` of the images wrong that they were *made from*, and a better average is no cure: it treats all images alike, and does not know which lie near the border.
#
# Yet the templates come close to the solution.
# $\lVert x - \mu_+ \rVert^2 \lt \lVert x - \mu_- \rVert^2$, with $\mu_\pm$ the two averages, expands to $w \cdot x + b \gt 0$ with $w = \mu_+ - \mu_-$ and $b = (\lVert \mu_- \rVert^2 - \lVert \mu_+ \rVert^2)/2$.
# So both rules are a weighted sum and a threshold; only their weights come from a recipe.
# Keep the form, and let mistakes set the weights.

# %% [markdown]
# ### Mathematical foundation
#
# A neuron turns an input into a score and the score into a decision:
#
# $$
# z = w \cdot x + b = \sum_{j=1}^{d} w_j x_j + b, \qquad
# \hat{y} = \begin{cases} +1 & z \gt 0 \\ -1 & z \le 0 \end{cases}
# $$
#
# **What this means:** each input gives evidence, positive or negative, in proportion to its weight.
# The bias is the evidence you have before you look.
#
# The [dot product](../math-foundations/linear-algebra.py#the-dot-product-measures-similarity) makes this geometry.
# The inputs with $z = 0$ form a *hyperplane*: a line for $d = 2$, a plane for $d = 3$.
# For two of its points $x$ and $x'$ you have $w \cdot (x - x') = 0$, so $w$ is perpendicular to it.
# Walk from $x$ a distance $t$ against the direction $w / \lVert w \rVert$, and the score falls by $t \lVert w \rVert$; you reach the hyperplane at
#
# $$
# t = \frac{w \cdot x + b}{\lVert w \rVert} .
# $$
#
# **What this means:** the score is a signed distance, in units of $1 / \lVert w \rVert$.
# Multiply $w$ and $b$ by any positive number and no decision changes.
# $y t$ is positive exactly when $x$ is on its correct side, and its smallest value over the data is the *margin*.
# Data with a positive margin for some $w$ and $b$ are *linearly separable*.
#
# Now the boxed rule.
# If the example is wrong, or lies on the border, add $y x$ to $w$ and $y$ to $b$.
# Its own score, times its label, becomes
#
# $$
# y \left( (w + y x) \cdot x + b + y \right) = y (w \cdot x + b) + \lVert x \rVert^2 + 1,
# $$
#
# since $y^2 = 1$.
#
# **What this means:** each update moves the score of the wrong example towards its correct side.
# It may break others. Section 2 proves that this ends.
#
# | quantity | code | shape | threes and eights |
# |---|---|---|---|
# | one input | `x` | $(d)$ | (64) |
# | batch of inputs, labels | `X`, `y` | $(n, d)$, $(n)$ | (210, 64), (210) |
# | weights, bias | `w`, `b` | $(d)$, one number | (64) |
# | scores | `X @ w + b` | $(n)$ | (210) |
# | $K$ neurons side by side | `W`, `b` | $(d, K)$, $(K)$ | (64, 10), (10) for all digits |
# | their scores | `X @ W + b` | $(n, K)$ | (1000, 10) |

# %% [markdown]
# ### By hand
#
# Three points in the plane, visited in this order until a whole round passes without a mistake, starting from $w = (0, 0)$ and $b = 0$:
#
# | round | $x$ | $y$ | $z = w \cdot x + b$ | mistake? | $w$ after | $b$ after |
# |---|---|---|---|---|---|---|
# | 1 | $(0, 2)$ | $+1$ | $0$ | yes | $(0, 2)$ | $1$ |
# | 1 | $(-1, -1)$ | $-1$ | $-2 + 1 = -1$ | no | | |
# | 1 | $(2, 0)$ | $-1$ | $0 + 1 = 1$ | yes | $(-2, 2)$ | $0$ |
# | 2 | $(0, 2)$ | $+1$ | $4$ | no | | |
# | 2 | $(-1, -1)$ | $-1$ | $2 - 2 = 0$ | yes | $(-1, 3)$ | $-1$ |
# | 2 | $(2, 0)$ | $-1$ | $-2 - 1 = -3$ | no | | |
#
# Round 3 gives the scores $5$, $-3$ and $-3$, all on the correct side.
# A score of exactly zero counts as a mistake; otherwise learning could never leave $w = 0$.
#
# ### In code
#
# Section 3 needs the last two arguments, a learning rate and a switch for the bias.

# %%
def perceptron(X: np.ndarray, y: np.ndarray, epochs: int = 1000, lr: float = 1.0,
               use_bias: bool = True) -> tuple[np.ndarray, float, list[int]]:
    """Weights (d,), bias, mistakes of each epoch, for X (n, d) and y (n,) = +-1."""
    w, b, mistakes = np.zeros(X.shape[1]), 0.0, []
    for _ in range(epochs):
        mistakes.append(0)
        for x_i, y_i in zip(X, y):
            if y_i * (x_i @ w + b) <= 0:
                w = w + lr * y_i * x_i
                b = b + lr * y_i * use_bias
                mistakes[-1] += 1
        if mistakes[-1] == 0:
            break
    return w, b, mistakes


X_hand = np.array([[0.0, 2.0], [-1.0, -1.0], [2.0, 0.0]])
y_hand = np.array([1, -1, -1])
w_hand, b_hand, mistakes_hand = perceptron(X_hand, y_hand)
assert np.array_equal(w_hand, [-1, 3]) and b_hand == -1
assert mistakes_hand == [2, 1, 0]
assert np.array_equal(X_hand @ w_hand + b_hand, [5, -3, -3])
print("w", w_hand, "b", b_hand, "mistakes in rounds 1, 2, 3:", mistakes_hand)

# %%
#| label: fig-updates
#| fig-cap: The hand example after each of its three updates. Filled circle, label +1; crosses, label -1; the ring marks the example that caused the update. The arrow is the direction of w, and it points to the shaded side, which is called +1.
#| fig-alt: Three panels. A line swings and shifts from panel to panel, with a perpendicular arrow. In the third panel the circle is on the shaded side and both crosses are on the other.
states = [((0, 2), 1, 0), ((-2, 2), 0, 2), ((-1, 3), -1, 1)]  # w, b, the example
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.5), sharey=True)
grid = np.stack(np.meshgrid(np.linspace(-3, 3, 121), np.linspace(-3, 3, 121)), axis=-1)
for number, (ax, (w, b, i)) in enumerate(zip(axes, states), start=1):
    w = np.array(w, float)
    score = grid @ w + b
    ax.contourf(grid[..., 0], grid[..., 1], score, [0, 99], colors=["0.87"])
    ax.contour(grid[..., 0], grid[..., 1], score, [0], colors="0.3")
    foot, tip = -b * w / (w @ w), w / np.linalg.norm(w)
    ax.annotate("", foot + 1.2 * tip, foot, arrowprops={"arrowstyle": "->"})
    ax.plot(*X_hand[0], "o", color="C0")
    ax.plot(*X_hand[1:].T, "x", color="C1", markeredgewidth=2)
    ax.plot(*X_hand[i], "o", markersize=14, fillstyle="none", color="0.3")
    assert number < 3 or (np.array_equal(w, w_hand) and b == b_hand)
    ax.set(title=f"after update {number}", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")

# %% [markdown]
# In @fig-updates each update moves the line in favour of the ringed example, and the last move does not spoil the others.
# Now the images.

# %%
w, b, mistakes = perceptron(X, y)
learned = accuracy(w, b, X_test, y_test)
assert accuracy(w, b, X, y) == 1.0
both = []  # test accuracy of templates and perceptron for every pair of digits
for plus in range(10):
    for minus in range(plus + 1, 10):
        known, new = pair(plus, minus, train), pair(plus, minus, test)
        both.append((accuracy(*template_neuron(*known), *new),
                     accuracy(*perceptron(*known)[:2], *new)))
pair_template, pair_learned = np.mean(both, axis=0)
print("mistakes in each pass:", mistakes)
print(f"test images right: {learned:.1%}; mean over all {len(both)} pairs: "
      f"templates {pair_template:.1%}, perceptrons {pair_learned:.1%}")

# %%
#| label: fig-weights
#| fig-cap: The 64 weights as images, for threes against eights. Left, the difference of the two templates; right, what the perceptron learned. Red and + speak for a three, blue and − for an eight; each panel has its own scale, and only its strongest weights carry a sign.
#| fig-alt: Two similar 8 by 8 heat maps, both strongly blue on the left side, where an eight closes its loops. The template's strongest red pixel, right of the middle, has little weight in the learned neuron.
fig, axes = plt.subplots(1, 2, figsize=(6, 2.7))
for ax, title, image in zip(axes, ("templates", "perceptron"),
                            (template_neuron(X, y)[0], w)):
    top = np.abs(image).max()
    shown = ax.imshow(image.reshape(8, 8), cmap="RdBu_r", vmin=-top, vmax=top)
    for i, j in np.argwhere(np.abs(image.reshape(8, 8)) > top / 2):
        ax.text(j, i, "+" if image[8 * i + j] > 0 else "\u2212", color="w",
                ha="center", va="center")
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
    fig.colorbar(shown, ax=ax)

# %% [markdown]
# **What the code shows:** `{python} sum(mistakes)` updates, in `{python} len(mistakes)` passes, gave a neuron that makes no mistake on the training images and gets `{python} f"{learned:.1%}"` of the new ones right, against `{python} f"{by_template:.1%}"` for the templates.
# On these small test sets a single pair proves little, but the mean over all pairs agrees.
# In @fig-weights you see where both look: an eight has ink where a three is open.
# The strongest red of the templates almost vanishes in the learned weights: other pixels carry its evidence.
# All that it knows is a signed sum of `{python} sum(mistakes)` images, so only the mistakes left a trace.
#
# ### Ten classes
#
# For $K$ classes take $K$ neurons and let the highest score win, the class $k$ at which it is reached: $\hat{y} = \text{argmax}_k (x W + b)_k$.
# Let $r$ be the best of the classes other than the true class $y$. If $r$ scores as high as $y$ or higher, add $x$ to column $y$ of $W$, subtract it from column $r$, and treat the biases alike [@duda1973pattern; @collins2002discriminative].

# %%
def multiclass_perceptron(X: np.ndarray, y: np.ndarray, K: int, epochs: int = 1000
                          ) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """W (d, K), b (K,) and the mistakes of each epoch; y (n,) holds classes 0..K-1."""
    W, b, mistakes = np.zeros((X.shape[1], K)), np.zeros(K), []
    for _ in range(epochs):
        mistakes.append(0)
        for x, k in zip(X, y):
            scores = x @ W + b
            rivals = np.where(np.arange(K) == k, -np.inf, scores)
            r = rivals.argmax()
            if scores[k] <= rivals[r]:
                W[:, k], b[k] = W[:, k] + x, b[k] + 1
                W[:, r], b[r] = W[:, r] - x, b[r] - 1
                mistakes[-1] += 1
        if mistakes[-1] == 0:
            break
    return W, b, mistakes


D_train, D_test = digits.data[train], digits.data[test]
t_train, t_test = digits.target[train], digits.target[test]
W10, b10, mistakes10 = multiclass_perceptron(D_train, t_train, 10)
ten_right = (np.argmax(D_test @ W10 + b10, axis=1) == t_test).mean()
means = np.stack([D_train[t_train == k].mean(axis=0) for k in range(10)])
nearest = ((D_test[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
ten_template = (nearest == t_test).mean()
assert W10.shape == (64, 10) and W10.size + b10.size == 650
print(f"{sum(mistakes10)} mistakes in {len(mistakes10)} passes, "
      f"{mistakes10[-1]} in the last")
print(f"ten digits, test: templates {ten_template:.1%}, perceptrons {ten_right:.1%}")

# %% [markdown]
# **What the code shows:** $K$ neurons of $d$ inputs have $K(d + 1)$ parameters, here `{python} W10.size + b10.size`, and take $2Kd$ operations per image.
# They separate all ten digits of the training set.
#
# If you stop here you have the correct picture: *weigh the evidence, compare with a threshold, and move only when you were wrong*.

# %% tags=["test"]
def test_template_neuron_is_nearest_centroid():
    from sklearn.neighbors import NearestCentroid

    rng = np.random.default_rng(1)
    for _ in range(25):
        n, d = int(rng.integers(4, 30)), int(rng.integers(1, 9))
        X, y = rng.normal(size=(n, d)), np.where(np.arange(n) % 3 == 0, 1, -1)
        w, b = template_neuron(X, y)
        want = NearestCentroid().fit(X, y).predict(X)
        assert w.shape == (d,) and accuracy(w, b, X, want) == 1.0
        assert accuracy(w, b, X, -want) == 0.0


def test_perceptron_is_sklearn_exactly():
    from sklearn.linear_model import Perceptron

    rng = np.random.default_rng(2)
    for trial in range(40):
        n, d = int(rng.integers(2, 40)), int(rng.integers(1, 9))
        X = rng.integers(-3, 4, size=(n, d)).astype(float)  # many ties, no rounding
        X = X * [1, 1, 1e6][trial % 3]
        y = rng.choice([-1, 1], size=n)
        y[:2] = [1, -1]  # scikit-learn wants both classes
        epochs, lr = int(rng.integers(1, 12)), [1.0, 0.5, 8.0][trial % 3]
        for use_bias in (True, False):
            w, b, mistakes = perceptron(X, y, epochs, lr, use_bias)
            reference = Perceptron(shuffle=False, tol=None, max_iter=epochs, eta0=lr,
                                   fit_intercept=use_bias).fit(X, y)
            assert np.array_equal(w, reference.coef_[0])
            assert b == reference.intercept_[0]
            assert len(mistakes) <= epochs
    w, b, mistakes = perceptron(np.zeros((0, 3)), np.zeros(0))
    assert w.shape == (3,) and not w.any() and b == 0 and mistakes == [0]
    assert perceptron(np.array([[2.0]]), np.array([-1]))[2] == [1, 0]


def test_hand_example():
    X = np.array([[0.0, 2.0], [-1.0, -1.0], [2.0, 0.0]])
    w, b, mistakes = perceptron(X, np.array([1, -1, -1]))
    assert np.array_equal(w, [-1, 3]) and b == -1 and mistakes == [2, 1, 0]


def test_multiclass_perceptron():
    rng = np.random.default_rng(3)
    for trial in range(25):
        n, d, K = (int(rng.integers(*r)) for r in ((1, 20), (1, 6), (2, 6)))
        X = rng.integers(-3, 4, size=(n, d)).astype(float)
        y, epochs = rng.integers(0, K, size=n), int(rng.integers(1, 9))
        W, b, mistakes = multiclass_perceptron(X, y, K, epochs)
        assert W.shape == (d, K) and b.shape == (K,)
        # Kesler: one long weight vector, a difference of blocks for each rival class.
        theta, count = np.zeros(K * (d + 1)), 0
        for _ in range(len(mistakes)):
            for x, k in zip(X, y):
                rows = [np.kron(np.eye(K)[k] - np.eye(K)[r], np.append(x, 1))
                        for r in range(K) if r != k]
                worst = min(rows, key=lambda row: row @ theta)
                if worst @ theta <= 0:
                    theta, count = theta + worst, count + 1
        assert np.array_equal(theta.reshape(K, d + 1), np.column_stack([W.T, b]))
        assert count == sum(mistakes)
        if K == 2:  # half the difference of the columns is the two-class rule
            w, bias, _ = perceptron(X, 2 * y - 1, epochs)
            assert np.array_equal(W[:, 1] - W[:, 0], 2 * w) and b[1] - b[0] == 2 * bias


# %% tags=["test", "experiment"]
def test_digits():
    assert by_votes < by_template < learned and template_wrong > 0
    assert mistakes[-1] == mistakes10[-1] == 0 and ten_right > ten_template


# %% [markdown]
# ## 2. Why it works, and when it cannot
#
# ### The convergence theorem
#
# Fold the bias into the weights: $\tilde{x} = (x, 1)$ and $\tilde{w} = (w, b)$, so that $z = \tilde{w} \cdot \tilde{x}$.
# Let $R$ be the largest $\lVert \tilde{x}_i \rVert$, and let some vector $u$ of length one separate the data with margin $\gamma \gt 0$, so that $y_i u \cdot \tilde{x}_i \ge \gamma$ for all $i$.
# Start from zero, and let $\tilde{w}_k$ be the weights after $k$ mistakes, the last of them on example $i$.
#
# $$
# \begin{aligned}
# u \cdot \tilde{w}_k &= u \cdot \tilde{w}_{k-1} + y_i u \cdot \tilde{x}_i
# \ge u \cdot \tilde{w}_{k-1} + \gamma \\
# \lVert \tilde{w}_k \rVert^2 &= \lVert \tilde{w}_{k-1} \rVert^2
# + 2 y_i \tilde{w}_{k-1} \cdot \tilde{x}_i + \lVert \tilde{x}_i \rVert^2
# \le \lVert \tilde{w}_{k-1} \rVert^2 + R^2
# \end{aligned}
# $$
#
# The first line uses the margin.
# The second uses that it *was* a mistake, so its middle term is not positive.
# By induction $u \cdot \tilde{w}_k \ge k \gamma$ and $\lVert \tilde{w}_k \rVert \le \sqrt{k} R$.
# A dot product with a unit vector is at most the other vector's length (Cauchy–Schwarz), so
#
# $$
# k \gamma \le u \cdot \tilde{w}_k \le \lVert \tilde{w}_k \rVert \le \sqrt{k} R
# \quad \text{and hence} \quad
# k \le \left( \frac{R}{\gamma} \right)^2 .
# $$
#
# **What this means:** progress towards a solution grows like $k$, the length of the weights only like $\sqrt{k}$, and the two collide.
# The number of mistakes is bounded, whatever the order and *whatever the number* of dimensions and examples [@novikoff1962convergence].
#
# To evaluate the bound you need the best $u$.
# A hard-margin support vector machine (SVM) finds the widest margin [@cortes1995support]; given every row $y_i \tilde{x}_i$ with label $+1$ and its mirror image with label $-1$, its plane passes through the origin by symmetry, as the one of $u$ does.
# By hand, for the three points: $R^2 = 0^2 + 2^2 + 1^2 = 5$, and the final weights $(-1, 3, -1)$, of length $\sqrt{11}$, give every point a score of at least 3 on its side, so $\gamma \ge 3 / \sqrt{11}$ and $k \le 5 \cdot 11 / 9 \lt 7$. We saw 3.

# %%
def signed_rows(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rows y_i (x_i, 1), shape (n, d + 1): all must score above zero."""
    return y[:, None] * np.column_stack([X, np.ones(len(X))])


def widest_margin(Z: np.ndarray) -> tuple[float, np.ndarray]:
    """Largest min(Z @ u) over vectors u of length one, and that u; Z is separable."""
    side = np.repeat([1, -1], len(Z))
    svm = SVC(kernel="linear", C=1e9, tol=1e-8).fit(np.vstack([Z, -Z]), side)
    u = svm.coef_[0] / np.linalg.norm(svm.coef_[0])
    return float((Z @ u).min()), u


Z = signed_rows(X, y)
gamma, u = widest_margin(Z)
R = np.linalg.norm(Z, axis=1).max()
bound = (R / gamma) ** 2
orders = [np.random.default_rng(seed).permutation(len(y)) for seed in range(200)]
totals = np.array([sum(perceptron(X[o], y[o])[2]) for o in orders])
Z_hand = signed_rows(X_hand, y_hand)
gamma_hand, _ = widest_margin(Z_hand)
assert (Z_hand**2).sum(axis=1).max() == 5 and gamma_hand > 3 / np.sqrt(11)
assert np.array_equal(Z_hand @ [-1, 3, -1], [5, 3, 3])
print(f"R = {R:.2f}, margin = {gamma:.3f}, at most {bound:.0f} mistakes")
print(f"actual: {sum(mistakes)}; in 200 other orders {totals.min()} to {totals.max()}")
print(f"hand example: 3 mistakes, by the widest margin at most {5 / gamma_hand**2:.1f}")

# %%
#| label: fig-squeeze
#| fig-cap: The proof at work on threes and eights. Between the two straight bounds of the theorem, the progress towards the best separator and the length of the weights after each mistake. Both axes are logarithmic; the dotted line is where the bounds meet.
#| fig-alt: Two theoretical lines of slope one and one half approach each other and meet at about 350 mistakes. The two measured curves run between them, progress below length, and end at 44 mistakes.
path, v = [], np.zeros(65)
for _ in mistakes:
    for row in Z:
        if v @ row <= 0:
            v = v + row
            path.append((u @ v, np.linalg.norm(v)))
progress, length = np.array(path).T
k = np.arange(1, 500)
fig, ax = plt.subplots()
ax.loglog(k, np.sqrt(k) * R, "k--", linewidth=1, label="length is at most")
ax.loglog(k[: len(length)], length, "-", label="length of the weights")
ax.loglog(k[: len(length)], progress, "-.", label="progress along u")
ax.loglog(k, k * gamma, "k-", linewidth=1, label="progress is at least")
ax.axvline(bound, color="0.5", linestyle=":")
ax.set(xlabel="mistakes so far", ylabel="size")
ax.legend(loc="upper left")

# %% [markdown]
# **What the code shows:** @fig-squeeze draws the collision.
# The bound is `{python} f"{bound / sum(mistakes):.0f}"` times the actual count here: it holds for the worst order of the worst data with this $R$ and $\gamma$.
# It says nothing about the margin you get, which is any positive one.
#
# ### The library's perceptron
#
# `Perceptron(shuffle=False, tol=None)` of scikit-learn is the same algorithm; on inputs that are whole numbers, like these, it is equal to the last bit.

# %%
from sklearn.linear_model import Perceptron

reference = Perceptron(shuffle=False, tol=None, max_iter=len(mistakes)).fit(X, y)
print("equal weights:", np.array_equal(reference.coef_[0], w),
      " equal bias:", reference.intercept_[0] == b)

# %% [markdown]
# ### Data that no line separates
#
# Without a separating hyperplane some example is wrong in every pass, so the updates never end.
# The weights stay bounded [@minsky1969perceptrons; @block1970boundedness]; with integer inputs they can take only finitely many values, and visits in a fixed order must cycle.
# On exclusive or (XOR, "one or the other but not both") you can watch it:

# %%
X_xor = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y_xor = np.array([-1, 1, 1, -1])
for epochs in (1, 2, 1000):
    w_xor, b_xor, mistakes_xor = perceptron(X_xor, y_xor, epochs)
    print(f"after {epochs:4d} passes: w {w_xor}, b {b_xor}, "
          f"right {accuracy(w_xor, b_xor, X_xor, y_xor):.0%}")

# %% [markdown]
# **What the code shows:** each pass ends where it began.
# The last weights are whatever the last example left behind.
# Two repairs keep the rule and change what you take from it.
# The **pocket** keeps the weights that classified most training examples correctly so far. (@gallant1990perceptron draws the examples at random, and counts only after a record run of right answers.)
# The **averaged** perceptron returns the mean of the weights over all visits, a cheap form of letting all of them vote [@freund1999large].
# Try even against odd digits, which no hyperplane separates here:

# %%
def visits(X: np.ndarray, y: np.ndarray, epochs: int):
    """Yield (w, b) after each visit of an example."""
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(epochs):
        for x_i, y_i in zip(X, y):
            if y_i * (x_i @ w + b) <= 0:
                w, b = w + y_i * x_i, b + y_i
            yield w, b


def averaged_perceptron(X: np.ndarray, y: np.ndarray, epochs: int) -> tuple:
    """Mean weights (d,) and mean bias over all visits."""
    w_sum, b_sum = np.zeros(X.shape[1]), 0.0
    for w, b in visits(X, y, epochs):
        w_sum, b_sum = w_sum + w, b_sum + b
    return w_sum / (epochs * len(y)), b_sum / (epochs * len(y))


def pocket_perceptron(X: np.ndarray, y: np.ndarray, epochs: int) -> tuple:
    """The weights (d,) and bias with the best training accuracy met on the way."""
    best, kept, last = -1.0, None, None
    for w, b in visits(X, y, epochs):
        if w is not last:
            last, right = w, accuracy(w, b, X, y)
            if right > best:
                best, kept = right, (w, b)
    return kept


parity, parity_test = 1 - 2 * (t_train % 2), 1 - 2 * (t_test % 2)
kinds = {"last": lambda X, y, epochs: perceptron(X, y, epochs)[:2],
         "pocket": pocket_perceptron, "averaged": averaged_perceptron}
even_odd = {kind: [] for kind in kinds}
for seed in range(10):
    o = np.random.default_rng(seed).permutation(len(parity))
    for kind, fit in kinds.items():
        even_odd[kind].append(
            accuracy(*fit(D_train[o], parity[o], 10), D_test, parity_test))
for kind, scores in even_odd.items():
    print(f"{kind:9} test {np.mean(scores):.3f}, "
          f"over 10 orders from {min(scores):.3f} to {max(scores):.3f}")

# %% [markdown]
# **What the code shows:** the last weights depend on luck; the average hardly does.
# Averages of weights along training returned in deep learning, in [optimizers](../training/optimizers.py#exercise-5-apply-an-average-of-the-weights), for the same reason.
#
# ### What one neuron cannot do
#
# For XOR you would need weights with
#
# $$
# b \le 0, \quad w_1 + b \gt 0, \quad w_2 + b \gt 0, \quad w_1 + w_2 + b \le 0 .
# $$
#
# Add the middle two: $w_1 + w_2 + 2b \gt 0$. Add the outer two: $w_1 + w_2 + 2b \le 0$. Contradiction.
# How close can you get?
# Label the four corners one after the other, both ways, keep the labelings that some neuron realises, and compare them with XOR.
# A test for that: a separating $\tilde{w}$ exists exactly if no weighted average of the rows $y_i \tilde{x}_i$ is zero (Gordan's theorem, 1873).
# One direction is quick: a $\tilde{w}$ with positive scores on all rows has a positive score on every average of them.
# Non-negative least squares (`nnls`) looks for weights of sum 1 that average the rows to zero; if an error remains, there are none.

# %%
def separable(Z: np.ndarray) -> bool:
    """Whether some v has Z @ v > 0, for Z (n, d): no average of its rows is zero."""
    norms = np.linalg.norm(Z, axis=1)
    if (norms == 0).any():
        return False
    rows = np.column_stack([Z / norms[:, None], np.ones(len(Z))])
    target = np.append(np.zeros(Z.shape[1]), 1.0)  # rows to zero, weights to one
    return bool(nnls(rows.T, target, maxiter=100 * len(Z))[1] > 1e-7)


def realisable(X: np.ndarray) -> np.ndarray:
    """All labelings (m, n) of the rows of X that one neuron with a bias can produce."""
    kept = [()]  # a labeling can be produced only if its beginning can
    for i in range(1, len(X) + 1):
        tried = [(*y, label) for y in kept for label in (-1, 1)]
        kept = [y for y in tried if separable(signed_rows(X[:i], np.array(y)))]
    return np.array(kept)


corners = realisable(X_xor)
best_xor = (corners == y_xor).mean(axis=1).max()
print(f"{len(corners)} of 16 labelings realisable; best accuracy on XOR {best_xor}")
product_added = np.column_stack([X_xor, X_xor[:, 0] * X_xor[:, 1]])
print("with a third input x1 * x2:", separable(signed_rows(product_added, y_xor)))

# %% [markdown]
# **What the code shows:** three corners out of four, and the two labelings out of reach are XOR and its opposite.
# One more *feature* repairs it, and [multilayer networks](multilayer-networks.py) learn such features.
#
# The name that goes with this is Minsky and Papert's book of 1969, and it is often told wrongly.
# XOR needs only the lines above; the book goes much further.
# It studies neurons whose inputs are arbitrary features, each of which may look at no more than $k$ points of an image.
# It proves that parity, "is the number of black points odd?", needs a feature that looks at *all* points, and that connectedness needs a $k$ that grows without bound with the image [@minsky1969perceptrons].
# These theorems stand.
# It does not prove that networks of several layers are weak: such networks compute any logical function, which was known from 1943 [@mcculloch1943logical].
# On several layers the authors offered an "intuitive judgment", that the extension is "sterile", and called it important "to elucidate (or reject)" it. It was rejected.
# Whether the book ended the first wave of research, or fell into one that was ending, historians dispute [@olazaran1996sociological].

# %% [markdown]
# ### Experiment: how much can one neuron memorise?
#
# **Question.** Give $n$ random points random labels. For which $n$ can one neuron fit them all?
#
# **Prediction.** Count the labelings of $n$ points in $\mathbb{R}^d$ that a neuron *without* bias can realise; call it $C(n, d)$.
# The points are in *general position*: no $d$ of them are linearly dependent.
# Add one point $p$.
# If some hyperplane that realises an old labeling passes through $p$, tilt it a little either way and $p$ can have both labels; otherwise only one.
# Hyperplanes through $p$ and the origin split the other points as they split their projections along $p$, in $d - 1$ dimensions. So
#
# $$
# \begin{aligned}
# C(n + 1, d) &= C(n, d) + C(n, d - 1), \\
# C(n, d) &= 2 \sum_{k=0}^{d-1} \binom{n-1}{k} ,
# \end{aligned}
# $$
#
# where the sum solves the recursion with $C(1, d) = 2$ and $C(n, 0) = 0$ [@cover1965geometrical].
# Of all $2^n$ labelings, the share $C(n, d) / 2^n$ should be fitted: all for $n \le d$, exactly half for $n = 2d$, with a cliff there that sharpens as $d$ grows.
# (A bias counts as one more dimension. XOR: $C(4, 3) = 14$, as found above.)

# %%
from itertools import product
from math import comb


def cover_count(n: int, d: int) -> int:
    """Labelings of n points in general position in R^d split by planes through 0."""
    return 2 * sum(comb(n - 1, k) for k in range(d))


def share_fitted(n: int, d: int, trials: int, rng: np.random.Generator,
                 epochs: int = 0) -> tuple[float, float]:
    """Share of random problems that are separable; that the rule solves in `epochs`."""
    Z = rng.normal(size=(trials, n, d)) * rng.choice([-1, 1], size=(trials, n, 1))
    V = np.zeros((trials, d))
    for _ in range(epochs):
        for i in range(n):
            wrong = (V * Z[:, i]).sum(axis=1) <= 0
            V += wrong[:, None] * Z[:, i]
    found = ((Z @ V[:, :, None])[..., 0] > 0).all(axis=1)
    return float(np.mean([separable(rows) for rows in Z])), float(found.mean())


RATIOS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 3.0)
WIDTHS = (5, 20, 60)
fitted = {d: np.zeros((5, len(RATIOS), 2)) for d in WIDTHS}  # seeds, ratios, both shares
for d, seed, (column, ratio) in product(WIDTHS, range(5), enumerate(RATIOS)):
    rng = np.random.default_rng([seed, d, int(10 * ratio)])
    epochs = 100 if d == 20 else 0
    fitted[d][seed, column] = share_fitted(round(ratio * d), d, 40, rng, epochs)

# %%
#| label: fig-capacity
#| fig-cap: Share of random labelings that one neuron can fit, against the number of points per weight. Markers are means over the seeds 0 to 4 with 40 problems each, bars run from the lowest to the highest seed, and thin lines are Cover's formula. Grey crosses, what the perceptron rule fits in 100 passes for 20 weights.
#| fig-alt: Three falling curves cross at two points per weight and a share of one half. The curve for 60 weights is the steepest. Markers sit on the theoretical lines. The grey crosses of the rule fall well before the curve for 20 weights.
fig, ax = plt.subplots()
for d, style in zip(WIDTHS, ("o:", "^--", "s-")):
    share = fitted[d][:, :, 0]
    mean = share.mean(axis=0)
    spread = [mean - share.min(axis=0), share.max(axis=0) - mean]
    line = ax.errorbar(RATIOS, mean, spread, fmt=style[0], markersize=4, capsize=2,
                       label=f"{d} weights")
    counts = np.arange(d, 3 * d + 1)
    ax.plot(counts / d, [cover_count(int(n), d) / 2**int(n) for n in counts],
            style[1:], color=line[0].get_color(), linewidth=1)
found = fitted[20][:, :, 1]
ax.plot(RATIOS, found.mean(axis=0), "x", color="0.4", markersize=5,
        label="20 weights, rule")
ax.set(xlabel="points per weight", ylabel="share fitted")
ax.legend(loc="lower left");

# %% [markdown]
# **What the code shows:** the prediction holds within the spread in @fig-capacity.
# At $n = 2d$ the shares are `{python} ", ".join(f"{fitted[d][:, 5, 0].mean():.2f}" for d in WIDTHS)` for 5, 20 and 60 weights.
# So a neuron can store about two random labels per weight.
# *Finding* them is another matter: with 20 weights and $n = 2d$ the rule fits `{python} f"{fitted[20][:, 5, 1].mean():.2f}"` in 100 passes. Near capacity the margins are tiny, and its mistake bound is huge.
# The conclusion covers Gaussian points and random labels, where there is nothing to generalise; a fit below $2d$ points proves nothing about understanding.
# The same question asked of GPT-style models in 2025 gave about 3.6 bits per parameter [@morris2025language].

# %% [markdown]
# ### From threshold to slope
#
# The perceptron has no opinion on *how* right an answer is.
# Write $m = y (w \cdot x + b)$ for the score on the correct side, and let a *loss* $\ell(m)$ say how bad that score is.
# The slope of its curve at $m$, written $d\ell / dm$, is the rise of the loss per small step of $m$ to the right.
# [Calculus](../math-foundations/calculus.py#one-input-a-slope-is-a-prediction) computes slopes; here you can read them off @fig-losses.
# Three neurons use the same update with three different factors, each the slope of a loss with its sign turned:
#
# $$
# \begin{aligned}
# w &\leftarrow w + \eta \, g(m) \, y x, \quad b \leftarrow b + \eta \, g(m) \, y, \\
# g(m) &= -\frac{d\ell}{dm} .
# \end{aligned}
# $$
#
# | neuron | loss $\ell(m)$ | factor $g(m)$ | year |
# |---|---|---|---|
# | perceptron | $\max(0, -m)$ | 1 if $m \le 0$, else 0 | 1958 to 1962 |
# | Adaline, least mean squares (LMS) | $\frac{1}{2}(1 - m)^2$ | $1 - m$ | 1960 |
# | logistic, with $\sigma(z) = 1 / (1 + e^{-z})$ | $\log(1 + e^{-m})$ | $\sigma(-m)$ | 1958, in statistics |
#
# As in Section 1, the update adds $\eta \, g(m) (\lVert x \rVert^2 + 1)$ to $m$.
# For a small rate $\eta$ the loss changes by its slope times that step, by $-\eta \, g(m)^2 (\lVert x \rVert^2 + 1)$.
# So the loss of the example falls, whatever the sign of the factor; this is [gradient descent](../math-foundations/optimization.py#the-step).
# (The perceptron's loss has a kink at $m = 0$, where the rule takes the slope of the left side.)
#
# **What this means:** the input says in which direction to move, the factor how far.
# Adaline compares the score with $y$ *before* the threshold, since $\frac{1}{2}(y - z)^2 = \frac{1}{2}(1 - m)^2$ [@widrow1960adaptive].
# The logistic neuron reads $\sigma(z)$ as the probability of $+1$ [@cox1958regression]. Then $\sigma(m)$ is the probability of the true label, and the loss is $-\log \sigma(m)$, the [cross-entropy](../math-foundations/probability.py#a-distribution-makes-a-loss).

# %%
def factor(m: np.ndarray, kind: str) -> np.ndarray:
    """g(m) = -dl/dm of the perceptron, Adaline ("squared") or logistic loss."""
    if kind == "perceptron":
        return (m <= 0).astype(float)
    return 1 - m if kind == "squared" else (1 - np.tanh(m / 2)) / 2


def neuron_gradient(w: np.ndarray, b: float, X: np.ndarray, y: np.ndarray,
                    kind: str) -> tuple[np.ndarray, float]:
    """Gradients (d,) and number of the mean loss over X (n, d), y (n,) = +-1."""
    push = factor(y * (X @ w + b), kind) * y / len(y)
    return -push @ X, -push.sum()


def descend(X: np.ndarray, y: np.ndarray, kind: str, lr: float, steps: int) -> tuple:
    """Weights (d,) and bias after gradient descent from zero on the mean loss."""
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(steps):
        dw, db = neuron_gradient(w, b, X, y, kind)
        w, b = w - lr * dw, b - lr * db
    return w, b


# %%
#| label: fig-losses
#| fig-cap: Three losses of one example and the factor that each puts on the update, against the score on the correct side. Left of zero the example is wrong.
#| fig-alt: Two panels with three curves each. The squared loss rises again for scores above one, where its factor is negative. The perceptron factor is a step from one to zero, and the logistic factor a smooth version of that step.
m = np.linspace(-3, 3, 301)
losses = {"perceptron": np.maximum(0, -m), "squared": (1 - m) ** 2 / 2,
          "logistic": np.logaddexp(0, -m)}
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8))
for (kind, loss), style in zip(losses.items(), ("-", "--", "-.")):
    axes[0].plot(m, loss, style, label=kind)
    axes[1].plot(m, factor(m, kind), style, label=kind)
axes[0].set(xlabel="m", ylabel="loss", ylim=(-0.2, 4))
axes[1].set(xlabel="m", ylabel="factor", ylim=(-1.2, 2.2))
axes[0].legend();

# %% [markdown]
# @fig-losses shows what each costs.
# Adaline settles even on data that no line separates, at the [least-squares](../math-foundations/linear-algebra.py#projection-and-least-squares) weights, but its factor is *negative* for $m \gt 1$: it pulls back examples that are too right.
# The logistic factor is the perceptron's step made smooth.
# On separable data the logistic loss has no minimum: more weight is always better. The weights grow for ever, and their direction converges to the widest margin, slowly [@soudry2018implicit]:

# %%
scaled = X / 16
best_margin, _ = widest_margin(signed_rows(scaled, y))
for steps in (100, 1000, 10000):
    v, c = descend(scaled, y, "logistic", 1.0, steps)
    size = np.sqrt(v @ v + c**2)
    margin_share = (signed_rows(scaled, y) @ np.append(v, c)).min() / size / best_margin
    print(f"{steps:5d} steps: length {size:4.1f}, "
          f"margin {margin_share:4.0%} of the widest")
v_p, c_p, _ = perceptron(scaled, y)
share_p = (signed_rows(scaled, y) @ np.append(v_p, c_p)).min()
share_p /= np.sqrt(v_p @ v_p + c_p**2) * best_margin
print(f"perceptron: margin {share_p:.0%} of the widest")

# %% [markdown]
# **What the code shows:** the perceptron stops at its first solution; the smooth neuron is slower (a negative margin means mistakes), but keeps widening its margin.
#
# The deeper reason for smoothness is the layer below.
# To train it, you must know how the output responds to a small change of its inputs.
# A threshold does not respond at all, except where it jumps, so no message gets through; Rosenblatt's machine left its first layer as it was wired.
# A smooth [activation](activation-functions.py) responds with its slope times $w$, and [backpropagation](backpropagation.py) can pass that on.
# That is why a differentiable neuron replaced the threshold.

# %% tags=["test"]
def test_margin_and_mistake_bound():
    rng = np.random.default_rng(4)
    for _ in range(25):
        n, d = int(rng.integers(2, 30)), int(rng.integers(1, 7))
        X, v = rng.normal(size=(n, d)) + 0.3, rng.normal(size=d + 1)
        z = X @ v[:-1] + v[-1]
        X, z = X[np.abs(z) > 0.05], z[np.abs(z) > 0.05]
        if len(X) == 0:
            continue
        y = np.where(z > 0, 1, -1)
        Z = signed_rows(X, y)
        assert separable(Z) and Z.shape == (len(X), d + 1)
        gamma, u = widest_margin(Z)
        # The widest margin is the distance of the rows' convex hull from the origin.
        heavy = np.column_stack([Z, np.full(len(Z), 1e4)]).T
        weights = nnls(heavy, np.append(np.zeros(d + 1), 1e4), maxiter=10_000)[0]
        assert abs(np.linalg.norm(weights @ Z / weights.sum()) / gamma - 1) < 1e-4
        assert abs(np.linalg.norm(u) - 1) < 1e-9
        _, _, mistakes = perceptron(X, y, epochs=100_000)
        assert mistakes[-1] == 0
        assert sum(mistakes) <= (np.linalg.norm(Z, axis=1).max() / gamma) ** 2


def test_separable_is_linear_programming():
    from scipy.optimize import linprog

    rng = np.random.default_rng(5)
    answers = []
    for _ in range(60):
        n, d = int(rng.integers(1, 25)), int(rng.integers(1, 9))
        Z = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-6, 7)
        want = linprog(np.zeros(d), A_ub=-Z / np.abs(Z).max(), b_ub=-np.ones(n),
                       bounds=(None, None)).status == 0
        answers.append(want)
        assert separable(Z) == want
    assert 10 < sum(answers) < 50
    assert not separable(np.zeros((1, 3)))
    assert not separable(np.array([[1.0, 2.0], [-1.0, -2.0]]))


def test_xor_and_cover():
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    can = realisable(square)
    xor = np.array([-1, 1, 1, -1])
    assert len(can) == cover_count(4, 3) == 14
    assert (can == xor).mean(axis=1).max() == 0.75
    rng = np.random.default_rng(6)
    for n, d in [(5, 1), (5, 2), (6, 2), (6, 3)]:  # ties, repeated points
        X = rng.integers(0, 3, size=(n, d)).astype(float)
        want = [y for y in product([-1, 1], repeat=n)
                if separable(signed_rows(X, np.array(y)))]
        assert np.array_equal(realisable(X), want)
    for n, d in [(1, 1), (3, 1), (2, 3), (4, 2), (5, 2), (5, 4), (6, 3), (7, 2)]:
        X = rng.normal(size=(n, d - 1))  # the bias is the last dimension
        assert len(realisable(X)) == cover_count(n, d)
    for d in range(1, 30):
        assert 2 * cover_count(2 * d, d) == 2 ** (2 * d)
        assert cover_count(d, d) == 2**d
        assert cover_count(9, d + 1) == cover_count(8, d + 1) + cover_count(8, d)


def test_share_fitted():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, d, epochs = (int(rng.integers(*r)) for r in ((1, 12), (1, 6), (0, 5)))
        got = share_fitted(n, d, 8, np.random.default_rng(seed), epochs)
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(8, n, d))
        y = rng.choice([-1, 1], size=(8, n, 1))[..., 0]
        runs = [perceptron(*one, epochs, use_bias=False)[0] for one in zip(X, y)]
        found = [bool((y_i * (X_i @ w) > 0).all()) for X_i, y_i, w in zip(X, y, runs)]
        can = [separable(y_i[:, None] * X_i) for X_i, y_i in zip(X, y)]
        assert got == (np.mean(can), np.mean(found))


def test_averaged_and_pocket():
    from sklearn.linear_model import SGDClassifier

    rng = np.random.default_rng(7)
    for _ in range(25):
        n, d = int(rng.integers(3, 30)), int(rng.integers(1, 7))
        X, y = rng.normal(size=(n, d)), rng.choice([-1, 1], size=n)
        y[:2] = [1, -1]
        epochs = int(rng.integers(1, 8))
        w, b = averaged_perceptron(X, y, epochs)
        reference = SGDClassifier(loss="perceptron", penalty=None, average=True,
                                  learning_rate="constant", eta0=1.0, shuffle=False,
                                  tol=None, max_iter=epochs).fit(X, y)
        assert np.allclose(w, reference.coef_[0], atol=1e-10)
        assert abs(b - reference.intercept_[0]) < 1e-10
        path = list(visits(X, y, epochs))
        seen = [accuracy(v, c, X, y) for v, c in path]
        assert len(seen) == epochs * n
        kept_w, kept_b = pocket_perceptron(X, y, epochs)
        first_w, first_b = path[int(np.argmax(seen))]  # the first of the best
        assert np.array_equal(kept_w, first_w) and kept_b == first_b
        assert seen[-1] == accuracy(*perceptron(X, y, epochs)[:2], X, y)


def test_neuron_gradient_is_autograd():
    import torch

    rng = np.random.default_rng(8)
    for trial in range(30):
        n, d = int(rng.integers(1, 12)), int(rng.integers(1, 8))
        X = rng.normal(size=(n, d)) * [1, 1, 300][trial % 3]
        y, w, b = rng.choice([-1, 1], size=n), rng.normal(size=d), rng.normal()
        for kind in ("perceptron", "squared", "logistic"):
            wt = torch.tensor(w, requires_grad=True)
            bt = torch.tensor(b, dtype=torch.float64, requires_grad=True)
            z = torch.tensor(X) @ wt + bt
            t = torch.tensor(y, dtype=torch.float64)
            if kind == "perceptron":
                loss = torch.relu(-t * z).mean()
            elif kind == "squared":
                loss = torch.nn.functional.mse_loss(z, t) / 2
            else:
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    z, (t + 1) / 2)
            loss.backward()
            dw, db = neuron_gradient(w, b, X, y, kind)
            assert dw.shape == (d,)
            size = 1 + np.abs(X).max() ** 2
            assert np.abs(dw - wt.grad.numpy()).max() < 1e-12 * size
            assert abs(db - bt.grad.item()) < 1e-12 * size


def test_adaline_is_least_squares_and_logistic_is_sklearn():
    from sklearn.linear_model import LinearRegression, LogisticRegression

    rng = np.random.default_rng(9)
    for _ in range(20):
        n, d = int(rng.integers(60, 120)), int(rng.integers(1, 5))
        X = rng.normal(size=(n, d))
        y = np.where(X @ rng.normal(size=d) + rng.logistic(size=n) > 0.3, 1, -1)
        if separable(signed_rows(X, y)) or len(set(y)) == 1:
            continue
        w, b = descend(X, y, "squared", 0.3, 1000)
        line = LinearRegression().fit(X, y)
        assert np.allclose(w, line.coef_, atol=1e-9) and abs(b - line.intercept_) < 1e-9
        w, b = descend(X, y, "logistic", 1.0, 4000)
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
        assert np.allclose(w, model.coef_[0], atol=1e-4)
        assert abs(b - model.intercept_[0]) < 1e-4


# %% tags=["test", "experiment"]
def test_section_2():
    assert sum(mistakes) < bound and totals.max() < bound
    assert np.array_equal(reference.coef_[0], w) and reference.intercept_[0] == b
    assert progress[-1] <= length[-1] and len(progress) == sum(mistakes)
    assert np.ptp(even_odd["averaged"]) < np.ptp(even_odd["last"])
    assert not separable(signed_rows(D_train, parity)) and best_xor == 0.75
    for d in WIDTHS:
        for r, share in zip(RATIOS, fitted[d][:, :, 0].mean(axis=0)):
            n = int(round(r * d))
            assert abs(share - cover_count(n, d) / 2**n) < 0.1
    assert margin_share > 0.75


# %% [markdown]
# ### The neuron in 2026
#
# The threshold is gone, the sum is not.
# A linear layer with $d_{in}$ inputs and $d_{out}$ outputs is $d_{out}$ neurons with $d_{out}(d_{in} + 1)$ parameters.
# Count GPT-2 small in that way [@radford2019language]:

# %%
block = {"queries, keys, values": (768, 3 * 768), "attention output": (768, 768),
         "MLP, up": (768, 3072), "MLP, down": (3072, 768)}
neurons = 12 * sum(d_out for _, d_out in block.values())
in_neurons = 12 * sum(d_out * (d_in + 1) for d_in, d_out in block.values())
words = 50257 * 768                   # embeddings, used again as the output neurons
rest = 1024 * 768 + 25 * 2 * 768      # positions, and the gains and shifts of 25 norms
assert in_neurons + words + rest == 124_439_808
print(f"{neurons:,} neurons in 12 blocks hold {in_neurons / 124_439_808:.0%}, "
      f"50,257 output neurons {words / 124_439_808:.0%} of the parameters")

# %% [markdown]
# **What the code shows:** `{python} f"{(in_neurons + words) / 124_439_808:.1%}"` of the model is weights and biases of neurons (later topics build the parts named here).
# The last layer is this page's ten-class perceptron with 50,257 classes: one neuron per vocabulary entry, and greedy decoding is its argmax ([GPT](../transformers/gpt.py#by-hand)).
# A score of [attention](../transformers/attention.py#mathematical-foundation) is a neuron whose weights are another token's key.
# A reward model ends in one neuron ([RLHF](../modern-llms/rlhf.py#where-the-score-comes-from)).
# And if you ask what a hidden state knows, you train one neuron on it, a linear probe [@alain2016understanding].
#
# | year | idea | in one sentence |
# |---|---|---|
# | 1964 | kernels [@aizerman1964theoretical] | The rule needs only dot products between examples, so any function that is a dot product of features will do (Exercise 4). |
# | 1988 | capacity with a margin [@gardner1988space] | Statistical physics gets Cover's $2d$ again, and less for each margin you demand. |
# | 1995 | support vectors [@cortes1995support] | Instead of any separator, take the one with the widest margin. |
# | 2002 | structured perceptron [@collins2002discriminative] | Classes may be whole tag sequences; averaging makes it competitive. |
# | 2018 | implicit bias [@soudry2018implicit] | Gradient descent on the logistic loss finds the widest margin without being asked. |
#
# ### Where it comes from
#
# McCulloch and Pitts described threshold neurons with fixed weights in 1943 [@mcculloch1943logical].
# Rosenblatt reported his perceptron in 1957 and published it in 1958, as a theory of the brain [@rosenblatt1958perceptron].
# That paper compares several ways to reinforce connections; the rule on this page, a change only after an error, is the error-correction procedure that his book of 1962 builds on [@rosenblatt1962principles].
# The Mark I was shown in public in 1960: 400 photocells, wired by plugboard to 512 association units, whose 512 by 8 connections to the output were potentiometers turned by motors [@hay1960mark].
# So it had a hidden layer, but trained only the last.
# Rosenblatt's book proves that it converges; Novikoff's short proof dates from a symposium of 1962, printed in 1963.

# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: unscaled features
#
# Thirty measurements of breast tumours (UCI, CC BY 4.0), some near 0.01, some in the thousands, raw and standardised to mean 0 and variance 1, for 20 passes in ten orders, and for up to 1,000 passes in one:

# %%
tumours = load_breast_cancer()
T, s = tumours.data, 2 * tumours.target - 1
o = np.random.default_rng(0).permutation(len(s))
fit_rows, held_out = o[:400], o[400:]
mean, std = T[fit_rows].mean(axis=0), T[fit_rows].std(axis=0)
tumour_scores = {}
for name, F in (("raw", T), ("standardised", (T - mean) / std)):
    tumour_scores[name] = []
    for seed in range(10):
        rows = np.random.default_rng(seed).permutation(fit_rows)
        v, c, _ = perceptron(F[rows], s[rows], epochs=20)
        tumour_scores[name].append(accuracy(v, c, F[held_out], s[held_out]))
    passes = perceptron(F[fit_rows], s[fit_rows], epochs=1000)[2]
    print(f"{name:12} test {np.mean(tumour_scores[name]):.3f}, from "
          f"{min(tumour_scores[name]):.3f} to {max(tumour_scores[name]):.3f}; "
          f"training mistakes in pass {len(passes)}: {passes[-1]}")
squares = (T[fit_rows] ** 2).mean(axis=0)
two_largest = np.sort(squares)[-2:].sum() / squares.sum()

# %% [markdown]
# **Symptom:** accuracy depends on the order of the data, and mistakes have not ended after 1,000 passes.
# **Cause:** an update adds $x$, and two of the thirty features make up `{python} f"{two_largest:.0%}"` of $\lVert x \rVert^2$, so they overrule the others. Scaling does not change *whether* a hyperplane separates the data, only the bound $(R / \gamma)^2$.
# **Fix:** standardise, with the mean and deviation of the *training* data.
# Inside networks, normalisation layers do this job ([regularization](regularization.py#keep-the-signals-in-range)).
#
# ### Failure mode 2: the forgotten bias
#
# Two kinds of iris (Fisher's data, CC BY 4.0) by the length of their petals alone:

# %%
iris = load_iris()
petal = iris.data[iris.target < 2][:, [2]]
kind = 2 * iris.target[iris.target < 2] - 1
for use_bias in (True, False):
    v, c, count = perceptron(petal, kind, 200, use_bias=use_bias)
    print(f"bias {use_bias}: {accuracy(v, c, petal, kind):.0%} right "
          f"after {len(count)} passes")

# %% [markdown]
# **Symptom:** trivial data, chance accuracy.
# **Cause:** without $b$ the hyperplane passes through the origin, and all lengths are positive, so every flower falls on the same side.
# **Fix:** a bias, or centred inputs.
# (Many language models of 2026 have linear layers without biases; one neuron on raw inputs cannot afford it.)
#
# ### Failure mode 3: labels 0 and 1

# %%
zero_one = (y + 1) // 2  # the threes and eights, labelled 1 and 0
v, c, count = perceptron(X, zero_one, epochs=20)
zero_one_right = accuracy(v, c, X, y)
print(f"right {zero_one_right:.1%}; mistakes per pass {count[:3]}; "
      f"lowest weight {v.min():.0f}")

# %% [markdown]
# **Symptom:** no error; every image is called a three, so the accuracy is the share of threes.
# **Cause:** $y = 0$ makes $y z \le 0$ always and $y x = 0$ always: eights count as mistakes and teach nothing.
# **Fix:** `2 * y - 1`, and an assertion that the labels are $\pm 1$.
#
# ### A knob that does nothing
#
# From zero weights, a learning rate $\eta$ multiplies every update, hence every score, and no sign changes:

# %%
runs = {lr: perceptron(X, y, lr=lr) for lr in (2.0**-10, 1.0, 2.0**10)}
assert all(r[2] == mistakes for r in runs.values())
assert all(np.array_equal(r[0] / lr, w) for lr, r in runs.items())
print("same mistakes, weights in proportion, at three rates over a factor of a million")

# %% [markdown]
# Tuning it is wasted effort, except from a start that is not zero.
# For Adaline and the logistic neuron the rate matters.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Labels.** Here $y \in \{-1, +1\}$ for two classes. Many texts use 0 and 1, where the rule reads $w \leftarrow w + (y - \hat{y}) x$.
# > - **Zero scores.** In training a zero is a mistake, in prediction it means $-1$. Scikit-learn does the same.
# > - **Threshold or bias.** A threshold $\theta$ is a bias $b = -\theta$. Texts without $b$ have folded it into $w$, and then $R$ and $\gamma$ include the constant 1.
# > - **Margin.** Here a distance, $y z / \lVert w \rVert$; some papers call $y z$ the margin.
# > - **"Multilayer perceptron"** means a network of neurons with other activations, trained by gradients; no threshold and no perceptron rule are left in it. Rosenblatt's own "perceptron" was a whole machine, not one neuron.
# > - **Ten classes.** Scikit-learn's `Perceptron` trains ten separate neurons, one against the rest; the rule of Section 1 trains them together.
# > - **Capacity.** Cover's $2d$ is where *half* of all labelings fit. The VC dimension, the largest set of which *all* labelings fit, is $d$ (with a bias $d + 1$).

# %% tags=["test", "experiment"]
def test_failures():
    assert min(tumour_scores["standardised"]) > np.mean(tumour_scores["raw"])
    assert passes[-1] == 0  # standardised: separable, hence the raw data too
    assert zero_one_right == (y > 0).mean() and two_largest > 0.9


def test_failures_repeat_on_other_data():
    x = np.random.default_rng(10).uniform(1, 5, size=(40, 1))
    x = x[np.abs(x[:, 0] - 3) > 0.2]
    y = np.where(x[:, 0] > 3, 1, -1)
    assert accuracy(*perceptron(x, y, 5000)[:2], x, y) == 1.0
    w, b, _ = perceptron(x, y, 200, use_bias=False)
    assert b == 0 and accuracy(w, b, x, y) in ((y > 0).mean(), (y < 0).mean())
    w, b, mistakes = perceptron(x, (y + 1) // 2, 50)
    assert accuracy(w, b, x, y) == (y > 0).mean() and mistakes[-1] > 0


# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): a distance by hand
#
# A neuron has $w = (3, 4)$ and $b = -5$.
# How far is $x = (3, 4)$ from its line, and on which side?
# What changes if you multiply $w$ and $b$ by 10, and what if you multiply only $w$?

# %% [markdown] tags=["solution"]
# $z = 9 + 16 - 5 = 20$ and $\lVert w \rVert = 5$, so the distance is 4, on the positive side.
# Multiplying both leaves the line, the distance and every decision alone; the score becomes 200.
# Multiplying only $w$ moves the line towards the origin, from distance 1 to distance 0.1, because the line lies at distance $\lvert b \rvert / \lVert w \rVert$ from it.

# %% [markdown]
# ### Exercise 2 (check): logic with one neuron
#
# Inputs are 0 or 1. Give weights and a bias for "at least $k$ of the $d$ inputs are 1".
# Which $k$ give AND and OR?

# %%
def at_least(k: int, d: int) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias of a neuron that says +1 if k or more inputs are 1."""
    ### BEGIN SOLUTION
    return np.ones(d), 0.5 - k  # k = d is AND, k = 1 is OR
    ### END SOLUTION


# %% tags=["test"]
def test_at_least():
    for d in range(1, 7):
        X = np.array(list(product([0, 1], repeat=d)))
        for k in range(1, d + 1):
            w, b = at_least(k, d)
            assert np.shape(w) == (d,)
            assert accuracy(w, b, X, np.where(X.sum(axis=1) >= k, 1, -1)) == 1.0


# %% [markdown]
# ### Exercise 3 (apply): the average without the sum
#
# `averaged_perceptron` adds all weights at every visit, though most visits change nothing.
# Number the visits $t = 0, 1, \dots, T - 1$.
# An update at visit $t$ is part of the weights from then on, for $T - t$ visits.
# Use this to do work only at mistakes.

# %%
def lazy_average(X: np.ndarray, y: np.ndarray, epochs: int) -> tuple[np.ndarray, float]:
    """As averaged_perceptron, with work only after mistakes."""
    ### BEGIN SOLUTION
    (w, u), (b, c), T = np.zeros((2, X.shape[1])), (0.0, 0.0), epochs * len(y)
    for t in range(T):
        x_i, y_i = X[t % len(y)], y[t % len(y)]
        if y_i * (x_i @ w + b) <= 0:
            w, b = w + y_i * x_i, b + y_i
            u, c = u + t * y_i * x_i, c + t * y_i
    return w - u / T, b - c / T
    ### END SOLUTION


# %% tags=["test"]
def test_lazy_average():
    rng = np.random.default_rng(11)
    for _ in range(20):
        n, d, epochs = (int(rng.integers(*r)) for r in ((1, 20), (1, 6), (1, 7)))
        X, y = rng.normal(size=(n, d)), rng.choice([-1, 1], size=n)
        w, b = lazy_average(X, y, epochs)
        w_want, b_want = averaged_perceptron(X, y, epochs)
        assert np.allclose(w, w_want, atol=1e-12) and abs(b - b_want) < 1e-12


# %% [markdown]
# ### Exercise 4 (apply): the perceptron without weights
#
# The weights are a sum of signed examples, $\tilde{w} = \sum_i \alpha_i y_i \tilde{x}_i$, where $\alpha_i$ counts the mistakes on example $i$.
# So the score of $x$ is $\sum_i \alpha_i y_i \tilde{x}_i \cdot \tilde{x}$: dot products only.
# Given the matrix $G$ of all dot products $G_{ij}$, return the counts.
# Then replace $G$ by its entrywise square, $G_{ij}^2$. What happens to XOR?

# %%
def dual_perceptron(G: np.ndarray, y: np.ndarray, epochs: int) -> np.ndarray:
    """Mistake counts (n,) from all dot products G (n, n) of the rows (x_i, 1)."""
    ### BEGIN SOLUTION
    alpha = np.zeros(len(y))
    for _ in range(epochs):
        for i in range(len(y)):
            if y[i] * (G[i] @ (alpha * y)) <= 0:
                alpha[i] += 1
    return alpha
    ### END SOLUTION


# %% tags=["test"]
def test_dual_perceptron():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n, d, epochs = (int(rng.integers(*r)) for r in ((1, 20), (1, 6), (1, 9)))
        X = rng.integers(-3, 4, size=(n, d)).astype(float)
        y = rng.choice([-1, 1], size=n)
        X1 = np.column_stack([X, np.ones(n)])
        alpha = dual_perceptron(X1 @ X1.T, y, epochs)
        w, b, mistakes = perceptron(X, y, epochs)
        assert np.array_equal((alpha * y) @ X1, np.append(w, b))
        assert alpha.sum() == sum(mistakes)
    X1 = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    xor, G = np.array([-1, 1, 1, -1]), X1 @ X1.T
    assert (xor * (G @ (dual_perceptron(G, xor, 500) * xor)) <= 0).any()
    assert (xor * (G**2 @ (dual_perceptron(G**2, xor, 500) * xor)) > 0).all()


# %% [markdown] tags=["solution"]
# The squared dot product is a dot product of all products of pairs of inputs, $x_1 x_2$ among them, and with that feature XOR is separable.
# The neuron became nonlinear without one extra weight being stored; that is the kernel trick.

# %% [markdown]
# ### Exercise 5 (explore): a few bits
#
# How many of the $2^{2^d}$ functions of $d$ bits can one neuron compute, and how often can it be right on parity?
# Return both.
# For three bits, Cover's formula gives $C(8, 4) = 128$; why do you find fewer?

# %%
def functions_of_bits(d: int) -> tuple[int, float]:
    """Functions of d bits that one neuron computes; best accuracy on parity."""
    ### BEGIN SOLUTION
    X = np.array(list(product([0.0, 1.0], repeat=d)))
    can = realisable(X)
    parity = 1 - 2 * (X.sum(axis=1) % 2)
    return len(can), float((can == parity).mean(axis=1).max())
    ### END SOLUTION


# %% tags=["test"]
def test_functions_of_bits():
    assert functions_of_bits(1) == (4, 1.0)
    assert functions_of_bits(2) == (14, 3 / 4)
    assert functions_of_bits(3) == (104, 6 / 8) and cover_count(8, 4) == 128
    assert functions_of_bits(4) == (1882, 11 / 16)


# %% [markdown] tags=["solution"]
# 104 of the 256 functions of three bits, and 6 of 8 corners on parity.
# Cover's count assumes general position; the corners of a cube are not, since four of them share a face, and lie in one plane.
# The share falls fast with more bits: for four it is 1,882 of 65,536, as the test checks.

# %% [markdown]
# ### Exercise 6 (explore): cooling the logistic neuron
#
# Multiply the score in the logistic factor by a number $c$: $\sigma(-cm)$.
# Write one pass over the data, example by example, starting from $w$ and $b$, with rate 1 and this factor.
# What do you get as $c$ grows? And for $m = 0$?

# %%
def cooled_pass(w: np.ndarray, b: float, X: np.ndarray, y: np.ndarray,
                c: float) -> tuple[np.ndarray, float]:
    """Weights (d,) and bias after one pass with the factor sigma(-c m)."""
    ### BEGIN SOLUTION
    for x_i, y_i in zip(X, y):
        m = y_i * (x_i @ w + b)
        g = (1 - np.tanh(c * m / 2)) / 2
        w, b = w + g * y_i * x_i, b + g * y_i
    return w, b
    ### END SOLUTION


# %% tags=["test"]
def test_cooled_pass():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d = int(rng.integers(1, 12)), int(rng.integers(1, 6))
        X, y = rng.normal(size=(n, d)), rng.choice([-1, 1], size=n)
        w, b = rng.normal(size=d), rng.normal()
        want_w, want_b = w, b
        for x_i, y_i in zip(X, y):
            if y_i * (x_i @ want_w + want_b) <= 0:
                want_w, want_b = want_w + y_i * x_i, want_b + y_i
        got_w, got_b = cooled_pass(w, b, X, y, 1e12)
        assert np.allclose(got_w, want_w, atol=1e-9) and abs(got_b - want_b) < 1e-9
        warm_w, _ = cooled_pass(w, b, X[:1], y[:1], 1.0)
        dw, _ = neuron_gradient(w, b, X[:1], y[:1], "logistic")
        assert np.allclose(warm_w, w - dw, atol=1e-12)


# %% [markdown] tags=["solution"]
# The factor tends to 1 for $m \lt 0$ and to 0 for $m \gt 0$: the perceptron.
# At $m = 0$ it stays $\frac{1}{2}$, so a first update from zero weights is half of the perceptron's.
# Dividing scores by a temperature $1/c$ is the same knob that sharpens the [softmax](../math-foundations/probability.py#from-scores-to-probabilities).

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Neuron | $z = w \cdot x + b$ | `X @ w + b` | every linear layer |
# | Distance to the hyperplane | $z / \lVert w \rVert$ | `(X @ w + b) / np.linalg.norm(w)` | margins, probes |
# | Perceptron rule | $w \leftarrow w + y x$ if $y z \le 0$ | `w = w + y_i * x_i` | online and structured learning |
# | Mistake bound | $k \le (R / \gamma)^2$ | `(R / gamma) ** 2` | convergence proofs |
# | Several classes | $\text{argmax}_k (xW + b)_k$ | `np.argmax(X @ W + b, axis=1)` | [GPT](../transformers/gpt.py)'s output layer |
# | Capacity | $C(n, d) = 2 \sum_{k \lt d} \binom{n-1}{k}$ | `cover_count(n, d)` | memorisation, $n = 2d$ |
# | Smooth neuron | $w \leftarrow w + \eta \, \sigma(-m) \, y x$ | `factor(m, "logistic") * y` | [loss functions](../training/loss-functions.py) |
# | Parameters | $d_{out} (d_{in} + 1)$ | `W.size + b.size` | counting any model |
#
# **The essential insight:** a neuron is a direction in the space of inputs. Scoring is projecting onto it, and learning is adding examples to it, most of all those that came out wrong. If some direction separates the data, this simplest of rules finds one after a number of mistakes that does not depend on the dimension; if none does, no rule can, and the cure is not a better rule but better features. Replace the threshold by a slope, and the features can be learned too, in [layers](multilayer-networks.py#training-two-layers). One thing stays open even there: on an image every weight belongs to one pixel, so what is learned in one place is unknown in the next. [Convolutional networks](../architectures/cnns.py#a-network-that-learns-each-place-anew) begin with that.
