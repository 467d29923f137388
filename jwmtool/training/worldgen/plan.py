"""What `jwm train worldgen` is about to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jwmtool.artifacts.json_file import read_json
from jwmtool.artifacts.weights import read_config, weights_sha256
from jwmtool.errors import InputError, UsageError
from jwmtool.training.clips import Data
from jwmtool.training.plan import CACHE, Plan, begun_config
from jwmtool.training.record import Record
from jwmtool.training.run import Run
from jwmtool.training.worldgen.prepare import Preparer
from jwmtool.training.worldgen.recipe import Recipe, chosen_config
from jwmtool.training.worldgen.store import Store
from jwmtool.training.worldgen.task import WorldGenTask
from jwmtool.worldgen.autoencoder_checkpoint import load_autoencoder
from jwmtool.worldgen.checkpoint import KIND
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldrec.checkpoint import SHIPPED, find_model, load_model

AUTOENCODER, NO_PRIORS = "autoencoder-mini", "none"
_FLAGS = "the recipe, seed, --autoencoder and --priors"


def plan_worldgen(
    run: Run,
    data: Data,
    config: str | None,
    seed: int,
    autoencoder: str | None = None,
    priors: str | None = None,
    cache: Path | None = None,
) -> Plan:
    """Find out which network is meant, and make its task.

    Args:
        config: name of a network; None: that of the run or the weights to go on from, else `mini`.
        autoencoder: a path, or the name of a shipped one, which is the default.
        priors: the WorldRec whose scenes are learned from: a path, the name of a shipped one, which is the default, or
            `none`.
        cache: folder of latents; by default in the run's.

    Raises:
        UsageError: an unknown name, one that does not fit the weights, or no run to resume.
        InputError: weights or the run are another model's, or damaged.
    """
    given = begun_config(run, KIND, WorldGenConfig.from_dict, _config_of_weights)
    coder_path = find_autoencoder(autoencoder)
    coder = load_autoencoder(coder_path, run.device)
    network, recipe = chosen_config(config, given, coder), Recipe(seed=seed)
    scenes_path = None if priors == NO_PRIORS else find_model(priors, "worldrec")
    made_with: dict[str, Any] = {
        "autoencoder_sha256": weights_sha256(coder_path),
        "priors_sha256": None if scenes_path is None else weights_sha256(scenes_path),
    }
    store = Store(cache or run.folder / CACHE, {**made_with, "shapes": recipe.shapes})
    task = WorldGenTask(network, data, store, coder, recipe, made_with)

    def prepare() -> None:
        scenes = None if scenes_path is None else load_model(scenes_path, run.device)
        Preparer(coder, scenes, recipe.shapes, run.device).prepare(data, store)

    record = Record(KIND, network.to_dict(), {**asdict(recipe), **made_with}, data, _FLAGS)
    return Plan(task, run, record.write, record.check, prepare)


def find_autoencoder(given: str | None) -> Path:
    """The autoencoder that a user means: a path, the name of a shipped one, or none: the one that is shipped.

    Raises:
        InputError: it is not there; the message says what to give. UsageError: it is Wan's.
    """
    if given is not None and Path(given).exists():
        _refuse_foreign("--autoencoder", Path(given))
        return Path(given)
    name = AUTOENCODER if given is None else given
    if (SHIPPED / name).is_dir():
        return SHIPPED / name
    expected = "an autoencoder (--autoencoder PATH: the folder of a training run or of a shipped model, or a file)"
    raise InputError(given or f"models/{name}", expected, "no such file or folder")


def _config_of_weights(init: Path) -> WorldGenConfig:
    _refuse_foreign("--init", init)
    return WorldGenConfig.from_dict(*read_config(init, "WorldGen", [KIND]))


def _refuse_foreign(flag: str, path: Path) -> None:
    """Folders of diffusers load for generating; training in their latents is not built.

    Raises:
        UsageError: it is one.
    """
    for file in (path / "config.json", path / "vae" / "config.json", path / "transformer" / "config.json"):
        if file.is_file() and "_class_name" in read_json(file):
            name = read_json(file)["_class_name"]
            raise UsageError(
                f"{flag} {path}: expected weights of our own, found diffusers' {name}, which cannot be trained yet"
            )
