# Generated from src/topics/modern-llms/pretraining.py: edit that file, then run doit. digest:15d90a0d47f1a66c

"""Tests of modern-llms/pretraining: Pretraining."""

import numpy as np
import re
import torch
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from scipy.optimize import least_squares, minimize
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F


# src/topics/modern-llms/pretraining.py:102
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+"


# src/topics/modern-llms/pretraining.py:105
@cache
def byte_order() -> bytes:
    """All bytes in the order of their ids: the printable ones first."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return bytes(shown + [b for b in range(256) if b not in shown])


# src/topics/modern-llms/pretraining.py:112
def to_ids(piece: str) -> list[int]:
    """The ids of the bytes of a piece of text."""
    return [byte_order().index(b) for b in piece.encode("utf-8")]


# src/topics/modern-llms/pretraining.py:117
def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Every `pair` in ids, from the left, replaced by the id `new`."""
    out: list[int] = []
    for i in ids:
        if out and (out[-1], i) == pair:
            out[-1] = new
        else:
            out.append(i)
    return out


# src/topics/modern-llms/pretraining.py:128
def train_bpe(text: str, n_merges: int) -> list[tuple[int, int]]:
    """The pairs to merge, in order; the k-th gets the id 256 + k."""
    pieces = Counter(re.findall(SPLIT, text))
    words, often = [to_ids(piece) for piece in pieces], list(pieces.values())
    counts, where = Counter(), defaultdict(set)

    def count(i: int, sign: int) -> None:
        for pair in zip(words[i], words[i][1:]):
            counts[pair] += sign * often[i]
            where[pair].add(i)

    for i in range(len(words)):
        count(i, 1)
    merges: list[tuple[int, int]] = []
    while len(merges) < n_merges and counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # ties: smallest
        if counts[best] < 2:
            break
        for i in where.pop(best):  # only words that hold the pair change
            count(i, -1)
            words[i] = merge(words[i], best, 256 + len(merges))
            count(i, 1)
        merges.append(best)
    return merges


# src/topics/modern-llms/pretraining.py:154
def encode(text: str, merges: list[tuple[int, int]]) -> list[int]:
    """Token ids of a text: in each word, the earliest learned merge first."""
    rank = {pair: k for k, pair in enumerate(merges)}
    seen: dict[str, list[int]] = {}
    for piece in set(re.findall(SPLIT, text)):
        ids = to_ids(piece)
        while len(ids) > 1:
            pair = min(zip(ids, ids[1:]), key=lambda p: rank.get(p, len(merges)))
            if pair not in rank:
                break
            ids = merge(ids, pair, 256 + rank[pair])
        seen[piece] = ids
    return [i for piece in re.findall(SPLIT, text) for i in seen[piece]]


# src/topics/modern-llms/pretraining.py:169
def token_bytes(merges: list[tuple[int, int]]) -> list[bytes]:
    """What each id stands for."""
    table = [bytes([b]) for b in byte_order()]
    for left, right in merges:
        table.append(table[left] + table[right])
    return table


# src/topics/modern-llms/pretraining.py:177
def decode(ids: list[int], merges: list[tuple[int, int]]) -> str:
    """The text of the ids; bytes that are not UTF-8 become a replacement sign."""
    table = token_bytes(merges)
    return b"".join(table[i] for i in ids).decode("utf-8", errors="replace")


# src/topics/modern-llms/pretraining.py:192
def library_bpe(text: str, n_merges: int) -> Tokenizer:
    """The same tokenizer from Hugging Face's `tokenizers`."""
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=256 + n_merges, min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return theirs


# src/topics/modern-llms/pretraining.py:242
def random_text(rng: np.random.Generator) -> str:
    """Words of a small random vocabulary, with spaces, digits and marks."""
    letters = list(rng.choice(["abc", "abcdefgh", "aéß日本", "xy'_s"]))
    words = ["".join(rng.choice(letters, size=rng.integers(1, 7))) for _ in range(12)]
    words += ["12", "7", "'s", "--", "\n", "  ", "don't"]
    return "".join(rng.choice([" ", "", "\n"]) + rng.choice(words)
                   for _ in range(int(rng.integers(0, 120))))


