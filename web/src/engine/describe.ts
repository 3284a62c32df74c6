// What a view says and shows, as plain data. The twin of src/twofold/explain/views and description.py, byte for byte.

import {
  type Chain, type Part, type Span, chainCounts, conventions, inputsOf, jumpText, kindOf, parts, reaches, sees,
  solutionName, solve, spans, verdict,
} from "./analysis";
import { type Axis, axisName, evenKernels, extent, fine, gcd, outputPadding, overlap, products, smallestFine, coarseSize } from "./axis";
import { codeOf } from "./code";
import { type Num, add, elided, number, plus, term } from "./numbers";
import {
  type Problem, coarseShape, inChannels, inSize, kernelSize, outChannels, outSize, product, sums, weightShape, write,
} from "./problem";
import { adjoint, canvasOf, constant, edges, gradientOnes, inputStep, resized, stretched, uncropped, weightStep } from "./relatives";
import { type Step, type Trace, type Values, ravel, unravel } from "./trace";
import { commas } from "./words";
import { say } from "../texts";

export interface Table { name: string; caption: string; rows: string[][]; flags: string[] | null }

export interface Description {
  view: string; tab: string | null; title: string; why: string[]; steps: number; step: number | null;
  formula: string; aria: string; tables: Table[]; code?: Record<string, string>;
}

const CELLS = 40;
const PLANES = 8;
const PARTS = 16;
const SHOWN_PHASES = 16;

/** One view of a trace, perhaps at one of its steps; for the field a step is a cell. */
export function describe(
  trace: Trace, view?: string | null, tab?: string | null, step?: number | null, chain?: Chain | null,
): Description {
  const own = trace.isConv ? "filter" : "transposed";
  const name = view ?? own;
  const first: Record<string, string> = { transposed: "paint", matrix: "plain", field: "receptive", gradient: "input" };
  const shown = tab ?? first[name] ?? null;
  const layers = chain ?? { layers: [trace.problem] };
  switch (name) {
    case "matrix": return matrixView(trace, shown!, step ?? null);
    case "phases": return phasesView(trace, step ?? null);
    case "overlap": return overlapView(trace, layers);
    case "sizes": return sizesView(trace.problem);
    case "field": return fieldView(shown!, step ?? null, layers);
    case "gradient": return gradientView(trace, shown!, step ?? null);
    case "image": return { ...empty("image", null, say("title.image")), why: [say("image.why")] };
    default: return ownView(trace, name, shown, step ?? null);
  }
}

const empty = (view: string, tab: string | null, title: string): Description =>
  ({ view, tab, title, why: [], steps: 0, step: null, formula: "", aria: "", tables: [] });

// -- tables -------------------------------------------------------------------------------------------------------

type Texts = (index: number) => string;
type Flags = (index: number) => string;

const texts = (values: ArrayLike<Num>): Texts => (index) => number(values[index]!);

function table(name: string, caption: string, rows: number, columns: number, text: Texts, flag?: Flags, start = 0): Table {
  const body: string[][] = [];
  const letters: string[] = [];
  for (let row = 0; row < rows; row++) {
    const at = (column: number): number => start + row * columns + column;
    body.push(Array.from({ length: columns }, (_, column) => text(at(column))));
    if (flag) letters.push(Array.from({ length: columns }, (_, column) => flag(at(column))).join(""));
  }
  return { name, caption, rows: body, flags: flag && /[^.]/.test(letters.join("")) ? letters : null };
}

/** An array (batch, channels, *size), or a weight, as tables of its last two axes, and what is left out. */
function planes(
  name: string, caption: string, shape: readonly number[], text: Texts, flag?: Flags, weight = false,
): [Table[], string[]] {
  const lead = shape.slice(0, Math.max(2, shape.length - 2));
  const [rows, columns] = shape.length === 3 ? [1, shape[2]!] : [shape.at(-2)!, shape.at(-1)!];
  if (Math.max(rows, columns) > CELLS) return [[], [say("why.large", { name: caption, rows, columns, most: CELLS })]];
  if (!product(shape)) return [[], []];
  const count = product(lead);
  const found = Array.from({ length: Math.min(count, PLANES) }, (_, index) => {
    const [batch, channel, ...depth] = unravel(index, lead);
    const plane = weight ? (lead[0]! * lead[1]! > 1 ? ` ${batch},${channel}` : "")
      : (lead[1]! > 1 ? ` channel ${channel}` : "") + (lead[0]! > 1 ? ` of batch ${batch}` : "");
    const title = caption + plane + (depth.length ? ` depth ${depth.join(",")}` : "");
    return table(count > 1 ? `${name}-${index}` : name, title, rows, columns, text, flag, index * rows * columns);
  });
  const more = count - found.length;
  return [found, more ? [say("why.planes", { count: more, name: caption, more })] : []];
}

