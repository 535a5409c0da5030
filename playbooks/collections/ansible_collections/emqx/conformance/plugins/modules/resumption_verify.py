#!/usr/bin/python
"""Ansible module: verify TLS 1.2 session-ID resumption."""
from __future__ import annotations

DOCUMENTATION = r"""
module: resumption_verify
short_description: Verify TLS 1.2 session-ID resumption on the nodes of an MQTT cluster
description:
  - Connects to every node, establishes a TLS 1.2 session, offers it again to the same node and
    to every other one, and speaks MQTT each time.
  - A handshake counts as resumed only when the TLS library, the bytes on the wire and the
    master secret agree.
  - Writes C(results.json), C(junit.xml), C(summary.md) and C(index.html) as it goes. When it is
    interrupted the report is complete all the same, and says what was not measured.
  - Unless O(max_impact) is V(disruptive) it changes nothing on any node; then it stops, kills and
    cuts off nodes, one at a time, and brings each back. With C(--check) it opens no connection and
    returns the plan.
author: EMQX conformance maintainers (@emqx)
options:
  nodes:
    description: The nodes, each reached under one address.
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
  trust_domains:
    description:
      - Listeners of the nodes, beside those under O(nodes), which demand client certificates signed
        by a CA of their own. Without any, the checks of trust between listeners are skipped.
    type: list
    elements: dict
    default: []
    suboptions:
      node: {description: Name of the node., type: str, required: true}
      name: {description: Name of the domain in messages., type: str, required: true}
      port: {description: Port of the listener., type: int, required: true}
      client_cert:
        description: PEM file of a client certificate that the listener accepts.
        type: path
        required: true
      client_key: {description: PEM file of its private key., type: path, required: true}
      ca_cert:
        description: PEM file of the CA that the listener trusts, to put in another one's place.
        type: path
      ca_key:
        description: PEM file of its private key, to issue a certificate that expires at once.
        type: path
  load_balancers:
    description:
      - Addresses that lead to the nodes. They are no part of the matrix; how often sessions resume
        through each is measured, and judged where its affinity is declared.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name in the report., type: str, required: true}
      host: {description: Name or address., type: str, required: true}
      port: {description: Port of the balancer., type: int, default: 8883}
      server_name:
        description: Name asked for (SNI) and expected in the certificate. Default is C(host).
        type: str
      affinity:
        description:
          - What it is declared to keep together. With V(session_id) who offers a session comes to
            the node that issued it, with V(source) who comes from one address to one node.
        type: str
        choices: [session_id, source, none]
  driver:
    description:
      - How the nodes were deployed. It decides what checks can do to them, with O(max_impact) at
        V(disruptive); a driver that this module does not have is named in the report only.
    type: str
    default: external
  cluster_name:
    description: The cluster the nodes belong to; needed to stop and start nodes.
    type: str
  state_dir:
    description: Where the driver keeps the state of its clusters; needed to stop and start nodes.
    type: path
  ca: {description: PEM file of trusted CAs. Default is the system's store., type: path}
  client_cert: {description: PEM file of the client certificate., type: path}
  client_key: {description: PEM file of its private key., type: path}
  cache_scope:
    description: Where a session is expected to resume.
    type: str
    choices: [node, cluster, none]
    default: node
  session_cache_max:
    description:
      - Sessions that a node is declared to remember. The handshake budget is a share of it.
      - When it is not given, 1000 are assumed, and how many there are is not measured.
    type: int
  session_lifetime:
    description:
      - Seconds for which a node is declared to remember a session. When it is not given, expiry is
        not measured.
    type: int
  max_wait:
    description:
      - Longest wait for a session or a certificate to expire, in seconds; a check that needs more
        is skipped.
    type: int
    default: 30
  fleet_devices:
    description: Devices of which is said what resumption saves.
    type: int
    default: 100000
  fleet_minutes:
    description: How often each of them reconnects, in minutes.
    type: int
    default: 60
  tls_versions:
    description:
      - TLS versions that the nodes are declared to speak, as EMQX spells them. When empty, the
        check of versions only informs.
    type: list
    elements: str
    choices: [tlsv1, tlsv1.1, tlsv1.2, tlsv1.3]
    default: []
  max_impact:
    description: The most a check may do to the target.
    type: str
    choices: [safe, noisy, disruptive]
    default: safe
  rate_limit: {description: Handshakes a second and node. Default is no limit., type: float}
  pairs_per_node:
    description:
      - How many other nodes each node's session is offered to, within the session budget. Default
        is all of them up to 100 nodes, and beyond that as many as make 3000 pairs, at least 10.
    type: int
  zones:
    description:
      - Where nodes stand, by node. Where pairs are sampled, every ordered pair of zones is among
        them; nodes without one are in one of their own.
    type: dict
    default: {}
  timeout:
    description: Seconds for TCP connect and handshake, and again for CONNECT to CONNACK.
    type: float
    default: 5
  parallel: {description: Connections at a time., type: int, default: 4}
  mqtt_version:
    description: V(auto) tries 5, then 3.1.1.
    type: str
    choices: [auto, 3.1.1, '5']
    default: auto
  mqtt_username: {description: User name for CONNECT., type: str}
  mqtt_password: {description: Password for CONNECT., type: str}
  mqtt_client_id_prefix:
    description: What client ids begin with.
    type: str
    default: tlsresumption
  mqtt_topic:
    description: Topic under which is published and subscribed.
    type: str
    default: tls-resumption
  checks:
    description:
      - What the run is about, by id (V(CORE-02)) and by family (V(CORE)); what that needs runs with
        it. Default is all checks.
    type: list
    elements: str
    default: []
  skip_checks:
    description: Checks and families that are left out, each with the reason why.
    type: dict
    default: {}
  waivers:
    description:
      - Failures to live with until a day. Each has C(id) of a check, C(subject) (a finding's, or
        C(*)), C(why), and C(expires) as YYYY-MM-DD.
    type: list
    elements: dict
    default: []
  strict:
    description: Whether known deviations count as failures. Waivers count all the same.
    type: bool
    default: false
  known_deviations:
    description:
      - What TLS stacks are known to do wrong, one item a file, with C(file), its name in the
        report, and C(content), what it holds; docs/known-deviations.md says what that is.
    type: list
    elements: dict
    default: []
  release:
    description:
      - EMQX release that the nodes are, or do as. It tells why a session does not resume; nobody
        is judged by it.
    type: str
  otp_releases:
    description:
      - Erlang/OTP releases of nodes that do not tell theirs, by node, each with C(release), and
        C(how), which says where that comes from.
    type: dict
    default: {}
  vantage:
    description:
      - Hosts from which M(emqx.conformance.resumption_vantage) is going to probe the same. They
        share the session budget and are in the report from the beginning, and the verdict is left
        to M(emqx.conformance.resumption_report); with any, a bad one is no failure here.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the host in the inventory., type: str, required: true}
      host: {description: Its address., type: str, required: true}
  reports_dir:
    description: Where the folder of this run's report, named by UTC time, and C(latest) go.
    type: path
    required: true
  page_template:
    description:
      - Jinja2 template of the report's page C(index.html). Without it no page is written. Needs
        Jinja2 where the module runs.
    type: path
  compare:
    description:
      - Folder or C(results.json) of an earlier run; the report then says what changed since.
      - A link is followed, so name the folder itself where C(latest) will be another one.
    type: path
  root:
    description: Folder from which on the report names files. Default is to name all of the path.
    type: path
  progress_file:
    description: Where to say how far the run is; the action plugin of the same name reads it.
    type: path
attributes:
  check_mode:
    support: full
    description: Returns the plan and the handshake budget without opening a connection.
  diff_mode:
    support: none
    description: What is disturbed is put back as it was.
"""

