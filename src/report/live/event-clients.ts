import type { ServerResponse } from 'node:http';

/** More would be a mistake of somebody's. */
const MAX_CLIENTS = 32;
/** A client that takes nothing for so long is gone. */
const STALLED_MS = 30_000;
/** How long a browser waits before it connects again. */
const RETRY_MS = 1000;

interface Client {
  /** Since when it has taken nothing; undefined while it keeps up. */
  stalledMs: number | undefined;
}

/**
 * The listeners of a stream of server-sent events. One that does not keep up misses messages and gets a whole new start
 * when it has taken what it was sent: at most one message waits for each.
 */
export class EventClients {
  readonly #clients = new Map<ServerResponse, Client>();
  readonly #hello: () => string;

  /** @param hello - the message that a listener starts with */
  constructor(hello: () => string) {
    this.#hello = hello;
  }

  get count(): number {
    return this.#clients.size;
  }

  /** Takes a listener in. @returns false when there are too many; nothing was sent then */
  add(response: ServerResponse): boolean {
    if (this.#clients.size >= MAX_CLIENTS) return false;
    const client: Client = { stalledMs: undefined };
    this.#clients.set(response, client);
    response.on('close', () => this.#clients.delete(response));
    response.on('drain', () => {
      client.stalledMs = undefined;
      this.#write(response, client, 'hello', this.#hello());
    });
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-store' });
    response.write(`retry: ${RETRY_MS}\n\n`);
    this.#write(response, client, 'hello', this.#hello());
    return true;
  }

  /** Sends a message to all that keep up. @param data - JSON, without line ends */
  send(name: string, data: string): void {
    const now = performance.now();
    for (const [response, client] of this.#clients) {
      if (client.stalledMs === undefined) this.#write(response, client, name, data);
      else if (now - client.stalledMs > STALLED_MS) response.destroy();
    }
  }

  /** Ends all streams. */
  close(): void {
    for (const response of this.#clients.keys()) response.destroy();
    this.#clients.clear();
  }

  #write(response: ServerResponse, client: Client, name: string, data: string): void {
    if (!response.write(`event: ${name}\ndata: ${data}\n\n`)) client.stalledMs = performance.now();
  }
}
