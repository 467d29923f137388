"""The video generator on worlds that it never saw: does it follow its conditions, and repair what it is given?

    python bench/worldgen.py repairs holes prior views seeds --model runs/worldgen --autoencoder runs/autoencoder \\
        --worldrec models/worldrec-mini --repair models/repair-mini --clips worlds/eval --rigs worlds/front3 \\
        --json bench/results/worldgen.json
    python bench/worldgen.py trajectories tags sheets --model runs/worldgen --autoencoder runs/autoencoder \\
        --first-frame models/first-frame-mini --clips worlds/eval --estimators estimators/ --json bench/results/worldgen.json

`--clips` are worlds of one camera at 10 Hz, `--rigs` worlds of several; 16 frames are made each time. Each part is
measured by itself and writes its own key.

  repairs       with a prior, the scene that WorldRec makes of the first frames, rendered at the next 16: PSNR over
                the whole frame and inside what the prior covers, of what is generated (`generated`; `plain_decoder`:
                the decoder does not see the prior, and nothing of it is kept), of the hole-filled prior, of that
                prior `repaired` by --repair, and of the true frames after the autoencoder (`round_trip`)
  holes         the same, with two rectangles cut out of each prior, and of the picture that it is repaired by
  prior         the same, inside the true prior's coverage, when the prior is another scene's
  trajectories  first frame given, no prior: rank correlation of asked speed and yaw rate with those estimated from
                the videos
  tags          nothing given but a weather, or an event: share that is recognized, beside the share recognized on true
                videos
  seeds         the same seed gives the same bits, another one does not
  views         several cameras at once, with priors, with first frames and with words alone: true depth takes one
                camera's pixels to its neighbor's picture, where they should agree; with and without the cross-view
                layers
  sheets        pictures and videos to look at
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from worldgen_estimators import Estimators, recognition
from worldgen_figures import COVERED, frame_psnrs, mean, record, spearman
from worldgen_footage import EVENTS, LEAST_FRAMES, LEAST_PX, WEATHERS, fitted, front_of, subject_pixels
from worldgen_priors import prior_of_seen, seen_of_clip, true_frames
from worldgen_sheets import sheets
from worldgen_videos import FRAMES, Maker, as_bytes, asked_drive, recorded_drive
from worldgen_views import views

from jwmtool.training.repair.task import with_rectangles
from jwmtool.worldgen.repair import Seen
from jwmtool.worldgen.tags import known_tags

Figures = dict[str, Any]


class Bench:
    """What all parts need; what only some do is opened when they ask."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from worldrec import clips_in

        from jwmtool.worldgen.sampler import Sampling

        self.arguments = arguments
        self.samples: int | None = arguments.samples
        guidance = {name: float(scale) for name, _, scale in (item.partition("=") for item in arguments.guidance)}
        sampling = Sampling(arguments.steps, arguments.shift, guidance, arguments.temperature)
        self.maker = Maker.open(
            arguments.model, arguments.autoencoder, sampling, arguments.device, arguments.keep, arguments.first_frame
        )
        self.clips = [clip for path in arguments.clips for clip in clips_in(path)]
        self.rigs = [clip for path in arguments.rigs for clip in clips_in(path)]
        self._worldrec: Any = None
        self._repair: Any = None
        self._estimators: Estimators | None = None

    def clip(self, path: Path) -> Any:
        """Read."""
        from jwmtool.artifacts.clip_io import read_clip

        return read_clip(path)

    @property
    def worldrec(self) -> Any:
        """For priors."""
        if self.arguments.worldrec is None:
            raise SystemExit("--worldrec: expected weights of WorldRec, to make priors with")
        if self._worldrec is None:
            from jwmtool.worldrec.checkpoint import load_model

            self._worldrec = load_model(self.arguments.worldrec, self.arguments.device)
        return self._worldrec

    @property
    def estimators(self) -> Estimators:
        """Trained ones."""
        if self.arguments.estimators is None:
            raise SystemExit("--estimators: expected the folder that bench/worldgen_estimators.py keeps them in")
        if self._estimators is None:
            self._estimators = Estimators(self.arguments.estimators)
        return self._estimators

    def some(self, paths: list[Path], count: int) -> list[Path]:
        """Evenly, at most so many (or as many as --samples asks for)."""
        count = min(len(paths), self.samples or count)
        if not count:
            raise SystemExit("--clips, --rigs: expected clips for this part, found none")
        return [paths[int((k + 0.5) * len(paths) / count)] for k in range(count)]

    def prior(self, clip: Any, cameras: list[str]) -> Any:
        """At the frames that follow those it is made of, repaired if `--repair` is given."""
        return prior_of_seen(self.seen(clip, cameras), self.repair)

    def seen(self, clip: Any, cameras: list[str]) -> list[Seen]:
        """What a prior is repaired from."""
        frames = self.later(clip)
        return seen_of_clip(clip, self.worldrec, range(frames.start), frames, cameras, self.arguments.device)

    @property
    def repair(self) -> Any:
        """The network that repairs priors, or None."""
        if self._repair is None and self.arguments.repair is not None:
            from jwmtool.worldgen.repair import load_repair

            self._repair = load_repair(self.arguments.repair, self.arguments.device)
        return self._repair

    def later(self, clip: Any) -> range:
        """Frames that are made with a prior; those before them are what it is made of."""
        start = min(self.arguments.context, len(clip.frames) - FRAMES)
        if start < 1:
            raise SystemExit(f"{clip.root}: expected more than {FRAMES} frames, found {len(clip.frames)}")
        return range(start, start + FRAMES)


