"""A registry on loopback that holds one image: enough of the distribution API for `docker pull`."""
from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _layer(content: bytes) -> bytes:
    """Return a layer with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


class ImageRegistry:
    """Serves ``<address>/<name>:<tag>`` until it is closed; a context manager."""

    def __init__(self, name: str, tag: str, content: bytes, bytes_per_second: int) -> None:
        """``content`` is what the image's only file holds, sent no faster than said."""
        layer = _layer(content)
        packed = gzip.compress(layer, compresslevel=0)
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/content"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]}}).encode()
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": _MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                       "size": len(config), "digest": _digest(config)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        "size": len(packed), "digest": _digest(packed)}]}).encode()
        self.blobs = {_digest(blob): blob for blob in (config, packed)}
        self.bytes_per_second = bytes_per_second
        #: Set once somebody hung up while a blob was sent.
        self.abandoned = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
                """Say nothing."""

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                kind, _, reference = self.path.removeprefix(f"/v2/{name}/").partition("/")
                body, media = b"{}", "application/json"
                status = 200 if self.path == "/v2/" else 404
                if status == 404:
                    body = json.dumps({"errors": [
                        {"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}).encode()
                if kind == "manifests" and reference in (tag, _digest(registry.manifest)):
                    status, body, media = 200, registry.manifest, _MANIFEST
                elif kind == "blobs" and reference in registry.blobs:
                    status, body = 200, registry.blobs[reference]
                    media = "application/octet-stream"
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(body)))
                if kind == "manifests" and status == 200:
                    self.send_header("Docker-Content-Digest", _digest(body))
                self.end_headers()
                if with_body:
                    self._send(body)

            def _send(self, body: bytes) -> None:
                step = max(1, registry.bytes_per_second // 10)
                try:
                    for start in range(0, len(body), step):
                        self.wfile.write(body[start:start + step])
                        if len(body) > step:
                            time.sleep(0.1)
                except (BrokenPipeError, ConnectionResetError):
                    registry.abandoned.set()
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.image = f"127.0.0.1:{self._server.server_port}/{name}:{tag}"

    def __enter__(self) -> ImageRegistry:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
