"""Fixtures of all tests."""
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.openssl_broker import make_certificate

# Twenty times as many examples: pytest --hypothesis-profile=long
settings.register_profile("long", max_examples=2000, deadline=None)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))
