// The phases of a stride: which taps make which cells of the fine side, and how the parts interleave.

import type { ComponentChildren, JSX } from "preact";
import { parts, type Part } from "../engine/analysis";
import { phaseName, subKernels } from "../engine/describe";
import { number } from "../engine/numbers";
import { product } from "../engine/problem";
import { type Trace, type Values, ravel, unravel } from "../engine/trace";
import { say, t } from "../texts";
import { wholeOutput } from "../ui/arrays";
import { useStore } from "../ui/context";
import { Grid, type Mark, type Tone, range } from "../ui/grid";
import type { Cell, Selection } from "../store";

const MOST_PHASES = 16;
const MOST_CELLS = 1600; // of one array that is written out here

export function Phases(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const { problem } = trace;
  const all = product(problem.axes.map((axis) => axis.stride));
  if (all === 1) return <p class="note">{say("phases.single")} {t("phases.try")}</p>;
  if (problem.axes.length > 3 || all > 4096) return <p class="note">{t("phases.rank", { count: all })}</p>;
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
            <PhaseMap trace={trace} part={part} />
          </section>
        ))}
      </div>
      {found.length > MOST_PHASES && <p class="note">{say("phases.many", { phases: all, most: MOST_PHASES })}</p>}
      {kernels > 1 && <p class="note">{t("phases.channels", { count: kernels })}</p>}
      <Interleaved trace={trace} at={at} />
    </>
  );
}

type Three = [number, number, number];

// Numbers of one to three axes as (depth, row, column), and as they stand in a name.
const three = (values: readonly number[], none: number): Three => [...new Array<number>(3 - values.length).fill(none), ...values] as Three;
const nameOf = (residue: readonly number[]): string => (residue.length === 1 ? [0, ...residue] : residue).join("-");

// The fine side: the output of a transposed convolution, the input of a convolution.
const fineArray = (trace: Trace): "input" | "output" => (trace.isConv ? "input" : "output");
const fineValues = (trace: Trace): Values | null => (trace.isConv ? trace.x : wholeOutput(trace));
const fineCells = (trace: Trace, selection: Selection): readonly number[] => (trace.isConv ? selection.inp : selection.out);

interface SlicesProps {
  id: string; caption: ComponentChildren; label: string; tone: Tone; size: Three;
  text(at: number): string; cell(at: number): Cell; className?(at: number): string; marks(selection: Selection): Iterable<readonly [number, Mark[3]?]>;
}

// An array of (depth, row, column) as grids, a slice each; what is marked is named by its place in all of them.
function Slices({ id, caption, label, tone, size: [depth, rows, columns], text, cell, className, marks }: SlicesProps): JSX.Element {
  const at = (z: number, row: number, column: number): number => (z * rows + row) * columns + column;
  return (
    <div class={`array ${depth > 2 ? "dense" : ""}`}>
      {range(0, depth).map((z) => {
        const name = depth > 1 ? t("plane.depth", { depth: z }) : "";
        return (
          <Grid key={z} id={depth > 1 ? `${id}-${z}` : id} caption={<>{caption} {name}</>} label={`${label} ${name}`} rows={rows} columns={columns}
            tone={tone} text={(row, column) => text(at(z, row, column))} cell={(row, column) => cell(at(z, row, column))}
            className={className && ((row, column) => className(at(z, row, column)))}
            marks={(selection) => [...marks(selection)].flatMap(([place, kind]): Mark[] => (Math.floor(place / rows / columns) === z ?
              [[Math.floor(place / columns) % rows, place % columns, undefined, kind]] : []))} />
        );
      })}
    </div>
  );
}

function SubKernel({ trace, part }: { trace: Trace; part: Part }): JSX.Element {
  const size = three(part.axes.map((axis) => axis.taps.length), 1);
  const name = `subkernel-${nameOf(part.residue)}`;
  if (!product(size)) return <p class="note" data-testid={name}>{t("phase.hole")}</p>;
  const cells = subKernels(trace, part)[0].slice(0, product(size));
  return (
    <Slices id={name} caption={t("phase.kernel")} label={t("phase.kernel")} tone="weight" size={size}
      text={(at) => number(trace.weight[cells[at]!]!)} cell={(at) => ({ array: "weight", index: cells[at]! })}
      marks={(selection) => {
        const lit = new Set(selection.weight);
        return cells.flatMap((cell, at): [number][] => (lit.has(cell) ? [[at]] : []));
      }} />
  );
}

// Where a cell of the first channel lies: (depth, row, column); null in the padding and in other channels.
function placeOf(trace: Trace, cell: number): Three | null {
  const { fineSize } = trace.problem;
  return cell < 0 || cell >= product(fineSize) ? null : unravel(cell, three(fineSize, 1)) as Three;
}

function PhaseMap({ trace, part }: { trace: Trace; part: Part }): JSX.Element | null {
  const { problem } = trace;
  const [strides, residue, size] = [three(problem.axes.map((axis) => axis.stride), 1), three(part.residue, 0), three(part.size, 1)];
  const whole = fineValues(trace);
  if (!whole || !product(size) || product(size) > MOST_CELLS) return null;
  const shape = three(problem.fineSize, 1);
  const index = (at: number): number => ravel(unravel(at, size).map((place, i) => place * strides[i]! + residue[i]!), shape);
  return (
    <Slices id={`phase-${nameOf(part.residue)}`} caption={t("phase.cells")} label={t("phase.cells")} tone={fineArray(trace)} size={size}
      text={(at) => number(whole[index(at)]!)} cell={(at) => ({ array: fineArray(trace), index: index(at) })}
      marks={(selection) => fineCells(trace, selection).flatMap((cell): [number][] => {
        const place = placeOf(trace, cell);
        if (!place || place.some((at, i) => at % strides[i]! !== residue[i])) return [];
        return [[ravel(place.map((at, i) => Math.floor(at / strides[i]!)), size)]];
      })} />
  );
}

function Interleaved({ trace, at }: { trace: Trace; at: number }): JSX.Element | null {
  const { problem } = trace;
  const size = three(problem.fineSize, 1);
  const strides = three(problem.axes.map((axis) => axis.stride), 1);
  const whole = fineValues(trace);
  if (!whole || product(size) > MOST_CELLS || size[0] > 12) return <p class="note">{t("phases.large")}</p>;
  const phaseAt = (cell: number): number => ravel(unravel(cell, size).map((place, i) => place % strides[i]!), strides);
  const title = t(trace.isConv ? "phases.interleaved.input" : "phases.interleaved");
  const array = fineArray(trace);
  return (
    <Slices id="interleaved" caption={<b>{title}</b>} label={title} tone="plain" size={size}
      text={(cell) => (phaseAt(cell) <= at ? number(whole[cell]!) : "·")}
      className={(cell) => (phaseAt(cell) <= at ? `hue hue-${phaseAt(cell) % 9}` : "blank")}
      cell={(cell) => ({ array, index: cell })}
      marks={(selection) => fineCells(trace, selection).flatMap((cell): [number, Mark[3]?][] => (placeOf(trace, cell) ?
        [[cell, selection.cell?.array === array ? "focus" : undefined]] : []))} />
  );
}
