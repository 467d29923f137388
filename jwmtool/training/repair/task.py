"""The repair network as a task of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from jwmtool.imaging.pixels import as_picture
from jwmtool.imaging.push_pull import push_pull
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.training.autoencoder.pictures import Shape
from jwmtool.training.clips import Data, Part
from jwmtool.training.prefetch import sample_batches
from jwmtool.training.repair.recipe import Recipe
from jwmtool.training.repair.store import count_pairs, read_pairs
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.repair import CHANNELS, KIND, Repair, RepairConfig, Seen, repaired

_FLOOR = 1e-4  # squared error below which a picture is good enough
_EACH, _SHOWN = 8, 6  # pictures scored of a held-out clip, rows of the sheet
_OF_A_STEP = 1  # sets what is drawn for a step apart from what is drawn for its first sample


class RepairTask:
    """See `jwmtool.training.task.Task`.

    Args:
        config: of the network.
        data: clips, prepared in `store`.
        recipe: how it is trained.
        made_with: JSON values saved with the weights: whose renders they repair.
    """

    name = KIND
    headline, higher_is_better = "psnr", True

    def __init__(
        self, config: RepairConfig, data: Data, store: Store, recipe: Recipe, made_with: Mapping[str, Any]
    ) -> None:
        self.recipe, self.told = recipe, dict(made_with)
        self.config: Mapping[str, Any] = config.to_dict()
        self._network, self._data, self._store = config, data, store
        self._count = lru_cache(maxsize=None)(lambda part: count_pairs(store.path(part)))
        self._shape = lru_cache(maxsize=None)(self._shape_of)

    def build(self) -> nn.Module:
        """The network with its first weights."""
        return Repair(self._network)

    def sample(self, index: int, shape: Shape) -> dict[str, Tensor]:
        """Sample number `index`; decided by the recipe's seed, the number and the shape alone.

        Returns:
            The fields of `Seen` and `true`, each [C, H, W].

        Raises:
            InputError: a file of the store is damaged.
        """
        rng = np.random.default_rng((self.recipe.seed, index))
        part = self._data.draw_fitting(rng, lambda part: self._shape(part) == shape)
        row = int(rng.integers(self._count(part)))
        seen, true = read_pairs(self._store.path(part), slice(row, row + 1))
        if rng.random() < self.recipe.cut:
            seen = with_rectangles(seen, rng, both=bool(rng.random() < self.recipe.cut_both))
        found = {name: part[0] for name, part in seen.maps().items()} | {"true": true[0]}
        light = float(np.exp(rng.normal(0.0, self.recipe.light)))
        for name in ("color", "carried", "still", "true"):
            found[name] = found[name] * light
        if rng.random() < self.recipe.flip:
            found = {name: tensor.flip(2) for name, tensor in found.items()}
        return found

    def batches(self, start_index: int, size: int, rank: int, world_size: int) -> Iterator[dict[str, Tensor]]:
        """Samples stacked; all of a step have one shape, whichever rank takes them."""
        together = size * world_size

        def load(index: int) -> dict[str, Tensor]:
            step = index - (index - start_index) % together
            part = self._data.draw(np.random.default_rng((self.recipe.seed, step, _OF_A_STEP)))
            return self.sample(index, self._shape(part))

        for batch in sample_batches(load, start_index, size, rank, world_size):
            yield {name: torch.stack([sample[name] for sample in batch]) for name in batch[0]}

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The mean logarithm of the pictures' squared errors: dark pictures count as much as bright ones."""
        seen = Seen(**{name: batch[name] for name in CHANNELS})
        errors = (model(seen) - batch["true"]).square().flatten(1).mean(1)
        before = (seen.color - batch["true"]).square().flatten(1).mean(1)
        gain_db = 10.0 * torch.log10((before + _FLOOR) / (errors.detach() + _FLOOR)).mean()
        return torch.log(errors + _FLOOR).mean(), {"gain_db": gain_db}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR of pictures of clips kept away: repaired, and as rendered."""
        rows = [(_psnr(made, true), _psnr(seen.color, true)) for seen, made, true in self._held_out(model)]
        after, before = (float(torch.cat(values).mean()) for values in zip(*rows, strict=True))
        return {"psnr": after, "psnr_render": before, "gain_db": after - before}

    def sheet(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """Rows: rendered, the other picture carried, repaired, true."""
        shown: list[NDArray[np.uint8]] = []
        for seen, made, true in self._held_out(model):
            columns = (seen.color, seen.carried, made, true)
            shown += [as_picture(column[-1]) for column in columns]
        shape = shown[0].shape
        rows = [shown[k : k + 4] for k in range(0, len(shown), 4) if shown[k].shape == shape][:_SHOWN]
        labels = ["rendered", "carried", "repaired", "true"] * len(rows)
        return contact_sheet([picture for row in rows for picture in row], labels, columns=4)

    def _held_out(self, model: nn.Module) -> Iterator[tuple[Seen, Tensor, Tensor]]:
        for part in self._data.held_out:
            count = self._count(part)
            seen, true = read_pairs(self._store.path(part), slice(0, count, max(1, count // _EACH)))
            yield seen, repaired(model, seen), true

    def _shape_of(self, part: Part) -> Shape:
        _, true = read_pairs(self._store.path(part), slice(0, 1))
        return true.shape[3], true.shape[2]


def with_rectangles(seen: Seen, rng: np.random.Generator, both: bool = False) -> Seen:
    """Two rectangles of a third to a half of width and height cut out of all renders, alike, and filled.

    Args:
        both: out of the other pictures, too.
    """
    left = np.ones(seen.coverage.shape[-2:], np.float32)
    for _ in range(2):
        sides = [int(rng.integers(side // 3, side // 2 + 1)) for side in left.shape]
        row, column = (int(rng.integers(whole - side + 1)) for whole, side in zip(left.shape, sides, strict=True))
        left[row : row + sides[0], column : column + sides[1]] = 0.0
    kept = torch.from_numpy(left)

    def filled(pictures: Tensor) -> Tensor:
        made = [push_pull(np.ascontiguousarray(p.permute(1, 2, 0).numpy()), left) for p in pictures]
        return torch.from_numpy(np.array(made, np.float32)).permute(0, 3, 1, 2).contiguous()

    seen = replace(seen, color=filled(seen.color), coverage=seen.coverage * kept)
    if not both:
        return seen
    return replace(
        seen, carried=filled(seen.carried), carried_coverage=seen.carried_coverage * kept, still=filled(seen.still)
    )


def _psnr(made: Tensor, true: Tensor) -> Tensor:  # [N] dB
    return -10.0 * torch.log10((made - true).square().flatten(1).mean(1).clamp(min=1e-10))
