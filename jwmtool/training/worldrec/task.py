"""WorldRec as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from jwmtool.artifacts.weights import load_weights, weights_file
from jwmtool.training.clips import Data, OpenClips
from jwmtool.training.prefetch import sample_batches
from jwmtool.training.worldrec.augment import augment
from jwmtool.training.worldrec.held_out import held_out_scores, held_out_sheet
from jwmtool.training.worldrec.loss import reconstruction_loss
from jwmtool.training.worldrec.recipe import Recipe
from jwmtool.training.worldrec.sample import Sample, load_sample
from jwmtool.training.worldrec.windows import draw_window, scored_window
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.views import Views

SHARED = ("encoder", "depth", "exposure")  # what networks of every method have


def build_worldrec(config: WorldRecConfig) -> nn.Module:
    """The network itself."""
    from jwmtool.worldrec.model import build_model

    model: nn.Module = build_model(config)
    return model


class WorldRecTask:
    """See `jwmtool.training.task.Task`.

    Args:
        config: of the network.
        data: clips.
        recipe: how it is trained.
        build: makes the network.
        shared_from: weights of another method, whose encoder, depth and exposure the network starts with.
    """

    def __init__(
        self,
        config: WorldRecConfig,
        data: Data,
        recipe: Recipe | None = None,
        build: Callable[[WorldRecConfig], nn.Module] = build_worldrec,
        shared_from: Path | None = None,
    ) -> None:
        self.recipe = recipe = recipe or Recipe()
        depth = recipe.stage == "depth"
        self.name = "worldrec" if recipe.stage == "full" else f"worldrec-{recipe.stage}"
        self.config: Mapping[str, Any] = config.to_dict()
        self.headline, self.higher_is_better = ("depth_log_error", False) if depth else ("psnr", True)
        self.weights = {
            "depth": recipe.weights.depth_only, "full": lambda: recipe.weights, "gate": recipe.weights.gate_only
        }[recipe.stage]()  # fmt: skip
        self._network, self._data, self._make, self._shared_from = config, data, build, shared_from
        self._clips = OpenClips()
        self._scored: list[Sample] | None = None

    def build(self) -> nn.Module:
        """The network with its first weights."""
        network = self._make(self._network)
        if self._shared_from is not None:
            load_weights(network, weights_file(self._shared_from), SHARED)
        if self.recipe.stage == "gate":
            network.requires_grad_(False)
            network.gate.requires_grad_(True)  # type: ignore[operator]
        return network

    def sample(self, index: int) -> Sample:
        """Sample number `index`; decided by the recipe's seed and the number alone.

        Raises:
            InputError: a clip is damaged.
        """
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, index))
        part = self._data.draw(rng)
        clip = self._clips.get(part.folder)
        window = draw_window(clip, part, rng, recipe.sampling)
        sample = load_sample(clip, window, self._network.pixels, targets=self.weights.renders)
        return augment(sample, rng, recipe.augmentation)

    def batches(self, start_index: int, size: int, rank: int, world_size: int) -> Iterator[list[Sample]]:
        """Lists of `size` samples."""
        return sample_batches(self.sample, start_index, size, rank, world_size)

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The mean of the windows' losses; a term is the mean over the windows that have it."""
        device = next(model.parameters()).device
        total = torch.zeros((), device=device)
        found: dict[str, list[Tensor]] = {}
        for sample in batch:
            there = sample.to(device)
            loss, terms = reconstruction_loss(
                self._reconstruct(model, there.given), there, self.weights, self._network.nearest_m
            )
            total = total + loss / len(batch)
            for name, term in terms.items():
                found.setdefault(name, []).append(term)
        return total, {name: torch.stack(values).mean() for name, values in found.items()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Scores on the windows of clips kept away."""
        return held_out_scores(*self._held_out(model), self.weights.renders)

    def sheet(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """A few of those windows."""
        return held_out_sheet(*self._held_out(model), self.weights.renders)

    def _held_out(self, model: nn.Module) -> tuple[Callable[[Views], Reconstruction], list[Sample]]:
        if self._scored is None:
            opened = [(self._clips.get(part.folder), part) for part in self._data.held_out]
            windows = [(clip, scored_window(clip, part, self.recipe.sampling)) for clip, part in opened]
            self._scored = [load_sample(clip, window, self._network.pixels) for clip, window in windows]
        device = next(model.parameters()).device
        return lambda views: self._reconstruct(model, views), [sample.to(device) for sample in self._scored]

    def _reconstruct(self, model: nn.Module, views: Views) -> Reconstruction:
        if self.recipe.stage == "gate":
            from jwmtool.worldrec.fusion import unroll

            model.eval()  # all but the gate is as it will be used
            return unroll(model, halves(views))[-1]  # type: ignore[arg-type]
        made: Reconstruction = model(views) if self.weights.renders else model(views, depth_only=True)
        return made


def halves(views: Views) -> list[Views]:
    """The views of the first and those of the second half of the times, as two windows that follow each other."""
    times = views.times_s.unique()
    late = views.times_s >= times[len(times) // 2]
    return [views.select((~late).nonzero()[:, 0]), views.select(late.nonzero()[:, 0])]
