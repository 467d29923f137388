"""What a run folder tells of its data: `data.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import InputError, UsageError
from jwmtool.training.clips import Data

FILE = "data.json"
FORMAT, VERSION = "jwm-training-data", "1.0"


@dataclass(frozen=True)
class Record:
    """What a run trains, on what and how.

    Attributes:
        model: one word.
        config, recipe: of the network, and of its training.
        data: clips.
        flags: what decides the recipe, as a message names it.
    """

    model: str
    config: Mapping[str, Any]
    recipe: Mapping[str, Any]
    data: Data
    flags: str = "the recipe and the seed"

    def write(self, folder: Path, made: Mapping[str, Any]) -> None:
        """Write it. Every rank may: all write the same.

        Args:
            made: provenance.
        """
        told: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": self.model, "config": dict(self.config)}
        told |= {"recipe": dict(self.recipe), **self.data.document(), "provenance": [dict(made)]}
        with atomic_file(folder / FILE, force=True) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    def check(self, folder: Path) -> None:
        """See that a run that is to go on has the clips and the recipe that it began with.

        Raises:
            UsageError: no run there. InputError: data.json is damaged, or others.
        """
        path, then = read_record(folder, self.model)
        now = json.loads(json.dumps({"recipe": dict(self.recipe), **self.data.document()}))
        for key in ("training", "held_out"):
            if now[key] != then.get(key):
                expected = "the clips that this training began with (make new ones elsewhere)"
                raise InputError(path, expected, f"{_difference(then.get(key), now[key])} under {key}")
        if now["recipe"] != then.get("recipe"):
            raise InputError(path, f"{self.flags} that this training began with", "others")


def read_record(folder: Path, model: str) -> tuple[Path, dict[str, Any]]:
    """A run's record and its file; the network's `config` is in it.

    Raises:
        UsageError: no run there. InputError: damaged, of a newer version or of another model.
    """
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"--resume: no unfinished training in {folder}; leave --resume out to start one")
    document = read_json(path)
    if document.get("format") != FORMAT or str(document.get("version")).split(".")[0] != VERSION.split(".")[0]:
        found = f"{document.get('format')} version {document.get('version')}"
        raise InputError(path, f"{FORMAT} version {VERSION}", found)
    if document.get("model") != model:
        raise InputError(path, f"a training of {model}", f"one of {document.get('model')}")
    if not isinstance(document.get("config"), dict):
        raise InputError(path, "the network's config", repr(document.get("config")))
    return path, document


def _difference(then: Any, now: Any) -> str:
    """How two lists of clips differ, in words; groups count as one list."""

    def flat(value: Any) -> dict[str, str]:
        rows = [row for item in value or [] for row in (item if isinstance(item, list) else [item])]
        return {str(row.get("clip")): json.dumps(row, sort_keys=True) for row in rows if isinstance(row, dict)}

    before, after = flat(then), flat(now)
    new, gone = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    parts = [
        f"{len(names)} {word} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for word, names in (("new", new), ("missing", gone), ("changed", changed))
        if names
    ]
    return ", ".join(parts) or "another order"
