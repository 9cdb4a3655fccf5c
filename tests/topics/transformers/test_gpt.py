# Generated from src/topics/transformers/gpt.py: edit that file, then run doit. digest:cff30ab1c5c0a00e

"""Tests of transformers/gpt: GPT."""

import numpy as np
import re
import torch
from dataclasses import dataclass
from torch import nn
from torch.nn import functional as F


# src/topics/transformers/gpt.py:67
def runs(ids: np.ndarray, n: int, K: int) -> np.ndarray:
    """Each run of n ids as one number in base K, shape (len(ids) - n + 1,)."""
    return sum(ids[i : len(ids) - n + 1 + i] * K ** (n - 1 - i) for i in range(n))


# src/topics/transformers/gpt.py:72
def known_length(train: np.ndarray, test: np.ndarray, longest: int, K: int) -> np.ndarray:
    """For each position of test (T,): how long a run before it occurs in train."""
    length = np.zeros(len(test), dtype=int)
    for n in range(1, longest + 1):
        seen = np.isin(runs(test, n, K), runs(train, n, K))
        length[n:][seen[:-1]] = n  # the run ends just before the position
    return length


# src/topics/transformers/gpt.py:161
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/transformers/gpt.py:172
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes of a GPT-2."""

    vocab: int
    context: int  # rows of the position table
    d: int
    layers: int
    heads: int


# src/topics/transformers/gpt.py:183
def layer_norm(x: np.ndarray, g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each token of x (..., d) to mean 0 and variance 1, then gains g and shifts b."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * g + b


# src/topics/transformers/gpt.py:189
def gelu(z: np.ndarray) -> np.ndarray:
    """The tanh form of GELU."""
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


# src/topics/transformers/gpt.py:194
def linear(x: np.ndarray, W: dict, name: str) -> np.ndarray:
    """x (..., d_in) times W (d_in, d_out), plus the bias."""
    return x @ W["W_" + name] + W["b_" + name]


# src/topics/transformers/gpt.py:199
def causal_attention(x: np.ndarray, W: dict, heads: int, mask: np.ndarray) -> np.ndarray:
    """x (B, T, d) to (B, T, d); mask (T, T) or (B, T, T), True = may look."""
    B, T, d = x.shape
    Q, K, V = (linear(x, W, name).reshape(B, T, heads, d // heads).swapaxes(1, 2)
               for name in "qkv")  # each (B, H, T, d_k)
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(d // heads)
    O = masked_softmax(S, mask[..., None, :, :]) @ V
    return linear(O.swapaxes(1, 2).reshape(B, T, d), W, "o")


# src/topics/transformers/gpt.py:209
def stream(ids: np.ndarray, P: dict, c: Config, keep: np.ndarray | None = None):
    """The residual stream (B, T, d) after all blocks; see `gpt`."""
    T = ids.shape[1]
    mask, positions = np.tril(np.ones((T, T), dtype=bool)), np.arange(T)
    if keep is not None:
        mask = mask & keep[:, None, :]
        positions = np.maximum(keep.cumsum(axis=1) - 1, 0)  # padding does not count
    h = P["E"][ids] + P["E_pos"][positions]
    for W in P["blocks"]:
        x = layer_norm(h, W["g_1"], W["b_1"])
        h = h + causal_attention(x, W, c.heads, mask)
        x = layer_norm(h, W["g_2"], W["b_2"])
        h = h + linear(gelu(linear(x, W, "up")), W, "down")
    return h


# src/topics/transformers/gpt.py:225
def gpt(ids: np.ndarray, P: dict, c: Config, keep: np.ndarray | None = None) -> np.ndarray:
    """Logits (B, T, vocab) of ids (B, T); keep (B, T), True = a real token."""
    h = layer_norm(stream(ids, P, c, keep), P["g"], P["b"])
    return h @ P["E"].T  # tied: U is the transpose of E


# src/topics/transformers/gpt.py:231
def token_losses(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """-log softmax(logits)[target]: logits (..., vocab), targets (...), in nats."""
    top = logits.max(axis=-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    return total - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]


# src/topics/transformers/gpt.py:238
def generate(score, ids: np.ndarray, n: int, rng, warp=lambda s: s) -> np.ndarray:
    """ids (B, T) and n more: score (ids to logits), change the scores, draw, append."""
    for _ in range(n):
        p = masked_softmax(warp(score(ids)[:, -1]))  # (B, vocab)
        cdf = p.cumsum(axis=-1)
        u = rng.random((len(ids), 1)) * cdf[:, -1:]  # cdf[-1] is 1 up to rounding
        ids = np.concatenate([ids, (u >= cdf).sum(axis=-1, keepdims=True)], axis=1)
    return ids


# src/topics/transformers/gpt.py:264
def load_gpt2(state: dict, layers: int) -> dict:
    """Our weights from the arrays of a GPT-2 checkpoint."""

    def block(at: str) -> dict:
        W = {}
        for n in "12":
            W["g_" + n], W["b_" + n] = (state[f"{at}ln_{n}.{x}"] for x in ("weight", "bias"))
        for ours, theirs in (("o", "attn.c_proj"), ("up", "mlp.c_fc"),
                             ("down", "mlp.c_proj")):
            W["W_" + ours] = state[f"{at}{theirs}.weight"]
            W["b_" + ours] = state[f"{at}{theirs}.bias"]
        packed = np.split(state[at + "attn.c_attn.weight"], 3, axis=1)  # (d, 3d)
        biases = np.split(state[at + "attn.c_attn.bias"], 3)
        for name, weight, bias in zip("qkv", packed, biases):
            W["W_" + name], W["b_" + name] = weight, bias
        return W

    top = "transformer."
    return {"E": state[top + "wte.weight"], "E_pos": state[top + "wpe.weight"],
            "blocks": [block(f"{top}h.{l}.") for l in range(layers)],
            "g": state[top + "ln_f.weight"], "b": state[top + "ln_f.bias"]}


# src/topics/transformers/gpt.py:287
def init(c: Config, rng: np.random.Generator, std: float = 0.02) -> dict:
    """GPT-2's initial weights; what writes to the stream is divided by sqrt(2 L)."""

    def block() -> dict:
        W = {}
        for n in "12":
            W["g_" + n], W["b_" + n] = np.ones(c.d), np.zeros(c.d)
        for name in ("q", "k", "v", "o", "up", "down"):
            rows = 4 * c.d if name == "down" else c.d
            columns = 4 * c.d if name == "up" else c.d
            shrink = np.sqrt(2 * c.layers) if name in ("o", "down") else 1.0
            W["W_" + name] = std / shrink * rng.normal(size=(rows, columns))
            W["b_" + name] = np.zeros(columns)
        return W

    return {"E": std * rng.normal(size=(c.vocab, c.d)),
            "E_pos": std * rng.normal(size=(c.context, c.d)),
            "blocks": [block() for _ in range(c.layers)],
            "g": np.ones(c.d), "b": np.zeros(c.d)}


