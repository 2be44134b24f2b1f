import type { MemoryHost } from '../../core/memory-host.js';
import { type RecordOptions, TraceRecorder } from './trace-recorder.js';

/**
 * Records what happens in both slots of a host from now on: `using recorder = recordTrace(runtime, 'app.stowtrace')`.
 * The recording ends with the recorder, or with the process.
 *
 * @param file - created, or emptied; `stowage replay`, `convert` and `report` read it
 * @throws ERR_MEM_BAD_INPUT when the file cannot be written, ERR_MEM_INVALID_ARGUMENT for bad options
 */
export function recordTrace(host: MemoryHost, file: string, options: RecordOptions = {}): TraceRecorder {
  const recorder = new TraceRecorder(file, options);
  recorder.add(host);
  return recorder;
}
