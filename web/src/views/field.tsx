// Receptive and projective field through a stack of layers: exact sets, and the formula beside them.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Chain, jumpText, parseChain, reaches, sees, spans } from "../engine/analysis";
import { setText } from "../engine/describe";
import { sentence } from "../engine/errors";
import { inSize, outSize, write } from "../engine/problem";
import { say, t } from "../texts";
import { useStore } from "../ui/context";
import { range } from "../ui/grid";

const MOST = 120; // cells of a level that are drawn; of more, those around the chosen ones
const PRESETS: [string, string][] = [
  ["field.preset.plain", "conv i16 k3 p1; k3 s2 p1; k3 s2 p1"],
  ["field.preset.dilated", "conv i25 k3 p2 d2; k3 p2 d2; k3 p2 d2"],
  ["field.preset.coder", "conv i16 k3 s2 p1; k3 s2 p1; conv_transpose k4 s2 p1; conv_transpose k4 s2 p1"],
];

interface Spot { level: number; cell: number }

export function Field(): JSX.Element {
  const store = useStore();
  const { problem } = store.trace.value;
  const given = store.link.value.layers;
  const own = write(problem);
  const [text, setText] = useState<string | null>(null);
  const shownText = text ?? given ?? own;
  const made = useMemo(() => {
    try {
      return parseChain(shownText);
    } catch (error) {
      return sentence(error);
    }
  }, [shownText]);
  const [kept, setKept] = useState<Chain>(() => parseChain(own));
  if (typeof made !== "string" && made !== kept) setKept(made);
  const chain = typeof made === "string" ? kept : made;
  const set = (value: string): void => {
    setText(value);
    store.change({ layers: value });
  };
  const rank = chain.layers[0]!.axes.length;
  const [axis, setAxis] = useState<number | null>(null);
  const index = Math.min(axis ?? rank - 1, rank - 1);
  return (
    <>
      <label class="param whole"><span>{t("field.layers")}</span>
        <textarea rows={2} value={shownText} data-testid="param-layers" spellcheck={false} aria-invalid={typeof made === "string"}
          onInput={(event) => set(event.currentTarget.value)} /></label>
      {typeof made === "string" && <p class="complaint" role="alert" data-testid="error">{made}</p>}
      <div class="presets">
        {PRESETS.map(([name, layers]) => <button type="button" class="chip" key={name} onClick={() => set(layers)}>{t(name)}</button>)}
        {rank > 1 && <label class="param inline"><span>{t("field.axis")}</span>
          <select value={index} onChange={(event) => setAxis(Number(event.currentTarget.value))}>
            {range(0, rank).map((i) => <option key={i} value={i}>{say(`axis.${["width", "height", "depth"][rank - 1 - i] ?? "other"}`, { index: i })}</option>)}
          </select></label>}
      </div>
      <Levels chain={chain} index={index} />
      <Numbers chain={chain} index={index} />
    </>
  );
}

