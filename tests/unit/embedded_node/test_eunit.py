"""The embedded node's own tests, in Erlang."""
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parents[3] / "embedded_node"
SUITES = sorted(path.stem for path in (NODE / "test").glob("*_tests.erl"))


@pytest.fixture(scope="module")
def beams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The node and its tests, compiled without a warning."""
    folder = tmp_path_factory.mktemp("ebin")
    sources = [*(NODE / "src").glob("*.erl"), *(NODE / "test").glob("*.erl")]
    done = subprocess.run(["erlc", "-Werror", "-o", str(folder), *map(str, sources)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copy(NODE / "src" / "embedded_node.app", folder)
    return folder


def test_there_are_suites() -> None:
    assert {"embedded_node_frame_tests", "embedded_node_session_tests",
            "embedded_node_router_tests"} <= set(SUITES)


@pytest.mark.parametrize("suite", SUITES)
def test_suite(suite: str, beams: Path) -> None:
    done = subprocess.run(
        ["erl", "-noinput", "-pa", str(beams), "-eval",
         f"halt(case eunit:test({suite}, [verbose]) of ok -> 0; _ -> 1 end)."],
        capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(All \d+|2) tests passed|Test passed", done.stdout), done.stdout


def test_every_module_is_in_the_application_file() -> None:
    listed = set(re.findall(r"\bembedded_node\w*\b",
                            (NODE / "src/embedded_node.app").read_text().partition("{modules")[2]
                            .partition("]")[0]))
    assert listed == {path.stem for path in (NODE / "src").glob("*.erl")}
