// Numbers as text. The twin of src/twofold/explain/numbers.py, and equal to it byte for byte.
//
// An integer trace holds numbers while every sum stays below 2^53, and bigints beyond. A complex number is a pair.

import { say } from "../texts";

export interface Complex { readonly re: number; readonly im: number }
export type Num = number | bigint | Complex;

/** One product of a step. A padding term has input 0 and product 0, whatever the weight. */
export interface Term {
  readonly weight: Num;
  readonly input: Num;
  readonly product: Num;
  readonly padding: boolean;
  readonly inp: number; // flat indices; -1 where the window meets padding
  readonly tap: number;
  readonly out: number;
}

export const ELIDE = 12;
const HEAD = 4;
const TAIL = 2;
const PLAIN = 1e15;

export const isComplex = (value: Num): value is Complex => typeof value === "object";

export function number(value: Num): string {
  if (isComplex(value)) {
    const imaginary = number(value.im);
    return `(${number(value.re)}${imaginary.startsWith("-") ? "" : "+"}${imaginary}j)`;
  }
  if (typeof value === "bigint") return bigText(value);
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Math.abs(value) < PLAIN && Number.isInteger(value)) return String(value === 0 ? 0 : value);
  return general(value);
}

/** A number inside a sum or product: negative ones in brackets. */
export function term(value: Num): string {
  const text = number(value);
  return text.startsWith("-") ? `(${text})` : text;
}

