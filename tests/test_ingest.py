"""Ingest: what is selected, what happens to the pictures, and that a failure leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_recordings import SIZE, dgp, edit_json, kitti, nerfstudio, opengl_pose, save

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import clip_content_sha256, clip_files, read_clip
from jwmtool.artifacts.withhold import make_split
from jwmtool.cli.main import run
from jwmtool.errors import InputError, OutputExistsError, UsageError
from jwmtool.geometry.camera import Camera, intrinsics_problem
from jwmtool.readers import read_recording
from jwmtool.readers.ingest import ingest
from jwmtool.readers.pictures import CameraPlan
from jwmtool.readers.recording import SourceCamera, SourceImage
from jwmtool.readers.select import Selection, override_masks


def made(source: Path, output: Path, size: tuple[int, int] | None = None, **selection: Any) -> Clip:
    return read_clip(ingest(read_recording(source), output, selection=Selection(**selection), size=size))


# Selection


def test_every_4_withholds_2_modulo_4_and_10_s_are_100_frames(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "kitti_raw_0095_color" / "transforms_000-169.json"
    arguments = ["--duration", "10s", "--size", "416x128", "--withhold", "every=4"]
    assert run(["ingest", str(source), "-o", str(tmp_path / "clip"), *arguments]) == 0
    clip = read_clip(tmp_path / "clip")
    assert len(clip.frames) == 100 and clip.times_us[-1] == 9_900_000
    assert clip.split.frames == tuple(range(2, 100, 4)) and len(clip.split.frames) == 25
    model = clip.cameras["camera_0"]
    assert (model.width, model.height) == (416, 128)
    # 1242x375 covers 416x128 as 424x128; 4 columns go on each side.
    np.testing.assert_allclose(model.K[:2, 2], [609.5593 * 424 / 1242 - 4, 172.854 * 128 / 375])
    assert clip.load_image(99, "camera_0").std() > 20
    assert clip.provenance[0]["argv"][:2] == ["jwm", "ingest"] and clip.provenance[0]["inputs"][0]["sha256"]


def test_time_window_every_and_rate(tmp_path: Path) -> None:
    source = nerfstudio(tmp_path / "in", frames=20)
    assert made(source, tmp_path / "a", start_s=0.5, duration_s=1.0).times_us.tolist() == list(
        range(500_000, 1_500_000, 100_000)
    )
    assert made(source, tmp_path / "b", every=3).times_us.tolist() == list(range(0, 2_000_000, 300_000))
    assert made(source, tmp_path / "c", rate_hz=2.5).times_us.tolist() == list(range(0, 2_000_000, 400_000))
    halves = [made(source, tmp_path / f"d{s}", start_s=s, duration_s=1.0).times_us.tolist() for s in (0.0, 1.0)]
    assert halves[0] + halves[1] == list(range(0, 2_000_000, 100_000))  # windows tile: no frame twice or never
    assert made(source, tmp_path / "f", start_s=0.5, duration_s=0.01).times_us.tolist() == [500_000]
    clip = made(source, tmp_path / "e", start_s=1.0, withhold=("every=4", "frame=0"))
    assert clip.split.frames == (0, 2, 6) and clip.source["first_time_s"] == 1.0


def test_a_reader_that_computes_the_stretch_alone_is_not_cut_twice(tmp_path: Path) -> None:
    """As that of videos: it was asked for 0.5 s from 1 s on, and its first frame is that one already."""
    whole = read_recording(nerfstudio(tmp_path / "in", frames=20))
    part = replace(whole, frames=whole.frames[10:15], origin_us=0)
    clip = read_clip(ingest(part, tmp_path / "clip", selection=Selection(start_s=1.0, duration_s=0.5)))
    assert clip.times_us.tolist() == list(range(1_000_000, 1_500_000, 100_000))
    assert clip.source["first_time_s"] == 1.0


def test_jitter_does_not_change_the_count(tmp_path: Path) -> None:
    source = nerfstudio(tmp_path / "in", frames=20)
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, 20)

    def shake(document: dict[str, Any]) -> None:
        for i, frame in enumerate(document["frames"]):
            frame["time"] = i / 10 + (0.0 if i == 0 else float(jitter[i]))

    assert len(made(edit_json(source, shake), tmp_path / "clip", duration_s=1.0).frames) == 10


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"start_s": 9.0}, "no frame there"),
        ({"duration_s": 0.0}, "--duration must be positive"),
        ({"every": 2, "rate_hz": 5.0}, "--every and --rate"),
        ({"rate_hz": 30.0}, "--rate: expected above 0 and at most 10 Hz"),
        ({"cameras": ("front",)}, "--cameras: expected some of camera_0, found front"),
        ({"withhold": ("every=1",)}, "at least 2"),
        ({"withhold": ("every=4,offset=4",)}, "M below N"),
        ({"withhold": ("each=4",)}, "expected every=N"),
        ({"withhold": ("frames=1,x",)}, "expected every=N"),
        ({"withhold": ("frame=6",)}, "frames 0 to 5"),
        ({"withhold": ("camera=rear",)}, "cameras camera_0"),
        ({"withhold": ("camera=camera_0",)}, "nothing is left to fit"),
    ],
)
def test_impossible_selections(tmp_path: Path, selection: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(nerfstudio(tmp_path / "in"), tmp_path / "clip", **selection)
    assert not (tmp_path / "clip").exists()


@given(st.integers(2, 9), st.integers(3, 60), st.data())
def test_split_rules(step: int, count: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, step - 1))
    split = make_split([f"every={step},offset={offset}"], count, ["a"])
    assert split.frames == tuple(i for i in range(count) if i % step == offset)
    assert make_split([f"every={step}"], count, ["a"]).frames == tuple(i for i in range(count) if i % step == step // 2)


def test_cameras_are_kept_in_the_order_given_and_withheld(tmp_path: Path) -> None:
    clip = made(kitti(tmp_path / "in"), tmp_path / "clip", cameras=("image_1", "image_0"), withhold=("camera=image_1",))
    assert list(clip.cameras) == ["image_1", "image_0"] and len(clip.images(withheld=True)) == 4
    assert clip.load_image(0, "image_0").shape == (SIZE[1], SIZE[0], 3)  # grey becomes RGB
    assert len(clip.lidar) == 4


# Pictures


def test_originals_are_linked_and_same_input_gives_same_content(tmp_path: Path) -> None:
    source = nerfstudio(tmp_path / "in")
    clip = made(source, tmp_path / "clip")
    linked = tmp_path / "clip" / clip.frames[2].images["camera_0"].file
    assert linked.samefile(tmp_path / "in" / "images" / "0002.jpg") and linked.suffix == ".jpg"
    again = made(source, tmp_path / "again")
    assert clip_content_sha256(clip) == clip_content_sha256(again)
    assert clip_content_sha256(made(source, tmp_path / "small", (32, 16))) != clip_content_sha256(clip)


@given(
    st.integers(20, 400), st.integers(20, 400), st.integers(16, 500), st.integers(16, 500), st.floats(0.3, 3.0),
    st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)),
)  # fmt: skip
def test_cover_crop_moves_pixels_as_k_does(
    w: int, h: int, new_w: int, new_h: int, focal: float, ray: tuple[float, float]
) -> None:
    K = np.array([[focal * w, 0, 0.45 * w], [0, focal * w * 1.01, 0.55 * h], [0, 0, 1]])
    before = Camera(K, w, h, np.eye(4))
    after = before.resized(new_w, new_h)
    assert intrinsics_problem(K, w, h) is None
    point = np.array([[ray[0], ray[1], 1.0]]) * 7.0
    x, y = before.project(point)[0][0]
    scale = max(new_w / w, new_h / h)
    scaled_w, scaled_h = max(round(w * scale), new_w), max(round(h * scale), new_h)
    expected = [x * scaled_w / w - (scaled_w - new_w) // 2, y * scaled_h / h - (scaled_h - new_h) // 2]
    np.testing.assert_allclose(after.project(point)[0][0], expected, rtol=1e-9, atol=1e-6)


def dots(size: tuple[int, int], places: np.ndarray) -> np.ndarray:
    """White Gaussian dots at `places` [M, 2] (pixel centers at halves) on black, [H, W, 3]."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    total = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2)) for px, py in places)
    return np.repeat((np.clip(np.asarray(total), 0, 1) * 255).astype(np.uint8)[..., None], 3, 2)


