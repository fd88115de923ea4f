"""What the frozen text encoder says of prompts, as the pipelines themselves ask it; remembered."""

from collections.abc import Sequence

import torch
from demo.shapes import Size
from diffusers import QwenImageEditPlusPipeline, QwenImagePipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from studio import demo_qwen
from studio.demo_tokenizers import qwen_tokenizer
from studio.diffusers_qwen_edit import PromptProcessor
from studio.families import QWEN_IMAGE_EDIT


class Prompts:
    """Embeddings [tokens, width] of each prompt, computed when it is first wanted."""

    def __init__(self) -> None:
        tokenizer = qwen_tokenizer()
        parts = {
            "scheduler": None,
            "vae": None,
            "text_encoder": demo_qwen.qwen_text_encoder(tokenizer),
            "tokenizer": tokenizer,
            "transformer": None,
        }
        pictures = Qwen2VLImageProcessorPil(**demo_qwen.PICTURE_READING)
        self._draw = QwenImagePipeline(**parts)
        self._edit = QwenImageEditPlusPipeline(
            **parts, processor=PromptProcessor(tokenizer, pictures)
        )
        self._known: dict[tuple[str, Size | None], torch.Tensor] = {}

    def batch(self, texts: Sequence[str], seen: Size | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings [n, tokens, width] and their mask; `seen`: of instructions for such pictures.

        The pictures themselves make no difference: the demo's text encoder is blind.
        """
        self._learn({text for text in texts if (text, seen) not in self._known}, seen)
        known = [self._known[text, seen] for text in texts]
        longest = max(len(one) for one in known)
        embeds = known[0].new_zeros(len(known), longest, known[0].shape[1])
        mask = torch.zeros(len(known), longest, dtype=torch.bool)
        for number, one in enumerate(known):
            embeds[number, : len(one)] = one
            mask[number, : len(one)] = True
        return embeds, mask

    @torch.no_grad()
    def _learn(self, texts: set[str], seen: Size | None) -> None:
        for text in sorted(texts):
            if seen is None:
                embeds = self._draw.encode_prompt(text)[0]
            else:
                embeds = self._edit.encode_prompt(text, [_as_seen(seen)])[0]
            self._known[text, seen] = embeds[0].clone()


def _as_seen(size: Size) -> Image.Image:
    """A picture of the shape of `size` as large as the text encoder is shown one."""
    area = QWEN_IMAGE_EDIT.demo_canvas.instruction_area
    width, height = edit_plus.calculate_dimensions(area, size[1] / size[0])
    return Image.new("RGB", (width, height))
