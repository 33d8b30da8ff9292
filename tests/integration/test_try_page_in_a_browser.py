"""The page to try a model, typed into and clicked in a real browser, before a real endpoint."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from socket import socket
from time import monotonic, sleep
from types import MappingProxyType

import pytest
import torch
import uvicorn
from browser import Browser, installed, open_browser
from outline import EVIL
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from bigmodel.artifact import Artifact
from bigmodel.config import ServeConfig
from bigmodel.data.schema import LabelSet
from bigmodel.models import build_model
from bigmodel.predictor import Predictor
from serve.endpoint import endpoint
from serve.models import Models, Served
from serve.problems import Problem

pytestmark = pytest.mark.skipif(installed() is None, reason="no browser to open a page in")

BAD = "房间很脏，服务态度恶劣"
ANSWERED = "!document.getElementById('result').hidden"
TOLD = "!document.getElementById('problem').hidden"
KEY = "bmk_reader_0123456789"
FOURTEEN = tuple(f"第{place:02}类：一个相当长的标签名称" for place in range(14))


@dataclass
class OneKey:
    """Lets in who has KEY, for `scopes`."""

    scopes: tuple[str, ...] = ("predict", "metadata")

    def check(self, headers: Headers, scope: str) -> str:
        given = headers.get("authorization")
        if given is None:
            raise Problem("no-key", "the request has no key; send it as Authorization: Bearer")
        if given != f"Bearer {KEY}":
            raise Problem("wrong-key", "the key is wrong or was revoked; ask for a new one")
        if scope not in self.scopes:
            raise Problem("missing-scope", f"the key doesn't have the scope {scope}")
        return "reader"


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """The address of a server in a thread, which ends with the block."""
    with socket() as place:
        place.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([place],))
        thread.start()
        ends = monotonic() + 30
        while not server.started:
            assert monotonic() < ends and thread.is_alive(), "the server doesn't start"
            sleep(0.01)
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture
def started() -> Iterator[Callable[..., str]]:
    """An artefact -> the address of its endpoint, with `others` by name, until the test ends."""
    with ExitStack() as until_the_end:

        def start(
            artifact: Artifact,
            *,
            keys: OneKey | None = None,
            others: Mapping[str, Artifact] = MappingProxyType({}),
            **limits: float,
        ) -> str:
            models = [
                Served.of(Predictor(one), name=name, version="7", digest="d")
                for name, one in {"reviews": artifact, **others}.items()
            ]
            config = ServeConfig.model_validate({"page": True, "limits": limits})
            app = endpoint(Models(models), config, keys=keys)
            return until_the_end.enter_context(listening(app))

        yield start


@pytest.fixture(scope="module", params=["en-US"])
def window(request, tmp_path_factory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile"), language=request.param) as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Browser:
    """As wide as a desk's, and nothing noted yet."""
    window.problems.clear()
    window.asked.clear()
    window.screen(1280)
    return window


in_both_languages = pytest.mark.parametrize("window", ["en-US", "zh-CN"], indirect=True)
in_chinese = pytest.mark.parametrize("window", ["zh-CN"], indirect=True)


def ask(browser: Browser, text: str, *, until: str = ANSWERED) -> None:
    browser.click("#text")
    browser.see("document.querySelector('#text').select()")
    browser.type(text)
    browser.click("#send")
    browser.wait(f"!document.querySelector('#send').disabled && ({until})")


def named(tiny: Artifact, *labels: str) -> Artifact:
    """The tiny model's answers under other names."""
    return replace(tiny, labels=LabelSet(labels))


def with_fourteen_labels(tiny: Artifact) -> Artifact:
    torch.manual_seed(1)
    model = build_model(tiny.recipe.model, num_ids=tiny.encoder.num_ids, num_labels=14)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape))
    return replace(tiny, labels=LabelSet(FOURTEEN), model=model.eval())


