/** How guides call what they have one of: `runtime.allocate` is a method of MemoryRuntime. */
const VARIABLES = { runtime: 'MemoryRuntime', slot: 'ManagerSlot', budget: 'MemoryBudget', host: 'MemoryHost' };
/** `name`, `name.member`, either with arguments. Others have characters that mean something in markdown. */
const NAMING = /^(?:new )?(?:runtime\.(?=slot\.))?(?<name>\w+)(?:\.(?<member>\w+))?(?<call>\([\w\s.,:?{}'’…=>-]*\))?$/;
const IMPORT = /^import (?:type )?\{(?<names>[^}]*)\} from '(?<path>stowage[\w/-]*)'/gm;

/** @returns what the entry points export, by the names that guides use */
export function exportedSymbols(project) {
  const modules = new Map();
  const symbols = new Map();
  for (const module of project.children ?? []) {
    modules.set(module.name, module);
    for (const child of module.children ?? []) {
      if (child.variant !== 'reference' && !symbols.has(child.name)) symbols.set(child.name, child);
    }
  }

  return {
    /** What a piece of code names, such as `PoolMemoryManager` or `runtime.allocate(bytes)`; undefined for nothing exported. */
    namedBy(code) {
      if (code.includes('/')) return modules.get(code);
      const { name, member, call } = NAMING.exec(code)?.groups ?? {};
      if (name === undefined) return undefined;
      if (member !== undefined) return symbols.get(VARIABLES[name] ?? name)?.children?.find((child) => child.name === member);
      // A word such as `limit` is an option, a column, or a command more often than a function.
      return call === undefined && !/[A-Z]/.test(name) ? undefined : symbols.get(name);
    },

    /** Whether a module exports it by itself: it is no member of a class. */
    isExported: (symbol) => modules.get(symbol.parent?.name) === symbol.parent,

    /** What the code blocks of a page import, and from where. */
    importedBy(parts) {
      const code = parts.flatMap(({ kind, text }) => (kind === 'code' && text.startsWith('```') ? [text] : [])).join('\n');
      const imports = Array.from(code.matchAll(IMPORT), ({ groups }) => groups);
      const names = imports.flatMap(({ names }) => names.split(','));
      const found = names.map((name) =>
        symbols.get(
          name
            .trim()
            .replace(/^type /, '')
            .replace(/ as .*/, ''),
        ),
      );
      return new Set([...found, ...imports.map(({ path }) => modules.get(path))].filter((symbol) => symbol !== undefined));
    },
  };
}
