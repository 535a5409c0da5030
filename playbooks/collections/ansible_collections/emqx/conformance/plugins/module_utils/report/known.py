"""How every report tells what makes a failure ``known``."""
from __future__ import annotations

from typing import Any


def explanation(row: dict[str, Any]) -> str:
    """Return why a finding is ``known``, in a clause or two; empty of any other finding."""
    evidence = row["evidence"]
    told = [str(evidence["waiver"])] if "waiver" in evidence else []
    told += [f"known deviation of {entry['releases']}: {_stop(entry['evidence'])} Upstream: "
             f"{_stop(entry['upstream'])} {entry['file']}"
             for entry in evidence.get("known_deviations", ())]
    return "; ".join(told)


def with_explanation(row: dict[str, Any]) -> str:
    """Return a finding's message, and why it is ``known``."""
    why = explanation(row)
    return f"{row['message']} ({why})" if why else str(row["message"])


def counted(results: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Return (status, count, how many for which reason) of the statuses that occur."""
    deviations = sum(bool(row["evidence"].get("known_deviations")) for row in results["checks"])
    waived = sum("waiver" in row["evidence"] for row in results["checks"])
    kinds = ", ".join(text for count, text in (
        (deviations, f"{deviations} known deviation{'' if deviations == 1 else 's'}"),
        (waived, f"{waived} waived")) if count)
    return [(status, count, kinds if status == "known" else "")
            for status, count in results["counts"].items() if count]


def notes(results: dict[str, Any]) -> list[str]:
    """Return what else the user should know, in a sentence each, strictness included."""
    known = results.get("known_deviations", {})
    told = []
    if known.get("strict"):
        count = known["entries"]
        told.append(f"strict: the {count} {'entry' if count == 1 else 'entries'} of known "
                    f"deviations count as failures (resumption_strict)")
    return [*told, *results.get("notes", ())]


def _stop(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
