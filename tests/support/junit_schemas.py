"""The schemas of those who read junit.xml."""
from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import xmlschema

HERE = Path(__file__).parent / "junit"
SUREFIRE = xmlschema.XMLSchema(HERE / "surefire.xsd")
"""Of each suite."""
JENKINS = xmlschema.XMLSchema(HERE / "jenkins.xsd")
"""Of the whole file."""


def validate(document: bytes) -> None:
    """Raise XMLSchemaValidationError unless this is what Surefire writes and Jenkins reads."""
    root = ET.fromstring(document)
    JENKINS.validate(root)
    assert len(root) > 0
    for suite in root:
        SUREFIRE.validate(suite)
