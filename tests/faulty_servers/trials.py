"""All trials at once, and what they come to together."""
from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import os
from collections.abc import Iterable, Iterator

from tests.faulty_servers import trial
from tests.faulty_servers.table import Row
from tests.faulty_servers.trial import Trial


def run_all(rows: Iterable[Row], blind: Iterable[str] = itertools.repeat("")) -> Iterator[Trial]:
    """Run rows side by side, in several processes, and yield what came of each, in their order.

    ``blind`` names, for each row, the check whose assertion is left out.

    There are three processes for each processor: half of the time servers are waited for, and with
    these a right one still keeps its deadlines. Those that are waited for longest begin first, and
    with each of them one that is not, or no process would have anything to do.
    """
    pairs = list(zip(rows, blind))
    waiting = [place for place, (row, _) in enumerate(pairs) if _waits(row)]
    working = [place for place, (row, _) in enumerate(pairs) if not _waits(row)]
    in_turn = [place for both in itertools.zip_longest(waiting, working)
               for place in both if place is not None]
    pool = concurrent.futures.ProcessPoolExecutor(
        3 * (os.cpu_count() or 1), multiprocessing.get_context("spawn"))
    try:
        begun = {place: pool.submit(trial.run, pairs[place][0], blind=pairs[place][1])
                 for place in in_turn}
        for place in range(len(pairs)):
            yield begun[place].result()
    finally:
        pool.shutdown(cancel_futures=True)


def _waits(row: Row) -> bool:
    """Tell whether most of its trial is waiting: for sessions to grow old, or for no answer."""
    return bool(row.cache) or any(
        fault.startswith(("hangs", "silent", "slow")) for fault in row.how)


def summary(trials: Iterable[Trial]) -> str:
    """Return the figures: defects detected of those planted, and false alarms."""
    trials = list(trials)
    planted = [done for done in trials if done.row.planted]
    detected = sum(done.detected for done in planted)
    alarms = sum(len(done.false_alarms) for done in trials)
    return (f"{len(trials)} servers: detected {detected}/{len(planted)} planted, {alarms} false "
            f"alarm{'' if alarms == 1 else 's'}")
