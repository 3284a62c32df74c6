// Sizes forwards and backwards: the sum, the solver, the conventions, and the layer as code.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { conventions, kindOf, solutionName, solve } from "../engine/analysis";
import { type Axis, axisName, coarseSize, extent, smallestFine } from "../engine/axis";
import { sentence } from "../engine/errors";
import { inSize, outSize, sums } from "../engine/problem";
import { codeOf } from "../engine/code";
import { say, t } from "../texts";
import { useStore } from "../ui/context";
import { described } from "../ui/why";

export function Sizes(): JSX.Element {
  const trace = useStore().trace.value;
  const { problem } = trace;
  const axis = problem.axes.at(-1)!;
  const [fine, coarse] = [problem.fineSize.at(-1)!, problem.coarseSize.at(-1)!];
  const rank = problem.axes.length;
  const lines = sums(problem);
  const found = described(trace, "sizes", null);
  const back = roundTrip(axis, fine);
  return (
    <>
      <div class="sums">
        {lines.map((line, i) => <p class="mono big" key={i}>{rank > 1 ? <b>{axisName(i, rank)}: </b> : null}{line}</p>)}
        <p class="note">{t("sizes.reads", { from: inSize(problem).join("×"), to: outSize(problem).join("×") })}</p>
      </div>
      {back && <p class="round-trip" data-testid="round-trip"><span class="mono">{back[0]}</span><br />{back[1]}</p>}
      {found?.why.filter((text) => text !== back?.[1]).map((text) => <p key={text} data-testid="sizes-why">{text}</p>)}
      <Solver coarse={Math.min(coarse, fine)} fine={Math.max(coarse, fine)} />
      {problem.op === "conv" && fine > 0 && <Conventions />}
      <Code />
    </>
  );
}

// There and back: what the same layer transposed makes of the output of the convolution.
function roundTrip(axis: Axis, fine: number): [string, string] | null {
  if (fine < 1 || fine + axis.before + axis.after < extent(axis)) return null;
  const coarse = coarseSize(axis, fine);
  const smallest = smallestFine(axis, coarse);
  const padding = fine - smallest;
  return [
    `${fine} → conv → ${coarse} → conv_transpose → ${smallest}`,
    padding ? say("sizes.back", { coarse, smallest, padding, fine }) : say("sizes.back.exact", { coarse, fine }),
  ];
}

function Solver({ coarse, fine }: { coarse: number; fine: number }): JSX.Element {
  const store = useStore();
  const link = store.link.value;
  const { problem } = store.trace.value;
  const [from, setFrom] = useState<string | null>(null);
  const [to, setTo] = useState<string | null>(null);
  const [all, setAll] = useState(false);
  const a = from ?? String(link.coarse ?? Math.max(coarse, 1));
  const b = to ?? String(link.fine ?? Math.max(fine, 1));
  const found = useMemo(() => {
    try {
      return solve(whole(a, "coarse"), whole(b, "fine"));
    } catch (error) {
      return sentence(error);
    }
  }, [a, b]);
  const keep = (name: "coarse" | "fine", text: string): void => {
    (name === "coarse" ? setFrom : setTo)(text);
    if (/^\d{1,15}$/.test(text)) store.change({ [name]: Number(text) });
  };
  const shown = Array.isArray(found) ? found.slice(0, all ? 200 : 12) : [];
  return (
    <section class="solver">
      <h3>{t("sizes.solver")}</h3>
      <div class="row">
        <label class="param inline"><span>{t("sizes.coarse")}</span><input value={a} inputMode="numeric" data-testid="solve-coarse" onInput={(event) => keep("coarse", event.currentTarget.value)} /></label>
        <span aria-hidden="true">→</span>
        <label class="param inline"><span>{t("sizes.fine")}</span><input value={b} inputMode="numeric" data-testid="solve-fine" onInput={(event) => keep("fine", event.currentTarget.value)} /></label>
      </div>
      {typeof found === "string" ? <p class="complaint" role="alert" data-testid="error">{found}</p> :
        found.length === 0 ? <p class="note">{say("sizes.none", { kernels: 12, coarse: a, fine: b })}</p> : (
          <table class="solutions" data-testid="solutions">
            <caption>{say("sizes.solutions", { coarse: a || "?", fine: b || "?" })}</caption>
            <thead><tr><th scope="col">{t("sizes.layer")}</th><th scope="col">{t("sizes.pair")}</th><th scope="col">{t("sizes.overlap")}</th><th scope="col"><span class="unseen">{t("sizes.use")}</span></th></tr></thead>
            <tbody>
              {shown.map((solution) => {
                const kind = kindOf([solution.axis]);
                const name = solutionName(solution);
                return (
                  <tr key={`${name} ${solution.fine}`} data-testid="solution">
                    <td class="mono">{name}</td><td class="mono">{solution.coarse} → {solution.fine}</td>
                    <td><span class={`badge verdict-${kind}`}>{say(`sizes.kind.${kind}`)}</span></td>
                    <td><button type="button" class="chip" onClick={() => store.setProblem(`conv_transpose i${problem.axes.map(() => solution.coarse).join("x")} ${name}`, "view")}
                      aria-label={t("sizes.open.label", { name })}>{t("sizes.open")}</button></td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        )}
      {Array.isArray(found) && found.length > shown.length && (
        <button type="button" class="chip" onClick={() => setAll(true)}>{t("sizes.all", { count: found.length })}</button>
      )}
    </section>
  );
}

function whole(text: string, name: string): number | null {
  if (text.trim() === "") return null;
  if (!/^\d{1,15}$/.test(text.trim())) throw new Error(t("param.whole", { name, text: text.slice(0, 20) }));
  return Number(text);
}

function Conventions(): JSX.Element {
  const { problem } = useStore().trace.value;
  const axis = problem.axes.at(-1)!;
  const fine = problem.fineSize.at(-1)!;
  const found = conventions(axis, fine);
  return (
    <section>
      <h3>{say("sizes.conventions", { fine })}</h3>
      <table class="solutions" data-testid="conventions">
        <thead><tr><th scope="col">{t("sizes.convention")}</th><th scope="col">{t("sizes.pads")}</th><th scope="col">{t("sizes.output")}</th></tr></thead>
        <tbody>{found.map((one) => <tr key={one.name}><td>{one.name}</td><td class="mono">({one.before}, {one.after})</td><td class="mono">{one.coarse}</td></tr>)}</tbody>
      </table>
    </section>
  );
}

function Code(): JSX.Element {
  const { problem } = useStore().trace.value;
  const made = useMemo(() => codeOf(problem), [problem]);
  const [name, setName] = useState("PyTorch");
  const [said, setSaid] = useState("");
  const code = made[name]!;
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(code);
      setSaid(t("head.copied"));
    } catch {
      setSaid(t("head.uncopied"));
    }
    setTimeout(() => setSaid(""), 2500);
  };
  return (
    <section class="code">
      <h3>{t("sizes.code")}</h3>
      <div class="tabs small" role="group" aria-label={t("sizes.code")}>
        {Object.keys(made).map((one) => <button type="button" key={one} aria-pressed={one === name} data-testid={`code-${one}`} onClick={() => setName(one)}>{one}</button>)}
      </div>
      <pre tabIndex={0} data-testid="code"><code>{code}</code></pre>
      <button type="button" class="chip" onClick={() => void copy()}><span aria-live="polite">{said || t("sizes.copy")}</span></button>
    </section>
  );
}
