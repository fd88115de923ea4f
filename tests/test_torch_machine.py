"""The memory as torch and the system tell it."""

from studio.engine import memory_used


def test_memory_in_use_is_part_of_all():
    memory = memory_used()
    assert memory.kind in ("RAM", "VRAM")
    assert 0 < memory.used < memory.total
