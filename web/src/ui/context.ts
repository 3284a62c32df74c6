import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Store } from "../store";

export const StoreContext = createContext<Store | null>(null);

/** The store of the page, or of the widget, that a component stands in. */
export function useStore(): Store {
  const store = useContext(StoreContext);
  if (!store) throw new Error("a component stands outside a page");
  return store;
}
