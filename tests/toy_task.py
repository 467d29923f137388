"""A task for the training loop: a small conv net that fits fixed random images. Also a program, for torchrun."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

NUM_IMAGES = 32


class ToyNet(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(width, 3, 1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        x = self.first(x)
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.last(x)


class ToyTask:
    """`on_step(number of the loss call) -> factor`: may raise, kill, or return NaN for a loss that is none."""

    headline = "psnr"
    higher_is_better = True

    def __init__(self, noise: float = 0.1, width: int = 6, on_step: Callable[[int], float] | None = None) -> None:
        self.name, self.config = "toy", {"width": width}
        self.noise, self.width, self.on_step = noise, width, on_step
        self.calls = 0
        self.seen: list[list[int]] = []
        images = torch.rand(NUM_IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(7))
        self.images, self.targets = images, images.flip(1).roll(1, -1)

    def build(self) -> nn.Module:
        return ToyNet(self.width)

    def batches(self, start_index: int, size: int, rank: int, world_size: int) -> Iterator[dict[str, Any]]:
        while True:
            numbers = [(start_index + i * world_size + rank) % NUM_IMAGES for i in range(size)]
            start_index += size * world_size
            yield {"numbers": numbers, "x": self.images[numbers], "y": self.targets[numbers]}

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        self.seen.append(batch["numbers"])
        factor = 1.0 if self.on_step is None else self.on_step(self.calls)
        self.calls += 1
        # Every source of random numbers takes part, so that a resume which forgot one would show.
        numbers = torch.randn(()) + float(np.random.rand()) + random.random()  # noqa: NPY002
        noise = torch.randn(batch["x"].shape, generator=generator) + numbers
        error = model(batch["x"] + self.noise * noise.to(batch["x"].device)) - batch["y"]
        loss = error.square().mean() * factor
        return loss, {"l1": error.abs().mean(), "constant": 2.0}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training and not torch.is_grad_enabled()
        torch.randn(5)  # must not matter
        device = next(model.parameters()).device
        mse = (model(self.images.to(device)) - self.targets.to(device)).square().mean()
        return {"psnr": float(-10.0 * mse.log10()), "mse": float(mse)}

    def sheet(self, model: nn.Module) -> NDArray[np.uint8] | None:
        device = next(model.parameters()).device
        picture = model(self.images[:1].to(device))[0].clamp(0, 1).permute(1, 2, 0)
        return (picture.cpu().float().numpy() * 255).astype(np.uint8)


if __name__ == "__main__":
    from jwmtool.training.loop import train
    from jwmtool.training.run import Run
    from jwmtool.training.settings import TrainSettings

    folder, max_steps, every_s, resume, device = sys.argv[1:]
    train(
        ToyTask(noise=0.0),
        TrainSettings(batch=8, lr=1e-2, warmup=2, save_every_s=float(every_s), log_every=1),
        Run(Path(folder), device, max_steps=int(max_steps), resume=resume == "resume"),
    )
