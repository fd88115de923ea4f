"""From a plan to the ComfyUI graph that makes it: the mode's graph file, with everything filled in.

The files in `workflows/` are graphs of core nodes that run in ComfyUI as they are; they make two
stages. All numbers come from the plan: the graphs do no arithmetic.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from studio import sizes
from studio.comfy_graph import (
    LATENTS_CLASS,
    RESCALE_CLASS,
    RESULT_CLASS,
    Graph,
    Inputs,
    load_graph,
)
from studio.comfy_loaders import NameFile, load_weights
from studio.errors import EngineFailed
from studio.home import Home
from studio.plan import Anchor, Clip, Plan
from studio.presets import STG_BLOCK, Guidance, Sampling
from studio.registry import CONTROL_LORA

WORKFLOWS = Path(__file__).parent.parent / "workflows"

RESULT, LATENTS = "Result", "Sampled latents"
FIRST, LAST, SOUND, CONTROL = "first.png", "last.png", "sound.wav", "control.mkv"
"""Names of the media in a job's own input folder."""

DEV_SCHEDULE = {"max_shift": 2.05, "base_shift": 0.95, "stretch": True, "terminal": 0.1}
"""Of the full model, as its makers trained it (ltx-pipelines)."""

UNGUIDED = Guidance()


def bind(
    plan: Plan, job: str, name_file: NameFile, folder: Path = WORKFLOWS, sampled: bool = False
) -> Graph:
    """The graph of the plan's mode, ready to be validated and run; no path is in it.

    `job` is what the studio's own nodes know the run by. With `sampled` the latents of an earlier
    try are decoded. Raises EngineFailed for a graph file that lacks what the plan needs.
    """
    graph = load_graph(folder / f"{plan.mode}.json")
    clip = cast(Clip, plan.task)
    load_weights(graph, plan.weights.files, name_file)
    graph.give("Prompt", text=plan.prompt)
    graph.give("Negative prompt", text=plan.negative)
    _set_size(graph, plan, clip)
    _set_media(graph, clip)
    if len(plan.sampling) == 1:
        _drop_second_stage(graph)
    for number, sampling in enumerate(plan.sampling, start=1):
        _set_stage(graph, plan, number, sampling, name_file)
    _set_control_lora(graph, plan, name_file)
    _hand_over(graph, clip, job)
    _keep_latents(graph, job, sampled)
    graph.keep_only(RESULT)
    return graph


def own_graphs(home: Home, mode_id: str) -> Path | None:
    """The folder with the user's own graph of a mode, where there is one."""
    folder = home.root / "workflows"
    return folder if (folder / f"{mode_id}.json").is_file() else None


def require_own_graph(home: Home, plan: Plan) -> None:
    """Raises EngineFailed where the user's own graph lacks what the plan needs.

    Whether ComfyUI has its nodes is seen when it runs.
    """
    folder = own_graphs(home, plan.mode)
    if folder is not None:
        bind(plan, "check", lambda kind, path: path.name, folder)


def _set_size(graph: Graph, plan: Plan, clip: Clip) -> None:
    halvings = len(plan.sampling) - 1
    graph.give(
        "Size and length",
        width=plan.width >> halvings,
        height=plan.height >> halvings,
        length=clip.frames,
    )
    graph.give("Frame rate", frame_rate=float(clip.fps))
    if "Sound length" in graph:
        # In latents of the sound itself: the node takes no more than 1000 frames.
        count = sizes.audio_latent_count(clip.frames, clip.fps)
        rate = float(sizes.AUDIO_LATENTS_PER_SECOND)
        graph.give("Sound length", frames_number=count, frame_rate=rate)


def _set_media(graph: Graph, clip: Clip) -> None:
    _set_anchor(graph, clip.first, "First picture", "Start on first picture", FIRST)
    _set_anchor(graph, clip.last, "Last picture", "End on last picture", LAST)
    if clip.sound:
        graph.give("Sound", audio=SOUND)
    if clip.control and clip.control.strength:
        graph.give("Control video", file=CONTROL)
        graph.give("Follow control video", strength=clip.control.strength)
    elif "Follow control video" in graph:
        graph.leave_out("Follow control video")


def _set_anchor(graph: Graph, anchor: Anchor | None, loader: str, use: str, file: str) -> None:
    """What has strength 0 is left out, and so has no effect."""
    uses = [title for title in (f"{use}, stage 1", f"{use}, stage 2") if title in graph]
    if anchor is None or not anchor.strength:
        for title in uses:
            graph.leave_out(title)
        return
    graph.give(loader, image=file)
    for title in uses:
        graph.give(title, strength=anchor.strength)


def _drop_second_stage(graph: Graph) -> None:
    """What the second stage was given is decoded instead of what it would make."""
    split = graph.id("Split, stage 2")
    picture = graph.input("Upscale", "samples")
    sound = graph.input("Picture and sound, stage 2", "audio_latent")
    for title, slot in (("Take guides off, stage 2", 2), ("Split, stage 2", 0)):
        if title in graph:
            graph.redirect([graph.id(title), slot], picture)
    graph.redirect([split, 1], sound)


