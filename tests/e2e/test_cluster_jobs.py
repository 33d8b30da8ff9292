"""Jobs on a head node with a token: by our command and by Ray's own, and what is refused."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import psutil
import pytest
from comments import write_comments
from heads import Head, command_environment, free_ports, living_head, run
from talking import SPOKEN, TALKING, begin
from waiting import wait_for

from bigmodel.artifact import Artifact
from bigmodel.cluster.dashboard import Dashboard, connect
from bigmodel.cluster.following import End, Log, follow
from bigmodel.registry import Registry

ROOT = Path(__file__).parents[2]
GOOD = ["书很好看，一口气读完", "物流很快，包装完好", "房间干净，服务热情", "味道不错，还会再来"]
BAD = ["书太无聊，读不下去", "物流很慢，包装破了", "房间很脏，态度恶劣", "味道太差，不会再来"]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with living_head() as head:
        yield head


@pytest.fixture
def recipe(tmp_path) -> Path:
    rows = [f"{text}，第{i}次,{label}" for i in range(20) for text, label in labelled()]
    data = ["text,label", *(row.replace("，", "、") for row in rows)]
    Path(tmp_path, "评论.csv").write_text("\n".join(data), encoding="utf-8")
    file = tmp_path / "tiny.toml"
    file.write_text('name = "tiny"\n[data]\ntrain = "评论.csv"\n', encoding="utf-8")
    return file


def labelled() -> list[tuple[str, str]]:
    return [(text, "正面") for text in GOOD] + [(text, "负面") for text in BAD]


def bigmodel(head: Head, recipe: Path, *more: str, verb: str = "prepare") -> list[str]:
    storage = str(recipe.parent / "store")
    flags = ["--cluster", head.address, "--storage", storage, "--json", *more]
    return ["bigmodel", verb, str(recipe), *flags]


def ray_submit(head: Head, recipe: Path) -> list[str]:
    storage = str(recipe.parent / "store")
    submit = ["ray", "job", "submit", "--address", head.address, "--working-dir", str(ROOT)]
    job = ["python", "-m", "jobs.train", "jobs/recipes/reviews.toml", "--storage", storage]
    changes = [f"data.train={recipe.parent / '评论.csv'}", "train.num_workers=1"]
    return [*submit, "--", *job, *(word for one in changes for word in ("--set", one))]


def test_a_submitted_job_ends_as_if_it_had_run_here(head, recipe, tmp_path):
    done = run(bigmodel(head, recipe, "--set", "seed=7"), tmp_path, head.token)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_read"] == 160
    assert list((tmp_path / "store" / "prepared").rglob("manifest.json"))
    assert "prepare: " in done.stderr
    assert head.token not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def port() -> str:
    """Of the head's one endpoint."""
    return str(free_ports(1)[0])


@pytest.mark.chaos
def test_an_endpoint_outlives_the_job_that_deployed_it(head, port, recipe, tmp_path):
    done = run(bigmodel(head, recipe, "--port", port, verb="run"), tmp_path, head.token)
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout)
    assert Path(ran["artifact"]).is_relative_to(tmp_path / "store")
    assert "prepare: " in done.stderr and "train: " in done.stderr
    assert head.token not in done.stdout + done.stderr
    assert ran["url"] == f"http://127.0.0.1:{port}"
    assert ran["metrics"]["split"] == "test"
    assert ask(ran["url"], ran["answer"]["text"])["version"] == "1"

    deploy = ["bigmodel", "deploy", "tiny@champion", *bigmodel(head, recipe, "--port", port)[3:]]
    done = run(deploy, tmp_path, head.token)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"model": "tiny@1", "url": ran["url"], "here": False}
    assert ask(ran["url"], "书很好看")["predictions"][0]["labels"][0]["label"] == "正面"


@pytest.fixture
def store(tiny_uri, new_storage, tmp_path) -> str:
    """A storage with two versions of one model, `tiny`."""
    storage = str(copytree(new_storage, tmp_path / "store"))
    registry = Registry(storage)
    digest = Artifact.load(tiny_uri).digest
    for _ in range(2):
        registry.publish("tiny", tiny_uri, digest=digest, metrics={}, run_id="")
    return storage


