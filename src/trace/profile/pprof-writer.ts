import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import type * as PprofFormat from 'pprof-format';
import type { Frame } from '../site-frames.js';
import { PROFILE_MEASURES, type ProfileMeasure } from './profile-measure.js';
import { ProfileWriter } from './profile-writer.js';

/** The names that pprof's users know: `inuse` is what is live at the end. */
const NAMES: { readonly [M in ProfileMeasure]: string } = { live: 'inuse', allocated: 'alloc', peak: 'peak' };
/** What pprof shows unless it is told otherwise. */
const SHOWN_FIRST = 'peak_space';

/** Writes a gzipped profile of pprof: blocks and bytes of each site, live at the end, allocated in all, and at the peak. */
export class PprofWriter extends ProfileWriter {
  protected override encode(): Uint8Array {
    const pprof = pprofFormat();
    const strings = new pprof.StringTable();
    const sites = new Map<string, number[]>();
    for (const [m, measure] of PROFILE_MEASURES.entries()) {
      for (const { site, blocks, bytes } of this.profile.amounts(measure)) {
        const values = sites.get(site) ?? new Array<number>(2 * PROFILE_MEASURES.length).fill(0);
        values[2 * m] = blocks;
        values[2 * m + 1] = bytes;
        sites.set(site, values);
      }
    }
    const places = new Places(pprof, strings);
    const profile = new pprof.Profile({
      sampleType: PROFILE_MEASURES.flatMap((measure) => [
        new pprof.ValueType({ type: strings.dedup(`${NAMES[measure]}_objects`), unit: strings.dedup('count') }),
        new pprof.ValueType({ type: strings.dedup(`${NAMES[measure]}_space`), unit: strings.dedup('bytes') }),
      ]),
      defaultSampleType: strings.dedup(SHOWN_FIRST),
      periodType: new pprof.ValueType({ type: strings.dedup('space'), unit: strings.dedup('bytes') }),
      period: 1,
      sample: Array.from(sites, ([site, value]) => {
        const frames = this.framesOf(site);
        const stack = frames.length === 0 ? [UNKNOWN] : frames;
        return new pprof.Sample({ locationId: stack.map((frame) => places.idOf(frame)), value });
      }),
      location: places.locations,
      function: places.functions,
      stringTable: strings,
      comment: [strings.dedup(`of ${this.name}, by stowage`)],
    });
    return gzipSync(profile.encode());
  }
}

const UNKNOWN: Frame = { name: '(unknown site)', filename: '', line: 0 };

/** The functions and lines of a profile, each once. */
class Places {
  readonly locations: PprofFormat.Location[] = [];
  readonly functions: PprofFormat.Function[] = [];
  readonly #byText = new Map<string, number>();

  constructor(
    readonly pprof: typeof PprofFormat,
    readonly strings: PprofFormat.StringTable,
  ) {}

  /** The id of a frame's location, from 1. */
  idOf({ name, filename, line }: Frame): number {
    const text = `${line}\n${name}\n${filename}`;
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const id = this.locations.length + 1;
    const title = this.strings.dedup(name === '' ? '(anonymous)' : name);
    this.functions.push(new this.pprof.Function({ id, name: title, systemName: title, filename: this.strings.dedup(filename) }));
    this.locations.push(new this.pprof.Location({ id, line: [new this.pprof.Line({ functionId: id, line })] }));
    this.#byText.set(text, id);
    return id;
  }
}

/** Loaded by the first profile that is written: nothing else needs it. */
function pprofFormat(): typeof PprofFormat {
  return createRequire(import.meta.url ?? __filename)('pprof-format') as typeof PprofFormat;
}
