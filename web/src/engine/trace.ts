// One operation with its numbers, multiplication by multiplication. The twin of src/twofold/explain/trace.py.
//
// Products first, then sums strictly left to right in the order of the rows, in doubles or in exact integers: the bits
// are Python's. Nothing is computed before it is asked for.

import { t } from "../texts";
import { refusal, tuple } from "./errors";
import {
  type Complex, type Num, type Term, add, channelText, complex, dotText, isComplex, jsonNumber, jsonText, multiply,
  number, plus, readNumber, scatterText,
} from "./numbers";
import {
  type Problem, coarseShape, fineShape, inShape, isInteger, outChannels, outShape, parse, product, rank, weightShape,
  write,
} from "./problem";
import { type Rows, Taps } from "./taps";
import { dotAria, scatterAria, spoken } from "./words";

/** Numbers of an array, flat. Doubles where they are exact, else what they must be. */
export type Values = Float64Array | Num[];
export type Kind = "integer" | "float" | "complex";

export interface Step {
  readonly kind: "dot" | "scatter";
  readonly focus: number; // the flat output cell of a dot, the flat input cell of a scatter
  readonly rows: Rows;
  readonly terms: readonly Term[];
  readonly result: Num;
  readonly bias: Num | null;
  readonly channels: readonly (readonly [number, Num])[];
  readonly aria: string;
  formula(full?: boolean): string;
}

export const STEPS = 1024;
export const TAPS = 4096;
const CELLS = 10_000_000;
const MULTIPLICATIONS = 100_000_000;
const TERMS = 100_000;
const WRITTEN = 300_000;
const NUMBERS = 2_000_000;

export class Trace {
  readonly taps: Taps;
  private wholeY: Values | null = null;
  private painter: { stop: number; total: Values; seen: Uint8Array } | null = null;

  constructor(
    readonly problem: Problem, readonly x: Values, readonly weight: Values, readonly bias: Values | null,
    readonly kind: Kind,
  ) {
    this.taps = new Taps(problem);
  }

  get inShape(): number[] { return inShape(this.problem); }
  get outShape(): number[] { return outShape(this.problem); }
  get weightShape(): number[] { return weightShape(this.problem); }
  get isConv(): boolean { return this.problem.op === "conv"; }
  get zero(): Num { return this.kind === "complex" ? { re: 0, im: 0 } : 0; }

  /** Steps: the output cells of a convolution, the input cells of a transposed one. */
  get count(): number { return this.taps.cells; }

  /** Why there is no whole output, in a sentence; empty if there is one. */
  get withheld(): string {
    const cells = product(this.outShape);
    const terms = this.count * this.taps.terms;
    if (cells > CELLS) return t("refusal.output.cells", { cells, most: CELLS });
    if (terms > MULTIPLICATIONS) return t("refusal.output.terms", { terms, most: MULTIPLICATIONS });
    return "";
  }

  /** The output, flat. */
  get y(): Values {
    if (this.wholeY) return this.wholeY;
    if (this.withheld) throw refusal("withheld", { rule: this.withheld });
    const total = zeros(product(this.outShape), this.x, this.zero);
    for (let coarse = 0; coarse < this.count; coarse++) this.accumulate(total, coarse);
    if (this.bias) {
      const plane = product(this.outShape.slice(2));
      const channels = this.outShape[1]!;
      for (let i = 0; i < total.length; i++) {
        total[i] = plus(total[i]!, this.bias[Math.floor(i / plane) % channels]!) as number;
      }
    }
    this.wholeY = total;
    return total;
  }

  /** What one coarse cell adds, into a flat array of the output's size. */
  accumulate(total: Values, coarse: number, seen?: Uint8Array): void {
    const { x, weight, isConv } = this;
    if (x instanceof Float64Array && weight instanceof Float64Array && total instanceof Float64Array) {
      this.taps.visit(coarse, (cell, w) => {
        if (cell < 0) return;
        if (isConv) total[coarse]! += weight[w]! * x[cell]!;
        else total[cell]! += weight[w]! * x[coarse]!;
        if (seen) seen[isConv ? coarse : cell] = 1;
      });
      return;
    }
    this.taps.visit(coarse, (cell, w) => {
      if (cell < 0) return;
      const [out, inp] = isConv ? [coarse, cell] : [cell, coarse];
      (total as Num[])[out] = plus(total[out]!, multiply(weight[w]!, x[inp]!));
      if (seen) seen[out] = 1;
    });
  }

