"""fit: prepared data and a recipe to a sealed artefact, by Ray Train."""

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.exceptions import RayActorError
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file
from torch import Tensor

from bigmodel import progress
from bigmodel.abstention import NEVER, threshold
from bigmodel.artifact import Artifact
from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedData, PreparedRows
from bigmodel.errors import ClusterError
from bigmodel.metrics import Ids, Scores, confusion, fit_temperature, softmax, summary
from bigmodel.models import build_model
from bigmodel.remote import remote
from bigmodel.storage import folder
from bigmodel.training import news
from bigmodel.training.fitting import TrainingData
from bigmodel.training.worker import train_worker

log = logging.getLogger(__name__)

_STARTS = 9  # of a minute each, for workers to find room; Ray's default is to try for ever


@dataclass(frozen=True)
class Fitted:
    """A sealed artefact, where it is, and the epochs that led to it."""

    artifact: Artifact
    uri: str
    epochs: list[dict[str, float]]


class _Trainer(TorchTrainer):  # type: ignore[misc]  # Ray ships no types
    """Ray's own, but Ctrl-C ends the Ray session at once, and with it the run."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Ray's would abort for half a minute and then exit with 1."""


def fit(prepared: PreparedData, recipe: Recipe, *, run_id: str, grows: bool = False) -> Fitted:
    """Train on `train.num_workers` processes, calibrate on the valid split, seal.

    `grows`: the cluster may bring more machines, so workers that find no room yet are waited for.
    The artefact stands under `storage/models/<name>/<run_id>`, whole or not at all.
    """
    data = training_data(prepared)
    use_gpu = _check_resources(recipe, grows=grows)
    state, epochs = _train(recipe, data, run_id=run_id, use_gpu=use_gpu)
    model = build_model(recipe.model, num_ids=data.num_ids, num_labels=data.num_labels)
    model.load_state_dict(state)
    with progress.stage("seal", total=len(data.valid_label)) as stage:
        draft = Artifact(recipe, prepared.labels, prepared.encoder(), model)
        artifact = _calibrated(draft, prepared)
        uri = folder(recipe.storage).child(f"models/{recipe.name}/{run_id}").uri
        digest = artifact.save(uri)
        stage.update(done=len(data.valid_label))
    return Fitted(replace(artifact, digest=digest), uri, epochs)


def training_data(prepared: PreparedData) -> TrainingData:
    """The encoded training and valid rows of a prepared folder, in memory."""
    train, train_label, train_weight = prepared.encoded("train")
    valid, valid_label, _ = prepared.encoded("valid")
    return TrainingData(
        train,
        train_label,
        train_weight,
        valid,
        valid_label,
        num_ids=prepared.encoder().num_ids,
        num_labels=len(prepared.labels),
    )


def _train(
    recipe: Recipe, data: TrainingData, *, run_id: str, use_gpu: bool
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Run the workers; their files are gone when this returns."""
    config = recipe.train
    runs = folder(recipe.storage).child("runs")
    filesystem, path = (None, runs.uri) if runs.local else remote(runs.uri)
    with progress.stage("train", total=config.epochs * len(data.train)) as stage:

        def on_news(epoch: dict[str, Any]) -> None:
            stage.update(
                done=int(epoch["epoch"]) * len(data.train),
                note=f"epoch {epoch['epoch']} of {config.epochs}, loss {epoch['loss']:.3f}, "
                f"valid macro-F1 {epoch['macro_f1']:.3f}",
            )

        trainer = _Trainer(
            train_worker,
            train_loop_config={
                "recipe": recipe.model_dump_json(by_alias=True),
                "data": [ray.put(data)],
                "topic": run_id,
            },
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.most_workers, use_gpu=use_gpu
            ),
            run_config=ray.train.RunConfig(
                name=run_id,
                storage_filesystem=filesystem,
                storage_path=path,
                failure_config=ray.train.FailureConfig(
                    max_failures=config.max_failures,
                    controller_failure_limit=_STARTS,
                ),
            ),
        )
        try:
            with news.listening(run_id, on_news):
                result = _result_of(trainer)
            with tempfile.TemporaryDirectory() as scratch:
                result.checkpoint.to_directory(scratch)
                state = load_file(Path(scratch) / "weights.safetensors")
        finally:
            runs.child(run_id).remove()  # what Ray Train wrote there
    return state, result.metrics["epochs"]


def _result_of(trainer: TorchTrainer) -> Any:
    """What the workers reported; ClusterError where they didn't start, or more died than may."""
    try:
        return trainer.fit()
    except ray.train.ControllerError as error:
        reason = str(error.controller_failure).strip().splitlines()[0]
        raise ClusterError(
            f"the training workers didn't start ({reason}); take fewer train.num_workers, "
            "or a cluster with more room"
        ) from error
    except ray.train.WorkerGroupError as error:
        for rank, failure in error.worker_failures.items():
            if isinstance(getattr(failure, "health_check_failure", None), RayActorError):
                raise ClusterError(
                    f"worker {rank} died while training (out of memory, or killed?); "
                    "raise train.max_failures to begin anew, or take fewer train.num_workers"
                ) from error
        raise


def _calibrated(draft: Artifact, prepared: PreparedData) -> Artifact:
    """The artefact with a temperature and metrics from the raw texts of the valid split."""
    texts, truth = prepared.rows("valid")
    scores = draft.score(texts).scores
    counts = confusion(truth, scores.argmax(1), len(draft.labels))
    temperature = fit_temperature(scores, truth)
    return replace(
        draft,
        temperature=temperature,
        threshold=_threshold(softmax(scores, temperature), truth, draft.recipe, prepared),
        metrics={"split": "valid", **summary(counts)},
        lineage=prepared.lineage,
    )


def _threshold(
    probabilities: Scores, truth: Ids, recipe: Recipe, prepared: PreparedRows
) -> float | None:
    """Below which an answer abstains; None where the recipe promises nothing."""
    promise = recipe.evaluate.promise
    if promise is None:
        return None
    right = probabilities.argmax(1) == truth
    unit = prepared.units("valid")
    found = threshold(probabilities.max(1), right, unit, precision=promise.precision)
    if found == NEVER:
        log.warning(
            "evaluate.promise: from %d valid rows a precision of %s can't be promised, so every "
            "answer abstains; promise less, or give more valid rows",
            len(truth),
            promise.precision,
        )
    return found


def _check_resources(recipe: Recipe, *, grows: bool) -> bool:
    """Whether to train on GPUs; ClusterError where the workers would never find room."""
    config = recipe.train
    there = ray.cluster_resources()
    if recipe.model.kind == "linear":
        use_gpu = False  # its products are sparse, and quick on CPUs
    elif config.use_gpu == "auto":
        use_gpu = bool(there.get("GPU", 0) >= config.most_workers)
    else:
        use_gpu = config.use_gpu
    for resource, needed in (("CPU", True), ("GPU", use_gpu)):
        found = int(there.get(resource, 0))
        if needed and not grows and found < config.most_workers:
            raise ClusterError(
                f"train.num_workers is {config.most_workers}, but Ray has {found} {resource}s; "
                "lower it, or train on a larger cluster with --cluster"
            )
    return use_gpu
