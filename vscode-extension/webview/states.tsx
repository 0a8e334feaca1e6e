/** Every state without values of the current stop: a title, a sentence, at most two actions. */

import type { ComponentChildren, JSX } from "preact";
import { formatDuration } from "../shared/format";
import type { GlyphId } from "../shared/glyphs";
import { agoMs, type SessionModel } from "../shared/panel_model";
import type { CallerScope, PanelState } from "../shared/state";
import { stateText as text } from "../shared/text";
import { ActionButton } from "./components/action_button";
import { Glyph } from "./components/glyph";
import { ALL_PARTS, longerBudget } from "./notices";
import { useElapsed, useNow } from "./use_now";
import type { Ask } from "./view";

export interface StateProps {
  readonly session: SessionModel;
  readonly ask: Ask;
  /** Sets the condition "first non-finite gradient"; null once it is set. */
  readonly onBreakAtNonFinite: (() => Promise<unknown>) | null;
}

/** The whole panel, where there are no values to show. */
export function StatePage(props: StateProps): JSX.Element {
  const { state } = props.session;
  const { ask } = props;
  switch (state.kind) {
    case "running":
    case "stale":
      return <Running program={state.kind === "running" ? state.program : text.program} {...props} />;
    case "reading":
    case "ready":
      return <Reading session={props.session} />;
    case "not importable":
      return <NotImportable executable={state.executable} version={state.version} ask={ask} />;
    case "no torch":
      return <Page glyph="idle" title={text.noTorch} sentence={text.noTorchText} />;
    case "nothing differentiable":
      return <NothingHere name={state.function} callers={state.callers} ask={ask} />;
    case "failed":
      return <Failed state={state} ask={ask} />;
    default:
      return <NoSession ask={ask} />;
  }
}

interface PageProps {
  readonly glyph: GlyphId;
  readonly title: string;
  readonly sentence: ComponentChildren;
  readonly children?: ComponentChildren;
}

function Page({ glyph, title, sentence, children }: PageProps): JSX.Element {
  return (
    <section class="es">
      <h2>
        <Glyph id={glyph} label="" />
        {title}
      </h2>
      <p>{sentence}</p>
      {children && <div class="acts">{children}</div>}
    </section>
  );
}

function NoSession({ ask }: { readonly ask: Ask }): JSX.Element {
  return (
    <Page glyph="idle" title={text.noSession} sentence={text.noSessionText}>
      <ActionButton primary label={text.startDebugging} onPress={() => ask("startDebugging", {})} />
      <ActionButton label={text.openSession} onPress={() => ask("openSession", {})} />
    </Page>
  );
}

function Running({ program, session, ask, onBreakAtNonFinite }: StateProps & { readonly program: string }): JSX.Element {
  const now = useNow(1000);
  const { state } = session;
  const last = state.kind === "running" ? state.lastStop : null;
  const lastText = last ? ` ${text.lastStop(last.step, wholeSeconds(agoMs(session, last, now)))}` : "";
  return (
    <Page glyph="play" title={text.running} sentence={text.runningText(program) + lastText}>
      <ActionButton label={text.pause} onPress={() => ask("pause", {})} />
      {onBreakAtNonFinite ? (
        <ActionButton label={text.breakAtNonFinite} onPress={onBreakAtNonFinite} />
      ) : (
        <span class="set">{text.breaksAtNonFinite}</span>
      )}
    </Page>
  );
}

/** The first stop. A fast answer shows no words at all, only the outline of what comes. */
function Reading({ session }: { readonly session: SessionModel }): JSX.Element {
  return (
    <section class="es" aria-busy="true">
      <h2>
        <Glyph id="pending" label="" />
        {text.reading}
      </h2>
      <p>{session.state.kind === "reading" ? <Awaited session={session} budgetMs={session.state.budgetMs} /> : text.readingText}</p>
      <div class="skel" aria-hidden="true">
        <i />
        <i />
        <i />
        <i />
        <i />
      </div>
    </section>
  );
}

/** What is awaited and how much of its budget is spent, once that is worth reading. */
function Awaited({ session, budgetMs }: { readonly session: SessionModel; readonly budgetMs: number }): JSX.Element {
  const late = useElapsed(session.changedMs, LATE_MS);
  const now = useNow(late ? TICK_MS : null);
  if (!late) return <>{text.readingText}</>;
  const elapsed = Math.max(LATE_MS, now - session.changedMs);
  const budget = formatDuration(budgetMs);
  return <>{`${text.readingText} ${elapsed > budgetMs ? text.readingLate(budget) : text.readingOf(formatDuration(elapsed), budget)}`}</>;
}

const LATE_MS = 300;
const TICK_MS = 100;

