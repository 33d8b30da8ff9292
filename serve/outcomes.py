"""Where replicas tell what they made of a wish, and where of several deploys one goes first."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError

from bigmodel.errors import ModelError
from bigmodel.repeating import repeating
from serve.wanted import Outcome

NAME, NAMESPACE = "bigmodel-outcomes", "bigmodel"
LEASE_S = 15.0
"""A deploy that hasn't been heard of for so long is dead."""


class Outcomes:
    """The newest outcome of each replica by its id, and the deploy under way. One lives in a
    cluster; what it knows may be lost with its node: replicas tell again, a deploy is told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, Outcome] = {}
        self._who, self._until = "", 0.0

    def tell(self, replica: str, outcome: Outcome) -> None:
        self._told[replica] = outcome

    def told(self) -> dict[str, Outcome]:
        """Of living replicas and of dead ones."""
        return self._told

    def begin(self, who: str) -> str:
        """Let `who` deploy: "", or who is at it."""
        if self._clock() < self._until:
            return self._who
        self._who = who
        self.renew(who)
        return ""

    def renew(self, who: str) -> None:
        """`who` is still at it."""
        if who == self._who:
            self._until = self._clock() + LEASE_S

    def end(self, who: str) -> None:
        if who == self._who:
            self._until = 0.0


def tell(replica: str, outcome: Outcome) -> None:
    """To whoever deploys; in vain where nobody ever did."""
    with suppress(ValueError, RayError):
        ray.get_actor(NAME, namespace=NAMESPACE).tell.remote(replica, outcome)


def told() -> dict[str, Outcome]:
    found: dict[str, Outcome] = ray.get(_outcomes().told.remote())
    return found


@contextmanager
def going_first(what: str) -> Iterator[None]:
    """Nobody else deploys during the block; ModelError where somebody is at it. A deploy that died
    holds the others up for seconds only."""
    outcomes, who = _outcomes(), f"{what}#{uuid.uuid4()}"
    if other := ray.get(outcomes.begin.remote(who)):
        raise ModelError(
            f"another deploy came first ({other.partition('#')[0]}); wait for its end, look at "
            "what answers then, and deploy again"
        )
    try:
        with repeating(lambda: outcomes.renew.remote(who), every_s=LEASE_S / 5, in_vain=RayError):
            yield
    finally:
        with suppress(RayError):
            ray.get(outcomes.end.remote(who))


def forget() -> None:
    """End the actor: there is no endpoint any more."""
    with suppress(ValueError, RayError):
        ray.kill(ray.get_actor(NAME, namespace=NAMESPACE))


def _outcomes() -> Any:
    return (
        ray.remote(Outcomes)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
        )
        .remote()
    )
