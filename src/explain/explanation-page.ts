import { createHash } from 'node:crypto';
import { formatBytes } from '../core/format-bytes.js';
import { compareExplanations } from './compare-explanations.js';
import type { MemoryCategory, MemoryExplanation } from './memory-explanation.js';

const STYLE = `
:root { color-scheme: light dark; --page: light-dark(#f6f7f8, #14181c); --panel: light-dark(#fff, #1b2026);
  --text: light-dark(#1b2127, #e4e9ee); --soft: light-dark(#57606a, #a0abb6); --line: light-dark(#d7dce1, #323a43);
  --unknown: light-dark(#a8200d, #ff9d8c); --bar: light-dark(#0b63a5, #5fb0f0); --track: light-dark(#e6e9ec, #2a3139); }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: var(--page); color: var(--text); }
header, main { max-width: 72rem; margin: 0 auto; padding: 1.25rem 1.5rem 0; } main { padding: .75rem 1.5rem 2rem; }
section { margin-bottom: 1rem; padding: 1rem 1.25rem; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 0 0 .25rem; }
p { margin: .25rem 0 .75rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; } table + table { margin-top: 1rem; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 500; } tbody th { font-weight: 500; }
.bytes { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; } .kind { white-space: nowrap; }
.advice { color: var(--soft); } tr:has(> .unknown) > * { color: var(--unknown); } tr:has(> .unknown) .advice { color: inherit; }
.track { display: block; width: 8rem; height: .5rem; margin-top: .5rem; background: var(--track); border-radius: 2px; }
.track rect { fill: var(--bar); } tr:has(> .unknown) .track rect { fill: var(--unknown); }
@media (max-width: 46rem) {
  header, main { padding-left: .75rem; padding-right: .75rem; } section { padding: .75rem; }
  table, tbody { display: block; } thead { display: none; }
  tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: .25rem .75rem; padding: .6rem 0; border-bottom: 1px solid var(--line); }
  tr > * { padding: 0; border: 0; } tr > .bytes { text-align: left; } tr > .wide { grid-column: 1 / -1; } tr > .kind { white-space: normal; }
  [data-label]::before { content: attr(data-label); display: block; color: var(--soft); font-size: .75rem; font-weight: 400; }
  .track { width: 100%; max-width: 8rem; }
}`;
const SMALL = 1 / 1000;

/** What a page shows beside its explanations. */
export interface ExplanationPageFacts {
  /** @defaultValue the first program */
  readonly title?: string;
}

/**
 * Writes a page of explanations: one document that loads nothing and runs no script. With several of one process it says what grew from the
 * first to the last.
 */
export function renderExplanation(explanations: readonly MemoryExplanation[], facts: ExplanationPageFacts = {}): string {
  const title = facts.title ?? `Memory of ${explanations[0]?.program ?? 'no process'}`;
  const policy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE, 'utf8').digest('base64')}'; base-uri 'none'; form-action 'none'`;
  const sections = explanations.map(section);
  const [first] = explanations;
  const last = explanations.at(-1);
  const isOneProcess = first !== undefined && last !== undefined && first !== last && first.pid === last.pid;
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
    `<meta http-equiv="Content-Security-Policy" content="${escaped(policy)}">`,
    `<title>${escaped(title)}</title><style>${STYLE}</style></head>`,
    `<body><header><h1>${escaped(title)}</h1></header><main>`,
    ...(isOneProcess ? [grownTable(first, last)] : []),
    ...sections,
    '</main></body></html>',
    '',
  ].join('\n');
}

function section({ pid, program, residentBytes, namedBytes, categories, giveBack, view }: MemoryExplanation): string {
  const share = residentBytes === 0 ? 0 : (100 * namedBytes) / residentBytes;
  const shown = categories.filter((category) => category.residentBytes >= SMALL * residentBytes);
  const rest = categories.length - shown.length;
  const asked = view === 'inside' ? 'asked inside' : 'seen from outside: V8 and the C library were not asked';
  return [
    `<section><h2>Process ${pid}</h2><p><code>${escaped(program)}</code><br>`,
    `${formatBytes(residentBytes)} resident, ${share.toFixed(1)} % named; ${asked}</p>`,
    table(
      [...NAMES, 'to give back'],
      shown.map((category) => row(category, residentBytes)),
    ),
    rest === 0 ? '' : `<p>and ${rest} smaller ${rest === 1 ? 'one' : 'ones'}</p>`,
    table(
      ['step of giving back', 'returns', 'how it is known'],
      giveBack.map(({ step, bytes, how }) => [text(step, 'th', 'wide'), text(bytesText(bytes), 'td', 'bytes'), text(how)]),
    ),
    '</section>',
  ].join('\n');
}

const NAMES = ['resident', 'share', 'kind', 'name, and what could be done'];

/** A cell, as HTML, before its heading is known. */
interface Cell {
  readonly html: string;
  readonly tag: 'th' | 'td';
  readonly className: string;
}

function text(words: string, tag: 'th' | 'td' = 'td', className = ''): Cell {
  return { html: escaped(words), tag, className };
}

/** Roles are said because a narrow page shows rows as cards, which are no table by themselves. */
function table(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const isNumeric = (i: number) => rows[0]?.[i]?.className.split(' ').includes('bytes') === true;
  const head = headings.map(
    (heading, i) => `<th role="columnheader" scope="col"${isNumeric(i) ? ' class="bytes"' : ''}>${escaped(heading)}</th>`,
  );
  const body = rows.map((cells) => {
    const inner = cells.map(({ html, tag, className }, i) => {
      const role = tag === 'th' ? 'role="rowheader" scope="row"' : 'role="cell"';
      return `<${tag} ${role} class="${className}" data-label="${escaped(headings[i] ?? '')}">${html}</${tag}>`;
    });
    return `<tr role="row">${inner.join('')}</tr>`;
  });
  return `<table role="table"><thead role="rowgroup"><tr role="row">${head.join('')}</tr></thead><tbody role="rowgroup">${body.join('\n')}</tbody></table>`;
}

function row({ kind, name, residentBytes, reclaimableBytes, advice }: MemoryCategory, all: number): readonly Cell[] {
  const share = all === 0 ? 0 : (100 * residentBytes) / all;
  const bar = `<svg class="track" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" aria-label="${share.toFixed(1)} %"><rect width="${share.toFixed(2)}" height="1"/></svg>`;
  return [
    text(formatBytes(residentBytes), 'td', 'bytes'),
    { html: bar, tag: 'td', className: '' },
    text(kind, 'td', kind === 'unknown' ? 'kind unknown' : 'kind'),
    { html: `${escaped(name)}<div class="advice">${escaped(advice)}</div>`, tag: 'th', className: 'wide' },
    text(bytesText(reclaimableBytes), 'td', 'bytes'),
  ];
}

function grownTable(first: MemoryExplanation, last: MemoryExplanation): string {
  const { grown } = compareExplanations(first, last);
  const rows = grown.map(({ tag, site, bytes }) => [
    text(formatBytes(bytes), 'td', 'bytes'),
    text(tag),
    text(site, 'th', 'wide'),
  ]);
  const shown = rows.length === 0 ? '<p>Nothing grew.</p>' : table(['grown by', 'kind', 'name'], rows);
  return `<section><h2>What grew</h2>${shown}</section>`;
}

function bytesText(bytes: number | null): string {
  return bytes === null ? 'not known' : formatBytes(bytes);
}

function escaped(text: string): string {
  const names: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => names[character] as string);
}
