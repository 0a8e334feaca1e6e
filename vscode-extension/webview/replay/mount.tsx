/** Shows a recorded session in an element: in VS Code's editor, a notebook's output or an exported page. */

import type { ReplayHost } from "./host";
import { ReplayPage } from "./page";

/** Until the returned function is called. */
export function mountReplay(element: HTMLElement, host: ReplayHost): () => void {
  const page = new ReplayPage(element, host);
  const off = host.listen((message) => page.receive(message));
  page.draw();
  host.post({ type: "ready" });
  return () => {
    off();
    page.dispose();
  };
}
