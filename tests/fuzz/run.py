"""``make fuzz``: the targets under a coverage-guided fuzzer, one after the other.

Every input that breaks a target is written to tests/fuzz/findings and stays there as a test. What
leads to new code is kept in .fuzz between runs.
"""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from tests.fuzz import mutators
from tests.support.openssl_cli import CertifiedKey, make_identity

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "tests/fuzz/findings"
WORK = ROOT / ".fuzz"
MODULES = ROOT / "playbooks/collections/ansible_collections/emqx/conformance/plugins/module_utils"
# What the fuzzer is guided by; tlslite-ng's arithmetic would only slow it down.
GUIDES = ["ansible_collections.emqx.conformance.plugins.module_utils", "paho.mqtt", *(
    f"tlslite.{name}" for name in (
        "messages", "extensions", "recordlayer", "messagesocket", "defragmenter", "keyexchange",
        "x509", "x509certchain", "utils.codec", "utils.asn1parser"))]
SHARES = {"transcript": 3, "mqtt": 1, "paho": 2, "session_file": 1, "ordinary": 1, "crafted": 4}
"""Of the time, by target."""
READERS = {"transcript": ["tls/transcript.py"], "mqtt": ["mqtt/client.py"],
           "paho": ["mqtt/paho_session.py"],
           "session_file": ["tls/session_file.py", "tls/session_asn1.py"],
           "ordinary": ["tls/engine.py", "tls/transcript.py"],
           "crafted": [*(f"tls/crafted/{part}.py" for part in (
               "vocabulary", "records", "handshake", "client")),
               "tls/transcript.py", "mqtt/client.py"]}
"""Files whose coverage tells something, by target."""
MUTATORS = {"transcript": mutators.two_bytes_and_a_stream,
            "ordinary": mutators.two_bytes_and_a_stream}
HANG_S = 20
"""Longer for one input, and the fuzzer calls it a hang."""
MEMORY_MIB = 2048
LONGEST = 8192
"""Bytes of an input."""


@dataclass
class Told:
    """What came of one target."""

    executions: int = 0
    edges: int = 0
    corpus: int = 0
    finds: int = 0


# -- a process that fuzzes one target --------------------------------------------------------------

def _fuzz(name: str, identity: CertifiedKey, corpus: Path, findings: Path,
          options: list[str]) -> None:
    """Fuzz until libFuzzer has had its time; it ends the process."""
    import atheris  # noqa: PLC0415 - only here, and before what it is to watch

    with atheris.instrument_imports(include=GUIDES):
        from tests.fuzz import targets  # noqa: PLC0415
    target = targets.targets(identity)[name]
    seen: set[str] = set()

    def one(data: bytes) -> None:
        try:
            # Memory is measured now and then: tracing takes its time.
            targets.hold(target, data, memory=crc32(data) % 512 == 0)
        except Exception as problem:
            where = traceback.extract_tb(problem.__traceback__)[-1]
            signature = f"{type(problem).__name__} in {where.name}, line {where.lineno}"
            if signature not in seen:
                seen.add(signature)
                path = findings / hashlib.sha256(data).hexdigest()[:16]
                path.write_bytes(data)
                _say(f"FOUND {name}: {signature}: {problem} ({path.name})")

    mutator = MUTATORS.get(name)
    how = {} if mutator is None else {
        "custom_mutator": lambda data, longest, seed: mutator(atheris.Mutate, data, longest, seed)}
    atheris.Setup([sys.argv[0], str(corpus), *options], one, **how)
    atheris.Fuzz()


# -- a process that measures a target's coverage ---------------------------------------------------

def _measure(name: str, identity: CertifiedKey, corpus: Path, report: Path) -> None:
    """Run a target on its corpus, and write what of its readers was reached."""
    import coverage  # noqa: PLC0415 - only here, and before what it is to watch

    measured = coverage.Coverage(branch=True, data_file=None, messages=False,
                                 include=[str(MODULES / file) for file in READERS[name]])
    measured.start()
    from tests.fuzz import targets  # noqa: PLC0415

    target = targets.targets(identity)[name]
    for path in sorted(corpus.iterdir()):
        with contextlib.suppress(Exception):  # what breaks it is told where it is found
            target(path.read_bytes())
    measured.stop()
    with contextlib.redirect_stdout(io.StringIO()):
        measured.json_report(outfile=str(report))


# -- the process that is started by hand -----------------------------------------------------------

def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the fuzzer's one output


def _command(identity: CertifiedKey, *words: str | Path) -> list[str]:
    return [sys.executable, "-m", "tests.fuzz.run", "--certificate", str(identity.certificate),
            "--key", str(identity.key), *map(str, words)]


