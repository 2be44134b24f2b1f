import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getLlama } from 'node-llama-cpp';

// A tiny model of the llama family with random weights: it says nothing, but all of the engine works.
const EMBEDDING = 256;
const FEED_FORWARD = 512;
const LAYERS = 4;
const HEADS = 4;
const u32 = (n) => Buffer.from(new Uint32Array([n]).buffer);
const f32 = (n) => Buffer.from(new Float32Array([n]).buffer);
const u64 = (n) => Buffer.from(new BigUint64Array([BigInt(n)]).buffer);
const text = (string) => Buffer.concat([u64(Buffer.byteLength(string)), Buffer.from(string)]);
const array = (type, items) => [u32(9), u32(type), u64(items.length), ...items];
const bytesOfTokens = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
const words = Array.from({ length: 3000 }, (_, i) => `▁word${i}`);
const tokens = ['<unk>', '<s>', '</s>', ...bytesOfTokens, '▁', ...words];
const types = tokens.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1));
const settings = [
  ['general.architecture', [u32(8), text('llama')]],
  ['llama.context_length', [u32(4), u32(512)]],
  ['llama.embedding_length', [u32(4), u32(EMBEDDING)]],
  ['llama.block_count', [u32(4), u32(LAYERS)]],
  ['llama.feed_forward_length', [u32(4), u32(FEED_FORWARD)]],
  ['llama.attention.head_count', [u32(4), u32(HEADS)]],
  ['llama.rope.dimension_count', [u32(4), u32(EMBEDDING / HEADS)]],
  ['llama.attention.layer_norm_rms_epsilon', [u32(6), f32(1e-5)]],
  ['llama.vocab_size', [u32(4), u32(tokens.length)]],
  ['tokenizer.ggml.model', [u32(8), text('llama')]],
  ['tokenizer.ggml.tokens', array(8, tokens.map(text))],
  [
    'tokenizer.ggml.scores',
    array(
      6,
      tokens.map((_, i) => f32(-i)),
    ),
  ],
  ['tokenizer.ggml.token_type', array(5, types.map(u32))],
  ['tokenizer.ggml.bos_token_id', [u32(4), u32(1)]],
  ['tokenizer.ggml.eos_token_id', [u32(4), u32(2)]],
];
const square = [EMBEDDING, EMBEDDING];
const layer = (i) => [
  [`blk.${i}.attn_norm.weight`, [EMBEDDING]],
  [`blk.${i}.attn_q.weight`, square],
  [`blk.${i}.attn_k.weight`, square],
  [`blk.${i}.attn_v.weight`, square],
  [`blk.${i}.attn_output.weight`, square],
  [`blk.${i}.ffn_norm.weight`, [EMBEDDING]],
  [`blk.${i}.ffn_gate.weight`, [EMBEDDING, FEED_FORWARD]],
  [`blk.${i}.ffn_up.weight`, [EMBEDDING, FEED_FORWARD]],
  [`blk.${i}.ffn_down.weight`, [FEED_FORWARD, EMBEDDING]],
];
const tensors = [
  ['token_embd.weight', [EMBEDDING, tokens.length]],
  ['output_norm.weight', [EMBEDDING]],
  ['output.weight', [EMBEDDING, tokens.length]],
  ...Array.from({ length: LAYERS }, (_, i) => layer(i)).flat(),
];
const head = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(settings.length)];
for (const [key, value] of settings) head.push(text(key), ...value);
const data = [];
let offset = 0;
for (const [name, shape] of tensors) {
  head.push(text(name), u32(shape.length), ...shape.map(u64), u32(0), u64(offset));
  const count = shape.reduce((product, n) => product * n, 1);
  data.push(Buffer.from(new Float32Array(count).map((_, i) => ((i * 7919) % 2000) / 1e4 - 0.1).buffer));
  offset += 4 * count;
}
const header = Buffer.concat(head);
const folder = mkdtempSync(join(tmpdir(), 'explain-llama-'));
const modelPath = join(folder, 'tiny.gguf');
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
writeFileSync(modelPath, Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), ...data]));

const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
const model = await llama.loadModel({ modelPath });
// One thread: several wait for each other by turning in circles, which takes more of the processors than the work.
const context = await model.createContext({ contextSize: 512, threads: 1 });
const sequence = context.getSequence();
await sequence.evaluateWithoutGeneratingNewTokens(model.tokenize('word1 word2 word3 '.repeat(6)));
globalThis.kept = [llama, model, context, sequence];
process.exit(0);
