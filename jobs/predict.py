"""`bigmodel predict`: label texts, or the rows of a file."""

from typing import TYPE_CHECKING, Any

import click

from bigmodel.cluster.session import in_submitted_job, ray_session
from bigmodel.errors import RecipeError
from jobs.start import job

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.predictor import Predictor
    from bigmodel.registry import Version

MANY_BYTES = 16_000_000
"""Of a file, from which on Ray's start pays for itself."""


def show(result: Any) -> "RenderableType":
    from rich.table import Table

    if isinstance(result, dict):
        return f"{result['answered']:,} of {result['rows']:,} rows labelled in {result['out']}"
    table = Table("text", "label", "score")
    for answer in result:
        best = answer["labels"][0]
        said = f"({best['label']}?) abstained" if answer["abstained"] else best["label"]
        table.add_row(answer["text"], said, f"{best['score']:.3f}")
    return table


def _is_job(*, file: str | None, **others: Any) -> bool:
    return file is not None


@job(takes="MODEL", show=show, when=_is_job)
@click.argument("texts", nargs=-1, metavar="[TEXT ...]")
@click.option(
    "--file",
    type=click.Path(),
    metavar="IN",
    help="A file of texts, of any kind that a recipe takes.",
)
@click.option("--out", type=click.Path(), metavar="OUT", help="Its rows, labelled.")
def main(
    model: str, *, storage: str, texts: tuple[str, ...], file: str | None, out: str | None
) -> Any:
    """Label texts, or the rows of a file."""
    if (file is None) == (not texts):
        raise RecipeError("give texts, or a file with --file and --out; found both or neither")
    if (file is None) != (out is None):
        raise RecipeError("--file IN and --out OUT go together; found one of them")
    from bigmodel.registry import Registry

    version = Registry(storage).resolve(model)
    from bigmodel.artifact import Artifact
    from bigmodel.predictor import Predictor

    predictor = Predictor(Artifact.load(version.uri, digest=version.digest))
    if file and out:
        rows, answered = _label(predictor, version, file, out)
        return {"rows": rows, "answered": answered, "out": out}
    return answers(predictor, texts)


def _label(predictor: "Predictor", version: "Version", file: str, out: str) -> tuple[int, int]:
    """In this process, or, where there is much to do, on all CPUs of a Ray session."""
    from bigmodel.data.files import stamp
    from bigmodel.evaluation.labelling import label_file

    if not in_submitted_job() and stamp(file)[0] < MANY_BYTES:
        return label_file(predictor, file, out)
    with ray_session():
        from bigmodel.answering import label_everywhere

        everywhere = label_everywhere(version.uri, version.digest)
        return label_file(predictor, file, out, label=everywhere)


def answers(predictor: Any, texts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each text with all its labels, best first, as JSON."""
    found = predictor.predict(texts, top_k=len(predictor.labels))
    return [
        {
            "text": text,
            "labels": [{"label": label, "score": score} for label, score in answer.labels],
            "abstained": answer.abstained,
        }
        for text, answer in zip(texts, found, strict=True)
    ]


if __name__ == "__main__":
    main()
