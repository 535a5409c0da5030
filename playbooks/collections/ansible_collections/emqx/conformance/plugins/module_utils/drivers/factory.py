"""Which drivers there are, and how to get one for a cluster that is deployed."""
from __future__ import annotations

import threading
from pathlib import Path

from .base import Driver, DriverError
from .embedded import EmbeddedDriver
from .external import ExternalDriver
from .layout import ClusterFolder
from .ready import Caller

DRIVERS: dict[str, type[Driver]] = {
    driver.name: driver for driver in (EmbeddedDriver, ExternalDriver)}


def open_driver(kind: str, *, state_dir: Path | None, cluster: str | None, caller: Caller,
                stop: threading.Event) -> Driver:
    """Return a driver of a cluster that was deployed before; nothing is started or connected.

    Args:
        kind: the driver's name.
        state_dir: where clusters keep their state.
        cluster: the cluster's name.
        caller: makes the connections that show a node ready.
        stop: when set, every wait ends with DriverInterrupted.

    Raises:
        DriverError: there is no such driver, or no such cluster.
    """
    if kind == ExternalDriver.name:
        return ExternalDriver(caller)
    if kind == EmbeddedDriver.name:
        return EmbeddedDriver(_deployed(state_dir, cluster), caller, stop=stop)
    raise DriverError(f"there is no driver {kind}")


def _deployed(state_dir: Path | None, cluster: str | None) -> ClusterFolder:
    if state_dir is None or not cluster:
        raise DriverError("where the cluster keeps its state is not known: state_dir and "
                          "cluster_name are needed to drive its nodes")
    folder = ClusterFolder.of(state_dir, cluster)
    if not folder.nodes():
        raise DriverError(f"the cluster {cluster} was never deployed in {state_dir}: run "
                          "`make deploy` first")
    return folder
