// What follows from the equation, without numbers. The twin of src/twofold/analysis: sizes, overlap, phases, chains.

import {
  type Axis, type Phase, coarseSize, evenKernels, extent, fine, gcd, mod, outputPadding, phase, products, smallestFine,
} from "./axis";
import { refusal } from "./errors";
import { type Problem, inSize, makeProblem, outChannels, outSize, parse, product, write } from "./problem";
import { copied } from "./taps";

// -- sizes --------------------------------------------------------------------------------------------------------

const KERNELS = 12;

export interface Solution { readonly axis: Axis; readonly coarse: number; readonly fine: number; readonly outputPadding: number }

export function solutionName({ axis, outputPadding: extra }: Solution): string {
  const pads = `${axis.before}` + (axis.after !== axis.before ? `:${axis.after}` : "");
  return `k${axis.kernel} s${axis.stride} p${pads}` + (axis.dilation > 1 ? ` d${axis.dilation}` : "") + (extra ? ` op${extra}` : "");
}

export type Overlapping = "even" | "uneven" | "holes";

export function kindOf(axes: readonly Axis[]): Overlapping {
  const fewest = product(axes.map((axis) => products(axis)[0]));
  const most = product(axes.map((axis) => products(axis)[1]));
  return fewest === 0 ? "holes" : fewest === most ? "even" : "uneven";
}

export interface Known { kernel?: number; stride?: number; padding?: number; dilation?: number; outputPadding?: number }

/** The layers between two sizes, even overlap first; where one size is missing it is found too. */
export function solve(coarse: number | null, size: number | null, known: Known = {}): Solution[] {
  if (coarse === null && size === null) throw refusal("solve.unknown");
  for (const [name, value] of [["coarse", coarse], ["fine", size]] as const) {
    if (value !== null && value < 1) throw refusal("solve.least", { name, value });
  }
  const found = new Map<string, Solution>();
  const kernels = known.kernel === undefined ? Array.from({ length: KERNELS }, (_, i) => i + 1) : [known.kernel];
  for (const kernel of kernels) {
    for (const stride of known.stride === undefined ? strides(coarse, size) : [known.stride]) {
      const bare: Axis = { kernel, stride, dilation: known.dilation ?? 1, before: 0, after: 0 };
      const pads = known.padding === undefined ? Array.from({ length: extent(bare) }, (_, i) => i) : [known.padding];
      for (const pad of pads) {
        for (const solution of between({ ...bare, before: pad, after: pad }, coarse, size)) {
          if (known.outputPadding !== undefined && solution.outputPadding !== known.outputPadding) continue;
          found.set(`${solutionName(solution)} ${solution.fine} ${solution.coarse}`, solution);
        }
      }
    }
  }
  return [...found.values()].sort((a, b) => {
    const [x, y] = [a, b].map(rank) as [number[], number[]];
    const at = x.findIndex((value, i) => value !== y[i]);
    return at < 0 ? 0 : x[at]! - y[at]!;
  });
}

const rank = ({ axis, fine: size, coarse }: Solution): number[] =>
  [["even", "uneven", "holes"].indexOf(kindOf([axis])), axis.kernel, axis.stride, axis.dilation, axis.before, size, coarse];

function strides(coarse: number | null, size: number | null): number[] {
  if (coarse === null || size === null) return [1, 2, 3, 4];
  const low = Math.max(Math.floor(size / coarse), 1);
  return size % coarse === 0 || size < coarse ? [low] : [low, low + 1];
}

/** The fine sizes that a convolution maps to `coarse`. */
export function fineSizes(axis: Axis, coarse: number): number[] {
  const smallest = smallestFine(axis, coarse);
  return Array.from({ length: axis.stride }, (_, i) => smallest + i).filter((size) => size >= 0);
}

function between(axis: Axis, coarse: number | null, size: number | null): Solution[] {
  if (coarse === null) {
    if (size === null || size + axis.before + axis.after < extent(axis)) return [];
    const found = coarseSize(axis, size);
    return [{ axis, coarse: found, fine: size, outputPadding: outputPadding(axis, found, size) }];
  }
  const sizes = fineSizes(axis, coarse);
  return (size === null ? sizes : [size]).filter((one) => one >= 1 && sizes.includes(one))
    .map((one) => ({ axis, coarse, fine: one, outputPadding: outputPadding(axis, coarse, one) }));
}

/** Every fine size that a convolution maps to `coarse`, with the output_padding that returns it. */
export const inputsOf = (axis: Axis, coarse: number): [number, number][] =>
  fineSizes(axis, coarse).filter((size) => size >= 1)
    .map((size) => [size, outputPadding(axis, coarseSize(axis, size), size)]);

export interface Convention { readonly name: string; readonly before: number; readonly after: number; readonly coarse: number }

