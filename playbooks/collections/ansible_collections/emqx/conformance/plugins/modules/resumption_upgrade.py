#!/usr/bin/python
"""Documentation of the action plugin of the same name; there is nothing to run on a target."""
from __future__ import annotations

DOCUMENTATION = r"""
module: resumption_upgrade
short_description: Say what an upgrade of EMQX will change for an inventory's own listeners
description:
  - Prints a sentence for each listener, or for several that fare alike. Without O(before) and
    O(after) it is foretold from what is known of the releases; with them, it is what was measured.
  - Fails when something that was measured gets worse or could not be measured, or is not as
    foretold.
  - Runs on the controller only and connects to nobody.
options:
  today:
    description: The listeners as C(ssl_listeners) of M(emqx.conformance.check_inventory) has them.
    type: list
    elements: dict
    required: true
  next:
    description: The same after the upgrade (C(next_ssl_listeners)).
    type: list
    elements: dict
    required: true
  before:
    description: C(findings) of M(emqx.conformance.resumption_listeners) on today's release.
    type: dict
  after:
    description: The same on the next release.
    type: dict
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
- name: Say what will change
  emqx.conformance.resumption_upgrade:
    today: "{{ checked.ssl_listeners }}"
    next: "{{ checked.next_ssl_listeners }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
msg:
  description: The upgrade in one sentence.
  type: str
  returned: always
"""
