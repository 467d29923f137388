"""All that can move through a world: how big each model is, what it counts as, and its body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import UsageError
from jwmtool.worlds.figures import animals, cars, cycles, debris, heavy_vehicles, people
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.surfaces import Class

Floats = NDArray[np.float64]
Size = tuple[float, float, float]


@dataclass(frozen=True)
class Model:
    """What an actor of this model is.

    Attributes:
        category: of its track: car, lorry, bus, cyclist, pedestrian, animal or obstacle.
        low, high: smallest and largest length, width, height in metres.
        semantic: class in the truth.
        stride_m: metres travelled per cycle of the gait, for one of middle size: see `stride_m`. One metre for what
            rolls or lies, so that its phase is the distance.
    """

    category: str
    low: Size
    high: Size
    semantic: Class
    stride_m: float = 1.0


MODELS: dict[str, Model] = {
    # Mirrors stay within the width of the body, so that boxes fit as tightly as annotators draw them.
    "sedan": Model("car", (4.45, 1.76, 1.40), (5.00, 1.90, 1.50), Class.CAR),
    "estate": Model("car", (4.40, 1.76, 1.44), (4.95, 1.90, 1.54), Class.CAR),
    "hatchback": Model("car", (3.60, 1.64, 1.42), (4.40, 1.82, 1.56), Class.CAR),
    "suv": Model("car", (4.25, 1.82, 1.62), (5.00, 2.00, 1.84), Class.CAR),
    "van": Model("car", (4.90, 1.90, 1.92), (6.10, 2.08, 2.60), Class.CAR),
    "pickup": Model("car", (5.10, 1.86, 1.74), (5.80, 2.02, 1.92), Class.CAR),
    "lorry": Model("lorry", (6.60, 2.44, 2.95), (9.60, 2.64, 3.80), Class.LORRY),
    "semi": Model("lorry", (14.00, 2.54, 3.60), (16.50, 2.66, 4.00), Class.LORRY),
    "tanker": Model("lorry", (12.50, 2.54, 3.25), (15.00, 2.66, 3.60), Class.LORRY),
    "bus": Model("bus", (10.20, 2.56, 2.95), (12.40, 2.74, 3.25), Class.BUS),
    "cyclist": Model("cyclist", (1.66, 0.56, 1.66), (1.84, 0.64, 1.84), Class.CYCLIST, 5.0),
    "motorcyclist": Model("cyclist", (2.00, 0.76, 1.44), (2.25, 0.86, 1.60), Class.CYCLIST),
    "man": Model("pedestrian", (0.72, 0.53, 1.68), (0.84, 0.63, 1.92), Class.PEDESTRIAN, 1.35),
    "woman": Model("pedestrian", (0.67, 0.44, 1.56), (0.78, 0.52, 1.78), Class.PEDESTRIAN, 1.25),
    "child": Model("pedestrian", (0.40, 0.31, 1.02), (0.56, 0.43, 1.40), Class.PEDESTRIAN, 0.90),
    "man_standing": Model("pedestrian", (0.34, 0.50, 1.68), (0.40, 0.62, 1.92), Class.PEDESTRIAN),
    "woman_standing": Model("pedestrian", (0.32, 0.44, 1.56), (0.37, 0.52, 1.78), Class.PEDESTRIAN),
    "child_standing": Model("pedestrian", (0.22, 0.32, 1.02), (0.30, 0.42, 1.40), Class.PEDESTRIAN),
    "horse": Model("animal", (2.40, 0.56, 2.00), (2.75, 0.66, 2.25), Class.ANIMAL, 1.90),
    "deer": Model("animal", (1.90, 0.62, 1.90), (2.20, 0.76, 2.22), Class.ANIMAL, 1.40),
    "tiger": Model("animal", (2.50, 0.46, 1.02), (2.95, 0.56, 1.18), Class.ANIMAL, 1.40),
    "dog": Model("animal", (1.02, 0.25, 0.70), (1.34, 0.33, 0.92), Class.ANIMAL, 0.80),
    "rock": Model("obstacle", (0.45, 0.40, 0.32), (1.60, 1.40, 1.10), Class.OBSTACLE),
    "crate": Model("obstacle", (0.70, 0.55, 0.50), (1.20, 1.00, 0.95), Class.OBSTACLE),
    "carton": Model("obstacle", (0.45, 0.35, 0.30), (0.80, 0.60, 0.60), Class.OBSTACLE),
    "mattress": Model("obstacle", (1.85, 0.85, 0.20), (2.05, 1.50, 0.28), Class.OBSTACLE),
    "tyre": Model("obstacle", (0.62, 0.62, 0.20), (1.00, 1.00, 0.32), Class.OBSTACLE),
}


def draw_size(model: str, stream: Stream) -> Size:
    """Length, width, height in metres: mostly larger or smaller as a whole, a little in each way alone."""
    about = model_of(model)
    whole = stream.uniform()
    share = [0.65 * whole + 0.35 * stream.uniform() for _ in range(3)]
    length, width, height = (
        low + (high - low) * part for low, high, part in zip(about.low, about.high, share, strict=True)
    )
    return length, width, height


def stride_m(model: str, size: Size) -> float:
    """Metres per cycle of the gait: an actor's phase is its distance divided by this."""
    about = model_of(model)
    if about.category not in ("pedestrian", "animal"):
        return about.stride_m
    return about.stride_m * size[2] / (0.5 * (about.low[2] + about.high[2]))