def main() -> None:
    """Measure, print and write, part by part."""
    from jwmtool.device import num_threads

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--worldrec", type=Path)
    parser.add_argument("--repair", type=Path, help="weights that repair priors; else they stay as rendered")
    parser.add_argument("--first-frame", type=Path, help="weights that make first pictures of words")
    parser.add_argument("--estimators", type=Path)
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    parser.add_argument("--rigs", type=Path, nargs="*", default=[])
    parser.add_argument("--context", type=int, default=8, help="frames that priors are made of, where clips have them")
    parser.add_argument("--samples", type=int, help="videos, instead of each part's own number")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--shift", type=float, default=3.0)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--guidance", nargs="*", default=[], metavar="PART=SCALE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheets", type=Path, help="folder for pictures and videos")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"parts: expected {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    torch.set_num_threads(num_threads())
    bench = Bench(arguments)
    for name in arguments.parts:
        began = time.monotonic()
        figures = PARTS[name](bench)
        chosen = {name: getattr(arguments, name) for name in ("steps", "temperature", "keep")}
        figures |= {**chosen, "guidance": bench.maker.sampling.guidance}
        print(name, figures, flush=True)
        if arguments.json:
            record(arguments.json, name, figures, time.monotonic() - began)


def repairs(bench: Bench, holes: bool = False) -> Figures:
    """Better than the hole-filled prior over the whole frame, and no worse where it covers."""
    found: dict[str, list[float]] = {}
    for k, path in enumerate(bench.some(bench.clips, 20)):
        clip = bench.clip(path)
        camera = front_of(clip)
        seen = bench.seen(clip, [camera])
        if holes:
            rng = np.random.default_rng((bench.arguments.seed, k))
            seen = [with_rectangles(view, rng, both=True) for view in seen]
        filled, prior = prior_of_seen(seen), prior_of_seen(seen, bench.repair)
        drive, true = recorded_drive(clip, [camera], bench.later(clip)), true_frames(clip, camera, bench.later(clip))
        inside = filled.coverage[0] > COVERED
        generated = bench.maker.make(drive, bench.arguments.seed + k, prior)[0]
        bare = replace(bench.maker, decode_prior=False, keep=0.0)
        plain = bare.make(drive, bench.arguments.seed + k, prior)[0]
        round_trip = bench.maker.round_trip(true[None])[0]
        shown = {"generated": generated, "plain_decoder": plain, "prior": filled.color[0], "round_trip": round_trip}
        if bench.repair is not None:
            shown["repaired"] = prior.color[0]
        for name, frames in shown.items():
            found.setdefault(name, []).append(mean(frame_psnrs(frames, true)))
            found.setdefault(f"{name}_inside", []).append(mean(frame_psnrs(frames, true, inside)))
        found.setdefault("coverage", []).append(float(inside.double().mean()))
        print(
            "holes" if holes else "repairs", path.name, {name: values[-1] for name, values in found.items()}, flush=True
        )
    means = {name: mean(values) for name, values in found.items()}
    return {
        **means, "gain": round(means["generated"] - means["prior"], 3),
        "inside_above_bound": round(
            means["generated_inside"] - min(means["prior_inside"], means["round_trip_inside"]) + 0.3, 3
        ),
        "videos": len(found["prior"]),
    }  # fmt: skip


def another_prior(bench: Bench) -> Figures:
    """Its own prior against that of the next clip."""
    paths = bench.some(bench.clips, 20)
    own: list[float] = []
    other: list[float] = []
    clips = [bench.clip(path) for path in paths]
    priors = [bench.prior(clip, [front_of(clip)]) for clip in clips]
    for k, clip in enumerate(clips):
        camera = front_of(clip)
        drive, true = recorded_drive(clip, [camera], bench.later(clip)), true_frames(clip, camera, bench.later(clip))
        inside = priors[k].coverage[0] > COVERED
        for values, prior in ((own, priors[k]), (other, priors[(k + 1) % len(priors)])):
            made = bench.maker.make(drive, bench.arguments.seed + k, prior)[0]
            values.append(mean(frame_psnrs(made, true, inside)))
        print("prior", paths[k].name, own[-1], other[-1], flush=True)
    return {"own": mean(own), "other": mean(other), "above": round(mean(own) - mean(other), 3), "videos": len(own)}


