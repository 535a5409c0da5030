#!/usr/bin/python
"""Documentation of the action plugin of the same name; there is nothing to run on a target."""
from __future__ import annotations

DOCUMENTATION = r"""
module: node_config
short_description: Render the configuration files of a node
description:
  - Renders templates with the variables of the task's host into a directory on the controller,
    which is made with its parents if need be (mode 0755; files have 0644).
  - Does what M(ansible.builtin.file) and M(ansible.builtin.template) would do, in the controller's
    own process; they start a program for each file of each node, which takes longer than to boot
    the nodes.
options:
  templates:
    description: Directory of the templates, each named as its file with C(.j2) behind.
    type: path
    required: true
  files:
    description: Names of the files.
    type: list
    elements: str
    required: true
  directory:
    description: Where the files go.
    type: path
    required: true
author: EMQX conformance maintainers (@emqx)
attributes:
  check_mode:
    description: Renders everything and writes nothing.
    support: full
  diff_mode:
    description: Shows what changes in each file.
    support: full
"""

EXAMPLES = r"""
- name: Render the configuration
  emqx.conformance.node_config:
    templates: "{{ playbook_dir }}/../templates"
    files: [listeners.hocon, emqx.conf]
    directory: "config/local/{{ inventory_hostname }}"
"""

RETURN = r"""
files:
  description: The files that changed, or would.
  type: list
  elements: str
  returned: success
"""
