"""Inventory plugin: the nodes that a DNS name leads to."""
from __future__ import annotations

DOCUMENTATION = r"""
name: dns_nodes
short_description: The nodes that a DNS name leads to
description:
  - Makes one host of each A and AAAA record of a name, or of each address that its SRV records lead
    to, with the variables C(emqx_tls_host), C(emqx_tls_port) and C(emqx_tls_server_name).
  - Asks the DNS alone, so /etc/hosts and mDNS are not looked at; names are absolute, and search
    domains are not appended. CNAMEs are followed. What does not fit into UDP is asked over TCP.
  - Host names come of what the records say and not of the order they are in, and hosts are sorted,
    so that C(--limit) and waivers mean the same node on the next run.
  - Of several records with the same address and port one is taken.
author: EMQX conformance maintainers (@emqx)
requirements:
  - dnspython (it is in requirements.txt)
options:
  plugin:
    description: Names this plugin.
    required: true
    choices: [emqx.conformance.dns_nodes]
  name:
    description:
      - DNS name to ask for, such as V(mqtt.example.com), or V(_secure-mqtt._tcp.example.com) of
        O(type=srv).
    type: str
    required: true
  type:
    description:
      - V(address) takes the name's own addresses.
      - V(srv) takes the addresses of the targets of its SRV records, each with the record's port.
    type: str
    choices: [address, srv]
    default: address
  port:
    description: Port of the nodes' TLS listeners (default 8883). SRV records have their own.
    type: int
  family:
    description:
      - Which addresses to take. With V(any) a node that has one of each becomes two hosts, between
        which sessions resume, and a warning says so.
    type: str
    choices: [any, ipv4, ipv6]
    default: any
  server_name:
    description:
      - The C(emqx_tls_server_name) of all hosts, asked for (SNI) and expected in the certificate.
        Default is O(name), and for O(type=srv) the target of the record.
      - Host variables go before those of groups, so it has to be set here.
    type: str
  group:
    description: Group to put the hosts into.
    type: str
    default: emqx
  prefix:
    description:
      - What host names begin with. After it comes the SRV record's target, without the domain it
        shares with O(name), with its address and port behind it where that alone would not be
        unique; otherwise the address, an IPv6 address with hyphens for colons.
    type: str
    default: ""
  max_nodes:
    description: How many hosts to refuse to go beyond, since every one will be connected to.
    type: int
    default: 100
  servers:
    description: Addresses of the DNS servers to ask. Default is those of /etc/resolv.conf.
    type: list
    elements: str
    default: []
  server_port:
    description: Port of O(servers).
    type: int
    default: 53
  timeout:
    description: Seconds for all questions together.
    type: float
    default: 5
"""

EXAMPLES = r"""
# inventory/my-staging/discovery.yml: one node for each address of mqtt.example.com
plugin: emqx.conformance.dns_nodes
name: mqtt.example.com
family: ipv4
---
# What SRV records say, such as those of a headless service of Kubernetes, where certificates name
# the service and not its pods.
plugin: emqx.conformance.dns_nodes
name: _mqttssl._tcp.emqx-headless.iot.svc.cluster.local
type: srv
server_name: mqtt.example.com
---
# From a DNS server of its own, with readable host names: lab-192.0.2.7
plugin: emqx.conformance.dns_nodes
name: mqtt.lab.example.com
port: 8884
prefix: lab-
servers: [192.0.2.53]
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.nearest import did_you_mean
from ansible_collections.emqx.conformance.plugins.plugin_utils.discovery import (
    DiscoveryError,
    Host,
    both_families,
    hosts,
)

_PORT = 8883
_LAST_PORT = 65535


class InventoryModule(BaseInventoryPlugin):
    """Asks the DNS and makes hosts of the answers."""

    NAME = "emqx.conformance.dns_nodes"

    def verify_file(self, path: str) -> bool:
        """Tell whether this may be a file for this plugin, which its key C(plugin) names."""
        return bool(super().verify_file(path)) and path.endswith((".yml", ".yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory. Raises AnsibleParserError."""
        super().parse(inventory, loader, path, cache)
        config = self._read_config_data(path)
        try:
            self._check(config)
            found = self._found()
        except DiscoveryError as error:
            raise AnsibleParserError(str(error)) from None
        if warning := both_families(found, self.get_option("name")):
            self.display.warning(warning)
        # Names of groups with hyphens and the like are Ansible's to judge.
        group = self.inventory.add_group(self.get_option("group"))
        for host in found:
            self.inventory.add_host(host.name, group=group)
            for variable, value in (("host", host.listener.address), ("port", host.listener.port),
                                    ("server_name", host.listener.server_name)):
                self.inventory.set_variable(host.name, f"emqx_tls_{variable}", value)

    def _check(self, config: Mapping[str, Any]) -> None:
        """Refuse what Ansible would let pass."""
        known = self.get_options()
        for key in config:
            if key not in known:
                hint = did_you_mean(str(key), known) or f": it has {', '.join(sorted(known))}."
                raise DiscoveryError(f"emqx.conformance.dns_nodes has no option {key}{hint}")
        if self.get_option("type") == "srv" and self.get_option("port") is not None:
            raise DiscoveryError("port has no place beside type: srv, whose records say the ports.")
        for name in ("port", "server_port"):
            port = self.get_option(name)
            if port is not None and not 1 <= port <= _LAST_PORT:
                raise DiscoveryError(f"{name} must be 1 to {_LAST_PORT}, not {port}.")
        for name in ("max_nodes", "timeout"):
            if not self.get_option(name) > 0:
                raise DiscoveryError(f"{name} must be more than 0, not {self.get_option(name):g}.")

    def _found(self) -> list[Host]:
        try:
            # Whoever has no such inventory need not have the library.
            from ansible_collections.emqx.conformance.plugins.plugin_utils.dns_client import (  # noqa: PLC0415
                DnsClient,
            )
        except ImportError:
            raise DiscoveryError("emqx.conformance.dns_nodes needs dnspython, which is not "
                                 "installed here: pip install -r requirements.txt.") from None
        client = DnsClient(self.get_option("servers"), port=self.get_option("server_port"),
                           timeout=self.get_option("timeout"))
        name = self.get_option("name").rstrip(".").lower()
        listeners = client.listeners(
            name, self.get_option("type"), port=self.get_option("port") or _PORT,
            family=self.get_option("family"), server_name=self.get_option("server_name"))
        return hosts(listeners, name=name, prefix=self.get_option("prefix"),
                     max_nodes=self.get_option("max_nodes"))
