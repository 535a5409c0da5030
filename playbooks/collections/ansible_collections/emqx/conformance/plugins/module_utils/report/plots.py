"""Plots of a result object as inline SVG, for index.html.

pygal draws them. It is absent where nothing but python3 is; then there are no plots, and no page to
put them into. Importing it takes a tenth of a second, so it is imported when the first plot is
drawn: ask for plots once, when the run is over.

A plot stands on its own: nothing is fetched, no script, no style sheet, no random id, no date; the
same result gives the same bytes. Lines and text take the page's colour (``currentColor``), what is
measured one of the custom properties ``--plot-1`` … ``--plot-5``, each with a default that can be
seen on white and on black. It is 360 units wide, with text of 12, and grows to 30rem at most.
"""
from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..vantage import CONTROLLER
from .times import handshake_times
from .vantage import reports

_WIDTH, _FONT = 360, 12
_ROW = 22
"""Height of a row of a plot that has one for each node."""
_LEGEND, _PAD, _RIGHT = 30, 8, 20
_COLOURS = ("var(--plot-1, #d97706)", "var(--plot-2, #2f80ed)", "var(--plot-3, #9b51e0)",
            "var(--plot-4, #219653)", "var(--plot-5, #d6457f)")
_FULL, _RESUMED = 0, 1
"""Which colour each kind of handshake has, in every plot."""
_DASHES = {_FULL: "5 3"}
"""The two are told apart on a black and white print, too."""
_MOST_POINTS = 120
"""Of a distribution so many times are drawn, evenly spread over the ranks."""
_MOST_ROWS = 40
_MOST_LINES = 5
_LONGEST_LABEL = 16
_BESIDE = 0.09
"""How far apart, in doublings, what is measured of several nodes at the same number stands."""

_Point = tuple[float, float]
_Break = (None, None)
"""Between two pieces of a line."""


@dataclass(frozen=True)
class Plot:
    """One plot."""

    key: str
    """What it shows, and what its ids begin with: ``latency``, ``rates`` …"""
    title: str
    """To stand above it; it is in the SVG for screen readers only."""
    summary: str
    """The same in words, with the figures; what a screen reader says of it."""
    svg: str


@dataclass(frozen=True)
class _Series:
    """Points that look alike."""

    name: str | None
    """For the legend; None: not in it."""
    points: Sequence[tuple[float | None, float | None]]
    colour: int
    line: float = 0.0
    """How wide the line through the points is; 0 for none."""
    dots: float = 0.0
    """How large each point's dot is; 0 for none."""
    hollow: bool = False
    dashes: str = ""


@dataclass(frozen=True)
class _Axis:
    """Where an axis begins and ends, and its labels."""

    ticks: Sequence[tuple[float, str]]
    title: str = ""
    range: tuple[float, float] | None = None
    """Default is from the first tick to the last."""

    @property
    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest value shown."""
        return self.range or (self.ticks[0][0], self.ticks[-1][0])


@dataclass(frozen=True)
class _Drawing:
    """All that makes a plot."""

    key: str
    title: str
    summary: str
    series: Sequence[_Series]
    x: _Axis
    y: _Axis
    height: float = 240.0
    marks: Sequence[tuple[float, str]] = field(default=())
    """Vertical lines across all, with what each is, for the legend."""


def plots(results: Mapping[str, Any]) -> list[Plot]:
    """Return every plot that there is something for, in the order to be read; none without pygal.

    Costs an import and about 5 ms for each plot.
    """
    drawings = [_latency(results), *_performance(results), _rates(results), _retention(results),
                _balancers(results), _landed(results), _places(results)]
    wanted = [drawing for drawing in drawings if drawing is not None]
    if not wanted:
        return []
    try:
        pygal = importlib.import_module("pygal")
    except ImportError:
        return []
    return [Plot(drawing.key, drawing.title, drawing.summary, _svg(pygal, drawing))
            for drawing in wanted]


# -- What is plotted -----------------------------------------------------------------------------

def _latency(results: Mapping[str, Any]) -> _Drawing | None:
    """Return how long the run's handshakes with nodes took, those counted in ``latency``."""
    return _distribution("latency", "How long handshakes took", handshake_times(results))


def _performance(results: Mapping[str, Any]) -> list[_Drawing]:
    """Return how long PERF-01's handshakes took, a plot for each kind of certificate."""
    by_kind: dict[str, dict[str, list[float]]] = {}
    for row in _rows_of(results, "PERF-01"):
        data = row["data"]
        if "full" in data and "resumed" in data:
            times = by_kind.setdefault(str(data.get("certificate") or "unknown certificate"), {
                "full": [], "resumed": []})
            for kind in times:
                times[kind] += data[kind].get("times_ms", ())
    drawn = [_distribution(f"perf-{number}", f"PERF-01: how long handshakes took ({kind})", times)
             for number, (kind, times) in enumerate(by_kind.items(), 1)]
    return [drawing for drawing in drawn if drawing is not None]


