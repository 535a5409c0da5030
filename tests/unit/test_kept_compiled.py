"""What Ansible imports of the library, Python compiles once."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = "ansible_collections/emqx/conformance/plugins/module_utils"
CODE = """
import sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([sys.argv[1]])
import ansible_collections.emqx.conformance.plugins.module_utils as library
from ansible_collections.emqx.conformance.plugins.module_utils import words
from ansible_collections.emqx.conformance.plugins.module_utils.run import verdict
print(type(library.__spec__.loader).__name__, words.some(["a"]), verdict.__name__)
"""


def test_a_module_that_ansible_imports_is_kept_compiled(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "playbooks" / "collections", tmp_path, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=120, env={**environment, "ANSIBLE_HOME": str(tmp_path / "home")})
    assert done.returncode == 0, done.stderr
    # Ansible's own loader has found the package, so that the rest could have been its as well.
    assert done.stdout.split()[0] == "_AnsibleCollectionLoader", done.stdout
    assert {file.name.partition(".")[0] for file in (tmp_path / LIBRARY).rglob("*.pyc")} >= {
        "words", "verdict"}
