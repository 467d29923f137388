"""Ingest: a recording becomes a clip folder. Pictures that can stay are linked, others undistorted and resized."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_folder, check_output
from jwmtool.artifacts.clip import Clip, ClipCamera, ClipFrame, ClipImage, LidarSweep
from jwmtool.artifacts.clip_io import write_clip_json
from jwmtool.artifacts.withhold import make_split
from jwmtool.device import num_threads
from jwmtool.errors import InputError, UsageError
from jwmtool.readers.ego_mask import with_ego_masks
from jwmtool.readers.pictures import CameraPlan
from jwmtool.readers.recording import Recording, SourceFrame
from jwmtool.readers.select import Selection, select


def ingest(
    recording: Recording,
    output: Path,
    *,
    selection: Selection = Selection(),
    size: tuple[int, int] | None = None,
    force: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Path:
    """Write a recording as a clip folder; every picture is decoded on the way, so a clip on disk is sound.

    Args:
        recording: as `readers.read_recording` returns it.
        output: the folder to make. It appears whole or not at all.
        selection: which frames and cameras, and what is withheld.
        size: (width, height) px to scale to (covering, then center crop), or None to keep the recorded size.
        force: replace `output` if it exists.
        provenance: record of this run, appended to clip.json.

    Returns:
        `output`.

    Raises:
        InputError: a picture, mask, sweep or points file that is missing or damaged, several frames without poses.
        OutputExistsError: `output` exists and `force` is not given. UsageError: an impossible selection or size.
    """
    check_output(output, force)
    if size is not None and min(size) < 16:
        raise UsageError(f"--size: expected at least 16x16, found {size[0]}x{size[1]}")
    chosen = select(recording, selection)
    if not recording.posed and len(chosen.frames) > 1:
        expected = "poses of the car, or one frame alone (--start T --duration 0.01s)"
        raise InputError(recording.path, expected, f"none for {len(chosen.frames)} frames")
    split = make_split(selection.withhold, len(chosen.frames), list(chosen.cameras))
    chosen = with_ego_masks(chosen, skip=[name for name, camera in chosen.cameras.items() if camera.mask_given])
    plans = {name: CameraPlan(camera, size) for name, camera in chosen.cameras.items()}
    with atomic_folder(output, force) as folder:
        frames = _write_images(chosen, plans, folder)
        lidar = _write_lidar(chosen, folder)
        clip = Clip(
            root=folder,
            name=chosen.name,
            source={"format": chosen.format, "name": chosen.path.name} | _source_extent(recording, chosen.frames),
            licence=chosen.licence,
            cameras={
                n: ClipCamera(n, p.K, p.width, p.height, p.camera.rig_from_cam, p.camera.distorted)
                for n, p in plans.items()
            },
            frames=frames,
            split=split,
            lidar=lidar,
            points=_write_points(chosen, folder),
            tracks=chosen.tracks,
            tags=chosen.tags,
            extras=chosen.extras,
            provenance=[provenance] if provenance else [],
        )
        write_clip_json(clip, folder)
    return output


def _write_images(recording: Recording, plans: dict[str, CameraPlan], folder: Path) -> list[ClipFrame]:
    for name in plans:
        (folder / "images" / name).mkdir(parents=True)
    jobs = [(i, name) for i, frame in enumerate(recording.frames) for name in frame.images]
    done: dict[tuple[int, str], ClipImage] = {}

    def write(job: tuple[int, str]) -> None:
        index, name = job
        image = recording.frames[index].images[name]
        file = plans[name].write_image(image, folder, index)
        mask = plans[name].write_mask(image, folder, index)
        done[job] = ClipImage(name, file, image.time_us, image.world_from_cam, mask)

    with console.progress("ingest", len(jobs)) as bar, ThreadPoolExecutor(num_threads()) as pool:
        pending: set[Future[None]] = set()
        try:
            for job in _counted(jobs, bar, done):
                pending.add(pool.submit(write, job))
                if len(pending) >= 4 * num_threads():  # few in flight: videos decode as they go
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in finished:
                        future.result()
            for future in pending:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [
        ClipFrame(frame.time_us, frame.world_from_rig, {name: done[i, name] for name in frame.images})
        for i, frame in enumerate(recording.frames)
    ]


def _counted(jobs: list[Any], bar: console.Progress, done: dict[Any, Any]) -> Iterator[Any]:
    for job in jobs:
        bar.update(len(done), f"{len(done)}/{len(jobs)} images")
        yield job


def _write_lidar(recording: Recording, folder: Path) -> list[LidarSweep]:
    sweeps: list[LidarSweep] = []
    if recording.lidar:
        (folder / "lidar").mkdir()
    for index, sweep in enumerate(recording.lidar):
        points = np.asarray(sweep.load(), np.float32)
        if points.ndim != 2 or points.shape[1] != 4:
            raise InputError(recording.path, f"points [M, 4] in lidar sweep {index}", f"shape {points.shape}")
        file = f"lidar/{index:06d}.npy"
        np.save(folder / file, points[np.isfinite(points).all(1)])
        sweeps.append(LidarSweep(file, sweep.time_us, sweep.world_from_lidar))
    return sweeps


def _write_points(recording: Recording, folder: Path) -> str | None:
    if recording.points is None:
        return None
    xyz, rgb = recording.points()
    good = np.isfinite(xyz).all(1)
    np.savez(folder / "points.npz", xyz=xyz[good].astype(np.float64), rgb=rgb[good].astype(np.uint8))
    return "points.npz"


def _source_extent(recording: Recording, kept: list[SourceFrame]) -> dict[str, Any]:
    """Where in the recording the clip lies, so that a frame can be found again."""
    origin_us = recording.begin_us
    return {
        "frames_in_source": len(recording.frames),
        "first_time_s": round((kept[0].time_us - origin_us) * 1e-6, 6),
        "last_time_s": round((kept[-1].time_us - origin_us) * 1e-6, 6),
    }
