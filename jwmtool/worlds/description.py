"""A world in plain numbers: where everything is and how it moves, before any triangle is made.

The description decides the world. Its hash is the same on every machine for the same spec, because numbers are
hashed rounded to a tenth of a millimetre, far above what math libraries differ by.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.spec import WorldSpec

if TYPE_CHECKING:
    from jwmtool.worlds.rigs import Rig
    from jwmtool.worlds.roads.network import Network

Floats = NDArray[np.float64]

STEP_S = 1.0 / 30.0  # actors' states are sampled this often


@dataclass(frozen=True)
class Thing:
    """Something that never moves: a house, a tree, a lamp post, a wall.

    Attributes:
        kind: which builder makes its triangles, see `scenery.things.BUILDERS`.
        state: [6] x, y, z of its foot's middle, yaw, pitch, roll; see `terrain.world_from_state`.
        size: length along x, width, height in metres.
        style: the builder's own choices, by name.
    """

    kind: str
    state: Floats
    size: tuple[float, float, float]
    seed: int = 0
    style: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Actor:
    """Somebody or something that may move; its box goes into the clip's tracks.

    Attributes:
        id: unique, `car_03`.
        category: car, lorry, bus, cyclist, pedestrian, animal or obstacle.
        model: which figure, see `figures.models.make_figure`: sedan, van, lorry, horse, child ...
        size: length, width, height in metres; the figure fills this box.
        seed: decides colors and the like.
        states: [P, 6] at i * STEP_S: x, y, z of the ground point under its middle, yaw (unwrapped), pitch, roll.
            One row for what never moves.
        phase: [P] gait in cycles, or distance rolled in metres.
        parked: True for what stands all the time.
    """

    id: str
    category: str
    model: str
    size: tuple[float, float, float]
    seed: int
    states: Floats
    phase: Floats
    parked: bool = False


@dataclass(frozen=True)
class Signals:
    """Traffic lights: `colors` [P, G] at i * STEP_S for each group: 0 red, 1 amber, 2 green."""

    colors: NDArray[np.int8]


@dataclass(frozen=True)
class Atmosphere:
    """Light and weather. Colors are linear, in units in which a white sheet in clear midday sun is about 1."""

    weather: str
    time_of_day: str
    sun_direction: Floats  # [3] unit, towards the sun (at night: the moon)
    sun_color: Floats  # [3] irradiance on a surface facing it; zero when overcast
    zenith: Floats  # [3] radiance of the sky overhead
    horizon: Floats  # [3] radiance of the sky low down, and of haze
    ground_bounce: Floats  # [3] light from below, for undersides
    cloud_cover: float  # 0 to 1
    cloud_seed: int
    haze_per_m: float  # extinction: haze takes 1 - exp(-haze * distance)
    wetness: float  # 0 to 1: darker, mirroring ground
    snow_cover: float  # 0 to 1: white on what faces up
    rain: float  # 0 to 1: streaks in the air
    snowfall: float  # 0 to 1: flakes in the air
    lamps: bool  # street lamps, windows and headlights are on
    exposure: float  # factor before the tone curve, so that the picture is neither dark nor burnt


@dataclass(frozen=True)
class WorldDescription:
    """Everything that a world is."""

    spec: WorldSpec  # resolved: no `random` left
    rig: Rig
    terrain: Terrain
    network: Network
    stretch: Path  # what the ego drives, and some way beyond; around it everything is built
    things: tuple[Thing, ...]
    actors: tuple[Actor, ...]
    signals: Signals
    ego: Floats  # [P, 6] states of the rig's origin (on the road under the middle of the rear axle) at i * STEP_S
    ego_controls: Floats  # [P, 4] speed m/s, acceleration m/s2, yaw rate rad/s, curvature 1/m
    atmosphere: Atmosphere
    event_time_s: float | None = None  # when the event begins

    def content_sha256(self) -> str:
        """Hash of everything above."""
        return hashlib.sha256(json.dumps(_plain(self), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Nested lists, dicts, text and whole numbers; lengths become tenths of millimetres."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        whole = np.issubdtype(value.dtype, np.integer) or value.dtype == bool
        return value.tolist() if whole else np.round(value * 1e4).astype(np.int64).tolist()
    if isinstance(value, float | np.floating):
        return round(float(value) * 1e4)
    if isinstance(value, np.integer):
        return int(value)
    return value
