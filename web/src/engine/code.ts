// A layer in the words of other libraries, to be copied. The twin of src/twofold/explain/code.py.

import { type Axis, extent, fine } from "./axis";
import { edges } from "./relatives";
import { type Problem, inChannels, kernelSize, outChannels, outputPaddings } from "./problem";

export function codeOf(p: Problem): Record<string, string> {
  return { PyTorch: pytorch(p), Keras: keras(p), JAX: jax(p), ONNX: onnx(p) };
}

const isTransposed = (p: Problem): boolean => p.op === "conv_transpose";
const strides = (p: Problem): number[] => p.axes.map((axis) => axis.stride);
const dilations = (p: Problem): number[] => p.axes.map((axis) => axis.dilation);
const joined = (values: readonly unknown[]): string => values.join(", ");
const full = (values: readonly unknown[]): string => `(${joined(values)}${values.length === 1 ? "," : ""})`; // a tuple's repr
const list = (values: readonly unknown[]): string => `[${joined(values)}]`;
const tuple = (values: readonly number[]): string => (new Set(values).size === 1 ? `${values[0]}` : `(${joined(values)})`);
const named = (name: string, values: readonly number[], normal: number): string[] =>
  values.some((value) => value !== normal) ? [`${name}=${tuple(values)}`] : [];
const pairs = (pads: readonly (readonly [number, number])[]): string =>
  pads.length === 1 ? full(pads[0]!) : `(${joined(pads.map(full))})`;
const dims = (rank: number): string => full(Array.from({ length: rank }, (_, i) => i + 2));

/** Cells of the canvas, before any crop. */
const canvas = (p: Problem): number[] => p.axes.map((axis, i) => p.coarseSize[i] ?
  fine(axis, p.coarseSize[i]! - 1, axis.kernel - 1) + 1 - fine(axis, 0, 0) : 0);

// Cells that the output has after the last one that the layer makes.
const beyond = (p: Problem, made: readonly number[]): number[] =>
  p.axes.map((axis, i) => Math.max(axis.before + p.fineSize[i]! - made[i]!, 0));

// What is kept of what the layer makes along each axis, after `lead` axes that are kept whole.
function crop(p: Problem, made: readonly number[], lead: number): string[] {
  const kept = p.axes.map((axis, i) => [axis.before, axis.before + p.fineSize[i]!] as const);
  if (kept.every(([start, stop], i) => start === 0 && stop === made[i])) return [];
  return [`y = y[${joined([...new Array<string>(lead).fill(":"), ...kept.map(([start, stop]) => `${start}:${stop}`)])}]`];
}

function pytorch(p: Problem): string {
  const rank = p.axes.length;
  if (rank > 3) return "# torch has layers of 1 to 3 axes";
  const transposed = isTransposed(p);
  const name = `torch.nn.Conv${transposed ? "Transpose" : ""}${rank}d`;
  const pads = p.axes.map((axis) => [axis.before, axis.after] as const);
  const alike = pads.every(([a, b]) => a === b);
  let options = [
    `kernel_size=${tuple(kernelSize(p))}`, ...named("stride", strides(p), 1), ...named("dilation", dilations(p), 1),
    ...(p.groups > 1 ? [`groups=${p.groups}`] : []),
  ];
  const before: string[] = [];
  let after: string[] = [];
  if (alike && pads.some(([a]) => a)) {
    options.splice(options.join(" ").includes("stride") ? 2 : 1, 0, `padding=${tuple(pads.map(([a]) => a))}`);
  }
  const mode = p.mode === "zeros" ? "constant" : p.mode;
  if (transposed && p.mode !== "zeros") return `# torch.nn.ConvTranspose${rank}d has padding_mode='zeros' only`;
  if (transposed && alike && outputPaddings(p).some(Boolean)) options.push(`output_padding=${tuple(outputPaddings(p))}`);
  if (!transposed && (!alike || p.mode !== "zeros")) {
    options = options.filter((entry) => !entry.startsWith("padding="));
    before.push(`x = torch.nn.functional.pad(x, (${joined([...pads].reverse().map(([a, b]) => `${a}, ${b}`))}), mode="${mode}")`);
  }
  if (transposed && !alike) {
    const more = beyond(p, canvas(p));
    after = crop(p, canvas(p).map((size, i) => size + more[i]!), 2);
    if (more.some(Boolean)) options.push(`output_padding=${tuple(more)}`);
  }
  const call = `layer = ${name}(${inChannels(p)}, ${outChannels(p)}, ${joined(options)}, bias=False)`;
  const turned = p.flip ? ["with torch.no_grad():", `    layer.weight.copy_(weight.flip(${dims(rank)}))`] : [];
  return [call, ...turned, ...before, "y = layer(x)", ...after].join("\n");
}

