// The frame: settings on the left, views in the middle, reasons on the right, the formula at the foot.

import { Component, type ComponentChildren, type JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { sentence } from "../engine/errors";
import { toHash, VIEWS, type View } from "../state";
import { t } from "../texts";
import { ViewBody } from "../views/all";
import { useStore } from "./context";
import { FormulaBar, stepOn, togglePlay } from "./formula";
import { Settings } from "./settings";
import { EXAMPLES, Tour } from "./tour";
import { Why, titleOf } from "./why";

export function App({ embedded = false }: { embedded?: boolean }): JSX.Element {
  const store = useStore();
  const [help, setHelp] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const view = store.view.value;
  const message = store.message.value;
  // The tab of the shown view is in sight, however narrow the screen.
  useEffect(() => {
    const tab = root.current?.querySelector<HTMLElement>(`.views [aria-current]`);
    const strip = tab?.parentElement;
    if (tab && strip) strip.scrollLeft = tab.offsetLeft - (strip.clientWidth - tab.clientWidth) / 2;
  }, [view]);
  const [settings, setSettings] = useState(() => (root.current?.clientWidth ?? globalThis.innerWidth ?? 1280) > 760);

  useEffect(() => {
    const target: HTMLElement | Document = embedded ? root.current! : document;
    const onKey = (event: Event): void => shortcut(store, event as KeyboardEvent, () => setHelp((now) => !now), () => setHelp(false));
    target.addEventListener("keydown", onKey);
    return () => target.removeEventListener("keydown", onKey);
  }, []);

  return (
    <div class={`twofold ${embedded ? "embedded" : ""}`} ref={root}>
      <button type="button" class="skip" data-testid="skip"
        onClick={() => ["main td[tabindex='0'], main canvas[tabindex]", "main :is(button, input, textarea)"]
          .map((what) => root.current?.querySelector<HTMLElement>(what)).find(Boolean)?.focus()}>{t("head.skip")}</button>
      <header class="head">
        <h1><Logo /> Twofold <span>{t("head.claim")}</span></h1>
        <div class="actions">
          <select class="examples" aria-label={t("head.examples")} data-testid="examples" value=""
            onChange={(event) => {
              const example = EXAMPLES[Number(event.currentTarget.value)];
              event.currentTarget.value = "";
              if (example) store.load({ ...example.link });
            }}>
            <option value="">{t("head.examples")}</option>
            {EXAMPLES.map((example, i) => <option key={example.key} value={i}>{t(`example.${example.key}`)}</option>)}
          </select>
          <button type="button" data-testid="tour" onClick={() => store.change({ tour: store.link.value.tour === undefined ? 0 : undefined })}>{t("head.tour")}</button>
          <CopyLink />
          <Theme />
          <button type="button" data-testid="help" aria-expanded={help} onClick={() => setHelp(!help)} aria-label={t("head.help")}>?</button>
        </div>
      </header>
      <nav class="tabs views" aria-label={t("head.views")}>
        {VIEWS.map((name, i) => (
          <button type="button" key={name} data-testid={`view-${name}`} aria-current={view === name ? "page" : undefined}
            title={t("head.key", { key: i + 1 })} onClick={() => store.show(name)}>{t(`view.${name}`)}</button>
        ))}
      </nav>
      <div class="columns">
        <aside class={`side ${settings ? "open" : ""}`}>
          <button type="button" class="fold" data-testid="settings" aria-expanded={settings} onClick={() => setSettings(!settings)}>
            {t("settings")} <code>{store.link.value.problem}</code>
          </button>
          {settings && <Settings />}
        </aside>
        <main id="main">
          {message && ["link", "view"].includes(message.field) && (
            <p class="complaint banner" role="alert" data-testid="error">
              {message.text} <button type="button" class="quiet" onClick={() => { store.message.value = null; }}>{t("close")}</button>
            </p>
          )}
          <Tour />
          <View name={view} />
          {store.link.value.beside && store.link.value.beside !== view && (
            <section class="beside">
              <View name={store.link.value.beside} />
            </section>
          )}
          <Beside />
        </main>
        <Why />
      </div>
      <FormulaBar />
      {help && <Help close={() => setHelp(false)} />}
    </div>
  );
}

function View({ name }: { name: View }): JSX.Element {
  const store = useStore();
  const title = titleOf(store.trace.value, name, store.tab.value, store.link.value.transpose ?? false);
  return (
    <section class={`view view-${name}`} aria-label={t(`view.${name}`)}>
      <h2>{title}</h2>
      <Guard key={`${store.link.value.problem} ${name}`}><ViewBody name={name} /></Guard>
    </section>
  );
}

// What nobody foresaw becomes a sentence in the place of one view; the rest of the page stays.
class Guard extends Component<{ children: ComponentChildren }, { refused: string }> {
  override state = { refused: "" };
  override componentDidCatch(error: unknown): void {
    this.setState({ refused: sentence(error) });
  }
  render(): ComponentChildren {
    return this.state.refused ? <p class="complaint" role="alert">{this.state.refused}</p> : this.props.children;
  }
}

// Another view under this one: what is lit in one is lit in both.
function Beside(): JSX.Element {
  const store = useStore();
  const value = store.link.value.beside ?? "";
  const own = store.trace.value.problem.op === "conv" ? "transposed" : "filter";
  return (
    <label class="param inline beside-choice">
      <span>{t("beside")}</span>
      <select data-testid="beside" value={value}
        onChange={(event) => store.change({ beside: (event.currentTarget.value || undefined) as View | undefined })}>
        <option value="">{t("beside.none")}</option>
        {VIEWS.filter((name) => name !== store.view.value && name !== own).map((name) =>
          <option key={name} value={name}>{t(`view.${name}`)}</option>)}
      </select>
    </label>
  );
}

function CopyLink(): JSX.Element {
  const store = useStore();
  const [said, setSaid] = useState("");
  const copy = async (): Promise<void> => {
    const link = location.href.split("#")[0] + toHash(store.link.value);
    try {
      await navigator.clipboard.writeText(link);
      setSaid(t("head.copied"));
    } catch {
      setSaid(t("head.uncopied"));
    }
    setTimeout(() => setSaid(""), 2500);
  };
  return <button type="button" data-testid="copy" title={t("head.copy.title")} onClick={() => void copy()}><span aria-live="polite">{said || t("head.copy")}</span></button>;
}

function Theme(): JSX.Element {
  const [theme, setTheme] = useState("");
  const next: Record<string, string> = { "": "dark", dark: "light", light: "" };
  const sign: Record<string, string> = { "": "◐", dark: "☾", light: "☀" };
  const name = theme || "auto";
  return (
    <button type="button" data-testid="theme" aria-label={t(`theme.${name}`)} title={t(`theme.${name}`)}
      onClick={(event) => {
        const value = next[theme]!;
        setTheme(value);
        const root = event.currentTarget.closest<HTMLElement>(".twofold")!;
        const target = root.classList.contains("embedded") ? root : document.documentElement;
        if (value) target.dataset.theme = value;
        else delete target.dataset.theme;
      }}>{sign[theme]}</button>
  );
}

function Help({ close }: { close(): void }): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    box.current?.showModal?.();
  }, []);
  return (
    <dialog ref={box} class="help" aria-labelledby="help-title" onClose={close}
      onClick={(event) => { if (event.target === box.current) box.current?.close(); }}>
      <h2 id="help-title">{t("help.title")}</h2>
      <dl>
        {["arrows", "enter", "escape", "space", "comma", "digits", "f2", "question"].map((key) => (
          <div key={key}><dt><kbd>{t(`help.${key}.key`)}</kbd></dt><dd>{t(`help.${key}`)}</dd></div>
        ))}
      </dl>
      <p>{t("help.more")}</p>
      <button type="button" onClick={() => box.current?.close()}>{t("close")}</button>
    </dialog>
  );
}

function Logo(): JSX.Element {
  return (
    <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" class="logo">
      <rect x="1" y="7" width="13" height="13" rx="2" /><rect x="10" y="4" width="13" height="13" rx="2" />
    </svg>
  );
}

const NATIVE = "input, textarea, select, [contenteditable]";

function shortcut(store: ReturnType<typeof useStore>, event: KeyboardEvent, help: () => void, close: () => void): void {
  const target = event.composedPath()[0] as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest?.(NATIVE)) return;
  const digit = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
  if (event.key === "Escape") {
    close();
    store.hover.value = null;
    store.focus.value = null;
    store.setPin(null);
    store.stepped.value = false;
  } else if (event.key === " " && !target.closest?.("button, a, summary, canvas[tabindex]")) {
    event.preventDefault();
    togglePlay(store);
  } else if (event.key === ",") {
    store.stop();
    store.goTo(store.stepped.value ? store.step.value - 1 : 0);
  } else if (event.key === ".") stepOn(store);
  else if (event.key === "?") help();
  else if (digit) store.show(VIEWS[digit - 1]!);
}
