"""What a training run is made of between two steps: model, AdamW, averaged weights, counters."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from jwmtool.training.distributed import whole, whole_value
from jwmtool.training.settings import TrainSettings

BUILD, TRAIN, EVALUATE = range(3)  # what random numbers are drawn for


@dataclass
class Counters:
    """Plain values of a run; saved as JSON.

    Attributes:
        step: steps taken, skipped ones included; samples: consumed by all ranks, where the data goes on.
        elapsed_s: of the budget, over all resumed runs.
        skipped: steps without a finite loss and gradient; skipped_in_a_row: of them, the latest.
        evaluated_step, evaluated_at_s: of the latest evaluation, -1 before the first; held_out: what it gave.
        saved_at_s: elapsed at the latest save.
    """

    step: int = 0
    samples: int = 0
    elapsed_s: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    evaluated_step: int = -1
    evaluated_at_s: float = 0.0
    held_out: dict[str, float] = field(default_factory=dict)
    saved_at_s: float = 0.0


class TrainState:
    """A model in training. `tensors` and `counters` together are all that a resumed run needs.

    Random states need no saving: `seed_everything` sets them anew before each step from (seed, step, rank). So an
    evaluation or a save, whose times depend on the machine, cannot change what is drawn after it.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings) -> None:
        self.model, self.settings, self.counters = model, settings, Counters()
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        decayed = [p for p in self.trained.values() if p.ndim >= 2]
        others = [p for p in self.trained.values() if p.ndim < 2]
        self.adam = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
        )
        for p in self.trained.values():
            # As AdamW would fill it at the first gradient, so that a saved state always has the same keys.
            self.adam.state[p] = {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        self.averaged = {name: p.detach().clone() for name, p in self.trained.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the run by a unique name, sharing memory with the run: loading fills them in place."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        found |= {f"averaged.{name}": value for name, value in self.averaged.items()}
        for name, p in self.trained.items():
            found |= {f"adam.{name}.{key}": value for key, value in self.adam.state[p].items()}
        return found

    def apply_gradients(self, loss: float, learning_rate: float) -> float:
        """One AdamW step on the gradients at hand, unless they or the loss are not finite; returns their norm.

        Args:
            loss: the mean over all ranks, so that all skip alike.
        """
        parameters = list(self.trained.values())
        limit = self.settings.grad_clip or math.inf
        norm = whole_value(torch.nn.utils.clip_grad_norm_(parameters, limit))
        counters = self.counters
        if math.isfinite(loss) and math.isfinite(norm):
            for group in self.adam.param_groups:
                group["lr"] = learning_rate
            self.adam.step()
            self._average()
            counters.skipped_in_a_row = 0
        else:
            counters.skipped += 1
            counters.skipped_in_a_row += 1
        self.adam.zero_grad(set_to_none=True)
        counters.step += 1
        return norm

    @contextmanager
    def with_averaged(self) -> Iterator[nn.Module]:
        """The model in eval mode with its averaged weights, for as long as the block runs."""
        own = {name: p.detach().clone() for name, p in self.trained.items()}
        self._set(self.averaged)
        self.model.eval()
        try:
            yield self.model
        finally:
            self._set(own)
            self.model.train()

    def averaged_weights(self) -> dict[str, Tensor]:
        """The model's whole state_dict with averaged weights, on the CPU. All ranks call it alike."""
        with self.with_averaged() as model:
            return {name: value.clone() for name, value in whole(model.state_dict()).items()}

    @torch.no_grad()
    def _average(self) -> None:
        # Before its memory is full the average would be mostly the first weights (as in TensorFlow's num_updates).
        done = self.counters.step - self.counters.skipped
        decay = min(self.settings.ema_decay, (1.0 + done) / (10.0 + done))
        for name, p in self.trained.items():
            self.averaged[name].lerp_(p.detach(), 1.0 - decay)

    @torch.no_grad()
    def _set(self, values: dict[str, Tensor]) -> None:
        for name, p in self.trained.items():
            p.copy_(values[name])


def seed_everything(settings: TrainSettings, purpose: int, step: int = 0, rank: int = 0) -> torch.Generator:
    """Seed torch, numpy and Python for one step of one rank; returns a CPU generator seeded likewise."""
    words = np.random.SeedSequence((settings.seed, purpose, step, rank)).generate_state(4)
    first, second, third, fourth = (int(word) for word in words)
    torch.manual_seed(first)
    np.random.seed(second)  # noqa: NPY002 (libraries that tasks call may draw from it)
    random.seed(third)
    return torch.Generator().manual_seed(fourth)
