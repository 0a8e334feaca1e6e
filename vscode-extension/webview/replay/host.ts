/** The replay page's only way out: a host to post to and to listen to. VS Code is one; a notebook or an exported page another. */

import type { FromReplay, ReplayAsk, ReplayMethod, ReplayRequests, ToReplay } from "../../shared/replay";
import type { VsCodeApi } from "../host";
import type { Store } from "../stored";

export interface ReplayHost {
  post(message: FromReplay): void;
  /** Listens until the returned function is called. */
  listen(listener: (message: ToReplay) => void): () => void;
  /** Small JSON values that outlive the page. */
  readonly store: Store;
}

/** The page as a VS Code webview: what it keeps lives as long as the editor's tab. */
export function vscodeReplayHost(api: VsCodeApi, store: Store): ReplayHost {
  return {
    post: (message) => api.postMessage(message),
    listen: (listener) => {
      const onMessage = (event: MessageEvent): void => {
        if (isToReplay(event.data)) listener(event.data);
      };
      window.addEventListener("message", onMessage);
      return () => window.removeEventListener("message", onMessage);
    },
    store,
  };
}

function isToReplay(data: unknown): data is ToReplay {
  return typeof data === "object" && data !== null && typeof (data as { type?: unknown }).type === "string";
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Pairs requests with their responses by id. */
export class ReplayChannel {
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor(private readonly post: ReplayHost["post"]) {}

  readonly ask: ReplayAsk = (method, params) => this.#send(method, params);

  #send<M extends ReplayMethod>(method: M, params: ReplayRequests[M]["params"]): Promise<ReplayRequests[M]["result"]> {
    const id = ++this.#last;
    const answer = new Promise<ReplayRequests[M]["result"]>((resolve, reject) => {
      // The response carries the result of the method that was asked, which its type cannot say.
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
    });
    this.post({ type: "request", id, method, params } as Extract<FromReplay, { type: "request" }>);
    return answer;
  }

  respond(message: Extract<ToReplay, { type: "response" }>): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.ok) waiting?.resolve(message.value);
    else waiting?.reject(new Error(message.error));
  }
}
