"""The picture that a video begins with, one for each camera: given, recorded, or rendered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool import console
from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.images import read_image
from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.joint.drive import Drive
from jwmtool.joint.prior import PriorRenderer
from jwmtool.rendering.compare import cover_resize

MIN_COVERAGE = 0.5  # less of a rendered picture is no start
_NEAR_M, _NEAR_RAD = 0.3, math.radians(5.0)  # a recorded picture was taken where the drive begins


def first_pictures(
    drive: Drive, given: Sequence[Path] = (), clip: Clip | None = None, scene: PriorRenderer | None = None
) -> Tensor | None:  # [V, 1, 3, H, W] in [0, 1]
    """Those that are given, else the clip's first, else what the scene shows if that is enough; else None.

    Raises:
        UsageError: given pictures, but not one for each camera.
        InputError: what is given is no picture.
    """
    if given:
        if len(given) != len(drive.cameras):
            cameras = ", ".join(camera.name for camera in drive.cameras)
            raise UsageError(f"--first-frame: expected a picture for each of {cameras}, found {len(given)}")
        return _fitted(drive, [read_image(path) for path in given])
    recorded = None if clip is None else _recorded(drive, clip, placed=scene is not None)
    if recorded is not None or scene is None:
        return recorded
    prior = scene.render(drive, range(1))
    covered = float(prior.coverage.flatten(1).mean(1).min())
    if covered > MIN_COVERAGE:
        return prior.color
    console.notice(f"the scene shows {covered:.0%} of where the drive begins: too little for a first frame")
    return None


def _recorded(drive: Drive, clip: Clip, placed: bool) -> Tensor | None:
    """The clip's, if it has all cameras and, if the drive is `placed` in a scene, begins where the clip does."""
    first: dict[str, int] = {}
    for index, frame in enumerate(clip.frames):
        for name in frame.images:
            first.setdefault(name, index)
    missing = [camera.name for camera in drive.cameras if camera.name not in first]
    if missing:
        console.notice(f"no first frame from the clip: it has no pictures of camera {missing[0]}")
        return None
    if placed:
        away = se3.inverse(clip.world_from_rig[0]) @ drive.path.world_from_rig[0]
        turn_rad = math.acos(min(1.0, max(-1.0, (float(np.trace(away[:3, :3])) - 1.0) / 2.0)))
        if float(np.linalg.norm(away[:3, 3])) > _NEAR_M or turn_rad > _NEAR_RAD:
            console.notice("no first frame from the clip: the drive begins elsewhere")
            return None
    return _fitted(drive, [clip.load_image(first[camera.name], camera.name) for camera in drive.cameras])


def _fitted(drive: Drive, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    resized = np.stack([cover_resize(picture, *drive.size) for picture in pictures])
    return torch.from_numpy(resized).permute(0, 3, 1, 2)[:, None].float() / 255.0
