"""The video transformer as a task of the training loop."""

# B samples, V views, T frames, C channels, h x w latent cells.
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from jwmtool.training.clips import Data
from jwmtool.training.prefetch import sample_batches
from jwmtool.training.worldgen.held_out import HeldOut
from jwmtool.training.worldgen.loss import terms, velocity_errors
from jwmtool.training.worldgen.recipe import Recipe
from jwmtool.training.worldgen.samples import Spec, drawn_sample, drawn_spec, stacked
from jwmtool.training.worldgen.spread import measured_spread
from jwmtool.training.worldgen.store import Store, Stored, open_latents
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.checkpoint import KIND
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.transformer import build_model

_OF_A_STEP = 1  # sets what is drawn for a step apart from what is drawn for its first sample


class WorldGenTask:
    """See `jwmtool.training.task.Task`.

    Args:
        config: of the network.
        data: clips, whose latents are in `store` once the first batch is asked for.
        recipe: how it is trained.
        autoencoder: for the sheets, and its stride.
        told: what the weights shall tell besides.
    """

    name = KIND
    headline, higher_is_better = "loss", False

    def __init__(
        self, config: WorldGenConfig, data: Data, store: Store, autoencoder: Autoencoder,
        recipe: Recipe | None = None, told: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.recipe = recipe or Recipe()
        if not config.carry:
            self.recipe = replace(self.recipe, no_carried=1.0)
        self.config: Mapping[str, Any] = config.to_dict()
        self.told = dict(told or {})
        self._network, self._data, self._store, self._autoencoder = config, data, store, autoencoder
        self._groups: list[list[Stored]] | None = None
        self._scored: HeldOut | None = None

    def build(self) -> nn.Module:
        """The network with its first weights; one with a start knows how far off priors are."""
        model = build_model(self._network)
        clips = [stored for group in self._clips() for stored in group] if self._network.start_stride else []
        about = measured_spread(clips)
        if about is not None:
            model.start.measured(*about)
        return model

    def spec(self, step: int) -> Spec:
        """Of all samples of the step whose first sample, of all ranks, has that number."""
        rng = np.random.default_rng((self.recipe.seed, step, _OF_A_STEP))
        return drawn_spec(_drawn(self._clips(), rng), self.recipe, rng)

    def sample(self, index: int, spec: Spec, part: int = 0) -> dict[str, Tensor]:
        """One of the videos of sample number `index`, see `drawn_sample`; decided by the recipe's seed and these alone.

        Raises:
            InputError: a file of latents is missing or damaged.
        """
        rng = np.random.default_rng((self.recipe.seed, index, *([_OF_A_STEP + part] if part else [])))
        suited = [[stored for stored in group if spec.suits(stored)] for group in self._clips()]
        return drawn_sample(_drawn([group for group in suited if group], rng), spec, self.recipe, rng)

    def batches(self, start_index: int, size: int, rank: int, world_size: int) -> Iterator[dict[str, Tensor]]:
        """Samples stacked, short ones of several videos each; all of a step have one spec, whichever rank has them."""
        together = size * world_size
        self._clips()  # before threads ask for them

        def load(index: int) -> list[dict[str, Tensor]]:
            spec = self.spec(index - (index - start_index) % together)
            return [self.sample(index, spec, part) for part in range(self.recipe.videos(spec.views * spec.frames))]

        for batch in sample_batches(load, start_index, size, rank, world_size):
            yield stacked([video for videos in batch for video in videos])

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Mean squared error of the velocity of frames that are not known; noise comes with the samples."""
        del generator
        errors = velocity_errors(model, batch, self._autoencoder.stride)
        return errors.mean(), terms(errors.detach(), batch)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on clips kept away, with and without a prior."""
        return self._held_out().scores(model)

    def sheet(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """Videos of clips kept away."""
        return self._held_out().sheet(model, self._autoencoder)

    def _clips(self) -> list[list[Stored]]:
        if self._groups is None:
            self._groups = [[open_latents(self._store.path(part)) for part in g] for g in self._data.training]
        return self._groups

    def _held_out(self) -> HeldOut:
        if self._scored is None:
            clips = [open_latents(self._store.path(part)) for part in self._data.held_out]
            self._scored = HeldOut.of(clips, self._autoencoder.stride, self._network.carry)
        return self._scored


def _drawn(groups: list[list[Stored]], rng: np.random.Generator) -> Stored:
    """Each argument of --data equally often, then each of its clips."""
    group = groups[int(rng.integers(len(groups)))]
    return group[int(rng.integers(len(group)))]
