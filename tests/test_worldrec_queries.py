"""What views say about points, which patches become queries, how long they live and how fast they move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from analytic_views import Box, Street, given, hit_by, look, pose, true_maps

from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.cover import PATCH
from jwmtool.worldrec.decoder import spacings
from jwmtool.worldrec.evidence import COARSER, SAME_COLOR, SAME_DEPTH, SAME_PX, Evidence, gather_evidence
from jwmtool.worldrec.life import BETWEEN, LONG, gaps, lifetime
from jwmtool.worldrec.model import build_model
from jwmtool.worldrec.motion import look_torch, nearest_in_time, unsettled
from jwmtool.worldrec.motion_cpu import look_cpu
from jwmtool.worldrec.neighbors import project
from jwmtool.worldrec.queries import companions, lattice, lifted_queries
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.surfels import Pixels, lift
from jwmtool.worldrec.views import Views

BOX = Street((Box((8.0, -1.0, 0.0), (3.0, 2.5, 2.2)),))
WALL = Street((Box((9.0, -30.0, -10.0), (1.0, 60.0, 40.0)),), ground=False)
WIDE = (192, 96)


def every_pixel(views: Views, step: int = 3) -> Pixels:
    """A lattice of pixel centers that show something, `step` px apart."""
    height, width = views.size
    v, j, i = torch.meshgrid(
        torch.arange(len(views)), torch.arange(1, height, step), torch.arange(1, width, step), indexing="ij"
    )
    xy = torch.stack([i, j], -1).reshape(-1, 2) + 0.5
    pixels = Pixels(v.reshape(-1), xy)
    assert views.depth_m is not None
    seen = torch.isfinite(nearest(views.depth_m[:, None], pixels.view, pixels.xy)[:, 0])
    return Pixels(pixels.view[seen], pixels.xy[seen])


def smooth(views: Views, reach: int) -> torch.Tensor:
    """[V, H, W] bool: no edge of depth within `reach` px: there maps are read as exactly as geometry."""
    assert views.depth_m is not None
    inverse = (1.0 / views.depth_m)[:, None]
    bend = torch.zeros_like(inverse, dtype=torch.bool)
    for dim in (2, 3):
        second = inverse.diff(n=2, dim=dim).abs() > 1e-5
        first, last = second.narrow(dim, 0, 1), second.narrow(dim, second.shape[dim] - 1, 1)
        bend |= torch.cat([first, second, last], dim)
    return torch.nn.functional.max_pool2d(bend.float(), 2 * reach + 1, 1, reach)[:, 0] == 0


@pytest.mark.parametrize("poses", [
    [pose(0.0, 0.6), pose(0.0, -0.9)],
    [pose(0.0), pose(2.0, 0.1)],
    [pose(0.0, 2.5, yaw_rad=-0.2), pose(1.0, -2.5, 2.5, yaw_rad=0.25)],
])  # fmt: skip
def test_views_say_of_a_point_what_geometry_says(poses: list) -> None:
    """A box on a plane, true depth: which view sees a point, which sees something else, how near, how fine."""
    views = look(BOX, poses, size=WIDE, focal_px=140.0, supersampling=1)
    pixels = every_pixel(views)
    assert views.depth_m is not None
    at = 1.0 / nearest(views.depth_m[:, None], pixels.view, pixels.xy)[:, 0]
    evidence = gather_evidence(views, 1.0 / views.depth_m, pixels, at, torch.tensor([[0, 1], [1, 0]])[pixels.view])
    assert torch.equal(evidence.view[:, 0], pixels.view) and torch.equal(evidence.view[:, 1], 1 - pixels.view)
    own = evidence.select(torch.arange(len(at)))
    assert bool(own.same[:, 0].all()) and not bool(own.through[:, 0].any())
    assert float(own.error_px[:, 0].max()) < 0.05 and float(own.residual[:, 0].abs().max()) < 1e-3
    points, calm, counted = lift(views, pixels, at), smooth(views, 2), 0
    for view in range(2):
        rows = (pixels.view == 1 - view).nonzero()[:, 0]
        K, cam_from_scene = views.Ks[view], torch.linalg.inv(views.scene_from_cam[view])
        xy, depth = project(points[rows], K, cam_from_scene)
        inside = (depth > 0.3) & (xy > 0).all(1) & (xy < torch.tensor([192.0, 96.0])).all(1)
        assert torch.equal(evidence.inside[rows, 1], inside)
        exact, _ = hit_by(BOX, views, xy, view)
        place = Pixels(torch.full((len(rows),), view), xy)
        inner = ((xy > 0.5) & (xy < torch.tensor([191.5, 95.5]))).all(1)  # no need to read beyond the border
        sure = inside & inner & (nearest(calm[:, None].float(), place.view, xy)[:, 0] > 0)
        assert float(sure.float().mean()) > 0.2
        rows, xy, depth, exact = rows[sure], xy[sure], depth[sure], exact[sure]
        assert torch.allclose(evidence.xy[rows, 1], xy, atol=1e-3)
        residual = torch.log(depth.double() / exact).float()
        assert torch.allclose(evidence.residual[rows, 1], residual, atol=5e-3)
        assert torch.allclose(evidence.finer[rows, 1], torch.log(1.0 / depth / at[rows]), atol=1e-3)
        hidden, visible = residual > 0.15, residual.abs() < 0.01
        # What is as fine or not much coarser is recognized; what a nearer surface hides is not taken for it.
        near = evidence.finer[rows, 1] > -COARSER
        alike = evidence.unlike[rows, 1] < SAME_COLOR  # on the rims of colors a coarser view mixes them
        assert torch.equal(evidence.same[rows, 1][visible & near], alike[visible & near])
        assert float(alike[visible & near].float().mean()) > 0.9
        assert not bool(evidence.same[rows, 1][hidden].any())
        assert not bool(evidence.through[rows, 1][visible | hidden].any())
        counted += int(hidden.sum())
    assert counted > 4  # some points are hidden from the other view


def test_a_point_before_what_a_view_sees_is_seen_through() -> None:
    """Points halfway to the surface: every view from aside sees through them, the one that they came from cannot."""
    views = look(BOX, [pose(0.0), pose(0.0, -1.0), pose(0.0, 0.8)], size=WIDE, focal_px=140.0, supersampling=1)
    pixels = every_pixel(views)
    assert views.depth_m is not None
    depth = nearest(views.depth_m[:, None], pixels.view, pixels.xy)[:, 0]
    near = depth < 30.0
    pixels, depth = Pixels(pixels.view[near], pixels.xy[near]), depth[near]
    look_into = torch.tensor([[0, 1, 2], [1, 0, 2], [2, 0, 1]])[pixels.view]
    evidence = gather_evidence(views, 1.0 / views.depth_m, pixels, 2.0 / depth, look_into)
    aside = evidence.inside[:, 1:]
    assert not bool(evidence.through[:, 0].any())
    # Behind the box's edge another view may look at the box itself, which is nearer than such a point.
    free = evidence.residual[:, 1:] < -0.2
    assert float(free[aside].float().mean()) > 0.9
    assert bool(evidence.through[:, 1:][aside & free].all())
    assert not bool(evidence.same[:, 1:][aside & free].any())
    assert not bool((evidence.same & evidence.through).any())


def test_times_apart_count_from_the_view_that_a_point_came_from() -> None:
    views = look(WALL, [pose(0.0), pose(1.0)], [0.3, 0.7], size=(48, 32))
    pixels = Pixels(torch.tensor([0, 1]), torch.tensor([[24.0, 16.0]] * 2))
    assert views.depth_m is not None
    evidence = gather_evidence(
        views, 1 / views.depth_m, pixels, torch.full((2,), 0.1), torch.tensor([[0, 1], [1, 0]])
    )  # fmt: skip
    assert torch.allclose(evidence.apart_s, torch.tensor([[0.0, 0.4], [0.0, -0.4]]))


# Two views of a wall, one after the other or beside each other: one speaks for what both see.
@pytest.mark.parametrize(("poses", "times", "cameras", "whole"), [
    ([pose(0.0), pose(2.0)], [0.0, 0.2], [0, 0], 1),  # the nearer
    ([pose(2.0), pose(0.0)], [0.0, 0.2], [0, 0], 0),
    ([pose(0.0), pose(0.0, -1.0)], [0.0, 0.2], [0, 0], 1),  # as near: the later
    ([pose(0.0), pose(0.0, -1.0)], [0.0, 0.0], [0, 1], 0),  # at the same time: the first camera
])  # fmt: skip
def test_what_two_views_see_survives_in_exactly_one(
    poses: list, times: list[float], cameras: list[int], whole: int
) -> None:
    views = look(WALL, poses, times, cameras, size=WIDE, focal_px=100.0)
    queries = lifted_queries(given(views), true_maps(views), 12)
    grid = torch.zeros(2, 96 // PATCH, 192 // PATCH, dtype=torch.bool)
    cells = (queries.pixels.xy / PATCH).long()
    grid[queries.pixels.view, cells[:, 1], cells[:, 0]] = True
    assert int(grid.sum()) == len(queries)
    assert bool(grid[whole].all())
    # Of the other view's patches those go that the first shows whole, and those stay that it does not show at all.
    other = 1 - whole
    corners = []
    for at in ((0, 0), (1, 0), (0, 1), (1, 1)):
        j, i = torch.meshgrid(torch.arange(24) + at[1], torch.arange(48) + at[0], indexing="ij")
        places = Pixels(torch.full((24 * 48,), other), torch.stack([i, j], -1).reshape(-1, 2).float() * PATCH)
        inverse = torch.full((24 * 48,), 1.0 / (9.0 - poses[other][0, 3]))
        there, _ = project(lift(views, places, inverse), views.Ks[whole], torch.linalg.inv(views.scene_from_cam[whole]))
        corners.append(((there > 0) & (there < torch.tensor([192.0, 96.0]))).all(1))
    seen, unseen = torch.stack(corners).all(0), ~torch.stack(corners).any(0)
    assert 0.2 < float(seen.float().mean()) < 0.95 and float((~seen & ~unseen).float().mean()) < 0.15
    assert not bool(grid[other].reshape(-1)[seen].any())
    assert bool(grid[other].reshape(-1)[unseen].all())


def test_a_far_view_does_not_take_over_and_three_views_leave_one() -> None:
    poses = [pose(3.0), pose(1.5), pose(0.0)]  # backing off
    views = look(WALL, poses, [0.0, 0.4, 0.8], size=WIDE, focal_px=100.0)
    queries = lifted_queries(given(views), true_maps(views), 12)
    counts = torch.bincount(queries.pixels.view, minlength=3).tolist()
    assert counts[0] == 24 * 48 and counts[1] < 24 * 48 and counts[2] < 24 * 48
    # Every place on the wall that the last view sees is spoken for once: patches tile it without holes or doubles.
    points = lift(views, queries.pixels, queries.inverse)
    sizes = (PATCH / queries.inverse / views.Ks[0, 0, 0]) * (PATCH / queries.inverse / views.Ks[0, 1, 1])
    width_m, height_m = 9.0 * 192 / 100.0, 9.0 * 96 / 102.0
    assert float(sizes.sum()) == pytest.approx(width_m * height_m, rel=0.05)
    assert float(points[:, 0].min()) > 8.9


def test_what_has_other_colors_stays_with_both() -> None:
    """Depth that agrees by chance is not enough: pictures must agree too."""
    views = look(WALL, [pose(0.0), pose(2.0)], size=WIDE, focal_px=100.0)
    other = replace(views, images=torch.stack([views.images[0], 0.4 * views.images[1]]))
    both, one = (lifted_queries(given(v), true_maps(views), 12) for v in (other, views))
    assert len(both) > 1.4 * len(one)


def test_sky_and_the_own_bonnet_make_no_queries() -> None:
    views = look(BOX, [pose(0.0), pose(1.0)])
    views.usable[:, 56:] = False
    queries = lifted_queries(given(views), true_maps(views), 12)
    assert views.depth_m is not None
    depth = nearest(views.depth_m[:, None], queries.pixels.view, queries.pixels.xy)[:, 0]
    assert float(queries.pixels.xy[:, 1].max()) < 56.0
    assert float(torch.isfinite(depth).float().mean()) > 0.95  # but for patches that are half sky
    assert bool((queries.inverse > 0).all())


def test_companions_are_the_view_itself_and_those_that_see_the_same() -> None:
    poses = [pose(0.0), pose(1.0), pose(0.0, yaw_rad=3.14), pose(2.0)]
    views = look(WALL, poses, size=(48, 32))
    found = companions(views, 3)
    assert found[:, 0].tolist() == [0, 1, 2, 3]
    assert set(found[0, 1:].tolist()) == {1, 3} and set(found[1, 1:].tolist()) == {0, 3}
    assert companions(views, 12).shape == (4, 4)


def test_lattices_are_as_fine_as_told() -> None:
    fine, coarse = lattice(1), lattice(2)
    assert fine.shape == (8, 2) and coarse.shape == (4, 2)
    for places in (fine, coarse):
        assert torch.allclose(places.mean(0), torch.zeros(2)) and float(places.abs().max()) < PATCH / 2
    assert float(torch.pdist(fine).min()) == pytest.approx(2**0.5)
    assert float(torch.pdist(coarse).min()) == pytest.approx(2.0)


def test_detail_is_found_where_it_is() -> None:
    views = look(Street((), detail=0.0), [pose(0.0)])
    views.images[:, :, 40:48, 32:40] += 0.2 * (torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5)
    pixels = every_pixel(views, PATCH)
    needed = spacings(given(views), true_maps(views), pixels, 0.02)
    inside = (pixels.xy > torch.tensor([32.0, 40.0])).all(1) & (pixels.xy < torch.tensor([40.0, 48.0])).all(1)
    low = pixels.xy[:, 1] > 36.0  # the horizon is an edge of depth
    assert bool((needed[inside] == 1).all())
    around = (pixels.xy > torch.tensor([28.0, 36.0])).all(1) & (pixels.xy < torch.tensor([44.0, 52.0])).all(1)
    assert bool((needed[low & ~around] == PATCH).all())  # bare road: a surfel for a patch


def test_what_four_pixels_show_as_well_as_one_gets_the_coarser_lattice() -> None:
    views = look(Street((), detail=0.0), [pose(0.0)])
    noise = 0.1 * (torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5)
    wide = torch.nn.functional.interpolate(noise, scale_factor=4.0, mode="bilinear")  # smooth over 2 px, not over 4
    views.images[:, :, 40:56, 32:48] += wide
    pixels = every_pixel(views, PATCH)
    needed = {least: spacings(given(views), true_maps(views), pixels, least) for least in (0.001, 0.01, 0.1)}
    inside = (pixels.xy > torch.tensor([36.0, 44.0])).all(1) & (pixels.xy < torch.tensor([44.0, 52.0])).all(1)
    means = [float(needed[least][inside].float().mean()) for least in (0.001, 0.01, 0.1)]
    assert 1.0 == means[0] < means[1] <= means[2] == PATCH


def said(
    residual: list[float], error_px: list[float], apart_s: list[float], changed: list[bool] | None = None
) -> Evidence:
    """Evidence of one point from views at these times; the first is its own."""
    N = len(residual)
    return Evidence(
        view=torch.arange(N)[None], xy=torch.full((1, N, 2), 8.0), inside=torch.ones(1, N, dtype=torch.bool),
        residual=torch.tensor([residual]), error_px=torch.tensor([error_px]),
        unlike=torch.zeros(1, N), finer=torch.zeros(1, N), apart_s=torch.tensor([apart_s]),
        changed=torch.zeros(1, N, dtype=torch.bool) if changed is None else torch.tensor([changed]),
    )  # fmt: skip


def lives(views: Views, evidence: Evidence, log_error: float = -5.0) -> float:
    """`lifetime` of one patch of the first view, 10 m away."""
    pixels = Pixels(torch.zeros(1, dtype=torch.int64), torch.tensor([[8.0, 8.0]]))
    maps = true_maps(views)
    maps = replace(maps, log_error=torch.full_like(maps.log_error, log_error))
    return float(lifetime(views, maps, pixels, torch.tensor([0.1]), evidence))


def test_a_patch_lives_as_long_as_it_is_confirmed_and_not_spoken_against() -> None:
    times = [0.0, 0.5, 1.0, 1.5]
    views = look(WALL, [pose(0.0)] * 4, times, size=(16, 16))
    least = BETWEEN * 0.5  # to the middle between this view and the next
    off = SAME_PX + 0.5
    for residual, error, expected in (
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.1, 0.1, 0.1], LONG * 1.5),
        ([0.0, 0.0, 0.3, 0.0], [0.0, 0.1, 9.0, 9.0], LONG * 0.5),  # hidden later: no word against it
        ([0.0, 0.0, 0.0, -0.3], [0.0, 0.1, 0.1, 9.0], 1.0),  # until 1 s, and seen through at 1.5 s
        ([0.0, 0.0, -0.3, 0.0], [0.0, 0.1, 9.0, 0.1], 0.5),  # seen through at 1 s: what comes later is another thing
        ([0.0, -0.3, 0.0, 0.0], [0.0, 9.0, 0.1, 0.1], least),  # at 0.5 s already
        ([0.0, 0.0, 0.0, 0.0], [0.0, off, off, off], least),  # nothing known
        ([0.0, 2 * SAME_DEPTH, 0.0, 0.0], [0.0, 0.0, off, off], least),
    ):
        found = lives(views, said(residual, error, times))
        assert found == pytest.approx(expected), (residual, error)
    later = said([0.0] * 4, [0.0] * 4, times, [False, False, True, False])
    assert lives(views, later) == pytest.approx(0.5), "from the same place something else is shown at 1 s"


def test_what_is_uncertain_and_passed_by_quickly_lives_shorter() -> None:
    times = [0.0, 0.5, 1.0, 1.5]
    evidence = said([0.0] * 4, [0.0] + [0.1] * 3, times)
    standing, driving, racing = (
        look(WALL, [pose(0.0, step * i) for i in range(4)], times, size=(16, 16)) for step in (0.0, 2.0, 8.0)
    )
    assert lives(standing, evidence, -5.0) == lives(driving, evidence, -5.0) == pytest.approx(LONG * 1.5)
    assert lives(driving, evidence, -5.0) > lives(driving, evidence, -3.0) > lives(racing, evidence, -3.0)
    assert lives(racing, evidence, 1.0) == pytest.approx(BETWEEN * 0.5)


def test_gaps_are_to_the_next_views_of_the_same_camera_the_longer_one() -> None:
    views = look(WALL, [pose(0.0)] * 5, [0.0, 0.1, 0.5, 0.0, 2.0], [0, 0, 0, 1, 1], size=(16, 16))
    assert torch.allclose(gaps(views), torch.tensor([0.1, 0.4, 0.4, 2.0, 2.0]))
    assert float(gaps(views.select([0]))) == pytest.approx(0.1)


def test_the_nearest_in_time_are_of_the_same_camera_before_and_after() -> None:
    views = look(WALL, [pose(0.0)] * 5, [0.0, 0.1, 0.5, 0.0, 2.0], [0, 0, 0, 1, 1], size=(16, 16))
    index, valid = nearest_in_time(views)
    assert valid.tolist() == [[True, False], [True, True], [False, True], [True, False], [False, True]]
    assert index[0, 0] == 1 and index[1].tolist() == [2, 0] and index[2, 1] == 1 and index[3, 0] == 4


@pytest.mark.parametrize("velocity", [(8.0, 0.0, 0.0), (5.0, 0.0, 0.0), (-9.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
def test_untrained_the_motion_sweep_finds_a_box_by_its_true_depth(velocity: tuple[float, float, float]) -> None:
    """A textured box before an ego at 5 m/s, pictures 0.4 s apart: where there are views before and after."""
    times = [0.0, 0.4, 0.8, 1.2]
    start = (17.0 - 0.6 * velocity[0], -1.2 - 0.6 * velocity[1], 0.0)
    street = Street((Box(start, (4.0, 2.4, 2.0), velocity),))
    views = look(street, [pose(5.0 * t, -0.5) for t in times], times, size=WIDE, focal_px=170.0)
    maps = true_maps(views)
    torch.manual_seed(0)
    model = build_model(WorldRecConfig())
    model.depth.forward = lambda *_: maps  # type: ignore[method-assign]
    with torch.no_grad():
        made = model(given(views))
    assert made.motion is not None and made.queries is not None and views.velocity is not None
    pixels = made.queries.pixels
    speed = torch.zeros(len(made.queries), 3).index_put((made.motion.rows,), made.motion.velocity)
    on_box = torch.zeros(len(made.queries), dtype=torch.bool)
    for view in range(4):
        rows = (pixels.view == view).nonzero()[:, 0]
        on_box[rows] = hit_by(street, views, pixels.xy[rows], view)[1] == 1
    error = (speed - on_box[:, None] * torch.tensor(velocity)).norm(dim=1)
    inner = (pixels.view == 1) | (pixels.view == 2)
    if velocity[0]:
        assert int((on_box & inner).sum()) > 30
        assert float(error[on_box & inner].median()) < 1.5
    ground = ~on_box & (made.queries.inverse > 1.0 / 30.0)
    assert float((error[ground] < 0.5).float().mean()) > 0.97
    # What stands is found in place by views of other times: it need not be swept.
    swept = torch.zeros(len(made.queries), dtype=torch.bool).index_fill(0, made.motion.rows, True)
    assert torch.equal(swept, unsettled(made.queries))
    assert float(swept[ground].float().mean()) < 0.5


@pytest.mark.parametrize(("groups", "learned"), [(4, 16), (2, 6)])
def test_the_kernel_of_motion_equals_its_twin_in_torch(groups: int, learned: int) -> None:
    rng = torch.Generator().manual_seed(0)
    views = look(BOX, [pose(0.0), pose(1.0, 0.3, yaw_rad=0.2), pose(2.0)], size=(96, 64))
    features = torch.randn(3, learned + 16, 16, 24, generator=rng)
    inverse = torch.rand(3, 64, 96, generator=rng) * 0.2
    own = torch.randn(300, learned + 16, generator=rng)
    other = torch.randint(0, 3, (300,), generator=rng)
    points = torch.randn(300, 9, 3, generator=rng) * torch.tensor([12.0, 6.0, 2.0]) + torch.tensor([9.0, 0.0, 1.0])
    maps = views.Ks @ torch.linalg.inv(views.scene_from_cam)[:, :3]
    fast = look_cpu(features, groups, inverse, own, points, other, maps, 0.3, 0.15)
    slow = look_torch(features, groups, inverse, own, points, other, maps, 0.3, 0.15)
    assert fast.shape == slow.shape == (300, 9, groups + 3)
    assert torch.equal(fast[..., -1], slow[..., -1]) and 0.1 < float(fast[..., -1].mean()) < 0.9
    assert torch.allclose(fast, slow, atol=2e-3)
    assert float((fast - slow).abs().mean()) < 1e-5


def test_without_motion_nothing_moves() -> None:
    street = Street((Box((17.0, -1.2, 0.0), (4.0, 2.4, 2.0), (8.0, 0.0, 0.0)),))
    views = look(street, [pose(0.0), pose(2.0), pose(4.0)], [0.0, 0.4, 0.8])
    with torch.no_grad():
        made = build_model(WorldRecConfig(motion=False))(given(views))
    assert made.motion is None and not bool(made.gaussians.velocity.any())
