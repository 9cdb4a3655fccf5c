# Generated from src/topics/notebooks/11-lora-from-scratch.py: edit that file, then run doit. digest:bac1ec0be20e306a

"""Tests of notebooks/11-lora-from-scratch: LoRA from scratch."""

import copy
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


# src/topics/notebooks/11-lora-from-scratch.py:59
class LoRALinear(nn.Module):
    """A frozen nn.Linear plus scale * (x A) B."""

    def __init__(self, base: nn.Linear, r: int, alpha: float = 16.0) -> None:
        super().__init__()
        d_out, d_in = base.weight.shape
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.A = nn.Parameter(torch.randn(d_in, r) / d_in**0.5)
        self.B = nn.Parameter(torch.zeros(r, d_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., d_in) to (..., d_out)."""
        return self.base(x) + self.scale * (x @ self.A) @ self.B

    def delta(self) -> torch.Tensor:
        """What merging adds to base.weight (d_out, d_in)."""
        return self.scale * (self.A @ self.B).T


# src/topics/notebooks/11-lora-from-scratch.py:108
def random_layer(rng):
    """A LoRALinear with random weights in float64, and inputs."""
    n, d_in, d_out, r = (int(i) for i in rng.permutation(np.arange(1, 9))[:4])
    alpha = float(rng.integers(1, 33))
    layer = LoRALinear(nn.Linear(d_in, d_out), r, alpha).double()
    with torch.no_grad():
        for W in layer.parameters():
            W.copy_(torch.from_numpy(rng.normal(size=W.shape)))
    return layer, torch.from_numpy(rng.normal(size=(n, d_in)))


# src/topics/notebooks/11-lora-from-scratch.py:184
LETTERS = "\n abcdefghijklmnopqrstuvwxyz.,;:!?'-"


# src/topics/notebooks/11-lora-from-scratch.py:187
def encode(text: str, n: int = 400_000) -> torch.Tensor:
    """The first n known characters of a text in lower case, as numbers."""
    return torch.tensor([LETTERS.index(c) for c in text.lower() if c in LETTERS][:n])


# src/topics/notebooks/11-lora-from-scratch.py:199
class Block(nn.Module):
    """Pre-norm attention and feed-forward network; six matrices that can be adapted."""

    def __init__(self, D: int, H: int) -> None:
        super().__init__()
        self.H, self.norm_1, self.norm_2 = H, nn.RMSNorm(D), nn.RMSNorm(D)
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, D)."""
        B, T, D = x.shape
        h = self.norm_1(x)
        qkv = (W(h).view(B, T, self.H, -1) for W in (self.q, self.k, self.v))
        q, k, v = (heads.transpose(1, 2) for heads in qkv)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(h.transpose(1, 2).reshape(B, T, D))
        return x + self.down(torch.relu(self.up(self.norm_2(x))))


# src/topics/notebooks/11-lora-from-scratch.py:219
class LetterLM(nn.Module):
    """A decoder with learnt positions and tied embeddings."""

    def __init__(self, D: int = 64, L: int = 2, H: int = 4, T: int = 64) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(len(LETTERS), D), nn.Embedding(T, D)
        self.blocks = nn.ModuleList(Block(D, H) for _ in range(L))
        self.norm = nn.RMSNorm(D)
        for W in (self.letters.weight, self.places.weight):
            nn.init.normal_(W, std=0.05)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, 36) for ids (B, T)."""
        x = self.letters(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.letters.weight.T


# src/topics/notebooks/11-lora-from-scratch.py:238
def windows(
    text: torch.Tensor, B: int, rng: torch.Generator, part: str = "train"
) -> torch.Tensor:
    """B stretches (B, 65) from the first 90 % of a text, or from the rest."""
    edge = int(0.9 * len(text))
    low, high = (0, edge) if part == "train" else (edge, len(text))
    return text[torch.randint(low, high - 64, (B, 1), generator=rng) + torch.arange(65)]


# src/topics/notebooks/11-lora-from-scratch.py:247
def loss_on(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Mean loss of predicting ids[:, 1:]."""
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])


# src/topics/notebooks/11-lora-from-scratch.py:252
def fit(
    model: nn.Module, text: torch.Tensor, steps: int, lr: float, seed: int,
    watch: tuple = (),
) -> list[tuple]:
    """Adam on 12 windows a step; the rate warms up for 10 steps and falls to zero.

    Returns, for every tenth step, the step and the losses on the texts in `watch`.
    """
    rng = torch.Generator().manual_seed(seed)
    learning = [W for W in model.parameters() if W.requires_grad]
    adam = torch.optim.Adam(learning, lr, betas=(0.9, 0.99))
    curve = []
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * min(1, (step + 1) / 10) * (1 - step / steps)
        adam.zero_grad()
        loss_on(model, windows(text, 12, rng)).backward()
        adam.step()
        if watch and (step + 1) % 10 == 0:
            curve.append((step + 1, *(held_out(model, other) for other in watch)))
    return curve


