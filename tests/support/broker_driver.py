"""A driver whose nodes are little brokers in this process, with defects to order."""
from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence

from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    Driver,
    DriverError,
    DriverInterrupted,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.identity import Identity

from tests.support.mqtt_broker import MqttBroker


class BrokerDriver(Driver):
    """Starts, stops and cuts off brokers. They know no cluster."""

    name = "brokers"

    def __init__(self, make: Callable[..., MqttBroker], names: Sequence[str]) -> None:
        """``make`` starts a broker with the options it is given."""
        self._make = make
        self.brokers = {name: make() for name in names}
        self.stop_event = threading.Event()
        """Ends :meth:`wait_ready`."""
        self.told: list[str] = []
        """``kill n1`` …, in order."""
        self.fails: dict[str, str] = {}
        """What is to fail (``kill``), and with which sentence."""
        self.hooks: dict[str, Callable[[str], None]] = {}
        """Called with the node's name when something was done, or before it is started; with an
        empty one for ``wait_ready``."""
        self.forgetful = True
        """Whether a broker that is started again has forgotten its sessions."""
        self._before = dict.fromkeys(names, 0)
        self._down: set[str] = set()

    def handshakes(self, name: str) -> int:
        """Completed ones, of every broker this node has been."""
        return self._before[name] + self.brokers[name].handshakes

    def forget(self, name: str) -> None:
        """Let a broker forget its sessions while it runs."""
        self.brokers[name].context = self._new_context(name)

    def _new_context(self, name: str) -> ssl.SSLContext:
        spare = self._make()
        spare.stop()
        return spare.context

    def _told(self, verb: str, node: NodeSpec) -> None:
        self.told.append(f"{verb} {node.name}")
        if verb in self.fails:
            raise DriverError(self.fails[verb])

    def _hook(self, verb: str, name: str) -> None:
        if verb in self.hooks:
            self.hooks[verb](name)

    def _done(self, verb: str, node: NodeSpec) -> None:
        self._told(verb, node)
        self._hook(verb, node.name)

    def start(self, node: NodeSpec) -> None:
        """Start a new broker on the old one's port."""
        self._done("start", node)
        if node.name not in self._down:
            raise DriverError(f"{node.name} runs already")
        old = self.brokers[node.name]
        self._before[node.name] += old.handshakes
        new = self.brokers[node.name] = self._make(port=old.port)
        if not self.forgetful:
            new.context = old.context
        self._down.remove(node.name)

    def stop(self, node: NodeSpec) -> None:
        """Stop the broker."""
        self._end("stop", node)

    def kill(self, node: NodeSpec) -> None:
        """The same: a broker keeps nothing."""
        self._end("kill", node)

    def _end(self, verb: str, node: NodeSpec) -> None:
        self._told(verb, node)
        self.brokers[node.name].stop()
        self._down.add(node.name)
        self._hook(verb, node.name)

    def disconnect(self, node: NodeSpec) -> None:
        """Write it down: brokers have no peers."""
        self._done("disconnect", node)

    def reconnect(self, node: NodeSpec) -> None:
        """Write it down."""
        self._done("reconnect", node)

    def wait_ready(self, nodes: Sequence[NodeSpec], timeout_s: float) -> dict[str, Identity]:
        """Brokers are ready once they are made."""
        self.told.append(f"wait {' '.join(node.name for node in nodes)}")
        self._hook("wait_ready", "")
        if self.stop_event.is_set():
            raise DriverInterrupted
        if "wait_ready" in self.fails:
            raise DriverError(self.fails["wait_ready"])
        return {node.name: Identity.unknown("a broker") for node in nodes}


class InspectingDriver(BrokerDriver):
    """Looks at nodes from within, except at those it cannot."""

    blind: tuple[str, ...] = ()

    def inspect(self, node: NodeSpec) -> Identity | None:
        """Return a made-up identity."""
        if node.name in self.blind:
            raise DriverError(f"{node.name} cannot be looked at")
        return Identity("from within", "7", None, "asked where it runs")
