/** Every rank's gradients at the shown step: a map of norms, one row a rank, and the ranks that part named above it. */

import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { formatCount, plainNumber } from "../../shared/format";
import type { RankNorms } from "../../shared/replay";
import { currentStep, type ReplayModel } from "../../shared/replay_model";
import { stepNumber } from "../../shared/replay_words";
import { replayText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";
import { useThemeVersion } from "../components/heat_colours";
import { useShownWidth } from "../components/shown_width";
import type { ReplayActions } from "./page";
import { drawRanks, HIGHEST, LOWEST, ROW, type RankPlace } from "./rank_canvas";
import { useStored } from "../stored";
import { SheetFrame } from "./sheet";

export interface RanksSheetProps {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly onClose: () => void;
  readonly say: (problem: string) => void;
}

export function RanksSheet(props: RanksSheetProps): JSX.Element {
  const { model, onClose } = props;
  const step = currentStep(model);
  const [local, setLocal] = useStored("replay.ranksLocal", false);
  const state = useRankNorms(props, model.shown?.snapshot.stop.step ?? step, local);
  return (
    <SheetFrame title={text.ranksTitle(stepNumber(typeof state === "string" ? step : state.step))} onClose={onClose}>
      <div class="rp-sheet-body rp-ranks" data-scroll>
        {typeof state === "string" ? (
          <p class="dim">{state}</p>
        ) : (
          <>
            {state.hasLocal && <KindSwitch local={state.local} onLocal={setLocal} />}
            <Parting norms={state} {...props} />
            <RankMap norms={state} {...props} />
          </>
        )}
      </div>
    </SheetFrame>
  );
}

/** The norms, or what is to be said in their place. Those of the step before stay while the next are read. */
function useRankNorms({ actions }: RanksSheetProps, step: number, local: boolean): RankNorms | string {
  const [state, setState] = useState<RankNorms | string>(text.ranksReading);
  useEffect(() => {
    let wanted = true;
    actions.ask("rankNorms", { step, local }).then(
      (norms) => wanted && setState(norms),
      (error: unknown) => wanted && setState((last) => (typeof last === "string" ? text.ranksFailed(error instanceof Error ? error.message : String(error)) : last)),
    );
    return () => void (wanted = false);
  }, [step, local]);
  return state;
}

/** Reduced gradients, or each rank's own. */
function KindSwitch({ local, onLocal }: { readonly local: boolean; readonly onLocal: (local: boolean) => void }): JSX.Element {
  const option = (of: boolean, words: string, title: string): JSX.Element => (
    <button type="button" class={of === local ? "on" : ""} aria-pressed={of === local} title={title} onClick={() => onLocal(of)}>
      {words}
    </button>
  );
  return (
    <span class="grad-switch" role="group" aria-label={text.rankKind}>
      {option(false, text.rankReduced, text.rankReducedTitle)}
      {option(true, text.rankLocal, text.rankLocalTitle)}
    </span>
  );
}

interface MapProps extends RanksSheetProps {
  readonly norms: RankNorms;
}

function Parting({ norms, actions, say }: MapProps): JSX.Element {
  const none = norms.sharded < norms.names.length ? text.noneParts : text.noneCompared;
  return (
    <ul class="limits">
      {[...(norms.parting.length === 0 ? [none] : []), ...norms.notes].map((note) => (
        <li key={note}>
          <Glyph id="finite" label="" />
          <span>{note}</span>
        </li>
      ))}
      {norms.parting.map(({ rank, text: why }) => (
        <li key={rank}>
          <Glyph id="warning" label="" />
          <button type="button" class="link" onClick={() => actions.chooseRank(rank).catch((error: unknown) => say(String(error)))}>
            {why}
          </button>
        </li>
      ))}
    </ul>
  );
}

const NAMES = 64;

function RankMap(props: MapProps): JSX.Element {
  const { norms } = props;
  const [width, ref] = useShownWidth();
  const [place, setPlace] = useState<RankPlace>({ rank: 0, parameter: 0 });
  const cursor: RankPlace = { rank: Math.min(place.rank, norms.ranks.length - 1), parameter: Math.min(place.parameter, norms.names.length - 1) };
  return (
    <div ref={ref} class="rp-rank-map">
      <div class="rp-rank-names" aria-hidden="true">
        {norms.ranks.map((rank) => (
          <span key={rank} class={norms.parting.some((one) => one.rank === rank) ? "c-none" : ""}>
            {text.rank(rank)}
          </span>
        ))}
      </div>
      <RankCanvas {...props} width={Math.max(1, width - NAMES)} drawn={width > 0} cursor={cursor} onPlace={setPlace} />
      <p class="rp-rank-words">
        <span class="clip" aria-live="polite">
          {cellWords(norms, cursor)}
        </span>
        <span class="sp" />
        <span>{text.magnitude}</span>
        <span>{plainDecade(LOWEST)}</span>
        <i class="rp-ramp" />
        <span>{plainDecade(HIGHEST)}</span>
      </p>
    </div>
  );
}

interface RankCanvasProps extends MapProps {
  readonly width: number;
  /** Its width is known. */
  readonly drawn: boolean;
  readonly cursor: RankPlace;
  readonly onPlace: (place: RankPlace) => void;
}

function RankCanvas(props: RankCanvasProps): JSX.Element {
  const { norms, width, drawn, cursor, onPlace } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useThemeVersion();
  const { ranks, names } = norms;
  useLayoutEffect(() => {
    if (canvas.current && drawn) drawRanks(canvas.current, norms, width, cursor);
  }, [norms, width, drawn, cursor.rank, cursor.parameter, theme]);
  const placeAt = ({ clientX, clientY, currentTarget }: MouseEvent): RankPlace => {
    const box = (currentTarget as HTMLElement).getBoundingClientRect();
    const within = (share: number, count: number): number => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
    return { rank: within((clientY - box.top) / box.height, ranks.length), parameter: within((clientX - box.left) / box.width, names.length) };
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const to = moved(cursor, event.key, ranks.length, names.length);
    if (to) onPlace(to);
    else if (event.key === "Enter") choose(props, cursor);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <canvas
      ref={canvas}
      tabIndex={0}
      role="application"
      aria-label={text.rankMap(ranks.length, formatCount(names.length))}
      style={{ width: `${width}px`, height: `${ranks.length * ROW}px` }}
      onKeyDown={onKeyDown}
      onPointerMove={(event) => onPlace(placeAt(event))}
      onClick={(event) => choose(props, placeAt(event))}
    />
  );
}

/** Shows that rank, and selects the parameter in it. */
function choose({ norms, model, actions, say }: MapProps, { rank, parameter }: RankPlace): void {
  const number = norms.ranks[rank];
  const name = norms.names[parameter];
  if (number === undefined || name === undefined) return;
  const select = (): void => selectNamed(model, actions, name);
  if (number === model.facts?.rank) return select();
  actions.chooseRank(number).then(select, (error: unknown) => say(error instanceof Error ? error.message : String(error)));
}

function plainDecade(exponent: number): string {
  return `1e${exponent}`.replace("-", "−");
}

function moved({ rank, parameter }: RankPlace, key: string, ranks: number, parameters: number): RankPlace | null {
  switch (key) {
    case "ArrowUp":
      return { rank: Math.max(0, rank - 1), parameter };
    case "ArrowDown":
      return { rank: Math.min(ranks - 1, rank + 1), parameter };
    case "ArrowLeft":
      return { rank, parameter: Math.max(0, parameter - 1) };
    case "ArrowRight":
      return { rank, parameter: Math.min(parameters - 1, parameter + 1) };
    case "Home":
      return { rank, parameter: 0 };
    case "End":
      return { rank, parameter: parameters - 1 };
    default:
      return null;
  }
}

/** Ranks of one program number their parameters alike: the id is that of this rank, and falls away where the other's is named otherwise. */
function selectNamed(model: ReplayModel, actions: ReplayActions, name: string): void {
  const parameter = (model.shown?.snapshot.parameters ?? []).find((one) => one.path === name || `${one.root}.${one.path}` === name);
  if (parameter) actions.select({ kind: "parameter", id: parameter.id });
}

function cellWords({ ranks, names, norms, nonfinite }: RankNorms, { rank, parameter }: RankPlace): string {
  const at = rank * names.length + parameter;
  const bad = nonfinite[at] ?? 0;
  const norm = norms[at] ?? Number.NaN;
  const value = bad > 0 ? text.rankNonfinite(formatCount(bad)) : Number.isNaN(norm) ? text.notRecorded : plainNumber(norm);
  return text.rankCell(ranks[rank] ?? 0, names[parameter] ?? "", value);
}
