"""C8: two machines with a slow way between them, and one that is cut for a while."""

from pathlib import Path

import pytest
from namespaces import say

pytestmark = pytest.mark.chaos

DELAY_S = 0.1  # of every packet, each way
CUT_S = 10.0
SOON_S = 120.0


def test_a_training_ends_well_where_each_packet_takes_100_ms(tmp_path: Path) -> None:
    found = say("divided", tmp_path, DELAY_S, 0, within_s=900, pair=True)
    assert found["code"] == 0, found["said"]
    assert found["result"]["model"] == "comments@1"
    assert found["passed"] > 1_000 and not found["dropped"]


def test_after_ten_seconds_without_a_network_it_goes_on_or_says_why_not(tmp_path: Path) -> None:
    found = say("divided", tmp_path, 0, CUT_S, within_s=900, pair=True)
    assert found["dropped"]
    assert found["code"] in (0, 5), found["said"]
    assert found["seconds"] < SOON_S
    if found["code"]:
        assert found["said"].splitlines()[-1].startswith("bigmodel: ")
    else:
        assert found["result"]["model"] == "comments@1"
