"""The six video modes on LTX-2.3: one pipeline, given whatever the clip holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.functional import interpolate, pad

from studio import sizes
from studio.clip_media import given_sound
from studio.diffusers_frames import (
    SMALL_TILES,
    USUAL_TILES,
    Tiles,
    decode_frames,
    fit_colours,
    tile_count,
)
from studio.diffusers_guides import read_guides
from studio.diffusers_loras import LoraWeight, apply_loras
from studio.diffusers_ltx import (
    PROMPT_TOKENS,
    Arguments,
    LtxPipeline,
    load_ltx,
    sampling_arguments,
)
from studio.diffusers_ltx_single import load_single_file
from studio.diffusers_memory import Placement
from studio.diffusers_preview import CleanEstimate, LatentColours, latent_jpeg
from studio.diffusers_prompts import PromptCache
from studio.diffusers_schedulers import scheduler_for
from studio.diffusers_sound import decode_sound
from studio.diffusers_upsampler import load_upsampler
from studio.disk import disk_errors
from studio.errors import EngineFailed
from studio.media_clips import Frames, write_clip
from studio.media_sound import Sound, fit_length
from studio.plan import Clip, LoraUse, Plan
from studio.progress import Progress
from studio.registry import CONTROL_LORA
from studio.torch_device import Device, generator, is_out_of_memory, release_memory
from studio.torch_latents import load_latents, require_finite, save_latents
from studio.weights import Weights

FILE_NAME = "clip.mp4"

PREVIEW_SCALE = 8

Latents = dict[str, torch.Tensor]
"""Of the picture under "video", of the sound under "audio"."""


class LtxRunner:
    """LTX-2.3, loaded and warm; see `studio.diffusers_engine.FamilyRunner`."""

    def __init__(self, weights: Weights, device: Device) -> None:
        self._pipeline = _load(weights, device)
        self._schedule = self._pipeline.scheduler.config
        self._upsampler: Any = None
        self._device = device
        self._prompts = PromptCache()
        self._colours: LatentColours | None = None
        self.placement = Placement(self._pipeline, device, self._prompts)

    @torch.no_grad()
    def make(self, plan: Plan, progress: Progress, scratch: Path) -> Path:
        """Run the plan's stages after `load`; the finished MP4 lies in `scratch`."""
        clip = cast(Clip, plan.task)
        # First, so that a sound that cannot be read costs no sampling.
        given = given_sound(clip)
        try:
            latents = load_latents(scratch, plan)
            if latents is None:
                latents = self._sample(plan, clip, progress, scratch)
                save_latents(scratch, plan, latents)
            frames = self._pictures(latents["video"].to(self._device.name), progress)
            sound = (
                given if clip.sound or clip.control else self._made_sound(clip, latents["audio"])
            )
        finally:
            # After a cancel too: a model left on the GPU would meet those of the next job there.
            self._pipeline.maybe_free_model_hooks()
        progress.start("save")
        path = scratch / FILE_NAME
        with disk_errors(scratch, EngineFailed):
            write_clip(path, frames, clip.fps, sound, {})
        return path

    def _sample(self, plan: Plan, clip: Clip, progress: Progress, scratch: Path) -> Latents:
        """Latents of picture and sound as the VAEs decode them: not normalised, not packed."""
        self._fit_colours()
        said: set[str] = set()
        self._apply_loras(plan, 0, progress, said)
        progress.start("encode")
        prompts = self._prompt_arguments(plan)
        if not prompts["prompt_attention_mask"].eq(0).any():
            progress.note(f"The prompt was cut off after {PROMPT_TOKENS} tokens, about 700 words.")
        if clip.first or clip.last or clip.sound or clip.control:
            progress.start("condition")
        if clip.control:
            # The text encoder would stay on the GPU, where the map's estimator needs room.
            self._pipeline.maybe_free_model_hooks()
        guides = read_guides(plan, clip, self._pipeline.audio_vae, self._device.name, progress)
        self._pipeline.freeze_audio(guides.sound is not None)
        noise = generator(plan.seed)
        first, latents = self._begun(plan, scratch, noise)
        if guides.sound is not None:
            latents["audio"] = guides.sound
        for stage in range(first, len(plan.sampling)):
            if stage:
                progress.start("upscale")
                latents["video"] = self._upscaled(plan, latents["video"])
                self._apply_loras(plan, stage, progress, said)
            video, audio = self._pipeline(
                **prompts,
                **guides.arguments(stage),
                **self._stage_arguments(plan, clip, stage, progress),
                latents=latents.get("video"),
                audio_latents=latents.get("audio"),
                generator=noise,
                output_type="latent",
                return_dict=False,
            )
            # A sound that was given is not even rounded.
            latents = {"video": video, "audio": audio if guides.sound is None else guides.sound}
            require_finite(latents)
            if stage + 1 < len(plan.sampling):
                kept = {**latents, "noise": noise.get_state()}
                save_latents(scratch, plan, kept, _stage_file(stage + 1))
        return latents

    def _begun(self, plan: Plan, scratch: Path, noise: torch.Generator) -> tuple[int, Latents]:
        """The first stage that is left to do, and what an earlier try made before it."""
        for stage in reversed(range(1, len(plan.sampling))):
            kept = load_latents(scratch, plan, _stage_file(stage))
            if kept is not None:
                noise.set_state(kept.pop("noise"))
                return stage, {name: one.to(self._device.name) for name, one in kept.items()}
        return 0, {}

    def _apply_loras(self, plan: Plan, stage: int, progress: Progress, said: set[str]) -> None:
        """With a note about each file that fits in part; once, though it acts in every stage."""
        with self.placement.changing_layers():
            notes = apply_loras(self._pipeline, _stage_loras(plan, stage))
        for note in notes:
            if note not in said:
                progress.note(note)
            said.add(note)

    def _stage_arguments(self, plan: Plan, clip: Clip, stage: int, progress: Progress) -> Arguments:
        """Size, schedule, guidance and callback of a stage, which begins with this."""
        sampling = plan.sampling[stage]
        self._pipeline.scheduler = scheduler_for(sampling, self._schedule)
        progress.start(f"sample{stage + 1}", sampling.step_count)
        halvings = len(plan.sampling) - 1 - stage
        width, height = plan.width >> halvings, plan.height >> halvings
        return {
            **sampling_arguments(sampling, self._pipeline.transformer.config.num_layers),
            "width": width,
            "height": height,
            "num_frames": clip.frames,
            "frame_rate": float(clip.fps),
            "callback_on_step_end": self._after_step(clip, width, height, progress),
        }

    def _after_step(
        self, clip: Clip, width: int, height: int, progress: Progress
    ) -> Callable[..., Arguments]:
        rows, columns = height // sizes.LATENT_PIXELS, width // sizes.LATENT_PIXELS
        middle = (clip.frames - 1) // sizes.FRAME_GROUP // 2 * rows * columns
        estimate = CleanEstimate()

        def after_step(
            pipeline: LtxPipeline, step: int, _: torch.Tensor, tensors: Arguments
        ) -> Arguments:
            clean = estimate.after(step, tensors["latents"], pipeline.scheduler.sigmas)
            cells = clean[:, middle : middle + rows * columns].mT.reshape(1, -1, rows, columns)
            progress.step(step + 1)
            progress.preview(lambda: self._preview(cells))
            return {}

        return after_step

    def _preview(self, cells: torch.Tensor) -> bytes:
        """A JPEG of one latent frame [1, channels, height, width], with eight pixels to a cell.

        One to a cell, as it comes, would be a dozen pixels for the whole picture.
        """
        smooth = interpolate(cells, scale_factor=PREVIEW_SCALE, mode="bilinear")
        return latent_jpeg(smooth[0], cast(LatentColours, self._colours))

    def _fit_colours(self) -> None:
        """Once, and not before the pipeline has its place on the device."""
        if self._colours is None:
            self._colours = fit_colours(self._pipeline.vae, self._device.name)
            self._pipeline.maybe_free_model_hooks()

    def _prompt_arguments(self, plan: Plan) -> Arguments:
        embeds, mask = self._embedded(plan.prompt)
        arguments = {"prompt_embeds": embeds, "prompt_attention_mask": mask}
        if _is_guided(plan):
            embeds, mask = self._embedded(plan.negative)
            arguments |= {"negative_prompt_embeds": embeds, "negative_prompt_attention_mask": mask}
        return arguments

    def _embedded(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and mask of a prompt, padded on the left as the pipeline pads them."""
        (tokens,) = self._prompts.get(text, lambda: self._encoded(text), self._device.name)
        missing = PROMPT_TOKENS - tokens.shape[1]
        mask = torch.ones(tokens.shape[:2], dtype=torch.int64, device=tokens.device)
        return pad(tokens, (0, 0, missing, 0)), pad(mask, (missing, 0))

    def _encoded(self, text: str) -> tuple[torch.Tensor]:
        """The prompt's own tokens; with their padding they would take 400 MB in the cache."""
        embeds, mask, *_ = self._pipeline.encode_prompt(
            text, do_classifier_free_guidance=False, max_sequence_length=PROMPT_TOKENS
        )
        return (embeds[:, mask[0].bool()],)

    def _upscaled(self, plan: Plan, video: torch.Tensor) -> torch.Tensor:
        """Latents at twice the width and height; neither these nor those are normalised."""
        if self._upsampler is None:
            self._upsampler = load_upsampler(plan.weights.upsampler, self._device)
        with self.placement.visiting(self._upsampler):
            dtype = self._upsampler.dtype
            larger: torch.Tensor = self._upsampler(video.to(self._device.name, dtype))
        return larger.float()

    def _pictures(self, latents: torch.Tensor, progress: Progress) -> Frames:
        """Decoded in tiles; once more in smaller ones where the memory was not enough."""
        try:
            return self._decoded(latents, USUAL_TILES, progress)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Only here, behind the handler, has the failed try let go of its tensors.
        release_memory()
        progress.note("Decoded in smaller tiles, as the memory was not enough for the usual ones.")
        return self._decoded(latents, SMALL_TILES, progress)

    def _decoded(self, latents: torch.Tensor, tiles: Tiles, progress: Progress) -> Frames:
        progress.start("decode", tile_count(latents.shape[2], tiles))
        return decode_frames(self._pipeline.vae, latents, tiles, progress.step)

    def _made_sound(self, clip: Clip, latents: torch.Tensor) -> Sound:
        latents = latents.to(self._device.name)
        sound = decode_sound(self._pipeline.audio_vae, self._pipeline.vocoder, latents)
        return fit_length(sound, clip.seconds)


def _stage_file(stage: int) -> str:
    """Holds what a stage begins with."""
    return f"stage{stage}.safetensors"


def _load(weights: Weights, device: Device) -> LtxPipeline:
    """From a diffusers folder, or from its makers' one file with Gemma beside it."""
    if weights.base.is_dir():
        return load_ltx(weights.base, device)
    return load_single_file(weights.base, device, weights.files.get("text_encoder"))


def _is_guided(plan: Plan) -> bool:
    """Whether any stage needs the negative prompt."""
    return any(max(one.guidance.scale, one.sound_guidance.scale) > 1 for one in plan.sampling)


def _stage_loras(plan: Plan, stage: int) -> tuple[LoraWeight, ...]:
    """Every LoRA of the plan; at strength 0, where it has no part in the stage, it stays loaded."""
    strengths = {adapter.name: 0.0 for one in plan.sampling for adapter in one.adapters}
    strengths |= {adapter.name: adapter.strength for adapter in plan.sampling[stage].adapters}
    own = [LoraWeight(plan.weights.adapter(name), value) for name, value in strengths.items()]
    return (*own, *(LoraWeight(use.path, _stage_strength(plan, use, stage)) for use in plan.loras))


def _stage_strength(plan: Plan, use: LoraUse, stage: int) -> float:
    """The control LoRA acts where its reference clip is seen: in the first stage alone."""
    return 0.0 if stage and use.path == plan.weights.adapters[CONTROL_LORA] else use.strength
