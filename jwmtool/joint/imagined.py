"""The picture that a video begins with of which nothing was given: made of words and cameras alone."""

# V views.
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from jwmtool.joint.drive import Drive
from jwmtool.joint.generate import drawing
from jwmtool.worldgen.autoencoder_config import MULTIPLE
from jwmtool.worldgen.first_frame import INSIST, RAYS_PX, FirstFrame, drawn
from jwmtool.worldgen.rays import rays_of
from jwmtool.worldgen.sampler import Sampling
from jwmtool.worldgen.tags import tag_numbers

_HIGHEST = 128  # px
_NUMBER = 1  # its noise begins like that of frame 1, which is another network's


@torch.inference_mode()
def imagined(
    drive: Drive, model: FirstFrame, seed: int, sampling: Sampling, device: str
) -> Tensor:  # [V, 1, 3, H, W] in [0, 1], on the CPU
    """The first picture of each camera; the same seed gives the same bits on one device.

    Of the sampling its temperature and its guidance of the words count. Pictures higher than the network learned from
    are made as small as those, and enlarged.
    """
    size, views = _learned(drive.size), len(drive.cameras)
    rays = rays_of(drive.cameras, size, RAYS_PX)
    noise = drawn(views, size, drawing(seed, _NUMBER), device)
    made = model.paint(
        rays.to(device), tag_numbers(drive.tags).expand(views, -1).to(device), noise,
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
