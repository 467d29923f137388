"""How the video transformer is trained, and which one a user means."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jwmtool.errors import UsageError
from jwmtool.training.autoencoder.pictures import Shape
from jwmtool.worldgen.autoencoder_config import MULTIPLE
from jwmtool.worldgen.config import CONFIGS, WorldGenConfig
from jwmtool.worldgen.known import channel_counts
from jwmtool.worldgen.latents import VideoAutoencoder

NAMES = ("mini", "base")


@dataclass(frozen=True)
class Recipe:
    """How the transformer is trained, other than the loop's settings.

    Attributes:
        shapes: (width, height) of pictures, px; each clip is cut to the nearest.
        frames: numbers of frames of a sample, and how often each; what a clip is too short for is left out.
        views: share of samples of rigs that are of several cameras, of at most `most_views` and, all their frames
            together, of at most `most_pictures`. A sample is as many videos as have no more pictures than that.
        strides: of frames.
        known: shares of samples with 0, with 1, and with 2 to `most_known` clean first frames.
        noisy_context: share of samples whose known frames are noisy too, up to the timestep `context_noise`.
        time_mean, time_deviation, time_shift: timesteps are shift u / (1 + (shift - 1) u) of a logit-normal u.
        no_text, no_tag, no_ego, no_rays, no_layout, no_prior: shares of samples of which these are not known.
        no_carried: share of those without a scene, but with a known frame, that are not given that frame carried along
            the path either.
        holes: share of priors with further holes, up to `most_holes` rectangles; ends: share that end at some frame.
        seed: of the samples.
    """

    shapes: tuple[Shape, ...] = ((224, 128), (416, 128))
    frames: tuple[tuple[int, float], ...] = ((1, 0.3), (4, 0.25), (8, 0.25), (12, 0.2))
    views: float = 0.4
    most_views: int = 3
    most_pictures: int = 12
    strides: tuple[int, ...] = (1, 2)
    known: tuple[float, float, float] = (0.35, 0.35, 0.3)
    most_known: int = 4
    noisy_context: float = 1 / 3
    context_noise: float = 0.1
    time_mean: float = 0.0
    time_deviation: float = 1.0
    time_shift: float = 3.0
    no_text: float = 0.12
    no_tag: float = 0.1
    no_ego: float = 0.12
    no_rays: float = 0.1
    no_layout: float = 0.7
    no_prior: float = 0.5
    no_carried: float = 0.15
    holes: float = 0.6
    most_holes: int = 3
    ends: float = 0.15
    seed: int = 0

    def videos(self, pictures: int) -> int:
        """How many videos of so many pictures make one sample, so that short ones take no less time than long ones."""
        return max(1, self.most_pictures // pictures)


def fitted(config: WorldGenConfig, autoencoder: VideoAutoencoder) -> WorldGenConfig:
    """The network with latents of an autoencoder; a token is 16 px wide.

    Raises:
        UsageError: its latents are coarser, or it joins frames.
    """
    stride, channels = autoencoder.stride, autoencoder.channels
    if autoencoder.frames_per_latent != 1:
        raise UsageError("--autoencoder: expected one that codes every frame alone, found one that joins frames")
    if stride not in (MULTIPLE, MULTIPLE // 2):
        raise UsageError(f"--autoencoder: expected one of stride 8 or 16, found stride {stride}")
    concat = sum(channel_counts(channels, stride).values())
    return replace(
        config, patch=MULTIPLE // stride, in_channels=channels, out_channels=channels, concat_channels=concat,
        start_stride=stride if config.start_stride else 0,
    )  # fmt: skip


def chosen_config(name: str | None, given: WorldGenConfig | None, autoencoder: VideoAutoencoder) -> WorldGenConfig:
    """The network that a user means: a named one, `mini` by default, or that of weights or of a run to go on with.

    Raises:
        UsageError: an unknown name; one beside a network given that is another; a network given that does not fit the
            autoencoder; an autoencoder that no network fits.
    """
    if name is not None and name not in NAMES:
        raise UsageError(f"--config: expected {' or '.join(NAMES)}, found {name!r}")
    if given is None:
        return fitted(CONFIGS[name or NAMES[0]], autoencoder)
    fits = fitted(given, autoencoder)
    if fits != given:
        raise UsageError(
            f"--autoencoder: these weights are of latents of {given.in_channels} channels and "
            f"{given.concat_channels} of conditions, found an autoencoder of {fits.in_channels} and "
            f"{fits.concat_channels}"
        )
    if name is not None and fitted(CONFIGS[name], autoencoder) != given:
        raise UsageError("--config: these weights are of another network; leave it out")
    return given
