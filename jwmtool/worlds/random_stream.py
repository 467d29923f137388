"""Random draws that are the same on every machine and with every NumPy: raw PCG64 words, named sub-streams."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Stream:
    """A sequence of draws decided by a seed and a name.

    NumPy promises the words of its bit generators, not the methods built on them, so these are made here. Take a
    sub-stream per purpose (`stream.sub("trees")`): then one purpose drawing more leaves all others as they were.
    """

    def __init__(self, seed: int, name: str = "") -> None:
        self.seed, self.name = seed, name
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self._bits = np.random.PCG64(int.from_bytes(digest[:16], "little"))

    def sub(self, name: str | int) -> Stream:
        """An independent stream; the same name gives the same stream, whatever was drawn before."""
        return Stream(self.seed, f"{self.name}/{name}")

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high)."""
        return low + int(self._bits.random_raw()) % (high - low)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def choice(self, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of `items`, likelier where its weight is larger."""
        if weights is None:
            return items[self.integer(0, len(items))]
        left = self.uniform(0.0, sum(weights))
        for item, weight in zip(items, weights, strict=True):
            left -= weight
            if left < 0:
                return item
        return items[-1]

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """A bell-shaped draw (sum of twelve uniforms: no libm, hence the same everywhere), within 6 deviations."""
        return mean + deviation * (sum(self.uniform() for _ in range(12)) - 6.0)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order."""
        result = list(items)
        for i in range(len(result) - 1, 0, -1):
            j = self.integer(0, i + 1)
            result[i], result[j] = result[j], result[i]
        return result

    def word(self) -> int:
        """A seed for something smaller, below 2^31."""
        return int(self._bits.random_raw()) >> 33
