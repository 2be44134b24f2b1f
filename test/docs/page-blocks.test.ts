import { describe, expect, test } from 'vitest';
import { programsOf } from './page-blocks.js';

/** A page with fences; each begins with its language. */
const page = (...fences: readonly string[]) => fences.map((fence) => `text\n\n\`\`\`${fence}\n\`\`\`\n`).join('\n');
const codesOf = (text: string) => programsOf('page.md', text).map(({ code }) => code);

describe('programsOf', () => {
  test('makes one program of a block and those that continue it', () => {
    const text = page('ts\nconst a = 1;', 'sh\nls', 'ts\n// Continues the block above.\na;', 'js\nb;');
    expect(codesOf(text)).toEqual([`const a = 1;\nReflect.get(globalThis, 'pieceEnds')?.();\na;\n`, 'b;\n']);
  });

  test('tells where each line stands', () => {
    const text = page('ts\none;\ntwo;', 'ts\n// Continues the block above.\nthree;');
    const [program] = programsOf('page.md', text);
    expect([1, 2, 3, 4].map((line) => program?.placeOf(line))).toEqual(['page.md:4', 'page.md:5', 'page.md:11', 'page.md:12']);
  });

  test('takes a fence without a language for what a block prints, when it stands directly below', () => {
    const printed = (text: string) => programsOf('page.md', text).flatMap(({ pieces }) => pieces.map((piece) => piece.printed));
    expect(printed('```ts\na;\n```\n\n```\n1\n```\n')).toEqual(['1\n']);
    expect(printed('```ts\na;\n```\n\nIt prints\n\n```\n1\n```\n')).toEqual([undefined]);
    expect(printed('```ts\na;\n```\n\n```sh\nls\n```\n')).toEqual([undefined]);
  });

  test.each([
    ['continues nothing', page('ts\n// Continues the block above.\na;'), 'page.md:4: there is no ts block to continue'],
    [
      'continues another language',
      page('js\na;', 'ts\n// Continues the block above.\na;'),
      'page.md:10: there is no ts block to continue',
    ],
    [
      'has another language',
      page('typescript\na;'),
      'page.md:3: ```typescript is none of ```ts ```js ```sh ```json ```yaml ```python ```',
    ],
    ['has no end', 'text\n```ts\na;\n', 'page.md:2: the fence has no end'],
  ])('refuses a block that %s', (_, text, message) => {
    expect(() => programsOf('page.md', text)).toThrow(new Error(message));
  });
});
