"""What the controller and a vantage point hand each other: a request there, a result back.

Files travel by content and are kept in memory there, so that no key ever reaches a disk that is
not the controller's and nothing need be removed again.
"""
from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONTROLLER = "controller"
"""What the place is called that ansible-playbook runs on."""

_FILES = ("ca", "client_cert", "client_key")
_DOMAIN_FILES = ("client_cert", "client_key")
_STAYS = ("reports_dir", "page_template", "progress_file", "state_dir", "cluster_name", "vantage",
          "compare", "root")
"""Parameters that mean something on the controller only."""
_STAYS_OF_DOMAIN = ("ca_cert", "ca_key")
"""A CA's private key signs for anybody: no other host is given one."""


class HandoverError(Exception):
    """A file cannot be handed over; the sentence says which, and why."""


def handed_over(params: Mapping[str, Any], otp_releases: Mapping[str, Mapping[str, str]],
                places: int) -> str:
    """Return as text what a vantage point needs to probe as the controller did. It is secret.

    Args:
        params: the parameters of the module ``resumption_verify``, complete.
        otp_releases: by node, what the controller has learnt of it.
        places: how many places probe.

    Raises:
        HandoverError: a file cannot be read.
    """
    there = {key: value for key, value in params.items() if key not in _STAYS}
    there["trust_domains"] = [
        {key: value for key, value in domain.items() if key not in _STAYS_OF_DOMAIN}
        for domain in params["trust_domains"]]
    there.update(otp_releases={**params["otp_releases"], **otp_releases}, places=places)
    named = [there[key] for key in _FILES]
    named += [domain[key] for domain in there["trust_domains"] for key in _DOMAIN_FILES]
    files = {path: _content(path) for path in dict.fromkeys(named) if path}
    return json.dumps({"params": there, "files": files})


def _content(path: str) -> str:
    try:
        return base64.b64encode(Path(path).read_bytes()).decode()
    except OSError as error:
        raise HandoverError(f"{path} cannot be read: {error.strerror}") from None


class Received:
    """What was handed over, with its files in memory for as long as this is open."""

    def __init__(self, text: str) -> None:
        """Raises OSError where there are no files in memory (not Linux)."""
        if not hasattr(os, "memfd_create"):
            raise OSError("files in memory need memfd_create (Linux)")
        whole = json.loads(text)
        self._descriptors: dict[str, int] = {}
        for path, content in whole["files"].items():
            descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
            self._descriptors[path] = descriptor
            os.write(descriptor, base64.b64decode(content))
        params = whole["params"]
        for key in _FILES:
            params[key] = self._here(params[key])
        for domain in params["trust_domains"]:
            for key in _DOMAIN_FILES:
                domain[key] = self._here(domain[key])
        self.params: dict[str, Any] = {**dict.fromkeys(_STAYS), **params}

    def _here(self, path: str | None) -> str | None:
        # Opening this gives a descriptor of its own, which begins at the first byte.
        return f"/proc/self/fd/{self._descriptors[path]}" if path else None

    def named(self, sentence: str) -> str:
        """Return a sentence with the files' names as the controller knows them."""
        for path in self._descriptors:
            sentence = sentence.replace(f"{self._here(path)} ", f"{path} ")
        return sentence

    def close(self) -> None:
        """Forget the files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def packed(results: Mapping[str, Any]) -> str:
    """Return a result as one short word.

    Ansible looks at every string in a module's result, and masks what resembles a secret.
    """
    return base64.b64encode(zlib.compress(json.dumps(results).encode())).decode()


def unpacked(text: str) -> dict[str, Any]:
    """Return the result that :func:`packed` made a word of."""
    results: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    return results
