"""Read and write scenes as HDF5. The layout is in `scene_layout.py` and, in full, in docs/artifacts.md."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from jwmtool.artifacts.atomic import atomic_file, check_output
from jwmtool.artifacts.clip import ClipCamera
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_layout import (
    FORMAT,
    GAUSSIAN_FIELDS,
    ROWS_PER_CHUNK,
    SH_DEGREE,
    TOKEN_FIELDS,
    VERSION,
    actor_lines,
    arrays,
    camera_attributes,
    field_dtype,
    group_name,
    root_attributes,
    scene_content_sha256,
)
from jwmtool.artifacts.tokens import Tokens
from jwmtool.errors import InputError
from jwmtool.gaussians.exposure import Exposure
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.se3 import rigid_problem

__all__ = ["read_scene", "scene_content_sha256", "write_scene"]

_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on damaged files


def write_scene(scene: Scene, path: Path, force: bool = False) -> None:
    """Write atomically; an existing file is kept unless `force`.

    Raises:
        OutputExistsError: `path` exists and `force` is not set.
        OSError: the disk is full, say; nothing is left behind.
    """
    check_output(path, force)
    # HDF5 crashes the process if the disk fills up under an open file, so the file is built in memory.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write(file, scene)
    with atomic_file(path, force) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_scene(path: Path) -> Scene:
    """Read and check a scene.

    Raises:
        InputError: missing, truncated, not a scene, of a newer major version, or with damaged or missing data.
    """
    if not path.is_file():
        raise InputError(path, "a scene file", "a folder" if path.is_dir() else "no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        found = "a truncated file" if "truncated" in str(error) else "no HDF5 (or damaged)"
        raise InputError(path, "an HDF5 scene", found) from None
    with file:
        return _Reader(path, file).scene()


def _write(file: h5py.File, scene: Scene) -> None:
    for name, value in root_attributes(scene).items():
        file.attrs[name] = value
    file.attrs["content_sha256"] = scene_content_sha256(scene)
    file.attrs["history"] = json.dumps(scene.history, sort_keys=True)
    for group in ("gaussians", "exposure", "cameras", "ego"):
        file.create_group(group)
    for name, values in arrays(scene).items():
        rows = name.startswith(("gaussians/", "tokens/")) and len(values) > 0
        chunks = (min(ROWS_PER_CHUNK, len(values)), *values.shape[1:]) if rows else None
        light = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if rows else {}
        file.create_dataset(name, data=values, chunks=chunks, **light)
    if scene.sky is not None:
        file["sky"].attrs["faces"] = "+x -x +y -y +z -z"
    for name in scene.exposure:
        file[f"exposure/{group_name(name)}"].attrs["name"] = name
    for name, attributes in camera_attributes(scene).items():
        file[f"cameras/{name}"].attrs.update(attributes)
    file.create_dataset("actors", data=np.array(actor_lines(scene), object), dtype=h5py.string_dtype())


class _Reader:
    """Reads one open file; every problem becomes an InputError about `path`."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file

    def scene(self) -> Scene:
        if self.attribute("format", "?") != FORMAT:
            raise InputError(self.path, f"format {FORMAT}", f"format {self.attribute('format', None)!r}")
        version = str(self.attribute("version"))
        if version.split(".")[0] != VERSION.split(".")[0]:
            raise InputError(self.path, f"scene version {VERSION.split('.')[0]}.x", f"version {version}")
        try:
            history = json.loads(str(self.attribute("history", "[]")))
            actors = [json.loads(line) for line in self.texts("actors")]
        except json.JSONDecodeError as error:
            raise InputError(self.path, "JSON in history and actors", str(error)) from None
        ego_times_us = self.array("ego/times_us", np.int64, (None,))
        gaussians = self.gaussians()
        return Scene(
            gaussians=gaussians,
            world_from_scene=self.rigid("world_from_scene", self.attribute("world_from_scene")),
            time_origin_us=int(self.attribute("time_origin_us")),
            sky=torch.from_numpy(self.sky()) if "sky" in self.file else None,
            exposure=self.exposure(),
            cameras=self.cameras(),
            ego_times_us=ego_times_us,
            ego_world_from_rig=self.array("ego/world_from_rig", np.float64, (len(ego_times_us), 4, 4)),
            actors=actors,
            history=history,
            tokens=self.tokens(len(gaussians)) if "tokens" in self.file else None,
            sky_weight=torch.from_numpy(self.sky_weight()) if "sky_weight" in self.file else None,
        )

    def gaussians(self) -> Gaussians:
        try:
            n = int(self.attribute("num_gaussians"))
        except (TypeError, ValueError):
            n = -1
        if n < 0:
            raise InputError(self.path, "num_gaussians of 0 or more", repr(self.attribute("num_gaussians")))
        tail: dict[str, tuple[int | None, ...]] = {"means": (3,), "quats": (4,), "scales": (3,), "velocity": (3,)}
        tail["sh"] = (None, 3)
        values = {
            name: self.array(f"gaussians/{name}", field_dtype(name), (n, *tail.get(name, ())), rows=n)
            for name in GAUSSIAN_FIELDS
        }
        if SH_DEGREE.get(values["sh"].shape[1]) != int(self.attribute("sh_degree")):
            expected = f"gaussians/sh of degree {self.attribute('sh_degree')}"
            raise InputError(self.path, expected, f"{values['sh'].shape[1]} coefficients")
        self.check("gaussians/scales to be positive", values["scales"] > 0)
        self.check("gaussians/opacities in [0, 1]", (values["opacities"] >= 0) & (values["opacities"] <= 1))
        self.check("gaussians/time_sigma to be positive", values["time_sigma"] > 0)
        self.check("gaussians/quats of length 1", np.abs(np.linalg.norm(values["quats"], axis=1) - 1) < 1e-2)
        return Gaussians(**{name: torch.from_numpy(array) for name, array in values.items()})

    def tokens(self, num_gaussians: int) -> Tokens:
        values = {"anchor": self.array("tokens/anchor", np.float32, (None, 3))}
        n = len(values["anchor"])
        for name in TOKEN_FIELDS[1:]:
            rows = num_gaussians if name == "of_gaussian" else n
            shape = (rows, 3) if name in ("eye", "color") else (rows,)
            values[name] = self.array(f"tokens/{name}", field_dtype(name), shape, rows=rows)
        owner = values["of_gaussian"]
        self.check("tokens/of_gaussian from -1 to the last token", (owner >= -1) & (owner < n))
        self.check("tokens/footprint_m to be positive", values["footprint_m"] > 0)
        values["moving"] = values["moving"] > 0
        return Tokens(**{name: torch.from_numpy(array) for name, array in values.items()})

    def sky(self) -> NDArray[np.float32]:
        sky = self.array("sky", np.float32, (6, None, None, 3))
        if sky.shape[1] != sky.shape[2]:
            raise InputError(self.path, "sky faces as high as wide", f"shape {sky.shape}")
        return sky

    def sky_weight(self) -> NDArray[np.float32]:
        weight = self.array("sky_weight", np.float32, (6, None, None))
        self.check("sky_weight not to be negative", weight >= 0)
        return weight

    def exposure(self) -> dict[str, Exposure]:
        found = {}
        for key, group in self.groups("exposure"):
            times_us = self.array(f"exposure/{key}/times_us", np.int64, (None,))
            affine = self.array(f"exposure/{key}/affine", np.float32, (len(times_us), 3, 4))
            if len(times_us) == 0 or (np.diff(times_us) <= 0).any():
                raise InputError(self.path, f"exposure/{key}/times_us increasing", "times out of order or none")
            found[str(group.attrs.get("name", key))] = Exposure(times_us, torch.from_numpy(affine))
        return found

    def cameras(self) -> dict[str, ClipCamera]:
        found = {}
        for key, group in self.groups("cameras"):
            K = self.array(f"cameras/{key}/K", np.float64, (3, 3))
            rig_from_cam = self.array(f"cameras/{key}/rig_from_cam", np.float64, (4, 4))
            self.rigid(f"cameras/{key}/rig_from_cam", rig_from_cam)
            try:
                width, height = int(group.attrs["width"]), int(group.attrs["height"])
            except KeyError as error:
                raise InputError(self.path, f"cameras/{key} with attributes width and height", str(error)) from None
            name = str(group.attrs.get("name", key))
            found[name] = ClipCamera(name, K, width, height, rig_from_cam, bool(group.attrs.get("undistorted", 0)))
        return found

    def attribute(self, name: str, default: Any = ...) -> Any:
        try:
            return self.file.attrs[name] if default is ... or name in self.file.attrs else default
        except KeyError:
            raise InputError(self.path, f"a root attribute {name}", "none") from None
        except _DAMAGE as error:
            raise InputError(self.path, f"a readable attribute {name}", str(error)) from None

    def groups(self, name: str) -> list[tuple[str, h5py.Group]]:
        group = self.file.get(name)
        return [] if group is None else sorted(group.items())

    def texts(self, name: str) -> list[str]:
        try:
            return list(self.file[name].asstr()[:]) if name in self.file else []
        except _DAMAGE as error:
            raise InputError(self.path, f"readable text in {name}", str(error)) from None

    def array(
        self, name: str, dtype: type[np.generic], shape: tuple[int | None, ...], rows: int | None = None
    ) -> NDArray[Any]:
        """A data set; None in `shape` is any length. With `rows`, longer data sets are cut: num_gaussians rules."""
        dataset = self.file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise InputError(self.path, f"a data set {name}", "none")
        found = (
            dataset.shape if rows is None or not dataset.shape else (min(rows, dataset.shape[0]), *dataset.shape[1:])
        )
        if len(found) != len(shape) or any(s is not None and s != f for s, f in zip(shape, found, strict=True)):
            wanted = [("any" if s is None else s) for s in shape]
            raise InputError(self.path, f"{name} of shape {wanted}", f"shape {list(dataset.shape)}")
        if dataset.dtype.kind not in ("f" if np.issubdtype(dtype, np.floating) else "iu"):
            raise InputError(self.path, f"{name} of type {np.dtype(dtype).name}", dataset.dtype.name)
        try:
            values = np.asarray(dataset[()] if rows is None else dataset[:rows], dtype)
        except _DAMAGE as error:
            raise InputError(self.path, f"readable data in {name}", str(error)) from None
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(self.path, f"finite numbers in {name}", "NaN or infinity")
        return values

    def rigid(self, name: str, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        problem = rigid_problem(matrix)
        if problem is not None:
            raise InputError(self.path, f"{name} to be a rigid 4x4 transform", problem)
        return np.asarray(matrix, np.float64)

    def check(self, expected: str, good: NDArray[np.bool_]) -> None:
        if not good.all():
            raise InputError(self.path, expected, f"{int((~good).sum())} values that are not")
