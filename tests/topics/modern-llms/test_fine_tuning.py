# Generated from src/topics/modern-llms/fine-tuning.py: edit that file, then run doit. digest:9ff443cfed3b9e99

"""Tests of modern-llms/fine-tuning: Fine-tuning."""

import copy
import numpy as np
import torch
from itertools import islice
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F


# src/topics/modern-llms/fine-tuning.py:64
def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over real tokens: hidden (B, T, D), mask (B, T) with zeros at padding: (B, D)."""
    return (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


# src/topics/modern-llms/fine-tuning.py:153
def fit_head(E: np.ndarray, y: np.ndarray, C: float, steps: int = 15) -> tuple[np.ndarray, float]:
    """w (D,) and b of logistic regression on E (n, D), y (n,) in {0, 1}, by Newton's method."""
    E1 = np.concatenate([E, np.ones((len(E), 1))], axis=1)
    penalty = np.append(np.full(E.shape[1], 1 / C), 0.0)
    w = np.zeros(E1.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-E1 @ w))
        gradient = E1.T @ (p - y) + penalty * w
        hessian = (E1 * (p * (1 - p))[:, None]).T @ E1 + np.diag(penalty)
        w = w - np.linalg.solve(hessian, gradient)
    return w[:-1], float(w[-1])


# src/topics/modern-llms/fine-tuning.py:166
def pulled_back(loss_gradient, start: np.ndarray, F_i: np.ndarray, lam: float, lr: float,
                steps: int) -> np.ndarray:
    """Gradient descent on the box: loss_gradient(theta) (P,), from start (P,)."""
    theta = start.copy()
    for _ in range(steps):
        theta = theta - lr * (loss_gradient(theta) + lam * F_i * (theta - start))
    return theta


# src/topics/modern-llms/fine-tuning.py:247
LETTERS = "\n abcdefghijklmnopqrstuvwxyz.,;:!?'-"


# src/topics/modern-llms/fine-tuning.py:248
WINDOW = 12


