"""A contact sheet of a scene: rendered views along its path for each camera, then the bird's-eye view."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from jwmtool.artifacts.atomic import atomic_file, check_output
from jwmtool.artifacts.scene import Scene
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.rendering.frames import bird_frames, render_frames
from jwmtool.rendering.paths import View, ego_path

_WIDTH, _COLUMNS, _GAP, _LABEL = 1600, 4, 6, 20
_INK, _PAPER = (30, 30, 30), (250, 250, 248)
_ORBIT_SIZE = (480, 320)
_BIRD_SIZE = (_WIDTH - 2 * _GAP, 480)


def write_scene_sheet(scene: Scene, path: Path, force: bool = False) -> Path:
    """Draw the sheet as PNG. A scene without cameras or path (an imported PLY) is shown from around instead.

    Returns:
        `path`.

    Raises:
        OutputExistsError: `path` exists and `force` is not set.
    """
    check_output(path, force)
    known = bool(scene.cameras) and len(scene.ego_times_us) > 0
    rows = _camera_rows(scene) if known else [("from around", _orbit(scene))]
    pictures = [(label, [frame.image for frame in render_frames(scene, views)]) for label, views in rows]
    if known:
        recorded = ego_path(scene)
        middle = len(recorded) // 2
        view = View(_ego_camera(scene, middle), int(recorded.times_us[middle]))
        world_from_rig = recorded.world_from_rig
        bird = next(iter(bird_frames(scene, [view] * len(world_from_rig), world_from_rig, size=_BIRD_SIZE)))
        pictures.append(("from above, without what is higher than a van", [bird.image]))
    sheet = _sheet(pictures)
    with atomic_file(path, force) as temporary:
        sheet.save(temporary, "PNG")
    return path


def _camera_rows(scene: Scene) -> list[tuple[str, list[View]]]:
    count = min(_COLUMNS, len(scene.ego_times_us))
    chosen = sorted({round(x) for x in np.linspace(0, len(scene.ego_times_us) - 1, count)})
    rows = []
    for name, model in scene.cameras.items():
        views = []
        for i in chosen:
            world_from_cam = scene.ego_world_from_rig[i] @ model.rig_from_cam
            camera = Camera(model.K, model.width, model.height, world_from_cam)
            views.append(View(camera, int(scene.ego_times_us[i]), name))
        start_us = int(scene.ego_times_us[0])
        times = ", ".join(f"{(view.time_us - start_us) * 1e-6:.1f} s" for view in views)
        rows.append((f"{name}  {times}", views))
    return rows


def _ego_camera(scene: Scene, index: int) -> Camera:
    model = next(iter(scene.cameras.values()))
    return Camera(model.K, model.width, model.height, scene.ego_world_from_rig[index] @ model.rig_from_cam)


def _orbit(scene: Scene) -> list[View]:
    """Views from four sides onto the middle of the Gaussians, far enough to see most of them."""
    means = se3.apply(scene.world_from_scene, scene.gaussians.means.double().cpu().numpy())
    if len(means) == 0:
        means = np.zeros((1, 3))
    center = np.median(means, 0)
    radius_m = max(float(np.quantile(np.linalg.norm(means - center, axis=1), 0.8)), 0.1)
    width, height = _ORBIT_SIZE
    K = np.array([[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1.0]])  # 90 degrees wide
    views = []
    for k in range(_COLUMNS):
        angle = (0.25 + 0.5 * k) * math.pi
        side = np.array([math.cos(angle), math.sin(angle), 0.5])
        camera = Camera(K, width, height, se3.look_at(center + 1.6 * radius_m * side, center))
        views.append(View(camera, scene.time_origin_us))
    return views


def _sheet(rows: list[tuple[str, list[NDArray[np.uint8]]]]) -> Image.Image:
    font = ImageFont.load_default(13)
    strips: list[Image.Image] = []
    for label, images in rows:
        columns = max(len(images), 1)
        cell = (_WIDTH - _GAP) // columns - _GAP
        height = max(1, round(cell * images[0].shape[0] / images[0].shape[1]))
        strip = Image.new("RGB", (_WIDTH, _LABEL + height + _GAP), _PAPER)
        ImageDraw.Draw(strip).text((_GAP, 3), label, _INK, font)
        for column, image in enumerate(images):
            picture = Image.fromarray(image).resize((cell, height), Image.Resampling.BILINEAR)
            strip.paste(picture, (_GAP + column * (cell + _GAP), _LABEL))
        strips.append(strip)
    sheet = Image.new("RGB", (_WIDTH, sum(strip.height for strip in strips)), _PAPER)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet
