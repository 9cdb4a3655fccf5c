# ---
# title: Distributed training
# summary: "One model, many processes: what is split, and what is sent."
# prerequisites:
#   - training/batching: gradients of parts, accumulation, what training keeps in memory
#   - transformers/transformer-architecture: the layers that are split
# packages: [numpy, matplotlib, scikit-learn, torch]
# ---

# %% [markdown]
# # Distributed training
#
# $$
# \boxed{t_\text{all-reduce} = 2 (N - 1) \left( \alpha + \frac{S}{N \beta} \right) \approx \frac{2 S}{\beta}}
# $$
#
# $N$ workers each hold a vector of $S$ bytes, and at the end each holds the sum of all.
# A message of $s$ bytes takes $\alpha + s / \beta$ seconds: $\alpha$ is the *latency*, the time of an empty message, and $\beta$ the *bandwidth* in bytes a second.
# For large $S$ the time hardly depends on $N$, which is what lets thousands of workers train one model.
#
# The largest models fit on no single machine, and none could train them in a lifetime; what you can train is decided by what you can split and what you must send.

# %% [markdown]
# ## 1. Core concept: split the batch, add the gradients
#
# ### One accelerator, three thousand years
#
# Llama 3's largest model has 405 billion parameters, and its [pretraining](../modern-llms/pretraining.py#what-a-run-costs) took $3.8 \cdot 10^{25}$ floating-point operations [@grattafiori2024llama].
# Take one accelerator of the kind that was used, an H100 with 80 GB that does $989 \cdot 10^{12}$ operations a second in 16 bits, and let it reach 40 % of that.

# %% tags=["hide-input"]
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn

torch.set_num_threads(1)

# %%
years = 3.8e25 / (0.4 * 989e12) / (365.25 * 24 * 3600)
state = 16 * 405e9 / 80e9
print(f"time: {years:,.0f} years; "
      f"weights, gradients and Adam's state fill {state:.0f} accelerators")

# %% [markdown]
# **What the code shows:** two things do not fit.
# The *time* needs thousands of workers, and the *memory* (16 bytes a parameter, from [optimizers](optimizers.py#what-an-optimizer-costs)) needs dozens before the first token is read.
# The first calls for splitting the data, the second for splitting the model.
#
# ### Data parallel
#
# Every worker holds the whole model and takes its own part of the batch.
# It computes its gradient, all gradients are averaged, and all take the same step.
# With equal parts, the mean of the parts' means is the [gradient of the whole batch](batching.py#a-large-batch-on-a-small-machine):
#
# $$
# g = \frac{1}{N} \sum_{k=0}^{N-1} g^{(k)}, \quad g^{(k)} = \frac{N}{B} \sum_{i \in \text{part } k} g_i
# $$
#
# Here $g_i$ is the gradient of the loss of example $i$, and $B$ the number of examples in the batch.
#
# **What this means:** $N$ workers do exactly what one worker would do with the whole batch, in $1/N$ of the computing time, plus the time to add up.
# ("Exactly" holds for layers that treat examples apart; [batch normalisation](../neural-networks/regularization.py#keep-the-signals-in-range) takes its averages over the part.)
# The copies start equal and get equal gradients, so they stay equal; nobody needs to send weights.
#
# | name | symbol | size |
# |---|---|---|
# | workers; their numbers, the *ranks* | $N$; $k$ | `world_size`; 0 to $N - 1$ |
# | batch; part of a worker | $B$; $B/N$ | examples |
# | bytes of a message; latency; bandwidth | $S$; $\alpha$; $\beta$ | bytes; seconds; bytes a second |
# | parameters | $\Psi$ | a number |
# | gradient of an example, of a part, of the batch | $g_i$, $g^{(k)}$, $g$ | $(\Psi,)$; a chunk of it $(\Psi / N,)$ |
# | stages; microbatches; steps between averages (Section 2) | $P$; $M$; $h$ | numbers |
#
# ### Adding up, in a ring
#
# The obvious way is to send everything to worker 0, which adds up and sends the sum back.
# Then worker 0 receives $(N - 1) S$ bytes and sends as many, while the others wait.
# In a *ring* everybody works all the time [@patarasuk2009bandwidth].
# Cut each vector into $N$ chunks.
# In each step every worker sends one chunk to the right and receives one from the left.
# In the first $N - 1$ steps it adds what it receives; then each worker holds one chunk of the full sum (a *reduce-scatter*).
# In the next $N - 1$ steps the finished chunks travel round and are copied (an *all-gather*).
# Both together are an *all-reduce*. All three are *collective operations*: every worker must take part.
#
# In each of the $2(N - 1)$ steps every worker sends one chunk of $S / N$ bytes, which takes $\alpha + S / (N \beta)$: the box.
# Its second term is $2 \frac{N-1}{N} \frac{S}{\beta}$, and $\frac{N-1}{N}$ is nearly 1; the first, $2 (N-1) \alpha$, does grow with $N$, but not with $S$.
#
# **By hand.** Three workers hold $(1, 2, 3)$, $(10, 20, 30)$ and $(100, 200, 300)$, one number a chunk.
# Each worker begins with the chunk of its own number; what has just arrived is added, and sent on in the next step.
#
# | | worker 0 | worker 1 | worker 2 |
# |---|---|---|---|
# | at the start | 1, 2, 3 | 10, 20, 30 | 100, 200, 300 |
# | sends | 1 | 20 | 300 |
# | after step 1 | 1, 2, **303** | **11**, 20, 30 | 100, **220**, 300 |
# | sends | 303 | 11 | 220 |
# | after step 2 | 1, **222**, 303 | 11, 20, **333** | **111**, 220, 300 |
#
# Now every chunk is complete somewhere: worker $k$ holds the sum of chunk $k + 1$ (the last worker, of chunk 0).
# After two more steps, in which 222, 333 and 111 travel on unchanged, all hold $(111, 222, 333)$.
#
# ### In code
#
# These are real processes, joined by PyTorch's *gloo* library, which needs no accelerator (Linux or macOS).
# `run_workers` starts $N$ of them and collects what they return.
# Indices, modulo $N$: in step $s$ of the reduce-scatter worker $k$ sends chunk $k - s$ and adds to chunk $k - s - 1$ what its left neighbour sends; in step $s$ of the all-gather it sends chunk $k + 1 - s$ and receives chunk $k - s$.

# %% tags=["hide-input"]
# stay on this machine
os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"


def run_workers(work, N: int, *args, patience: float = 60.0) -> list:
    """[work(rank, N, *args) for each rank], in N processes that can talk to each other.

    Raises TimeoutError if others are missing `patience` seconds after the first answer,
    and RuntimeError if a worker fails.
    """
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        def main(rank: int) -> None:
            torch.set_num_threads(1)
            try:
                dist.init_process_group("gloo", init_method=f"file://{folder}/meet",
                                        rank=rank, world_size=N)
                answers.put(pickle.dumps((rank, work(rank, N, *args))))  # bytes outlive us
                dist.barrier()
                dist.destroy_process_group()
            except Exception as error:
                text = f"worker {rank} failed, {type(error).__name__}: {error}"
                answers.put(pickle.dumps((None, text)))
                os._exit(1)

        workers = [context.Process(target=main, args=(rank,)) for rank in range(N)]
        for worker in workers:
            worker.start()
        found, end = {}, time.monotonic() + 120  # for the first answer
        while len(found) < N:
            crashed = any(worker.exitcode for worker in workers)
            rank, answer = None, f"{len(found)} of {N} workers answered"
            if not answers.empty():
                rank, answer = pickle.loads(answers.get())
                crashed = rank is None
            elif not crashed and time.monotonic() < end:
                time.sleep(0.005)
                continue
            if rank is None:
                for worker in workers:
                    worker.kill()
                    worker.join()
                raise (RuntimeError if crashed else TimeoutError)(answer)
            end = end if found else time.monotonic() + patience
            found[rank] = answer
        for worker in workers:
            worker.join()
    return [found[rank] for rank in range(N)]


