"""The ladder on made-up machines, from the largest card to the smallest."""

import pytest

from studio.errors import BadInput
from studio.families import FAMILIES
from studio.fitting import (
    DEMO,
    EIGHT_BIT,
    GIB,
    GROUP,
    LADDER,
    LADDERS,
    OFFLOAD,
    RESIDENT,
    Fit,
    Machine,
    Work,
    choose_rung,
    device_bytes,
    explain,
    explain_dynamic,
    fits,
    next_rung,
    ram_bytes,
    requested_rung,
    tokens,
)

SHORT_CLIP = Work(768, 512, 121)
PICTURE = Work(1024, 1024)


def cuda(vram, ram):
    """A card and a computer with that many GiB free."""
    return Machine("cuda", vram * GIB, vram * GIB, ram * GIB, ram * GIB)


def needs_for(family, work):
    return FAMILIES[family].needs_for(work)


@pytest.mark.parametrize(
    ("family", "work", "expected"),
    [
        ("ltx-2.3", Work(768, 512, 121), 6144),
        ("ltx-2.3", Work(1280, 704, 121), 14080),
        ("ltx-2.3", Work(1920, 1088, 121), 32640),
        ("qwen-image", PICTURE, 4096),
        ("qwen-image-edit", Work(1024, 1024, pictures=3, picture_area=1024**2), 4 * 4096),
    ],
)
def test_tokens_are_those_of_the_published_models(family, work, expected):
    assert tokens(FAMILIES[family].shape, work) == expected


@pytest.mark.parametrize(
    ("family", "work", "machine", "expected"),
    [
        ("ltx-2.3", SHORT_CLIP, cuda(139, 128), RESIDENT),
        ("ltx-2.3", SHORT_CLIP, cuda(78, 64), RESIDENT),
        ("ltx-2.3", SHORT_CLIP, cuda(47, 96), OFFLOAD),
        ("ltx-2.3", SHORT_CLIP, cuda(47, 62), EIGHT_BIT),
        ("ltx-2.3", SHORT_CLIP, cuda(23, 62), EIGHT_BIT),
        ("ltx-2.3", SHORT_CLIP, cuda(15, 62), GROUP),
        ("ltx-2.3", SHORT_CLIP, cuda(11, 62), GROUP),
        ("qwen-image", PICTURE, cuda(78, 64), RESIDENT),
        ("qwen-image", PICTURE, cuda(47, 62), OFFLOAD),
        ("qwen-image", PICTURE, cuda(23, 62), EIGHT_BIT),
        ("qwen-image", PICTURE, cuda(15, 62), GROUP),
        ("sdxl", PICTURE, cuda(11, 16), RESIDENT),
        ("sdxl", PICTURE, cuda(7, 16), OFFLOAD),
        ("sdxl", PICTURE, cuda(4, 16), EIGHT_BIT),
    ],
)
def test_choose_rung_takes_the_fastest_that_fits(family, work, machine, expected):
    assert choose_rung(needs_for(family, work), machine) == expected


def test_choose_rung_goes_down_for_a_larger_result():
    machine = cuda(40, 128)
    small = choose_rung(needs_for("ltx-2.3", SHORT_CLIP), machine)
    large = choose_rung(needs_for("ltx-2.3", Work(1920, 1088, 241)), machine)
    assert (small, large) == (OFFLOAD, EIGHT_BIT)


def test_every_rung_needs_less_of_the_device_than_the_one_before():
    for family in FAMILIES:
        needs = needs_for(family, SHORT_CLIP)
        sizes = [device_bytes(rung, needs, cuda(1, 1)) for rung in LADDER]
        assert sizes == sorted(sizes, reverse=True)
        assert ram_bytes(GROUP, needs, cuda(1, 1)) <= ram_bytes(OFFLOAD, needs, cuda(1, 1))


