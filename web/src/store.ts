// What the page knows: one link, one trace, one selection. Views read signals; whoever changes something calls a method.

import { type ReadonlySignal, type Signal, batch, computed, signal } from "@preact/signals";
import { parts } from "./engine/analysis";
import { phaseFormula } from "./engine/describe";
import { adjoint as adjointTrace, gradientOnes, inputStep, stretched, weightStep } from "./engine/relatives";
import { Refusal, sentence } from "./engine/errors";
import { type Num, number } from "./engine/numbers";
import { type Fields, type Problem, adjoint, inShape, makeProblem, parse, product, read, weightShape, write } from "./engine/problem";
import { type Step, type Trace, type Values, flatten, makeTrace, ravel, unravel } from "./engine/trace";
import { fine } from "./engine/axis";
import { commas, spoken } from "./engine/words";
import { type Link, FIRST, type Tab, type View, checked } from "./state";
import { say, t } from "./texts";

export type ArrayName = "input" | "weight" | "output";
/** A cell of an array of the trace; of its gradient, if it says so. */
export interface Cell { readonly array: ArrayName; readonly index: number; readonly gradient?: boolean }

/** The multiplications that are lit everywhere, and what is said about them. */
export interface Selection {
  readonly cell: Cell | null;
  readonly out: readonly number[]; // three columns, row by row; inp is -1 in the padding
  readonly inp: readonly number[];
  readonly weight: readonly number[];
  readonly cut: boolean; // whether there are more rows than are listed
  readonly step: Step | null;
  readonly text: string;
  readonly aria: string;
}

/** A pinned cell for those outside: (batch and channel where there are several, and the position). */
export interface Chosen { readonly view: View; readonly array: ArrayName; readonly cell: readonly number[] }

const NOTHING: Selection = { cell: null, out: [], inp: [], weight: [], cut: false, step: null, text: "", aria: "" };
const STILL: readonly View[] = ["overlap", "sizes", "field", "image"]; // views that nothing is played in
const MOST_LIT = 5_000; // rows that are listed; windows on larger arrays find theirs themselves
const MOST_STRETCHED = 250_000; // cells of an input with zeros inserted, beyond which the sums are those of gathering

export interface Message { readonly text: string; readonly field: string }

export class Store {
  readonly link: Signal<Link>;
  readonly trace: Signal<Trace>;
  readonly message = signal<Message | null>(null); // what was refused, and by which field
  readonly hover = signal<Cell | null>(null);
  readonly focus = signal<Cell | null>(null);
  readonly pin = signal<Cell | null>(null);
  readonly step = signal(0);
  readonly stepped = signal(false); // whether a step is what is being looked at
  readonly playing = signal(false);
  readonly speed = signal(1);
  readonly full = signal(false); // all terms of a long formula
  readonly editing = signal<Cell | null>(null);
  readonly view: ReadonlySignal<View>;
  readonly tab: ReadonlySignal<Tab>;
  readonly selection: ReadonlySignal<Selection>;
  readonly chosen: ReadonlySignal<Chosen | null>;
  // Other traces that words are taken from, made when one is first needed and kept until the trace changes.
  private readonly stretched = computed(() => {
    const { problem } = this.trace.value;
    const cells = product(this.trace.value.inShape) * product(problem.axes.map((axis) => axis.stride));
    return cells > MOST_STRETCHED ? null : stretched(this.trace.value, !this.link.value.noflip);
  });
  private readonly gradient = computed(() => {
    const dy = this.dy();
    return { dy, input: adjointTrace(this.trace.value, dy) };
  });
  // The numbers of each direction: there and back again, they are what they were.
  private readonly numbers = new Map<string, Partial<Link>>();

  constructor(first: unknown = FIRST) {
    let link = FIRST;
    let trace = makeTrace(FIRST.problem, FIRST.x, FIRST.weight);
    try {
      link = fitted(checked(first));
      trace = made(link);
    } catch (error) {
      link = FIRST;
      this.message.value = { text: sentence(error), field: "link" };
    }
    this.link = signal(link);
    this.trace = signal(trace);
    this.view = computed(() => this.link.value.view ?? ownView(this.trace.value.problem));
    this.tab = computed(() => this.link.value.tab ?? "paint");
    this.selection = computed(() => this.select());
    this.chosen = computed(() => this.describeChosen());
    this.restore(link);
  }

