/** Mounts the panel on a host: its messages in, the model, one synchronous drawing per change, measurements out. */

import { render } from "preact";
import { parseAnswer } from "../shared/answer";
import type { PaintParts, PanelCommand, ToPanel } from "../shared/messages";
import { EMPTY_PANEL, reduce, type PanelEvent, type PanelModel } from "../shared/panel_model";
import type { Snapshot } from "../shared/session";
import { stopSummary } from "../shared/stop_summary";
import { shellText } from "../shared/text";
import { App } from "./app";
import { CommandBus } from "./command_bus";
import { RequestChannel, type Host } from "./host";

/** Shows the panel in `element` until the returned function is called. */
export function mountPanel(element: HTMLElement, host: Host): () => void {
  const panel = new Panel(element, host);
  const off = host.listen((message) => panel.receive(message));
  panel.draw();
  host.post({ type: "ready" });
  return () => {
    off();
    render(null, element);
  };
}

class Panel {
  readonly #element: HTMLElement;
  readonly #host: Host;
  readonly #channel: RequestChannel;
  readonly #commands = new CommandBus<PanelCommand>();
  #model: PanelModel = EMPTY_PANEL;
  #drawing = false;
  #drawAgain = false;

  constructor(element: HTMLElement, host: Host) {
    this.#element = element;
    this.#host = host;
    this.#channel = new RequestChannel((message) => host.post(message));
  }

  receive(message: ToPanel): void {
    switch (message.type) {
      case "response":
        return this.#channel.respond(message);
      case "command":
        return void this.#commands.dispatch(message.name);
      case "snapshot":
        return this.#show(message.session, message.json);
      case "state":
        return this.#change({ ...message, nowMs: Date.now() });
      default:
        return this.#change(message);
    }
  }

  /** What changes while it is drawn, as from a view's effect, is drawn after it. */
  draw(): void {
    this.#drawAgain = true;
    if (this.#drawing) return;
    this.#drawing = true;
    try {
      while (this.#drawAgain) {
        this.#drawAgain = false;
        this.#drawOnce();
      }
    } finally {
      this.#drawing = false;
    }
  }

  #drawOnce(): void {
    const { ask } = this.#channel;
    render(
      <App model={this.#model} host={this.#host} ask={ask} commands={this.#commands} onSelect={this.#select} initialWidth={this.#element.clientWidth || 480} />,
      this.#element,
    );
  }

  readonly #select = (session: string, selection: Extract<PanelEvent, { type: "select" }>["selection"]): void => {
    this.#change({ type: "select", session, selection });
  };

  #change(event: PanelEvent): void {
    const next = reduce(this.#model, event);
    if (next === this.#model) return;
    this.#model = next;
    this.draw();
  }

  /** Each part is timed on its own: what the text, the models, the document and the frame take. */
  #show(session: string, json: Uint8Array): void {
    const began = performance.now();
    const snapshot = readSnapshot(json);
    const parsed = performance.now();
    if (typeof snapshot === "string") return this.#change({ type: "unreadable", session, reason: snapshot, nowMs: Date.now() });
    this.#model = reduce(this.#model, { type: "answer", session, snapshot, nowMs: Date.now() });
    if (snapshot.state === "ready") stopSummary(snapshot, this.#model.bySession.get(session)?.previous ?? null);
    const modelled = performance.now();
    this.draw();
    // Reading a size makes the browser lay out what was drawn.
    void this.#element.offsetHeight;
    const laidOut = performance.now();
    afterPaint(() => {
      const parts: PaintParts = { parseMs: parsed - began, modelMs: modelled - parsed, layoutMs: laidOut - modelled, paintMs: performance.now() - laidOut };
      this.#host.post({ type: "painted", session, stop: snapshot.stop.number, parts });
    });
  }
}

/** What is wrong with the answer, where it is no snapshot. */
function readSnapshot(json: Uint8Array): Snapshot | string {
  try {
    const answer = parseAnswer(new TextDecoder().decode(json));
    if (answer.kind === "Snapshot") return answer.value;
    return answer.kind === "Failure" ? answer.value.message : `${shellText.unreadable}: ${answer.kind}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A task posted from a frame callback runs once that frame is painted. */
function afterPaint(then: () => void): void {
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      then();
    };
    port2.postMessage(null);
  });
}
