"""Work for processes of tests: this module imports next to nothing, so that they start fast."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jwmtool.device import num_threads
from jwmtool.errors import InputError


def work(job: str) -> str:
    """What a job says: `ok`, `slow`, `input`, `bug`, `die`, or `once:FILE` (dies the first time); `threads`."""
    if job == "slow":
        time.sleep(0.5)
    if job == "threads":
        return str(num_threads())
    if job == "input":
        raise InputError("x.json", "a file", "none")
    if job == "bug":
        raise RuntimeError("two\nlines")
    if job.startswith("once:") and not Path(job[5:]).exists():
        Path(job[5:]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return job
