"""Findings for the page: what failed first, what says the same once."""
from __future__ import annotations

from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.report import page_findings

from tests.support.result_objects import finding, handshake, run


def results(*checks: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return run(3, checks=list(checks), **changed)


def shown(document: dict[str, Any]) -> list[page_findings.ShownCheck]:
    return [check for family in page_findings.families(document) for check in family.checks]


def test_what_failed_comes_first_and_the_rest_stays_in_order() -> None:
    document = results(
        finding("CORE-01", "n1"), finding("CORE-02", "n1", "error", "timeout"),
        finding("CORE-03", "n1->n2", "failed", "x"), finding("CORE-04", "n1", "warned", "x"),
        finding("SEC-01", "n1"), finding("NEG-01", "n1", "failed", "x"))
    families = page_findings.families(document)
    assert [family.name for family in families] == ["CORE", "NEG", "SEC"]
    assert [check.id for check in families[0].checks] == [
        "CORE-03", "CORE-02", "CORE-01", "CORE-04"]
    assert [(check.id, group.status) for check, group in page_findings.problems(families)] == [
        ("CORE-03", "failed"), ("NEG-01", "failed"), ("CORE-02", "error")]


def test_the_same_said_of_several_subjects_is_said_once() -> None:
    document = results(
        *(finding("NEG-01", f"n{number}", "failed", "refused",
                  message=f"n{number} (127.0.0.1:{number}): alert") for number in (1, 2)),
        finding("NEG-01", "n3", "failed", "refused", message="n3 (127.0.0.1:3): another alert"))
    [check] = shown(document)
    [group] = check.groups
    assert (check.share, group.count) == ("3 findings", 3)
    assert [(variant.message, variant.subjects) for variant in group.variants] == [
        ("n1 (127.0.0.1:1): alert", ["n1", "n2"]), ("n3 (127.0.0.1:3): another alert", ["n3"])]


def test_the_names_of_a_pair_are_told_apart() -> None:
    document = results(*(
        finding("CORE-03", f"{issuer}->{redeemer}", "failed", "x",
                message=f"{redeemer} resumed a session that {issuer} issued")
        for issuer, redeemer in (("n1", "n2"), ("n2", "n1"))),
        finding("CORE-03", "n1->n3", "failed", "x", message="n1 resumed a session of n3"))
    [check] = shown(document)
    assert [variant.subjects for variant in check.groups[0].variants] == [
        ["n1->n2", "n2->n1"], ["n1->n3"]]


def test_reasons_are_apart_and_the_worst_is_first() -> None:
    document = results(finding("NEG-01", "n1"), finding("NEG-01", "n2", "failed", "a"),
                       finding("NEG-01", "n3", "failed", "b"))
    [check] = shown(document)
    assert [(group.anchor, group.status, group.reason) for group in check.groups] == [
        ("NEG-01-1", "failed", "a"), ("NEG-01-2", "failed", "b"), ("NEG-01-3", "passed", "")]
    assert (check.worst, check.share) == ("failed", "2 of 3")


def test_a_pass_is_not_hidden_by_what_was_skipped() -> None:
    document = results(finding("SEC-02", "n1"), finding("SEC-02", "n2", "skipped", "precondition"),
                       finding("SEC-02", "n3", "skipped", "precondition"))
    [check] = shown(document)
    assert (check.worst, check.share) == ("passed", "1 finding, 2 skipped")


def test_of_much_evidence_one_of_every_kind_is_shown_and_the_rest_counted() -> None:
    handshakes = {f"h{number:05d}": handshake("n1", "resumed", port=1) for number in range(1, 100)}
    handshakes["h00077"] = handshake("n1", "full", port=1)
    document = results(
        finding("CORE-07", "n1", "warned", "not_resumed", evidence={"handshakes": [*handshakes]}),
        finding("CORE-05", "n1", evidence={"handshakes": [*handshakes]}), handshakes=handshakes)
    by_id = {check.id: check.groups[0].variants[0] for check in shown(document)}
    warned, passed = by_id["CORE-07"], by_id["CORE-05"]
    keys = [item.key for item in warned.evidence]
    assert keys == [*(f"h{number:05d}" for number in range(1, 16)), "h00077"]
    assert (len(passed.evidence), warned.more_evidence, passed.more_evidence) == (4, 83, 95)
    assert sorted({*keys}) == sorted({*page_findings.evidence(page_findings.families(document))})
    assert warned.evidence[0].told == "n1: resumed in 2.50 ms"
    assert warned.evidence[0].flow.startswith(
        "library and wire agree: resumed; offered no ID, answered no ID; → ClientHello, ← ServerH")


def test_evidence_that_results_do_not_hold_is_counted_only() -> None:
    document = results(finding("CORE-05", "n1", evidence={"handshakes": ["h09999"]}))
    [check] = shown(document)
    variant = check.groups[0].variants[0]
    assert (variant.evidence, variant.more_evidence) == ([], 1)


def test_subjects_and_sentences_beyond_reading_are_counted() -> None:
    document = results(*(finding("CORE-04", f"n{number}", "failed", "x", message=f"{number % 20}")
                         for number in range(8000)))
    [check] = shown(document)
    [group] = check.groups
    assert (len(group.variants), group.more_variants) == (12, 8)
    first = group.variants[0]
    assert (len(first.subjects), first.more_subjects) == (300, 100)


def test_figures_are_told_and_long_ones_cut() -> None:
    document = results(finding("LIFE-04", "n1", data={"session_ids": 3, "curve": [*range(999)],
                                                      "sentence": "It is so."}))
    [check] = shown(document)
    figures = dict(check.groups[0].variants[0].figures)
    assert (figures["session ids"], figures["sentence"]) == ("3", "It is so.")
    assert figures["curve"].endswith("… (all of it is in results.json)")


def test_what_went_wrong_comes_with_lines_to_see_it_by_hand() -> None:
    document = results(finding("CORE-02", "n2", "failed", "not_resumed"), finding("CORE-01", "n1"))
    failed, passed = (check.groups[0].variants[0].recipe for check in shown(document))
    assert passed is None
    assert failed is not None
    assert "openssl s_client -connect 127.0.0.1:2 " in failed.lines[2]


def test_other_listeners_of_a_node_are_told_by_their_ports() -> None:
    made = {"h00001": handshake("n1", "full", port=1), "h00002": handshake("n1", "full", port=9),
            "h00003": {**handshake("n1", "full")}}
    del made["h00003"]["port"]  # as in older results
    document = results(finding("SEC-01", "n1", "failed", "x", evidence={"handshakes": [*made]}),
                       handshakes=made)
    [check] = shown(document)
    assert [item.told.partition(":")[0] for item in check.groups[0].variants[0].evidence] == [
        "n1", "n1 port 9", "n1"]
