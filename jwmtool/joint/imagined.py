"""The picture that a video begins with of which nothing was given: made of words and cameras alone."""

# V views.
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from jwmtool.geometry.camera import Camera
from jwmtool.joint.drive import Drive
from jwmtool.worldgen.autoencoder_config import MULTIPLE
from jwmtool.worldgen.first_frame import RAYS_PX, FirstFrame, noises
from jwmtool.worldgen.rays import camera_rays
from jwmtool.worldgen.sampler import Sampling
from jwmtool.worldgen.tags import tag_numbers

INSIST = 2.0  # guidance of the words, if no other is asked for
_HIGHEST = 128  # px
_FIRST_FRAME = 1  # sets the noise of this picture apart from that of the video


@torch.inference_mode()
def imagined(
    drive: Drive, model: FirstFrame, seed: int, sampling: Sampling, device: str
) -> Tensor:  # [V, 1, 3, H, W] in [0, 1], on the CPU
    """The first picture of each camera; the same seed gives the same bits on one device.

    Of the sampling its temperature and its guidance of the words count. Pictures higher than the network learned from
    are made as small as those, and enlarged.
    """
    size, views = _learned(drive.size), len(drive.cameras)
    rays = []
    for c in drive.cameras:
        view = Camera(c.K, c.width, c.height, c.rig_from_cam).resized(*size)
        rays.append(camera_rays(view.K, c.rig_from_cam, view.height, view.width, RAYS_PX))
    mixed = np.random.SeedSequence([seed, _FIRST_FRAME, 0]).generate_state(1, np.uint64)[0]
    draw = torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
    first, second, third = (torch.randn(views, *shape, generator=draw).to(device) for shape in noises(size))
    made = model.paint(
        torch.stack(rays).to(device), tag_numbers(drive.tags).expand(views, -1).to(device), (first, second, third),
        views, sampling.guidance.get("text", INSIST), sampling.temperature,
    )  # fmt: skip
    if size != drive.size:
        made = interpolate(made, (drive.size[1], drive.size[0]), mode="bicubic").clamp(0.0, 1.0)
    return made[:, None].float().cpu()


def _learned(size: tuple[int, int]) -> tuple[int, int]:
    """Of a picture's size, or as much smaller as is no higher than `_HIGHEST`; multiples of 16."""
    width, height = size
    if height <= _HIGHEST:
        return size
    return max(MULTIPLE, round(width * _HIGHEST / height / MULTIPLE) * MULTIPLE), _HIGHEST
