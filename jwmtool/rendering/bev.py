"""The bird's-eye view: a far camera above the path that looks straight down, with what is high up cut away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import cKDTree

from jwmtool.artifacts.scene import Scene
from jwmtool.gaussians.rasterize import rasterize
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera

Matrix = NDArray[np.float64]
Picture = NDArray[np.uint8]

HEADROOM_M = 4.0  # over the rig: keeps cars and vans, cuts crowns of trees, bridges and wires
# What the cameras saw lies ahead of the path and beside it.
BEHIND_M, AHEAD_M, BESIDE_M = 8.0, 45.0, 16.0
GROUND = 0.09  # gray where there is nothing
PATH_COLOR = (255, 200, 40)
EGO_COLOR = (255, 70, 60)
DEFAULT_SIZE = (1280, 720)


@dataclass(frozen=True)
class BirdView:
    """Where the bird is.

    Attributes:
        camera: a pinhole so far above (20 times the half-diagonal) that tall things hardly lean.
        near_m: cuts all that is higher than HEADROOM_M over the highest rig pose.
        meters_per_px: at the height of the path.
    """

    camera: Camera
    near_m: float
    meters_per_px: float


def bird_view(world_from_rig: Matrix, size: tuple[int, int] = DEFAULT_SIZE) -> BirdView:
    """Place the camera over a path [F, 4, 4] so that all of it fits, with the driving direction to the right.

    Args:
        world_from_rig: the path (world z is up).
        size: (width, height) px.
    """
    width, height = size
    xyz = world_from_rig[:, :3, 3]
    right = _direction(world_from_rig)
    down = np.array([right[1], -right[0], 0.0])  # to the right of the driving direction
    along, across = xyz @ right, xyz @ down
    ends = (along.min() - BEHIND_M, along.max() + AHEAD_M)
    spans_m = (ends[1] - ends[0], np.ptp(across) + 2 * BESIDE_M)
    meters_per_px = max(spans_m[0] / width, spans_m[1] / height)
    height_m = 20.0 * 0.5 * meters_per_px * math.hypot(width, height)
    base_m, top_m = float(np.median(xyz[:, 2])), float(xyz[:, 2].max())
    center = right * (ends[0] + ends[1]) / 2 + down * (across.min() + across.max()) / 2
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, down, [0.0, 0.0, -1.0]], axis=1)
    pose[:3, 3] = [center[0], center[1], base_m + height_m]
    focal_px = height_m / meters_per_px
    K = np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])
    near_m = base_m + height_m - top_m - HEADROOM_M
    return BirdView(Camera(K, width, height, pose), near_m, meters_per_px)


def below_headroom(scene: Scene, world_from_rig: Matrix, headroom_m: float = HEADROOM_M) -> Scene:
    """The scene without Gaussians more than `headroom_m` above the nearest rig pose.

    On a hill one near plane is not enough.
    """
    if len(scene.gaussians) == 0:
        return scene
    means = se3.apply(scene.world_from_scene, scene.gaussians.means.detach().cpu().double().numpy())
    path = world_from_rig[:, :3, 3]
    _, nearest = cKDTree(path[:, :2]).query(means[:, :2])
    keep = torch.from_numpy(means[:, 2] - path[nearest, 2] < headroom_m).to(scene.gaussians.means.device)
    return replace(scene, gaussians=scene.gaussians.select(keep))


def render_bird(
    scene: Scene,  # as `below_headroom` leaves it
    bird: BirdView,
    time_us: int,
    path: Matrix,  # [F, 4, 4] drawn as a line
    ego: Matrix | None = None,  # [4, 4] drawn as an arrow
) -> tuple[Picture, float]:
    """Render the scene from above at a moment, with the path, the ego and a scale bar; also return mean alpha."""
    rendering = rasterize(scene.gaussians, scene.local(bird.camera), scene.seconds(time_us), near_m=bird.near_m)
    color = rendering.color + (1.0 - rendering.alpha)[..., None] * GROUND
    picture = (color.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).cpu().numpy()
    return _annotated(picture, bird, path, ego), float(rendering.alpha.mean())


def _annotated(picture: Picture, bird: BirdView, path: Matrix, ego: Matrix | None) -> Picture:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    pixels, _ = bird.camera.project(path[:, :3, 3])
    if len(pixels) > 1:
        draw.line(_points(pixels), PATH_COLOR, 2)
    if ego is not None:
        length_m = max(4.5, 14.0 * bird.meters_per_px)
        arrow_rig = np.array([[0.6, 0.0], [-0.4, 0.3], [-0.25, 0.0], [-0.4, -0.3]]) * length_m
        arrow, _ = bird.camera.project(se3.apply(ego, np.pad(arrow_rig, ((0, 0), (0, 1)))))
        draw.polygon(_points(arrow), EGO_COLOR)
    # A round length of about a sixth of the picture.
    target_m = bird.camera.width * bird.meters_per_px / 6
    power = 10.0 ** math.floor(math.log10(target_m))
    bar_m = max(m * power for m in (1, 2, 5) if m * power <= target_m)
    x, y, bar_px = 12, bird.camera.height - 14, bar_m / bird.meters_per_px
    draw.rectangle([x - 4, y - 22, x + bar_px + 4, y + 7], (0, 0, 0))
    draw.rectangle([x, y, x + bar_px, y + 3], (255, 255, 255))
    draw.text((x, y - 20), f"{bar_m:g} m", (255, 255, 255), ImageFont.load_default(13))
    return np.asarray(image)


def _points(pixels: Matrix) -> Sequence[tuple[float, float]]:
    return [(float(u), float(v)) for u, v in pixels]


def _direction(world_from_rig: Matrix) -> Matrix:
    """Horizontal unit vector [3] from the first to the last position, or ahead where the path stands still."""
    way = world_from_rig[-1, :3, 3] - world_from_rig[0, :3, 3]
    if np.hypot(way[0], way[1]) < 1.0:
        way = world_from_rig[0, :3, 0]
    flat = np.array([way[0], way[1], 0.0])
    return flat / max(float(np.linalg.norm(flat)), 1e-9)
