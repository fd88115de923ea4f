"""What a clip is given beside words, read at the sizes and lengths of its plan; for any engine."""

import numpy as np
from PIL import Image

from studio import sizes
from studio.control_maps import canny
from studio.media_clips import Frames, load_frames, probe_clip
from studio.media_images import cover, load_image
from studio.media_sound import Sound, add_noise_floor, fit_length, load_sound
from studio.plan import Anchor, Clip, ControlClip, Plan, SoundTrack


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


def control_frames(plan: Plan, clip: Clip, control: ControlClip) -> Frames:
    """The control map at the size of the first stage, which is the one that looks at it.

    Lines drawn at the full size would be a quarter of a pixel wide, and grey, by then. A clip that
    ends before holds its last frame. Raises BadInput.
    """
    halvings = len(plan.sampling) - 1
    size = plan.width >> halvings, plan.height >> halvings
    frames = load_frames(control.path, clip.fps, clip.frames, *size)
    if control.edges:
        frames = canny(frames, control.edges.low, control.edges.high)
    return frames[np.minimum(np.arange(clip.frames), len(frames) - 1)]


def heard_sound(plan: Plan, clip: Clip, track: SoundTrack, rate: int, channels: int) -> Sound:
    """The copy that the model hears, of whole audio latents, over its noise. Raises BadInput."""
    count = sizes.audio_latent_count(clip.frames, clip.fps)
    sound = load_sound(track.path, rate, channels)
    sound = fit_length(sound, count / sizes.AUDIO_LATENTS_PER_SECOND)
    if track.noise_floor is None:
        return sound
    return add_noise_floor(sound, track.noise_floor, plan.seed)
