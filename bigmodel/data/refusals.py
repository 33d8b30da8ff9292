"""Data that no model should be made of, and what to do about it."""

from collections.abc import Mapping, Sequence

from bigmodel.data.schema import EMPTY, UNREADABLE, LabelSet
from bigmodel.data.sources import Source
from bigmodel.errors import DataError

_MANY_LABELS = 20  # from which on they should repeat


def check_bad_rows(
    reasons: Mapping[str, int],
    details: Mapping[str, int],
    num_rows: int,
    limit: float,
    *,
    where: str,
    first: str,
) -> None:
    """DataError where too many records are unreadable or empty.

    `details` counts why records are unreadable, `first` says which record is the first bad one.
    """
    counts = {reason: reasons.get(reason, 0) for reason in (UNREADABLE, EMPTY)}
    bad = sum(counts.values())
    if bad <= limit * num_rows:
        return
    why = {reason: "" for reason in counts}
    if details:
        why[UNREADABLE] = f" ({', '.join(f'{what}: {n}' for what, n in sorted(details.items()))})"
    said = ", ".join(f"{count} {reason}{why[reason]}" for reason, count in counts.items() if count)
    raise DataError(
        f"{first}: {bad} of {num_rows} rows can't be used ({said}), more than data.max_bad_rows "
        f"allows ({limit:.2%}); they stand in {where} with their reasons: mend them, "
        f"{'set data.encoding, ' if 'bytes' in details else ''}or allow more"
    )


def check_unlabelled(
    source: Source, details: Mapping[str, int], num_rows: int, limit: float
) -> None:
    """DataError where too many records of a file of texts without labels are unreadable.

    `details` counts why they are.
    """
    bad = sum(details.values())
    if bad <= limit * num_rows:
        return
    why = ", ".join(f"{what}: {count}" for what, count in sorted(details.items()))
    raise DataError(
        f"{source.path}: {bad} of {num_rows} texts without labels can't be read ({why}), more than "
        f"data.max_bad_rows allows ({limit:.2%}); mend them, "
        f"{'set data.encoding, ' if 'bytes' in details else ''}or allow more"
    )


def check_columns(source: Source, *, usable: int, num_labels: int, num_numbers: int) -> None:
    """DataError where the columns can't be texts and labels: numbers, or labels that don't repeat.

    Of the `usable` records, which have `num_labels` different labels, `num_numbers` have a number
    for a text.
    """
    columns = f"found: {', '.join(source.columns)}"
    if 2 * num_numbers > usable:
        raise DataError(
            f"{source.path}: {num_numbers} of {usable} texts in the column "
            f"{source.columns[source.text]!r} are numbers ({columns}); name the column with the "
            "texts with data.text_column"
        )
    if num_labels > max(_MANY_LABELS, usable // 2) and source.label is not None:
        raise DataError(
            f"{source.path}: the column {source.columns[source.label]!r} has {num_labels} "
            f"different values in {usable} rows, and labels repeat ({columns}); name the column "
            "with the labels with data.label_column"
        )


def labels_of(splits: Mapping[str, Mapping[str, int]], sources: Sequence[Source]) -> LabelSet:
    """The labels to learn, from the counts of each split; DataError where they can't be learnt.

    That is: fewer than two, one that no training row has, or a split without rows.
    """
    where = {source.split: source.path for source in reversed(sources)}
    labels = LabelSet.of(splits["train"])
    for split in ("valid", "test"):
        unknown = sorted(set(splits[split]) - set(labels.names))
        if unknown and split in where:
            labels.ids(unknown, where=where[split])
        if unknown:
            raise DataError(
                f"{where['train']}: too few rows with the label {unknown[0]!r}: none fell into the "
                "training split; add rows with it, or take it out"
            )
        if not splits[split]:
            raise DataError(
                f"{where.get(split, where['train'])}: no row is left for the {split} split; "
                f"add rows, or name a file with data.{split}"
            )
    return labels
