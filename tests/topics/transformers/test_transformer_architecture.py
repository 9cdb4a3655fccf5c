# Generated from src/topics/transformers/transformer-architecture.py: edit that file, then run doit. digest:8a98ba0643bd4874

"""Tests of transformers/transformer-architecture: Transformer architecture."""

import numpy as np
import torch
from dataclasses import dataclass, replace
from torch.nn import functional as F


# src/topics/transformers/transformer-architecture.py:53
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/transformers/transformer-architecture.py:64
def rms_norm(x: np.ndarray, g: np.ndarray | float = 1.0, eps: float = 1e-5) -> np.ndarray:
    """Each token of x (..., d) divided by its root mean square, times gains g (d,)."""
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * g


# src/topics/transformers/transformer-architecture.py:69
def difference(h: np.ndarray) -> float:
    """Share of the size of h (T, d) that is not common to all tokens."""
    return float(np.linalg.norm(h - h.mean(axis=0)) / np.linalg.norm(h))


# src/topics/transformers/transformer-architecture.py:74
def random_stack(L: int, residual: bool, rng: np.random.Generator) -> list[float]:
    """`difference` after 0, 1, ..., L random blocks, with or without additions."""
    T, d = 32, 64
    h, seen = rng.normal(size=(T, d)), []
    for _ in range(L):
        seen.append(difference(h))
        W_q, W_k, W_v = rng.normal(size=(3, d, d)) / np.sqrt(d)
        W_1 = rng.normal(size=(d, 4 * d)) * np.sqrt(2 / d)
        W_2 = rng.normal(size=(4 * d, d)) / np.sqrt(4 * d)
        x = rms_norm(h)
        A = masked_softmax(x @ W_q @ (x @ W_k).T / np.sqrt(d))
        h = residual * h + A @ (x @ W_v)
        h = residual * h + np.maximum(rms_norm(h) @ W_1, 0) @ W_2
    return seen + [difference(h)]


# src/topics/transformers/transformer-architecture.py:201
def rotate(x: np.ndarray, positions: np.ndarray, base: float) -> np.ndarray:
    """RoPE, half-split pairs: x (..., T, d_k) turned by positions (..., T)."""
    half = x.shape[-1] // 2
    angle = positions[..., None] * base ** (-np.arange(half) / half)
    cos, sin, a, b = np.cos(angle), np.sin(angle), x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


# src/topics/transformers/transformer-architecture.py:209
def linear(x: np.ndarray, P: dict, name: str) -> np.ndarray:
    """x @ W, plus a bias if there is one."""
    return x @ P["W_" + name] + P.get("b_" + name, 0.0)


# src/topics/transformers/transformer-architecture.py:214
def multi_head(
    x: np.ndarray,
    source: np.ndarray,
    P: dict,
    heads: int,
    kv_heads: int,
    mask: np.ndarray | None = None,
    positions: np.ndarray | None = None,
    base: float = 10000.0,
) -> np.ndarray:
    """x (B, T, d) reads source (B, S, d); mask (T, S) or (B, T, S), True = may look."""

    def split(z: np.ndarray, n: int) -> np.ndarray:  # to (B, n, T, d_k)
        return z.reshape(*z.shape[:2], n, z.shape[-1] // n).swapaxes(1, 2)

    Q = split(linear(x, P, "q"), heads)
    K = split(linear(source, P, "k"), kv_heads)
    V = split(linear(source, P, "v"), kv_heads)
    if positions is not None:
        Q, K = (rotate(z, positions[..., None, :], base) for z in (Q, K))
    K, V = (z.repeat(heads // kv_heads, axis=1) for z in (K, V))
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1])
    A = masked_softmax(S, None if mask is None else mask[..., None, :, :])
    O = (A @ V).swapaxes(1, 2)  # (B, T, H, d_k)
    return linear(O.reshape(*x.shape[:2], P["W_o"].shape[0]), P, "o")


# src/topics/transformers/transformer-architecture.py:241
def swiglu(x: np.ndarray, P: dict) -> np.ndarray:
    """SiLU(x W_gate) * (x W_up), times W_down."""
    z = x @ P["W_gate"]
    silu = z * 0.5 * (1 + np.tanh(z / 2))  # z times the sigmoid, without overflow
    return (silu * (x @ P["W_up"])) @ P["W_down"]


# src/topics/transformers/transformer-architecture.py:249
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes of a decoder."""

    vocab: int
    d: int
    layers: int
    heads: int
    kv_heads: int
    d_k: int
    d_ff: int
    tied: bool = False  # U is the transpose of E
    gated: bool = True  # SwiGLU; otherwise two matrices
    biases: bool = False  # also LayerNorm's shifts
    positions: int = 0  # rows of a learned position table
    base: float = 10000.0
    eps: float = 1e-5


# src/topics/transformers/transformer-architecture.py:268
def init(c: Config, rng: np.random.Generator) -> dict:
    """Random weights for today's decoder: no biases, SwiGLU, RMSNorm."""

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) / np.sqrt(shape[0])

    wide, narrow = c.heads * c.d_k, c.kv_heads * c.d_k
    blocks = [
        {"g_1": np.ones(c.d), "W_q": draw(c.d, wide), "W_k": draw(c.d, narrow),
         "W_v": draw(c.d, narrow), "W_o": draw(wide, c.d), "g_2": np.ones(c.d),
         "W_gate": draw(c.d, c.d_ff), "W_up": draw(c.d, c.d_ff),
         "W_down": draw(c.d_ff, c.d)}
        for _ in range(c.layers)
    ]
    E = rng.normal(size=(c.vocab, c.d))
    U = E.T if c.tied else draw(c.d, c.vocab)  # tied: one array, seen twice
    return {"E": E, "blocks": blocks, "g": np.ones(c.d), "U": U}


