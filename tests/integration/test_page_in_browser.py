"""index.html in a browser: it works by mouse, keyboard and without a script, on a phone as well."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report.page import Page
from ansible_collections.emqx.conformance.plugins.module_utils.report.reproduce import recipe
from playwright.sync_api import Browser, expect

from tests.support import browser as browsers
from tests.support.result_objects import finding, run

TEMPLATE = Page(Path(__file__).parents[2] / "templates/report.html.j2")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
EVIL = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='b'\">"

Open = Callable[..., AbstractContextManager[browsers.Opened]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as started:
        yield started


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Open:
    """Open the page of a result; it must not complain or ask for anything in any test."""
    def show(results: dict[str, Any], fragment: str = "", **context: Any) -> Any:
        path = tmp_path / "index.html"
        path.write_bytes(TEMPLATE.render(results))
        return browsers.opened(browser, path, fragment, **context)

    return show


def wrong(issuer: str, redeemer: str) -> bool:
    return (issuer, redeemer) == ("n1", "n2")


def mixed() -> dict[str, Any]:
    """A result with something of each status."""
    results = run(3, wrong)
    results["checks"] += [
        finding("NEG-01", "n1", "known", "accepted", message="n1 took a flipped bit",
                evidence={"handshakes": ["h00001"], "waiver": "waived until tomorrow"}),
        finding("SEC-04", "n2", "warned", "no_forward_secrecy", data={"suites": [1, 2, 3]}),
        finding("LIFE-01", "cluster", "skipped", "impact_not_allowed")]
    results["counts"].update(known=1, warned=1, skipped=1)
    return results


def visible_checks(seen: browsers.Opened) -> list[str]:
    ids: list[str] = seen.page.locator(".check:visible").evaluate_all(
        "found => found.map(one => one.id)")
    return ids


def assert_clean(seen: browsers.Opened) -> None:
    assert seen.complaints == []
    assert seen.requests == []


def test_a_click_on_a_cell_shows_both_handshakes(shown: Open) -> None:
    with shown(mixed()) as seen:
        page = seen.page
        page.locator(".matrix td.unexpected").click()
        dialog = page.get_by_role("dialog", name="n1 → n2: resumed, not as expected")
        expect(dialog).to_be_visible()
        expect(dialog).to_contain_text("A full handshake was expected (resumed_elsewhere).")
        first, then = dialog.locator("figure").all()
        expect(first).to_contain_text("a full handshake with n1 makes the session")
        expect(then).to_contain_text("offered to n2, and is resumed")
        assert first.locator(".ladder .says").all_inner_texts()[2] == "← Certificate\n746 B"
        assert [text.split("\n")[0] for text in then.locator(".says").all_inner_texts()] == [
            "→ ClientHello", "← ServerHello", "← ChangeCipherSpec", "← Finished",
            "→ ChangeCipherSpec", "→ Finished"]
        for told in ("the session was reused", "abbreviated, the offered ID is echoed",
                     "the offered session's", f"{1:064x} (the same)", "143 in, 241 out",
                     "MQTT 5: CONNACK accepted after 1.00 ms"):
            expect(then).to_contain_text(told)
        page.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()
        assert_clean(seen)


def test_the_keyboard_is_enough_in_the_matrix(shown: Open) -> None:
    with shown(run(12)) as seen:
        page = seen.page
        assert page.locator(".matrix [tabindex='0']").count() == 1
        page.locator(".matrix [tabindex='0']").focus()
        for key, name in (("ArrowRight", "n1 to n2: full, as expected"),
                          ("ArrowDown", "n2 to n2: resumed, as expected"),
                          ("ArrowUp", "n1 to n2: full, as expected"),
                          ("ArrowUp", "n1 to n2: full, as expected"),
                          ("End", "n1 to n12: full, as expected"),
                          ("PageDown", "n11 to n12: full, as expected"),
                          ("Control+Home", "n1 to n1: resumed, as expected"),
                          ("ArrowLeft", "n1 to n1: resumed, as expected"),
                          ("Control+End", "n12 to n12: resumed, as expected")):
            page.keyboard.press(key)
            expect(page.locator(":focus")).to_have_accessible_name(name)
            expect(page.locator(":focus")).to_have_role("gridcell")
        assert page.locator(".matrix [tabindex='0']").count() == 1
        assert page.locator(":focus").evaluate("cell => getComputedStyle(cell).outlineStyle") == (
            "solid")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("a full handshake with n12")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(page.locator(":focus")).to_have_accessible_name("n12 to n12: resumed, as expected")
        assert_clean(seen)


def test_a_ladder_has_an_address(shown: Open) -> None:
    with shown(run(3), "#pair=0,n3,n1") as seen:
        expect(seen.page.get_by_role("dialog", name="n3 → n1: full, as expected")).to_be_visible()
        seen.page.keyboard.press("Escape")
        seen.page.keyboard.press("ArrowLeft")
        seen.page.keyboard.press("ArrowRight")
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("location.hash") == "#pair=0,n3,n2"
        assert_clean(seen)


def test_two_listeners_of_a_node_are_told_apart(shown: Open) -> None:
    results = run(1)
    results["handshakes"]["h00002"]["port"] = 9
    with shown(results) as seen:
        seen.page.locator(".matrix tbody td").click()
        dialog = seen.page.get_by_role("dialog")
        expect(dialog).to_contain_text(
            "First, a full handshake with n1 (127.0.0.1 port 1) makes the session")
        expect(dialog).to_contain_text(
            "Then it is offered to n1 (127.0.0.1 port 9), and is resumed")
        assert_clean(seen)


def test_a_pair_that_was_not_measured_says_why(shown: Open) -> None:
    results = run(2)
    results["matrix"][1].update(outcome="not_measured", passed=False, reason="not_sampled",
                                offered_id="", server_id="", evidence={})
    with shown(results) as seen:
        seen.page.locator(".matrix td.not_measured").click()
        dialog = seen.page.get_by_role("dialog", name="n1 → n2: not measured")
        expect(dialog).to_contain_text("not_sampled")
        expect(dialog).to_contain_text("No handshake of it is on this page.")
        assert_clean(seen)


def test_what_is_wrong_is_one_click_from_its_evidence(shown: Open) -> None:
    with shown(mixed(), viewport={"width": 1280, "height": 900}) as seen:
        page = seen.page
        link = page.get_by_role("link", name="CORE-03 Title of CORE-03")
        expect(link).to_be_in_viewport()
        expect(page.get_by_text("n2 resumed a session that n1 issued").first).to_be_in_viewport()
        link.click()
        look = page.locator("#CORE-03-1 button.look")
        expect(look).to_be_in_viewport()
        look.click()
        expect(page.get_by_role("dialog")).to_contain_text("offered to n2, and is resumed")
        assert_clean(seen)


def test_lines_to_type_are_copied_as_they_are(shown: Open) -> None:
    results = mixed()
    row = next(row for row in results["checks"] if row["status"] == "failed")
    told = recipe(results, row)
    assert told is not None
    # Some are longer than a phone is wide, and stay one line each.
    with shown(results, **PHONE) as seen:
        seen.page.locator("#CORE-03-1 .by-hand summary").click()
        copied = seen.page.locator("#CORE-03-1 .by-hand pre").first.evaluate(
            "one => { getSelection().selectAllChildren(one); return getSelection().toString(); }")
        assert copied.splitlines() == list(told.lines)
        assert_clean(seen)


def test_findings_are_filtered_by_status_family_and_words(shown: Open) -> None:
    with shown(mixed()) as seen:
        page = seen.page
        everything = ["CORE-03", "CORE-01", "CORE-02", "NEG-01", "SEC-04", "LIFE-01"]
        assert visible_checks(seen) == everything
        expect(page.locator("#found")).to_have_text("6 checks")
        failed = page.get_by_role("button", name="failed 1")
        failed.click()
        assert visible_checks(seen) == ["CORE-03"]
        assert page.locator(".group:visible").count() == 1
        expect(page.locator("#found")).to_have_text("1 of 6 checks shown")
        page.get_by_role("button", name="known 1").click()
        assert visible_checks(seen) == ["CORE-03", "NEG-01"]
        page.get_by_role("button", name="NEG", exact=True).click()
        assert visible_checks(seen) == ["NEG-01"]
        expect(page.locator("#family-CORE")).to_be_hidden()
        page.get_by_role("button", name="Show all").click()
        assert visible_checks(seen) == everything
        assert failed.get_attribute("aria-pressed") == "false"
        search = page.get_by_role("searchbox", name="Search")
        search.fill("N2 forward")
        assert visible_checks(seen) == ["SEC-04"]
        expect(page.locator("#SEC-04-1")).to_be_visible()
        search.fill("tomorrow")
        assert visible_checks(seen) == ["NEG-01"]
        search.fill("nowhere to be found")
        assert visible_checks(seen) == []
        expect(page.locator("#found")).to_have_text("0 of 6 checks shown")
        assert_clean(seen)


def test_a_link_shows_what_a_filter_had_hidden(shown: Open) -> None:
    with shown(mixed()) as seen:
        seen.page.get_by_role("button", name="skipped 1").click()
        seen.page.get_by_role("link", name="CORE-03 Title of CORE-03").click()
        expect(seen.page.locator("#CORE-03-1")).to_be_in_viewport()
        assert_clean(seen)


def test_what_targets_say_runs_nowhere(shown: Open) -> None:
    results = mixed()
    results["target"]["product"] = results["nodes"][0]["product"] = EVIL
    for row in results["checks"]:
        row["message"] = EVIL
    for one in results["handshakes"].values():
        one.update(why=EVIL, cipher=EVIL)
        one["mqtt"]["detail"] = EVIL
    with shown(results) as seen:
        seen.page.locator(".matrix td.unexpected").click()
        expect(seen.page.get_by_role("dialog")).to_contain_text(EVIL)
        seen.page.keyboard.press("Escape")
        seen.page.locator("#CORE-03-1 button.look").click()
        expect(seen.page.get_by_role("dialog")).to_contain_text(EVIL)
        assert seen.page.title() == "FAILED: TLS 1.2 session-ID resumption"
        assert seen.page.locator("img").count() == 0
        assert_clean(seen)


def test_a_script_that_got_in_would_not_run(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_bytes(TEMPLATE.render(run(1)).replace(
        b"<header>", b"<header><script>document.title='broken'</script>"))
    with browsers.opened(browser, path) as seen:
        assert seen.page.title() == "PASSED: TLS 1.2 session-ID resumption"
        assert len(seen.complaints) == 1
        assert "Content Security Policy" in seen.complaints[0]


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_wider_than_a_phone(shown: Open, count: int, width: int) -> None:
    results = run(count, wrong)
    results["checks"] += mixed()["checks"][-3:]
    results["headline"] = results["nodes"][0]["how_identified"] = "x" * 300
    with shown(results, **{**PHONE, "viewport": {"width": width, "height": 844}}) as seen:
        page = seen.page
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        # What is wider than its box scrolls in it; nothing that is not meant to.
        cut = page.evaluate("""[...document.querySelectorAll('main *, header *')].filter(one =>
            one.getBoundingClientRect().right > innerWidth && !one.closest('.scroll')
        ).map(one => one.outerHTML.slice(0, 80))""")
        assert cut == []
        page.locator(".matrix td.unexpected").click()
        assert page.get_by_role("dialog").evaluate(
            "one => one.scrollWidth <= one.clientWidth && one.offsetWidth <= innerWidth")
        assert_clean(seen)


def test_without_a_script_everything_essential_is_there(shown: Open) -> None:
    with shown(mixed(), java_script_enabled=False) as seen:
        page = seen.page
        for told in ("FAILED", "n2 resumed a session that n1 issued", "Waived until tomorrow."):
            expect(page.get_by_text(told).first).to_be_attached()
        assert page.locator(".matrix tbody td").all_inner_texts()[:2] == ["resumed", "resumed !"]
        expect(page.locator("#CORE-03-1 li")).to_contain_text(
            "→ ClientHello, ← ServerHello, ← ChangeCipherSpec")
        expect(page.get_by_text("Without JavaScript")).to_be_visible()
        expect(page.locator(".filters")).to_be_hidden()
        page.locator("#NEG-01 > summary").click()
        expect(page.get_by_text("n1 took a flipped bit")).to_be_visible()


def test_words_stand_out_from_their_ground_in_light_and_dark(shown: Open) -> None:
    """WCAG 2.1 1.4.3: a contrast of 4.5 for text."""
    for scheme in ("light", "dark"):
        with shown(mixed(), color_scheme=scheme) as seen:
            seen.page.evaluate(
                "document.querySelectorAll('details').forEach(one => { one.open = true; })")
            contrasts = seen.page.evaluate(CONTRASTS)
            assert len(contrasts) > 100
            assert [told for told in contrasts if told[0] < 4.5] == []
            assert_clean(seen)


CONTRASTS = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) =>
    c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (one) => {
    for (let up = one; up; up = up.parentElement) {
      const color = numbers(getComputedStyle(up).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).map((one) => {
    const pair = [light(numbers(getComputedStyle(one).color)), light(ground(one))];
    pair.sort((a, b) => b - a);
    return [(pair[0] + 0.05) / (pair[1] + 0.05), one.outerHTML.slice(0, 100)];
  });
}"""


def test_nothing_moves_for_who_does_not_want_it(shown: Open) -> None:
    for wish, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
        with shown(run(1), reduced_motion=wish) as seen:
            assert seen.page.evaluate(
                "getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def test_print_shows_the_whole_matrix(shown: Open) -> None:
    with shown(run(50), viewport={"width": 720, "height": 1000}, color_scheme="dark") as seen:
        seen.page.emulate_media(media="print")
        expect(seen.page.get_by_text("PASSED", exact=True)).to_be_visible()
        expect(seen.page.locator(".matrix td").last).to_be_visible()
        assert seen.page.locator(".matrix").evaluate("one => one.offsetWidth <= innerWidth")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)")
        expect(seen.page.locator(".filters")).to_be_hidden()


@pytest.mark.parametrize("count", [50, 100])
def test_a_large_cluster_loads_and_answers(shown: Open, count: int) -> None:
    """How long it takes is told by bench/, not judged here."""
    with shown(run(count, wrong)) as seen:
        page = seen.page
        assert page.locator(".matrix tbody td").count() == count ** 2
        page.locator(".matrix tbody tr").last.locator("td").first.click()
        expect(page.get_by_role("dialog", name=f"n{count} → n1: full")).to_be_visible()
        assert_clean(seen)
