/** @import { SiteFrame } from '../report-data.js' */

/** Files of Node's own: `node:fs`, and `internal/…` of older stacks. */
const OF_NODE = /^(?:node:|internal\/)/;
/** What V8 brings, such as `Array.map`. */
const OF_ENGINE = /\((?:<anonymous>|native|index \d+)\)$/;
/** A line of a stack whose file is one of Node's. */
const NODE_LINE = /(?:^|[\s(])(?:node:|internal\/)[^\s()]*:\d+(?::\d+)?\)?$/;

/**
 * @param {SiteFrame} frame
 * @returns {boolean} whether the program's author cannot change it
 */
export function isNodesOwn([name, file]) {
  return file === '' ? OF_ENGINE.test(name) : OF_NODE.test(file);
}

/**
 * Divides the lines of a stack into those of the program, and the number of Node's own. Of a stack inside Node all are kept.
 *
 * @param {string} site - a line a frame, the innermost first
 */
export function programLines(site) {
  const all = site.split('\n');
  const lines = all.filter((line) => !OF_ENGINE.test(line) && !NODE_LINE.test(line));
  return lines.length === 0 ? { lines: all, omitted: 0 } : { lines, omitted: all.length - lines.length };
}