const words = (name: string, caption: string, rows: string[][]): Table => ({ name, caption, rows, flags: null });
const perAxis = (values: readonly (number | string)[]): string =>
  new Set(values.map(String)).size === 1 ? String(values[0]) : values.join("x");
const nameOf = (p: Problem, i: number): string => axisName(i, p.axes.length);
const same = (a: ArrayLike<Num>, b: ArrayLike<Num>): boolean =>
  a.length === b.length && Array.from(a).every((value, i) => number(value) === number(b[i]!) && equal(value, b[i]!));

function equal(a: Num, b: Num): boolean {
  if (typeof a === "object" && typeof b === "object") return equal(a.re, b.re) && equal(a.im, b.im);
  return a === b || (Number.isNaN(a) && Number.isNaN(b));
}

// -- the operation's own view -------------------------------------------------------------------------------------

function ownView(trace: Trace, view: string, tab: string | null, step: number | null): Description {
  const why = [...firstWords(trace, tab), ...options(trace), ...sizeText(trace.problem)];
  let tables: Table[] = [];
  let steps = tab === "gather" || tab === "zero-insert" ? product(trace.outShape) : trace.count;
  let source: (index: number) => Step = (index) => (tab === "gather" ? trace.dot(index) : trace.step(index));
  if (tab === "zero-insert") {
    const turned = stretched(trace);
    steps = turned.count;
    source = (index) => turned.dot(index);
    const [found, more] = zeroTables(trace, turned);
    tables = found;
    why.push(...more);
  } else if (tab !== null) {
    why.push(...canvasText(trace.problem), ...foldText(trace.problem), say("why.inverse"));
    if (tab === "paint") tables = [...partTables(trace), ...canvasTables(trace)];
  } else why.push(...foldText(trace.problem));
  if (trace.withheld) why.push(say("why.withheld", { reason: trace.withheld }));
  const chosen = step === null ? null : source(step);
  return {
    view, tab, title: say(`title.${tab ?? view}`), why, steps, step, formula: chosen?.formula() ?? "",
    aria: chosen?.aria ?? "", tables,
  };
}

function firstWords(trace: Trace, tab: string | null): string[] {
  if (tab !== "zero-insert") return [say(`why.${tab ?? "filter"}`)];
  const strides = trace.problem.axes.map((axis) => axis.stride - 1);
  const count = new Set(strides).size === 1 ? strides[0]! : null;
  const first = strides.some(Boolean) ? say("why.zero-insert", { count, zeros: perAxis(strides) }) : say("why.zero-insert.none");
  let sides = edges(trace.problem);
  let names = sides.map((_, i) => nameOf(trace.problem, i));
  if (new Set(sides.map(String)).size === 1) [sides, names] = [sides.slice(0, 1), [names.join(" x ")]];
  return [first, ...sides.map(([before, after], i) => say("why.zero-insert.edges", { axis: names[i]!, before, after }))];
}

function options(trace: Trace): string[] {
  const { problem: p } = trace;
  const transposed = p.op === "conv_transpose";
  const found: string[] = [];
  if (p.axes.some((axis) => axis.stride > 1)) {
    found.push(say(transposed ? "why.stride.transposed" : "why.stride", { stride: perAxis(p.axes.map((axis) => axis.stride)) }));
  }
  if (p.axes.some((axis) => axis.dilation > 1)) {
    found.push(say("why.dilation", { dilation: perAxis(p.axes.map((axis) => axis.dilation)) }));
  }
  if (p.axes.some((axis) => axis.before || axis.after > 0) && !transposed && p.mode === "zeros") {
    const pads = p.axes.map((axis) => `${axis.before}` + (axis.after !== axis.before ? `:${axis.after}` : ""));
    found.push(say("why.padding", { padding: perAxis(pads) }));
  }
  const width = Math.floor(inChannels(p) / p.groups);
  if (p.groups > 1) found.push(say("why.channels.grouped", { count: width, groups: p.groups, channels: width }));
  else if (width > 1) found.push(say("why.channels", { channels: width }));
  if (p.flip) found.push(say("why.flip"));
  if (trace.bias) found.push(say("why.bias"));
  return found;
}

