// The multiplications as index tables. The twin of src/twofold/analysis/taps.py: the same rows in the same order.
//
// Any number of axes is folded into two: leading axes become one "row" axis, the last one is the column axis. A table
// holds, for each coarse cell and tap of a folded axis, the fine cell they meet at, or -1 for padding.

import { fine } from "./axis";
import { type Problem, coarseShape, fineShape, kernelSize, product, weightShape } from "./problem";
import { refusal } from "./errors";

const LARGEST_TABLE = 30_000_000;

/** Which cell of 0 … size - 1 a padded cell copies. */
export function copied(cell: number, size: number, mode: string): number {
  const turn = (value: number, period: number): number => ((value % period) + period) % period;
  if (mode === "replicate") return Math.min(Math.max(cell, 0), size - 1);
  if (mode === "circular") return turn(cell, Math.max(size, 1));
  return size - 1 - Math.abs(size - 1 - turn(cell, Math.max(2 * (size - 1), 1)));
}

interface Folded {
  readonly coarse: number; // cells of the coarse side along this folded axis
  readonly fine: number;
  readonly taps: number;
  readonly table: Int32Array; // (coarse, taps)
}

/** The entries of a folded axis by fine cell: those of cell i are entries[starts[i]] … entries[starts[i + 1] - 1]. */
interface Reversed { readonly starts: Int32Array; readonly entries: Int32Array } // an entry is coarse * taps + tap

/** Rows as three columns; `inp` is -1 where a window meets padding. */
export interface Rows { readonly out: number[]; readonly inp: number[]; readonly weight: number[] }

export class Taps {
  readonly rows: Folded;
  readonly columns: Folded;
  readonly cells: number; // coarse cells, all batches and channels
  readonly kernel: number; // taps of one pair of channels
  readonly perFine: number; // fine channels of a group
  readonly perCoarse: number;
  private readonly coarsePlane: number;
  private readonly finePlane: number;
  private reversed: [Reversed, Reversed] | null = null;

  constructor(readonly problem: Problem) {
    const axes = problem.axes.map((_, i) => alongAxis(problem, i));
    this.columns = axes.pop()!;
    this.rows = axes.reduce(joined, { coarse: 1, fine: 1, taps: 1, table: new Int32Array(1) });
    this.cells = product(coarseShape(problem));
    this.kernel = product(kernelSize(problem));
    this.perFine = problem.fineChannels / problem.groups;
    this.perCoarse = problem.coarseChannels / problem.groups;
    this.coarsePlane = product(problem.coarseSize);
    this.finePlane = product(problem.fineSize);
  }

  /** Products of one coarse cell, padding included. */
  get terms(): number {
    return this.perFine * this.kernel;
  }

  /** Call `visit(fine, weight)` for each product of a coarse cell, in order; fine is -1 in the padding. */
  visit(coarse: number, visit: (fine: number, weight: number) => void): void {
    const { rows, columns, kernel, perFine } = this;
    const position = coarse % this.coarsePlane;
    const channel = Math.floor(coarse / this.coarsePlane) % this.problem.coarseChannels;
    const batch = Math.floor(coarse / this.coarsePlane / this.problem.coarseChannels);
    const first = Math.floor(position / columns.coarse) * rows.taps;
    const second = (position % columns.coarse) * columns.taps;
    const plane = batch * this.problem.fineChannels + Math.floor(channel / this.perCoarse) * perFine;
    for (let c = 0; c < perFine; c++) {
      const base = (plane + c) * this.finePlane;
      const weights = (channel * perFine + c) * kernel;
      let tap = 0;
      for (let a = 0; a < rows.taps; a++) {
        const row = rows.table[first + a]!;
        for (let b = 0; b < columns.taps; b++, tap++) {
          const column = columns.table[second + b]!;
          const weight = weights + (this.problem.flip ? kernel - 1 - tap : tap);
          visit(row < 0 || column < 0 ? -1 : base + row * columns.fine + column, weight);
        }
      }
    }
  }

