# Generated from src/topics/notebooks/01-numpy-neural-net.py: edit that file, then run doit. digest:935f0efd12f6b09e

"""Tests of notebooks/01-numpy-neural-net: A neural network in NumPy."""

import numpy as np
import torch  # only to check our results against
import torch.nn.functional as F
from collections.abc import Callable, Iterator
from sklearn.metrics import confusion_matrix
from sklearn.neural_network import MLPClassifier


# src/topics/notebooks/01-numpy-neural-net.py:107
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/notebooks/01-numpy-neural-net.py:114
def cross_entropy(S: np.ndarray, y: np.ndarray) -> float:
    """Mean over the rows of -log softmax(S)[y]; scores S (n, K), classes y (n,)."""
    shifted = S - S.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(y)), y]).mean())


# src/topics/notebooks/01-numpy-neural-net.py:164
def d_cross_entropy(S: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dS = (softmax(S) - onehot(y)) / n, shape (n, K)."""
    dS = softmax(S)
    dS[np.arange(len(y)), y] -= 1
    return dS / len(y)


# src/topics/notebooks/01-numpy-neural-net.py:171
def one_layer_gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """dW (d, K) and db (K,) of the loss of scores X @ W + b."""
    dS = d_cross_entropy(X @ params["W"] + params["b"], y)
    return {"W": X.T @ dS, "b": dS.sum(axis=0)}


# src/topics/notebooks/01-numpy-neural-net.py:184
def numeric_gradient(
    loss_of: Callable[[np.ndarray], float], A: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Central differences of `loss_of` at A, one entry at a time; the shape of A."""
    dA = np.zeros_like(A)
    for index in np.ndindex(A.shape):
        up, down = A.copy(), A.copy()
        up[index] += step
        down[index] -= step
        dA[index] = (loss_of(up) - loss_of(down)) / (2 * step)
    return dA


# src/topics/notebooks/01-numpy-neural-net.py:232
def random_classes(rng: np.random.Generator, n: int, K: int) -> np.ndarray:
    """n classes below K, each at least once if n allows it."""
    return rng.permutation(np.concatenate([np.arange(K), rng.integers(K, size=n)])[:n])


# src/topics/notebooks/01-numpy-neural-net.py:311
def forward(
    params: dict[str, np.ndarray], X: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (n, d) to Z (n, m), H (n, m) and the scores S (n, K)."""
    Z = X @ params["W1"] + params["b1"]
    H = np.maximum(Z, 0)
    S = H @ params["W2"] + params["b2"]
    return Z, H, S


# src/topics/notebooks/01-numpy-neural-net.py:340
def he_start(
    d: int, m: int, K: int, rng: np.random.Generator, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """Normal weights with He's standard deviation times `scale`; biases zero."""
    return {
        "W1": scale * rng.normal(0, np.sqrt(2 / d), (d, m)), "b1": np.zeros(m),
        "W2": scale * rng.normal(0, np.sqrt(2 / m), (m, K)), "b2": np.zeros(K),
    }


# src/topics/notebooks/01-numpy-neural-net.py:350
def loss_of(params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray) -> float:
    """Mean cross-entropy of the network on X (n, d), y (n,)."""
    return cross_entropy(forward(params, X)[-1], y)


# src/topics/notebooks/01-numpy-neural-net.py:375
def network_size(n: int, d: int, m: int, K: int) -> tuple[int, int]:
    """Parameters; operations of both matrix products for n inputs."""
    return m * (d + 1) + K * (m + 1), 2 * n * (d * m + m * K)


# src/topics/notebooks/01-numpy-neural-net.py:397
def random_problem(
    rng: np.random.Generator, n: int, d: int, m: int, K: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Parameters with random biases, X (n, d) and y (n,)."""
    params = he_start(d, m, K, rng)
    params["b1"], params["b2"] = rng.normal(size=m), rng.normal(size=K)
    return params, rng.normal(size=(n, d)), random_classes(rng, n, K)


# src/topics/notebooks/01-numpy-neural-net.py:547
def gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """dL/dA for each parameter A, of the shape of A; X (n, d), y (n,)."""
    Z, H, S = forward(params, X)
    dS = d_cross_entropy(S, y)
    dH = dS @ params["W2"].T
    dZ = dH * (Z > 0)
    return {
        "W1": X.T @ dZ, "b1": dZ.sum(axis=0),
        "W2": H.T @ dS, "b2": dS.sum(axis=0),
    }


# src/topics/notebooks/01-numpy-neural-net.py:611
def tanh_gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """As `gradients`, for H = tanh(Z)."""
    H = np.tanh(X @ params["W1"] + params["b1"])
    dS = d_cross_entropy(H @ params["W2"] + params["b2"], y)
    dZ = dS @ params["W2"].T * (1 - H**2)
    return {
        "W1": X.T @ dZ, "b1": dZ.sum(axis=0),
        "W2": H.T @ dS, "b2": dS.sum(axis=0),
    }


# src/topics/notebooks/01-numpy-neural-net.py:661
def momentum_step(
    params: dict[str, np.ndarray], velocity: dict[str, np.ndarray],
    grads: dict[str, np.ndarray], lr: float, momentum: float,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """New parameters and velocities."""
    velocity = {k: momentum * velocity[k] - lr * grads[k] for k in params}
    return {k: params[k] + velocity[k] for k in params}, velocity


# src/topics/notebooks/01-numpy-neural-net.py:670
def minibatches(order: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """The indices `order` (n,) in slices of `batch`; the last may be shorter."""
    for first in range(0, len(order), batch):
        yield order[first : first + batch]


# src/topics/notebooks/01-numpy-neural-net.py:676
def sgd(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray, rng=None,
    epochs: int = 30, lr: float = 0.1, momentum: float = 0.9, batch: int = 32,
    gradients_of: Callable = gradients, step: Callable = momentum_step,
) -> list[dict[str, np.ndarray]]:
    """Parameters at the start and after each epoch; without rng, no shuffling."""
    velocity = {k: np.zeros_like(A) for k, A in params.items()}
    history, order = [params], np.arange(len(y))
    for _ in range(epochs):
        if rng is not None:
            order = rng.permutation(order)
        for rows in minibatches(order, batch):
            grads = gradients_of(params, X[rows], y[rows])
            params, velocity = step(params, velocity, grads, lr, momentum)
        history.append(params)
    return history


# src/topics/notebooks/01-numpy-neural-net.py:694
def accuracy(params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray) -> float:
    """Share of the rows of X whose highest score is at the right class."""
    return float((forward(params, X)[-1].argmax(axis=1) == y).mean())


# src/topics/notebooks/01-numpy-neural-net.py:773
def nesterov_step(
    params: dict[str, np.ndarray], velocity: dict[str, np.ndarray],
    grads: dict[str, np.ndarray], lr: float, momentum: float,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """New parameters and velocities."""
    velocity = {k: momentum * velocity[k] - lr * grads[k] for k in params}
    ahead = {k: momentum * velocity[k] - lr * grads[k] for k in params}
    return {k: params[k] + ahead[k] for k in params}, velocity


# src/topics/notebooks/01-numpy-neural-net.py:786
def check_params(model: MLPClassifier) -> dict[str, np.ndarray]:
    """A copy of the parameters under our names."""
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    return {k: A.copy() for k, A in zip(("W1", "b1", "W2", "b2"), (W1, b1, W2, b2))}


# src/topics/notebooks/01-numpy-neural-net.py:792
def random_library_run(rng: np.random.Generator, epochs: int, **settings) -> tuple:
    """Start, data and batch size of a random problem, and MLPClassifier trained on it."""
    d, m = (int(size) for size in rng.permutation(np.arange(1, 8))[:2])
    K = int(rng.integers(3, 6))  # for two classes the library has one output, not two
    n = int(rng.integers(2 * K, 30))
    batch = int(rng.integers(1, min(n, 11) + 1))
    _, X, y = random_problem(rng, n, d, m, K)
    settings = {"momentum": 0.0, "alpha": 0.0} | settings
    untrained, model = (
        MLPClassifier((m,), solver="sgd", learning_rate_init=lr, shuffle=False,
                      batch_size=batch, random_state=0, **settings)
        for lr in (1e-300, 0.1))
    untrained.partial_fit(X, y, classes=np.arange(K))  # draws its weights, no more
    for _ in range(epochs):
        model.partial_fit(X, y, classes=np.arange(K))
    return check_params(untrained), X, y, batch, model


# src/topics/notebooks/01-numpy-neural-net.py:848
def library_start(d: int, m: int, K: int, rng: np.random.RandomState) -> dict:
    """Weights and biases as MLPClassifier draws them for ReLU, in its order."""
    params = {}
    for i, (d_in, d_out) in enumerate([(d, m), (m, K)], start=1):
        bound = np.sqrt(6 / (d_in + d_out))
        params[f"W{i}"] = rng.uniform(-bound, bound, (d_in, d_out))
        params[f"b{i}"] = rng.uniform(-bound, bound, d_out)
    return params


# src/topics/notebooks/01-numpy-neural-net.py:1014
def decayed_gradients(
    params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray, alpha: float
) -> dict[str, np.ndarray]:
    """`gradients` of the loss plus alpha / (2 n) times the sum of squared weights."""
    grads = gradients(params, X, y)
    for name in ("W1", "W2"):
        grads[name] = grads[name] + alpha / len(y) * params[name]
    return grads


# src/topics/notebooks/01-numpy-neural-net.py:1135
def confusions(y: np.ndarray, said: np.ndarray, K: int) -> np.ndarray:
    """Counts (K, K): row, the true class y (n,); column, the answer said (n,)."""
    counts = np.zeros((K, K), dtype=int)
    np.add.at(counts, (y, said), 1)
    return counts


# src/topics/notebooks/01-numpy-neural-net.py:1167
def shift_images(X: np.ndarray, right: int, down: int) -> np.ndarray:
    """Images (n, 64), moved; what leaves the frame is lost, blanks come in."""
    images, moved = X.reshape(-1, 8, 8), np.zeros((len(X), 8, 8))
    to = [slice(max(s, 0), 8 + min(s, 0)) for s in (down, right)]
    of = [slice(max(-s, 0), 8 + min(-s, 0)) for s in (down, right)]
    moved[:, to[0], to[1]] = images[:, of[0], of[1]]
    return moved.reshape(-1, 64)


# src/topics/notebooks/01-numpy-neural-net.py:237
def test_cross_entropy_matches_torch():
    rng = np.random.default_rng(0)
    for _ in range(25):
        n, K = rng.integers(1, 9, size=2)
        S = rng.normal(size=(n, K)) * 10 ** rng.uniform(-2, 3)
        y = rng.integers(K, size=n)
        leaf = torch.tensor(S, requires_grad=True)
        expected = F.cross_entropy(leaf, torch.tensor(y))
        expected.backward()
        np.testing.assert_allclose(cross_entropy(S, y), expected.item(), rtol=1e-12)
        np.testing.assert_allclose(d_cross_entropy(S, y), leaf.grad, atol=1e-14)
        assert d_cross_entropy(S, y).shape == S.shape
        probabilities = torch.softmax(torch.tensor(S), dim=-1)
        np.testing.assert_allclose(softmax(S), probabilities, rtol=1e-12, atol=1e-15)
    assert cross_entropy(np.array([[1e4, 0.0], [0.0, 0.0]]), np.array([1, 0])) > 4999


# src/topics/notebooks/01-numpy-neural-net.py:254
def test_one_layer_gradients_match_torch():
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, d, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:3])
        X, y = rng.normal(size=(n, d)), rng.integers(K, size=n)
        params = {"W": rng.normal(size=(d, K)), "b": rng.normal(size=K)}
        leaves = {k: torch.tensor(a, requires_grad=True) for k, a in params.items()}
        S = torch.tensor(X) @ leaves["W"] + leaves["b"]
        F.cross_entropy(S, torch.tensor(y)).backward()
        for name, grad in one_layer_gradients(params, X, y).items():
            np.testing.assert_allclose(grad, leaves[name].grad, atol=1e-13)


# src/topics/notebooks/01-numpy-neural-net.py:267
def test_numeric_gradient():
    A = np.random.default_rng(2).normal(size=(3, 4))
    before = A.copy()
    slopes = numeric_gradient(lambda B: float((B**3).sum()), A)
    np.testing.assert_allclose(slopes, 3 * A**2, atol=1e-9)
    np.testing.assert_array_equal(A, before)  # the argument is left alone


# src/topics/notebooks/01-numpy-neural-net.py:383
def test_network_size():
    sizes = he_start(5, 3, 2, np.random.default_rng(0))
    total = sum(A.size for A in sizes.values())
    assert network_size(7, 5, 3, 2) == (total, 2 * 7 * (15 + 6))
    assert network_size(1, 64, 48, 10) == (3_610, 7_104)
    assert network_size(1, 784, 300, 10) == (238_510, 476_400)  # 66 times as large


# src/topics/notebooks/01-numpy-neural-net.py:406
def test_forward_matches_torch():
    rng = np.random.default_rng(3)
    for trial in range(25):
        n, d, m, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:4])
        params, X, _ = random_problem(rng, 0 if trial == 0 else n, d, m, K)
        layers = [torch.nn.Linear(d, m, dtype=torch.float64), torch.nn.ReLU(),
                  torch.nn.Linear(m, K, dtype=torch.float64)]
        with torch.no_grad():
            for layer, i in ((layers[0], 1), (layers[2], 2)):
                layer.weight.copy_(torch.tensor(params[f"W{i}"].T))  # PyTorch: (out, in)
                layer.bias.copy_(torch.tensor(params[f"b{i}"]))
            expected = torch.nn.Sequential(*layers)(torch.tensor(X)).numpy()
        Z, H, S = forward(params, X)
        np.testing.assert_allclose(S, expected, atol=1e-13)
        assert Z.shape == H.shape == (len(X), m) and ((H == Z) | (H == 0)).all()


# src/topics/notebooks/01-numpy-neural-net.py:423
def test_he_start():
    rng = np.random.default_rng(4)
    params = he_start(200, 300, 100, rng)
    assert [A.shape for A in params.values()] == [(200, 300), (300,), (300, 100), (100,)]
    assert abs(params["W1"].var() * 200 / 2 - 1) < 0.05
    assert abs(params["W2"].var() * 300 / 2 - 1) < 0.05
    assert not params["b1"].any() and not params["b2"].any()
    one, ten = (he_start(3, 4, 5, np.random.default_rng(0), s) for s in (1, 10))
    np.testing.assert_allclose(ten["W1"], 10 * one["W1"])
    np.testing.assert_allclose(ten["W2"], 10 * one["W2"])


# src/topics/notebooks/01-numpy-neural-net.py:581
def test_gradients_match_torch():
    rng = np.random.default_rng(5)
    for trial in range(25):
        n, d, m, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:4])
        params, X, y = random_problem(rng, n, d, m, K)
        X = X * 10 ** rng.uniform(-1, 2)
        leaves = {k: torch.tensor(a, requires_grad=True) for k, a in params.items()}
        H = torch.relu(torch.tensor(X) @ leaves["W1"] + leaves["b1"])
        F.cross_entropy(H @ leaves["W2"] + leaves["b2"], torch.tensor(y)).backward()
        ours = gradients(params, X, y)
        assert list(ours) == list(params)
        for name, grad in ours.items():
            np.testing.assert_allclose(grad, leaves[name].grad, rtol=1e-10, atol=1e-12)


# src/topics/notebooks/01-numpy-neural-net.py:596
def test_zero_start_has_no_gradient_in_its_weights():
    params = he_start(5, 4, 3, np.random.default_rng(6), scale=0)
    X, y = np.ones((2, 5)), np.array([0, 1])
    grads = gradients(params, X, y)
    assert not grads["W1"].any() and not grads["b1"].any() and not grads["W2"].any()
    np.testing.assert_allclose(grads["b2"], np.array([-1, -1, 2]) / 6)


# src/topics/notebooks/01-numpy-neural-net.py:627
def test_tanh_gradients():
    rng = np.random.default_rng(7)
    for _ in range(20):
        n, d, m, K = (int(size) for size in rng.permutation(np.arange(1, 9))[:4])
        params, X, y = random_problem(rng, n, d, m, K)
        leaves = {k: torch.tensor(a, requires_grad=True) for k, a in params.items()}
        H = torch.tanh(torch.tensor(X) @ leaves["W1"] + leaves["b1"])
        F.cross_entropy(H @ leaves["W2"] + leaves["b2"], torch.tensor(y)).backward()
        for name, grad in tanh_gradients(params, X, y).items():
            np.testing.assert_allclose(grad, leaves[name].grad, rtol=1e-10, atol=1e-12)


# src/topics/notebooks/01-numpy-neural-net.py:739
def test_minibatches_and_order():
    for n, batch in [(10, 3), (4, 4), (3, 8), (1, 1)]:
        parts = list(minibatches(np.arange(n)[::-1], batch))
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(n)[::-1])
        assert all(len(part) == batch for part in parts[:-1])
    assert list(minibatches(np.arange(0), 4)) == []


# src/topics/notebooks/01-numpy-neural-net.py:747
def test_sgd_keeps_its_history():
    rng = np.random.default_rng(8)
    params, X, y = random_problem(rng, 20, 5, 4, 3)
    before = {k: A.copy() for k, A in params.items()}
    history = sgd(params, X, y, rng, epochs=4, batch=6)
    assert len(history) == 5 and history[0] is params
    assert all(np.array_equal(params[k], before[k]) for k in params)
    assert loss_of(history[-1], X, y) < loss_of(history[0], X, y)
    scores = forward(params, X)[2]
    np.testing.assert_allclose(loss_of(params, X, y), cross_entropy(scores, y))
    plain = sgd(params, X, y)[-1]  # the defaults that the text names
    spelled = sgd(params, X, y, None, 30, 0.1, 0.9, 32)[-1]
    assert all(np.array_equal(plain[k], spelled[k]) for k in plain)
    right = (forward(history[-1], X)[2].argmax(axis=1) == y).mean()
    assert accuracy(history[-1], X, y) == right


# src/topics/notebooks/01-numpy-neural-net.py:810
def test_sgd_matches_mlpclassifier():
    rng = np.random.default_rng(9)
    for trial in range(24):
        momentum = (0.0, 0.5, 0.9)[trial % 3]
        first, X, y, batch, model = random_library_run(
            rng, 5, momentum=momentum, nesterovs_momentum=False)
        ours = sgd(first, X, y, None, 5, 0.1, momentum, batch)[-1]
        for name, expected in check_params(model).items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-11)
        P = softmax(forward(ours, X)[2])
        np.testing.assert_allclose(P, model.predict_proba(X), atol=1e-11)


# src/topics/notebooks/01-numpy-neural-net.py:824
def test_nesterov_step():
    rng = np.random.default_rng(10)
    for _ in range(20):
        first, X, y, batch, model = random_library_run(rng, 4, momentum=0.9)
        ours = sgd(first, X, y, None, 4, 0.1, 0.9, batch, step=nesterov_step)[-1]
        for name, expected in check_params(model).items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-11)


# src/topics/notebooks/01-numpy-neural-net.py:1027
def test_decayed_gradients():
    rng = np.random.default_rng(11)
    for alpha in np.linspace(0, 1, 20):
        first, X, y, batch, model = random_library_run(rng, 3, alpha=alpha)
        ours = sgd(first, X, y, None, 3, 0.1, 0.0, batch, gradients_of=(
            lambda params, X, y: decayed_gradients(params, X, y, alpha)))[-1]
        for name, expected in check_params(model).items():
            np.testing.assert_allclose(ours[name], expected, atol=1e-11)


# src/topics/notebooks/01-numpy-neural-net.py:1038
def test_library_start():
    X, y = np.random.default_rng(12).normal(size=(30, 5)), np.arange(30) % 3
    for seed in range(5):
        model = MLPClassifier((4,), solver="sgd", learning_rate_init=1e-300,
                              momentum=0, alpha=0, random_state=seed)
        expected = check_params(model.partial_fit(X, y, classes=np.arange(3)))
        ours = library_start(5, 4, 3, np.random.RandomState(seed))
        for name in ours:
            np.testing.assert_array_equal(ours[name], expected[name])


# src/topics/notebooks/01-numpy-neural-net.py:1145
def test_confusions():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, K = int(rng.integers(0, 40)), int(rng.integers(2, 7))
        y, answers = rng.integers(K, size=(2, n))
        expected = confusion_matrix(y, answers, labels=np.arange(K)) if n else 0
        np.testing.assert_array_equal(confusions(y, answers, K), expected)
    one = np.zeros(4, dtype=int)  # for a single class the library only warns
    np.testing.assert_array_equal(confusions(one, one, 1), [[4]])


# src/topics/notebooks/01-numpy-neural-net.py:1179
def test_shift_images():
    X = np.random.default_rng(14).random((5, 64))
    np.testing.assert_array_equal(shift_images(X, 0, 0), X)
    for right, down in [(1, 0), (-1, 0), (0, 1), (0, -2), (3, -1)]:
        moved = shift_images(X, right, down).reshape(5, 8, 8)
        for i in range(8):
            for j in range(8):
                inside = 0 <= i - down < 8 and 0 <= j - right < 8
                source = X.reshape(5, 8, 8)[:, i - down, j - right] if inside else 0
                np.testing.assert_array_equal(moved[:, i, j], source)
