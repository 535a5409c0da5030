"""Test certificates: a CA, a server certificate with every node's name, a client certificate.

Trust domains are further CAs, each with a client of its own, and for their listeners there is
a second server certificate.

Needs ``cryptography``; runs on the controller only. A plan says what is wrong with the files that
are there, so that check mode and a real run cannot tell different stories.
"""
from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .generated import DOMAIN_NAME, SERVER, Role, roles
from .listeners.serving import WHY_NO_EDWARDS_KEY

PrivateKey = Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]

RENEW_BEFORE = datetime.timedelta(days=7)
CLOCK_SKEW = datetime.timedelta(hours=1)
CA_LIFETIME = datetime.timedelta(days=3650)
LIFETIME = datetime.timedelta(days=365)
ALWAYS_NAMED = ("localhost", "127.0.0.1", "::1")
_RSA_BITS = 2048


class CertificateError(Exception):
    """A file cannot be used; the sentence says which and why."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True)
class Paths:
    """The files of one directory of test certificates."""

    directory: Path

    def certificate(self, role: Role) -> Path:
        """Return where a certificate is."""
        return self.directory / role.certificate

    def key(self, role: Role) -> Path:
        """Return where its private key is."""
        return self.directory / role.key


@dataclass
class CertificatePlan:
    """What there is, and why some of it must be made anew."""

    paths: Paths
    key_type: str
    names: tuple[str, ...]
    now: datetime.datetime
    roles: tuple[Role, ...] = ()
    pairs: dict[Role, Pair] = field(default_factory=dict)
    reasons: dict[Role, str] = field(default_factory=dict)
    """Role -> why its certificate is made anew."""
    loose: tuple[Path, ...] = ()
    """Private keys that others may read, and nothing else is wrong with."""

    @property
    def changes(self) -> tuple[str, ...]:
        """Every change in one clause, in the order they are made."""
        return (*(f"{self.paths.certificate(role).name}: {reason}"
                  for role, reason in self.reasons.items()),
                *(f"{path.name}: was readable by others" for path in self.loose))


def make_plan(directory: Path, names: Iterable[str], key_type: str,
              now: datetime.datetime | None = None, domains: Iterable[str] = ()) -> CertificatePlan:
    """Look at the directory and say what has to be made, changing nothing.

    ``names`` are the host names and addresses that clients expect the server to have, ``domains``
    the trust domains.

    Raises:
        CertificateError: a name cannot stand in a certificate, or begin the name of a file.
    """
    domains = tuple(domains)
    for domain in domains:
        if not DOMAIN_NAME.fullmatch(domain):
            raise CertificateError(f'"{domain}" cannot name a trust domain: use letters, digits, _ '
                                   "and -")
    plan = CertificatePlan(Paths(directory), key_type, (),
                           now or datetime.datetime.now(datetime.timezone.utc), roles(domains))
    for role in plan.roles:
        found = _load(plan, role)
        if isinstance(found, Pair):
            plan.pairs[role] = found
        else:
            plan.reasons[role] = found
    wanted = {_general_name(name) for name in (*names, *ALWAYS_NAMED)}
    # What another inventory of this checkout asked for stays, or the two would take turns.
    present = {role: _names_in(plan.paths.certificate(role)) for role in plan.roles
               if role.kind == "server"}
    plan.names = tuple(sorted(str(name.value) for name in wanted | present[SERVER]))
    for role in plan.roles:
        if role.kind == "ca" or role in plan.reasons:
            continue
        certificate, authority = plan.pairs[role].certificate, role.issuer
        if authority in plan.reasons:
            plan.reasons[role] = f"{authority.certificate} is made anew"
        elif not _signed_by(certificate, plan.pairs[authority].certificate):
            plan.reasons[role] = f"not signed by {authority.certificate}"
        elif role.kind == "server" and not wanted <= present[role]:
            missing = ", ".join(sorted(str(name.value) for name in wanted - present[role]))
            plan.reasons[role] = f"does not name {missing}"
    plan.loose = tuple(
        path for role in plan.roles if role not in plan.reasons
        for path in [plan.paths.key(role)] if path.stat().st_mode & 0o077)
    return plan


@contextlib.contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Keep a second deploy of this checkout from making another CA at the same time."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def carry_out(plan: CertificatePlan) -> None:
    """Make what the plan says, each CA before what it signs, in a directory that exists.

    A key is written before its certificate: when the second step does not happen, the next run
    sees two files that do not match and makes both again.
    """
    for path in plan.loose:
        path.chmod(0o600)
    wanted = [role for role in plan.roles if role in plan.reasons]
    for role in wanted:
        plan.pairs[role] = _issue_ca(plan, role) if role.kind == "ca" else _issue(plan, role)
    for role in wanted:
        pair = plan.pairs[role]
        _write(plan.paths.key(role), pair.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()), 0o600)
        _write(plan.paths.certificate(role),
               pair.certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def check_own(cacertfile: Path, certfile: Path, keyfile: Path,
              now: datetime.datetime | None = None) -> x509.Certificate:
    """Check files that the user brought; return the server certificate.

    Raises:
        CertificateError: one is missing, unreadable or expired, or key and certificate differ.
    """
    _read_certificates(cacertfile)
    certificate = _read_certificates(certfile)[0]
    key = _read_key(keyfile, f": {WHY_NO_EDWARDS_KEY}")
    if key.public_key() != certificate.public_key():
        raise CertificateError(f"{keyfile} is not the private key of {certfile}")
    if certificate.not_valid_after_utc <= (now or datetime.datetime.now(datetime.timezone.utc)):
        raise CertificateError(f"{certfile} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return certificate


def _load(plan: CertificatePlan, role: Role) -> Pair | str:
    """Return a pair that can stay as far as it alone can tell, or why it cannot."""
    certificate_path, key_path = plan.paths.certificate(role), plan.paths.key(role)
    missing = [path.name for path in (certificate_path, key_path) if not path.exists()]
    if missing:
        return "does not exist" if len(missing) == 2 else f"{missing[0]} does not exist"
    try:
        certificate, key = _read_certificates(certificate_path)[0], _read_key(key_path)
    except CertificateError as error:
        return str(error)
    if key.public_key() != certificate.public_key():
        return f"{key_path.name} is not its private key"
    if _key_type(key) != plan.key_type:
        return f"the key is {_key_type(key)} and {plan.key_type} is asked for"
    if role.kind == "ca" and not _is_ca(certificate):
        return "is no CA"
    return _out_of_date(certificate, plan.now) or Pair(certificate, key)


def _out_of_date(certificate: x509.Certificate, now: datetime.datetime) -> str | None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin > now:
        return f"is valid only from {begin:%Y-%m-%d}"
    if end <= now:
        return f"expired on {end:%Y-%m-%d}"
    return f"expires on {end:%Y-%m-%d}" if end - now < RENEW_BEFORE else None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise CertificateError(f"{path} holds no PEM certificate") from None


def _read_key(path: Path, why_no_edwards: str = "") -> PrivateKey:
    """Read a private key; ``why_no_edwards`` ends the sentence about an Ed25519 or Ed448 key."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise CertificateError(f"{path} cannot be read ({error.strerror})") from None
    except TypeError:
        raise CertificateError(f"{path} is encrypted: give a private key without password") \
            from None
    except ValueError:
        raise CertificateError(f"{path} holds no PEM private key") from None
    if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        return key
    edwards = isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    raise CertificateError(f"{path} is neither an RSA nor an elliptic curve key"
                           f"{why_no_edwards if edwards else ''}")


