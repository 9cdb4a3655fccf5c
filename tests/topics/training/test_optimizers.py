# Generated from src/topics/training/optimizers.py: edit that file, then run doit. digest:f00915c4ba96ae78

"""Tests of training/optimizers: Optimizers."""

import numpy as np


# src/topics/training/optimizers.py:69
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/training/optimizers.py:76
def adam(
    g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> np.ndarray:
    """Adam's direction for the gradient g; `state` remembers t, m and v."""
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


# src/topics/training/optimizers.py:86
def row_errors(Q: np.ndarray, f: np.ndarray, rule: str, lr: float, steps: int) -> np.ndarray:
    """Divergence (K,) of each row of a logit table from the rows of Q (K, K).

    f (K,) holds the rows' frequencies; the table starts at zero.
    """
    table, state = np.zeros(Q.shape), {}
    for t in range(steps):
        g = f[:, None] * (softmax(table) - Q)
        table = table - lr * (1 - t / steps) * (adam(g, state) if rule == "adam" else g)
    log_ratio = np.log(np.where(Q > 0, Q, 1.0)) - np.log(softmax(table))
    return (Q * log_ratio).sum(axis=1)


# src/topics/training/optimizers.py:169
def momentum(g: np.ndarray, state: dict, beta: float = 0.9, nesterov: bool = False):
    """The direction of momentum for the gradient g; `state` remembers v."""
    v = state["v"] = beta * state.get("v", 0.0) + g
    return g + beta * v if nesterov else v


# src/topics/training/optimizers.py:175
def step(W: np.ndarray, direction: np.ndarray, lr: float, decay: float = 0.0) -> np.ndarray:
    """W after one step, with decoupled weight decay."""
    return (1 - lr * decay) * W - lr * direction


# src/topics/training/optimizers.py:204
def check_rule(rule, make, steps=12, transposed=False):
    """Same weights as torch after every step, over random shapes; float64."""
    import torch

    rng = np.random.default_rng(0)
    shapes = [(1, 1), (1, 5), (4, 1)] + [tuple(rng.integers(2, 9, 2)) for _ in range(18)]
    for case, shape in enumerate(shapes):
        W, size = rng.normal(size=shape), 10.0 ** (case % 5 - 2)
        tensor = torch.nn.Parameter(torch.from_numpy(W.T if transposed else W).clone())
        optimizer, state = make(tensor), {}
        for _ in range(steps):
            g = size * rng.normal(size=shape)
            tensor.grad = torch.from_numpy(g.T if transposed else g).clone()
            optimizer.step()
            W = rule(W, g, state)
            want = tensor.detach().numpy()
            assert np.allclose(W, want.T if transposed else want, rtol=1e-11, atol=1e-13)


# src/topics/training/optimizers.py:305
def orthogonalise(G: np.ndarray, steps: int = 5) -> np.ndarray:
    """G with all singular values pushed towards 1, by Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G / max(np.linalg.norm(G), 1e-7)  # now all singular values are at most 1
    wide = X if X.shape[0] <= X.shape[1] else X.T  # the smaller product
    for _ in range(steps):
        S = wide @ wide.T
        wide = a * wide + (b * S + c * S @ S) @ wide
    return wide if X.shape[0] <= X.shape[1] else wide.T


# src/topics/training/optimizers.py:316
def muon(g: np.ndarray, state: dict, beta: float = 0.95) -> np.ndarray:
    """Muon's direction for the gradient g (d_in, d_out) of a hidden matrix."""
    d_in, d_out = g.shape
    O = orthogonalise(momentum(g, state, beta, nesterov=True))
    return O * np.sqrt(max(1.0, d_out / d_in))


# src/topics/training/optimizers.py:360
def cosine(t: int, T: int, w: int) -> float:
    """Factor of the rate at step t of T, after w steps of warm-up."""
    if t < w:
        return t / w
    return (1 + np.cos(np.pi * (t - w) / (T - w))) / 2


# src/topics/training/optimizers.py:367
def wsd(t: int, T: int, w: int, r: int) -> float:
    """Warm-up for w steps, then 1, then straight down to 0 over the last r."""
    return t / w if t < w else min(1.0, (T - t) / r)


# src/topics/training/optimizers.py:372
def clip(gradients: list[np.ndarray], most: float) -> list[np.ndarray]:
    """All gradients scaled by one number so that their joint norm is at most `most`."""
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1.0, most / (norm + 1e-6)) for g in gradients]


