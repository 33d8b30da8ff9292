"""Folders under a storage root, local or `s3://` / `gs://`, through pyarrow.fs."""

import fcntl
import os
import secrets
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from bigmodel.errors import BigModelError, RecipeError
from bigmodel.remote import fault, remote

MANIFEST = "manifest.json"
"""The last file written of a folder that is whole."""
ABANDONED_S = 24 * 3600.0


@dataclass(frozen=True)
class Folder:
    """Where a folder is: an absolute local path or a URI, without a slash at the end."""

    uri: str

    @property
    def local(self) -> Path | None:
        """The folder's path, or None where it isn't on this machine's disk."""
        return None if "://" in self.uri else Path(self.uri)

    def child(self, name: str) -> "Folder":
        """A folder in this one; what follows a `?` in a URI (an endpoint, say) stays at its end."""
        base, mark, query = self.uri.partition("?")
        return Folder(f"{base}/{name}{mark}{query}")

    @property
    def parent(self) -> "Folder":
        """The folder that this one is in."""
        base, mark, query = self.uri.partition("?")
        return Folder(f"{base.rpartition('/')[0]}{mark}{query}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.uri.partition("?")[0].rpartition("/")[2]

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError where there is none."""
        with _told("read", self.uri):
            if self.local:
                return (self.local / name).read_bytes()
            filesystem, path = remote(self.uri)
            with filesystem.open_input_stream(f"{path}/{name}", compression=None) as stream:
                return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole: on a local disk aside and renamed, so that no reader sees a part."""
        self.write_parts(name, [data])

    def write_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """As `write`, of parts that follow each other; one is in memory at a time."""
        if not self.local:
            with _told("write", self.uri):
                filesystem, path = remote(self.uri)
                with filesystem.open_output_stream(f"{path}/{name}", compression=None) as stream:
                    for part in parts:
                        stream.write(part)
            return
        target = self.local / name
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        with _told("write", self.uri):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with aside.open("wb") as file:
                    file.writelines(parts)
                os.replace(aside, target)
            finally:
                aside.unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        if self.local:
            return (self.local / name).is_file()
        from pyarrow import fs

        with _told("look", self.uri):
            filesystem, path = remote(self.uri)
            return bool(filesystem.get_file_info(f"{path}/{name}").type == fs.FileType.File)

    def names(self) -> list[str]:
        """All files below the folder, relative to it, sorted; none where there is no folder."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """The bytes of each of them."""
        if self.local:
            return _local_sizes(self.local)
        from pyarrow import fs

        with _told("look", self.uri):
            filesystem, path = remote(self.uri)
            everything = fs.FileSelector(path, recursive=True, allow_not_found=True)
            found = filesystem.get_file_info(everything)
        files = [info for info in found if info.type == fs.FileType.File]
        return {str(PurePosixPath(info.path).relative_to(path)): info.size for info in files}

    def remove(self) -> None:
        """Delete the folder with all that is in it; nothing happens where there is none."""
        if self.local:
            shutil.rmtree(self.local, ignore_errors=True)
            return
        with _told("delete", self.uri):
            filesystem, path = remote(self.uri)
            if self.names():
                filesystem.delete_dir(path)

    @contextmanager
    def scratch(self) -> Iterator["Folder"]:
        """A folder of its own in this one for the block, and nothing of either left after it, but
        for what others have here; what can't be removed stays."""
        place = self.child(secrets.token_hex(8))
        try:
            yield place
        finally:
            with suppress(BigModelError):
                place.remove()
                if not self.names():
                    self.remove()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time is in the block; an object store has no locks and lets all in."""
        if not self.local:
            yield
            return
        mark = self.local / ".lock"
        with _told("write", self.uri):
            self.local.mkdir(parents=True, exist_ok=True)
            file = _lock(mark)
        with file:
            try:
                yield
            finally:
                mark.unlink()

    @contextmanager
    def fresh(self) -> Iterator["Folder"]:
        """A folder to fill; it takes this one's name when the block ends well, else it is removed.

        Where a folder with the same files is there by then, it stays, and what was filled is
        removed: of two that write the same at once the first one wins, and nobody who reads it is
        disturbed. What a killed process left beside it is removed as well. An object store has
        neither renaming nor locks: the block fills the folder itself, over what stands there, and
        whoever reads one trusts it only when its manifest, the last file written, is there.
        """
        if not self.local:
            _sweep_remote(self.parent)
            yield self
            return
        with self.parent.locked(), _told("write", self.uri):
            _sweep(self.local.parent)
        aside = self.local.with_name(f".{self.local.name}.{uuid.uuid4().hex[:8]}")
        with _marked(aside):
            try:
                with _told("write", self.uri):
                    aside.mkdir()
                yield Folder(str(aside))
                with self.parent.locked(), _told("write", self.uri):
                    _take(aside, self)
            finally:
                shutil.rmtree(aside, ignore_errors=True)


def nearest(path: Path) -> Path:
    """The path, or the first folder above it that is there: whose disk and access are its own."""
    return next(one for one in (path, *path.parents) if one.exists())


def _local_sizes(root: Path) -> dict[str, int]:
    """Of the files below a folder; one that somebody removes while we look is none."""
    found = {}
    for place, _, names in os.walk(root):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                found[path.relative_to(root).as_posix()] = path.lstat().st_size
    return found


def _take(aside: Path, place: Folder) -> None:
    """Give a filled folder its name, unless its like is there."""
    assert place.local
    if not place.local.exists():
        aside.rename(place.local)
    elif Folder(str(aside)).sizes() != place.sizes():
        old = aside.with_name(f"{aside.name}.old")
        place.local.rename(old)  # renamed, not removed: somebody may be reading it
        aside.rename(place.local)
        shutil.rmtree(old, ignore_errors=True)


def _lock(mark: Path) -> IO[str]:
    """The file, locked once it is ours alone: who had the lock before us removed it."""
    while True:
        file = mark.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), mark.stat()):
                return file
        file.close()


@contextmanager
def _marked(aside: Path) -> Iterator[None]:
    """A lock beside a folder under work; the system lets go of it when the process ends."""
    mark = aside.with_name(f"{aside.name}.lock")
    with _told("write", str(aside)):
        file = mark.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def _sweep(parent: Path) -> None:
    """Remove folders under work whose process is gone."""
    for mark in parent.glob(".*.lock"):
        with suppress(FileNotFoundError), mark.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            aside = mark.with_suffix("")
            for left in (aside, aside.with_name(f"{aside.name}.old")):
                shutil.rmtree(left, ignore_errors=True)
            mark.unlink(missing_ok=True)


def _sweep_remote(parent: Folder) -> None:
    """Remove folders without a manifest in which nothing was written for long."""
    from pyarrow import fs

    with _told("look", parent.uri):
        filesystem, path = remote(parent.uri)
        found = filesystem.get_file_info(
            fs.FileSelector(path, recursive=True, allow_not_found=True)
        )
    written: dict[str, float] = {}
    whole = set()
    for info in found:
        name, _, rest = info.path.removeprefix(f"{path}/").partition("/")
        if info.is_file and rest:
            written[name] = max(written.get(name, 0), info.mtime_ns / 1e9)
            whole |= {name} if rest == MANIFEST else set()
    for name in written.keys() - whole:
        if written[name] < time.time() - ABANDONED_S:
            parent.child(name).remove()


def folder(uri: str | Path) -> Folder:
    """The folder at a path (relative ones start here) or URI; it need not exist."""
    text = str(uri)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" in text:
        base, mark, query = text.partition("?")
        return Folder(f"{base.rstrip('/')}{mark}{query}")
    return Folder(os.path.abspath(os.path.expanduser(text)))


@contextmanager
def _told(what: str, uri: str) -> Iterator[None]:
    """A fault of the disk or the network as a sentence; what is missing is for the caller."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _sentence(what, uri, error) from error


def _sentence(what: str, uri: str, error: OSError | ValueError) -> BigModelError:
    if known := fault(error):
        return known.error(f"{uri}: can't {what} there ({known.said}); {known.remedy}")
    said = getattr(error, "strerror", None) or error
    return RecipeError(
        f"{uri}: can't {what} there ({said}); make room or give access there, or name another place"
    )
