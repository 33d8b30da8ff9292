"""What was prepared under a model's name: the splits that hold on, and why something is redone."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bigmodel.data.prepared import SealedFolder, find_sealed
from bigmodel.data.split import SPLITS, Decisions, Earlier, Keys
from bigmodel.storage import Folder

Inputs = dict[str, Any]
"""What a stage depends on, by names that a person knows; JSON values."""


def digest(value: Any) -> str:
    """Twenty hex digits that name a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class History:
    """The prepared folders of one model: `known` inputs with their keys, and the `latest` ones."""

    place: Folder
    name: str
    known: dict[str, str]
    latest: dict[str, Any]

    @classmethod
    def of(cls, place: Folder, name: str) -> "History":
        """As it is remembered under `prepared/names`; empty at first."""
        try:
            found = json.loads(place.child("names").read(f"{name}.json"))
            return cls(place, name, found["known"], found["latest"])
        except (FileNotFoundError, ValueError, KeyError):
            return cls(place, name, {}, {})

    def rows_key(self, inputs: Inputs) -> str:
        """The folder of the rows that `inputs` give, whether it is there or not.

        Rows whose splits hold on to those of other rows have their key from both.
        """
        return self.known.get(digest(inputs)) or digest([inputs, self._held(inputs)])

    def earlier(self, inputs: Inputs) -> Earlier:
        """The splits that `inputs` must hold on to; none where the way to split has changed."""
        key = self._held(inputs)
        origin = find_sealed(self.place.child(f"rows/{key}")) if key else None
        if origin is None:
            return Earlier(np.zeros(0, np.int64), np.zeros(0, np.int8))
        return Earlier(*_assignments(origin))

    def remember(self, inputs: Inputs, text: Inputs, *, rows: str, encoded: str) -> None:
        """Make these the latest."""
        known = self.known | {digest(inputs): rows}
        latest = {"inputs": inputs, "text": text, "rows": rows, "encoded": encoded}
        data = json.dumps({"known": known, "latest": latest}, ensure_ascii=False, indent=1).encode()
        self.place.child("names").write(f"{self.name}.json", data)

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

    def _held(self, inputs: Inputs) -> str:
        """The key of the rows whose splits these inputs must hold on to, "" where none."""
        same = self.latest.get("inputs", {}).get("split") == inputs["split"]
        return str(self.latest["rows"]) if same else ""

    def _words_changed(self, user_dictionary: str) -> int:
        """Lines that are new or gone, whichever are more; all where the old dictionary is gone."""
        new = set(user_dictionary.splitlines())
        origin = find_sealed(self.place.child(f"encoded/{self.latest['encoded']}"))
        old = origin.read("encoder/user_dictionary.txt").decode() if origin else ""
        before = set(old.splitlines())
        return max(len(new - before), len(before - new))


def _assignments(origin: SealedFolder) -> tuple[Keys, Decisions]:
    """The texts that were split by their unit, in rising order of their keys."""
    files = origin.summary()["files"]
    own = [i for i, file in enumerate(files) if file["split"] == "train" and file["weight"] == 1]
    keys, splits = [np.zeros(0, np.int64)], [np.zeros(0, np.int8)]
    for name in origin.parts("rows"):
        table = origin.parquet(name, ["source", "key", "split"])
        chosen = np.isin(table["source"].to_numpy(), own)
        keys.append(table["key"].to_numpy()[chosen])
        place = pa.compute.index_in(table["split"], pa.array(SPLITS))
        splits.append(place.to_numpy().astype(np.int8)[chosen])
    key, first = np.unique(np.concatenate(keys), return_index=True)
    return key, np.concatenate(splits)[first]


def _changed(before: Inputs, now: Inputs, *, without: str) -> list[str]:
    if not before:
        return []
    names = [name for name in now if name != without and before.get(name) != now[name]]
    return [f"{name} changed" for name in names]


def _files_changed(before: list[list[Any]], now: list[list[Any]]) -> list[str]:
    old, new = {file[0]: file[1:] for file in before}, {file[0]: file[1:] for file in now}
    return [
        *(f"{name} changed" for name in new if name in old and old[name] != new[name]),
        *(f"{name} is new" for name in new if name not in old),
        *(f"{name} is gone" for name in old if name not in new),
    ]
