"""What a head answered with: a deploy writes it down, the next `up` puts it back."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bigmodel.cluster import head, private
from bigmodel.cluster.processes import Started
from bigmodel.errors import ClusterError, ModelError
from jobs import remembered
from serve import declared, rollout
from serve.wanted import Pinned, ServeArgs, Wish, first_wish

LIVING = head.Head(8265, 6379, "/tmp/bigmodel-头", "0.1.0", Started(7, (7,), "头"))
ARGS = ServeArgs(name="reviews", keys="/数据", code="of the release before")
PORT = 8123


def pinned(version: int, name: str = "reviews") -> Pinned:
    return Pinned(
        uri=f"/数据/models/{name}/{version}", digest=f"{version:064x}", version=str(version)
    )


WISH = (
    first_wish("reviews", pinned(1))
    .with_model("reviews", pinned(2))
    .with_model("titles", pinned(7, "titles"))
)


@pytest.fixture(autouse=True)
def living(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that lives and to which we are connected, with an endpoint of two models."""
    monkeypatch.setenv(private.HOME, str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    monkeypatch.setattr(head, "living_head", lambda: (LIVING, "令牌"))
    monkeypatch.setattr(head, "applications", lambda *_: {})
    monkeypatch.setattr(declared, "declared", lambda: SimpleNamespace(args=ARGS, wish=WISH))
    monkeypatch.setattr(declared, "address", lambda: ("127.0.0.1", PORT))


@pytest.fixture
def deploys(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is deployed, in this order: name and version."""
    done: list[tuple[str, str]] = []

    def deploy(version: Pinned, args: ServeArgs, *, port: int, other_labels: bool) -> str:
        assert (port, other_labels, args.keys) == (PORT, True, "/数据")
        assert args.code == declared.code_digest()
        done.append((args.name, version.version))
        return f"http://127.0.0.1:{port}"

    @contextmanager
    def attached(port: int, token: str) -> Any:
        assert (port, token) == (6379, "令牌")
        yield

    monkeypatch.setattr(rollout, "deploy", deploy)
    monkeypatch.setattr(remembered, "attached", attached)
    return done


def test_all_models_are_put_back_with_the_versions_that_a_rollback_needs(deploys):
    remembered.remember()
    said = remembered.put_back()
    assert said == {"models": ["reviews@2", "titles@7"], "url": f"http://127.0.0.1:{PORT}"}
    assert deploys == [("reviews", "1"), ("reviews", "2"), ("titles", "7")]


def test_nothing_is_put_back_where_nothing_was_deployed_or_all_was_ended(deploys):
    assert remembered.put_back() is None
    remembered.remember()
    remembered.forget()
    assert remembered.put_back() is None
    assert deploys == []


def test_an_endpoint_that_is_there_is_left_alone(deploys, monkeypatch):
    remembered.remember()
    monkeypatch.setattr(head, "applications", lambda *_: {"bigmodel": {}})
    assert remembered.put_back() is None
    assert deploys == []


def test_what_another_cluster_answers_with_is_not_written_down(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    remembered.remember()
    assert private.read(remembered.FILE) == ""
    monkeypatch.setattr(head, "living_head", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    remembered.remember()
    assert private.read(remembered.FILE) == ""


def test_a_version_that_is_gone_is_told_and_the_one_before_it_is_not_needed(deploys, monkeypatch):
    remembered.remember()
    deploy = rollout.deploy
    gone = {"1"}

    def some(version: Pinned, args: ServeArgs, **options: Any) -> str:
        if version.version in gone:
            raise ModelError("/数据/models/reviews: no artefact there")
        return deploy(version, args, **options)

    monkeypatch.setattr(rollout, "deploy", some)
    assert remembered.put_back() is not None
    gone.add("2")
    with pytest.raises(ModelError, match="the head is up, but reviews@2 couldn't be put back"):
        remembered.put_back()


def test_what_another_release_wrote_is_no_reason_to_fail(deploys, caplog):
    private.write(remembered.FILE, '{"port": "八千"}')
    assert remembered.put_back() is None
    assert "deploy again" in caplog.text


def test_what_cannot_be_written_down_does_not_fail_the_deploy(monkeypatch, caplog):
    def unreadable() -> None:
        raise ClusterError("others could read the head's token")

    monkeypatch.setattr(head, "living_head", unreadable)
    remembered.remember()
    assert "can't be put back after a crash: others could read" in caplog.text


def test_what_is_written_down_reads_as_it_was():
    remembered.remember()
    kept = remembered.Deployed.model_validate_json(private.read(remembered.FILE))
    assert (kept.port, kept.args, Wish(generation=1, models=kept.models).models) == (
        PORT,
        ARGS,
        WISH.models,
    )
