"""The frame of every command: options, exit codes, one sentence, the result alone on stdout."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from bigmodel.cluster.session import ray_session
from bigmodel.errors import ClusterError, DataError, ModelError, RecipeError
from jobs.cli import VERBS, main
from jobs.deploy import show as show_deployed
from jobs.predict import show as show_predictions
from jobs.run import show as show_run
from jobs.start import job, user_error, verb
from jobs.terminal import table

HEAVY = ("torch", "ray", "mlflow", "pandas", "sklearn", "pydantic", "pyarrow", "numpy", "rich")
"""What takes too long to import for a help text."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder of one's own, without the variables that lead to a storage or a cluster."""
    monkeypatch.chdir(tmp_path)
    for name in ("BIGMODEL_STORAGE", "BIGMODEL_CLUSTER", "BIGMODEL_RESULT_MARK"):
        monkeypatch.delenv(name, raising=False)


def run(command: click.Command, *arguments: str):
    return CliRunner().invoke(command, arguments)


def ending_with(error: BaseException) -> click.Command:
    @verb(show=table)
    def main(storage: str) -> None:
        raise error

    return main


@pytest.mark.parametrize("verb_name", [None, *VERBS])
def test_help_imports_nothing_heavy(verb_name):
    arguments = [verb_name, "--help"] if verb_name else ["--help"]
    program = (
        "import sys; from click.testing import CliRunner; from jobs.cli import main;"
        f"print(CliRunner().invoke(main, {arguments!r}, catch_exceptions=False).output);"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert "heavy: []" in done.stdout


def test_the_command_lists_the_verbs_in_the_order_of_a_models_life():
    shown = run(main, "--help").output.partition("Commands:")[2]
    assert [line.split()[0] for line in shown.strip().splitlines()] == list(VERBS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecipeError("reviews.toml: unknown key train.epoch"), 2),
        (DataError("评论.csv: no column 'label'"), 3),
        (ModelError("reviews@9: no such version"), 4),
        (ClusterError("http://localhost:8265: no Ray cluster answers there"), 5),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(error, code):
    done = run(ending_with(error))
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"bigmodel: {error}\n")


def test_what_ray_data_writes_below_a_sentence_is_left_out():
    done = run(ending_with(DataError("评论.csv: empty\nFailed to apply UDF transform after 1/1")))
    assert done.stderr == "bigmodel: 评论.csv: empty\n"


def test_debug_adds_where_an_error_arose():
    done = run(ending_with(DataError("评论.csv: empty")), "--debug")
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("bigmodel: 评论.csv: empty\n")


def test_ctrl_c_is_130():
    done = run(ending_with(KeyboardInterrupt()))
    assert (done.exit_code, done.stderr) == (130, "bigmodel: interrupted\n")


def test_our_own_bug_is_1_with_its_trace():
    done = run(ending_with(ZeroDivisionError("division by zero")))
    assert done.exit_code == 1
    assert "Traceback" in done.stderr and "this is a bug of ours" in done.stderr


