// What the page refuses, in Python's words: the rule, the axis, the repair.

import { type Values, has, say, t } from "../texts";

export class Refusal extends Error {
  constructor(readonly rule: string, readonly repair = "", public axis = "") {
    super(rule);
    this.name = "Refusal";
  }

  /** All of it on one line. */
  get sentence(): string {
    const rule = this.axis ? t("refusal.axis", { rule: this.rule, axis: this.axis }) : this.rule;
    return this.repair ? t("refusal.try", { rule, repair: this.repair }) : rule;
  }
}

/** A refusal in the words of english.json; what to try instead stands there beside it. */
export function refusal(key: string, values: Values = {}, axis = ""): Refusal {
  const name = `page.refusal.${key}`;
  return new Refusal(say(name, values), has(`${name}.try`) ? say(`${name}.try`, values) : "", axis);
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
