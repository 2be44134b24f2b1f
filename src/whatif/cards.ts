import { MiB } from '../core/units.js';

/** A card, and how much of its memory an allocator can get. */
export interface CardMemory {
  readonly title: string;
  /** What `nvidia-smi` shows as its total. */
  readonly totalBytes: number;
  /** What is left beside the context. */
  readonly usableBytes: number;
}

/**
 * What a process takes of a card beside its allocator's memory: the context, loaded kernels, and what the driver keeps.
 *
 * Large: measured with PyTorch 2.11 and CUDA 13.0 on an H200: of 150,754,820,096 bytes 1,505,624,064 were neither free nor the allocator's.
 * Small: taken, not measured here; a process with one number on an older card was seen with 723 MiB.
 *
 * @see Source: https://discuss.pytorch.org/t/what-is-the-reason-for-pytorchs-gpu-memory-floor/73021
 */
const CONTEXT_MIB = { large: 1436, small: 768 } as const;

/**
 * Totals in MiB, as `nvidia-smi` shows them.
 *
 * @see Source: https://github.com/modal-labs/modal-client/pull/2797 for h100-80g, a100, a10, l40s, l4 and t4; the others from outputs of
 *   `nvidia-smi` that stand in public repositories
 */
const TOTALS: readonly (readonly [name: string, title: string, totalMib: number, context: keyof typeof CONTEXT_MIB])[] = [
  ['b200', 'NVIDIA B200', 183_359, 'large'],
  ['h200', 'NVIDIA H200', 143_771, 'large'],
  ['h100-80g', 'NVIDIA H100 80 GB', 81_559, 'large'],
  ['h100-nvl', 'NVIDIA H100 NVL', 95_830, 'large'],
  ['a100-80g', 'NVIDIA A100 80 GB', 81_920, 'large'],
  ['a100-40g', 'NVIDIA A100 40 GB', 40_960, 'small'],
  ['a30', 'NVIDIA A30', 24_576, 'small'],
  ['a10', 'NVIDIA A10, A10G', 23_028, 'small'],
  ['l40s', 'NVIDIA L40S', 46_068, 'small'],
  ['l4', 'NVIDIA L4', 23_034, 'small'],
  ['t4', 'NVIDIA T4', 15_360, 'small'],
  ['v100-32g', 'NVIDIA V100 32 GB', 32_510, 'small'],
  ['v100-16g', 'NVIDIA V100 16 GB', 16_160, 'small'],
  ['rtxa6000', 'NVIDIA RTX A6000', 49_140, 'small'],
  ['rtx5090', 'NVIDIA GeForce RTX 5090', 32_607, 'small'],
  ['rtx4090', 'NVIDIA GeForce RTX 4090', 24_564, 'small'],
  ['rtx4080', 'NVIDIA GeForce RTX 4080', 16_376, 'small'],
  ['rtx3090', 'NVIDIA GeForce RTX 3090', 24_576, 'small'],
  ['rtx3060', 'NVIDIA GeForce RTX 3060 12 GB', 12_288, 'small'],
];

/** Common cards, by the name that the command knows. */
export const CARDS: ReadonlyMap<string, CardMemory> = new Map(
  TOTALS.map(([name, title, totalMib, context]) => [
    name,
    { title, totalBytes: totalMib * MiB, usableBytes: (totalMib - CONTEXT_MIB[context]) * MiB },
  ]),
);