# src/topics/modern-llms/pretraining.py:281
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes of a GPT-2."""

    vocab: int
    context: int  # rows of the position table
    d: int
    layers: int
    heads: int


# src/topics/modern-llms/pretraining.py:292
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


# src/topics/modern-llms/pretraining.py:311
class GPT(nn.Module):
    """GPT-2 with tied embeddings: ids (B, T) to logits (B, T, vocab)."""

    def __init__(self, c: Config, seed: int) -> None:
        super().__init__()
        self.E, self.E_pos = nn.Embedding(c.vocab, c.d), nn.Embedding(c.context, c.d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.d)
        g, std = torch.Generator().manual_seed(seed), 0.5 / c.d**0.5
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


# src/topics/modern-llms/pretraining.py:336
def windows(ids: list[int], T: int) -> torch.Tensor:
    """Rows (n, T + 1) of ids; each target appears in one row only."""
    n = (len(ids) - 1) // T
    rows = np.arange(n)[:, None] * T + np.arange(T + 1)
    return torch.from_numpy(np.asarray(ids, dtype=np.int64)[rows])


# src/topics/modern-llms/pretraining.py:343
@torch.no_grad()
def mean_loss(model: nn.Module, rows: torch.Tensor) -> float:
    """Mean loss in nats of all predictions in rows (n, T + 1)."""
    total = sum(F.cross_entropy(model(r[:, :-1]).flatten(0, 1), r[:, 1:].flatten(),
                                reduction="sum").item() for r in rows.split(256))
    return total / rows[:, 1:].numel()


# src/topics/modern-llms/pretraining.py:351
def train(
    c: Config, rows: torch.Tensor, steps: int, seed: int, marks: dict | None = None
) -> GPT:
    """A GPT after `steps` batches of 16 rows; marks[step], if asked for, is a snapshot.

    The peak rate is 0.01 at width 64 and goes with 1 / sqrt(width).
    """
    model, peak = GPT(c, seed), 0.01 * (64 / c.d) ** 0.5
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    order = order.repeat(1 + 16 * steps // len(rows))  # once, unless steps demand more
    adam = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), fused=True)
    for step in range(steps):
        r = rows[order[16 * step : 16 * (step + 1)]]
        loss = F.cross_entropy(model(r[:, :-1]).flatten(0, 1), r[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = peak * min(20 * (step + 1) / steps, 1 - step / steps)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        if marks is not None and step + 1 in marks:
            marks[step + 1] = {k: v.clone() for k, v in model.state_dict().items()}
    return model


# src/topics/modern-llms/pretraining.py:485
@torch.no_grad()
def generate(
    model: GPT, ids: list[int], n: int, temperature: float, seed: int
) -> list[int]:
    """ids and n more, each drawn given the last tokens that fit the context."""
    g, ids = torch.Generator().manual_seed(seed), list(ids)
    for _ in range(n):
        logits = model(torch.tensor([ids[-len(model.E_pos.weight) :]]))[0, -1]
        p = torch.softmax(logits / temperature, dim=-1)
        ids.append(int(torch.multinomial(p, 1, generator=g)))
    return ids


# src/topics/modern-llms/pretraining.py:560
@dataclass(frozen=True)
class Law:
    """L(N, D) = E + A / N^alpha + B / D^beta."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, N: np.ndarray, D: np.ndarray) -> np.ndarray:
        return self.E + self.A / N**self.alpha + self.B / D**self.beta


# src/topics/modern-llms/pretraining.py:574
def allocate(law: Law, C: float) -> tuple[float, float]:
    """The N and D of least loss with 6 N D = C."""
    total = law.alpha + law.beta
    G = (law.alpha * law.A / (law.beta * law.B)) ** (1 / total)
    N = G * (C / 6) ** (law.beta / total)
    return N, C / 6 / N


# src/topics/modern-llms/pretraining.py:582
def count(c: Config) -> int:
    """Parameters of the GPT above, embeddings included."""
    return (c.vocab + c.context) * c.d + c.layers * (12 * c.d**2 + 13 * c.d) + 2 * c.d


# src/topics/modern-llms/pretraining.py:607
MARKS = (122, 244, 488, 976, 1952)


