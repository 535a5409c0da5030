#!/usr/bin/python
"""Documentation of the action plugin of the same name; there is nothing to run on a target."""
from __future__ import annotations

DOCUMENTATION = r"""
module: check_inventory
short_description: Check every variable of the group emqx before anything is touched
description:
  - Checks the variables whose names begin with C(emqx_) or C(resumption_) of all hosts against the
    roles' argument specifications, and what they say against each other and the files they name.
  - Refuses names that no role knows, with the nearest one that some role does.
  - Refuses a group C(emqx) that is missing, empty, or left out by C(--limit).
  - Runs on the controller, whichever host the task is for, and connects to none.
options:
  roles_dir:
    description: Where the roles are, each with C(meta/argument_specs.yml).
    type: path
    required: true
  root:
    description: Where relative paths in variables begin.
    type: path
    required: true
  upgraded:
    description: Whether to return the nodes as they are after the upgrade to C(emqx_next_release).
    type: bool
    default: false
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
- name: Check the inventory
  emqx.conformance.check_inventory:
    roles_dir: "{{ playbook_dir }}/../roles"
    root: "{{ playbook_dir }}/.."
  register: checked
  run_once: true
"""

RETURN = r"""
nodes:
  description: The nodes that C(--limit) leaves, as C(resumption_verify) takes them.
  type: list
  elements: dict
  returned: success
  sample: [{name: emqx1, host: 127.0.0.1, port: 8883, server_name: 127.0.0.1}]
all_nodes:
  description: All nodes of the cluster, the same way.
  type: list
  elements: dict
  returned: success
trust_domains:
  description: The listeners of C(nodes) that demand client certificates, each with its C(node).
  type: list
  elements: dict
  returned: success
load_balancers:
  description:
    - The load balancers that C(--limit) leaves, hosts of the group C(load_balancer), each with the
      nodes behind it.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: lb1, host: 127.0.0.1, port: 8890, server_name: 127.0.0.1, affinity: session_id,
       balance: session_id, template: '', servers: [
         {name: emqx1, host: 127.0.0.1, port: 8883, proxy_protocol: false}]}
all_load_balancers:
  description: The names of all of them.
  type: list
  elements: str
  returned: success
vantage:
  description: The hosts of the group C(vantage) that C(--limit) leaves, as C(resumption_verify)
    takes them.
  type: list
  elements: dict
  returned: success
ssl_listeners:
  description:
    - The enabled C(ssl) listeners of C(nodes), each with where it is reached, a client that it
      lets in, and whether it resumes sessions, as EMQX of this release and its Erlang/OTP do.
  type: list
  elements: dict
  returned: success
next_ssl_listeners:
  description: The same as C(emqx_next_release) has them; none without that.
  type: list
  elements: dict
  returned: success
rendering:
  description:
    - Node -> its C(listeners) (type -> name -> keys), completed, nothing that matters left to
      EMQX's defaults; C(node_name) as EMQX spells it; and C(listeners_file), where the node finds
      them. None with external nodes.
  type: dict
  returned: success
own_certificates:
  description: The files the user brought, by C(cacertfile), C(certfile), C(keyfile).
  type: list
  elements: dict
  returned: success
settings:
  description:
    - The cluster's settings by their names without C(emqx_) and C(resumption_), defaults applied,
      paths absolute, without secrets; and C(licensed).
  type: dict
  returned: success
  sample: {driver: embedded, cluster_name: local, max_impact: noisy}
listener_warnings:
  description: What EMQX of this release will not do as the listeners say.
  type: list
  elements: str
  returned: success
"""
