// A matrix of numbers: a real table with one tab stop, arrow keys, and cells that light up where they take part.

import { effect } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Cell, Selection } from "../store";
import { t } from "../texts";
import { useStore } from "./context";

export type Tone = "input" | "weight" | "output" | "plain";
export type Mark = readonly [row: number, column: number, label?: string, kind?: "focus" | "soft"];

export interface GridProps {
  id: string;
  caption: ComponentChildren;
  label: string; // of the whole grid, for a listener
  rows: number;
  columns: number;
  tone: Tone;
  text(row: number, column: number): string;
  say?(row: number, column: number): string; // a cell for a listener, without its value
  cell?(row: number, column: number): Cell | null; // what a cell selects
  marks?(selection: Selection): Iterable<Mark>;
  className?(row: number, column: number): string;
  shade?(row: number, column: number): number | null; // 0 … 1 on the scale of counts
  ring?: { top: number; left: number; bottom: number; right: number; text(row: number, column: number): string };
  heads?: { row(row: number): ComponentChildren; column(column: number): ComponentChildren; onRow?(row: number): Cell; onColumn?(column: number): Cell };
  onEdge?(down: number, right: number): boolean; // an arrow key leads out of a window: whether there was more
  origin?: readonly [number, number]; // where the first cell stands in the array, if this is a window on it
  edit?: boolean;
  note?: ComponentChildren;
}

const MOST_MOVING = 150; // cells; more of them change their colour at once

export function Grid(props: GridProps): JSX.Element {
  const store = useStore();
  const table = useRef<HTMLTableElement>(null);
  const here = useRef({ row: 0, column: 0 });
  const [editing, setEditing] = useState<string | null>(null);
  const ring = props.ring ?? { top: 0, left: 0, bottom: 0, right: 0, text: () => "0" };

  useEffect(() => lighting(table.current!, props, () => store.selection.value));

  const find = (target: EventTarget | null): HTMLTableCellElement | null =>
    (target as Element | null)?.closest?.<HTMLTableCellElement>("[data-rc]") ?? null;
  const [top, left] = props.origin ?? [0, 0];
  const nameOf = (row: number, column: number): string => `${row + top},${column + left}`;
  const place = (td: HTMLElement): [number, number] => {
    const [row, column] = td.dataset.rc!.split(",").map(Number) as [number, number];
    return [row - top, column - left];
  };
  const cellOf = (td: HTMLTableCellElement | null): Cell | null => {
    if (!td || !props.cell) return null;
    const [row, column] = place(td);
    const outside = row < 0 || column < 0 || row >= props.rows || column >= props.columns;
    return outside ? null : props.cell(row, column);
  };

  const move = (row: number, column: number): void => {
    const target = { row: clamp(row, props.rows), column: clamp(column, props.columns) };
    const old = table.current!.querySelector<HTMLElement>('[tabindex="0"]');
    const next = table.current!.querySelector<HTMLElement>(`[data-rc="${nameOf(target.row, target.column)}"]`);
    if (!next) return;
    if (old) old.tabIndex = -1;
    next.tabIndex = 0;
    here.current = target;
    next.focus();
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (editing) return;
    const { row, column } = here.current;
    const steps: Record<string, [number, number]> = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: event.ctrlKey ? [0, 0] : [row, 0], End: event.ctrlKey ? [props.rows, props.columns] : [row, props.columns],
      PageUp: [row - 5, column], PageDown: [row + 5, column],
    };
    const step = steps[event.key];
    if (step) {
      event.preventDefault();
      store.hover.value = null;
      const out = (at: number, size: number): number => (at < 0 ? at : at >= size ? at - size + 1 : 0);
      const [down, right] = [out(step[0], props.rows), out(step[1], props.columns)];
      if (event.key.startsWith("Arrow") && (down || right) && props.onEdge?.(down, right)) return;
      move(...step);
    } else if (event.key === "Enter") {
      const cell = props.cell?.(row, column);
      if (cell) {
        event.preventDefault();
        store.togglePin(cell);
      }
    } else if (event.key === "F2" && props.edit) {
      event.preventDefault();
      setEditing(nameOf(row, column));
    }
  };

  const finish = (value: string | null, cell: Cell | null): void => {
    setEditing(null);
    if (value !== null && cell) store.write(cell, value);
    requestAnimationFrame(() => table.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus());
  };

  const body = range(-ring.top, props.rows + ring.bottom).map((row) => (
    <tr key={row}>
      {props.heads && <th scope="row" data-row={row} onPointerOver={() => {
        if (props.heads?.onRow) store.hover.value = props.heads.onRow(row);
      }}>{props.heads.row(row)}</th>}
      {range(-ring.left, props.columns + ring.right).map((column) => {
        const inside = row >= 0 && column >= 0 && row < props.rows && column < props.columns;
        const key = nameOf(row, column);
        const text = inside ? props.text(row, column) : ring.text(row, column);
        if (!inside) {
          return <td key={column} data-rc={key} class="pad padding" aria-label={t("cell.padding", { value: text })}>{text}</td>;
        }
        const shade = props.shade?.(row, column) ?? null;
        const cell = props.cell?.(row, column) ?? null;
        return (
          <td key={column} data-rc={key} class={props.className?.(row, column) ?? ""}
            style={shade === null ? undefined : { "--shade": shade }}
            tabIndex={row === here.current.row && column === here.current.column ? 0 : -1}
            aria-label={`${props.say?.(row, column) ?? `${props.label} ${t("cell.at", { row, column })}`} ${t("cell.value", { value: text })}`}>
            {editing === key ? <Editor text={text} done={(value) => finish(value, cell)} /> : text}
          </td>
        );
      })}
    </tr>
  ));

  const longest = Math.min(longestText(props), 11);
  return (
    <div class={`grid tone-${props.tone} ${props.rows * props.columns > MOST_MOVING ? "still" : ""}`} data-testid={props.id}>
      <div class="caption" aria-hidden="true">{props.caption}</div>
      <table role="grid" ref={table} aria-label={props.label} style={{ "--ch": longest }}
        onKeyDown={onKeyDown}
        onPointerOver={(event) => {
          if (event.pointerType !== "touch" && !(event.target as Element).closest("th")) store.hover.value = cellOf(find(event.target)) ?? (props.cell ? null : store.hover.value);
        }}
        onPointerLeave={() => { if (props.cell || props.heads?.onRow) store.hover.value = null; }}
        onClick={(event) => {
          const td = find(event.target);
          const cell = cellOf(td);
          if (!td || !cell || editing) return;
          move(...place(td));
          store.togglePin(cell);
        }}
        onDblClick={(event) => {
          const td = find(event.target);
          if (td && cellOf(td) && props.edit) setEditing(td.dataset.rc!);
        }}
        onFocusIn={(event) => {
          const td = find(event.target);
          if (!td || !props.cell) return;
          const [row, column] = place(td);
          here.current = { row, column };
          if (td.matches(":focus-visible")) store.focus.value = props.cell(row, column);
        }}
        onFocusOut={() => { store.focus.value = null; }}>
        <caption class="unseen">{props.label}</caption>
        {props.heads && (
          <thead><tr>
            <td />
            {range(0, props.columns).map((column) => (
              <th key={column} scope="col" onPointerOver={() => {
                if (props.heads?.onColumn) store.hover.value = props.heads.onColumn(column);
              }}>{props.heads!.column(column)}</th>
            ))}
          </tr></thead>
        )}
        <tbody>{body}</tbody>
      </table>
      {props.note && <p class="note">{props.note}</p>}
    </div>
  );
}

