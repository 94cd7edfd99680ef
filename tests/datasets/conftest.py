"""Directories of images for the tests of packing, and a server for those of downloading."""

import http.server
import shutil
import threading

import pytest

from permafrost.datasets import download, packing
from tests.datasets.helpers import make_images


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """(directory, relative paths) of 90 images, which no test changes."""
    directory = tmp_path_factory.mktemp('images')
    return directory, make_images(directory, 90)


@pytest.fixture
def copied(images, tmp_path):
    """A copy of them to change."""
    shutil.copytree(str(images[0]), str(tmp_path / 'in'))
    return tmp_path / 'in'


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(packing, 'SHARD_IMAGES', 15)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `content`; the first `drops` connections end after `limit` bytes each."""
    content, limit, drops, ranges, requests = b'', 0, 0, True, ()

    def do_GET(self):
        start = 0
        self.requests.append(self.headers.get('Range'))
        if self.ranges and self.headers.get('Range'):
            start = int(self.headers['Range'][len('bytes='):-1])
            if start >= len(self.content):
                return self.send_error(416)
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header('Content-Length', str(len(self.content) - start))
        self.end_headers()
        is_dropped = len(self.requests) <= self.drops
        self.wfile.write(self.content[start:start + self.limit if is_dropped else None])

    def log_message(self, *unused):
        pass


@pytest.fixture
def serve(monkeypatch):
    """serve(content, ...) -> (url, list of the Range headers of the requests)."""
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
    servers = []

    def start(content, limit=0, drops=0, ranges=True):
        handler = type('TestHandler', (Handler,), dict(
            content=content, limit=limit, drops=drops, ranges=ranges, requests=[]))
        servers.append(http.server.HTTPServer(('127.0.0.1', 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{servers[-1].server_port}/x.tar.gz', handler.requests
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