  /** What an input cell of a transposed convolution paints. */
  painted(index: number): { total: Values; seen: Uint8Array } {
    const size = product(this.outShape);
    const made = { total: zeros(size, this.x, this.zero), seen: new Uint8Array(size) };
    this.accumulate(made.total, index, made.seen);
    return made;
  }

  /** The sum of what the input cells up to this one paint; the last one is kept, so that going forward is cheap. */
  running(index: number): { total: Values; seen: Uint8Array } {
    if (!this.painter || this.painter.stop > index + 1) {
      const size = product(this.outShape);
      this.painter = { stop: 0, total: zeros(size, this.x, this.zero), seen: new Uint8Array(size) };
    }
    const { painter } = this;
    for (; painter.stop <= index; painter.stop++) this.accumulate(painter.total, painter.stop, painter.seen);
    return painter;
  }

  step(index: number): Step {
    return this.isConv ? this.dot(index) : this.scatter(index);
  }

  /** The dot product of one output cell. */
  dot(cell: number): Step {
    const rows = this.isConv ? this.taps.ofCoarse(cell, true) : this.taps.ofFine(cell);
    checkTerms(cell, rows.out.length);
    const terms = this.terms(rows);
    const channel = Math.floor(cell / product(this.outShape.slice(2))) % this.outShape[1]!;
    const bias = this.bias ? this.bias[channel]! : null;
    const result = add([...terms.map((t) => t.product), ...(bias === null ? [] : [bias])], this.zero);
    const name = spoken("output", unravel(cell, this.outShape), this.outShape);
    const aria = dotAria(name, result, terms, this, bias);
    const channels = this.channelSums(channel, terms);
    const formula = (full = false): string => {
      const line = dotText(terms, bias, full);
      return channels.length < 2 ? line : `${line}\n${channelText(channels, result, bias, full)}`;
    };
    return { kind: "dot", focus: cell, rows, terms, result, bias, channels, aria, formula };
  }

  /** What one input cell of a transposed convolution paints, as terms. */
  scatter(index: number): Step {
    checkTerms(index, this.taps.terms);
    const rows = this.taps.ofCoarse(index);
    const terms = this.terms(rows);
    const result = this.x[index]!;
    const name = spoken("input", unravel(index, this.inShape), this.inShape);
    return {
      kind: "scatter", focus: index, rows, terms, result, bias: null, channels: [],
      aria: scatterAria(name, result, terms, this),
      formula: (full = false) => scatterText(terms, full),
    };
  }

  private terms(rows: Rows): Term[] {
    return rows.weight.map((tap, i) => {
      const [inp, out, weight] = [rows.inp[i]!, rows.out[i]!, this.weight[tap]!];
      if (inp < 0) return { weight, input: this.zero, product: this.zero, padding: true, inp, tap, out };
      const input = this.x[inp]!;
      return { weight, input, product: multiply(weight, input), padding: false, inp, tap, out };
    });
  }

  private channelSums(channel: number, terms: readonly Term[]): [number, Num][] {
    const { problem } = this;
    let first = 0;
    if (this.isConv) {
      const perCoarse = Math.max(1, problem.coarseChannels / problem.groups);
      first = Math.floor(channel / perCoarse) * (problem.fineChannels / problem.groups);
    }
    const sums = new Map<number, Num[]>();
    for (const t of terms) {
      const [coarse, within] = unravel(t.tap, this.weightShape);
      const key = this.isConv ? first + within! : coarse!;
      if (!sums.has(key)) sums.set(key, []);
      sums.get(key)!.push(t.product);
    }
    return [...sums].map(([key, values]) => [key, add(values, this.zero)]);
  }

  /** The same trace with other numbers. */
  with(part: { problem?: Problem; x?: Values; weight?: Values; bias?: Values | null }): Trace {
    return new Trace(
      part.problem ?? this.problem, part.x ?? this.x, part.weight ?? this.weight,
      part.bias === undefined ? this.bias : part.bias, this.kind);
  }

