// A layer as the code of four frameworks. What one of them cannot say is said in a comment.

import { type Problem, inChannels, kernelSize, outChannels, outputPaddings } from "./problem";

export function codeOf(p: Problem): Record<string, string> {
  return { PyTorch: pytorch(p), Keras: keras(p), JAX: jax(p), ONNX: onnx(p) };
}

const tuple = (values: readonly (number | string)[]): string => `(${values.join(", ")}${values.length === 1 ? "," : ""})`;
const strides = (p: Problem): number[] => p.axes.map((axis) => axis.stride);
const dilations = (p: Problem): number[] => p.axes.map((axis) => axis.dilation);
const symmetric = (p: Problem): boolean => p.axes.every((axis) => axis.before === axis.after);
const transposed = (p: Problem): boolean => p.op === "conv_transpose";

function pytorch(p: Problem): string {
  const parts = [String(inChannels(p)), String(outChannels(p)), `kernel_size=${tuple(kernelSize(p))}`];
  if (strides(p).some((s) => s !== 1)) parts.push(`stride=${tuple(strides(p))}`);
  if (symmetric(p) && p.axes.some((axis) => axis.before)) parts.push(`padding=${tuple(p.axes.map((axis) => axis.before))}`);
  if (transposed(p) && outputPaddings(p).some(Boolean)) parts.push(`output_padding=${tuple(outputPaddings(p))}`);
  if (dilations(p).some((d) => d !== 1)) parts.push(`dilation=${tuple(dilations(p))}`);
  if (p.groups !== 1) parts.push(`groups=${p.groups}`);
  if (p.mode !== "zeros" && !transposed(p)) parts.push(`padding_mode="${p.mode}"`);
  const layer = `torch.nn.Conv${transposed(p) ? "Transpose" : ""}${p.axes.length}d(${parts.join(", ")})`;
  const notes = [
    ...(p.flip ? ["# the weight turned by 180 degrees: weight.flip(" + p.axes.map((_, i) => i + 2).join(", ") + ")"] : []),
    ...(symmetric(p) ? [] : transposed(p) ?
      [`# crop the output: ${p.axes.map((axis) => `${axis.before} before and ${axis.after} after`).join(", then ")}`] :
      [`# first: torch.nn.functional.pad(x, ${tuple([...p.axes].reverse().flatMap((axis) => [axis.before, axis.after]))})`]),
    ...(p.mode !== "zeros" && transposed(p) ? [`# PyTorch knows no ${p.mode} padding here`] : []),
  ];
  return ["import torch", "", ...notes, layer].join("\n");
}

function sameUpper(p: Problem): boolean {
  return p.axes.every((axis, i) => {
    const total = Math.max(0, (p.coarseSize[i]! - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1 - p.fineSize[i]!);
    return p.coarseSize[i] === Math.ceil(p.fineSize[i]! / axis.stride) && axis.before === Math.floor(total / 2);
  });
}

function keras(p: Problem): string {
  const valid = p.axes.every((axis) => !axis.before && !axis.after);
  const parts = [String(outChannels(p)), tuple(kernelSize(p)), `strides=${tuple(strides(p))}`];
  const same = !valid && sameUpper(p);
  parts.push(`padding="${same ? "same" : "valid"}"`);
  if (dilations(p).some((d) => d !== 1)) parts.push(`dilation_rate=${tuple(dilations(p))}`);
  if (p.groups !== 1 && !transposed(p)) parts.push(`groups=${p.groups}`);
  const layer = `keras.layers.Conv${p.axes.length}D${transposed(p) ? "Transpose" : ""}(${parts.join(", ")})`;
  const notes = [
    ...(valid || same ? [] : transposed(p) ?
      [`# then keras.layers.Cropping${p.axes.length}D(${tuple(p.axes.map((axis) => tuple([axis.before, axis.after])))}), less output_padding at the end`] :
      [`# first: keras.layers.ZeroPadding${p.axes.length}D(${tuple(p.axes.map((axis) => tuple([axis.before, axis.after])))})`]),
    ...(p.groups !== 1 && transposed(p) ? ["# Keras has no groups here: one layer per group"] : []),
    ...(p.mode !== "zeros" ? [`# Keras pads with zeros, not ${p.mode}`] : []),
  ];
  return ["import keras", "", ...notes, layer].join("\n");
}

function jax(p: Problem): string {
  const letters = "DHW".slice(3 - Math.min(p.axes.length, 3));
  const spec = `("NC${letters}", "OI${letters}", "NC${letters}")`;
  if (!transposed(p)) {
    const pads = p.axes.map((axis) => tuple([axis.before, axis.after]));
    return ["from jax import lax", "",
      ...(p.mode !== "zeros" ? [`# first: jnp.pad(x, ..., mode="${{ reflect: "reflect", replicate: "edge", circular: "wrap" }[p.mode]}") and no padding below`] : []),
      `lax.conv_general_dilated(x, weight${p.flip ? "[..., ::-1]  # turned along every axis" : ""}, window_strides=${tuple(strides(p))},`,
      `    padding=${`[${pads.join(", ")}]`}, rhs_dilation=${tuple(dilations(p))}, feature_group_count=${p.groups},`,
      `    dimension_numbers=${spec})`].join("\n");
  }
  // A transposed convolution is one of the input with zeros between its cells and the kernel turned.
  const pads = p.axes.map((axis, i) => {
    const reach = axis.dilation * (axis.kernel - 1);
    const last = (p.coarseSize[i]! - 1) * axis.stride;
    return tuple([reach - axis.before, p.fineSize[i]! - 1 + axis.before - last]);
  });
  return ["from jax import lax", "import jax.numpy as jnp", "",
    ...(p.groups > 1 ? ["# with groups: one call per group"] : []),
    p.flip ? "turned = weight.swapaxes(0, 1)" : `turned = jnp.flip(weight, ${tuple(p.axes.map((_, i) => i + 2))}).swapaxes(0, 1)`,
    `lax.conv_general_dilated(x, turned, window_strides=${tuple(p.axes.map(() => 1))}, lhs_dilation=${tuple(strides(p))},`,
    `    padding=[${pads.join(", ")}], rhs_dilation=${tuple(dilations(p))}, dimension_numbers=${spec})`].join("\n");
}

function onnx(p: Problem): string {
  const list = (values: readonly number[]): string => `[${values.join(", ")}]`;
  const parts = [
    `kernel_shape=${list(kernelSize(p))}`, `strides=${list(strides(p))}`, `dilations=${list(dilations(p))}`,
    `pads=${list([...p.axes.map((axis) => axis.before), ...p.axes.map((axis) => axis.after)])}`, `group=${p.groups}`,
    ...(transposed(p) ? [`output_padding=${list(outputPaddings(p))}`] : []),
  ];
  return ["from onnx import helper", "",
    ...(p.flip ? ["# the weight is stored turned by 180 degrees"] : []),
    ...(p.mode !== "zeros" ? [`# first a Pad node, mode "${{ reflect: "reflect", replicate: "edge", circular: "wrap" }[p.mode]}", and pads of 0 here`] : []),
    `helper.make_node("Conv${transposed(p) ? "Transpose" : ""}", ["x", "weight"], ["y"],`,
    `    ${parts.join(", ")})`].join("\n");
}
