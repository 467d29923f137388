"""The first-frame network as a task of the training loop."""

# B pictures, V views of a sample, H, W height and width, px.
from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from jwmtool.imaging.pixels import as_picture
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.training.clips import Data, Part
from jwmtool.training.first_frame.recipe import Recipe
from jwmtool.training.first_frame.store import Pictures, picture_shape, read_pictures
from jwmtool.training.prefetch import sample_batches
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.first_frame import (
    INSIST,
    KIND,
    FirstFrame,
    FirstFrameConfig,
    Noise,
    coarse_of,
    drawn,
    missing_of,
    small_of,
)
from jwmtool.worldgen.known import SUBCELL
from jwmtool.worldgen.tags import EVENT, NO_EVENT, TAGS, WEATHER

Shape = tuple[int, int, int]  # views, H, W
_EACH, _SHOWN = 4, 10  # pictures scored of a held-out clip, shown on the sheet
_OF_A_STEP = 1  # sets what is drawn for a step apart from what is drawn for its first sample
_CROP_PX = 2 * 8  # crops begin at multiples of this
_TIMES = (0.3, 0.5, 0.7, 0.9, 0.98)  # that scores are of
_BEGIN = 0.3  # times as close to 1 count as the beginning, more of them the closer
_LEAST_TIME = 0.05  # errors just before the end do not count more than those


