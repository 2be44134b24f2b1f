import { readFileSync } from 'node:fs';
import { createRequire, SourceMap } from 'node:module';
import { join, resolve } from 'node:path';
import type Compiler from 'typescript';
import packageFile from '../../package.json' with { type: 'json' };
import { sourceDeclarations } from './source-declarations.js';

// By an import Node looks through its nine million characters for names of exports, which takes as long as loading it twice.
const ts: typeof Compiler = createRequire(import.meta.url)('typescript');
const ROOT = resolve(import.meta.dirname, '../..');
const OUT = '/out';

/** A program to compile. */
export interface Source {
  /** Where it is as if it lay there: imports of packages are resolved from there. With .mts or .mjs. */
  readonly path: string;
  readonly code: string;
  /** Whether Node runs it as it is: syntax that is no type, and does something, is an error then. */
  readonly isStripped?: boolean;
}

/** What the compiler says about a program. */
export interface Compiled {
  readonly errors: readonly { readonly line: number; readonly text: string }[];
  /** What Node runs. */
  readonly made: string;
  /** The line of the program that a place in what was made is from; lines from 1. */
  lineOf(line: number, column: number): number;
}

/** The sources of the package's entry points, by the names that programs import. */
const PATHS = Object.fromEntries(
  Object.entries(packageFile.exports).flatMap(([name, targets]) =>
    typeof targets === 'string'
      ? []
      : [[name.replace('.', 'stowage'), [join(ROOT, targets.types.replace('./dist/', '').replace(/\.d\.ts$/, '.ts'))]]],
  ),
);
/** The types of packages that are installed for the tests of hosts alone. */
const OF_HOSTS = { 'onnxruntime-node': 'dist/index.d.ts' };
/** What is the same in every program: read once. */
const files = new Map<string, Compiler.SourceFile | undefined>();
/** What is wrong in JavaScript, too: syntax, and a name or a module that is not there. */
const OF_JAVASCRIPT = (code: number) => code < 2000 || [2304, 2305, 2307, 2551, 2552, 2614, 2724].includes(code);
const NOT_ERASABLE = 1294;
/** What an example has to do without, and a block may. */
const FOR_STRIPPING: Compiler.CompilerOptions = { erasableSyntaxOnly: true, verbatimModuleSyntax: true };

/** The tsconfig.json that README shows. */
function settingsOfReadme(): Compiler.CompilerOptions {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const [, json = ''] = /^```json\n(\{\n {2}"compilerOptions".*?)^```$/ms.exec(readme) ?? [];
  const { options, errors } = ts.convertCompilerOptionsFromJson(JSON.parse(json).compilerOptions, ROOT);
  if (errors.length > 0) throw new Error(ts.flattenDiagnosticMessageText(errors[0]?.messageText, '\n'));
  return options;
}

/**
 * Compiles programs as one program, with the tsconfig.json that README shows, against what the sources of this package
 * declare.
 *
 * @param settings - what a page adds to README's
 * @returns one result for each source
 */
export function compileStrictly(sources: readonly Source[], settings: Compiler.CompilerOptions = {}): Compiled[] {
  const hosts = Object.entries(OF_HOSTS).map(([name, types]) => [name, [join(ROOT, 'test/hosts/node_modules', name, types)]]);
  const options: Compiler.CompilerOptions = {
    ...settingsOfReadme(),
    ...{ allowJs: true, checkJs: true, resolveJsonModule: true, sourceMap: true },
    ...{ rootDir: ROOT, outDir: OUT, paths: { ...PATHS, ...Object.fromEntries(hosts) } },
    ...FOR_STRIPPING,
    ...settings,
  };
  const codes = new Map(sources.map(({ path, code }) => [path, code]));
  const host = ts.createCompilerHost(options);
  // Comments change no type.
  host.jsDocParsingMode = ts.JSDocParsingMode.ParseForTypeErrors;
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => codes.has(path) || fileExists(path);
  host.readFile = (path) => codes.get(path) ?? readFile(path);
  host.getSourceFile = (path, target, ...rest) => {
    const code = codes.get(path);
    if (code !== undefined) return ts.createSourceFile(path, code, target);
    if (!files.has(path)) {
      const declared = sourceDeclarations(path);
      const file = declared === undefined ? getSourceFile(path, target, ...rest) : ts.createSourceFile(path, declared, target);
      files.set(path, file);
    }
    return files.get(path);
  };
  const compiler = ts.createProgram({ rootNames: [...codes.keys()], options, host });
  return sources.map((source) => compileOne(compiler, source));
}

function compileOne(compiler: Compiler.Program, { path, code, isStripped = false }: Source): Compiled {
  const file = compiler.getSourceFile(path);
  if (file === undefined) throw new Error(`${path} is not compiled`);
  const found = [...compiler.getSyntacticDiagnostics(file), ...compiler.getSemanticDiagnostics(file)];
  const errors = found
    .filter((error) => !path.endsWith('.mjs') || OF_JAVASCRIPT(error.code))
    .filter((error) => isStripped || error.code !== NOT_ERASABLE)
    .map(({ start = 0, messageText }) => ({
      line: ts.getLineAndCharacterOfPosition(file, start).line + 1,
      text: ts.flattenDiagnosticMessageText(messageText, ' '),
    }));
  if (isStripped) return { errors, made: code, lineOf: (line) => line };
  const texts = { made: '', map: '{}' };
  compiler.emit(file, (name, text) => (texts[name.endsWith('.map') ? 'map' : 'made'] = text));
  const lineOf = (line: number, column: number) => {
    const entry = new SourceMap(JSON.parse(texts.map)).findEntry(line - 1, column - 1);
    return 'originalLine' in entry ? entry.originalLine + 1 : 1;
  };
  return { errors, made: texts.made, lineOf };
}
