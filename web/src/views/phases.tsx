// The phases of a stride: which taps make which cells of the fine side, and how the parts interleave.

import type { JSX } from "preact";
import { parts, type Part } from "../engine/analysis";
import { phaseName, subKernels } from "../engine/describe";
import { number } from "../engine/numbers";
import { product } from "../engine/problem";
import { type Trace, type Values, unravel } from "../engine/trace";
import { say, t } from "../texts";
import { isLarge, planesOf, wholeOutput } from "../ui/arrays";
import { useStore } from "../ui/context";
import { Grid, type Mark } from "../ui/grid";
import type { Selection } from "../store";

const MOST_PHASES = 16;

export function Phases(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const { problem } = trace;
  const strides = problem.axes.map((axis) => axis.stride);
  const all = product(strides);
  if (all === 1) return <p class="note">{say("phases.single")} {t("phases.try")}</p>;
  if (problem.axes.length > 2 || all > 4096) return <p class="note">{t("phases.rank", { count: all })}</p>;
  const found = parts(problem);
  const at = store.stepped.value ? store.step.value : all;
  const kernels = product(trace.weightShape.slice(0, 2));
  return (
    <>
      <div class="phases">
        {found.slice(0, MOST_PHASES).map((part, i) => (
          <section key={part.residue.join()} class={`phase hue-${i % 9} ${i === at ? "now" : ""}`} aria-label={t("phase.name", { phase: phaseName(problem, part) })}>
            <h3><span class={`swatch hue-${i % 9}`} /> {phaseName(problem, part)}</h3>
            <SubKernel trace={trace} part={part} />
            <PhaseMap trace={trace} part={part} strides={strides} />
          </section>
        ))}
      </div>
      {found.length > MOST_PHASES && <p class="note">{say("phases.many", { phases: all, most: MOST_PHASES })}</p>}
      {kernels > 1 && <p class="note">{t("phases.channels", { count: kernels })}</p>}
      <Interleaved trace={trace} strides={strides} at={at} />
    </>
  );
}

const padded = (values: readonly number[]): number[] => (values.length === 1 ? [0, ...values] : [...values]);

// The fine side: the output of a transposed convolution, the input of a convolution.
const fineArray = (trace: Trace): "input" | "output" => (trace.isConv ? "input" : "output");
const fineValues = (trace: Trace): Values | null => (trace.isConv ? trace.x : wholeOutput(trace));
const fineCells = (trace: Trace, selection: Selection): readonly number[] => (trace.isConv ? selection.inp : selection.out);
const fineShape = (trace: Trace): number[] => (trace.isConv ? trace.inShape : trace.outShape);

function SubKernel({ trace, part }: { trace: Trace; part: Part }): JSX.Element {
  const sides = padded(part.axes.map((axis) => axis.taps.length));
  const [rows, columns] = part.axes.length === 1 ? [1, sides[1]!] : [sides[0]!, sides[1]!];
  const name = `subkernel-${padded(part.residue).join("-")}`;
  if (!rows || !columns) return <p class="note" data-testid={name}>{t("phase.hole")}</p>;
  const [cells] = subKernels(trace, part);
  const index = (row: number, column: number): number => cells[row * columns + column]!;
  return (
    <Grid id={name} caption={t("phase.kernel")} label={t("phase.kernel")} rows={rows} columns={columns} tone="weight"
      text={(row, column) => number(trace.weight[index(row, column)]!)} cell={(row, column) => ({ array: "weight", index: index(row, column) })}
      marks={(selection) => {
        const lit = new Set(selection.weight);
        return cells.slice(0, rows * columns).flatMap((cell, i): Mark[] => (lit.has(cell) ? [[Math.floor(i / columns), i % columns]] : []));
      }} />
  );
}

function PhaseMap({ trace, part, strides }: { trace: Trace; part: Part; strides: number[] }): JSX.Element | null {
  const size = padded(part.size);
  const [rows, columns] = part.size.length === 1 ? [1, part.size[0]!] : [size[0]!, size[1]!];
  const whole = fineValues(trace);
  if (!whole || !rows || !columns || isLarge({ rows, columns, count: 1, size: rows * columns })) return null;
  const index = (row: number, column: number): number => part.size.length === 1 ?
    column * strides[0]! + part.residue[0]! :
    (row * strides[0]! + part.residue[0]!) * trace.problem.fineSize[1]! + column * strides[1]! + part.residue[1]!;
  return (
    <Grid id={`phase-${padded(part.residue).join("-")}`} caption={t("phase.cells")} label={t("phase.cells")} rows={rows} columns={columns}
      tone={fineArray(trace)} text={(row, column) => number(whole[index(row, column)]!)}
      cell={(row, column) => ({ array: fineArray(trace), index: index(row, column) })}
      marks={(selection) => fineCells(trace, selection).flatMap((cell): Mark[] => {
        if (cell < 0 || cell >= product(trace.problem.fineSize)) return [];
        const place = unravel(cell, fineShape(trace)).slice(2);
        if (place.some((at, i) => at % strides[i]! !== part.residue[i])) return [];
        const inside = padded(place.map((at, i) => Math.floor(at / strides[i]!)));
        return [[inside[0]!, inside[1]!]];
      })} />
  );
}

function Interleaved({ trace, strides, at }: { trace: Trace; strides: number[]; at: number }): JSX.Element | null {
  const planes = planesOf(fineShape(trace));
  const whole = fineValues(trace);
  if (!whole || isLarge(planes)) return <p class="note">{t("phases.large")}</p>;
  const phaseAt = (row: number, column: number): number => strides.length === 1 ? column % strides[0]! :
    (row % strides[0]!) * strides[1]! + (column % strides[1]!);
  const title = t(trace.isConv ? "phases.interleaved.input" : "phases.interleaved");
  return (
    <div class="figure">
      <Grid id="interleaved" caption={<b>{title}</b>} label={title} rows={planes.rows} columns={planes.columns} tone="plain"
        text={(row, column) => (phaseAt(row, column) <= at ? number(whole[row * planes.columns + column]!) : "·")}
        className={(row, column) => (phaseAt(row, column) <= at ? `hue hue-${phaseAt(row, column) % 9}` : "blank")}
        cell={(row, column) => ({ array: fineArray(trace), index: row * planes.columns + column })}
        marks={(selection) => fineCells(trace, selection).flatMap((cell): Mark[] => (cell >= 0 && cell < planes.size ?
          [[Math.floor(cell / planes.columns), cell % planes.columns, undefined, selection.cell?.array === fineArray(trace) ? "focus" : undefined]] : []))} />
    </div>
  );
}