# src/topics/transformers/transformer-architecture.py:287
def updates(ids: np.ndarray, P: dict, c: Config, keep: np.ndarray | None = None):
    """Yield what is added to the stream: the embedding, then two terms a block."""
    T = ids.shape[1]
    mask = np.tril(np.ones((T, T), dtype=bool))  # causal
    if keep is not None:  # (B, T), True = a real token, as a key
        mask = mask & keep[:, None, :]
    h = P["E"][ids]
    yield h
    for W in P["blocks"]:
        x = rms_norm(h, W["g_1"], c.eps)
        a = multi_head(x, x, W, c.heads, c.kv_heads, mask, np.arange(T), c.base)
        yield a
        h = h + a
        f = swiglu(rms_norm(h, W["g_2"], c.eps), W)
        yield f
        h = h + f


# src/topics/transformers/transformer-architecture.py:305
def decoder(ids: np.ndarray, P: dict, c: Config, keep: np.ndarray | None = None):
    """Logits (B, T, vocab) of token ids (B, T): the boxed equations."""
    return rms_norm(sum(updates(ids, P, c, keep)), P["g"], c.eps) @ P["U"]


# src/topics/transformers/transformer-architecture.py:347
def random_config(rng, **changes):
    """A decoder with d different from heads * d_k."""
    heads, kv_heads = [(6, 2), (4, 1), (3, 3), (8, 4), (1, 1)][rng.integers(5)]
    d_ff, vocab = (int(x) for x in rng.permutation(np.arange(9, 30))[:2])
    d = heads * int(rng.choice([3, 5, 7]))  # Hugging Face insists on a multiple
    sizes = {"vocab": vocab, "d": d, "d_ff": d_ff, "d_k": 2 * int(rng.integers(1, 5)),
             "layers": int(rng.integers(1, 4)), "heads": heads, "kv_heads": kv_heads,
             "base": float(rng.choice([100.0, 1e4])),
             "eps": float(rng.choice([1e-6, 1e-2]))}
    return Config(**(sizes | changes))


# src/topics/transformers/transformer-architecture.py:359
def llama(c):
    """Hugging Face's class for this configuration."""
    import warnings

    with warnings.catch_warnings():  # tqdm's advice about notebook widgets
        warnings.simplefilter("ignore")
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(LlamaConfig(
            vocab_size=c.vocab, hidden_size=c.d, intermediate_size=c.d_ff,
            num_hidden_layers=c.layers, num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads, head_dim=c.d_k, rms_norm_eps=c.eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.base},
            tie_word_embeddings=c.tied, attn_implementation="sdpa",
        ))


