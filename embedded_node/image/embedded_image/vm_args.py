"""etc/vm.args, as EMQX's image has it: flags of the Erlang VM, two of them for TLS sessions."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

OPTIONS = ("session_lifetime", "session_cache_server_max")
"""Of Erlang/OTP's ssl: seconds for which a session is kept, and how many are."""

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class VmArgs:
    """What of a vm.args has an effect here, and what there is to say about the rest."""

    ssl: tuple[tuple[str, str], ...]
    """Option and number, in the file's order: of two alike Erlang takes the first."""
    notes: tuple[str, ...]

    def text(self) -> str:
        """Return a file for ``erl -args_file``."""
        return "".join(f"-ssl {option} {number}\n" for option, number in self.ssl)


def read(text: str) -> VmArgs:
    """Read the content of a vm.args."""
    ssl: list[tuple[str, str]] = []
    others: dict[str, None] = {}
    wrong: list[str] = []
    for flag, words in _flags(text):
        if flag != "-ssl":
            others[flag] = None
            continue
        for option, value in zip(words[::2], [*words[1::2], ""], strict=False):
            if option not in OPTIONS:
                others[f"-ssl {option}"] = None
            elif _NUMBER.fullmatch(value):
                ssl.append((option, value))
            else:
                wrong.append(f"vm.args: -ssl {option} is no number, so Erlang/OTP keeps its own")
    without = [f"known to Erlang, without effect here: {', '.join(others)} (vm.args)"] \
        if others else []
    return VmArgs(tuple(ssl), (*without, *wrong))


def _flags(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every flag with what stands behind it."""
    flag = ""
    words: list[str] = []
    for word in _COMMENT.sub("", text).split():
        if word[0] in "-+":
            if flag:
                yield flag, words
            flag, words = word, []
        else:
            words.append(word)
    if flag:
        yield flag, words
