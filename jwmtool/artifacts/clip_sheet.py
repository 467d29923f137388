"""A contact sheet of a clip: pictures over time for each camera, the path from above, and what was measured (lidar, or
sparse points, and boxes) drawn onto the pictures, so that a person sees whether it fits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.tracks import EDGES, box_at, corners

_WIDTH, _COLUMNS, _GAP, _LABEL, _MAP_HEIGHT = 1600, 5, 6, 18, 420
_INK, _PAPER, _FAINT, _WITHHELD, _MASKED = (30, 30, 30), (250, 250, 248), (190, 190, 190), (226, 88, 20), (170, 60, 200)
_STEPS_M = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def write_clip_sheet(clip: Clip, path: Path, force: bool = False) -> Path:
    """Draw the sheet as PNG: one row a camera, withheld pictures framed in orange, masked pixels tinted, then the path.

    Returns:
        `path`.

    Raises:
        InputError: a damaged picture. OutputExistsError: `path` exists and `force` is not given.
    """
    columns = _columns(clip)
    cell = (_WIDTH - _GAP) // max(len(columns) + (_measured(clip) is not None), 2) - _GAP
    rows = [_camera_row(clip, name, columns, cell) for name in clip.cameras]
    panel = _map_panel(clip)
    height = 40 + sum(row.height for row in rows) + panel.height + _GAP
    sheet = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    held = (
        f"   orange frame: withheld ({len(clip.images(True))} of {len(clip.images())} images)"
        if clip.images(True)
        else ""
    )
    title = f"{clip.name}   {len(clip.frames)} frames at {clip.rate_hz:.3g} Hz{held}"
    draw.text((_GAP, 10), title, _INK, _font(18))
    top = 40
    for row in [*rows, panel]:
        sheet.paste(row, (0, top))
        top += row.height
    with atomic_file(path, force) as temporary:
        sheet.save(temporary, "PNG")
    return path


def _columns(clip: Clip) -> list[int]:
    """Frames to show, spread over the clip; one of the withheld ones if there are any."""
    count = min(_COLUMNS, len(clip.frames))
    chosen = {round(x) for x in np.linspace(0, len(clip.frames) - 1, count)}
    if clip.split.frames and not chosen & set(clip.split.frames):
        chosen.discard(sorted(chosen)[len(chosen) // 2])
        middle = len(clip.frames) // 2
        chosen.add(min(clip.split.frames, key=lambda frame: abs(frame - middle)))
    return sorted(chosen)


def _camera_row(clip: Clip, name: str, columns: list[int], cell: int) -> Image.Image:
    camera = clip.cameras[name]
    height = max(1, round(cell * camera.height / camera.width))
    row = Image.new("RGB", (_WIDTH, height + _LABEL + _GAP), _PAPER)
    draw = ImageDraw.Draw(row)
    for column, frame in enumerate(columns):
        left = _GAP + column * (cell + _GAP)
        seconds = (clip.frames[frame].time_us - clip.frames[0].time_us) * 1e-6
        draw.text((left, 2), f"{name}  frame {frame}  {seconds:.2f} s", _INK, _font(12))
        if name not in clip.frames[frame].images:
            draw.rectangle((left, _LABEL, left + cell, _LABEL + height), outline=_FAINT)
            continue
        row.paste(_picture(clip, frame, name).resize((cell, height), Image.Resampling.BOX), (left, _LABEL))
        if clip.split.withholds(frame, name):
            draw.rectangle((left - 2, _LABEL - 2, left + cell + 1, _LABEL + height + 1), outline=_WITHHELD, width=4)
    if (measured := _measured(clip)) is not None:
        left = _GAP + len(columns) * (cell + _GAP)
        for frame in [f for f in columns if name in clip.frames[f].images][:1]:
            draw.text((left, 2), f"{name}  frame {frame}  {measured}", _INK, _font(12))
            row.paste(_measured_picture(clip, frame, name, (cell, height)), (left, _LABEL))
    return row


def _measured(clip: Clip) -> str | None:
    """What there is to draw onto a picture."""
    told = [(bool(clip.lidar), "lidar"), (clip.points is not None and not clip.lidar, "points"),
            (bool(clip.tracks), "boxes")]  # fmt: skip
    found = " and ".join(name for there, name in told if there)
    return f"{found}, near red to far blue" if found else None


def _picture(clip: Clip, frame: int, name: str) -> Image.Image:
    pixels = clip.load_image(frame, name)
    mask = clip.load_mask(frame, name)
    if mask is not None:
        pixels = pixels.copy()
        pixels[~mask] = (0.5 * pixels[~mask] + 0.5 * np.array(_MASKED)).astype(np.uint8)
    return Image.fromarray(pixels)


def _measured_picture(clip: Clip, frame: int, name: str, size: tuple[int, int]) -> Image.Image:
    time_us, camera = clip.frames[frame].images[name].time_us, clip.camera_at(frame, name)
    scale = size[0] / camera.width
    picture = np.asarray(_picture(clip, frame, name).resize(size, Image.Resampling.BOX)) // 2
    if clip.lidar:
        points = clip.load_lidar(min(range(len(clip.lidar)), key=lambda i: abs(clip.lidar[i].time_us - time_us)))
    else:
        points = clip.load_points()[0]
    pixels, depth_m = camera.project(points)
    with np.errstate(invalid="ignore"):
        seen = (depth_m > 0.5) & (pixels >= 0).all(1) & (pixels[:, 0] < camera.width) & (pixels[:, 1] < camera.height)
    x, y = (np.clip((pixels[seen] * scale).astype(int), 0, np.array(size) - 1)).T
    order = np.argsort(-depth_m[seen])  # near points last, on top
    colors = _range_color(depth_m[seen])[order]
    x, y = x[order], y[order]
    for dx in (0, 1):
        picture[y, np.minimum(x + dx, size[0] - 1)] = colors
    drawn = Image.fromarray(picture)
    draw = ImageDraw.Draw(drawn)
    for track in clip.tracks:
        world_from_box = box_at(track, time_us)
        if world_from_box is None:
            continue
        ends, depth_m = camera.project(corners(world_from_box, track.size_at(time_us)))
        if depth_m.min() > 0.5:
            color = tuple(_range_color(depth_m.mean(keepdims=True))[0].tolist())
            for a, b in EDGES:
                draw.line([*(ends[a] * scale), *(ends[b] * scale)], fill=color)
    return drawn


def _range_color(depth_m: NDArray[np.float64]) -> NDArray[np.uint8]:
    position = np.clip(np.log(np.maximum(depth_m, 2.0) / 2.0) / np.log(40.0), 0.0, 1.0)[:, None]
    stops = np.array([[255, 60, 40], [255, 210, 60], [70, 220, 120], [60, 120, 255]], np.float64)
    return np.stack([np.interp(position[:, 0], np.linspace(0, 1, 4), stops[:, c]) for c in range(3)], 1).astype(
        np.uint8
    )


def _map_panel(clip: Clip) -> Image.Image:
    """Path from above, first heading to the right, north of it up; a dot a frame, a tick each second with its speed."""
    rig = clip.world_from_rig
    points = np.stack([f.images[n].world_from_cam[:2, 3] for f in clip.frames for n in f.images])
    heading = rig[0, :2, 0] / max(float(np.linalg.norm(rig[0, :2, 0])), 1e-9)
    turn = np.array([heading, [-heading[1], heading[0]]])  # rows: right, up
    path = (rig[:, :2, 3] - rig[0, :2, 3]) @ turn.T
    tracks = [(t.world_from_box[:, :2, 3] - rig[0, :2, 3]) @ turn.T for t in clip.tracks]
    near = [t for t in tracks if np.abs(t - path.mean(0)).max() < 60.0]  # far boxes would shrink the path to a dot
    extent = np.concatenate([path, (points - rig[0, :2, 3]) @ turn.T, *near])
    low, high = extent.min(0) - 3.0, extent.max(0) + 3.0
    scale = float(min((_WIDTH - 120) / (high - low)[0], _MAP_HEIGHT / (high - low)[1]))
    center = (low + high) / 2
    height = round((high - low)[1] * scale) + 120
    panel = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(panel)

    def place(xy: NDArray[np.float64]) -> list[tuple[float, float]]:
        local = (np.atleast_2d(xy) - center) * scale
        return [(_WIDTH / 2 + float(x), height / 2 - float(y)) for x, y in local]

    for track in near:
        for x, y in place(track):
            draw.rectangle((x - 2, y - 2, x + 2, y + 2), outline=(120, 150, 90))
    dots = place(path)
    draw.line(dots, fill=_FAINT, width=2)
    for index, (x, y) in enumerate(dots):
        color = _WITHHELD if index in clip.split.frames else (40, 90, 180)
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
    _label_seconds(clip, draw, dots)
    step_m = next((s for s in _STEPS_M if s * scale > 80), _STEPS_M[-1])
    bottom = height - 24
    draw.line((30, bottom, 30 + step_m * scale, bottom), fill=_INK, width=3)
    draw.text((30, bottom - 20), f"{step_m} m", _INK, _font(13))
    length_m = np.linalg.norm(np.diff(rig[:, :3, 3], axis=0), axis=1).sum()
    note = f"path from above, {length_m:.1f} m" + (f"; squares: {len(near)} of {len(tracks)} actors" if near else "")
    draw.text((_GAP, 6), note, _INK, _font(14))
    return panel


def _label_seconds(clip: Clip, draw: ImageDraw.ImageDraw, dots: list[tuple[float, float]]) -> None:
    times_s = (clip.times_us - clip.times_us[0]) * 1e-6
    positions = clip.world_from_rig[:, :3, 3]
    every_s = max(1.0, float(np.ceil(times_s[-1] / 12)))
    for second in np.arange(0.0, times_s[-1] + 1e-6, every_s):
        index = int(np.abs(times_s - second).argmin())
        near = slice(max(index - 2, 0), min(index + 3, len(positions)))
        elapsed_s = times_s[near][-1] - times_s[near][0]
        way_m = np.linalg.norm(np.diff(positions[near], axis=0), axis=1).sum()
        speed = f"{way_m / elapsed_s:.1f} m/s" if elapsed_s > 0 else ""
        x, y = dots[index]
        draw.line((x, y + 5, x, y + 18), fill=_INK)
        draw.text((x - 12, y + 20), f"{times_s[index]:.0f} s\n{speed}", _INK, _font(12))


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
