"""The tokenizers of the demo weights."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio import demo_tokenizers

TOKENIZERS = {
    "clip": demo_tokenizers.clip_tokenizer(),
    "qwen": demo_tokenizers.qwen_tokenizer(),
    "gemma": demo_tokenizers.gemma_tokenizer(),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(text=st.text())
def test_tokenizer_takes_any_text(name, text):
    tokenizer = TOKENIZERS[name]
    numbers = tokenizer(text).input_ids
    assert all(0 <= number < len(tokenizer) for number in numbers)
    unknown = tokenizer.unk_token_id
    assert name != "gemma" or unknown not in numbers


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="ascii")))
def test_qwen_tokenizer_keeps_every_character(text):
    tokenizer = TOKENIZERS["qwen"]
    numbers = tokenizer(text).input_ids
    assert tokenizer.decode(numbers, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer_makes_one_token_of_a_known_word(name):
    tokens = TOKENIZERS[name].tokenize("a red circle moving left")
    assert [token.strip("Ġ▁").removesuffix("</w>") for token in tokens] == [
        "a",
        "red",
        "circle",
        "moving",
        "left",
    ]
