"""`python -m studio models` and `fetch`, as a user runs them, against a Hub on loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from local_hub import GATED_NO_TOKEN, Fault, LocalHub, weights
from model_files import put, variant
from safetensors.numpy import save_file

from studio.families import FAMILIES, LTX
from studio.model_places import find, target
from studio.modes import MODES
from studio.needs import every_model_for, model_settings, models_for

T2V = models_for(MODES["t2v"], variant(LTX, "LTX-2.3 fp8"), model_settings(MODES["t2v"], {}))


@pytest.fixture
def hub():
    hub = LocalHub().start()
    for number, model in enumerate(T2V):
        hub.repos.setdefault(model.source.repo, {})[model.source.path] = weights(9000, number)
    yield hub
    hub.stop()


@pytest.fixture
def environment(hub, home, tmp_path):
    here = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **here,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "AIO_HOME": str(home.root),
    }


@pytest.fixture
def cli(environment):
    def run(*arguments, **more):
        command = [sys.executable, "-m", "studio", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env={**environment, **more}, check=False
        )

    return run


def test_models_lists_every_set_of_weights_with_what_is_missing(cli, home):
    put(home, *variant(LTX, "LTX-2.3 fp8").models)
    sets = {one["variant"]: one for one in json.loads(cli("models", "--json").stdout)}
    assert set(sets) == {one.label for family in FAMILIES.values() for one in family.variants}
    here = sets["LTX-2.3 fp8"]
    assert here["missing_gigabytes"] == 0 and len(here["modes"]) == 6
    assert all(one["path"] and one["licence"] and one["page"] for one in here["models"])
    lines = cli("models", "t2v").stdout.splitlines()
    assert len(lines) == len(LTX.variants)
    assert re.fullmatch(r"LTX-2.3 fp8 +ComfyUI +here +t2v", lines[0])
    assert re.fullmatch(r"LTX-2.3 bf16 +ComfyUI +70.5 GB missing +t2v", lines[1])


def test_fetch_says_first_what_it_would_bring(cli, home, hub):
    put(home, T2V[0])
    said = cli("fetch", "t2v", "--engine", "comfy", "--dry-run")
    assert said.returncode == 0 and not hub.requests
    assert f"  here     checkpoints/{T2V[0].name}" in said.stdout
    assert f"  missing  text_encoders/{T2V[1].name} (9.45 GB, Gemma Terms of Use, " in said.stdout
    assert "18.0 GB to fetch" in said.stdout
    everything = json.loads(
        cli("fetch", "style", "--engine", "comfy", "--all", "--dry-run", "--json").stdout
    )
    wanted = every_model_for(MODES["style"], variant(LTX, "LTX-2.3 fp8"))
    assert len(everything["models"]) == len(wanted) and everything["free_gigabytes"] > 0


def test_fetch_brings_exactly_what_the_mode_needs(cli, home, hub):
    done = cli("fetch", "t2v", "--engine", "comfy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{one.folder}/{one.name}" for one in T2V]
    assert all(find(home, model) == target(home, model) for model in T2V)
    served = dict(hub.served)
    again = cli("fetch", "t2v", "--engine", "comfy")
    assert again.returncode == 0 and dict(hub.served) == served


def test_fetch_goes_on_after_a_kill(environment, home, hub, tmp_path):
    path = T2V[0].source.path
    hub.fail(path, Fault(stall=4000))
    command = [sys.executable, "-m", "studio", "fetch", "t2v", "--engine", "comfy"]
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not any(one.stat().st_size == 4000 for one in tmp_path.rglob("*.incomplete")):
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert find(home, T2V[0]).read_bytes() == weights(9000)
    assert hub.served[path] == len(weights(9000))


def test_fetch_says_what_stands_in_the_way(cli, hub):
    hub.fail_always(T2V[0].source.path, GATED_NO_TOKEN, method="HEAD")
    failed = cli("fetch", "t2v", "--engine", "comfy")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert f"accept it at https://huggingface.co/{T2V[0].source.repo}" in failed.stderr
    offline = cli("fetch", "t2v", "--engine", "comfy", HF_HUB_OFFLINE="1")
    assert offline.returncode == 1 and "HF_HUB_OFFLINE is set" in offline.stderr


def test_fetch_brings_a_lora_of_the_hub_(cli, hub):
    hub.repos["ann/soft"] = {"v1/soft.safetensors": weights(500)}
    done = cli("fetch", "--lora", "ann/soft/v1/soft.safetensors")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == weights(500)


def test_lora_tells_what_it_was_made_for(cli, home, tmp_path):
    layer = "diffusion_model.transformer_blocks.0.audio_to_video_attn.to_q"
    tensors = {
        f"{layer}.lora_A.weight": np.zeros((16, 64), np.float32),
        f"{layer}.lora_B.weight": np.zeros((64, 16), np.float32),
        f"{layer}.to_gate_logits.lora_A.weight": np.zeros((8, 64), np.float32),
        f"{layer}.to_gate_logits.lora_B.weight": np.zeros((64, 8), np.float32),
    }
    counts = {"ss_tag_frequency": json.dumps({"20_x": {"boat": 3, "softlight": 20}})}
    save_file(tensors, tmp_path / "soft.safetensors", counts)
    told = json.loads(cli("lora", tmp_path / "soft.safetensors", "--json").stdout)
    assert (told["family"], told["ranks"], told["layers"]) == ("ltx-2.3", [8, 16], 2)
    assert told["triggers"] == ["softlight", "boat"]
    save_file(tensors, tmp_path / "soft.safetensors", {"modelspec.trigger_phrase": "soft, light"})
    lines = cli("lora", tmp_path / "soft.safetensors").stdout.splitlines()
    assert lines[1:] == ["made for LTX-2.3, 2 layers of rank 8, 16", "trigger words: soft, light"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fetch"], "Say either the mode"),
        (["fetch", "t2v", "--lora", "a/b/c.safetensors"], "Say either the mode"),
        (["fetch", "--lora", "soft"], "owner/repository/file.safetensors"),
        (["fetch", "t2w"], "There is no mode 't2w'"),
        (["fetch", "photo", "--engine", "comfy"], "cannot run the mode 'photo'"),
        (["fetch", "t2v", "--preset", "best", "--dry-run"], "Preset cannot be 'best'"),
        (["fetch", "t2v", "--variant", "x", "--dry-run"], "no weights called 'x'"),
        (["fetch", "t2v", "--json"], "goes with --dry-run"),
    ],
)
def test_wrong_words_are_refused_with_a_sentence(cli, arguments, sentence):
    refused = cli(*arguments)
    assert refused.returncode == 2 and sentence in refused.stderr
