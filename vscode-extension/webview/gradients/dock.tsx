/** What is selected, in full: fixed under the tree, by the kind of the row. */

import type { JSX } from "preact";
import type { GradientModel } from "../../shared/gradient_model";
import type { GradientNode } from "../../shared/gradient_tree";
import { gradientsText as text } from "../../shared/text";
import type { ViewProps } from "../view";
import { ModuleDock } from "./module_dock";
import { ParameterDock } from "./parameter_dock";
import { ShortName } from "./tree_row";
import { VariableDock } from "./variable_dock";

/** What each kind of dock is given. */
export interface DockProps {
  readonly view: ViewProps;
  readonly model: GradientModel;
}

export interface DockForProps extends DockProps {
  readonly node: GradientNode;
}

/** Nothing for a group: it has no content of its own. */
export function Dock({ node, ...props }: DockForProps): JSX.Element | null {
  switch (node.kind) {
    case "parameter":
      return <ParameterDock key={node.key} node={node} {...props} />;
    case "variable":
      return <VariableDock key={node.key} node={node} {...props} />;
    case "root":
    case "module":
      return <ModuleDock key={node.key} node={node} {...props} />;
    default:
      return null;
  }
}

export function hasDock(node: GradientNode | undefined): node is GradientNode {
  return node !== undefined && node.kind !== "variables" && node.kind !== "modules" && node.kind !== "optimizers";
}

export interface DockFrameProps {
  readonly title: string;
  /** State, shape and the like, after the name. */
  readonly about: readonly (JSX.Element | string)[];
  readonly onClose: () => void;
  readonly children: JSX.Element | readonly (JSX.Element | null)[];
}

export function DockFrame({ title, about, onClose, children }: DockFrameProps): JSX.Element {
  return (
    <section class="dock grad-dock" aria-label={text.dock}>
      <div class="grad-title">
        <b title={title}>
          <ShortName name={title} />
        </b>
        {about.map((part, at) => (
          <span key={at} class="about">
            {part}
          </span>
        ))}
        <span class="sp" />
        <button type="button" class="dock-close" aria-label={text.closeDock} title={text.closeDock} onClick={onClose}>
          <svg viewBox="0 0 10 10" aria-hidden="true">
            <path d="M1.5 1.5 8.5 8.5M8.5 1.5 1.5 8.5" />
          </svg>
        </button>
      </div>
      {children}
    </section>
  );
}
