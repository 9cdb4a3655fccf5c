# Generated from src/topics/neural-networks/backpropagation.py: edit that file, then run doit. digest:b057ca0e932684ca

"""Tests of neural-networks/backpropagation: Backpropagation."""

import numpy as np
import torch
import torch.nn.functional as F
from collections.abc import Callable


# src/topics/neural-networks/backpropagation.py:58
def init_params(sizes: list[int], rng: np.random.Generator, gain: float = 2.0) -> list:
    """Pairs (W, b), shapes (d_in, d_out) and (d_out,), with Var(W) = gain / d_in."""
    return [
        (rng.normal(0, np.sqrt(gain / d_in), (d_in, d_out)), rng.normal(0, 0.1, d_out))
        for d_in, d_out in zip(sizes[:-1], sizes[1:])
    ]


# src/topics/neural-networks/backpropagation.py:66
def activate(z: np.ndarray, kind: str) -> np.ndarray:
    """The activation phi(z), elementwise."""
    if kind == "relu":
        return np.maximum(z, 0)
    return np.tanh(z) if kind == "tanh" else 1 / (1 + np.exp(-z))


# src/topics/neural-networks/backpropagation.py:73
def forward(params: list, X: np.ndarray, kind: str = "relu") -> list:
    """Outputs h[0] = X (n, d_0), h[1], ..., h[L] = logits (n, K), which are linear."""
    h = [X]
    for l, (W, b) in enumerate(params, start=1):
        z = h[l - 1] @ W + b
        h.append(activate(z, kind) if l < len(params) else z)
    return h


