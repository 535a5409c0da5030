"""A whole run of client stacks on brokers in this process: made-up clients and a real one."""
from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.definitions import (
    read,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.measure import (
    StackRequest,
    measure,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.words import (
    USUAL_WAYS,
    Stack,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.mqtt_broker import MqttBroker
from tests.support.playbooks import ROOT

PROGRAM = ROOT / "tests" / "support" / "faulty_client.py"
TEMPLATE = ROOT / "templates" / "clients.html.j2"


def faulty(name: str, fault: str, *, why_not: str = "", readme: str = "") -> Stack:
    """Return a stack whose client, in both ways, is that of faulty_client.py with this fault."""
    return Stack(name, name.capitalize(), (sys.executable, str(PROGRAM), fault, ""), USUAL_WAYS,
                 why_not, readme)


def every_kind() -> list[Stack]:
    """Return stacks with which each part of a report has something to say."""
    return [read("python_ssl", ROOT).stack(), faulty("stubborn", "gives_up_on_fallback"),
            faulty("silent", "says_nothing"), faulty("never", "never_offers"),
            faulty("absent", "none", why_not="since it is not built: make stacks STACKS=absent")]


def run(certificate: tuple[Path, Path], folder: Path,
        stacks: Iterable[Stack]) -> tuple[dict[str, Any], Path]:
    """Return the result object and the folder of a run on two nodes."""
    brokers = [MqttBroker(*certificate) for _ in range(2)]
    try:
        return measure(StackRequest(
            {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", broker.port, "localhost")
             for number, broker in enumerate(brokers, 1)},
            tuple(stacks), folder / "clients", trust=Trust(str(certificate[0])),
            session_cache_max=100_000, page_template=TEMPLATE), threading.Event())
    finally:
        for broker in brokers:
            broker.stop()