def test_a_text_is_typed_and_its_answer_shown(browser, started, tiny):
    browser.open(started(tiny))
    ask(browser, BAD)
    (expected,) = Predictor(tiny).predict([BAD], top_k=2)
    shown = [f"{label}\n{100 * score:.1f}%" for label, score in expected.labels]
    assert browser.shown("#verdict") == shown[0].replace("\n", " ")
    assert browser.shown("#bars").split("\n") == "\n".join(shown).split("\n")
    width = "one => one.offsetWidth / one.parentElement.offsetWidth"
    widths = browser.see(f"[...document.querySelectorAll('.bar')].map({width})")
    assert widths == pytest.approx([score for _, score in expected.labels], abs=0.01)
    assert browser.shown("#by") == "reviews · version 7"
    assert browser.shown("#took").endswith(" ms of it on the server")
    assert browser.problems == []


def test_words_are_coloured_where_they_stand(browser, started, tiny):
    browser.open(started(tiny))
    ask(browser, "😀😀 " + BAD + "，早餐丰富<b>")
    assert (
        browser.see("document.querySelector('#words').textContent")
        == "😀😀 " + BAD + "，早餐丰富<b>"
    )
    coloured = {
        kind: browser.see(
            f"[...document.querySelectorAll('#words .{kind}')].map(e => e.textContent)"
        )
        for kind in ("for", "against")
    }
    assert "恶劣" in "".join(coloured["for"]) and "丰富" in "".join(coloured["against"])
    assert browser.shown("#legend") == "spoke for 负面 spoke against it"
    assert browser.shown("#rows") == ""
    browser.click("summary")
    first, *_ = browser.shown("#rows").split("\n")
    assert first.split("\t")[1].startswith(("+", "−"))


def test_nobody_else_is_asked(browser, started, tiny):
    url = started(tiny)
    browser.open(url)
    ask(browser, BAD)
    assert browser.asked and all(asked.startswith(url) for asked in browser.asked)
    browser.see("fetch('http://127.0.0.1:9/').catch(() => 0)")
    assert any("Content Security Policy" in problem for problem in browser.problems)


def test_the_keyboard_is_enough(browser, started, tiny):
    browser.open(started(tiny))
    browser.wait("document.activeElement.id === 'text'")
    browser.type(BAD)
    browser.press("Enter", control=True)
    browser.wait(ANSWERED)
    browser.see("document.activeElement.blur(); show(null)")
    stops = []
    for _ in range(6):
        browser.press("Tab")
        stops.append(browser.see("document.activeElement.id"))
    assert "en text send" in " ".join(stops)
    browser.see("document.getElementById('send').focus()")
    browser.press("Enter")
    browser.wait(ANSWERED)


@in_both_languages
def test_the_page_speaks_the_language_of_the_browser_and_can_be_switched(
    window, browser, started, tiny, request
):
    browser.open(started(tiny))
    said = {"en": ("Classify", "version 7", "en"), "zh": ("分类", "版本 7", "zh-CN")}
    first = "zh" if browser.see("navigator.language").startswith("zh") else "en"
    ask(browser, BAD)
    for language in (first, "zh" if first == "en" else "en"):
        browser.click(f"label[for={language}]")
        button, version, code = said[language]
        assert browser.shown("#send") == button and version in browser.shown("#by")
        assert browser.see("document.documentElement.lang") == code
        assert browser.shown("#verdict").startswith("负面")


def test_both_languages_say_the_same_things(browser, started, tiny):
    browser.open(started(tiny))
    english, chinese = browser.see("[SAYS.en, SAYS.zh].map(one => Object.keys(one).sort())")
    assert english == chinese
    said = "[...document.querySelectorAll('[data-says]')].map(one => one.dataset.says)"
    assert set(browser.see(said)) <= set(english)


@in_both_languages
def test_an_answer_that_is_none_is_said_plainly(window, browser, started, tiny):
    browser.open(started(replace(tiny, threshold=1.1)))
    ask(browser, BAD)
    verdict = browser.shown("#verdict")
    assert verdict.startswith(("No answer: the model isn't sure enough", "不作答：模型把握不足"))
    assert "负面" in verdict


@in_both_languages
def test_a_refusal_is_shown_with_its_reason(window, browser, started, tiny):
    browser.open(started(tiny, body_bytes=200))
    ask(browser, BAD * 9, until=TOLD)
    told = browser.shown("#problem")
    assert "200 bytes" in told
    assert ("文本过长" in told) == browser.see("navigator.language").startswith("zh")
    assert not browser.shown("#result")
    ask(browser, BAD)
    assert not browser.shown("#problem")


