"""SDXL's prompts: read by both of its text encoders, in as many chunks as they need."""

import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import ModelOutput

Prompt = tuple[torch.Tensor, torch.Tensor]
"""Embeddings per token [1, 77 x chunks, width], and pooled [1, width]."""

CHUNK = 75
"""Tokens that CLIP reads at once, between its start and its end; the other tools cut there too."""


def read_prompt(pipeline: StableDiffusionXLPipeline, text: str, device: str) -> Prompt:
    """What both text encoders make of the whole text.

    The pipeline itself drops what is behind the first chunk, and does the same up to there.
    """
    small = _read(pipeline.tokenizer, pipeline.text_encoder, text, device)
    big = _read(pipeline.tokenizer_2, pipeline.text_encoder_2, text, device)
    tokens = torch.cat([output.hidden_states[-2].flatten(0, 1) for output in (small, big)], dim=-1)
    return tokens.unsqueeze(0), big.text_embeds[:1]


def _read(
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel | CLIPTextModelWithProjection,
    text: str,
    device: str,
) -> ModelOutput:
    numbers = tokenizer(text, add_special_tokens=False).input_ids
    starts = range(0, max(len(numbers), 1), CHUNK)
    chunks = [_whole(tokenizer, numbers[start : start + CHUNK]) for start in starts]
    return encoder(torch.tensor(chunks, device=device), output_hidden_states=True)


def _whole(tokenizer: CLIPTokenizer, chunk: list[int]) -> list[int]:
    padding = [tokenizer.pad_token_id] * (CHUNK - len(chunk))
    return [tokenizer.bos_token_id, *chunk, tokenizer.eos_token_id, *padding]
