// An array of the trace as grids: one per plane of its last two axes, or a window on it where it is large.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { effect } from "@preact/signals";
import { number } from "../engine/numbers";
import { product } from "../engine/problem";
import { type Trace, type Values, unravel } from "../engine/trace";
import { type ArrayName, type Cell, type Selection, nameOf, ringOf } from "../store";
import { t } from "../texts";
import { useStore } from "./context";
import { Grid, type Mark, range } from "./grid";
import { paint } from "./pixels";

export const MOST_ROWS = 40;
const MOST_COLUMNS = 64;
const MOST_CELLS = 1600;
const MOST_PLANES = 12;
const MOST_SHOWN = 1500; // cells of all planes that are drawn at once
const MOST_RING = 6;
const MOST_ROOMY = 100; // cells; more of them, in several planes, are drawn smaller
const WINDOW = 10;

export interface Planes { readonly rows: number; readonly columns: number; readonly count: number; readonly size: number }

/** How an array (batch, channels, *size) falls into planes. */
export function planesOf(shape: readonly number[]): Planes {
  const columns = shape[shape.length - 1]!;
  const rows = shape.length > 3 ? shape[shape.length - 2]! : 1;
  return { rows, columns, size: rows * columns, count: rows * columns ? product(shape) / (rows * columns) : 0 };
}

export const isLarge = (planes: Planes): boolean =>
  planes.rows > MOST_ROWS || planes.columns > MOST_COLUMNS || planes.size > MOST_CELLS;

export function planeName(shape: readonly number[], plane: number): string {
  const [batch, channel, ...depth] = unravel(plane, shape.length > 3 ? shape.slice(0, -2) : shape.slice(0, -1));
  return [
    shape[1]! > 1 ? t("plane.channel", { channel: channel! }) : "", shape[0]! > 1 ? t("plane.batch", { batch: batch! }) : "",
    depth.length ? t("plane.depth", { depth: depth.join(",") }) : "",
  ].filter(Boolean).join(", ");
}

function weightPlaneName(shape: readonly number[], plane: number): string {
  const [first, second, ...depth] = unravel(plane, shape.length > 3 ? shape.slice(0, -2) : shape.slice(0, -1));
  return [shape[0]! * shape[1]! > 1 ? `${first},${second}` : "", depth.length ? t("plane.depth", { depth: depth.join(",") }) : ""]
    .filter(Boolean).join(", ");
}

export interface ArrayProps {
  trace: Trace;
  array: ArrayName;
  id?: string;
  title?: ComponentChildren;
  values?: Values; // other numbers of the same shape
  text?(index: number): string; // or other texts
  className?(index: number): string;
  edit?: boolean;
  index?(index: number): number; // where a cell stands in the array itself (a turned kernel)
  plain?: boolean; // no ring of padding
  gradient?: string; // the array's gradient, by this name
}

/** Shape and numbers of an array of the trace; the output is asked for only here. */
export function shapeOf(trace: Trace, array: ArrayName): number[] {
  return array === "input" ? trace.inShape : array === "weight" ? trace.weightShape : trace.outShape;
}

function textOf(props: ArrayProps): (index: number) => string {
  const { trace, array } = props;
  if (props.text) return props.text;
  if (props.values) return (index) => number(props.values![index]!);
  if (array === "output") {
    const whole = trace.count * trace.taps.terms <= 30_000_000 && !trace.withheld;
    if (whole) return (index) => number(trace.y[index]!);
    return (index) => number(trace.dot(index).result);
  }
  const values = array === "input" ? trace.x : trace.weight;
  return (index) => number(values[index]!);
}

