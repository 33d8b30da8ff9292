"""fit: prepared data and a recipe to a sealed artefact, by Ray Train."""

import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
import ray.train
from ray._raylet import PlacementGroupID
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from ray.exceptions import RayActorError, RayError
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from bigmodel import progress
from bigmodel.artifact import Artifact
from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedData
from bigmodel.errors import BigModelError, ClusterError, ModelError
from bigmodel.remote import remote
from bigmodel.storage import Folder, folder
from bigmodel.training import news
from bigmodel.training.calibration import calibrated
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.ingest import training_data
from bigmodel.training.runs import StoredRun
from bigmodel.training.told import Told
from bigmodel.training.worker import train_worker

log = logging.getLogger(__name__)

_STARTS = 9  # of a minute each, for workers to find room; Ray's default is to try for ever
_LAST_CHECKPOINT_S = 20.0  # at most, that a run which is stopped takes for it
# as gloo and NCCL say it
_OTHERS_GONE = re.compile(r"Connection (closed|reset) by peer|Broken pipe|remote process exited")


@dataclass(frozen=True)
class Fitted:
    """A sealed artefact, where it is, the epochs that led to it, and what can go with its run.

    `seconds` that training took in the workers, since the last time that it began.
    """

    artifact: Artifact
    uri: str
    epochs: list[dict[str, float]]
    seconds: float
    run: StoredRun


class _Trainer(DataParallelTrainer):  # type: ignore[misc]  # Ray ships no types
    """Ray's own, but Ctrl-C is ours: a last checkpoint, then the end of the Ray session. The
    workers make their process group themselves: Ray's controller needn't import torch."""

    controller: Any = None

    def _register_sigint_handler(self, controller: Any) -> None:
        """Ray's would abort for half a minute and then exit with 1."""
        self.controller = controller

    def end(self) -> None:
        """All that may go on of it: where an answer was lost, who would have given it lives."""
        if self.controller:
            ray.kill(self.controller)

    def give_back(self) -> None:
        """The room of workers whose leader died: Ray keeps it for the driver's job."""
        job = ray.get_runtime_context().get_job_id()  # with which the ids of its groups end
        for name in placement_group_table() if self.controller else ():
            if name.endswith(job):
                remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))

    def _create_default_callbacks(self) -> list[Any]:
        """Without two that start an actor each, seconds before a first step: there are no Ray
        Datasets, and the placement group goes with a driver that is killed anyway."""
        needless = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [one for one in super()._create_default_callbacks() if not isinstance(one, needless)]


class _Lost(Exception):
    """A worker died, or who leads them; its error is the cause."""


def fit(
    prepared: PreparedData,
    recipe: Recipe,
    *,
    run_id: str,
    resumed_as: str | None = None,
    grows: bool = False,
    resume: bool = False,
    weights: Checkpoint | None = None,
) -> Fitted:
    """Train on `train.num_workers` processes, calibrate on the valid split, seal.

    `resumed_as`: what `--resume` takes to come back to it, where that isn't the run itself.
    `grows`: the cluster may bring more machines, so workers that find no room yet are waited for.
    `resume`: go on from the run's checkpoints; it must have been started with the same recipe and
    rows. `weights`: of a trial that trained them on these rows; they are only sealed. The artefact
    stands under `storage/models/<name>/<run_id>`, whole or not at all. The run's own folder stays
    until it is removed, so that whoever publishes the artefact can go on too.
    """
    use_gpu = check_resources(recipe, grows=grows)
    run = StoredRun(recipe, run_id, resumed_as)
    if resume:
        run.check_recipe()
        run.check_rows(prepared)
    else:
        run.begin(prepared)
    if weights:
        run.keep_weights(weights)
    data = training_data(prepared, recipe)
    place = folder(recipe.storage).child(f"models/{recipe.name}/{run_id}")
    with _leaving_a_way_on(run):
        ended = run.weights() or fit_on_workers(
            run, ray.put(data), num_rows=len(data.train), use_gpu=use_gpu
        )
        with progress.stage("seal", total=len(data.valid)) as stage:
            if not (sealed := _sealed(place) if resume else None):
                artifact = calibrated(recipe, prepared, ended.tensors, data)
                sealed = replace(artifact, digest=artifact.save(place.uri))
            stage.update(done=len(data.valid))
    return Fitted(sealed, place.uri, ended.about["history"], ended.about["seconds"], run)


@contextmanager
def _leaving_a_way_on(run: StoredRun) -> Iterator[None]:
    """Of a run that has kept nothing nothing stays; who stops another one is told how to go on."""
    try:
        yield
    except BaseException as error:
        with suppress(BigModelError):  # the storage may be what is wrong: that is told
            run.remove_if_empty()
            if isinstance(error, KeyboardInterrupt) and run.way_on and run.can_go_on():
                log.warning("stopped; %s", run.way_on)
        raise


def _sealed(place: Folder) -> Artifact | None:
    """What this run had sealed before it was stopped, if it came so far."""
    try:
        return Artifact.load(place.uri)
    except ModelError:
        place.remove()
        return None


