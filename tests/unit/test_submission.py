"""Submitting a job: which addresses, which token, what is made of its log and its end."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from requests.utils import get_environ_proxies

from bigmodel.cluster import submission
from bigmodel.cluster.packing import Luggage
from bigmodel.cluster.submission import (
    Submission,
    _talking_to,
    checked_address,
    follow,
    read_token,
    submit,
)
from bigmodel.errors import ClusterError, RecipeError
from jobs.submit import _outcome, own_arguments

MARK = "job-1-a1b2:"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8265", "http://localhost:8265"),
        ("http://localhost:8265/", "http://localhost:8265"),
        ("127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        ("https://head.example:8265", "https://head.example:8265"),
    ],
)
def test_loopback_and_https_are_fine(given, url):
    assert checked_address(given, insecure=False) == url


@pytest.mark.parametrize("address", ["http://head:8265", "head:8265", "http://10.0.0.7:8265"])
def test_plain_http_over_a_network_must_be_wanted(address):
    with pytest.raises(RecipeError, match="would show the token to the network"):
        checked_address(address, insecure=False)
    assert checked_address(address, insecure=True).startswith("http://")


@pytest.mark.parametrize("address", ["ray://head:10001", "http://", "/tmp/ray"])
def test_other_addresses_are_refused(address):
    with pytest.raises(RecipeError, match="expected the dashboard"):
        checked_address(address, insecure=True)


@pytest.fixture
def no_token(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("RAY_AUTH")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_token_is_found_where_ray_looks_for_it(no_token, monkeypatch):
    assert read_token() is None
    (no_token / ".ray").mkdir()
    (no_token / ".ray" / "auth_token").write_text("from-home\n")
    assert read_token() == "from-home"
    (no_token / "named").write_text("from-path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(no_token / "named"))
    assert read_token() == "from-path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert read_token() == "from-variable"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert read_token() is None


def test_a_named_token_file_must_be_there(no_token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(no_token / "missing"))
    with pytest.raises(ClusterError, match="can't read the cluster's token"):
        read_token()


class Refusing(BaseHTTPRequestHandler):
    status = 200
    body = b"<html>"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "token", "said"),
    [
        (401, None, "the cluster wants a token and none is set"),
        (403, "wrong-token", "the cluster refuses our token"),
        (404, None, "answers with status 404"),
        (200, None, "no Ray cluster answers there"),
    ],
)
def test_what_is_no_cluster_of_ours_is_one_sentence(no_token, monkeypatch, status, token, said):
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    handler = type("Handler", (Refusing,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ClusterError, match=said) as caught:
            submit("train", Luggage("a", (), {}), f"http://127.0.0.1:{server.server_port}")
        thread.join()
    assert "wrong-token" not in str(caught.value)


def test_the_token_goes_to_the_cluster_and_nowhere_else(no_token, monkeypatch):
    asked: list[str] = []

    class Elsewhere(Refusing):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    monkeypatch.setenv("RAY_AUTH_TOKEN", "our-token")
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{other.server_port}"
        monkeypatch.setenv("http_proxy", there)

        class Redirecting(Refusing):
            status = 302

            def end_headers(self) -> None:
                self.send_header("Location", there)
                super().end_headers()

        with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            with pytest.raises(ClusterError, match="answers with status 302"):
                submit("train", Luggage("a", (), {}), f"http://localhost:{server.server_port}")
            thread.join()
        other.shutdown()
    assert asked == []


def test_rays_own_client_uses_no_proxy_either(monkeypatch):
    address = "http://localhost:8265"
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "example.com")
    assert get_environ_proxies(address)
    with _talking_to(address):
        assert not get_environ_proxies(address)


class Cluster:
    """A job whose log grows by a part a look, and the way it ends."""

    def __init__(self, parts: list[str], code: int | None, message: str = "") -> None:
        self.parts, self.looks, self.code, self.message = parts, 0, code, message

    def get_job_info(self, job: str) -> SimpleNamespace:
        self.looks += 1
        ended = self.looks == len(self.parts)
        return SimpleNamespace(
            status=SimpleNamespace(is_terminal=lambda: ended),
            driver_exit_code=self.code if ended else None,
            message=self.message,
        )

    def get_job_logs(self, job: str) -> str:
        return "".join(self.parts[: self.looks])


def outcome(parts: list[str], code: int | None, message: str = ""):
    said: list[str] = []
    job = Submission("job-1", "http://localhost:8265", MARK, Cluster(parts, code, message))
    return follow(job, said.append), said


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(submission, "SECONDS_BETWEEN_LOOKS", 0)


BEGIN = "Runtime env is setting up.\nRunning entrypoint for job job-1: python -m jobs.train\n"


def test_every_line_is_passed_on_once_and_the_result_is_taken_out():
    result = {"model": "reviews@3", "metrics": {"accuracy": 0.8412345678901234}}
    parts = ["", BEGIN + "train: epo", "ch 1 of 3\ntrain: 2", f".1 s\n{MARK}{json.dumps(result)}\n"]
    assert outcome(parts, 0) == ((0, result), ["train: epoch 1 of 3", "train: 2.1 s"])


def test_the_last_line_is_not_lost_when_it_has_no_end():
    assert outcome([BEGIN + "bigmodel: 评论.csv: empty"], 3) == (
        (3, None),
        ["bigmodel: 评论.csv: empty"],
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-9, "Job entrypoint command failed with exit code -9, last logs:\n..."),
        (None, "Job supervisor actor died.\nThe node was lost."),
        (0, "Job finished successfully."),
    ],
)
def test_a_job_that_ended_by_no_word_of_ours_is_lost(code, message):
    with pytest.raises(ClusterError, match="the job job-1 was lost") as caught:
        outcome([BEGIN], code, message)
    assert "\n" not in str(caught.value)


class Shaky(Cluster):
    """Doesn't answer every other look, or no look at all."""

    def __init__(self, parts: list[str], *, always: bool) -> None:
        super().__init__(parts, 3)
        self.always, self.away = always, False

    def get_job_logs(self, job: str) -> str:
        self.away = self.always or not self.away
        if self.away:
            self.looks -= 1
            raise ConnectionError("Connection refused")
        return super().get_job_logs(job)


