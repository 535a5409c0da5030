"""The fuzzer's targets on real data, on damaged real data, and on whatever ever broke one."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.run import FINDINGS, SHARES

NAMES = sorted(SHARES)


@pytest.mark.parametrize("memory", [False, True])
def test_what_broke_a_target_once_does_no_more(
        made: dict[str, targets.Target], memory: bool) -> None:
    for path in sorted(path for path in FINDINGS.glob("*/*") if path.is_file()):
        targets.hold(made[path.parent.name], path.read_bytes(), memory=memory)


@pytest.mark.parametrize("name", NAMES)
def test_real_data_holds(made: dict[str, targets.Target], real: dict[str, list[bytes]],
                         name: str) -> None:
    assert made.keys() == real.keys() == set(NAMES)
    for seed in real[name]:
        targets.hold(made[name], seed, memory=False)
    for seed in real[name][::9]:  # tracing takes its time
        targets.hold(made[name], seed, memory=True)


_DAMAGE = st.lists(st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**16), st.integers(0, 7)),
    st.tuples(st.just("set"), st.integers(0, 2**16), st.sampled_from((0, 1, 2, 0x7F, 0x80, 0xFF))),
    st.tuples(st.just("insert"), st.integers(0, 2**16), st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("remove"), st.integers(0, 2**16), st.integers(1, 40)),
    st.tuples(st.just("repeat"), st.integers(0, 2**16), st.integers(1, 200)),
    st.tuples(st.just("end"), st.integers(0, 2**16), st.none()),
), min_size=1, max_size=6)


def damaged(data: bytes, damage: list[tuple[str, int, object]]) -> bytes:
    """Do to the data what is asked for, one after the other."""
    changed = bytearray(data)
    for what, place, how in damage:
        at = place % (len(changed) or 1)
        if what in ("flip", "set") and changed:
            assert isinstance(how, int)
            changed[at] = changed[at] ^ 1 << how if what == "flip" else how
        elif what == "insert":
            assert isinstance(how, bytes)
            changed[at:at] = how
        elif what == "remove":
            assert isinstance(how, int)
            del changed[at:at + how]
        elif what == "repeat":
            assert isinstance(how, int)
            changed[at:at] = bytes(changed[at:at + 64]) * how
        elif what == "end":
            del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_damaged_real_data_holds(made: dict[str, targets.Target], real: dict[str, list[bytes]],
                                 name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(real[name]))
    targets.hold(made[name], damaged(seed, data.draw(_DAMAGE)), memory=False)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_arbitrary_data_holds(made: dict[str, targets.Target], name: str, data: bytes) -> None:
    targets.hold(made[name], data, memory=False)
