export const MS_PER_SECOND = 1000;
const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/**
 * Writes bytes with three significant digits: `516 MiB`, `1.03 GiB`.
 *
 * @param {number} bytes
 * @returns {string}
 */
export function formatBytes(bytes) {
  if (!Number.isFinite(bytes)) return '–';
  const sign = bytes < 0 ? '−' : '';
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${sign}${value.toFixed(digits)} ${BYTE_UNITS[unit]}`;
}

/**
 * Writes bytes that a person reads off an axis: without needless decimals.
 *
 * @param {number} bytes
 * @returns {string}
 */
export function formatTick(bytes) {
  return formatBytes(bytes)
    .replace(/\.0+(?= )/, '')
    .replace(/(\.\d*?)0+(?= )/, '$1');
}

/**
 * @param {number} count
 * @returns {string}
 */
export function formatCount(count) {
  return Number.isFinite(count) ? count.toLocaleString('en-US', { maximumFractionDigits: 0 }) : '–';
}

/**
 * Writes a count with what is counted: `1 reclaim`, `2 reclaims`.
 *
 * @param {number} count
 * @param {string} what
 * @returns {string}
 */
export function formatAmount(count, what) {
  return `${formatCount(count)} ${what}${count === 1 ? '' : 's'}`;
}

/**
 * Writes a count in few letters: `12k`, `1.5M`.
 *
 * @param {number} count
 * @returns {string}
 */
export function formatShort(count) {
  return count.toLocaleString('en-US', { notation: 'compact', maximumFractionDigits: 1 });
}

/**
 * @param {number | null} share
 * @param {number} [digits]
 * @returns {string}
 */
export function formatShare(share, digits = 1) {
  return share === null || !Number.isFinite(share) ? '–' : `${(share * 100).toFixed(digits)} %`;
}

/**
 * @param {number} address
 * @returns {string}
 */
export function formatAddress(address) {
  return `0x${address.toString(16)}`;
}

/**
 * Writes a time with a unit that fits it.
 *
 * @param {number} ms
 * @returns {string}
 */
export function formatTime(ms) {
  if (ms === 0) return '0 s';
  if (ms < 1) return `${trimmed(ms * 1000)} µs`;
  if (ms < 1000) return `${trimmed(ms)} ms`;
  if (ms < 120_000) return `${trimmed(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

/**
 * @param {number} value
 * @returns {string}
 */
function trimmed(value) {
  return String(Number(value.toPrecision(3)));
}
