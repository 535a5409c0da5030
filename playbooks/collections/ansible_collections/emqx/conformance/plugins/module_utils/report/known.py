"""How every report tells what makes a failure ``known``."""
from __future__ import annotations

from typing import Any

from ..words import capital, stop

_RACE = " It is a race: the check may as well pass."


def explanation(row: dict[str, Any]) -> str:
    """Return why a finding is ``known``, in a clause or two; empty of any other finding."""
    evidence = row["evidence"]
    told = [str(evidence["waiver"])] if "waiver" in evidence else []
    told += [f"known deviation of {entry['releases']} ({entry['file']}): "
             f"{stop(entry['evidence'])}{_RACE if entry['intermittent'] else ''} Upstream: "
             f"{stop(entry['upstream'])}"
             for entry in evidence.get("known_deviations", ())]
    return " ".join(capital(stop(text)) for text in told)


def name(row: dict[str, Any]) -> str:
    """Return in short what makes a finding ``known``; empty of any other finding."""
    evidence = row["evidence"]
    told = [str(evidence["waiver"])] if "waiver" in evidence else []
    told += [f"known deviation of {entry['releases']} ({entry['file']})"
             for entry in evidence.get("known_deviations", ())]
    return " ".join(capital(stop(text)) for text in told)


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
    """Return what else the user should know, in a sentence each, strictness included.

    A name that a sentence begins with stays as it is written.
    """
    known = results.get("known_deviations", {})
    told = []
    if known.get("strict"):
        count = known["entries"]
        told.append(f"known deviations count as failures, since resumption_strict is true "
                    f"({count} {'entry' if count == 1 else 'entries'} of "
                    f"{', '.join(known['files']) or 'no file'})")
    names = {row["name"] for part in ("nodes", "load_balancers") for row in results.get(part, ())}
    return [note if _first_word(note) in names else capital(note)
            for note in (*told, *results.get("notes", ()))]


def _first_word(text: str) -> str:
    return text.split(maxsplit=1)[0]