export function ArrayView(props: ArrayProps): JSX.Element {
  const { trace, array } = props;
  const [first, setFirst] = useState(0);
  const shape = shapeOf(trace, array);
  const planes = planesOf(shape);
  const title = props.title ?? props.gradient ?? t(`array.${array}`);
  const most = isLarge(planes) ? 4 : Math.max(1, Math.min(MOST_PLANES, Math.floor(MOST_SHOWN / planes.size)));
  const shown = range(first, Math.min(first + most, planes.count));
  if (!planes.count) return <p class="note">{t("array.empty", { name: t(`array.${array}`) })}</p>;
  const name = array === "weight" ? weightPlaneName : planeName;
  const dense = shown.length > 2 && shown.length * planes.size > MOST_ROOMY && !isLarge(planes);
  return (
    <div class={`array ${dense ? "dense" : ""}`}>
      {shown.map((plane) => {
        const id = planes.count > 1 ? `${props.id ?? array}-${plane}` : props.id ?? array;
        const suffix = name(shape, plane);
        const caption = <><b>{title}</b> {suffix || (plane === 0 ? <span class="size">{sizeText(shape)}</span> : null)}</>;
        const View = isLarge(planes) ? LargePlane : SmallPlane;
        return <View key={plane} {...props} id={id} plane={plane} planes={planes} caption={caption} shape={shape} />;
      })}
      {planes.count > most && (
        <p class="note pager">
          <button type="button" disabled={!first} onClick={() => setFirst(Math.max(0, first - most))}>‹</button>
          {t("array.planes", { first, last: shown.at(-1)!, count: planes.count })}
          <button type="button" disabled={shown.at(-1) === planes.count - 1} onClick={() => setFirst(first + most)}>›</button>
        </p>
      )}
    </div>
  );
}

export const sizeText = (shape: readonly number[]): string => shape.slice(2).join("×");

/** A sign and what follows it, which stay on one line. */
export const Joined = ({ sign, children }: { sign?: string | false; children: ComponentChildren }): JSX.Element => (
  <div class="joined">{sign && <span class="sign" aria-hidden="true">{sign}</span>}{children}</div>
);

interface PlaneProps extends ArrayProps { id: string; plane: number; planes: Planes; caption: ComponentChildren; shape: number[] }

function useMarks(
  props: PlaneProps, rowAt = 0, columnAt = 0, rows = props.planes.rows, columns = props.planes.columns,
): (selection: Selection) => Mark[] {
  const { trace, array, plane, planes } = props;
  const back = useMemo(() => {
    if (!props.index) return null;
    const map = new Map<number, number>();
    for (let i = plane * planes.size; i < (plane + 1) * planes.size; i++) map.set(props.index(i), i);
    return map;
  }, [props.index, plane, planes.size]);
  return (selection) => {
    const { cell } = selection;
    if (selection.cut && cell?.array === "weight" && array !== "weight") {
      // Of too many rows only the first are listed: the cells in sight are asked instead.
      const meets = trace.taps[array === "input" ? "ofInput" : "ofOutput"];
      return range(0, rows * columns).map((i): [number, number] => [Math.floor(i / columns), i % columns]).filter(([row, column]) =>
        meets(plane * planes.size + (row + rowAt) * planes.columns + column + columnAt).weight.includes(cell.index));
    }
    const marks = marksOf(trace, array, selection, (index) => back ? back.get(index) ?? -1 : index, plane * planes.size, planes, rowAt, columnAt);
    if (array !== "input" || !cell) return marks;
    return marks.concat(ringOf(trace, selection).filter(([p]) => p === plane)
      .map(([, row, column]): Mark => [row - rowAt, column - columnAt]));
  };
}

function marksOf(
  trace: Trace, array: ArrayName, selection: Selection, at: (index: number) => number, start: number, planes: Planes,
  rowAt: number, columnAt: number,
): Mark[] {
  const { cell } = selection;
  if (!cell) return [];
  const column = array === "input" ? selection.inp : array === "weight" ? selection.weight : selection.out;
  const labels = array === cell.array || array === "weight" || cell.array === "weight" ? null : selection.weight;
  const found = new Map<number, string | undefined>();
  column.forEach((index, i) => {
    const flat = index < 0 ? -1 : at(index);
    if (flat < start || flat >= start + planes.size || found.has(flat)) return;
    found.set(flat, labels ? `×${number(trace.weight[labels[i]!]!)}` : undefined);
  });
  if (cell.array === array) {
    const flat = at(cell.index);
    if (flat >= start && flat < start + planes.size) found.set(flat, undefined);
  }
  return [...found].map(([flat, label]): Mark => {
    const inside = flat - start;
    const isFocus = cell.array === array && flat === at(cell.index);
    return [Math.floor(inside / planes.columns) - rowAt, (inside % planes.columns) - columnAt, label, isFocus ? "focus" : undefined];
  });
}

