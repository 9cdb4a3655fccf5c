# Generated from src/topics/notebooks/03-activations-visualized.py: edit that file, then run doit. digest:5d5a4834243326fc

"""Tests of notebooks/03-activations-visualized: Activations visualized."""

import numpy as np
import torch  # only to check our results against
import torch.nn.functional as F
from scipy.special import ndtr  # Phi, the normal distribution function


# src/topics/notebooks/03-activations-visualized.py:57
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), written so that exp cannot overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1 + e)


# src/topics/notebooks/03-activations-visualized.py:106
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


# src/topics/notebooks/03-activations-visualized.py:107
NAMES = ["sigmoid", "tanh", "softplus", "relu", "leaky_relu", "elu", "selu", "gelu",
         "gelu_tanh", "silu", "mish", "relu2"]


# src/topics/notebooks/03-activations-visualized.py:109
Pair = tuple[np.ndarray, np.ndarray]


# src/topics/notebooks/03-activations-visualized.py:112
def softplus(z: np.ndarray) -> np.ndarray:
    """log(1 + exp(z)), written so that exp cannot overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


# src/topics/notebooks/03-activations-visualized.py:117
def saturating(name: str, z: np.ndarray) -> Pair:
    """Values and slopes of the smooth functions that level off on the left or both."""
    if name == "sigmoid":
        s = sigmoid(z)
        return s, s * (1 - s)
    if name == "tanh":
        t = np.tanh(z)
        return t, 1 - t**2
    return softplus(z), sigmoid(z)


# src/topics/notebooks/03-activations-visualized.py:128
def bent(name: str, z: np.ndarray, a: float) -> Pair:
    """Values and slopes of the functions with a piece for z > 0 and one for z <= 0."""
    right, left = np.maximum(z, 0), np.minimum(z, 0)
    if name == "relu2":
        return right**2, 2 * right
    if name in ("relu", "leaky_relu"):
        a = 0.0 if name == "relu" else a
        return right + a * left, np.where(z > 0, 1.0, a)
    scale, alpha = (SELU_SCALE, SELU_ALPHA) if name == "selu" else (1.0, 1.0)
    slopes = np.where(z > 0, 1.0, alpha * np.exp(left))
    return scale * (right + alpha * np.expm1(left)), scale * slopes


# src/topics/notebooks/03-activations-visualized.py:141
def self_gated(name: str, z: np.ndarray) -> Pair:
    """z g(z) and, by the product rule, g(z) + z g'(z)."""
    if name == "silu":
        g = sigmoid(z)
        dg = g * (1 - g)
    elif name == "mish":
        g = np.tanh(softplus(z))
        dg = (1 - g**2) * sigmoid(z)
    elif name == "gelu":
        g, dg = ndtr(z), np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    else:  # GELU with 2 Phi(z) - 1 replaced by the tanh of a cubic
        t = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
        g, dg = (1 + t) / 2, (1 - t**2) * (1 + 0.134145 * z**2) / np.sqrt(2 * np.pi)
    return z * g, g + z * dg


# src/topics/notebooks/03-activations-visualized.py:157
def activate(name: str, z: np.ndarray, a: float = 0.01) -> Pair:
    """phi(z) and phi'(z), entry by entry; a is the slope of leaky_relu on the left."""
    if name in ("sigmoid", "tanh", "softplus"):
        return saturating(name, z)
    if name in ("relu", "leaky_relu", "elu", "selu", "relu2"):
        return bent(name, z, a)
    return self_gated(name, z)


# src/topics/notebooks/03-activations-visualized.py:195
def torch_activation(name: str, t: torch.Tensor, a: float = 0.01) -> torch.Tensor:
    """PyTorch's version of the activation `name`."""
    if name == "gelu_tanh":
        return F.gelu(t, approximate="tanh")
    if name == "relu2":
        return F.relu(t) ** 2
    if name == "leaky_relu":
        return F.leaky_relu(t, a)
    if name == "softplus":
        return F.softplus(t, threshold=40)  # the identity above: exact in float64
    return getattr(F, name)(t)


