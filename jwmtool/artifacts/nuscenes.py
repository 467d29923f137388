"""Write clips as a data set in the shape of nuScenes v1.0, which its devkit loads; each clip is a scene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_folder
from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.images import link_file
from jwmtool.artifacts.nuscenes_boxes import attribute_name, boxes_at
from jwmtool.artifacts.nuscenes_map import map_origin, write_map_mask
from jwmtool.artifacts.nuscenes_tables import (
    Record,
    channel_name,
    nuscenes_category,
    standard_tables,
    token,
    write_tables,
)
from jwmtool.errors import InputError
from jwmtool.geometry import se3

Floats = NDArray[np.float64]

VERSION = "v1.0-jwm"
LIDAR = "LIDAR_TOP"
KEY_FRAME_US = 500_000  # samples, and with them annotations, twice a second
_HOUR_US = 3_600_000_000
_RIG_FROM_NO_LIDAR = se3.translation((0.94, 0.0, 1.84))


def write_nuscenes(
    clips: Sequence[Clip], output: Path, *, force: bool = False, provenance: dict[str, Any] | None = None
) -> dict[str, int]:
    """Write a data set that `NuScenes(version="v1.0-jwm", dataroot=output)` loads.

    Args:
        clips: each becomes a scene. Those without lidar get empty sweeps, because the devkit reads the ego's pose from
            LIDAR_TOP; those without tracks no annotations.
        output: the folder to make; it appears whole or not at all. Pictures are hard links where that works.
        force: replace `output` if it exists.
        provenance: record of this run, for jwm_export.json.

    Returns:
        How many records each table has.

    Raises:
        InputError: cameras that cannot be told apart, a path that spans too far for a map mask, damaged files.
    """
    tables = standard_tables()
    notes = []
    with atomic_folder(output, force) as folder, console.progress("nuscenes", len(clips)) as bar:
        (folder / "maps").mkdir()
        names: set[str] = set()
        starts_us: set[int] = set()
        for number, clip in enumerate(clips):
            bar.update(number, clip.name)
            name = clip.name
            while name in names:
                name += "+"
            names.add(name)
            scene = _Scene(clip, name, folder, tables)
            while clip.frames[0].time_us + scene.offset_us in starts_us:  # the devkit sorts scenes by their start
                scene.offset_us += _HOUR_US
            starts_us.add(clip.frames[0].time_us + scene.offset_us)
            notes.append(scene.write())
        write_tables(folder / VERSION, tables)
        history = [*(record for clip in clips for record in clip.provenance), *([provenance] if provenance else [])]
        document = {"format": "jwm-nuscenes", "version": VERSION, "scenes": notes, "provenance": history}
        (folder / "jwm_export.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return {name: len(records) for name, records in tables.items()}


class _Scene:
    """Adds one clip to the tables and its files to the folder."""

    def __init__(self, clip: Clip, name: str, folder: Path, tables: dict[str, list[Record]]) -> None:
        self.clip, self.name, self.folder, self.tables = clip, name, folder, tables
        self.offset_us = 0
        x, y = map_origin(clip)
        self.global_from_world = se3.translation((-x, -y, 0.0))
        self.keys = key_frames(clip.times_us)
        self.samples = [token("sample", name, frame) for frame in self.keys]
        self.channels = {camera: channel_name(camera) for camera in clip.cameras}
        if len({*self.channels.values(), LIDAR}) != len(self.channels) + 1:
            expected = "camera names that differ in letters and digits"
            raise InputError(clip.root / "clip.json", expected, ", ".join(self.channels))

    def write(self) -> dict[str, Any]:
        """Write everything; return what jwm_export.json says about the scene."""
        self._log_and_map()
        self._scene_and_samples()
        for camera in self.clip.cameras:
            self._images(camera)
        self._annotations(self._sweeps())
        return {
            "name": self.name,
            "clip": self.clip.name,
            "source": self.clip.source,
            "licence": self.clip.licence,
            "global_from_world": self.global_from_world.tolist(),
            "time_offset_us": self.offset_us,
            "lidar": "recorded" if self.clip.lidar else "none: empty sweeps",
            "pixel_centers": "integers",
        }

    def _log_and_map(self) -> None:
        log, map_ = token("log", self.name), token("map", self.name)
        captured = datetime.fromtimestamp((self.clip.frames[0].time_us + self.offset_us) * 1e-6, UTC)
        self.tables["log"].append(
            {
                "token": log,
                "logfile": self.clip.name,
                "vehicle": str(self.clip.source.get("rig", self.clip.source.get("format", "unknown"))),
                "date_captured": captured.strftime("%Y-%m-%d"),
                "location": self.name,  # each has a map of its own
            }
        )
        file = f"maps/{map_}.png"
        write_map_mask(self.clip, self.folder / file)
        self.tables["map"].append({"token": map_, "log_tokens": [log], "category": "semantic_prior", "filename": file})

    def _scene_and_samples(self) -> None:
        scene = token("scene", self.name)
        for i, frame in enumerate(self.keys):
            self.tables["sample"].append(
                {
                    "token": self.samples[i],
                    "timestamp": self._time(self.clip.frames[frame].time_us),
                    "prev": self.samples[i - 1] if i else "",
                    "next": self.samples[i + 1] if i + 1 < len(self.samples) else "",
                    "scene_token": scene,
                }
            )
        tags = [f"{value}" for key, value in self.clip.tags.items() if isinstance(value, str) and value != "none"]
        self.tables["scene"].append(
            {
                "token": scene,
                "log_token": token("log", self.name),
                "nbr_samples": len(self.samples),
                "first_sample_token": self.samples[0],
                "last_sample_token": self.samples[-1],
                "name": self.name,
                "description": ", ".join(tags) or f"from {self.clip.source.get('format', 'unknown')}",
            }
        )

    def _images(self, camera: str) -> None:
        channel, model = self.channels[camera], self.clip.cameras[camera]
        K = model.K - [[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]  # nuScenes' first pixel has its center at 0
        calibrated = self._sensor(channel, "camera", model.rig_from_cam, K.tolist())
        records = []
        for index, frame in enumerate(self.clip.frames):
            image = frame.images.get(camera)
            if image is None:
                continue
            suffix = Path(image.file).suffix.lower()
            file = self._place(channel, index in self.keys, image.time_us, suffix)
            link_file(self.clip.root / image.file, file)
            record = self._data(channel, calibrated, index, image.time_us, file, index in self.keys)
            record |= {"fileformat": suffix.strip("."), "width": model.width, "height": model.height}
            self._ego(record, image.world_from_cam @ se3.inverse(model.rig_from_cam))
            records.append(record)
        self._chain(records)

    def _sweeps(self) -> list[Floats | None]:
        """Write the lidar; return the world points [M, 3] of each sample, None where there is no sweep."""
        clip, times_us = self.clip, self.clip.times_us
        rig_from_lidar = _rig_from_lidar(clip)
        calibrated = self._sensor(LIDAR, "lidar", rig_from_lidar, [])
        elevations = np.asarray(clip.extras.get("lidar", {}).get("elevations_rad", [0.0]))
        chosen = _nearest_sweeps([s.time_us for s in clip.lidar], [int(times_us[k]) for k in self.keys])
        jobs = [(sweep.time_us, index) for index, sweep in enumerate(clip.lidar)]
        jobs += [(int(times_us[k]), -1 - i) for i, k in enumerate(self.keys) if i not in chosen.values()]
        points_of: list[Floats | None] = [None] * len(self.keys)
        records = []
        for time_us, index in sorted(jobs):
            sample = chosen.get(index, -1) if index >= 0 else -1 - index
            if index >= 0:
                points = np.load(clip.root / clip.lidar[index].file)[:, :4].astype(np.float32)
                world_from_lidar = clip.lidar[index].world_from_lidar
                if sample >= 0:
                    points_of[sample] = se3.apply(world_from_lidar, points[:, :3].astype(np.float64))
            else:
                points = np.zeros((0, 4), np.float32)
                world_from_lidar = clip.frames[self.keys[sample]].world_from_rig @ rig_from_lidar
            frame = self.keys[sample] if sample >= 0 else int(np.searchsorted(times_us, time_us))
            file = self._place(LIDAR, sample >= 0, time_us, ".pcd.bin")
            np.column_stack([points, _rings(points, elevations)]).astype("<f4").tofile(file)
            record = self._data(LIDAR, calibrated, frame, time_us, file, sample >= 0)
            record |= {"fileformat": "pcd", "width": 0, "height": 0}
            self._ego(record, world_from_lidar @ se3.inverse(rig_from_lidar))
            records.append(record)
        self._chain(records)
        return points_of

    def _annotations(self, points_of: list[Floats | None]) -> None:
        """One record for each box at each sample, chained by instance."""
        chains: dict[str, list[Record]] = {}
        for i, frame in enumerate(self.keys) if self.clip.tracks else ():
            for box in boxes_at(self.clip, frame, points_of[i]):
                category = nuscenes_category(box.track.category)
                attribute = attribute_name(category, box)
                length, width, height = box.size
                pose = self.global_from_world @ box.world_from_box
                record = {
                    "token": token("annotation", self.name, box.track.id, frame),
                    "sample_token": self.samples[i],
                    "instance_token": token("instance", self.name, box.track.id),
                    "visibility_token": box.visibility,
                    "attribute_tokens": [] if attribute is None else [token("attribute", attribute)],
                    "translation": _numbers(pose[:3, 3]),
                    "size": [width, length, height],
                    "rotation": _numbers(se3.to_quat(pose)),
                    "prev": "",
                    "next": "",
                    "num_lidar_pts": box.num_lidar_points,
                    "num_radar_pts": 0,
                }
                chains.setdefault(box.track.id, []).append(record)
                self.tables["sample_annotation"].append(record)
        categories = {track.id: track.category for track in self.clip.tracks}
        for id_, records in chains.items():
            _link_records(records)
            self.tables["instance"].append(
                {
                    "token": token("instance", self.name, id_),
                    "category_token": token("category", nuscenes_category(categories[id_])),
                    "nbr_annotations": len(records),
                    "first_annotation_token": records[0]["token"],
                    "last_annotation_token": records[-1]["token"],
                    "source_id": id_,
                    "source_category": categories[id_],
                }
            )

    def _sensor(self, channel: str, modality: str, rig_from_sensor: Floats, intrinsic: list[list[float]]) -> str:
        """Add a sensor and its calibration; return the latter's token."""
        sensor, calibrated = token("sensor", channel), token("calibrated_sensor", self.name, channel)
        if sensor not in [record["token"] for record in self.tables["sensor"]]:
            self.tables["sensor"].append({"token": sensor, "channel": channel, "modality": modality})
        self.tables["calibrated_sensor"].append(
            {
                "token": calibrated,
                "sensor_token": sensor,
                "translation": _numbers(rig_from_sensor[:3, 3]),
                "rotation": _numbers(se3.to_quat(rig_from_sensor)),
                "camera_intrinsic": intrinsic,
            }
        )
        return calibrated

    def _place(self, channel: str, is_key: bool, time_us: int, suffix: str) -> Path:
        folder = self.folder / ("samples" if is_key else "sweeps") / channel
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.name}__{channel}__{self._time(time_us)}{suffix}"

    def _data(self, channel: str, calibrated: str, frame: int, time_us: int, file: Path, is_key: bool) -> Record:
        """A record of sample_data without what depends on the sensor; its sample is that of the next key frame."""
        sample = min(int(np.searchsorted(self.keys, frame)), len(self.samples) - 1)
        return {
            "token": token("sample_data", self.name, channel, time_us, int(is_key)),
            "sample_token": self.samples[sample],
            "ego_pose_token": "",
            "calibrated_sensor_token": calibrated,
            "timestamp": self._time(time_us),
            "fileformat": "",
            "is_key_frame": is_key,
            "height": 0,
            "width": 0,
            "filename": file.relative_to(self.folder).as_posix(),
            "prev": "",
            "next": "",
        }

    def _ego(self, record: Record, world_from_rig: Floats) -> None:
        """Each record has its own pose of the ego, so that its sensor stands exactly where it stood."""
        pose = self.global_from_world @ world_from_rig
        record["ego_pose_token"] = token("ego_pose", record["token"])
        self.tables["ego_pose"].append(
            {
                "token": record["ego_pose_token"],
                "timestamp": record["timestamp"],
                "rotation": _numbers(se3.to_quat(pose)),
                "translation": _numbers(pose[:3, 3]),
            }
        )

    def _chain(self, records: list[Record]) -> None:
        _link_records(records)
        self.tables["sample_data"] += records

    def _time(self, time_us: int) -> int:
        return int(time_us) + self.offset_us


