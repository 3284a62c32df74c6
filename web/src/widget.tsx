// The page as a widget of a notebook (anywidget): `state` is the link as JSON, `selection` goes both ways.

import { effect } from "@preact/signals";
import { render as draw } from "preact";
import { FIRST } from "./state";
import { Store } from "./store";
import assets from "assets";
import english from "english";
import style from "./style.css";
import { setTexts } from "./texts";
import { App } from "./ui/app";
import { StoreContext } from "./ui/context";
import { setAssets } from "./views/assets";

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  on(event: string, act: () => void): void;
  off(event: string, act: () => void): void;
  save_changes(): void;
}

setTexts(english);
setAssets(assets);

function stateOf(model: Model): unknown {
  const given = model.get("state");
  if (typeof given !== "string" || !given) return given || FIRST;
  try {
    return JSON.parse(given);
  } catch {
    return FIRST;
  }
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const root = el.attachShadow ? el.shadowRoot ?? el.attachShadow({ mode: "open" }) : el;
  const sheet = document.createElement("style");
  sheet.textContent = style;
  const target = document.createElement("div");
  root.replaceChildren(sheet, target);
  const store = new Store(stateOf(model));
  draw(<StoreContext.Provider value={store}><App embedded /></StoreContext.Provider>, target);

  let sent = JSON.stringify(model.get("selection") ?? null);
  if (sent !== "null") store.choose(model.get("selection"));
  const onState = (): void => { store.load(stateOf(model)); };
  const onSelection = (): void => {
    const wanted = model.get("selection") ?? null;
    if (JSON.stringify(wanted) === sent) return;
    sent = JSON.stringify(wanted);
    store.choose(wanted);
  };
  model.on("change:state", onState);
  model.on("change:selection", onSelection);
  const stop = effect(() => {
    const chosen = store.chosen.value;
    const text = JSON.stringify(chosen);
    if (text === sent) return;
    sent = text;
    model.set("selection", chosen);
    model.save_changes();
  });
  return () => {
    stop();
    model.off("change:state", onState);
    model.off("change:selection", onSelection);
    draw(null, target);
  };
}

export default { render };
