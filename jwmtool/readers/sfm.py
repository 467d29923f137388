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

import copy
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
from jwmtool.readers.sfm_features import Features, Lens, Picture

Floats = NDArray[np.float64]

STARTING_FOCALS = (0.5, 0.65, 0.85, 1.1)  # of the width: 90 to 49 degrees
_TRIED_FRAMES = 30
_WIDEST, _NARROWEST = 0.3, 3.0  # focal lengths that are believed, in widths
_MOST_K1 = 0.5  # and k1 ...
_K1_SIGMA = 0.03  # ... if it is known so well
_AS_WELL = 0.97  # of the best support
_MIN_FLOW_PX = 1.0  # between neighbors, in reduced pictures: less is standing still
_MIN_TRACK = 3  # pictures that a point of the result is seen in
_MAX_ERROR_PX = 3.0  # of its reprojection, in reduced pictures
_FEWEST_FRAMES = 8


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
        work = Features(pycolmap, path, Path(name), len(pictures))
        work.store(pictures, mask, 1.0 if lens is None else lens.aspect)
        work.extract()
        work.match()
        flow = work.flow()
        if np.quantile(np.linalg.norm(flow, axis=1), 0.9) < _MIN_FLOW_PX:
            found = f"pictures that move by {np.linalg.norm(flow, axis=1).max():.2g} px at most: the car stands"
            raise InputError(path, "a drive: poses come from motion", found)
        starts = [work.centered(share) for share in focals] if lens is None else [work.reduced(lens)]
        mapper = _Mapper(pycolmap, path, work)
        begun, sigma = mapper.begin(flow, starts, known=lens is not None)
        found_parts = mapper.map(begun, refine_focal=lens is None)
        if not found_parts:
            raise InputError(path, f"a path through at least {_FEWEST_FRAMES} pictures", "a shorter one")
        parts = [part for part, _ in found_parts]
        if lens is None:  # the stretch that turns most and the whole path should agree
            change = abs(parts[0].lens.focal - work.enlarged(_lens(begun)).focal)
            sigma = max(change, max(sigma, found_parts[0][1]) / work.scale[0])
        else:
            parts = [replace(part, lens=replace(lens, k1=part.lens.k1)) for part in parts]
        return Solution(parts, sigma)


