"""What is known of each frame of a video: the `.jsonl` beside an MP4, or `frames.jsonl` in a folder of frames."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import InputError

FRAMES_FILE = "frames.jsonl"


@dataclass(frozen=True)
class FrameMeta:
    """What is known of one frame: one line of the `.jsonl`.

    Attributes:
        time_us: when the camera is there.
        camera: its name; None where the picture is no view of a camera (side by side, foreign video).
        world_from_cam: [4, 4], or None.
        K: [3, 3] in pixels of this picture, or None.
        size: (width, height) px of the picture; an odd size is padded to even in MP4 and cropped by the reader.
        coverage: mean alpha in [0, 1]: how much of the view the scene covers.
        action, seed: what drove a generated frame.
        scene_time_us: the time that is shown, where it differs from `time_us` (a frozen moment).
    """

    time_us: int
    camera: str | None = None
    world_from_cam: NDArray[np.float64] | None = None
    K: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None
    coverage: float | None = None
    action: list[float] | None = None
    seed: int | None = None
    scene_time_us: int | None = None

    def to_json(self) -> str:
        """One line, keys in fixed order."""
        pose, K = self.world_from_cam, self.K
        record: dict[str, Any] = {
            "time_us": int(self.time_us),
            "camera": self.camera,
            "world_from_cam": None if pose is None else pose.tolist(),
            "K": None if K is None else K.tolist(),
            "size": None if self.size is None else list(self.size),
            "action": self.action,
            "coverage": None if self.coverage is None else round(self.coverage, 6),
            "seed": self.seed,
        }
        if self.scene_time_us is not None and self.scene_time_us != self.time_us:
            record["scene_time_us"] = int(self.scene_time_us)
        return json.dumps(record)

    @staticmethod
    def from_json(line: str) -> FrameMeta:
        """Read one line.

        Raises:
            ValueError, TypeError, KeyError, IndexError, AttributeError: it is none.
        """
        record = json.loads(line)
        pose, K, size = record.get("world_from_cam"), record.get("K"), record.get("size")
        return FrameMeta(
            time_us=int(record["time_us"]),
            camera=record.get("camera"),
            world_from_cam=None if pose is None else np.asarray(pose, np.float64).reshape(4, 4),
            K=None if K is None else np.asarray(K, np.float64).reshape(3, 3),
            size=None if size is None else (int(size[0]), int(size[1])),
            coverage=record.get("coverage"),
            action=record.get("action"),
            seed=record.get("seed"),
            scene_time_us=record.get("scene_time_us"),
        )


def sidecar_path(video: Path) -> Path:
    """The `.jsonl` beside a video."""
    return video.with_suffix(".jsonl")


def read_meta(path: Path) -> list[FrameMeta]:
    """The frames' metadata of a video or a folder of frames; empty if it has none.

    Raises:
        InputError: a damaged `.jsonl`.
    """
    file = path / FRAMES_FILE if path.is_dir() else sidecar_path(path)
    if not file.is_file():
        return []
    frames = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            frames.append(FrameMeta.from_json(line))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise InputError(file, "one JSON object a line with time_us", f"{error} on line {number}") from None
    return frames
