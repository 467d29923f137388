"""Wan's video autoencoder, from a user's folder in diffusers' format, behind the interface of our own.

It joins frames: the first stands alone in a latent, each later latent is four frames (Wan team, 2025). Decoding is
causal in time with a cache of features, so a video decodes piece by piece to the very frames that it gives at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jwmtool.errors import InputError, MissingPartError
from jwmtool.worldgen.latents import Prior, check_latents, check_video, num_latents

_CONFIG = "config.json"


def load_wan_autoencoder(path: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> WanAutoencoder:
    """The autoencoder in a folder of Wan 2.1 or 2.2 (with a `vae` folder in it), or in that `vae` folder itself.

    Raises:
        MissingPartError: diffusers is not installed.
        InputError: no such folder, or its weights are damaged or another model's.
    """
    try:
        from diffusers import AutoencoderKLWan
    except ImportError as error:
        raise MissingPartError(f"Wan's autoencoder needs diffusers: {error}; pip install 'jwmtool[wan]'") from None
    folder = path / "vae" if (path / "vae" / _CONFIG).is_file() else path
    if not (folder / _CONFIG).is_file():
        raise InputError(path, f"a folder of Wan in diffusers' format (with vae/{_CONFIG})", "none")
    try:
        network = AutoencoderKLWan.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(folder, "the weights of Wan's autoencoder", str(error) or type(error).__name__) from None
    return WanAutoencoder(network.to(device).eval())


class WanAutoencoder:
    """See `jwmtool.worldgen.latents.VideoAutoencoder`. It takes no prior.

    Args:
        network: diffusers' AutoencoderKLWan, whose config tells how its latents are normalized.
    """

    takes_prior = False

    def __init__(self, network: Any) -> None:
        self._network = network
        config = network.config
        self.channels: int = config.z_dim
        # Configs saved before Wan 2.2 say neither.
        self.stride: int = getattr(config, "scale_factor_spatial", None) or 8
        self.frames_per_latent: int = getattr(config, "scale_factor_temporal", None) or 4
        self._mean, self._deviation = _column(config.latents_mean), _column(config.latents_std)

    def encode(self, video: Tensor) -> Tensor:
        """[B, T, 3, H, W] in [0, 1] to normalized latents [B, 1 + (T - 1) / 4, C, h, w]; the mean of what it tells.

        Raises:
            ValueError: sides that do not divide by 16 px, or T other than 1, 5, 9 ...
        """
        check_video(video, max(16, self.stride))
        num_latents(video.shape[1], self.frames_per_latent)
        told = self._network.encode(2.0 * video.transpose(1, 2).to(self._dtype) - 1.0).latent_dist.mode().float()
        return ((told - self._mean.to(told)) / self._deviation.to(told)).transpose(1, 2)

    def decode(self, latents: Tensor, prior: Prior | None = None) -> Tensor:
        """Normalized latents [B, T', C, h, w] to [B, 1 + 4 (T' - 1), 3, H, W] in [0, 1].

        Raises:
            ValueError: latents of other channels, or a prior.
        """
        raw = self.denormalized(latents, prior)
        return _pictures(self._network.decode(raw).sample)

    def stream(self) -> WanStream:
        """Decode a video piece by piece."""
        return WanStream(self, self._network)

    def denormalized(self, latents: Tensor, prior: Prior | None) -> Tensor:
        """Latents as the network knows them, [B, C, T', h, w]; errors as `decode`."""
        if prior is not None:
            raise ValueError("decode: expected no prior (Wan's autoencoder takes none), found one")
        check_latents(latents, self.channels)
        latents = latents.transpose(1, 2).float()
        return (latents * self._deviation.to(latents) + self._mean.to(latents)).to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self._network.dtype
        return dtype


class WanStream:
    """See `jwmtool.worldgen.latents.FrameStream`: the features that diffusers' `decode` keeps from latent to latent,
    kept from push to push. Several streams may run side by side."""

    def __init__(self, autoencoder: WanAutoencoder, network: Any) -> None:
        self._autoencoder, self._network = autoencoder, network
        self._features: list[Any] | None = None

    def push(self, latents: Tensor, prior: Prior | None = None) -> Tensor:
        """The first latent gives one frame, each other one four; errors as `WanAutoencoder.decode`."""
        network = self._network
        x = network.post_quant_conv(self._autoencoder.denormalized(latents, prior))
        frames = []
        for t in range(x.shape[2]):
            first = self._features is None
            if self._features is None:
                network.clear_cache()  # makes an empty list of the right length, which is ours from now on
                self._features = list(network._feat_map)
            cache = {"feat_cache": self._features, "feat_idx": [0]}
            frames.append(network.decoder(x[:, :, t : t + 1], first_chunk=first, **cache))
        made = torch.cat(frames, 2)
        if getattr(network.config, "patch_size", None) is not None:
            made = _unfolded(made, network.config.patch_size)
        return _pictures(made.clamp(-1.0, 1.0))


def _column(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1, 1)


def _pictures(made: Tensor) -> Tensor:
    """[B, 3, T, H, W] in [-1, 1] to [B, T, 3, H, W] in [0, 1]."""
    return (0.5 * made.float() + 0.5).clamp(0.0, 1.0).transpose(1, 2)


def _unfolded(x: Tensor, patch: int) -> Tensor:
    """[B, C * patch * patch, T, h, w] to [B, C, T, h * patch, w * patch]; Wan 2.2 folds columns outside rows."""
    B, C, T, h, w = x.shape
    x = x.reshape(B, C // patch**2, patch, patch, T, h, w)  # color, column, row
    return x.permute(0, 1, 4, 5, 3, 6, 2).reshape(B, C // patch**2, T, h * patch, w * patch)
