#!/usr/bin/python
"""Ansible module: say what an OpenSSL session file holds."""
from __future__ import annotations

DOCUMENTATION = r"""
module: tls_session_info
short_description: Say what an OpenSSL session file holds
description:
  - Reads a session file as C(openssl s_client -sess_out) writes it, PEM or DER, of OpenSSL 1.1.1
    or 3.x, and returns its fields.
  - The file holds the session's master secret in clear. Whoever has it can decrypt the session's
    recorded traffic and resume the session in the client's name. The result says only whether it
    is there and how long it is, unless O(show_master_secret) is set.
  - Sessions of GnuTLS and NSS have other formats and are refused.
options:
  path:
    description: The session file.
    type: path
    required: true
  show_master_secret:
    description:
      - Return the master secret itself.
      - Ansible then shows it with C(-v), gives it to callbacks and log files, and keeps it in
        registered variables. Set C(no_log) on the task, and on every task that is given the
        variable; the module warns when it runs without.
    type: bool
    default: false
requirements: ["cryptography >= 49"]
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
- name: Look into a session file
  emqx.conformance.tls_session_info:
    path: session.pem
  register: session

- name: Insist on a session that resumes by its session ID
  ansible.builtin.assert:
    that: session.resumes_by == "session_id"

- name: Take the master secret as well, where nothing prints it
  emqx.conformance.tls_session_info:
    path: session.pem
    show_master_secret: true
  register: session_with_secret
  no_log: true
"""

RETURN = r"""
protocol:
  description: Version as EMQX spells it.
  type: str
  returned: success
  sample: tlsv1.2
protocol_number:
  description: The same as the number on the wire, 771 (0x0303) for TLS 1.2.
  type: int
  returned: success
  sample: 771
cipher:
  description: OpenSSL's name of the cipher suite, or IANA's number if this OpenSSL has no such.
  type: str
  returned: success
  sample: ECDHE-RSA-AES256-GCM-SHA384
cipher_code:
  description: IANA's number of the cipher suite.
  type: str
  returned: success
  sample: "0xC030"
resumes_by:
  description:
    - What a client would offer this session by, V(session_id), V(ticket) or V(nothing). That a
      session can be offered says nothing about whether a server accepts it.
  type: str
  returned: success
  sample: session_id
session_id:
  description: The session ID in hex.
  type: str
  returned: success
  sample: 949ea4652a87dfdf02932bae92a5ee09f62bfb0c53e4eb2f79722bf31a0a34c8
session_id_bytes:
  description: Its length in bytes, at most 32.
  type: int
  returned: success
  sample: 32
session_id_from_server:
  description:
    - Whether a server issued it. The ID of a session with a ticket, and of any of TLS 1.3, is made
      up by OpenSSL's client.
  type: bool
  returned: success
  sample: true
session_id_context:
  description: The session ID context in hex; a client's sessions seldom have one.
  type: str
  returned: success
  sample: ""
started_at:
  description: When the full handshake was made, UTC; null if the file does not say.
  type: str
  returned: success
  sample: "2026-11-24T13:11:37Z"
timeout_s:
  description:
    - For how many seconds the I(client) would keep the session; null if the file does not say. How
      long the server keeps it is the server's business and not in the file.
  type: int
  returned: success
  sample: 7200
expires_at:
  description: The sum of the two, UTC.
  type: str
  returned: success
  sample: "2026-11-24T15:11:37Z"
expired:
  description: Whether that is past; null if the file does not say.
  type: bool
  returned: success
  sample: false
peer_certificate:
  description:
    - The server's certificate; null when there was none. C(subject) and C(issuer) are as RFC 4514
      writes names, C(serial) and C(sha256), the fingerprint, are hex, C(not_after) is UTC.
  type: dict
  returned: success
  sample:
    subject: CN=Test server,O=TLS resumption test
    issuer: CN=Test CA,O=TLS resumption test
    serial: 7472212D5C71DBE3
    not_after: "2027-11-24T13:11:36Z"
    sha256: 6f7c0f4e3d2a2f4b5a0f6f3b0c6d1b7e8a9fd0c1b2a3948576645342312f1e0d
verify_result:
  description: OpenSSL's C(number) of what verifying it gave, and its C(meaning).
  type: dict
  returned: success
  sample: {number: 0, meaning: the certificate was verified}
server_name:
  description: The name asked for (SNI), if the server acknowledged it; else null.
  type: str
  returned: success
  sample: broker.example
ticket:
  description: C(bytes) and C(lifetime_hint_s) of the session ticket; null without one.
  type: dict
  returned: success
  sample: {bytes: 176, lifetime_hint_s: 7200}
compression:
  description: The compression method.
  type: str
  returned: success
  sample: none
extended_master_secret:
  description: Whether the master secret is an extended one (RFC 7627); null for TLS 1.3.
  type: bool
  returned: success
  sample: false
master_secret:
  description:
    - C(present) and C(bytes); with O(show_master_secret) also C(hex). In TLS 1.3 it is the
      pre-shared key.
  type: dict
  returned: success
  sample: {present: true, bytes: 48}
remarks:
  description: What is easily misread in this session, in sentences.
  type: list
  elements: str
  returned: success
  sample: []
"""

import datetime
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.emqx.conformance.plugins.module_utils.tls import session_file
    MISSING = None
except ImportError:
    MISSING = traceback.format_exc()

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    # The name has "secret" in it; the value is a yes or no.
    "show_master_secret": {"type": "bool", "default": False, "no_log": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if MISSING:
        module.fail_json(msg=missing_required_lib("cryptography >= 49"), exception=MISSING)
    path, show = module.params["path"], module.params["show_master_secret"]
    try:
        found = session_file.read(path)
    except session_file.SessionFileError as error:
        module.fail_json(msg=f"{error}.")
    if warning := found.warning(path):
        module.warn(warning)
    if show and not module.no_log:
        module.warn("The result has the master secret in it: set no_log on this task.")
    module.exit_json(changed=False, **session_file.as_result(
        found.session, datetime.datetime.now(datetime.timezone.utc), show_master_secret=show))


if __name__ == "__main__":
    main()
