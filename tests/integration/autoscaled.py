"""A program: jobs on a cluster by cluster.yaml that begins as a head alone, its machines pretended.

`python autoscaled.py WHAT FOLDER`, in namespaces of its own; prints as JSON what came of it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.request import Request, urlopen

import psutil
import yaml
from asking import PatientLoad
from comments import TWO_WORKERS, write_comments
from heads import Head, command_environment, living_head
from pretended_machines import INSTANCE, PORT, ROOT, TYPE, head_of
from waiting import wait_for

from bigmodel.steady import STEADY
from serve.ingress import environment

TRIAL = "ray::ImplicitFunc"
"""What Ray calls the processes of Ray Tune."""
DRIVER = " -m jobs."
"""In the command line of a job's own process."""


@dataclass
class Machines:
    """What the cluster has besides its head, by instance, and the most that it had."""

    now: set[str] = field(default_factory=set)
    most: int = 0

    def seen(self, instances: set[str]) -> None:
        self.now = instances
        self.most = max(self.most, len(instances))


@dataclass(frozen=True)
class Cluster:
    """A head, its machines, and a folder with a recipe and a storage."""

    head: Head
    machines: Machines
    folder: Path

    def start(self, verb: str, *more: str) -> subprocess.Popen[bytes]:
        """`bigmodel VERB …` there; what it says goes to files of the folder."""
        flags = ["--cluster", self.head.address, "--storage", str(self.folder / "storage")]
        with (
            open(self.folder / f"{verb}.out", "wb") as out,
            open(self.folder / f"{verb}.err", "wb") as err,
        ):
            return subprocess.Popen(
                ["bigmodel", verb, *more, *flags, "--json"],
                cwd=self.folder,
                env=command_environment(self.folder, self.head.token),
                stdout=out,
                stderr=err,
            )

    def said(self, verb: str) -> str:
        """All that it has said on stderr so far."""
        return (self.folder / f"{verb}.err").read_text()

    def end(self, verb: str, process: subprocess.Popen[bytes], *, within_s: float) -> Any:
        """Its result; an AssertionError with what it said where it has none."""
        code = process.wait(timeout=within_s)
        assert code == 0, f"{code}: {self.said(verb)}"
        return json.loads((self.folder / f"{verb}.out").read_text())

    def wait_until(
        self, condition: Callable[[], object], verb: str, process: subprocess.Popen[bytes]
    ) -> None:
        """While a command runs; an AssertionError with what it said where it ended before."""
        wait_for(lambda: condition() or process.poll() is not None, within_s=400)
        assert process.poll() is None, self.said(verb)

    def wait_until_alone(self, within_s: float = 60) -> float:
        """Until all machines but the head are gone: after how many seconds."""
        start = time.monotonic()
        wait_for(lambda: not self.machines.now, within_s=within_s)
        return time.monotonic() - start

    def kill_machine(self, raylets: set[int]) -> str:
        """SIGKILL one of these and all below it: the instance that it was."""
        pid = min(raylets)
        variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
        raylet = psutil.Process(pid)
        for process in [raylet, *raylet.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return next(each for each in variables if each.startswith(INSTANCE)).partition("=")[2]

    def places(self) -> set[str]:
        """The instances on which replicas run."""
        request = Request(
            f"{self.head.address}/api/serve/applications/",
            headers={"Authorization": f"Bearer {self.head.token}"},
        )
        with urlopen(request, timeout=30) as answer:
            application = json.load(answer)["applications"]["bigmodel"]
        replicas = application["deployments"]["classify"]["replicas"]
        return {one["node_instance_id"] for one in replicas if one["state"] == "RUNNING"}


def raylets_of(said: str) -> set[int]:
    """The raylets below which a process has that in its command line."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.NoSuchProcess):
            if said in " ".join(process.info["cmdline"] or []):
                found |= {each.pid for each in process.parents() if each.name() == "raylet"}
    return found


@contextmanager
def watched(token: str) -> Iterator[Machines]:
    """The machines of the cluster at PORT, looked at while the block runs."""
    os.environ["RAY_AUTH_TOKEN"] = token
    from ray._raylet import GcsClient
    from ray.exceptions import RpcError

    client, machines, over = GcsClient(f"127.0.0.1:{PORT}"), Machines(), Event()

    def look() -> None:
        while not over.wait(0.2):
            try:
                nodes = client.get_all_node_info(timeout=30).values()
            except RpcError:
                continue
            alive = [node for node in nodes if node.state == 0 and not node.is_head_node]
            machines.seen({node.instance_id for node in alive})

    thread = Thread(target=look)
    thread.start()
    try:
        yield machines
    finally:
        over.set()
        thread.join()


@contextmanager
def cluster(folder: Path, **variables: str) -> Iterator[Cluster]:
    write_comments(folder, TWO_WORKERS)
    file = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    options, own = head_of(file, folder)
    with (
        living_head(num_cpus=0, options=options, variables=own | variables) as head,
        watched(head.token) as machines,
    ):
        assert not machines.now
        yield Cluster(head, machines, folder)


def labels(folder: Path) -> dict[str, Any]:
    """Where three kinds of work come to be that Ray starts a machine for, and that all go again."""
    with cluster(folder) as here:
        import ray
        from ray.job_submission import JobSubmissionClient

        ray.init(f"127.0.0.1:{PORT}", log_to_driver=False, logging_level="ERROR")
        where = ray.remote(_type_of_this_machine)
        found = {"anywhere": ray.get(where.options(num_cpus=1).remote())}
        gpu = where.options(num_gpus=1).remote()
        steady = where.options(num_cpus=1, label_selector=STEADY).remote()
        headers = {"Authorization": f"Bearer {here.head.token}"}
        jobs = JobSubmissionClient(here.head.address, headers=headers)
        job = jobs.submit_job(
            entrypoint=f"printenv {TYPE} > {folder}/driver",
            entrypoint_num_cpus=1,
            entrypoint_label_selector=STEADY,
        )
        found |= {"gpu": ray.get(gpu), "steady": ray.get(steady)}
        wait_for(lambda: jobs.get_job_status(job).is_terminal(), within_s=60)
        found["driver"] = (folder / "driver").read_text().strip()
        ray.shutdown()
        here.wait_until_alone()
        return found


def _type_of_this_machine() -> str:
    return os.environ[TYPE]


def train(folder: Path) -> dict[str, Any]:
    """From a head alone to two workers' machines, and back."""
    with cluster(folder) as here:
        done = here.end("train", here.start("train", "recipe.toml"), within_s=400)
        most, alone_s = here.machines.most, here.wait_until_alone()
        return {"model": done["model"], "most": most, "alone_s": alone_s}


def lost(folder: Path) -> dict[str, Any]:
    """A machine of a training's worker is killed in its middle; another one takes its place."""
    with cluster(folder) as here:
        more = [f"--set=train.{setting}" for setting in ("epochs=60", "checkpoint_s=0.5")]
        training = here.start("train", "recipe.toml", *more)
        kept = folder / "storage" / "runs"
        here.wait_until(lambda: any(kept.glob("*/checkpoints/*")), "train", training)
        here.kill_machine(raylets_of("ray::RayTrainWorker") - raylets_of(DRIVER))
        done = here.end("train", training, within_s=400)
        here.wait_until_alone()
        return {"model": done["model"], "said": here.said("train")}


def driver(folder: Path) -> dict[str, Any]:
    """The machine of a job's own process is killed in the middle of its training."""
    with cluster(folder) as here:
        more = ["--set=train.epochs=300", "--set=train.checkpoint_s=0.5", "--retries=1"]
        training = here.start("train", "recipe.toml", *more)
        told = re.compile("a checkpoint is kept.+train: epoch", re.DOTALL)
        here.wait_until(lambda: told.search(here.said("train")), "train", training)
        here.kill_machine(raylets_of(DRIVER))
        done = here.end("train", training, within_s=600)
        alone_s = here.wait_until_alone(300)  # what a killed training asked for lapses
        return {"model": done["model"], "said": here.said("train"), "alone_s": alone_s}


def tune(folder: Path) -> dict[str, Any]:
    """Trials spread over machines, of which one is killed with what it tries."""
    with cluster(folder) as here:
        more = ["tune.num_trials=6", "tune.scheduler='none'", "train.num_workers=1"]
        more += ["train.epochs=120", "model.mlp.hidden_sizes=[512, 512]"]
        searching = here.start("tune", "recipe.toml", *(f"--set={each}" for each in more))
        here.wait_until(lambda: len(raylets_of(TRIAL)) > 1, "tune", searching)
        others = raylets_of(TRIAL) - raylets_of(DRIVER)
        here.kill_machine(others)
        done = here.end("tune", searching, within_s=600)
        here.wait_until_alone()
        told = {name: done[name] for name in ("model", "trials", "failed")}
        return told | {"spread": len(others)}


def deploy(folder: Path) -> dict[str, Any]:
    """An endpoint grows over machines under load, and goes on when one of them is killed."""
    with (
        tempfile.TemporaryDirectory(prefix="bm-") as proxy,  # short: it holds sockets
        cluster(folder, **environment(Path(proxy))) as here,
    ):
        serving = ["min_replicas=1", "max_replicas=2", "replica_cpus=0.9", "upscale_delay_s=1"]
        more = [f"--set=serve.{each}" for each in [*serving, "target_ongoing_requests=1"]]
        here.end("train", here.start("train", "recipe.toml", *more), within_s=400)
        run = here.end("deploy", here.start("deploy", "comments@1"), within_s=400)
        with PatientLoad(run["url"], ["这本书很好，用了一周"], clients=6) as load:
            wait_for(lambda: len(here.places()) == 2, within_s=200)
            load.wait_for_more(100)
            before = here.places()
            killed = here.kill_machine(raylets_of("ray::ServeReplica") - raylets_of(DRIVER))
            wait_for(lambda: len(here.places() - {killed}) == 2, within_s=200)
            load.wait_for_more(100)
        return {
            "model": run["model"],
            "grew": len(before),
            "moved": sorted(here.places() - before) > [],
            "answered": load.answered.total(),
            "failed": load.failed[:5],
            "silent_s": load.longest_silence_s,
        }


if __name__ == "__main__":
    ways: dict[str, Callable[[Path], dict[str, Any]]] = {
        "labels": labels,
        "train": train,
        "lost": lost,
        "driver": driver,
        "tune": tune,
        "deploy": deploy,
    }
    print(json.dumps(ways[sys.argv[1]](Path(sys.argv[2]))))
