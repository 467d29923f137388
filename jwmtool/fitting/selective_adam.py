"""Adam over rows of which a step touches only some: the others keep their values and their moments, as in gsplat."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numba
import numpy as np
import torch
from torch import Tensor

from jwmtool.threads import chunks_of, in_threads

_EPS = 1e-15
_ONE, _TINY = np.float32(1.0), np.float32(_EPS)  # plain numbers would make float64 of all


class SelectiveAdam:
    """Adam (Kingma and Ba 2015) over the rows of a tensor, each with its own count of steps.

    Attributes:
        value: [N, ...] float32, contiguous; steps change it in place.
    """

    def __init__(self, value: Tensor, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.value, self.betas = value.contiguous(), betas
        self.mean, self.square = torch.zeros_like(self.value), torch.zeros_like(self.value)
        self.count = torch.zeros(len(value), device=value.device)

    def step(self, rows: Tensor, grad: Tensor, rate: float) -> None:
        """Move `rows` [M], each given once, against `grad` [M, ...]."""
        if self.value.device.type == "cpu":
            self._step_cpu(rows, grad, rate)
        else:
            self._step_torch(rows, grad, rate)

    def _step_cpu(self, rows: Tensor, grad: Tensor, rate: float) -> None:
        """One pass over the rows, where torch takes a dozen."""
        moments = [tensor.detach().view(len(self.count), -1).numpy() for tensor in (self.value, self.mean, self.square)]
        gradient = grad.detach().reshape(len(rows), -1).contiguous().numpy()
        first, second = map(np.float32, self.betas)
        count, chosen, move = self.count.numpy(), rows.numpy(), cast(Callable[..., None], _move)

        def some(chunk: tuple[int, int]) -> None:
            part = slice(*chunk)
            move(*moments, count, chosen[part], gradient[part], first, second, np.float32(rate))

        in_threads(some, chunks_of(len(chosen)))

    def _step_torch(self, rows: Tensor, grad: Tensor, rate: float) -> None:
        first, second = self.betas
        mean = self.mean[rows].lerp_(grad, 1.0 - first)
        square = self.square[rows].mul_(second).addcmul_(grad, grad, value=1.0 - second)
        count = self.count[rows] + 1.0
        self.mean[rows], self.square[rows], self.count[rows] = mean, square, count
        shape = (-1,) + (1,) * (grad.ndim - 1)
        unbiased = mean / (1.0 - first**count).reshape(shape)
        spread = (square / (1.0 - second**count).reshape(shape)).sqrt_().add_(_EPS)
        self.value[rows] -= rate * unbiased / spread


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _move(value, mean, square, count, rows, grad, first, second, rate):  # type: ignore[no-untyped-def]
    for m in range(len(rows)):
        row = rows[m]
        count[row] += _ONE
        less_first, less_second = _ONE - first ** count[row], _ONE - second ** count[row]
        for k in range(value.shape[1]):
            g = grad[m, k]
            mean[row, k] += (_ONE - first) * (g - mean[row, k])
            square[row, k] = second * square[row, k] + (_ONE - second) * g * g
            spread = np.sqrt(square[row, k] / less_second) + _TINY
            value[row, k] -= rate * (mean[row, k] / less_first) / spread
