# Generated from src/topics/neural-networks/activation-functions.py: edit that file, then run doit. digest:cc0791d43be45b90

"""Tests of neural-networks/activation-functions: Activation functions."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import ndtr  # Phi, the normal distribution function


# src/topics/neural-networks/activation-functions.py:46
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), written so that exp cannot overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1 + e)


# src/topics/neural-networks/activation-functions.py:52
def d_sigmoid(z: np.ndarray) -> np.ndarray:
    """sigmoid(z) sigmoid(-z), the derivative of the sigmoid, accurate on both sides."""
    e = np.exp(-np.abs(z))
    return e / (1 + e) ** 2


# src/topics/neural-networks/activation-functions.py:58
def init_params(sizes: list[int], gain: float, rng: np.random.Generator) -> list:
    """Pairs (W, b); W has standard deviation gain / sqrt(d_in), at the top gain 1."""
    gains = [gain] * (len(sizes) - 2) + [1.0]
    return [(rng.normal(0, g / np.sqrt(d_in), (d_in, d_out)), np.zeros(d_out))
            for g, d_in, d_out in zip(gains, sizes[:-1], sizes[1:])]


# src/topics/neural-networks/activation-functions.py:65
def forward(params: list, X: np.ndarray, phi) -> tuple[list, list]:
    """Pre-activations z[0], z[1], ... and layer inputs h[0] = X, h[1], ..."""
    z, h = [], [X]
    for W, b in params:
        z.append(h[-1] @ W + b)
        h.append(phi(z[-1]))
    return z, h[:-1]  # the logits z[-1] get no activation


# src/topics/neural-networks/activation-functions.py:74
def backward(params: list, z: list, h: list, delta: np.ndarray, d_phi) -> list:
    """[(dW, db), ...] from delta = dL/dlogits."""
    grads = []
    for l in reversed(range(len(params))):
        grads.append((h[l].T @ delta, delta.sum(axis=0)))
        if l > 0:
            delta = (delta @ params[l][0].T) * d_phi(z[l - 1])
    return grads[::-1]


# src/topics/neural-networks/activation-functions.py:86
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/neural-networks/activation-functions.py:93
def gradients(params: list, X: np.ndarray, y: np.ndarray, phi, d_phi) -> list:
    """Gradients of the mean cross-entropy, y (n,) the classes."""
    z, h = forward(params, X, phi)
    delta = (softmax(z[-1]) - np.eye(z[-1].shape[1])[y]) / len(y)
    return backward(params, z, h, delta, d_phi)


# src/topics/neural-networks/activation-functions.py:228
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


# src/topics/neural-networks/activation-functions.py:229
GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)


# src/topics/neural-networks/activation-functions.py:232
def d_tanh(z): return 1 - np.tanh(z) ** 2


# src/topics/neural-networks/activation-functions.py:235
def relu(z): return np.maximum(z, 0.0)


# src/topics/neural-networks/activation-functions.py:236
def d_relu(z): return np.where(z > 0, 1.0, 0.0)


# src/topics/neural-networks/activation-functions.py:239
def leaky_relu(z, a=0.01): return np.where(z > 0, z, a * z)


# src/topics/neural-networks/activation-functions.py:240
def d_leaky_relu(z, a=0.01): return np.where(z > 0, 1.0, a)


# src/topics/neural-networks/activation-functions.py:243
def softplus(z): return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


# src/topics/neural-networks/activation-functions.py:246
def elu(z): return np.where(z > 0, z, np.expm1(np.minimum(z, 0.0)))


# src/topics/neural-networks/activation-functions.py:247
def d_elu(z): return np.where(z > 0, 1.0, np.exp(np.minimum(z, 0.0)))


# src/topics/neural-networks/activation-functions.py:250
def selu(z):
    return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0.0)))


# src/topics/neural-networks/activation-functions.py:254
def d_selu(z):
    return SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0.0)))


# src/topics/neural-networks/activation-functions.py:258
def gelu(z): return z * ndtr(z)


# src/topics/neural-networks/activation-functions.py:259
def d_gelu(z): return ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


# src/topics/neural-networks/activation-functions.py:262
def gelu_tanh(z):
    return 0.5 * z * (1 + np.tanh(GELU_SCALE * (z + 0.044715 * z**3)))


# src/topics/neural-networks/activation-functions.py:266
def d_gelu_tanh(z):
    t = np.tanh(GELU_SCALE * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * GELU_SCALE * (1 + 0.134145 * z**2)


# src/topics/neural-networks/activation-functions.py:271
def silu(z): return z * sigmoid(z)


# src/topics/neural-networks/activation-functions.py:272
def d_silu(z):
    g = sigmoid(z)
    return g * (1 + z * (1 - g))


# src/topics/neural-networks/activation-functions.py:277
def mish(z): return z * np.tanh(softplus(z))


# src/topics/neural-networks/activation-functions.py:280
def d_mish(z):
    t = np.tanh(softplus(z))
    return t + z * (1 - t**2) * sigmoid(z)


# src/topics/neural-networks/activation-functions.py:285
def relu2(z): return relu(z) ** 2


# src/topics/neural-networks/activation-functions.py:286
def d_relu2(z): return 2 * relu(z)


# src/topics/neural-networks/activation-functions.py:289
def pair(name: str) -> tuple:
    """An activation and its derivative, both functions of z."""
    return {"sigmoid": (sigmoid, d_sigmoid), "tanh": (np.tanh, d_tanh),
            "relu": (relu, d_relu), "leaky_relu": (leaky_relu, d_leaky_relu),
            "softplus": (softplus, sigmoid), "elu": (elu, d_elu),
            "selu": (selu, d_selu), "gelu": (gelu, d_gelu),
            "gelu_tanh": (gelu_tanh, d_gelu_tanh), "silu": (silu, d_silu),
            "mish": (mish, d_mish), "relu2": (relu2, d_relu2)}[name]


# src/topics/neural-networks/activation-functions.py:330
NAMES = ["sigmoid", "tanh", "relu", "leaky_relu", "softplus", "elu", "selu", "gelu",
         "gelu_tanh", "silu", "mish", "relu2"]


# src/topics/neural-networks/activation-functions.py:334
def torch_function(name: str):
    """PyTorch's version of the activation `name`."""
    special = {"sigmoid": torch.sigmoid, "tanh": torch.tanh,
               "gelu_tanh": lambda t: F.gelu(t, approximate="tanh"),
               "softplus": lambda t: F.softplus(t, threshold=40),
               "relu2": lambda t: F.relu(t) ** 2}
    return special.get(name) or getattr(F, name)


