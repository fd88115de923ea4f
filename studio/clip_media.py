"""What a clip is given beside words, read at the sizes and lengths of its plan; for any engine."""

from pathlib import Path

import numpy as np
from PIL import Image

from studio import sizes
from studio.control_maps import canny
from studio.media_clips import Frames, load_frames, probe_clip
from studio.media_images import cover, load_image
from studio.media_sound import Sound, add_noise_floor, fit_length, load_sound
from studio.plan import Anchor, Clip, ControlClip, Depth, Edges, EstimatedMap, Plan, SoundTrack
from studio.progress import Progress
from studio.torch_depth import depth_maps
from studio.torch_device import release_memory
from studio.torch_pose import pose_maps


def given_sound(clip: Clip) -> Sound | None:
    """The sound that goes into the clip as it was brought, cut or continued to the clip's length.

    A control clip keeps its own, or its silence: a sound that the model made up would not be that
    of what was filmed. None too where nothing was brought. Raises BadInput.
    """
    if clip.sound:
        return fit_length(load_sound(clip.sound.path), clip.seconds)
    if clip.control and probe_clip(clip.control.path).has_sound:
        return fit_length(load_sound(clip.control.path), clip.seconds)
    return None


def anchor_picture(plan: Plan, anchor: Anchor) -> Image.Image:
    """The middle of the picture at the clip's size. Raises BadInput."""
    return cover(load_image(anchor.image), plan.width, plan.height)


def control_frames(plan: Plan, clip: Clip, control: ControlClip, progress: Progress) -> Frames:
    """The control map at the size of the first stage, which is the one that looks at it.

    Lines drawn at the full size would be a quarter of a pixel wide, and grey, by then. A clip that
    ends before holds its last frame. Raises BadInput, MissingWeights, and Cancelled between the
    frames that an estimator looks at.
    """
    halvings = len(plan.sampling) - 1
    size = plan.width >> halvings, plan.height >> halvings
    if isinstance(control.map, EstimatedMap):
        maps = _estimated(plan, clip, control.path, control.map, size, progress)
    else:
        maps = load_frames(control.path, clip.fps, clip.frames, *size)
    if isinstance(control.map, Edges):
        maps = canny(maps, control.map.low, control.map.high)
    return maps[np.minimum(np.arange(clip.frames), len(maps) - 1)]


def _estimated(
    plan: Plan,
    clip: Clip,
    path: Path,
    control_map: EstimatedMap,
    size: tuple[int, int],
    progress: Progress,
) -> Frames:
    """Seen at the full size, as far as the estimator can use it, and drawn at `size`."""
    frames = load_frames(path, clip.fps, clip.frames, plan.width, plan.height)
    progress.start("condition", len(frames))
    try:
        if isinstance(control_map, Depth):
            return depth_maps(control_map.estimator, frames, size, progress.step)
        models = control_map.detector, control_map.estimator
        return pose_maps(*models, frames, size, progress.step)
    finally:
        # The estimators are gone by now; the video model needs their room.
        release_memory()


def heard_sound(plan: Plan, clip: Clip, track: SoundTrack, rate: int, channels: int) -> Sound:
    """The copy that the model hears, of whole audio latents, over its noise. Raises BadInput."""
    count = sizes.audio_latent_count(clip.frames, clip.fps)
    sound = load_sound(track.path, rate, channels)
    sound = fit_length(sound, count / sizes.AUDIO_LATENTS_PER_SECOND)
    if track.noise_floor is None:
        return sound
    return add_noise_floor(sound, track.noise_floor, plan.seed)
