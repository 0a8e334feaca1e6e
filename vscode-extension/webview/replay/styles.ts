/** Every sheet that the page needs, beside what its document brings. */

import "../gradwatch.css";
import "../shell.css";
import "../findings/findings.css";
import "../components/heat_map.css";
import "../gradients/gradients.css";
import "../graph/graph.css";
import "../held/held.css";
import "./replay.css";
