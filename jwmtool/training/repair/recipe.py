"""How the repair network is trained."""

from __future__ import annotations

from dataclasses import dataclass

from jwmtool.training.autoencoder.pictures import Shape


@dataclass(frozen=True)
class Recipe:
    """How the repair network is trained, other than the loop's settings.

    Attributes:
        shapes: (width, height) of pictures, px, of which each clip gets the one nearest to its first camera's.
        flip: share that is mirrored; light: how far brightness is changed, as a logarithm.
        cut: share of renders that lose two rectangles; cut_both: share of these in which so does the other picture.
        seed: of the samples.
    """

    shapes: tuple[Shape, ...] = ((224, 128), (416, 128))
    flip: float = 0.5
    light: float = 0.15
    cut: float = 0.5
    cut_both: float = 0.5
    seed: int = 0
