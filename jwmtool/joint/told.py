"""What the transformer is told of the frames of a drive."""

# V views, n frames, h x w latent cells.
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jwmtool.joint.drive import Drive
from jwmtool.joint.prior import PriorFrames
from jwmtool.worldgen.ego_motion import ego_motion
from jwmtool.worldgen.known import Known, cells
from jwmtool.worldgen.latents import VideoAutoencoder
from jwmtool.worldgen.rays import camera_rays
from jwmtool.worldgen.tags import tag_numbers


def tell(
    drive: Drive,
    frames: range,
    autoencoder: VideoAutoencoder,
    prior: PriorFrames | None,  # of these frames
    device: str = "cpu",  # of the autoencoder
) -> Known:  # on `device`
    """All that is known of some frames."""
    stride, views = autoencoder.stride, range(len(drive.cameras))
    some = slice(frames.start, frames.stop)
    times_s = (drive.path.times_us - drive.path.times_us[0]) * 1e-6
    poses = drive.path.world_from_rig
    before = (poses[frames.start - 1], float(times_s[frames.start - 1])) if frames.start else None
    rays = [camera_rays(c.K, c.rig_from_cam, c.height, c.width, stride) for c in drive.cameras]
    layout = coverage = latents = None
    if drive.layout is not None:
        maps = [[drive.layout.draw(drive.camera_at(v, f), int(drive.path.times_us[f])) for f in frames] for v in views]
        layout = _cells(torch.from_numpy(np.array(maps)), stride, reduced=True)
    if prior is not None:
        coverage = _cells(prior.trust, stride)
        latents = encode(autoencoder, prior.color, device)
    return Known(
        times_s=torch.from_numpy(times_s[some])[None],
        tags=tag_numbers(drive.tags)[None] if drive.tags else None,
        ego=ego_motion(poses[some], times_s[some], before)[None],
        prior=latents,
        coverage=coverage,
        rays=torch.stack(rays)[None, :, None].expand(-1, -1, len(frames), -1, -1, -1),
        layout=layout,
    ).to(device)


@torch.no_grad()
def encode(
    autoencoder: VideoAutoencoder,
    pictures: Tensor,  # [V, n, 3, H, W] in [0, 1]
    device: str,
) -> Tensor:  # [1, V, n, C, h, w]
    """Latents of all views."""
    return autoencoder.encode(pictures.to(device))[None]


def _cells(maps: Tensor, stride: int, reduced: bool = False) -> Tensor:
    """[V, n, m, ., .] to [1, V, n, ., h, w]."""
    return cells(maps.flatten(0, 1), stride, reduced).unflatten(0, maps.shape[:2])[None]
