// The transposed convolution three times over: painted, gathered, and by zero insertion.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { fine } from "../engine/axis";
import { number } from "../engine/numbers";
import { type Problem, product } from "../engine/problem";
import { type Trace, unravel } from "../engine/trace";
import { commas } from "../engine/words";
import { type Cell, type Selection } from "../store";
import { TABS } from "../state";
import { t } from "../texts";
import { ArrayView, isLarge, planeName, planesOf, sizeText } from "../ui/arrays";
import { useStore } from "../ui/context";
import { Grid, type Mark, range } from "../ui/grid";
import { Bias } from "./filter";
import { GradientToggle } from "./gradient";

const MOST_PARTS = 16;

export function Transposed(): JSX.Element {
  const store = useStore();
  const tab = store.tab.value;
  return (
    <>
      <div class="tabs small" role="tablist" aria-label={t("tabs.transposed")}>
        {TABS.map((name) => (
          <button type="button" role="tab" key={name} data-testid={`tab-${name}`} aria-selected={tab === name}
            onClick={() => store.setTab(name)}>{t(`tab.${name}`)}</button>
        ))}
      </div>
      {tab === "paint" ? <Paint /> : tab === "gather" ? <Gather /> : <ZeroInsert />}
      <Bias />
      <GradientToggle />
    </>
  );
}

function Gather(): JSX.Element {
  const trace = useStore().trace.value;
  return (
    <div class="figure">
      <ArrayView trace={trace} array="input" edit />
      <ArrayView trace={trace} array="weight" edit />
      <span class="sign" aria-hidden="true">→</span>
      <ArrayView trace={trace} array="output" />
    </div>
  );
}

// -- paint --------------------------------------------------------------------------------------------------------

function Paint(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const many = trace.count > MOST_PARTS || isLarge(planesOf(trace.outShape)) || planesOf(trace.outShape).count > 4;
  const selected = store.selection.value.cell;
  const shown = many ? [selected?.array === "input" ? selected.index : store.step.value] : range(0, trace.count);
  const tooLarge = product(trace.outShape) > 4096;
  return (
    <>
      <div class="figure">
        <ArrayView trace={trace} array="input" edit />
        <ArrayView trace={trace} array="weight" edit />
      </div>
      {tooLarge ? <p class="note">{t("paint.large")}</p> :
        <section class="parts" aria-label={t("paint.parts")}>
          <h3>{many ? t("paint.one", { count: trace.count }) : t("paint.all")}</h3>
          <div class="figure">
            {shown.map((index, i) => [
              i ? <span class="sign" aria-hidden="true">+</span> : null,
              <Part key={index} trace={trace} index={index} />,
            ])}
          </div>
        </section>}
      <div class="figure">
        {!tooLarge && store.stepped.value && <Running trace={trace} index={store.step.value} />}
        <ArrayView trace={trace} array="output" title={t("paint.sum")} />
        <Canvas trace={trace} />
      </div>
    </>
  );
}

function partId(trace: Trace, index: number): string {
  const short = commas(unravel(index, trace.inShape), trace.inShape);
  return "part-" + (trace.inShape.length === 3 ? `0,${short}` : short).replaceAll(",", "-");
}

function Part({ trace, index }: { trace: Trace; index: number }): JSX.Element {
  const { total, seen } = useMemo(() => trace.painted(index), [trace, index]);
  const value = number(trace.x[index]!);
  const name = commas(unravel(index, trace.inShape), trace.inShape);
  return (
    <Painted trace={trace} id={partId(trace, index)} total={total} seen={seen}
      caption={<><b>{value}</b> × K</>} label={t("paint.part", { name, value })}
      cell={(out): Cell => (seen[out] ? { array: "input", index } : { array: "output", index: out })}
      marks={(selection) => selection.inp.flatMap((inp, i) => (inp === index ? [selection.out[i]!] : []))} />
  );
}

function Running({ trace, index }: { trace: Trace; index: number }): JSX.Element {
  const { total, seen } = trace.running(index);
  return (
    <Painted trace={trace} id="running" total={total.slice()} seen={seen.slice()}
      caption={<b>{t("paint.running", { count: index + 1 })}</b>} label={t("paint.running", { count: index + 1 })}
      cell={(out): Cell => ({ array: "output", index: out })} marks={(selection) => selection.out} />
  );
}

interface PaintedProps {
  trace: Trace; id: string; total: ArrayLike<unknown>; seen: Uint8Array; caption: JSX.Element; label: string;
  cell(out: number): Cell; marks(selection: Selection): readonly number[];
}

