import type { ServerResponse } from 'node:http';

/** A larger number is a mistake. */
const MAX_CLIENTS = 32;
/** A client that reads nothing for so long is gone. */
const STALLED_MS = 30_000;
/** How long a browser waits before it connects again. */
const RETRY_MS = 1000;

/**
 * The listeners of a stream of server-sent events. One that is too slow misses messages until it has read the
 * last one: at most one message waits for each, however small. Missed messages are not sent again: they would keep a slow
 * listener slow.
 */
export class EventClients {
  /** Since when each was seen not to have read its last message; undefined while it keeps up. */
  readonly #stalledMs = new Map<ServerResponse, number | undefined>();

  /** @param hello - the message that a listener starts with */
  constructor(readonly hello: () => string) {}

  get count(): number {
    return this.#stalledMs.size;
  }

  /** Adds a listener. @returns false when there are too many; nothing was sent then */
  add(response: ServerResponse): boolean {
    if (this.count >= MAX_CLIENTS) return false;
    this.#stalledMs.set(response, undefined);
    response.on('close', () => this.#stalledMs.delete(response));
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-store' });
    response.write(`retry: ${RETRY_MS}\n\n`);
    writeEvent(response, 'hello', this.hello());
    return true;
  }

  /** Sends a message to all that keep up. @param data - JSON, without line ends */
  send(name: string, data: string): void {
    const now = performance.now();
    for (const [response, stalledMs] of this.#stalledMs) {
      // What Node would still buffer differs by its version: a listener keeps up when nothing waits.
      const keepsUp = response.writableLength === 0;
      this.#stalledMs.set(response, keepsUp ? undefined : (stalledMs ?? now));
      if (keepsUp) writeEvent(response, name, data);
      else if (stalledMs !== undefined && now - stalledMs > STALLED_MS) response.destroy();
    }
  }

  /** Ends all streams. */
  close(): void {
    for (const response of this.#stalledMs.keys()) response.destroy();
    this.#stalledMs.clear();
  }
}

function writeEvent(response: ServerResponse, name: string, data: string): void {
  response.write(`event: ${name}\ndata: ${data}\n\n`);
}
