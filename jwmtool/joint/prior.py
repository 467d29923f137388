"""What is seen already of the frames to come, in the scene or in the last picture: the prior of a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jwmtool.joint.drive import Drive
from jwmtool.rendering.holes import fill_holes
from jwmtool.rendering.timeline import Timeline
from jwmtool.rendering.view import render_view
from jwmtool.worldgen.carry import carried


@dataclass(frozen=True)
class PriorFrames:
    """Of V views and T frames, on the CPU.

    Attributes:
        bare: [V, T, 3, H, W] in [0, 1], as rendered.
        color: [V, T, 3, H, W] in [0, 1], without holes.
        coverage: [V, T, 1, H, W] in [0, 1].
    """

    bare: Tensor
    color: Tensor
    coverage: Tensor


def render_prior(
    scene: Timeline,  # on the device that shall render
    drive: Drive,
    frames: range,
) -> PriorFrames:
    """Render some frames of a drive."""
    rows = [[_render(scene, drive, view, frame) for frame in frames] for view in range(len(drive.cameras))]
    bare, color, coverage = (torch.stack([torch.stack([cell[k] for cell in row]) for row in rows]) for k in range(3))
    return PriorFrames(bare, color, coverage)


def kept(
    video: Tensor,  # [V, n, 3, H, W], generated
    prior: PriorFrames,  # of the same frames
    share: float,  # in [0, 1]
) -> Tensor:
    """The video with so much of the prior mixed in, where and as far as it covers the picture."""
    weight = share * prior.coverage
    return torch.lerp(video, prior.color, weight.expand_as(video))


def carry_pictures(
    pictures: Tensor,  # [V, 3, H, W] in [0, 1], of the frame `source`
    drive: Drive,
    source: int,
    frames: range,
) -> PriorFrames:
    """Where there is no scene: the last pictures that are known, carried to some frames (`worldgen.carry`)."""
    world_from_rig = drive.path.world_from_rig[source]
    color, coverage = [], []
    for view, picture in enumerate(pictures.permute(0, 2, 3, 1).contiguous().numpy()):
        camera = drive.camera_at(view, source)
        made = [carried(picture, camera, world_from_rig, drive.camera_at(view, frame)) for frame in frames]
        color.append(torch.from_numpy(np.stack([c for c, _ in made])).permute(0, 3, 1, 2))
        coverage.append(torch.from_numpy(np.stack([c for _, c in made]))[:, None])
    return PriorFrames(torch.stack(color), torch.stack(color).clamp(0.0, 1.0), torch.stack(coverage))


@torch.no_grad()
def _render(timeline: Timeline, drive: Drive, view: int, frame: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bare and filled color [3, H, W], coverage [1, H, W]."""
    camera, time_us = drive.camera_at(view, frame), int(drive.path.times_us[frame])
    name = drive.cameras[view].name
    scene = timeline.at(time_us, camera, name)
    rendering = render_view(scene, camera, time_us, name)
    filled = fill_holes(rendering, camera, scene.sky is not None)
    bare = rendering.color.detach().float().cpu().permute(2, 0, 1).clamp(0.0, 1.0)
    color = torch.from_numpy(np.ascontiguousarray(filled.color)).permute(2, 0, 1).clamp(0.0, 1.0)
    return bare, color, torch.from_numpy(np.ascontiguousarray(filled.coverage))[None]
