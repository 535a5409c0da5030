"""``make stacks``: install what stacks need from Debian, build them, say what they are made of."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.definitions import (
    Definition,
    StackError,
    chosen,
    read,
)

ROOT = Path(__file__).parents[1]


def main(names: list[str]) -> int:
    """Build the stacks of these names, or all; return the exit code."""
    try:
        stacks = [read(name, ROOT) for name in chosen(names, ROOT)]
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    packages = sorted({package for stack in stacks for package in stack.packages})
    if subprocess.run([ROOT / "scripts/debian-packages", *packages], check=False).returncode:
        return 1
    return max([_built(stack) for stack in stacks], default=0)


def _built(stack: Definition) -> int:
    """Build one, say so, and return 1 if that cannot be done."""
    if not _is_fresh(stack):
        stack.built.mkdir(parents=True, exist_ok=True)
        for command in stack.build:
            try:
                done = subprocess.run(command, cwd=stack.folder, check=False)
            except OSError as error:
                print(f"{stack.name}: {command[0]} cannot be run: {error.strerror}",
                      file=sys.stderr)
                return 1
            if done.returncode:
                print(f"{stack.name} cannot be built: {' '.join(command)}", file=sys.stderr)
                return 1
    if why_not := stack.stack().why_not:
        print(f"{stack.name} cannot be used, {why_not}", file=sys.stderr)
        return 1
    print(f"{stack.name}: {stack.title}{_versions(stack.packages)}")
    return 0


def _is_fresh(stack: Definition) -> bool:
    """Tell whether what is built is younger than all that it is built from."""
    made = [path.stat().st_mtime for path in stack.built.rglob("*")]
    others = (stack.folder / word for command in stack.build for word in command
              if word.startswith("../"))
    return bool(made) and min(made) > max(path.stat().st_mtime for path in (
        *stack.folder.rglob("*"), *stack.folder.parent.glob("*.h"), *others))


def _versions(packages: tuple[str, ...]) -> str:
    if not packages:
        return ""
    told = subprocess.run(["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n",
                           *packages], capture_output=True, text=True, check=False).stdout
    return f" ({', '.join(told.splitlines())})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
