"""From what is asked to what is there: draws a whole world as plain numbers."""

from __future__ import annotations

from pathlib import Path

from jwmtool.worlds.description import WorldDescription
from jwmtool.worlds.light.atmosphere import make_atmosphere
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.rigs import make_rig
from jwmtool.worlds.roads.network import make_network
from jwmtool.worlds.roads.terrain import make_terrain
from jwmtool.worlds.scenery.things import place_things
from jwmtool.worlds.shapes.footprints import Footprints
from jwmtool.worlds.spec import WorldSpec
from jwmtool.worlds.traffic.simulate import simulate


def describe(spec: WorldSpec, rig: str | Path = "front1", lidar: str = "auto") -> WorldDescription:
    """Draw the world of a spec, seen by a rig (a name or a JSON file); see `rigs.make_rig`.

    Each part draws from a stream of its own, so that another weather or rig leaves roads, houses and traffic as
    they are.

    Raises:
        UsageError: an unknown rig or lidar name.
        InputError: the rig's file cannot be used.
    """
    spec = spec.resolved()
    stream = Stream(spec.seed, spec.kind)
    terrain = make_terrain(spec.kind, stream.sub("terrain"))
    network = make_network(spec.kind, stream.sub("network"))
    footprints = Footprints()
    traffic = simulate(spec, network, terrain, footprints, stream.sub("traffic"))
    things = place_things(spec.kind, network, terrain, traffic.stretch, footprints, stream.sub("things"))
    return WorldDescription(
        spec=spec,
        rig=make_rig(rig, spec.width, spec.height, stream.sub("rig"), lidar),
        terrain=terrain,
        network=network,
        stretch=traffic.stretch,
        things=(*traffic.things, *things),
        actors=traffic.actors,
        signals=traffic.signals,
        ego=traffic.ego,
        ego_controls=traffic.ego_controls,
        atmosphere=make_atmosphere(spec, stream.sub("atmosphere")),
        event_time_s=traffic.event_time_s,
    )