# src/topics/training/optimizers.py:405
CONTEXT = 5


# src/topics/training/optimizers.py:409
def draw_network(rng: np.random.Generator, d: int = 16, width: int = 128) -> dict:
    """Random weights of the five-character model."""
    return {"E": rng.normal(size=(64, d)),
            "W_1": rng.normal(size=(CONTEXT * d, width)) * np.sqrt(2 / (CONTEXT * d)),
            "b_1": np.zeros(width),
            "W_2": rng.normal(size=(width, 64)) * 0.1 / np.sqrt(width), "b_2": np.zeros(64)}


# src/topics/training/optimizers.py:417
def loss_and_gradients(P: dict, x: np.ndarray, y: np.ndarray) -> tuple[float, dict]:
    """Mean cross-entropy of contexts x (B, CONTEXT) and targets y (B,); gradients."""
    B = len(x)
    e = P["E"][x].reshape(B, -1)
    h = np.maximum(e @ P["W_1"] + P["b_1"], 0)
    p = softmax(h @ P["W_2"] + P["b_2"])
    loss = -np.log(p[np.arange(B), y]).mean()
    p[np.arange(B), y] -= 1
    ds = p / B
    dz = ds @ P["W_2"].T * (h > 0)
    dE = np.zeros_like(P["E"])
    np.add.at(dE, x.ravel(), (dz @ P["W_1"].T).reshape(B * CONTEXT, -1))
    return loss, {"E": dE, "W_1": e.T @ dz, "b_1": dz.sum(axis=0),
                  "W_2": h.T @ ds, "b_2": ds.sum(axis=0)}


# src/topics/training/optimizers.py:433
def direction(rule: str, name: str, g: np.ndarray, state: dict) -> np.ndarray:
    """The step direction of parameter `name` under a rule."""
    if rule == "sgd":
        return g
    if rule in ("momentum", "nesterov"):
        return momentum(g, state, nesterov=rule == "nesterov")
    if rule == "muon" and name == "W_1":
        return muon(g, state)
    return adam(g, state, beta2=0.95) * (0.3 if rule == "muon" else 1.0)


# src/topics/training/optimizers.py:518
BASE = 32


# src/topics/training/optimizers.py:521
def rate_factors(width: int, mup: bool) -> tuple[list[float], float]:
    """Adam's rate factors of three layers, and a factor on the initial output."""
    k = width / BASE if mup else 1.0
    return [1.0, 1 / k, 1 / k], k**-0.5


# src/topics/training/optimizers.py:606
def training_bytes(parameters: int, states: float = 2.0) -> float:
    """Bytes of weights, gradients, float32 copy and `states` float32 arrays."""
    return parameters * (2 + 2 + 4 + 4 * states)


# src/topics/training/optimizers.py:840
def constant_gradient() -> tuple[float, float, float]:
    """Position (plain), speed a step (momentum), position (Adam)."""
    return 5 - 100 * 0.01 * 0.02, 0.01 * 0.02 / (1 - 0.9), 5 - 100 * 0.01


# src/topics/training/optimizers.py:866
def largest_model() -> tuple[float, float]:
    """Parameters that fit into 60e9 bytes: AdamW, one state."""
    return 60e9 / 16, 60e9 / 12


# src/topics/training/optimizers.py:887
def lion(g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.99) -> np.ndarray:
    """Lion's direction for the gradient g; `state` remembers m."""
    m = state.get("m", np.zeros_like(g))
    state["m"] = beta2 * m + (1 - beta2) * g
    return np.sign(beta1 * m + (1 - beta1) * g)