# src/topics/notebooks/03-activations-visualized.py:208
def check_activation(name: str, z: np.ndarray, a: float) -> None:
    t = torch.tensor(z, requires_grad=True)
    expected = torch_activation(name, t, a)
    expected.sum().backward()
    values, slopes = activate(name, z, a)
    assert values.shape == slopes.shape == z.shape
    np.testing.assert_allclose(values, expected.detach(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(slopes, t.grad, rtol=1e-11, atol=1e-13)


# src/topics/notebooks/03-activations-visualized.py:284
def hard_swish(z: np.ndarray) -> Pair:
    """Values and slopes of z min(max(z + 3, 0), 6) / 6."""
    g = np.clip(z + 3, 0, 6) / 6
    return z * g, g + z * np.where(np.abs(z) < 3, 1 / 6, 0.0)


# src/topics/notebooks/03-activations-visualized.py:322
GATES = {"swiglu": "silu", "geglu": "gelu"}


# src/topics/notebooks/03-activations-visualized.py:325
def hidden(name: str, z: np.ndarray, a: float = 0.01) -> Pair:
    """h and the slopes; a gated h (..., m) comes from z (..., 2 m)."""
    if name not in GATES:
        return activate(name, z, a)
    g, u = np.split(z, 2, axis=-1)
    phi, slope = activate(GATES[name], g)
    return phi * u, np.concatenate([u * slope, phi], axis=-1)


# src/topics/notebooks/03-activations-visualized.py:334
def hidden_backward(dh: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """dz from dh and the slopes that `hidden` returned; dh is repeated for gates."""
    return np.concatenate([dh] * (slopes.shape[-1] // dh.shape[-1]), axis=-1) * slopes


# src/topics/notebooks/03-activations-visualized.py:407
def weight_variance(start: str | float, d_in: int, d_out: int) -> float:
    """The variance v of a named start; a number is a gain, v = gain^2 / d_in."""
    named = {"lecun": 1 / d_in, "glorot": 2 / (d_in + d_out), "he": 2 / d_in}
    return named[start] if isinstance(start, str) else start**2 / d_in


# src/topics/notebooks/03-activations-visualized.py:413
def init_params(sizes: list[int], start: str | float, rng: np.random.Generator,
                gated: bool = False, bias: float = 0.0) -> list:
    """Pairs (W, b) for layers of these sizes; the top layer has gain 1 and bias 0."""
    params = []
    for d_in, d_out in zip(sizes[:-2], sizes[1:-1]):
        std = np.sqrt(weight_variance(start, d_in, d_out))
        columns = 2 * d_out if gated else d_out
        params.append((rng.normal(0, std, (d_in, columns)), np.full(columns, bias)))
    d_in, d_out = sizes[-2:]
    params.append((rng.normal(0, 1 / np.sqrt(d_in), (d_in, d_out)), np.zeros(d_out)))
    return params


# src/topics/notebooks/03-activations-visualized.py:426
def forward(params: list, X: np.ndarray, name: str, a: float = 0.01) -> tuple:
    """Lists z, h, slopes; z[-1] holds the scores, which get no activation."""
    z, h, slopes = [], [X], []
    for l, (W, b) in enumerate(params):
        z.append(h[l] @ W + b)
        if l < len(params) - 1:
            values, slope = hidden(name, z[l], a)
            h.append(values)
            slopes.append(slope)
    return z, h, slopes


# src/topics/notebooks/03-activations-visualized.py:438
def backward(params: list, h: list, slopes: list, d_scores: np.ndarray) -> tuple:
    """[(dW, db), ...] and dz for every layer, from the gradient of the scores."""
    dz = [d_scores]
    for l in range(len(params) - 1, 0, -1):
        dz.insert(0, hidden_backward(dz[0] @ params[l][0].T, slopes[l - 1]))
    return [(H.T @ d, d.sum(axis=0)) for H, d in zip(h, dz)], dz


# src/topics/notebooks/03-activations-visualized.py:582
def sizes_by_depth(name: str, start: str | float, widths: list, seed: int) -> tuple:
    """Root mean squares of z and of dz in each hidden layer, for random inputs."""
    rng = np.random.default_rng(seed)
    params = init_params(widths, start, rng)
    z, h, slopes = forward(params, rng.normal(size=(64, widths[0])), name)
    _, dz = backward(params, h, slopes, rng.normal(size=(64, widths[-1])))
    root = [
        np.array([np.sqrt((a**2).mean()) for a in arrays[:-1]]) for arrays in (z, dz)
    ]
    return root[0], root[1] / root[1][-1]


# src/topics/notebooks/03-activations-visualized.py:630
u_grid = (np.arange(-4000, 4000) + 0.5) / 400  # standard normal u, without u = 0


# src/topics/notebooks/03-activations-visualized.py:631
u_weight = np.exp(-(u_grid**2) / 2) / np.exp(-(u_grid**2) / 2).sum()


# src/topics/notebooks/03-activations-visualized.py:634
def mean_squares(name: str, q: float) -> tuple[float, float]:
    """E[phi(z)^2] and E[phi'(z)^2] for normal z of mean 0 and variance q."""
    values, slopes = activate(name, np.sqrt(q) * u_grid)
    return float(values**2 @ u_weight), float(slopes**2 @ u_weight)


# src/topics/notebooks/03-activations-visualized.py:640
def predicted(name: str, gain: float, q: float, layers: int) -> tuple[float, float]:
    """Factors by which z grows and dz shrinks or grows over `layers` layers."""
    first, back = q, 1.0
    for _ in range(layers):
        keep, keep_back = mean_squares(name, q)
        q, back = gain**2 * keep, back * gain**2 * keep_back
        if not 1e-30 < q < 1e30:
            break
    return np.sqrt(q / first), np.sqrt(back)


# src/topics/notebooks/03-activations-visualized.py:695
def signal_gain(name: str) -> float:
    """The gain that keeps mean squares of 1: 1 / sqrt(E[phi(u)^2])."""
    return mean_squares(name, 1.0)[0] ** -0.5


# src/topics/notebooks/03-activations-visualized.py:770
def default_factor(layers: int) -> float:
    """Mean square of z after `layers` more ReLU layers, over that before."""
    return (1 / 3 * 1 / 2) ** layers  # evenly from -s to s: the variance is s^2 / 3


# src/topics/notebooks/03-activations-visualized.py:812
def relu_cosine(c: np.ndarray) -> np.ndarray:
    """Cosine of two ReLU layers whose pre-activations have cosine c."""
    c = np.clip(c, -1, 1)
    return (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / np.pi


# src/topics/notebooks/03-activations-visualized.py:818
def cosines_by_depth(name: str, gain: float, X: np.ndarray, pairs: np.ndarray,
                     seed: int, depth: int = 30, centre: bool = False) -> np.ndarray:
    """Mean cosine of the pairs (n, n) of rows of h, for layers 0 to `depth`."""
    rng, H, found = np.random.default_rng(seed), X, []
    for l in range(depth + 1):
        unit = H / np.linalg.norm(H, axis=1, keepdims=True)
        found.append((unit @ unit.T)[pairs].mean())
        W = rng.normal(0, gain / np.sqrt(H.shape[1]), (H.shape[1], 200))
        H = activate(name, H @ W)[0]
        if centre:  # each image for itself: subtract its mean over the units
            H = H - H.mean(axis=1, keepdims=True)
    return np.array(found)


# src/topics/notebooks/03-activations-visualized.py:918
def selu_constants() -> tuple[float, float]:
    """lambda and alpha, to four digits or better."""
    right, left = np.maximum(u_grid, 0), np.expm1(np.minimum(u_grid, 0))
    alpha = -(right @ u_weight) / (left @ u_weight)
    return float((((right + alpha * left) ** 2) @ u_weight) ** -0.5), float(alpha)


# src/topics/notebooks/03-activations-visualized.py:948
def centred_relu() -> tuple[float, float, float]:
    """m, the gain, and the factor by which each layer multiplies E[dz^2]."""
    m = 1 / np.sqrt(2 * np.pi)  # E[max(u, 0)]
    gain = (1 / 2 - m**2) ** -0.5
    return m, gain, gain**2 / 2


# src/topics/notebooks/03-activations-visualized.py:1024
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/notebooks/03-activations-visualized.py:1031
def loss_gradient(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy (integer y), or of half the mean square."""
    if np.issubdtype(y.dtype, np.integer):
        return (softmax(scores) - np.eye(scores.shape[1])[y]) / len(y)
    return (scores - y) / len(y)


# src/topics/notebooks/03-activations-visualized.py:1038
def train(params: list, X: np.ndarray, y: np.ndarray, name: str, lr: float,
          rng: np.random.Generator, epochs: int = 6, batch: int = 25, a: float = 0.01,
          momentum: float = 0.0, clip: float = np.inf, watch=None) -> list:
    """Parameters after SGD; clip bounds the gradient's norm, watch sees every step."""
    speed = [(np.zeros_like(W), np.zeros_like(b)) for W, b in params]
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(y)), max(len(y) // batch, 1)):
            if watch:
                watch(params)
            z, h, slopes = forward(params, X[rows], name, a)
            grads, _ = backward(params, h, slopes, loss_gradient(z[-1], y[rows]))
            norm = np.sqrt(sum((dW**2).sum() + (db**2).sum() for dW, db in grads))
            short = 1.0 if norm <= clip else clip / norm
            speed = [(momentum * vW + short * dW, momentum * vb + short * db)
                     for (vW, vb), (dW, db) in zip(speed, grads)]
            params = [
                (W - lr * vW, b - lr * vb) for (W, b), (vW, vb) in zip(params, speed)
            ]
    return params


# src/topics/notebooks/03-activations-visualized.py:1059
def accuracy(
    params: list, X: np.ndarray, y: np.ndarray, name: str, a: float = 0.01
) -> float:
    """Share of rows of X whose largest score is the right class."""
    return float((forward(params, X, name, a)[0][-1].argmax(axis=1) == y).mean())


# src/topics/notebooks/03-activations-visualized.py:1066
def activity(params: list, X: np.ndarray, name: str, a: float = 0.01) -> list:
    """For each hidden layer and unit, the share of the rows of X with z > 0."""
    return [(z > 0).mean(axis=0) for z in forward(params, X, name, a)[0][:-1]]


# src/topics/notebooks/03-activations-visualized.py:1313
def revive(
    params: list, layer: int, dead: np.ndarray, rng: np.random.Generator
) -> list:
    """A copy in which the units `dead` (d,) of hidden layer 0, 1, ... start anew."""
    params = [(W.copy(), b.copy()) for W, b in params]
    (W, b), (W_next, _) = params[layer], params[layer + 1]
    W[:, dead] = rng.normal(0, np.sqrt(2 / len(W)), (len(W), dead.sum()))
    b[dead] = 0.0
    W_next[dead] = 0.0
    return params


# src/topics/notebooks/03-activations-visualized.py:1361
def kinks(params: list, low: float, high: float) -> np.ndarray:
    """Inputs between low and high at which some unit of a ReLU network switches."""
    pieces = [(low, high, np.ones(1), np.zeros(1))]  # on it h = slope x + offset
    for W, b in params[:-1]:
        finer = []
        for left, right, slope, offset in pieces:
            slope, offset = slope @ W, offset @ W + b
            moving = slope != 0
            roots = -offset[moving] / slope[moving]
            cuts = [left, *np.unique(roots[(roots > left) & (roots < right)]), right]
            for l, r in zip(cuts[:-1], cuts[1:]):
                on = slope * (l + r) / 2 + offset > 0
                finer.append((l, r, slope * on, offset * on))
        pieces = finer
    return np.array([piece[0] for piece in pieces[1:]])


# src/topics/notebooks/03-activations-visualized.py:1499
def regions(params: list, points: np.ndarray) -> np.ndarray:
    """Number of the on/off pattern of all hidden ReLUs at each of the points (n, 2)."""
    on = np.hstack(forward(params, points, "relu")[0][:-1]) > 0
    codes = on @ 2 ** np.arange(on.shape[1])  # one whole number for each pattern
    return np.unique(codes, return_inverse=True)[1]


# src/topics/notebooks/03-activations-visualized.py:1573
def most_regions(m: int) -> int:
    """The largest number of regions of the plane between m lines."""
    return 1 + m + m * (m - 1) // 2


# src/topics/notebooks/03-activations-visualized.py:218
def test_activations_match_torch():
    rng = np.random.default_rng(1)
    for name in NAMES:
        for trial in range(24):
            shape = tuple(int(d) for d in rng.integers(0, 6, size=1 + trial % 3))
            z = rng.normal(size=shape) * [0.01, 1, 5, 30][trial % 4]
            check_activation(name, z, a=[0.01, 0.2, 0.5][trial % 3])
        edges = np.outer([1, -1], [0, 1e-300, 1e-8, 20, 38, 745, 1e3, 1e4])
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            check_activation(name, edges, a=0.01)
    np.testing.assert_allclose(activate("leaky_relu", np.array([-3.0]))[0], [-0.03])


# src/topics/notebooks/03-activations-visualized.py:231
def test_sigmoid_and_softplus_do_not_overflow():
    z = np.array([-1e4, -800.0, -2.0, 0.0, 2.0, 800.0, 1e4])
    t = torch.tensor(z)
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(sigmoid(z), torch.sigmoid(t), rtol=1e-12)
        np.testing.assert_allclose(softplus(z), F.softplus(t, threshold=40), rtol=1e-12)


# src/topics/notebooks/03-activations-visualized.py:293
def test_hard_swish():
    rng = np.random.default_rng(2)
    for trial in range(24):
        z = rng.normal(size=(trial % 4, 5)) * [1, 4, 100][trial % 3]
        t = torch.tensor(z, requires_grad=True)
        expected = F.hardswish(t)
        expected.sum().backward()
        values, slopes = hard_swish(z)
        np.testing.assert_allclose(values, expected.detach(), atol=1e-12)
        np.testing.assert_allclose(slopes, t.grad, atol=1e-12)


# src/topics/notebooks/03-activations-visualized.py:340
def test_gated_units_match_torch():
    rng = np.random.default_rng(3)
    for trial in range(24):
        name = ["swiglu", "geglu"][trial % 2]
        n, m = trial % 5, int(rng.integers(1, 7))
        z = rng.normal(size=(n, 2 * m)) * [1, 20][trial % 3 == 0]
        dh = rng.normal(size=(n, m))
        t = torch.tensor(z, requires_grad=True)
        expected = torch_activation(GATES[name], t[:, :m]) * t[:, m:]
        expected.backward(torch.tensor(dh))
        h, slopes = hidden(name, z)
        assert h.shape == (n, m) and slopes.shape == (n, 2 * m)
        np.testing.assert_allclose(h, expected.detach(), rtol=1e-11, atol=1e-12)
        dz = hidden_backward(dh, slopes)
        np.testing.assert_allclose(dz, t.grad, rtol=1e-11, atol=1e-12)
    z, dh = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    h, slopes = hidden("tanh", z)
    np.testing.assert_array_equal(hidden_backward(dh, slopes), dh * slopes)
    np.testing.assert_array_equal(
        hidden("leaky_relu", z, 0.3)[1], np.where(z > 0, 1, 0.3)
    )


# src/topics/notebooks/03-activations-visualized.py:447
def test_network_gradients_match_autograd():
    rng = np.random.default_rng(4)
    for trial in range(28):
        name = (NAMES + ["swiglu", "geglu"])[trial % 14]
        sizes = [int(d) for d in rng.permutation(np.arange(2, 9))[: 3 + trial % 3]]
        params = init_params(sizes, "he", rng, gated=name in GATES)
        params = [(W, rng.normal(size=b.shape)) for W, b in params]
        X, d_scores = (rng.normal(size=(trial % 5, d)) for d in (sizes[0], sizes[-1]))
        leaves = [
            [torch.tensor(p, requires_grad=True) for p in layer] for layer in params
        ]
        H, pre = torch.tensor(X), []
        for W, b in leaves:
            pre.append(H @ W + b)
            pre[-1].retain_grad()
            if name in GATES:
                gate, u = pre[-1].tensor_split(2, dim=1)
                if len(pre) < len(params):
                    H = torch_activation(GATES[name], gate) * u
            else:
                H = torch_activation(name, pre[-1], 0.2)
        pre[-1].backward(torch.tensor(d_scores))
        z, h, slopes = forward(params, X, name, 0.2)
        grads, dz = backward(params, h, slopes, d_scores)
        assert len(z) == len(dz) == len(params) == len(h) == len(slopes) + 1
        default, same = (forward(params, X, name, *a)[0][-1] for a in ((), (0.01,)))
        np.testing.assert_array_equal(default, same)
        for l, (W, b) in enumerate(leaves):
            np.testing.assert_allclose(z[l], pre[l].detach(), rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(dz[l], pre[l].grad, rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(grads[l][0], W.grad, rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(grads[l][1], b.grad, rtol=1e-9, atol=1e-10)


# src/topics/notebooks/03-activations-visualized.py:481
def test_starts_match_torch():
    rng, init = np.random.default_rng(5), torch.nn.init
    d_in, d_out = 700, 400
    W = torch.empty(d_out, d_in)  # nn.Linear stores the transpose
    torch.manual_seed(0)
    for start, fill in [
        ("glorot", lambda: init.xavier_normal_(W)),
        ("he", lambda: init.kaiming_normal_(W, nonlinearity="relu")),
        ("lecun", lambda: init.kaiming_normal_(W, nonlinearity="linear")),
    ]:
        fill()
        expected = W.var().item()
        assert abs(weight_variance(start, d_in, d_out) / expected - 1) < 0.02
        ours = init_params([d_in, d_out, 300], start, rng, bias=-0.5)
        assert abs(ours[0][0].var() / expected - 1) < 0.02
        assert abs(ours[1][0].var() * d_out - 1) < 0.02
        assert (ours[0][1] == -0.5).all() and (ours[1][1] == 0).all()
    assert weight_variance(3.0, 10, 7) == 0.9
    gated = init_params([6, 5, 4, 3], 1.0, rng, gated=True)
    assert [W.shape for W, _ in gated] == [(6, 10), (5, 8), (4, 3)]
    assert [b.shape for _, b in gated] == [(10,), (8,), (3,)]


# src/topics/notebooks/03-activations-visualized.py:734
def test_mean_squares_and_prediction():
    rng = np.random.default_rng(6)
    for name in NAMES:
        for q in (0.3, 1.0, 2.5):
            u = rng.normal(size=200_000) * np.sqrt(q)
            for expected, array in zip(mean_squares(name, q), activate(name, u)):
                assert abs((array**2).mean() / expected - 1) < 0.03, name
    gain = torch.nn.init.calculate_gain
    assert abs(signal_gain("relu") - gain("relu")) < 1e-5
    assert abs(signal_gain("leaky_relu") - gain("leaky_relu", 0.01)) < 1e-5
    assert abs(signal_gain("selu") - 1) < 1e-5
    for gain in (1.0, 1.6):
        forth, back = predicted("relu", gain, 0.7, 8)
        np.testing.assert_allclose([forth, back], (gain**2 / 2) ** 4, rtol=1e-5)
    forth, back = predicted("tanh", 1.3, 0.5, 1)
    keep, keep_back = mean_squares("tanh", 0.5)
    np.testing.assert_allclose(forth, np.sqrt(1.69 * keep / 0.5))
    np.testing.assert_allclose(back, np.sqrt(1.69 * keep_back))


# src/topics/notebooks/03-activations-visualized.py:754
def test_sizes_by_depth():
    forth, back = sizes_by_depth("relu", "he", [300] * 9 + [5], 0)
    assert forth.shape == back.shape == (8,) and back[-1] == 1
    assert 0.5 < forth[-1] / forth[0] < 2 and 0.5 < back[0] < 2
    forth, back = sizes_by_depth("relu", 1.0, [300] * 9 + [5], 0)
    assert abs(np.log2(forth[-1] / forth[0]) + 3.5) < 1
    assert abs(np.log2(back[0]) + 3.5) < 1


# src/topics/notebooks/03-activations-visualized.py:778
def test_default_factor():
    torch.manual_seed(1)
    W = torch.nn.Linear(500, 400).weight
    assert abs(W.var().item() * 500 * 0.5 / default_factor(1) - 1) < 0.03
    h = torch.relu(torch.randn(50, 500))
    for _ in range(6):
        h = torch.relu(torch.nn.Linear(500, 500, bias=False)(h))
    measured = (h**2).mean().item() / 0.5
    assert 0.5 < measured / default_factor(6) < 2


# src/topics/notebooks/03-activations-visualized.py:871
def test_relu_cosine():
    rng = np.random.default_rng(7)
    for c in (-1.0, -0.6, 0.0, 0.3, 0.8, 1.0):
        a, b = rng.normal(size=(2, 400_000))
        b = c * a + np.sqrt(1 - c**2) * b
        h, g = (torch.relu(torch.tensor(v)).numpy() for v in (a, b))
        assert abs((h * g).mean() / 0.5 - relu_cosine(np.array(c))) < 0.01
    assert abs(relu_cosine(np.array(0.0)) - 1 / np.pi) < 1e-12
    assert relu_cosine(np.array(1 + 1e-15)) == 1


# src/topics/notebooks/03-activations-visualized.py:882
def test_cosines_by_depth():
    X, pairs = np.eye(3, 5) + 1.0, np.zeros((3, 3), dtype=bool)
    pairs[0, 1:] = True
    for name, centre in (("relu", False), ("tanh", False), ("relu", True)):
        found = cosines_by_depth(name, 1.4, X, pairs, 0, depth=2, centre=centre)
        rng, h = np.random.default_rng(0), torch.tensor(X)
        for l in range(3):
            expected = F.cosine_similarity(h[:1], h[1:]).mean().item()
            assert found.shape == (3,) and abs(found[l] - expected) < 1e-9
            std = 1.4 / [5, 200][l > 0] ** 0.5
            h = h @ torch.tensor(rng.normal(0, std, (h.shape[1], 200)))
            h = torch_activation(name, h)
            h = h - h.mean(dim=1, keepdim=True) if centre else h


# src/topics/notebooks/03-activations-visualized.py:928
def test_selu_constants():
    scale, alpha = selu_constants()
    assert (
        abs(scale - 1.0507009873554805) < 5e-5
        and abs(alpha - 1.6732632423543772) < 5e-5
    )
    z = torch.tensor([2.0, -1.0], dtype=torch.float64)
    np.testing.assert_allclose(
        F.selu(z), [2 * scale, scale * alpha * np.expm1(-1)], atol=1e-3
    )


# src/topics/notebooks/03-activations-visualized.py:958
def test_centred_relu():
    m, gain, factor = centred_relu()
    rng = np.random.default_rng(8)
    z, dz = rng.normal(size=(400, 500)), rng.normal(size=(400, 500))
    h = np.maximum(z, 0) - m
    assert abs(h.mean()) < 0.01
    W = rng.normal(size=(500, 500)) * gain / np.sqrt(500)
    assert abs(((h @ W) ** 2).mean() - 1) < 0.03
    assert abs((((dz @ W.T) * (z > 0)) ** 2).mean() / factor - 1) < 0.03


# src/topics/notebooks/03-activations-visualized.py:1072
def test_train_matches_torch():
    rng = np.random.default_rng(9)
    for trial in range(20):
        momentum, clip = [0.0, 0.9][trial % 2], [np.inf, 0.3][trial // 2 % 2]
        d, m, k = (int(v) for v in rng.permutation(np.arange(2, 7))[:3])
        X = rng.normal(size=(8, d))
        y = rng.integers(0, k, size=8) if trial % 3 else rng.normal(size=(8, k))
        start = init_params([d, m, k], "he", rng)
        ours = train(start, X, y, "tanh", 0.2, rng, epochs=5, batch=8,
                     momentum=momentum, clip=clip)
        leaves = [torch.tensor(p, requires_grad=True) for layer in start for p in layer]
        W, b, V, c = leaves
        optimiser = torch.optim.SGD(leaves, lr=0.2, momentum=momentum)
        for _ in range(5):
            optimiser.zero_grad()
            scores = torch.tanh(torch.tensor(X) @ W + b) @ V + c
            if trial % 3:
                loss = F.cross_entropy(scores, torch.tensor(y))
            else:
                loss = ((scores - torch.tensor(y)) ** 2).sum() / 16
            loss.backward()
            if np.isfinite(clip):
                torch.nn.utils.clip_grad_norm_(leaves, clip)
            optimiser.step()
        for mine, theirs in zip([p for layer in ours for p in layer], leaves):
            np.testing.assert_allclose(
                mine, theirs.detach(), atol=1e-5 if clip < 1 else 1e-10
            )


# src/topics/notebooks/03-activations-visualized.py:1102
def test_every_row_is_used_once_per_epoch_and_watch_sees_each_step():
    X, seen = np.arange(10.0)[:, None], []
    train([(np.zeros((1, 2)), np.zeros(2))], X, np.zeros(10, dtype=int), "relu", 0.0,
          np.random.default_rng(0), epochs=3, batch=5, watch=seen.append)
    assert len(seen) == 6


# src/topics/notebooks/03-activations-visualized.py:1109
def test_accuracy_and_activity():
    params = [(np.array([[1.0, -1.0, 0.0]]), np.array([0.0, 0.0, -1.0])),
              (np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), np.zeros(2))]
    X = np.array([[1.0], [2.0], [3.0], [-1.0]])
    assert accuracy(params, X, np.array([0, 0, 1, 1]), "relu") == 0.75
    np.testing.assert_array_equal(activity(params, X, "relu"), [[0.75, 0.25, 0.0]])
    leaky = [(np.array([[1.0]]), np.zeros(1)), (np.array([[-1.0, 1.0]]), np.zeros(2))]
    leaky.insert(1, (np.array([[-1.0]]), np.array([-0.1])))
    assert activity(leaky, np.array([[-1.0]]), "leaky_relu", 0.05)[1][0] == 0
    assert activity(leaky, np.array([[-1.0]]), "leaky_relu", 0.5)[1][0] == 1
    assert accuracy(leaky, np.array([[-1.0]]), np.array([0]), "leaky_relu", 0.5) == 0
    assert accuracy(leaky, np.array([[-1.0]]), np.array([0]), "leaky_relu", 0.05) == 1


# src/topics/notebooks/03-activations-visualized.py:1328
def test_revive():
    rng, variances = np.random.default_rng(10), []
    for trial in range(20):
        params = init_params([5, 40, 30, 3], "he", rng)
        layer, X = trial % 2, rng.normal(size=(50, 5))
        dead = rng.random([40, 30][layer]) < 0.5
        params[layer][1][dead] = -100.0  # kill them
        before = [(W.copy(), b.copy()) for W, b in params]
        new = revive(params, layer, dead, rng)
        assert not activity(params, X, "relu")[layer][dead].any()
        on = activity(new, X, "relu")[layer]
        assert (on[dead] > 0).mean() > 0.7
        np.testing.assert_allclose(forward(new, X, "relu")[0][-1],
                                   forward(params, X, "relu")[0][-1], atol=1e-12)
        for (W, b), (W_old, b_old) in zip(params, before):  # the input is left alone
            assert np.array_equal(W, W_old) and np.array_equal(b, b_old)
        assert not new[layer][1][dead].any() and not new[layer + 1][0][dead].any()
        variances.append(new[layer][0][:, dead].var() * len(new[layer][0]) / 2)
        np.testing.assert_array_equal(
            new[layer][0][:, ~dead], params[layer][0][:, ~dead]
        )
    assert abs(np.mean(variances) - 1) < 0.1


# src/topics/notebooks/03-activations-visualized.py:1379
def test_kinks():
    rng = np.random.default_rng(11)
    for trial in range(20):
        sizes = [1] + [int(m) for m in rng.integers(1, 7, size=1 + trial % 3)] + [1]
        params = [
            (W, rng.normal(size=b.shape)) for W, b in init_params(sizes, "he", rng)
        ]
        found = kinks(params, -2.0, 3.0)
        assert (np.diff(found) > 0).all() and ((found > -2) & (found < 3)).all()
        ends = np.array([-2.0, *found, 3.0])
        middle = (ends[1:] + ends[:-1]) / 2
        if len(found):
            gap = np.diff(ends).min() / 4  # no unit switches between two kinks
            for x in (middle, ends[:-1] + gap, ends[1:] - gap):
                on = np.hstack(forward(params, x[:, None], "relu")[0][:-1]) > 0
                same = on if x is middle else same
                np.testing.assert_array_equal(on, same)
            on = np.hstack(forward(params, middle[:, None], "relu")[0][:-1]) > 0
            assert (on[1:] != on[:-1]).any(axis=1).all()  # and some unit at each
    enter, leave = np.ones((1, 2)), np.array([[2.0], [-4.0]])  # three tents
    bend = np.array([0.0, -0.5])
    tents = [
        (enter, bend),
        (leave @ enter, bend),
        (leave @ enter, bend),
        (leave, np.zeros(1)),
    ]
    np.testing.assert_allclose(kinks(tents, 0, 1), np.arange(1, 8) / 8, atol=1e-12)


# src/topics/notebooks/03-activations-visualized.py:1548
def test_regions():
    params = [(np.eye(2), np.zeros(2)), (np.ones((2, 1)), np.zeros(1))]
    points = np.array([[1.0, 1.0], [2.0, 3.0], [1.0, -1.0], [-1.0, -1.0], [-2.0, -1.0]])
    found = regions(params, points)
    assert found.shape == (5,) and len(set(found)) == 3
    assert found[0] == found[1] != found[2] and found[3] == found[4] != found[2]
    deep = [(np.eye(2), np.zeros(2)), (np.ones((2, 1)), np.array([-3.0])), *params[1:]]
    assert len(set(regions(deep[:2] + [(np.ones((1, 1)), np.zeros(1))], points))) == 4


# src/topics/notebooks/03-activations-visualized.py:1581
def test_most_regions():
    assert [most_regions(m) for m in range(6)] == [1, 2, 4, 7, 11, 16]
    side = np.linspace(-20, 20, 400)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for m in (1, 2, 3, 4):
        angle = np.pi * np.arange(m) / m + 0.1
        W = np.stack([np.cos(angle), np.sin(angle)])  # m lines in different directions
        b = np.array([0.0, 4.0, 2.0, -5.0])[:m]
        net = [(W, b), (np.ones((m, 1)), np.zeros(1))]
        assert regions(net, points).max() + 1 == most_regions(m)
