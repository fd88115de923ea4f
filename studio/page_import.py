"""Gradio's import without what it writes for editors, which is half of it.

Whenever Gradio is imported, it parses the source of each of its components, compares it with a
`.pyi` beside it, and fills in the docstring of each event. The page has no use for either.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_WRITER = "gradio.component_meta"
"""The module that does it, once for each class, in Gradio 5 and 6."""


def leave_out_stubs() -> None:
    """Has Gradio, imported later, leave these out. Does nothing where it has been imported."""
    if _WRITER not in sys.modules and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds the one module as Python does, and has `_Loader` run it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _WRITER:
            return None
        sys.meta_path.remove(self)
        found = PathFinder.find_spec(name, path, target)
        if found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = _Loader(found.loader.name, found.loader.path)
        return found


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.__dict__["create_or_modify_pyi"] = _write_nothing
        module.__dict__["EventListener"].set_doc = _write_nothing


def _write_nothing(*_: object, **__: object) -> None:
    """Instead of a stub file or a docstring."""
