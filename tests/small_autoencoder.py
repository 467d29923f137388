"""A tiny autoencoder's training on small worlds. Also a program, for torchrun."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Generator, Tensor, nn

from jwmtool.training.autoencoder.loss import LossWeights
from jwmtool.training.autoencoder.recipe import Recipe
from jwmtool.training.autoencoder.task import AutoencoderTask
from jwmtool.training.clips import gather
from jwmtool.training.settings import TrainSettings
from jwmtool.worldgen.autoencoder_config import AutoencoderConfig

CONFIG = AutoencoderConfig(16, 24, (16, 16, 32), (1, 1, 1), (24, 24, 32), (1, 1, 1))
RECIPE = Recipe(shapes=((64, 32), (32, 32)))
SETTINGS = TrainSettings(batch=4, lr=5e-3, warmup=1, log_every=1, eval_every_s=1e9, save_every_s=1e9)
# What ranks draw or average by themselves is left out, so that two of them are as one.
ALIKE = replace(RECIPE, noise=0.0, weights=LossWeights(moments=0.0))


class SmallTask(AutoencoderTask):
    """Begins with random weights, so that there is more to learn; `on_step(number of the loss call)` may kill."""

    def __init__(
        self, data: Path, recipe: Recipe = RECIPE, config: AutoencoderConfig = CONFIG,
        on_step: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, gather([data]), recipe)
        self.on_step, self.calls = on_step, 0

    def build(self) -> nn.Module:
        network = super().build()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and bool(layer.weight.any()):
                layer.reset_parameters()
        return network

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        if self.on_step is not None:
            self.on_step(self.calls)
        self.calls += 1
        return super().loss(model, batch, generator)


if __name__ == "__main__":
    from jwmtool.training.loop import train
    from jwmtool.training.run import Run

    worlds, output, max_steps = sys.argv[1:]
    train(SmallTask(Path(worlds), ALIKE), SETTINGS, Run(Path(output), max_steps=int(max_steps)))
