import { IndexEvent, ReflectionKind } from 'typedoc';

const EXPORTED =
  ReflectionKind.SomeModule | ReflectionKind.ClassOrInterface | ReflectionKind.VariableOrFunction | ReflectionKind.TypeAlias;
const CALLED = ReflectionKind.Method | ReflectionKind.Constructor | ReflectionKind.Accessor;

/** Has the search find guides by their subjects, and show them before the many members that have a word in their names. */
export function rankResults(app) {
  app.renderer.on(IndexEvent.PREPARE_INDEX, (event) => {
    event.searchFieldWeights.subject = 10;
    for (const [i, result] of event.searchResults.entries()) {
      if (result.isDocument()) event.searchFields[i] = { subject: subjectOf(result.content) };
      result.relevanceBoost = rank(result);
    }
  });
}

/**
 * By what typedoc multiplies the score of a result. It multiplies once more, by up to 10, those whose name begins with what is
 * looked for.
 */
function rank(result) {
  if (result.isDocument()) return result.frontmatter.group === 'Examples' ? 2 : 30;
  if (result.kindOf(EXPORTED)) return 1;
  return result.kindOf(CALLED) ? 0.5 : 0.1;
}

/** The headings of a page, and its first paragraph. */
function subjectOf(parts) {
  const text = parts
    .filter(({ text }) => !text.startsWith('```'))
    .map(({ text }) => text)
    .join('');
  const [title = '', lead = ''] = text.split('\n\n');
  const headings = Array.from(text.matchAll(/^##+ (.*)$/gm), ([, heading]) => heading);
  return [title, lead, ...headings].join('\n');
}
