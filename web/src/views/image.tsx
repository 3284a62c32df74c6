// A real image: through a bank of filters, then through an encoder and back through four kinds of decoder.
// Every map is made by the same engine, so a click on a pixel opens it with its numbers.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { number, type Num } from "../engine/numbers";
import { product } from "../engine/problem";
import { type Trace, makeTrace } from "../engine/trace";
import { nest, type Store } from "../store";
import { say, t } from "../texts";
import { useStore } from "../ui/context";
import { magnitude, paint } from "../ui/pixels";
import { type Layer, assets } from "./assets";

const SIDE = 64;

type Picture = Float64Array; // SIDE × SIDE greys, 0 … 255

// -- pictures -----------------------------------------------------------------------------------------------------

const PICTURES = ["photo", "digits", "zone", "steps", "constant"] as const;
const DIGITS = [ // 5 × 7 dots each
  "01110 10001 10011 10101 11001 10001 01110", "00100 01100 00100 00100 00100 00100 01110",
  "01110 10001 00001 00110 01000 10000 11111", "11110 00001 00001 01110 00001 00001 11110",
].map((rows) => rows.split(" "));

function builtIn(name: string): Picture {
  if (name === "photo") {
    const bytes = atob(assets().photo.grey);
    return Float64Array.from({ length: SIDE * SIDE }, (_, i) => bytes.charCodeAt(i) || 0);
  }
  return Float64Array.from({ length: SIDE * SIDE }, (_, i) => {
    const [row, column] = [Math.floor(i / SIDE), i % SIDE];
    if (name === "constant") return 128;
    if (name === "steps") return column < 20 ? 40 : column < 40 ? (row < 32 ? 200 : 120) : row - column > -20 ? 240 : 10;
    if (name === "digits") {
      const digit = DIGITS[Math.floor(row / 32) * 2 + Math.floor(column / 32)]!;
      const [y, x] = [Math.floor(((row % 32) - 2) / 4), Math.floor(((column % 32) - 6) / 4)];
      return digit[y]?.[x] === "1" ? 255 : 0;
    }
    const [y, x] = [row - SIDE / 2 + 0.5, column - SIDE / 2 + 0.5];
    return Math.round(127.5 + 127.5 * Math.cos((x * x + y * y) * Math.PI / SIDE / 1.15));
  });
}

/** Whether the input of the trace could be a picture. */
const isPicture = ({ problem, inShape }: Trace): boolean => problem.axes.length === 2 && Math.min(...inShape.slice(2)) >= 16;

// The first plane of the input, sampled, with its own range as 0 … 255 unless it lies there already.
function fromTrace({ x, inShape }: Trace): Picture {
  const [height, width] = [inShape[2]!, inShape[3]!];
  const side = Math.min(height, width);
  const values = Float64Array.from({ length: SIDE * SIDE }, (_, i) => {
    const at = (place: number, size: number): number => Math.floor((size - side) / 2 + (place + 0.5) / SIDE * side);
    const value = Number(x[at(Math.floor(i / SIDE), height) * width + at(i % SIDE, width)]);
    return Number.isFinite(value) ? value : 0;
  });
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (low >= 0 && high <= 255 && high > 1) return values.map(Math.round);
  return values.map((value) => (high > low ? Math.round((value - low) / (high - low) * 255) : 128));
}

