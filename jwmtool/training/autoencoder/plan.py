"""What `jwm train autoencoder` is about to do."""

from __future__ import annotations

from dataclasses import asdict

from jwmtool.training.autoencoder.recipe import Recipe, chosen_config
from jwmtool.training.autoencoder.task import AutoencoderTask
from jwmtool.training.clips import Data
from jwmtool.training.plan import Plan
from jwmtool.training.record import Record, read_record
from jwmtool.training.run import Run
from jwmtool.worldgen.autoencoder_checkpoint import KIND, autoencoder_config
from jwmtool.worldgen.autoencoder_config import AutoencoderConfig


def plan_autoencoder(run: Run, data: Data, config: str | None, seed: int) -> Plan:
    """Find out which network is meant, and make its task.

    Args:
        config: name of a network; None: that of the run or the weights to go on from, else `mini`.

    Raises:
        UsageError: an unknown name, one that does not fit the weights, or no run to resume.
        InputError: the weights or the run are another model's, or damaged.
    """
    given = None
    if run.resume:
        path, told = read_record(run.folder, KIND)
        given = AutoencoderConfig.from_dict(told["config"], path)
    elif run.init is not None:
        given = autoencoder_config(run.init)
    network, recipe = chosen_config(config, given), Recipe(seed=seed)
    record = Record(KIND, network.to_dict(), asdict(recipe), data)
    return Plan(AutoencoderTask(network, data, recipe), run, record.write, record.check)