def trajectories(bench: Bench) -> Figures:
    """Asked and estimated speed and yaw rate."""
    rng = np.random.default_rng(bench.arguments.seed)
    count = bench.samples or 40
    rows = []
    for k in range(count):
        clip = bench.clip(bench.clips[k * len(bench.clips) // count])
        camera = front_of(clip)
        speed_mps, yaw_rate_radps = rng.uniform(2.0, 16.0), rng.uniform(-0.25, 0.25)
        tags, start = known_tags(clip.tags), clip.world_from_rig[0]
        drive = asked_drive(clip.cameras[camera], speed_mps, yaw_rate_radps, tags, start=start)
        made = bench.maker.make(drive, bench.arguments.seed + k, first=true_frames(clip, camera, [0])[None])[0]
        model = drive.cameras[0]
        told = bench.estimators.motion(as_bytes(made), model.K, model.rig_from_cam, seconds(drive))
        rows.append([speed_mps, yaw_rate_radps, *told])
        print("trajectories", k, np.round(rows[-1], 3), flush=True)
    table = np.array(rows)
    return {
        "speed_correlation": round(spearman(table[:, 0], table[:, 2]), 4),
        "yaw_rate_correlation": round(spearman(table[:, 1], table[:, 3]), 4),
        "speed_error_mps": mean(np.abs(table[:, 0] - table[:, 2])),
        "yaw_rate_error_radps": round(float(np.abs(table[:, 1] - table[:, 3]).mean()), 4), "videos": count,
        "asked_and_estimated": np.round(table, 4).tolist(),
    }  # fmt: skip


def tagged(bench: Bench) -> Figures:
    """Weathers and events, asked for by name alone."""
    estimators, count = bench.estimators, bench.samples or 8
    weathers: list[tuple[str, str]] = []
    events: list[tuple[str, str]] = []
    cameras = [clip.cameras[front_of(clip)] for clip in map(bench.clip, bench.some(bench.clips, count))]
    rng = np.random.default_rng(bench.arguments.seed)
    for group, names, pairs, recognize in (
        ("weather", WEATHERS, weathers, estimators.weather),
        ("event", EVENTS[1:], events, estimators.event),
    ):
        for number, name in enumerate(names):
            for k in range(count):
                drive = asked_drive(cameras[k % len(cameras)], rng.uniform(5.0, 12.0), 0.0, {group: name})
                made = bench.maker.make(drive, bench.arguments.seed + 1000 * number + k)[0]
                pairs.append((name, recognize(as_bytes(made))))
            print(group, name, [taken for asked, taken in pairs if asked == name], flush=True)
    true_weathers, true_events = true_recognition(bench)
    made_weather, made_event = recognition(weathers), recognition(events)
    return {
        "weather": made_weather, "weather_true": true_weathers, "event": made_event, "event_true": true_events,
        "weather_of_true": share(made_weather["mean_of_classes"], true_weathers["mean_of_classes"]),
        "event_of_true": share(made_event["mean_of_classes"], true_events["mean_without_none"]),
    }  # fmt: skip


def share(made: float, true: float) -> float | None:
    """Of what is recognized on true videos; None where that is nothing."""
    return round(made / true, 3) if true else None


def true_recognition(bench: Bench) -> tuple[Figures, Figures]:
    """What is recognized on as many frames of true videos; of events only where the subject is seen."""
    weathers, events = [], []
    for path in bench.clips:
        clip = bench.clip(path)
        camera, frames = front_of(clip), range(min(FRAMES, len(clip.frames)))
        pictures = np.stack([fitted(clip.load_image(i, camera)) for i in frames])
        weathers.append((str(clip.tags.get("weather")), bench.estimators.weather(pictures)))
        event = str(clip.tags.get("event"))
        if event == "none" or (
            event in EVENTS and (subject_pixels(clip, camera, frames, event) > LEAST_PX).sum() >= LEAST_FRAMES
        ):
            events.append((event, bench.estimators.event(pictures)))
    return recognition(weathers), recognition(events)


def seeds(bench: Bench) -> Figures:
    """Bits."""
    drive = asked_drive(bench.clip(bench.clips[0]).cameras[front_of(bench.clip(bench.clips[0]))], 8.0, 0.0)
    first, again, other = (bench.maker.make(drive, seed) for seed in (1, 1, 2))
    return {
        "same_seed_same_bits": torch.equal(first, again),
        "another_seed_differs_by": round(float((first - other).abs().mean()), 4),
    }


def seconds(drive: Any) -> np.ndarray:
    """Times of its frames."""
    return np.asarray((drive.path.times_us - drive.path.times_us[0]) * 1e-6)


PARTS: dict[str, Callable[[Bench], Figures]] = {
    "repairs": repairs, "holes": partial(repairs, holes=True), "prior": another_prior, "trajectories": trajectories,
    "tags": tagged, "seeds": seeds,
    "views": views, "sheets": sheets,
}  # fmt: skip


if __name__ == "__main__":
    main()
