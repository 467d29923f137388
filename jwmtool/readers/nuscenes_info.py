"""nuScenes in mmdetection3d's info form (version 1.1): a .pkl beside the pictures and sweeps, no tables, no devkit.

All entries of the file whose six pictures are there make one recording, in order of time, one key frame each. Pictures
and sweeps lie beside the .pkl or in samples/CAM_FRONT/ and so on.

Conventions: `a2b` maps points from a to b, meters, times in seconds. `ego2global` and `lidar2ego` stand at the sample's
(the lidar's) time, `cam2ego` is the mounting; `lidar2cam` leads to the camera at its own time over the poses of both:
world_from_cam = ego2global @ lidar2ego @ inverse(lidar2cam). The rig stands where CAM_FRONT saw it. Boxes are in the
lidar's frame (x right, y forward, z up): center, length, width, height, yaw from x. Everything else is as in
`nuscenes.py`, also the pixel centers (0.5 added).

A pickle can run code of its author when it is loaded; here it can make containers, strings and numbers, nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jwmtool.artifacts.clip import Track
from jwmtool.artifacts.images import image_size
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.readers.nuscenes_scene import LICENCE, REFERENCE, read_points
from jwmtool.readers.recording import Matrix, Recording, SourceCamera, SourceFrame, SourceImage, SourceSweep, safe_name

_VERSION = "1.1"


def detects(path: Path) -> bool:
    """True for a .pkl with nuScenes' pictures beside it (or in samples/ beside it), and for a folder of both."""
    if path.is_file():
        return path.suffix == ".pkl" and (_beside(path.parent) or (path.parent / "samples" / REFERENCE).is_dir())
    return path.is_dir() and any(path.glob("*.pkl")) and _beside(path)


