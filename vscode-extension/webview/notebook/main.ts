/** The replay page as a notebook widget: kernel_ext/gradwatch/static/widget.js and widget.css. */

import "../replay/styles";
import "./notebook.css";
import { initialize, render } from "./widget";

export default { initialize, render };
