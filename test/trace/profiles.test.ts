import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { Profile } from 'pprof-format';
import { describe, expect, test } from 'vitest';
import { PROFILE_WRITERS, parseTrace, TraceKind } from '../../src/trace/index.js';
import { WHOLE_PROFILE_WRITERS } from '../../src/trace/profile/profile-writers.js';
import { SiteProfile } from '../../src/trace/profile/site-profile.js';
import { protocolSchema } from './protocol-schema.js';
import { randomTrace, written } from './random-trace.js';

const GOLDEN = join(import.meta.dirname, 'golden');
const LINES = [
  '{"displayTimeUnit":"ns","otherData":{"format":"stowage 1","name":"app","clock":"ns"},"traceEvents":[',
  block(1, 'b', 1000, 'at inner (app.js:10:5)\\nat main (app.js:90:1)'),
  block(2, 'b', 500, 'at other (lib/<b>.js:7:2)\\nat main (app.js:91:1)'),
  block(3, 'b', 2000, 'at inner (app.js:10:5)\\nat main (app.js:90:1)'),
  block(3, 'e', 0),
  block(4, 'b', 300, ''),
  block(1, 'e', 0).slice(0, -1),
  ']}',
];
function block(id: number, ph: 'b' | 'e', bytes: number, site = ''): string {
  const args = ph === 'e' ? '{}' : `{"pointer":${id * 4096},"bytes":${bytes}${site === '' ? '' : `,"site":"${site}"`}}`;
  return `{"ph":"${ph}","cat":"block","id":${id},"name":"block","pid":1,"tid":0,"ts":${id},"args":${args}},`;
}
const events = parseTrace(Buffer.from(`${LINES.join('\n')}\n`), 'app.json');
const bytesOf = (format: string) => written(events, PROFILE_WRITERS.get(format)!).bytes;

describe('SiteProfile', () => {
  describe('amounts', () => {
    const profile = new SiteProfile();
    written(events, () => ({ kinds: [], columns: [], write: (batch) => profile.add(batch), end: () => undefined }));
    const amounts = (measure: 'live' | 'allocated' | 'peak') =>
      profile.amounts(measure).map(({ site, blocks, bytes }) => [site.split('\n')[0], blocks, bytes]);

    test('gives what is live at the end, was allocated in all, and was live at the peak, the most bytes first', () => {
      const [inner, other] = ['at inner (app.js:10:5)', 'at other (lib/<b>.js:7:2)'];
      expect(amounts('live')).toEqual([
        [other, 1, 500],
        ['', 1, 300],
      ]);
      expect(amounts('allocated')).toEqual([
        [inner, 2, 3000],
        [other, 1, 500],
        ['', 1, 300],
      ]);
      expect(amounts('peak')).toEqual([
        [inner, 2, 3000],
        [other, 1, 500],
      ]);
    });

    test('agrees with a plain count of any trace', () => {
      fc.assert(
        fc.property(randomTrace, (random) => {
          const counted = new SiteProfile();
          written(random, () => ({ kinds: [], columns: [], write: (batch) => counted.add(batch), end: () => undefined }));
          const live = new Map<number, { site: string; bytes: number }>();
          let peak: { site: string; bytes: number }[] = [];
          const all: { site: string; bytes: number }[] = [];
          const sum = (blocks: Iterable<{ bytes: number }>) => [...blocks].reduce((bytes, one) => bytes + one.bytes, 0);
          for (let i = 0; i < random.length; i++) {
            if (random.kindOf(i) === TraceKind.alloc) {
              const one = { site: random.siteOf(i), bytes: random.bytesOf(i) };
              live.set(random.slotOf(i), one);
              all.push(one);
              if (sum(live.values()) > sum(peak)) peak = [...live.values()];
            } else if (random.kindOf(i) === TraceKind.free) live.delete(random.slotOf(i));
          }
          const plain = { live: [...live.values()], allocated: all, peak };
          for (const measure of ['live', 'allocated', 'peak'] as const) {
            expect(sum(counted.amounts(measure))).toBe(sum(plain[measure]));
            for (const { site, bytes, blocks } of counted.amounts(measure)) {
              const here = plain[measure].filter((one) => one.site === site);
              expect([bytes, measure === 'peak' ? true : blocks === here.length]).toEqual([sum(here), true]);
            }
          }
        }),
        { numRuns: 150 },
      );
    });
  });
});

