// Why it is so: what the problem is, its size as a sum, and a sentence or two for the view.

import type { JSX } from "preact";
import { outSize, sums, write } from "../engine/problem";
import { t } from "../texts";
import { useStore } from "./context";

export function Why(): JSX.Element {
  const store = useStore();
  const { problem } = store.trace.value;
  const lines = sums(problem);
  return (
    <aside class="why" aria-label={t("why")}>
      <h2>{t("why")}</h2>
      <p>{t(`why.${store.view.value}`)}</p>
      <h3>{t("why.size")}</h3>
      <p class="mono" data-testid="size">{new Set(lines).size === 1 ? lines[0] : lines.map((line) => <span key={line}>{line}<br /></span>)}</p>
      <p class="note">{t("why.size.note", { size: outSize(problem).join(" × ") })}</p>
      <h3>{t("why.problem")}</h3>
      <p class="mono small">{write(problem)}</p>
    </aside>
  );
}
