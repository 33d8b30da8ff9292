"""C7: Ray's own processes lose each twentieth question to each other, and each twentieth answer."""

from pathlib import Path

import pytest
from namespaces import say

pytestmark = pytest.mark.chaos

SECONDS = 60


def test_a_training_and_an_endpoint_come_through_lost_messages(tmp_path: Path) -> None:
    found = say("lossy", tmp_path, SECONDS, within_s=900)
    assert found["model"] == "comments@1"
    assert found["answered"] > 10 * SECONDS
    assert not found["failed"]
