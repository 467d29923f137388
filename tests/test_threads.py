"""Work in threads: in order, all of it, and an error of one reaches the caller."""

from __future__ import annotations

import os

import pytest

from jwmtool.threads import CHUNK, chunks_of, in_threads


def test_results_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads in ("1", "3"):
        monkeypatch.setenv("JWM_THREADS", threads)
        assert in_threads(lambda x: x * x, range(20)) == [x * x for x in range(20)]
    assert in_threads(str, []) == []


def test_an_error_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWM_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 // x, [1, 0, 2])


def test_chunks_hold_every_row_once() -> None:
    chunks = chunks_of(2 * CHUNK + 5)
    assert chunks == [(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, 2 * CHUNK + 5)] and chunks_of(0) == []


def test_a_forked_child_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWM_THREADS", "2")
    in_threads(abs, [1, -2])
    child = os.fork()
    if child == 0:
        os._exit(0 if in_threads(abs, [-3, -4]) == [3, 4] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
