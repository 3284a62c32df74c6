// Why it is so: the sentences that Python says of the same view, and the size as a sum.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { parseChain } from "../engine/analysis";
import { type Description, describe, isSmall } from "../engine/describe";
import { outSize, sums, write } from "../engine/problem";
import { type Trace, makeTrace } from "../engine/trace";
import type { View } from "../state";
import { say, t } from "../texts";
import { useStore } from "./context";

/** What Python's `describe` says; only its title where there is too much to be gone through. */
export function described(trace: Trace, view: View, tab: string | null, layers?: string): Description | null {
  const own = view === "filter" || view === "transposed";
  const name = own ? (trace.isConv ? "filter" : "transposed") : view;
  try {
    const chain = layers && (view === "field" || view === "overlap") ? parseChain(layers) : null;
    const first = chain && view === "field" ? makeTrace(chain.layers[0]!) : trace;
    return isSmall(first) ? describe(first, name, name === "transposed" || name === "matrix" ? tab : null, null, chain) : null;
  } catch {
    return null;
  }
}

export function titleOf(trace: Trace, view: View, tab: string, mirrored: boolean): string {
  if (view === "filter" || view === "transposed") return say(`title.${trace.isConv ? "filter" : tab}`);
  if (view === "field" || view === "gradient") return t(`title.${view}`);
  return say(view === "matrix" && mirrored ? "title.matrix.transpose" : `title.${view}`);
}

export function Why(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const { problem } = trace;
  const view = store.view.value;
  const tab = store.tab.value;
  const { layers, transpose } = store.link.value;
  const found = useMemo(() => described(trace, view, view === "matrix" ? (transpose ? "transpose" : "plain") : tab, layers),
    [trace, view, tab, layers, transpose]);
  const lines = sums(problem);
  const said = view === "sizes" ? [t("why.sizes")] : found ? found.why.filter((text) => !/^( |output \()/.test(text) && text !== found.formula) : [say(view === "image" ? "image.why" : `why.${trace.isConv ? "filter" : tab}`)];
  return (
    <aside class="why" aria-label={t("why")}>
      <h2>{t("why")}</h2>
      {said.map((text) => <p key={text}>{text}</p>)}
      <h3>{t("why.size")}</h3>
      <p class="mono" data-testid="size">{new Set(lines).size === 1 ? lines[0] : lines.map((line) => <span key={line}>{line}<br /></span>)}</p>
      <p class="note">{t("why.size.note", { size: outSize(problem).join(" × ") })}</p>
      <h3>{t("why.problem")}</h3>
      <p class="mono small">{write(problem)}</p>
    </aside>
  );
}
