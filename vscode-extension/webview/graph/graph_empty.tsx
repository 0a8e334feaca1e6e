/** No graph: why, and which variables have one. */

import type { JSX } from "preact";
import { graphText } from "../../shared/text";
import type { ViewProps } from "../view";
import { describeVariable, rootVariables } from "./root_picker";

export interface GraphEmptyProps {
  readonly props: ViewProps;
  readonly choose: (expression: string | null) => void;
}

export function GraphEmpty({ props, choose }: GraphEmptyProps): JSX.Element {
  const { snapshot, width } = props;
  const variables = props.recorded === undefined ? rootVariables(snapshot) : [];
  const reasons = reasonsOf(props);
  return (
    <div class="graph-empty">
      <h2>{graphText.noGraph}</h2>
      {reasons.map((reason) => (
        <p key={reason}>{reason}</p>
      ))}
      {variables.length > 0 ? <p>{graphText.chooseOne}</p> : reasons.length === 0 && props.recorded === undefined && <p>{graphText.nothingToChoose}</p>}
      <ul>
        {variables.map((variable) => (
          <li key={variable.expression}>
            <button class="btn mono" type="button" onClick={() => choose(variable.expression)}>
              {describeVariable(variable, width < 420)}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** What the answer says is missing; where it says nothing, its notices. */
function reasonsOf({ snapshot }: ViewProps): readonly string[] {
  const missing = (snapshot.missing ?? []).filter((one) => one.part === "graph").map((one) => one.reason);
  const notices = (snapshot.notices ?? []).filter((notice) => notice.kind !== "recorder").map((notice) => notice.text);
  return [...new Set(missing.length > 0 ? missing : notices)];
}
