"""A rendered picture beside the recorded one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry.camera import cover_crop
from jwmtool.imaging.sheet import contact_sheet

Picture = NDArray[np.uint8]
WIDE = 2.2  # width / height from which pictures are stacked rather than put in a row


def side_by_side(
    rendered: Picture,  # [H, W, 3]
    recorded: Picture,  # [H, W, 3]
    labels: tuple[str, str] = ("rendered", "recorded"),
    difference: bool = False,
) -> Picture:
    """Put two pictures of one size side by side (wide ones above each other), with their difference if asked."""
    if rendered.shape != recorded.shape:
        raise ValueError(f"side_by_side: expected pictures of one size, found {rendered.shape} and {recorded.shape}")
    panels, names = [rendered, recorded], list(labels)
    if difference:
        panels.append(difference_picture(rendered, recorded))
        names.append("difference x 3")
    stacked = rendered.shape[1] > WIDE * rendered.shape[0]
    return contact_sheet(panels, names, columns=1 if stacked else len(panels), gap_px=2)


def difference_picture(a: Picture, b: Picture, gain: float = 3.0) -> Picture:
    """|a - b| times `gain`, clipped; black where they agree. [H, W, 3]."""
    return np.clip(np.abs(a.astype(np.float32) - b.astype(np.float32)) * gain, 0, 255).astype(np.uint8)


def cover_resize(image: Picture, width: int, height: int) -> Picture:
    """Scale to cover `width` x `height` and crop about the center, as `Camera.resized` does with the camera."""
    old_height, old_width = image.shape[:2]
    if (old_width, old_height) == (width, height):
        return image
    scale_x, scale_y, x0, y0 = cover_crop(old_width, old_height, width, height)
    size = (round(old_width * scale_x), round(old_height * scale_y))
    method = cv2.INTER_AREA if scale_x < 1.0 else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=method)[y0 : y0 + height, x0 : x0 + width])