  // -- changes ----------------------------------------------------------------------------------------------------

  /** Take another state as a whole; if it cannot be, say why and keep what is shown. */
  load(value: unknown, field = "link"): boolean {
    return this.trying(field, () => {
      const link = fitted(checked(value));
      const trace = made(link);
      batch(() => {
        this.link.value = link;
        this.trace.value = trace;
        this.restore(link);
      });
    });
  }

  /** Change some keys of the link; a key that is undefined is dropped. */
  change(part: Partial<Link>, field = "link"): boolean {
    const numbers = "problem" in part || "x" in part || "weight" in part || "bias" in part;
    if (!numbers) {
      batch(() => {
        this.link.value = cleaned({ ...this.link.value, ...part });
        this.message.value = null;
      });
      return true;
    }
    return this.trying(field, () => {
      const link = fitted(cleaned({ ...this.link.value, ...part }));
      const trace = made(link);
      batch(() => {
        this.link.value = cleaned({ ...link, step: undefined, pin: undefined });
        this.trace.value = trace;
        this.restore(this.link.value);
      });
    });
  }

  /** Change parameters of the problem; numbers whose shape no longer fits are counted anew. */
  setFields(part: Partial<Fields>, field: string): boolean {
    return this.trying(field, () => {
      const before = this.trace.value.problem;
      const problem = makeProblem({ ...fieldsOf(before), ...part });
      this.change({ problem: write(problem), view: movedView(this.view.value, problem) }, field) || this.rethrow();
    });
  }

  setProblem(text: string, field: string): boolean {
    return this.trying(field, () => {
      const problem = parse(text);
      this.change({ problem: text.trim(), view: movedView(this.view.value, problem) }, field) || this.rethrow();
    });
  }

  show(view: View): void {
    const { problem } = this.trace.value;
    const wanted = view === "filter" ? "conv" : view === "transposed" ? "conv_transpose" : problem.op;
    this.stop();
    if (wanted === problem.op) {
      this.change({ view, step: undefined });
      this.restore(this.link.value);
      return;
    }
    // The other direction over the same cells: the output's numbers are free, so they count.
    const other = write(adjoint(problem));
    const { x, bias } = this.link.value;
    this.numbers.set(write(problem), { x, bias });
    const kept = this.numbers.get(other);
    this.trying("view", () => this.change({ problem: other, x: kept?.x, bias: kept?.bias, view }));
  }

  setTab(tab: Tab): void {
    this.stop();
    this.change({ tab, step: undefined, view: "transposed" });
    this.restore(this.link.value);
  }

  goTo(step: number): void {
    const last = this.steps - 1;
    const next = Math.max(0, Math.min(step, last));
    batch(() => {
      this.step.value = next;
      this.stepped.value = true;
      this.hover.value = null;
      this.pin.value = null;
      this.focus.value = null;
      this.link.value = cleaned({ ...this.link.value, step: next, pin: undefined });
    });
  }

  stop(): void {
    this.playing.value = false;
  }

  togglePin(cell: Cell): void {
    const now = this.pin.value;
    const same = now?.array === cell.array && now.index === cell.index && !now.gradient === !cell.gradient;
    this.setPin(same ? null : cell);
  }

  setPin(cell: Cell | null): void {
    batch(() => {
      this.stop();
      this.pin.value = cell;
      if (cell) this.stepped.value = false;
      this.link.value = cleaned({
        ...this.link.value, pin: cell ? [cell.array, cell.index] : undefined, step: undefined,
      });
    });
  }

  /** Write one number into an array. */
  write(cell: Cell, value: string): boolean {
    const name = cell.array === "weight" ? "weight" : "x";
    const { trace } = this;
    const [values, shape] = cell.array === "weight" ? [trace.value.weight, weightShape(trace.value.problem)] :
      [trace.value.x, inShape(trace.value.problem)];
    return this.trying(name, () => {
      const [[entry]] = flatten(name, [value.trim() === "" ? "0" : value.replace(",", ".")]);
      const flat = Array.from(values as Num[]);
      flat[cell.index] = entry!;
      this.change({ [name]: nest(flat.map(plain), shape) }, name) || this.rethrow();
    });
  }

