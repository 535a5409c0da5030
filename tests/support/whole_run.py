"""A whole verification by the library, of servers that a test has started."""
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.modules.resumption_verify import ARGUMENT_SPEC

from tests.support.few_handshakes import few_handshakes


def whole_run(ports: list[int], ca: Path | None, reports: Path, **changed: Any) -> dict[str, Any]:
    """Verify nodes on loopback, called n1, n2 …, up to noisy checks, and return the results.

    Args:
        ports: one for each node.
        ca: whom to trust; None: the system's store.
        reports: folder of the report.
        changed: parameters of the module ``resumption_verify`` that differ from these.
    """
    spec: Any = ARGUMENT_SPEC
    params: dict[str, Any] = {
        **{name: option.get("default") for name, option in spec.items()},
        "nodes": [{"name": f"n{number}", "host": "127.0.0.1", "port": port,
                   "server_name": "localhost"} for number, port in enumerate(ports, 1)],
        "ca": str(ca) if ca else None, "tls_versions": ["tlsv1.2"], "max_impact": "noisy",
        "reports_dir": str(reports), **changed}
    with few_handshakes(16):
        results, _ = v.verify(v.request(params), threading.Event())
    return results
