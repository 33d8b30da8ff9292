"""Data files wherever they are: from a path, glob, folder or URI to files, and to their bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs

from bigmodel.errors import DataError
from bigmodel.remote import NO_BUCKET, fault, remote

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
KNOWN = f"{', '.join(list(FORMATS)[:-1])} or .txt, and all but .parquet also as .gz or .zst"

_WILD = frozenset("*?[")
_CUT = "the file ends in the middle of its data; copy it anew, or make it again"
_NOT_COMPRESSED = (
    "the file isn't compressed as its name says, or is damaged; rename it, or compress it anew"
)
_FLAWS = {
    "Truncated compressed stream": _CUT,
    "Unexpected end of stream": _CUT,
    "Parquet file size is": _CUT,
    "Parquet magic bytes not found": f"this isn't Parquet, or {_CUT}",
    "zlib inflate failed": _NOT_COMPRESSED,
    "ZSTD decompress failed": _NOT_COMPRESSED,
}
"""What pyarrow says of a file that isn't whole, or not what its name says; and what we say."""


def format_of(path: str) -> tuple[str, str | None]:
    """(format, compression) by the suffix of a path or URI; DataError for one not known."""
    found = _format(path.partition("?")[0] if "://" in path else path)
    if found is None:
        raise DataError(f"{path}: unknown kind of file; expected {KNOWN}")
    return found


def _format(path: str) -> tuple[str, str | None] | None:
    name = PurePosixPath(path.lower())
    compression = COMPRESSIONS.get(name.suffix)
    found = FORMATS.get(PurePosixPath(name.stem).suffix if compression else name.suffix)
    return None if found is None or (compression and found == "parquet") else (found, compression)


@dataclass(frozen=True)
class Location:
    """A path on a filesystem, and what to write around it for the URI that names it."""

    filesystem: Any
    path: str
    before: str = ""
    after: str = ""

    @classmethod
    def of(cls, written: str) -> "Location":
        """Of a local path, or of a URI for `remote`, in which a `?` is no wildcard."""
        scheme, separator, rest = written.partition("://")
        if not separator or scheme == "file":
            return cls(fs.LocalFileSystem(), rest or written)
        try:
            filesystem, path = remote(written)
        except ValueError as error:
            raise DataError(_unreadable(written, str(error))) from None
        base, mark, options = written.partition("?")
        return cls(filesystem, path, base.rstrip("/").removesuffix(path), mark + options)

    def uri(self, path: str) -> str:
        """How a path on this filesystem is written."""
        return f"{self.before}{path}{self.after}"

    def info(self) -> Any:
        return self.filesystem.get_file_info(self.path.rstrip("/") or "/")

    def listed(self, folder: str, *, recursive: bool = False) -> list[Any]:
        """What stands in a folder, hidden files and folders left out."""
        found = self.filesystem.get_file_info(fs.FileSelector(folder, recursive=recursive))
        return [info for info in found if "/." not in info.path.removeprefix(folder)]


def files_of(path: str) -> list[str]:
    """The file, the data files of a folder and all below it, or what a glob fits; sorted.

    `**` stands for any number of folders. DataError where there is none, or can't be looked.
    """
    with told(path):
        place = Location.of(path)
        info = place.info()
        if info.type == fs.FileType.Directory:
            inside = place.listed(info.path, recursive=True)
            found = [one.path for one in inside if one.is_file and _format(one.path)]
            missing = f"no data files in this folder; expected {KNOWN}"
        elif info.type != fs.FileType.NotFound or not _WILD & set(place.path):
            return [place.uri(place.path)]
        else:
            folder, parts = _fixed(place.path)
            found = list(_fitting(place, folder, parts))
            missing = "no file fits this pattern; check it"
    if not found:
        raise DataError(f"{path}: {missing}")
    return [place.uri(one.removeprefix("./")) for one in sorted(set(found))]


def _fixed(pattern: str) -> tuple[str, list[str]]:
    """(the folder before the first wildcard, the parts from there on)"""
    parts = pattern.split("/")
    fixed = list(takewhile(lambda part: not _WILD & set(part), parts))
    return "/".join(fixed) or ("/" if fixed else "."), parts[len(fixed) :]


def _fitting(place: Location, folder: str, parts: list[str]) -> Iterator[str]:
    head, *rest = parts
    if head == "**":
        yield from _fitting(place, folder, rest or ["*"])
    for info in place.listed(folder):
        fits = fnmatchcase(info.base_name, head)
        if info.type == fs.FileType.Directory and fits and (rest or head == "**"):
            yield from _fitting(place, info.path, parts if head == "**" else rest)
        elif info.type == fs.FileType.File and fits and not rest and head != "**":
            yield info.path


def stamp(path: str) -> tuple[int, int]:
    """(its bytes, nanoseconds since 1970 of its last change); DataError where there is no file."""
    with told(path):
        info = Location.of(path).info()
    if info.type != fs.FileType.File:
        said = {fs.FileType.NotFound: "no such file", fs.FileType.Directory: "a folder, not a file"}
        raise DataError(_unreadable(path, said.get(info.type, "not a file")))
    return info.size, info.mtime_ns or 0


def check_file(path: str) -> None:
    """DataError where there is no file, or nothing in it."""
    if stamp(path)[0] == 0:
        raise DataError(f"{path}: the file is empty; expected rows with texts")


def blocks(path: str, compression: str | None, size: int) -> Iterator[bytes]:
    """A file's bytes, decompressed, about `size` at a time; DataError where they end too soon."""
    with told(path):
        place = Location.of(path)
        with place.filesystem.open_input_stream(place.path, compression=compression) as stream:
            while block := stream.read(size):
                yield block


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file to read here and there; what goes wrong within the block is `told`."""
    with told(path):
        place = Location.of(path)
        with place.filesystem.open_input_file(place.path) as file:
            yield file


@contextmanager
def told(path: str) -> Iterator[None]:
    """What goes wrong with a file, its disk or its network, as a sentence.

    A store that refuses or says nothing is a ClusterError, all else a DataError.
    """
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        for pattern, sentence in _FLAWS.items():
            if pattern in said:
                raise DataError(f"{path}: {sentence}") from None
        if kind := fault(error):
            wrong = DataError if kind is NO_BUCKET else kind.error
            raise wrong(_unreadable(path, kind.said, kind.remedy)) from None
        if isinstance(error, FileNotFoundError):
            said = "no such file"
        raise DataError(_unreadable(path, said if len(said) < 300 else f"{said[:300]}…")) from None


def _unreadable(path: str, said: str, remedy: str = "check the path, and who may read it") -> str:
    return f"{path}: can't read the data ({said}); {remedy}"