def center(pixels: np.ndarray, place: np.ndarray, radius: int = 9) -> np.ndarray:
    """Center of brightness around `place`, pixel centers at halves."""
    x0, y0 = int(place[0]) - radius, int(place[1]) - radius
    window = pixels[y0 : y0 + 2 * radius + 1, x0 : x0 + 2 * radius + 1, 0].astype(float)
    y, x = np.mgrid[y0 : y0 + 2 * radius + 1, x0 : x0 + 2 * radius + 1] + 0.5
    return np.array([(x * window).sum(), (y * window).sum()]) / window.sum()


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("opencv", (-0.3, 0.1, 0.002, -0.001, 0.0)),
        ("opencv", (0.2, 0.0, 0.0, 0.0)),
        ("fisheye", (0.05, -0.02, 0.01, 0.0)),
    ],
)
def test_undistorted_dots_lie_where_the_pinhole_says(model: Any, distortion: tuple[float, ...], tmp_path: Path) -> None:
    size, K = (320, 200), np.array([[210.0, 0, 163.5], [0, 208.0, 97.5], [0, 0, 1]])
    rays = np.array([[x, y, 1.0] for x in (-0.5, -0.2, 0.0, 0.3, 0.5) for y in (-0.3, 0.0, 0.3)])
    opencv_K = K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV counts from pixel centers
    if model == "fisheye":
        seen = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), opencv_K, np.array(distortion))[0]
    else:
        seen = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), opencv_K, np.array(distortion))[0]
    recorded = seen.reshape(-1, 2) + 0.5
    pinhole = rays[:, :2] @ K[:2, :2].T + K[:2, 2]
    assert np.abs(recorded - pinhole).max() > 1.0  # the lens does something
    camera = SourceCamera("cam", K, *size, np.eye(4), model, distortion)
    (tmp_path / "images" / "cam").mkdir(parents=True)
    plan = CameraPlan(camera, None)
    image = SourceImage(lambda: dots(size, recorded), 0, np.eye(4))
    pixels = np.asarray(Image.open(tmp_path / plan.write_image(image, tmp_path, 0)))
    np.testing.assert_array_equal(plan.K, K)
    for place in pinhole:
        if (place > 12).all() and (place < np.array(size) - 12).all():
            np.testing.assert_allclose(center(pixels, place), place, atol=0.12)
    mask = plan.write_mask(image, tmp_path, 0)
    assert (mask is not None) == (distortion[0] == 0.2)  # only there the pinhole sees more than the lens