  /** The rows of one coarse cell; with the padding as -1 if asked. */
  ofCoarse(coarse: number, padding = false): Rows {
    const found = empty();
    this.visit(coarse, (cell, weight) => {
      if (cell >= 0 || padding) this.push(found, coarse, cell, weight);
    });
    return found;
  }

  /** The rows that meet one fine cell, in order. */
  ofFine(cell: number): Rows {
    const found = empty();
    const { rows, columns, kernel, perFine, perCoarse, problem } = this;
    const [upper, lower] = this.reverse();
    const position = cell % this.finePlane;
    const channel = Math.floor(cell / this.finePlane) % problem.fineChannels;
    const batch = Math.floor(cell / this.finePlane / problem.fineChannels);
    const pairs: { coarse: number; tap: number }[] = [];
    for (const r of entriesOf(upper, Math.floor(position / columns.fine))) {
      const [rowCell, rowTap] = [Math.floor(r / rows.taps) * columns.coarse, (r % rows.taps) * columns.taps];
      for (const c of entriesOf(lower, position % columns.fine)) {
        pairs.push({ coarse: rowCell + Math.floor(c / columns.taps), tap: rowTap + (c % columns.taps) });
      }
    }
    pairs.sort((a, b) => a.coarse - b.coarse || a.tap - b.tap);
    const group = Math.floor(channel / perFine);
    for (let k = group * perCoarse; k < (group + 1) * perCoarse; k++) {
      const weights = (k * perFine + (channel % perFine)) * kernel;
      const plane = (batch * problem.coarseChannels + k) * this.coarsePlane;
      for (const { coarse, tap } of pairs) {
        this.push(found, plane + coarse, cell, weights + (problem.flip ? kernel - 1 - tap : tap));
      }
    }
    return found;
  }

  /** The rows that use one weight cell; at most so many. */
  ofWeight(weight: number, most = Infinity): Rows {
    const found = empty();
    const { kernel, perFine, problem, coarsePlane } = this;
    const channel = Math.floor(weight / kernel / perFine);
    const within = Math.floor(weight / kernel) % perFine;
    const tap = problem.flip ? kernel - 1 - (weight % kernel) : weight % kernel;
    const [a, b] = [Math.floor(tap / this.columns.taps), tap % this.columns.taps];
    for (let batch = 0; batch < problem.batch; batch++) {
      const plane = batch * problem.fineChannels + Math.floor(channel / this.perCoarse) * perFine + within;
      for (let position = 0; position < coarsePlane && found.out.length < most; position++) {
        const row = this.rows.table[Math.floor(position / this.columns.coarse) * this.rows.taps + a]!;
        const column = this.columns.table[(position % this.columns.coarse) * this.columns.taps + b]!;
        if (row < 0 || column < 0) continue;
        const coarse = (batch * problem.coarseChannels + channel) * coarsePlane + position;
        this.push(found, coarse, plane * this.finePlane + row * this.columns.fine + column, weight);
      }
    }
    return found;
  }

  /** How many input cells one weight cell meets. */
  metBy(weight: number): number {
    const { kernel, problem, columns } = this;
    const tap = problem.flip ? kernel - 1 - (weight % kernel) : weight % kernel;
    const met = (folded: Folded, own: number): number => {
      const cells = new Set<number>();
      for (let coarse = 0; coarse < folded.coarse; coarse++) {
        const cell = folded.table[coarse * folded.taps + own]!;
        if (cell >= 0) cells.add(problem.op === "conv" ? cell : coarse);
      }
      return cells.size;
    };
    return problem.batch * met(this.rows, Math.floor(tap / columns.taps)) * met(columns, tap % columns.taps);
  }

  ofOutput = (cell: number): Rows => (this.problem.op === "conv" ? this.ofCoarse(cell) : this.ofFine(cell));
  ofInput = (cell: number): Rows => (this.problem.op === "conv" ? this.ofFine(cell) : this.ofCoarse(cell));

