import { Converter } from 'typedoc';
import { exportedSymbols } from './exported-symbols.mjs';
import { Mentions } from './mentions.mjs';

/** Pages that name much and explain little of it: they come last. */
const LISTS = /\/(glossary|architecture|CONTRIBUTING|SECURITY)\.md$/;
const NO_GUIDES = /\/(changelog|README)\.md$/;
/** The README has been read by then. Those who check links come behind. */
const PRIORITY = -1000;

/**
 * Links guides and API to each other. In a guide, code that names something exported leads to it, once a section. What is
 * exported leads to the guides that name it, those that do so most often first, and to the examples that import it.
 */
export function linkGuidesAndApi(app) {
  app.converter.on(
    Converter.EVENT_RESOLVE_BEGIN,
    ({ project }) => {
      const symbols = exportedSymbols(project);
      const mentions = new Mentions();
      for (const page of project.documents ?? []) {
        const isExample = page.frontmatter.group === 'Examples';
        const tag = isExample ? '@examples' : '@guides';
        const path = project.files.getReflectionPath(page);
        const imported = symbols.importedBy(page.content);
        // The examples that import little besides show best what it is for.
        const weight = isExample ? 1 / imported.size : LISTS.test(path) ? 0.001 : 1;
        const mention = (symbol) => {
          if (NO_GUIDES.test(path)) return;
          mentions.add(tag, symbol, page, weight);
          // A page about what a module exports is about the module, if less than one that names it.
          if (symbols.isExported(symbol)) mentions.add(tag, symbol.parent, page, weight / 10);
        };
        for (const symbol of imported) mention(symbol);
        if (!isExample) page.content = linked(page.content, symbols, mention);
      }
      if (project.readme !== undefined) project.readme = linked(project.readme, symbols, () => {});
      mentions.write();
    },
    PRIORITY,
  );
}

/** The parts of a page with links from code to what it names. @param mention - is told each time that something is named */
function linked(parts, symbols, mention) {
  const inSection = new Set();
  let line = '';
  return parts.map((part, i) => {
    if (part.kind === 'text') {
      if (/^#/m.test(part.text)) inSection.clear();
      line = (line + part.text).replace(/^.*\n/s, '');
      return part;
    }
    // What programs print stands in a fence without a language, which typedoc takes for TypeScript.
    if (part.kind !== 'code' || part.text.startsWith('```')) return { ...part, text: part.text.replace(/^```\n/, '```text\n') };
    const before = line;
    line += part.text;
    const symbol = symbols.namedBy(part.text.replaceAll('`', ''));
    if (symbol === undefined) return part;
    mention(symbol);
    const inHeading = before.startsWith('#');
    const inLink = before.lastIndexOf('[') > before.lastIndexOf(']') || parts[i + 1]?.text.startsWith('](');
    if (inHeading || inLink || inSection.has(symbol)) return part;
    inSection.add(symbol);
    return { kind: 'inline-tag', tag: '@linkcode', text: part.text.replaceAll('`', ''), target: symbol };
  });
}