# src/topics/training/optimizers.py:915
def amsgrad(g: np.ndarray, state: dict, beta1: float = 0.9, beta2: float = 0.999,
            eps: float = 1e-8) -> np.ndarray:
    """AMSGrad's direction; `state` remembers t, m, v and the largest v."""
    adam(g, state, beta1, beta2, eps)  # for its averages
    top = state["top"] = np.maximum(state.get("top", 0.0), state["v"])
    t = state["t"]
    return state["m"] / (1 - beta1**t) / (np.sqrt(top / (1 - beta2**t)) + eps)


# src/topics/training/optimizers.py:942
def ema_step(state: dict, W: np.ndarray, decay: float) -> np.ndarray:
    """The average after seeing W; `state` remembers it under "average"."""
    average = state.get("average", W)
    state["average"] = decay * average + (1 - decay) * W
    return state["average"]


# src/topics/training/optimizers.py:976
def steps_to(level: float, s: float, a: float, b: float, c: float) -> int:
    """Applications of a s + b s^3 + c s^5 until s >= level."""
    steps = 0
    while s < level:
        s, steps = a * s + b * s**3 + c * s**5, steps + 1
    return steps


# src/topics/training/optimizers.py:223
def test_sgd_momentum_nesterov_are_torchs():
    import torch

    for beta in (0.0, 0.5, 0.9):
        for nesterov in (False, True)[: 1 + (beta > 0)]:
            check_rule(
                lambda W, g, s: step(W, momentum(g, s, beta, nesterov), 0.03),
                lambda p: torch.optim.SGD([p], lr=0.03, momentum=beta, nesterov=nesterov))
    # decay in the gradient, as SGD has it: for plain descent the same as outside
    check_rule(lambda W, g, s: step(W, g, 0.03, decay=0.2),
               lambda p: torch.optim.SGD([p], lr=0.03, weight_decay=0.2))


# src/topics/training/optimizers.py:236
def test_adam_and_adamw_are_torchs():
    import torch

    check_rule(lambda W, g, s: step(W, adam(g, s), 0.01),
               lambda p: torch.optim.Adam([p], lr=0.01))
    check_rule(lambda W, g, s: step(W, adam(g, s, 0.8, 0.95, 1e-3), 0.01, decay=0.3),
               lambda p: torch.optim.AdamW([p], lr=0.01, betas=(0.8, 0.95), eps=1e-3,
                                           weight_decay=0.3))
    # L2 in the gradient is another method
    check_rule(lambda W, g, s: step(W, adam(g + 0.3 * W, s), 0.01),
               lambda p: torch.optim.Adam([p], lr=0.01, weight_decay=0.3))


# src/topics/training/optimizers.py:249
def test_adam_ignores_scale():
    rng = np.random.default_rng(1)
    one, other = {}, {}
    for _ in range(20):
        g = rng.normal(size=(3, 4))
        assert np.allclose(adam(g, one, eps=0.0), adam(1000 * g, other, eps=0.0))
    assert np.all(adam(np.zeros(3), {}) == 0)


# src/topics/training/optimizers.py:258
def test_row_errors():
    rng = np.random.default_rng(2)
    Q, f = rng.dirichlet(np.ones(5), size=4), np.array([0.4, 0.3, 0.2, 0.1])
    start = row_errors(Q, f, "sgd", 1.0, 0)
    assert np.allclose(start, np.log(5) + (Q * np.log(Q)).sum(axis=1))
    assert row_errors(Q, f, "sgd", 20.0, 1000).max() < 1e-3
    assert row_errors(Q, f, "adam", 0.1, 400).max() < 1e-3
    table = -2.0 * f[:, None] * (0.2 - Q)  # one step by hand
    log_p = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    want = (Q * (np.log(Q) - log_p)).sum(axis=1)
    assert np.allclose(row_errors(Q, f, "sgd", 2.0, 1), want)


