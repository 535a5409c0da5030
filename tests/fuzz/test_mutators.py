"""What keeps the framing whole does so, whatever the mutation within is."""
from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import mutators, reference, targets


def _bytes_changed(data: bytes, longest: int) -> bytes:
    made = random.Random(len(data))  # noqa: S311 - any will do
    return (data + made.randbytes(made.randrange(9)))[made.randrange(3):][:longest]


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_mutated_streams_are_mostly_whole(real: dict[str, list[bytes]], seed: int,
                                          which: int) -> None:
    data = real["transcript"][which % len(real["transcript"])]
    mutated = mutators.two_bytes_and_a_stream(_bytes_changed, data, 8192, seed)
    assert len(mutated) <= 8192
    targets.transcript(mutated)


def test_a_mutated_stream_still_has_its_records_and_its_hello(
        real: dict[str, list[bytes]]) -> None:
    data = next(seed for seed in real["transcript"] if seed[1] == 0)
    whole = hellos = 0
    for seed in range(1, 400):
        mutated = mutators.two_bytes_and_a_stream(_bytes_changed, data, 8192, seed)
        try:
            records = reference.records(mutated[2:])
        except reference.NotTlsError:
            continue
        whole += 5 * len(records) + sum(len(one) for _, one in records) == len(mutated) - 2
        hellos += targets.read([("server", mutated[2:])])[0].server_hello is not None
    assert whole > 250
    assert hellos > 200
