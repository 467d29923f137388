"""Video of a drive, chunk by chunk: rendered, generated, decoded; memory does not grow with length."""

# V views, F frames of the drive, n of a chunk.
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jwmtool.joint.chunks import Chunks
from jwmtool.joint.drive import Drive
from jwmtool.joint.prior import PriorFrames, PriorRenderer, carry_pictures, kept
from jwmtool.joint.told import encode, tell
from jwmtool.worldgen.latents import FrameStream, Prior, VideoAutoencoder


@dataclass(frozen=True)
class Generated:
    """Some frames, on the CPU.

    Attributes:
        frames: their numbers.
        video: [V, n, 3, H, W] in [0, 1].
        prior: of these frames, if there is a scene.
    """

    frames: range
    video: Tensor
    prior: PriorFrames | None


def generate(
    drive: Drive,
    chunks: Chunks,  # new
    autoencoder: VideoAutoencoder,
    seed: int,
    *,
    scene: PriorRenderer | None = None,
    first: Tensor | None = None,  # [V, 1, 3, H, W] in [0, 1], the pictures that the video begins with
    keep: float = 0.0,  # share of what the scene shows, or was carried, that stays as it was (`prior.kept`)
    carry: bool = False,  # without a scene, the last picture is carried along (`WorldGenConfig.carry`)
    device: str = "cpu",  # of the model and the autoencoder
    progress: Callable[[float], None] | None = None,  # is told the number of frames done
) -> Iterator[Generated]:
    """Make a video; each chunk is yielded as it is done. The same seed gives the same bits on one device."""
    stream = autoencoder.stream()
    clean = None if first is None else encode(autoencoder, first, device)
    picture = None if first is None else first[:, -1]
    start = 0
    while start < len(drive):
        frames = range(start, min(start + chunks.size(), len(drive)))
        prior = None if scene is None else scene.render(drive, frames)
        shown = prior
        if scene is None and picture is not None and carry:
            shown = carry_pictures(picture, drive, max(start - 1, 0), frames)
        known = tell(drive, frames, autoencoder, shown, device)
        noise = noise_of(drive, frames, autoencoder, seed).to(device)
        tick = None if progress is None else _Tick(progress, frames)
        latents = chunks.push(known, noise, clean if start == 0 else None, tick)
        video = _decoded(stream, latents, prior if autoencoder.takes_prior else None, device)
        if shown is not None and keep > 0.0:
            video = kept(video, shown, keep)
        yield Generated(frames, video, prior)
        picture, start = video[:, -1], frames.stop


def noise_of(drive: Drive, frames: range, autoencoder: VideoAutoencoder, seed: int) -> Tensor:  # [1, V, n, C, h, w]
    """Drawn on the CPU; that of a frame depends on the seed and its number alone."""
    width, height = (side // autoencoder.stride for side in drive.size)
    shape = (1, len(drive.cameras), autoencoder.channels, height, width)
    return torch.stack([torch.randn(shape, generator=drawing(seed, frame)) for frame in frames], dim=2)


def drawing(seed: int, number: int) -> torch.Generator:
    """Draws on the CPU what the seed and the number alone decide."""
    mixed = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))


@dataclass(frozen=True)
class _Tick:
    """Shares of a chunk as frames of the video."""

    progress: Callable[[float], None]
    frames: range

    def __call__(self, share: float) -> None:
        self.progress(self.frames.start + share * len(self.frames))


@torch.inference_mode()
def _decoded(stream: FrameStream, latents: Tensor, prior: PriorFrames | None, device: str) -> Tensor:
    """[V, n, 3, H, W] in [0, 1], on the CPU."""
    known = None if prior is None else Prior(prior.color.to(device), prior.trust.to(device))
    return stream.push(latents[0], known).float().cpu()
