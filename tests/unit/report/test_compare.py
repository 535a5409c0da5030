"""What changed since an earlier run: which files are taken, what counts, and how it is told."""
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import vantage
from ansible_collections.emqx.conformance.plugins.module_utils.report.compare import (
    CompareError,
    Previous,
    compared,
    find,
    load,
    told,
)

from tests.support.openssl_broker import Broker, make_certificate
from tests.support.whole_run import whole_run

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/results.schema.json").read_text())
EARLIEST = Path(__file__).with_name("earliest_results.json")
"""As the first version of this project wrote it that had a results.json, of two nodes."""


def finding(check: str, subject: str, status: str = "passed", reason: str = "",
            **changed: Any) -> dict[str, Any]:
    return {"id": check, "subject": subject, "status": status, "reason": reason, **changed}


def cell(issuer: str, redeemer: str, outcome: str, reason: str = "") -> dict[str, Any]:
    return {"issuer": issuer, "redeemer": redeemer, "outcome": outcome, "reason": reason,
            "passed": not reason}


def run(times: dict[str, list[float]] | None = None, *, checks: list[dict[str, Any]] | None = None,
        matrix: list[dict[str, Any]] | None = None, nodes: tuple[str, ...] = ("n1", "n2"),
        **changed: Any) -> dict[str, Any]:
    times = times or {"full": [20.0], "resumed": [4.0]}
    handshakes = [{"outcome": kind, "endpoint": "n1", "handshake_ms": one, "version": "tlsv1.2"}
                  for kind, taken in times.items() for one in taken]
    return {
        "schema_version": "1.0", "started_at": "2026-01-01T10:20:30.000Z", "verdict": "passed",
        "complete": True, "headline": "fine",
        "target": {"driver": "external", "product": "EMQX", "version": "5.8.9",
                   "otp_release": "26"},
        "nodes": [{"name": name, "product": "EMQX", "version": "5.8.9", "otp_release": "26"}
                  for name in nodes],
        "checks": checks or [finding("CORE-01", "n1")],
        "matrix": matrix or [cell("n1", "n1", "resumed")],
        "latency": {kind: {"count": len(taken), "p50_ms": sorted(taken)[(len(taken) - 1) // 2],
                           "p95_ms": max(taken)} for kind, taken in times.items()},
        "handshakes": {f"h{number:05d}": one for number, one in enumerate(handshakes, 1)},
        **changed}


def comparison(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    whole = compared(now, Previous.of("reports/before", before))
    found: dict[str, Any] = whole["comparison"]
    schema = {"$defs": SCHEMA["$defs"], **SCHEMA["properties"]["comparison"]}
    jsonschema.validate(found, schema)
    return found


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["what"], one["subject"], one["before"], one["now"], one["kind"])
            for one in comparison(before, now)["changes"]]


def sentences(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str]]:
    return told(compared(now, Previous.of("reports/before", before)))


# -- Which files are taken ------------------------------------------------------------------------

def test_a_folder_its_file_and_the_link_to_the_latest_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "2026-01-01T10-20-30Z"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(run()))
    (tmp_path / "latest").symlink_to(folder.name)
    for path in (folder, folder / "results.json", tmp_path / "latest"):
        assert find(path) == folder / "results.json"
        assert load(path).shown == str(folder)
        assert load(path, tmp_path.parent).shown == f"{tmp_path.name}/{folder.name}"
        assert load(path, Path("/nowhere")).shown == str(folder)
    renamed = tmp_path / "before.json"
    (folder / "results.json").rename(renamed)
    assert load(renamed).shown == str(renamed)


@pytest.mark.parametrize(("content", "says"), [
    (None, "results.json does not exist: name the folder of an earlier run"),
    (b"", "it is not JSON"), (b"\xff\xfe", "it is not text"), (b"[1]", "it has no schema_version"),
    (b'"x"', "it has no schema_version"), (b"{}", "it has no schema_version"),
    (b"[" * 100_000, "results.json is no results.json"),
    (b'{"schema_version": "one"}', 'its schema_version is "one"'),
    (b'{"schema_version": "1.0"}', "is damaged: parts of it are missing"),
    (b'{"schema_version": "1.1"}', "1.1, and 1.0 is the newest that is known here"),
    (b'{"schema_version": "2.0", "checks": 1}', "written by a newer version of this project")])