/** How the frameworks pad one axis of a convolution. */
export function conventions(axis: Axis, size: number): Convention[] {
  const half = Math.floor((extent(axis) - 1) / 2);
  const words: [string, number | string][] = [
    [`PyTorch padding=${half}`, half], ["Keras SAME", "same"], ["ONNX SAME_UPPER", "same"], ["ONNX SAME_LOWER", "same_lower"],
  ];
  return words.map(([name, padding]) => {
    const made = makeProblem({
      op: "conv", in: [size], kernel: [axis.kernel], stride: [axis.stride], dilation: [axis.dilation],
      padding: typeof padding === "number" ? [[padding, padding]] : padding,
    });
    return { name, before: made.axes[0]!.before, after: made.axes[0]!.after, coarse: made.coarseSize[0]! };
  });
}

// -- overlap ------------------------------------------------------------------------------------------------------

export interface Verdict { readonly kind: Overlapping; readonly fewest: number; readonly most: number; readonly shared: number }

export function verdict(axes: readonly Axis[]): Verdict {
  return {
    kind: kindOf(axes), fewest: product(axes.map((axis) => products(axis)[0])),
    most: product(axes.map((axis) => products(axis)[1])), shared: Math.max(...axes.map((axis) => gcd(axis.stride, axis.dilation))),
  };
}

const MOST_CELLS = 10_000_000;

/** The counts along one axis through several layers: ways from an input cell to each output cell. */
export function chainCounts(layers: readonly Problem[], index: number): number[] {
  let ways = new Array<number>(inSize(layers[0]!)[index]!).fill(1);
  for (const layer of layers) {
    const axis = layer.axes[index]!;
    const size = outSize(layer)[index]!;
    if (Math.max(size, ways.length) * axis.kernel > MOST_CELLS) {
      throw refusal("counts.many", { size });
    }
    const after = new Array<number>(size).fill(0);
    for (let coarse = 0; coarse < layer.coarseSize[index]!; coarse++) {
      for (let tap = 0; tap < axis.kernel; tap++) {
        const cell = fine(axis, coarse, tap);
        if (cell < 0 || cell >= layer.fineSize[index]!) continue;
        if (layer.op === "conv_transpose") after[cell]! += ways[coarse]!;
        else after[coarse]! += ways[cell]!;
      }
    }
    ways = after;
  }
  return ways;
}

export { evenKernels };

// -- phases -------------------------------------------------------------------------------------------------------

export interface Part { readonly axes: Phase[]; readonly residue: number[]; readonly size: number[] }

/** The phases of the fine side, last axis fastest. */
export function parts(problem: Problem): Part[] {
  const all = product(problem.axes.map((axis) => axis.stride));
  if (all > 4096) throw refusal("phases.many", { all });
  const found: Part[] = [];
  for (let i = 0; i < all; i++) {
    let rest = i;
    const residue = problem.axes.map(() => 0);
    for (let a = problem.axes.length - 1; a >= 0; a--) {
      residue[a] = rest % problem.axes[a]!.stride;
      rest = Math.floor(rest / problem.axes[a]!.stride);
    }
    found.push({
      residue, axes: problem.axes.map((axis, a) => phase(axis, residue[a]!)),
      size: problem.axes.map((axis, a) => Math.max(0, Math.ceil((problem.fineSize[a]! - residue[a]!) / axis.stride))),
    });
  }
  return found;
}

// -- chains -------------------------------------------------------------------------------------------------------

const LAYERS = 64;
const MOST_WALKED = 200_000;

export interface Chain { readonly layers: readonly Problem[] }

/** Read layers that are parted by semicolons; i and ci of the later ones are filled in. */
export function parseChain(text: string): Chain {
  const layers: Problem[] = [];
  for (const part of text.split(";")) layers.push(parse(layers.length ? filled(part, layers.at(-1)!) : part));
  if (layers.length > LAYERS) throw refusal("chain.length", { most: LAYERS, found: layers.length });
  layers.slice(1).forEach((after, i) => {
    const before = layers[i]!;
    const channels = after.op === "conv" ? after.fineChannels : after.coarseChannels;
    if (String(outSize(before)) === String(inSize(after)) && outChannels(before) === channels) return;
    throw refusal("chain.fits", {
      layer: i + 1, channels, size: inSize(after).join(", "), before: i, given: outChannels(before), given_size: outSize(before).join(", ") });
  });
  return { layers };
}

function filled(part: string, before: Problem): string {
  const words = part.split(/\s+/).filter(Boolean);
  if (words.some((word) => /^i\d/.test(word))) return part;
  const op = words[0]?.startsWith("conv") ? [words.shift()!] : [];
  const keys = words.map((word) => word.slice(0, 2));
  const channels = ["ci", "co"].filter((key) => !keys.includes(key)).map((key) => key + outChannels(before));
  return [...op, ...channels, "i" + outSize(before).join("x"), ...words].join(" ");
}

