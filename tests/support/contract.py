"""The inventory contract as the role ``check_inventory`` declares it."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CONTRACT: dict[str, dict[str, Any]] = {
    name: option for name, option in yaml.safe_load(
        (Path(__file__).parents[2] / "roles/check_inventory/meta/argument_specs.yml").read_text()
    )["argument_specs"]["main"]["options"].items() if name.startswith(("emqx_", "resumption_"))}
