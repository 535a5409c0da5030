"""What EMQX tells Erlang/OTP of ``reuse_sessions``, and what OTP does when it is told nothing.

From ssl 11.7.5 (OTP 29.0.6), 11.6.0.5 (OTP 28) and 11.2.12.12 (OTP 27) on, a listener with
``verify_peer`` resumes no session unless it is told to (erlang/otp#11478).
"""
from __future__ import annotations

import re
from pathlib import Path

from .release import Release, ignores_reuse_sessions

TRUE_OMITTED_SINCE = Release(5, 9)
"""First release that tells OTP nothing where ``reuse_sessions`` is true (its emqx_tls_lib)."""

OFF_SINCE_SSL = {27: (11, 2, 12, 12), 28: (11, 6, 0, 5), 29: (11, 7, 5)}
"""By Erlang/OTP: the first ssl application with the new default."""

_OTP_OFF_FROM = (29, 0, 6)
_OLDEST_OTP_WITH_IT = 27
_NUMBERS = re.compile(r"\d+(\.\d+)*")


def told_to_otp(release: Release, *, value: bool) -> bool | None:
    """Return what EMQX of a release passes on of ``reuse_sessions``; None: nothing."""
    if ignores_reuse_sessions(release) or (value and release >= TRUE_OMITTED_SINCE):
        return None
    return value


def off_unless_told(*, otp: str | None = None, ssl: str | None = None) -> bool | None:
    """Tell whether OTP resumes nothing with ``verify_peer`` unless told to; None: not known.

    Args:
        otp: Erlang/OTP release such as ``27`` or ``29.0.6``. Of 29 without more the newest is
            meant; what 27 and 28 do hangs on their ssl application.
        ssl: version of the ssl application such as ``11.7.5``; it outranks ``otp``.
    """
    if version := _numbers(ssl):
        return version >= OFF_SINCE_SSL[29] or any(
            version[:2] == first[:2] and version >= first for first in OFF_SINCE_SSL.values())
    release = _numbers(otp)
    if not release or _OLDEST_OTP_WITH_IT <= release[0] < _OTP_OFF_FROM[0]:
        return None
    return release == _OTP_OFF_FROM[:1] or release >= _OTP_OFF_FROM


def resumes(release: Release, *, value: bool, verify_peer: bool,
            off: bool | None) -> bool | None:
    """Tell whether a listener of EMQX resumes sessions; None: that hangs on what is not known.

    Args:
        release: the EMQX.
        value: its ``reuse_sessions``.
        verify_peer: whether it asks for client certificates (``verify = verify_peer``).
        off: what :func:`off_unless_told` says of its Erlang/OTP.
    """
    told = told_to_otp(release, value=value)
    if told is not None:
        return told
    if not verify_peer:
        return True
    return None if off is None else not off


def installed_ssl(erl: str) -> str | None:
    """Return the version of the ssl application that belongs to a program ``erl``.

    None where its installation is not laid out as Erlang/OTP's own is. Nothing is started.
    """
    root = Path(erl).resolve().parent.parent
    found = [version for path in root.glob("lib/ssl-*")
             if (version := path.name.removeprefix("ssl-")) and _numbers(version)]
    # As Erlang's code server does.
    return max(found, key=_numbers, default=None)


def _numbers(text: str | None) -> tuple[int, ...]:
    """Return the numbers of a version; none of what is no version."""
    if text is None or not _NUMBERS.fullmatch(text):
        return ()
    return tuple(int(number) for number in text.split("."))
