"""The clip artifact: what is written is read back, and every way of being broken is told in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from small_recordings import SIZE, dgp, edit_json, nerfstudio

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_info import describe_clip
from jwmtool.artifacts.clip_io import clip_content_sha256, clip_files, read_clip, write_clip_json
from jwmtool.artifacts.clip_sheet import write_clip_sheet
from jwmtool.artifacts.images import image_size
from jwmtool.cli.main import run
from jwmtool.errors import InputError
from jwmtool.readers import read_recording
from jwmtool.readers.ingest import ingest
from jwmtool.readers.select import Selection


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with everything: two cameras, lidar, a track, a split."""
    folder = tmp_path_factory.mktemp("made")
    recording = read_recording(dgp(folder / "scene", frames=5))
    selection = Selection(withhold=("every=4", "camera=CAMERA_09"))
    return ingest(recording, folder / "clip", selection=selection, provenance={"argv": ["jwm", "ingest"]})


@pytest.fixture
def clip_folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "clip"))


def test_round_trip(clip_folder: Path, tmp_path: Path) -> None:
    first = read_clip(clip_folder)
    text = (clip_folder / "clip.json").read_text()
    write_clip_json(first, clip_folder)
    assert (clip_folder / "clip.json").read_text() == text
    again = read_clip(clip_folder / "clip.json")
    assert again.name == first.name and list(again.cameras) == list(first.cameras) and again.split == first.split
    for a, b in zip(first.frames, again.frames, strict=True):
        np.testing.assert_array_equal(a.world_from_rig, b.world_from_rig)
        np.testing.assert_array_equal(a.images["CAMERA_01"].world_from_cam, b.images["CAMERA_01"].world_from_cam)
    assert again.tracks[0].category == "Car" and again.tracks[0].size == (4.0, 2.0, 1.5)
    assert again.load_image(0, "CAMERA_01").shape == (SIZE[1], SIZE[0], 3)
    assert len(again.load_lidar(0)) == 1


