"""What is seen already of the frames to come, in the scene or in the last picture: the prior of a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jwmtool.artifacts.scene import Scene
from jwmtool.joint.drive import Drive
from jwmtool.rendering.filled import filled_view
from jwmtool.rendering.timeline import Timeline
from jwmtool.worldgen.carry import TRUST, carried
from jwmtool.worldgen.reference import References
from jwmtool.worldgen.repair import Repair, repaired, seen_of


@dataclass(frozen=True)
class PriorFrames:
    """Of V views and T frames, on the CPU.

    Attributes:
        bare: [V, T, 3, H, W] in [0, 1], as rendered.
        color: [V, T, 3, H, W] in [0, 1], without holes.
        coverage: [V, T, 1, H, W] in [0, 1], of the render.
        repaired: a network was at hand.
    """

    bare: Tensor
    color: Tensor
    coverage: Tensor
    repaired: bool = False

    @property
    def trust(self) -> Tensor:
        """How far colors are to be believed [V, T, 1, H, W]: as far as they are covered; of repaired ones at least
        as far as those of carried pictures."""
        return self.coverage.clamp(min=TRUST) if self.repaired else self.coverage


class PriorRenderer:
    """Renders what a scene shows of a drive, and repairs it.

    Args:
        scene: on the device that shall render.
        repair: on the same device; None: renders stay as they are, as do those of a scene without a recorded path.
    """

    def __init__(self, scene: Scene, repair: Repair | None = None) -> None:
        self._timeline = Timeline(scene)
        self._repair = repair if len(scene.ego_times_us) else None
        self._references = References(scene, self._timeline)

    def render(self, drive: Drive, frames: range) -> PriorFrames:
        """Some frames of a drive."""
        rows = [[self._one(drive, view, frame) for frame in frames] for view in range(len(drive.cameras))]
        bare, color, coverage = (
            torch.stack([torch.stack([cell[k] for cell in row]) for row in rows]) for k in range(3)
        )
        return PriorFrames(bare, color, coverage, self._repair is not None)

    def _one(self, drive: Drive, view: int, frame: int) -> tuple[Tensor, Tensor, Tensor]:
        """Bare and whole color [3, H, W], coverage [1, H, W]."""
        camera, name = drive.camera_at(view, frame), drive.cameras[view].name
        time_us = int(drive.path.times_us[frame])
        rendering, filled = filled_view(self._timeline, camera, time_us, name)
        bare = rendering.color.detach().float().cpu().permute(2, 0, 1).clamp(0.0, 1.0)
        color = torch.from_numpy(np.ascontiguousarray(filled.color)).permute(2, 0, 1)
        if self._repair is not None:
            reference = self._references.of(camera, drive.path.world_from_rig[frame], name, time_us)
            color = repaired(self._repair, seen_of(filled.color, filled.coverage, reference))[0]
        return bare, color, torch.from_numpy(np.ascontiguousarray(filled.coverage))[None]


def kept(
    video: Tensor,  # [V, n, 3, H, W], generated
    prior: PriorFrames,  # of the same frames
    share: float,  # in [0, 1]
) -> Tensor:
    """The video with so much of the prior mixed in, where and as far as it is to be believed."""
    weight = share * prior.trust
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
