"""Small ways in which sentences and tables for people are put."""
from __future__ import annotations

from collections.abc import Iterable


def some(names: Iterable[str], most: int = 5) -> str:
    """Name things without filling the terminal: the first of many, and how many more there are."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {rest} more" if rest > 0 else "")


def capital(text: str) -> str:
    """Return a clause as a sentence begins."""
    return text[:1].upper() + text[1:]


def stop(text: str) -> str:
    """Return a clause as a sentence ends."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def figure(value: float | None) -> str:
    """Return a count as it is, a measured value with two decimals, and a dash for nothing."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
