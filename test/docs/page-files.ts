import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { ggufBytes } from '../fixtures/gguf-bytes.js';
import { networkModel } from '../hosts/onnx-model.js';
import type { PageProgram } from './page-blocks.js';

const ROOT = resolve(import.meta.dirname, '../..');
const unzipped = (path: string) => gunzipSync(readFileSync(join(ROOT, path)));

/** A model of two layers, all of it zeros. */
function smallModel(): Uint8Array {
  const u32 = (value: number) => ({ type: 4, value }) as const;
  const names = ['token_embd', ...[0, 1].flatMap((layer) => ['attn_q', 'ffn_up'].map((part) => `blk.${layer}.${part}`))];
  const tensors = names.map((name, n) => ({ name: `${name}.weight`, ne: [256, 256], type: 1, offset: n * 256 * 256 * 2 }));
  return ggufBytes({
    metadata: [
      ['general.architecture', { type: 8, value: 'llama' }],
      ['llama.embedding_length', u32(256)],
      ['llama.block_count', u32(2)],
      ['llama.feed_forward_length', u32(256)],
      ['llama.context_length', u32(8192)],
      ['llama.attention.head_count', u32(4)],
      ['llama.vocab_size', u32(256)],
    ],
    tensors,
    data: new Uint8Array(names.length * 256 * 256 * 2),
  });
}

/** What the programs of pages find in their working folder, by the name that stands in the program. */
const FILES: Readonly<Record<string, () => Uint8Array>> = {
  'model.gguf': smallModel,
  'model.onnx': () => networkModel({ inputs: 64, hidden: 64, layers: 2 }),
  'snapshot.pickle': () => unzipped('test/whatif/snapshots/default.pickle.gz'),
};

/** Puts the files into a folder that the program names. */
export function prepareFor({ code }: PageProgram, folder: string): void {
  for (const [name, make] of Object.entries(FILES)) if (code.includes(`'${name}'`)) writeFileSync(join(folder, name), make());
}
