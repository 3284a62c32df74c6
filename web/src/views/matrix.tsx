// The operation as a matrix: rows are output cells, columns input cells, and the same few weights everywhere.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { sentence } from "../engine/errors";
import { type Num, add, multiply, number, plus, readNumber } from "../engine/numbers";
import { product } from "../engine/problem";
import { type Trace, unravel } from "../engine/trace";
import { commas } from "../engine/words";
import { say, t } from "../texts";
import { useStore } from "../ui/context";
import { Grid, type Mark } from "../ui/grid";

const MOST_ROWS = 40;
const MOST_COLUMNS = 64;
const MOST_ENTRIES = 400_000;
const HUES = 9;

interface Entries {
  rows: number; columns: number;
  at: Map<number, { value: Num; weight: number }>; // row * columns + column
}

function entriesOf(trace: Trace): Entries {
  const [rows, columns] = [product(trace.outShape.slice(1)), product(trace.inShape.slice(1))];
  const at: Entries["at"] = new Map();
  const cells = trace.count / (trace.problem.batch || 1);
  for (let coarse = 0; coarse < cells; coarse++) {
    trace.taps.visit(coarse, (cell, w) => {
      if (cell < 0) return;
      const key = trace.isConv ? coarse * columns + cell : cell * columns + coarse;
      const before = at.get(key);
      at.set(key, { value: before ? plus(before.value, trace.weight[w]!) : trace.weight[w]!, weight: w });
    });
  }
  return { rows, columns, at };
}

export function Matrix(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const mirrored = store.link.value.transpose ?? false;
  const entries = useMemo(() => (trace.count * trace.taps.terms <= MOST_ENTRIES ? entriesOf(trace) : null), [trace]);
  const [asTable, setAsTable] = useState(false);
  if (!entries) return <p class="note">{t("matrix.large", { rows: product(trace.outShape), columns: product(trace.inShape) })}</p>;
  const name = matrixName(trace, mirrored);
  const [rows, columns] = mirrored ? [entries.columns, entries.rows] : [entries.rows, entries.columns];
  const small = rows <= MOST_ROWS && columns <= MOST_COLUMNS;
  const places = rows * columns;
  return (
    <>
      <div class="row">
        <button type="button" data-testid="transpose" aria-pressed={mirrored}
          onClick={() => store.change({ transpose: mirrored ? undefined : true })}>{t("matrix.turn", { from: name, to: matrixName(trace, !mirrored) })}</button>
        <span class="readout" data-testid="matrix-shape">{name} {rows}×{columns}</span>
        <span class="readout">{t("matrix.count", { count: entries.at.size, places })}</span>
      </div>
      {small || asTable ?
        <Table trace={trace} entries={entries} mirrored={mirrored} rows={rows} columns={columns} name={name} /> :
        <Plot trace={trace} entries={entries} mirrored={mirrored} rows={rows} columns={columns} name={name} />}
      {!small && <button type="button" class="chip" data-testid="as-table" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
        {asTable ? t("matrix.plot") : t("matrix.table")}</button>}
      <Applied trace={trace} entries={entries} mirrored={mirrored} name={name} columns={columns} />
    </>
  );
}

const matrixName = (trace: Trace, mirrored: boolean): string => (trace.isConv !== mirrored ? "C" : "Cᵀ");

interface Shown { trace: Trace; entries: Entries; mirrored: boolean; rows: number; columns: number; name: string }

const entryAt = ({ entries, mirrored }: Shown, row: number, column: number) =>
  entries.at.get(mirrored ? column * entries.columns + row : row * entries.columns + column);

