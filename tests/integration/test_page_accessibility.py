"""index.html audited by axe-core in Chromium: WCAG 2.1 A and AA, and good practice beyond."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import vantage
from ansible_collections.emqx.conformance.plugins.module_utils.report.page import Page
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.faulty_servers.start import started
from tests.faulty_servers.table import read
from tests.support import browser as browsers
from tests.support import client_run
from tests.support.result_objects import run
from tests.support.whole_run import whole_run

TEMPLATE = Page(Path(__file__).parents[2] / "templates/report.html.j2")
RULES = {"type": "tag",
         "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True,
                         "is_mobile": True}


def violations(seen: browsers.Opened) -> list[str]:
    """Return what axe-core complains of: the rule, the element, and what is wrong with it.

    It is put in by the debugger, which the page's Content-Security-Policy does not forbid.
    """
    found = Axe().run(seen.page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response
    assert len(found["passes"]) > 20, "hardly a rule had anything to look at"
    return [f"{rule['id']} ({rule['impact']}) {node['target']}: {node['failureSummary']}"
            for rule in found["violations"] for node in rule["nodes"]]


Measured = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Return the results of a server of the table, by its name."""
    def measure(name: str, **params: Any) -> dict[str, Any]:
        folder, row = tmp_path_factory.mktemp(name), read()[name]
        with started(row, folder) as servers:
            balancers = [] if servers.balancer_port is None else [{
                "name": "lb", "host": "127.0.0.1", "port": servers.balancer_port,
                "server_name": "localhost", "affinity": dict(row.balancer).get("affinity")}]
            return whole_run(list(servers.ports), servers.ca_file, folder / "reports",
                             load_balancers=balancers, **params)

    return measure


@pytest.fixture(scope="module")
def pages(measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages with each part that there may be, of real runs; one of a cluster in letters."""
    folder = tmp_path_factory.mktemp("pages")
    failing = measured("shared_cache", waivers=[
        {"id": "CORE-03", "subject": "n1->n2", "why": "a later release", "expires": "9999-12-31"},
        {"id": "CORE-03", "subject": "n2->n1", "why": "an earlier one", "expires": "2026-01-01"}])
    passing = measured("clean_balancer")
    point = vantage.measured(vantage.VantagePoint("office", "192.0.2.1"), passing,
                             python="3.11.2", openssl="OpenSSL 3.0.17")
    assert passing["verdict"] == "passed"
    failing = vantage.merged(failing, [point])
    assert failing["verdict"] == "failed"
    pages = {"passing": passing, "failing": failing,
             "letters": run(9, lambda issuer, redeemer: (issuer, redeemer) == ("n1", "n2"))}
    paths = {name: folder / f"{name}.html" for name in pages}
    for name, results in pages.items():
        paths[name].write_bytes(TEMPLATE.render(results))
    return paths


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as started:
        yield started


MORE = pytest.mark.beyond_gate("colours do not depend on the width: each has one audit in the gate")


@pytest.mark.parametrize(("scheme", "size"), [
    pytest.param("light", DESKTOP, id="light-desktop"),
    pytest.param("dark", PHONE, id="dark-phone"),
    pytest.param("dark", DESKTOP, id="dark-desktop", marks=MORE),
    pytest.param("light", PHONE, id="light-phone", marks=MORE)])
@pytest.mark.parametrize("name", ["passing", "failing", "letters"])
def test_nothing_keeps_anybody_from_reading_it(name: str, scheme: Any, size: dict[str, Any],
                                               pages: dict[str, Path], browser: Browser) -> None:
    with browsers.opened(browser, pages[name], color_scheme=scheme, **size) as seen:
        page = seen.page
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert violations(seen) == []
        page.locator(".filters button").first.click()
        page.locator(".matrix tbody td").nth(1).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(seen) == []


@pytest.fixture(scope="module")
def client_page(certificate: tuple[Path, Path],
                tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a run of client stacks, with each part that there may be."""
    results, folder = client_run.run(certificate, tmp_path_factory.mktemp("clients"),
                                     client_run.every_kind())
    assert results["verdict"] == "failed"
    return folder / "index.html"


@pytest.mark.beyond_gate("its styles are those of the other page, which the gate audits")
@pytest.mark.parametrize(("scheme", "size"), [
    ("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)])
def test_nothing_keeps_anybody_from_reading_that_of_client_stacks(
        scheme: Any, size: dict[str, Any], client_page: Path, browser: Browser) -> None:
    with browsers.opened(browser, client_page, color_scheme=scheme, **size) as seen:
        assert violations(seen) == []
        seen.page.evaluate(
            "document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert violations(seen) == []
        # Tables scroll within themselves, the page does not.
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert (seen.complaints, seen.requests) == ([], [])


SPOILT = {
    "color-contrast": "document.querySelector('.lead').style.color = '#ccc'",
    "heading-order": "document.querySelector('#matrix').outerHTML = '<h5 id=matrix>Matrix</h5>'",
    "button-name": "document.querySelector('.filters button').replaceChildren()",
    "svg-img-alt": "document.querySelectorAll('svg title, svg desc').forEach(e => e.remove())",
    "scrollable-region-focusable": "document.querySelectorAll('.scroll').forEach(one => {"
                                   "one.removeAttribute('tabindex'); one.style.width = '9rem'; })",
    "html-has-lang": "document.documentElement.removeAttribute('lang')",
}
"""By rule: what somebody could do wrong."""


@pytest.mark.parametrize("rule", SPOILT)
def test_the_audit_names_what_is_wrong(rule: str, pages: dict[str, Path],
                                       browser: Browser) -> None:
    with browsers.opened(browser, pages["passing"], **DESKTOP) as seen:
        seen.page.evaluate(f"() => {{ {SPOILT[rule]} }}")
        assert {one.partition(" ")[0] for one in violations(seen)} == {rule}
