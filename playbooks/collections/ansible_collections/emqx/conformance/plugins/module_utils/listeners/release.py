"""EMQX releases: parsing, order, and what hangs on them."""
from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_RELEASE = "5.8.9"
"""What a configuration is validated as when nobody names a release: the newest 5.8.x, the last
release line that clusters without a licence key."""

_PATTERN = re.compile(r"[ve]?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+.][0-9A-Za-z.+-]+)?")


@dataclass(frozen=True, order=True)
class Release:
    """A released EMQX version; pre-release and build suffixes do not matter to its schema."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_release(text: str) -> Release:
    """Read ``5.8.6``, ``5.8``, ``v5.8.6``, ``e5.8.6`` or ``5.8.6-rc.1``; raise ValueError else."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not an EMQX release such as {DEFAULT_RELEASE}')
    release = Release(*(int(number or 0) for number in match.groups()))
    if release < Release(5, 0):
        raise ValueError(f"EMQX {release} is not supported: its listeners are not HOCON; "
                         "5.0.0 is the oldest that is")
    return release


def release_of_image(image: str) -> Release | None:
    """Return the release that an image's tag names, or None when the tag is not a release."""
    _, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    if not re.fullmatch(r"[ve]?\d+\.\d+\.\d+([-+.].*)?", tag):
        return None
    try:
        return parse_release(tag)
    except ValueError:
        return None


def otp_of_image(image: str) -> str | None:
    """Return the Erlang/OTP release that an image's tag names, as those of the local images do."""
    _, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    named = re.fullmatch(r"otp(\d+(?:\.\d+)*)", tag)
    return named[1] if named else None


@dataclass(frozen=True)
class Window:
    """Releases from ``since`` (inclusive) to ``before`` (exclusive; None means still so)."""

    since: Release
    before: Release | None = None

    def __contains__(self, release: Release) -> bool:
        return self.since <= release and (self.before is None or release < self.before)


REUSE_SESSIONS_IGNORED = (
    Window(Release(5, 9, 0), Release(5, 10, 3)),
    Window(Release(6, 0, 0), Release(6, 0, 2)),
    Window(Release(6, 1, 0), Release(6, 1, 1)),
)
"""Releases on which sessions are always reused, whatever ``reuse_sessions`` says
(emqx/emqx#16456, #16461, #16547)."""

REUSE_SESSIONS_OFF_SINCE = Release(6, 2)
"""First release on which ``reuse_sessions`` is false where nobody sets it."""

CLUSTER_LICENCE_SINCE = Release(5, 9, 0)
"""First release whose clusters of several nodes need a licence key."""


_OTP = (
    (Window(Release(5, 0), Release(5, 1)), 24), (Window(Release(5, 1), Release(5, 4)), 25),
    (Window(Release(5, 4), Release(5, 9)), 26), (Window(Release(5, 9), Release(6, 1)), 27),
    (Window(Release(6, 1), Release(6, 4)), 28))
"""The Erlang/OTP that EMQX's own packages and images are built with (its sources, by tag)."""


def otp_of(release: Release) -> int | None:
    """Return the major Erlang/OTP release of an EMQX release; None where it was not looked up."""
    return next((otp for window, otp in _OTP if release in window), None)


def reads_password_files(release: Release) -> bool:
    """Tell whether ``password: file:///…`` is the file's content and not the passphrase itself."""
    return release >= Release(5, 8, 2)


def separates_access_rules(release: Release) -> bool:
    """Tell whether one string may hold several access rules (emqx/emqx#13012)."""
    return release >= Release(5, 7)


def ignores_reuse_sessions(release: Release) -> bool:
    """Tell whether this release reuses sessions even when told not to."""
    return any(release in window for window in REUSE_SESSIONS_IGNORED)


def reuses_by_default(release: Release) -> bool:
    """Return the value that ``reuse_sessions`` has in this release where nobody sets it."""
    return release < REUSE_SESSIONS_OFF_SINCE


def cluster_needs_licence(release: Release) -> bool:
    """Tell whether two or more nodes of this release need a licence key."""
    return release >= CLUSTER_LICENCE_SINCE
