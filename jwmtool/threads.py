"""Kernels that release the interpreter's lock, side by side in this process's threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from jwmtool.device import num_threads

CHUNK = 8192  # rows a task

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_threads(work: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """What a work makes of each item, in order. A work must not use `in_threads` itself: it could wait forever."""
    items, threads = list(items), num_threads()
    if threads == 1 or len(items) <= 1:
        return [work(item) for item in items]
    return list(_pool(os.getpid(), threads).map(work, items))


def chunks_of(rows: int) -> list[tuple[int, int]]:
    """[begin, end) of each `CHUNK` of so many rows."""
    return [(begin, min(begin + CHUNK, rows)) for begin in range(0, rows, CHUNK)]


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """One a process: a forked child must not use its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="jwm-kernels")