function sizeText(p: Problem): string[] {
  const lines = sums(p);
  const bare = lines.map((line) => line.slice(0, line.lastIndexOf(" = ")));
  const sizes = outSize(p).join(", ");
  if (new Set(bare).size === 1) return [say("size.output", { sizes, sum: bare[0]! })];
  return [say("size.output.several", { sizes }), ...lines.map((line, i) => `  ${nameOf(p, i)}: ${line}`)];
}

function canvasText(p: Problem): string[] {
  if (p.op === "conv" || p.mode !== "zeros") return [];
  const canvas = canvasOf(p);
  const crops = canvas.map(({ before, after }) => {
    if (after >= 0) return before || after ? say("why.crop", { before, after }) : "";
    const added = say("why.crop.add", { count: -after, added: -after });
    return before ? say("why.crop.both", { before, added }) : added;
  });
  if (!crops.some(Boolean)) return [];
  if (new Set(crops).size === 1) return [say("why.canvas", { sizes: canvas.map((axis) => axis.size).join(", "), crop: crops[0]! })];
  return canvas.map((axis, i) => say("why.canvas.axis", { axis: nameOf(p, i), size: axis.size, crop: crops[i] || say("why.crop.none") }));
}

function foldText(p: Problem): string[] {
  if (p.mode === "zeros" || !p.axes.some((axis) => axis.before || axis.after > 0)) return [];
  return [say(p.op === "conv" ? "why.padding.copies" : "why.padding.folds", { mode: p.mode })];
}

function zeroTables(trace: Trace, turned: Trace): [Table[], string[]] {
  const { problem: p } = trace;
  const wrong = stretched(trace, false);
  const shape = turned.inShape;
  const flag: Flags = (index) => {
    const cell = unravel(index, shape).slice(2);
    const inside = cell.every((at, i) => {
      const [first, last] = spanOf(p, i, shape[i + 2]!);
      return at >= first && at <= last;
    });
    if (!inside) return "p";
    return cell.every((at, i) => (at - spanOf(p, i, shape[i + 2]!)[0]) % p.axes[i]!.stride === 0) ? "." : "z";
  };
  const [tables, why] = planes("stretched", say("zero.stretched"), shape, texts(turned.x), flag);
  tables.push(...planes("turned", say("zero.turned"), turned.weightShape, texts(turned.weight), undefined, true)[0]);
  if (turned.withheld) return [tables, why];
  for (const [name, key, found] of [["zero-insert", "zero.output", turned], ["unturned", "zero.unturned", wrong]] as const) {
    tables.push(...planes(name, say(key), turned.outShape, texts(found.y))[0]);
  }
  const equal = same(turned.y, trace.y) ? say("why.zero-insert.equal") :
    p.mode === "zeros" ? say("why.zero-insert.differs") : say("why.zero-insert.folded", { mode: p.mode });
  return [tables, [...why, equal, say(same(wrong.y, trace.y) ? "why.zero-insert.same" : "why.zero-insert.unequal")]];
}

// The first and last place of input cells in the stretched input that are not cut away.
function spanOf(p: Problem, i: number, size: number): [number, number] {
  const axis = p.axes[i]!;
  const places = Array.from({ length: p.coarseSize[i]! }, (_, c) => fine(axis, c, axis.kernel - 1)).filter((at) => at >= 0 && at < size);
  return places.length ? [places[0]!, places.at(-1)!] : [0, -1];
}

function partTables(trace: Trace): Table[] {
  const { problem: p } = trace;
  const single = p.batch === 1 && inChannels(p) === 1 && outChannels(p) === 1;
  if (!single || p.axes.length > 2 || trace.count > PARTS || trace.withheld) return [];
  return Array.from({ length: trace.count }, (_, index) => {
    const { total, seen } = trace.painted(index);
    const name = ["part", ...(p.axes.length === 1 ? ["0"] : []), ...unravel(index, inSize(p))].join("-");
    return planes(name, `${term(trace.x[index]!)}*K`, trace.outShape, texts(total), (i) => (seen[i] ? "." : "o"))[0];
  }).flat();
}

