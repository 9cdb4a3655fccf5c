# Generated from src/topics/architectures/cnns.py: edit that file, then run doit. digest:013456163625063f

"""Tests of architectures/cnns: Convolutional networks."""

import numpy as np
import torch
from torch import nn


# src/topics/architectures/cnns.py:45
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


# src/topics/architectures/cnns.py:62
def accuracy(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> float:
    """Share of X (n, 1, 28, 28) whose largest score is the label's."""
    with torch.no_grad():
        return (model(X).argmax(dim=1) == y).float().mean().item()


# src/topics/architectures/cnns.py:68
def shifted(X: torch.Tensor, right: int) -> torch.Tensor:
    """Images (n, 1, 28, 28) moved by `right` pixels; black comes in from the left."""
    return nn.functional.pad(X, (right, -right))  # what leaves on the right is cut


# src/topics/architectures/cnns.py:73
def mlp(h: int, seed: int) -> nn.Module:
    """784 pixels, h hidden units, 10 scores."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, h), nn.ReLU(), nn.Linear(h, 10))


# src/topics/architectures/cnns.py:148
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


# src/topics/architectures/cnns.py:209
def max_pool(X: np.ndarray, k: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Maxima (B, C, n_h // k, n_w // k), and the index of each in its window."""
    B, C, n_h, n_w = X.shape
    m_h, m_w = n_h // k, n_w // k
    X = X[:, :, : m_h * k, : m_w * k].reshape(B, C, m_h, k, m_w, k)
    windows = X.transpose(0, 1, 2, 4, 3, 5).reshape(B, C, m_h, m_w, k * k)
    return windows.max(axis=-1), windows.argmax(axis=-1)


# src/topics/architectures/cnns.py:218
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


# src/topics/architectures/cnns.py:265
def random_convolution(rng):
    """Images, filters, biases, stride and padding, all sizes different."""
    B, C, O = rng.permutation(np.arange(1, 5))[:3]
    k, s, p = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(0, 3))
    n_h, n_w = k + rng.permutation(7)[:2]
    return (rng.normal(size=(B, C, n_h, n_w)), rng.normal(size=(O, C, k, k)),
            rng.normal(size=O), s, p)


# src/topics/architectures/cnns.py:332
def windows_as_rows(X: np.ndarray, k: int, s: int) -> np.ndarray:
    """Padded images (B, C, n_h, n_w) to windows (B, m_h, m_w, C, k, k): a view."""
    view = np.lib.stride_tricks.sliding_window_view(X, (k, k), axis=(2, 3))
    return view[:, :, ::s, ::s].transpose(0, 2, 3, 1, 4, 5)


