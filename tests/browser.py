"""A headless Chromium that is typed into and clicked, by its own debugging protocol."""

import ctypes
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--no-first-run",
         "--remote-debugging-port=0", "about:blank")  # fmt: skip
DEADLINE_S = 60


def installed() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_browser(profile: Path, *, language: str = "en-US") -> Iterator["Browser"]:
    """One with a `profile` of its own, which ends with the block."""
    program = installed()
    assert program is not None
    spoken = [f"--lang={language}", f"--accept-lang={language}", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [program, *spoken, *QUIET],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_end_with_parent,
    )
    try:
        address = _tab(process, profile / "DevToolsActivePort")
        with connect(address, max_size=1 << 26) as socket:
            yield Browser(socket, language)
    finally:
        process.terminate()
        process.wait(30)


def _end_with_parent() -> None:
    """In the child: a test that is killed leaves no browser."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _tab(process: subprocess.Popen[bytes], port_file: Path) -> str:
    """Where the tab listens that is there from the start."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the browser ended with {process.returncode}")
        written = port_file.read_text().split() if port_file.exists() else []
        if len(written) == 2:
            with urllib.request.urlopen(f"http://127.0.0.1:{written[0]}/json/list") as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise TimeoutError("the browser doesn't open its debugging port")


class Browser:
    """One tab. `problems` is what its console said, `asked` the addresses it asked for."""

    def __init__(self, socket: ClientConnection, language: str) -> None:
        self._socket = socket
        self._calls = 0
        self.problems: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setLocaleOverride", locale=language)

    def call(self, method: str, **parameters: Any) -> Any:
        """What the browser answers; what it tells meanwhile is noted."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=DEADLINE_S))
            if message.get("id") == self._calls:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"), message.get("params"):
            case "Network.requestWillBeSent", told:
                self.asked.append(told["request"]["url"])
            case "Log.entryAdded", told:
                self.problems.append(told["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown", told:
                self.problems.append(json.dumps(told))

    def see(self, expression: str) -> Any:
        """The value of an expression in the page; a promise's, once it has one."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until it holds in the page; AssertionError with what is shown if it never does."""
        look = f"""new Promise((done) => {{
            const ends = performance.now() + {DEADLINE_S // 2 * 1000};
            const look = () => ({condition}) ? done(true)
                : performance.now() > ends ? done(false) : setTimeout(look, 20);
            look() }})"""
        assert self.see(look), f"never: {condition}\n{self.see('document.body.innerText')}"

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")

    def shown(self, selector: str) -> str:
        """Its text as a reader sees it; "" where nothing of it is to be seen."""
        return str(
            self.see(f"""(() => {{
                const one = document.querySelector({selector!r});
                return one?.checkVisibility() ? one.innerText : "" }})()""")
        )

    def click(self, selector: str) -> None:
        """With the mouse, in its middle, where nothing may lie above it."""
        place = self.see(f"""(() => {{
            const one = document.querySelector({selector!r});
            one.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = one.getBoundingClientRect();
            const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
            return one.contains(document.elementFromPoint(x, y)) ? {{x, y}} : null }})()""")
        assert place, f"{selector} can't be clicked"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def type(self, text: str) -> None:
        """Where the cursor stands."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, control: bool = False) -> None:
        codes = {"Enter": 13, "Tab": 9, " ": 32, "ArrowRight": 39}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        held = {"modifiers": 2} if control else {"text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **held)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def screen(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=phone)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, file: Path) -> None:
        whole = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(b64decode(whole["data"]))
