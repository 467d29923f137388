"""What an autoencoder of video has to offer to everything that works on latents: two methods and a stream.

Latents are about zero in mean and one in deviation, channel by channel. An autoencoder that joins frames encodes the
first one alone and then `frames_per_latent` at a time, so that a video may begin with one picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Prior:
    """What is known of the frames before they are decoded: a render of the scene.

    Attributes:
        color: [B, T, 3, H, W] in [0, 1].
        coverage: [B, T, 1, H, W] in [0, 1], how much of a pixel is known; color counts for nothing where it is 0.
    """

    color: Tensor
    coverage: Tensor

    def __post_init__(self) -> None:
        found, other = tuple(self.color.shape), tuple(self.coverage.shape)
        if len(found) != 5 or found[2] != 3 or other != (*found[:2], 1, *found[3:]):
            raise ValueError(
                f"Prior: expected color [B, T, 3, H, W] and coverage [B, T, 1, H, W], found {found}, {other}"
            )


class FrameStream(Protocol):
    """Decodes a video piece by piece; the frames are those of `decode` at once."""

    def push(
        self,
        latents: Tensor,  # [B, n, C, h, w], those that follow
        prior: Prior | None = None,  # of the frames that these latents give
    ) -> Tensor:
        """The frames [B, t, 3, H, W] of these latents; memory does not grow with what was pushed before."""
        ...


class VideoAutoencoder(Protocol):
    """Pictures to latents and back.

    Attributes:
        stride: px a latent cell is wide and high.
        channels: of a latent.
        frames_per_latent: frames that each latent after the first stands for.
        takes_prior: whether `decode` and streams take one.
    """

    @property
    def stride(self) -> int: ...  # noqa: D102

    @property
    def channels(self) -> int: ...  # noqa: D102

    @property
    def frames_per_latent(self) -> int: ...  # noqa: D102

    @property
    def takes_prior(self) -> bool: ...  # noqa: D102

    def encode(
        self,
        video: Tensor,  # [B, T, 3, H, W] in [0, 1]
    ) -> Tensor:  # [B, T', C, H / stride, W / stride]
        """Latents, normalized.

        Raises:
            ValueError: H, W or T that do not divide.
        """
        ...

    def decode(
        self,
        latents: Tensor,  # [B, T', C, h, w], normalized
        prior: Prior | None = None,
    ) -> Tensor:  # [B, T, 3, H, W] in [0, 1]
        """Frames.

        Raises:
            ValueError: a prior of another shape, or where none is taken.
        """
        ...

    def stream(self) -> FrameStream:
        """Decode a new video piece by piece."""
        ...


def num_latents(num_frames: int, frames_per_latent: int) -> int:
    """Latents that stand for so many frames.

    Raises:
        ValueError: no number of latents does.
    """
    if num_frames < 1 or (num_frames - 1) % frames_per_latent:
        expected = (
            "at least 1 frame" if frames_per_latent == 1 else f"1 frame and then a multiple of {frames_per_latent}"
        )
        raise ValueError(f"latents: expected {expected}, found {num_frames}")
    return 1 + (num_frames - 1) // frames_per_latent


def num_frames(num_latents: int, frames_per_latent: int) -> int:
    """Frames that so many latents stand for, from the beginning of a video."""
    return 1 + (num_latents - 1) * frames_per_latent


def check_video(video: Tensor, multiple: int) -> None:
    """See that a video is [B, T, 3, H, W], its sides multiples of `multiple` px.

    Raises:
        ValueError: it is not.
    """
    if video.ndim != 5 or video.shape[2] != 3:
        raise ValueError(f"encode: expected video [B, T, 3, H, W], found {list(video.shape)}")
    height, width = video.shape[3:]
    if height % multiple or width % multiple or not height or not width:
        raise ValueError(f"encode: expected sides that are multiples of {multiple} px, found {width}x{height}")


def check_latents(latents: Tensor, channels: int) -> None:
    """See that latents are [B, T', `channels`, h, w].

    Raises:
        ValueError: they are not.
    """
    if latents.ndim != 5 or latents.shape[2] != channels:
        raise ValueError(f"decode: expected latents [B, T, {channels}, h, w], found {list(latents.shape)}")
