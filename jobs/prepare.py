"""`bigmodel prepare`: what `train` would learn from, read, checked, cleaned and split."""

from typing import TYPE_CHECKING, Any

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
    from bigmodel.data.prepare import prepare

    prepared = prepare(recipe)
    return {**prepared.summary, "reused": prepared.reused}


if __name__ == "__main__":
    main()