// C's %.4g. JavaScript rounds a tie away from zero, C to the even digit; and their exponents look different.
function general(value: number): string {
  let [digits, exponent] = scientific(value.toExponential(3));
  const exact = Math.abs(value).toExponential(60); // a double that lies on a tie has no further digits
  if (/^\d\.\d{3}50{56}e/.test(exact) && Number(exact[4]) % 2 === 0) {
    [digits, exponent] = scientific((value < 0 ? "-" : "") + exact.slice(0, 5) + exact.slice(exact.indexOf("e")));
  }
  const sign = digits.startsWith("-") ? "-" : "";
  const bare = digits.replace("-", "").replace(".", "");
  if (exponent < -4 || exponent >= 4) {
    const mantissa = stripped(`${bare[0]}.${bare.slice(1)}`);
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${mantissa}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  if (exponent < 0) return sign + stripped(`0.${"0".repeat(-exponent - 1)}${bare}`);
  return sign + stripped(`${bare.slice(0, exponent + 1)}.${bare.slice(exponent + 1)}`);
}

function scientific(text: string): [string, number] {
  const [digits, exponent] = text.split("e");
  return [digits!, Number(exponent)];
}

const stripped = (text: string): string => (text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text);

function bigText(value: bigint): string {
  const size = value < 0n ? -value : value;
  if (size < BigInt(PLAIN)) return String(value);
  const close = Number(value);
  if (Number.isFinite(close)) return general(close);
  const all = String(size); // beyond every float: four digits, ties to even
  let exponent = all.length - 1;
  let head = BigInt(all.slice(0, 4));
  const rest = all.slice(4);
  const half = "5" + "0".repeat(rest.length - 1);
  if (rest > half || (rest === half && head % 2n === 1n)) head += 1n;
  let digits = String(head);
  if (digits.length > 4) exponent += 1;
  digits = stripped(`${digits[0]}.${digits.slice(1, 4)}`);
  return `${value < 0n ? "-" : ""}${digits}e+${exponent}`;
}

// -- arithmetic ---------------------------------------------------------------------------------------------------

export function multiply(a: Num, b: Num): Num {
  if (isComplex(a) || isComplex(b)) {
    const [p, q] = [complex(a), complex(b)];
    return { re: p.re * q.re - p.im * q.im, im: p.re * q.im + p.im * q.re };
  }
  return typeof a === "bigint" || typeof b === "bigint" ? BigInt(a) * BigInt(b) : a * b;
}

export function plus(a: Num, b: Num): Num {
  if (isComplex(a) || isComplex(b)) {
    const [p, q] = [complex(a), complex(b)];
    return { re: p.re + q.re, im: p.im + q.im };
  }
  return typeof a === "bigint" || typeof b === "bigint" ? BigInt(a) + BigInt(b) : a + b;
}

export const complex = (value: Num): Complex => (isComplex(value) ? value : { re: Number(value), im: 0 });

/** Add strictly left to right, beginning with zero. */
export const add = (values: readonly Num[], zero: Num = 0): Num => values.reduce(plus, zero);

// -- sums ---------------------------------------------------------------------------------------------------------

/** Up to 12 items; of more the first four and the last two. */
export function elided<T>(items: readonly T[], write: (item: T) => string, full = false): string[] {
  if (full || items.length <= ELIDE) return items.map(write);
  const more = say("sum.more", { more: items.length - HEAD - TAIL });
  return [...items.slice(0, HEAD).map(write), more, ...items.slice(-TAIL).map(write)];
}

type Part = Term | Num;
const isTerm = (part: Part): part is Term => typeof part === "object" && "product" in part;
const factors = (part: Part): string =>
  isTerm(part) ? `${term(part.weight)}*${term(part.input)}` : term(part);

/** The terms, the products and the sum; the bias is the last term. */
export function dotText(terms: readonly Term[], bias: Num | null, full = false): string {
  const tail: Num[] = bias === null ? [] : [bias];
  const values = [...terms.map((t) => t.product), ...tail];
  const total = number(add(values));
  if (!terms.length) return [say("cell.nothing"), ...tail.map(term)].join(" + ") + ` = ${total}`;
  const sides = [elided<Part>([...terms, ...tail], factors, full).join(" + ")];
  if (values.length > 1) sides.push(elided(values, term, full).join(" + "));
  return [...sides, total].join(" = ");
}

/** The products that one input cell paints. */
export function scatterText(terms: readonly Term[], full = false): string {
  if (!terms.length) return say("cell.nothing");
  const left = elided<Part>(terms, factors, full).join(", ");
  return `${left} = ${elided(terms, (t) => number(t.product), full).join(", ")}`;
}

export function channelText(
  sums: readonly (readonly [number, Num])[], total: Num, bias: Num | null, full = false,
): string {
  const parts = elided(sums, ([channel, sum]) => say("sum.channel", { channel, value: number(sum) }), full);
  if (bias !== null) parts.push(say("cell.bias", { value: number(bias) }));
  return [...parts, say("sum.total", { value: number(total) })].join(", ");
}

// -- JSON ---------------------------------------------------------------------------------------------------------

export function jsonNumber(value: Num): string {
  if (isComplex(value)) {
    const bare = (part: number): string => jsonNumber(part).replaceAll('"', "");
    const imaginary = bare(value.im);
    return `"(${bare(value.re)}${imaginary.startsWith("-") ? "" : "+"}${imaginary}j)"`;
  }
  if (typeof value === "bigint") {
    return value <= 2n ** 53n && value >= -(2n ** 53n) ? String(value) : `"${value}"`;
  }
  if (!Number.isFinite(value)) return `"${number(value)}"`;
  return String(value === 0 ? 0 : value);
}

/** A string as Python's json.dumps writes it: ASCII only. */
export const jsonText = (text: string): string =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (c) =>
    c === "\u007f" ? c : "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

const COMPLEX = /^\(?([+-]?(?:[\d.]+(?:e[+-]?\d+)?|nan|inf))([+-](?:[\d.]+(?:e[+-]?\d+)?|nan|inf))j\)?$/i;

/** A number from JSON or from a text field; undefined if it is none. */
export function readNumber(value: unknown): Num | undefined {
  if (typeof value === "number" || typeof value === "bigint") return value;
  if (typeof value === "boolean") return Number(value);
  if (typeof value !== "string" || value.length > 5000) return undefined;
  const text = value.trim().toLowerCase();
  if (/^[+-]?\d+$/.test(text)) {
    const exact = BigInt(text.replace("+", ""));
    const close = Number(exact);
    return Math.abs(close) <= 2 ** 53 && BigInt(close) === exact ? close : exact;
  }
  if (/^[+-]?(nan|inf(inity)?)$/.test(text)) {
    return text.includes("nan") ? NaN : text.startsWith("-") ? -Infinity : Infinity;
  }
  const parts = COMPLEX.exec(text);
  if (parts) {
    const [re, im] = [readNumber(parts[1]!), readNumber(parts[2]!)];
    return re === undefined || im === undefined ? undefined : { re: Number(re), im: Number(im) };
  }
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(text)) return undefined;
  return Number(text);
}
