"""Plots of index.html: what is in them, and that they stand on their own."""
from __future__ import annotations

import re
import sys
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report.plots import Plot, plots

SVG = "{http://www.w3.org/2000/svg}"


def latency(p50: float | None, p95: float | None) -> dict[str, Any]:
    return {"count": 3, "p50_ms": p50, "p95_ms": p95, "p99_ms": p95, "bytes_in": 1, "bytes_out": 1}


def handshake(outcome: str, milliseconds: float | None, **changed: Any) -> dict[str, Any]:
    return {"outcome": outcome, "endpoint": "n1", "handshake_ms": milliseconds,
            "version": "tlsv1.2", "crowded": False, **changed}


def row(check: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"id": check, "subject": subject, "data": data}


def perf(subject: str, per_s: float, certificate: str = "RSA 2048") -> dict[str, Any]:
    return row("PERF-01", subject, {
        "certificate": certificate, "full": {"times_ms": [9.0, 10.0, 12.0]},
        "resumed": {"times_ms": [2.0, 3.0]},
        "rates": [{"clients": clients, "per_s": per_s * clients,
                   "per_s_95": [per_s * clients * 0.9, per_s * clients * 1.1]}
                  for clients in (1, 4, 16)]})


def retention(subject: str, ranks: dict[int, bool]) -> dict[str, Any]:
    return row("LIFE-04", subject, {
        "declared": 1000, "remembered": max(rank for rank, kept in ranks.items() if kept),
        "forgotten": min((rank for rank, kept in ranks.items() if not kept), default=None),
        "curve": [{"age_rank": rank, "resumed": kept} for rank, kept in ranks.items()]})


def balancer(subject: str, landed: dict[str, int] | None) -> dict[str, Any]:
    return row("LB-01", subject, {
        "offers": 60, "resumed": 20, "rate": 0.3333, "rate_95": [0.2273, 0.4594],
        "landed": landed, "landed_elsewhere": 0 if landed else None})


