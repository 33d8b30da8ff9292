"""Labels and rows: what a usable record is, and why another isn't."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel.errors import DataError

ROWS = pa.schema(
    [
        ("row", pa.int64()),  # number of the record in its piece, the first is 1
        ("text", pa.string()),
        ("label", pa.string()),
        ("group", pa.string()),  # of data.split.group_column, null where blank
        ("reason", pa.string()),  # why the record isn't usable, else null
        ("detail", pa.string()),  # what exactly, else null
        ("raw", pa.binary()),  # the record as it stood, only with a reason
    ]
)
UNREADABLE, EMPTY, REMOVED = "unreadable", "empty", "removed"
CONFLICT, BRIDGE = "conflict", "bridge"
"""Why a record is in quarantine, in the order in which it is judged."""


_KEPT = "kept "


def kept_name(column: str) -> str:
    """What a column of the data that is kept for slices is called among ours."""
    return _KEPT + column


def kept_columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Those that are kept for slices, by their names in the data."""
    names = [name for name in table.column_names if name.startswith(_KEPT)]
    return {name.removeprefix(_KEPT): table[name] for name in names}


@dataclass(frozen=True)
class LabelSet:
    """The classes of a model, sorted; a class's id is its position."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, labels: Iterable[str]) -> "LabelSet":
        """From the labels of the training rows; fewer than two are refused."""
        names = tuple(sorted(set(labels)))
        if len(names) < 2:
            found = f"only the label {names[0]!r}" if names else "no labels"
            raise DataError(
                f"the training rows have {found}; a classifier needs at least two: add rows with "
                "another label, or name the right column with data.label_column"
            )
        return cls(names)

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, labels: Sequence[str], *, where: str) -> npt.NDArray[np.int64]:
        """Class ids; DataError, beginning with `where`, for a label that training never saw."""
        unknown = sorted({label for label in labels if label not in self._position})
        if unknown:
            raise DataError(
                f"{where}: unknown label {unknown[0]!r} (known: {', '.join(self.names)}); "
                "correct it, or add rows with it to the training data"
            )
        return np.fromiter((self._position[label] for label in labels), np.int64, len(labels))

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}
