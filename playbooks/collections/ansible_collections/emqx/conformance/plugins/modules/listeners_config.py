#!/usr/bin/python
"""Complete and validate the listeners of EMQX nodes."""
from __future__ import annotations

DOCUMENTATION = r"""
module: listeners_config
short_description: Complete and validate the listeners of EMQX nodes
description:
  - Fills in what O(nodes) leave out and refuses what EMQX of that release refuses at boot,
    with the path of the key; all errors in one run.
  - Changes nothing; a template renders the result.
options:
  nodes:
    description: The nodes.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      host:
        description: Address at which the node is reached.
        type: str
        required: true
      port:
        description: Port at which the node is reached over TLS.
        type: int
        required: true
      server_name:
        description: Not needed here; taken so that a list of nodes can be passed on as it is.
        type: str
  rendering:
    description:
      - Node name -> C(listeners), EMQX's own keys as C(type -> name -> keys) where null removes a
        key, and the paths C(cacertfile), C(certfile), C(keyfile) as the node sees them, for
        listeners that name none.
    type: dict
    required: true
  release:
    description: EMQX release whose schema decides.
    type: str
    required: true
  check_files:
    description:
      - Whether certificate files must exist here. Turn it off when the paths are those of a
        container.
    type: bool
    default: true
author: EMQX conformance maintainers (@emqx)
attributes:
  check_mode:
    description: Changes nothing, so it does the same.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Complete the listeners
  emqx.conformance.listeners_config:
    release: 5.8.9
    nodes:
      - name: emqx1
        host: 127.0.0.1
        port: 8883
    rendering:
      emqx1:
        listeners: {ssl: {default: {ssl_options: {depth: 3}}}}
        cacertfile: /srv/certs/ca.pem
        certfile: /srv/certs/server-cert.pem
        keyfile: /srv/certs/server-key.pem
  register: completed
"""

RETURN = r"""
listeners:
  description: Node name -> listener type -> listener name -> keys, nothing left to defaults.
  type: dict
  returned: success
  sample: {emqx1: {ssl: {default: {enable: true, bind: "127.0.0.1:8883"}}}}
problems:
  description: What is wrong, one sentence each.
  type: list
  elements: str
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.complete import (
    Certificates,
    Node,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.validate import (
    check_nodes,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "list", "elements": "dict", "required": True, "options": {
                "name": {"type": "str", "required": True},
                "host": {"type": "str", "required": True},
                "port": {"type": "int", "required": True},
                "server_name": {"type": "str"},
            }},
            "rendering": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "check_files": {"type": "bool", "default": True},
        },
        supports_check_mode=True)
    try:
        release = parse_release(module.params["release"])
    except ValueError as error:
        module.fail_json(msg=f"emqx_release: {error}.", problems=[str(error)])
    rendering = module.params["rendering"]
    nodes = [Node(node["name"], node["host"], node["port"], rendering[node["name"]]["listeners"],
                  Certificates(*(rendering[node["name"]][path]
                                 for path in ("cacertfile", "certfile", "keyfile"))))
             for node in module.params["nodes"]]
    checked = check_nodes(nodes, release, check_files=module.params["check_files"])
    for warning in checked.warnings:
        module.warn(warning)
    if checked.errors:
        module.fail_json(msg="\n".join(checked.errors), problems=list(checked.errors))
    module.exit_json(changed=False, listeners=checked.listeners)


if __name__ == "__main__":
    main()
