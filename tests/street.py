"""A small synthetic street made on the spot: ray-cast road, facades, parked cars and trees, with exact depth.

Tests of fitting, stereo and rendering use it as truth: it owes nothing to `jwm world`. Textures are low-frequency
and fade where a pixel is wider than their grain, and edges are supersampled, so that what a camera sees between two
frames can be predicted from the frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import street_raycast as raycast
from numpy.typing import NDArray

from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float64]

RATE_HZ = 10.0
STEP_M = 0.8  # ego travel per frame
RADIUS_M = 450.0  # of the street's left bend
LANE_M = -1.7  # the ego's lateral place, left positive
CAMERA_HEIGHT_M = 1.6
BASELINE_M = 0.54  # of the optional stereo pair


@dataclass(frozen=True)
class StreetView:
    """One rendered picture with its truth."""

    frame: int
    camera_name: str
    camera: Camera
    image: NDArray[np.uint8]  # [H, W, 3] sRGB
    depth: NDArray[np.float32]  # [H, W] metres along z, inf in the sky


def street_images(
    seed: int = 0,
    *,
    num_frames: int = 24,
    width: int = 224,
    height: int = 128,
    stereo: bool = False,
    moving_car: bool = False,
    supersampling: int = 3,
) -> tuple[list[NDArray[np.uint8]], list[Camera], list[NDArray[np.float32]]]:
    """Render a street; return images [H, W, 3] uint8, cameras and z-depths [H, W] metres (inf: sky).

    The order is by frame, then by camera (`front`, and `front_right` if `stereo`).
    """
    views = render_street(
        seed,
        num_frames=num_frames,
        width=width,
        height=height,
        stereo=stereo,
        moving_car=moving_car,
        supersampling=supersampling,
    )
    return [v.image for v in views], [v.camera for v in views], [v.depth for v in views]


def render_street(
    seed: int = 0,
    *,
    num_frames: int = 24,
    width: int = 224,
    height: int = 128,
    stereo: bool = False,
    moving_car: bool = False,
    supersampling: int = 3,
) -> list[StreetView]:
    """Render a street, seen from a car that drives along it; see `street_images`.

    Args:
        seed: decides buildings, cars, trees, colors and the sun.
        num_frames: at 10 Hz and 0.8 m a frame.
        width, height: in pixels.
        stereo: add a second camera 0.54 m to the right.
        moving_car: add a car that comes towards the camera in the other lane at 6 m/s.
        supersampling: rays a pixel and axis.

    Raises:
        UsageError: a size or count is out of range.
    """
    if num_frames < 1 or width < 16 or height < 16 or supersampling < 1:
        raise UsageError(
            f"street: expected num_frames >= 1, size >= 16x16 and supersampling >= 1, "
            f"found {num_frames}, {width}x{height} and {supersampling}"
        )
    rng = np.random.default_rng(seed)
    solids = _build(rng, street_length_m=max(170.0, 110.0 + num_frames * STEP_M))
    elevation, azimuth = rng.uniform(0.7, 0.95), rng.choice([-1, 1]) * rng.uniform(1.9, 2.5)
    sun = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    views = []
    for frame in range(num_frames):
        shown = solids
        if moving_car:
            shown = _Solids(list(solids.rows))
            shown.car(45.0 - 0.6 * frame, 1.75, np.array([0.75, 0.72, 0.12]), np.pi)
        table = shown.table()
        pose = world_from_rig(frame)
        for name, rig_from_cam in cameras(stereo).items():
            camera = Camera(intrinsics(width, height), width, height, pose @ rig_from_cam)
            color, depth = raycast.render(camera, table, sun, RADIUS_M, supersampling)
            image = (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)
            views.append(StreetView(frame, name, camera, image, depth.astype(np.float32)))
    return views


def make_street(
    folder: Path,
    *,
    seed: int = 0,
    num_frames: int = 24,
    width: int = 224,
    height: int = 128,
    stereo: bool = False,
    moving_car: bool = False,
    force: bool = False,
) -> Path:
    """Render a street and write it as a clip with withheld frames (index mod 4 = 2) and depth truth.

    `extras["truth"]["depth"][camera][frame]` names a float32 .npy [H, W] of metres along z, inf in the sky.

    Raises:
        OutputExistsError: the folder exists and `force` is not set.
        UsageError: a size or count is out of range.
    """
    from jwmtool.artifacts.atomic import atomic_folder, check_output
    from jwmtool.artifacts.clip import Clip, ClipCamera, ClipFrame, ClipImage, Split
    from jwmtool.artifacts.clip_io import write_clip_json
    from jwmtool.artifacts.images import write_png

    folder = Path(folder)
    check_output(folder, force)
    views = render_street(seed, num_frames=num_frames, width=width, height=height, stereo=stereo, moving_car=moving_car)
    rig = {
        name: ClipCamera(name, intrinsics(width, height), width, height, rig_from_cam)
        for name, rig_from_cam in cameras(stereo).items()
    }
    with atomic_folder(folder, force) as part:
        truth: dict[str, list[str]] = {name: [] for name in rig}
        pictures: list[dict[str, ClipImage]] = [{} for _ in range(num_frames)]
        for view in views:
            time_us = round(view.frame * 1e6 / RATE_HZ)
            file = f"images/{view.camera_name}/{view.frame:06d}.png"
            truth_file = f"truth/depth/{view.camera_name}/{view.frame:06d}.npy"
            for path in (part / file, part / truth_file):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_png(part / file, view.image)
            np.save(part / truth_file, view.depth)
            truth[view.camera_name].append(truth_file)
            pictures[view.frame][view.camera_name] = ClipImage(
                view.camera_name, file, time_us, view.camera.world_from_cam
            )
        clip = Clip(
            root=part,
            name=f"street-{seed}",
            source={"format": "world", "kind": "street", "seed": seed},
            licence="Apache-2.0",
            cameras=rig,
            frames=[
                ClipFrame(round(i * 1e6 / RATE_HZ), world_from_rig(i), images) for i, images in enumerate(pictures)
            ],
            split=Split(frames=tuple(range(2, num_frames, 4)), rules=("every=4",)),
            tags={"synthetic": True},
            extras={"truth": {"depth": truth}},
        )
        write_clip_json(clip, part)
    return folder


def intrinsics(width: int, height: int) -> Floats:
    """K [3, 3] of a camera that sees 76 degrees across, its horizon a little above the middle."""
    focal_px = 0.5 * width / math.tan(math.radians(38.0))
    return np.array([[focal_px, 0.0, 0.5 * width], [0.0, focal_px, 0.47 * height], [0.0, 0.0, 1.0]])


def cameras(stereo: bool) -> dict[str, Floats]:
    """rig_from_cam [4, 4] by camera name; the rig's origin is on the road."""
    front = se3.translation([1.0, 0.0, CAMERA_HEIGHT_M]) @ se3.RIG_FROM_CAM_AXES
    rig = {"front": front}
    if stereo:
        rig["front_right"] = front @ se3.translation([BASELINE_M, 0.0, 0.0])
    return rig


