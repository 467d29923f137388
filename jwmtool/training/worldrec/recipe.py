"""How WorldRec is trained, and what a run folder tells of it: `data.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.json_file import read_json
from jwmtool.artifacts.weights import read_metadata, weights_file
from jwmtool.errors import InputError, UsageError
from jwmtool.training.worldrec.augment import Augmentation
from jwmtool.training.worldrec.clips import Data
from jwmtool.training.worldrec.loss import LossWeights
from jwmtool.training.worldrec.windows import Sampling
from jwmtool.worldrec.config import CONFIGS, WorldRecConfig

FILE = "data.json"
FORMAT, VERSION = "jwm-training-data", "1.0"

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


def config_of_run(folder: Path) -> WorldRecConfig:
    """The network of a run that is to go on.

    Raises:
        UsageError: no run there. InputError: its data.json is damaged.
    """
    told = _read(folder).get("config")
    if not isinstance(told, Mapping):
        raise InputError(folder / FILE, "the network's config", repr(told))
    return WorldRecConfig.from_dict(told, folder / FILE)


def write_record(folder: Path, config: WorldRecConfig, data: Data, recipe: Recipe, made: Mapping[str, Any]) -> None:
    """Write what a run trains on, and how. Every rank may: all write the same.

    Args:
        made: provenance.
    """
    with atomic_file(folder / FILE, force=True) as temporary:
        told: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": "worldrec", "config": config.to_dict()}
        told |= {"recipe": asdict(recipe), **data.document(), "provenance": [dict(made)]}
        text = json.dumps(told, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def check_record(folder: Path, data: Data, recipe: Recipe) -> None:
    """See that a run that is to go on has the clips and the recipe that it began with.

    Raises:
        UsageError: no run there. InputError: data.json is damaged, or others.
    """
    then, now = _read(folder), json.loads(json.dumps({"recipe": asdict(recipe), **data.document()}))
    for key in ("training", "held_out"):
        if now[key] != then.get(key):
            expected = "the clips that this training began with (make new ones elsewhere)"
            raise InputError(folder / FILE, expected, f"{_difference(then.get(key), now[key])} under {key}")
    if now["recipe"] != then.get("recipe"):
        raise InputError(folder / FILE, "--stage and --seed that this training began with", "others")


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"--resume: no unfinished training in {folder}; leave --resume out to start one")
    document = read_json(path)
    if document.get("format") != FORMAT or str(document.get("version")).split(".")[0] != VERSION.split(".")[0]:
        found = f"{document.get('format')} version {document.get('version')}"
        raise InputError(path, f"{FORMAT} version {VERSION}", found)
    return document


def _difference(then: Any, now: Any) -> str:
    """How two lists of clips differ, in words; groups count as one list."""

    def flat(value: Any) -> dict[str, str]:
        rows = [row for item in value or [] for row in (item if isinstance(item, list) else [item])]
        return {str(row.get("clip")): json.dumps(row, sort_keys=True) for row in rows if isinstance(row, dict)}

    before, after = flat(then), flat(now)
    new, gone = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    parts = [
        f"{len(names)} {word} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for word, names in (("new", new), ("missing", gone), ("changed", changed))
        if names
    ]
    return ", ".join(parts) or "another order"