function Painted({ trace, id, total, seen, caption, label, cell, marks }: PaintedProps): JSX.Element {
  const planes = planesOf(trace.outShape);
  return (
    <>
      {range(0, planes.count).map((plane) => {
        const start = plane * planes.size;
        const at = (row: number, column: number): number => start + row * planes.columns + column;
        const suffix = planeName(trace.outShape, plane);
        return (
          <Grid key={plane} id={planes.count > 1 ? `${id}-${plane}` : id} caption={<>{caption} {suffix}</>} label={`${label} ${suffix}`}
            rows={planes.rows} columns={planes.columns} tone="output"
            text={(row, column) => number(total[at(row, column)] as number)}
            className={(row, column) => (seen[at(row, column)] ? "painted" : "blank")}
            cell={(row, column) => cell(at(row, column))}
            marks={(selection) => marks(selection).flatMap((out): Mark[] => {
              const inside = out - start;
              return inside >= 0 && inside < planes.size ? [[Math.floor(inside / planes.columns), inside % planes.columns]] : [];
            })} />
        );
      })}
    </>
  );
}

// -- the canvas and its crop --------------------------------------------------------------------------------------

interface Crop { size: number; before: number; after: number }

export function cropsOf(problem: Problem): Crop[] {
  return problem.axes.map((axis, i) => {
    const first = fine(axis, 0, 0);
    const stop = fine(axis, problem.coarseSize[i]! - 1, axis.kernel - 1) + 1;
    return { size: stop - first, before: -first, after: stop - problem.fineSize[i]! };
  });
}

function Canvas({ trace }: { trace: Trace }): JSX.Element | null {
  const { problem } = trace;
  const crops = cropsOf(problem);
  const cropped = crops.some((crop) => crop.before || crop.after);
  const whole = useMemo(() => {
    if (!cropped || problem.mode !== "zeros" || problem.axes.length > 2) return null;
    const axes = problem.axes.map((axis) => ({ ...axis, before: 0, after: 0 }));
    return trace.with({ problem: { ...problem, axes, fineSize: crops.map((crop) => crop.size) }, bias: null });
  }, [trace]);
  if (!whole) return null;
  const planes = planesOf(whole.outShape);
  const [tall, wide] = crops.length === 2 ? [crops[0]!, crops[1]!] : [{ size: 1, before: 0, after: 0 }, crops[0]!];
  const rows = tall.size + Math.max(0, -tall.after);
  const columns = wide.size + Math.max(0, -wide.after);
  if (isLarge({ ...planes, rows, columns, size: rows * columns })) return null;
  const output = planesOf(trace.outShape);
  const kept = (row: number, column: number): boolean =>
    row >= tall.before && row < tall.before + output.rows && column >= wide.before && column < wide.before + output.columns;
  return (
    <>
      {range(0, Math.min(planes.count, 4)).map((plane) => (
        <Grid key={plane} id={planes.count > 1 ? `canvas-${plane}` : "canvas"} tone="output" rows={rows} columns={columns}
          caption={<><b>✂ {t("canvas")}</b> {sizeText(whole.outShape)} {planeName(trace.outShape, plane)}</>} label={t("canvas")}
          text={(row, column) => (row < tall.size && column < wide.size ?
            number(whole.y[plane * planes.size + row * planes.columns + column]!) : "0")}
          className={(row, column) => (row >= tall.size || column >= wide.size ? "beyond" : kept(row, column) ? "kept" : "cropped")}
          cell={(row, column) => (kept(row, column) ?
            { array: "output", index: plane * output.size + (row - tall.before) * output.columns + column - wide.before } : null)}
          marks={(selection) => selection.out.flatMap((out): Mark[] => {
            const inside = out - plane * output.size;
            if (inside < 0 || inside >= output.size) return [];
            return [[Math.floor(inside / output.columns) + tall.before, (inside % output.columns) + wide.before]];
          })}
          note={canvasNote(crops)} />
      ))}
    </>
  );
}

function canvasNote(crops: Crop[]): string {
  const last = crops[crops.length - 1]!;
  const after = last.after >= 0 ? t("canvas.crop", { count: last.after }) : t("canvas.add", { count: -last.after });
  return t("canvas.note", { before: last.before, after });
}

// -- zero insertion -----------------------------------------------------------------------------------------------

