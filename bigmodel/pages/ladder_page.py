"""The ladder as a page: the choice in a sentence, accuracy against the time of a text, a table."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bigmodel.pages.charts import axis_of, scale, whisker
from bigmodel.pages.page import Both, Html, code, markup, page, paragraph, section, table

Figures = Mapping[str, Any]

_HEIGHT = 280  # pixels
_NAME = (
    "fill: var(--ink); font-size: 12px; stroke: var(--paper); stroke-width: 4; paint-order: stroke"
)


def ladder_page(name: str, found: Figures) -> bytes:
    """`found`: what `climb` gives, with `test` (of the chosen one) and `data_id`."""
    rungs = found["rungs"]
    top = axis_of([end for rung in rungs for end in rung["interval"]["accuracy"]])
    header = (
        Both("kind", "模型"),
        Html(f"{markup(Both('accuracy', '准确率'))} {scale(top)}"),
        Both("macro-F1", "宏平均 F1"),
        Both("against the best", "与最佳之差"),
        Both("p99, one text", "单条 p99 延迟"),
        Both("to train", "训练"),
        Both("size", "大小"),
    )
    return page(
        f"{name}: ladder",
        paragraph(sentence(found), kind="verdict"),
        paragraph(_tested(found), kind="soft"),
        section(
            Both("Accuracy against the time for one text", "准确率与单条延迟"),
            chart(found),
            paragraph(
                Both(
                    "Up is better, left is faster; a dot grows with the size of the model. Bars "
                    f"are 95 % intervals over {found['rows']:,} valid rows. Times are of this "
                    "machine, one text at a time on one thread, without the network.",
                    f"越高越准，越靠左越快；圆点越大，模型越大。竖线是 {found['rows']:,} "
                    "条验证数据上的 95% 置信区间。延迟在本机单线程逐条测得，不含网络。",
                ),
                kind="soft",
            ),
        ),
        section(
            Both("All kinds, the smallest first", "全部模型，由小到大"),
            table(header, [_row(rung, top) for rung in rungs]),
            paragraph(
                Both(
                    "Training time is that of the epochs; preparing the data and starting the "
                    "workers come on top. The valid rows also tell kinds that are trained by "
                    "gradients when to stop, which flatters those a little.",
                    "训练时间只计各轮训练，不含数据准备与工作进程的启动。"
                    "用梯度训练的模型也靠这批验证数据决定何时停止，得分因此略微偏高。",
                ),
                kind="soft",
            ),
        ),
        section(
            Both("Take it", "采用"),
            code(f"bigmodel run RECIPE --set model.kind={found['chosen']}"),
        ),
        subtitle=Both(
            f"What bigmodel ladder found; data id {found['data_id'][:12]}",
            f"bigmodel ladder 的结果；数据编号 {found['data_id'][:12]}",
        ),
        switch=True,
    )


def sentence(found: Figures) -> Both:
    """Which kind to take, and why."""
    by_kind = {rung["kind"]: rung for rung in found["rungs"]}
    chosen, best = by_kind[found["chosen"]], by_kind[found["best"]]
    kind, margin, score = chosen["kind"], f"{found['margin']:g}", f"{chosen['macro_f1']:.3f}"
    cost, price = (
        f"{_size(chosen)}, {_time(chosen)} a text",
        f"{_size(chosen)}，单条 {_time(chosen)}",
    )
    if chosen is best and chosen is found["rungs"][0]:
        return Both(
            f"{kind} is the best and the smallest: macro-F1 {score} ({cost}).",
            f"{kind} 得分最高，体积也最小：宏平均 F1 {score}（{price}）。",
        )
    if chosen is best:
        return Both(
            f"{kind} is the best, and no smaller model is shown to lose less than {margin} against "
            f"it: macro-F1 {score} ({cost}).",
            f"{kind} 得分最高，没有更小的模型能证明差距在 {margin} 以内："
            f"宏平均 F1 {score}（{price}）。",
        )
    behind, other = chosen["against_best"], best["kind"]
    low, high = (_signed(f"{behind[end]:+.3f}") for end in ("low", "high"))
    top, size, taken = f"{best['macro_f1']:.3f}", _size(best), _time(best)
    return Both(
        f"{kind} is the smallest model that is not worse than the best: macro-F1 {score} ({cost}) "
        f"against {top} of {other} ({size}, {taken}); 95 % interval of the difference {low} to "
        f"{high}, where {margin} may be lost.",
        f"{kind} 是不逊于最佳模型的最小模型：宏平均 F1 {score}（{price}），"
        f"最佳的 {other} 为 {top}（{size}，单条 {taken}）；"
        f"差值的 95% 置信区间为 {low} 至 {high}，允许损失 {margin}。",
    )


def chart(found: Figures) -> Html:
    """A dot a kind: accuracy with its interval over the 99th percentile of the time for a text."""
    rungs = sorted(found["rungs"], key=lambda rung: rung["p99_ms"])
    left, right = rungs[0]["p99_ms"] / 1.6, rungs[-1]["p99_ms"] * 1.6
    shares = _shares([end for rung in rungs for end in rung["interval"]["accuracy"]])
    largest = max(rung["bytes"] for rung in rungs)

    def across(value: float) -> str:
        return f"{100 * math.log(value / left) / math.log(right / left):.2f}%"

    def up(value: float) -> str:
        return f"{100 * (shares[-1] - value) / (shares[-1] - shares[0]):.2f}%"

    parts = [
        f'<line class="rule" x1="0" x2="100%" y1="{up(share)}" y2="{up(share)}"/>'
        f'<text class="left" x="-8" y="{up(share)}" dy="4">{share:.0%}</text>'
        for share in shares
    ]
    parts += [
        f'<text x="{across(tick)}" y="100%" dy="18">{tick:g} ms</text>'
        for tick in (step * 10.0**power for power in range(-6, 7) for step in (1, 2, 5))
        if left <= tick <= right
    ]
    names = []
    for number, rung in enumerate(rungs):
        x, (low, high) = across(rung["p99_ms"]), rung["interval"]["accuracy"]
        colour = "two" if rung["kind"] == found["chosen"] else "one"
        at, away = (high, -10) if number % 2 == 0 else (low, 18)  # neighbours don't touch
        parts.append(
            f'<line class="{colour}" x1="{x}" x2="{x}" y1="{up(low)}" y2="{up(high)}"/>'
            f'<circle class="{colour}" cx="{x}" cy="{up(rung["accuracy"])}" '
            f'r="{3 + 9 * math.sqrt(rung["bytes"] / largest):.1f}"/>'
        )
        names.append(
            f'<text x="{x}" y="{up(at)}" dy="{away}" style="{_NAME}">{escape(rung["kind"])}</text>'
        )
    label = "Accuracy against p99 latency / 准确率与 p99 延迟"
    return Html(
        f'<svg class="plot" role="img" aria-label="{label}" height="{_HEIGHT}">'
        f"{''.join(parts + names)}</svg>"
    )


def _shares(values: Sequence[float]) -> list[float]:
    """Twentieths of 1, or tenths where these are many, around some shares."""
    parts = 20 if max(values) - min(values) < 0.2 else 10
    low, high = math.floor(parts * min(values)), math.ceil(parts * max(values))
    return [number / parts for number in range(low, max(high, low + 1) + 1)]


def _row(rung: Figures, axis: tuple[float, float]) -> tuple[object, ...]:
    behind, shown = rung["against_best"], "–"
    if behind:
        shown = _signed("{difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**behind))
    return (
        rung["kind"],
        whisker(rung["accuracy"], rung["interval"]["accuracy"], axis=axis),
        f"{rung['macro_f1']:.3f}",
        shown,
        _time(rung),
        f"{rung['train_s']:.1f}\N{NO-BREAK SPACE}s",
        _size(rung),
    )


def _tested(found: Figures) -> Both | str:
    """The chosen one on rows that had no say in the choice; nothing where there are none."""
    test = found["test"]
    if test is None:
        return ""
    low, high = test["interval"]["accuracy"]
    rows, score = f"{test['rows']:,}", f"{test['accuracy']:.1%}"
    between = f"{low:.1%} 至 {high:.1%}"
    return Both(
        f"On {rows} test rows, which had no say in this, its accuracy is {score} "
        f"(95 % interval {low:.1%} to {high:.1%}).",
        f"在未参与选择的 {rows} 条测试数据上，准确率为 {score}（95% 置信区间 {between}）。",
    )


def _size(rung: Figures) -> str:
    return f"{rung['bytes'] / 1e6:.1f}\N{NO-BREAK SPACE}MB"


def _time(rung: Figures) -> str:
    return f"{rung['p99_ms']:.3g}\N{NO-BREAK SPACE}ms"


def _signed(figures: str) -> str:
    """With minus signs, and in one line."""
    return figures.replace("-", "\N{MINUS SIGN}").replace(" ", "\N{NO-BREAK SPACE}")
