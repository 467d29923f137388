"""What lies where in a scene file: the arrays of a scene by HDF5 path, and their content hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.tokens import Tokens
from jwmtool.gaussians.model import Gaussians

FORMAT = "jwm-scene"
VERSION = "1.0"
ROWS_PER_CHUNK = 32_768
SH_DEGREE = {1: 0, 4: 1, 9: 2, 16: 3}
GAUSSIAN_FIELDS = tuple(f.name for f in fields(Gaussians))
TOKEN_FIELDS = tuple(f.name for f in fields(Tokens))
INTEGER_FIELDS: dict[str, type[np.generic]] = {
    "actor": np.int32, "imagined": np.uint8, "of_gaussian": np.int32, "moving": np.uint8
}  # fmt: skip


def field_dtype(name: str) -> type[np.generic]:
    """Type on disk of one field of the Gaussians or tokens."""
    return INTEGER_FIELDS.get(name, np.float32)


def group_name(camera: str) -> str:
    """A camera's name as one HDF5 path component (`/` and the like percent-escaped)."""
    escaped = quote(camera, safe=" ()+,-_")
    return "%2E" * len(escaped) if set(escaped) == {"."} else escaped


def root_attributes(scene: Scene) -> dict[str, Any]:
    """Root attributes but for `content_sha256` and `history`."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "num_gaussians": np.int64(len(scene.gaussians)),
        "length_unit": "m",
        "color_space": "sRGB",
        "quaternion_order": "wxyz",
        "sh_degree": np.int64(scene.gaussians.sh_degree),
        "world_from_scene": np.asarray(scene.world_from_scene, np.float64),
        "time_origin_us": np.int64(scene.time_origin_us),
    }


def arrays(scene: Scene) -> dict[str, NDArray[Any]]:
    """Every numeric data set by path, in the type it has on disk."""
    found: dict[str, NDArray[Any]] = {}
    for name in GAUSSIAN_FIELDS:
        values = getattr(scene.gaussians, name).detach().cpu().numpy()
        found[f"gaussians/{name}"] = np.ascontiguousarray(values, field_dtype(name))
    if scene.tokens is not None:
        for name in TOKEN_FIELDS:
            values = getattr(scene.tokens, name).detach().cpu().numpy()
            found[f"tokens/{name}"] = np.ascontiguousarray(values, field_dtype(name))
    if scene.sky is not None:
        found["sky"] = np.ascontiguousarray(scene.sky.detach().cpu().numpy(), np.float32)
    if scene.sky_weight is not None:
        found["sky_weight"] = np.ascontiguousarray(scene.sky_weight.detach().cpu().numpy(), np.float32)
    for camera, exposure in scene.exposure.items():
        found[f"exposure/{group_name(camera)}/times_us"] = np.asarray(exposure.times_us, np.int64)
        affine = exposure.affine.detach().cpu().numpy()
        found[f"exposure/{group_name(camera)}/affine"] = np.ascontiguousarray(affine, np.float32)
    for camera, model in scene.cameras.items():
        found[f"cameras/{group_name(camera)}/K"] = np.asarray(model.K, np.float64)
        found[f"cameras/{group_name(camera)}/rig_from_cam"] = np.asarray(model.rig_from_cam, np.float64)
    found["ego/times_us"] = np.asarray(scene.ego_times_us, np.int64)
    found["ego/world_from_rig"] = np.asarray(scene.ego_world_from_rig, np.float64)
    return found


def camera_attributes(scene: Scene) -> dict[str, dict[str, Any]]:
    """Attributes of `/cameras/<name>` by group name."""
    return {
        group_name(name): {
            "name": model.name,
            "width": np.int64(model.width),
            "height": np.int64(model.height),
            "undistorted": np.uint8(model.undistorted),
        }
        for name, model in scene.cameras.items()
    }


def actor_lines(scene: Scene) -> list[str]:
    """One JSON object an actor, in the order that `/gaussians/actor` counts."""
    return [json.dumps(actor, sort_keys=True, allow_nan=False) for actor in scene.actors]


def scene_content_sha256(scene: Scene) -> str:
    """Hash of everything but provenance: the same content gives the same hash, however it was compressed.

    SHA-256 over, for each attribute and data set sorted by name: the name, numpy type string and shape as a line of
    JSON, a line feed, and the little-endian bytes in C order; text is hashed as UTF-8.
    """
    digest = hashlib.sha256()
    items: dict[str, Any] = {f"@{name}": value for name, value in root_attributes(scene).items()}
    items |= {f"@exposure/{group_name(name)}/name": name for name in scene.exposure}
    for group, attributes in camera_attributes(scene).items():
        items |= {f"@cameras/{group}/{name}": value for name, value in attributes.items()}
    items |= {f"/{name}": value for name, value in arrays(scene).items()}
    items["/actors"] = "\n".join(actor_lines(scene))
    for name in sorted(items):
        value = items[name]
        kind: list[Any]
        if isinstance(value, str):
            data, kind = value.encode(), ["utf-8"]
        else:
            array = np.asarray(value)
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            data, kind = np.ascontiguousarray(array).tobytes(), [array.dtype.str, list(array.shape)]
        digest.update(json.dumps([name, *kind]).encode() + b"\n" + data)
    return digest.hexdigest()
