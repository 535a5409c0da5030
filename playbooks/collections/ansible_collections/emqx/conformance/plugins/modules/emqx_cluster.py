#!/usr/bin/python
"""Ansible module: have the nodes of a cluster running."""
from __future__ import annotations

DOCUMENTATION = r"""
module: emqx_cluster
short_description: Have the nodes of an MQTT cluster running, or gone
description:
  - Starts the nodes that do not run, restarts those whose configuration, certificates, code or
    settings changed, leaves the others alone, and waits until the cluster is ready, which means
    that every node answers CONNECT over TLS and sees all members.
  - When that fails, the nodes that this run started are stopped again; nodes that ran before and
    were not changed run on.
  - Nodes outlive the playbook. O(state=absent) ends them and removes all they left.
author: EMQX conformance maintainers (@emqx)
options:
  state:
    description:
      - V(present) has the nodes running as they are rendered now.
      - V(restarted) does so too, and restarts the nodes that already run.
      - V(absent) ends all nodes of the cluster.
    type: str
    choices: [present, restarted, absent]
    default: present
  driver:
    description:
      - What runs the nodes. V(docker) is this machine's Docker Engine. V(external) nodes are run by
        somebody else and are left alone.
    type: str
    choices: [embedded, docker, external]
    default: embedded
  cluster_name:
    description:
      - Name of the cluster, and of its directory under O(state_dir).
      - Can be left out with O(state=absent), which then is about every cluster there.
    type: str
  state_dir:
    description: Where running nodes keep their state and logs.
    type: path
  source_dir:
    description: The embedded node's sources; it is compiled below them, in C(ebin).
    type: path
  nodes:
    description: The nodes of this run.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Inventory name., type: str, required: true}
      host: {description: Name or address for clients., type: str, required: true}
      port: {description: Port of the TLS listener., type: int, default: 8883}
      server_name:
        description: Name asked for (SNI) and expected in the certificate. Default is C(host).
        type: str
      config:
        description:
          - The rendered C(listeners.hocon) that the node boots from. Default is
            C(<name>/listeners.hocon) under O(config_dir).
        type: path
  config_dir:
    description: Where the nodes' rendered configurations are.
    type: path
  all_nodes:
    description:
      - Names of all nodes of the cluster, more than O(nodes) under C(--limit). A node that runs
        and is not among them is stopped. Default is the names of O(nodes).
    type: list
    elements: str
  release:
    description: EMQX release whose configuration keys count as known. Default is the newest 5.8.x.
    type: str
  containers:
    description:
      - Node -> what its container is, for the V(docker) driver. C(image); C(tls_ports), a mapping
        of the container's ports to ports of 127.0.0.1, of which the first is the one that is
        probed; C(dashboard_port), likewise, for port 18083; C(files), a mapping of paths in the
        container to files of this machine.
    type: dict
    default: {}
  container_memory:
    description: Memory a container may use, as Docker spells it.
    type: str
    default: 1g
  container_cpus:
    description: Processors a container may use, in whole or part.
    type: float
    default: 1
  dashboard_password:
    description: Password of the Dashboard's user C(admin) on a new node of the V(docker) driver.
    type: str
  license:
    description: EMQX's licence key, for the V(docker) driver.
    type: str
  session_lifetime:
    description: Seconds a node remembers a session. Default is that of OTP, 24 h.
    type: int
  session_cache_max:
    description: Sessions a node remembers. Default is that of OTP, 1,000.
    type: int
  ca:
    description: PEM file of CAs trusted when readiness is tried. Default is the system's store.
    type: path
  client_cert:
    description: PEM file of the client certificate for that.
    type: path
  client_key:
    description: PEM file of its private key.
    type: path
  mqtt_username:
    description:
      - User name for CONNECT when readiness is tried.
      - The embedded driver lets its nodes accept this user only, and nobody without credentials;
        it needs O(mqtt_password) then.
    type: str
  mqtt_password:
    description:
      - Its password. Embedded nodes are given a salted hash of it, nothing else is stored.
    type: str
  timeout:
    description:
      - Seconds within which the cluster must be ready. Of embedded nodes, which boot a few at a
        time, each has as many to boot before.
    type: float
    default: 30
  answer_timeout:
    description:
      - Seconds that a node has for TCP connect and handshake, and again for CONNECT to CONNACK,
        each time that it is asked.
    type: float
    default: 5
  to_render:
    description:
      - Nodes whose configuration is going to be another than the rendered one. In check mode it is
        not read, and the nodes are told to be started or restarted.
    type: list
    elements: str
    default: []
  progress_file:
    description: Where to say how far the start is; the action plugin of the same name reads it.
    type: path
attributes:
  check_mode:
    support: full
    description: Says what would be started, restarted and stopped; compiles and starts nothing.
  diff_mode:
    support: full
    description: Shows the state of each node before and after.
"""

