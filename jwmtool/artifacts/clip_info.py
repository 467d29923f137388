"""What a clip holds, in figures: for `jwm info`."""

from __future__ import annotations

from typing import Any

import numpy as np

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import VERSION, clip_content_sha256
from jwmtool.geometry import se3


def describe_clip(clip: Clip) -> dict[str, Any]:
    """Return plain JSON values: sizes, rate, path, lidar, tracks, split, licence, version, hash."""
    rig = clip.world_from_rig
    duration_s = float(clip.times_us[-1] - clip.times_us[0]) * 1e-6
    path_length_m = float(np.linalg.norm(np.diff(rig[:, :3, 3], axis=0), axis=1).sum())
    withheld, total = len(clip.images(withheld=True)), len(clip.images())
    categories = sorted({track.category for track in clip.tracks})
    return {
        "artifact": "clip",
        "version": VERSION,
        "name": clip.name,
        "source": clip.source,
        "licence": clip.licence,
        "frames": len(clip.frames),
        "images": total,
        "duration_s": round(duration_s, 3),
        "rate_hz": round(clip.rate_hz, 3),
        "path_length_m": round(path_length_m, 2),
        "mean_speed_mps": round(path_length_m / duration_s, 2) if duration_s > 0 else 0.0,
        "cameras": [_describe_camera(clip, name) for name in clip.cameras],
        "split": {
            "rules": list(clip.split.rules),
            "withheld_frames": len(clip.split.frames),
            "withheld_cameras": list(clip.split.cameras),
            "withheld_images": withheld,
            "fitted_images": total - withheld,
        },
        "lidar_sweeps": len(clip.lidar),
        "sparse_points": len(clip.load_points()[0]),
        "tracks": len(clip.tracks),
        "track_categories": {c: sum(t.category == c for t in clip.tracks) for c in categories},
        "tags": clip.tags,
        "extras": sorted(clip.extras),
        "provenance_records": len(clip.provenance),
        "content_sha256": clip_content_sha256(clip),
    }


def _describe_camera(clip: Clip, name: str) -> dict[str, Any]:
    camera = clip.cameras[name]
    forward = camera.rig_from_cam[:3, 2]
    images = [frame.images[name] for frame in clip.frames if name in frame.images]
    field_of_view_rad = np.arctan(camera.K[0, 2] / camera.K[0, 0]) + np.arctan(
        (camera.width - camera.K[0, 2]) / camera.K[0, 0]
    )
    return {
        "name": name,
        "size": [camera.width, camera.height],
        "focal_px": [round(float(camera.K[0, 0]), 3), round(float(camera.K[1, 1]), 3)],
        "field_of_view_deg": round(float(np.degrees(field_of_view_rad)), 1),
        "yaw_deg": round(float(np.degrees(np.arctan2(forward[1], forward[0]))), 1),
        "position_rig_m": [round(float(x), 3) for x in se3.apply(camera.rig_from_cam, np.zeros((1, 3)))[0]],
        "undistorted": camera.undistorted,
        "masked": any(image.mask is not None for image in images),
        "images": len(images),
    }
