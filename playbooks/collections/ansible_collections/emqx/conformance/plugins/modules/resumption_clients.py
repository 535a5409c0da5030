#!/usr/bin/python
"""Ansible module: find out which client stacks resume on which nodes."""
from __future__ import annotations

DOCUMENTATION = r"""
module: resumption_clients
short_description: Find out which client stacks resume TLS 1.2 sessions by ID on which nodes
description:
  - Lets a small client of each stack connect to each node, twice, and once more to another node,
    as it comes and as its documentation says how to resume. A relay on loopback passes its bytes
    on and reads them; what the client says of itself is compared and never believed.
  - That a stack does not resume is no failure. One that is other than expected is warned of, and
    one that gives up where its session is declined fails the run.
  - Writes C(results.json), C(junit.xml) and C(index.html). It changes nothing on any node. With
    C(--check) it connects to nobody and returns the plan.
author: EMQX conformance maintainers (@emqx)
options:
  nodes:
    description: The nodes, as M(emqx.conformance.resumption_verify) has them.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name in the report., type: str, required: true}
      host: {description: Name or address., type: str, required: true}
      port: {description: Port of the TLS listener., type: int, default: 8883}
      server_name:
        description: Name asked for (SNI) and expected in the certificate. Default is C(host).
        type: str
  stacks:
    description: Names of folders of C(client_stacks). Default is all.
    type: list
    elements: str
    default: []
  definitions:
    description: What is in these folders. The action plugin of the same name reads it.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the folder., type: str, required: true}
      title: {description: The stack's own name., type: str, required: true}
      run:
        description: Command of its client.
        type: list
        elements: str
        required: true
      ways:
        description: How it is tried.
        type: list
        elements: str
        required: true
      why_not: {description: Why it cannot be tried here., type: str, default: ''}
      readme: {description: What its README says of it., type: str, default: ''}
  expected:
    description: What is expected of them. The action plugin of the same name reads it.
    type: list
    elements: dict
    default: []
  ca:
    description:
      - PEM file of trusted CAs. Default is the system's store in one file, as Debian keeps it.
    type: path
  client_cert: {description: PEM file of the client certificate., type: path}
  client_key: {description: PEM file of its private key., type: path}
  session_cache_max:
    description: Sessions that a node remembers. When it is not given, 1000 are assumed.
    type: int
  max_impact:
    description: The share of a node's session cache that may be filled is that of a verification.
    type: str
    choices: [safe, noisy, disruptive]
    default: safe
  rate_limit: {description: Handshakes a second and node. Default is no limit., type: float}
  timeout:
    description: Seconds for TCP connect and handshake, and again for CONNECT to CONNACK.
    type: float
    default: 5
  mqtt_version:
    description: What the probe's own client speaks, V(auto) 5, then 3.1.1. Stacks speak 3.1.1.
    type: str
    choices: [auto, 3.1.1, '5']
    default: auto
  mqtt_username: {description: User name for CONNECT., type: str}
  mqtt_password: {description: Password for CONNECT., type: str}
  mqtt_client_id_prefix:
    description: What client ids begin with.
    type: str
    default: tlsresumption
  otp_releases:
    description: As M(emqx.conformance.resumption_verify) has them.
    type: dict
    default: {}
  reports_dir:
    description: Where the folder C(clients) of these reports goes.
    type: path
    required: true
  page_template:
    description:
      - Jinja2 template of the report's page C(index.html). Without it no page is written. Needs
        Jinja2, which comes with ansible-core.
    type: path
  root:
    description: The checkout, in which C(client_stacks) is; needed by the action plugin.
    type: path
  progress_file:
    description: Where to say how far the run is; the action plugin of the same name reads it.
    type: path
attributes:
  check_mode:
    description: Returns the plan and the handshake budget.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Find out which client stacks resume
  emqx.conformance.resumption_clients:
    nodes: "{{ checked.nodes }}"
    ca: "{{ checked.settings.ca }}"
    root: "{{ playbook_dir | dirname }}"
    reports_dir: reports
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
verdict:
  description: The run's verdict.
  type: str
  returned: when something was measured
  sample: passed
headline:
  description: The verdict in one sentence.
  type: str
  returned: when something was measured
report:
  description: Folder of the report.
  type: str
  returned: when something was measured
plan:
  description: What would be done, with the handshake budget of every node.
  type: list
  elements: str
  returned: in check mode
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.measure import (
    RequestError,
    StackRequest,
    measure,
    plan_of,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.words import (
    Expected,
    Result,
    Stack,
)
from ansible_collections.emqx.conformance.plugins.module_utils.identity import DeclaredOtp
from ansible_collections.emqx.conformance.plugins.module_utils.interrupt import stop_when_asked
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.report.files import PageError
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError, Trust

ARGUMENT_SPEC = {
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 8883},
        "server_name": {"type": "str"}}},
    "stacks": {"type": "list", "elements": "str", "default": []},
    "definitions": {"type": "list", "elements": "dict", "default": [], "options": {
        "name": {"type": "str", "required": True},
        "title": {"type": "str", "required": True},
        "run": {"type": "list", "elements": "str", "required": True},
        "ways": {"type": "list", "elements": "str", "required": True},
        "why_not": {"type": "str", "default": ""},
        "readme": {"type": "str", "default": ""}}},
    "expected": {"type": "list", "elements": "dict", "default": []},
    "ca": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "session_cache_max": {"type": "int"},
    "max_impact": {"type": "str", "choices": ["safe", "noisy", "disruptive"], "default": "safe"},
    "rate_limit": {"type": "float"},
    "timeout": {"type": "float", "default": 5},
    "mqtt_version": {"type": "str", "choices": ["auto", "3.1.1", "5"], "default": "auto"},
    "mqtt_username": {"type": "str"},
    "mqtt_password": {"type": "str", "no_log": True},
    "mqtt_client_id_prefix": {"type": "str", "default": "tlsresumption"},
    "otp_releases": {"type": "dict", "default": {}},
    "reports_dir": {"type": "path", "required": True},
    "page_template": {"type": "path"},
    "root": {"type": "path"},
    "progress_file": {"type": "path"},
}
FOLDER = "clients"
"""Of these reports, beside those of verifications: what compares with ``latest`` is no client's."""


