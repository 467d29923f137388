"""Gaussians of a scene at one moment, for file formats that know neither time nor a scene frame."""

from __future__ import annotations

import numpy as np
import torch

from jwmtool.artifacts.scene import Scene
from jwmtool.gaussians.model import Gaussians

FADED_OPACITY = 1 / 255  # below it the rasterizer draws nothing


def middle_time_us(scene: Scene) -> int:
    """The middle of the recorded path; the time origin if there is none."""
    times_us = scene.ego_times_us
    return int(times_us[0] + times_us[-1]) // 2 if len(times_us) else scene.time_origin_us


def frozen(scene: Scene, time_us: int) -> Gaussians:
    """Static Gaussians at `time_us`: moving ones placed there, faded ones dropped. Still in the scene frame."""
    means, opacities = scene.gaussians.at(scene.seconds(time_us))
    g = scene.gaussians
    still = Gaussians.static(means, g.quats, g.scales, opacities, g.sh).replace(actor=g.actor, imagined=g.imagined)
    return still.select(opacities >= FADED_OPACITY)


def imported(gaussians: Gaussians) -> Scene:
    """A scene around Gaussians that came without a frame, cameras or time."""
    return Scene(gaussians.replace(actor=torch.full_like(gaussians.actor, -1)), np.eye(4))
