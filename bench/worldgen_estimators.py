"""Estimators that say what a video shows: how the ego moves, what weather it is, whether something happens.

    python bench/worldgen_estimators.py --autoencoder runs/autoencoder --train worlds/a worlds/b --score worlds/eval \\
        --cache estimators/ --json bench/results/worldgen_estimators.json

Trained on clips of worlds, half of the pictures as they are and half as the autoencoder decodes them, and scored on
clips of other worlds, true and decoded. Weights are kept in `--cache` for bench/worldgen.py, and nowhere else.

  motion   rank correlation of speed (learned) and yaw rate (by geometry, worldgen_turning.py), averaged over each clip,
           with the truth
  weather  share of clips whose weather is recognized
  event    share of clips in which the event's subject is seen that are recognized, and of others that are taken for one
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from worldgen_figures import mean, record, spearman
from worldgen_footage import EVENTS, LEAST_FRAMES, SIZE, WEATHERS, Footage, gather, motion
from worldgen_networks import MotionNetwork, Recognizer, flow_between, geometry_of, gray
from worldgen_turning import yaw_rate

PARTS = ("motion", "weather", "event")
_TOP_SHARE = 0.25  # of frames that an event is looked for in


class Estimators:
    """Those whose weights lie in a folder."""

    def __init__(self, cache: Path) -> None:
        self.networks: dict[str, Any] = {name: network(name) for name in PARTS}
        self.thresholds: dict[str, float] = {}
        for name, net in self.networks.items():
            file = cache / f"{name}.pt"
            if file.is_file():
                kept = torch.load(file, weights_only=True)
                net.load_state_dict(kept["weights"])
                self.thresholds[name] = kept["threshold"]
            net.eval()

    def motion(self, frames: NDArray[np.uint8], K: Any, rig_from_cam: Any, times_s: Any) -> tuple[float, float]:
        """Speed, m/s, as learned, and yaw rate, rad/s, by geometry, averaged over frames [T, H, W, 3] of `SIZE`."""
        small = [gray(frame) for frame in frames]
        flows = np.stack([flow_between(a, b) for a, b in pairwise(small)])
        pairs = np.stack([np.stack(pair) for pair in pairwise(small)])
        geometry = geometry_of(np.asarray(K), np.asarray(rig_from_cam), SIZE)
        with torch.no_grad():
            steps = self.networks["motion"](
                torch.from_numpy(pairs).float() / 255.0, torch.from_numpy(flows).permute(0, 3, 1, 2),
                geometry.expand(len(pairs), -1, -1, -1),
            )  # fmt: skip
        seconds = float(times_s[-1] - times_s[0])
        return float(steps[:, 0].sum()) / seconds, yaw_rate(frames, K, rig_from_cam, seconds)

    def weather(self, frames: NDArray[np.uint8]) -> str:
        """Of all frames together."""
        with torch.no_grad():
            scores = self.networks["weather"](half(as_tensor(frames))).mean((2, 3)).log_softmax(1).mean(0)
        return WEATHERS[int(scores.argmax())]

    def event(self, frames: NDArray[np.uint8]) -> str:
        """Of all frames together, "none" if none is likely."""
        scores = self.event_scores(frames)
        best = int(scores.argmax())
        return EVENTS[1 + best] if float(scores[best]) > self.thresholds.get("event", 0.5) else "none"

    def event_scores(self, frames: NDArray[np.uint8]) -> Tensor:  # [len(EVENTS) - 1]
        """How sure the surest cells of the surest frames are."""
        with torch.no_grad():
            parts = [self.networks["event"](part) for part in as_tensor(frames).split(16)]
        each = torch.cat(parts).softmax(1)[:, 1:].flatten(2).topk(3, dim=2).values.mean(2)
        return each.topk(max(1, round(_TOP_SHARE * len(frames))), dim=0).values.mean(0)


def main() -> None:
    """Train what is asked for, score, print and write."""
    from worldrec import clips_in

    from jwmtool.device import num_threads
    from jwmtool.worldgen.autoencoder_checkpoint import load_autoencoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--train", type=Path, nargs="*", default=[], help="clips, or folders; none: only score")
    parser.add_argument("--score", type=Path, nargs="*", default=[])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000, help="of training, each part")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"parts: expected {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    torch.set_num_threads(num_threads())
    torch.manual_seed(0)
    autoencoder = load_autoencoder(arguments.autoencoder)
    chosen = arguments.parts or list(PARTS)

    def footage(folders: Sequence[Path], sides: bool = False) -> list[Footage]:
        clips = [clip for folder in folders for clip in clips_in(folder)]
        return gather(clips, arguments.cache / "footage", autoencoder, sides)

    training, scored = footage(arguments.train, sides=True), footage(arguments.score)
    print(f"{len(training)} videos to learn from, {len(scored)} to score on", flush=True)
    for name in chosen:
        began = time.monotonic()
        if arguments.train:
            from worldgen_training import TRAIN

            TRAIN[name](training, arguments.cache, arguments.steps)
        figures = {"videos": len(training), **score(name, scored, Estimators(arguments.cache))}
        print(name, figures, flush=True)
        if arguments.json:
            record(arguments.json, name, figures, time.monotonic() - began)


def network(name: str) -> nn.Module:
    """With first weights."""
    if name == "motion":
        return MotionNetwork()
    return Recognizer(len(WEATHERS)) if name == "weather" else Recognizer(len(EVENTS), wide=True)


def score(name: str, scored: Sequence[Footage], estimators: Estimators) -> dict[str, Any]:
    """Figures on true videos and on decoded ones."""
    found: dict[str, Any] = {}
    for which, label in enumerate(("true", "decoded")):
        if name == "motion":
            rows = []
            for f in scored:
                spent = f.times_s[-1] - f.times_s[0]
                steps = np.sum([motion(f, i, i + 1) for i in range(len(f.times_s) - 1)], axis=0) / spent
                rows.append([*steps, *estimators.motion(f.pictures[which], f.K, f.rig_from_cam, f.times_s)])
            told = np.array(rows)
            found[label] = {
                "speed_correlation": round(spearman(told[:, 0], told[:, 2]), 4),
                "yaw_rate_correlation": round(spearman(told[:, 1], told[:, 3]), 4),
                "speed_error_mps": mean(np.abs(told[:, 0] - told[:, 2])),
                "yaw_rate_error_radps": round(float(np.abs(told[:, 1] - told[:, 3]).mean()), 5), "clips": len(rows),
            }  # fmt: skip
        elif name == "weather":
            pairs = [(WEATHERS[f.weather], estimators.weather(f.pictures[which])) for f in scored if f.weather >= 0]
            found[label] = recognition(pairs)
        else:
            seen = [f for f in scored if f.event == 0 or (f.event > 0 and f.visible.sum() >= LEAST_FRAMES)]
            found[label] = recognition([(EVENTS[f.event], estimators.event(f.pictures[which])) for f in seen])
    return found


def recognition(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Of what was and what it was taken for: the share that agrees, in all and of each class, and what became of it."""
    table: dict[str, dict[str, int]] = {}
    for true, taken in pairs:
        row = table.setdefault(true, {})
        row[taken] = row.get(taken, 0) + 1
    each = {true: round(row.get(true, 0) / sum(row.values()), 3) for true, row in table.items()}
    right = sum(row.get(true, 0) for true, row in table.items())
    events = [share for true, share in each.items() if true != "none"]
    return {
        "share": round(right / len(pairs), 3) if pairs else None, "mean_of_classes": mean(list(each.values())),
        "mean_without_none": mean(events), "each": each, "taken_for": table, "clips": len(pairs),
    }  # fmt: skip


def as_tensor(frames: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255.0


def half(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2)


if __name__ == "__main__":
    main()
