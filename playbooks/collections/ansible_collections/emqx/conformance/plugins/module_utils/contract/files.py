"""Certificate files: those that users bring, and those that the deploy makes."""
from __future__ import annotations

from pathlib import Path

from .. import generated
from ..listeners.complete import Certificates
from ..listeners.files import File, read_file
from .paths import unreadable
from .settings import ClusterSettings
from .values import Values

_OWN = ("emqx_tls_cacertfile", "emqx_tls_certfile", "emqx_tls_keyfile")


def to_be_made(settings: ClusterSettings) -> dict[str, File]:
    """Return the files that the deploy makes when they are not there, or not as they should be."""
    if not settings.deployed:
        return {}
    folder = Path(settings.certs_dir)
    key_type = generated.KEY_TYPES[settings.certificate_key_type]
    return {file.path: file for role in generated.roles(settings.certificate_domains)
            for file in _pair(str(folder / role.certificate), str(folder / role.key), key_type)}


def _pair(certificate: str, key: str, key_type: str | None) -> tuple[File, File]:
    return (File(certificate, holds_certificate=True, key_type=key_type, key=key),
            File(key, holds_key=True))


def own(values: Values, host: str) -> Certificates | None:
    """Return the files that the user brought for a node; None where they are to be made."""
    paths = [values.of(host, name) for name in _OWN]
    return Certificates(*map(values.inventory.absolute, paths)) if all(paths) else None


def certificates(settings: ClusterSettings, values: Values, host: str) -> Certificates:
    """Return the files of a node's listeners that name none."""
    folder = Path(settings.certs_dir)
    return own(values, host) or Certificates(
        str(folder / generated.CA.certificate), str(folder / generated.SERVER.certificate),
        str(folder / generated.SERVER.key))


def assured(settings: ClusterSettings, values: Values) -> list[File]:
    """Return the files that are to be made, and those that users brought, as a node finds them.

    What is wrong with one the role test_certificates tells or mends before.
    """
    brought = dict.fromkeys(files for host in values.hosts if (files := own(values, host)))
    return [*to_be_made(settings).values(), *(
        file for files in brought for file in _passed(files))]


def _passed(files: Certificates) -> tuple[File, ...]:
    try:
        found = read_file(files.certfile).key_type
    except OSError:
        found = None  # refused elsewhere, in words
    # With any other one test_certificates says what to do.
    key_type = found if found in generated.KEY_TYPES.values() else None
    return File(files.cacertfile, holds_certificate=True), *_pair(
        files.certfile, files.keyfile, key_type)


def problems_of(settings: ClusterSettings, values: Values) -> list[str]:
    """Return what is wrong with the files that variables name."""
    problems = []
    if bool(settings.client_cert) != bool(settings.client_key):
        missing = "resumption_client_key" if settings.client_cert else "resumption_client_cert"
        problems.append(f"{missing} is missing: resumption_client_cert and resumption_client_key "
                        f"go together.")
    made = to_be_made(settings)
    named = [(name, path) for name, path in (
        ("resumption_ca", settings.ca), ("resumption_client_cert", settings.client_cert),
        ("resumption_client_key", settings.client_key)) if path and path not in made]
    for host in values.hosts:
        brought_here = {name: values.of(host, name) for name in _OWN}
        absent = [name for name, path in brought_here.items() if not path]
        if 0 < len(absent) < len(_OWN):
            problems.append(f"{absent[0]} of {host} is missing: {', '.join(_OWN)} go together.")
        named += [(name, values.inventory.absolute(path))
                  for name, path in brought_here.items() if path]
    return [*problems, *(f"{name} ({values.where(name)}) names {why}."
                         for name, path in dict.fromkeys(named) if (why := unreadable(path)))]