def test_what_is_no_earlier_result_is_refused_in_one_sentence(
        content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CompareError) as refused:
        load(path)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("key", ["checks", "matrix", "nodes", "latency", "target", "verdict",
                                 "started_at"])
@pytest.mark.parametrize("wrong", [None, 3, {"x": 1}, [1]])
def test_a_damaged_result_is_refused(key: str, wrong: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**run(), key: wrong}))
    if (key, wrong) == ("target", {"x": 1}):
        assert load(path)
        return
    with pytest.raises(CompareError, match="damaged"):
        load(path)


def test_a_folder_without_a_result_and_a_loop_of_links(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match=r"has no results\.json: name the folder"):
        find(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CompareError, match=r"cannot be read|does not exist"):
        find(tmp_path / "loop")


def test_the_earliest_result_still_loads() -> None:
    earliest = json.loads(EARLIEST.read_text())
    previous = load(EARLIEST)
    assert previous.results["verdict"] == "passed"
    assert len(previous.times["resumed"]) > len(previous.times["full"]) > 0
    assert told(compared(earliest, previous))[0][0].startswith("Nothing changed since ")


# -- What counts ----------------------------------------------------------------------------------

def test_nothing_changed() -> None:
    assert changes(run(), run()) == []
    head, noise = sentences(run(), run())
    assert head == ("Nothing changed since reports/before (passed, 2026-01-01 10:20 UTC)", "head")
    assert noise[0] == (
        "Handshake times lie within the spread of both runs, so how they differ is noise: full "
        "p50 20.0 -> 20.0 ms (x 1.00), p95 20.0 -> 20.0 ms (x 1.00); resumed p50 4.0 -> 4.0 ms "
        "(x 1.00), p95 4.0 -> 4.0 ms (x 1.00)")
    assert told(run()) == []


@pytest.mark.parametrize(("before", "now", "kind"), [
    (("passed", ""), ("failed", "not_resumed"), "worse"),
    (("failed", "not_resumed"), ("passed", ""), "better"),
    (("failed", "not_resumed"), ("known", "not_resumed"), "better"),
    (("known", "x"), ("warned", "x"), "other"),
    (("failed", "x"), ("failed", "y"), "other"),
    (("passed", ""), ("skipped", "precondition"), "other"),
    (("info", ""), ("error", "timeout"), "worse")])
def test_a_finding_changes_by_status_or_reason(before: tuple[str, str], now: tuple[str, str],
                                               kind: str) -> None:
    found = changes(run(checks=[finding("CORE-02", "n1", *before)]),
                    run(checks=[finding("CORE-02", "n1", *now)]))
    shown = [f"{status} ({reason})" if reason else status for status, reason in (before, now)]
    assert found == [("CORE-02", "n1", *shown, kind)]


def test_another_message_of_the_same_finding_is_no_change() -> None:
    assert changes(run(checks=[finding("CORE-02", "n1", message="took 3 ms")]),
                   run(checks=[finding("CORE-02", "n1", message="took 4 ms")])) == []


def test_pairs_change_by_outcome() -> None:
    found = changes(
        run(matrix=[cell("n1", "n1", "resumed"), cell("n1", "n2", "full"),
                    cell("n2", "n1", "not_measured", "not_sampled"), cell("n2", "n2", "resumed")]),
        run(matrix=[cell("n1", "n1", "full", "not_resumed"), cell("n1", "n2", "full"),
                    cell("n2", "n1", "full"),
                    cell("n2", "n2", "not_measured", "interrupted")]))
    assert found == [("matrix", "n1->n1", "resumed", "full (not_resumed)", "worse")]


def test_nodes_come_go_and_are_upgraded_and_their_findings_come_and_go_with_them() -> None:
    before = run(checks=[finding("CORE-01", "n1"), finding("CORE-01", "n2")])
    now = run(nodes=("n1", "n3"), checks=[finding("CORE-01", "n1"), finding("CORE-01", "n3")])
    now["nodes"][0]["otp_release"] = "27"
    now["target"]["otp_release"] = "26, 27"
    assert changes(before, now) == [
        ("target", "Erlang/OTP", "26", "26, 27", "other"),
        ("node", "n1", "EMQX 5.8.9, Erlang/OTP 26", "EMQX 5.8.9, Erlang/OTP 27", "other"),
        ("node", "n3", None, "EMQX 5.8.9, Erlang/OTP 26", "other"),
        ("node", "n2", "EMQX 5.8.9, Erlang/OTP 26", None, "other")]


