/** The page's own size: what stands side by side, and how high the timeline is, follow from it. */

import { useLayoutEffect, useState } from "preact/hooks";

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Before the page was laid out, and where nothing is (a test's document). */
const UNMEASURED: Size = { width: 1200, height: 900 };

export function useSize(element: { current: HTMLElement | null }): Size {
  const [size, setSize] = useState<Size>(UNMEASURED);
  useLayoutEffect(() => {
    const measured = element.current;
    if (!measured) return;
    const measure = (): void => {
      const { clientWidth: width, clientHeight: height } = measured;
      if (width > 0) setSize((last) => (last.width === width && last.height === height ? last : { width, height }));
    };
    measure();
    if (typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(measure);
    observer.observe(measured);
    return () => observer.disconnect();
  }, []);
  return size;
}
