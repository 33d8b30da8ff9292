"""`bigmodel export`: a model for use without bigmodel's endpoint, as ONNX."""

from typing import TYPE_CHECKING, Any

import click

from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table


def show(result: dict[str, Any]) -> "Table":
    compared = result["compared"]
    return table(
        {
            "model": result["model"],
            "folder": result["out"],
            "size": f"{sum(result['files'].values()) / 1e6:.1f} MB",
            "compared with torch": f"{compared['texts']} texts, at most "
            f"{compared['largest_difference']:.1g} apart",
            "try": f"python {result['out']}/predict.py 很好",
        },
        title="Exported",
    )


@verb(show=show)
@click.argument("model", metavar="MODEL")
@click.option(
    "--format", type=click.Choice(["onnx"]), default="onnx", help="What to write.  [default: onnx]"
)
@click.option(
    "--out", type=click.Path(), metavar="FOLDER", required=True, help="A new or empty folder."
)
def main(model: str, *, storage: str, format: str, out: str) -> dict[str, Any]:
    """Write a model as ONNX, with its labels and encoder."""
    from pathlib import Path

    from bigmodel.artifact import Artifact
    from bigmodel.export.network import export
    from bigmodel.recipe import absolute_path
    from bigmodel.registry import Registry

    version = Registry(storage).resolve(model)
    artifact = Artifact.load(version.uri, digest=version.digest)
    written = export(artifact, absolute_path(out, Path.cwd()), model=str(version))
    return {
        "model": str(version),
        "format": format,
        "out": written.uri,
        "files": written.files,
        "compared": {"texts": written.texts, "largest_difference": written.gap},
    }


if __name__ == "__main__":
    main()
