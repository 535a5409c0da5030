"""What a node is, and how that was learnt."""
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from .mqtt.client import Connack

_RELEASE = re.compile(r"([1-9][0-9]*)(\.[0-9]+)*")


def major_of(release: str | None) -> int | None:
    """Return 25 of ``25`` and of ``25.2.3``; None of what is no Erlang/OTP release."""
    match = _RELEASE.fullmatch(release or "")
    return int(match[1]) if match else None


@dataclass(frozen=True)
class DeclaredOtp:
    """The Erlang/OTP release of a node, as the inventory says it."""

    release: str
    how: str
    """Which variable says so, in one clause."""


@dataclass(frozen=True)
class Identity:
    """Product and release of a node. A verdict always names what was verified."""

    product: str
    version: str | None
    otp_release: str | None
    how_identified: str

    @classmethod
    def unknown(cls, why: str) -> Identity:
        """Return the identity of a node that did not tell."""
        return cls("unknown", None, None, why)

    def completed(self, declared: DeclaredOtp | None) -> Identity:
        """Return this with the declared Erlang/OTP release, if the node told none."""
        if declared is None or self.otp_release is not None:
            return self
        return replace(self, otp_release=declared.release,
                       how_identified=f"{self.how_identified}; Erlang/OTP {declared.release} "
                                      f"{declared.how}")

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"product": self.product, "version": self.version,
                "otp_release": self.otp_release, "how_identified": self.how_identified}


def from_connack(connack: Connack) -> Identity:
    """Return what a node says of itself in its CONNACK (User Property, MQTT 5 3.2.2.3.10)."""
    if connack.version != "5":
        return Identity.unknown(f"MQTT {connack.version} gives a target no way to name itself")
    told = dict(connack.user_properties)
    if "product" not in told:
        return Identity.unknown("the target does not name itself in its MQTT 5 CONNACK")
    # What a stand-in says it is not belongs to its name, wherever that is shown.
    product = f"{told['product']} ({told['note']})" if told.get("note") else told["product"]
    return Identity(product, told.get("version"), told.get("otp_release"),
                    "told by the user properties of its MQTT 5 CONNACK")
