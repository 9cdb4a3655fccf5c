# Generated from src/topics/notebooks/10-fine-tuning-basics.py: edit that file, then run doit. digest:b3441e6b3e5fa559

"""Tests of notebooks/10-fine-tuning-basics: Fine-tuning basics."""

import copy
import numpy as np
import torch
from dataclasses import dataclass
from math import comb
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel


# src/topics/notebooks/10-fine-tuning-basics.py:63
def size(module: nn.Module) -> int:
    """Number of weights."""
    return sum(W.numel() for W in module.parameters())


# src/topics/notebooks/10-fine-tuning-basics.py:94
@dataclass
class Read:
    """What the frozen encoder makes of n texts."""

    ids: torch.Tensor  # (n, T) numbers of the tokens
    mask: torch.Tensor  # (n, T), 0 at padding
    states: list[torch.Tensor]  # L + 1 arrays (n, T, D): token vectors, then each layer


# src/topics/notebooks/10-fine-tuning-basics.py:116
def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over real tokens: hidden (B, T, D), mask (B, T), 0 at padding: (B, D)."""
    return (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


# src/topics/notebooks/10-fine-tuning-basics.py:135
def random_bert(seed: int, layers: int = 3, D: int = 8) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=50, hidden_size=D, num_hidden_layers=layers,
                        num_attention_heads=2, intermediate_size=4 * D,
                        max_position_embeddings=16)
    return BertModel(config).eval()


# src/topics/notebooks/10-fine-tuning-basics.py:143
def random_read(bert: BertModel, n: int, T: int, seed: int) -> "Read":
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(50, (n, T), generator=rng)
    lengths = torch.randint(1, T + 1, (n, 1), generator=rng)
    mask = (torch.arange(T)[None] < lengths).long()
    with torch.no_grad():
        out = bert(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    return Read(ids, mask, list(out.hidden_states))


# src/topics/notebooks/10-fine-tuning-basics.py:185
def layer_weights(D: int, k: int) -> int:
    """Weights of k BERT layers of width D, biases and norms included."""
    return k * (12 * D**2 + 13 * D)


# src/topics/notebooks/10-fine-tuning-basics.py:234
def nearest(E: torch.Tensor) -> torch.Tensor:
    """For each row of E (n, D), which other row has the largest cosine: (n,)."""
    S = F.normalize(E, dim=1) @ F.normalize(E, dim=1).T
    return S.fill_diagonal_(-2).argmax(dim=1)


# src/topics/notebooks/10-fine-tuning-basics.py:255
def plane(E: torch.Tensor) -> torch.Tensor:
    """The first two principal components of E (n, D): (n, 2)."""
    centred = E - E.mean(dim=0)
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    return U[:, :2] * S[:2]


# src/topics/notebooks/10-fine-tuning-basics.py:346
def found(E: torch.Tensor) -> float:
    """E (2m, D), rows i and m + i a pair: how often the nearest is the partner."""
    first, second = F.normalize(E, dim=1).chunk(2)
    S = first @ second.T  # (m, m) cosines
    partner = torch.arange(len(S))
    right = torch.cat([S.argmax(dim=1) == partner, S.argmax(dim=0) == partner])
    return right.float().mean().item()


# src/topics/notebooks/10-fine-tuning-basics.py:355
def fit_head(E: np.ndarray, y: np.ndarray, C: float,
             steps: int = 15) -> tuple[np.ndarray, float]:
    """w (D,) and b of logistic regression on E (n, D), y (n,) in {0, 1}, by Newton."""
    E1 = np.concatenate([E, np.ones((len(E), 1))], axis=1)
    penalty = np.append(np.full(E.shape[1], 1 / C), 0.0)
    w = np.zeros(E1.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-E1 @ w))
        gradient = E1.T @ (p - y) + penalty * w
        hessian = (E1 * (p * (1 - p))[:, None]).T @ E1 + np.diag(penalty)
        w = w - np.linalg.solve(hessian, gradient)
    return w[:-1], float(w[-1])


# src/topics/notebooks/10-fine-tuning-basics.py:520
class Tuned(nn.Module):
    """The top k layers of an encoder, copied, the mean, and a head with one logit."""

    def __init__(self, encoder: nn.Module, k: int, table: bool = False) -> None:
        super().__init__()
        layers = encoder.encoder.layer
        self.table = copy.deepcopy(encoder.embeddings) if table else None
        self.layers = copy.deepcopy(layers[len(layers) - k :])
        self.head = nn.Linear(encoder.config.hidden_size, 1)

    def vectors(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Sentence vectors (n, D) from the states below (n, T, D) or the ids (n, T)."""
        h = x if self.table is None else self.table(input_ids=x)
        hide = (1.0 - mask[:, None, None, :]) * -1e9  # added to the scores
        for layer in self.layers:
            h = layer(h, hide)
        return mean_pool(h, mask)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (n,): positive for praise."""
        return self.head(self.vectors(x, mask))[:, 0]


# src/topics/notebooks/10-fine-tuning-basics.py:543
def below(model: Tuned, texts: Read) -> torch.Tensor:
    """What the model takes as input: the cached states under its layers, or the ids."""
    if model.table is not None:
        return texts.ids
    return texts.states[-1 - len(model.layers)]


# src/topics/notebooks/10-fine-tuning-basics.py:550
def start(encoder: nn.Module, texts: Read, y: torch.Tensor, rows: torch.Tensor, k: int,
          seed: int, head_first: bool = True, table: bool = False,
          C: float | None = None) -> Tuned:
    """A model before tuning; head_first fits the head on the features of the rows.

    C is 5 / len(rows) unless you say otherwise, as in `head_score`.
    """
    torch.manual_seed(seed)
    model = Tuned(encoder, k, table)
    if head_first:
        E = mean_pool(texts.states[-1][rows], texts.mask[rows])
        w, b = fit_head(E.double().numpy(), y[rows].numpy(), C or 5 / len(rows))
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(w)[None])
            model.head.bias.fill_(b)
    return model


# src/topics/notebooks/10-fine-tuning-basics.py:594
def tune(model: Tuned, x: torch.Tensor, mask: torch.Tensor, y: torch.Tensor, steps: int,
         lr: float, seed: int, B: int = 16, keep: tuple | None = None,
         watch=None) -> list[float]:
    """AdamW on all of the model; the rate rises for a tenth of the steps, then falls.

    keep: (x, mask, vectors) of other texts whose vectors should stay as they are.
    """
    torch.manual_seed(seed)
    body = [W for name, W in model.named_parameters() if not name.startswith("head")]
    groups = [{"params": body, "lr": lr},
              {"params": model.head.parameters(), "lr": 1e-3}]
    adam = torch.optim.AdamW(groups, weight_decay=0.0)
    peaks, losses = [group["lr"] for group in adam.param_groups], []
    for step in range(steps):
        share = min(1, (step + 1) / (0.1 * steps)) * (1 - step / steps)
        for group, peak in zip(adam.param_groups, peaks):
            group["lr"] = peak * share
        if step * B % len(y) < B:  # a new epoch: a new order
            order = torch.randperm(len(y))
        rows = order[step * B % len(y) :][:B]
        model.train()
        loss = F.binary_cross_entropy_with_logits(model(x[rows], mask[rows]), y[rows])
        losses.append(loss.item())
        if keep is not None:
            old = torch.randint(len(keep[0]), (B,))
            new = model.vectors(keep[0][old], keep[1][old])
            loss = loss + 5 * (1 - F.cosine_similarity(new, keep[2][old])).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if watch is not None:
            watch(step + 1, model)
    return losses


# src/topics/notebooks/10-fine-tuning-basics.py:668
def random_task(seed: int):
    bert = random_bert(seed, layers=2)
    texts = random_read(bert, 48, 5, seed)
    E = mean_pool(texts.states[-1], texts.mask)
    y = (E[:, 0] > E[:, 0].median()).float()
    model = start(bert, texts, y, torch.arange(48), 2, seed)
    return texts, y, model, below(model, texts)


# src/topics/notebooks/10-fine-tuning-basics.py:900
def sign_test(right_a: np.ndarray, right_b: np.ndarray) -> float:
    """Two-sided p-value from two boolean arrays (n,); math.comb(m, i) helps."""
    a, b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    tail = sum(comb(a + b, i) for i in range(min(a, b) + 1)) / 2 ** (a + b)
    return min(1.0, 2 * tail)


# src/topics/notebooks/10-fine-tuning-basics.py:1112
def train_top(bert: nn.Module, k: int) -> int:
    """Sets requires_grad in all of bert; returns the number of trainable weights."""
    bert.requires_grad_(False)
    layers = bert.encoder.layer
    for layer in layers[len(layers) - k :]:
        layer.requires_grad_(True)
    return sum(W.numel() for W in bert.parameters() if W.requires_grad)


# src/topics/notebooks/10-fine-tuning-basics.py:1152
def between(start: nn.Module, end: nn.Module, a: float) -> nn.Module:
    """The model with weights start + a (end - start)."""
    model = copy.deepcopy(start)
    with torch.no_grad():
        for W, W1 in zip(model.parameters(), end.parameters()):
            W.lerp_(W1, a)
    return model


# src/topics/notebooks/10-fine-tuning-basics.py:1250
def layers_in_play(step: int, steps: int, L: int) -> int:
    """Number of top layers that train at step 0, ..., steps - 1."""
    return 1 + step * L // steps


# src/topics/notebooks/10-fine-tuning-basics.py:153
def test_mean_pool_ignores_padding():
    rng = torch.Generator().manual_seed(3)
    for _ in range(20):
        B, T, D = (int(i) for i in torch.randint(1, 6, (3,), generator=rng))
        hidden = torch.randn(B, T, D, generator=rng, dtype=torch.float64)
        lengths = torch.randint(1, T + 1, (B,), generator=rng)
        mask = (torch.arange(T)[None] < lengths[:, None]).long()
        for row, h, n in zip(mean_pool(hidden, mask), hidden, lengths):
            assert torch.allclose(row, h[:n].mean(dim=0))


# src/topics/notebooks/10-fine-tuning-basics.py:164
def test_size():
    assert size(nn.Linear(3, 4)) == 16 and size(nn.Embedding(5, 2)) == 10


# src/topics/notebooks/10-fine-tuning-basics.py:193
def test_layer_weights():
    for layers, D in ((1, 4), (2, 8), (3, 12)):
        assert layer_weights(D, layers) == size(random_bert(0, layers, D).encoder)
    assert layer_weights(384, 6) == 10_646_784


# src/topics/notebooks/10-fine-tuning-basics.py:275
def test_nearest_and_plane():
    rng = torch.Generator().manual_seed(1)
    for _ in range(20):
        n, D = int(torch.randint(3, 9, (1,), generator=rng)), 3
        E = torch.randn(n, D, generator=rng, dtype=torch.float64)
        for i, j in enumerate(nearest(E)):
            cosines = [F.cosine_similarity(E[i], E[m], dim=0) if m != i else -2
                       for m in range(n)]
            assert j == int(np.argmax(cosines))
        points = plane(E + 5)
        assert points.shape == (n, 2)
        assert torch.allclose(points.mean(dim=0), torch.zeros(2).double())
        largest = torch.linalg.eigvalsh((E - E.mean(0)).T @ (E - E.mean(0))).flip(0)[:2]
        assert torch.allclose((points**2).sum(dim=0), largest)


# src/topics/notebooks/10-fine-tuning-basics.py:411
def test_found():
    rng = torch.Generator().manual_seed(2)
    first = torch.eye(4, dtype=torch.float64)
    assert found(torch.cat([first, 3 * first])) == 1
    assert found(torch.cat([first, first.roll(1, dims=0)])) == 0
    for _ in range(20):
        m, D = (int(i) for i in torch.randint(2, 7, (2,), generator=rng))
        E = torch.randn(2 * m, D, generator=rng, dtype=torch.float64)
        right = 0
        for i in range(m):
            across = [F.cosine_similarity(E[i], E[m + j], dim=0) for j in range(m)]
            back = [F.cosine_similarity(E[m + i], E[j], dim=0) for j in range(m)]
            right += int(np.argmax(across) == i) + int(np.argmax(back) == i)
        assert abs(found(E) - right / (2 * m)) < 1e-6


# src/topics/notebooks/10-fine-tuning-basics.py:427
def test_head_is_scikit_learns():
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, D = int(rng.integers(8, 30)), int(rng.integers(1, 6))
        E, y = rng.normal(size=(n, D)), rng.integers(2, size=n)
        y[:2] = 0, 1
        C = float(rng.choice([0.1, 1, 10]))
        want = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(E, y)
        w, b = fit_head(E, y, C)
        assert np.allclose(w, want.coef_[0], atol=1e-4)
        assert np.isclose(b, want.intercept_[0], atol=1e-4)


# src/topics/notebooks/10-fine-tuning-basics.py:630
def test_tuned_is_the_encoder():
    for seed in range(20):
        bert = random_bert(seed, layers=3)
        texts = random_read(bert, n=2 + seed % 4, T=1 + seed % 7, seed=seed)
        want = mean_pool(texts.states[-1], texts.mask)
        for k in (0, 1, 3):
            model = Tuned(bert, k).eval()
            x = below(model, texts)
            assert torch.equal(x, texts.states[3 - k])
            got = model.vectors(x, texts.mask)
            assert torch.allclose(got, want, atol=1e-5)
            logits = want @ model.head.weight[0] + model.head.bias
            assert torch.allclose(model(x, texts.mask), logits, atol=1e-5)
        whole = Tuned(bert, 3, table=True).eval()
        assert torch.equal(below(whole, texts), texts.ids)
        assert torch.allclose(whole.vectors(texts.ids, texts.mask), want, atol=1e-5)


# src/topics/notebooks/10-fine-tuning-basics.py:648
def test_start_fits_the_head_and_copies():
    bert = random_bert(30)
    texts = random_read(bert, 40, 6, seed=1)
    y = (torch.arange(40) % 2).float()
    rows = torch.arange(3, 37)
    model = start(bert, texts, y, rows, 2, seed=4)
    E = mean_pool(texts.states[-1], texts.mask)[rows].double().numpy()
    weak = start(bert, texts, y, rows, 2, seed=4, C=0.7)
    for C, fitted in ((5 / 34, model), (0.7, weak)):
        want = LogisticRegression(C=C, tol=1e-10).fit(E, y[rows])
        assert np.allclose(fitted.head.weight.detach(), want.coef_, atol=1e-4)
        assert np.isclose(fitted.head.bias.item(), want.intercept_[0], atol=1e-4)
    plain = start(bert, texts, y, rows, 2, seed=4, head_first=False)
    torch.manual_seed(4)
    assert torch.equal(plain.head.weight, Tuned(bert, 2).head.weight)
    with torch.no_grad():
        model.layers[0].output.dense.weight.zero_()
    assert bert.encoder.layer[1].output.dense.weight.abs().sum() > 0


# src/topics/notebooks/10-fine-tuning-basics.py:677
def test_tune_learns_with_its_schedule():
    texts, y, model, x = random_task(5)
    frozen, rates, moved = copy.deepcopy(model), [], []

    def watch(step, current):
        assert current.training
        both = zip(current.layers.parameters(), frozen.layers.parameters())
        moved.append(max((W - W0).abs().max().item() for W, W0 in both))

    losses = tune(model, x, texts.mask, y, 40, 1e-2, seed=0, watch=watch)
    assert len(losses) == len(moved) == 40
    assert np.mean(losses[-9:]) < 0.8 * np.mean(losses[:9])
    assert abs(moved[0] - 1e-2 / 4) < 1e-4  # Adam's first step is as long as the rate
    again = tune(copy.deepcopy(frozen), x, texts.mask, y, 40, 1e-2, seed=0)
    assert np.allclose(losses, again)
    still = copy.deepcopy(frozen)
    tune(still, x, texts.mask, y, 1, 0.0, seed=0, B=48)
    both = zip(still.layers.parameters(), frozen.layers.parameters())
    assert all(torch.equal(a, b) for a, b in both)
    step = (still.head.weight - frozen.head.weight).abs()
    assert abs(step.max().item() - 1e-3) < 1e-5


# src/topics/notebooks/10-fine-tuning-basics.py:700
def test_tune_rates():
    peak = {}
    texts, y, model, x = random_task(8)
    original = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        rates = [group["lr"] for group in self.param_groups]
        peak.setdefault("rates", []).append(rates)
        peak["decay"] = {group["weight_decay"] for group in self.param_groups}
        return original(self, *args, **kwargs)

    torch.optim.AdamW.step = spy
    try:
        tune(model, x, texts.mask, y, 20, 4e-3, seed=0)
    finally:
        torch.optim.AdamW.step = original
    want = [min(1, (t + 1) / 2) * (1 - t / 20) for t in range(20)]
    assert np.allclose(np.array(peak["rates"]), np.outer(want, [4e-3, 1e-3]))
    assert peak["decay"] == {0.0}


# src/topics/notebooks/10-fine-tuning-basics.py:721
def test_tune_sees_every_row_and_keeps():
    texts, y, model, x = random_task(6)
    seen, forward = [], Tuned.forward

    class Spy(Tuned):
        def forward(self, x, mask):
            seen.append(x[:, 0, 0].tolist())
            return forward(self, x, mask)

    model.__class__ = Spy
    tune(model, x, texts.mask, y, 6, 1e-3, seed=1)
    for epoch in (seen[:3], seen[3:]):
        assert sorted(sum(epoch, [])) == sorted(x[:, 0, 0].tolist())
    assert seen[:3] != seen[3:]
    old = mean_pool(texts.states[-1], texts.mask)
    drift = {}
    for held in (None, (x, texts.mask, old)):
        _, _, model, _ = random_task(6)
        tune(model, x, texts.mask, y, 20, 3e-3, seed=1, keep=held)
        model.eval()
        new = model.vectors(x, texts.mask)
        drift[held is None] = 1 - F.cosine_similarity(new, old).mean().item()
    assert drift[False] < 0.6 * drift[True]


# src/topics/notebooks/10-fine-tuning-basics.py:910
def test_sign_test():
    def split(a, b, both=7):
        first = np.array([True] * a + [False] * b + [True] * both)
        return first, np.array([False] * a + [True] * b + [True] * both)

    assert sign_test(*split(0, 0)) == 1 and sign_test(*split(3, 3)) == 1
    assert sign_test(*split(0, 5)) == sign_test(*split(5, 0)) == 2 / 32
    assert np.isclose(sign_test(*split(2, 8)), 2 * (1 + 10 + 45) / 1024)
    rng = np.random.default_rng(5)
    for a, b in rng.integers(1, 60, size=(20, 2)).tolist():
        assert np.isclose(sign_test(*split(a, b)), binomtest(a, a + b).pvalue)


# src/topics/notebooks/10-fine-tuning-basics.py:1124
def test_train_top():
    for k in (0, 1, 2, 3):
        bert = random_bert(40, layers=3, D=8)
        assert train_top(bert, k) == k * (12 * 8**2 + 13 * 8)
        on = {name.split(".")[2] for name, W in bert.named_parameters()
              if W.requires_grad}
        assert on == {str(i) for i in range(3 - k, 3)}
    assert train_top(bert, 1) == 12 * 8**2 + 13 * 8  # from 3 back to 1


# src/topics/notebooks/10-fine-tuning-basics.py:1198
def test_between():
    start, end = random_bert(50), random_bert(51)
    kept = [W.clone() for W in start.parameters()]
    for a in (0.0, 0.25, 1.0):
        mixed = between(start, end, a)
        for W, W0, W1 in zip(mixed.parameters(), kept, end.parameters()):
            assert torch.allclose(W, (1 - a) * W0 + a * W1, atol=1e-6)
    assert all(torch.equal(W, W0) for W, W0 in zip(start.parameters(), kept))


# src/topics/notebooks/10-fine-tuning-basics.py:1258
def test_layers_in_play():
    assert [layers_in_play(t, 6, 3) for t in range(6)] == [1, 1, 2, 2, 3, 3]
    for steps, L in ((40, 6), (7, 3), (6, 6), (100, 1)):
        plan = [layers_in_play(t, steps, L) for t in range(steps)]
        assert plan[0] == 1 and plan[-1] == L and set(np.diff(plan)) <= {0, 1}
        assert np.ptp(np.bincount(plan)[1:]) <= 1
