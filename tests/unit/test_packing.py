"""What a submitted job takes along, and what it refuses to."""

from hashlib import sha256
from pathlib import Path

import pytest

from bigmodel import progress
from bigmodel.cluster import packing, uploads
from bigmodel.cluster.packing import pack_model, pack_recipe, stage, written_storage
from bigmodel.data.read import read_rows
from bigmodel.data.sources import sources_of
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


def test_a_large_file_is_refused_with_the_advice(recipe, monkeypatch):
    monkeypatch.setattr(packing, "LARGEST_FILE", 20)
    with pytest.raises(
        RecipeError, match="at most 10; let it go to .* --upload-data, .* file:///m"
    ):
        pack_recipe(recipe, [], S3)


def test_a_large_dictionary_is_refused_also_with_upload_data(recipe, monkeypatch):
    monkeypatch.setattr(packing, "LARGEST_FILE", 5)
    with pytest.raises(RecipeError, match="own.txt has 0.0 MB.* at most 10; make it smaller"):
        pack_recipe(recipe, [], S3, upload_data=True)


def test_with_upload_data_the_recipe_there_names_the_storage(recipe, tmp_path, monkeypatch):
    store = tmp_path / "store"
    overrides = ['data.train=[{path = "elsewhere.csv", weight = 0.5}]', "data.test=elsewhere.csv"]
    luggage = pack_recipe(recipe, overrides, str(store), upload_data=True)
    assert not store.exists(), "nothing is sent before the cluster was looked at"
    assert sorted(luggage.files) == ["recipe/reviews.toml", "recipe/words/own.txt"]
    with progress.stage("submit") as stage:
        uploads.send(luggage.uploads, stage)
    packing.stage(luggage, there := tmp_path / "there")
    monkeypatch.chdir(there)
    path, *flags = luggage.arguments
    settings = [value for flag, value in zip(flags, flags[1:], strict=False) if flag == "--set"]
    data = load_recipe(path, settings, storage=str(store)).data
    (train,) = data.train
    digest = sha256((tmp_path / "elsewhere.csv").read_bytes()).hexdigest()
    assert train.path == data.test == str(store / "uploads" / digest / "elsewhere.csv")
    assert train.weight == 0.5
    assert Path(train.path).read_text(encoding="utf-8") == "text,label\n难看,负面\n"


def test_a_glob_is_uploaded_as_a_folder(recipe, tmp_path):
    for name in ("更多/甲.csv", "更多/深/乙.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"text,label\n{name},正面\n", encoding="utf-8")
    luggage = pack_recipe(recipe, ["data.train=更多"], str(tmp_path / "store"), upload_data=True)
    with progress.stage("submit") as stage:
        uploads.send(luggage.uploads, stage)
    (place,) = (tmp_path / "store" / "uploads").iterdir()
    assert f'path = "{place}"' in " ".join(luggage.arguments)
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*.csv")) == [
        "深/乙.csv", "甲.csv",
    ]  # fmt: skip


def test_what_travels_is_listed_and_measured(recipe, tmp_path, monkeypatch):
    luggage = pack_recipe(recipe, [], S3)
    stage(luggage, there := tmp_path / "there")
    code = [path for path in there.rglob("*") if path.is_file() and "recipe" not in path.parts]
    megabytes = sum(path.stat().st_size for path in code) / 1e6
    assert packing.travels(luggage, there) == (
        f"bigmodel {megabytes:.1f} MB in {len(code)} files, reviews.toml 0.1 kB, "
        "评论 1.csv 0.0 kB, own.txt 0.0 kB"
    )
    packing.check_size(there)
    monkeypatch.setattr(packing, "LARGEST_IN_ALL", 1_000_000)
    with pytest.raises(RecipeError, match=r"and Ray takes at most 1; .* with --upload-data"):
        packing.check_size(there)


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


@pytest.mark.parametrize("uri", ["s3://bucket/a.csv", "file:///mnt/数据/评论 1.csv"])
def test_data_that_the_cluster_can_read_stays_where_it_is(recipe, uri):
    luggage = pack_recipe(recipe, [f"data.train={uri}"], S3)
    assert sorted(luggage.files) == ["recipe/reviews.toml", "recipe/words/own.txt"]
    assert f"data.train={uri}" in luggage.arguments


def test_data_on_a_shared_disk_are_read_there_by_their_uri(recipe, tmp_path):
    shared = tmp_path / "共享"
    shared.mkdir()
    (shared / "评论.csv").write_text("text,label\n好看,正面\n难看,负面\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="file:///mnt/… on a disk that all its machines share"):
        pack_recipe(recipe, [f"data.train={shared}/评论.csv"], S3)
    for written in (f"file://{shared}/评论.csv", f"file://{shared}/*.csv", f"file://{shared}"):
        _, *flags = pack_recipe(recipe, [f"data.train={written}"], S3).arguments
        settings = [value for flag, value in zip(flags, flags[1:], strict=False) if flag == "--set"]
        (source,) = sources_of(load_recipe(recipe, settings, storage=S3).data)
        texts = [text for rows in read_rows(source) for text in rows["text"].to_pylist()]
        assert texts == ["好看", "难看"]


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