function Levels({ chain, index }: { chain: Chain; index: number }): JSX.Element {
  const depth = chain.layers.length;
  const sizes = [inSize(chain.layers[0]!)[index]!, ...chain.layers.map((layer) => outSize(layer)[index]!)];
  const middle: Spot = { level: depth, cell: Math.floor(sizes[depth]! / 2) };
  const [spot, setSpot] = useState<Spot>(middle);
  const [hover, setHover] = useState<Spot | null>(null);
  const at = [hover, spot, middle].find((one) => one && one.level <= depth && one.cell < sizes[one.level]!) ?? middle;
  const sets = useMemo(() => exactSets(chain, index, at), [chain, index, at.level, at.cell]);
  const seen = sets[0]!;
  const lit = sets.map((set) => new Set(set));
  // A long level is drawn around the set of the cell that was chosen last, and stays where it is under the pointer.
  const still = useMemo(() => exactSets(chain, index, spot.level <= depth && spot.cell < sizes[spot.level]! ? spot : middle), [chain, index, spot]);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.querySelectorAll<HTMLElement>(".cells").forEach((row, level) => {
    const cell = row.querySelector<HTMLElement>(`[data-rc="${level},${still[level]![Math.floor(still[level]!.length / 2)]}"]`);
    if (cell) row.scrollLeft += cell.getBoundingClientRect().left - row.getBoundingClientRect().left - row.clientWidth / 2;
  }), [still]);
  const firsts = sizes.map((size, level) => {
    const middleOf = still[level]![Math.floor(still[level]!.length / 2)] ?? 0;
    return Math.max(0, Math.min(middleOf - MOST / 2, size - MOST));
  });
  const r = at.level ? spans(chain, index)[at.level - 1]!.r : 1;
  const gaps = seen.length > 0 && seen.at(-1)! - seen[0]! + 1 > seen.length;
  const badge = seen.length === r && !gaps ? say("field.agrees.axes", { r }) : gaps ?
    t("field.gaps", { span: seen.at(-1)! - seen[0]! + 1, count: seen.length }) : t("field.edge", { r, count: seen.length });
  return (
    <>
      <div class="levels" data-testid="field" ref={box} onPointerLeave={() => setHover(null)}>
        {sizes.map((size, level) => (
          <div class="level" key={level}>
            <p class="level-name">{level === 0 ? say("field.input") : say("field.layer", { index: level, layer: layerName(chain, level, index) })}
              {size > MOST && " " + t("field.window", { first: firsts[level]!, last: firsts[level]! + MOST - 1, count: size })}</p>
            <div class="cells" role="group" aria-label={t("field.level", { level })}>
              {range(firsts[level]!, Math.min(size, firsts[level]! + MOST)).map((cell) => {
                const inside = lit[level]!.has(cell);
                const own = at.level === level && at.cell === cell;
                return (
                  <button type="button" key={cell} class={`dot ${inside ? "hit" : ""} ${own ? "focus" : ""}`} data-rc={`${level},${cell}`}
                    tabIndex={own || (level !== at.level && cell === firsts[level]) ? 0 : -1} aria-pressed={spot.level === level && spot.cell === cell}
                    aria-label={t("field.cell", { level, cell, state: inside ? t("field.in") : t("field.out") })}
                    onPointerOver={(event) => { if (event.pointerType !== "touch") setHover({ level, cell }); }}
                    onFocus={() => setSpot({ level, cell })} onClick={() => setSpot({ level, cell })}
                    onKeyDown={(event) => move(event, { level, cell }, sizes)}>{cell}</button>
                );
              })}
            </div>
          </div>
        ))}
      </div>
      <p class="readout" aria-live="polite" data-testid="field-set">{t("field.sees", {
        level: at.level, cell: at.cell, count: seen.length, set: setText(seen),
      })}{at.level < depth ? " " + t("field.reaches", { count: sets[depth]!.length, set: setText(sets[depth]!) }) : ""}</p>
      {at.level > 0 && <p><span class={`badge ${seen.length === r && !gaps ? "verdict-even" : "verdict-uneven"}`} data-testid="field-badge">{badge}</span></p>}
    </>
  );
}

function exactSets(chain: Chain, index: number, { level, cell }: Spot): number[][] {
  const before = level ? sees({ layers: chain.layers.slice(0, level) }, index, [cell]) : [[cell]];
  const after = level < chain.layers.length ? reaches({ layers: chain.layers.slice(level) }, index, [cell]) : [[cell]];
  return [...before, ...after.slice(1)];
}

function move(event: KeyboardEvent, { level, cell }: Spot, sizes: number[]): void {
  const steps: Record<string, [number, number]> = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault();
  const to = Math.max(0, Math.min(level + step[0], sizes.length - 1));
  const next = Math.max(0, Math.min(cell + step[1], sizes[to]! - 1));
  const all = (event.currentTarget as HTMLElement).closest(".levels");
  (all?.querySelector<HTMLElement>(`[data-rc="${to},${next}"]`) ?? all?.querySelector<HTMLElement>(`.hit[data-rc^="${to},"]`))?.focus();
}

export function layerName(chain: Chain, level: number, index: number): string {
  const layer = chain.layers[level - 1]!;
  const axis = layer.axes[index]!;
  return `${layer.op} k${axis.kernel} s${axis.stride} p${axis.before}` + (axis.dilation > 1 ? ` d${axis.dilation}` : "");
}

function Numbers({ chain, index }: { chain: Chain; index: number }): JSX.Element {
  const found = spans(chain, index);
  return (
    <table class="solutions" data-testid="spans">
      <caption>{t("field.numbers")}</caption>
      <thead><tr><th scope="col">{t("sizes.layer")}</th><th scope="col">r</th><th scope="col">{t("field.jump")}</th><th scope="col">{t("field.start")}</th></tr></thead>
      <tbody>{found.map((span, i) => (
        <tr key={i}><td class="mono">{layerName(chain, i + 1, index)}</td><td class="mono">{span.r}</td><td class="mono">{jumpText(span.jump)}</td><td class="mono">{span.start}</td></tr>
      ))}</tbody>
    </table>
  );
}
