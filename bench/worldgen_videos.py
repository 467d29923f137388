"""Videos for the bench: made as `jwm generate` makes a chunk, but with any prior, and kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.clip import Clip, ClipCamera
from jwmtool.geometry.trajectory import Trajectory
from jwmtool.joint.drive import Drive
from jwmtool.joint.generate import noise_of
from jwmtool.joint.imagined import imagined
from jwmtool.joint.models import check_fit, open_models
from jwmtool.joint.path import actions_of, driven
from jwmtool.joint.prior import PriorFrames, carry_pictures, kept
from jwmtool.joint.told import encode, tell
from jwmtool.worldgen.first_frame import FirstFrame, load_first_frame
from jwmtool.worldgen.latents import Prior
from jwmtool.worldgen.sampler import Sampling, sample
from jwmtool.worldgen.tags import known_tags

FRAMES = 16
RATE_HZ = 10.0


@dataclass(frozen=True)
class Maker:
    """Both networks, and how they are used.

    Attributes:
        decode_prior: the decoder sees the prior as well, where it takes one.
        keep: share of what the prior shows that stays as rendered.
        painter: makes first pictures where nothing is given; None: there are none.
    """

    transformer: Any
    autoencoder: Any
    sampling: Sampling
    device: str
    decode_prior: bool = True
    keep: float = 0.0
    painter: FirstFrame | None = None

    @classmethod
    def open(
        cls,
        model: Path,
        autoencoder: Path,
        sampling: Sampling,
        device: str,
        keep: float = 0.0,
        painter: Path | None = None,
    ) -> Maker:
        """From weights."""
        check_fit(model, autoencoder)
        models = open_models(model, autoencoder, device)
        network = None if painter is None else load_first_frame(painter, device)
        return cls(models.transformer, models.autoencoder, sampling, device, keep=keep, painter=network)

    @torch.no_grad()
    def make(
        self,
        drive: Drive,
        seed: int,
        prior: Prior | None = None,  # B: the cameras
        first: Tensor | None = None,  # [V, K, 3, H, W] in [0, 1]
    ) -> Tensor:  # [V, T, 3, H, W] in [0, 1]
        """One chunk."""
        frames = range(len(drive))
        if prior is None and first is None and self.painter is not None:
            whole = replace(self.sampling, temperature=1.0)  # as `jwm generate`, which calms only what follows
            first = imagined(drive, self.painter, seed, whole, self.device)
        shown = None if prior is None else PriorFrames(prior.color, prior.color, prior.coverage)
        if shown is None and first is not None and self.transformer.config.carry:
            shown = carry_pictures(first[:, -1], drive, first.shape[1] - 1, frames)
        known = tell(drive, frames, self.autoencoder, shown, self.device)
        noise = noise_of(drive, frames, self.autoencoder, seed).to(self.device)
        clean = None if first is None else encode(self.autoencoder, first, self.device)
        latents = sample(self.transformer, known, noise, self.autoencoder.stride, self.sampling, clean)
        with_prior = prior is not None and self.decode_prior and self.autoencoder.takes_prior
        video = self.decode(latents[0], prior if with_prior else None)
        return video if shown is None else kept(video, shown, self.keep)

    @torch.no_grad()
    def round_trip(self, frames: Tensor) -> Tensor:
        """[V, T, 3, H, W], encoded and decoded."""
        return self.decode(encode(self.autoencoder, frames, self.device)[0], None)

    @torch.no_grad()
    def decode(self, latents: Tensor, prior: Prior | None) -> Tensor:
        """[V, T, C, h, w] to [V, T, 3, H, W] on the CPU."""
        known = None if prior is None else Prior(prior.color.to(self.device), prior.coverage.to(self.device))
        made: Tensor = self.autoencoder.decode(latents, known).float().cpu()
        return made

    def one_view_at_a_time(self, off: bool) -> None:
        """Leave the cross-view layers out, or take them in again."""
        for block in self.transformer.blocks:
            if hasattr(block, "cross_view"):
                block.has_cross_view = not off
        if self.painter is not None:
            self.painter.one_view_at_a_time(off)


def recorded_drive(clip: Clip, cameras: Sequence[str], frames: Sequence[int]) -> Drive:
    """Where a clip goes in some of its frames, under its tags; pictures cut to multiples of 16 px."""
    path = Trajectory(clip.times_us[list(frames)], clip.world_from_rig[list(frames)])
    chosen = tuple(cut(clip.cameras[name]) for name in cameras)
    return Drive(chosen, path, clip.rate_hz, known_tags(clip.tags), None, actions_of(path))


def asked_drive(
    camera: ClipCamera,
    speed_mps: float,
    yaw_rate_radps: float,
    tags: Mapping[str, str] | None = None,
    start: NDArray[np.float64] | None = None,
    num_frames: int = FRAMES,
) -> Drive:
    """Constant speed and turn, under some tags or none."""
    path = driven(np.array([[speed_mps, yaw_rate_radps]]), num_frames, RATE_HZ, start)
    return Drive((cut(camera),), path, RATE_HZ, dict(tags or {}), None, actions_of(path))


def cut(camera: ClipCamera) -> ClipCamera:
    """With pictures whose sides are multiples of 16 px, about the center."""
    from jwmtool.geometry.camera import Camera

    width, height = camera.width // 16 * 16, camera.height // 16 * 16
    fitted = Camera(camera.K, camera.width, camera.height, np.eye(4)).resized(width, height)
    return replace(camera, K=fitted.K, width=width, height=height)


def as_bytes(frames: Tensor) -> NDArray[np.uint8]:  # [T, H, W, 3]
    """Of frames [T, 3, H, W] in [0, 1]."""
    return (frames.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
