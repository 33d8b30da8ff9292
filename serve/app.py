"""The Ray Serve application: `serve.app:build`, and what a replica does before it is ready."""

import asyncio

import torch
from pydantic import Field
from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from bigmodel.artifact import Artifact
from bigmodel.config import NAME_PATTERN, Section, ServeConfig
from bigmodel.predictor import Predictor
from serve.endpoint import endpoint
from serve.models import Models, Served

DEPLOYMENT = "classify"
METRICS_INTERVAL_S = 1.0  # Serve's 10 s would hide a short burst
LOOK_BACK_S = 5.0
# Serve's proxy collapses when more is in flight than its replicas may take: our own limit, which
# answers 503, has to be met long before.
ONGOING_REQUESTS = 512


class ServeArgs(Section):
    """Which model a deployment answers with, and how."""

    artifact: str = Field(description="The artefact's folder or URI, readable by every replica.")
    digest: str = Field(description="SHA-256 of its manifest.")
    name: str = Field(pattern=NAME_PATTERN, description="Of the model.")
    version: int = Field(ge=0, description="In the registry; 0: not registered.")
    serve: ServeConfig = Field(default_factory=ServeConfig)


class Replica:
    """Loads its artefact, verified and its golden texts replayed, and only then takes requests."""

    def __init__(self, args: ServeArgs) -> None:
        self._args = args

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Ray Serve calls this once, on the replica, so that no app has to travel there."""
        args = self._args
        torch.set_num_threads(1)  # more replicas, not more threads, use more cores
        predictor = await asyncio.to_thread(_load, args)
        served = Served.of(predictor, name=args.name, version=str(args.version), digest=args.digest)
        return endpoint(Models([served]), args.serve)


def build(args: ServeArgs) -> Application:
    """The application with its autoscaling; Ray Serve makes `args` from a dict if need be."""
    config = args.serve
    # Serve copies a decorated class by value, globals included; an undecorated one is imported
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name=DEPLOYMENT,
        autoscaling_config={
            "min_replicas": config.min_replicas,
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
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=20,
        ray_actor_options={"num_cpus": config.replica_cpus},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    return deployment.bind(args)


def _load(args: ServeArgs) -> Predictor:
    return Predictor(Artifact.load(args.artifact, digest=args.digest))