function SmallPlane(props: PlaneProps): JSX.Element {
  const { trace, array, plane, planes } = props;
  const start = plane * planes.size;
  const at = (row: number, column: number): number => start + row * planes.columns + column;
  const text = textOf(props);
  const marks = useMarks(props);
  const real = props.index ?? ((index: number) => index);
  return (
    <Grid id={props.id} caption={props.caption} label={captionText(props)} rows={planes.rows} columns={planes.columns}
      tone={array} text={(row, column) => text(at(row, column))}
      say={(row, column) => nameOf(trace, { array, index: real(at(row, column)), gradient: props.gradient !== undefined })}
      cell={(row, column): Cell => ({ array, index: real(at(row, column)), gradient: props.gradient !== undefined })}
      className={props.className && ((row, column) => props.className!(at(row, column)))}
      marks={marks} ring={array === "input" && !props.plain ? ringSizes(trace, plane) : undefined} edit={props.edit} />
  );
}

const captionText = ({ array, gradient, shape, plane }: PlaneProps): string =>
  `${gradient ?? array} ${(array === "weight" ? weightPlaneName : planeName)(shape, plane)}`.trim();

// The padding of a convolution, drawn around its input; of a large one the nearest cells.
function ringSizes(trace: Trace, plane: number): GridRing | undefined {
  const { problem } = trace;
  if (problem.op !== "conv" || problem.axes.length > 3) return undefined;
  const axes = problem.axes.slice(-2);
  const [height, width] = axes.length === 2 ? [axes[0]!, axes[1]!] : [null, axes[0]!];
  const ring = {
    top: height?.before ?? 0, bottom: height?.after ?? 0, left: width.before, right: width.after,
  };
  if (!(ring.top || ring.bottom || ring.left || ring.right)) return undefined;
  const few = (value: number): number => Math.max(0, Math.min(value, MOST_RING));
  const planes = planesOf(trace.inShape);
  return {
    top: few(ring.top), bottom: few(ring.bottom), left: few(ring.left), right: few(ring.right),
    text: (row, column) => {
      if (problem.mode === "zeros") return "0";
      const from = (cell: number, size: number): number => copiedCell(cell, size, problem.mode);
      const index = plane * planes.size + (planes.rows > 1 ? from(row, planes.rows) : 0) * planes.columns + from(column, planes.columns);
      return number(trace.x[index]!);
    },
  };
}

type GridRing = { top: number; left: number; bottom: number; right: number; text(row: number, column: number): string };

import { copied as copiedCell } from "../engine/taps";

// -- a window on a large plane ------------------------------------------------------------------------------------

