"""What `jwm train autoencoder` is about to do."""

from __future__ import annotations

from dataclasses import asdict

from jwmtool.training.autoencoder.recipe import Recipe
from jwmtool.training.autoencoder.task import AutoencoderTask
from jwmtool.training.clips import Data
from jwmtool.training.plan import Plan, begun_config, chosen_config
from jwmtool.training.record import Record
from jwmtool.training.run import Run
from jwmtool.worldgen.autoencoder_checkpoint import KIND, autoencoder_config
from jwmtool.worldgen.autoencoder_config import CONFIGS, AutoencoderConfig


def plan_autoencoder(run: Run, data: Data, config: str | None, seed: int) -> Plan:
    """Find out which network is meant, and make its task.

    Args:
        config: name of a network; None: that of the run or the weights to go on from, else `mini`.

    Raises:
        UsageError: an unknown name, one that does not fit the weights, or no run to resume.
        InputError: the weights or the run are another model's, or damaged.
    """
    given = begun_config(run, KIND, AutoencoderConfig.from_dict, autoencoder_config)
    network, recipe = chosen_config(CONFIGS, config, given), Recipe(seed=seed)
    record = Record(KIND, network.to_dict(), asdict(recipe), data)
    return Plan(AutoencoderTask(network, data, recipe), run, record.write, record.check)