def test_a_check_that_one_run_has_not_measured_anywhere_is_compared_as_a_whole() -> None:
    left_out = finding("CORE-07", "cluster", "skipped", "impact_not_allowed")
    here = [finding("CORE-01", "n1")]
    measured = [finding("CORE-07", "n1"), finding("CORE-07", "n2", "warned", "not_resumed")]
    assert changes(run(checks=[*here, *measured]), run(checks=[*here, left_out])) == [
        ("check", "CORE-07", "warned (not_resumed)", "skipped (impact_not_allowed)", "other")]
    assert changes(run(checks=here), run(checks=[*here, *measured])) == [
        ("check", "CORE-07", None, "warned (not_resumed)", "worse")]
    assert changes(run(checks=[*here, *measured]), run(checks=here)) == [
        ("check", "CORE-07", "warned (not_resumed)", None, "other")]


def test_what_a_run_did_not_come_to_is_no_change() -> None:
    for reason in ("interrupted", "not_measured"):
        assert changes(run(checks=[finding("CORE-01", "n1")]),
                       run(checks=[finding("CORE-01", "n1", "error", reason)]))[1:] == []


def data(check: str, **figures: Any) -> dict[str, Any]:
    return finding(check, "n1", data=figures)


@pytest.mark.parametrize(("before", "now", "changed"), [
    (data("LB-01", rate=0.33, rate_95=[0.23, 0.46]), data("LB-01", rate=0.4, rate_95=[0.3, 0.5]),
     False),
    (data("LB-01", rate=0.33, rate_95=[0.23, 0.46]), data("LB-01", rate=1.0, rate_95=[0.94, 1.0]),
     True),
    (data("LIFE-04", curve=[1], remembered=1000), data("LIFE-04", curve=[1], remembered=970),
     False),
    (data("LIFE-04", curve=[1], remembered=1000), data("LIFE-04", curve=[1], remembered=900),
     True),
    (data("PERF-01", rates=[{"per_s": 900.0, "per_s_95": [850.0, 950.0]}]),
     data("PERF-01", rates=[{"per_s": 100.0, "per_s_95": [90.0, 110.0]},
                            {"per_s": 980.0, "per_s_95": [940.0, 1020.0]}]), False),
    (data("PERF-01", rates=[{"per_s": 900.0, "per_s_95": [850.0, 950.0]}]),
     data("PERF-01", rates=[{"per_s": 1400.0, "per_s_95": [1300.0, 1500.0]}]), True)])
def test_a_figure_changes_only_beyond_both_intervals(before: dict[str, Any], now: dict[str, Any],
                                                     changed: bool) -> None:
    [figure] = comparison(run(checks=[before]), run(checks=[now]))["figures"]
    assert figure["changed"] is changed
    said = [text for text, _ in sentences(run(checks=[before]), run(checks=[now]))
            if "beyond both runs' intervals" in text]
    assert len(said) == changed


def test_a_rate_without_an_interval_is_not_compared() -> None:
    rate = data("PERF-01", rates=[{"per_s": 900.0, "per_s_95": None}])
    assert comparison(run(checks=[rate]), run(checks=[rate]))["figures"] == []


def test_a_ratio_of_times_is_noise_until_it_is_beyond_both_spreads() -> None:
    before = {"full": [18.0, 20.0, 30.0], "resumed": [4.0, 4.1, 4.2]}
    near = {"full": [22.0, 26.0, 40.0], "resumed": [8.0, 8.2, 8.4]}
    latency = comparison(run(before), run(near))["latency"]
    assert (latency["full"]["p50_ratio"], latency["full"]["beyond_spread"]) == (1.3, False)
    assert (latency["resumed"]["p50_ratio"], latency["resumed"]["beyond_spread"]) == (2.0, True)
    slower, noise = sentences(run(before), run(near))[1:]
    assert slower[1] == "worse"
    assert slower[0] == ("resumed handshakes: p50 4.1 -> 8.2 ms (x 2.00), p95 4.2 -> 8.4 ms "
                         "(x 2.00), beyond what 90 % of either run's took")
    assert "so how they differ is noise: full p50 20.0 -> 26.0 ms (x 1.30)" in noise[0]


