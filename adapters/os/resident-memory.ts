import { systemText } from './system-text.js';

/** This process's resident set, in bytes, as the kernel counts it at this moment; what Node says where there is no such file. */
export function residentSetBytes(): number {
  const rollup = /^Rss: +(\d+) kB$/m.exec(process.platform === 'linux' ? systemText('/proc/self/smaps_rollup') : '');
  return rollup === null ? process.memoryUsage.rss() : Number(rollup[1]) * 1024;
}
