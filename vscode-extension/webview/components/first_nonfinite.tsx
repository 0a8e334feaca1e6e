/** Finds the first NaN or Inf of a tensor and brings it into view. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Subject } from "../../shared/session";
import { valuesText } from "../../shared/text";
import { firstPlace, parseValues, windowRequest } from "../../shared/values";
import type { Ask } from "../view";

interface FirstNonFiniteProps {
  readonly ask: Ask;
  readonly subject: Subject;
  readonly shape: readonly number[];
  readonly onFound: (index: readonly number[]) => void;
}

export function FirstNonFinite({ ask, subject, shape, onFound }: FirstNonFiniteProps): JSX.Element {
  const [text, setText] = useState("");
  const [searching, setSearching] = useState(false);
  const latest = useRef(0);
  const forget = (): void => void latest.current++;
  useEffect(() => {
    setText("");
    setSearching(false);
    return forget;
  }, [ask, subject.stop]);
  const start = async (): Promise<void> => {
    const own = ++latest.current;
    setSearching(true);
    const found = await findFirst(ask, subject, shape);
    if (own !== latest.current) return;
    setSearching(false);
    setText(found.text);
    if (found.index) onFound(found.index);
  };
  return (
    <div class="hm-first">
      <button type="button" class="btn" disabled={searching} onClick={() => void start()}>
        {valuesText.showFirst}
      </button>
      <span role="status">{searching ? valuesText.searching : text}</span>
    </div>
  );
}

interface Found {
  readonly index: readonly number[] | null;
  readonly text: string;
}

async function findFirst(ask: Ask, subject: Subject, shape: readonly number[]): Promise<Found> {
  const request = windowRequest(subject, shape, { size: 1, rows: 1, columns: 1 }, firstPlace(shape));
  try {
    const values = parseValues(await ask("values", { ...request, findNonFinite: true }));
    const index = values.first_nonfinite ?? null;
    const why = (values.missing ?? []).map(({ reason }) => reason).join(" ");
    return { index, text: index ? valuesText.firstAt(`[${index.join(", ")}]`) : valuesText.notFound(why) };
  } catch (error) {
    return { index: null, text: valuesText.failed(error instanceof Error ? error.message : String(error)) };
  }
}
