"""Compiling the embedded node."""
from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..base import DriverError

_INSTALL = ("apt-get install erlang-base erlang-ssl erlang-crypto erlang-inets erlang-public-key "
            "erlang-asn1")


def program(name: str) -> str:
    """Return the path of one of Erlang's programs.

    Raises:
        DriverError: Erlang is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise DriverError(f"{name} was not found: the embedded node needs Erlang/OTP ({_INSTALL})")
    return found


def code_version(source_dir: Path) -> str:
    """Return a digest of the node's sources and of the Erlang/OTP that compiles and runs them.

    What a newer release compiled does not run on an older one.

    Raises:
        DriverError: there are no sources, or no Erlang.
    """
    sources = _sources(source_dir)
    digest = hashlib.sha256()
    for version in sorted(Path(program("erl")).resolve().parents[1].glob("releases/*/OTP_VERSION")):
        digest.update(version.read_bytes())
    for source in sources:
        digest.update(f"{source.name}:{source.stat().st_size}:".encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def compiled(source_dir: Path) -> Path:
    """Return the directory with the compiled node, compiling it only when sources changed.

    Each version has a directory of its own under ebin/, complete from the moment it appears:
    running nodes keep theirs, and builds at the same time do not meet.

    Raises:
        DriverError: it does not compile.
    """
    target = source_dir / "ebin" / code_version(source_dir)
    if target.is_dir():
        return target
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as scratch:
        fresh = Path(scratch) / "ebin"
        fresh.mkdir()
        sources = _sources(source_dir)
        modules = [source for source in sources if source.suffix == ".erl"]
        # In a session of its own: erlc that Ctrl-C reaches leaves half of the modules and
        # says that all is well.
        done = subprocess.run(  # noqa: S603 - our own sources, no shell
            [program("erlc"), "-o", str(fresh), *map(str, modules)], capture_output=True,
            text=True, check=False, stdin=subprocess.DEVNULL, start_new_session=True)
        missing = [module.stem for module in modules
                   if not (fresh / f"{module.stem}.beam").is_file()]
        if done.returncode or missing:
            said = " ".join((done.stdout + done.stderr).split())
            raise DriverError("the embedded node does not compile: "
                              f"{said or 'nothing was made of ' + ', '.join(missing)}")
        for source in sources:
            if source.suffix == ".app":
                shutil.copy(source, fresh)
        # Somebody else's build of the same sources is as good.
        with contextlib.suppress(FileExistsError, OSError):
            fresh.rename(target)
    if not target.is_dir():
        raise DriverError(f"{target} could not be made")
    return target


def _sources(source_dir: Path) -> list[Path]:
    sources = sorted(path for path in (source_dir / "src").glob("*")
                     if path.suffix in (".erl", ".app"))
    if not sources:
        raise DriverError(f"there are no sources of the embedded node in {source_dir / 'src'}")
    return sources
