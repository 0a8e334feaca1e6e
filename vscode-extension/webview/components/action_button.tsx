/** A button whose action takes a while: pressed once at a time, and able to say that it is done. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export interface ActionButtonProps {
  readonly label: string;
  readonly onPress: () => Promise<unknown> | void;
  readonly primary?: boolean;
  /** Shown for two seconds after success. */
  readonly done?: string;
}

const SHOW_DONE_MS = 2000;

export function ActionButton({ label, onPress, primary = false, done }: ActionButtonProps): JSX.Element {
  const [phase, setPhase] = useState<"idle" | "busy" | "done">("idle");
  const shown = useRef(true);
  useEffect(() => {
    shown.current = true;
    return () => void (shown.current = false);
  }, []);
  useEffect(() => {
    if (phase !== "done") return;
    const timer = setTimeout(() => setPhase("idle"), SHOW_DONE_MS);
    return () => clearTimeout(timer);
  }, [phase]);
  const press = async (): Promise<void> => {
    setPhase("busy");
    // A failure is shown by whoever asked; the button only becomes usable again.
    const worked = await Promise.resolve(onPress()).then(() => true, () => false);
    if (shown.current) setPhase(worked && done !== undefined ? "done" : "idle");
  };
  return (
    <button type="button" class={primary ? "btn pri" : "btn"} disabled={phase === "busy"} onClick={() => void press()}>
      {phase === "done" ? done : label}
    </button>
  );
}
