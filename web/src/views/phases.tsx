// The phases of a stride: which taps make which output cells, and how the parts interleave.

import type { JSX } from "preact";
import { parts, type Part } from "../engine/analysis";
import { type Num, add, number } from "../engine/numbers";
import { product } from "../engine/problem";
import { type Trace, ravel, unravel } from "../engine/trace";
import { say, t } from "../texts";
import { isLarge, planesOf, wholeOutput } from "../ui/arrays";
import { useStore } from "../ui/context";
import { Grid, type Mark } from "../ui/grid";
import type { Selection } from "../store";
import { swapped, transposedOf, turned } from "./adjoint";

const MOST_PHASES = 16;

export function Phases(): JSX.Element {
  const store = useStore();
  const shown = store.trace.value;
  const trace = transposedOf(shown);
  const { problem } = trace;
  const strides = problem.axes.map((axis) => axis.stride);
  const all = product(strides);
  if (all === 1) return <p class="note">{say("phases.single")} {t("phases.try")}</p>;
  if (problem.axes.length > 2 || all > 4096) return <p class="note">{t("phases.rank", { count: all })}</p>;
  const found = parts(problem);
  const view = shown.isConv ? turned : (selection: Selection) => selection;
  const at = store.stepped.value ? store.step.value : all;
  const kernels = product(trace.weightShape.slice(0, 2));
  return (
    <>
      {shown.isConv && <p class="note">{t("adjoint")}</p>}
      <div class="phases">
        {found.slice(0, MOST_PHASES).map((part, i) => (
          <section key={part.residue.join()} class={`phase hue-${i % 9} ${i === at ? "now" : ""}`} aria-label={t("phase.name", { phase: phaseName(part, strides) })}>
            <h3><span class={`swatch hue-${i % 9}`} /> {phaseName(part, strides)}</h3>
            <SubKernel trace={trace} part={part} conv={shown.isConv} view={view} />
            <PhaseMap trace={trace} part={part} strides={strides} conv={shown.isConv} view={view} />
            <p class="note" data-testid={`phase-sum-${padded(part.residue).join("-")}`}>{t("phase.sum", { sum: number(phaseSum(trace, part)) })}</p>
          </section>
        ))}
      </div>
      {found.length > MOST_PHASES && <p class="note">{say("phases.many", { phases: all, most: MOST_PHASES })}</p>}
      {kernels > 1 && <p class="note">{t("phases.channels", { count: kernels })}</p>}
      <Interleaved trace={trace} strides={strides} at={at} conv={shown.isConv} view={view} />
      <p class="note">{costText(trace)}</p>
      <p class="note">{sumsText(trace, found)}</p>
    </>
  );
}

const padded = (values: readonly number[]): number[] => (values.length === 1 ? [0, ...values] : [...values]);

export function phaseName(part: Part, strides: readonly number[]): string {
  const names = part.residue.map((residue, i) =>
    strides[i] === 1 ? say("phases.all") : strides[i] === 2 ? say(residue ? "phases.odd" : "phases.even") :
      say("phases.residue", { residue, stride: strides[i]! }));
  return `(${names.join(", ")})`;
}

function tapsOf(trace: Trace, part: Part): { rows: number[]; columns: number[] } {
  const axes = part.axes.map((axis) => axis.taps);
  void trace;
  return axes.length === 1 ? { rows: [0], columns: axes[0]! } : { rows: axes[0]!, columns: axes[1]! };
}

// The weight of one tap in the first pair of channels.
function weightIndex(trace: Trace, row: number, column: number): number {
  const kernel = trace.problem.axes.map((axis) => axis.kernel);
  const flat = kernel.length === 1 ? column : ravel([row, column], kernel);
  return trace.problem.flip ? product(kernel) - 1 - flat : flat;
}

function phaseSum(trace: Trace, part: Part): Num {
  const { rows, columns } = tapsOf(trace, part);
  return add(rows.flatMap((row) => columns.map((column) => trace.weight[weightIndex(trace, row, column)]!)), trace.zero);
}

interface Shared { trace: Trace; conv: boolean; view(selection: Selection): Selection }

