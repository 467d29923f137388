"""A scene lifted from the true depth of the synthetic street: good to look at without any fitting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from street import make_street

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.scene import Scene
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry import se3

SH_C0 = 0.28209479177387814


def street_clip(folder: Path, num_frames: int = 7, width: int = 160, height: int = 96, stereo: bool = False) -> Clip:
    """A clip of which every fourth frame is withheld."""
    make_street(folder, num_frames=num_frames, width=width, height=height, stereo=stereo)
    return read_clip(folder)


def lifted_scene(clip: Clip) -> Scene:
    """One Gaussian for every pixel of the frames that are not withheld; a plain sky. Origin at the first rig pose."""
    points, colors, sizes, sky = [], [], [], []
    for frame, name in clip.images(withheld=False):
        camera, image = clip.camera_at(frame, name), clip.load_image(frame, name) / 255.0
        depth = np.load(clip.root / clip.extras["truth"]["depth"][name][frame]).astype(np.float64)
        seen = np.isfinite(depth) & (depth < 120.0)
        points.append(camera.world_from_cam[:3, 3] + camera.rays()[seen] * depth[seen][:, None])
        colors.append(image[seen])
        sizes.append(depth[seen] / camera.K[0, 0])
        sky.append(image[~np.isfinite(depth)])
    world_from_scene = clip.world_from_rig[0]
    means = torch.from_numpy(se3.apply(se3.inverse(world_from_scene), np.concatenate(points))).float()
    scales = torch.from_numpy(np.concatenate(sizes)).float()[:, None].repeat(1, 3) * 0.5
    sh = (torch.from_numpy(np.concatenate(colors)).float() - 0.5)[:, None] / SH_C0
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(len(means), 1)
    return Scene(
        Gaussians.static(means, quats, scales, torch.full((len(means),), 0.9), sh),
        world_from_scene,
        time_origin_us=int(clip.times_us[0]),
        sky=torch.from_numpy(np.concatenate(sky).mean(0)).float().expand(6, 4, 4, 3).contiguous(),
        cameras=clip.cameras,
        ego_times_us=clip.times_us,
        ego_world_from_rig=clip.world_from_rig,
    )
