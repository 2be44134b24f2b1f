import type { Frame } from '../site-frames.js';
import type { ProfileMeasure } from './profile-measure.js';
import { ProfileWriter } from './profile-writer.js';
import type { SiteAmount } from './site-profile.js';

const SCHEMA = 'https://www.speedscope.app/file-format-schema.json';
/** In the order of the file: the first one is shown first. */
const TITLES: readonly (readonly [measure: ProfileMeasure, title: string])[] = [
  ['peak', 'live at the peak'],
  ['live', 'live at the end'],
  ['allocated', 'allocated in all'],
];
const UNKNOWN: Frame = { name: '(unknown site)', filename: '', line: 0 };

/** Writes a file of speedscope, with a profile for each measure: a sample for each site, whose weight are its bytes. */
export class SpeedscopeWriter extends ProfileWriter {
  readonly #frames: object[] = [];
  readonly #frameIds = new Map<string, number>();

  protected override encode(): string {
    const profiles = TITLES.map(([measure, title]) => this.#profileOf(title, this.profile.amounts(measure)));
    const about = { $schema: SCHEMA, name: this.name, exporter: 'stowage', activeProfileIndex: 0 };
    return `${JSON.stringify({ ...about, shared: { frames: this.#frames }, profiles })}\n`;
  }

  #profileOf(name: string, amounts: readonly SiteAmount[]): object {
    const weights = amounts.map(({ bytes }) => bytes);
    const samples = amounts.map(({ site }) => {
      const frames = this.framesOf(site).reverse();
      return (frames.length === 0 ? [UNKNOWN] : frames).map((frame) => this.#idOf(frame));
    });
    const endValue = weights.reduce((sum, bytes) => sum + bytes, 0);
    return { type: 'sampled', name, unit: 'bytes', startValue: 0, endValue, samples, weights };
  }

  #idOf({ name, filename, line }: Frame): number {
    const text = `${line}\n${name}\n${filename}`;
    let id = this.#frameIds.get(text);
    if (id === undefined) {
      id = this.#frames.length;
      const file = filename === '' ? {} : { file: filename, line };
      this.#frames.push({ name: name === '' ? '(anonymous)' : name, ...file });
      this.#frameIds.set(text, id);
    }
    return id;
  }
}
