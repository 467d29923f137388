"""Work done ahead on threads, handed out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


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