export const chainText = (chain: Chain): string => chain.layers.map(write).join("; ");

/** What some output cells see along one axis: the cells of every level, from the input to the output. */
export function sees(chain: Chain, index: number, cells: readonly number[]): number[][] {
  const levels = [sorted(cells)];
  for (const layer of [...chain.layers].reverse()) levels.push(walk(layer, index, levels.at(-1)!, false));
  return levels.reverse();
}

/** What some input cells influence along one axis, level by level. */
export function reaches(chain: Chain, index: number, cells: readonly number[]): number[][] {
  const levels = [sorted(cells)];
  for (const layer of chain.layers) levels.push(walk(layer, index, levels.at(-1)!, true));
  return levels;
}

const sorted = (cells: Iterable<number>): number[] => [...new Set(cells)].sort((a, b) => a - b);

function walk(layer: Problem, index: number, cells: readonly number[], forwards: boolean): number[] {
  const axis = layer.axes[index]!;
  const [size, coarse] = [layer.fineSize[index]!, layer.coarseSize[index]!];
  if (cells.length * Math.min(axis.kernel, Math.max(size, coarse, 1)) > MOST_WALKED) {
    throw refusal("chain.walked", { cells: cells.length, most: MOST_WALKED });
  }
  const found = new Set<number>();
  if ((layer.op === "conv") === forwards) {
    const wanted = new Set(cells);
    // From fine to coarse: with a padding mode, a coarse cell may also meet a copy.
    if (layer.mode !== "zeros") {
      for (let c = 0; c < coarse; c++) {
        for (let tap = 0; tap < axis.kernel; tap++) if (wanted.has(copied(fine(axis, c, tap), size, layer.mode))) found.add(c);
      }
    } else {
      for (const cell of cells) {
        for (let tap = 0; tap < axis.kernel; tap++) {
          const distance = cell - fine(axis, 0, tap);
          const at = distance / axis.stride;
          if (mod(distance, axis.stride) === 0 && at >= 0 && at < coarse) found.add(at);
        }
      }
    }
  } else {
    for (const cell of cells) {
      for (let tap = 0; tap < axis.kernel; tap++) {
        const place = fine(axis, cell, tap);
        if (place >= 0 && place < size) found.add(place);
        else if (layer.mode !== "zeros") found.add(copied(place, size, layer.mode));
      }
    }
  }
  return sorted(found);
}

/** The formula's numbers after some layers: r, jump as a fraction, start. */
export interface Span { readonly r: number; readonly jump: [number, number]; readonly start: number }

export function spans(chain: Chain, index: number): Span[] {
  let jump: [number, number] = [1, 1];
  return chain.layers.map((layer, depth) => {
    const { stride } = layer.axes[index]!;
    jump = layer.op === "conv" ? [jump[0] * stride, jump[1]] : [jump[0], jump[1] * stride];
    const common = gcd(...jump);
    jump = [jump[0] / common, jump[1] / common];
    const layers = chain.layers.slice(0, depth + 1);
    return { r: widest(layers, index), jump, start: first(layers, index) };
  });
}

type Interval = [number, number]; // from, to (excluded)

const fineSpan = (axis: Axis, [from, to]: Interval): Interval =>
  from >= to ? [0, 0] : [fine(axis, from, 0), fine(axis, to - 1, axis.kernel - 1) + 1];

function coarseSpan(axis: Axis, [from, to]: Interval): Interval {
  if (from >= to) return [0, 0];
  return [Math.ceil((from - fine(axis, 0, axis.kernel - 1)) / axis.stride), Math.floor((to - 1 - fine(axis, 0, 0)) / axis.stride) + 1];
}

function widest(layers: readonly Problem[], index: number): number {
  let size = 1;
  for (const layer of [...layers].reverse()) {
    const axis = layer.axes[index]!;
    const start = fine(axis, 0, axis.kernel - 1);
    const span = layer.op === "conv" ? fineSpan(axis, [0, size]) : coarseSpan(axis, [start, start + size]);
    size = Math.max(0, span[1] - span[0]);
  }
  return size;
}

function first(layers: readonly Problem[], index: number): number {
  let cells: Interval = [0, 1];
  for (const layer of [...layers].reverse()) {
    const axis = layer.axes[index]!;
    cells = layer.op === "conv" ? fineSpan(axis, cells) : coarseSpan(axis, cells);
    if (cells[0] >= cells[1]) return 0;
  }
  return cells[0];
}

export const jumpText = ([over, under]: [number, number]): string => (under === 1 ? `${over}` : `${over}/${under}`);
