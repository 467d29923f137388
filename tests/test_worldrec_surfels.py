"""Surfels: points, slopes, orientation and size against their definition by differences; quaternions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from analytic_views import Box, Street, hit_by, look, pose
from scipy.spatial.transform import Rotation

from jwmtool.worldrec.neighbors import project
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.surfels import Pixels, lift, quaternions, shapes, slopes

STREET = Street((Box((8.0, -2.0, 0.0), (3.0, 4.0, 3.0)),))


def matrices(quats: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(Rotation.from_quat(quats.double().numpy(), scalar_first=True).as_matrix())


def test_quaternions_are_those_of_the_rotations() -> None:
    random = Rotation.random(200, rng=np.random.default_rng(0)).as_matrix()
    # Half turns, where a quaternion's scalar part vanishes, and next to them.
    axes = np.concatenate([np.eye(3), np.random.default_rng(1).normal(size=(20, 3))])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    turns = [Rotation.from_rotvec(angle * axes).as_matrix() for angle in (0.0, 1e-4, math.pi - 1e-4, math.pi)]
    rotations = torch.from_numpy(np.concatenate([random, *turns])).float()
    quats = quaternions(rotations)
    assert torch.allclose(quats.norm(dim=1), torch.ones(len(quats)), atol=1e-6)
    assert float((matrices(quats) - rotations).abs().max()) < 3e-6


def test_lifted_points_project_to_where_they_came_from() -> None:
    views = look(STREET, [pose(0.0), pose(1.0, 0.5, yaw_rad=0.4)], size=(48, 32))
    rng = torch.Generator().manual_seed(0)
    pixels = Pixels(torch.randint(0, 2, (50,), generator=rng), torch.rand(50, 2, generator=rng) * 30.0)
    inverse = torch.rand(50, generator=rng) * 0.3 + 0.01
    points = lift(views, pixels, inverse)
    cam_from_scene = torch.linalg.inv(views.scene_from_cam)[pixels.view]
    xy, depth = project(points[:, None], views.Ks[pixels.view], cam_from_scene)
    assert torch.allclose(xy[:, 0], pixels.xy, atol=1e-3) and torch.allclose(depth[:, 0] * inverse, torch.ones(()))


def test_points_behind_a_camera_have_negative_depth_and_finite_pixels() -> None:
    views = look(STREET, [pose(0.0)], size=(48, 32))
    points = torch.tensor([[-5.0, 0.0, 1.5], [0.0, 1.0, 1.5], [0.0, 0.0, 1.5]])
    xy, depth = project(points, views.Ks[0], torch.linalg.inv(views.scene_from_cam)[0])
    assert float(depth[0]) == pytest.approx(-5.0, abs=1e-5) and bool(torch.isfinite(xy).all())


def test_slopes_are_exact_on_planes_and_those_of_one_surface_at_edges() -> None:
    views = look(STREET, [pose(0.0, yaw_rad=0.3)], size=(96, 64))
    assert views.depth_m is not None
    inverse = 1.0 / views.depth_m
    found = slopes(inverse)
    v, u = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    here, what = hit_by(STREET, views, torch.stack([u, v], -1).reshape(-1, 2), 0)
    for axis, step in enumerate(((0.01, 0.0), (0.0, 0.01))):
        beside, other = hit_by(STREET, views, torch.stack([u + step[0], v + step[1]], -1).reshape(-1, 2), 0)
        exact = ((1 / beside - 1 / here) / 0.01).reshape(64, 96)
        surface = ((what >= 0) & (what == other)).reshape(64, 96)
        # The box's two faces count as one thing; where they meet, either slope is right.
        good = (found[0, axis] - exact).abs() < 1e-4
        assert float(good[surface].float().mean()) > 0.97
        # Never a slope across an edge: it would be larger than any surface's here.
        assert float(found[0, axis].abs().max()) < 1.05 * float(exact[surface].abs().max())


@pytest.mark.parametrize("spacing", [0.45, 1.3])
def test_shapes_are_the_patch_that_a_step_of_a_pixel_spans(spacing: float) -> None:
    """The covariance in the surface is that of the two steps a pixel to the right and down, by differences."""
    views = look(STREET, [pose(0.0), pose(-1.0, 1.0, yaw_rad=-0.4)], size=(96, 64))
    rng = torch.Generator().manual_seed(1)
    xy = torch.stack([torch.rand(300, generator=rng) * 94 + 1, torch.rand(300, generator=rng) * 28 + 35], 1)
    pixels = Pixels(torch.arange(300) % 2, xy)
    spans, inverse, slope, flat = [], torch.zeros(300), torch.zeros(300, 2), torch.ones(300, dtype=torch.bool)
    for view in range(2):
        rows = pixels.view == view
        mine = xy[rows].double()
        depth, what = hit_by(STREET, views, mine, view)
        steps = []
        for axis in range(2):
            moved = mine.clone()
            moved[:, axis] += 1e-3
            beside, other = hit_by(STREET, views, moved, view)
            slope[rows, axis] = ((1 / beside - 1 / depth) / 1e-3).float()
            flat[rows] &= what == other
            ends = []
            for at, far in ((mine, depth), (moved, beside)):
                K, M = views.Ks[view].double(), views.scene_from_cam[view].double()
                ray = torch.stack([(at[:, 0] - K[0, 2]) / K[0, 0], (at[:, 1] - K[1, 2]) / K[1, 1], torch.ones(len(at))])
                ends.append((ray.T * far[:, None]) @ M[:3, :3].T)
            steps.append((ends[1] - ends[0]) / 1e-3 * spacing)
        inverse[rows] = (1 / depth).float()
        spans.append((rows, torch.stack(steps, 2)))  # [M, 3, 2]
    gentle = flat & ((slope.abs() / inverse[:, None]).amax(1) < 0.14)
    assert float(gentle.float().mean()) > 0.6
    quats, scales = shapes(views, pixels, inverse, slope, torch.full((300,), spacing))
    axes = matrices(quats)
    for rows, span in spans:
        wanted = span @ span.transpose(1, 2)
        thin = scales[rows, 2].double()[:, None, None] ** 2
        normal = axes[rows][:, :, 2:]
        shape = axes[rows] * scales[rows].double()[:, None]
        found = shape @ shape.transpose(1, 2) - thin * normal @ normal.transpose(1, 2)
        error = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
        assert float(error[gentle[rows]].max()) < 2e-3
    focal = views.Ks[pixels.view][:, 0, 0]
    assert bool((scales[:, 2] < 0.1 * spacing / (inverse * focal)).all()) and bool((scales > 0).all())


def test_an_edge_makes_no_needle() -> None:
    """Where depth jumps, the slope is bounded: no surfel is longer than a few times its footprint."""
    views = look(STREET, [pose(0.0)], size=(96, 64))
    pixels = Pixels(torch.zeros(4, dtype=torch.int64), torch.tensor([[48.0, 32.0]] * 4))
    slope = torch.tensor([[0.5, 0.0], [-0.5, 0.5], [0.0, 0.0], [3.0, -3.0]])
    _, scales = shapes(views, pixels, torch.full((4,), 0.1), slope, torch.ones(4))
    footprint = 10.0 / float(views.Ks[0, 0, 0])
    assert float(scales[2, :2].max()) == pytest.approx(footprint, rel=1e-3)
    assert float(scales.max()) < 20.0 * footprint


def test_slopes_at_places_are_read_where_the_pixel_is() -> None:
    views = look(Street(), [pose(0.0)], size=(48, 32))
    assert views.depth_m is not None
    inverse = 1.0 / views.depth_m
    at = nearest(slopes(inverse), torch.zeros(1, dtype=torch.int64), torch.tensor([[20.5, 30.5]]))
    assert float(at[0, 1]) == pytest.approx(float(inverse[0, 30, 20] - inverse[0, 29, 20]), rel=1e-4)