function canvasTables(trace: Trace): Table[] {
  const { problem: p } = trace;
  if (trace.withheld || !canvasText(p).length) return [];
  const whole = uncropped(trace);
  const canvas = canvasOf(p);
  const shape = [...whole.outShape.slice(0, 2), ...canvas.map((axis) => axis.size + Math.max(-axis.after, 0))];
  const inner = (cell: readonly number[]): boolean => cell.slice(2).every((at, i) => at < canvas[i]!.size);
  const kept = (cell: readonly number[]): boolean => cell.slice(2).every((at, i) =>
    at >= canvas[i]!.before && at < canvas[i]!.before + outSize(p)[i]!);
  return planes("canvas", say("page.canvas"), shape, (index) => {
    const cell = unravel(index, shape);
    return inner(cell) ? number(whole.y[ravel(cell, whole.outShape)]!) : "0";
  }, (index) => {
    const cell = unravel(index, shape);
    return !inner(cell) ? "n" : kept(cell) ? "." : "x";
  })[0];
}

// -- the matrix ---------------------------------------------------------------------------------------------------

const numbersText = (values: Values): string => elided(Array.from(values as ArrayLike<Num>), number).join(", ");

function matrixView(trace: Trace, tab: string, step: number | null): Description {
  const { problem: p } = trace;
  const turned = tab === "transpose";
  const name = trace.isConv !== turned ? "C" : "C^T";
  const other = name === "C" ? "C^T" : "C";
  const [outs, inputs] = [product(trace.outShape.slice(1)), product(trace.inShape.slice(1))];
  const [rows, columns] = turned ? [inputs, outs] : [outs, inputs];
  const at = new Map<number, Num>();
  const cells = p.batch ? trace.count / p.batch : 0;
  for (let coarse = 0; coarse < cells; coarse++) {
    trace.taps.visit(coarse, (cell, w) => {
      if (cell < 0) return;
      const [out, inp] = trace.isConv ? [coarse, cell] : [cell, coarse];
      const key = turned ? inp * outs + out : out * inputs + inp;
      const before = at.get(key);
      at.set(key, before === undefined ? trace.weight[w]! : plus(before, trace.weight[w]!));
    });
  }
  const shown = turned ? adjoint(trace) : trace;
  const why = [
    say("matrix.shape", { name, rows, columns }), say("matrix.rows"),
    say("matrix.count", { count: at.size, places: rows * columns, weights: product(weightShape(p)) }),
  ];
  if (p.batch > 1) why.push(say("matrix.sample", { batch: p.batch }));
  if (turned) why.push(say("matrix.transpose"), say("matrix.applied", { name, numbers: numbersText(shown.y) }));
  else if (!trace.withheld) {
    const plain = trace.bias ? trace.with({ bias: null }).y : trace.y;
    why.push(say("matrix.round-trip", { name, other, numbers: numbersText(adjoint(trace, plain).y) }));
  }
  const tables: Table[] = [];
  if (Math.max(rows, columns) <= CELLS) {
    tables.push(table("matrix", "matrix", rows, columns, (i) => number(at.get(i) ?? 0), (i) => (at.has(i) ? "." : "o")));
    const [first, second] = turned ? [trace.outShape, trace.inShape] : [trace.inShape, trace.outShape];
    tables.push(words("columns", "columns", [labels("x", first)]), words("rows", "rows", [labels("y", second)]));
  } else why.push(say("why.large", { name, rows, columns, most: CELLS }));
  const chosen = step === null ? null : shown.dot(step);
  return {
    view: "matrix", tab, title: say(turned ? "title.matrix.transpose" : "title.matrix"), why,
    steps: product(shown.outShape.slice(1)), step, formula: chosen?.formula() ?? "", aria: chosen?.aria ?? "", tables,
  };
}

function labels(letter: string, shape: readonly number[]): string[] {
  const one = [1, ...shape.slice(1)];
  const short = Math.max(...one) <= 10;
  return Array.from({ length: product(one) }, (_, i) => {
    const text = commas(unravel(i, one), one);
    return letter + (short ? text.replaceAll(",", "") : `(${text})`);
  });
}

