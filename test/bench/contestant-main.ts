import '../../src/defaults.js';
import type { JavaScriptSpec } from './contestants.js';
import { readEventFile } from './event-file.js';
import { KoffiSubject } from './koffi-subject.js';
import { ManagerSubject } from './manager-subject.js';
import { serve } from './serve.js';
import type { Subject } from './subject.js';
import { ThingSubject } from './thing-subject.js';

// node contestant-main.js <spec as JSON> <event file>: one allocator in a process of its own, so that the call sites on
// the hot path see one class of manager, as in a program that installs one.
const [spec = '', eventFile = ''] = process.argv.slice(2);
const events = readEventFile(eventFile);
await serve(subjectOf(JSON.parse(spec) as JavaScriptSpec), events);

function subjectOf(wanted: JavaScriptSpec): Subject {
  if (wanted === 'koffi') return new KoffiSubject(events);
  if (wanted === '@thi.ng/malloc') return new ThingSubject(events);
  return new ManagerSubject(wanted, events);
}
