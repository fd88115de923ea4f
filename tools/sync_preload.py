"""Writes into README.md what a Space fetches before it starts, from the registry of models.

    python tools/sync_preload.py            write the list
    python tools/sync_preload.py --check    only say whether it is the right one

A Space takes ten entries and 150 GB at most (https://huggingface.co/docs/hub/spaces-config-reference).
Sets of weights are taken whole, in the order of `SETS`, as long as they fit.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from studio.modes import MODES  # noqa: E402
from studio.needs import model_settings, models_for, variants_of  # noqa: E402
from studio.registry import Model, ModelFolder  # noqa: E402

README = ROOT / "README.md"

MOST_ENTRIES, MOST_GIGABYTES = 10, 150.0

SETS = (
    ("t2v", "comfy", {}),
    ("photo", "diffusers", {}),
    ("edit", "diffusers", {"preset": "fast"}),
    ("edit", "diffusers", {}),
    ("style", "comfy", {}),
    ("style", "comfy", {"control": "pose"}),
    ("style", "comfy", {"control": "depth"}),
    ("image", "diffusers", {}),
)
"""Mode, engine and settings, the most wanted first."""

LIST = re.compile(r"^preload_from_hub:\n(?:  - .*\n)+", re.MULTILINE)


def preload_entries() -> list[str]:
    """`owner/repository file,file`, or the repository alone where all of it is wanted."""
    chosen: list[Model] = []
    for mode_id, engine, settings in SETS:
        mode = MODES[mode_id]
        variant = variants_of(mode, [engine])[0]
        models = models_for(mode, variant, model_settings(mode, settings))
        more = list(dict.fromkeys([*chosen, *models]))
        if _fits(more):
            chosen = more
    return [_entry(repo, models) for repo, models in _by_repository(chosen)]


def _fits(models: Iterable[Model]) -> bool:
    repositories = _by_repository(models)
    size = sum(model.gigabytes for _, group in repositories for model in group)
    return len(repositories) <= MOST_ENTRIES and size <= MOST_GIGABYTES


def _by_repository(models: Iterable[Model]) -> list[tuple[str, list[Model]]]:
    """The largest first, so that the build shows early whether the disk is enough."""
    groups: dict[str, list[Model]] = defaultdict(list)
    for model in models:
        repo = model.repo if isinstance(model, ModelFolder) else model.source.repo
        groups[repo].append(model)
    return sorted(groups.items(), key=lambda one: -sum(model.gigabytes for model in one[1]))


def _entry(repo: str, models: list[Model]) -> str:
    files = [one.source.path for one in models if not isinstance(one, ModelFolder)]
    return f"{repo} {','.join(files)}" if files else repo


def synced(readme: str) -> str:
    """The README with the right list."""
    lines = "".join(f"  - {entry}\n" for entry in preload_entries())
    return LIST.sub(f"preload_from_hub:\n{lines}", readme)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a Space's preload list into README.md.")
    parser.add_argument("--check", action="store_true", help="only say whether it is right")
    options = parser.parse_args()
    before = README.read_text(encoding="utf-8")
    after = synced(before)
    if options.check:
        if before == after:
            return 0
        sys.stderr.write("README.md has another preload list: run tools/sync_preload.py.\n")
        return 1
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