# src/topics/architectures/cnns.py:338
def conv_forward(
    X: np.ndarray, W: np.ndarray, b: np.ndarray, s: int = 1, p: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """As conv_loops; returns the maps, and the windows for the backward pass."""
    k = W.shape[2]
    R = windows_as_rows(np.pad(X, ((0, 0), (0, 0), (p, p), (p, p))), k, s)
    Y = R.reshape(*R.shape[:3], -1) @ W.reshape(len(W), -1).T + b
    return Y.transpose(0, 3, 1, 2), R


# src/topics/architectures/cnns.py:348
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


# src/topics/architectures/cnns.py:389
def cnn(seed: int) -> nn.Module:
    """28 x 28 pixels, 8 maps of 12 x 12, 16 of 8 x 8, pooled to 4 x 4, 10 scores."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 4 * 4, 10),
    )


# src/topics/architectures/cnns.py:399
def narrow(seed: int) -> nn.Module:
    """The dense network with about as many parameters as `cnn`."""
    return mlp(7, seed)


# src/topics/architectures/cnns.py:404
def wide(seed: int) -> nn.Module:
    """The dense network with 128 hidden units."""
    return mlp(128, seed)


# src/topics/architectures/cnns.py:409
def parameters(model: nn.Module) -> int:
    """Number of learnt numbers."""
    return sum(W.numel() for W in model.parameters())


# src/topics/architectures/cnns.py:487
def tilt(W: torch.Tensor) -> float:
    """Share of the variance within filters (O, k, k) that a plane explains; the mean."""
    flat = (W - W.mean(dim=(1, 2), keepdim=True)).flatten(1)
    ramp = torch.arange(W.shape[1]) - (W.shape[1] - 1) / 2
    planes = torch.stack([ramp.repeat_interleave(len(ramp)), ramp.repeat(len(ramp))])
    planes = planes / planes.norm(dim=1, keepdim=True)
    return ((flat @ planes.T) ** 2).sum(dim=1).div((flat**2).sum(dim=1)).mean().item()


# src/topics/architectures/cnns.py:549
def receptive_field(layers: list[tuple[int, int]]) -> int:
    """Side of the square that one unit sees, after layers (k, stride)."""
    side, step = 1, 1
    for k, s in layers:
        side += (k - 1) * step
        step *= s
    return side


# src/topics/architectures/cnns.py:558
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


# src/topics/architectures/cnns.py:627
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


# src/topics/architectures/cnns.py:826
def slide_by_hand() -> list[int]:
    """The four outputs."""
    return [1, 1, 1, 1]


# src/topics/architectures/cnns.py:852
def two_counts(C: int, O: int, k: int) -> tuple[int, int]:
    """Parameters of the full convolution and of the separable pair."""
    return O * (C * k * k + 1), C * k * k + O * (C + 1)


# src/topics/architectures/cnns.py:874
def mean_pool(X: np.ndarray, k: int) -> np.ndarray:
    """Means (B, C, n_h / k, n_w / k) of X (B, C, n_h, n_w)."""
    B, C, n_h, n_w = X.shape
    return X.reshape(B, C, n_h // k, k, n_w // k, k).mean(axis=(3, 5))


# src/topics/architectures/cnns.py:882
def mean_pool_backward(dY: np.ndarray, k: int) -> np.ndarray:
    """dX (B, C, k * m_h, k * m_w) from dY (B, C, m_h, m_w)."""
    return np.repeat(np.repeat(dY, k, axis=2), k, axis=3) / k**2


# src/topics/architectures/cnns.py:911
def patch_embedding(X: np.ndarray, E: np.ndarray, k: int) -> np.ndarray:
    """Tokens (B, m_h * m_w, D) for images (B, C, k m_h, k m_w) and E (C k k, D)."""
    B, C, n_h, n_w = X.shape
    blocks = X.reshape(B, C, n_h // k, k, n_w // k, k).transpose(0, 2, 4, 1, 3, 5)
    return blocks.reshape(B, -1, C * k * k) @ E


# src/topics/architectures/cnns.py:939
def causal_conv(X: np.ndarray, W: np.ndarray, b: np.ndarray, g: int = 1) -> np.ndarray:
    """X (B, T, D_in), W (k, D_in, D_out), b (D_out,): Y (B, T, D_out)."""
    T, past = X.shape[1], g * (len(W) - 1)
    X = np.pad(X, ((0, 0), (past, 0), (0, 0)))
    return b + sum(X[:, past - g * u : past - g * u + T] @ W_u for u, W_u in enumerate(W))


# src/topics/architectures/cnns.py:973
def pooled_cnn(seed: int) -> nn.Module:
    """As `cnn`, with the mean over places before the last layer."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 10),
    )


# src/topics/architectures/cnns.py:239
def test_shifted():
    rng = torch.Generator().manual_seed(0)
    X = torch.rand(3, 1, 28, 28, generator=rng)
    for d in (1, 4):
        assert torch.equal(shifted(X, d)[..., d:], X[..., :-d])
        assert shifted(X, d)[..., :d].abs().max() == 0
    assert torch.equal(shifted(X, 0), X)
    wide = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert shifted(wide, 1).tolist() == [[[[0, 0, 1], [0, 3, 4]]]]


# src/topics/architectures/cnns.py:250
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


# src/topics/architectures/cnns.py:274
def test_conv_loops_is_torchs():
    rng = np.random.default_rng(2)
    for _ in range(20):
        X, W, b, s, p = random_convolution(rng)
        want = torch.nn.functional.conv2d(*map(torch.from_numpy, (X, W, b)), stride=s, padding=p)
        got = conv_loops(X, W, b, s, p)
        assert got.shape == want.shape and np.allclose(got, want.numpy(), atol=1e-12)