EXAMPLES = r"""
- name: Have three nodes running
  emqx.conformance.emqx_cluster:
    cluster_name: local
    state_dir: .cluster
    source_dir: embedded_node
    config_dir: config/local
    ca: certs/ca.pem
    nodes:
      - {name: emqx1, host: 127.0.0.1, port: 8883}
      - {name: emqx2, host: 127.0.0.1, port: 8884}
      - {name: emqx3, host: 127.0.0.1, port: 8885}
  delegate_to: localhost
  run_once: true

- name: End every cluster of this checkout
  emqx.conformance.emqx_cluster:
    state: absent
    state_dir: .cluster
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
started:
  description: Nodes that did not run and do now.
  type: list
  elements: str
  returned: success
restarted:
  description: Nodes that ran and were started anew.
  type: list
  elements: str
  returned: success
unchanged:
  description: Nodes that ran and were left alone.
  type: list
  elements: str
  returned: success
stopped:
  description: Nodes that ran and are gone; as C(cluster/node) with O(state=absent).
  type: list
  elements: str
  returned: success
identities:
  description: What each node says it is; empty in check mode, and of V(external) nodes.
  type: dict
  returned: success
  sample:
    emqx1:
      product: embedded OTP node
      version: 0.1.0
      otp_release: "25"
      how_identified: told by the user properties of its MQTT 5 CONNACK
asked:
  description: By node, the handshakes that it took to see whether it was ready.
  type: dict
  returned: success
  sample:
    emqx1: 1
warnings:
  description: Configuration keys that have no effect on these nodes, each with its path.
  type: list
  elements: str
  returned: when there are any
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.conformance.plugins.module_utils.cluster import Answer, ask
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    DriverError,
    DriverInterrupted,
)
from ansible_collections.emqx.conformance.plugins.module_utils.interrupt import stop_when_asked

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "restarted", "absent"],
              "default": "present"},
    "driver": {"type": "str", "choices": ["embedded", "docker", "external"],
               "default": "embedded"},
    "cluster_name": {"type": "str"},
    "state_dir": {"type": "path"},
    "source_dir": {"type": "path"},
    "nodes": {"type": "list", "elements": "dict", "default": [], "options": {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 8883},
        "server_name": {"type": "str"},
        "config": {"type": "path"}}},
    "config_dir": {"type": "path"},
    "all_nodes": {"type": "list", "elements": "str"},
    "release": {"type": "str"},
    "containers": {"type": "dict", "default": {}},
    "container_memory": {"type": "str", "default": "1g"},
    "container_cpus": {"type": "float", "default": 1},
    "dashboard_password": {"type": "str", "no_log": True},
    "license": {"type": "str", "no_log": True},
    "session_lifetime": {"type": "int"},
    "session_cache_max": {"type": "int"},
    "ca": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "mqtt_username": {"type": "str"},
    "mqtt_password": {"type": "str", "no_log": True},
    "timeout": {"type": "float", "default": 30},
    "answer_timeout": {"type": "float", "default": 5},
    "to_render": {"type": "list", "elements": "str", "default": []},
    "progress_file": {"type": "path"},
}


def _answer(module: AnsibleModule, stop: Any) -> Answer:
    try:
        return ask(module.params, pretend=module.check_mode, stop=stop)
    except DriverInterrupted:
        module.fail_json(msg="interrupted: the nodes that this run started are stopped again")
    except DriverError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or Path.cwd()}: {error.strerror or error}")
    raise AssertionError("fail_json returns never")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
        required_together=[("client_cert", "client_key")])
    answer = _answer(module, stop_when_asked())
    for warning in answer.warnings:
        module.warn(warning)
    module.exit_json(**answer.as_dict())


if __name__ == "__main__":
    main()
