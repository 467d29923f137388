"""Matching: texture descriptors, neighbors, the plane sweep's two kernels, and the depth that it finds untrained."""

from __future__ import annotations

import pytest
import torch
from analytic_views import Box, Street, given, look, pose
from torch.nn import functional

from jwmtool.worldrec.coarse_depth import lidar_cells, local_mean, raise_twice
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.features import camera_rays, texture
from jwmtool.worldrec.model import build_model
from jwmtool.worldrec.neighbors import neighbors
from jwmtool.worldrec.sampling import nearest, pooled, sample
from jwmtool.worldrec.sweep import matching_scores, scores_torch
from jwmtool.worldrec.sweep_cpu import scores_cpu

WALL = Street((Box((9.0, -20.0, -1.0), (1.0, 40.0, 12.0)),))


def sweep_inputs(learned: int) -> tuple[torch.Tensor, ...]:
    """Features, neighbors, maps, rays and inverse depths of a sweep: cells fall inside, outside and behind."""
    rng = torch.Generator().manual_seed(3)
    poses = [pose(0.0), pose(1.0, 0.4, yaw_rad=0.2), pose(-0.5, -2.0, yaw_rad=2.0), pose(0.3, -0.3)]
    views = look(WALL, poses, size=(48, 32))
    features = torch.randn(4, learned + 16, 8, 12, generator=rng)
    index = torch.tensor([[1, 3], [0, 1], [1, 0], [0, 1]])
    valid = torch.tensor([[True, True], [True, False], [True, False], [True, True]])
    moved = torch.linalg.inv(views.scene_from_cam)[index] @ views.scene_from_cam[:, None]
    maps = (torch.tensor([0.25, 0.25, 1.0])[:, None] * views.Ks[index]) @ moved[:, :, :3]
    rays = camera_rays(views.Ks, 8, 12, 4)
    inverse = torch.rand(4, 7, 8, 12, generator=rng) * 0.5
    inverse[:, 0] = 0.0  # infinitely far
    return features, index, valid, maps, rays, inverse


@pytest.mark.parametrize("cells_first", [False, True])
@pytest.mark.parametrize(("groups", "learned"), [(4, 16), (1, 8), (2, 6)])
def test_the_kernel_equals_its_twin_in_torch(groups: int, learned: int, cells_first: bool) -> None:
    features, *rest = sweep_inputs(learned)
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    fast, seen = scores_cpu(ours, groups, *rest, cells_first)
    slow, seen_slow = scores_torch(theirs, groups, *rest)
    assert fast.shape == slow.shape == (4, groups + 2, 7, 8, 12)
    assert torch.equal(seen, seen_slow) and set(seen.unique().tolist()) == {0.0, 1.0, 2.0}
    assert torch.allclose(fast, slow, atol=2e-4)
    # The descriptor is fixed: only the learned groups carry gradients.
    weight = torch.randn(fast[:, :groups].shape, generator=torch.Generator().manual_seed(1))
    (fast[:, :groups] * weight).sum().backward()
    (slow[:, :groups] * weight).sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    assert float((ours.grad - theirs.grad).norm()) < 1e-4 * float(theirs.grad.norm())
    assert float(ours.grad[:, learned:].abs().max()) == 0.0


def test_without_neighbors_all_scores_are_zero() -> None:
    features, index, valid, *rest = sweep_inputs(16)
    for find in (scores_cpu, scores_torch):
        scores, seen = find(features, 4, index, torch.zeros_like(valid), *rest)
        assert scores.shape == (4, 6, 7, 8, 12) and float(scores.abs().max()) == float(seen.max()) == 0.0


def test_scores_are_means_over_neighbors_and_the_best_is_the_best() -> None:
    views = look(WALL, [pose(0.0), pose(0.0, 1.0), pose(0.0, -1.0)], size=(48, 32))
    features = torch.cat([torch.randn(3, 8, 8, 12), texture(views.images, 4)], 1)
    inverse = torch.full((3, 1, 8, 12), 1.0 / 9.0)
    both = torch.tensor([[1, 2], [0, 2], [0, 1]]), torch.ones(3, 2, dtype=torch.bool)
    scores, seen = matching_scores(views, features, 2, *both, inverse)
    parts = []
    for k in range(2):
        only = torch.zeros(3, 2, dtype=torch.bool)
        only[:, k] = True
        parts.append(matching_scores(views, features, 2, both[0], only, inverse))
    counts = parts[0][1] + parts[1][1]
    assert torch.equal(seen, counts) and set(seen.unique().tolist()) == {0.0, 1.0, 2.0}
    for g in range(3):
        total = sum(part[0][:, g] * part[1] for part in parts)
        assert torch.allclose(scores[:, g], total / counts.clamp(min=1.0), atol=1e-5)
    best = torch.stack([part[0][:, -2].masked_fill(part[1] == 0, -1.0) for part in parts]).amax(0)
    assert torch.allclose(scores[:, -1], best.masked_fill(counts == 0, 0.0), atol=1e-5)


