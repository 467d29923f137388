"""Structure from motion: the path of one camera that drives, from its pictures in order of time, through pycolmap.

SIFT on the CPU, matching with the next few pictures, incremental mapping. COLMAP's defaults are made for walks around
buildings: they ask for 16 degrees between the first two views of a point and 1.5 for every other, which a camera that
looks where it drives never has. Here it is 4 and 0.5 degrees. Features of what moves by itself contradict the epipolar
geometry of most others and are dropped there (RANSAC); there is no detector of road users.

The focal length, where it is not known: driving straight on, a longer lens and a deeper world look the same, and
only turning tells them apart. So several focal lengths are tried on the stretch that turns most, and the one under
which most observations fit best is refined with the whole path.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.device import num_threads
from jwmtool.errors import InputError, MissingPartError
from jwmtool.geometry import se3

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

MAX_SIDE_PX, MAX_PIXELS = 1280, 600_000  # pictures are reduced to this: features of a road need no more
MAX_FEATURES = 2000  # a picture
OVERLAP = 5  # pictures that each is matched with
STARTING_FOCALS = (0.5, 0.65, 0.85, 1.1)  # of the width: 90 to 49 degrees
_TRIED_FRAMES = 30
_WIDEST, _NARROWEST = 0.3, 3.0  # focal lengths that are believed, in widths
_MOST_K1 = 0.6  # and k1
_AS_WELL = 0.97  # of the best support
_FEW_FEATURES = 1100  # a picture, without the finest octave
_MIN_FEATURES = 60  # a picture with fewer shows nothing
_MIN_FLOW_PX = 1.0  # between neighbors, in reduced pictures: less is standing still
_MIN_TRACK = 3  # pictures that a point of the result is seen in
_MAX_ERROR_PX = 3.0  # of its reprojection, in reduced pictures
_FEWEST_FRAMES = 8


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


@dataclass(frozen=True)
class Path3d:
    """One connected part of the path, in a frame and unit of its own.

    Attributes:
        frames: [N] int64, positions in the list of pictures, rising.
        world_from_cams: [N, 4, 4].
        xyz, rgb: [M, 3] points.
        seen: [M, 2] first and last of `frames` (places in it) that see each point.
        shared: [N - 1] number of points seen both before and after each gap.
        error_px: mean reprojection error, px of the pictures as given.
    """

    frames: NDArray[np.int64]
    world_from_cams: Floats
    xyz: Floats
    rgb: NDArray[np.uint8]
    seen: NDArray[np.int64]
    shared: NDArray[np.int64]
    lens: Lens
    error_px: float


@dataclass(frozen=True)
class Solution:
    """All parts, the one with most frames first, and how sure the focal length is (px, one sigma; 0: given)."""

    parts: list[Path3d]
    focal_sigma: float


def solve(
    path: Path,
    pictures: Sequence[Callable[[], Picture]],
    mask: NDArray[np.bool_] | None = None,
    lens: Lens | None = None,
    focals: Sequence[float] = STARTING_FOCALS,
) -> Solution:
    """Find the path of a camera.

    Args:
        path: the video, for errors.
        pictures: functions that return [H, W, 3], in order of time; each is called once, in order.
        mask: [H, W], False where no features may lie (own car), or None.
        lens: focal length and center if known; k1 is found in any case.
        focals: to start from where they are not known, in widths.

    Raises:
        MissingPartError: without pycolmap. InputError: no texture, no motion, no path.
    """
    pycolmap = _pycolmap()
    with tempfile.TemporaryDirectory(prefix="jwm-sfm-") as name, _quiet(pycolmap):
        work = _Work(pycolmap, path, Path(name), len(pictures))
        work.store(pictures, mask, 1.0 if lens is None else lens.aspect)
        work.extract()
        work.match()
        flow = work.flow()
        if np.quantile(np.linalg.norm(flow, axis=1), 0.9) < _MIN_FLOW_PX:
            found = f"pictures that move by {np.linalg.norm(flow, axis=1).max():.2g} px at most: the car stands"
            raise InputError(path, "a drive: poses come from motion", found)
        starts = [work.centered(share) for share in focals] if lens is None else [work.reduced(lens)]
        start, sigma = work.find_lens(flow, starts, known=lens is not None)
        parts = work.map(start, refine_focal=lens is None)
        if not parts:
            found = "none: too little texture or too little motion"
            raise InputError(path, f"a path through at least {_FEWEST_FRAMES} pictures", found)
        if lens is None:  # the stretch that turns most and the whole path should agree
            sigma = max(sigma / work.scale[0], abs(parts[0].lens.focal - work.enlarged(start).focal))
        else:
            parts = [replace(part, lens=replace(lens, k1=part.lens.k1)) for part in parts]
        return Solution(parts, sigma)


class _Work:
    """A folder with reduced pictures and COLMAP's database."""

    def __init__(self, pycolmap: Any, path: Path, folder: Path, count: int) -> None:
        self._colmap, self._path, self._folder, self._count = pycolmap, path, folder, count
        self._database = folder / "database.db"
        self._images = folder / "images"
        self._images.mkdir()
        self._names = [f"{i:06d}.jpg" for i in range(count)]
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

        with console.progress("decode", self._count) as bar:
            for index, (name, picture) in enumerate(zip(self._names, pictures, strict=True)):
                pixels = picture()
                height, width = pixels.shape[:2]
                most = min(1.0, MAX_SIDE_PX / max(height, width), (MAX_PIXELS / (height * width)) ** 0.5)
                self.width, self.height = round(width * most), round(height * most / aspect)
                self.scale = (self.width / width, self.height / height)
                if self.scale != (1.0, 1.0):
                    pixels = np.asarray(cv2.resize(pixels, (self.width, self.height), interpolation=cv2.INTER_AREA))
                quality = [cv2.IMWRITE_JPEG_QUALITY, 97]
                cv2.imwrite(str(self._images / name), pixels[..., ::-1], quality)
                bar.update(index + 1, f"{index + 1}/{self._count} pictures")
        self._mask = self._folder / "mask.png" if mask is not None else None
        if mask is not None:
            size = (self.width, self.height)
            reduced: Any = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(self._mask), (np.asarray(reduced) == 255).astype(np.uint8) * 255)

    def extract(self) -> None:
        """SIFT. The finest octave takes most of the time: it is asked only where the others find little."""
        sample = self._names[:: max(1, self._count // 4)]
        finest = self._features(sample, 0, "sample.db") < _FEW_FEATURES
        found = self._features(self._names, -1 if finest else 0, self._database.name)
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
        file = self._folder / database_name
        with console.progress("features", len(names)) as bar:
            for first in range(0, len(names), step):  # in pieces: between them Ctrl-C is heard
                part = names[first : first + step]
                if first > 0:
                    reader.existing_camera_id = 1
                self._colmap.extract_features(
                    file, self._images, part, single, reader_options=reader, extraction_options=options
                )
                bar.update(first + len(part), f"{first + len(part)}/{len(names)} pictures")
        with self._opened(file) as database:
            counts = [database.num_keypoints_for_image(image.image_id) for image in database.read_all_images()]
        return int(np.median(counts))

    def match(self) -> None:
        """Matches with the next pictures that one epipolar geometry explains."""
        options, pairing = self._colmap.FeatureMatchingOptions(), self._colmap.SequentialPairingOptions()
        geometry = self._colmap.TwoViewGeometryOptions()
        options.num_threads, options.use_gpu = num_threads(), False
        pairing.overlap, pairing.quadratic_overlap, pairing.num_threads = OVERLAP, False, num_threads()
        geometry.ransac.random_seed = 0
        console.detail(f"matching {self._count} pictures with {OVERLAP} each")
        self._colmap.match_sequential(
            self._database, matching_options=options, pairing_options=pairing, verification_options=geometry
        )

    def flow(self) -> Floats:
        """Median motion [N - 1, 2] px of what matches between neighbors; 0 where nothing does."""
        flow = np.zeros((self._count - 1, 2))
        with self._opened(self._database) as database:
            ids = {image.name: image.image_id for image in database.read_all_images()}
            keys = {name: np.asarray(database.read_keypoints(ids[name]))[:, :2] for name in self._names}
            for index, (a, b) in enumerate(zip(self._names[:-1], self._names[1:], strict=True)):
                if not database.exists_two_view_geometry(ids[a], ids[b]):
                    continue
                matches = np.asarray(database.read_two_view_geometry(ids[a], ids[b]).inlier_matches)
                if len(matches):
                    flow[index] = np.median(keys[b][matches[:, 1]] - keys[a][matches[:, 0]], axis=0)
        return flow

    def find_lens(self, flow: Floats, starts: Sequence[Lens], known: bool) -> tuple[Lens, float]:
        """The lens that explains the stretch that turns most, and the spread (px) of the focal lengths that do as well.

        Args:
            starts: to try. known: their focal length is right, and only k1 is looked for.
        """
        length = min(_TRIED_FRAMES, self._count)
        turned = np.concatenate([[0.0], np.cumsum(flow[:, 0])])
        spans = [np.ptp(turned[i : i + length]) for i in range(self._count - length + 1)]
        first = int(np.argmax(spans))
        names = self._names[first : first + length]
        tries: list[tuple[float, Lens]] = []
        with console.progress("lens", 2 * len(starts)) as bar:
            for number, start in enumerate(starts):
                lens = start
                for again in range(2):
                    model = max(self._mapped(lens, names), key=lambda m: m.num_reg_images(), default=None)
                    if model is None:
                        break
                    lens = self._refined(model, refine_focal=not known)
                    if not self._plausible(lens):
                        break
                    bar.update(2 * number + again + 1)
                else:
                    tries.append((_support(model), lens))
                told = f"{start.focal:.0f} leads to {lens.focal:.1f}, k1 {lens.k1:.3f}"
                console.detail(f"focal length, pictures {first} to {first + length - 1}: {told}")
        if not tries:
            if known:  # the whole path may do better
                return starts[0], 0.0
            found = f"no path through {length} pictures from {first} on under any of them"
            raise InputError(self._path, "a focal length that explains the pictures (--intrinsics gives it)", found)
        best = max(support for support, _ in tries)
        equal = [lens.focal for support, lens in tries if support >= _AS_WELL * best]
        return max(tries, key=lambda entry: entry[0])[1], float(np.ptp(equal)) / 2

    def map(self, start: Lens, refine_focal: bool) -> list[Path3d]:
        """Map all pictures; what does not join becomes a part of its own."""
        parts = []
        for model in self._mapped(start, self._names, several=True):
            if model.num_reg_images() >= _FEWEST_FRAMES:
                if not self._plausible(self._refined(model, refine_focal)):
                    continue
                parts.append(self._gathered(model))
        return sorted(parts, key=lambda part: -len(part.frames))

    def _plausible(self, lens: Lens) -> bool:
        return _NARROWEST * self.width > lens.focal > _WIDEST * self.width and abs(lens.k1) < _MOST_K1

    def _refined(self, model: Any, refine_focal: bool) -> Lens:
        """Adjust a whole model with its lens."""
        o = self._colmap.BundleAdjustmentOptions()
        o.refine_focal_length, o.refine_extra_params, o.print_summary = refine_focal, True, False
        o.ceres.loss_function_type = self._colmap.LossFunctionType.SOFT_L1
        solver = o.ceres.solver_options
        solver.max_num_iterations, solver.function_tolerance, solver.num_threads = 50, 1e-6, num_threads()
        config = self._colmap.BundleAdjustmentConfig()
        for number in model.reg_image_ids():
            config.add_image(number)
        config.fix_gauge(self._colmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
        # pycolmap.bundle_adjustment would set the log to loud again.
        self._colmap.create_default_ceres_bundle_adjuster(o, config, model).solve()
        model.update_point_3d_errors()
        return _lens(model)

    def _mapped(self, start: Lens, names: list[str], several: bool = False) -> list[Any]:
        """Incremental mapping with a fixed lens: a pair of pictures alone would bend it beyond recognition."""
        with self._opened(self._database) as database:
            camera = database.read_all_cameras()[0]
            camera.params = [start.focal, start.cx, start.cy, start.k1]
            camera.has_prior_focal_length = True
            database.update_camera(camera)
        o = self._colmap.IncrementalPipelineOptions()
        o.num_threads, o.random_seed, o.image_names = num_threads(), 0, names
        o.multiple_models, o.max_num_models, o.min_model_size, o.max_model_overlap = several, 6, _FEWEST_FRAMES, 2
        o.init_num_trials = 50
        o.ba_refine_focal_length, o.ba_refine_extra_params, o.extract_colors = False, False, several
        # Fewer and shorter global adjustments: neighbors in time constrain each other, local ones do most.
        o.ba_global_frames_ratio = o.ba_global_points_ratio = 1.5
        o.ba_global_max_refinements, o.ba_global_max_num_iterations = 2, 25
        o.ba_local_max_num_iterations, o.ba_local_max_refinements = 12, 1
        o.mapper.init_min_tri_angle, o.mapper.init_max_forward_motion = 4.0, 1.0
        o.mapper.filter_min_tri_angle = o.triangulation.min_angle = 0.5
        o.mapper.ba_local_min_tri_angle = 2.0
        o.mapper.abs_pose_refine_focal_length = o.mapper.abs_pose_refine_extra_params = False
        o.mapper.abs_pose_min_num_inliers = 15
        output = Path(tempfile.mkdtemp(dir=self._folder))
        done = 2
        with console.progress("path", len(names)) as bar:

            def advance() -> None:
                nonlocal done
                done += 1
                bar.update(min(done, len(names)), f"{done}/{len(names)} pictures")

            models = self._colmap.incremental_mapping(
                self._database, self._images, output, options=o, next_image_callback=advance
            )
        return list(models.values())

    def _gathered(self, model: Any) -> Path3d:
        """A model of COLMAP's in our words."""
        images = {number: model.images[number] for number in model.reg_image_ids()}
        index = {number: int(Path(image.name).stem) for number, image in images.items()}
        order = sorted(images, key=lambda number: index[number])
        frames = np.array([index[number] for number in order])
        poses = np.repeat(np.eye(4)[None], len(order), 0)
        for place, number in enumerate(order):
            poses[place, :3] = images[number].cam_from_world().matrix()
        places = {number: place for place, number in enumerate(order)}
        spans, kept, xyz, rgb = [], [], [], []
        for point in model.points3D.values():
            seen = [places[element.image_id] for element in point.track.elements]
            spans.append((min(seen), max(seen)))
            if len(set(seen)) >= _MIN_TRACK and point.error < _MAX_ERROR_PX:
                kept.append(spans[-1])
                xyz.append(point.xyz)
                rgb.append(point.color)
        changes = np.zeros(len(order) + 1, np.int64)
        if spans:
            np.add.at(changes, np.array(spans)[:, 0], 1)
            np.add.at(changes, np.array(spans)[:, 1], -1)
        return Path3d(
            frames=frames,
            world_from_cams=se3.inverse(poses),
            xyz=np.array(xyz, np.float64).reshape(-1, 3),
            rgb=np.array(rgb, np.uint8).reshape(-1, 3),
            seen=np.array(kept, np.int64).reshape(-1, 2),
            shared=np.cumsum(changes)[: len(order) - 1],
            lens=self.enlarged(_lens(model)),
            error_px=float(model.compute_mean_reprojection_error()) / self.scale[0],
        )

    @contextmanager
    def _opened(self, file: Path) -> Iterator[Any]:
        database = self._colmap.Database.open(file)
        try:
            yield database
        finally:
            database.close()


def _lens(model: Any) -> Lens:
    camera = next(iter(model.cameras.values()))
    return Lens(*(float(value) for value in camera.params))


def _support(model: Any) -> float:
    """Observations, each less its squared error in units of 2 px."""
    return float(sum(p.track.length() * max(0.0, 1.0 - (p.error / 2.0) ** 2) for p in model.points3D.values()))


def _pycolmap() -> Any:
    try:
        import pycolmap
    except ImportError as error:
        raise MissingPartError(f"poses of a video need pycolmap: {error}; pip install 'jwmtool[sfm]'") from None
    return pycolmap


@contextmanager
def _quiet(pycolmap: Any) -> Iterator[None]:
    """Its log goes to stderr, thousands of lines."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