  // -- what follows -----------------------------------------------------------------------------------------------

  /** How many steps the shown view has. */
  get steps(): number {
    const { problem } = this.trace.value;
    if (STILL.includes(this.view.value)) return 0;
    if (this.view.value === "gradient") return product(this.trace.value.inShape);
    if (this.view.value === "phases") return product(problem.axes.map((axis) => axis.stride));
    if (problem.op === "conv_transpose" && this.tab.value !== "paint" && this.view.value === "transposed") {
      return product(this.trace.value.outShape);
    }
    return this.trace.value.count;
  }

  /** The cell that a step is about. */
  stepCell(step: number): Cell | null {
    const { problem } = this.trace.value;
    if (this.view.value === "phases" || STILL.includes(this.view.value)) return null;
    if (this.view.value === "gradient") return { array: "input", index: step, gradient: true };
    const paints = problem.op === "conv_transpose" && (this.view.value !== "transposed" || this.tab.value === "paint");
    return { array: paints ? "input" : "output", index: step };
  }

  // The same cells, but the words of the view: windows with zeros in them, or sums of a gradient.
  private reworded(selection: Selection, cell: Cell): Selection {
    const trace = this.trace.value;
    if (cell.gradient) {
      const { dy, input } = this.gradient.value;
      if (cell.array === "output") {
        const name = nameOf(trace, cell);
        const counts = { inputs: new Set(selection.inp.filter((inp) => inp >= 0)).size, weights: new Set(selection.weight).size };
        const text = t("gradient.feeds", { name, value: number(dy[cell.index]!), ...counts });
        return { ...selection, step: null, text, aria: text };
      }
      const step = cell.array === "weight" ? weightStep(trace, dy, cell.index) : inputStep(trace, input, cell.index);
      return { ...selection, step, text: step.formula(), aria: step.aria };
    }
    if (this.view.value !== "transposed" || this.tab.value !== "zero-insert" || cell.array !== "output" || trace.isConv ||
      trace.problem.mode !== "zeros") return selection;
    const step = this.stretched.value?.dot(cell.index);
    return step ? { ...selection, step, text: step.formula(), aria: step.aria } : selection;
  }

  /** dL/dy: what the link gives, or ones. */
  dy(): Values {
    const trace = this.trace.value;
    const given = this.link.value.dy;
    const ones = gradientOnes(trace);
    if (given === undefined) return ones;
    const [values] = flatten("dL/dy", given);
    if (values.length !== ones.length) return ones;
    return values.every((value) => typeof value === "number") ? Float64Array.from(values as number[]) : values;
  }

  private select(): Selection {
    const cell = this.hover.value ?? this.focus.value ?? this.pin.value ??
      (this.stepped.value ? this.stepCell(this.step.value) : null);
    try {
      if (!cell) return this.stepped.value && this.view.value === "phases" ? phaseSelection(this.trace.value, this.step.value) : NOTHING;
      return this.reworded(selectionOf(this.trace.value, cell), cell);
    } catch (error) {
      return { ...NOTHING, cell, text: sentence(error), aria: sentence(error) };
    }
  }

  /** Pin the cell that somebody outside has chosen; null unpins. */
  choose(value: unknown): void {
    if (value === null || typeof value !== "object") {
      this.setPin(null);
      return;
    }
    const { array, cell } = value as Partial<Chosen>;
    const { trace } = this;
    const shapes = { input: trace.value.inShape, weight: trace.value.weightShape, output: trace.value.outShape };
    const shape = array && Object.hasOwn(shapes, array) && shapes[array];
    if (!shape || !Array.isArray(cell) || cell.length > shape.length) return;
    const full = [...new Array<number>(shape.length - cell.length).fill(0), ...(cell as number[])];
    if (full.every((at, i) => Number.isInteger(at) && at >= 0 && at < shape[i]!)) {
      this.setPin({ array, index: ravel(full, shape) });
    }
  }

  private describeChosen(): Chosen | null {
    const pin = this.pin.value;
    if (!pin) return null;
    const { inShape: input, weightShape: weight, outShape: output } = this.trace.value;
    const shape = { input, weight, output }[pin.array];
    const first = [0, 1].find((axis) => shape[axis]! > 1) ?? 2;
    return { view: this.view.value, array: pin.array, cell: unravel(pin.index, shape).slice(first) };
  }