def model_of(model: str) -> Model:
    """Its row of MODELS.

    Raises:
        UsageError: there is no such model.
    """
    if model not in MODELS:
        raise UsageError(f"model: expected one of {', '.join(MODELS)}, found {model!r}")
    return MODELS[model]


def make_figure(model: str, size: Size, seed: int) -> Figure:
    """The body of an actor; it fills the box of `size` on the ground, middle at the origin, x forward.

    Args:
        model: one of MODELS.
        size: length, width, height in metres.
        seed: decides colors, clothes and the like.

    Raises:
        UsageError: there is no such model, or the size is not positive.
    """
    model_of(model)
    if not min(size) > 0.0:
        raise UsageError(f"size of {model}: expected positive lengths in metres, found {size}")
    if model in cars.SKINS:
        return cars.car(model, size, seed)
    if model in _BUILDERS:
        return _BUILDERS[model](size, seed)
    kind, _, pose = model.partition("_")
    return people.person(kind, size, seed, pose == "standing")


_BUILDERS: dict[str, Callable[[Size, int], Figure]] = {
    "lorry": heavy_vehicles.lorry,
    "semi": heavy_vehicles.semi,
    "tanker": heavy_vehicles.tanker,
    "bus": heavy_vehicles.bus,
    "horse": animals.horse,
    "deer": animals.deer,
    "tiger": animals.tiger,
    "dog": animals.dog,
    "cyclist": cycles.cyclist,
    "motorcyclist": cycles.motorcyclist,
    "rock": debris.rock,
    "crate": debris.crate,
    "carton": debris.carton,
    "mattress": debris.mattress,
    "tyre": debris.tyre,
}


# Front lamps as shares of length (from the middle), half width and height.
_LAMPS: dict[str, tuple[float, float, float]] = {
    "sedan": (0.48, 0.63, 0.50),
    "estate": (0.48, 0.63, 0.49),
    "hatchback": (0.48, 0.62, 0.47),
    "suv": (0.48, 0.66, 0.50),
    "van": (0.48, 0.66, 0.38),
    "pickup": (0.48, 0.66, 0.49),
    "lorry": (0.49, 0.64, 0.21),
    "semi": (0.495, 0.64, 0.184),
    "tanker": (0.495, 0.64, 0.205),
    "bus": (0.49, 0.66, 0.21),
    "cyclist": (0.235, 0.0, 0.51),
    "motorcyclist": (0.356, 0.0, 0.51),
}


def headlights(model: str, size: Size) -> Floats:
    """[n, 3] front lamps in the figure's frame: two, one on two wheels, none on what has no lamps."""
    model_of(model)
    if model not in _LAMPS:
        return np.zeros((0, 3))
    x, y, z = (share * extent for share, extent in zip(_LAMPS[model], (size[0], 0.5 * size[1], size[2]), strict=True))
    return np.array([[x, side * y, z] for side in ((1.0, -1.0) if y > 0 else (0.0,))])