# src/topics/modern-llms/fine-tuning.py:251
class LetterModel(nn.Module):
    """The next of 36 characters from the last 12: embeddings, one hidden layer, logits."""

    def __init__(self, D: int = 16, h: int = 192) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), D)
        self.hidden, self.out = nn.Linear(WINDOW * D, h), nn.Linear(h, len(LETTERS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, 12) to logits (B, 36)."""
        return self.out(torch.relu(self.hidden(self.letters(x).flatten(1))))


# src/topics/modern-llms/fine-tuning.py:264
def encode(text: str, n: int = 400_000) -> torch.Tensor:
    """The first n known characters of a text in lower case, as numbers."""
    known = (LETTERS.index(c) for c in text.lower() if c in LETTERS)
    return torch.tensor(list(islice(known, n)))


# src/topics/modern-llms/fine-tuning.py:270
def batch(text: torch.Tensor, B: int, rng: torch.Generator, part: str = "train") -> tuple:
    """Windows (B, 12) and the characters after them (B,), from the first 90 % or the rest."""
    edge = int(0.9 * len(text))
    low, high = (0, edge) if part == "train" else (edge, len(text))
    at = torch.randint(low, high - WINDOW, (B,), generator=rng)
    return text[at[:, None] + torch.arange(WINDOW)], text[at + WINDOW]


# src/topics/modern-llms/fine-tuning.py:278
def train(model: nn.Module, mixture: list[tuple[torch.Tensor, int]], steps: int, seed: int,
          lr: float = 3e-3, penalty=None) -> nn.Module:
    """Adam, the rate falling to zero; mixture: texts and how many windows of each a batch has."""
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam([W for W in model.parameters() if W.requires_grad], lr, fused=True)
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        parts = [batch(text, B, rng) for text, B in mixture]
        x, target = (torch.cat(part) for part in zip(*parts))
        loss = F.cross_entropy(model(x), target) + (penalty(model) if penalty else 0)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


# src/topics/modern-llms/fine-tuning.py:294
def held_out_loss(model: nn.Module, text: torch.Tensor) -> float:
    """Nats a character on 2,000 windows of the last tenth."""
    x, target = batch(text, 2000, torch.Generator().manual_seed(99), "test")
    with torch.no_grad():
        return F.cross_entropy(model(x), target).item()


# src/topics/modern-llms/fine-tuning.py:344
def fisher(model: nn.Module, text: torch.Tensor, n: int, seed: int) -> list[torch.Tensor]:
    """Mean squared gradient of log p(c), for c drawn from the model, over n windows."""
    rng = torch.Generator().manual_seed(seed)
    x, _ = batch(text, n, rng)
    weights = {name: W.detach() for name, W in model.named_parameters()}
    drawn = torch.multinomial(functional_call(model, weights, (x,)).softmax(dim=1), 1, generator=rng)[:, 0]

    def log_p(weights, window, c):  # of one window: a sum of gradients must not be squared
        return functional_call(model, weights, (window[None],)).log_softmax(dim=1)[0].gather(0, c[None])[0]

    each = vmap(grad(log_p), in_dims=(None, 0, 0))
    total = [torch.zeros_like(W) for W in weights.values()]
    for windows, chars in zip(x.split(25), drawn.split(25)):
        for sum_of_squares, g in zip(total, each(weights, windows, chars).values()):
            sum_of_squares += g.square().sum(dim=0) / n
    return total


# src/topics/modern-llms/fine-tuning.py:362
def pull(start: nn.Module, strengths: list[torch.Tensor], lam: float):
    """The penalty (lam / 2) sum F (theta - theta0)^2 as a function of the model."""
    anchors = [W.detach().clone() for W in start.parameters()]
    return lambda model: lam / 2 * sum((F_i * (W - W0) ** 2).sum() for F_i, W, W0
                                       in zip(strengths, model.parameters(), anchors))


# src/topics/modern-llms/fine-tuning.py:369
def between(start: nn.Module, end: nn.Module, a: float) -> nn.Module:
    """The model with weights start + a (end - start)."""
    model = copy.deepcopy(start)
    with torch.no_grad():
        for W, W1 in zip(model.parameters(), end.parameters()):
            W.lerp_(W1, a)
    return model


# src/topics/modern-llms/fine-tuning.py:523
def distillation(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    """Mean over the rows of L; logits (B, K)."""
    p, log_q = (teacher / tau).softmax(dim=1), (student / tau).log_softmax(dim=1)
    return tau**2 * (p * (p.log() - log_q)).sum(dim=1).mean()


# src/topics/modern-llms/fine-tuning.py:647
def random_letters(seed):
    torch.manual_seed(seed)
    return LetterModel(D=3, h=5)


# src/topics/modern-llms/fine-tuning.py:850
def pulled_by_hand(h: float, t: float, theta_0: float, lam: float) -> tuple[float, float]:
    """The minimum, and the old loss."""
    theta = (h * t + lam * theta_0) / (h + lam)
    return theta, (theta - theta_0) ** 2 / 2


# src/topics/modern-llms/fine-tuning.py:873
def accuracy_error(a: float, n: int) -> tuple[float, float]:
    """Standard error; examples for a standard error of 0.01."""
    variance = a * (1 - a)
    return (variance / n) ** 0.5, variance / 0.01**2


# src/topics/modern-llms/fine-tuning.py:895
def layered_rates(layers: list[nn.Module], lr: float, decay: float) -> list[dict]:
    """One group for each layer, first to last, as torch.optim takes them."""
    top = len(layers) - 1
    return [{"params": list(layer.parameters()), "lr": lr * decay ** (top - i)}
            for i, layer in enumerate(layers)]


# src/topics/modern-llms/fine-tuning.py:924
def head_fisher(E: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(D,) for E (n, D), w (D,)."""
    p = 1 / (1 + np.exp(-E @ w))
    return ((p * (1 - p))[:, None] * E**2).mean(axis=0)


# src/topics/modern-llms/fine-tuning.py:951
def soup(models: list[nn.Module]) -> nn.Module:
    """A new model with the mean of the weights."""
    mixed = copy.deepcopy(models[0])
    with torch.no_grad():
        for W, *others in zip(mixed.parameters(), *(m.parameters() for m in models)):
            W.copy_(torch.stack(others).mean(dim=0))
    return mixed


# src/topics/modern-llms/fine-tuning.py:981
def replay_mixture(new: torch.Tensor, old: torch.Tensor, B: int, q: float) -> list:
    """For `train`: [(new, B_new), (old, B_old)] with B_new + B_old = B."""
    kept = round(q * B)
    return [(new, B - kept), (old, kept)]


# src/topics/modern-llms/fine-tuning.py:187
def test_head_is_scikit_learns():
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, D = int(rng.integers(8, 30)), int(rng.integers(1, 6))
        E, y = rng.normal(size=(n, D)), rng.integers(2, size=n)
        y[:2] = 0, 1
        C = float(rng.choice([0.1, 1, 10]))
        want = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(E, y)
        w, b = fit_head(E, y, C)
        assert np.allclose(w, want.coef_[0], atol=1e-4) and np.isclose(b, want.intercept_[0], atol=1e-4)


# src/topics/modern-llms/fine-tuning.py:199
def test_pulled_back():
    rng = np.random.default_rng(2)
    for _ in range(20):
        P = int(rng.integers(1, 6))
        H, target, start = rng.uniform(0.5, 2, P), rng.normal(size=P), rng.normal(size=P)
        F_i, lam = rng.uniform(0, 2, P), rng.uniform(0, 3)
        theta = pulled_back(lambda t: H * (t - target), start, F_i, lam, 0.1, 2000)
        assert np.allclose(theta, (H * target + lam * F_i * start) / (H + lam * F_i))


# src/topics/modern-llms/fine-tuning.py:209
def test_mean_pool_ignores_padding():
    rng = torch.Generator().manual_seed(3)
    for _ in range(20):
        B, T, D = (int(i) for i in torch.randint(1, 6, (3,), generator=rng))
        hidden, lengths = torch.randn(B, T, D, generator=rng), torch.randint(1, T + 1, (B,), generator=rng)
        mask = (torch.arange(T)[None] < lengths[:, None]).long()
        for row, (h, n) in enumerate(zip(hidden, lengths)):
            assert torch.allclose(mean_pool(hidden, mask)[row], h[:n].mean(dim=0), atol=1e-6)


# src/topics/modern-llms/fine-tuning.py:628
def test_letter_model_reads_windows():
    text = encode("To be, or not to be: THAT is the question! 123")
    assert "".join(LETTERS[i] for i in text) == "to be, or not to be: that is the question! "
    rng = torch.Generator().manual_seed(4)
    long = torch.arange(1000) % 35
    for part, low, high in (("train", 0, 900), ("test", 900, 1000)):
        x, target = batch(torch.arange(1000), 300, rng, part)
        assert x.shape == (300, 12) and torch.equal(x[:, -1] + 1, target)
        assert torch.equal(x[:, 0] + 12, target)
        assert low <= x.min() and target.max() < high and target.max() > high - 30
    assert len(encode("ab" * 200_001)) == 400_000
    assert encode("aBa!", 3).tolist() == [2, 3, 2]
    model = LetterModel(D=4, h=8)
    assert model(batch(long, 5, rng)[0]).shape == (5, 36)
    sizes = 36 * 16, (12 * 16 + 1) * 192, (192 + 1) * 36  # letters, hidden, out
    assert sum(W.numel() for W in LetterModel().parameters()) == sum(sizes)
    assert abs(held_out_loss(LetterModel(), long) - np.log(36)) < 0.3


# src/topics/modern-llms/fine-tuning.py:652
def test_held_out_is_held_out():
    text, seen = torch.cat([torch.zeros(900), torch.ones(100)]).long(), []

    def sure(x):  # a model that is sure of character 1, and notes what it is shown
        seen.append(x)
        return F.one_hot(torch.ones(len(x), dtype=torch.long), 36) * 50.0

    assert held_out_loss(sure, text) == held_out_loss(sure, text) < 1e-6
    assert seen[0].shape == (2000, 12) and (seen[0] == 1).all()
    assert torch.equal(*seen)  # the same windows each time, so losses can be compared


# src/topics/modern-llms/fine-tuning.py:664
def test_rate_falls_to_zero():
    text = torch.zeros(200, dtype=torch.long)  # all windows are equal
    for steps, want in ((1, 1), (2, 1 + 1 / 2), (4, 1 + 3 / 4 + 2 / 4 + 1 / 4)):
        start = random_letters(12)
        model = train(copy.deepcopy(start), [(text, 4)], steps, seed=0, lr=1e-4)
        way = (model.out.bias - start.out.bias).abs()  # Adam, equal gradients: the rates
        assert torch.allclose(way, torch.full((36,), want * 1e-4), rtol=0.02, atol=0)


# src/topics/modern-llms/fine-tuning.py:673
def test_train_mixes_and_penalises():
    one, two = torch.zeros(200, dtype=torch.long), torch.ones(200, dtype=torch.long)
    model = train(random_letters(5), [(one, 8), (two, 8)], 150, seed=0, lr=3e-2)
    assert held_out_loss(model, one) < 0.1 and held_out_loss(model, two) < 0.1
    start = random_letters(6)
    held = train(copy.deepcopy(start), [(one, 8)], 60, 0, lr=1e-3,
                 penalty=pull(start, [torch.ones_like(W) for W in start.parameters()], 1e4))
    free = train(copy.deepcopy(start), [(one, 8)], 60, 0, lr=1e-3)

    def moved(model):
        return sum((W - W0).detach().square().sum().item()
                   for W, W0 in zip(model.parameters(), start.parameters()))

    assert moved(held) < 0.2 * moved(free)


# src/topics/modern-llms/fine-tuning.py:689
def test_pull_is_the_penalty():
    start = random_letters(7)
    model = random_letters(8)
    strengths = [torch.rand(W.shape, generator=torch.Generator().manual_seed(9)) for W in start.parameters()]
    value = pull(start, strengths, 3.0)(model)
    want = 1.5 * sum((F_i * (W - W0).square()).sum() for F_i, W, W0
                     in zip(strengths, model.parameters(), start.parameters()))
    assert torch.isclose(value, want)
    value.backward()
    for F_i, W, W0 in zip(strengths, model.parameters(), start.parameters()):
        assert torch.allclose(W.grad, 3 * F_i * (W - W0), atol=1e-6)
    assert pull(start, strengths, 3.0)(start) == 0
    quarter = between(start, model, 0.25)
    for W0, W, Q in zip(start.parameters(), model.parameters(), quarter.parameters()):
        assert torch.allclose(Q, 0.75 * W0 + 0.25 * W)


# src/topics/modern-llms/fine-tuning.py:706
def test_fisher_is_the_expectation():
    model, text = random_letters(10), torch.arange(300) * 7 % 35
    x = torch.stack([text[i : i + 12] for i in range(35)])  # all the windows there are
    want = [torch.zeros_like(W) for W in model.parameters()]
    for window in x.split(1):  # every outcome, weighted by its probability
        log_p = F.log_softmax(model(window), dim=1)[0]
        for c in range(36):
            grads = torch.autograd.grad(log_p[c], list(model.parameters()), retain_graph=True)
            for total, g in zip(want, grads):
                total += log_p[c].exp().detach() * g**2 / 35
    got = fisher(model, text, 3010, seed=11)  # not a multiple of the chunk
    for a, b in zip(got, want):
        assert a.shape == b.shape and 0.85 < a.sum() / b.sum() < 1.18
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] > 0.9


