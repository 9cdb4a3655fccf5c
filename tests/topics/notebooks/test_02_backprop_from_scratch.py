# Generated from src/topics/notebooks/02-backprop-from-scratch.py: edit that file, then run doit. digest:54fa3a1605b87bff

"""Tests of notebooks/02-backprop-from-scratch: Backpropagation from scratch."""

import numpy as np
import torch  # only to check our results against
import torch.nn.functional as F
from collections.abc import Callable


# src/topics/notebooks/02-backprop-from-scratch.py:61
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/notebooks/02-backprop-from-scratch.py:68
def init_params(sizes: list[int], rng: np.random.Generator, gain: float = 2.0) -> list:
    """Pairs (W, b), shapes (d_in, d_out) and (d_out,), with Var(W) = gain / d_in."""
    return [
        (rng.normal(0, np.sqrt(gain / d_in), (d_in, d_out)), np.zeros(d_out))
        for d_in, d_out in zip(sizes[:-1], sizes[1:])
    ]


# src/topics/notebooks/02-backprop-from-scratch.py:76
def forward(params: list, X: np.ndarray, kind: str = "relu") -> dict:
    """All values by name: "h0" = X (n, d_0), "z1", "h1", ..., "zL" = logits (n, K)."""
    values = {"h0": X}
    for l, (W, b) in enumerate(params, start=1):
        z = values[f"z{l}"] = values[f"h{l - 1}"] @ W + b
        if l < len(params):
            values[f"h{l}"] = np.maximum(z, 0) if kind == "relu" else np.tanh(z)
    return values