# src/topics/neural-networks/backpropagation.py:82
def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over the n rows of -log softmax(logits)[y]; logits (n, K), y (n,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return (log_sum - shifted[np.arange(len(y)), y]).mean()


# src/topics/neural-networks/backpropagation.py:90
def numerical_gradient(f: Callable, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of the number f() in every entry of x, which f reads."""
    grad = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        saved = x[i]
        x[i] = saved + step
        above = f()
        x[i] = saved - step
        below = f()
        x[i] = saved
        grad[i] = (above - below) / (2 * step)
    return grad


# src/topics/neural-networks/backpropagation.py:104
def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """0 for equal arrays, 1 for opposite ones, whatever their scale."""
    total = np.linalg.norm(a) + np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / total) if total > 0 else 0.0


# src/topics/neural-networks/backpropagation.py:246
def activate_grad(h: np.ndarray, kind: str) -> np.ndarray:
    """phi'(z), from the saved output h = phi(z)."""
    if kind == "relu":
        return (h > 0).astype(h.dtype)
    return 1 - h**2 if kind == "tanh" else h * (1 - h)


# src/topics/neural-networks/backpropagation.py:253
def backward(params: list, h: list, delta: np.ndarray, kind: str = "relu") -> dict:
    """From delta = dL/dlogits (n, K): gradients "W1", "b1", "z1", "h0", ... by name."""
    grads = {}
    for l in range(len(params), 0, -1):
        W, b = params[l - 1]
        grads[f"z{l}"] = delta
        grads[f"W{l}"] = h[l - 1].T @ delta
        grads[f"b{l}"] = delta.sum(axis=0)
        grads[f"h{l - 1}"] = delta @ W.T
        assert grads[f"W{l}"].shape == W.shape and grads[f"b{l}"].shape == b.shape
        if l > 1:
            delta = grads[f"h{l - 1}"] * activate_grad(h[l - 1], kind)
    return grads


# src/topics/neural-networks/backpropagation.py:362
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


# src/topics/neural-networks/backpropagation.py:368
def cross_entropy_grad(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(softmax(logits) - onehot(y)) / n, shape (n, K)."""
    p = softmax(logits)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)


# src/topics/neural-networks/backpropagation.py:394
def torch_gradients(params: list, X: np.ndarray, y: np.ndarray, kind: str) -> dict:
    """The same names as backward(), from torch autograd in float64."""
    named = {"h0": torch.tensor(X, requires_grad=True)}
    for l, (W, b) in enumerate(params, start=1):
        named[f"W{l}"] = torch.tensor(W, requires_grad=True)
        named[f"b{l}"] = torch.tensor(b, requires_grad=True)
        named[f"z{l}"] = named[f"h{l - 1}"] @ named[f"W{l}"] + named[f"b{l}"]
        if l < len(params):
            named[f"h{l}"] = getattr(torch, kind)(named[f"z{l}"])
    for value in named.values():
        value.retain_grad()
    F.cross_entropy(named[f"z{len(params)}"], torch.tensor(y)).backward()
    return {name: value.grad.numpy() for name, value in named.items()}


# src/topics/neural-networks/backpropagation.py:489
class Counted(np.ndarray):
    """An array that adds up the floating-point operations of its matrix products."""

    flops = 0

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        Counted.flops += 2 * self.shape[0] * self.shape[1] * other.shape[1]
        return (np.asarray(self) @ np.asarray(other)).view(Counted)


# src/topics/neural-networks/backpropagation.py:499
def measure_flops(sizes: list[int], n: int) -> tuple[int, int]:
    """Operations in the matrix products of one forward and one backward pass."""
    rng = np.random.default_rng(0)
    params = [(W.view(Counted), b) for W, b in init_params(sizes, rng)]
    X = rng.normal(size=(n, sizes[0])).view(Counted)
    Counted.flops = 0
    h = forward(params, X)
    forward_flops = Counted.flops
    backward(params, h, np.ones((n, sizes[-1])).view(Counted))
    return forward_flops, Counted.flops - forward_flops


# src/topics/neural-networks/backpropagation.py:559
def unbroadcast(g: np.ndarray, shape: tuple) -> np.ndarray:
    """Sum g over the axes along which an array of `shape` was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, d in enumerate(shape) if d == 1), keepdims=True)


# src/topics/neural-networks/backpropagation.py:565
def topological_order(node: "Node", seen: set) -> list:
    """All nodes that `node` was computed from and `node` itself, parents first."""
    if node in seen:
        return []
    seen.add(node)
    before = [topological_order(parent, seen) for parent in node.parents]
    return sum(before, []) + [node]


# src/topics/neural-networks/backpropagation.py:575
class Node:
    """An array, its gradient, and for each parent the VJP that leads back to it."""

    def __init__(self, value: np.ndarray, parents: tuple = (), vjps: tuple = ()):
        self.value, self.parents, self.vjps = np.asarray(value, float), parents, vjps
        self.grad = np.zeros_like(self.value)

    def __add__(self, other: "Node") -> "Node":
        return Node(self.value + other.value, (self, other), (lambda g: g, lambda g: g))

    def __mul__(self, other: "Node") -> "Node":
        return Node(self.value * other.value, (self, other),
                    (lambda g: g * other.value, lambda g: g * self.value))

    def __matmul__(self, other: "Node") -> "Node":
        return Node(self.value @ other.value, (self, other),
                    (lambda g: g @ other.value.T, lambda g: self.value.T @ g))

    def relu(self) -> "Node":
        on = self.value > 0
        return Node(self.value * on, (self,), (lambda g: g * on,))

    def exp(self) -> "Node":
        out = np.exp(self.value)
        return Node(out, (self,), (lambda g: g * out,))

    def sum(self) -> "Node":
        shape = self.value.shape
        return Node(self.value.sum(), (self,), (lambda g: np.broadcast_to(g, shape),))

    def backward(self) -> None:
        """Add d(self)/d(leaf) to the grad of every leaf; self is a scalar."""
        order = topological_order(self, set())
        for node in order:
            if node.parents:  # only leaves accumulate from call to call
                node.grad = np.zeros_like(node.value)
        self.grad = np.ones_like(self.value)
        for node in reversed(order):
            for parent, vjp in zip(node.parents, node.vjps):
                g = unbroadcast(vjp(node.grad), parent.value.shape)
                parent.grad = parent.grad + g


# src/topics/neural-networks/backpropagation.py:696
def hessian_vector_product(params: list, X: np.ndarray, y: np.ndarray, v: list) -> list:
    """(dW, db) pairs of H v for the tanh network; v is shaped like params."""
    eps = 1e-20
    moved = [(W + 1j * eps * vW, b + 1j * eps * vb)
             for (W, b), (vW, vb) in zip(params, v)]
    h = forward(moved, X, "tanh")
    grads = backward(moved, h, cross_entropy_grad(h[-1], y), "tanh")
    return [(grads[f"W{l}"].imag / eps, grads[f"b{l}"].imag / eps)
            for l in range(1, len(params) + 1)]


# src/topics/neural-networks/backpropagation.py:757
def round_straight_through(a: Node) -> Node:
    """Forward: round to integers. Backward: the identity, a custom VJP."""
    return Node(np.round(a.value), (a,), (lambda g: g,))


# src/topics/neural-networks/backpropagation.py:841
def directional_errors(dtype: type, steps: np.ndarray, central: bool) -> list[float]:
    """Relative errors of a difference quotient of the loss along a random direction."""
    rng = np.random.default_rng(7)
    params, v = init_params([20, 30, 5], rng), init_params([20, 30, 5], rng)
    X, y = rng.normal(size=(16, 20)), rng.integers(0, 5, size=16)

    def loss_at(t: float) -> float:
        moved = [(W.astype(dtype) + dtype(t) * vW.astype(dtype),
                  b.astype(dtype) + dtype(t) * vb.astype(dtype))
                 for (W, b), (vW, vb) in zip(params, v)]
        return float(cross_entropy(forward(moved, X.astype(dtype), "tanh")[-1], y))

    h = forward(params, X, "tanh")
    grads = backward(params, h, cross_entropy_grad(h[-1], y), "tanh")
    exact = sum((grads[f"W{l}"] * vW).sum() + (grads[f"b{l}"] * vb).sum()
                for l, (vW, vb) in enumerate(v, start=1))
    back = 1.0 if central else 0.0
    return [abs((loss_at(t) - loss_at(-back * t)) / ((1 + back) * t) / exact - 1)
            for t in steps]


# src/topics/neural-networks/backpropagation.py:893
def gradient_of_W1(params: list, X: np.ndarray, y: np.ndarray, bug: str) -> np.ndarray:
    """dW1 of a two-layer tanh network whose second layer is square, with one bug."""
    h = forward(params, X, "tanh")
    delta = cross_entropy_grad(h[2], y)
    if bug == "forgot 1/n":
        delta = delta * len(y)
    W2 = params[1][0]
    dh1 = delta @ (W2 if bug == "forgot transpose" else W2.T)
    return X.T @ (dh1 if bug == "forgot phi'" else dh1 * activate_grad(h[1], "tanh"))


# src/topics/neural-networks/backpropagation.py:904
def check_W1(bug: str) -> float:
    """Relative error of gradient_of_W1 against central differences."""
    rng = np.random.default_rng(8)
    params = init_params([4, 3, 3], rng)
    X, y = rng.normal(size=(5, 4)), rng.integers(0, 3, size=5)

    def loss() -> float:
        return cross_entropy(forward(params, X, "tanh")[-1], y)

    numeric = numerical_gradient(loss, params[0][0])
    return relative_error(gradient_of_W1(params, X, y, bug), numeric)


# src/topics/neural-networks/backpropagation.py:1054
def gpt_parameters(L: int, h: int, s: int, vocabulary: int = 50257) -> int:
    """Matrices of L blocks plus token and position embeddings, without biases."""
    return 12 * L * h**2 + vocabulary * h + s * h


# src/topics/neural-networks/backpropagation.py:1059
def activation_bytes(L: int, h: int, a: int, s: int, b: int = 1) -> float:
    """Stored activations of L transformer layers, without recomputation."""
    return L * s * b * h * (34 + 5 * a * s / h)


# src/topics/neural-networks/backpropagation.py:1100
def descend(reset: bool, steps: int = 30, lr: float = 0.3) -> float:
    """Minimise w^2 from w = 1 with the engine; return the final |w|."""
    w = Node(1.0)
    for _ in range(steps):
        if reset:
            w.grad = np.zeros_like(w.value)
        (w * w).backward()
        w.value = w.value - lr * w.grad
    return float(abs(w.value))


# src/topics/neural-networks/backpropagation.py:1124
def in_place_error() -> dict:
    """Relative errors of gradients after h[1] was changed between the two passes."""
    rng = np.random.default_rng(10)
    params = init_params([6, 7, 4], rng)
    X, y = rng.normal(size=(9, 6)), rng.integers(0, 4, size=9)
    h = forward(params, X, "tanh")
    right = backward(params, h, cross_entropy_grad(h[-1], y), "tanh")
    h[1] -= h[1].mean(axis=0)  # a harmless-looking centring, in place
    wrong = backward(params, h, cross_entropy_grad(h[-1], y), "tanh")
    return {name: relative_error(right[name], wrong[name]) for name in right}


# src/topics/neural-networks/backpropagation.py:1149
def fit_line(y_shape: tuple, steps: int = 200, lr: float = 0.1) -> tuple[float, float]:
    """Slope and final loss of y = 3x fitted by gradient descent; targets of y_shape."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(50, 1))
    minus_y = Node(-3 * x.reshape(y_shape))
    w = Node(np.zeros((1, 1)))
    for _ in range(steps):
        error = Node(x) @ w + minus_y
        loss = (error * error).sum() * Node(1 / error.value.size)
        w.grad = np.zeros((1, 1))
        loss.backward()
        w.value = w.value - lr * w.grad
    return w.value.item(), float(loss.value)


# src/topics/neural-networks/backpropagation.py:1254
def softmax_backward(p: np.ndarray, dp: np.ndarray) -> np.ndarray:
    """ds from p = softmax(s) along the last axis and dp; all of shape (..., m)."""
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


# src/topics/neural-networks/backpropagation.py:1282
def embedding_backward(ids: np.ndarray, dY: np.ndarray, vocabulary: int) -> np.ndarray:
    """dE (vocabulary, d) from integer ids (n,) and dY (n, d)."""
    dE = np.zeros((vocabulary, dY.shape[1]))
    np.add.at(dE, ids, dY)  # dE[ids] += dY would keep only one of equal ids
    return dE


# src/topics/neural-networks/backpropagation.py:1314
def checkpointed(params: list, X: np.ndarray, y: np.ndarray, every: int) -> tuple:
    """Gradients "W1", "b1", ... of the ReLU network, and the peak of stored inputs."""
    L = len(params)
    kept, current = {}, X
    for l in range(L):
        if l % every == 0:
            kept[l] = current
        z = current @ params[l][0] + params[l][1]
        current = activate(z, "relu") if l < L - 1 else z
    delta, grads, peak = cross_entropy_grad(current, y), {}, len(kept)
    for start in sorted(kept, reverse=True):
        stop = min(start + every, L)
        h = [kept[start]]
        for W, b in params[start : stop - 1]:
            h.append(activate(h[-1] @ W + b, "relu"))
        peak = max(peak, len(kept) + len(h) - 1)  # h[0] is one of the kept ones
        for l in range(stop, start, -1):
            grads[f"W{l}"] = h[l - 1 - start].T @ delta
            grads[f"b{l}"] = delta.sum(axis=0)
            dh = delta @ params[l - 1][0].T
            delta = dh * activate_grad(h[l - 1 - start], "relu")  # unused once l = 1
        del kept[start]
    return grads, peak


# src/topics/neural-networks/backpropagation.py:1376
def jvp(params: list, X: np.ndarray, dX: np.ndarray) -> np.ndarray:
    """Change (n, K) of the tanh network's logits along the direction dX (n, d_0)."""
    h, dh = X, dX
    for l, (W, b) in enumerate(params, start=1):
        z, dz = h @ W + b, dh @ W
        last = l == len(params)
        h, dh = (z, dz) if last else (np.tanh(z), dz * (1 - np.tanh(z) ** 2))
    return dh


# src/topics/neural-networks/backpropagation.py:409
def test_every_gradient_matches_torch_on_random_shapes():
    rng = np.random.default_rng(1)
    for trial in range(30):
        sizes = [int(d) for d in rng.permutation(np.arange(1, 9))[: 2 + trial % 4]]
        sizes[-1] += 1
        n = 1 if trial < 3 else int(rng.integers(2, 12))
        kind = ["relu", "sigmoid", "tanh"][trial % 3]
        params = init_params(sizes, rng)
        X = rng.normal(size=(n, sizes[0])) * (30 if trial % 7 == 6 else 1)
        y = rng.integers(0, sizes[-1], size=n)
        h = forward(params, X, kind)
        ours = backward(params, h, cross_entropy_grad(h[-1], y), kind)
        theirs = torch_gradients(params, X, y, kind)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].shape == value.shape, name
            assert np.abs(ours[name] - value).max() < 1e-10, (sizes, n, kind, name)


