"""The ssl listeners of nodes: where each is reached, who gets in, and whether it resumes."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..listeners import serving
from ..listeners.release import otp_of
from ..listeners.reuse import resumes
from ..model import Endpoint
from . import releases
from .placement import Listeners, enabled_ssl, port_of
from .rendering import Asked


def ssl_listeners(asked: Asked, node: Endpoint, listeners: Listeners,
                  published: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return the enabled ssl listeners of a node.

    ``published`` says at which port clients find which port of the node, where the two differ.
    """
    values = asked.values
    release = releases.release_of(values)
    erlang, off = releases.erlang(values, node.name, release)
    found = []
    for name, listener in enabled_ssl(listeners):
        options = listener["ssl_options"]
        inside = port_of(listener)
        port = published.get(inside, inside)
        verify_peer = options.get("verify") == "verify_peer"
        client = next((domain for domain in asked.domains[node.name] if domain.port == port),
                      asked.settings)
        written = values.of(node.name, "emqx_listeners").get("ssl", {}).get(name) or {}
        found.append({
            **asdict(node), "name": f"{node.name}/{name}", "node": node.name, "listener": name,
            "port": port, "release": str(release), "erlang": erlang, "verify_peer": verify_peer,
            "reuse_sessions": options["reuse_sessions"],
            "stated": "reuse_sessions" in (written.get("ssl_options") or {}),
            "resumes": resumes(release, value=options["reuse_sessions"], verify_peer=verify_peer,
                               off=off),
            "client_cert": client.client_cert if verify_peer else None,
            "client_key": client.client_key if verify_peer else None,
            "built_with": None if releases.is_emqx(values, node.name) else otp_of(release),
            "why_not": _why_not_asked(listener)})
    return found


def _why_not_asked(listener: Mapping[str, Any]) -> str:
    """Return why a listener cannot be asked from here; empty where it can."""
    if "tlsv1.2" not in serving.versions_of(listener["ssl_options"]):
        return "it speaks no TLS 1.2, and has no session IDs to resume"
    if listener.get("proxy_protocol"):
        return "it wants a load balancer's PROXY protocol header, which the probe does not send"
    return ""
