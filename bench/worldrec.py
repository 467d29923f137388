"""WorldRec beside its rivals' designs, on the same clips: quality, number of Gaussians, seconds, peak memory.

    python bench/worldrec.py --worlds 20 --models sparse=models/worldrec-mini pixel=runs/pixel --json worlds.json
    python bench/worldrec.py --clips clip/ --models sparse=models/worldrec-mini --optimize 60 --json clips.json

`--worlds N` makes unseen worlds (seeds from 1000 on, the four kinds in turn, front3, 224x128, 2 s at 10 Hz, daylight,
the fourth kind overcast: those of bench/world_ceiling.py) and scores by the protocol storm-windows, as `--windows`
does with clips that are there: one forward pass sees frames 0, 5, 10 and 15 of each window, the other 16 are scored.
`--clips` reconstructs whole clips, ingested with --withhold, as `jwm reconstruct` does, and scores what is withheld.

Methods are weights by name (`--models NAME=PATH`; what they are stands in the file), `--untrained` ones, variants of
given weights that are switched otherwise without training them again (`--ablate`, `--pixel-step`), and
`--optimize SECONDS` for each window or clip. Each method runs in a process of its own. Seconds count from the clip to
the scene, pictures read, network loaded before; peak memory is the process's (on a GPU, also torch's).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

FIRST_SEED, NUM_FRAMES, SIZE = 1000, 20, (224, 128)
CEILING = Path(__file__).parent / "results" / "world_ceiling.json"
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "visibility": ("plain mean", {"visibility": False}),
    "motion": ("no motion", {"motion": False}),
    "queries": ("random queries", {"queries": "random"}),
    "detail": ("plainer patches", {"detail": 0.025}),
}
SHOWN = {
    "psnr": "PSNR", "ssim": "SSIM", "depth_abs_rel": "depth", "moving_exact_psnr": "moving", "gaussians": "Gaussians",
    "seconds": "s", "peak_mb": "MB",
}  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One line of the table.

    Attributes:
        weights: a file or folder; None: first weights.
        config: of the network where there are no weights.
        change: of the config.
        optimize_s: fit for so long instead.
    """

    name: str
    weights: Path | None = None
    config: str = "mini"
    change: tuple[tuple[str, Any], ...] = ()
    optimize_s: float | None = None


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--worlds", type=int, metavar="N")
    data.add_argument("--windows", type=Path, nargs="+", metavar="CLIP", help="clips, or folders of clips")
    data.add_argument("--clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--cache", type=Path, help="where worlds are kept; those that are there are not made again")
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--untrained", action="store_true", help="sparse and pixel with their first weights")
    parser.add_argument("--config", default="mini", help="of the untrained ones")
    parser.add_argument("--ablate", nargs="+", default=[], choices=ABLATIONS, help="of all sparse networks given")
    parser.add_argument(
        "--pixel-step", type=int, nargs="+", default=[], choices=[2], help="of all pixel networks given"
    )
    parser.add_argument("--optimize", type=float, metavar="SECONDS")
    parser.add_argument("--refine", type=float, metavar="SECONDS", help="then refine each network's scene for so long")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    methods = methods_of(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.worlds:
            clips = make_worlds(arguments.cache or Path(temporary), arguments.worlds)
        else:
            clips = [clip for path in arguments.windows or arguments.clips for clip in clips_in(path)]
        whole = arguments.clips is not None
        results = []
        for method in methods:
            # A process of its own, so that no method inherits another one's memory.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                results.append(pool.apply(measure, (method, clips, whole, arguments.device, arguments.refine)))
    print_table(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(document(results, arguments), indent=1) + "\n")


def methods_of(arguments: argparse.Namespace) -> list[Method]:
    """The methods asked for, in the table's order."""
    given = []
    for item in arguments.models:
        name, found, path = item.partition("=")
        if not found or not name:
            raise SystemExit(f"--models: expected NAME=PATH, found {item!r}")
        given.append(Method(name, Path(path)))
    if arguments.untrained:
        given += [
            Method(f"untrained {kind}", config=arguments.config, change=(("method", kind),))
            for kind in ("sparse", "pixel")
        ]
    methods = list(given)
    for method in given:
        sparse = network_config(method)["method"] == "sparse"
        for label, change in (ABLATIONS[name] for name in arguments.ablate if sparse):
            changed = (*method.change, *change.items())
            methods.append(replace(method, name=f"{method.name}, {label}", change=changed))
        for step in arguments.pixel_step if not sparse else ():
            changed = (*method.change, ("pixel_step", step))
            methods.append(replace(method, name=f"{method.name}, {step}x{step} px", change=changed))
    if arguments.optimize:
        methods.append(Method(f"optimize {arguments.optimize:g} s", optimize_s=arguments.optimize))
    if not methods:
        raise SystemExit("expected methods: --models, --untrained or --optimize")
    return methods


def network_config(method: Method) -> dict[str, Any]:
    """The config that a method's network has, as JSON values."""
    from jwmtool.artifacts.weights import read_metadata, weights_file
    from jwmtool.worldrec.config import CONFIGS

    told = CONFIGS[method.config].to_dict()
    if method.weights is not None:
        told = dict(read_metadata(weights_file(method.weights))["config"])
    return {**told, **dict(method.change)}


def network(method: Method, device: str) -> Any:
    """The network of a method, ready to be used."""
    import torch

    from jwmtool.artifacts.weights import read_weights, weights_file
    from jwmtool.worldrec.config import WorldRecConfig
    from jwmtool.worldrec.model import build_model

    torch.manual_seed(0)
    model = build_model(WorldRecConfig.from_dict(network_config(method)))
    if method.weights is not None:
        tensors, _ = read_weights(weights_file(method.weights))
        missing, extra = model.load_state_dict(tensors, strict=False)
        # An ablation has fewer layers than the weights; a network from before fusion has no gate.
        if [k for k in missing if not k.startswith("gate.")] or [k for k in extra if not k.startswith("motion.")]:
            raise SystemExit(f"{method.name}: these weights are of another network")
    return model.to(device).eval()


def make_worlds(folder: Path, count: int) -> list[Path]:
    """Worlds that no training has seen; those that are there already are taken as they are."""
    from jwmtool.worlds.generate import write_world
    from jwmtool.worlds.spec import KINDS, WorldSpec
    from jwmtool.worlds.world import make_world

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        kind, seed = KINDS[i % 4], FIRST_SEED + i
        path = folder / f"{kind}-{seed:06d}"
        if not path.exists():
            began = time.monotonic()
            weather = "overcast" if i % 4 == 3 else "clear"
            spec = WorldSpec(kind, seed, NUM_FRAMES / 10.0, 10.0, *SIZE, weather, "day")
            write_world(make_world(spec, "front3", "none"), path)
            print(f"made {path.name} in {time.monotonic() - began:.0f} s", flush=True)
        paths.append(path)
    return paths


def clips_in(path: Path) -> list[Path]:
    """The clip at a path, or the clips in it."""
    if (path / "clip.json").is_file():
        return [path]
    found = sorted(file.parent for file in path.glob("*/clip.json"))
    if not found:
        raise SystemExit(f"{path}: expected a clip or a folder of clips")
    return found


def measure(method: Method, clips: list[Path], whole: bool, device: str, refine_s: float | None) -> dict[str, Any]:
    """All clips by one method."""
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.metrics.protocol import score_scene
    from jwmtool.metrics.window_protocol import score_windows
    from jwmtool.metrics.windows import window_clip

    scene_of = reconstruction_of(method, whole, device, refine_s)
    if method.optimize_s is None:
        scene_of(window_clip_of(read_clip(clips[0]), whole))  # compiles what is not cached
    rows = []
    for path in clips:
        clip = read_clip(path)
        spent: list[tuple[float, float, int]] = []

        def timed(part: Any, spent: list[tuple[float, float, int]] = spent) -> Any:
            reset_peak(device)
            began = time.monotonic()
            scene = scene_of(part)
            spent.append((time.monotonic() - began, peak_mb(device), len(scene.gaussians)))
            return scene

        if whole:
            scores = score_scene(timed(clip), clip)
        else:
            scores = score_windows(lambda window, clip=clip: timed(window_clip(clip, window)), clip)
        seconds, peaks, counts = zip(*spent, strict=True)
        row: dict[str, Any] = {"clip": path.name, **{k: round(v, 4) for k, v in scores.means.items()}}
        row |= {"scored": len(scores.rows), "gaussians": round(float(np.mean(counts)))}
        row |= {"seconds": round(float(np.mean(seconds)), 2), "peak_mb": round(max(peaks))}
        row |= ceiling_of(clip)
        print(method.name, {k: row[k] for k in ("clip", *SHOWN) if k in row}, flush=True)
        rows.append(row)
    means = {
        key: round(float(np.mean([r[key] for r in rows if key in r])), 4)
        for key in dict.fromkeys(k for r in rows for k in r)
        if isinstance(rows[0].get(key, 0.0), int | float)
    }
    result: dict[str, Any] = {"name": method.name, "means": means, "clips": rows}
    if method.optimize_s is None:
        result["config"] = network_config(method)
        result["weights_sha256"] = None if method.weights is None else weights_sha256(method.weights)
    return result


def window_clip_of(clip: Any, whole: bool) -> Any:
    """The first thing that will be reconstructed of a clip."""
    from jwmtool.metrics.windows import window_clip, windows

    return clip if whole else window_clip(clip, windows(clip)[0])


def reconstruction_of(method: Method, whole: bool, device: str, refine_s: float | None) -> Callable[[Any], Any]:
    """A function from a clip (its split withholds what is scored) to its scene."""
    if method.optimize_s is not None:
        from jwmtool.fitting.session import fit_clip
        from jwmtool.fitting.settings import FitSettings

        settings = FitSettings(budget_s=method.optimize_s)
        return lambda clip: fit_clip(clip, settings, device, started=time.monotonic())[0]
    model = network(method, device)
    if whole:
        from jwmtool.worldrec.stream import reconstruct_clip

        once: Callable[[Any], Any] = lambda clip: reconstruct_clip(clip, model, device=device)  # noqa: E731
    else:
        once = lambda clip: one_pass(clip, model, device)  # noqa: E731
    if refine_s is None:
        return once
    from jwmtool import console
    from jwmtool.fitting.refine import RefineSettings, refine

    def refined(clip: Any) -> Any:
        scene = once(clip)
        started = time.monotonic()
        with console.progress("refining", 1.0) as bar:
            return refine(scene, clip, RefineSettings(budget_s=refine_s), device, started=started, bar=bar)

    return refined


def one_pass(clip: Any, model: Any, device: str) -> Any:
    """The scene of all pictures of a clip that are not withheld, by one forward pass."""
    import torch

    from jwmtool.artifacts.scene import Scene
    from jwmtool.gaussians.exposure import Exposure
    from jwmtool.geometry import se3
    from jwmtool.worldrec.views import load_views, working_size

    keys = clip.images(withheld=False)
    middle = clip.frames[keys[len(keys) // 2][0]]
    world_from_scene = se3.orthonormalized(middle.world_from_rig)
    size = working_size(clip, model.config.pixels)
    views = load_views(clip, keys, se3.inverse(world_from_scene), middle.time_us, size).to(device)
    with torch.no_grad():
        made = model(views)
    exposure = {}
    for name in clip.cameras:
        rows = [i for i, (_, camera) in enumerate(keys) if camera == name]
        if rows:
            times = np.array([clip.frames[keys[i][0]].images[name].time_us for i in rows], np.int64)
            exposure[name] = Exposure(times, made.exposure[rows])
    return Scene(
        made.gaussians, world_from_scene, middle.time_us, made.sky, exposure, clip.cameras, clip.times_us,
        clip.world_from_rig,
    )  # fmt: skip


def reset_peak(device: str) -> None:
    """Let the next peak count from now, where the system can do that."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mb(device: str) -> float:
    """Peak memory since then, MB: the process's, or torch's on a GPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ceiling_of(clip: Any) -> dict[str, float]:
    """What true depth and color of the same frames come to, of a world that bench/world_ceiling.py has measured."""
    if not CEILING.is_file() or "kind" not in clip.tags:
        return {}
    told = {"kind": clip.tags["kind"], "weather": clip.tags["weather"], "light": clip.tags["time_of_day"]}
    for row in json.loads(CEILING.read_text())["worlds"]:
        name = f"{row['kind']}-{row['seed']:06d}"
        if name == clip.name and all(row[key] == value for key, value in told.items()):
            return {"ceiling_psnr": row["psnr"]}
    return {}


def weights_sha256(path: Path) -> str:
    """Of the weights' file."""
    from jwmtool.artifacts.weights import weights_file

    return hashlib.sha256(weights_file(path).read_bytes()).hexdigest()


def document(results: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """What is written."""
    import torch

    from jwmtool.device import num_threads

    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    return {
        "protocol": "withheld-views" if arguments.clips else "storm-windows",
        "device": device, "threads": num_threads(), "torch": torch.__version__, "refine_s": arguments.refine,
        "methods": results,
    }  # fmt: skip


def print_table(results: list[dict[str, Any]]) -> None:
    """Means, a method a line."""
    columns = [*SHOWN.items(), ("ceiling_psnr", "ceiling")]
    columns = [(key, label) for key, label in columns if any(key in r["means"] for r in results)]
    width = max(len(r["name"]) for r in results)
    print(" " * width, *(f"{label:>10}" for _, label in columns))
    for result in results:
        cells = [f"{result['means'][key]:10.5g}" if key in result["means"] else " " * 10 for key, _ in columns]
        print(f"{result['name']:{width}}", *cells)


if __name__ == "__main__":
    main()
