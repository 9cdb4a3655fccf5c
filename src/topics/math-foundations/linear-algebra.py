# ---
# title: Linear algebra
# summary: "Vectors, matrices and their products: the language in which every network is written."
# packages: [numpy, matplotlib, scipy, scikit-learn]
# ---

# %% [markdown]
# # Linear algebra
#
# $$
# \boxed{
# \begin{aligned}
# x \cdot y &= \sum_{k=1}^{d} x_k y_k = \lVert x \rVert \lVert y \rVert \cos\theta \\
# Y &= XW \text{ with } Y_{ij} = \sum_{k=1}^{d} X_{ik} W_{kj} \\
# A &= \sum_{i} \sigma_i u_i^\top v_i
# \end{aligned}
# }
# $$
#
# The *dot product* of two lists of $d$ numbers multiplies entry by entry and adds up ($\sum_{k=1}^{d}$ means: add this for $k = 1, \dots, d$); $\lVert x \rVert$ is the length of $x$, and $\theta$ the angle between $x$ and $y$.
# The *matrix product* of $X \in \mathbb{R}^{n \times d}$, a table of numbers with $n$ rows and $d$ columns, and $W \in \mathbb{R}^{d \times m}$ holds the dot product of every row of $X$ with every column of $W$; $X_{ik}$ is the entry in row $i$ and column $k$.
# The *singular value decomposition* writes any matrix $A$ as a sum of simple pieces: $\sigma_i \ge 0$ are numbers, the rows $u_i$ and $v_i$ have length 1, $u_i^\top$ is $u_i$ written as a column, and $u_i^\top v_i$ is the table of all products of their entries.
#
# Large language models spend most of their arithmetic on matrix products, which are many dot products at once [@kaplan2020scaling].

# %% [markdown]
# ## 1. Core concept: things as lists of numbers
#
# ### One number is not enough
#
# You need school algebra, Pythagoras included, and enough Python to read a function with a loop.
#
# School algebra computes with single numbers.
# Try to recognise handwritten digits that way.
# scikit-learn ships 1,797 images of $8 \times 8$ pixels, each pixel a number from 0 to 16 (UCI, CC BY 4.0) [@alpaydin1998optical].
# Take 1,000 of them as known.
# Sum up each image in one number, its total ink, and give a new image the label of the known image with the nearest ink; the label says which digit it is.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

images, labels = load_digits(return_X_y=True)
assert images.shape == (1797, 64) and labels.shape == (1797,)
known, known_y = images[:1000], labels[:1000]
query, query_y = images[1000:], labels[1000:]

ink_gap = np.abs(query.sum(axis=1)[:, None] - known.sum(axis=1)[None, :])  # (797, 1000)
by_ink = (known_y[ink_gap.argmin(axis=1)] == query_y).mean()
assert not any((known == image).all(axis=1).any() for image in query)  # no exact copy
print(f"right by total ink: {by_ink:.1%}")

# %% [markdown]
# With ten digits, guessing is right about one time in ten, and ink does no better: `{python} f"{by_ink:.1%}"`.
# Asking for equality does not help either: an `assert` checks that no new image is an exact copy of a known one.
# You need to compare whole lists of numbers, and to say *how similar* they are.
#
# NumPy computes with whole arrays: arithmetic works entry by entry, `sum(axis=1)` adds along each row, `argmin(axis=1)` gives the place of the smallest number in each row, and `[:, None]` against `[None, :]` pairs every number of one list with every number of the other.
# You can skip the code of the figures.
#
# ### The dot product measures similarity
#
# A *vector* is a list of numbers, $x = (x_1, \dots, x_d)$: here 64 pixels, later a word.
# You add vectors entry by entry and *scale* them by multiplying every entry by one number.
# The dot product turns two of them into one number:
#
# $$
# x \cdot y = \sum_{k=1}^{d} x_k y_k,
# \quad
# \lVert x \rVert = \sqrt{x \cdot x},
# \quad
# \cos\theta = \frac{x \cdot y}{\lVert x \rVert \lVert y \rVert}
# $$
#
# **What this means:** entries that are large in both vectors push the sum up; entries of opposite sign pull it down.
# The *norm* $\lVert x \rVert$ is the length that Pythagoras gives.
# Dividing by both lengths leaves the *cosine*: 1 for the same direction, 0 for a right angle, $-1$ for opposite directions.
# Above three dimensions this formula *defines* the angle.
#
# By hand, with $x = (3, 4)$, $y = (4, 3)$ and $z = (-4, 3)$: both lengths $\lVert x \rVert$ and $\lVert y \rVert$ are $\sqrt{9 + 16} = 5$, the dot product $x \cdot y$ is $12 + 12 = 24$, and the cosine $24/25 = 0.96$.
# And $x \cdot z = -12 + 12 = 0$: a right angle.


# %%
def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Dot product of x (d,) and y (d,)."""
    assert x.shape == y.shape
    total = 0.0
    for x_k, y_k in zip(x, y):
        total += x_k * y_k
    return total


x, y, z = np.array([3.0, 4.0]), np.array([4.0, 3.0]), np.array([-4.0, 3.0])
norm_x, norm_y = np.sqrt(dot(x, x)), np.sqrt(dot(y, y))
assert (dot(x, y), norm_x, norm_y, dot(x, z)) == (24, 5, 5, 0)
print("cosine of x and y:", dot(x, y) / (norm_x * norm_y))

# %% tags=["test"]
def test_dot_is_numpys():
    rng = np.random.default_rng(1)
    for d in [0, 1, *rng.integers(2, 40, size=20)]:
        x, y = rng.normal(size=(2, d))
        assert abs(dot(x, y) - np.dot(x, y)) < 1e-12
    assert abs(dot(np.array([1e8, 2.0]), np.array([1e8, 3.0])) - (1e16 + 6)) <= 2


# %% [markdown]
# **What the code shows:** a dot product is a loop with one multiplication and one addition per entry.
# Everything below is this loop, arranged.
#
# ### A matrix is many vectors
#
# Put $n$ vectors under each other, one per row, and you have a *matrix* $X$ of *shape* $(n, d)$.
# Its *transpose* $X^\top$, shape $(d, n)$, has the rows as columns.
# The matrix product takes all dot products of rows of the left with columns of the right:
#
# $$
# Y = XW,
# \quad
# Y_{ij} = \sum_{k=1}^{d} X_{ik} W_{kj}
# $$
#
# | name | symbol | code | shape |
# |---|---|---|---|
# | one example, a row | $x$ | `x` | $(d)$ or $(1, d)$ |
# | a batch of $n$ examples | $X$ | `X` | $(n, d)$ |
# | weights | $W$ | `W` | $(d, m)$ |
# | outputs | $Y = XW$ | `X @ W` | $(n, m)$ |
# | all pairs of rows of $X$ | $XX^\top$ | `X @ X.T` | $(n, n)$ |
# | all pairs of columns of $X$ | $X^\top X$ | `X.T @ X` | $(d, d)$ |
#
# **What this means:** inner sizes must agree, and they vanish: $(n, d)$ times $(d, m)$ gives $(n, m)$.
# The order matters: $WX$ usually does not even exist.
# Transposing reverses a product, $(XW)^\top = W^\top X^\top$, because entry $(j, i)$ of both sides is row $i$ of $X$ dotted with column $j$ of $W$.
#
# By hand, with $x = (3, 4)$:
#
# $$
# \begin{bmatrix} 3 & 4 \end{bmatrix}
# \begin{bmatrix} 1 & 0 & 2 \\ 0 & 1 & -1 \end{bmatrix}
# = \begin{bmatrix} 3 & 4 & 2 \end{bmatrix}
# $$
#
# Read it column by column, and each output is a dot product: $3 \cdot 2 + 4 \cdot (-1) = 2$.
# Read it row by row, and the output is a mix of rows, a sum of multiples (the textbooks say *linear combination*): $3 (1, 0, 2) + 4 (0, 1, -1) = (3, 4, 2)$.
# There are four such readings, and later topics use all of them ($W_k$ is row $k$ of $W$, $X_{:k}$ column $k$ of $X$, and an *outer product* is a column times a row).
#
# | view | formula | where you meet it |
# |---|---|---|
# | entries: dot products | $Y_{ij} = X_i \cdot W_{:j}$ | scores in [attention](../transformers/attention.py#mathematical-foundation) |
# | rows: mixes of the rows of $W$ | $Y_i = \sum_k X_{ik} W_k$ | averaging values in attention, embeddings |
# | columns: mixes of the columns of $X$ | $Y_{:j} = \sum_k W_{kj} X_{:k}$ | features, [least squares](#projection-and-least-squares) |
# | sum of $d$ outer products | $Y = \sum_k X_{:k} W_k$ | weight gradients in [backpropagation](../neural-networks/backpropagation.py#mathematical-foundation) |


# %%
def four_views(X: np.ndarray, W: np.ndarray) -> list[np.ndarray]:
    """XW (n, m) from X (n, d) and W (d, m): entries, rows, columns, outer products."""
    (n, d), m = X.shape, W.shape[1]
    entries, rows, columns, outer = (np.zeros((n, m)) for _ in range(4))
    for i in range(n):
        for j in range(m):
            entries[i, j] = dot(X[i], W[:, j])
    for k in range(d):
        for i in range(n):
            rows[i] += X[i, k] * W[k]
        for j in range(m):
            columns[:, j] += X[:, k] * W[k, j]
        outer += np.outer(X[:, k], W[k])
    return [entries, rows, columns, outer]


W = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
views = four_views(x[None, :], W)  # x as a matrix of shape (1, 2)
assert all(np.array_equal(Y, [[3, 4, 2]]) for Y in views)
assert (x[None, :] @ W).shape == (1, 3)
print("x @ W =", x @ W)

# %% tags=["test"]
def test_four_views_are_matmul():
    rng = np.random.default_rng(2)
    shapes = [rng.permutation(np.arange(1, 12))[:3] for _ in range(20)]
    for n, d, m in [*shapes, (1, 1, 1), (0, 3, 2), (4, 0, 5), (1, 7, 1)]:
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, m))
        for Y in four_views(X, W):
            assert Y.shape == (n, m) and np.allclose(Y, np.matmul(X, W), atol=1e-12)
    assert np.allclose((X @ W).T, W.T @ X.T)


# %% [markdown]
# **What the code shows:** four orders of the same multiplications, one result.
#
# Now compare each new digit with each known one: $QK^\top$, with queries $Q$ and known images $K$ as rows, is all `{python} f"{len(query) * len(known):,}"` dot products at once.


# %%
def unit_rows(X: np.ndarray) -> np.ndarray:
    """The rows of X (n, d) scaled to length 1; rows of zeros stay zero."""
    lengths = np.linalg.norm(X, axis=1, keepdims=True)  # (n, 1)
    return X / np.where(lengths == 0, 1, lengths)


def cosine(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Cosine of each row of X (n, d) with each row of Y (m, d): (n, m)."""
    return unit_rows(X) @ unit_rows(Y).T


