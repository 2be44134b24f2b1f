// Compiles the kernel to WebAssembly: `npm run build:kernel`. Writes it as text to src/blocks/kernel-bytes.ts, and what
// TypeScript has to know of it to src/blocks/kernel-interface.ts: signatures, constants, and where counters lie.
// Both are part of the repository, so that nobody who uses or builds the library needs this step;
// test/blocks/kernel.test.ts holds them against the sources.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const OPTIONS = [
  ...['--optimizeLevel', '3', '--shrinkLevel', '0', '--noAssert', '--runtime', 'minimal', '--enable', 'simd'],
  // The first 64 bytes are the row of null.
  ...['--memoryBase', '64'],
];
/** Writes declarations of what is exported, beside a module with a run time that is not needed. */
const DECLARATIONS = ['--bindings', 'raw', '--enable', 'simd'];

/** AssemblyScript's structures, as places in the kernel's memory. */
const STRUCTURES = { Block: 'Block', FreeBlocks: 'KernelAddress', Heap: 'KernelAddress', Statistics: 'KernelAddress' };

/** @returns the texts of the generated files by their names @throws an Error with the compiler's messages */
export async function compileKernel() {
  const bytes = (await compile(OPTIONS)).get('kernel.wasm');
  const declarations = (await compile(DECLARATIONS)).get('kernel.d.ts');
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { abort() {} } });
  return {
    'kernel-bytes.ts': bytesFile(bytes),
    'kernel-interface.ts': interfaceFile(declarations, exports, readFileSync(path('layout.ts'), 'utf8')),
  };
}

async function compile(options) {
  const files = new Map();
  const { error, stderr } = await asc.main(['index.ts', '--outFile', 'kernel.wasm', '--baseDir', path('.'), ...options], {
    writeFile: (name, contents) => files.set(name, contents),
  });
  if (error) throw new Error(`the kernel does not compile\n${stderr.toString()}`);
  return files;
}

function bytesFile(bytes) {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .match(/.{1,120}/g);
  return fileOf(
    '/** The kernel as WebAssembly, in base64. */\nexport const KERNEL_BYTES = [',
    ...lines.map((line) => `  '${line}',`),
    "].join('');",
  );
}

/** @param declarations - what the compiler says of exports: a comment names each with the types of its sources */
function interfaceFile(declarations, exports, layout) {
  const constants = Object.keys(exports).filter((name) => exports[name] instanceof WebAssembly.Global);
  const signatures = [...declarations.matchAll(/\/\*\*\n([^/]*?\/.*?)\*\/\n\s+export function (\w+)/gs)].map(([, text, name]) => {
    const parameters = [...text.matchAll(/@param (\w+) `(.+)`/g)].map(([, parameter, type]) => `${parameter}: ${typeOf(type)}`);
    return `  ${name}(${parameters.join(', ')}): ${typeOf(/@returns `(.+)`/.exec(text)?.[1] ?? 'void')};`;
  });
  return fileOf(
    '/** A block, by its place in the memory of the kernel; 0 is none. */\nexport type Block = number;',
    '/** A structure, by its address in the memory of the kernel. */\nexport type KernelAddress = number;\n',
    '/** What the kernel exports; kernel/index.ts says what each function does. */\nexport interface Kernel {',
    '  readonly memory: { readonly buffer: ArrayBuffer };',
    ...signatures,
    '}\n',
    ...constants.map((name) => `export const ${name} = ${exports[name].value};`),
    '\n/** Where each counter of a heap is among its doubles. */\nexport const COUNTERS = {',
    ...fieldsOf('Statistics', layout).map((name, at) => `  ${name}: ${at},`),
    '} as const;',
  );
}

function typeOf(type) {
  if (type === 'void') return type;
  const [, structure] = /^layout\/(\w+)( \| null)?$/.exec(type) ?? [];
  return structure === undefined ? 'number' : STRUCTURES[structure];
}

/** The names of a structure's fields, all of them doubles. */
function fieldsOf(structure, layout) {
  const body = new RegExp(`class ${structure} \\{\\n(.*?)\\n\\}`, 's').exec(layout)[1];
  const lines = body.split('\n').filter((line) => !/^\s*\/\*\*.*\*\/$/.test(line));
  return lines.map((line) => /^\s*(\w+): f64;$/.exec(line)[1]);
}

function fileOf(...lines) {
  return `// Written by kernel/compile.mjs: do not edit.\n\n${lines.join('\n')}\n`;
}

function path(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of Object.entries(await compileKernel())) writeFileSync(path(`../${name}`), text);
}
