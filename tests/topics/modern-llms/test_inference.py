# Generated from src/topics/modern-llms/inference.py: edit that file, then run doit. digest:2fbbc751155d2bb3

"""Tests of modern-llms/inference: Inference."""

import numpy as np
from dataclasses import dataclass


# src/topics/modern-llms/inference.py:39
def rows_computed(prompt: int, new: int, cached: bool) -> int:
    """Token rows that pass through the network to write `new` tokens."""
    if cached:
        return prompt + new - 1
    return sum(prompt + i for i in range(new))


# src/topics/modern-llms/inference.py:92
def masked_softmax(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Softmax over the allowed keys of each row; a row that allows none gives zeros."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    exps = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0.0, 1.0, total)


# src/topics/modern-llms/inference.py:103
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes of a GPT-2."""

    vocab: int
    context: int
    d: int
    layers: int
    heads: int


# src/topics/modern-llms/inference.py:114
def layer_norm(x: np.ndarray, g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each token of x (..., d) to mean 0 and variance 1, then gains g and shifts b."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * g + b


# src/topics/modern-llms/inference.py:120
def gelu(z: np.ndarray) -> np.ndarray:
    """The tanh form of GELU."""
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


# src/topics/modern-llms/inference.py:125
def linear(x: np.ndarray, W: dict, name: str) -> np.ndarray:
    """x (..., d_in) times W (d_in, d_out), plus the bias."""
    return x @ W["W_" + name] + W["b_" + name]


# src/topics/modern-llms/inference.py:130
def init(c: Config, rng: np.random.Generator, std: float = 0.3) -> dict:
    """Random weights, large enough for attention to matter."""

    def block() -> dict:
        W = {}
        for n in "12":
            W["g_" + n], W["b_" + n] = np.ones(c.d), std * rng.normal(size=c.d)
        for name in ("q", "k", "v", "o", "up", "down"):
            rows = 4 * c.d if name == "down" else c.d
            columns = 4 * c.d if name == "up" else c.d
            W["W_" + name] = std * rng.normal(size=(rows, columns))
            W["b_" + name] = std * rng.normal(size=columns)
        return W

    return {"E": std * rng.normal(size=(c.vocab, c.d)),
            "E_pos": std * rng.normal(size=(c.context, c.d)),
            "blocks": [block() for _ in range(c.layers)],
            "g": np.ones(c.d), "b": np.zeros(c.d)}


# src/topics/modern-llms/inference.py:151
def forward(
    ids: np.ndarray, P: dict, c: Config, cache: list | None = None,
    first: int | None = None,
) -> tuple[np.ndarray, list]:
    """Logits (B, n, vocab) of n new tokens ids (B, n), and the longer cache.

    `cache` holds keys and values (B, H, past, d_k) of each block; `first` is the
    position of the first new token, by default `past`.
    """
    B, n = ids.shape
    past = 0 if cache is None else cache[0][0].shape[2]
    first = past if first is None else first
    mask = np.arange(past + n) <= past + np.arange(n)[:, None]  # (n, past + n)
    h, longer = P["E"][ids] + P["E_pos"][first : first + n], []
    for l, W in enumerate(P["blocks"]):
        x = layer_norm(h, W["g_1"], W["b_1"])
        Q, K, V = (linear(x, W, name).reshape(B, n, c.heads, -1).swapaxes(1, 2)
                   for name in "qkv")
        if cache is not None:
            K, V = (np.concatenate(pair, axis=2) for pair in zip(cache[l], (K, V)))
        longer.append((K, V))
        A = masked_softmax(Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1]), mask)
        h = h + linear((A @ V).swapaxes(1, 2).reshape(B, n, c.d), W, "o")
        x = layer_norm(h, W["g_2"], W["b_2"])
        h = h + linear(gelu(linear(x, W, "up")), W, "down")
    return layer_norm(h, P["g"], P["b"]) @ P["E"].T, longer


# src/topics/modern-llms/inference.py:179
def in_pieces(ids: np.ndarray, P: dict, c: Config, sizes: list[int]) -> np.ndarray:
    """Logits of ids (B, T), run as pieces of the given sizes with one cache."""
    cache, logits, start = None, [], 0
    for size in sizes:
        out, cache = forward(ids[:, start : start + size], P, c, cache)
        logits.append(out)
        start += size
    return np.concatenate(logits, axis=1)


# src/topics/modern-llms/inference.py:217
@dataclass(frozen=True)
class Served:
    """A model as the hardware sees it; numbers have two bytes."""

    weights: int  # N: weights that a new token multiplies
    head: int  # those of them that make logits, needed once for each text
    flops: int  # a: attention FLOPs for each cached token
    cache: int  # c: bytes of cache for each token


# src/topics/modern-llms/inference.py:227
def llama(layers: int, d: int, ffn: int, heads: int, kv_heads: int, vocab: int,
          d_k: int = 128) -> tuple[Served, int]:
    """What is read, and the number of parameters with the embedding table."""
    block = 2 * d * heads * d_k + 2 * d * kv_heads * d_k + 3 * d * ffn
    served = Served(layers * block + vocab * d, vocab * d, 4 * layers * heads * d_k,
                    4 * layers * kv_heads * d_k)
    return served, served.weights + vocab * d + (2 * layers + 1) * d


# src/topics/modern-llms/inference.py:236
PEAK, BANDWIDTH, MEMORY = 989e12, 3.35e12, 80e9  # H100 SXM: FLOP/s, bytes/s, bytes


# src/topics/modern-llms/inference.py:239
def step_cost(m: Served, B: int, n: int, T: int, p: float = 2.0) -> tuple[float, float]:
    """FLOPs and bytes of n new tokens in each of B texts that hold T already."""
    each = n * (2 * (m.weights - m.head) + m.flops * (T + (n + 1) / 2)) + 2 * m.head
    return B * each, p * m.weights + B * m.cache * (T + n)


# src/topics/modern-llms/inference.py:245
def step_time(m: Served, B: int, n: int, T: int, p: float = 2.0) -> float:
    """Lower bound in seconds on one H100."""
    flops, moved = step_cost(m, B, n, T, p)
    return max(flops / PEAK, moved / BANDWIDTH)


# src/topics/modern-llms/inference.py:290
def random_config(rng):
    """Heads, width, vocabulary, context and layers all different."""
    heads = int(rng.integers(1, 5))
    return Config(vocab=int(rng.integers(30, 40)), context=int(rng.integers(9, 14)),
                  d=heads * int(rng.choice([3, 5, 7])), layers=int(rng.integers(1, 4)),
                  heads=heads)


# src/topics/modern-llms/inference.py:298
def random_sizes(rng, T):
    """T cut into pieces."""
    cuts = np.flatnonzero(rng.random(T - 1) < 0.5) + 1 if T > 1 else []
    return np.diff([0, *cuts, T]).tolist()


# src/topics/modern-llms/inference.py:304
def random_hugging_face(c, rng, scale=0.3):
    """Hugging Face's GPT-2 with random weights in float64, and the same for us."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=c.vocab, n_positions=c.context, n_embd=c.d, n_layer=c.layers,
            n_head=c.heads, bos_token_id=0, eos_token_id=None)).double().eval()
    with torch.no_grad():
        for w in model.parameters():
            w += torch.from_numpy(scale * rng.normal(size=tuple(w.shape)))
    s = {k.removeprefix("transformer."): w.numpy()
         for k, w in model.state_dict().items()}
    blocks = []
    for l in range(c.layers):
        W, at = {}, f"h.{l}."
        for n in "12":
            W["g_" + n], W["b_" + n] = s[f"{at}ln_{n}.weight"], s[f"{at}ln_{n}.bias"]
        for ours, theirs in (("o", "attn.c_proj"), ("up", "mlp.c_fc"),
                             ("down", "mlp.c_proj")):
            W["W_" + ours], W["b_" + ours] = (s[f"{at}{theirs}.{x}"]
                                              for x in ("weight", "bias"))
        for x, kind in (("W_", "weight"), ("b_", "bias")):
            parts = np.split(s[f"{at}attn.c_attn.{kind}"], 3, axis=-1)
            W |= {x + name: part for name, part in zip("qkv", parts)}
        blocks.append(W)
    return model, {"E": s["wte.weight"], "E_pos": s["wpe.weight"], "blocks": blocks,
                   "g": s["ln_f.weight"], "b": s["ln_f.bias"]}


