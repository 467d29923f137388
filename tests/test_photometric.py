"""The loss kernel against autograd over the plain formula; the sky's cubemap."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jwmtool.gaussians.sky import sample_sky
from jwmtool.geometry import se3
from jwmtool.imaging.photometric import photometric_loss
from jwmtool.imaging.similarity import ssim_map


@pytest.mark.parametrize("size", [(128, 416), (7, 20), (33, 9), (11, 11), (1, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_kernel_equals_the_formula(size: tuple[int, int], masked: bool) -> None:
    generator = torch.Generator().manual_seed(size[0])
    image = torch.rand(*size, 3, generator=generator).requires_grad_()
    reference = torch.rand(*size, 3, generator=generator)
    mask = torch.rand(*size, generator=generator) > 0.3 if masked else torch.ones(size, dtype=torch.bool)
    mask[0, 0] = True
    loss = photometric_loss(image, reference, mask if masked else None, 0.2)
    (3.0 * loss).backward()

    exact = image.detach().double().requires_grad_()
    target = torch.where(mask[..., None], reference.double(), exact.detach())
    plain = 0.8 * (exact - target).abs().mean(-1) + 0.2 * (1 - ssim_map(exact, target).mean(0))
    expected = plain[mask].mean()
    (3.0 * expected).backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    assert image.grad is not None and exact.grad is not None
    assert float((image.grad - exact.grad).norm()) <= 1e-4 * float(exact.grad.norm())


def test_what_is_masked_has_no_say() -> None:
    image, mask = torch.rand(40, 50, 3), torch.ones(40, 50, dtype=torch.bool)
    mask[25:] = False
    black, white = torch.rand(40, 50, 3), torch.rand(40, 50, 3)
    white[:25] = black[:25]
    assert photometric_loss(image, black, mask) == photometric_loss(image, white, mask)


def test_each_face_of_the_sky_is_where_it_should_be() -> None:
    cubemap = torch.arange(6.0)[:, None, None, None].expand(6, 4, 4, 3)
    axes = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    assert torch.allclose(sample_sky(cubemap, 5.0 * axes)[:, 0], torch.arange(6.0), atol=1e-5)
    near_axes = axes + 0.3 * torch.rand(6, 3)
    assert torch.allclose(sample_sky(cubemap, near_axes)[:, 0], torch.arange(6.0), atol=1e-5)


def test_the_sky_turns_with_the_direction_within_a_face() -> None:
    cubemap = torch.zeros(6, 8, 8, 3)
    cubemap[0, :, 4:, 0] = 1.0  # on +x, columns follow y
    left, right = (torch.tensor([1.0, y, 0.0]) for y in (0.6, -0.6))
    assert sample_sky(cubemap, left)[0] == 1.0 and sample_sky(cubemap, right)[0] == 0.0


def test_the_sky_can_be_fitted() -> None:
    """Gradients reach every texel that a ring of cameras sees."""
    sky = torch.full((6, 6, 6, 3), 0.5, requires_grad=True)
    for yaw in np.linspace(0, 2 * np.pi, 12):
        directions = torch.from_numpy(np.random.default_rng(0).normal(size=(500, 3)) @ se3.rotation_z(yaw)[:3, :3].T)
        sample_sky(sky, directions.float()).sum().backward()
    assert sky.grad is not None and (sky.grad > 0).all()
