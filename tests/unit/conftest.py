"""What several unit tests share."""

import pytest

from bigmodel.tracking import open_client


@pytest.fixture(scope="session")
def mlflow_storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage with MLflow's database: it takes seconds, so whoever uses it takes own names."""
    storage = str(tmp_path_factory.mktemp("storage"))
    open_client(storage, None)
    return storage
