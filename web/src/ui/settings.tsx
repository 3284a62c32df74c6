// The settings: the problem as a string and parameter by parameter, and the numbers.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Fields, type Mode, type Problem, inShape, outputPaddings, product, weightShape, write } from "../engine/problem";
import { Refusal, sentence } from "../engine/errors";
import { type Num, number } from "../engine/numbers";
import { unravel } from "../engine/trace";
import { fieldsOf, nest, plain } from "../store";
import { t } from "../texts";
import { useStore } from "./context";

type Store = ReturnType<typeof useStore>;

export function Settings(): JSX.Element {
  const store = useStore();
  const { problem } = store.trace.value;
  const transposed = problem.op === "conv_transpose";
  const rank = problem.axes.length;
  return (
    <form class="settings" aria-label={t("settings")} onSubmit={(event) => event.preventDefault()}>
      <div class="segments" role="group" aria-label={t("param.op")}>
        <button type="button" aria-pressed={!transposed} data-testid="op-conv" onClick={() => store.show("filter")}>{t("op.conv")}</button>
        <button type="button" aria-pressed={transposed} data-testid="op-conv_transpose" onClick={() => store.show("transposed")}>{t("op.conv_transpose")}</button>
      </div>
      <div class="pairs">
        <Param name="input" value={joined(problem, (i) => (transposed ? problem.coarseSize : problem.fineSize)[i]!)}
          set={(text) => ({ in: numbers(text, rank, "input size") })} spin />
        <Param name="kernel" value={joined(problem, (i) => problem.axes[i]!.kernel)}
          set={(text) => ({ kernel: numbers(text, rank, "kernel_size") })} spin />
        <Param name="stride" value={joined(problem, (i) => problem.axes[i]!.stride)}
          set={(text) => ({ stride: numbers(text, rank, "stride") })} spin />
        <Param name="padding" value={padding(problem)} set={(text) => ({ padding: pads(text, rank) })} spin />
        <Param name="dilation" value={joined(problem, (i) => problem.axes[i]!.dilation)}
          set={(text) => ({ dilation: numbers(text, rank, "dilation") })} spin />
        {transposed ?
          <Param name="output_padding" value={same(outputPaddings(problem))}
            set={(text) => ({ outputPadding: numbers(text, rank, "output_padding") })} spin /> : null}
        <Param name="in_channels" value={String(transposed ? problem.coarseChannels : problem.fineChannels)}
          set={(text) => ({ inChannels: one(text, "in_channels") })} spin />
        <Param name="out_channels" value={String(transposed ? problem.fineChannels : problem.coarseChannels)}
          set={(text) => ({ outChannels: one(text, "out_channels") })} spin />
        <Param name="groups" value={String(problem.groups)} set={(text) => ({ groups: one(text, "groups") })} spin />
        <label class="param">
          <span>{t("param.rank")}</span>
          <select data-testid="param-rank" value={rank} onChange={(event) => setRank(store, Number(event.currentTarget.value))}>
            {[1, 2, 3].concat(rank > 3 ? [rank] : []).map((n) => <option key={n} value={n}>{n}-D</option>)}
          </select>
        </label>
        <label class="param wide">
          <span>{t("param.mode")}</span>
          <select data-testid="param-mode" value={problem.mode}
            onChange={(event) => store.setFields({ mode: event.currentTarget.value as Mode }, "mode")}>
            {["zeros", "reflect", "replicate", "circular"].map((mode) => <option key={mode}>{mode}</option>)}
          </select>
        </label>
        <label class="check wide">
          <input type="checkbox" data-testid="flip" checked={problem.flip}
            onChange={(event) => store.setFields({ flip: event.currentTarget.checked }, "flip")} />
          <span>{t("param.flip")}</span>
        </label>
      </div>
      <Complaint fields={["mode", "flip", "rank", "view"]} />
      <ProblemField />
      <Numbers name="x" title={t("array.input")} shape={inShape(problem)} values={store.trace.value.x} presets={["counting", "ones", "random", "impulse"]} />
      <Numbers name="weight" title={t("array.weight")} shape={weightShape(problem)} values={store.trace.value.weight}
        presets={["counting", "ones", "digits", "random", "sobel", "blur"]} />
    </form>
  );
}

function Complaint({ fields }: { fields: string[] }): JSX.Element | null {
  const message = useStore().message.value;
  if (!message || !fields.includes(message.field)) return null;
  return <p class="complaint" role="alert" data-testid="error" id={`error-${message.field}`}>{message.text}</p>;
}

interface ParamProps { name: string; value: string; spin?: boolean; set(text: string): Partial<Fields> }

