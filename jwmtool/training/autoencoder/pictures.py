"""Pictures of clips, cut to one of a few shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.errors import InputError
from jwmtool.training.clips import Part
from jwmtool.worldgen.autoencoder_config import MULTIPLE

Array = NDArray[np.float32]
Key = tuple[int, str]  # frame, camera
Shape = tuple[int, int]  # (width, height) px

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def usable_keys(clip: Clip, part: Part) -> list[Key]:
    """The pictures of a part that are not withheld.

    Raises:
        InputError: there is none.
    """
    keys = [key for key in clip.images(withheld=False) if part.first <= key[0] < part.end]
    if not keys:
        raise InputError(clip.root, "a picture that is not withheld", "none")
    return keys


def shape_for(width: int, height: int, shapes: Sequence[Shape]) -> Shape:
    """Of some shapes the one nearest to a picture's own, or as much of it as the picture fills, a multiple of 16 px."""
    nearest = min(shapes, key=lambda shape: abs(math.log(shape[0] * height / (shape[1] * width))))
    if nearest[0] <= width and nearest[1] <= height:
        return nearest
    return _filled(nearest[0], width), _filled(nearest[1], height)


def shape_of(clip: Clip, key: Key, shapes: Sequence[Shape]) -> Shape:
    """`shape_for` one of a clip's pictures."""
    camera = clip.cameras[key[1]]
    return shape_for(camera.width, camera.height, shapes)


def load_picture(
    clip: Clip, key: Key, shape: Shape, zoom: float = 1.0, place: tuple[float, float] = (0.5, 0.5)
) -> Array:
    """A cut of a picture, [H, W, 3] in [0, 1].

    Args:
        shape: (width, height) of the cut.
        zoom: 1 shrinks the picture until it just covers the shape, more shrinks it less; never beyond its own pixels.
        place: where the cut lies in what is left over across and down, 0 to 1.

    Raises:
        InputError: the picture is missing or damaged.
    """
    whole = clip.load_image(*key)
    height, width = whole.shape[:2]
    cover = max(shape[0] / width, shape[1] / height)
    scale = max(cover, min(1.0, zoom * cover))
    across, down = min(width, round(shape[0] / scale)), min(height, round(shape[1] / scale))
    left, top = round(place[0] * (width - across)), round(place[1] * (height - down))
    cut: NDArray[Any] = whole[top : top + down, left : left + across]
    if (across, down) != shape:
        cut = cv2.resize(cut, shape, interpolation=cv2.INTER_AREA if across > shape[0] else cv2.INTER_LINEAR)
    return np.ascontiguousarray(cut, np.float32) / np.float32(255.0)


def recolored(picture: Array, rng: np.random.Generator, strength: float) -> Array:
    """Other light: gain, gamma, saturation and brightness, about `strength` each (a share, or a logarithm)."""
    gain, gamma, saturation = (np.float32(np.exp(rng.normal(0.0, strength))) for _ in range(3))
    brightness = np.float32(rng.normal(0.0, 0.3 * strength))
    x = np.power(picture, gamma) * gain + brightness
    gray = (x @ _LUMA)[..., None]
    return (gray + saturation * (x - gray)).clip(0.0, 1.0).astype(np.float32)


def _filled(wanted: int, there: int) -> int:
    return max(MULTIPLE, min(wanted, there) // MULTIPLE * MULTIPLE)