# src/topics/neural-networks/activation-functions.py:356
def check_against_torch(name, phi, d_phi, z):
    t = torch.tensor(z, requires_grad=True)
    out = torch_function(name)(t)
    out.sum().backward()
    assert phi(z).shape == d_phi(z).shape == z.shape
    assert np.allclose(phi(z), out.detach().numpy(), rtol=1e-12, atol=1e-13), name
    assert np.allclose(d_phi(z), t.grad.numpy(), rtol=1e-12, atol=1e-13), name


# src/topics/neural-networks/activation-functions.py:418
def output_bits(std: float) -> float:
    """Entropy in bits of sigmoid(z), z ~ N(0, std^2), rounded to 256 levels."""
    z = np.linspace(-8, 8, 400_001)
    levels = np.minimum(sigmoid(std * z) * 256, 255).astype(int)
    p = np.bincount(levels, weights=np.exp(-(z**2) / 2), minlength=256)
    p = p[p > 0] / p.sum()
    return float(-(p * np.log2(p)).sum())


# src/topics/neural-networks/activation-functions.py:443
def as_sigmoid(params: list) -> list:
    """The sigmoid network that computes the same as the tanh network `params`."""
    twin = []
    for l, (W, b) in enumerate(params):
        if l > 0:
            W, b = 2 * W, b - W.sum(axis=0)  # its input is now (1 + tanh) / 2
        if l < len(params) - 1:
            W, b = 2 * W, 2 * b  # the sigmoid wants 2z
        twin.append((W, b))
    return twin


# src/topics/neural-networks/activation-functions.py:480
def gaussian_mean_square(f, q: float = 1.0) -> float:
    """E[f(sqrt(q) u)^2] for standard normal u."""
    u = np.linspace(-12, 12, 48_000)  # an even number: 0 is not among them
    weights = np.exp(-(u**2) / 2)
    return float((f(np.sqrt(q) * u) ** 2 * weights).sum() / weights.sum())