function LargePlane(props: PlaneProps): JSX.Element {
  const store = useStore();
  const { trace, array, plane, planes } = props;
  const [corner, setCorner] = useState<[number, number]>([0, 0]);
  const size = { rows: Math.min(planes.rows, WINDOW), columns: Math.min(planes.columns, WINDOW) };
  const start = plane * planes.size;
  const text = textOf(props);
  const marks = useMarks(props, corner[0], corner[1], size.rows, size.columns);
  const at = (row: number, column: number): number => start + (row + corner[0]) * planes.columns + column + corner[1];
  const real = props.index ?? ((index: number) => index);
  const shift = (row: number, column: number): [number, number] => [
    Math.max(0, Math.min(row, planes.rows - size.rows)), Math.max(0, Math.min(column, planes.columns - size.columns)),
  ];

  // The window follows what is selected elsewhere.
  useEffect(() => effect(() => {
    const { cell, inp, out, weight } = store.selection.value;
    if (!cell) return;
    const own = cell.array === array;
    const column = own ? [cell.index] : array === "input" ? inp : array === "output" ? out : weight;
    const first = column.find((index) => index >= start && index < start + planes.size);
    if (first === undefined) return;
    const [row, col] = [Math.floor((first - start) / planes.columns), (first - start) % planes.columns];
    setCorner((now) => {
      const room = own ? 1 : 3; // of a window of the kernel more than its first cell should be in sight
      const inside = row >= now[0] && row + room <= now[0] + size.rows && col >= now[1] && col + room <= now[1] + size.columns;
      return inside ? now : shift(row - 2, col - 2);
    });
  }), [array, plane, trace]);

  // Arrow keys at the edge move the window on, and the focus stays where it is on the screen.
  const onEdge = (down: number, right: number): boolean => {
    const next = shift(corner[0] + down, corner[1] + right);
    if (next[0] === corner[0] && next[1] === corner[1]) return false;
    const { focus } = store;
    setCorner(next);
    if (focus.value) focus.value = { array, index: focus.value.index + (next[0] - corner[0]) * planes.columns + next[1] - corner[1] };
    return true;
  };
  const values = props.values ?? (array === "input" ? trace.x : array === "weight" ? trace.weight : wholeOutput(trace));
  return (
    <div class="large">
      <Grid origin={corner} onEdge={onEdge} id={props.id} caption={props.caption} label={captionText(props)} rows={size.rows}
        columns={size.columns} tone={array} text={(row, column) => text(at(row, column))}
        say={(row, column) => nameOf(trace, { array, index: real(at(row, column)), gradient: props.gradient !== undefined })}
        cell={(row, column): Cell => ({ array, index: real(at(row, column)), gradient: props.gradient !== undefined })} marks={marks}
        note={t("large.window", {
          top: corner[0], bottom: corner[0] + size.rows - 1, left: corner[1], right: corner[1] + size.columns - 1,
          rows: planes.rows, columns: planes.columns,
        })} />
      {values && planes.rows > 1 ?
        <Overview values={values} start={start} planes={planes} corner={corner} size={size}
          label={t("large.map", { name: captionText(props) })}
          onMove={(row, column) => setCorner(shift(row - Math.floor(size.rows / 2), column - Math.floor(size.columns / 2)))} /> :
        <p class="note">{values ? "" : t("large.withheld")}</p>}
      <p class="mover">
        {([["↑", -size.rows, 0], ["↓", size.rows, 0], ["←", 0, -size.columns], ["→", 0, size.columns]] as const).map(([sign, down, right]) => (
          <button type="button" key={sign} aria-label={t(`large.${sign}`)} onClick={() => setCorner(shift(corner[0] + down, corner[1] + right))}>{sign}</button>
        ))}
      </p>
    </div>
  );
}

/** The output as a whole, if it is quickly made. */
export function wholeOutput(trace: Trace): Values | null {
  return trace.count * trace.taps.terms <= 30_000_000 && !trace.withheld ? trace.y : null;
}

interface OverviewProps {
  values: Values; start: number; planes: Planes; corner: [number, number]; size: { rows: number; columns: number };
  label: string; onMove(row: number, column: number): void;
}

function Overview({ values, start, planes, corner, size, label, onMove }: OverviewProps): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const scale = Math.min(1, 240 / Math.max(planes.rows, planes.columns));
  const width = Math.max(1, Math.round(planes.columns * scale));
  const height = Math.max(1, Math.round(planes.rows * scale));
  useEffect(() => paint(canvas.current!, values, start, planes, width, height), [values, start]);
  const go = (event: PointerEvent): void => {
    const box = canvas.current!.getBoundingClientRect();
    onMove(Math.floor((event.clientY - box.top) / box.height * planes.rows),
      Math.floor((event.clientX - box.left) / box.width * planes.columns));
  };
  const frame = {
    left: `${corner[1] / planes.columns * 100}%`, top: `${corner[0] / planes.rows * 100}%`,
    width: `${size.columns / planes.columns * 100}%`, height: `${size.rows / planes.rows * 100}%`,
  };
  return (
    <div class="overview">
      <canvas ref={canvas} width={width} height={height} role="img" aria-label={label}
        onPointerDown={go} onPointerMove={(event) => { if (event.buttons) go(event); }} />
      <span class="frame" style={frame} />
    </div>
  );
}
