"""Let Ctrl-C and SIGTERM wait for the end of a step, where what is being computed is whole and can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stop_between_steps(second_stops: bool = True) -> Iterator[Callable[[], bool]]:
    """While the block runs, Ctrl-C and SIGTERM are only noted. Outside the main thread signals are left as they are.

    Args:
        second_stops: a second signal stops at once. False under a launcher that passes on the signal which the
            terminal has sent already (torchrun): one Ctrl-C is two signals there.

    Yields:
        A function that says whether one came.
    """
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        if second_stops:
            restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        restore()