# src/topics/notebooks/02-backprop-from-scratch.py:86
def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over the n rows of -log softmax(logits)[y]; logits (n, K), y (n,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return (log_sum - shifted[np.arange(len(y)), y]).mean()


# src/topics/notebooks/02-backprop-from-scratch.py:93
def cross_entropy_grad(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(softmax(logits) - onehot(y)) / n, shape (n, K)."""
    p = softmax(logits)
    p[np.arange(len(y)), y] -= 1
    return p / len(y)


# src/topics/notebooks/02-backprop-from-scratch.py:100
def backward(params: list, values: dict, y: np.ndarray, kind: str = "relu",
             bug: str = "none") -> dict:
    """Gradients of the loss under the names of `values`, and "W1", "b1", ..."""
    L = len(params)
    delta = cross_entropy_grad(values[f"z{L}"], y)
    if bug == "forgot 1/n":
        delta = delta * len(y)
    grads = {}
    for l in range(L, 0, -1):
        W, h = params[l - 1][0], values[f"h{l - 1}"]
        grads[f"z{l}"], grads[f"W{l}"], grads[f"b{l}"] = delta, h.T @ delta, delta.sum(0)
        square = W.shape[0] == W.shape[1]
        dh = delta @ (W if square and bug == "forgot transpose" else W.T)
        grads[f"h{l - 1}"] = delta = dh
        if l > 1 and bug != "forgot phi'":
            delta = dh * ((h > 0) if kind == "relu" else 1 - h**2)
    return grads


# src/topics/notebooks/02-backprop-from-scratch.py:120
SIZES = [64, 32, 32, 10]


# src/topics/notebooks/02-backprop-from-scratch.py:123
def train_by_hand(X: np.ndarray, y: np.ndarray, seed: int, bug: str = "none",
                  lr: float = 0.1, steps: int = 400, batch: int = 32) -> tuple:
    """Parameters and loss at each step of gradient descent on random batches."""
    rng = np.random.default_rng(seed)
    params, losses = init_params(SIZES, rng), []
    for _ in range(steps):
        rows = rng.integers(len(X), size=batch)
        values = forward(params, X[rows])
        losses.append(cross_entropy(values[f"z{len(params)}"], y[rows]))
        grads = backward(params, values, y[rows], bug=bug)
        params = [(W - lr * grads[f"W{l}"], b - lr * grads[f"b{l}"])
                  for l, (W, b) in enumerate(params, start=1)]
    return params, losses


# src/topics/notebooks/02-backprop-from-scratch.py:138
def accuracy(params: list, X: np.ndarray, y: np.ndarray) -> float:
    """Share of the rows of X whose largest logit is the right class."""
    return float((forward(params, X)[f"z{len(params)}"].argmax(axis=1) == y).mean())


# src/topics/notebooks/02-backprop-from-scratch.py:196
def softmax_backward(p: np.ndarray, dp: np.ndarray) -> np.ndarray:
    """ds from p = softmax(s) along the last axis and dp; all of shape (..., m)."""
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


# src/topics/notebooks/02-backprop-from-scratch.py:201
def all_gradients(params: list, X: np.ndarray, y: np.ndarray, kind: str) -> dict:
    """backward(), and the gradients inside the loss: "q", "p" and "z unfused"."""
    values, rows = forward(params, X, kind), np.arange(len(y))
    p = softmax(values[f"z{len(params)}"])
    q, dp = p[rows, y], np.zeros_like(p)
    dq = -1 / (len(y) * q)
    dp[rows, y] = dq
    grads = {"q": dq, "p": dp, "z unfused": softmax_backward(p, dp)}
    return grads | backward(params, values, y, kind)


# src/topics/notebooks/02-backprop-from-scratch.py:212
def torch_gradients(params: list, X: np.ndarray, y: np.ndarray, kind: str) -> dict:
    """The same names as all_gradients(), from torch autograd in float64."""
    t = {"h0": torch.tensor(X, requires_grad=True)}
    for l, (W, b) in enumerate(params, start=1):
        t[f"W{l}"] = torch.tensor(W, requires_grad=True)
        t[f"b{l}"] = torch.tensor(b, requires_grad=True)
        t[f"z{l}"] = t[f"h{l - 1}"] @ t[f"W{l}"] + t[f"b{l}"]
        if l < len(params):
            t[f"h{l}"] = getattr(torch, kind)(t[f"z{l}"])
    t["p"] = torch.softmax(t[f"z{l}"], dim=1)
    t["q"] = t["p"][torch.arange(len(y)), torch.tensor(y)]
    for tensor in t.values():
        tensor.retain_grad()
    (-t["q"].log().mean()).backward()
    return {name: tensor.grad.numpy() for name, tensor in t.items()}


# src/topics/notebooks/02-backprop-from-scratch.py:326
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


# src/topics/notebooks/02-backprop-from-scratch.py:340
def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """0 for equal arrays, 1 for opposite ones, whatever their scale."""
    total = np.linalg.norm(a) + np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / total) if total > 0 else 0.0


# src/topics/notebooks/02-backprop-from-scratch.py:346
def nudge_error(params: list, X: np.ndarray, y: np.ndarray, name: str, kind: str = "relu",
                bug: str = "none", step: float = 1e-5) -> float:
    """Relative error of backward()'s gradient `name` ("W1", ...) against nudging."""
    exact = backward(params, forward(params, X, kind), y, kind, bug)[name]
    x, last = params[int(name[1]) - 1]["Wb".index(name[0])], f"z{len(params)}"
    nudged = numerical_gradient(lambda: cross_entropy(forward(params, X, kind)[last], y),
                                x, step)
    return relative_error(exact, nudged)


# src/topics/notebooks/02-backprop-from-scratch.py:447
class Node:
    """An array, its parents, and for each parent the VJP that leads back to it."""

    def __init__(self, value: np.ndarray, parents: tuple = (), vjps: tuple = ()):
        self.value, self.parents, self.vjps = np.asarray(value, float), parents, vjps
        self.grad = np.zeros_like(self.value)


# src/topics/notebooks/02-backprop-from-scratch.py:455
def add(a: Node, b: Node) -> Node:
    """a + b, with broadcasting."""
    return Node(a.value + b.value, (a, b), (lambda g: g, lambda g: g))


# src/topics/notebooks/02-backprop-from-scratch.py:460
def mul(a: Node, b: Node) -> Node:
    """a * b elementwise, with broadcasting."""
    return Node(a.value * b.value, (a, b), (lambda g: g * b.value, lambda g: g * a.value))


# src/topics/notebooks/02-backprop-from-scratch.py:465
def matmul(a: Node, b: Node) -> Node:
    """a @ b for matrices."""
    return Node(a.value @ b.value, (a, b),
                (lambda g: g @ b.value.T, lambda g: a.value.T @ g))


# src/topics/notebooks/02-backprop-from-scratch.py:471
def relu(a: Node) -> Node:
    """max(a, 0)."""
    return Node(np.maximum(a.value, 0), (a,), (lambda g: g * (a.value > 0),))


# src/topics/notebooks/02-backprop-from-scratch.py:476
def tanh(a: Node) -> Node:
    """tanh(a); the rule reads the output h, since tanh' = 1 - h^2."""
    h = np.tanh(a.value)
    return Node(h, (a,), (lambda g: g * (1 - h**2),))


# src/topics/notebooks/02-backprop-from-scratch.py:482
def total(a: Node) -> Node:
    """The sum of all entries, a scalar."""
    return Node(a.value.sum(), (a,), (lambda g: np.broadcast_to(g, a.value.shape),))


# src/topics/notebooks/02-backprop-from-scratch.py:526
def unbroadcast(g: np.ndarray, shape: tuple) -> np.ndarray:
    """Sum g over the axes along which an array of `shape` was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, d in enumerate(shape) if d == 1), keepdims=True)


# src/topics/notebooks/02-backprop-from-scratch.py:532
def build_example(X: np.ndarray, W: np.ndarray, b: np.ndarray) -> dict:
    """The nodes of the example by name, in the order of their computation."""
    n = {"X": Node(X), "W": Node(W), "b": Node(b)}
    n["u"] = matmul(n["X"], n["W"])
    n["z"] = add(n["u"], n["b"])
    n["h"] = relu(n["z"])
    n["s"] = add(n["h"], n["u"])
    n["s*s"] = mul(n["s"], n["s"])
    n["L"] = total(n["s*s"])
    return n


# src/topics/notebooks/02-backprop-from-scratch.py:563
def sweep(order: list, shrink: Callable = unbroadcast, add_to: Callable = np.add) -> None:
    """Fill the grads of the nodes in `order`, which starts with a scalar loss."""
    for node in order:
        node.grad = np.zeros_like(node.value)
    order[0].grad = np.ones_like(order[0].value)
    for node in order:
        for parent, vjp in zip(node.parents, node.vjps):
            g = shrink(vjp(node.grad), parent.value.shape)
            parent.grad = add_to(parent.grad, g)


# src/topics/notebooks/02-backprop-from-scratch.py:574
def discovery_order(root: Node) -> list:
    """All nodes behind `root`, as a walk from it first meets them, level by level."""
    order = [root]
    for node in order:  # the list grows while we walk
        order.extend(p for p in dict.fromkeys(node.parents) if p not in order)
    return order


# src/topics/notebooks/02-backprop-from-scratch.py:597
def topological_order(root: Node) -> list:
    """All nodes behind `root` and `root` itself, parents first."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


# src/topics/notebooks/02-backprop-from-scratch.py:611
def backprop(loss: Node) -> list:
    """Fill the grad of every node behind `loss`; return them, the loss first."""
    order = topological_order(loss)[::-1]
    sweep(order)
    return order


# src/topics/notebooks/02-backprop-from-scratch.py:662
def sweep_every_path(node: Node, g: np.ndarray) -> int:
    """Add g to the grad of `node` and pass it on at once; return the visits."""
    node.grad = node.grad + g
    return 1 + sum(sweep_every_path(parent, unbroadcast(vjp(g), parent.value.shape))
                   for parent, vjp in zip(node.parents, node.vjps))


# src/topics/notebooks/02-backprop-from-scratch.py:669
def tower(fan_out: int, levels: int) -> tuple[Node, Node]:
    """A leaf, and the top of `levels` levels that use their input `fan_out` times."""
    leaf = y = Node(1.0)
    for _ in range(levels):
        copies = relu(y)
        for _ in range(fan_out - 1):
            copies = add(copies, y)
        y = copies
    return leaf, y


# src/topics/notebooks/02-backprop-from-scratch.py:795
def path_visits(blocks: int) -> int:
    """Visits of sweep_every_path on tower(2, blocks), without running it."""
    return 3 * 2**blocks - 2  # V(0) = 1 and V(B) = 2 + 2 V(B - 1)


# src/topics/notebooks/02-backprop-from-scratch.py:816
def repeated_axes(out: tuple, shape: tuple) -> tuple:
    """Axes of `out`, ascending, along which an array of `shape` was repeated."""
    lead = len(out) - len(shape)
    stretched = (i for i in range(lead, len(out)) if shape[i - lead] == 1 != out[i])
    return (*range(lead), *stretched)


# src/topics/notebooks/02-backprop-from-scratch.py:846
def softmax_cross_entropy(logits: Node, y: np.ndarray) -> Node:
    """The mean cross-entropy of logits (n, K) and classes y (n,), one fused node."""
    return Node(cross_entropy(logits.value, y), (logits,),
                (lambda g: g * cross_entropy_grad(logits.value, y),))


# src/topics/notebooks/02-backprop-from-scratch.py:852
def network(X: Node, layers: list, act: Callable = relu) -> Node:
    """Logits (n, K) of the network whose `layers` are pairs of nodes (W, b)."""
    h = X
    for l, (W, b) in enumerate(layers, start=1):
        z = add(matmul(h, W), b)
        h = act(z) if l < len(layers) else z
    return h


# src/topics/notebooks/02-backprop-from-scratch.py:887
def row_max(a: Node) -> Node:
    """The largest entry of each row of a (n, d), shape (n, 1)."""
    top = a.value.max(axis=1, keepdims=True)
    share = (a.value == top) / (a.value == top).sum(axis=1, keepdims=True)
    return Node(top, (a,), (lambda g: g * share,))


# src/topics/notebooks/02-backprop-from-scratch.py:918
def power(a: Node, exponent: float) -> Node:
    """a ** exponent, elementwise."""
    return Node(a.value**exponent, (a,),
                (lambda g: g * exponent * a.value ** (exponent - 1),))


# src/topics/notebooks/02-backprop-from-scratch.py:924
def layer_norm(a: Node, eps: float = 1e-5) -> Node:
    """Rows of a (n, d) with their mean removed, over sqrt(variance + eps)."""
    d = a.value.shape[1]
    mean = Node(np.full((d, 1), 1 / d))
    centred = add(a, mul(matmul(a, mean), Node(-1.0)))
    variance = matmul(mul(centred, centred), mean)
    return mul(centred, power(add(variance, Node(eps)), -0.5))


# src/topics/notebooks/02-backprop-from-scratch.py:975
def affine(X: Node, W: Node, b: Node) -> Node:
    """X W + b."""
    return add(matmul(X, W), b)


# src/topics/notebooks/02-backprop-from-scratch.py:980
def plain_graph(X: Node, W: Node, b: Node, act: Callable) -> Node:
    """The sum of act(X W + b)."""
    return total(act(affine(X, W, b)))


# src/topics/notebooks/02-backprop-from-scratch.py:985
def square_graph(X: Node, W: Node, b: Node, act: Callable) -> Node:
    """The sum of squares of act(X W + b)."""
    s = act(affine(X, W, b))
    return total(mul(s, s))


# src/topics/notebooks/02-backprop-from-scratch.py:991
def skip_graph(X: Node, W: Node, b: Node, act: Callable) -> Node:
    """The sum of squares of act(X W + b) + X W."""
    u = matmul(X, W)
    s = add(act(add(u, b)), u)
    return total(mul(s, s))


# src/topics/notebooks/02-backprop-from-scratch.py:998
def tanh_wrong(a: Node) -> Node:
    """tanh with a planted bug: the rule reads the input."""
    return Node(np.tanh(a.value), (a,), (lambda g: g * (1 - a.value**2),))


# src/topics/notebooks/02-backprop-from-scratch.py:1003
def average(g: np.ndarray, shape: tuple) -> np.ndarray:
    """unbroadcast with a planted bug: the mean instead of the sum."""
    return unbroadcast(g, shape) * (np.prod(shape) / g.size)


# src/topics/notebooks/02-backprop-from-scratch.py:1008
def overwrite(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """add_to with a planted bug: the last gradient wins."""
    return new


# src/topics/notebooks/02-backprop-from-scratch.py:1013
def check_engine(build: Callable, n: int, bug: str, seed: int = 0) -> float:
    """Worst relative error of the engine with `bug` on a graph with n rows."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in [(n, 3), (3, 2), (2,)]]
    act = tanh_wrong if bug == "tanh rule" else tanh
    leaves = [Node(a) for a in arrays]
    loss = build(*leaves, act)
    order = discovery_order(loss) if bug == "order" else topological_order(loss)[::-1]
    sweep(order, average if bug == "mean" else unbroadcast,
          overwrite if bug == "overwrite" else np.add)
    return max(
        relative_error(leaf.grad, numerical_gradient(
            lambda: float(build(*map(Node, arrays), tanh).value), array))
        for leaf, array in zip(leaves, arrays))


# src/topics/notebooks/02-backprop-from-scratch.py:1079
def direction_error(f: Callable, arrays: list, grads: list, seed: int = 0) -> float:
    """abs(nudged - predicted) / (abs(nudged) + abs(predicted)) along a random v."""
    rng, step = np.random.default_rng(seed), 1e-5
    v = [rng.normal(size=a.shape) for a in arrays]
    above = f(*(a + step * d for a, d in zip(arrays, v)))
    below = f(*(a - step * d for a, d in zip(arrays, v)))
    nudged = (above - below) / (2 * step)
    predicted = sum((g * d).sum() for g, d in zip(grads, v))
    return abs(nudged - predicted) / (abs(nudged) + abs(predicted))


# src/topics/notebooks/02-backprop-from-scratch.py:1122
def train_by_engine(X: np.ndarray, y: np.ndarray, seed: int, lr: float = 0.1,
                    steps: int = 400, batch: int = 32) -> tuple:
    """train_by_hand without a hand-written gradient."""
    rng = np.random.default_rng(seed)
    params, losses = init_params(SIZES, rng), []
    for _ in range(steps):
        rows = rng.integers(len(X), size=batch)
        layers = [(Node(W), Node(b)) for W, b in params]
        loss = softmax_cross_entropy(network(Node(X[rows]), layers), y[rows])
        backprop(loss)
        losses.append(float(loss.value))
        params = [(W.value - lr * W.grad, b.value - lr * b.grad) for W, b in layers]
    return params, losses


# src/topics/notebooks/02-backprop-from-scratch.py:1137
def train_by_torch(X: np.ndarray, y: np.ndarray, seed: int, lr: float = 0.1,
                   steps: int = 400, batch: int = 32) -> tuple:
    """The same once more, in PyTorch with float64."""
    rng, losses = np.random.default_rng(seed), []
    flat = [torch.tensor(a, requires_grad=True) for W_b in init_params(SIZES, rng)
            for a in W_b]
    optimizer = torch.optim.SGD(flat, lr=lr)
    X, y = torch.tensor(X), torch.tensor(y)
    for _ in range(steps):
        rows = torch.tensor(rng.integers(len(X), size=batch))
        h = X[rows]
        for l in range(0, len(flat), 2):
            z = h @ flat[l] + flat[l + 1]
            h = torch.relu(z)
        loss = F.cross_entropy(z, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    flat = [t.detach().numpy() for t in flat]
    return list(zip(flat[::2], flat[1::2])), losses


# src/topics/notebooks/02-backprop-from-scratch.py:1160
def distance(one: tuple, other: tuple) -> float:
    """Largest difference between two training runs, in any loss or parameter."""
    gaps = [np.abs(np.subtract(a, b)).max() for p, q in zip(one[0], other[0])
            for a, b in zip(p, q)]
    return max(*gaps, np.abs(np.subtract(one[1], other[1])).max())


# src/topics/notebooks/02-backprop-from-scratch.py:1275
def deep_network(X: Node, layers: list, skip: bool) -> tuple[Node, list]:
    """Logits of a stack of tanh layers, and its nodes h; the first layer never skips."""
    h = [X]
    for l, (W, b) in enumerate(layers[:-1]):
        new = tanh(affine(h[-1], W, b))
        h.append(add(new, h[-1]) if skip and l > 0 else new)
    return affine(h[-1], *layers[-1]), h


# src/topics/notebooks/02-backprop-from-scratch.py:1284
def train_deep(X: np.ndarray, y: np.ndarray, depth: int, skip: bool, seed: int,
               steps: int = 300, lr: float = 0.1, gain: float = 0.5) -> tuple[list, dict]:
    """Layers (pairs of nodes) after training; norms at the first step by name."""
    rng = np.random.default_rng(seed)
    params = init_params([X.shape[1], *[32] * (depth + 1), 10], rng, gain)
    layers, norms = [(Node(W), Node(b)) for W, b in params], {}
    for step in range(steps):
        rows = rng.integers(len(X), size=32)
        logits, h = deep_network(Node(X[rows]), layers, skip)
        backprop(softmax_cross_entropy(logits, y[rows]))
        if step == 0:
            norms = {"h": [np.linalg.norm(a.value) for a in h[1:-1]],
                     "dh": [np.linalg.norm(a.grad) for a in h[2:]],
                     "dW": [np.linalg.norm(W.grad) for W, _ in layers[1:-1]]}
        for leaf in (leaf for pair in layers for leaf in pair):
            leaf.value = leaf.value - lr * leaf.grad
    return layers, norms


# src/topics/notebooks/02-backprop-from-scratch.py:1429
def input_gradient(params: list, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the summed loss by the images X (n, d), one row for each image."""
    images = Node(X)
    layers = [(Node(W), Node(b)) for W, b in params]
    backprop(softmax_cross_entropy(network(images, layers), y))
    return images.grad * len(y)  # the mean loss carries 1/n


# src/topics/notebooks/02-backprop-from-scratch.py:1474
def attack(params: list, X: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """X moved by epsilon along the sign of its gradient, kept between 0 and 1."""
    return np.clip(X + epsilon * np.sign(input_gradient(params, X, y)), 0, 1)


# src/topics/notebooks/02-backprop-from-scratch.py:1530
def smallest_step(params: list, x: np.ndarray, y: int, grid: np.ndarray) -> float:
    """First epsilon of the ascending grid at which attack() changes the answer for x (d,)."""
    last, X = f"z{len(params)}", x[None, :]
    before = forward(params, X)[last].argmax()
    for epsilon in grid:
        moved = attack(params, X, np.array([y]), epsilon)
        if forward(params, moved)[last].argmax() != before:
            return float(epsilon)
    return float("inf")


# src/topics/notebooks/02-backprop-from-scratch.py:241
def test_init_params():
    params = init_params([400, 100, 50], np.random.default_rng(0), gain=3.0)
    assert [W.shape for W, _ in params] == [(400, 100), (100, 50)]
    for W, b in params:
        assert abs(W.var() * len(W) / 3 - 1) < 0.1 and np.array_equal(b, np.zeros(W.shape[1]))


# src/topics/notebooks/02-backprop-from-scratch.py:248
def test_every_intermediate_matches_autograd():
    rng = np.random.default_rng(0)
    for trial in range(24):
        sizes = [int(d) for d in rng.permutation(np.arange(1, 9))[: 2 + trial % 4]]
        sizes[-1] += 1
        n, kind = [1, 2, 5, 9][trial % 4], ["relu", "tanh"][trial % 2]
        params = [(W, rng.normal(size=b.shape)) for W, b in init_params(sizes, rng)]
        X, y = rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], size=n)
        ours = all_gradients(params, X, y, kind)
        theirs = torch_gradients(params, X, y, kind)
        theirs["z unfused"] = theirs[f"z{len(params)}"]
        assert ours.keys() == theirs.keys()
        for name, expected in theirs.items():
            assert ours[name].shape == expected.shape
            assert np.abs(ours[name] - expected).max() < 1e-10, name


# src/topics/notebooks/02-backprop-from-scratch.py:408
def test_nudging_passes_the_right_and_fails_the_wrong():
    rng = np.random.default_rng(1)
    for trial in range(20):
        n, d, k, width = 2 + trial % 3, *(int(v) for v in rng.integers(2, 6, size=3))
        params = init_params([d, width, width, k], rng)
        X, y = rng.normal(size=(n, d)), rng.integers(0, k, size=n)
        for name in ("W1", "b1", "W2", "b2", "W3", "b3"):
            assert nudge_error(params, X, y, name, "tanh") < 1e-7
        for bug, wrong in [("forgot 1/n", "b3"), ("forgot transpose", "W1"),
                           ("forgot phi'", "b2")]:
            assert nudge_error(params, X, y, wrong, "tanh", bug) > 1e-3
            right = "W3" if bug != "forgot 1/n" else None
            assert right is None or nudge_error(params, X, y, right, "tanh", bug) < 1e-7


# src/topics/notebooks/02-backprop-from-scratch.py:423
def test_numerical_gradient_has_order_two_and_restores():
    rng = np.random.default_rng(2)
    for _ in range(20):
        x = rng.normal(size=tuple(rng.integers(1, 5, size=2)))
        kept, exact = x.copy(), np.cos(x) + 3 * x**2
        f = lambda: np.sin(x).sum() + (x**3).sum()
        large, little = (np.abs(numerical_gradient(f, x, h) - exact).max()
                         for h in (1e-2, 1e-3))
        assert np.array_equal(x, kept) and 80 < large / little < 120
    zero = np.zeros(2)
    assert relative_error(zero, zero) == 0 and relative_error(zero + 1, zero - 1) == 1


# src/topics/notebooks/02-backprop-from-scratch.py:708
def test_engine_rules_match_autograd():
    rng = np.random.default_rng(3)
    for trial in range(24):
        n, d, k = [0, 1, 4, 7][trial % 4], *(int(v) for v in rng.integers(1, 7, size=2))
        shapes = [(n, d), (d, k), (k,), (1, k), (n, 1), ()]
        arrays = [rng.normal(size=shape) for shape in shapes]
        ours, theirs = [Node(a) for a in arrays], [torch.tensor(a) for a in arrays]
        X, W, b, row, col, c = ours
        u = matmul(X, W)
        s = add(mul(relu(add(u, b)), row), mul(tanh(u), col))  # u is used twice
        loss = mul(total(mul(s, s)), c)
        X, W, b, row, col, c = (t.requires_grad_() for t in theirs)
        u = X @ W
        s = torch.relu(u + b) * row + torch.tanh(u) * col
        expected = (s * s).sum() * c
        expected.backward()
        backprop(loss)
        size = max(1.0, abs(expected.item()))
        assert abs(loss.value - expected.item()) < 1e-10 * size
        for node, tensor in zip(ours, theirs):
            assert node.grad.shape == tuple(tensor.shape)
            gap = np.abs(node.grad - tensor.grad.numpy()).max(initial=0)
            assert gap < 1e-10 * size


# src/topics/notebooks/02-backprop-from-scratch.py:733
def test_relu_at_its_kink_is_that_of_torch():
    x = np.array([[-1.0, 0.0, -0.0, 2.0]])
    ours, theirs = Node(x), torch.tensor(x, requires_grad=True)
    backprop(total(relu(ours)))
    torch.relu(theirs).sum().backward()
    assert np.array_equal(ours.grad, theirs.grad.numpy())


# src/topics/notebooks/02-backprop-from-scratch.py:741
def test_every_intermediate_of_the_engine_matches_autograd():
    rng = np.random.default_rng(4)
    for _ in range(20):
        m, d, k = (int(v) for v in rng.permutation(np.arange(1, 7))[:3])
        X, W, b = rng.normal(size=(m, d)), rng.normal(size=(d, k)), rng.normal(size=k)
        nodes = build_example(X, W, b)
        t = {name: torch.tensor(v, requires_grad=True) for name, v in
             [("X", X), ("W", W), ("b", b)]}
        t["u"] = t["X"] @ t["W"]
        t["z"] = t["u"] + t["b"]
        t["h"] = torch.relu(t["z"])
        t["s"] = t["h"] + t["u"]
        t["s*s"] = t["s"] * t["s"]
        t["L"] = t["s*s"].sum()
        for tensor in t.values():
            tensor.retain_grad()
        t["L"].backward()
        backprop(nodes["L"])
        for name, tensor in t.items():
            assert np.abs(nodes[name].grad - tensor.grad.numpy()).max() < 1e-10, name


# src/topics/notebooks/02-backprop-from-scratch.py:763
def test_unbroadcast():
    assert unbroadcast(np.ones((4, 3)), ()) == 12
    assert unbroadcast(np.ones((4, 3)), (3,)).tolist() == [4, 4, 4]
    assert unbroadcast(np.ones((2, 4, 3)), (4, 1)).tolist() == [[6]] * 4
    assert unbroadcast(np.ones((0, 3)), (3,)).tolist() == [0, 0, 0]


# src/topics/notebooks/02-backprop-from-scratch.py:770
def test_orders_and_paths():
    for fan_out in (1, 2, 3, 4):
        for k in range(5):
            leaf, top = tower(fan_out, k)
            order = topological_order(top)
            place = {node: i for i, node in enumerate(order)}
            assert len(place) == len(order) == 1 + fan_out * k
            assert set(order) == set(discovery_order(top))
            for node in order:
                assert all(place[parent] < place[node] for parent in node.parents)
            sweep_every_path(top, np.ones(()))
            by_path = leaf.grad
            backprop(top)
            assert leaf.grad == by_path == fan_out**k


# src/topics/notebooks/02-backprop-from-scratch.py:803
def test_path_visits():
    for blocks in range(9):
        assert path_visits(blocks) == sweep_every_path(tower(2, blocks)[1], np.ones(()))
    assert path_visits(96) > 10**29 and len(backprop(tower(2, 96)[1])) == 193


# src/topics/notebooks/02-backprop-from-scratch.py:826
def test_repeated_axes():
    assert repeated_axes((5, 3), (3,)) == (0,) and repeated_axes((5, 3), (5, 1)) == (1,)
    assert repeated_axes((5, 3), (5, 3)) == () and repeated_axes((5, 1), (5, 1)) == ()
    assert repeated_axes((2, 5, 3), (1, 3)) == (0, 1) and repeated_axes((2, 4), ()) == (0, 1)
    rng = np.random.default_rng(5)
    for _ in range(20):
        out = tuple(int(d) for d in rng.integers(1, 5, size=3))
        shape = tuple(1 if rng.random() < 0.4 else d for d in out)[rng.integers(3):]
        g = rng.normal(size=out)
        summed = g.sum(axis=repeated_axes(out, shape)).reshape(shape)
        np.testing.assert_allclose(summed, unbroadcast(g, shape), atol=1e-12)


# src/topics/notebooks/02-backprop-from-scratch.py:862
def test_fused_node_matches_autograd():
    rng = np.random.default_rng(6)
    for trial in range(24):
        n, K = int(rng.integers(1, 9)), int(rng.integers(2, 12))
        s, y = rng.normal(size=(n, K)) * [1, 10, 1000][trial % 3], rng.integers(0, K, size=n)
        if trial % 5 == 0:
            s[:, :2] = 3.0  # ties
        ours, theirs = Node(s), torch.tensor(s, requires_grad=True)
        loss = softmax_cross_entropy(ours, y)
        backprop(mul(loss, loss))  # a gradient other than 1 must come in
        expected = F.cross_entropy(theirs, torch.tensor(y))
        (expected * expected).backward()
        size = max(1.0, expected.item())
        assert abs(loss.value - expected.item()) < 1e-10 * size
        assert np.abs(ours.grad - theirs.grad.numpy()).max() < 1e-10 * size


# src/topics/notebooks/02-backprop-from-scratch.py:897
def test_row_max():
    rng = np.random.default_rng(7)
    for trial in range(20):
        n, d = (int(v) for v in rng.integers(1, 6, size=2))
        value = rng.normal(size=(n, d)).round(trial % 3)  # rounding makes ties
        ours, theirs = Node(value), torch.tensor(value, requires_grad=True)
        top, expected = row_max(ours), theirs.amax(dim=1, keepdim=True)
        assert np.array_equal(top.value, expected.detach().numpy())
        backprop(total(mul(add(top, ours), top)))
        ((expected + theirs) * expected).sum().backward()
        assert np.abs(ours.grad - theirs.grad.numpy()).max() < 1e-10


# src/topics/notebooks/02-backprop-from-scratch.py:936
def test_layer_norm():
    rng = np.random.default_rng(8)
    for _ in range(20):
        n, d = (int(v) for v in rng.integers(1, 8, size=2))
        value, g = rng.normal(size=(2, n, d)) * 3
        ours, theirs = Node(value), torch.tensor(value, requires_grad=True)
        out, expected = layer_norm(ours), F.layer_norm(theirs, (d,))
        np.testing.assert_allclose(out.value, expected.detach().numpy(), atol=1e-10)
        backprop(total(mul(out, Node(g))))
        (expected * torch.tensor(g)).sum().backward()
        assert np.abs(ours.grad - theirs.grad.numpy()).max() < 1e-10


# src/topics/notebooks/02-backprop-from-scratch.py:1060
def test_checker_catches_each_bug_on_its_graph():
    cases = [(plain_graph, 1), (plain_graph, 5), (square_graph, 4), (skip_graph, 3)]
    bugs = ["tanh rule", "mean", "overwrite", "order"]
    for seed in range(5):
        for j, (build, n) in enumerate(cases):
            assert check_engine(build, n, "none", seed) < 1e-7
            for i, bug in enumerate(bugs):
                error = check_engine(build, n, bug, seed)
                assert error > 1e-3 if i <= j else error < 1e-7, (seed, i, j)


# src/topics/notebooks/02-backprop-from-scratch.py:1093
def test_direction_error():
    calls = []

    def f(A: np.ndarray, B: np.ndarray) -> float:
        calls.append(1)
        return float(np.sin(A).sum() * (B**2).sum())

    rng = np.random.default_rng(9)
    for seed in range(20):
        A, B = rng.normal(size=(4, 3)), rng.normal(size=5)
        dA, dB = np.cos(A) * (B**2).sum(), 2 * B * np.sin(A).sum()
        calls.clear()
        assert direction_error(f, [A, B], [dA, dB], seed) < 1e-5 and len(calls) == 2
        assert direction_error(f, [A, B], [dA, 1.1 * dB], seed) > 1e-5
        assert direction_error(f, [A, B], [-dA, -dB], seed) > 0.99


# src/topics/notebooks/02-backprop-from-scratch.py:1202
def test_three_trainers_agree():
    rng = np.random.default_rng(10)
    X, y = rng.random((60, 64)), rng.integers(0, 10, size=60)
    for seed in range(3):
        hand = train_by_hand(X, y, seed, steps=12)
        assert len(hand[1]) == 12 and hand[1][0] != hand[1][-1]
        assert distance(hand, train_by_engine(X, y, seed, steps=12)) < 1e-10
        assert distance(hand, train_by_torch(X, y, seed, steps=12)) < 1e-10
        assert distance(hand, train_by_hand(X, y, seed, "forgot phi'", steps=12)) > 1e-3


# src/topics/notebooks/02-backprop-from-scratch.py:1364
def test_deep_network_matches_autograd():
    rng = np.random.default_rng(11)
    for trial in range(20):
        depth, n, skip = int(rng.integers(1, 6)), int(rng.integers(1, 5)), trial % 2 == 0
        params = init_params([7, *[4] * (depth + 1), 3], rng)
        X, y = rng.normal(size=(n, 7)), rng.integers(0, 3, size=n)
        layers = [(Node(W), Node(b)) for W, b in params]
        logits, h = deep_network(Node(X), layers, skip)
        backprop(softmax_cross_entropy(logits, y))
        theirs = [[torch.tensor(a, requires_grad=True) for a in pair] for pair in params]
        t = [torch.tensor(X, requires_grad=True)]
        for l, (W, b) in enumerate(theirs[:-1]):
            new = torch.tanh(t[-1] @ W + b)
            t.append(new + t[-1] if skip and l > 0 else new)
        for tensor in t:
            tensor.retain_grad()
        F.cross_entropy(t[-1] @ theirs[-1][0] + theirs[-1][1], torch.tensor(y)).backward()
        for ours, tensor in zip(h + sum(map(list, layers), []), t + sum(theirs, [])):
            assert np.abs(ours.grad - tensor.grad.numpy()).max() < 1e-10


# src/topics/notebooks/02-backprop-from-scratch.py:1385
def test_train_deep_takes_the_first_step_of_torch():
    for seed in range(20):
        depth, skip = seed % 5, seed % 2 == 0
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(50, 6)), rng.integers(0, 10, size=50)
        layers, norms = train_deep(X, y, depth, skip, seed, steps=1, lr=0.3, gain=0.7)
        rng = np.random.default_rng(seed)
        params = init_params([6, *[32] * (depth + 1), 10], rng, 0.7)
        rows = rng.integers(50, size=32)
        theirs = [[torch.tensor(a, requires_grad=True) for a in pair] for pair in params]
        t = [torch.tensor(X[rows])]
        for l, (W, b) in enumerate(theirs[:-1]):
            new = torch.tanh(t[-1] @ W + b)
            t.append(new + t[-1] if skip and l > 0 else new)
            t[-1].retain_grad()
        F.cross_entropy(t[-1] @ theirs[-1][0] + theirs[-1][1],
                        torch.tensor(y[rows])).backward()
        for node, tensor in zip(sum(map(list, layers), []), sum(theirs, [])):
            moved = tensor.detach() - 0.3 * tensor.grad
            assert np.abs(node.value - moved.numpy()).max() < 1e-10
        expected = {"h": t[1:-1], "dh": [a.grad for a in t[2:]],
                    "dW": [W.grad for W, _ in theirs[1:-1]]}
        for name, tensors in expected.items():
            want = [a.detach().norm().item() for a in tensors]
            assert len(want) == depth
            np.testing.assert_allclose(norms[name], want, rtol=1e-9)


# src/topics/notebooks/02-backprop-from-scratch.py:1413
def test_accuracy():
    params = [(np.eye(3), np.array([0.0, 0, 1]))]
    X = np.array([[3.0, 0, 1], [0, 3, 1], [1, 0, 0.5]])  # answers 0, 1, 2
    assert accuracy(params, X, np.array([0, 1, 2])) == 1
    assert accuracy(params, X, np.array([0, 2, 2])) == 2 / 3


# src/topics/notebooks/02-backprop-from-scratch.py:1505
def test_input_gradient_and_attack():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, d, k = (int(v) for v in rng.integers(2, 7, size=3))
        params = init_params([d, 5, k], rng)
        X, y = rng.random((n, d)), rng.integers(0, k, size=n)
        t = torch.tensor(X, requires_grad=True)
        (W1, b1), (W2, b2) = [[torch.tensor(a) for a in pair] for pair in params]
        logits = torch.relu(t @ W1 + b1) @ W2 + b2
        F.cross_entropy(logits, torch.tensor(y), reduction="sum").backward()
        expected = t.grad.numpy()
        assert np.abs(input_gradient(params, X, y) - expected).max() < 1e-10
        moved = attack(params, X, y, 0.1)
        assert moved.min() >= 0 and moved.max() <= 1
        np.testing.assert_allclose(moved, np.clip(X + 0.1 * np.sign(expected), 0, 1))


# src/topics/notebooks/02-backprop-from-scratch.py:1544
def test_smallest_step():
    rng, grid = np.random.default_rng(14), np.linspace(0, 0.5, 501)
    for _ in range(20):  # for a linear model with two classes the answer is a formula
        w = rng.normal(size=6)
        params = [(np.stack([w, -w], axis=1), np.zeros(2))]
        x = np.full(6, 0.5) + 0.1 * rng.normal(size=6)
        y = int(w @ x < 0)
        expected = abs(w @ x) / abs(w).sum()
        found = smallest_step(params, x, y, grid)
        if expected + 0.3 < 0.5:  # no pixel was clipped
            assert -1e-9 < found - expected < 1.1e-3
    assert smallest_step(params, x, y, np.array([0.0])) == float("inf")
