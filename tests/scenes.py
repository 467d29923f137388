"""Random scenes for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from jwmtool.artifacts.clip import ClipCamera
from jwmtool.artifacts.scene import Scene
from jwmtool.gaussians.exposure import Exposure
from jwmtool.gaussians.model import STATIC_SIGMA_S, Gaussians
from jwmtool.geometry import se3


def random_gaussians(n: int, sh_degree: int = 1, seed: int = 0, moving: bool = True) -> Gaussians:
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    still = Gaussians.static(
        means=10 * normal(n, 3),
        quats=torch.nn.functional.normalize(normal(n, 4), dim=1),
        scales=torch.rand(n, 3, generator=rng) + 0.01,
        opacities=torch.rand(n, generator=rng) * 0.9 + 0.05,
        sh=normal(n, (sh_degree + 1) ** 2, 3),
    )
    if not moving:
        return still
    moves = torch.rand(n, generator=rng) < 0.3
    return still.replace(
        velocity=torch.where(moves[:, None], normal(n, 3), torch.zeros(n, 3)),
        time_mid=torch.where(moves, torch.rand(n, generator=rng), torch.zeros(n)),
        time_sigma=torch.where(moves, torch.full((n,), 0.5), torch.full((n,), STATIC_SIGMA_S)),
        actor=torch.where(moves, 0, -1).int(),
    )


def random_scene(n: int = 100, sh_degree: int = 1, seed: int = 0) -> Scene:
    path = np.stack([se3.translation([2.0 * i, 0.1 * i, 0]) @ se3.rotation_z(0.02 * i) for i in range(5)])
    camera = ClipCamera(
        "cam/front",
        np.array([[100.0, 0, 64], [0, 100, 32], [0, 0, 1]]),
        128,
        64,
        se3.translation([1, 0, 1.5]) @ se3.RIG_FROM_CAM_AXES,
    )
    rng = torch.Generator().manual_seed(seed)
    return Scene(
        gaussians=random_gaussians(n, sh_degree, seed),
        world_from_scene=se3.translation([500_000.25, 4_000_000.5, 30.0]) @ se3.rotation_z(0.3),
        time_origin_us=1_700_000_000_000_000,
        sky=torch.rand(6, 4, 4, 3, generator=rng),
        exposure={
            "cam/front": Exposure(
                np.array([0, 100_000], np.int64) + 1_700_000_000_000_000, torch.eye(3, 4).repeat(2, 1, 1)
            )
        },
        cameras={camera.name: camera},
        ego_times_us=np.arange(5, dtype=np.int64) * 100_000 + 1_700_000_000_000_000,
        ego_world_from_rig=path,
        actors=[{"id": "a", "category": "car", "size": [4.5, 1.8, 1.5]}],
        history=[{"argv": ["jwm", "test"], "seed": seed}],
    )


def lifted_street(clip_folder: Path) -> Scene:
    """The scene that a street's true depth and color give: one Gaussian a pixel of every fitted picture."""
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.geometry.harmonics import C0

    clip = read_clip(clip_folder)
    means, colors, scales = [], [], []
    for frame, name in clip.images(withheld=False):
        camera = clip.camera_at(frame, name)
        depth = np.load(clip_folder / clip.extras["truth"]["depth"][name][frame])
        hit = np.isfinite(depth)
        means.append(camera.world_from_cam[:3, 3] + (camera.rays() * np.where(hit, depth, 1.0)[..., None])[hit])
        colors.append(clip.load_image(frame, name)[hit] / 255.0)
        scales.append(0.5 * depth[hit] / camera.K[0, 0])
    xyz = torch.from_numpy(np.concatenate(means)).float()
    n = len(xyz)
    gaussians = Gaussians.static(
        xyz,
        torch.tensor([1.0, 0, 0, 0]).repeat(n, 1),
        torch.from_numpy(np.concatenate(scales)).float()[:, None].repeat(1, 3),
        torch.full((n,), 0.9),
        (torch.from_numpy(np.concatenate(colors)).float() - 0.5)[:, None] / C0,
    )
    return Scene(
        gaussians,
        np.eye(4),
        sky=torch.full((6, 4, 4, 3), 0.7),
        cameras=clip.cameras,
        ego_times_us=clip.times_us,
        ego_world_from_rig=clip.world_from_rig,
    )
