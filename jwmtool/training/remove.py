"""Take away an earlier run, so that another one may have its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from jwmtool.training.checkpoint import BEST, LAST, STATE, latest_state
from jwmtool.training.log import EVENTS, FILE
from jwmtool.training.loop import SETTINGS, SHEETS


def remove_run(folder: Path) -> None:
    """Remove what a training wrote into a folder; nothing, if the folder holds no training. Several ranks may."""
    if latest_state(folder) is None:
        return
    for name in (SETTINGS, FILE, BEST, LAST):
        (folder / name).unlink(missing_ok=True)
    for name in (SHEETS, EVENTS, STATE):  # the state last: without it this is no training
        shutil.rmtree(folder / name, ignore_errors=True)
