"""Everything that a page answers: its routes, Gradio's own, and Gradio's endpoints."""

from collections.abc import Iterator
from typing import Any

import httpx
from starlette.routing import Mount


def routes(page: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of each route, those of included routers too."""
    for route in getattr(page, "routes", ()):
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from routes(router, before + route.include_context.prefix)
            continue
        if isinstance(route, Mount):
            inside = list(routes(route, before + route.path))
            # An application that has no routes of its own answers at the place itself.
            yield from inside or [(method, f"{before}{route.path}/") for method in ("GET", "POST")]
            continue
        for method in sorted(route.methods or ("GET",)):
            yield method, before + route.path


def endpoints(client: httpx.Client) -> Iterator[tuple[int, str, list[Any]]]:
    """Number and name of each endpoint, and the values that its inputs have when it is built."""
    config = client.get("/config").json()
    values = {one["id"]: one["props"].get("value") for one in config["components"]}
    for one in config["dependencies"]:
        if one["backend_fn"]:
            yield one["id"], one["api_name"], [values.get(number) for number in one["inputs"]]