def _rates(results: Mapping[str, Any]) -> _Drawing | None:
    """Return PERF-01's resumed handshakes a second by number of clients, with 95 % intervals."""
    measured = {row["subject"]: row["data"]["rates"] for row in _rows_of(results, "PERF-01")
                if row["data"].get("rates")}
    if not measured:
        return None
    by_speed = sorted(measured, key=lambda name: float(measured[name][-1]["per_s"]))
    shown = by_speed if len(by_speed) <= _MOST_LINES else [
        by_speed[0], by_speed[len(by_speed) // 2], by_speed[-1]]
    series, top = [], 0.0
    clients: dict[float, str] = {}
    for colour, name in enumerate(sorted(shown, key=list(measured).index), 1):
        points: list[_Point] = []
        whiskers: list[tuple[float | None, float | None]] = []
        for rate in measured[name]:
            at = math.log2(rate["clients"]) or 1e-9
            clients[at] = str(rate["clients"])
            # Beside one another, so that no interval hides the other nodes'.
            at += _BESIDE * (colour - (len(shown) + 1) / 2)
            points.append((at, rate["per_s"]))
            # Of few measurements there is no interval.
            low, high = rate["per_s_95"] or (rate["per_s"], rate["per_s"])
            whiskers += [(at, low), (at, high), _Break]
            top = max(top, high, rate["per_s"])
        series += [_Series(None, whiskers, colour, line=1.5),
                   _Series(name, points, colour, line=2, dots=3)]
    best = {name: max(measured[name], key=lambda rate: float(rate["per_s"])) for name in shown}
    summary = "; ".join(f"{name}: at most {rate['per_s']:.0f} a second, with {rate['clients']} "
                        f"client{'s' * (rate['clients'] != 1)}" for name, rate in best.items())
    if len(shown) < len(measured):
        summary += (f". Of {len(measured)} nodes the slowest, the median and the fastest "
                    "are drawn")
    ends = (min(clients) - 0.2, max(clients) + 0.2)
    return _Drawing("rates", "PERF-01: resumed handshakes a second by number of clients",
                    f"{summary}. Bars are 95 % intervals.", series,
                    _Axis(sorted(clients.items()), "clients at once", ends),
                    _Axis(_linear(top)))


def _retention(results: Mapping[str, Any]) -> _Drawing | None:
    """Return LIFE-04's retention curves: which sessions, by age, each node still resumed."""
    measured = [row for row in _rows_of(results, "LIFE-04") if row["data"].get("curve")]
    if not measured:
        return None
    shown = measured[:_MOST_ROWS]
    kept: list[_Point] = []
    gone: list[_Point] = []
    told = []
    for number, row in enumerate(shown):
        at = float(len(shown) - number)
        for point in row["data"]["curve"]:
            (kept if point["resumed"] else gone).append((point["age_rank"], at))
        first = row["data"]["forgotten"]
        told.append(f"{row['subject']} resumed its {row['data']['remembered']} newest sessions"
                    + ("" if first is None else f" and no longer the one of rank {first}"))
    declared = sorted({row["data"]["declared"] for row in shown})
    return _Drawing(
        "retention", "LIFE-04: which sessions a node still resumed, by age",
        f"{'; '.join(told)}. Declared: {', '.join(map(str, declared))}. Rank 1 is the newest "
        f"session.{_left_out(measured, shown)}",
        [_Series("resumed", kept, _RESUMED, dots=3.5),
         _Series("forgotten", gone, _FULL, dots=3.5, hollow=True)],
        _Axis(_linear(max(rank for rank, _ in (*kept, *gone, *((one, 0.0) for one in declared)))),
              "age rank of the session"),
        _row_axis([row["subject"] for row in shown]), _rows_height(len(shown)),
        [(float(one), "declared") for one in declared])


def _balancers(results: Mapping[str, Any]) -> _Drawing | None:
    """Return LB-01's resumption rates with their 95 % intervals, by address and place."""
    measured = [(row["subject"] if place == CONTROLLER else f"{row['subject']} from {place}",
                 row["data"])
                for place, report in reports(results).items()
                for row in _rows_of(report, "LB-01") if "rate_95" in row["data"]]
    if not measured:
        return None
    shown = measured[:_MOST_ROWS]
    ranges = {name: [100 * end for end in data["rate_95"]] for name, data in shown}
    told = [f"{name}: {data['resumed']} of {data['offers']} sessions resumed, "
            f"{ranges[name][0]:.0f} to {ranges[name][1]:.0f} %" for name, data in shown]
    lines, dots = _in_rows([(*ranges[name], 100 * data["rate"]) for name, data in shown])
    return _Drawing(
        "balancers", "LB-01: share of offered sessions that resumed",
        f"{'; '.join(told)} (95 % intervals).{_left_out(measured, shown)}",
        [_Series("95 % interval", lines, _RESUMED, line=3),
         _Series("measured", dots, _RESUMED, dots=4)],
        _Axis([(share, f"{share} %") for share in range(0, 101, 25)]),
        _row_axis([name for name, _ in shown]), _rows_height(len(shown)))


def _landed(results: Mapping[str, Any]) -> _Drawing | None:
    """Return on which nodes LB-01's connections without a session landed, by address."""
    measured = [row for row in _rows_of(results, "LB-01") if row["data"].get("landed")]
    rows: list[tuple[str, int]] = []
    for row in measured:
        through = f" ({row['subject']})" if len(measured) > 1 else ""
        rows += [(f"{name}{through}", count) for name, count in row["data"]["landed"].items()]
        if elsewhere := row["data"]["landed_elsewhere"]:
            rows.append((f"elsewhere{through}", elsewhere))
    if not rows:
        return None
    shown = rows[:_MOST_ROWS]
    bars, _ = _in_rows([(0.0, float(count), 0.0) for _, count in shown])
    return _Drawing(
        "landed", "LB-01: where connections without a session landed",
        f"{', '.join(f'{name}: {count}' for name, count in shown)} connections."
        f"{_left_out(rows, shown)}",
        [_Series(None, bars, _RESUMED, line=10)],
        _Axis(_linear(max(count for _, count in shown)), "connections"),
        _row_axis([name for name, _ in shown]), _rows_height(len(shown)))


def _places(results: Mapping[str, Any]) -> _Drawing | None:
    """Return the latency of handshakes by the place probed from; None from one place alone."""
    seen = {place: report["latency"]
            for place, report in list(reports(results).items())[:_MOST_ROWS]}
    times = [value for kinds in seen.values() for kind in ("full", "resumed")
             for value in (kinds[kind]["p50_ms"], kinds[kind]["p95_ms"]) if value]
    if len(seen) < 2 or not times:
        return None
    series, told = [], []
    for kind, colour, above in (("full", _FULL, 0.16), ("resumed", _RESUMED, -0.16)):
        ranges = [(math.log10(one["p50_ms"]), math.log10(one["p95_ms"]), math.log10(one["p50_ms"]))
                  if (one := kinds[kind])["p50_ms"] else None for kinds in seen.values()]
        lines, dots = _in_rows(ranges, above)
        series += [_Series(None, lines, colour, line=2.5),
                   _Series(f"{kind}", dots, colour, dots=4, hollow=kind == "full")]
    for place, kinds in seen.items():
        told.append(f"{place}: " + ", ".join(
            f"{kind} {kinds[kind]['p50_ms']:.1f} and {kinds[kind]['p95_ms']:.1f} ms"
            for kind in ("full", "resumed") if kinds[kind]["p50_ms"]))
    return _Drawing(
        "places", "Handshakes by the place they were made from",
        f"Median and 95th percentile. {'; '.join(told)}.", series,
        _Axis(_logarithmic(min(times), max(times)), "median to 95th percentile, ms (logarithmic)"),
        _row_axis(list(seen)), _rows_height(len(seen)))


def _rows_of(results: Mapping[str, Any], check: str) -> list[dict[str, Any]]:
    return [row for row in results["checks"] if row["id"] == check and row.get("data")]


def _left_out(all_rows: Sequence[object], shown: Sequence[object]) -> str:
    rest = len(all_rows) - len(shown)
    return f" {rest} more are not drawn." if rest else ""


def _distribution(key: str, title: str, times: Mapping[str, Sequence[float]]) -> _Drawing | None:
    """Return the empirical distribution functions of times in milliseconds."""
    measured = {kind: sorted(taken) for kind, taken in times.items() if taken}
    if not measured:
        return None
    series, told = [], []
    for kind, taken in measured.items():
        colour = _FULL if kind == "full" else _RESUMED
        series.append(_Series(f"{kind} ({len(taken)})", _steps(taken), colour, line=2,
                              dashes=_DASHES.get(colour, "")))
        p50, p95 = (taken[max(1, -(-len(taken) * percent // 100)) - 1] for percent in (50, 95))
        told.append(f"{len(taken)} {kind}: half within {p50:.1f} ms, 95 % within {p95:.1f} ms")
    every = [one for taken in measured.values() for one in (taken[0], taken[-1])]
    return _Drawing(
        key, title, f"{'; '.join(told)}.", series,
        _Axis(_logarithmic(min(every), max(every)), "within so many ms (logarithmic)"),
        _Axis([(share, f"{share} %") for share in range(0, 101, 25)]))


def _steps(ordered: Sequence[float]) -> list[_Point]:
    """Return the steps of a distribution function: log10 of the time, per cent of handshakes."""
    count = len(ordered)
    ranks = range(count) if count <= _MOST_POINTS else sorted(
        {round(number * (count - 1) / (_MOST_POINTS - 1)) for number in range(_MOST_POINTS)})
    points: list[_Point] = [(_log10(ordered[0]), 0.0)]
    for rank in ranks:
        at = _log10(ordered[rank])
        points += [(at, points[-1][1]), (at, 100 * (rank + 1) / count)]
    return points


def _in_rows(ranges: Sequence[tuple[float, ...] | None], above: float = 0.0,
             ) -> tuple[list[tuple[float | None, float | None]], list[_Point]]:
    """Return a piece of line and a dot for each (from, to, dot at), one row after the other."""
    lines: list[tuple[float | None, float | None]] = []
    dots: list[_Point] = []
    for number, one in enumerate(ranges):
        if one is not None:
            at = len(ranges) - number + above
            lines += [(one[0], at), (one[1], at), _Break]
            dots.append((one[2], at))
    return lines, dots


def _row_axis(names: Sequence[str]) -> _Axis:
    """Return the axis that names rows, the first on top."""
    return _Axis([(float(len(names) - number), _short(name))
                  for number, name in reversed(list(enumerate(names)))],
                 range=(0.4, len(names) + 0.6))


def _rows_height(rows: int) -> float:
    return 100.0 + _ROW * rows


def _short(name: str) -> str:
    """Keep both ends of a long name: hosts of one domain differ in front, others behind."""
    if len(name) <= _LONGEST_LABEL:
        return name
    half = (_LONGEST_LABEL - 1) // 2
    return f"{name[:_LONGEST_LABEL - 1 - half]}…{name[-half:]}"


def _log10(milliseconds: float) -> float:
    return math.log10(max(milliseconds, 0.001))


def _logarithmic(low: float, high: float) -> list[tuple[float, str]]:
    """Return ticks (log10 of the value, label) at 1, 2 and 5 times powers of ten around both."""
    first, last = math.floor(_log10(low)), math.ceil(_log10(high))
    values = [factor * 10.0 ** power for power in range(first, last + 1) for factor in (1, 2, 5)]
    start = max(number for number, value in enumerate(values) if value <= max(low, 0.001) * 1.0001)
    end = min(number for number, value in enumerate(values) if value >= high * 0.9999)
    chosen = values[start:max(end, start + 1) + 1]
    # Over more than two decades only the powers of ten have room for their labels.
    labelled = chosen if len(chosen) <= 7 else [
        value for value in chosen if f"{value:e}".startswith("1.0")]
    ends = [value for value in (chosen[0], chosen[-1]) if value not in labelled]
    # pygal draws a line at zero thicker, and a logarithm's zero is nothing special.
    return [(math.log10(value) or 1e-9, f"{value:g}" if value in labelled else "")
            for value in sorted({*labelled, *ends})]


def _linear(high: float) -> list[tuple[float, str]]:
    """Return four to six ticks from 0 to a round value that is not less."""
    rough = max(high, 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.9999)
    count = math.ceil(max(high, 1.0) / step - 0.0001)
    return [(number * step, f"{number * step:g}") for number in range(count + 1)]


# -- Drawing -------------------------------------------------------------------------------------

def _svg(pygal: Any, drawing: _Drawing) -> str:
    """Let pygal lay it out, then take from its SVG whatever is not the drawing itself."""
    style = pygal.style.Style(label_font_size=_FONT, major_label_font_size=_FONT,
                              title_font_size=_FONT, font_family="inherit")
    chart = pygal.XY(
        style=style, width=_WIDTH, height=drawing.height, spacing=6, margin=_PAD,
        margin_top=_LEGEND if any(one.name for one in drawing.series) else _PAD,
        margin_right=_RIGHT, js=(), css=(), no_prefix=True, disable_xml_declaration=True,
        show_legend=False, show_x_guides=True, allow_interruptions=True,
        x_title=drawing.x.title or None, truncate_label=_LONGEST_LABEL,
        x_labels=[{"value": at, "label": label} for at, label in drawing.x.ticks],
        y_labels=[{"value": at, "label": label} for at, label in drawing.y.ticks],
        xrange=drawing.x.ends, range=drawing.y.ends)
    series = [*drawing.series, *_marks(drawing)]
    for one in series:
        chart.add("", list(one.points), stroke=one.line > 0, show_dots=one.dots > 0,
                  dots_size=one.dots)
    chart.add_xml_filter(lambda root: _finished(root, drawing, series))
    drawn: str = chart.render(is_unicode=True)
    # Tenths of a unit are all that anybody can see.
    return re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), drawn)


def _marks(drawing: _Drawing) -> list[_Series]:
    low, high = drawing.y.ends
    return [_Series(name, [(at, low), (at, high)], 2, line=1.5, dashes="2 3")
            for at, name in drawing.marks]


def _finished(root: Any, drawing: _Drawing, series: Sequence[_Series]) -> Any:
    """Return the SVG without scripts, style sheets and tooltips, with its look in attributes."""
    _clean(root)
    key = f"plot-{drawing.key}"
    root.attrib.update({
        "id": key, "class": "plot", "role": "img", "width": "100%", "fill": "currentColor",
        "stroke": "none", "font-size": str(_FONT), "style": "max-width:30rem;height:auto",
        "aria-labelledby": f"{key}-title {key}-desc"})
    for at, (tag, text) in enumerate((("title", drawing.title), ("desc", drawing.summary))):
        node = root.makeelement(tag, {"id": f"{key}-{tag}"})
        node.text = text
        root.insert(at, node)
    for node, classes in _classed(root, ()):
        _look(node, classes, series)
    for node in root.iter():
        for name in ("class", "font-family"):
            if node is not root:
                node.attrib.pop(name, None)
    _add_legend(root, series)
    return root


_DROPPED = ("background", "tooltip-overlay", "text-overlay")


def _clean(parent: Any) -> None:
    for child in list(parent):
        tag = child.tag if isinstance(child.tag, str) else "comment"
        classes = child.attrib.get("class", "").split()
        if (tag in ("comment", "defs", "title", "desc", "script", "style")
                or any(name in classes for name in _DROPPED)):
            parent.remove(child)
        else:
            _clean(child)


def _classed(node: Any, above: tuple[str, ...]) -> Iterable[tuple[Any, tuple[str, ...]]]:
    """Yield each node with its classes and those of all it is in."""
    classes = (*above, *node.attrib.get("class", "").split())
    for child in node:
        yield child, (*classes, *child.attrib.get("class", "").split())
        yield from _classed(child, classes)


def _look(node: Any, classes: Sequence[str], series: Sequence[_Series]) -> None:
    """Give a node its look by attributes; pygal does that by a style sheet for each chart."""
    number = next((int(name.removeprefix("serie-")) for name in classes
                   if name.startswith("serie-")), None)
    if number is not None:
        _look_of_series(node, series[number])
    elif node.tag == "path":
        node.attrib.update({"stroke": "currentColor", "fill": "none",
                            "stroke-opacity": ".2" if "guide" in classes else ".6"})
    elif node.tag == "text":
        node.attrib["text-anchor"] = "end" if "y" in classes else "middle"


def _look_of_series(node: Any, series: _Series) -> None:
    colour = _COLOURS[series.colour % len(_COLOURS)]
    if node.tag == "path":
        node.attrib.update({"stroke": colour, "fill": "none", "stroke-width": f"{series.line:g}"})
        if series.dashes:
            node.attrib["stroke-dasharray"] = series.dashes
    elif node.tag == "circle":
        node.attrib.update({"stroke": colour, "stroke-width": "1.5",
                            "fill": "none" if series.hollow else colour})


def _add_legend(root: Any, series: Sequence[_Series]) -> None:
    """Put a sample and the name of each named series into one line on top."""
    box = root.makeelement("g", {})
    root.append(box)
    at = float(_PAD)
    named: dict[str, _Series] = {one.name: one for one in series if one.name}
    for name, one in named.items():
        if one.line:
            line = root.makeelement("path", {"d": f"M{at:g} 12h18"})
            _look_of_series(line, one)
            box.append(line)
        if one.dots:
            dot = root.makeelement("circle", {"cx": f"{at + 9:g}", "cy": "12",
                                              "r": f"{one.dots:g}"})
            _look_of_series(dot, one)
            box.append(dot)
        text = root.makeelement("text", {"x": f"{at + 23:g}", "y": "16"})
        text.text = _short(name)
        box.append(text)
        at += 40 + 0.6 * _FONT * len(_short(name))
