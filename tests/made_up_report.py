"""Reports of models that never were, with all that a report may hold."""

from typing import Any

import numpy as np

TWO = ("正面", "负面")
FOURTEEN = (
    *("体育", "财经", "房产", "家居", "教育", "科技"),
    *("时尚", "时政", "游戏", "娱乐", "股票", "星座"),
    "彩票（含双色球、大乐透、足彩与各地福利彩票的开奖公告）",
    "Society & 社会民生",
)  # fmt: skip


def made_up_report(labels: tuple[str, ...] = TWO, *, rows: int = 1_200) -> dict[str, Any]:
    """As `evaluate` makes one; the figures don't all fit together."""
    draw = np.random.default_rng(len(labels))
    sizes = draw.multinomial(rows, draw.dirichlet(np.full(len(labels), 8.0)))
    shares = 0.85 * np.eye(len(labels)) + 0.15 * draw.dirichlet(
        np.full(len(labels), 0.6), len(labels)
    )
    confusion = np.array([draw.multinomial(*row) for row in zip(sizes, shares, strict=True)])
    per_class = {label: _class(confusion, i) for i, label in enumerate(labels)}
    accuracy = float(confusion.trace() / rows)
    macro_f1 = float(np.mean([one["f1"] for one in per_class.values()]))
    top = {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "weighted_f1": accuracy - 0.004,
        "macro_precision": macro_f1 + 0.01,
        "macro_recall": macro_f1 - 0.008,
    }
    top |= {"average_precision": 0.91, "mcc": 0.713, "log_loss": 0.412, "calibration_error": 0.021}
    return top | {
        "model": "reviews@3",
        "split": "test",
        "rows": rows,
        "units": rows - 41,
        "labels": list(labels),
        "confusion": confusion.tolist(),
        "per_class": per_class,
        "interval": {name: _around(value, 0.02) for name, value in top.items()}
        | {
            "per_class": {
                label: {name: _around(one[name], 0.06) for name in ("f1", "precision", "recall")}
                for label, one in per_class.items()
            }
        },
        "calibration": [
            {"from": i / 10, "to": (i + 1) / 10, "rows": 3**i // 20, "confidence": i / 10 + 0.05,
             "accuracy": min(1.0, i / 10 + 0.09 - (i - 5) ** 2 / 150)}
            for i in range(10)
        ],
        "baselines": {
            "majority": _scores(max(sizes) / rows, 0.33),
            "quick linear": _scores(accuracy - 0.035, macro_f1 - 0.04),
        },
        "slices": [
            _slice("city", "乌鲁木齐", 31, 0.64),
            _slice("length", "101–200", 88, 0.71),
            _slice("unknown words", "20 %+", 140, 0.775),
            _slice("pattern", "退货", 95, 0.8),
            _slice("city", "北京", 410, accuracy + 0.01),
            {"by": "city", "value": "拉萨", "rows": 7},
        ],
        "gaps": [
            {"by": "city", "label": label, "selection_rate": {"北京": 0.52, "乌鲁木齐": 0.4},
             "recall": {"北京": 0.9, "乌鲁木齐": 0.71},
             "gap": {"selection_rate": 0.12, "recall": 0.19},
             "interval": {"selection_rate": [0.01, 0.22], "recall": [0.06, 0.31]}}
            for label in labels[:3]
        ],
        "behaviour": [
            _behaviour("names", "same", 120, []),
            _behaviour("numbers", "same", 310, [("等了3天", "等了8天", labels[0], labels[1])]),
            _behaviour("width", "same", 500, []),
            _behaviour("negation", "other", 83, [
                ("质量很好，推荐给大家", "质量不好，推荐给大家", labels[0], labels[0]),
                ("喜欢", "不喜欢", labels[0], labels[0]),
            ]),
        ],
        "promise": {
            "precision": 0.95,
            "threshold": 0.8312,
            "valid": _kept(0.962, 0.7),
            "test": _kept(0.957, 0.68),
        },
        "mistakes": [
            {"text": "说好的第二天到，结果等了一个星期，客服还一直让我再等等，真是“太好了”",
             "label": labels[1], "said": labels[0], "score": 0.9932},
            {"text": "还行", "label": labels[0], "said": labels[1], "score": 0.951},
        ],
        "confused": [{"label": labels[1], "said": labels[0], "rows": 61},
                     {"label": labels[0], "said": labels[1], "rows": 44}],
        "folds": {
            "accuracy": {"mean": 0.861, "spread": 0.011, "each": [0.85, 0.86, 0.87, 0.855, 0.87]},
            "macro_f1": {"mean": 0.848, "spread": 0.013, "each": [0.84, 0.85, 0.86, 0.832, 0.86]},
        },
        "curves": [
            {"epoch": n, "train_loss": 0.7 * 0.75**n, "valid_loss": 0.36 + 0.02 * abs(n - 6) ** 1.2,
             "valid_macro_f1": 0.86 - 0.3 * 0.6**n, "valid_accuracy": 0.87 - 0.28 * 0.6**n}
            for n in range(1, 13)
        ],
        "data": {
            "data_id": "9f2c51b0a7de" * 5 + "c0de",
            "split_id": "17aa04c2be91" * 5 + "d00d",
            "rows_kept": 11_871,
            "duplicates": 95,
            "quarantined": {"empty_text": 12, "conflict": 22},
            "splits": {
                split: {label: n + 17 * i for i, label in enumerate(labels)}
                for split, n in (("train", 4_800), ("valid", 610), ("test", 590))
            },
            "files": [{"path": "reviews.csv", "split": "train", "format": "csv",
                       "encoding": "utf-8", "rows": 12_000, "quarantined": 34}],
        },
        "run": {"seed": 7, "git_commit": "4f1c9be0d6c1a95f2f1b5d3a7c44aa0be2f3d911", "dirty": True,
                "bigmodel": "0.3.0", "ray": "2.60.0", "torch": "2.9.0",
                "created": "2026-03-02T14:05:09+00:00", "run_id": "5d0fa7c1"},
        "recipe": {"name": "reviews", "seed": 7, "storage": "storage",
                   "data": {"train": "reviews.csv", "valid": None, "split": {"test": 0.1}},
                   "model": {"kind": "mlp", "mlp": {"hidden": [128, 64]}, "linear": {"c": 1.5}}},
        "gate": {
            "passed": True,
            "why": "macro-F1 0.8910 against 0.8730 of reviews@2 on 1,163 rows that neither knows, "
                   "95 % interval of the difference +0.0060 to +0.0310",
            "champion": "reviews@2", "margin": 0.02, "rows": 1163, "left_out": 37, "slices": [],
            "macro_f1": {"one": 0.873, "other": 0.891, "difference": 0.018, "low": 0.006,
                         "high": 0.031},
        },
    }  # fmt: skip