# src/topics/transformers/transformer-architecture.py:376
def load(model, P, tied):
    """Copy our weights; nn.Linear stores the transpose."""
    import torch

    names = {"W_q": "self_attn.q_proj", "W_k": "self_attn.k_proj",
             "W_v": "self_attn.v_proj", "W_o": "self_attn.o_proj",
             "W_gate": "mlp.gate_proj", "W_up": "mlp.up_proj",
             "W_down": "mlp.down_proj", "g_1": "input_layernorm",
             "g_2": "post_attention_layernorm"}
    state = {"model.embed_tokens.weight": P["E"], "model.norm.weight": P["g"]}
    if not tied:
        state["lm_head.weight"] = P["U"].T
    for l, block in enumerate(P["blocks"]):
        for ours, theirs in names.items():
            state[f"model.layers.{l}.{theirs}.weight"] = block[ours].T
    with torch.no_grad():
        parameters = dict(model.double().named_parameters())
        assert parameters.keys() == state.keys()
        for name, value in state.items():
            assert parameters[name].shape == value.shape
            parameters[name].copy_(torch.from_numpy(value.copy()))


# src/topics/transformers/transformer-architecture.py:399
def llama_logits(model, ids, keep):
    """Logits in float64 throughout: two modules round to float32 as they come."""
    from unittest import mock

    import torch
    from transformers.models.llama import modeling_llama as module

    def norm(self, x):
        size = (x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon).sqrt()
        return self.weight * x / size

    def table(self, x, position_ids):
        half = model.config.head_dim // 2
        base = model.config.rope_parameters["rope_theta"]
        theta = base ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = position_ids[..., None] * torch.cat([theta, theta])
        return angle.cos(), angle.sin()

    with mock.patch.object(module.LlamaRMSNorm, "forward", norm), \
            mock.patch.object(module.LlamaRotaryEmbedding, "forward", table), \
            torch.no_grad():
        keep = None if keep is None else torch.from_numpy(keep.astype(int))
        return model(torch.from_numpy(ids), attention_mask=keep).logits.numpy()


