"""A program: two jobs on a head whose processes lose much of what Ray asks again.

`python lossy.py FOLDER SECONDS`, in namespaces of its own: a training of two workers, then an
endpoint that is asked for so long. Prints as JSON what came of it.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from asking import PatientLoad
from comments import TWO_WORKERS, write_comments
from heads import Head, living_head, run

from serve.ingress import environment

LOSSES = {"num_failures": -1, "req_failure_prob": 5, "resp_failure_prob": 5}
"""Percent of the questions that never arrive, and of the answers that never come back."""

ASKED_AGAIN = {
    "ray::rpc::InternalKVGcsService": "InternalKVGet InternalKVPut InternalKVDel InternalKVExists "
    "InternalKVKeys",
    "ray::rpc::JobInfoGcsService": "GetAllJobInfo AddJob MarkJobFinished",
    "ray::rpc::NodeInfoGcsService": "GetClusterId GetAllNodeInfo CheckAlive "
    "GetAllNodeAddressAndLiveness",
    "ray::rpc::WorkerInfoGcsService": "AddWorkerInfo ReportWorkerFailure",
    "ray::rpc::ActorInfoGcsService": "RegisterActor CreateActor GetActorInfo GetNamedActorInfo "
    "ListNamedActors KillActorViaGcs",
    "ray::rpc::PlacementGroupInfoGcsService": "CreatePlacementGroup RemovePlacementGroup "
    "GetPlacementGroup WaitPlacementGroupUntilReady",
    "ray::rpc::NodeResourceInfoGcsService": "GetAllResourceUsage GetAllTotalResources "
    "GetAllAvailableResources",
    "ray::rpc::RuntimeEnvGcsService": "PinRuntimeEnvURI",
    "ray::rpc::TaskInfoGcsService": "AddTaskEventData",
    "NodeManagerService": "GetResourceLoad PinObjectIDs GetSystemConfig RequestWorkerLease "
    "ReturnWorkerLease FreeLocalObjects GetWorkerFailureCause",
    "CoreWorkerService": "UpdateObjectLocationBatch PubsubCommandBatch PubsubLongPolling "
    "WaitForActorRefDeleted GetObjectStatus",
}
"""Of each service its calls, as Ray names them. Not PushTask, by which actors are called: Ray asks
that once, of its own too. Where every call is lost so often ("*"), heads end themselves."""


def bigmodel(head: Head, folder: Path, *words: str) -> Any:
    """What a command comes to there; an AssertionError with what it said where it fails."""
    there = ("--cluster", head.address, "--storage", str(folder / "storage"), "--json")
    done = run(["bigmodel", *words, *there], folder, head.token)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main(folder: Path, seconds: float) -> None:
    write_comments(folder, TWO_WORKERS)
    calls = [
        f"{service}.grpc_client.{one}" for service, of in ASKED_AGAIN.items() for one in of.split()
    ]
    losing = {"RAY_testing_rpc_failure": json.dumps(dict.fromkeys(calls, LOSSES))}
    with (
        tempfile.TemporaryDirectory(prefix="bm-") as proxy,  # short: it holds sockets
        living_head(variables=environment(Path(proxy)) | losing) as head,
    ):
        trained = bigmodel(head, folder, "train", "recipe.toml")
        deployed = bigmodel(head, folder, "deploy", "comments@1")
        with PatientLoad(deployed["url"], ["这本书很好，用了一周"], clients=4) as load:
            time.sleep(seconds)
    found = {
        "model": trained["model"],
        "answered": load.answered.total(),
        "failed": load.failed[:5],
        "silent_s": load.longest_silence_s,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
