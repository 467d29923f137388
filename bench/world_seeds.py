"""Many worlds described and built: does any fail, does anything overlap or float, is a camera inside something?

    python bench/world_seeds.py --count 500 --workers 2 --json seeds.json

Kinds, weathers, lights and events take turns; each world runs for `--duration`. Checked for each: it builds; no two
footprints of actors overlap at any tenth of a second; every actor's ground point lies on the surface under it (a ray
cast down); no thing stands in a camera's way within 0.4 m, and no camera is inside a building (rays to all sides).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

from jwmtool.worlds.spec import EVENTS, KINDS, TIMES_OF_DAY, WEATHERS


def main() -> None:
    """Check the seeds in worker processes; exit 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--duration", type=float, default=8.0, help="seconds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    jobs = [(seed, arguments.duration) for seed in range(arguments.first_seed, arguments.first_seed + arguments.count)]
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for row in pool.imap(check_seed, jobs):
            rows.append(row)
            if row["problems"]:
                print(row, flush=True)
            elif len(rows) % 50 == 0:
                print(f"{len(rows)} of {len(jobs)}, {time.monotonic() - began:.0f} s", flush=True)
    bad = [r for r in rows if r["problems"]]
    summary = {
        "count": len(rows),
        "failed": len(bad),
        "seconds_to_describe": round(float(np.mean([r.get("describe_s", 0) for r in rows])), 3),
        "seconds_to_build": round(float(np.mean([r.get("build_s", 0) for r in rows])), 3),
        "actors": round(float(np.mean([r.get("actors", 0) for r in rows])), 1),
        "triangles": round(float(np.mean([r.get("triangles", 0) for r in rows]))),
    }
    print(json.dumps(summary))
    if arguments.json:
        arguments.json.write_text(json.dumps({**summary, "failures": bad}, indent=1) + "\n")
    if bad:
        raise SystemExit(1)


def check_seed(job: tuple[int, float]) -> dict[str, Any]:
    """Describe, build and examine one world."""
    seed, duration_s = job
    from jwmtool.worlds.describe import describe
    from jwmtool.worlds.spec import WorldSpec
    from jwmtool.worlds.world import World

    kind = KINDS[seed % len(KINDS)]
    event = EVENTS[(seed // len(KINDS)) % len(EVENTS)]
    weather, light = WEATHERS[seed % len(WEATHERS)], TIMES_OF_DAY[seed % len(TIMES_OF_DAY)]
    row: dict[str, Any] = {
        "seed": seed,
        "kind": kind,
        "event": event,
        "weather": weather,
        "light": light,
        "problems": [],
    }
    try:
        began = time.monotonic()
        description = describe(WorldSpec(kind, seed, duration_s, 10.0, 224, 128, weather, light, event), "front3")
        row["describe_s"] = time.monotonic() - began
        world = World(description)
        row["build_s"] = time.monotonic() - began - row["describe_s"]
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed is reported and the others go on
        row["problems"].append(f"{type(error).__name__}: {error}")
        return row
    row["actors"], row["triangles"] = len(description.actors), world.num_triangles
    row["hash"] = description.content_sha256()
    row["problems"] += problems(world)
    return row


def problems(world: Any) -> list[str]:
    """What is wrong with a world, in words; nothing if all is well."""
    from jwmtool.worlds.shapes.footprints import overlap
    from jwmtool.worlds.shapes.surfaces import Class
    from jwmtool.worlds.traffic.ego import EGO_MIDDLE_M, EGO_SIZE

    found = []
    tracks = world.tracks()
    steps = range(0, world.num_frames)
    ego = np.stack([_rectangle(world.world_from_rig(i), EGO_MIDDLE_M, *EGO_SIZE[:2]) for i in steps])
    boxes = np.stack(
        [np.stack([_rectangle(t.world_from_box[i], 0.0, *t.size[:2]) for i in steps]) for t in tracks]
    ) if tracks else np.zeros((0, len(steps), 5))  # fmt: skip
    heights = [t.world_from_box[:, 2, 3] for t in tracks]
    for i, track in enumerate(tracks):
        if overlap(boxes[i], ego).any():
            found.append(f"{track.id} overlaps the ego")
        for j in range(i):
            together = overlap(boxes[i], boxes[j])
            apart = np.abs(heights[i] - heights[j]) > 0.5 * (tracks[i].size[2] + tracks[j].size[2])
            if (together & ~apart).any():
                found.append(f"{track.id} overlaps {tracks[j].id}")
    ground = (Class.ROAD, Class.SIDEWALK, Class.TERRAIN)
    for track in tracks:
        if track.category == "obstacle":
            continue  # rocks and cargo fall
        for i in (0, world.num_frames - 1):
            pose = track.world_from_box[i]
            foot = pose[:3, 3] - pose[:3, 2] * (0.5 * track.size[2])
            gap = _height_over_ground(world, foot, ground)
            if gap is not None and abs(gap) > 0.1:
                found.append(f"{track.id} is {gap:.2f} m over the ground at frame {i}")
    sides = np.array([[np.cos(a), np.sin(a), 0.0] for a in np.linspace(0, 2 * np.pi, 16, endpoint=False)])
    for camera in world.description.rig.cameras:
        for i in (0, world.num_frames // 2, world.num_frames - 1):
            eye = world.camera(i, camera.name).world_from_cam[:3, 3]
            hits = world.moment(i).static.cast(np.tile(eye, (16, 1)), sides)
            near = hits.t[hits.face >= 0]
            if len(near) and near.min() < 0.4:
                found.append(f"{camera.name} is {near.min():.2f} m from something at frame {i}")
            up = world.moment(i).static.cast(eye[None], np.array([[0.0, 0.0, 1.0]]))
            if up.face[0] >= 0 and world.moment(i).static.geometry.semantic[up.face[0]] == Class.BUILDING:
                found.append(f"{camera.name} is inside a building at frame {i}")
    return found


def _rectangle(pose: Any, ahead_m: float, length_m: float, width_m: float) -> Any:
    middle = pose[:3, 3] + pose[:3, 0] * ahead_m
    return np.array([middle[0], middle[1], np.arctan2(pose[1, 0], pose[0, 0]), length_m, width_m])


def _height_over_ground(world: Any, foot: Any, ground: tuple[int, ...]) -> float | None:
    """Metres from the ground's triangles up to a point; None where there is none (beyond what is built)."""
    caster = world.moment(0).static
    start = foot + np.array([0.0, 0.0, 0.4])
    for _ in range(6):
        hit = caster.cast(start[None], np.array([[0.0, 0.0, -1.0]]))
        if hit.face[0] < 0:
            return None
        z = start[2] - hit.t[0]
        if caster.geometry.semantic[hit.face[0]] in ground:
            return float(foot[2] - z)
        start = np.array([start[0], start[1], z - 1e-3])
    return None


if __name__ == "__main__":
    main()