# src/topics/neural-networks/activation-functions.py:487
def gains(name: str) -> tuple[float, float]:
    """The gain that keeps signals, and the one that keeps gradients, at q = 1."""
    return tuple(gaussian_mean_square(f) ** -0.5 for f in pair(name))


# src/topics/neural-networks/activation-functions.py:572
def quick_gelu(z: np.ndarray) -> np.ndarray:
    """The sigmoid approximation of GELU."""
    return z * sigmoid(1.702 * z)


# src/topics/neural-networks/activation-functions.py:615
def glu_forward(X: np.ndarray, W: np.ndarray, V: np.ndarray, W_out: np.ndarray,
                phi) -> tuple:
    """X (n, d), W and V (d, m), W_out (m, d_out): output (n, d_out) and G, U, H."""
    G, U = X @ W, X @ V
    H = phi(G) * U
    return H @ W_out, G, U, H


# src/topics/neural-networks/activation-functions.py:623
def glu_backward(dY: np.ndarray, X: np.ndarray, W: np.ndarray, V: np.ndarray,
                 W_out: np.ndarray, G: np.ndarray, U: np.ndarray, H: np.ndarray,
                 phi, d_phi) -> tuple:
    """dX, dW, dV, dW_out from dY (n, d_out)."""
    dH = dY @ W_out.T
    dG, dU = dH * U * d_phi(G), dH * phi(G)
    return dG @ W.T + dU @ V.T, X.T @ dG, X.T @ dU, H.T @ dY


# src/topics/neural-networks/activation-functions.py:1049
def gated_by_hand() -> np.ndarray:
    """The hidden layer (1, 2) of the exercise."""
    # Gates log 3 and -log 3; values 4 and -4; SiLU 3/4 log 3 and -1/4 log 3.
    return np.array([[3 * np.log(3), np.log(3)]])


# src/topics/neural-networks/activation-functions.py:1084
def bce_with_logits(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Binary cross-entropy of logits z and labels y, and its derivative in z."""
    return y * softplus(-z) + (1 - y) * softplus(z), sigmoid(z) - y


# src/topics/neural-networks/activation-functions.py:1112
def prelu_backward(z: np.ndarray, a: np.ndarray, dh: np.ndarray) -> tuple:
    """dz (n, d) and da (d,) of PReLU; at z = 0 take the left derivative."""
    return dh * np.where(z > 0, 1.0, a), (dh * np.minimum(z, 0.0)).sum(axis=0)


# src/topics/neural-networks/activation-functions.py:1140
def gated_width(d: int, multiple: int, factor: float = 1.0) -> int:
    """Width of Llama's feed-forward layers for model width d."""
    width = int(factor * int(8 * d / 3))
    return multiple * -(-width // multiple)


# src/topics/neural-networks/activation-functions.py:1169
def balance_slope(name: str, step: float = 1e-4) -> float:
    """Slope at q = 1 of the map of mean squares, with the gain that fixes q = 1."""
    phi, _ = pair(name)
    up, down = (gaussian_mean_square(phi, 1 + s) for s in (step, -step))
    return gains(name)[0] ** 2 * (up - down) / (2 * step)


# src/topics/neural-networks/activation-functions.py:343
def test_activations_match_torch():
    rng = np.random.default_rng(1)
    for name in NAMES:
        phi, d_phi = pair(name)
        for trial in range(24):
            shape = tuple(int(d) for d in rng.integers(0, 6, size=1 + trial % 3))
            z = rng.normal(size=shape) * [0.01, 1, 5, 30][trial % 4]
            check_against_torch(name, phi, d_phi, z)
        edges = np.outer([1, -1], [0, 1e-300, 1e-8, 20, 38, 745, 1e3, 1e4])
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            check_against_torch(name, phi, d_phi, edges)


# src/topics/neural-networks/activation-functions.py:365
def test_network_gradients_match_torch():
    rng = np.random.default_rng(2)
    for trial in range(36):
        name = NAMES[trial % len(NAMES)]
        sizes = [int(d) for d in rng.permutation(np.arange(2, 10))[: 3 + trial % 3]]
        params = [(W, rng.normal(size=b.shape))
                  for W, b in init_params(sizes, 1.5, rng)]
        n = 1 + trial % 6
        X, y = rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], size=n)
        leaves = [[torch.tensor(a, requires_grad=True) for a in p] for p in params]
        H = torch.tensor(X)
        for l, (W, b) in enumerate(leaves):
            H = H @ W + b
            H = torch_function(name)(H) if l < len(leaves) - 1 else H
        F.cross_entropy(H, torch.tensor(y)).backward()
        ours = gradients(params, X, y, *pair(name))
        for mine, theirs in zip(ours, leaves):
            for a, t in zip(mine, theirs):
                assert np.abs(a - t.grad.numpy()).max() < 1e-10, name


