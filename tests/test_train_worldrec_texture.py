"""Texture painted on worlds sticks to surfaces, in every view and on what moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from analytic_views import Box, Street, hit_by, look, pose

from jwmtool.training.worldrec.texture import Texture
from jwmtool.worldrec.neighbors import project
from jwmtool.worldrec.sampling import sample
from jwmtool.worldrec.surfels import Pixels, lift
from jwmtool.worldrec.views import Views

WALL = Street(boxes=(Box((8.0, -20.0, -1.0), (1.0, 40.0, 20.0)),), detail=0.0)
CAR = Street(boxes=(Box((8.0, -3.0, 0.0), (2.0, 4.0, 2.5), (0.0, 2.0, 0.0)),), detail=0.0)


def painted(views: Views, seed: int = 3) -> Views:
    return replace(views, images=Texture(np.random.default_rng(seed), 0.8)(views))


def seen_from_other(views: Views, still: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Colors of view 0's pixels, and those of the same points in view 1."""
    assert views.depth_m is not None and views.velocity is not None
    height, width = views.size
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = Pixels(torch.zeros(height * width, dtype=torch.int64), torch.stack([u, v], -1).reshape(-1, 2) + 0.5)
    solid = torch.isfinite(views.depth_m[0]).flatten()
    pixels = Pixels(pixels.view[solid], pixels.xy[solid])
    points = lift(views, pixels, 1.0 / views.depth_m[0].flatten()[solid])
    if not still:
        points = points + views.velocity[0].reshape(-1, 3)[solid] * (views.times_s[1] - views.times_s[0])
    xy, depth = project(points, views.Ks[1], torch.linalg.inv(views.scene_from_cam[1]))
    inside = (xy > 1).all(1) & (xy[:, 0] < width - 1) & (xy[:, 1] < height - 1)
    there = sample(views.images, torch.ones(int(inside.sum()), dtype=torch.int64), xy[inside])
    seen = sample(views.depth_m.nan_to_num(posinf=1e4)[:, None], torch.ones(len(there), dtype=torch.int64), xy[inside])
    same = (seen[:, 0] / depth[inside] - 1.0).abs() < 0.01
    return views.images[0].permute(1, 2, 0).reshape(-1, 3)[solid][inside][same], there[same]


def test_the_texture_is_the_same_from_everywhere() -> None:
    views = painted(look(WALL, [pose(0.0), pose(0.6, 0.4)]))
    here, there = seen_from_other(views, still=True)
    assert len(here) > 2000
    assert float(here.std(0).mean()) > 0.05  # there is a texture
    assert float((here - there).abs().mean()) < 0.15 * float(here.std(0).mean())
    other = painted(look(WALL, [pose(0.0), pose(0.6, 0.4)]), seed=4)
    assert float((here - seen_from_other(other, still=True)[0]).abs().mean()) > 0.05


def test_the_texture_rides_with_what_moves() -> None:
    views = look(CAR, [pose(0.0), pose(0.0)], times_s=[0.0, 0.5])
    moving = hit_by(CAR, views, torch.tensor([[40.0, 28.0]]), 0)[1]
    assert int(moving) == 1
    here, there = seen_from_other(painted(views), still=False)
    assert float((here - there).abs().mean()) < 0.2 * float(here.std(0).mean())


def test_the_sky_stays_and_far_texture_fades() -> None:
    views = look(WALL, [pose(0.0)])
    assert views.depth_m is not None
    bare = look(Street(ground=True, detail=0.0), [pose(0.0)])
    assert bare.depth_m is not None
    after = painted(bare)
    sky = torch.isinf(bare.depth_m)[0]
    assert bool(sky.any()) and torch.equal(after.images[0][:, sky], bare.images[0][:, sky])
    change = (after.images - bare.images).abs().mean(1)[0]
    far, near = (bare.depth_m[0] > 60.0) & ~sky, bare.depth_m[0] < 10.0
    assert float(change[far].mean()) < 0.5 * float(change[near].mean())
