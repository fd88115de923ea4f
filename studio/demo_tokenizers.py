"""Tokenizers of the demo weights: real classes over one small frozen vocabulary.

Nothing is trained: training a byte-pair encoder does not give the same vocabulary twice. The
words below become whole tokens, any other text falls back to bytes, so no prompt can fail.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer

# The system prompts that the Qwen-Image pipelines put before every prompt and then cut off by
# token count (34 and 64): only when each of their words is one token does the cut fall right.
_QWEN_SYSTEM_PROMPTS = """
Describe the image by detailing the color, shape, size, texture, quantity, text,
spatial relationships of the objects and background:
Describe the key features of the input image (color, shape, size, texture, objects, background),
then explain how the user's text instruction should alter or modify the image.
Generate a new image that meets the user's requirements while maintaining consistency with the
original input where appropriate.
system user assistant Picture
"""

_PROMPT_WORDS = """
a an the on in of and with at to from into it is its that while as by for over under one two
red green blue yellow purple orange black white gray grey pink brown cyan violet golden silver
circle square triangle ball box disc dot round shape star ring big small large little huge tiny
left right up down still moving moves move standing static slides rises falls grows shrinks pulses
upward downward leftward rightward forward backward towards away slowly quickly
make turn change recolor replace put paint draw color colour background sky
photo picture image video clip painting drawing portrait sound tone silent loud quiet music
man woman person girl boy cat dog bird robot car house tree forest sea beach city street room
moon sun rain snow night day light cinematic camera pans zooms closeup detailed high quality
low worst blurry distorted talking speaks dancing walking running
"""

QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

GEMMA_SPECIAL = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
)

GEMMA_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

Merges = dict[tuple[str, str], int]


def clip_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """SDXL's tokenizer class, 77 tokens; its second tokenizer pads with "!"."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges((*word[:-1], word[-1] + "</w>") for word in _words(lower=True))
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    vocabulary = _vocabulary([*tokens, "<|startoftext|>", "<|endoftext|>"])
    return CLIPTokenizer(
        vocab=vocabulary, merges=list(merges), pad_token=pad_token, model_max_length=77
    )


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Qwen2.5-VL's tokenizer class with its special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    space = "Ġ"  # how byte-level encoders write a space
    words = _words(lower=False)
    merges = _merges([*words, *(space + word for word in words), "'s", "),", space + "("])
    return Qwen2Tokenizer(
        vocab=_vocabulary([*letters, *map("".join, merges), *QWEN_SPECIAL]),
        merges=list(merges),
        additional_special_tokens=list(QWEN_SPECIAL[1:]),
        model_max_length=131072,
    )


def gemma_tokenizer() -> GemmaTokenizer:
    """Gemma 3's tokenizer class: words behind "▁", other characters as bytes, padded left."""
    words = _words(lower=False)
    merges = _merges([*words, *("▁" + word for word in words)])
    letters = ["▁", *map(chr, range(ord("!"), ord("~") + 1))]
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    tokenizer = GemmaTokenizer(
        vocab=_vocabulary([*GEMMA_SPECIAL, *byte_tokens, *letters, *map("".join, merges)]),
        merges=list(merges),
        model_max_length=1024,
        padding_side="left",
        additional_special_tokens=["<start_of_turn>", "<end_of_turn>"],
        extra_special_tokens={
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
        },
    )
    tokenizer.chat_template = GEMMA_CHAT_TEMPLATE
    return tokenizer


def _words(lower: bool) -> list[str]:
    """The words of the vocabulary in order, each once, without punctuation."""
    text = _QWEN_SYSTEM_PROMPTS.replace("'s", "") + _PROMPT_WORDS
    words = (word.strip("(),.:") for word in (text.lower() if lower else text).split())
    return list(dict.fromkeys(words))


def _merges(words: Iterable[Sequence[str]]) -> Merges:
    """Ranked merges under which each given sequence of symbols becomes one token."""
    ranks: Merges = {}
    for word in words:
        while len(symbols := _apply(word, ranks)) > 1:
            ranks[symbols[0], symbols[1]] = len(ranks)
    return ranks


def _apply(word: Sequence[str], ranks: Merges) -> list[str]:
    """`word` after byte-pair merging: the lowest-ranked neighbours first."""
    symbols = list(word)
    while True:
        pairs = list(pairwise(symbols))
        known = [pair for pair in pairs if pair in ranks]
        if not known:
            return symbols
        at = pairs.index(min(known, key=ranks.__getitem__))
        symbols[at : at + 2] = ["".join(pairs[at])]


def _vocabulary(tokens: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}
