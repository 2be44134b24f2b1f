// Writes a small safetensors file, and loads it: as views of the file, and as copies.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultRuntime } from 'stowage';
import { estimateModelMemory, fitToMemory, ModelLoader } from 'stowage/model';

const folder = mkdtempSync(join(tmpdir(), 'stowage-example-'));
const path = join(folder, 'tiny.safetensors');
const header = Buffer.from(
  JSON.stringify({
    'model.embed_tokens.weight': { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
    'model.layers.0.mlp.up_proj.weight': { dtype: 'F16', shape: [4], data_offsets: [16, 24] },
  }).padEnd(184),
);
const length = Buffer.alloc(8);
length.writeBigUInt64LE(BigInt(header.length));
writeFileSync(
  path,
  Buffer.concat([length, header, Buffer.from(Float32Array.of(1, 2, 3, 4).buffer), Buffer.alloc(8)]),
);

const loader = await ModelLoader.open(path);
const embedding = loader.tensor('model.embed_tokens.weight');
console.log(`the file says ${embedding.view(Float32Array).join(' ')}`);
for (const { layer, bytes } of loader.usageByLayer()) console.log(`layer ${layer}: ${bytes} bytes`);

const weights = await loader.load({ runtime: defaultRuntime() });
loader.dispose();
console.log(
  `${weights.count} copies outlive the file: ${weights.get('model.embed_tokens.weight').toArray().join(' ')}`,
);
weights.dispose();

const llama = {
  vocabularySize: 32_000,
  embeddingLength: 4096,
  layers: 32,
  feedForwardLength: 11_008,
  heads: 32,
};
const { totalBytes } = estimateModelMemory(llama);
const { gpuLayers, contextLength, steps } = fitToMemory(llama, 16 * 2 ** 30);
console.log(
  `${(totalBytes / 2 ** 30).toFixed(1)} GiB for all; in 16 GiB: ${gpuLayers} layers, a context of ${contextLength}`,
);
for (const { setting, reason } of steps) console.log(`${setting}: ${reason}`);
rmSync(folder, { recursive: true });
