/**
 * What the resident set of a process is made of, and giving memory back.
 *
 * @module
 */

export { compareExplanations, type ExplanationDiff, type GrownMemory } from './compare-explanations.js';
export { explainFromEnvironment } from './explain-from-environment.js';
export { type ExplainOptions, explainMemory } from './explain-memory.js';
export { type ExplanationPageFacts, renderExplanation } from './explanation-page.js';
export type { ExplanationView, GiveBackStep, MemoryCategory, MemoryExplanation, MemoryKind } from './memory-explanation.js';
export { parseExplanation } from './parse-explanation.js';
export { type TrimOptions, type TrimReport, type TrimStep, trimMemory } from './trim-memory.js';
