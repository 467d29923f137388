"""What this machine offers, for `jwm info --system`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, metadata, requires
from typing import Any

import jwmtool
from jwmtool.artifacts.provenance import library_versions, source_commit
from jwmtool.device import num_threads


def system_info() -> dict[str, Any]:
    """Versions, CUDA, gsplat's kernels, extras and threads as plain JSON values."""
    import av
    import torch

    return {
        "jwm": jwmtool.__version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": {"logical_cores": os.cpu_count(), "threads": num_threads(), "torch_threads": torch.get_num_threads()},
        "cuda": _cuda(),
        "gsplat_kernels": _gsplat_kernels(),
        "libraries": library_versions(),
        "ffmpeg": {name: ".".join(map(str, numbers)) for name, numbers in sorted(av.library_versions.items())},
        "h264_encoder": "libx264" in av.codecs_available,
        "extras": _extras(),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if name.startswith("JWM_")},
    }


def _cuda() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = "this torch was built without CUDA" if built is None else f"torch for CUDA {built} sees no NVIDIA device"
        return {"available": False, "why": why}
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "available": True,
        "version": torch.version.cuda,
        "devices": [f"{d.name}, {d.total_memory / 2**30:.0f} GiB, sm_{d.major}{d.minor}" for d in devices],
    }


def _gsplat_kernels() -> str:
    """gsplat is imported only where CUDA is: elsewhere it warns and fails in misleading ways."""
    import torch

    if not torch.cuda.is_available():
        return "not used without CUDA; the CPU backend renders"
    try:
        from gsplat.cuda._backend import _C
    except (ImportError, OSError, RuntimeError) as error:
        return f"cannot be loaded: {error}"
    return "ready" if _C is not None else "not built (a CUDA toolkit or a prebuilt gsplat wheel is needed)"


def _extras() -> dict[str, bool]:
    """Whether everything that an extra asks for is installed."""
    try:
        names = metadata("jwmtool").get_all("Provides-Extra") or []
        lines = requires("jwmtool") or []
    except PackageNotFoundError:
        return {}
    found = {}
    for extra in names:
        wanted = [line for line in lines if f"extra == '{extra}'" in line.replace('"', "'")]
        found[extra] = all(_installed(line) for line in wanted)
    return found


def _installed(requirement: str) -> bool:
    import re
    from importlib.metadata import version

    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    try:
        return name is not None and bool(version(name[0]))
    except PackageNotFoundError:
        return False