def deploy(head: Head, storage: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    flags = ["--cluster", head.address, "--storage", storage, "--json"]
    return run(["bigmodel", "deploy", *arguments, *flags], folder, head.token)


def test_a_rollback_is_sent_to_a_cluster_by_the_models_name(head, store, tmp_path):
    done = deploy(head, store, tmp_path, "tiny", "--rollback")
    assert (done.returncode, done.stdout) == (5, "")
    assert "no endpoint is deployed on this cluster" in done.stderr.splitlines()[-1]


@pytest.mark.chaos
def test_what_jobs_deployed_is_put_back_by_a_job(head, port, store, tmp_path):
    for arguments, model in (
        (("tiny@1", "--port", port), "tiny@1"),
        (("tiny@2",), "tiny@2"),
        (("tiny", "--rollback"), "tiny@1"),
    ):
        done = deploy(head, store, tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        url = f"http://127.0.0.1:{port}"
        assert json.loads(done.stdout) == {"model": model, "url": url, "here": False}
        assert f"tiny@{ask(url, '书很好看')['version']}" == model


def ask(url: str, text: str) -> dict[str, Any]:
    body = json.dumps({"inputs": text}).encode()
    request = urllib.request.Request(
        f"{url}/v1/classify", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_a_failed_job_ends_with_its_own_sentence_and_exit_code(head, recipe, tmp_path):
    done = run(bigmodel(head, recipe, "--set", "data.label_column=标签"), tmp_path, head.token)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no column '标签'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.fixture
def there(head, monkeypatch) -> Dashboard:
    """The head, for what runs in this process."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    return connect(head.address)


def test_every_line_of_a_long_log_arrives(there):
    said: list[str] = []
    assert follow(Log(begin(there, TALKING), said.append)) == End(3)
    assert said == SPOKEN


@pytest.mark.chaos
@pytest.mark.parametrize(("answer", "state"), [("stop", "STOPPED"), ("leave", "SUCCEEDED")])
def test_ctrl_c_at_a_terminal_asks_whether_to_stop_the_job(
    head, there, recipe, tmp_path, answer, state
):
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        bigmodel(head, recipe, verb="check"),
        cwd=tmp_path,
        env=command_environment(tmp_path, head.token),
        stdin=inner,
        stdout=subprocess.PIPE,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    said = read_until(terminal, "pre-flight")
    process.send_signal(signal.SIGINT)
    said += read_until(terminal, "[leave]: ")
    job = re.search(r"leave (bigmodel-\S+) running, or stop it\?", said)[1]
    os.write(terminal, f"{answer}\n".encode())
    said = read_until(terminal, None)
    assert process.wait(timeout=60) == 130 and process.stdout.read() == b""
    process.stdout.close()
    os.close(terminal)
    words = {
        "stop": f"the job {job} at {head.address} was stopped",
        "leave": f"logs {job} --follow",
    }
    assert words[answer] in said.replace("\r\n", "\n")

    def end() -> str:
        status = there.client.get_job_info(job).status
        return str(status.value) if status.is_terminal() else ""

    assert wait_for(end, within_s=180) == state


def read_until(terminal: int, words: str | None) -> str:
    """What stands on the terminal up to these words, or (None) to the end of all who write there;
    an AssertionError where that doesn't come."""
    said, deadline = "", time.monotonic() + 180
    while words is None or words not in said:
        assert time.monotonic() < deadline and select.select([terminal], [], [], 180)[0], said
        try:
            said += os.read(terminal, 65_536).decode(errors="replace")
        except OSError:  # nobody is left
            assert words is None, said
            return said
    return said


@pytest.mark.chaos
def test_a_detached_job_is_only_started(head, recipe, tmp_path):
    done = run(bigmodel(head, recipe, "--detach"), tmp_path, head.token)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"bigmodel-[0-9a-f]{4}-[1-8]-[0-9]+", json.loads(done.stdout)["job"])


SMALL_STEPS = """
name = "comments"
data.train = "评论.csv"
model.kind = "mlp"
model.mlp.dropout = 0.3
[train]
epochs = 8
rows_per_step = 4
early_stop = 0
checkpoint_s = 0
"""
"""A training long enough to be killed in the middle, whose every step draws at random."""


@pytest.fixture(scope="module")
def comments(tmp_path_factory) -> Path:
    return write_comments(tmp_path_factory.mktemp("comments"), SMALL_STEPS)


def train(storage: str, *more: str) -> list[str]:
    return ["bigmodel", "train", "recipe.toml", "--storage", storage, "--json", *more]


@pytest.fixture(scope="module")
def laptop(comments) -> Path:
    """The artefact that the command makes without a cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as Ray sets it for a job's own process
        done = run(train(str(comments / "laptop")), comments, None)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["artifact"])


def digests(artifact: Path) -> dict[str, str]:
    """Of each file of a model, but for the two that name the places it was made in."""
    files = json.loads((artifact / "manifest.json").read_text())["files"]
    return {name: files[name] for name in files.keys() - {"recipe.json", "lineage.json"}}


def settings(artifact: Path) -> dict[str, Any]:
    """The recipe without its two paths."""
    recipe = json.loads((artifact / "recipe.json").read_text())
    assert recipe.pop("storage") and recipe["data"].pop("train")
    return recipe


@pytest.mark.chaos
def test_laptop_and_cluster_give_the_same_model_byte_for_byte(head, comments, laptop):
    there = train(str(comments / "cluster"), "--cluster", head.address)
    done = run(there, comments, head.token)
    assert done.returncode == 0, done.stderr
    made = Path(json.loads(done.stdout)["artifact"])
    assert digests(made) == digests(laptop)
    assert "weights.safetensors" in digests(made)
    assert settings(made) == settings(laptop)


@pytest.mark.chaos
def test_a_job_whose_driver_is_killed_is_submitted_again_and_goes_on(head, comments, laptop):
    store = comments / "killed"
    command = train(str(store), "--cluster", head.address, "--retries", "1")
    killed = threading.Event()

    def kill() -> None:
        records = partial(store.glob, "jobs/*/job.json")
        wait_for(lambda: any("--resume" in one.read_text() for one in records()), within_s=240)
        os.kill(driver_of(store), signal.SIGKILL)
        killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    done = run(command, comments, head.token)
    killer.join()
    assert killed.is_set() and done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    again = f"ended by SIGKILL); it is submitted again with --resume {made['run_id']}"
    assert again in done.stderr
    assert digests(Path(made["artifact"])) == digests(laptop)
    assert not list(store.glob("runs/*"))


def driver_of(store: Path) -> int:
    """The number of the one process that does a job with this storage."""
    told = ["-m", "jobs.train"]
    (found,) = (
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(store) in (said := process.info["cmdline"] or []) and said[1:3] == told
    )
    return found


def test_rays_own_command_does_the_same(head, recipe, new_storage, tmp_path):
    copytree(new_storage, tmp_path / "store")
    done = run(ray_submit(head, recipe), tmp_path, head.token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "store").rglob("manifest.json"))


def test_rays_own_command_without_the_token_is_refused(head, recipe, tmp_path):
    done = run(ray_submit(head, recipe), tmp_path, None)
    assert done.returncode != 0
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("token", "said"),
    [(None, "the cluster wants a token"), ("0" * 64, "the cluster refuses our token")],
)
def test_without_the_right_token_nothing_is_submitted(head, recipe, tmp_path, token, said):
    done = run(bigmodel(head, recipe), tmp_path, token)
    assert (done.returncode, done.stdout) == (5, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_no_cluster_at_the_address_is_one_sentence(head, recipe, tmp_path):
    command = bigmodel(head, recipe)
    command[command.index(head.address)] = f"http://127.0.0.1:{free_ports(1)[0]}"
    done = run(command, tmp_path, "0" * 64)
    assert (done.returncode, done.stdout) == (5, "")
    assert "no Ray cluster answers there" in done.stderr and done.stderr.count("\n") == 1
