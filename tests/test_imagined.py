"""The first picture of a video of which nothing is known but words."""

from __future__ import annotations

from dataclasses import replace

import torch
from small_worldgen import CONFIG, coder
from torch import Tensor

from jwmtool.joint.drive import DriveRequest, resolve_drive
from jwmtool.joint.imagined import imagined, imagines
from jwmtool.worldgen.sampler import Sampling
from jwmtool.worldgen.transformer import build_model


def test_it_shows_what_the_words_tell() -> None:
    """An untrained network knows what tags do to frames, if that was measured."""
    autoencoder = coder()
    config = replace(CONFIG, start_stride=autoencoder.stride, start_patterns=2)
    network = build_model(config).eval()
    assert imagines(network) and not imagines(build_model(CONFIG))
    patterns = network.start.patterns
    assert patterns is not None
    draw = torch.Generator().manual_seed(0)
    told = {name: torch.randn(value.shape, generator=draw) for name, value in patterns.named_buffers()}
    for name in ("spread", "untold", "rest"):
        told[name] = torch.full_like(told[name], 0.01)
    patterns.measured(**told)

    def picture(weather: str, seed: int, temperature: float = 1.0) -> Tensor:
        drive = resolve_drive(DriveRequest(5, size=(64, 32), tags={"weather": weather}))
        return imagined(drive, network, autoencoder, seed, Sampling(temperature=temperature), "cpu")

    snow, again, other, rain = picture("snow", 1), picture("snow", 1), picture("snow", 2), picture("rain", 1)
    assert snow.shape == (1, 1, 3, 32, 64) and torch.equal(snow, again)
    assert 0.0 < float((snow - other).abs().mean()) < 0.3 * float((snow - rain).abs().mean())
    calm, alike = picture("snow", 1, 0.0), picture("snow", 2, 0.0)
    assert torch.equal(calm, alike), "without chance seeds are alike"