# src/topics/neural-networks/backpropagation.py:428
def test_fused_gradient_matches_torch():
    rng = np.random.default_rng(2)
    for trial in range(24):
        n, K = int(rng.integers(1, 9)), int(rng.integers(2, 12))
        logits = rng.normal(size=(n, K)) * [1, 10, 1000][trial % 3]
        if trial % 5 == 0:
            logits[:, :2] = 3.0  # ties
        y = rng.integers(0, K, size=n)
        s = torch.tensor(logits, requires_grad=True)
        loss = F.cross_entropy(s, torch.tensor(y))
        loss.backward()
        assert abs(cross_entropy(logits, y) - loss.item()) < 1e-10 * max(1, loss.item())
        grad = cross_entropy_grad(logits, y)
        assert np.abs(grad - s.grad.numpy()).max() < 1e-10
        assert np.abs(grad.sum(axis=1)).max() < 1e-12


# src/topics/neural-networks/backpropagation.py:445
def test_by_hand_example_matches_torch():
    W1 = torch.tensor([[1, -1, 0.5], [0.5, 1, -1]], requires_grad=True)
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    W2 = torch.tensor([[1.0], [-2.0], [3.0]], requires_grad=True)
    (0.5 * (torch.relu(x @ W1) @ W2 + 0.5 - 2) ** 2).sum().backward()
    assert W1.grad.tolist() == [[-1.5, 3, 0], [-3, 6, 0]]
    assert W2.grad.tolist() == [[-3], [-1.5], [0]] and x.grad.tolist() == [[-4.5, 2.25]]