def test_schema_is_draft_2020_12_and_accepts_what_we_write(clip_folder: Path) -> None:
    schema = json.loads(files("jwmtool.artifacts").joinpath("clip.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads((clip_folder / "clip.json").read_text()))


def test_content_hash_leaves_provenance_and_place_out(clip_folder: Path, tmp_path: Path) -> None:
    before = clip_content_sha256(read_clip(clip_folder))
    edit_json(clip_folder / "clip.json", lambda d: d["provenance"].append({"argv": ["other"]}))
    moved = clip_folder.rename(tmp_path / "moved")
    assert clip_content_sha256(read_clip(moved)) == before
    edit_json(moved / "clip.json", lambda d: d["frames"][0].update(time_us=d["frames"][0]["time_us"] - 1))
    changed = clip_content_sha256(read_clip(moved))
    assert changed != before
    image = moved / clip_files(read_clip(moved))[0]
    data = image.read_bytes()
    image.unlink()  # it may be a hard link
    image.write_bytes(data + b"\0")
    assert clip_content_sha256(read_clip(moved)) != changed


def test_newer_minor_version_may_say_more(clip_folder: Path) -> None:
    def add(document: dict[str, Any]) -> None:
        document.update(version="1.7", weather="rain")
        document["cameras"][0]["shutter"] = "rolling"

    edit_json(clip_folder / "clip.json", add)
    assert len(read_clip(clip_folder).frames) == 5


def _frame(document: dict[str, Any], index: int = 1) -> dict[str, Any]:
    frame: dict[str, Any] = document["frames"][index]
    return frame


def _set(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


NAN_POSE = [[1.0, 0, 0, float("nan")], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
SHEARED = [[1.0, 0.2, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
MIRRORED = [[-1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
IMAGE = ("frames", 1, "images", 0)
BROKEN: dict[str, tuple[Callable[[Any], None], str]] = {
    "format": (_set(("format",), "nuscenes"), 'format "jwm-clip"'),
    "newer version": (_set(("version",), "2.0"), 'version "1.x", found "2.0"'),
    "no version": (lambda d: d.pop("version"), 'version "1.x"'),
    "schema": (_set((*IMAGE, "time_us"), "soon"), "frames[1].images[0].time_us"),
    "unknown key": (_set(("weather",), "rain"), "'weather'"),
    "no frames": (_set(("frames",), []), "frames as clip.schema.json says"),
    "unit": (_set(("length_unit",), "ft"), "length_unit"),
    "pixel center": (_set(("conventions", "pixel_center"), 0.0), "pixel_center"),
    "NaN pose": (
        _set((*IMAGE, "world_from_cam"), NAN_POSE),
        "world_from_cam in frames[1] of camera CAMERA_01, found NaN",
    ),
    "not a rotation": (_set((*IMAGE, "world_from_cam"), SHEARED), "not a rotation"),
    "mirrored": (_set(("frames", 1, "world_from_rig"), MIRRORED), "mirrored"),
    "camera pose": (_set(("cameras", 0, "rig_from_cam"), SHEARED), "rig_from_cam of camera CAMERA_01"),
    "time order": (lambda d: _frame(d, 1).update(time_us=_frame(d, 0)["time_us"]), "frames in order of time"),
    "focal": (_set(("cameras", 0, "K", 0, 0), -50.0), "focal lengths -50"),
    "focal inf": (_set(("cameras", 0, "K", 0, 0), float("inf")), "NaN or infinity in K"),
    "center": (_set(("cameras", 0, "K", 0, 2), 500.0), "principal point 500"),
    "skew": (_set(("cameras", 0, "K", 0, 1), 3.0), "skew"),
    "unknown camera": (_set((*IMAGE, "camera"), "CAMERA_77"), "'CAMERA_77'"),
    "camera twice": (_set((*IMAGE, "camera"), "CAMERA_09"), "'CAMERA_09'"),
    "outside": (_set((*IMAGE, "file"), "../secret.jpg"), "path inside the clip"),
    "absolute": (_set((*IMAGE, "file"), "/etc/passwd"), "path inside the clip"),
    "missing image": (_set((*IMAGE, "file"), "images/none.jpg"), "none.jpg: expected the file that clip.json names"),
    "missing lidar": (_set(("lidar", 0, "file"), "lidar/none.npy"), "none.npy"),
    "split": (_set(("split", "frames"), [99]), "split of known frames and cameras"),
    "track": (_set(("tracks", 0, "times_us"), [1]), "tracks[0] (42)"),
    "not a list": (_set(("cameras",), {}), "cameras as clip.schema.json says"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_clip_is_one_clear_line(clip_folder: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    change, expected = BROKEN[name]
    edit_json(clip_folder / "clip.json", change)
    assert run(["info", str(clip_folder)]) == 3
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1, err
    assert expected in err and str(clip_folder) in err


@pytest.mark.parametrize("data", [b"", b"{", b"[1, 2]", b'{"format": "jwm-clip", "version": 7}', b'{"a": "\xff"}'])
def test_not_json(clip_folder: Path, data: bytes) -> None:
    (clip_folder / "clip.json").write_bytes(data)
    with pytest.raises(InputError, match=r"clip\.json: expected (a JSON|JSON|format|version)"):
        read_clip(clip_folder)


def test_missing_empty_and_other_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_clip(tmp_path / "none")
    with pytest.raises(InputError, match="an empty folder"):
        read_clip(tmp_path)
    (tmp_path / "photo.txt").write_text("hello")
    with pytest.raises(InputError, match=r"no clip\.json in it"):
        read_clip(tmp_path)


def test_image_of_another_size_or_truncated(clip_folder: Path) -> None:
    clip = read_clip(clip_folder)
    image = clip_folder / clip.frames[0].images["CAMERA_01"].file
    data = image.read_bytes()
    image.unlink()
    image.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="readable image"):
        clip.load_image(0, "CAMERA_01")
    other = clip_folder / clip.frames[1].images["CAMERA_01"].file
    edit_json(clip_folder / "clip.json", lambda d: d["cameras"][0].update(width=SIZE[0] * 2))
    with pytest.raises(InputError, match=f"found {SIZE[0]}x{SIZE[1]} px"):
        read_clip(clip_folder).load_image(1, "CAMERA_01")
    assert image_size(other) == SIZE


def test_description_and_sheet(clip_folder: Path, tmp_path: Path) -> None:
    clip = read_clip(clip_folder)
    facts = describe_clip(clip)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["frames"] == 5 and facts["images"] == 10 and facts["lidar_sweeps"] == 5 and facts["tracks"] == 1
    assert facts["path_length_m"] == pytest.approx(4 * 1.2) and facts["rate_hz"] == pytest.approx(10.0)
    assert facts["split"]["withheld_images"] == 6  # frame 2 of the front camera, all five of the rear one
    assert [c["yaw_deg"] for c in facts["cameras"]] == [0.0, pytest.approx(180.0)]
    width, height = image_size(write_clip_sheet(clip, tmp_path / "sheet.png"))
    assert width == 1600 and height > 400


def test_sheet_of_a_single_frame_without_lidar(tmp_path: Path) -> None:
    recording = read_recording(nerfstudio(tmp_path / "one", frames=1))
    clip: Clip = read_clip(ingest(recording, tmp_path / "clip"))
    assert clip.rate_hz == 10.0 and describe_clip(clip)["path_length_m"] == 0.0
    assert write_clip_sheet(clip, tmp_path / "sheet.png").is_file()
