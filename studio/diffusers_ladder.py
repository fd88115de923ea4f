"""Which rung of the memory ladder each job runs on."""

from pathlib import Path

from studio.fitting import LADDER, Rung, choose_rung, next_rung, requested_rung
from studio.plan import Plan
from studio.plan_needs import needs_of
from studio.torch_device import Device
from studio.torch_machine import read_machine

SPARE = 0.25
"""Share of the free memory that must be left before warm weights are moved for a faster way."""


class Ladder:
    """Chooses by the memory that is free, and remembers where that was too little."""

    def __init__(self, device: Device, word: str) -> None:
        """`word` is what AIO_MEMORY says. Raises BadInput for one that it cannot say."""
        self._device = device
        self._asked = requested_rung(word, device.name)
        self._floor: tuple[tuple[str, Path], Rung] | None = None

    def choose(self, plan: Plan, held: Rung | None) -> Rung:
        """The rung for a plan, whose weights are warm on `held` or not warm at all.

        Warm weights stay where they are while that is frugal enough; they climb only where a job
        clearly fits, and never back to where the memory ran out.
        """
        if self._asked is not None:
            return self._asked
        needs, machine = needs_of(plan), read_machine(self._device)
        wanted = choose_rung(needs, machine)
        if held is not None and _faster(wanted, held):
            roomy = choose_rung(needs, machine.without(SPARE))
            wanted = roomy if _faster(roomy, held) else held
        floor = self._floor_of(plan)
        return floor if floor is not None and _faster(wanted, floor) else wanted

    def down(self, plan: Plan, rung: Rung) -> Rung | None:
        """The rung below one where the memory ran out, for this plan and those that follow."""
        below = next_rung(rung, self._device.name)
        if below is not None:
            self._floor = (_key(plan), below)
        return below

    def note(self, plan: Plan, rung: Rung) -> str:
        """What a result should say of its rung; empty where it is as good as any."""
        if rung == self._floor_of(plan):
            return rung.note
        if rung.eight_bit:
            return f"{rung.ran}, as AIO_MEMORY asks." if self._asked else rung.note
        return ""

    def forget(self) -> None:
        """The weights are gone, and what was learnt with them."""
        self._floor = None

    def _floor_of(self, plan: Plan) -> Rung | None:
        return self._floor[1] if self._floor and self._floor[0] == _key(plan) else None


def _key(plan: Plan) -> tuple[str, Path]:
    return plan.weights.family, plan.weights.base


def _faster(one: Rung, other: Rung) -> bool:
    return LADDER.index(one) < LADDER.index(other)