describe('PROFILE_WRITERS', () => {
  test('pprof is read by its own library, with all measures of each site', () => {
    const profile = Profile.decode(gunzipSync(bytesOf('pprof')));
    const text = (index: number | bigint) => profile.stringTable.strings[Number(index)];
    expect(profile.sampleType.map(({ type, unit }) => `${text(type)}/${text(unit)}`)).toEqual([
      'inuse_objects/count',
      'inuse_space/bytes',
      'alloc_objects/count',
      'alloc_space/bytes',
      'peak_objects/count',
      'peak_space/bytes',
    ]);
    const stacks = profile.sample.map(({ locationId, value }) => {
      const frames = locationId.map((id) => {
        const [line] = profile.location[Number(id) - 1]!.line;
        const called = profile.function[Number(line!.functionId) - 1]!;
        return `${text(called.name)} ${text(called.filename)}:${line!.line}`;
      });
      return [frames, value.map(Number)];
    });
    expect(stacks).toContainEqual([
      ['inner app.js:10', 'main app.js:90'],
      [0, 0, 2, 3000, 2, 3000],
    ]);
    expect(stacks).toContainEqual([
      ['other lib/<b>.js:7', 'main app.js:91'],
      [1, 500, 1, 500, 1, 500],
    ]);
    expect(stacks).toContainEqual([['(unknown site) :0'], [1, 300, 1, 300, 0, 0]]);
  });

  test('speedscope keeps to its published schema, and its weights add up', () => {
    const require = createRequire(import.meta.url);
    const schema = JSON.parse(readFileSync(require.resolve('speedscope/dist/release/file-format-schema.json'), 'utf8'));
    const file = JSON.parse(bytesOf('speedscope').toString());
    const validate = new Ajv({ strict: false }).compile(schema);
    validate(file);
    expect(validate.errors).toBeNull();
    const { profiles, shared } = file;
    expect(profiles.map(({ name, endValue }: { name: string; endValue: number }) => [name, endValue])).toEqual([
      ['live at the peak', 3500],
      ['live at the end', 800],
      ['allocated in all', 3800],
    ]);
    const names = profiles[0].samples[0].map((id: number) => shared.frames[id].name);
    expect([names, profiles[0].weights[0]]).toEqual([['main', 'inner'], 3000]);
  });

  test('heapprofile is a tree of call frames whose sizes add up to the peak', () => {
    const { head, samples } = JSON.parse(bytesOf('heapprofile').toString());
    const sum = ({ selfSize, children }: { selfSize: number; children: never[] }): number =>
      children.reduce((bytes, child) => bytes + sum(child), selfSize);
    expect(sum(head)).toBe(3500);
    expect(samples.map(({ size }: { size: number }) => size).sort()).toEqual([3000, 500]);
    const [inner] = head.children.find(
      (child: { callFrame: { lineNumber: number } }) => child.callFrame.lineNumber === 89,
    ).children;
    expect(inner.callFrame).toEqual({ functionName: 'inner', scriptId: '0', url: 'app.js', lineNumber: 9, columnNumber: 0 });
  });

  test("heapprofile is what Chrome's protocol calls a sampling heap profile", async () => {
    const validate = new Ajv({ strict: false }).compile(await protocolSchema('HeapProfiler.SamplingHeapProfile'));
    validate(JSON.parse(bytesOf('heapprofile').toString()));
    expect(validate.errors).toBeNull();
    expect(validate({ head: {}, samples: [] })).toBe(false);
  });

  describe("Node's own frames", () => {
    const site =
      'at inner (app.js:10:5)\\nat Array.map (<anonymous>)\\nat main (app.js:90:1)\\nat node:internal/main/run_main_module:36:49';
    const inside = 'at emit (node:events:20:3)\\nat Socket.read (node:net:11:2)';
    const lines = [LINES[0], block(1, 'b', 1000, site), block(2, 'b', 500, inside).slice(0, -1), ']}'];
    const sited = parseTrace(Buffer.from(`${lines.join('\n')}\n`), 'app.json');
    const namesIn = (writers: typeof PROFILE_WRITERS) => {
      const { shared, profiles } = JSON.parse(written(sited, writers.get('speedscope')!).bytes.toString());
      return profiles[0].samples.map((sample: number[]) => sample.map((id) => shared.frames[id].name));
    };

    test('are left out of stacks that have others', () => {
      expect(namesIn(PROFILE_WRITERS)).toEqual([
        ['main', 'inner'],
        ['Socket.read', 'emit'],
      ]);
    });

    test('are kept when they are asked for', () => {
      expect(namesIn(WHOLE_PROFILE_WRITERS)[0]).toEqual(['(anonymous)', 'main', 'at Array.map (<anonymous>)', 'inner']);
    });
  });

  test.each([...PROFILE_WRITERS.keys()])('%s writes a profile of a trace without sites', (format) => {
    const golden = parseTrace(readFileSync(join(GOLDEN, 'app.alloctrace')), 'app.alloctrace');
    expect(written(golden, PROFILE_WRITERS.get(format)!).bytes.length).toBeGreaterThan(0);
  });
});
