import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { badArgument } from '../core/errors.js';
import { nearestName } from '../core/option-names.js';

const PREFIX = 'ERR_MEM_';
/** In the package's folder. */
const PAGE = 'docs/errors.md';

/** Adds what `stowage error` takes. */
export function addErrorCommand(command: Command): void {
  command
    .argument('[code]', 'as the error has it; in small letters and without ERR_MEM_, too')
    .addHelpText(
      'after',
      '\nWithout a code all are listed. The text is that of docs/errors.md.\n' +
        '\nExamples:\n  stowage error ERR_MEM_OUT_OF_MEMORY\n  stowage error disposed',
    )
    .action((code: string | undefined) => {
      const folder = dirname(createRequire(import.meta.url).resolve('stowage/package.json'));
      const sections = sectionsOf(readFileSync(join(folder, PAGE), 'utf8'));
      process.stdout.write(code === undefined ? `${[...sections.keys()].join('\n')}\n` : sectionOf(sections, code));
    });
}

/** The page's sections, by the code that is their heading. */
function sectionsOf(page: string): Map<string, string> {
  const sections = page.split(/^## /m).filter((section) => section.startsWith(PREFIX));
  return new Map(sections.map((section) => [section.slice(0, section.indexOf('\n')), section]));
}

function sectionOf(sections: ReadonlyMap<string, string>, code: string): string {
  const upper = code.toUpperCase();
  const name = upper.startsWith(PREFIX) ? upper : `${PREFIX}${upper}`;
  const section = sections.get(name);
  if (section !== undefined) return plain(section);
  const near = nearestName(name, [...sections.keys()]);
  throw badArgument(
    'the error code',
    code,
    near === undefined ? 'one that "stowage error" lists' : `one of ours: did you mean ${near}?`,
  );
}

/** A section as text for a terminal: messages are indented, and where a link leads stands behind it. */
function plain(section: string): string {
  const indented = section.replaceAll(/^```\n(.*?)^```\n/gms, (_, message: string) => `  ${message}`);
  return `${indented.replaceAll(/\[([^\]]+)\]\(([^)]+)\)/g, (_, text: string, to: string) => `${text} (${placeOf(to)})`).trim()}\n`;
}

/** Where a link of the page leads, from the package's folder. */
function placeOf(link: string): string {
  return link.startsWith('#') ? PAGE : join(dirname(PAGE), link);
}
