import { totalmem } from 'node:os';
import { posix } from 'node:path';
import { systemText } from './system-text.js';

/** Where {@link maxMemoryBytes} looks. */
export interface MemoryLimitOptions {
  /** @defaultValue what the machine has */
  readonly physicalBytes?: number;
  /** A folder that stands for `/`. @defaultValue `/` */
  readonly root?: string;
}

// Hybrid systems mount version 2 in a folder of its own beside version 1.
const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];
const V1_MOUNT = '/sys/fs/cgroup/memory';

/** The memory that a process may use, and what says so. */
export interface MemoryLimit {
  readonly bytes: number;
  /** The file of the control group with the limit; undefined where the machine's memory is all. */
  readonly file: string | undefined;
}

/**
 * The memory that this process may use: the physical memory, or a lower limit of its control group or one above it.
 *
 * It reads a few files; keep the answer.
 *
 * @returns bytes
 */
export function maxMemoryBytes(options: MemoryLimitOptions = {}): number {
  return memoryLimit(options).bytes;
}

let keptBytes: number | undefined;

/** As {@link maxMemoryBytes}, read once: for devices, which keep it. */
export function keptMaxMemoryBytes(): number {
  return (keptBytes ??= maxMemoryBytes());
}

/** As {@link maxMemoryBytes}, with the file that holds the limit. */
export function memoryLimit(options: MemoryLimitOptions = {}): MemoryLimit {
  const { physicalBytes = totalmem(), root = '/' } = options;
  const groups = systemText(posix.join(root, '/proc/self/cgroup')).split('\n');
  const limits = groups.flatMap((line) => {
    // "0::/path" is version 2, "4:memory:/path" names version 1's controllers.
    const [id, controllers, ...rest] = line.split(':');
    const group = rest.join(':');
    if (id === '0' && controllers === '') return V2_MOUNTS.flatMap((mount) => limitsOf(root, mount, group, 'memory.max'));
    return controllers?.split(',').includes('memory') ? limitsOf(root, V1_MOUNT, group, 'memory.limit_in_bytes') : [];
  });
  return limits.reduce((lowest, limit) => (limit.bytes < lowest.bytes ? limit : lowest), {
    bytes: physicalBytes,
    file: undefined,
  } as MemoryLimit);
}

/** The limits from a group up to the mount; a container often sees its own group as the mount itself. */
function limitsOf(root: string, mount: string, group: string, name: string): MemoryLimit[] {
  const limits: MemoryLimit[] = [];
  for (let path = posix.join('/', group); ; path = posix.dirname(path)) {
    const file = posix.join(mount, path, name);
    const text = systemText(posix.join(root, file)).trim();
    // "max" is no limit; a version 1 group without one says about 2^63.
    if (/^\d+$/.test(text)) limits.push({ bytes: Number(text), file });
    if (path === '/') return limits;
  }
}

const LIMIT_LINE = /^Max locked memory +(\d+)/m;

/** The most bytes that this process may lock (`ulimit -l`); undefined where there is no limit or it cannot be told. */
export function lockLimitBytes(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const limit = LIMIT_LINE.exec(systemText('/proc/self/limits'))?.[1];
  return limit === undefined ? undefined : Number(limit);
}
