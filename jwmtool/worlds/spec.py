"""What is asked of a world: its kind, seed, length, weather, event and rig, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from jwmtool.errors import UsageError
from jwmtool.worlds.random_stream import Stream

KINDS = ("city", "suburb", "motorway", "country")
WEATHERS = ("clear", "overcast", "rain", "fog", "snow")
TIMES_OF_DAY = ("day", "dusk", "night")
EVENTS = ("none", "horse", "deer", "tiger", "dog", "rocks", "wrong-way", "cut-in", "child", "cargo")
RANDOM = "random"

MAX_DURATION_S = 600.0
MIN_RATE_HZ, MAX_RATE_HZ = 1.0, 60.0
MIN_SIDE_PX, MAX_SIDE_PX = 16, 8192


@dataclass(frozen=True)
class WorldSpec:
    """One world to make. `random` for kind, weather, time of day or event lets the seed decide.

    Raises:
        UsageError: a name is unknown or a number out of range; the message names the flag.
    """

    kind: str
    seed: int = 0
    duration_s: float = 10.0
    rate_hz: float = 10.0
    width: int = 448
    height: int = 256
    weather: str = "clear"
    time_of_day: str = "day"
    event: str = "none"

    def __post_init__(self) -> None:
        _one_of("KIND", self.kind, KINDS)
        _one_of("--weather", self.weather, WEATHERS)
        _one_of("--time-of-day", self.time_of_day, TIMES_OF_DAY)
        _one_of("--event", self.event, EVENTS)
        if self.seed < 0:
            raise UsageError(f"--seed: expected a whole number from 0, found {self.seed}")
        _between("--duration", self.duration_s, 0.0, MAX_DURATION_S, "s")
        _between("--rate", self.rate_hz, MIN_RATE_HZ, MAX_RATE_HZ, "Hz")
        _between("--size", min(self.width, self.height), MIN_SIDE_PX, MAX_SIDE_PX, "px")
        _between("--size", max(self.width, self.height), MIN_SIDE_PX, MAX_SIDE_PX, "px")
        if self.duration_s <= 0:
            raise UsageError("--duration: expected more than 0 s, found 0 s")

    @property
    def name(self) -> str:
        """`city-000007`: of the clip, and of its folder among many."""
        return f"{self.kind}-{self.seed:06d}"

    @property
    def num_frames(self) -> int:
        """Frames at times i / rate_hz, at least one."""
        return max(1, math.floor(self.duration_s * self.rate_hz + 1e-6))

    def resolved(self) -> WorldSpec:
        """The same with every `random` replaced by what the seed draws."""
        stream = Stream(self.seed, "spec")

        def draw(name: str, value: str, items: tuple[str, ...], weights: tuple[float, ...]) -> str:
            return stream.sub(name).choice(items, weights) if value == RANDOM else value

        return replace(
            self,
            kind=draw("kind", self.kind, KINDS, (4, 3, 2, 3)),
            weather=draw("weather", self.weather, WEATHERS, (5, 3, 2, 1, 1)),
            time_of_day=draw("time", self.time_of_day, TIMES_OF_DAY, (7, 1, 2)),
            event=draw("event", self.event, EVENTS, (9, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
        )


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in (*allowed, RANDOM):
        raise UsageError(f"{flag}: expected one of {', '.join(allowed)} or {RANDOM}, found {value!r}")


def _between(flag: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise UsageError(f"{flag}: expected {low:g} to {high:g} {unit}, found {value:g} {unit}")
