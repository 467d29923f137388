"""Pictures of world clips as estimators learn from them: cut to one size, as they are and as a decoder makes them.

What is made of a clip is kept in a folder, one file for each of its cameras.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.geometry import se3
from jwmtool.worldgen.tags import TAGS

SIZE = (224, 128)
CELL = 8  # px, of the maps of where an event's subject is
WEATHERS = TAGS["weather"]
EVENTS = ("none", "horse", "deer", "rocks", "wrong-way")
LEAST_PX = 40  # of a subject, for it to be visible
LEAST_FRAMES = 3  # in which it has to be, for its clip to count
_CELL_SHARE = 0.1
_NOISE = 0.3  # largest deviation of what is added to latents, so that estimators know videos a little off
Array = NDArray[Any]


@dataclass(frozen=True)
class Footage:
    """One camera's frames of one clip.

    Attributes:
        name: of the clip and the camera.
        pictures: [2, T, H, W, 3] uint8: true, and encoded and decoded again.
        K: [3, 3] of these pictures; rig_from_cam: [4, 4]; world_from_rig: [T, 4, 4]; times_s: [T].
        weather: number in `WEATHERS`, -1: another or not told. event: of the clip, in `EVENTS`, -1: another.
        cells: [T, H / CELL, W / CELL] uint8, which of `EVENTS` a cell shows.
        visible: [T] whether the event's subject is.
    """

    name: str
    pictures: Array
    K: Array
    rig_from_cam: Array
    world_from_rig: Array
    times_s: Array
    weather: int
    event: int
    cells: Array
    visible: Array


def gather(clips: Sequence[Path], cache: Path, autoencoder: Any, sides: bool = False) -> list[Footage]:
    """Of the front camera of each clip and, with `sides`, of all cameras of clips with one of the events."""
    from jwmtool.artifacts.clip_io import read_clip

    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for path in clips:
        known = sorted(cache.glob(f"{path.parent.name}-{path.name}-*.npz"))
        if not known:
            clip = read_clip(path)
            event = number(EVENTS, clip.tags.get("event"))
            cameras = [front_of(clip)] if event < 1 else list(clip.cameras)
            for camera in cameras:
                target = cache / f"{path.parent.name}-{path.name}-{camera}.npz"
                _write(target, _footage(clip, camera, autoencoder))
                known.append(target)
        for file in known:
            if sides or file.stem.endswith(("-front", "-camera_0")):
                with np.load(file) as data:
                    found.append(Footage(file.stem, **{k: v[()] if v.ndim == 0 else v for k, v in data.items()}))
    return found


def front_of(clip: Clip) -> str:
    """The camera that looks ahead."""
    return "front" if "front" in clip.cameras else next(iter(clip.cameras))


def number(names: Sequence[str], name: Any) -> int:
    """Its place, -1 if it has none."""
    return names.index(name) if name in names else -1


def motion(footage: Footage, first: int, second: int) -> tuple[float, float]:
    """How far the rig moved ahead from one frame to another, m, and turned to the left, rad."""
    step = se3.inverse(footage.world_from_rig[first]) @ footage.world_from_rig[second]
    return float(step[0, 3]), float(np.arctan2(step[1, 0], step[0, 0]))


def _footage(clip: Clip, camera: str, autoencoder: Any) -> dict[str, Any]:
    """All of `Footage` but the name."""
    frames = range(len(clip.frames))
    view = clip.camera_at(0, camera).resized(*SIZE)
    pictures = np.stack([fitted(clip.load_image(i, camera)) for i in frames])
    event = number(EVENTS, clip.tags.get("event"))
    cells = np.zeros((len(frames), SIZE[1] // CELL, SIZE[0] // CELL), np.uint8)
    visible = np.zeros(len(frames), bool)
    if event > 0:
        for i in frames:
            mask = fitted(_subject(clip, i, camera, EVENTS[event]))
            visible[i] = mask.sum() > LEAST_PX
            shares = cv2.resize(mask, cells.shape[:0:-1], interpolation=cv2.INTER_AREA)
            cells[i] = event * (shares > _CELL_SHARE)
    times_us = [clip.frames[i].images[camera].time_us for i in frames]
    return {
        "pictures": np.stack([pictures, _again(pictures, autoencoder)]), "K": view.K,
        "rig_from_cam": clip.cameras[camera].rig_from_cam, "world_from_rig": clip.world_from_rig,
        "times_s": np.array(times_us) * 1e-6, "weather": number(WEATHERS, clip.tags.get("weather")), "event": event,
        "cells": cells, "visible": visible,
    }  # fmt: skip


def fitted(picture: Array) -> Array:
    """Scaled to cover `SIZE` and cut about the center."""
    height, width = picture.shape[:2]
    scale = max(SIZE[0] / width, SIZE[1] / height)
    if scale != 1.0:
        across, down = max(round(width * scale), SIZE[0]), max(round(height * scale), SIZE[1])
        picture = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)
    top, left = (picture.shape[0] - SIZE[1]) // 2, (picture.shape[1] - SIZE[0]) // 2
    return picture[top : top + SIZE[1], left : left + SIZE[0]]


def subject_pixels(clip: Clip, camera: str, frames: Sequence[int], event: str) -> Array:  # [T]
    """How much of each frame, cut to `SIZE`, shows an event's subject, px."""
    return np.array([fitted(_subject(clip, i, camera, event)).sum() for i in frames])


def _subject(clip: Clip, frame: int, camera: str, event: str) -> Array:
    """[H, W] float32, 1 where an event's own things are seen; their tracks are named after it."""
    from jwmtool.artifacts.truth import read_truth

    instances = clip.extras["truth"]["instances"]
    numbers = [int(k) for k, name in instances.items() if str(name).startswith(f"{event}_")]
    return np.isin(read_truth(clip, frame, camera, ["instance"])["instance"], numbers).astype(np.float32)


def _again(pictures: Array, autoencoder: Any) -> Array:
    """Encoded, a little noise added, decoded."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        latents = autoencoder.encode(torch.from_numpy(pictures).permute(0, 3, 1, 2)[None].float() / 255.0)
        amount = _NOISE * float(torch.rand((), generator=noise))
        made = autoencoder.decode(latents + amount * torch.randn(latents.shape, generator=noise))[0]
    return (made * 255.0 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _write(path: Path, arrays: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)
