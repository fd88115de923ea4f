"""The tools that train and score the demo weights: a few steps of each part, and the truth."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

from demo import (
    autoencoder,
    bank,
    captions,
    colour_lora,
    judging,
    lightning,
    sampling,
    scoring,
    shapes,
    transformer,
)
from demo.checks import Checks
from demo.prompts import Prompts
from demo.training import Part, Recipe, rate_at, train

from studio import demo_qwen
from studio.demo_tokenizers import qwen_tokenizer
from studio.demo_words import GRAMMARS, demo_note

RECIPE = Recipe(steps=4, rate=1e-3, average=0.9, seed=5, sheet_every=4)
FEW = {name: replace(one, groups=3) for name, one in bank.ASPECTS.items()}


def scenes(count: int, size: shapes.Size = (128, 128), seed: int = 0) -> shapes.Scenes:
    return shapes.draw_anywhere(count, size, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(64, 64), *autoencoder.SIZES])
def test_the_judge_reads_every_painted_scene(size):
    true = scenes(60, size)
    assert set(judging.shares(shapes.paint(true, size), true).values()) == {1.0}


def test_the_judge_sees_no_shape_in_an_empty_picture():
    seen = judging.look_at(torch.full((3, 64, 64), -0.9))
    assert (seen.colour, seen.background, seen.shape) == (-1, 0, -1)


@pytest.mark.parametrize("mode", scoring.TRIALS)
def test_the_truth_scores_one_and_other_pictures_do_not(mode):
    trials = scoring.TRIALS[mode](56, 9)
    truth = [trial.truth for trial in trials]
    assert set(scoring.mean_scores(trials, truth).values()) == {1.0}
    # As many further as brings the same sizes.
    others = [*truth[28:], *truth[:28]]
    assert max(scoring.mean_scores(trials, others).values()) < 0.8
    assert all("MISSED" in line for line in scoring.report(mode, dict.fromkeys(
        scoring.THRESHOLDS[mode], 0.5)))  # fmt: skip


def test_an_edit_that_leaves_the_picture_alone_is_kept_and_not_what_was_asked():
    trials = scoring.edit_trials(24, 9)
    scores = scoring.mean_scores(trials, [trial.source for trial in trials])
    assert scores == {"asked": 0.0, "kept": 1.0}


def test_variants_differ_in_one_thing_each():
    first, *others = bank.vary(scenes(300), torch.Generator().manual_seed(1))
    for name, other in zip(("colour", "shape", "background"), others, strict=True):
        changed = [key for key in vars(first) if (getattr(first, key) != getattr(other, key)).any()]
        assert changed == [name]
        assert (getattr(first, name) != getattr(other, name)).all()
        assert not shapes.same_colour(other.colour, other.background).any()


def test_captions_are_words_that_the_tokenizer_and_the_grammar_know():
    words, tokenizer = random.Random(0), qwen_tokenizer()
    first, *others = bank.vary(scenes(200), torch.Generator().manual_seed(1))
    said = {"image": [], "edit": []}
    for number in range(200):
        said["image"].append(captions.caption(first, number, words))
        said["edit"] += [captions.instruction(first, one, number, words) for one in others]
    for mode, texts in said.items():
        assert {demo_note(mode, text) for text in texts} == {None}
        for text in texts:
            tokens = tokenizer.tokenize(text)
            assert len(tokens) == len(text.replace(",", " ,").split())
        assert GRAMMARS[mode].words <= {word.strip(",") for text in texts for word in text.split()}


def test_one_caption_in_five_is_held_out():
    words, true = random.Random(0), scenes(400)
    texts = {captions.caption(true, number, words) for number in range(400)}
    assert 0.1 < sum(captions.held_out(text) for text in texts) / len(texts) < 0.3
    assert all(captions.held_out(trial.prompt) for trial in scoring.image_trials(40, 1))


def test_the_fast_convolutions_are_the_real_ones():
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder().eval()
    pictures = shapes.paint(scenes(2, (64, 64)), (64, 64))
    with torch.no_grad(), autoencoder.single_frames():
        fast = autoencoder.encode(vae, pictures)
        shown = autoencoder.decode(vae, fast.chunk(2, 1)[0])
    with torch.no_grad():
        mean = vae.encode(pictures[:, :, None]).latent_dist.mode()
        true = vae.decode(mean).sample[:, :, 0]
    assert torch.allclose(fast.chunk(2, 1)[0], mean[:, :, 0], atol=1e-4)
    assert torch.allclose(shown.clamp(-1, 1), true, atol=1e-4)


def test_unpacking_reverses_packing():
    latents = torch.randn(2, 16, 8, 12)
    assert torch.equal(sampling.unpack(bank.pack(latents), (64, 96)), latents)


def test_the_schedule_is_that_of_the_lightning_presets():
    levels = sampling.noise_levels(4)
    assert levels.tolist() == pytest.approx([1, 0.9, 0.75, 0.5, 0], abs=1e-6)


def test_the_rate_rises_and_falls():
    recipe = replace(RECIPE, steps=1000)
    rates = [rate_at(step, recipe) for step in (0, 99, 500, 999)]
    assert rates[0] < rates[1] == pytest.approx(recipe.rate)
    assert rates[1] > rates[2] > rates[3]


def autoencoder_part(folder: Path) -> Part:
    torch.manual_seed(0)
    return autoencoder.autoencoder_part(autoencoder.new_autoencoder(), RECIPE)


def transformer_part(folder: Path) -> Part:
    torch.manual_seed(0)
    vae, prompts = demo_qwen.qwen_vae(), Prompts()
    model = transformer.new_transformer(demo_qwen.qwen_transformer)
    banks = bank.Banks(vae, folder, 1, FEW)
    return transformer.transformer_part(
        model, banks, prompts, RECIPE.steps, Checks(vae, prompts, drawn=4, edited=4)
    )


@pytest.mark.parametrize("part_in", [autoencoder_part, transformer_part])
def test_training_goes_on_where_it_was_stopped(part_in, tmp_path):
    with autoencoder.single_frames():
        whole = train(part_in(tmp_path), RECIPE, tmp_path / "whole")
        train(part_in(tmp_path), replace(RECIPE, steps=2), tmp_path / "halves")
        halves = train(part_in(tmp_path), RECIPE, tmp_path / "halves")
    start = part_in(tmp_path).module.state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in whole.state_dict().items())
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, halves.state_dict()[name], atol=1e-4), name
    log = (tmp_path / "halves" / "log.txt").read_text().splitlines()
    assert [line.split()[1] for line in log] == ["2", "4"]
    assert (tmp_path / "halves" / "sheet.png").stat().st_size > 1000


def lightning_part(folder: Path) -> Part:
    torch.manual_seed(0)
    banks = bank.Banks(demo_qwen.qwen_vae(), folder, 1, FEW)
    chosen = [banks["square"], banks["edit-square"]]
    model = demo_qwen.qwen_transformer(True)
    draw = torch.Generator().manual_seed(1)
    lessons = lightning.draw_lessons(model, chosen, Prompts(), 1, draw)
    return lightning.lightning_part(model, lessons, 4)


def colour_part(folder: Path) -> Part:
    model = demo_qwen.qwen_transformer(True)
    return colour_lora.colour_part(model, colour_lora.draw_lessons(demo_qwen.qwen_vae(), Prompts()))


@pytest.mark.parametrize("part_in", [lightning_part, colour_part])
def test_a_lora_is_trained_beside_weights_that_stay(part_in, tmp_path):
    part = part_in(tmp_path)
    before = {name: value.clone() for name, value in part.module.state_dict().items()}
    trained = train(part, RECIPE, tmp_path / "lora").state_dict()
    changed = {name for name, value in trained.items() if not torch.equal(value, before[name])}
    assert changed and all("lora_" in name for name in changed)
    lightning.save_lora(part.module, tmp_path / "made.safetensors")
    assert (tmp_path / "made.safetensors").stat().st_size > 0


def test_drawings_have_their_shape_in_the_middle():
    for size in scoring.DRAWN_SIZES:
        drawn = shapes.draw_centred(40, size, torch.Generator().manual_seed(2))
        seen = [look.mask.nonzero().float().mean(0) for look in
                map(judging.look_at, shapes.paint(drawn, size))]  # fmt: skip
        off = (torch.stack(seen) - torch.tensor(size) / 2).abs().amax(0)
        assert off.max() <= shapes.PATCH
