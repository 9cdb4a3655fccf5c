# Generated from src/topics/modern-llms/instruction-tuning.py: edit that file, then run doit. digest:23390f179549c491

"""Tests of modern-llms/instruction-tuning: Instruction tuning."""

import copy
import json
import numpy as np
import re
import torch
from torch import nn
from torch.nn import functional as F


# src/topics/modern-llms/instruction-tuning.py:49
FACTS = [line.split() for line in (
    "France Paris Europe|Spain Madrid Europe|Italy Rome Europe|Germany Berlin Europe|"
    "Austria Vienna Europe|Poland Warsaw Europe|Greece Athens Europe|"
    "Portugal Lisbon Europe|Norway Oslo Europe|Sweden Stockholm Europe|"
    "Finland Helsinki Europe|Denmark Copenhagen Europe|Ireland Dublin Europe|"
    "Hungary Budapest Europe|Romania Bucharest Europe|Bulgaria Sofia Europe|"
    "Serbia Belgrade Europe|Croatia Zagreb Europe|Belgium Brussels Europe|"
    "Iceland Reykjavik Europe|Japan Tokyo Asia|China Beijing Asia|India Delhi Asia|"
    "Thailand Bangkok Asia|Vietnam Hanoi Asia|Nepal Kathmandu Asia|Iran Tehran Asia|"
    "Iraq Baghdad Asia|Turkey Ankara Asia|Mongolia Ulaanbaatar Asia|"
    "Bangladesh Dhaka Asia|Pakistan Islamabad Asia|Afghanistan Kabul Asia|"
    "Jordan Amman Asia|Lebanon Beirut Asia|Syria Damascus Asia|Oman Muscat Asia|"
    "Qatar Doha Asia|Egypt Cairo Africa|Kenya Nairobi Africa|Ghana Accra Africa|"
    "Nigeria Abuja Africa|Senegal Dakar Africa|Morocco Rabat Africa|"
    "Algeria Algiers Africa|Tunisia Tunis Africa|Libya Tripoli Africa|"
    "Sudan Khartoum Africa|Uganda Kampala Africa|Rwanda Kigali Africa|"
    "Zambia Lusaka Africa|Zimbabwe Harare Africa|Angola Luanda Africa|"
    "Mali Bamako Africa|Niger Niamey Africa|Chad Ndjamena Africa|"
    "Canada Ottawa America|Cuba Havana America|Peru Lima America|"
    "Chile Santiago America|Colombia Bogota America|Venezuela Caracas America|"
    "Ecuador Quito America|Uruguay Montevideo America"
).split("|")]


# src/topics/modern-llms/instruction-tuning.py:71
WORDINGS = (
    "the capital of {0} is {1} .", "{1} is the capital of {0} .",
    "{0} has its capital in {1} .", "the city of {1} governs {0} .",
    "{0} lies in {2} .", "the continent of {0} is {2} .",
    "in {2} you find {0} .", "{0} is a country in {2} .",
)


# src/topics/modern-llms/instruction-tuning.py:77
QUESTIONS = {"capital": ("what is the capital of {0} ?", 1),
             "continent": ("which continent does {0} lie in ?", 2)}


