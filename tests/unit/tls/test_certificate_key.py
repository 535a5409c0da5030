"""What key a certificate is for, as it comes on the wire."""
from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Union

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.tls.certificate_key import key_of
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

Key = Callable[[], Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey,
                        ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey]]


def certificate(make: Key) -> bytes:
    """Return a self-signed certificate for a new key, in DER."""
    key, name = make(), x509.Name([])
    now = datetime.datetime.now(datetime.timezone.utc)
    edwards = isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now,
                                   now + datetime.timedelta(1)).sign(
        key, None if edwards else hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(("make", "told"), [
    (lambda: rsa.generate_private_key(65537, 2048), "RSA 2048"),
    (lambda: rsa.generate_private_key(65537, 3072), "RSA 3072"),
    (lambda: ec.generate_private_key(ec.SECP256R1()), "ECDSA P-256"),
    (lambda: ec.generate_private_key(ec.SECP384R1()), "ECDSA P-384"),
    (lambda: ec.generate_private_key(ec.SECP256K1()), "ECDSA"),
    (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
    (ed448.Ed448PrivateKey.generate, "Ed448"),
])
def test_the_key_is_told(make: Key, told: str) -> None:
    assert key_of(certificate(make)) == told


def test_what_is_cut_off_or_changed_is_told_nothing_of_or_as_it_stands() -> None:
    whole = certificate(lambda: ec.generate_private_key(ec.SECP256R1()))
    assert {key_of(whole[:length]) for length in range(len(whole))} == {""}
    for at in range(len(whole)):
        for bit in (0x01, 0x80):
            # No other error than none at all.
            assert isinstance(key_of(whole[:at] + bytes((whole[at] ^ bit,)) + whole[at + 1:]), str)
    assert key_of(b"no certificate at all") == ""
