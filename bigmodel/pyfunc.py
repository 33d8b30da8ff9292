"""MLflow's own door to a version: `mlflow.pyfunc.load_model("models:/reviews@champion")`.

MLflow finds `ArtifactFolder` by the entry point in pyproject.toml, for sources that begin with
`bigmodel:`, and `_load_pyfunc` by the MLmodel file in the folder that this class hands out.
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from bigmodel.records import digest_of, uri_of
from bigmodel.storage import folder

_INSIDE = "artifact/"


class ArtifactFolder(ArtifactRepository):  # type: ignore[misc]  # MLflow's types are not read
    """An artefact as MLflow wants its models: inside a folder with an MLmodel file.

    What is loaded is always a copy: MLflow writes a file of its own beside MLmodel, and a sealed
    artefact takes none.
    """

    def __init__(self, artifact_uri: str, *given: Any, **more: Any) -> None:
        super().__init__(artifact_uri, *given, **more)
        self._place = folder(uri_of(artifact_uri))
        self._door = _mlmodel(digest_of(artifact_uri))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """The files and folders right below `path`; none where it is a file or nothing."""
        top = f"{path}/" if path else ""
        sizes = {_INSIDE + name: size for name, size in self._place.sizes().items()}
        sizes["MLmodel"] = len(self._door)
        found = {}
        for name, size in sizes.items():
            if name.startswith(top):
                first, deeper, _ = name.removeprefix(top).partition("/")
                found[top + first] = FileInfo(top + first, bool(deeper), None if deeper else size)
        return [found[name] for name in sorted(found)]

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        inside = remote_file_path.startswith(_INSIDE)
        data = self._place.read(remote_file_path.removeprefix(_INSIDE)) if inside else self._door
        Path(local_path).write_bytes(data)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """MlflowException: a sealed artefact takes no files."""
        raise MlflowException(f"{self.artifact_uri} is sealed; log files with a run instead")

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """As `log_artifact`."""
        self.log_artifact(local_dir, artifact_path)


class Model:
    """What `load_model` wraps."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    def predict(self, data: Any) -> list[dict[str, Any]]:
        """The answers of `bigmodel predict`: all labels of each text, best first.

        `data`: texts, or a table with a column `text` or a single one.
        """
        texts = _texts(data)
        answers = self._predictor.predict(texts, top_k=len(self._predictor.labels))
        return [
            {
                "text": text,
                "labels": [{"label": label, "score": score} for label, score in answer.labels],
                "abstained": answer.abstained,
            }
            for text, answer in zip(texts, answers, strict=True)
        ]


def _load_pyfunc(path: str) -> Model:
    """Called by MLflow with the folder of the copied artefact, which is verified as always.

    It must be the one that was published: its digest stands in the MLmodel file beside it.
    """
    from bigmodel.artifact import Artifact
    from bigmodel.predictor import Predictor

    door = json.loads(Path(path).with_name("MLmodel").read_bytes())["flavors"]["python_function"]
    return Model(Predictor(Artifact.load(path, digest=door["sha256"])))


def _texts(data: Any) -> list[str]:
    columns: Sequence[str] = list(getattr(data, "columns", ()))
    if columns:
        if "text" not in columns and len(columns) > 1:
            raise MlflowException(
                f"no column 'text' (found: {', '.join(map(str, columns))}); name the texts so"
            )
        data = data["text" if "text" in columns else columns[0]]
    texts = [data] if isinstance(data, str) else list(data)
    if wrong := [one for one in texts if not isinstance(one, str)]:
        raise MlflowException(f"{wrong[0]!r} is no text; give a list of strings")
    return texts


def _mlmodel(digest: str | None) -> bytes:
    """Names any Python as the model's own: the golden texts decide whether this one will do."""
    door = {
        "loader_module": "bigmodel.pyfunc",
        "data": _INSIDE.rstrip("/"),
        "sha256": digest,
        "python_version": platform.python_version(),
    }
    return json.dumps({"flavors": {"python_function": door}}, indent=1).encode()  # JSON is YAML
