"""The nodes of a graph that load a plan's weights, from one checkpoint or from split files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from studio.comfy_graph import Graph

NameFile = Callable[[str, Path], str]
"""The name by which ComfyUI finds a file of a kind ("loras", "vae", …) in its own lists."""

KINDS: Mapping[str, str] = {
    "checkpoint": "checkpoints",
    "transformer": "diffusion_models",
    "text_encoder": "text_encoders",
    "text_projection": "text_encoders",
    "video_vae": "vae",
    "audio_vae": "vae",
    "upscaler": "latent_upscale_models",
}
"""The model folder that ComfyUI's loader looks into, by the file's role."""


def load_weights(graph: Graph, files: Mapping[str, Path], name_file: NameFile) -> None:
    """Has the graph's loaders read `files`, by their roles.

    Raises EngineFailed for a graph without the loaders.
    """
    names = {role: name_file(KINDS[role], path) for role, path in files.items()}
    graph.give("Upscaler", model_name=names["upscaler"])
    if "checkpoint" in names:
        _from_checkpoint(graph, names)
    else:
        _from_split_files(graph, names)


def _from_checkpoint(graph: Graph, names: Mapping[str, str]) -> None:
    checkpoint = names["checkpoint"]
    graph.give("Checkpoint", ckpt_name=checkpoint)
    graph.give("Audio VAE", ckpt_name=checkpoint)
    graph.give("Text encoder", text_encoder=names["text_encoder"], ckpt_name=checkpoint)


def _from_split_files(graph: Graph, names: Mapping[str, str]) -> None:
    """Other loaders in the places of those that read a checkpoint."""
    checkpoint = graph.id("Checkpoint")
    video_vae = graph.add("Video VAE", "VAELoader", {"vae_name": names["video_vae"]})
    # A checkpoint gives its model, its text encoder and its VAE, in this order.
    graph.redirect([checkpoint, 2], video_vae)
    transformer = {"unet_name": names["transformer"], "weight_dtype": "default"}
    graph.replace("Checkpoint", "UNETLoader", transformer)
    graph.replace("Audio VAE", "VAELoader", {"vae_name": names["audio_vae"]})
    encoders = {"clip_name1": names["text_encoder"], "clip_name2": names["text_projection"]}
    graph.replace("Text encoder", "DualCLIPLoader", {**encoders, "type": "ltxv"})