# %%
def exchange(chunk: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """Send a chunk to the right neighbour; return the left one's, of equal size."""
    received = torch.empty_like(chunk)
    sending = dist.isend(chunk, (rank + 1) % N)
    dist.recv(received, (rank - 1) % N)
    sending.wait()
    return received


def reduce_scatter(x: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """Chunk (rank + 1) mod N of the sum over workers of x (n,), n a multiple of N."""
    chunks = list(x.chunk(N))
    for step in range(N - 1):
        passed, added = (rank - step) % N, (rank - step - 1) % N
        chunks[added] = chunks[added] + exchange(chunks[passed], rank, N)
    return chunks[(rank + 1) % N]


def all_gather(chunk: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """All chunks in order, from workers that hold chunk (rank + 1) mod N each."""
    chunks = [chunk] * N
    for step in range(N - 1):
        passed, new = (rank - step + 1) % N, (rank - step) % N
        chunks[new] = exchange(chunks[passed], rank, N)
    return torch.cat(chunks)


def ring_all_reduce(x: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """The sum over workers of x (n,), n a multiple of N."""
    return all_gather(reduce_scatter(x, rank, N), rank, N)


def ring_work(rank: int, N: int, vectors: list) -> tuple[list, list]:
    """One worker's finished chunk, and the whole sum."""
    x = torch.tensor(vectors[rank], dtype=torch.float64)
    return reduce_scatter(x, rank, N).tolist(), ring_all_reduce(x, rank, N).tolist()


vectors = [[1, 2, 3], [10, 20, 30], [100, 200, 300]]
for rank, (chunk, total) in enumerate(run_workers(ring_work, 3, vectors)):
    assert chunk == [[222], [333], [111]][rank] and total == [111, 222, 333]
    print(f"worker {rank} finishes {chunk} and ends with {total}")

# %% [markdown]
# **What the code shows:** the table's last line, and three processes that agree on the sum though each only ever heard its left neighbour.
# Now the training step itself, on real digits [@alpaydin1998optical], with a network of two layers: each of four workers takes a quarter of the batch.

# %%
def network() -> nn.Sequential:
    """64 pixels, 24 hidden units, 10 scores; the same start everywhere."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10)).double()


def flat_gradient(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean loss over X (n, 64), y (n,), as one vector."""
    loss = nn.functional.cross_entropy(model(X), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def move(model: nn.Module, step: torch.Tensor) -> None:
    """Add a flat step to the parameters."""
    sizes = [W.numel() for W in model.parameters()]
    with torch.no_grad():
        for W, part in zip(model.parameters(), step.split(sizes)):
            W += part.view_as(W)


def flat(model: nn.Module) -> torch.Tensor:
    """All parameters as one vector."""
    return torch.cat([W.detach().flatten() for W in model.parameters()])


def padded(x: torch.Tensor, N: int) -> torch.Tensor:
    """x with zeros behind, so that N divides its length."""
    return torch.cat([x, x.new_zeros(-len(x) % N)])


def data_parallel(rank: int, N: int, X: torch.Tensor, y: torch.Tensor,
                  steps: int = 20) -> torch.Tensor:
    """Train on this worker's part of each batch of 48; the final parameters."""
    model = network()
    for step in range(steps):
        rows = slice(48 * step, 48 * step + 48)
        part = torch.arange(48).chunk(N)[rank]
        g = flat_gradient(model, X[rows][part], y[rows][part])
        g = ring_all_reduce(padded(g, N), rank, N)[: len(g)] / N
        move(model, -0.5 * g)
    return flat(model)


digits = load_digits()
X, y = torch.from_numpy(digits.data / 16), torch.from_numpy(digits.target)
alone = network()
for step in range(20):
    rows = slice(48 * step, 48 * step + 48)
    move(alone, -0.5 * flat_gradient(alone, X[rows], y[rows]))
together = run_workers(data_parallel, 4, X, y)
gap = max(float((parameters - flat(alone)).abs().max()) for parameters in together)
assert gap < 1e-13
print(f"after 20 steps, four workers against one: largest difference {gap:.0e}")

# %% [markdown]
# **What the code shows:** equal to the last bits, which differ because sums were taken in another order.
# PyTorch's `DistributedDataParallel` does this with two refinements: gradients are sent in *buckets* while the backward pass is still running, so that most of the sending costs no time, and rank 0's weights are copied to all at the start.
#
# If you stop here, you have the picture: *same model everywhere, a part of the batch each, add up gradients in a ring*.

# %% tags=["test"]
def check_ring(rank, N, vectors):
    x = torch.from_numpy(vectors[rank])
    own = ring_all_reduce(padded(x, N), rank, N)[: len(x)]
    want = x.clone()
    dist.all_reduce(want)
    return own.numpy(), want.numpy()


def test_ring_is_all_reduce():
    rng = np.random.default_rng(1)
    for N in (1, 2, 3, 5):
        vectors = rng.normal(size=(N, 7)) * 10.0 ** rng.integers(-3, 4, size=(N, 1))
        for own, want in run_workers(check_ring, N, vectors):
            assert np.allclose(own, want, rtol=1e-12)
            assert np.allclose(want, vectors.sum(axis=0))


def check_rings(rank, N):
    rng, good = np.random.default_rng(2), []
    for _ in range(20):
        vectors = rng.normal(size=(N, int(rng.integers(1, 30))))
        own, want = check_ring(rank, N, vectors)
        chunk = reduce_scatter(padded(torch.from_numpy(vectors[rank]), N), rank, N)
        whole = padded(torch.from_numpy(vectors.sum(axis=0)), N).chunk(N)[(rank + 1) % N]
        good.append(np.allclose(own, want) and torch.allclose(chunk, whole))
    return good


def test_twenty_lengths():
    assert all(all(good) for good in run_workers(check_rings, 3))


def check_ddp(rank, N, X, y):
    torch.manual_seed(rank)  # DDP copies rank 0's weights
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    parallel = nn.parallel.DistributedDataParallel(model)
    part = torch.arange(len(y)).chunk(N)[rank]
    nn.functional.cross_entropy(parallel(X[part]), y[part]).backward()
    theirs = torch.cat([W.grad.flatten() for W in model.parameters()])
    ours = flat_gradient(model, X[part], y[part])
    return theirs.numpy(), (ring_all_reduce(padded(ours, N), rank, N)[: len(ours)] / N).numpy()


def test_ddp_is_ours():
    rng = torch.Generator().manual_seed(3)
    X, y = torch.randn(8, 6, generator=rng).double(), torch.randint(3, (8,), generator=rng)
    for theirs, ours in run_workers(check_ddp, 2, X, y):
        assert np.allclose(theirs, ours, atol=1e-14)


def test_flat_and_move():
    model = network()
    before, step = flat(model), torch.arange(64 * 24 + 24 + 250).double()
    move(model, step)
    assert torch.equal(flat(model), before + step)
    assert torch.equal(model[2].bias.detach(), (before + step)[-10:])
    torch.rand(7)
    assert torch.equal(flat(network()), before)  # one start, whatever was drawn before
    assert padded(torch.ones(5), 3).tolist() == [1, 1, 1, 1, 1, 0]
    assert padded(torch.ones(6), 3).tolist() == [1] * 6


# %% [markdown]
# ## 2. Deeper treatment
#
# ### Split what is kept: ZeRO and FSDP
#
# Data parallel workers keep $N$ equal copies of everything, which is waste.
# ZeRO splits in three stages [@rajbhandari2020zero]: each worker keeps $1/N$ of [Adam](optimizers.py#what-an-optimizer-costs)'s state and [master weights](batching.py#fewer-bits) (12 bytes a parameter), then also of the gradients (2), then also of the weights (2).
#
# $$
# \begin{aligned}
# M_0 &= 16 \Psi, & M_1 &= 4 \Psi + \frac{12 \Psi}{N}, \\
# M_2 &= 2 \Psi + \frac{14 \Psi}{N}, & M_3 &= \frac{16 \Psi}{N}
# \end{aligned}
# $$
#
# **What this means:** with one backward pass a step, stages 1 and 2 send no more than before: a reduce-scatter gives each worker the summed gradient of its own slice, it updates that slice, and an all-gather brings the new weights to all. Those are the two halves of the ring, with the update in the middle.
# Stage 3 keeps no whole weights: it fetches each layer's just before they are used and forgets them again. That is an all-gather forward, another backward, and the reduce-scatter of the gradients: three halves of a ring in place of two, so half as much again.
# PyTorch's version of it is called *fully sharded data parallel*, FSDP [@zhao2023pytorch].

# %%
def zero_bytes(params: float, N: int, stage: int) -> float:
    """Bytes for each worker: 16 a parameter, of which 12, 14 or all 16 are split."""
    split = {0: 0, 1: 12, 2: 14, 3: 16}[stage]
    return params * (16 - split + split / N)


def sharded(rank: int, N: int, X: torch.Tensor, y: torch.Tensor, steps: int = 20,
            lr: float = 0.01) -> tuple[torch.Tensor, int]:
    """Data parallel with Adam, whose averages each worker keeps for its slice only."""
    model, slot = network(), (rank + 1) % N
    m = v = 0
    for t in range(1, steps + 1):
        rows = slice(48 * (t - 1), 48 * t)
        part = torch.arange(48).chunk(N)[rank]
        g = padded(flat_gradient(model, X[rows][part], y[rows][part]), N)
        g = reduce_scatter(g, rank, N) / N  # the mean gradient of my slice
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        mine = padded(flat(model), N).chunk(N)[slot]
        mine = mine - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        whole = all_gather(mine, rank, N)[: len(flat(model))]
        move(model, whole - flat(model))
    return flat(model), m.numel() + v.numel()


alone = network()
adam = torch.optim.Adam(alone.parameters(), lr=0.01)
for t in range(20):
    rows = slice(48 * t, 48 * t + 48)
    adam.zero_grad()
    nn.functional.cross_entropy(alone(X[rows]), y[rows]).backward()
    adam.step()
answers = run_workers(sharded, 4, X, y)
gap = max(float((parameters - flat(alone)).abs().max()) for parameters, _ in answers)
assert gap < 1e-13
print(f"sharded Adam against torch's: {gap:.0e}; "
      f"state of each worker: {answers[0][1]} of {2 * len(flat(alone))} numbers")
published = [zero_bytes(7.5e9, 64, stage) / 1e9 for stage in range(4)]
assert np.allclose(published, [120, 31.4, 16.6, 1.9], atol=0.05)  # the paper's figure 1
print("7.5 billion parameters on 64 workers, GB at stages 0 to 3:",
      *(f"{gb:.1f}" for gb in published))

# %% [markdown]
# **What the code shows:** this is stage 1. Each worker holds a quarter of Adam's averages, and the weights after 20 steps are those of the unsplit optimizer, up to the order of sums. The memory of the published example comes out as in the paper.
#
# ### Split the layer: tensor parallel
#
# A [feed-forward layer](../transformers/transformer-architecture.py#a-memory-for-each-token) is $Y = \text{ReLU}(X W_1) W_2$.
# Cut $W_1$ by *columns* and $W_2$ by *rows* [@shoeybi2019megatron], so that with $d_h$ hidden units $W_1^{(k)}$ is $(d, d_h / N)$ and $W_2^{(k)}$ is $(d_h / N, d)$:
#
# $$
# Y = \sum_{k=0}^{N-1} \text{ReLU}\left(X W_1^{(k)}\right) W_2^{(k)}
# $$
#
# **What this means:** each worker computes some of the hidden units from start to end, and one all-reduce adds up the outputs.
# ReLU works entry by entry, so it does not mind; cut the other way round, the hidden units would have to be added up *before* the ReLU.
# [Attention](../transformers/multi-head-attention.py#mathematical-foundation) splits in the same way by heads, and serving a large model uses the same cut.
# [Backward](../neural-networks/backpropagation.py#mathematical-foundation), the gradient with respect to $X$ is a sum over workers too: one more all-reduce.

# %%
def tensor_parallel(rank: int, N: int, X: torch.Tensor, W1: torch.Tensor,
                    W2: torch.Tensor, dY: torch.Tensor) -> tuple:
    """Y and dX from this worker's hidden units alone plus all-reduces; its dW1, dW2."""
    A, B = W1.chunk(N, dim=1)[rank], W2.chunk(N, dim=0)[rank]
    H = (X @ A).relu()
    Y = H @ B
    dist.all_reduce(Y)
    dZ = (dY @ B.T) * (H > 0)
    dX = dZ @ A.T
    dist.all_reduce(dX)
    return Y, dX, X.T @ dZ, H.T @ dY


rng = torch.Generator().manual_seed(4)
shapes = (5, 6), (6, 8), (8, 3), (5, 3)
X_tp, W1, W2, dY = (torch.randn(*s, generator=rng).double() for s in shapes)
parts = run_workers(tensor_parallel, 2, X_tp, W1, W2, dY)
whole = (X_tp @ W1).relu() @ W2
gap = float((parts[0][0] - whole).abs().max())
assert gap < 1e-13
print(f"two workers, four hidden units each, against one layer: {gap:.0e}")

# %% [markdown]
# **What the code shows:** no worker holds more than half of either matrix.
# The price is one all-reduce of activations forward and one backward, and as many again for the attention: four in *each layer*, and the next product needs their result.
# So tensor parallel stays inside one machine, where links are fast: eight workers in Llama 3's training.
#
# ### Split the depth: pipelines
#
# Give each of $P$ workers, the *stages*, a run of consecutive layers.
# Only activations at the seams are sent, but stage 2 must wait for stage 1.
# Cut the batch into $M$ *microbatches*, and while stage 2 works on the first, stage 1 starts the second [@huang2019gpipe].
# At the start and the end some stages still wait.
# Let a forward pass of a microbatch through one stage take time $f$ and a backward pass $b$, equal for all stages, and sending no time.
# The last stage gets its first microbatch after $(P - 1) f$ and is then busy for $M (f + b)$; its last gradient needs $(P - 1) b$ to reach the first stage.
# That is $(M + P - 1)(f + b)$, of which each stage works $M (f + b)$; the idle share, the *bubble*, is
#
# $$
# \frac{P - 1}{M + P - 1}
# $$
#
# GPipe does all forward passes, then all backward passes, and keeps the activations of all $M$ microbatches.
# *1F1B* ("one forward, one backward") starts backward passes as early as possible: the same bubble, but no stage keeps more than $P$ [@narayanan2021efficient].


# %%
def orders(P: int, M: int, kind: str) -> list[list[tuple[str, int]]]:
    """For each stage, its jobs in order: ("F", microbatch) or ("B", microbatch)."""
    lists = []
    for stage in range(P):
        ahead = M if kind == "GPipe" else min(M, P - stage)
        jobs = [("F", i) for i in range(ahead)]
        for i in range(M):
            jobs.append(("B", i))
            if ahead + i < M:
                jobs.append(("F", ahead + i))
        lists.append(jobs)
    return lists


def simulate(P: int, M: int, kind: str, backward: int = 2) -> tuple[dict, int]:
    """Start time of every (stage, direction, microbatch), and the time of the end.

    A forward job takes 1, a backward job `backward`; each waits for its neighbour's.
    """
    start, done, free = {}, {}, [0] * P
    waiting = [list(jobs) for jobs in orders(P, M, kind)]
    while any(waiting):
        for stage, jobs in enumerate(waiting):
            while jobs:
                job, i = jobs[0]
                before = stage - 1 if job == "F" else stage + 1
                needs = [(before, job, i)] if 0 <= before < P else []
                needs += [(stage, "F", i)] if job == "B" else []
                if any(need not in done for need in needs):
                    break
                begin = max([free[stage], *(done[need] for need in needs)])
                start[stage, job, i] = begin
                end = begin + (1 if job == "F" else backward)
                free[stage] = done[stage, job, i] = end
                jobs.pop(0)
    return start, max(done.values())


def most_kept(P: int, M: int, kind: str) -> int:
    """The most microbatches whose activations the first stage holds at once."""
    held = np.cumsum([1 if job == "F" else -1 for job, _ in orders(P, M, kind)[0]])
    return int(held.max())


# %%
#| label: fig-pipeline
#| fig-cap: Two schedules of 4 stages and 8 microbatches, from the simulation. Light, forward; dark, backward, which takes twice as long; white, idle. Numbers are microbatches.
#| fig-alt: Both schedules end at the same time with the same white triangles; in the second, backward work starts early and alternates with forward work.
fig, axes = plt.subplots(2, 1, figsize=(7.2, 3.6), sharex=True)
for ax, kind in zip(axes, ("GPipe", "1F1B")):
    start, end = simulate(4, 8, kind)
    for (stage, job, i), at in start.items():
        width, color = (1, "#a6cee3") if job == "F" else (2, "#1f4e79")
        ax.barh(stage, width, left=at, color=color, edgecolor="white")
        ax.text(at + width / 2, stage, i, ha="center", va="center", fontsize=7,
                color="black" if job == "F" else "white")
    ax.set(yticks=range(4), ylabel="stage",
           title=f"{kind}: ends at {end}, first stage keeps {most_kept(4, 8, kind)}")
    ax.invert_yaxis()
    ax.grid(False)
axes[1].set_xlabel("time")
bubble = 1 - 8 * 3 / end
assert np.isclose(bubble, (4 - 1) / (8 + 4 - 1))

# %% [markdown]
# **What the code shows:** the two schedules of @fig-pipeline end together, with `{python} f"{bubble:.0%}"` of the time idle, as the formula says, and 1F1B keeps half as much here.
# *Zero bubble* schedules cut the backward pass in two, the gradient of the stage's input, for which the stage before it waits, and that of its weights, for which nobody waits, and fill the holes with the second [@qi2024zero]; DeepSeek-V3's DualPipe sends microbatches in from both ends [@deepseek2024v3].
#
# A schedule is only an order of jobs, so two processes can follow it. Stage 0 holds the first layer and the ReLU, stage 1 the second layer and the loss; activations travel to the right, their gradients to the left.

# %%
def pipelined(rank: int, N: int, X: torch.Tensor, y: torch.Tensor, M: int,
              kind: str) -> tuple[torch.Tensor, int]:
    """This stage's part of the flat gradient, and the most microbatches it held."""
    stage = network()[:2] if rank == 0 else network()[2:]
    parts, labels = X.chunk(M), y.chunk(M)
    kept, sent, peak = {}, [], 0
    for job, i in orders(2, M, kind)[rank]:
        if job == "F" and rank == 0:
            kept[i] = stage(parts[i])
            sent.append(dist.isend(kept[i].detach(), 1))
        elif job == "F":
            H = torch.empty(len(parts[i]), 24, dtype=torch.float64)
            dist.recv(H, 0)
            H.requires_grad_()
            loss = nn.functional.cross_entropy(stage(H), labels[i], reduction="sum")
            kept[i] = H, loss / len(y)
        peak = max(peak, len(kept))
        if job == "B" and rank == 0:
            dH = torch.empty(len(parts[i]), 24, dtype=torch.float64)
            dist.recv(dH, 1)
            kept.pop(i).backward(dH)
        elif job == "B":
            H, loss = kept.pop(i)
            loss.backward()
            sent.append(dist.isend(H.grad, 0))
    for message in sent:
        message.wait()
    return torch.cat([W.grad.flatten() for W in stage.parameters()]), peak


whole = flat_gradient(network(), X[:48], y[:48])
for kind in ("GPipe", "1F1B"):
    (first, held), (second, _) = run_workers(pipelined, 2, X[:48], y[:48], 6, kind)
    gap = float((torch.cat([first, second]) - whole).abs().max())
    assert gap < 1e-15
    print(f"{kind}: pipeline against one process {gap:.0e}; "
          f"stage 0 held {held} of 6 microbatches")

# %% [markdown]
# **What the code shows:** the gradient of the uncut model either way, and two microbatches held in place of six.
#
# ### Experiment: must workers talk at every step?
#
# All of the above computes exactly what one machine would.
# If links are slow, you can give that up: let each worker take $h$ steps on its own and then average the *weights*.
#
# **Question.** What does it cost to talk only every $h$ steps?
# **Prediction.** Little for small $h$, since short paths stay close together; more as $h$ grows and each worker settles on its own data.
# Eight workers share 1,400 digits, without overlap, with batches of 8 each; 240 steps, and the test is on the 397 other digits.
# Each $h$ gets the best of six learning rates, chosen on four seeds that are not used again; eight others give the result.
# A seed fixes split, start and batches for all $h$, so losses are compared seed by seed.
# Two controls: one of the workers alone (`h = 241`), and averaging once when every worker draws from all 1,400 digits.

# %%
def local_sgd(h: int, seed: int, lr: float, own: bool = True, N: int = 8,
              steps: int = 240) -> float:
    """Test loss of worker 0 after `steps` steps; N workers average every h steps."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(y))
    train, test = shuffled[:1400], shuffled[1400:]
    shares = np.array_split(train, N) if own else [train] * N
    W1 = np.repeat(rng.normal(size=(1, 64, 24)) / 8, N, axis=0)  # a copy for each
    W2 = np.repeat(rng.normal(size=(1, 24, 10)) / np.sqrt(24), N, axis=0)
    images, labels = X.numpy(), np.eye(10)[y.numpy()]
    for step in range(1, steps + 1):
        rows = np.array([rng.choice(share, size=8) for share in shares])
        x, target = images[rows], labels[rows]  # (N, 8, 64), (N, 8, 10)
        H = np.maximum(x @ W1, 0)
        S = H @ W2
        p = np.exp(S - S.max(axis=-1, keepdims=True))
        dS = (p / p.sum(axis=-1, keepdims=True) - target) / 8
        dH = (dS @ W2.swapaxes(1, 2)) * (H > 0)
        W2 = W2 - lr * H.swapaxes(1, 2) @ dS
        W1 = W1 - lr * x.swapaxes(1, 2) @ dH
        if step % h == 0:
            W1[:], W2[:] = W1.mean(axis=0), W2.mean(axis=0)
    S = np.maximum(images[test] @ W1[0], 0) @ W2[0]
    top = S.max(axis=1, keepdims=True)
    log_p = S - top - np.log(np.exp(S - top).sum(axis=1, keepdims=True))
    return float(-(log_p * labels[test]).sum(axis=1).mean())


EVERY, RATES = (1, 4, 16, 60, 240), (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
best, losses = {}, {}
for h in (*EVERY, 241):
    tuning = [[local_sgd(h, seed, lr) for seed in range(10, 14)] for lr in RATES]
    best[h] = RATES[int(np.mean(tuning, axis=1).argmin())]
    losses[h] = np.array([local_sgd(h, seed, best[h]) for seed in range(8)])
    more = losses[h] - losses[1]
    name = f"average every {h:3} steps" if h < 241 else "one worker alone"
    print(f"{name:23}: rate {best[h]:4}, test loss {losses[h].mean():.2f}, "
          f"above h = 1 by {more.mean():.2f} ({more.min():.2f} to {more.max():.2f})")
shared = np.array([local_sgd(240, seed, best[240], own=False) for seed in range(8)])
kept_gain = (losses[241] - losses[240]).mean() / (losses[241] - losses[1]).mean()
print(f"average once, all data for all workers: test loss {shared.mean():.2f}")

# %%
#| label: fig-local
#| fig-cap: Test loss after 240 steps of eight workers that average their weights every so many steps, each with its best learning rate. Thin lines, one seed each; points, means over 8 seeds; dashed, the mean of one worker alone.
#| fig-alt: The mean loss stays nearly level from 1 to 60 steps, and rises about halfway to the line of a single worker when the workers average once at the end.
fig, ax = plt.subplots(figsize=(5.4, 2.7))
ax.plot(EVERY, [losses[h] for h in EVERY], "-", color="0.75", linewidth=0.8)
ax.plot(EVERY, [losses[h].mean() for h in EVERY], "o-")
ax.axhline(losses[241].mean(), linestyle="--", color="0.4")
ax.set(xscale="log", xlabel="steps between two averages", ylabel="test loss",
       ylim=(0, 1.2 * losses[241].mean()))

# %% [markdown]
# **What the code shows:** up to 60 steps without a word, four averages in the whole run, the mean loss hardly moves, and the seeds do not even agree on the sign of the difference (@fig-local). Averaging once at the end keeps `{python} f"{kept_gain:.0%}"` of what talking at every step gains over a worker alone, and beats the single worker on every seed.
# There are two surprises. The best rate falls as $h$ grows; with the rate of $h = 1$ for all, talking rarely would look far worse.
# And the last line shows no clear gain when all workers draw from all the data, so here the price is not that workers settle on their own digits; the prediction holds, the second half of its reason does not.
# It is a small problem with data dealt out at random; do not take the numbers with you.
# DiLoCo made the idea work for language models: 500 AdamW steps between two meetings, and an outer optimizer with Nesterov momentum that treats the averaged change as a gradient [@douillard2023diloco].
#
# ### Four more ways to split
#
# | what is split | who needs whom | what is sent |
# |---|---|---|
# | the sequence, outside attention (*sequence parallel*) [@korthikanti2022reducing], with [selective recomputation](batching.py#memory-keep-it-or-compute-it-again) | norms and dropout between tensor parallel blocks | the same all-reduces, as reduce-scatter and all-gather |
# | the sequence, inside attention (*context parallel*), in a ring [@liu2024ring] | each block of queries needs all keys and values | keys and values, round the ring (Exercise 5) |
# | the same, by exchange [@jacobs2023deepspeed] | a worker gets all positions of some heads | activations, all to all |
# | experts of a [mixture](../transformers/transformer-architecture.py#what-varies-in-2026) (*expert parallel*) [@lepikhin2021gshard] | tokens travel to their experts | tokens, all to all, twice a layer |
#
# Large runs combine them, with the most talkative on the fastest links.
# Llama 3's largest model was trained on up to 16,384 accelerators; one of its published configurations is 8-fold tensor, 16-fold pipeline and 128-fold data parallel, with 16 million tokens a step, $400 \cdot 10^{12}$ operations a second on each accelerator and 400 Gbit/s between them, which is 50 GB/s [@grattafiori2024llama].
# Let the data parallel part be sharded at stage 1 or 2, with gradients summed in 32 bits (4 bytes a parameter) and weights collected in 16 bits (2 bytes):

# %%
tensor, pipeline, data = 8, 16, 128
workers = tensor * pipeline * data
assert workers == 16_384 and round(4e14 / 989e12, 1) == 0.4
computing = 6 * 405e9 * 16e6 / (workers * 4e14)  # 6 operations a parameter and token
halves = (4 + 2) * 405e9 / 50e9  # reduce-scatter and all-gather, for an uncut model
sending = halves / (tensor * pipeline)
print(f"a step: {computing:.1f} s; data parallel sending: {sending:.2f} s, "
      f"without the cut by {tensor * pipeline}: {halves:.0f} s")

# %% [markdown]
# **What the code shows:** data parallel sending takes `{python} f"{sending / computing:.0%}"` of a step even if none of it is hidden, *because* the other two cuts had left each accelerator 1/128 of the model; without them it would take longer than the computing.
#
# ### The same script on one machine or a thousand
#
# Outside of a book nobody forks processes by hand.
# `torchrun` starts one process per accelerator and tells each its rank through environment variables; with `--nnodes` and an address it does so on many hosts, and the script does not change.

# %%
SCRIPT = """
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

torch.set_num_threads(1)
dist.init_process_group("gloo")            # "nccl" on accelerators
rank, N = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model, alone = (torch.nn.Linear(6, 4).double() for _ in range(2))
alone.load_state_dict(model.state_dict())
fully_shard(model, mesh=init_device_mesh("cpu", (N,)))   # each worker keeps 1/N
X = torch.randn(8, 6).double()
for net, rows in ((model, X.chunk(N)[rank]), (alone, X)):
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    net(rows).square().mean().backward()
    sgd.step()
whole, shard = model.weight.full_tensor(), model.weight.to_local()
if rank == 0:
    print(f"kept {tuple(shard.shape)} of {tuple(whole.shape)}; "
          f"equal to one process: {torch.allclose(whole, alone.weight, atol=1e-15)}")
dist.destroy_process_group()
"""
with tempfile.TemporaryDirectory() as folder:
    script = Path(folder) / "train.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone",
              "--nproc-per-node", "2", str(script)]
    done = subprocess.run(launch, capture_output=True, text=True, check=False,
                          timeout=300)
print(done.stdout.strip() or done.stderr)

# %% [markdown]
# **What the code shows:** FSDP's second version replaces each parameter by its slice and fetches the rest when needed; after a step the weights are those of one process.
#
# ### Does the cost model hold?
#
# Measure the ring on this machine for messages of several sizes, and fit $\alpha$ and $\beta$.
# These numbers are of one run on one machine, on which other programs ran too; yours will differ, and no claim depends on them.

# %% tags=["NBVAL_IGNORE_OUTPUT"]
#| label: fig-cost
#| fig-cap: Time of an all-reduce between two processes on one machine, the fastest of several, and the fitted cost model. Two runs of this cell will differ.
#| fig-alt: Measured times as points on logarithmic axes, and the cost model as a curve that is flat for small messages and rises in proportion to the size for large ones.
def timed(rank: int, N: int, sizes: list, repeats: int = 15) -> list[float]:
    """Least seconds of a ring all-reduce for vectors of so many float64."""
    least = []
    for n in sizes:
        x, seconds = torch.zeros(n, dtype=torch.float64), []
        for _ in range(repeats):
            dist.barrier()
            start = time.perf_counter()
            ring_all_reduce(x, rank, N)
            seconds.append(time.perf_counter() - start)
        least.append(min(seconds))
    return least


def ring_seconds(S: float, N: int, alpha: float, beta: float) -> float:
    """The box: seconds for S bytes among N workers."""
    return 2 * (N - 1) * (alpha + S / (N * beta))


sizes = [2 * 4**k for k in range(1, 11)]
seconds = np.array(run_workers(timed, 2, sizes)[0])
S = 8 * np.array(sizes)
columns = np.stack([np.full(len(S), 2.0), S], axis=1)  # the box: 2 alpha + S / beta
relative = columns / seconds[:, None]  # every size counts alike
alpha, inverse = np.linalg.lstsq(relative, np.ones(len(S)), rcond=None)[0]
fig, ax = plt.subplots(figsize=(5.4, 3.1))
ax.loglog(S, seconds, "o", label="measured")
ax.loglog(S, ring_seconds(S, 2, alpha, 1 / inverse), "-", label="cost model")
ax.set(xlabel="bytes", ylabel="seconds")
ax.legend()
print(f"latency {1e6 * alpha:.0f} microseconds, bandwidth {1e-9 / inverse:.2f} GB/s")

# %% [markdown]
# **What the code shows:** how well two numbers describe your machine.
# The model itself has two regimes: small messages cost latency, whatever they hold, and large ones bandwidth. Both terms are equal at $S = N \alpha \beta$:

# %%
N, a, b = 128, 10e-6, 50e9  # say 10 microseconds, and 50 GB/s
equal = N * a * b
assert np.isclose(ring_seconds(equal, N, a, b), 2 * ring_seconds(0, N, a, b))
print(f"{N} workers: latency and bandwidth cost the same at {equal / 1e6:.0f} MB")

# %% [markdown]
# **What the code shows:** a single small tensor would spend its time on latency; so gradients are collected into large buckets before they are sent.

# %% tags=["test"]
def test_sharded_adam_is_torchs():
    digits = load_digits()
    X, y = torch.from_numpy(digits.data / 16), torch.from_numpy(digits.target)
    model = network()
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    for t in range(3):
        adam.zero_grad()
        rows = slice(48 * t, 48 * t + 48)
        nn.functional.cross_entropy(model(X[rows]), y[rows]).backward()
        adam.step()
    for N in (1, 3):
        for parameters, kept in run_workers(sharded, N, X, y, 3):
            assert torch.allclose(parameters, flat(model), atol=1e-13)
            assert kept == 2 * -(-1810 // N)


def test_data_parallel_is_one_worker():
    digits = load_digits()
    X, y = torch.from_numpy(digits.data / 16), torch.from_numpy(digits.target)
    model = network()
    for t in range(20):
        rows = slice(48 * t, 48 * t + 48)
        move(model, -0.5 * flat_gradient(model, X[rows], y[rows]))
    for parameters in run_workers(data_parallel, 3, X, y):
        assert torch.allclose(parameters, flat(model), atol=1e-13)


def check_layers(rank, N):
    rng, good = torch.Generator().manual_seed(5), []
    for _ in range(20):
        n, d, f, o = (int(i) for i in torch.randperm(7, generator=rng)[:4] + 1)
        X, W1, W2, dY = (torch.randn(*s, generator=rng).double()
                         for s in ((n, d), (d, N * f), (N * f, o), (n, o)))
        x, w1, w2 = (W.clone().requires_grad_() for W in (X, W1, W2))
        want = (x @ w1).relu() @ w2
        want.backward(dY)
        Y, dX, dA, dB = tensor_parallel(rank, N, X, W1, W2, dY)
        good.append(torch.allclose(Y, want) and torch.allclose(dX, x.grad)
                    and torch.allclose(dA, w1.grad.chunk(N, dim=1)[rank])
                    and torch.allclose(dB, w2.grad.chunk(N)[rank]))
    return good


def test_tensor_parallel():
    for N in (2, 3):
        assert all(all(good) for good in run_workers(check_layers, N))


def test_pipeline():
    for P in (1, 2, 4, 5):
        for M in (1, 3, 8):
            ends = {}
            for kind in ("GPipe", "1F1B"):
                start, ends[kind] = simulate(P, M, kind)
                assert len(start) == 2 * P * M
                for (stage, job, i), at in start.items():
                    length = 1 if job == "F" else 2
                    before = (stage - 1, "F", i) if job == "F" else (stage + 1, "B", i)
                    if before in start:
                        assert at >= start[before] + length
                    if job == "B":
                        assert at >= start[stage, "F", i] + 1
                for stage in range(P):  # one job at a time
                    jobs = sorted((at, job) for (s, job, _), at in start.items()
                                  if s == stage)
                    assert all(b[0] - a[0] >= (1 if a[1] == "F" else 2)
                               for a, b in zip(jobs, jobs[1:]))
                assert ends[kind] == 3 * (M + P - 1)
            assert most_kept(P, M, "GPipe") == M and most_kept(P, M, "1F1B") == min(P, M)


def test_pipeline_of_processes():
    digits = load_digits()
    X, y = torch.from_numpy(digits.data[:21] / 16), torch.from_numpy(digits.target[:21])
    want = flat_gradient(network(), X, y)
    for kind, M in (("GPipe", 4), ("1F1B", 4), ("1F1B", 1)):  # 21 = 6 + 6 + 6 + 3
        (first, held), (second, last) = run_workers(pipelined, 2, X, y, M, kind)
        assert torch.allclose(torch.cat([first, second]), want, rtol=0, atol=1e-15)
        assert held == most_kept(2, M, kind) and last == (M if kind == "GPipe" else 1)


def test_cost_model_and_zero():
    assert ring_seconds(600, 3, 2.0, 100.0) == 2 * 2 * (2 + 2)
    assert zero_bytes(10, 2, 0) == 160 and zero_bytes(10, 2, 1) == 100
    assert zero_bytes(10, 2, 2) == 90 and zero_bytes(10, 2, 3) == 80


def test_workers_that_do_not_answer():
    assert run_workers(lambda rank, N, a: (rank, a), 3, 7) == [(0, 7), (1, 7), (2, 7)]

    def silent(rank, N):
        return time.sleep(40 * rank)

    start = time.monotonic()
    try:
        run_workers(silent, 2, patience=1.0)
    except TimeoutError as problem:
        assert str(problem) == "1 of 2 workers answered"
        assert 1 <= time.monotonic() - start < 30  # the patience, not the sleep
        return
    raise AssertionError("a silent worker must be noticed")


def test_workers_that_fail():
    def broken(rank, N, crash):
        if rank == 0:
            time.sleep(40)  # busy: it neither answers nor fails
        if crash:
            os._exit(3)
        raise ValueError("no data")

    start, said = time.monotonic(), []
    for crash in (False, True):
        try:
            run_workers(broken, 2, crash)
        except RuntimeError as problem:
            said.append(str(problem))
    assert said == ["worker 1 failed, ValueError: no data", "0 of 2 workers answered"]
    assert time.monotonic() - start < 30  # nobody waited for the busy one


# %% tags=["test", "experiment"]
def test_what_was_claimed():
    assert RATES[-1] > best[1] > best[60] > best[240] > RATES[0] < best[241]
    assert all(abs(losses[h].mean() - losses[1].mean()) < 0.03 for h in (4, 16, 60))
    assert (losses[240] < losses[241]).all() and 0.3 < kept_gain < 0.6
    assert abs(shared.mean() - losses[240].mean()) < 0.03
    assert local_sgd(60, 0, best[1]) > 5 * losses[60][0]
    assert "kept (2, 6) of (4, 6); equal to one process: True" in done.stdout


# %% [markdown]
# ## 3. Practical considerations
#
# ### Failure 1: one worker stays away
#
# Rank 1 meets a batch with a loss that is not finite, and skips the step.

# %%
def careful(rank: int, N: int, agree: bool) -> str:
    """Skip the step if the loss is not finite: rank 1's is not."""
    loss = torch.tensor(float("nan") if rank == 1 else 1.0)
    good = torch.isfinite(loss).float()
    if agree:
        dist.all_reduce(good, op=dist.ReduceOp.MIN)
    if not good:
        return "skipped"
    dist.all_reduce(loss)
    return "stepped"


for agree in (False, True):
    try:
        print(run_workers(careful, 2, agree, patience=4.0))
    except TimeoutError as problem:
        print("TimeoutError:", problem)

# %% [markdown]
# **Symptom:** all workers stand still without a message, until a timeout of many minutes. (Here it is four seconds after the first answer.)
# **Cause:** a collective operation needs everyone; rank 0 waits for a sum that never comes.
# **Fix:** decide together: all-reduce the flag "my loss is finite" first, and skip on all or on none, as in the second line.
#
# ### Failure 2: different starts
#
# Average gradients, but let each worker initialise with its own seed.

# %%
def own_start(rank: int, N: int, same: bool) -> tuple[torch.Tensor, float]:
    """Parameters and loss after 60 steps with averaged gradients."""
    model = network()
    torch.manual_seed(0 if same else rank)
    move(model, 0.3 * torch.randn(len(flat(model))).double())
    for step in range(60):
        part = torch.arange(16 * step, 16 * step + 16).chunk(N)[rank]
        g = flat_gradient(model, X[part], y[part])
        move(model, -0.5 * ring_all_reduce(padded(g, N), rank, N)[: len(g)] / N)
    return flat(model), nn.functional.cross_entropy(model(X), y).item()


apart = {}
for same in (True, False):
    (first, loss), (second, _) = run_workers(own_start, 2, same)
    apart[same] = loss
    print(f"same start: {same!s:5} loss {loss:.2f}, "
          f"distance of the two models {float((first - second).norm()):.2f}")
assert apart[False] > apart[True] + 0.1

# %% [markdown]
# **Symptom:** the loss ends at `{python} f"{apart[False]:.1f}"` in place of `{python} f"{apart[True]:.1f}"`, and the saved model depends on which worker saved it.
# **Cause:** everybody takes the same step from a different place, and the step is right for none.
# **Fix:** copy rank 0's weights to all at the start, and compare a checksum of the weights between workers now and then.
#
# ### Failure 3: the short last part
#
# Fifty examples and four workers: parts of 13, 13, 13 and 11.

# %%
model, sizes_of_parts = network(), [13, 13, 13, 11]
parts = list(zip(X[:50].split(sizes_of_parts), y[:50].split(sizes_of_parts)))
gradients = [flat_gradient(model, *part) for part in parts]
right = flat_gradient(model, X[:50], y[:50])
plain = sum(gradients) / 4
weighted = sum(len(part[1]) * g for part, g in zip(parts, gradients)) / 50
for name, g in (("mean of the workers", plain), ("weighted", weighted)):
    print(f"{name}: off by {float((g - right).norm() / right.norm()):.1e}")

# %% [markdown]
# **Symptom:** results change with the number of workers.
# **Cause:** the mean of means again, as in [accumulation](batching.py#a-large-batch-on-a-small-machine); with tokens in place of examples the parts are *always* unequal.
# **Fix:** sum, and divide by the all-reduced count.
#
# ### Conventions and common confusions
#
# > [!IMPORTANT]
# > - **Data, tensor, pipeline, expert, context parallel** are written DP, TP, PP, EP, CP; the product of their sizes is the number of workers (EP usually overlaps with DP).
# > - **"Model parallel"** means tensor or pipeline parallel, according to the author.
# > - **Mean or sum.** `DistributedDataParallel` averages over workers; `all_reduce` sums by default.
# > - **Bias.** In tensor parallel, the bias behind $W_2$ is added once, after the sum; added by each worker it would count $N$ times.
# > - **Who owns which chunk.** Our ring leaves worker $k$ with chunk $k + 1$; libraries' `reduce_scatter` gives it chunk $k$.
# > - **Global batch** is the batch of one optimizer step over all workers and accumulation steps.
# > - **Bandwidth** is given in bits a second for networks and in bytes a second for accelerators' links, often both directions added.
# > - **ZeRO-1, 2, 3 and FSDP:** FSDP's full sharding is ZeRO-3; its hybrid form shards inside a machine and copies between machines.
#
# ## Exercises
#
# ### Exercise 1 (check): what does a worker send?
#
# Return the bytes that each of $N$ workers sends in a ring all-reduce of $S$ bytes, and the bytes that worker 0 *receives* in the obvious way, when everyone sends to it.


# %%
def traffic(S: float, N: int) -> tuple[float, float]:
    """Ring, obvious way."""
    ### BEGIN SOLUTION
    return 2 * (N - 1) * S / N, (N - 1) * S
    ### END SOLUTION


# %% tags=["test"]
def count_bytes(rank, N, n):
    sent, send = [], dist.isend
    dist.isend = lambda chunk, to: (sent.append(8 * chunk.numel()), send(chunk, to))[1]
    ring_all_reduce(torch.zeros(n, dtype=torch.float64), rank, N)
    dist.isend = send
    return sum(sent)


def test_traffic():
    for N, n in ((2, 10), (3, 12)):
        assert run_workers(count_bytes, N, n) == [traffic(8 * n, N)[0]] * N
    assert traffic(100, 5) == (160, 400)


# %% [markdown]
# ### Exercise 2 (check): enough microbatches
#
# How many microbatches keep the bubble of $P$ stages at or below a share $q$?


# %%
def microbatches(P: int, q: float) -> int:
    """The smallest M with (P - 1) / (M + P - 1) <= q."""
    ### BEGIN SOLUTION
    M = 1
    while (P - 1) / (M + P - 1) > q:
        M += 1
    return M
    ### END SOLUTION


# %% tags=["test"]
def test_microbatches():
    assert microbatches(16, 0.1) == 135 and microbatches(4, 0.5) == 3
    assert microbatches(1, 0.01) == 1
    for P, q in ((5, 0.2), (7, 0.05)):
        M = microbatches(P, q)
        _, end = simulate(P, M, "1F1B")
        assert 1 - 3 * M / end <= q + 1e-12


# %% [markdown]
# ### Exercise 3 (apply): which stage is needed?
#
# Return the lowest ZeRO stage at which a model of `params` parameters fits into `memory` bytes a worker with $N$ workers, leaving a fifth for activations; or 4 if none does.


# %%
def lowest_stage(params: float, N: int, memory: float) -> int:
    """0, 1, 2, 3, or 4."""
    ### BEGIN SOLUTION
    return next((stage for stage in range(4)
                 if zero_bytes(params, N, stage) <= 0.8 * memory), 4)
    ### END SOLUTION


# %% tags=["test"]
def test_lowest_stage():
    assert lowest_stage(1e9, 8, 80e9) == 0 and lowest_stage(7e9, 8, 80e9) == 1
    assert lowest_stage(13e9, 8, 80e9) == 2 and lowest_stage(30e9, 8, 80e9) == 3
    assert lowest_stage(70e9, 8, 80e9) == 4 and lowest_stage(70e9, 64, 80e9) == 3


# %% [markdown]
# ### Exercise 4 (apply): a vocabulary in slices
#
# The last layer's logits are split by *columns*: worker $k$ holds the logits of its slice of the vocabulary, $(n, V/N)$.
# Compute the [cross-entropy](loss-functions.py#the-largest-tensor-of-the-step) without ever joining them, from three numbers a worker and row: its maximum, its sum of exponentials, and the target's logit if it has it.


# %%
def sliced_cross_entropy(slices: list[np.ndarray], y: np.ndarray) -> float:
    """Mean loss from logits in slices (n, V / N) and targets y (n,)."""
    ### BEGIN SOLUTION
    top = np.max([S.max(axis=1) for S in slices], axis=0)  # an all-reduce with max
    total = sum(np.exp(S - top[:, None]).sum(axis=1) for S in slices)  # an all-reduce
    width, target = slices[0].shape[1], np.zeros(len(y))
    for k, S in enumerate(slices):
        mine = y // width == k
        target[mine] = S[mine, y[mine] % width]  # and another
    return float((np.log(total) + top - target).mean())
    ### END SOLUTION


# %% tags=["test"]
def test_sliced_cross_entropy():
    rng = np.random.default_rng(6)
    for scale in (1.0, 1.0, 1e3):
        n, width, N = (int(i) for i in rng.integers(1, 6, size=3))
        S, y = scale * rng.normal(size=(n, width * N)), rng.integers(width * N, size=n)
        want = nn.functional.cross_entropy(torch.from_numpy(S), torch.from_numpy(y)).item()
        assert np.isclose(sliced_cross_entropy(np.split(S, N, axis=1), y), want)


# %% [markdown]
# ### Exercise 5 (apply): attention in a ring
#
# Each worker holds one block of keys and values, and blocks travel round the ring.
# A worker with queries $Q$ sees one block at a time and keeps, for each query, the running maximum $m$, the running sum $\ell$ of exponentials and the running output $o$. Add one block to them. ([FlashAttention](../transformers/multi-head-attention.py#flashattention-never-store-the-weights) does the same inside one chip.)


# %%
def add_block(state: tuple, Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> tuple:
    """From state = (m (n,), l (n,), o (n, d_v)), o not yet divided by l, the new one."""
    ### BEGIN SOLUTION
    m, l, o = state
    S = Q @ K.T / np.sqrt(K.shape[1])
    new = np.maximum(m, S.max(axis=1))
    E, old = np.exp(S - new[:, None]), np.exp(m - new)
    return new, l * old + E.sum(axis=1), o * old[:, None] + E @ V
    ### END SOLUTION


# %% tags=["test"]
def test_add_block():
    rng = np.random.default_rng(7)
    for _ in range(20):
        n, d_k, d_v = (int(i) for i in rng.permutation(np.arange(1, 7))[:3])
        sizes = rng.integers(1, 5, size=3)
        Q, K, V = (rng.normal(size=s) * 5 for s in ((n, d_k), (sizes.sum(), d_k), (sizes.sum(), d_v)))
        state = np.full(n, -np.inf), np.zeros(n), np.zeros((n, d_v))
        cuts = np.cumsum(sizes)[:-1]
        for K_block, V_block in zip(np.split(K, cuts), np.split(V, cuts)):
            state = add_block(state, Q, K_block, V_block)
        want = nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, (Q, K, V))).numpy()
        assert np.allclose(state[2] / state[1][:, None], want)


# %% [markdown]
# ### Exercise 6 (explore): when is sending free?
#
# A model of $\Psi$ parameters is trained with data parallel; a worker computes $6 \Psi$ operations a token at $c$ operations a second, and the ring needs $2S / \beta$ seconds with $S = 2 \Psi$.
# If sending overlaps with all of the computing, how many tokens must each worker have in a step, so that sending is hidden?
# Put in $c = 4 \cdot 10^{14}$ and $\beta$ = 50 GB/s, then 0.1 GB/s, a fast internet line.


# %%
def tokens_to_hide(c: float, beta: float) -> float:
    """The smallest number of tokens a worker and step."""
    ### BEGIN SOLUTION
    return (4 / beta) / (6 / c)
    ### END SOLUTION


# %% tags=["test"]
def test_tokens_to_hide():
    for c, beta, params in ((4e14, 50e9, 7e9), (4e14, 0.1e9, 1e9)):
        tokens = tokens_to_hide(c, beta)
        assert np.isclose(6 * params * tokens / c, 2 * (2 * params) / beta)
    assert round(tokens_to_hide(4e14, 50e9), -2) == 5_300
    assert round(tokens_to_hide(4e14, 0.1e9), -5) == 2_700_000


# %% [markdown] tags=["solution"]
# $\Psi$ drops out: both grow in proportion. You need about 5,300 tokens at 50 GB/s, a few sequences, and 2.7 million at 0.1 GB/s, far more than a worker gets in most runs. So over the internet you must talk less often, which is what DiLoCo does. (In practice sending can only hide behind the backward pass, two thirds of the computing, so you need half as many tokens again.)

# %% [markdown]
# ## Summary
#
# | Concept | Key Formula | Code Pattern | Where It's Used |
# |---|---|---|---|
# | Data parallel | mean of the parts' gradients | `ring_all_reduce(g, rank, N) / N` | every large run |
# | Ring all-reduce | $2(N-1)(\alpha + S / N\beta)$ | `reduce_scatter`, `all_gather` | gradients |
# | ZeRO, FSDP | $16 \Psi / N$ bytes | `fully_shard(model)` | memory |
# | Tensor parallel | columns, then rows | `tensor_parallel(...)` | inside a machine |
# | Pipeline | bubble $(P-1)/(M+P-1)$ | `simulate(P, M, "1F1B")` | across machines |
# | Local steps | average every $h$ steps | `local_sgd(h, seed, lr)` | slow links |
#
# **The essential insight:** training is sums over examples, over hidden units and over layers' contributions, and a sum can be cut anywhere and put together again. Each way of cutting saves time or memory and costs messages; the art is to put the cuts with the most messages on the fastest links, and to check, as here, that the cut model is still the same model.