def _class(confusion: Any, own: int) -> dict[str, float]:
    hits, said, rows = confusion[own, own], confusion[:, own].sum(), confusion[own].sum()
    scores = {"precision": hits / said, "recall": hits / rows, "f1": 2 * hits / (said + rows)}
    return {name: float(value) for name, value in scores.items()} | {
        "average_precision": 0.9,
        "rows": int(rows),
    }


def _around(value: float, half: float) -> list[float]:
    return [max(0.0, value - half), min(1.0, value + half)]


def _scores(accuracy: float, macro_f1: float) -> dict[str, Any]:
    found = {"accuracy": float(accuracy), "macro_f1": float(macro_f1)}
    return found | {"interval": {name: _around(value, 0.02) for name, value in found.items()}}


def _slice(by: str, value: str, rows: int, accuracy: float) -> dict[str, Any]:
    half = float(1.96 * np.sqrt(accuracy * (1 - accuracy) / rows))
    found = {"accuracy": accuracy, "macro_f1": accuracy - 0.03}
    interval = {name: _around(score, half) for name, score in found.items()}
    return {"by": by, "value": value, "rows": rows, **found, "interval": interval}


def _behaviour(
    change: str, expected: str, texts: int, examples: list[tuple[str, ...]]
) -> dict[str, Any]:
    keys = ("text", "changed", "before", "after")
    listed = [dict(zip(keys, example, strict=True)) for example in examples]
    found = {"change": change, "expected": expected, "texts": texts}
    return found | {"failed": 4 * len(listed), "examples": listed}


def _kept(precision: float, coverage: float) -> dict[str, Any]:
    found = {"precision": precision, "coverage": coverage}
    return found | {"interval": {k: _around(v, 0.015) for k, v in found.items()}, "rows": 816}