# src/topics/neural-networks/activation-functions.py:386
def test_identities():
    z = np.random.default_rng(3).normal(size=500) * 5
    assert np.abs(np.tanh(z) - (2 * sigmoid(2 * z) - 1)).max() < 1e-14
    for name in ("relu", "gelu", "silu", "gelu_tanh", "softplus"):
        phi, d_phi = pair(name)
        assert np.abs(phi(z) - phi(-z) - z).max() < 1e-13
        assert np.abs(d_phi(z) + d_phi(-z) - 1).max() < 1e-13
    assert d_sigmoid(z).max() <= 0.25


# src/topics/neural-networks/activation-functions.py:396
def test_published_constants():
    assert abs(GELU_SCALE - np.sqrt(2 / np.pi)) < 1e-15
    assert abs(0.134145 - 3 * 0.044715) < 1e-15
    assert softplus(0.0) == np.log(2) and sigmoid(0.0) == 0.5
    assert sigmoid(np.array(-745.0)) > 0 and d_sigmoid(np.array(50.0)) > 0


# src/topics/neural-networks/activation-functions.py:663
def test_glu_matches_torch():
    rng = np.random.default_rng(5)
    for trial in range(24):
        name = ["sigmoid", "gelu", "silu", "relu", "gelu_tanh", "tanh"][trial % 6]
        n, (d, m, d_out) = trial % 5, rng.permutation(np.arange(1, 9))[:3]
        scale = [1, 1, 30][trial % 3]
        arrays = [rng.normal(size=s) for s in ((n, d), (d, m), (d, m), (m, d_out))]
        arrays[0] *= scale
        dY = rng.normal(size=(n, d_out))
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        Xt, Wt, Vt, Ot = leaves
        out = (torch_function(name)(Xt @ Wt) * (Xt @ Vt)) @ Ot
        out.backward(torch.tensor(dY))
        Y, G, U, H = glu_forward(*arrays, pair(name)[0])
        want = out.detach().numpy()
        assert Y.shape == (n, d_out) and np.allclose(Y, want, rtol=1e-10, atol=1e-10)
        grads = glu_backward(dY, *arrays, G, U, H, *pair(name))
        for mine, t in zip(grads, leaves):
            assert np.allclose(mine, t.grad.numpy(), rtol=1e-10, atol=1e-10), name
    X, (W, V) = rng.normal(size=(4, 3)), rng.normal(size=(2, 3, 6))
    both = torch.tensor(np.concatenate([X @ V, X @ W], axis=1))  # the gate comes second
    assert np.allclose(glu_forward(X, W, V, np.eye(6), sigmoid)[0], F.glu(both).numpy())
    assert np.allclose(glu_forward(X, W, W, np.eye(6), relu)[0], relu2(X @ W))


# src/topics/neural-networks/activation-functions.py:688
def test_output_bits_matches_the_normal_distribution():
    k = np.arange(1, 256) / 256
    edges = np.concatenate([[-np.inf], np.log(k / (1 - k)), [np.inf]])
    for std in (0.1, 0.5, 1.7, 10.0, 1000.0):
        p = np.diff(ndtr(edges / std))
        p = p[p > 0]
        assert abs(output_bits(std) + (p * np.log2(p)).sum()) < 2e-3
    assert output_bits(1e6) < 1.01


# src/topics/neural-networks/activation-functions.py:698
def test_two_gated_units_multiply_and_the_kink_is_inconsistent():
    g, u = np.random.default_rng(11).normal(size=(2, 50))
    for phi in (relu, gelu, silu):
        assert np.abs(phi(g) * u + phi(-g) * -u - g * u).max() < 1e-14
    t = torch.zeros(1, requires_grad=True)
    (F.relu(t) - F.relu(-t)).backward()
    assert t.grad.item() == 0


