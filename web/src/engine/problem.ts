// One operation with all its sizes, and the string that names it. The twin of geometry/problem.py and notation.py.

import { t } from "../texts";
import { Refusal, refusal, repr, tuple } from "./errors";
import {
  type Axis, axisName, checkTarget, coarseSize, coarseSum, extent, fine, fineSize, fineSum, outputPadding,
} from "./axis";

export type Operation = "conv" | "conv_transpose";
export type Mode = "zeros" | "reflect" | "replicate" | "circular";

export interface Problem {
  readonly op: Operation;
  readonly axes: readonly Axis[];
  readonly fineChannels: number;
  readonly coarseChannels: number;
  readonly groups: number;
  readonly fineSize: readonly number[];
  readonly coarseSize: readonly number[];
  readonly batch: number;
  readonly flip: boolean;
  readonly mode: Mode;
  readonly channelsLast: boolean;
  readonly dtype: string; // the word in the string: f32, int64, …
}

const OPERATIONS = ["conv", "conv_transpose", "conv_weight_gradient"];
const PADDINGS = ["valid", "same", "same_lower", "causal"];
const MODES = ["zeros", "reflect", "replicate", "circular"];
const INTEGERS = ["int", "uint"].flatMap((kind) => [8, 16, 32, 64].map((bits) => kind + bits));
const DTYPES = ["f32", "f64", "f16", "bf16", "c64", "c128", ...INTEGERS, "bool"];
const FIELD = /^(op|ci|co|[nikspdgo])((?:-?[0-9]+(?::-?[0-9]+)?)(?:x-?[0-9]+(?::-?[0-9]+)?)*)$/;
const MAX_TEXT = 100_000;
const LARGEST = 2 ** 40; // beyond, sizes would leave the exact integers of JavaScript

type Entry = number | [number, number];
type Pads = [number, number][];

export const rank = (p: Problem): number => p.axes.length;
export const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);
export const kernelSize = (p: Problem): number[] => p.axes.map((axis) => axis.kernel);
export const inChannels = (p: Problem): number => (p.op === "conv" ? p.fineChannels : p.coarseChannels);
export const outChannels = (p: Problem): number => (p.op === "conv" ? p.coarseChannels : p.fineChannels);
export const inSize = (p: Problem): readonly number[] => (p.op === "conv" ? p.fineSize : p.coarseSize);
export const outSize = (p: Problem): readonly number[] => (p.op === "conv" ? p.coarseSize : p.fineSize);
export const fineShape = (p: Problem): number[] => [p.batch, p.fineChannels, ...p.fineSize];
export const coarseShape = (p: Problem): number[] => [p.batch, p.coarseChannels, ...p.coarseSize];
export const inShape = (p: Problem): number[] => (p.op === "conv" ? fineShape(p) : coarseShape(p));
export const outShape = (p: Problem): number[] => (p.op === "conv" ? coarseShape(p) : fineShape(p));
export const weightShape = (p: Problem): number[] => [p.coarseChannels, p.fineChannels / p.groups, ...kernelSize(p)];
export const isInteger = (p: Problem): boolean => p.dtype === "bool" || p.dtype.includes("int");
export const outputPaddings = (p: Problem): number[] =>
  p.axes.map((axis, i) => outputPadding(axis, p.coarseSize[i]!, p.fineSize[i]!));

/** What a convolution and a transposed convolution are made of; every field may be missing but two. */
export interface Fields {
  op: Operation;
  in: number[];
  kernel: number[];
  stride?: number[];
  padding?: string | Pads;
  dilation?: number[];
  outputPadding?: number[];
  outputSize?: number[];
  inChannels?: number;
  outChannels?: number;
  groups?: number;
  batch?: number;
  flip?: boolean;
  mode?: Mode;
  channelsLast?: boolean;
  dtype?: string;
}

function count(name: string, value: number, least: number | null): number {
  if (least !== null && value < least) {
    throw refusal("least", { name, least, value, repair: name.includes(" ") ? t("refusal.larger", { name }) : `${name}=${least}` });
  }
  if (Math.abs(value) > LARGEST) throw refusal("large", { name });
  return value;
}

function naming<T>(i: number, all: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof Refusal && !error.axis) error.axis = axisName(i, all);
    throw error;
  }
}

function perAxis(name: string, values: readonly number[], least: number | null): number[] {
  return values.map((value, i) => naming(i, values.length, () => count(name, value, least)));
}