def results(*checks: dict[str, Any], handshakes: list[dict[str, Any]] | None = None,
            points: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    document = {
        "nodes": [{"name": "n1"}, {"name": "n2"}], "checks": list(checks),
        "handshakes": {f"h{number:05d}": one for number, one in enumerate(handshakes or [], 1)},
        "latency": {"full": latency(20.0, 40.0), "resumed": latency(4.0, 8.0)}}
    return {**document, "vantage": {"points": points}} if points else document


def everything() -> dict[str, Any]:
    elsewhere = results(balancer("lb1", None))
    return results(
        perf("n1", 300.0), perf("n2", 500.0, "ECDSA P-256"),
        retention("n1", {10: True, 990: True, 1010: False}),
        balancer("lb1", {"n1": 11, "n2": 9}),
        handshakes=[handshake("full", 20.0), handshake("resumed", 4.0)],
        points=[{"name": "office", "report": elsewhere}, {"name": "plant", "report": None}])


def by_key(document: dict[str, Any]) -> dict[str, Plot]:
    return {plot.key: plot for plot in plots(document)}


def elements(plot: Plot, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(plot.svg).iter(SVG + tag))


def labels(plot: Plot) -> list[str]:
    return [node.text for node in elements(plot, "text") if node.text]


def test_there_is_a_plot_of_everything_that_was_measured_and_of_nothing_else() -> None:
    assert list(by_key(everything())) == [
        "latency", "perf-1", "perf-2", "rates", "retention", "balancers", "landed", "places"]
    assert plots(results()) == []
    nothing = row("LIFE-04", "n1", {"declared": 1000, "curve": [], "remembered": 0,
                                    "forgotten": None})
    assert plots(results(nothing, balancer("lb1", None), handshakes=[
        handshake("failed", None)]))[0].key == "balancers"


def test_the_same_result_gives_the_same_bytes() -> None:
    assert plots(everything()) == plots(everything())


def test_nothing_is_fetched_run_or_dated() -> None:
    for plot in plots(everything()):
        assert not re.search(r"<script|<style|<!--|<\?|href|url\(|@import", plot.svg)
        assert re.findall(r"https?://[^\"]+", plot.svg) == ["http://www.w3.org/2000/svg"]


def test_ids_are_those_of_title_and_description_and_do_not_clash() -> None:
    every = []
    for plot in plots(everything()):
        root = ET.fromstring(plot.svg)
        ids = [node.get("id") for node in root.iter() if node.get("id")]
        assert ids == [f"plot-{plot.key}", f"plot-{plot.key}-title", f"plot-{plot.key}-desc"]
        assert (root.get("role"), root.get("aria-labelledby")) == ("img", f"{ids[1]} {ids[2]}")
        assert root.findtext(f"{SVG}title") == plot.title
        assert root.findtext(f"{SVG}desc") == plot.summary
        every += ids
    assert len(every) == len(set(every))


def test_colours_are_the_pages_and_what_is_drawn_lies_within_the_picture() -> None:
    for plot in plots(everything()):
        root = ET.fromstring(plot.svg)
        _, _, width, height = map(float, root.get("viewBox", "").split())
        # On a phone of 360 pixels a unit is a pixel.
        assert (width, root.get("font-size"), root.get("fill")) == (360, "12", "currentColor")
        colours = {node.get(name) for node in root.iter() for name in ("fill", "stroke")}
        assert all(colour in (None, "none", "currentColor") or re.fullmatch(
            r"var\(--plot-[1-5], #[0-9a-f]{6}\)", colour) for colour in colours)
        groups = [node for node in root.iter(f"{SVG}g") if node.get("transform")]
        left, top = map(float, re.findall(r"[\d.]+", groups[0].get("transform", "")))
        for circle in groups[0].iter(f"{SVG}circle"):
            assert 0 <= left + float(circle.get("cx", "-1")) <= width
            assert 0 <= top + float(circle.get("cy", "-1")) <= height


def test_a_distribution_leaves_out_what_the_latency_of_the_run_leaves_out() -> None:
    plot = by_key(results(handshakes=[
        handshake("full", 20.0), handshake("full", 30.0), handshake("resumed", 4.0),
        handshake("resumed", 1.0, crowded=True), handshake("full", 1.0, endpoint="lb1"),
        handshake("full", 1.0, version="tlsv1.3"), handshake("failed", 1.0)]))["latency"]
    assert plot.summary == ("2 full: half within 20.0 ms, 95 % within 30.0 ms; "
                            "1 resumed: half within 4.0 ms, 95 % within 4.0 ms.")
    assert {"full (2)", "resumed (1)", "2", "50", "100 %"} <= set(labels(plot))


def test_a_distribution_rises_to_the_right_and_stays_small() -> None:
    times = [1.0 + (number * 7919 % 10007) / 100 for number in range(10_000)]
    plot = by_key(results(handshakes=[handshake("resumed", one) for one in times]))["latency"]
    assert len(plot.svg) < 10_000
    curve = next(node.get("d", "") for node in elements(plot, "path")
                 if "--plot-2" in node.get("stroke", ""))
    points = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", curve)]
    assert len(points) > 100
    for before, after in zip(points, points[1:]):
        assert after[0] >= before[0]
        assert after[1] <= before[1]


def test_each_kind_of_certificate_has_its_own_distribution() -> None:
    found = by_key(results(perf("n1", 1.0), perf("n2", 1.0), perf("n3", 1.0, "ECDSA P-256")))
    assert found["perf-1"].title.endswith("(RSA 2048)")
    assert found["perf-1"].summary.startswith("6 full: ")
    assert found["perf-2"].title.endswith("(ECDSA P-256)")
    assert found["perf-2"].summary.startswith("3 full: ")


def test_rates_have_a_dot_and_an_interval_for_each_number_of_clients() -> None:
    plot = by_key(results(perf("n1", 300.0), perf("n2", 500.0)))["rates"]
    assert len(elements(plot, "circle")) == 2 * 3 + 2
    upright = [node for node in elements(plot, "path") if node.get("stroke-width") == "1.5"
               and "--plot" in node.get("stroke", "")]
    assert len(upright) == 2 * 3
    assert {"1", "4", "16", "n1", "n2", "clients at once"} <= set(labels(plot))
    assert plot.summary == ("n1: at most 4800 a second, with 16 clients; n2: at most 8000 a "
                            "second, with 16 clients. Bars are 95 % intervals.")


def test_a_rate_of_few_measurements_has_no_interval() -> None:
    measured = perf("n1", 300.0)
    measured["data"]["rates"][1]["per_s_95"] = None
    plot = by_key(results(measured))["rates"]
    assert len(elements(plot, "circle")) == 3 + 1
    assert "at most 4800 a second" in plot.summary


def test_of_many_nodes_the_slowest_the_median_and_the_fastest_rates_are_drawn() -> None:
    plot = by_key(results(*(perf(f"n{speed}", float(speed)) for speed in range(1, 10))))["rates"]
    assert [text for text in labels(plot) if text.startswith("n")] == ["n1", "n5", "n9"]
    assert "Of 9 nodes the slowest, the median and the fastest are drawn" in plot.summary


def test_a_retention_curve_tells_what_resumed_from_what_was_forgotten() -> None:
    plot = by_key(results(retention("n1", {10: True, 990: True, 1010: False}),
                          retention("n2", {10: True, 1200: True})))["retention"]
    circles = elements(plot, "circle")
    hollow = [node for node in circles if node.get("fill") == "none"]
    assert (len(circles), len(hollow)) == (5 + 2, 1 + 1)
    assert "n1 resumed its 990 newest sessions and no longer the one of rank 1010" in plot.summary
    assert "n2 resumed its 1200 newest sessions. Declared: 1000." in plot.summary
    assert "declared" in labels(plot)


def test_a_balancers_rate_is_told_for_each_place() -> None:
    found = by_key(everything())
    assert found["balancers"].summary == (
        "lb1: 20 of 60 sessions resumed, 23 to 46 %; lb1 from office: 20 of 60 sessions resumed, "
        "23 to 46 % (95 % intervals).")
    assert found["landed"].summary == "n1: 11, n2: 9 connections."


def test_places_are_compared_only_where_there_are_several() -> None:
    assert "places" not in by_key(results(balancer("lb1", None)))
    plot = by_key(everything())["places"]
    assert plot.summary == ("Median and 95th percentile. controller: full 20.0 and 40.0 ms, "
                            "resumed 4.0 and 8.0 ms; office: full 20.0 and 40.0 ms, resumed 4.0 "
                            "and 8.0 ms.")
    nothing = results()
    nothing["latency"] = {"full": latency(None, None), "resumed": latency(4.0, 8.0)}
    half = by_key(results(points=[{"name": "office", "report": nothing}]))["places"]
    assert len(elements(half, "circle")) == 3 + 2


@pytest.mark.parametrize("value", [0.0, 0.0004, 1.0, 9.99, 10.0, 123456.0])
def test_any_single_time_can_be_drawn(value: float) -> None:
    assert "latency" in by_key(results(handshakes=[handshake("full", value)]))


def test_what_a_target_is_called_cannot_break_out() -> None:
    evil = "</svg><script>alert(1)</script>"
    plot = by_key(results(balancer(evil, {evil: 3})))["landed"]
    assert "<script" not in plot.svg
    assert evil in (ET.fromstring(plot.svg).findtext(f"{SVG}desc") or "")


def test_long_names_keep_both_their_ends() -> None:
    plot = by_key(results(balancer("lb1", {"emqx-17.staging.example": 3})))["landed"]
    assert "emqx-17.…example" in labels(plot)


def test_hundred_nodes_are_cut_and_it_says_so() -> None:
    plot = by_key(results(*(retention(f"n{number}", {1: True}) for number in range(100))))
    assert plot["retention"].summary.endswith("60 more are not drawn.")


def test_without_pygal_there_are_no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygal", None)
    assert plots(everything()) == []