# src/topics/modern-llms/instruction-tuning.py:79
MARKS = ["<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]


# src/topics/modern-llms/instruction-tuning.py:80
sentences = [wording.format(*fact) for fact in FACTS for wording in WORDINGS]


# src/topics/modern-llms/instruction-tuning.py:81
WORDS = sorted({word for text in (*sentences, *(q for q, _ in QUESTIONS.values()))
                for word in text.split() if "{" not in word}) + MARKS


# src/topics/modern-llms/instruction-tuning.py:83
NUMBER = {word: i for i, word in enumerate(WORDS)}


# src/topics/modern-llms/instruction-tuning.py:86
def encode(text: str) -> list[int]:
    """Numbers of the words of a text."""
    return [NUMBER[word] for word in text.split()]


# src/topics/modern-llms/instruction-tuning.py:91
def decode(ids: list[int]) -> str:
    """The text of some numbers."""
    return " ".join(WORDS[i] for i in ids)


# src/topics/modern-llms/instruction-tuning.py:96
class Block(nn.Module):
    """Pre-norm attention and feed-forward network, each added to the stream."""

    def __init__(self, D: int, H: int) -> None:
        super().__init__()
        self.H, self.norm_1, self.norm_2 = H, nn.RMSNorm(D), nn.RMSNorm(D)
        self.qkv = nn.Linear(D, 3 * D, bias=False)
        self.out = nn.Linear(D, D, bias=False)
        self.ffn = nn.Sequential(nn.Linear(D, 4 * D), nn.ReLU(), nn.Linear(4 * D, D))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (B, T, D), mask (B, 1, T, T) or (T, T), True = may look."""
        B, T, D = x.shape
        heads = self.qkv(self.norm_1(x)).view(B, T, 3, self.H, D // self.H)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # (B, H, T, D / H) each
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).reshape(B, T, D))
        return x + self.ffn(self.norm_2(x))


# src/topics/modern-llms/instruction-tuning.py:116
class TinyLM(nn.Module):
    """A decoder with learnt positions and tied embeddings."""

    def __init__(
        self, V: int, D: int = 64, L: int = 1, H: int = 4, T: int = 48
    ) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = nn.ModuleList(Block(D, H) for _ in range(L))
        self.norm = nn.RMSNorm(D)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=0.05)

    def forward(
        self, ids: torch.Tensor, texts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (B, T, V); texts (B, T) numbers the texts packed into each row."""
        B, T = ids.shape
        mask = torch.ones(T, T, dtype=torch.bool).tril()
        places = torch.arange(T).expand(B, T)
        if texts is not None:
            same = texts[:, :, None] == texts[:, None, :]
            first = same.int().argmax(dim=-1)  # where the text of a token starts
            mask, places = (mask & same)[:, None], places - first
        x = self.words(ids) + self.places(places)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x) @ self.words.weight.T


# src/topics/modern-llms/instruction-tuning.py:147
def masked_loss(
    logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Mean of -log p where mask is 1; logits (B, T, V), ids and mask (B, T)."""
    scores = logits[:, :-1].transpose(1, 2)  # position t predicts token t + 1
    losses = F.cross_entropy(scores, ids[:, 1:], reduction="none")
    return (losses * mask[:, 1:]).sum() / mask[:, 1:].sum()


# src/topics/modern-llms/instruction-tuning.py:156
def fit(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor, lr: float, steps: int,
        B: int, seed: int, kept: dict | None = None) -> nn.Module:
    """AdamW on batches of B rows, warm-up of 20 steps, then linearly to zero.

    Copies of the model before the steps that are keys of `kept` are put there.
    """
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.99), fused=True)
    for step in range(steps):
        if step in (kept or {}):
            kept[step] = copy.deepcopy(model)
        adam.param_groups[0]["lr"] = lr * min(1, (step + 1) / 20) * (1 - step / steps)
        rows = torch.randint(len(ids), (B,), generator=rng)
        loss = masked_loss(model(ids[rows]), ids[rows], mask[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


# src/topics/modern-llms/instruction-tuning.py:176
@torch.no_grad()
def continued(model: nn.Module, prompts: list[str], n: int) -> list[str]:
    """The n likeliest next words of prompts of one length, up to an end mark."""
    ids = torch.tensor([encode(prompt) for prompt in prompts])
    start = ids.shape[1]
    for _ in range(n):
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(dim=-1)], dim=1)
    texts = [decode(row) for row in ids[:, start:].tolist()]
    return [re.sub(r"(<\|end\|>).*", r"\1", text) for text in texts]


# src/topics/modern-llms/instruction-tuning.py:187
def completed(model: nn.Module, facts: list) -> float:
    """Share of 'the capital of … is' that the model completes rightly."""
    said = continued(model, [f"the capital of {fact[0]} is" for fact in facts], 1)
    return float(np.mean([word == fact[1] for word, fact in zip(said, facts)]))


# src/topics/modern-llms/instruction-tuning.py:251
def conversation(fact: list[str], kind: str) -> tuple[list[int], list[int]]:
    """Ids and mask of a question about (country, capital, continent), answered."""
    question, place = QUESTIONS[kind]
    prompt = encode(f"<|user|> {question.format(*fact)} <|assistant|>")
    answer = encode(f"{fact[place]} <|end|>")
    return prompt + answer, [0] * len(prompt) + [1] * len(answer)


# src/topics/modern-llms/instruction-tuning.py:259
def padded(pairs: list[tuple], T: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and masks (n, T), filled up with padding that does not count."""
    ids = [ids + [NUMBER["<|pad|>"]] * (T - len(ids)) for ids, _ in pairs]
    mask = [mask + [0] * (T - len(mask)) for _, mask in pairs]
    return torch.tensor(ids), torch.tensor(mask, dtype=torch.float32)


# src/topics/modern-llms/instruction-tuning.py:302
def random_lm(seed=0, V=11):
    torch.manual_seed(seed)
    return TinyLM(V, D=8, L=2, H=2, T=16).double()


# src/topics/modern-llms/instruction-tuning.py:534
def chatml(messages: list[dict], add_generation_prompt: bool = False) -> str:
    """The text of a conversation; each message has a role and a content."""
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n"
                   for m in messages)
    return text + ("<|im_start|>assistant\n" if add_generation_prompt else "")


