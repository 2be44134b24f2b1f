import { createHash } from 'node:crypto';
import { formatBytes } from '../core/format-bytes.js';
import { compareExplanations } from './compare-explanations.js';
import type { MemoryCategory, MemoryExplanation } from './memory-explanation.js';

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); --bar: #4c78a8; --unknown: #e45756; }
body { font: 14px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; } .bytes { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.kind { white-space: nowrap; } .advice { font-size: .9em; opacity: .8; } meter { width: 8rem; height: .8rem; }
.unknown td { color: var(--unknown); }`;
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
    '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    `<meta http-equiv="Content-Security-Policy" content="${escaped(policy)}">`,
    `<title>${escaped(title)}</title><style>${STYLE}</style></head>`,
    `<body><h1>${escaped(title)}</h1>`,
    ...(isOneProcess ? [grownTable(first, last)] : []),
    ...sections,
    '</body></html>',
    '',
  ].join('\n');
}

function section({ pid, program, residentBytes, namedBytes, categories, giveBack, view }: MemoryExplanation): string {
  const share = residentBytes === 0 ? 0 : (100 * namedBytes) / residentBytes;
  const shown = categories.filter((category) => category.residentBytes >= SMALL * residentBytes);
  const rest = categories.length - shown.length;
  const asked = view === 'inside' ? 'asked inside' : 'seen from outside: V8 and the C library were not asked';
  return [
    `<h2>Process ${pid}</h2><p><code>${escaped(program)}</code></p>`,
    `<p>${formatBytes(residentBytes)} resident, ${share.toFixed(1)} % named; ${asked}</p>`,
    '<table><thead><tr><th class="bytes">Resident</th><th>Share</th><th>Kind</th><th>Name, and what could be done</th><th class="bytes">To give back</th></tr></thead><tbody>',
    ...shown.map((category) => row(category, residentBytes)),
    '</tbody></table>',
    rest === 0 ? '' : `<p>and ${rest} smaller ones</p>`,
    '<table><thead><tr><th>Step of giving back</th><th class="bytes">Returns</th><th>How it is known</th></tr></thead><tbody>',
    ...giveBack.map(
      ({ step, bytes, how }) =>
        `<tr><td>${escaped(step)}</td><td class="bytes">${bytesText(bytes)}</td><td>${escaped(how)}</td></tr>`,
    ),
    '</tbody></table>',
  ].join('\n');
}

function row({ kind, name, residentBytes, reclaimableBytes, advice }: MemoryCategory, all: number): string {
  return (
    `<tr${kind === 'unknown' ? ' class="unknown"' : ''}><td class="bytes">${formatBytes(residentBytes)}</td>` +
    `<td><meter min="0" max="${all}" value="${residentBytes}"></meter></td><td class="kind">${escaped(kind)}</td>` +
    `<td>${escaped(name)}<div class="advice">${escaped(advice)}</div></td><td class="bytes">${bytesText(reclaimableBytes)}</td></tr>`
  );
}

function grownTable(first: MemoryExplanation, last: MemoryExplanation): string {
  const rows = compareExplanations(first, last).grown.map(
    ({ tag, site, bytes }) =>
      `<tr><td class="bytes">${formatBytes(bytes)}</td><td>${escaped(tag)}</td><td>${escaped(site)}</td></tr>`,
  );
  return `<h2>What grew</h2><table><tbody>${rows.join('\n')}</tbody></table>`;
}

function bytesText(bytes: number | null): string {
  return bytes === null ? 'not known' : formatBytes(bytes);
}

function escaped(text: string): string {
  const names: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => names[character] as string);
}
