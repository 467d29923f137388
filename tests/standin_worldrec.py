"""A network with the face of WorldRec, and small worlds to train it on. Also a program, for torchrun."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fake_world import fake_world
from torch import Generator, Tensor, nn

from jwmtool.gaussians.model import Gaussians
from jwmtool.training.clips import gather
from jwmtool.training.worldrec.recipe import Recipe
from jwmtool.training.worldrec.task import WorldRecTask
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.reconstruction import DepthMaps, Reconstruction
from jwmtool.worldrec.views import Views
from jwmtool.worlds.generate import write_world
from jwmtool.worlds.spec import WorldSpec

CONFIG = WorldRecConfig(planes=8)
FARTHEST_M, SKY_M = 60.0, 1000.0


class StandIn(nn.Module):
    """Takes everything for ground or sky; learns a gain of color, a scale of depth, and planes by color."""

    def __init__(self, config: WorldRecConfig = CONFIG) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((3,), 0.6))
        self.log_scale = nn.Parameter(torch.full((1,), 0.4))
        self.sky_level = nn.Parameter(torch.zeros(1))
        self.planes = nn.ModuleList([nn.Conv2d(3, config.planes, 4, 4)])
        self.exposure = nn.Parameter(torch.zeros(3, 4))
        self.asked: list[bool] = []
        self.to(memory_format=torch.channels_last)  # as the network does  # type: ignore[call-overload]

    def forward(self, views: Views, depth_only: bool = False) -> Reconstruction:
        assert views.depth_m is None and views.velocity is None, "the truth must not be given"
        self.asked.append(depth_only)
        rays = torch.stack(
            [torch.from_numpy(views.camera(v).rays()).float() for v in range(len(views))]
        )  # [V, H, W, 3]
        height = views.scene_from_cam[:, 2, 3, None, None]
        ground = height / (-rays[..., 2]).clamp(min=1e-3)
        depth = torch.where(ground < FARTHEST_M, ground * torch.exp(self.log_scale), SKY_M)
        sky = torch.where(ground < FARTHEST_M, -4.0, 4.0) + self.sky_level
        maps = DepthMaps(1.0 / depth, torch.full_like(depth, -1.0), sky, self.planes[0](views.images))
        gaussians = Gaussians.empty() if depth_only else self._lifted(views, rays, depth)
        cubemap = (0.5 * self.gain).expand(6, 4, 4, 3)
        return Reconstruction(gaussians, cubemap, (torch.eye(3, 4) + self.exposure).repeat(len(views), 1, 1), maps)

    def _lifted(self, views: Views, rays: Tensor, depth: Tensor) -> Gaussians:
        points = views.scene_from_cam[:, None, None, :3, 3] + rays * depth[..., None]
        colors = views.images.permute(0, 2, 3, 1) * self.gain
        near = depth[:, ::2, ::2] < SKY_M
        means, chosen = points[:, ::2, ::2][near], colors[:, ::2, ::2][near]
        sizes = (depth / views.Ks[:, :1, :1])[:, ::2, ::2][near][:, None].expand(-1, 3)
        quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(len(means), 4)
        sh = (chosen[:, None] - 0.5) / 0.28209479177387814
        return Gaussians.static(means, quats, sizes, torch.full((len(means),), 0.9), sh)


class SmallTask(WorldRecTask):
    """`on_step(number of the loss call)` may raise or kill."""

    def __init__(self, data: Path, recipe: Recipe | None = None, on_step: Callable[[int], None] | None = None) -> None:
        super().__init__(CONFIG, gather([data]), recipe, StandIn)
        self.on_step, self.calls = on_step, 0

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        if self.on_step is not None:
            self.on_step(self.calls)
        self.calls += 1
        return super().loss(model, batch, generator)


def write_worlds(folder: Path, count: int, rig: str = "front3", frames: int = 8, **more: Any) -> Path:
    """Small worlds at 10 Hz, 64 x 32 px, in a folder."""
    for seed in range(count):
        world = fake_world(WorldSpec("city", seed, frames / 10, 10.0, 64, 32), rig)
        # Worlds that differ: the boxes stand elsewhere.
        boxes = [(*box[:3], box[3] + seed, *box[4:]) for box in world.description.boxes]
        world.description = replace(world.description, boxes=boxes)
        write_world(world, folder / f"city-{seed:06d}", **more)
    return folder


def kill_at(call: int) -> Callable[[int], None]:
    """For `SmallTask`: a SIGTERM in that call of the loss."""
    return lambda now: os.kill(os.getpid(), signal.SIGTERM) if now == call else None


if __name__ == "__main__":
    from jwmtool.training.loop import train
    from jwmtool.training.run import Run
    from jwmtool.training.settings import TrainSettings

    worlds, output, max_steps = sys.argv[1:]
    train(
        SmallTask(Path(worlds)),
        TrainSettings(batch=4, lr=2e-2, warmup=1, log_every=1, eval_every_s=1e9),
        Run(Path(output), max_steps=int(max_steps)),
    )
