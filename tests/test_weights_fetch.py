"""Models of the registry are fetched as a whole: listed, brought, linked, and found afterwards."""

import json
import time
from dataclasses import replace

import pytest
from local_hub import GATED_NOT_ACCEPTED, Fault, weights
from model_files import put, variant

from studio.errors import Cancelled, FetchFailed
from studio.families import LTX, QWEN_IMAGE
from studio.home import Home
from studio.model_places import find, target
from studio.modes import MODES
from studio.needs import every_model_for, gigabytes_missing, models_for, needs
from studio.weights_fetch import Fetch
from studio.weights_hub import Patience
from studio.weights_hub_listing import list_files

UPSCALER = LTX.variants[0].parts["upscaler"][0]
DETAILER = LTX.adapters["detailer"].model
QWEN = QWEN_IMAGE.variants[0].models[0]
PIPELINE = {
    "model_index.json": json.dumps({"transformer": ["diffusers", "T"]}).encode(),
    "README.md": b"# Qwen",
    "transformer/config.json": b"{}",
    "transformer/model.safetensors": weights(5000),
    "transformer/model.bin": b"the same in another format",
    "whole.safetensors": weights(900),
}


def serve(hub, *models):
    for number, model in enumerate(models):
        repo = hub.repos.setdefault(model.source.repo, {})
        repo[model.source.path] = weights(3000, seed=number)


def fetched(home, *models):
    fetch = Fetch(home, models, Patience(attempts=1)).start()
    assert fetch.wait(20)
    return fetch


def test_files_are_linked_to_where_they_belong_and_folders_found_in_the_cache(home, hub):
    serve(hub, UPSCALER, DETAILER)
    hub.repos[QWEN.repo] = PIPELINE
    fetch = fetched(home, UPSCALER, DETAILER, QWEN)
    for model in (UPSCALER, DETAILER):
        path = target(home, model)
        assert find(home, model) == path and path.is_symlink()
    folder = find(home, QWEN)
    assert (folder / "transformer" / "model.safetensors").stat().st_size == len(weights(5000))
    assert not (folder / "whole.safetensors").exists()
    progress = fetch.progress
    assert (progress.state, progress.files_done) == ("done", progress.files_total)
    assert progress.bytes_done == progress.bytes_total > 0


def test_what_is_here_is_not_asked_for_again(home, hub):
    serve(hub, UPSCALER, DETAILER)
    put(home, UPSCALER)
    fetched(home, UPSCALER, DETAILER)
    asked = len(hub.requests)
    assert {way for _, way, *_ in hub.requests if "upscaler" in way} == set()
    fetched(home, UPSCALER, DETAILER)
    assert len(hub.requests) == asked


@pytest.mark.parametrize("broken", [b"", "cut"])
def test_broken_file_of_ours_is_replaced(home, hub, broken):
    serve(hub, UPSCALER)
    path = target(home, UPSCALER)
    path.parent.mkdir(parents=True)
    path.write_bytes(weights(3000)[:100] if broken == "cut" else broken)
    fetched(home, UPSCALER)
    assert find(home, UPSCALER) == path and path.read_bytes() == weights(3000)


def test_broken_file_of_the_users_stays_and_is_named(home, hub):
    serve(hub, UPSCALER)
    path = target(home, UPSCALER)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something of my own")
    # The whole one is found in the Hub's cache all the same.
    with pytest.raises(FetchFailed, match=f"A file of yours is at '{path}'"):
        fetched(home, UPSCALER)
    assert path.read_bytes() == b"something of my own"
    assert find(home, UPSCALER) != path


def test_licence_that_is_not_accepted_is_told_with_its_page(home, hub):
    hub.repos[QWEN.repo] = PIPELINE
    hub.fail_always(QWEN.repo, GATED_NOT_ACCEPTED)
    with pytest.raises(FetchFailed, match=f"accept it at {QWEN.page}") as failed:
        fetched(home, QWEN)
    assert failed.value.kind == "licence"