EXAMPLES = r"""
- name: Verify a staging cluster
  emqx.conformance.resumption_verify:
    nodes:
      - {name: emqx1, host: emqx1.staging.example, port: 8883}
      - {name: emqx2, host: emqx2.staging.example, port: 8883}
    ca: ca.pem
    rate_limit: 50
    reports_dir: reports
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
verdict:
  description: The run's verdict; the controller's own where there are vantage points.
  type: str
  returned: when something was measured
  sample: passed
headline:
  description: The verdict in one sentence.
  type: str
  returned: when something was measured
counts:
  description: Findings by status.
  type: dict
  returned: when something was measured
report:
  description: Folder of the report.
  type: str
  returned: when something was measured
plan:
  description:
    - What would be done, with the handshake budget of every node, which known deviations would be
      used and until when waivers count.
  type: list
  elements: str
  returned: in check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.conformance.plugins.module_utils.interrupt import stop_when_asked
from ansible_collections.emqx.conformance.plugins.module_utils.report.compare import CompareError
from ansible_collections.emqx.conformance.plugins.module_utils.report.files import PageError
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError
from ansible_collections.emqx.conformance.plugins.module_utils.verify import (
    RequestError,
    foretold,
    request,
    verify,
)

ARGUMENT_SPEC = {
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 8883},
        "server_name": {"type": "str"}}},
    "trust_domains": {"type": "list", "elements": "dict", "default": [], "options": {
        "node": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "client_cert": {"type": "path", "required": True},
        "client_key": {"type": "path", "required": True, "no_log": False},
        "ca_cert": {"type": "path"},
        "ca_key": {"type": "path", "no_log": False}}},
    "load_balancers": {"type": "list", "elements": "dict", "default": [], "options": {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 8883},
        "server_name": {"type": "str"},
        "affinity": {"type": "str", "choices": ["session_id", "source", "none"]}}},
    "driver": {"type": "str", "default": "external"},
    "cluster_name": {"type": "str"},
    "state_dir": {"type": "path"},
    "ca": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "cache_scope": {"type": "str", "choices": ["node", "cluster", "none"], "default": "node"},
    "session_cache_max": {"type": "int"},
    "session_lifetime": {"type": "int"},
    "max_wait": {"type": "int", "default": 30},
    "fleet_devices": {"type": "int", "default": 100000},
    "fleet_minutes": {"type": "int", "default": 60},
    "tls_versions": {"type": "list", "elements": "str", "default": [],
                     "choices": ["tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"]},
    "max_impact": {"type": "str", "choices": ["safe", "noisy", "disruptive"], "default": "safe"},
    "rate_limit": {"type": "float"},
    "pairs_per_node": {"type": "int"},
    "zones": {"type": "dict", "default": {}},
    "timeout": {"type": "float", "default": 5},
    "parallel": {"type": "int", "default": 4},
    "mqtt_version": {"type": "str", "choices": ["auto", "3.1.1", "5"], "default": "auto"},
    "mqtt_username": {"type": "str"},
    "mqtt_password": {"type": "str", "no_log": True},
    "mqtt_client_id_prefix": {"type": "str", "default": "tlsresumption"},
    "mqtt_topic": {"type": "str", "default": "tls-resumption"},
    "checks": {"type": "list", "elements": "str", "default": []},
    "skip_checks": {"type": "dict", "default": {}},
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "strict": {"type": "bool", "default": False},
    "known_deviations": {"type": "list", "elements": "dict", "default": []},
    "release": {"type": "str"},
    "otp_releases": {"type": "dict", "default": {}},
    "vantage": {"type": "list", "elements": "dict", "default": [], "options": {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "required": True}}},
    "reports_dir": {"type": "path", "required": True},
    "page_template": {"type": "path"},
    "compare": {"type": "path"},
    "root": {"type": "path"},
    "progress_file": {"type": "path"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
        required_together=[("client_cert", "client_key")])
    try:
        wanted = request(module.params)
        if module.check_mode:
            module.exit_json(changed=False, plan=foretold(wanted))
        results, folder = verify(wanted, stop_when_asked())
    except (CompareError, EngineError, PageError, RequestError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the report cannot be written: {error}")
    own = results["vantage"]["controller"] if wanted.vantage else results
    summary = {**{key: own[key] for key in ("verdict", "headline")}, "counts": results["counts"]}
    summary["report"] = str(folder)
    if own["verdict"] == "passed" or wanted.vantage:
        module.exit_json(changed=False, **summary)
    module.fail_json(msg=f"{results['verdict']}: {results['headline']}", **summary)


if __name__ == "__main__":
    main()
