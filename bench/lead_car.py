"""How far away a car at the ego's speed is put, which looks to matching as if it were infinitely far.

    python bench/lead_car.py --model models/worldrec-mini --worlds worlds/ --json bench/results/lead_car.json

In worlds of 2 s, of which frames 0, 5, 10 and 15 are given: pixels of what drives within a quarter of the ego's speed
and less than 60 m away; where there are 40 of them in a picture, the median over them of rendered over true depth.
`bench/worldrec.py --worlds 20 --cache worlds/` makes the worlds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

FRAMES = (0, 5, 10, 15)
LEAST_PX, LEAST_MPS, FARTHEST_M, WITHIN = 40, 3.0, 60.0, 0.2


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--worlds", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from jwmtool.worldrec.checkpoint import load_model

    model = load_model(arguments.model)
    rows = [row for path in sorted(arguments.worlds.glob("*/clip.json")) for row in measure(model, path.parent)]
    if not rows:
        raise SystemExit(f"{arguments.worlds}: expected a world with a car at the ego's speed")
    ratios = torch.tensor([row["ratio"] for row in rows])
    near = float(((ratios - 1.0).abs() <= WITHIN).float().mean())
    result = {
        "pictures": len(rows),
        "median_ratio": round(float(ratios.median()), 3),
        "within_20_percent": round(near, 3),
    }
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps({**result, "rows": rows}, indent=1) + "\n")


@torch.no_grad()
def measure(model: torch.nn.Module, path: Path) -> list[dict[str, object]]:
    """One row for each picture of a world that shows such a car."""
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.geometry import se3
    from jwmtool.worldrec.views import load_views, working_size

    clip = read_clip(path)
    keys = [(frame, name) for frame in FRAMES for name in clip.cameras]
    middle = clip.frames[FRAMES[2]]
    scene_from_world = se3.inverse(se3.orthonormalized(middle.world_from_rig))
    size = working_size(clip, model.config.pixels)  # type: ignore[union-attr, arg-type]
    views = load_views(clip, keys, scene_from_world, middle.time_us, size, truth=True)
    made = model(replace(views, depth_m=None, velocity=None))
    first, last = 0, len(keys) - len(clip.cameras)
    way = views.scene_from_cam[last, :3, 3] - views.scene_from_cam[first, :3, 3]
    ego = way / float(views.times_s[last] - views.times_s[first])
    rows = []
    for i, (frame, name) in enumerate(keys):
        assert views.velocity is not None and views.depth_m is not None
        velocity, depth = views.velocity[i], views.depth_m[i]
        beside = (velocity - ego).norm(dim=-1) < 0.25 * float(ego.norm())
        lead = beside & (velocity.norm(dim=-1) > LEAST_MPS) & (depth < FARTHEST_M)
        if int(lead.sum()) < LEAST_PX:
            continue
        _, bare = made.render(views.camera(i), float(views.times_s[i]))
        ratio = float((bare.depth[lead] / depth[lead]).median())
        rows.append({
            "world": path.name, "frame": frame, "camera": name, "pixels": int(lead.sum()),
            "true_m": round(float(depth[lead].median()), 1), "ratio": round(ratio, 3),
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
