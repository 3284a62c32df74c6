// What the page refuses, in Python's words: the rule, the axis, the repair.

export class Refusal extends Error {
  constructor(readonly rule: string, readonly repair = "", public axis = "") {
    super(rule);
    this.name = "Refusal";
  }

  /** All of it on one line. */
  get sentence(): string {
    return this.rule + (this.axis ? ` (axis ${this.axis})` : "") + (this.repair ? `; try ${this.repair}` : "");
  }
}

/** Whatever was thrown, as a sentence. */
export function sentence(error: unknown): string {
  if (error instanceof Refusal) return error.sentence;
  return error instanceof Error ? error.message : String(error);
}

/** A string as Python's repr writes it. */
export function repr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inside = text.replace(/[\\\n\r\t]|[\x00-\x1f\x7f]/g, (c) => {
    const known: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
    return known[c] ?? "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0");
  });
  return quote + (quote === "'" ? inside.replaceAll("'", "\\'") : inside) + quote;
}

/** A tuple as Python prints it. */
export const tuple = (values: readonly (number | string)[]): string =>
  `(${values.join(", ")}${values.length === 1 ? "," : ""})`;
