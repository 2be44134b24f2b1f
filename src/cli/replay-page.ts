import { formatBytes } from '../core/units.js';
import { buildReport } from '../report/build-report.js';
import { observeRecording } from '../report/observe-recording.js';
import { type ObservedRun, observeRun } from '../report/observe-run.js';
import { renderPage } from '../report/render-page.js';
import type { Fact } from '../report/report-data.js';
import type { ReplayResult } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { createProgress } from './progress.js';
import { labelOf, type NamedManager, nextOf, type ReplaySettings, swapEvent } from './replay-run.js';
import { packageVersion } from './version.js';

/** What a page of replays is made of. */
export interface ReplayPage {
  readonly managers: readonly NamedManager[];
  readonly settings: Pick<ReplaySettings, 'device' | 'capacityBytes'>;
  readonly swap: boolean;
  /** Of the runs that nobody watched: the page has their times. */
  readonly results: readonly ReplayResult[];
  readonly limitBytes: number | undefined;
}

/** Replays once more under each manager, watching, and makes the page; it shows the recorded run itself, too, where the trace has one. */
export function replayPage(events: TraceEvents, page: ReplayPage): string {
  const recorded = observeRecording(events);
  const replays = page.managers.map((manager, place) => observe(events, page, manager, place));
  const runs = recorded === undefined ? replays : [...replays, recorded];
  return renderPage(buildReport(events, runs, { settings: settingsOf(events, page) }));
}

function observe(events: TraceEvents, page: ReplayPage, manager: NamedManager, place: number): ObservedRun {
  const next = page.swap ? nextOf(page.managers, place) : undefined;
  const name = labelOf(manager, next);
  const progress = createProgress(`report: ${name}`);
  try {
    return observeRun(events, {
      name,
      device: page.settings.device.create(page.settings.capacityBytes),
      createManager: manager.create,
      swaps: next === undefined ? [] : [{ atEvent: swapEvent(events), createManager: next.create }],
      nsPerEvent: page.results.find((result) => result.manager === name)?.nsPerEvent,
      onProgress: progress.report,
    });
  } finally {
    progress.stop();
  }
}

function settingsOf(events: TraceEvents, { managers, settings, swap, limitBytes }: ReplayPage): Fact[] {
  const { capacityBytes, device } = settings;
  const probe = device.create(capacityBytes);
  return [
    { label: 'trace', value: events.file },
    { label: 'managers', value: managers.map(({ name }) => name).join(', ') },
    { label: 'device', value: probe.name },
    { label: 'capacity', value: formatBytes(probe.getMaxMemorySize(0)) },
    { label: 'limit of live bytes', value: limitBytes === undefined ? 'none' : formatBytes(limitBytes) },
    { label: 'swap', value: swap ? `before event ${swapEvent(events).toLocaleString('en-US')}` : 'none' },
    { label: 'made by', value: `stowage ${packageVersion()}, Node ${process.version}, ${process.platform}-${process.arch}` },
    { label: 'made at', value: new Date().toISOString() },
  ];
}
