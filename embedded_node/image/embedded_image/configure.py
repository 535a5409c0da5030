"""Before the node boots: emqx.conf and the environment become node.config and the cookie."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.drivers import hocon
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.terms import render_file
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    DEFAULT_RELEASE,
    Release,
    parse_release,
)

from . import vm_args
from .environment import overlaid, overrides, path_of, variable_of
from .settings import (
    DEFAULT_COOKIE,
    ROOTS,
    NodeSettings,
    SettingsError,
    settings,
    without_effect,
)

RELEASE_VARIABLE = "CONFORMANCE_EMQX_RELEASE"
"""Names the EMQX release that this node does as: which keys it knows, and what it tells OTP."""


def configured(config: Path, environment: Mapping[str, str]) -> tuple[NodeSettings, list[str]]:
    """Return the node's settings and what there is to say about them, one sentence each.

    Raises:
        SettingsError: the node cannot boot from these.
        HoconError: the file cannot be read.
    """
    tree = hocon.read(config)
    wanted = overrides(environment)
    unknown = [path for path in wanted if path[0] not in ROOTS]
    known = {path: value for path, value in wanted.items() if path not in unknown}
    found = settings(overlaid(tree, known), _release(environment))
    return found, [*_without_effect(tree, known, environment), *_unknown(unknown),
                   *_about_name_and_cookie(found, tree), *found.warnings]


def _release(environment: Mapping[str, str]) -> Release:
    try:
        return parse_release(environment.get(RELEASE_VARIABLE) or DEFAULT_RELEASE)
    except ValueError as error:
        raise SettingsError(f"{RELEASE_VARIABLE}: {error}") from None


def _without_effect(tree: Mapping[str, Any], known: Mapping[tuple[str, ...], Any],
                    environment: Mapping[str, str]) -> Iterator[str]:
    # Names only: a value may be a password or a licence key.
    variables = [_spelled(path, environment) for path, value in known.items()
                 if any(without_effect(overlaid({}, {path: value})))]
    keys = [".".join(path) for path in without_effect(tree)]
    for names in (variables, keys):
        if names:
            yield f"known to EMQX, without effect here: {', '.join(names)}"


def _spelled(path: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """Return the variable as its user wrote it."""
    return next((name for name in environment
                 if name.startswith("EMQX_") and path_of(name) == path), variable_of(path))


def _unknown(paths: Iterable[tuple[str, ...]]) -> Iterator[str]:
    names = ", ".join(variable_of(path) for path in paths)
    if names:
        yield f"no setting of EMQX, ignored: {names}"


def _about_name_and_cookie(found: NodeSettings, tree: Mapping[str, Any]) -> Iterator[str]:
    node = tree.get("node")
    in_file = node.get("name") if isinstance(node, Mapping) else None
    if in_file not in (None, found.name):
        yield (f"this node is {found.name}: as with EMQX's image the environment (EMQX_NODE__NAME, "
               f"or else this container's address) wins over {in_file} in the file")
    if found.cookie == DEFAULT_COOKIE:
        yield ("the default (insecure) Erlang cookie is in use; set EMQX_NODE__COOKIE, the same "
               "for all nodes of a cluster")


def main(arguments: list[str]) -> int:
    """Write what Erlang boots from into the current directory, from the emqx.conf named.

    These are node.config, .erlang.cookie and vm.args; the last from the file beside emqx.conf.
    """
    config = Path(arguments[0])
    try:
        found, notes = configured(config, os.environ)
        flags = _vm_args(config.parent / "vm.args")
        _write(Path("vm.args"), flags.text(), 0o600)
        _write(Path("node.config"), render_file(found.term()), 0o600)
        _write(Path(".erlang.cookie"), found.cookie, 0o400)
    except (SettingsError, hocon.HoconError) as error:
        _say(f"cannot boot: {error}")
        return 1
    except OSError as error:
        _say(f"cannot boot: {error.filename} cannot be written: {error.strerror}; it must belong "
             f"to user id {os.getuid()}")
        return 1
    for note in (*notes, *flags.notes):
        _say(f"WARNING: {note}")
    return 0


def _vm_args(path: Path) -> vm_args.VmArgs:
    try:
        return vm_args.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return vm_args.read("")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path} cannot be read: {why}") from None


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file anew; nobody but the node may read it."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    path.chmod(mode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
