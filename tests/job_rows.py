"""Jobs for tests of the table."""

from studio.jobs import Job, JobTable


def submit(table: JobTable, owner: str = "ann", **changes: object) -> Job:
    request = {
        "mode": "t2v",
        "params": {"preset": "fast", "prompt": "a red circle", "seed": 7},
        "seed": 7,
        "inputs": {},
    }
    return table.submit(owner, **{**request, **changes})
