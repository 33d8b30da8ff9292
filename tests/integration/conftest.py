"""A recipe for a small file of reviews, what is made of it once a session, and an S3 server."""

import logging
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from pyarrow import fs
from small_reviews import labelled, write_csv

from bigmodel.config import Recipe
from bigmodel.data.prepare import prepare
from bigmodel.data.prepared import PreparedData
from bigmodel.recipe import make_recipe
from bigmodel.training.trainer import Fitted, fit

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> MakeRecipe:
    """A kind of model -> a recipe for the small file, without dropout; sections may be given."""
    home = tmp_path_factory.mktemp("small")
    data = write_csv(home / "评论.csv", labelled())

    def recipe(kind: str, **sections: Any) -> Recipe:
        tables: dict[str, Any] = {"linear": {}, "bag": {"dropout": 0}, "mlp": {"dropout": 0}}
        tree = {
            "name": f"small-{kind}",
            "seed": 3,
            "storage": str(home / "storage"),
            "data": {"train": str(data)},
            "model": {"kind": kind, kind: tables[kind]},
            "train": {"epochs": 3, "num_workers": 2},
        }
        return make_recipe({**tree, **sections}, "recipe")

    return recipe


@pytest.fixture(scope="session")
def prepared(ray_local: None, small: MakeRecipe) -> Callable[[str], PreparedData]:
    """A kind of model -> the small file prepared for it."""
    return cache(lambda kind: prepare(small(kind)))


@pytest.fixture(scope="session")
def fitted(small: MakeRecipe, prepared: Callable[[str], PreparedData]) -> Callable[[str], Fitted]:
    """A kind of model -> what two workers made of the small file."""
    return cache(lambda kind: fit(prepared(kind), small(kind), run_id=f"two-{kind}"))


@pytest.fixture(scope="session")
def mlflow_storage(new_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One for all tests: whoever uses it takes own names."""
    return str(copytree(new_storage, tmp_path_factory.mktemp("storage"), dirs_exist_ok=True))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """An S3 server over HTTP with a bucket `bucket`: the variables by which it is found."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret"}
    endpoint = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    fs.S3FileSystem(
        access_key="reader",
        secret_key="secret",
        endpoint_override=endpoint["AWS_ENDPOINT_URL"],
        allow_bucket_creation=True,
    ).create_dir("bucket")
    yield keys | endpoint
    server.stop()


@pytest.fixture
def s3(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty folder of one's own there, which the environment leads to."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{uuid.uuid4().hex}"