@pytest.mark.parametrize("arguments", [["nope"], ["prepare"], ["prepare", "x.toml", "--nope"]])
def test_a_wrong_command_is_2(arguments):
    assert run(main, *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("recipe", "arguments", "said"),
    [
        (None, [], "can't read the recipe"),
        ('name = "a"', [], "no key data; it is required"),
        ('name = "a"\nnme = 1\n[data]\ntrain = "x.csv"', [], "did you mean name?"),
        ('name = "a"\n[data]\ntrain = "x.csv"', ["--set", "train.epochs=0"], "train.epochs = 0"),
        ('name = "a"\n[data]\ntrain = "x.csv"', ["--set", "epochs"], "expected section.key=value"),
    ],
)
def test_a_wrong_recipe_is_2_before_ray_is_started(tmp_path, recipe, arguments, said):
    if recipe:
        (tmp_path / "r.toml").write_text(recipe)
    done = run(main, "prepare", "r.toml", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_json_is_alone_on_stdout_and_unrounded():
    @verb(show=table)
    def score(storage: str) -> dict[str, object]:
        print("a library's chatter")
        return {"accuracy": 0.8412345678901234, "label": "正面"}

    done = run(score, "--json")
    assert done.stdout == '{"accuracy": 0.8412345678901234, "label": "正面"}\n'
    assert "chatter" in done.stderr


def test_people_get_a_table():
    @verb(show=table)
    def score(storage: str) -> dict[str, object]:
        return {"accuracy": 0.8412345678901234, "label": "正面"}

    shown = run(score).stdout
    assert "0.8412" in shown and "正面" in shown and "{" not in shown


@pytest.mark.parametrize("shown", [show_deployed, show_run])
def test_an_endpoint_on_a_cluster_is_shown_with_the_way_to_it(shown):
    @verb(show=shown)
    def deploy(storage: str) -> dict[str, object]:
        metrics = {"split": "test", "rows": 24, "accuracy": 0.9, "macro_f1": 0.9}
        told = {"artifact": "s3://a", "metrics": metrics, "seconds": 1.0}
        return {"model": "reviews@3", "url": "http://127.0.0.1:8001", "here": False, **told}

    assert "ssh -L 8001:localhost:8001 HEAD" in run(deploy).stdout
    assert "ssh" not in run(deploy, "--json").stdout


@pytest.mark.parametrize("text", ["喜欢[/b]读书", "[red]喜欢[/red]", ":heart: 喜欢", "[link=x]书"])
def test_a_users_text_is_shown_as_it_is(text):
    @verb(show=show_predictions)
    def predict(storage: str) -> list[dict[str, object]]:
        return [{"text": text, "labels": [{"label": text, "score": 0.9}], "abstained": False}]

    @verb(show=table)
    def score(storage: str) -> dict[str, object]:
        return {text: text}

    for command in (predict, score):
        done = run(command)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.count(text) == 2


def test_a_result_that_can_not_be_shown_is_our_own_bug():
    @verb(show=lambda result: result["no such key"])
    def score(storage: str) -> dict[str, object]:
        return {}

    done = run(score)
    assert done.exit_code == 1
    assert "this is a bug of ours (KeyError)" in done.stderr


def test_a_submitted_jobs_result_is_the_line_with_its_mark(monkeypatch):
    monkeypatch.setenv("BIGMODEL_RESULT_MARK", "a1b2:")

    @verb(show=table)
    def score(storage: str) -> dict[str, object]:
        return {"label": "正面"}

    (line,) = run(score).stdout.splitlines()
    assert json.loads(line.removeprefix("a1b2:")) == {"label": "正面"}


def test_storage_is_the_option_then_the_environment_then_the_folder_here(tmp_path, monkeypatch):
    @verb(show=table)
    def where(storage: str) -> dict[str, str]:
        return {"storage": storage}

    def answer(*arguments: str) -> str:
        return json.loads(run(where, "--json", *arguments).stdout)["storage"]

    assert answer() == str(tmp_path / "storage")
    monkeypatch.setenv("BIGMODEL_STORAGE", "s3://bucket/a")
    assert answer() == "s3://bucket/a"
    assert answer("--storage", "here") == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("~nobody-here/x", "this machine knows no such home folder"),
        ("s3://AKIA3:secret@bucket/a", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_storage_that_can_not_be_is_2(storage, said):
    done = run(main, "models", "list", "--storage", storage)
    assert done.exit_code == 2
    assert said in done.stderr and "secret@" not in done.stderr


def test_what_is_no_job_after_all_runs_without_ray_and_without_a_cluster(monkeypatch):
    monkeypatch.setenv("BIGMODEL_CLUSTER", "http://127.0.0.1:1")

    @job(show=table, takes="MODEL", when=lambda file: file is not None)
    @click.option("--file", type=click.Path())
    def predict(model: str, storage: str, file: str | None) -> dict[str, str]:
        return {"model": model}

    assert json.loads(run(predict, "reviews@champion", "--json").stdout) == {
        "model": "reviews@champion"
    }
    assert run(predict, "reviews@champion", "--file", "s3://a/b.csv").exit_code == 2


def test_only_a_cluster_is_left_alone_with_a_job(tmp_path):
    (tmp_path / "r.toml").write_text('name = "a"\n[data]\ntrain = "x.csv"')
    done = run(main, "prepare", "r.toml", "--detach")
    assert done.exit_code == 2
    assert "name the cluster with --cluster" in done.stderr


def test_a_submitted_job_refuses_a_storage_that_would_go_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    (tmp_path / "r.toml").write_text('name = "a"\n[data]\ntrain = "x.csv"')
    done = run(main, "prepare", "r.toml")
    assert done.exit_code == 2
    assert "storage is ./storage" in done.stderr


def test_our_error_is_found_under_what_ray_wraps_around_it():
    class TaskError(Exception):
        cause = DataError("评论.csv: empty")

    class WorkerGroupError(Exception):
        worker_failures = {0: ValueError("no"), 1: TaskError()}

    assert user_error(WorkerGroupError()) is TaskError.cause
    assert user_error(ValueError("no")) is None


def test_errors_that_are_each_others_cause_are_looked_through_once():
    inner, outer = ValueError("no"), ValueError("also no")
    inner.__cause__, outer.__cause__ = outer, inner
    assert user_error(outer) is None
    inner.cause = DataError("评论.csv: empty")
    assert user_error(outer) is inner.cause


def test_what_ray_lost_is_a_sentence_of_the_cluster_and_what_our_code_raised_there_is_not():
    exceptions = pytest.importorskip("ray.exceptions")
    done = run(ending_with(exceptions.ActorDiedError()))
    assert done.exit_code == 5
    assert done.stderr.startswith(
        "bigmodel: Ray lost what it ran for us (ActorDiedError: The actor"
    )
    assert done.stderr.count("\n") == 1
    ours = exceptions.RayTaskError("f", "Traceback …", ValueError("no"))
    assert user_error(ours) is user_error(exceptions.ActorDiedError(ours)) is None


def test_a_ray_that_does_not_start_is_one_too(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)

    def init(*_: object, **__: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because …")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ClusterError, match=r"doesn't start on this machine \(The current node"):
        with ray_session():
            pass