# src/topics/neural-networks/backpropagation.py:528
def test_flop_count_matches_torch():
    from torch.utils.flop_counter import FlopCounterMode

    rng = np.random.default_rng(3)
    for _ in range(20):
        sizes = [int(d) for d in rng.integers(1, 20, size=rng.integers(2, 6))]
        n = int(rng.integers(1, 10))
        weights = [torch.randn(a, b, requires_grad=True)
                   for a, b in zip(sizes[:-1], sizes[1:])]
        H = torch.randn(n, sizes[0], requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            for l, W in enumerate(weights):
                H = H @ W if l == len(weights) - 1 else torch.relu(H @ W)
            forward_flops = counter.get_total_flops()
            H.sum().backward()
        backward_flops = counter.get_total_flops() - forward_flops
        assert measure_flops(sizes, n) == (forward_flops, backward_flops)
        assert backward_flops == 2 * forward_flops


# src/topics/neural-networks/backpropagation.py:631
def test_engine_matches_torch_with_reuse_and_broadcasting():
    rng = np.random.default_rng(4)
    for trial in range(24):
        n, d, k = trial % 6, *(int(v) for v in rng.integers(1, 8, size=2))
        X, W, b = rng.normal(size=(n, d)), rng.normal(size=(d, k)), rng.normal(size=k)
        scale, col = rng.normal(size=(1, k)), rng.normal(size=(n, 1))

        def network(X, W, b, scale, col):
            H = (X @ W + b).relu()
            S = H * scale + H * H + col  # H is used three times
            P = S.exp().sum()
            return (P + (W * W).sum()) * P  # W and P are used twice

        ours = [Node(v) for v in (X, W, b, scale, col)]
        theirs = [torch.tensor(v, requires_grad=True) for v in (X, W, b, scale, col)]
        a, t = network(*ours), network(*theirs)
        a.backward()
        t.backward()
        assert abs(a.value - t.item()) <= 1e-10 * abs(t.item())
        for mine, ref in zip(ours, theirs):
            assert mine.grad.shape == tuple(ref.shape)
            grad = ref.grad.numpy()
            size = max(1.0, np.abs(grad).max(initial=0))
            assert np.abs(mine.grad - grad).max(initial=0) < 1e-10 * size


# src/topics/neural-networks/backpropagation.py:657
def test_engine_on_exercise_1():
    a, b = Node(1.0), Node(2.0)
    s = a * b + a
    (s * s).backward()
    assert (float(s.value), float(a.grad), float(b.grad)) == (3, 18, 6)


# src/topics/neural-networks/backpropagation.py:664
def test_engine_accumulates_like_torch_over_two_calls():
    a, t = Node(np.array([1.0, -2.0])), torch.tensor([1.0, -2.0], requires_grad=True)
    loss, torch_loss = (a * a).sum(), (t * t).sum()
    for _ in range(2):
        loss.backward()
        torch_loss.backward(retain_graph=True)
    assert np.array_equal(a.grad, t.grad.numpy()) and a.grad.tolist() == [4.0, -8.0]


# src/topics/neural-networks/backpropagation.py:673
def test_unbroadcast_edge_cases():
    ones = np.ones((4, 3))
    assert unbroadcast(ones, ()).shape == () and unbroadcast(ones, ()) == 12
    assert unbroadcast(ones, (3,)).tolist() == [4, 4, 4]
    assert unbroadcast(ones, (4, 1)).tolist() == [[3]] * 4
    assert unbroadcast(np.ones((0, 3)), (3,)).tolist() == [0, 0, 0]
    assert unbroadcast(np.ones((1, 1)), (1, 1)).tolist() == [[1]]


# src/topics/neural-networks/backpropagation.py:720
def test_hessian_vector_product_matches_double_backward():
    rng = np.random.default_rng(6)
    for _ in range(20):
        sizes = [int(d) for d in rng.integers(1, 7, size=rng.integers(2, 5))]
        sizes[-1] += 1
        n = int(rng.integers(1, 7))
        params, v = init_params(sizes, rng), init_params(sizes, rng)
        X, y = rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], size=n)
        leaves = [torch.tensor(t, requires_grad=True) for pair in params for t in pair]
        H = torch.tensor(X)
        for l in range(len(params)):
            H = H @ leaves[2 * l] + leaves[2 * l + 1]
            H = torch.tanh(H) if l < len(params) - 1 else H
        grads = torch.autograd.grad(F.cross_entropy(H, torch.tensor(y)), leaves,
                                    create_graph=True)
        flat = [torch.tensor(t) for pair in v for t in pair]
        expected = torch.autograd.grad(sum((g * t).sum() for g, t in zip(grads, flat)),
                                       leaves)
        ours = [t for pair in hessian_vector_product(params, X, y, v) for t in pair]
        for mine, ref in zip(ours, expected):
            assert np.abs(mine - ref.numpy()).max() < 1e-10


