"""`doit watch`: a topic in the browser, rebuilt on save. Offline: pandoc writes MathML."""

from __future__ import annotations

import html
import http.server
import threading
import time
import webbrowser
from functools import partial
from pathlib import Path

from literate import paths
from literate.build import Builder
from literate.pandoc import run_pandoc
from literate.problem import Trouble

PORT = 8321
POLL = 0.3
STYLE = """
body { max-width: 50em; margin: 2em auto; padding: 0 1em; font: 16px/1.55 sans-serif }
pre { background: #f6f8fa; padding: .8em; overflow-x: auto; font-size: 85% }
table { border-collapse: collapse } td, th { border: 1px solid #ccc; padding: .3em .7em }
img { max-width: 100% } .problem { background: #fde; padding: 1em; white-space: pre-wrap }
math[display=block] { margin: 1em 0; overflow-x: auto }
"""
RELOAD = """
const seen = {version};
setInterval(async () => {{
  const now = await (await fetch('/version')).text();
  if (now != seen) location.reload();
}}, 400);
"""


class Watcher:
    """Rebuilds whatever source changes, and serves its document."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.version = 0
        self.problem = ""
        self.times: dict[Path, int] = {}

    def changed(self) -> list[str]:
        """Topics whose source has been saved since the last look."""
        found = []
        for name in self.builder.catalogue.topics:
            file = self.builder.root / paths.source(name)
            stamp = file.stat().st_mtime_ns if file.is_file() else 0
            if self.times.setdefault(file, stamp) != stamp:
                found.append(name)
            self.times[file] = stamp
        return found

    def rebuild(self, name: str) -> None:
        """The document of `name`, executed first if its code changed."""
        try:
            self.builder.index()
            self.builder.source(name)
            self.builder.execute(name)
            self.builder.markdown(name)
            self.problem = ""
        except (Trouble, SyntaxError) as trouble:
            self.problem = str(trouble)
            print(self.problem, flush=True)
        self.version += 1

    def page(self, name: str) -> str:
        """The document as HTML, with what is wrong with it on top."""
        path = paths.document(name)
        disk = self.builder.disk
        text = disk.read(path) if disk.exists(path) else f"# {name}\n\nNot built yet."
        body, _ = run_pandoc(["-f", "gfm", "-t", "html", "--mathml"], text)
        note = f'<div class="problem">{html.escape(self.problem)}</div>' if self.problem else ""
        script = RELOAD.format(version=f"'{self.version}'")
        base = f'<base href="/{path}">'
        return (
            f"<!doctype html><meta charset=utf-8>{base}<title>{html.escape(name)}</title>"
            f"<style>{STYLE}</style>{note}{body}<script>{script}</script>"
        )

    def contents(self) -> str:
        items = [f'<li><a href="/{name}">{name}</a>' for name in self.builder.book().written()]
        return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><ul>{''.join(items)}</ul>"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, watcher: Watcher, *arguments: object, **named: object) -> None:
        self.watcher = watcher
        super().__init__(*arguments, directory=str(watcher.builder.root), **named)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        name = self.path.strip("/").removeprefix("build/").removesuffix(".md")
        if self.path == "/version":
            self._send(str(self.watcher.version), "text/plain")
        elif self.path == "/":
            self._send(self.watcher.contents(), "text/html")
        elif name in self.watcher.builder.book().written():
            self._send(self.watcher.page(name), "text/html")
        elif self.path.startswith("/build/") and self.path.endswith(".svg"):
            super().do_GET()
        else:
            self.send_error(404)

    def _send(self, text: str, kind: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def watch(builder: Builder, port: int = PORT, browser: bool = True) -> None:
    """Serve on the loopback address until interrupted."""
    builder.references()
    builder.index()
    watcher = Watcher(builder)
    watcher.changed()
    address = ("127.0.0.1", port)
    server = http.server.ThreadingHTTPServer(address, partial(_Handler, watcher))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    print(f"watching src/topics; see {url} (stop with Ctrl-C)", flush=True)
    if browser:
        webbrowser.open(url)
    while True:
        time.sleep(POLL)
        for name in watcher.changed():
            started = time.monotonic()
            watcher.rebuild(name)
            print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)
