import type { BudgetReport } from '../../src/budget/index.js';
import type { MemoryReading } from './memory-readings.js';

/** A refusal of the budget. */
export interface BudgetRefusalReading {
  readonly asking: string;
  readonly missingBytes: number;
  /** How much of the limit was in use. */
  readonly usedShare: number;
}

/** What the program of the memory group tells at its end. */
export interface GroupReport {
  readonly seed: number;
  /** How often all that a demand holds was found right. */
  readonly checks: number;
  /** Which demands were refused. */
  readonly refused: readonly string[];
  /** All refusals of the budget, also those after which a manager found a way. */
  readonly refusals: readonly BudgetRefusalReading[];
  /** Blocks that ONNX Runtime got past its manager. */
  readonly fallbacks: number;
  /** Before the engines were closed. */
  readonly budget: Omit<BudgetReport, 'reclaims' | 'tenants'> | undefined;
  /** Before the first demand. */
  readonly atStart: MemoryReading;
  /** Whose anonymous memory was the most. */
  readonly atPeak: MemoryReading;
  /** The most anonymous memory beside what managers had reserved. */
  readonly mostOtherBytes: number;
  readonly elapsedMs: number;
}
