"""What the gate makes of tests that fail: always, every other time, or for one set-up."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
FLICKERS = """
    import pathlib
    import pytest

    def flicker(name):
        seen = pathlib.Path(__file__).with_name(name + ".seen")
        if not seen.exists():
            seen.touch()
            raise AssertionError(name + " was not there yet")
"""


Gate = Callable[..., pytest.RunResult]


@pytest.fixture
def gate(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Run the gate on tests, which may call ``flicker`` to fail the first time."""
    # As this project's own tests/conftest.py has it.
    pytester.makeconftest('pytest_plugins = ["tests.support.gate"]')
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    # What is installed beside pytest-xdist takes most of a second to load.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=FLICKERS + source)
        return pytester.runpytest_subprocess("--gate", *options)

    return run


def test_what_passes_alone_is_named_and_the_run_is_green(gate: Gate) -> None:
    run = gate("""
    def test_sound():
        pass

    def test_flickers():
        flicker("the node")
""", "-p", "xdist", "-n", "2")
    assert run.ret == 0
    run.stdout.fnmatch_lines([
        "*first failure of test_it.py::test_flickers*",
        "UNSTEADY test_it.py::test_flickers - AssertionError: the node was not there yet",
        "*1 passed, 1 unsteady*"])


def test_what_fails_is_named_before_the_rest_has_run(gate: Gate) -> None:
    run = gate("""
    def test_flickers():
        flicker("the node")

    def test_sound(capfd):
        with capfd.disabled():
            print("sound has run")
""")
    named = "failed: test_it.py::test_flickers - AssertionError: the node was not there yet"
    [at] = [number for number, line in enumerate(run.outlines) if line == named]
    assert any(line.endswith("sound has run") for line in run.outlines[at:])


def test_what_fails_again_is_failed(gate: Gate) -> None:
    run = gate("""
    def test_sound():
        pass

    def test_broken():
        assert 1 == 2, "one is not two"
""")
    assert run.ret == 1
    run.stdout.fnmatch_lines([
        "FAILED test_it.py::test_broken - AssertionError: one is not two*",
        "*1 failed, 1 passed*"])
    run.stdout.no_fnmatch_line("UNSTEADY*")


def test_more_than_two_that_are_unsteady_are_red(gate: Gate) -> None:
    run = gate("""
    @pytest.mark.parametrize("name", ["a", "b", "c"])
    def test_flickers(name):
        flicker(name)
""")
    assert run.ret == 1
    run.stdout.fnmatch_lines(["UNSTEADY *[[]a[]]*", "UNSTEADY *[[]b[]]*", "UNSTEADY *[[]c[]]*",
                              "More than 2 are unsteady, so this run is red.", "*3 unsteady*"])


def test_a_set_up_counts_once_for_all_its_tests(gate: Gate) -> None:
    run = gate("""
    @pytest.fixture(scope="module")
    def node():
        flicker("the cluster")

    @pytest.mark.parametrize("number", range(5))
    def test_of_the_cluster(node, number):
        pass
""")
    assert run.ret == 0
    run.stdout.fnmatch_lines([
        "UNSTEADY test_it.py::test_of_the_cluster[[]0[]] (and 4 more, one set-up) - *cluster was*",
        "*5 unsteady*"])


def test_what_is_broken_all_over_is_not_tried_again(gate: Gate) -> None:
    run = gate("""
    @pytest.mark.parametrize("number", range(11))
    def test_broken(number):
        assert not number + 1
""")
    assert run.ret == 1
    assert sum(line.startswith("FAILED") for line in run.outlines) == 11
    run.stdout.no_fnmatch_line("*once more, alone*")


def test_what_is_left_behind_fails_and_what_is_skipped_is_told_by_reason(gate: Gate) -> None:
    run = gate("""
    @pytest.fixture
    def leaves():
        yield
        assert not pathlib.Path(__file__).exists(), "it is still there"

    def test_leaves_something(leaves):
        pass

    @pytest.mark.skip("no such machine here")
    def test_elsewhere():
        pass

    @pytest.mark.skip("no such machine here")
    def test_far_away():
        pass
""")
    assert run.ret == 1
    run.stdout.fnmatch_lines([
        "SKIPPED 2: no such machine here (test_it.py)",
        "FAILED test_it.py::test_leaves_something - AssertionError: it is still there*"])


def test_what_the_gate_has_no_time_for_is_skipped_with_its_reason(gate: Gate) -> None:
    source = """
    @pytest.fixture
    def dear():
        raise AssertionError("it was set up")

    @pytest.mark.beyond_gate("it takes an hour")
    def test_long(dear):
        pass
"""
    run = gate(source)
    assert run.ret == 0
    run.stdout.fnmatch_lines(["SKIPPED 1: left to make test-all: it takes an hour (test_it.py)"])
    run = gate(source, "--all")
    assert run.ret == 1
    run.stdout.fnmatch_lines(["FAILED test_it.py::test_long - *it was set up*"])


def test_what_cannot_be_collected_is_red(gate: Gate) -> None:
    run = gate("""
    import no_such_module
""")
    assert run.ret != 0
    assert "no_such_module" in run.stdout.str()
