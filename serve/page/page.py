"""The page to try the model: one document that asks nobody but its own endpoint."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from starlette.responses import Response

_HERE = Path(__file__).parent


def page_app() -> Response:
    """The app that answers GET /: the same bytes to everybody, whose rules let nothing else in."""
    style, script = (_read(name) for name in ("style.css", "script.js"))
    document = _read("index.html")
    for mark, part in (("/* style */", style), ("/* script */", script)):
        assert document.count(mark) == 1
        document = document.replace(mark, part)
    rules = (
        "default-src 'none'; connect-src 'self'; img-src data:; "
        f"style-src {_allowed(style)}; script-src {_allowed(script)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": rules,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return Response(document, media_type="text/html", headers=headers)


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _allowed(part: str) -> str:
    """How a rule names a style or script that stands in the document."""
    return f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'"
