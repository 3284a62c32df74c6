// The guided tour, and the examples: states with names.

import type { JSX } from "preact";
import type { Link } from "../state";
import { t } from "../texts";
import { useStore } from "./context";

const A = { problem: "conv i3x3 k2x2", x: [[1, 2, 3], [4, 5, 6], [7, 8, 9]], weight: [[1, 2], [3, 4]] };
const B = { problem: "conv_transpose i2x2 k2x2", x: [[1, 2], [3, 4]], weight: [[1, 2], [3, 4]] };
const C = { problem: "conv_transpose i2x2 k3x3 s2", x: [[1, 2], [3, 4]] };

interface Named { readonly key: string; readonly link: Link }

export const EXAMPLES: readonly Named[] = [
  { key: "conv", link: { ...A, view: "filter" } },
  { key: "padding", link: { ...A, problem: "conv i3x3 k2x2 p1", view: "filter" } },
  { key: "stride", link: { problem: "conv i5x5 k3x3 s2 p1", view: "filter" } },
  { key: "dilation", link: { problem: "conv i7x7 k3x3 d2", view: "filter" } },
  { key: "digits", link: { ...B, weight: "digits", view: "transposed", tab: "paint" } },
  { key: "transposed", link: { ...C, view: "transposed", tab: "paint" } },
  { key: "crop", link: { ...C, problem: "conv_transpose i2x2 k3x3 s2 p1 op1", view: "transposed" } },
  { key: "zero", link: { ...C, view: "transposed", tab: "zero-insert" } },
  { key: "matrix", link: { ...A, view: "matrix" } },
  { key: "phases", link: { ...C, view: "phases" } },
  { key: "checkerboard", link: { problem: "conv_transpose i4x4 k3x3 s2", view: "overlap" } },
  { key: "channels", link: { problem: "conv ci2 co2 i3x3 k2x2", view: "filter" } },
  { key: "groups", link: { problem: "conv ci4 co4 g2 i3x3 k2x2", view: "filter" } },
  { key: "line", link: { problem: "conv_transpose i3 k3 s2", x: [1, 2, 3], weight: [1, 10, 100], view: "transposed" } },
  { key: "volume", link: { problem: "conv i3x3x3 k2x2x2", weight: [[[1, 1], [1, 1]], [[1, 1], [1, 1]]], view: "filter" } },
  { key: "field", link: { ...A, problem: "conv i16 k3 p1", x: undefined, weight: undefined, view: "field", layers: "conv i16 k3 p1; k3 s2 p1; k3 s2 p1" } },
  { key: "gradient", link: { ...A, view: "gradient" } },
].map(({ key, link }) => ({ key, link: JSON.parse(JSON.stringify(link)) as Link }));

export const TOUR: readonly Link[] = [
  { ...A, view: "filter", step: 0 },
  { ...A, view: "filter", step: 2 },
  { ...A, problem: "conv i3x3 k2x2 p1", view: "filter", step: 0 },
  { problem: "conv i5x5 k3x3 s2", view: "filter", step: 1 },
  { ...B, view: "transposed", tab: "paint", step: 0 },
  { ...B, weight: "digits", view: "transposed", tab: "gather", step: 4 },
  { ...C, view: "transposed", tab: "paint", step: 1 },
  { ...C, problem: "conv_transpose i2x2 k3x3 s2 p1 op1", view: "transposed", tab: "paint" },
  { ...C, view: "transposed", tab: "zero-insert", step: 12 },
  { ...A, view: "matrix", step: 0 },
  { ...C, view: "phases" },
  { problem: "conv_transpose i4x4 k3x3 s2", view: "overlap" },
];

export function Tour(): JSX.Element | null {
  const store = useStore();
  const at = store.link.value.tour;
  if (at === undefined) return null;
  const step = Math.min(at, TOUR.length - 1);
  const go = (next: number): void => {
    store.load({ ...TOUR[next]!, tour: next });
  };
  return (
    <section class="tour" aria-label={t("head.tour")} data-testid="tour-card">
      <div class="tour-buttons">
        <p class="tour-count">{t("tour.count", { step: step + 1, count: TOUR.length })}</p>
        <button type="button" data-testid="tour-back" disabled={step === 0} onClick={() => go(step - 1)}>{t("tour.back")}</button>
        {step < TOUR.length - 1 ?
          <button type="button" class="main" data-testid="tour-next" onClick={() => go(step + 1)}>{t("tour.next")}</button> :
          <button type="button" class="main" data-testid="tour-next" onClick={() => store.change({ tour: undefined })}>{t("tour.done")}</button>}
        <button type="button" class="quiet" data-testid="tour-close" onClick={() => store.change({ tour: undefined })}>{t("tour.close")}</button>
      </div>
      <div aria-live="polite">
        <h2>{t(`tour.${step}.title`)}</h2>
        <p>{t(`tour.${step}`)}</p>
      </div>
    </section>
  );
}
