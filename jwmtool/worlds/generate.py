"""Write a world as a clip folder: pictures, truth, lidar, boxes, lanes, actions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_folder, check_output
from jwmtool.artifacts.clip import Clip, ClipCamera, ClipFrame, ClipImage, LidarSweep, Track
from jwmtool.artifacts.clip_io import write_clip_json
from jwmtool.artifacts.images import write_png
from jwmtool.artifacts.truth import ARRAYS, truth_document, truth_file, write_truth
from jwmtool.artifacts.withhold import make_split
from jwmtool.device import num_threads
from jwmtool.errors import UsageError
from jwmtool.worlds.shapes.surfaces import Class

if TYPE_CHECKING:
    from jwmtool.worlds.description import WorldDescription
    from jwmtool.worlds.world import World

Floats = NDArray[np.float64]

FORMAT = "jwm-world"
LICENCE = "Apache-2.0"
MAX_SUPERSAMPLING = 8
_LANE_REACH_M = 150.0  # lanes farther than this from the ego's path are left out


def write_world(
    world: World,
    output: Path,
    *,
    supersampling: int = 2,
    withhold: Sequence[str] = (),
    force: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Path:
    """Render every frame of a world into a clip folder, which appears whole or not at all.

    Args:
        world: as `worlds.world.make_world` builds it.
        output: the folder to make.
        supersampling: rays along each side of a pixel.
        withhold: rules of `--withhold` (see artifacts/withhold.py).
        force: replace `output` if it exists.
        provenance: record of this run, for clip.json.

    Returns:
        `output`.

    Raises:
        OutputExistsError: `output` exists and `force` is not given. UsageError: an impossible rule or supersampling.
    """
    check_output(output, force)
    check_supersampling(supersampling)
    description = world.description
    names = [camera.name for camera in description.rig.cameras]
    split = make_split(withhold, world.num_frames, names)
    source = source_of(description, supersampling)
    with atomic_folder(output, force) as folder:
        _render(world, folder, names, supersampling)
        clip = Clip(
            root=folder,
            name=description.spec.name,
            source=source,
            licence=LICENCE,
            cameras={
                c.name: ClipCamera(c.name, c.K, c.width, c.height, c.rig_from_cam) for c in description.rig.cameras
            },
            frames=[_frame(world, frame, names) for frame in range(world.num_frames)],
            split=split,
            lidar=_sweeps(world),
            tracks=_tracks(world),
            tags=tags_of(description),
            extras={"description_sha256": source["description_sha256"], **_extras(world, names)},
            provenance=[provenance] if provenance else [],
        )
        write_clip_json(clip, folder)
    return output


def check_supersampling(supersampling: int) -> None:
    """UsageError unless it is a sensible number of rays along a pixel's side."""
    if not 1 <= supersampling <= MAX_SUPERSAMPLING:
        raise UsageError(f"--supersampling: expected 1 to {MAX_SUPERSAMPLING}, found {supersampling}")


def source_of(description: WorldDescription, supersampling: int) -> dict[str, Any]:
    """Everything that the pictures depend on: where two clips agree in this, they show the same."""
    spec, rig = description.spec, description.rig
    return {
        "format": FORMAT,
        "kind": spec.kind,
        "seed": spec.seed,
        "duration_s": spec.duration_s,
        "rate_hz": spec.rate_hz,
        "rig": rig.name,
        "lidar": None if rig.lidar is None else rig.lidar.name,
        "supersampling": supersampling,
        "description_sha256": description.content_sha256(),
    }


def tags_of(description: WorldDescription) -> dict[str, Any]:
    """What a caption would say."""
    spec = description.spec
    return {
        "synthetic": True,
        "kind": spec.kind,
        "weather": spec.weather,
        "time_of_day": spec.time_of_day,
        "event": spec.event,
    }


def sweep_frames(num_frames: int, rate_hz: float, lidar_rate_hz: float) -> list[int]:
    """Frames at which the lidar has finished another turn: all of them if it turns at least as fast."""
    turns = [math.floor(frame * lidar_rate_hz / rate_hz + 1e-6) for frame in range(num_frames)]
    return [frame for frame in range(num_frames) if frame == 0 or turns[frame] > turns[frame - 1]]


def _time_us(world: World, frame: int) -> int:
    return round(world.frame_time_s(frame) * 1e6)


def _image_file(frame: int, camera: str) -> str:
    return f"images/{camera}/{frame:06d}.png"


def _sweep_file(frame: int) -> str:
    return f"lidar/{frame:06d}.npy"


def _lidar_frames(world: World) -> list[int]:
    lidar = world.description.rig.lidar
    if lidar is None:
        return []
    return sweep_frames(world.num_frames, world.description.spec.rate_hz, lidar.rate_hz)


