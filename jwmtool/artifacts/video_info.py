"""What `jwm info` tells of a video and of the `.jsonl` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jwmtool.artifacts.frame_meta import read_meta
from jwmtool.artifacts.video import read_provenance, read_video, video_rate_hz


def describe_video(path: Path) -> dict[str, Any]:
    """Facts of a video; decodes it once.

    Raises:
        InputError: missing or damaged.
    """
    rate_hz, frames, size = video_rate_hz(path), 0, (0, 0)
    for image in read_video(path):
        frames, size = frames + 1, (image.shape[1], image.shape[0])
    meta = read_meta(path)
    coverage = [m.coverage for m in meta if m.coverage is not None]
    places = np.array([m.world_from_cam[:3, 3] for m in meta if m.world_from_cam is not None]).reshape(-1, 3)
    seeds = sorted({m.seed for m in meta if m.seed is not None})
    return {
        "artifact": "video",
        "frames": frames,
        "size": list(size),
        "rate_hz": round(rate_hz, 3),
        "duration_s": round(frames / rate_hz, 3),
        "cameras": sorted({m.camera for m in meta if m.camera is not None}),
        "path_length_m": round(float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum()), 2) if meta else None,
        "mean_coverage": round(float(np.mean(coverage)), 4) if coverage else None,
        "seeds": seeds,
        "provenance_records": len(read_provenance(path)),
    }
