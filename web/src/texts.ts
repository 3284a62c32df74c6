// Every word of the page stands in one file, src/twofold/explain/english.json, which Python reads too: a translation is
// one such file. It lies in the page as data, beside the script.

export type Values = Record<string, string | number | null>;

let known: Record<string, string> = {};

/** Take the texts of a language; the page does so before anything else. */
export function setTexts(texts: Record<string, string>): void {
  known = texts;
}

export const has = (key: string): boolean => key in known;

/** The text of a key, with {names} replaced; a count of 1 takes the form `key.one` where there is one. */
export function say(key: string, values: Values = {}): string {
  const text = (values.count === 1 ? known[`${key}.one`] : undefined) ?? known[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A text that only the page has. */
export const t = (key: string, values: Values = {}): string => say(`page.${key}`, values);
