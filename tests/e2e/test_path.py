"""The whole path by the real command: run, then what each verb says of the model it made."""

import csv
import json
import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from commands import Started

from bigmodel.registry import Registry
from serve.running import free_port

TEXT = "我喜欢读书"


@pytest.fixture(scope="module", autouse=True)
def starting(demo, start) -> list[Started]:
    """An endpoint that comes up while the verbs below are asked."""
    return [serve(demo, start)]


def serve(demo, start) -> Started:
    return start("serve", "reviews@1", "--port", free_port(), cwd=demo.folder, ray=True)


def test_run_ends_with_a_model_that_an_endpoint_answered_with(demo):
    result = demo.run.json
    assert (result["model"], result["url"]) == ("reviews@1", None)
    assert result["metrics"]["split"] == "test"
    assert result["metrics"]["accuracy"] >= 0.83
    assert 900 <= result["metrics"]["rows"] <= 1100
    assert result["answer"]["text"] == TEXT
    assert Path(result["artifact"], "manifest.json").is_relative_to(demo.folder / "storage")
    assert "Traceback" not in demo.run.err and "deploy: " in demo.run.err


def test_run_leaves_no_process_and_no_scratch_behind(demo, wait_for):
    wait_for(lambda: not demo.run.left(), within_s=20)
    assert [path.name for path in demo.folder.iterdir()] == ["storage"]
    assert not list((demo.folder / "storage" / "runs").iterdir())


def test_predict_answers_as_the_endpoint_did(demo, run):
    (answer,) = run("predict", "reviews@champion", TEXT, "--json", cwd=demo.folder).json
    (served,) = demo.run.json["answer"]["labels"]
    assert answer["text"] == TEXT and not answer["abstained"]
    assert answer["labels"][0]["label"] == served["label"]
    assert answer["labels"][0]["score"] == pytest.approx(served["score"], abs=1e-5)


def test_a_second_prepare_says_that_nothing_changed(demo, run):
    done = run("prepare", demo.recipe, "--json", cwd=demo.folder)
    assert done.json["reused"] is True
    assert done.json["rows_read"] == 10_000


def test_evaluate_finds_the_scores_of_the_run(demo, here):
    found = here("evaluate", "reviews@champion", "--json", cwd=demo.folder).json
    for name in ("accuracy", "macro_f1", "rows"):
        assert found[name] == demo.run.json["metrics"][name]
    assert Path(found["report"]).exists()


def test_a_files_rows_are_labelled_in_order_and_scored(demo, here, tmp_path):
    rows = [("1", "房间很干净，服务态度也好", "正面"), ("2", "物流太慢，非常失望", "负面")]
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    lines = ["number,text,label", *(",".join(row) for row in rows)]
    file.write_text("\n".join(lines), encoding="utf-8")
    done = here("predict", "reviews@1", "--file", file, "--out", out, "--json", cwd=demo.folder)
    assert done.json["rows"] == 2
    with open(out, encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [(r["number"], r["text"], r["label"]) for r in found] == rows
    assert [r["predicted"] for r in found] == ["正面", "负面"]
    scored = here("evaluate", "reviews@1", "--data", file, "--json", cwd=demo.folder).json
    assert (scored["rows"], scored["accuracy"]) == (2, 1.0)


def test_versions_are_listed_promoted_and_rolled_back(demo, run, here):
    registry = Registry(str(demo.folder / "storage"))
    first = registry.resolve("reviews@1")
    registry.publish("reviews", first.uri, digest=first.digest, metrics={}, run_id=first.run_id)

    def models(*arguments: str) -> object:
        return here("models", *arguments, "--json", cwd=demo.folder).json

    listed = run("models", "list", "--json", cwd=demo.folder).json
    assert listed == models("list")
    assert [(m["model"], m["aliases"]) for m in listed] == [
        ("reviews@1", ["champion"]),
        ("reviews@2", []),
    ]
    assert models("promote", "reviews@2", "champion")["aliases"] == ["champion"]
    assert models("rollback", "reviews")["model"] == "reviews@1"
    assert models("show", "reviews@champion")["model"] == "reviews@1"


@pytest.mark.parametrize(
    "ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.chaos)]
)
def test_serve_answers_until_it_is_told_to_end(demo, start, starting, wait_for, ending):
    serving = starting.pop() if starting else serve(demo, start)
    said = wait_for(
        lambda: re.search(r"http://\S+", serving.err) or serving.process.poll(), within_s=120
    )
    assert isinstance(said, re.Match), serving.err
    request = urllib.request.Request(
        said[0].removesuffix(";"),
        json.dumps({"inputs": [TEXT]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    assert answer["predictions"][0]["labels"] == demo.run.json["answer"]["labels"]
    os.kill(serving.process.pid, ending)
    assert serving.code == 0, serving.err
    wait_for(lambda: not serving.left(), within_s=20)
