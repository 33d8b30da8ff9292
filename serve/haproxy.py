"""Runs in the place of HAProxy's binary: edits the configuration that Ray wrote, then becomes it.

Ray starts it at every start and reload, by way of a script that `serve.ingress` writes. It stands
alone, so that it starts quickly: the standard library, and nothing of ours.
"""

import os
import re
import sys

MARK = "# edited by bigmodel\n"

EDITS = (
    # a header that trickles in would hold a connection for ever
    (r"^defaults$", r"\g<0>\n    timeout http-request 5s"),
    # HAProxy drops the app's own `Connection: close`; a client's X-Forwarded-For would be believed;
    # a log line would hold the path, and with it what somebody wrote into it
    (
        r"^frontend http_frontend$",
        r"\g<0>\n"
        "    http-request set-log-level silent\n"
        "    http-request set-header X-Forwarded-For %[src]\n"
        "    http-after-response set-header connection close if { status 408 413 }",
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
