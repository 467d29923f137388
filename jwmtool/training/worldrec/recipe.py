"""How WorldRec is trained, and which network a user means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from jwmtool.artifacts.weights import read_metadata, weights_file
from jwmtool.errors import InputError, UsageError
from jwmtool.training.worldrec.augment import Augmentation
from jwmtool.training.worldrec.loss import LossWeights
from jwmtool.training.worldrec.windows import Sampling
from jwmtool.worldrec.config import CONFIGS, WorldRecConfig

Stage = Literal["depth", "full", "gate"]


@dataclass(frozen=True)
class Recipe:
    """How WorldRec is trained, other than the loop's settings.

    Attributes:
        stage: `depth` trains the coarse depth alone, several times as fast a step; `full` everything but the gate of
            fusion; `gate` that alone, on runs of windows that are fused.
        weights: of the loss; the stage `depth` leaves out those of rendering, `gate` all others.
        sampling, augmentation: of the windows.
        seed: of the windows and their changes.
    """

    stage: Stage = "full"
    weights: LossWeights = field(default_factory=LossWeights)
    sampling: Sampling = field(default_factory=Sampling)
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    @staticmethod
    def of(config: WorldRecConfig, stage: Stage, seed: int) -> Recipe:
        """The recipe for a network: windows of more views for one whose scene queries look into more.

        Raises:
            UsageError: the network has no gate to train.
        """
        if stage == "gate" and config.method != "sparse":
            raise UsageError(f"--stage gate: expected a network of sparse queries, found method {config.method}")
        views = max(6, config.gather_views // 2 + 2)
        sampling = Sampling(max_views=views)
        if stage == "gate":
            sampling = Sampling(
                (1.4, 2.2), (0.2, 0.4), max_frames=6, max_cameras=2, max_views=2 * views, targets=(4, 4)
            )
        return Recipe(stage=stage, sampling=sampling, seed=seed)


def chosen_config(name: str | None, method: str | None, given: WorldRecConfig | None) -> WorldRecConfig:
    """The network that a user means: a named one, `mini` by default, or that of weights or of a run to go on with.

    Of weights of another method the rest is kept.

    Raises:
        UsageError: an unknown name, or one beside a network given that is another.
    """
    if name is not None and name not in CONFIGS:
        raise UsageError(f"--config: expected {', '.join(CONFIGS)}, found {name!r}")
    base = CONFIGS[name] if name is not None else given or CONFIGS["mini"]
    asked = base if method is None else replace(base, method=method)
    if given is not None and replace(asked, method=given.method) != given:
        raise UsageError("--config: these weights are of another network; leave it out")
    return asked


def config_of_weights(init: Path) -> WorldRecConfig | None:
    """The network that weights belong to (a file, a shipped model, a run); None if they do not tell.

    Raises:
        InputError: no such weights, or of another model.
    """
    file = weights_file(init)
    metadata = read_metadata(file)
    if not str(metadata.get("task", "worldrec")).startswith("worldrec"):
        raise InputError(file, "weights of worldrec", f"weights of {metadata['task']}")
    told = metadata.get("config")
    return WorldRecConfig.from_dict(told, file) if isinstance(told, Mapping) else None
