const UNIT_NAMES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Writes a size for people: `1536` becomes `1.50 KiB`. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNIT_NAMES.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(2)} ${UNIT_NAMES[unit]}`;
}

/** Writes a size to the byte, and for people beside: `1536 bytes (1.50 KiB)`; `512 bytes`. */
export function exactBytes(bytes: number): string {
  return bytes >= 1024 && Number.isFinite(bytes)
    ? `${bytes} bytes (${formatBytes(bytes)})`
    : `${bytes} byte${bytes === 1 ? '' : 's'}`;
}
