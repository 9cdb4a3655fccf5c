# Generated from src/topics/architectures/sequence-to-sequence.py: edit that file, then run doit. digest:5cab42467a11c015

"""Tests of architectures/sequence-to-sequence: Sequence to sequence."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


# src/topics/architectures/sequence-to-sequence.py:49
LETTERS = "abcdefghijklmnopqrstuvwxyz"


# src/topics/architectures/sequence-to-sequence.py:50
PAD, END = 0, 1  # END also starts the decoder


# src/topics/architectures/sequence-to-sequence.py:53
def pronunciations(entries: dict[str, list]) -> list[tuple[str, list[str]]]:
    """Words of 3 to 12 letters with their first pronunciation, stress left out."""
    found = [(word, [p.rstrip("012") for p in spoken[0]])
             for word, spoken in sorted(entries.items())
             if 3 <= len(word) <= 12 and word.isascii() and word.isalpha()]
    return [(word, spoken) for word, spoken in found if len(spoken) <= 12]


# src/topics/architectures/sequence-to-sequence.py:61
def to_ids(pairs: list, phonemes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Letters (n, 12) from 1, phonemes (n, 13) from 2 and then END; the rest PAD."""
    X, Y = np.zeros((len(pairs), 12), dtype=int), np.zeros((len(pairs), 13), dtype=int)
    letter = {c: i + 1 for i, c in enumerate(LETTERS)}
    number = {p: i + 2 for i, p in enumerate(phonemes)}
    for row, (word, spoken) in enumerate(pairs):
        X[row, : len(word)] = [letter[c] for c in word]
        Y[row, : len(spoken) + 1] = [number[p] for p in spoken] + [END]
    return X, Y


# src/topics/architectures/sequence-to-sequence.py:172
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


# src/topics/architectures/sequence-to-sequence.py:196
def table_model(tables: list[np.ndarray]):
    """log_probs from tables of p(next | beginning), of shapes (K,), (K, K), ..."""

    def log_probs(beams: np.ndarray) -> np.ndarray:
        p = tables[beams.shape[1]][tuple(beams.T)]
        with np.errstate(divide="ignore"):
            return np.log(p).reshape(len(beams), -1)

    return log_probs


# src/topics/architectures/sequence-to-sequence.py:224
def exhaustive(tables: list[np.ndarray]) -> tuple[list[int], float]:
    """The most probable of all K**T sequences, and its log-probability."""
    p = np.ones(())
    for table in tables:
        p = p[..., None] * table  # (K, ..., K): all sequences so far
    best = np.unravel_index(p.argmax(), p.shape)
    return [int(s) for s in best], float(np.log(p[best]))


# src/topics/architectures/sequence-to-sequence.py:255
def random_tables(rng, K, T):
    """A random model with other probabilities after every beginning."""
    return [rng.dirichlet(np.ones(K) * 0.5, size=(K,) * t) for t in range(T)]


# src/topics/architectures/sequence-to-sequence.py:260
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


# src/topics/architectures/sequence-to-sequence.py:295
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


# src/topics/architectures/sequence-to-sequence.py:375
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


# src/topics/architectures/sequence-to-sequence.py:421
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


# src/topics/architectures/sequence-to-sequence.py:439
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


# src/topics/architectures/sequence-to-sequence.py:482
@torch.no_grad()
def forced_right(model: Seq2Seq, x: torch.Tensor, y: torch.Tensor,
                 fed: torch.Tensor | None = None) -> np.ndarray:
    """Which symbols of y (B, T) are predicted after beginnings of `fed` (default y)."""
    predicted = model(x, y if fed is None else fed).argmax(dim=-1)
    return ((predicted == y) & (y != PAD)).numpy()


