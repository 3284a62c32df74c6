// Overlap: how many products land in each cell, and what becomes of a constant picture.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { chainCounts, kindOf, parseChain } from "../engine/analysis";
import { overlap } from "../engine/axis";
import { verdictText } from "../engine/describe";
import { sentence } from "../engine/errors";
import { number } from "../engine/numbers";
import { type Problem, inSize, product, write } from "../engine/problem";
import { constant, resized } from "../engine/relatives";
import type { Trace } from "../engine/trace";
import { say, t } from "../texts";
import { planesOf } from "../ui/arrays";
import { useStore } from "../ui/context";
import { Grid, type Mark } from "../ui/grid";
import { layerName } from "./field";
import type { Cell, Selection } from "../store";

const MOST_LINE = 64;

export function Overlap(): JSX.Element {
  const trace = useStore().trace.value;
  const { problem } = trace;
  const sizes = problem.fineSize.slice(-2);
  const small = sizes.every((size) => size <= MOST_LINE);
  const lines = problem.axes.slice(-2).map((axis, i) => {
    const at = problem.axes.length - sizes.length + i;
    return small ? overlap(axis, problem.coarseSize[at]!, sizes[i]!) : [];
  });
  return (
    <>
      <p class={`verdict verdict-${kindOf(problem.axes)}`} data-testid="verdict">{verdictText(problem.axes)}</p>
      {small ? <Counts trace={trace} lines={lines} /> : <p class="note">{t("overlap.large", { count: Math.max(...sizes) })}</p>}
      {small && !trace.isConv && product(problem.fineSize) <= 1600 && problem.axes.length < 3 && <Constant trace={trace} />}
      <Stack problem={problem} />
    </>
  );
}

interface CountsProps { trace: Trace; lines: number[][] }

function Counts({ trace, lines }: CountsProps): JSX.Element {
  const last = lines.at(-1)!;
  const top = Math.max(...last, 1);
  const planes = { rows: lines.length > 1 ? lines[0]!.length : 1, columns: last.length };
  const most = Math.max(...(lines.length > 1 ? lines[0]! : [1])) * top;
  const array = trace.isConv ? "input" as const : "output" as const;
  const cell = (row: number, column: number): Cell => ({ array, index: row * planes.columns + column });
  const marks = (selection: Selection): Mark[] => (trace.isConv ? selection.inp : selection.out).flatMap((at): Mark[] =>
    at >= 0 && at < planes.rows * planes.columns ? [[Math.floor(at / planes.columns), at % planes.columns]] : []);
  const value = (row: number, column: number): number => (lines.length > 1 ? lines[0]![row]! : 1) * last[column]!;
  const strip = (
    <Grid id="overlap" caption={<><b>{say("overlap.counts")}</b> {lines.length > 1 ? say("overlap.strip", { axis: say("axis.width") }) : ""}</>}
      label={say("overlap.counts")} rows={1} columns={last.length} tone="plain" text={(_, column) => String(last[column])}
      className={(_, column) => (last[column] ? "shaded" : "shaded hole")} shade={(_, column) => last[column]! / top}
      cell={lines.length > 1 ? undefined : cell} marks={lines.length > 1 ? undefined : marks} />
  );
  return (
    <div class="stackwise">
      {strip}
      {lines.length > 1 && (
        <Grid id="overlap-2d" caption={<b>{t("overlap.plane")}</b>} label={t("overlap.plane")} rows={planes.rows} columns={planes.columns}
          tone="plain" text={(row, column) => String(value(row, column))} shade={(row, column) => value(row, column) / most}
          className={(row, column) => (value(row, column) ? "shaded" : "shaded hole")} cell={cell} marks={marks} />
      )}
    </div>
  );
}

// A constant picture through these weights, and through a resize and a convolution instead.
function Constant({ trace }: { trace: Trace }): JSX.Element | null {
  const made = useMemo(() => ({ direct: constant(trace), other: resized(trace) }), [trace]);
  const show = (id: string, title: string, one: Trace): JSX.Element => {
    const { rows, columns } = planesOf(one.outShape);
    const numbers = Array.from({ length: rows * columns }, (_, i) => Number(one.y[i]));
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    return (
      <Grid id={id} caption={<b>{title}</b>} label={title} rows={rows} columns={columns} tone="plain"
        text={(row, column) => number(one.y[row * columns + column]!)} className={() => "shaded"}
        shade={(row, column) => (high > low ? (numbers[row * columns + column]! - low) / (high - low) : 0.2)} />
    );
  };
  return (
    <div class="figure">
      {show("constant", say("overlap.constant"), made.direct)}
      {made.other && show("resized", say("overlap.resize", { sizes: inSize(made.other.problem).join("x") }), made.other)}
    </div>
  );
}

const MOST_STACK = 3;

function Stack({ problem }: { problem: Problem }): JSX.Element {
  const store = useStore();
  const own = write(problem);
  const given = store.link.value.layers;
  const [text, setText] = useState(given ?? `${own}; conv_transpose ${layerText(problem)}`);
  const made = useMemo(() => {
    try {
      const chain = parseChain(text);
      if (chain.layers.length > MOST_STACK) throw new Error(t("overlap.stack.most", { most: MOST_STACK }));
      const index = chain.layers[0]!.axes.length - 1;
      return chain.layers.map((_, i) => ({ name: layerName(chain, i + 1, index), line: chainCounts(chain.layers.slice(0, i + 1), index) }));
    } catch (error) {
      return sentence(error);
    }
  }, [text]);
  const [kept, setKept] = useState<{ name: string; line: number[] }[] | null>(null);
  if (typeof made !== "string" && made !== kept) setKept(made);
  const lines = typeof made === "string" ? kept : made;
  return (
    <section class="stack">
      <h3>{t("overlap.stack")}</h3>
      <label class="param whole"><span>{t("field.layers")}</span>
        <textarea rows={2} value={text} data-testid="param-layers" spellcheck={false} aria-invalid={typeof made === "string"}
          onInput={(event) => { setText(event.currentTarget.value); store.change({ layers: event.currentTarget.value }); }} /></label>
      {typeof made === "string" && <p class="complaint" role="alert" data-testid="error">{made}</p>}
      {lines?.map(({ name, line }, i) => line.length <= 128 ? (
        <Grid key={i} id={`stack-${i}`} caption={t("overlap.stack.after", { index: i + 1, layer: name })} label={t("overlap.stack.after", { index: i + 1, layer: name })}
          rows={1} columns={line.length} tone="plain" text={(_, column) => String(line[column])} className={(_, column) => (line[column] ? "shaded" : "shaded hole")}
          shade={(_, column) => line[column]! / Math.max(...line, 1)} />
      ) : <p class="note" key={i}>{t("overlap.large", { count: line.length })}</p>)}
    </section>
  );
}

function layerText(problem: Problem): string {
  const axis = problem.axes[0]!;
  return `k${axis.kernel} s${axis.stride}` + (axis.before ? ` p${axis.before}` : "") + (axis.dilation > 1 ? ` d${axis.dilation}` : "");
}
