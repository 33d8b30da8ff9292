"""`bigmodel deploy`: answer over HTTP from a living cluster."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from bigmodel.cluster.session import attached, in_submitted_job, ray_session
from bigmodel.errors import ClusterError
from jobs.start import job
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.config import Recipe, ServeConfig
    from bigmodel.registry import Registry, Version
    from serve.wanted import Pinned, ServeArgs

DRAIN_S = 2.0
"""An endpoint that ends says so for so long, before its port closes."""


def show(result: dict[str, Any]) -> "Table":
    rows = {"url": result["url"]} if result["here"] else rows_of(result["url"])
    return table({"model": result["model"], **rows}, title="Deployed")


def rows_of(url: str) -> dict[str, object]:
    """What people see of an endpoint on a cluster: it listens on the loopback of its head."""
    port = urlsplit(url).port
    return {"url": url, "reach it with": f"ssh -L {port}:localhost:{port} HEAD"}


@job(takes="RECIPE|MODEL", show=show)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="[default: where the endpoint is, else 8000]"
)
@click.option("--other-labels", is_flag=True, help="They may differ from the version's before.")
@click.option(
    "--rollback",
    is_flag=True,
    help="Put back what answered before, as in: reviews --rollback",
)
def main(
    target: "Recipe | str", *, storage: str, port: int | None, other_labels: bool, rollback: bool
) -> dict[str, Any]:
    """Answer over HTTP from a living cluster; what answers there is replaced in place."""
    from bigmodel import progress

    with living_cluster(), progress.stage("deploy"):
        from bigmodel.registry import Registry
        from jobs.remembered import remember
        from serve import rollout

        if isinstance(target, str):
            registry, model, config = Registry(storage), target, None
        else:
            registry = Registry(target.storage, target.tracking.uri)
            model, config = f"{target.name}@champion", target.serve
        if rollback:
            version, url = put_back(model.partition("@")[0], registry)
        else:
            version = registry.resolve(model)
            args = arguments(version, config, keys=keys_in(storage))
            url = rollout.deploy(pinned(version), args, port=port, other_labels=other_labels)
        remember()
        mark_deployed(version, registry)
    return {"model": str(version), "url": url, "here": not in_submitted_job()}


@contextmanager
def living_cluster() -> Iterator[None]:
    """The Ray that goes on living after this command: the cluster of a submitted job, or the head
    that `bigmodel up` started here; ClusterError where there is none."""
    if in_submitted_job():
        with ray_session():
            yield
        return
    from bigmodel.cluster.head import living_head

    if (found := living_head()) is None:
        raise ClusterError(
            "deploy needs a cluster that goes on living; start one here with: bigmodel up, name "
            "another with --cluster, or answer from this machine with: bigmodel serve MODEL"
        )
    head, token = found
    with attached(head.gcs, token):
        yield


def put_back(name: str, registry: "Registry") -> "tuple[Version, str]":
    """What `name` answered with before, and the URL; ModelError where there is no such."""
    from serve import rollout, running

    before = rollout.rollback(name)
    model = before.uri if before.version == "0" else f"{name}@{before.version}"
    return registry.resolve(model), running.url_of_running()


def mark_deployed(version: "Version", registry: "Registry") -> None:
    """Point the alias `deployed` at what the cluster answers with: it is recorded, and not deleted.

    Only a running Serve knows what it answers with, so the alias stays after the endpoint's end.
    """
    if version.version:
        registry.promote(
            version.name,
            "deployed",
            to=version.version,
            expected=registry.current(version.name, "deployed"),
            why="deploy",
            numbers={},
        )


def pinned(version: "Version") -> "Pinned":
    """What replicas are told to load."""
    from serve.wanted import Pinned

    return Pinned(uri=version.uri, digest=version.digest, version=str(version.version))


def arguments(
    version: "Version", config: "ServeConfig | None" = None, *, keys: str = ""
) -> "ServeArgs":
    """What replicas are started with; the settings of the version's own recipe unless given."""
    from bigmodel.artifact import Artifact
    from serve.declared import code_digest
    from serve.wanted import ServeArgs

    if config is None:
        config = Artifact.load(version.uri, digest=version.digest).recipe.serve
    return ServeArgs(name=version.name, serve=config, keys=keys, code=code_digest())


def keys_in(storage: str) -> str:
    """The storage, if keys were ever made there; "" otherwise: then everybody on the endpoint's
    machine may ask, and nobody else."""
    from serve.keyfile import had_keys

    return storage if had_keys(storage) else ""


def endpoint(
    version: "Version",
    config: "ServeConfig",
    *,
    text: str,
    port: int,
    keep: bool,
    storage: str,
) -> dict[str, Any]:
    """Start the endpoint and ask it one text; in a submitted job it stays, and here while `keep`.

    An endpoint that is stopped at once takes any free port. One that asks for keys, as it does on a
    cluster where `storage` has some, isn't asked: the answer is None.
    """
    from bigmodel import progress
    from jobs.remembered import remember
    from serve import declared, rollout, running

    stays = in_submitted_job()
    with progress.stage("deploy"):
        args = arguments(version, config, keys=keys_in(storage) if stays else "")
        if stays:
            url = rollout.deploy(pinned(version), args, port=port)
            remember()
        else:
            port = port if keep else running.free_port()
            url = running.start(args, pinned(version), port=port)
        answer = None if declared.wants_keys() else _said(url, text)
    if stays:
        return {"url": url, "answer": answer}
    if keep:
        stay(url)
    running.stop(drain_s=DRAIN_S if keep else 0)
    return {"url": None, "answer": answer}


def _said(url: str, text: str) -> dict[str, Any]:
    from serve import running

    prediction = running.ask(url, text)["predictions"][0]
    return {"text": text, **{key: prediction[key] for key in ("labels", "abstained")}}


def check_port(host: str, port: int) -> None:
    """What an endpoint on this machine can't listen on, told before Ray starts."""
    from serve.probe import obstacle

    if reason := obstacle(host, port):
        raise ClusterError(
            f"the endpoint can't listen on {host}:{port} ({reason}); choose another --port"
        )


def stay(url: str) -> None:
    """Say where the endpoint is, and wait for Ctrl-C or SIGTERM; a second one interrupts."""
    done = threading.Event()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, lambda *_: done.set())
    click.echo(f"answering at {url}/v1/classify; Ctrl-C stops it", err=True)
    done.wait()
    for each, handler in before.items():
        signal.signal(each, handler)


if __name__ == "__main__":
    main()
