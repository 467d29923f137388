"""Score the autoencoder on fixed pictures of clips kept away from training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jwmtool.artifacts.clip import Clip
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.imaging.similarity import psnr, ssim
from jwmtool.training.autoencoder.degrade import degraded
from jwmtool.training.autoencoder.pictures import Shape, load_picture, shape_of, usable_keys
from jwmtool.training.clips import Part

_EACH = 4  # pictures of a clip
_SHOWN = 6
_AMPLIFIED = 4.0  # differences in the sheet


@dataclass(frozen=True)
class Scored:
    """A picture and a prior of it: `image`, `color` [3, H, W], `coverage` [1, H, W]; `name` of clip and camera."""

    image: Tensor
    color: Tensor
    coverage: Tensor
    name: str


def scored_pictures(clips: Sequence[tuple[Clip, Part]], shapes: Sequence[Shape]) -> list[Scored]:
    """Some pictures of each clip, evenly through it; always the same.

    Raises:
        InputError: a picture is missing or damaged.
    """
    found = []
    for number, (clip, part) in enumerate(clips):
        keys = usable_keys(clip, part)
        count = min(_EACH, len(keys))
        for k in range(count):
            key = keys[int((k + 0.5) * len(keys) / count)]
            picture = load_picture(clip, key, shape_of(clip, key, shapes))
            prior = degraded(picture, np.random.default_rng((number, k)))
            image, color, coverage = (torch.from_numpy(a.transpose(2, 0, 1).copy()) for a in (picture, *prior))
            found.append(Scored(image, color, coverage, f"{clip.name} {key[1]} {key[0]}"))
    return found


def held_out_scores(model: nn.Module, pictures: Sequence[Scored], prior: bool) -> dict[str, float]:
    """Means over pictures: `psnr` and `ssim` without a prior and, if `prior`, `psnr_prior` with one."""
    found: dict[str, list[float]] = {}
    for picture in pictures:
        image = picture.image.permute(1, 2, 0)
        made = _made(model, picture, prior=False)
        found.setdefault("psnr", []).append(float(psnr(made, image)))
        found.setdefault("ssim", []).append(float(ssim(made, image)))
        if prior:
            found.setdefault("psnr_prior", []).append(float(psnr(_made(model, picture, prior=True), image)))
    return {name: float(np.mean(values)) for name, values in found.items()}


def held_out_sheet(model: nn.Module, pictures: Sequence[Scored], prior: bool) -> NDArray[np.uint8] | None:
    """Rows of a few pictures: true, reconstructed, the difference; then a prior, and what is made with it."""
    shown: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    step = max(1, len(pictures) // _SHOWN)
    for picture in list(pictures)[::step][:_SHOWN]:
        image = picture.image.permute(1, 2, 0)
        made = _made(model, picture, prior=False)
        shown += [_bytes(image), _bytes(made), _bytes((made - image).abs() * _AMPLIFIED)]
        labels += [picture.name, f"{float(psnr(made, image)):.2f} dB", f"difference x {_AMPLIFIED:g}"]
        if prior:
            better = _made(model, picture, prior=True)
            shown += [_bytes(picture.color.permute(1, 2, 0)), _bytes(better)]
            labels += ["a prior", f"with it, {float(psnr(better, image)):.2f} dB"]
    return contact_sheet(shown, labels, columns=5 if prior else 3) if shown else None


def _made(model: nn.Module, picture: Scored, prior: bool) -> Tensor:
    """[H, W, 3] in [0, 1], on the CPU."""
    device = next(model.parameters()).device
    given = (picture.image, picture.color, picture.coverage) if prior else (picture.image,)
    images: Tensor = model(*(tensor[None].to(device) for tensor in given)).images
    return images[0].float().clamp(0.0, 1.0).permute(1, 2, 0).cpu()


def _bytes(color: Tensor) -> NDArray[np.uint8]:
    return (color.clamp(0.0, 1.0).numpy() * 255.0 + 0.5).astype(np.uint8)