function Param({ name, value, set, spin }: ParamProps): JSX.Element {
  const store = useStore();
  const [text, setText] = useState(value);
  const message = store.message.value;
  const wrong = message?.field === name;
  useEffect(() => {
    if (!wrong) setText((now) => (normal(now) === value ? now : value));
  }, [value, wrong]);
  const enter = (next: string): void => {
    setText(next);
    try {
      store.setFields(set(next), name);
    } catch (error) {
      store.message.value = { text: sentence(error), field: name };
    }
  };
  const turn = (by: number): void => {
    const least = ["padding", "output_padding"].includes(name) ? 0 : 1;
    const turned = (at: string): string => String(Math.max(least, Number(at) + by));
    enter(/\d/.test(text) ? text.replace(/\d+/g, turned) : turned("0"));
  };
  return (
    <div class={`param ${wrong ? "wrong" : ""}`}>
      <label>
        <span>{t(`param.${name}`)}</span>
        <input data-testid={`param-${name}`} value={text} inputMode={spin ? "numeric" : "text"} autocomplete="off" spellcheck={false}
          aria-invalid={wrong} aria-describedby={wrong ? `error-${name}` : undefined}
          onInput={(event) => enter(event.currentTarget.value)}
          onBlur={() => { if (!wrong) setText(value); }}
          onKeyDown={(event) => {
            if (event.key === "ArrowUp" && spin) { event.preventDefault(); turn(1); }
            if (event.key === "ArrowDown" && spin) { event.preventDefault(); turn(-1); }
          }} />
      </label>
      {spin && (
        <span class="spin">
          <button type="button" tabIndex={-1} aria-label={t("param.less", { name: t(`param.${name}`) })} onClick={() => turn(-1)}>−</button>
          <button type="button" tabIndex={-1} aria-label={t("param.more", { name: t(`param.${name}`) })} onClick={() => turn(1)}>+</button>
        </span>
      )}
      {wrong && <p class="complaint" role="alert" data-testid="error" id={`error-${name}`}>{message!.text}</p>}
    </div>
  );
}

function ProblemField(): JSX.Element {
  const store = useStore();
  const value = write(store.trace.value.problem);
  const [text, setText] = useState(value);
  const wrong = store.message.value?.field === "problem";
  useEffect(() => { if (!wrong) setText(value); }, [value]);
  return (
    <div class={`param whole ${wrong ? "wrong" : ""}`}>
      <label>
        <span>{t("param.problem")}</span>
        <textarea rows={2} data-testid="param-problem" spellcheck={false} value={text} aria-invalid={wrong}
          aria-describedby={wrong ? "error-problem" : "about-problem"}
          onInput={(event) => { setText(event.currentTarget.value); store.setProblem(event.currentTarget.value, "problem"); }}
          onBlur={() => { if (!wrong) setText(value); }} />
      </label>
      {wrong ? <Complaint fields={["problem"]} /> : <p class="note" id="about-problem">{t("param.problem.note")}</p>}
    </div>
  );
}

interface NumbersProps { name: "x" | "weight"; title: string; shape: number[]; values: ArrayLike<Num>; presets: string[] }

const MOST_WRITTEN = 2000;

function Numbers({ name, title, shape, values, presets }: NumbersProps): JSX.Element {
  const store = useStore();
  const written = values.length <= MOST_WRITTEN ? rowsText(values, shape) : "";
  const [text, setText] = useState(written);
  const wrong = store.message.value?.field === name;
  useEffect(() => { if (!wrong) setText(written); }, [written]);
  return (
    <fieldset class="numbers">
      <legend>{title} <span class="size">{shape.slice(2).join("×")}{shape[0]! * shape[1]! > 1 ? ` · ${shape[0]}, ${shape[1]}` : ""}</span></legend>
      {values.length <= MOST_WRITTEN ?
        <textarea rows={Math.min(6, Math.max(2, written.split("\n").length))} data-testid={`numbers-${name}`} spellcheck={false} value={text}
          aria-label={t("numbers.label", { name: title })} aria-invalid={wrong} aria-describedby={wrong ? `error-${name}` : undefined}
          onInput={(event) => {
            setText(event.currentTarget.value);
            enter(store, name, event.currentTarget.value, shape);
          }}
          onBlur={() => { if (!wrong) setText(written); }} /> :
        <p class="note">{t("numbers.many", { count: values.length })}</p>}
      <Complaint fields={[name]} />
      <div class="presets">
        {presets.map((preset) => (
          <button type="button" class="chip" key={preset} data-testid={`${name}-${preset}`}
            onClick={() => store.change({ [name]: presetOf(preset, shape) }, name)}>{t(`preset.${preset}`)}</button>
        ))}
      </div>
    </fieldset>
  );
}

function enter(store: Store, name: "x" | "weight", text: string, shape: number[]): void {
  const entries = text.split(/[\s,;|]+/).filter(Boolean);
  const size = product(shape);
  if (entries.length !== size) {
    // Another size: rows of equal length are taken as a new input or kernel.
    const rows = text.trim().split(/[;\n]+/).map((row) => row.split(/[\s,]+/).filter(Boolean)).filter((row) => row.length);
    const { problem } = store.trace.value;
    const single = shape[0] === 1 && shape[1] === 1;
    const even = rows.length > 0 && rows.every((row) => row.length === rows[0]!.length);
    if (single && even && problem.axes.length === 2 && entries.length < 10_000) {
      const fields = fieldsOf(problem);
      try {
        const next = { ...fields, [name === "x" ? "in" : "kernel"]: [rows.length, rows[0]!.length] };
        store.change({ problem: problemText(next), [name]: rows }, name);
      } catch (error) {
        store.message.value = { text: sentence(error), field: name };
      }
      return;
    }
    store.message.value = { text: t("numbers.count", { found: entries.length, count: size }), field: name };
    return;
  }
  store.change({ [name]: nest(entries.map((entry) => (Number.isNaN(Number(entry)) ? entry : Number(entry))), shape) }, name);
}

