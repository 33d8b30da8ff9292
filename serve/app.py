"""The Ray Serve application: `serve.app:build`, and what a replica does before it is ready."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import ray
from pydantic import ValidationError
from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from bigmodel.config import ServeConfig
from bigmodel.errors import ClusterError, ModelError
from bigmodel.steady import STEADY
from serve import liveness, outcomes
from serve.access import require_loopback
from serve.declared import address
from serve.endpoint import endpoint
from serve.keys import KeyRing
from serve.middlewares import OF_THIS_PROCESS
from serve.models import Models
from serve.wanted import DEPLOYMENT, Outcome, ServeArgs, Wish

METRICS_INTERVAL_S = 1.0  # Serve's 10 s would hide a short burst
LOOK_BACK_S = 5.0
SECONDS_BETWEEN_COUNTS = 2.0
HEALTH_PERIOD_S, HEALTH_TIMEOUT_S = 2.0, 10.0  # a dead replica is found within the period
# Serve's proxy collapses when more is in flight than its replicas may take: our own limit, which
# answers 503, has to be met long before.
ONGOING_REQUESTS = 512


class Replica:
    """Answers with what its newest wish says, as soon as that is loaded and checked."""

    def __init__(self, args: ServeArgs) -> None:
        import torch  # here, so that whoever only builds the application doesn't wait for it

        from serve.loading import Loader

        torch.set_num_threads(1)  # more replicas, not more threads, use more cores
        self._args = args
        self._models, self._draining = Models(), OF_THIS_PROCESS
        self._loader = Loader(self._models, default=args.name, report=self._tell, config=args.serve)
        self._newest: Outcome | None = None
        self._watching: list[asyncio.Task[None]] = []

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Ray Serve calls this once, on the replica, so that no app has to travel there.

        RecipeError where anybody could ask from anywhere, whoever started Serve.
        """
        args, keys = self._args, None
        host, _ = await asyncio.to_thread(address)
        if args.keys:
            keys = await asyncio.to_thread(KeyRing, args.keys)
            self._watch(keys.keep_current(), _keep_share(keys))
        else:
            require_loopback(host)
        self._watch(liveness.end_where_it_hangs())
        return endpoint(self._models, args.serve, keys=keys, hosts=[host], draining=self._draining)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Record the wish and return: a replica in here gets no requests, and one that raises is
        taken away. Only a new one, which couldn't answer anyway, waits for its models, and raises
        where it finds none."""
        new = not self._models.names
        try:
            wish = Wish.model_validate(user_config)
        except ValidationError as error:
            if new:
                raise
            self._tell(_misread(user_config, error, self._newest))
            return
        if wish.draining:
            self._draining.begin()
        loading = self._loader.begin(wish)
        if new:
            outcome = await asyncio.wrap_future(loading)
            if outcome is None or wish.models.keys() - outcome.serving.keys():
                raise ModelError(outcome.refused if outcome else "another wish came meanwhile")
            if reason := liveness.excess(self._args.serve.replica_memory_mb):
                raise ModelError(reason)

    async def check_health(self) -> None:
        """Tell the newest outcome again: whoever listens may have lost it with a node.

        Three ClusterErrors one after another, for a replica that leaks, and Serve sends it nothing
        new, lets it answer what it has, and starts another.
        """
        if self._newest:
            outcomes.tell(_replica_id(), self._newest)
        if reason := liveness.excess(self._args.serve.replica_memory_mb):
            raise ClusterError(reason)

    def _watch(self, *watches: Coroutine[Any, Any, None]) -> None:
        self._watching += [asyncio.create_task(each) for each in watches]

    def _tell(self, outcome: Outcome) -> None:
        self._newest = outcome
        outcomes.tell(_replica_id(), outcome)


def build(args: ServeArgs) -> Application:
    """The application with its autoscaling; Ray Serve makes `args` from a dict if need be."""
    config = args.serve
    # Serve copies a decorated class by value, globals included; an undecorated one is imported
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name=DEPLOYMENT,
        autoscaling_config={
            "min_replicas": (fewest := _fewest(config)),
            "initial_replicas": max(1, fewest),  # what doesn't come up is told by its start
            "max_replicas": config.max_replicas,
            "target_ongoing_requests": config.target_ongoing_requests,
            "upscale_delay_s": config.upscale_delay_s,
            "downscale_delay_s": config.downscale_delay_s,
            "metrics_interval_s": METRICS_INTERVAL_S,
            "look_back_period_s": LOOK_BACK_S,
        },
        max_ongoing_requests=max(ONGOING_REQUESTS, 2 * config.limits.in_flight),
        max_constructor_retry_count=2,
        max_surge_percent=100,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=20,
        ray_actor_options={
            "num_cpus": config.replica_cpus,
            "num_gpus": config.replica_gpus,
            "label_selector": STEADY,
        },
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    return deployment.bind(args)


def _fewest(config: ServeConfig) -> int:
    """Where there are several machines one may go away, and the endpoint with it."""
    if config.min_replicas != "auto":
        return config.min_replicas
    machines = sum(node["Alive"] for node in ray.nodes())
    return min(config.max_replicas, 2 if machines > 1 else 1)


async def _keep_share(keys: KeyRing) -> None:
    """Of each key's rate this replica grants what is left of it among the living ones."""
    while True:
        keys.share = 1 / max(1, await asyncio.to_thread(_living_replicas))
        await asyncio.sleep(SECONDS_BETWEEN_COUNTS)


def _living_replicas() -> int:
    """0 where Serve's controller is away, or has none to show yet."""
    try:
        application = serve.status().applications[serve.get_replica_context().app_name]
        return int(application.deployments[DEPLOYMENT].replica_states.get("RUNNING", 0))
    except Exception:  # whatever it is, the next look may go well
        return 0


def _replica_id() -> str:
    return str(serve.get_replica_context().replica_id.unique_id)


def _misread(user_config: Any, error: ValidationError, before: Outcome | None) -> Outcome:
    """The outcome of a `user_config` that is none, which only a hand-written one can be."""
    generation = user_config.get("generation") if isinstance(user_config, dict) else None
    where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
    return Outcome(
        generation=generation if isinstance(generation, int) else 0,
        wanted={},
        serving=before.serving if before else {},
        refused=f"the user_config can't be read ({where}); see serve/config.yaml for a right one",
        took_s=0.0,
    )
