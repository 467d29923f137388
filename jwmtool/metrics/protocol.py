"""What is compared with what: a scene with a clip, a video or folder of frames with a clip, or with another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.frame_meta import FrameMeta, read_meta
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.video import read_pictures
from jwmtool.errors import InputError
from jwmtool.metrics.depth import depth_truth
from jwmtool.metrics.image import MIN_SIZE_PX
from jwmtool.metrics.moving import moving_regions
from jwmtool.metrics.names import IMAGE_NAMES
from jwmtool.metrics.pairs import Key, Tick, cameras_told, picture_mask, scene_pair
from jwmtool.metrics.scores import Pair, Scores, score_pairs
from jwmtool.rendering.timeline import Timeline

SplitName = Literal["withheld", "train", "all"]
PROTOCOLS: dict[SplitName, str] = {"withheld": "withheld-views", "train": "training-views", "all": "all-views"}
TIME_TOLERANCE_US = 1000
POSE_TOLERANCE_M = 0.05
POSE_TOLERANCE_RAD = 0.01


def score_scene(
    scene: Scene,
    clip: Clip,
    split: SplitName = "withheld",
    names: tuple[str, ...] = IMAGE_NAMES,
    depth: bool = True,
    tick: Tick | None = None,
    moving: tuple[str, ...] | None = None,
) -> Scores:
    """Render the clip's pictures from the scene and compare.

    Args:
        scene: on the device that shall render.
        clip: the recording, at the size at which it was ingested.
        split: only pictures withheld from fitting, only the others, or all.
        names: "psnr", "ssim".
        depth: also score depth where the clip has the truth of a world, or else lidar.
        tick: told after each picture.
        moving: of "psnr", "ssim" what to score inside moving regions, where the clip has tracks; by default `names`.

    Raises:
        InputError: the split is empty, or a picture is missing or damaged.
    """
    keys = split_keys(clip, split)
    inside = names if moving is None else moving
    against = depth_truth(clip) if depth else None
    timeline = Timeline(scene)

    def pairs() -> Iterator[Pair]:
        for done, key in enumerate(keys):
            yield scene_pair(timeline, clip, key, against, bool(inside))
            if tick is not None:
                tick(done + 1, len(keys))

    scores = score_pairs(
        pairs(), PROTOCOLS[split], split, names, notes=fit_notes(scene, clip, keys), region_names=inside
    )
    return replace(scores, setting=_setting(clip, split), depth_truth=against)


def score_frames_on_clip(
    prediction: Path,
    clip: Clip,
    split: SplitName = "withheld",
    names: tuple[str, ...] = IMAGE_NAMES,
    tick: Tick | None = None,
    moving: tuple[str, ...] | None = None,
) -> Scores:
    """Compare a video (or folder of frames) with the clip's pictures of the same camera and time.

    Raises:
        InputError: frames without times and camera, from other poses, of another size, or none in the split.
    """
    keys = set(split_keys(clip, split))
    inside = names if moving is None else moving
    meta = read_meta(prediction)
    if not meta or any(m.camera is None for m in meta):
        raise InputError(prediction, "frames of one camera with their times (.jsonl)", "frames without")
    matches = [_match(prediction, clip, m) for m in meta]
    total = len(set(matches) & keys)
    if total == 0:
        raise InputError(prediction, f"frames at the times of the clip's {split} pictures", "none")

    def pairs() -> Iterator[Pair]:
        done = 0
        for image, key in zip(read_pictures(prediction), matches, strict=False):
            if key is None or key not in keys:
                continue
            frame, name = key
            truth = clip.load_image(frame, name)
            _check_size(prediction, image, truth)
            time_us = clip.frames[frame].images[name].time_us
            regions = moving_regions(clip, frame, name) if inside else {}
            yield Pair(frame, name, time_us, image, truth, picture_mask(clip, frame, name), regions=regions)
            done += 1
            if tick is not None:
                tick(done, total)

    notes = () if total == len(keys) else (f"{total} of the clip's {len(keys)} {split} pictures are in the prediction",)
    setting = _setting(clip, split)
    return score_pairs(pairs(), PROTOCOLS[split], split, names, notes=notes, setting=setting, region_names=inside)


def score_frames(
    prediction: Path, reference: Path, names: tuple[str, ...] = IMAGE_NAMES, tick: Tick | None = None
) -> Scores:
    """Compare two videos (or folders of frames), frame by frame in order.

    Raises:
        InputError: another number of frames, other sizes or times, or a damaged file.
    """
    meta, other = read_meta(prediction), read_meta(reference)
    if meta and other and [m.time_us for m in meta] != [m.time_us for m in other]:
        raise InputError(prediction, f"the frame times of {reference}", "others")
    total = len(meta) or len(other)

    def pairs() -> Iterator[Pair]:
        left, right = read_pictures(prediction), read_pictures(reference)
        for i, image in enumerate(left):
            truth = next(right, None)
            if truth is None:
                raise InputError(reference, "as many frames as the prediction", f"only {i}")
            _check_size(prediction, image, truth)
            known = (meta or other)[i] if i < total else FrameMeta(0)
            yield Pair(i, known.camera, known.time_us if total else None, image, truth)
            if tick is not None:
                tick(i + 1, max(total, i + 1))
        if next(right, None) is not None:
            raise InputError(prediction, f"as many frames as {reference}", "fewer")

    return score_pairs(pairs(), "frame-by-frame", None, names)


def split_keys(clip: Clip, split: SplitName) -> list[Key]:
    """(frame, camera) of the pictures in a split.

    Raises:
        InputError: there are none.
    """
    keys = clip.images({"withheld": True, "train": False, "all": None}[split])
    if not keys and split == "withheld":
        raise InputError(
            clip.root, "withheld pictures (jwm ingest --withhold every=4)", "none; --split all scores fitted ones too"
        )
    if not keys:
        raise InputError(clip.root, f"pictures in the split {split!r}", "none")
    return keys


def fit_notes(scene: Scene, clip: Clip, keys: list[Key]) -> tuple[str, ...]:
    """What a reader of the figures must know: whether scored pictures were fitted (exposure tells its times)."""
    fitted = {name: set(e.times_us.tolist()) for name, e in scene.exposure.items()}
    count = sum(clip.frames[i].images[name].time_us in fitted.get(name, ()) for i, name in keys)
    return (f"{count} of the {len(keys)} scored pictures were fitted",) if count else ()


def _setting(clip: Clip, split: SplitName) -> str:
    """What the split is, in words."""
    rules = ", ".join(clip.split.rules) or "as clip.json says"
    told = {"withheld": f"withheld: {rules}", "train": "those not withheld", "all": "all, fitted ones too"}[split]
    return f"{len(clip.frames)} frames at {clip.rate_hz:.3g} Hz, {cameras_told(clip)}; {told}"


def _match(path: Path, clip: Clip, meta: FrameMeta) -> Key | None:
    """The clip's picture of this frame's camera and time; None if it took none then."""
    if meta.scene_time_us is not None and meta.scene_time_us != meta.time_us:
        raise InputError(path, "frames that show their own time", "a frozen moment")
    for i, frame in enumerate(clip.frames):
        record = frame.images.get(meta.camera or "")
        if record is None or abs(record.time_us - meta.time_us) > TIME_TOLERANCE_US:
            continue
        if meta.world_from_cam is not None:
            away_m = float(np.linalg.norm(meta.world_from_cam[:3, 3] - record.world_from_cam[:3, 3]))
            cosine = (np.trace(meta.world_from_cam[:3, :3].T @ record.world_from_cam[:3, :3]) - 1.0) / 2.0
            turn_rad = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
            if away_m > POSE_TOLERANCE_M or turn_rad > POSE_TOLERANCE_RAD:
                found = f"one {away_m:.2f} m and {np.degrees(turn_rad):.1f} deg away at {meta.time_us} us"
                raise InputError(path, "frames seen from the recorded poses", found)
        return i, record.camera
    return None


def _check_size(path: Path, image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
    if image.shape != truth.shape:
        want, got = (f"{s[1]}x{s[0]} px" for s in (truth.shape, image.shape))
        raise InputError(path, f"frames of {want}, as the reference", f"{got}")
    if min(image.shape[:2]) < MIN_SIZE_PX:
        raise InputError(path, f"frames of at least {MIN_SIZE_PX} px a side", f"{image.shape[1]}x{image.shape[0]} px")
