"""What `prepare` hands over, made of rows in a list: for tests of what is said about data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from bigmodel.config import Recipe
from bigmodel.data.schema import LabelSet
from bigmodel.data.split import key64
from bigmodel.recipe import make_recipe
from bigmodel.text.encoder import EncoderRecipe, TextEncoder
from bigmodel.text.normalize import normalize

SPLITS = ("train", "valid", "test")
RECIPE: Recipe = make_recipe({"name": "reviews", "data": {"train": "评论.csv"}}, "recipe")
Row = tuple[str, str]
Aside = tuple[int, str, str | None, str | None, str | None, bytes | None]


@dataclass(frozen=True)
class SmallPrepared:
    """Rows of (text, label), every tenth for valid and every tenth for test.

    `units` says which rows are near each other; `aside` holds row, reason, detail, text, label and
    raw of records in quarantine.
    """

    rows: Sequence[Row]
    units: Sequence[int] | None = None
    aside: Sequence[Aside] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> LabelSet:
        return LabelSet.of(label for _, label in self.rows)

    @property
    def splits(self) -> list[str]:
        return [{8: "valid", 9: "test"}.get(n % 10, "train") for n in range(len(self.rows))]

    @property
    def summary(self) -> dict[str, Any]:
        counted: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for (_, label), split in zip(self.rows, self.splits, strict=True):
            counted[split][label] += 1
        reasons = Counter(row[1] for row in self.aside)
        return {
            "rows_read": len(self.rows) + len(self.aside),
            "rows_kept": len(self.rows),
            "quarantined": {"unreadable": 0, "empty": 0, "conflict": 0} | reasons,
            "unreadable": {},
            "duplicates": 0,
            "conflicts": reasons["conflict"],
            "splits": {split: dict(labels) for split, labels in counted.items()},
            "labels": list(self.labels.names),
            "data_id": "0123456789ab",
            "files": [
                {
                    "path": "评论.csv", "split": "train", "weight": 1.0, "format": "csv",
                    "encoding": "gb18030", "rows": len(self.rows), "quarantined": len(self.aside),
                }
            ],
            "near_duplicates": {"groups": 0, "rows": 0, "largest": 1, "split_at_0.9": 0},
            "leaks": {},
            "corrections": {"given": 0, "unmatched": 0},
            "weak_words": [],
            "deviation": {},
        } | self.about  # fmt: skip

    def table(self) -> pa.Table:
        count = len(self.rows)
        return pa.table(
            {
                "source": pa.array([0] * count, pa.int32()),
                "row": pa.array(range(1, count + 1), pa.int64()),
                "key": pa.array([key64(normalize(text)) for text, _ in self.rows], pa.int64()),
                "text": [text for text, _ in self.rows],
                "label": [label for _, label in self.rows],
                "split": self.splits,
                "weight": pa.array([1.0] * count, pa.float32()),
                "unit": pa.array(self.units or range(count), pa.int64()),
            }
        )

    def quarantine(self) -> pa.Table:
        names = ("row", "reason", "detail", "text", "label", "raw")
        types = (pa.int64(), pa.string(), pa.string(), pa.string(), pa.string(), pa.binary())
        columns = list(zip(*self.aside, strict=True)) or [()] * len(names)
        arrays = [pa.array(c, t) for c, t in zip(columns, types, strict=True)]
        named = dict(zip(names, arrays, strict=True))
        return pa.table({"source": pa.array(["评论.csv"] * len(self.aside), pa.string())} | named)

    def encoder(self) -> TextEncoder:
        return EncoderRecipe.of(RECIPE).fit_on([text for text, _ in self.rows])
