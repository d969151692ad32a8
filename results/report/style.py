"""How the page looks: one column to read, on a telephone too, in light, dark and print."""

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1c1e21; --faint: #5c6370; --paper: #ffffff; --line: #dcdfe4; --head: #f3f5f7;
  --shadow: rgb(0 0 0 / 35%); --row: rgb(90 110 140 / 8%);
  --mark: #0a5c91;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e6ea; --faint: #a3abb8; --paper: #16181c; --line: #363b44; --head: #22262d;
    --shadow: rgb(255 255 255 / 40%); --row: rgb(160 180 210 / 10%);
    --mark: #7cc4f2;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 50rem; color: var(--text);
  background: var(--paper); font: 1rem/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
  overflow-wrap: break-word;
}
h1 { margin: 0; font-size: 1rem; font-weight: 600; color: var(--faint); }
h1 + p { margin: 0.5rem 0 0.8rem; font-size: 1.5rem; line-height: 1.3; }
h2 {
  margin: 2.4rem 0 0.8rem; padding-top: 0.9rem; border-top: 1px solid var(--line);
  font-size: 1.35rem; line-height: 1.25;
}
h3 { margin: 2rem 0 0.6rem; font-size: 1.12rem; }
h4 { margin: 1.5rem 0 0.4rem; font-size: 1rem; }
p, ul { margin: 0.6rem 0; }
ul { padding-left: 1.2rem; }
li { margin: 0.3rem 0; }
code {
  padding: 0.1em 0.3em; background: var(--head); border-radius: 4px; font-size: 0.92em;
  white-space: nowrap;
}
img {
  display: block; width: 100%; max-width: 34rem; height: auto; margin: 0.8rem 0; padding: 0.4rem;
  background: #ffffff; border: 1px solid var(--line); border-radius: 6px;
}
/* A shadow at an edge where more is to be scrolled to: the covers move with the table. */
.table {
  overflow-x: auto; margin: 0.8rem 0;
  background:
    linear-gradient(to right, var(--paper) 40%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 40%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shadow), transparent) left / 1rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shadow), transparent) right / 1rem 100% no-repeat scroll;
}
table { border-collapse: collapse; font-size: 0.9rem; line-height: 1.35; }
th, td { padding: 0.35rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left; }
th { background: var(--row); vertical-align: bottom; font-weight: 600; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
td:first-child:not(.number) { min-width: 8rem; }
nav { margin: 1.2rem 0 0; padding: 0.5rem 0.9rem; background: var(--head); border-radius: 6px; }
summary { cursor: pointer; }
nav ul { margin: 0.4rem 0 0; padding: 0; list-style: none; }
nav > ul { columns: 2 15rem; }
nav li { margin: 0.1rem 0; break-inside: avoid; }
nav li ul { padding-left: 1rem; font-size: 0.92rem; }
a { color: var(--mark); }
@media (max-width: 30rem) {
  h1 + p { font-size: 1.25rem; }
  th, td { padding: 0.3rem 0.2rem; }
  td:first-child:not(.number) { min-width: 4rem; }
  table { font-size: 0.72rem; }
}
@media print {
  :root { color-scheme: light; --text: #000000; --faint: #333333; --paper: #ffffff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  img, tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  .table { overflow: visible; }
}
"""