function SubKernel({ trace, part, view }: Shared & { part: Part }): JSX.Element {
  const { rows, columns } = tapsOf(trace, part);
  const name = `subkernel-${padded(part.residue).join("-")}`;
  if (!rows.length || !columns.length) return <p class="note" data-testid={name}>{t("phase.hole")}</p>;
  const index = (row: number, column: number): number => weightIndex(trace, rows[row]!, columns[column]!);
  return (
    <Grid id={name} caption={t("phase.kernel")} label={t("phase.kernel")} rows={rows.length} columns={columns.length} tone="weight"
      text={(row, column) => number(trace.weight[index(row, column)]!)} cell={(row, column) => ({ array: "weight", index: index(row, column) })}
      marks={(selection) => {
        const lit = new Set(view(selection).weight);
        const found: Mark[] = [];
        rows.forEach((_, r) => columns.forEach((__, c) => { if (lit.has(index(r, c))) found.push([r, c]); }));
        return found;
      }} />
  );
}

function PhaseMap({ trace, part, strides, conv, view }: Shared & { part: Part; strides: number[] }): JSX.Element | null {
  const size = padded(part.size);
  const [rows, columns] = part.size.length === 1 ? [1, part.size[0]!] : [size[0]!, size[1]!];
  const whole = wholeOutput(trace);
  if (!whole || !rows || !columns || isLarge({ rows, columns, count: 1, size: rows * columns })) return null;
  const index = (row: number, column: number): number => part.size.length === 1 ?
    column * strides[0]! + part.residue[0]! :
    (row * strides[0]! + part.residue[0]!) * trace.problem.fineSize[1]! + column * strides[1]! + part.residue[1]!;
  return (
    <Grid id={`phase-${padded(part.residue).join("-")}`} caption={t("phase.output")} label={t("phase.output")} rows={rows} columns={columns}
      tone="output" text={(row, column) => number(whole[index(row, column)]!)}
      cell={(row, column) => { const cell = { array: "output" as const, index: index(row, column) }; return conv ? swapped(cell) : cell; }}
      marks={(selection) => {
        const { out } = view(selection);
        return out.flatMap((cell): Mark[] => {
          const place = unravel(cell, trace.outShape).slice(2);
          if (cell >= product(trace.problem.fineSize) || place.some((at, i) => at % strides[i]! !== part.residue[i])) return [];
          const inside = padded(place.map((at, i) => Math.floor(at / strides[i]!)));
          return [[inside[0]!, inside[1]!]];
        });
      }} />
  );
}

function Interleaved({ trace, strides, at, conv, view }: Shared & { strides: number[]; at: number }): JSX.Element | null {
  const planes = planesOf(trace.outShape);
  const whole = wholeOutput(trace);
  if (!whole || isLarge(planes)) return <p class="note">{t("phases.large")}</p>;
  const phaseAt = (row: number, column: number): number => strides.length === 1 ? column % strides[0]! :
    (row % strides[0]!) * strides[1]! + (column % strides[1]!);
  return (
    <div class="figure">
      <Grid id="interleaved" caption={<b>{t("phases.interleaved")}</b>} label={t("phases.interleaved")} rows={planes.rows} columns={planes.columns}
        tone="plain" text={(row, column) => (phaseAt(row, column) <= at ? number(whole[row * planes.columns + column]!) : "·")}
        className={(row, column) => (phaseAt(row, column) <= at ? `hue hue-${phaseAt(row, column) % 9}` : "blank")}
        cell={(row, column) => { const cell = { array: "output" as const, index: row * planes.columns + column }; return conv ? swapped(cell) : cell; }}
        marks={(selection) => {
          const now = view(selection);
          return now.out.flatMap((cell): Mark[] => (cell < planes.size ?
            [[Math.floor(cell / planes.columns), cell % planes.columns, undefined, now.cell?.array === "output" ? "focus" : undefined]] : []));
        }} />
    </div>
  );
}

function costText(trace: Trace): string {
  const { problem } = trace;
  const [output, taps] = [product(problem.fineSize) * problem.batch, product(problem.axes.map((axis) => axis.kernel))];
  const channels = product(trace.weightShape.slice(0, 2));
  const values = { output, taps, channels, stretched: output * taps * channels, real: trace.taps.count };
  return say(channels > 1 ? "phases.cost.channels" : "phases.cost", values);
}

function sumsText(trace: Trace, found: Part[]): string {
  const sums = found.map((part) => number(phaseSum(trace, part)));
  return sums.every((sum) => sum === sums[0]) ? say("phases.sums.equal", { sum: sums[0]! }) :
    say("phases.sums.differ", { sums: sums.slice(0, MOST_PHASES).join(", ") });
}
