"""`bigmodel new`: look at a file of labelled texts, and write a recipe for it."""

import os
import re
import shlex
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bigmodel.errors import RecipeError
from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.data.look import Look

RECIPE = "recipe.toml"
MOST_LABELS = 12  # that are listed
LONGEST_LABEL = 30  # characters of one that are shown
FEW = 10  # rows of a label, of which a tenth is no more than one

TEMPLATE = """\
# Made by `bigmodel new` from a look at {rows}.
# {labels}
#   bigmodel check {recipe}     what is wrong with the data
#   bigmodel run {recipe}       from the data to an endpoint that answered
name = "{name}"

[data]                     # paths start at this folder
{data}

[data.split]
valid = 0.1                # of the rows, to choose settings by; files of your own: data.valid and
test = 0.1                 # data.test. Equal and nearly equal texts stay in one split, and so do
                           # rows with the same value in `group_column`, where you name one

[model]
kind = "linear"            # or "bag" (n-gram embeddings) or "mlp" (word embeddings, dense layers)
"""


def show(result: dict[str, Any]) -> "Table":
    quoted = shlex.quote(result["recipe"])
    return table(
        {
            "recipe": result["recipe"],
            "rows looked at": f"{result['rows_looked_at']:,}",
            "format": f"{result['format']}, {result['encoding']}",
            "texts": f"column {result['text_column']}",
            "labels": f"column {result['label_column']}: {listed(result['labels'])}",
            "next": f"bigmodel check {quoted}\nbigmodel run {quoted}",
        },
        title="A new recipe",
    )


@verb(show=show)
@click.argument("folder", type=click.Path())
@click.option("--data", required=True, metavar="FILE", help="Labelled texts; here, or by URI.")
@click.option("--text-column", metavar="NAME", help="Where the look can't tell.")
@click.option("--label-column", metavar="NAME", help="Where the look can't tell.")
def main(
    *, storage: str, folder: str, data: str, text_column: str | None, label_column: str | None
) -> dict[str, Any]:
    """Look at a file and write FOLDER/recipe.toml for it."""
    from bigmodel.data.look import look
    from bigmodel.recipe import absolute_path

    recipe = Path(folder) / RECIPE
    if recipe.exists():
        raise RecipeError(f"{recipe}: there is a recipe already; remove it, or name another folder")
    path = absolute_path(data, Path.cwd())
    found = look(path, text_column=text_column, label_column=label_column)
    text = draft(found, path, recipe)
    try:
        recipe.parent.mkdir(parents=True, exist_ok=True)
        with recipe.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise RecipeError(
            f"{recipe}: can't write the recipe ({error.strerror}); name another folder"
        ) from None
    return {
        "recipe": str(recipe),
        "rows_looked_at": found.num_rows,
        "labels": found.labels,
        "text_column": found.text_column,
        "label_column": found.label_column,
        "encoding": found.source.encoding,
        "format": found.source.format,
    }


def draft(found: "Look", path: str, recipe: Path) -> str:
    """The recipe's text; the data's path starts at the recipe's folder where it lies in it."""
    import tomli_w

    from bigmodel.data.look import MOST_ROWS

    home = Path(os.path.abspath(recipe.parent))
    inside = "://" not in path and Path(path).is_relative_to(home)
    data = {"train": Path(path).relative_to(home).as_posix() if inside else path}
    if found.text_column != "text":
        data["text_column"] = found.text_column
    if found.label_column != "label":
        data["label_column"] = found.label_column
    if found.source.encoding != "utf-8":
        data["encoding"] = found.source.encoding
    labels = f"{len(found.labels):,} labels: {listed(found.labels)}."
    if few := {label: count for label, count in found.labels.items() if count < FEW}:
        labels += f"\n# Some have so few rows that a split may lack them: {listed(few)}."
    first = "the first " if found.num_rows == MOST_ROWS else ""
    return TEMPLATE.format(
        rows=f"{first}{found.num_rows:,} rows",
        labels=labels,
        recipe=shlex.quote(str(recipe)),
        name=name_of(home.name, Path(path).name),
        data=tomli_w.dumps(data).strip(),
    )


def name_of(*candidates: str) -> str:
    """A model's name from the first of some names that has letters or digits for one."""
    for candidate in candidates:
        stem = candidate.partition(".")[0]
        if name := re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:63]:
            return name
    return "model"


def listed(labels: Mapping[str, int]) -> str:
    """Labels and their counts on one line, whatever characters and however many there are."""
    shown = [
        f"{''.join(c if c.isprintable() else ' ' for c in label[:LONGEST_LABEL])} {count:,}"
        for label, count in islice(labels.items(), MOST_LABELS)
    ]
    more = len(labels) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


if __name__ == "__main__":
    main()
