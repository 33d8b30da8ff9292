"""The doctor beside a head that lets everybody in, and listens to all machines."""

import json
import re
import time

import pytest
from heads import living_head, run

pytestmark = pytest.mark.chaos


def test_a_head_that_lets_everybody_in_is_found_though_nobody_named_it(tmp_path):
    with living_head(num_cpus=1, variables={"RAY_AUTH_MODE": "disabled"}) as head:
        begun = time.monotonic()
        done = run(["bigmodel", "doctor", "--json"], tmp_path, None)
        took = time.monotonic() - begun
    assert done.returncode == 5, done.stderr
    rows = json.loads(done.stdout)
    wrong = [row for row in rows if row["state"] == "wrong" and head.address in row["found"]]
    assert [row["check"] for row in wrong] == ["dashboards"]
    assert "answers whoever asks, without a token" in wrong[0]["found"]
    port = head.gcs.rpartition(":")[2]
    open_ports = [row for row in rows if row["check"] == "ports" and f":{port}" in row["found"]]
    assert [row["state"] for row in open_ports] == ["warning"]
    assert re.match(r"gcs_server \(\d+\) listens on \[::\]:", open_ports[0]["found"])
    print(f"{took:.1f} s")
