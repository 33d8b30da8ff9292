"""Stands in for `ray start`: a dashboard that answers as it is told to. Not a test."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

KIND = sys.argv[1]
PORT = next(int(a.partition("=")[2]) for a in sys.argv if a.startswith("--dashboard-port="))


class Dashboard(BaseHTTPRequestHandler):
    """`guarded` wants the token in the file, `open` wants none."""

    def do_GET(self) -> None:
        import os

        wanted = f"Bearer {Path(os.environ['RAY_AUTH_TOKEN_PATH']).read_text()}"
        allowed = KIND == "open" or self.headers["Authorization"] == wanted
        self.send_response(200 if allowed else 401)
        self.end_headers()
        nodes = {"data": {"summary": [{"raylet": {"state": "ALIVE"}}]}}
        self.wfile.write(json.dumps(nodes).encode() if allowed else b"")

    def log_message(self, *_: object) -> None:
        pass


if KIND == "failing":
    sys.exit("the address is in use\n")
HTTPServer(("127.0.0.1", PORT), Dashboard).serve_forever()