def test_resized_dots_lie_where_k_says(tmp_path: Path) -> None:
    size, K = (640, 200), np.array([[300.0, 0, 330.0], [0, 300.0, 90.0], [0, 0, 1]])
    places = np.array([[200.0, 60.0], [330.25, 101.5], [460.0, 140.75]])
    (tmp_path / "images" / "cam").mkdir(parents=True)
    plan = CameraPlan(SourceCamera("cam", K, *size, np.eye(4)), (256, 128))
    image = SourceImage(lambda: dots(size, places), 0, np.eye(4))
    pixels = np.asarray(Image.open(tmp_path / plan.write_image(image, tmp_path, 0)))
    rays = np.c_[(places - K[:2, 2]) / 300.0, np.ones(3)]
    expected = rays @ plan.K.T
    assert pixels.shape == (128, 256, 3)
    for place in expected[:, :2]:
        np.testing.assert_allclose(center(pixels, place), place, atol=0.06)


def test_masks_follow_the_picture(tmp_path: Path) -> None:
    source = nerfstudio(tmp_path / "in", frames=2)
    valid = np.full((SIZE[1], SIZE[0]), 255, np.uint8)
    valid[24:] = 0
    Image.fromarray(valid).save(tmp_path / "mask.png")
    rules = (f"camera_0={tmp_path / 'mask.png'}",)
    clip = read_clip(ingest(override_masks(read_recording(source), rules), tmp_path / "clip", size=(32, 16)))
    mask = clip.load_mask(1, "camera_0")
    assert mask is not None and mask[:12].all() and not mask[12:].any()
    assert len({f.images["camera_0"].mask for f in clip.frames}) == 1  # one file for the camera
    assert override_masks(read_recording(source), ("camera_0=none",)).cameras["camera_0"].mask is None
    with pytest.raises(UsageError, match="--mask"):
        override_masks(read_recording(source), ("rear=none",))
    with pytest.raises(InputError, match="no such file"):
        override_masks(read_recording(source), ("camera_0=none.png",))