# src/topics/neural-networks/activation-functions.py:707
def test_as_sigmoid_is_the_same_function():
    rng = np.random.default_rng(6)
    for trial in range(24):
        sizes = [int(d) for d in rng.integers(1, 9, size=2 + trial % 5)]
        params = [(W, rng.normal(size=b.shape))
                  for W, b in init_params(sizes, 1.3, rng)]
        X = rng.normal(size=(trial % 4, sizes[0])) * [1, 20][trial % 2]
        want = forward(params, X, np.tanh)[0][-1]
        got = forward(as_sigmoid(params), X, sigmoid)[0][-1]
        assert np.abs(got - want).max(initial=0) < 1e-11


# src/topics/neural-networks/activation-functions.py:719
def test_gains():
    gain = torch.nn.init.calculate_gain
    assert max(abs(g - gain("relu")) for g in gains("relu")) < 1e-6
    assert abs(gains("leaky_relu")[0] - gain("leaky_relu", 0.01)) < 1e-6
    assert abs(gains("selu")[0] - 1) < 1e-6 and gain("selu") == 0.75
    assert gain("sigmoid") == 1 and gain("tanh") == 5 / 3
    for name in ("gelu", "silu"):
        try:
            assert gain(name) is None
        except ValueError as error:
            assert "Unsupported" in str(error)
    assert gaussian_mean_square(d_gelu) < 0.5 < gaussian_mean_square(d_gelu, 4.0)
    assert 1.59 < gains("tanh")[0] < 1.60 and 1.46 < gains("tanh")[1] < 1.47
    for name in NAMES:
        try:
            gain(name)
            known = True
        except ValueError:
            known = False
        assert known == (name in ("sigmoid", "tanh", "relu", "leaky_relu", "selu"))


# src/topics/neural-networks/activation-functions.py:741
def test_initial_weights_have_the_stated_scale():
    rng = np.random.default_rng(11)
    for gain in (0.5, 2.0):
        params = init_params([400, 300, 500, 200], gain, rng)
        for (W, b), g in zip(params, (gain, gain, 1.0)):
            assert abs(W.std() * np.sqrt(len(W)) / g - 1) < 0.02 and not b.any()


# src/topics/neural-networks/activation-functions.py:749
def test_gains_hold_in_simulation():
    rng = np.random.default_rng(7)
    for name in NAMES:
        phi, d_phi = pair(name)
        z = rng.normal(size=(300, 400))
        W = rng.normal(size=(400, 500)) * gains(name)[0] / 20
        tolerance = 0.35 if name == "relu2" else 0.1
        assert abs(((phi(z) @ W) ** 2).mean() - 1) < tolerance, name
        W = rng.normal(size=(400, 400)) * gains(name)[1] / 20
        dz = (rng.normal(size=(300, 400)) @ W.T) * d_phi(z)
        assert abs((dz**2).mean() - 1) < tolerance, name


# src/topics/neural-networks/activation-functions.py:762
def test_kink_is_zero_and_inconsistent():
    t = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (F.relu(t) - F.relu(-t)).sum().backward()
    assert t.grad.tolist() == [0, 0, 0]
    assert not (d_relu(np.zeros(3)) + d_relu(-np.zeros(3))).any()


# src/topics/neural-networks/activation-functions.py:769
def test_gelu_gaps():
    z = np.linspace(-6, 6, 5001)
    t = torch.tensor(z)
    gap = (F.gelu(t, approximate="tanh") - F.gelu(t)).abs().max().item()
    assert abs(np.abs(gelu_tanh(z) - gelu(z)).max() - gap) < 1e-12
    assert 4.6e-4 < gap < 4.8e-4
    assert 0.020 < np.abs(quick_gelu(z) - gelu(z)).max() < 0.021
    assert abs(silu(z).min() + 0.2785) < 1e-4 and abs(gelu(z).min() + 0.17) < 1e-4


# src/topics/neural-networks/activation-functions.py:779
def test_output_bits():
    assert 1.0 <= output_bits(1e6) < 1.01
    assert output_bits(0.1) < output_bits(1.7) > output_bits(10)


