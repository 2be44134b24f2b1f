import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { inlineModules } from './inline-modules.js';

/** The parts of every page: its document with places for the rest, styles, scripts, and the licence of the library in them. */
export interface PageParts {
  readonly html: string;
  readonly styles: readonly string[];
  readonly scripts: readonly { readonly type: 'text/javascript' | 'module'; readonly text: string }[];
  readonly licence: string;
}

/**
 * Reads the parts of the page from its sources. The build replaces this module by one that holds the parts as constants,
 * because a program that was bundled has no files beside it.
 *
 * @param folder - the sources of the page
 */
export function pageParts(folder = new URL('./page/', import.meta.url)): PageParts {
  const library = createRequire(import.meta.url).resolve('uplot/dist/uPlot.iife.min.js');
  const read = (path: string | URL) => readFileSync(path, 'utf8');
  return {
    html: read(new URL('page.html', folder)),
    styles: [
      read(library.replace('uPlot.iife.min.js', 'uPlot.min.css')),
      ...['page.css', 'cards.css'].map((name) => read(new URL(name, folder))),
    ],
    scripts: [
      { type: 'text/javascript', text: read(library) },
      { type: 'module', text: inlineModules(new URL('main.js', folder)) },
    ],
    licence: `uPlot: ${read(library.replace('dist/uPlot.iife.min.js', 'LICENSE')).trim()}`,
  };
}
