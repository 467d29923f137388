"""The picture that a video begins with of which nothing was given: made alone, of words and rays, in many steps."""

# V views.
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from jwmtool.joint.drive import Drive
from jwmtool.joint.generate import noise_of
from jwmtool.joint.told import tell
from jwmtool.worldgen.latents import VideoAutoencoder
from jwmtool.worldgen.sampler import Sampling, sample
from jwmtool.worldgen.transformer import WorldGen

STEPS = 24  # at least: one picture costs little, and all that follows is carried on from it
INSIST = 2.0  # guidance of the words, if no other is asked for


def imagines(transformer: WorldGen) -> bool:
    """Whether a model has learned what frames look like of which nothing is known."""
    return transformer.config.start_patterns > 0


@torch.inference_mode()
def imagined(
    drive: Drive, transformer: WorldGen, autoencoder: VideoAutoencoder, seed: int, sampling: Sampling, device: str
) -> Tensor:  # [V, 1, 3, H, W] in [0, 1], on the CPU
    """The first picture of each camera; the same seed gives the same bits on one device."""
    guidance = {"text": INSIST, **sampling.guidance}
    alone = replace(sampling, steps=max(sampling.steps, STEPS), guidance=guidance)
    known = tell(drive, range(1), autoencoder, None, device)
    noise = noise_of(drive, range(1), autoencoder, seed).to(device)
    latents = sample(transformer, known, noise, autoencoder.stride, alone)
    return autoencoder.decode(latents[0]).float().clamp(0.0, 1.0).cpu()
