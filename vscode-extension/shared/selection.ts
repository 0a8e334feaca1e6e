/** What is selected: one thing at a time, followed by every view. Ids are those of the shown snapshot. */
export type Selection =
  | { readonly kind: "none" }
  | { readonly kind: "parameter"; readonly id: number }
  | { readonly kind: "variable"; readonly index: number }
  | { readonly kind: "module"; readonly root: string; readonly path: string }
  | { readonly kind: "node"; readonly index: number }
  | { readonly kind: "line"; readonly file: string; readonly line: number };

export const NOTHING: Selection = { kind: "none" };