def _set_stage(
    graph: Graph, plan: Plan, number: int, sampling: Sampling, name_file: NameFile
) -> None:
    stage = f"stage {number}"
    graph.give(f"Seed, {stage}", noise_seed=plan.seed + number - 1)
    graph.give(f"Sampler, {stage}", sampler_name=sampling.sampler)
    _set_noise_levels(graph, number, sampling)
    _set_guidance(graph, stage, sampling)
    loras = [(plan.weights.adapter(one.name), one.strength) for one in sampling.adapters]
    loras += [(use.path, use.strength) for use in plan.loras if use.label != CONTROL_LORA]
    _set_loras(
        graph, stage, [(name_file("loras", path), strength) for path, strength in loras if strength]
    )


def _set_noise_levels(graph: Graph, number: int, sampling: Sampling) -> None:
    title = f"Noise levels, stage {number}"
    if sampling.sigmas:
        levels = ", ".join(f"{level:.6g}" for level in (*sampling.sigmas, 0.0))
        graph.replace(title, "ManualSigmas", {"sigmas": levels})
        return
    # The shift goes by the number of the clip's own latents, without those of its guides.
    latents = "Size and length" if number == 1 else "Upscale"
    inputs = {"steps": sampling.steps, **DEV_SCHEDULE, "latent": [graph.id(latents), 0]}
    graph.replace(title, "LTXVScheduler", inputs)


def _set_guidance(graph: Graph, stage: str, sampling: Sampling) -> None:
    picture, sound = _both(sampling)
    title = f"Guider, {stage}"
    if picture == sound == UNGUIDED:
        graph.give(title, cfg=1.0)
        return
    if (picture.stg, picture.modality) != (sound.stg, sound.modality):
        raise EngineFailed(
            "ComfyUI can only guide picture and sound alike here: choose another preset."
        )
    taken = {name: graph.input(title, name) for name in ("model", "positive", "negative")}
    scales = {"video_cfg": picture.scale, "audio_cfg": sound.scale}
    graph.replace(title, "LTXVDualCFGGuider", {**taken, **scales})
    for name, class_type, inputs in _guidance_nodes(picture, sound):
        graph.put_before(title, "model", f"{name}, {stage}", class_type, inputs)


def _guidance_nodes(picture: Guidance, sound: Guidance) -> Iterator[tuple[str, str, Inputs]]:
    """In their order from the checkpoint on: the last one sees what all others did."""
    whole_run = {"start_percent": 0.0, "end_percent": 1.0}
    if picture.stg:
        inputs = {"scale": picture.stg, "blocks": str(STG_BLOCK), **whole_run}
        yield "Spatio-temporal guidance", "LTXVSpatioTemporalGuidance", inputs
    if picture.modality != 1.0:
        inputs = {"modality_scale": picture.modality, **whole_run}
        yield "Picture and sound guidance", "LTXVModalityGuidance", inputs
    if picture.rescale or sound.rescale:
        shares = {"picture": picture.rescale, "sound": sound.rescale}
        yield "Contrast", RESCALE_CLASS, shares


def _set_loras(graph: Graph, stage: str, loras: list[tuple[str, float]]) -> None:
    """A chain of loaders in the place of the graph's one; none at all where none is wanted."""
    title = f"LoRA, {stage}"
    if not loras:
        graph.leave_out(title)
        return
    *before, (last, strength) = loras
    graph.give(title, lora_name=last, strength_model=strength)
    for number, (name, weight) in enumerate(reversed(before), start=2):
        first = title if number == 2 else f"LoRA {number - 1}, {stage}"
        inputs = {"lora_name": name, "strength_model": weight}
        graph.put_before(first, "model", f"LoRA {number}, {stage}", "LoraLoaderModelOnly", inputs)


def _set_control_lora(graph: Graph, plan: Plan, name_file: NameFile) -> None:
    for use in plan.loras:
        if use.label == CONTROL_LORA:
            name = name_file("loras", use.path)
            graph.give("Control LoRA", lora_name=name, strength_model=use.strength)


def _hand_over(graph: Graph, clip: Clip, job: str) -> None:
    """In the place of the video file; a sound that was brought does not go through the graph."""
    made = graph.inputs("Clip")
    inputs = {"images": graph.input("Clip", "images"), "job": job}
    if not clip.sound and not clip.control and "audio" in made:
        inputs["audio"] = made["audio"]
    graph.replace(RESULT, RESULT_CLASS, inputs)


def _keep_latents(graph: Graph, job: str, sampled: bool) -> None:
    """Between sampling and decoding, so that a decode that fails needs no second sampling."""
    latents = graph.add(LATENTS, LATENTS_CLASS, {"job": job})
    for title, name, slot in (("Decode picture", "picture", 0), ("Decode sound", "sound", 1)):
        if title in graph and graph.id(title) in graph.reachable(RESULT):
            taken = graph.input(title, "samples")
            graph.inputs(title)["samples"] = [latents[0], slot]
            if not sampled:
                graph.inputs(LATENTS)[name] = taken


def _both(sampling: Sampling) -> tuple[Guidance, Guidance]:
    return sampling.guidance, sampling.sound_guidance
