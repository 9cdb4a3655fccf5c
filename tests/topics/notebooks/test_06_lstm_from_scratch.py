# Generated from src/topics/notebooks/06-lstm-from-scratch.py: edit that file, then run doit. digest:9ec29eb0aa2edd3f

"""Tests of notebooks/06-lstm-from-scratch: An LSTM from scratch."""

import numpy as np
import re
import torch
from collections.abc import Callable
from torch import nn
from torch.nn import functional as F


# src/topics/notebooks/06-lstm-from-scratch.py:53
def flagged(S: int, B: int, T: int, rng: np.random.Generator) -> np.ndarray:
    """X (S, B, T, 2): a number and a flag; one flag is up in each half of the steps."""
    flags = np.zeros((S, B, T))
    for low, high in ((0, T // 2), (T // 2, T)):
        at = rng.integers(low, high, size=(S, B, 1))
        np.put_along_axis(flags, at, 1.0, axis=-1)
    return np.stack([rng.random((S, B, T)), flags], axis=-1)


# src/topics/notebooks/06-lstm-from-scratch.py:62
def flagged_sum(X: np.ndarray) -> np.ndarray:
    """Sum of the flagged numbers, (..., T, 2) to (...)."""
    return (X[..., 0] * X[..., 1]).sum(axis=-1)


# src/topics/notebooks/06-lstm-from-scratch.py:82
def flat(A: np.ndarray) -> np.ndarray:
    """(..., B, T, n) to (..., B * T, n)."""
    return A.reshape(*A.shape[:-3], -1, A.shape[-1])


# src/topics/notebooks/06-lstm-from-scratch.py:87
def transposed(W: np.ndarray) -> np.ndarray:
    return W.swapaxes(-1, -2)


# src/topics/notebooks/06-lstm-from-scratch.py:91
def from_inputs(X: np.ndarray, P: dict) -> np.ndarray:
    """x_t W_x + b for all steps at once: (..., B, T, d_in) to (..., B, T, n)."""
    Z = flat(X) @ P["W_x"] + P["b"][..., None, :]
    return Z.reshape(*X.shape[:-1], Z.shape[-1])


# src/topics/notebooks/06-lstm-from-scratch.py:97
def weight_gradients(dZ: np.ndarray, X: np.ndarray, before: np.ndarray, P: dict):
    """dX, dP from dZ (..., B, T, n) and the states before each step (..., B, T, d)."""
    dP = {"W_x": transposed(flat(X)) @ flat(dZ), "b": flat(dZ).sum(axis=-2),
          "W_h": transposed(flat(before)) @ flat(dZ)}
    return (flat(dZ) @ transposed(P["W_x"])).reshape(X.shape), dP


# src/topics/notebooks/06-lstm-from-scratch.py:104
def states_before(H: np.ndarray, h0: np.ndarray) -> np.ndarray:
    """h_0, ..., h_(T-1) for H = h_1, ..., h_T (..., B, T, d)."""
    return np.concatenate([h0[..., None, :], H[..., :-1, :]], axis=-2)


# src/topics/notebooks/06-lstm-from-scratch.py:110
def rnn_forward(X: np.ndarray, P: dict, h0=None) -> np.ndarray:
    """States H (..., B, T, d) for X (..., B, T, d_in)."""
    Z = from_inputs(X, P)
    h = np.zeros_like(Z[..., 0, :]) if h0 is None else h0
    H = np.empty_like(Z)
    for t in range(X.shape[-2]):
        h = np.tanh(Z[..., t, :] + h @ P["W_h"])
        H[..., t, :] = h
    return H


# src/topics/notebooks/06-lstm-from-scratch.py:121
def rnn_backward(dH: np.ndarray, X: np.ndarray, H: np.ndarray, P: dict, h0=None):
    """From dH (..., B, T, d), what each state receives directly: dX, dh0, dP."""
    h0 = np.zeros_like(H[..., 0, :]) if h0 is None else h0
    dZ, dh, back = np.empty_like(H), np.zeros_like(h0), transposed(P["W_h"])
    for t in reversed(range(X.shape[-2])):
        dz = (dH[..., t, :] + dh) * (1 - H[..., t, :] ** 2)
        dZ[..., t, :] = dz
        dh = dz @ back
    dX, dP = weight_gradients(dZ, X, states_before(H, h0), P)
    return dX, dh, dP


# src/topics/notebooks/06-lstm-from-scratch.py:133
def random_tanh(d_in: int, d: int, rng: np.random.Generator, lead: tuple = ()) -> dict:
    """Weights of plain cells; W_h is orthogonal, the best usual start."""
    return {"W_x": rng.normal(size=(*lead, d_in, d)) / np.sqrt(d_in),
            "W_h": np.linalg.qr(rng.normal(size=(*lead, d, d)))[0],
            "b": np.zeros((*lead, d))}


# src/topics/notebooks/06-lstm-from-scratch.py:145
Back = Callable[[np.ndarray], dict]  # dH -> gradients of the cell's parameters


# src/topics/notebooks/06-lstm-from-scratch.py:148
def run_tanh(X: np.ndarray, P: dict) -> tuple[np.ndarray, Back]:
    H = rnn_forward(X, P)
    return H, lambda dH: rnn_backward(dH, X, H, P)[-1]


# src/topics/notebooks/06-lstm-from-scratch.py:153
def with_readout(P: dict, rng: np.random.Generator, dtype=np.float32) -> dict:
    """The cell's parameters, and W_o (..., d, 1), b_o (..., 1)."""
    *lead, d, _ = P["W_h"].shape
    P = P | {"W_o": rng.normal(size=(*lead, d, 1)) / np.sqrt(d),
             "b_o": np.zeros((*lead, 1))}
    return {name: W.astype(dtype) for name, W in P.items()}


# src/topics/notebooks/06-lstm-from-scratch.py:161
def loss_and_gradients(
    run, P: dict, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, dict]:
    """Squared error (...) of the answers y (..., B), and gradients of all of P."""
    H, back = run(X, {name: W for name, W in P.items() if not name.endswith("_o")})
    h = H[..., -1, :]
    error = (h @ P["W_o"] + P["b_o"][..., None, :])[..., 0] - y
    ds = 2 * error[..., None] / y.shape[-1]
    dH = np.zeros_like(H)
    dH[..., -1, :] = ds @ transposed(P["W_o"])
    G = back(dH) | {"W_o": transposed(h) @ ds, "b_o": ds.sum(axis=-2)}
    return (error**2).mean(axis=-1), G


# src/topics/notebooks/06-lstm-from-scratch.py:175
def adam_step(P: dict, G: dict, memory: dict, lr: np.ndarray, t: int) -> None:
    """One step of Adam in place, for S networks with clipped gradients; lr (S,)."""
    norms = np.sqrt(sum((g.reshape(len(lr), -1) ** 2).sum(axis=1) for g in G.values()))
    scale = np.minimum(1.0, 1.0 / (norms + 1e-6))
    for name, g in G.items():
        each = (-1,) + (1,) * (g.ndim - 1)  # one number for each network
        g = g * scale.reshape(each).astype(g.dtype)
        m, v = memory.setdefault(name, (np.zeros_like(g), np.zeros_like(g)))
        m += 0.1 * (g - m)
        v += 0.001 * (g**2 - v)
        move = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        P[name] -= lr.reshape(each).astype(g.dtype) * move


# src/topics/notebooks/06-lstm-from-scratch.py:189
def train(run, P: dict, lr, T: int, steps: int, target=flagged_sum, seed: int = 0,
          B: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Train S networks in place: losses (steps, S), errors on new sequences (S,).

    P holds arrays (S, ...), lr (S,) a rate for each network.
    """
    rng, lr, memory, losses = np.random.default_rng(seed), np.asarray(lr), {}, []
    for t in range(1, steps + 1):
        X = flagged(len(lr), B, T, rng).astype(P["W_h"].dtype)
        loss, G = loss_and_gradients(run, P, X, target(X))
        losses.append(loss)
        adam_step(P, G, memory, lr * min(1.0, 2 * (steps + 1 - t) / steps), t)
    X = flagged(len(lr), 500, T, np.random.default_rng(10_000 + seed))
    X = X.astype(P["W_h"].dtype)
    return np.array(losses), loss_and_gradients(run, P, X, target(X))[0]


# src/topics/notebooks/06-lstm-from-scratch.py:254
def random_sizes(rng, n):
    return [int(k) for k in rng.permutation(np.arange(1, 8))[:n]]


# src/topics/notebooks/06-lstm-from-scratch.py:300
def check_training(run, P, make_cell, steps=6, T=4):
    """Our training against autograd, clip_grad_norm_ and torch's Adam, in float64."""
    cells, heads, optimizers = [], [], []
    for s in range(2):
        cell, head = make_cell(), nn.Linear(P["W_h"].shape[-2], 1).double()
        with torch.no_grad():
            cell.weight_ih_l0.copy_(torch.from_numpy(P["W_x"][s].T))
            cell.weight_hh_l0.copy_(torch.from_numpy(P["W_h"][s].T))
            cell.bias_ih_l0.copy_(torch.from_numpy(P["b"][s]))
            cell.bias_hh_l0.zero_()
            head.weight.copy_(torch.from_numpy(P["W_o"][s].T))
            head.bias.copy_(torch.from_numpy(P["b_o"][s]))
        cell.bias_hh_l0.requires_grad_(False)
        weights = [*cell.parameters(), *head.parameters()]
        learnt = [w for w in weights if w.requires_grad]
        cells, heads = cells + [cell], heads + [head]
        optimizers.append((learnt, torch.optim.Adam(learnt)))
    lr = np.array([0.02, 0.1])
    losses, errors = train(run, P, lr, T, steps, seed=5, B=3)
    rng = np.random.default_rng(5)
    for t in range(1, steps + 1):
        X = flagged(2, 3, T, rng)
        for s, (learnt, adam) in enumerate(optimizers):
            adam.param_groups[0]["lr"] = lr[s] * min(1, 2 * (steps + 1 - t) / steps)
            answer = heads[s](cells[s](torch.from_numpy(X[s]))[0][:, -1])[:, 0]
            loss = F.mse_loss(answer, torch.from_numpy(flagged_sum(X[s])))
            assert abs(loss.item() - losses[t - 1, s]) < 1e-9
            adam.zero_grad()
            (loss).backward()
            nn.utils.clip_grad_norm_(learnt, 1.0)
            adam.step()
    for s in range(2):
        W_h = cells[s].weight_hh_l0.detach().T
        np.testing.assert_allclose(P["W_h"][s], W_h, atol=1e-8)
        np.testing.assert_allclose(P["b_o"][s], heads[s].bias.detach(), atol=1e-8)
    X = flagged(2, 500, T, np.random.default_rng(10_005))
    np.testing.assert_allclose(errors, loss_and_gradients(run, P, X, flagged_sum(X))[0])


# src/topics/notebooks/06-lstm-from-scratch.py:356
def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * z))


# src/topics/notebooks/06-lstm-from-scratch.py:361
def hand_cell(X: np.ndarray, i=1.0, f=1.0, o=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Cell and output (..., T) of one unit for X (..., T, 2); gates (..., T) or 1."""
    g = np.tanh(0.01 * X[..., 0])
    i, f, o = (np.broadcast_to(gate, g.shape) for gate in (i, f, o))
    C, c = np.empty_like(g), np.zeros(g.shape[:-1])
    for t in range(g.shape[-1]):
        C[..., t] = c = f[..., t] * c + i[..., t] * g[..., t]
    return C, o * np.tanh(C)


# src/topics/notebooks/06-lstm-from-scratch.py:371
def error_of(C: np.ndarray, y: np.ndarray) -> float:
    return float(((100 * C[..., -1] - y) ** 2).mean())


# src/topics/notebooks/06-lstm-from-scratch.py:408
def latest_flagged(X: np.ndarray) -> np.ndarray:
    """The flagged number that came last, (..., T, 2) to (...)."""
    at = X.shape[-2] - 1 - X[..., ::-1, 1].argmax(axis=-1)
    return np.take_along_axis(X[..., 0], at[..., None], axis=-1)[..., 0]


# src/topics/notebooks/06-lstm-from-scratch.py:467
def lstm_step(z: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple]:
    """New h, new c and the gates i, f, g, o, from z (..., B, 4d) and c (..., B, d)."""
    z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
    c = f * c + i * g
    return o * np.tanh(c), c, (i, f, g, o)


# src/topics/notebooks/06-lstm-from-scratch.py:475
def lstm_forward(
    X: np.ndarray, P: dict, h0=None, c0=None
) -> tuple[np.ndarray, np.ndarray, list]:
    """States H and cells C (..., B, T, d) for X (..., B, T, d_in), and a trace."""
    Z, d = from_inputs(X, P), P["W_h"].shape[-2]
    nothing = np.zeros_like(Z[..., 0, :d])
    h, c = (nothing if start is None else start for start in (h0, c0))
    H, C, trace = np.empty_like(Z[..., :d]), np.empty_like(Z[..., :d]), [(h, c)]
    for t in range(X.shape[-2]):
        h, c, gates = lstm_step(Z[..., t, :] + h @ P["W_h"], c)
        H[..., t, :], C[..., t, :] = h, c
        trace.append(gates)
    return H, C, trace


# src/topics/notebooks/06-lstm-from-scratch.py:490
def random_lstm(
    d_in: int, d: int, forget_bias: float, rng: np.random.Generator, lead: tuple = ()
) -> dict:
    """Random weights; the biases of the forget gates are all `forget_bias`."""
    b = np.zeros((*lead, 4 * d))
    b[..., d : 2 * d] = forget_bias
    return {"W_x": rng.normal(size=(*lead, d_in, 4 * d)) / np.sqrt(d_in),
            "W_h": rng.normal(size=(*lead, d, 4 * d)) / np.sqrt(d), "b": b}


# src/topics/notebooks/06-lstm-from-scratch.py:548
def lstm_backward(
    dH: np.ndarray, X: np.ndarray, H: np.ndarray, C: np.ndarray, trace: list, P: dict
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """From dH (..., B, T, d), what each state receives directly: dX, dh0, dc0, dP."""
    h0, c0 = trace[0]
    C_before, back = states_before(C, c0), transposed(P["W_h"])
    dZ = np.empty((*X.shape[:-1], P["W_h"].shape[-1]), H.dtype)
    dh, dc = np.zeros_like(h0), np.zeros_like(c0)
    for t in reversed(range(X.shape[-2])):
        i, f, g, o = trace[t + 1]
        bent = np.tanh(C[..., t, :])
        dh = dh + dH[..., t, :]
        dc = dc + dh * o * (1 - bent**2)
        c = C_before[..., t, :]
        dz = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f),
                             dc * i * (1 - g**2), dh * bent * o * (1 - o)], axis=-1)
        dZ[..., t, :] = dz
        dh, dc = dz @ back, dc * f  # the two ways back in time
    dX, dP = weight_gradients(dZ, X, states_before(H, h0), P)
    return dX, dh, dc, dP


# src/topics/notebooks/06-lstm-from-scratch.py:570
def nudged(f: Callable[[], float], W: np.ndarray) -> np.ndarray:
    """Central differences of f() by each entry of W, which is changed in place."""
    gradient = np.zeros_like(W)
    for at in np.ndindex(W.shape):
        kept, values = W[at], []
        for step in (1e-5, -1e-5):
            W[at] = kept + step
            values.append(f())
        W[at] = kept
        gradient[at] = (values[0] - values[1]) / 2e-5
    return gradient


# src/topics/notebooks/06-lstm-from-scratch.py:600
def check_lstm(P, X, h0, c0, dH):
    """Forward and backward against torch.nn.LSTM, whose weights are transposed."""
    lstm = nn.LSTM(X.shape[-1], h0.shape[-1], batch_first=True).double()
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(P["W_x"].T))
        lstm.weight_hh_l0.copy_(torch.from_numpy(P["W_h"].T))
        lstm.bias_ih_l0.copy_(torch.from_numpy(P["b"]))
        lstm.bias_hh_l0.zero_()
    x, h, c = (torch.from_numpy(a).requires_grad_() for a in (X, h0[None], c0[None]))
    want, (_, last) = lstm(x, (h, c))
    want.backward(torch.from_numpy(dH))
    H, C, trace = lstm_forward(X, P, h0, c0)
    dX, dh0, dc0, dP = lstm_backward(dH, X, H, C, trace, P)
    pairs = [(H, want.detach()), (C[:, -1], last[0].detach()), (dX, x.grad),
             (dh0, h.grad[0]), (dc0, c.grad[0]), (dP["W_x"], lstm.weight_ih_l0.grad.T),
             (dP["W_h"], lstm.weight_hh_l0.grad.T), (dP["b"], lstm.bias_ih_l0.grad)]
    for ours, theirs in pairs:
        assert ours.shape == tuple(theirs.shape)
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-11)


# src/topics/notebooks/06-lstm-from-scratch.py:682
def latch() -> dict:
    """W_x (2, 4), W_h (1, 4), b (4,) in the order i, f, g, o."""
    W_x = np.array([[40.0, -40, 0, 0], [0, -40, 0, 0]])  # set: write; both: erase
    return {"W_x": W_x, "W_h": np.zeros((1, 4)), "b": np.array([-20.0, 20, 20, 20])}


# src/topics/notebooks/06-lstm-from-scratch.py:715
def arriving(backward: Callable, H: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Norms of dX (S, T), from the last step back, relative to the last step's."""
    dH = np.zeros_like(H)
    dH[..., -1, :] = rng.normal(size=H[..., -1, :].shape)
    norms = np.sqrt((backward(dH)[0] ** 2).sum(axis=(-3, -1)))[:, ::-1]
    return norms / norms[:, :1]


# src/topics/notebooks/06-lstm-from-scratch.py:812
def along_the_cell(trace: list, t: int) -> np.ndarray:
    """Product of the forget gates of steps t + 1 to T, (..., B, d); t from 0 to T."""
    share = np.ones_like(trace[0][1])
    for i, f, g, o in trace[t + 1 :]:
        share = share * f
    return share


# src/topics/notebooks/06-lstm-from-scratch.py:848
def run_lstm(X: np.ndarray, P: dict) -> tuple[np.ndarray, Back]:
    H, C, trace = lstm_forward(X, P)
    return H, lambda dH: lstm_backward(dH, X, H, C, trace, P)[-1]


# src/topics/notebooks/06-lstm-from-scratch.py:925
def matching_width(d_in: int, d: int) -> int:
    """Width of a plain cell nearest in size to an LSTM of width d, without readouts."""
    size = 4 * d * (d_in + d + 1)
    return min(range(1, 4 * d + 1), key=lambda w: abs(w * (d_in + w + 1) - size))


# src/topics/notebooks/06-lstm-from-scratch.py:958
REMOVED = {"none": None, "input": 0, "forget": 1, "output": 3}


# src/topics/notebooks/06-lstm-from-scratch.py:961
def without_gates(d: int, seeds: int, rng: np.random.Generator) -> dict:
    """A stack of 4 * seeds LSTMs: none removed, then the input, forget, output gate."""
    P = random_lstm(2, d, 1.0, rng, (len(REMOVED) * seeds,))
    for k, quarter in enumerate(REMOVED.values()):
        if quarter is not None:
            P["b"][k * seeds : (k + 1) * seeds, quarter * d : (quarter + 1) * d] = 100
    return P


# src/topics/notebooks/06-lstm-from-scratch.py:1086
def gru_forward(X: np.ndarray, P: dict, h0=None) -> tuple[np.ndarray, list]:
    """States (..., B, T, d), and a trace; blocks in the order r, u, g, like PyTorch."""
    Z, d = from_inputs(X, P), P["W_h"].shape[-2]
    h = np.zeros_like(Z[..., 0, :d]) if h0 is None else h0
    H, trace = np.empty_like(Z[..., :d]), [h]
    for t in range(X.shape[-2]):
        x_r, x_u, x_g = np.split(Z[..., t, :], 3, axis=-1)
        h_r, h_u, h_g = np.split(h @ P["W_h"] + P["b_h"][..., None, :], 3, axis=-1)
        r, u = sigmoid(x_r + h_r), sigmoid(x_u + h_u)
        g = np.tanh(x_g + r * h_g)
        trace.append((r, u, g, h_g))
        h = u * h + (1 - u) * g
        H[..., t, :] = h
    return H, trace


# src/topics/notebooks/06-lstm-from-scratch.py:1102
def gru_backward(dH: np.ndarray, X: np.ndarray, H: np.ndarray, trace: list, P: dict):
    """From dH (..., B, T, d): dX, dh0, dP."""
    before, back = states_before(H, trace[0]), transposed(P["W_h"])
    dZ_x = np.empty((*H.shape[:-1], 3 * H.shape[-1]), H.dtype)
    dZ_h, dh = np.empty_like(dZ_x), np.zeros_like(trace[0])
    for t in reversed(range(X.shape[-2])):
        r, u, g, h_g = trace[t + 1]
        dh = dh + dH[..., t, :]
        dz_g = dh * (1 - u) * (1 - g**2)
        dz_u = dh * (before[..., t, :] - g) * u * (1 - u)
        dz_r = dz_g * h_g * r * (1 - r)
        dZ_x[..., t, :] = np.concatenate([dz_r, dz_u, dz_g], axis=-1)
        dZ_h[..., t, :] = np.concatenate([dz_r, dz_u, dz_g * r], axis=-1)
        dh = dh * u + dZ_h[..., t, :] @ back
    dX, dP = weight_gradients(dZ_x, X, before, P)
    dP |= {"W_h": transposed(flat(before)) @ flat(dZ_h), "b_h": flat(dZ_h).sum(axis=-2)}
    return dX, dh, dP


# src/topics/notebooks/06-lstm-from-scratch.py:1121
def random_gru(d_in: int, d: int, rng: np.random.Generator, lead: tuple = ()) -> dict:
    """Random weights of a GRU."""
    return {"W_x": rng.normal(size=(*lead, d_in, 3 * d)) / np.sqrt(d_in),
            "W_h": rng.normal(size=(*lead, d, 3 * d)) / np.sqrt(d),
            "b": np.zeros((*lead, 3 * d)), "b_h": np.zeros((*lead, 3 * d))}


# src/topics/notebooks/06-lstm-from-scratch.py:1193
def gru_step_2014(x: np.ndarray, h: np.ndarray, P: dict) -> np.ndarray:
    """New h (B, d) from x (B, d_in) and h; blocks in the order r, u, g."""
    d = h.shape[-1]
    x_r, x_u, x_g = np.split(x @ P["W_x"] + P["b"], 3, axis=-1)
    r = sigmoid(x_r + h @ P["W_h"][:, :d])
    u = sigmoid(x_u + h @ P["W_h"][:, d : 2 * d])
    return u * h + (1 - u) * np.tanh(x_g + (r * h) @ P["W_h"][:, 2 * d :])


# src/topics/notebooks/06-lstm-from-scratch.py:1270
def counting(known: np.ndarray, asked: np.ndarray, n_max: int, beta: float = 8.0,
             K: int = 64) -> tuple[list[float], list[int]]:
    """For n = 1, ..., n_max: loss on `asked` from counts in `known`; counts stored."""
    p, losses, stored, total = np.full(len(asked) - n_max + 1, 1 / K), [], [], 0
    for n in range(1, n_max + 1):
        powers = K ** np.arange(n)[::-1]  # n ids become one number
        table, codes = (np.lib.stride_tricks.sliding_window_view(x, n) @ powers
                        for x in (known, asked[n_max - n :]))

        def occurrences(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
            names, counts = np.unique(table, return_counts=True)
            at = np.searchsorted(names, codes).clip(max=len(names) - 1)
            return np.where(names[at] == codes, counts[at], 0)

        p = (occurrences(table, codes) + beta * p) / (
            occurrences(table // K, codes // K) + beta)
        total += len(np.unique(table))
        losses.append(float(-np.log(p).mean()))
        stored.append(total)
    return losses, stored


# src/topics/notebooks/06-lstm-from-scratch.py:1302
class CharModel(nn.Module):
    """One recurrent layer on one-hot characters, and a linear readout."""

    def __init__(self, kind: str, d: int) -> None:
        super().__init__()
        self.kind = kind
        self.cell = getattr(nn, kind)(64, d, batch_first=True)
        self.out = nn.Linear(d, 64)
        if kind == "LSTM":  # forget bias: the sum of two biases in PyTorch
            with torch.no_grad():
                self.cell.bias_ih_l0[d : 2 * d] = 1
        else:
            nn.init.orthogonal_(self.cell.weight_hh_l0)

    def forward(self, ids: torch.Tensor, state=None):
        """Logits (B, T, 64) for ids (B, T), and the state at the end."""
        h, state = self.cell(F.one_hot(ids, 64).float(), state)
        return self.out(h), state


# src/topics/notebooks/06-lstm-from-scratch.py:1322
def side_by_side(ids: torch.Tensor, B: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """The text cut into B long rows (B, n), and the same one character later."""
    n = (len(ids) - 1) // B
    return ids[: n * B].view(B, n), ids[1 : n * B + 1].view(B, n)


# src/topics/notebooks/06-lstm-from-scratch.py:1550
def numpy_weights(cell: nn.LSTM) -> dict:
    """W_x, W_h, b in float64 from a layer of PyTorch."""
    W_x, W_h, *b = (p.detach().double().numpy() for p in cell.parameters())
    return {"W_x": W_x.T, "W_h": W_h.T, "b": b[0] + b[1]}


# src/topics/notebooks/06-lstm-from-scratch.py:1556
def place_in_word(text: str) -> np.ndarray:
    """Letters since the word began, up to 4; 0 outside of words; (T,)."""
    places = [0]
    for character in text:
        inside = character.isalpha() or character == "'"
        places.append(min(places[-1] + 1, 4) if inside else 0)
    return np.array(places[1:])


# src/topics/notebooks/06-lstm-from-scratch.py:1565
def in_name(text: str) -> np.ndarray:
    """1 where a line of capitals that ends with a colon is being read, (T,)."""
    inside = np.zeros(len(text))
    for name in re.finditer(r"(?m)^[A-Z][A-Z ]*:", text):
        inside[name.start() : name.end()] = 1
    return inside


# src/topics/notebooks/06-lstm-from-scratch.py:1670
def run_cut(X: np.ndarray, P: dict) -> tuple[np.ndarray, Back]:
    """States H, and a function dH -> dP whose messages go back along the cell only."""
    H, C, trace = lstm_forward(X, P)
    no_way = P | {"W_h": np.zeros_like(P["W_h"])}  # in the backward pass only
    return H, lambda dH: lstm_backward(dH, X, H, C, trace, no_way)[-1]


# src/topics/notebooks/06-lstm-from-scratch.py:258
def test_flagged():
    X = flagged(3, 200, 7, np.random.default_rng(0))
    assert X.shape == (3, 200, 7, 2) and X.min() >= 0 and X.max() <= 1
    assert (X[:, :, :3, 1].sum(axis=-1) == 1).all()
    assert (X[:, :, 3:, 1].sum(axis=-1) == 1).all()
    assert (X[..., 1].sum(axis=(0, 1)) > 0).all() and X[..., 0].std() > 0.25
    for x, y in zip(X.reshape(-1, 7, 2), flagged_sum(X).ravel()):
        assert np.isclose(y, sum(v for v, m in x if m))


# src/topics/notebooks/06-lstm-from-scratch.py:268
def test_plain_cells_match_torch():
    rng = np.random.default_rng(1)
    for _ in range(20):
        S, B, T, d_in, d = random_sizes(rng, 5)
        P = random_tanh(d_in, d, rng, (S,))
        assert np.allclose(P["W_h"] @ transposed(P["W_h"]), np.eye(d))
        P["b"] = rng.normal(size=P["b"].shape)
        X, h0 = rng.normal(size=(S, B, T, d_in)), rng.normal(size=(S, B, d))
        dH = rng.normal(size=(S, B, T, d))
        H = rnn_forward(X, P, h0)
        dX, dh0, dP = rnn_backward(dH, X, H, P, h0)
        for s in {0, S - 1}:  # the networks do not touch each other
            cell = nn.RNN(d_in, d, batch_first=True).double()
            with torch.no_grad():
                cell.weight_ih_l0.copy_(torch.from_numpy(P["W_x"][s].T))
                cell.weight_hh_l0.copy_(torch.from_numpy(P["W_h"][s].T))
                cell.bias_ih_l0.copy_(torch.from_numpy(P["b"][s]))
                cell.bias_hh_l0.zero_()
            x, h = (torch.from_numpy(a).requires_grad_() for a in (X[s], h0[s][None]))
            want = cell(x, h)[0]
            want.backward(torch.from_numpy(dH[s]))
            pairs = [(H[s], want.detach()), (dX[s], x.grad), (dh0[s], h.grad[0]),
                     (dP["W_x"][s], cell.weight_ih_l0.grad.T),
                     (dP["b"][s], cell.bias_ih_l0.grad),
                     (dP["W_h"][s], cell.weight_hh_l0.grad.T)]
            for ours, theirs in pairs:
                np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-11)
    assert np.array_equal(rnn_forward(X, P), rnn_forward(X, P, np.zeros_like(h0)))
    one = {name: W[0] for name, W in P.items()}  # no leading axis at all
    np.testing.assert_allclose(rnn_forward(X[0], one, h0[0]), H[0], atol=1e-13)


# src/topics/notebooks/06-lstm-from-scratch.py:339
def test_training_is_torchs():
    rng = np.random.default_rng(2)
    P = with_readout(random_tanh(2, 5, rng, (2,)), rng, np.float64)
    P["W_o"] = P["W_o"] * np.array([1, 9]).reshape(2, 1, 1)  # the second gets clipped
    check_training(run_tanh, P, lambda: nn.RNN(2, 5, batch_first=True).double())


# src/topics/notebooks/06-lstm-from-scratch.py:621
def test_lstm_is_torchs():
    rng = np.random.default_rng(3)
    for case in range(25):
        B, T, d_in, d = random_sizes(rng, 4)
        P = random_lstm(d_in, d, 0.5, rng)
        P["b"] = P["b"] + rng.normal(size=4 * d)
        X, (h0, c0) = rng.normal(size=(B, T, d_in)), rng.normal(size=(2, B, d))
        if case == 0:
            X = 1e3 * X  # saturated gates
        check_lstm(P, X, h0, c0, rng.normal(size=(B, T, d)))
    zeros = lstm_forward(X, P, np.zeros_like(h0), np.zeros_like(c0))
    for ours, given in zip(lstm_forward(X, P)[:2], zeros):
        assert np.array_equal(ours, given)


# src/topics/notebooks/06-lstm-from-scratch.py:636
def test_stacked_lstms_are_separate():
    rng = np.random.default_rng(4)
    P, X = random_lstm(3, 5, 2.5, rng, (4,)), rng.normal(size=(4, 2, 6, 3))
    assert (P["b"] == np.repeat([0, 2.5, 0, 0], 5)).all() and P["b"].shape == (4, 20)
    dH = rng.normal(size=(4, 2, 6, 5))
    H, C, trace = lstm_forward(X, P)
    dX, _, _, dP = lstm_backward(dH, X, H, C, trace, P)
    for s in range(4):
        one = {name: W[s] for name, W in P.items()}
        H1, C1, trace1 = lstm_forward(X[s], one)
        dX1, _, _, dP1 = lstm_backward(dH[s], X[s], H1, C1, trace1, one)
        np.testing.assert_allclose(H[s], H1, atol=1e-13)
        np.testing.assert_allclose(dX[s], dX1, atol=1e-12)
        for name in P:
            np.testing.assert_allclose(dP[name][s], dP1[name], atol=1e-11)


# src/topics/notebooks/06-lstm-from-scratch.py:653
def test_hand_cell():
    rng = np.random.default_rng(5)
    X, (i, f, o) = rng.random((3, 9, 2)), rng.random((3, 3, 9))
    C, H = hand_cell(X, i, f, o)
    for b in range(3):
        c = 0.0
        for t in range(9):
            c = f[b, t] * c + i[b, t] * np.tanh(X[b, t, 0] / 100)
            assert np.isclose(C[b, t], c) and np.isclose(H[b, t], o[b, t] * np.tanh(c))
    assert np.isclose(error_of(np.array([[5.0, 0.03]]), np.array([1.0])), 4)


# src/topics/notebooks/06-lstm-from-scratch.py:665
def test_latest_flagged_and_sigmoid():
    X = flagged(2, 50, 9, np.random.default_rng(6))
    for x, y in zip(X.reshape(-1, 9, 2), latest_flagged(X).ravel()):
        assert y == [v for v, m in x if m][-1]
    assert np.allclose(sigmoid(np.array([-900, 0, 900.0])), [0, 0.5, 1])
    z = np.linspace(-5, 5, 11)
    expected = torch.sigmoid(torch.from_numpy(z))
    np.testing.assert_allclose(sigmoid(z), expected, atol=1e-14)


# src/topics/notebooks/06-lstm-from-scratch.py:691
def test_latch():
    rng = np.random.default_rng(7)
    for chance in (0.02, 0.3):
        events = rng.choice(3, size=(4, 500), p=[1 - 2 * chance, chance, chance])
        X = np.stack([events == 1, events == 2], axis=-1).astype(float)
        H = lstm_forward(X, latch())[0][..., 0]
        for b in range(4):
            on = False
            for t in range(500):
                on = on if events[b, t] == 0 else events[b, t] == 1
                assert H[b, t] > 0.7 if on else abs(H[b, t]) < 0.1


# src/topics/notebooks/06-lstm-from-scratch.py:786
def test_arriving():
    rng = np.random.default_rng(8)
    P, X = random_lstm(3, 4, 1.0, rng, (2,)), rng.normal(size=(2, 1, 5, 3))
    H, C, trace = lstm_forward(X, P)
    shares = arriving(lambda dH: lstm_backward(dH, X, H, C, trace, P), H,
                      np.random.default_rng(9))
    top = np.random.default_rng(9).normal(size=(2, 1, 4))
    W = {name: torch.from_numpy(value[1]) for name, value in P.items()}
    x = torch.from_numpy(X[1, 0]).requires_grad_()
    h = c = torch.zeros(4, dtype=torch.float64)
    for t in range(5):
        i, f, g, o = (x[t] @ W["W_x"] + h @ W["W_h"] + W["b"]).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    (h * torch.from_numpy(top[1, 0])).sum().backward()
    norms = x.grad.norm(dim=1).numpy()[::-1]
    assert shares.shape == (2, 5)
    np.testing.assert_allclose(shares[1], norms / norms[0], atol=1e-12)


# src/topics/notebooks/06-lstm-from-scratch.py:823
def test_along_the_cell():
    rng = np.random.default_rng(10)
    P, X = random_lstm(3, 4, 1.0, rng), rng.normal(size=(2, 6, 3))
    no_matrix = P | {"W_h": np.zeros((4, 16))}  # then the cell is the only way
    c0 = rng.normal(size=(2, 4))
    _, C, trace = lstm_forward(X, no_matrix, np.zeros((2, 4)), c0)
    assert (along_the_cell(trace, 6) == 1).all()
    nudge = lstm_forward(X, no_matrix, np.zeros((2, 4)), c0 + 1.0)[1]
    np.testing.assert_allclose(along_the_cell(trace, 0), nudge[:, -1] - C[:, -1])
    np.testing.assert_allclose(along_the_cell(trace, 4),
                               (nudge[:, -1] - C[:, -1]) / (nudge[:, 3] - C[:, 3]))


# src/topics/notebooks/06-lstm-from-scratch.py:900
def test_lstm_training_is_torchs():
    rng = np.random.default_rng(11)
    P = with_readout(random_lstm(2, 4, 1.0, rng, (2,)), rng, np.float64)
    check_training(run_lstm, P, lambda: nn.LSTM(2, 4, batch_first=True).double())


# src/topics/notebooks/06-lstm-from-scratch.py:906
def test_gradients_of_the_readout():
    rng = np.random.default_rng(12)
    cells = (run_tanh, random_tanh(2, 3, rng)), (run_lstm, random_lstm(2, 3, 1, rng))
    for run, P in cells:
        P = with_readout(P, rng, np.float64)
        X = flagged(1, 4, 5, rng)[0]
        y = latest_flagged(X)
        _, G = loss_and_gradients(run, P, X, y)
        for name, W in P.items():
            slope = nudged(lambda: float(loss_and_gradients(run, P, X, y)[0]), W)
            np.testing.assert_allclose(G[name], slope, atol=1e-8)


# src/topics/notebooks/06-lstm-from-scratch.py:934
def test_matching_width():
    for d_in, d in ((2, 16), (64, 96), (7, 3), (1, 1)):
        def size(cell):
            return sum(p.numel() for n, p in cell.named_parameters()
                       if n != "bias_hh_l0")

        target = size(nn.LSTM(d_in, d))
        found = abs(size(nn.RNN(d_in, matching_width(d_in, d))) - target)
        others = [abs(size(nn.RNN(d_in, w)) - target) for w in range(1, 4 * d + 2)]
        assert found == min(others)
    assert matching_width(2, 16) == 33


# src/topics/notebooks/06-lstm-from-scratch.py:1058
def test_without_gates():
    rng = np.random.default_rng(19)
    P = with_readout(without_gates(3, 2, rng), rng)
    start = {name: W.copy() for name, W in P.items()}
    train(run_lstm, P, np.full(8, 0.03), 6, 3)
    X = flagged(8, 2, 6, rng).astype(np.float32)
    _, _, trace = lstm_forward(X, P)
    for k, quarter in enumerate(REMOVED.values()):
        for j in (0, 1, 3):
            gate = np.array([step[j] for step in trace[1:]])[:, 2 * k : 2 * k + 2]
            assert (gate == 1).all() == (j == quarter)
            same = (P["W_h"] == start["W_h"])[2 * k : 2 * k + 2, :, 3 * j : 3 * j + 3]
            assert same.all() == (j == quarter)


# src/topics/notebooks/06-lstm-from-scratch.py:1158
def test_gru_is_torchs():
    rng = np.random.default_rng(15)
    for case in range(24):
        S, B, T, d_in, d = random_sizes(rng, 5)
        P = random_gru(d_in, d, rng, (S,))
        P |= {name: rng.normal(size=P[name].shape) for name in ("b", "b_h")}
        X, h0 = rng.normal(size=(S, B, T, d_in)), rng.normal(size=(S, B, d))
        X, dH = X * (1e3 if case == 0 else 1), rng.normal(size=(S, B, T, d))
        H, trace = gru_forward(X, P, h0)
        dX, dh0, dP = gru_backward(dH, X, H, trace, P)
        s = S - 1
        gru = nn.GRU(d_in, d, batch_first=True).double()
        with torch.no_grad():
            gru.weight_ih_l0.copy_(torch.from_numpy(P["W_x"][s].T))
            gru.weight_hh_l0.copy_(torch.from_numpy(P["W_h"][s].T))
            gru.bias_ih_l0.copy_(torch.from_numpy(P["b"][s]))
            gru.bias_hh_l0.copy_(torch.from_numpy(P["b_h"][s]))
        x, h = (torch.from_numpy(a).requires_grad_() for a in (X[s], h0[s][None]))
        want = gru(x, h)[0]
        want.backward(torch.from_numpy(dH[s]))
        pairs = [(H[s], want.detach()), (dX[s], x.grad), (dh0[s], h.grad[0]),
                 (dP["W_x"][s], gru.weight_ih_l0.grad.T),
                 (dP["W_h"][s], gru.weight_hh_l0.grad.T),
                 (dP["b"][s], gru.bias_ih_l0.grad), (dP["b_h"][s], gru.bias_hh_l0.grad)]
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-11)
    assert np.array_equal(gru_forward(X, P)[0], gru_forward(X, P, np.zeros_like(h0))[0])


# src/topics/notebooks/06-lstm-from-scratch.py:1205
def test_gru_step_2014():
    rng = np.random.default_rng(16)
    for _ in range(20):
        B, d_in, d = random_sizes(rng, 3)
        P = random_gru(d_in, d, rng)
        P["b"] = rng.normal(size=3 * d)
        x, h = rng.normal(size=(B, d_in)), rng.normal(size=(B, d))
        new = gru_step_2014(x, h, P)
        for n in range(B):
            z = [x[n] @ P["W_x"][:, k] + h[n] @ P["W_h"][:, k] + P["b"][k]
                 for k in range(2 * d)]
            r = [1 / (1 + np.exp(-value)) for value in z]
            for k in range(d):
                held = sum(r[j] * h[n, j] * P["W_h"][j, 2 * d + k] for j in range(d))
                g = np.tanh(x[n] @ P["W_x"][:, 2 * d + k] + P["b"][2 * d + k] + held)
                assert np.isclose(new[n, k], r[d + k] * h[n, k] + (1 - r[d + k]) * g)
        diagonal = P["W_h"].copy()
        diagonal[:, 2 * d :] *= np.eye(d)  # then the order does not matter
        same = P | {"W_h": diagonal}
        want = gru_forward(x[:, None], same, h)[0][:, 0]
        np.testing.assert_allclose(gru_step_2014(x, h, same), want)


# src/topics/notebooks/06-lstm-from-scratch.py:1502
def test_counting():
    rng = np.random.default_rng(17)
    known, asked = rng.integers(3, size=60), rng.integers(3, size=25)
    losses, stored = counting(known, asked, 3, beta=2.0, K=3)
    p = {}
    for t in range(2, 25):
        q = 1 / 3
        for n in (1, 2, 3):
            gram = list(asked[t - n + 1 : t + 1])
            windows = [list(known[k : k + n]) for k in range(60 - n + 1)]
            pairs = windows.count(gram)
            contexts = sum(w[:-1] == gram[:-1] for w in windows)
            q = (pairs + 2 * q) / (contexts + 2)
            p.setdefault(n, []).append(q)
    for n in (1, 2, 3):
        assert np.isclose(losses[n - 1], -np.mean(np.log(p[n])))
    grams = [{tuple(known[k : k + n]) for k in range(60 - n + 1)} for n in (1, 2, 3)]
    assert stored == list(np.cumsum([len(g) for g in grams]))


# src/topics/notebooks/06-lstm-from-scratch.py:1522
def test_character_model():
    for kind in ("LSTM", "RNN"):
        torch.manual_seed(0)
        model = CharModel(kind, 5)
        ids = torch.randint(64, (2, 7))
        whole, _ = model(ids)
        first, state = model(ids[:, :3])
        rest, _ = model(ids[:, 3:], state)
        assert whole.shape == (2, 7, 64)
        torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    W = model.cell.weight_hh_l0
    torch.testing.assert_close(W @ W.T, torch.eye(5))
    assert (CharModel("LSTM", 3).cell.bias_ih_l0[3:6] == 1).all()
    inputs, targets = side_by_side(torch.arange(30), 4)
    assert inputs.shape == (4, 7) and torch.equal(targets, inputs + 1)
    assert inputs[1, 0] == 7


# src/topics/notebooks/06-lstm-from-scratch.py:1647
def test_what_is_tracked():
    text = "ab\ncde\n\nQ X:\nAh: no"
    assert place_in_word(text).tolist() == [1, 2, 0, 1, 2, 3, 0, 0, 1, 0, 1, 0, 0,
                                            1, 2, 0, 0, 1, 2]
    assert place_in_word("isn't, so").tolist() == [1, 2, 3, 4, 4, 0, 0, 1, 2]
    assert in_name(text).tolist() == [0] * 8 + [1] * 4 + [0] * 7


# src/topics/notebooks/06-lstm-from-scratch.py:1655
def test_numpy_weights():
    torch.manual_seed(1)
    layer = nn.LSTM(4, 3, batch_first=True)
    x = torch.randn(2, 5, 4)
    ours = lstm_forward(x.double().numpy(), numpy_weights(layer))[0]
    np.testing.assert_allclose(ours, layer(x)[0].detach(), atol=1e-5)


# src/topics/notebooks/06-lstm-from-scratch.py:1680
def test_run_cut():
    rng = np.random.default_rng(18)
    P, X = random_lstm(2, 3, 1.0, rng), rng.normal(size=(2, 4, 2))
    dH = np.zeros((2, 4, 3))
    dH[:, -1] = rng.normal(size=(2, 3))
    H, back = run_cut(X, P)
    W = {name: torch.from_numpy(value).requires_grad_() for name, value in P.items()}
    h = c = torch.zeros(2, 3, dtype=torch.float64)
    for t in range(4):
        z = torch.from_numpy(X[:, t]) @ W["W_x"] + h.detach() @ W["W_h"] + W["b"]
        i, f, g, o = z.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    (h * torch.from_numpy(dH[:, -1])).sum().backward()
    np.testing.assert_allclose(H[:, -1], h.detach(), atol=1e-13)
    for name, gradient in back(dH).items():
        np.testing.assert_allclose(gradient, W[name].grad, atol=1e-12)
