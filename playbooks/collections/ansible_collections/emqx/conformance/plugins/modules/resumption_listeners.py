#!/usr/bin/python
"""Ansible module: verify each ssl listener of nodes by itself."""
from __future__ import annotations

DOCUMENTATION = r"""
module: resumption_listeners
short_description: Verify resumption on each ssl listener of nodes
description:
  - Asks CORE-02 of each listener, by a client that it lets in, and SEC-01 of each node that has
    several listeners with client certificates, as M(emqx.conformance.resumption_verify) does of
    the one listener of a node that it probes. There is a report for each client.
  - Changes nothing. What was found is returned and not judged. With C(--check) it opens no
    connection.
author: EMQX conformance maintainers (@emqx)
options:
  listeners:
    description:
      - The listeners, as C(ssl_listeners) of M(emqx.conformance.check_inventory) has them. Those
        that cannot be asked are left out.
    type: list
    elements: dict
    required: true
  trust_domains:
    description: The nodes' listeners with client certificates, each with its C(node).
    type: list
    elements: dict
    default: []
  ca:
    description: PEM file of trusted CAs. Default is the system's store.
    type: path
  mqtt_username:
    description: User name for CONNECT.
    type: str
  mqtt_password:
    description: Password for CONNECT.
    type: str
  mqtt_client_id_prefix:
    description: What client ids begin with.
    type: str
    default: tlsresumption
  timeout:
    description: Seconds for TCP connect and handshake, and again for CONNECT to CONNACK.
    type: float
    default: 5
  reports_dir:
    description: Where the reports go.
    type: path
    required: true
  page_template:
    description: Template of index.html. Default is to write none.
    type: path
  root:
    description: Where names of files in reports begin.
    type: path
  progress_file:
    description: Not used.
    type: path
attributes:
  check_mode:
    description: Returns the plan.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Ask every listener
  emqx.conformance.resumption_listeners:
    listeners: "{{ checked.ssl_listeners }}"
    trust_domains: "{{ checked.trust_domains }}"
    ca: "{{ checked.settings.ca }}"
    reports_dir: reports
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
findings:
  description: Listener -> check -> what it came to.
  type: dict
  returned: not in check mode
  sample: {emqx1/default: {CORE-02: {status: passed, reason: '', message: it resumed}}}
reports:
  description: Folders of the reports.
  type: list
  elements: str
  returned: not in check mode
plan:
  description: What would be done.
  type: list
  elements: str
  returned: in check mode
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.conformance.plugins.module_utils.every_listener import (
    Asked,
    Listener,
    foretold,
    measure,
)
from ansible_collections.emqx.conformance.plugins.module_utils.interrupt import stop_when_asked
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import TrustDomain
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.report.files import PageError
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError

ARGUMENT_SPEC = {
    "listeners": {"type": "list", "elements": "dict", "required": True},
    "trust_domains": {"type": "list", "elements": "dict", "default": []},
    "ca": {"type": "path"},
    "mqtt_username": {"type": "str"},
    "mqtt_password": {"type": "str", "no_log": True},
    "mqtt_client_id_prefix": {"type": "str", "default": "tlsresumption"},
    "timeout": {"type": "float", "default": 5},
    "reports_dir": {"type": "path", "required": True},
    "page_template": {"type": "path"},
    "root": {"type": "path"},
    "progress_file": {"type": "path"},
}
_SHOWN = ("status", "reason", "message")


def _listeners(params: dict[str, Any]) -> list[Listener]:
    """Return whom to ask; the trust domains of a node go with the first of its listeners."""
    domains: dict[str, list[TrustDomain]] = {}
    for row in params["trust_domains"]:
        domains.setdefault(row["node"], []).append(TrustDomain(
            **{key: value for key, value in row.items() if key != "node"}))
    found = []
    for row in params["listeners"]:
        if row["why_not"]:
            continue
        of_node = domains.pop(row["node"], [])
        found.append(Listener(
            row["name"], row["host"], int(row["port"]), row["server_name"],
            row["client_cert"] or None, row["client_key"] or None,
            tuple(of_node) if len(of_node) > 1 else ()))
    return found


def _asked(params: dict[str, Any]) -> Asked:
    releases = {row["release"] for row in params["listeners"]}
    username, password = params["mqtt_username"], params["mqtt_password"]
    # MQTT 3.1.1 has no password without a user name (3.1.2.9).
    who = Credentials("" if password is not None and username is None else username, password,
                      params["mqtt_client_id_prefix"])
    return Asked(
        params["ca"], Path(params["reports_dir"]),
        settings=Settings(
            tls_versions=("tlsv1.2",), deadline_s=params["timeout"], credentials=who,
            release=parse_release(min(releases)) if releases else None),
        page_template=Path(params["page_template"]) if params["page_template"] else None,
        root=Path(params["root"]) if params["root"] else None)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        listeners, asked = _listeners(module.params), _asked(module.params)
        if module.check_mode:
            module.exit_json(changed=False, plan=foretold(listeners, asked))
        answer = measure(listeners, asked, stop_when_asked())
    except (EngineError, PageError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the report cannot be written: {error}")
    module.exit_json(
        changed=False, reports=[str(folder) for folder in answer.reports],
        findings={name: {check: {key: row[key] for key in _SHOWN} for check, row in rows.items()}
                  for name, rows in answer.findings.items()})


if __name__ == "__main__":
    main()
