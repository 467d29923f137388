"""Score the video transformer on fixed sequences of clips kept away from training, with fixed noise."""

# B samples, V views, T frames, C channels, h x w latent cells.
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jwmtool.imaging.sheet import contact_sheet
from jwmtool.training.worldgen.loss import velocity_errors
from jwmtool.training.worldgen.samples import fits_carried, known_of, stacked, told
from jwmtool.training.worldgen.store import Cut, Stored
from jwmtool.worldgen.autoencoder import Autoencoder

TIMESTEPS = (0.15, 0.4, 0.65, 0.9)
_SEQUENCES, _FRAMES, _AT_ONCE = 16, 8, 8
_SHOWN, _SHOWN_FRAMES, _STEPS = 4, 4, 4  # of the sheet
_GRAY = 0.25  # what stands for no prior

Sample = dict[str, Tensor]


@dataclass(frozen=True)
class HeldOut:
    """Sequences of one camera whose first frame is known, every second one with a scene as prior; without layout.

    Attributes:
        samples: as `samples.told`, with `noise` and `noisy`; names: of clip and camera.
        stride: px a latent cell is wide.
    """

    samples: list[Sample]
    names: list[str]
    stride: int

    @classmethod
    def of(cls, clips: Sequence[Stored], stride: int, carry: bool) -> HeldOut:
        """Evenly from all clips; always the same. `carry`: those without a scene have their first frame carried."""
        samples: list[Sample] = []
        names: list[str] = []
        each = -(-_SEQUENCES // len(clips))
        for number, stored in enumerate(clips):
            frames = min(_FRAMES, stored.num_frames)
            spare = stored.num_frames - frames
            for k in range(min(each, len(stored.cameras) * (spare + 1))):
                view = k % len(stored.cameras)
                cut = Cut(view, 1, round(spare * k / max(1, each - 1)), frames)
                # Priors that a scene gave come first; the frames it was made of are its first ones.
                numbers = stored.scenes[: max(1, len(stored.scenes) - 1)] if len(samples) % 2 else []
                carried = [n for n in stored.carried if fits_carried(stored, n, cut, 1)] if carry else []
                prior = numbers[len(samples) // 2 % len(numbers)] if numbers else next(iter(carried), None)
                sample = told(stored, cut, prior, before=False)
                sample["layout"] = torch.zeros_like(sample["layout"])
                noise = np.random.default_rng((number, k)).standard_normal(sample["latents"].shape, np.float32)
                samples.append({**sample, "noise": torch.from_numpy(noise), "noisy": _all_but_first(frames)})
                names.append(f"{stored.name} {stored.cameras[view]}")
        return cls(samples, names, stride)

    def scores(self, model: nn.Module) -> dict[str, float]:
        """`loss` of all, `loss_prior` and `loss_free` of those with a scene and without."""
        device = next(model.parameters()).device
        errors: dict[bool, list[float]] = {True: [], False: []}
        for rows in self._batches():
            batch = {name: tensor.to(device) for name, tensor in stacked([self.samples[k] for k in rows]).items()}
            for t in TIMESTEPS:
                timesteps = t * batch["noisy"].float()
                found = velocity_errors(model, {**batch, "timesteps": timesteps}, self.stride).tolist()
                for error, prior in zip(found, batch["has_prior"].tolist(), strict=True):
                    errors[prior].append(error)
        scores = {"loss": float(np.mean(errors[True] + errors[False]))}
        named = {"loss_prior": errors[True], "loss_free": errors[False]}
        return scores | {name: float(np.mean(values)) for name, values in named.items() if values}

    def sheet(self, model: nn.Module, autoencoder: Autoencoder) -> NDArray[np.uint8] | None:
        """Rows of frames: true, the prior (gray: none), and generated from the first frame."""
        from jwmtool.worldgen.sampler import CALM, Sampling, sample

        device = next(model.parameters()).device
        pictures: list[NDArray[np.uint8]] = []
        labels: list[str] = []
        shown = _evenly(len(self.samples), _SHOWN)
        for rows in self._batches(shown):
            batch = {name: tensor.to(device) for name, tensor in stacked([self.samples[k] for k in rows]).items()}
            clean = batch["latents"][:, :, :1] if batch["latents"].shape[2] > 1 else None
            made = sample(
                model, known_of(batch), batch["noise"], self.stride, Sampling(_STEPS, temperature=CALM), clean
            )
            frames = [round(k) for k in np.linspace(0, made.shape[2] - 1, _SHOWN_FRAMES)]  # of a short one some twice
            videos = [v[:, 0, frames].cpu() for v in (batch["latents"], batch["prior"], made)]
            true, prior, new = (_decoded(autoencoder, video) for video in videos)
            for k, row in enumerate(rows):
                has = bool((batch["prior"][k] != 0).any())
                pictures += [*true[k], *(prior[k] if has else np.full_like(prior[k], round(255 * _GRAY))), *new[k]]
                heads = (self.names[row], "its prior" if has else "without a prior", f"made in {_STEPS} steps")
                labels += [text for head in heads for text in (head, *[""] * (len(frames) - 1))]
        return contact_sheet(pictures, labels, columns=_SHOWN_FRAMES) if pictures else None

    def _batches(self, which: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Numbers of samples of one size."""
        groups: dict[torch.Size, list[int]] = {}
        for k in range(len(self.samples)) if which is None else which:
            groups.setdefault(self.samples[k]["latents"].shape, []).append(k)
        for rows in groups.values():
            for begin in range(0, len(rows), _AT_ONCE):
                yield rows[begin : begin + _AT_ONCE]


def _all_but_first(frames: int) -> Tensor:
    """[T] bool; a lone frame is not known."""
    return torch.arange(frames) >= min(1, frames - 1)


def _evenly(count: int, most: int) -> list[int]:
    """Numbers below `count`, the first and the last among them."""
    return list(range(count)) if count <= most else [round(k) for k in np.linspace(0, count - 1, most)]


def _decoded(autoencoder: Autoencoder, latents: Tensor) -> NDArray[np.uint8]:
    """[B, T, C, h, w] to [B, T, H, W, 3]."""
    device = next(autoencoder.parameters()).device
    video = autoencoder.decode(latents.to(device)).cpu().permute(0, 1, 3, 4, 2)
    return (video.numpy() * 255.0 + 0.5).astype(np.uint8)