# src/topics/transformers/gpt.py:336
def hugging_face(c, rng, scale=0.3):
    """Hugging Face's class with random weights in float64, and the same for `gpt`."""
    import warnings

    import torch

    with warnings.catch_warnings():  # tqdm's advice about notebook widgets
        warnings.simplefilter("ignore")
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=c.vocab, n_positions=c.context, n_embd=c.d, n_layer=c.layers,
            n_head=c.heads, bos_token_id=0, eos_token_id=None, pad_token_id=0)).double()
    with torch.no_grad():
        for w in model.parameters():
            w += torch.from_numpy(scale * rng.normal(size=tuple(w.shape)))
    state = {name: w.numpy() for name, w in model.eval().state_dict().items()}
    return model, load_gpt2(state, c.layers)


# src/topics/transformers/gpt.py:356
def random_config(rng):
    """Heads, width, vocabulary and context all different."""
    heads = int(rng.integers(1, 5))
    return Config(vocab=int(rng.integers(30, 40)), context=int(rng.integers(9, 13)),
                  d=heads * int(rng.choice([3, 5, 7])), layers=int(rng.integers(1, 4)),
                  heads=heads)


# src/topics/transformers/gpt.py:555
def table_losses(train: np.ndarray, test: np.ndarray, order: int, K: int) -> np.ndarray:
    """Loss (order + 1, T) of each test token in tables with 0, ..., order of context."""
    p, rows = np.full(len(test), 1 / K), []
    for n in range(order + 1):
        pairs, N_pair = np.unique(runs(train, n + 1, K), return_counts=True)
        contexts, first, D = np.unique(pairs // K, return_index=True, return_counts=True)
        N = np.add.reduceat(N_pair, first)
        asked = runs(test, n + 1, K)

        def look_up(keys, values, wanted):
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            return np.where(keys[at] == wanted, values[at], 0)

        D_c, N_c = (look_up(contexts, v, asked // K) for v in (D, N))
        mixed = look_up(pairs, N_pair, asked) + D_c * p[n:]
        p = np.concatenate([p[:n], np.where(N_c > 0, mixed / np.maximum(N_c + D_c, 1), p[n:])])
        rows.append(-np.log(p))
    return np.array(rows)


# src/topics/transformers/gpt.py:583
class Block(nn.Module):
    """One block; nn.Linear stores the transpose of our W."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.heads = c.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(c.d), nn.LayerNorm(c.d)
        self.qkv, self.o = nn.Linear(c.d, 3 * c.d), nn.Linear(c.d, c.d)
        self.up, self.down = nn.Linear(c.d, 4 * c.d), nn.Linear(4 * c.d, c.d)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """h (B, T, d) to (B, T, d)."""
        B, T, d = h.shape
        qkv = self.qkv(self.norm_1(h)).view(B, T, 3, self.heads, d // self.heads)
        O = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4), is_causal=True)
        h = h + self.o(O.transpose(1, 2).reshape(B, T, d))
        return h + self.down(F.gelu(self.up(self.norm_2(h)), approximate="tanh"))


# src/topics/transformers/gpt.py:602
class GPT(nn.Module):
    """GPT-2 with tied embeddings: ids (B, T) to logits (B, T, vocab)."""

    def __init__(self, c: Config, seed: int, std: float = 0.02) -> None:
        super().__init__()
        self.E, self.E_pos = nn.Embedding(c.vocab, c.d), nn.Embedding(c.context, c.d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.d)
        g = torch.Generator().manual_seed(seed)
        for name, w in self.named_parameters():
            if w.dim() == 2:
                writes = ".o." in name or ".down." in name
                shrink = (2 * c.layers) ** 0.5 if writes else 1.0
                nn.init.normal_(w, std=std / shrink, generator=g)
            elif name.endswith("bias"):
                nn.init.zeros_(w)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.E(ids) + self.E_pos.weight[: ids.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.norm(h) @ self.E.weight.T


# src/topics/transformers/gpt.py:626
def to_numpy(model: GPT) -> dict:
    """The weights of the torch class in the form that `gpt` takes."""

    def numbers(module: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        return module.weight.detach().numpy(), module.bias.detach().numpy()

    blocks = []
    for block in model.blocks:
        W = {}
        for n, norm in (("1", block.norm_1), ("2", block.norm_2)):
            W["g_" + n], W["b_" + n] = numbers(norm)
        for name in ("o", "up", "down"):
            weight, W["b_" + name] = numbers(getattr(block, name))
            W["W_" + name] = weight.T
        weight, bias = numbers(block.qkv)
        for i, name in enumerate("qkv"):
            W["W_" + name], W["b_" + name] = np.split(weight, 3)[i].T, np.split(bias, 3)[i]
        blocks.append(W)
    g, b = numbers(model.norm)
    return {"E": model.E.weight.detach().numpy(),
            "E_pos": model.E_pos.weight.detach().numpy(), "blocks": blocks, "g": g, "b": b}


# src/topics/transformers/gpt.py:901
def top_k(s: np.ndarray, k: int) -> np.ndarray:
    """Scores (..., K), all below the k-th largest at -inf; ties with it stay."""
    border = np.sort(s, axis=-1)[..., -min(k, s.shape[-1]), None]
    return np.where(s < border, -np.inf, s)


# src/topics/transformers/gpt.py:907
def nucleus(s: np.ndarray, P: float) -> np.ndarray:
    """Scores (..., K), -inf outside the smallest likeliest set with probability >= P."""
    order = np.argsort(-s, axis=-1)
    p = np.take_along_axis(masked_softmax(s), order, axis=-1)
    before = p.cumsum(axis=-1) - p  # what the likelier ones hold
    before[..., 0] = -1.0  # one token always stays
    keep = np.empty(s.shape, dtype=bool)
    np.put_along_axis(keep, order, before < P, axis=-1)
    return np.where(keep, s, -np.inf)


# src/topics/transformers/gpt.py:918
def min_p(s: np.ndarray, m: float) -> np.ndarray:
    """Scores (..., K), -inf where the probability is below m times the largest."""
    return np.where(s < s.max(axis=-1, keepdims=True) + np.log(m), -np.inf, s)


# src/topics/transformers/gpt.py:1028
def parameters(c: Config) -> int:
    """Parameters of a GPT-2, the tied table counted once."""
    return c.layers * (12 * c.d**2 + 13 * c.d) + (c.vocab + c.context + 2) * c.d


# src/topics/transformers/gpt.py:1033
def forward_flops(c: Config, T: int) -> int:
    """FLOPs per token of a forward pass over T tokens, biases and norms left out."""
    return 2 * (12 * c.layers * c.d**2 + c.vocab * c.d) + 4 * c.layers * c.d * T


# src/topics/transformers/gpt.py:1038
def published() -> dict[str, Config]:
    """The four GPT-2 models and the largest GPT-3."""
    sizes = {"GPT-2 small": (1024, 768, 12, 12), "GPT-2 medium": (1024, 1024, 24, 16),
             "GPT-2 large": (1024, 1280, 36, 20), "GPT-2 XL": (1024, 1600, 48, 25),
             "GPT-3": (2048, 12288, 96, 96)}
    return {name: Config(50257, *size) for name, size in sizes.items()}


# src/topics/transformers/gpt.py:1238
def by_hand() -> tuple[float, float]:
    """Perplexity per token, bits per character."""
    # 1 + 3 + 4 + 4 = 12 bits for 4 tokens and 12 characters.
    return 2.0**3, 1.0


# src/topics/transformers/gpt.py:1263
def survivors() -> list[int]:
    """Five numbers, in the order of the question."""
    # Sums 0.5, 0.7, 0.85: three. Threshold 0.125: three.
    # Temperature 2: square roots .71 .45 .39 .32 .22, sum 2.08; their shares
    # .34 .21 .19 .15 .11 reach .74 with three, so four; threshold 0.25: all five.
    return [3, 3, 3, 4, 5]


# src/topics/transformers/gpt.py:1289
def step(token: int, t: int, cache: list, P: dict, c: Config) -> tuple[np.ndarray, list]:
    """Logits (vocab,) after `token` at position t, and the cache with t + 1 rows."""
    h, longer = P["E"][token] + P["E_pos"][t], []
    for W, (K, V) in zip(P["blocks"], cache):
        x = layer_norm(h, W["g_1"], W["b_1"])
        q, k, v = (linear(x, W, name).reshape(c.heads, 1, -1) for name in "qkv")
        K, V = np.concatenate([K, k], axis=1), np.concatenate([V, v], axis=1)
        A = masked_softmax(q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1]))  # (H, 1, t + 1)
        h = h + linear((A @ V).reshape(c.d), W, "o")
        x = layer_norm(h, W["g_2"], W["b_2"])
        h = h + linear(gelu(linear(x, W, "up")), W, "down")
        longer.append((K, V))
    return layer_norm(h, P["g"], P["b"]) @ P["E"].T, longer


# src/topics/transformers/gpt.py:1329
def answer_scores(score, prompt: np.ndarray, answers: list[np.ndarray]) -> np.ndarray:
    """Rows (total, per token) of log p(answer | prompt), shape (answers, 2)."""
    rows = []
    for answer in answers:
        ids = np.concatenate([prompt, answer])
        logits = score(ids[None, :-1])[0]
        losses = token_losses(logits, ids[1:])[len(prompt) - 1 :]
        rows.append((-losses.sum(), -losses.mean()))
    return np.array(rows)


# src/topics/transformers/gpt.py:1366
def qk_norm_scores(Q: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Scores (T, T) of queries and keys (T, d_k), each normalised by its root mean square."""
    Q, K = (z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-6) for z in (Q, K))
    return Q @ K.T / np.sqrt(K.shape[-1])


# src/topics/transformers/gpt.py:1374
def largest_qk_weight(T: int, d_k: int) -> float:
    """Upper bound for one attention weight among T keys."""
    return float(1 / (1 + (T - 1) * np.exp(-2 * np.sqrt(d_k))))


# src/topics/transformers/gpt.py:1406
def silent_at_first() -> set[str]:
    """Names such as "up.weight"; biases included."""
    return {"norm_1.weight", "norm_1.bias", "qkv.weight", "qkv.bias",
            "norm_2.weight", "norm_2.bias", "up.weight", "up.bias"}


# src/topics/transformers/gpt.py:364
def test_gpt_is_hugging_face():
    import torch

    rng = np.random.default_rng(1)
    for trial in range(24):
        c = random_config(rng)
        model, P = hugging_face(c, rng)
        B = int(rng.integers(1, 4))
        T = (1, c.context)[trial] if trial < 2 else int(rng.integers(2, c.context))
        ids, keep = rng.integers(c.vocab, size=(B, T)), None
        more = {}
        if trial % 3:  # padding on the right or on the left
            real = rng.integers(1, T + 1, size=(B, 1))
            keep = np.arange(T) < real if trial % 3 == 1 else np.arange(T) >= T - real
            places = np.maximum(keep.cumsum(axis=1) - 1, 0)
            more = {"attention_mask": torch.from_numpy(keep.astype(int)),
                    "position_ids": torch.from_numpy(places)}
        with torch.no_grad():
            want = model(torch.from_numpy(ids), **more).logits.numpy()
        got = gpt(ids, P, c, keep)
        assert got.shape == (B, T, c.vocab)
        seen = slice(None) if keep is None else keep
        assert np.allclose(got[seen], want[seen], atol=1e-10)
        if keep is not None and trial % 3 == 2:  # padding must not matter at all
            row = ids[0, T - int(real[0, 0]):][None]
            assert np.allclose(gpt(row, P, c)[0, -1], got[0, -1], atol=1e-10)


# src/topics/transformers/gpt.py:392
def test_gpt_edges():
    rng = np.random.default_rng(2)
    c = Config(vocab=9, context=7, d=6, layers=2, heads=2)
    P = init(c, rng, 0.5)
    assert gpt(np.zeros((2, 0), dtype=int), P, c).shape == (2, 0, 9)
    ids = rng.integers(9, size=(3, 7))
    full = gpt(ids, P, c)
    for t in range(1, 8):  # all positions at once = one prefix at a time
        assert np.allclose(gpt(ids[:, :t], P, c)[:, -1], full[:, t - 1], atol=1e-11)
    assert np.isfinite(gpt(ids, P, c, np.zeros((3, 7), dtype=bool))).all()


# src/topics/transformers/gpt.py:404
def test_init_is_hugging_face():
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    c = Config(vocab=300, context=40, d=48, layers=6, heads=4)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=300, n_positions=40, n_embd=48, n_layer=6, n_head=4,
        bos_token_id=0, eos_token_id=None))
    theirs = load_gpt2({k: w.numpy() for k, w in model.state_dict().items()}, 6)
    ours = init(c, np.random.default_rng(3))
    assert abs(ours["E"].std() / 0.02 - 1) < 0.03
    assert abs(ours["E_pos"].std() / theirs["E_pos"].std() - 1) < 0.1
    assert np.array_equal(ours["g"], theirs["g"]) and np.array_equal(ours["b"], theirs["b"])
    for mine, other in zip(ours["blocks"], theirs["blocks"]):
        assert mine.keys() == other.keys()
        for name, w in mine.items():
            assert w.shape == other[name].shape
            if name.startswith("W_"):
                assert abs(w.std() / other[name].std() - 1) < 0.1
            else:
                assert np.array_equal(w, other[name])