# src/topics/training/optimizers.py:622
def test_muon_is_torchs():
    import torch
    from torch.optim import _muon

    def exact(grad, coefficients, steps, eps):  # torch computes this part in bfloat16
        return torch.from_numpy(orthogonalise(grad.numpy().T, steps).T.copy())

    original = _muon._zeropower_via_newtonschulz
    _muon._zeropower_via_newtonschulz = exact
    try:
        check_rule(lambda W, g, s: step(W, muon(g, s), 0.02, decay=0.1),
                   lambda p: torch.optim.Muon([p], lr=0.02, weight_decay=0.1, momentum=0.95),
                   transposed=True)
    finally:
        _muon._zeropower_via_newtonschulz = original
    rng = np.random.default_rng(3)
    for _ in range(20):  # and the part itself, within bfloat16's 8 bits
        g = rng.normal(size=rng.integers(2, 12, size=2))
        want = original(torch.from_numpy(g), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        assert np.abs(orthogonalise(g) - want.double().numpy()).max() < 0.06


# src/topics/training/optimizers.py:644
def test_orthogonalise():
    rng = np.random.default_rng(4)
    for _ in range(20):
        n, m = rng.integers(1, 12, size=2)
        G = rng.normal(size=(n, m))
        U, sigma, V = np.linalg.svd(G, full_matrices=False)
        O = orthogonalise(G)
        assert O.shape == (n, m)
        inner = U.T @ O @ V.T  # the same singular vectors, other values
        assert np.allclose(inner, np.diag(np.diag(inner)), atol=1e-9)
        large = sigma > 0.05 * np.linalg.norm(sigma)
        assert np.all((np.diag(inner)[large] > 0.5) & (np.diag(inner)[large] < 1.3))
        x = sigma / np.linalg.norm(sigma)
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
        assert np.allclose(np.diag(inner), x, atol=1e-9)
    assert np.all(orthogonalise(np.zeros((2, 3))) == 0)


# src/topics/training/optimizers.py:663
def test_schedules_are_torchs():
    import warnings

    import torch
    from torch.optim import lr_scheduler

    T, w, r = 60, 12, 20
    for kind in ("cosine", "wsd"):
        p = torch.nn.Parameter(torch.zeros(1))
        sgd = torch.optim.SGD([p], lr=0.5)
        up = lr_scheduler.LinearLR(sgd, 1e-9, 1.0, w)
        if kind == "cosine":
            parts, ends = [up, lr_scheduler.CosineAnnealingLR(sgd, T - w)], [w]
        else:
            flat = lr_scheduler.ConstantLR(sgd, 1.0, 1)
            down = lr_scheduler.LinearLR(sgd, 1.0, 0.0, r)
            parts, ends = [up, flat, down], [w, T - r]
        schedule = lr_scheduler.SequentialLR(sgd, parts, ends)
        for t in range(T + 1):
            ours = cosine(t, T, w) if kind == "cosine" else wsd(t, T, w, r)
            assert abs(0.5 * ours - sgd.param_groups[0]["lr"]) < 1e-8, (kind, t)
            sgd.step()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                schedule.step()
    assert wsd(3, 10, 0, 10) == 0.7 and cosine(5, 10, 0) == 0.5
    assert wsd(0, 10, 0, 10) == cosine(0, 10, 0) == 1.0  # no warm-up at all


# src/topics/training/optimizers.py:692
def test_clip_is_torchs():
    import torch

    rng = np.random.default_rng(5)
    for _ in range(20):
        gradients = [rng.normal(size=s) * 10.0 ** rng.integers(-2, 3)
                     for s in ((3, 2), (4,), (1, 1))]
        params = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64))
                  for g in gradients]
        for p, g in zip(params, gradients):
            p.grad = torch.from_numpy(g.copy())
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        for p, ours in zip(params, clip(gradients, 1.0)):
            assert np.allclose(p.grad.numpy(), ours, rtol=1e-12)