// -- phases -------------------------------------------------------------------------------------------------------

export function phaseName(p: Problem, part: Part): string {
  return `(${part.residue.map((residue, i) => {
    const { stride } = p.axes[i]!;
    if (stride === 1) return say("phases.all");
    return stride === 2 ? say(residue ? "phases.odd" : "phases.even") : say("phases.residue", { residue, stride });
  }).join(", ")})`;
}

// The taps of a phase, of every kernel, as flat weight cells, and the shape they have.
export function subKernels(trace: Trace, part: Part): [number[], number[]] {
  const { problem: p } = trace;
  const kernel = kernelSize(p);
  const size = product(kernel);
  const inner = part.axes.map((axis) => axis.taps.length);
  const shape = [...weightShape(p).slice(0, 2), ...inner];
  const cells = Array.from({ length: product(shape) }, (_, i) => {
    const [first, second, ...place] = unravel(i, shape);
    const tap = ravel(place.map((at, a) => part.axes[a]!.taps[at]!), kernel);
    return (first! * shape[1]! + second!) * size + (p.flip ? size - 1 - tap : tap);
  });
  return [cells, shape];
}

const isHole = (part: Part): boolean => part.axes.some((axis) => !axis.taps.length);

function phaseSum(trace: Trace, part: Part): Num {
  if (isHole(part)) return 0;
  const [cells, shape] = subKernels(trace, part);
  const [width, inner] = [trace.problem.coarseChannels / trace.problem.groups, product(shape.slice(2))];
  const values: Num[] = [];
  for (let channel = 0; channel < width; channel++) {
    for (let i = 0; i < inner; i++) values.push(trace.weight[cells[channel * shape[1]! * inner + i]!]!);
  }
  return add(values);
}

export function phaseFormula(trace: Trace, part: Part): string {
  const phase = phaseName(trace.problem, part);
  if (isHole(part)) return say("phases.hole", { phase });
  const taps = part.axes.map((axis) => `{${elided(axis.taps, String).join(",")}}`).join(" x ");
  return say("phases.formula", { phase, taps, sum: number(phaseSum(trace, part)) });
}

function sumsText(trace: Trace, found: readonly Part[]): string[] {
  if (found.length === 1) return [];
  const all = found.map((part) => number(phaseSum(trace, part)));
  if (new Set(all).size === 1) return [say("phases.sums.equal", { sum: all[0]! })];
  return [say("phases.sums.differ", { sums: elided(all, String).join(", ") })];
}

function costText(trace: Trace): string {
  const { problem: p } = trace;
  const [output, taps] = [product(p.fineSize), product(kernelSize(p))];
  const channels = p.batch * product(weightShape(p).slice(0, 2));
  return say(channels === 1 ? "phases.cost" : "phases.cost.channels", {
    output, taps, channels, stretched: channels * output * taps, real: trace.taps.count,
  });
}

function phasesView(trace: Trace, step: number | null): Description {
  const { problem: p } = trace;
  const transposed = p.op === "conv_transpose";
  const found = parts(p);
  const why = [say(found.length === 1 ? "phases.single" : transposed ? "phases.transposed" : "phases.conv")];
  if (found.length > SHOWN_PHASES) why.push(say("phases.many", { phases: found.length, most: SHOWN_PHASES }));
  const tables: Table[] = [];
  const values = transposed ? (trace.withheld ? null : trace.y) : trace.x;
  const whole = transposed ? trace.outShape : trace.inShape;
  found.slice(0, SHOWN_PHASES).forEach((part, index) => {
    const phase = phaseName(p, part);
    if (!isHole(part)) {
      const [cells, shape] = subKernels(trace, part);
      tables.push(...planes(`kernel-${index}`, say("phases.kernel", { phase }), shape, (i) => number(trace.weight[cells[i]!]!), undefined, true)[0]);
    }
    if (!values) return;
    const shape = [...whole.slice(0, 2), ...part.size];
    tables.push(...planes(`phase-${index}`, say(transposed ? "phases.output" : "phases.input", { phase }), shape, (i) => {
      const [batch, channel, ...place] = unravel(i, shape);
      const cell = place.map((at, a) => at * p.axes[a]!.stride + part.residue[a]!);
      return number(values[ravel([batch!, channel!, ...cell], whole)]!);
    })[0]);
  });
  if (transposed) why.push(...sumsText(trace, found), costText(trace));
  const formula = step === null ? "" : phaseFormula(trace, found[step]!);
  const aria = step === null ? "" : say("phases.aria", { phase: step + 1, phases: found.length, text: formula });
  return { view: "phases", tab: null, title: say("title.phases"), why, steps: found.length, step, formula, aria, tables };
}