def test_a_look_that_fails_is_taken_again(monkeypatch):
    said: list[str] = []
    job = Submission("job-1", "http://localhost:8265", MARK, Shaky([BEGIN, "坏\n"], always=False))
    assert follow(job, said.append) == (3, None)
    assert said == ["坏"]


def test_a_cluster_that_stays_away_ends_the_following_and_not_the_job(monkeypatch):
    monkeypatch.setattr(submission, "SECONDS_WITHOUT_A_LOOK", 0)
    job = Submission("job-1", "http://localhost:8265", MARK, Shaky([BEGIN], always=True))
    with pytest.raises(ClusterError, match="the job job-1 goes on there"):
        follow(job, print)


def test_ctrl_c_says_how_to_stop_the_job(no_token, monkeypatch, capsys):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(submission, "follow", interrupted)
    stop = "ray job stop job-1 --address http://localhost:8265"
    for token, said in (("", f"with: {stop}"), ("our-token", f"with: RAY_AUTH_MODE=token {stop}")):
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        with pytest.raises(KeyboardInterrupt):
            _outcome(Submission("job-1", "http://localhost:8265", MARK, None))
        assert said in capsys.readouterr().err


@click.command()
@click.argument("target")
@click.argument("texts", nargs=-1)
@click.option("--until", default="deploy")
@click.option("--keep/--drop", default=False)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--storage")
@click.option("--data", type=click.Path())
@click.pass_context
def command(context: click.Context, **given: object) -> None:
    click.echo(json.dumps(own_arguments(context)))


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ([], []),
        (["--until", "train"], ["--until", "train"]),
        (["--keep", "-q"], ["--keep", "-q"]),
        (["--drop", "--storage", "s3://a"], ["--drop"]),
        (["--data", "s3://a/评论 1.csv"], ["--data", "s3://a/评论 1.csv"]),
        (["--", "-好-", "坏"], ["--", "-好-", "坏"]),
    ],
)
def test_a_commands_own_options_are_given_there_as_here(given, there):
    done = CliRunner().invoke(command, ["reviews@3", *given], catch_exceptions=False)
    assert json.loads(done.output) == there


def test_a_file_of_this_machine_is_refused_there():
    with pytest.raises(RecipeError, match="--data a.csv is a file of this machine"):
        CliRunner().invoke(command, ["reviews@3", "--data", "a.csv"], catch_exceptions=False)
