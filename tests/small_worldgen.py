"""A tiny WorldGen's training on small worlds, in latents of a tiny autoencoder. Also a program, for torchrun."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from small_autoencoder import CONFIG as CODER
from torch import Generator, Tensor, nn

from jwmtool.artifacts.weights import write_weights
from jwmtool.training.clips import gather
from jwmtool.training.settings import TrainSettings
from jwmtool.training.worldgen.prepare import Preparer
from jwmtool.training.worldgen.recipe import Recipe, fitted
from jwmtool.training.worldgen.store import Store
from jwmtool.training.worldgen.task import WorldGenTask
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.config import WorldGenConfig

RECIPE = Recipe(shapes=((64, 32), (32, 32)), frames=((1, 0.1), (4, 0.9)), time_mean=0.5)
SETTINGS = TrainSettings(batch=4, lr=1e-2, warmup=1, log_every=1, eval_every_s=1e9, save_every_s=1e9)
SMALL = WorldGenConfig(
    layers=2, heads=2, head_dim=16, ffn_dim=64, text_dim=8, text_len=4, freq_dim=16, ego_dim=8, num_tags=22,
    carry=True, cross_view=True, cross_view_every=2,
)  # fmt: skip


def coder(seed: int = 0) -> Autoencoder:
    """Always the same weights of a seed."""
    torch.manual_seed(seed)
    model = Autoencoder(CODER).eval()
    model.latent_square.fill_(0.05)  # as if trained: latents of about unit deviation
    return model


def write_coder(path: Path, seed: int = 0) -> Path:
    """As a file that `--autoencoder` takes."""
    write_weights(path, coder(seed).state_dict(), {"task": "autoencoder", "config": CODER.to_dict()})
    return path


CONFIG = fitted(SMALL, coder())


class SmallTask(WorldGenTask):
    """On prepared worlds; `on_step(number of the loss call)` may kill."""

    def __init__(
        self, data: Path, cache: Path, recipe: Recipe = RECIPE, on_step: Callable[[int], None] | None = None
    ) -> None:
        gathered, store = gather([data]), Store(cache, {})
        Preparer(coder(), None, recipe.shapes).prepare(gathered, store)
        super().__init__(CONFIG, gathered, store, coder(), recipe)
        self.on_step, self.calls = on_step, 0

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        if self.on_step is not None:
            self.on_step(self.calls)
        self.calls += 1
        return super().loss(model, batch, generator)


if __name__ == "__main__":
    from jwmtool.training.loop import train
    from jwmtool.training.run import Run

    worlds, cache, output, max_steps = sys.argv[1:]
    train(SmallTask(Path(worlds), Path(cache)), SETTINGS, Run(Path(output), max_steps=int(max_steps)))
