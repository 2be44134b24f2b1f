import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
/** What a block begins with that goes on where the last one of the page ended. */
const CONTINUES = '// Continues the block above.';
/** What a fence may say. None stands for what programs print, and for commands with their output. */
const LANGUAGES = ['ts', 'js', 'sh', 'json', 'yaml', 'python', ''];

/** A fence of a page. */
export interface Fence {
  readonly page: string;
  /** Of the first line of code, from 1. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
  /** The fence begins in the second line below the fence before. */
  readonly followsDirectly: boolean;
}

/** A block of a page that belongs to a program. */
export interface Piece extends Fence {
  /** What the page shows directly below it as its output. */
  readonly printed: string | undefined;
}

/** A block of a page with all those that continue it. */
export interface PageProgram {
  readonly page: string;
  readonly line: number;
  readonly language: 'ts' | 'js';
  readonly pieces: readonly Piece[];
  /** Between two pieces it calls `globalThis.pieceEnds`, if that is there. */
  readonly code: string;
  /** The place of a line of the code, from 1: `docs/budget.md:12`. */
  placeOf(line: number): string;
}

/** Names the pages with blocks: README.md, CONTRIBUTING.md, and those below docs. */
export function pages(): string[] {
  const inDocs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' });
  const guides = inDocs.filter((name) => name.endsWith('.md') && !/^(?:api|site)\//.test(name)).map((name) => `docs/${name}`);
  return ['README.md', 'CONTRIBUTING.md', ...guides.sort()];
}

/**
 * Gives all fences of a page.
 *
 * @param text - what stands there
 * @throws an Error with the place of a fence that has no end, or names no language that is known
 */
export function fencesOf(page: string, text = readFileSync(join(ROOT, page), 'utf8')): Fence[] {
  const lines = text.split('\n');
  const fences: Fence[] = [];
  let lastEnd = Number.NEGATIVE_INFINITY;
  for (let at = 0; at < lines.length; at++) {
    const [, indent = '', language] = /^( *)```(.*)$/.exec(lines[at] as string) ?? [];
    if (language === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end === -1) throw new Error(`${page}:${at + 1}: the fence has no end`);
    if (!LANGUAGES.includes(language)) {
      throw new Error(`${page}:${at + 1}: \`\`\`${language} is none of ${LANGUAGES.map((name) => `\`\`\`${name}`).join(' ')}`);
    }
    const code = lines.slice(at + 1, end).map((line) => `${line.slice(indent.length)}\n`);
    fences.push({ page, line: at + 2, language, code: code.join(''), followsDirectly: at - lastEnd <= 2 });
    lastEnd = end;
    at = end;
  }
  return fences;
}

/**
 * Gives the programs of a page.
 *
 * @param text - what stands there
 * @throws an Error with the place of a block that continues nothing
 */
export function programsOf(page: string, text?: string): PageProgram[] {
  const programs: Piece[][] = [];
  const fences = fencesOf(page, text);
  for (const [n, fence] of fences.entries()) {
    if (fence.language !== 'ts' && fence.language !== 'js') continue;
    const below = fences[n + 1];
    const piece = { ...fence, printed: below?.language === '' && below.followsDirectly ? below.code : undefined };
    if (!fence.code.startsWith(`${CONTINUES}\n`)) programs.push([piece]);
    else {
      const last = programs.at(-1);
      if (last?.[0]?.language !== fence.language)
        throw new Error(`${page}:${fence.line}: there is no ${fence.language} block to continue`);
      last.push(piece);
    }
  }
  return programs.map(programOf);
}

function programOf(pieces: readonly Piece[]): PageProgram {
  const [{ page, line, language }] = pieces as readonly [Piece];
  const places = pieces.flatMap((piece) =>
    piece.code
      .trimEnd()
      .split('\n')
      .map((_, n) => `${page}:${piece.line + n}`),
  );
  const texts = pieces.map(({ code }, n) => {
    // In the place of the comment, so that lines keep their numbers.
    return `${n === 0 ? code.trimEnd() : code.trimEnd().replace(CONTINUES, "Reflect.get(globalThis, 'pieceEnds')?.();")}\n`;
  });
  return {
    page,
    line,
    language: language as 'ts' | 'js',
    pieces,
    code: texts.join(''),
    placeOf: (at) => places[at - 1] ?? `${page}:${line}`,
  };
}
