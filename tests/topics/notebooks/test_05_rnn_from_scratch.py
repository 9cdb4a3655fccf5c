# Generated from src/topics/notebooks/05-rnn-from-scratch.py: edit that file, then run doit. digest:48b12c0662148a25

"""Tests of notebooks/05-rnn-from-scratch: A recurrent network from scratch."""

import numpy as np
import torch  # only to check our results against
from collections import Counter
from collections.abc import Callable, Iterator


# src/topics/notebooks/05-rnn-from-scratch.py:73
characters = "\n !$&',-.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


# src/topics/notebooks/05-rnn-from-scratch.py:74
K = len(characters)


# src/topics/notebooks/05-rnn-from-scratch.py:75
place = dict(zip(characters, range(K)))


# src/topics/notebooks/05-rnn-from-scratch.py:112
def occurrences(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How often each number of `asked` (m,) stands in `known` (n,)."""
    names, counts = np.unique(known, return_counts=True)
    at = np.searchsorted(names, asked).clip(max=len(names) - 1)
    return np.where(names[at] == asked, counts[at], 0)


# src/topics/notebooks/05-rnn-from-scratch.py:119
def back_off(
    known: np.ndarray, asked: np.ndarray, n_max: int, beta: float
) -> np.ndarray:
    """Loss of each id of `asked` (m,) from counts in `known`, (n_max + 1, m).

    An id with fewer than n - 1 before it keeps its loss at a smaller n.
    """
    p = np.full((n_max + 1, len(asked)), 1 / K)
    for n in range(1, n_max + 1):
        base = K ** np.arange(n)[::-1]  # n ids become one number
        seen, gram = (np.lib.stride_tricks.sliding_window_view(x, n) @ base
                      for x in (known, asked))
        counts, contexts = occurrences(seen, gram), occurrences(seen // K, gram // K)
        p[n] = p[n - 1]
        p[n, n - 1 :] = (counts + beta * p[n - 1, n - 1 :]) / (contexts + beta)
    return -np.log(p)


# src/topics/notebooks/05-rnn-from-scratch.py:197
def init_params(d: int, seed: int, K: int = 64, dtype: type = np.float32) -> dict:
    """Random parameters; W_h keeps lengths about equal, W_o starts small."""
    rng = np.random.default_rng(seed)
    P = {
        "W_x": 0.5 * rng.normal(size=(K, d)),
        "W_h": rng.normal(size=(d, d)) / np.sqrt(d),
        "b": np.zeros(d),
        "W_o": 0.01 * rng.normal(size=(d, K)),
        "b_o": np.zeros(K),
    }
    return {name: W.astype(dtype) for name, W in P.items()}


# src/topics/notebooks/05-rnn-from-scratch.py:210
def cell(x: np.ndarray, h: np.ndarray, P: dict) -> np.ndarray:
    """One step: ids x (B,) and states h (B, d) to new states (B, d)."""
    return np.tanh(P["W_x"][x] + h @ P["W_h"] + P["b"])


# src/topics/notebooks/05-rnn-from-scratch.py:215
def read(x: np.ndarray, h0: np.ndarray, P: dict) -> np.ndarray:
    """All states (B, T, d) for ids x (B, T), from first states h0 (B, d)."""
    H = np.empty((*x.shape, h0.shape[1]), h0.dtype)
    h = h0
    for t in range(x.shape[1]):
        h = H[:, t] = cell(x[:, t], h, P)
    return H


# src/topics/notebooks/05-rnn-from-scratch.py:268
def torch_copy(P: dict) -> tuple[torch.nn.RNN, torch.nn.Linear]:
    """The same model in PyTorch: torch.nn.RNN on one-hot vectors, and a linear head."""
    K, d = P["W_x"].shape
    rnn = torch.nn.RNN(K, d, batch_first=True).double()
    head = torch.nn.Linear(d, K).double()
    pairs = {rnn.weight_ih_l0: "W_x", rnn.weight_hh_l0: "W_h", rnn.bias_ih_l0: "b",
             head.weight: "W_o", head.bias: "b_o"}
    with torch.no_grad():
        for own, name in pairs.items():
            own.copy_(torch.from_numpy(P[name].T))
        rnn.bias_hh_l0.zero_()
    return rnn, head


# src/topics/notebooks/05-rnn-from-scratch.py:297
def sizes(K: int, d: int) -> tuple[int, int]:
    """Parameters of the model; numbers in the state of one text."""
    return K * d + d * d + d + d * K + K, d


# src/topics/notebooks/05-rnn-from-scratch.py:318
def cross_entropy(S: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses (B, T) of logits S (B, T, K) with targets y; gradient of their mean."""
    S = S - S.max(axis=-1, keepdims=True)
    powers = np.exp(S)
    total = powers.sum(axis=-1, keepdims=True)
    at = y[..., None]
    losses = np.log(total) - np.take_along_axis(S, at, axis=-1)
    dS = powers / total
    np.put_along_axis(dS, at, np.take_along_axis(dS, at, axis=-1) - 1, axis=-1)
    return losses[..., 0], dS / y.size


# src/topics/notebooks/05-rnn-from-scratch.py:330
def logits(H: np.ndarray, P: dict) -> np.ndarray:
    """Scores of the next character, (..., K), from states (..., d)."""
    return H @ P["W_o"] + P["b_o"]


# src/topics/notebooks/05-rnn-from-scratch.py:380
def backward(
    dS: np.ndarray, x: np.ndarray, H: np.ndarray, h0: np.ndarray, P: dict
) -> tuple[dict, np.ndarray]:
    """Gradients of all parameters, and of h0 (B, d), from dS (B, T, K)."""
    B, T, d = H.shape
    dH = dS @ P["W_o"].T  # what each state receives from its own logits
    dZ = np.empty_like(H)  # the deltas
    dh = np.zeros_like(h0)  # what comes back from the next step
    for t in reversed(range(T)):
        dZ[:, t] = (dH[:, t] + dh) * (1 - H[:, t] ** 2)
        dh = dZ[:, t] @ P["W_h"].T
    before = np.concatenate([h0[:, None], H[:, :-1]], axis=1)
    rows, flat = dZ.reshape(B * T, d), dS.reshape(B * T, -1)
    one_hot = np.eye(len(P["W_x"]), dtype=H.dtype)[x.ravel()]
    return {
        "W_x": one_hot.T @ rows,
        "W_h": before.reshape(B * T, d).T @ rows,
        "b": rows.sum(axis=0),
        "W_o": H.reshape(B * T, d).T @ flat,
        "b_o": flat.sum(axis=0),
    }, dh


# src/topics/notebooks/05-rnn-from-scratch.py:411
def loss_and_gradient(
    x: np.ndarray, y: np.ndarray, h0: np.ndarray, P: dict
) -> tuple[float, dict, np.ndarray]:
    """Mean loss of ids x (B, T) with targets y, gradients, last states (B, d)."""
    H = read(x, h0, P)
    losses, dS = cross_entropy(logits(H, P), y)
    return losses.mean(), backward(dS, x, H, h0, P)[0], H[:, -1]


# src/topics/notebooks/05-rnn-from-scratch.py:426
def numeric_gradient(
    f: Callable[[], float], P: dict, eps: float = 1e-5
) -> dict[str, np.ndarray]:
    """Central differences of f() with respect to every entry of P, which f reads."""
    G = {name: np.empty_like(W) for name, W in P.items()}
    for name, W in P.items():
        for i in np.ndindex(W.shape):
            old = W[i]
            W[i] = old + eps
            up = f()
            W[i] = old - eps
            G[name][i] = (up - f()) / (2 * eps)
            W[i] = old
    return G


# src/topics/notebooks/05-rnn-from-scratch.py:497
def random_case(
    rng: np.random.Generator,
) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    """Float64 parameters without zeros, ids x and y (B, T), first states (B, d)."""
    B, T, d = (int(n) for n in rng.permutation(np.arange(1, 9))[:3])
    K = int(rng.integers(9, 14))
    P = {
        name: rng.normal(size=W.shape) / W.shape[0] ** 0.5
        for name, W in init_params(d, 0, K, np.float64).items()
    }
    return P, *rng.integers(K, size=(2, B, T)), rng.normal(size=(B, d))


# src/topics/notebooks/05-rnn-from-scratch.py:581
def pieces(
    ids: np.ndarray, B: int, T: int
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Endless pieces x, y (B, T) of B streams, and whether the streams begin anew."""
    n = (len(ids) - 1) // B
    X, Y = ids[: n * B].reshape(B, n), ids[1 : n * B + 1].reshape(B, n)
    while True:
        for a in range(0, n - T + 1, T):
            yield X[:, a : a + T], Y[:, a : a + T], a == 0


# src/topics/notebooks/05-rnn-from-scratch.py:617
def clip(G: dict, most: float) -> tuple[dict, float]:
    """Gradients scaled down to a joint norm of at most `most`, and the norm before."""
    norm = float(np.sqrt(sum((g**2).sum() for g in G.values())))
    scale = min(1.0, most / norm) if norm > 0 else 1.0
    return {name: g * scale for name, g in G.items()}, norm


# src/topics/notebooks/05-rnn-from-scratch.py:624
def adam(P: dict, G: dict, m: dict, v: dict, t: int, lr: float) -> None:
    """Step t = 1, 2, ... of Adam on P, in place; m and v are empty at first."""
    for name, g in G.items():
        m[name] = 0.9 * m.get(name, 0.0) + 0.1 * g
        v[name] = 0.99 * v.get(name, 0.0) + 0.01 * g**2
        P[name] -= lr * (m[name] / (1 - 0.9**t)) / (
            np.sqrt(v[name] / (1 - 0.99**t)) + 1e-8)


# src/topics/notebooks/05-rnn-from-scratch.py:633
def cut_gradient(
    x: np.ndarray, y: np.ndarray, h: np.ndarray, P: dict, k: int, carry: bool = True
) -> tuple[float, dict, np.ndarray]:
    """Like loss_and_gradient, but no gradient crosses a multiple of k steps.

    The state does cross it, unless carry is False: then it is zero there.
    """
    T, loss, total = x.shape[1], 0.0, {}
    for a in range(0, T, k):
        now = slice(a, min(a + k, T))
        share = (now.stop - a) / T
        part, G, h = loss_and_gradient(x[:, now], y[:, now], h if carry else 0 * h, P)
        loss += share * part
        total = {name: total.get(name, 0.0) + share * g for name, g in G.items()}
    return loss, total, h


# src/topics/notebooks/05-rnn-from-scratch.py:650
def train(
    P: dict, ids: np.ndarray, steps: int, B: int = 32, T: int = 32, lr: float = 8e-3,
    most: float = 1.0, k: int | None = None, carry: bool = True, frozen: tuple = (),
    sgd: bool = False, watch: Callable[[int, dict], None] = lambda step, P: None,
) -> np.ndarray:
    """Changes P; returns each step's loss and gradient norm, (steps, 2).

    Inside a piece the gradient is cut every k steps; None, not at all.
    """
    m, v, history = {}, {}, []
    zero = np.zeros((B, P["b"].size), P["b"].dtype)
    watch(0, P)
    for step, (x, y, fresh) in zip(range(1, steps + 1), pieces(ids, B, T)):
        h = zero if fresh else h
        loss, G, h = cut_gradient(x, y, h, P, k or T, carry)
        G, norm = clip({name: g for name, g in G.items() if name not in frozen}, most)
        if sgd:
            for name, g in G.items():
                P[name] -= lr * g
        else:  # warm-up over 50 steps, then down to zero
            adam(P, G, m, v, step, lr * min(1, step / 50) * (1 - (step - 1) / steps))
        history.append((loss, norm))
        watch(step, P)
    return np.array(history)


# src/topics/notebooks/05-rnn-from-scratch.py:676
def write(P: dict, prompt: str, n: int, tau: float = 1.0, seed: int = 0) -> str:
    """The prompt and n more characters at temperature tau; 0 takes the likeliest."""
    rng = np.random.default_rng(seed)
    out = [place[character] for character in prompt]
    h = np.zeros((1, P["b"].size), P["b"].dtype)
    for i in out[:-1]:
        h = cell(np.array([i]), h, P)
    for _ in range(n):
        h = cell(np.array(out[-1:]), h, P)
        s = logits(h[0], P).astype(float)
        p = np.exp((s - s.max()) / max(tau, 1e-9))
        out.append(int(rng.choice(len(s), p=p / p.sum())))
    return "".join(characters[i] for i in out)


# src/topics/notebooks/05-rnn-from-scratch.py:826
def position(i: int, t: int, j: int, length: int, B: int, T: int) -> int:
    """Place in a text of this length of x[i, t] in piece j of B streams."""
    return i * ((length - 1) // B) + j * T + t


# src/topics/notebooks/05-rnn-from-scratch.py:914
def evaluate(
    P: dict, ids: np.ndarray, B: int = 64, T: int = 100, carry: bool = True
) -> np.ndarray:
    """Losses (B, n) of B streams in pieces of T; an unfinished piece is dropped."""
    zero = np.zeros((B, P["b"].size), P["b"].dtype)
    h, losses = zero, []
    for _, (x, y, _) in zip(range((len(ids) - 1) // B // T), pieces(ids, B, T)):
        H = read(x, h if carry else zero, P)
        losses.append(cross_entropy(logits(H, P), y)[0])
        h = H[:, -1]
    return np.concatenate(losses, axis=1)


# src/topics/notebooks/05-rnn-from-scratch.py:1075
def without_memory(ids: np.ndarray, val: np.ndarray, d: int, steps: int) -> float:
    """Validation loss of a model with W_h = 0 throughout, seed 0."""
    P = init_params(d, 0)
    P["W_h"][:] = 0
    train(P, ids, steps, frozen=("W_h",))
    return float(evaluate(P, val).mean())


# src/topics/notebooks/05-rnn-from-scratch.py:1201
def log_probability(P: dict, prompt: str, rest: str) -> float:
    """Natural logarithm of p(rest | prompt); neither is empty."""
    x = np.array([[place[character] for character in prompt + rest]])
    H = read(x[:, :-1], np.zeros((1, P["b"].size), P["b"].dtype), P)
    losses, _ = cross_entropy(logits(H, P), x[:, 1:])
    return -float(losses[0, len(prompt) - 1 :].sum())


# src/topics/notebooks/05-rnn-from-scratch.py:1238
def gradient_by_distance(P: dict, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Relative norm of dL/dh, k = 0 to T - 1 steps before the last loss, (T, B)."""
    H = read(x, np.zeros((len(x), P["b"].size), P["b"].dtype), P)
    _, dS = cross_entropy(logits(H[:, -1:], P), y[:, -1:])
    dh = (dS @ P["W_o"].T)[:, 0]
    norms = []
    for t in reversed(range(x.shape[1])):
        norms.append(np.linalg.norm(dh, axis=1))
        dh = (dh * (1 - H[:, t] ** 2)) @ P["W_h"].T
    return np.array(norms) / norms[0]


# src/topics/notebooks/05-rnn-from-scratch.py:1327
def leaky_read(x: np.ndarray, h0: np.ndarray, P: dict, a: float) -> np.ndarray:
    """States (B, T, d) of the cell with a leak."""
    H, h = np.empty((*x.shape, h0.shape[1]), h0.dtype), h0
    for t in range(x.shape[1]):
        h = H[:, t] = (1 - a) * h + a * cell(x[:, t], h, P)
    return H


# src/topics/notebooks/05-rnn-from-scratch.py:1337
def leaky_backward(
    dH: np.ndarray, H: np.ndarray, h0: np.ndarray, P: dict, a: float
) -> tuple[np.ndarray, np.ndarray]:
    """dZ (B, T, d) and dh0 (B, d), from what states receive directly, dH (B, T, d)."""
    dZ, dh = np.empty_like(H), np.zeros_like(h0)
    for t in reversed(range(H.shape[1])):
        before = H[:, t - 1] if t > 0 else h0
        bent = (H[:, t] - (1 - a) * before) / a  # the tanh
        total = dH[:, t] + dh
        dZ[:, t] = a * total * (1 - bent**2)
        dh = (1 - a) * total + dZ[:, t] @ P["W_h"].T
    return dZ, dh


# src/topics/notebooks/05-rnn-from-scratch.py:1382
def loss_after(h: np.ndarray, recent: np.ndarray, y: np.ndarray, P: dict) -> float:
    """Mean loss of targets y (B,) after reading recent (B, k) from states h (B, d)."""
    H = read(recent, h, P)
    return float(cross_entropy(logits(H[:, -1:], P), y[:, None])[0].mean())


# src/topics/notebooks/05-rnn-from-scratch.py:1458
def auc(score: np.ndarray, has: np.ndarray) -> float:
    """Share of pairs, one that has it and one without, ordered by score; ties half."""
    _, at, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[at]
    n = has.sum()
    return float((rank[has].sum() - n * (n + 1) / 2) / (n * (len(has) - n)))


# src/topics/notebooks/05-rnn-from-scratch.py:1466
def properties(text: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each property: where it is asked, where it holds; both (len(text),)."""
    name, line, word, sentence = False, 0, 0, 0
    rows = []
    for i, ch in enumerate(text):
        before = text[i - 1] if i > 0 else " "
        line = 0 if ch == "\n" else line + 1
        word = word + 1 if ch.isalpha() or ch == "'" else 0
        sentence = 0 if ch in ".?!:" else sentence + 1
        name = before == "\n" if ch == "\n" else name and ch != ":"
        rows.append((name, before in " \n", word >= 4, line > 30, sentence > 80))
    letter, capital = (np.array([f(ch) for ch in text])
                       for f in (str.isalpha, str.isupper))
    everywhere = np.ones(len(text), bool)
    asked = [capital, letter, letter, everywhere, everywhere]
    return dict(zip(PROPERTIES, zip(asked, np.array(rows).T)))


# src/topics/notebooks/05-rnn-from-scratch.py:1484
PROPERTIES = (
    "capital: in a speaker's name?",
    "letter: first of its word?",
    "letter: fourth or later?",
    "beyond 30 in the line?",
    "beyond 80 in the sentence?",
)


# src/topics/notebooks/05-rnn-from-scratch.py:1648
def first_state_gradient(
    x: np.ndarray, y: np.ndarray, h0: np.ndarray, P: dict
) -> np.ndarray:
    """Gradient (d,) of the mean loss when all texts start from the one row h0 (d,)."""
    start = np.tile(h0, (len(x), 1))
    H = read(x, start, P)
    _, dS = cross_entropy(logits(H, P), y)
    return backward(dS, x, H, start, P)[1].sum(axis=0)  # used B times: messages add


# src/topics/notebooks/05-rnn-from-scratch.py:150
def test_back_off_against_a_dictionary():
    rng = np.random.default_rng(0)
    for _ in range(20):
        known = rng.integers(4, size=int(rng.integers(5, 60)))
        asked = rng.integers(5, size=int(rng.integers(6, 20)))  # 4 was never seen
        n_max, beta = int(rng.integers(1, 6)), rng.uniform(0.1, 9)
        got = back_off(known, asked, n_max, beta)
        grams = Counter(tuple(known[i:j]) for i in range(len(known))
                        for j in range(i + 1, min(i + n_max, len(known)) + 1))
        for t in range(len(asked)):
            p = 1 / 64
            assert abs(got[0, t] + np.log(p)) < 1e-12
            for n in range(1, n_max + 1):
                if n - 1 <= t:
                    gram = tuple(asked[t - n + 1 : t + 1])
                    before = sum(grams[gram[:-1] + (y,)] for y in range(5))
                    p = (grams[gram] + beta * p) / (before + beta)
                assert abs(got[n, t] + np.log(p)) < 1e-12


# src/topics/notebooks/05-rnn-from-scratch.py:305
def test_sizes():
    assert sizes(65, 100) == (23_165, 100)
    for K, d in [(3, 2), (64, 256)]:
        assert sizes(K, d) == (sum(W.size for W in init_params(d, 0, K).values()), d)


# src/topics/notebooks/05-rnn-from-scratch.py:510
def test_model_matches_torch():
    rng = np.random.default_rng(0)
    for _ in range(20):
        P, x, y, h0 = random_case(rng)
        K = len(P["W_x"])
        rnn, head = torch_copy(P)
        first = torch.from_numpy(h0)[None].requires_grad_()
        states, last = rnn(torch.eye(K, dtype=torch.float64)[x], first)
        expected = torch.nn.functional.cross_entropy(
            head(states).reshape(-1, K), torch.from_numpy(y).flatten()
        )
        expected.backward()
        H = read(x, h0, P)
        np.testing.assert_allclose(H, states.detach(), atol=1e-12)
        loss, G, h = loss_and_gradient(x, y, h0, P)
        losses, dS = cross_entropy(logits(H, P), y)
        dh0 = backward(dS, x, H, h0, P)[1]
        assert abs(loss - expected.item()) < 1e-12 and losses.shape == x.shape
        np.testing.assert_allclose(h, last[0].detach(), atol=1e-12)
        np.testing.assert_allclose(dh0, first.grad[0], atol=1e-12)
        for name, own in [
            ("W_x", rnn.weight_ih_l0),
            ("W_h", rnn.weight_hh_l0),
            ("b", rnn.bias_ih_l0),
            ("W_o", head.weight),
            ("b_o", head.bias),
        ]:
            np.testing.assert_allclose(G[name], own.grad.t(), atol=1e-12, err_msg=name)


# src/topics/notebooks/05-rnn-from-scratch.py:540
def test_cross_entropy_edge_cases():
    losses, dS = cross_entropy(
        np.array([[[1e4, 0.0, -1e4], [5.0, 5.0, 5.0]]]), np.array([[1, 2]])
    )
    np.testing.assert_allclose(losses, [[1e4, np.log(3)]])
    np.testing.assert_allclose(dS.sum(axis=-1), 0, atol=1e-12)


# src/topics/notebooks/05-rnn-from-scratch.py:548
def test_numeric_gradient():
    P = {"a": np.array([1.0, 2.0]), "b": np.array([[3.0]])}
    G = numeric_gradient(lambda: (P["a"] ** 2).sum() * P["b"][0, 0], P)
    np.testing.assert_allclose(G["a"], [6, 12], atol=1e-8)
    np.testing.assert_allclose(G["b"], [[5]], atol=1e-8)
    assert P["a"].tolist() == [1, 2]


# src/topics/notebooks/05-rnn-from-scratch.py:556
def test_hand_example():
    P = {
        "W_x": np.array([[1.0, 0], [0, 0], [0, 0]]),
        "W_h": np.array([[0, 0.5], [0, 0]]),
        "b": np.zeros(2),
        "W_o": np.array([[1.0, 0, 0], [0, 0, 2]]),
        "b_o": np.zeros(3),
    }
    x, h0 = np.array([[0, 1]]), np.zeros((1, 2))
    H = read(x, h0, P)
    dS = np.array([[[0, 0, 0], [0.2458, 0.2458, -0.4916]]])
    _, dh0 = backward(dS, x[:, :2], H, h0, P)
    np.testing.assert_allclose(dh0, [[0, 0]], atol=1e-3)  # unit 2 feeds nobody
    P["W_h"] = np.array([[0, 0.5], [0.25, 0]])
    assert abs(backward(dS, x, H, h0, P)[1][0, 1]) > 0.01


# src/topics/notebooks/05-rnn-from-scratch.py:703
def test_pieces_follow_the_text():
    for length, B, T in [(50, 3, 4), (101, 10, 5), (33, 1, 32), (40, 4, 9)]:
        n, supply = (length - 1) // B, pieces(np.arange(length), B, T)
        for number in range(2 * (n // T) + 1):
            x, y, fresh = next(supply)
            a = number % (n // T) * T
            assert fresh == (a == 0) and np.array_equal(y, x + 1)
            assert np.array_equal(x, np.arange(B)[:, None] * n + a + np.arange(T))


# src/topics/notebooks/05-rnn-from-scratch.py:713
def test_clip_and_adam_match_torch():
    rng = np.random.default_rng(1)
    for _ in range(20):
        P = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=4)}
        own = [torch.from_numpy(W.copy()).requires_grad_() for W in P.values()]
        opt = torch.optim.Adam(own, lr=0.1, betas=(0.9, 0.99))
        m, v, most = {}, {}, rng.uniform(0.1, 4)
        for t in range(1, 6):
            G = {name: rng.normal(size=W.shape) for name, W in P.items()}
            for w, g in zip(own, G.values()):
                w.grad = torch.from_numpy(g.copy())
            expected = torch.nn.utils.clip_grad_norm_(own, most).item()
            clipped, norm = clip(G, most)
            assert abs(norm - expected) < 1e-12
            for w, g in zip(own, clipped.values()):
                # torch adds 1e-6 to the norm
                np.testing.assert_allclose(g, w.grad, rtol=1e-5)
                w.grad = torch.from_numpy(g.copy())
            adam(P, clipped, m, v, t, 0.1)
            opt.step()
            for w, W in zip(own, P.values()):
                np.testing.assert_allclose(W, w.detach(), rtol=1e-9, atol=1e-12)
    assert clip({"a": np.zeros(3)}, 1.0)[1] == 0


# src/topics/notebooks/05-rnn-from-scratch.py:738
def test_schedule():
    rates, real = [], train.__globals__["adam"]
    train.__globals__["adam"] = lambda P, G, m, v, step, rate: rates.append((step, rate))
    try:
        train(init_params(8, 0, K=3), np.tile([0, 1, 0, 2], 60), 200, 2, 8, lr=2.0)
    finally:
        train.__globals__["adam"] = real
    want = [(t, 2 * min(1, t / 50) * (201 - t) / 200) for t in range(1, 201)]
    assert np.allclose(rates, want)


# src/topics/notebooks/05-rnn-from-scratch.py:749
def test_train():
    ids = np.tile([0, 1, 0, 2], 60)  # after 0 comes what did not come last
    P = init_params(8, 0, K=3)
    kept = P["W_x"].copy()
    seen = []
    history = train(P, ids, 150, B=2, T=8, lr=0.02, frozen=("W_x",),
                    watch=lambda step, P: seen.append(step))
    assert np.array_equal(P["W_x"], kept) and seen == list(range(151))
    assert history.shape == (150, 2) and abs(history[0, 0] - np.log(3)) < 0.1
    assert history[-1, 0] < 0.05
    again = init_params(8, 0, K=3)
    assert np.array_equal(train(again, ids, 150, 2, 8, 0.02, frozen=("W_x",)), history)
    halves = {}  # one letter at a time: the state is all the memory there is
    for carry in (True, False):
        P = init_params(32, 0, K=3)
        halves[carry] = train(P, ids, 200, 2, 1, 0.02, carry=carry)[-10:, 0].mean()
    assert halves[True] < 0.1 < 0.3 < halves[False]
    P, ends = init_params(8, 0, K=3), init_params(8, 0, K=3)
    first = train(P, ids, 2, 2, 8, k=4)[0]
    x, y, _ = next(pieces(ids, 2, 8))
    loss, G, _ = cut_gradient(x, y, np.zeros((2, 8), np.float32), ends, 4)
    assert np.allclose(first, (loss, clip(G, 1.0)[1]))
    P = init_params(8, 0, K=3)
    before = {name: W.copy() for name, W in P.items()}
    history = train(P, ids, 1, 2, 8, lr=0.5, most=0.01, sgd=True)
    step = np.sqrt(sum(((P[name] - W) ** 2).sum() for name, W in before.items()))
    assert history[0, 1] > 0.01 and abs(step - 0.5 * 0.01) < 1e-4


# src/topics/notebooks/05-rnn-from-scratch.py:778
def test_cut_gradient():
    rng = np.random.default_rng(5)
    P, x, y = init_params(4, 1, 6, np.float64), *rng.integers(6, size=(2, 3, 12))
    P["W_o"] *= 100
    h0 = rng.normal(size=(3, 4))
    whole, G, last = loss_and_gradient(x, y, h0, P)
    H = read(x, h0, P)
    losses, dS = cross_entropy(logits(H, P), y)
    for k in (1, 5, 12, 20):  # 5 leaves a short rest
        loss, part, h = cut_gradient(x, y, h0, P, k)
        assert abs(loss - whole) < 1e-12 and np.array_equal(h, last)
        np.testing.assert_allclose(part["W_o"], G["W_o"], atol=1e-14)
        if k >= 12:
            np.testing.assert_allclose(part["W_h"], G["W_h"], atol=1e-14)
    dZ = dS @ P["W_o"].T * (1 - H**2)
    before = np.concatenate([h0[:, None], H[:, :-1]], axis=1)
    one = np.einsum("btd,bte->de", before, dZ)
    part = cut_gradient(x, y, h0, P, 1)[1]["W_h"]
    np.testing.assert_allclose(part, one, atol=1e-14)
    _, left, h = cut_gradient(x, y, h0, P, 6, carry=False)
    zero = np.zeros((3, 4))
    halves = [loss_and_gradient(x[:, i], y[:, i], zero, P)
              for i in (slice(6), slice(6, 12))]
    mean = (halves[0][1]["W_h"] + halves[1][1]["W_h"]) / 2
    np.testing.assert_allclose(left["W_h"], mean, atol=1e-14)
    assert np.array_equal(h, halves[1][2])


# src/topics/notebooks/05-rnn-from-scratch.py:806
def test_write():
    P = init_params(6, 0, K=64, dtype=np.float64)
    P["W_o"] *= 100
    h = np.zeros((1, 6))
    for character in "abc":
        h = cell(np.array([place[character]]), h, P)
    s = logits(h[0], P) / 0.7
    p = np.exp(s) / np.exp(s).sum()
    drawn = [place[write(P, "abc", 1, 0.7, seed)[-1]] for seed in range(1500)]
    assert np.abs(np.bincount(drawn, minlength=64) / 1500 - p).max() < 0.05
    assert place[write(P, "abc", 1, 0)[-1]] == p.argmax()
    assert len(write(P, "a", 9)) == 10


# src/topics/notebooks/05-rnn-from-scratch.py:834
def test_position():
    supply = pieces(np.arange(1000), 7, 10)
    for j in range(5):
        x, _, _ = next(supply)
        for i, t in [(0, 0), (6, 9), (3, 4)]:
            assert position(i, t, j, 1000, 7, 10) == x[i, t]


# src/topics/notebooks/05-rnn-from-scratch.py:1050
def test_evaluate():
    P, ids = init_params(5, 0, K=7, dtype=np.float64), np.arange(61) * 3 % 7
    P["W_o"] *= 100
    losses = evaluate(P, ids, B=3, T=10)
    assert losses.shape == (3, 20)
    for i in range(3):
        row = ids[20 * i : 20 * i + 21]
        H = read(row[None, :-1], np.zeros((1, 5)), P)
        np.testing.assert_allclose(
            losses[i], cross_entropy(logits(H, P), row[None, 1:])[0][0]
        )
    blind = evaluate(P, ids, B=3, T=1, carry=False)
    H = read(ids[:1][None], np.zeros((1, 5)), P)
    alone = cross_entropy(logits(H, P), ids[1:2][None])[0][0, 0]
    assert np.isclose(blind[0, 0], alone) and np.isclose(
        blind[0, 7], alone
    )  # 7 has the same id


# src/topics/notebooks/05-rnn-from-scratch.py:1086
def test_without_memory():
    rng = np.random.default_rng(2)
    ids = np.repeat(rng.integers(4, size=4500), 2)  # every character comes twice
    # has the pair ended? One character cannot tell: p(same) = (1 + 1/4) / 2
    bound = -(5 / 8 * np.log(5 / 8) + 3 / 8 * np.log(1 / 8))
    assert abs(without_memory(ids, ids, 16, 300) - bound) < 0.03


# src/topics/notebooks/05-rnn-from-scratch.py:1212
def test_log_probability():
    P = init_params(6, 0, dtype=np.float64)
    P["W_o"] *= 100
    one = [log_probability(P, "to", character) for character in characters]
    assert abs(np.exp(one).sum() - 1) < 1e-9
    two = log_probability(P, "t", "o") + log_probability(P, "to", "be")
    assert abs(log_probability(P, "t", "obe") - two) < 1e-9


# src/topics/notebooks/05-rnn-from-scratch.py:1297
def test_gradient_by_distance():
    rng = np.random.default_rng(4)
    for _ in range(5):
        P, x, y, h0 = random_case(rng)
        x, y = np.repeat(x, 2, axis=1), np.repeat(y, 2, axis=1)
        (B, T), d = x.shape, h0.shape[1]
        norms = gradient_by_distance(P, x, y)
        assert norms.shape == (T, B) and np.allclose(norms[0], 1)
        for k in range(T):  # ask backward for the gradient at the first of k + 1 states
            H = read(x, np.zeros((B, d)), P)
            dS = np.zeros((B, k + 1, len(P["W_x"])))
            dS[:, -1:] = cross_entropy(logits(H[:, -1:], P), y[:, -1:])[1]
            dh = dS[:, -1] @ P["W_o"].T
            top = np.linalg.norm(dh, axis=1)
            if k > 0:
                before = H[:, T - 1 - k]
                dh = backward(dS[:, 1:], x[:, T - k :], H[:, T - k :], before, P)[1]
            np.testing.assert_allclose(
                norms[k], np.linalg.norm(dh, axis=1) / top, atol=1e-10
            )


# src/topics/notebooks/05-rnn-from-scratch.py:1354
def test_leaky_cell():
    rng = np.random.default_rng(6)
    for _ in range(5):
        P, x, _, h0 = random_case(rng)
        a, R = rng.uniform(0.1, 0.9), rng.normal(size=(*x.shape, h0.shape[1]))
        np.testing.assert_allclose(leaky_read(x, h0, P, 1.0), read(x, h0, P))
        H = leaky_read(x, h0, P, a)
        dZ, dh0 = leaky_backward(R, H, h0, P, a)
        small = {"b": P["b"], "h0": h0}
        G = numeric_gradient(lambda: (leaky_read(x, h0, P, a) * R).sum(), small)
        np.testing.assert_allclose(dZ.sum(axis=(0, 1)), G["b"], atol=1e-6)
        np.testing.assert_allclose(dh0, G["h0"], atol=1e-6)


# src/topics/notebooks/05-rnn-from-scratch.py:1432
def test_loss_after():
    P, rng = init_params(5, 0, 6, np.float64), np.random.default_rng(7)
    P["W_o"] *= 100
    x, y = rng.integers(6, size=(3, 4)), rng.integers(6, size=3)
    h = rng.normal(size=(3, 5))
    H = read(x, h, P)
    expected = cross_entropy(logits(H[:, -1], P)[:, None], y[:, None])[0].mean()
    assert abs(loss_after(h, x, y, P) - expected) < 1e-12
    assert abs(loss_after(H[:, 1], x[:, 2:], y, P) - expected) < 1e-12


# src/topics/notebooks/05-rnn-from-scratch.py:1561
def test_auc():
    rng = np.random.default_rng(8)
    for _ in range(20):
        score, has = rng.integers(6, size=25).astype(float), rng.random(25) < 0.4
        has[:2] = True, False
        better = score[has][:, None] - score[~has]
        assert abs(auc(score, has) - ((better > 0) + (better == 0) / 2).mean()) < 1e-12


# src/topics/notebooks/05-rnn-from-scratch.py:1570
def test_properties():
    name, first, fourth, line, sentence = properties(
        "On.\n\nTOM:\nAh, lives\n"
    ).values()
    assert np.flatnonzero(name[0] & name[1]).tolist() == [5, 6, 7]
    assert np.flatnonzero(name[0]).tolist() == [0, 5, 6, 7, 10]
    assert np.flatnonzero(first[0] & first[1]).tolist() == [0, 5, 10, 14]
    assert np.flatnonzero(fourth[0] & fourth[1]).tolist() == [17, 18]
    assert not line[1].any() and line[0].all()
    assert properties("a" * 90)["beyond 30 in the line?"][1].sum() == 60
    assert properties("\n" + "a" * 31)["beyond 30 in the line?"][1].sum() == 1
    assert properties("b:" + "a" * 81)["beyond 80 in the sentence?"][1].sum() == 1
    assert properties("b." + "a" * 90)["beyond 80 in the sentence?"][1].sum() == 10


# src/topics/notebooks/05-rnn-from-scratch.py:1661
def test_first_state_gradient():
    rng = np.random.default_rng(9)
    for _ in range(5):
        P, x, y, h = random_case(rng)
        h0 = h[0].copy()
        G = numeric_gradient(
            lambda: loss_and_gradient(x, y, np.tile(h0, (len(x), 1)), P)[0], {"h0": h0}
        )
        np.testing.assert_allclose(
            first_state_gradient(x, y, h0, P), G["h0"], atol=1e-7
        )
