/** The replay page in an output of a notebook, around it what is the notebook's: its size, its keys, its waiting. */

import { notebookText } from "../../shared/text";
import type { ReplayDoors, ToReplay } from "../../shared/replay";
import { localReplayHost, type LocalReplayHost } from "../local_replay_host";
import { mountReplay } from "../replay/mount";
import { memoryStore, type Store } from "../stored";
import { BusySign } from "./busy";
import { keepKeys } from "./kept_keys";
import type { WidgetModel } from "./messages";
import { Refreshing } from "./refreshing";
import { SessionModel } from "./session_model";

/** By the widget's key: a page hands its model over under a new name each time. */
const sessions = new Map<string, SessionModel>();
const stores = new Map<string, Store>();

/** anywidget: once for each model. */
export function initialize({ model }: { readonly model: WidgetModel }): () => void {
  const key = String(model.get("key"));
  const session = new SessionModel(model);
  sessions.set(key, session);
  return () => {
    session.end();
    sessions.delete(key);
    stores.delete(key);
  };
}

/** anywidget: once for each view of a model. */
export function render({ model, el }: { readonly model: WidgetModel; readonly el: HTMLElement }): () => void {
  const key = String(model.get("key"));
  const session = sessions.get(key) ?? new SessionModel(model);
  sessions.set(key, session);
  if (!stores.has(key)) stores.set(key, memoryStore());
  return drawn(el, session, stores.get(key)!, stepOf(model.get("at")));
}

function drawn(el: HTMLElement, session: SessionModel, store: Store, at: number | null): () => void {
  const frame = frameIn(el, session.name);
  const giveKeysBack = keepKeys(frame.root);
  const host = localReplayHost(session.files.sources(false), session.name, { doors: doorsOf(session), store });
  const sign = new BusySign((waits) => say(frame, waits, session.notice));
  const refreshing = new Refreshing(() => host.refresh());
  const listener = {
    grown: () => refreshing.grown(),
    waiting: (waits: boolean) => sign.update(waits),
    notice: () => say(frame, session.files.waits, session.notice),
  };
  session.listeners.add(listener);
  const unlisten = host.listen(onceOpened(frame, host, at, session.files.sources(true).length > 0));
  const unmount = mountReplay(frame.page, host);
  listener.waiting(session.files.waits);
  return () => {
    session.listeners.delete(listener);
    refreshing.end();
    sign.end();
    unlisten();
    unmount();
    giveKeysBack();
    host.dispose();
    frame.root.remove();
  };
}

interface Frame {
  readonly root: HTMLElement;
  readonly page: HTMLElement;
  readonly line: HTMLElement;
}

/** Until the session is open there is a line, and what was drawn without a kernel stays in sight below it. */
function frameIn(el: HTMLElement, name: string): Frame {
  const root = document.createElement("div");
  root.className = "gradwatch-widget";
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", notebookText.panel(name));
  const page = document.createElement("div");
  page.className = "gradwatch-page";
  const line = document.createElement("div");
  line.className = "gradwatch-line";
  line.setAttribute("role", "status");
  line.hidden = true;
  root.append(page, line);
  el.append(root);
  return { root, page, line };
}

function say({ root, line }: Frame, waits: boolean, notice: string): void {
  const open = root.classList.contains("gradwatch-live");
  const text = waits ? (open ? notebookText.waiting : notebookText.waitingFirst) : notice;
  line.textContent = text;
  line.hidden = text === "";
}

function onceOpened({ root }: Frame, host: LocalReplayHost, at: number | null, compares: boolean): (message: ToReplay) => void {
  return (message) => {
    if (message.type !== "opened" && message.type !== "failed") return;
    const first = !root.classList.contains("gradwatch-live");
    root.classList.add("gradwatch-live");
    if (message.type === "failed" || !first) return;
    const { rank } = message.overview.facts;
    // The page takes in what was opened before it goes anywhere.
    setTimeout(() => {
      if (at !== null) host.go({ kind: "step", rank, step: at });
      if (compares) host.tell({ type: "command", name: "compare" });
    });
  };
}

/** Another session can be chosen where one was named. */
function doorsOf(session: SessionModel): Partial<ReplayDoors> {
  const others = session.files.sources(true);
  return {
    offers: { openSource: false, chooseOther: others.length > 0, replayStep: false, bindsKeys: false },
    chooseOther: () => (others.length > 0 ? Promise.resolve(others) : Promise.reject(new Error(notebookText.noOther))),
  };
}

function stepOf(value: unknown): number | null {
  return typeof value === "number" && value >= 0 ? value : null;
}
