"""Reason tokens: what a check may come to, beside its own what may become of any connection."""
from __future__ import annotations

import re
from collections.abc import Mapping

from ..hints import CAUSES
from .check import Check

OF_ANY: Mapping[str, str] = {
    "refused": "it refuses a connection with a fatal alert",
    "inconsistent": "the witnesses disagree",
    "mqtt_failed": "TLS works, and MQTT on it does not"}
"""What any check may fail for, each in one clause."""
_NOT_MEASURED = re.compile(
    "precondition|needs_.*|not_whole|driver_failed|harness_error|nothing_in_common|"
    "cipher_not_spoken|client_key_not_spoken")
"""Why a check that was planned has measured nothing."""


def of(check: Check) -> Mapping[str, str]:
    """Return the reasons of a check, each with what it says of a node."""
    return {**check.reasons, **OF_ANY}


def may_come_to(check: Check, reason: str) -> bool:
    """Tell whether a check that measures a subject may give this reason; a pass has none."""
    return (not reason or reason in of(check) or reason in CAUSES
            or _NOT_MEASURED.fullmatch(reason) is not None)
