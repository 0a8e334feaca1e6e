/** The panel's only way out: a host to post to and to listen to. VS Code is one; a notebook widget is another. */

import type { Method, Requests, ToHost, ToPanel } from "../shared/messages";
import type { Store } from "./stored";
import type { Ask } from "./view";

export interface Host {
  post(message: ToHost): void;
  /** Listens until the returned function is called. */
  listen(listener: (message: ToPanel) => void): () => void;
  /** Small JSON values that outlive the panel. */
  readonly store: Store;
  /** The host binds the panel's keys, so that they can be rebound, and sends `command` messages for them. */
  readonly bindsKeys: boolean;
}

/** What VS Code gives a webview, once per page. */
export interface VsCodeApi {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

export function vscodeHost(api: VsCodeApi): Host {
  return {
    post: (message) => api.postMessage(message),
    listen: (listener) => {
      const onMessage = (event: MessageEvent): void => {
        if (isToPanel(event.data)) listener(event.data);
      };
      window.addEventListener("message", onMessage);
      return () => window.removeEventListener("message", onMessage);
    },
    store: vscodeStore(api),
    bindsKeys: true,
  };
}

function vscodeStore(api: VsCodeApi): Store {
  const state = api.getState();
  const values: Record<string, unknown> = typeof state === "object" && state !== null ? { ...state } : {};
  return {
    get: (key) => values[key],
    set: (key, value) => {
      values[key] = value;
      api.setState(values);
    },
  };
}

function isToPanel(data: unknown): data is ToPanel {
  return typeof data === "object" && data !== null && typeof (data as { type?: unknown }).type === "string";
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Pairs requests with their responses by id. */
export class RequestChannel {
  readonly #post: Host["post"];
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor(post: Host["post"]) {
    this.#post = post;
  }

  readonly ask: Ask = (method, params) => this.#send(method, params);

  #send<M extends Method>(method: M, params: Requests[M]["params"]): Promise<Requests[M]["result"]> {
    const id = ++this.#last;
    const answer = new Promise<Requests[M]["result"]>((resolve, reject) => {
      // The response carries the result of the method that was asked, which its type cannot say.
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
    });
    this.#post({ type: "request", id, method, params } as Extract<ToHost, { type: "request" }>);
    return answer;
  }

  respond(message: Extract<ToPanel, { type: "response" }>): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.ok) waiting?.resolve(message.value);
    else waiting?.reject(new Error(message.error));
  }
}
