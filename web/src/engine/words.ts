// Names of cells, for those who read and for those who listen. The twin of src/twofold/explain/words.py.

import { type Num, type Term, elided, number } from "./numbers";
import { unravel } from "./trace";

const AXES = ["depth", "row", "column"];

interface Shapes { readonly inShape: number[]; readonly weightShape: number[]; readonly outShape: number[] }

/** A cell shortly: leading axes of batch and channels only from the first that has more than one. */
export function commas(cell: readonly number[], shape: readonly number[]): string {
  const first = [0, 1].find((axis) => shape[axis]! > 1) ?? 2;
  return cell.slice(first).join(",");
}

/** A cell in words. */
export function spoken(name: string, cell: readonly number[], shape: readonly number[]): string {
  const batch = shape[0]! > 1 ? ` batch ${cell[0]}` : "";
  const channel = shape[1]! > 1 ? ` channel ${cell[1]}` : "";
  const position = cell.slice(2);
  if (position.length > 3) return `${name}${batch}${channel} ${position.join(",")}`;
  const names = AXES.slice(3 - position.length);
  return `${name}${batch}${channel} ` + position.map((at, i) => `${names[i]} ${at}`).join(" ");
}

const at = (index: number, shape: readonly number[]): string => commas(unravel(index, shape), shape);

export function dotAria(
  focus: string, result: Num, terms: readonly Term[], shapes: Shapes, bias: Num | null,
): string {
  const spell = (part: Term | Num): string => {
    if (!(typeof part === "object" && "product" in part)) return `bias ${number(part)}`;
    const source = part.padding ? "padding (0)" : `input ${at(part.inp, shapes.inShape)} (${number(part.input)})`;
    return `weight ${at(part.tap, shapes.weightShape)} (${number(part.weight)}) times ${source}`;
  };
  const parts = elided<Term | Num>([...terms, ...(bias === null ? [] : [bias])], spell);
  return `${focus} is ${number(result)}: ${parts.join(", plus ") || "no products"}`;
}

export function scatterAria(focus: string, value: Num, terms: readonly Term[], shapes: Shapes): string {
  const spell = (t: Term): string =>
    `weight ${at(t.tap, shapes.weightShape)} (${number(t.weight)}) adds ${number(t.product)} ` +
    `to output ${at(t.out, shapes.outShape)}`;
  return `${focus} is ${number(value)}: ${elided(terms, spell).join(", ") || "it reaches no output"}`;
}