def test_a_text_that_is_too_long_is_cut_and_that_is_said(browser, started, tiny):
    browser.open(started(tiny, item_characters=11))
    ask(browser, BAD + "！" * 9)
    assert browser.shown("#truncated").startswith("The text is longer than the model reads")
    assert browser.see("$('words').textContent") == BAD + "！" * 9
    ask(browser, BAD)
    assert not browser.shown("#truncated")


def test_without_a_text_nothing_is_asked(browser, started, tiny):
    browser.open(started(tiny))
    ask(browser, " \n ", until=TOLD)
    assert browser.shown("#problem") == "Type a text first."
    assert not any("classify" in url for url in browser.asked)


def test_an_endpoint_that_is_gone_is_said_plainly(browser, tiny):
    served = Served.of(Predictor(tiny), name="reviews", version="7", digest="d")
    with listening(endpoint(Models([served]), ServeConfig(page=True))) as url:
        browser.open(url)
    ask(browser, BAD, until=TOLD)
    assert browser.shown("#problem").startswith("The endpoint can't be reached.")


def test_a_proxy_that_answers_in_plain_text_is_said_plainly(browser, tiny):
    served = Served.of(Predictor(tiny), name="reviews", version="7", digest="d")
    app = endpoint(Models([served]), ServeConfig(page=True))
    dropped = PlainTextResponse("dropped", 503, headers={"Retry-After": "2"})

    async def proxy(scope, receive, send):
        await (dropped if scope["path"] == "/v1/classify" else app)(scope, receive, send)

    with listening(proxy) as url:
        browser.open(url)
        ask(browser, BAD, until=TOLD)
    assert browser.shown("#problem") == (
        "The endpoint answered with status 503 and no explanation.\nTry again in 2 seconds."
    )


def give_key(browser: Browser, key: str) -> None:
    browser.click("#key")
    browser.type(key)
    browser.press("Enter")


def test_a_key_is_asked_for_and_kept_in_this_tab_alone(browser, started, tiny):
    browser.open(started(tiny, keys=OneKey()))
    browser.wait("!document.getElementById('key-form').hidden")
    assert not browser.shown("#problem")
    browser.click("#text")
    browser.type(BAD)
    give_key(browser, "密钥")
    browser.wait(TOLD)
    assert browser.shown("#problem") == "That isn't a key; keys begin with bmk_."
    browser.see("document.getElementById('key').value = ''")
    give_key(browser, "bmk_reader_wrong")
    browser.wait("document.getElementById('problem').textContent.includes('revoked')")
    assert "The key is wrong" in browser.shown("#key-form")
    give_key(browser, KEY)
    browser.wait(ANSWERED)
    assert browser.shown("h1") == "reviews" and not browser.shown("#key-form")
    kept = browser.see("[Object.values(sessionStorage), localStorage.length, document.cookie]")
    assert kept == [[KEY], 0, ""]
    assert KEY not in browser.see("location.href + document.documentElement.outerHTML")
    browser.click("#forget")
    browser.wait("!document.getElementById('key-form').hidden")
    assert browser.see("sessionStorage.length") == 0 and not browser.shown("#result")


def test_a_key_that_may_only_predict_is_enough(browser, started, tiny):
    browser.open(started(tiny, keys=OneKey(scopes=("predict",))))
    browser.wait("!document.getElementById('key-form').hidden")
    give_key(browser, KEY)
    browser.wait("document.getElementById('key-form').hidden")
    ask(browser, BAD)
    assert browser.shown("#verdict").startswith("负面")
    assert browser.see("document.querySelectorAll('.bar').length") == 2


def test_of_many_labels_the_likeliest_are_shown(browser, started, tiny):
    browser.open(started(with_fourteen_labels(tiny)))
    browser.wait("model !== null")
    ask(browser, BAD)
    assert browser.see("document.querySelectorAll('.bar').length") == 8
    assert browser.shown("#more") == "The 8 likeliest of 14 labels."


def choose(browser: Browser, name: str) -> None:
    """As with the mouse: a list that is open is drawn by the system, where no test can click."""
    browser.click("#models")
    browser.see(f"$('models').value = {name!r}; $('models').dispatchEvent(new Event('change'))")
    browser.see("$('text').focus()")
    browser.wait(f"model.name === {name!r} && $('models').value === {name!r}")


