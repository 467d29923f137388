"""Write to a temporary sibling, fsync, rename: a killed command leaves the old file or the new one, never half."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jwmtool.errors import OutputExistsError

_SYNCS = 16  # files at a time; they wait for the disk and compute nothing


def check_output(path: Path, force: bool) -> None:
    """Refuse an output that exists (OutputExistsError, exit code 4) unless `force`; call it before long work."""
    if path.exists() and not force:
        raise OutputExistsError(path)


@contextmanager
def atomic_file(path: Path, force: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling to write; on success it replaces `path`, on any error it is removed."""
    check_output(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, since encoders choose the container by it.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            # A full disk is told about the file that the user asked for.
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_pair(path: Path, companion: Path, force: bool = False) -> Iterator[tuple[Path, Path]]:
    """As `atomic_file` for a file and the one that belongs to it.

    Two files cannot be renamed at once: a kill in that instant may leave `path` without its companion, but never
    beside the companion of another version.
    """
    check_output(path, force)
    check_output(companion, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    other = companion.with_name(f".{companion.stem}.{uuid.uuid4().hex[:8]}.part{companion.suffix}")
    try:
        yield temporary, other
        _sync(temporary)
        _sync(other)
        companion.unlink(missing_ok=True)
        os.replace(temporary, path)
        os.replace(other, companion)
        _sync(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary), str(other)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
        other.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, force: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling folder; on success it takes the place of `path`, on any error it is removed."""
    check_output(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir()
    try:
        yield temporary
        # Many at once: one by one takes five times as long. What is only linked lies on the disk already.
        new = [f for f in temporary.rglob("*") if f.is_file() and not f.is_symlink() and f.stat().st_nlink == 1]
        with ThreadPoolExecutor(_SYNCS) as pool:
            for _ in pool.map(_sync, new):
                pass
        if path.exists():
            old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
            os.rename(path, old)
            os.rename(temporary, path)
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