class FirstFrameTask:
    """See `jwmtool.training.task.Task`.

    Args:
        config: of the network.
        data: clips, prepared in `store`.
        recipe: how it is trained.
    """

    name = KIND
    headline, higher_is_better = "loss", False

    def __init__(self, config: FirstFrameConfig, data: Data, store: Store, recipe: Recipe) -> None:
        self.recipe = recipe
        self.config: Mapping[str, Any] = config.to_dict()
        self._network, self._data, self._store = config, data, store
        self._shape = lru_cache(maxsize=None)(lambda part: picture_shape(store.path(part)))

    def build(self) -> nn.Module:
        """The network with its first weights."""
        return FirstFrame(self._network)

    def sample(self, index: int, shape: Shape) -> dict[str, Tensor]:
        """Sample number `index`; decided by the recipe's seed, the number and the shape alone.

        Args:
            shape: views, height and width; of one view, any of the clip's cameras.

        Returns:
            `pictures` [V, 3, H, W] in [0, 1], `rays` [V, 6, H / 8, W / 8], `tags` [V, groups], `subject`
            [V, 1, H / 4, W / 4].

        Raises:
            InputError: a file of the store is damaged.
        """
        rng = np.random.default_rng((self.recipe.seed, index))
        views = shape[0]

        def fits(part: Part) -> bool:
            _, there, *size = self._shape(part)
            return (*size,) == shape[1:] and views in (1, there)

        part = self._data.draw_fitting(rng, fits)
        frames, there, *_ = self._shape(part)
        row = int(rng.integers(frames))
        found = read_pictures(self._store.path(part), slice(row, row + 1))
        chosen = slice(None) if views > 1 else [int(rng.integers(there))]
        pictures, rays, tags = found.pictures[0, chosen], found.rays[chosen], found.tags[0, chosen]
        subject = found.subject[0, chosen]
        if views == 1 and rng.random() < self.recipe.flip:
            pictures, rays, subject = pictures.flip(3), mirrored(rays), subject.flip(3)
        tags = self._left_out(together(tags), rng)
        return {"pictures": pictures, "rays": rays, "tags": tags, "subject": subject}

    def batches(self, start_index: int, size: int, rank: int, world_size: int) -> Iterator[dict[str, Tensor]]:
        """Samples stacked; all of a step have one shape, whichever rank takes them."""
        of_a_step = size * world_size

        def load(index: int) -> dict[str, Tensor]:
            step = index - (index - start_index) % of_a_step
            rng = np.random.default_rng((self.recipe.seed, step, _OF_A_STEP))
            _, views, height, width = self._shape(self._data.draw(rng))
            return self.sample(index, (views if rng.random() < self.recipe.rig else 1, height, width))

        for batch in sample_batches(load, start_index, size, rank, world_size):
            yield {name: torch.stack([sample[name] for sample in batch]) for name in batch[0]}

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Mean squared errors of both velocities, added; small pictures of all views, crops of what they lack."""
        views = batch["pictures"].shape[1]
        pictures, rays, tags = (batch[name].flatten(0, 1) for name in ("pictures", "rays", "tags"))
        samples = len(pictures) // views

        def normal(count: int) -> Tensor:
            return torch.randn(count, generator=generator).to(pictures.device)

        chosen = torch.rand(2, samples, generator=generator).to(pictures.device)
        begin = 1.0 - _BEGIN * chosen[0].square()
        times = torch.where(chosen[1] < self.recipe.begin, begin, torch.sigmoid(normal(samples) + self.recipe.late))
        times = times.repeat_interleave(views)
        later = torch.sigmoid(normal(len(pictures)))
        spoilt = self.recipe.spoilt * torch.rand(len(pictures), generator=generator).to(pictures.device)
        noise = drawn(len(pictures), _size(pictures), generator, pictures.device)
        place = [float(torch.rand((), generator=generator)) for _ in range(2)]
        cut = _crop(pictures.shape[2:], self.recipe.crop, place)
        told = (tags[:, EVENT] >= 0)[:, None, None, None]
        counts = 1.0 + self.recipe.subject * (batch["subject"].flatten(0, 1) & told)
        coarse, fine = losses(model, pictures, rays, tags, (times, later, spoilt), noise, views, cut, counts)
        return coarse + fine, {"coarse": coarse.detach(), "fine": fine.detach()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Both errors on pictures of clips kept away, at fixed times and with fixed noise."""
        rows = []
        for some in self._held_out():
            views = some.pictures.shape[1]
            pictures, tags = some.pictures.flatten(0, 1), together(some.tags).flatten(0, 1)
            rays = some.rays.repeat(len(some.pictures), 1, 1, 1)
            draw = torch.Generator().manual_seed(0)
            device = next(model.parameters()).device
            told = (pictures.to(device), rays.to(device), tags.to(device))
            whole = _crop(pictures.shape[2:], _size(pictures), [0.0, 0.0])
            for time in _TIMES:
                noise = drawn(len(pictures), _size(pictures), draw, device)
                each = torch.full((len(pictures),), time, device=device)
                spoilt = torch.full_like(each, self.recipe.spoilt / 2.0)
                rows.append([float(x) for x in losses(model, *told, (each, each, spoilt), noise, views, whole)])
        coarse, fine = np.mean(rows, axis=0).tolist()
        return {"loss": coarse + fine, "coarse": coarse, "fine": fine}

    def sheet(self, model: nn.Module) -> NDArray[np.uint8] | None:
        """Pictures of clips kept away, and what is painted of their words and cameras alone."""
        shown: list[NDArray[np.uint8]] = []
        labels: list[str] = []
        network: Any = model
        device = next(model.parameters()).device
        for some in self._held_out():
            true, rays, tags = some.pictures[0, :1], some.rays[:1].to(device), some.tags[0, :1].to(device)
            draw = torch.Generator().manual_seed(len(shown))
            made = network.paint(rays, tags, drawn(1, _size(true), draw, device), guidance=INSIST)
            if not shown or shown[0].shape[:2] == tuple(true.shape[2:]):
                shown += [as_picture(true[0]), as_picture(made[0])]
                labels += [_words(tags[0]), "painted"]
        return contact_sheet(shown[: 2 * _SHOWN], labels[: 2 * _SHOWN], columns=4)

    def _left_out(self, tags: Tensor, rng: np.random.Generator) -> Tensor:
        """Some tags of [V, groups] not told, those of all views alike."""
        chances = np.full(tags.shape[1], self.recipe.untold_other)
        chances[WEATHER] = self.recipe.untold_weather
        untold = rng.random(tags.shape[1]) < chances
        if rng.random() < self.recipe.untold:
            untold[:] = True
        return tags.masked_fill(torch.from_numpy(untold), -1)

    def _held_out(self) -> Iterator[Pictures]:
        for part in self._data.held_out:
            count = self._shape(part)[0]
            yield read_pictures(self._store.path(part), slice(0, count, max(1, count // _EACH)))


def losses(
    model: nn.Module,
    pictures: Tensor,  # [B, 3, H, W] in [0, 1]
    rays: Tensor,  # [B, 6, H / 8, W / 8]
    tags: Tensor,  # [B, groups]
    times: tuple[Tensor, Tensor, Tensor],  # [B] each: of either go, and how spoilt small pictures are for the second
    noise: Noise,
    views: int,
    cut: tuple[slice, slice],  # rows and columns that the second go makes, cells of 8 px
    counts: Tensor | None = None,  # [B, 1, H / 4, W / 4] how much errors count
) -> tuple[Tensor, Tensor]:
    """Mean squared errors of the velocities of both goes, which are those of the data over the time."""
    counts = torch.ones_like(pictures[:, :1, ::SUBCELL, ::SUBCELL]) if counts is None else counts
    small, (first, later, spoilt) = small_of(pictures), times

    def mixed(data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        return torch.lerp(data, noise, time[:, None, None, None])

    cells = coarse_of(small)
    told = model(
        mixed(cells, noise[0], first), rays, torch.stack([first, torch.zeros_like(first)], 1), tags, None, views
    )
    coarse = _error(told - cells, first, coarse_of(counts.expand(-1, 3, -1, -1)))
    rows, columns = cut
    rays = rays[:, :, rows, columns]
    rows, columns = (slice(2 * c.start, 2 * c.stop) for c in cut)
    spoilt_small = small + spoilt[:, None, None, None] * noise[2]
    small, missing, other, counts = (
        x[:, :, rows, columns] for x in (spoilt_small, missing_of(pictures), noise[1], counts)
    )
    told = model(mixed(missing, other, later), rays, torch.stack([later, spoilt], 1), tags, small)
    return coarse, _error(told - missing, later, counts)


def _error(off: Tensor, time: Tensor, counts: Tensor) -> Tensor:
    return (counts * (off / time.clamp(min=_LEAST_TIME)[:, None, None, None]).square()).mean()


def together(tags: Tensor) -> Tensor:
    """What all views [..., V, groups] are told: an event that one of them shows."""
    event = tags[..., EVENT]
    shown = torch.where(event == NO_EVENT, -1, event).amax(-1, keepdim=True)
    told = tags.clone()
    told[..., EVENT] = torch.where(shown >= 0, shown, event)
    return told


def mirrored(rays: Tensor) -> Tensor:
    """Rays [V, 6, h, w] of mirrored pictures: left (y) is right, moments turn the other way about x and z."""
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    return rays.flip(3) * signs[:, None, None]


def _size(pictures: Tensor) -> tuple[int, int]:
    """(W, H), px."""
    return pictures.shape[-1], pictures.shape[-2]


def _crop(size: torch.Size, crop: tuple[int, int], place: list[float]) -> tuple[slice, slice]:
    """Rows and columns, in cells of 8 px; all of them where the picture is no larger."""
    found = []
    for whole, wanted, share in zip(size, reversed(crop), place, strict=True):
        left = max(0, whole - wanted) // _CROP_PX + 1
        start = int(share * left) * _CROP_PX // 8
        found.append(slice(start, start + min(whole, wanted) // 8))
    return found[0], found[1]


def _words(tags: Tensor) -> str:
    names = [value for values in TAGS.values() for value in values]
    return " ".join(names[int(k)] for k in tags if int(k) >= 0)
