"""Choose the device and say what this machine offers."""

from __future__ import annotations

import os

from jwmtool.errors import MissingPartError, UsageError


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
    return "cuda" if name == "cuda" or (name == "auto" and available) else "cpu"


def num_threads() -> int:
    """CPU threads to use: JWM_THREADS, else what this process may run on."""
    value = os.environ.get("JWM_THREADS", "")
    if value:
        if not value.isdigit() or int(value) < 1:
            raise UsageError(f"JWM_THREADS: expected a positive integer, found {value!r}")
        return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