function ZeroInsert(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const { problem } = trace;
  const wrong = store.link.value.noflip ?? false;
  const unturned = useMemo(
    () => (wrong ? trace.with({ problem: { ...problem, flip: !problem.flip } }) : null), [trace, wrong]);
  const kernel = product(problem.axes.map((axis) => axis.kernel));
  const turn = (index: number): number => Math.floor(index / kernel) * kernel + kernel - 1 - (index % kernel);
  const turned = !wrong !== problem.flip;
  const real = turned ? turn : (index: number) => index;
  const equal = !unturned || Array.from(unturned.y).every((value, i) => number(value) === number(trace.y[i]!));
  return (
    <>
      <label class="check">
        <input type="checkbox" data-testid="no-flip" checked={wrong}
          onChange={(event) => store.change({ noflip: event.currentTarget.checked || undefined })} />
        <span>{t("zero.noflip")}</span>
      </label>
      <div class="figure">
        <Stretched trace={trace} />
        <span class="sign" aria-hidden="true">∗</span>
        <ArrayView trace={trace} array="weight" title={turned ? t("zero.turned") : t("zero.unturned")}
          text={(index) => number(trace.weight[real(index)]!)} index={real} />
        <span class="sign" aria-hidden="true">=</span>
        <ArrayView trace={trace} array="output" {...(unturned ? { values: unturned.y, title: t("zero.result") } : {})}
          className={unturned ? (index) => (number(unturned.y[index]!) === number(trace.y[index]!) ? "" : "differs") : undefined} />
      </div>
      {wrong && (equal ? <p class="note">{t("zero.symmetric")}</p> :
        <p class="wrong-answer" role="status" data-testid="not-equal">{t("zero.wrong")}</p>)}
    </>
  );
}

// The input with zeros between its cells, and the zeros around it that the crop leaves.
function Stretched({ trace }: { trace: Trace }): JSX.Element {
  const { problem } = trace;
  const planes = planesOf(trace.inShape);
  const axes = problem.axes.slice(-2);
  const offset = problem.axes.length - axes.length;
  const spans = axes.map((axis, i) => {
    const [coarse, size] = [problem.coarseSize[offset + i]!, problem.fineSize[offset + i]!];
    const inner = (coarse - 1) * axis.stride + 1;
    return { inner, before: axis.dilation * (axis.kernel - 1) - axis.before, after: size - 1 + axis.before - (inner - 1) };
  });
  const [tall, wide] = spans.length === 2 ? [spans[0]!, spans[1]!] : [{ inner: 1, before: 0, after: 0 }, spans[0]!];
  const [down, right] = axes.length === 2 ? [axes[0]!, axes[1]!] : [{ stride: 1, dilation: 1, kernel: 1, before: 0 }, axes[0]!];
  const large = tall.inner > 40 || wide.inner > 64;
  if (large || problem.axes.length > 3) return <ArrayView trace={trace} array="input" />;
  const inputAt = (plane: number, row: number, column: number): number | null =>
    row % down.stride || column % right.stride ? null :
      plane * planes.size + (row / down.stride) * planes.columns + column / right.stride;
  return (
    <div class="array">
      {range(0, Math.min(planes.count, 12)).map((plane) => (
        <Grid key={plane} id={planes.count > 1 ? `stretched-${plane}` : "stretched"} tone="input" rows={tall.inner} columns={wide.inner}
          caption={<><b>{t("zero.stretched")}</b> {planeName(trace.inShape, plane)}</>} label={t("zero.stretched")}
          text={(row, column) => { const at = inputAt(plane, row, column); return at === null ? "0" : number(trace.x[at]!); }}
          className={(row, column) => (inputAt(plane, row, column) === null ? "inserted" : "")}
          cell={(row, column) => { const at = inputAt(plane, row, column); return at === null ? null : { array: "input", index: at }; }}
          ring={{ top: Math.max(0, tall.before), bottom: Math.max(0, tall.after), left: Math.max(0, wide.before), right: Math.max(0, wide.after), text: () => "0" }}
          marks={(selection) => windowMarks(trace, selection, plane, down, right)} />
      ))}
    </div>
  );
}

type Side = { stride: number; dilation: number; kernel: number; before: number };

function windowMarks(trace: Trace, selection: Selection, plane: number, down: Side, right: Side): Mark[] {
  const { cell } = selection;
  const planes = planesOf(trace.inShape);
  if (!cell) return [];
  if (cell.array !== "output") {
    return selection.inp.flatMap((inp): Mark[] => {
      const inside = inp - plane * planes.size;
      if (inside < 0 || inside >= planes.size) return [];
      return [[Math.floor(inside / planes.columns) * down.stride, (inside % planes.columns) * right.stride, undefined,
        cell.array === "input" && cell.index === inp ? "focus" : undefined]];
    });
  }
  const output = planesOf(trace.outShape);
  const inside = cell.index % output.size;
  const [row, column] = [Math.floor(inside / output.columns), inside % output.columns];
  return range(0, down.kernel).flatMap((a) => range(0, right.kernel).map((b): Mark => [
    row + (down.kernel > 1 || down.stride > 1 ? down.before : 0) - a * down.dilation, column + right.before - b * right.dilation,
  ]));
}
