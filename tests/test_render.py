"""`jwm render`: views, paths, bird's eye, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from street_scene import lifted_scene, street_clip

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.frame_meta import read_meta
from jwmtool.artifacts.images import read_image
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_io import write_scene
from jwmtool.artifacts.video import read_frames, read_video
from jwmtool.cli.main import run
from jwmtool.errors import UsageError
from jwmtool.gaussians.exposure import Exposure
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.trajectory import Offset
from jwmtool.imaging.colormap import depth_colors, turbo
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.rendering.bev import HEADROOM_M, below_headroom, bird_view, render_bird
from jwmtool.rendering.compare import cover_resize
from jwmtool.rendering.frames import render_frames
from jwmtool.rendering.paths import View, ego_path, path_views, recorded_views, shifted_views
from jwmtool.rendering.plan import RenderRequest, plan_render
from jwmtool.rendering.view import render_view


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, Scene, Path]:
    folder = tmp_path_factory.mktemp("street")
    clip = street_clip(folder / "clip")
    scene = lifted_scene(clip)
    write_scene(scene, folder / "scene.h5")
    return clip, scene, folder


def red_ball(at: tuple[float, float, float], scale: float = 0.3, world_from_scene: np.ndarray | None = None) -> Scene:
    sh = torch.tensor([[[1.0, -1.0, -1.0]]]) * 0.5 / 0.28209479
    gaussians = Gaussians.static(
        torch.tensor([at]), torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), scale), torch.tensor([0.99]), sh
    )
    return Scene(gaussians, np.eye(4) if world_from_scene is None else world_from_scene)


CAMERA = Camera(np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]]), 64, 48, se3.RIG_FROM_CAM_AXES)


def test_view_puts_sky_behind_and_exposure_on_top() -> None:
    scene = red_ball((5.0, 0.0, 0.0))
    sky = torch.zeros(6, 2, 2, 3)
    sky[0] = torch.tensor([0.0, 0.0, 0.5])  # +x: ahead
    sky[5] = 1.0  # -z: below
    scene = replace(scene, sky=sky)
    plain = render_view(scene, CAMERA, 0)
    assert plain.color[24, 32].tolist() == pytest.approx([0.97, 0.0, 0.015], abs=0.03)
    assert plain.color[2, 2].tolist() == pytest.approx([0.0, 0.0, 0.5], abs=1e-4)
    affine = torch.tensor([[0.5, 0, 0, 0], [0, 1, 0, 0.2], [0, 0, 4, 0]]).float()[None]
    exposed = replace(scene, exposure={"front": Exposure(np.array([0]), affine)})
    assert render_view(exposed, CAMERA, 0, "front").color[2, 2].tolist() == pytest.approx([0.0, 0.2, 1.0], abs=1e-4)
    assert torch.equal(render_view(exposed, CAMERA, 0, "rear").color, plain.color)


def test_view_uses_the_scene_frame() -> None:
    world_from_scene = se3.translation([100.0, -40.0, 3.0]) @ se3.rotation_z(1.1)
    moved = red_ball((5.0, 0.0, 0.0), world_from_scene=world_from_scene)
    there = CAMERA.moved(world_from_scene @ CAMERA.world_from_cam)
    assert torch.allclose(
        render_view(moved, there, 0).color, render_view(red_ball((5.0, 0, 0)), CAMERA, 0).color, atol=1e-5
    )


def test_only_observed_and_only_imagined() -> None:
    ball = red_ball((5.0, 0.0, 0.0))
    imagined = replace(ball, gaussians=ball.gaussians.replace(imagined=torch.ones(1, dtype=torch.uint8)))
    assert render_view(ball, CAMERA, 0, only="observed").alpha.max() > 0.9
    assert render_view(ball, CAMERA, 0, only="imagined").alpha.max() == 0
    assert render_view(imagined, CAMERA, 0, only="imagined").alpha.max() > 0.9
    assert render_view(imagined, CAMERA, 0, only="observed").alpha.max() == 0


def test_the_lifted_street_looks_like_the_street(street: tuple[Clip, Scene, Path]) -> None:
    clip, scene, _ = street
    frames = list(render_frames(scene, recorded_views(clip, "front")))
    assert len(frames) == len(clip.frames)
    for i, frame in enumerate(frames):
        error = frame.image.astype(float) - clip.load_image(i, "front")
        assert 10 * np.log10(255**2 / (error**2).mean()) > 19.0
        wrong = frame.image[:, ::-1].astype(float) - clip.load_image(i, "front")
        assert (wrong**2).mean() > 2 * (error**2).mean()
        assert frame.meta.coverage is not None
        assert 0.5 < frame.meta.coverage < 0.99


def test_offset_moves_the_camera_left_and_the_picture_right(street: tuple[Clip, Scene, Path]) -> None:
    clip, scene, _ = street
    camera = clip.cameras["front"]
    views = path_views(camera, ego_path(scene))
    shifted = shifted_views(views, camera, Offset(y_m=1.0))
    moved = se3.inverse(views[3].camera.world_from_cam) @ shifted[3].camera.world_from_cam
    assert moved[:3, 3] == pytest.approx([-1.0, 0.0, 0.0], abs=1e-9)
    ball = red_ball((6.0, 0.0, 1.6), world_from_scene=clip.world_from_rig[3])
    columns = [int(f.image[..., 0].astype(int).sum(0).argmax()) for f in render_frames(ball, [views[3], shifted[3]])]
    assert columns[1] > columns[0] + 5


def test_bird_sees_the_ground_the_right_way_round_and_no_roof() -> None:
    path = np.stack([se3.translation([x, 3.0, 0.5]) for x in (0.0, 10.0, 20.0)])
    bird = bird_view(path, (640, 480))
    pixels, _ = bird.camera.project(np.array([[0.0, 3, 0.5], [20.0, 3, 0.5], [10.0, 8, 0.5]]))
    assert pixels[1, 0] > pixels[0, 0] + 50  # ahead is to the right
    assert pixels[2, 1] < pixels[0, 1] - 20  # left is up
    assert pixels[1, 0] - pixels[0, 0] == pytest.approx(20.0 / bird.meters_per_px, rel=0.01)
    for z, seen in ((0.0, True), (HEADROOM_M + 3.0, False)):
        ball = red_ball((30.0, 6.0, z), scale=1.0)
        (u, v), _ = (a[0] for a in bird.camera.project(np.array([[30.0, 6.0, z]])))
        for scene in (ball, below_headroom(ball, path)):
            image, _ = render_bird(scene, bird, 0, path)
            assert (image[round(v), round(u), 0] > 200) == seen


def test_plan_refuses_contradictions(street: tuple[Clip, Scene, Path]) -> None:
    _, scene, _ = street
    for request, message in (
        (RenderRequest(bev=True, show="depth"), "--bev"),
        (RenderRequest(difference=True), "--difference"),
        (RenderRequest(camera="rear"), "front"),
        (RenderRequest(time_s=99.0), "at most"),
        (RenderRequest(trajectory="fly"), "expected"),
    ):
        with pytest.raises(UsageError, match=message):
            plan_render(scene, request)
    with pytest.raises(UsageError, match="cameras"):
        plan_render(red_ball((1.0, 0.0, 0.0)), RenderRequest())


def test_time_between_frames_and_a_frozen_moment(street: tuple[Clip, Scene, Path]) -> None:
    _, scene, _ = street
    still = list(plan_render(scene, RenderRequest(time_s=0.25, still=True)).frames)
    assert [f.meta.time_us for f in still] == [250_000]
    poses = scene.ego_world_from_rig
    middle = (poses[2, :3, 3] + poses[3, :3, 3]) / 2
    assert still[0].meta.world_from_cam is not None
    rig = still[0].meta.world_from_cam @ se3.inverse(scene.cameras["front"].rig_from_cam)
    assert rig[:3, 3] == pytest.approx(middle, abs=1e-3)
    moving = scene.gaussians.replace(velocity=torch.tensor([[0.0, 3.0, 0.0]]).repeat(len(scene.gaussians), 1))
    frozen = plan_render(replace(scene, gaussians=moving), RenderRequest(time_s=0.0))
    first, *_, last = list(frozen.frames)
    assert (first.meta.time_us, last.meta.time_us) == (0, 600_000)
    assert last.meta.scene_time_us == 0
    running = list(plan_render(replace(scene, gaussians=moving), RenderRequest()).frames)[-1]
    assert np.abs(running.image.astype(int) - last.image).mean() > 5


def test_pictures_of_depth_and_size() -> None:
    assert turbo(np.array([0.0, 1.0]))[:, 2].tolist()[0] > turbo(np.array([0.0, 1.0]))[:, 2].tolist()[1]
    colors = depth_colors(np.array([[0.0, 2.0, 80.0]]))
    assert colors[0, 0].tolist() == [0, 0, 0]
    assert colors[0, 1, 0] > colors[0, 2, 0]  # near is red
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 255
    small = cover_resize(image, 10, 10)
    assert small.shape == (10, 10, 3)
    assert small[:, :4].max() == 0
    assert small[:, 6:].min() == 255
    sheet = contact_sheet([image, small, image], ["one", "two", "a very long label that cannot fit"], columns=2)
    assert sheet.shape[1] == 2 * 44 + 4
    with pytest.raises(ValueError, match="label"):
        contact_sheet([image], [])


def jwm(*arguments: object) -> int:
    return run([str(a) for a in arguments])


def test_command_writes_video_folder_and_still(
    street: tuple[Clip, Scene, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, _, folder = street
    video = tmp_path / "v.mp4"
    assert jwm("render", folder / "scene.h5", "-o", video) == 0
    assert capsys.readouterr().out == f"{video}\n"
    assert len(list(read_video(video))) == len(read_meta(video)) == len(clip.frames)
    assert jwm("render", folder / "scene.h5", "-o", video) == 4
    frames = tmp_path / "frames"
    turn = ("--trajectory", "straight 4m, left 30deg", "--rate", "5", "--size", "81x61")
    assert jwm("render", folder / "scene.h5", "-o", frames, *turn) == 0
    assert next(read_frames(frames)).shape == (61, 81, 3)
    still = tmp_path / "s.png"
    assert jwm("render", folder / "scene.h5", "-o", still, "--bev", "--size", "320x200") == 0
    assert read_image(still).shape == (200, 320, 3)
    assert jwm("render", folder / "scene.h5", "-o", tmp_path / "d.png", "--depth", "--time", "0.3s") == 0
    assert jwm("render", folder / "scene.h5", "-o", tmp_path / "o.png", "--offset", "y=0.5,yaw=5deg") == 0


def test_command_compares_and_follows_a_video(street: tuple[Clip, Scene, Path], tmp_path: Path) -> None:
    clip, _, folder = street
    both = tmp_path / "both.mp4"
    assert jwm("render", folder / "scene.h5", "-o", both, "--compare", clip.root, "--difference") == 0
    assert next(read_video(both)).shape[1] > 3 * 160
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    assert jwm("render", folder / "scene.h5", "-o", first) == 0
    assert jwm("render", folder / "scene.h5", "-o", second, "--trajectory", first.with_suffix(".jsonl")) == 0
    for a, b in zip(read_meta(first), read_meta(second), strict=True):
        assert a.world_from_cam == pytest.approx(b.world_from_cam, abs=1e-9)
    assert all((a == b).all() for a, b in zip(read_video(first), read_video(second), strict=True))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-o", "x.mp4", "--offset", "q=1"), 2, "offset"),
        (("-o", "x.gif"), 2, ".mp4"),
        (("-o", "x.mp4", "--depth", "--alpha"), 2, "one of them"),
        (("-o", "x.mp4", "--trajectory", "none.tum"), 3, "no such file"),
        (("-o", "x.mp4", "--trajectory", "fly home"), 2, "straight 20m"),
        (("-o", "x.mp4", "--size", "big"), 2, "WxH"),
        (("-o", "x.mp4", "--rate", "0"), 2, "Hz"),
    ],
)
def test_bad_requests_are_one_clear_line(
    street: tuple[Clip, Scene, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert jwm("render", street[2] / "scene.h5", *arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


def test_metadata_is_json_lines(street: tuple[Clip, Scene, Path], tmp_path: Path) -> None:
    _, scene, _ = street
    frame = next(iter(render_frames(scene, [View(CAMERA, 5, "front")])))
    record = json.loads(frame.meta.to_json())
    assert record["time_us"] == 5
    assert record["camera"] == "front"
    assert np.asarray(record["world_from_cam"]).shape == (4, 4)