# src/topics/neural-networks/backpropagation.py:775
def test_round_straight_through_matches_the_detach_trick():
    rng = np.random.default_rng(16)
    for _ in range(20):
        value, g = rng.normal(size=(2, *rng.integers(0, 5, size=2))) * 3
        t = torch.tensor(value, requires_grad=True)
        (torch.tensor(g) * (t + (t.round() - t).detach())).sum().backward()
        a = Node(value)
        (Node(g) * round_straight_through(a)).sum().backward()
        assert np.array_equal(a.grad, t.grad.numpy())
        assert np.array_equal(round_straight_through(a).value, np.round(value))


# src/topics/neural-networks/backpropagation.py:817
def test_kink_is_wrong_in_the_same_way_in_torch():
    for point, expected in [(0.0, 0.0), (2.0, 1.0), (-2.0, 1.0)]:
        t = torch.tensor(point, requires_grad=True)
        (torch.relu(t) - torch.relu(-t)).backward()
        a, minus = Node(point), Node(-1.0)
        (a.relu() + minus * (minus * a).relu()).backward()
        assert t.grad.item() == expected == float(a.grad)


# src/topics/neural-networks/backpropagation.py:935
def test_gradient_check_passes_the_right_and_fails_the_wrong():
    assert check_W1("none") < 1e-7
    for bug in ["forgot 1/n", "forgot transpose", "forgot phi'"]:
        assert check_W1(bug) > 1e-2


