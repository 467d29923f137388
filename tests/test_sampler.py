"""The sampler: exact where the velocity is known in closed form, and as cheap as it claims."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from tiny_worldgen import tiny
from torch import Tensor

from jwmtool.errors import UsageError
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.known import GROUPS, Known, channel_counts
from jwmtool.worldgen.sampler import Sampling, parse_guidance, sample, timesteps

SHAPE = (1, 2, 3, 4, 2, 2)  # B, V, T, C, h, w
STRIDE = 8


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def nothing(T: int = 3) -> Known:
    return Known(torch.arange(T)[None].double() / 10)


class Gaussian:
    """The velocity of data that are normal, N(mean, deviation^2), in closed form; remembers how it was called."""

    def __init__(self, mean: float = 0.7, deviation: float = 0.3) -> None:
        self.mean, self.deviation = mean, deviation
        self.calls: list[tuple[Tensor, Tensor, Conditions]] = []

    def __call__(self, latents: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
        self.calls.append((latents.clone(), times.clone(), conditions))
        t = times[:, None, :, None, None, None]
        variance = (1 - t) ** 2 * self.deviation**2 + t**2
        away = latents - (1 - t) * self.mean
        return (t - (1 - t) * self.deviation**2) / variance * away - self.mean

    def error(self, steps: int, shift: float = 1.0) -> float:
        """How far from the exact end of the path."""
        noise = random(*SHAPE).double().float()
        found = sample(self, nothing(), noise, STRIDE, Sampling(steps, shift))
        return float((found - (self.mean + self.deviation * noise)).abs().max())


def test_timesteps_fall_from_noise_to_data() -> None:
    assert timesteps(4, 1.0).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    shifted = timesteps(4, 3.0)
    assert shifted.tolist() == pytest.approx([1.0, 0.9, 0.75, 0.5, 0.0])
    assert (shifted.diff() < 0).all()


def test_temperature_scales_the_deviation_of_what_is_drawn() -> None:
    model, noise = Gaussian(), random(*SHAPE)
    for temperature in (0.0, 0.5):
        found = sample(model, nothing(), noise, STRIDE, Sampling(64, 1.0, temperature=temperature))
        assert torch.allclose(found, model.mean + temperature * model.deviation * noise, atol=2e-3)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_many_steps_are_of_second_order(shift: float) -> None:
    errors = [Gaussian().error(steps, shift) for steps in (16, 32, 64)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert min(orders) > 1.6, (errors, orders)
    assert errors[-1] < 0.01


def test_few_steps_are_euler_s_and_one_goes_to_the_mean() -> None:
    gaussian = Gaussian()
    noise = random(*SHAPE)
    assert torch.allclose(sample(gaussian, nothing(), noise, STRIDE, Sampling(1)), torch.full(SHAPE, 0.7), atol=1e-6)
    x = noise
    times = timesteps(4, 3.0).float()
    for a, b in pairwise(times):
        x = x + (b - a) * gaussian(x, torch.full((1, 3), float(a)), Conditions(torch.zeros(1, 3)))
    assert torch.allclose(sample(gaussian, nothing(), noise, STRIDE, Sampling(4)), x, atol=1e-6)


def test_clean_frames_stay_and_have_timestep_0() -> None:
    gaussian, clean, done = Gaussian(), random(1, 2, 2, 4, 2, 2, seed=1), []
    found = sample(gaussian, nothing(), random(*SHAPE), STRIDE, Sampling(6), clean, done.append)
    assert torch.equal(found[:, :, :2], clean)
    assert done == [1, 2, 3, 4, 5, 6]
    for (latents, times, _), t in zip(gaussian.calls, timesteps(6, 3.0), strict=False):
        assert torch.equal(latents[:, :, :2], clean)
        assert times.tolist() == [[0.0, 0.0, pytest.approx(float(t))]]
    with pytest.raises(ValueError, match="clean"):
        sample(gaussian, nothing(), random(*SHAPE), STRIDE, Sampling(6), random(*SHAPE))


def everything() -> Known:
    """All parts, for 4 channels at `STRIDE`."""
    counts = channel_counts(4, STRIDE)
    maps = {name: random(1, 2, 3, n, 2, 2, seed=n) for name, n in counts.items()}
    return Known(torch.arange(3)[None].double() / 10, tags=torch.tensor([[0, 1]]), ego=random(1, 3, 8, seed=9), **maps)


def test_guidance_of_1_costs_no_pass_and_changes_nothing() -> None:
    clean, noise = random(1, 2, 1, 4, 2, 2, seed=1), random(*SHAPE)
    plain, ones, two = Gaussian(), Gaussian(), Gaussian()
    expected = sample(plain, everything(), noise, STRIDE, Sampling(5), clean)
    same = sample(
        ones, everything(), noise, STRIDE, Sampling(5, guidance=dict.fromkeys((*GROUPS, "first"), 1.0)), clean
    )
    assert torch.equal(expected, same)
    assert len(plain.calls) == len(ones.calls) == 5
    sample(two, everything(), noise, STRIDE, Sampling(5, guidance={"text": 2.0, "first": 1.5}), clean)
    assert len(two.calls) == 15
    unknown = Gaussian()
    sample(unknown, nothing(), noise, STRIDE, Sampling(5, guidance={"text": 2.0, "first": 1.5}))
    assert len(unknown.calls) == 5  # what is not known cannot be left out


def test_guidance_leaves_out_each_part_by_itself() -> None:
    """Of a velocity that is the sum of what is told, guidance scales every part on its own."""

    def told(x: Tensor, times: Tensor, given: Conditions) -> Tensor:
        text = 0.0 if given.tags is None else 3.0
        ego = 0.0 if given.ego is None else 5.0
        first = 7.0 * float((times[:, 0] == 0).all())
        return torch.full_like(x, text + ego + first)

    clean, noise = random(1, 2, 1, 4, 2, 2, seed=1), torch.zeros(SHAPE)
    scales = {"text": 2.0, "ego": 0.5, "first": 4.0}
    found = sample(told, everything(), noise, STRIDE, Sampling(3, guidance=scales), clean)
    assert torch.allclose(found[:, :, 1:], torch.full((1, 2, 2, 4, 2, 2), -(2.0 * 3 + 0.5 * 5 + 4.0 * 7)))


def test_frames_that_are_left_out_enter_as_noise_of_the_moment() -> None:
    gaussian, clean, noise = Gaussian(), random(1, 2, 1, 4, 2, 2, seed=1), random(*SHAPE)
    sample(gaussian, nothing(), noise, STRIDE, Sampling(2, 1.0, {"first": 2.0}), clean)
    latents, times, _ = gaussian.calls[3]
    assert times.tolist() == [[0.5, 0.5, 0.5]]
    assert torch.allclose(latents[:, :, :1], 0.5 * clean + 0.5 * noise[:, :, :1])
    assert torch.equal(latents[:, :, 1:], gaussian.calls[2][0][:, :, 1:])


def test_a_network_gives_the_same_bits_again() -> None:
    model = tiny(in_channels=4, concat_channels=sum(channel_counts(4, STRIDE).values()), ego_dim=8, num_tags=22)
    sampling = Sampling(6, guidance={"text": 2.0, "prior": 1.5})
    once, again = (sample(model, everything(), random(*SHAPE), STRIDE, sampling) for _ in range(2))
    other = sample(model, everything(), random(*SHAPE, seed=1), STRIDE, sampling)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert once.dtype == torch.float32
    assert torch.isfinite(once).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"shift": 0.0}, "shift"),
        ({"temperature": 1.5}, "temperature"),
        ({"guidance": {"weather": 2.0}}, "weather"),
        ({"guidance": {"text": math.nan}}, "text"),
        ({"guidance": {"text": -1.0}}, "text"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sampling(**settings)  # type: ignore[arg-type]


def test_guidance_in_words() -> None:
    assert parse_guidance("2") == {"text": 2.0}
    assert parse_guidance("text=3, ego=2,prior=1.5,first=1") == {"text": 3.0, "ego": 2.0, "prior": 1.5, "first": 1.0}
    for wrong in ("", "much", "text=", "text=1,text=2", "2,3", "depth=2", "ego=inf"):
        with pytest.raises(UsageError, match="guidance"):
            parse_guidance(wrong)
