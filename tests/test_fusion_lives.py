"""What fusion stands on: Gaussians told in another frame, and how long they live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scenes import random_gaussians
from small_fusion import clip_of_a_street, fused, model_that_knows_it, views_of  # noqa: F401

from jwmtool.artifacts.clip import Clip
from jwmtool.gaussians.rasterize import rasterize
from jwmtool.gaussians.rigid import moved, rotation_matrices
from jwmtool.gaussians.sky import sample_sky, sky_directions, turned_sky
from jwmtool.geometry import se3
from jwmtool.geometry.harmonics import C0
from jwmtool.worldrec.holding import hold
from jwmtool.worldrec.lasting import kept_alive
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.path import EgoPath, within_way
from jwmtool.worldrec.scene_cover import HALF
from jwmtool.worldrec.tokens import UNLIKE, other_surfaces


def test_gaussians_told_in_another_frame_look_the_same() -> None:
    from jwmtool.geometry.camera import Camera

    g = random_gaussians(200, sh_degree=3, seed=3)
    new_from_old = se3.translation([3.0, -2.0, 1.0]) @ se3.from_quat([0.8, 0.2, -0.4, 0.3], [1.0, 2.0, 3.0])
    there = moved(g, torch.from_numpy(new_from_old))
    K = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    camera = Camera(K, 64, 48, se3.look_at([20.0, 5.0, 4.0], [0.0, 0.0, 0.0]))
    one, other = rasterize(g, camera, 0.4), rasterize(there, camera.in_frame(new_from_old), 0.4)
    assert float(one.alpha.max()) > 0.5
    assert torch.allclose(one.color, other.color, atol=2e-3) and torch.allclose(one.alpha, other.alpha, atol=1e-3)


def test_rotations_and_skies_turn_alike() -> None:
    pose = se3.from_quat([0.8, 0.2, -0.4, 0.3], [0.0, 0.0, 0.0])
    quat = torch.from_numpy(se3.to_quat(pose))[None]
    assert torch.allclose(rotation_matrices(quat)[0], torch.from_numpy(pose[:3, :3]))
    directions = sky_directions(16)
    sky = 0.5 + 0.5 * torch.nn.functional.normalize(directions, dim=-1)
    R = torch.from_numpy(pose[:3, :3]).float()
    assert torch.allclose(sample_sky(sky, directions), sky, atol=1e-5)
    turned = turned_sky(sky, R)
    expected = 0.5 + 0.5 * torch.nn.functional.normalize(directions @ R, dim=-1)
    assert float((turned - expected).abs().max()) < 0.1 and float((turned - expected).abs().mean()) < 0.005


def test_who_is_kept_alive_ends_to_the_other_side_as_before(clip: Clip, model: WorldRec) -> None:
    first, second = views_of(clip, 4, 5, 6, 7), views_of(clip, 8, 9, 10, 11)
    with torch.no_grad():
        state = fused(model, first)
        held = hold(state.tokens, second, model(second, depth_only=True).depth)
    later = replace(held, time_s=held.time_s + 5.0)
    was = state.gaussians
    longer = kept_alive(was, state.tokens, later.token, later.time_s)
    some = longer.time_sigma > was.time_sigma
    assert float(some.float().mean()) > 0.5
    begins, began = (g.time_mid[some] - HALF * g.time_sigma[some] for g in (longer, was))
    assert torch.allclose(begins, began, atol=1e-4)
    ends = longer.time_mid[some] + HALF * longer.time_sigma[some]
    assert bool((ends > float(second.times_s.min()) + 4.9).all())


def test_edges_of_what_drove_by_are_tokens_of_their_own(clip: Clip, model: WorldRec) -> None:
    with torch.no_grad():
        state = fused(model, views_of(clip, 4, 5, 6, 7))
    painted = state.gaussians.replace(sh=state.gaussians.sh.clone())
    painted.sh[::3] = (0.02 - 0.5) / C0  # black, on the surface itself
    found, query = other_surfaces(painted, state.tokens)
    theirs = found.of_gaussian.long() >= len(state.tokens)
    bright = state.tokens.color[state.tokens.of_gaussian.long()].mean(1) > 0.3
    assert float(state.tokens.color.mean()) - 0.02 > UNLIKE
    black = torch.zeros_like(theirs).index_fill(0, torch.arange(0, len(theirs), 3), True)
    assert bool(theirs[black & bright].all())
    assert float(theirs[~black].float().mean()) < 0.3
    assert len(found) == len(query) and float(found.color.mean()) < 0.5 * float(state.tokens.color[query].mean())


def test_lives_are_as_long_as_the_way_not_the_time(clip: Clip, model: WorldRec) -> None:
    views = views_of(clip, 4, 5, 6, 7)
    with torch.no_grad():
        found = model(views)
    long = found.gaussians.replace(time_sigma=torch.full_like(found.gaussians.time_sigma, 1.0))
    found = replace(found, gaussians=long)
    times = torch.linspace(-6.0, 8.0, 141)
    speed = float((views.scene_from_cam[-1, :3, 3] - views.scene_from_cam[0, :3, 3]).norm()) / float(
        views.times_s[-1] - views.times_s[0]
    )
    steady = EgoPath(times, torch.stack([speed * times, 0 * times, 0 * times], 1))
    same = within_way(found, views, steady).gaussians
    assert torch.allclose(same.time_sigma, long.time_sigma, rtol=0.1) and torch.allclose(
        same.time_mid, long.time_mid, atol=0.1
    )
    # Three times as fast from half a second after the window on: what it saw ends sooner there, and only there.
    after = float(views.times_s[-1]) + 0.5
    x = torch.where(times > after, speed * after + 3.0 * speed * (times - after), speed * times)
    faster = within_way(found, views, EgoPath(times, torch.stack([x, 0 * x, 0 * x], 1))).gaussians
    stands = long.velocity.norm(dim=1) < 0.5
    ends, ended = (g.time_mid[stands] + 1.18 * g.time_sigma[stands] for g in (long, faster))
    assert float((ends - ended).median()) > 0.2
    assert bool((faster.time_sigma <= long.time_sigma + 1e-5).all())
