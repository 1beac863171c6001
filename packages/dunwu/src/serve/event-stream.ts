import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import { apiError } from './api-error.js';

/**
 * Server-sent events, `[DONE]` at the end. An error after the first one is an event too, since the status is sent already.
 * @param make given what sends an event, and a signal of the client's going away
 */
export function eventStream(
  c: Context,
  make: (send: (data: string) => void, client: AbortSignal) => Promise<void>,
): Response {
  return streamSSE(c, async (stream) => {
    const gone = new AbortController();
    stream.onAbort(() => gone.abort());
    const client = AbortSignal.any([gone.signal, c.req.raw.signal]);
    let writing = Promise.resolve();
    const send = (data: string): void => {
      writing = writing.then(async () => {
        if (!client.aborted) await stream.writeSSE({ data });
      });
    };
    try {
      await make(send, client);
    } catch (thrown) {
      send(JSON.stringify(apiError(thrown).body));
    }
    send('[DONE]');
    await writing;
  });
}
