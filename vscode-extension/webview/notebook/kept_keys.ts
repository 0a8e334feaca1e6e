/** Keys that are pressed in the panel are the panel's: a notebook has commands on the same letters. */

/**
 * Until the returned function is called. What is pressed with Ctrl or Cmd stays the notebook's, so that it can be saved
 * from here; but for Enter, which would run a cell.
 */
export function keepKeys(root: HTMLElement): () => void {
  const mark = (event: KeyboardEvent): void => {
    // JupyterLab and Notebook 7 listen before anything in the page does, but for elements with this mark.
    root.toggleAttribute("data-lm-suppress-shortcuts", isOurs(event));
  };
  const keep = (event: Event): void => {
    if (event instanceof KeyboardEvent && isOurs(event)) event.stopPropagation();
  };
  window.addEventListener("keydown", mark, { capture: true });
  const kinds = ["keydown", "keypress", "keyup"] as const;
  for (const kind of kinds) root.addEventListener(kind, keep);
  return () => {
    window.removeEventListener("keydown", mark, { capture: true });
    for (const kind of kinds) root.removeEventListener(kind, keep);
  };
}

function isOurs({ ctrlKey, metaKey, key }: KeyboardEvent): boolean {
  return !(ctrlKey || metaKey) || key === "Enter";
}
