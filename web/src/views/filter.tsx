// The sliding filter: which window of the input meets the weight, and what comes out.

import type { JSX } from "preact";
import { number } from "../engine/numbers";
import { t } from "../texts";
import { ArrayView, Joined } from "../ui/arrays";
import { useStore } from "../ui/context";
import { GradientToggle } from "./gradient";

export function Filter(): JSX.Element {
  const trace = useStore().trace.value;
  return (
    <>
      <div class="figure">
        <ArrayView trace={trace} array="input" edit />
        <Joined sign="∗"><ArrayView trace={trace} array="weight" edit /></Joined>
        <Joined sign="="><ArrayView trace={trace} array="output" /></Joined>
      </div>
      <Bias />
      <GradientToggle />
    </>
  );
}

export function Bias(): JSX.Element | null {
  const { bias } = useStore().trace.value;
  if (!bias) return null;
  return <p class="note">{t("bias", { values: Array.from(bias as Iterable<number>, number).join(", ") })}</p>;
}