# src/topics/architectures/cnns.py:283
def test_convolution_is_equivariant():
    rng = np.random.default_rng(3)
    X, W = rng.normal(size=(2, 3, 9, 11)), rng.normal(size=(4, 3, 3, 3))
    Y = conv_loops(X, W, np.zeros(4))
    for down, right in ((1, 0), (0, 2), (3, 4)):
        Y_moved = conv_loops(np.roll(X, (down, right), (2, 3)), W, np.zeros(4))
        assert np.allclose(Y_moved[:, :, down:, right:],
                           Y[:, :, : Y.shape[2] - down, : Y.shape[3] - right])


# src/topics/architectures/cnns.py:293
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


# src/topics/architectures/cnns.py:640
def test_im2col_is_torchs():
    rng = np.random.default_rng(5)
    for _ in range(20):
        check_gradients(*random_convolution(rng), rng)
    X, W, b, _, _ = random_convolution(rng)
    check_gradients(1e6 * X[:, :, : W.shape[2], : W.shape[2]], W, b, 1, 0, rng)  # one window


# src/topics/architectures/cnns.py:648
def test_windows_are_a_view():
    X = np.arange(2 * 3 * 6 * 7.0).reshape(2, 3, 6, 7)
    R = windows_as_rows(X, 3, 2)
    assert R.shape == (2, 2, 3, 3, 3, 3) and np.shares_memory(R, X)
    assert np.array_equal(R[1, 1, 2], X[1, :, 2:5, 4:7])


# src/topics/architectures/cnns.py:655
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


# src/topics/architectures/cnns.py:668
def test_tilt():
    ramp = torch.arange(5.0) - 2
    slopes = torch.stack([ramp[:, None] + 0 * ramp, 3 * ramp[:, None] - ramp + 7])
    bowl = (ramp[:, None] ** 2 + 0 * ramp)[None]
    assert abs(tilt(slopes) - 1) < 1e-6 and tilt(bowl) < 1e-6
    assert abs(tilt(torch.cat([slopes, bowl])) - 2 / 3) < 1e-6
    # ramp and bowl are orthogonal: their sum splits the variance 50 to 70
    assert abs(tilt(slopes[:1] + bowl) - 50 / 120) < 1e-6


# src/topics/architectures/cnns.py:678
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


# src/topics/architectures/cnns.py:691
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


# src/topics/architectures/cnns.py:834
def test_slide_by_hand():
    x = np.array([0.0, 0, 1, 3, 6, 10])[None, None, None]
    want = conv_loops(np.repeat(x, 3, axis=2), np.eye(3)[1][None, None, :, None]
                      * np.array([1.0, -2, 1]), np.zeros(1))
    assert list(slide_by_hand()) == list(want[0, 0, 0])


# src/topics/architectures/cnns.py:860
def test_two_counts():
    for C, O, k in ((3, 7, 5), (8, 2, 3), (1, 4, 1)):
        full = nn.Conv2d(C, O, k)
        pair = nn.Sequential(nn.Conv2d(C, C, k, groups=C, bias=False), nn.Conv2d(C, O, 1))
        assert two_counts(C, O, k) == (parameters(full), parameters(pair))


# src/topics/architectures/cnns.py:890
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


# src/topics/architectures/cnns.py:921
def test_patch_embedding():
    rng = np.random.default_rng(8)
    for _ in range(20):
        k = int(rng.integers(1, 4))
        B, C, m_h, m_w, D = rng.permutation(np.arange(1, 8))[:5]
        X, W = rng.normal(size=(B, C, k * m_h, k * m_w)), rng.normal(size=(D, C, k, k))
        maps, _ = conv_forward(X, W, np.zeros(D), s=k)
        tokens = patch_embedding(X, W.reshape(D, -1).T, k)
        assert np.allclose(tokens, maps.reshape(B, D, -1).transpose(0, 2, 1))


# src/topics/architectures/cnns.py:949
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


# src/topics/architectures/cnns.py:986
def test_pooled_cnn():
    model = pooled_cnn(0)
    assert receptive_field([(5, 2), (5, 1)]) == 13
    assert parameters(model) == 8 * 26 + 16 * 201 + 170
    X = torch.zeros(3, 1, 60, 60)  # any size will do now
    X[:, :, 24:30, 26:30] = torch.rand(3, 1, 6, 4, generator=torch.Generator().manual_seed(2))
    assert model(X).shape == (3, 10) and model(X).std() > 1e-4
    assert torch.allclose(model(X), model(shifted(X, 2)), atol=1e-6)
    assert not torch.allclose(model(X), model(X.flip(2)), atol=1e-6)
