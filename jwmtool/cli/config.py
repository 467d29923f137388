"""The configuration file: defaults for flags, in TOML.

    [defaults]          # shared flags, for every verb that has them
    device = "cpu"

    [render]            # one section a verb; keys are its long flags
    size = "416x128"

`JWM_CONFIG` names the file; without it `~/.config/jwm/config.toml` and then `jwm.toml` in the working folder are
read, the nearer one winning key by key. A flag on the command line wins over an environment variable, and that over
the file. Unknown sections and keys fail, so that a typing error is not a silent default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jwmtool.cli.table import VERBS
from jwmtool.errors import InputError

Sections = dict[str, dict[str, Any]]


def config_files() -> list[Path]:
    """Files to read, the weakest first.

    Raises:
        InputError: JWM_CONFIG names no file.
    """
    named = os.environ.get("JWM_CONFIG")
    if named:
        if not Path(named).is_file():
            raise InputError(named, "a configuration file (JWM_CONFIG)", "no such file")
        return [Path(named)]
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [path for path in (home / "jwm" / "config.toml", Path("jwm.toml")) if path.is_file()]


def default_map(verb: str, shared: tuple[str, ...]) -> dict[str, Any]:
    """Defaults of one verb's parameters by parameter name, for click's `default_map`.

    Args:
        verb: a verb of the table.
        shared: keys allowed in [defaults].

    Raises:
        InputError: not TOML, an unknown section or key, or a value that is a table.
    """
    merged: dict[str, Any] = {}
    for path in config_files():
        sections = _read(path)
        known = _flags(verb) if verb in sections or "defaults" in sections else {}
        for key, value in sections.get("defaults", {}).items():
            if key not in shared:
                raise InputError(path, f"[defaults] to hold only {', '.join(shared)}", repr(key))
            if key in known:
                merged[known[key]] = _value(path, key, value)
        for key, value in sections.get(verb, {}).items():
            if key.replace("_", "-") not in known:
                raise InputError(path, f"[{verb}] to hold only flags of `jwm {verb}`", repr(key))
            merged[known[key.replace("_", "-")]] = _value(path, key, value)
    return merged


def _read(path: Path) -> Sections:
    import tomllib

    try:
        with path.open("rb") as file:
            sections = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, "TOML", str(error)) from None
    for name, section in sections.items():
        if name != "defaults" and name not in VERBS:
            raise InputError(path, f"sections defaults, {', '.join(VERBS)}", repr(name))
        if not isinstance(section, dict):
            raise InputError(path, f"[{name}] to be a section", repr(section))
    return sections


def _flags(verb: str) -> dict[str, str]:
    """Parameter names by long flag without dashes: {"dry-run": "dry_run", ...}."""
    from jwmtool.cli.group import load_command

    params = load_command(verb).params
    return {opt[2:]: str(param.name) for param in params for opt in param.opts if opt.startswith("--")}


def _value(path: Path, key: str, value: Any) -> Any:
    """Numbers go through the flag's own parser as text; true and false stay; lists are for repeatable flags."""
    if isinstance(value, dict):
        raise InputError(path, f"{key} to be a plain value", "a table")
    if isinstance(value, list):
        return [_value(path, key, item) for item in value]
    return value if isinstance(value, bool) else str(value)
