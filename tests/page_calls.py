"""Jobs over HTTP: a mode's endpoint is called, and its job waited for."""

import json
import time
from functools import cache

import httpx


@cache
def defaults_of(url, mode_id):
    """An endpoint's parameters with their defaults, in order."""
    endpoint = httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"][f"/{mode_id}"]
    return {one["parameter_name"]: one["parameter_default"] for one in endpoint["parameters"]}


def call(client, mode_id, **values):
    """The answer of a mode's endpoint to these values, the others left at their defaults."""
    defaults = defaults_of(str(client.base_url), mode_id)
    assert set(values) <= set(defaults)
    data = list({**defaults, **values}.values())
    # In ASCII, which has a form for half a character.
    content, headers = json.dumps({"data": data}), {"Content-Type": "application/json"}
    return client.post(f"/gradio_api/run/{mode_id}", content=content, headers=headers)


def submit(client, prompt="a cat", mode_id="photo", **values):
    answer = call(client, mode_id, prompt=prompt, **values)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]


def wait_for(client, job_id, *states, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = client.get(f"/jobs/{job_id}").json()
        if job["state"] in states:
            return job
        time.sleep(0.02)
    raise AssertionError(f"The job is still {job['state']}.")
