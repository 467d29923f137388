"""What a video is asked for, resolved to facts: cameras, times, poses, tags and layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip, ClipCamera
from jwmtool.artifacts.scene import Scene
from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.trajectory import Offset, Trajectory
from jwmtool.joint.layout import Layout
from jwmtool.joint.path import actions_of, drive_path
from jwmtool.worldgen.autoencoder_config import MULTIPLE
from jwmtool.worldgen.tags import known_tags, tag_numbers

DEFAULT_RATE_HZ = 10.0
SIZES = ((224, 128), (416, 128))  # of the shipped models' training
_FIELD_OF_VIEW_RAD, _CAMERA_HEIGHT_M = math.radians(60.0), 1.5
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DriveRequest:
    """What a user asks for; None is "as recorded".

    Attributes:
        num_frames: of the video.
        rate_hz: frames a second.
        size: (width, height) px, multiples of `MULTIPLE`.
        cameras: names; None: the first.
        trajectory: a file, or words.
        offset: shifts the path.
        actions: [N, 2] speed (m/s) and yaw rate (rad/s) from each frame to the next.
        tags: by group of `tags.TAGS`; they win over those of a clip.
    """

    num_frames: int
    rate_hz: float | None = None
    size: tuple[int, int] | None = None
    cameras: tuple[str, ...] | None = None
    trajectory: str | None = None
    offset: Offset | None = None
    actions: Floats | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drive:
    """Facts of a video to make.

    Attributes:
        cameras: their K and size are those of the video; all of one size.
        path: F poses of the rig, one a frame.
        rate_hz: frames a second.
        tags: by group of `tags.TAGS`.
        layout: what is drawn into the views, or None.
        actions: [F, 2] speed (m/s) and yaw rate (rad/s) from each frame to the next.
    """

    cameras: tuple[ClipCamera, ...]
    path: Trajectory
    rate_hz: float
    tags: Mapping[str, str]
    layout: Layout | None
    actions: Floats

    def __len__(self) -> int:
        return len(self.path)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px."""
        return self.cameras[0].width, self.cameras[0].height

    def camera_at(self, view: int, frame: int) -> Camera:
        """In the world."""
        camera = self.cameras[view]
        pose = self.path.world_from_rig[frame] @ camera.rig_from_cam
        return Camera(camera.K, camera.width, camera.height, pose)


def resolve_drive(
    request: DriveRequest, scene: Scene | None = None, clip: Clip | None = None, layout: Clip | None = None
) -> Drive:
    """Cameras and path of the scene, else of the clip, else of the layout's clip, else a camera that looks ahead.

    Raises:
        UsageError: a size, camera, tag or path that cannot be; a scene without cameras and no clip that lends them.
        InputError: a bad file of a trajectory, or a clip without tracks as layout.
    """
    tags = {**({} if clip is None else known_tags(clip.tags)), **request.tags}
    tag_numbers(tags)
    lenders = [given for given in (clip, layout) if given is not None]
    rig = _rig(scene, lenders)
    cameras = _chosen(rig, request)
    recorded = _recorded(scene, lenders)
    rate_hz = request.rate_hz
    if rate_hz is None:
        rate_hz = DEFAULT_RATE_HZ if recorded is None else recorded.rate_hz
    path = drive_path(request.num_frames, rate_hz, recorded, request.trajectory, request.actions, rig)
    begin = path if recorded is None else recorded
    drawn = None if layout is None else Layout.of_clip(layout, begin.world_from_rig[0], int(begin.times_us[0]))
    if request.offset is not None:
        path = path.shifted(request.offset)
    return Drive(cameras, path, rate_hz, tags, drawn, actions_of(path))


def default_camera(size: tuple[int, int] = SIZES[0]) -> ClipCamera:
    """One that looks ahead, as high as a driver's eyes."""
    width, height = size
    focal_px = width / 2 / math.tan(_FIELD_OF_VIEW_RAD / 2)
    K = np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])
    return ClipCamera("front", K, width, height, se3.translation([0.0, 0.0, _CAMERA_HEIGHT_M]) @ se3.RIG_FROM_CAM_AXES)


def nearest_size(width: int, height: int) -> tuple[int, int]:
    """That of `SIZES` whose shape is most like a camera's."""
    return min(SIZES, key=lambda size: abs(math.log(size[0] / size[1] * height / width)))


def _rig(scene: Scene | None, lenders: list[Clip]) -> dict[str, ClipCamera]:
    if scene is not None and scene.cameras:
        return scene.cameras
    if lenders:
        return lenders[0].cameras
    if scene is not None:
        raise UsageError("--prior: expected a scene with cameras, found none; --clip CLIP lends those of a clip")
    camera = default_camera()
    return {camera.name: camera}


def _recorded(scene: Scene | None, lenders: list[Clip]) -> Trajectory | None:
    if scene is not None and len(scene.ego_times_us):
        return Trajectory(scene.ego_times_us, scene.ego_world_from_rig)
    return Trajectory(lenders[0].times_us, lenders[0].world_from_rig) if lenders else None


def _chosen(rig: dict[str, ClipCamera], request: DriveRequest) -> tuple[ClipCamera, ...]:
    names = request.cameras or tuple(rig)[:1]
    for k, name in enumerate(names):
        if name not in rig:
            raise UsageError(f"--cameras: expected some of {', '.join(rig)}, found {name!r}")
        if name in names[:k]:
            raise UsageError(f"--cameras: expected each camera once, found {name} twice")
    width, height = request.size or nearest_size(rig[names[0]].width, rig[names[0]].height)
    if width % MULTIPLE or height % MULTIPLE:
        raise UsageError(f"--size: expected multiples of {MULTIPLE} px, found {width}x{height}")
    chosen = []
    for name in names:
        model = rig[name]
        fitted = Camera(model.K, model.width, model.height, np.eye(4)).resized(width, height)
        chosen.append(replace(model, K=fitted.K, width=width, height=height))
    return tuple(chosen)