def test_the_own_car_is_masked_unless_the_user_says_what_the_mask_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is found is tested in test_ego_mask.py; here it is always the lowest quarter."""
    bonnet = np.zeros((SIZE[1], SIZE[0]), bool)
    bonnet[24:] = True
    monkeypatch.setattr("jwmtool.readers.ego_mask._ego_region", lambda *_: bonnet)
    monkeypatch.setattr("jwmtool.readers.ego_mask._enlarged", lambda region, *_: region)
    source = nerfstudio(tmp_path / "in", frames=60)  # half a meter apart

    def mask(name: str, *rules: str) -> Any:
        clip = read_clip(ingest(override_masks(read_recording(source), rules), tmp_path / name))
        return clip.load_mask(0, "camera_0")

    assert (mask("found") == ~bonnet).all()
    assert "own car masked in camera_0 (25 %)" in capfd.readouterr().err
    assert mask("none", "camera_0=none") is None
    Image.fromarray((~bonnet.T[: SIZE[1], : SIZE[1]]).astype(np.uint8) * 255).resize(SIZE).save(tmp_path / "own.png")
    given = mask("given", f"camera_0={tmp_path / 'own.png'}")
    assert given is not None and (given != ~bonnet).any()
    assert capfd.readouterr().err == ""


def test_a_path_is_not_followed_out_of_the_selection(tmp_path: Path) -> None:
    clip = made(dgp(tmp_path / "scene"), tmp_path / "clip", every=2, cameras=("CAMERA_01",))
    assert clip_files(clip) == ["images/CAMERA_01/000000.jpg", "images/CAMERA_01/000001.jpg",
                                "lidar/000000.npy", "lidar/000001.npy", "lidar/000002.npy"]  # fmt: skip
    assert len(clip.tracks[0].times_us) == 3


# Bad recordings: one line, exit 3, nothing left


def _truncate(folder: Path) -> None:
    file = folder / "images" / "0003.jpg"
    file.write_bytes(file.read_bytes()[:-200])


def _json(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    return lambda folder: edit_json(folder / "transforms.json", change)


def _empty(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()


NAN_POSE = [*opengl_pose(0.0)[:2], [0.0, float("nan"), 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing image": (lambda f: (f / "images" / "0003.jpg").unlink(), "0003.jpg: expected an image, found no"),
    "truncated JPEG": (_truncate, "0003.jpg: expected a readable image"),
    "not an image": (lambda f: (f / "images" / "0003.jpg").write_text("hello"), "0003.jpg: expected a readable image"),
    "another size": (lambda f: save(f / "images" / "0003.jpg", 0, (32, 32)), "0003.jpg: expected an image of 64x32 px"),
    "NaN pose": (_json(lambda d: d["frames"][3].update(transform_matrix=NAN_POSE)), "frames[3], found NaN"),
    "sheared pose": (
        _json(lambda d: d["frames"][3]["transform_matrix"][0].__setitem__(0, 0.5)),
        "frames[3], found a matrix that is not a rotation",
    ),
    "time order": (_json(lambda d: d["frames"][3].update(time=0.1)), "frames[3] at 0.1 s after 0.2 s"),
    "no frames": (_json(lambda d: d.update(frames=[])), "a list `frames` with at least one entry"),
    "focal": (_json(lambda d: d.update(fl_x=-5.0)), "focal lengths -5"),
    "center": (_json(lambda d: d.update(cx=999.0)), "principal point 999"),
    "no focal": (_json(lambda d: d.pop("fl_x")), "fl_x"),
    "text focal": (_json(lambda d: d.update(fl_x="wide")), "a finite number as fl_x, found 'wide'"),
    "camera model": (_json(lambda d: d.update(camera_model="EQUIRECTANGULAR")), "EQUIRECTANGULAR"),
    "not JSON": (lambda f: (f / "transforms.json").write_text("{"), "expected JSON"),
    "empty folder": (_empty, "an empty folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_recording_is_one_clear_line(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = nerfstudio(tmp_path / "in").parent
    change, expected = BAD[name]
    change(folder)
    (tmp_path / "out").mkdir()
    assert run(["ingest", str(folder), "-o", str(tmp_path / "out" / "clip")]) == 3
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and expected in err, err
    assert list((tmp_path / "out").iterdir()) == []


def test_damaged_lidar_leaves_nothing(tmp_path: Path) -> None:
    folder = dgp(tmp_path / "scene")
    file = folder / "point_cloud" / "LIDAR" / "1.npz"
    file.write_bytes(file.read_bytes()[:100])
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"1\.npz"):
        made(folder, tmp_path / "out" / "clip")
    assert list((tmp_path / "out").iterdir()) == []


def test_existing_output_needs_force(tmp_path: Path) -> None:
    source = nerfstudio(tmp_path / "in")
    made(source, tmp_path / "clip")
    with pytest.raises(OutputExistsError):
        made(source, tmp_path / "clip")
    broken = replace(
        read_recording(source), points=lambda: (_ for _ in ()).throw(InputError("x.ply", "points", "none"))
    )
    with pytest.raises(InputError):
        ingest(broken, tmp_path / "clip", force=True)
    assert len(read_clip(tmp_path / "clip").frames) == 6  # the old clip is still whole
    ingest(read_recording(source), tmp_path / "clip", selection=Selection(every=2), force=True)
    assert len(read_clip(tmp_path / "clip").frames) == 3


def test_killed_ingest_leaves_no_clip(tmp_path: Path) -> None:
    source = nerfstudio(tmp_path / "in", frames=300)
    (tmp_path / "out").mkdir()
    command = [
        sys.executable,
        "-m",
        "jwmtool.cli.main",
        "ingest",
        str(source),
        "-o",
        str(tmp_path / "out" / "clip"),
        "--size",
        "640x320",
    ]
    process = subprocess.Popen(command, env={**os.environ, "JWM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".clip.*.part/images/camera_0/*.png")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "clip").exists()


# The command


def test_command_on_several_sources_and_stdin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = nerfstudio(tmp_path / "one"), kitti(tmp_path / "two", official=False)
    assert run(["ingest", str(first.parent), str(second), "-o", str(tmp_path / "clips"), "--size", "32x16", "-q"]) == 0
    out, _ = capfd.readouterr()
    assert out.split() == [str(tmp_path / "clips" / "one"), str(tmp_path / "clips" / "two")]
    assert [read_clip(p).cameras.popitem()[1].width for p in out.split()] == [32, 32]


def test_command_options_reach_the_clip(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kitti(tmp_path / "in")
    arguments = [
        "--scene",
        "00",
        "--cameras",
        "image_0,image_1",
        "--withhold",
        "camera=image_1",
        "--withhold",
        "frame=1",
        "--every",
        "1",
    ]
    assert run(["ingest", str(tmp_path / "in"), "-o", str(tmp_path / "clip"), *arguments, "--dry-run"]) == 0
    assert not (tmp_path / "clip").exists()
    assert run(["ingest", str(tmp_path / "in"), "-o", str(tmp_path / "clip"), *arguments]) == 0
    clip = read_clip(tmp_path / "clip")
    assert clip.split.rules == ("camera=image_1", "frame=1") and list(clip.cameras) == ["image_0", "image_1"]
    assert run(["ingest", str(tmp_path / "in"), "-o", str(tmp_path / "clip")]) == 4
    assert run(["ingest", str(tmp_path / "in"), "-o", str(tmp_path / "x"), "--withhold", "all"]) == 2
    capfd.readouterr()