# src/topics/transformers/gpt.py:428
def test_token_losses():
    import torch

    rng = np.random.default_rng(4)
    for trial in range(20):
        lead = [(), (3,), (2, 5), (0,)][trial % 4]
        s = (1.0, 1000.0)[trial % 2] * rng.normal(size=(*lead, 7))
        y = rng.integers(7, size=lead)
        want = torch.nn.functional.cross_entropy(
            torch.from_numpy(s).reshape(-1, 7), torch.from_numpy(np.reshape(y, -1)),
            reduction="none").reshape(lead)
        assert np.allclose(token_losses(s, np.asarray(y)), want.numpy(), atol=1e-9)


# src/topics/transformers/gpt.py:442
def test_generate():
    import torch

    rng = np.random.default_rng(5)
    c = Config(vocab=31, context=12, d=15, layers=2, heads=3)
    model, P = hugging_face(c, rng)
    ids = rng.integers(31, size=(4, 3))
    best = lambda s: np.where(s < s.max(axis=-1, keepdims=True), -np.inf, s)
    ids = np.maximum(ids, 1)  # 0 is the padding token
    got = generate(lambda ids: gpt(ids, P, c), ids, 9, rng, best)
    want = model.generate(torch.from_numpy(ids), do_sample=False, max_new_tokens=9,
                          attention_mask=torch.ones(4, 3, dtype=torch.long))
    assert np.array_equal(got, want.numpy())
    p = np.array([0.5, 0.0, 0.3, 0.2])
    with np.errstate(divide="ignore"):
        fixed = np.log(p)
    score = lambda ids: np.broadcast_to(fixed, (*ids.shape, 4))
    draws = generate(score, np.zeros((20_000, 1), dtype=int), 2, rng)
    assert draws.shape == (20_000, 3)
    for column in (1, 2):
        share = np.bincount(draws[:, column], minlength=4) / 20_000
        assert np.abs(share - p).max() < 0.015 and share[1] == 0