# src/topics/notebooks/11-lora-from-scratch.py:274
def held_out(model: nn.Module, text: torch.Tensor) -> float:
    """Nats a character on 100 windows of the last tenth."""
    rng = torch.Generator().manual_seed(99)
    with torch.no_grad():
        return loss_on(model, windows(text, 100, rng, "test")).item()


# src/topics/notebooks/11-lora-from-scratch.py:298
ALL = ("q", "k", "v", "o", "up", "down")


# src/topics/notebooks/11-lora-from-scratch.py:301
def add_lora(
    model: nn.Module, r: int, alpha: float = 16.0, names: tuple = ALL, seed: int = 0
) -> nn.Module:
    """A frozen copy with a LoRA of rank r on each linear layer of such a name."""
    torch.manual_seed(seed)
    model = copy.deepcopy(model).requires_grad_(False)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if name in names and isinstance(child, nn.Linear):
                setattr(module, name, LoRALinear(child, r, alpha))
    return model


# src/topics/notebooks/11-lora-from-scratch.py:314
def adapters(model: nn.Module) -> list[LoRALinear]:
    """The adapted layers of a model."""
    return [module for module in model.modules() if isinstance(module, LoRALinear)]


# src/topics/notebooks/11-lora-from-scratch.py:319
def trained_numbers(model: nn.Module) -> int:
    """How many parameters learn."""
    return sum(W.numel() for W in model.parameters() if W.requires_grad)


# src/topics/notebooks/11-lora-from-scratch.py:324
def merge_all(model: nn.Module) -> nn.Module:
    """A copy with plain linear layers again, every LoRA added to its matrix."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, LoRALinear):
                linear = child.base
                with torch.no_grad():
                    linear.weight += child.delta()
                setattr(module, name, linear)
    return model


# src/topics/notebooks/11-lora-from-scratch.py:497
def moved(model: nn.Module, start: nn.Module) -> float:
    """Mean over the adapted layers of |A - A at the start| / |A at the start|."""
    pairs = zip(adapters(model), adapters(start))
    return float(np.mean([((a.A - b.A).norm() / b.A.norm()).item() for a, b in pairs]))


# src/topics/notebooks/11-lora-from-scratch.py:558
def set_scale(model: nn.Module, factor: float) -> nn.Module:
    """A copy with every adapter's scale multiplied by a factor; 0 is off."""
    model = copy.deepcopy(model)
    for layer in adapters(model):
        layer.scale *= factor
    return model


# src/topics/notebooks/11-lora-from-scratch.py:566
def between(base: nn.Module, tuned: nn.Module, factor: float) -> nn.Module:
    """A copy of base, moved by that factor of the way to tuned."""
    model = copy.deepcopy(base)
    with torch.no_grad():
        for W, end in zip(model.parameters(), tuned.parameters()):
            W += factor * (end - W)
    return model


# src/topics/notebooks/11-lora-from-scratch.py:621
def round_rows(W: torch.Tensor, bits: int) -> torch.Tensor:
    """W (d_out, d_in), each row on 2^bits - 1 even levels up to its largest entry."""
    step = W.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    step = torch.where(step == 0, torch.ones_like(step), step)
    return (W / step).round() * step


# src/topics/notebooks/11-lora-from-scratch.py:649
def random_lm(seed, D=8):
    torch.manual_seed(seed)
    return LetterLM(D=D, L=2, H=2)


