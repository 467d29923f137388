"""Stereo against the synthetic street, whose depth is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from street import CAMERA_HEIGHT_M, street_images

from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.stereo.consistency import check_consistency
from jwmtool.stereo.depth_maps import depth_maps
from jwmtool.stereo.ground import fit_ground, ground_depth
from jwmtool.stereo.lifting import deduplicate, join, lift, normals_from_depth
from jwmtool.stereo.neighbours import choose_neighbours
from jwmtool.stereo.plane_sweep import plane_sweep

FRAMES = 10


@pytest.fixture(scope="module")
def street():
    return street_images(3, num_frames=FRAMES, supersampling=2)


@pytest.fixture(scope="module")
def maps(street):
    images, cameras, _ = street
    return depth_maps(images, cameras)


def relative_error(depth, truth):
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(truth) & np.isfinite(depth), np.abs(depth - truth) / truth, np.inf)


def test_depth_on_the_street(street, maps):
    matched, close, filled, sky_wrong, sky_found = [], [], [], [], []
    for result in maps[2:-2]:
        truth = street[2][result.index]
        solid = np.isfinite(truth)
        error = relative_error(result.depth, truth)
        sure = solid & (result.confidence > 0.3)
        matched.append(sure.sum() / solid.sum())
        close.append((error[sure] < 0.05).mean())
        filled.append((error[solid] < 0.15).mean())
        sky_wrong.append((result.sky & solid).sum() / solid.sum())
        sky_found.append((result.sky & ~solid).sum() / (~solid).sum())
    assert np.mean(matched) > 0.5
    assert np.mean(close) > 0.78
    assert np.mean(filled) > 0.78
    assert np.mean(sky_wrong) < 0.02
    assert np.mean(sky_found) > 0.8


def test_confidence_tells_right_from_wrong(street, maps):
    result, truth = maps[5], street[2][5]
    error = relative_error(result.depth, truth)
    sure, rest = result.confidence > 0.3, (result.confidence <= 0.3) & np.isfinite(truth)
    assert (error[sure] < 0.05).mean() > (error[rest] < 0.05).mean() + 0.2


def test_epipole_is_not_known(street):
    images, cameras, _ = street
    _, confidence = plane_sweep(images[5], cameras[5], [images[4], images[6]], [cameras[4], cameras[6]])
    step = cameras[6].world_from_cam[:3, 3] - cameras[5].world_from_cam[:3, 3]
    u, v = cameras[5].project((cameras[5].world_from_cam[:3, 3] + step)[None])[0][0]
    patch = confidence.numpy()[int(v) - 2 : int(v) + 3, int(u) - 2 : int(u) + 3]
    assert patch.max() < 0.2


def test_exposure_does_not_matter(street):
    images, cameras, depths = street
    darker = [np.uint8(0.6 * images[j] + 10) for j in (4, 6)]
    same, _ = plane_sweep(images[5], cameras[5], [images[4], images[6]], [cameras[4], cameras[6]])
    dark, confidence = plane_sweep(images[5], cameras[5], darker, [cameras[4], cameras[6]])
    sure = confidence.numpy() > 0.5
    assert sure.mean() > 0.3
    assert np.mean(np.abs(dark.numpy() - same.numpy())[sure] < 0.05 * same.numpy()[sure]) > 0.9
    assert np.median(relative_error(dark.numpy(), depths[5])[sure]) < 0.05


def test_threads_do_not_matter(street):
    images, cameras, _ = street
    args = (images[5], cameras[5], [images[4], images[6]], [cameras[4], cameras[6]])
    one, two = plane_sweep(*args, workers=1), plane_sweep(*args, workers=2)
    assert all(np.array_equal(x.numpy(), y.numpy()) for x, y in zip(one, two, strict=True))


def test_stereo_pair_alone():
    images, cameras, depths = street_images(4, num_frames=1, stereo=True, supersampling=2)
    result = depth_maps(images, cameras, times=[0.0, 0.0])[0]
    sure = (result.confidence > 0.3) & (depths[0] < 25)
    assert sure.mean() > 0.2
    assert (relative_error(result.depth, depths[0])[sure] < 0.1).mean() > 0.75


def test_neighbours_by_baseline():
    K = np.array([[150.0, 0, 112], [0, 150, 64], [0, 0, 1]])

    def camera(x: float, y: float = 0.0, yaw: float = 0.0) -> Camera:
        pose = se3.translation([x, y, 1.6]) @ se3.rotation_z(yaw) @ se3.RIG_FROM_CAM_AXES
        return Camera(K, 224, 128, pose)

    forward = [camera(0.25 * i) for i in range(40)]
    times = [0.1 * i for i in range(40)]
    chosen = choose_neighbours(times, forward, 20)
    baselines = sorted(0.25 * (j - 20) for j in chosen)
    assert len(chosen) == 4 and baselines[0] <= -2 and baselines[-1] >= 2 and min(map(abs, baselines)) > 0.7
    pair = [camera(0.8 * (i // 2), -0.54 * (i % 2)) for i in range(12)]
    assert choose_neighbours([0.1 * (i // 2) for i in range(12)], pair, 4)[0] == 5
    assert choose_neighbours([0.0, 0.0], [camera(0), camera(1, 0, np.pi)], 0) == []
    assert choose_neighbours([0.0, 0.1], [camera(0), camera(0)], 0) == []  # standing still


def test_consistency_rejects_what_others_contradict(street):
    _, cameras, depths = street
    views = (3, 4, 6, 7)
    finite = [np.where(np.isfinite(depth), depth, 150).astype(np.float32) for depth in depths]
    wrong = finite[5].copy()
    wrong[60:90, 20:60] *= 0.6
    sure = np.ones_like(wrong)
    depth, confidence = check_consistency(
        wrong, sure, cameras[5], [finite[j] for j in views], [sure] * 4, [cameras[j] for j in views]
    )
    assert confidence[62:88, 22:58].mean() < 0.1
    elsewhere = np.isfinite(depths[5])
    elsewhere[55:95, 15:65] = False
    assert (confidence > 0.5)[elsewhere].mean() > 0.8
    # Truth of other views is looked up at the nearest pixel: a few thousandths.
    assert np.median(relative_error(depth, depths[5])[elsewhere]) < 0.01


def test_ground_and_normals(street):
    _, cameras, depths = street
    depth = np.where(np.isfinite(depths[5]), depths[5], 1e6).astype(np.float32)
    plane = fit_ground(cameras[5], depth, np.ones_like(depth))
    assert plane is not None
    assert plane[2] > np.cos(np.radians(1.0))
    assert abs((plane[:3] @ cameras[5].world_from_cam[:3, 3] - plane[3]) - CAMERA_HEIGHT_M) < 0.03
    road = np.abs(ground_depth(cameras[5], plane) - depth) < 0.01 * depth
    assert road.mean() > 0.2
    normals = normals_from_depth(depth, cameras[5])
    assert np.median(normals[road][:, 2]) > 0.999
    assert np.allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    rays = cameras[5].rays()
    solid = np.isfinite(depths[5])
    assert ((normals * rays).sum(-1)[solid] < 0).mean() > 0.98


def test_lift_and_deduplicate(street):
    images, cameras, depths = street
    parts = []
    for i in (4, 5, 6):
        picture = images[i].astype(np.float32) / 255
        confidence = np.where(np.isfinite(depths[i]), 0.9, 0).astype(np.float32)
        points = lift(depths[i], cameras[i], picture, confidence, 0.3, picture=i)
        pixels, z = cameras[i].project(points.xyz)
        rows, columns = np.nonzero(confidence)
        assert np.allclose(pixels, np.stack([columns + 0.5, rows + 0.5], 1), atol=1e-3)
        assert np.allclose(z, depths[i][rows, columns], rtol=1e-5)
        parts.append(points)
    merged = join(parts)
    kept = deduplicate(merged)
    assert 0.3 * len(merged) < len(kept) < 0.8 * len(merged)
    assert len(deduplicate(kept)) == len(kept)
    again = deduplicate(join([kept, replace(kept, confidence=kept.confidence * 0.5)]))
    assert len(again) == len(kept) and np.allclose(np.sort(again.confidence), np.sort(kept.confidence))


def test_wrong_sizes_are_refused(street):
    images, cameras, _ = street
    with pytest.raises(ValueError, match="expected an image"):
        plane_sweep(images[0][:64], cameras[0], [images[1]], [cameras[1]])
    with pytest.raises(ValueError, match="neighbours"):
        plane_sweep(images[0], cameras[0], [], [])
    with pytest.raises(ValueError, match="a camera for each image"):
        depth_maps(images, cameras[:-1])
