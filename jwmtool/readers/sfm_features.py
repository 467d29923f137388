"""Reduced pictures, their features and matches, for structure from motion (`sfm`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.device import num_threads
from jwmtool.errors import InputError

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

MAX_SIDE_PX, MAX_PIXELS = 1280, 600_000  # pictures are reduced to this: features of a road need no more
MAX_FEATURES = 2000  # a picture
OVERLAP = 5  # pictures that each is matched with
_FEW_FEATURES = 1100  # a picture, without the finest octave
_MIN_FEATURES = 60  # a picture with fewer shows nothing


@dataclass(frozen=True)
class Lens:
    """fx, cx, cy px with the first pixel's center at (0.5, 0.5), k1 as OpenCV has it, and fy / fx."""

    focal: float
    cx: float
    cy: float
    k1: float = 0.0
    aspect: float = 1.0

    def matrix(self) -> Floats:
        """K [3, 3]."""
        return np.array([[self.focal, 0.0, self.cx], [0.0, self.focal * self.aspect, self.cy], [0.0, 0.0, 1.0]])


class Features:
    """A folder with reduced pictures, and COLMAP's database with their features and matches.

    Attributes:
        scale: reduced px per px, across and down; pixels of reduced pictures are square.
        names: of the reduced pictures in `images`, whose stems are their places in time.
    """

    def __init__(self, pycolmap: Any, path: Path, folder: Path, count: int) -> None:
        self._colmap, self._path, self.folder, self.count = pycolmap, path, folder, count
        self.database = folder / "database.db"
        self.images = folder / "images"
        self.images.mkdir()
        self.names = [f"{i:06d}.jpg" for i in range(count)]
        self.scale = (1.0, 1.0)  # reduced px per px
        self._aspect = 1.0

    def centered(self, share: float) -> Lens:
        """A lens whose focal length is `share` of the width, for the reduced pictures."""
        return Lens(share * self.width, self.width / 2, self.height / 2)

    def reduced(self, lens: Lens) -> Lens:
        """A lens told for the reduced pictures."""
        return Lens(lens.focal * self.scale[0], lens.cx * self.scale[0], lens.cy * self.scale[1], lens.k1)

    def enlarged(self, lens: Lens) -> Lens:
        """And back."""
        return Lens(lens.focal / self.scale[0], lens.cx / self.scale[0], lens.cy / self.scale[1], lens.k1, self._aspect)

    def store(self, pictures: Sequence[Callable[[], Picture]], mask: NDArray[np.bool_] | None, aspect: float) -> None:
        """Write reduced pictures, with square pixels."""
        self._aspect = aspect
        import cv2

        with console.progress("decode", self.count) as bar:
            for index, (name, picture) in enumerate(zip(self.names, pictures, strict=True)):
                pixels = picture()
                height, width = pixels.shape[:2]
                most = min(1.0, MAX_SIDE_PX / max(height, width), (MAX_PIXELS / (height * width)) ** 0.5)
                self.width, self.height = round(width * most), round(height * most / aspect)
                self.scale = (self.width / width, self.height / height)
                if self.scale != (1.0, 1.0):
                    pixels = np.asarray(cv2.resize(pixels, (self.width, self.height), interpolation=cv2.INTER_AREA))
                quality = [cv2.IMWRITE_JPEG_QUALITY, 97]
                cv2.imwrite(str(self.images / name), pixels[..., ::-1], quality)
                bar.update(index + 1, f"{index + 1}/{self.count} pictures")
        self._mask = self.folder / "mask.png" if mask is not None else None
        if mask is not None:
            size = (self.width, self.height)
            reduced: Any = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(self._mask), (np.asarray(reduced) == 255).astype(np.uint8) * 255)

    def extract(self) -> None:
        """SIFT. The finest octave takes most of the time: it is asked only where the others find little."""
        sample = self.names[:: max(1, self.count // 4)]
        finest = self._features(sample, 0, "sample.db") < _FEW_FEATURES
        found = self._features(self.names, -1 if finest else 0, self.database.name)
        if found < _MIN_FEATURES:
            raise InputError(self._path, f"at least {_MIN_FEATURES} features in a picture", f"{found}: no texture")

    def _features(self, names: list[str], octave: int, database_name: str) -> int:
        """Extract features; return the median number of a picture."""
        options, reader = self._colmap.FeatureExtractionOptions(), self._colmap.ImageReaderOptions()
        options.num_threads, options.use_gpu = num_threads(), False
        options.sift.max_num_features, options.sift.first_octave = MAX_FEATURES, octave
        reader.camera_model = "SIMPLE_RADIAL"
        reader.camera_params = f"{self.width},{self.width / 2},{self.height / 2},0"
        if self._mask is not None:
            reader.camera_mask_path = self._mask
        step, single = 4 * num_threads(), self._colmap.CameraMode.SINGLE
        file = self.folder / database_name
        with console.progress("features", len(names)) as bar:
            for first in range(0, len(names), step):  # in pieces: between them Ctrl-C is heard
                part = names[first : first + step]
                if first > 0:
                    reader.existing_camera_id = 1
                self._colmap.extract_features(
                    file, self.images, part, single, reader_options=reader, extraction_options=options
                )
                bar.update(first + len(part), f"{first + len(part)}/{len(names)} pictures")
        with self.opened(file) as database:
            counts = [database.num_keypoints_for_image(image.image_id) for image in database.read_all_images()]
        return int(np.median(counts))

    def match(self) -> None:
        """Matches with the next pictures that one epipolar geometry explains."""
        options, pairing = self._colmap.FeatureMatchingOptions(), self._colmap.SequentialPairingOptions()
        geometry = self._colmap.TwoViewGeometryOptions()
        options.num_threads, options.use_gpu = num_threads(), False
        pairing.overlap, pairing.quadratic_overlap, pairing.num_threads = OVERLAP, False, num_threads()
        geometry.ransac.random_seed = 0
        console.detail(f"matching {self.count} pictures with {OVERLAP} each")
        self._colmap.match_sequential(
            self.database, matching_options=options, pairing_options=pairing, verification_options=geometry
        )

    def flow(self) -> Floats:
        """Median motion [N - 1, 2] px of what matches between neighbors; 0 where nothing does."""
        flow = np.zeros((self.count - 1, 2))
        with self.opened(self.database) as database:
            ids = {image.name: image.image_id for image in database.read_all_images()}
            keys = {name: np.asarray(database.read_keypoints(ids[name]))[:, :2] for name in self.names}
            for index, (a, b) in enumerate(zip(self.names[:-1], self.names[1:], strict=True)):
                if not database.exists_two_view_geometry(ids[a], ids[b]):
                    continue
                matches = np.asarray(database.read_two_view_geometry(ids[a], ids[b]).inlier_matches)
                if len(matches):
                    flow[index] = np.median(keys[b][matches[:, 1]] - keys[a][matches[:, 0]], axis=0)
        return flow

    @contextmanager
    def opened(self, file: Path) -> Iterator[Any]:
        """One of the folder's databases, closed afterwards."""
        database = self._colmap.Database.open(file)
        try:
            yield database
        finally:
            database.close()
