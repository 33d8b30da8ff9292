"""What Ray Serve is told to run, and what it says of it: its private calls for that stand here and
nowhere else.

The declarative way keeps a replica's process where only its `user_config` changes; `serve.run`
starts new ones.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from pydantic import ValidationError
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from bigmodel.errors import ClusterError
from serve.wanted import DEPLOYMENT, ServeArgs, Wish

APPLICATION = "bigmodel"
_LIVING = ("RUNNING", "UPDATING", "PENDING_MIGRATION")


@dataclass(frozen=True)
class Declared:
    """One application's part of Serve's configuration file."""

    config: dict[str, Any]

    @classmethod
    def new(cls, args: ServeArgs, wish: Wish) -> "Declared":
        config = {"name": APPLICATION, "route_prefix": "/", "import_path": "serve.app:build"}
        return cls(config)._with(args)._wishing(wish)

    @property
    def wish(self) -> Wish:
        """ClusterError where it is none of ours."""
        try:
            return Wish.model_validate(self._deployment["user_config"])
        except (LookupError, ValidationError):
            raise ClusterError(
                f"the application '{APPLICATION}' on this cluster has no user_config of this "
                "release; delete it, or give it one as in serve/config.yaml"
            ) from None

    @property
    def args(self) -> ServeArgs | None:
        """None for those of another release."""
        try:
            return ServeArgs.model_validate(self.config["args"])
        except (LookupError, ValidationError):
            return None

    def next(self, wish: Wish, args: ServeArgs | None = None) -> "Declared":
        """With another wish; and where the arguments are really others, with them and with the
        code of this very process, for then it is new processes anyway."""
        changed = args is not None and args != self.args
        return (self._with(args) if args and changed else self)._wishing(wish)

    @property
    def _deployment(self) -> dict[str, Any]:
        deployments: list[dict[str, Any]] = self.config.get("deployments", [])
        return next((each for each in deployments if each["name"] == DEPLOYMENT), {})

    def _wishing(self, wish: Wish) -> "Declared":
        ours = self._deployment | {"name": DEPLOYMENT, "user_config": wish.model_dump(mode="json")}
        others = [each for each in self.config.get("deployments", []) if each["name"] != DEPLOYMENT]
        return Declared(self.config | {"deployments": [ours, *others]})

    def _with(self, args: ServeArgs) -> "Declared":
        environment = dict(ray.get_runtime_context().runtime_env)
        environment.pop("env_vars", None)  # of one job
        dumped = args.model_dump(mode="json")
        return Declared(self.config | {"args": dumped, "runtime_env": environment})


def declared() -> Declared | None:
    """What runs now as it was declared; None where nothing of ours does."""
    if _get_global_client(raise_if_no_controller_running=False) is None:
        return None
    found = _details()["applications"].get(APPLICATION)
    if not found or found["status"] == "DELETING" or not found.get("deployed_app_config"):
        return None
    return Declared(found["deployed_app_config"])


def declare(ours: Declared) -> None:
    """Tell Serve; applications of others that were declared stay as they are."""
    details = _details()
    applications = details["applications"]
    others = [
        each.get("deployed_app_config") for n, each in applications.items() if n != APPLICATION
    ]
    schema = {
        "applications": [ours.config, *(each for each in others if each)],
        "target_capacity": details.get("target_capacity"),
    }
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(schema))


def living() -> set[str]:
    """The ids of the replicas that answer."""
    return {each["replica_id"] for each in _replicas() if each["state"] in _LIVING}


def pids() -> dict[str, int]:
    """The processes of the replicas that answer, by replica id."""
    return {e["replica_id"]: e["pid"] for e in _replicas() if e["state"] in _LIVING and e["pid"]}


def is_scaled_to_zero() -> bool:
    """Nobody answers, and nobody should, before somebody asks."""
    application = _details()["applications"].get(APPLICATION, {})
    deployment = application.get("deployments", {}).get(DEPLOYMENT, {})
    return bool(deployment.get("target_num_replicas") == 0)


def wants_keys() -> bool:
    """Whether what runs asks for keys."""
    ours = declared()
    return bool(ours and ours.args and ours.args.keys)


def address() -> tuple[str, int]:
    """The host and port that Serve listens on."""
    options = _get_global_client().http_config
    return str(options.host), int(options.port)


def code_digest() -> str:
    """Of the source of `bigmodel` and `serve`."""
    root = Path(__file__).parents[1]
    files = sorted([*(root / "bigmodel").rglob("*.py"), *(root / "serve").rglob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _replicas() -> list[dict[str, Any]]:
    application = _details()["applications"].get(APPLICATION, {})
    deployment = application.get("deployments", {}).get(DEPLOYMENT, {})
    replicas: list[dict[str, Any]] = deployment.get("replicas", [])
    return replicas


def _details() -> dict[str, Any]:
    details: dict[str, Any] = _get_global_client().get_serve_details()
    return details
