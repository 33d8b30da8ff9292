"""`bigmodel evaluate`: an artefact's scores on its own test rows, or on a file."""

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from bigmodel.cluster.session import ray_session
from bigmodel.errors import DataError
from jobs.start import job
from jobs.versions import beside, save_report

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.evaluation.compare import Candidate
    from bigmodel.registry import Version


def show(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    table = Table("label", "precision", "recall", "F1", "rows", title=f"{result['model']}")
    for label, scores in result["per_class"].items():
        figures = (f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(label, *figures, f"{scores['rows']:,}")
    lines = []
    for key, name in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        lines.append(f"{name} {_with_interval(result, key)}")
        for simple, one in result.get("baselines", {}).items():
            lines.append(f"  {simple}: {_with_interval(one, key)}")
    if promise := result["promise"]:
        lines.append(kept(promise))
    if known := result.get("known_rows"):
        lines.append(f"{known:,} of these rows, or rows near to them, the model was trained on")
    return Group(table, f"{result['rows']:,} rows", *lines, f"report {result['report']}")


def _with_interval(scores: dict[str, Any], name: str) -> str:
    low, high = scores["interval"][name]
    return f"{scores[name]:.4f} (95 % interval {low:.3f} to {high:.3f})"


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """Of a version's own test rows, what scripts rely on."""
    return {"split": "test", **{key: report[key] for key in ("accuracy", "macro_f1", "rows")}}


def kept(promise: dict[str, Any]) -> str:
    if promise["threshold"] is None:
        return f"precision {promise['precision']} can't be promised, every answer abstains"
    test = promise["test"]
    return (
        f"promised precision {promise['precision']}: {_with_interval(test, 'precision')} "
        f"of the {test['coverage']:.1%} that are answered"
    )


@job(takes="MODEL", show=show)
@click.option("--data", type=click.Path(), metavar="FILE", help="Instead of its own test rows.")
def main(model: str, *, storage: str, data: str | None) -> dict[str, Any]:
    """Score a model on its test rows, or on a file."""
    from bigmodel.registry import Registry

    return evaluate(Registry(storage).resolve(model), storage=storage, data=data)


def evaluate(version: "Version", *, storage: str, data: str | None = None) -> dict[str, Any]:
    """The report on a version, by the path that serves: raw texts through the predictor."""
    from bigmodel.answering import MANY, answer_everywhere
    from bigmodel.artifact import Artifact
    from bigmodel.evaluation.answers import Answers
    from bigmodel.evaluation.beside import OWN
    from bigmodel.evaluation.compare import Candidate
    from bigmodel.evaluation.labelled import own_test_rows, rows_of_file
    from bigmodel.evaluation.report import report
    from bigmodel.predictor import Predictor

    artifact = Artifact.load(version.uri, digest=version.digest)
    own = beside(version, storage)
    if data:
        rows = rows_of_file(data, artifact, artifact.labels.names)
    else:
        rows = own.test_rows() or own_test_rows(artifact)
    answers = None
    if len(rows) >= MANY:
        with ray_session():
            probabilities = answer_everywhere(version.uri, version.digest, rows.texts)
        truth = artifact.labels.ids(rows.labels, where=data or "test")
        answers = Answers(artifact.labels.names, truth, probabilities, rows.unit)
    found, answers = report(
        Predictor(artifact), rows, model=str(version), split=data or "test", answers=answers
    )
    found |= own.run() | {"gate": own.gate()}
    if not data:
        own.keep_answers(OWN, rows, answers)
        return found | {"report": save_report(version, storage, found)}
    found["known_rows"] = int(Candidate(str(version), artifact, own).knows(rows).sum())
    # a file's report is named by its texts, so that another file's doesn't take its place
    name = _digest(rows.texts)
    own.keep_answers(name, rows, answers)
    return found | {"report": own.save(name, found)}


def candidate(version: "Version", storage: str) -> "Candidate":
    """A version with its own test rows, which are answered now if they never were.

    They may be gone by now: then those of the other one must do.
    """
    from bigmodel.artifact import Artifact
    from bigmodel.evaluation.compare import Candidate

    own = beside(version, storage)
    if own.test_rows() is None:
        with suppress(DataError):
            evaluate(version, storage=storage)
    artifact = Artifact.load(version.uri, digest=version.digest)
    return Candidate(str(version), artifact, own)


def _digest(texts: Any) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


if __name__ == "__main__":
    main()
