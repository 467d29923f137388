"""A world of a plane and boxes, cast by hand: quick, exact, and with the same face as `worlds.world.World`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.worlds.description import STEP_S
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.rigs import Rig, make_rig
from jwmtool.worlds.shapes.surfaces import Class
from jwmtool.worlds.spec import WorldSpec

SPEED_MPS = 6.0
COLORS = np.array([[120, 160, 220], [90, 90, 90], [200, 60, 40], [40, 140, 60], [60, 60, 200]], np.uint8)


@dataclass(frozen=True)
class FakeTrack:
    id: str
    instance: int
    category: str
    size: tuple[float, float, float]
    world_from_box: np.ndarray
    sizes: np.ndarray | None = None


@dataclass
class FakeDescription:
    spec: WorldSpec
    rig: Rig
    event_time_s: float | None = None
    # id, category, size, start x, y, speed along x
    boxes: list[tuple[str, str, tuple[float, float, float], float, float, float]] = field(
        default_factory=lambda: [
            ("car_00", "car", (4.4, 1.8, 1.5), 14.0, 0.4, 6.0),
            ("lorry_01", "lorry", (8.0, 2.5, 3.4), 24.0, 6.0, 0.0),
            ("pedestrian_02", "pedestrian", (0.6, 0.6, 1.7), 12.0, -4.0, 1.4),
        ]
    )

    @property
    def actors(self) -> list[Any]:
        return [SimpleNamespace(id=box[0]) for box in self.boxes]

    @property
    def things(self) -> list[Any]:
        return [SimpleNamespace(kind="house")]

    @property
    def network(self) -> Any:
        def lanes() -> list[dict[str, Any]]:
            points = [[float(x), 0.0] for x in range(-200, 400, 2)]
            return [{"id": "l0", "kind": "drive", "width_m": 3.5, "edge": 0, "direction": 1, "points": points}]

        lap = SimpleNamespace(path=SimpleNamespace(length_m=600.0))
        return SimpleNamespace(lanes=lanes, circuits=[lap])

    @property
    def terrain(self) -> Any:
        return SimpleNamespace(height=lambda x, y: np.zeros(np.shape(x)))

    def content_sha256(self) -> str:
        return hashlib.sha256(repr((self.spec, self.rig, self.boxes)).encode()).hexdigest()


class FakeWorld:
    def __init__(self, description: FakeDescription) -> None:
        self.description = description
        self.num_frames = description.spec.num_frames

    def frame_time_s(self, frame: int) -> float:
        return frame / self.description.spec.rate_hz

    def world_from_rig(self, frame: int) -> np.ndarray:
        return se3.translation((SPEED_MPS * self.frame_time_s(frame), 0.0, 0.0))

    def controls(self, frame: int) -> np.ndarray:
        return np.array([SPEED_MPS, 0.0, 0.0, 0.0])

    def camera(self, frame: int, name: str) -> Camera:
        model = self.description.rig.camera(name)
        return Camera(model.K, model.width, model.height, self.world_from_rig(frame) @ model.rig_from_cam)

    def _poses(self, time_s: float) -> list[np.ndarray]:
        return [se3.translation((x + v * time_s, y, size[2] / 2)) for _, _, size, x, y, v in self.description.boxes]

    def tracks(self) -> list[FakeTrack]:
        poses = [self._poses(self.frame_time_s(i)) for i in range(self.num_frames)]
        return [
            FakeTrack(box[0], k + 1, box[1], box[2], np.stack([row[k] for row in poses]))
            for k, box in enumerate(self.description.boxes)
        ]

    def cast(self, origin: np.ndarray, rays: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Range along `rays` [..., 3] (inf: sky) and what is hit: -1 sky, 0 ground, k + 1 box k."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.inf)
            what = np.where(np.isfinite(t), 0, -1)
            for k, (pose, box) in enumerate(zip(self._poses(time_s), self.description.boxes, strict=True)):
                half = 0.5 * np.array(box[2])
                a, b = (pose[:3, 3] - half - origin) / rays, (pose[:3, 3] + half - origin) / rays
                near, far = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
                hit = (near < far) & (near > 0) & (near < t)
                t, what = np.where(hit, near, t), np.where(hit, k + 1, what)
        return t, what

    def view(self, frame: int, name: str, supersampling: int = 2) -> Any:
        camera = self.camera(frame, name)
        depth, what = self.cast(camera.world_from_cam[:3, 3], camera.rays(), self.frame_time_s(frame))
        sky = what < 0
        classes = np.array([Class.SKY, Class.ROAD, Class.CAR, Class.LORRY, Class.PEDESTRIAN], np.uint8)
        speeds = np.array([0.0, 0.0, *(box[5] for box in self.description.boxes)])
        scene_flow = np.zeros((*depth.shape, 3), np.float32)
        scene_flow[..., 0] = speeds[what + 1] / self.description.spec.rate_hz
        normal = np.zeros((*depth.shape, 3), np.float32)
        normal[~sky] = (0.6, 0.0, 0.8)
        flow = np.full((*depth.shape, 2), 1.5, np.float32)
        flow[0, 0] = np.nan
        return SimpleNamespace(
            image=COLORS[what + 1],
            depth=depth.astype(np.float32),
            normal=normal,
            instance=np.maximum(what, 0).astype(np.uint16),
            semantic=classes[what + 1],
            flow=flow,
            scene_flow=scene_flow,
        )

    def sweep(self, frame: int) -> np.ndarray:
        lidar = self.description.rig.lidar
        pose = self.world_from_rig(frame) @ lidar.rig_from_lidar
        azimuth = np.arange(0, 360, 1.0) * np.pi / 180
        a, e = np.meshgrid(azimuth, lidar.elevations_rad)
        rays = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], -1).reshape(-1, 3)
        t, _ = self.cast(pose[:3, 3], rays @ pose[:3, :3].T, self.frame_time_s(frame))
        keep = t < lidar.max_range_m
        return np.column_stack([rays[keep] * t[keep, None], np.full(keep.sum(), 0.5)]).astype(np.float32)


def fake_world(spec: WorldSpec, rig: Any = "front1", lidar: str = "auto") -> FakeWorld:
    """As `worlds.world.make_world`."""
    spec = spec.resolved()
    made = make_rig(rig, spec.width, spec.height, Stream(spec.seed, "rig"), lidar)
    return FakeWorld(FakeDescription(spec, made, None if spec.event == "none" else 3 * STEP_S))