  private restore(link: Link): void {
    batch(() => {
      this.hover.value = null;
      this.focus.value = null;
      this.editing.value = null;
      const step = Math.min(link.step ?? 0, Math.max(this.steps - 1, 0));
      this.step.value = step;
      this.stepped.value = link.step !== undefined;
      const pin = link.pin as Cell["array"][] & [ArrayName, number] | undefined;
      const gradient = this.view.value === "gradient" || undefined;
      this.pin.value = pin && isInside(this.trace.value, pin) ? { array: pin[0], index: pin[1], gradient } : null;
    });
  }

  private trying(field: string, act: () => void): boolean {
    try {
      act();
      this.message.value = null;
      return true;
    } catch (error) {
      if (!(error instanceof Again)) this.message.value = { text: sentence(error), field };
      return false;
    }
  }

  // A call inside has already said what is wrong.
  private rethrow(): never {
    throw new Again();
  }
}

class Again extends Error {}

// -- small pieces -------------------------------------------------------------------------------------------------

const made = (link: Link): Trace => makeTrace(link.problem, link.x, link.weight, link.bias);

function cleaned(link: Link): Link {
  return Object.fromEntries(Object.entries(link).filter(([, value]) => value !== undefined)) as unknown as Link;
}

// Numbers that a change of sizes left behind are dropped; those that never fitted are refused by the trace.
let last: { x?: unknown; weight?: unknown; bias?: unknown } = {};

function fitted(link: Link): Link {
  const problem = parse(link.problem);
  const kept = { ...link };
  const fits = (name: "x" | "weight" | "bias", shape: number[]): void => {
    const value = link[name];
    if (value === undefined || value === "digits" || value !== last[name]) return;
    const [, found] = flatten(name, value);
    const tail = shape.slice(shape.length - found.length);
    const ones = shape.slice(0, shape.length - found.length).every((n) => n === 1);
    if (!ones || tail.length !== found.length || tail.some((n, i) => n !== found[i])) delete kept[name];
  };
  fits("x", inShape(problem));
  fits("weight", weightShape(problem));
  fits("bias", [problem.op === "conv" ? problem.coarseChannels : problem.fineChannels]);
  last = { x: kept.x, weight: kept.weight, bias: kept.bias };
  return kept;
}

const ownView = (problem: Problem): View => (problem.op === "conv" ? "filter" : "transposed");

const movedView = (view: View, problem: Problem): View =>
  view === "filter" || view === "transposed" ? ownView(problem) : view;

function isInside(trace: Trace, [array, index]: [ArrayName, number]): boolean {
  const shapes = { input: trace.inShape, weight: trace.weightShape, output: trace.outShape };
  return Object.hasOwn(shapes, array) && index >= 0 && index < product(shapes[array]);
}

/** The fields of a problem, as `makeProblem` takes them. */
export function fieldsOf(p: Problem): Fields {
  return read(write(p));
}

/** A number as JSON holds it. */
export function plain(value: Num): number | string {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value === "bigint") return String(value);
  return number(value);
}

export function nest<T>(flat: readonly T[], shape: readonly number[]): unknown {
  if (shape.length === 1) return flat.slice();
  const step = product(shape.slice(1));
  return Array.from({ length: shape[0]! }, (_, i) => nest(flat.slice(i * step, (i + 1) * step), shape.slice(1)));
}

function phaseSelection(trace: Trace, step: number): Selection {
  const found = parts(trace.problem);
  const text = phaseFormula(trace, found[Math.min(step, found.length - 1)]!);
  return { ...NOTHING, text, aria: say("phases.aria", { phase: step + 1, phases: found.length, text }) };
}

const GRADIENTS = { input: "dL/dx", weight: "dL/dw", output: "dL/dy" };

/** A cell for a listener: "output row 1 column 0"; of a weight, its two channels first. */
export function nameOf(trace: Trace, { array, index, gradient }: Cell): string {
  const shape = { input: trace.inShape, weight: trace.weightShape, output: trace.outShape }[array];
  const cell = unravel(index, shape);
  const name = gradient ? GRADIENTS[array] : array;
  if (array !== "weight") return spoken(name, cell, shape);
  const channels = shape[0]! * shape[1]! > 1 ? ` ${cell[0]},${cell[1]}` : "";
  return spoken(name + channels, cell, [1, 1, ...shape.slice(2)]);
}