# src/topics/modern-llms/fine-tuning.py:722
def test_distillation():
    rng = torch.Generator().manual_seed(17)
    for _ in range(20):
        B, K = (int(i) for i in torch.randint(1, 6, (2,), generator=rng))
        z, t = (torch.randn(B, K, generator=rng, dtype=torch.float64) for _ in range(2))
        z.requires_grad_()
        tau = 0.5 + 4 * torch.rand(1, generator=rng).item()
        loss = distillation(z, t, tau)
        p, q = (t / tau).softmax(dim=1), (z / tau).softmax(dim=1)
        want = tau**2 * F.kl_div(q.log(), p, reduction="batchmean")
        assert torch.isclose(loss, want) and distillation(t, t, tau).abs() < 1e-12
        loss.backward()
        assert torch.allclose(z.grad, tau * (q - p) / B)


# src/topics/modern-llms/fine-tuning.py:859
def test_pulled_by_hand():
    for h, t, theta_0, lam in ((1, 3, 1, 1), (2, -1, 4, 0), (0.5, 2, 0, 5)):
        want = pulled_back(lambda x: h * (x - t), np.array([float(theta_0)]), np.ones(1), lam, 0.1, 3000)[0]
        theta, old = pulled_by_hand(h, t, theta_0, lam)
        assert np.isclose(theta, want) and np.isclose(old, (want - theta_0) ** 2 / 2)


