"""Contact sheets of the worlds for docs/worlds.md: every kind, weather, light, event and rig.

python bench/world_sheets.py docs/pictures/worlds
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.spec import EVENTS, KINDS
from jwmtool.worlds.world import World

SIZE = (448, 256)
WEATHERS = (("clear", "day"), ("overcast", "day"), ("rain", "day"), ("fog", "day"), ("snow", "day"), ("clear", "dusk"),
            ("clear", "night"), ("rain", "night"))  # fmt: skip
EVENT_PLACES = {"horse": ("suburb", 0), "deer": ("country", 4), "tiger": ("city", 0), "dog": ("suburb", 0),
                "rocks": ("country", 4), "wrong-way": ("motorway", 0), "cut-in": ("motorway", 0),
                "child": ("suburb", 0), "cargo": ("motorway", 0)}  # fmt: skip


def main() -> None:
    """Write kinds.jpg, weather.jpg, events.jpg, truth.jpg and rigs.jpg."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--only", help="kinds, weather, events, truth or rigs")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("kinds", kinds), ("weather", weather), ("events", events), ("truth", truth), ("rigs", rigs)):
        if arguments.only in (None, name):
            images, labels, columns = make(arguments.seed)
            _save(arguments.folder / f"{name}.jpg", images, labels, columns)


Sheet = tuple[list[NDArray[np.uint8]], list[str], int]


def kinds(seed: int) -> Sheet:
    """Three seeds of every kind."""
    images, labels = [], []
    for kind in KINDS:
        for i in range(3):
            world = _world(kind, seed + i)
            images.append(_front(world, 40))
            labels.append(f"{kind}, seed {seed + i}")
    return images, labels, 3


def weather(seed: int) -> Sheet:
    """One street of each kind in every weather and light."""
    images, labels = [], []
    for name, light in WEATHERS:
        for kind in ("city", "suburb"):
            images.append(_front(_world(kind, seed, weather=name, time_of_day=light), 40))
            labels.append(f"{kind}, {name}, {light}")
    return images, labels, 4


def events(seed: int) -> Sheet:
    """Three moments of every event: 1, 2 and 3 s after it began."""
    images, labels = [], []
    for event in EVENTS[1:]:
        kind, further = EVENT_PLACES[event]
        world = _world(kind, seed + further, event=event)
        began = world.description.event_time_s or 0.0
        for later in (1.0, 2.0, 3.0):
            images.append(_front(world, min(int((began + later) * 10), world.num_frames - 1)))
            labels.append(f"{event}, {later} s after it began ({kind})")
    return images, labels, 3


def truth(seed: int) -> Sheet:
    """A picture and what is known of it."""
    from jwmtool.imaging.colormap import depth_colors

    world = _world("city", seed)
    view = world.view(40, world.description.rig.cameras[0].name)
    rng = np.random.default_rng(1)
    palette = rng.integers(40, 255, (65536, 3)).astype(np.uint8)
    palette[0] = 0
    flow = np.nan_to_num(view.flow)
    angle, length = np.arctan2(flow[..., 1], flow[..., 0]), np.hypot(flow[..., 0], flow[..., 1])
    share = np.clip(length / 20.0, 0, 1)[..., None]
    hue = 0.5 + 0.5 * np.cos(angle[..., None] + np.array([0.0, 2.1, 4.2]))
    images = [
        view.image,
        depth_colors(np.where(np.isfinite(view.depth), view.depth, 0.0)),
        ((view.normal + 1) * 127.5).astype(np.uint8),
        palette[view.instance],
        palette[view.semantic.astype(int) * 7 + (view.semantic > 0)],
        ((1 - share + share * hue) * 255).astype(np.uint8),
    ]
    return images, ["picture", "depth, 2 to 80 m", "normal", "instance", "class", "optical flow"], 3


def rigs(seed: int) -> Sheet:
    """All cameras of surround6 and front3 at one moment."""
    images, labels = [], []
    for rig in ("surround6", "front3"):
        world = _world("city", seed, rig=rig)
        for camera in world.description.rig.cameras:
            images.append(world.view(40, camera.name).image)
            labels.append(f"{rig}: {camera.name}")
    return images, labels, 3


def _world(
    kind: str,
    seed: int,
    *,
    rig: str = "front1",
    weather: str = "clear",
    time_of_day: str = "day",
    event: str = "none",
) -> World:
    from jwmtool.worlds.spec import WorldSpec
    from jwmtool.worlds.world import make_world

    return make_world(WorldSpec(kind, seed, 8.0, 10.0, *SIZE, weather, time_of_day, event), rig, "none")


def _front(world: World, frame: int) -> NDArray[np.uint8]:
    return world.view(frame, world.description.rig.cameras[0].name, supersampling=3).image


def _save(path: Path, images: list[NDArray[np.uint8]], labels: list[str], columns: int) -> None:
    from PIL import Image

    from jwmtool.imaging.sheet import contact_sheet

    Image.fromarray(contact_sheet(images, labels, columns)).save(path, quality=82)
    print(path)


if __name__ == "__main__":
    main()