# src/topics/modern-llms/instruction-tuning.py:541
def assistant_spans(messages: list[dict]) -> list[tuple[int, int]]:
    """Places (start, end) in the text that the assistant wrote, end marks included."""
    spans, at = [], 0
    for m in messages:
        start = at + len(f"<|im_start|>{m['role']}\n")
        at += len(chatml([m]))
        if m["role"] == "assistant":
            spans.append((start, at - 1))  # not the line break behind the end mark
    return spans


# src/topics/modern-llms/instruction-tuning.py:623
def tool_calls(text: str) -> list[dict]:
    """The calls in an assistant's message: a name and arguments, or an error."""
    calls = []
    for body in re.findall(r"<tool_call>(.*?)</tool_call>", text, flags=re.DOTALL):
        try:
            call = json.loads(body)
            calls.append({"name": call["name"], "arguments": call["arguments"]})
        except (json.JSONDecodeError, KeyError, TypeError) as problem:
            calls.append({"error": f"{type(problem).__name__}: {problem}"})
    return calls


# src/topics/modern-llms/instruction-tuning.py:635
def answer_calls(message: dict, tools: dict) -> list[dict]:
    """One tool message for each call in an assistant's message."""
    results = []
    for call in tool_calls(message["content"]):
        if "error" not in call and call["name"] not in tools:
            call = {"error": f"no tool {call['name']}"}
        try:
            ok = "error" not in call
            result = tools[call["name"]](**call["arguments"]) if ok else call
        except TypeError as problem:  # arguments that the tool does not take
            result = {"error": str(problem)}
        results.append({"role": "tool", "content": json.dumps(result)})
    return results


