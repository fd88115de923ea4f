"""Times downloads over loopback against huggingface_hub's own, from the same small Hub.

Run as `python -m bench.downloads [MB]`. The Hub is a process of its own. huggingface_hub takes a
file as it comes; the studio also checks its hash, and can go on after a kill.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download
from local_hub import COMMIT, LocalHub, connected

from bench.pairs import Times, cpu, in_turns, ratios, table, timed, wall
from studio.hub_file import HubFile
from studio.weights_hub import fetch_all

MEGABYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 64
SMALL = 40
"""Files of a few kB, as a diffusers folder has beside its weights."""

REPO, BIG = "org/model", "model.safetensors"
NAMES = {"one large file": (BIG,), f"{SMALL} small files": tuple(f"{n}.json" for n in range(SMALL))}

HUB = """
import sys
from local_hub import LocalHub, weights
content = {"model.safetensors": weights(int(sys.argv[1]) * 2**20)}
content |= {f"{number}.json": b"{}" * 1000 for number in range(int(sys.argv[2]))}
hub = LocalHub({"org/model": content}).start()
print(hub.url, flush=True)
sys.stdin.readline()
"""


class Elsewhere(LocalHub):
    """A Hub in another process, which takes none of this one's time."""

    def start(self) -> "Elsewhere":
        command = [sys.executable, "-c", HUB, str(MEGABYTES), str(SMALL)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **pipes)
        self.url = self.process.stdout.readline().strip()
        return self

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> int:
    """Print a Markdown table: both, and the ratio."""
    rows = []
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        with connected(Elsewhere(), folder, patch):
            # What it would tell of a download is not measured.
            patch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
            for label, names in NAMES.items():
                rows.append(_row(label, names, folder, patch))
    head = ["download", "studio (s)", "huggingface_hub (s)", "ratio", "CPU (s)", "CPU (s)", "ratio"]
    sys.stdout.write(f"{MEGABYTES} MB in the large file.\n\n{table(head, rows)}\n")
    return 0


def _row(
    label: str, names: tuple[str, ...], folder: Path, patch: pytest.MonkeyPatch
) -> list[object]:
    def own(number: int) -> Times:
        _empty_cache(folder / f"{label} {number}", patch)
        files = [HubFile(REPO, name, COMMIT) for name in names]
        return timed(lambda: fetch_all(files))

    def theirs(number: int) -> Times:
        _empty_cache(folder / f"{label} {number}", patch)
        return timed(
            lambda: [hf_hub_download(REPO, name, revision=COMMIT) for name in names],
        )

    both = in_turns({"own": own, "theirs": theirs})
    mine, others = both["own"], both["theirs"]
    ratio = ratios(mine, others)
    return [label, wall(mine), wall(others), ratio[0], cpu(mine), cpu(others), ratio[1]]


def _empty_cache(folder: Path, patch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    patch.setattr(constants, "HF_HUB_CACHE", str(folder))


if __name__ == "__main__":
    sys.exit(main())
