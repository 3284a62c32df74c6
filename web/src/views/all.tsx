import type { JSX } from "preact";
import type { View } from "../state";
import { useStore } from "../ui/context";
import { Field } from "./field";
import { Filter } from "./filter";
import { Gradient } from "./gradient";
import { ImageView } from "./image";
import { Matrix } from "./matrix";
import { Overlap } from "./overlap";
import { Phases } from "./phases";
import { Sizes } from "./sizes";
import { Transposed } from "./transposed";

/** A view by its name. Filter and transposed show whichever direction the problem has. */
export function ViewBody({ name }: { name: View }): JSX.Element {
  const conv = useStore().trace.value.problem.op === "conv";
  switch (name) {
    case "filter":
    case "transposed": return conv ? <Filter /> : <Transposed />;
    case "matrix": return <Matrix />;
    case "phases": return <Phases />;
    case "overlap": return <Overlap />;
    case "sizes": return <Sizes />;
    case "field": return <Field />;
    case "image": return <ImageView />;
    case "gradient": return <Gradient />;
  }
}
