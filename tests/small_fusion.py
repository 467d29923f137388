"""Windows of a street clip, and what fusion makes of them."""

from __future__ import annotations

import pytest
import torch
from true_depth import knowing, street_clip

from jwmtool.artifacts.clip import Clip
from jwmtool.fitting.views import scene_frame
from jwmtool.geometry import se3
from jwmtool.worldrec.fusion import fuse_window
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.state import State
from jwmtool.worldrec.views import Views, load_views

SIZE = (112, 64)


@pytest.fixture(scope="module", name="clip")
def clip_of_a_street(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return street_clip(tmp_path_factory.mktemp("street") / "clip", 16)


@pytest.fixture(scope="module", name="model")
def model_that_knows_it(clip: Clip) -> WorldRec:
    return knowing(clip)


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