def world_from_rig(frame: int) -> Floats:
    """The ego's pose [4, 4] at a frame: along the bend, swaying a little as a car does."""
    s = frame * STEP_M
    x, y, heading = _on_street(s, LANE_M + 0.15 * math.sin(0.11 * s))
    return se3.translation([x, y, 0.0]) @ se3.rotation_z(heading + 0.012 * math.cos(0.11 * s))


def _on_street(s: float, d: float) -> tuple[float, float, float]:
    """x, y and heading at `s` metres along the bent street, `d` metres left of its middle."""
    angle = s / RADIUS_M
    return math.sin(angle) * (RADIUS_M - d), RADIUS_M - math.cos(angle) * (RADIUS_M - d), angle


class _Solids:
    """Boxes, spheres and upright cylinders being placed along the street."""

    def __init__(self, rows: list[tuple[float, ...]] | None = None) -> None:
        self.rows = rows or []

    def add(
        self, shape: int, material: int, s: float, d: float, z: float, half: Floats, color: Floats, turn: float = 0.0
    ) -> None:
        x, y, heading = _on_street(s, d)
        yaw = heading + turn
        grain = float(len(self.rows) % 97)
        self.rows.append((shape, material, x, y, z, *half, math.cos(yaw), math.sin(yaw), *color, grain))

    def car(self, s: float, d: float, color: Floats, turn: float = 0.0) -> None:
        """A body with wheels and lights, and a glazed cabin a little behind its middle."""
        self.add(raycast.BOX, raycast.CAR_BODY, s, d, 0.53, np.array([2.1, 0.86, 0.40]), color, turn)
        back = -0.25 * math.cos(turn)
        self.add(raycast.BOX, raycast.CAR_CABIN, s + back, d, 1.2, np.array([1.15, 0.76, 0.27]), color, turn)

    def table(self) -> Floats:
        """[P, 14]: shape, material, centre, half sizes, cos and sin of yaw, color, texture seed."""
        return np.array(self.rows, np.float64)


