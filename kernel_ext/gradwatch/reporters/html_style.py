"""The look of HTML reports: the host's colours where it has variables for them, ours by colour scheme elsewhere."""

from __future__ import annotations

_LIGHT = """--gw-bg0:#fff;--gw-fg0:#24292f;--gw-dim0:#57606a;--gw-line0:#d8dee4;--gw-accent0:#005fb8;
--gw-nan:#b3261e;--gw-none:#6e5c00;color-scheme:light"""

_DARK = """--gw-bg0:#1f1f1f;--gw-fg0:#cccccc;--gw-dim0:#9d9d9d;--gw-line0:#3a3a3a;--gw-accent0:#4daafc;
--gw-nan:#ff7070;--gw-none:#d8c25a;color-scheme:dark"""

# A host that says whether it is light or dark is believed before the system's preference.
_LIGHT_HOSTS = (
    '[data-jp-theme-light="true"] .gradwatch',
    "body.vscode-light .gradwatch",
    'html[theme="light"] .gradwatch',
    'html[data-theme="light"] .gradwatch',
)
_DARK_HOSTS = (
    '[data-jp-theme-light="false"] .gradwatch',
    "body.vscode-dark .gradwatch",
    "body.vscode-high-contrast:not(.vscode-high-contrast-light) .gradwatch",
    'html[theme="dark"] .gradwatch',
    'html[data-theme="dark"] .gradwatch',
)

_COLOURS = f"""
.gradwatch{{{_LIGHT}}}
@media (prefers-color-scheme:dark){{.gradwatch{{{_DARK}}}}}
{",".join(_LIGHT_HOSTS)}{{{_LIGHT}}}
{",".join(_DARK_HOSTS)}{{{_DARK}}}
.gradwatch{{
--gw-bg:var(--vscode-editor-background,var(--jp-layout-color0,var(--gw-bg0)));
--gw-fg:var(--vscode-foreground,var(--jp-content-font-color1,var(--gw-fg0)));
--gw-dim:var(--vscode-descriptionForeground,var(--jp-content-font-color2,var(--gw-dim0)));
--gw-line:var(--vscode-panel-border,var(--jp-border-color2,var(--gw-line0)));
--gw-accent:var(--vscode-textLink-foreground,var(--jp-content-link-color,var(--gw-accent0)));
--gw-text:var(--vscode-font-family,var(--jp-ui-font-family,system-ui,-apple-system,"Segoe UI",sans-serif));
--gw-code:var(--vscode-editor-font-family,var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace));
--gw-grid:color-mix(in srgb,var(--gw-fg) 11%,var(--gw-bg));
--gw-soft:color-mix(in srgb,var(--gw-fg) 26%,var(--gw-bg));
--gw-mid:color-mix(in srgb,var(--gw-fg) 60%,var(--gw-bg));
--gw-band:color-mix(in srgb,var(--gw-accent) 20%,var(--gw-bg));
--gw-fill:color-mix(in srgb,var(--gw-accent) 70%,var(--gw-bg));
--gw-hover:color-mix(in srgb,var(--gw-fg) 6%,var(--gw-bg))}}
"""

_TEXT = """
.gradwatch,.gradwatch *{box-sizing:border-box}
.gradwatch{container-type:inline-size;background:var(--gw-bg);color:var(--gw-fg);font:400 12px/16px var(--gw-text);
font-variant-numeric:tabular-nums;padding:8px 12px 10px;max-width:1000px;text-align:left}
.gradwatch .gw-s{font-size:13px;line-height:18px;font-weight:600;overflow-wrap:anywhere}
.gradwatch .gw-d{color:var(--gw-dim)}
.gradwatch .gw-c{font-size:11px;color:var(--gw-dim);overflow-wrap:anywhere}
.gradwatch .gw-h{display:flex;flex-wrap:wrap;gap:0 8px;align-items:baseline;justify-content:space-between;
margin:16px 0 4px;font-size:11px;font-weight:600}
.gradwatch .gw-h span{font-weight:400;color:var(--gw-dim)}
.gradwatch .gw-big{font-size:20px;line-height:26px;font-weight:400;margin-right:8px}
.gradwatch code,.gradwatch .gw-m{font:400 11px/16px var(--gw-code);background:none;color:inherit;padding:0;border:0}
.gradwatch .gw-a{color:var(--gw-accent)}
.gradwatch .gw-NaN,.gradwatch .gw-Inf{color:var(--gw-nan)}
.gradwatch .gw-None,.gradwatch .gw-warn{color:var(--gw-none)}
.gradwatch .gw-finite,.gradwatch .gw-zero{color:var(--gw-dim)}
.gradwatch .gw-e{color:var(--gw-dim)}
.gradwatch .gw-NaN .gw-e,.gradwatch .gw-Inf .gw-e{color:inherit}
.gradwatch svg{display:block;overflow:visible;max-width:none}
.gradwatch .gw-g{width:10px;height:10px;flex:none;display:inline-block;vertical-align:-1px}
.gradwatch .gw-r{text-align:right;white-space:nowrap}
.gradwatch .gw-x{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0}
.gradwatch .gw-mini{display:flex;flex-wrap:wrap;gap:2px 24px;margin-top:6px}
.gradwatch .gw-mini>div{display:flex;gap:8px;align-items:center}
.gradwatch .gw-notes{display:grid;gap:4px}
.gradwatch .gw-notes>div{display:grid;grid-template-columns:14px 1fr;overflow-wrap:anywhere}
.gradwatch .gw-notes svg{margin-top:3px}
.gradwatch .gw-findings{display:grid;gap:4px;overflow-wrap:anywhere}
.gradwatch .gw-findings summary{display:grid;grid-template-columns:16px 1fr}
.gradwatch .gw-findings summary svg{margin-top:3px}
.gradwatch .gw-findings details>div{margin-left:16px}
.gw-page .gradwatch{max-width:none;min-height:100vh;padding:16px max(12px,calc(50vw - 500px))}
.gradwatch .gw-foot{margin-top:14px;padding-top:6px;border-top:1px solid var(--gw-line)}
"""

