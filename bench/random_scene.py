"""The random scene of `bench/rasterize.py`: fixed by its seed and checked by its hash, so that runs compare."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

SHA256 = "c7e5c95a1cf183487fa88b5ea32cd6359201d5be17671e3e0b8c9e3794c506e2"


def random_scene(num: int, width: int, height: int, focal_px: float) -> list[Tensor]:
    """Means, quats, scales, opacities and colors of `num` Gaussians 2 to 50 m ahead, 0.6 to 4.5 px in size."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    z = 2.0 * torch.exp(3.2 * uniform(num))
    x = (uniform(num) - 0.5) * width / focal_px * z * 1.1
    y = (uniform(num) - 0.5) * height / focal_px * z * 1.1
    quats = torch.randn(num, 4, generator=generator)
    scales = z[:, None] / focal_px * torch.exp(2.0 * uniform(num, 3) - 0.5)
    return [torch.stack([x, y, z], 1), quats, scales, 0.05 + 0.9 * uniform(num), uniform(num, 3)]


def fingerprint(tensors: list[Tensor]) -> str:
    """SHA-256 of the values rounded to 1e-4 of their size, the same on every machine."""
    digest = hashlib.sha256()
    for t in tensors:
        digest.update((t.double() * 1e4).round().to(torch.int64).numpy().tobytes())
    return digest.hexdigest()
