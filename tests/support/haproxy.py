"""A real HAProxy in TCP mode, with the configurations that docs/load-balancer.md tells of."""
from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
_SECONDS = 20.0
_TABLE = "stick-table type binary len 32 size 30k expire 30m"
_REQUEST = """tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }"""
_RESPONSE = """tcp-response inspect-delay 5s
  tcp-response content accept if { res.ssl_hello_type 2 }"""
_STORE = "stick store-response res.payload_lv(43,1) if { res.ssl_hello_type 2 }"

MODES: Mapping[str, str] = {
    "roundrobin": "balance roundrobin",
    "leastconn": "balance leastconn",
    "source": "balance source",
    "session_id": f"""balance roundrobin
  {_TABLE}
  {_REQUEST}
  {_RESPONSE}
  stick match req.payload_lv(43,1) if {{ req.ssl_hello_type 1 }}
  {_STORE}""",
    # The recipe that is usually quoted.
    "stick_on": f"""balance roundrobin
  {_TABLE}
  {_REQUEST}
  stick on req.payload_lv(43,1) if {{ req.ssl_hello_type 1 }}
  {_STORE}""",
    "no_response_delay": f"""balance roundrobin
  {_TABLE}
  {_REQUEST}
  stick match req.payload_lv(43,1) if {{ req.ssl_hello_type 1 }}
  {_STORE}""",
}
"""Backend sections by name; the last two are broken."""


@contextlib.contextmanager
def haproxy(folder: Path, port: int, nodes: Mapping[str, int], mode: str) -> Iterator[None]:
    """Run HAProxy on a loopback port before nodes on loopback, by name, until the end."""
    servers = "\n".join(f"  server {name} 127.0.0.1:{own}" for name, own in nodes.items())
    config = folder / f"haproxy-{mode}.cfg"
    # One thread, so that round robin takes turns over all connections.
    config.write_text(f"""global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen mqtt
  bind 127.0.0.1:{port}
  {MODES[mode]}
{servers}
""")
    process = subprocess.Popen([HAPROXY, "-q", "-db", "-f", str(config)])
    try:
        _await(port, process)
        yield
    finally:
        process.terminate()
        process.wait(_SECONDS)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    # Bound is enough: a connection would take a turn.
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.05)
    raise OSError(f"haproxy does not listen on port {port}")