/** Make a problem, every spelling of padding resolved; what cannot be is refused in a sentence. */
export function makeProblem(f: Fields): Problem {
  const all = f.kernel.length;
  const ones = new Array<number>(all).fill(1);
  const zeros = new Array<number>(all).fill(0);
  const transposed = f.op === "conv_transpose";
  const input = perAxis("input size", f.in, transposed ? 1 : 0);
  perAxis("kernel_size", f.kernel, 1);
  const stride = perAxis("stride", f.stride ?? ones, 1);
  const dilation = perAxis("dilation", f.dilation ?? ones, 1);
  const bare = f.kernel.map((kernel, i): Axis =>
    ({ kernel, stride: stride[i]!, dilation: dilation[i]!, before: 0, after: 0 }));
  const extra = perAxis("output_padding", f.outputPadding ?? zeros, 0);
  const [axes, other] = transposed ?
    transposedAxes(bare, input, f.padding ?? "valid", extra, f.outputSize) :
    convAxes(bare, input, f.padding ?? "valid", extra, f.outputSize);
  const groups = count("groups", f.groups ?? 1, 1);
  const channels = [f.inChannels ?? 1, f.outChannels ?? 1] as const;
  const [fineChannels, coarseChannels] = transposed ? [channels[1], channels[0]] : channels;
  checkChannels(fineChannels, coarseChannels, groups);
  const problem: Problem = {
    op: f.op, axes, fineChannels, coarseChannels, groups,
    fineSize: transposed ? other : input, coarseSize: transposed ? input : other,
    batch: count("batch", f.batch ?? 1, 0), flip: f.flip ?? false, mode: f.mode ?? "zeros",
    channelsLast: f.channelsLast ?? false, dtype: f.dtype ?? "f32",
  };
  checkReflection(problem);
  return problem;
}

function convAxes(
  bare: Axis[], size: number[], padding: string | Pads, extra: number[], target?: number[],
): [Axis[], number[]] {
  const axes = typeof padding === "string" ?
    bare.map((axis, i) => wordAxis(axis, padding, size[i]!)) : padded(bare, padding);
  if (extra.some(Boolean)) {
    throw refusal("output_padding.conv");
  }
  const sizes = axes.map((axis, i) => naming(i, axes.length, () => coarseSize(axis, size[i]!)));
  if (target) {
    perAxis("output_size", target, 1).forEach((asked, i) => naming(i, axes.length, () => {
      if (asked === sizes[i]) return;
      throw refusal("output_size.conv", { asked, sum: coarseSum(axes[i]!, size[i]!), size: sizes[i]! });
    }));
  }
  return [axes, sizes];
}

function transposedAxes(
  bare: Axis[], size: number[], padding: string | Pads, extra: number[], target?: number[],
): [Axis[], number[]] {
  const all = bare.length;
  const asked = target && perAxis("output_size", target, 1);
  if (asked && extra.some(Boolean)) {
    throw refusal("output_size.twice");
  }
  if (padding === "valid" || typeof padding !== "string") {
    const axes = typeof padding === "string" ? bare : padded(bare, padding);
    if (!asked) return [axes, axes.map((axis, i) => naming(i, all, () => fineSize(axis, size[i]!, extra[i]!)))];
    axes.forEach((axis, i) => naming(i, all, () => checkTarget(axis, size[i]!, asked[i]!)));
    return [axes, asked];
  }
  if (extra.some(Boolean)) {
    throw refusal("output_padding.word", { padding });
  }
  const targets = asked ?? size.map((n, i) => n * bare[i]!.stride);
  const axes = bare.map((axis, i) => naming(i, all, () => {
    const [n, fineCells] = [size[i]!, targets[i]!];
    if (Math.ceil(fineCells / axis.stride) !== n) {
      throw refusal("output_size.word", {
        fineCells, n, stride: axis.stride, padding, first: (n - 1) * axis.stride + 1, last: n * axis.stride });
    }
    if (padding !== "causal") return wordAxis(axis, padding, fineCells);
    return { ...axis, after: Math.max(0, fine(axis, n - 1, axis.kernel - 1) + 1 - fineCells) };
  }));
  return [axes, targets];
}

function padded(bare: Axis[], pads: Pads): Axis[] {
  return bare.map((axis, i) => naming(i, bare.length, () =>
    ({ ...axis, before: count("padding", pads[i]![0], 0), after: count("padding", pads[i]![1], 0) })));
}