# src/topics/neural-networks/backpropagation.py:941
def test_numerical_gradient_on_known_functions():
    rng = np.random.default_rng(9)
    for _ in range(20):
        x = rng.normal(size=tuple(rng.integers(1, 5, size=rng.integers(1, 4))))
        before = x.copy()
        grad = numerical_gradient(lambda: np.sin(x).sum() + (x**3).sum(), x)
        assert np.array_equal(x, before)
        assert relative_error(grad, np.cos(x) + 3 * x**2) < 1e-8
    zero = np.zeros(1)
    at_kink = numerical_gradient(lambda: np.maximum(zero, 0).sum(), zero)
    assert abs(at_kink[0] - 0.5) < 1e-9
    assert relative_error(zero, zero) == 0 and relative_error(zero + 1, zero - 1) == 1


# src/topics/neural-networks/backpropagation.py:955
def test_difference_quotients_have_the_orders_of_taylor():
    steps = np.array([1e-2, 1e-3])
    for central, order in [(True, 2), (False, 1)]:
        large, small = directional_errors(np.float64, steps, central)
        assert abs(np.log10(large / small) - order) < 0.1
    assert directional_errors(np.float64, np.array([1e-5]), True)[0] < 1e-8


# src/topics/neural-networks/backpropagation.py:1086
def test_published_sizes():
    assert abs(gpt_parameters(12, 768, 1024) / 124.4e6 - 1) < 2e-3
    assert abs(gpt_parameters(96, 12288, 2048) / 174.6e9 - 1) < 1e-3
    assert activation_bytes(1, 10, 2, 5, 3) == 5 * 3 * 10 * 34 + 5 * 2 * 5 * 5 * 3
    assert activation_bytes(96, 12288, 96, 2048) / (96 * 2048 * 12288) == 34 + 80


