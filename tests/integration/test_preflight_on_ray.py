"""What a job finds out in its first seconds, on a Ray of one machine with four CPUs."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from comments import write_comments

from bigmodel import progress
from bigmodel.cluster import preflight, rehearsal
from bigmodel.config import Recipe
from bigmodel.errors import ClusterError, DataError, ModelError, RecipeError
from bigmodel.recipe import load_recipe
from bigmodel.training import news

RECIPE = """
name = "comments"
data.train = "评论.csv"
[model]
kind = "linear"
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("BIGMODEL_STORAGE", raising=False)
    return write_comments(tmp_path, RECIPE)


def recipe_of(place: Path, *overrides: str) -> Recipe:
    return load_recipe(place / "recipe.toml", overrides, storage=str(place / "store"))


def check(place: Path, *overrides: str, verb: str = "train") -> list[str]:
    """What the pre-flight says, in order."""
    recipe = recipe_of(place, *overrides)
    said: list[str] = []
    with progress.listening(lambda event: said.append(event.said)):
        preflight.check(recipe, recipe.storage, verb=verb)
    return [sentence for sentence in said if sentence]


def files_below(place: Path) -> list[str]:
    return [path.name for path in (place / "store").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["linear", "bag", "mlp", "cnn", "rnn", "transformer"])
def test_a_hundred_rows_go_through_every_stage_and_nothing_stays(ray_local, place, kind):
    given = ("train.num_workers=2", "evaluate.promise.precision=0.95", "evaluate.folds=5")
    assert check(place, f"model.kind={kind}", *given) == ["100 rows went through every stage"]
    assert not files_below(place)


def test_a_cluster_that_is_busy_with_others_work_is_no_obstacle(ray_local, place):
    everything = ray.util.placement_group([{"CPU": 1}] * 4)
    ray.get(everything.ready(), timeout=60)
    try:
        assert check(place) == ["100 rows went through every stage"]
    finally:
        ray.util.remove_placement_group(everything)


def test_a_verb_that_trains_nothing_rehearses_nothing(ray_local, place):
    assert check(place, "train.num_workers=64", verb="prepare") == []


def test_a_model_needs_its_storage_alone(ray_local, place):
    preflight.check("reviews@3", str(place / "store"), verb="evaluate")
    assert not files_below(place)


@pytest.mark.parametrize(
    ("overrides", "verb", "said"),
    [
        (
            ["train.num_workers=64", "train.use_gpu=true", "model.kind=mlp"],
            "train",
            "train.num_workers with train.use_gpu is 64, and the cluster has room for 0 "
            "workers of 1 GPU; ask for fewer",
        ),
        (["train.num_workers=5"], "ladder", "train.num_workers is 5, .* room for 4 workers of 1 C"),
        (["tune.cpus=3", "train.num_workers=2"], "tune", "takes 2 workers, .* for 1 worker of 3 "),
        (["tune.gpus=0.5"], "run", "takes 1 workers, .* for 0 workers of 1 CPU and 0.5 GPU"),
    ],
)
def test_more_than_the_cluster_will_ever_have_is_refused(ray_local, place, overrides, verb, said):
    with pytest.raises(RecipeError, match=said):
        check(place, *overrides, verb=verb)
    assert not files_below(place)


def test_workers_that_fit_without_a_search_are_not_held_to_its_trials(ray_local, place):
    preflight.check_room(recipe_of(place, "tune.gpus=1"), verb="train")


def test_a_storage_that_cannot_be_written_there_is_told(ray_local, place):
    with pytest.raises(RecipeError, match="storage is /proc/store, where the cluster can't write"):
        preflight.check("reviews@3", "/proc/store", verb="evaluate")
    with pytest.raises(
        RecipeError, match=r"评论.csv/store/\S+: can't write there \(Not a directory"
    ):
        preflight.check("reviews@3", str(place / "评论.csv" / "store"), verb="evaluate")


def test_a_storage_that_another_node_does_not_share_is_told(ray_local, place, monkeypatch):
    there = {"192.168.0.7-abc": "another machine's /mnt"}

    def elsewhere(folder, nonce, storage, files):
        (node,) = there
        moved = replace(folder, uri=str(place / "elsewhere"))
        return [preflight.look_around(node, moved, nonce, storage, files, works=True)]

    monkeypatch.setattr(preflight, "_everywhere", elsewhere)
    with pytest.raises(RecipeError, match="the node 192.168.0.7-abc doesn't have there what"):
        check(place)
    assert not files_below(place)


def looks(how: str) -> Callable[..., None]:
    """In place of a look around; made in here, so that workers need no module of tests."""

    def look(*_: object, **__: object) -> None:
        if how == "failing":
            raise MemoryError("没有内存")
        threading.Event().wait(5)

    return look


def snapshots(monkeypatch, *seen: list[dict[str, object]]) -> None:
    """Of the cluster's nodes, one for each time that they are asked for."""
    rest = iter(seen)
    monkeypatch.setattr(preflight, "_staying", lambda: next(rest))


@pytest.mark.parametrize(
    ("how", "within_s", "said"),
    [
        ("failing", 20, r"a task fails \(.*没有内存\); see that it has the memory"),
        ("hanging", 0.2, "nothing answers within 0.2 s; see what keeps it busy"),
    ],
)
def test_a_node_that_fails_is_told_unless_it_went_away(
    ray_local, place, monkeypatch, how, within_s, said
):
    monkeypatch.setattr(preflight, "look_around", looks(how))
    monkeypatch.setattr(preflight, "SECONDS_FOR_A_NODE", within_s)
    nodes = preflight._staying()
    assert nodes
    snapshots(monkeypatch, nodes, nodes)
    with pytest.raises(ClusterError, match=rf"on the node \S+, {said}"):
        check(place, verb="prepare")
    snapshots(monkeypatch, nodes, [])
    assert check(place, verb="prepare") == []
    assert not files_below(place)