// -- overlap ------------------------------------------------------------------------------------------------------

export function verdictText(axes: readonly Axis[]): string {
  const { kind, fewest, most } = verdict(axes);
  if (kind === "even") return say("overlap.even", { count: most, most });
  const bad = axes.find((axis) => (kind === "holes" ? products(axis)[0] === 0 : products(axis)[0] !== products(axis)[1]))!;
  const shared = gcd(bad.stride, bad.dilation);
  const key = shared > 1 ? "overlap.holes.shared" : kind === "holes" ? "overlap.holes.small" : "overlap.uneven";
  return say(key, {
    kernel: bad.kernel, stride: bad.stride, dilation: bad.dilation, shared, fewest, most, rank: axes.length,
    sizes: evenKernels(bad).join(say("overlap.or")),
  });
}

function outer(lines: readonly (readonly number[])[]): number[] {
  return lines.reduce<number[]>((all, line) => all.flatMap((value) => line.map((one) => value * one)), [1]);
}

const counts = (name: string, caption: string, lines: readonly (readonly number[])[]): Table[] => {
  const values = outer(lines);
  return planes(name, caption, [1, 1, ...lines.map((line) => line.length)], (i) => String(values[i]), (i) => (values[i] ? "." : "o"))[0];
};

function overlapView(trace: Trace, chain: Chain): Description {
  const { problem: p } = trace;
  const transposed = p.op === "conv_transpose";
  const text = verdictText(p.axes);
  const why = [say(transposed ? "overlap.transposed" : "overlap.conv"), text];
  const tables: Table[] = [];
  const rank = p.axes.length;
  const line = (i: number): number[] => overlap(p.axes[i]!, p.coarseSize[i]!, p.fineSize[i]!);
  if (rank > 1) {
    p.axes.forEach((_, i) => {
      if (p.fineSize[i]! > CELLS) return;
      const values = line(i);
      tables.push(table(`strip-${nameOf(p, i)}`, say("overlap.strip", { axis: nameOf(p, i) }), 1, values.length, (at) => String(values[at])));
    });
  }
  const whole = Math.max(...p.fineSize) <= CELLS;
  if (whole) tables.push(...counts("overlap", say("overlap.counts"), p.axes.map((_, i) => line(i))));
  if (transposed && whole && !trace.withheld) {
    const plain = (name: string, caption: string, one: Trace): Table[] =>
      planes(name, caption, [Math.min(1, one.outShape[0]!), ...one.outShape.slice(1)], texts(one.y))[0];
    tables.push(...plain("constant", say("overlap.constant"), constant(trace)));
    const other = resized(trace);
    if (other && !other.withheld) {
      tables.push(...plain("resize", say("overlap.resize", { sizes: inSize(other.problem).join("x") }), other));
    }
    if (product(p.axes.map((axis) => axis.stride)) <= 64) why.push(...sumsText(trace, parts(p)));
  }
  for (let depth = 2; depth <= chain.layers.length; depth++) {
    const lines = p.axes.map((_, i) => chainCounts(chain.layers.slice(0, depth), i));
    const inner = lines.map((all) => all.slice(Math.floor(all.length / 4), all.length - Math.floor(all.length / 4)));
    const fewest = product(inner.map((all) => Math.min(...all)));
    const most = product(inner.map((all) => Math.max(...all)));
    why.push(say(fewest === most ? "overlap.inner.same" : "overlap.inner", { layers: depth, fewest, most }));
    if (Math.max(...lines.map((all) => all.length)) <= CELLS) {
      tables.push(...counts(`stack-${depth}`, say("overlap.stack.caption", { layers: depth }), lines));
    }
  }
  return { ...empty("overlap", null, say("title.overlap")), why, formula: text, aria: text, tables };
}

// -- sizes --------------------------------------------------------------------------------------------------------

