"""Which test certificates are generated, and what their files are called and hold.

Only names: who checks an inventory knows from them what the deploy is about to make.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DOMAIN_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,31}")
"""How a trust domain may be called that certificates are made for: it begins the names of files."""
KEY_TYPES: Mapping[str, str] = {"rsa": "RSA", "ecdsa": "EC"}
"""What ``emqx_certificate_key_type`` says -> the key's type in TLS's words."""


@dataclass(frozen=True)
class Role:
    """What one certificate of a directory is for."""

    kind: str
    """``ca``, ``server`` or ``client``."""
    prefix: str = ""
    """What its files' names begin with: ``domain1-``, or nothing."""
    domain: str = ""
    """The trust domain whose CA it is or was signed by; empty for that of the servers."""

    @property
    def certificate(self) -> str:
        """Name of its certificate's file."""
        return f"{self.prefix}ca.pem" if self.kind == "ca" else f"{self.prefix}{self.kind}-cert.pem"

    @property
    def key(self) -> str:
        """Name of its private key's file."""
        return f"{self.prefix}{self.kind}-key.pem"

    @property
    def issuer(self) -> Role:
        """The CA that signs it."""
        return Role("ca", f"{self.domain}-" if self.domain else "", self.domain)


CA, SERVER, CLIENT = Role("ca"), Role("server"), Role("client")
OTHER_SERVER = Role("server", "other-")
"""What listeners have that do not share the servers' certificate; made with trust domains only."""


def roles(domains: Iterable[str] = ()) -> tuple[Role, ...]:
    """Return what a directory with these trust domains holds, every CA before what it signs."""
    made = [CA, SERVER, CLIENT]
    for domain in dict.fromkeys(domains):
        made += [Role("ca", f"{domain}-", domain), Role("client", f"{domain}-", domain)]
    return (*made, OTHER_SERVER) if len(made) > 3 else tuple(made)
