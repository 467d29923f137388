"""Generated videos to look at: rows of frames on a sheet, and MP4 files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from worldgen_figures import frame_psnrs
from worldgen_footage import EVENTS, WEATHERS, front_of
from worldgen_priors import prior_of_seen, true_frames
from worldgen_videos import FRAMES, RATE_HZ, as_bytes, asked_drive, recorded_drive

from jwmtool.artifacts.frame_meta import FrameMeta
from jwmtool.artifacts.video import write_video
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.joint.drive import Drive
from jwmtool.joint.layout import Layout
from jwmtool.worldgen.tags import known_tags

COLUMNS = 5
LATE = 11  # of the frames that are made, the one whose repair is shown


@dataclass(frozen=True)
class Row:
    """A video [T, 3, H, W] in [0, 1] of a drive's first camera, and what it is."""

    label: str
    frames: Tensor
    drive: Drive


def write_sheet(path: Path, rows: Sequence[Row]) -> None:
    """Evenly spaced frames of each video in a row, the first and the last among them."""
    pictures, labels = [], []
    for row in rows:
        chosen = [round(k * (len(row.frames) - 1) / (COLUMNS - 1)) for k in range(COLUMNS)]
        pictures += list(as_bytes(row.frames[chosen]))
        labels += [
            row.label,
            *(f"{(row.drive.path.times_us[i] - row.drive.path.times_us[0]) * 1e-6:.1f} s" for i in chosen[1:]),
        ]
    Image.fromarray(contact_sheet(pictures, labels, columns=COLUMNS)).save(path)


def write_videos(folder: Path, rows: Sequence[Row]) -> list[dict[str, str]]:
    """MP4s by number; returns their names and what they show."""
    told = []
    for number, row in enumerate(rows):
        path = folder / f"{number:02d}.mp4"
        with write_video(path, RATE_HZ, force=True) as writer:
            for i, picture in enumerate(as_bytes(row.frames)):
                camera, name = row.drive.camera_at(0, i), row.drive.cameras[0].name
                size = (picture.shape[1], picture.shape[0])
                time_us = int(row.drive.path.times_us[i])
                writer.write(picture, FrameMeta(time_us, name, camera.world_from_cam, camera.K, size))
        told.append({"file": path.name, "shows": row.label})
    return told


def sheets(bench: Any) -> dict[str, Any]:
    """A sheet for each condition, rows of frames; and ten videos, of those that had something to begin with."""
    folder = bench.arguments.sheets
    if folder is None:
        raise SystemExit("--sheets: expected a folder")
    folder.mkdir(parents=True, exist_ok=True)
    seed, maker = bench.arguments.seed, bench.maker
    rows: dict[str, list[Row]] = {}
    stills: list[Any] = []
    labels: list[str] = []
    paths = bench.some(bench.clips, 4)
    for k, path in enumerate(paths):
        clip = bench.clip(path)
        camera = front_of(clip)
        start, first = clip.world_from_rig[0], true_frames(clip, camera, [0])[None]
        for speed_mps, yaw_rate_radps in ((8.0, 0.25), (8.0, 0.0), (8.0, -0.25)):
            drive = asked_drive(clip.cameras[camera], speed_mps, yaw_rate_radps, known_tags(clip.tags), start)
            made = maker.make(drive, seed + k, first=first)[0]
            label = f"{path.name}, {speed_mps:g} m/s, {yaw_rate_radps:+g} rad/s"
            rows.setdefault("trajectories", []).append(Row(label, made, drive))
        if bench.arguments.worldrec is not None:
            seen, drive = bench.seen(clip, [camera]), recorded_drive(clip, [camera], bench.later(clip))
            shown = {"true": true_frames(clip, camera, bench.later(clip)), "rendered": seen[0].color}
            prior = prior_of_seen(seen, bench.repair)
            if bench.repair is not None:
                shown["repaired"] = prior.color[0]
                columns = {"rendered": seen[0].color, "carried": seen[0].carried, "repaired": prior.color[0]}
                for label, video in (*columns.items(), (f"{path.name}, true", shown["true"])):
                    stills.append(as_bytes(video[LATE : LATE + 1])[0])
                    labels.append(
                        f"{label}, {frame_psnrs(video, shown['true'])[LATE]:.1f} dB" if label in columns else label
                    )
            shown["generated"] = maker.make(drive, seed + k, prior)[0]
            rows.setdefault("priors", []).extend(Row(f"{path.name}, {n}", made, drive) for n, made in shown.items())
        for group, names in (("weather", WEATHERS), ("event", EVENTS[1:])):
            for name in names[k :: len(paths)]:
                drive = asked_drive(clip.cameras[camera], 8.0, 0.0, {group: name})
                rows.setdefault(group, []).append(
                    Row(f"{name}, nothing else told", maker.make(drive, seed + k)[0], drive)
                )
        drive = recorded_drive(clip, [camera], range(FRAMES))
        drawn = replace(drive, layout=Layout.of_clip(clip, start, int(clip.times_us[0])))
        for label, asked in (("its path", drive), ("its path and layout", drawn)):
            row = Row(f"{path.name}, {label}", maker.make(asked, seed + k, first=first)[0], asked)
            rows.setdefault("layout", []).append(row)
    for path in bench.some(bench.rigs, 2) if bench.rigs and bench.arguments.worldrec is not None else []:
        clip = bench.clip(path)
        names = list(clip.cameras)
        drive = recorded_drive(clip, names, bench.later(clip))
        made = maker.make(drive, seed, bench.prior(clip, names))
        rows.setdefault("views", []).extend(
            Row(f"{path.name}, {n}", video, replace(drive, cameras=(drive.cameras[v],)))
            for v, (n, video) in enumerate(zip(names, made, strict=True))
        )
    for name, some in rows.items():
        write_sheet(folder / f"{name}.png", some)
    if stills:
        Image.fromarray(contact_sheet(stills, labels, columns=4)).save(folder / "repair.png")
    begun = [row for name in ("trajectories", "priors", "layout") for row in rows.get(name, [])]
    every = [row for row in begun if not row.label.endswith(("true", "rendered", "repaired"))]
    ten = [every[len(every) * k // 10] for k in range(10)]
    write_sheet(folder / "ten.png", ten)
    videos = write_videos(folder, ten)
    return {"pictures": sorted(f"{name}.png" for name in rows), "videos": videos}