def test_guidance_takes_twice_the_activations():
    one, both = (needs_for("sdxl", Work(1024, 1024, guided=guided)) for guided in (False, True))
    assert both.activations == 2 * one.activations
    assert both.weights == one.weights


def test_float32_takes_twice_the_bytes_but_not_of_eight_bits():
    needs = needs_for("qwen-image-edit", PICTURE)
    cpu = Machine("cpu", 64 * GIB, 64 * GIB, 64 * GIB, 64 * GIB, weight_bytes=4)
    full, cast = device_bytes(RESIDENT, needs, cpu), device_bytes(EIGHT_BIT, needs, cpu)
    parts = needs.denoiser, needs.text_encoder
    assert full - cast == sum(2 * part - part // 2 for part in parts)
    assert full > device_bytes(RESIDENT, needs, cuda(64, 64))


def test_demo_weights_fit_anywhere():
    tiny = Machine("cpu", 2 * GIB, 2 * GIB, 2 * GIB, 2 * GIB, weight_bytes=4)
    assert choose_rung(DEMO, tiny) == RESIDENT


@pytest.mark.parametrize(("device", "ladder"), LADDERS.items())
def test_next_rung_goes_down_what_helps_on_the_device(device, ladder):
    assert [next_rung(rung, device) for rung in ladder] == [*ladder[1:], None]


def test_next_rung_finds_the_way_from_a_rung_that_was_asked_for():
    assert next_rung(OFFLOAD, "cpu") == EIGHT_BIT
    assert next_rung(GROUP, "cpu") is None


def test_where_nothing_fits_the_most_frugal_is_tried():
    needs, machine = needs_for("ltx-2.3", SHORT_CLIP), cuda(4, 16)
    assert choose_rung(needs, machine) == GROUP
    assert not fits(GROUP, needs, machine)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (cuda(78, 64), "Needs 75 of 84 GB of memory: everything stays on the device."),
        (cuda(23, 62), "Needs 75 of 25 GB of memory: weights in 8 bits, moved in as they are"),
        (
            cuda(2, 15),
            "Needs at least 5 GB of VRAM and 41 GB of RAM, and 2 GB of VRAM and 16 GB of RAM"
            " are free: it may run out of memory.",
        ),
        (
            Machine("cpu", 16 * GIB, 16 * GIB, 16 * GIB, 16 * GIB, 4),
            "Needs at least 53 GB of memory, and 17 GB are free: it may run out of memory.",
        ),
    ],
)
def test_explain_is_one_sentence_with_what_is_here(machine, expected):
    sentence = explain(needs_for("ltx-2.3", SHORT_CLIP), machine).sentence
    assert sentence.startswith(expected)
    assert sentence.count(".") == sentence.endswith(".")


def test_explain_dynamic_tells_what_comfyui_has_to_move():
    needs = needs_for("ltx-2.3", SHORT_CLIP)
    assert explain_dynamic(needs, cuda(23, 62)) == Fit(
        "74 GB of weights, and 25 GB of VRAM and 67 GB of RAM are free: ComfyUI moves them.", True
    )
    tight = explain_dynamic(needs, cuda(11, 16))
    assert "from the disk" in tight.sentence and not tight.enough


def test_requested_rung_knows_the_ladder_and_refuses_the_rest():
    assert requested_rung("", "cuda") is requested_rung("auto", "cuda") is None
    assert [requested_rung(rung.id, "cuda") for rung in LADDER] == list(LADDER)
    with pytest.raises(BadInput, match="AIO_MEMORY cannot be 'lots': set it to 'auto', 'resident'"):
        requested_rung("lots", "cuda")
    with pytest.raises(BadInput, match="Apple GPU"):
        requested_rung("8bit", "mps")


def test_notes_say_what_was_done_and_why():
    assert EIGHT_BIT.note == "Ran with 8-bit weights, as the memory was not enough for full ones."
    assert GROUP.note.endswith("moved in block by block, as the memory was not enough for more.")
