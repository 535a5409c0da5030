"""A whole verification, for tests of the checks."""
from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v

from tests.support.costs import add_up
from tests.support.few_handshakes import few_handshakes
from tests.support.junit_schemas import validate

ROOT = Path(__file__).parents[3]
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "schemas/results.schema.json").read_text()))


@pytest.fixture
def run(certificate: tuple[Path, Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Verify the given ports and return the results, checked against schema and JUnit."""

    def go(ports: list[int], *, stop: threading.Event | None = None,
           **changed: Any) -> dict[str, Any]:
        params: dict[str, Any] = {
            "nodes": [{"name": f"n{number}", "host": "127.0.0.1", "port": port,
                       "server_name": "localhost"} for number, port in enumerate(ports, 1)],
            "driver": "external", "ca": str(certificate[0]), "client_cert": None,
            "client_key": None, "cache_scope": "node", "session_cache_max": None,
            "rate_limit": None, "timeout": 2.0,
            "tls_versions": ["tlsv1.2"], "mqtt_version": "auto", "mqtt_username": None,
            "mqtt_password": None, "mqtt_client_id_prefix": "x-", "mqtt_topic": "x",
            "max_impact": "noisy",
            "reports_dir": str(tmp_path / "reports"), "waivers": [], "parallel": 4,
            "progress_file": str(tmp_path / "progress"),
            "page_template": str(ROOT / "templates/report.html.j2"), **changed}
        with few_handshakes():
            results, folder = v.verify(v.request(params), stop or threading.Event())
        written = json.loads((folder / "results.json").read_text())
        assert written == json.loads(json.dumps(results))
        add_up(written)
        SCHEMA.validate(written)
        assert (tmp_path / "reports/latest").resolve() == folder.resolve()
        page = (folder / "index.html").read_text()
        assert f"<strong>{results['verdict'].upper()}</strong>" in page
        assert page.count("<tr><th scope=\"row\">n1</th>") >= 1
        assert "://" not in page  # self-contained
        summary = (folder / "summary.md").read_text()
        assert summary.startswith(
            f"## TLS 1.2 session-ID resumption: {results['verdict'].upper()}\n")
        assert "`index.html`" in summary
        validate((folder / "junit.xml").read_bytes())
        suites = junitparser.JUnitXml.fromfile(str(folder / "junit.xml"))
        cases = [case for suite in suites for case in suite]
        assert len(cases) == len(results["checks"]) + 1
        red = [case for case in cases if not case.is_passed and not case.is_skipped]
        assert bool(red) == (results["verdict"] != "passed")
        return results

    return go