function wordAxis(axis: Axis, word: string, size: number): Axis {
  if (word === "valid") return axis;
  if (word === "causal") return { ...axis, before: extent(axis) - 1 };
  const coarse = Math.ceil(size / axis.stride);
  const total = coarse ? Math.max(0, fine(axis, coarse - 1, axis.kernel - 1) + 1 - size) : 0;
  const before = word === "same" ? Math.floor(total / 2) : total - Math.floor(total / 2);
  return { ...axis, before, after: total - before };
}

function checkChannels(fineChannels: number, coarseChannels: number, groups: number): void {
  for (const [name, channels] of [["fine_channels", fineChannels], ["coarse_channels", coarseChannels]] as const) {
    count(name, channels, 0);
    if (channels % groups === 0) continue;
    let legal = Math.min(fineChannels, coarseChannels, groups, 4096);
    while (legal > 1 && (fineChannels % legal || coarseChannels % legal)) legal--;
    throw refusal("groups", {
      groups, channels, parts: Math.floor(channels / groups), rest: channels % groups, legal: Math.max(legal, 1) });
  }
}

function checkReflection(p: Problem): void {
  const needed = { zeros: 0, replicate: 1, circular: 1, reflect: 2 }[p.mode];
  p.axes.forEach((axis, i) => {
    if (p.fineSize[i]! >= needed || !(axis.before || axis.after > 0)) return;
    throw refusal("mode", {
       mode: p.mode, needed, size: p.fineSize[i]!, repair: p.fineSize[i] ? "padding_mode='replicate'" : "padding_mode='zeros'" }, axisName(i, rank(p)));
  });
}

/** The other direction over the same cells with the same weight. */
export function adjoint(p: Problem): Problem {
  const empty = p.fineSize.indexOf(0);
  if (empty >= 0) throw refusal("empty", {}, axisName(empty, rank(p)));
  if (p.op === "conv") return { ...p, op: "conv_transpose" };
  const axes = p.axes.map((axis, i) => {
    const surplus = outputPadding(axis, p.coarseSize[i]!, p.fineSize[i]!);
    const room = p.fineSize[i]! + axis.before + axis.after;
    const fits = room >= extent(axis) && coarseSize(axis, p.fineSize[i]!) === p.coarseSize[i];
    return fits ? axis : { ...axis, after: axis.after - surplus };
  });
  return { ...p, op: "conv", axes };
}

/** The size arithmetic, a line per axis. */
export const sums = (p: Problem): string[] => p.axes.map((axis, i) =>
  p.op === "conv" ? coarseSum(axis, p.fineSize[i]!) : fineSum(axis, p.coarseSize[i]!, p.fineSize[i]!));

// -- the string ---------------------------------------------------------------------------------------------------

export function write(p: Problem): string {
  const unless = (none: unknown, key: string, entries: readonly (number | string)[]): string[] =>
    entries.some((entry) => entry !== none) ? [key + entries.join("x")] : [];
  const pads = p.axes.map((a) => (a.before === a.after ? `${a.before}` : `${a.before}:${a.after}`));
  return [
    p.op, `n${p.batch}`, `ci${inChannels(p)}`, `co${outChannels(p)}`,
    "i" + inSize(p).join("x"), "k" + kernelSize(p).join("x"),
    ...unless(1, "s", p.axes.map((a) => a.stride)), ...unless("0", "p", pads),
    ...unless(1, "d", p.axes.map((a) => a.dilation)),
    ...unless(0, "op", p.op === "conv" ? [] : outputPaddings(p)), ...unless(1, "g", [p.groups]),
    ...(p.mode === "zeros" ? [] : [p.mode]), ...(p.flip ? ["flip"] : []), ...(p.channelsLast ? ["nhwc"] : []), p.dtype,
  ].join(" ");
}

export const parse = (text: string): Problem => makeProblem(read(text));

/** The fields that a problem's string stands for. */
export function read(text: unknown): Fields {
  if (typeof text !== "string") throw refusal("string");
  const [op, fields, words] = tokens(text);
  for (const [key, meaning] of [["i", "input size"], ["k", "kernel_size"]] as const) {
    if (!(key in fields)) {
      throw refusal("missing", { key, meaning, text: repr(text) });
    }
  }
  const all = Math.max(...Object.values(fields).map((entries) => entries.length));
  const spreads = Object.fromEntries(Object.entries(fields).map(([key, entries]) => [key, spread(key, entries, all)]));
  const list = (key: string): number[] | undefined => spreads[key] as number[] | undefined;
  const one = (key: string): number | undefined => list(key)?.[0];
  if ("p" in fields && words.padding) {
    throw refusal("padding.twice", { padding: words.padding });
  }
  if (op === "conv_weight_gradient") {
    throw refusal("weight_gradient");
  }
  const pads = spreads.p?.map((entry): [number, number] => (typeof entry === "number" ? [entry, entry] : entry));
  return {
    op: op as Operation, in: list("i")!, kernel: list("k")!, stride: list("s"), dilation: list("d"),
    padding: words.padding ?? pads, outputPadding: list("op"), outputSize: list("o"),
    inChannels: one("ci"), outChannels: one("co"), batch: one("n"), groups: one("g"),
    flip: "flip" in words, mode: (words.mode ?? "zeros") as Mode, channelsLast: "nhwc" in words,
    dtype: words.dtype ?? "f32",
  };
}

