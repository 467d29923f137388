"""Losses and scores of WorldRec: what is perfect costs nothing, what is unknown has no say."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from standin_worldrec import StandIn
from torch import Tensor

from jwmtool.gaussians.model import Gaussians
from jwmtool.gaussians.rasterize import Rendering
from jwmtool.training.worldrec import depth_loss
from jwmtool.training.worldrec.held_out import held_out_scores, held_out_sheet
from jwmtool.training.worldrec.loss import LossWeights, reconstruction_loss
from jwmtool.training.worldrec.sample import Sample
from jwmtool.worldrec.reconstruction import DepthMaps, Reconstruction
from jwmtool.worldrec.views import Views

HEIGHT, WIDTH, PLANES, NEAREST_M = 16, 32, 9, 2.5


def make_views(count: int, depth_m: Tensor | None = None, seed: int = 0) -> Views:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, HEIGHT, WIDTH)
    if depth_m is None:
        depth_m = 3.0 + 40.0 * torch.rand(shape, generator=generator)
        depth_m[:, :4] = math.inf
    K = torch.tensor([[20.0, 0.0, WIDTH / 2], [0.0, 20.0, HEIGHT / 2], [0.0, 0.0, 1.0]])
    forward = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    return Views(
        torch.rand(count, 3, HEIGHT, WIDTH, generator=generator),
        K.repeat(count, 1, 1),
        forward.repeat(count, 1, 1),
        torch.linspace(-0.2, 0.2, count),
        torch.zeros(count, dtype=torch.int64),
        torch.ones(shape, dtype=torch.bool),
        torch.zeros(shape),
        depth_m,
        torch.zeros(*shape, 3),
    )


def make_sample(**changes: Any) -> Sample:
    values = {"context": make_views(2), "targets": make_views(2, seed=1), "twins": (-1, 1), "exact": True, "name": "x"}
    return Sample(**{**values, **changes})


def plane_logits(inverse: Tensor) -> Tensor:
    """Logits of shares that say a depth exactly, [V, D, H/4, W/4]."""
    place = (inverse[:, 2::4, 2::4] * (PLANES - 1) * NEAREST_M).clamp(0, PLANES - 1)
    shares = (1.0 - (place[:, None] - torch.arange(PLANES)[None, :, None, None]).abs()).clamp(min=1e-9)
    return shares.log()


def perfect(sample: Sample) -> Reconstruction:
    """What is right about depth; no Gaussians."""
    depth_m = sample.context.depth_m
    assert depth_m is not None
    inverse = torch.where(depth_m > 0, 1.0 / depth_m.clamp(min=1e-3), 0.0)
    sky = torch.where(depth_m.isinf(), 30.0, -30.0)
    maps = DepthMaps(inverse, torch.full_like(inverse, -9.0), sky, plane_logits(inverse))
    identity = torch.eye(3, 4).repeat(len(depth_m), 1, 1)
    return Reconstruction(Gaussians.empty(), torch.full((6, 4, 4, 3), 0.5), identity, maps)


def test_true_depth_costs_nothing_and_every_error_does() -> None:
    sample = make_sample()
    made, weights = perfect(sample), LossWeights().depth_only()
    _, terms = reconstruction_loss(made, sample, weights, NEAREST_M)
    assert set(terms) == {"planes", "likelihood", "relative", "gradient", "sky", "movers"}
    for name in ("planes", "relative", "gradient", "sky", "movers"):
        assert float(terms[name]) == pytest.approx(0.0, abs=1e-5)
    wrong = {
        "planes": replace(made.depth, plane_logits=made.depth.plane_logits.roll(1, 1)),
        "likelihood": replace(made.depth, inverse=made.depth.inverse * 1.1),
        "relative": replace(made.depth, inverse=made.depth.inverse * 1.1),
        "gradient": replace(made.depth, inverse=made.depth.inverse + 0.1 * torch.rand(2, HEIGHT, WIDTH)),
        "sky": replace(made.depth, sky=-made.depth.sky),
    }
    for name, depth in wrong.items():
        _, found = reconstruction_loss(replace(made, depth=depth), sample, weights, NEAREST_M)
        assert float(found[name]) > float(terms[name]) + 0.02, name
    _, moved = reconstruction_loss(
        replace(made, depth=replace(made.depth, inverse=made.depth.inverse + 0.1)), sample, weights, NEAREST_M
    )
    assert float(moved["gradient"]) == pytest.approx(0.0, abs=1e-5)  # the same everywhere: no edge is wrong


def test_plane_shares_are_pulled_to_the_two_nearest_planes() -> None:
    inverse, known = torch.full((1, 8, 8), 0.13), torch.ones(1, 8, 8, dtype=torch.bool)
    logits = torch.zeros(1, PLANES, 2, 2, requires_grad=True)
    depth_loss.plane_loss(logits, inverse, known, NEAREST_M, dense=True).backward()
    assert logits.grad is not None
    pull = -4 * logits.grad[0, :, 0, 0]  # of one of four cells: the target minus what is there
    place = 0.13 * (PLANES - 1) * NEAREST_M  # 2.6
    expected = torch.full((PLANES,), -1.0 / PLANES)
    expected[2] += 3 - place
    expected[3] += place - 2
    torch.testing.assert_close(pull, expected, atol=1e-5, rtol=0)


def test_of_sparse_depth_the_nearest_in_a_cell_counts() -> None:
    depth_m = torch.zeros(1, 8, 8)
    depth_m[0, 1, 1], depth_m[0, 3, 2] = 20.0, 5.0
    inverse, known = depth_loss.known_depth(depth_m, torch.ones(1, 8, 8, dtype=torch.bool))
    near = torch.zeros(1, 8, 8)
    near[:, :4, :4] = 0.2
    loss = depth_loss.plane_loss(plane_logits(near), inverse, known, NEAREST_M, dense=False)
    assert float(loss) == pytest.approx(0.0, abs=1e-5)
    assert float(depth_loss.plane_loss(plane_logits(near), inverse, known, NEAREST_M, dense=True)) == 0.0  # none there


def test_the_likeliest_scale_is_the_mean_error() -> None:
    inverse = torch.full((1, 8, 8), 0.1)
    known = torch.ones(1, 8, 8, dtype=torch.bool)
    error = 0.2 + 0.2 * torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))

    def loss(log_error: float) -> float:
        maps = DepthMaps(inverse * error.exp(), torch.full((1, 8, 8), log_error), inverse, torch.zeros(1, PLANES, 2, 2))
        return float(depth_loss.likelihood_loss(maps, inverse, known))

    best = float(error.mean().log())
    assert loss(best) < min(loss(best - 0.1), loss(best + 0.1))


def test_what_is_unknown_or_masked_has_no_say() -> None:
    sample = make_sample()
    assert sample.context.depth_m is not None
    depth_m, usable = sample.context.depth_m.clone(), sample.context.usable.clone()
    depth_m[:, 8:12] = 0.0
    usable[:, 12:] = False
    sample = replace(sample, context=replace(sample.context, depth_m=depth_m, usable=usable))
    made = perfect(make_sample())
    rubbish = {f.name: getattr(made.depth, f.name).clone() for f in fields(made.depth)}
    for name in ("inverse", "log_error", "sky"):
        rubbish[name][:, 12:] = 7.0
    rubbish["inverse"][:, 8:12] = 3.0
    weights = LossWeights().depth_only()
    clean, _ = reconstruction_loss(made, sample, weights, NEAREST_M)
    dirty, _ = reconstruction_loss(replace(made, depth=DepthMaps(**rubbish)), sample, weights, NEAREST_M)
    assert float(dirty) == pytest.approx(float(clean), abs=1e-6)


def test_without_any_depth_pictures_teach() -> None:
    nothing = torch.zeros(2, HEIGHT, WIDTH)
    sample = make_sample(context=make_views(2, nothing), targets=make_views(2, nothing, seed=1), exact=False)
    model = StandIn()
    loss, terms = reconstruction_loss(model(sample.given), sample, LossWeights(), NEAREST_M)
    assert set(terms) == {"photometric", "exposure", "velocity"}
    loss.backward()
    assert model.gain.grad is not None and bool(model.gain.grad.abs().sum() > 0)
    blind, none = reconstruction_loss(
        model(sample.given, depth_only=True), sample, LossWeights().depth_only(), NEAREST_M
    )
    assert none == {} and float(blind.detach()) == 0.0
    blind.backward()  # on the graph all the same


def test_the_terms_are_weighted_and_zeros_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, model = make_sample(), StandIn()
    made = model(sample.given)
    total, terms = reconstruction_loss(made, sample, LossWeights(), 2.5)
    assert set(terms) == {f.name for f in fields(LossWeights)} - {"motion"}  # the stand-in sweeps nothing
    expected = sum(getattr(LossWeights(), name) * float(term) for name, term in terms.items())
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(Reconstruction, "render", lambda *_: pytest.fail("rendered for nothing"))
    _, less = reconstruction_loss(made, sample, replace(LossWeights().depth_only(), gradient=0.0), 2.5)
    assert set(less) == {"planes", "likelihood", "relative", "sky", "movers"}


def test_a_context_picture_is_rendered_with_its_exposure(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = make_sample()
    made = perfect(sample)
    made = replace(made, exposure=made.exposure + torch.tensor([0.0, 0.3])[:, None, None])
    given: list[Tensor | None] = []

    def render(self: Any, camera: Any, time_s: float, exposure: Tensor | None = None) -> tuple[Tensor, Rendering]:
        given.append(exposure)
        blank = torch.zeros(HEIGHT, WIDTH)
        return torch.zeros(HEIGHT, WIDTH, 3), Rendering(torch.zeros(HEIGHT, WIDTH, 3), blank, blank)

    monkeypatch.setattr(Reconstruction, "render", render)
    _, terms = reconstruction_loss(made, sample, LossWeights(), NEAREST_M)
    assert given[0] is None and given[1] is not None and torch.equal(given[1], made.exposure[1])
    assert float(terms["exposure"]) == pytest.approx(0.15, abs=1e-6)


def test_rendered_depth_is_compared_where_there_is_a_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    depth_m = torch.full((2, HEIGHT, WIDTH), 10.0)
    depth_m[:, :4] = math.inf
    sample = make_sample(targets=make_views(2, depth_m))
    alpha = torch.ones(HEIGHT, WIDTH)
    alpha[:4] = 0.0
    alpha[4:10] = 0.5

    def render(self: Any, camera: Any, time_s: float, exposure: Any = None) -> tuple[Tensor, Rendering]:
        color = torch.zeros(HEIGHT, WIDTH, 3)
        return color, Rendering(color, torch.where(alpha > 0, 20.0, 0.0), alpha)

    monkeypatch.setattr(Reconstruction, "render", render)
    _, terms = reconstruction_loss(perfect(sample), sample, LossWeights(), NEAREST_M)
    assert float(terms["rendered_depth"]) == pytest.approx(math.log(2.0) * (0.5 * 6 + 1.0 * 6) / 12)
    assert float(terms["alpha"]) == pytest.approx(0.5 * 6 / 16)


def test_scores_and_the_sheet() -> None:
    sample = make_sample()
    made = perfect(sample)
    scores = held_out_scores(lambda views: made, [sample, sample], renders=True)
    assert scores["depth_log_error"] == pytest.approx(0.0, abs=1e-6) and scores["sky_accuracy"] == 1.0
    gray = [float(-10 * ((0.5 - image) ** 2).mean().log10()) for image in sample.targets.images]
    assert scores["psnr"] == pytest.approx(np.mean(gray), abs=1e-4)
    assert scores["rendered_log_error"] > 2.0  # nothing there counts as the farthest there is
    shifted = replace(made, depth=replace(made.depth, inverse=made.depth.inverse * math.exp(-0.1)))
    depth = held_out_scores(lambda views: shifted, [sample], renders=False)
    assert set(depth) == {"depth_log_error", "sky_accuracy"}
    assert depth["depth_log_error"] == pytest.approx(0.1, abs=1e-4)
    for renders in (True, False):
        sheet = held_out_sheet(lambda views: made, [sample] * 2, renders)
        assert sheet is not None and sheet.shape[0] > 2 * HEIGHT and sheet.shape[1] > 3 * WIDTH
    assert held_out_sheet(lambda views: made, [], True) is None
