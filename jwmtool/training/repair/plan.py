"""What `jwm train repair` is about to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from jwmtool.artifacts.weights import weights_sha256
from jwmtool.training.clips import Data
from jwmtool.training.plan import CACHE, Plan, begun_config, chosen_config
from jwmtool.training.record import Record
from jwmtool.training.repair.prepare import Preparer
from jwmtool.training.repair.recipe import Recipe
from jwmtool.training.repair.task import RepairTask
from jwmtool.training.run import Run
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.repair import CONFIGS, KIND, RepairConfig, repair_config
from jwmtool.worldrec.checkpoint import find_model, load_model


def plan_repair(
    run: Run, data: Data, config: str | None, seed: int, priors: str | None = None, cache: Path | None = None
) -> Plan:
    """Find out which network is meant, and make its task.

    Args:
        config: name of a network; None: that of the run or the weights to go on from, else `mini`.
        priors: the WorldRec whose renders are repaired: a path, or the name of a shipped one, which is the default.
        cache: folder of renders; by default in the run's.

    Raises:
        UsageError: an unknown name, one that does not fit the weights, or no run to resume.
        InputError: weights or the run are another model's, or damaged.
    """
    given = begun_config(run, KIND, RepairConfig.from_dict, repair_config)
    network, recipe = chosen_config(CONFIGS, config, given), Recipe(seed=seed)
    scenes = find_model(priors, "worldrec")
    made_with = {"priors_sha256": weights_sha256(scenes)}
    store = Store(cache or run.folder / CACHE, {**made_with, "kind": KIND, "shapes": recipe.shapes})

    def prepare() -> None:
        Preparer(load_model(scenes, run.device), recipe.shapes, run.device).prepare(data, store)

    record = Record(KIND, network.to_dict(), {**asdict(recipe), **made_with}, data, "the recipe, seed and --priors")
    return Plan(RepairTask(network, data, store, recipe, made_with), run, record.write, record.check, prepare)