function keras(p: Problem): string {
  const rank = p.axes.length;
  if (rank > 3) return "# Keras has layers of 1 to 3 axes";
  const transposed = isTransposed(p);
  if (transposed && p.groups > 1) return "# Keras has no groups in transposed layers: one layer per group, and Concatenate";
  if (transposed && p.mode !== "zeros") return `# Keras has no transposed layer of padding_mode '${p.mode}'`;
  if (p.mode !== "zeros") return `# pad with numpy.pad or keras.ops.pad first: Keras has no padding_mode '${p.mode}'`;
  const name = `keras.layers.Conv${rank}D${transposed ? "Transpose" : ""}`;
  const options = [
    `${outChannels(p)}`, `kernel_size=${tuple(kernelSize(p))}`, ...named("strides", strides(p), 1),
    ...named("dilation_rate", dilations(p), 1), ...(p.groups > 1 ? [`groups=${p.groups}`] : []),
  ];
  const lines = ["# channels last; the kernel is (*kernel_size, in, out), for a transposed layer (*kernel_size, out, in)"];
  if (p.flip) lines.push("# turn the weight by 180 degrees first: Keras does not flip");
  if (strides(p).some((s) => s > 1) && dilations(p).some((d) => d > 1)) {
    lines.push("# Keras refuses strides and dilation_rate together on most backends");
  }
  const call = `${name}(${joined(options)}, padding="valid", use_bias=False)(x)`;
  if (transposed) {
    lines.push(`y = ${call}`);
    const gaps = p.axes.map((axis: Axis) => Math.max(axis.stride - extent(axis), 0));
    const made = canvas(p).map((size, i) => size + gaps[i]!);
    const more = beyond(p, made);
    if (more.some(Boolean)) lines.push(`y = keras.layers.ZeroPadding${rank}D(${pairs(more.map((n) => [0, n] as const))})(y)`);
    return [...lines, ...crop(p, made.map((size, i) => size + more[i]!), 1)].join("\n");
  }
  const pads = p.axes.map((axis) => [axis.before, axis.after] as const);
  if (pads.some(([a, b]) => a || b)) lines.push(`x = keras.layers.ZeroPadding${rank}D(${pairs(pads)})(x)`);
  return [...lines, `y = ${call}`].join("\n");
}

function jax(p: Problem): string {
  const rank = p.axes.length;
  const transposed = isTransposed(p);
  if (transposed && p.mode !== "zeros") return `# lax has no transposed convolution of padding_mode '${p.mode}'`;
  if (p.mode !== "zeros") return `# pad with jax.numpy.pad first: lax has no padding_mode '${p.mode}'`;
  const pads = transposed ? edges(p) : p.axes.map((axis): [number, number] => [axis.before, axis.after]);
  const options = [
    `window_strides=${full(transposed ? new Array<number>(rank).fill(1) : strides(p))}`, `padding=${list(pads.map(full))}`,
    ...(transposed ? [`lhs_dilation=${full(strides(p))}`] : []),
    ...(dilations(p).some((d) => d > 1) ? [`rhs_dilation=${full(dilations(p))}`] : []),
    ...(p.groups > 1 ? [`feature_group_count=${p.groups}`] : []),
  ];
  const lines: string[] = [];
  if (transposed) {
    lines.push("# weight (in, out / groups, *kernel_size) as (out, in / groups, *kernel_size)");
    const [g, perIn, perOut] = [p.groups, inChannels(p) / p.groups, outChannels(p) / p.groups];
    const size = joined(kernelSize(p));
    lines.push(`weight = weight.reshape(${g}, ${perIn}, ${perOut}, ${size}).swapaxes(1, 2)`);
    lines.push(`weight = weight.reshape(${outChannels(p)}, ${perIn}, ${size})`);
  }
  if (transposed !== p.flip) lines.push(`weight = jax.numpy.flip(weight, ${dims(rank)})`);
  return [...lines, `y = jax.lax.conv_general_dilated(x, weight, ${joined(options)})`].join("\n");
}

function onnx(p: Problem): string {
  const transposed = isTransposed(p);
  if (transposed && p.mode !== "zeros") return `# ONNX has no ConvTranspose of padding_mode '${p.mode}'`;
  // ONNX has other names for two of the modes.
  const modes: Record<string, string> = { replicate: "edge", circular: "wrap" };
  if (p.mode !== "zeros") return `# a node Pad with mode="${modes[p.mode] ?? p.mode}" comes first: Conv pads with zeros only`;
  const pads = [...p.axes.map((axis) => axis.before), ...p.axes.map((axis) => axis.after)];
  const options = [
    `kernel_shape=${list(kernelSize(p))}`, `strides=${list(strides(p))}`, `pads=${list(pads)}`,
    `dilations=${list(dilations(p))}`, `group=${p.groups}`,
    ...(transposed && outputPaddings(p).some(Boolean) ? [`output_padding=${list(outputPaddings(p))}`] : []),
  ];
  const note = p.flip ? ["# turn the weight by 180 degrees first: ONNX does not flip"] : [];
  return [...note, `onnx.helper.make_node("Conv${transposed ? "Transpose" : ""}", ["x", "weight"], ["y"], ${joined(options)})`].join("\n");
}
