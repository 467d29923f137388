"""Per-scene fitting: it improves, repeats, resumes exactly, and never looks at what is withheld."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from street import make_street

from jwmtool.artifacts.clip import Clip, LidarSweep
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.images import read_image, write_png
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_io import read_scene
from jwmtool.artifacts.scene_layout import scene_content_sha256
from jwmtool.errors import InputError, UsageError
from jwmtool.fitting.fit import Fit
from jwmtool.fitting.initialize import choose_references, start_from_clip, usable_sweeps, with_lidar
from jwmtool.fitting.session import fit_clip, read_state, state_path, write_state
from jwmtool.fitting.settings import FitSettings
from jwmtool.fitting.views import load_views, scene_frame
from jwmtool.gaussians.exposure import Exposure
from jwmtool.metrics.protocol import score_scene

SETTINGS = FitSettings(max_steps=60, grow_every=30)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = make_street(tmp_path_factory.mktemp("street") / "clip", num_frames=10, width=112, height=64)
    return read_clip(folder)


def fitted(clip: Clip, settings: FitSettings = SETTINGS) -> Scene:
    return fit_clip(clip, settings, "cpu", started=time.monotonic())[0]


def withheld_psnr(scene: Scene, clip: Clip) -> float:
    return float(score_scene(scene, clip, names=("psnr",), depth=False).means["psnr"])


def test_fitting_brings_withheld_views_far_above_the_start(clip: Clip) -> None:
    started = time.monotonic()
    start = Fit(clip, start_from_clip(clip, SETTINGS), SETTINGS, "cpu")
    before = withheld_psnr(start.scene(), clip)
    scene, finished = fit_clip(clip, replace(SETTINGS, max_steps=250), "cpu", started=started)
    after = withheld_psnr(scene, clip)
    assert finished
    assert after > before + 2.0
    assert after > 22.0  # a mean-colored picture has about 14


def test_the_same_seed_gives_the_same_scene_and_another_differs(clip: Clip) -> None:
    one = scene_content_sha256(fitted(clip))
    assert scene_content_sha256(fitted(clip)) == one
    assert scene_content_sha256(fitted(clip, replace(SETTINGS, seed=1))) != one


def test_withheld_pictures_are_never_looked_at(clip: Clip, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(clip.root, folder)
    for frame, name in clip.images(withheld=True):
        file = folder / clip.frames[frame].images[name].file
        write_png(file, 255 - read_image(file))
    assert scene_content_sha256(fitted(read_clip(folder))) == scene_content_sha256(fitted(clip))


def test_a_masked_region_changes_nothing(clip: Clip, tmp_path: Path) -> None:
    """What lies under the mask (the own bonnet, say) has no influence on the loss."""
    mask = torch.ones(64, 112, dtype=torch.bool)
    mask[40:] = False
    start = start_from_clip(clip, SETTINGS)
    losses = []
    for value in (0, 255):
        views = [replace(v, mask=mask, pixels=v.pixels.clone()) for v in start.views]
        for v in views:
            v.pixels[40:] = value
        fit = Fit(clip, replace(start, views=views), replace(SETTINGS, grow_until=0.0), "cpu")
        losses.append(fit.take_step())
    assert losses[0] == losses[1]


def test_resume_ends_in_the_same_scene(clip: Clip, tmp_path: Path) -> None:
    whole = fitted(clip)
    state = tmp_path / "scene.h5.fit.safetensors"
    half = Fit(clip, start_from_clip(clip, SETTINGS), SETTINGS, "cpu")
    for _ in range(27):  # within a round of growth, and of views
        half.take_step()
    from jwmtool.artifacts.clip_io import clip_content_sha256

    write_state(half, state, clip_content_sha256(clip))
    resumed, finished = fit_clip(clip, SETTINGS, "cpu", started=time.monotonic(), checkpoint=state, resume=True)
    assert finished
    assert scene_content_sha256(resumed) == scene_content_sha256(whole)


def test_a_state_that_does_not_belong_is_refused(clip: Clip, tmp_path: Path) -> None:
    state = tmp_path / "scene.h5.fit.safetensors"
    with pytest.raises(UsageError, match="--resume"):
        read_state(state, "hash", SETTINGS)
    fit = Fit(clip, start_from_clip(clip, SETTINGS), SETTINGS, "cpu")
    write_state(fit, state, "hash")
    read_state(state, "hash", replace(SETTINGS, max_steps=90, budget_s=1.0))
    with pytest.raises(InputError, match="another clip"):
        read_state(state, "other", SETTINGS)
    with pytest.raises(InputError, match="sh_degree=1"):
        read_state(state, "hash", replace(SETTINGS, sh_degree=1))
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"scene\.h5"):
        read_state(state, "hash", SETTINGS)


def test_a_clip_that_withholds_everything_has_nothing_to_fit(clip: Clip) -> None:
    nothing = replace(clip, split=replace(clip.split, frames=tuple(range(len(clip.frames)))))
    with pytest.raises(InputError, match="images to fit"):
        load_views(nothing, scene_frame(nothing))


def test_every_camera_gets_a_share_of_the_stereo(clip: Clip) -> None:
    view = load_views(clip, scene_frame(clip))[0]
    views = [replace(view, camera_name=name, frame=f) for f in range(6) for name in ("a", "b", "c", "d", "e", "f")]
    for seconds in (1e-3, 0.05, 1e3):
        chosen = [views[i] for i in choose_references(views, seconds)]
        assert {v.camera_name for v in chosen} == set("abcdef")
        assert len(chosen) >= 12
    assert len(choose_references(views, 1e3)) == 36


def test_the_number_of_gaussians_keeps_its_bound(clip: Clip) -> None:
    settings = replace(SETTINGS, max_gaussians=600, grow_every=10, grow_fraction=0.5)
    start = start_from_clip(clip, settings)
    assert 100 < len(start.seeds) <= 480
    fit = Fit(clip, start, settings, "cpu")
    for _ in range(40):
        fit.take_step()
    assert len(start.seeds) < len(fit.parameters) <= 600


def test_exposure_is_interpolated_between_fitted_times() -> None:
    affine = torch.zeros(2, 3, 4)
    affine[1] = 1.0
    exposure = Exposure(np.array([0, 100_000], np.int64), affine)
    assert torch.allclose(exposure.at(25_000), torch.full((3, 4), 0.25))
    assert torch.equal(exposure.at(-5), affine[0]) and torch.equal(exposure.at(200_000), affine[1])


def test_lidar_overrules_stereo_and_sweeps_of_withheld_frames_are_left_out(clip: Clip) -> None:
    pose = np.eye(4)
    sweeps = [LidarSweep("lidar.npy", int(t) + 3000, pose) for t in clip.times_us]
    assert usable_sweeps(replace(clip, lidar=sweeps)) == [0, 1, 3, 4, 5, 7, 8, 9]

    view = load_views(clip, scene_frame(clip))[0]
    camera = view.camera
    stereo = np.full((camera.height, camera.width), 30.0, np.float32)
    unsure = np.full_like(stereo, 0.1)
    v, u = np.mgrid[2 : camera.height : 4, 2 : camera.width : 4].reshape(2, -1)
    points = camera.world_from_cam[:3, 3] + camera.rays()[v, u] * 12.0
    depth, confidence, seen = with_lidar(view, stereo, unsure, np.zeros(stereo.shape, bool), points)
    assert np.allclose(depth[v, u], 12.0, atol=1e-3) and (confidence[v, u] == 1.0).all() and seen[v, u].all()
    assert np.median(np.abs(depth - 12.0)) < 0.5  # and it spreads to the pixels between


def command(clip: Clip, output: Path, *more: str) -> list[str]:
    words = ["reconstruct", str(clip.root), "-o", str(output), "--method", "optimize", *more]
    return [sys.executable, "-m", "jwmtool.cli.main", *words]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_fit_leaves_a_valid_scene_and_resume_finishes(
    clip: Clip, tmp_path: Path, stop: signal.Signals
) -> None:
    output = tmp_path / "scene.h5"
    process = subprocess.Popen(
        command(clip, output, "--max-steps", "100000", "-v"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "starting from" in line:
            break
    time.sleep(2.0)
    process.send_signal(stop)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert out.strip() == str(output)
    first = read_scene(output)
    assert len(first.gaussians) > 0 and first.history[-1]["finished"] is False
    assert state_path(output).exists()
    done = subprocess.run(
        command(clip, output, "--max-steps", "3", "--resume"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert read_scene(output).history[-1]["finished"] is True
    assert not state_path(output).exists()


def test_sigkill_leaves_the_old_scene(clip: Clip, tmp_path: Path) -> None:
    output = tmp_path / "scene.h5"
    output.write_bytes(b"old")
    process = subprocess.Popen(
        command(clip, output, "--max-steps", "100000", "--force", "-v"), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "starting from" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    assert output.read_bytes() == b"old"