def read(path: Path, scene: str | None = None) -> Recording:
    """Read the samples of an info file; `scene` is the token of one of them, where only that is wanted.

    Raises:
        InputError: several .pkl files, not an info file of this version, pictures or sweeps missing.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.pkl"))
    if len(files) != 1:
        raise InputError(path, "one .pkl (name it)", ", ".join(f.name for f in files[:8]))
    file = files[0]
    document = _load(file)
    try:
        return _read(file, document, scene)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(file, f"an info file of mmdetection3d, version {_VERSION}", found) from None


def _read(file: Path, document: dict[str, Any], scene: str | None) -> Recording:
    names = {number: name for name, number in document["metainfo"]["categories"].items()}
    entries = _chosen(file, document["data_list"], scene)
    cameras: dict[str, SourceCamera] = {}
    frames: list[SourceFrame] = []
    lidar: list[SourceSweep] = []
    tracks: list[Track] = []
    for entry in entries:
        world_from_lidar = _matrix(entry["ego2global"]) @ _matrix(entry["lidar_points"]["lidar2ego"])
        images: dict[str, SourceImage] = {}
        for name, told in entry["images"].items():
            picture = _found(file.parent, name, told["img_path"])
            if name not in cameras:
                K = np.array(told["cam2img"], np.float64)[:3, :3]
                K[:2, 2] += 0.5
                cameras[name] = SourceCamera(name, K, *image_size(picture), rig_from_cam=_matrix(told["cam2ego"]))
            world_from_cam = world_from_lidar @ se3.inverse(_matrix(told["lidar2cam"]))
            images[name] = SourceImage(picture, _time_us(told), world_from_cam)
        first = REFERENCE if REFERENCE in images else next(iter(images))
        world_from_rig = images[first].world_from_cam @ se3.inverse(cameras[first].rig_from_cam)
        frames.append(SourceFrame(images[first].time_us, world_from_rig, images, key=True))
        load = partial(read_points, _found(file.parent, "LIDAR_TOP", entry["lidar_points"]["lidar_path"]))
        lidar.append(SourceSweep(_time_us(entry), world_from_lidar, load))
        tracks += _boxes(entry, world_from_lidar, names)
    return Recording(
        name=safe_name(file.stem if scene is None else f"{file.stem}-{scene}"),
        format="nuscenes",
        path=file,
        cameras=cameras,
        frames=frames,
        index_files=(file,),
        licence=LICENCE,
        lidar=lidar,
        tracks=tracks,
    )


def _boxes(entry: dict[str, Any], world_from_lidar: Matrix, names: dict[int, str]) -> list[Track]:
    """A track of one time for each box: the file does not say which boxes of two samples are the same thing."""
    tracks = []
    for index, box in enumerate(entry.get("instances", [])):
        x, y, z, length, width, height, yaw_rad = (float(v) for v in box["bbox_3d"])
        world_from_box = world_from_lidar @ se3.translation((x, y, z)) @ se3.rotation_z(yaw_rad)
        if not np.isfinite(world_from_box).all():
            raise ValueError(f"NaN or infinity in box {index} of sample {entry['token']}")
        category = names.get(int(box["bbox_label_3d"]), "other")
        times_us = np.array([_time_us(entry)], np.int64)
        id_ = f"{str(entry['token'])[:8]}-{index:03d}"
        tracks.append(Track(id_, category, (length, width, height), times_us, world_from_box[None]))
    return tracks


def _chosen(file: Path, entries: list[dict[str, Any]], scene: str | None) -> list[dict[str, Any]]:
    """Those whose pictures are there, in order of time."""
    wanted = [e for e in entries if scene in (None, e["token"])]
    if not wanted:
        raise InputError(file, f"a sample with token {scene}", f"{len(entries)} others")
    complete = [e for e in wanted if all(_place(file.parent, n, i["img_path"]) for n, i in e["images"].items())]
    if not complete:
        for name, told in wanted[0]["images"].items():
            _found(file.parent, name, told["img_path"])
    return sorted(complete, key=_time_us)


def _place(folder: Path, channel: str, told: str) -> Path | None:
    """Where a file of a channel lies; the info file names it with or without the folders of the data set."""
    name = Path(told).name
    places = (folder / name, folder / "samples" / channel / name)
    return next((p for p in places if p.is_file()), None)


def _found(folder: Path, channel: str, told: str) -> Path:
    place = _place(folder, channel, told)
    if place is None:
        raise InputError(
            folder / Path(told).name, f"the file of {channel}, here or in samples/{channel}", "no such file"
        )
    return place


def _time_us(told: dict[str, Any]) -> int:
    return round(float(told["timestamp"]) * 1e6)


def _matrix(rows: Any) -> Matrix:
    """[4, 4], made exactly rigid: the file has float32."""
    matrix = np.array(rows, np.float64)
    return matrix if se3.rigid_problem(matrix) else se3.orthonormalized(matrix)


def _beside(folder: Path) -> bool:
    return any(folder.glob(f"*__{REFERENCE}__*.jpg"))


def _load(file: Path) -> dict[str, Any]:
    what = f"an info file of mmdetection3d, version {_VERSION}"
    try:
        with file.open("rb") as stream:
            document = _PlainUnpickler(stream).load()
    except OSError as error:
        raise InputError(file, what, error.strerror or str(error)) from None
    except Exception as error:  # noqa: BLE001 - damaged pickles raise almost anything
        raise InputError(file, what, str(error) or type(error).__name__) from None
    if not isinstance(document, dict) or not {"metainfo", "data_list"} <= set(document):
        found = ", ".join(map(str, list(document)[:5])) if isinstance(document, dict) else type(document).__name__
        raise InputError(file, f"{what}, with metainfo and data_list", found)
    version = str(document["metainfo"].get("info_version"))
    if version != _VERSION:
        raise InputError(file, what, f"version {version}")
    return document


class _PlainUnpickler(pickle.Unpickler):
    """Makes plain values; numpy's single numbers, which some entries are, become Python's."""

    def find_class(self, module: str, name: str) -> Any:
        """One of ours instead of what the file asks for, or a refusal."""
        place = (module.replace("numpy._core.", "numpy.core."), name)
        if place not in _STANDINS:
            raise pickle.UnpicklingError(f"{module}.{name} in a pickle that should hold plain values")
        return _STANDINS[place]


class _Dtype:
    """Of a number: its letter and size, and little or native byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in ("b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
            raise pickle.UnpicklingError(f"a number of type {code!r}")
        self.code = code

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", "=", "|"):
            raise pickle.UnpicklingError(f"a number of byte order {state[1]!r}")


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, np.dtype(dtype.code), 1)[0].item()


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin1")


_STANDINS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
}
