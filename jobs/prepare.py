"""`bigmodel prepare`: what `train` would learn from, read, checked, cleaned and split."""

from typing import TYPE_CHECKING, Any

from bigmodel.cluster.session import ray_session
from jobs.start import job
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.config import Recipe


def show(result: dict[str, Any]) -> "Table":
    quarantined = sum(result["quarantined"].values())
    return table(
        {
            "rows read": f"{result['rows_read']:,}",
            "rows kept": f"{result['rows_kept']:,}",
            "duplicates": f"{result['duplicates']:,}",
            "quarantined": f"{quarantined:,}",
            **{
                split: ", ".join(f"{label} {count:,}" for label, count in labels.items())
                for split, labels in result["splits"].items()
            },
            "data id": result["data_id"],
        },
        title="Nothing changed; prepared before" if result["reused"] else "Prepared",
    )


@job(show=show)
def main(recipe: "Recipe") -> dict[str, Any]:
    """Read, check, clean and split the data; nothing is done twice."""
    return prepare(recipe)


def prepare(recipe: "Recipe") -> dict[str, Any]:
    """The counts of the prepared rows; Ray is started only where nothing is there to reuse."""
    from bigmodel.data import prepare as stage

    prepared = stage.find_prepared(recipe)
    if prepared is None:
        with ray_session():
            prepared = stage.prepare(recipe)
    return {**prepared.summary, "reused": prepared.reused}


def check_files(recipe: "Recipe") -> None:
    """DataError where a file is missing, empty, or lacks a column; starts no Ray."""
    from bigmodel.data.read import sources_of

    sources_of(recipe.data)


if __name__ == "__main__":
    main()
