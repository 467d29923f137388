"""How the autoencoder is trained, and which one a user means."""

from __future__ import annotations

from dataclasses import dataclass, field

from jwmtool.errors import UsageError
from jwmtool.training.autoencoder.loss import LossWeights
from jwmtool.training.autoencoder.pictures import Shape
from jwmtool.worldgen.autoencoder_config import CONFIGS, AutoencoderConfig


@dataclass(frozen=True)
class Recipe:
    """How the autoencoder is trained, other than the loop's settings.

    Attributes:
        shapes: (width, height) of pictures, px; each picture is cut to the nearest, or to a smaller one that it fills.
        zoom: pictures are shrunk to cover the shape, or up to so many times less.
        flip: share that is mirrored; light: how far colors are changed.
        prior: share that comes with a prior.
        noise: on the latents, whose deviation is about 1.
        weights: of the loss.
        seed: of the pictures and their changes.
    """

    shapes: tuple[Shape, ...] = ((224, 128), (416, 128))
    zoom: float = 2.0
    flip: float = 0.5
    light: float = 0.1
    prior: float = 0.35
    noise: float = 0.1
    weights: LossWeights = field(default_factory=LossWeights)
    seed: int = 0


def chosen_config(name: str | None, given: AutoencoderConfig | None) -> AutoencoderConfig:
    """The network that a user means: a named one, `mini` by default, or that of weights or of a run to go on with.

    Raises:
        UsageError: an unknown name, or one beside a network given that is another.
    """
    if name is not None and name not in CONFIGS:
        raise UsageError(f"--config: expected {', '.join(CONFIGS)}, found {name!r}")
    if name is not None and given is not None and CONFIGS[name] != given:
        raise UsageError("--config: these weights are of another network; leave it out")
    return CONFIGS[name] if name is not None else given or CONFIGS["mini"]
