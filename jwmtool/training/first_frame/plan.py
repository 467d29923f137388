"""What `jwm train first-frame` is about to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from jwmtool.training.clips import Data
from jwmtool.training.first_frame.prepare import Preparer
from jwmtool.training.first_frame.recipe import Recipe
from jwmtool.training.first_frame.task import FirstFrameTask
from jwmtool.training.plan import CACHE, Plan, begun_config, chosen_config
from jwmtool.training.record import Record
from jwmtool.training.run import Run
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.first_frame import CONFIGS, KIND, FirstFrameConfig, first_frame_config
from jwmtool.worldgen.known import SUBCELL


def plan_first_frame(run: Run, data: Data, config: str | None, seed: int, cache: Path | None = None) -> Plan:
    """Find out which network is meant, and make its task.

    Args:
        config: name of a network; None: that of the run or the weights to go on from, else `mini`.
        cache: folder of pictures; by default in the run's.

    Raises:
        UsageError: an unknown name, one that does not fit the weights, or no run to resume.
        InputError: weights or the run are another model's, or damaged.
    """
    given = begun_config(run, KIND, FirstFrameConfig.from_dict, first_frame_config)
    network, recipe = chosen_config(CONFIGS, config, given), Recipe(seed=seed)
    store = Store(cache or run.folder / CACHE, {"kind": KIND, "subject": SUBCELL, "shapes": recipe.shapes})
    record = Record(KIND, network.to_dict(), asdict(recipe), data)
    prepare = Preparer(recipe.shapes).prepare
    task = FirstFrameTask(network, data, store, recipe)
    return Plan(task, run, record.write, record.check, lambda: prepare(data, store))
