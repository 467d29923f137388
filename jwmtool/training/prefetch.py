"""Work done ahead on threads, handed out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice
from typing import TypeVar

T = TypeVar("T")

_THREADS = 2


def sample_batches(
    load: Callable[[int], T], start_index: int, size: int, rank: int, world_size: int
) -> Iterator[list[T]]:
    """Lists of `size` of a rank's samples without end, read ahead; see `Task.batches`."""
    numbers = count(start_index + rank, world_size)
    samples = prefetched(load, numbers, _THREADS, max(size, _THREADS) + _THREADS)
    while True:
        yield [next(samples) for _ in range(size)]


def prefetched(load: Callable[[int], T], numbers: Iterable[int], threads: int, ahead: int) -> Iterator[T]:
    """Yield load(n) for each number in order, with up to `ahead` of them begun before they are asked for.

    An error of `load` is raised where its result would have come.
    """
    todo = iter(numbers)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="jwm-prefetch")
    try:
        begun: deque[Future[T]] = deque(pool.submit(load, n) for n in islice(todo, ahead))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(load, n) for n in islice(todo, 1))
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