# src/topics/modern-llms/pretraining.py:610
def scaling_run(
    rows: torch.Tensor, val: torch.Tensor, d: int, steps: int, seed: int
) -> tuple[float, ...]:
    """Losses of one run of width d at each mark up to its last step."""
    marks = {mark: None for mark in MARKS if mark <= steps}
    c, losses = Config(64, 32, d, 2, max(1, d // 16)), []
    model = train(c, rows, steps, seed, marks)
    for state in marks.values():
        model.load_state_dict(state)
        losses.append(round(mean_loss(model, val[::2]), 4))
    return tuple(losses)


# src/topics/modern-llms/pretraining.py:747
N_0, D_0 = 2e4, 4e5  # the middle of the grid: parameters of the fits are of order one


# src/topics/modern-llms/pretraining.py:750
def chinchilla(p: np.ndarray, N: np.ndarray, D: np.ndarray) -> np.ndarray:
    """p: log E, log of the two terms at (N_0, D_0) and their exponents."""
    return (np.exp(p[0]) + np.exp(p[1]) * (N / N_0) ** -p[2]
            + np.exp(p[3]) * (D / D_0) ** -p[4])


# src/topics/modern-llms/pretraining.py:756
def kaplan(p: np.ndarray, N: np.ndarray, D: np.ndarray) -> np.ndarray:
    """p: log of the two terms at (N_0, D_0), alpha_N, alpha_D."""
    inner = np.exp(p[0]) * (N / N_0) ** (-p[2] / p[3]) + np.exp(p[1]) * D_0 / D
    return inner ** p[3]


# src/topics/modern-llms/pretraining.py:762
STARTS = {
    chinchilla: [(0.3, -1.0, a, -1.0, b) for a in (0.3, 0.6) for b in (0.3, 0.6)],
    kaplan: [(s, s, a, b) for s in (1.0, 4.0) for a in (0.1, 0.2) for b in (0.1, 0.3)],
}


# src/topics/modern-llms/pretraining.py:768
def fit(form, N: np.ndarray, D: np.ndarray, L: np.ndarray, starts=None) -> np.ndarray:
    """The p of least Huber loss of log form(p) - log L, from several starts."""
    def residual(p: np.ndarray) -> np.ndarray:
        return np.log(form(p, N, D)) - np.log(L)

    tries = [least_squares(residual, start, loss="huber", f_scale=1e-3, x_scale="jac",
                           max_nfev=300) for start in starts or STARTS[form]]
    return min(tries, key=lambda result: result.cost).x


# src/topics/modern-llms/pretraining.py:778
def to_law(p: np.ndarray) -> Law:
    """The parameters of `chinchilla` in the usual form."""
    return Law(np.exp(p[0]), np.exp(p[1]) * N_0 ** p[2], p[2],
               np.exp(p[3]) * D_0 ** p[4], p[4])


# src/topics/modern-llms/pretraining.py:943
BESIROGLU = (1.8172, 482.01, 0.3478, 2085.43, 0.3658)  # same data, fitted again, 2024


# src/topics/modern-llms/pretraining.py:976
def served(law: Law, loss: float, D_inf: float) -> tuple[float, float]:
    """N and D of least 6 N D + 2 N D_inf that reach `loss`."""
    N = np.geomspace(1e8, 1e13, 40_001)
    spare = loss - law.E - law.A / N**law.alpha  # what data may still cost
    D = np.full(len(N), np.inf)
    D[spare > 0] = (law.B / spare[spare > 0]) ** (1 / law.beta)
    best = (6 * N * D + 2 * N * D_inf).argmin()
    return float(N[best]), float(D[best])


# src/topics/modern-llms/pretraining.py:986
def fresh(epochs: float, R: float = 15.4) -> float:
    """Fresh tokens worth as much as one unique token seen `epochs` times."""
    return 1 + R * (1 - np.exp(-(epochs - 1) / R))


# src/topics/modern-llms/pretraining.py:1023
def mfu(active: float, tokens: float, gpu_hours: float, peak: float) -> float:
    """6 N D over what `gpu_hours` at `peak` FLOPs a second could have done."""
    return 6 * active * tokens / (3600 * gpu_hours * peak)


# src/topics/modern-llms/pretraining.py:1087
PRIME = 4_294_967_311  # just above 2^32


# src/topics/modern-llms/pretraining.py:1090
def shingles(text: str, n: int = 5) -> set[int]:
    """Hashes of the runs of n words of a text."""
    words = re.findall(r"\w+", text.lower())
    return {zlib.crc32(" ".join(words[i : i + n]).encode())
            for i in range(len(words) - n + 1)}


# src/topics/modern-llms/pretraining.py:1097
def jaccard(S: set[int], T: set[int]) -> float:
    """|S and T| / |S or T|; two empty sets count as different."""
    return len(S & T) / max(1, len(S | T))


# src/topics/modern-llms/pretraining.py:1102
def minhash(S: set[int], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest value of (a x + b) mod PRIME over S for each of k hash functions, (k,)."""
    x = np.fromiter(S, dtype=np.uint64, count=len(S))
    return ((a[:, None] * x + b[:, None]) % np.uint64(PRIME)).min(axis=1, initial=PRIME)


# src/topics/modern-llms/pretraining.py:1108
def random_hashes(k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Factors and shifts (k,) below 2^31, so that a x + b fits 64 bits."""
    return tuple(rng.integers(1, 2**31, size=(2, k)).astype(np.uint64))


# src/topics/modern-llms/pretraining.py:1113
def candidates(signatures: np.ndarray, r: int) -> set[tuple[int, int]]:
    """Pairs of rows of signatures (n, k) that agree on one of the k / r bands."""
    pairs = set()
    for band in range(0, signatures.shape[1], r):
        buckets = defaultdict(list)
        for i, row in enumerate(signatures[:, band : band + r]):
            buckets[row.tobytes()].append(i)
        for same in buckets.values():
            pairs |= {(i, j) for i in same for j in same if i < j}
    return pairs


# src/topics/modern-llms/pretraining.py:1125
def s_curve(J: np.ndarray, b: int, r: int) -> np.ndarray:
    """Probability that a pair with similarity J becomes a candidate."""
    return 1 - (1 - J**r) ** b


# src/topics/modern-llms/pretraining.py:1193
def contaminated(documents: list[str], known: set[int], n: int) -> np.ndarray:
    """For each document: is any run of n of its words among the known ones?"""
    return np.array([bool(shingles(document, n) & known) for document in documents])


# src/topics/modern-llms/pretraining.py:1413
def huber_objective(p, N, D, L, scale):
    """Scaled Huber loss (delta 1e-3) of log chinchilla - log L, and its gradient."""
    terms = np.array([np.full(len(N), np.exp(p[0])), np.exp(p[1]) * (N / N_0) ** -p[2],
                      np.exp(p[3]) * (D / D_0) ** -p[4]])
    r = np.log(terms.sum(axis=0)) - np.log(L)
    share = terms / terms.sum(axis=0)  # derivative of log L by the log of each term
    slope = np.clip(r, -1e-3, 1e-3)
    value = np.where(np.abs(r) <= 1e-3, r**2 / 2, 1e-3 * (np.abs(r) - 5e-4))
    grad = [share[0], share[1], -share[1] * np.log(N / N_0), share[2],
            -share[2] * np.log(D / D_0)]
    return scale * value.sum(), scale * (np.array(grad) * slope).sum(axis=1)


# src/topics/modern-llms/pretraining.py:1492
def days(N: float, gpus: int = 64, peak: float = 989e12, mfu: float = 0.4) -> float:
    """Days of training on 20 N tokens."""
    return 6 * N * 20 * N / (gpus * peak * mfu) / 86_400


# src/topics/modern-llms/pretraining.py:1519
def qk_clip(
    W_q: np.ndarray, W_k: np.ndarray, X: np.ndarray, tau: float
) -> tuple[np.ndarray, np.ndarray]:
    """W_q, W_k (d, d_k) after the clip, for inputs X (n, d)."""
    top = np.abs((X @ W_q) @ (X @ W_k).T).max() / np.sqrt(W_q.shape[1])
    factor = np.sqrt(min(1.0, tau / top)) if top > 0 else 1.0
    return factor * W_q, factor * W_k


# src/topics/modern-llms/pretraining.py:1553
def choose_bands(
    k: int, low: float, high: float, most: float
) -> tuple[int, int] | None:
    """Bands b and rows r with b r = k."""
    choices = [(k // r, r) for r in range(1, k + 1) if k % r == 0]
    allowed = [c for c in choices if s_curve(low, *c) <= most]
    return max(allowed, key=lambda c: s_curve(high, *c), default=None)


# src/topics/modern-llms/pretraining.py:1583
def isoflop_optimum(N: np.ndarray, L: np.ndarray) -> float:
    """The N of least loss on a parabola through points of equal compute."""
    a, b, _ = np.polyfit(np.log(N), L, 2)
    return float(np.exp(-b / (2 * a)))


# src/topics/modern-llms/pretraining.py:1612
def data_limited(law: Law, C: float, U: float) -> tuple[float, float]:
    """Best N and epochs D / U with 6 N D = C."""
    N = np.geomspace(C / 6 / U / 1e3, C / 6 / U * 1e2, 20_001)
    epochs = C / 6 / N / U
    worth = np.where(epochs > 1, fresh(np.maximum(epochs, 1)), epochs) * U
    best = law.loss(N, worth).argmin()
    return float(N[best]), float(epochs[best])


# src/topics/modern-llms/pretraining.py:251
def test_bpe_is_the_librarys():
    rng = np.random.default_rng(0)
    for _ in range(40):
        text, other = random_text(rng), random_text(rng) + " Wörld \U0001f600 3.14"
        n = int(rng.integers(1, 40))
        merges, theirs = train_bpe(text, n), library_bpe(text, n)
        assert theirs.get_vocab_size() == 256 + len(merges)
        for t in (text, other, ""):
            assert encode(t, merges) == theirs.encode(t).ids
            assert decode(encode(t, merges), merges) == t
        ids = theirs.get_vocab()
        for k, (left, right) in enumerate(merges):  # the merges, one by one
            assert ids[theirs.id_to_token(left) + theirs.id_to_token(right)] == 256 + k


# src/topics/modern-llms/pretraining.py:266
def test_merge_goes_from_the_left():
    assert merge([1, 1, 1], (1, 1), 9) == [9, 1]
    assert merge([1, 2, 1, 2, 2], (1, 2), 9) == [9, 9, 2]
    assert merge([], (1, 2), 9) == []
    assert decode([byte_order().index(0xE6)], []) == "\ufffd"  # a third of a character
    assert train_bpe("", 5) == [] and train_bpe("ab", 5) == []


# src/topics/modern-llms/pretraining.py:397
def test_gpt_is_torchs_encoder_layer():
    """Blocks, forward and gradients, against nn.TransformerEncoderLayer in float64."""
    def gelu(x):
        return F.gelu(x, approximate="tanh")

    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        heads, d_k, B, T = (int(n) for n in rng.permutation(np.arange(1, 7))[:4])
        d = heads * d_k
        ours = Block(Config(5, T, d, 1, heads)).double()
        twin = nn.TransformerEncoderLayer(d, heads, 4 * d, 0.0, gelu, batch_first=True,
                                          norm_first=True).double()
        pairs = [(twin.linear1, ours.up), (twin.linear2, ours.down),
                 (twin.norm1, ours.norm_1), (twin.norm2, ours.norm_2),
                 (twin.self_attn.out_proj, ours.o)]
        with torch.no_grad():
            for w in ours.parameters():
                w += 0.3 * torch.from_numpy(rng.normal(size=tuple(w.shape)))
            for a, b in pairs:
                a.load_state_dict(b.state_dict())
            twin.self_attn.in_proj_weight.copy_(ours.qkv.weight)
            twin.self_attn.in_proj_bias.copy_(ours.qkv.bias)
        h = torch.from_numpy(rng.normal(size=(B, T, d))).requires_grad_()
        mask = nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.float64)
        a, b = ours(h), twin(h, src_mask=mask, is_causal=True)
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-9)
        want = torch.autograd.grad(b.square().sum(), [h, twin.linear1.weight])
        got = torch.autograd.grad(a.square().sum(), [h, ours.up.weight])
        for x, y in zip(got, want):
            torch.testing.assert_close(x, y, atol=1e-9, rtol=1e-8)


# src/topics/modern-llms/pretraining.py:430
def test_gpt_start_and_causality():
    c = Config(50, 9, 48, 3, 4)
    model = GPT(c, seed=2)
    assert torch.equal(model.E.weight, GPT(c, seed=2).E.weight)
    assert not torch.equal(model.E.weight, GPT(c, seed=3).E.weight)
    std = 0.5 / 48**0.5
    assert abs(model.blocks[1].up.weight.std().item() / std - 1) < 0.05
    assert abs(model.blocks[1].down.weight.std().item() / std * 6**0.5 - 1) < 0.05
    ids = torch.arange(9)[None] * 3
    logits, changed = model(ids), ids.clone()
    assert logits.shape == (1, 9, 50)
    changed[0, 5] += 1
    moved = (model(changed) - logits).abs().amax(dim=-1)[0] > 0
    assert not moved[:5].any() and moved[5:].all()


# src/topics/modern-llms/pretraining.py:446
def test_windows_and_mean_loss():
    for n, T in [(2, 1), (9, 4), (10, 3), (65, 64)]:
        rows = windows(list(range(n)), T)
        assert rows.shape == ((n - 1) // T, T + 1)
        assert rows[:, 1:].flatten().tolist() == list(range(1, len(rows) * T + 1))
    model = GPT(Config(7, 4, 8, 1, 2), 0)
    rows = torch.arange(700 * 5).view(-1, 5) % 7
    want = F.cross_entropy(model(rows[:, :-1]).transpose(1, 2), rows[:, 1:]).item()
    assert abs(mean_loss(model, rows) - want) < 1e-5


# src/topics/modern-llms/pretraining.py:457
def test_train():
    torch.set_num_threads(1)
    rows = windows([i % 7 for i in range(4000)], 8)
    c, marks = Config(7, 8, 16, 1, 2), {1: None, 59: None, 60: None}
    model = train(c, rows, 60, seed=1, marks=marks)  # 60 * 16 rows: repeats some
    assert mean_loss(model, rows) < 0.3
    first, before, last = (marks[k]["E.weight"] for k in (1, 59, 60))
    assert torch.equal(last, train(c, rows, 60, seed=1).E.weight)
    start = train(c, rows, 0, 1).E.weight
    assert torch.equal(start, GPT(c, 1).E.weight)
    # Adam's first step moves weights by the rate, 20 / 60 of 0.02; the last by little
    assert abs((first - start).abs().max().item() - 0.02 / 3) < 5e-4
    assert 0 < (last - before).abs().max().item() < 0.02 / 60


# src/topics/modern-llms/pretraining.py:870
def test_generate():
    model = GPT(Config(7, 4, 8, 1, 2), 0)
    got = generate(model, [1, 2, 3, 4, 5], 6, 1e-4, 0)  # cold: the likeliest token
    assert got[:5] == [1, 2, 3, 4, 5] and len(got) == 11
    for i in range(5, 11):
        assert got[i] == int(model(torch.tensor([got[i - 4 : i]]))[0, -1].argmax())
    assert set(generate(model, [1], 100, 1e3, 0)) == set(range(7))  # hot: all


# src/topics/modern-llms/pretraining.py:879
def test_allocate_is_the_minimum():
    rng = np.random.default_rng(2)
    for _ in range(25):
        law = Law(rng.uniform(0.5, 2), 10 ** rng.uniform(0, 3), rng.uniform(0.2, 0.9),
                  10 ** rng.uniform(0, 3), rng.uniform(0.2, 0.9))
        C = 10 ** rng.uniform(6, 24)
        N, D = allocate(law, C)
        assert abs(6 * N * D / C - 1) < 1e-9
        others = N * np.array([0.5, 0.99, 1.01, 2.0])
        assert (law.loss(others, C / 6 / others) > law.loss(N, D)).all()


# src/topics/modern-llms/pretraining.py:891
def test_fit_finds_a_planted_law():
    rng = np.random.default_rng(3)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(2e3, 3e5, 5),
                                           np.geomspace(5e4, 2e6, 4)))
    for _ in range(5):
        p = np.array([rng.uniform(0, 0.6), rng.uniform(-2, 0), rng.uniform(0.2, 0.7),
                      rng.uniform(-2, 0), rng.uniform(0.2, 0.7)])
        law = to_law(p)
        assert np.allclose(law.loss(N, D), chinchilla(p, N, D))
        found = fit(chinchilla, N, D, law.loss(N, D))
        assert np.allclose(found, p, atol=1e-3)
        L = law.loss(N, D)
        L[7] *= 1.3  # one broken run hardly moves a Huber fit
        assert np.allclose(fit(chinchilla, N, D, L), p, atol=0.03)
    q = np.array([1.0, 0.5, 0.1, 0.2])
    assert np.allclose(fit(kaplan, N, D, kaplan(q, N, D)), q, atol=1e-3)
    N_c, D_c = N_0 * np.exp(q[0] * q[3] / q[2]), D_0 * np.exp(q[1])
    want = ((N_c / N) ** (q[2] / q[3]) + D_c / D) ** q[3]
    assert np.allclose(kaplan(q, N, D), want)


# src/topics/modern-llms/pretraining.py:912
def test_count():
    for c in (Config(7, 5, 12, 3, 2), Config(64, 32, 8, 2, 1)):
        assert count(c) == sum(w.numel() for w in GPT(c, 0).parameters())


# src/topics/modern-llms/pretraining.py:917
def test_scaling_run():
    torch.set_num_threads(1)
    rows = windows([i % 64 for i in range(32 * 16 * 130)], 32)
    first = scaling_run(rows, rows[:40], 8, 122, 0)
    assert len(first) == 1 and 0 < first[0] < np.log(64)


# src/topics/modern-llms/pretraining.py:1244
def test_served():
    law = Law(*BESIROGLU)
    for C in (1e21, 1e24):
        N, D = allocate(law, C)
        N_0inf, D_0inf = served(law, float(law.loss(N, D)), 0.0)
        assert abs(N_0inf / N - 1) < 0.01 and abs(6 * N_0inf * D_0inf / C - 1) < 1e-3
    goal = float(law.loss(*allocate(law, 1e22)))
    sizes = [served(law, goal, D_inf) for D_inf in (0.0, 1e12, 1e13)]
    assert sizes[0][0] > sizes[1][0] > sizes[2][0]
    for N, D in sizes:
        assert abs(float(law.loss(N, D)) - goal) < 1e-9
    assert fresh(1) == 1 and abs(fresh(1e9) - 16.4) < 1e-9
    assert abs((fresh(1.001) - 1) / 0.001 - 1) < 1e-3  # the second reading is as good
    assert abs(mfu(2.0, 5.0, 1 / 3600, 120.0) - 0.5) < 1e-12


# src/topics/modern-llms/pretraining.py:1260
def test_minhash_against_exact_jaccard():
    rng = np.random.default_rng(4)
    for _ in range(25):
        shared, left, right = (int(n) for n in rng.integers(1, 60, size=3))
        x = [int(v) for v in rng.choice(2**32, shared + left + right, replace=False)]
        S, T = set(x[: shared + left]), set(x[:shared] + x[shared + left :])
        J = shared / (shared + left + right)
        assert abs(jaccard(S, T) - J) < 1e-12
        a, b = random_hashes(2000, rng)
        equal = (minhash(S, a, b) == minhash(T, a, b)).mean()
        assert abs(equal - J) < 4.5 * np.sqrt(J * (1 - J) / 2000) + 0.005
    assert jaccard(set(), set()) == 0 and (minhash(set(), a, b) == PRIME).all()
    text = "One two, three: four five six"
    assert len(shingles(text)) == 2 and shingles("too short") == set()
    assert shingles(text) == shingles("one TWO three four five six!")
    x = np.array([3], dtype=np.uint64)
    a, b = np.array([2**31 - 1], dtype=np.uint64), np.array([5], dtype=np.uint64)
    want = ((2**31 - 1) * (2**32 - 1) + 5) % PRIME  # exact, in Python's integers
    assert int(minhash({2**32 - 1}, a, b)[0]) == want and len(x) == 1


# src/topics/modern-llms/pretraining.py:1281
def test_candidates_follow_the_s_curve():
    rng = np.random.default_rng(5)
    for b, r in ((1, 1), (3, 2), (7, 3), (2, 5)):
        J, n = 0.7, 4000
        one = rng.integers(2**40, size=(n, b * r)).astype(np.uint64)
        two = np.where(rng.random((n, b * r)) < J, one, one + np.uint64(1))
        pairs = candidates(np.concatenate([one, two]), r)
        assert all(j == i + n for i, j in pairs)
        p = s_curve(J, b, r)
        assert abs(len(pairs) / n - p) < 4.5 * np.sqrt(p * (1 - p) / n)
    assert candidates(np.zeros((3, 4), dtype=np.uint64), 2) == {(0, 1), (0, 2), (1, 2)}


# src/topics/modern-llms/pretraining.py:1294
def test_contaminated():
    known = shingles("a b c d e f g h", 3)
    got = contaminated(["x c d e y", "c d x e f", "", "g h"], known, 3)
    assert got.tolist() == [True, False, False, False]


# src/topics/modern-llms/pretraining.py:1437
def test_huber_objective():
    rng = np.random.default_rng(7)
    N, D, L = (rng.uniform(*ends, size=9) for ends in ((1e3, 1e5), (1e5, 1e6), (1, 3)))
    for scale in (1.0, 50.0):
        for _ in range(10):
            p = rng.uniform(-1, 1, size=5)
            q = torch.tensor(p, requires_grad=True)
            n, d, l = (torch.from_numpy(x) for x in (N, D, L))
            law = (torch.exp(q[0]) + torch.exp(q[1]) * (n / N_0) ** -q[2]
                   + torch.exp(q[3]) * (d / D_0) ** -q[4])
            want = scale * F.huber_loss(law.log(), l.log(), reduction="sum", delta=1e-3)
            want.backward()
            value, grad = huber_objective(p, N, D, L, scale)
            assert abs(value - want.item()) < 1e-9
            assert np.allclose(grad, q.grad.numpy(), atol=1e-9)


# src/topics/modern-llms/pretraining.py:1500
def test_days():
    for N in (1e8, 3e9):
        assert abs(mfu(N, 20 * N, 64 * 24 * days(N), 989e12) - 0.4) < 1e-9
    assert abs(days(2e9) / days(1e9) - 4) < 1e-9
    assert 23e9 < (30 / days(1.0)) ** 0.5 < 24e9


# src/topics/modern-llms/pretraining.py:1531
def test_qk_clip():
    rng = np.random.default_rng(6)
    for _ in range(20):
        n, d, d_k = (int(v) for v in rng.permutation(np.arange(2, 9))[:3])
        X, W_q, W_k = (rng.normal(size=s) for s in ((n, d), (d, d_k), (d, d_k)))
        top = np.abs(X @ W_q @ W_k.T @ X.T).max() / np.sqrt(d_k)
        Q, K = qk_clip(W_q, W_k, X, top / 3)
        assert abs(np.abs(X @ Q @ K.T @ X.T).max() / np.sqrt(d_k) - top / 3) < 1e-9
        assert np.allclose(Q / W_q, K / W_k)
        Q, K = qk_clip(W_q, W_k, X, 2 * top)
        assert np.array_equal(Q, W_q) and np.array_equal(K, W_k)
    assert not qk_clip(0 * W_q, W_k, X, 1.0)[0].any()


# src/topics/modern-llms/pretraining.py:1565
def test_choose_bands():
    assert choose_bands(112, 0.5, 0.8, 0.06) == (14, 8)
    assert choose_bands(4, 0.9, 0.95, 0.01) is None
    for k, low, high, most in ((64, 0.3, 0.7, 0.1), (120, 0.5, 0.9, 0.01)):
        b, r = choose_bands(k, low, high, most)
        assert b * r == k and s_curve(low, b, r) <= most
        for rows in (n for n in range(1, k + 1) if k % n == 0):
            if s_curve(low, k // rows, rows) <= most:
                assert s_curve(high, b, r) >= s_curve(high, k // rows, rows)


# src/topics/modern-llms/pretraining.py:1592
def test_isoflop_optimum():
    law = Law(*BESIROGLU)
    N = np.geomspace(1e3, 1e6, 7)
    assert abs(isoflop_optimum(N, 2 + 0.1 * np.log(N / 2e4) ** 2) / 2e4 - 1) < 1e-6
    for C in (1e21, 1e23):
        best, _ = allocate(law, C)
        N = best * np.geomspace(0.5, 2, 9)
        L = law.loss(N, C / 6 / N)
        assert abs(isoflop_optimum(N, L) / best - 1) < 0.05


# src/topics/modern-llms/pretraining.py:1624
def test_data_limited():
    law = Law(*BESIROGLU)
    for C in (1e21, 1e22):
        N, D = allocate(law, C)
        got, epochs = data_limited(law, C, 50 * D)  # text enough: nothing changes
        assert abs(got / N - 1) < 0.01 and abs(epochs * 50 - 1) < 0.01
    plans = [data_limited(law, C, 1e11) for C in (1e22, 1e23, 1e24)]
    assert plans[0][1] < plans[1][1] < plans[2][1] < 60
    assert plans[2][0] > 1.2 * 10**0.5 * plans[1][0]  # faster than without the limit