# src/topics/modern-llms/inference.py:468
class PagedCache:
    """Rows (one token's keys and values) of many texts in blocks of one pool."""

    def __init__(self, blocks: int, size: int, width: int) -> None:
        self.pool = np.zeros((blocks, size, width))
        self.free = list(range(blocks))[::-1]
        self.users = [0] * blocks
        self.tables: dict[str, list[int]] = {}
        self.lengths: dict[str, int] = {}

    def take(self) -> int:
        if not self.free:
            raise MemoryError("no free block: a text must wait or give way")
        block = self.free.pop()
        self.users[block] = 1
        return block

    def append(self, name: str, row: np.ndarray) -> None:
        table, t = self.tables.setdefault(name, []), self.lengths.get(name, 0)
        size = self.pool.shape[1]
        if t % size == 0:
            table.append(self.take())
        elif self.users[table[-1]] > 1:  # shared: copy on write
            old, new = table[-1], self.take()
            self.pool[new] = self.pool[old]
            self.users[old] -= 1
            table[-1] = new
        self.pool[table[-1], t % size] = row
        self.lengths[name] = t + 1

    def fork(self, name: str, child: str) -> None:
        self.tables[child] = self.tables[name][:]
        self.lengths[child] = self.lengths[name]
        for block in self.tables[child]:
            self.users[block] += 1

    def read(self, name: str) -> np.ndarray:
        """Rows (T, width) in order, gathered through the block table."""
        rows = self.pool[self.tables[name]].reshape(-1, self.pool.shape[2])
        return rows[: self.lengths[name]]

    def release(self, name: str) -> None:
        for block in self.tables.pop(name):
            self.users[block] -= 1
            if self.users[block] == 0:
                self.free.append(block)
        del self.lengths[name]


