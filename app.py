"""Starts the studio's page: `python app.py`. Also what a Space and a Modal notebook run."""

import argparse
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from studio.engine import ENGINES
from studio.errors import BadInput, StudioError
from studio.home import Home, home_at
from studio.host_space import bring_engine
from studio.hosts import Host, keep_hub_cache, this_host
from studio.page_import import leave_out_stubs
from studio.weights_mirror import use_writable_cache

if TYPE_CHECKING:
    import gradio as gr

    from studio.studio import Studio

PORT = 7860


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the page until it is stopped. Returns the exit status: 2 for flags that cannot work."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve(options)
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def prepare_gradio(home: Home) -> None:
    """Sets what Gradio reads from the environment, and what its import leaves out. Must run before
    it is imported.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    # Not the machine's common folder: uploads are private, and may be larger than /tmp.
    os.environ["GRADIO_TEMP_DIR"] = str(home.scratch / "uploads")
    leave_out_stubs()


def _serve(options: argparse.Namespace) -> None:
    home, host = home_at(options.home), this_host()
    keep_hub_cache(host, home.root)
    if host.preloads:
        use_writable_cache(home.root)
    _require_engine(options.engine)
    if host.installs:
        bring_engine(home, options.engine, _say)
    _require_free(_host(options), options.port)
    if options.listen and not options.auth:
        sys.stderr.write(
            "Warning: everybody in your network can use this page. With --auth USER:PASSWORD"
            " they have to log in.\n"
        )
    prepare_gradio(home)
    # The studio is opened before Gradio is imported, which the package `spaces` changes.
    with _opened(home, host, options) as studio:
        _serve_page(studio, options, host)


def _serve_page(studio: "Studio", options: argparse.Namespace, host: Host) -> None:
    from studio.retention import Retention, swept
    from studio.studio import running

    strangers = options.listen or options.share or host.strangers
    # A home that cannot be used is told before anything is served.
    studio.runner.recover()
    with uncollected():
        page, urls = _launched(studio, options, host, strangers)
    # Only now: it loads torch, and would take a core from the start.
    if not strangers:
        studio.machine.start()
    # Only now: an engine that loads for a job that waited would make everybody wait for the page.
    with running(studio), swept(Retention(studio.home)) if host.prunes else nullcontext():
        sys.stdout.write(f"AIO Studio is at {' and '.join(urls)}\nCtrl+C stops it.\n")
        sys.stdout.flush()
        page.block_thread()


def _launched(
    studio: "Studio", options: argparse.Namespace, host: Host, strangers: bool
) -> "tuple[gr.Blocks, list[str]]":
    """The page, served, and its addresses."""
    from studio.page import build_page, launch_page

    page = build_page(studio, options.engine, strangers)
    urls = launch_page(
        page,
        studio,
        host=_host(options),
        port=options.port,
        share=options.share,
        auth=options.auth,
        strangers=strangers,
        engine=options.engine,
        framed=host.framed,
    )
    return page, urls


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage while modules and forms are made, all of which stay: it would take an
    eighth of the start. What there is at the end is never looked through again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@contextmanager
def _opened(home: Home, host: Host, options: argparse.Namespace) -> "Iterator[Studio]":
    """The studio with the runner that the host has, or that was chosen."""
    if options.runner == "local" and options.workers is not None:
        raise BadInput("'--workers' is for '--runner ray': leave it out.")
    if host.lends_gpu:
        from studio.host_zero import open_on_zero

        yield open_on_zero(home)
        return
    from studio.studio import open_studio

    if options.runner == "local":
        yield open_studio(home)
        return
    from studio.host_ray import ray_workers
    from studio.remote_work import RemoteWork

    with ray_workers(home, options.workers) as workers:
        yield open_studio(home, RemoteWork(home, workers), workers.count)


def _host(options: argparse.Namespace) -> str:
    # A Space and a container set the variable; there, only this name can be reached.
    return "0.0.0.0" if options.listen else os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")


def _require_engine(engine: str) -> None:
    if engine and engine not in ENGINES:
        known = ", ".join(f"'{name}'" for name in ENGINES)
        raise BadInput(f"There is no engine called '{engine}': choose {known}.", "engine")


def _require_free(host: str, port: int) -> None:
    """Gradio would say the same with a traceback, after the studio has been opened."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or "no reason given"
            raise StudioError(
                f"Port {port} cannot be used ({reason}): stop the program that has it, or choose"
                " another with --port."
            ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="The page of AIO Studio, for pictures and videos with open models."
    )
    environment = os.environ.get
    parser.add_argument("--share", action="store_true", help="also give it a public address")
    parser.add_argument("--listen", action="store_true", help="let other machines reach it")
    parser.add_argument(
        "--port",
        type=int,
        default=int(environment("GRADIO_SERVER_PORT", PORT)),
        help=f"where it listens; {PORT} by default",
    )
    parser.add_argument(
        "--engine",
        default=environment("AIO_ENGINE", ""),
        help=f"use this engine wherever it can: {', '.join(ENGINES)}",
    )
    parser.add_argument(
        "--runner",
        choices=("local", "ray"),
        default="local",
        help="'ray' uses all GPUs, also of several machines",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="with --runner ray: how many; one for each GPU by default, or one without a GPU",
    )
    parser.add_argument("--home", help="folder for results, weights and jobs")
    parser.add_argument(
        "--auth", type=read_login, metavar="USER:PASSWORD", help="ask visitors to log in"
    )
    return parser


def read_login(text: str) -> tuple[str, str]:
    """The user and the password. Raises ArgumentTypeError."""
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("give a user and a password as USER:PASSWORD")
    return user, password


if __name__ == "__main__":
    sys.exit(main())