def _render(world: World, folder: Path, names: list[str], supersampling: int) -> None:
    """Write pictures, truth and sweeps; only a few frames are in memory at a time."""
    for name in names:
        (folder / "images" / name).mkdir(parents=True)
        (folder / "truth" / name).mkdir(parents=True)
    sweeps = set(_lidar_frames(world))
    if sweeps:
        (folder / "lidar").mkdir()

    def jobs() -> Iterator[tuple[int, str | None]]:
        for frame in range(world.num_frames):
            yield from ((frame, name) for name in names)
            if frame in sweeps:
                yield frame, None

    def write(frame: int, name: str | None) -> None:
        if name is None:
            points = world.sweep(frame)
            np.save(folder / _sweep_file(frame), np.asarray(points, np.float32))
            return
        view = world.view(frame, name, supersampling)
        write_png(folder / _image_file(frame, name), view.image)
        write_truth(folder / truth_file(frame, name), {array: getattr(view, array) for array in ARRAYS})

    total, threads = world.num_frames * len(names) + len(sweeps), num_threads()
    with console.progress("world", total) as bar, ThreadPoolExecutor(threads) as pool:
        pending: set[Future[None]] = set()
        done = 0
        try:
            for job in jobs():
                pending.add(pool.submit(write, *job))
                if len(pending) >= 2 * threads:  # few in flight: memory does not grow with the duration
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in finished:
                        future.result()
                    done += len(finished)
                    bar.update(done, f"{done}/{total} images")
            for future in pending:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _frame(world: World, frame: int, names: list[str]) -> ClipFrame:
    time_us = _time_us(world, frame)
    images = {n: ClipImage(n, _image_file(frame, n), time_us, world.camera(frame, n).world_from_cam) for n in names}
    return ClipFrame(time_us, world.world_from_rig(frame), images)


def _sweeps(world: World) -> list[LidarSweep]:
    lidar = world.description.rig.lidar
    if lidar is None:
        return []
    return [
        LidarSweep(_sweep_file(i), _time_us(world, i), world.world_from_rig(i) @ lidar.rig_from_lidar)
        for i in _lidar_frames(world)
    ]


def _tracks(world: World) -> list[Track]:
    times_us = np.array([_time_us(world, frame) for frame in range(world.num_frames)], np.int64)
    return [Track(t.id, t.category, t.size, times_us, t.world_from_box, t.sizes) for t in world.tracks()]


def _extras(world: World, names: list[str]) -> dict[str, Any]:
    description = world.description
    frames = range(world.num_frames)
    controls = np.array([world.controls(frame) for frame in frames])
    columns = ("speed_mps", "acceleration_mps2", "yaw_rate_radps", "curvature_per_m")
    lidar = description.rig.lidar
    extras: dict[str, Any] = {
        "actions": {name: np.round(controls[:, k], 5).tolist() for k, name in enumerate(columns)},
        "lap_m": round(description.network.circuits[0].path.length_m, 2),
        "lanes": lanes_near(world),
        "truth": truth_document(
            {name: [truth_file(frame, name) for frame in frames] for name in names},
            {int(c): c.name.lower() for c in Class},
            instance_names(description),
        ),
    }
    if lidar is not None:
        extras["lidar"] = {
            "name": lidar.name,
            "elevations_rad": np.round(lidar.elevations_rad, 6).tolist(),
            "num_azimuths": lidar.num_azimuths,
            "max_range_m": lidar.max_range_m,
            "rate_hz": lidar.rate_hz,
        }
    if description.event_time_s is not None:
        name = description.spec.event
        extras["event"] = {
            "name": name,
            "time_us": round(description.event_time_s * 1e6),
            "tracks": [actor.id for actor in description.actors if actor.id.startswith(f"{name}_")],
        }
    return extras


def instance_names(description: WorldDescription) -> dict[int, str]:
    """What each number of the instance truth is: actors by their id, then things by kind."""
    names = [actor.id for actor in description.actors]
    names += [f"{thing.kind}_{index:04d}" for index, thing in enumerate(description.things)]
    return dict(enumerate(names, start=1))


def lanes_near(world: World) -> list[dict[str, Any]]:
    """Lanes around the ego's path, cut to what is near it: the network's dicts, points [[x, y, z], ...] on the road."""
    terrain = world.description.terrain
    path = np.array([world.world_from_rig(frame)[:2, 3] for frame in range(world.num_frames)])
    path = path[:: max(1, len(path) // 200)]
    lanes = []
    for lane in world.description.network.lanes():
        points = np.asarray(lane["points"], np.float64)
        near = np.zeros(len(points), bool)
        for place in path:
            near |= np.hypot(points[:, 0] - place[0], points[:, 1] - place[1]) < _LANE_REACH_M
        points = np.column_stack([points[:, :2], terrain.height(points[:, 0], points[:, 1])])
        for part, rows in enumerate(_runs(near)):
            if len(rows) > 1:
                id_ = f"{lane['id']}.{part}" if part else lane["id"]
                lanes.append({**lane, "id": id_, "points": np.round(points[rows], 3).tolist()})
    return lanes


def _runs(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Indices of each unbroken stretch of True."""
    inside = np.flatnonzero(mask)
    return np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1) if len(inside) else []
