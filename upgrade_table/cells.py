"""What is measured: the listeners of a node, as EMQX of three releases would open them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.every_listener import Listener
from ansible_collections.emqx.conformance.plugins.module_utils.model import TrustDomain

RELEASES = ("5.8.9", "5.10.2", "5.10.3")
"""One for each way of telling Erlang/OTP of reuse_sessions: passed on; never passed on; passed on
unless it is true."""
VERIFY = {"none": "verify_none", "peer": "verify_peer",
          "mtls": "verify_peer, fail_if_no_peer_cert"}
"""By the name of a listener: whether it asks for a client certificate, and demands it."""
NODE = "emqx1"
_OTHER = "other"
_DOMAINS = ("domain1", "domain2")


@dataclass(frozen=True)
class Opened:
    """One listener of the node."""

    kind: str
    """Of :data:`VERIFY`."""
    reuse_sessions: bool
    other: bool = False
    """Whether it trusts the other CA: a twin, into which no session of the first may get."""

    @property
    def name(self) -> str:
        """What findings call it, as in mtls-true."""
        return "-".join(part for part in (
            self.kind, str(self.reuse_sessions).lower(), _OTHER if self.other else "") if part)

    def options(self, certs: Path) -> dict[str, Any]:
        """Return its ssl_options."""
        options: dict[str, Any] = {"reuse_sessions": self.reuse_sessions}
        if self.kind != "none":
            options |= {"verify": "verify_peer", "fail_if_no_peer_cert": self.kind == "mtls",
                        "cacertfile": str(certs / f"{_DOMAINS[self.other]}-ca.pem")}
        return options

    def domain(self, port: int, certs: Path) -> TrustDomain:
        """Return it as a trust domain."""
        of = _DOMAINS[self.other]
        return TrustDomain(self.name, port, *(str(certs / f"{of}-{file}.pem") for file in (
            "client-cert", "client-key", "ca", "ca-key")))


OPENED = (*(Opened("none", reuse) for reuse in (True, False)),
          *(Opened(kind, reuse, other) for kind in ("peer", "mtls") for reuse in (True, False)
            for other in (False, True)))
"""In the order of their ports; the first is ``ssl.default``."""


def variables(image: str, release: str, base_port: int, certs: Path) -> dict[str, Any]:
    """Return the inventory's variables of a node that has all of them."""
    listeners = {
        "default" if not number else one.name.replace("-", "_"): {
            **({"bind": base_port + number} if number else {}),
            "ssl_options": one.options(certs)}
        for number, one in enumerate(OPENED)}
    return {"emqx_driver": "docker", "emqx_image": image, "emqx_release": release,
            "emqx_certs_dir": str(certs), "emqx_certificate_domains": list(_DOMAINS),
            "emqx_listeners": {"ssl": listeners}}


def listeners(base_port: int, certs: Path) -> list[Listener]:
    """Return whom to ask: each listener but the twins, by a client that it lets in."""
    ports = {one: base_port + number for number, one in enumerate(OPENED)}
    client = OPENED[2].domain(0, certs)
    return [Listener(
        one.name, "127.0.0.1", ports[one], "127.0.0.1", client.client_cert, client.client_key,
        tuple(twin.domain(ports[twin], certs) for twin in OPENED
              if (twin.kind, twin.reuse_sessions) == (one.kind, one.reuse_sessions))
        if one.kind != "none" else ())
        for one in OPENED if not one.other]
