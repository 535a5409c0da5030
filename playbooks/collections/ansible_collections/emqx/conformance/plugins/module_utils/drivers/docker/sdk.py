"""What is used of the docker SDK, which takes long to import and which few runs need."""
from __future__ import annotations

import requests
from docker import DockerClient, errors
from docker.context import ContextAPI
from docker.utils import parse_bytes

__all__ = ["ContextAPI", "DockerClient", "errors", "parse_bytes", "requests"]
