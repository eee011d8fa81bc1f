"""Looking at a finished site on this machine."""

from __future__ import annotations

import io
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PAGES = ("index.html", "index.htm")
"""What is shown of a folder, by `SimpleHTTPRequestHandler`."""


class _Handler(SimpleHTTPRequestHandler):
    """Files of the site and nothing else; byte ranges, which browsers need to jump in a video."""

    timeout = 30.0
    """Of a connection on which nothing moves [s]."""

    def send_head(self):
        """Answer a single byte range with 206; anything else as usual."""
        if not self._is_of_site():
            self.send_error(404)
            return None
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes=") or "," in wanted or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        try:
            start = int(first) if first else max(0, size - int(last))
            stop = min(int(last) if first and last else size - 1, size - 1)
        except ValueError:
            return super().send_head()
        if start > stop:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(206)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {start}-{stop}/{size}")
        self.send_header("Content-Length", str(stop - start + 1))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            return io.BytesIO(file.read(stop - start + 1))

    def _is_of_site(self) -> bool:
        """Does the path stay in the site's folder, also through links, and name nothing hidden?"""
        root, path = os.path.realpath(self.directory), self.translate_path(self.path)
        try:
            targets = [os.path.realpath(os.path.join(path, page)) for page in ("", *_PAGES)]
        except ValueError:  # a zero byte, or what is no text
            return False
        hidden = any(part.startswith(".") for part in Path(path).relative_to(self.directory).parts)
        return not hidden and all(Path(target).is_relative_to(root) for target in targets)

    def list_directory(self, path):
        """A folder without a page of its own is not shown."""
        self.send_error(404)

    def copyfile(self, source, outputfile):
        """Send a file; a browser that stops reading a video half way is no error."""
        try:
            super().copyfile(source, outputfile)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def log_message(self, *_):
        """Say nothing per request."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    """Connections that may wait to be accepted; with the usual 5 many idle ones hold up others."""


def server(folder: Path | str, port: int = 8000) -> ThreadingHTTPServer:
    """A server of `folder` on this machine only; a port that is taken is replaced by a free one."""
    handler = partial(_Handler, directory=str(folder))
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError:
        return _Server(("127.0.0.1", 0), handler)