  /** Every row; the caller has looked at `count` first. */
  all(): Rows {
    const found = empty();
    for (let coarse = 0; coarse < this.cells; coarse++) {
      this.visit(coarse, (cell, weight) => {
        if (cell >= 0) this.push(found, coarse, cell, weight);
      });
    }
    return found;
  }

  /** How many multiplications there are, padding left out. */
  get count(): number {
    const inside = (folded: Folded): number => folded.table.reduce((n, cell) => n + (cell >= 0 ? 1 : 0), 0);
    const channels = product(weightShape(this.problem).slice(0, 2));
    return this.problem.batch * channels * inside(this.rows) * inside(this.columns);
  }

  private push(found: Rows, coarse: number, cell: number, weight: number): void {
    const conv = this.problem.op === "conv";
    found.out.push(conv ? coarse : cell);
    found.inp.push(conv ? cell : coarse);
    found.weight.push(weight);
  }

  // For each fine cell of a folded axis, the coarse cells and taps that meet it.
  private reverse(): [Reversed, Reversed] {
    this.reversed ??= [turned(this.rows), turned(this.columns)];
    return this.reversed;
  }
}

const empty = (): Rows => ({ out: [], inp: [], weight: [] });

// Counted, then filled: a table of millions takes milliseconds, where a list for each cell took seconds.
function turned({ table, fine: size }: Folded): Reversed {
  const starts = new Int32Array(size + 1);
  for (let entry = 0; entry < table.length; entry++) if (table[entry]! >= 0) starts[table[entry]! + 1]!++;
  for (let cell = 0; cell < size; cell++) starts[cell + 1]! += starts[cell]!;
  const next = starts.slice();
  const entries = new Int32Array(starts[size]!);
  for (let entry = 0; entry < table.length; entry++) if (table[entry]! >= 0) entries[next[table[entry]!]!++] = entry;
  return { starts, entries };
}

const entriesOf = ({ starts, entries }: Reversed, cell: number): Int32Array => entries.subarray(starts[cell], starts[cell + 1]);

function alongAxis(problem: Problem, i: number): Folded {
  const axis = problem.axes[i]!;
  const [coarse, size, taps] = [problem.coarseSize[i]!, problem.fineSize[i]!, axis.kernel];
  check(coarse * taps, coarse, size);
  const table = new Int32Array(coarse * taps);
  for (let c = 0; c < coarse; c++) {
    for (let tap = 0; tap < taps; tap++) {
      let cell = fine(axis, c, tap);
      if (cell < 0 || cell >= size) cell = problem.mode === "zeros" ? -1 : copied(cell, size, problem.mode);
      table[c * taps + tap] = cell;
    }
  }
  return { coarse, fine: size, taps, table };
}

function joined(a: Folded, b: Folded): Folded {
  const [coarse, taps, size] = [a.coarse * b.coarse, a.taps * b.taps, a.fine * b.fine];
  check(coarse * taps, coarse, size);
  const table = new Int32Array(coarse * taps);
  for (let c = 0; c < coarse; c++) {
    for (let tap = 0; tap < taps; tap++) {
      const first = a.table[Math.floor(c / b.coarse) * a.taps + Math.floor(tap / b.taps)]!;
      const second = b.table[(c % b.coarse) * b.taps + (tap % b.taps)]!;
      table[c * taps + tap] = first < 0 || second < 0 ? -1 : first * b.fine + second;
    }
  }
  return { coarse, fine: size, taps, table };
}

function check(entries: number, coarse: number, size: number): void {
  if (entries <= LARGEST_TABLE && size <= LARGEST_TABLE) return;
  throw refusal("table", { coarse, size });
}

export const arrayShape = (problem: Problem, side: "fine" | "coarse"): number[] =>
  side === "fine" ? fineShape(problem) : coarseShape(problem);
