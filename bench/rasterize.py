"""Time the CPU rasterizer against the vectorized torch twin, forward and forward + backward, in one run.

Usage: python bench/rasterize.py [--num 100000] [--size 800x448] [--device cuda] [--json FILE]

With --device cuda, gsplat is timed instead, without the twin.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_scene import SHA256, fingerprint, random_scene
from torch import Tensor

from jwmtool.cli.parsing import parse_size
from jwmtool.device import num_threads
from jwmtool.gaussians.cpu import rasterize_cpu
from jwmtool.gaussians.reference import rasterize_tiled

NUM = 100_000


def main() -> None:
    """Print a table, and JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=NUM, help="Gaussians")
    parser.add_argument("--size", type=parse_size, default=(800, 448), help="picture size")
    parser.add_argument("--repeats", type=int, default=10, help="of the kernels; the twin runs twice")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    width, height = arguments.size
    focal = 0.6 * width
    scene = random_scene(arguments.num, width, height, focal)
    if arguments.num == NUM and (width, height) == (800, 448) and fingerprint(scene) != SHA256:
        raise SystemExit("the random scene differs from the committed one: this torch draws other numbers")
    view = (torch.eye(4, dtype=torch.float64), (focal, focal, width / 2, height / 2), width, height, 0.01)

    def kernels(*tensors: Tensor) -> Tensor:
        return rasterize_cpu(*tensors, *view)

    def twin(*tensors: Tensor) -> Tensor:
        return rasterize_tiled(*tensors, *view)

    result = {
        "gaussians": arguments.num,
        "size": f"{width}x{height}",
        "threads": num_threads(),
        "processor": processor(),
        "torch": torch.__version__,
    }
    if arguments.device == "cuda":
        from jwmtool.gaussians.gsplat_backend import rasterize_gsplat

        on_gpu = [t.cuda() for t in scene]
        fast, _ = measure(lambda *tensors: rasterize_gsplat(*tensors, *view), on_gpu, arguments.repeats)
        result |= {"gpu": torch.cuda.get_device_name(), "forward_ms": fast[0], "forward_backward_ms": fast[1]}
        return report(result, arguments.json)
    fast, grads = measure(kernels, scene, arguments.repeats)
    result |= {"forward_ms": fast[0], "forward_backward_ms": fast[1]}
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result["intersections"] = num_intersections(kernels(*(t.requires_grad_() for t in scene)))
    slow, twin_grads = measure(twin, scene, 2)
    result |= {"twin_forward_ms": slow[0], "twin_forward_backward_ms": slow[1]}
    result["speedup_forward"] = slow[0] / fast[0]
    result["speedup_forward_backward"] = slow[1] / fast[1]
    result["gradient_difference"] = max(
        float((a - b).norm() / b.norm()) for a, b in zip(grads, twin_grads, strict=True)
    )
    return report(result, arguments.json)


def report(result: dict[str, Any], path: Path | None) -> None:
    """Print a table; write JSON."""
    for name, value in result.items():
        print(f"{name:28} {value:,.4g}" if isinstance(value, float) else f"{name:28} {value}")
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n")


def measure(function, scene: list[Tensor], repeats: int) -> tuple[tuple[float, float], list[Tensor]]:  # type: ignore[no-untyped-def]
    """Median milliseconds of forward and of forward + backward after a warm-up, and the gradients."""
    forward, both = [], []
    for repeat in range(repeats + 1):
        tensors = [t.detach().clone().requires_grad_() for t in scene]
        synchronize(tensors)
        begin = time.perf_counter()
        out = function(*tensors)
        synchronize(tensors)
        middle = time.perf_counter()
        (out[..., :3].square().sum() + 0.01 * out[..., 3].sum() + out[..., 4].sum()).backward()
        synchronize(tensors)
        if repeat:
            forward.append(1e3 * (middle - begin))
            both.append(1e3 * (time.perf_counter() - begin))
    return (float(np.median(forward)), float(np.median(both))), [t.grad for t in tensors if t.grad is not None]


def synchronize(tensors: list[Tensor]) -> None:
    """Wait for the GPU, if that is where the tensors are."""
    if tensors[0].is_cuda:
        torch.cuda.synchronize()


def num_intersections(out: Tensor) -> int:
    """Pairs of a Gaussian and a tile that it touches."""
    return int(out.grad_fn.num_intersections)  # type: ignore[union-attr]


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