# src/topics/neural-networks/backpropagation.py:1178
def test_three_failures_are_real_and_their_fixes_work():
    assert descend(True) < 1e-9 and descend(False) > 0.01
    errors = in_place_error()
    assert errors["W2"] > 0.1 and errors["W1"] > 0.01 and errors["h1"] == 0
    assert abs(fit_line((50, 1))[0] - 3) < 1e-6 and abs(fit_line((50,))[0]) < 0.5
    x = np.random.default_rng(11).normal(size=(50, 1))
    assert abs(fit_line((50, 1), steps=1)[1] - ((3 * x) ** 2).mean()) < 1e-10
    leaf = torch.randn(9, 7, requires_grad=True)
    saved = torch.tanh(leaf)
    loss = (saved * saved).sum()
    saved -= saved.mean(dim=0)
    try:
        loss.backward()
    except RuntimeError as problem:
        assert "inplace operation" in str(problem)
    else:
        raise AssertionError("torch accepted an overwritten activation")


# src/topics/neural-networks/backpropagation.py:1262
def test_softmax_backward():
    rng = np.random.default_rng(12)
    for trial in range(20):
        shape = tuple(rng.integers(1, 6, size=rng.integers(1, 4)))
        s, dp = rng.normal(size=shape) * [1, 5, 500][trial % 3], rng.normal(size=shape)
        if trial % 4 == 0 and shape[-1] > 1:
            s[..., 0] = -np.inf  # a masked entry
        t = torch.tensor(s, requires_grad=True)
        torch.softmax(t, dim=-1).backward(torch.tensor(dp))
        assert np.abs(softmax_backward(softmax(s), dp) - t.grad.numpy()).max() < 1e-12