def test_folder_that_is_no_model_is_refused(home, hub):
    hub.repos[QWEN.repo] = {"README.md": b"moved elsewhere"}
    with pytest.raises(FetchFailed, match=r"has no 'model_index.json'"):
        fetched(home, QWEN)
    with pytest.raises(FetchFailed, match="has no revision 'v9'"):
        list_files(replace(QWEN, revision="v9"))


def test_cancel_stops_within_a_second_and_what_arrived_is_kept(home, hub):
    serve(hub, UPSCALER)
    hub.fail(UPSCALER.source.path, Fault(stall=1000))
    fetch = Fetch(home, [UPSCALER]).start()
    while fetch.progress.bytes_received < 1000:
        time.sleep(0.01)
    asked = time.monotonic()
    fetch.cancel()
    with pytest.raises(Cancelled):
        fetch.wait(20)
    assert time.monotonic() - asked < 1
    assert fetch.progress.state == "cancelled"
    hub.stopped.set()
    fetched(home, UPSCALER)
    served = hub.served[UPSCALER.source.path]
    assert served == len(weights(3000))


@pytest.mark.parametrize("path", ["transformer/config.json", "transformer/model.safetensors"])
def test_folder_counts_once_all_of_it_is_here(home, hub, path):
    hub.repos[QWEN.repo] = PIPELINE
    hub.fail(path, Fault(stall=1))
    fetch = Fetch(home, [QWEN]).start()
    while fetch.progress.files_done < 2:
        time.sleep(0.01)
    time.sleep(0.3)  # for the index, which would not need longer
    fetch.cancel()
    with pytest.raises(Cancelled):
        fetch.wait(20)
    assert find(home, QWEN) is None
    fetched(home, QWEN)
    assert find(home, QWEN) is not None


# Which models a mode needs


def params(mode, **more):
    return {
        **{field.name: field.parse(None) for field in mode.fields if field.name in USED},
        **more,
    }


USED = (
    "preset",
    "camera",
    "camera_strength",
    "detailer",
    "detailer_strength",
    "control",
    "control_lora_strength",
)


@pytest.mark.parametrize(
    ("mode_id", "more", "names"),
    [
        ("t2v", {}, {"distilled"}),
        ("t2v", {"camera": "jib-up", "detailer": True}, {"distilled", "camera-jib-up", "detailer"}),
        ("style", {"control": "canny"}, {"distilled", "union-control"}),
    ],
)
def test_settings_decide_which_loras_are_needed(mode_id, more, names):
    mode, wanted = MODES[mode_id], variant(LTX, "LTX-2.3 fp8")
    models = models_for(mode, wanted, params(mode, **more))
    assert set(models) == {*wanted.models, *(LTX.adapters[name].model for name in names)}
    assert set(models) <= set(every_model_for(mode, wanted))


def test_control_maps_need_what_draws_them():
    mode, wanted = MODES["style"], variant(LTX, "LTX-2.3 fp8")
    models = models_for(mode, wanted, params(mode, control="pose"))
    assert {one.name for one in models if one.folder == "control"} == {
        "rtdetr_r50vd_coco_o365",
        "vitpose-base-simple",
    }


def test_quality_needs_no_lightning():
    mode, wanted = MODES["image"], QWEN_IMAGE.variants[0]
    assert models_for(mode, wanted, params(mode, preset="quality")) == wanted.models
    assert len(models_for(mode, wanted, params(mode, preset="fast"))) == 2


def test_needs_tell_what_is_here_missing_and_damaged(home: Home):
    put(home, UPSCALER)
    put(home, DETAILER).write_bytes(b"")
    here, damaged, missing = needs(home, [UPSCALER, DETAILER, QWEN])
    assert here.path == target(home, UPSCALER) and not here.damaged
    assert damaged.path is None and damaged.damaged
    assert missing.path is None and not missing.damaged
    assert gigabytes_missing((here, damaged, missing)) == pytest.approx(
        DETAILER.gigabytes + QWEN.gigabytes
    )
