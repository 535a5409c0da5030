"""Writes the figures of docs/benchmark.md, between its two markers, from bench/published.json.

    python -m bench.page

takes the last run of `make bench` for the published one first.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import claims as c

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "bench" / "published.json"
LATEST = ROOT / "bench" / "results" / "latest.json"
BEGIN = "<!-- bench: written by `make bench-publish` from bench/published.json -->"
END = "<!-- end of bench -->"
_WALL = (
    ("the matrix of 3 nodes, in a running process", c.MATRIX),
    ("the same by `openssl s_client`, two for each pair", c.SHELL),
    ("one node, all safe checks, from start to exit", c.PROBE_ONE),
    ("`sslyze --resum`", c.SSLYZE), ("`gnutls-cli --resume`", c.GNUTLS),
    ("`ansible-playbook verify.yml`, 3 nodes, safe checks", c.VERIFY),
    ("a playbook without a task", c.EMPTY))
_RATES = (
    ("with all three witnesses", c.WITNESSED), ("the same engine without", c.BARE),
    ("Python's `ssl` socket", c.SSL_SOCKET), ("`openssl s_time -reuse`", c.S_TIME),
    ("NSS `strsclnt`", c.STRSCLNT))


def section(results: Mapping[str, Any]) -> str:
    """Return what stands between the markers."""
    machine, figures = results["machine"], results["figures"]
    lines = [
        (f"Medians of {results['rounds']} interleaved rounds on {machine['cores']} cores "
        f"({machine['cpu']}), which the nodes share with their clients; Python "
        f"{machine['python']}, {machine['openssl']}, Erlang/OTP {machine['otp']}; load average "
         f"before the run {machine['load']}."), "",
        "| resumed handshakes, one at a time | a second | client CPU |", "|---|--:|--:|"]
    lines += [f"| {label} | {figures[name]['per_second']:,.0f} | "
              f"{figures[name]['cpu_us']:,.0f} µs |" for label, name in _RATES if name in figures]
    lines += ["", "| wall clock | ms |", "|---|--:|"]
    lines += [f"| {label} | {figures[name]['wall_ms']:,.0f} |"
              for label, name in _WALL if name in figures]
    lines += ["", "| ratio within a round | median | floor | |", "|---|--:|---|---|"]
    for claim in results["claims"]:
        ratio = "" if claim["ratio"] is None else f"{claim['ratio']:.2f}"
        lines.append(f"| {claim['what']} | {ratio} | {claim['floor']} | {claim['verdict']} |")
    return "\n".join(lines)


def written(text: str, results: Mapping[str, Any]) -> str:
    """Return the text with these results between its markers. Raises ValueError without them."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"docs/benchmark.md has no place between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{section(results)}\n{END}{after}"


def published() -> dict[str, Any]:
    """Return the published results."""
    results: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return results


def main() -> int:
    """Publish the last run and write the page."""
    if not LATEST.exists():
        print("There is nothing to publish: run `make bench` first.", file=sys.stderr)
        return 1
    results = json.loads(LATEST.read_text(encoding="utf-8"))
    del results["samples"]
    PUBLISHED.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page = ROOT / "docs" / "benchmark.md"
    page.write_text(written(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    print("Written: bench/published.json, docs/benchmark.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
