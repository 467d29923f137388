"""How well a video's poses are found: a drive with trusted poses is encoded without them and ingested.

    python bench/video_poses.py --transforms transforms_000-169.json --pictures image_02/ --camera-height 1.65 \
        --json results.json

`--pictures` is a folder of all pictures of the drive (10 Hz); the nerfstudio `--transforms` knows some of them by name.
They are encoded nearly without loss (x264, crf 8, 4:4:4, since 4:2:0 has no odd widths) into a temporary folder. The
path found is laid over the trusted one by a similarity (Umeyama); seconds are those of `jwm ingest`'s reader, alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.images import read_image
from jwmtool.readers import nerfstudio, video
from jwmtool.readers.recording import Hints, Recording

Floats = NDArray[np.float64]
SUFFIXES = (".png", ".jpg", ".jpeg")


def main() -> None:
    """Encode, find the path, compare, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transforms", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--camera-height", type=float, default=None)
    parser.add_argument("--count", type=int, default=None, help="pictures to take, from the first; default all")
    parser.add_argument("--intrinsics", action="store_true", help="tell the reader the true ones")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    truth = nerfstudio.read(arguments.transforms)
    files = sorted(f for f in arguments.pictures.iterdir() if f.suffix.lower() in SUFFIXES)[: arguments.count]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drive.mp4"
        encode(files, file)
        K = next(iter(truth.cameras.values())).K
        given = (K[0, 0], K[1, 1], K[0, 2], K[1, 2]) if arguments.intrinsics else None
        hints = Hints(intrinsics=given, camera_height_m=arguments.camera_height)
        started = time.perf_counter()
        found = [video.read(file, scene, hints) for scene in numbers(file, hints)]
        seconds = time.perf_counter() - started
    result = {
        "pictures": len(files),
        "seconds": round(seconds, 1),
        "segments": [report(recording, truth, [f.name for f in files]) for recording in found],
        "breaks_s": found[0].extras["poses"]["breaks_s"],
        "focal_px": {"true": round(float(K[0, 0]), 2), **found[0].extras["intrinsics"]},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


def numbers(file: Path, hints: Hints) -> list[str]:
    """All segments under these hints: reading the longest solves, and says how many there are."""
    return [str(i) for i in range(video.read(file, None, hints).extras["poses"]["scenes"])]


def encode(files: list[Path], output: Path) -> None:
    """Write pictures as a video of 10 Hz."""
    first = read_image(files[0])
    with av.open(str(output), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], "yuv444p"
        stream.options = {"crf": "8", "preset": "fast"}
        for file in files:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(read_image(file), format="rgb24")))
        container.mux(stream.encode())


def report(found: Recording, truth: Recording, names: list[str]) -> dict[str, Any]:
    """A segment beside the trusted poses of the pictures that both know."""
    camera = next(iter(truth.cameras))
    trusted = {Path(str(f.images[camera].source)).name: f.images[camera].world_from_cam for f in truth.frames}
    pairs = [
        (frame.images[video.CAMERA].world_from_cam, trusted[name])
        for frame in found.frames
        if (name := names[round(frame.time_us * 1e-5)]) in trusted
    ]
    first, last = round(found.frames[0].time_us * 1e-5), round(found.frames[-1].time_us * 1e-5)
    told: dict[str, Any] = {"first": first, "last": last, "frames": len(found.frames), "compared": len(pairs)}
    told["road_height_by_quarter"] = found.extras["scale"]["road_height_by_quarter"]
    if len(pairs) < 3:
        return told
    a, b = (np.stack([pair[i] for pair in pairs]) for i in (0, 1))
    scale, rotation, shift = umeyama(a[:, :3, 3], b[:, :3, 3])
    errors = np.linalg.norm(scale * a[:, :3, 3] @ rotation.T + shift - b[:, :3, 3], axis=1)
    length = float(np.linalg.norm(np.diff(b[:, :3, 3], axis=0), axis=1).sum())
    between = np.einsum("ij,njk,nlk->nil", rotation, a[:, :3, :3], b[:, :3, :3])
    turns = np.degrees(np.arccos(np.clip((np.trace(between, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return {
        **told,
        "path_m": round(length, 1),
        "median_error_m": round(float(np.median(errors)), 4),
        "largest_error_m": round(float(errors.max()), 4),
        "median_error_share": round(float(np.median(errors)) / length, 6),
        "median_turn_deg": round(float(np.median(turns)), 3),
        "scale_over_trusted": round(1.0 / scale, 4),
    }


def umeyama(a: Floats, b: Floats) -> tuple[float, Floats, Floats]:
    """The similarity b = scale * rotation @ a + shift of least squares (Umeyama, 1991)."""
    mean_a, mean_b = a.mean(0), b.mean(0)
    centered_a, centered_b = a - mean_a, b - mean_b
    u, values, vt = np.linalg.svd(centered_b.T @ centered_a / len(a))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((values * sign).sum() / (centered_a**2).sum(1).mean())
    return scale, rotation, mean_b - scale * rotation @ mean_a


if __name__ == "__main__":
    main()
