"""cluster.yaml's machines, pretended, come with the work and go after it: by Ray's autoscaler."""

import re
from pathlib import Path
from typing import Any

import pytest
from namespaces import say

chaos = pytest.mark.chaos


@chaos
def test_work_comes_to_be_where_the_labels_say_and_all_machines_go_again(tmp_path: Path) -> None:
    assert say("autoscaled", "labels", tmp_path, within_s=300) == {
        "anywhere": "cpu",  # cheap, and before `steady` by its priority
        "gpu": "gpu",
        "steady": "steady",
        "driver": "steady",
    }


@chaos
def test_a_training_of_two_workers_begins_with_no_machine_and_leaves_none(tmp_path: Path) -> None:
    found = say("autoscaled", "train", tmp_path, within_s=580)
    assert found["model"] == "comments@1"
    assert 2 <= found["most"] <= 4


@chaos
def test_a_training_goes_on_when_a_machine_of_its_workers_is_killed(tmp_path: Path) -> None:
    found = say("autoscaled", "lost", tmp_path, within_s=900)
    assert found["model"] == "comments@1"
    assert "; going on from step " in found["said"]


@chaos
def test_a_job_whose_own_machine_is_killed_is_submitted_again_with_its_run(tmp_path: Path) -> None:
    found = say("autoscaled", "driver", tmp_path, within_s=1_200)
    assert found["model"] == "comments@1"
    assert re.search(
        r"the job \S+ was lost \(.+\); it is submitted again with --resume", found["said"]
    )


@chaos
def test_a_search_goes_on_when_a_machine_of_its_trials_is_killed(tmp_path: Path) -> None:
    found = say("autoscaled", "tune", tmp_path, within_s=1_200)
    assert found["spread"] >= 1
    assert (found["model"], found["trials"], found["failed"]) == ("comments@1", 6, 0)


@chaos
def test_an_endpoint_grows_over_machines_of_which_one_is_killed(tmp_path: Path) -> None:
    found: dict[str, Any] = say("autoscaled", "deploy", tmp_path, within_s=1_200)
    assert found["grew"] == 2
    assert found["moved"]
    assert found["answered"] > 200
    assert not found["failed"]