# src/topics/modern-llms/inference.py:551
def check_pages(pages, texts):
    """Every text reads back, and counts and free list agree with the tables."""
    for name, rows in texts.items():
        assert np.array_equal(pages.read(name), np.array(rows))
        assert len(pages.tables[name]) == -(-len(rows) // pages.pool.shape[1])
    counts = np.zeros(len(pages.pool), dtype=int)
    for table in pages.tables.values():
        counts[table] += 1
    assert counts.tolist() == pages.users
    assert sorted(pages.free) == np.flatnonzero(counts == 0).tolist()


# src/topics/modern-llms/inference.py:638
def static_batching(lengths: np.ndarray, B: int, stall: float = 0.0) -> float:
    """Tokens per step when each batch of B waits for its longest text."""
    batches = [lengths[i : i + B] for i in range(0, len(lengths), B)]
    return lengths.sum() / sum(stall * len(b) + b.max() for b in batches)


# src/topics/modern-llms/inference.py:644
def continuous_batching(lengths: np.ndarray, B: int, stall: float = 0.0) -> float:
    """Tokens per step when a free place is filled at once."""
    left, started, time = np.zeros(B, dtype=int), 0, 0.0
    while started < len(lengths) or left.any():
        free = np.flatnonzero(left == 0)[: len(lengths) - started]
        left[free] = lengths[started : started + len(free)]
        started += len(free)
        time += stall * len(free) + 1
        left = np.maximum(left - 1, 0)
    return lengths.sum() / time


# src/topics/modern-llms/inference.py:656
def expected_gain(cdf: np.ndarray, B: int, stall: float = 0.0) -> float:
    """The formula above; cdf[k] is the probability of a length of at most k."""
    longest, mean = (1 - cdf**B).sum(), (1 - cdf).sum()
    return (longest + B * stall) / (mean + B * stall)


# src/topics/modern-llms/inference.py:668
def draw_lengths(cdf: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n lengths (n,) with the given cumulative distribution."""
    return np.searchsorted(cdf, rng.random(n), side="left")


# src/topics/modern-llms/inference.py:846
def speculate(target, draft, context: tuple, gamma: int, draw) -> list[int]:
    """One round, 1 to gamma + 1 tokens; models turn a context into p (K,)."""
    guesses, q = [], []
    for _ in range(gamma):
        q.append(draft(context + tuple(guesses)))
        guesses.append(draw(q[-1]))
    p = [target(context + tuple(guesses[:i])) for i in range(gamma + 1)]  # one pass
    for i, x in enumerate(guesses):
        keep = min(1.0, p[i][x] / q[i][x])
        if draw(np.array([keep, 1 - keep])) == 1:
            rest = np.maximum(p[i] - q[i], 0)
            return guesses[:i] + [draw(rest / rest.sum())]
    return guesses + [draw(p[gamma])]


# src/topics/modern-llms/inference.py:861
class Fork(Exception):
    """Raised where a program asks for a choice that is not yet made."""


# src/topics/modern-llms/inference.py:865
def outcomes(program) -> dict:
    """Every result of program(draw) with its exact probability."""
    totals, todo = {}, [((), 1.0)]
    while todo:
        path, weight = todo.pop()
        choices = iter(path)

        def draw(p: np.ndarray) -> int:
            for choice in choices:
                return choice
            raise Fork(p)

        try:
            result = program(draw)
            totals[result] = totals.get(result, 0.0) + weight
        except Fork as fork:
            todo += [(path + (i,), weight * w)
                     for i, w in enumerate(fork.args[0]) if w > 0]
    return totals


# src/topics/modern-llms/inference.py:886
def write(target, draft, n: int, gamma: int, draw) -> tuple:
    """The first n tokens of a text; gamma = 0 is plain sampling."""
    text = ()
    while len(text) < n:
        text += tuple(speculate(target, draft, text, gamma, draw))
    return text[:n]


# src/topics/modern-llms/inference.py:894
def markov(table: np.ndarray):
    """A language model that looks at one token; table (K, K), row 0 at the start."""
    return lambda context: table[context[-1] if context else 0]


# src/topics/modern-llms/inference.py:919
def tokens_per_round(target, draft, gamma: int, rounds: int, rng) -> float:
    """Mean number of tokens in a round of a long text."""
    draw = lambda p: int(np.searchsorted(np.cumsum(p)[:-1], rng.random(), side="right"))
    text = ()
    total = 0
    for _ in range(rounds):
        new = speculate(target, draft, text, gamma, draw)
        total, text = total + len(new), (new[-1],)  # all that a chain needs
    return total / rounds


# src/topics/modern-llms/inference.py:930
def expected_tokens(alpha: float, gamma: int) -> float:
    return sum(alpha**i for i in range(gamma + 1))


# src/topics/modern-llms/inference.py:934
def stationary(table: np.ndarray) -> np.ndarray:
    """The share (K,) of each token in a long text of a chain."""
    return np.linalg.matrix_power(table, 200)[0]


# src/topics/modern-llms/inference.py:939
def chain_rounds(p: np.ndarray, q: np.ndarray, gamma: int) -> tuple:
    """Mean tokens (K,) of a round begun after each token, law (K, K) of its last."""
    passed, tokens, last = np.eye(len(p)), np.zeros(len(p)), np.zeros_like(p)
    for _ in range(gamma):
        tokens += passed.sum(axis=1)
        last += passed @ np.maximum(p - q, 0)  # a rejection ends the round
        passed = passed @ np.minimum(p, q)  # or the next guess passes
    return tokens + passed.sum(axis=1), last + passed @ p


# src/topics/modern-llms/inference.py:997
def random_models(rng, K):
    return (markov(table) for table in rng.dirichlet(0.7 * np.ones(K), size=(2, K)))


# src/topics/modern-llms/inference.py:1001
def check_same_law(target, draft, n, gamma):
    plain = outcomes(lambda draw: write(target, draft, n, 0, draw))
    fast = outcomes(lambda draw: write(target, draft, n, gamma, draw))
    assert abs(sum(fast.values()) - 1) < 1e-9
    assert all(abs(fast[t] - plain[t]) < 1e-9 for t in plain)
    return plain


# src/topics/modern-llms/inference.py:1095
def to_int(W: np.ndarray, bits: int, group: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes (d_in, d_out) and scales (groups, 1, d_out); group 0: one scale for all.

    `group` rows of a column share a scale; group = d_in is per channel.
    """
    top = 2 ** (bits - 1) - 1
    blocks = W.reshape(-1, group or len(W), W.shape[1])
    axis = 1 if group else None
    s = np.abs(blocks).max(axis=axis, keepdims=True) / top
    s = np.broadcast_to(np.where(s == 0, 1.0, s), (len(blocks), 1, W.shape[1]))
    codes = np.clip(np.rint(blocks / s), -top, top)
    return codes.reshape(W.shape).astype(np.int8), s


# src/topics/modern-llms/inference.py:1109
def from_int(codes: np.ndarray, s: np.ndarray) -> np.ndarray:
    """The weights (d_in, d_out) that codes and scales stand for."""
    return (codes.reshape(len(s), -1, codes.shape[1]) * s).reshape(codes.shape)


# src/topics/modern-llms/inference.py:1114
def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# src/topics/modern-llms/inference.py:1144
def int8_product(X: np.ndarray, W: np.ndarray) -> np.ndarray:
    """X W with int8 codes, X (n, d) per token, W per channel."""
    (Zx, sx), (Zw, sw) = to_int(X.T, 8, X.shape[1]), to_int(W, 8, len(W))
    return (Zx.T.astype(int) @ Zw.astype(int)) * sx[0].T * sw[0]


# src/topics/modern-llms/inference.py:1150
def split_product(X: np.ndarray, W: np.ndarray, limit: float = 6.0) -> np.ndarray:
    """LLM.int8: features that exceed `limit` anywhere stay in full precision."""
    large = np.abs(X).max(axis=0) > limit
    return X[:, large] @ W[large] + int8_product(X[:, ~large], W[~large])


# src/topics/modern-llms/inference.py:1156
def smooth(X: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X D^-1 and D W: the same product, sizes shared evenly."""
    d = np.sqrt(np.abs(X).max(axis=0) / np.abs(W).max(axis=1))
    return X / d, W * d[:, None]


# src/topics/modern-llms/inference.py:1193
def gptq(W: np.ndarray, X: np.ndarray, bits: int, damp: float = 0.01) -> np.ndarray:
    """Rounded copy of W (d_in, d_out), per channel, for inputs X (n, d_in)."""
    H = X.T @ X
    H = H + damp * np.diag(H).mean() * np.eye(len(H))
    U = np.linalg.cholesky(np.linalg.inv(H)).T
    top, s = 2 ** (bits - 1) - 1, to_int(W, bits, len(W))[1][0, 0]
    W, rounded = W.copy(), np.empty_like(W)
    for i in range(len(W)):
        rounded[i] = s * np.clip(np.rint(W[i] / s), -top, top)
        W[i + 1 :] -= np.outer(U[i, i + 1 :], (W[i] - rounded[i]) / U[i, i])
    return rounded


# src/topics/modern-llms/inference.py:1368
def cut(cache: list, length: int) -> list:
    """The cache with its first `length` positions only."""
    return [(K[:, :, :length], V[:, :, :length]) for K, V in cache]


# src/topics/modern-llms/inference.py:1373
def speculative_greedy(
    P: dict, draft: dict, c: Config, prompt: list, n: int, gamma: int,
    roll_back: bool = True,
) -> tuple[list, float]:
    """Text of n tokens or a few more, and the share of guesses that were kept."""
    text, kept, made = list(prompt), 0, 0
    cache = forward(np.array([prompt[:-1]]), P, c)[1]
    while len(text) < n:
        guesses = []
        for _ in range(gamma):
            logits, _ = forward(np.array([text + guesses]), draft, c)
            guesses.append(int(logits[0, -1].argmax()))
        piece = np.array([text[-1:] + guesses])  # one read of the target
        logits, cache = forward(piece, P, c, cache, len(text) - 1)
        best = logits[0].argmax(axis=-1).tolist()
        right = next((i for i in range(gamma) if guesses[i] != best[i]), gamma)
        text, kept, made = text + best[: right + 1], kept + right, made + gamma
        if roll_back:
            cache = cut(cache, len(text) - 1)  # the last token is yet to be run
    return text, kept / made


# src/topics/modern-llms/inference.py:1509
def bound_and_ridge(N: float, bits: float, peak: float, bandwidth: float) -> tuple:
    """Seconds per token for one text, and the critical batch."""
    moved = N * bits / 8
    return moved / bandwidth, peak * moved / (bandwidth * 2 * N)


# src/topics/modern-llms/inference.py:1537
def accept_by_hand() -> tuple[float, list[float]]:
    """The rate, and the residual distribution (3,)."""
    # Minima 0.2, 0.3, 0.1 sum to 0.6; only the first token lacks probability.
    return 0.6, [1.0, 0.0, 0.0]


# src/topics/modern-llms/inference.py:1561
def round_cache(x: np.ndarray, bits: int, axis: int) -> np.ndarray:
    """The rounded copy (T, d_k); `axis` is the one that shares a scale."""
    low = x.min(axis=axis, keepdims=True)
    step = (x.max(axis=axis, keepdims=True) - low) / (2**bits - 1)
    step = np.where(step == 0, 1.0, step)
    return low + step * np.rint((x - low) / step)


# src/topics/modern-llms/inference.py:1598
def constrain(scores: np.ndarray, tokens: list[str], state: int, moves: dict) -> tuple:
    """Masked scores (K,), and a dictionary from allowed token to next state."""
    masked, after = np.full(len(tokens), -np.inf), {}
    for i, token in enumerate(tokens):
        at = state
        for character in token:
            at = moves.get((at, character))
            if at is None:
                break
        if at is not None:
            masked[i], after[i] = scores[i], at
    return masked, after


# src/topics/modern-llms/inference.py:1647
def reusable(prompt: list[int], cached: list[list[int]], size: int) -> int:
    """Number of leading tokens whose keys and values are already there."""
    best = 0
    for text in cached:
        same = 0
        while same < min(len(text), len(prompt) - 1) and text[same] == prompt[same]:
            same += 1
        best = max(best, same // size * size)
    return best


# src/topics/modern-llms/inference.py:1686
def best_gamma(alpha: float, kappa: float) -> int:
    """The number of guesses with the largest speed-up."""
    speed = [expected_tokens(alpha, g) / (g * kappa + 1) for g in range(51)]
    return int(np.argmax(speed))


# src/topics/modern-llms/inference.py:339
def test_rows_computed():
    assert rows_computed(3, 2, False) == 7 and rows_computed(3, 2, True) == 4
    for prompt, new in ((1, 1), (5, 1), (4, 9)):
        seen = [prompt + i for i in range(new)]
        assert rows_computed(prompt, new, False) == sum(seen)
        assert rows_computed(prompt, new, True) == seen[-1]


# src/topics/modern-llms/inference.py:347
def test_masked_softmax():
    import torch

    rng = np.random.default_rng(0)
    for size in (1.0, 1e4):
        scores, mask = size * rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.6
        mask[0] = False  # nothing to look at
        want = torch.from_numpy(np.where(mask, scores, -np.inf)).softmax(dim=-1)
        got = masked_softmax(scores, mask)
        assert np.allclose(got, want.nan_to_num().numpy(), atol=1e-12)
        assert np.array_equal(got[0], np.zeros(5))


# src/topics/modern-llms/inference.py:360
def test_cache_equals_recomputation():
    rng = np.random.default_rng(1)
    for _ in range(25):
        c = random_config(rng)
        P, T = init(c, rng), int(rng.integers(1, c.context + 1))
        ids = rng.integers(c.vocab, size=(int(rng.integers(1, 4)), T))
        full, cache = forward(ids, P, c)
        for sizes in ([1] * T, random_sizes(rng, T)):
            got = in_pieces(ids, P, c, sizes)
            assert got.shape == (*ids.shape, c.vocab)
            assert np.allclose(got, full, rtol=0, atol=1e-10)
        assert len(cache) == c.layers
        assert cache[0][0].shape == (len(ids), c.heads, T, c.d // c.heads)
        changed = ids.copy()
        changed[:, -1] = (changed[:, -1] + 1) % c.vocab  # the future is invisible
        assert np.array_equal(forward(changed, P, c)[0][:, :-1], full[:, :-1])


# src/topics/modern-llms/inference.py:378
def test_cache_equals_hugging_face():
    import torch

    rng = np.random.default_rng(2)
    for _ in range(20):
        c = random_config(rng)
        model, P = random_hugging_face(c, rng)
        T = int(rng.integers(2, c.context + 1))
        ids, past, cache, start = rng.integers(c.vocab, size=(2, T)), None, None, 0
        for size in random_sizes(rng, T):
            piece = ids[:, start : start + size]
            with torch.no_grad():
                want = model(torch.from_numpy(piece), past_key_values=past,
                             use_cache=True)
            past, start = want.past_key_values, start + size
            got, cache = forward(piece, P, c, cache)
            assert np.allclose(got, want.logits.numpy(), rtol=0, atol=1e-9)
        for l, (K, V) in enumerate(cache):
            assert np.allclose(K, past.layers[l].keys.numpy(), atol=1e-9)
            assert np.allclose(V, past.layers[l].values.numpy(), atol=1e-9)


# src/topics/modern-llms/inference.py:400
def test_roofline():
    for shape, want in (((32, 4096, 14336, 32, 8, 128_256), 8_030_261_248),
                        ((80, 8192, 28672, 64, 8, 128_256), 70_553_706_496),
                        ((80, 8192, 28672, 64, 8, 32_000), 68_976_648_192)):
        assert llama(*shape)[1] == want
    m, _ = llama(32, 4096, 14336, 32, 8, 128_256)
    assert (m.weights, m.cache, m.flops) == (7_504_658_432, 131_072, 524_288)
    assert step_cost(m, 3, 1, 99) == (3 * (2 * m.weights + 100 * m.flops),
                                      2 * m.weights + 300 * m.cache)
    for n, T in ((1, 7), (5, 0), (4, 9)):  # causal pairs, counted one by one
        pairs = sum(T + i + 1 for i in range(n))
        flops, moved = step_cost(m, 2, n, T, p=0.5)
        stack = m.weights - 128_256 * 4096
        assert flops == 2 * (2 * stack * n + 2 * m.head + m.flops * pairs)
        assert moved == 0.5 * m.weights + 2 * m.cache * (T + n)
    assert step_time(m, 1, 1, 0) == (2 * m.weights + m.cache) / 3.35e12
    assert step_time(m, 1, 9000, 0) == step_cost(m, 1, 9000, 0)[0] / 989e12


# src/topics/modern-llms/inference.py:563
def test_pages_equal_lists():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size, width = (int(n) for n in rng.integers(1, 6, size=2))
        pages, texts = PagedCache(300, size, width), {}
        for i in range(60):
            action = rng.choice(["new", "append", "fork", "release"],
                                p=[0.1, 0.6, 0.2, 0.1])
            name = str(rng.choice(list(texts))) if texts else ""
            if action == "new" or not texts:
                name, action = f"t{i}", "append"
                texts[name] = []
            if action == "append":
                for row in rng.normal(size=(int(rng.integers(1, 4)), width)):
                    pages.append(name, row)
                    texts[name].append(row)
            elif action == "fork":
                pages.fork(name, f"t{i}")
                texts[f"t{i}"] = list(texts[name])
            elif action == "release":
                pages.release(name)
                del texts[name]
            check_pages(pages, texts)


# src/topics/modern-llms/inference.py:588
def test_pages_run_out():
    pages, full = PagedCache(2, 3, 1), False
    for i in range(6):
        pages.append("a", np.array([i]))
    try:
        pages.append("a", np.array([6]))
    except MemoryError:
        full = True
    assert full and pages.read("a").ravel().tolist() == list(range(6))
    pages.release("a")
    assert sorted(pages.free) == [0, 1] and pages.tables == {}


# src/topics/modern-llms/inference.py:601
def test_paged_attention_equals_contiguous():
    rng = np.random.default_rng(3)
    c = Config(vocab=9, context=20, d=12, layers=2, heads=3)
    P, ids = init(c, rng), rng.integers(9, size=(1, 15))
    full, _ = forward(ids, P, c)
    pages, cache = PagedCache(20, 4, 4 * c.d), None
    for t in range(15):  # every key and value goes through the pages
        logits, longer = forward(ids[:, t : t + 1], P, c, cache)
        new = [x[0, :, -1] for pair in longer for x in pair]  # each (H, d_k)
        pages.append("x", np.concatenate(new).ravel())
        rows = pages.read("x").reshape(t + 1, 4, c.heads, -1).transpose(1, 2, 0, 3)
        cache = [(rows[None, 2 * l], rows[None, 2 * l + 1]) for l in range(2)]
        assert np.allclose(logits[:, 0], full[:, t], atol=1e-11)


# src/topics/modern-llms/inference.py:733
def test_batching_by_hand():
    lengths = np.array([3, 1, 1, 1])
    assert static_batching(lengths, 2) == 6 / 4  # 3 steps, then 1
    assert continuous_batching(lengths, 2) == 6 / 3
    assert static_batching(lengths, 2, 0.5) == 6 / 6
    assert continuous_batching(lengths, 2, 0.5) == 6 / 5
    assert continuous_batching(np.array([2, 5]), 4) == 7 / 5


# src/topics/modern-llms/inference.py:742
def test_continuous_equals_a_queue():
    import heapq

    rng = np.random.default_rng(4)
    for _ in range(20):
        B, n = (int(x) for x in rng.integers(1, 9, size=2))
        lengths = rng.integers(1, 20, size=n * 3)
        ends = [0] * B  # when each place becomes free
        for length in lengths:
            heapq.heappush(ends, heapq.heappop(ends) + length)
        assert np.isclose(continuous_batching(lengths, B), lengths.sum() / max(ends))
        assert continuous_batching(lengths, B) >= static_batching(lengths, B) - 1e-12


# src/topics/modern-llms/inference.py:756
def test_expected_gain():
    cdf = np.array([0, 0.5, 1.0])  # lengths 1 and 2, equally likely
    assert np.isclose(expected_gain(cdf, 2), 1.75 / 1.5)
    assert np.isclose(expected_gain(cdf, 2, 3.0), 7.75 / 7.5)
    rng = np.random.default_rng(5)
    lengths = draw_lengths(cdf, 20000, rng)
    assert set(lengths) == {1, 2} and abs(lengths.mean() - 1.5) < 0.02
    for stall in (0.0, 0.5):
        ratio = (continuous_batching(lengths, 4, stall)
                 / static_batching(lengths, 4, stall))
        assert abs(ratio - expected_gain(cdf, 4, stall)) < 0.02


# src/topics/modern-llms/inference.py:1009
def test_speculation_by_enumeration():
    rng = np.random.default_rng(6)
    for _ in range(20):
        K, gamma = (int(x) for x in (rng.integers(2, 4), rng.integers(1, 3)))
        target, draft = random_models(rng, K)
        plain = check_same_law(target, draft, 2, gamma)
        for (a, b), w in plain.items():
            assert abs(w - target(())[a] * target((a,))[b]) < 1e-12
    sure = markov(np.eye(3)[[1, 2, 0]])  # zeros in the target, then in the draft
    vague = markov(np.full((3, 3), 1 / 3))
    assert check_same_law(sure, vague, 3, 2) == {(1, 2, 0): 1.0}
    check_same_law(vague, sure, 3, 2)
    lengths = outcomes(lambda draw: len(speculate(vague, vague, (), 2, draw)))
    assert lengths.keys() == {3} and abs(lengths[3] - 1) < 1e-12


# src/topics/modern-llms/inference.py:1025
def test_speculation_chi_squared():
    from scipy.special import chdtrc  # the tail of the chi-squared distribution

    rng = np.random.default_rng(7)
    target, draft = random_models(rng, 4)
    want = outcomes(lambda draw: write(target, draft, 2, 0, draw))
    draw = lambda p: int(np.searchsorted(np.cumsum(p)[:-1], rng.random(), side="right"))

    def p_value(law):
        seen = dict.fromkeys(want, 0)
        for _ in range(2000):
            seen[write(law, draft, 2, 2, draw)] += 1
        expected = 2000 * np.array(list(want.values()))
        return chdtrc(len(want) - 1, ((list(seen.values()) - expected) ** 2
                                      / expected).sum())

    assert p_value(target) > 1e-3
    off = lambda c: 0.9 * target(c) + 0.1 * draft(c)  # a slightly wrong target
    assert p_value(off) < 1e-3


# src/topics/modern-llms/inference.py:1046
def test_expected_tokens():
    rng = np.random.default_rng(8)
    for gamma in (1, 3, 5):
        p, q = rng.dirichlet(np.ones(4), size=2)
        alpha = np.minimum(p, q).sum()
        got = tokens_per_round(lambda c: p, lambda c: q, gamma, 3000, rng)
        assert abs(got / expected_tokens(alpha, gamma) - 1) < 0.05
        geometric_sum = (1 - alpha ** (gamma + 1)) / (1 - alpha)
        assert np.isclose(expected_tokens(alpha, gamma), geometric_sum)
    lengths = outcomes(lambda draw: len(speculate(
        lambda c: p, lambda c: q, (), 2, draw)))
    mean = sum(length * w for length, w in lengths.items())
    assert np.isclose(mean, expected_tokens(alpha, 2))
    P, Q = rng.dirichlet(np.ones(3), size=(2, 3))
    means, law = chain_rounds(P, Q, 2)
    for x in range(3):
        rounds = outcomes(lambda draw: tuple(speculate(
            markov(P), markov(Q), (x,), 2, draw)))
        assert np.isclose(means[x], sum(len(text) * w for text, w in rounds.items()))
        for y in range(3):
            want = sum(w for text, w in rounds.items() if text[-1] == y)
            assert np.isclose(law[x, y], want)
    table = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert np.allclose(stationary(table), [2 / 3, 1 / 3])


# src/topics/modern-llms/inference.py:1227
def test_int8_is_torch():
    import warnings

    import torch

    rng = np.random.default_rng(9)
    for i in range(25):
        d_in, d_out = (int(n) for n in rng.permutation(np.arange(1, 40))[:2])
        W = rng.normal(size=(d_in, d_out)) * {0: 1e6, 1: 1e-6}.get(i, 1.0)
        W = W.astype(np.float32).astype(float)
        if i == 2:
            W[:, 0] = 0
        codes, s = to_int(W, 8, d_in)
        with warnings.catch_warnings():  # torch means to move these functions
            warnings.simplefilter("ignore")
            want = torch.quantize_per_channel(
                torch.from_numpy(W).float(), torch.from_numpy(s[0, 0].copy()),
                torch.zeros(d_out, dtype=torch.long), 1, torch.qint8)
        assert codes.shape == W.shape and np.array_equal(codes, want.int_repr().numpy())
        assert np.allclose(from_int(codes, s), want.dequantize().numpy(), rtol=1e-6)
        whole, s = to_int(W, 8)
        want = torch.quantize_per_tensor(torch.from_numpy(W).float(),
                                         float(s[0, 0, 0]), 0, torch.qint8)
        assert np.array_equal(whole, want.int_repr().numpy())


# src/topics/modern-llms/inference.py:1253
def test_groups():
    rng = np.random.default_rng(10)
    for _ in range(20):
        groups, size, d_out = (int(n) for n in rng.integers(1, 7, size=3))
        W, bits = rng.normal(size=(groups * size, d_out)), int(rng.integers(2, 9))
        codes, s = to_int(W, bits, size)
        assert s.shape == (groups, 1, d_out)
        assert np.abs(codes).max() == 2 ** (bits - 1) - 1
        for g in range(groups):
            part, t = to_int(W[g * size : (g + 1) * size], bits, size)
            assert np.array_equal(part, codes[g * size : (g + 1) * size])
            assert np.array_equal(t[0], s[g])
        steps = np.repeat(s[:, 0], size, axis=0)
        assert np.all(np.abs(from_int(codes, s) - W) <= steps / 2 + 1e-12)


# src/topics/modern-llms/inference.py:1269
def test_products():
    assert relative(np.array([5.0, 0.0]), np.array([2.0, 0.0])) == 1.5
    rng = np.random.default_rng(11)
    for _ in range(20):
        n, d, m = (int(x) for x in rng.integers(2, 30, size=3))
        X, W = rng.normal(size=(n, d)), rng.normal(size=(d, m))
        Xs, Ws = smooth(X, W)
        assert np.allclose(Xs @ Ws, X @ W)
        assert np.allclose(np.abs(Xs).max(axis=0), np.abs(Ws).max(axis=1))
        Xq = from_int(*to_int(X.T, 8, d)).T
        assert np.allclose(int8_product(X, W), Xq @ from_int(*to_int(W, 8, d)))
        X[0, 0], W8 = 500.0, from_int(*to_int(W[1:], 8, d - 1))
        rest = from_int(*to_int(X[:, 1:].T, 8, d - 1)).T @ W8
        assert np.allclose(split_product(X, W), X[:, :1] @ W[:1] + rest)


# src/topics/modern-llms/inference.py:1285
def test_gptq_is_least_squares():
    rng = np.random.default_rng(12)
    for _ in range(20):
        d, m, bits = (int(x) for x in (rng.integers(2, 9), rng.integers(1, 6),
                                       rng.integers(2, 6)))
        X = rng.normal(size=(40, d)) @ rng.normal(size=(d, d))
        W = rng.normal(size=(d, m))
        H = X.T @ X + 0.01 * np.diag(X.T @ X).mean() * np.eye(d)
        s, top = np.abs(W).max(axis=0) / (2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1
        want = W.copy()
        for i in range(d):
            want[i] = s * np.clip(np.rint(want[i] / s), -top, top)
            done, free = slice(0, i + 1), slice(i + 1, d)
            want[free] = W[free] - np.linalg.solve(
                H[free, free], H[free, done] @ (want[done] - W[done]))
        assert np.allclose(gptq(W, X, bits), want, atol=1e-8)


# src/topics/modern-llms/inference.py:1420
def test_speculative_greedy():
    rng = np.random.default_rng(16)
    for _ in range(5):
        c = Config(vocab=9, context=40, d=12, layers=2, heads=3)
        P, gamma = init(c, rng), int(rng.integers(1, 5))
        text = rng.integers(9, size=int(rng.integers(2, 5))).tolist()
        for draft in (init(c, rng), P | {"blocks": P["blocks"][:1]}, P):
            got, share = speculative_greedy(P, draft, c, text, 20, gamma)
            want = list(text)
            while len(want) < len(got):
                want.append(int(forward(np.array([want]), P, c)[0][0, -1].argmax()))
            assert got == want and 0 <= share <= 1
        assert share == 1  # the target drafts for itself


# src/topics/modern-llms/inference.py:1518
def test_bound_and_ridge():
    seconds, batch = bound_and_ridge(7e9, 16, 989e12, 3.35e12)
    assert np.isclose(seconds, 14e9 / 3.35e12) and np.isclose(batch, 989 / 3.35)
    for bits in (4, 8):
        s, b = bound_and_ridge(7e9, bits, 989e12, 3.35e12)
        assert np.isclose(s, seconds * bits / 16) and np.isclose(b, batch * bits / 16)


# src/topics/modern-llms/inference.py:1546
def test_accept_by_hand():
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    rate, rest = accept_by_hand()
    assert np.isclose(rate, np.minimum(p, q).sum())
    gap = np.maximum(p - q, 0)
    assert np.allclose(rest, gap / gap.sum())


# src/topics/modern-llms/inference.py:1572
def test_round_cache():
    rng = np.random.default_rng(13)
    for _ in range(20):
        T, d, bits = (int(n) for n in rng.integers(1, 9, size=3))
        x = rng.normal(size=(T, d))
        for axis in (0, 1):
            got = round_cache(x, bits, axis)
            spread = np.ptp(x, axis=axis, keepdims=True)
            assert np.all(np.abs(got - x) <= spread / (2**bits - 1) / 2 + 1e-12)
            for line in np.moveaxis(got, axis, -1):
                assert len(np.unique(line.round(9))) <= 2**bits
            assert np.allclose(got.max(axis=axis), x.max(axis=axis))
    keys = rng.normal(size=(50, 8)) + 20 * np.eye(8)[2]  # one large channel
    per_channel, per_token = (round_cache(keys, 2, axis) for axis in (0, 1))
    assert relative(per_channel, keys) < relative(per_token, keys)


# src/topics/modern-llms/inference.py:1615
def test_constrain():
    import re

    # 0: start, 1: digits, 2: after the point, 3: decimals
    moves = {(s, d): t for d in "0123456789"
             for s, t in ((0, 1), (1, 1), (2, 3), (3, 3))}
    moves |= {(1, "."): 2}
    tokens = ["1", "42", ".", ".5", "7.", "7.1", "..", "a", "3a", "1.2.3"]
    rng = np.random.default_rng(14)
    masked, after = constrain(np.arange(10.0), tokens, 0, moves)
    assert after == {0: 1, 1: 1, 4: 2, 5: 3}
    assert np.flatnonzero(np.isfinite(masked)).tolist() == [0, 1, 4, 5]
    assert masked[5] == 5.0
    assert constrain(np.zeros(10), tokens, 1, moves)[1].keys() == {0, 1, 2, 3, 4, 5}
    for _ in range(30):
        text, state = "", 0
        for _ in range(6):
            scores, after = constrain(rng.normal(size=10), tokens, state, moves)
            best = int(scores.argmax())
            text, state = text + tokens[best], after[best]
        assert re.fullmatch(r"\d+(\.\d*)?", text)


# src/topics/modern-llms/inference.py:1661
def test_reusable():
    assert reusable([1, 2, 3, 4, 5], [[1, 2, 3, 4, 9]], 2) == 4
    assert reusable([1, 2, 3, 4], [[1, 2, 3, 4]], 2) == 2  # one token must be run
    assert reusable([9, 2, 3, 4, 5], [[1, 2, 3, 4, 5]], 2) == 0
    assert reusable([7], [[7, 8]], 1) == 0 and reusable([7, 8], [], 1) == 0
    rng = np.random.default_rng(15)
    for _ in range(50):
        prompt, size = rng.integers(2, size=9).tolist(), int(rng.integers(1, 4))
        cached = [rng.integers(2, size=int(n)).tolist() for n in rng.integers(1, 12, 6)]
        fits = [n for n in range(0, 9, size)
                if n == 0 or any(text[:n] == prompt[:n] for text in cached)]
        assert reusable(prompt, cached, size) == max(fits)


# src/topics/modern-llms/inference.py:1695
def test_best_gamma():
    for alpha in (0.2, 0.5, 0.8, 0.95):
        for kappa in (0.02, 0.1, 0.19, 0.6):
            best = best_gamma(alpha, kappa)
            gain = lambda g: (1 - alpha ** (g + 1)) / (1 - alpha) / (g * kappa + 1)
            assert all(gain(best) >= gain(g) - 1e-12 for g in range(51))
            assert (best == 0) == (alpha <= kappa)
