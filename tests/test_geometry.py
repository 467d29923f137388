"""Rigid transforms, cameras and spherical harmonics: conversions round-trip, projections agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.harmonics import color_to_sh, sh_basis, sh_to_color

quats = arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)
points = arrays(np.float64, 3, elements=st.floats(-1e4, 1e4))


@given(quats, points)
def test_quaternions_round_trip(quat: np.ndarray, xyz: np.ndarray) -> None:
    pose = se3.from_quat(quat, xyz)
    assert se3.rigid_problem(pose) is None
    assert np.allclose(se3.from_quat(se3.to_quat(pose), xyz), pose, atol=1e-9)
    assert se3.to_quat(pose)[0] >= 0


@given(quats, points, points)
def test_inverse_undoes(quat: np.ndarray, xyz: np.ndarray, point: np.ndarray) -> None:
    pose = se3.from_quat(quat, xyz)
    assert np.allclose(se3.apply(se3.inverse(pose), se3.apply(pose, point)), point, atol=1e-6)
    assert np.allclose(se3.inverse(pose) @ pose, np.eye(4), atol=1e-6)


def test_a_quaternion_turns_the_way_it_should() -> None:
    quarter_left = se3.from_quat([np.sqrt(0.5), 0, 0, np.sqrt(0.5)], [0, 0, 0])
    assert np.allclose(se3.apply(quarter_left, np.array([1.0, 0, 0])), [0, 1, 0])
    assert np.allclose(quarter_left, se3.rotation_z(np.pi / 2))


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (np.eye(3), "shape"),
        (np.diag([1.0, 1, np.nan, 1]), "NaN"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.diag([1.0, 1, 1.1, 1]), "not a rotation"),
        (np.diag([1.0, 1, -1, 1]), "mirrored"),
    ],
)
def test_what_is_no_rigid_transform_is_named(broken: np.ndarray, word: str) -> None:
    assert word in str(se3.rigid_problem(broken))


def test_interpolation_goes_half_way_and_stops_at_the_ends() -> None:
    poses = np.stack([np.eye(4), se3.translation([2.0, 0, 0]) @ se3.rotation_z(1.0)])
    middle = se3.interpolate([0, 10], poses, [5])[0]
    assert np.allclose(middle, se3.translation([1.0, 0, 0]) @ se3.rotation_z(0.5))
    assert np.allclose(se3.interpolate([0, 10], poses, [-3, 99]), poses)


def test_look_at_sees_its_target_in_the_center_and_the_sky_above() -> None:
    K = np.array([[100.0, 0, 50], [0, 100.0, 40], [0, 0, 1]])
    camera = Camera(K, 100, 80, se3.look_at([1.0, 2, 3], [10.0, -5, 1]))
    pixels, depth = camera.project(np.array([[10.0, -5, 1], [10.0, -5, 2]]))
    assert np.allclose(pixels[0], [50, 40]) and depth[0] == pytest.approx(np.linalg.norm([9, -7, -2]))
    assert pixels[1, 1] < 40


@given(st.integers(8, 300), st.integers(8, 300), st.integers(4, 200), st.integers(4, 200), points)
def test_a_resized_camera_sees_what_the_resized_picture_shows(
    width: int, height: int, new_width: int, new_height: int, point: np.ndarray
) -> None:
    camera = Camera(np.array([[90.0, 0, width / 2], [0, 90.0, height / 2], [0, 0, 1]]), width, height, np.eye(4))
    small = camera.resized(new_width, new_height)
    point = np.array([[point[0] / 1e4, point[1] / 1e4, 2.0]])
    old, new = camera.project(point)[0][0], small.project(point)[0][0]
    scale = max(new_width / width, new_height / height)
    # Relative to the center of the picture, up to the rounding of sizes to whole pixels.
    assert np.allclose((old - [width / 2, height / 2]) * scale, new - [new_width / 2, new_height / 2], atol=1.5)


def test_rays_and_projection_are_inverse() -> None:
    K = np.array([[60.0, 0, 20], [0, 55.0, 11], [0, 0, 1]])
    camera = Camera(K, 40, 25, se3.look_at([3.0, 1, 0], [0.0, 9, 2]))
    pixels, depth = camera.project((camera.world_from_cam[:3, 3] + 7.0 * camera.rays()).reshape(-1, 3))
    u, v = np.meshgrid(np.arange(40) + 0.5, np.arange(25) + 0.5)
    assert np.allclose(pixels, np.stack([u, v], -1).reshape(-1, 2)) and np.allclose(depth, 7.0)


def test_spherical_harmonics_are_orthonormal() -> None:
    # A Fibonacci sphere integrates products of low degree well.
    n = 20_000
    i = torch.arange(n, dtype=torch.float64) + 0.5
    z, phi = 1 - 2 * i / n, np.pi * (1 + 5**0.5) * i
    r = (1 - z * z).sqrt()
    basis = sh_basis(3, torch.stack([r * torch.cos(phi), r * torch.sin(phi), z], 1))
    gram = 4 * np.pi / n * basis.T @ basis
    assert torch.allclose(gram, torch.eye(16, dtype=torch.float64), atol=1e-3)


def test_color_round_trips_through_degree_zero() -> None:
    color = torch.rand(5, 3)
    assert torch.allclose(sh_to_color(color_to_sh(color)[:, None], None), color, atol=1e-6)
    with pytest.raises(ValueError, match="directions"):
        sh_to_color(torch.zeros(5, 4, 3), None)