  toJson(): string {
    const steps = Math.min(this.count, STEPS);
    const { problem } = this;
    checkWritten(steps, this.taps.terms, this.x.length + this.weight.length + product(this.outShape));
    const first = Array.from({ length: steps }, (_, i) => this.step(i));
    const gathered = Math.min(product(this.outShape), STEPS);
    const fields: [string, string][] = [
      ["problem", jsonText(write(problem))],
      ["x", nested(this.x, this.inShape)],
      ["weight", nested(this.weight, this.weightShape)],
      ["bias", this.bias ? nested(this.bias, [this.bias.length]) : "null"],
      ["y", nested(this.y, this.outShape)],
      ["count", String(this.count)],
      ["steps", list(first.map((step) => jsonText(step.formula())))],
      ["aria", list(first.map((step) => jsonText(step.aria)))],
      ["gathered", this.isConv ? "null" :
        list(Array.from({ length: gathered }, (_, i) => jsonText(this.dot(i).formula())))],
      ["taps", this.taps.count <= TAPS ? this.tapsJson() : "null"],
    ];
    return `{${fields.map(([name, value]) => `"${name}":${value}`).join(",")}}`;
  }

  private tapsJson(): string {
    const rows = this.taps.all();
    return `{"out":${list(rows.out.map(String))},"inp":${list(rows.inp.map(String))},` +
      `"weight":${list(rows.weight.map(String))}}`;
  }
}

function checkTerms(index: number, terms: number): void {
  if (terms <= TERMS) return;
  throw refusal("step.many", { index, terms, most: TERMS });
}

function checkWritten(steps: number, terms: number, numbers: number): void {
  if (steps * (terms + 10) > WRITTEN) {
    throw refusal("json.products", { steps, terms, most: WRITTEN });
  }
  if (numbers > NUMBERS) {
    throw refusal("json.numbers", { numbers, most: NUMBERS });
  }
}

// -- arrays -------------------------------------------------------------------------------------------------------

export function zeros(size: number, like: Values, zero: Num): Values {
  if (like instanceof Float64Array) return new Float64Array(size);
  return new Array<Num>(size).fill(typeof like[0] === "bigint" ? 0n : zero);
}

export function unravel(index: number, shape: readonly number[]): number[] {
  const cell = new Array<number>(shape.length);
  for (let i = shape.length - 1; i >= 0; i--) {
    cell[i] = index % shape[i]!;
    index = Math.floor(index / shape[i]!);
  }
  return cell;
}

export const ravel = (cell: readonly number[], shape: readonly number[]): number =>
  cell.reduce((flat, at, i) => flat * shape[i]! + at, 0);

const list = (parts: readonly string[]): string => `[${parts.join(",")}]`;

export function nested(values: Values, shape: readonly number[]): string {
  const write = (depth: number, start: number): string => {
    if (depth === shape.length - 1) {
      return list(Array.from({ length: shape[depth]! }, (_, i) => jsonNumber(values[start + i]!)));
    }
    const step = product(shape.slice(depth + 1));
    return list(Array.from({ length: shape[depth]! }, (_, i) => write(depth + 1, start + i * step)));
  };
  return write(0, 0);
}

// -- from what a user has to a trace ------------------------------------------------------------------------------

/** A problem's string and nested lists, as in the page's address; missing numbers count 1, 2, 3, … */
export function makeTrace(problem: Problem | string, x?: unknown, weight?: unknown, bias?: unknown): Trace {
  const parsed = typeof problem === "string" ? parse(problem) : problem;
  const arrays: [Num[] | Float64Array, Num[] | Float64Array, Num[] | null] = [
    x == null ? counting("x", inShape(parsed)) : fitted("x", x, inShape(parsed)),
    weight == null ? counting("weight", weightShape(parsed)) :
      weight === "digits" ? digits(weightShape(parsed)) : fitted("weight", weight, weightShape(parsed)),
    bias == null ? null : readBias(bias, outChannels(parsed)),
  ];
  const [kind, wide] = kindOf(parsed, arrays);
  const [a, b, c] = arrays.map((values) => values && widen(values, kind, wide));
  return new Trace(parsed, a!, b!, c ?? null, kind);
}

function counting(name: string, shape: number[]): Float64Array {
  const size = product(shape);
  if (size > CELLS) {
    throw refusal("counting", { name, shape: tuple(shape), size, most: CELLS });
  }
  return Float64Array.from({ length: size }, (_, i) => i + 1);
}

