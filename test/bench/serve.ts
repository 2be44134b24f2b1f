import { createInterface } from 'node:readline';
import type { BenchEvents } from './event-file.js';
import { median } from './statistics.js';
import type { Subject } from './subject.js';
import { timed } from './thread-time.js';

/** A warm-up has these at least. */
const MIN_WARM_REPLAYS = 3;
/** It ends here at the latest. */
const MAX_WARM_NS = 2e9;

/** Answers one command a line of stdin until that ends, each with one line of JSON: test/bench/peers/events.h in JavaScript. */
export async function serve(subject: Subject, events: BenchEvents): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer: object;
    try {
      answer = answerTo(line, subject, events);
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

/** Does what one command says. @throws what the allocator throws */
export function answerTo(line: string, subject: Subject, events: BenchEvents): object {
  const [command, value = '', count = ''] = line.split(' ');
  switch (command) {
    case 'cold':
      return subject.cold();
    case 'warm':
      return warmUp(subject, Number(value) * 1e6);
    case 'round':
      return round(subject, events, Number(value));
    case 'parts':
      return parts(subject, events, Number(value), Number(count));
    case 'fits':
      return { fits: subject.fits(Number(value)) };
    case 'after':
      return subject.warmFacts();
    default:
      return { error: 'no such command' };
  }
}

function warmUp(subject: Subject, leastNs: number): object {
  let spent = 0;
  for (let replays = 0; spent < MAX_WARM_NS && (replays < MIN_WARM_REPLAYS || spent < leastNs); replays++) {
    spent += timed(() => subject.replay());
    subject.drain();
  }
  return {};
}

function round(subject: Subject, events: BenchEvents, repeats: number): object {
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    times.push(timed(() => subject.replay()) / Math.max(events.length, 1));
    subject.drain();
  }
  return { nsPerEvent: median(times) };
}

/** One replay, of which the events from `first` on are timed in parts of equal length. */
function parts(subject: Subject, events: BenchEvents, first: number, count: number): object {
  if (subject.replayPart === undefined) return { error: 'no such command' };
  const length = (events.length - first) / count;
  if (!(first >= 0 && count >= 1 && Number.isSafeInteger(length) && length >= 0)) return { error: 'no such parts' };
  subject.replayPart(0, first);
  const times: number[] = [];
  for (let from = first; times.length < count; from += length) {
    times.push(timed(() => subject.replayPart!(from, from + length)) / Math.max(length, 1));
  }
  subject.drain();
  return { nsPerEvent: median(times) };
}
