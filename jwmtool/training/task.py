"""What the training loop has to know of a model and its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor, nn


class Task(Protocol):
    """A model, its data, its loss and its score on held-out data.

    Under torchrun every method is called on all ranks alike, so that all take part in the model's collectives; what
    rank 0 returns is logged. Always call the model itself (`model(...)`), never a method of it: sharded parameters
    are gathered around `forward`. Its repeated blocks stand in `nn.ModuleList`s, by which it is sharded.

    Attributes:
        name: one word for progress and logs.
        config: JSON values that rebuild the model; saved with its weights, as are those of an attribute `told`, if
            there is one.
        headline: the key of `evaluate` that decides which weights are best.
        higher_is_better: which way.
    """

    name: str
    config: Mapping[str, Any]
    headline: str
    higher_is_better: bool

    def build(self) -> nn.Module:
        """The model with its first weights, on the CPU; all random numbers are seeded before."""
        ...

    def batches(self, start_index: int, size: int, rank: int, world_size: int) -> Iterator[Any]:
        """This rank's batches without end, `size` samples each, all ranks' together world_size * size a step.

        Decided by the arguments alone, so that a resumed run sees what an uninterrupted one would have seen: draw
        nothing from global generators.

        Args:
            start_index: samples that all ranks have consumed together before.

        Returns:
            Tensors, or dicts, lists and tuples of them and of anything else; the loop moves tensors to the device.
        """
        ...

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The loss as a mean over the samples, and its terms by name for the log (floats or scalar tensors).

        Args:
            generator: a CPU generator, seeded for this step and rank.
        """
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score the averaged weights on held-out data; in eval mode, without gradients, the same seed each time."""
        ...

    def sheet(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """A picture [H, W, 3] of what the model does now, or None."""
        ...
