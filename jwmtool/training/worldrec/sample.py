"""One sample of training: a window's pictures as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.truth import has_truth
from jwmtool.geometry import se3
from jwmtool.training.worldrec.windows import Window
from jwmtool.worldrec.views import Views, load_views, working_size


@dataclass(frozen=True)
class Sample:
    """What the network is given, and what its scene is held against.

    `depth_m` of views is the best depth there is: a world's truth, or lidar; 0 everywhere where there is neither.

    Attributes:
        context, targets: views; targets may be none.
        twins: of each target, the number of the context view that is the same picture, or -1.
        exact: the depth is a world's: whole, and infinite in the sky.
        name: of the clip.
    """

    context: Views
    targets: Views
    twins: tuple[int, ...]
    exact: bool
    name: str

    @property
    def given(self) -> Views:
        """The context without any truth."""
        return replace(self.context, depth_m=None, velocity=None)

    def to(self, device: torch.device | str) -> Sample:
        """Move every tensor."""
        return replace(self, context=self.context.to(device), targets=self.targets.to(device))


def depth_of(views: Views) -> Tensor:
    """The depth that a sample's views are held against: [V, H, W] metres, 0 unknown, inf sky."""
    if views.depth_m is None:
        raise ValueError("depth_of: expected views of a sample, found views without depth")
    return views.depth_m


def load_sample(clip: Clip, window: Window, pixels: int, targets: bool = True) -> Sample:
    """Read the pictures of a window; about `pixels` a picture, at most.

    Raises:
        InputError: a picture, sweep or truth is missing or damaged.
    """
    exact = has_truth(clip)
    middle = clip.frames[window.middle]
    scene_from_world = se3.inverse(se3.orthonormalized(middle.world_from_rig))
    keys = [*window.context, *(window.targets if targets else ())]
    views = load_views(clip, keys, scene_from_world, middle.time_us, working_size(clip, pixels), truth=exact)
    if not exact:
        views = replace(views, depth_m=views.lidar_m.clone())
    count = len(window.context)
    order = {key: i for i, key in enumerate(window.context)}
    return Sample(
        views.select(torch.arange(count)),
        views.select(torch.arange(count, len(keys))),
        tuple(order.get(key, -1) for key in keys[count:]),
        exact,
        clip.name,
    )
