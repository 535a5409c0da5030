"""Starts nodes, measures everything on them in turns, ends them, prints one table."""
from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import claims as c
from bench.arithmetic import Rounds, Sample, judge, median
from bench.clients import Client, Clients, Size, ToolError
from bench.nodes import DeployError, Nodes, deployed
from bench.table import table
from tests.support.playbooks import ROOT

RESULTS = Path("bench/results")
RATES = (c.S_TIME, c.WITNESSED, c.BARE, c.SSL_SOCKET, c.STRSCLNT, c.S_TIME_NEW, c.WITNESSED_FULL,
         c.STRSCLNT_FULL)
"""Clients of which handshakes a second are told, not how long they took."""


def _figures(rounds: Rounds, names: list[str]) -> dict[str, dict[str, float | None]]:
    def told(name: str, figure: Callable[[Sample], float]) -> float | None:
        found = median(rounds, name, figure)
        return None if found is None else round(found, 3)

    def of(name: str) -> dict[str, float | None]:
        seen = told(name, lambda sample: sample.connections)
        if name in RATES:
            return {"per_second": told(name, lambda sample: sample.per_second),
                    "cpu_us": told(name, lambda sample: sample.cpu_us), "connections": seen}
        paired = name in (c.SHELL, c.SCRIPT) or name.startswith("matrix, ")
        return {"wall_ms": told(name, lambda sample: sample.wall_ms), "connections": seen,
                "pair_ms": told(name, lambda sample: sample.pair_ms) if paired else None}

    return {name: of(name) for name in names if any(name in measured for measured in rounds)}


def _machine(nodes: Nodes) -> dict[str, Any]:
    """Describe the machine without saying which one it is."""
    names = [line.partition(":")[2].strip() for line in
             Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": f"{platform.system()} {platform.release().partition('-')[0]}",
            "python": platform.python_version(),
            "openssl": " ".join(ssl.OPENSSL_VERSION.split()[:2]), "otp": nodes.otp_release(),
            "nodes": len(nodes.ports)}


def _tell(what: str) -> None:
    """Say what is going on, in one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what} ", end="", file=sys.stderr, flush=True)
    elif what:
        print(what, file=sys.stderr, flush=True)


def _round(number: int, clients: dict[str, Client], missing: dict[str, str]) -> dict[str, Sample]:
    measured: dict[str, Sample] = {}
    _tell(f"round {number}")
    # What comes first one time comes last the next.
    order = list(clients) if number % 2 else list(reversed(clients))
    for name in order:
        if name in missing:
            continue
        if sys.stderr.isatty():
            _tell(f"round {number}: {name}")
        try:
            measured[name] = clients[name]()
        except ToolError as error:
            missing[name] = str(error)
    return measured


def measure(name: str, rounds: int, sizes: tuple[int, ...], size: Size) -> dict[str, Any]:
    """Deploy a cluster of this name, measure, destroy, and return the results.

    Raises:
        DeployError: the nodes did not start.
    """
    count = max(3, *sizes) if sizes else 3
    # The nodes' own start is not what else goes on.
    load = round(os.getloadavg()[0], 1)
    begun = datetime.datetime.now(datetime.timezone.utc)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / ".bench") as temporary:
        _tell(f"deploying {count} nodes")
        with deployed(name, Path(temporary), count) as nodes:
            machine = {**_machine(nodes), "load": load}
            clients = Clients(nodes, size, Path(temporary)).all(sizes)
            missing: dict[str, str] = {}
            measured = [_round(number, clients, missing) for number in range(1, rounds + 1)]
            _tell("destroying the nodes")
    _tell("")
    # A client that failed in one round has no figure at all: medians are over all rounds.
    measured = [{name: sample for name, sample in one.items() if name not in missing}
                for one in measured]
    return {
        "schema": 1, "at": begun.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "machine": machine, "rounds": rounds, "figures": _figures(measured, list(clients)),
        "claims": [judge(claim, measured, missing).as_dict() for claim in c.claims(sizes)],
        "missing": missing,
        "samples": [{name: vars(sample) for name, sample in one.items()} for one in measured]}


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Measure, print and keep the results. Returns the exit code: 1 when a floor is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="10,30",
                        help="clusters beside that of 3 nodes, separated by commas")
    parser.add_argument("--resumed", type=int, default=Size.resumed, help="handshakes a loop")
    parser.add_argument("--full", type=int, default=Size.full, help="handshakes a loop")
    parser.add_argument("--seconds", type=int, default=Size.seconds, help="for s_time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to keep them in")
    parser.add_argument("--name", default="bench", help="of the cluster that is deployed")
    chosen = parser.parse_args(arguments)
    sizes = tuple(int(size) for size in chosen.sizes.split(",") if size)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    # pip has compiled what the other clients import. What is ours Python compiles as it imports it
    # first, unless it is told not to.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    (ROOT / ".bench").mkdir(exist_ok=True)
    try:
        results = measure(chosen.name, chosen.rounds, sizes,
                          Size(chosen.resumed, chosen.full, chosen.seconds))
    except DeployError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted; the nodes are gone, and nothing is kept.", file=sys.stderr)
        return 130
    folder: Path = chosen.results
    folder.mkdir(exist_ok=True)
    file = folder / f"{results['at'].replace(':', '-')}.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    latest = folder / "latest.json"
    latest.unlink(missing_ok=True)
    latest.symlink_to(file.name)
    print(table(results))
    print(f"\nKept in {file}")
    return int(any(claim["verdict"] == "missed" for claim in results["claims"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
