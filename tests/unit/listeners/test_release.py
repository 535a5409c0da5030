"""Releases: what is read, and what hangs on them."""
from __future__ import annotations

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    DEFAULT_RELEASE,
    Release,
    cluster_needs_licence,
    ignores_reuse_sessions,
    otp_of,
    otp_of_image,
    parse_release,
    release_of_image,
)


@pytest.mark.parametrize(("text", "release"), [
    ("5.8.6", Release(5, 8, 6)), ("5.8", Release(5, 8, 0)), ("v5.10.3", Release(5, 10, 3)),
    ("e5.8.6", Release(5, 8, 6)), ("5.8.6-rc.1", Release(5, 8, 6)),
    ("5.8.6-elixir", Release(5, 8, 6)), ("6.1.1+build7", Release(6, 1, 1)),
])
def test_release_is_read(text: str, release: Release) -> None:
    assert parse_release(text) == release


@pytest.mark.parametrize("text", ["", "latest", "5", "5.x", "five.eight", "4.4.19", "5.8.6.1x y"])
def test_what_is_no_supported_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an EMQX release|not supported"):
        parse_release(text)


def test_order_is_numeric() -> None:
    assert parse_release("5.10.0") > parse_release("5.9.1") > parse_release("5.8.9")


def test_default_release_clusters_without_licence_and_honours_reuse_sessions() -> None:
    release = parse_release(DEFAULT_RELEASE)
    assert not cluster_needs_licence(release)
    assert not ignores_reuse_sessions(release)


@pytest.mark.parametrize(("release", "ignored"), [
    ("5.3.2", False), ("5.8.9", False), ("5.9.0", True), ("5.10.2", True), ("5.10.3", False),
    ("6.0.1", True), ("6.0.2", False), ("6.1.0", True), ("6.1.1", False), ("6.2.0", False),
])
def test_releases_that_ignore_reuse_sessions(release: str, ignored: bool) -> None:
    assert ignores_reuse_sessions(parse_release(release)) is ignored


@pytest.mark.parametrize(("image", "release"), [
    ("emqx/emqx:5.8.6", Release(5, 8, 6)), ("emqx/emqx:5.8.6-elixir", Release(5, 8, 6)),
    ("registry.example:5000/emqx/emqx:v5.10.0", Release(5, 10, 0)),
    ("emqx/emqx:5.8.6@sha256:00ff", Release(5, 8, 6)),
    ("emqx/emqx", None), ("emqx/emqx:latest", None), ("embedded:25", None),
    ("old/emqx:4.4.1", None),
    ("registry.example:5000/emqx", None),
])
def test_release_of_image(image: str, release: Release | None) -> None:
    assert release_of_image(image) == release


@pytest.mark.parametrize(("release", "otp"), [
    ("5.0.26", 24), ("5.1.0", 25), ("5.3.2", 25), ("5.4.0", 26), ("5.8.9", 26), ("5.9.0", 27),
    ("6.0.2", 27), ("6.1.0", 28), ("6.2.0", 28), ("6.3.0", 28), ("6.4.0", None)])
def test_otp_of_a_release_is_said_only_where_it_was_looked_up(
        release: str, otp: int | None) -> None:
    assert otp_of(parse_release(release)) == otp


@pytest.mark.parametrize(("image", "otp"), [
    ("embedded-otp-node:otp29", "29"),
    ("registry.example:5000/mine:otp29.0.5@sha256:00ff", "29.0.5"),
    ("emqx/emqx:5.8.6", None), ("embedded-otp-node", None), ("otp29", None),
    ("x:otp", None), ("x:otp29-rc1", None)])
def test_otp_of_an_image_is_what_its_tag_names(image: str, otp: str | None) -> None:
    assert otp_of_image(image) == otp
