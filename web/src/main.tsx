// The page: window.twofold for whoever wants the numbers, and the app if there is a document to stand in.

import { effect } from "@preact/signals";
import { render } from "preact";
import { parseChain } from "./engine/analysis";
import { describe } from "./engine/describe";
import { number } from "./engine/numbers";
import { makeTrace } from "./engine/trace";
import { sentence } from "./engine/errors";
import { FIRST, fromHash, toHash } from "./state";
import { Store } from "./store";
import { setTexts, t } from "./texts";
import { type Assets, setAssets } from "./views/assets";
import { App } from "./ui/app";
import { StoreContext } from "./ui/context";

const api = {
  /** What Python's `explain.problem(problem, x, weight, bias).to_json()` returns, byte for byte. */
  trace(problem: string, x: unknown = null, weight: unknown = null, bias: unknown = null): string {
    try {
      return makeTrace(problem, x, weight, bias).toJson();
    } catch (error) {
      throw new Error(sentence(error));
    }
  },
  /** What Python's `explain.views.describe` returns for a view, as JSON. */
  describe(
    problem: string, x: unknown, weight: unknown, bias: unknown,
    view?: string | null, tab?: string | null, step?: number | null, layers?: string | null,
  ): string {
    const found = describe(makeTrace(problem, x, weight, bias), view, tab, step, layers ? parseChain(layers) : null);
    return JSON.stringify(found).replace(/[\u007f-\uffff]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
  },
  number,
  setTexts,
};

declare global {
  interface Window { twofold: typeof api }
}

(globalThis as unknown as { twofold: typeof api }).twofold = api;
if (typeof document !== "undefined") {
  setTexts(JSON.parse(document.getElementById("texts")!.textContent!) as Record<string, string>);
  setAssets(JSON.parse(document.getElementById("assets")!.textContent!) as Assets);
  start();
}

function start(): void {
  const store = new Store(opening());
  const target = document.getElementById("page")!;
  target.textContent = "";
  render(<StoreContext.Provider value={store}><App /></StoreContext.Provider>, target);
  let mine = location.hash;
  let first = true;
  let waiting = 0;
  // The address follows the state; not faster than browsers allow while steps are playing.
  effect(() => {
    const link = store.link.value;
    if (first) {
      first = false;
      return;
    }
    clearTimeout(waiting);
    const write = (): void => {
      try {
        mine = toHash(link);
        history.replaceState(null, "", mine);
      } catch {
        // A frame without an address of its own (a notebook's srcdoc) keeps none.
      }
    };
    if (store.playing.peek()) waiting = window.setTimeout(write, 400);
    else write();
  });
  addEventListener("hashchange", () => {
    if (location.hash === mine) return;
    mine = location.hash;
    try {
      store.load(fromHash(location.hash) ?? FIRST);
    } catch (error) {
      store.message.value = { text: sentence(error), field: "link" };
    }
  });
  if (problemWithLink) store.message.value = { text: problemWithLink, field: "link" };
  talk(store);
}

let problemWithLink = "";

// The address first, then what Python wrote into the page, then the first example, with the tour for a newcomer.
function opening(): unknown {
  try {
    const link = fromHash(location.hash);
    if (link) return link;
  } catch (error) {
    problemWithLink = sentence(error);
    return FIRST;
  }
  const given = document.getElementById("state")?.textContent?.trim();
  if (given && given !== "null") {
    try {
      return JSON.parse(given);
    } catch {
      problemWithLink = t("refusal.state");
    }
  }
  return isNew() ? { ...FIRST, step: 0, tour: 0 } : FIRST;
}

function isNew(): boolean {
  try {
    const key = "twofold-page-seen";
    const seen = localStorage.getItem(key) !== null;
    localStorage.setItem(key, "1");
    return !seen;
  } catch {
    return true;
  }
}

// A frame around the page may set its state and its selection, and hears what is selected.
function talk(store: Store): void {
  if (window.parent === window) return;
  addEventListener("message", (event: MessageEvent<{ twofold?: string; state?: unknown; selection?: unknown }>) => {
    if (event.source !== window.parent || typeof event.data !== "object" || !event.data) return;
    if (event.data.twofold === "state") store.load(event.data.state);
    if (event.data.twofold === "select") store.choose(event.data.selection);
  });
  effect(() => window.parent.postMessage({ twofold: "selection", selection: store.chosen.value }, "*"));
}
