"""What is used of a package, without all that the package imports for others.

To import HTTP, XML-RPC, asyncio, mail and the DNS, which tlslite-ng and paho-mqtt bring and nothing
here uses, takes as long as to verify a node. Both ways are those that Python's import system
documents, and whoever imports these packages afterwards gets them whole.
"""
from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def parts_of(package: str) -> Iterator[None]:
    """Import modules of a package without what its ``__init__`` would import first.

    Where the package has been imported, or is not installed, nothing is different.
    """
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None:
        yield
        return
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]


@contextlib.contextmanager
def without(package: str) -> Iterator[None]:
    """Import modules that can do without a package, as if it was not installed.

    Where the package has been imported, nothing is different.
    """
    modules: dict[str, Any] = sys.modules
    if package in modules:
        yield
        return
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
