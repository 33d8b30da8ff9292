"""What the pages about clusters say of what goes wrong is what commands say, in both languages."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_files import ROOT

from bigmodel.cluster import asking, dashboard, preflight
from bigmodel.cluster.dashboard import Away, Dashboard, checked_address, connect
from bigmodel.cluster.following import Log, follow
from bigmodel.cluster.job_table import job_there
from bigmodel.cluster.packing import check_storage, pack_recipe
from bigmodel.cluster.room import Room
from bigmodel.cluster.submission import Submission
from bigmodel.connection import database
from bigmodel.errors import BigModelError
from bigmodel.recipe import make_recipe
from jobs.outcome import outcome

PAGES = [ROOT / "docs" / "clusters.md", ROOT / "docs" / "clusters.zh.md"]
ADDRESS, JOB, STORAGE = "http://localhost:8265", "bigmodel-6bb1-1-1", "s3://my-bucket/bigmodel"


def told(page: Path) -> dict[str, str]:
    """By sentence its exit code, as the page's table has them."""
    rows = re.findall(r"^\| .* \| `(.*)` \| (\d) \|$", page.read_text(encoding="utf-8"), re.M)
    return dict(rows)


def submitted(client: object) -> Submission:
    return Submission(JOB, "bigmodel-a1b2:", Dashboard(ADDRESS, client, "2.60.0", "session_1"))


def answered(monkeypatch: pytest.MonkeyPatch, status: int, token: str = "") -> None:
    """Of a cluster that says so to this token."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    monkeypatch.setattr(dashboard, "ask", lambda *_, **__: asking.Answer(status, b""))
    connect(ADDRESS)


def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(monkeypatch, 401)


def wrong_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(monkeypatch, 403, "0123abcd")


def open_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch(0o644)
    connect(ADDRESS)


def wrong_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> asking.Answer:
        return asking.Answer(0, reason="[Errno 111] Connection refused")

    monkeypatch.setattr(dashboard, "ask", refused)
    connect("http://localhost:8999")


def plain_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked_address("http://head:8265", insecure=False)


def own_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_storage("store")


def data_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "reviews.csv").write_text("text,label\n好看,正面\n", encoding="utf-8")
    recipe = tmp_path / "mine" / "reviews.toml"
    recipe.write_text('name = "reviews"\n[data]\ntrain = "../reviews.csv"\n', encoding="utf-8")
    pack_recipe(str(recipe), [], STORAGE)


def many_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = {"num_workers": 64, "use_gpu": True}
    tree = {"name": "reviews", "storage": STORAGE, "data": {"train": "x.csv"}, "train": train}
    monkeypatch.setattr(preflight, "cluster_room", lambda: Room(({"CPU": 4.0},)))
    trainer = SimpleNamespace(check_resources=lambda *_, **__: True)
    monkeypatch.setitem(sys.modules, "bigmodel.training.trainer", trainer)  # type: ignore[arg-type]
    preflight.check_room(make_recipe(tree, "reviews.toml"), verb="train")


def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=1e6, total=0.6e9)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage)
    try:
        preflight.check_disks("/tmp/ray", STORAGE)
    except BigModelError as error:
        found = preflight.Found("10.0.0.11-7922073c", error)
    monkeypatch.setattr(preflight, "_everywhere", lambda *_: [found])
    preflight.check_nodes(str(tmp_path), [], SimpleNamespace())  # type: ignore[arg-type]


def head_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def get_job_info(self, job: str) -> object:
            raise Away(f"{ADDRESS}: connection lost ([Errno 111] Connection refused)")

    monkeypatch.setattr(dashboard, "SECONDS_OF_PATIENCE", 0)
    follow(Log(submitted(Client()), print))


def machine_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(
        status=SimpleNamespace(is_terminal=lambda: True, value="FAILED"),
        entrypoint="python -m jobs.train",
        driver_exit_code=None,
        error_type="JOB_SUPERVISOR_ACTOR_DIED",
        message="Job supervisor actor died: …",
    )
    client = SimpleNamespace(get_job_info=lambda _: info, get_job_logs=lambda _: "")
    outcome(lambda _: submitted(client), retries=0, resumes=True)


def no_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database(STORAGE)


def nobodys_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def get_job_info(self, job: str) -> object:
            raise dashboard.NoSuchJob(job)

    job_there(Client(), str(tmp_path / "storage"), "nobody", given=True)


Case = Callable[[Path, pytest.MonkeyPatch], None]
CASES: list[Case] = [
    no_token, wrong_token, open_token, wrong_address, plain_http, own_storage, data_elsewhere,
    many_gpus, full_disk, head_gone, machine_gone, no_mlflow, nobodys_id,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_goes_wrong_is_told_as_the_pages_say(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "BIGMODEL_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BIGMODEL_HOME", str(tmp_path / "head"))
    with pytest.raises(BigModelError) as caught:
        case(tmp_path, monkeypatch)
    said = str(caught.value)
    there = said.replace(f"{tmp_path}/reviews.csv", "/data/reviews.csv")
    there = there.replace(str(tmp_path), "/home/wei")
    for page in PAGES:
        assert told(page)[there] == str(caught.value.exit_code)


def test_the_pages_tell_nothing_else_and_the_same() -> None:
    english, chinese = map(told, PAGES)
    assert list(english.items()) == list(chinese.items())
    assert len(english) == len(CASES)
