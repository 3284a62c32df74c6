"""Break the core in one way at a time; the tests must notice each. `python tests/mutate.py [words of a name …]`

A mutant is one replacement of text in a copy of `src`, never in the working tree. The tests named with it run on that
copy. The run fails if a mutant survives, or if its text is no longer in the source: then the list is out of date.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PARALLEL = 2
LIMIT = 120  # seconds for one mutant; one that runs longer has hung, and so was noticed

AXIS, PROBLEM, LAWS = "tests/geometry/test_axis.py", "tests/geometry/test_problem.py", "tests/test_laws.py"
LAYER, REFERENCE = "tests/geometry/test_layer.py", "tests/test_reference.py"
FUNCTIONAL, BAD = "tests/test_functional.py", "tests/test_bad_input.py"
PLAN = "tests/engine/test_plan.py"
WORDS, FOURIER = "tests/test_accuracies.py", "tests/engine/test_fourier.py"
WINOGRAD, GRADIENT = "tests/engine/test_winograd.py", "tests/engine/test_winograd_gradient.py"


class Mutant(NamedTuple):
    """In `file`, the first `old` becomes `new`; `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    # the equation
    Mutant("pad sign", "geometry/axis.py", "self.dilation - self.pad_before", "self.dilation + self.pad_before", AXIS),
    Mutant("lost dilation", "geometry/axis.py", "+ tap * self.dilation - self", "+ tap - self", AXIS),
    Mutant("lost stride", "geometry/axis.py", "return coarse * self.stride + tap", "return coarse + tap", AXIS),
    Mutant(
        "pad sign, seen by values",
        "geometry/axis.py",
        "self.dilation - self.pad",
        "self.dilation + self.pad",
        REFERENCE,
    ),
    Mutant(
        "lost dilation, seen by values", "geometry/axis.py", "+ tap * self.dilation - self", "+ tap - self", REFERENCE
    ),
    # sizes
    Mutant(
        "size rounded up",
        "geometry/axis.py",
        "return (room - self.extent) // self.stride + 1",
        "return -((self.extent - room) // self.stride) + 1",
        AXIS,
    ),
    Mutant(
        "ignored output_padding",
        "geometry/axis.py",
        "size = self._smallest_fine_size(coarse_size) + output_padding",
        "size = self._smallest_fine_size(coarse_size)",
        AXIS,
    ),
    Mutant("pad_after taken for pad_before", "geometry/axis.py", "+ 1 - self.pad_after", "+ 1 - self.pad_before", AXIS),
    Mutant(
        "output_padding only below stride",
        "geometry/axis.py",
        "limit = max(self.stride, self.dilation)",
        "limit = self.stride",
        AXIS,
    ),
    Mutant(
        "targets only below stride",
        "geometry/axis.py",
        "last = first + max(self.stride, self.dilation) - 1",
        "last = first + self.stride - 1",
        LAYER,
    ),
    Mutant(
        "fine_sizes one too few",
        "geometry/axis.py",
        "max(smallest + self.stride, 0)",
        "smallest + self.stride - 1",
        AXIS,
    ),
    Mutant("booleans count", "geometry/axis.py", 'in ("bool", "bool_")', "in ()", AXIS),
    # which cells meet
    Mutant(
        "span ends one early",
        "geometry/axis.py",
        "(fine_size - 1 - self.fine(0, tap)) // self.stride + 1)",
        "(fine_size - 1 - self.fine(0, tap)) // self.stride)",
        REFERENCE,
    ),
    Mutant(
        "span starts one early",
        "geometry/axis.py",
        "first = max(0, _ceil_div(-self.fine(0, tap), self.stride))",
        "first = max(0, -self.fine(0, tap) // self.stride)",
        REFERENCE,
    ),
    Mutant(
        "taps end one early",
        "geometry/axis.py",
        "last = min(self.kernel_size - 1,",
        "last = min(self.kernel_size - 2,",
        AXIS,
    ),
    Mutant(
        "taps_reaching one too many",
        "geometry/axis.py",
        "last = distance // self.dilation",
        "last = distance // self.dilation + 1",
        AXIS,
    ),
    Mutant("fine_span one short", "geometry/axis.py", "self.kernel_size - 1) + 1)", "self.kernel_size - 1))", AXIS),
    Mutant(
        "coarse_span one long",
        "geometry/axis.py",
        "self.fine(0, 0)) // self.stride + 1)",
        "self.fine(0, 0)) // self.stride + 2)",
        AXIS,
    ),
    Mutant("phase shifts turned", "geometry/axis.py", "-(self.dilation // common)", "+(self.dilation // common)", LAWS),
    Mutant("phases without inverse", "geometry/axis.py", "pow(self.dilation // common, -1, step)", "1", AXIS),
    Mutant("even whenever covered", "geometry/axis.py", "return fewest == most", "return fewest > 0", AXIS),
    Mutant("holes of a common divisor", "geometry/axis.py", "// step if common == 1 else 0", "// step", AXIS),
    Mutant("twice the memory", "memory.py", "if size > limit", "if size > 2 * limit", "tests/test_memory.py"),
    Mutant("vjp keeps views", "functional.py", 'x=call.x.copy("K")', "x=call.x", FUNCTIONAL),
    # padding in words and numbers
    Mutant(
        "swapped pads",
        "geometry/layer.py",
        "pad_before=pads[0], pad_after=pads[1])",
        "pad_before=max(pads[1], 0), pad_after=pads[0])",
        REFERENCE,
    ),
    Mutant(
        "same and same_lower exchanged",
        "geometry/layer.py",
        'if word == "same" else total',
        'if word != "same" else total',
        LAYER,
    ),
    Mutant(
        "causal forgets dilation",
        "geometry/layer.py",
        "pad_before=axis.extent - 1",
        "pad_before=axis.kernel_size - 1",
        LAWS,
    ),
    Mutant(
        "causal transpose crops the start",
        "geometry/layer.py",
        "replace(axis, pad_after=max(0, axis.fine",
        "replace(axis, pad_before=max(0, axis.fine",
        LAWS,
    ),
    Mutant(
        "adjoint reads the surplus edge",
        "geometry/problem.py",
        "axes.append(axis if fits else",
        "axes.append(axis if True else",
        REFERENCE,
    ),
    # the definition
    Mutant(
        "groups interleaved",
        "reference.py",
        "weight.reshape(groups, channels // groups, *rest)",
        "weight.reshape(channels // groups, groups, *rest).swapaxes(0, 1)",
        LAWS,
    ),
    Mutant(
        "flipped kernel", "reference.py", "if problem.flip else kernel", "if not problem.flip else kernel", REFERENCE
    ),
    Mutant("flip of one axis lost", "reference.py", "range(3, kernel.ndim)", "range(4, kernel.ndim)", REFERENCE),
    Mutant("transpose assigns", "reference.py", "y[fine_cells] += _mix", "y[fine_cells] = _mix", REFERENCE),
    Mutant("large kernels assign", "reference.py", "kernel[taps] += _einsum", "kernel[taps] = _einsum", REFERENCE),
    Mutant("a stretch ends early", "geometry/axis.py", "last + (1 if step > 0", "last + (0 if step > 0", REFERENCE),
    Mutant(
        "wrong fold",
        "reference.py",
        "np.add.at(np.moveaxis(folded, i, 0), source, np.moveaxis(padded, i, 0))",
        "np.moveaxis(folded, i, 0)[source] = np.moveaxis(padded, i, 0)",
        REFERENCE,
    ),
    Mutant("wrong reflect", "reference.py", "% max(2 * (size - 1), 1))", "% max(2 * size - 1, 1))", REFERENCE),
    Mutant(
        "circular repeats the edge", "reference.py", "cells % max(size, 1)", "np.clip(cells, 0, size - 1)", REFERENCE
    ),
    Mutant("weight gradient of one image", "reference.py", ".sum(axis=0)", "[0]", REFERENCE),
    # dtypes
    Mutant(
        "float16 sums",
        "dtypes.py",
        "np.result_type(np.float32, *wide)",
        "np.result_type(np.float16, *wide)",
        FUNCTIONAL,
    ),
    Mutant(
        "float64 rounded to float32",
        "dtypes.py",
        "return result\n",
        'return np.dtype("f4") if result == "f8" else result\n',
        FUNCTIONAL,
    ),
    Mutant("integers wrap", "dtypes.py", "wide = wide if bound < 2**63 else np.dtype(object)", "pass", FUNCTIONAL),
    Mutant("bound forgets the number of terms", "dtypes.py", "bound = terms * _mag", "bound = _mag", FUNCTIONAL),
    Mutant("bound forgets the bias", "dtypes.py", "(_magnitude(bias) if bias is not None else 0)", "0", FUNCTIONAL),
    Mutant("overflow wraps at the top", "dtypes.py", "or high > limits.max:", "or False:", FUNCTIONAL),
    Mutant("overflow wraps at the bottom", "dtypes.py", "if low < limits.min or high", "if high", FUNCTIONAL),
    Mutant("fold not counted in the bound", "reference.py", "terms *= math.prod(folds)", "pass", FUNCTIONAL),
    Mutant("lost bias", "dtypes.py", "sums += bias.reshape", "sums += 0 * bias.reshape", REFERENCE),
    Mutant("out_dtype ignored", "dtypes.py", 'return out_dtype.newbyteorder("=")', "return result", FUNCTIONAL),
    Mutant(
        "imaginary part dropped", "dtypes.py", "if out_dtype == np.bool_ or order", "if False and order", FUNCTIONAL
    ),
    # the call
    Mutant(
        "layout of x ignored",
        "call.py",
        '(np.moveaxis(array, -1, 1) if layout == "channels_last" else array)',
        "array",
        FUNCTIONAL,
    ),
    Mutant(
        "layout of y ignored",
        "call.py",
        '    if layout == "channels_last":\n        y =',
        "    if False:\n        y =",
        FUNCTIONAL,
    ),
    Mutant("weight not conjugated", "call.py", "grad, weight.conj()", "grad, weight", FUNCTIONAL),
    Mutant("x not conjugated", "call.py", "(call.x.conj(), grad) if", "(call.x, grad) if", FUNCTIONAL),
    Mutant("weight gradient not conjugated", "call.py", "fine.conj(), coarse, acc", "fine, coarse, acc", FUNCTIONAL),
    Mutant(
        "memory not checked",
        "memory.py",
        "if size > limit:",
        "if False:",
        "tests/test_functional.py::test_the_bytes_in_the_message_are_those_of_the_result",
    ),
    Mutant(
        "groups and dilation exchanged",
        "functional.py",
        "    groups: int = 1,\n    dilation: Any = 1,\n    *,",
        "    dilation: Any = 1,\n    groups: int = 1,\n    *,",
        FUNCTIONAL,
    ),
    # arrays
    Mutant("out may overlap", "arrays.py", "        _check_overlap(out, inputs)\n", "", FUNCTIONAL),
    Mutant("out of any dtype", "arrays.py", "    if dtype != wanted_dtype:", "    if False:", FUNCTIONAL),
    Mutant(
        "bfloat16 comes back as float32",
        "arrays.py",
        "(out_dtype is None and like.dtype == narrow)",
        "False",
        FUNCTIONAL,
    ),
    Mutant("memory format lost", "arrays.py", "if is_last and not", "if False and not", FUNCTIONAL),
    Mutant(
        "gradients silently lost",
        "arrays.py",
        "(torch.is_grad_enabled() and tensor.requires_grad)",
        "False",
        FUNCTIONAL,
    ),
    Mutant("masks silently lost", "arrays.py", "isinstance(value, np.ma.MaskedArray)", "False", FUNCTIONAL),
    Mutant(
        "torch dtypes may differ", "arrays.py", "            if dtype != first:", "            if False:", FUNCTIONAL
    ),
    Mutant("out may overlap itself", "arrays.py", "if step < covered and out.size:", "if step == 0:", FUNCTIONAL),
    # the string
    Mutant(
        "a field may stand twice", "geometry/notation.py", "if key in fields or key in words:", "if False:", PROBLEM
    ),
    Mutant("digits of every script", "geometry/notation.py", "[0-9]", r"\d", PROBLEM),
    # the engine
    Mutant("bias forgotten", "engine/micro.py", 'total = f.binary("fadd",', 'total = f.binary("fsub",', PLAN),
    Mutant("borders not zeroed", "engine/patch.py", "self.clear(line, low)", "self.clear(line, low * 0)", PLAN),
    Mutant(
        "a column beyond is read",
        "engine/patch.py",
        'cells = (self.of("size_w") - residue + step - 1) // step - first',
        'cells = (self.of("size_w") - residue + step - 1) // step - first + 1',
        PLAN,
    ),
    Mutant("a tap too few at a border", "engine/lower.py", "int(met[-1]) + 1", "int(met[-1])", PLAN),
    Mutant(
        "a shift off by one",
        "engine/schedule.py",
        "- self.layer.sides[axis].low",
        "- self.layer.sides[axis].low + 1",
        PLAN,
    ),
    Mutant(
        "tiles reach beyond the result",
        "engine/schedule.py",
        "if at + pick[n] > cells and not over:",
        "if at + pick[n] > cells and over:",
        PLAN,
    ),
    Mutant("the residual twice", "engine/store.py", 'x = f.binary("fadd", x,', 'x = f.binary("fadd", other,', PLAN),
    Mutant(
        "packed for anything", "engine/plan.py", "if weight.key != bound.weight_key:", "if weight.key is None:", PLAN
    ),
    Mutant("any packing, once seen", "engine/plan.py", "weight.key != ready[0].weight_key", "not weight.key", PLAN),
    Mutant("True is 1", "call.py", "if type(value) in _PLAIN:", "if type(value) in (*_PLAIN, bool, float):", PLAN),
    Mutant(
        "in place whatever the strides",
        "engine/gradient.py",
        "if any(count > 1 and strides",
        "if any(count < 0 and strides",
        "tests/engine/test_gradient.py",
    ),
    Mutant("a stretch too far", "engine/schedule.py", "start + first * inner", "start + (first + 1) * inner", PLAN),
    Mutant("images do not reach back", "engine/driver.py", ") - images)  # the last", "))  # the last", PLAN),
    # how exact
    Mutant("explicit word loses", "accuracies.py", "_current.get() if word is None else", "_current.get() or", WORDS),
    Mutant("strict allows more", "accuracies.py", 'word in ("strict", "bf16")', 'word == "bf16"', WORDS),
    Mutant("double as lax as single", "accuracies.py", " * unit / 2.0**-24", "", WORDS),
    Mutant("remembered without the word", "warm.py", "*options.items(), accuracy,", "*options.items(),", WORDS),
    Mutant(
        "gradients forget the word", "call.py", "weight_gradient, call.accuracy", 'weight_gradient, "strict"', WORDS
    ),
    Mutant("bf16 rounds half up", "dtypes.py", "even = (bits >> 16) & 1", "even = (bits >> 16) | 1", WORDS),
    Mutant(
        "tiny bf16 is not rounded",
        "call.py",
        'if accuracy == "bf16" and problem',
        'if accuracy == "x" and problem',
        WORDS,
    ),
    Mutant("bf16 packs what is not rounded", "engine/plan.py", "        array = self._rounded(array)\n", "", WORDS),
    Mutant(
        "foreign packing admitted",
        "engine/plan.py",
        "families.available(layer, host(), self.accuracy)",
        "families.available(layer, host(), 'fast')",
        WORDS,
    ),
    Mutant(
        "rounder skips the rest", "engine/rounding.py", "f.loop(stop, start=whole)", "f.loop(whole, start=whole)", WORDS
    ),
    Mutant("large tiles are standard", "engine/families.py", "return all(cut.m <= 2 or", "return all(True or", WORDS),
    Mutant("packing costs nothing", "engine/families.py", "if fresh else 0.0", "if False else 0.0", WORDS),
    # transforms
    Mutant("a block too long", "engine/fourier.py", "size - reach + 1, cells)", "size - reach + 2, cells)", FOURIER),
    Mutant(
        "convolved, not correlated",
        "engine/fourier.py",
        "np.conj(_rfft(dense, sizes, axes))",
        "_rfft(dense, sizes, axes)",
        FOURIER,
    ),
    Mutant("band begins elsewhere", "engine/fourier.py", "lead.low + first * lead.kept", "lead.low + first", FOURIER),
    Mutant(
        "phase of another place",
        "engine/fourier.py",
        "slice(line.start + at * side.step_out",
        "slice(line.start + at",
        FOURIER,
    ),
    Mutant(
        "flip forgotten",
        "engine/fourier.py",
        "tuple(range(2, weight.ndim))) if problem.flip",
        "()) if problem.flip",
        FOURIER,
    ),
    Mutant("BLAS takes threads", "engine/fourier.py", "_PRODUCT = 1 << 15", "_PRODUCT = 1 << 30", FOURIER),
    Mutant("NaN spreads", "engine/plan.py", "if not np.isfinite(view[image]).all()", "if False", FOURIER),
    Mutant("slope lost", "engine/fourier.py", "y * slope, y", "y * 0.01, y", FOURIER),
    Mutant(
        "key without sizes", "engine/fourier.py", "str(self.dtype), lines, sizes", "str(self.dtype), 0, sizes", FOURIER
    ),
    # Winograd's tiles
    Mutant("no mark of NaN", "engine/winograd_code.py", "met, _nothing(f, results)", "met, f.zero(kind)", WINOGRAD),
    Mutant("marks stay", "engine/bound.py", "record[self._marks :] = bytes(len(marks))", "pass", WINOGRAD),
    Mutant(
        "mark of the first image",
        "engine/driver.py",
        'launch, "marks", "ptr") + image',
        'launch, "marks", "ptr")',
        WINOGRAD,
    ),
    Mutant("small tiles unscaled", "engine/toom.py", "tuple(x * factor for x", "tuple(x for x", WINOGRAD),
    Mutant(
        "small tiles have all points", "engine/winograd_schedule.py", "cut.m > 1 and p ==", "False and p ==", WINOGRAD
    ),
    Mutant("bands cut tiles", "engine/winograd.py", "and last <= large", "and 0 <= large", WINOGRAD),
    Mutant(
        "a tile too many", "engine/winograd.py", "count = -(-cells // self.m)", "count = cells // self.m + 1", WINOGRAD
    ),
    Mutant(
        "gradient spreads NaN",
        "engine/winograd_gradient.py",
        "if not math.isfinite(float(np.vdot(out, out))):",
        "if False:",
        GRADIENT,
    ),
    Mutant(
        "tiles of all lines begin at 0",
        "engine/winograd_gradient.py",
        "return [0, *itertools.accumulate(lines)]",
        "return [0] * (1 + len(lines))",
        GRADIENT,
    ),
    Mutant("taps of another plane", "engine/winograd_gradient.py", "cut.taps[int(p)]", "cut.taps[0]", GRADIENT),
    # the benchmark's choice
    Mutant(
        "ratio the other way",
        "bench/figures.py",
        "seconds[planned] / seconds[first]",
        "seconds[first] / seconds[planned]",
        "tests/bench/test_bench_figures.py",
    ),
    Mutant(
        "fast is not checked",
        "bench/verdict.py",
        '"fast": (float("inf"), 2e-5, 1.0)',
        '"fast": (0.0, 2e-5, 0.0)',
        "tests/bench/test_bench_cli.py",
    ),
]


def main(words: list[str]) -> int:
    """Run the mutants whose names contain all words, print a table, and return 1 if one survived or did not apply."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    if not chosen:
        print(f"no mutant has {' and '.join(words)} in its name; there are: {', '.join(m.name for m in MUTANTS)}")
        return 1
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(PARALLEL) as pool:
        sane = unbroken(Path(folder) / "unbroken")
        if sane:
            print(f"the tests fail without any mutant:\n{sane}")
            return 1
        bad = 0
        outcomes = pool.map(lambda numbered: outcome(Path(folder) / str(numbered[0]), numbered[1]), enumerate(chosen))
        for mutant, (verdict, seconds) in zip(chosen, outcomes, strict=True):
            bad += not verdict.startswith("killed")
            print(f"{mutant.name:40} {mutant.file:20} {seconds:5.1f} s  {verdict}", flush=True)
    print(f"{len(chosen)} mutants, {bad} of them not killed, {time.monotonic() - start:.0f} s")
    return int(bad > 0)


def outcome(folder: Path, mutant: Mutant) -> tuple[str, float]:
    """Break a copy, run the tests on it; what happened, and in how many seconds."""
    start = time.monotonic()
    shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "twofold" / mutant.file
    source = file.read_text()
    if mutant.old not in source:
        return "NOT APPLIED: its text is no longer in the source", 0.0
    file.write_text(source.replace(mutant.old, mutant.new, 1))
    code, text = run(folder, mutant.tests)
    failed = next((line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
    # 1: a test failed; 2 and 4: the mutant does not even import, which is noticed but says nothing about the tests.
    verdicts = {0: "SURVIVED", 1: f"killed by {failed.partition('::')[2][:60]}", None: "killed: ran too long"}
    if code is not None and code < 0:
        return f"killed: the process died of signal {-code}", time.monotonic() - start
    return verdicts.get(code, f"BROKEN, pytest ended with {code}: {failed[:80]}"), time.monotonic() - start


def unbroken(folder: Path) -> str:
    """Run the tests on an unchanged copy: empty if they pass, and if the copy is what they import."""
    shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(folder)}
    where = subprocess.run(
        [sys.executable, "-c", "import twofold; print(twofold.__file__)"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if not where.startswith(str(folder)):
        return f"they import {where}"
    code, text = run(folder, " ".join(sorted({mutant.tests.partition("::")[0] for mutant in MUTANTS})))
    return "" if code == 0 else text[-3000:]


def run(folder: Path, tests: str) -> tuple[int | None, str]:
    """Run tests on the sources in `folder` up to the first failure."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"OMP_NUM_THREADS": "1", "TWOFOLD_MUTATE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-m", "not soak", *tests.split()]
    try:
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
