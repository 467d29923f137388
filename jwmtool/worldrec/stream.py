"""A clip to a scene, window by window: reconstruct each, fuse it into what is there, freeze what is left behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.tokens import Tokens
from jwmtool.errors import InputError
from jwmtool.fitting.views import scene_frame
from jwmtool.gaussians.exposure import Exposure
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry import se3
from jwmtool.rendering.timeline import Drive
from jwmtool.worldrec.fusion import fuse_window
from jwmtool.worldrec.guests import FAR_M, Visit, living, standing_there, times_then
from jwmtool.worldrec.holding import in_view
from jwmtool.worldrec.lasting import everlasting
from jwmtool.worldrec.look_back import looked_back
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.novelty import errors
from jwmtool.worldrec.path import EgoPath, within_way
from jwmtool.worldrec.plan import Key, Part, windows_of
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.sky import fill, splat_sky
from jwmtool.worldrec.state import State
from jwmtool.worldrec.views import Views, load_views, working_size

WINDOW_S = 2.0
BEHIND_M = 60.0  # what lies so far behind the ego, and in no view, is frozen
_UNSEEN = 2  # windows
_FAINT = 0.01  # opacity below which a Gaussian is dropped

Tick = Callable[[int, int], None]


def reconstruct_clip(
    clip: Clip,
    model: WorldRec,
    *,
    keys: Sequence[Key] | None = None,
    window_s: float = WINDOW_S,
    device: str = "cpu",
    tick: Tick | None = None,
) -> Scene:
    """Reconstruct a clip of any length; memory in use and seconds for each window do not grow with it.

    Args:
        model: on `device`.
        keys: (frame, camera) of the pictures to look at; None: all that are not withheld.
        tick: called with the number of windows done, and of all.

    Raises:
        InputError: there are no pictures to look at, or one is missing or damaged.
    """
    keys = clip.images(withheld=False) if keys is None else list(keys)
    if not keys:
        raise InputError(clip.root, "pictures to reconstruct from", "none that are not withheld")
    stream = Stream(model, scene_frame(clip), clip.frames[0].time_us, device)
    stream.extend(clip, keys, window_s, tick)
    return stream.scene(clip)


@dataclass(frozen=True)
class Chunk:
    """Tokens that are left behind, on the CPU, in the scene frame; `center` [3] and `radius_m` of what stands."""

    state: State
    center: Tensor
    radius_m: float


@dataclass
class Stream:
    """A scene that grows by windows.

    Attributes:
        state: the working set, in the frame of the latest window.
        frozen: what is left behind.
        guests: what earlier drives left, each with its drive; only when something was seen through is noted there.
        sky: sums over windows, see `splat_sky`; axes of the scene frame.
        exposure: color maps of the pictures looked at, by camera and time.
    """

    model: WorldRec
    world_from_scene: NDArray[np.float64]
    time_origin_us: int
    device: str = "cpu"
    state: State = field(default_factory=State.empty)
    world_from_state: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    frozen: list[Chunk] = field(default_factory=list)
    guests: list[tuple[Drive, list[Chunk]]] = field(default_factory=list)
    sky: Tensor | None = None
    exposure: dict[str, dict[int, Tensor]] = field(default_factory=dict)

    @torch.no_grad()
    def extend(self, clip: Clip, keys: Sequence[Key], window_s: float = WINDOW_S, tick: Tick | None = None) -> None:
        """Stream pictures of a clip into the scene.

        Raises:
            InputError: a picture is missing or damaged.
        """
        size = working_size(clip, self.model.config.pixels)
        parts = windows_of(clip, keys, window_s)
        path = EgoPath.of(clip, self.time_origin_us)
        for done, part in enumerate(parts):
            if tick is not None:
                tick(done, len(parts))
            world_from_window = se3.orthonormalized(clip.frames[part.middle].world_from_rig)
            shown = part.before + part.own + part.after
            views = load_views(clip, shown, se3.inverse(world_from_window), self.time_origin_us, size).to(self.device)
            found = within_way(without_faint(self.model(views)), views, path)
            self._move_to(world_from_window)
            self._thaw(views)
            self._add(found, views, part, self._known(found, views, clip, shown))
            self._freeze(views)
            self._paint(found, views)
            for (frame, name), affine in zip(shown, found.exposure.cpu(), strict=True):
                if (frame, name) in part.own:
                    time_us = clip.frames[frame].images[name].time_us
                    self.exposure.setdefault(name, {})[time_us] = affine
        if tick is not None:
            tick(len(parts), len(parts))

    def scene(self, clip: Clip) -> Scene:
        """What there is so far, as the scene of a clip."""
        whole = self._whole()
        exposure = {
            name: Exposure(np.array(sorted(maps), np.int64), torch.stack([maps[t] for t in sorted(maps)]))
            for name, maps in self.exposure.items()
        }
        return Scene(
            gaussians=whole.gaussians,
            world_from_scene=self.world_from_scene,
            time_origin_us=self.time_origin_us,
            sky=None if self.sky is None else fill(self.sky).cpu(),
            sky_weight=None if self.sky is None else self.sky[..., 3].cpu(),
            exposure=exposure,
            cameras=clip.cameras,
            ego_times_us=clip.times_us,
            ego_world_from_rig=clip.world_from_rig,
            tokens=whole.tokens if self.model.config.method == "sparse" else None,
        )

    def _add(self, found: Reconstruction, views: Views, part: Part, known: Tensor | None) -> None:
        row = torch.arange(len(views), device=self.device)
        if self.model.config.method == "sparse":
            # Patches of the pictures ahead come along: its own that those show better were left out for their sake.
            own = row >= len(part.before)
            state = fuse_window(self.state, found, views, self.model.gate, own=own, known=known)
            self.state = replace(state, gaussians=looked_back(state.gaussians, found, views))
            return
        # A Gaussian for each pixel of each view: nothing is fused, as in the rivals' design.
        own = (row >= len(part.before)) & (row < len(part.before) + len(part.own))
        mine = torch.isin(found.gaussians.time_mid, views.times_s[own])
        gaussians = looked_back(found.gaussians, found, views).select(mine)
        self._keep(State.of(gaussians, Tokens.empty(len(gaussians), self.device)))

    def _move_to(self, world_from_window: NDArray[np.float64]) -> None:
        window_from_state = se3.inverse(world_from_window) @ self.world_from_state
        if len(self.state.gaussians):
            self.state = self.state.moved(torch.from_numpy(window_from_state))
        self.world_from_state = world_from_window

    def _paint(self, found: Reconstruction, views: Views) -> None:
        scene_from_window = torch.from_numpy(se3.inverse(self.world_from_scene) @ self.world_from_state)
        turned = replace(views, scene_from_cam=scene_from_window.to(views.scene_from_cam) @ views.scene_from_cam)
        painted = splat_sky(turned, found.depth.sky, self.model.config.sky_size)
        self.sky = painted if self.sky is None else self.sky + painted

    def _freeze(self, views: Views) -> None:
        """Leave behind what no camera sees any more, and what has nothing to say to pictures after these."""
        state = self.state
        behind = (state.tokens.anchor[:, 0] < -BEHIND_M) & (state.unseen >= _UNSEEN)
        gone = behind | ~speaking(state, views.select(views.times_s.argmax()[None]))
        if bool(gone.any()):
            self._keep(state.select(gone))
            self.state = state.select(~gone)

    def _keep(self, state: State) -> None:
        self.frozen.append(chunk(self._finished(state)))

    def _near(self, piece: Chunk, window_from_scene: Tensor) -> State | None:
        """What is left behind, its tokens told in the frame of the window; None if it is far away."""
        ego = torch.linalg.inv(window_from_scene)[:3, 3].float()
        if float((piece.center - ego).norm()) - piece.radius_m > FAR_M:
            return None
        return replace(piece.state, tokens=piece.state.tokens.moved(window_from_scene)).to(self.device)

    def _window_from_scene(self) -> Tensor:
        return torch.from_numpy(se3.inverse(self.world_from_state) @ self.world_from_scene)

    def _known(self, found: Reconstruction, views: Views, clip: Clip, keys: Sequence[Key]) -> Tensor | None:
        """Which patches earlier drives show already; what the views say against these is noted."""
        known, mine = None, None
        window_from_scene = self._window_from_scene()
        for drive, pieces in self.guests:
            places = [(clip.frames[k].world_from_rig[:3, 3], clip.frames[k].images[name].time_us) for k, name in keys]
            then_s = times_then(drive, places, self.time_origin_us)
            if not any(map(math.isfinite, then_s)):
                continue
            here: list[tuple[int, Tensor]] = []
            for number, piece in enumerate(pieces):
                state = self._near(piece, window_from_scene)
                if state is not None:
                    here.append((number, standing_there(state, views, then_s)))
            taken = [pieces[number].state.to(self.device).select(rows) for number, rows in here]
            if not sum(len(state.tokens) for state in taken):
                continue
            if mine is None:
                mine = errors(found, found.gaussians, views.times_s, views)
            visit = Visit(State.concat(taken).moved(window_from_scene), views.times_s.new_tensor(then_s))
            patches, told = visit.known(found, mine, views, self.model.gate)
            known = patches if known is None else known | patches
            _note(pieces, here, told.tokens)
        return known

    def _thaw(self, views: Views) -> None:
        """Take up again what the ego comes back to."""
        left = []
        window_from_scene = self._window_from_scene()
        for piece in self.frozen:
            state = self._near(piece, window_from_scene)
            if state is None:
                left.append(piece)
                continue
            near = (state.tokens.anchor.norm(dim=1) < FAR_M) & ~state.tokens.moving
            again = near & speaking(state, views) & in_view(state.tokens.anchor, views, FAR_M)
            if not bool(again.any()):
                left.append(piece)
                continue
            taken = piece.state.to(self.device).select(again).moved(window_from_scene)
            taken = replace(taken, from_s=self.state.from_s, until_s=self.state.until_s)
            self.state = State.concat([taken, self.state])
            if not bool(again.all()):
                left.append(chunk(piece.state.select(~again.cpu())))
        self.frozen = left

    def _whole(self) -> State:
        guests = [piece.state for _, pieces in self.guests for piece in pieces]
        return State.concat([*guests, *(piece.state for piece in self.frozen), self._finished(self.state)])

    def _finished(self, state: State) -> State:
        """In the scene frame, on the CPU, with the lives that its Gaussians keep."""
        scene_from_state = torch.from_numpy(se3.inverse(self.world_from_scene) @ self.world_from_state)
        state = state.moved(scene_from_state).to("cpu")
        nowhere = torch.full_like(state.cell, -1)
        return replace(state, gaussians=everlasting(state.gaussians, state.tokens), cell=nowhere, patch=nowhere)


def chunk(state: State) -> Chunk:
    """A chunk with its bounds."""
    anchors = state.tokens.anchor[~state.tokens.moving]
    if not len(anchors):
        return Chunk(state, torch.zeros(3), -1e9)
    center = 0.5 * (anchors.amin(0) + anchors.amax(0))
    return Chunk(state, center, float((anchors - center).norm(dim=1).max()))


def speaking(state: State, views: Views) -> Tensor:
    """[Q] bool: tokens that live at the time of one of the views, or are still good enough for where it stands."""
    tokens = state.tokens
    first, last = float(views.times_s.min()), float(views.times_s.max())
    lives = living(state, first, last)
    eyes = views.scene_from_cam[:: max(1, len(views) // 4), :3, 3]
    away_m = torch.cdist(tokens.eye, eyes).amin(1)
    free = (tokens.until_s > first) & (tokens.since_s < last) & ~tokens.moving
    return lives | (free & (away_m < tokens.way_m))


def _note(pieces: list[Chunk], rows: Sequence[tuple[int, Tensor]], told: Tokens) -> None:
    """Write when tokens were seen through into the chunks that they came from: rows [Q] bool of each, in order."""
    begin = 0
    for number, taken in rows:
        piece, here = pieces[number], taken.cpu()
        end = begin + int(here.sum())
        bounds = {}
        for name in ("since_s", "until_s"):
            bounds[name] = getattr(piece.state.tokens, name).clone()
            bounds[name][here] = getattr(told, name)[begin:end].cpu()
        tokens = replace(piece.state.tokens, **bounds)
        pieces[number] = replace(piece, state=replace(piece.state, tokens=tokens))
        begin = end


def without_faint(found: Reconstruction) -> Reconstruction:
    """A reconstruction without Gaussians that nobody would see."""
    keep = (found.gaussians.opacities >= _FAINT).nonzero()[:, 0]
    gaussians: Gaussians = found.gaussians.select(keep)
    return replace(found, gaussians=gaussians, owner=None if found.owner is None else found.owner[keep])
