// One spatial axis. The twin of src/twofold/geometry/axis.py.
//
//     fine = coarse * stride + tap * dilation - before            0 <= tap < kernel

import { refusal } from "./errors";
import { say, t } from "../texts";

export interface Axis {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
}

export const fine = (axis: Axis, coarse: number, tap: number): number =>
  coarse * axis.stride + tap * axis.dilation - axis.before;

export const extent = (axis: Axis): number => axis.dilation * (axis.kernel - 1) + 1;
export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);
export const mod = (a: number, b: number): number => ((a % b) + b) % b;
export const gcd = (a: number, b: number): number => (b ? gcd(b, a % b) : a);

// -- sizes --------------------------------------------------------------------------------------------------------

export function coarseSize(axis: Axis, size: number): number {
  const room = size + axis.before + axis.after;
  if (room < extent(axis)) {
    const { kernel, dilation, before, after } = axis;
    throw refusal("kernel.fits", { kernel, dilation, before, after, extent: extent(axis), size, room, repair: repairRoom(axis, size, room) });
  }
  return Math.floor((room - extent(axis)) / axis.stride) + 1;
}

function repairRoom(axis: Axis, size: number, room: number): string {
  const padding = -Math.floor((size - extent(axis)) / 2);
  if (axis.kernel > 1 && room > 1 && axis.dilation > 1) {
    const fitting = Math.floor((room - 1) / (axis.kernel - 1));
    if (fitting >= 1) return t("refusal.room.dilation", { padding, fitting });
  }
  if (room >= 1 && axis.dilation === 1) return t("refusal.room.kernel", { padding, room });
  return t("refusal.room", { padding });
}

export const smallestFine = (axis: Axis, coarse: number): number =>
  fine(axis, coarse - 1, axis.kernel - 1) + 1 - axis.after;

export function fineSize(axis: Axis, coarse: number, outputPadding: number): number {
  const limit = Math.max(axis.stride, axis.dilation);
  if (outputPadding >= limit) {
    throw refusal("output_padding.large", { outputPadding, stride: axis.stride, dilation: axis.dilation, most: limit - 1 });
  }
  const size = smallestFine(axis, coarse) + outputPadding;
  if (size < 1) {
    const most = axis.before + axis.after + size - 1;
    throw refusal("padding.swallows", { sum: fineSum(axis, coarse, size), half: Math.max(Math.floor(most / 2), 0) });
  }
  return size;
}

export function checkTarget(axis: Axis, coarse: number, size: number): void {
  const first = smallestFine(axis, coarse);
  const last = first + Math.max(axis.stride, axis.dilation) - 1;
  if (size >= Math.max(first, 1) && size <= last) return;
  const sizes = first === last ? `${Math.max(first, 1)}` : `${Math.max(first, 1)} to ${last}`;
  const legal = last >= 1 ? t("refusal.legal", { sizes }) : t("refusal.legal.none");
  throw refusal("output_size.reach", { size, coarse, axis: axisText(axis), legal,
    repair: last >= 1 ? `output_size=${Math.min(Math.max(size, first, 1), last)}` : t("refusal.legal.none.try") });
}

export const outputPadding = (axis: Axis, coarse: number, size: number): number => size - smallestFine(axis, coarse);

// -- words --------------------------------------------------------------------------------------------------------

const padsText = (axis: Axis): string =>
  axis.before === axis.after ? (axis.before ? `2*${axis.before}` : "0") : `(${axis.before} + ${axis.after})`;

export const coarseSum = (axis: Axis, size: number): string =>
  `floor((${size} + ${padsText(axis)} - ${axis.dilation}*(${axis.kernel}-1) - 1)/${axis.stride}) + 1` +
  ` = ${coarseSize(axis, size)}`;

export const fineSum = (axis: Axis, coarse: number, size: number): string =>
  `(${coarse}-1)*${axis.stride} - ${padsText(axis)} + ${axis.dilation}*(${axis.kernel}-1)` +
  ` + ${size - smallestFine(axis, coarse)} + 1 = ${size}`;

export const padText = (axis: Axis): string =>
  axis.before === axis.after ? `${axis.before}` : `(${axis.before}, ${axis.after})`;

export const axisText = (axis: Axis): string =>
  `kernel_size ${axis.kernel}, stride ${axis.stride}, dilation ${axis.dilation}, padding ${padText(axis)}`;

export const axisName = (index: number, rank: number): string =>
  rank <= 3 ? say(`axis.${["width", "height", "depth"][rank - 1 - index]!}`) : `${index} of ${rank}`;

// -- phases and overlap -------------------------------------------------------------------------------------------

export interface Phase { readonly residue: number; readonly taps: number[]; readonly shifts: number[] }

/** The fine cells congruent to `residue` modulo stride, as one dense convolution of the coarse side. */
export function phase(axis: Axis, residue: number): Phase {
  const common = gcd(axis.stride, axis.dilation);
  const step = axis.stride / common;
  const distance = residue - fine(axis, 0, 0);
  if (mod(distance, common)) return { residue, taps: [], shifts: [] };
  const taps: number[] = [];
  for (let tap = 0; tap < axis.kernel; tap++) {
    if (mod(distance - tap * axis.dilation, axis.stride) === 0) taps.push(tap);
    if (taps.length === 1) {
      for (let next = tap + step; next < axis.kernel; next += step) taps.push(next);
      break;
    }
  }
  return { residue, taps, shifts: taps.map((tap) => (distance - tap * axis.dilation) / axis.stride) };
}

/** The fewest and the most products that an interior fine cell receives. */
export function products(axis: Axis): [number, number] {
  const common = gcd(axis.stride, axis.dilation);
  const step = axis.stride / common;
  return [common === 1 ? Math.floor(axis.kernel / step) : 0, ceilDiv(axis.kernel, step)];
}

/** The nearest kernel sizes that are even at this stride and dilation; none where they share a factor. */
export function evenKernels(axis: Axis): number[] {
  if (gcd(axis.stride, axis.dilation) > 1) return [];
  const below = Math.floor(axis.kernel / axis.stride) * axis.stride;
  const [fewest, most] = products(axis);
  return (fewest === most ? [below] : [below, below + axis.stride]).filter((size) => size >= 1);
}

/** For each fine cell the number of products that a transposed convolution adds there. */
export function overlap(axis: Axis, coarse: number, size: number): number[] {
  const counts = new Array<number>(size).fill(0);
  for (let c = 0; c < coarse; c++) {
    for (let tap = 0; tap < axis.kernel; tap++) {
      const cell = fine(axis, c, tap);
      if (cell >= 0 && cell < size) counts[cell]! += 1;
    }
  }
  return counts;
}
