import { PROFILE_MEASURES, type ProfileMeasure } from '../trace/profile/profile-measure.js';
import type { SiteAmount } from '../trace/profile/site-profile.js';
import { framesOfSite } from '../trace/site-frames.js';
import type { SiteFrame, SiteStack, SiteStacks } from './report-data.js';

/** A file may hold any text as a site: longer ones are cut. */
const MAX_FRAMES = 64;
const MAX_TEXT = 300;
const CUT = '…';

/** What each site has of the measures that are known. */
export type AmountsByMeasure = Readonly<Partial<Record<ProfileMeasure, readonly SiteAmount[]>>>;

interface OneSite extends SiteStack {
  readonly bytes: number[];
  readonly blocks: number[];
}

/**
 * Prepares allocation sites for flame graphs: those that are among the heaviest of any measure, and the sum of the others.
 * Cost: O(sites log sites).
 *
 * @param most - how many of each measure are kept
 * @returns null when no site is known
 */
export function siteStacks(amounts: AmountsByMeasure, most: number): SiteStacks | null {
  const measures = PROFILE_MEASURES.filter((measure) => amounts[measure] !== undefined);
  const known = measures.map((measure) => amounts[measure]!.filter(({ site }) => site !== ''));
  const siteCount = new Set(known.flat().map(({ site }) => site)).size;
  if (siteCount === 0) return null;
  const none = () => ({ bytes: measures.map(() => 0), blocks: measures.map(() => 0) });
  const frames = new FrameTable();
  const kept = new Map<string, OneSite>();
  for (const sites of known) {
    const heaviest = sites.sort((a, b) => b.bytes - a.bytes).slice(0, most);
    for (const { site } of heaviest) if (!kept.has(site)) kept.set(site, { stack: frames.stackOf(site), ...none() });
  }
  const others = none();
  const unknown = none();
  for (const [place, measure] of measures.entries()) {
    for (const { site, bytes, blocks } of amounts[measure]!) {
      const sum = site === '' ? unknown : (kept.get(site) ?? others);
      sum.bytes[place]! += bytes;
      sum.blocks[place]! += blocks;
    }
  }
  return { measures, frames: frames.frames, sites: [...kept.values()], others, unknown, siteCount };
}

/** The frames of many sites, each once. */
class FrameTable {
  readonly frames: SiteFrame[] = [];
  readonly #places = new Map<string, number>();

  /** The places of a site's frames, the innermost first. */
  stackOf(site: string): number[] {
    return framesOfSite(site)
      .slice(0, MAX_FRAMES)
      .map(({ name, filename, line }) => {
        // Frames without a file are whole lines of V8's stack. A function is the same one before and after it waits.
        const shown = name.replace(filename === '' ? /^at / : /^async /, '');
        return this.#placeOf([cutEnd(shown || '(anonymous)'), cutStart(filename.replace(/^file:\/\//, '')), line]);
      });
  }

  #placeOf(frame: SiteFrame): number {
    const key = frame.join('\n');
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.frames.push(frame) - 1;
      this.#places.set(key, place);
    }
    return place;
  }
}

function cutEnd(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}${CUT}`;
}

/** The end of a path says more than its beginning. */
function cutStart(text: string): string {
  return text.length <= MAX_TEXT ? text : `${CUT}${text.slice(-MAX_TEXT)}`;
}
