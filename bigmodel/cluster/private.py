"""What one command leaves for the next on this machine, in a folder that nobody else can read."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bigmodel.errors import ClusterError

HOME = "BIGMODEL_HOME"
"""The folder that this one lies in; `~/.bigmodel` where it isn't set."""


def place() -> Path:
    """The folder, whether it is there or not."""
    return Path(os.environ.get(HOME) or Path.home() / ".bigmodel").absolute() / "head"


def path(name: str) -> Path:
    """Of a file in the folder, which is made where it isn't there.

    ClusterError where that can't be, or where others could read what lies there.
    """
    folder = place()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"{folder}: can't keep the head's token there ({error.strerror}); name another folder "
            f"with {HOME}"
        ) from None
    check(folder, "700")
    return folder / name


def read(name: str) -> str:
    """What a file holds; "" without it."""
    file = path(name)
    try:
        check(file, "600")
        return file.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{file}: can't be read ({error}); see what it is, or remove it"
        ) from None


def write(name: str, text: str) -> None:
    """Replace the file as a whole; it was never there for others to read."""
    file = path(name)
    part = file.with_name(f".{name}")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
            opened.write(text)
        part.replace(file)
    except OSError as error:
        raise ClusterError(
            f"{file}: can't be written ({error.strerror}); name another folder with {HOME}"
        ) from None


def remove(name: str) -> None:
    """No error where it isn't there."""
    path(name).unlink(missing_ok=True)


@contextmanager
def locked() -> Iterator[None]:
    """One command at a time changes what lies there."""
    with open(path("lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check(found: Path, mode: str) -> None:
    """ClusterError for a file or folder with a token that isn't ours alone."""
    status = found.stat()
    if status.st_uid != os.getuid():
        raise ClusterError(
            f"{found}: it belongs to another user, who can read the token there; remove it, and "
            "make it anew"
        )
    if status.st_mode & 0o077:
        raise ClusterError(
            f"{found}: others could read the token there; make it yours alone with: chmod {mode} "
            f"{found}"
        )
