// The formula line and the scrubber.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { ELIDE, type Term } from "../engine/numbers";
import { type Selection, nameOf } from "../store";
import { t } from "../texts";
import { useStore } from "./context";

export function FormulaBar(): JSX.Element {
  const store = useStore();
  const selection = store.selection.value;
  const playing = store.playing.value;
  const steps = store.steps;
  const elided = (selection.step?.terms.length ?? 0) > ELIDE;
  const text = selection.step ? selection.step.formula(store.full.value) : selection.text;
  const last = Math.max(steps - 1, 0);

  useEffect(() => {
    if (!playing) return undefined;
    const timer = setInterval(() => {
      if (store.step.value >= store.steps - 1) store.stop();
      else store.goTo(store.step.value + 1);
    }, 900 / store.speed.value);
    return () => clearInterval(timer);
  }, [playing, store.speed.value]);

  const pinned = store.pin.value !== null;
  return (
    <section class={`bar ${steps || text || store.view.value === "overlap" || store.link.value.beside ? "" : "idle"}`} aria-label={t("bar.name")}>
      <div class={`formula-line ${store.full.value ? "full" : ""}`} tabIndex={0} role="group" aria-label={t("bar.formula")}
        style={roomFor(store)}>
        <span class="where">{selection.cell && selection.step ? nameOf(store.trace.value, selection.cell) : ""}{pinned && <em> {t("bar.pinned")}</em>}</span>
        <div aria-live={playing ? "off" : "polite"} aria-atomic="true" class="live">
          <p data-testid="formula" class="formula" aria-hidden="true">
            {text ? <Terms text={text} selection={selection} full={store.full.value} /> : null}
          </p>
          <p class="unseen" data-testid="live">{selection.aria}</p>
        </div>
        {!text && <p class="hint">{t("bar.hint")}</p>}
        {elided && store.hover.value && !store.full.value ? <span class="hint">{t("bar.pin")}</span> : elided && (
          <button type="button" class="quiet" data-testid="full" aria-pressed={store.full.value}
            onClick={() => { store.full.value = !store.full.value; }}>
            {store.full.value ? t("bar.short") : t("bar.full")}
          </button>
        )}
      </div>
      {steps > 0 && (
        <div class="scrubber" role="group" aria-label={t("bar.steps")}>
          <button type="button" data-testid="first" aria-label={t("bar.first")} onClick={() => { store.stop(); store.goTo(0); }}>|‹</button>
          <button type="button" data-testid="back" aria-label={t("bar.back")} onClick={() => { store.stop(); store.goTo(store.step.value - 1); }}>‹</button>
          <button type="button" data-testid="play" class="play" aria-label={playing ? t("bar.pause") : t("bar.play")}
            aria-pressed={playing} onClick={() => togglePlay(store)}>{playing ? "❚❚" : "▶"}</button>
          <button type="button" data-testid="step" aria-label={t("bar.step")} onClick={() => stepOn(store)}>›</button>
          <button type="button" data-testid="last" aria-label={t("bar.last")} onClick={() => { store.stop(); store.goTo(last); }}>›|</button>
          <input type="range" min={0} max={last} value={store.step.value} data-testid="scrub" aria-label={t("bar.scrub")}
            aria-valuetext={t("bar.count", { step: store.step.value + 1, count: steps })}
            onInput={(event) => { store.stop(); store.goTo(Number(event.currentTarget.value)); }} />
          <span class="count" data-testid="count">{t("bar.count", { step: store.step.value + 1, count: steps })}</span>
          <select aria-label={t("bar.speed")} value={String(store.speed.value)}
            onChange={(event) => { store.speed.value = Number(event.currentTarget.value); }}>
            {["0.5", "1", "2", "4"].map((speed) => <option key={speed} value={speed}>{speed}×</option>)}
          </select>
        </div>
      )}
    </section>
  );
}

// Lines for the longest formula of the trace, on a wide and on a narrow screen. They are the same for every cell: a bar
// that grew would push the cell away that is pointed at, and so on without end.
function roomFor(store: Stepping): Record<string, number> {
  const { terms, perFine } = store.trace.value.taps;
  const signs = (terms > ELIDE ? 7 : terms) * 13 + 8;
  const channels = perFine > 1 ? 1 : 0;
  return { "--wide": Math.max(2, Math.ceil(signs / 125) + channels + (terms > 8 ? 1 : 0)), "--narrow": Math.min(7, 1 + Math.ceil(signs / 34) + 2 * channels) };
}

type Stepping = ReturnType<typeof useStore>;

export function togglePlay(store: Stepping): void {
  if (store.playing.value) return store.stop();
  if (!store.steps) return undefined;
  store.goTo(store.stepped.value && store.step.value < store.steps - 1 ? store.step.value : 0);
  store.playing.value = true;
  return undefined;
}

export function stepOn(store: Stepping): void {
  store.stop();
  store.goTo(store.stepped.value ? store.step.value + 1 : 0);
}

// The terms of the first side apart, so that those of the padding can be marked; the text stays what it is.
function Terms({ text, selection, full }: { text: string; selection: Selection; full: boolean }): JSX.Element {
  const { step } = selection;
  if (!step?.terms.some((term) => term.padding)) return <>{text}</>;
  const gap = step.kind === "dot" ? " + " : ", ";
  const end = text.indexOf(" = ");
  const pieces = text.slice(0, end).split(gap);
  const shortened = !full && step.terms.length + (step.bias === null ? 0 : 1) > ELIDE;
  const termOf = (i: number): Term | undefined => {
    if (!shortened || i < 4) return step.terms[i];
    const all = step.terms.length + (step.bias === null ? 0 : 1);
    return i === 4 ? undefined : step.terms[all - pieces.length + i];
  };
  return (
    <>
      {pieces.map((piece, i) => [
        i ? gap : "", <span key={i} class={`term ${termOf(i)?.padding ? "padding" : ""}`}>{piece}</span>,
      ])}
      {text.slice(end)}
    </>
  );
}
