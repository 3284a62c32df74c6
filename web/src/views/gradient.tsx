// The gradients: the same multiplications, grouped by input cell and by weight.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { sentence } from "../engine/errors";
import { type Num, multiply, number, plus } from "../engine/numbers";
import { product } from "../engine/problem";
import { type Trace, type Values, flatten, zeros } from "../engine/trace";
import { t } from "../texts";
import { ArrayView, Joined } from "../ui/arrays";
import { useStore } from "../ui/context";

const MOST = 2_000_000;

export interface Gradients { dy: Values; dx: Values; dw: Values }

/** dL/dx and dL/dw for a gradient that comes from above, each sum in the order of the rows. */
export function gradients(trace: Trace, given?: unknown): Gradients {
  const size = product(trace.outShape);
  if (trace.count * trace.taps.terms > MOST) throw new Error(t("gradient.large"));
  let dy: Values = new Float64Array(size).fill(1);
  if (given !== undefined) {
    const [values] = flatten("dL/dy", given);
    if (values.length !== size) throw new Error(t("numbers.count", { found: values.length, count: size }));
    dy = values.every((value) => typeof value === "number") ? Float64Array.from(values as number[]) : values;
  }
  const dx = zeros(trace.x.length, trace.x, trace.zero) as Num[];
  const dw = zeros(trace.weight.length, trace.weight, trace.zero) as Num[];
  for (let coarse = 0; coarse < trace.count; coarse++) {
    trace.taps.visit(coarse, (cell, w) => {
      if (cell < 0) return;
      const [out, inp] = trace.isConv ? [coarse, cell] : [cell, coarse];
      dx[inp] = plus(dx[inp]!, multiply(trace.weight[w]!, dy[out]!));
      dw[w] = plus(dw[w]!, multiply(trace.x[inp]!, dy[out]!));
    });
  }
  return { dy, dx: dx as Values, dw: dw as Values };
}

export function Gradient(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const given = store.link.value.dy;
  const [text, setText] = useState<string | null>(null);
  const [complaint, setComplaint] = useState("");
  const made = useMemo(() => {
    try {
      return gradients(trace, given);
    } catch (error) {
      try {
        return { ...gradients(trace), refused: sentence(error) };
      } catch (second) {
        return { refused: sentence(second) };
      }
    }
  }, [trace, given]);
  if (!("dx" in made)) return <p class="note">{made.refused}</p>;
  const { dy, dx, dw } = made;
  const enter = (value: string): void => {
    setText(value);
    const entries = value.split(/[\s,;]+/).filter(Boolean);
    const list = entries.length === 1 ? new Array<string>(dy.length).fill(entries[0]!) : entries;
    try {
      gradients(trace, list);
      setComplaint("");
      store.change({ dy: list.map((entry) => (Number.isNaN(Number(entry)) ? entry : Number(entry))) });
    } catch (error) {
      setComplaint(sentence(error));
    }
  };
  return (
    <>
      <p class="note">{t("gradient.note")}</p>
      <label class="param inline">
        <span>dL/dy</span>
        <input data-testid="param-dy" value={text ?? (given === undefined ? "1" : Array.from(dy as Iterable<Num>, number).join(" "))}
          onInput={(event) => enter(event.currentTarget.value)} aria-invalid={complaint !== ""} />
      </label>
      {(complaint || "refused" in made) && <p class="complaint" role="alert">{complaint || (made as { refused?: string }).refused}</p>}
      <div class="figure">
        <ArrayView trace={trace} array="output" id="gradient-output" gradient="dL/dy" values={dy} plain />
        <Joined sign="→"><ArrayView trace={trace} array="input" id="gradient-input" gradient="dL/dx" values={dx} plain /></Joined>
        <ArrayView trace={trace} array="weight" id="gradient-weight" gradient="dL/dw" values={dw} plain />
      </div>
    </>
  );
}

/** The same as a toggle under the filter and the transposed view. */
export function GradientToggle(): JSX.Element {
  const [open, setOpen] = useState(false);
  return (
    <section class="toggle">
      <button type="button" class="chip" data-testid="gradient" aria-expanded={open} onClick={() => setOpen(!open)}>
        {t("gradient.toggle")}
      </button>
      {open && <Gradient />}
    </section>
  );
}
