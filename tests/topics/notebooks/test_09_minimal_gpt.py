# Generated from src/topics/notebooks/09-minimal-gpt.py: edit that file, then run doit. digest:7e3fd70c6bbe8b87

"""Tests of notebooks/09-minimal-gpt: A minimal GPT."""

import numpy as np
import time
import torch
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from torch import nn
from torch.nn import functional as F


# src/topics/notebooks/09-minimal-gpt.py:67
VOCAB = 64


# src/topics/notebooks/09-minimal-gpt.py:70
def encode(text: str, characters: str) -> torch.Tensor:
    """Ids (n,), each a character's place in `characters`."""
    place = {character: i for i, character in enumerate(characters)}
    return torch.tensor([place[character] for character in text])


# src/topics/notebooks/09-minimal-gpt.py:101
def counted(
    known: np.ndarray, asked: np.ndarray, n_max: int, beta: float
) -> list[np.ndarray]:
    """Probabilities of each id of `asked`, from counts in `known`, for n = 0 to n_max.

    An id with fewer than n - 1 before it keeps its probability of a smaller n.
    """

    def occurrences(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
        names, counts = np.unique(table, return_counts=True)
        at = np.searchsorted(names, codes).clip(max=len(names) - 1)
        return np.where(names[at] == codes, counts[at], 0)

    p = [np.full(len(asked), 1 / VOCAB)]
    for n in range(1, n_max + 1):
        powers = VOCAB ** np.arange(n)[::-1]  # n ids become one number
        table, codes = (np.lib.stride_tricks.sliding_window_view(x, n) @ powers
                        for x in (known, asked))
        shorter = p[-1][n - 1 :]
        longer = (occurrences(table, codes) + beta * shorter) / (
            occurrences(table // VOCAB, codes // VOCAB) + beta)
        p.append(np.concatenate([p[-1][: n - 1], longer]))
    return p


# src/topics/notebooks/09-minimal-gpt.py:198
@dataclass(frozen=True)
class Config:
    """Everything that decides the shapes; the defaults are this notebook's model."""

    vocab: int = 64
    context: int = 64
    d: int = 128
    layers: int = 4
    heads: int = 4


# src/topics/notebooks/09-minimal-gpt.py:209
class Block(nn.Module):
    """Pre-norm block of GPT-2. `bend` and `prepare` are places for later changes."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.heads = c.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(c.d), nn.LayerNorm(c.d)
        self.q, self.k, self.v, self.o = (nn.Linear(c.d, c.d) for _ in range(4))
        self.up, self.down = nn.Linear(c.d, 4 * c.d), nn.Linear(4 * c.d, c.d)
        self.bend: nn.Module = nn.GELU(approximate="tanh")
        self.prepare: nn.Module = nn.Identity()  # what happens to queries and keys

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, d) to (B, T, d): each token reads itself and earlier ones."""
        B, T, d = x.shape
        Q, K, V = (layer(x).view(B, T, self.heads, d // self.heads).transpose(1, 2)
                   for layer in (self.q, self.k, self.v))  # each (B, H, T, d_k)
        Q, K = self.prepare(Q), self.prepare(K)
        O = F.scaled_dot_product_attention(Q, K, V, is_causal=True)
        return self.o(O.transpose(1, 2).reshape(B, T, d))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """The stream h (B, T, d), with two additions."""
        h = h + self.attend(self.norm_1(h))
        return h + self.down(self.bend(self.up(self.norm_2(h))))


# src/topics/notebooks/09-minimal-gpt.py:236
class GPT(nn.Module):
    """GPT-2 with tied embeddings: ids (B, T) to logits (B, T, vocab)."""

    def __init__(self, c: Config, seed: int) -> None:
        super().__init__()
        self.c = c
        self.E, self.E_pos = nn.Embedding(c.vocab, c.d), nn.Embedding(c.context, c.d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm: nn.Module = nn.LayerNorm(c.d)
        g = torch.Generator().manual_seed(seed)
        for name, w in self.named_parameters():
            if w.dim() == 2:
                writes = name.endswith(("o.weight", "down.weight"))
                std = 0.02 / (2 * c.layers) ** 0.5 if writes else 0.02
                nn.init.normal_(w, std=std, generator=g)
            elif name.endswith("bias"):
                nn.init.zeros_(w)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.E(ids)
        if self.E_pos is not None:
            h = h + self.E_pos.weight[: ids.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.norm(h) @ self.E.weight.T


# src/topics/notebooks/09-minimal-gpt.py:272
def count(c: Config) -> int:
    """Parameters of the plain model."""
    return (c.vocab + c.context) * c.d + c.layers * (12 * c.d**2 + 13 * c.d) + 2 * c.d


# src/topics/notebooks/09-minimal-gpt.py:288
def random_model(rng: np.random.Generator) -> tuple[GPT, torch.Tensor]:
    """A float64 model of random shape with no zero weight, and ids for it."""
    heads, d_k, vocab = (int(n) for n in rng.integers(1, 5, size=3))
    layers, context = (int(n) for n in rng.integers(1, 7, size=2))
    c = Config(vocab + 1, context, 2 * heads * d_k, layers, heads)
    model = GPT(c, int(rng.integers(1000))).double()
    with torch.no_grad():
        for w in model.parameters():
            w += 0.2 * torch.from_numpy(rng.normal(size=tuple(w.shape)))
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, context + 1)))
    return model, torch.from_numpy(rng.integers(vocab + 1, size=shape))


# src/topics/notebooks/09-minimal-gpt.py:358
def windows(ids: torch.Tensor, T: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets (n, T), side by side; a last incomplete window is left out."""
    n = (len(ids) - 1) // T
    return ids[: n * T].view(n, T), ids[1 : n * T + 1].view(n, T)


# src/topics/notebooks/09-minimal-gpt.py:364
@torch.no_grad()
def losses(model: nn.Module, X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Loss (n, T) of every prediction in nats, 64 windows at a time."""
    parts = [F.cross_entropy(model(x).transpose(1, 2), y, reduction="none")
             for x, y in zip(X.split(64), Y.split(64))]
    return torch.cat(parts)


# src/topics/notebooks/09-minimal-gpt.py:372
def input_gradients(model: GPT, ids: torch.Tensor) -> torch.Tensor:
    """Size (T, T) of the gradient of output t (row) by the embedding of input s."""
    seen: list[torch.Tensor] = []

    def keep(layer: nn.Module, args: tuple, out: torch.Tensor) -> torch.Tensor:
        seen.append(out.detach().requires_grad_())
        return seen[0]

    hook = model.E.register_forward_hook(keep)
    logits = model(ids[None])[0]
    hook.remove()
    rows = [torch.autograd.grad(row.square().sum(), seen[0], retain_graph=True)[0][0]
            for row in logits]
    return torch.stack([row.norm(dim=-1) for row in rows])


# src/topics/notebooks/09-minimal-gpt.py:475
@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the plain recipe."""

    changes: tuple[Callable[[GPT], None], ...] = ()
    lr: float = 1e-3  # the peak, for AdamW
    cosine: bool = True  # to a tenth of the peak; otherwise linearly to zero
    muon: float = 0.0  # the peak for the matrices of the blocks; 0: AdamW takes them
    batch: int = 12


# src/topics/notebooks/09-minimal-gpt.py:486
def share_of_peak(step: int, steps: int, cosine: bool) -> float:
    """Warm-up over the first twentieth of the steps, then decay."""
    warm = steps // 20
    if step < warm:
        return (step + 1) / warm
    left = (steps - step) / (steps - warm)  # from 1 to 0
    return 0.55 - 0.45 * np.cos(np.pi * left) if cosine else left


# src/topics/notebooks/09-minimal-gpt.py:495
def optimizers(model: GPT, r: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices of the blocks."""
    matrices = [w for w in model.blocks.parameters() if w.dim() == 2]
    tables = [w for w in (model.E, model.E_pos) if w is not None]
    tables = [w.weight for w in tables]
    vectors = [w for w in model.parameters() if w.dim() == 1]
    groups = [{"params": tables + vectors, "weight_decay": 0.0}]
    if not r.muon:
        groups.append({"params": matrices, "weight_decay": 0.1})
    adam = torch.optim.AdamW(groups, lr=r.lr, betas=(0.9, 0.99), fused=True)
    if not r.muon:
        return [adam]
    return [adam, torch.optim.Muon(matrices, lr=r.muon, weight_decay=0.1)]


# src/topics/notebooks/09-minimal-gpt.py:510
def train(
    data: torch.Tensor,
    r: Recipe,
    steps: int,
    seed: int,
    c: Config = Config(),
    watch: Callable[[int, GPT], None] = lambda step, model: None,
) -> tuple[GPT, list[float]]:
    """A model trained on ids `data`, and the loss of every step."""
    model, history = GPT(c, seed), []
    for change in r.changes:
        change(model)
    opts = optimizers(model, r)
    peaks = [[group["lr"] for group in opt.param_groups] for opt in opts]
    g = torch.Generator().manual_seed(seed)
    for step in range(steps):
        watch(step, model)
        starts = torch.randint(len(data) - c.context, (r.batch, 1), generator=g)
        ids = data[starts + torch.arange(c.context + 1)]  # (B, T + 1)
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt, peak in zip(opts, peaks):
            for group, lr in zip(opt.param_groups, peak):
                group["lr"] = lr * share_of_peak(step, steps, r.cosine)
            opt.step()
        history.append(loss.item())
    watch(steps, model)
    return model, history


# src/topics/notebooks/09-minimal-gpt.py:549
@torch.no_grad()
def generate(
    model: GPT, ids: list[int], n: int, temperature: float = 1.0, seed: int = 0
) -> list[int]:
    """`ids` and n more, each drawn given the last `context`; 0 takes the likeliest."""
    g, ids = torch.Generator().manual_seed(seed), list(ids)
    for _ in range(n):
        logits = model(torch.tensor([ids[-model.c.context :]]))[0, -1]
        if temperature == 0:
            ids.append(int(logits.argmax()))
        else:
            p = torch.softmax(logits / temperature, dim=-1)
            ids.append(int(torch.multinomial(p, 1, generator=g)))
    return ids


# src/topics/notebooks/09-minimal-gpt.py:639
def units(loss: float, n: int) -> tuple[float, float, int]:
    """Bits a character, perplexity, bytes for n characters (rounded up)."""
    bits = loss / np.log(2)
    return bits, np.exp(loss), int(np.ceil(n * bits / 8))


# src/topics/notebooks/09-minimal-gpt.py:661
def training_cost(N: int, batch: int, T: int, steps: int) -> tuple[int, int]:
    """Tokens seen, floating-point operations."""
    D = batch * T * steps
    return D, 6 * N * D


# src/topics/notebooks/09-minimal-gpt.py:695
class Rotate(nn.Module):
    """RoPE, half-split pairs: x (..., T, d_k), positions 0 to T - 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        T, half = x.shape[-2], x.shape[-1] // 2
        theta = 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
        angle = torch.outer(torch.arange(T, dtype=x.dtype), theta)  # (T, half)
        cos, sin, a, b = angle.cos(), angle.sin(), x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


# src/topics/notebooks/09-minimal-gpt.py:706
class UnitRMS(nn.Module):
    """Each vector of x (..., d) divided by its root mean square; no gains."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=1e-5)


# src/topics/notebooks/09-minimal-gpt.py:713
class ReLUSquared(nn.Module):
    """max(z, 0)^2."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return F.relu(z).square()


# src/topics/notebooks/09-minimal-gpt.py:720
def rope(model: GPT) -> None:
    """No table of positions; queries and keys are turned by theirs."""
    model.E_pos = None
    for block in model.blocks:
        block.prepare = nn.Sequential(block.prepare, Rotate())


# src/topics/notebooks/09-minimal-gpt.py:727
def lean(model: GPT) -> None:
    """RMSNorm in place of LayerNorm, and no biases."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.bias = None
    model.norm = nn.RMSNorm(model.c.d, eps=1e-5)
    for block in model.blocks:
        block.norm_1 = nn.RMSNorm(model.c.d, eps=1e-5)
        block.norm_2 = nn.RMSNorm(model.c.d, eps=1e-5)


# src/topics/notebooks/09-minimal-gpt.py:738
def qk_norm(model: GPT) -> None:
    """Queries and keys get a root mean square of one."""
    for block in model.blocks:
        block.prepare = nn.Sequential(UnitRMS(), block.prepare)


# src/topics/notebooks/09-minimal-gpt.py:744
def relu_squared(model: GPT) -> None:
    """max(z, 0)^2 in place of GELU."""
    for block in model.blocks:
        block.bend = ReLUSquared()


# src/topics/notebooks/09-minimal-gpt.py:750
def zero_outputs(model: GPT) -> None:
    """Every block starts by adding nothing."""
    for block in model.blocks:
        nn.init.zeros_(block.o.weight)
        nn.init.zeros_(block.down.weight)


# src/topics/notebooks/09-minimal-gpt.py:863
def newton_schulz(G: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """About the nearest matrix to G (rows, columns) whose singular values are all 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = G.shape[0] <= G.shape[1]
    X = G if wide else G.T
    X = X / X.norm().clamp(min=1e-7)
    for _ in range(rounds):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X if wide else X.T


# src/topics/notebooks/09-minimal-gpt.py:956
def muon_step(
    W: torch.Tensor, G: torch.Tensor, M: torch.Tensor, lr: float,
    decay: float = 0.1, mu: float = 0.95,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The new W (rows, columns) and the new momentum; nothing is changed in place."""
    M = mu * M + G
    scale = max(1.0, W.shape[0] / W.shape[1]) ** 0.5
    return (1 - lr * decay) * W - lr * scale * newton_schulz(G + mu * M), M


# src/topics/notebooks/09-minimal-gpt.py:1001
class SwiGLU(nn.Module):
    """z (..., 2 m) to SiLU of its first half times its second half."""
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        gate, value = z.chunk(2, dim=-1)
        return F.silu(gate) * value


# src/topics/notebooks/09-minimal-gpt.py:1011
def swiglu(model: GPT) -> None:
    """SwiGLU of about the same size, without biases."""
    d = model.c.d
    m = 8 * d // 3
    for block in model.blocks:
        block.up = nn.Linear(d, 2 * m, bias=False)
        block.down = nn.Linear(m, d, bias=False)
        block.bend = SwiGLU()
        nn.init.normal_(block.up.weight, std=0.02)
        nn.init.normal_(block.down.weight, std=0.02 / (2 * model.c.layers) ** 0.5)


# src/topics/notebooks/09-minimal-gpt.py:1054
def ladder() -> dict[str, Recipe]:
    """Each rung keeps all choices of the rungs before it; then a control."""
    changes = (rope, lean, qk_norm, relu_squared, zero_outputs)
    rungs = {"plain": Recipe(), "bold rate": Recipe(lr=3e-3, cosine=False)}
    for i, change in enumerate(changes):
        rungs[change.__name__] = Recipe(changes[: i + 1], lr=3e-3, cosine=False)
    rungs["muon"] = Recipe(changes, lr=3e-3, cosine=False, muon=0.02)
    rungs["muon alone"] = Recipe(lr=3e-3, cosine=False, muon=0.02)
    return rungs


# src/topics/notebooks/09-minimal-gpt.py:1065
def run_grid(
    train_ids: torch.Tensor, val_ids: torch.Tensor, runs: list[tuple[str, int, int]]
) -> dict[tuple[str, int, int], tuple[float, int]]:
    """Validation loss and CPU seconds of training for runs (rung, steps, seed)."""
    grid = {}
    for name, steps, seed in runs:
        start = time.process_time()
        model, _ = train(train_ids, ladder()[name], steps, seed)
        seconds = time.process_time() - start
        loss = losses(model, *windows(val_ids, 64)).mean().item()
        grid[name, steps, seed] = (round(loss, 4), round(seconds))
        print(name, steps, seed, *grid[name, steps, seed], flush=True)
    return grid


# src/topics/notebooks/09-minimal-gpt.py:1235
def leave_one_out() -> dict[str, Recipe]:
    """The last rung without one of its changes, for each of the five."""
    top = ladder()["muon"]
    return {left.__name__: Recipe(tuple(c for c in top.changes if c is not left),
                                  top.lr, top.cosine, top.muon, top.batch)
            for left in top.changes}


# src/topics/notebooks/09-minimal-gpt.py:159
def test_counted_against_a_dictionary():
    rng = np.random.default_rng(0)
    for _ in range(20):
        known = rng.integers(4, size=int(rng.integers(5, 60)))
        asked = rng.integers(5, size=int(rng.integers(1, 20)))  # 4 was never seen
        n_max, beta = int(rng.integers(1, 5)), rng.uniform(0.1, 9)
        got = counted(known, asked, min(n_max, len(asked)), beta)
        grams = Counter(tuple(known[i:j]) for i in range(len(known))
                        for j in range(i + 1, min(i + n_max, len(known)) + 1))
        for t in range(len(asked)):
            p = 1 / VOCAB
            for n in range(1, len(got)):
                if n - 1 <= t:
                    gram = tuple(asked[t - n + 1 : t + 1])
                    before = sum(grams[gram[:-1] + (y,)] for y in range(5))
                    p = (grams[gram] + beta * p) / (before + beta)
                assert abs(got[n][t] - p) < 1e-12


# src/topics/notebooks/09-minimal-gpt.py:178
def test_encode():
    assert encode("cab", "abc").tolist() == [2, 0, 1]


# src/topics/notebooks/09-minimal-gpt.py:301
def test_model_matches_transformers():
    from transformers import GPT2Config, GPT2LMHeadModel

    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, ids = random_model(rng)
        c = ours.c
        assert sum(w.numel() for w in ours.parameters()) == count(c)
        theirs = GPT2LMHeadModel(GPT2Config(
            vocab_size=c.vocab, n_positions=c.context, n_embd=c.d, n_layer=c.layers,
            n_head=c.heads, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)).double()
        body = theirs.transformer
        pairs = [(body.wte, ours.E), (body.wpe, ours.E_pos), (body.ln_f, ours.norm)]
        with torch.no_grad():
            for one, block in zip(body.h, ours.blocks):
                for name in ("weight", "bias"):
                    parts = [getattr(x, name).t() for x in (block.q, block.k, block.v)]
                    getattr(one.attn.c_attn, name).copy_(torch.cat(parts, dim=-1))
                ffn = one.mlp
                for conv, layer in [(one.attn.c_proj, block.o), (ffn.c_fc, block.up),
                                    (ffn.c_proj, block.down)]:
                    conv.weight.copy_(layer.weight.T)
                    conv.bias.copy_(layer.bias)
                pairs += [(one.ln_1, block.norm_1), (one.ln_2, block.norm_2)]
            for module, own in pairs:
                module.load_state_dict(own.state_dict())
        for model in (ours, theirs):
            logits = model(ids) if model is ours else model(ids).logits
            model.result = logits.detach()
            logits.square().mean().backward()
        torch.testing.assert_close(ours.result, theirs.result, atol=1e-11, rtol=1e-9)
        for one, own in pairs:
            torch.testing.assert_close(one.weight.grad, own.weight.grad, atol=1e-10,
                                       rtol=1e-8)


# src/topics/notebooks/09-minimal-gpt.py:337
def test_first_weights():
    model = GPT(Config(layers=2), seed=3)
    assert torch.equal(model.E.weight, GPT(Config(layers=2), seed=3).E.weight)
    for block in model.blocks:
        for layer in (block.q, block.k, block.v, block.up):
            assert abs(layer.weight.std().item() - 0.02) < 1e-3
        for layer in (block.o, block.down):
            assert abs(layer.weight.std().item() - 0.01) < 5e-4 and not layer.bias.any()


# src/topics/notebooks/09-minimal-gpt.py:424
def test_windows():
    for n, T in [(2, 1), (9, 4), (10, 3), (65, 64), (200, 7)]:
        X, Y = windows(torch.arange(n), T)
        assert X.shape == Y.shape == ((n - 1) // T, T)
        assert torch.equal(Y, X + 1)
        assert X.flatten().tolist() == list(range((n - 1) // T * T))


# src/topics/notebooks/09-minimal-gpt.py:432
def test_losses():
    rng = np.random.default_rng(1)
    for _ in range(20):
        model, ids = random_model(rng)
        targets = ids.flip(0, 1)
        p = torch.softmax(model(ids), dim=-1).gather(2, targets[..., None])[..., 0]
        got = losses(model, ids, targets)
        torch.testing.assert_close(got, -p.log().detach(), atol=1e-10, rtol=1e-9)
    many = torch.zeros(130, 1, dtype=torch.long)
    assert losses(model, many, many).shape == (130, 1)


# src/topics/notebooks/09-minimal-gpt.py:444
def test_nothing_leaks_from_the_future():
    rng = np.random.default_rng(2)
    for _ in range(20):
        model, ids = random_model(rng)
        G = input_gradients(model, ids[0])
        assert G.shape == (ids.shape[1],) * 2
        assert not G.triu(diagonal=1).any() and (G.diagonal() > 0).all()
        logits = model(ids[:1])[0]  # against a difference quotient, one direction
        s = int(rng.integers(ids.shape[1]))
        with torch.no_grad():
            old, step = model.E.weight[ids[0, s]].clone(), 1e-6
            only = (ids[0] == ids[0, s]).sum() == 1
            head, model.E.weight[ids[0, s]] = model.E.weight.clone(), old + step
            h = model.E(ids[:1]) + model.E_pos.weight[: ids.shape[1]]
            for block in model.blocks:
                h = block(h)
            moved = (model.norm(h) @ head.T)[0]
        if only:
            slope = (moved.square().sum(-1) - logits.square().sum(-1)).abs() / step
            bound = G[:, s] * model.c.d**0.5
            assert (slope <= bound * 1.01 + 1e-3).all()


# src/topics/notebooks/09-minimal-gpt.py:583
def test_share_of_peak():
    for steps in (20, 100, 2000):
        for cosine, end in ((True, 0.1), (False, 0.0)):
            share = [share_of_peak(step, steps, cosine) for step in range(steps + 1)]
            warm = steps // 20
            assert share[0] == 1 / warm and share[warm - 1] == 1
            assert share[warm] == 1 and abs(share[steps] - end) < 1e-12
            assert (np.diff(share[warm:]) < 0).all()
            assert abs(share_of_peak((steps + warm) // 2, steps, cosine)
                       - (1 + end) / 2) < 0.08


# src/topics/notebooks/09-minimal-gpt.py:595
def test_each_parameter_has_one_optimizer():
    for r, kinds in [(Recipe(), 1), (Recipe(muon=0.02), 2)]:
        model = GPT(Config(d=8, layers=2), 0)
        opts = optimizers(model, r)
        groups = [group for opt in opts for group in opt.param_groups]
        owned = [id(w) for group in groups for w in group["params"]]
        assert sorted(owned) == sorted(id(w) for w in model.parameters())
        assert len(opts) == kinds
        for group in groups:
            for w in group["params"]:
                decays = any(w is v for v in model.blocks.parameters()) and w.dim() == 2
                assert group["weight_decay"] == (0.1 if decays else 0.0)


# src/topics/notebooks/09-minimal-gpt.py:609
def test_train_learns_and_repeats():
    data = torch.arange(400) % 7
    c, seen = Config(7, 8, 16, 1, 2), []
    r = Recipe(lr=3e-2, batch=5)
    model, history = train(data, r, 80, 1, c, lambda step, model: seen.append(step))
    again, same = train(data, r, 80, 1, c)
    assert history == same and seen == list(range(81)) and len(history) == 80
    assert abs(history[0] - np.log(7)) < 0.1 and history[-1] < 0.2
    assert generate(model, [3, 4], 5, temperature=0) == [3, 4, 5, 6, 0, 1, 2]
    _, other = train(data, r, 3, 2, c)
    assert other[0] != history[0]


# src/topics/notebooks/09-minimal-gpt.py:622
def test_generate_draws_from_the_softmax():
    model = GPT(Config(5, 4, 8, 1, 2), 0)
    nn.init.normal_(model.E.weight, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        p = torch.softmax(model(torch.tensor([[3, 1, 2, 0]]))[0, -1] / 0.7, dim=-1)
    drawn = [generate(model, [4, 3, 1, 2, 0], 1, 0.7, seed)[-1] for seed in range(2000)]
    share = torch.bincount(torch.tensor(drawn), minlength=5) / 2000
    assert (share - p).abs().max() < 0.04
    assert len(generate(model, [1], 9)) == 10


# src/topics/notebooks/09-minimal-gpt.py:648
def test_units():
    bits, perplexity, size = units(np.log(64), 1000)
    assert abs(bits - 6) < 1e-12 and abs(perplexity - 64) < 1e-9 and size == 750
    assert units(np.log(2), 9)[2] == 2
    assert abs(units(1.65, 1)[0] - 2.380) < 1e-3  # the aim of this lab, in bits


# src/topics/notebooks/09-minimal-gpt.py:670
def test_training_cost():
    D, flops = training_cost(count(Config()), 12, 64, 2000)
    assert D == 1_536_000  # 1.5 times the training text
    assert 7.4e12 < flops < 7.6e12
    assert training_cost(175 * 10**9, 1, 2048, 146_484_375)[1] == 315 * 10**21  # GPT-3


# src/topics/notebooks/09-minimal-gpt.py:778
def test_rotate_matches_transformers():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import (
        LlamaRotaryEmbedding, apply_rotary_pos_emb)

    rng = np.random.default_rng(3)
    for _ in range(20):
        B, H, T, half = (int(n) for n in rng.integers(1, 7, size=4))
        config = LlamaConfig(hidden_size=2 * half * H, num_attention_heads=H)
        q = torch.from_numpy(rng.normal(size=(B, H, T, 2 * half)))
        cos, sin = LlamaRotaryEmbedding(config)(q, torch.arange(T)[None])
        expected, _ = apply_rotary_pos_emb(q, q, cos, sin)
        torch.testing.assert_close(Rotate()(q), expected, atol=2e-6, rtol=1e-5)


# src/topics/notebooks/09-minimal-gpt.py:793
def test_scores_see_distances_only():
    rng = np.random.default_rng(4)
    for _ in range(20):
        T, half = int(rng.integers(2, 9)), int(rng.integers(1, 7))
        q, k = torch.from_numpy(rng.normal(size=(2, 1, 2 * half))).unbind()
        S = Rotate()(q.expand(T, -1)) @ Rotate()(k.expand(T, -1)).T  # all tokens alike
        for i in range(1, T):
            torch.testing.assert_close(S[i, 1:], S[i - 1, :-1], atol=1e-10, rtol=0)
        both = [nn.Sequential(*pair)(q.expand(T, -1))
                for pair in ((Rotate(), UnitRMS()), (UnitRMS(), Rotate()))]
        torch.testing.assert_close(both[0], both[1], atol=1e-12, rtol=0)


# src/topics/notebooks/09-minimal-gpt.py:806
def test_changes():
    rng = np.random.default_rng(5)
    for _ in range(10):
        model, ids = random_model(rng)
        for change in (rope, lean, qk_norm, relu_squared):
            change(model)
        model.double()
        with torch.no_grad():
            block, x = model.blocks[0], model.E(ids)
            rms = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            for norm in (block.norm_1, block.norm_2, model.norm):
                torch.testing.assert_close(norm(x), rms, atol=1e-12, rtol=0)
            z = block.up(x)
            hidden = torch.where(z > 0, z * z, 0.0)
            torch.testing.assert_close(block.bend(z), hidden, atol=1e-12, rtol=0)
            q = block.prepare(torch.from_numpy(rng.normal(size=(1, 2, 3, 4))))
            torch.testing.assert_close(q.square().mean(-1), torch.ones_like(q[..., 0]),
                                       atol=1e-2, rtol=0)
        names = {name for name, _ in model.named_parameters()}
        assert not any("bias" in name or "pos" in name for name in names)
        if ids.shape[1] > 1:
            assert not input_gradients(model, ids[0]).triu(diagonal=1).any()
        zero_outputs(model)
        assert torch.equal(model.blocks[0](x), x)


# src/topics/notebooks/09-minimal-gpt.py:914
def test_newton_schulz_acts_on_singular_values():
    rng = np.random.default_rng(6)
    for _ in range(20):
        rows, columns, rounds = (int(n) for n in rng.integers(1, 8, size=3))
        size = 10 ** rng.uniform(-3, 3)
        G = size * torch.from_numpy(rng.normal(size=(rows, columns)))
        U, S, V = torch.linalg.svd(G, full_matrices=False)
        s = S / S.norm()
        for _ in range(rounds):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        got = newton_schulz(G, rounds)
        torch.testing.assert_close(got, U @ torch.diag(s) @ V, atol=1e-7, rtol=1e-6)


# src/topics/notebooks/09-minimal-gpt.py:928
def test_newton_schulz_is_torchs():
    from torch.optim import _muon

    rng = np.random.default_rng(8)
    for _ in range(20):  # within the 8 bits of bfloat16
        G = torch.from_numpy(rng.normal(size=rng.integers(2, 12, size=2)))
        coefficients = (3.4445, -4.7750, 2.0315)
        theirs = _muon._zeropower_via_newtonschulz(G, coefficients, 5, 1e-7)
        assert (newton_schulz(G) - theirs.double()).abs().max() < 0.06
    assert not newton_schulz(torch.zeros(2, 3)).any()


# src/topics/notebooks/09-minimal-gpt.py:969
def test_muon_step():
    from torch.optim import _muon

    rng, original = np.random.default_rng(7), _muon._zeropower_via_newtonschulz
    _muon._zeropower_via_newtonschulz = lambda G, abc, rounds, eps: newton_schulz(G)
    try:
        for _ in range(20):
            shape = tuple(int(n) for n in rng.permutation(np.arange(1, 9))[:2])
            W = torch.from_numpy(rng.normal(size=shape))
            M, theirs = torch.zeros_like(W), nn.Parameter(W.clone())
            ends = ((0.01, 0.2), (0, 0.5), (0.5, 0.9))
            lr, decay, mu = (rng.uniform(*pair) for pair in ends)
            opt = torch.optim.Muon([theirs], lr=lr, weight_decay=decay, momentum=mu)
            for _ in range(4):
                G = torch.from_numpy(rng.normal(size=shape))
                theirs.grad, old = G.clone(), (W.clone(), M.clone())
                before = W, M
                opt.step()
                W, M = muon_step(W, G, M, lr, decay, mu)
                assert all(torch.equal(x, y) for x, y in zip(before, old))
                torch.testing.assert_close(W, theirs.data, atol=1e-9, rtol=0)
    finally:
        _muon._zeropower_via_newtonschulz = original


# src/topics/notebooks/09-minimal-gpt.py:1026
def test_swiglu():
    model = GPT(Config(d=48, layers=2), 0)
    lean(model)
    before = sum(w.numel() for w in model.parameters())
    swiglu(model)
    assert abs(sum(w.numel() for w in model.parameters()) / before - 1) < 0.01
    x = torch.randn(2, 3, 48, generator=torch.Generator().manual_seed(0))
    for block in model.blocks:
        W_G, W_U = block.up.weight.T.chunk(2, dim=1)
        expected = (F.silu(x @ W_G) * (x @ W_U)) @ block.down.weight.T
        torch.testing.assert_close(block.down(block.bend(block.up(x))), expected)
        assert abs(block.down.weight.std().item() - 0.01) < 1e-3
        assert abs(block.up.weight.std().item() - 0.02) < 1e-3
        assert block.up.weight.shape == (256, 48)


# src/topics/notebooks/09-minimal-gpt.py:1193
def test_ladder():
    rungs = ladder()
    assert [len(r.changes) for r in rungs.values()] == [0, 0, 1, 2, 3, 4, 5, 5, 0]
    assert rungs["muon"].changes[:4] == rungs["relu_squared"].changes
    assert [r.muon for r in rungs.values()] == [0.0] * 7 + [0.02] * 2
    assert [r.lr for r in rungs.values()] == [1e-3] + [3e-3] * 8
    assert rungs["plain"] == Recipe((), 1e-3, True, 0.0, 12)
    assert [r.cosine for r in rungs.values()] == [True] + [False] * 8


# src/topics/notebooks/09-minimal-gpt.py:1203
def test_run_grid():
    text = torch.arange(900) % 7
    grid = run_grid(text[:700], text[700:], [("muon", 2, 0)])
    model, _ = train(text[:700], ladder()["muon"], 2, 0)
    loss = losses(model, *windows(text[700:], 64)).mean().item()
    assert list(grid) == [("muon", 2, 0)] and abs(grid["muon", 2, 0][0] - loss) < 1e-3
    assert 0 <= grid["muon", 2, 0][1] <= 3


# src/topics/notebooks/09-minimal-gpt.py:1246
def test_leave_one_out():
    top, designs = ladder()["muon"], leave_one_out()
    assert list(designs) == [c.__name__ for c in top.changes]
    for name, r in designs.items():
        assert [c.__name__ for c in r.changes] == [n for n in designs if n != name]
        assert (r.lr, r.cosine, r.muon, r.batch) == (top.lr, False, top.muon, top.batch)
