"""Generated videos to look at: rows of frames on a sheet, and MP4 files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor
from worldgen_videos import RATE_HZ, as_bytes

from jwmtool.artifacts.frame_meta import FrameMeta
from jwmtool.artifacts.video import write_video
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.joint.drive import Drive

COLUMNS = 5


@dataclass(frozen=True)
class Row:
    """A video [T, 3, H, W] in [0, 1] of a drive's first camera, and what it is."""

    label: str
    frames: Tensor
    drive: Drive


def write_sheet(path: Path, rows: Sequence[Row]) -> None:
    """Evenly spaced frames of each video in a row, the first and the last among them."""
    pictures, labels = [], []
    for row in rows:
        chosen = [round(k * (len(row.frames) - 1) / (COLUMNS - 1)) for k in range(COLUMNS)]
        pictures += list(as_bytes(row.frames[chosen]))
        labels += [
            row.label,
            *(f"{(row.drive.path.times_us[i] - row.drive.path.times_us[0]) * 1e-6:.1f} s" for i in chosen[1:]),
        ]
    Image.fromarray(contact_sheet(pictures, labels, columns=COLUMNS)).save(path)


def write_videos(folder: Path, rows: Sequence[Row]) -> list[dict[str, str]]:
    """MP4s by number; returns their names and what they show."""
    told = []
    for number, row in enumerate(rows):
        path = folder / f"{number:02d}.mp4"
        with write_video(path, RATE_HZ, force=True) as writer:
            for i, picture in enumerate(as_bytes(row.frames)):
                camera, name = row.drive.camera_at(0, i), row.drive.cameras[0].name
                size = (picture.shape[1], picture.shape[0])
                time_us = int(row.drive.path.times_us[i])
                writer.write(picture, FrameMeta(time_us, name, camera.world_from_cam, camera.K, size))
        told.append({"file": path.name, "shows": row.label})
    return told
