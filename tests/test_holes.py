"""Holes of a render, filled from what is around them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from jwmtool.gaussians.rasterize import Rendering
from jwmtool.geometry.camera import Camera
from jwmtool.imaging.push_pull import push_pull
from jwmtool.rendering.holes import fill_holes

LEVEL = np.array([[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 1.5], [0.0, 0.0, 0.0, 1.0]])
CAMERA = Camera(np.array([[40.0, 0.0, 24.0], [0.0, 40.0, 16.0], [0.0, 0.0, 1.0]]), 48, 32, LEVEL)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 1.0), st.integers(0, 99))
def test_known_pixels_stay_and_others_lie_between_them(width: int, height: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    color = rng.random((height, width, 3), np.float32)
    known = (rng.random((height, width)) < share).astype(np.float32)
    known[0, 0] = 1.0
    filled = push_pull(color, known)
    assert np.allclose(filled[known > 0], color[known > 0], atol=1e-6)
    for channel in range(3):
        values = color[known > 0][:, channel]
        assert filled[..., channel].min() >= values.min() - 1e-4
        assert filled[..., channel].max() <= values.max() + 1e-4


def test_what_is_near_counts_more() -> None:
    color, known = np.zeros((32, 64, 1), np.float32), np.zeros((32, 64), np.float32)
    color[:, :16], known[:, :16] = 1.0, 1.0
    known[:, 48:] = 1.0
    filled = push_pull(color, known)[16, :, 0]
    assert filled[20] > 0.7 and filled[44] < 0.3
    assert (np.diff(filled[16:48]) <= 0.05).all()


def test_below_the_horizon_sky_is_a_hole() -> None:
    """Half of the road is missing: there the sky's blue shines through, and must not stay."""
    color, alpha = torch.zeros(32, 48, 3), torch.zeros(32, 48)
    color[..., 2] = 1.0  # sky
    color[16:, :24], alpha[16:, :24] = 0.5, 1.0  # road
    filled = fill_holes(Rendering(color, torch.zeros(32, 48), alpha), CAMERA, has_sky=True)
    assert filled.coverage[:16].min() == 1.0 and filled.coverage[16:, :24].min() == 1.0
    assert filled.coverage[17:, 24:].max() == 0.0
    assert np.allclose(filled.color[:16], color[:16].numpy(), atol=1e-5)
    assert np.allclose(filled.color[28, 28], 0.5, atol=0.1)
    without = fill_holes(Rendering(0 * color, torch.zeros(32, 48), alpha), CAMERA, has_sky=False)
    assert without.coverage[:16].max() == 0.0


def test_a_scene_that_shows_nothing_is_black() -> None:
    nothing = Rendering(torch.zeros(32, 48, 3), torch.zeros(32, 48), torch.zeros(32, 48))
    filled = fill_holes(nothing, CAMERA, has_sky=False)
    assert filled.color.max() == 0.0 == filled.coverage.max()
    assert filled.color.dtype == np.float32
