"""What was prepared under a model's name: the splits that hold on, and why something is redone."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bigmodel.data.prepared import SPLITS_FILE, SealedFolder, find_sealed
from bigmodel.data.split import Earlier
from bigmodel.errors import DataError
from bigmodel.storage import Folder

Inputs = dict[str, Any]
"""What a stage depends on, by names that a person knows; JSON values."""


def digest(value: Any) -> str:
    """Twenty hex digits that name a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class History:
    """All that was prepared under one name, in one file of `prepared/names`.

    `known` inputs with the keys of their rows, the `latest` ones, and for each way to split (the
    digest of its settings) the splits of all texts that were ever split so: they hold on when the
    rows they came with are long gone, or a sample was prepared in between.
    """

    place: Folder
    name: str
    known: dict[str, str]
    latest: dict[str, Any]
    splits: dict[str, Earlier]

    @classmethod
    def of(cls, place: Folder, name: str) -> "History":
        """As it is remembered; empty at first. DataError where the file is damaged."""
        names = place.child("names")
        try:
            data = names.read(f"{name}.arrow")
        except FileNotFoundError:
            return cls(place, name, {}, {}, {})
        try:
            file = pa.ipc.open_file(pa.BufferReader(data))
            about = json.loads(file.schema.metadata[b"about"])
            splits = {s: Earlier.of(file.get_batch(i)) for i, s in enumerate(about["settings"])}
            return cls(place, name, about["known"], about["latest"], splits)
        except (pa.ArrowException, ValueError, KeyError, TypeError):
            raise DataError(
                f"{names.child(f'{name}.arrow').uri}: damaged, and it says which texts stand in "
                "which split; bring it back from a copy, or delete it and all rows are split anew"
            ) from None

    def rows_key(self, inputs: Inputs) -> str:
        """The folder of the rows that `inputs` give, whether it is there or not.

        Rows whose splits hold on to earlier ones have their key from both.
        """
        return self.known.get(digest(inputs)) or digest([inputs, self.earlier(inputs).digest()])

    def earlier(self, inputs: Inputs) -> Earlier:
        """The splits that `inputs` must hold on to; none where nothing was split in their way."""
        return self.splits.get(digest(inputs["split"]), Earlier.none())

    def remember(self, inputs: Inputs, text: Inputs, *, origin: SealedFolder, encoded: str) -> None:
        """Make these the latest, beside what other prepares have remembered meanwhile.

        DataError where one of them has put a text of these rows into another split.
        """
        rows = origin.place.name
        known = {digest(inputs): rows}
        latest = {"inputs": inputs, "text": text, "rows": rows, "encoded": encoded}
        if known.items() <= self.known.items() and latest == self.latest:
            return
        with self.place.child("names").locked():
            now = History.of(self.place, self.name)
            splits = now.splits
            if not known.items() <= now.known.items():
                together = now.earlier(inputs).joined(Earlier.of(origin.arrow(SPLITS_FILE)))
                if together is None:
                    raise DataError(
                        f"{self.name}: another prepare has put texts of these rows into other "
                        "splits meanwhile; run the command again, and they stay where they are"
                    )
                splits = splits | {digest(inputs["split"]): together}
            History(self.place, self.name, now.known | known, latest, splits)._write()

    def why_rows(self, inputs: Inputs) -> list[str]:
        """What has changed since the latest rows; nothing where there are none."""
        before = self.latest.get("inputs", {})
        found = _files_changed(before.get("files", []), inputs["files"]) if before else []
        return found + _changed(before, inputs, without="files")

    def why_text(self, text: Inputs, user_dictionary: str) -> list[str]:
        """What has changed in the way from texts to ids."""
        before = self.latest.get("text", {})
        found = _changed(before, text, without="user dictionary")
        if before and before.get("user dictionary") != text["user dictionary"]:
            found.append(f"user dictionary changed: {self._words_changed(user_dictionary)} words")
        return found

    def _write(self) -> None:
        about = {"known": self.known, "latest": self.latest, "settings": list(self.splits)}
        schema = Earlier.none().table().schema
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(
            sink, schema.with_metadata({"about": json.dumps(about, ensure_ascii=False)})
        ) as file:
            for earlier in self.splits.values():  # a batch each: of an empty table there is none
                file.write_batch(pa.record_batch([earlier.keys, earlier.split], schema=schema))
        self.place.child("names").write(f"{self.name}.arrow", sink.getvalue())

    def _words_changed(self, user_dictionary: str) -> int:
        """Lines that are new or gone, whichever are more; all where the old dictionary is gone."""
        new = set(user_dictionary.splitlines())
        origin = find_sealed(self.place.child(f"encoded/{self.latest['encoded']}"))
        old = origin.read("encoder/user_dictionary.txt").decode() if origin else ""
        before = set(old.splitlines())
        return max(len(new - before), len(before - new))


def _changed(before: Inputs, now: Inputs, *, without: str) -> list[str]:
    if not before:
        return []
    names = [name for name in now if name != without and before.get(name, now[name]) != now[name]]
    return [f"{name} changed" for name in names]


def _files_changed(before: list[list[Any]], now: list[list[Any]]) -> list[str]:
    """Files are told by what is in them before their names: another folder renames them all."""
    old = {file[0]: file[1:] for file in before if file[1:] not in [f[1:] for f in now]}
    new = {file[0]: file[1:] for file in now if file[1:] not in [f[1:] for f in before]}
    return [
        *(f"{name} changed" for name in new if name in old),
        *(f"{name} is new" for name in new if name not in old),
        *(f"{name} is gone" for name in old if name not in new),
    ]