/** What one cell lights, and the words for it. */
export function selectionOf(trace: Trace, cell: Cell): Selection {
  const { taps, problem } = trace;
  if (cell.array === "output" || (cell.array === "input" && problem.op === "conv_transpose")) {
    const step = cell.array === "output" ? trace.dot(cell.index) : trace.scatter(cell.index);
    const { out, inp, weight } = step.rows;
    return { cell, ...lit(out, inp, weight), step, text: step.formula(), aria: step.aria };
  }
  const rows = cell.array === "input" ? taps.ofInput(cell.index) : taps.ofWeight(cell.index, MOST_LIT + 1);
  const text = cell.array === "input" ? fanOut(trace, cell.index, rows) : meetings(trace, cell.index, rows);
  return { cell, ...lit(rows.out, rows.inp, rows.weight), step: null, text, aria: text };
}

const lit = (out: number[], inp: number[], weight: number[]) =>
  out.length <= MOST_LIT ? { out, inp, weight, cut: false } :
    { out: out.slice(0, MOST_LIT), inp: inp.slice(0, MOST_LIT), weight: weight.slice(0, MOST_LIT), cut: true };

type Columns = { out: number[]; inp: number[]; weight: number[] };
const SPELLED = 6;

function fanOut(trace: Trace, index: number, rows: Columns): string {
  const name = spoken("input", unravel(index, trace.inShape), trace.inShape);
  if (!rows.out.length) return t("fan.none", { name, value: number(trace.x[index]!) });
  const parts = rows.out.slice(0, SPELLED).map((out, i) => t("fan.part", {
    out: commas(unravel(out, trace.outShape), trace.outShape), weight: number(trace.weight[rows.weight[i]!]!),
  }));
  const more = rows.out.length > SPELLED ? t("more", { count: rows.out.length - SPELLED }) : "";
  return t("fan.some", {
    name, value: number(trace.x[index]!), outputs: new Set(rows.out).size, list: parts.join(", ") + more,
  });
}

function meetings(trace: Trace, index: number, rows: Columns): string {
  const name = "weight " + commas(unravel(index, trace.weightShape), trace.weightShape);
  const count = trace.taps.metBy(index);
  const values = [...new Set(rows.inp)].slice(0, SPELLED).map((inp) => number(trace.x[inp]!)).join(", ");
  const more = count > SPELLED ? t("more", { count: count - SPELLED }) : "";
  return t("meets", { name, value: number(trace.weight[index]!), count, list: (values || "–") + more });
}

/** The padding cells that the window of an output cell of a convolution covers: (plane of the input, row, column). */
export function ringOf(trace: Trace, selection: Selection): [number, number, number][] {
  const { problem } = trace;
  if (problem.op !== "conv" || selection.cell?.array !== "output" || problem.axes.length > 3) return [];
  const [batchIndex, , ...position] = unravel(selection.cell.index, trace.outShape);
  const kernel = problem.axes.map((axis) => axis.kernel);
  const depth = problem.axes.length === 3 ? problem.fineSize[0]! : 1;
  return selection.inp.flatMap((inp, i): [number, number, number][] => {
    const [, within, ...taps] = unravel(selection.weight[i]!, trace.weightShape);
    const turned = problem.flip ? taps.map((tap, a) => kernel[a]! - 1 - tap) : taps;
    const cells = problem.axes.map((axis, a) => fine(axis, position[a]!, turned[a]!));
    const outside = cells.some((cell, a) => cell < 0 || cell >= problem.fineSize[a]!);
    if (inp >= 0 && !outside) return [];
    const group = Math.floor(unravel(selection.cell!.index, trace.outShape)[1]! / (problem.coarseChannels / problem.groups));
    const channel = group * (problem.fineChannels / problem.groups) + within!;
    const z = cells.length === 3 ? cells[0]! : 0;
    if (z < 0 || z >= depth) return [];
    const plane = (batchIndex! * problem.fineChannels + channel) * depth + z;
    return [[plane, cells.length === 1 ? 0 : cells[cells.length - 2]!, cells[cells.length - 1]!]];
  });
}

export { Refusal };