function Table(props: Shown): JSX.Element {
  const { trace, mirrored, name } = props;
  const [corner, setCorner] = useState(0);
  const [left, setLeft] = useState(0);
  const rows = Math.min(props.rows - corner, MOST_ROWS);
  const columns = Math.min(props.columns - left, MOST_COLUMNS);
  const [rowShape, columnShape] = mirrored ? [trace.inShape, trace.outShape] : [trace.outShape, trace.inShape];
  const [rowArray, columnArray] = mirrored ? ["input", "output"] as const : ["output", "input"] as const;
  const short = (index: number, shape: number[]): string => commas(unravel(index, shape), shape).replaceAll(",", trace.problem.axes.length > 1 ? "," : "");
  return (
    <>
      <Grid key={`${corner},${left}`} origin={[corner, left]} id="matrix" caption={<b>{name}</b>} label={t("matrix.label", { name })} rows={rows} columns={columns} tone="plain"
        text={(row, column) => { const entry = entryAt(props, row + corner, column + left); return entry ? number(entry.value) : "0"; }}
        className={(row, column) => {
          const entry = entryAt(props, row + corner, column + left);
          return entry ? `hue hue-${entry.weight % HUES}` : "blank";
        }}
        cell={(row) => ({ array: rowArray, index: row + corner })}
        say={(row, column) => t("matrix.cell", { row: row + corner, column: column + left })}
        heads={{
          row: (row) => short(row + corner, rowShape), column: (column) => short(column + left, columnShape),
          onRow: (row) => ({ array: rowArray, index: row + corner }), onColumn: (column) => ({ array: columnArray, index: column + left }),
        }}
        marks={(selection) => {
          const [first, second] = mirrored ? [selection.inp, selection.out] : [selection.out, selection.inp];
          return first.flatMap((row, i): Mark[] => (row < 0 || second[i]! < 0 ? [] : [[row - corner, second[i]! - left]]));
        }} />
      {(props.rows > rows || props.columns > columns) && (
        <p class="mover">
          <button type="button" aria-label={t("large.↑")} onClick={() => setCorner(Math.max(0, corner - 20))}>↑</button>
          <button type="button" aria-label={t("large.↓")} onClick={() => setCorner(Math.min(props.rows - 20, corner + 20))}>↓</button>
          <button type="button" aria-label={t("large.←")} onClick={() => setLeft(Math.max(0, left - 20))}>←</button>
          <button type="button" aria-label={t("large.→")} onClick={() => setLeft(Math.max(0, Math.min(props.columns - 20, left + 20)))}>→</button>
        </p>
      )}
    </>
  );
}

const PALETTE = ["#56b4e9", "#cc79a7", "#009e73", "#c9b800", "#0072b2", "#d55e00", "#8c8c8c", "#7fb83d", "#7b5bd6"];

function Plot(props: Shown): JSX.Element {
  const { rows, columns, entries, mirrored, trace, name } = props;
  const store = useStore();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState<[number, number]>([0, 0]);
  const scale = Math.max(1, Math.floor(640 / Math.max(rows, columns)));
  const shrink = Math.min(1, 2000 / (Math.max(rows, columns) * scale));
  const [width, height] = [Math.ceil(columns * scale * shrink), Math.ceil(rows * scale * shrink)];
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    context.clearRect(0, 0, width, height);
    const side = Math.max(1, scale * shrink);
    for (const [key, entry] of entries.at) {
      const [out, inp] = [Math.floor(key / entries.columns), key % entries.columns];
      const [row, column] = mirrored ? [inp, out] : [out, inp];
      context.fillStyle = PALETTE[entry.weight % HUES]!;
      context.fillRect(column * scale * shrink, row * scale * shrink, side, side);
    }
  }, [entries, mirrored, width, height]);
  const look = (row: number, column: number): void => {
    const next: [number, number] = [Math.max(0, Math.min(row, rows - 1)), Math.max(0, Math.min(column, columns - 1))];
    setAt(next);
    store.hover.value = { array: mirrored ? "input" : "output", index: next[0] };
  };
  const entry = entryAt(props, ...at);
  // What is selected anywhere is a row or a column here.
  const { cell } = store.selection.value;
  const [rowArray, columnArray] = mirrored ? ["input", "output"] : ["output", "input"];
  const inBatch = (array: "input" | "output"): number => product((array === "input" ? trace.inShape : trace.outShape).slice(1));
  const strip = !cell || cell.array === "weight" ? null : (cell.index % inBatch(cell.array)) + 0.5;
  return (
    <div class="plot" data-testid="matrix">
      <div class="plot-area">
      <canvas ref={canvas} width={width} height={height} tabIndex={0} role="img" aria-label={t("matrix.plot.label", { name, rows, columns })}
        onPointerMove={(event) => {
          const box = canvas.current!.getBoundingClientRect();
          look(Math.floor((event.clientY - box.top) / box.height * rows), Math.floor((event.clientX - box.left) / box.width * columns));
        }}
        onClick={() => store.togglePin({ array: mirrored ? "input" : "output", index: at[0] })}
        onPointerLeave={() => { store.hover.value = null; }}
        onKeyDown={(event) => {
          const moves: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
          const move = moves[event.key];
          if (event.key === "Enter") store.togglePin({ array: mirrored ? "input" : "output", index: at[0] });
          if (!move) return;
          event.preventDefault();
          look(at[0] + move[0], at[1] + move[1]);
        }} />
      {strip !== null && cell!.array === rowArray && <span class="strip" style={{ top: `${strip / rows * 100}%`, left: 0, right: 0 }} />}
      {strip !== null && cell!.array === columnArray && <span class="strip" style={{ left: `${strip / columns * 100}%`, top: 0, bottom: 0 }} />}
      </div>
      <p class="readout" aria-live="polite">{t("matrix.readout", { row: at[0], column: at[1], value: entry ? number(entry.value) : "0" })}</p>
    </div>
  );
}

