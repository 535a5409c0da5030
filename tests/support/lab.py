"""A bench on one node, for checks that are tried by themselves."""
from __future__ import annotations

import threading
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Check,
    Cost,
    Status,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

CHECKS: dict[str, Check] = {check.id: check for check in catalogue()}


class Lab:
    """One node, ``n1`` on loopback, a client and a bench, until :meth:`close`."""

    def __init__(self, port: int, trust: Trust, *, target: dict[str, Any] | None = None,
                 deadline_s: float = 2.0, **settings: Any) -> None:
        """``target`` and ``settings`` are what Target and Settings are told besides."""
        self.stop = threading.Event()
        self.engine = OrdinaryEngine(trust, stop=self.stop)
        self.target = Target({"n1": Endpoint("n1", "127.0.0.1", port, "localhost")},
                             Settings(deadline_s=deadline_s, **settings), **(target or {}))
        self.bench = Bench(Prober(self.engine, self.target, self.stop))
        self.before = 0
        """Handshakes that no check has made."""

    def establish(self) -> Lab:
        """Let the node have a session of ours, as CORE-01 does."""
        first = self.bench.sessions.fresh("n1")
        assert first.session is not None, first.handshake.why
        self.before = len(self.bench.ledger.handshakes)
        return self

    def cost(self, check: str) -> Cost:
        """Return what a check is announced to make."""
        return CHECKS[check].cost_for(self.target, "n1")

    def measure(self, check: str) -> Verdict:
        """Return what a check comes to: every connection is counted, and is evidence of it."""
        verdict = measured(CHECKS[check], self.bench, ("n1",))
        assert self.bench.ledger.handshakes[self.before:] == list(verdict.handshakes)
        return verdict

    def passes_at_its_price(self, check: str) -> Verdict:
        """Return a verdict that is passed, for no more than was announced, MQTT each time."""
        verdict, cost = self.measure(check), self.cost(check)
        assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message
        assert len(verdict.handshakes) == cost.total
        full = sum(handshake.outcome is Outcome.FULL for handshake in verdict.handshakes)
        assert full <= cost.full
        assert not any(handshake.failure is None and (
            handshake.mqtt is None or handshake.mqtt.cause) for handshake in verdict.handshakes)
        return verdict

    def close(self) -> None:
        """Let go of what the clients hold."""
        self.bench.prober.close()
        self.engine.close()