# src/topics/neural-networks/activation-functions.py:1017
def test_a_dead_unit_gets_no_gradient_and_a_leaky_one_does():
    rng = np.random.default_rng(8)
    for _ in range(20):
        d, m, K, n = (int(k) for k in rng.permutation(np.arange(2, 9))[:4])
        params = init_params([d, m, K], 1.0, rng)
        X, y = rng.normal(size=(n, d)), rng.integers(0, K, size=n)
        params[0][1][0] = -1e3  # throw unit 0 below zero
        (dW, db), _ = gradients(params, X, y, relu, d_relu)
        assert not dW[:, 0].any() and db[0] == 0
        (dW, db), _ = gradients(params, X, y, leaky_relu, d_leaky_relu)
        assert dW[:, 0].any() and db[0] != 0


# src/topics/neural-networks/activation-functions.py:1030
def test_stable_forms_match_torch():
    z = np.array([-1e4, -745, -200, -1, 0, 1, 200, 745, 1e4])
    t = torch.tensor(z)
    with np.errstate(all="raise", under="ignore"):
        assert np.allclose(-softplus(-z), F.logsigmoid(t).numpy(), rtol=1e-14)
        assert np.allclose(sigmoid(z), torch.sigmoid(t).numpy(), rtol=1e-14)
    default = F.softplus(torch.tensor([20.5], dtype=torch.float64)).item()
    assert 1e-10 < abs(default - softplus(20.5)) < 2e-9


# src/topics/neural-networks/activation-functions.py:1058
def test_gated_by_hand():
    W = np.log(3) * np.array([[1.0, 1.0], [0.0, -1.0]])
    V = np.array([[2.0, 4.0], [1.0, -4.0]])
    H = glu_forward(np.array([[1.0, 2.0]]), W, V, np.eye(2), silu)[0]
    assert np.abs(gated_by_hand() - H).max() < 1e-12


# src/topics/neural-networks/activation-functions.py:1092
def test_bce_with_logits():
    rng = np.random.default_rng(9)
    for trial in range(24):
        shape = tuple(int(d) for d in rng.integers(0, 6, size=1 + trial % 3))
        z, y = rng.normal(size=shape) * [1, 50, 1e4][trial % 3], rng.random(shape)
        t = torch.tensor(z, requires_grad=True)
        want = F.binary_cross_entropy_with_logits(t, torch.tensor(y), reduction="none")
        want.sum().backward()
        loss, grad = bce_with_logits(z, y)
        assert np.allclose(loss, want.detach().numpy(), rtol=1e-12, atol=1e-12)
        assert np.allclose(grad, t.grad.numpy(), rtol=1e-12, atol=1e-12)


# src/topics/neural-networks/activation-functions.py:1120
def test_prelu_backward():
    rng = np.random.default_rng(10)
    for trial in range(24):
        n, d = trial % 6, 2 + trial % 5
        z, dh, a = rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.normal(size=d)
        z[:, 0] = 0.0
        zt, at = (torch.tensor(v, requires_grad=True) for v in (z, a))
        F.prelu(zt, at).backward(torch.tensor(dh))
        dz, da = prelu_backward(z, a, dh)
        assert np.abs(dz - zt.grad.numpy()).max(initial=0) < 1e-12
        assert da.shape == a.shape and np.abs(da - at.grad.numpy()).max() < 1e-12


# src/topics/neural-networks/activation-functions.py:1149
def test_gated_width():
    assert gated_width(4096, 256) == 11_008          # Llama 1 and 2, 7B
    assert gated_width(5120, 256) == 13_824          # 13B
    assert gated_width(8192, 4096, 1.3) == 28_672    # Llama 2, 70B
    assert gated_width(4096, 1024, 1.3) == 14_336    # Llama 3, 8B
    assert gated_width(768, 256) == 2048             # 8d/3 is a multiple already


# src/topics/neural-networks/activation-functions.py:1179
def test_balance_slope():
    assert abs(balance_slope("relu") - 1) < 1e-6
    assert abs(balance_slope("relu2") - 2) < 1e-6
    assert balance_slope("sigmoid") < balance_slope("tanh") < 0.6
    assert balance_slope("selu") < 1
    for name in ("gelu", "silu", "mish"):
        assert 1.02 < balance_slope(name) < 1.3
    assert balance_slope("silu") > balance_slope("gelu")
    u = np.linspace(-12, 12, 48_000)
    p = np.exp(-(u**2) / 2)
    extra = (p * u**3 * sigmoid(u) * d_sigmoid(u)).sum() / (p * silu(u) ** 2).sum()
    assert abs(balance_slope("silu") - 1 - extra) < 1e-6
