import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, type Harness, makeHarness, post } from './testing/harness.js';

let harness: Harness;
const run: Harness['run'] = (...given) => harness.run(...given);
beforeAll(async () => {
  harness = await makeHarness();
});
afterAll(() => harness.dispose());

describe('who may ask', () => {
  test('with a token only who has it', async () => {
    const { url, client } = await run({ token: 'swordfish' });
    await expect(client.models.list()).rejects.toThrow(/401/);
    expect((await post(url, ask('a'))).body.error).toMatchObject({ code: 'invalid_api_key' });
    const { client: known } = await run({ token: 'swordfish' }, 8, 'swordfish');
    expect((await known.models.list()).data).toHaveLength(1);
  });

  test("an empty token is nobody's key", async () => {
    const { url } = await run({ token: '' });
    expect((await post(url, ask('a'))).status).toBe(401);
  });

  test('no page of another site, by its origin or by a name that points here', async () => {
    const { url } = await run({ origins: ['http://localhost:3000'] });
    expect((await post(url, ask('a'), { Origin: 'https://evil.example' })).status).toBe(403);
    expect((await post(url, ask('a', { max_tokens: 1 }), { Origin: 'http://localhost:3000' })).status).toBe(200);
    const status = await new Promise((resolve) => {
      const { port } = new URL(url);
      request({ host: '127.0.0.1', port, path: '/v1/models', headers: { Host: 'evil.example' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).end();
    });
    expect(status).toBe(403);
  });
});

describe('pages of an allowed origin', () => {
  const page = 'http://localhost:3000';
  const preflight = (url: string, origin: string, path = '/v1/chat/completions') =>
    fetch(`${url}${path}`, {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,content-type,x-stainless-lang',
      },
    });

  test('a preflight is answered without the token, which it cannot have', async () => {
    const { url } = await run({ origins: [page, 'https://app.example'], token: 'swordfish' });
    const response = await preflight(url, page);
    expect(response.status).toBe(204);
    expect(response.headers.get('Access-Control-Allow-Origin')).toBe(page);
    expect(response.headers.get('Access-Control-Allow-Methods')).toBe('GET,POST');
    expect(response.headers.get('Access-Control-Allow-Headers')).toBe('authorization,content-type,x-stainless-lang');
    expect(response.headers.get('Access-Control-Max-Age')).toBe('600');
    expect(response.headers.get('Vary')).toContain('Origin');
    expect(response.headers.get('Access-Control-Allow-Credentials')).toBeNull();
    expect(await response.text()).toBe('');
    const other = await preflight(url, 'https://app.example');
    expect(other.headers.get('Access-Control-Allow-Origin')).toBe('https://app.example');
  });

  test('answers can be read by the page, whole, streamed, and errors too', async () => {
    const { url } = await run({ origins: [page], token: 'swordfish' });
    const key = { Authorization: 'Bearer swordfish' };
    const readable = (headers: Headers) => {
      expect(headers.get('Access-Control-Allow-Origin')).toBe(page);
      expect(headers.get('Access-Control-Expose-Headers')).toBe('Retry-After');
      expect(headers.get('Vary')).toContain('Origin');
    };
    const whole = await post(url, ask('a', { max_tokens: 1 }), { Origin: page, ...key });
    expect(whole.status).toBe(200);
    readable(whole.headers);
    const streamed = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { Origin: page, 'Content-Type': 'application/json', ...key },
      body: JSON.stringify(ask('a', { max_tokens: 1, stream: true })),
    });
    readable(streamed.headers);
    expect((await streamed.text()).trimEnd().endsWith('data: [DONE]')).toBe(true);
    for (const [status, answer] of [
      [401, await post(url, ask('a'), { Origin: page })],
      [400, await post(url, '{', { Origin: page, ...key })],
      [404, await post(url, {}, { Origin: page, ...key }, '/v1/embeddings')],
    ] as const) {
      expect(answer.status).toBe(status);
      readable(answer.headers);
    }
  });

  test('others are refused, preflight and request, and told nothing', async () => {
    const { url } = await run({ origins: [page] });
    for (const origin of ['https://evil.example', 'http://localhost:3001', 'null', `${page}.evil.example`]) {
      const response = await preflight(url, origin);
      expect(response.status).toBe(403);
      expect(response.headers.get('Access-Control-Allow-Origin')).toBeNull();
      expect((await post(url, ask('a'), { Origin: origin })).headers.get('Access-Control-Allow-Origin')).toBeNull();
    }
  });

  test('without --origin there are no CORS headers, and no answer to OPTIONS', async () => {
    const { url } = await run();
    expect((await preflight(url, page)).status).toBe(403);
    const plain = await fetch(`${url}/v1/models`);
    expect([...plain.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect((await fetch(`${url}/v1/models`, { method: 'OPTIONS' })).status).toBe(404);
  });
});
