"""Wan's autoencoder behind the interface of our own: with a stand-in, and with diffusers' own class where it is."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jwmtool.errors import InputError, MissingPartError
from jwmtool.worldgen.latents import Prior, VideoAutoencoder
from jwmtool.worldgen.wan_autoencoder import WanAutoencoder, load_wan_autoencoder


def video(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


class StandInWan(nn.Module):
    """Has of diffusers' AutoencoderKLWan what the adapter uses: 8 x 8 px means, four frames joined, causal decoding."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(z_dim=3, latents_mean=[0.5, -1.0, 2.0], latents_std=[2.0, 0.5, 4.0])
        self.dtype = torch.float32
        self.post_quant_conv = nn.Identity()

    def encode(self, x: Tensor) -> Any:  # [B, 3, T, H, W]
        small = nn.functional.avg_pool3d(x, (1, 8, 8))
        joined = [small[:, :, :1]] + [small[:, :, i : i + 4].mean(2, keepdim=True) for i in range(1, x.shape[2], 4)]
        mode = torch.cat(joined, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: mode))

    def clear_cache(self) -> None:
        self._feat_map: list[Any] = [None]

    def decoder(self, x: Tensor, feat_cache: list[Any], feat_idx: list[int], first_chunk: bool = False) -> Tensor:
        assert feat_idx == [0] and first_chunk == (feat_cache[0] is None)
        before = feat_cache[0] if feat_cache[0] is not None else x
        feat_cache[0] = x
        mixed = 0.7 * x + 0.3 * before
        large = mixed.repeat_interleave(8, 3).repeat_interleave(8, 4)
        return large if first_chunk else large.repeat_interleave(4, 2)

    def decode(self, z: Tensor) -> Any:
        cache: list[Any] = [None]
        frames = [self.decoder(z[:, :, t : t + 1], cache, [0], first_chunk=t == 0) for t in range(z.shape[2])]
        return SimpleNamespace(sample=torch.cat(frames, 2).clamp(-1.0, 1.0))


def check_interface(autoencoder: VideoAutoencoder, channels: int, stride: int) -> None:
    assert (autoencoder.channels, autoencoder.stride, autoencoder.frames_per_latent) == (channels, stride, 4)
    frames = video(2, 13, 3, 32, 48)
    with torch.no_grad():
        latents = autoencoder.encode(frames)
        assert latents.shape == (2, 4, channels, 32 // stride, 48 // stride)
        decoded = autoencoder.decode(latents)
        assert decoded.shape == frames.shape and decoded.min() >= 0.0 and decoded.max() <= 1.0
        first, second = autoencoder.stream(), autoencoder.stream()
        parts = []
        for piece in (slice(0, 1), slice(1, 3), slice(3, 4)):  # two streams by turns do not disturb each other
            parts.append(first.push(latents[:, piece]))
            second.push(latents.flip(1)[:, piece])
        assert [part.shape[1] for part in parts] == [1, 8, 4]
        assert torch.allclose(torch.cat(parts, 1), decoded, atol=1e-5)
    with pytest.raises(ValueError, match="multiple of 4, found 4"):
        autoencoder.encode(frames[:, :4])
    with pytest.raises(ValueError, match="multiples of 16 px"):
        autoencoder.encode(frames[..., :40])
    with pytest.raises(ValueError, match="takes none"):
        autoencoder.decode(latents, Prior(frames, frames[:, :, :1]))
    assert not autoencoder.takes_prior


def test_wans_face_with_a_stand_in() -> None:
    autoencoder = WanAutoencoder(StandInWan())
    check_interface(autoencoder, 3, 8)
    gray = torch.full((1, 1, 3, 16, 16), 0.75)  # 0.5 in [-1, 1]
    expected = torch.tensor([(0.5 - 0.5) / 2.0, (0.5 + 1.0) / 0.5, (0.5 - 2.0) / 4.0])
    assert torch.allclose(autoencoder.encode(gray)[0, 0, :, 0, 0], expected)
    assert torch.allclose(autoencoder.decode(autoencoder.encode(gray)), gray, atol=1e-6)


def test_without_diffusers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingPartError, match=r"jwmtool\[wan\]"):
        load_wan_autoencoder(tmp_path)


TINY_WAN = {
    "2.1": {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    "2.2": {
        "base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, "is_residual": True, "patch_size": 2,
        "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16,
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_diffusers_own_class_streams_what_it_decodes(version: str, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    statistics = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.0, 2.0, 0.5, 1.5]}
    network = diffusers.AutoencoderKLWan(**TINY_WAN[version], **statistics)
    network.save_pretrained(tmp_path / "vae")
    autoencoder = load_wan_autoencoder(tmp_path)
    check_interface(autoencoder, 4, 8 if version == "2.1" else 16)
    with torch.no_grad():
        x = video(1, 5, 3, 32, 32)
        told = network.eval().encode(2.0 * x.transpose(1, 2) - 1.0).latent_dist.mode().transpose(1, 2)
        latents = autoencoder.encode(x)
        assert torch.allclose(latents[:, :, 1] * 2.0 - 0.2, told[:, :, 1], atol=1e-5)
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="weights of Wan's autoencoder"):
        load_wan_autoencoder(tmp_path)
    with pytest.raises(InputError, match="a folder of Wan"):
        load_wan_autoencoder(tmp_path / "nowhere")
