"""The image autoencoder: shapes, streams, normalization, priors, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from jwmtool.artifacts.weights import half, write_weights
from jwmtool.errors import InputError, UsageError
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_checkpoint import load_autoencoder
from jwmtool.worldgen.autoencoder_config import CONFIGS, AutoencoderConfig
from jwmtool.worldgen.autoencoder_start import start_linear
from jwmtool.worldgen.latents import Prior, VideoAutoencoder, num_frames, num_latents

SMALL = AutoencoderConfig(16, 6, (8, 8, 16), (1, 1, 1), (16, 16, 16), (1, 1, 1))
FINE = AutoencoderConfig(8, 3, (8, 16), (1, 1), (8, 16), (1, 0), prior_skip=False)


def made(config: AutoencoderConfig = SMALL, seed: int = 0) -> Autoencoder:
    """A network whose layers that begin as zero do something."""
    torch.manual_seed(seed)
    model = Autoencoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0.0, 0.05)
    return model.eval()


def video(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def prior_of(frames: Tensor, covered: float = 1.0) -> Prior:
    B, T, _, H, W = frames.shape
    return Prior(frames, torch.full((B, T, 1, H, W), covered))


# shapes


@pytest.mark.parametrize("config", [SMALL, FINE])
def test_any_size_of_whole_tokens_goes_both_ways(config: AutoencoderConfig) -> None:
    model: VideoAutoencoder = made(config)
    for height, width in ((16, 16), (48, 32), (32, 80)):
        latents = model.encode(video(2, 3, 3, height, width))
        assert latents.shape == (2, 3, config.channels, height // config.stride, width // config.stride)
        frames = model.decode(latents)
        assert frames.shape == (2, 3, 3, height, width)
        assert frames.min() >= 0.0 and frames.max() <= 1.0
    assert (model.stride, model.channels, model.frames_per_latent) == (config.stride, config.channels, 1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 3, 24, 32), "multiples of 16 px, found 32x24"),
        ((1, 1, 3, 32, 0), "multiples of 16 px, found 0x32"),
        ((1, 3, 32, 32), r"expected video \[B, T, 3, H, W\]"),
        ((1, 1, 4, 32, 32), r"found \[1, 1, 4, 32, 32\]"),
    ],
)
def test_other_sizes_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().encode(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"expected latents \[B, T, 6, h, w\], found"):
        made().decode(torch.zeros(1, 1, 5, 2, 2))


def test_counts_of_frames_and_latents() -> None:
    assert [num_latents(n, 4) for n in (1, 5, 21)] == [1, 2, 6] and [num_latents(n, 1) for n in (1, 7)] == [1, 7]
    assert all(num_latents(num_frames(n, k), k) == n for n in (1, 2, 9) for k in (1, 4))
    with pytest.raises(ValueError, match="1 frame and then a multiple of 4, found 4"):
        num_latents(4, 4)
    with pytest.raises(ValueError, match="at least 1 frame, found 0"):
        num_latents(0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 32}, "stride 8 or 16, found 32"),
        ({"channels": 0}, "channels of a latent, found 0"),
        ({"widths": (8, 16)}, r"3 widths of at least 1 for stride 16, found \[8, 16\]"),
        ({"blocks": (1, -1, 1)}, "3 blocks of at least 0"),
        ({"stride": 8}, "2 widths"),
    ],
)
def test_shapes_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SMALL, **change)


def test_the_config_goes_through_json() -> None:
    for config in (*CONFIGS.values(), FINE):
        assert AutoencoderConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match=r"here: expected keys from .*, found 'planes'"):
        AutoencoderConfig.from_dict({"planes": 3}, "here")


@pytest.mark.parametrize("name", ["mini", "mini8"])
def test_the_small_ones_stay_small(name: str) -> None:
    config = CONFIGS[name]
    with torch.device("meta"):
        model = Autoencoder(config).eval()
        latents = torch.zeros(1, 1, config.channels, 128 // config.stride, 224 // config.stride)
        prior = prior_of(torch.zeros(1, 1, 3, 128, 224))
    assert 2 * sum(p.numel() for p in model.parameters()) <= 6e6, "bytes in float16"
    with FlopCounterMode(display=False) as counted:
        model.decode(latents, prior)
    assert counted.get_total_flops() <= 2.5e9
    assert config.channels * (16 // config.stride) ** 2 == 64  # numbers a token


# streams and normalization


def test_frames_depend_on_nothing_but_their_latents() -> None:
    model = made()
    with torch.no_grad():
        latents = model.encode(video(2, 11, 3, 32, 48))
        frames, prior = model.decode(latents), prior_of(video(2, 11, 3, 32, 48, seed=2))
        assert torch.allclose(model.decode(latents[:, 4:6]), frames[:, 4:6], atol=1e-5)
        stream, pieces = model.stream(), (slice(0, 1), slice(1, 5), slice(5, 11))
        parts = [stream.push(latents[:, p]) for p in pieces]
        assert torch.allclose(torch.cat(parts, 1), frames, atol=1e-5)
        with_prior = [stream.push(latents[:, p], Prior(prior.color[:, p], prior.coverage[:, p])) for p in pieces]
        assert torch.allclose(torch.cat(with_prior, 1), model.decode(latents, prior), atol=1e-5)


def test_latents_come_normalized_and_go_back() -> None:
    model = made()
    with torch.no_grad():
        raw = model.encoder(video(64, 3, 32, 32))
        model.train()
        for part in video(64, 3, 32, 32).split(16):
            model(part)
        model.eval()
        latents = model.encode(video(1, 64, 3, 32, 32))[0]
        assert int(model.updates) == 4
        mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        assert mean.abs().max() < 0.02 and (deviation - 1.0).abs().max() < 0.02
        assert (raw.std((0, 2, 3)) - 1.0).abs().min() > 0.05, "they would be normal anyway"
        expected = model.decoder(raw[:2]).clamp(0.0, 1.0)
        assert torch.allclose(model.decode(latents[None, :2])[0], expected, atol=1e-4)


def test_averages_forget_slowly_and_leave_out_what_is_not_finite() -> None:
    model = made().train()
    with torch.no_grad():
        for _ in range(200):
            model(video(2, 3, 16, 16))
        before = model.latent_mean.clone()
        model(torch.full((2, 3, 16, 16), float("nan")))
        assert torch.equal(model.latent_mean, before) and int(model.updates) == 200
        model(torch.zeros(2, 3, 16, 16))
        other = model.encoder(torch.zeros(2, 3, 16, 16)).mean((0, 2, 3))
        assert torch.allclose(model.latent_mean, 0.99 * before + 0.01 * other, atol=1e-5)
        model.eval()
        model(torch.ones(2, 3, 16, 16))
        assert int(model.updates) == 201


# first weights


def smooth(side: int, seed: int = 0) -> Tensor:
    """[4, 3, side, side], nothing finer than 16 px, and of weak colors, as most of a street is."""
    cells = side // 16 + 1
    coarse = 0.8 * video(4, 1, cells, cells, seed=seed) + 0.2 * video(4, 3, cells, cells, seed=seed + 1)
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True).clamp(0.0, 1.0)


@pytest.mark.parametrize(("stride", "channels"), [(16, 64), (8, 16)])
def test_it_begins_as_a_linear_code_that_keeps_what_is_smooth(stride: int, channels: int) -> None:
    torch.manual_seed(0)
    widths, blocks = ((48, 64, 96), (1, 1, 1)) if stride == 16 else ((48, 64), (1, 1))
    model = Autoencoder(AutoencoderConfig(stride, channels, widths, blocks, widths, blocks)).eval()
    pictures, noise = smooth(64), video(4, 3, 64, 64)
    with torch.no_grad():
        random = model(pictures).images
        start_linear(model)
        made, latents = model(pictures)
        assert (made - pictures).square().mean() < 5e-4 < 1e-2 < (random - pictures).square().mean()
        assert 0.2 < latents.std() < 2.0
        once = model(noise).images
        assert (once - noise).square().mean() > 0.02, "so few numbers cannot hold noise"
        assert torch.allclose(model(once).images, once, atol=1e-4), "what the code can hold it keeps"
        middle = model((noise + pictures) / 2).images
        assert torch.allclose(middle, (once + made) / 2, atol=1e-4), "it is linear"
        assert torch.equal(model(pictures, noise, torch.ones(4, 1, 64, 64)).images, made), "priors do nothing yet"


def test_any_widths_can_begin_linear() -> None:
    for config in (SMALL, FINE, replace(SMALL, widths=(60, 8, 200), decoder_widths=(8, 300, 10), channels=250)):
        torch.manual_seed(0)
        model = Autoencoder(config).eval()
        start_linear(model)
        with torch.no_grad():
            flat = torch.full((1, 3, 32, 32), 0.7)
            assert (model(flat).images - flat)[..., 8:-8, 8:-8].abs().mean() < 0.02


# priors


def test_a_prior_changes_nothing_at_first_and_then_what_it_covers() -> None:
    torch.manual_seed(0)
    frames, color = video(1, 2, 3, 32, 48), video(1, 2, 3, 32, 48, seed=5)
    model = Autoencoder(SMALL).eval()
    with torch.no_grad():
        latents = model.encode(frames)
        assert torch.equal(model.decode(latents, prior_of(color)), model.decode(latents))
    model.decode(latents, prior_of(color)).square().sum().backward()
    for layer in (model.decoder.prior, model.decoder.blend):
        assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0.0
    trained = made()
    with torch.no_grad():
        latents = trained.encode(frames)
        bare = trained.decode(latents)
        assert not torch.allclose(trained.decode(latents, prior_of(color)), bare, atol=1e-3)
        assert torch.equal(trained.decode(latents, prior_of(color, covered=0.0)), bare), "what is under a hole counts"


def test_a_decoder_can_take_the_very_pixels_of_a_prior() -> None:
    model = made()
    with torch.no_grad():
        model.decoder.blend.weight.zero_()
        model.decoder.blend.bias.fill_(1.0)
        color = video(1, 1, 3, 32, 32, seed=5)
        prior = Prior(color, torch.ones(1, 1, 1, 32, 32))
        prior.coverage[..., 16:] = 0.0
        frames = model.decode(torch.zeros(1, 1, 6, 2, 2), prior)
        assert torch.allclose(frames[..., :16], color[..., :16], atol=1e-5)
        assert not torch.allclose(frames[..., 16:], color[..., 16:], atol=0.1)


def test_priors_that_do_not_fit_are_refused() -> None:
    latents = torch.zeros(1, 2, 6, 2, 2)
    with pytest.raises(ValueError, match=r"expected a prior \[1, 2, 3, 32, 32\], found \[1, 1, 3, 32, 32\]"):
        made().decode(latents, prior_of(torch.zeros(1, 1, 3, 32, 32)))
    with pytest.raises(ValueError, match="expected no prior"):
        made(FINE).decode(torch.zeros(1, 1, 3, 4, 4), prior_of(torch.zeros(1, 1, 3, 32, 32)))
    with pytest.raises(ValueError, match=r"coverage \[B, T, 1, H, W\]"):
        Prior(torch.zeros(1, 2, 3, 8, 8), torch.zeros(1, 2, 3, 8, 8))


# files


def test_it_is_stored_in_half_precision_and_opened_again(tmp_path: Path) -> None:
    model = made().train()
    with torch.no_grad():
        model(video(8, 3, 32, 32))
    model.eval()
    path = tmp_path / "model.safetensors"
    write_weights(path, half(model.state_dict()), {"task": "autoencoder", "config": SMALL.to_dict()})
    again = load_autoencoder(tmp_path)
    assert again.config == SMALL and not again.training and next(again.parameters()).dtype == torch.float32
    with torch.no_grad():
        frames = video(1, 2, 3, 32, 32)
        assert torch.allclose(again.encode(frames), model.encode(frames), atol=2e-2)
        assert torch.allclose(again.decode(again.encode(frames)), model.decode(model.encode(frames)), atol=5e-3)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"task": "worldrec", "config": {"planes": 4}},
            "expected weights of an autoencoder .*, found weights of world",
        ),
        ({"config": SMALL.to_dict()}, "no such config"),
        ({"task": "autoencoder"}, "no such config"),
        ({"task": "autoencoder", "config": {"planes": 4}}, "expected keys from"),
        ({"task": "autoencoder", "config": SMALL.to_dict()}, "expected weights of this model, found missing keys"),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    path = tmp_path / "x.safetensors"
    write_weights(path, {"x": torch.zeros(1)}, metadata)
    with pytest.raises(InputError, match=message) as caught:
        load_autoencoder(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(InputError, match="expected weights"):
        load_autoencoder(tmp_path / "nowhere")
