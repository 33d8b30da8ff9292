"""Where a model comes from, as parts of its page: training, data, how to repeat and to undo it."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from bigmodel.pages import model_words as words
from bigmodel.pages.charts import curves
from bigmodel.pages.model_words import SCORES, Figures
from bigmodel.pages.page import Both, Html, Words, code, pair, paragraph, subsection, table

MOST_LABELS = 40


def training(report: Figures) -> Iterable[Html]:
    """The curves, where there are at least two epochs, and the folds."""
    epochs = report.get("curves") or []
    if len(epochs) > 1:
        yield pair(
            *(
                subsection(title, curves(_series(epochs, names), title=title, shares=shares))
                for title, names, shares in (
                    (Both("Loss by epoch", "各轮损失"), ("train_loss", "valid_loss"), False),
                    (
                        Both("Scores by epoch", "各轮得分"),
                        ("valid_macro_f1", "valid_accuracy"),
                        True,
                    ),
                )
            )
        )
    folds = report.get("folds") or {}
    yield subsection(
        Both("Trained and scored anew on each fold", "交叉验证"),
        table(
            (Both("score", "指标"), Both("mean", "平均"), Both("spread", "标准差"))
            + (Both("each fold", "各折"),),
            (
                (
                    SCORES.get(name, name),
                    float(found["mean"]),
                    words.points(found["spread"]),
                    " · ".join(f"{100 * one:.1f}" for one in found["each"]),
                )
                for name, found in folds.items()
            ),
        ),
    )


def _series(epochs: list[Figures], names: Iterable[str]) -> dict[Words, list[tuple[float, float]]]:
    found = {
        words.CURVES[name]: [
            (one["epoch"], one[name]) for one in epochs if one.get(name) is not None
        ]
        for name in names
    }
    return {name: points for name, points in found.items() if points}


def data(report: Figures) -> Iterable[Html]:
    """What the model was made of: counts, splits, files, and their fingerprint."""
    found = report.get("data") or {}
    aside = found.get("quarantined")
    facts: dict[Words, Any] = {
        Both("data id", "数据指纹"): found.get("data_id"),
        Both("split id", "划分指纹"): found.get("split_id"),
        Both("rows kept", "保留行数"): _count(found.get("rows_kept")),
        Both("duplicates left out", "去除的重复行"): _count(found.get("duplicates")),
        Both("set aside", "剔除的行"): _count(
            sum(aside.values()) if isinstance(aside, Mapping) else aside
        ),
    }
    yield _facts(facts)
    splits = found.get("splits") or {}
    labels = sorted({label for counts in splits.values() for label in counts})
    yield subsection(
        Both("Rows of each label", "各标签的行数"),
        table(
            (Both("label", "标签"), *(words.SPLITS.get(name, name) for name in splits)),
            (
                (label, *(counts.get(label, 0) for counts in splits.values()))
                for label in labels[:MOST_LABELS]
            ),
        ),
        paragraph(words.shown_of(MOST_LABELS, len(labels)), kind="soft"),
    )
    columns: dict[str, Words] = {
        "path": Both("file", "文件"),
        "split": Both("split", "划分"),
        "format": Both("format", "格式"),
        "encoding": Both("encoding", "编码"),
        "rows": Both("rows", "行数"),
        "quarantined": Both("set aside", "剔除"),
    }
    yield subsection(
        Both("Files", "文件"),
        table(
            tuple(columns.values()),
            (
                (
                    file["path"],
                    words.SPLITS.get(file["split"], file["split"]),
                    *(file.get(key) for key in list(columns)[2:]),
                )
                for file in found.get("files") or ()
            ),
        ),
    )


def again(report: Figures) -> Iterable[Html]:
    """The commands and the recipe that made it, and with what."""
    import tomli_w

    run, recipe = report.get("run") or {}, report.get("recipe") or {}
    if not recipe:
        return
    commit = run.get("git_commit")
    lines = [f"git checkout {commit}"] if commit else []
    lines += ["bigmodel run recipe.toml", f"bigmodel evaluate {shlex.quote(report['model'])}"]
    yield code("\n".join(lines))
    if run.get("dirty") in (True, "true"):  # a fact of a run may be MLflow's, which are texts
        yield paragraph(
            Both(
                "Files of the checkout had changes that no commit has, so this commit may give "
                "another model.",
                "训练时代码中有未提交的改动，仅凭此提交可能得不到同一个模型。",
            )
        )
    named = {
        "run_id": Both("run", "运行编号"),
        "created": Both("made", "时间"),
        "seed": Both("seed", "随机种子"),
        "git_commit": Both("commit", "代码提交"),
        **{package: package for package in ("bigmodel", "ray", "torch")},
    }
    yield _facts({name: run.get(key) for key, name in named.items()})
    yield subsection(Both("The recipe", "配方"), code(tomli_w.dumps(_given(recipe))))


def back(report: Figures) -> Iterable[Html]:
    """How users get the version before this one again."""
    name, at, _ = report["model"].partition("@")
    if at:
        yield paragraph(
            Both(
                "While this version is champion, this gives users the one before it again:",
                "若该版本已是 champion，用下面的命令即可让用户回到上一个版本：",
            )
        )
        yield code(f"bigmodel models rollback {shlex.quote(name)}")


def _facts(values: Mapping[Words, Any]) -> Html:
    known = [(name, str(value)) for name, value in values.items() if value not in (None, "")]
    return table((Both("item", "项目"), Both("value", "内容")), known)


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _given(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as in its file: without nulls, which TOML doesn't know, and other model kinds."""
    kind = recipe.get("kind", "")
    kept = {kind} if isinstance(recipe.get(kind), Mapping) else recipe.keys()
    return {
        key: _given(value) if isinstance(value, Mapping) else value
        for key, value in recipe.items()
        if value is not None and (key in kept or not isinstance(value, Mapping))
    }