async function fromFile(file: Blob): Promise<Picture> {
  const bitmap = await createImageBitmap(file);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  const side = Math.min(bitmap.width, bitmap.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  return Float64Array.from({ length: SIDE * SIDE }, (_, i) =>
    Math.round(0.299 * data[4 * i]! + 0.587 * data[4 * i + 1]! + 0.114 * data[4 * i + 2]!));
}

// -- layers -------------------------------------------------------------------------------------------------------

/** Maps of one layer: (channels, side, side), and how a pixel of them is opened. */
interface Maps { values: Float64Array; channels: number; side: number; open?(channel: number, row: number, column: number): Opened }
interface Opened { problem: string; x: unknown; weight: unknown; bias?: number[]; pin: ["input" | "output", number] }

interface Kind { transposed: boolean; kernel: number; stride: number; padding: number; extra: number }

function run(input: Maps, layer: Layer, kind: Kind): Maps {
  const channels = kind.transposed ? layer.shape[1]! : layer.shape[0]!;
  const problem = `${kind.transposed ? "conv_transpose" : "conv"} ci${input.channels} co${channels} i${input.side}x${input.side} ` +
    `k${kind.kernel} s${kind.stride} p${kind.padding}` + (kind.extra ? ` op${kind.extra}` : "");
  const trace = makeTrace(problem, nest(Array.from(input.values), [1, input.channels, input.side, input.side]),
    nest(layer.weight, layer.shape), layer.bias);
  const side = trace.outShape[3]!;
  return {
    values: Float64Array.from(trace.y as Float64Array), channels, side,
    open: (channel, row, column) => local(input, layer, kind, channel, row, column),
  };
}

// The part of a layer around one output pixel, as a problem of its own: zeros of the padding become cells.
function local(input: Maps, layer: Layer, kind: Kind, channel: number, row: number, column: number): Opened {
  const { kernel, stride, padding, transposed } = kind;
  const taps = kernel * kernel;
  const first = (at: number): number => transposed ? Math.ceil((at + padding - kernel + 1) / stride) - 1 : (at - 1) * stride - padding;
  const size = transposed ? Math.ceil(kernel / stride) + 2 : 2 * stride + kernel;
  const [top, left] = [first(row), first(column)];
  const x = Array.from({ length: input.channels }, (_, c) => Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => {
    const [r, k] = [top + i, left + j];
    const inside = r >= 0 && k >= 0 && r < input.side && k < input.side;
    return inside ? input.values[(c * input.side + r) * input.side + k]! : 0;
  })));
  const outputs = transposed ? layer.shape[1]! : 1;
  const weight = transposed ?
    Array.from({ length: input.channels }, (_, c) => layer.weight.slice((c * outputs + channel) * taps, (c * outputs + channel + 1) * taps)) :
    Array.from({ length: input.channels }, (_, c) => layer.weight.slice((channel * input.channels + c) * taps, (channel * input.channels + c + 1) * taps));
  const shape = transposed ? [input.channels, 1, kernel, kernel] : [1, input.channels, kernel, kernel];
  const width = transposed ? (size - 1) * stride + kernel : 3;
  const [r, c] = transposed ? [row + padding - top * stride, column + padding - left * stride] : [1, 1];
  return {
    problem: `${transposed ? "conv_transpose" : "conv"} ci${input.channels} i${size}x${size} k${kernel}x${kernel} s${stride}`,
    x: [x], weight: nest(weight.flat(), shape), bias: [layer.bias[channel]!], pin: ["output", r * width + c],
  };
}

// A pixel of the picture itself, and around it all that a 3×3 filter makes of it.
function around(picture: Picture, weight: unknown, row: number, column: number): Opened {
  const at = (place: number): number => Math.max(0, Math.min(place - 2, SIDE - 5));
  const [top, left] = [at(row), at(column)];
  const x = Array.from({ length: 5 }, (_, i) => Array.from({ length: 5 }, (_, j) => picture[(top + i) * SIDE + left + j]!));
  return { problem: "conv i5x5 k3x3", x, weight, pin: ["input", (row - top) * 5 + column - left] };
}

const relu = (maps: Maps): Maps => ({ ...maps, values: maps.values.map((value) => Math.max(0, value)) });

function doubled(maps: Maps): Maps {
  const side = maps.side * 2;
  return {
    channels: maps.channels, side,
    values: Float64Array.from({ length: maps.channels * side * side }, (_, i) => {
      const [c, row, column] = [Math.floor(i / side / side), Math.floor(i / side) % side, i % side];
      return maps.values[(c * maps.side + (row >> 1)) * maps.side + (column >> 1)]!;
    }),
  };
}

function shuffled(maps: Maps): Maps {
  const [side, channels] = [maps.side * 2, maps.channels / 4];
  const from = (c: number, row: number, column: number): [number, number, number] =>
    [c * 4 + (row % 2) * 2 + (column % 2), row >> 1, column >> 1];
  return {
    channels, side, open: maps.open && ((c, row, column) => maps.open!(...from(c, row, column))),
    values: Float64Array.from({ length: channels * side * side }, (_, i) => {
      const [c, row, column] = from(Math.floor(i / side / side), Math.floor(i / side) % side, i % side);
      return maps.values[(c * maps.side + row) * maps.side + column]!;
    }),
  };
}

const DOWN: Kind = { transposed: false, kernel: 3, stride: 2, padding: 1, extra: 0 };
const FLAT: Kind = { transposed: false, kernel: 3, stride: 1, padding: 1, extra: 0 };
const UP: Record<string, Kind> = {
  k3: { transposed: true, kernel: 3, stride: 2, padding: 1, extra: 1 }, k4: { transposed: true, kernel: 4, stride: 2, padding: 1, extra: 0 },
};
const DECODERS = ["k3", "k4", "resize", "shuffle"] as const;

