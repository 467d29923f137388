"""What `jwm train worldrec` is about to do."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Literal

from jwmtool.errors import UsageError
from jwmtool.training.clips import Data
from jwmtool.training.plan import Plan, begun_config
from jwmtool.training.record import Record
from jwmtool.training.run import Run
from jwmtool.training.worldrec.recipe import Recipe, Stage, chosen_config, config_of_weights
from jwmtool.training.worldrec.task import WorldRecTask
from jwmtool.worldrec.config import WorldRecConfig

KIND = "worldrec"


def plan_worldrec(
    run: Run, data: Data, config: str | None, method: Literal["sparse", "pixel"] | None, stage: Stage, seed: int
) -> Plan:
    """Find out which network is meant, and make its task. Weights of another method give what both share.

    Args:
        config, method: None: those of the run or the weights to go on from, else `mini`, `sparse`.

    Raises:
        UsageError: an unknown name, one that does not fit the weights, or no run to resume.
        InputError: the weights or the run are another model's, or damaged.
    """
    given = begun_config(run, KIND, WorldRecConfig.from_dict, config_of_weights)
    network = chosen_config(config, method, given)
    other = given is not None and network.method != given.method
    if other and given is not None and run.resume:
        raise UsageError(f"--resume: expected --method {given.method}, as the run began, found {network.method}")
    recipe = Recipe.of(network, stage, seed)
    record = record_of(network, data, recipe)
    return Plan(
        WorldRecTask(network, data, recipe, shared_from=run.init if other else None),
        replace(run, init=None) if other else run,
        record.write,
        record.check,
    )


def record_of(network: WorldRecConfig, data: Data, recipe: Recipe) -> Record:
    """What a run folder tells of such a training."""
    return Record(KIND, network.to_dict(), asdict(recipe), data, "--stage and --seed")
