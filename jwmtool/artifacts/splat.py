"""The .splat file of antimatter15's web viewer: 32 bytes a Gaussian, no header, no view-dependent color.

Position 3 x float32, scale 3 x float32 (standard deviations, metres), color and opacity 4 x uint8, rotation 4 x uint8
(wxyz, 128 + 128 q). Sorted by importance (volume times opacity, largest first), so that a viewer can show the file
while it loads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.errors import InputError
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.harmonics import C0

ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])


def write_splat(gaussians: Gaussians, path: Path, force: bool = False) -> None:
    """Write atomically; freeze a scene in time first.

    Raises:
        OutputExistsError: `path` exists and `force` is not set.
    """
    g = gaussians.detach().to("cpu")
    importance = g.scales.double().prod(1) * g.opacities
    g = g.select(torch.argsort(importance, descending=True, stable=True))
    rows = np.zeros(len(g), ROW)
    rows["position"], rows["scale"] = g.means.numpy(), g.scales.numpy()
    rgba = torch.cat([0.5 + C0 * g.sh[:, 0], g.opacities[:, None]], 1)
    rows["rgba"] = (rgba * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    quats = torch.nn.functional.normalize(g.quats.double(), dim=1)
    rows["rotation"] = (quats * 128 + 128).round().clamp(0, 255).to(torch.uint8).numpy()
    with atomic_file(path, force) as temporary:
        temporary.write_bytes(rows.tobytes())


def read_splat(path: Path) -> Gaussians:
    """Read a .splat file.

    Raises:
        InputError: missing, or not whole rows of 32 bytes, or NaN.
    """
    if not path.is_file():
        raise InputError(path, "a .splat file", "no such file")
    size = path.stat().st_size
    if size % ROW.itemsize:
        raise InputError(path, f"rows of {ROW.itemsize} bytes", f"{size} bytes, not a multiple")
    rows = np.fromfile(path, ROW)
    if not (np.isfinite(rows["position"]).all() and np.isfinite(rows["scale"]).all() and (rows["scale"] >= 0).all()):
        raise InputError(path, "finite positions and scales", "other numbers")
    rgba = torch.from_numpy(rows["rgba"].astype(np.float32) / 255)
    quats = torch.from_numpy((rows["rotation"].astype(np.float32) - 128) / 128)
    return Gaussians.static(
        means=torch.from_numpy(rows["position"].copy()),
        quats=torch.nn.functional.normalize(quats, dim=1),
        scales=torch.from_numpy(rows["scale"].copy()).clamp(min=1e-20),
        opacities=rgba[:, 3].contiguous(),
        sh=((rgba[:, :3] - 0.5) / C0)[:, None],
    )
