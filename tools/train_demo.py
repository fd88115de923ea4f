"""Trains the demo weights on pictures that it draws itself, on two CPU cores in two hours.

    python tools/train_demo.py autoencoder --out ~/demo-training
    python tools/train_demo.py transformer --out ~/demo-training
    python tools/train_demo.py lightning --out ~/demo-training
    python tools/train_demo.py lora --out ~/demo-training
    python tools/train_demo.py export --out ~/demo-training
    python tools/train_demo.py score --out ~/demo-training

Each step continues from the checkpoint in its folder, so it may be stopped at any time. `log.txt`
and `sheet.png` beside the checkpoint say how far it is. `export` puts the result into
`assets/demo_weights`, from where the studio takes it; `score` judges that by pixels.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import torch  # noqa: E402

from studio.torch_companions import hide_broken_companions  # noqa: E402

hide_broken_companions()

from demo import autoencoder, colour_lora, lightning, scoring, transformer  # noqa: E402
from demo.bank import Banks  # noqa: E402
from demo.checks import Checks  # noqa: E402
from demo.prompts import Prompts  # noqa: E402
from demo.sheets import write_sheet  # noqa: E402
from demo.through_studio import StudioMaker  # noqa: E402
from demo.training import Recipe, train  # noqa: E402
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel  # noqa: E402

from studio import demo_qwen  # noqa: E402
from studio.demo_trained import save_trained  # noqa: E402
from studio.home import Home  # noqa: E402

RECIPES: Mapping[str, Recipe] = {
    "autoencoder": Recipe(steps=1700, rate=2e-3, average=0.99, seed=1, sheet_every=100),
    "transformer": Recipe(
        steps=9000, rate=3e-3, average=0.996, seed=11, sheet_every=250, weight_decay=0.01
    ),
    "lightning": Recipe(steps=300, rate=2e-3, average=0.98, seed=21, sheet_every=100),
    "lora": Recipe(steps=600, rate=3e-3, average=0.97, seed=31, sheet_every=50),
}
STATISTICS_SEED, BANK_SEED, LESSON_SEED, SCORE_SEED = 3, 100, 50, 4000
LESSON_BANKS = ("square", "square", "landscape-3:2", "tall", "edit-square", "edit-landscape")
LESSON_ROUNDS, LIGHTNING_STEPS = 5, (4, 8)
SHEET_PICTURES, SHEET_COLUMNS = 24, 8


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--steps", type=int, help="of training, in place of the recipe's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", choices=scoring.TRIALS, help="to score; both where left out")
    parser.add_argument("--preset", default="balanced", help="to score with")
    parser.add_argument("--count", type=int, default=200, help="prompts to score a mode on")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    COMMANDS[options.command](options)
    return 0


def train_autoencoder(options: argparse.Namespace) -> None:
    recipe, folder = _recipe(options), options.out / "autoencoder"
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder()
    with autoencoder.single_frames():
        vae = train(autoencoder.autoencoder_part(vae, recipe), recipe, folder)
    autoencoder.measure_statistics(vae, torch.Generator().manual_seed(STATISTICS_SEED))
    vae.save_pretrained(folder / "vae")
    for size in autoencoder.SIZES:
        _say(autoencoder.reconstruction_scores(vae, 64, size, 5))


def train_transformer(options: argparse.Namespace) -> None:
    recipe, folder = _recipe(options), options.out / "transformer"
    folder.mkdir(exist_ok=True)
    vae, prompts = _vae(options), Prompts()
    banks = Banks(vae, folder, BANK_SEED)
    model = transformer.new_transformer(demo_qwen.qwen_transformer).train()
    part = transformer.transformer_part(model, banks, prompts, recipe.steps, Checks(vae, prompts))
    train(part, recipe, folder).save_pretrained(folder / "transformer")


def train_lightning(options: argparse.Namespace) -> None:
    """Both LoRAs, from the same lessons."""
    recipe, folder = _recipe(options), options.out / "transformer"
    banks = Banks(_vae(options), folder, BANK_SEED)
    lessons = lightning.draw_lessons(
        _transformer(options),
        [banks[name] for name in LESSON_BANKS],
        Prompts(),
        LESSON_ROUNDS,
        torch.Generator().manual_seed(LESSON_SEED),
    )
    for steps in LIGHTNING_STEPS:
        name = f"lightning-{steps}steps"
        part = lightning.lightning_part(_transformer(options), lessons, steps)
        trained = train(part, recipe, options.out / name)
        lightning.save_lora(trained, demo_qwen.TRAINED / f"{name}.safetensors")


def train_lora(options: argparse.Namespace) -> None:
    """A user's LoRA: what is called red becomes green."""
    recipe = _recipe(options)
    lessons = colour_lora.draw_lessons(_vae(options), Prompts())
    part = colour_lora.colour_part(_transformer(options), lessons)
    trained = train(part, recipe, options.out / colour_lora.NAME)
    lightning.save_lora(trained, demo_qwen.TRAINED / f"{colour_lora.NAME}.safetensors")


def export(options: argparse.Namespace) -> None:
    """The averaged weights in half precision to `assets/demo_weights`."""
    vae = _vae(options)
    statistics = {name: list(vae.config[name]) for name in ("latents_mean", "latents_std")}
    save_trained(vae, demo_qwen.TRAINED / "vae", statistics)
    save_trained(_transformer(options), demo_qwen.TRAINED / "transformer", {})


def score(options: argparse.Namespace) -> None:
    """Says the scores and leaves a sheet of the first pictures in the folder."""
    for mode in [options.mode] if options.mode else scoring.TRIALS:
        trials = scoring.TRIALS[mode](options.count, SCORE_SEED)
        with tempfile.TemporaryDirectory() as home:
            make = StudioMaker(Home(Path(home)), mode, options.preset)
            pictures = [make(trial) for trial in trials]
        for line in scoring.report(mode, scoring.mean_scores(trials, pictures)):
            _say(f"{options.preset}: {line}")
        shown = [one for pair in zip(trials, pictures, strict=True) for one in _shown(*pair)]
        sheet = options.out / f"{mode}-{options.preset}.png"
        write_sheet(shown[:SHEET_PICTURES], SHEET_COLUMNS, sheet)
        for trial in trials[: SHEET_PICTURES * len(trials) // len(shown)]:
            _say(f"  {trial.prompt}")


def _shown(trial: scoring.Trial, picture: torch.Tensor) -> list[torch.Tensor]:
    return [picture] if trial.source is None else [trial.source, picture]


def _vae(options: argparse.Namespace) -> AutoencoderKLQwenImage:
    folder = options.out / "autoencoder" / "vae"
    return AutoencoderKLQwenImage.from_pretrained(folder, local_files_only=True)


def _transformer(options: argparse.Namespace) -> QwenImageTransformer2DModel:
    folder = options.out / "transformer" / "transformer"
    return QwenImageTransformer2DModel.from_pretrained(folder, local_files_only=True)


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = RECIPES[options.command]
    return replace(recipe, steps=options.steps or recipe.steps)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "autoencoder": train_autoencoder,
    "transformer": train_transformer,
    "lightning": train_lightning,
    "lora": train_lora,
    "export": export,
    "score": score,
}

if __name__ == "__main__":
    sys.exit(main())
