"""What a video shows in a few words: tags that small models know, and how a prompt's words become tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from jwmtool.errors import UsageError

TAGS: dict[str, tuple[str, ...]] = {
    "kind": ("city", "suburb", "motorway", "country"),
    "weather": ("clear", "overcast", "rain", "fog", "snow"),
    "time_of_day": ("day", "dusk", "night"),
    "event": ("none", "horse", "deer", "tiger", "dog", "rocks", "wrong-way", "cut-in", "child", "cargo"),
}
_NUMBERS = {pair: k for k, pair in enumerate((group, value) for group, values in TAGS.items() for value in values)}
NUM_TAGS = len(_NUMBERS)
WEATHER, EVENT = (list(TAGS).index(group) for group in ("weather", "event"))  # their places among the groups
NO_EVENT = _NUMBERS["event", "none"]

# Words of prompts beside the tags' own names.
_WORDS: dict[str, tuple[str, str]] = {
    **{value: (group, value) for group, values in TAGS.items() for value in values if value != "none"},
    **dict.fromkeys(("town", "downtown", "urban"), ("kind", "city")),
    **dict.fromkeys(("suburban", "residential"), ("kind", "suburb")),
    **dict.fromkeys(("highway", "freeway", "autobahn"), ("kind", "motorway")),
    **dict.fromkeys(("rural", "countryside"), ("kind", "country")),
    **dict.fromkeys(("sunny", "sun", "fair"), ("weather", "clear")),
    **dict.fromkeys(("cloudy", "clouds", "gray", "grey"), ("weather", "overcast")),
    **dict.fromkeys(("rainy", "raining", "storm", "stormy", "wet"), ("weather", "rain")),
    **dict.fromkeys(("foggy", "mist", "misty"), ("weather", "fog")),
    **dict.fromkeys(("snowy", "snowing"), ("weather", "snow")),
    **dict.fromkeys(("daytime", "noon"), ("time_of_day", "day")),
    **dict.fromkeys(("dawn", "sunset", "sunrise", "evening", "twilight"), ("time_of_day", "dusk")),
    **dict.fromkeys(("dark", "nighttime"), ("time_of_day", "night")),
    **dict.fromkeys(("rock", "stones", "rockfall"), ("event", "rocks")),
    **dict.fromkeys(("kid", "boy", "girl"), ("event", "child")),
}
_SILENT = re.compile(r"an?|and|at|by|in|into|is|its?|of|onto?|the|there|through|to|with|while|during|road|street")


@dataclass(frozen=True)
class Told:
    """What a prompt tells: tags by group, and the words that were not known."""

    tags: dict[str, str]
    unknown: tuple[str, ...]


def tag_numbers(tags: Mapping[str, str]) -> Tensor:  # [len(TAGS)] int64, -1 where nothing is told
    """One number for each group of `TAGS`.

    Raises:
        UsageError: a group or a value that there is not.
    """
    for group, value in tags.items():
        if group not in TAGS:
            raise UsageError(f"tags: expected {', '.join(TAGS)}, found {group!r}")
        if value not in TAGS[group]:
            raise UsageError(f"--{group.replace('_', '-')}: expected one of {', '.join(TAGS[group])}, found {value!r}")
    return torch.tensor([_NUMBERS[group, tags[group]] if group in tags else -1 for group in TAGS])


def known_tags(tags: Mapping[str, object]) -> dict[str, str]:
    """Of a clip's tags those that models know."""
    return {group: str(tags[group]) for group, values in TAGS.items() if tags.get(group) in values}


def read_prompt(text: str) -> Told:
    """Tags of a prompt, word by word; of two that contradict each other the later one counts."""
    found: dict[str, str] = {}
    unknown: list[str] = []
    joined = re.sub(r"\b(wrong way|cut in)\b", lambda match: match[0].replace(" ", "-"), text.lower())
    for word in re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", joined):
        singular = word[:-1] if word.endswith("s") and word[:-1] in _WORDS else word
        if singular in _WORDS:
            group, value = _WORDS[singular]
            found[group] = value
        elif not _SILENT.fullmatch(word):
            unknown.append(word)
    return Told(found, tuple(dict.fromkeys(unknown)))