interface NotImportableProps {
  readonly executable: string;
  readonly version: string;
  readonly ask: Ask;
}

function NotImportable({ executable, version, ask }: NotImportableProps): JSX.Element {
  const { before, after } = text.notImportableText;
  const sentence = (
    <>
      {before}
      <code>{executable}</code>
      {after(version)}
    </>
  );
  return (
    <Page glyph="warning" title={text.notImportable} sentence={sentence}>
      <ActionButton primary label={text.useShippedCopy} onPress={() => ask("useShippedCopy", {})} />
      <ActionButton label={text.copyPip} done={text.copied} onPress={() => ask("copyText", { text: pipCommand(executable) })} />
    </Page>
  );
}

/** For a shell: a path with spaces is quoted. */
export function pipCommand(executable: string): string {
  const program = executable === "" ? "python" : /[\s'()&;]/.test(executable) ? `"${executable}"` : executable;
  return `${program} -m pip install gradwatch`;
}

interface NothingHereProps {
  readonly name: string;
  readonly callers: readonly CallerScope[];
  readonly ask: Ask;
}

/** The two nearest callers that reach something are one press away. */
function NothingHere({ name, callers, ask }: NothingHereProps): JSX.Element {
  const nearest = callers.slice(0, 2);
  const sentence = (
    <>
      {text.nothingText.before}
      <code>requires_grad</code>
      {text.nothingText.middle}
      <code>{name}</code>.
      {callers[0] ? <CallerSentence caller={callers[0]} /> : text.nothingNoCaller}
    </>
  );
  return (
    <Page glyph="idle" title={text.nothing} sentence={sentence}>
      {nearest.length > 0 &&
        nearest.map(({ depth, function: caller }) => (
          <ActionButton key={depth} label={text.selectCaller(caller)} onPress={() => ask("selectCaller", { depth })} />
        ))}
    </Page>
  );
}

function CallerSentence({ caller }: { readonly caller: CallerScope }): JSX.Element {
  return (
    <>
      {text.nothingCaller.before}
      <code>{caller.function}</code>
      {text.nothingCaller.after(caller.tensorCount)}
    </>
  );
}

interface FailedProps {
  readonly state: Extract<PanelState, { kind: "failed" }>;
  readonly ask: Ask;
}

/** Also above the values of an earlier stop. */
export function Failed({ state, ask }: FailedProps): JSX.Element {
  const longer = longerBudget(state.budgetMs);
  const sentence = (
    <>
      <code class="expression">{state.expression}</code>
      <span class="why">{state.reason}</span>
    </>
  );
  return (
    <Page glyph="warning" title={text.failed} sentence={sentence}>
      <ActionButton label={text.retryWith(formatDuration(longer))} onPress={() => ask("retry", { budgetMs: longer, parts: ALL_PARTS })} />
      <ActionButton label={text.gradientsOnly} onPress={() => ask("retry", { budgetMs: state.budgetMs, parts: ["gradients"] })} />
    </Page>
  );
}

/** Over values of the stop before, when the stop after it could not be read. */
export function StopBefore(): JSX.Element {
  return (
    <div class="past-line">
      <Glyph id="stale" label="" />
      <span>{text.failedPrevious}</span>
    </div>
  );
}

/** In the header, while another stop is read: nothing moves, and a fast answer shows no words at all. */
export function ReadingAgain({ session, budgetMs }: { readonly session: SessionModel; readonly budgetMs: number }): JSX.Element | null {
  const late = useElapsed(session.changedMs, LATE_MS);
  const now = useNow(late ? TICK_MS : null);
  if (!late) return null;
  const elapsed = Math.max(LATE_MS, now - session.changedMs);
  return (
    <span class="clip" title={text.readingPrevious}>
      {text.readingShort(formatDuration(elapsed), formatDuration(budgetMs))}
    </span>
  );
}

/** In the header, while the program runs: which stop the values are of, and how long ago that was. */
export function LeftBehind({ session }: Pick<StateProps, "session">): JSX.Element {
  const now = useNow(1000);
  const { state } = session;
  const last = state.kind === "stale" || state.kind === "running" ? state.lastStop : null;
  const ago = wholeSeconds(last ? agoMs(session, last, now) : now - session.arrivedMs);
  const stop = text.stopName(last?.step ?? -1, last?.number ?? session.snapshot?.stop.number ?? -1);
  return (
    <span class="clip" title={text.staleTitle(stop)}>
      <span class="hide-n">{text.staleOf(stop, ago)}</span>
      <span class="only-n">{text.staleOfNarrow(stop, ago)}</span>
    </span>
  );
}

/** Its clock ticks once a second. */
function wholeSeconds(ms: number): string {
  return formatDuration(1000 * Math.max(1, Math.round(ms / 1000)));
}
