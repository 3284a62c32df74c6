// Names of cells, for those who read and for those who listen. The twin of src/twofold/explain/words.py.

import { say } from "../texts";
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
  const leading = ["batch", "channel"].flatMap((what, i) => (shape[i]! > 1 ? [say(`cell.${what}`, { index: cell[i]! })] : []));
  const position = cell.slice(2);
  if (position.length > 3) return [name, ...leading, position.join(",")].join(" ");
  const names = AXES.slice(3 - position.length);
  return [name, ...leading, ...position.map((at, i) => say(`cell.${names[i]}`, { index: at }))].join(" ");
}

const at = (index: number, shape: readonly number[]): string => commas(unravel(index, shape), shape);

export function dotAria(
  focus: string, result: Num, terms: readonly Term[], shapes: Shapes, bias: Num | null,
): string {
  const spell = (part: Term | Num): string => {
    if (!(typeof part === "object" && "product" in part)) return say("cell.bias", { value: number(part) });
    const source = part.padding ? say("cell.padding") :
      say("cell.input", { cell: at(part.inp, shapes.inShape), value: number(part.input) });
    return say("cell.term", { tap: at(part.tap, shapes.weightShape), weight: number(part.weight), source });
  };
  const parts = elided<Term | Num>([...terms, ...(bias === null ? [] : [bias])], spell);
  return say("cell.dot", { focus, result: number(result), parts: parts.join(say("cell.joint")) || say("cell.nothing") });
}

export function scatterAria(focus: string, value: Num, terms: readonly Term[], shapes: Shapes): string {
  const spell = (t: Term): string => say("cell.paint", {
    tap: at(t.tap, shapes.weightShape), weight: number(t.weight), product: number(t.product), cell: at(t.out, shapes.outShape),
  });
  return say("cell.dot", { focus, result: number(value), parts: elided(terms, spell).join(", ") || say("cell.reaches-nothing") });
}
