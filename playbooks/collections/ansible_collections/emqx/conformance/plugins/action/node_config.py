"""Action plugin: renders the configuration files of a node, on the controller."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible_collections.emqx.conformance.plugins.plugin_utils.written import (
    directory_made,
    written,
)


class ActionModule(ActionBase):
    """Runs on the controller only; no host is connected to."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True
    _VALID_ARGS = frozenset(("templates", "files", "directory"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what changed, or why it could not."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        templates = Path(self._task.args["templates"])
        directory = Path(self._task.args["directory"])
        pretend = self._task.check_mode
        # As the template module has it: a tag alone in its line leaves no line.
        templar = self._templar.copy_with_new_env(searchpath=[str(templates)])
        try:
            changed = directory_made(directory, pretend=pretend)
            files, diff = [], []
            for name in self._task.args["files"]:
                source = (templates / f"{name}.j2").read_text(encoding="utf-8")
                text = str(templar.template(trust_as_template(source), escape_backslashes=False,
                                            overrides={"trim_blocks": True}))
                change = written(directory / name, text, pretend=pretend)
                if change is not None:
                    files.append(str(directory / name))
                    diff.append(change)
        except OSError as error:
            result.update(failed=True, msg=f"{error.filename}: {error.strerror or error}")
            return result
        result.update(changed=changed or bool(files), files=files)
        if self._task.diff:
            result["diff"] = diff
        return result
