"""How the first-frame network is trained."""

from __future__ import annotations

from dataclasses import dataclass

from jwmtool.training.autoencoder.pictures import Shape


@dataclass(frozen=True)
class Recipe:
    """How the first-frame network is trained, other than the loop's settings.

    Attributes:
        shapes: (width, height) of pictures, px, of which each clip gets the one nearest to its first camera's.
        rig: share of the steps with clips of several cameras that see all of them together, not one.
        flip: share of pictures of one camera that are mirrored, which way the camera looks included.
        untold: share of samples of which no tag is told; else each is left out with the probability
            `untold_weather` (of weather) or `untold_other`.
        late: mean of the times that small pictures are learned at, as a logit.
        begin: share of these times that are close to 1, where little but brightness and colors can be told from noise,
            and words decide them.
        spoilt: most noise in small pictures that are made sharp, in deviations.
        subject: how much more errors count where the bodies of a told event are, which are small.
        crop: (width, height) of what is made sharp at once, px.
        seed: of the samples.
    """

    shapes: tuple[Shape, ...] = ((224, 128), (416, 128))
    rig: float = 0.5
    flip: float = 0.5
    untold: float = 0.1
    untold_weather: float = 0.15
    untold_other: float = 0.3
    late: float = 0.8
    begin: float = 0.2
    spoilt: float = 0.4
    subject: float = 10.0
    crop: tuple[int, int] = (96, 64)
    seed: int = 0
