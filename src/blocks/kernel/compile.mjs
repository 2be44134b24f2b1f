// Compiles the kernel to WebAssembly and writes it, as text, to src/blocks/kernel-bytes.ts: `npm run build:kernel`.
// The result is part of the repository, so that nobody who uses or builds the library needs this step;
// test/blocks/kernel.test.ts holds it against the sources.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const OPTIONS = [
  ...['--optimizeLevel', '3', '--shrinkLevel', '0', '--converge', '--noAssert', '--runtime', 'minimal', '--enable', 'simd'],
  // The first 64 bytes are the row of null.
  ...['--memoryBase', '64'],
];

/** @returns the module's bytes as base64 @throws an Error with the compiler's messages */
export async function compileKernel() {
  const files = new Map();
  const { error, stderr } = await asc.main(['index.ts', '--outFile', 'kernel.wasm', '--baseDir', directory('.'), ...OPTIONS], {
    writeFile: (name, contents) => files.set(name, contents),
  });
  if (error) throw new Error(`the kernel does not compile\n${stderr.toString()}`);
  return Buffer.from(files.get('kernel.wasm')).toString('base64');
}

function directory(path) {
  return fileURLToPath(new URL(path, import.meta.url));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const lines = (await compileKernel()).match(/.{1,120}/g).map((line) => `  '${line}',`);
  writeFileSync(
    directory('../kernel-bytes.ts'),
    `// Written by kernel/compile.mjs: do not edit.\n\n/** The kernel as WebAssembly, in base64. */\nexport const KERNEL_BYTES = [\n${lines.join('\n')}\n].join('');\n`,
  );
}
