"""The rules of `--withhold`: which frames and cameras are kept from fitting, for scoring."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jwmtool.artifacts.clip import Split
from jwmtool.errors import UsageError

_FORMS = "every=N[,offset=M], frames=I,J,... or camera=NAME"


def make_split(rules: Iterable[str], num_frames: int, cameras: Sequence[str]) -> Split:
    """Turn rules into a split of a clip with `num_frames` frames.

    `every=4` withholds frames whose index in the clip is 2 modulo 4 (N // 2; `offset=M` says another); `frames=1,5` (or
    `frame=1`) those frames; `camera=NAME` a whole camera.

    Raises:
        UsageError: a rule not of these forms, a frame or camera that is not there, or nothing left to fit.
    """
    frames: set[int] = set()
    withheld_cameras: list[str] = []
    rules = tuple(rules)
    for rule in rules:
        key, _, value = rule.partition("=")
        if key == "every":
            step, offset = _every(rule, value)
            frames.update(range(offset, num_frames, step))
        elif key in ("frame", "frames"):
            chosen = [_integer(rule, part) for part in value.split(",")]
            if max(chosen) >= num_frames:
                raise UsageError(f"--withhold {rule}: the clip has frames 0 to {num_frames - 1}")
            frames.update(chosen)
        elif key == "camera":
            if value not in cameras:
                raise UsageError(f"--withhold {rule}: the clip has cameras {', '.join(cameras)}")
            withheld_cameras.append(value)
        else:
            raise UsageError(f"--withhold: expected {_FORMS}, found {rule!r}")
    if len(frames) == num_frames or set(withheld_cameras) >= set(cameras):
        raise UsageError(f"--withhold {' '.join(rules)}: withholds everything; nothing is left to fit")
    return Split(tuple(sorted(frames)), tuple(dict.fromkeys(withheld_cameras)), rules)


def _every(rule: str, value: str) -> tuple[int, int]:
    number, _, option = value.partition(",")
    step = _integer(rule, number)
    if step < 2:
        raise UsageError(f"--withhold {rule}: N must be at least 2")
    if not option:
        return step, step // 2
    key, _, offset = option.partition("=")
    if key != "offset" or _integer(rule, offset) >= step:
        raise UsageError(f"--withhold: expected every=N,offset=M with M below N, found {rule!r}")
    return step, int(offset)


def _integer(rule: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"--withhold: expected {_FORMS}, found {rule!r}")
    return int(text)
