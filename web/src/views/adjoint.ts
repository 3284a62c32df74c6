// The transposed side of whatever is shown: phases and overlap belong to it.

import { adjoint } from "../engine/problem";
import { type Trace, makeTrace } from "../engine/trace";
import type { Cell, Selection } from "../store";

const known = new WeakMap<Trace, Trace>();

/** The trace itself if it is transposed, else its transpose with inputs that count 1, 2, 3, … */
export function transposedOf(trace: Trace): Trace {
  if (!trace.isConv) return trace;
  if (!known.has(trace)) {
    const made = makeTrace(adjoint(trace.problem));
    known.set(trace, made.with({ weight: trace.weight }));
  }
  return known.get(trace)!;
}

/** What is lit, seen from the other side: the output of one is the input of the other. */
export const turned = (selection: Selection): Selection => ({
  ...selection, cell: selection.cell && swapped(selection.cell), out: selection.inp, inp: selection.out,
});

export const swapped = (cell: Cell): Cell =>
  cell.array === "weight" ? cell : { array: cell.array === "input" ? "output" : "input", index: cell.index };
