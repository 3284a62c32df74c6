"""What things cost on the processors that were measured: the numbers by which families of kernels are compared.

A cost counts cycles of one core, about: in its coin, 1.3 multiply-adds of vectors take one. Each number is of vectors,
or of bytes where it says so. They were fitted to the layers of the suite, at batch 1 and 8, in both layouts, by
benchmarks/costs.py, which prints how far off they are on another machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.engine.machine import Machine

__all__ = ["Pace", "pace"]


@dataclass(frozen=True, slots=True)
class Pace:
    """Costs on one kind of processor."""

    stored: tuple[float, float, float]  # a result: channels last; first; first, with phases that are interleaved
    planar: float  # times what a planar kernel is estimated to take
    depthwise: tuple[float, float]  # a product: of patches, and in place
    phases: float  # a result in place, where each has its own taps
    forward: tuple[float, float]  # a point of a Winograd tile, and as much more for each point along an axis
    back: tuple[float, float]  # the same for results
    cells: tuple[float, float]  # of its input and of its result
    near: tuple[float, float]  # a byte of weights that the second cache does not hold: direct, and transformed
    far: tuple[float, float]  # so much more for each that nothing near holds
    holds: float  # of the third cache, what counts as near; 0 where it is as far as memory
    coin: tuple[float, float]  # nanoseconds of a cycle, dense and depthwise, where `fourier` takes those that it says
    spills: float  # a byte of a result that nothing near holds, written by planar kernels

    def reads(self, size: float, machine: Machine, transformed: bool) -> float:
        """Return what so many bytes of weights cost that are read once, from where they are."""
        begins = machine.l2 if transformed else 2 * machine.l2
        if size <= begins:
            return 0.0
        held = self.holds * machine.l3 if self.holds else 4.0 * machine.l2 * transformed
        return self.near[transformed] * size + self.far[transformed] * max(0.0, size - held)

    def written(self, size: int, machine: Machine) -> float:
        """Return what so many bytes of a result cost more for not fitting the third cache."""
        return self.spills * size if size > self.holds * machine.l3 else 0.0


# Two cores of a Xeon (Sapphire Rapids, AVX-512) whose third cache is shared by many: what is beyond the second is far.
_XEON = Pace(
    stored=(6.0, 6.0, 6.0), planar=1.0, depthwise=(1.0, 0.9), phases=4.0, forward=(7.0, 0.8), back=(5.0, 0.8),
    cells=(26.0, 16.0), near=(0.0, 0.08), far=(0.45, 0.33), holds=0.0, coin=(0.25, 0.42), spills=0.0,
)  # fmt: skip

# One core of an EPYC (Zen 5, AVX-512), 32 MB of third cache near to it.
_ZEN = Pace(
    stored=(6.0, 10.0, 22.0), planar=0.85, depthwise=(1.5, 0.9), phases=22.0, forward=(7.4, 0.34), back=(0.0, 3.1),
    cells=(4.0, 0.7), near=(0.05, 0.05), far=(0.4, 0.13), holds=0.75, coin=(0.22, 0.27), spills=0.5,
)  # fmt: skip


def pace(machine: Machine) -> Pace:
    """Return the costs on this machine, or on the one that is most like it."""
    return _ZEN if machine.cpu.startswith("znver") else _XEON