function decode(code: Maps, name: (typeof DECODERS)[number]): { middle: Maps; result: Maps } {
  const layer = (i: number): Layer => assets().coder[`${name}-${i}`]!;
  if (name === "k3" || name === "k4") {
    const middle = relu(run(code, layer(1), UP[name]!));
    return { middle, result: run(middle, layer(2), UP[name]!) };
  }
  const step = (maps: Maps, i: number): Maps =>
    name === "resize" ? run(doubled(maps), layer(i), FLAT) : shuffled(run(maps, layer(i), FLAT));
  const middle = relu(step(code, 1));
  return { middle, result: step(middle, 2) };
}

const BANK: [string, number[][]][] = [
  ["sobel-x", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]], ["sobel-y", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]],
  ["blur", [[1, 2, 1], [2, 4, 2], [1, 2, 1]]], ["sharpen", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]],
  ["laplacian", [[0, 1, 0], [1, -4, 1], [0, 1, 0]]],
];

// -- the view -----------------------------------------------------------------------------------------------------

export function ImageView(): JSX.Element {
  const store = useStore();
  const trace = store.trace.value;
  const name = store.link.value.image ?? "photo";
  const [own, setOwn] = useState<Picture | null>(null);
  const [complaint, setComplaint] = useState("");
  const [over, setOver] = useState(false);
  const [readout, setReadout] = useState("");
  const given = isPicture(trace);
  const picture = useMemo(() => own ?? (name === "input" && given ? fromTrace(trace) : builtIn(PICTURES.includes(name as never) ? name : "photo")),
    [own, name, given ? trace : null]);
  const take = (file: Blob | undefined): void => {
    if (!file) return;
    fromFile(file).then((found) => { setOwn(found); setComplaint(""); }, () => setComplaint(t("image.unreadable")));
  };
  const input: Maps = { values: picture, channels: 1, side: SIDE, open: (_, row, column) => around(picture, BANK[0]![1], row, column) };

  const bank = useMemo(() => {
    const kernels = [...BANK];
    const { problem } = trace;
    const single = problem.op === "conv" && product(trace.weightShape.slice(0, 2)) === 1 && problem.axes.length === 2;
    if (single && trace.weight.length <= 49 && problem.axes.every((axis) => axis.kernel === problem.axes[0]!.kernel)) {
      const side = problem.axes[0]!.kernel;
      kernels.push([say("image.own"), nest(Array.from(trace.weight as Iterable<Num>, Number), [side, side]) as number[][]]);
    }
    return kernels.map(([title, kernel]) => {
      const layer: Layer = { shape: [1, 1, kernel.length, kernel.length], weight: kernel.flat(), bias: [0] };
      return { title, maps: run(input, layer, { ...FLAT, kernel: kernel.length, padding: Math.floor(kernel.length / 2) }) };
    });
  }, [picture, trace]);

  const shown = (maps: Maps, title: string, grey = false): JSX.Element =>
    <MapRow key={title} maps={maps} title={title} grey={grey} store={store} say={setReadout} />;

  return (
    <div class={`image ${over ? "over" : ""}`}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave={(event) => { if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false); }}
      onDrop={(event) => { event.preventDefault(); setOver(false); take(event.dataTransfer?.files[0]); }}>
      <div class="presets" role="group" aria-label={t("image.pictures")}>
        {[...(given ? ["input"] : []), ...PICTURES].map((one) => (
          <button type="button" class="chip" key={one} data-testid={`image-${one}`} aria-pressed={!own && name === one}
            onClick={() => { setOwn(null); store.change({ image: one }); }}>{t(`image.${one}`)}</button>
        ))}
        <label class="chip file"><input type="file" accept="image/*" data-testid="image-file" onChange={(event) => take(event.currentTarget.files?.[0])} />{t("image.file")}</label>
      </div>
      {complaint && <p class="complaint" role="alert">{complaint}</p>}
      <p class="readout" data-testid="image-readout" aria-live="polite">{readout || t("image.hint")}</p>
      {shown(input, t("image.input"), true)}
      <h3>{t("image.bank")}</h3>
      <div class="maps">{bank.map(({ title, maps }) => shown(maps, title))}</div>
      <Coder picture={picture} shown={shown} />
    </div>
  );
}

