"""Action plugin: makes or checks certificates, on the controller."""
from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.module_utils import certificates, generated

_OWN = ("cacertfile", "certfile", "keyfile")


class ActionModule(ActionBase):
    """Runs on the controller only; no host is connected to."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was made, or why it could not be or cannot be used."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "directory": {"type": "path"},
                "names": {"type": "list", "elements": "str", "default": []},
                "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "default": "rsa"},
                "domains": {"type": "list", "elements": "str", "default": []},
                **{name: {"type": "path"} for name in _OWN},
            },
            required_together=[_OWN],
            required_one_of=[("directory", "certfile")],
            mutually_exclusive=[("directory", "certfile")])
        try:
            result.update(_checked(given) if given["certfile"] else
                          _made(given, pretend=self._task.check_mode))
        except certificates.CertificateError as error:
            result.update(failed=True, msg=f"{error}.")
        except OSError as error:
            result.update(failed=True, msg=f"{error.filename or given['directory']} cannot be "
                                           f"written: {error.strerror}.")
        return result


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """Check what the user brought."""
    paths = {name: given[name] for name in _OWN}
    certificate = certificates.check_own(Path(paths["cacertfile"]), Path(paths["certfile"]),
                                         Path(paths["keyfile"]))
    return {"changed": False, "reasons": [], "paths": paths,
            "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}


def _made(given: dict[str, Any], *, pretend: bool) -> dict[str, Any]:
    """Make what is missing."""
    directory = Path(given["directory"])
    with contextlib.nullcontext() if pretend else certificates.alone_in(directory):
        plan = certificates.make_plan(directory, given["names"], given["key_type"],
                                      domains=given["domains"])
        if not pretend:
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
    return result
