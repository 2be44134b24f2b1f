import { MemoryError } from '../core/errors.js';
import { ADVICE } from './advice.js';
import type { GiveBackStep, MemoryCategory, MemoryExplanation } from './memory-explanation.js';

const MOST_CATEGORIES = 1 << 20;
const MOST_SHOWN = 40;

/**
 * Reads an explanation that was written as JSON. What it has beside the known fields is left out.
 *
 * @param file - for messages
 * @throws ERR_MEM_BAD_INPUT
 */
export function parseExplanation(text: string, file: string): MemoryExplanation {
  const bad = (reason: string) => new MemoryError('ERR_MEM_BAD_INPUT', { file, line: 1, reason });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw bad(`it is no JSON: ${error instanceof Error ? error.message : ''}`);
  }
  const { version, pid, residentBytes, namedBytes, categories, view, program, giveBack } = (value ?? {}) as Record<
    string,
    unknown
  >;
  if (version !== 1) throw bad(`its version is ${shown(version)}, not 1: it is no explanation that this release can read`);
  const isBytes = (bytes: unknown): bytes is number => typeof bytes === 'number' && Number.isSafeInteger(bytes) && bytes >= 0;
  for (const [name, bytes] of Object.entries({ pid, residentBytes, namedBytes })) {
    if (!isBytes(bytes)) throw bad(`${name} is ${shown(bytes)}, not a number from 0 on`);
  }
  if (!Array.isArray(categories) || categories.length > MOST_CATEGORIES) throw bad('categories is no list, or too long');
  const read = categories.map((category: unknown, i): MemoryCategory => {
    const { kind, name, residentBytes, reclaimableBytes, advice } = (category ?? {}) as Record<string, unknown>;
    const isKind = typeof kind === 'string' && Object.hasOwn(ADVICE, kind);
    if (
      !isKind ||
      typeof name !== 'string' ||
      !isBytes(residentBytes) ||
      !(reclaimableBytes === null || isBytes(reclaimableBytes))
    ) {
      throw bad(`category ${i} is ${shown(category)}: it needs a known kind, a name, residentBytes and reclaimableBytes`);
    }
    const text = typeof advice === 'string' ? advice : '';
    return { kind: kind as MemoryCategory['kind'], name, residentBytes, reclaimableBytes, advice: text };
  });
  return {
    version: 1,
    pid: pid as number,
    residentBytes: residentBytes as number,
    namedBytes: namedBytes as number,
    categories: read,
    view: view === 'outside' ? 'outside' : 'inside',
    program: typeof program === 'string' ? program : '',
    giveBack: Array.isArray(giveBack) ? giveBack.filter(isStep) : [],
  };

  function isStep(step: unknown): step is GiveBackStep {
    const { step: name, bytes, how } = (step ?? {}) as Record<string, unknown>;
    const isKnown =
      ['V8', 'managers', 'C library'].includes(name as string) && ['tried', 'estimated', 'unknown'].includes(how as string);
    return isKnown && (bytes === null || isBytes(bytes));
  }
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing';
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
}
