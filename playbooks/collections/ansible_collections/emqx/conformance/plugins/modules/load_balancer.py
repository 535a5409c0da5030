#!/usr/bin/python
"""Ansible module: have HAProxy running in front of a cluster's nodes."""
from __future__ import annotations

DOCUMENTATION = r"""
module: load_balancer
short_description: Have HAProxy running in front of the nodes of a cluster
description:
  - Starts an HAProxy for each load balancer that does not run, one anew for each whose
    configuration changed, leaves the others alone, and waits until each listens. Before anything
    is started, HAProxy checks every new configuration.
  - When that fails, the ones that this run started are ended again.
  - They outlive the playbook. M(emqx.conformance.emqx_cluster) ends them with the nodes of their
    cluster.
author: EMQX conformance maintainers (@emqx)
options:
  state:
    description:
      - V(present) has them running as they are rendered now.
      - V(checked) only finds out whether that could be done, and changes nothing.
    type: str
    choices: [present, checked]
    default: present
  cluster_name:
    description: Name of the cluster, and of its directory under O(state_dir).
    type: str
    required: true
  state_dir:
    description: Where running nodes and load balancers keep their state and logs.
    type: path
    required: true
  config_dir:
    description: Where the rendered configurations are, C(<name>/haproxy.cfg) for each.
    type: path
    required: true
  load_balancers:
    description: The load balancers of this run; of each C(name), C(host) and C(port) are needed.
    type: list
    elements: dict
    default: []
  all_load_balancers:
    description:
      - Names of all load balancers of the cluster, more than O(load_balancers) under C(--limit).
        One that runs and is not among them is stopped.
    type: list
    elements: str
    default: []
  to_render:
    description:
      - Load balancers whose configuration is going to be another than the rendered one. In check
        mode it is not read, and they are told to be started or restarted.
    type: list
    elements: str
    default: []
  started_nodes:
    description: Embedded nodes that this deploy has started; they are ended too when this fails.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Says what would be started, restarted and stopped.
  diff_mode:
    support: full
    description: Shows the state of each load balancer before and after.
"""

EXAMPLES = r"""
- name: Have a load balancer running
  emqx.conformance.load_balancer:
    cluster_name: local
    state_dir: .cluster
    config_dir: config/local
    load_balancers:
      - {name: lb1, host: 127.0.0.1, port: 8890}
    all_load_balancers: [lb1]
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
started:
  description: Load balancers that did not run and do now.
  type: list
  elements: str
  returned: success
restarted:
  description: Load balancers that ran and were started anew.
  type: list
  elements: str
  returned: success
unchanged:
  description: Load balancers that ran and were left alone.
  type: list
  elements: str
  returned: success
stopped:
  description: Load balancers that ran and are gone.
  type: list
  elements: str
  returned: success
"""

import threading
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import haproxy
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    DriverError,
    DriverInterrupted,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.deployment import (
    diff_text,
    end_nodes,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import ClusterFolder
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.lock import exclusive
from ansible_collections.emqx.conformance.plugins.module_utils.interrupt import stop_when_asked

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "checked"], "default": "present"},
    "cluster_name": {"type": "str", "required": True},
    "state_dir": {"type": "path", "required": True},
    "config_dir": {"type": "path", "required": True},
    "load_balancers": {"type": "list", "elements": "dict", "default": []},
    "all_load_balancers": {"type": "list", "elements": "str", "default": []},
    "started_nodes": {"type": "list", "elements": "str", "default": []},
    "to_render": {"type": "list", "elements": "str", "default": []},
}


def _have(params: dict[str, Any], stop: threading.Event, *,
          pretend: bool) -> haproxy.BalancerPlan:
    folder = ClusterFolder.of(Path(params["state_dir"]), params["cluster_name"])
    balancers = haproxy.Balancers(
        folder, [haproxy.BalancerSpec(
            balancer["name"], balancer["host"], int(balancer["port"]),
            Path(params["config_dir"], balancer["name"], "haproxy.cfg"))
            for balancer in params["load_balancers"]], params["all_load_balancers"], stop)
    if pretend or params["state"] == "checked":
        return balancers.plan(may_be_unrendered=pretend, to_render=params["to_render"])
    try:
        with exclusive(folder.path, f"cluster {params['cluster_name']}"):
            plan = balancers.plan()
            balancers.apply(plan)
            return plan
    except BaseException:
        end_nodes(folder, params["started_nodes"])
        raise


def _result(plan: haproxy.BalancerPlan) -> dict[str, Any]:
    before = {**dict.fromkeys(plan.start, "not running"),
              **dict.fromkeys([*plan.restart, *plan.unchanged, *plan.stop], "running")}
    after = {**dict.fromkeys([*plan.start, *plan.unchanged], "running"),
             **dict.fromkeys(plan.restart, "running, started anew"),
             **dict.fromkeys(plan.stop, "gone")}
    return {"changed": plan.changed, "started": plan.start, "restarted": plan.restart,
            "unchanged": plan.unchanged, "stopped": plan.stop,
            "diff": {"before_header": "load balancers", "after_header": "load balancers",
                     "before": diff_text(before), "after": diff_text(after)}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    stop = stop_when_asked()
    try:
        plan = _have(module.params, stop, pretend=module.check_mode)
    except DriverInterrupted:
        module.fail_json(msg="interrupted: what this run started is stopped again")
    except DriverError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or Path.cwd()}: {error.strerror or error}")
    result = _result(plan)
    if module.params["state"] == "checked":
        # What would be done is another task's to do and to tell.
        result = {**result, "changed": False, "diff": {}}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