# src/topics/neural-networks/backpropagation.py:1292
def test_embedding_backward():
    rng = np.random.default_rng(13)
    for trial in range(20):
        vocabulary, d, n = int(rng.integers(2, 9)), int(rng.integers(1, 6)), trial
        ids, dY = rng.integers(0, vocabulary, size=n), rng.normal(size=(n, d))
        E = torch.zeros(vocabulary, d, dtype=torch.float64, requires_grad=True)
        F.embedding(torch.tensor(ids), E).backward(torch.tensor(dY))
        dE = embedding_backward(ids, dY, vocabulary)
        assert np.abs(dE - E.grad.numpy()).max() < 1e-12


# src/topics/neural-networks/backpropagation.py:1342
def test_checkpointed():
    rng = np.random.default_rng(14)
    for trial in range(20):
        depth = int(rng.integers(1, 9))
        sizes = [int(d) for d in rng.integers(2, 7, size=depth + 1)]
        params = init_params(sizes, rng)
        X, y = rng.normal(size=(5, sizes[0])), rng.integers(0, sizes[-1], size=5)
        h = forward(params, X)
        expected = backward(params, h, cross_entropy_grad(h[-1], y))
        grads, _ = checkpointed(params, X, y, every=1 + trial % 5)
        assert set(grads) == {k for k in expected if k[0] in "Wb"}
        for name, value in grads.items():
            assert np.abs(value - expected[name]).max() < 1e-12
    params = init_params([3] * 17, rng)
    X, y = rng.normal(size=(2, 3)), np.array([0, 2])
    peaks = {k: checkpointed(params, X, y, k)[1] for k in (1, 2, 4, 8, 16)}
    assert peaks == {1: 16, 2: 9, 4: 7, 8: 9, 16: 16}
    assert checkpointed(params[:10], X, y, 4)[1] == 5  # the last segment is shorter


# src/topics/neural-networks/backpropagation.py:1389
def test_jvp():
    rng = np.random.default_rng(15)
    for _ in range(20):
        sizes = [int(d) for d in rng.integers(1, 8, size=rng.integers(2, 5))]
        params, n = init_params(sizes, rng), int(rng.integers(1, 6))
        X, dX = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[0]))
        dY = rng.normal(size=(n, sizes[-1]))
        change = jvp(params, X, dX)
        back = backward(params, forward(params, X, "tanh"), dY, "tanh")["h0"]
        assert change.shape == dY.shape
        assert abs((dY * change).sum() - (back * dX).sum()) < 1e-10

        def network(H):
            for l, (W, b) in enumerate(params):
                H = H @ torch.tensor(W) + torch.tensor(b)
                H = torch.tanh(H) if l < len(params) - 1 else H
            return H

        _, expected = torch.func.jvp(network, (torch.tensor(X),), (torch.tensor(dX),))
        assert np.abs(change - expected.numpy()).max() < 1e-10