function Editor({ text, done }: { text: string; done(value: string | null): void }): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current!.select(), []);
  return (
    <input ref={field} class="cell-editor" defaultValue={text} aria-label={t("cell.edit")} inputMode="decimal"
      onBlur={(event) => done(event.currentTarget.value)}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") event.currentTarget.blur();
        if (event.key === "Escape") done(null);
      }} />
  );
}

// Lights the marked cells and puts out the others, without rendering the table again.
function lighting(table: HTMLTableElement, props: GridProps, selection: () => Selection): () => void {
  const cells = new Map<string, HTMLElement>();
  let lit: HTMLElement[] = [];
  return effect(() => {
    const now = selection();
    for (const td of lit) {
      td.classList.remove("hit", "focus", "soft");
      delete td.dataset.with;
    }
    lit = [];
    if (!props.marks) return;
    if (!cells.size) for (const td of table.querySelectorAll<HTMLElement>("[data-rc]")) cells.set(td.dataset.rc!, td);
    const [top, left] = props.origin ?? [0, 0];
    for (const [row, column, label, kind] of props.marks(now)) {
      const td = cells.get(`${row + top},${column + left}`);
      if (!td) continue;
      td.classList.add(kind === "soft" ? "soft" : "hit");
      if (kind === "focus") td.classList.add("focus");
      if (label) td.dataset.with = label;
      lit.push(td);
    }
  });
}

function longestText(props: GridProps): number {
  let longest = 1;
  for (let row = 0; row < props.rows; row++) {
    for (let column = 0; column < props.columns; column++) longest = Math.max(longest, props.text(row, column).length);
  }
  return longest;
}

export const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

const clamp = (value: number, size: number): number => Math.max(0, Math.min(value, size - 1));
