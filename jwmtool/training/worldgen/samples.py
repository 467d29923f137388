"""What one training sample shows and what is known of it, decided by random numbers alone."""

# V views, T frames, C channels, h x w latent cells.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jwmtool.training.autoencoder.pictures import Shape
from jwmtool.training.worldgen.recipe import Recipe
from jwmtool.training.worldgen.store import Cut, Stored, read_cut
from jwmtool.worldgen.ego_motion import ego_motion
from jwmtool.worldgen.known import LAYOUT_MAPS, Known
from jwmtool.worldgen.tags import TAGS, tag_numbers

_BEFORE = 0.5  # share of samples that are told how the ego came to the first frame, where it is known


@dataclass(frozen=True)
class Spec:
    """What all samples of a step have in common: (width, height) px, views V, frames T."""

    shape: Shape
    views: int
    frames: int

    def suits(self, stored: Stored) -> bool:
        """Whether a clip has such samples."""
        return (
            stored.shape == self.shape
            and len(stored.cameras) >= self.views
            and stored.num_frames >= self.frames
        )  # fmt: skip


def drawn_spec(stored: Stored, recipe: Recipe, rng: np.random.Generator) -> Spec:
    """What samples of a clip may have in common."""
    several = len(stored.cameras) > 1 and rng.random() < recipe.views
    views = min(len(stored.cameras), recipe.most_views) if several else 1
    fits = [pair for pair in recipe.frames if pair[0] <= stored.num_frames and pair[0] * views <= recipe.most_pictures]
    choices = fits or [min(recipe.frames)]
    shares = np.array([share for _, share in choices])
    frames = choices[int(rng.choice(len(choices), p=shares / shares.sum()))][0]
    return Spec(stored.shape, views, min(frames, stored.num_frames))


def drawn_sample(stored: Stored, spec: Spec, recipe: Recipe, rng: np.random.Generator) -> dict[str, Tensor]:
    """A sample.

    Returns:
        latents, noise: [V, T, C, h, w]; timesteps: [T]; noisy: [T] bool, the frames that the loss counts;
        what `known_of` takes: zeros, and -1 of tags, where it is not known; has_prior: bool, that of a scene.
    """
    known = _num_known(spec.frames, recipe, rng)
    prior = None
    if rng.random() >= recipe.no_prior and stored.scenes:
        prior = stored.scenes[int(rng.integers(len(stored.scenes)))]
    elif known and rng.random() >= recipe.no_carried and stored.carried:
        prior = stored.carried[int(rng.integers(len(stored.carried)))]
    strides = [s for s in recipe.strides if (spec.frames - 1) * s < stored.num_frames]
    view = int(rng.integers(len(stored.cameras) - spec.views + 1))
    cuts = [Cut(view, spec.views, first, spec.frames, s) for s in strides
            for first in range(stored.num_frames - (spec.frames - 1) * s)]  # fmt: skip
    if prior in stored.carried:
        fitting = [cut for cut in cuts if fits_carried(stored, prior, cut, known)]
        prior = prior if fitting else None
        cuts = fitting or cuts
    stride = int(rng.choice(sorted({cut.stride for cut in cuts})))
    cuts = [cut for cut in cuts if cut.stride == stride]
    cut = cuts[int(rng.integers(len(cuts)))]
    sample = told(stored, cut, prior, before=bool(rng.random() < _BEFORE))
    sample["noise"] = torch.from_numpy(rng.standard_normal(tuple(sample["latents"].shape), np.float32))
    sample["noisy"] = torch.arange(spec.frames) >= known
    timesteps = torch.full((spec.frames,), _timestep(recipe, rng))
    timesteps[:known] = recipe.context_noise * rng.random() if rng.random() < recipe.noisy_context else 0.0
    sample["timesteps"] = timesteps
    for part, share in (("ego", recipe.no_ego), ("rays", recipe.no_rays), ("layout", recipe.no_layout)):
        if rng.random() < share:
            sample[part] = torch.zeros_like(sample[part])
    gone = rng.random(len(TAGS)) < (1.0 if rng.random() < recipe.no_text else recipe.no_tag)
    sample["tags"] = torch.where(torch.from_numpy(gone), -1, sample["tags"])
    if prior in stored.scenes:
        left = _left_of_prior(spec.frames, sample["latents"].shape[-2:], recipe, rng)
        for part in ("prior", "coverage"):
            sample[part] = sample[part] * left
    return sample


def told(stored: Stored, cut: Cut, prior: int | None, before: bool) -> dict[str, Tensor]:
    """Latents, and all that is known of them, as `drawn_sample` returns it; zeros without a prior.

    Args:
        before: tell how the ego came to the first frame, if the frame before it is there.
    """
    sample = read_cut(stored, cut, prior)
    numbers = list(cut.numbers)
    earlier = cut.first - cut.stride
    came = (stored.world_from_rig[earlier], float(stored.times_s[earlier])) if before and earlier >= 0 else None
    times_s = stored.times_s[numbers]
    sample["times_s"] = torch.from_numpy(times_s - times_s[0])
    sample["ego"] = ego_motion(stored.world_from_rig[numbers], times_s, came)
    sample["tags"] = tag_numbers(stored.tags)
    sample["has_prior"] = torch.tensor(prior in stored.scenes)
    if prior is None:
        sample["prior"] = torch.zeros_like(sample["latents"])
        fine = sample["layout"].shape[2] // LAYOUT_MAPS
        sample["coverage"] = torch.zeros_like(sample["layout"][:, :, :fine])
    return sample


def fits_carried(stored: Stored, prior: int, cut: Cut, known: int) -> bool:
    """Whether the last of the first `known` frames is what a carried prior of all later ones was made of."""
    last, after = cut.numbers[known - 1], cut.numbers[-1]
    context = stored.context[prior]
    return bool(context[last]) and not context[last + 1 : after + 1].any()


def stacked(samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def known_of(batch: dict[str, Tensor]) -> Known:
    """What is known of a batch."""
    names = ("times_s", "tags", "ego", "prior", "coverage", "rays", "layout")
    return Known(**{name: batch[name] for name in names})


def _num_known(frames: int, recipe: Recipe, rng: np.random.Generator) -> int:
    """First frames that are clean; at least one is not."""
    count = int(rng.choice(3, p=np.array(recipe.known) / sum(recipe.known)))
    if count == 2:
        count = int(rng.integers(2, recipe.most_known + 1))
    return min(count, frames - 1)


def _timestep(recipe: Recipe, rng: np.random.Generator) -> float:
    u = 1.0 / (1.0 + np.exp(-rng.normal(recipe.time_mean, recipe.time_deviation)))
    return float(recipe.time_shift * u / (1.0 + (recipe.time_shift - 1.0) * u))


def _left_of_prior(frames: int, size: Sequence[int], recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """[T, 1, h, w], 0 where nothing of the prior is left: rectangles, alike in all frames, and frames after an end."""
    left = torch.ones(frames, 1, *size)
    if rng.random() < recipe.holes:
        for _ in range(int(rng.integers(1, recipe.most_holes + 1))):
            sides = [int(rng.integers(1, max(1, side // 2) + 1)) for side in size]
            row, column = (int(rng.integers(whole - side + 1)) for whole, side in zip(size, sides, strict=True))
            left[:, :, row : row + sides[0], column : column + sides[1]] = 0.0
    if rng.random() < recipe.ends:
        left[int(rng.integers(frames)) :] = 0.0
    return left
