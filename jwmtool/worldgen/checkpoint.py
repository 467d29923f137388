"""Writing and opening a WorldGen of our own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jwmtool.artifacts.weights import load_weights, read_config, write_weights
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.transformer import WorldGen

KIND = "worldgen"  # under the metadata key `task`, as training writes it


def save_model(path: Path, model: WorldGen, told: Mapping[str, Any] | None = None, force: bool = False) -> None:
    """Write weights and config, and what else is told (JSON values), atomically.

    Raises:
        OutputExistsError: `path` exists, unless `force`.
    """
    metadata = {**(told or {}), "task": KIND, "config": model.config.to_dict()}
    write_weights(path, model.state_dict(), metadata, force)


def load_model(path: Path, device: str = "cpu") -> WorldGen:
    """The network of a weights file, a shipped model's folder or a training run's folder, ready to be used.

    Raises:
        InputError: there are no weights, they are damaged, or they are another network's.
    """
    config, file = read_config(path, "WorldGen", [KIND])
    model = WorldGen(WorldGenConfig.from_dict(config, file))
    load_weights(model, file)
    return model.to(device).eval()
