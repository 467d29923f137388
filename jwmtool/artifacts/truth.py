"""The truth of a made world: one `.npz` beside each image, with what every pixel shows and how it moves."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.errors import InputError

Array = NDArray[Any]

SKY = 0  # class of the sky
_UNIT = 127.0  # normals are stored as 127ths

# What each array is, told in clip.json as well; (type as stored, trailing shape, text).
ARRAYS: dict[str, tuple[type[np.generic], tuple[int, ...], str]] = {
    "depth": (np.float32, (), "z of the camera's frame in m at the pixel's center; infinite: sky"),
    "normal": (np.int8, (3,), "unit normal in the world's frame times 127; zero: sky"),
    "instance": (np.uint16, (), "number of the thing or actor, see instances; 0: ground and sky"),
    "semantic": (np.uint8, (), "class, see classes; 0 is the sky: semantic > 0 is the inverse of the sky mask"),
    "flow": (np.float16, (2,), "motion to the same camera's next frame in px (x right, y down); NaN: goes behind it"),
    "scene_flow": (np.float16, (3,), "motion to the next frame in m, in the world's frame; 0: sky and what stands"),
}
_MAX_FLOW_PX = 60000.0  # float16 ends at 65504


def write_truth(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the truth of one image; the same arrays give the same bytes.

    Args:
        path: `.npz` file to make; its folder must exist.
        arrays: by the names of ARRAYS, all or some of them, [H, W, ...]. Normals are unit vectors, not yet 127ths.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in arrays.items():
            buffer = BytesIO()
            np.save(buffer, _stored(name, np.asarray(value)))
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))  # a fixed date, so that bytes repeat
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue(), compresslevel=1)


def has_truth(clip: Clip) -> bool:
    """True if the clip comes with truth (see `read_truth`)."""
    truth = clip.extras.get("truth")
    return isinstance(truth, dict) and isinstance(truth.get("files"), dict)


def read_truth(clip: Clip, frame: int, camera: str, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Read the truth of one image.

    Args:
        clip: a clip with truth in its extras.
        frame: index into `clip.frames`.
        camera: name of the camera.
        names: which of ARRAYS; all that are there by default.

    Returns:
        Arrays [H, W, ...] by name; depth, normal, flow and scene_flow as float32 (normals unit or zero), instance and
        semantic as stored.

    Raises:
        InputError: the clip has no truth for this image, or the file is missing, damaged or of another size.
    """
    path = clip.root / _file(clip, frame, camera)
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = [n for n in ARRAYS if f"{n}.npy" in archive.namelist()] if names is None else list(names)
            # The archive checks each member's sum before numpy sees it.
            stored = {name: np.load(BytesIO(archive.read(f"{name}.npy")), allow_pickle=False) for name in wanted}
    except FileNotFoundError:
        raise InputError(path, "the truth that clip.json names", "no such file") from None
    except KeyError as error:
        raise InputError(path, "the asked arrays of truth", str(error).strip("'\"")) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, "a readable .npz of truth", str(error)) from None
    model = clip.cameras[camera]
    for name, value in stored.items():
        expected = (model.height, model.width, *ARRAYS[name][1])
        if value.shape != expected:
            raise InputError(path, f"{name} of shape {expected}", f"shape {value.shape}")
    return {name: _told(name, value) for name, value in stored.items()}


def truth_document(
    files: Mapping[str, list[str]], classes: Mapping[int, str], instances: Mapping[int, str]
) -> dict[str, Any]:
    """What stands in a clip's `extras["truth"]`.

    Args:
        files: by camera, one file for each frame, relative to the clip.
        classes: name of each semantic class.
        instances: what each number of `instance` is; actors by the id of their track.
    """
    return {
        "files": {camera: list(names) for camera, names in files.items()},
        "arrays": {name: text for name, (_, _, text) in ARRAYS.items()},
        "classes": {str(number): name for number, name in classes.items()},
        "instances": {str(number): name for number, name in instances.items()},
    }


def truth_file(frame: int, camera: str) -> str:
    """Where the truth of an image lies in a clip."""
    return f"truth/{camera}/{frame:06d}.npz"


def _file(clip: Clip, frame: int, camera: str) -> str:
    if not has_truth(clip):
        raise InputError(clip.root / "clip.json", "a clip with truth (jwm world makes one)", "none in its extras")
    files = clip.extras["truth"]["files"].get(camera, [])
    if not isinstance(files, list) or not 0 <= frame < len(files) or not isinstance(files[frame], str):
        raise InputError(clip.root / "clip.json", f"truth of frame {frame}, camera {camera}", "none")
    name: str = files[frame]
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(clip.root / "clip.json", "truth inside the clip", repr(name))
    return name


def _stored(name: str, value: Array) -> Array:
    dtype = ARRAYS[name][0]
    if name == "normal":
        return np.round(value * _UNIT).astype(np.int8)
    if name == "flow":
        return np.clip(value, -_MAX_FLOW_PX, _MAX_FLOW_PX).astype(dtype)  # NaN stays
    return value.astype(dtype)


def _told(name: str, value: Array) -> Array:
    if name == "normal":
        normal = value.astype(np.float32)
        return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1.0))
    return value.astype(np.float32) if name in ("depth", "flow", "scene_flow") else value