# src/topics/transformers/gpt.py:466
def test_known_length():
    rng = np.random.default_rng(6)
    for _ in range(20):
        train, test = rng.integers(3, size=40), rng.integers(3, size=15)
        seen = {tuple(train[i : i + n]) for n in range(1, 7) for i in range(41 - n)}
        got = known_length(train, test, 6, 3)
        for t in range(15):
            want = max((n for n in range(1, min(t, 6) + 1)
                        if tuple(test[t - n : t]) in seen), default=0)
            assert got[t] == want


# src/topics/transformers/gpt.py:757
def test_table_losses():
    rng = np.random.default_rng(8)
    for trial in range(20):
        K, order = int(rng.integers(2, 5)), int(rng.integers(0, 4))
        train, test = rng.integers(K, size=30), rng.integers(K, size=12)

        def p(y, context):  # straight from the equation
            shorter = p(y, context[1:]) if context else 1 / K
            n = len(context)
            after = [train[i + n] for i in range(len(train) - n)
                     if tuple(train[i : i + n]) == context]
            if not after:
                return shorter
            D = len(set(after))
            return (after.count(y) + D * shorter) / (len(after) + D)

        got = table_losses(train, test, order, K)
        assert got.shape == (order + 1, 12)
        for n in range(order + 1):
            for t in range(12):
                context = tuple(test[max(0, t - n) : t])
                assert abs(got[n, t] + np.log(p(test[t], context))) < 1e-12
        context = tuple(rng.integers(K, size=order))
        assert abs(sum(p(y, context) for y in range(K)) - 1) < 1e-12


