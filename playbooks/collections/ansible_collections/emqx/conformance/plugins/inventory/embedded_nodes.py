"""Inventory plugin: a cluster of as many embedded nodes as one number says."""
from __future__ import annotations

DOCUMENTATION = r"""
name: embedded_nodes
short_description: A cluster of as many embedded nodes as one number says
description:
  - Puts the hosts C(emqx1), C(emqx2) … into the group C(emqx), each with a port of its own.
  - The extra variables C(emqx_node_count) and C(emqx_base_port) go before the file's options.
author: EMQX conformance maintainers (@emqx)
options:
  plugin:
    description: Names this plugin.
    required: true
    choices: [emqx.conformance.embedded_nodes]
  count:
    description: How many nodes.
    type: int
    required: true
  base_port:
    description: Port of the first node; the others count up from it.
    type: int
    default: 24000
"""

EXAMPLES = r"""
plugin: emqx.conformance.embedded_nodes
count: 50
"""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.vars import load_extra_vars

_GROUP = "emqx"
_LAST_PORT = 65535


class InventoryModule(BaseInventoryPlugin):
    """Generates the hosts."""

    NAME = "emqx.conformance.embedded_nodes"

    def verify_file(self, path: str) -> bool:
        """Tell whether this may be a file for this plugin."""
        return bool(super().verify_file(path)) and path.endswith(("emqx_nodes.yml",
                                                                  "emqx_nodes.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory. Raises AnsibleParserError."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        extra = load_extra_vars(loader)
        count = self._number("emqx_node_count", extra.get("emqx_node_count",
                                                          self.get_option("count")))
        first = self._number("emqx_base_port", extra.get("emqx_base_port",
                                                         self.get_option("base_port")))
        if first + count - 1 > _LAST_PORT:
            raise AnsibleParserError(f"{count} nodes from port {first} on go past port {_LAST_PORT}"
                                     ": lower emqx_base_port")
        self.inventory.add_group(_GROUP)
        for number in range(count):
            host = f"emqx{number + 1}"
            self.inventory.add_host(host, group=_GROUP)
            self.inventory.set_variable(host, "emqx_tls_port", first + number)

    @staticmethod
    def _number(name: str, value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = 0
        if number < 1:
            raise AnsibleParserError(f"{name} must be a whole number of at least 1, not {value!r}")
        return number