def test_of_several_models_one_is_chosen(browser, started, tiny):
    others = {"opinions": named(tiny, "差评", "好评"), "topics": with_fourteen_labels(tiny)}
    browser.open(started(tiny, others=others))
    browser.wait("$('models').checkVisibility()")
    assert browser.shown("#models").split() == ["reviews", "opinions", "topics"]
    for name, artifact, bars in (
        ("opinions", others["opinions"], 2),
        ("topics", others["topics"], 1),
    ):
        choose(browser, name)
        assert browser.shown("h1") == name and not browser.shown("#result")
        ask(browser, BAD)
        (expected,) = Predictor(artifact).predict([BAD], top_k=bars)
        shown = [f"{label}\n{100 * score:.1f}%" for label, score in expected.labels]
        assert browser.shown("#bars").split("\n") == "\n".join(shown).split("\n")
        assert browser.shown("#by") == f"{name} · version 7"
        assert browser.shown("#more").endswith(" are shown for reviews alone.")
        assert ("labels after the likeliest" in browser.shown("#more")) is (bars == 1)
        assert not browser.shown("#explained")
    choose(browser, "reviews")
    ask(browser, BAD)
    assert browser.shown("#explained") and not browser.shown("#more")
    assert browser.problems == []


def test_one_model_alone_is_no_choice(browser, started, tiny):
    browser.open(started(tiny))
    browser.wait("model !== null")
    assert not browser.shown("#choice")


def test_names_and_texts_are_never_markup(browser, started, tiny):
    browser.open(started(named(tiny, EVIL, "正面" + EVIL)))
    browser.wait("model !== null")  # who asks before asks for more labels than there are, and again
    ask(browser, EVIL + BAD)
    assert browser.shown("#verdict").startswith("正面" + EVIL)
    assert browser.see("document.scripts.length") == 1
    assert browser.problems == []


@in_both_languages
@pytest.mark.parametrize("dark", [False, True])
def test_a_telephone_does_not_scroll_sideways_and_all_can_be_read(
    window, browser, started, tiny, dark
):
    browser.screen(375, dark=dark)
    others = {"a-name-that-is-as-long-as-they-come-and-then-some-more": tiny}
    browser.open(started(with_fourteen_labels(tiny), keys=OneKey(), others=others))
    browser.wait("!document.getElementById('key-form').hidden")
    assert browser.see(WIDTH) <= 375 and browser.see(FAINT) == []
    give_key(browser, KEY)
    browser.wait("document.getElementById('key-form').hidden")
    ask(browser, (BAD + "http://" + "a" * 60) * 3)
    browser.click("summary")
    assert browser.see(WIDTH) <= 375 and browser.see(FAINT) == []
    browser.see("fetch = () => Promise.reject(new Error())")
    ask(browser, BAD, until=TOLD)
    assert browser.see(WIDTH) <= 375 and browser.see(FAINT) == []


def test_every_control_has_a_name(browser, started, tiny):
    browser.open(started(tiny, keys=OneKey()))
    browser.wait("!document.getElementById('key-form').hidden")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    controls = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if node.get("role", {}).get("value") in ("button", "textbox", "radio")
    ]
    assert {role for role, _ in controls} == {"button", "textbox", "radio"}
    assert all(name for _, name in controls), controls


WIDTH = "document.documentElement.scrollWidth"
FAINT = """(() => {
  const numbers = (colour) => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return found.length > 3 ? found : [...found, 1] };
  const over = (top, under) =>
    [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (one) => one === null ? [255, 255, 255, 1]
    : over(numbers(getComputedStyle(one).backgroundColor), behind(one.parentElement));
  const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
    const c = colour[i] / 255;
    return sum + share * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4) }, 0);
  return [...document.querySelectorAll("body *")].filter(one => one.checkVisibility()
      && !one.matches("script, .switch input")
      && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(one => {
      const back = behind(one), ink = over(numbers(getComputedStyle(one).color), back);
      const [low, high] = [light(back), light(ink)].sort((a, b) => a - b);
      return [(high + 0.05) / (low + 0.05), one.outerHTML] })
    .filter(([ratio]) => ratio < 4.5) })()"""
"""Whose text stands out less than WCAG's 4.5 to 1 from what is behind it."""
