"""Read a JSON file, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jwmtool.errors import InputError


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in `path`.

    Raises:
        InputError: missing, not text, not JSON, not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "a JSON file", "no such file") from None
    except UnicodeDecodeError:
        raise InputError(path, "a JSON file", "bytes that are not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(path, "JSON", f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except OSError as error:
        raise InputError(path, "a readable JSON file", error.strerror or str(error)) from None
    if not isinstance(value, dict):
        raise InputError(path, "a JSON object", f"a {type(value).__name__}")
    return value
