"""COLMAP's sparse models: cameras, images and points3D, as text or binary (little endian); nothing is converted here.

Rows as COLMAP documents them. 2D points and tracks are stepped over: they are most of the bytes and not needed.
rigs and frames, which COLMAP writes since version 3.12, say nothing that images does not.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import InputError

Floats = NDArray[np.float64]
# By number, as the binary files say it: name, number of parameters (None: not read here).
MODELS: dict[int, tuple[str, int | None]] = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", None),
    8: ("SIMPLE_RADIAL_FISHEYE", None),
    9: ("RADIAL_FISHEYE", None),
    10: ("THIN_PRISM_FISHEYE", None),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", None),
}
_NUM_PARAMS = {name: count for name, count in MODELS.values() if count is not None}
_KNOWN = ", ".join(_NUM_PARAMS)
_STATED = re.compile(r"\s*#\s*Number of \w+:\s*(\d+)")


@dataclass(frozen=True)
class ModelCamera:
    """A row of cameras: parameters px and unitless, as the model orders them; the first pixel's center at 0.5."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class ModelImage:
    """A row of images: pose cam_from_world, quaternion wxyz."""

    name: str
    camera: int
    quat: tuple[float, ...]
    translation: tuple[float, ...]


def read_cameras(path: Path) -> dict[int, ModelCamera]:
    """Read cameras.txt or cameras.bin: by camera id.

    Raises:
        InputError: missing, cut off, not numbers, or a camera model that is not read here, by its name.
    """
    cameras: dict[int, ModelCamera] = {}
    if path.suffix == ".bin":
        file = _Binary(path)
        for _ in range(file.count("cameras", 24)):
            number, model_id, width, height = file.unpack("iiQQ")
            name, count = MODELS.get(model_id, (f"number {model_id}", None))
            if count is None:
                raise InputError(path, f"camera model {_KNOWN}", name)
            cameras[number] = ModelCamera(name, width, height, file.unpack(f"{count}d"))
        file.finish()
        return cameras
    for line, text in _rows(path):
        parts = text.split()
        name = parts[1] if len(parts) > 1 else "none"
        if name not in _NUM_PARAMS:
            raise InputError(path, f"camera model {_KNOWN} in line {line}", name)
        try:
            number, width, height = int(parts[0]), int(parts[2]), int(parts[3])
            params = tuple(float(p) for p in parts[4:])
        except (ValueError, IndexError):
            raise InputError(path, f"id, model, width, height, parameters in line {line}", repr(text[:60])) from None
        if len(params) != _NUM_PARAMS[name]:
            raise InputError(path, f"{_NUM_PARAMS[name]} parameters of {name} in line {line}", str(len(params)))
        cameras[number] = ModelCamera(name, width, height, params)
    return cameras


def read_images(path: Path) -> list[ModelImage]:
    """Read images.txt or images.bin.

    Raises:
        InputError: missing, cut off, not numbers.
    """
    if path.suffix == ".bin":
        file, images = _Binary(path), []
        for _ in range(file.count("images", 73)):
            _, *pose, camera = file.unpack("i7di")
            images.append(ModelImage(file.text(), camera, tuple(pose[:4]), tuple(pose[4:])))
            (num_points,) = file.unpack("Q")
            file.skip(24 * num_points)
        file.finish()
        return images
    images = []
    for line, text in _rows(path, pairs=True):
        parts = text.split(maxsplit=9)
        try:
            pose, camera, name = [float(p) for p in parts[1:8]], int(parts[8]), parts[9]
        except (ValueError, IndexError):
            raise InputError(path, f"id, qw qx qy qz, tx ty tz, camera, name in line {line}", repr(text[:60])) from None
        images.append(ModelImage(name, camera, tuple(pose[:4]), tuple(pose[4:])))
    return images


def read_points(path: Path) -> tuple[Floats, NDArray[np.uint8]]:
    """Read points3D.txt or points3D.bin: xyz [M, 3] in the model's frame and unit, rgb [M, 3].

    Raises:
        InputError: missing, cut off, not numbers.
    """
    xyz: list[tuple[float, ...]] = []
    rgb: list[tuple[int, ...]] = []
    if path.suffix == ".bin":
        file = _Binary(path)
        for _ in range(file.count("points", 51)):
            _, x, y, z, red, green, blue, _, length = file.unpack("Q3d3BdQ")
            xyz.append((x, y, z))
            rgb.append((red, green, blue))
            file.skip(8 * length)
        file.finish()
    else:
        for line, text in _rows(path):
            parts = text.split(maxsplit=7)
            try:
                xyz.append((float(parts[1]), float(parts[2]), float(parts[3])))
                rgb.append((int(parts[4]), int(parts[5]), int(parts[6])))
            except (ValueError, IndexError):
                raise InputError(path, f"id, x, y, z, r, g, b, ... in line {line}", repr(text[:60])) from None
    colors = np.clip(np.array(rgb, np.int64).reshape(-1, 3), 0, 255).astype(np.uint8)
    return np.array(xyz, np.float64).reshape(-1, 3), colors


class _Binary:
    """A binary file read from front to back; whatever is cut off is told with the file's name."""

    def __init__(self, path: Path) -> None:
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise InputError(path, "a COLMAP file", error.strerror or str(error)) from None
        self._path, self._at = path, 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """Values of a struct layout, little endian and unpadded."""
        size = struct.calcsize("<" + layout)
        self.skip(size)
        return struct.unpack_from("<" + layout, self._data, self._at - size)

    def skip(self, size: int) -> None:
        """Step over bytes that must be there."""
        if self._at + size > len(self._data):
            expected = f"at least {self._at + size} bytes"
            raise InputError(self._path, expected, f"{len(self._data)}: the file is cut off")
        self._at += size

    def count(self, what: str, smallest: int) -> int:
        """The number of records that follow; `smallest` bytes each at least."""
        (number,) = self.unpack("Q")
        if number * smallest > len(self._data) - self._at:
            raise InputError(self._path, f"{number} {what}", f"{len(self._data)} bytes: the file is cut off")
        return int(number)

    def text(self) -> str:
        """A name that ends with a zero byte."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise InputError(self._path, "a name that ends with a zero byte", "the file's end: it is cut off")
        name = self._data[self._at : end]
        self._at = end + 1
        return name.decode("utf-8", "replace")

    def finish(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise InputError(self._path, f"{self._at} bytes", f"{len(self._data)}: not a COLMAP file")


def _rows(path: Path, pairs: bool = False) -> Iterator[tuple[int, str]]:
    """Rows with their line numbers, less comments. `pairs`: each has a second line, x y point, maybe empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(path, "a COLMAP text file", error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise InputError(path, "a COLMAP text file", "bytes that are not UTF-8") from None
    numbered = iter(enumerate(lines, 1))
    stated = found = 0
    for line, text in numbered:
        if text.lstrip().startswith("#"):
            match = _STATED.match(text)
            stated = int(match[1]) if match else stated
        elif text.strip():
            found += 1
            yield line, text.strip()
            if pairs:
                _, second = next(numbered, (0, "cut"))
                if len(second.split()) % 3:
                    raise InputError(path, f"x, y, point after line {line}", "another number of values: it is cut off")
    if found < stated:
        raise InputError(path, f"{stated} rows, as its comment says", f"{found}: the file is cut off")
