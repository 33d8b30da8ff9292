"""What a submitted job takes along, and what it refuses to."""

from pathlib import Path

import pytest

from bigmodel.cluster import packing
from bigmodel.cluster.packing import pack_model, pack_recipe, stage, written_storage
from bigmodel.errors import DataError, RecipeError
from bigmodel.recipe import load_recipe

S3 = "s3://bucket/bigmodel"


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> str:
    """A recipe with its data beside it, the words of a dictionary in a folder, and a stranger."""
    monkeypatch.delenv("BIGMODEL_STORAGE", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "配方"
    (folder / "words").mkdir(parents=True)
    (folder / "评论 1.csv").write_text("text,label\n好看,正面\n", encoding="utf-8")
    (folder / "words" / "own.txt").write_text("好看 3 v\n", encoding="utf-8")
    (tmp_path / "elsewhere.csv").write_text("text,label\n难看,负面\n", encoding="utf-8")
    file = folder / "reviews.toml"
    file.write_text(
        'name = "reviews"\n[data]\ntrain = "评论 1.csv"\n'
        '[text]\nuser_dictionary = "words/own.txt"\n',
        encoding="utf-8",
    )
    return str(file)


def test_the_job_there_reads_the_same_recipe(recipe, tmp_path, monkeypatch):
    luggage = pack_recipe(recipe, ["train.epochs=3"], S3)
    there = tmp_path / "there"
    there.mkdir()
    stage(luggage, there)
    monkeypatch.chdir(there)
    path, *flags = luggage.arguments
    overrides = [value for flag, value in zip(flags, flags[1:], strict=False) if flag == "--set"]
    read = load_recipe(path, overrides, storage=flags[-1])
    (train,) = read.data.train
    assert Path(train.path).read_text(encoding="utf-8") == "text,label\n好看,正面\n"
    assert Path(read.text.user_dictionary or "").read_text(encoding="utf-8") == "好看 3 v\n"
    assert (read.train.epochs, read.storage, luggage.name) == (3, S3, "reviews")


def test_texts_without_labels_travel_too(recipe, tmp_path, monkeypatch):
    beside = Path(recipe).parent / "更多.txt"
    beside.write_text("很好看\n", encoding="utf-8")
    luggage = pack_recipe(recipe, [f'data.unlabelled="{beside}"'], S3)
    stage(luggage, there := tmp_path / "there")
    monkeypatch.chdir(there)
    path, *flags = luggage.arguments
    overrides = [value for flag, value in zip(flags, flags[1:], strict=False) if flag == "--set"]
    (more,) = load_recipe(path, overrides, storage=S3).data.unlabelled
    assert Path(more.path).read_text(encoding="utf-8") == "很好看\n"


def test_our_code_and_the_recipes_files_travel_and_nothing_else(recipe, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    stage(pack_recipe(recipe, [], S3), there)
    assert sorted(path.name for path in there.iterdir()) == ["bigmodel", "jobs", "recipe", "serve"]
    assert not list(there.rglob("__pycache__")) and not (there / "jobs" / "recipes").exists()
    travelled = [str(path.relative_to(there)) for path in (there / "recipe").rglob("*.*")]
    assert sorted(travelled) == ["recipe/reviews.toml", "recipe/words/own.txt", "recipe/评论 1.csv"]


@pytest.mark.parametrize(
    ("override", "error", "said"),
    [
        ("data.train=elsewhere.csv", RecipeError, "lies outside the recipe's folder"),
        ("data.train=nowhere.csv", DataError, "nowhere.csv: no such file (data.train)"),
    ],
)
def test_other_files_of_this_machine_are_refused(recipe, override, error, said):
    with pytest.raises(error) as caught:
        pack_recipe(recipe, [override], S3)
    assert said in str(caught.value)


def test_a_large_file_is_refused(recipe, monkeypatch):
    monkeypatch.setattr(packing, "LARGEST_FILE", 10)
    with pytest.raises(RecipeError, match="travels with the job at most 10"):
        pack_recipe(recipe, [], S3)


def test_globs_folders_and_lists_travel_as_they_are_written(recipe, tmp_path, monkeypatch):
    folder = Path(recipe).parent
    for name in ("更多/甲.csv", "更多/深/乙.jsonl.gz", "更多/读我.md", "试题.tsv", "改.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text,label\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    overrides = [
        'data.train=[{path = "*.csv", weight = 0.5}, {path = "更多"}, {path = "s3://b/x.csv"}]',
        "data.test=试*",
        "data.corrections=改.csv",
    ]
    luggage = pack_recipe(recipe, overrides, S3)
    assert sorted(luggage.files) == [
        "recipe/reviews.toml", "recipe/words/own.txt", "recipe/改.csv",
        "recipe/更多/深/乙.jsonl.gz", "recipe/更多/甲.csv", "recipe/评论 1.csv", "recipe/试题.tsv",
    ]  # fmt: skip
    there = tmp_path / "there"
    there.mkdir()
    stage(luggage, there)
    monkeypatch.chdir(there)
    path, *flags = luggage.arguments
    settings = [value for flag, value in zip(flags, flags[1:], strict=False) if flag == "--set"]
    data = load_recipe(path, settings, storage=S3).data
    assert [(one.path, one.weight) for one in data.train] == [
        (str(there / "recipe/*.csv"), 0.5), (str(there / "recipe/更多"), 1), ("s3://b/x.csv", 1),
    ]  # fmt: skip
    assert (data.test, data.corrections) == (
        str(there / "recipe/试*"),
        str(there / "recipe/改.csv"),
    )


def test_data_that_the_cluster_can_read_stays_where_it_is(recipe):
    luggage = pack_recipe(recipe, ["data.train=s3://bucket/a.csv"], S3)
    assert sorted(luggage.files) == ["recipe/reviews.toml", "recipe/words/own.txt"]


@pytest.mark.parametrize("storage", [None, "store", "./store", "~/store"])
def test_a_relative_storage_is_refused(recipe, storage):
    with pytest.raises(RecipeError, match="temporary folder of the cluster"):
        pack_recipe(recipe, [], storage)


@pytest.mark.parametrize(
    ("overrides", "option", "environment", "written"),
    [
        ([], None, None, "./storage"),
        (["storage=there"], None, None, "there"),
        ([], None, "s3://env/a", "s3://env/a"),
        (["storage=there"], None, "s3://env/a", "there"),
        (["storage=there"], "/mnt/a", "s3://env/a", "/mnt/a"),
    ],
)
def test_storage_is_judged_as_it_was_written(
    recipe, monkeypatch, overrides, option, environment, written
):
    if environment:
        monkeypatch.setenv("BIGMODEL_STORAGE", environment)
    assert written_storage(recipe, overrides, option) == written


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("reviews@champion", "reviews"),
        ("/mnt/models/reviews-3", "reviews-3"),
        ("s3://bucket/models/reviews-3", "reviews-3"),
    ],
)
def test_a_model_is_named_and_needs_no_files(model, name):
    luggage = pack_model(model, S3)
    assert (luggage.name, luggage.arguments, luggage.files) == (name, (model, "--storage", S3), {})


def test_a_storage_with_a_password_does_not_travel():
    with pytest.raises(RecipeError, match="AWS_SECRET_ACCESS_KEY") as error:
        pack_model("reviews@3", "s3://AKIA3:secret@bucket/a")
    assert "secret@" not in str(error.value)


def test_a_model_in_a_relative_folder_is_refused():
    with pytest.raises(RecipeError, match="which the cluster doesn't have"):
        pack_model("models/reviews", S3)


def test_what_a_cluster_answers_with_is_named_there_without_an_alias():
    assert pack_model("reviews", S3, deployed=True).arguments == ("reviews", "--storage", S3)
