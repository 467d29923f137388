"""Windows seen otherwise: other colors, mirrored, backwards in time, with a simulated lidar."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from jwmtool.training.worldrec.sample import Sample, depth_of
from jwmtool.training.worldrec.texture import Texture
from jwmtool.worldrec.views import Views

Array = NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Augmentation:
    """How often and how far; 0 leaves a change out.

    Attributes:
        flip, reverse, blur, exposure, lidar, no_lidar, texture: shares of the windows.
        gain, gamma, contrast, saturation: standard deviations of logarithms; brightness: of an addend.
        noise: largest standard deviation; blur_px: likewise of the blur; texture_log: of an octave of texture.
    """

    flip: float = 0.5
    reverse: float = 0.5
    gain: float = 0.06
    gamma: float = 0.15
    contrast: float = 0.12
    brightness: float = 0.04
    saturation: float = 0.2
    noise: float = 0.012
    blur: float = 0.2
    blur_px: float = 0.8
    exposure: float = 0.2  # context views with exposures of their own
    lidar: float = 0.2  # true depth on scan lines given as lidar
    no_lidar: float = 0.5  # real lidar kept for the loss only
    texture: float = 0.7  # noise painted on the surfaces of worlds, see texture.py
    texture_log: float = 1.2


NONE = Augmentation(*([0.0] * 15))


def augment(sample: Sample, rng: np.random.Generator, how: Augmentation) -> Sample:
    """Change a sample at random; all draws come from `rng`.

    Noise and exposures of their own go to context only: targets show the scene as it is to be rendered. A target that
    is a context picture stays the same as that one, since it is rendered with that one's exposure.
    """
    if rng.random() < how.flip:
        sample = replace(sample, context=mirrored(sample.context), targets=mirrored(sample.targets))
    if rng.random() < how.reverse:
        sample = replace(sample, context=reversed_time(sample.context), targets=reversed_time(sample.targets))
    if sample.exact and rng.random() < how.lidar:
        sample = replace(sample, context=scanned(sample.context, rng))
    elif rng.random() < how.no_lidar:
        context = sample.context
        sample = replace(sample, context=replace(context, lidar_m=torch.zeros_like(context.lidar_m)))
    if sample.exact and rng.random() < how.texture:
        paint = Texture(rng, float(rng.uniform(0.15, 1.0) * how.texture_log))
        context, targets = (replace(views, images=paint(views)) for views in (sample.context, sample.targets))
        sample = replace(sample, context=context, targets=targets)
    look = _Look.drawn(rng, how)
    given, wanted = look(sample.context.images.numpy()), look(sample.targets.images.numpy())
    if rng.random() < how.exposure:
        gains = rng.normal(0.0, 0.08, (len(given), 1, 1, 1)) + rng.normal(0.0, 0.02, (len(given), 3, 1, 1))
        addends = rng.normal(0.0, 0.015, (len(given), 1, 1, 1))
        # About none on the whole, so that the picture that is asked for can be told from those given.
        gains, addends = gains - gains.mean(0), addends - addends.mean(0)
        given = given * np.exp(gains).astype(np.float32) + addends.astype(np.float32)
    noise = float(rng.uniform(0.0, how.noise))
    given = given + noise * rng.standard_normal(given.shape, np.float32)
    given = given.clip(0.0, 1.0)
    for target, twin in enumerate(sample.twins):
        if twin >= 0:
            wanted[target] = given[twin]
    return replace(
        sample,
        context=replace(sample.context, images=torch.from_numpy(given)),
        targets=replace(sample.targets, images=torch.from_numpy(wanted)),
    )


def mirrored(views: Views) -> Views:
    """The world mirrored at the scene's x-z plane, seen by mirrored cameras: left is right, and turns stay turns."""
    width = views.size[1]
    scene, camera = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0])), torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    Ks = views.Ks.clone()
    Ks[:, 0, 2] = width - Ks[:, 0, 2]
    velocity = views.velocity
    return replace(
        views,
        images=views.images.flip(-1),
        Ks=Ks,
        scene_from_cam=scene @ views.scene_from_cam @ camera,
        usable=views.usable.flip(-1),
        lidar_m=views.lidar_m.flip(-1),
        depth_m=None if views.depth_m is None else views.depth_m.flip(-1),
        velocity=None if velocity is None else velocity.flip(2) * torch.tensor([1.0, -1.0, 1.0]),
    )


def reversed_time(views: Views) -> Views:
    """The same pictures, taken in the opposite order."""
    velocity = views.velocity
    return replace(views, times_s=-views.times_s, velocity=None if velocity is None else -velocity)


def scanned(views: Views, rng: np.random.Generator) -> Views:
    """With `lidar_m` as a spinning lidar beside the camera would have it: true depth on lines of equal elevation."""
    beams = int(rng.choice([16, 32, 64]))
    top, bottom = np.radians(rng.uniform(2.0, 12.0)), -np.radians(rng.uniform(18.0, 28.0))
    reach_m, kept, error = rng.uniform(50.0, 80.0), rng.uniform(0.3, 0.95), rng.uniform(0.001, 0.01)
    lidar = np.zeros(views.lidar_m.shape, np.float32)
    for v in range(len(views)):
        rays = views.camera(v).rays()
        elevation = np.arctan2(rays[..., 2], np.hypot(rays[..., 0], rays[..., 1]))
        line = np.floor((elevation - bottom) / (top - bottom) * (beams - 1))
        on_line = np.zeros(line.shape, bool)
        on_line[:-1] = line[:-1] != line[1:]
        depth = depth_of(views)[v].numpy()
        seen = on_line & (line >= 0) & (line < beams) & np.isfinite(depth) & (depth > 1.0) & (depth < reach_m)
        seen &= rng.random(line.shape) < kept
        noisy = depth * (1.0 + error * rng.standard_normal(line.shape))
        lidar[v] = np.where(seen, noisy, 0.0)
    return replace(views, lidar_m=torch.from_numpy(lidar))


@dataclass(frozen=True)
class _Look:
    """One change of color and sharpness for all pictures of a window."""

    gain: Array  # [3]
    gamma: float
    contrast: float
    brightness: float
    saturation: float
    blur_px: float

    @staticmethod
    def drawn(rng: np.random.Generator, how: Augmentation) -> _Look:
        gain = np.exp(rng.normal(0.0, how.gain, 3)).astype(np.float32)
        gamma, contrast, saturation = (
            float(np.exp(rng.normal(0.0, scale))) for scale in (how.gamma, how.contrast, how.saturation)
        )
        brightness = float(rng.normal(0.0, how.brightness))
        blur_px = float(rng.uniform(0.3, max(0.3, how.blur_px))) if rng.random() < how.blur else 0.0
        return _Look(gain, gamma, contrast, brightness, saturation, blur_px)

    def __call__(self, images: Array) -> Array:  # [V, 3, H, W] -> the same shape
        x = images * self.gain[:, None, None]
        if self.gamma != 1.0:
            x = np.power(x.clip(0.0, 1.0), np.float32(self.gamma))
        x = (x - np.float32(0.45)) * np.float32(self.contrast) + np.float32(0.45 + self.brightness)
        gray = np.einsum("c,vchw->vhw", _LUMA, x)[:, None]
        x = gray + np.float32(self.saturation) * (x - gray)
        if self.blur_px > 0.0 and len(x):
            x = np.stack([[cv2.GaussianBlur(c, (0, 0), self.blur_px) for c in picture] for picture in x])
        return np.ascontiguousarray(x.clip(0.0, 1.0), np.float32)