type Words = Partial<Record<"padding" | "mode" | "flip" | "nhwc" | "dtype", string>>;

function tokens(text: string): [string, Record<string, Entry[]>, Words] {
  if (text.length > MAX_TEXT) {
    throw refusal("long", { most: MAX_TEXT, found: text.length });
  }
  const parts = text.split(/\s+/).filter(Boolean);
  const op = parts.length && OPERATIONS.includes(parts[0]!) ? parts.shift()! : "conv";
  const fields: Record<string, Entry[]> = Object.create(null) as Record<string, Entry[]>;
  const words: Words = {};
  for (const token of parts) {
    const kind = wordKind(token);
    const match = kind ? null : FIELD.exec(token);
    if (!kind && !match) throw unknown(token);
    const key = kind ?? match![1]!;
    if (key in fields || key in words) {
      throw refusal("twice", { key, token: repr(token) });
    }
    if (kind) words[kind] = token;
    else fields[key] = match![2]!.split("x").map((entry) => readEntry(key, entry));
  }
  return [op, fields, words];
}

function wordKind(token: string): keyof Words | undefined {
  if (PADDINGS.includes(token)) return "padding";
  if (MODES.includes(token)) return "mode";
  if (token === "flip" || token === "nhwc") return token;
  return DTYPES.includes(token) ? "dtype" : undefined;
}

function readEntry(key: string, text: string): Entry {
  const longest = Math.max(...text.split(":").map((part) => part.length));
  if (longest > 1000) throw refusal("digits", { key });
  if (longest > 13) throw refusal("large.field", { key });
  if (text.includes(":") && key !== "p") {
    throw refusal("pair", { key, text });
  }
  if (!text.includes(":")) return Number(text);
  const [before, after] = text.split(":");
  return [Number(before), Number(after)];
}

function spread(key: string, entries: Entry[], all: number): Entry[] {
  if (["n", "ci", "co", "g"].includes(key)) {
    if (entries.length !== 1) throw refusal("one", { key, found: entries.length, first: String(entries[0]) });
    return entries;
  }
  if (entries.length !== 1 && entries.length !== all) {
    throw refusal("entries", { key, found: entries.length, all, first: String(entries[0]) });
  }
  return entries.length === 1 ? new Array<Entry>(all).fill(entries[0]!) : entries;
}

function unknown(token: string): Refusal {
  const shown = token.length <= 40 ? token : token.slice(0, 37) + "...";
  if (OPERATIONS.includes(token)) return refusal("first", { shown: repr(shown) });
  const near = closest(token.slice(0, 40), [...OPERATIONS, ...PADDINGS, ...MODES, ...DTYPES, "flip", "nhwc"]);
  return refusal("field", { shown: repr(shown), repair: near ?? "conv n1 ci1 co1 i5x5 k3x3 s2 p1 f32" });
}

// difflib.get_close_matches(word, words, n=1): the ratio of matching blocks, at least 0.6.
function closest(word: string, words: string[]): string | undefined {
  const scored = words.map((w) => [2 * matching(w, word) / (w.length + word.length), w] as const);
  const good = scored.filter(([score]) => score >= 0.6);
  good.sort((a, b) => b[0] - a[0] || (a[1] < b[1] ? 1 : -1));
  return good[0]?.[1];
}

function matching(a: string, b: string): number {
  let [best, start, other] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < b.length; j++) {
      let size = 0;
      while (i + size < a.length && j + size < b.length && a[i + size] === b[j + size]) size++;
      if (size > best) [best, start, other] = [size, i, j];
    }
  }
  if (!best) return 0;
  return best + matching(a.slice(0, start), b.slice(0, other)) + matching(a.slice(start + best), b.slice(other + best));
}

export const shapeText = tuple;