def key_frames(times_us: NDArray[np.int64]) -> list[int]:
    """Frames nearest to every half second; all of them if they are that far apart."""
    half_step_us = int(np.median(np.diff(times_us))) // 2 if len(times_us) > 1 else 0
    wanted = np.arange(times_us[0], times_us[-1] + half_step_us + 1, KEY_FRAME_US)
    return list(dict.fromkeys(int(np.abs(times_us - t).argmin()) for t in wanted))


def _rig_from_lidar(clip: Clip) -> Floats:
    """[4, 4] from the sweep whose time is nearest to a frame's."""
    if not clip.lidar:
        return _RIG_FROM_NO_LIDAR
    gaps = np.abs(np.array([s.time_us for s in clip.lidar])[:, None] - clip.times_us[None])
    sweep = clip.lidar[int(gaps.min(1).argmin())]
    world_from_rig = se3.interpolate(clip.times_us, clip.world_from_rig, sweep.time_us)[0]
    return se3.inverse(world_from_rig) @ sweep.world_from_lidar


def _nearest_sweeps(sweeps_us: list[int], samples_us: list[int]) -> dict[int, int]:
    """{sweep: sample}: for each sample its nearest sweep, if it lies less than half a sample away."""
    chosen: dict[int, int] = {}
    for sample, time_us in enumerate(samples_us):
        if sweeps_us:
            gaps = np.abs(np.array(sweeps_us) - time_us)
            sweep = int(gaps.argmin())
            if gaps[sweep] < KEY_FRAME_US // 2 and sweep not in chosen:
                chosen[sweep] = sample
    return chosen


def _rings(points: NDArray[np.float32], elevations_rad: Floats) -> NDArray[np.int64]:
    """[M] the beam that each point [M, 4] came from, by its elevation; 0 if the beams are unknown."""
    elevation = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
    middles = 0.5 * (elevations_rad[1:] + elevations_rad[:-1])
    return np.searchsorted(middles, elevation)


def _link_records(records: list[Record]) -> None:
    for before, after in pairwise(records):
        before["next"], after["prev"] = after["token"], before["token"]


def _numbers(values: Floats) -> list[float]:
    return [float(v) for v in values]