def _key_type(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa"
    return "ecdsa" if isinstance(key.curve, ec.SECP256R1) else key.curve.name


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode("ascii").lower())
    except UnicodeError:
        raise CertificateError(f'"{name}" is no host name a certificate can hold') from None


def _names_in(path: Path) -> set[x509.GeneralName]:
    """Return the names a certificate has, whatever else is wrong with it."""
    try:
        return set(_read_certificates(path)[0].extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value)
    except (CertificateError, x509.ExtensionNotFound, ValueError):
        return set()


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _new_key(key_type: str) -> PrivateKey:
    if key_type == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "TLS resumption test"),
                      x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _issue_ca(plan: CertificatePlan, role: Role) -> Pair:
    key = _new_key(plan.key_type)
    # The key in the name keeps an old ca.pem in somebody's trust store from being taken for this.
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    subject = _name(" ".join(("Test CA", *role.domain.split(), digest[:16])))
    builder = _builder(plan.now, CA_LIFETIME, subject, subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(ca=True), critical=True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def _issue(plan: CertificatePlan, role: Role) -> Pair:
    key, issuer = _new_key(plan.key_type), plan.pairs[role.issuer]
    lifetime = min(LIFETIME, issuer.certificate.not_valid_after_utc - plan.now)
    subject = _name(" ".join(("Test", role.kind, *role.domain.split())))
    names = plan.names if role.kind == "server" else ()
    return _signed(_builder(plan.now, lifetime, subject, issuer.certificate.subject, key), key,
                   issuer, names)


def short_lived_client(ca_file: Path, ca_key_file: Path, until: datetime.datetime,
                       like: Path | None = None) -> bytes:
    """Return a client certificate of a CA, valid until a moment, and its key, as PEM.

    The key is made for this and is nowhere else. Where to look for its revocation is as in
    ``like``, another client's certificate of that CA: who looks refuses one that does not tell.

    Raises:
        CertificateError: a file is missing or unusable, or those of the CA are no pair.
    """
    authority = Pair(_read_certificates(ca_file)[0], _read_key(ca_key_file))
    if authority.key.public_key() != authority.certificate.public_key():
        raise CertificateError(f"{ca_key_file} is not the private key of {ca_file}")
    key = _new_key(_key_type(authority.key))
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = _builder(now, until - now, _name("Test client, short-lived"),
                       authority.certificate.subject, key)
    points = _crl_distribution_points(_read_certificates(like)[0]) if like else None
    if points is not None:
        builder = builder.add_extension(points, critical=False)
    made = _signed(builder, key, authority, ())
    return made.certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _crl_distribution_points(certificate: x509.Certificate) -> x509.CRLDistributionPoints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return None


def _signed(builder: x509.CertificateBuilder, key: PrivateKey, issuer: Pair,
            names: Iterable[str]) -> Pair:
    """Return the certificate of a server with names, or else of a client."""
    named = [_general_name(name) for name in names]
    usage = ExtendedKeyUsageOID.SERVER_AUTH if named else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None),
                                    critical=True)
    builder = builder.add_extension(
        _key_usage(ca=False, encipherment=isinstance(key, rsa.RSAPrivateKey)), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
        issuer.key.public_key()), critical=False)
    if named:
        builder = builder.add_extension(x509.SubjectAlternativeName(named), critical=False)
    return Pair(builder.sign(issuer.key, hashes.SHA256()), key)


def _builder(now: datetime.datetime, lifetime: datetime.timedelta, subject: x509.Name,
             issuer: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW).not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                           critical=False))


def _key_usage(*, ca: bool, encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, key_encipherment=encipherment, key_cert_sign=ca, crl_sign=ca,
        content_commitment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step; its mode is never wider than asked, not for an instant."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
