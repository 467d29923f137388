"""The synthetic street: its pictures, poses and depth agree, and it is written as a clip."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from street import make_street, street_images

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.errors import OutputExistsError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_street(tmp_path_factory.mktemp("street") / "clip", num_frames=7, width=112, height=64, stereo=True)


def test_depth_and_poses_predict_the_next_picture():
    images, cameras, depths = street_images(1, num_frames=3)
    rays, solid = cameras[2].rays(), np.isfinite(depths[2])
    points = cameras[2].world_from_cam[:3, 3] + rays[solid] * depths[2][solid][:, None].astype(np.float64)
    pixels, z = cameras[0].project(points)
    column, row = (np.floor(pixels).astype(int)[:, k] for k in (0, 1))
    inside = (column >= 0) & (row >= 0) & (column < 224) & (row < 128)
    visible = np.abs(depths[0][row[inside], column[inside]] - z[inside]) < 0.1 * z[inside]
    seen = np.flatnonzero(inside)[visible]
    assert len(seen) > 0.7 * solid.sum()
    source = images[0].astype(np.float64)
    warped = np.stack(
        [
            ndimage.map_coordinates(source[..., k], pixels[seen, ::-1].T - 0.5, order=1, mode="nearest")
            for k in range(3)
        ],
        -1,
    )
    error = warped - images[2][solid][seen]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 25


def test_clip(folder):
    clip = read_clip(folder)
    assert [list(frame.images) for frame in clip.frames] == [["front", "front_right"]] * 7
    assert clip.split.frames == (2, 6)
    assert clip.rate_hz == pytest.approx(10)
    truth = np.load(folder / clip.extras["truth"]["depth"]["front"][3])
    assert truth.shape == (64, 112) and np.isinf(truth).any() and (truth[np.isfinite(truth)] > 0).all()
    baseline = (
        np.linalg.inv(clip.camera_at(0, "front").world_from_cam) @ clip.camera_at(0, "front_right").world_from_cam
    )
    assert np.allclose(baseline[:3, 3], [0.54, 0, 0])
    assert clip.load_image(0, "front").std() > 20


def test_same_seed_same_picture(folder):
    images, _, _ = street_images(0, num_frames=1, width=112, height=64)
    assert np.array_equal(images[0], read_clip(folder).load_image(0, "front"))
    assert not np.array_equal(images[0], street_images(1, num_frames=1, width=112, height=64)[0][0])


def test_moving_car_moves():
    still, moving = (street_images(0, num_frames=9, moving_car=m, supersampling=1)[2] for m in (False, True))
    changed = [(a != b).sum() for a, b in zip(still, moving, strict=True)]
    assert 0 < changed[0] < changed[4] < changed[8]  # it comes nearer


def test_refusals(folder):
    with pytest.raises(OutputExistsError):
        make_street(folder)
    with pytest.raises(UsageError):
        street_images(num_frames=0)