class _Mapper:
    """COLMAP's incremental mapping of pictures whose features are matched."""

    def __init__(self, pycolmap: Any, path: Path, work: Features) -> None:
        self._colmap, self._path, self._work = pycolmap, path, work

    def begin(self, flow: Floats, starts: Sequence[Lens], known: bool) -> tuple[Any, float]:
        """Map the stretch that turns most under several lenses; return the soundest model and its focal length's sigma.

        A wrong lens, or two first views that tell little, lead to a bent path that no adjustment mends; its errors are
        twice as large, though. So the whole path grows from this stretch.

        Args:
            flow: as `Features.flow` returns it.
            starts: to try. known: their focal length is right, and only k1 is looked for.
        """
        length = min(_TRIED_FRAMES, self._work.count)
        turned = np.concatenate([[0.0], np.cumsum(flow[:, 0])])
        spans = [np.ptp(turned[i : i + length]) for i in range(self._work.count - length + 1)]
        first = int(np.argmax(spans))
        names = self._work.names[first : first + length]
        tries: list[tuple[float, Any, float]] = []
        with console.progress("lens", len(starts) + 1) as bar:
            for number in range(len(starts) + 1):  # the best one again: its lens has changed since it was mapped
                lens = starts[number] if number < len(starts) else _lens(max(tries, key=lambda t: t[0])[1])
                mapped = max(self._mapped(lens, names), key=lambda m: m.num_reg_images(), default=None)
                if mapped is not None:
                    model, sigma = self._refined(mapped, refine_focal=not known)
                    tries.append((_support(model), model, sigma))
                    told = f"{_lens(model).focal:.1f}, k1 {_lens(model).k1:.3f}, support {tries[-1][0]:.0f}"
                    console.detail(f"pictures {first} to {first + length - 1}: {lens.focal:.1f} px leads to {told}")
                bar.update(number + 1)
                if not tries and number == len(starts) - 1:
                    break
        if not tries:
            found = f"none through pictures {first} to {first + length - 1}, which turn most: little texture or motion"
            raise InputError(self._path, f"a path through at least {_FEWEST_FRAMES} pictures", found)
        best, model, sigma = max(tries, key=lambda entry: entry[0])
        equal = [_lens(other).focal for support, other, _ in tries if support >= _AS_WELL * best]
        return model, max(sigma, float(np.ptp(equal)) / 2)

    def map(self, begun: Any, refine_focal: bool) -> list[tuple[Path3d, float]]:
        """Go on with all pictures; what does not join becomes a part of its own.

        Returns:
            Parts, the one with most pictures first, each with its focal length's sigma, reduced px.
        """
        lens = _lens(begun)
        mapped = self._mapped(lens, self._work.names, begun)
        joined = {image.name for model in mapped for image in model.images.values() if image.has_pose}
        left = [name for name in self._work.names if name not in joined]
        if len(left) >= _FEWEST_FRAMES:
            mapped += self._mapped(lens, left, several=True)
        parts = []
        for model in mapped:
            if model.num_reg_images() >= _FEWEST_FRAMES:
                model.extract_colors_for_all_images(self._work.images)
                refined, sigma = self._refined(model, refine_focal)
                parts.append((self._gathered(refined), sigma))
        return sorted(parts, key=lambda entry: -len(entry[0].frames))

    def _refined(self, model: Any, refine_focal: bool) -> tuple[Any, float]:
        """A model adjusted with as much of its lens as its pictures tell, and the sigma of its focal length.

        Driving straight on along the optical axis, any radial distortion looks like another depth; and without turning
        any focal length does. What is not told stays as it was.
        """
        best, sigma = model, 0.0
        for refine_k1 in (False, True):
            if not refine_focal and not refine_k1:
                continue
            changed = copy.deepcopy(best)
            sigmas = self._adjust(changed, refine_focal, refine_k1)
            lens = _lens(changed)
            told = f"{lens.focal:.1f} +- {sigmas[0]:.1f} px, k1 {lens.k1:.3f} +- {sigmas[-1] if refine_k1 else 0:.3f}"
            sound = _NARROWEST * self._work.width > lens.focal > _WIDEST * self._work.width and abs(lens.k1) < _MOST_K1
            sound = sound and _support(changed) > _AS_WELL * _support(best)
            if refine_k1:
                sound = sound and sigmas[-1] < _K1_SIGMA
            console.detail(f"lens {told}{'' if sound else ': not taken'}")
            if sound:
                best, sigma = changed, sigmas[0] if refine_focal else 0.0
        return best, sigma

    def _adjust(self, model: Any, refine_focal: bool, refine_k1: bool) -> list[float]:
        """Bundle adjustment, in place; sigmas of focal length and k1, those of them that are refined, for 1 px."""
        o = self._colmap.BundleAdjustmentOptions()
        o.refine_focal_length, o.refine_extra_params, o.print_summary = refine_focal, refine_k1, False
        o.ceres.loss_function_type = self._colmap.LossFunctionType.SOFT_L1
        solver = o.ceres.solver_options
        solver.max_num_iterations, solver.function_tolerance, solver.num_threads = 50, 1e-6, num_threads()
        config = self._colmap.BundleAdjustmentConfig()
        for number in model.reg_image_ids():
            config.add_image(number)
        config.fix_gauge(self._colmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
        # pycolmap.bundle_adjustment would set the log to loud again.
        adjuster = self._colmap.create_default_ceres_bundle_adjuster(o, config, model)
        adjuster.solve()
        model.update_point_3d_errors()
        wanted = self._colmap.BACovarianceOptions(params=self._colmap.BACovarianceOptionsParams.ALL)
        covariance = self._colmap.estimate_ba_covariance(wanted, model, adjuster)
        found = None
        if covariance is not None:
            found = covariance.get_other_params_cov(next(iter(model.cameras.values())).params)
        if found is None:
            return [float("inf")] * (refine_focal + refine_k1)
        return [float(value) for value in np.sqrt(np.abs(np.diag(found)))]

    def _mapped(self, start: Lens, names: list[str], begun: Any = None, several: bool = False) -> list[Any]:
        """Incremental mapping with a fixed lens (a pair of pictures alone would bend it beyond recognition).

        Args:
            begun: a model to go on with; else from two views. several: also models of what does not join.
        """
        with self._work.opened(self._work.database) as database:
            camera = database.read_all_cameras()[0]
            camera.params = [start.focal, start.cx, start.cy, start.k1]
            camera.has_prior_focal_length = True
            database.update_camera(camera)
        o = self._colmap.IncrementalPipelineOptions()
        o.num_threads, o.random_seed, o.image_names = num_threads(), 0, names
        o.multiple_models, o.max_num_models, o.min_model_size, o.max_model_overlap = several, 6, _FEWEST_FRAMES, 2
        o.init_num_trials = 50
        o.ba_refine_focal_length, o.ba_refine_extra_params, o.extract_colors = False, False, False
        # Fewer and shorter global adjustments: neighbors in time constrain each other, local ones do most.
        o.ba_global_frames_ratio = o.ba_global_points_ratio = 1.5
        o.ba_global_max_refinements, o.ba_global_max_num_iterations = 2, 25
        o.ba_local_max_num_iterations, o.ba_local_max_refinements = 12, 1
        o.mapper.init_min_tri_angle, o.mapper.init_max_forward_motion = 4.0, 1.0
        o.mapper.filter_min_tri_angle = o.triangulation.min_angle = 0.5
        o.mapper.ba_local_min_tri_angle = 2.0
        o.mapper.abs_pose_refine_focal_length = o.mapper.abs_pose_refine_extra_params = False
        o.mapper.abs_pose_min_num_inliers = 15
        output, beginning = (Path(tempfile.mkdtemp(dir=self._work.folder)) for _ in range(2))
        done = 2
        if begun is not None:
            begun.write(beginning)
            done = begun.num_reg_images()
        with console.progress("path", len(names)) as bar:

            def advance() -> None:
                nonlocal done
                done += 1
                bar.update(min(done, len(names)), f"{done}/{len(names)} pictures")

            models = self._colmap.incremental_mapping(
                self._work.database,
                self._work.images,
                output,
                options=o,
                input_path=beginning if begun is not None else "",
                next_image_callback=advance,
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
            lens=self._work.enlarged(_lens(model)),
            error_px=float(model.compute_mean_reprojection_error()) / self._work.scale[0],
        )


def _lens(model: Any) -> Lens:
    camera = next(iter(model.cameras.values()))
    return Lens(*(float(value) for value in camera.params))


def _support(model: Any) -> float:
    """Observations of points that several pictures see, each less its squared error in px."""
    points = (p for p in model.points3D.values() if p.track.length() >= _MIN_TRACK)
    return float(sum(p.track.length() * max(0.0, 1.0 - p.error**2) for p in points))


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
