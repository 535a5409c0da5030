#!/usr/bin/python
"""Ansible module: what resumption_vantage runs on the vantage point."""
from __future__ import annotations

DOCUMENTATION = r"""
module: resumption_probe
short_description: Verify TLS 1.2 session-ID resumption from the host it runs on
description:
  - Does what M(emqx.conformance.resumption_verify) does, with nothing but python3 (3.9 or later),
    and returns the result instead of writing it.
  - Certificates and keys come with the request and stay in memory. Nothing is written and nothing
    is left behind; when the connection to the controller breaks, the run ends.
  - It is run by M(emqx.conformance.resumption_vantage), which makes the request.
options:
  request:
    description: What to verify and how, with the certificates and passwords that takes.
    type: str
    required: true
author: EMQX conformance maintainers (@emqx)
attributes:
  check_mode:
    description: It is not run in check mode.
    support: none
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Probe from a vantage point
  emqx.conformance.resumption_probe:
    request: "{{ made_by_resumption_vantage }}"
"""

RETURN = r"""
seen:
  description: The result object, compressed.
  type: str
  returned: success
python:
  description: Version of Python there.
  type: str
  returned: success
  sample: 3.11.2
openssl:
  description: The TLS library there.
  type: str
  returned: success
  sample: OpenSSL 3.0.15 3 Sep 2024
"""

import platform
import ssl

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.emqx.conformance.plugins.module_utils.interrupt import stop_when_asked
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError
from ansible_collections.emqx.conformance.plugins.module_utils.vantage import Received, packed
from ansible_collections.emqx.conformance.plugins.module_utils.verify import (
    RequestError,
    from_vantage,
    observe,
    request,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={
        "request": {"type": "str", "required": True, "no_log": True}})
    try:
        received = Received(module.params["request"])
    except OSError as error:
        module.fail_json(msg=str(error))
    try:
        results = observe(from_vantage(request(received.params)), stop_when_asked(hung_up=True))
    except (EngineError, RequestError) as error:
        module.fail_json(msg=received.named(str(error)))
    except OSError as error:
        module.fail_json(msg=f"it cannot be probed from here: {error}")
    finally:
        received.close()
    module.exit_json(changed=False, seen=packed(results), python=platform.python_version(),
                     openssl=ssl.OPENSSL_VERSION)


if __name__ == "__main__":
    main()
