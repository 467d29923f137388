"""Pictures side by side with labels: contact sheets and comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
BACKGROUND = (18, 18, 20)
TEXT = (235, 235, 235)


def contact_sheet(
    images: Sequence[Picture],  # each [H, W, 3]; sizes may differ
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    gap_px: int = 4,
    text_px: int = 13,
) -> Picture:
    """Lay pictures out in a grid, each with its label above; cells are as large as the largest picture.

    Args:
        images: at least one.
        labels: one for each picture ("" for none), or None for no labels at all.
        columns: None picks a number that makes the sheet about as wide as a screen (16:9).

    Raises:
        ValueError: no picture, or another number of labels.
    """
    if not images or (labels is not None and len(labels) != len(images)):
        raise ValueError(f"contact_sheet: expected pictures and a label each, found {len(images)}, {labels}")
    cell_w = max(i.shape[1] for i in images)
    cell_h = max(i.shape[0] for i in images)
    strip = text_px + 5 if labels is not None else 0
    if columns is None:
        columns = max(1, min(len(images), round(math.sqrt(len(images) * (16 / 9) * (cell_h + strip) / cell_w))))
    rows = math.ceil(len(images) / columns)
    width, height = columns * (cell_w + gap_px) + gap_px, rows * (cell_h + strip + gap_px) + gap_px
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(text_px)
    for i, image in enumerate(images):
        x = gap_px + i % columns * (cell_w + gap_px)
        y = gap_px + i // columns * (cell_h + strip + gap_px)
        if labels is not None:
            draw.text((x + 2, y), fitted(labels[i], font, cell_w - 4), TEXT, font)
        sheet.paste(Image.fromarray(np.ascontiguousarray(image)), (x, y + strip))
    return np.asarray(sheet)


def fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: float) -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text + "..."
