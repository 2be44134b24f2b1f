import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { Converter, DocumentReflection, KindRouter } from 'typedoc';

const ROOT = resolve(import.meta.dirname, '../../..');
const DOCS = join(ROOT, 'docs');
const EXAMPLES = join(DOCS, 'examples');
const LANGUAGES = { mjs: 'js', mts: 'ts', ts: 'ts', yaml: 'yaml' };

/** The pages that docs/README.md lists, itself first, and the headings that they stand under. */
function listedPages() {
  const index = join(DOCS, 'README.md');
  const sections = readFileSync(index, 'utf8').split(/^## /m).slice(1);
  const headings = sections.map((section) => section.slice(0, section.indexOf('\n')));
  const pages = sections.flatMap((section, i) => {
    return Array.from(section.matchAll(/\]\(([^):#]+\.md)\)/g), ([, link]) => [resolve(DOCS, link), headings[i]]);
  });
  return { headings, pages: [[index, headings[0]], ...pages] };
}

/** Names of files of a folder in the order in which its README names them; the README comes first, others come last. */
function inOrder(folder, names) {
  const index = names.includes('README.md') ? readFileSync(join(folder, 'README.md'), 'utf8') : '';
  // -1 for what it does not name becomes the largest.
  const place = (name) => (name === 'README.md' ? -1 : index.indexOf(`](${name})`) >>> 0);
  return names.sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
}

/** The pages of each folder of docs, such as docs/recipes, in a group with the folder's name: `Coming from`. */
function pagesOfFolders() {
  const folders = readdirSync(DOCS, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== 'api');
  return folders.flatMap(({ name }) => {
    const group = (name[0].toUpperCase() + name.slice(1)).replaceAll('-', ' ');
    const pages = readdirSync(join(DOCS, name)).filter((page) => page.endsWith('.md'));
    return inOrder(join(DOCS, name), pages).map((page) => [join(DOCS, name, page), group]);
  });
}

/** Where a page of docs or of the root is on the site, without its ending. A folder's README is its index. */
function addressOf(path) {
  const inDocs = relative(DOCS, path);
  const name = inDocs.startsWith('..') ? basename(path) : inDocs;
  return `guides/${name.replace(/\.md$/, '').replace(/README$/, 'index')}`;
}

/** The first heading of a page, which is its name on the site. */
const titleOf = (text) => /^# (.+)$/m.exec(text)?.[1].replaceAll('`', '');

/** Takes the first heading out of the README's text: the theme shows the project's name above it. */
function withoutTitle([first]) {
  if (first !== undefined) first.text = first.text.replace(/^# .+\n/, '');
}

/**
 * Adds the guides, in the groups and the order of docs/README.md, pages of folders behind them, and the examples.
 * A page's address is its path in docs: `guides/recipes/find-a-leak.html`.
 */
export function addGuides(app) {
  const { headings, pages } = listedPages();
  const groups = new Map([...pages, ...pagesOfFolders()]);
  app.options.setValue(
    'projectDocuments',
    Array.from(groups.keys(), (page) => relative(ROOT, page)),
  );
  app.options.setValue('groupOrder', [...new Set([...headings, ...groups.values(), 'Examples', 'API'])]);

  const addresses = new Map();
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, page) => {
    const path = page.project.files.getReflectionPath(page);
    page.frontmatter.group = groups.get(path);
    page.name = titleOf(readFileSync(path, 'utf8')) ?? basename(path, '.md');
    addresses.set(page, addressOf(path));
  });
  app.converter.on(Converter.EVENT_CREATE_PROJECT, (_context, project) => {
    for (const name of inOrder(EXAMPLES, readdirSync(EXAMPLES))) {
      const language = LANGUAGES[name.split('.').pop()];
      if (language === undefined) continue;
      const path = join(EXAMPLES, name);
      const example = new DocumentReflection(name, project, exampleText(name, readFileSync(path, 'utf8'), language), {
        group: 'Examples',
      });
      project.addChild(example);
      project.registerReflection(example, undefined, path);
      addresses.set(example, `examples/${name}`);
    }
    const index = project.documents.find((page) => project.files.getReflectionPath(page) === join(EXAMPLES, 'README.md'));
    project.files.registerReflectionPath(EXAMPLES, index);
  });

  // The README has been read by then.
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => withoutTitle(project.readme ?? []), -1000);

  app.renderer.defineRouter(
    'stowage',
    class extends KindRouter {
      getIdealBaseName(reflection) {
        return addresses.get(reflection) ?? super.getIdealBaseName(reflection);
      }
    },
  );
  app.options.setValue('router', 'stowage');
}

/** The name of an example, what the comment at its head says, and its code. */
function exampleText(name, code, language) {
  const [head] = /^(\/\/ .*\n)*/.exec(code);
  const text = head.replaceAll(/^\/\/ /gm, '').replaceAll('<', '&lt;');
  return [
    { kind: 'text', text: `# ${name}\n\n${text}\n` },
    { kind: 'code', text: `\`\`\`${language}\n${code}\`\`\`` },
  ];
}