// The autoencoder is run when it is first wanted, a moment after the picture and its filters are drawn.
function Coder({ picture, shown }: { picture: Picture; shown(maps: Maps, title: string, grey?: boolean): JSX.Element }): JSX.Element | null {
  const [made, setMade] = useState<{ maps: Maps[]; results: { name: string; middle: Maps; result: Maps }[] } | null>(null);
  useEffect(() => {
    const timer = setTimeout(() => {
      const { coder } = assets();
      if (!coder["encoder-1"]) return;
      const input: Maps = { values: picture.map((grey) => Math.round(grey / 255 * 1000) / 1000), channels: 1, side: SIDE };
      const first = relu(run(input, coder["encoder-1"], DOWN));
      const code = relu(run(first, coder["encoder-2"]!, DOWN));
      setMade({ maps: [first, code], results: DECODERS.map((name) => ({ name, ...decode(code, name) })) });
    }, 30);
    return () => clearTimeout(timer);
  }, [picture]);
  if (!made) return null;
  return (
    <>
      <h3>{t("image.encoder")}</h3>
      <div class="maps">{shown(made.maps[0]!, t("image.encoder.1"))}{shown(made.maps[1]!, t("image.encoder.2"))}</div>
      <h3>{t("image.decoders")}</h3>
      <div class="decoders">
        {made.results.map(({ name, middle, result }) => (
          <section key={name} data-testid={`decoder-${name}`}>
            <h4>{t(`image.${name}`)}</h4>
            {shown(result, t("image.result", { name: t(`image.${name}`) }), true)}
            {shown(middle, t("image.middle", { name: t(`image.${name}`) }))}
          </section>
        ))}
      </div>
      <p class="note">{t("image.note")}</p>
    </>
  );
}

interface RowProps { maps: Maps; title: string; grey: boolean; store: Store; say(text: string): void }

function MapRow({ maps, title, grey, store, say: tell }: RowProps): JSX.Element {
  const most = magnitude(maps.values);
  const scale = grey ? (most > 4 ? 255 : 1) : most;
  return (
    <figure class="map-row">
      <figcaption>{title} <span class="size">{maps.channels > 1 ? `${maps.channels} × ` : ""}{maps.side}×{maps.side}, {grey ?
        t("image.range.grey", { most: number(scale) }) : t("image.range", { most: number(most) })}</span></figcaption>
      <div class="map-list">
        {Array.from({ length: maps.channels }, (_, channel) =>
          <MapCanvas key={channel} maps={maps} channel={channel} title={title} most={scale} grey={grey} store={store} tell={tell} />)}
      </div>
    </figure>
  );
}

interface CanvasProps { maps: Maps; channel: number; title: string; most: number; grey: boolean; store: Store; tell(text: string): void }

function MapCanvas({ maps, channel, title, most, grey, store, tell }: CanvasProps): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState<[number, number] | null>(null);
  const { side } = maps;
  const start = channel * side * side;
  useEffect(() => paint(canvas.current!, maps.values, start, { rows: side, columns: side, count: 1, size: side * side }, side, side, most, grey),
    [maps.values, most]);
  const look = (row: number, column: number): void => {
    const next: [number, number] = [Math.max(0, Math.min(row, side - 1)), Math.max(0, Math.min(column, side - 1))];
    setAt(next);
    tell(t("image.readout", {
      name: maps.channels > 1 ? `${title} ${channel}` : title, row: next[0], column: next[1], value: number(maps.values[start + next[0] * side + next[1]]!),
    }));
  };
  const open = (): void => {
    if (!at || !maps.open) return;
    const found = maps.open(channel, ...at);
    store.load({ ...found, view: found.problem.startsWith("conv_") ? "transposed" : "filter", tab: "gather" });
  };
  const place = (event: PointerEvent): void => {
    const box = canvas.current!.getBoundingClientRect();
    look(Math.floor((event.clientY - box.top) / box.height * side), Math.floor((event.clientX - box.left) / box.width * side));
  };
  const mark = at && { left: `${(at[1] + 0.5) / side * 100}%`, top: `${(at[0] + 0.5) / side * 100}%` };
  return (
    <button type="button" class={`map ${side < SIDE ? "small" : ""}`} aria-label={t("image.map", { name: `${title} ${channel}`, side })}
      onPointerMove={place} onPointerDown={place} onPointerLeave={() => { setAt(null); tell(""); }}
      onFocus={(event) => { if (event.currentTarget.matches(":focus-visible") && !at) look(Math.floor(side / 2), Math.floor(side / 2)); }}
      onBlur={() => setAt(null)} onClick={open}
      onKeyDown={(event) => {
        const moves: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
        const step = moves[event.key];
        if (!step) return;
        event.preventDefault();
        const from = at ?? [Math.floor(side / 2), Math.floor(side / 2)];
        look(from[0] + step[0], from[1] + step[1]);
      }}>
      <canvas ref={canvas} width={side} height={side} />
      {mark && <span class="cross" style={mark} />}
    </button>
  );
}
