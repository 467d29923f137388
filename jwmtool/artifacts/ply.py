"""The 3DGS PLY: what viewers of Gaussian splats read (the layout of the INRIA reference implementation).

Binary little endian, one `vertex` element of float32 properties: x y z, nx ny nz (zero), f_dc_0..2, f_rest_* (channel
by channel: all of red, then green, then blue), opacity (logit), scale_0..2 (natural log), rot_0..3 (wxyz).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.ply_vertices import read_vertices
from jwmtool.errors import InputError
from jwmtool.gaussians.model import Gaussians

_MAX_OPACITY = 1 - 1e-6  # keeps the logit finite; 1 would be infinity
_MIN_OPACITY = 1e-8
_REST_DEGREE = {0: 0, 9: 1, 24: 2, 45: 3}


def property_names(sh_degree: int) -> list[str]:
    """Vertex properties in file order."""
    num_rest = 3 * ((sh_degree + 1) ** 2 - 1)
    names = [
        "x",
        "y",
        "z",
        "nx",
        "ny",
        "nz",
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(num_rest)),
    ]
    return [*names, "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]


def write_ply(gaussians: Gaussians, path: Path, force: bool = False) -> None:
    """Write atomically. Time, actors and marks of imagination are not part of the format: freeze the scene first.

    Raises:
        OutputExistsError: `path` exists and `force` is not set.
    """
    g, n = gaussians.detach().to("cpu"), len(gaussians)
    opacity = g.opacities.double().clamp(_MIN_OPACITY, _MAX_OPACITY)
    columns = [
        g.means,
        torch.zeros(n, 3),
        g.sh[:, 0],
        g.sh[:, 1:].transpose(1, 2).flatten(1),  # [N, K - 1, 3] to channel-major
        torch.log(opacity / (1 - opacity))[:, None],
        torch.log(g.scales.clamp(min=1e-20)),
        g.quats,
    ]
    rows = torch.cat([c.float() for c in columns], 1).numpy().astype("<f4", copy=False)
    names = property_names(g.sh_degree)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {n}"]
    header += [*(f"property float {name}" for name in names), "end_header"]
    with atomic_file(path, force) as temporary, temporary.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        file.write(np.ascontiguousarray(rows).tobytes())


def read_ply(path: Path) -> Gaussians:
    """Read a 3DGS PLY, binary or ascii; extra properties are ignored.

    Raises:
        InputError: missing, truncated, not a PLY, or one without the properties of Gaussians.
    """
    vertices = read_vertices(path)
    fields = vertices.dtype.names or ()
    rest = sorted((f for f in fields if f.startswith("f_rest_")), key=lambda f: int(f[7:]) if f[7:].isdigit() else -1)
    if len(rest) not in _REST_DEGREE:
        raise InputError(path, "0, 9, 24 or 45 properties f_rest_*", str(len(rest)))
    needed = [name for name in property_names(_REST_DEGREE[len(rest)]) if name not in ("nx", "ny", "nz")]
    missing = [name for name in needed if name not in fields]
    if missing:
        raise InputError(path, "a PLY of Gaussians", f"no property {missing[0]} (a plain point cloud or mesh?)")

    def columns(names: list[str]) -> torch.Tensor:
        found = np.stack([vertices[name].astype(np.float32) for name in names], 1)
        if not np.isfinite(found).all():
            raise InputError(path, f"finite numbers in {names[0]}", "NaN or infinity")
        return torch.from_numpy(found)

    n = len(vertices)
    dc = columns(["f_dc_0", "f_dc_1", "f_dc_2"])[:, None]
    higher = columns(rest).reshape(n, 3, len(rest) // 3).transpose(1, 2) if rest else torch.zeros(n, 0, 3)
    quats = columns([f"rot_{i}" for i in range(4)])
    norms = quats.norm(dim=1, keepdim=True)
    if (norms == 0).any():
        raise InputError(path, "rotations", "a quaternion of zeros")
    return Gaussians.static(
        means=columns(["x", "y", "z"]),
        quats=quats / norms,
        scales=columns([f"scale_{i}" for i in range(3)]).exp().clamp(1e-20, 1e20),
        opacities=columns(["opacity"])[:, 0].sigmoid(),
        sh=torch.cat([dc, higher], 1).contiguous(),
    )
