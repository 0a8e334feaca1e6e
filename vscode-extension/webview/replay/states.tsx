/** The page without a step to show: opening, failed, and recording before the first step has ended. */

import type { JSX } from "preact";
import { formatPercent } from "../../shared/format";
import { replayText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";

export function LoadingPage({ name, share }: { readonly name: string; readonly share: number }): JSX.Element {
  const percent = Math.round(share * 100);
  return (
    <section class="es page" aria-busy="true">
      <h2>
        <Glyph id="pending" label="" />
        {text.opening(name)}
      </h2>
      <p>{share > 0 ? text.openingText(formatPercent(share)) : text.openingStart}</p>
      <div class="prog rp-loading" role="progressbar" aria-valuemin={0} aria-valuemax={100} aria-valuenow={percent} aria-label={text.opening(name)}>
        <i style={{ width: `${percent}%` }} />
      </div>
      <div class="skel" aria-hidden="true">
        <i />
        <i />
        <i />
        <i />
        <i />
      </div>
    </section>
  );
}

export function FailedPage({ title, reason }: { readonly title: string; readonly reason: string }): JSX.Element {
  return (
    <section class="es page" role="alert">
      <h2>
        <Glyph id="warning" label="" />
        {title}
      </h2>
      <p>{reason}</p>
    </section>
  );
}

export function EmptyPage({ finished }: { readonly finished: boolean }): JSX.Element {
  return (
    <section class="es page" role="status">
      <h2>
        <Glyph id={finished ? "idle" : "pending"} label="" />
        {finished ? text.emptyOver : text.empty}
      </h2>
      <p>{finished ? text.emptyOverText : text.emptyText}</p>
    </section>
  );
}