scores = {"ink": -ink_gap, "dot": query @ known.T, "cosine": cosine(query, known)}
right = {name: known_y[s.argmax(axis=1)] == query_y for name, s in scores.items()}
for name, s in scores.items():
    assert s.shape == (797, 1000)
    print(f"{name:6} {right[name].mean():.1%} right")

# %% tags=["test"]
def test_cosine_is_sklearns():
    from scipy.spatial.distance import cdist
    from sklearn.metrics.pairwise import cosine_similarity

    rng = np.random.default_rng(3)
    for _ in range(20):
        n, m, d = rng.permutation(np.arange(1, 12))[:3]
        X, Y = 50 * rng.normal(size=(n, d)), rng.normal(size=(m, d))
        assert np.allclose(cosine(X, Y), 1 - cdist(X, Y, "cosine"), atol=1e-12)
        X[0] = 0  # a row without a direction
        assert np.allclose(cosine(X, Y), cosine_similarity(X, Y), atol=1e-12)
    assert cosine(np.zeros((0, 3)), np.ones((2, 3))).shape == (0, 2)


# %%
#| label: fig-nearest
#| fig-cap: A new digit (left) and the four known images that each measure puts nearest, with their labels. The query was chosen as the first that only the cosine gets right.
#| fig-alt: "Three rows of small images. For a nine, total ink returns a two first and the dot product a very dark five; the first three that the cosine returns are nines."
shown = np.flatnonzero(~right["ink"] & ~right["dot"] & right["cosine"])[0]
fig, axes = plt.subplots(3, 5, figsize=(5.2, 3.5))
for row, (name, s) in zip(axes, scores.items()):
    best = np.argsort(-s[shown], kind="stable")[:4]
    pictures = [query[shown], *known[best]]
    titles = [f"query: {query_y[shown]}", *known_y[best]]
    for ax, picture, title in zip(row, pictures, titles):
        ax.imshow(picture.reshape(8, 8), cmap="gray_r")
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    row[0].set_ylabel(name)

# %% [markdown]
# **What the code shows:** keeping all 64 numbers lifts the accuracy from `{python} f"{by_ink:.0%}"` to `{python} f"{right['dot'].mean():.0%}"`.
# The raw dot product still fails often, because a dark image scores high with everything: the 5 in @fig-nearest wins by length, not by shape.
# The cosine removes length, and `{python} f"{right['cosine'].mean():.1%}"` are right, without any training.
#
# ### A matrix is a map
#
# Read $y = xW$ as a machine: a vector of $d$ numbers goes in, one of $m$ numbers comes out.
# It is *linear*: $(sx + tx')W = s(xW) + t(x'W)$ for all numbers $s$ and $t$.
# So $W$ is known from what it does to the vectors with a single 1: $(0, 1, 0, \dots)W$ is the second row of $W$.
# Two uses follow:
#
# - A layer of a [neural network](../neural-networks/multilayer-networks.py) is $Y = XW + b$, with the row $b$ added to every row: one [perceptron](../neural-networks/perceptron.py) per column of $W$.
# - An *embedding* is a lookup: a word's number, written as a vector with a single 1, times a table $E$ picks that word's row. Code just indexes, `E[word]`.
#
# Two maps in a row are one map, since $(xW_1)W_2 = x(W_1 W_2)$: entry $j$ of both is the sum of $x_k (W_1)_{kl} (W_2)_{lj}$ over $k$ and $l$.
# So without something that is not linear between them, an [activation](../neural-networks/activation-functions.py), two layers are worth one.
# The map that changes nothing is the *identity* $I$, ones on the diagonal and zeros elsewhere.
#
# If you stop here, you have the picture: *vectors are things, dot products compare them, matrices transform them*.

# %% [markdown]
# ## 2. Deeper treatment
#
# ### Projection and least squares
#
# Vectors with $x \cdot y = 0$ are *orthogonal*.
# For them $(x + y) \cdot (x + y) = \lVert x \rVert^2 + \lVert y \rVert^2$: Pythagoras, in any number of dimensions.
# Which multiple $tx$ lies closest to $y$?
# The one whose error is orthogonal to $x$, since to go on along $x$ from there adds a second side at a right angle.
# From $(y - tx) \cdot x = 0$ follows $t = (x \cdot y) / (x \cdot x)$.
# For $x = (3, 1)$ and $y = (1, 2)$ that is $t = 5/10$, and $tx = (1.5, 0.5)$ is the *projection* of $y$ on $x$.
# In the right triangle of @fig-projection the cosine is adjacent side over hypotenuse, $t \lVert x \rVert / \lVert y \rVert$: the formula of Section 1.
# Pythagoras says that the projection is never longer than $y$, so $(x \cdot y)^2 \le \lVert x \rVert^2 \lVert y \rVert^2$ (Cauchy–Schwarz): a cosine never leaves $[-1, 1]$.

# %%
#| label: fig-projection
#| fig-cap: The projection of y on x, and the error that is left. The dotted line holds all multiples of x.
#| fig-alt: Two arrows x and y from the origin. The error, a dashed arrow from the projection, half of x, to the tip of y, meets x at a right angle, so no other multiple of x is closer to y.
ends = {"x": ((0, 0), (3, 1), "C0", "-"), "y": ((0, 0), (1, 2), "C1", "-"),
        "projection": ((0, 0), (1.5, 0.5), "C2", "-"),
        "error": ((1.5, 0.5), (1, 2), "0.4", "--")}
fig, ax = plt.subplots(figsize=(5, 2.8))
ax.plot([-0.6, 3.6], [-0.2, 1.2], ":", color="0.5", linewidth=1)
for name, (start, end, color, style) in ends.items():
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color,
                "linestyle": style, "linewidth": 2, "shrinkA": 0, "shrinkB": 0})
