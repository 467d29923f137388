"""How the repair network is trained, and which one a user means."""

from __future__ import annotations

from dataclasses import dataclass

from jwmtool.errors import UsageError
from jwmtool.training.autoencoder.pictures import Shape
from jwmtool.worldgen.repair import CONFIGS, RepairConfig


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


def chosen_config(name: str | None, given: RepairConfig | None) -> RepairConfig:
    """The network that a user means: a named one, `mini` by default, or that of weights or of a run to go on with.

    Raises:
        UsageError: an unknown name, or one beside a network given that is another.
    """
    if name is not None and name not in CONFIGS:
        raise UsageError(f"--config: expected {', '.join(CONFIGS)}, found {name!r}")
    if name is not None and given is not None and CONFIGS[name] != given:
        raise UsageError("--config: these weights are of another network; leave it out")
    return CONFIGS[name] if name is not None else given or CONFIGS["mini"]
