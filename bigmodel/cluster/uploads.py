"""Data files that go to the storage before a job that reads them there: by content, and once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path

from bigmodel import progress
from bigmodel.errors import ClusterError, DataError
from bigmodel.storage import Folder, folder

UPLOADS = "uploads"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A file of this machine: its SHA-256, and the folder and the name that it is to have."""

    file: Path
    digest: str
    place: Folder
    name: str


def plan(root: str, files: Sequence[Path]) -> tuple[str, tuple[Upload, ...]]:
    """(what a recipe calls them there, what goes where); nothing is sent yet.

    One file stands in `uploads/<its SHA-256>/<its name>`. Several, of one folder or glob, share a
    folder that is named by what all of them hold.
    """
    uploads = folder(root).child(UPLOADS)
    digests = [_digest(file) for file in files]
    if len(files) == 1:
        place = uploads.child(digests[0])
        return place.child(files[0].name).uri, (Upload(files[0], digests[0], place, files[0].name),)
    shared = Path(commonpath([file.parent for file in files]))
    names = [file.relative_to(shared).as_posix() for file in files]
    listing = "\n".join(f"{digest} {name}" for digest, name in zip(digests, names, strict=True))
    place = uploads.child(hashlib.sha256(listing.encode()).hexdigest())
    found = zip(files, digests, names, strict=True)
    return place.uri, tuple(Upload(file, digest, place, name) for file, digest, name in found)


def send(uploads: Sequence[Upload], stage: progress.Stage) -> None:
    """Bring to the storage what isn't there in its size, and say so; DataError for a file that
    changed meanwhile, ClusterError where the storage has another size afterwards."""
    there: Mapping[Folder, Mapping[str, int]] = {
        place: place.sizes() for place in {one.place for one in uploads}
    }
    for one in uploads:
        size = one.file.stat().st_size
        megabytes = f"{one.file.name}, {size / 1e6:,.1f} MB"
        if there[one.place].get(one.name) == size:
            stage.say(f"{megabytes}, is in the storage already")
            continue
        stage.say(f"{megabytes}, goes to {one.place.child(one.name).uri}")
        try:
            one.place.write_parts(one.name, _unchanged(one, stage))
        except DataError:
            one.place.remove()  # an object store may have kept what came
            raise
        if (found := one.place.sizes().get(one.name)) != size:
            raise ClusterError(
                f"{one.place.child(one.name).uri}: {found or 0} bytes are there and {size} were "
                "sent; run the command again"
            )


def _unchanged(upload: Upload, stage: progress.Stage) -> Iterator[bytes]:
    """The file's bytes; DataError at their end where they aren't those of its digest."""
    digest, sent = hashlib.sha256(), 0
    for block in _blocks(upload.file):
        digest.update(block)
        sent += len(block)
        stage.update(note=f"{sent / 1e6:,.0f} MB of {upload.file.name} sent")
        yield block
    stage.update(note="")
    if digest.hexdigest() != upload.digest:
        raise DataError(
            f"{upload.file}: the file changed while it was sent; run the command again once "
            "nothing writes to it"
        )


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    for block in _blocks(file):
        digest.update(block)
    return digest.hexdigest()


def _blocks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                yield block
    except OSError as error:
        raise DataError(
            f"{file}: can't read the data ({error.strerror}); check the path, and who may read it"
        ) from None