places = {"x": (3.05, 0.85), "y": (0.75, 2.0), "projection": (0.7, -0.12),
          "error": (1.4, 1.4)}
for name, place in places.items():
    ax.text(*place, name, color=ends[name][2])
ax.set(xlim=(-0.6, 3.6), ylim=(-0.35, 2.3), aspect="equal")

# %% [markdown]
# The same idea fits a whole layer.
# You have inputs $X \in \mathbb{R}^{n \times d}$ and targets $Y \in \mathbb{R}^{n \times m}$ and want $W$ with $XW$ as close to $Y$ as possible.
# $XW$ is a mix of the columns of $X$, so the error must be orthogonal to every column of $X$:
#
# $$
# X^\top (Y - XW) = 0
# \quad \text{or} \quad
# X^\top X W = X^\top Y
# $$
#
# **What this means:** these *normal equations* give the best $W$.
# Any other choice $W + D$ adds $XD$ to the prediction, which is orthogonal to the error, so by Pythagoras the squared error grows by $\lVert XD \rVert^2$.
# (The norm of a matrix is here the *Frobenius norm*, the root of the sum of all squared entries.)


# %%
def least_squares(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """W (d, m) that minimises the norm of Y - XW; the columns of X are independent."""
    return np.linalg.solve(X.T @ X, X.T @ Y)


rng = np.random.default_rng(0)
X, W_true = rng.normal(size=(50, 3)), np.array([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]])
Y = X @ W_true + 0.1 * rng.normal(size=(50, 2))
W_fit = least_squares(X, Y)
assert W_fit.shape == (3, 2)
assert np.allclose(X.T @ (Y - X @ W_fit), 0)  # orthogonal to every column
print(W_fit.round(2))

# %% tags=["test"]
def test_least_squares_is_scipys():
    import scipy.linalg

    rng = np.random.default_rng(4)
    for _ in range(20):
        m, *rest = rng.permutation(np.arange(1, 14))[:3]
        d, n = np.sort(rest)
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, m))
        W = least_squares(X, Y)
        want = scipy.linalg.lstsq(X, Y)[0]
        assert W.shape == (d, m)
        assert np.allclose(X @ W, X @ want, atol=1e-7)
        assert np.allclose(X.T @ (Y - X @ W), 0, atol=1e-7)
    assert np.allclose(least_squares(2 * np.eye(3), np.eye(3)), np.eye(3) / 2)


# %% [markdown]
# **What the code shows:** with noise of size 0.1 in each target, 50 examples give the true weights back to `{python} f"{np.abs(W_fit - W_true).max():.2f}"`, because the noise averages out.
#
# Everything is simplest when the columns of $Q \in \mathbb{R}^{n \times d}$ are *orthonormal*: of length 1 and orthogonal to each other, in short $Q^\top Q = I$.
# Then $W = Q^\top Y$, and $QQ^\top Y$ is the projection of $Y$.
# A *square* matrix of this kind is called *orthogonal*.
# Its columns leave no direction out, so the projection changes nothing: $QQ^\top = I$.
# Hence $(xQ) \cdot (yQ) = xQQ^\top y^\top = x \cdot y$: it rotates or reflects, and keeps every length and angle.
#
# ### Rank: how much a matrix really holds
#
# Vectors are *independent* if none of them is a mix of the others.
# The *rank* of $A$ is the smallest $r$ for which
#
# $$
# A = BC,
# \quad
# B \in \mathbb{R}^{n \times r},
# \quad
# C \in \mathbb{R}^{r \times d}
# $$
#
# **What this means:** by the row view all $n$ rows are mixes of the $r$ rows of $C$; by the column view all columns are mixes of the $r$ columns of $B$.
# As $r$ independent vectors are never mixes of fewer than $r$, a matrix has as many independent rows as independent columns, namely $r$.
# And $xA = (xB)C$ passes through only $r$ numbers; no later matrix restores what was lost there.
#
# A low rank saves space: $B$ and $C$ have $r(n + d)$ entries instead of $nd$.
# [LoRA](../modern-llms/efficient-adaptation.py), which adapts a trained model, therefore keeps the weights as they are and learns a change of rank $r$ [@hu2022lora].
# For a weight matrix in the attention of GPT-3, a language model, $12288 \times 12288$ [@brown2020language]:

# %%
d_model, r = 12288, 8
full, factored = d_model * d_model, r * (d_model + d_model)
assert (full, factored) == (150_994_944, 196_608)
blank = int((images.max(axis=0) == 0).sum())
print(f"{factored / full:.2%} of the entries")
print("rank of the 1797 x 64 digits:", np.linalg.matrix_rank(images))

# %% [markdown]
# **What the code shows:** rank 8 costs `{python} f"{factored / full:.2%}"` of the full matrix.
# The digits have rank `{python} int(np.linalg.matrix_rank(images))` instead of 64, because `{python} blank` pixels are blank in every image.
# A $d \times d$ matrix of rank $d$ has an *inverse*, $AA^{-1} = A^{-1}A = I$; for the digits $X^\top X$ has none, the normal equations have many solutions, and you need the decomposition below.
#
# ### Eigenvectors: directions that a matrix keeps
#
# Take a square matrix $S$.
# A vector $v \ne 0$ with $vS = \lambda v$ is an *eigenvector*: $S$ only stretches it, by the *eigenvalue* $\lambda$.
# Matrices of dot products, $S = X^\top X$, are *symmetric*, $S = S^\top$, and for those the *spectral theorem* holds: there are $d$ orthonormal eigenvectors, and
#
# $$
# S = \sum_{i=1}^{d} \lambda_i v_i^\top v_i,
# \quad
# x S^t = \sum_{i=1}^{d} \lambda_i^t (x \cdot v_i) v_i
# $$
#
# **What this means:** along its eigenvectors a symmetric matrix is $d$ separate multiplications, and $t$ factors $S$ multiply $t$ times.
# (Orthogonality you can see: $\lambda_1 v_1 \cdot v_2 = v_1 S v_2^\top = \lambda_2 v_1 \cdot v_2$, which for $\lambda_1 \ne \lambda_2$ forces $v_1 \cdot v_2 = 0$.
# That there are $d$ of them we take from a textbook [@golub2013matrix].)
# For $S = X^\top X$ all eigenvalues are at least zero, since $\lambda = vSv^\top = \lVert Xv^\top \rVert^2$ if $v$ has length 1; such a matrix is called *positive semidefinite*.
#
# The second formula is an algorithm.
# Multiply by $S$ again and again: the power of the eigenvalue that is largest in size outgrows the others, and unless you started orthogonal to its $v_1$, what is left points along $v_1$.
# For the next one, take the piece $\lambda_1 v_1^\top v_1$ out of $S$ and start again.
# The powers of a $\lambda$ below 1 in size vanish and those above 1 explode, which is why signals in [recurrent networks](../architectures/rnns.py#why-it-forgets-a-product-of-matrices) can do either; eigenvalues also set the speed of [gradient descent](optimization.py#a-bowl-solved-exactly).
#
# By hand:
#
# $$
# S = \begin{bmatrix} 6 & 3 \\ 3 & 6 \end{bmatrix},
# \quad
# (1, 1) S = 9 (1, 1),
# \quad
# (1, -1) S = 3 (1, -1)
# $$
#
# So $\lambda_1 = 9$ and $\lambda_2 = 3$, and each multiplication shrinks the wrong part to $3/9$ relative to the right one: from $(1, 0)$ you get $(6, 3)$, then $(45, 36)$, then $(378, 351)$, closer and closer to the direction of $(1, 1)$.


# %%
def power_iteration(
    S: np.ndarray, rng: np.random.Generator, steps: int = 500
) -> tuple[float, np.ndarray]:
    """Largest eigenvalue of a symmetric S (d, d) with none below 0; its vector (d,)."""
    v = rng.normal(size=len(S))
    v = v / np.linalg.norm(v)
    for _ in range(steps):
        w = v @ S
        length = np.linalg.norm(w)
        if length == 0:  # S is zero: any direction is an eigenvector
            return 0.0, v
        v = w / length
    return float(v @ S @ v), v


