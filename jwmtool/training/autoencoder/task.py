"""The image autoencoder as a task of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from jwmtool.artifacts.clip import Clip
from jwmtool.training.autoencoder.degrade import degraded
from jwmtool.training.autoencoder.held_out import Scored, held_out_scores, held_out_sheet, scored_pictures
from jwmtool.training.autoencoder.loss import autoencoder_loss
from jwmtool.training.autoencoder.pictures import Key, Shape, load_picture, recolored, shape_of, usable_keys
from jwmtool.training.autoencoder.recipe import Recipe
from jwmtool.training.clips import Data, OpenClips
from jwmtool.training.prefetch import sample_batches
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_checkpoint import KIND
from jwmtool.worldgen.autoencoder_config import AutoencoderConfig
from jwmtool.worldgen.autoencoder_start import start_linear

_TRIES = 16  # to find a picture of a batch's shape
_OF_A_STEP = 1  # sets what is drawn for a step apart from what is drawn for its first sample


class AutoencoderTask:
    """See `jwmtool.training.task.Task`.

    Args:
        config: of the network.
        data: clips.
        recipe: how it is trained.
    """

    name = KIND
    headline, higher_is_better = "psnr", True

    def __init__(self, config: AutoencoderConfig, data: Data, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()
        self.config: Mapping[str, Any] = config.to_dict()
        self._network, self._data = config, data
        self._clips = OpenClips()
        self._scored: list[Scored] | None = None

    def build(self) -> nn.Module:
        """The network with its first weights."""
        network = Autoencoder(self._network)
        start_linear(network)
        return network

    def shape(self, step: int) -> Shape:
        """Of all pictures of the step whose first sample, of all ranks, has that number."""
        clip, key = self._drawn(np.random.default_rng((self.recipe.seed, step, _OF_A_STEP)))
        return shape_of(clip, key, self.recipe.shapes)

    def sample(self, index: int, shape: Shape) -> dict[str, Tensor]:
        """Sample number `index`; decided by the recipe's seed, the number and the shape alone.

        Returns:
            `images`, and a prior's `color` [3, H, W] and `coverage` [1, H, W], which are 0 without one.

        Raises:
            InputError: a clip is damaged.
        """
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, index))
        clip, key = self._drawn(rng, shape)
        zoom = float(np.exp(rng.uniform(0.0, np.log(recipe.zoom))))
        picture = load_picture(clip, key, shape, zoom, (float(rng.random()), float(rng.random())))
        picture = recolored(picture, rng, recipe.light)
        if rng.random() < recipe.flip:
            picture = picture[:, ::-1]
        picture = np.ascontiguousarray(picture)
        color, coverage = np.zeros_like(picture), np.zeros_like(picture[..., :1])
        if rng.random() < recipe.prior:
            color, coverage = degraded(picture, rng)
        found = {"images": picture, "color": color, "coverage": coverage}
        return {name: torch.from_numpy(array.transpose(2, 0, 1).copy()) for name, array in found.items()}

    def batches(self, start_index: int, size: int, rank: int, world_size: int) -> Iterator[dict[str, Tensor]]:
        """Samples stacked; all of a step have one shape, whichever rank takes them."""
        together = size * world_size

        def load(index: int) -> dict[str, Tensor]:
            return self.sample(index, self.shape(index - (index - start_index) % together))

        for batch in sample_batches(load, start_index, size, rank, world_size):
            yield {name: torch.stack([sample[name] for sample in batch]) for name in batch[0]}

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The pictures' mean loss; the latents' moments are those of this batch together."""
        images = batch["images"]
        cells = (self._network.channels, *(side // self._network.stride for side in images.shape[2:]))
        noise = self.recipe.noise * torch.randn(len(images), *cells, generator=generator).to(images.device)
        # Also samples without a prior pass through its branch: all ranks must have gradients for the same weights.
        prior = (batch["color"], batch["coverage"]) if self._network.prior_skip else (None, None)
        return autoencoder_loss(model(images, *prior, noise), images, self.recipe.weights)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Scores on pictures of clips kept away."""
        return held_out_scores(model, self._held_out(), self._network.prior_skip)

    def sheet(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """A few of those pictures."""
        return held_out_sheet(model, self._held_out(), self._network.prior_skip)

    def _held_out(self) -> list[Scored]:
        if self._scored is None:
            clips = [(self._clips.get(part.folder), part) for part in self._data.held_out]
            self._scored = scored_pictures(clips, self.recipe.shapes)
        return self._scored

    def _drawn(self, rng: np.random.Generator, shape: Shape | None = None) -> tuple[Clip, Key]:
        """A picture that suits a shape, if one is found in a few draws; it is cut to that shape all the same."""
        for _ in range(_TRIES):
            part = self._data.draw(rng)
            clip = self._clips.get(part.folder)
            keys = usable_keys(clip, part)
            key = keys[int(rng.integers(len(keys)))]
            if shape is None or shape_of(clip, key, self.recipe.shapes) == shape:
                break
        return clip, key
