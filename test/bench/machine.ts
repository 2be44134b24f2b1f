import { cpus, release, totalmem, type } from 'node:os';
import { GiB } from '../../src/core/units.js';

/** Says what the figures were measured on. */
export function machineText(): string {
  const cores = cpus();
  const model = cores[0]?.model.trim() ?? 'an unknown processor';
  const memory = `${(totalmem() / GiB).toFixed(0)} GiB`;
  return `${cores.length} x ${model}, ${memory}, ${type()} ${release()}, Node ${process.version}, V8 ${process.versions.v8}`;
}
