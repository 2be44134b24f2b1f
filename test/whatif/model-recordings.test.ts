import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { GiB, KiB, MiB } from '../../src/core/units.js';
import { loadTrace } from '../../src/trace/trace-reader.js';
import { whatIf } from '../../src/whatif/what-if.js';
import { searchRuns } from '../config/search.js';
import { writeAnew } from '../fixtures/write-anew.js';
import { ModelRecording, type Request } from './model-recording.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-whatif-'));
afterAll(() => rmSync(folder, { recursive: true }));

const STREAMS = 3;
const stream = fc.nat(STREAMS - 1);
const size = fc.oneof(
  fc.integer({ min: 1, max: 4 * KiB }),
  fc.integer({ min: 1, max: 3 * MiB }),
  fc.integer({ min: MiB, max: 80 * MiB }),
);
const request: fc.Arbitrary<Request> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc
      .record({ alloc: size, stream: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, stream) })
      // As for a captured graph: the pool of a refused request is told by its stream alone.
      .map(({ alloc, stream }) => ({ alloc, stream, pool: stream === 2 ? 1 : 0 })),
  },
  { weight: 8, arbitrary: fc.record({ free: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ use: fc.nat(), stream }) },
  { weight: 2, arbitrary: fc.record({ finish: stream }) },
);
/** With calls that empty the cache: without a limit it is told by what is reserved later that they were the program's. */
const unlimited = fc.array(
  fc.oneof({ weight: 22, arbitrary: request }, { weight: 1, arbitrary: fc.constant({ emptyCache: true } as const) }),
  {
    maxLength: 80,
    size: 'max',
  },
);
const limited = fc.array(request, { maxLength: 80, size: 'max' });
/** Under a limit it matters whether a stream was done with a block before the allocator waited for it, which a snapshot does not tell. */
const withoutUses = limited.map((program) => program.filter((each) => !('use' in each)));
/** Under some settings memory of private pools may go back, too. */
const plain = withoutUses.map((program) => program.filter((each) => !('alloc' in each && each.pool > 0)));
const END: readonly Request[] = [1, 2 * MiB, 8 * GiB].map((alloc) => ({ alloc, stream: 0, pool: 0 }));

/** What the snapshot of a program says under its own setting, beside what the program did. */
async function answerTo(conf: string, limitBytes: number | undefined, program: readonly Request[], share: number) {
  const recording = new ModelRecording(conf, limitBytes);
  for (const each of program) recording.perform(each);
  const from = Math.floor(recording.length * share);
  if (recording.count(['alloc'], 0) === 0) return undefined;
  const path = join(folder, 'snapshot.pickle');
  writeAnew(path, recording.pickle(from));
  const events = await loadTrace(path);
  const limits = limitBytes === undefined ? [] : [{ bytes: limitBytes }];
  const { results } = whatIf(events, [{ conf }], { limits, leastLimit: false });
  const { fits, peakReservedBytes, nativeAllocs, nativeFrees } = results[0]!;
  return {
    found: { fits, peakReservedBytes, nativeAllocs, nativeFrees },
    wanted: {
      fits: !recording.isRefused,
      peakReservedBytes: recording.peakFrom(from),
      nativeAllocs: recording.count(['segment_alloc', 'segment_map'], from),
      nativeFrees: recording.count(['segment_free', 'segment_unmap'], from),
    },
  };
}

const CASES = [
  { conf: '', programs: unlimited, underLimit: withoutUses, halves: true },
  { conf: 'roundup_power2_divisions:4', programs: unlimited, underLimit: withoutUses, halves: true },
  // What was collected by age cannot be told from what the program asked for.
  { conf: 'garbage_collection_threshold:0.5', programs: limited, underLimit: plain, halves: true },
  // Where an address range begins is not in a snapshot.
  { conf: 'expandable_segments:True', programs: unlimited, underLimit: withoutUses, halves: false },
  { conf: 'max_split_size_mb:32', programs: unlimited, underLimit: plain, halves: false },
];

/** Fails for a program whose snapshot says otherwise than it did. */
async function expectAnswers(conf: string, limitBytes: number | undefined, programs: typeof limited, share: number) {
  await fc.assert(
    fc.asyncProperty(programs, async (program) => {
      const answer = await answerTo(conf, limitBytes, limitBytes === undefined ? [...program, ...END] : program, share);
      expect(answer?.found).toEqual(answer?.wanted);
    }),
    { numRuns: searchRuns(25) },
  );
}

describe('a snapshot comes out as its program was', () => {
  test.each(CASES)('under $conf', ({ conf, programs }) => expectAnswers(conf, undefined, programs, 0));

  test.each(CASES)('under $conf and a limit', ({ conf, underLimit }) => expectAnswers(conf, 300 * MiB, underLimit, 0));

  test.each(CASES.filter(({ halves }) => halves))('under $conf, where the history begins in the middle', ({ conf, programs }) =>
    expectAnswers(conf, undefined, programs, 0.5),
  );
});
