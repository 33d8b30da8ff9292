"""The versions on both sides of a submission: compared before anything travels, and in the job."""

import json
import logging
import os
import platform
from importlib.metadata import version

from bigmodel.cluster.dashboard import Dashboard
from bigmodel.errors import ClusterError
from bigmodel.tracking import SUBMITTED_FROM, checkout

log = logging.getLogger(__name__)

MENDED_BY = {
    "Ray": "install ray=={there} here, or bring the cluster to {here}",
    "Python": "run the command with Python {minor} here, or bring the cluster to {here}",
}


def check_cluster(dashboard: Dashboard) -> None:
    """ClusterError where the cluster has another minor release of Ray or Python than this machine.

    The head's Python is what its dashboard says; one that doesn't say it is asked no further.
    """
    found = {"Ray": dashboard.ray_version, "Python": _python_of(dashboard)}
    own = {"Ray": version("ray"), "Python": platform.python_version()}
    for name, there in found.items():
        here = own[name]
        if there and _minor(there) != _minor(here):
            remedy = MENDED_BY[name].format(there=there, here=here, minor=_minor(there))
            raise ClusterError(
                f"{dashboard.address}: the cluster runs {name} {there} and this machine {here}; "
                f"{remedy}"
            )


def variables() -> dict[str, str]:
    """What a job is told of the machine that it comes from: its torch, and the commit there."""
    told = {"torch": version("torch"), **checkout()}
    return {SUBMITTED_FROM: json.dumps(told)}


def check_job() -> None:
    """Say where the submitter's torch is another one: the model is as good, its bytes may differ.

    No reason to stop: an artefact's golden answers are checked wherever it is loaded.
    """
    there = json.loads(os.environ.get(SUBMITTED_FROM, "{}")).get("torch")
    if there and there != (here := version("torch")):
        log.warning(
            "torch %s trains here, and %s is on the machine that the job came from: the same "
            "recipe may give other bytes there",
            here,
            there,
        )


def _python_of(dashboard: Dashboard) -> str:
    answer = dashboard.client._do_request("GET", "/api/v0/cluster_metadata")
    try:
        said = answer.json()["data"]
    except (ValueError, LookupError, TypeError):
        return ""
    return str(said.get("pythonVersion") or said.get("python_version") or "")


def _minor(release: str) -> str:
    return ".".join(release.split(".")[:2])
