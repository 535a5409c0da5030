"""The Docker Engine, its errors in sentences for people, and images that are there or not."""
from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...progress import ProgressFile
from ..base import DriverError, DriverInterrupted

INSTALLED = importlib.util.find_spec("docker") is not None
"""Whether the docker SDK is installed where the module runs."""

LABEL = "conformance"
IMAGE_LABEL = f"{LABEL}.image"
"""What images of `make image` carry."""
_TIMEOUT_S = 60
_MIB = 1024 * 1024


class NoEngineError(DriverError):
    """No engine answers."""


class Engine:
    """A connection to the engine of this machine."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            NoEngineError: there is none, or it may not be asked.
            DriverError: the SDK is missing, or DOCKER_HOST names another machine's engine.
        """
        if not INSTALLED:
            raise DriverError("the docker driver needs Python's docker SDK (`docker` in "
                              "requirements.txt) where the nodes are started from")
        from . import sdk

        self.address = _address()
        if urlsplit(self.address).scheme not in ("unix", "npipe", "http+unix"):
            raise DriverError(
                f"DOCKER_HOST is {self.address}, and the docker driver needs an engine of this "
                "machine: it mounts the checkout's files and opens ports on 127.0.0.1")
        try:
            self.api = sdk.DockerClient(base_url=self.address, version="auto",
                                           timeout=_TIMEOUT_S)
            self.info: dict[str, Any] = self.api.info()
        except (sdk.errors.DockerException, sdk.requests.RequestException, OSError) as error:
            raise NoEngineError(_no_engine(self.address, error)) from None

    def close(self) -> None:
        """Let go of the connection."""
        self.api.close()

    @property
    def rootless(self) -> bool:
        """Whether the engine runs as an ordinary user, whom containers know as root."""
        return any("rootless" in option for option in self.info.get("SecurityOptions") or ())

    @property
    def selinux(self) -> bool:
        """Whether mounted files need a label that lets containers read them."""
        return any("selinux" in option for option in self.info.get("SecurityOptions") or ())

    # -- images ----------------------------------------------------------------------------

    def image_id(self, name: str) -> str | None:
        """Return the id of an image that is here, or None."""
        from . import sdk

        with translated(f"the image {name} cannot be looked up"):
            try:
                return str(self.api.images.get(name).id)
            except sdk.errors.ImageNotFound:
                return None

    def pull(self, name: str, progress_file: str | None, stopped: Any) -> str:
        """Fetch an image from its registry and return its id, telling how far it is.

        Raises:
            DriverError: it cannot be had; the sentence names the ways out.
            DriverInterrupted: the run was asked to stop.
        """
        from . import sdk

        repository, tag = _reference(name)
        layers: dict[str, tuple[int, int]] = {}
        told = ProgressFile(progress_file, 0, f"MiB of {name} pulled")
        try:
            for event in self.api.api.pull(repository, tag=tag, stream=True, decode=True):
                if stopped.is_set():
                    raise DriverInterrupted
                if "error" in event:
                    raise DriverError(self._cannot_pull(name, str(event["error"])))
                detail = event.get("progressDetail") or {}
                if event.get("status") == "Downloading" and detail.get("total"):
                    layers[event["id"]] = (int(detail["current"]), int(detail["total"]))
                    told.update(sum(now for now, _ in layers.values()) // _MIB,
                                total=sum(total for _, total in layers.values()) // _MIB)
        except (sdk.errors.APIError, sdk.requests.RequestException) as error:
            raise DriverError(self._cannot_pull(name, _reason(error))) from None
        found = self.image_id(name)
        if found is None:
            raise DriverError(self._cannot_pull(name, "the pull ended without it"))
        return found

    def local_images(self) -> list[str]:
        """Return the names of the images that `make image` made here."""
        with translated("the images cannot be listed"):
            found = self.api.images.list(filters={"label": IMAGE_LABEL})
        return sorted(tag for image in found for tag in image.tags)

    def _cannot_pull(self, name: str, reason: str) -> str:
        here = self.local_images()
        ways = (f"take one that is here with -e emqx_image={here[0]}"
                + (f" (also here: {', '.join(here[1:])})" if here[1:] else "")) if here else (
                    "build one with `make image` and name it with -e emqx_image=…")
        why = reason.strip().rstrip(".")
        return (f"the image {name} is not here and cannot be pulled ({why}): bring it with "
                f"`docker load`, or {ways}")


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the SDK's errors into ``what`` and the engine's own reason.

    Raises:
        DriverError: in place of them.
    """
    from . import sdk

    try:
        yield
    except (sdk.errors.DockerException, sdk.requests.RequestException) as error:
        raise DriverError(f"{what}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    explained = getattr(error, "explanation", None)
    text = explained.decode("utf-8", "replace") if isinstance(explained, bytes) else explained
    return " ".join(str(text or error).split())


def _address() -> str:
    """Return where the engine is: DOCKER_HOST, else what `docker context use` chose."""
    named = os.environ.get("DOCKER_HOST")
    if named:
        return named
    from . import sdk

    with contextlib.suppress(Exception):  # a broken context must not hide the usual socket
        chosen = sdk.ContextAPI.get_current_context()
        if chosen is not None and chosen.Host:
            return str(chosen.Host)
    return "unix:///var/run/docker.sock"


def _no_engine(address: str, error: Exception) -> str:
    path = Path(urlsplit(address).path)
    if urlsplit(address).scheme == "unix" and path.exists() and not os.access(path, os.W_OK):
        return (f"the Docker Engine's socket {path} may not be opened by this user: join the group "
                "that owns it (usually docker) and log in again")
    return (f"no Docker Engine answers at {address}: is one installed and running? "
            f"({_short(_reason(error))})")


def _short(reason: str) -> str:
    """Return the cause at the heart of the SDK's nested errors."""
    for known in ("No such file or directory", "Connection refused", "Permission denied",
                  "timed out"):
        if known.lower() in reason.lower():
            return known
    return reason


def _reference(name: str) -> tuple[str, str | None]:
    """Split ``registry:5000/emqx/emqx:5.8.9`` at the tag; a digest stays with its name."""
    if "@" in name:
        return name, None
    head, _, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    return (f"{head}/{repository}" if head else repository), tag or "latest"
