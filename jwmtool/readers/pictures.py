"""What ingest does to the pictures of one camera: link, or undistort, scale to cover and crop; masks likewise.

Undistortion keeps K: the middle of the picture stays at its scale; what the lens did not see is black and masked.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.images import link_file, read_image, read_mask, write_png
from jwmtool.errors import InputError
from jwmtool.geometry.camera import Camera, cover_crop
from jwmtool.imaging.png import encode_png
from jwmtool.readers.recording import MaskSource, SourceCamera, SourceImage


class CameraPlan:
    """How pictures of one camera get from the recording into the clip; safe to use from several threads."""

    def __init__(self, camera: SourceCamera, size: tuple[int, int] | None) -> None:
        self.camera = camera
        self.resized = size is not None and size != (camera.width, camera.height)
        self.width, self.height = size or (camera.width, camera.height)
        self.K = Camera(camera.K, camera.width, camera.height, np.eye(4)).resized(self.width, self.height).K
        self._maps = _undistort_maps(camera) if camera.distorted else None
        self._lock = threading.Lock()
        self._shared_mask: str | bool | None = False  # False: not made yet

    def write_image(self, image: SourceImage, folder: Path, index: int) -> str:
        """Write one picture; return its path relative to `folder`. It is decoded even where it is only linked."""
        size = (self.camera.width, self.camera.height)
        if isinstance(image.source, Path):
            pixels = read_image(image.source, size)
            if self._maps is None and not self.resized:
                file = f"images/{self.camera.name}/{index:06d}{image.source.suffix.lower()}"
                link_file(image.source, folder / file)
                return file
        else:
            pixels = image.source()
            if pixels.shape != (size[1], size[0], 3):
                found = f"{pixels.shape[1]}x{pixels.shape[0]} px"
                raise InputError(self.camera.name, f"images of {size[0]}x{size[1]} px", found)
        file = f"images/{self.camera.name}/{index:06d}.png"
        (folder / file).write_bytes(encode_png(self._resize(self._undistort(pixels))))
        return file

    def write_mask(self, image: SourceImage, folder: Path, index: int) -> str | None:
        """Write what must be ignored in one picture, or None. A camera's common mask is written once."""
        if image.mask is not None:
            file = f"masks/{self.camera.name}/{index:06d}.png"
            return self._write_mask([image.mask, self.camera.mask], folder, file)
        with self._lock:
            if isinstance(self._shared_mask, bool):
                self._shared_mask = self._write_mask([self.camera.mask], folder, f"masks/{self.camera.name}.png")
            return self._shared_mask

    def _write_mask(self, sources: list[MaskSource | None], folder: Path, file: str) -> str | None:
        size = (self.camera.width, self.camera.height)
        valid = np.ones((size[1], size[0]), np.uint8)
        for source in sources:
            if isinstance(source, Path):
                valid &= read_mask(source, size)
            elif source is not None:
                valid &= source
        # A pixel stays valid only if all that it is mixed from is valid.
        valid = self._resize(self._undistort(valid * np.uint8(255))) == 255
        if valid.all():
            return None
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / file, valid.astype(np.uint8) * 255)
        return file

    def _undistort(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._maps is None:
            return pixels
        import cv2

        x, y = self._maps
        result: Any = cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(result, np.uint8)

    def _resize(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if not self.resized:
            return pixels
        import cv2

        height, width = pixels.shape[:2]
        scale_x, scale_y, x0, y0 = cover_crop(width, height, self.width, self.height)
        scaled = (round(width * scale_x), round(height * scale_y))
        how = cv2.INTER_AREA if scaled[0] <= width else cv2.INTER_LINEAR
        resized: Any = cv2.resize(pixels, scaled, interpolation=how)
        cropped: NDArray[np.uint8] = np.ascontiguousarray(resized[y0 : y0 + self.height, x0 : x0 + self.width])
        return cropped


def _undistort_maps(camera: SourceCamera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where every undistorted pixel lies in the recorded picture: x, y [H, W], centers at integers."""
    import cv2

    K = camera.K.copy()
    K[:2, 2] -= 0.5
    coefficients = np.array(camera.distortion)
    size = (camera.width, camera.height)
    if camera.model == "fisheye":
        maps: Any = cv2.fisheye.initUndistortRectifyMap(K, coefficients, np.eye(3), K, size, cv2.CV_32FC1)
    else:
        maps = cv2.initUndistortRectifyMap(K, coefficients, np.eye(3), K, size, cv2.CV_32FC1)
    return maps[0], maps[1]
