// Compiles slabs.c to machine code for x64 in slab-code.ts: `npm run build:slabs`. Needs gcc and binutils; nobody
// who uses or builds the library does. Another version of gcc writes other bytes that do the same: test/hosts/native-slabs.test.ts
// runs the committed ones and, where there is a gcc, what it makes of the source.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the heap lies behind the start of the code. */
const HEAP_OFFSET_BYTES = 64 * 1024;
const FUNCTIONS = ['sqlite_malloc', 'sqlite_realloc', 'sqlite_roundup', 'slabs_free', 'slabs_size'];
// Nothing may call a library, and no table of the linker may be needed.
const OPTIONS = [
  ...[
    '-std=c11',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-O2',
    '-march=x86-64',
    '-mno-red-zone',
    '-fcf-protection',
    '-fPIC',
    '-ffreestanding',
  ],
  ...[
    '-nostdlib',
    '-fno-builtin',
    '-fno-stack-protector',
    '-fno-asynchronous-unwind-tables',
    '-fno-tree-loop-distribute-patterns',
  ],
];
const SCRIPT = `SECTIONS { . = 0; .text : { *(.text .text.*) } heap = ${HEAP_OFFSET_BYTES}; /DISCARD/ : { *(.comment .note* .eh_frame*) } }`;

/** @returns the code in base64, and where each function starts @throws an Error with the compiler's messages */
export function compileSlabs() {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-slabs-'));
  const path = (name) => join(folder, name);
  const run = (program, ...args) => execFileSync(program, args, { encoding: 'utf8' });
  try {
    writeFileSync(path('script'), SCRIPT);
    run('gcc', ...OPTIONS, '-c', here('slabs.c'), '-o', path('slabs.o'));
    run('ld', '-T', path('script'), path('slabs.o'), '-o', path('slabs'));
    run('objcopy', '-O', 'binary', '-j', '.text', path('slabs'), path('bytes'));
    const symbols = new Map([...run('nm', path('slabs')).matchAll(/^([0-9a-f]+) T (\w+)$/gm)].map(([, at, name]) => [name, at]));
    const offsets = Object.fromEntries(FUNCTIONS.map((name) => [name, Number.parseInt(symbols.get(name), 16)]));
    return { base64: readFileSync(path('bytes')).toString('base64'), offsets };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function fileOf({ base64, offsets }) {
  return [
    '// Written by compile.mjs: do not edit.\n',
    '/** What slabs.c is on x64: code that runs wherever a page starts, and where its functions are. */',
    'export const SLAB_CODE = {',
    '  base64: [',
    ...base64.match(/.{1,112}/g).map((line) => `    '${line}',`),
    "  ].join(''),",
    '  offsets: {',
    ...Object.entries(offsets).map(([name, offset]) => `    ${name}: ${offset},`),
    '  },',
    '};\n',
  ].join('\n');
}

function here(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(here('slab-code.ts'), fileOf(compileSlabs()));
