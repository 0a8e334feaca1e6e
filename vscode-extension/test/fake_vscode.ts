/** As much of the `vscode` module as the host uses, with what it was told kept for the tests to read. */

type Listener<T> = (event: T) => unknown;

export class Disposable {
  readonly #dispose: () => void;
  constructor(dispose: () => void) {
    this.#dispose = dispose;
  }
  static from(...parts: { dispose(): unknown }[]): Disposable {
    return new Disposable(() => parts.forEach((part) => part.dispose()));
  }
  dispose(): void {
    this.#dispose();
  }
}

export class EventEmitter<T> {
  readonly #listeners = new Set<Listener<T>>();
  readonly event = (listener: Listener<T>): Disposable => {
    this.#listeners.add(listener);
    return new Disposable(() => this.#listeners.delete(listener));
  };
  fire(event: T): void {
    for (const listener of this.#listeners) listener(event);
  }
}

export class Position {
  constructor(
    readonly line: number,
    readonly character: number,
  ) {}
}

export class Range {
  constructor(
    readonly start: Position,
    readonly end: Position,
  ) {}
}

export class ThemeColor {
  constructor(readonly id: string) {}
}

export class MarkdownString {
  constructor(readonly value: string) {}
}

export class DebugThread {
  constructor(
    readonly session: FakeSession,
    readonly threadId: number,
  ) {}
}

export class DebugStackFrame {
  constructor(
    readonly session: FakeSession,
    readonly threadId: number,
    readonly frameId: number,
  ) {}
}

export class Uri {
  private constructor(
    readonly scheme: string,
    readonly path: string,
    readonly query = "",
  ) {}
  static file(path: string): Uri {
    return new Uri("file", path);
  }
  static parse(text: string): Uri {
    const [, scheme = "", path = "", query] = /^([^:]*):([^?]*)(?:\?(.*))?$/.exec(text) ?? [];
    return new Uri(scheme, path, query);
  }
  static from({ scheme, path = "", query }: { scheme: string; path?: string; query?: string }): Uri {
    return new Uri(scheme, path, query);
  }
  static joinPath(base: Uri, ...parts: string[]): Uri {
    return new Uri(base.scheme, [base.path, ...parts].join("/").replace(/\/+/g, "/"));
  }
  with({ query = this.query }: { query?: string }): Uri {
    return new Uri(this.scheme, this.path, query);
  }
  get fsPath(): string {
    return this.path;
  }
  toString(): string {
    return `${this.scheme}:${this.path}${this.query === "" ? "" : `?${this.query}`}`;
  }
}

export class ThemeIcon {
  constructor(readonly id: string) {}
}
export const ViewColumn = { Active: -1, Beside: -2, One: 1, Two: 2 };

export const DecorationRangeBehavior = { OpenOpen: 0, ClosedClosed: 1, OpenClosed: 2, ClosedOpen: 3 };
export const OverviewRulerLane = { Left: 1, Center: 2, Right: 4, Full: 7 };
export const l10n = { t: (text: string, ...values: unknown[]): string => text.replace(/\{(\d)\}/g, (_all, index: string) => String(values[Number(index)])) };

type Answer = (command: string, args: Record<string, unknown>) => unknown;

/** A debug session whose adapter is a function; requests pass the trackers, as they do in VS Code. */
export class FakeSession {
  configuration: Record<string, unknown> = { program: "/home/me/train.py" };
  readonly requests: { command: string; args: Record<string, unknown> }[] = [];
  readonly #trackers: Tracker[];
  #seq = 1;

  constructor(
    readonly id: string,
    readonly answer: Answer,
    readonly parentSession: FakeSession | undefined = undefined,
    readonly type = "debugpy",
  ) {
    this.#trackers = trackerFactories.map((factory) => factory.createDebugAdapterTracker(this));
  }
  get name(): string {
    return this.id;
  }
  send(message: unknown): void {
    for (const tracker of this.#trackers) tracker.onDidSendMessage?.(message);
  }
  event(event: string, body: unknown = {}): void {
    this.send({ type: "event", event, body });
  }
  /** A request that VS Code makes itself. */
  will(command: string, args: unknown = {}): number {
    const seq = this.#seq++;
    for (const tracker of this.#trackers) tracker.onWillReceiveMessage?.({ type: "request", seq, command, arguments: args });
    return seq;
  }
  respond(seq: number, command: string, success: boolean, body: unknown = {}): void {
    this.send({ type: "response", request_seq: seq, command, success, body });
  }
  async customRequest(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    this.requests.push({ command, args });
    const seq = this.will(command, args);
    try {
      const body = await this.answer(command, args);
      this.respond(seq, command, true, body);
      return body;
    } catch (error) {
      this.respond(seq, command, false);
      throw error;
    }
  }
}

interface Tracker {
  onWillReceiveMessage?(message: unknown): void;
  onDidSendMessage?(message: unknown): void;
}
interface TrackerFactory {
  createDebugAdapterTracker(session: FakeSession): Tracker;
}

const trackerFactories: TrackerFactory[] = [];
export const activeStackItemChanged = new EventEmitter<unknown>();
export const sessionTerminated = new EventEmitter<FakeSession>();
export const activeSessionChanged = new EventEmitter<FakeSession | undefined>();

export const debug = {
  activeStackItem: undefined as DebugThread | DebugStackFrame | undefined,
  registerDebugAdapterTrackerFactory(_type: string, factory: TrackerFactory): Disposable {
    trackerFactories.push(factory);
    return new Disposable(() => trackerFactories.splice(trackerFactories.indexOf(factory), 1));
  },
  onDidChangeActiveStackItem: activeStackItemChanged.event,
  onDidTerminateDebugSession: sessionTerminated.event,
  onDidChangeActiveDebugSession: activeSessionChanged.event,
  async startDebugging(folder: unknown, configuration: Record<string, unknown>): Promise<boolean> {
    launched.push({ folder, configuration });
    return true;
  },
};
export const launched: { folder: unknown; configuration: Record<string, unknown> }[] = [];

export const executed: { command: string; args: unknown[] }[] = [];
export const registered = new Map<string, (...args: unknown[]) => unknown>();
export const commands = {
  registerCommand(command: string, run: (...args: unknown[]) => unknown): Disposable {
    registered.set(command, run);
    return new Disposable(() => registered.delete(command));
  },
  async executeCommand(command: string, ...args: unknown[]): Promise<unknown> {
    executed.push({ command, args });
    return registered.get(command)?.(...args);
  },
};

export interface FakeDocument {
  uri: Uri;
  lineCount: number;
  isDirty: boolean;
  getText(): string;
  lineAt(line: number): { range: Range };
}
export interface FakeEditor {
  document: FakeDocument;
  decorations: unknown[];
  viewColumn?: number;
  setDecorations(type: unknown, list: unknown[]): void;
}
export function fakeEditor(path: string, text: string): FakeEditor {
  const lines = text.split("\n");
  const document = {
    uri: Uri.file(path),
    lineCount: lines.length,
    isDirty: false,
    getText: () => text,
    lineAt: (line: number) => ({ range: new Range(new Position(line, 0), new Position(line, lines[line]?.length ?? 0)) }),
  };
  return {
    document,
    decorations: [],
    setDecorations(_type, list) {
      this.decorations = list;
    },
  };
}

export const shownDocuments: { uri: Uri; options: Record<string, unknown> }[] = [];
export const warnings: string[] = [];
export const input = { answer: undefined as string | undefined, asked: 0 };
/** What the user picks next: the label of an item, of a button, or files. */
export const picks = { item: null as string | null, button: undefined as string | undefined, files: undefined as Uri[] | undefined, offered: [] as { label: string; description?: string }[] };
interface CustomEditorProvider {
  openCustomDocument(uri: Uri): { uri: Uri };
  resolveCustomEditor(document: { uri: Uri }, panel: FakeEditorPanel): void;
}
export const contentProviders = new Map<string, { provideTextDocumentContent(uri: Uri): string }>();
export const visibleEditorsChanged = new EventEmitter<unknown>();
export const window = {
  visibleTextEditors: [] as FakeEditor[],
  provider: null as { resolveWebviewView(view: unknown): void } | null,
  onDidChangeVisibleTextEditors: visibleEditorsChanged.event,
  createTextEditorDecorationType: () => ({ dispose: () => undefined }),
  registerWebviewViewProvider(_id: string, provider: { resolveWebviewView(view: unknown): void }): Disposable {
    window.provider = provider;
    return new Disposable(() => undefined);
  },
  async showTextDocument(uri: Uri, options: Record<string, unknown>): Promise<void> {
    if (uri.path.includes("missing")) throw new Error("no such file");
    shownDocuments.push({ uri, options });
  },
  async showWarningMessage(text: string, ...buttons: string[]): Promise<string | undefined> {
    warnings.push(text);
    return buttons.find((button) => button === picks.button);
  },
  async showInformationMessage(): Promise<void> {},
  async showInputBox(options: { validateInput?(text: string): string | null } = {}): Promise<string | undefined> {
    input.asked += 1;
    return input.answer !== undefined && options.validateInput?.(input.answer) ? undefined : input.answer;
  },
  async showQuickPick<T extends { label: string }>(items: readonly T[]): Promise<T | undefined> {
    picks.offered = [...items];
    return items.find(({ label }) => label === picks.item);
  },
  showOpenDialog: async (): Promise<Uri[] | undefined> => picks.files,
  customEditors: null as CustomEditorProvider | null,
  customEditorOptions: {} as Record<string, unknown>,
  registerCustomEditorProvider(_id: string, provider: CustomEditorProvider, options: Record<string, unknown>): Disposable {
    window.customEditors = provider;
    window.customEditorOptions = options;
    return new Disposable(() => undefined);
  },
};

/** Files of virtual file systems, by path. */
export const virtualFiles = new Map<string, { size: number; bytes: Uint8Array }>();
export const languages = { setTextDocumentLanguage: async (document: unknown): Promise<unknown> => document };
export const extensions = { all: [] as { packageJSON: unknown }[] };

/** What an extension remembers. */
export class FakeMemento {
  readonly #values = new Map<string, unknown>();
  get = (key: string): unknown => this.#values.get(key);
  async update(key: string, value: unknown): Promise<void> {
    this.#values.set(key, value);
  }
}

export const settings: Record<string, unknown> = {};
export const configurationChanged = new EventEmitter<{ affectsConfiguration(name: string): boolean }>();
export const workspace = {
  textDocuments: [] as FakeDocument[],
  onDidChangeConfiguration: configurationChanged.event,
  getConfiguration: () => ({ get: <T>(name: string, fallback: T): T => (settings[name] as T | undefined) ?? fallback }),
  isTrusted: true,
  workspaceFolders: undefined as { uri: Uri; name: string }[] | undefined,
  getWorkspaceFolder: (uri: Uri) => workspace.workspaceFolders?.find((folder) => uri.path.startsWith(`${folder.uri.path}/`)),
  asRelativePath: (uri: Uri): string => uri.path,
  registerTextDocumentContentProvider(scheme: string, provider: { provideTextDocumentContent(uri: Uri): string }): Disposable {
    contentProviders.set(scheme, provider);
    return new Disposable(() => contentProviders.delete(scheme));
  },
  openTextDocument: async (uri: Uri): Promise<{ uri: Uri }> => ({ uri }),
  fs: {
    stat: async (uri: Uri): Promise<{ size: number }> => {
      const size = virtualFiles.get(uri.path)?.size;
      if (size === undefined) throw new Error("no such file");
      return { size };
    },
    async readFile(uri: Uri): Promise<Uint8Array> {
      const virtual = virtualFiles.get(uri.path)?.bytes;
      if (virtual !== undefined) return virtual;
      if (uri.path.includes("missing")) throw new Error("no such file");
      return new TextEncoder().encode("one\ntwo\nthree\nfour\n");
    },
  },
};

export const clipboard = { text: "" };
export const env = {
  language: "en",
  shell: "/bin/bash",
  clipboard: {
    async writeText(text: string): Promise<void> {
      clipboard.text = text;
    },
  },
};

/** A webview view of the panel, as VS Code would give it. */
export class FakeView {
  readonly messages: Record<string, unknown>[] = [];
  readonly received = new EventEmitter<unknown>();
  readonly visibility = new EventEmitter<void>();
  visible = true;
  readonly webview = {
    options: {},
    html: "",
    cspSource: "https://webview.test",
    asWebviewUri: (uri: Uri) => uri,
    onDidReceiveMessage: this.received.event,
    postMessage: async (message: Record<string, unknown>) => this.messages.push(message) > 0,
  };
  readonly onDidChangeVisibility = this.visibility.event;
  readonly onDidDispose = new EventEmitter<void>().event;
  show(visible: boolean): void {
    this.visible = visible;
    this.visibility.fire();
  }
}

/** An editor's webview. Disposing it is what closing its tab does. */
export class FakeEditorPanel {
  readonly messages: Record<string, unknown>[] = [];
  readonly received = new EventEmitter<unknown>();
  readonly #state = new EventEmitter<void>();
  readonly #disposed = new EventEmitter<void>();
  visible = true;
  active = true;
  readonly webview = {
    options: {},
    html: "",
    cspSource: "https://webview.test",
    asWebviewUri: (uri: Uri) => uri,
    onDidReceiveMessage: this.received.event,
    postMessage: async (message: Record<string, unknown>) => this.messages.push(message) > 0,
  };
  readonly onDidChangeViewState = this.#state.event;
  readonly onDidDispose = this.#disposed.event;
  show(visible: boolean, active = visible): void {
    this.visible = visible;
    this.active = active;
    this.#state.fire();
  }
  dispose(): void {
    this.#disposed.fire();
  }
}

/** Forgets what earlier tests left. */
export function resetVscode(): void {
  trackerFactories.length = 0;
  debug.activeStackItem = undefined;
  executed.length = 0;
  shownDocuments.length = 0;
  warnings.length = 0;
  window.visibleTextEditors = [];
  workspace.textDocuments = [];
  workspace.workspaceFolders = undefined;
  workspace.isTrusted = true;
  launched.length = 0;
  virtualFiles.clear();
  extensions.all = [];
  Object.assign(picks, { item: null, button: undefined, files: undefined, offered: [] });
  Object.assign(input, { answer: undefined, asked: 0 });
  for (const name of Object.keys(settings)) delete settings[name];
}
