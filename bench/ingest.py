"""What `jwm ingest` costs beside decoding the pictures alone, and its peak memory at two lengths.

    python bench/ingest.py --json ingest.json

A recording of JPEG pictures (1242x375, smooth with noise, some 250 kB each) is made in a temporary folder. Each figure
is measured in a process of its own, with the same number of threads (JWM_THREADS): `decode` reads every picture with
`read_image` and drops it; `linked`, `resized` (416x128) and `undistorted` (at full size) are `ingest`, without the
reading of the index. `s` is wall time of the fastest run, `cpu_s` that of all threads together, which other programs on
the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

WIDTH, HEIGHT = 1242, 375
WAYS = ("decode", "linked", "resized", "undistorted")


def make_recording(folder: Path, frames: int) -> Path:
    """A nerfstudio recording of 50 different pictures, each linked to again and again."""
    import numpy as np
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    entries = []
    for index in range(frames):
        file = folder / "images" / f"{index:06d}.jpg"
        if index < 50:
            coarse = Image.fromarray(random.integers(0, 256, (24, 80, 3), np.uint8))
            smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.int16)
            noisy = smooth + random.integers(-12, 13, smooth.shape, np.int16)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=92)
        else:
            file.write_bytes((folder / "images" / f"{index % 50:06d}.jpg").read_bytes())
        pose = [[0.0, 0.0, -1.0, 0.8 * index], [-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.6], [0.0, 0.0, 0.0, 1.0]]
        entries.append({"file_path": f"images/{file.name}", "time": index / 10, "transform_matrix": pose})
    camera = {"fl_x": 721.5, "fl_y": 721.5, "cx": 610.0, "cy": 173.0, "w": WIDTH, "h": HEIGHT}
    document = {"camera_model": "PINHOLE", **camera, "frames": entries}
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


def measure(way: str, source: Path, output: Path) -> dict[str, float]:
    """Seconds and peak memory of one way, in this process."""
    from jwmtool.artifacts.images import read_image
    from jwmtool.device import num_threads
    from jwmtool.readers import read_recording
    from jwmtool.readers.ingest import ingest

    recording = read_recording(source, "nerfstudio")
    files = sorted((source / "images").iterdir())
    for file in files:
        file.read_bytes()  # from memory from here on, for every way
    read_image(files[0])
    if way == "undistorted":
        cameras = {
            n: replace(c, model="opencv", distortion=(-0.1, 0.02, 0.0, 0.0)) for n, c in recording.cameras.items()
        }
        recording = replace(recording, cameras=cameras)
    began, began_cpu = time.monotonic(), time.process_time()
    if way == "decode":
        with ThreadPoolExecutor(num_threads()) as pool:
            sizes = set(pool.map(lambda file: read_image(file, (WIDTH, HEIGHT)).shape, files))
        if sizes != {(HEIGHT, WIDTH, 3)}:
            raise SystemExit(f"decoded {sizes}")
    else:
        ingest(recording, output, size=(416, 128) if way == "resized" else None)
    seconds, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
    peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {"s": round(seconds, 3), "cpu_s": round(cpu_s, 3), "peak_mb": peak_mb}


def main() -> None:
    """Measure every way at every length, and print JSON."""
    from jwmtool.device import num_threads

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, metavar=("WAY", "SOURCE", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, source, output = arguments.one
        print(json.dumps(measure(way, Path(source), Path(output))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for frames in arguments.frames:
            source = make_recording(Path(place) / f"drive-{frames}", frames)
            size_kb = sum(f.stat().st_size for f in (source / "images").iterdir()) / frames / 1000
            row: dict[str, object] = {"frames": frames, "picture_kb": round(size_kb)}
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for turn in range(arguments.repeat):
                for way in WAYS:
                    clip = Path(place) / f"{way}-{turn}-{frames}"
                    words = [sys.executable, __file__, "--one", way, str(source), str(clip)]
                    runs[way].append(json.loads(subprocess.run(words, check=True, capture_output=True).stdout))
                    shutil.rmtree(clip, ignore_errors=True)
            best = {way: {key: min(run[key] for run in runs[way]) for key in ("s", "cpu_s")} for way in WAYS}
            for way in WAYS:
                row[way] = best[way] | {"peak_mb": max(run["peak_mb"] for run in runs[way])}
            for key in ("s", "cpu_s"):
                row[f"{key}_over_decode"] = {way: round(best[way][key] / best["decode"][key], 2) for way in WAYS[1:]}
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    result = json.dumps({"threads": num_threads(), "size": [WIDTH, HEIGHT], "rows": rows}, indent=1)
    print(result)
    if arguments.json:
        arguments.json.write_text(result + "\n")


if __name__ == "__main__":
    main()
