"""The process in which a topic runs: an ipykernel with our limits and figure formats.

`python -m literate.kernel FILE` starts one kernel. `python -m literate.kernel --warm
PACKAGE …` imports the heavy ones of these packages once, then forks a kernel for each
request on standard input; a forked kernel starts in a fifth of the time. Both ways run
`serve`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Any

# One thread: two that spin on shared cores cost ten times the time, and the last bits of
# sums differ.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # The kernels that every x86 processor since 2013 has: a newer one's own add in another
    # order, and a trained network shows it in its second digit.
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONHASHSEED": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    # Remarks that depend on what else is installed, not on the topic.
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore:IProgress not found",
}
# What is worth importing before forking, by the name that `packages` uses.
HEAVY = {
    "matplotlib": "matplotlib.pyplot",
    "numpy": "numpy",
    "scikit-learn": "sklearn.linear_model",
    "scipy": "scipy.special",
    "torch": "torch",
}
PR_SET_PDEATHSIG = 1


def serve(connection_file: str, memory: int) -> None:
    """Run a kernel until it is shut down. `memory` is its limit in bytes."""
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    seed()
    config = Config()
    config.HistoryManager.enabled = False
    config.InlineBackend.figure_formats = {"png", "svg"}
    config.InlineBackend.print_figure_kwargs = {
        "bbox_inches": "tight",
        "metadata": {"Date": None},
    }
    IPKernelApp.launch_instance(argv=["-f", connection_file], config=config)


def seed() -> None:
    """Generators that a topic forgets to seed are at least the same in every run."""
    random.seed(0)
    try:
        import numpy as np
    except ImportError:
        return
    np.random.seed(0)


def warm_up(packages: Sequence[str]) -> None:
    """Import what topics import, and make torch load what it loads late."""
    import importlib

    import ipykernel.kernelapp  # noqa: F401

    for package in sorted(HEAVY.keys() & set(packages)):
        try:
            importlib.import_module(HEAVY[package])
        except ImportError:
            continue  # the topic that needs it will say so
    torch: Any = sys.modules.get("torch")
    if torch:
        torch.set_num_threads(1)  # before any operation, or a fork would hang
        weight = torch.nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.Adam([weight])
        weight.sum().backward()
        optimizer.step()


def fork_on_request(packages: Sequence[str]) -> None:
    """For each line `{connection_file, cwd, memory, log}` fork a kernel, answer its pid."""
    warm_up(packages)
    signal.signal(signal.SIGCHLD, _reap)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(request)
        print(json.dumps({"pid": pid}), flush=True)


def _reap(*_: object) -> None:
    """Wait for ended kernels as they end; what they cost is then counted as ours."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _child(request: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with_parent()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir(request["cwd"])
    try:
        serve(request["connection_file"], request["memory"])
    finally:
        os._exit(0)


def _die_with_parent() -> None:
    """A killed build must not leave kernels behind (Linux; elsewhere ipykernel polls)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    if arguments[0] == "--warm":
        fork_on_request(arguments[1:])
    else:
        serve(arguments[0], int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