# src/topics/architectures/sequence-to-sequence.py:545
def letter_gradients(model: Seq2Seq, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Gradient norms (T_x,) of the first symbol's loss; x (B, T_x) without padding."""
    E = model.letters(x).detach().requires_grad_()
    H = model.encoder(E)[0]
    logits = model.decode(y, H, H[:, -1], x)[:, 0]
    F.cross_entropy(logits, y[:, 0], reduction="sum").backward()
    norms = E.grad.norm(dim=-1).mean(dim=0)
    return (norms / norms.max()).numpy()


# src/topics/architectures/sequence-to-sequence.py:636
@torch.no_grad()
def with_error(model: Seq2Seq, x: torch.Tensor, y: torch.Tensor,
               t: int) -> torch.Tensor:
    """y (B, T) with the symbol at t exchanged for the model's best wrong phoneme."""
    s = model(x, y)[:, t]
    s[:, [PAD, END]] = -torch.inf
    s.scatter_(1, y[:, t : t + 1], -torch.inf)
    return torch.cat([y[:, :t], s.argmax(dim=-1)[:, None], y[:, t + 1 :]], dim=1)


# src/topics/architectures/sequence-to-sequence.py:693
def edit_distance(a: list, b: list) -> int:
    """Insertions, deletions and substitutions from a to b, at least."""
    row = list(range(len(b) + 1))  # from nothing to b[:j]
    for i, symbol in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(
                row[j] + 1, row[j - 1] + 1, diagonal + (symbol != other))
    return row[-1]


# src/topics/architectures/sequence-to-sequence.py:704
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


# src/topics/architectures/sequence-to-sequence.py:762
def random_model(attention, seed=0, kind=None):
    torch.manual_seed(seed)
    return (kind or Seq2Seq)(6, d=5, d_e=3, d_a=4, attention=attention).double().eval()


# src/topics/architectures/sequence-to-sequence.py:971
def additive_parameters(d_s: int, d_h: int, d_a: int) -> int:
    """Weights of the additive score: W_q (d_s, d_a), W_k (d_h, d_a), w (d_a)."""
    return d_s * d_a + d_h * d_a + d_a


# src/topics/architectures/sequence-to-sequence.py:1007
class Unshifted(Seq2Seq):
    """The same model, without the shift."""

    def states(self, y: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """States S (B, T_y, d): the one at t > 1 has read y_t too."""
        return super().states(F.pad(y, (0, 1))[:, 1:], h)  # undone


# src/topics/architectures/sequence-to-sequence.py:1031
class Unmasked(Seq2Seq):
    """The same model, but padding may be attended to."""

    def weights(self, S: torch.Tensor, H: torch.Tensor,
                x: torch.Tensor) -> torch.Tensor:
        """Attention weights (B, T_y, T_x), as if every position held a letter."""
        return super().weights(S, H, torch.ones_like(x))


# src/topics/architectures/sequence-to-sequence.py:1078
def stopper(beams: np.ndarray) -> np.ndarray:
    """END has 0.1 at each step, one symbol 0.15, nineteen others share the rest."""
    return np.log(np.tile([0.1, 0.15] + [0.75 / 19] * 19, (len(beams), 1)))


# src/topics/architectures/sequence-to-sequence.py:1124
def two_probabilities() -> tuple[float, float]:
    """Probability of the greedy and of the best sequence."""
    return 0.55 * 0.5, 0.45 * 0.9


# src/topics/architectures/sequence-to-sequence.py:1149
def safe_width(K: int, T: int) -> int:
    """The smallest width that always finds the best of K**T sequences."""
    return K ** (T - 1)


# src/topics/architectures/sequence-to-sequence.py:1186
def reverse_source(x: np.ndarray) -> np.ndarray:
    """Each row of x (B, T) reversed up to its padding, which is 0."""
    out = np.zeros_like(x)
    for row, source in zip(out, x):
        real = source[source != 0]
        row[: len(real)] = real[::-1]
    return out


# src/topics/architectures/sequence-to-sequence.py:1210
def mix(true: np.ndarray, own: np.ndarray, p: float,
        rng: np.random.Generator) -> np.ndarray:
    """Symbols (B, T): own where a uniform number is below p."""
    return np.where(rng.random(true.shape) < p, own, true)


# src/topics/architectures/sequence-to-sequence.py:1235
def sequence_log_prob(logits: np.ndarray, y: np.ndarray, pad: int = 0) -> np.ndarray:
    """log p(y | x) of each row; logits (B, T, K), y (B, T)."""
    s = logits - logits.max(axis=-1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
    return (chosen * (y != pad)).sum(axis=1)


# src/topics/architectures/sequence-to-sequence.py:1265
def empty_wins(q: float, K: int) -> tuple[bool, float]:
    """Whether the empty sequence beats every sequence of one symbol; mean length."""
    return bool(q > (1 - q) / K * q), (1 - q) / q


# src/topics/architectures/sequence-to-sequence.py:275
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


# src/topics/architectures/sequence-to-sequence.py:312
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


# src/topics/architectures/sequence-to-sequence.py:333
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


# src/topics/architectures/sequence-to-sequence.py:767
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


# src/topics/architectures/sequence-to-sequence.py:786
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


# src/topics/architectures/sequence-to-sequence.py:811
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


# src/topics/architectures/sequence-to-sequence.py:827
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


# src/topics/architectures/sequence-to-sequence.py:839
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


# src/topics/architectures/sequence-to-sequence.py:861
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


# src/topics/architectures/sequence-to-sequence.py:882
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


# src/topics/architectures/sequence-to-sequence.py:905
def test_fit_learns():
    torch.manual_seed(0)
    rng = np.random.default_rng(5)
    X = torch.from_numpy(rng.integers(1, 5, (256, 3)))
    Y = F.pad(X + 1, (0, 1), value=END)  # copy
    model = fit(Seq2Seq(7, d=24, d_e=8, d_a=8), X, Y, 0, steps=100, lr=0.02, B=32)
    with torch.no_grad():
        assert (model(X, Y).argmax(dim=-1) == Y).float().mean() > 0.95


# src/topics/architectures/sequence-to-sequence.py:915
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


# src/topics/architectures/sequence-to-sequence.py:939
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


# src/topics/architectures/sequence-to-sequence.py:951
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


# src/topics/architectures/sequence-to-sequence.py:986
def test_additive_parameters():
    model = random_model(True)
    assert additive_parameters(5, 5, 4) == sum(
        p.numel() for p in (model.W_q, model.W_k, model.w))
    assert additive_parameters(2, 3, 4) == 2 * 4 + 3 * 4 + 4


# src/topics/architectures/sequence-to-sequence.py:1052
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


# src/topics/architectures/sequence-to-sequence.py:1093
def test_stopper():
    p = np.exp(stopper(np.zeros((2, 3), dtype=int)))
    assert p.shape == (2, 21) and np.allclose(p.sum(axis=1), 1)
    assert np.allclose(p[:, 0], 0.1) and np.allclose(p[:, 1], 0.15)
    assert np.allclose(p[:, 2:], p[:, 2:3])


# src/topics/architectures/sequence-to-sequence.py:1132
def test_two_probabilities():
    def model(beams):
        if beams.shape[1] == 0:
            return np.log([[0.55, 0.45]])
        return np.log(np.array([[0.5, 0.5], [0.1, 0.9]])[beams[:, -1]])

    got = two_probabilities()
    assert np.allclose(got, [np.exp(beam_search(model, 2, w, 2)[1]) for w in (1, 2)])


# src/topics/architectures/sequence-to-sequence.py:1157
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


# src/topics/architectures/sequence-to-sequence.py:1198
def test_reverse_source():
    x = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]])
    assert reverse_source(x).tolist() == [[3, 2, 1, 0], [4, 0, 0, 0], [8, 7, 6, 5]]