interface AppliedProps { trace: Trace; entries: Entries; mirrored: boolean; name: string; columns: number }

const MOST_APPLIED = 400;

// The matrix times a vector, and there and back again, which is not where one began.
function Applied({ trace, entries, mirrored, name, columns }: AppliedProps): JSX.Element | null {
  const store = useStore();
  const given = store.link.value.vector;
  const [text, setText] = useState<string | null>(null); // what is being typed
  const sample = Array.from({ length: columns }, (_, i): Num => (mirrored ? i + 1 : trace.x[i]!));
  const made = useMemo(() => {
    try {
      return given === undefined ? null : read(given, columns);
    } catch (error) {
      return sentence(error);
    }
  }, [given, columns]);
  const refused = text === null ? (typeof made === "string" ? made : "") : complaintOf(text, columns);
  const vector = Array.isArray(made) ? made : sample;
  if (Math.max(entries.rows, entries.columns) > MOST_APPLIED) return null;
  const times = (values: readonly Num[], turn: boolean): Num[] => {
    const rows: Num[][] = Array.from({ length: turn ? entries.columns : entries.rows }, () => []);
    for (const [key, entry] of entries.at) {
      const [out, inp] = [Math.floor(key / entries.columns), key % entries.columns];
      rows[turn ? inp : out]!.push(multiply(entry.value, values[turn ? out : inp]!));
    }
    return rows.map((list) => add(list, trace.zero));
  };
  const result = times(vector, mirrored);
  const back = times(result, !mirrored);
  const other = matrixName(trace, !mirrored);
  return (
    <div class="applied">
      <label class="param inline">
        <span>{t("matrix.vector", { name })}</span>
        <input data-testid="param-vector" value={text ?? vector.map(number).join(" ")} aria-invalid={refused !== ""}
          onInput={(event) => {
            const now = event.currentTarget.value;
            setText(now);
            if (!complaintOf(now, columns)) store.change({ vector: now });
          }}
          onBlur={() => setText(null)} />
      </label>
      {refused && <p class="complaint" role="alert">{refused}</p>}
      <p class="mono" data-testid="product">{some(result)}</p>
      <p class="note">{say("matrix.round-trip", { other, name, numbers: "" })}<span class="mono" data-testid="round-trip">{some(back)}</span></p>
    </div>
  );
}

// Numbers in a row; of many the first ones.
const some = (values: readonly Num[]): string => values.length <= 64 ? values.map(number).join(" ") :
  `${values.slice(0, 48).map(number).join(" ")}${t("more", { count: values.length - 48 })}`;

function read(text: string, size: number): Num[] | null {
  const entries = text.split(/[\s,;]+/).filter(Boolean).map(readNumber);
  if (entries.length !== size || entries.some((entry) => entry === undefined)) {
    throw new Error(t("numbers.count", { found: entries.length, count: size }));
  }
  return entries as Num[];
}

function complaintOf(text: string, size: number): string {
  try {
    read(text, size);
    return "";
  } catch (error) {
    return sentence(error);
  }
}
