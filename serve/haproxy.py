"""Runs in the place of HAProxy's binary: edits the configuration that Ray wrote, then becomes it.

Ray starts it at every start and reload, by way of a script that `serve.ingress` writes. It stands
alone, so that it starts quickly: the standard library, and nothing of ours.
"""

import json
import os
import re
import sys

MARK = "# edited by bigmodel\n"


def _problem(kind: str, title: str, status: int, detail: str) -> str:
    """HAProxy's arguments for an answer like those of `serve.problems`; no text has a quote."""
    fields = {"type": f"urn:bigmodel:error:{kind}", "title": title, "status": status}
    said = {"detail": detail, "error": detail, "request_id": "%[var(txn.id)]", "errors": []}
    body = json.dumps(fields | said)
    return f"content-type application/problem+json lf-string '{body}' hdr Retry-After 1"


_NOBODY = _problem("not-ready", "Not ready", 503, "no replica can answer now; try again")
_LOST = _problem("not-ready", "Not ready", 503, "the replica that had the request ended; try again")
_LATE = _problem("deadline", "Too late", 504, "the replica gave no answer in time")

EDITS = (
    # a header that trickles in would hold a connection for ever
    (r"^defaults$", r"\g<0>\n    timeout http-request 5s"),
    # Ray has a plain 500 for these
    (r"^    errorfile 502 .*$", f"    http-error status 502 {_LOST}"),
    (r"^    errorfile 503 .*$", f"    http-error status 503 {_NOBODY}"),
    (r"^    errorfile 504 .*$", f"    http-error status 504 {_LATE}"),
    # HAProxy drops the app's own `Connection: close`; a client's X-Forwarded-For would be believed;
    # a log line would hold the path, and with it what somebody wrote into it
    (
        r"^frontend http_frontend$",
        r"\g<0>\n"
        "    unique-id-format %[uuid()]\n"
        "    http-request set-var(txn.id) unique-id\n"
        "    http-request set-var(txn.id) req.hdr(X-Request-ID)"
        " if { req.hdr(X-Request-ID) -m reg ^[A-Za-z0-9._-]{1,64}$ }\n"
        "    http-request set-log-level silent\n"
        "    http-request set-header X-Forwarded-For %[src]\n"
        # Serve's own proxy, which gets what no replica takes, knows no route at the end
        f"    http-response return status 503 {_NOBODY}"
        " if { be_name http-bigmodel } { status ge 400 } { res.hdr(Content-Type) -m beg text/ }\n"
        "    http-after-response set-status 503 if { status 502 }\n"
        "    http-after-response set-header X-Request-ID %[var(txn.id)]"
        " unless { res.hdr(X-Request-ID) -m found }\n"
        "    http-after-response set-header connection close if { status 408 413 }",
    ),
    # before the endpoint is there, and at its end, it isn't that nothing has this path
    (
        r"^(backend default_backend\n    http-request return) .*$",
        rf"\g<1> status 503 {_NOBODY}",
    ),
    # figures of the machine's, on every address without a key
    (r"^    bind :(?=\S)", "    bind 127.0.0.1:"),
    (r"^  bind \*:(?=\S)", "  bind 127.0.0.1:"),
)
"""Lines of which there is one each, and what becomes of them."""


def edited(config: str) -> str:
    """The configuration (or Ray's template of it) with our lines; ValueError where one of the
    places for them isn't there, or not once."""
    if config.startswith(MARK):
        return config
    for anchor, text in EDITS:
        config, times = re.subn(anchor, text, config, flags=re.MULTILINE)
        if times != 1:
            raise ValueError(f"{anchor} fits {times} lines, expected one")
    return MARK + config


def main() -> None:
    """`haproxy.py BINARY [ARGUMENT ...]`, with `-f CONFIGURATION` among the arguments."""
    binary, *arguments = sys.argv[1:]
    path = arguments[arguments.index("-f") + 1]
    with open(path, encoding="utf-8") as file:
        written = file.read()
    try:
        config = edited(written)
    except ValueError as error:
        sys.exit(f"{path}: HAProxy's configuration isn't as Ray 2.60 writes it: {error}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config)
    os.execv(binary, [binary, *arguments])


if __name__ == "__main__":
    main()
