"""Fixtures of the tests with hostile bytes."""
from __future__ import annotations

import pytest

from tests.fuzz import seeds, targets
from tests.support.openssl_cli import CertifiedKey, make_identity


@pytest.fixture(scope="session")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> CertifiedKey:
    """An RSA certificate."""
    return make_identity(tmp_path_factory.mktemp("rsa"), "localhost")


@pytest.fixture(scope="session")
def made(rsa: CertifiedKey) -> dict[str, targets.Target]:
    """All targets by name."""
    return targets.targets(rsa)


@pytest.fixture(scope="session")
def real(rsa: CertifiedKey, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """What real servers said, as each target takes it."""
    return seeds.seeds(rsa, tmp_path_factory.mktemp("seeds"))
