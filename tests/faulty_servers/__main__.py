"""Starts a server of the table by name, for trials by hand."""
from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.faulty_servers import table
from tests.faulty_servers.start import started


def _arguments(rows: dict[str, table.Row]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faulty_servers", description=__doc__)
    parser.add_argument("name", nargs="?", choices=rows, metavar="NAME", help="see --list")
    parser.add_argument("--port", type=int, default=0,
                        help="of the first node, the others follow; without it free ones are taken")
    parser.add_argument("--list", action="store_true", help="name all servers and end")
    arguments = parser.parse_args()
    if not arguments.list and arguments.name is None:
        parser.error("which one? --list names them")
    return arguments


def main() -> None:
    """Run one server until Ctrl-C."""
    rows = table.read()
    wanted = _arguments(rows)
    if wanted.list:
        for row in rows.values():
            print(f"{row.name:<34}  {row.what}")  # noqa: T201
        return
    row, stop = rows[wanted.name], threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="faulty-") as folder:
        try:
            with started(row, Path(folder), port=wanted.port) as server:
                nodes = ", ".join(f"127.0.0.1:{port}" for port in server.ports)
                print(f"{row.name}: {row.what}\n"  # noqa: T201
                      f"listens on {nodes} as localhost\nCA file {server.ca_file}\n"
                      f"Ctrl-C ends it", flush=True)
                stop.wait()
        except OSError as error:
            sys.exit(f"cannot listen: {error.strerror or error}")


if __name__ == "__main__":
    main()