_CHART = """
.gradwatch .gw-chart{display:grid;grid-template-columns:40px minmax(0,1fr)}
.gradwatch .gw-chart text,.gradwatch .gw-xl{font:400 10px/12px var(--gw-text);fill:var(--gw-dim);color:var(--gw-dim)}
.gradwatch .gw-xl{display:grid;grid-column:2;height:14px;padding-top:2px}
.gradwatch .gw-xl>span{visibility:hidden;white-space:nowrap;display:flex;justify-content:center;grid-row:1}
.gradwatch .gw-line{fill:none;stroke:var(--gw-accent);stroke-width:1.5;vector-effect:non-scaling-stroke}
.gradwatch .gw-area{fill:var(--gw-band)}
.gradwatch .gw-dec{stroke:var(--gw-grid)}
.gradwatch .gw-tick{stroke:var(--gw-mid)}
.gradwatch .gw-dot{fill:var(--gw-accent);stroke:var(--gw-bg)}
.gradwatch .gw-spark{fill:none;stroke:var(--gw-mid);stroke-width:1.2;stroke-linejoin:round}
@container (max-width:479px){.gradwatch .gw-xl>.gw-w0{visibility:visible}}
@container (min-width:480px) and (max-width:799px){.gradwatch .gw-xl>.gw-w1{visibility:visible}}
@container (min-width:800px){.gradwatch .gw-xl>.gw-w2{visibility:visible}}
"""

_ROWS = """
.gradwatch .gw-row{display:grid;align-items:center;gap:0 8px;min-height:22px;padding:0 2px}
.gradwatch .gw-head{min-height:20px;font-size:11px;color:var(--gw-dim);border-bottom:1px solid var(--gw-line)}
.gradwatch .gw-row:not(.gw-head):hover{background:var(--gw-hover)}
.gradwatch details{margin:0;padding:0;border:0;background:none}
.gradwatch summary{cursor:pointer;list-style:none;font-weight:400;margin:0}
.gradwatch summary::-webkit-details-marker{display:none}
.gradwatch summary:focus-visible{outline:1px solid var(--gw-accent);outline-offset:-1px}
.gradwatch .gw-n{display:flex;align-items:center;min-width:0;padding-left:calc(var(--gw-i,0)*14px)}
.gradwatch summary>.gw-n{font-weight:600}
.gradwatch .gw-n::before{content:"";flex:none;width:6px;height:6px;margin:0 7px 0 1px}
.gradwatch summary>.gw-n::before{border:solid var(--gw-dim);border-width:0 1.2px 1.2px 0;transform:rotate(-45deg)}
.gradwatch details[open]>summary>.gw-n::before{transform:translateY(-2px) rotate(45deg)}
.gradwatch .gw-grad{grid-template-columns:minmax(60px,1fr) 66px 14px}
.gradwatch .gw-node{grid-template-columns:minmax(90px,1fr) 64px}
.gradwatch .gw-held{display:grid;grid-template-columns:fit-content(40%) minmax(0,1fr) 66px;gap:0 8px}
.gradwatch .gw-held>.gw-row{grid-column:1/-1;grid-template-columns:subgrid}
.gradwatch .gw-wide{grid-column:1/3}
.gradwatch .gw-p1,.gradwatch .gw-p2,.gradwatch .gw-word{display:none}
.gradwatch .gw-state{display:flex;align-items:center;gap:5px;white-space:nowrap}
.gradwatch .gw-bar{height:2px;background:var(--gw-fill);min-width:3px;margin-top:1px}
.gradwatch .gw-share{display:flex;height:8px;gap:1px;margin:6px 0 4px}
.gradwatch .gw-share>div{min-width:3px}
.gradwatch .gw-key{display:flex;flex-wrap:wrap;gap:0 12px}
.gradwatch .gw-key>span{white-space:nowrap}
.gradwatch .gw-key i{display:inline-block;width:8px;height:8px;margin-right:5px}
.gradwatch .gw-k0{background:var(--gw-fill)}
.gradwatch .gw-k1{background:var(--gw-mid)}
.gradwatch .gw-k2{border:1px solid var(--gw-mid)}
.gradwatch .gw-k3{background:var(--gw-fg)}
.gradwatch .gw-k4{background:var(--gw-soft)}
.gradwatch .gw-k5{background:repeating-linear-gradient(135deg,var(--gw-mid) 0 1px,transparent 1px 3px)}
@container (min-width:480px){
.gradwatch .gw-p1,.gradwatch .gw-word{display:block}
.gradwatch .gw-grad{grid-template-columns:minmax(80px,1fr) 92px 66px 84px 76px}
.gradwatch .gw-node{grid-template-columns:minmax(140px,1fr) 110px 64px}
.gradwatch .gw-held{grid-template-columns:fit-content(40%) minmax(0,1fr) 66px 52px}}
@container (min-width:640px){
.gradwatch .gw-p2{display:block}
.gradwatch .gw-grad{grid-template-columns:minmax(120px,1fr) 110px 66px 110px 66px 100px}
.gradwatch .gw-node{grid-template-columns:minmax(180px,1fr) 130px 64px minmax(0,1fr)}}
@media (forced-colors:active){
.gradwatch .gw-bar,.gradwatch .gw-share>div,.gradwatch .gw-key i,.gradwatch svg{forced-color-adjust:none}}
"""

STYLE = "".join(line for part in (_COLOURS, _TEXT, _CHART, _ROWS) for line in part.splitlines())