@pytest.mark.parametrize("stride", [2, 4])
def test_descriptors_know_texture_and_neither_brightness_nor_contrast(stride: int) -> None:
    images = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    told = texture(images, stride)
    assert told.shape == (1, 16, 32 // stride, 48 // stride)
    assert torch.allclose(told.sum(1), torch.zeros(1), atol=1e-5)
    assert float((1.0 - told.square().sum(1)).abs().max()) < 0.15  # unit length, where there is texture
    brighter = texture(0.5 * images + 0.3, stride)
    assert float((told * brighter).sum(1).min()) > 0.8
    other = texture(torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1)), stride)
    assert float((told * other).sum(1).mean().abs()) < 0.1
    assert float(texture(torch.full((1, 3, 32, 48), 0.7), stride).abs().max()) < 1e-4  # a bare wall matches nothing


def test_neighbors_are_those_from_a_useful_distance() -> None:
    # A stereo pair 0.5 m apart that drives 1 m a frame: ahead, aside; never the view itself, nor one far away.
    poses = [pose(x, y) for x in (0.0, 1.0, 2.0, 40.0) for y in (0.25, -0.25)]
    views = look(WALL, poses, [0.1 * (i // 2) for i in range(8)], [i % 2 for i in range(8)], size=(48, 32))
    index, valid = neighbors(views, 2)
    assert bool(valid[:6].all())
    for view in range(6):
        assert view not in index[view].tolist() and max(index[view].tolist()) < 6
        distances = (views.scene_from_cam[index[view], :3, 3] - views.scene_from_cam[view, :3, 3]).norm(dim=1)
        assert bool(((distances > 0.4) & (distances < 2.5)).all())
    # The pair 40 m ahead, behind the wall, has only each other.
    assert index[6, 0] == 7 and index[7, 0] == 6


def test_a_neighbor_looks_the_same_way() -> None:
    views = look(WALL, [pose(0.0), pose(1.2, yaw_rad=3.14), pose(0.0, 0.7)], size=(48, 32))
    index, valid = neighbors(views, 2)
    assert index[0, 0] == 2 and valid[0].tolist() == [True, False] and not bool(valid[1].any())


def test_a_standing_ego_has_no_neighbors() -> None:
    standing = look(WALL, [pose(0.0)] * 4, size=(48, 32))
    assert not bool(neighbors(standing, 2)[1].any())
    assert not bool(neighbors(look(WALL, [pose(0.0)], size=(48, 32)), 2)[1].any())
    # But with a second camera beside the first there is something to match with.
    pair = look(WALL, [pose(0.0), pose(0.0, 0.5)] * 2, [0.0, 0.0, 0.1, 0.1], [0, 1, 0, 1], size=(48, 32))
    index, valid = neighbors(pair, 1)
    assert bool(valid.all()) and pair.cameras[index[:, 0]].tolist() == [1, 0, 1, 0]


def test_samples_are_those_of_grid_sample() -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, 8, 12, generator=rng)
    view = torch.randint(0, 3, (40,), generator=rng)
    xy = torch.rand(40, 2, generator=rng) * torch.tensor([60.0, 40.0]) - 6.0  # beyond the border too; stride 4
    ours, theirs = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    found = sample(ours, view, xy, 4)
    grid = (xy / torch.tensor([48.0, 32.0]) * 2.0 - 1.0)[None, :, None].expand(3, -1, -1, -1)
    every = functional.grid_sample(theirs, grid, align_corners=False, padding_mode="border")[..., 0]
    expected = every[view, :, torch.arange(40)]
    assert torch.allclose(found, expected, atol=1e-5)
    weight = torch.randn(40, 5, generator=rng)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    assert ours.grad is not None and theirs.grad is not None and torch.allclose(ours.grad, theirs.grad, atol=1e-5)


def test_pooled_samples_are_sums_of_samples() -> None:
    rng = torch.Generator().manual_seed(0)
    maps, share = torch.randn(3, 5, 8, 12, generator=rng), torch.rand(40, 6, generator=rng)
    view = torch.randint(0, 3, (40, 6), generator=rng)
    xy = torch.rand(40, 6, 2, generator=rng) * torch.tensor([48.0, 32.0])
    given_to = [(maps.clone().requires_grad_(), share.clone().requires_grad_()) for _ in range(2)]
    found = pooled(given_to[0][0], view, xy, given_to[0][1], 4)
    expected = (sample(given_to[1][0], view, xy, 4) * given_to[1][1][..., None]).sum(1)
    assert torch.allclose(found, expected, atol=1e-5)
    weight = torch.randn(40, 5, generator=rng)
    for result in (found, expected):
        (result * weight).sum().backward()
    for ours, theirs in zip(*given_to, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)


def test_nearest_takes_the_cell_that_a_place_lies_in() -> None:
    maps = torch.arange(24.0).reshape(1, 1, 4, 6)
    view = torch.zeros(4, dtype=torch.int64)
    xy = torch.tensor([[0.1, 0.1], [7.9, 3.9], [8.0, 4.0], [99.0, 99.0]])
    assert nearest(maps, view, xy, 4)[:, 0].tolist() == [0.0, 1.0, 8.0, 23.0]


def test_raising_keeps_what_is_constant_and_follows_edges_of_the_picture() -> None:
    images = torch.zeros(1, 3, 8, 16)
    images[..., 7:] = 1.0  # an edge within a coarse cell
    half = functional.avg_pool2d(images, 2)
    values = torch.full((1, 1, 4, 8), 2.0)
    mask = torch.zeros(1, 36, 4, 8)
    assert torch.allclose(raise_twice(values, mask, half, images), torch.tensor(2.0))
    values[..., 4:] = 6.0
    raised = raise_twice(values, mask, half, images)
    assert raised.shape == (1, 1, 8, 16)
    assert float(raised.min()) >= 2.0 - 1e-5 and float(raised.max()) <= 6.0 + 1e-5
    # Column 7 lies in a dark cell's half but is bright: it takes the bright side's value.
    assert float(raised[0, 0, 4, 7]) > 5.0 and float(raised[0, 0, 4, 6]) < 3.0


def test_the_mean_is_of_the_planes_about_the_best() -> None:
    logits = torch.full((1, 20, 1, 1), -20.0)
    logits[0, 4], logits[0, 5], logits[0, 15] = 3.0, 3.0, 2.9
    assert float(local_mean(logits, 0.1)) == pytest.approx(0.45, abs=1e-4)


def test_the_nearest_lidar_point_of_a_cell_counts() -> None:
    views = look(WALL, [pose(0.0)], size=(16, 16))
    views.lidar_m[0, 1, 2], views.lidar_m[0, 2, 1] = 20.0, 5.0
    inverse, known = lidar_cells(views, 4)
    assert float(inverse[0, 0, 0]) == pytest.approx(0.2) and float(known.sum()) == 1.0


@pytest.mark.parametrize("lidar", [False, True])
def test_untrained_the_sweep_finds_a_wall_and_lidar_a_standing_one(lidar: bool) -> None:
    poses = [pose(0.0)] * 2 if lidar else [pose(0.0), pose(0.0, 0.8), pose(0.8, 0.0)]
    views = look(WALL, poses, size=(192, 128), focal_px=140.0, supersampling=2)
    assert views.depth_m is not None
    if lidar:
        views.lidar_m[:] = torch.where(views.depth_m < 80.0, views.depth_m, torch.zeros(()))
    torch.manual_seed(0)
    with torch.no_grad():
        depth = build_model(WorldRecConfig())(given(views), depth_only=True).depth
    near = views.depth_m < 12.0
    error = (depth.inverse * views.depth_m).log().abs()[near]
    assert float(near.float().mean()) > 0.5
    assert float(error.median()) < 0.05
    assert bool(torch.isfinite(depth.inverse).all()) and float(depth.inverse.min()) >= 0.0