def test_a_run_without_handshakes_has_no_ratio() -> None:
    empty = run()
    empty["latency"]["full"] = {"count": 0, "p50_ms": None, "p95_ms": None}
    latency = comparison(empty, run())["latency"]
    assert (latency["full"]["p50_ratio"], latency["full"]["beyond_spread"]) == (None, False)


def test_checks_that_are_left_out_now_are_told_once() -> None:
    before = run(checks=[finding("CORE-01", "n1"), finding("CORE-07", "n1"),
                         finding("NEG-03", "n1", "known", "accepted_long_id")])
    now = run(checks=[finding("CORE-01", "n1"), *(
        finding(check, "cluster", "skipped", "impact_not_allowed")
        for check in ("CORE-07", "NEG-03"))])
    assert sentences(before, now)[1] == (
        "check CORE-07, NEG-03: measured before, now skipped (impact_not_allowed)", "other")


# -- How it is told -------------------------------------------------------------------------------

def test_what_is_worse_comes_first_and_what_changed_alike_is_told_once() -> None:
    names = tuple(f"n{number}" for number in range(1, 10))
    before = run(nodes=names, complete=False, checks=[
        *(finding("CORE-02", name) for name in names), finding("SEC-04", "n1", "warned", "x"),
        *(finding("CORE-05", name) for name in names)])
    now = run(nodes=names, verdict="failed", checks=[
        *(finding("CORE-02", name, "failed", "not_resumed") for name in names),
        finding("SEC-04", "n1"),
        *(finding("CORE-05", name, "skipped", "needs_CORE-02") for name in names),
        finding("CORE-10", "cluster", "skipped", "impact_not_allowed")])
    assert sentences(before, now)[:4] == [
        ("Changed since reports/before (passed, interrupted, 2026-01-01 10:20 UTC):", "head"),
        ("verdict: passed -> failed", "worse"),
        ("CORE-02 n1, n2, n3, n4, n5, n6 and 3 more: passed -> failed (not_resumed)", "worse"),
        ("SEC-04 n1: warned (x) -> passed", "better")]
    assert len(sentences(before, now)) == 5
    # Data has all of it.
    assert len(changes(before, now)) == 1 + 9 + 1 + 9 + 1


def test_each_place_is_compared_with_itself() -> None:
    def seen(*points: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        whole = run()
        return vantage.merged(whole, [vantage.measured(
            vantage.VantagePoint(name, name), report, python="3", openssl="3")
            for name, report in points])

    bad = run(checks=[finding("CORE-01", "n1", "failed", "refused")], verdict="failed")
    before = seen(("office", run()), ("plant", run()))
    now = seen(("office", copy.deepcopy(bad)), ("attic", run()))
    assert [text for text, _ in sentences(before, now)][1:-1] == [
        "verdict: passed -> failed", "CORE-01 n1 from office: passed -> failed (refused)",
        "place attic is new: passed", "place plant is gone, it was: passed"]
    comparison(before, now)


def test_a_run_compares_itself_with_the_one_that_was_the_latest(tmp_path: Path) -> None:
    identity = make_certificate(tmp_path)
    brokers = [Broker(*identity), Broker(*identity)]

    def verified(**changed: Any) -> dict[str, Any]:
        results = whole_run([broker.port for broker in brokers], identity[0], tmp_path / "reports",
                            max_impact="safe", **changed)
        jsonschema.validate(results, SCHEMA)
        return results

    first = verified()
    assert "comparison" not in first
    latest = tmp_path / "reports" / "latest"
    folder = latest.resolve()
    second = verified(compare=str(latest))
    assert latest.resolve() != folder
    assert second["comparison"]["with"] == str(folder)
    assert second["comparison"]["started_at"] == first["started_at"]
    assert second["comparison"]["changes"] == []
    brokers[1].stop()
    brokers[1] = Broker(*identity, cache=False)
    third = verified(compare=str(latest))
    brokers[0].stop()
    brokers[1].stop()
    changed = {(one["what"], one["subject"]): one["now"] for one in third["comparison"]["changes"]}
    assert changed["matrix", "n2->n2"] == "full (not_resumed)"
    assert changed["CORE-02", "n2"] == "failed (not_resumed)"
    written = json.loads((latest / "results.json").read_text())
    assert written["comparison"] == third["comparison"]
