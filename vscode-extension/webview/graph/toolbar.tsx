/** Above the rows: which graph, what is looked for in it, and how it is listed. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { findPositions, nextMatch, troublePositions } from "../../shared/graph_search";
import { graphText } from "../../shared/text";
import type { RowsControl } from "../components/virtual_rows";
import type { ViewProps } from "../view";
import { RootPicker } from "./root_picker";
import { Matches, SearchField, type SearchFieldProps } from "./search_field";
import type { GraphUi } from "./use_graph";

export interface ToolbarProps {
  readonly props: ViewProps;
  readonly ui: GraphUi;
  readonly narrow: boolean;
  readonly control: { current: RowsControl | null };
  readonly choose: (expression: string | null) => void;
}

export function Toolbar({ props, ui, choose, narrow, control }: ToolbarProps): JSX.Element {
  const { arranged, actions } = ui;
  const field = useRef<HTMLInputElement>(null);
  const search = useSearch(ui, field, control);
  useCommands(props, field, ui);
  return (
    <>
      <div class="graph-bar">
        {props.recorded === undefined && <RootPicker snapshot={props.snapshot} narrow={narrow} choose={choose} />}
        <SearchField {...search} />
        <Toggle
          text={narrow ? graphText.byModuleNarrow : graphText.byModule}
          title={graphText.byModuleTitle}
          on={arranged.byModule}
          set={(byModule) => actions.arrange({ byModule })}
        />
        <Toggle text={graphText.leaves} title={graphText.leavesTitle} on={arranged.withLeaves} set={(withLeaves) => actions.arrange({ withLeaves })} />
      </div>
      <Matches {...search} />
    </>
  );
}

function useSearch(ui: GraphUi, field: SearchFieldProps["field"], control: ToolbarProps["control"]): SearchFieldProps {
  const { arranged, actions, tree, node } = ui;
  const matches = useMatches(ui);
  const position = node >= 0 ? tree.order.position[node]! : -1;
  return {
    query: arranged.query,
    setQuery: (query) => actions.arrange({ query }),
    count: matches.length,
    at: matches.indexOf(position),
    go: (step) => {
      const to = nextMatch(matches, position, step);
      if (to >= 0) actions.goTo(tree.order.node[to]!);
    },
    openAll: () => actions.openPositions(matches),
    leave: () => control.current?.focus(),
    field,
  };
}

function Toggle({ text, title, on, set }: { text: string; title: string; on: boolean; set: (on: boolean) => void }): JSX.Element {
  return (
    <button class="tog" type="button" title={title} aria-pressed={on} onClick={() => set(!on)}>
      {text}
    </button>
  );
}

/** Positions that the search finds. */
export function useMatches({ tree, arranged }: GraphUi): Int32Array {
  return useMemo(() => findPositions(tree, arranged.query), [tree, arranged.query]);
}

function useCommands({ onCommand }: ViewProps, field: { current: HTMLInputElement | null }, ui: GraphUi): void {
  const latest = useRef(ui);
  latest.current = ui;
  useEffect(
    () =>
      onCommand((command) => {
        if (command === "filter") {
          field.current?.focus();
          field.current?.select();
          return true;
        }
        return command === "nextTrouble" || command === "previousTrouble" ? goToTrouble(latest.current, command === "nextTrouble" ? 1 : -1) : false;
      }),
    [onCommand],
  );
}

function goToTrouble({ tree, node, actions }: GraphUi, step: 1 | -1): boolean {
  const troubles = troublePositions(tree);
  const to = nextMatch(troubles, node >= 0 ? tree.order.position[node]! : -1, step);
  if (to >= 0) actions.goTo(tree.order.node[to]!);
  return to >= 0;
}
