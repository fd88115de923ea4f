"""Times reading and writing media against ffmpeg on the same clip, and recipes by themselves.

Run as `python -m bench.media`. ffmpeg, a process of its own, gets the same encoder settings, the
same exact conversion of colours, and raw pictures through a pipe; both decode to RGB. Without
ffmpeg only the studio's times are said.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from recipe_samples import RECIPE

from bench.pairs import Times, cpu, in_turns, ratios, table, timed, wall
from studio.media_clips import CRF, X264_THREADS, Frames, load_frames, probe_clip, write_clip
from studio.media_retag import retag_clip
from studio.recipe_mp4 import add_xmp, mp4_tags
from studio.recipe_png import write_png
from studio.recipe_read import read_recipe

WIDTH, HEIGHT, FRAMES, FPS = 768, 512, 121, 24
"""A clip of five seconds at the size that LTX-2.3 is asked for most."""

Row = list[object]
Run = Callable[[int], Times]


def main() -> int:
    """Print two Markdown tables: clips against ffmpeg, and recipes."""
    ffmpeg = shutil.which("ffmpeg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = _pictures()
        clip = folder / "clip.mp4"
        write_clip(clip, frames, FPS, None, {})
        pairs = [
            ("encode", _timed(write_clip, folder / "own.mp4", frames, FPS, None, {}), _encode),
            ("decode", _timed(load_frames, clip, FPS, FRAMES), _decode),
        ]
        head = ["clip", "studio (frames/s)", "ffmpeg (frames/s)", "ratio", "ratio of CPU time"]
        rows = [_row(name, own, call, ffmpeg, clip, frames) for name, own, call in pairs]
        sys.stdout.write(f"{table(head, rows)}\n\n")
        head = ["recipe", "wall (ms)", "CPU time (ms)"]
        sys.stdout.write(f"{table(head, _recipes(folder, clip))}\n")
    return 0


def _pictures() -> Frames:
    """A gradient that moves, with noise: neither as easy as one colour nor as hard as noise."""
    random = np.random.default_rng(1)
    across = np.linspace(0, 200, WIDTH, dtype=np.float32)
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for number, frame in enumerate(frames):
        noise = random.integers(0, 24, (HEIGHT, WIDTH, 3))
        frame[...] = np.roll(across, 4 * number)[None, :, None] + noise
    return frames


def _timed(call: Callable[..., object], *given: object) -> Run:
    return lambda _: timed(lambda: call(*given))


def _row(
    name: str,
    own: Run,
    call: Callable[[str, Path, Frames], None],
    ffmpeg: str | None,
    clip: Path,
    frames: Frames,
) -> Row:
    if ffmpeg is None:
        found = in_turns({"own": own})["own"]
        return [name, FRAMES / wall(found), "not here", "", ""]
    both = in_turns({"own": own, "ffmpeg": _timed(call, ffmpeg, clip, frames)})
    own_times, theirs = both["own"], both["ffmpeg"]
    rates = [FRAMES / wall(own_times), FRAMES / wall(theirs)]
    return [f"{name}, {WIDTH} x {HEIGHT}", *rates, *ratios(own_times, theirs)]


def _encode(ffmpeg: str, clip: Path, frames: Frames) -> None:
    to_bt709 = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+bitexact"
    raw = f"-f rawvideo -pix_fmt rgb24 -s {WIDTH}x{HEIGHT} -r {FPS} -i -".split()
    x264 = f"-c:v libx264 -crf {CRF} -preset medium -threads {X264_THREADS} -g {2 * FPS}".split()
    out = [*x264, "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-y"]
    command = [ffmpeg, "-v", "error", *raw, "-vf", to_bt709, *out, str(clip.with_name("ff.mp4"))]
    subprocess.run(command, input=frames.tobytes(), check=True)


def _decode(ffmpeg: str, clip: Path, frames: Frames) -> None:
    exact = "scale=flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
    raw = "-f rawvideo -pix_fmt rgb24 -".split()
    command = [ffmpeg, "-v", "error", "-i", str(clip), "-vf", exact, *raw]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    # As an array, which the studio's pictures are.
    assert np.frombuffer(done.stdout, np.uint8).size == frames.size


def _recipes(folder: Path, clip: Path) -> list[Row]:
    picture = Image.fromarray(_pictures()[0])
    png, tagged, marked = (folder / name for name in ("a.png", "tagged.mp4", "marked.mp4"))
    retag_clip(clip, marked, mp4_tags(RECIPE))
    add_xmp(marked, RECIPE)
    calls: dict[str, Run] = {
        "PNG without one": _timed(picture.save, folder / "bare.png"),
        "PNG with one": _timed(write_png, picture, png, RECIPE),
        "PNG, read": _timed(read_recipe, png),
        "MP4, written into a clip": _timed(retag_clip, clip, tagged, mp4_tags(RECIPE)),
        "MP4, read": _timed(read_recipe, marked),
        "MP4, probed": _timed(probe_clip, clip),
    }
    write_png(picture, png, RECIPE)
    found = in_turns(calls)
    return [[name, 1000 * wall(times), 1000 * cpu(times)] for name, times in found.items()]


if __name__ == "__main__":
    sys.exit(main())
