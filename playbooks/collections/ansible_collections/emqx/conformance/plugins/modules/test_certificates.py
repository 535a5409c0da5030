#!/usr/bin/python
"""Make test certificates, or check those that the user brought."""
from __future__ import annotations

DOCUMENTATION = r"""
module: test_certificates
short_description: Make a test CA, a server certificate for all nodes and a client certificate
description:
  - Keeps what is there and good, and makes anew what is missing, expired or about to, does not
    name a node, has a key of another type, or was not signed by the CA beside it.
  - Names that a server certificate had are kept, so that two inventories can share it.
  - With O(certfile) nothing is made; the files are only checked.
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
requirements: [cryptography]
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

import contextlib
import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.emqx.conformance.plugins.module_utils import certificates, generated
    MISSING = None
except ImportError:
    MISSING = traceback.format_exc()

OWN = ("cacertfile", "certfile", "keyfile")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path"},
            "names": {"type": "list", "elements": "str", "default": []},
            "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "default": "rsa"},
            "domains": {"type": "list", "elements": "str", "default": []},
            "cacertfile": {"type": "path"},
            "certfile": {"type": "path"},
            "keyfile": {"type": "path", "no_log": False},
        },
        required_together=[OWN],
        required_one_of=[("directory", "certfile")],
        mutually_exclusive=[("directory", "certfile")],
        supports_check_mode=True)
    if MISSING:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=MISSING)
    try:
        if module.params["certfile"]:
            check_own(module)
        make(module)
    except certificates.CertificateError as error:
        module.fail_json(msg=f"{error}.")
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['directory']} cannot be written: "
                             f"{error.strerror}.")


def check_own(module: AnsibleModule) -> None:
    """Check what the user brought and exit."""
    paths = {name: module.params[name] for name in OWN}
    certificate = certificates.check_own(Path(paths["cacertfile"]), Path(paths["certfile"]),
                                         Path(paths["keyfile"]))
    module.exit_json(changed=False, reasons=[], paths=paths,
                     not_after=f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")


def make(module: AnsibleModule) -> None:
    """Make what is missing and exit."""
    directory = Path(module.params["directory"])
    with contextlib.nullcontext() if module.check_mode else certificates.alone_in(directory):
        plan = certificates.make_plan(directory, module.params["names"], module.params["key_type"],
                                      domains=module.params["domains"])
        if not module.check_mode:
            certificates.carry_out(plan)
    result = {
        "changed": bool(plan.changes), "reasons": list(plan.changes),
        "paths": {"cacertfile": str(plan.paths.certificate(generated.CA)),
                  "certfile": str(plan.paths.certificate(generated.SERVER)),
                  "keyfile": str(plan.paths.key(generated.SERVER)),
                  "client_certfile": str(plan.paths.certificate(generated.CLIENT)),
                  "client_keyfile": str(plan.paths.key(generated.CLIENT))},
    }
    if generated.SERVER in plan.pairs:
        not_after = plan.pairs[generated.SERVER].certificate.not_valid_after_utc
        result["not_after"] = f"{not_after:%Y-%m-%dT%H:%M:%SZ}"
    if plan.changes:
        result["diff"] = {"prepared": "".join(f"{change}\n" for change in plan.changes)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