# src/topics/transformers/gpt.py:783
def test_torch_gpt_is_both():
    names = {"E.": "transformer.wte.", "E_pos.": "transformer.wpe.", "norm.":
             "transformer.ln_f.", "norm_1": "ln_1", "norm_2": "ln_2", "qkv": "attn.c_attn",
             "up": "mlp.c_fc", "down": "mlp.c_proj"}
    rng = np.random.default_rng(9)
    for trial in range(20):
        c = random_config(rng)
        theirs, _ = hugging_face(c, rng)
        ours = GPT(c, trial).double()
        other = dict(theirs.named_parameters())
        pairs = []
        for name, w in ours.named_parameters():
            key = re.sub(r"^blocks\.", "transformer.h.", name)
            key = re.sub(r"\.o\.", ".attn.c_proj.", key)
            for mine, its in names.items():
                key = re.sub(rf"(^|\.){re.escape(mine)}", rf"\1{its}", key)
            flip = w.dim() == 2 and "h." in key
            pairs.append((w, other[key], flip))
            with torch.no_grad():
                w += 0.3 * torch.from_numpy(rng.normal(size=tuple(w.shape)))
                other[key].copy_(w.T if flip else w)
        assert len(pairs) == len(other)
        T = int(rng.integers(2, c.context))
        ids = torch.from_numpy(rng.integers(c.vocab, size=(2, T)))
        logits = ours(ids)
        assert logits.shape == (2, T, c.vocab)
        assert np.allclose(gpt(ids.numpy(), to_numpy(ours), c), logits.detach().numpy(),
                           atol=1e-10)
        want = theirs(ids, labels=ids)  # this class moves the targets itself
        for scores in (logits, want.logits):
            loss = F.cross_entropy(scores[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            loss.backward()
        assert abs(loss.item() - want.loss.item()) < 1e-4  # theirs is in float32
        for w, v, flip in pairs:
            assert torch.allclose(w.grad, v.grad.T if flip else v.grad, atol=1e-10)


# src/topics/transformers/gpt.py:820
def test_torch_init_is_numpy_init():
    c = Config(vocab=200, context=50, d=48, layers=5, heads=4)
    ours, theirs = init(c, np.random.default_rng(10), 0.1), to_numpy(GPT(c, 0, 0.1))
    pairs = [(ours[k], theirs[k]) for k in ("E", "E_pos", "g", "b")]
    for mine, other in zip(ours["blocks"], theirs["blocks"]):
        pairs += [(mine[k], other[k]) for k in mine]
    for mine, other in pairs:
        assert mine.shape == other.shape
        assert abs(mine.std() - other.std()) <= 0.1 * mine.std()


# src/topics/transformers/gpt.py:970
def test_warpers_are_hugging_face():
    from transformers.generation.logits_process import (
        MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

    rng = np.random.default_rng(11)
    for trial in range(40):
        B, K = int(rng.integers(1, 4)), int(rng.integers(1, 30))
        s = (0.1, 1.0, 5.0, 300.0)[trial % 4] * rng.normal(size=(B, K))
        k, P, m = int(rng.integers(1, 35)), rng.uniform(0.05, 0.99), rng.uniform(0.01, 0.9)
        tau = rng.uniform(0.2, 3)
        ids, scores = torch.zeros(B, 1, dtype=torch.long), torch.from_numpy(s)
        for got, warper in ((s / tau, TemperatureLogitsWarper(float(tau))),
                            (top_k(s, k), TopKLogitsWarper(k)),
                            (nucleus(s, P), TopPLogitsWarper(float(P))),
                            (min_p(s, m), MinPLogitsWarper(float(m)))):
            assert got.shape == s.shape
            assert np.allclose(got, warper(ids, scores).numpy(), rtol=1e-12)
        chain = min_p(nucleus(top_k(s / tau, k), P), m)
        want = scores
        for warper in (TemperatureLogitsWarper(float(tau)), TopKLogitsWarper(k),
                       TopPLogitsWarper(float(P)), MinPLogitsWarper(float(m))):
            want = warper(ids, want)
        assert np.allclose(chain, want.numpy(), rtol=1e-12)


# src/topics/transformers/gpt.py:995
def test_warper_edges():
    s = np.array([[2.0, 2.0, 2.0, 0.0], [0.0, -np.inf, 5.0, 1.0]])
    assert np.isfinite(top_k(s, 2))[0].sum() == 3  # ties with the border stay
    assert np.isfinite(nucleus(s, 1e-9)).sum(axis=-1).tolist() == [1, 1]
    assert np.isfinite(nucleus(s, 0.0)).sum(axis=-1).tolist() == [1, 1]
    assert np.isfinite(min_p(s, 1.0)).sum(axis=-1).tolist() == [3, 1]
    hand = np.log([0.4, 0.3, 0.2, 0.1])[[2, 0, 3, 1]]  # not sorted
    assert np.isfinite(nucleus(hand, 0.8)).tolist() == [True, True, False, True]
    assert np.isfinite(min_p(hand, 0.6)).tolist() == [False, True, False, True]
    assert np.isfinite(top_k(hand, 1)).tolist() == [False, True, False, False]


# src/topics/transformers/gpt.py:1063
def test_parameters_and_flops():
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):  # shapes without memory
        for name, c in published().items():
            if name in ("GPT-2 small", "GPT-2 XL"):
                model = GPT2LMHeadModel(GPT2Config(n_embd=c.d, n_layer=c.layers,
                                                   n_head=c.heads))
                assert parameters(c) == sum(p.numel() for p in model.parameters())
    rng = np.random.default_rng(12)
    for _ in range(20):
        c = random_config(rng)
        T = int(rng.integers(1, c.context))
        model = GPT(c, 0)
        assert parameters(c) == sum(p.numel() for p in model.parameters())
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            model.to("meta")(torch.zeros(3, T, dtype=torch.long))
        total = counter.get_total_flops()
        counted = total - 3 * T * forward_flops(c, 0)  # attention is not always counted
        assert counted in (0, 3 * T * 4 * c.layers * c.d * T)
        longer = forward_flops(c, T) - forward_flops(c, 0)
        assert longer == 4 * c.layers * c.d * T
    counts = [parameters(c) for c in published().values()]
    assert counts[:4] == [124_439_808, 354_823_168, 774_030_080, 1_557_611_200]
    assert f"{6 * counts[4] * 300e9:.2e}" == "3.14e+23"


# src/topics/transformers/gpt.py:1247
def test_by_hand():
    loss = -np.log([1 / 2, 1 / 8, 1 / 16, 1 / 16])
    perplexity, bits = by_hand()
    assert abs(perplexity - np.exp(loss.mean())) < 1e-9
    assert abs(bits - loss.sum() / np.log(2) / 12) < 1e-9


# src/topics/transformers/gpt.py:1274
def test_survivors():
    s = np.log([0.5, 0.2, 0.15, 0.1, 0.05])
    sets = [top_k(s, 3), nucleus(s, 0.75), min_p(s, 0.25), nucleus(s / 2, 0.75),
            min_p(s / 2, 0.25)]
    assert list(survivors()) == [int(np.isfinite(x).sum()) for x in sets]


# src/topics/transformers/gpt.py:1307
def test_step():
    rng = np.random.default_rng(13)
    for _ in range(20):
        c = random_config(rng)
        P, ids = init(c, rng, 0.5), rng.integers(c.vocab, size=c.context)
        want = gpt(ids[None], P, c)[0]
        cache = [(np.zeros((c.heads, 0, c.d // c.heads)),) * 2] * c.layers
        for t, token in enumerate(ids):
            logits, cache = step(int(token), t, cache, P, c)
            assert cache[-1][0].shape == (c.heads, t + 1, c.d // c.heads)
            assert np.allclose(logits, want[t], atol=1e-10)


# src/topics/transformers/gpt.py:1343
def test_answer_scores():
    rng = np.random.default_rng(14)
    for _ in range(20):
        c = random_config(rng)
        P, prompt = init(c, rng, 0.5), rng.integers(c.vocab, size=rng.integers(1, 5))
        answers = [rng.integers(c.vocab, size=n) for n in (1, 3, 2)]
        got = answer_scores(lambda ids: gpt(ids, P, c), prompt, answers)
        assert got.shape == (3, 2)
        for row, answer in zip(got, answers):
            total, ids = 0.0, prompt
            for token in answer:  # one prediction at a time
                p = masked_softmax(gpt(ids[None], P, c)[0, -1])
                total, ids = total + np.log(p[token]), np.append(ids, token)
            assert np.allclose(row, [total, total / len(answer)], atol=1e-9)


# src/topics/transformers/gpt.py:1382
def test_qk_norm():
    rng = np.random.default_rng(15)
    for trial in range(20):
        T, d_k = (int(x) for x in rng.permutation(np.arange(1, 12))[:2])
        Q, K = (1.0, 1000.0)[trial % 2] * rng.normal(size=(2, T, d_k))
        q, k = (F.rms_norm(torch.from_numpy(z), (d_k,), eps=1e-6) for z in (Q, K))
        got = qk_norm_scores(Q, K)
        assert np.allclose(got, (q @ k.T / d_k**0.5).numpy(), atol=1e-10)
        assert np.abs(got).max() <= np.sqrt(d_k) + 1e-9
        assert masked_softmax(got).max() <= largest_qk_weight(T, d_k) + 1e-9
    best = masked_softmax(np.array([2.0, -2.0, -2.0]))[0]  # d_k = 4, T = 3
    assert abs(largest_qk_weight(3, 4) - best) < 1e-12


# src/topics/transformers/gpt.py:1415
def test_silent_at_first():
    c = Config(vocab=11, context=8, d=12, layers=3, heads=2)
    model = GPT(c, 0, 0.3)
    with torch.no_grad():
        for block in model.blocks:
            block.o.weight.zero_()
            block.down.weight.zero_()
    ids = torch.arange(9).reshape(1, 9)
    F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:]).backward()
    for block in model.blocks:
        silent = {name for name, w in block.named_parameters() if not w.grad.any()}
        assert silent == set(silent_at_first())
