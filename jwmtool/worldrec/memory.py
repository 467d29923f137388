"""What fusion remembers of pictures: views and their depth maps, to hold tokens against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.views import Views

_REMEMBERED_S = 20.0


@dataclass(frozen=True)
class Memory:
    """Views of a window, or a few of several, with their depth: what new patches are held against."""

    views: Views
    depth: DepthMaps

    def moved(self, new_from_old: Tensor) -> Memory:
        """Told in another frame."""
        poses = new_from_old.to(self.views.scene_from_cam) @ self.views.scene_from_cam
        return replace(self, views=replace(self.views, scene_from_cam=poses))

    def select(self, rows: Tensor) -> Memory:
        """Some of the views."""
        depth = self.depth
        some = DepthMaps(depth.inverse[rows], depth.log_error[rows], depth.sky[rows], depth.plane_logits)
        return Memory(self.views.select(rows), some)

    @staticmethod
    def concat(parts: Sequence[Memory]) -> Memory:
        """Views of several windows as one memory."""
        views = [part.views for part in parts]
        plain = {
            f.name: torch.cat([getattr(v, f.name) for v in views])
            for f in fields(Views)
            if all(getattr(v, f.name) is not None for v in views)
        }
        depth = DepthMaps(*(torch.cat([getattr(p.depth, f.name) for p in parts]) for f in fields(DepthMaps)))
        return Memory(Views(**plain), depth)


def remembered(latest: Memory, earlier: Memory | None) -> Memory:
    """A memory of windows before the latest: one view of each camera from its middle."""
    times = latest.views.times_s.unique()
    middle = times[len(times) // 2]
    kept = latest.select((latest.views.times_s == middle).nonzero()[:, 0])
    if earlier is None:
        return kept
    both = Memory.concat([earlier, kept])
    return both.select((both.views.times_s > middle - _REMEMBERED_S).nonzero()[:, 0])


def plain(depth: DepthMaps) -> DepthMaps:
    """Off the graph, without what only training needs."""
    return DepthMaps(depth.inverse.detach(), depth.log_error.detach(), depth.sky.detach(), depth.inverse[:0])