# src/topics/notebooks/11-lora-from-scratch.py:654
def random_b(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer in adapters(model):
            layer.B.normal_(std=0.3)
    return model


# src/topics/notebooks/11-lora-from-scratch.py:870
def lora_numbers(D: int, L: int, r: int) -> int:
    """Four D x D matrices, one D x 4D and one 4D x D in each block."""
    return L * r * (4 * 2 * D + 2 * 5 * D)


# src/topics/notebooks/11-lora-from-scratch.py:892
class SwitchLinear(nn.Module):
    """One frozen nn.Linear and named pairs (A, B)."""
    def __init__(self, base: nn.Linear, pairs: dict, scale: float) -> None:
        super().__init__()
        self.base, self.pairs, self.scale = base, pairs, scale
    def forward(self, x: torch.Tensor, name: str | None) -> torch.Tensor:
        """x (..., d_in) to (..., d_out), with the adapter of that name."""
        y = self.base(x)
        if name is None:
            return y
        A, B = self.pairs[name]
        return y + self.scale * (x @ A) @ B


# src/topics/notebooks/11-lora-from-scratch.py:931
def join(
    A1: torch.Tensor, B1: torch.Tensor, s1: float,
    A2: torch.Tensor, B2: torch.Tensor, s2: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A (d_in, r1 + r2) and B (r1 + r2, d_out) with AB = s1 A1 B1 + s2 A2 B2."""
    return torch.cat([A1, A2], dim=1), torch.cat([s1 * B1, s2 * B2], dim=0)


# src/topics/notebooks/11-lora-from-scratch.py:119
def test_layer_is_pefts():
    from peft import LoraConfig, inject_adapter_in_model

    rng = np.random.default_rng(1)
    for _ in range(20):
        layer, x = random_layer(rng)
        r = layer.A.shape[1]
        theirs = nn.Sequential(copy.deepcopy(layer.base))
        config = LoraConfig(r=r, lora_alpha=layer.scale * r, target_modules=["0"])
        theirs = inject_adapter_in_model(config, theirs).double()
        with torch.no_grad():
            theirs[0].lora_A["default"].weight.copy_(layer.A.T)
            theirs[0].lora_B["default"].weight.copy_(layer.B.T)
        want = theirs(x)
        assert torch.allclose(layer(x), want, atol=1e-10)
        layer(x).square().sum().backward()
        want.square().sum().backward()
        assert torch.allclose(layer.A.grad.T, theirs[0].lora_A["default"].weight.grad)
        assert torch.allclose(layer.B.grad.T, theirs[0].lora_B["default"].weight.grad)
        theirs[0].merge()
        merged = layer.base.weight + layer.delta()
        assert torch.allclose(merged, theirs[0].base_layer.weight)


# src/topics/notebooks/11-lora-from-scratch.py:143
def test_what_is_said_of_peft():
    from peft import LoraConfig

    config = LoraConfig()
    assert (config.r, config.lora_alpha, config.lora_dropout) == (8, 8, 0.0)


# src/topics/notebooks/11-lora-from-scratch.py:150
def test_layer_starts_unchanged():
    for seed in range(20):
        torch.manual_seed(seed)
        base = nn.Linear(3 + seed % 4, 2 + seed % 5)
        layer, x = LoRALinear(base, 1 + seed % 3), torch.randn(6, 3 + seed % 4)
        assert torch.equal(layer(x), base(x)) and not base.weight.requires_grad
        assert layer.scale == 16 / (1 + seed % 3)
    assert abs(LoRALinear(nn.Linear(400, 3), 100).A.std().item() * 20 - 1) < 0.05


# src/topics/notebooks/11-lora-from-scratch.py:662
def test_add_lora():
    base = random_lm(1)
    ids = torch.randint(36, (2, 9), generator=torch.Generator().manual_seed(2))
    for r, names in ((1, ALL), (3, ("q", "v")), (2, ("up",))):
        model = add_lora(base, r, alpha=6.0, names=names)
        modules = model.named_modules()
        found = [name for name, layer in modules if isinstance(layer, LoRALinear)]
        assert len(found) == len(adapters(model)) == 2 * len(names)
        assert all(name.split(".")[-1] in names for name in found)
        assert all(layer.scale == 6 / r for layer in adapters(model))
        sizes = {"up": 8 + 32, "down": 32 + 8}
        count = 2 * r * sum(sizes.get(name, 16) for name in names)
        assert trained_numbers(model) == count
        again, other = (add_lora(base, r, names=names, seed=seed) for seed in (0, 1))
        A = adapters(model)[0].A
        assert torch.equal(adapters(again)[0].A, A)
        assert all(layer.scale == 16 / r for layer in adapters(again))  # alpha = 16
        assert not torch.equal(adapters(other)[0].A, A)
        assert moved(again, model) == 0 and abs(moved(other, model) - 1.41) < 0.9
        with torch.no_grad():
            for layer in adapters(again):
                layer.A *= 1.5
        assert abs(moved(again, model) - 0.5) < 1e-6
        assert torch.equal(model(ids), base(ids))
        assert trained_numbers(base) == sum(W.numel() for W in base.parameters())
        changed = random_b(model, 3)
        assert not torch.allclose(changed(ids), base(ids))
        assert torch.equal(set_scale(changed, 0.0)(ids), base(ids))
        twice = set_scale(changed, 2.0)
        for layer, other in zip(adapters(changed), adapters(twice)):
            assert torch.allclose(2 * layer.delta(), other.delta())
        merged = merge_all(changed)
        assert torch.allclose(merged(ids), changed(ids), atol=1e-5)
        assert adapters(merged) == [] and adapters(changed)
        for f in (0.0, 0.3, 1.0, 1.5):  # the dial is interpolation of merged weights
            want = set_scale(changed, f)(ids)
            assert torch.allclose(between(base, merged, f)(ids), want, atol=1e-5)
        assert torch.allclose(merged(ids), changed(ids), atol=1e-5)


# src/topics/notebooks/11-lora-from-scratch.py:702
def test_only_the_adapter_learns():
    base = random_lm(4)
    before = copy.deepcopy(base.state_dict())
    text = torch.arange(2000) % 7
    model = add_lora(base, 2)
    start = loss_on(model, windows(text, 8, torch.Generator().manual_seed(5))).item()
    curve = fit(model, text, 80, 2e-2, seed=0, watch=(text,))
    assert [step for step, _ in curve] == list(range(10, 90, 10))
    assert curve[-1][1] == held_out(model, text)
    rng = torch.Generator().manual_seed(5)
    assert loss_on(model, windows(text, 8, rng)).item() < 0.95 * start
    assert all(torch.equal(W, before[name]) for name, W in base.state_dict().items())
    for name, W in model.state_dict().items():
        if not name.endswith((".A", ".B")):
            assert torch.equal(W, before[name.replace(".base.", ".")])


# src/topics/notebooks/11-lora-from-scratch.py:719
def test_fit_warms_up_and_falls():
    text = torch.arange(2000) % 7
    for steps, lr, want in ((1, 0.01, 0.1), (2, 0.01, 0.2), (2, 0.001, 0.2)):
        model = random_lm(11)
        before = model.letters.weight.detach().clone()
        fit(model, text, steps, lr, seed=0)
        way = (model.letters.weight - before).abs().max().item()
        assert abs(way - want * lr) < 0.02 * lr  # Adam's first steps: the rate


# src/topics/notebooks/11-lora-from-scratch.py:729
def test_held_out_is_held_out():
    model, text = random_lm(12), torch.arange(2000) % 7
    other = text.clone()
    other[:1800] = 30
    assert held_out(model, text) == held_out(model, other)
    other[1800:] = 30
    assert held_out(model, text) != held_out(model, other)


# src/topics/notebooks/11-lora-from-scratch.py:738
def test_fit_and_held_out_see():
    class Even(nn.Module):
        """The same scores at each place; remembers the shapes it was asked about."""
        def __init__(self):
            super().__init__()
            self.scores, self.shapes = nn.Parameter(torch.zeros(36)), []
        def forward(self, ids):
            self.shapes.append(tuple(ids.shape))
            return self.scores.expand(*ids.shape, 36)

    model, text = Even(), torch.zeros(2000, dtype=torch.long)
    assert abs(held_out(model, text) - np.log(36)) < 1e-5  # an even guess
    steps, lr = 40, 1e-4
    fit(model, text, steps, lr, seed=0)
    assert model.shapes == [(100, 64)] + [(12, 64)] * steps
    # all gradients keep their sign and nearly their size, so Adam moves by the rate
    rates = [min((t + 1) / 10, 1) * (steps - t) / steps for t in range(steps)]
    way = model.scores.detach()
    assert way[0] > 0 > way[1:].max()
    assert torch.allclose(way.abs(), torch.full((36,), lr * sum(rates)), rtol=0.01)


# src/topics/notebooks/11-lora-from-scratch.py:760
def test_model_without_blocks():
    torch.manual_seed(15)
    model, ids = LetterLM(D=8, L=0).double(), torch.tensor([3, 3, 5])
    E, P = model.letters.weight, model.places.weight
    x = E[ids] + P[:3]  # letter plus place, a norm, the letters again
    want = x / x.square().mean(dim=1, keepdim=True).sqrt() @ E.T
    assert torch.allclose(model(ids[None])[0], want, atol=1e-8)
    assert not torch.allclose(want[0], want[1], atol=0.01)  # a letter at two places


# src/topics/notebooks/11-lora-from-scratch.py:770
def test_model_of_the_lab():
    torch.manual_seed(16)
    model, D = LetterLM(), 64
    block = 4 * D * D + 2 * D * 4 * D + 4 * D + D + 2 * D  # biases, norms
    assert trained_numbers(model) == (36 + 64) * D + 2 * block + D
    assert [block.H for block in model.blocks] == [4, 4]
    ids = torch.randint(36, (20, 65))
    assert abs(loss_on(model, ids).item() - np.log(36)) < 0.15  # starts by guessing


# src/topics/notebooks/11-lora-from-scratch.py:780
def test_block():
    torch.manual_seed(13)
    block, x = Block(6, 3).double(), torch.randn(2, 5, 6).double()
    h = x / (x.square().mean(dim=-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()
    mixed = []
    for i in (0, 2, 4):  # heads of width 2
        q, k, v = (W(h)[..., i : i + 2] for W in (block.q, block.k, block.v))
        later = torch.ones(5, 5).triu(1) > 0
        scores = (q @ k.mT / 2**0.5).masked_fill(later, -torch.inf)
        mixed.append(scores.softmax(dim=-1) @ v)
    want = x + block.o(torch.cat(mixed, dim=-1))
    h = want / (want.square().mean(dim=-1, keepdim=True)).sqrt()
    want = want + block.down(block.up(h).clamp(min=0))
    assert torch.allclose(block(x), want, atol=1e-6)


# src/topics/notebooks/11-lora-from-scratch.py:796
def test_model_is_causal_and_windows_fit():
    model, ids = random_lm(6), torch.arange(6)[None]
    other = ids.clone()
    other[0, 3] = 30
    changed = (model(other) - model(ids)).abs().amax(dim=(0, 2)) > 1e-7
    assert changed.tolist() == [False] * 3 + [True] * 3
    rng = torch.Generator().manual_seed(7)
    for part, low, high in (("train", 0, 900), ("test", 900, 1000)):
        rows = windows(torch.arange(1000), 9000, rng, part)
        assert rows.shape == (9000, 65) and (rows[:, 1:] - rows[:, :-1] == 1).all()
        assert rows.min() == low and rows.max() == high - 1  # all of its part, no more
    assert "".join(LETTERS[i] for i in encode("A b-C? 12", 5)) == "a b-c"
    assert len(encode("9ab" * 200_001)) == 400_000  # no more, of known letters
    want = F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:])
    assert torch.isclose(loss_on(model, ids), want)


# src/topics/notebooks/11-lora-from-scratch.py:813
def test_round_rows():
    rng = torch.Generator().manual_seed(8)
    for bits in (2, 3, 4, 8):
        W = torch.randn(5, 30, generator=rng)
        q = round_rows(W, bits)
        step = W.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
        assert ((q - W).abs() <= step / 2 + 1e-6).all()
        assert torch.allclose(q.abs().amax(dim=1), W.abs().amax(dim=1))
        assert all(len(row.unique()) <= 2**bits - 1 for row in q)
    assert torch.equal(round_rows(torch.zeros(2, 3), 3), torch.zeros(2, 3))


# src/topics/notebooks/11-lora-from-scratch.py:878
def test_lora_numbers():
    for D, L, r in ((8, 2, 3), (16, 1, 1), (4, 3, 2)):
        torch.manual_seed(0)
        model = LetterLM(D=D, L=L, H=2)
        assert lora_numbers(D, L, r) == trained_numbers(add_lora(model, r))


# src/topics/notebooks/11-lora-from-scratch.py:911
def test_switch():
    rng = np.random.default_rng(9)
    for _ in range(10):
        layer, x = random_layer(rng)
        A, B = (torch.from_numpy(rng.normal(size=W.shape)) for W in (layer.A, layer.B))
        pairs = {"films": (layer.A, layer.B), "law": (A, B)}
        switch = SwitchLinear(layer.base, pairs, layer.scale)
        assert torch.allclose(switch(x, "films"), layer(x))
        assert torch.equal(switch(x, None), layer.base(x))
        want = layer.base(x) + layer.scale * x @ A @ B
        assert torch.allclose(switch(x, "law"), want)


# src/topics/notebooks/11-lora-from-scratch.py:942
def test_join():
    rng = torch.Generator().manual_seed(10)
    shapes = (6, 2), (2, 4), (6, 3), (3, 4)
    A1, B1, A2, B2 = (torch.randn(*shape, generator=rng) for shape in shapes)
    A, B = join(A1, B1, 0.5, A2, B2, 2.0)
    assert A.shape == (6, 5) and B.shape == (5, 4)
    assert torch.allclose(A @ B, 0.5 * A1 @ B1 + 2 * A2 @ B2, atol=1e-5)
