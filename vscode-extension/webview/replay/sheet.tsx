/** What is laid between the timeline and the views when it is asked for: a heading, content that scrolls, Esc closes. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { replayText as text } from "../../shared/text";

export interface SheetProps {
  readonly title: string;
  readonly head?: ComponentChildren;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}

export function SheetFrame({ title, head, onClose, children }: SheetProps): JSX.Element {
  const section = useRef<HTMLElement>(null);
  useEffect(() => section.current?.focus({ preventScroll: true }), []);
  return (
    <section ref={section} class="rp-sheet" tabIndex={-1} aria-label={title}>
      <div class="rp-ct">
        <h2>{title}</h2>
        {head}
        <span class="sp" />
        <button type="button" class="dock-close" aria-label={text.close} title={text.close} onClick={onClose}>
          <svg viewBox="0 0 10 10" aria-hidden="true">
            <path d="M1.5 1.5 8.5 8.5M8.5 1.5 1.5 8.5" />
          </svg>
        </button>
      </div>
      {children}
    </section>
  );
}
