"""Run a fit from clip to scene file: progress, checkpoints, resume, and a valid scene whenever it is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import clip_content_sha256
from jwmtool.artifacts.scene import Scene
from jwmtool.errors import InputError, UsageError
from jwmtool.fitting.fit import Fit
from jwmtool.fitting.initialize import start_from_clip
from jwmtool.fitting.settings import FitSettings
from jwmtool.interrupt import stop_between_steps

CHECKPOINT_EVERY_S = 30.0
_MAY_CHANGE = ("budget_s", "max_steps")  # on resume: the run may be made longer


def state_path(scene: Path) -> Path:
    """Where the state of an unfinished fit lies: beside the scene that it will become."""
    return scene.with_name(scene.name + ".fit.safetensors")


def fit_clip(
    clip: Clip,
    settings: FitSettings,
    device: str,
    *,
    started: float,
    checkpoint: Path | None = None,
    resume: bool = False,
    each_step: Callable[[Fit], float] | None = None,
) -> tuple[Scene, bool]:
    """Fit a scene to the images of a clip that are not withheld.

    Args:
        clip: the recording.
        settings: see `FitSettings`.
        device: `cpu` or `cuda`.
        started: `time.monotonic()` from which the budget counts; what a resumed run has used before counts too.
        checkpoint: state file, written every half minute and when interrupted.
        resume: go on from `checkpoint`.
        each_step: see `Fit.run`.

    Returns:
        The scene, and whether the fit was finished (False: interrupted by Ctrl-C or SIGTERM).

    Raises:
        InputError: the clip has nothing to fit, or the checkpoint belongs to something else.
        UsageError: `resume` without a checkpoint.
    """
    # The state belongs to this clip: its hash guards against going on with another one.
    clip_hash = clip_content_sha256(clip) if checkpoint is not None else ""
    state = read_state(checkpoint, clip_hash, settings) if resume else None
    with console.progress("stereo", 1.0) as bar:
        start = start_from_clip(clip, settings, bar.update)
    fit = Fit(clip, start, settings, device)
    if state is not None:
        fit.load_state_dict(*state)
        started -= fit.elapsed_s
        console.detail(f"resumed at step {fit.step}, {fit.elapsed_s:.0f} s of the budget used")
    used_s = time.monotonic() - started
    if settings.max_steps is None and used_s > 0.5 * settings.budget_s and state is None:
        advice = "a longer --budget, or a smaller --size at ingest, fits better"
        console.notice(f"stereo took {used_s:.0f} s of the budget of {settings.budget_s:.0f} s: {advice}")
    console.detail(f"starting from {len(fit.parameters):,} Gaussians and {len(start.views)} images")

    saved = time.monotonic()

    def step_done(fit: Fit) -> float:
        nonlocal saved
        if asked_to_stop():
            raise _StoppedError
        lost_s = each_step(fit) if each_step is not None else 0.0
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_EVERY_S:
            write_state(fit, checkpoint, clip_hash)
            saved = time.monotonic()
        return lost_s

    with console.progress("fitting", 1.0) as bar, stop_between_steps() as asked_to_stop:
        try:
            fit.run(started, bar, step_done)
        except _StoppedError:
            if checkpoint is not None:
                write_state(fit, checkpoint, clip_hash)
            return fit.scene(), False
    return fit.scene(), True


class _StoppedError(Exception):
    """Ctrl-C or SIGTERM came, and the step is done."""


def write_state(fit: Fit, path: Path, clip_hash: str) -> None:
    """Save a fit atomically as safetensors; plain values and settings go into its metadata."""
    tensors, values = fit.state_dict()
    values |= {"clip_sha256": clip_hash, "format": "jwm-fit", "version": "1.0"}
    with atomic_file(path, force=True) as temporary:
        save_file(tensors, temporary, metadata={"jwm": json.dumps(values, sort_keys=True)})


def read_state(path: Path | None, clip_hash: str, settings: FitSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `write_state` saved; refuse the state of another clip or of other settings."""
    if path is None or not path.exists():
        raise UsageError(f"--resume: no unfinished fit at {path}; leave --resume out to start one")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        values: dict[str, Any] = json.loads(metadata["jwm"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise InputError(path, "the state of an unfinished fit", str(error)) from None
    if values["clip_sha256"] != clip_hash:
        raise InputError(path, "a fit of this clip", "a fit of another clip, or of this one before it changed")
    now, then = asdict(settings), values["settings"]
    changed = sorted(k for k in now if k not in _MAY_CHANGE and now[k] != then.get(k))
    if changed:
        raise InputError(path, f"a fit with {changed[0]}={now[changed[0]]}", f"one with {then.get(changed[0])}")
    return tensors, values
