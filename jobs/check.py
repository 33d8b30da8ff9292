"""`bigmodel check`: what is wrong with the data, before anything is trained."""

import os
from typing import TYPE_CHECKING, Any

from bigmodel.cluster.session import ray_session
from jobs.prepare import read_as
from jobs.start import job
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.config import Recipe
    from bigmodel.storage import Folder

MOST_LABELS = 12  # in the terminal; the page has them all


def show(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group

    aside = {reason: count for reason, count in result["quarantined"].items() if count}
    labels = [f"{label} {rows:,}" for label, rows in result["classes"]["rows"].items()]
    if len(labels) > MOST_LABELS:
        labels[MOST_LABELS:] = [f"and {len(labels) - MOST_LABELS} more"]
    doubted = result["doubted"]
    counts = table(
        {
            "rows read": f"{result['rows_read']:,}",
            **read_as(result),
            "rows kept": f"{result['rows_kept']:,}",
            "duplicates": f"{result['duplicates']:,}",
            "set aside": ", ".join(f"{reason} {n:,}" for reason, n in aside.items()) or "0",
            "labels": ", ".join(labels),
            "perhaps mislabelled": "{found:,} of {examined:,} rows looked at".format(**doubted),
        },
        title="The data",
    )
    return Group(
        counts,
        *(f"- {sentence}" for sentence in result["warnings"]),
        f"report {result['report']}",
        f"suspects {result['suspects']}",
    )


@job(show=show)
def main(recipe: "Recipe") -> dict[str, Any]:
    """Say what is wrong with the data, before anything is trained."""
    return check(recipe)


def check(recipe: "Recipe") -> dict[str, Any]:
    """The counts of `prepare`, the figures of the report, and where its files stand."""
    import json

    from bigmodel import progress
    from bigmodel.inspection.data_report import describe
    from bigmodel.inspection.data_warnings import warnings
    from bigmodel.inspection.suspects import find_suspects, suspects_among
    from bigmodel.pages.data_page import data_page
    from bigmodel.storage import folder
    from jobs.prepare import prepare, result_of

    prepared = prepare(recipe)
    answered = None
    if recipe.evaluate.folds:
        from bigmodel.training.crossval import cross_validate

        with ray_session():
            answered = cross_validate(prepared, recipe)
    place = folder(recipe.storage).child(f"reports/data/{recipe.name}")
    with progress.stage("check", total=prepared.summary["rows_kept"]) as stage:
        stage.update(note="describe the rows")
        found = result_of(prepared) | describe(prepared)
        stage.update(note="look for wrong labels")
        if answered:
            suspects = suspects_among(prepared, answered.rows, answered.probabilities)
            found["folds"] = answered.figures()
        else:
            suspects = find_suspects(prepared, seed=recipe.seed)
        by = recipe.model.kind if answered else "quick linear"
        found["doubted"] = {"by": by, **suspects.figures()}
        found["warnings"] = warnings(found, recipe)
        stage.update(done=prepared.summary["rows_kept"], note="")
    files = {"report": "data.html", "suspects": _free_name(place, recipe.data.corrections)}
    found |= {key: place.child(name).uri for key, name in files.items()}
    place.write("data.html", data_page(recipe.name, found, suspects.rows))
    place.write(files["suspects"], suspects.csv())
    place.write("data.json", json.dumps(found, ensure_ascii=False, indent=1).encode())
    return found


def _free_name(place: "Folder", corrections: str | None) -> str:
    """Of the new list of suspects: the one that a person has mended isn't written over."""
    used = corrections and os.path.abspath(corrections) == place.child("suspects.csv").uri
    return "suspects-left.csv" if used else "suspects.csv"


if __name__ == "__main__":
    main()
