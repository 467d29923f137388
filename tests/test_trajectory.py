"""Paths: words, files, offsets, resampling, going on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwmtool.artifacts.trajectory_io import read_trajectory
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.trajectory import Offset, Trajectory, arc, sample_times_us
from jwmtool.geometry.trajectory_text import parse_offset, parse_trajectory_text, trace_segments

START = se3.translation([3.0, -2.0, 1.0]) @ se3.rotation_z(0.7)


def traced(text: str, rate_hz: float = 10.0, speed_mps: float = 5.0) -> Trajectory:
    return trace_segments(parse_trajectory_text(text, speed_mps), START, rate_hz, start_us=1_000_000)


def end_in_start(path: Trajectory) -> np.ndarray:
    return se3.inverse(START) @ path.world_from_rig[-1]


def test_straight_then_left_ends_where_a_car_would() -> None:
    path = traced("straight 20m, left 90deg radius 5m", rate_hz=1000 / math.pi, speed_mps=5.0)
    end = end_in_start(path)
    # 20 m ahead, then a quarter circle: 5 m more ahead, 5 m to the left, facing left.
    assert end[:3, 3] == pytest.approx([25.0, 5.0, 0.0], abs=0.05)
    assert math.atan2(end[1, 0], end[0, 0]) == pytest.approx(math.pi / 2, abs=0.01)
    assert path.times_us[0] == 1_000_000
    assert path.duration_s == pytest.approx(4.0 + 2.5 * math.pi / 5, abs=0.01)


def test_right_mirrors_left_and_reverse_goes_back() -> None:
    left, right = end_in_start(traced("left 60deg")), end_in_start(traced("right 60deg"))
    assert right[:2, 3] == pytest.approx(left[:2, 3] * [1, -1])
    assert end_in_start(traced("straight 10m, reverse 10m")) == pytest.approx(np.eye(4), abs=1e-9)
    assert end_in_start(traced("reverse, straight 10m, forward, straight 4m"))[0, 3] == pytest.approx(-6.0)
    back_left = end_in_start(traced("reverse left 90deg radius 5m", speed_mps=5 * math.pi / 2))
    assert back_left[:2, 3] == pytest.approx([-5.0, 5.0])
    assert math.atan2(back_left[1, 0], back_left[0, 0]) == pytest.approx(-math.pi / 2)


def test_speed_and_stop_set_the_time() -> None:
    assert traced("straight 10m").duration_s == pytest.approx(2.0)
    assert traced("speed 36 km/h, straight 10m, stop 2s").duration_s == pytest.approx(3.0)
    stopped = traced("straight 10m, stop 1s").world_from_rig
    assert stopped[-1] == pytest.approx(stopped[-6])
    assert len(traced("straight 10m")) == 21


@pytest.mark.parametrize(
    "text",
    [
        "", "  , ", "fly 3m", "straight", "straight -5m", "straight 5 apples", "left", "left 90m", "left 9999deg",
        "left 90deg radius 0m", "stop", "speed 0", "speed -3m/s", "straight 1e9m", "straight nan", "straight 5m 6m",
        "left 90deg radius", "speed 30km/h",
    ],
)  # fmt: skip
def test_nonsense_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        parse_trajectory_text(text)


@given(
    st.lists(st.tuples(st.sampled_from(["straight", "left", "right"]), st.floats(0.5, 50.0)), min_size=1, max_size=5),
    st.floats(1.0, 20.0),
)
def test_the_path_stays_in_its_plane_and_keeps_its_speed(steps: list[tuple[str, float]], speed_mps: float) -> None:
    text = ", ".join(f"{verb} {amount:.3f}" for verb, amount in steps)
    path = trace_segments(parse_trajectory_text(text, speed_mps), START, 20.0)
    local = se3.inverse(START) @ path.world_from_rig
    assert np.abs(local[:, 2, 3]).max() < 1e-9
    assert all(se3.rigid_problem(pose) is None for pose in path.world_from_rig)
    steps_m = np.linalg.norm(np.diff(local[:, :3, 3], axis=0), axis=1)
    assert (steps_m <= speed_mps / 20.0 + 1e-6).all()


@given(st.floats(-20, 20), st.floats(-2, 2), st.floats(0, 3), st.floats(0, 3))
def test_arcs_add_up(speed_mps: float, yaw_rate: float, first_s: float, second_s: float) -> None:
    both = arc(speed_mps, yaw_rate, first_s) @ arc(speed_mps, yaw_rate, second_s)
    assert both == pytest.approx(arc(speed_mps, yaw_rate, first_s + second_s), abs=1e-9)


@given(st.floats(-15, 15), st.floats(-0.8, 0.8))
def test_extended_goes_on_along_the_same_arc(speed_mps: float, yaw_rate: float) -> None:
    times_us = sample_times_us(2.0, 10.0)
    poses = np.stack([START @ arc(speed_mps, yaw_rate, t * 1e-6) for t in times_us])
    path = Trajectory(times_us, poses).extended(1.5)
    assert len(path) == len(times_us) + 15
    if abs(speed_mps) > 1e-3:
        assert path.world_from_rig[-1] == pytest.approx(START @ arc(speed_mps, yaw_rate, 3.5), abs=1e-6)


def test_extending_a_parked_car_leaves_it_there() -> None:
    path = Trajectory(np.array([0, 100_000]), np.stack([START, START])).extended(1.0)
    assert path.world_from_rig[-1] == pytest.approx(START)
    assert path.times_us[-1] == 1_100_000


def test_resampled_keeps_ends_and_hits_the_old_poses() -> None:
    path = traced("straight 10m, left 45deg").starting_at(1_700_000_000_000_000)
    fine = path.resampled(40.0)
    assert fine.times_us[0] == path.times_us[0]
    assert fine.rate_hz == pytest.approx(40.0)
    assert fine.world_from_rig[::4][: len(path)] == pytest.approx(path.world_from_rig)
    assert len(Trajectory(path.times_us, path.world_from_rig).resampled(9.999)) == len(path)
    with pytest.raises(UsageError, match="rate"):
        path.resampled(0.0)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("y=2", Offset(y_m=2.0)),
        ("x=1,yaw=10deg", Offset(x_m=1.0, yaw_rad=math.radians(10))),
        (" z = 0.5m , yaw=0.1rad", Offset(z_m=0.5, yaw_rad=0.1)),
        ("y=-1.5", Offset(y_m=-1.5)),
        ("yaw=-90", Offset(yaw_rad=-math.pi / 2)),
    ],
)
def test_offsets(text: str, offset: Offset) -> None:
    assert parse_offset(text) == offset
    assert parse_offset(str(offset)).rig_from_shifted == pytest.approx(offset.rig_from_shifted, abs=1e-4)


@pytest.mark.parametrize("text", ["", "2", "y", "y=", "y=two", "w=1", "y=1,y=2", "y=1deg", "yaw=3m", "y=inf"])
def test_bad_offsets(text: str) -> None:
    with pytest.raises(UsageError):
        parse_offset(text)


def test_offset_is_to_the_left_of_the_car() -> None:
    path = traced("left 90deg")
    shifted = path.shifted(Offset(y_m=2.0))
    local = se3.inverse(path.world_from_rig) @ shifted.world_from_rig
    assert local[:, :3, 3] == pytest.approx(np.tile([0.0, 2.0, 0.0], (len(path), 1)), abs=1e-9)


def files(path: Trajectory, folder: Path, rig_from_cam: np.ndarray) -> list[Path]:
    quats, xyz = se3.to_quat(path.world_from_rig), path.world_from_rig[:, :3, 3]
    tum, csv = ["# time x y z qx qy qz qw"], ["time_us,x,y,z,qx,qy,qz,qw"]
    lines, objects = [], []
    for t, p, q, pose in zip(path.times_us, xyz, quats, path.world_from_rig, strict=True):
        numbers = [*map(repr, map(float, p)), *map(repr, map(float, (q[1], q[2], q[3], q[0])))]
        tum.append(" ".join([f"{t * 1e-6:.6f}", *numbers]))
        csv.append(",".join([str(t), *numbers]))
        world_from_cam = (pose @ rig_from_cam).tolist()
        lines.append(json.dumps({"time_us": int(t), "camera": "front", "world_from_cam": world_from_cam}))
        objects.append({"time_us": int(t), "world_from_rig": pose.tolist()})
    table = {"times_us": path.times_us.tolist(), "world_from_rig": path.world_from_rig.tolist()}
    texts = {
        "a.tum": "\n".join(tum), "b.txt": "\n".join(tum), "c.csv": "\n".join(csv), "d.jsonl": "\n".join(lines),
        "e.json": json.dumps(objects), "f.json": json.dumps(table),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def test_every_file_format_reads_the_same_path(tmp_path: Path) -> None:
    path = traced("straight 4m, right 30deg")
    rig_from_cam = se3.translation([1.0, 0.2, 1.5]) @ se3.RIG_FROM_CAM_AXES
    for file in files(path, tmp_path, rig_from_cam):
        read = read_trajectory(file, {"front": rig_from_cam})
        assert read.times_us.tolist() == path.times_us.tolist(), file
        assert read.world_from_rig == pytest.approx(path.world_from_rig, abs=1e-7), file


def test_csv_with_yaw(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("time_s, x, y, z, yaw_deg\n0.0, 1, 2, 3, 90\n0.5, 1, 3, 3, 90\n")
    path = read_trajectory(file)
    assert path.times_us.tolist() == [0, 500_000]
    assert path.world_from_rig[0] @ [1, 0, 0, 1] == pytest.approx([1, 3, 3, 1])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tum", "0 0 0 0 0 0 1", "8 numbers"),
        ("a.tum", "0 0 0 0 0 0 0 2", "unit quaternions"),
        ("a.tum", "0 nan 0 0 0 0 0 1", "finite"),
        ("a.tum", "0 0 0 0 0 0 0 1\n0 0 0 0 0 0 0 1", "strictly increasing"),
        ("a.tum", "# nothing", "at least one pose"),
        ("a.csv", "t,x,y\n1,2,3", "columns"),
        ("a.csv", "time_s,x,y,z,yaw_deg\n1,2,3", "columns"),
        ("a.jsonl", '{"time_us": 1', "JSON"),
        ("a.jsonl", json.dumps({"time_us": 1, "camera": "rear", "world_from_cam": np.eye(4).tolist()}), "rear"),
        ("a.json", '[{"time_us": 1, "world_from_rig": [[1, 2], [3, 4]]}]', "rigid"),
        ("a.json", "3", "list of poses"),
        ("a.npy", "", "trajectory"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_trajectory(tmp_path / name, {"front": np.eye(4)})
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_trajectory(tmp_path / "none.tum")
