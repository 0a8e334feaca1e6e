/** Histogram and values side by side; in a narrow panel one of them, chosen by name. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { HistogramBars } from "../../shared/gradient_histogram";
import { scaleWords } from "../../shared/replay_words";
import { gradientsText as text } from "../../shared/text";
import { useShownWidth } from "../components/shown_width";
import { MagnitudeHistogram } from "./magnitude_histogram";

const HEIGHT = 78;
/** Until it was shown once. */
const UNMEASURED = 200;

export interface PicturesProps {
  readonly bars: HistogramBars | null;
  /** Said where there are no bars. */
  readonly missing: string;
  readonly earlier: string | null;
  readonly narrow: boolean;
  /** null where there are none to show. */
  readonly values: JSX.Element | null;
  /** What the second picture is called where it is not values. */
  readonly valuesName?: string;
  /** What the magnitudes are multiplied with: they are counted as accumulated. */
  readonly scale?: number;
}

type Shown = "magnitude" | "values";

export function Pictures(props: PicturesProps): JSX.Element {
  const { narrow, values, bars } = props;
  const [chosen, setChosen] = useState<Shown>("magnitude");
  if (values === null) return <Magnitudes {...props} />;
  if (!narrow) {
    return (
      <div class="grad-two">
        <Magnitudes {...props} />
        {values}
      </div>
    );
  }
  const shown = bars === null ? "values" : chosen;
  return (
    <div class="grad-one">
      {bars !== null && <PictureTabs shown={shown} second={props.valuesName ?? text.values} onShow={setChosen} />}
      {shown === "magnitude" ? <Magnitudes {...props} /> : values}
    </div>
  );
}

function PictureTabs({ shown, second, onShow }: { readonly shown: Shown; readonly second: string; readonly onShow: (shown: Shown) => void }): JSX.Element {
  const tab = (name: Shown, words: string): JSX.Element => (
    <button type="button" class={shown === name ? "on" : ""} aria-pressed={shown === name} onClick={() => onShow(name)}>
      {words}
    </button>
  );
  return (
    <div class="grad-switch" role="group" aria-label={text.picture}>
      {tab("magnitude", text.magnitude)}
      {tab("values", second)}
    </div>
  );
}

/** Without a heading where the names of the two pictures stand above. */
function Magnitudes({ bars, missing, earlier, narrow, values, scale = 1 }: PicturesProps): JSX.Element | null {
  const [width, ref] = useShownWidth();
  if (bars === null && missing === "") return null;
  return (
    <div ref={ref} class="magnitude-box">
      {(!narrow || values === null) && (
        <div class="sh">
          <h3>{text.magnitude}</h3>
          {bars !== null && scale !== 1 && <span class="clip">{text.magnitudeScaled(scaleWords(scale))}</span>}
          <span class="sp" />
          {earlier !== null && <span>{text.lineFrom(earlier)}</span>}
        </div>
      )}
      {narrow && values !== null && bars !== null && scale !== 1 && <p class="dock-note">{text.magnitudeScaled(scaleWords(scale))}</p>}
      {bars === null ? <p class="dock-note">{missing}</p> : <MagnitudeHistogram bars={bars} width={width || UNMEASURED} height={HEIGHT} />}
    </div>
  );
}