# src/topics/architectures/sequence-to-sequence.py:1219
def test_mix():
    rng = np.random.default_rng(8)
    true, own = np.zeros((100, 50)), np.ones((100, 50))
    assert mix(true, own, 0.0, rng).sum() == 0 and mix(true, own, 1.0, rng).mean() == 1
    mixed = mix(true, own, 0.3, rng)
    assert 0.27 < mixed.mean() < 0.33 and mixed.std(axis=1).min() > 0
    assert mixed.std(axis=0).min() > 0


# src/topics/architectures/sequence-to-sequence.py:1246
def test_sequence_log_prob():
    rng = np.random.default_rng(9)
    logits, y = 3 * rng.normal(size=(4, 5, 6)), rng.integers(1, 6, size=(4, 5))
    y[1, 3:] = 0
    rows = torch.from_numpy(logits).flatten(0, 1)
    want = -F.cross_entropy(rows, torch.from_numpy(y).flatten(), ignore_index=0,
                            reduction="none").view(4, 5).sum(dim=1)
    assert np.allclose(sequence_log_prob(logits, y), want.numpy())
    assert np.isfinite(sequence_log_prob(1e4 * logits, y)).all()


# src/topics/architectures/sequence-to-sequence.py:1273
def test_empty_wins():
    rng = np.random.default_rng(10)
    for q, K in ((0.1, 20), (0.01, 2), (0.5, 1)):
        wins, mean = empty_wins(q, K)
        assert wins is True
        assert abs((rng.geometric(q, size=200_000) - 1).mean() - mean) < 0.03 / q