def eigenpairs(
    S: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues (k,) and their eigenvectors as rows (k, d)."""
    values, vectors = np.empty(k), np.empty((k, len(S)))
    for i in range(k):
        values[i], vectors[i] = power_iteration(S, rng)
        S = S - values[i] * np.outer(vectors[i], vectors[i])  # take the piece out
    return values, vectors


S = np.array([[6.0, 3.0], [3.0, 6.0]])
start = np.array([1.0, 0.0])
assert np.array_equal(start @ S @ S @ S, [378, 351])
values, vectors = eigenpairs(S, 2, rng)
assert np.allclose(values, [9, 3]) and np.allclose(np.abs(vectors), np.sqrt(0.5))
print("eigenvalues", values.round(4))

# %% tags=["test"]
def separated(rng, d):
    """A symmetric matrix (d, d) whose eigenvalues are 5 * 0.7**i."""
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (Q * 5 * 0.7 ** np.arange(d)) @ Q.T


def test_eigenpairs_are_scipys():
    import scipy.linalg

    rng = np.random.default_rng(5)
    for _ in range(20):
        d = int(rng.integers(1, 10))
        k = int(rng.integers(1, d + 1))
        S = separated(rng, d)
        values, vectors = eigenpairs(S, k, rng)
        want, Q = scipy.linalg.eigh(S)  # ascending, eigenvectors as columns
        assert np.allclose(want[::-1], 5 * 0.7 ** np.arange(d))
        assert np.allclose(values, want[::-1][:k], atol=1e-9)
        assert np.allclose(np.abs(np.sum(vectors * Q.T[::-1][:k], axis=1)), 1)
        assert np.allclose(vectors @ vectors.T, np.eye(k), atol=1e-8)


def test_eigenpairs_edges():
    rng = np.random.default_rng(6)
    values, vectors = eigenpairs(np.zeros((3, 3)), 1, rng)
    assert values[0] == 0 and np.isclose(np.linalg.norm(vectors[0]), 1)
    values, vectors = eigenpairs(4.0 * np.eye(3), 3, rng)  # ties
    assert np.allclose(values, 4) and np.allclose(vectors @ vectors.T, np.eye(3))
    big = 1e12 * separated(rng, 4)
    assert np.allclose(eigenpairs(big, 4, rng)[0], np.linalg.eigvalsh(big)[::-1])


# %% [markdown]
# **What the code shows:** a loop of products finds what libraries find with faster methods, as long as the eigenvalues differ clearly in size.
#
# ### The singular value decomposition
#
# Most matrices of machine learning are not square.
# Let $A$ have shape $(n, d)$, and let $v_i$ be the orthonormal eigenvectors of $A^\top A$, with $\lambda_1 \ge \dots \ge \lambda_d$.
# Put $\sigma_i = \sqrt{\lambda_i}$ and, where $\sigma_i \gt 0$, $u_i = v_i A^\top / \sigma_i$.
# The $u_i$ are orthonormal too, since $v_i A^\top A v_j^\top = \lambda_j v_i \cdot v_j$.
# The $v_i$ are the columns of an orthogonal matrix $Q$, so $I = QQ^\top = \sum_i v_i^\top v_i$ by the outer products.
# As $A v_i^\top = 0$ where $\sigma_i = 0$,
#
# $$
# A = A \sum_{i} v_i^\top v_i = \sum_{i=1}^{r} \sigma_i u_i^\top v_i = U \Sigma V^\top
# $$
#
# with the $r$ positive *singular values* $\sigma_i$ on the diagonal of $\Sigma$, the $u_i$ as columns of $U$, and the $v_i$ as columns of $V$.
#
# **What this means:** $xA$ measures $x$ along each $u_i$, stretches by $\sigma_i$, and lays the result along $v_i$.
# A square matrix rotates (or reflects), stretches along axes, and rotates again (@fig-ellipse).
# The number of positive $\sigma_i$ is the rank.
# The largest, $\sigma_1$, is the most that $A$ can stretch any vector, $\lVert xA \rVert \le \sigma_1 \lVert x \rVert$: the *spectral norm*.
# The Frobenius norm is $\sqrt{\sigma_1^2 + \dots + \sigma_r^2}$.

# %%
#| label: fig-ellipse
#| fig-cap: A map of the plane. Every vector x of length 1 (left) goes to xM (right), for the matrix M with rows (1.2, 1) and (-0.9, 0.5). The arrows are the singular directions before and after.
#| fig-alt: A circle becomes a tilted ellipse. Two orthogonal arrows of length 1 become the two orthogonal half axes of the ellipse, one longer and one shorter than before.
M = np.array([[1.2, 1.0], [-0.9, 0.5]])
U_M, sigma_M, Vt_M = np.linalg.svd(M)
angle = np.linspace(0, 2 * np.pi, 200)
circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (200, 2)
sides = [("x of length 1", circle, U_M.T, ("$u_1$", "$u_2$")),
         ("xM", circle @ M, sigma_M[:, None] * Vt_M,
          (r"$\sigma_1 v_1$", r"$\sigma_2 v_2$"))]
fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.8))
for ax, (title, points, arrows, names) in zip(axes, sides):
    ax.plot(*points.T, color="0.5")
    for arrow, name, color, style in zip(arrows, names, ("C0", "C1"), ("-", "--")):
        ax.annotate("", arrow, (0, 0), arrowprops={
            "arrowstyle": "-|>", "color": color, "linestyle": style, "linewidth": 2,
            "shrinkA": 0, "shrinkB": 0})
        ax.text(*(arrow * (1 + 0.25 / np.linalg.norm(arrow))), name, color=color,
                ha="center", va="center")
    ax.set(title=title, aspect="equal", xlim=(-2.1, 2.1), ylim=(-1.4, 1.4))

# %% [markdown]
# By hand, with $A^\top A = S$ from above, so $\sigma_1 = 3$ and $\sigma_2 = \sqrt{3}$:
#
# $$
# \begin{aligned}
# A &= \begin{bmatrix} 2 & 1 \\ -1 & -2 \\ -1 & 1 \end{bmatrix},
# \quad
# v_1 = \frac{(1, 1)}{\sqrt{2}}, \\
# u_1 &= \frac{v_1 A^\top}{3} = \frac{(1, -1, 0)}{\sqrt{2}}, \\
# \sigma_1 u_1^\top v_1 &= \begin{bmatrix} 1.5 & 1.5 \\ -1.5 & -1.5 \\ 0 & 0 \end{bmatrix}
# \end{aligned}
# $$


# %%
def svd_by_eigen(
    A: np.ndarray, r: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The r largest pieces of A (n, d): U (n, r), sigma (r,), V transposed (r, d)."""
    values, Vt = eigenpairs(A.T @ A, r, rng)
    sigma = np.sqrt(values)
    return A @ Vt.T / sigma, sigma, Vt


def low_rank(A: np.ndarray, r: int) -> np.ndarray:
    """The first r pieces of A (n, d), added up."""
    U, sigma, Vt = np.linalg.svd(A, full_matrices=False)
    return (U[:, :r] * sigma[:r]) @ Vt[:r]


A = np.array([[2.0, 1.0], [-1.0, -2.0], [-1.0, 1.0]])
U, sigma, Vt = svd_by_eigen(A, 2, rng)
assert (U.shape, sigma.shape, Vt.shape) == ((3, 2), (2,), (2, 2))
assert np.allclose(sigma, [3, np.sqrt(3)]) and np.allclose(U * sigma @ Vt, A)
A_1 = low_rank(A, 1)
assert np.allclose(A_1, [[1.5, 1.5], [-1.5, -1.5], [0, 0]])
error = ((A - A_1) ** 2).sum()
print("squared error of the first piece:", error.round(4))

# %% tags=["test"]
def test_svd_is_numpys():
    rng = np.random.default_rng(7)
    for _ in range(20):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        k = min(n, d)
        P = np.linalg.qr(rng.normal(size=(n, k)))[0]
        Q = np.linalg.qr(rng.normal(size=(d, k)))[0]
        A = (P * 3 * 0.8 ** np.arange(k)) @ Q.T
        r = int(rng.integers(1, k + 1))
        U, sigma, Vt = svd_by_eigen(A, r, rng)
        U2, sigma2, Vt2 = np.linalg.svd(A, full_matrices=False)
        assert (U.shape, Vt.shape) == ((n, r), (r, d))
        assert np.allclose(sigma, sigma2[:r], atol=1e-8)
        assert np.allclose(U.T @ U, np.eye(r), atol=1e-6)
        sign = np.sign(np.sum(Vt * Vt2[:r], axis=1))
        assert np.allclose(Vt * sign[:, None], Vt2[:r], atol=1e-6)
        assert np.allclose(U * sign, U2[:, :r], atol=1e-6)


def test_low_rank_is_sklearns_and_best():
    from sklearn.decomposition import TruncatedSVD

    rng = np.random.default_rng(8)
    for _ in range(20):
        n, d = rng.permutation(np.arange(3, 14))[:2]
        r = int(rng.integers(1, min(n, d)))
        A = rng.normal(size=(n, d))
        best = low_rank(A, r)
        svd = TruncatedSVD(r, algorithm="arpack", random_state=0)
        assert np.allclose(best, svd.inverse_transform(svd.fit_transform(A)), atol=1e-8)
        sigma = np.linalg.svd(A, compute_uv=False)
        error = ((A - best) ** 2).sum()
        assert np.isclose(error, (sigma[r:] ** 2).sum())
        assert np.linalg.matrix_rank(best) == r
        for _ in range(20):  # rivals, each with its best B for a random C
            C = rng.normal(size=(r, d))
            rival = A @ np.linalg.pinv(C) @ C
            assert ((A - rival) ** 2).sum() > error
    assert np.allclose(low_rank(A, min(n, d)), A) and not low_rank(A, 0).any()


# %% [markdown]
# **What the code shows:** one piece misses $A$ by a squared error of `{python} f"{error:.0f}"`, which is $\sigma_2^2$.
# No coincidence: nothing of rank 1 can do better.
#
# ### The best approximation
#
# Keep the first $r$ pieces, $A_r = \sum_{i \le r} \sigma_i u_i^\top v_i$.
# For every $B$ of rank at most $r$ [@eckart1936approximation]:
#
# $$
# \lVert A - B \rVert^2 \ge \lVert A - A_r \rVert^2 = \sum_{i \gt r} \sigma_i^2
# $$
#
# **Proof.** The rows of $B$ are mixes of $r$ orthonormal rows; put these as columns into $P$, so $P^\top P = I$.
# The closest such matrix to $A$ is the projection of its rows, $APP^\top$, and by Pythagoras its squared error is $\lVert A \rVert^2 - \lVert AP \rVert^2$.
# So make $\lVert AP \rVert^2$ large.
# Since $AP = \sum_i \sigma_i u_i^\top (v_i P)$ with orthonormal $u_i$, it equals $\sum_i \sigma_i^2 c_i$ with $c_i = \lVert v_i P \rVert^2$.
# Each $c_i$ is at most 1, as the squared length of a projected unit vector, and all $d$ of them add up to $\lVert P \rVert^2 = r$, as the $v_i$ together only rotate the columns of $P$.
# The sum is largest when the $r$ largest $\sigma_i^2$ get $c_i = 1$: then it is $\sigma_1^2 + \dots + \sigma_r^2$, and the $P$ with columns $v_1^\top, \dots, v_r^\top$ attains it.
# Since $\lVert A \rVert^2 = \sum_i \sigma_i^2$, the squares from $r + 1$ on are left.
#
# **What this means:** truncating the decomposition is the best compression to $r$ directions, and the discarded $\sigma_i$ tell you the loss in advance.
# Schmidt had the result for integral equations in 1907 [@stewart1993early]; Mirsky proved it for every norm that rotations leave unchanged, the spectral one among them [@mirsky1960symmetric].
#
# ### Principal components
#
# Now let the rows of $X$ be data with the mean row $\mu$ subtracted, $X_c = X - \mu$.
# The *variance* of numbers is their mean squared distance from their mean, here with $n - 1$ in place of $n$.
# The $v_i$ of $X_c$ are its *principal components*, the directions of most variance [@pearson1901lines; @hotelling1933analysis]; $V_r$ has the first $r$ as columns:
#
# $$
# Z = X_c V_r,
# \quad
# X \approx \mu + Z V_r^\top,
# \quad
# \text{variance along } v_i = \frac{\sigma_i^2}{n - 1}
# $$
#
# **What this means:** $Z$ describes each example by $r$ numbers, and by the theorem no other $r$ directions lose less squared error.
# Equally, the $v_i$ are the eigenvectors of the *covariance matrix* $X_c^\top X_c / (n - 1)$ of [probability](probability.py#sums-and-the-dot-product).


# %%
def pca(X: np.ndarray, r: int) -> tuple[np.ndarray, ...]:
    """Mean (d,), components as rows (r, d), scores (n, r), variances (r,) of X (n, d)."""
    mean = X.mean(axis=0)
    _, sigma, Vt = np.linalg.svd(X - mean, full_matrices=False)
    return mean, Vt[:r], (X - mean) @ Vt[:r].T, sigma[:r] ** 2 / (len(X) - 1)


mean, components, Z, variances = pca(images, 61)
share = variances.cumsum() / variances.sum()
assert Z.shape == (1797, 61)
centred = images - mean
by_power, _ = eigenpairs(centred.T @ centred / (len(images) - 1), 5, rng)
assert np.allclose(by_power, variances[:5])  # our own eigenvalues agree
for r in (2, 10, 20):
    print(f"{r:2d} of 64 numbers keep {share[r - 1]:.0%} of the variance")

# %%
#| label: fig-rebuilt
#| fig-cap: Four digits rebuilt from 2, 10 and 20 principal components, and the originals.
#| fig-alt: Two components give blurs, ten give readable digits, twenty come close to the originals.
fig, axes = plt.subplots(4, 4, figsize=(4.4, 4.4))
for row, r in zip(axes, (2, 10, 20, 61)):
    rebuilt = mean + Z[:4, :r] @ components[:r]
    assert r < 61 or np.allclose(rebuilt, images[:4])  # 61 components lose nothing
    for ax, picture in zip(row, rebuilt):
        ax.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    row[0].set_ylabel("original" if r == 61 else f"{r} numbers")

# %% tags=["test"]
def test_pca_is_sklearns():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(9)
    cases = [load_digits().data[:300]]
    for _ in range(20):
        n, d = rng.permutation(np.arange(3, 25))[:2]
        cases.append(5 + rng.normal(size=(n, d)) * rng.uniform(0.1, 9, size=d))
    for X in cases:
        r = min(len(X) - 1, X.shape[1], 5)
        mean, components, Z, variances = pca(X, r)
        library = PCA(r, svd_solver="full").fit(X)
        assert np.allclose(mean, library.mean_)
        assert np.allclose(variances, library.explained_variance_)
        sign = np.sign(np.sum(components * library.components_, axis=1))
        assert np.allclose(components * sign[:, None], library.components_, atol=1e-7)
        assert np.allclose(Z * sign, library.transform(X), atol=1e-7)


# %% [markdown]
# **What the code shows:** ten directions out of 64 hold `{python} f"{share[9]:.0%}"` of the variance and give readable digits (@fig-rebuilt).
# The tests find scikit-learn's `PCA` equal, up to the sign of each component: if $v$ is a unit eigenvector, so is $-v$.
#
# ### Embeddings: words as rows
#
# The rows of $Z$ are *embeddings*: short vectors whose geometry stands for the things.
# Words can have them too: decompose a table of counts, as latent semantic analysis did for words and documents [@deerwester1990indexing].
# Here the table counts which words share a sentence, in the ten sentences below; two of its pieces are kept.

# %%
sentences = """drink hot tea, drink hot cocoa, sip warm cocoa, sip warm coffee,
drink warm cocoa, fix old truck, fix old car, drive fast car, drive fast bus,
drive hot car"""
lists = [sentence.split() for sentence in sentences.split(",")]
words = sorted({word for sentence in lists for word in sentence})
counts = np.zeros((len(words), len(words)))
for sentence in lists:
    for a in sentence:
        for b in sentence:
            counts[words.index(a), words.index(b)] += a != b


def word_cosines(E: np.ndarray) -> dict[tuple[str, str], float]:
    """Cosines of three pairs of words with the embeddings E (words, r)."""
    C = cosine(E, E)
    pairs = [("tea", "coffee"), ("truck", "bus"), ("tea", "truck")]
    return {(a, b): C[words.index(a), words.index(b)] for a, b in pairs}


U_w, sigma_w, _ = np.linalg.svd(counts)
in_counts = word_cosines(counts)
in_two, in_three = (word_cosines(U_w[:, :r] * sigma_w[:r]) for r in (2, 3))
for pair, value in in_two.items():
    print(f"{' and '.join(pair):14} counts {in_counts[pair]:.2f}, rank 2 {value:.2f}")

# %% [markdown]
# **What the code shows:** *tea* and *coffee* share no neighbour, so their rows of counts are orthogonal.
# With two pieces their cosine is `{python} f"{in_two['tea', 'coffee']:.2f}"`: there is room for two themes only, and *cocoa*, which shares neighbours with both, pulls them together.
# The rank is a choice: with three, *truck* and *bus* drop to `{python} f"{abs(in_three['truck', 'bus']):.2f}"` in size.
# Learned word vectors continue this line; one form of the word2vec method implicitly factors a table of logarithms of such counts, each relative to what chance would give [@levy2014neural].
#
# ### Experiment: how many numbers does a lookup need?
#
# **Question.** One number per image failed, 64 worked.
# How many directions does the cosine lookup need, and does it matter which?
#
# **Prediction.** Principal components minimise *squared error*, which is not accuracy, but digits should differ where images vary most.
# So expect components to need far fewer numbers than random orthonormal directions.
# Random ones should work too in the end: each cosine then carries noise of size at most about $1/\sqrt{k}$ for $k$ directions (Exercise 6).
# Ten random splits into 1,000 known and 797 new images; components come from the known images only.


# %%
def lookup_accuracy(P: np.ndarray, train: tuple, test: tuple) -> float:
    """Share of `test` (X, y) labelled right by the nearest cosine after projection."""
    nearest = cosine(test[0] @ P, train[0] @ P).argmax(axis=1)
    return float((train[1][nearest] == test[1]).mean())


sizes, seeds = (2, 4, 8, 16, 32, 64), range(10)
accuracy = {"components": np.zeros((10, 6)), "random": np.zeros((10, 6))}
for seed in seeds:
    split_rng = np.random.default_rng(seed)
    order = split_rng.permutation(len(images))
    a, b = order[:1000], order[1000:]
    mu = images[a].mean(axis=0)
    train, test = (images[a] - mu, labels[a]), (images[b] - mu, labels[b])
    directions = {"components": np.linalg.svd(train[0])[2].T,  # (64, 64)
                  "random": np.linalg.qr(split_rng.normal(size=(64, 64)))[0]}
    for name, Q in directions.items():
        for j, k in enumerate(sizes):
            accuracy[name][seed, j] = lookup_accuracy(Q[:, :k], train, test)

# %%
#| label: fig-numbers
#| fig-cap: Accuracy of the cosine lookup against the number of directions kept. Lines are means over ten splits, bands run from the worst to the best; the dotted line is guessing.
#| fig-alt: Principal components rise steeply and level off at 16 numbers. Random directions rise later and catch up at 32 to 64.
fig, ax = plt.subplots()
for (name, values), style in zip(accuracy.items(), ("o-", "s--")):
    ax.semilogx(sizes, values.mean(axis=0), style, label=name)
    ax.fill_between(sizes, values.min(axis=0), values.max(axis=0), alpha=0.2)
ax.axhline(0.1, color="0.5", linestyle=":", linewidth=1)
ax.set(xlabel="numbers per image", ylabel="accuracy", ylim=(0, 1.03))
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend(loc="center right")
at_8 = {name: values[:, 2].mean() for name, values in accuracy.items()}
at_16, at_64 = accuracy["components"][:, 3].mean(), accuracy["components"][:, 5].mean()

# %% tags=["test", "experiment"]
def test_experiment_conclusion():
    assert by_ink < 0.12 and right["dot"].mean() < 0.8 and right["cosine"].mean() > 0.95
    pc, rand = accuracy["components"], accuracy["random"]
    assert (pc[:, :4] > rand[:, :4]).all()  # up to 16 numbers, on every split
    assert abs(pc[:, 3].mean() - pc[:, 5].mean()) < 0.015
    assert np.allclose(pc[:, 5], rand[:, 5], atol=0.005)
    assert rand[:, 4].mean() > 0.95


# %% [markdown]
# **What the code shows:** the prediction holds (@fig-numbers): up to 16 numbers, components beat random directions on every split.
# With 8 numbers, components reach `{python} f"{at_8['components']:.2f}"` and random directions `{python} f"{at_8['random']:.2f}"`; with 16, components are at `{python} f"{at_16:.3f}"` against `{python} f"{at_64:.3f}"` for all 64.
# With all 64 both are rotations of the same data, so they agree.
# This is one easy data set; where the differences that matter are small in variance, components can throw them away.
#
# ### What came later
#
# | year | idea | in one sentence |
# |---|---|---|
# | 1965 | stable decompositions [@golub1965calculating] | Singular values are computed without forming $A^\top A$, which would make rounding far worse (Section 3). |
# | 1969 | fast products [@strassen1969gaussian] | Seven block multiplications do the work of eight, so large products need fewer than $2ndm$ operations, with weaker guarantees on rounding [@higham2002accuracy]. |
# | 1984 | random projection [@johnson1984extensions] | A multiple of $(\log n) / \epsilon^2$ random directions, rescaled, keep all distances among $n$ points to a factor $1 \pm \epsilon$. |
# | 2011 | randomised decomposition [@halko2011finding] | A few power iterations on a random block find the leading pieces of a huge matrix. |
# | 2018 | centred embeddings [@mu2018all] | Word vectors improve when their mean and first few components are removed. |
# | 2024 | doubts about cosines [@steck2024cosine] | Where training leaves the scale of each dimension free, as in some linear models, cosines of learned embeddings can be arbitrary. |
# | 2024 | orthogonalised updates [@jordan2024muon] | [Muon](../training/optimizers.py#muon) replaces an update matrix by nearly $UV^\top$, all its singular values set to about one; by 2025 it trained a model of a trillion parameters [@kimi2025k2]. |

# %% [markdown]
# ## 3. Practical considerations
#
# ### What a matrix product costs
#
# Each of $nm$ outputs takes $d$ multiplications and about $d$ additions, in floating-point operations (FLOPs):
#
# $$
# \text{FLOPs}(XW) = 2 n d m
# $$
#
# Evaluate it for the first of the two large matrices in a GPT-3 feed-forward layer, $12288 \times 49152$, in 16-bit numbers [@brown2020language].


# %%
def matmul_flops(n: int, d: int, m: int) -> int:
    """Floating-point operations of (n, d) times (d, m)."""
    return 2 * n * d * m


def flops_per_byte(n: int, d: int, m: int, itemsize: int = 2) -> float:
    """Operations for each byte of X, W and Y moved once."""
    return matmul_flops(n, d, m) / (itemsize * (n * d + d * m + n * m))


d, m = 12288, 4 * 12288
assert matmul_flops(2048, d, m) == 2_473_901_162_496
intensity = {n: flops_per_byte(n, d, m) for n in (1, 2048)}
for n, value in intensity.items():
    print(f"{n:4d} tokens: {matmul_flops(n, d, m):.3g} FLOPs, {value:.0f} per byte")
wide = matmul_flops(d, 8, d) + matmul_flops(1, d, d)  # x (BC)
thin = matmul_flops(1, d, 8) + matmul_flops(1, 8, d)  # (xB) C
print(f"x(BC) costs {wide // thin:,} times (xB)C, at rank 8")

# %% tags=["test"]
class CountedNumber:
    """A number that notes every multiplication and addition in a list."""

    def __init__(self, notes):
        self.notes = notes

    def __mul__(self, other):
        self.notes.append("*")
        return self

    def __add__(self, other):
        self.notes.append("+")
        return self


def test_matmul_flops_by_counting():
    rng = np.random.default_rng(15)
    for _ in range(20):
        n, d, m = (int(size) for size in rng.permutation(np.arange(1, 8))[:3])
        notes = []
        X = np.full((n, d), CountedNumber(notes), dtype=object)
        W = np.full((d, m), CountedNumber(notes), dtype=object)
        for i in range(n):
            for j in range(m):
                total = X[i, 0] * W[0, j]
                for k in range(1, d):
                    total = total + X[i, k] * W[k, j]
        assert len(notes) == matmul_flops(n, d, m) - n * m  # d - 1 additions, not d
        moved = 2 * (X.size + W.size + n * m)
        assert np.isclose(flops_per_byte(n, d, m) * moved, matmul_flops(n, d, m))


# %% [markdown]
# **What the code shows:** with 2,048 tokens (pieces of text, a row each), each byte is used in `{python} f"{intensity[2048]:,.0f}"` operations; with one token, in `{python} f"{intensity[1]:.0f}"`, so a processor that can do many operations while one byte arrives waits for the weights.
# That asymmetry shapes [inference](../modern-llms/inference.py#why-decode-waits-for-memory).
# And brackets change the cost, not the result: multiply the thin side first.
#
# ### Conditioning
#
# The *condition number* $\kappa = \sigma_1 / \sigma_{\min}$ says how much a matrix can magnify relative errors: solving with it can lose about $\log_{10} \kappa$ of your digits (16 in float64, 7 in float32, 3 in float16).
# It also limits how fast gradient descent converges ([optimization](optimization.py#a-bowl-solved-exactly)).
# Forming $X^\top X$ squares it.
#
# ### Failure mode 1: squaring the condition number

# %%
rng = np.random.default_rng(1)
column = rng.normal(size=(200, 1))
X = np.hstack([column, column + 1e-4 * rng.normal(size=(200, 1))])  # nearly equal
W_true = np.array([[3.0], [-1.0]])
X32, Y32 = X.astype(np.float32), (X @ W_true).astype(np.float32)
by_normal, by_svd = least_squares(X32, Y32), np.linalg.lstsq(X32, Y32)[0]
print(f"condition {np.linalg.cond(X):.0e}, squared {np.linalg.cond(X) ** 2:.0e}")
print("normal equations: weights off by more than 1:",
      bool(np.abs(by_normal - W_true).max() > 1),
      " targets off by less than 0.01:",
      bool(np.abs(X32 @ by_normal - Y32).max() < 0.01))
print("lstsq: weights off by less than 0.001:",
      bool(np.abs(by_svd - W_true).max() < 0.001))

# %% [markdown]
# **Symptom:** the fit looks right and the weights are wrong.
# **Cause:** $\kappa^2$ exceeds what float32 resolves, about $10^7$.
# **Fix:** `np.linalg.lstsq`, which decomposes $X$ itself; or drop near-duplicates.
#
# ### Failure mode 2: forgetting the mean

# %%
different = labels[:, None] != labels[None, :]
raw = cosine(images, images)[different].mean()
after = cosine(centred, centred)[different].mean()
first = np.linalg.svd(images, full_matrices=False)[2][:1]
match = abs(cosine(first, mean[None, :]).item())
print(f"mean cosine of different digits: raw {raw:.2f}, centred {after:.2f}")
print("cosine of the first raw direction with the mean above 0.999:", match > 0.999)

# %% [markdown]
# **Symptom:** everything is similar to everything, and the first "component" looks like an average.
# **Cause:** a shared offset is part of every vector; PCA without centring spends its first direction on it.
# **Fix:** subtract the mean, computed on training data only. Real embeddings have this offset too [@mu2018all].
#
# ### Failure mode 3: shapes that broadcast
#
# NumPy lines shapes up from the right and stretches sizes of 1.
# `(n,)` is neither a row nor a column: `.T` does nothing to it, and next to `(n, 1)` it acts as a row.

# %%
targets = rng.normal(size=100)  # (100,)
predictions = targets[:, None].copy()  # (100, 1), and perfect
assert (targets - predictions).shape == (100, 100)
wrong = ((targets - predictions) ** 2).mean()
fair = ((targets[:, None] - predictions) ** 2).mean()
assert np.isclose(wrong, 2 * targets.var())
print(f"error of perfect predictions: {wrong:.2f}; with equal shapes: {fair}")

# %% [markdown]
# **Symptom:** a perfect model has a loss of twice the variance of the targets.
# **Cause:** all pairs were compared.
# **Fix:** assert shapes before subtracting, and keep batches two-dimensional with `keepdims=True`.
#
# ### Failure mode 4: sums in low precision

# %%
total = np.float16(0)
for _ in range(4096):
    total = np.float16(total + np.float16(1))
a = np.array([1e8, 1.0, -1e8], dtype=np.float32)
left_to_right, reordered = (a[0] + a[1]) + a[2], (a[0] + a[2]) + a[1]
print("4096 ones in float16:", int(total))
print("same numbers, two orders, float32:", left_to_right, reordered)

# %% [markdown]
# **Symptom:** long dot products saturate, and results change with batch size, device or thread count.
# **Cause:** every addition rounds to a relative precision $u$; the error of a dot product can reach about $d u \sum_k \lvert x_k y_k \rvert$, which is large next to a sum that cancels [@higham2002accuracy]. In float16, $2048 + 1$ rounds to 2048.
# **Fix:** multiply in 16 bits but *add* in 32, as matrix hardware does; compare results with tolerances, never with `==`.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Rows or columns.** Here $y = xW$ with $W$ of shape (in, out). Most mathematics texts write $y = Wx$ with columns; PyTorch's `nn.Linear` stores (out, in) and multiplies by the transpose. LoRA's $BA$ reads in the opposite order here.
# > - **Products.** `@` is the matrix product, `*` works entry by entry. With more axes, `@` multiplies the last two and repeats over the rest: $(B, T, D)$ times $(D, m)$ gives $(B, T, m)$. Inner, scalar and dot product are the same here.
# > - **Norms.** Without a subscript, a vector's norm is Euclidean ($L_2$); $L_1$ adds absolute values. For matrices NumPy defaults to Frobenius, papers often mean spectral.
# > - **Orthogonal.** An orthogonal matrix has ortho*normal* columns and is square.
# > - **What the library returns.** `np.linalg.svd` returns $V^\top$, components as *rows*, largest first; `np.linalg.eigh` returns *columns*, smallest first. Signs are arbitrary.
# > - **N or N − 1.** scikit-learn's PCA and `np.cov` divide by $N - 1$, `np.var` by $N$.
# > - **Similarity or distance.** SciPy's `cosine` is a *distance*, one minus the cosine.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): which products exist?
#
# $X$ has shape $(5, 3)$, $W$ $(3, 4)$, and $b$ $(4)$.
# Give the shapes of $XW$, $WX$, $X^\top X$, $XX^\top$, $XW + b$ and $W^\top X^\top$, where they exist.
# What is the largest rank that $XW$ can have?

# %% [markdown] tags=["solution"]
# $XW$ is $(5, 4)$; $WX$ does not exist, since $4 \ne 5$; $X^\top X$ is $(3, 3)$; $XX^\top$ is $(5, 5)$; $XW + b$ is $(5, 4)$, with $b$ added to each row; $W^\top X^\top = (XW)^\top$ is $(4, 5)$.
# The rank of $XW$ is at most 3, for the product passes through 3 numbers.

# %% [markdown]
# ### Exercise 2 (check): a decomposition by hand
#
# For the matrix with rows $(0, 2)$, $(1, 0)$ and $(0, 0)$, find the two singular values and the best approximation of rank 1 with pencil and paper.


# %%
def svd_by_hand() -> tuple[list[float], np.ndarray]:
    """The singular values, largest first, and the best rank-1 approximation (3, 2)."""
    ### BEGIN SOLUTION
    # A^T A has 1 and 4 on its diagonal, so v_1 = (0, 1) and u_1 = (1, 0, 0).
    return [2.0, 1.0], np.array([[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    ### END SOLUTION


# %% tags=["test"]
def test_svd_by_hand():
    A = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    sigma, best = svd_by_hand()
    assert np.allclose(sigma, np.linalg.svd(A, compute_uv=False))
    assert best.shape == (3, 2) and np.allclose(best, low_rank(A, 1))


# %% [markdown]
# ### Exercise 3 (apply): all distances from one product
#
# Use $\lVert x - y \rVert^2 = \lVert x \rVert^2 - 2 x \cdot y + \lVert y \rVert^2$ to compute all squared distances without a loop and without an array $(n, m, d)$.
# Rounding can leave small negative numbers; do not return them.


# %%
def squared_distances(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Squared distance (n, m) of each row of X (n, d) to each row of Y (m, d)."""
    ### BEGIN SOLUTION
    x2 = (X**2).sum(axis=1, keepdims=True)  # (n, 1)
    y2 = (Y**2).sum(axis=1)  # (m,), acts as a row
    return np.maximum(x2 - 2 * X @ Y.T + y2, 0)
    ### END SOLUTION


# %% tags=["test"]
def test_squared_distances():
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(10)
    for _ in range(20):
        n, m, d = rng.permutation(np.arange(1, 12))[:3]
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
        got = squared_distances(X, Y)
        assert got.shape == (n, m)
        assert np.allclose(got, cdist(X, Y, "sqeuclidean"), atol=1e-12)
    far = 1e4 + rng.normal(size=(30, 5))
    assert (squared_distances(far, far) >= 0).all()


# %% [markdown]
# ### Exercise 4 (apply): build an orthonormal basis
#
# Gram–Schmidt: take the columns of $X$ one after the other, subtract the projections on the ones you have, and scale to length 1.


# %%
def gram_schmidt(X: np.ndarray) -> np.ndarray:
    """Q (n, d) with orthonormal columns that mix to the independent columns of X."""
    ### BEGIN SOLUTION
    Q = np.zeros(X.shape)
    for j in range(X.shape[1]):
        v = X[:, j]
        for i in range(j):
            v = v - (Q[:, i] @ v) * Q[:, i]  # v, not X[:, j]: rounding stays small
        Q[:, j] = v / np.linalg.norm(v)
    return Q
    ### END SOLUTION


# %% tags=["test"]
def test_gram_schmidt():
    rng = np.random.default_rng(11)
    for _ in range(20):
        d, n = np.sort(rng.permutation(np.arange(1, 12))[:2])
        X = rng.normal(size=(n, d))
        Q, (want, R) = gram_schmidt(X), np.linalg.qr(X)
        assert np.allclose(Q, want * np.sign(np.diag(R)), atol=1e-8)
    eps = 1e-7  # nearly dependent columns: the order of subtraction matters
    X = np.vstack([np.ones(4), eps * np.eye(4)])
    assert np.abs(gram_schmidt(X).T @ gram_schmidt(X) - np.eye(4)).max() < 1e-6


# %% [markdown]
# ### Exercise 5 (apply): how many pieces for a given error?
#
# Return the smallest rank whose best approximation has a relative error $\lVert A - A_r \rVert / \lVert A \rVert$ of at most $\epsilon$.


# %%
def rank_for(A: np.ndarray, eps: float) -> int:
    """Smallest r with norm(A - A_r) <= eps * norm(A), Frobenius norms."""
    ### BEGIN SOLUTION
    squares = np.linalg.svd(A, compute_uv=False) ** 2
    lost = squares.sum() - np.concatenate([[0.0], np.cumsum(squares)])  # lost[r]
    return int(np.argmax(lost <= (eps**2 + 1e-12) * squares.sum()))  # for rounding
    ### END SOLUTION


# %% tags=["test"]
def test_rank_for():
    rng = np.random.default_rng(12)
    for _ in range(20):
        n, d = rng.permutation(np.arange(2, 12))[:2]
        A, eps = rng.normal(size=(n, d)), rng.uniform(0.05, 0.9)
        norm = np.linalg.norm(A)
        errors = [np.linalg.norm(A - low_rank(A, r)) for r in range(min(n, d) + 1)]
        want = next(r for r, e in enumerate(errors) if e <= eps * norm + 1e-9)
        assert rank_for(A, eps) == want
        low = rng.normal(size=(40, 9)) @ rng.normal(size=(9, 30))
        assert rank_for(low, 0.0) == 9  # rounding does not count
    assert rank_for(A, 1.0) == 0 and rank_for(np.outer([1, 2], [3, 4, 5]), 0.0) == 1
    assert rank_for(np.diag([1.0, 1e-3]), 1e-4) == 2


# %% [markdown]
# ### Exercise 6 (explore): nearly orthogonal by chance
#
# Draw two vectors with entries $\pm 1$ at random.
# Their cosine is 0 on average; what is its *standard deviation*, the root of its variance, for vectors of $d$ entries?
# Measure it, then explain it, and say why random vectors can serve as labels, as the keys in [attention](../transformers/attention.py#in-code) do.


# %%
def cosine_spread(d: int, pairs: int, rng: np.random.Generator) -> float:
    """Standard deviation of the cosine of random sign vectors of d entries."""
    ### BEGIN SOLUTION
    x, y = rng.choice([-1.0, 1.0], size=(2, pairs, d))
    return float(((x * y).sum(axis=1) / d).std())
    ### END SOLUTION


# %% tags=["test"]
def test_cosine_spread():
    rng = np.random.default_rng(13)
    for d in (1, 4, 64, 400):
        assert np.isclose(cosine_spread(d, 4000, rng), 1 / np.sqrt(d), rtol=0.06)


# %% [markdown] tags=["solution"]
# Both lengths are $\sqrt{d}$, so the cosine is the mean of $d$ independent signs, each of variance 1.
# Variances of independent numbers add up, to $d$ for the sum; divided by $d$, the sum has standard deviation $\sqrt{d}/d = 1/\sqrt{d}$.
# Only $d$ vectors can be exactly orthogonal, but far more can be *nearly* so: at $d = 400$ most cosines stay within 0.1, so a random label is confused with few others.
# The same argument bounds the noise of the random directions in the experiment.

# %% [markdown]
# ### Exercise 7 (explore): where power iteration fails
#
# The eigenvalues of the matrix with rows $(0, 1)$ and $(1, 0)$ are 1 and $-1$.
# What does power iteration do from $(1, 0)$, and why?
# Repair it: find the *smallest* (most negative) eigenvalue of any symmetric matrix with `power_iteration`, given a bound $c$ on the size of all eigenvalues.


# %%
def smallest_eigenvalue(S: np.ndarray, c: float, rng: np.random.Generator) -> float:
    """Smallest eigenvalue of a symmetric S (d, d) with eigenvalues in [-c, c]."""
    ### BEGIN SOLUTION
    value, _ = power_iteration(c * np.eye(len(S)) - S, rng)
    return c - value
    ### END SOLUTION


# %% tags=["test"]
def test_smallest_eigenvalue():
    rng = np.random.default_rng(14)
    assert np.isclose(smallest_eigenvalue(np.array([[0.0, 1], [1, 0]]), 1.0, rng), -1)
    for _ in range(20):
        d = int(rng.integers(1, 9))
        S = separated(rng, d) - rng.uniform(0, 4) * np.eye(d)
        S = -S  # the smallest one stands apart
        bound = np.abs(np.linalg.eigvalsh(S)).max()
        want = np.linalg.eigvalsh(S)[0]
        assert np.isclose(smallest_eigenvalue(S, bound, rng), want, atol=1e-8)


# %% [markdown] tags=["solution"]
# It swaps the entries forever: $1^t$ and $(-1)^t$ have the same size, so neither outgrows the other.
# The matrix $cI - S$ has the same eigenvectors with eigenvalues $c - \lambda \ge 0$, and its largest belongs to the smallest $\lambda$.
# That is how you look for a direction in which a loss curves downwards without computing all eigenvalues.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Dot product, cosine | $x \cdot y = \lVert x \rVert \lVert y \rVert \cos\theta$ | `unit_rows(X) @ unit_rows(Y).T` | attention scores, retrieval |
# | Matrix product | $Y_{ij} = \sum_k X_{ik} W_{kj}$, cost $2ndm$ | `X @ W` | every layer |
# | Transpose | $(XW)^\top = W^\top X^\top$ | `X.T` | backpropagation |
# | Least squares | $X^\top X W = X^\top Y$ | `np.linalg.lstsq(X, Y)` | linear models, probes |
# | Orthonormal columns | $Q^\top Q = I$ | `np.linalg.qr(X)` | projections, initialisation |
# | Rank | $A = BC$, $r(n + d)$ entries | `np.linalg.matrix_rank(A)` | LoRA |
# | Eigenvectors | $vS = \lambda v$ | `v @ S`, again and again | curvature, recurrent networks |
# | Singular values | $A = U \Sigma V^\top$, error $\sum_{i \gt r} \sigma_i^2$ | `np.linalg.svd(A, full_matrices=False)` | compression, Muon, spectral norms |
# | Principal components | $Z = (X - \mu) V_r$ | `(X - mean) @ Vt[:r].T` | embeddings, plots |
#
# **The essential insight:** once things are vectors, one operation compares them, the dot product, and a matrix product is that operation done for all pairs. The same product, read by rows, transforms vectors; read as a sum of outer products, it takes a matrix apart into pieces of rank one. The singular values say how much each piece matters, so you can see what a matrix does, and keep the part that counts. Networks add [derivatives](calculus.py) and bends between the products, and little else.