function sizesView(p: Problem): Description {
  const lines = sums(p);
  const formula = new Set(lines).size === 1 ? lines[0]! :
    lines.map((text, i) => say("sizes.axis", { axis: nameOf(p, i), text })).join("\n");
  const why: string[] = [];
  const tables: Table[] = [];
  const known = new Set<string>();
  p.axes.forEach((axis, i) => {
    const [coarse, size] = [p.coarseSize[i]!, p.fineSize[i]!];
    const key = JSON.stringify([axis.kernel, axis.stride, axis.dilation, axis.before, axis.after, coarse, size]);
    if (known.has(key) || Math.min(coarse, size) < 1) return;
    known.add(key);
    axisSizes(p, axis, coarse, size, known.size > 1 ? `-${nameOf(p, i)}` : "", why, tables);
  });
  return {
    ...empty("sizes", null, say("title.sizes")), why, formula, aria: formula.replaceAll("\n", "; "), tables, code: codeOf(p),
  };
}

function axisSizes(p: Problem, axis: Axis, coarse: number, size: number, suffix: string, why: string[], tables: Table[]): void {
  const layer = solutionName({ axis, coarse, fine: size, outputPadding: 0 });
  if (axis.stride <= 64) {
    const pairs = inputsOf(axis, coarse).slice(0, 12);
    const names = pairs.map(([one]) => String(one));
    const inputs = names.length > 1 ? names.slice(0, -1).join(", ") + say("sizes.and") + names.at(-1)! : names.join("");
    const paddings = pairs.map(([one, padding]) => say("sizes.inputs.entry", { padding, size: one })).join(", ");
    why.push(say("sizes.inputs", { count: pairs.length, coarse, layer, inputs, paddings }));
  }
  if (p.op === "conv") {
    const extra = outputPadding(axis, coarseSize(axis, size), size);
    why.push(say(extra ? "sizes.back" : "sizes.back.exact", { coarse, smallest: smallestFine(axis, coarseSize(axis, size)), padding: extra, fine: size }));
  }
  const found = Math.max(coarse, size) < 1e9 ? solve(coarse, size, { dilation: axis.dilation }) : [];
  if (found.length) {
    const rows = found.slice(0, 24).map((one) => [solutionName(one), say(`sizes.kind.${kindOf([one.axis])}`)]);
    tables.push(words(`solutions${suffix}`, say("sizes.solutions", { coarse, fine: size }), rows));
  } else why.push(say("sizes.none", { coarse, fine: size, kernels: 12 }));
  if (extent(axis) > size) return;
  const rows = conventions(axis, size);
  const [torch, keras] = [rows[0]!, rows[1]!];
  const shift = Math.abs(torch.before - keras.before);
  if (shift && torch.coarse === keras.coarse) {
    why.push(say("sizes.shift", {
      count: shift, first: keras.name, a: keras.before, b: keras.after, second: torch.name, c: torch.before, d: torch.after, cells: shift,
    }));
  }
  tables.push(words(`conventions${suffix}`, say("sizes.conventions", { fine: size }),
    rows.map((one) => [one.name, String(one.before), String(one.after), String(one.coarse)])));
}

// -- field --------------------------------------------------------------------------------------------------------

/** A sorted set: neighbours as a range, others one by one. */
export function setText(cells: readonly number[]): string {
  if (!cells.length) return say("field.nothing");
  const [first, last] = [cells[0]!, cells.at(-1)!];
  if (cells.length > 2 && last - first + 1 === cells.length) return say("field.set", { first, last });
  return elided(cells, String).join(", ");
}

