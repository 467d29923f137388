"""A WorldRec that knows the depth of a street (street.py): what is built on depth can be tested without weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from street import RATE_HZ, make_street
from torch import Tensor, nn

from jwmtool.artifacts.clip import Clip, Split
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.model import WorldRec, build_model
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.views import Views

CONFIG = WorldRecConfig(widths=(8, 12, 16, 24), blocks=(1, 1, 1, 1), planes=8, channels=16, gather_views=6, sky_size=16)
SKY_LOGIT = 8.0


class TrueDepth(nn.Module):
    """In the place of `model.depth`; `scale` makes everything nearer or farther."""

    def __init__(self, clip: Clip, scale: float = 1.0) -> None:
        super().__init__()
        self.clip, self.scale = clip, scale
        self.read = cache(self._read)

    def forward(self, views: Views, pyramid: list[Tensor]) -> DepthMaps:
        names = list(self.clip.cameras)
        depth = torch.stack(
            [
                torch.from_numpy(
                    self.read(round(float(time_s) * RATE_HZ) % round(3600 * RATE_HZ), names[camera], views.size)
                )
                for time_s, camera in zip(views.times_s, views.cameras.tolist(), strict=True)
            ]
        )
        sky = torch.isinf(depth)
        inverse = torch.where(sky, torch.zeros_like(depth), 1.0 / (self.scale * depth))
        logits = torch.where(sky, SKY_LOGIT, -SKY_LOGIT)
        return DepthMaps(inverse, torch.full_like(depth, -4.0), logits, torch.zeros(len(views), 1, 1, 1))

    def matching(self, views: Views, features: Tensor) -> Tensor:
        raise AssertionError("nothing moves here")

    def _read(self, frame: int, name: str, size: tuple[int, int]) -> NDArray[np.float32]:
        depth = np.load(self.clip.root / self.clip.extras["truth"]["depth"][name][frame])
        return cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.float32)


def knowing(clip: Clip, seed: int = 0) -> WorldRec:
    """An untrained network, but for what it knows of the clip's depth; it takes nothing for moving."""
    torch.manual_seed(seed)
    model = build_model(replace(CONFIG, motion=False)).eval()
    model.depth = TrueDepth(clip)  # type: ignore[assignment]
    return model


def street_clip(folder: Path, num_frames: int = 16, **more: bool) -> Clip:
    """A small street, 112 x 64 px."""
    return read_clip(make_street(folder, num_frames=num_frames, width=112, height=64, **more))


def standing_clip(clip: Clip) -> Clip:
    """The first frame of a clip of one camera, again and again: the ego stands, and nothing changes."""
    first, (name,) = clip.frames[0], clip.cameras
    frames = [
        replace(first, time_us=f.time_us, images={name: replace(first.images[name], time_us=f.time_us)})
        for f in clip.frames
    ]
    depth = {name: [clip.extras["truth"]["depth"][name][0]] * len(frames)}
    return replace(clip, frames=frames, extras={"truth": {"depth": depth}}, split=Split())
