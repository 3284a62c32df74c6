// What the page brings along beside its script: a small photograph, and the weights of a tiny autoencoder.

export interface Layer { readonly shape: number[]; readonly weight: number[]; readonly bias: number[] }

export interface Assets {
  readonly photo: { readonly side: number; readonly grey: string }; // base64, a byte per pixel
  readonly coder: Record<string, Layer>;
}

let kept: Assets = { photo: { side: 0, grey: "" }, coder: {} };

export function setAssets(assets: Assets): void {
  kept = assets;
}

export const assets = (): Assets => kept;
