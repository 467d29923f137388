"""How the autoencoder is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from jwmtool.training.autoencoder.loss import LossWeights
from jwmtool.training.autoencoder.pictures import Shape


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
