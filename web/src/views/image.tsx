import type { JSX } from "preact";
export const ImageView = (): JSX.Element => <p class="note">…</p>;
