#!/usr/bin/python
"""Documentation of the action plugin of the same name; there is nothing to run on a target."""
from __future__ import annotations

DOCUMENTATION = r"""
module: test_certificates
short_description: Make a test CA, a server certificate for all nodes and a client certificate
description:
  - Keeps what is there and good, and makes anew what is missing, expired or about to, does not
    name a node, has a key of another type, or was not signed by the CA beside it.
  - Names that a server certificate had are kept, so that two inventories can share it.
  - With O(certfile) nothing is made; the files are only checked.
  - Runs in the controller's own process, with the cryptography that Ansible itself needs.
options:
  directory:
    description: Where the files go.
    type: path
  names:
    description: Host names and addresses of all nodes; localhost, 127.0.0.1 and ::1 are added.
    type: list
    elements: str
    default: []
  key_type:
    description: RSA 2048 or ECDSA P-256.
    type: str
    choices: [rsa, ecdsa]
    default: rsa
  domains:
    description:
      - Trust domains. Each gets a CA of its own, V(name-ca.pem) and V(name-ca-key.pem), and a
        client of that, V(name-client-cert.pem) and V(name-client-key.pem). With any, there is also
        a second server certificate, V(other-server-cert.pem) and V(other-server-key.pem).
    type: list
    elements: str
    default: []
  cacertfile:
    description: Own trust anchors.
    type: path
  certfile:
    description: Own server certificate.
    type: path
  keyfile:
    description: Own private key.
    type: path
author: EMQX conformance maintainers (@emqx)
attributes:
  check_mode:
    description: Says what would be made, and why.
    support: full
  diff_mode:
    description: Says why each file is made; never shows a key.
    support: full
"""

EXAMPLES = r"""
- name: Make certificates for two nodes
  emqx.conformance.test_certificates:
    directory: certs
    names: [emqx1.example.com, 192.0.2.7]

- name: Check own certificates
  emqx.conformance.test_certificates:
    cacertfile: /etc/ssl/mqtt/ca.pem
    certfile: /etc/ssl/mqtt/cert.pem
    keyfile: /etc/ssl/mqtt/key.pem
"""

RETURN = r"""
reasons:
  description: Why files were made, one clause each.
  type: list
  elements: str
  returned: success
  sample: ["server-cert.pem: does not name emqx4.example.com"]
paths:
  description: The files by what they are.
  type: dict
  returned: success
  sample: {cacertfile: certs/ca.pem, certfile: certs/server-cert.pem, keyfile: certs/server-key.pem}
not_after:
  description: When the server certificate expires, UTC.
  type: str
  returned: when there is one
  sample: "2030-01-31T12:00:00Z"
"""
