"""How fast worlds are made: images a second with all truth, and peak memory.

    python bench/world_speed.py --json speed.json

224x128, 2x2 supersampling, sun shadows, one camera, every kind of world; writing the clip is measured as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def main() -> None:
    """Measure and print."""
    from jwmtool.device import num_threads
    from jwmtool.worlds.generate import write_world
    from jwmtool.worlds.spec import KINDS, WorldSpec
    from jwmtool.worlds.world import make_world

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    warm = make_world(WorldSpec("city", 1, 0.2, 10.0, 224, 128))  # compiles the kernels where they are not cached
    warm.view(0, warm.description.rig.cameras[0].name)
    for kind in KINDS:
        began = time.monotonic()
        world = make_world(WorldSpec(kind, 5, arguments.frames / 10.0, 10.0, 224, 128))
        name = world.description.rig.cameras[0].name
        build_s = time.monotonic() - began
        began = time.monotonic()
        with ThreadPoolExecutor(num_threads()) as pool:
            for _ in pool.map(world.view, range(world.num_frames), [name] * world.num_frames):
                pass
        render_s = time.monotonic() - began
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            write_world(world, Path(folder) / "clip")
            write_s = time.monotonic() - began
        rows.append(
            {
                "kind": kind,
                "triangles": world.num_triangles,
                "build_s": round(build_s, 2),
                "images_per_s": round(world.num_frames / render_s, 2),
                "images_per_s_written": round(world.num_frames / write_s, 2),
            }
        )
        print(rows[-1], flush=True)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"threads": num_threads(), "peak_mb": round(peak_mb), "worlds": rows}
    print(f"peak memory {peak_mb:.0f} MB")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
