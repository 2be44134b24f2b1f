import { createHash } from 'node:crypto';
import { pageParts } from './page-parts.js';
import type { LivePageData, ReportData, WhatIfPageData } from './report-data.js';

const PLACE = /<!--(title|policy|licence|styles|scripts|payload)-->|"\{\{(data)\}\}"/g;

/** The content of a page, apart from its own scripts and styles. */
export interface PageContent {
  readonly data: ReportData | LivePageData | WhatIfPageData;
  /** The binary columns in base64; empty for a live page. */
  readonly payload: string;
}

/**
 * Writes the page: one document with all that it needs. It loads nothing, except that a live page listens to its own server.
 * Its policy allows only its own scripts, named by their hashes.
 */
export function renderPage({ data, payload }: PageContent): string {
  const { html, styles, scripts, licence } = pageParts();
  const parts: { readonly [place: string]: string } = {
    title: escapeText(data.title),
    policy: policyOf(
      styles,
      scripts.map(({ text }) => text),
      data.mode === 'live',
    ),
    licence: `<!-- ${licence} -->`,
    styles: styles.map((text) => `<style>${text}</style>`).join('\n'),
    scripts: scripts.map(({ type, text }) => `<script type="${type}">${checkScript(text)}</script>`).join('\n'),
    data: jsonInScript(data),
    payload,
  };
  // A function, because `$` has a meaning in a replacement text.
  return html.replace(PLACE, (_, place?: string, quoted?: string) => parts[(place ?? quoted) as string] as string);
}

/** JSON that cannot end its script element, even if a name in it tries to. */
function jsonInScript(data: PageContent['data']): string {
  return JSON.stringify(data).replaceAll('<', '\\u003c').replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

function checkScript(text: string): string {
  if (/<\/script|<!--/i.test(text)) throw new Error('a script of the page would end its own element');
  return text;
}

function policyOf(styles: readonly string[], scripts: readonly string[], live: boolean): string {
  const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;
  const hashes = (texts: readonly string[]) => texts.map(hashOf).join(' ');
  return [
    "default-src 'none'",
    `script-src ${hashes(scripts)}`,
    `style-src ${hashes(styles)}`,
    `connect-src ${live ? "'self'" : "'none'"}`,
    "img-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}