_FACADES = np.array(
    [
        [0.78, 0.66, 0.50],
        [0.72, 0.48, 0.38],
        [0.85, 0.80, 0.70],
        [0.62, 0.62, 0.64],
        [0.80, 0.72, 0.46],
        [0.58, 0.42, 0.36],
    ]
)
_PAINTS = np.array(
    [
        [0.60, 0.10, 0.10],
        [0.12, 0.22, 0.50],
        [0.78, 0.78, 0.80],
        [0.15, 0.15, 0.17],
        [0.45, 0.48, 0.50],
        [0.10, 0.32, 0.22],
    ]
)


def _build(rng: np.random.Generator, street_length_m: float) -> _Solids:
    """Place buildings, parked cars, trees and lamps on both sides."""
    solids = _Solids()
    for side in (-1.0, 1.0):
        s = -20.0
        while s < street_length_m:
            length, height, gap = rng.uniform(8, 15), rng.uniform(5.5, 12), rng.choice([0.0, 0.0, 2.5])
            setback = 8.2 + rng.uniform(0, 0.8)
            color = _FACADES[rng.integers(len(_FACADES))] * rng.uniform(0.85, 1.0)
            half = np.array([length / 2, 5.0, height / 2])
            solids.add(raycast.BOX, raycast.FACADE, s + length / 2, side * (setback + 5.0), height / 2, half, color)
            s += length + gap
        s = rng.uniform(0, 6)
        while s < street_length_m * 0.8:
            if rng.random() < 0.75:
                paint = _PAINTS[rng.integers(len(_PAINTS))] * rng.uniform(0.8, 1.1)
                solids.car(s, side * rng.uniform(4.3, 4.5), paint, 0.0 if side < 0 else math.pi)
            s += rng.uniform(5.6, 8.5)
        s = rng.uniform(4, 12)
        while s < street_length_m * 0.8:
            if rng.random() < 0.7:
                _tree(solids, rng, s, side * 6.5)
            else:
                solids.add(
                    raycast.CYLINDER, raycast.METAL, s, side * 6.0, 2.5, np.array([0.09, 0.09, 2.5]), np.full(3, 0.35)
                )
            s += rng.uniform(9, 17)
    return solids


def _tree(solids: _Solids, rng: np.random.Generator, s: float, d: float) -> None:
    trunk = rng.uniform(2.2, 2.9)
    bark = np.array([0.33, 0.25, 0.18])
    solids.add(raycast.CYLINDER, raycast.BARK, s, d, trunk / 2, np.array([0.16, 0.16, trunk / 2]), bark)
    green = np.array([0.22, 0.36, 0.12]) * rng.uniform(0.8, 1.2)
    for _ in range(3):
        ds, dd, dz = rng.uniform(-0.6, 0.6, 3)
        radius = rng.uniform(0.9, 1.25)
        solids.add(raycast.SPHERE, raycast.LEAVES, s + ds, d + 0.6 * dd, trunk + 0.7 + dz, np.full(3, radius), green)