def request(params: dict[str, Any]) -> StackRequest:
    """Build a request from the module's parameters. Raises RequestError."""
    if not params["nodes"]:
        raise RequestError("there is no node to try clients on: the group emqx is empty")
    username, password = params["mqtt_username"], params["mqtt_password"]
    # MQTT 3.1.1 has no password without a user name (3.1.2.9).
    who = Credentials("" if password is not None and username is None else username, password,
                      params["mqtt_client_id_prefix"])
    return StackRequest(
        nodes={node["name"]: Endpoint(node["name"], node["host"], int(node["port"]),
                                      node.get("server_name") or node["host"])
               for node in params["nodes"]},
        stacks=tuple(Stack(row["name"], row["title"], tuple(row["run"]), tuple(row["ways"]),
                           row["why_not"], row["readme"]) for row in params["definitions"]),
        expected=tuple(Expected(**{**row, "result": Result(row["result"])})
                       for row in params["expected"]),
        reports_dir=Path(params["reports_dir"]) / FOLDER,
        trust=Trust(params["ca"], params["client_cert"], params["client_key"]),
        credentials=who, mqtt_version=params["mqtt_version"], deadline_s=params["timeout"],
        rate_limit=params["rate_limit"],
        session_cache_max=params["session_cache_max"] or StackRequest.session_cache_max,
        max_impact=Impact[params["max_impact"].upper()],
        declared={name: DeclaredOtp(str(told["release"]), told["how"])
                  for name, told in params["otp_releases"].items()},
        progress_file=params["progress_file"],
        page_template=Path(params["page_template"]) if params["page_template"] else None)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
                           required_together=[("client_cert", "client_key")])
    try:
        wanted = request(module.params)
        if module.check_mode:
            module.exit_json(changed=False, plan=plan_of(wanted).lines())
        results, folder = measure(wanted, stop_when_asked())
    except (EngineError, PageError, RequestError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the run broke off: {error}")
    told = {"verdict": results["verdict"], "headline": results["headline"], "report": str(folder)}
    if results["verdict"] != "passed":
        module.fail_json(msg=f"{results['verdict']}: {results['headline']}", **told)
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
