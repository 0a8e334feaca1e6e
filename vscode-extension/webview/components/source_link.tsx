/** `file:line`, which opens in the editor: the focus stays here, with Ctrl or Cmd it moves along. */

import type { JSX } from "preact";
import { fileName, shortened } from "../../shared/format";
import { headerText } from "../../shared/text";
import type { Ask } from "../view";

export interface SourceLinkProps {
  readonly file: string;
  readonly line: number;
  readonly ask: Ask;
}

/** Longer names of files are shortened in the middle: the line number must stay in sight. */
const LONGEST = 24;

export function SourceLink({ file, line, ask }: SourceLinkProps): JSX.Element {
  return (
    <button
      type="button"
      class="link mono"
      title={headerText.openFile(file, line)}
      onClick={(event) => {
        // The shell's `ask` shows what went wrong.
        ask("openSource", { file, line, focus: event.ctrlKey || event.metaKey }).catch(() => undefined);
      }}
    >
      {shortened(fileName(file), LONGEST)}:{line}
    </button>
  );
}
