"""What a machine is told of itself: in the welcome and by the doctor."""

import pytest
from model_files import put, variant

from studio.families import FAMILIES, SDXL
from studio.fitting import GIB, Machine
from studio.preflight_machine import (
    first_look,
    lines_for_owner,
    lines_for_strangers,
    machine_sentence,
)

LARGE = Machine("cuda", 80 * GIB, 78 * GIB, 256 * GIB, 240 * GIB, gpu="NVIDIA H100")
SMALL = Machine("cuda", 12 * GIB, 11 * GIB, 16 * GIB, 12 * GIB)
NO_GPU = Machine("cpu", 16 * GIB, 12 * GIB, 16 * GIB, 12 * GIB, 4)


@pytest.fixture
def free(monkeypatch):
    """Sets the gigabytes that the disk of the Hub's cache has left."""
    return lambda size: monkeypatch.setattr("studio.preflight.free_gigabytes", lambda: size)


def said(home, machine=None):
    return {line.about: line.says for line in lines_for_owner(first_look(home, "", machine))}


def test_large_machine_is_offered_every_family(home, free):
    free(1000.0)
    lines = said(home, LARGE)
    assert lines["This machine"].startswith("NVIDIA H100, 86 GB of VRAM (84 free")
    assert lines["Runs now"] == "every mode, on demo weights."
    for family in FAMILIES.values():
        assert f"{family.label} (" in lines["Worth fetching"]
    assert "SDXL (6.9 GB)" in lines["Worth fetching"]
    assert "Too large here" not in lines


def test_what_does_not_fit_is_named_with_its_reason(home, free):
    free(1000.0)
    lines = said(home, SMALL)
    assert lines["Worth fetching"] == "SDXL (6.9 GB)."
    assert lines["Too large here"].endswith("not enough memory.")
    assert "Qwen-Image (" in lines["Too large here"] and "SDXL" not in lines["Too large here"]


def test_disk_decides_too(home, free):
    free(20.0)
    lines = said(home, LARGE)
    assert lines["Worth fetching"] == "SDXL (6.9 GB)."
    assert lines["Too large here"].endswith("not enough disk.")
    free(1.0)
    lines = said(home, LARGE)
    assert lines["Worth fetching"] == "nothing, as it is too large for this machine."
    assert "SDXL (6.9 GB)" in lines["Too large here"]
    free(70.0)
    assert said(home, LARGE)["Worth fetching"].endswith("; the disk has no room for all of them.")


def test_without_a_gpu_nothing_is_praised(home, free):
    free(1000.0)
    lines = said(home, NO_GPU)
    assert "No GPU" in lines["This machine"] and "CPU cores" in lines["This machine"]
    assert lines["Worth fetching"].startswith("little without a GPU; these fit, and run slowly: S")


def test_unknown_memory_is_said_to_be_unknown(home, free):
    free(1000.0)
    lines = said(home)
    assert lines["This machine"].endswith("memory not known.")
    assert lines["Worth fetching"].endswith("Whether they fit the memory is not known.")


def test_real_weights_are_named_and_no_longer_offered(home, free):
    free(1000.0)
    put(home, variant(SDXL, "epiCRealism XL").models[0])
    lines = said(home, LARGE)
    assert lines["Runs now"].startswith("epiCRealism XL; demo weights for Qwen-Image and")
    assert "SDXL" not in lines["Worth fetching"]


def test_strangers_are_told_nothing_of_the_machine(home):
    (line,) = lines_for_strangers(first_look(home, "", LARGE))
    assert str(line) == "Runs now: every mode, on demo weights."


def test_machine_without_a_name_is_a_gpu():
    assert machine_sentence(SMALL).startswith("GPU, 13 GB of VRAM (12 free at the start), 17 GB")
    assert machine_sentence(Machine("mps", GIB, GIB, 32 * GIB, GIB)) == "Apple GPU, 34 GB of RAM"
