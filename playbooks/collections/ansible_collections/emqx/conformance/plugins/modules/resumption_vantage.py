#!/usr/bin/python
"""Documentation of the action plugin of the same name, which runs resumption_probe."""
from __future__ import annotations

DOCUMENTATION = r"""
module: resumption_vantage
short_description: Verify the same from another host, and add what is seen there to a report
description:
  - Connects to the host of the task, a vantage point, runs there with nothing but python3 what
    M(emqx.conformance.resumption_verify) ran on the controller, and merges the result into its
    report, whose verdict then counts both.
  - A host that cannot be reached, or where the probe does not run, is an error in the report and
    no failure of this task, so that the other vantage points are probed all the same;
    M(emqx.conformance.resumption_report) fails in the end.
  - Takes all options of M(emqx.conformance.resumption_verify) but those below, under O(probe).
    Checks that need more than python3, that disturb nodes, or that need a CA's private key are
    skipped there.
options:
  report:
    description: Folder of the report, as C(resumption_verify) returns it.
    type: path
    required: true
  probe:
    description: The options that C(resumption_verify) was given.
    type: dict
    required: true
author: EMQX conformance maintainers (@emqx)
attributes:
  check_mode:
    description: Connects to nobody and does nothing.
    support: full
  diff_mode:
    description: Changes nothing but the report.
    support: none
"""

EXAMPLES = r"""
- name: Probe from the other side of the firewall
  emqx.conformance.resumption_vantage:
    report: "{{ probed.report }}"
    probe:
      nodes:
        - {name: emqx1, host: emqx1.staging.example, port: 8883}
        - {name: emqx2, host: emqx2.staging.example, port: 8883}
      ca: ca.pem
      vantage:
        - {name: outside, host: outside.example}
      reports_dir: reports
  delegate_to: outside
  run_once: true
"""

RETURN = r"""
verdict:
  description: The verdict from this vantage point.
  type: str
  returned: not in check mode
  sample: passed
headline:
  description: It in one sentence.
  type: str
  returned: not in check mode
"""
