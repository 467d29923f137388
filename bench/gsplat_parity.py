"""Compare the CPU rasterizer with gsplat on the committed random scene: values and gradients. Needs a GPU.

python bench/gsplat_parity.py [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from random_scene import random_scene

from jwmtool.gaussians.cpu import rasterize_cpu
from jwmtool.gaussians.gsplat_backend import rasterize_gsplat


def main() -> None:
    """Print and write the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    width, height, focal = 400, 224, 240.0
    scene = random_scene(20_000, width, height, focal)
    view = (torch.eye(4, dtype=torch.float64), (focal, focal, width / 2, height / 2), width, height, 0.01)
    ours = [t.clone().requires_grad_() for t in scene]
    theirs = [t.cuda().requires_grad_() for t in scene]
    a, b = rasterize_cpu(*ours, *view), rasterize_gsplat(*theirs, *view)
    (a[..., :3].square().sum() + a[..., 4].sum()).backward()
    (b[..., :3].square().sum() + b[..., 4].sum()).backward()
    difference = (a - b.cpu()).abs()[..., [0, 1, 2, 4]].amax(-1)
    result = {
        "gpu": torch.cuda.get_device_name(),
        "median_difference": float(difference.median()),
        "pixels_beyond_1e-4": float((difference > 1e-4).float().mean()),
        "pixels_beyond_1e-2": float((difference > 1e-2).float().mean()),
    }
    for name, x, y in zip(("means", "quats", "scales", "opacities", "colors"), ours, theirs, strict=True):
        assert x.grad is not None and y.grad is not None
        result[f"gradient_{name}"] = float((x.grad - y.grad.cpu()).norm() / x.grad.norm())
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
