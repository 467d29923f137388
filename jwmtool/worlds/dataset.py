"""Worlds as training data, made while training: short windows with all truth, endless and never twice the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from jwmtool.artifacts.truth import ARRAYS
from jwmtool.errors import UsageError
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.spec import KINDS, RANDOM, WorldSpec
from jwmtool.worlds.world import World, make_world


@dataclass(frozen=True)
class WindowSpec:
    """What windows hold. Tuples are drawn from, window by window.

    Attributes:
        kinds, rigs: of the worlds (rigs may be JSON files; those of one batch should have as many cameras).
        width, height: px.
        num_frames: of a window; rate_hz: frames a second.
        windows_per_world: windows cut from one world, at random times, before the next is built (building costs as
            much as some images).
        world_duration_s: length of a world; at least a window's.
        weather, time_of_day, event: as in `WorldSpec`; `random` draws for each world.
        arrays: which truth to add, names of `artifacts.truth.ARRAYS`.
    """

    kinds: tuple[str, ...] = KINDS
    rigs: tuple[str | Path, ...] = ("front1",)
    width: int = 224
    height: int = 128
    num_frames: int = 20
    rate_hz: float = 10.0
    windows_per_world: int = 4
    world_duration_s: float = 8.0
    weather: str = RANDOM
    time_of_day: str = RANDOM
    event: str = RANDOM
    supersampling: int = 2
    arrays: tuple[str, ...] = ("depth", "flow", "semantic")

    def __post_init__(self) -> None:
        if min(self.num_frames, self.windows_per_world) < 1 or not self.kinds or not self.rigs:
            raise UsageError("world windows: expected at least one frame, window, kind and rig")
        if self.num_frames / self.rate_hz > self.world_duration_s + 1e-6:
            raise UsageError(
                f"world windows: {self.num_frames} frames at {self.rate_hz:g} Hz need more than a world's "
                f"{self.world_duration_s:g} s"
            )
        unknown = [name for name in self.arrays if name not in ARRAYS]
        if unknown:
            raise UsageError(f"world windows: expected arrays from {', '.join(ARRAYS)}, found {unknown[0]!r}")


class WorldWindows(IterableDataset[dict[str, Any]]):
    """Yields windows without end; what a window holds is decided by (seed, number) alone.

    World w holds windows w * windows_per_world and following. Worlds are dealt out to ranks and loader workers in turn,
    so that all windows of a world come from one process; a single process yields windows 0, 1, 2 ... To resume, pass as
    `start` how many windows all ranks have consumed together: exact where every worker has yielded equally many.

    Args:
        spec: what windows hold.
        seed: of all draws.
        start: windows consumed before.
        rank, world_size: of this process; by default torch.distributed's if it runs, else 0 of 1.
    """

    def __init__(
        self,
        spec: WindowSpec = WindowSpec(),
        seed: int = 0,
        start: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__()
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.spec, self.seed, self.start = spec, seed, start
        self.rank = rank if rank is not None else torch.distributed.get_rank() if distributed else 0
        self.world_size = world_size or (torch.distributed.get_world_size() if distributed else 1)
        if not 0 <= self.rank < self.world_size or start < 0:
            raise UsageError(f"world windows: rank {rank} of {world_size} from window {start} makes no sense")
        self._built: tuple[int, World] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Windows of this process's share."""
        worker = get_worker_info()
        num_workers, worker_id = (1, 0) if worker is None else (worker.num_workers, worker.id)
        shares, share = self.world_size * num_workers, self.rank * num_workers + worker_id
        per_world = self.spec.windows_per_world
        worlds_done, skip = divmod(self.start // shares, per_world)
        world = share + worlds_done * shares
        while True:
            for window in range(skip, per_world):
                yield self.window(world * per_world + window)
            world, skip = world + shares, 0

    def window(self, number: int) -> dict[str, Any]:
        """One window by its number.

        Returns:
            number: int. kind, weather, time_of_day, event: str.
            images: uint8 [T, V, 3, H, W]. K: float32 [V, 3, 3]. times_s: float64 [T].
            world_from_cam: float64 [T, V, 4, 4]. world_from_rig: float64 [T, 4, 4].
            actions: float32 [T, 4]: speed m/s, acceleration m/s2, yaw rate rad/s, curvature 1/m.
            and the truth asked for: [T, V, C, H, W] or [T, V, H, W], see `artifacts.truth.ARRAYS`; normals are unit.
        """
        index, part = divmod(number, self.spec.windows_per_world)
        world = self._world(index)
        stream = Stream(self.seed, f"window/{index}/{part}")
        first = stream.integer(0, world.num_frames - self.spec.num_frames + 1)
        frames = range(first, first + self.spec.num_frames)
        names = [camera.name for camera in world.description.rig.cameras]
        views = [[world.view(frame, name, self.spec.supersampling) for name in names] for frame in frames]
        cameras = [[world.camera(frame, name) for name in names] for frame in frames]
        drawn = world.description.spec
        item: dict[str, Any] = {
            "number": number,
            "kind": drawn.kind,
            "weather": drawn.weather,
            "time_of_day": drawn.time_of_day,
            "event": drawn.event,
            "times_s": torch.tensor([world.frame_time_s(frame) for frame in frames], dtype=torch.float64),
            "images": _channels_first(np.array([[view.image for view in row] for row in views])),
            "K": torch.from_numpy(np.array([camera.K for camera in cameras[0]], np.float32)),
            "world_from_cam": torch.from_numpy(np.array([[c.world_from_cam for c in row] for row in cameras])),
            "world_from_rig": torch.from_numpy(np.array([world.world_from_rig(frame) for frame in frames])),
            "actions": torch.from_numpy(np.array([world.controls(frame) for frame in frames], np.float32)),
        }
        for name in self.spec.arrays:
            item[name] = _channels_first(np.array([[getattr(view, name) for view in row] for row in views]))
        return item

    def world_spec(self, index: int) -> tuple[WorldSpec, str | Path]:
        """The world number `index`, and the rig that films it."""
        stream = Stream(self.seed, f"world/{index}")
        spec = WorldSpec(
            stream.choice(self.spec.kinds),
            stream.word(),
            self.spec.world_duration_s,
            self.spec.rate_hz,
            self.spec.width,
            self.spec.height,
            self.spec.weather,
            self.spec.time_of_day,
            self.spec.event,
        )
        return spec, stream.choice(self.spec.rigs)

    def resumed(self, start: int) -> WorldWindows:
        """The same data after `start` windows."""
        return WorldWindows(self.spec, self.seed, start, self.rank, self.world_size)

    def _world(self, index: int) -> World:
        if self._built is None or self._built[0] != index:
            self._built = None  # the old one's memory is free before the next is built
            spec, rig = self.world_spec(index)
            self._built = index, make_world(spec, rig, lidar="none")
        return self._built[1]


def _channels_first(stack: np.ndarray[Any, Any]) -> torch.Tensor:
    """[T, V, H, W, C] to [T, V, C, H, W]; [T, V, H, W] stays. uint16 becomes int32, for which torch has arithmetic."""
    array = stack.astype(np.int32) if stack.dtype == np.uint16 else stack
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 2) if array.ndim == 5 else array))
