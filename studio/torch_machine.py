"""The memory of the machine, as torch and the system tell it."""

import json
import sys
from dataclasses import asdict

import psutil
import torch

from studio.events import MemoryUsed
from studio.fitting import Machine
from studio.torch_device import Device, best_device


def read_machine(device: Device) -> Machine:
    """What is there now. What this process holds counts as free: the next job reuses it."""
    ram_total, ram_free = _ram()
    vram_total, vram_free = _DEVICES[device.name](ram_total, ram_free)
    return Machine(
        device=device.name,
        vram_total=vram_total,
        vram_free=vram_free,
        ram_total=ram_total,
        ram_free=ram_free,
        weight_bytes=device.dtype.itemsize,
        gpu=torch.cuda.get_device_name() if device.name == "cuda" else "",
    )


def memory_used() -> MemoryUsed:
    """How full the memory is that the pipelines compute in. Quick enough for every second."""
    kind, total, free = _LEFT[best_device().name]()
    return MemoryUsed(kind, total - free, total)


def _ram() -> tuple[int, int]:
    memory = psutil.virtual_memory()
    own: int = psutil.Process().memory_info().rss
    # Files that are mapped into this process are counted as both.
    return memory.total, min(memory.total, memory.available + own)


def _cuda(ram_total: int, ram_free: int) -> tuple[int, int]:
    free, total = torch.cuda.mem_get_info()
    return total, free + torch.cuda.memory_reserved()


def _mps(ram_total: int, ram_free: int) -> tuple[int, int]:
    total = torch.mps.recommended_max_memory()
    return total, min(total, ram_free)


def _cpu(ram_total: int, ram_free: int) -> tuple[int, int]:
    return ram_total, ram_free


def _vram_left() -> tuple[str, int, int]:
    free, total = torch.cuda.mem_get_info()
    return "VRAM", total, free


def _ram_left() -> tuple[str, int, int]:
    # Apple's GPU shares it.
    memory = psutil.virtual_memory()
    return "RAM", memory.total, memory.available


_LEFT = {"cuda": _vram_left, "mps": _ram_left, "cpu": _ram_left}
_DEVICES = {"cuda": _cuda, "mps": _mps, "cpu": _cpu}


if __name__ == "__main__":
    # For `machine_watch`, which keeps torch out of the page's process.
    sys.stdout.write(json.dumps(asdict(read_machine(best_device()))))
