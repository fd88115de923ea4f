"""Where the studio runs is told by the environment, and with it where its files are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.home import home_at
from studio.hosts import HOSTS, keep_hub_cache, root_of, this_host

NOTEBOOK = {"MODAL_TASK_ID": "ta-1", "MODAL_IMAGE_ID": "im-1"}
ROOT = Path(__file__).parent.parent

ENVIRONMENTS = [
    ({}, "local"),
    ({"MODAL_PROFILE": "me", "MODAL_TOKEN_ID": "ak-1", "MODAL_ENVIRONMENT": "main"}, "local"),
    ({"SPACE_ID": "me/studio"}, "space"),
    ({"SPACE_ID": "me/studio", "SPACES_ZERO_GPU": "true"}, "zero"),
    ({"SPACE_ID": "me/studio", "SPACES_ZERO_GPU": "false"}, "space"),
    (NOTEBOOK, "modal-notebook"),
    ({**NOTEBOOK, "MODAL_IS_REMOTE": "1"}, "modal-app"),
]


@pytest.mark.parametrize(("environ", "host"), ENVIRONMENTS)
def test_this_host_is_told_by_the_environment(environ, host):
    assert this_host(environ) is HOSTS[host]


def test_strangers_share_every_hosted_page_and_only_spaces_prune():
    assert {host.id for host in HOSTS.values() if host.strangers} == {"space", "zero", "modal-app"}
    for host in HOSTS.values():
        on_a_space = host.id in ("space", "zero")
        assert (host.prunes, host.framed, host.installs) == (on_a_space,) * 3
        assert host.lends_gpu == (host.id == "zero")


def test_root_of_a_notebook_is_the_volume_for_models(tmp_path):
    for name in ("a-dataset", "my-models-volume", "zoo"):
        (tmp_path / "mnt" / name).mkdir(parents=True)
    home = root_of(HOSTS["modal-notebook"], tmp_path)
    assert home == tmp_path / "mnt" / "my-models-volume"


def test_root_of_a_notebook_is_any_volume_before_the_disk_that_is_lost(tmp_path):
    (tmp_path / "mnt" / "things").mkdir(parents=True)
    assert root_of(HOSTS["modal-notebook"], tmp_path) == tmp_path / "mnt" / "things"


def test_root_of_is_the_users_folder_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    assert root_of(HOSTS["space"], tmp_path) == tmp_path / "data"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert root_of(HOSTS["space"], tmp_path) == Path.home() / "aio-studio"


def test_home_at_prefers_what_was_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AIO_HOME", str(tmp_path / "named"))
    monkeypatch.setenv("MODAL_TASK_ID", "ta-1")
    assert home_at().root == tmp_path / "named"
    assert home_at(tmp_path / "flag").root == tmp_path / "flag"


def test_keep_hub_cache_moves_it_into_a_notebooks_home(tmp_path):
    environ = {}
    keep_hub_cache(HOSTS["modal-notebook"], tmp_path, environ)
    assert environ == {"HF_HOME": str(tmp_path / "huggingface")}


@pytest.mark.parametrize("chosen", ["HF_HOME", "HF_HUB_CACHE"])
def test_keep_hub_cache_leaves_what_the_user_chose(tmp_path, chosen):
    environ = {chosen: "/elsewhere"}
    keep_hub_cache(HOSTS["modal-notebook"], tmp_path, environ)
    assert environ == {chosen: "/elsewhere"}


def test_home_on_a_volume_has_its_job_table_on_the_own_disk(tmp_path, monkeypatch):
    volume, user = tmp_path / "my-models-volume", tmp_path / "user"
    monkeypatch.setenv("AIO_HOME", str(volume))
    assert home_at().database == volume / "jobs.sqlite3"
    assert home_at().database_copy is None
    monkeypatch.setenv("MODAL_TASK_ID", "ta-1")
    monkeypatch.setenv("HOME", str(user))
    home = home_at()
    assert home.outputs == volume / "outputs"
    own = user / "aio-studio" / "my-models-volume"
    assert {home.database.parent, home.engine_lock.parent, home.scratch.parent} == {own}
    assert home.database_copy == volume / "jobs-copy.sqlite3"


def test_home_in_a_notebook_without_a_volume_is_in_one_place(tmp_path, monkeypatch):
    monkeypatch.setenv("MODAL_TASK_ID", "ta-1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AIO_HOME", str(tmp_path / "aio-studio"))
    assert home_at().state is None


def test_keep_hub_cache_leaves_other_hosts_alone(tmp_path):
    environ = {}
    for host in ("local", "space", "zero"):
        keep_hub_cache(HOSTS[host], tmp_path, environ)
    assert environ == {}


def test_command_line_in_a_notebook_keeps_the_hubs_cache_on_the_volume(tmp_path):
    """The cache's place as huggingface_hub itself reads it after the studio's start."""
    program = (
        "from studio.cli import main; main(['modes']);"
        "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environ |= {**NOTEBOOK, "AIO_HOME": str(tmp_path)}
    said = subprocess.check_output(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, text=True
    )
    assert said.splitlines()[-1] == str(tmp_path / "huggingface" / "hub")
