"""The scene in memory: Gaussians and what is needed to render them. HDF5 reading and writing is in `scene_io.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.clip import ClipCamera
from jwmtool.artifacts.tokens import Tokens
from jwmtool.gaussians.exposure import Exposure
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera


@dataclass(frozen=True)
class Scene:
    """An explicit 3D/4D Gaussian scene.

    Attributes:
        gaussians: in the scene frame, float32 metres.
        world_from_scene: [4, 4] float64.
        time_origin_us: the time that Gaussian times count from.
        sky: cubemap [6, R, R, 3] (see `gaussians/sky.py`; axes of the scene frame), or None: black.
        sky_weight: [6, R, R] how much of each of its texels was seen, for later fusion; None: unknown.
        exposure: by camera name; a camera without one renders as is.
        cameras: the rig that saw the scene, by name.
        ego_times_us: [F]; ego_world_from_rig: [F, 4, 4]. The recorded path.
        actors: one dict an actor (id, category, size).
        tokens: what later fusion holds new pictures against; None for a scene that was fitted, edited or imported.
        history: provenance records, oldest first.
    """

    gaussians: Gaussians
    world_from_scene: NDArray[np.float64]
    time_origin_us: int = 0
    sky: Tensor | None = None
    exposure: dict[str, Exposure] = field(default_factory=dict)
    cameras: dict[str, ClipCamera] = field(default_factory=dict)
    ego_times_us: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    ego_world_from_rig: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4, 4)))
    actors: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    tokens: Tokens | None = None
    sky_weight: Tensor | None = None

    def __post_init__(self) -> None:
        if self.tokens is not None and len(self.tokens.of_gaussian) != len(self.gaussians):
            # Gaussians were chosen or changed without their tokens: those would belong to others now.
            object.__setattr__(self, "tokens", None)
        if self.sky_weight is not None and (self.sky is None or self.sky.shape[:3] != self.sky_weight.shape):
            object.__setattr__(self, "sky_weight", None)

    def local(self, camera: Camera) -> Camera:
        """A world camera told in the scene frame."""
        return camera.in_frame(se3.inverse(self.world_from_scene))

    def seconds(self, time_us: int) -> float:
        """Seconds since the scene's time origin."""
        return (int(time_us) - self.time_origin_us) * 1e-6
