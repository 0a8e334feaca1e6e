/** The nodes at the other ends of a node's edges, as links. */

import type { JSX } from "preact";
import { shortName } from "../../shared/graph_model";
import type { NodeLink } from "../../shared/graph_node";
import { graphText } from "../../shared/text";

/** More are named by their number: one node may collect the gradients of thousands. */
const MOST = 6;

export interface EdgeLinksProps {
  readonly title: string;
  readonly none: string;
  readonly links: readonly NodeLink[];
  readonly goTo: (node: number) => void;
}

export function EdgeLinks({ title, none, links, goTo }: EdgeLinksProps): JSX.Element {
  return (
    <div class="edges">
      <span class="dim">{title}</span>
      <span class="ends">
        {links.length === 0 && <span class="dim">{none}</span>}
        {links.slice(0, MOST).map((link) => (
          <button key={`${link.node} ${link.slot}`} class="link" type="button" title={`${link.name}, ${graphText.output(link.output)}`} onClick={() => goTo(link.node)}>
            <code>{link.parameter || shortName(link.name)}</code>
            {link.output > 0 && <small>[{link.output}]</small>}
          </button>
        ))}
        {links.length > MOST && <span class="dim">{graphText.more(links.length - MOST)}</span>}
      </span>
    </div>
  );
}
