// Numbers as pixels: blue for negative, white for zero, orange for positive; or greys for counts and pictures.

import type { Values } from "../engine/trace";
import type { Planes } from "./arrays";

const NEGATIVE = [0, 114, 178];
const POSITIVE = [213, 94, 0];

/** The colour of a value between -1 and 1. */
export function diverging(value: number): [number, number, number] {
  if (!Number.isFinite(value)) return [128, 128, 128];
  const end = value < 0 ? NEGATIVE : POSITIVE;
  const part = Math.min(1, Math.abs(value));
  return [0, 1, 2].map((i) => Math.round(250 + (end[i]! - 250) * part)) as [number, number, number];
}

/** The largest finite magnitude of a stretch of numbers. */
export function magnitude(values: Values, start = 0, size = values.length): number {
  let most = 0;
  for (let i = start; i < start + size; i++) {
    const value = Math.abs(Number(values[i]));
    if (value > most && Number.isFinite(value)) most = value;
  }
  return most;
}

/** Paint one plane, sampled to the size of the canvas, on a scale that is centred at 0. */
export function paint(
  canvas: HTMLCanvasElement, values: Values, start: number, planes: Planes, width: number, height: number,
  most = magnitude(values, start, planes.size), grey = false,
): void {
  const context = canvas.getContext("2d");
  if (!context || !width || !height) return;
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y + 0.5) / height * planes.rows);
    for (let x = 0; x < width; x++) {
      const column = Math.floor((x + 0.5) / width * planes.columns);
      const value = Number(values[start + row * planes.columns + column]) / (most || 1);
      const level = Math.round(Math.max(0, Math.min(1, value)) * 255);
      const [r, g, b] = grey ? [level, level, level] : diverging(value);
      image.data.set([r!, g!, b!, 255], (y * width + x) * 4);
    }
  }
  context.putImageData(image, 0, 0);
}