function fieldView(tab: string, step: number | null, chain: Chain): Description {
  const [first, last] = [chain.layers[0]!, chain.layers.at(-1)!];
  const receptive = tab === "receptive";
  const size = receptive ? outSize(last) : inSize(first);
  const cell = step === null ? size.map((n) => Math.floor(n / 2)) : unravel(step, size);
  const walk = receptive ? sees : reaches;
  const levels = cell.map((at, axis) => walk(chain, axis, [at]));
  const ends = levels.map((level) => (receptive ? level[0]! : level.at(-1)!));
  const count = product(ends.map((end) => end.length));
  const key = receptive ? "field.formula" : "field.reach";
  const place = `(${cell.join(",")})`;
  const name = (i: number): string => nameOf(first, i);
  const sets = ends.map((end, i) => say("field.axis", { axis: name(i), set: setText(end) })).join(", ");
  const formula = count ? say(key, { count, cell: place, sets }) : say(`${key}.none`, { cell: place });
  const numbers = cell.map((_, axis) => spans(chain, axis));
  const why = [say(`field.${tab}`), ...formulas(first, numbers)];
  if (receptive) why.push(...badges(first, numbers, ends));
  const layer = (one: Problem, index: number): string => say("field.layer", { index, layer: write(one) });
  const tables = numbers.map((lines, axis) => words(`spans-${name(axis)}`, say("field.numbers", { axis: name(axis) }),
    lines.map((span, i) => [layer(chain.layers[i]!, i), String(span.r), jumpText(span.jump), String(span.start)])));
  const names = [say("field.input"), ...chain.layers.map(layer)];
  tables.push(words("levels", say("field.levels"), names.map((one, i) => [one, ...levels.map((axis) => setText(axis[i]!))])));
  return { view: "field", tab, title: say(`title.field.${tab}`), why, steps: product(size), step, formula, aria: formula, tables };
}

const alikeSpans = (a: readonly Span[], b: readonly Span[]): boolean => JSON.stringify(a) === JSON.stringify(b);

function formulas(p: Problem, numbers: readonly Span[][]): string[] {
  return numbers.flatMap((lines, axis) => {
    if (axis && alikeSpans(lines, numbers[0]!)) return [];
    const same = numbers.every((other) => alikeSpans(other, lines));
    return [say("field.spans", {
      axis: same ? numbers.map((_, i) => nameOf(p, i)).join(" x ") : nameOf(p, axis), r: lines.map((span) => span.r).join(", "),
      jump: lines.map((span) => jumpText(span.jump)).join(", "), start: lines.map((span) => span.start).join(", "),
    })];
  });
}

function badges(p: Problem, numbers: readonly Span[][], ends: readonly number[][]): string[] {
  const found = numbers.flatMap((lines, axis) => {
    const cells = ends[axis]!;
    const { r } = lines.at(-1)!;
    const span = cells.length ? cells.at(-1)! - cells[0]! + 1 : 0;
    if (span > cells.length) return [say("field.gaps", { count: cells.length, axis: nameOf(p, axis), span, set: setText(cells) })];
    return cells.length === r ? [] : [say("field.edge", { count: cells.length, axis: nameOf(p, axis), r })];
  });
  if (found.length) return found;
  const widths = numbers.map((lines) => String(lines.at(-1)!.r));
  if (new Set(widths).size === 1) return [say("field.agrees", { r: widths[0]! })];
  return [say("field.agrees.axes", { r: widths.join(" x ") })];
}

// -- gradients ----------------------------------------------------------------------------------------------------

function gradientView(trace: Trace, tab: string, step: number | null): Description {
  const ones = gradientOnes(trace);
  const other = adjoint(trace, ones);
  const why = [say(`gradient.${tab}`), say("gradient.ones")];
  let tables: Table[] = [];
  let more: string[] = [];
  const input = tab === "input";
  if (trace.withheld) why.push(say("why.withheld", { reason: trace.withheld }));
  else if (input) [tables, more] = planes("grad-input", say("gradient.caption.input"), other.outShape, texts(other.y));
  else {
    const values = Array.from({ length: trace.weight.length }, (_, i) => weightStep(trace, ones, i).result);
    [tables, more] = planes("grad-weight", say("gradient.caption.weight"), trace.weightShape, texts(values), undefined, true);
    if (trace.bias) {
      const cells = trace.problem.batch * product(outSize(trace.problem));
      more = [...more, say("gradient.bias", {
        numbers: elided(new Array<number>(outChannels(trace.problem)).fill(cells), String).join(", "),
      })];
    }
  }
  why.push(...more);
  const chosen = step === null ? null : input ? inputStep(trace, other, step) : weightStep(trace, ones, step);
  return {
    view: "gradient", tab, title: say(`title.gradient.${tab}`), why, steps: input ? product(trace.inShape) : trace.weight.length,
    step, formula: chosen?.formula() ?? "", aria: chosen?.aria ?? "", tables,
  };
}

export const isSmall = (trace: Trace): boolean =>
  trace.count * trace.taps.terms <= 60_000 && product(trace.outShape) + product(coarseShape(trace.problem)) + trace.x.length <= 8_000;
