"""Read and write still pictures; a truncated or misshapen file is an InputError, never a grey half."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from jwmtool.errors import InputError


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode to sRGB [H, W, 3] uint8. `size` is the (width, height) that the picture must have.

    Raises:
        InputError: missing, damaged, or of another size.
    """
    return np.asarray(_open(path, size, "RGB"))


def read_mask(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Decode a mask to [H, W] bool: True = use the pixel."""
    return np.asarray(_open(path, size, "L")) > 0


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise InputError(path, "an image", "no such file") from None
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(path, "a readable image", str(error)) from None


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write [H, W, 3] or [H, W] uint8 (fast zlib level: size matters less than time)."""
    Image.fromarray(image).save(path, compress_level=1)


def link_file(source: Path, target: Path) -> None:
    """A hard link takes no space; where the file system has none, copy."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _open(path: Path, size: tuple[int, int] | None, mode: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            converted = image.convert(mode)
    except FileNotFoundError:
        raise InputError(path, "an image", "no such file") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(path, "a readable image", str(error)) from None
    if size is not None and converted.size != size:
        raise InputError(path, f"an image of {size[0]}x{size[1]} px", f"{converted.size[0]}x{converted.size[1]} px")
    return converted
