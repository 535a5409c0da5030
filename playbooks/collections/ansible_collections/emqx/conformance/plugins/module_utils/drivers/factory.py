"""Which drivers there are, and how to get one for a cluster that is deployed."""
from __future__ import annotations

import threading
from pathlib import Path

from .base import Driver, DriverError
from .docker.driver import DockerCluster, DockerDriver
from .docker.engine import Engine
from .embedded.driver import EmbeddedDriver
from .external import ExternalDriver
from .layout import ClusterFolder
from .ready import Caller

DRIVERS: dict[str, type[Driver]] = {
    driver.name: driver for driver in (EmbeddedDriver, DockerDriver, ExternalDriver)}


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
        return ExternalDriver()
    if kind == EmbeddedDriver.name:
        return EmbeddedDriver(_deployed(state_dir, cluster), caller, stop=stop)
    if kind == DockerDriver.name:
        return _in_containers(*_placed(state_dir, cluster), caller, stop)
    raise DriverError(f"there is no driver {kind}")


def _placed(state_dir: Path | None, cluster: str | None) -> tuple[Path, str]:
    if state_dir is None or not cluster:
        raise DriverError("where the cluster keeps its state is not known: state_dir and "
                          "cluster_name are needed to drive its nodes")
    return state_dir, cluster


def _deployed(state_dir: Path | None, cluster: str | None) -> ClusterFolder:
    place, name = _placed(state_dir, cluster)
    folder = ClusterFolder.of(place, name)
    if not folder.nodes():
        raise _never_deployed(place, name)
    return folder


def _in_containers(state_dir: Path, name: str, caller: Caller,
                   stop: threading.Event) -> DockerDriver:
    cluster = DockerCluster(Engine(), state_dir, name)
    if not cluster.containers():
        cluster.engine.close()
        raise _never_deployed(state_dir, name)
    return DockerDriver(cluster, caller, stop=stop)


def _never_deployed(state_dir: Path, name: str) -> DriverError:
    return DriverError(f"the cluster {name} was never deployed in {state_dir}: run `make deploy` "
                       "first")
