"""Everything that never moves: which things a world has, where they stand, and their triangles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Thing
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Network
from jwmtool.worlds.roads.terrain import Terrain, world_from_state
from jwmtool.worlds.scenery import buildings, cliff, furniture, plants
from jwmtool.worlds.scenery.place_furniture import place_lamps, place_rim, place_shelters, place_signals, place_signs
from jwmtool.worlds.scenery.place_horizon import place_horizon
from jwmtool.worlds.scenery.place_open import place_country, place_motorway
from jwmtool.worlds.scenery.place_streets import place_gardens, place_rows
from jwmtool.worlds.scenery.placing import Site, ground_rectangles
from jwmtool.worlds.shapes.footprints import Footprints
from jwmtool.worlds.shapes.mesh import Mesh
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.shapes.surfaces import Class

Floats = NDArray[np.float64]

BUILDERS: dict[str, Callable[[Thing], Mesh]] = {
    "block": buildings.block,
    "tower": buildings.tower,
    "house": buildings.house,
    "garage": buildings.garage,
    "barn": buildings.barn,
    "silo": buildings.silo,
    "hall": buildings.hall,
    "church": buildings.church,
    "turbine": buildings.turbine,
    "pylon": buildings.pylon,
    "tree": plants.tree,
    "bush": plants.bush,
    "hedge": plants.hedge,
    "wood": plants.wood,
    "hill": plants.hill,
    "lamp": furniture.lamp,
    "signal": furniture.signal,
    "sign": furniture.sign,
    "gantry": furniture.gantry,
    "rail": furniture.rail,
    "barrier": furniture.barrier,
    "wall": furniture.wall,
    "fence": furniture.fence,
    "bench": furniture.bench,
    "bin": furniture.bin_,
    "bollard": furniture.bollard,
    "delineator": furniture.delineator,
    "hydrant": furniture.hydrant,
    "column": furniture.column,
    "cabinet": furniture.cabinet,
    "shelter": furniture.shelter,
    "power_pole": furniture.power_pole,
    "bale": furniture.bale,
    "boulder": furniture.boulder,
    "cliff": cliff.cliff,
}

THING_CLASS: dict[str, Class] = {
    **dict.fromkeys(("block", "tower", "house", "garage", "barn", "silo", "hall", "church", "shelter"), Class.BUILDING),
    **dict.fromkeys(("tree", "bush", "hedge", "wood", "hill"), Class.VEGETATION),
    **dict.fromkeys(("rail", "barrier", "wall", "fence"), Class.BARRIER),
    **dict.fromkeys(("sign", "gantry"), Class.SIGN),
    "signal": Class.TRAFFIC_LIGHT,
    # Upright furniture that stands where a pole might.
    **dict.fromkeys(("lamp", "bench", "bin", "bollard", "delineator", "hydrant", "column", "cabinet"), Class.POLE),
    **dict.fromkeys(("power_pole", "turbine", "pylon"), Class.POLE),
    **dict.fromkeys(("bale", "boulder", "cliff"), Class.TERRAIN),
}


def place_things(
    kind: str, network: Network, terrain: Terrain, stretch: Path, footprints: Footprints, stream: Stream
) -> tuple[Thing, ...]:
    """Furnish a world.

    Args:
        kind: city, suburb, motorway or country.
        network: its roads; things stand beside them, furniture on the rims of sidewalks.
        terrain: what they stand on.
        stretch: what the ego drives along; near it everything is there, far from it only what shows on the horizon.
        footprints: ground that is taken already (parked cars, ways of actors); the things' ground is added.
        stream: decides all.
    """
    site = Site(kind, network, terrain, stretch, footprints, stream)
    place_signals(site)
    place_lamps(site)
    if kind in ("city", "suburb"):
        place_signs(site, 60.0)
        place_shelters(site)
        (place_rows if kind == "city" else place_gardens)(site)
        place_rim(site)
    elif kind == "country":
        place_signs(site, 170.0)
        place_country(site)
    else:
        place_signs(site, 320.0)
        place_motorway(site)
    place_horizon(site)
    return site.things()


def build_thing(thing: Thing) -> Mesh:
    """A thing's triangles in the world."""
    return BUILDERS[thing.kind](thing).moved(world_from_state(thing.state))


def lamp_heads(thing: Thing) -> Floats:
    """[n, 3] world points from which a street lamp (kind "lamp") shines."""
    world_from_thing = world_from_state(thing.state)
    return furniture.lamp_arms(thing) @ world_from_thing[:3, :3].T + world_from_thing[:3, 3]


def thing_rectangles(thing: Thing) -> Floats:
    """[n, 5] ground that a thing takes (x, y, yaw, length, width); what hangs overhead takes none."""
    return np.array(ground_rectangles(thing.kind, thing.state, thing.size, thing.style))