# src/topics/transformers/transformer-architecture.py:484
def rms_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,)."""
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    y, d_hat = x / r, dy * g
    dx = (d_hat - y * (d_hat * y).mean(axis=-1, keepdims=True)) / r
    return dx, (dy * y).reshape(-1, x.shape[-1]).sum(axis=0)


# src/topics/transformers/transformer-architecture.py:492
def layer_norm(x, g, b, eps=1e-5):
    """x (..., d), gains and shifts (d,)."""
    return rms_norm(x - x.mean(axis=-1, keepdims=True), g, eps) + b


# src/topics/transformers/transformer-architecture.py:497
def layer_norm_backward(dy, x, g, eps=1e-5):
    """From dy (..., d): dx (..., d), dg (d,), db (d,)."""
    dc, dg = rms_norm_backward(dy, x - x.mean(axis=-1, keepdims=True), g, eps)
    dx = dc - dc.mean(axis=-1, keepdims=True)
    return dx, dg, dy.reshape(-1, x.shape[-1]).sum(axis=0)


# src/topics/transformers/transformer-architecture.py:566
def add_norm(x: np.ndarray, update: np.ndarray, P: dict, n: int) -> np.ndarray:
    """Post-norm: LayerNorm number n of the sum."""
    return layer_norm(x + update, P[f"g_{n}"], P[f"b_{n}"])


# src/topics/transformers/transformer-architecture.py:571
def relu_ffn(x: np.ndarray, P: dict) -> np.ndarray:
    """Two layers with a ReLU between, for each token."""
    return linear(np.maximum(linear(x, P, "up"), 0), P, "down")


# src/topics/transformers/transformer-architecture.py:576
def encoder_block(x: np.ndarray, P: dict, heads: int, mask=None) -> np.ndarray:
    """x (B, S, d) to (B, S, d); mask True = may look."""
    x = add_norm(x, multi_head(x, x, P["self"], heads, heads, mask), P, 1)
    return add_norm(x, relu_ffn(x, P["ffn"]), P, 2)


# src/topics/transformers/transformer-architecture.py:582
def decoder_block(
    y: np.ndarray, memory: np.ndarray, P: dict, heads: int, mask=None, memory_mask=None
) -> np.ndarray:
    """y (B, T, d) reads itself, then memory (B, S, d)."""
    y = add_norm(y, multi_head(y, y, P["self"], heads, heads, mask), P, 1)
    read = multi_head(y, memory, P["cross"], heads, heads, memory_mask)
    y = add_norm(y, read, P, 2)
    return add_norm(y, relu_ffn(y, P["ffn"]), P, 3)


# src/topics/transformers/transformer-architecture.py:720
VOCAB, WIDTH, LENGTH = 24, 32, 12


# src/topics/transformers/transformer-architecture.py:723
def torch_stack(L: int, seed: int) -> dict:
    """Glorot-initialised leaves of a stack of L blocks."""
    g = torch.Generator().manual_seed(seed)

    def glorot(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * (2 / sum(shape[-2:])) ** 0.5

    d, P = WIDTH, {"E": torch.randn(VOCAB, WIDTH, generator=g), "U": glorot(WIDTH, VOCAB)}
    P["at"] = torch.randn(LENGTH, d, generator=g)
    for l in range(L):
        qkv = glorot(3, d, d).transpose(0, 1).reshape(d, 3 * d)
        P |= {f"qkv{l}": qkv, f"o{l}": glorot(d, d),
              f"up{l}": glorot(d, 4 * d), f"down{l}": glorot(4 * d, d)}
    return {name: w.requires_grad_() for name, w in P.items()}


# src/topics/transformers/transformer-architecture.py:739
def torch_loss(P: dict, ids: torch.Tensor, L: int, pre: bool) -> torch.Tensor:
    """Cross-entropy of ids[:, 1:] given the tokens before, pre-norm or post-norm."""
    B, T = ids.shape[0], ids.shape[1] - 1

    def norm(x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:])

    def attend(x: torch.Tensor, l: int) -> torch.Tensor:
        q, k, v = (x @ P[f"qkv{l}"]).view(B, T, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(1, 2).reshape(B, T, WIDTH) @ P[f"o{l}"]

    def feed(x: torch.Tensor, l: int) -> torch.Tensor:
        return torch.relu(x @ P[f"up{l}"]) @ P[f"down{l}"]

    h = P["E"][ids[:, :-1]] + P["at"][:T]
    for l in range(L):
        for f in (attend, feed):
            h = h + f(norm(h), l) if pre else norm(h + f(h, l))
    logits = (norm(h) if pre else h) @ P["U"]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


# src/topics/transformers/transformer-architecture.py:903
def count(c: Config) -> dict[str, int]:
    """Parameters of a decoder, by kind."""
    wide, narrow = c.heads * c.d_k, c.kv_heads * c.d_k
    matrices = 3 if c.gated else 2
    return {
        "embedding": (c.vocab + c.positions) * c.d,
        "attention": c.layers * (2 * c.d * (wide + narrow)
                                 + c.biases * (wide + 2 * narrow + c.d)),
        "FFN": c.layers * (matrices * c.d * c.d_ff
                           + c.biases * ((matrices - 1) * c.d_ff + c.d)),
        "norms": (2 * c.layers + 1) * c.d * (1 + c.biases),
        "unembedding": 0 if c.tied else c.vocab * c.d,
    }


# src/topics/transformers/transformer-architecture.py:918
def published() -> dict[str, Config]:
    """Configurations of three released models."""
    gpt2 = Config(vocab=50257, d=768, layers=12, heads=12, kv_heads=12, d_k=64,
                  d_ff=3072, tied=True, gated=False, biases=True, positions=1024)
    llama = Config(vocab=128256, d=4096, layers=32, heads=32, kv_heads=8, d_k=128,
                   d_ff=14336, base=500000.0)
    large = replace(llama, d=16384, layers=126, heads=128, d_ff=53248)
    return {"GPT-2 small": gpt2, "Llama 3 8B": llama, "Llama 3.1 405B": large}


# src/topics/transformers/transformer-architecture.py:983
def forward_flops(c: Config, T: int) -> int:
    """FLOPs per token of a bias-free model over T tokens, no causal saving."""
    n = count(c)
    matrices = n["attention"] + n["FFN"] + c.vocab * c.d
    return 2 * matrices + 4 * c.layers * c.heads * c.d_k * T


# src/topics/transformers/transformer-architecture.py:1187
def norms_by_hand() -> np.ndarray:
    """RMSNorm and LayerNorm of the sum, shape (2, 3)."""
    # The sum is (2, 1, 2): mean square 3, mean 5/3, deviations (1, -2, 1)/3,
    # whose mean square is 2/9.
    return np.array([[2, 1, 2] / np.sqrt(3), [1, -2, 1] / np.sqrt(2)])


# src/topics/transformers/transformer-architecture.py:1212
def fold_gains(P: dict) -> dict:
    """An equivalent model, as from `init`, whose gains are all one; P is unchanged."""
    blocks = []
    for W in P["blocks"]:
        new = dict(W)
        for gain, readers in (("g_1", ("W_q", "W_k", "W_v")), ("g_2", ("W_gate", "W_up"))):
            for name in readers:
                new[name] = W[gain][:, None] * W[name]
            new[gain] = np.ones_like(W[gain])
        blocks.append(new)
    return {"E": P["E"], "blocks": blocks, "g": np.ones_like(P["g"]),
            "U": P["g"][:, None] * P["U"]}  # unties U from E


# src/topics/transformers/transformer-architecture.py:1251
def count_experts(c: Config, experts: int, active: int) -> tuple[int, int]:
    """Total and active parameters of a mixture-of-experts decoder."""
    n = count(c)
    rest = sum(n.values()) - n["FFN"] + c.layers * c.d * experts  # with the routers
    return rest + experts * n["FFN"], rest + active * n["FFN"]


# src/topics/transformers/transformer-architecture.py:1286
def swiglu_backward(dy: np.ndarray, x: np.ndarray, P: dict) -> tuple[np.ndarray, dict]:
    """From dy (n, d): dx (n, d) and the gradients of W_gate, W_up, W_down."""
    z, u = x @ P["W_gate"], x @ P["W_up"]
    s = 0.5 * (1 + np.tanh(z / 2))
    dh = dy @ P["W_down"].T
    dz, du = dh * u * s * (1 + z * (1 - s)), dh * z * s
    grads = {"W_gate": x.T @ dz, "W_up": x.T @ du, "W_down": (z * s * u).T @ dy}
    return dz @ P["W_gate"].T + du @ P["W_up"].T, grads


# src/topics/transformers/transformer-architecture.py:1330
def contributions(ids: np.ndarray, P: dict, c: Config) -> np.ndarray:
    """Shares (2L + 1, B, T, vocab) that sum to the logits."""
    parts = np.array(list(updates(ids, P, c)))
    size = np.sqrt((parts.sum(axis=0) ** 2).mean(axis=-1, keepdims=True) + c.eps)
    return parts / size * P["g"] @ P["U"]


# src/topics/transformers/transformer-architecture.py:330
def test_difference_and_collapse():
    h = np.random.default_rng(1).normal(size=(5, 3))
    assert abs(difference(h - h.mean(axis=0)) - 1) < 1e-12
    assert difference(np.ones((5, 3))) < 1e-12
    for seed in range(20, 25):
        alone = random_stack(6, False, np.random.default_rng(seed))
        together = random_stack(6, True, np.random.default_rng(seed))
        assert alone[-1] < 1e-3 and together[-1] > 0.2
        assert alone[0] == together[0] > 0.9


# src/topics/transformers/transformer-architecture.py:341
def test_hand_example():
    h = np.array([-1.0, 4.0]) + np.array([2.0, 3.0])
    assert np.allclose(rms_norm(h, 1.0, 0.0), [0.2, 1.4], atol=1e-12)
    assert np.allclose(rms_norm(h, np.array([10.0, 5.0]), 0.0), [2, 7], atol=1e-12)


# src/topics/transformers/transformer-architecture.py:424
def test_decoder_is_llama():
    rng = np.random.default_rng(2)
    for trial in range(24):
        c = random_config(rng, tied=trial % 4 == 3)
        P = init(c, rng)
        for g in [P["g"], *(b[k] for b in P["blocks"] for k in ("g_1", "g_2"))]:
            g += 0.5 * rng.normal(size=c.d)
        model = llama(c)
        load(model, P, c.tied)
        B, T = int(rng.integers(1, 4)), int(rng.integers(1, 9)) if trial else 1
        ids = rng.integers(c.vocab, size=(B, T))
        keep = None
        if trial % 3:  # padding on the right or on the left
            real = rng.integers(1, T + 1, size=(B, 1))
            keep = np.arange(T) < real if trial % 3 == 1 else np.arange(T) >= T - real
        got, want = decoder(ids, P, c, keep), llama_logits(model, ids, keep)
        assert got.shape == (B, T, c.vocab)
        seen = slice(None) if keep is None else keep
        assert np.allclose(got[seen], want[seen], atol=1e-10)


# src/topics/transformers/transformer-architecture.py:445
def test_decoder_edges():
    rng = np.random.default_rng(3)
    c = random_config(rng)
    P = init(c, rng)
    assert decoder(np.zeros((2, 0), dtype=int), P, c).shape == (2, 0, c.vocab)
    ids = rng.integers(c.vocab, size=(2, 6))
    full = decoder(ids, P, c)
    assert np.allclose(decoder(ids[:, :4], P, c), full[:, :4], atol=1e-11)
    assert np.allclose(decoder(ids[1:], P, c), full[1:], atol=1e-11)
    keep = np.zeros((2, 6), dtype=bool)  # nothing may be seen: still finite
    assert np.isfinite(decoder(ids, P, c, keep)).all()
    huge = {"W_gate": 1e6 * np.ones((2, 3)), "W_up": np.ones((2, 3)),
            "W_down": np.ones((3, 2))}
    with np.errstate(over="raise"):
        assert np.isfinite(swiglu(np.array([[-1.0, -1.0], [1.0, 1.0]]), huge)).all()


# src/topics/transformers/transformer-architecture.py:515
def test_hand_example_backward_and_layer_norm():
    x = np.array([1.0, 7.0])
    assert np.allclose(layer_norm(x, np.ones(2), np.zeros(2), 0.0), [-1, 1], atol=1e-12)
    dx, dg = rms_norm_backward(np.array([1.0, 0.0]), x, np.ones(2), 0.0)
    assert np.allclose(dx, [0.196, -0.028], atol=1e-12) and np.allclose(dg, [0.2, 0])


# src/topics/transformers/transformer-architecture.py:522
def test_norms_are_torch():
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(4)
    for trial in range(30):
        d = int(rng.integers(1, 12))
        lead = [(), (3,), (2, 5), (0,), (1, 1)][trial % 5]
        size = (1.0, 1e4, 1e-4)[trial % 3]
        x, dy = size * rng.normal(size=(*lead, d)), rng.normal(size=(*lead, d))
        if trial == 7:
            x[:] = x.flat[0]  # ties: variance zero
        g, b = rng.normal(size=(2, d))
        eps = float(rng.choice([1e-6, 1e-5, 0.1]))
        tx, tg, tb = (torch.from_numpy(v.copy()).requires_grad_() for v in (x, g, b))
        for kind in ("rms", "layer"):
            if kind == "rms":
                want = F.rms_norm(tx, (d,), tg, eps)
                got, grads = rms_norm(x, g, eps), rms_norm_backward(dy, x, g, eps)
            else:
                want = F.layer_norm(tx, (d,), tg, tb, eps)
                got = layer_norm(x, g, b, eps)
                grads = layer_norm_backward(dy, x, g, eps)
            leaves = (tx, tg, tb)[: len(grads)]
            for leaf in leaves:
                leaf.grad = None
            want.backward(torch.from_numpy(dy))
            assert np.allclose(got, want.detach().numpy(), atol=1e-10)
            for ours, leaf in zip(grads, leaves):
                assert ours.shape == tuple(leaf.shape)
                assert np.allclose(ours, leaf.grad.numpy(), rtol=1e-6, atol=1e-8)


# src/topics/transformers/transformer-architecture.py:607
def test_blocks_are_torch():
    import torch
    from torch import nn

    def copied(rng, module, parts):
        """Random weights in a torch layer, and the same in our form."""
        P = {name: {} for name in parts}
        with torch.no_grad():
            for weight in module.parameters():
                weight.copy_(torch.from_numpy(rng.normal(size=tuple(weight.shape)) / 2))
        value = {n: p.detach().numpy() for n, p in module.named_parameters()}
        for name, theirs in parts.items():
            if name == "ffn":
                for ours, n in (("up", 1), ("down", 2)):
                    P[name]["W_" + ours] = value[f"linear{n}.weight"].T
                    P[name]["b_" + ours] = value[f"linear{n}.bias"]
                continue
            for i, ours in enumerate("qkv"):
                rows = np.split(value[theirs + ".in_proj_weight"], 3)[i]
                P[name]["W_" + ours] = rows.T
                P[name]["b_" + ours] = np.split(value[theirs + ".in_proj_bias"], 3)[i]
            P[name]["W_o"] = value[theirs + ".out_proj.weight"].T
            P[name]["b_o"] = value[theirs + ".out_proj.bias"]
        for n in range(1, len(parts) + 1):
            P[f"g_{n}"], P[f"b_{n}"] = value[f"norm{n}.weight"], value[f"norm{n}.bias"]
        return P

    rng = np.random.default_rng(5)
    for trial in range(24):
        B, S, T = (int(x) for x in rng.permutation(np.arange(1, 8))[:3])
        heads, d_k, d_ff = int(rng.integers(1, 5)), int(rng.integers(1, 6)), 17
        settings = {"d_model": heads * d_k, "nhead": heads, "dim_feedforward": d_ff,
                    "dropout": 0.0, "activation": "relu", "batch_first": True,
                    "norm_first": False, "dtype": torch.float64}
        encoder = nn.TransformerEncoderLayer(**settings)
        decoder = nn.TransformerDecoderLayer(**settings)
        P = copied(rng, encoder, {"self": "self_attn", "ffn": ""})
        P_d = copied(rng, decoder,
                     {"self": "self_attn", "cross": "multihead_attn", "ffn": ""})
        x, y = rng.normal(size=(B, S, heads * d_k)), rng.normal(size=(B, T, heads * d_k))
        keep = np.arange(S) < rng.integers(1, S + 1, size=(B, 1))
        causal = np.tril(np.ones((T, T), dtype=bool))
        tx, ty, pad = (torch.from_numpy(v) for v in (x, y, ~keep))  # torch: True = hide
        memory = encoder_block(x, P, heads, keep[:, None, :])
        want = encoder(tx, src_key_padding_mask=pad)
        assert memory.shape == (B, S, heads * d_k)
        assert np.allclose(memory, want.detach().numpy(), atol=1e-10)
        got = decoder_block(y, memory, P_d, heads, causal, keep[:, None, :])
        want = decoder(ty, want, tgt_mask=torch.from_numpy(~causal),
                       memory_key_padding_mask=pad)
        assert got.shape == (B, T, heads * d_k)
        assert np.allclose(got, want.detach().numpy(), atol=1e-10)
        look = np.tril(np.ones((S, S), dtype=bool))
        want = encoder(tx, src_mask=torch.from_numpy(~look))
        assert np.allclose(encoder_block(x, P, heads, look), want.detach().numpy(),
                           atol=1e-10)


# src/topics/transformers/transformer-architecture.py:863
def test_torch_stack_is_the_numpy_block():
    rng = np.random.default_rng(6)
    for L in (1, 3):
        P = {name: w.detach().double() for name, w in torch_stack(L, 7).items()}
        V = {name: w.numpy() for name, w in P.items()}
        ids = rng.integers(VOCAB, size=(2, LENGTH + 1))
        for pre in (True, False):
            h = V["E"][ids[:, :-1]] + V["at"]
            mask = np.tril(np.ones((LENGTH, LENGTH), dtype=bool))
            one, zero = np.ones(WIDTH), np.zeros(WIDTH)
            for l in range(L):
                q, k, v = np.split(V[f"qkv{l}"], 3, axis=1)
                W = {"W_q": q, "W_k": k, "W_v": v, "W_o": V[f"o{l}"],
                     "W_up": V[f"up{l}"], "W_down": V[f"down{l}"]}
                for f in (lambda x: multi_head(x, x, W, 2, 2, mask),
                          lambda x: relu_ffn(x, W)):
                    read = layer_norm(h, one, zero) if pre else h
                    h = h + f(read)
                    h = h if pre else layer_norm(h, one, zero)
            logits = (layer_norm(h, one, zero) if pre else h) @ V["U"]
            p = masked_softmax(logits)
            want = -np.log(np.take_along_axis(p, ids[:, 1:, None], axis=-1)).mean()
            got = torch_loss(P, torch.from_numpy(ids), L, pre).item()
            assert abs(got - want) < 1e-10


# src/topics/transformers/transformer-architecture.py:1004
def test_counts_are_hugging_face():
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):  # shapes without memory
        for name, c in published().items():
            model = GPT2LMHeadModel(GPT2Config()) if "GPT" in name else llama(c)
            total = sum(p.numel() for p in model.parameters())  # tied: counted once
            assert sum(count(c).values()) == total
    totals = [sum(count(c).values()) for c in published().values()]
    assert totals == [124_439_808, 8_030_261_248, 405_853_388_800]


# src/topics/transformers/transformer-architecture.py:1017
def test_counts_and_flops_of_random_models():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    rng = np.random.default_rng(8)
    for trial in range(20):
        c = random_config(rng, tied=trial % 2 == 1)
        P = init(c, rng)
        size = P["E"].size + P["g"].size + (0 if c.tied else P["U"].size)
        size += sum(w.size for block in P["blocks"] for w in block.values())
        assert size == sum(count(c).values())
        assert np.shares_memory(P["E"], P["U"]) == c.tied
        T = int(rng.integers(1, 12))
        with torch.device("meta"):
            model = llama(c)
            model.config._attn_implementation = "eager"
            with FlopCounterMode(display=False) as counter:
                model(torch.zeros(3, T, dtype=torch.long))
        assert counter.get_total_flops() == 3 * T * forward_flops(c, T)


# src/topics/transformers/transformer-architecture.py:1197
def test_norms_by_hand():
    x, got = np.array([2.0, 1.0, 2.0]), norms_by_hand()
    assert got.shape == (2, 3)
    assert np.allclose(got[0], rms_norm(x, 1.0, 0.0))
    assert np.allclose(got[1], layer_norm(x, 1.0, 0.0, 0.0))


# src/topics/transformers/transformer-architecture.py:1229
def test_fold_gains():
    rng = np.random.default_rng(9)
    for _ in range(20):
        c = random_config(rng)
        P, ids = init(c, rng), rng.integers(c.vocab, size=(2, 5))
        for g in [P["g"], *(b[k] for b in P["blocks"] for k in ("g_1", "g_2"))]:
            g[:] = rng.normal(size=c.d)
        before, folded = decoder(ids, P, c), fold_gains(P)
        assert np.array_equal(decoder(ids, P, c), before)
        assert (folded["g"] == 1).all()
        assert all((b[k] == 1).all() for b in folded["blocks"] for k in ("g_1", "g_2"))
        assert np.allclose(decoder(ids, folded, c), before, atol=1e-9)


# src/topics/transformers/transformer-architecture.py:1261
def test_count_experts():
    import torch
    from transformers import MixtralConfig, MixtralForCausalLM

    dense = published()["Llama 3 8B"]
    mixtral = replace(dense, vocab=32000)  # Mixtral 8x7B: "47B", "13B active"
    total, used = count_experts(mixtral, 8, 2)
    with torch.device("meta"):
        model = MixtralForCausalLM(MixtralConfig())
    assert total == sum(p.numel() for p in model.parameters()) == 46_702_792_704
    assert used == 12_879_925_248
    for experts in (1, 3, 7):
        assert len(set(count_experts(dense, experts, experts))) == 1


# src/topics/transformers/transformer-architecture.py:1299
def test_swiglu_forward_and_backward():
    import torch

    rng = np.random.default_rng(10)
    for trial in range(24):
        n, d, d_ff = (int(v) for v in rng.permutation(np.arange(1, 10))[:3])
        n = 0 if trial == 5 else n
        x, dy = (30.0 if trial % 4 == 3 else 1.0) * rng.normal(size=(2, n, d))
        P = {"W_gate": rng.normal(size=(d, d_ff)), "W_up": rng.normal(size=(d, d_ff)),
             "W_down": rng.normal(size=(d_ff, d))}
        leaves = {k: torch.from_numpy(v.copy()).requires_grad_()
                  for k, v in {"x": x, **P}.items()}
        gate = torch.nn.functional.silu(leaves["x"] @ leaves["W_gate"])
        want = (gate * (leaves["x"] @ leaves["W_up"])) @ leaves["W_down"]
        want.backward(torch.from_numpy(dy))
        dx, grads = swiglu_backward(dy, x, P)
        assert np.allclose(swiglu(x, P), want.detach().numpy(), rtol=1e-9, atol=1e-9)
        for name, got in {"x": dx, **grads}.items():
            assert got.shape == tuple(leaves[name].shape)
            assert np.allclose(got, leaves[name].grad.numpy(), rtol=1e-9, atol=1e-9)


# src/topics/transformers/transformer-architecture.py:1340
def test_contributions():
    rng = np.random.default_rng(11)
    for _ in range(20):
        c = random_config(rng)
        P, ids = init(c, rng), rng.integers(c.vocab, size=(2, 4))
        P["g"] = rng.normal(size=c.d)
        parts = contributions(ids, P, c)
        assert parts.shape == (2 * c.layers + 1, 2, 4, c.vocab)
        assert np.allclose(parts.sum(axis=0), decoder(ids, P, c), atol=1e-10)
        first = contributions(np.full((2, 4), ids[0, 0]), P, c)[0]
        assert np.allclose(first[0, 0] / first[0, 0, 0], parts[0, 0, 0] / parts[0, 0, 0, 0])
