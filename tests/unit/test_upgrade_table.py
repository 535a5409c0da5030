"""docs/upgrade.md is what was measured and what the product's rules say, and these agree."""
from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    Release,
    ignores_reuse_sessions,
    otp_of,
    parse_release,
    reuses_by_default,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.reuse import (
    OFF_SINCE_SSL,
    off_unless_told,
    resumes,
    told_to_otp,
)

from upgrade_table import cells, page
from upgrade_table.__main__ import TableError, row_of

DATA = page.measured()
IMAGES = {image["otp"]: image for image in DATA["images"]}


def test_the_document_is_what_the_data_say() -> None:
    assert page.PAGE.read_text() == page.render(DATA), "run `make docs`"


def test_every_listener_was_measured_on_three_images() -> None:
    assert [otp.partition(".")[0] for otp in IMAGES] == ["25", "27", "29"]
    assert sorted((one["otp"], one["release"], one["listener"], one["reuse_sessions"])
                  for one in DATA["listeners"]) == sorted(
        product(IMAGES, cells.RELEASES, cells.VERIFY, (False, True)))


def test_what_was_measured_is_what_the_rules_say() -> None:
    for one in DATA["listeners"]:
        assert one["resumes"] is resumes(
            parse_release(one["release"]), value=one["reuse_sessions"],
            verify_peer=one["listener"] != "none",
            off=off_unless_told(ssl=IMAGES[one["otp"]]["ssl"])), one


def test_where_certificates_are_asked_for_it_is_safe_only_without_resumption() -> None:
    assert page.safe_cells(DATA) == {True: {"failed"}, False: {"skipped"}}
    assert {one["checks"]["SEC-06"]["status"] for one in DATA["listeners"]
            if one["listener"] != "none" and one["resumes"]} == {"failed"}


def test_every_release_is_in_one_line_with_one_rule() -> None:
    for major, minor, patch in product((5, 6), range(12), range(6)):
        release = Release(major, minor, patch)
        lines = [window.since for window in page.LINES.values() if release in window]
        if otp_of(release) is None:
            assert lines == []
            continue
        (first,) = lines
        assert [rule(release) for rule in (otp_of, ignores_reuse_sessions, reuses_by_default)] == [
            rule(first) for rule in (otp_of, ignores_reuse_sessions, reuses_by_default)], release
        assert [told_to_otp(release, value=value) for value in (True, False)] == [
            told_to_otp(first, value=value) for value in (True, False)], release


def test_the_rules_are_those_read_from_emqx_by_tag() -> None:
    facts = yaml.safe_load((Path(__file__).parents[1] / "data/emqx_ssl_listener_keys.yml")
                           .read_text())
    assert facts["defaults"]["reuse_sessions"] == {"<6.2": True, ">=6.2": False}
    assert [reuses_by_default(Release(*release)) for release in ((6, 1, 9), (6, 2))] == [
        True, False]
    ignored = [window.since for window in page.LINES.values()
               if ignores_reuse_sessions(window.since)]
    assert facts["defaults"]["reuse_sessions_ignored"] == [
        ">=5.9.0,<=5.10.2", ">=6.0.0,<=6.0.1", "==6.1.0"]
    assert ignored == [Release(5, 9), Release(6, 0), Release(6, 1)]
    for line, otp in facts["otp_release"].items():
        first, _, last = line.partition("-")
        assert {otp_of(parse_release(release)) for release in (first, last or first)} == {otp}


@pytest.mark.parametrize(("line", "otp", "verify_peer", "said"), [
    ("5.4 to 5.8", "26", True, ["resumes", "full", "resumes"]),
    ("5.9.0 to 5.10.2", "27", False, ["resumes", "resumes", "resumes"]),
    ("5.9.0 to 5.10.2", "27 from ssl 11.2.12.12 on", True, ["full", "full", "full"]),
    ("6.0.2 and later 6.0", "27", True, ["resumes", "full", "resumes"]),
    ("6.2", "28", False, ["resumes", "full", "full"]),
    ("6.2", "28 from ssl 11.6.0.5 on", True, ["full", "full", "full"])])
def test_rows(line: str, otp: str, *, verify_peer: bool, said: list[str]) -> None:
    (row,) = (row for row in page.rows()
              if (row.line, row.otp, row.verify_peer) == (line, otp, verify_peer))
    assert page.cells_of(row) == said


def test_a_row_names_an_image_only_where_its_own_erlang_was_measured() -> None:
    rests = {(row.otp, row.verify_peer): page.rests_on(row, DATA) for row in page.rows()}
    assert rests == {
        **{(otp, asked): "EMQX's sources ¹" for otp in ("24", "26", "28")
           for asked in (False, True)},
        **{(otp, asked): f"measured on {full}" for otp, full in (("25", "25.2.3"),
                                                                 ("27", "27.3.4.1"))
           for asked in (False, True)},
        ("27 from ssl 11.2.12.12 on", True): "erlang/otp#11478 ²",
        ("28 from ssl 11.6.0.5 on", True): "erlang/otp#11478 ²"}
    assert [off_unless_told(ssl=image["ssl"]) for image in IMAGES.values()] == [False, False, True]
    assert set(OFF_SINCE_SSL) == {27, 28, 29}


def _row(status: str, reason: str, image: dict[str, Any]) -> dict[str, Any]:
    return row_of(cells.Opened("mtls", reuse_sessions=True), "5.10.2", image, {
        "CORE-02": {"status": status, "reason": reason, "message": "what was seen"}})


def test_what_was_not_measured_or_not_foretold_is_no_cell() -> None:
    old, new = IMAGES["25.2.3"], IMAGES["29.1.2"]
    assert _row("passed", "", old)["resumes"] is True
    assert _row("failed", "not_resumed", new)["resumes"] is False
    with pytest.raises(TableError, match="was not measured: what was seen"):
        _row("error", "connection_refused", old)
    with pytest.raises(TableError, match=r"does not resume, and listeners/reuse\.py"):
        _row("failed", "not_resumed", old)
    with pytest.raises(TableError, match=r" resumes, and listeners/reuse\.py"):
        _row("passed", "", new)
