"""The library.

Ansible's loader compiles each of its modules anew whenever a playbook starts, on the controller.
Python's own keeps what it has compiled, and is as good for all that lies below: whoever imports any
of it comes by here first.
"""
from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType


class _Kept:
    """Finds the library's modules for Python's own loader."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None,
                  _target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where the module is; None: it is none of ours, or not here."""
        if not name.startswith(f"{__name__}."):
            return None
        found = (FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name)
                 for folder in path or ())
        return next((spec for spec in found if spec is not None and spec.loader is not None), None)


# Out of an archive, as on another host, or by Python's own loader there is nothing to do.
if __spec__ and not isinstance(__spec__.loader, SourceFileLoader) and Path(__file__).is_file():
    sys.meta_path.insert(0, _Kept())
