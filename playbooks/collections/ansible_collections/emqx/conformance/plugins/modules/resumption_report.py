#!/usr/bin/python
"""Documentation of the action plugin of the same name; there is nothing to run on a target."""
from __future__ import annotations

DOCUMENTATION = r"""
module: resumption_report
short_description: Show a report to which vantage points have added, and judge by it
description:
  - Prints what the controller and all vantage points have seen, and where that differs.
  - Fails unless the verdict of the report is V(passed).
options:
  report:
    description: Folder of the report, as M(emqx.conformance.resumption_verify) returns it.
    type: path
    required: true
author: EMQX conformance maintainers (@emqx)
attributes:
  check_mode:
    description: Does nothing; there is no report.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Show what was seen from everywhere
  emqx.conformance.resumption_report:
    report: "{{ probed.report }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
verdict:
  description: The verdict of the whole run.
  type: str
  returned: not in check mode
  sample: passed
headline:
  description: It in one sentence.
  type: str
  returned: not in check mode
counts:
  description: Findings of the controller by status.
  type: dict
  returned: not in check mode
report:
  description: Folder of the report.
  type: str
  returned: not in check mode
"""