def fit_on_workers(
    run: StoredRun,
    data: Any,
    *,
    num_rows: int,
    use_gpu: bool,
    each: Mapping[str, float] | None = None,
    on_epoch: Callable[[dict[str, float]], None] = lambda _: None,
) -> Checkpoint:
    """The weights that training ends with; each attempt is a new run of Ray Train, which goes on
    from the newest checkpoint. `data`: a reference to TrainingData with `num_rows` training rows.
    `each`: what Ray sets aside for a worker. `on_epoch` hears of epochs; of quick ones not of all.
    """
    config = run.recipe.train
    with progress.stage("train", total=config.epochs * num_rows) as stage:
        told = Told(stage, config.epochs, num_rows, run.way_on, on_epoch)
        try:
            for failures in range(config.max_failures + 1):
                try:
                    with news.listening(run.run_id, told.hear):
                        _attempt(run, data, stage, use_gpu=use_gpu, number=failures, each=each)
                    break
                except _Lost as lost:
                    if failures == config.max_failures:
                        way_out = _way_out(run) or "; raise train.max_failures"
                        raise ClusterError(f"{lost}{way_out}") from lost.__cause__
                    kept = run.checkpoints.steps()
                    stage.say(f"{lost}; going on from step {kept[-1] if kept else 0}")
        finally:
            run.scratch.remove()
    ended = run.weights()
    assert ended, "a run that ended well has left its weights"
    return ended


def _attempt(
    run: StoredRun,
    data: Any,
    stage: progress.Stage,
    *,
    use_gpu: bool,
    number: int,
    each: Mapping[str, float] | None,
) -> None:
    """One run of Ray Train. _Lost where a worker died; a user's own error as it stands."""
    config, scratch = run.recipe.train, run.scratch
    filesystem, path = (None, scratch.uri) if scratch.local else remote(scratch.uri)
    trainer = _Trainer(
        train_worker,
        train_loop_config={
            "recipe": run.recipe.model_dump_json(by_alias=True),
            "data": [data],
            "run": run.run_id,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.num_workers, use_gpu=use_gpu, resources_per_worker=each
        ),
        run_config=ray.train.RunConfig(
            name=f"{run.run_id}-{number}-{uuid.uuid4().hex[:4]}",
            storage_filesystem=filesystem,
            storage_path=path,
            failure_config=ray.train.FailureConfig(
                max_failures=0,  # those are counted here
                controller_failure_limit=_STARTS,
            ),
        ),
    )
    get_or_create_autoscaling_coordinator()  # starts beside the controller, which waits for it
    try:
        trainer.fit()
    except KeyboardInterrupt:
        _last_checkpoint(run, stage)
        raise
    except ray.train.ControllerError as error:
        reason = str(error.controller_failure).strip().splitlines()[0]
        raise ClusterError(
            f"the training workers didn't start ({reason}); take fewer train.num_workers, "
            f"or a cluster with more room{_way_out(run)}"
        ) from error
    except ray.train.WorkerGroupError as error:
        raise _meant_by(error, run) from error
    except RayActorError as error:
        trainer.give_back()
        raise _Lost("the process that leads the workers was lost while training") from error
    finally:
        trainer.end()


def _meant_by(error: ray.train.WorkerGroupError, run: StoredRun) -> Exception:
    """The error that the workers' failures come to: ours before a lost worker before a bug."""
    failures = error.worker_failures
    for failure in failures.values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, BigModelError):
            said = str(cause).partition("\n")[0]
            return type(cause)(said if "--resume" in said else said + _way_out(run))
    for rank, failure in failures.items():
        if type(failure).__name__.startswith("WorkerHealthCheck"):
            return _Lost(f"worker {rank} died while training (out of memory, or killed?)")
    if any(_OTHERS_GONE.search(str(failure)) for failure in failures.values()):
        return _Lost("a worker lost the others while training")
    assert isinstance(error, Exception)
    return error


def _way_out(run: StoredRun) -> str:
    """How to go on, where there is something to go on from."""
    if not (steps := run.checkpoints.steps()) or not run.way_on:
        return ""
    return f"; {run.way_on}" + (f" from step {steps[-1]}" if run.resumed_as is None else "")


def _last_checkpoint(run: StoredRun, stage: progress.Stage) -> None:
    """Ask the workers for one before they are ended, and say what came of it."""
    now: dict[str, Any] = {}
    with suppress(RayError):  # Ray may be what is gone
        now = news.heard(run.run_id)
    if "share" in now or now.get("kept"):  # they have begun, and there is something to keep
        stage.say("stopping after a last checkpoint; Ctrl-C again stops at once")
        kept = now.get("kept")
        news.ask_to_stop(
            run.run_id, timeout_s=_LAST_CHECKPOINT_S, done=lambda now: now.get("kept") != kept
        )


def check_resources(recipe: Recipe, *, grows: bool) -> bool:
    """Whether to train on GPUs; ClusterError where the workers would never find room."""
    config = recipe.train
    there = ray.cluster_resources()
    if recipe.model.kind == "linear":
        use_gpu = False  # its products are sparse, and quick on CPUs
    elif config.use_gpu == "auto":
        use_gpu = bool(there.get("GPU", 0) >= config.fewest_workers)
    else:
        use_gpu = config.use_gpu
    for resource, needed in (("CPU", True), ("GPU", use_gpu)):
        found = int(there.get(resource, 0))
        if needed and not grows and found < config.fewest_workers:
            raise ClusterError(
                f"train.num_workers is {config.fewest_workers}, but Ray has {found} {resource}s; "
                "lower it, or train on a larger cluster with --cluster"
            )
    return use_gpu
