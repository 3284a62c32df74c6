"""The families of kernels, and which of them computes a layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from twofold.accuracies import DEFAULT, allows
from twofold.engine import depthwise, planar_schedule, pointwise, schedule, single, tables, winograd, winograd_schedule
from twofold.engine.emit import BYTES
from twofold.engine.machine import Machine
from twofold.engine.patch import Packer
from twofold.engine.schedule import Layer, Schedule

__all__ = ["FAMILIES", "Family", "available", "choose", "named", "reads_tiles"]

Strides = tuple[int, int, int, int, int]
_NOMINAL = 2  # images


@dataclass(frozen=True, slots=True)
class Family:
    """One way of computing layers."""

    name: str
    what: str  # in a few words, for `why`
    schedule: Callable[[Layer, Machine, int], Schedule]
    fits: Callable[[Layer, Machine], bool]
    cost: Callable[[Layer, Machine], float]  # estimated cycles of one thread, to compare families by
    reads: Callable[[Layer, Strides], Any]  # how, or by what kernel, its patches are packed from inputs of such strides
    dense: bool = False  # whether the input must be dense, with its channels last
    direct: bool = True  # whether every product of the definition is made, and nothing else
    error: Callable[[Layer], float] = lambda layer: 1.0  # of the worst element, over the bound of a direct sum
    relative: Callable[[Layer], float] = tables.relative_error  # of the worst element, over the largest output
    packing: Callable[[Layer], float] = lambda layer: 0.16 * _weight_bytes(layer)  # cycles to pack the weight


def _reads_patch(layer: Layer, strides: Strides) -> str:
    item = BYTES[layer.source]
    single = not layer.depthwise and layer.inputs == 1
    if strides[1] == item and not single:
        return "pixels"
    return "squares" if strides[4] * layer.sides[2].step_in == item else "cells"


def _weight_bytes(layer: Layer) -> int:
    return math.prod(layer.kernel) * layer.inputs * layer.outputs * layer.groups * BYTES[layer.scalar]


def _transformed_bytes(layer: Layer, most: int) -> int:
    # Of weights as points: those of every phase, for each plane of the input.
    axes = [winograd.cuts_of(side, most) or () for side in layer.sides]
    points = math.prod(sum(cut.points for cut in cuts) for cuts in axes)
    planes = math.prod(len(side.residues) for side in layer.sides)
    return points * planes * layer.inputs * layer.outputs * layer.groups * BYTES[layer.scalar]


def _is_local(layer: Layer, most: int) -> bool:
    # An output of a tile of two meets only what it reads itself: the other cell stands in one point alone, that of zero
    # or of infinity. In larger tiles small outputs have the rounding of their neighbours, and no bound of their own.
    cuts = [cut for side in layer.sides for cut in winograd.cuts_of(side, most) or ()]
    return all(cut.m <= 2 or cut.r == 1 for cut in cuts)


def reads_tiles(layer: Layer, strides: Strides) -> Packer:
    """Return what packs patches that are cut into tiles, from inputs of such strides."""
    return Packer(_reads_patch(layer, strides), winograd.BLOCK, layer.source, layer.scalar, clears=True)


def _winograd(most: int) -> Family:
    what = f"tiles of up to {most} outputs along each axis, transformed so that they take fewer multiplications"
    return Family(
        winograd.name(most),
        what if most > 1 else "few cells and many weights: a product of matrices for each tap, its weights read once",
        functools.partial(winograd_schedule.schedule, most=most),
        functools.partial(winograd.fits, most=most),
        functools.partial(winograd.cost, most=most),
        reads_tiles,
        direct=False,
        error=lambda layer: winograd.error(layer, most) if _is_local(layer, most) else math.inf,
        relative=functools.partial(winograd.relative, most=most),
        packing=lambda layer: 0.5 * _transformed_bytes(layer, most),  # measured from 1 to 75 MB: 0.1 to 0.14 ns a byte
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        "direct",
        "register tiles of pixels x output channels over packed patches of the input",
        schedule.schedule,
        lambda layer, machine: True,
        tables.cost_of_tiles,
        _reads_patch,
    ),
    Family(
        "in place",
        "register tiles of pixels x channels, the input read where it stands, each row for several of the result",
        depthwise.schedule,
        lambda layer, machine: depthwise.fits(layer, machine, layer.input_last),
        depthwise.cost,
        lambda layer, strides: None,
        dense=True,
    ),
    Family(
        "pointwise",
        "register tiles of pixels x output channels, the input read where it stands, since every cell has one tap",
        pointwise.schedule,
        lambda layer, machine: pointwise.fits(layer, machine, layer.input_last),
        pointwise.cost,
        lambda layer, strides: None,
        dense=True,
    ),
    Family(
        "planar",
        "register tiles of rows of the result, weights in all lanes, over planes of the input",
        planar_schedule.schedule,
        planar_schedule.fits,
        planar_schedule.cost,
        planar_schedule.packer,
    ),
    Family(
        "single",
        "register tiles of images x output channels, since every image is one cell",
        single.schedule,
        single.fits,
        lambda layer, machine: 0.5 * tables.cost_of_tiles(layer, machine),
        _reads_patch,
    ),
    *(_winograd(most) for most in winograd.SIZES),
)


def available(layer: Layer, machine: Machine, accuracy: str = DEFAULT) -> list[Family]:
    """Return the families that compute a layer within this accuracy."""
    unit = tables.UNIT[layer.scalar]
    admitted = [f for f in FAMILIES if f.direct or accuracy in ("standard", "fast")]
    found = [f for f in admitted if f.fits(layer, machine)]
    return [f for f in found if f.direct or allows(accuracy, f.error(layer), f.relative(layer), unit)]


def choose(layer: Layer, machine: Machine, accuracy: str = DEFAULT, fresh: bool = False) -> Family:
    """Return the family of the least estimated cost within this accuracy.

    fresh  whether every call brings another weight, which it packs

    Under "standard" an image has the same bits in a batch of any size: whether its sums are direct is decided for a
    batch of two, of which the weights take less than of one and more than of many. All direct families agree anyway.
    """

    def cost(family: Family, layer: Layer) -> float:
        return family.cost(layer, machine) + (family.packing(layer) if fresh else 0.0)

    nominal = replace(layer, batch=_NOMINAL) if accuracy == "standard" else layer
    found = available(nominal, machine, accuracy)
    best = min(found, key=lambda family: cost(family, nominal))
    if not best.direct:
        return best
    return min(available(layer, machine, "strict"), key=lambda family: cost(family, layer))


def named(name: str) -> Family:
    """Return the family of this name; KeyError if there is none."""
    return {family.name: family for family in FAMILIES}[name]