# src/topics/modern-llms/fine-tuning.py:882
def test_accuracy_error():
    drawn = np.random.default_rng(12).binomial(200, 0.7, size=20_000) / 200
    error, n = accuracy_error(0.7, 200)
    assert abs(error / drawn.std() - 1) < 0.03 and np.isclose(n, 2100)


# src/topics/modern-llms/fine-tuning.py:905
def test_layered_rates():
    layers = [nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 1)]
    groups = layered_rates(layers, 0.1, 0.5)
    assert np.allclose([group["lr"] for group in groups], [0.025, 0.05, 0.1])
    sgd = torch.optim.SGD(groups)
    before = [layer.weight.detach().clone() for layer in layers]
    sum(layer.weight.sum() for layer in layers).backward()
    sgd.step()
    steps = [(old - layer.weight.detach()).mean().item() for old, layer in zip(before, layers)]
    assert np.allclose(steps, [0.025, 0.05, 0.1], atol=1e-6)


# src/topics/modern-llms/fine-tuning.py:933
def test_head_fisher():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, D = (int(i) for i in rng.integers(1, 6, size=2))
        E, w = rng.normal(size=(n, D)), rng.normal(size=D)
        p = 1 / (1 + np.exp(-E @ w))
        want = sum(chance[:, None] * ((outcome - p)[:, None] * E) ** 2
                   for outcome, chance in ((1, p), (0, 1 - p))).mean(axis=0)
        assert np.allclose(head_fisher(E, w), want)


# src/topics/modern-llms/fine-tuning.py:963
def test_soup():
    models = [random_letters(seed) for seed in (14, 15, 16)]
    mixed = soup(models)
    for W, *others in zip(mixed.parameters(), *(m.parameters() for m in models)):
        assert torch.allclose(W, sum(others) / 3)
    assert torch.equal(models[0].out.bias, random_letters(14).out.bias)


# src/topics/modern-llms/fine-tuning.py:990
def test_replay_mixture():
    new, old = torch.zeros(3), torch.ones(3)
    for q, want in ((0.1, (230, 26)), (0.0, (256, 0)), (0.5, (128, 128))):
        mixture = replay_mixture(new, old, 256, q)
        assert [B for _, B in mixture] == list(want)
        assert mixture[0][0] is new and mixture[1][0] is old
