# Generated from src/topics/modern-llms/efficient-adaptation.py: edit that file, then run doit. digest:f8faaed902aaa0c5

"""Tests of modern-llms/efficient-adaptation: Efficient adaptation."""

import copy
import numpy as np
import torch
from scipy.stats import norm
from torch import nn


# src/topics/modern-llms/efficient-adaptation.py:44
LLAMA2_7B = 6_738_415_616


# src/topics/modern-llms/efficient-adaptation.py:47
def llama_lora(r: int, L: int = 32, D: int = 4096, F: int = 11008) -> int:
    """LoRA parameters of rank r for the seven matrices of each of L Llama layers."""
    attention = 4 * r * (D + D)  # q, k, v, o
    feed_forward = 3 * r * (D + F)  # gate, up, down
    return L * (attention + feed_forward)


# src/topics/modern-llms/efficient-adaptation.py:120
def lora_forward(
    X: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> np.ndarray:
    """X (n, d_in), W (d_in, d_out), A (d_in, r), B (r, d_out): Y (n, d_out)."""
    return X @ W + alpha / A.shape[1] * (X @ A) @ B


# src/topics/modern-llms/efficient-adaptation.py:127
def lora_backward(
    G: np.ndarray, X: np.ndarray, W: np.ndarray,
    A: np.ndarray, B: np.ndarray, alpha: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From G (n, d_out): dX, dA, dB. The frozen W gets none."""
    s, GB = alpha / A.shape[1], G @ B.T
    return G @ W.T + s * GB @ A.T, s * X.T @ GB, s * (X @ A).T @ G


# src/topics/modern-llms/efficient-adaptation.py:136
def merge(W: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float) -> np.ndarray:
    """The one matrix (d_in, d_out) that does the same."""
    return W + alpha / A.shape[1] * A @ B


# src/topics/modern-llms/efficient-adaptation.py:165
def random_lora(rng):
    """X, W, A, B, alpha, all sizes different."""
    n, d_in, d_out, r = rng.permutation(np.arange(1, 9))[:4]
    return (rng.normal(size=(n, d_in)), rng.normal(size=(d_in, d_out)),
            rng.normal(size=(d_in, r)), rng.normal(size=(r, d_out)),
            float(rng.integers(1, 33)))


# src/topics/modern-llms/efficient-adaptation.py:173
def peft_layer(W, A, B, alpha, **options):
    """A torch layer of (d_in, d_out) adapted by peft, with our weights."""
    from peft import LoraConfig, inject_adapter_in_model

    model = nn.Sequential(nn.Linear(*W.shape, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(W.T))
    config = LoraConfig(r=A.shape[1], lora_alpha=alpha, target_modules=["0"], **options)
    model = inject_adapter_in_model(config, model)
    with torch.no_grad():
        model[0].lora_A["default"].weight.copy_(torch.from_numpy(A.T))
        model[0].lora_B["default"].weight.copy_(torch.from_numpy(B.T))
    return model


# src/topics/modern-llms/efficient-adaptation.py:237
class LoRALinear(nn.Module):
    """A frozen nn.Linear plus (alpha / r) x A B, with B zero at first."""

    def __init__(self, base: nn.Linear, r: int, alpha: float) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / r
        d_out, d_in = base.weight.shape
        self.A = nn.Parameter(torch.randn(d_in, r) / d_in**0.5)
        self.B = nn.Parameter(torch.zeros(r, d_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., d_in) to (..., d_out)."""
        return self.base(x) + self.scale * (x @ self.A) @ self.B


# src/topics/modern-llms/efficient-adaptation.py:252
def train(model: nn.Module, X: torch.Tensor, y: torch.Tensor, lr: float, seed: int,
          steps: int = 100) -> nn.Module:
    """Adam on batches of 50 of X (n, 784), y (n,), the rate falling to zero."""
    rng = torch.Generator().manual_seed(seed)
    trained = [W for W in model.parameters() if W.requires_grad]
    adam = torch.optim.Adam(trained, lr, fused=True)
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        rows = torch.randint(len(y), (50,), generator=rng)
        loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


# src/topics/modern-llms/efficient-adaptation.py:268
def accuracy(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> float:
    """Share of X (n, 784) whose largest score is the label's."""
    with torch.no_grad():
        return (model(X).argmax(dim=1) == y).float().mean().item()


# src/topics/modern-llms/efficient-adaptation.py:274
def network(seed: int) -> nn.Sequential:
    """784, 256, 256, 10."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
                         nn.Linear(256, 10))


# src/topics/modern-llms/efficient-adaptation.py:281
def adapted(base: nn.Sequential, way: str | int, seed: int) -> nn.Sequential:
    """A copy of base of which only a part is trained; a number is a LoRA's rank."""
    if way == "nothing known":
        return network(seed + 50)
    model = copy.deepcopy(base).requires_grad_(way == "all weights")
    torch.manual_seed(seed)
    if way == "last layer":
        model[4].requires_grad_(True)
    elif way == "biases":
        for i in (0, 2, 4):
            model[i].bias.requires_grad_(True)
    elif isinstance(way, int):
        for i in (0, 2, 4):
            model[i] = LoRALinear(model[i], way, alpha=16)
    return model


# src/topics/modern-llms/efficient-adaptation.py:298
def trained_numbers(model: nn.Module) -> int:
    """How many parameters are trained."""
    return sum(W.numel() for W in model.parameters() if W.requires_grad)


# src/topics/modern-llms/efficient-adaptation.py:420
def cut(delta: np.ndarray, r: int) -> np.ndarray:
    """The part of delta (d_in, d_out) along its r largest singular directions."""
    U, s, Vt = np.linalg.svd(delta, full_matrices=False)
    return (U[:, :r] * s[:r]) @ Vt[:r]


# src/topics/modern-llms/efficient-adaptation.py:426
def weight(model: nn.Sequential, i: int) -> np.ndarray:
    """The matrix (d_out, d_in) of module i in float64."""
    return model[i].weight.detach().double().numpy()


# src/topics/modern-llms/efficient-adaptation.py:480
def first_change(
    r: int, power: float, n: int, rng: np.random.Generator, d: int = 256
) -> float:
    """Change of the first output after Adam's first step on n unrelated examples.

    The scale is 16 / r^power, the rate 0.001.
    """
    X, G = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    A = rng.normal(size=(d, r)) / np.sqrt(d)
    s = 16 / r**power
    B = -1e-3 * np.sign(s * (X @ A).T @ G)  # Adam's first step from zero
    return float(np.sqrt(np.mean((s * X[0] @ A @ B) ** 2)))


# src/topics/modern-llms/efficient-adaptation.py:545
def nf4_levels() -> np.ndarray:
    """The 16 values of NF4, from -1 to 1."""
    top = 1 - (1 / 32 + 1 / 30) / 2
    positive = norm.ppf(np.linspace(top, 0.5, 9)[:-1])
    negative = -norm.ppf(np.linspace(top, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([negative, [0.0], positive]))
    return levels / levels[-1]


# src/topics/modern-llms/efficient-adaptation.py:554
def quantise(
    W: np.ndarray, levels: np.ndarray, block: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n / block, block) in 0, ..., 15 and one scale for each block."""
    blocks = W.reshape(-1, block)
    scales = np.abs(blocks).max(axis=1, keepdims=True)
    scales = np.where(scales == 0, 1.0, scales)
    codes = np.abs((blocks / scales)[..., None] - levels).argmin(axis=-1)
    return codes.astype(np.uint8), scales


# src/topics/modern-llms/efficient-adaptation.py:565
def dequantise(
    codes: np.ndarray, scales: np.ndarray, levels: np.ndarray, shape: tuple
) -> np.ndarray:
    """The weights that the codes stand for."""
    return (levels[codes] * scales).reshape(shape)


# src/topics/modern-llms/efficient-adaptation.py:572
def training_gigabytes(frozen_bits: float, trained: int, P: int = LLAMA2_7B) -> float:
    """P frozen weights, and 16 bytes for each trained number; without activations."""
    return (P * frozen_bits / 8 + 16 * trained) / 1e9


# src/topics/modern-llms/efficient-adaptation.py:643
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# src/topics/modern-llms/efficient-adaptation.py:650
def prefix_attention(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, P_k: np.ndarray, P_v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Attention with k learnt rows before K, V: output (n, d_v), share on them (n,)."""
    A = softmax(Q @ np.concatenate([P_k, K]).T / np.sqrt(K.shape[1]))
    return A @ np.concatenate([P_v, V]), A[:, : len(P_k)].sum(axis=1)


# src/topics/modern-llms/efficient-adaptation.py:658
def adapter(H: np.ndarray, D: np.ndarray, U: np.ndarray) -> np.ndarray:
    """H (n, d) plus a bottleneck, D (d, r), U (r, d); U = 0 changes nothing."""
    return H + np.maximum(H @ D, 0) @ U


# src/topics/modern-llms/efficient-adaptation.py:906
def largest_rank(d_in: int, d_out: int, q: float) -> int:
    """The largest r with r (d_in + d_out) <= q d_in d_out."""
    return int(q * d_in * d_out / (d_in + d_out))


# src/topics/modern-llms/efficient-adaptation.py:929
def unmerge(
    W_merged: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> np.ndarray:
    """The frozen matrix (d_in, d_out)."""
    return W_merged - alpha / A.shape[1] * A @ B


# src/topics/modern-llms/efficient-adaptation.py:956
def dora_forward(
    X: np.ndarray, W: np.ndarray, A: np.ndarray, B: np.ndarray,
    alpha: float, m: np.ndarray,
) -> np.ndarray:
    """X (n, d_in), m (d_out,), the rest as in lora_forward: (n, d_out)."""
    V = merge(W, A, B, alpha)
    return X @ (m * V / np.linalg.norm(V, axis=0))


# src/topics/modern-llms/efficient-adaptation.py:991
def compress(delta: np.ndarray, r: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """A (d_in, r) and B (r, d_out)."""
    U, s, Vt = np.linalg.svd(delta * r / alpha, full_matrices=False)
    root = np.sqrt(s[:r])
    return U[:, :r] * root, root[:, None] * Vt[:r]


# src/topics/modern-llms/efficient-adaptation.py:1025
def serve(
    X: np.ndarray, W: np.ndarray, As: np.ndarray, Bs: np.ndarray, users: np.ndarray,
    alpha: float,
) -> np.ndarray:
    """X (n, d_in), As (U, d_in, r), Bs (U, r, d_out), users (n,): Y (n, d_out)."""
    thin = np.einsum("ni,nir->nr", X, As[users])
    return X @ W + alpha / As.shape[2] * np.einsum("nr,nro->no", thin, Bs[users])


# src/topics/modern-llms/efficient-adaptation.py:1056
def along_directions(theta_0: np.ndarray, P: np.ndarray, z: np.ndarray) -> np.ndarray:
    """theta_0 of any shape, P (k, size of theta_0), z (k,).
    The rows of P may have any length; scale each to length 1 before use.
    """
    P = P / np.linalg.norm(P, axis=1, keepdims=True)
    return theta_0 + (z @ P).reshape(theta_0.shape)


# src/topics/modern-llms/efficient-adaptation.py:188
def test_lora_is_pefts():
    rng = np.random.default_rng(1)
    for trial in range(22):
        X, W, A, B, alpha = random_lora(rng)
        B = 0 * B if trial == 21 else B
        model = peft_layer(W, A, B, alpha)
        x = torch.from_numpy(X).requires_grad_()
        want = model(x)
        ours = lora_forward(X, W, A, B, alpha)
        assert np.allclose(ours, want.detach().numpy(), atol=1e-11)
        G = rng.normal(size=want.shape)
        want.backward(torch.from_numpy(G))
        dX, dA, dB = lora_backward(G, X, W, A, B, alpha)
        layer = model[0]
        for ours, theirs in ((dX, x.grad), (dA, layer.lora_A["default"].weight.grad.T),
                             (dB, layer.lora_B["default"].weight.grad.T)):
            assert ours.shape == theirs.shape
            assert np.allclose(ours, theirs.numpy(), atol=1e-10)
        assert layer.base_layer.weight.grad is None
        layer.merge()
        merged = merge(W, A, B, alpha)
        theirs = layer.base_layer.weight.detach().numpy().T
        assert np.allclose(merged, theirs, atol=1e-11)
        assert np.allclose(X @ merged, lora_forward(X, W, A, B, alpha), atol=1e-10)


# src/topics/modern-llms/efficient-adaptation.py:214
def test_llama_lora():
    matrices = [(4096, 4096)] * 4 + [(4096, 11008)] * 2 + [(11008, 4096)]
    for r in (1, 8, 64):
        assert llama_lora(r) == 32 * sum(r * (a + b) for a, b in matrices)
    assert llama_lora(2, L=3, D=5, F=7) == 3 * (4 * 2 * 10 + 3 * 2 * 12)


# src/topics/modern-llms/efficient-adaptation.py:679
def test_lora_linear_is_the_formula():
    rng = np.random.default_rng(3)
    for _ in range(20):
        X, W, A, B, alpha = random_lora(rng)
        layer = LoRALinear(nn.Linear(*W.shape, bias=False), A.shape[1], alpha).double()
        assert layer.A.shape == A.shape and not layer.B.any()
        assert not layer.base.weight.requires_grad
        with torch.no_grad():
            for parameter, value in ((layer.base.weight, W.T), (layer.A, A),
                                     (layer.B, B)):
                parameter.copy_(torch.from_numpy(value))
        want = lora_forward(X, W, A, B, alpha)
        assert np.allclose(layer(torch.from_numpy(X)).detach().numpy(), want)
    assert abs(LoRALinear(nn.Linear(400, 5), 100, 1).A.std().item() * 20 - 1) < 0.05


# src/topics/modern-llms/efficient-adaptation.py:695
def test_adapted_trains_what_it_says():
    base = network(1)
    X = torch.rand(4, 784)
    counts = {"all weights": 269_322, "last layer": 2_570, "biases": 522,
              "nothing known": 269_322, 1: 1_818, 8: 8 * 1_818}
    for way, count in counts.items():
        model = adapted(base, way, 0)
        assert trained_numbers(model) == count
        assert torch.allclose(model(X), base(X)) == (way != "nothing known")
    before = copy.deepcopy(base.state_dict())
    rng = torch.Generator().manual_seed(3)
    X, y = torch.randn(60, 784, generator=rng), torch.randint(10, (60,), generator=rng)
    model = train(adapted(base, 8, 0), X, y, 1e-2, 0)
    assert all(torch.equal(base.state_dict()[name], W) for name, W in before.items())
    assert torch.equal(model[0].base.weight, before["0.weight"])
    assert accuracy(model, X, y) > 0.9 > accuracy(base, X, y)
    for steps, moved in ((1, 1), (2, 1.5)):  # the rate falls
        model = train(adapted(base, "all weights", 0), X, y, 1e-3, 0, steps)
        largest = max((W - W0).abs().max().item() for W, W0 in
                      zip(model.parameters(), base.parameters()))
        assert abs(largest / 1e-3 - moved) < 0.1


# src/topics/modern-llms/efficient-adaptation.py:718
def test_nf4_is_the_published_table():
    published = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                 -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
                 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
                 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                 0.7229568362236023, 1.0]  # QLoRA, appendix E
    assert np.allclose(nf4_levels(), published, atol=1e-6)


# src/topics/modern-llms/efficient-adaptation.py:727
def test_quantise():
    rng = np.random.default_rng(4)
    levels = nf4_levels()
    for _ in range(20):
        W = rng.normal(size=(4, 64)) * 10 ** rng.uniform(-4, 4)
        codes, scales = quantise(W, levels)
        copy_of_W = dequantise(codes, scales, levels, W.shape)
        assert codes.dtype == np.uint8 and codes.shape == (4, 64)
        assert scales.shape == (4, 1)
        gaps = np.abs(copy_of_W - W) / np.abs(W).max(axis=1, keepdims=True)
        assert gaps.max() <= np.diff(levels).max() / 2 + 1e-12
        largest = np.abs(W).argmax(axis=1)
        assert np.allclose((copy_of_W / W)[np.arange(4), largest], 1)
        again, _ = quantise(copy_of_W, levels)
        assert np.array_equal(again, codes)
    assert not dequantise(*quantise(np.zeros((2, 64)), levels), levels, (2, 64)).any()


# src/topics/modern-llms/efficient-adaptation.py:745
def test_cut_and_gigabytes():
    rng = np.random.default_rng(15)
    for _ in range(20):
        d_in, d_out = rng.integers(4, 10, size=2)
        delta, r = rng.normal(size=(d_in, d_out)), int(rng.integers(0, 4))
        part, s = cut(delta, r), np.linalg.svd(delta, compute_uv=False)
        assert np.linalg.matrix_rank(part) == r and part.shape == delta.shape
        assert np.isclose(np.linalg.norm(delta - part) ** 2, (s[r:] ** 2).sum())
    model = network(2)
    x = torch.rand(3, 784)
    want = x.double().numpy() @ weight(model, 0).T + model[0].bias.detach().numpy()
    assert np.allclose(model[0](x).detach().numpy(), want, atol=1e-5)
    assert training_gigabytes(16, 10**9, 2 * 10**9) == 4 + 16
    assert training_gigabytes(4, 0, 10**9) == 0.5


# src/topics/modern-llms/efficient-adaptation.py:761
def test_prefix_is_a_mixture():
    rng = np.random.default_rng(5)
    for _ in range(20):
        n, m, k, d_k, d_v = rng.permutation(np.arange(1, 9))[:5]
        Q, K, V, P_k, P_v = (rng.normal(size=shape) for shape in
                             ((n, d_k), (m, d_k), (m, d_v), (k, d_k), (k, d_v)))
        out, share = prefix_attention(Q, K, V, P_k, P_v)
        attend = nn.functional.scaled_dot_product_attention
        on_prefix, on_text = (attend(*map(torch.from_numpy, M)).numpy()
                              for M in ((Q, P_k, P_v), (Q, K, V)))
        share = share[:, None]
        assert np.allclose(out, share * on_prefix + (1 - share) * on_text)
        H, D, U = (rng.normal(size=shape) for shape in ((n, m), (m, k), (k, m)))
        inner = torch.relu(torch.from_numpy(H @ D))
        want = torch.from_numpy(H) + inner @ torch.from_numpy(U)
        assert np.allclose(adapter(H, D, U), want.numpy())
        assert np.array_equal(adapter(H, D, 0 * U), H)


# src/topics/modern-llms/efficient-adaptation.py:780
def test_first_change():
    assert np.isclose(first_change(4, 1, 7, np.random.default_rng(6)) * 2,
                      first_change(4, 0.5, 7, np.random.default_rng(6)))
    rng = np.random.default_rng(7)
    X, G = rng.normal(size=(32, 20)), rng.normal(size=(32, 20))
    A = torch.from_numpy(rng.normal(size=(20, 3)) / np.sqrt(20))
    B = torch.zeros(3, 20, dtype=torch.float64, requires_grad=True)
    out = 16 / 3 * torch.from_numpy(X) @ A @ B
    adam = torch.optim.Adam([B], lr=1e-3, eps=1e-30)
    out.backward(torch.from_numpy(G))
    adam.step()
    want = (16 / 3 * torch.from_numpy(X[0]) @ A @ B).square().mean().sqrt().item()
    assert np.isclose(first_change(3, 1, 32, np.random.default_rng(7), d=20), want)


# src/topics/modern-llms/efficient-adaptation.py:914
def test_largest_rank():
    assert largest_rank(4096, 4096, 0.01) == 20
    assert largest_rank(4096, 11008, 0.01) == 29
    for d_in, d_out, q in ((100, 300, 0.1), (7, 9, 0.5), (64, 64, 0.001)):
        r = largest_rank(d_in, d_out, q)
        assert r * (d_in + d_out) <= q * d_in * d_out < (r + 1) * (d_in + d_out)


# src/topics/modern-llms/efficient-adaptation.py:939
def test_unmerge():
    rng = np.random.default_rng(9)
    for _ in range(20):
        _, W, A, B, alpha = random_lora(rng)
        assert np.allclose(unmerge(merge(W, A, B, alpha), A, B, alpha), W)


# src/topics/modern-llms/efficient-adaptation.py:968
def test_dora_is_pefts():
    rng = np.random.default_rng(10)
    for _ in range(20):
        X, W, A, B, alpha = random_lora(rng)
        model = peft_layer(W, A, B, alpha, use_dora=True)
        m = model[0].lora_magnitude_vector["default"].weight
        assert np.allclose(m.detach().numpy(), np.linalg.norm(W, axis=0))
        with torch.no_grad():
            m.mul_(torch.from_numpy(rng.uniform(0.5, 2, size=m.shape)))
        want = model(torch.from_numpy(X)).detach().numpy()
        ours = dora_forward(X, W, A, B, alpha, m.detach().numpy())
        assert np.allclose(ours, want, atol=1e-9)


# src/topics/modern-llms/efficient-adaptation.py:1001
def test_compress():
    rng = np.random.default_rng(12)
    for _ in range(20):
        d_in, d_out = rng.integers(4, 10, size=2)
        delta, r = rng.normal(size=(d_in, d_out)), int(rng.integers(1, 4))
        alpha = float(rng.integers(1, 33))
        A, B = compress(delta, r, alpha)
        assert A.shape == (d_in, r) and B.shape == (r, d_out)
        assert np.isclose(np.linalg.norm(A), np.linalg.norm(B))
        rest = np.linalg.svd(delta, compute_uv=False)[r:]
        left = delta - merge(np.zeros((d_in, d_out)), A, B, alpha)
        assert np.isclose(np.linalg.norm(left), np.linalg.norm(rest))


# src/topics/modern-llms/efficient-adaptation.py:1037
def test_serve():
    rng = np.random.default_rng(13)
    for _ in range(20):
        X, W, A, B, alpha = random_lora(rng)
        As, Bs = rng.normal(size=(3, *A.shape)), rng.normal(size=(3, *B.shape))
        users = rng.integers(3, size=len(X))
        want = [lora_forward(x[None], W, As[u], Bs[u], alpha)[0]
                for x, u in zip(X, users)]
        assert np.allclose(serve(X, W, As, Bs, users, alpha), want)


# src/topics/modern-llms/efficient-adaptation.py:1068
def test_along_directions():
    rng = np.random.default_rng(14)
    theta_0, P = rng.normal(size=(5, 3)), 7 * rng.normal(size=(4, 15))
    assert np.array_equal(along_directions(theta_0, P, np.zeros(4)), theta_0)
    step = along_directions(theta_0, P, np.array([0, 2.0, 0, 0])) - theta_0
    assert np.isclose(np.linalg.norm(step), 2)
    assert np.isclose(abs(step.ravel() @ P[1]), 2 * np.linalg.norm(P[1]))
