"""`jwm export --to nuscenes`: the tables agree with each other and with the clip, and the real devkit shows them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_world import SPEED_MPS, fake_world
from small_recordings import nerfstudio

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip, write_clip_json
from jwmtool.artifacts.images import read_image
from jwmtool.artifacts.nuscenes import VERSION, key_frames, write_nuscenes
from jwmtool.artifacts.nuscenes_boxes import points_inside
from jwmtool.artifacts.nuscenes_map import MARGIN_M
from jwmtool.artifacts.nuscenes_tables import CATEGORIES, TABLES, channel_name, nuscenes_category
from jwmtool.cli.main import run
from jwmtool.errors import InputError, OutputExistsError
from jwmtool.geometry import se3
from jwmtool.worlds.generate import write_world
from jwmtool.worlds.spec import WorldSpec

# conftest.py takes JWM_ variables away from tests; this one says only which interpreter to use.
DEVKIT_PYTHON = os.environ.get("JWM_NUSCENES_PYTHON")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """A world with six cameras and a lidar, and one with a single camera and none."""
    folder = tmp_path_factory.mktemp("clips")
    made = [("surround", 7, "surround6", 1.6), ("front", 8, "front1", 1.0)]
    return [
        read_clip(write_world(fake_world(WorldSpec("city", seed, duration_s, 10.0, 224, 128), rig), folder / name))
        for name, seed, rig, duration_s in made
    ]


@pytest.fixture(scope="module")
def exported(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("nuscenes") / "data"
    write_nuscenes(clips, output)
    return output


def tables(root: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: json.loads((root / VERSION / f"{name}.json").read_text()) for name in TABLES}


def matrix(record: dict[str, Any]) -> np.ndarray:
    return se3.from_quat(record["rotation"], record["translation"])


def by_token(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert len({r["token"] for r in records}) == len(records), "tokens are unique"
    return {r["token"]: r for r in records}


# the tables


def test_every_token_leads_somewhere(exported: Path) -> None:
    t = tables(exported)
    known = {name: by_token(records) for name, records in t.items()}
    checked = 0
    for name, records in t.items():
        for record in records:
            for key, value in record.items():
                target = key.removesuffix("_tokens").removesuffix("_token")
                target = {"first_sample": "sample", "last_sample": "sample"}.get(target, target)
                target = "sample_annotation" if target.endswith("_annotation") else target
                if key.endswith("_token"):
                    assert value in known[target], f"{name}.{key}"
                elif key.endswith("_tokens"):
                    assert all(v in known[target] for v in value), f"{name}.{key}"
                elif key in ("prev", "next") and value:
                    back = "next" if key == "prev" else "prev"
                    assert known[name][value][back] == record["token"], f"{name}.{key}"
                else:
                    continue
                checked += 1
    assert checked > 500
    for record in t["sample_data"]:
        assert (exported / record["filename"]).is_file()
        assert record["filename"].startswith("samples/" if record["is_key_frame"] else "sweeps/")


def test_samples_come_twice_a_second_and_have_every_sensor(exported: Path, clips: list[Clip]) -> None:
    t = tables(exported)
    scenes = t["scene"]
    assert [s["name"] for s in scenes] == ["city-000007", "city-000008"] and [s["nbr_samples"] for s in scenes] == [
        4,
        2,
    ]
    for scene, clip in zip(scenes, clips, strict=True):
        samples = [s for s in t["sample"] if s["scene_token"] == scene["token"]]
        assert set(np.diff([s["timestamp"] for s in samples])) == {500_000}
        sensors = by_token(t["sensor"])
        calibrated = by_token(t["calibrated_sensor"])
        for sample in samples:
            keys = [d for d in t["sample_data"] if d["sample_token"] == sample["token"] and d["is_key_frame"]]
            names = [sensors[calibrated[d["calibrated_sensor_token"]]["sensor_token"]]["channel"] for d in keys]
            assert sorted(names) == sorted([*map(channel_name, clip.cameras), "LIDAR_TOP"])
            assert all(d["timestamp"] == sample["timestamp"] for d in keys)


def test_sweeps_belong_to_the_key_frame_after_them(exported: Path) -> None:
    t = tables(exported)
    samples = by_token(t["sample"])
    for data in t["sample_data"]:
        sample = samples[data["sample_token"]]
        if data["is_key_frame"]:
            assert data["timestamp"] == sample["timestamp"]
        elif sample["next"]:
            assert sample["timestamp"] - 500_000 < data["timestamp"] < sample["timestamp"]


def test_sensors_stand_where_the_clip_says(exported: Path, clips: list[Clip]) -> None:
    t = tables(exported)
    notes = json.loads((exported / "jwm_export.json").read_text())["scenes"]
    calibrated, egos, sensors = (by_token(t[n]) for n in ("calibrated_sensor", "ego_pose", "sensor"))
    count = 0
    for data in t["sample_data"]:
        number = 0 if "city-000007" in data["filename"] else 1
        clip, note = clips[number], notes[number]
        cal = calibrated[data["calibrated_sensor_token"]]
        world_from_global = se3.inverse(np.array(note["global_from_world"]))
        pose = world_from_global @ matrix(egos[data["ego_pose_token"]]) @ matrix(cal)
        time_us = data["timestamp"] - note["time_offset_us"]
        frame = clip.times_us.tolist().index(time_us)
        channel = sensors[cal["sensor_token"]]["channel"]
        if channel == "LIDAR_TOP":
            if clip.lidar:
                assert np.allclose(pose, clip.lidar[frame].world_from_lidar, atol=1e-9)
            continue
        name = {channel_name(n): n for n in clip.cameras}[channel]
        assert np.allclose(pose, clip.camera_at(frame, name).world_from_cam, atol=1e-9)
        assert np.allclose(np.add(cal["camera_intrinsic"], [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]), clip.cameras[name].K)
        if frame == 3:
            assert np.array_equal(read_image(exported / data["filename"]), clip.load_image(3, name))
        count += 1
    assert count == 16 * 6 + 10


def test_annotations_are_the_tracks(exported: Path, clips: list[Clip]) -> None:
    t = tables(exported)
    note = json.loads((exported / "jwm_export.json").read_text())["scenes"][0]
    world_from_global = se3.inverse(np.array(note["global_from_world"]))
    samples, categories = by_token(t["sample"]), by_token(t["category"])
    attributes = by_token(t["attribute"])
    first = {s["token"] for s in t["sample"] if s["scene_token"] == t["scene"][0]["token"]}
    found: dict[str, int] = {}
    for instance in t["instance"]:
        chain = [a for a in t["sample_annotation"] if a["instance_token"] == instance["token"]]
        assert len(chain) == instance["nbr_annotations"]
        assert chain[0]["token"] == instance["first_annotation_token"] and chain[0]["prev"] == ""
        if chain[0]["sample_token"] not in first:
            continue
        track = next(track for track in clips[0].tracks if track.id == instance["source_id"])
        name = categories[instance["category_token"]]["name"]
        found[name] = len(chain)
        for record in chain:
            frame = clips[0].times_us.tolist().index(samples[record["sample_token"]]["timestamp"])
            assert np.allclose(world_from_global @ matrix(record), track.world_from_box[frame], atol=1e-9)
            length, width, height = track.size
            assert record["size"] == [width, length, height]
            told = [attributes[a]["name"] for a in record["attribute_tokens"]]
            expected = {"vehicle.car": "moving", "vehicle.truck": "parked"}
            assert told == [f"vehicle.{expected[name]}" if name in expected else "pedestrian.moving"]
            if name == "vehicle.car":
                assert record["num_lidar_pts"] > 10 and record["visibility_token"] == "4"
    assert found == {"vehicle.car": 4, "vehicle.truck": 4, "human.pedestrian.adult": 4}


def test_lidar_files_have_five_columns_with_the_beam(exported: Path, clips: list[Clip]) -> None:
    t = tables(exported)
    files = [d["filename"] for d in t["sample_data"] if "LIDAR_TOP" in d["filename"] and "000007" in d["filename"]]
    points = np.fromfile(exported / files[2], "<f4").reshape(-1, 5)
    assert np.array_equal(points[:, :4], np.load(clips[0].root / clips[0].lidar[2].file))
    elevations = np.array(clips[0].extras["lidar"]["elevations_rad"])
    measured = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
    assert np.abs(elevations[points[:, 4].astype(int)] - measured).max() < 1e-4


def test_the_map_is_white_where_lanes_are(exported: Path) -> None:
    t = tables(exported)
    mask = read_image(exported / t["map"][0]["filename"])[..., 0]
    assert set(np.unique(mask)) == {0, 255}
    ego = t["ego_pose"][0]["translation"]
    assert min(ego[:2]) >= MARGIN_M  # all of the map's coordinates are positive
    row, column = mask.shape[0] - round(ego[1] * 10), round(ego[0] * 10)
    assert mask[row, column] == 255 and mask[row - 15, column] == 255 and mask[row + 15, column] == 255
    assert mask[row - 25, column] == 0 and mask[row + 25, column] == 0, "a lane is 3.5 m wide"


def test_the_same_clip_gives_the_same_tables(exported: Path, clips: list[Clip], tmp_path: Path) -> None:
    write_nuscenes(clips, tmp_path / "again")
    for name in TABLES:
        assert (tmp_path / f"again/{VERSION}/{name}.json").read_bytes() == (
            exported / f"{VERSION}/{name}.json"
        ).read_bytes()


def test_one_clip_twice_makes_two_scenes(clips: list[Clip], tmp_path: Path) -> None:
    write_nuscenes([clips[1], clips[1]], tmp_path / "twice")
    t = tables(tmp_path / "twice")
    for records in t.values():
        by_token(records)
    starts = [s["timestamp"] for s in t["sample"] if s["prev"] == ""]
    assert len({s["name"] for s in t["scene"]}) == 2 and len(set(starts)) == 2


def test_tracks_without_lidar_or_truth_are_all_there(clips: list[Clip], tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(clips[1].root, folder)
    document = json.loads((folder / "clip.json").read_text())
    del document["extras"]
    (folder / "clip.json").write_text(json.dumps(document))
    write_nuscenes([read_clip(folder)], tmp_path / "data")
    t = tables(tmp_path / "data")
    assert len(t["sample_annotation"]) == 6 and {a["visibility_token"] for a in t["sample_annotation"]} == {"0"}


def test_a_far_path_is_refused(clips: list[Clip], tmp_path: Path) -> None:
    folder = tmp_path / "far"
    shutil.copytree(clips[1].root, folder)
    document = json.loads((folder / "clip.json").read_text())
    document["frames"][-1]["world_from_rig"][0][3] = 90_000.0
    document["frames"][-1]["world_from_rig"][1][3] = 90_000.0
    (folder / "clip.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"fits a map mask.*90.2 x 90.2 km"):
        write_nuscenes([read_clip(folder)], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_camera_names_that_become_one_channel_are_refused(clips: list[Clip], tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(clips[0].root, folder)
    text = (folder / "clip.json").read_text()
    (folder / "clip.json").write_text(text.replace('"CAM_BACK"', '"front-1"').replace('"CAM_FRONT"', '"front.1"'))
    with pytest.raises(InputError, match="differ in letters and digits"):
        write_nuscenes([read_clip(folder)], tmp_path / "data")


def test_names_and_key_frames() -> None:
    assert channel_name("front_left") == "CAM_FRONT_LEFT" and channel_name("CAM_BACK") == "CAM_BACK"
    assert channel_name("image_2") == "CAM_IMAGE_2"
    for category in ("car", "lorry", "bus", "cyclist", "pedestrian", "animal", "obstacle"):
        assert nuscenes_category(category) in CATEGORIES and nuscenes_category(category) != "static.other"
    known = {"Bus/RV/Caravan": "vehicle.bus.rigid", "Bicyclist": "vehicle.bicycle", "Wheeled Slow": "static.other"}
    assert {k: nuscenes_category(k) for k in known} == known
    assert key_frames(np.arange(10) * 100_000) == [0, 5]
    assert key_frames(np.arange(4) * 1_000_000) == [0, 1, 2, 3]
    assert key_frames(np.array([7])) == [0]
    assert key_frames(np.arange(31) * 33_333) == [0, 15, 30]


def test_points_on_the_skin_of_a_box_are_inside() -> None:
    pose = se3.translation((5.0, 0, 0)) @ se3.rotation_z(0.5)
    local = np.array([[1.0, 0, 0], [0, 0.5, 0], [1.04, 0, 0], [1.2, 0, 0], [0, 0.7, 0]])
    assert points_inside(se3.apply(pose, local), pose, (2.0, 1.0, 1.0)) == 3


# the command


def test_the_command_exports_clips(clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(clips[0].root), str(clips[1].root), "--to", "nuscenes", "-o", str(tmp_path / "d")]
    assert run(words) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'd'}\n" and "no lidar; LIDAR_TOP gets empty sweeps" in shown.err
    assert json.loads((tmp_path / "d/jwm_export.json").read_text())["provenance"][-1]["argv"][:2] == ["jwm", "export"]
    assert run(words) == OutputExistsError.exit_code
    assert run([*words, "--force", "--time", "1s"]) == 2
    assert run(["export", str(clips[0].root), "x.h5", "--to", "ply", "-o", str(tmp_path / "e")]) == 2
    assert run(["export", str(tmp_path / "nothing"), "--to", "nuscenes", "-o", str(tmp_path / "e")]) == 3


def test_a_recording_without_lidar_and_tracks(tmp_path: Path) -> None:
    recording = nerfstudio(tmp_path / "r")
    assert run(["ingest", str(recording), "-o", str(tmp_path / "clip")]) == 0
    assert run(["export", str(tmp_path / "clip"), "--to", "nuscenes", "-o", str(tmp_path / "d")]) == 0
    t = tables(tmp_path / "d")
    assert not t["instance"] and not t["sample_annotation"] and len(t["sample"]) == 2
    empty = [d for d in t["sample_data"] if d["fileformat"] == "pcd"]
    assert len(empty) == 2 and all((tmp_path / "d" / d["filename"]).stat().st_size == 0 for d in empty)


# the devkit


def devkit_python() -> str:
    """An interpreter that imports nuscenes; it may not be this one, because the devkit wants an old numpy."""
    for python in [DEVKIT_PYTHON] if DEVKIT_PYTHON else [sys.executable]:
        if subprocess.run([python, "-c", "import nuscenes"], capture_output=True).returncode == 0:
            return python
    pytest.skip("no nuscenes-devkit: JWM_NUSCENES_PYTHON names no interpreter that has it")


def test_the_devkit_loads_and_renders(exported: Path, clips: list[Clip], tmp_path: Path) -> None:
    script = Path(__file__).with_name("nuscenes_devkit_calls.py")
    command = [devkit_python(), "-W", "ignore", str(script), str(exported), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "Agg"})
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])
    assert "city-000007" in done.stdout and "city-000008" in done.stdout
    assert len(result["pictures"]) == 7 + 2 and all(Path(p).stat().st_size > 5000 for p in result["pictures"])
    assert result["points_in_image"]["city-000007"] > 300 and result["points_in_image"]["city-000008/all"] == 0
    assert all(result["on_map"])
    assert np.allclose(result["velocities"]["car_00"], [SPEED_MPS, 0, 0], atol=1e-6)
    # The devkit's own projection of each box surrounds the pixels that show the actor, also between key frames.
    names = {"car_00": 1, "lorry_01": 2, "pedestrian_02": 3}
    compared = 0
    for key, boxes in result["boxes"].items():
        name, time_us = key.split("/")
        if name != "city-000007":
            continue
        frame = clips[0].times_us.tolist().index(int(time_us))
        seen = fake_world(WorldSpec("city", 7, 1.6, 10.0, 224, 128), "surround6").view(frame, "CAM_FRONT").instance
        for id_, box in boxes.items():
            y, x = np.nonzero(seen == names[id_])
            outline = np.clip(np.array(box["outline"]), 0, (224, 128))
            if len(x) and x.min() > 2 and x.max() < 221:
                assert np.abs(outline.min(0) - (x.min(), y.min())).max() < 1.6, (key, id_)
                assert np.abs(outline.max(0) - (x.max() + 1, y.max() + 1)).max() < 1.6, (key, id_)
                compared += 1
    assert compared > 20


def test_the_devkit_loads_a_recording(tmp_path: Path) -> None:
    """One whose camera has another name, without lidar, tracks or lanes."""
    python = devkit_python()
    assert run(["ingest", str(nerfstudio(tmp_path / "r")), "-o", str(tmp_path / "clip"), "-q"]) == 0
    clip = read_clip(tmp_path / "clip")
    write_clip_json(clip, clip.root)
    write_nuscenes([clip], tmp_path / "d")
    script = Path(__file__).with_name("nuscenes_devkit_calls.py")
    done = subprocess.run(
        [python, "-W", "ignore", str(script), str(tmp_path / "d"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
