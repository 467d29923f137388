"""Read, check and write `clip.json`. The schema that it follows is `clip.schema.json`, beside this file."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jwmtool.artifacts.clip import Clip, ClipCamera, ClipFrame, ClipImage, LidarSweep, Split, Track
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import intrinsics_problem

FORMAT = "jwm-clip"
VERSION = "1.0"
CONVENTIONS = {
    "pixel_center": 0.5,
    "cam_axes": "x right, y down, z forward",
    "rig_axes": "x forward, y left, z up",
    "world_axes": "right-handed, z up",
    "box_axes": "x along the length, y left, z up, origin at the center",
    "matrices": "4x4, row major; world_from_cam maps points of the camera to the world",
    "time_unit": "us",
}


def read_clip(path: str | Path) -> Clip:
    """Read a clip folder (or its clip.json) and check everything but the pixels.

    Raises:
        InputError: one line that names the file, what was expected and what was found.
    """
    path = Path(path)
    file = path if path.name == "clip.json" else path / "clip.json"
    if not path.exists():
        raise InputError(path, "a clip folder", "no such file or folder")
    if not file.is_file():
        empty = path.is_dir() and not any(path.iterdir())
        found = "an empty folder" if empty else "no clip.json in it" if path.is_dir() else "another file"
        raise InputError(path, "a clip folder with clip.json (jwm ingest makes one)", found)
    document = read_json(file)
    _check_header(file, document)
    _check_schema(file, document)
    cameras = {c["name"]: _read_camera(file, c) for c in document["cameras"]}
    if len(cameras) != len(document["cameras"]):
        raise InputError(file, "camera names that differ", "one name twice")
    frames = [_read_frame(file, i, frame, cameras) for i, frame in enumerate(document["frames"])]
    for i in range(1, len(frames)):
        if frames[i].time_us <= frames[i - 1].time_us:
            found = f"frames[{i}] at {frames[i].time_us} us after {frames[i - 1].time_us} us"
            raise InputError(file, "frames in order of time", found)
    return Clip(
        root=file.parent,
        name=document["name"],
        source=document["source"],
        licence=document["licence"],
        cameras=cameras,
        frames=frames,
        split=_read_split(file, document.get("split", {}), len(frames), cameras),
        lidar=[_read_sweep(file, i, sweep) for i, sweep in enumerate(document.get("lidar", []))],
        points=None if document.get("points") is None else _existing(file, "points", document["points"]),
        tracks=[_read_track(file, i, track) for i, track in enumerate(document.get("tracks", []))],
        tags=document.get("tags", {}),
        extras=document.get("extras", {}),
        provenance=document.get("provenance", []),
    )


def write_clip_json(clip: Clip, folder: Path) -> Path:
    """Write `clip.json` into `folder`, one item of every list a line; return its path."""
    lines = [f"  {_json(key)}: {_layout(value)}" for key, value in _document(clip).items()]
    file = folder / "clip.json"
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return file


def clip_content_sha256(clip: Clip) -> str:
    """Hash of what the clip says (without provenance) and of every file that it names."""
    document = _document(clip)
    del document["provenance"]
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    for name in clip_files(clip):
        status = (clip.root / name).stat()
        digest.update(name.encode() + b"\0")
        digest.update(_file_sha256(str(clip.root / name), status.st_size, status.st_mtime_ns))
    return digest.hexdigest()


def clip_files(clip: Clip) -> list[str]:
    """Every file that clip.json names, relative to the clip, sorted, each once. Those in `extras` are not followed."""
    images = [image for frame in clip.frames for image in frame.images.values()]
    names = {i.file for i in images} | {i.mask for i in images if i.mask} | {s.file for s in clip.lidar}
    return sorted(names | ({clip.points} if clip.points else set()))


@cache
def _file_sha256(path: str, size: int, mtime_ns: int) -> bytes:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(files("jwmtool.artifacts").joinpath("clip.schema.json").read_text("utf-8")))


def _check_header(file: Path, document: dict[str, Any]) -> None:
    if document.get("format") != FORMAT:
        raise InputError(file, f'format "{FORMAT}"', repr(document.get("format")))
    version = document.get("version")
    major = version.split(".")[0] if isinstance(version, str) else ""
    if major != VERSION.split(".")[0]:
        raise InputError(file, f'version "{VERSION.split(".")[0]}.x"', json.dumps(version))


def _check_schema(file: Path, document: dict[str, Any]) -> None:
    from jsonschema.exceptions import best_match

    errors = _validator().iter_errors(document)
    if document["version"] != VERSION:  # a newer minor version may say more; what we do not know we leave alone
        errors = (e for e in errors if e.validator != "additionalProperties")
    error = best_match(errors)
    if error is not None:
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
        message = error.message if len(error.message) < 160 else f"{error.message[:120]} ... {error.message[-36:]}"
        raise InputError(file, f"{place or 'a document'} as clip.schema.json says", message.replace("\n", " "))


def _read_camera(file: Path, c: dict[str, Any]) -> ClipCamera:
    K = np.array(c["K"], np.float64)
    problem = intrinsics_problem(K, c["width"], c["height"])
    if problem:
        raise InputError(file, f"intrinsics of camera {c['name']} that fit its image", problem)
    rig_from_cam = _rigid(file, f"rig_from_cam of camera {c['name']}", c["rig_from_cam"])
    return ClipCamera(c["name"], K, c["width"], c["height"], rig_from_cam, c.get("undistorted", False))


def _read_frame(file: Path, index: int, frame: dict[str, Any], cameras: dict[str, ClipCamera]) -> ClipFrame:
    images: dict[str, ClipImage] = {}
    for image in frame["images"]:
        name, where = image["camera"], f"frames[{index}] of camera {image['camera']}"
        if name not in cameras or name in images:
            raise InputError(file, f"one image for each known camera in frames[{index}]", f"camera {name!r}")
        mask = image.get("mask")
        images[name] = ClipImage(
            name,
            _existing(file, where, image["file"]),
            image["time_us"],
            _rigid(file, f"world_from_cam in {where}", image["world_from_cam"]),
            None if mask is None else _existing(file, f"mask in {where}", mask),
        )
    return ClipFrame(
        frame["time_us"], _rigid(file, f"world_from_rig in frames[{index}]", frame["world_from_rig"]), images
    )


def _read_split(file: Path, split: dict[str, Any], num_frames: int, cameras: dict[str, ClipCamera]) -> Split:
    frames, names = tuple(split.get("frames", ())), tuple(split.get("cameras", ()))
    wrong = [str(f) for f in frames if f >= num_frames] + [n for n in names if n not in cameras]
    if wrong:
        raise InputError(file, "split of known frames and cameras", wrong[0])
    return Split(frames, names, tuple(split.get("rules", ())))


def _read_sweep(file: Path, index: int, sweep: dict[str, Any]) -> LidarSweep:
    name = _existing(file, f"lidar[{index}]", sweep["file"])
    return LidarSweep(
        name, sweep["time_us"], _rigid(file, f"world_from_lidar in lidar[{index}]", sweep["world_from_lidar"])
    )


def _read_track(file: Path, index: int, track: dict[str, Any]) -> Track:
    times, poses, where = track["times_us"], track["world_from_box"], f"tracks[{index}] ({track['id']})"
    if len(times) != len(poses) or any(b <= a for a, b in pairwise(times)):
        raise InputError(
            file, f"one pose for each time, in order, in {where}", f"{len(times)} times, {len(poses)} poses"
        )
    matrices = np.stack([_rigid(file, f"world_from_box in {where}", pose) for pose in poses])
    length, width, height = track["size"]
    sizes = np.array(track["sizes"], np.float64) if "sizes" in track else None
    if sizes is not None and len(sizes) != len(times):
        raise InputError(file, f"one of sizes for each time in {where}", f"{len(times)} times, {len(sizes)} sizes")
    return Track(track["id"], track["category"], (length, width, height), np.array(times, np.int64), matrices, sizes)


def _existing(file: Path, where: str, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise InputError(file, f"a path inside the clip for {where}", repr(name))
    if not (file.parent / name).is_file():
        raise InputError(file.parent / name, f"the file that clip.json names for {where}", "no such file")
    return name


def _rigid(file: Path, what: str, value: Any) -> np.ndarray[Any, Any]:
    matrix = np.array(value, np.float64)
    problem = se3.rigid_problem(matrix)
    if problem:
        raise InputError(file, f"a rigid transform as {what}", problem)
    return matrix


def _document(clip: Clip) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "length_unit": "m",
        "conventions": CONVENTIONS,
        "name": clip.name,
        "source": clip.source,
        "licence": clip.licence,
        "cameras": [
            {
                "name": c.name,
                "K": c.K.tolist(),
                "width": c.width,
                "height": c.height,
                "rig_from_cam": c.rig_from_cam.tolist(),
                "undistorted": c.undistorted,
            }
            for c in clip.cameras.values()
        ],
        "split": {
            "frames": list(clip.split.frames),
            "cameras": list(clip.split.cameras),
            "rules": list(clip.split.rules),
        },
        "points": clip.points,
        "frames": [_frame_document(frame) for frame in clip.frames],
        "lidar": [
            {"file": s.file, "time_us": int(s.time_us), "world_from_lidar": s.world_from_lidar.tolist()}
            for s in clip.lidar
        ],
        "tracks": [
            {
                "id": t.id,
                "category": t.category,
                "size": [float(s) for s in t.size],
                "times_us": [int(time) for time in t.times_us],
                "world_from_box": t.world_from_box.tolist(),
                **({} if t.sizes is None else {"sizes": t.sizes.tolist()}),
            }
            for t in clip.tracks
        ],
        "tags": clip.tags,
        "extras": clip.extras,
        "provenance": clip.provenance,
    }


def _frame_document(frame: ClipFrame) -> dict[str, Any]:
    images = [
        {"camera": i.camera, "file": i.file, "time_us": int(i.time_us), "world_from_cam": i.world_from_cam.tolist()}
        | ({} if i.mask is None else {"mask": i.mask})
        for i in frame.images.values()
    ]
    return {"time_us": int(frame.time_us), "world_from_rig": frame.world_from_rig.tolist(), "images": images}


def _layout(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n    " + ",\n    ".join(_json(item) for item in value) + "\n  ]"
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
