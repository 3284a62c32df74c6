// The transposed convolution three times over: painted, gathered, and by zero insertion.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { axisName } from "../engine/axis";
import { number } from "../engine/numbers";
import { type Problem, product } from "../engine/problem";
import { type Canvas as CanvasAxis, canvasOf, edges, uncropped } from "../engine/relatives";
import { type Trace, unravel } from "../engine/trace";
import { commas } from "../engine/words";
import { type Cell, type Selection } from "../store";
import { TABS } from "../state";
import { t } from "../texts";
import { ArrayView, Joined, isLarge, planeName, planesOf, sizeText } from "../ui/arrays";
import { useStore } from "../ui/context";
import { Grid, type Mark, range } from "../ui/grid";
import { Bias } from "./filter";
import { GradientToggle } from "./gradient";

const MOST_PARTS = 16;
const MOST_PAINTED = 1300; // cells of all paintings that are drawn at once
const MOST_SLICES = 12; // planes of one figure

export function Transposed(): JSX.Element {
  const store = useStore();
  const tab = store.tab.value;
  return (
    <>
      <div class="tabs small" role="group" aria-label={t("tabs.transposed")}>
        {TABS.map((name) => (
          <button type="button" key={name} data-testid={`tab-${name}`} aria-pressed={tab === name}
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
      <Joined sign="→"><ArrayView trace={trace} array="output" /></Joined>
    </div>
  );
}

// -- paint --------------------------------------------------------------------------------------------------------

function Paint(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const cells = product(trace.outShape);
  const many = trace.count > MOST_PARTS || trace.count * cells > MOST_PAINTED || isLarge(planesOf(trace.outShape));
  const tooLarge = cells > 4096;
  return (
    <>
      <div class="figure">
        <ArrayView trace={trace} array="input" edit />
        <ArrayView trace={trace} array="weight" edit />
      </div>
      {tooLarge ? <p class="note">{t("paint.large")}</p> :
        <section class="parts" aria-label={t("paint.parts")}>
          <h3>{many ? t("paint.one", { count: trace.count }) : t("paint.all")}</h3>
          {many ? <ChosenPart trace={trace} /> : <div class="figure">
            {range(0, trace.count).map((index) => <Joined key={index} sign={index > 0 && "+"}><Part trace={trace} index={index} /></Joined>)}
          </div>}
        </section>}
      <div class="figure">
        {!tooLarge && store.stepped.value && <Running trace={trace} index={store.step.value} />}
        <ArrayView trace={trace} array="output" title={t("paint.sum")} />
        <CropOf trace={trace} />
      </div>
    </>
  );
}

// Of many paintings that of the input cell which is looked at.
function ChosenPart({ trace }: { trace: Trace }): JSX.Element {
  const store = useStore();
  const selected = store.selection.value.cell;
  return <Part trace={trace} index={selected?.array === "input" ? selected.index : store.step.value} />;
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
    <div class={`array ${planes.count > 3 ? "dense" : ""}`}>
      {range(0, Math.min(planes.count, MOST_SLICES)).map((plane) => {
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
    </div>
  );
}

// -- the canvas and its crop --------------------------------------------------------------------------------------

// The canvas with the crop drawn on it, depth slice by depth slice.
function CropOf({ trace }: { trace: Trace }): JSX.Element | null {
  const { problem } = trace;
  const crops = canvasOf(problem);
  const cropped = crops.some((crop) => crop.before || crop.after);
  const whole = useMemo(() => (cropped && problem.mode === "zeros" && crops.length <= 3 ? uncropped(trace) : null), [trace]);
  if (!whole) return null;
  const [deep, tall, wide] = [...new Array<CanvasAxis>(3 - crops.length).fill({ size: 1, before: 0, after: 0 }), ...crops] as
    [CanvasAxis, CanvasAxis, CanvasAxis];
  const [depth, rows, columns] = [deep, tall, wide].map((axis) => axis.size + Math.max(0, -axis.after)) as [number, number, number];
  if (isLarge({ count: 1, rows, columns, size: rows * columns }) || product(whole.outShape) > 4096) return null;
  const [outDepth, outRows, outColumns] = [...new Array<number>(3 - crops.length).fill(1), ...problem.fineSize] as [number, number, number];
  const within = (at: number, { before }: CanvasAxis, size: number): boolean => at >= before && at < before + size;
  const slices = product(whole.outShape.slice(0, 2)) * depth;
  const slice = (number_: number): JSX.Element => {
    const [lead, z] = [Math.floor(number_ / depth), number_ % depth];
    const kept = (row: number, column: number): boolean =>
      within(z, deep, outDepth) && within(row, tall, outRows) && within(column, wide, outColumns);
    const beyond = (row: number, column: number): boolean => z >= deep.size || row >= tall.size || column >= wide.size;
    const start = (lead * outDepth + z - deep.before) * outRows * outColumns;
    const index = (row: number, column: number): number => start + (row - tall.before) * outColumns + column - wide.before;
    const name = [trace.outShape[0]! * trace.outShape[1]! > 1 ? t("plane.channel", { channel: lead }) : "",
      depth > 1 ? t("plane.depth", { depth: z }) : ""].filter(Boolean).join(", ");
    return (
      <Grid key={number_} id={slices > 1 ? `canvas-${number_}` : "canvas"} tone="output" rows={rows} columns={columns}
        caption={<><b>✂ {t("canvas")}</b> {name || <span class="size">{sizeText(whole.outShape)}</span>}</>} label={`${t("canvas")} ${name}`}
        text={(row, column) => (beyond(row, column) ? "0" :
          number(whole.y[((lead * deep.size + z) * tall.size + row) * wide.size + column]!))}
        className={(row, column) => (beyond(row, column) ? "beyond" : kept(row, column) ? "kept" : "cropped")}
        cell={(row, column) => (kept(row, column) ? { array: "output", index: index(row, column) } : null)}
        marks={(selection) => selection.out.flatMap((out): Mark[] => {
          const inside = out - start;
          if (!within(z, deep, outDepth) || inside < 0 || inside >= outRows * outColumns) return [];
          return [[Math.floor(inside / outColumns) + tall.before, (inside % outColumns) + wide.before]];
        })} />
    );
  };
  return (
    <div class="stackwise">
      <div class={`array ${slices > 3 ? "dense" : ""}`}>{range(0, Math.min(slices, MOST_SLICES)).map(slice)}</div>
      <p class="note">{cropNote(crops)}</p>
    </div>
  );
}

// What is cut off and what is added: once, if it is the same along every axis.
function cropNote(crops: readonly CanvasAxis[]): string {
  const notes = crops.map(({ before, after }) =>
    t("canvas.note", { before, after: after >= 0 ? t("canvas.crop", { count: after }) : t("canvas.add", { count: -after }) }));
  return new Set(notes).size === 1 ? notes[0]! : notes.map((note, i) => `${axisName(i, crops.length)}: ${note}`).join("; ");
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
        <Joined sign="∗"><ArrayView trace={trace} array="weight" title={turned ? t("zero.turned") : t("zero.unturned")}
          text={(index) => number(trace.weight[real(index)]!)} index={real} /></Joined>
        <Joined sign="="><ArrayView trace={trace} array="output" {...(unturned ? { values: unturned.y, title: t("zero.result") } : {})}
          className={unturned ? (index) => (number(unturned.y[index]!) === number(trace.y[index]!) ? "" : "differs") : undefined} /></Joined>
      </div>
      {wrong && (equal ? <p class="note">{t("zero.symmetric")}</p> :
        <p class="wrong-answer" role="status" data-testid="not-equal">{t("zero.wrong")}</p>)}
    </>
  );
}

// One axis of the stretched input: zeros before and after it, or cells cut away where they are negative.
interface Span { stride: number; dilation: number; kernel: number; before: number; inner: number; pads: readonly [number, number] }

function spansOf(problem: Problem): [Span, Span, Span] {
  const pads = edges(problem);
  const spans = problem.axes.map(({ stride, dilation, kernel, before }, i): Span =>
    ({ stride, dilation, kernel, before, inner: (problem.coarseSize[i]! - 1) * stride + 1, pads: pads[i]! }));
  const none: Span = { stride: 1, dilation: 1, kernel: 1, before: 0, inner: 1, pads: [0, 0] };
  return [...new Array<Span>(3 - spans.length).fill(none), ...spans] as [Span, Span, Span];
}

// The input with zeros between its cells, and the zeros around it that the crop leaves; a volume slice by slice.
function Stretched({ trace }: { trace: Trace }): JSX.Element {
  const { problem } = trace;
  if (problem.axes.length > 3) return <ArrayView trace={trace} array="input" />;
  const spans = spansOf(problem);
  const [deep, tall, wide] = spans;
  if (tall.inner > 40 || wide.inner > 64) return <ArrayView trace={trace} array="input" />;
  const planes = planesOf(trace.inShape);
  const depth = problem.axes.length > 2 ? problem.coarseSize[0]! : 1;
  const [front, back] = deep.pads.map((pad) => Math.max(0, pad)) as [number, number];
  const slices = deep.inner + front + back;
  const count = (planes.count / depth) * slices;
  const shown = range(0, count).map((i): [number, number] => [Math.floor(i / slices), (i % slices) - front]);
  const cut = ({ inner, pads }: Span, at: number): boolean => at < -pads[0] || at >= inner + pads[1];
  return (
    <div class={`array ${count > 3 ? "dense" : ""}`}>
      {shown.slice(0, MOST_SLICES).map(([lead, z], i) => {
        const inputAt = (row: number, column: number): number | null =>
          z < 0 || z >= deep.inner || z % deep.stride || row % tall.stride || column % wide.stride ? null :
            (lead * depth + z / deep.stride) * planes.size + (row / tall.stride) * planes.columns + column / wide.stride;
        const name = [planes.count > depth ? t("plane.channel", { channel: lead }) : "", slices > 1 ? t("plane.depth", { depth: z }) : ""]
          .filter(Boolean).join(", ");
        return (
          <Grid key={i} id={count > 1 ? `stretched-${i}` : "stretched"} tone="input" rows={tall.inner} columns={wide.inner}
            caption={<><b>{t("zero.stretched")}</b> {name}</>} label={`${t("zero.stretched")} ${name}`}
            text={(row, column) => { const at = inputAt(row, column); return at === null ? "0" : number(trace.x[at]!); }}
            className={(row, column) => (cut(deep, z) || cut(tall, row) || cut(wide, column) ? "cropped" :
              inputAt(row, column) === null ? "inserted" : "")}
            cell={(row, column) => { const at = inputAt(row, column); return at === null ? null : { array: "input", index: at }; }}
            ring={{ top: Math.max(0, tall.pads[0]), bottom: Math.max(0, tall.pads[1]), left: Math.max(0, wide.pads[0]), right: Math.max(0, wide.pads[1]), text: () => "0" }}
            marks={(selection) => windowMarks(trace, selection, spans, lead, z)} />
        );
      })}
      {count > MOST_SLICES && <p class="note">{t("array.planes", { first: 0, last: MOST_SLICES - 1, count })}</p>}
    </div>
  );
}

function windowMarks(trace: Trace, selection: Selection, [deep, tall, wide]: readonly Span[], lead: number, z: number): Mark[] {
  const { cell } = selection;
  const { problem } = trace;
  if (!cell) return [];
  const three = (index: number, shape: number[]): number[] => {
    const [batch, channel, ...place] = unravel(index, shape);
    return [batch!, channel!, ...new Array<number>(3 - place.length).fill(0), ...place];
  };
  if (cell.array !== "output") {
    return selection.inp.flatMap((inp): Mark[] => {
      const [batch, channel, d, row, column] = three(inp, trace.inShape) as [number, number, number, number, number];
      if (batch * trace.inShape[1]! + channel !== lead || d * deep!.stride !== z) return [];
      return [[row * tall!.stride, column * wide!.stride, undefined, cell.array === "input" && cell.index === inp ? "focus" : undefined]];
    });
  }
  const [batch, channel, d, row, column] = three(cell.index, trace.outShape) as [number, number, number, number, number];
  const [perIn, perOut] = [problem.coarseChannels / problem.groups, problem.fineChannels / problem.groups];
  const met = Math.floor(lead / trace.inShape[1]!) === batch && Math.floor((lead % trace.inShape[1]!) / perIn) === Math.floor(channel / perOut);
  const places = (axis: Span, at: number): number[] => range(0, axis.kernel).map((tap) => at + axis.before - tap * axis.dilation);
  if (!met || !places(deep!, d).includes(z)) return [];
  return places(tall!, row).flatMap((a) => places(wide!, column).map((b): Mark => [a, b]));
}
