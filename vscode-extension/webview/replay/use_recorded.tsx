/** What a session adds to the views: norms of the last steps, one gradient over all of them, the held curve. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { GradientHistory } from "../../shared/gradient_history";
import type { ReplayModel } from "../../shared/replay_model";
import { sameMoment } from "../../shared/replay_play";
import type { Held } from "../../shared/session";
import type { Recorded } from "../view";
import { HeldCurve } from "./held_curve";
import type { ReplayActions } from "./page";
import { ParameterCurve } from "./parameter_curve";

/** The same object while nothing of it changed. */
export function useRecorded(model: ReplayModel, actions: ReplayActions, low: boolean): Recorded {
  const { recent, held, shown, comparand, facts, timeline } = model;
  const history = useMemo(() => (recent && recent.steps.length > 1 ? new GradientHistory(recent) : null), [recent]);
  const ofShown: Held | null | undefined = held && shown && sameMoment(held.at, shown.at) ? held.held : undefined;
  const [last, setLast] = useState<Held | null>(null);
  useEffect(() => {
    if (ofShown !== undefined) setLast(ofShown);
  }, [ofShown]);
  const curve = ofShown === undefined ? last : ofShown;
  const snapshot = shown?.snapshot ?? null;
  // Of what is shown, not of the playhead: the views stand still while that moves.
  const step = snapshot?.stop.step ?? -1;
  // A run that grows draws its views again with each hundredth of it, not with each step.
  const length = facts?.finished ? timeline.steps.length : Math.floor(Math.log(Math.max(1, timeline.steps.length)) * 100);
  return useMemo(
    () => ({
      history,
      low,
      curveOf: (parameter) => facts && snapshot && <ParameterCurve parameter={parameter} snapshot={snapshot} facts={facts} timeline={timeline} comparand={comparand} step={step} actions={actions} />,
      heldCurve: <HeldCurve held={curve} snapshot={snapshot} selection={model.selection} known={ofShown !== undefined} />,
    }),
    [history, low, curve, snapshot, comparand, facts?.rank, length, step, model.selection, ofShown === undefined],
  );
}