# src/topics/training/optimizers.py:708
def test_network_gradients():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(6)
    P = draw_network(rng)
    assert not P["b_1"].any() and not P["b_2"].any()
    for name, size in (("E", 1.0), ("W_1", (2 / 80) ** 0.5), ("W_2", 0.1 / 128**0.5)):
        assert 0.9 < P[name].std() / size < 1.1
    for _ in range(4):
        P = draw_network(rng, d=3, width=7)
        x, y = rng.integers(64, size=(9, CONTEXT)), rng.integers(64, size=9)
        loss, G = loss_and_gradients(P, x, y)
        T = {name: torch.from_numpy(W).requires_grad_() for name, W in P.items()}
        h = (T["E"][x].reshape(9, -1) @ T["W_1"] + T["b_1"]).relu()
        want = F.cross_entropy(h @ T["W_2"] + T["b_2"], torch.from_numpy(y))
        want.backward()
        assert np.isclose(loss, want.item())
        for name in P:
            assert np.allclose(G[name], T[name].grad.numpy(), atol=1e-14)


# src/topics/training/optimizers.py:730
def test_directions():
    rng = np.random.default_rng(7)
    g = rng.normal(size=(4, 6))
    assert np.array_equal(direction("sgd", "W_1", g, {}), g)
    assert np.array_equal(direction("momentum", "W_1", g, {}), g)
    assert np.allclose(direction("nesterov", "b_1", g, {}), 1.9 * g)
    assert np.allclose(direction("adam", "E", g, {}), np.sign(g), atol=1e-5)
    assert np.allclose(direction("muon", "E", g, {}), 0.3 * np.sign(g), atol=1e-5)
    assert np.allclose(direction("muon", "W_1", g, {}), muon(g, {}))
    assert rate_factors(128, True) == ([1.0, 0.25, 0.25], 0.5)
    assert rate_factors(128, False) == ([1.0, 1.0, 1.0], 1.0)


# src/topics/training/optimizers.py:743
def test_memory():
    assert training_bytes(10) == 160 and training_bytes(10, 1) == 120


# src/topics/training/optimizers.py:848
def test_constant_gradient():
    plain, speed, other = constant_gradient()
    W, Z, s, fast = np.array([5.0]), np.array([5.0]), {}, {}
    for _ in range(100):
        W, Z = step(W, np.array([0.02]), 0.01), step(Z, adam(np.array([0.02]), s, eps=0), 0.01)
    for _ in range(300):
        v = momentum(np.array([0.02]), fast)
    assert np.allclose([plain, speed, other], [W[0], 0.01 * v[0], Z[0]])


# src/topics/training/optimizers.py:874
def test_largest_model():
    adamw, one = largest_model()
    assert np.isclose(training_bytes(adamw), 60e9)
    assert np.isclose(training_bytes(one, 1), 60e9)


# src/topics/training/optimizers.py:897
def test_lion():
    state = {}
    assert lion(np.array([4.0, -0.01, 0.0]), state).tolist() == [1, -1, 0]
    # m = 0.04, -0.0001, 0: the old gradient against the new one
    seen = lion(np.array([-0.3, 0.0, 2.0]), state)
    assert seen.tolist() == [1, -1, 1]  # 0.036 - 0.03 > 0
    assert np.allclose(state["m"], [0.99 * 0.04 - 0.003, -0.99e-4, 0.02])


# src/topics/training/optimizers.py:927
def test_amsgrad():
    import torch

    check_rule(lambda W, g, s: step(W, amsgrad(g, s, beta2=0.7), 0.01),
               lambda p: torch.optim.Adam([p], lr=0.01, betas=(0.9, 0.7), amsgrad=True))


# src/topics/training/optimizers.py:952
def test_ema_step():
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

    rng, state = np.random.default_rng(8), {}
    layer = torch.nn.Linear(3, 2, bias=False).double()
    averaged = AveragedModel(layer, avg_fn=get_ema_avg_fn(0.9))
    for _ in range(6):
        W = rng.normal(size=(2, 3))
        layer.weight.data = torch.from_numpy(W)
        averaged.update_parameters(layer)
        ours = ema_step(state, W, 0.9)
        assert np.allclose(ours, averaged.module.weight.detach().numpy(), rtol=1e-12)


# src/topics/training/optimizers.py:987
def test_steps_to():
    assert steps_to(0.7, 0.001, 3.4445, -4.7750, 2.0315) == 6
    assert steps_to(0.7, 0.001, 1.5, -0.5, 0.0) == 17
    assert steps_to(0.7, 0.8, 1.5, -0.5, 0.0) == 0
