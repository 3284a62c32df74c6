// The state of the page as a link: what stands in the address, and nothing else.

import { refusal } from "./engine/errors";

export const VIEWS = ["filter", "transposed", "matrix", "phases", "overlap", "sizes", "field", "image", "gradient"] as const;
export const TABS = ["paint", "gather", "zero-insert"] as const;
const OTHER_TABS = ["plain", "receptive", "projective", "input", "weight"]; // Python's, which are one picture here
export type View = (typeof VIEWS)[number];
export type Tab = (typeof TABS)[number];

/** The hash is percent-encoded JSON of this; every key but `problem` may be missing. */
export interface Link {
  problem: string;
  x?: unknown;
  weight?: unknown;
  bias?: unknown;
  view?: View;
  tab?: Tab;
  step?: number;
  beside?: View; // a second view under the first
  pin?: [string, number]; // the pinned cell: its array and its flat index
  dy?: unknown; // the gradient that comes from above
  layers?: string; // the stack of the views field and overlap
  coarse?: number; // what the solver starts from
  fine?: number;
  vector?: string; // what the matrix is applied to
  noflip?: boolean; // zero insertion with the kernel as it is
  transpose?: boolean; // the matrix, mirrored
  image?: string; // which picture of the view image
  tour?: number;
}

export const FIRST: Link = {
  problem: "conv i3x3 k2x2", x: [[1, 2, 3], [4, 5, 6], [7, 8, 9]], weight: [[1, 2], [3, 4]], view: "filter",
};

const LONGEST = 4_000_000;

export const toHash = (link: Link): string => "#" + encodeURIComponent(JSON.stringify(link));

/** The state of an address; undefined if there is none, a refusal if it cannot be read. */
export function fromHash(hash: string): Link | undefined {
  const text = hash.replace(/^#/, "");
  if (!text) return undefined;
  if (text.length > LONGEST) throw refusal("link.long");
  let value: unknown;
  try {
    value = JSON.parse(decodeURIComponent(text));
  } catch {
    throw refusal("link.damaged");
  }
  return checked(value);
}

/** Whatever JSON says, as a link: unknown keys are dropped, wrong kinds refused in a sentence. */
export function checked(value: unknown): Link {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw refusal("link.state");
  }
  const given = value as Record<string, unknown>;
  if (typeof given.problem !== "string") {
    throw refusal("link.problem");
  }
  const link: Link = { problem: given.problem };
  for (const name of ["x", "weight", "bias", "dy"] as const) {
    if (given[name] !== undefined && given[name] !== null) link[name] = given[name];
  }
  if (given.view !== undefined) link.view = one("view", given.view, VIEWS);
  if (given.beside !== undefined) link.beside = one("beside", given.beside, VIEWS);
  if (given.tab === "transpose" && link.view === "matrix") link.transpose = true;
  else if (given.tab !== undefined && given.tab !== null && !OTHER_TABS.includes(given.tab as string)) link.tab = one("tab", given.tab, TABS);
  for (const name of ["step", "tour", "coarse", "fine"] as const) {
    const number = given[name];
    if (number === undefined || number === null) continue;
    if (typeof number !== "number" || !Number.isSafeInteger(number) || number < 0) {
      throw refusal("link.whole", { name, value: shown(number) });
    }
    link[name] = number;
  }
  for (const name of ["layers", "vector", "image"] as const) {
    if (typeof given[name] === "string") link[name] = given[name].slice(0, 2000);
  }
  for (const name of ["noflip", "transpose"] as const) if (given[name] === true) link[name] = true;
  const pin = given.pin;
  if (Array.isArray(pin) && typeof pin[0] === "string" && Number.isSafeInteger(pin[1])) link.pin = [pin[0], pin[1] as number];
  return link;
}

function one<T extends string>(name: string, value: unknown, known: readonly T[]): T {
  if (known.includes(value as T)) return value as T;
  throw refusal("link.known", { name, known: known.join(", "), value: shown(value), first: known[0]! });
}

const shown = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 40);
