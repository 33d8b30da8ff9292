"""`bigmodel evaluate`: an artefact's scores on its own test rows, or on a file."""

import hashlib
from typing import TYPE_CHECKING, Any

import click

from jobs.start import job

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.registry import Version


def show(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    table = Table("label", "precision", "recall", "F1", "rows", title=f"{result['model']}")
    for label, scores in result["per_class"].items():
        figures = (f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(label, *figures, f"{scores['rows']:,}")
    low, high = result["interval"]["macro_f1"]
    return Group(
        table,
        f"accuracy {result['accuracy']:.4f}, macro-F1 {result['macro_f1']:.4f} "
        f"(95 % interval {low:.3f} to {high:.3f}), {result['rows']:,} rows",
        f"report {result['report']}",
    )


@job(takes="MODEL", show=show)
@click.option("--data", type=click.Path(), metavar="FILE", help="Instead of its own test rows.")
def main(model: str, *, storage: str, data: str | None) -> dict[str, Any]:
    """Score a model on its test rows, or on a file."""
    from bigmodel.registry import Registry

    return evaluate(Registry(storage).resolve(model), storage=storage, data=data)


def evaluate(version: "Version", *, storage: str, data: str | None = None) -> dict[str, Any]:
    """The report on a version, by the path that serves: raw texts through the predictor."""
    from dataclasses import asdict

    from bigmodel.artifact import Artifact
    from bigmodel.evaluation import report
    from bigmodel.predictor import Predictor
    from bigmodel.storage import folder

    predictor = Predictor(Artifact.load(version.uri, digest=version.digest))
    if data:
        texts, truth = report.labelled_rows(data, predictor)
    else:
        texts, truth = report.own_test_rows(predictor)
    found = report.evaluate(predictor, texts, truth)
    place = folder(storage).child(f"reports/{version.digest[:16]}")
    # a file's report is named by its texts, so that another file's doesn't take its place
    path = found.save(place.uri, f"{_digest(texts)}.json" if data else "test.json")
    return {"model": str(version), **asdict(found), "report": path}


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


if __name__ == "__main__":
    main()
