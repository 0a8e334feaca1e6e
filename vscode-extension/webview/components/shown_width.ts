/** The width of an element that is drawn to fill it. Hidden, it keeps its last: coming back asks for nothing new. */

import { useLayoutEffect, useState } from "preact/hooks";

/** Width in CSS px, 0 until the element was first shown, and the ref to give it. */
export function useShownWidth(): readonly [number, (element: HTMLElement | null) => void] {
  const [element, setElement] = useState<HTMLElement | null>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!element) return;
    const measure = (): void => setWidth((last) => element.clientWidth || last);
    measure();
    if (typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [element]);
  return [width, setElement];
}
