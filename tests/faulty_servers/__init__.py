"""Servers with one defect each, and the table of what the checks must find in them.

``servers.yml`` is the table, ``message_server`` the faults. By hand::

    python -m tests.faulty_servers --list
    python -m tests.faulty_servers no_cache
"""
from __future__ import annotations

import sys
from pathlib import Path

_COLLECTIONS = str(Path(__file__).parents[2] / "playbooks/collections")
if _COLLECTIONS not in sys.path:  # by hand; pytest has it already
    sys.path.insert(0, _COLLECTIONS)
