// Other traces of the same layer: zeros inserted, the other direction, a constant. The twin of explain/relatives.py.

import { extent, fine } from "./axis";
import { type Num, type Term, add, dotText, elided, multiply, number } from "./numbers";
import { type Problem, adjoint as otherWay, inChannels, kernelSize, makeProblem, outChannels, product, weightShape } from "./problem";
import { say } from "../texts";
import { type Step, Trace, type Values, ravel, unravel, zeros } from "./trace";
import { commas, spoken } from "./words";

/** How many zeros stand before and after the stretched input along each axis; negative where it is cut. */
export const edges = (p: Problem): [number, number][] => p.axes.map((axis, i) => [
  fine(axis, 0, axis.kernel - 1),
  p.fineSize[i]! + extent(axis) - 2 - fine(axis, p.coarseSize[i]! - 1, axis.kernel - 1),
]);

/** The ordinary convolution that gives the same: zeros inserted, the weight turned by 180 degrees. */
export function stretched(trace: Trace, turned = true): Trace {
  const { problem: p } = trace;
  const sizes = p.axes.map((axis, i) => p.fineSize[i]! + extent(axis) - 1);
  const whole = makeProblem({
    op: "conv", in: sizes, kernel: kernelSize(p), inChannels: inChannels(p), outChannels: outChannels(p),
    dilation: p.axes.map((axis) => axis.dilation), groups: p.groups, batch: p.batch, dtype: p.dtype,
  });
  const x = zeros(p.batch * inChannels(p) * product(sizes), trace.x, trace.zero) as Num[];
  const shape = [p.batch, inChannels(p), ...sizes];
  for (let i = 0; i < trace.x.length; i++) {
    const [batch, channel, ...cell] = unravel(i, trace.inShape);
    const there = p.axes.map((axis, a) => fine(axis, cell[a]!, axis.kernel - 1));
    if (there.every((at, a) => at >= 0 && at < sizes[a]!)) x[ravel([batch!, channel!, ...there], shape)] = trace.x[i]!;
  }
  return trace.with({ problem: whole, x: x as Values, weight: swapped(trace, turned) });
}

// (in, out / groups, *kernel) as (out, in / groups, *kernel), perhaps turned; a flipped problem turns once more.
function swapped(trace: Trace, turned: boolean): Values {
  const { problem: p, weight } = trace;
  const taps = product(kernelSize(p));
  const [perIn, perOut] = [inChannels(p) / p.groups, outChannels(p) / p.groups];
  const found = zeros(weight.length, weight, trace.zero) as Num[];
  for (let i = 0; i < weight.length; i++) {
    const tap = i % taps;
    const out = Math.floor(i / taps) % perOut;
    const inp = Math.floor(i / taps / perOut);
    const group = Math.floor(inp / perIn);
    const there = ((group * perOut + out) * perIn + (inp % perIn)) * taps + (turned !== p.flip ? taps - 1 - tap : tap);
    found[there] = weight[i]!;
  }
  return found as Values;
}

function like(trace: Trace, size: number, value: (i: number) => number): Values {
  if (trace.x instanceof Float64Array) return Float64Array.from({ length: size }, (_, i) => value(i));
  return Array.from({ length: size }, (_, i): Num =>
    trace.kind === "complex" ? { re: value(i), im: 0 } : BigInt(value(i)));
}

const ones = (trace: Trace, size: number): Values => like(trace, size, () => 1);

/** The other operation with the same weight; its input counts 1, 2, 3, … or is given. */
export function adjoint(trace: Trace, x?: Values): Trace {
  const size = product(trace.outShape);
  return trace.with({ problem: otherWay(trace.problem), x: x ?? like(trace, size, (i) => i + 1), bias: null });
}

export const gradientOnes = (trace: Trace): Values => ones(trace, product(trace.outShape));

/** The same layer over an input of ones, without the bias. */
export const constant = (trace: Trace): Trace => trace.with({ x: ones(trace, trace.x.length), bias: null });

/** A resize-convolution of ones, as large as input * stride; null where there is nothing to compare. */
export function resized(trace: Trace): Trace | null {
  const { problem: p } = trace;
  if (p.op !== "conv_transpose" || p.axes.every((axis) => axis.stride === 1)) return null;
  const whole = makeProblem({
    op: "conv", in: p.coarseSize.map((n, i) => n * p.axes[i]!.stride), kernel: kernelSize(p), inChannels: inChannels(p),
    outChannels: outChannels(p), dilation: p.axes.map((axis) => axis.dilation), groups: p.groups, padding: "same",
    batch: p.batch, dtype: p.dtype,
  });
  return trace.with({
    problem: whole, x: ones(trace, p.batch * inChannels(p) * product(whole.fineSize)), weight: swapped(trace, true), bias: null,
  });
}

/** The canvas before the crop, without the bias; with a padding mode other than zeros the trace itself. */
export function uncropped(trace: Trace): Trace {
  const { problem: p } = trace;
  if (p.mode !== "zeros") return trace;
  const axes = p.axes.map((axis) => ({ ...axis, before: 0, after: 0 }));
  return trace.with({ problem: { ...p, axes, fineSize: canvasOf(p).map((axis) => axis.size) }, bias: null });
}

/** One axis of the canvas: its cells, those cropped before and after; negative where cells are added. */
export interface Canvas { readonly size: number; readonly before: number; readonly after: number }

export const canvasOf = (p: Problem): Canvas[] => p.axes.map((axis, i) => {
  const [first, stop] = [fine(axis, 0, 0), fine(axis, p.coarseSize[i]! - 1, axis.kernel - 1) + 1];
  return { size: stop - first, before: -first, after: stop - p.fineSize[i]! };
});

// -- gradients ----------------------------------------------------------------------------------------------------

/** One cell of dL/dw: the sum of dL/dy times input over everything that it multiplies. */
export function weightStep(trace: Trace, dy: Values, index: number): Step {
  const rows = trace.taps.ofWeight(index);
  const terms = rows.out.map((out, i): Term => {
    const [weight, inp] = [dy[out]!, rows.inp[i]!];
    const input = trace.x[inp]!;
    return { weight, input, product: multiply(weight, input), padding: false, inp, tap: index, out };
  });
  const result = add(terms.map((one) => one.product), trace.zero);
  const parts = elided(terms, (one) => say("gradient.term", { grad: number(one.weight), value: number(one.input) }));
  const shape = weightShape(trace.problem);
  const cell = say("gradient.weight.cell", { cell: commas(unravel(index, shape), shape) });
  return {
    kind: "dot", focus: index, rows, terms, result, bias: null, channels: [],
    aria: say("gradient.aria", { cell, result: number(result), parts: parts.join(say("cell.joint")) || say("cell.nothing") }),
    formula: (full = false) => dotText(terms, null, full),
  };
}

/** One cell of dL/dx: a step of the other operation, in the words of a gradient. */
export function inputStep(trace: Trace, other: Trace, index: number): Step {
  const step = other.dot(index);
  const spell = (one: Term): string => {
    const source = one.padding ? say("cell.padding") : say("gradient.grad", {
      cell: commas(unravel(one.inp, trace.outShape), trace.outShape), value: number(one.input),
    });
    const tap = commas(unravel(one.tap, trace.weightShape), trace.weightShape);
    return say("cell.term", { tap, weight: number(one.weight), source });
  };
  const parts = elided(step.terms, spell).join(say("cell.joint")) || say("cell.nothing");
  const cell = spoken("input", unravel(index, trace.inShape), trace.inShape);
  return { ...step, aria: say("gradient.aria", { cell, result: number(step.result), parts }) };
}