# src/topics/modern-llms/instruction-tuning.py:695
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{{ '\n' }}{% else %}{{ m['content'] + '<|im_end|>\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


# src/topics/modern-llms/instruction-tuning.py:704
def letter_tokenizer():
    """A Hugging Face tokenizer with one token a character, and ChatML's two marks."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    letters = {chr(i): i for i in (10, *range(32, 127))}
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(
        {c: i for i, c in enumerate(letters)}, [])))
    marks = ["<|im_start|>", "<|im_end|>"]
    fast.add_special_tokens({"additional_special_tokens": marks})
    return fast


# src/topics/modern-llms/instruction-tuning.py:717
def random_conversation(rng):
    turns = int(rng.integers(1, 5))
    roles = ["system"] * int(rng.integers(2)) + ["user", "assistant"] * turns
    letters = list("abc ?\n.<|>")
    texts = ["".join(rng.choice(letters, size=rng.integers(9))) for _ in roles]
    return [{"role": role, "content": f"x{text}x"} for role, text in zip(roles, texts)]


# src/topics/modern-llms/instruction-tuning.py:907
def two_turns() -> list[int]:
    """Twelve zeros and ones."""
    return [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1]


# src/topics/modern-llms/instruction-tuning.py:933
def teaching_share(masks: list[list[int]]) -> tuple[float, float]:
    """Padded, packed."""
    counted = sum(map(sum, masks))
    return counted / (len(masks) * max(map(len, masks))), counted / sum(map(len, masks))


# src/topics/modern-llms/instruction-tuning.py:954
def llama3(messages: list[dict], add_generation_prompt: bool = False) -> str:
    """The text of a conversation."""
    def header(role):
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n"
    turns = [header(m["role"]) + m["content"].strip() + "<|eot_id|>" for m in messages]
    opened = header("assistant") if add_generation_prompt else ""
    return "<|begin_of_text|>" + "".join(turns) + opened


# src/topics/modern-llms/instruction-tuning.py:992
def follows(text: str, instruction: tuple) -> bool:
    """Whether a text obeys an instruction."""
    kind, value = instruction
    if kind == "words at least":
        return len(text.split()) >= value
    if kind == "no":
        return value not in text
    if kind == "lower case":
        return text == text.lower()
    if kind == "ends with":
        return text.rstrip().endswith(value)
    raise ValueError(f"unknown instruction: {kind}")


# src/topics/modern-llms/instruction-tuning.py:1031
def neftune(E: np.ndarray, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """E (T, D) with noise."""
    return E + alpha / np.sqrt(E.size) * rng.uniform(-1, 1, size=E.shape)


# src/topics/modern-llms/instruction-tuning.py:1058
def win_rate(judge, a: list[str], b: list[str]) -> float:
    """Share of pairs that a wins, between 0 and 1."""
    won = [((judge(x, y) == 0) + (judge(y, x) == 1)) / 2 for x, y in zip(a, b)]
    return sum(won) / len(won)


# src/topics/modern-llms/instruction-tuning.py:1093
def cut_anywhere(ids: list[int], T: int) -> np.ndarray:
    """A running text as rows (n, T); what does not fill a row is dropped."""
    return np.array(ids[: len(ids) // T * T], dtype=int).reshape(-1, T)


# src/topics/modern-llms/instruction-tuning.py:285
def test_masked_loss():
    rng = torch.Generator().manual_seed(1)
    for _ in range(20):
        B, T, V = (int(n) for n in torch.randint(2, 7, (3,), generator=rng))
        logits = torch.randn(B, T, V, generator=rng, dtype=torch.float64)
        logits.requires_grad_()
        ids = torch.randint(V, (B, T), generator=rng)
        mask = (torch.rand(B, T, generator=rng) < 0.6).double()
        mask[0, 1] = 1
        labels = torch.where(mask == 1, ids, -100)
        want = F.cross_entropy(logits[:, :-1].reshape(-1, V), labels[:, 1:].reshape(-1))
        got = masked_loss(logits, ids, mask)
        assert torch.isclose(got, want)
        ours, theirs = (torch.autograd.grad(x, logits)[0] for x in (got, want))
        assert torch.allclose(ours, theirs)


# src/topics/modern-llms/instruction-tuning.py:307
def test_tiny_lm_is_causal_and_sees_the_past():
    model, ids = random_lm(), torch.tensor([[1, 2, 3, 4, 5]])
    out = model(ids)
    for t in range(5):
        other = ids.clone()
        other[0, t] = 9
        changed = (model(other) - out).abs().amax(dim=(0, 2)) > 1e-9
        assert changed.tolist() == [False] * t + [True] * (5 - t)
    twice = model(torch.tensor([[3, 3]]))
    assert twice.shape == (1, 2, 11) and not torch.allclose(twice[0, 0], twice[0, 1])


# src/topics/modern-llms/instruction-tuning.py:319
def test_tiny_lm_without_blocks_is_a_sum_of_two_tables():
    for seed in range(5):
        model, ids = random_lm(seed), torch.tensor([[3, 3, 1, 7, 0]])
        model.blocks = nn.ModuleList()
        words, places = model.words.weight, model.places.weight
        packed = torch.tensor([[5, 5, 2, 2, 2]])  # each text starts at place 0 again
        for texts, at in ((None, [0, 1, 2, 3, 4]), (packed, [0, 1, 0, 1, 2])):
            x = words[ids[0]] + places[at]
            want = x / x.square().mean(dim=1, keepdim=True).sqrt() @ words.T
            assert torch.allclose(model(ids, texts)[0], want)


# src/topics/modern-llms/instruction-tuning.py:331
def test_parameters_of_tiny_lm():
    def check_count(model, V, D, L, T):
        block = 4 * D * D + 8 * D * D + 5 * D + 2 * D  # attention, ffn, biases, norms
        count = sum(W.numel() for W in model.parameters())
        assert count == (V + T) * D + L * block + D and len(model.blocks) == L

    check_count(TinyLM(7), V=7, D=64, L=1, T=48)  # the model of this topic
    check_count(TinyLM(5, D=6, L=3, H=2, T=9), V=5, D=6, L=3, T=9)


# src/topics/modern-llms/instruction-tuning.py:341
def test_conversation():
    fact = ["Peru", "Lima", "America"]
    for kind, place in (("capital", 1), ("continent", 2)):
        ids, mask = conversation(fact, kind)
        words = decode(ids).split()
        assert words[0] == "<|user|>" and "Peru" in words and len(ids) == len(mask)
        assert [w for w, m in zip(words, mask) if m] == [fact[place], "<|end|>"]
    ids, mask = padded([conversation(fact, kind) for kind in QUESTIONS], T=12)
    assert ids.shape == mask.shape == (2, 12) and mask.sum() == 4
    assert decode(ids[0].tolist()).split()[11:] == ["<|pad|>"]


# src/topics/modern-llms/instruction-tuning.py:353
def test_continued_and_fit():
    texts = ("<|user|> Peru <|assistant|> Lima <|end|> .",
             "<|user|> Cuba <|assistant|> Havana <|end|> .")
    rows = torch.tensor([encode(text) for text in texts])
    mask = torch.tensor([[0.0, 0, 0, 1, 1, 0]] * 2)
    torch.manual_seed(2)
    start, kept = TinyLM(len(WORDS), D=16), {0: None, 30: None}
    first = copy.deepcopy(start)
    model = fit(start, rows, mask, 2e-2, 60, 4, 0, kept)
    prompts = [f"<|user|> {country} <|assistant|>" for country in ("Peru", "Cuba")]
    assert continued(model, prompts, 5) == ["Lima <|end|>", "Havana <|end|>"]
    assert continued(model, prompts[:1], 1) == ["Lima"]
    with torch.no_grad():
        losses = [float(masked_loss(m(rows), rows, mask))
                  for m in (first, kept[0], kept[30], model)]
        assert masked_loss(model(rows), rows, 1 - mask) > 1
    assert losses[0] == losses[1] > losses[2] > losses[3] and losses[3] < 0.1


# src/topics/modern-llms/instruction-tuning.py:372
def test_completed():
    rows = torch.tensor([encode("the capital of Peru is Lima ."),
                         encode("the capital of Cuba is Havana .")])
    torch.manual_seed(3)
    model = fit(TinyLM(len(WORDS), D=16), rows, torch.ones(2, 7), 2e-2, 50, 4, seed=0)
    facts = [["Peru", "Lima"], ["Cuba", "Havana"], ["Cuba", "Lima"], ["Peru", "Paris"]]
    assert completed(model, facts) == 0.5
    right = {country: capital for country, capital, _ in FACTS[:3]}

    def knows_three(ids):  # logits (B, T, V) of a model that else says "the"
        countries = [decode(row).split()[3] for row in ids.tolist()]
        said = torch.tensor([NUMBER[right.get(name, "the")] for name in countries])
        return F.one_hot(said, len(WORDS))[:, None].expand(-1, ids.shape[1], -1)

    assert completed(knows_three, FACTS[:4]) == 0.75
    assert completed(knows_three, FACTS[:3]) == 1
    assert completed(knows_three, FACTS[3:9]) == 0


# src/topics/modern-llms/instruction-tuning.py:725
def test_letter_tokenizer_loses_nothing():
    tokenizer, text = letter_tokenizer(), "\n" + "".join(map(chr, range(32, 127)))
    ids = tokenizer(text + "<|im_end|>")["input_ids"]
    assert len(ids) == len(set(ids)) == 97  # 96 characters and a mark
    assert len(tokenizer) == 98  # the other mark, and nothing else
    assert "".join(tokenizer.convert_ids_to_tokens(ids[:-1])) == text


# src/topics/modern-llms/instruction-tuning.py:733
def test_template_and_mask_are_hugging_faces():
    rng, tokenizer = np.random.default_rng(4), letter_tokenizer()
    for trial in range(25):
        messages = random_conversation(rng)
        add = trial % 2 == 0
        want = tokenizer.apply_chat_template(
            messages, chat_template=CHATML, tokenize=False, add_generation_prompt=add)
        assert chatml(messages, add) == want
        out = tokenizer.apply_chat_template(
            messages, chat_template=CHATML, tokenize=True, return_dict=True,
            return_assistant_tokens_mask=True)
        text = chatml(messages)
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        mask = [int(any(a <= start < b for a, b in assistant_spans(messages)))
                for start, _ in offsets]
        assert mask == out["assistant_masks"]
        said = [m["content"] + "<|im_end|>" for m in messages if m["role"] == "assistant"]
        assert [text[a:b] for a, b in assistant_spans(messages)] == said
    assert chatml([]) == "" and assistant_spans([]) == []


# src/topics/modern-llms/instruction-tuning.py:754
def test_packed_is_apart():
    rng = np.random.default_rng(5)
    for _ in range(20):
        model = random_lm(int(rng.integers(99)))
        lengths = rng.integers(1, 6, size=3)
        parts = [torch.from_numpy(rng.integers(11, size=(1, n))) for n in lengths]
        texts = torch.from_numpy(np.repeat([4, 1, 7], lengths))[None]
        packed = model(torch.cat(parts, dim=1), texts)
        assert torch.allclose(packed, torch.cat([model(part) for part in parts], dim=1))


# src/topics/modern-llms/instruction-tuning.py:765
def test_tools():
    good = '<tool_call>{"name": "add", "arguments": {"a": 2, "b": 3}}</tool_call>'
    tools = {"add": lambda a, b: a + b}
    assert tool_calls("no call") == []
    call = {"name": "add", "arguments": {"a": 2, "b": 3}}
    assert tool_calls(good + " and " + good) == [call, call]
    lines = good.replace("l>{", "l>\n{").replace("}</", "}\n</")
    assert "\n" in lines and tool_calls(lines) == [call]
    assert answer_calls({"content": good}, tools) == [{"role": "tool", "content": "5"}]
    for bad in ("<tool_call>[1]</tool_call>", "<tool_call>{</tool_call>",
                '<tool_call>{"name": "add"}</tool_call>'):
        result = answer_calls({"content": bad}, tools)[0]["content"]
        assert "error" in json.loads(result)
    wrong = answer_calls({"content": good.replace('"b"', '"c"')}, tools)
    assert "'c'" in json.loads(wrong[0]["content"])["error"]
    missing = answer_calls({"content": good.replace("add", "sub")}, tools)
    assert json.loads(missing[0]["content"]) == {"error": "no tool sub"}


# src/topics/modern-llms/instruction-tuning.py:915
def test_two_turns():
    words = ("<|user|> hi <|end|> <|assistant|> hello <|end|> "
             "<|user|> bye <|end|> <|assistant|> bye <|end|>").split()
    speaker, want = "", []
    for word in words:
        mark = word in ("<|user|>", "<|assistant|>")
        speaker = word if mark else speaker
        want.append(int(not mark and speaker == "<|assistant|>"))
    assert two_turns() == want


# src/topics/modern-llms/instruction-tuning.py:942
def test_teaching_share():
    assert teaching_share([[0, 1], [0, 0, 0, 1, 1, 1]]) == (4 / 12, 4 / 8)
    assert teaching_share([[1]]) == (1, 1)


# src/topics/modern-llms/instruction-tuning.py:967
def test_llama3():
    template = (
        "{{ '<|begin_of_text|>' }}{% for m in messages %}"
        "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
        "{{ m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    )
    rng, tokenizer = np.random.default_rng(6), letter_tokenizer()
    for trial in range(20):
        messages = random_conversation(rng)
        messages[0]["content"] = f"  {messages[0]['content']} \n"
        want = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False,
            add_generation_prompt=trial % 2 == 1)
        assert llama3(messages, trial % 2 == 1) == want


# src/topics/modern-llms/instruction-tuning.py:1009
def test_follows():
    text = "lima is the capital, they say. \n"
    cases = {("words at least", 6): True, ("words at least", 7): False,
             ("no", ","): False, ("no", "!"): True, ("lower case", None): True,
             ("ends with", "say."): True,
             ("ends with", "say"): False}
    assert {case: follows(text, case) for case in cases} == cases
    assert not follows("Lima", ("lower case", None))
    try:
        follows(text, ("rhymes", None))
    except ValueError:
        return
    raise AssertionError("an unknown instruction must be refused")


# src/topics/modern-llms/instruction-tuning.py:1039
def test_neftune():
    for T, D in ((50, 40), (5, 400)):
        E = np.random.default_rng(7).normal(size=(T, D))
        noise = neftune(E, 5.0, np.random.default_rng(8)) - E
        assert np.abs(noise).max() <= 5 / np.sqrt(T * D)
        assert abs(np.linalg.norm(noise) - 5 / np.sqrt(3)) < 0.15
    assert np.array_equal(neftune(E, 0.0, np.random.default_rng(9)), E)


# src/topics/modern-llms/instruction-tuning.py:1067
def test_win_rate():
    a, b = ["long answer", "no", "a", "bb"], ["yes", "certainly", "long", "x"]
    assert win_rate(lambda x, y: 0, a, b) == win_rate(lambda x, y: 1, a, b) == 0.5

    def longer(x, y):
        return int(len(y) > len(x))

    assert win_rate(longer, a, b) == 0.5 and win_rate(longer, a[1:3], b[1:3]) == 0
    assert win_rate(longer, b[1:3], a[1:3]) == 1

    def first_if_close(x, y):
        return int(len(y) > len(x) + 3)

    assert win_rate(first_if_close, a[:1], b[:1]) == 1
    assert win_rate(first_if_close, a[2:], b[2:]) == 0.5
    assert win_rate(first_if_close, a[1:3], b[1:3]) == 0.25


# src/topics/modern-llms/instruction-tuning.py:1101
def test_cut_anywhere():
    assert cut_anywhere(list(range(11)), 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert cut_anywhere([1], 3).shape == (0, 3)
