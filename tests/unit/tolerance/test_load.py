"""Files of known deviations: what is refused, and in which words."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.identity import major_of
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Level
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance import (
    files as deviation_files,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.deviations import (
    Deviation,
    DeviationError,
    load,
)

ENTRY: dict[str, Any] = {
    "check": "NEG-04", "reason": "closed_without_alert", "otp": {"from": 25, "to": 29},
    "measured": ["25.2.3", "27.3.4", "29.1"], "evidence": "It closes\n the connection.",
    "upstream": "none known"}


def document(*entries: Any, file: str = "own.yml", stack: str = "otp") -> dict[str, Any]:
    return {"file": file, "content": {"stack": stack, "deviations": list(entries)}}


def loaded(*documents: dict[str, Any]) -> tuple[Deviation, ...]:
    return load(documents, catalogue())


def refusal(*documents: dict[str, Any]) -> str:
    with pytest.raises(DeviationError) as caught:
        loaded(*documents)
    (sentence,) = caught.value.problems
    return sentence


def without(*keys: str, **changed: Any) -> dict[str, Any]:
    return {key: value for key, value in {**ENTRY, **changed}.items() if key not in keys}


def test_an_entry() -> None:
    (entry,) = loaded(document(ENTRY))
    assert entry == Deviation(
        "own.yml", "otp", "NEG-04", "closed_without_alert", 25, 29, ("25.2.3", "27.3.4", "29.1"),
        "It closes the connection.", "none known", False)
    assert entry.releases == "Erlang/OTP 25 to 29"
    assert loaded(document()) == loaded() == ()


@pytest.mark.parametrize(("since", "until", "measured", "text", "inside", "outside"), [
    (25, 29, ["25.2.3", "29.1"], "Erlang/OTP 25 to 29", ["25", "27.3.4", "29"],
     ["24", "30", None, "", "R16B03"]),
    (27, 27, ["27.3.4"], "Erlang/OTP 27", ["27", "27.0"], ["26", "28"]),
    (27, None, ["27.3.4"], "Erlang/OTP 27 and later", ["27", "40"], ["26", None]),
])
def test_a_range_has_both_its_ends(*, since: int, until: int | None, measured: list[str], text: str,
                                   inside: list[str], outside: list[str | None]) -> None:
    (entry,) = loaded(document({**ENTRY, "otp": {"from": since, "to": until},
                                "measured": measured}))
    assert entry.releases == text
    assert all(entry.covers(release) for release in inside)
    assert not any(entry.covers(release) for release in outside)


def test_the_major_release() -> None:
    assert [major_of(text) for text in ("27", "27.3.4", "27.3.4-1", "", None, "0")] == [
        27, 27, None, None, None, None]


@pytest.mark.parametrize(("entry", "sentence"), [
    ({**ENTRY, "check": "CORE-02"},
     ("own.yml: entry 1 (CORE-02) is a CORE check: CORE and SEC checks are never known deviations; "
      "who must live with a failure for a while waives it in resumption_waivers.")),
    ({**ENTRY, "check": "SEC-01"},
     ("own.yml: entry 1 (SEC-01) is a SEC check: CORE and SEC checks are never known deviations; "
      "who must live with a failure for a while waives it in resumption_waivers.")),
    ({**ENTRY, "check": "NEG-99"},
     'own.yml: entry 1 (NEG-99) names no check that there is; did you mean "NEG-'),
    ({**ENTRY, "check": "XYZ"}, "own.yml: entry 1 (XYZ) names no check that there is."),
    ({**ENTRY, "reasn": "x"},
     'own.yml: entry 1 (NEG-04) has the unknown key "reasn"; did you mean "reason"?'),
    (without("upstream"), "own.yml: entry 1 (NEG-04) has no upstream."),
    (without("check"), "own.yml: entry 1 has no check."),
    ("NEG-04", ("own.yml: entry 1 must be a mapping with check, reason, otp, measured, evidence, "
                "upstream.")),
    ({**ENTRY, "reason": "Closed it"},
     ("own.yml: entry 1 (NEG-04) has the reason 'Closed it', which is no token such as "
      "not_resumed.")),
    ({**ENTRY, "reason": "closed_without_alart"},
     ("own.yml: entry 1 (NEG-04) has the reason closed_without_alart, which NEG-04 never gives; "
      'did you mean "closed_without_alert"?')),
    ({**ENTRY, "reason": "not_signalled"},
     "own.yml: entry 1 (NEG-04) has the reason not_signalled, which NEG-04 never gives."),
    ({**ENTRY, "otp": 25},
     ("own.yml: entry 1 (NEG-04) must give otp as {from: 25, to: 29}, major releases with both "
      "ends, or with to: null.")),
    ({**ENTRY, "otp": {"from": 25}},
     ("own.yml: entry 1 (NEG-04) must give otp as {from: 25, to: 29}, major releases with both "
      "ends, or with to: null.")),
    ({**ENTRY, "otp": {"from": "25.2", "to": 29}},
     ("own.yml: entry 1 (NEG-04) has the range 25.2 to 29, which are no major releases such as "
      "25.")),
    ({**ENTRY, "otp": {"from": 29, "to": 25}},
     "own.yml: entry 1 (NEG-04) has the range 29 to 25, which ends before it begins."),
    ({**ENTRY, "measured": []},
     ('own.yml: entry 1 (NEG-04) must list what was measured as releases in quotes, such as '
      '"27.3.4".')),
    ({**ENTRY, "measured": [25.2, 29.1]},
     ('own.yml: entry 1 (NEG-04) must list what was measured as releases in quotes, such as '
      '"27.3.4".')),
    ({**ENTRY, "measured": ["25.2", "29.1", "30.0"]},
     "own.yml: entry 1 (NEG-04) was measured on 30.0, which is not in its range."),
    ({**ENTRY, "measured": ["25.2", "27.3"]},
     ("own.yml: entry 1 (NEG-04) has a range that ends at 29, on which it was not measured: a "
      "range is measured at both ends.")),
    ({**ENTRY, "evidence": " "}, "own.yml: entry 1 (NEG-04) must say its evidence in words."),
    ({**ENTRY, "upstream": None}, "own.yml: entry 1 (NEG-04) must say its upstream in words."),
    ({**ENTRY, "intermittent": "sometimes"},
     "own.yml: entry 1 (NEG-04) must say true or false for intermittent."),
])
def test_entries_refused(entry: Any, sentence: str) -> None:
    assert refusal(document(entry)).startswith(sentence)


@pytest.mark.parametrize("level", [Level.SHOULD, Level.INFO])
def test_what_only_warns_needs_no_entry(level: Level) -> None:
    checks = [replace(check, level=level) for check in catalogue() if check.id == "NEG-04"]
    with pytest.raises(DeviationError) as caught:
        load([document(ENTRY)], checks)
    assert caught.value.problems == (
        (f"own.yml: entry 1 (NEG-04) is a {level.value}: its failure is only warned of and needs "
         f"no entry."),)


@pytest.mark.parametrize(("content", "sentence"), [
    (None, "own.yml: must be a mapping of stack and deviations."),
    ([ENTRY], "own.yml: must be a mapping of stack and deviations."),
    ({"stack": "otp"}, "own.yml: has no deviations."),
    ({"deviations": []}, "own.yml: has no stack."),
    ({"stack": "gnutls", "deviations": []},
     'own.yml: has the stack "gnutls", which no run can recognise (known: otp).'),
    ({"stack": "otp", "deviations": ENTRY}, "own.yml: has deviations that are no list."),
    ({"stack": "otp", "deviations": [], "deviation": []},
     'own.yml: has the unknown key "deviation"; did you mean "deviations"?'),
])
def test_documents_refused(content: Any, sentence: str) -> None:
    assert refusal({"file": "own.yml", "content": content}) == sentence


def test_the_same_failure_of_the_same_release_stands_in_one_place() -> None:
    later = {**ENTRY, "otp": {"from": 29, "to": None}, "measured": ["29.1"]}
    assert refusal(document(ENTRY, file="known_deviations/otp.yml"), document(later)) == (
        "own.yml: NEG-04 closed_without_alert of Erlang/OTP 29 and later is already in "
        "known_deviations/otp.yml (Erlang/OTP 25 to 29): keep one of them.")
    beyond = {**later, "otp": {"from": 30, "to": None}, "measured": ["30.0"]}
    assert len(loaded(document(ENTRY), document(beyond),
                      document({**ENTRY, "reason": "no_alert"}))) == 3


def test_every_mistake_is_told() -> None:
    with pytest.raises(DeviationError) as caught:
        loaded(document({**ENTRY, "check": "CORE-01", "evidence": ""}, without("otp")))
    assert len(caught.value.problems) == 3


# -- files ---------------------------------------------------------------------------------


def test_a_folder_is_all_its_files_and_each_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("b.yml", "a.yml", "notes.txt"):
        (tmp_path / "more" / name).write_text(f"name: {name}\n")
    assert deviation_files.read(["more", "more/a.yml"], tmp_path) == [
        {"file": "more/a.yml", "content": {"name": "a.yml"}},
        {"file": "more/b.yml", "content": {"name": "b.yml"}}]
    outside = deviation_files.read([f"{tmp_path}/more/b.yml"], tmp_path / "elsewhere")
    assert outside[0]["file"] == f"{tmp_path}/more/b.yml"


def test_nothing_said_is_what_is_shipped_and_nothing_given_is_nothing(tmp_path: Path) -> None:
    assert deviation_files.read(None, tmp_path) == deviation_files.read([], tmp_path) == []
    (tmp_path / "known_deviations").mkdir()
    (tmp_path / "known_deviations/otp.yml").write_text("stack: otp\n")
    assert deviation_files.read(None, tmp_path) == [
        {"file": "known_deviations/otp.yml", "content": {"stack": "otp"}}]


@pytest.mark.parametrize(("text", "sentence"), [
    ("a: [1\nb: 2\n", "own.yml is no YAML (line 2)."),
    ("a: 1\nb: {c: 1, c: 2}\n", 'own.yml: line 2 and on has "c" twice.'),
    ("a: !!python/object/apply:os.getcwd []\n", "own.yml is no YAML (line 1)."),
    (b"\xff\xfe\xff", "own.yml is no YAML."),
    (None, "resumption_known_deviations names {root}/own.yml, which does not exist."),
])
def test_files_refused(tmp_path: Path, text: str | bytes | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "own.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DeviationError) as caught:
        deviation_files.read(["own.yml"], tmp_path)
    assert caught.value.problems == (sentence.format(root=tmp_path),)