def _run_for(name: str, seconds: float, identity: CertifiedKey, seeds: list[bytes]) -> Told:
    """Fuzz one target so long, again after each input that ended the fuzzer."""
    corpus, findings = WORK / "corpus" / name, FINDINGS / name
    artifacts, log = WORK / "artifacts" / name, WORK / f"{name}.log"
    for folder in (corpus, findings, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in [*seeds, *(path.read_bytes() for path in findings.iterdir())]:
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    told, end = Told(), time.monotonic() + seconds
    known = set(findings.iterdir())
    with log.open("w") as out:
        while (left := end - time.monotonic()) > 1:
            options = [f"-max_total_time={round(left)}", f"-timeout={HANG_S}",
                       f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={LONGEST}", "-len_control=0",
                       f"-artifact_prefix={artifacts}/", "-print_final_stats=1", "-verbosity=1"]
            start = out.tell()
            with subprocess.Popen(
                    _command(identity, "--fuzz", name, "--corpus", corpus, "--findings", findings,
                             "--", *options),
                    cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                    errors="replace") as fuzzer:
                assert fuzzer.stdout is not None
                for line in fuzzer.stdout:
                    out.write(line)
                    out.flush()
                    if line.startswith("FOUND"):
                        _say(line.rstrip())
            _add(told, log.read_text(errors="replace")[start:])
            ended_by = sorted(artifacts.iterdir())
            for path in ended_by:
                _say(f"FOUND {name}: the fuzzer ended: {path.name}")
                shutil.move(path, findings / path.name.replace("-", "_")[:40])
            if fuzzer.returncode and not ended_by:
                _say(f"{name}: the fuzzer failed; see {log.relative_to(ROOT)}")
                told.finds += 1
                break
    told.corpus = sum(1 for _ in corpus.iterdir())
    told.finds += len(set(findings.iterdir()) - known)
    with contextlib.suppress(OSError):
        findings.rmdir()  # when it is empty
    return told


def _add(told: Told, log: str) -> None:
    counts = re.findall(r"^stat::number_of_executed_units: *(\d+)", log, re.MULTILINE)
    # Without the final figures the last line that has one must do.
    counts = counts or re.findall(r"^#(\d+)\s", log, re.MULTILINE)[-1:]
    told.executions += sum(map(int, counts))
    told.edges = max([told.edges, *map(int, re.findall(r" cov: (\d+) ", log))])


def _coverage(name: str, identity: CertifiedKey) -> list[str]:
    report = WORK / f"{name}.coverage.json"
    subprocess.run(_command(identity, "--measure", name, "--corpus", WORK / "corpus" / name,
                            "--findings", report), cwd=ROOT, check=True)
    lines = []
    for file, found in json.loads(report.read_text())["files"].items():
        summary: dict[str, Any] = found["summary"]
        missing = ", ".join(map(str, found["missing_lines"]))
        branches = ", ".join(f"{a}->{b}" for a, b in found["missing_branches"])
        lines.append(
            f"  {Path(file).name}: lines {summary['covered_lines']}/{summary['num_statements']}, "
            f"branches {summary['covered_branches']}/{summary['num_branches']}"
            + (f"; lines not reached: {missing}" if missing else "")
            + (f"; branches not taken: {branches}" if branches else ""))
    return lines


def run(seconds: int, names: list[str]) -> int:
    """Fuzz these targets for so long together and tell what came of it; 1 when something did."""
    from tests.fuzz import seeds  # noqa: PLC0415 - not where it is to be watched

    WORK.mkdir(exist_ok=True)
    finds = 0
    shares = sum(SHARES[name] for name in names)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        identity = make_identity(folder, "localhost")
        start = seeds.seeds(identity, folder)
        for name in names:
            given = seconds * SHARES[name] / shares
            told = _run_for(name, given, identity, start[name])
            finds += told.finds
            _say(f"{name}: {told.executions} executions in {given:.0f} s, {told.edges} edges, "
                 f"{told.corpus} inputs kept, {told.finds} finds")
            for line in _coverage(name, identity):
                _say(line)
    _say(f"{finds} finds" + (f"; they are in {FINDINGS.relative_to(ROOT)}" if finds else ""))
    return 1 if finds else 0


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz what reads hostile bytes.")
    parser.add_argument("--seconds", type=int, default=3600, help="for all targets together")
    parser.add_argument("--targets", default=" ".join(SHARES), help="names, separated by spaces")
    for name in ("fuzz", "measure", "certificate", "key", "corpus", "findings"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fuzz or asked.measure:
        identity = CertifiedKey(Path(asked.certificate), Path(asked.key))
        folders = Path(asked.corpus), Path(asked.findings)
        if asked.fuzz:
            _fuzz(asked.fuzz, identity, *folders, asked.options)
        else:
            _measure(asked.measure, identity, *folders)
        return 0
    names = asked.targets.split()
    if unknown := set(names) - set(SHARES):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are "
                     f"{', '.join(SHARES)}")
    try:
        return run(asked.seconds, names)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
