"""Windows of a street clip, and what fusion makes of them."""

from __future__ import annotations

import torch

from jwmtool.artifacts.clip import Clip
from jwmtool.fitting.views import scene_frame
from jwmtool.geometry import se3
from jwmtool.worldrec.fusion import State, fuse_window
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.views import Views, load_views

SIZE = (112, 64)


def views_of(clip: Clip, *frames: int) -> Views:
    """In one frame for all, that of the clip's scenes."""
    keys = [(frame, name) for frame in frames for name in clip.cameras]
    return load_views(clip, keys, se3.inverse(scene_frame(clip)), clip.frames[0].time_us, SIZE)


@torch.no_grad()
def fused(model: WorldRec, *windows: Views) -> State:
    state = State.empty()
    for views in windows:
        state = fuse_window(state, model(views), views, model.gate)
    return state