function digits(shape: number[]): Num[] {
  const taps = product(shape.slice(2));
  if (taps > 18) {
    throw refusal("digits.kernel", { taps });
  }
  return Array.from({ length: product(shape) }, (_, i) => readNumber(`1${"0".repeat(i % taps)}`)!);
}

function fitted(name: string, value: unknown, shape: number[]): Num[] | Float64Array {
  if (value instanceof Float64Array && value.length === product(shape)) return value;
  const [values, found] = flatten(name, value);
  const lead = shape.length - found.length;
  const fits = lead >= 0 && lead <= 2 && shape.slice(0, lead).every((n) => n === 1) &&
    found.every((n, i) => n === shape[lead + i]);
  if (!fits) {
    const first = [0, 1].find((axis) => shape[axis] !== 1) ?? 2;
    throw refusal("shape", { name, found: tuple(found), shape: tuple(shape), short: tuple(shape.slice(first)) });
  }
  return values;
}

function readBias(value: unknown, channels: number): Num[] {
  const [values, shape] = flatten("bias", Array.isArray(value) ? value : [value]);
  if (shape.length !== 1 || shape[0] !== channels) {
    throw refusal("bias.shape", { shape: tuple(shape), channels });
  }
  return values;
}

/** Nested lists as flat numbers and a shape. */
export function flatten(name: string, value: unknown): [Num[], number[]] {
  const shape: number[] = [];
  for (let at = value; Array.isArray(at); at = at[0]) {
    shape.push(at.length);
    if (shape.length > 64) throw refusal("nested", { name });
  }
  const values: Num[] = [];
  const collect = (part: unknown, depth: number): void => {
    if (depth < shape.length) {
      if (!Array.isArray(part) || part.length !== shape[depth]) {
        throw refusal("rectangular", { name });
      }
      for (const entry of part) collect(entry, depth + 1);
      return;
    }
    const read = readNumber(part);
    if (read === undefined) {
      throw refusal("number", { name, entry: JSON.stringify(part)?.slice(0, 40) });
    }
    values.push(read);
  };
  collect(value, 0);
  return [values, shape];
}

const isWhole = (value: Num): boolean => typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
const isBig = (value: Num): boolean => typeof value === "bigint";

// Integers stay exact where the problem or a number beyond 2^53 asks for it; else doubles, as in Python.
function kindOf(problem: Problem, arrays: readonly (Num[] | Float64Array | null)[]): [Kind, boolean] {
  const known = arrays.filter((values) => values !== null);
  const some = (test: (value: Num) => boolean): boolean =>
    known.some((values) => (values as Num[]).some((value: Num) => test(value)));
  const whole = !some((value) => !isWhole(value));
  if (isInteger(problem) && !whole) {
    throw refusal("dtype", { dtype: problem.dtype });
  }
  if (some(isComplex)) return ["complex", false];
  if (!whole || (!isInteger(problem) && !some(isBig))) return ["float", false];
  const most = (values: Num[] | Float64Array | null): bigint => {
    let found = 0n;
    for (const value of values ?? []) {
      const size = BigInt(value as number | bigint);
      found = size > found ? size : -size > found ? -size : found;
    }
    return found;
  };
  const terms = product(weightShape(problem)) * (problem.mode === "zeros" ? 1 : product(coarseShape(problem)));
  const bound = BigInt(terms) * most(arrays[0]!) * most(arrays[1]!) + most(arrays[2]!);
  return ["integer", bound >= 2n ** 53n || some(isBig)];
}

function widen(values: Num[] | Float64Array, kind: Kind, wide: boolean): Values {
  if (kind === "complex") return Array.from(values as Num[], (value): Complex => complex(value));
  if (wide) return Array.from(values as Num[], (value) => BigInt(value as number | bigint));
  if (values instanceof Float64Array) return values;
  return Float64Array.from(values, (value) => {
    const close = Number(value);
    if (typeof value === "bigint" && (!Number.isFinite(close) || BigInt(close) !== value)) {
      throw refusal("mixed");
    }
    return close;
  });
}

export const valueText = (value: Num): string => number(value);
export { fineShape, rank };
