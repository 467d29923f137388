"""Choose the device and say what this machine offers."""

from __future__ import annotations

import ctypes
import os
import sys

from jwmtool.errors import MissingPartError, UsageError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of mallopt(3)


def resolve_device(name: str = "auto") -> str:
    """Turn `auto`, `cpu` or `cuda` into `cpu` or `cuda`.

    Raises:
        MissingPartError: `cuda` was asked for and torch sees no CUDA device.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device: expected auto, cpu or cuda, found {name!r}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        build = f"torch {torch.__version__} " + (
            "was built without CUDA" if torch.version.cuda is None else "sees no NVIDIA device"
        )
        raise MissingPartError(f"--device cuda: {build}; use --device cpu, or install a CUDA build of torch (README)")
    if name == "cuda" or (name == "auto" and available):
        return "cuda"
    keep_freed_memory()
    return "cpu"


def keep_freed_memory() -> None:
    """Let the allocator keep large blocks that were freed, for the next of their kind.

    By default glibc gives each back to the system, which clears every page of the next one: a third of the time of a
    network whose layers make large tensors. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 * 2**20)


def num_threads() -> int:
    """CPU threads to use: JWM_THREADS, else what this process may run on."""
    value = os.environ.get("JWM_THREADS", "")
    if value:
        if not value.isdigit() or int(value) < 1:
            raise UsageError(f"JWM_THREADS: expected a positive integer, found {value!r}")
        return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
