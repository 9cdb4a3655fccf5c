# Generated from src/topics/training/distributed-training.py: edit that file, then run doit. digest:b41acdda0646d8ad

"""Tests of training/distributed-training: Distributed training."""

import multiprocessing
import numpy as np
import os
import pickle
import tempfile
import time
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn


# src/topics/training/distributed-training.py:125
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


# src/topics/training/distributed-training.py:173
def exchange(chunk: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """Send a chunk to the right neighbour; return the left one's, of equal size."""
    received = torch.empty_like(chunk)
    sending = dist.isend(chunk, (rank + 1) % N)
    dist.recv(received, (rank - 1) % N)
    sending.wait()
    return received


# src/topics/training/distributed-training.py:182
def reduce_scatter(x: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """Chunk (rank + 1) mod N of the sum over workers of x (n,), n a multiple of N."""
    chunks = list(x.chunk(N))
    for step in range(N - 1):
        passed, added = (rank - step) % N, (rank - step - 1) % N
        chunks[added] = chunks[added] + exchange(chunks[passed], rank, N)
    return chunks[(rank + 1) % N]


# src/topics/training/distributed-training.py:191
def all_gather(chunk: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """All chunks in order, from workers that hold chunk (rank + 1) mod N each."""
    chunks = [chunk] * N
    for step in range(N - 1):
        passed, new = (rank - step + 1) % N, (rank - step) % N
        chunks[new] = exchange(chunks[passed], rank, N)
    return torch.cat(chunks)


# src/topics/training/distributed-training.py:200
def ring_all_reduce(x: torch.Tensor, rank: int, N: int) -> torch.Tensor:
    """The sum over workers of x (n,), n a multiple of N."""
    return all_gather(reduce_scatter(x, rank, N), rank, N)


# src/topics/training/distributed-training.py:221
def network() -> nn.Sequential:
    """64 pixels, 24 hidden units, 10 scores; the same start everywhere."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10)).double()


# src/topics/training/distributed-training.py:227
def flat_gradient(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean loss over X (n, 64), y (n,), as one vector."""
    loss = nn.functional.cross_entropy(model(X), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([g.flatten() for g in gradients])


# src/topics/training/distributed-training.py:234
def move(model: nn.Module, step: torch.Tensor) -> None:
    """Add a flat step to the parameters."""
    sizes = [W.numel() for W in model.parameters()]
    with torch.no_grad():
        for W, part in zip(model.parameters(), step.split(sizes)):
            W += part.view_as(W)


# src/topics/training/distributed-training.py:242
def flat(model: nn.Module) -> torch.Tensor:
    """All parameters as one vector."""
    return torch.cat([W.detach().flatten() for W in model.parameters()])


# src/topics/training/distributed-training.py:247
def padded(x: torch.Tensor, N: int) -> torch.Tensor:
    """x with zeros behind, so that N divides its length."""
    return torch.cat([x, x.new_zeros(-len(x) % N)])


# src/topics/training/distributed-training.py:252
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


# src/topics/training/distributed-training.py:283
def check_ring(rank, N, vectors):
    x = torch.from_numpy(vectors[rank])
    own = ring_all_reduce(padded(x, N), rank, N)[: len(x)]
    want = x.clone()
    dist.all_reduce(want)
    return own.numpy(), want.numpy()


# src/topics/training/distributed-training.py:300
def check_rings(rank, N):
    rng, good = np.random.default_rng(2), []
    for _ in range(20):
        vectors = rng.normal(size=(N, int(rng.integers(1, 30))))
        own, want = check_ring(rank, N, vectors)
        chunk = reduce_scatter(padded(torch.from_numpy(vectors[rank]), N), rank, N)
        whole = padded(torch.from_numpy(vectors.sum(axis=0)), N).chunk(N)[(rank + 1) % N]
        good.append(np.allclose(own, want) and torch.allclose(chunk, whole))
    return good


# src/topics/training/distributed-training.py:315
def check_ddp(rank, N, X, y):
    torch.manual_seed(rank)  # DDP copies rank 0's weights
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    parallel = nn.parallel.DistributedDataParallel(model)
    part = torch.arange(len(y)).chunk(N)[rank]
    nn.functional.cross_entropy(parallel(X[part]), y[part]).backward()
    theirs = torch.cat([W.grad.flatten() for W in model.parameters()])
    ours = flat_gradient(model, X[part], y[part])
    return theirs.numpy(), (ring_all_reduce(padded(ours, N), rank, N)[: len(ours)] / N).numpy()


# src/topics/training/distributed-training.py:365
def zero_bytes(params: float, N: int, stage: int) -> float:
    """Bytes for each worker: 16 a parameter, of which 12, 14 or all 16 are split."""
    split = {0: 0, 1: 12, 2: 14, 3: 16}[stage]
    return params * (16 - split + split / N)


# src/topics/training/distributed-training.py:371
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


# src/topics/training/distributed-training.py:424
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


# src/topics/training/distributed-training.py:470
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


# src/topics/training/distributed-training.py:484
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


# src/topics/training/distributed-training.py:508
def most_kept(P: int, M: int, kind: str) -> int:
    """The most microbatches whose activations the first stage holds at once."""
    held = np.cumsum([1 if job == "F" else -1 for job, _ in orders(P, M, kind)[0]])
    return int(held.max())


# src/topics/training/distributed-training.py:541
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


# src/topics/training/distributed-training.py:745
def ring_seconds(S: float, N: int, alpha: float, beta: float) -> float:
    """The box: seconds for S bytes among N workers."""
    return 2 * (N - 1) * (alpha + S / (N * beta))


# src/topics/training/distributed-training.py:804
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


# src/topics/training/distributed-training.py:1008
def traffic(S: float, N: int) -> tuple[float, float]:
    """Ring, obvious way."""
    return 2 * (N - 1) * S / N, (N - 1) * S


# src/topics/training/distributed-training.py:1016
def count_bytes(rank, N, n):
    sent, send = [], dist.isend
    dist.isend = lambda chunk, to: (sent.append(8 * chunk.numel()), send(chunk, to))[1]
    ring_all_reduce(torch.zeros(n, dtype=torch.float64), rank, N)
    dist.isend = send
    return sum(sent)


# src/topics/training/distributed-training.py:1037
def microbatches(P: int, q: float) -> int:
    """The smallest M with (P - 1) / (M + P - 1) <= q."""
    M = 1
    while (P - 1) / (M + P - 1) > q:
        M += 1
    return M


# src/topics/training/distributed-training.py:1064
def lowest_stage(params: float, N: int, memory: float) -> int:
    """0, 1, 2, 3, or 4."""
    return next((stage for stage in range(4)
                 if zero_bytes(params, N, stage) <= 0.8 * memory), 4)


# src/topics/training/distributed-training.py:1087
def sliced_cross_entropy(slices: list[np.ndarray], y: np.ndarray) -> float:
    """Mean loss from logits in slices (n, V / N) and targets y (n,)."""
    top = np.max([S.max(axis=1) for S in slices], axis=0)  # an all-reduce with max
    total = sum(np.exp(S - top[:, None]).sum(axis=1) for S in slices)  # an all-reduce
    width, target = slices[0].shape[1], np.zeros(len(y))
    for k, S in enumerate(slices):
        mine = y // width == k
        target[mine] = S[mine, y[mine] % width]  # and another
    return float((np.log(total) + top - target).mean())


# src/topics/training/distributed-training.py:1118
def add_block(state: tuple, Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> tuple:
    """From state = (m (n,), l (n,), o (n, d_v)), o not yet divided by l, the new one."""
    m, l, o = state
    S = Q @ K.T / np.sqrt(K.shape[1])
    new = np.maximum(m, S.max(axis=1))
    E, old = np.exp(S - new[:, None]), np.exp(m - new)
    return new, l * old + E.sum(axis=1), o * old[:, None] + E @ V


# src/topics/training/distributed-training.py:1153
def tokens_to_hide(c: float, beta: float) -> float:
    """The smallest number of tokens a worker and step."""
    return (4 / beta) / (6 / c)


# src/topics/training/distributed-training.py:291
def test_ring_is_all_reduce():
    rng = np.random.default_rng(1)
    for N in (1, 2, 3, 5):
        vectors = rng.normal(size=(N, 7)) * 10.0 ** rng.integers(-3, 4, size=(N, 1))
        for own, want in run_workers(check_ring, N, vectors):
            assert np.allclose(own, want, rtol=1e-12)
            assert np.allclose(want, vectors.sum(axis=0))


# src/topics/training/distributed-training.py:311
def test_twenty_lengths():
    assert all(all(good) for good in run_workers(check_rings, 3))


# src/topics/training/distributed-training.py:326
def test_ddp_is_ours():
    rng = torch.Generator().manual_seed(3)
    X, y = torch.randn(8, 6, generator=rng).double(), torch.randint(3, (8,), generator=rng)
    for theirs, ours in run_workers(check_ddp, 2, X, y):
        assert np.allclose(theirs, ours, atol=1e-14)


# src/topics/training/distributed-training.py:333
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


# src/topics/training/distributed-training.py:777
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


# src/topics/training/distributed-training.py:793
def test_data_parallel_is_one_worker():
    digits = load_digits()
    X, y = torch.from_numpy(digits.data / 16), torch.from_numpy(digits.target)
    model = network()
    for t in range(20):
        rows = slice(48 * t, 48 * t + 48)
        move(model, -0.5 * flat_gradient(model, X[rows], y[rows]))
    for parameters in run_workers(data_parallel, 3, X, y):
        assert torch.allclose(parameters, flat(model), atol=1e-13)


# src/topics/training/distributed-training.py:820
def test_tensor_parallel():
    for N in (2, 3):
        assert all(all(good) for good in run_workers(check_layers, N))


# src/topics/training/distributed-training.py:825
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


# src/topics/training/distributed-training.py:848
def test_pipeline_of_processes():
    digits = load_digits()
    X, y = torch.from_numpy(digits.data[:21] / 16), torch.from_numpy(digits.target[:21])
    want = flat_gradient(network(), X, y)
    for kind, M in (("GPipe", 4), ("1F1B", 4), ("1F1B", 1)):  # 21 = 6 + 6 + 6 + 3
        (first, held), (second, last) = run_workers(pipelined, 2, X, y, M, kind)
        assert torch.allclose(torch.cat([first, second]), want, rtol=0, atol=1e-15)
        assert held == most_kept(2, M, kind) and last == (M if kind == "GPipe" else 1)


# src/topics/training/distributed-training.py:858
def test_cost_model_and_zero():
    assert ring_seconds(600, 3, 2.0, 100.0) == 2 * 2 * (2 + 2)
    assert zero_bytes(10, 2, 0) == 160 and zero_bytes(10, 2, 1) == 100
    assert zero_bytes(10, 2, 2) == 90 and zero_bytes(10, 2, 3) == 80


# src/topics/training/distributed-training.py:864
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


# src/topics/training/distributed-training.py:880
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


# src/topics/training/distributed-training.py:1024
def test_traffic():
    for N, n in ((2, 10), (3, 12)):
        assert run_workers(count_bytes, N, n) == [traffic(8 * n, N)[0]] * N
    assert traffic(100, 5) == (160, 400)


# src/topics/training/distributed-training.py:1048
def test_microbatches():
    assert microbatches(16, 0.1) == 135 and microbatches(4, 0.5) == 3
    assert microbatches(1, 0.01) == 1
    for P, q in ((5, 0.2), (7, 0.05)):
        M = microbatches(P, q)
        _, end = simulate(P, M, "1F1B")
        assert 1 - 3 * M / end <= q + 1e-12


# src/topics/training/distributed-training.py:1073
def test_lowest_stage():
    assert lowest_stage(1e9, 8, 80e9) == 0 and lowest_stage(7e9, 8, 80e9) == 1
    assert lowest_stage(13e9, 8, 80e9) == 2 and lowest_stage(30e9, 8, 80e9) == 3
    assert lowest_stage(70e9, 8, 80e9) == 4 and lowest_stage(70e9, 64, 80e9) == 3


# src/topics/training/distributed-training.py:1101
def test_sliced_cross_entropy():
    rng = np.random.default_rng(6)
    for scale in (1.0, 1.0, 1e3):
        n, width, N = (int(i) for i in rng.integers(1, 6, size=3))
        S, y = scale * rng.normal(size=(n, width * N)), rng.integers(width * N, size=n)
        want = nn.functional.cross_entropy(torch.from_numpy(S), torch.from_numpy(y)).item()
        assert np.isclose(sliced_cross_entropy(np.split(S, N, axis=1), y), want)


# src/topics/training/distributed-training.py:1130
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


# src/topics/training/distributed-training.py:1161
def test_tokens_to_hide():
    for c, beta, params in ((4e14, 50e9, 7e9), (4e14, 0.1e9, 1e9)):
        tokens = tokens_to_hide(c, beta)
        assert np.isclose(6 * params * tokens / c, 2 * (2 * params) / beta)
    assert round(tokens_to_hide(4e14, 50e9), -2) == 5_300
    assert round(tokens_to_hide(4e14, 0.1e9), -5) == 2_700_000
