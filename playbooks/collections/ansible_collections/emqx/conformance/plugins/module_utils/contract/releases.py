"""Which EMQX and which Erlang/OTP the nodes run, as far as the inventory tells."""
from __future__ import annotations

import shutil

from ..identity import major_of
from ..listeners.release import (
    CLUSTER_LICENCE_SINCE,
    DEFAULT_RELEASE,
    Release,
    cluster_needs_licence,
    otp_of,
    otp_of_image,
    parse_release,
    release_of_image,
)
from ..listeners.reuse import installed_ssl, off_unless_told
from .values import Values


def image_releases(values: Values) -> dict[str, Release]:
    """Return image -> release for the nodes' images whose tags name one."""
    if values.shared("emqx_driver") != "docker":
        return {}
    images = dict.fromkeys(values.of(host, "emqx_image") for host in values.hosts)
    return {image: release for image in images if (release := release_of_image(image))}


def release_of(values: Values) -> Release:
    """Return the release to validate for: what is said, else the image's, else the default.

    Nodes of several releases, as in a rolling upgrade, must boot from keys that the oldest knows.

    Raises:
        ValueError: what is said is no release.
    """
    if told := values.shared("emqx_release"):
        return parse_release(told)
    return min(image_releases(values).values(), default=parse_release(DEFAULT_RELEASE))


def problems_of(values: Values) -> list[str]:
    """Return what is wrong with the releases: they contradict each other, or need a licence."""
    try:
        release = release_of(values)
    except ValueError as error:
        return [f"emqx_release ({values.where('emqx_release')}): {error}."]
    images, count = image_releases(values), len(values.hosts)
    problems = [f"emqx_release is {release}, but emqx_image is {image}: leave emqx_release out "
                f"or make them agree."
                for image, by_image in images.items()
                if values.shared("emqx_release") and by_image != release]
    newest = max([release, *images.values()])
    if (values.shared("emqx_driver") == "docker" and count > 1 and cluster_needs_licence(newest)
            and not values.shared("emqx_license")):
        problems.append(f"emqx_license is missing: from {CLUSTER_LICENCE_SINCE} on EMQX needs a "
                        f"licence key for a cluster, and this one has {count} nodes of EMQX "
                        f"{newest}; set emqx_license, take EMQX {DEFAULT_RELEASE} or one node.")
    return problems


def otp_problems(values: Values) -> list[str]:
    """Return the Erlang/OTP releases that are none."""
    return [f"emqx_otp_release of {host} must be an Erlang/OTP release such as 27 or "
            f'27.3.4, not "{told}".' for host in values.hosts
            if (told := values.of(host, "emqx_otp_release"))
            and major_of(told) is None]


def declared_otp(values: Values, host: str) -> dict[str, str] | None:
    """Return a node's Erlang/OTP release as far as the inventory says it, and how it does.

    Of nodes deployed from here emqx_release says how to write their configuration, and no more.
    """
    if told := values.of(host, "emqx_otp_release"):
        return {"release": told, "how": "as emqx_otp_release declares"}
    release = values.shared("emqx_release")
    if not release or values.shared("emqx_driver") != "external":
        return None
    try:
        otp = otp_of(parse_release(release))
    except ValueError:
        return None  # refused elsewhere, in words
    return None if otp is None else {
        "release": str(otp), "how": f"which EMQX {release} is built with, as emqx_release declares"}


def stacks_off_unless_told(values: Values) -> dict[str, str]:
    """Return host -> its Erlang/OTP in words, where that resumes nothing unless told to."""
    stacks = {host: _stack(values, host) for host in values.hosts}
    return {host: words for host, (words, off) in stacks.items() if off}


def _stack(values: Values, host: str) -> tuple[str, bool | None]:
    """Return a node's Erlang/OTP in words, and whether it resumes nothing unless told to."""
    if told := values.of(host, "emqx_otp_release"):
        return f"its Erlang/OTP {told}, as emqx_otp_release says,", off_unless_told(otp=told)
    if values.shared("emqx_driver") == "embedded":
        ssl = _ssl_here()
        return f"the Erlang/OTP of this machine (ssl {ssl})", off_unless_told(ssl=ssl)
    image = values.of(host, "emqx_image")
    otp = otp_of_image(image)
    return f"the Erlang/OTP {otp} of {image}", off_unless_told(otp=otp)


def erlang(values: Values, host: str,
           release: Release) -> tuple[str, bool | None]:
    """Return a node's Erlang/OTP in words, and whether it resumes nothing unless told to.

    Of EMQX's own images it is what EMQX is built with; none so far has the new default.
    """
    if told := values.of(host, "emqx_otp_release"):
        return f"Erlang/OTP {told}", off_unless_told(otp=told)
    if values.shared("emqx_driver") == "embedded":
        ssl = _ssl_here()
        return f"Erlang/OTP's ssl {ssl}", off_unless_told(ssl=ssl)
    if otp := otp_of_image(values.of(host, "emqx_image")):
        return f"Erlang/OTP {otp}", off_unless_told(otp=otp)
    built_with = otp_of(release)
    return ("an Erlang/OTP that is not known", None) if built_with is None else (
        f"Erlang/OTP {built_with}", False)


def _ssl_here() -> str | None:
    erl = shutil.which("erl")
    return installed_ssl(erl) if erl else None


def is_emqx(values: Values, host: str) -> bool:
    """Tell whether a node is EMQX, as far as its image's tag tells."""
    return (values.shared("emqx_driver") == "docker"
            and otp_of_image(values.of(host, "emqx_image")) is None)
