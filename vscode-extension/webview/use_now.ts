/** The time, a few times a second, for "12 s ago" and the elapsed part of a budget. */

import { useEffect, useState } from "preact/hooks";

/** `everyMs` null stands still. */
export function useNow(everyMs: number | null): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (everyMs === null) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** True once `ms` have passed since `sinceMs`; false again with another `sinceMs`. */
export function useElapsed(sinceMs: number, ms: number): boolean {
  const [passed, setPassed] = useState<number | null>(null);
  useEffect(() => {
    const timer = setTimeout(() => setPassed(sinceMs), Math.max(0, sinceMs + ms - Date.now()));
    return () => clearTimeout(timer);
  }, [sinceMs, ms]);
  return passed === sinceMs;
}