import { makeProblem } from "../engine/problem";
const problemText = (fields: Fields): string => write(makeProblem(fields));

function rowsText(values: ArrayLike<Num>, shape: number[]): string {
  const columns = shape.at(-1)!;
  const rows: string[] = [];
  for (let i = 0; i < values.length; i += columns) {
    const row = Array.from({ length: columns }, (_, j) => String(plain(values[i + j]!)));
    if (i && shape.length > 3 && i % (columns * shape.at(-2)!) === 0) rows.push("");
    rows.push(row.join(" "));
  }
  return rows.join("\n");
}

function presetOf(preset: string, shape: number[]): unknown {
  if (preset === "counting") return undefined;
  if (preset === "digits") return "digits";
  const make: Record<string, (cell: number[]) => number> = {
    ones: () => 1,
    random: () => Math.floor(Math.random() * 19) - 9,
    impulse: (cell) => (cell.slice(2).every((at, i) => at === Math.floor(shape[i + 2]! / 2)) ? 1 : 0),
    sobel: (cell) => {
      const side = (at: number, size: number): number => Math.sign(at - (size - 1) / 2);
      const smooth = cell.length > 3 ? (side(cell.at(-2)!, shape.at(-2)!) === 0 ? 2 : 1) : 1;
      return side(cell.at(-1)!, shape.at(-1)!) * smooth;
    },
    blur: (cell) => cell.slice(2).reduce((weight, at, i) => weight * binomial(shape[i + 2]! - 1, at), 1),
  };
  const flat = Array.from({ length: product(shape) }, (_, i) => make[preset]!(unravel(i, shape)));
  return nest(flat, shape);
}

const binomial = (n: number, k: number): number => (k === 0 ? 1 : Math.round(binomial(n, k - 1) * (n - k + 1) / k));

function setRank(store: Store, rank: number): void {
  const before = fieldsOf(store.trace.value.problem);
  const most = { 1: 8, 2: 5, 3: 3 }[rank] ?? 3;
  const fit = (list: number[] | undefined): number[] | undefined =>
    list && Array.from({ length: rank }, (_, i) => list[Math.min(i, list.length - 1)]!);
  const pads = before.padding;
  store.setFields({
    in: fit(before.in)!.map((n) => Math.min(n, most)), kernel: fit(before.kernel)!.map((n) => Math.min(n, rank === 3 ? 2 : 3)),
    stride: fit(before.stride), dilation: fit(before.dilation), outputPadding: fit(before.outputPadding), outputSize: undefined,
    padding: typeof pads === "string" || !pads ? pads : Array.from({ length: rank }, (_, i) => pads[Math.min(i, pads.length - 1)]!),
  }, "rank");
}

// -- text and numbers ---------------------------------------------------------------------------------------------

const normal = (text: string): string => text.trim().replace(/[\s,]+/g, "x");
const same = (values: readonly (number | string)[]): string =>
  values.every((value) => value === values[0]) ? String(values[0]) : values.join("x");
const joined = (p: Problem, of: (i: number) => number): string => same(p.axes.map((_, i) => of(i)));
const padding = (p: Problem): string =>
  same(p.axes.map((axis) => (axis.before === axis.after ? `${axis.before}` : `${axis.before}:${axis.after}`)));

function one(text: string, name: string): number {
  if (!/^\s*-?\d{1,12}\s*$/.test(text)) throw new Refusal(t("param.whole", { name, text: text.slice(0, 20) }));
  return Number(text);
}

function numbers(text: string, rank: number, name: string): number[] {
  const parts = text.trim().split(/[x,\s]+/i);
  const found = parts.map((part) => one(part, name));
  if (found.length !== 1 && found.length !== rank) {
    throw new Refusal(t("param.entries", { name, count: found.length, rank }));
  }
  return found.length === 1 ? new Array<number>(rank).fill(found[0]!) : found;
}

function pads(text: string, rank: number): string | [number, number][] {
  const word = text.trim().toLowerCase();
  if (["same", "same_lower", "valid", "causal"].includes(word)) return word;
  const parts = word.split(/[x,\s]+/).map((part): [number, number] => {
    const ends = part.split(":").map((end) => one(end, "padding"));
    if (ends.length > 2) throw new Refusal(t("param.pads"));
    return [ends[0]!, ends[ends.length - 1]!];
  });
  if (parts.length !== 1 && parts.length !== rank) {
    throw new Refusal(t("param.entries", { name: "padding", count: parts.length, rank }));
  }
  return parts.length === 1 ? new Array<[number, number]>(rank).fill(parts[0]!) : parts;
}

export const valueText = number;