def test_a_node_that_is_gone_when_it_is_asked_is_left_out(ray_local, place, monkeypatch):
    nodes = preflight._staying()
    gone = {**nodes[0], "NodeID": "c0de" * 14}
    snapshots(monkeypatch, [*nodes, gone], [*nodes, gone])
    assert check(place, verb="prepare") == []


def test_a_node_that_is_about_to_be_taken_away_is_not_asked(ray_local, monkeypatch):
    (node,) = preflight._staying()
    monkeypatch.setattr(news, "machines_that_leave", lambda: {node["NodeID"]})
    assert preflight._staying() == []


def test_data_that_a_node_cannot_read_is_told_with_the_node(ray_local, place):
    recipe = recipe_of(place, "data.corrections=没有.csv")
    with pytest.raises(DataError, match=r"on the node \S+, .*没有.csv: can't read the data"):
        preflight.check(recipe, recipe.storage, verb="prepare")


@pytest.mark.parametrize(
    ("free", "total", "said"),
    [(0.5e9, 100e9, "has 0.5 GB left of 100.0, and a job needs 5.0"), (3e9, 10e9, None)],
)
def test_a_disk_that_is_nearly_full_is_told(tmp_path, monkeypatch, free, total, said):
    usage = SimpleNamespace(free=free, total=total)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    if said is None:
        preflight.check_disks(str(tmp_path), "s3://bucket/store")
        return
    with pytest.raises(ClusterError, match=f"the disk of {tmp_path} {said}; make room there"):
        preflight.check_disks(str(tmp_path), "s3://bucket/store")


def test_a_storage_without_room_is_told(tmp_path, monkeypatch):
    store = tmp_path / "store" / "new"
    free = {str(tmp_path): 50e6}
    usage = shutil.disk_usage
    small = SimpleNamespace(free=50e6, total=64e6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: small if path in free else usage(path))
    with pytest.raises(ClusterError, match="has 0.1 GB left of 0.1, and a job needs 0.1"):
        preflight.check_disks("/", str(store))


EVERYTHING = dict.fromkeys(preflight.PACKAGES, "1.0")


def test_nodes_that_differ_are_told():
    alike = {"a": EVERYTHING, "b": EVERYTHING | {"numpy": "2.0"}}
    preflight.check_alike(alike)
    with pytest.raises(ClusterError, match="torch is 1.0 on the node b and 2.9 on the node c"):
        preflight.check_alike(alike | {"c": EVERYTHING | {"torch": "2.9"}})
    lacking = {name: EVERYTHING[name] for name in EVERYTHING if name not in ("rjieba", "mlflow")}
    with pytest.raises(ClusterError, match="the node c lacks mlflow, rjieba; install"):
        preflight.check_alike(alike | {"c": lacking})


def write(place: Path, *rows: str) -> None:
    text = "\n".join(["text,label", *rows])
    (place / "评论.csv").write_text(f"{text}\n", encoding="utf-8")


@pytest.mark.parametrize(
    "rows",
    [
        ["很好,正面"],
        ["很好,正面", "很差,负面"],
        [f"第{i}条很好,正面" for i in range(300)],
        ["很好,正面", "很好,负面"] * 20,
        [f"第{i}条,标签{i}" for i in range(200)],
        [f"{i},{'负面' if i % 2 else '正面'}" for i in range(200)],
        [",正面", '"没有结尾,负面'] * 5,
        [f"！{'？' * i},{label}" for i in range(1, 30) for label in ("正面", "负面")],
    ],
)
def test_too_few_rows_for_a_model_refuse_nothing(ray_local, place, rows):
    write(place, *rows)
    recipe = recipe_of(place)
    said: list[str] = []
    with progress.listening(lambda event: said.append(event.said)):
        with progress.stage("pre-flight") as stage:
            rehearsal.rehearse(recipe, stage)
    (sentence,) = filter(None, said)
    assert "every stage" in sentence or "nothing was rehearsed" in sentence
    assert not files_below(place)


def test_files_that_are_sorted_by_label_are_rehearsed_too(ray_local, place):
    long = "很" * 1000
    labels = ["正面"] * 400 + ["负面"] * 400
    write(place, *(f"{i}{long}好,{label}" for i, label in enumerate(labels)))
    assert {label: len(rows) for label, rows in rehearsal.sample(recipe_of(place)).items()} == {
        "正面": 50, "负面": 50,
    }  # fmt: skip


def test_slices_and_groups_are_rehearsed_with_their_columns(ray_local, place):
    rows = [f"第{i}条{what},{label},店{i % 7},{i}" for i in range(40)
            for what, label in (("很好", "正面"), ("很差", "负面"))]  # fmt: skip
    text = "\n".join(["text,label,shop,user", *rows])
    (place / "评论.csv").write_text(text, encoding="utf-8")
    slices = json.dumps(["shop"])
    assert check(place, f"evaluate.slices={slices}", "data.split.group_column=user") == [
        "80 rows went through every stage"
    ]


def test_what_would_end_the_job_ends_it_now(ray_local, place, monkeypatch):
    from bigmodel.predictor import Predictor

    def other_answers(*_: object) -> None:
        raise ModelError("the model answers its golden texts otherwise here")

    monkeypatch.setattr(Predictor, "predict", other_answers)
    with pytest.raises(ModelError, match="golden texts"):
        check(place)
    assert not files_below(place)
