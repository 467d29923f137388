"""Several processes, one model: torchrun's environment, process group, and sharding with FSDP2.

Parameters, gradients, optimizer state and averaged weights are sharded over all ranks (Zhao et al. 2023, in the
per-parameter form of `torch.distributed.fsdp.fully_shard`). One process needs none of it and starts no group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from jwmtool import console
from jwmtool.errors import UsageError

_SETTLE_S = 0.2
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # set by torchrun


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank, world_size: number of this process, of how many.
        device: where its share of the work is done.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True for the one that writes and talks."""
        return self.rank == 0

    def largest(self, values: Sequence[float]) -> list[float]:
        """Of each value the largest over all ranks, so that all decide alike."""
        return self._reduced(values, dist.ReduceOp.MAX) if self.world_size > 1 else list(values)

    def mean(self, value: float) -> float:
        """The mean over all ranks; NaN where one has NaN."""
        return self._reduced([value], dist.ReduceOp.SUM)[0] / self.world_size if self.world_size > 1 else value

    def from_main(self, text: str) -> str:
        """What rank 0 passed; the others wait for it."""
        box = [text]
        if self.world_size > 1:
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.world_size > 1:
            self._reduced([0.0], dist.ReduceOp.SUM)

    def _reduced(self, values: Sequence[float], operation: Any) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, operation)
        return tensor.tolist()


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the other processes that torchrun started, for as long as the block runs; alone without torchrun.

    Args:
        device: `cpu` (gloo) or `cuda` (nccl; each process takes the GPU of its local rank).

    Raises:
        UsageError: torchrun's variables make no sense, or there are fewer GPUs than local processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(0, 1, torch.device(device))
        return
    missing = [name for name in _VARIABLES if not os.environ.get(name, "").isdigit()]
    if missing:
        raise UsageError(f"WORLD_SIZE is set, but not {missing[0]}: start several processes with torchrun")
    rank, world_size, local_rank = (int(os.environ[name]) for name in _VARIABLES)
    place = torch.device(device)
    if device == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise UsageError(f"process {local_rank} of this machine finds {torch.cuda.device_count()} GPUs: one each")
        place = torch.device("cuda", local_rank)
        torch.cuda.set_device(place)
    # Saving needs collectives on the CPU also where training runs on CUDA.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
    if rank > 0:
        console.set_verbosity(-1)
    try:
        yield Ranks(rank, world_size, place)
    finally:
        dist.destroy_process_group()
        # torch's caches keep the group and its threads. One that still lets go of its last tensor when the interpreter
        # ends would abort the process, about one exit in fifteen; asleep, this thread leaves it the GIL to do so.
        time.sleep(_SETTLE_S)


def shard(model: nn.Module, ranks: Ranks) -> None:
    """Shard a model in place over all ranks: each block of its `nn.ModuleList`s, then the rest. Alone: nothing.

    Every rank must hold the same weights before. Parameters become DTensors; `forward` gathers a block's just before
    use.
    """
    if ranks.world_size == 1:
        return
    # Weights in channels-last order, which are faster on a CPU, cannot be sharded.
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    mesh = init_device_mesh(ranks.device.type, (ranks.world_size,))
    for block in [*_blocks(model), model]:
        # Also the root gives its parameters back after forward: evaluation leaves none gathered, so that what is
        # saved, averaged and swapped is always the shard.
        fully_shard(block, mesh=mesh, reshard_after_forward=True)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sharded tensors gathered, on the CPU. All ranks call it alike."""
    return {name: _gathered(tensor.detach()).cpu() for name, tensor in tensors.items()}


def whole_value(tensor: Tensor) -> float:
    """The number in a scalar that may be a DTensor. All ranks call it alike."""
    return float(_gathered(tensor.detach()))


def _gathered(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _blocks(model: nn.Module) -> list[nn.Module]:
    """Members of module lists that have parameters, inner ones first."""
    found: dict[nn.Module, None] = {}
    for module in reversed(list(model.modules())):
        if isinstance(module, nn.ModuleList):
            for block in module:
                container = isinstance(block, (nn.ModuleList, nn.ModuleDict))
                if not container and any(True for _ in block.parameters()):
                    found[block] = None
    return list(found)
